//! PROGRAM's process before it is PROGRAM: installs the filter, and waits until somebody serves it.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use intercept::filter;

use super::ProgramArguments;
use super::line::{self, SETUP};
use crate::command::CannotRun;

/// `estab __program`.
pub(crate) fn program(arguments: &ProgramArguments) -> anyhow::Result<ExitCode> {
    let mut line = line::of_this_process()?;
    let [stdin] = line::receive(&line, SETUP)?;
    let (program, words) = arguments.command.split_first().context("no PROGRAM")?;
    let listener = filter::install(&arguments.filter.options()).map_err(explain)?;
    // From here on calls of sockets wait for the supervisor. Its descriptor is taken from us: who
    // sends one makes such a call.
    line.write_all(&listener.as_raw_fd().to_le_bytes())?;
    line.read_exact(&mut [0]).context("the run has ended")?;
    drop(listener);
    let error = Command::new(program).args(words).stdin(stdin).exec();
    Err(CannotRun::at_last(program, &error).into())
}

fn explain(error: std::io::Error) -> anyhow::Error {
    let what = match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::BUSY.raw_os_error() => {
            "another `estab run`, or somebody else's supervisor, serves this process already: run \
             the program from outside of it"
        }
        _ => "the kernel takes no filter with a supervisor (it needs Linux 5.14 with seccomp)",
    };
    anyhow::Error::new(error).context(what)
}
