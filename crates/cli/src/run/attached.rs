//! Where a stack runs already, in `estab lab` or `estab up`: it serves PROGRAM, and this process only
//! makes PROGRAM's world and hands the filter's descriptor over.

use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{Arg, CommandFactory};

use super::RunProgram;
use super::arguments::Prefixed;
use super::line::{self, LISTENER};
use super::processes::Processes;
use crate::BAD_INPUT;
use crate::arguments::Arguments;
use crate::command::{OF_INIT, hand_down};
use crate::control::serve_program::{ASKS, SERVES, TRACES, Wish};
use crate::control::{VARIABLE, client, frame};
use crate::observe::LinePrinter;

/// How long the stack may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the rest of what PROGRAM wrote may take, and a little more.
const DRAIN: Duration = Duration::from_secs(12);

/// Whether the environment names a stack.
pub(super) fn is_asked_for() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|place| !place.is_empty())
}

/// What can be asked where a stack runs already: by the names of the arguments.
const OF_THE_PROGRAM: [&str; 6] = ["map", "dns", "exact_options", "no_udp", "trace", "command"];

/// Says which options are the running stack's to have.
pub(super) fn check() -> anyhow::Result<()> {
    let mut all = Arguments::command();
    all.build();
    let given = all.clone().try_get_matches()?;
    let (Some(command), Some(given)) =
        (all.find_subcommand("run"), given.subcommand_matches("run"))
    else {
        return Ok(());
    };
    let foreign = command.get_arguments().find(|argument| {
        let name = argument.get_id().as_str();
        !OF_THE_PROGRAM.contains(&name)
            && given.value_source(name) == Some(ValueSource::CommandLine)
    });
    match foreign.and_then(Arg::get_long) {
        Some(option @ ("peer" | "publish")) => bail!(
            "--{option} is for a run with a stack of its own, and the one of {VARIABLE} runs already: \
             its kernel's side is here, where any command reaches PROGRAM; or unset {VARIABLE}"
        ),
        Some(option) => bail!(
            "--{option} is for the stack, and the one of {VARIABLE} runs already: give it to the lab, \
             or unset {VARIABLE}"
        ),
        None => Ok(()),
    }
}

/// What the running stack says.
enum Said {
    Asks,
    Serves,
    /// It is over: why, when it is an error.
    Ended(Result<frame::End, String>),
}

/// Runs PROGRAM on the running stack.
pub(super) fn run(
    arguments: &RunProgram,
    stdin: &OwnedFd,
    job: &OwnedFd,
) -> anyhow::Result<ExitCode> {
    let wish = Wish { maps: arguments.maps(), trace: arguments.run.trace };
    let stream = client::request(&wish.line())?;
    // Before there are threads.
    link::namespace::become_administrator()?;
    hand_down(OF_INIT).context("cannot keep the namespace's capabilities")?;
    let (say, said) = channel();
    let mut listening = stream.try_clone()?;
    let listen = move || listen(&mut listening, &say);
    thread::Builder::new().name("stack".into()).spawn(listen)?;
    expect(&said, |said| matches!(said, Said::Asks))?;
    let (kernel, addresses) = (of_kernel(), of_stack()?);
    let mut processes = Processes::start(arguments, &kernel, &addresses, stdin, job)?;
    let Some([listener, interfaces]) = processes.listener()? else {
        return Ok(ExitCode::from(BAD_INPUT));
    };
    line::send(&stream, LISTENER, &[listener.as_fd(), interfaces.as_fd()])?;
    drop((listener, interfaces));
    expect(&said, |said| matches!(said, Said::Serves))?;
    processes.begin()?;
    let ended = end_with_stack(said, processes.lifeline()?)?;
    processes.wait()?;
    match ended.recv_timeout(DRAIN) {
        Ok(Said::Ended(Ok(end))) if !end.message.is_empty() => {
            anstream::eprintln!("estab: {}", end.message);
            Ok(ExitCode::from(end.status))
        }
        Ok(Said::Ended(Ok(end))) => Ok(ExitCode::from(end.status)),
        Ok(Said::Ended(Err(why))) => bail!("{why}"),
        _ => bail!("the stack did not say how it ended"),
    }
}

/// Hears what the stack says, and shows the trace.
fn listen(stream: &mut UnixStream, say: &Sender<Said>) {
    let mut errors = LinePrinter::to_errors();
    let end = frame::read(stream, |piece| {
        match piece {
            [ASKS] => say.send(Said::Asks)?,
            [SERVES] => say.send(Said::Serves)?,
            [TRACES, line @ ..] => errors.write(line),
            _ => bail!("the stack says what nobody understands"),
        }
        Ok(())
    });
    let _ = say.send(Said::Ended(end.map_err(|_| "the stack is gone".to_owned())));
}

/// Ends PROGRAM when the stack is gone, whose sockets are nothing then. Hands on how it ended.
fn end_with_stack(said: Receiver<Said>, lifeline: UnixStream) -> anyhow::Result<Receiver<Said>> {
    let (say, ended) = channel();
    let follow = move || {
        let Ok(end) = said.recv() else { return };
        if matches!(end, Said::Ended(Err(_))) {
            let _ = lifeline.shutdown(Shutdown::Both);
        }
        let _ = say.send(end);
    };
    thread::Builder::new().name("end".into()).spawn(follow)?;
    Ok(ended)
}

fn expect(said: &Receiver<Said>, is_it: impl Fn(&Said) -> bool) -> anyhow::Result<()> {
    match said.recv_timeout(PATIENCE) {
        Ok(said) if is_it(&said) => Ok(()),
        Ok(Said::Ended(Ok(end))) => bail!("the stack does not serve the program: {}", end.message),
        Ok(Said::Ended(Err(why))) => bail!("{why}"),
        Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            bail!("the stack of {VARIABLE} does not answer")
        }
    }
}

/// Whom PROGRAM asks for names in a lab. Beside `estab up` it is whom this machine asks.
fn of_kernel() -> Vec<IpAddr> {
    let address = std::env::var("ESTAB_KERNEL").ok();
    address.and_then(|text| text.parse().ok()).into_iter().collect()
}

/// The stack's addresses, as it says them; those of the link alone are of no use elsewhere.
fn of_stack() -> anyhow::Result<Vec<Prefixed>> {
    let mut told = Vec::new();
    frame::read(&mut client::request("ip")?, |piece| {
        told.extend_from_slice(piece);
        Ok(())
    })?;
    let told = String::from_utf8_lossy(&told);
    let addresses = told.lines().filter_map(|line| line.parse().ok());
    Ok(addresses.filter(|it: &Prefixed| !is_of_link(it.address)).collect())
}

fn is_of_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
