//! COMMAND of a lab: started in a process namespace of its own, and its status.
//!
//! Four processes in a row, because a namespace of process ids is made for children, and because
//! a process that made one can start no more threads:
//!
//! ```text
//! estab lab      the stack; sends signals for COMMAND down a lifeline, a Unix socket
//!   keeper       makes the process namespace and waits
//!     init       process 1 of it: reaps orphans, hands signals on; its end ends all the others
//!       COMMAND
//! ```
//!
//! When `estab lab` is gone, even by SIGKILL, the lifeline ends: init ends, and with it everything.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use link::namespace::{Namespace, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, set_parent_process_death_signal, wait,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

/// What COMMAND may do: configure its network and capture packets.
const OF_COMMAND: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

/// What keeper and init need besides: make namespaces, mount their /proc.
pub(crate) const OF_INIT: CapabilitySet = OF_COMMAND.union(CapabilitySet::SYS_ADMIN);

/// The signals that are handed on to COMMAND.
const HANDED_ON: [i32; 6] = [SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2];

/// The lifeline's abstract name: every network namespace has its own set of them.
const LIFELINE: &str = "estab-lifeline";

/// The exit status of a lab whose own processes were killed.
const KILLED: i32 = 128 + 9;

/// A program that cannot be run, with the status that a shell has for it.
#[derive(Debug)]
pub(crate) struct CannotRun {
    pub(crate) program: OsString,
    pub(crate) why: String,
    pub(crate) status: u8,
}

impl CannotRun {
    /// There is none.
    pub(crate) const NOT_FOUND: u8 = 127;
    /// There is something.
    pub(crate) const FOUND: u8 = 126;

    /// It looked as if it could be run.
    pub(crate) fn at_last(program: &OsStr, error: &io::Error) -> Self {
        let why = format!("cannot run it: {error}");
        Self { program: program.to_owned(), why, status: Self::FOUND }
    }
}

impl std::fmt::Display for CannotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.program.display(), self.why)
    }
}

impl std::error::Error for CannotRun {}

/// Says early, before anything is made, that COMMAND cannot be run.
pub(crate) fn check(command: &[OsString]) -> Result<(), CannotRun> {
    let Some(program) = command.first() else { return Ok(()) };
    let cannot = |why: String, status| CannotRun { program: program.clone(), why, status };
    if program.as_encoded_bytes().contains(&b'/') {
        let path = Path::new(program);
        std::fs::metadata(path).map_err(|error| cannot(error.to_string(), CannotRun::NOT_FOUND))?;
        return match is_program(path) {
            true => Ok(()),
            false => Err(cannot("not a program that this user can run".into(), CannotRun::FOUND)),
        };
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = |directory: PathBuf| is_program(&directory.join(program));
    if !program.is_empty() && std::env::split_paths(&paths).any(found) {
        return Ok(());
    }
    let why = "no such program: install it, or give its path".into();
    Err(cannot(why, CannotRun::NOT_FOUND))
}

fn is_program(path: &Path) -> bool {
    let runnable = rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    runnable && std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// PATH with this program's directory behind the others, so that `estab ss` is found inside a lab
/// however this program was started.
pub(crate) fn path_with_this_program() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::current_exe().ok();
    let here = here.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    let all = std::env::split_paths(&path).chain(here);
    let joined = std::env::join_paths(all).unwrap_or(path);
    joined.to_string_lossy().into_owned()
}

/// The user's shell, for a lab without a COMMAND.
pub(crate) fn shell() -> Vec<OsString> {
    vec![std::env::var_os("SHELL").filter(|s| !s.is_empty()).unwrap_or_else(|| "/bin/sh".into())]
}

/// Runs COMMAND with `environment` added, to its end, and returns its status as a shell would
/// tell it: 128 and the signal's number when a signal killed it.
pub(crate) fn run(command: &[OsString], environment: &[(&str, String)]) -> anyhow::Result<u8> {
    hand_down(OF_INIT).context("cannot keep the namespace's capabilities")?;
    let lifeline = UnixListener::bind_addr(&lifeline_address()?)?;
    let signals = signal_hook::iterator::Signals::new(HANDED_ON)?;
    let forward = move || forward_signals(&lifeline, signals);
    std::thread::Builder::new().name("signals".into()).spawn(forward)?;
    let mut keeper = start_self("__keeper", command, environment)?;
    Ok(shell_status(keeper.wait()?))
}

/// COMMAND beside something else. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Background {
    keeper: Child,
    lifeline: UnixStream,
}

