//! The front: `estab run` as its shell sees it.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitCode, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use signal_hook::iterator::Signals;

use super::RunProgram;
use super::line::{self, News, SETUP};
use super::signals;
use crate::command::{self, shell_status};

/// After PROGRAM has ended for so long while others go on, that is said.
const SAY_AFTER: Duration = Duration::from_secs(1);

/// Runs `estab run`.
pub(crate) fn run(arguments: &RunProgram) -> anyhow::Result<ExitCode> {
    command::check(&arguments.command)?;
    arguments.check()?;
    let signals = Signals::new(signals::handed_on())?;
    // Init says when PROGRAM stops; a front that the terminal had stopped would hear it late, and stop anew.
    signals::survive_the_terminal()?;
    let (job, jobs_end) = UnixStream::pair()?;
    let (mut runner, to_runner) = line::this_program_as("__runner")?;
    // As they were given: behind `estab run`.
    let mut runner = runner.args(std::env::args_os().skip(2)).spawn()?;
    line::send(&to_runner, SETUP, &[io::stdin().as_fd(), jobs_end.as_fd()])?;
    drop(jobs_end);
    let terminal = Terminal::if_in_foreground();
    hand_on(job.try_clone()?, signals)?;
    let ended = Arc::new(Mutex::new(None));
    let follow = {
        let (ended, job, name) = (Arc::clone(&ended), job.try_clone()?, arguments.name());
        move || follow(&job, &ended, &name)
    };
    let follower = thread::Builder::new().name("job".into()).spawn(follow)?;
    let status = wait(&mut runner)?;
    drop(to_runner);
    // Init is gone with the runner, so nothing more comes.
    let _ = job.shutdown(std::net::Shutdown::Both);
    let _ = follower.join();
    if let Some(terminal) = terminal {
        terminal.take_back();
    }
    let of_program = *ended.lock().unwrap_or_else(PoisonError::into_inner);
    match (status.code(), of_program) {
        // What the runner says itself is more than PROGRAM's status.
        (Some(0), Some(status)) => Ok(as_if_alone(status)),
        (Some(code), Some(_)) if code == i32::from(OF_PEER) => Ok(ExitCode::SUCCESS),
        _ => Ok(as_if_alone(status)),
    }
}

/// The runner's status when that of the peer counts, and is success: 0 says that PROGRAM's counts.
pub(super) const OF_PEER: u8 = 254;

fn wait(runner: &mut Child) -> io::Result<ExitStatus> {
    loop {
        match runner.wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// Sends each signal that comes down the line to init.
fn hand_on(mut job: UnixStream, mut signals: Signals) -> io::Result<()> {
    let hand_on = move || {
        for signal in signals.forever() {
            let byte = u8::try_from(signal).unwrap_or_default();
            if job.write_all(&[byte]).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(hand_on)?;
    Ok(())
}

/// Does what PROGRAM does: stops with it, and remembers how it ended.
fn follow(job: &UnixStream, ended: &Mutex<Option<ExitStatus>>, name: &str) {
    while let Ok(news) = News::read(job) {
        match news {
            News::Stopped => {
                // The shell waits for this process. The stack goes on.
                let _ = kill_process(getpid(), Signal::STOP);
            }
            News::Ended(status) => {
                *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
                let _ = job.set_read_timeout(Some(SAY_AFTER));
                let left = News::read(job);
                let _ = job.set_read_timeout(None);
                if left.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    anstream::eprintln!(
                        "estab: {name} has ended; what it started goes on, and Ctrl-C ends it"
                    );
                }
            }
        }
    }
}

/// Ends as PROGRAM did: with its code, or by the same signal.
fn as_if_alone(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal().and_then(Signal::from_named_raw) {
        // It may have left a core; this process has none to leave.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        let _ = io::stdout().flush();
        let _ = signal_hook::low_level::emulate_default_handler(signal.as_raw());
        let _ = kill_process(getpid(), signal);
    }
    ExitCode::from(shell_status(status))
}

/// The terminal, when its foreground was ours at the start: a shell as PROGRAM leaves it to nobody.
struct Terminal(std::fs::File);

impl Terminal {
    fn if_in_foreground() -> Option<Self> {
        let terminal = std::fs::File::open("/dev/tty").ok()?;
        let group = rustix::termios::tcgetpgrp(&terminal).ok()?;
        (group == rustix::process::getpgrp()).then_some(Self(terminal))
    }

    fn take_back(self) {
        // It is somebody else's, or gone: nothing to be done.
        let _ = link::processes::take_terminal(self.0.as_fd());
    }
}
