//! The processes of PROGRAM's side, as the runner has them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;

use rustix::process::{Signal, getppid, kill_process};

use super::RunProgram;
use super::arguments::Prefixed;
use super::line::{self, BEGIN, CONTINUED, LISTENER, SETUP};

/// Keeper, init and PROGRAM. Dropping it ends them.
pub(super) struct Processes {
    keeper: Child,
    lifeline: UnixStream,
}

impl Processes {
    /// Starts all of them; PROGRAM waits for [`begin`](Self::begin).
    pub(super) fn start(
        arguments: &RunProgram,
        dns: &[IpAddr],
        addresses: &[Prefixed],
        stdin: &OwnedFd,
        job: &OwnedFd,
    ) -> anyhow::Result<Self> {
        let (mut keeper, lifeline) = line::this_program_as("__run-keeper")?;
        let dns = if arguments.dns.is_empty() { dns } else { &arguments.dns };
        for server in dns {
            keeper.arg("--dns").arg(server.to_string());
        }
        for address in addresses {
            keeper.arg("--address").arg(address.to_string());
        }
        if let Some(mtu) = arguments.run.mtu {
            keeper.arg("--mtu").arg(mtu.to_string());
        }
        keeper.args(arguments.filter.words());
        let keeper = keeper.arg("--").args(&arguments.command).spawn()?;
        line::send(&lifeline, SETUP, &[stdin.as_fd(), job.as_fd()])?;
        Ok(Self { keeper, lifeline })
    }

    /// The filter's descriptor, and a socket that knows the interfaces of PROGRAM; `None` when a process that
    /// was to give them has said why not.
    pub(super) fn listener(&mut self) -> anyhow::Result<Option<[OwnedFd; 2]>> {
        match line::receive(&self.lifeline, LISTENER) {
            Ok(both) => Ok(Some(both)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// For who says what init is to do.
    pub(super) fn lifeline(&self) -> io::Result<UnixStream> {
        self.lifeline.try_clone()
    }

    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.lifeline.write_all(&[BEGIN])
    }

    /// Waits until PROGRAM and all that it started have ended.
    pub(super) fn wait(&mut self) -> anyhow::Result<()> {
        let mut news = [0];
        while self.lifeline.read_exact(&mut news).is_ok() {
            if news == [CONTINUED]
                && let Some(front) = getppid()
            {
                // It may be stopped, as PROGRAM was.
                let _ = kill_process(front, Signal::CONT);
            }
        }
        self.keeper.wait()?;
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let _ = self.lifeline.shutdown(Shutdown::Both);
        let _ = self.keeper.wait();
    }
}
