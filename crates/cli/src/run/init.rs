//! Process 1 of a run's process namespace: makes PROGRAM's world, starts it, reaps everybody.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use link::Netlink;
use link::namespace::{Namespace, unshare};
use link::processes::signal_everybody;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, WaitOptions, kill_process, pidfd_getfd, pidfd_open,
    set_parent_process_death_signal, wait,
};
use rustix::thread::CapabilitySet;

use super::arguments::Prefixed;
use super::line::{self, BEGIN, CONTINUED, END, LISTENER, News, SETUP};
use super::signals::{Survived, is_pending};
use super::{InitArguments, ProgramArguments, names};
use crate::command::{hand_down, pid_of};

/// The interface that PROGRAM sees, with the stack's addresses.
const INTERFACE: &str = "estab0";

/// The other end of that, where the kernel has only pairs.
const NOWHERE: &str = "estab0-nowhere";

/// A signal for the whole job reaches this process within that time of the front.
const SAME_SIGNAL: Duration = Duration::from_millis(5);

/// What is on its way to this process has come within that time, unless it was started with it blocked.
const HANDLED: Duration = Duration::from_secs(1);

/// `estab __run-init`.
pub(crate) fn init(arguments: &InitArguments) -> anyhow::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let survived = Survived::from_now_on()?;
    let mut lifeline = line::of_this_process()?;
    let [stdin, job] = line::receive(&lifeline, SETUP).context("the run has ended")?;
    let job = UnixStream::from(job);
    make_world(arguments)?;
    // What PROGRAM asks its sockets about interfaces, the kernel answers on this one.
    let interfaces =
        socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    hand_down(CapabilitySet::empty())?;
    let (child, mut go, listener) = match start(&arguments.program, &stdin)? {
        Started::Ready(child, go, listener) => (child, go, listener),
        // It said itself why.
        Started::Failed(status) => {
            News::Ended(status).write(&job)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    line::send(&lifeline, LISTENER, &[listener.as_fd(), interfaces.as_fd()])?;
    drop((listener, interfaces));
    let mut told = [0];
    lifeline.read_exact(&mut told)?;
    anyhow::ensure!(told == [BEGIN], "the run has ended");
    go.write_all(&told)?;
    drop(go);
    let ended = Arc::new(AtomicBool::new(false));
    let child = pid_of(&child)?;
    end_with(lifeline.try_clone()?)?;
    hand_signals_on(job.try_clone()?, survived, child, Arc::clone(&ended))?;
    reap(child, &job, &lifeline, &ended)?;
    Ok(ExitCode::SUCCESS)
}

/// PROGRAM's network, which is empty but for addresses to look at; its processes; its own name; and whom
/// it asks for others.
fn make_world(arguments: &InitArguments) -> anyhow::Result<()> {
    unshare(&[Namespace::Network, Namespace::Mount])
        .context("cannot make an empty network for the program")?;
    let addresses = arguments.address.iter().map(|Prefixed { address, .. }| *address);
    names::mount_private(&arguments.dns, addresses)?;
    // The kernel carries nothing here; but a library that looks for addresses finds the stack's,
    // and asks for names of their families.
    let mut netlink = Netlink::open()?;
    netlink.set_up("lo")?;
    let interface = make_interface(&mut netlink);
    if let Some(mtu) = arguments.mtu {
        netlink.set_mtu(interface, mtu)?;
    }
    netlink.set_up(interface)?;
    for Prefixed { address, prefix } in &arguments.address {
        // A kernel without IPv6 has none to give.
        let _ = netlink.add_address(interface, *address, *prefix);
    }
    Ok(())
}

/// An interface that leads nowhere: a dummy, or one end of a pair in a kernel that has none; or else the
/// loopback.
fn make_interface(netlink: &mut Netlink) -> &'static str {
    let made = netlink.create_dummy(INTERFACE).or_else(|_| {
        // The second that is named is made first, and so has the number 2, by which the stack knows its link.
        netlink.create_veth(NOWHERE, INTERFACE)?;
        let _ = netlink.silence_ipv6(NOWHERE);
        netlink.set_up(NOWHERE)
    });
    if made.is_err() {
        return "lo";
    }
    // It has the stack's addresses alone; a kernel without IPv6 gives it none by itself.
    let _ = netlink.silence_ipv6(INTERFACE);
    INTERFACE
}