impl Background {
    /// Starts COMMAND with `environment` added. One at a time in a network.
    pub(crate) fn start(
        command: &[OsString],
        environment: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        hand_down(OF_INIT).context("cannot keep the namespace's capabilities")?;
        let listener = UnixListener::bind_addr(&lifeline_address()?)?;
        let mut keeper = start_self("__keeper", command, environment)?;
        // Init calls at once. When it cannot, keeper ends and says why.
        listener.set_nonblocking(true)?;
        loop {
            match listener.accept() {
                Ok((lifeline, _)) => {
                    lifeline.set_nonblocking(false)?;
                    return Ok(Self { keeper, lifeline });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = keeper.try_wait()? {
                bail!("the command's keeper ended with {status}");
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Sends COMMAND a signal.
    pub(crate) fn signal(&mut self, signal: i32) {
        // It has ended already, perhaps.
        let _ = self.lifeline.write_all(&[u8::try_from(signal).unwrap_or_default()]);
    }

    /// COMMAND's status, if it has ended.
    pub(crate) fn try_wait(&mut self) -> anyhow::Result<Option<u8>> {
        Ok(self.keeper.try_wait()?.map(shell_status))
    }

    /// Ends COMMAND and all that it started.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        self.lifeline.shutdown(std::net::Shutdown::Both)?;
        self.keeper.wait()?;
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.lifeline.shutdown(std::net::Shutdown::Both);
        let _ = self.keeper.wait();
    }
}

/// `estab __keeper`: makes the process namespace and waits for its init.
pub(crate) fn keeper(command: &[OsString]) -> anyhow::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    survive_signals()?;
    unshare(&[Namespace::Pid]).context("cannot make a process namespace")?;
    let mut init = start_self("__init", command, &[])?;
    Ok(ExitCode::from(shell_status(init.wait()?)))
}

/// `estab __init`: starts COMMAND, reaps everybody, ends with COMMAND's status.
pub(crate) fn init(command: &[OsString]) -> anyhow::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    survive_signals()?;
    let lifeline = UnixStream::connect_addr(&lifeline_address()?).context("the lab is gone")?;
    mount_proc();
    hand_down(OF_COMMAND)?;
    let (program, arguments) = command.split_first().context("no COMMAND")?;
    let child = std::process::Command::new(program)
        .args(arguments)
        .spawn()
        .map_err(|error| CannotRun::at_last(program, &error))?;
    let child = pid_of(&child)?;
    hand_signals_on(lifeline, child)?;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => {
                let status = ExitStatus::from_raw(status.as_raw());
                return Ok(ExitCode::from(shell_status(status)));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Starts this program again, as `role`.
fn start_self(
    role: &str,
    command: &[OsString],
    environment: &[(&str, String)],
) -> anyhow::Result<Child> {
    std::process::Command::new("/proc/self/exe")
        .arg(role)
        .arg("--")
        .args(command)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .spawn()
        .context("cannot start this program again (/proc/self/exe)")
}

fn lifeline_address() -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(LIFELINE)
}

/// Sends each signal for COMMAND down the lifeline. A Ctrl-C goes from the terminal to COMMAND by
/// itself while we are in the foreground, so then it is not sent twice.
fn forward_signals(listener: &UnixListener, mut signals: signal_hook::iterator::Signals) {
    let Ok((mut lifeline, _)) = listener.accept() else { return };
    for signal in signals.forever() {
        let from_terminal = matches!(signal, SIGINT | SIGQUIT | SIGHUP) && in_foreground();
        let byte = u8::try_from(signal).unwrap_or_default();
        if !from_terminal && lifeline.write_all(&[byte]).is_err() {
            return;
        }
    }
}

/// Whether the terminal sends its signals to our process group.
fn in_foreground() -> bool {
    std::fs::File::open("/dev/tty")
        .ok()
        .and_then(|terminal| rustix::termios::tcgetpgrp(&terminal).ok())
        .is_some_and(|group| group == rustix::process::getpgrp())
}

/// Sends COMMAND what comes down the lifeline, and ends the lab with it.
fn hand_signals_on(mut lifeline: UnixStream, child: Pid) -> anyhow::Result<()> {
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut byte = [0];
        while lifeline.read_exact(&mut byte).is_ok() {
            if let Some(signal) = Signal::from_named_raw(i32::from(byte[0])) {
                let _ = kill_process(child, signal);
            }
        }
        std::process::exit(KILLED);
    })?;
    Ok(())
}

/// A terminal's signals must not end keeper and init before COMMAND. A handler does that, where
/// ignoring would be inherited by COMMAND.
fn survive_signals() -> anyhow::Result<()> {
    for signal in HANDED_ON {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Lets the programs that this one starts keep `set` although they are not root's: as ambient
/// capabilities (capabilities(7)).
pub(crate) fn hand_down(set: CapabilitySet) -> rustix::io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let now = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: set, ..now })?;
    for capability in set.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// The /proc of the new process namespace, so that `ps` and `kill` agree. Where a container does
/// not allow it, the outer one stays.
fn mount_proc() {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if unshare(&[Namespace::Mount]).is_ok() && mount_change("/", private).is_ok() {
        let _ = mount("proc", "/proc", "proc", flags, None);
    }
}

pub(crate) fn pid_of(child: &Child) -> anyhow::Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id out of range")
}

/// A status as a shell tells it.
pub(crate) fn shell_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