enum Started {
    /// The filter is installed, and PROGRAM waits at the line for its begin.
    Ready(Child, UnixStream, OwnedFd),
    /// It ended before.
    Failed(ExitStatus),
}

/// Starts what will be PROGRAM, and takes its listener from it.
fn start(program: &ProgramArguments, stdin: &OwnedFd) -> anyhow::Result<Started> {
    let (mut command, mut go) = line::this_program_as("__program")?;
    command.args(program.filter.words());
    let mut child = command.arg("--").args(&program.command).spawn()?;
    drop(command);
    line::send(&go, SETUP, &[stdin.as_fd()])?;
    let mut number = [0; 4];
    if go.read_exact(&mut number).is_err() {
        return Ok(Started::Failed(child.wait()?));
    }
    let process = pidfd_open(pid_of(&child)?, PidfdFlags::empty())?;
    let listener = pidfd_getfd(process, i32::from_le_bytes(number), PidfdGetfdFlags::empty())
        .context("cannot take the filter's descriptor (pidfd_getfd)")?;
    Ok(Started::Ready(child, go, listener))
}

/// Ends everything when the runner does, and asks everybody to end when it is told to.
fn end_with(mut lifeline: UnixStream) -> io::Result<()> {
    let follow = move || {
        let mut byte = [0];
        while lifeline.read_exact(&mut byte).is_ok() {
            if byte == [END] {
                let _ = signal_everybody(Signal::TERM.as_raw());
            }
        }
        std::process::exit(0);
    };
    thread::Builder::new().name("lifeline".into()).spawn(follow)?;
    Ok(())
}

/// Sends PROGRAM what the front was sent; after its end, all that it left behind.
fn hand_signals_on(
    mut job: UnixStream,
    mut survived: Survived,
    child: Pid,
    ended: Arc<AtomicBool>,
) -> io::Result<()> {
    let hand_on = move || {
        let (mut byte, mut asked) = ([0], false);
        while job.read_exact(&mut byte).is_ok() {
            let Some(signal) = Signal::from_named_raw(i32::from(byte[0])) else { continue };
            if ended.load(Ordering::SeqCst) {
                let ends =
                    matches!(signal, Signal::INT | Signal::TERM | Signal::QUIT | Signal::HUP);
                // What goes on in the background ignores a terminal's signals. Who is asked twice to
                // end has had the time for it.
                let signal = match (ends, asked) {
                    (false, _) => signal,
                    (true, false) => Signal::TERM,
                    (true, true) => Signal::KILL,
                };
                asked |= ends;
                let _ = signal_everybody(signal.as_raw());
                continue;
            }
            thread::sleep(SAME_SIGNAL);
            let until = Instant::now() + HANDLED;
            while is_pending(signal.as_raw()) && Instant::now() < until {
                thread::sleep(SAME_SIGNAL);
            }
            if !survived.came(signal.as_raw(), Instant::now()) {
                let _ = kill_process(child, signal);
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(hand_on)?;
    Ok(())
}

/// Waits for everybody, and tells of PROGRAM.
fn reap(
    child: Pid,
    job: &UnixStream,
    mut lifeline: &UnixStream,
    ended: &AtomicBool,
) -> anyhow::Result<()> {
    loop {
        let (who, status) = match wait(WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
            Ok(Some(changed)) => changed,
            Ok(None) | Err(Errno::INTR) => continue,
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if who != child {
            continue;
        }
        if status.stopped() {
            News::Stopped.write(job)?;
        } else if status.continued() {
            lifeline.write_all(&[CONTINUED])?;
        } else {
            ended.store(true, Ordering::SeqCst);
            News::Ended(ExitStatus::from_raw(status.as_raw())).write(job)?;
        }
    }
}
