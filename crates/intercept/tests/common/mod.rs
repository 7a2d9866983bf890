//! Programs under a supervisor, in a network of their own.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unsafe_code, reason = "what happens between fork and exec")]

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use estab::Stack;
use estab::link::namespace::{Namespace, unshare};
use estab::link::{Netlink, TunBuilder};
use intercept::{FilterOptions, Handle, Options, Summary, Supervisor};
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::UnshareFlags;

pub(crate) const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Nothing that works takes this long; a test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Enters a network of its own with a TUN device, whose other end a stack gets. `None`, and a line that
/// says why, where that is not allowed.
pub(crate) fn network() -> io::Result<Option<Stack>> {
    if let Err(error) = unshare(&[Namespace::User, Namespace::Network]) {
        println!("skipped: no namespaces here: {error}");
        return Ok(None);
    }
    let mut kernel = Netlink::open()?;
    kernel.set_up("lo")?;
    let tun = match TunBuilder::new().name("estab0").offload(true).mtu(1500).open() {
        Ok(tun) => tun,
        Err(error) => {
            println!("skipped: no TUN device here: {error}");
            return Ok(None);
        }
    };
    kernel.add_address(tun.name(), KERNEL.into(), 24)?;
    kernel.add_address(tun.name(), "fd77::1".parse().unwrap(), 64)?;
    kernel.set_up(tun.name())?;
    let ours_v6: std::net::Ipv6Addr = "fd77::2".parse().unwrap();
    let stack = Stack::builder().address(OURS, 24).address(ours_v6, 64).start(tun)?;
    Ok(Some(stack))
}

/// A program, and who serves it.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) handle: Handle,
    supervisor: JoinHandle<io::Result<Summary>>,
}

/// Starts a program under the filter in an empty network, with a supervisor on a thread.
pub(crate) fn start(stack: &Stack, command: Command, options: Options) -> io::Result<Running> {
    start_with(stack, command, options, FilterOptions::default())
}

/// The same with options of the filter.
pub(crate) fn start_with(
    stack: &Stack,
    mut command: Command,
    options: Options,
    filter: FilterOptions,
) -> io::Result<Running> {
    let (mut number, tell) = io::pipe()?;
    let (hear, mut go) = io::pipe()?;
    let prepare = move || {
        // SAFETY: this is the child, alone with its memory; the call only changes its own network.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)? };
        let listener = intercept::filter::install(&filter)?;
        let raw = std::os::fd::AsRawFd::as_raw_fd(&listener);
        (&tell).write_all(&raw.to_ne_bytes())?;
        (&hear).read_exact(&mut [0])?;
        drop(listener);
        Ok(())
    };
    // SAFETY: only system calls are made, nothing is allocated that a lock of the parent guards.
    unsafe { command.pre_exec(prepare) };
    // `spawn` returns when the program has begun, which waits for us.
    let child = thread::spawn(move || command.spawn());
    let mut raw = [0; 4];
    number.read_exact(&mut raw)?;
    let listener = fetch(newest_child()?, i32::from_ne_bytes(raw))?;
    go.write_all(&[1])?;
    let child = child.join().expect("spawning does not panic")?;
    let stack = stack.clone();
    let (give, take) = std::sync::mpsc::channel();
    let supervisor = thread::spawn(move || {
        let supervisor = Supervisor::new(&stack, listener, options)?;
        let _ = give.send(supervisor.handle());
        supervisor.run()
    });
    let handle = take.recv().map_err(io::Error::other)?;
    Ok(Running { child, handle, supervisor })
}

/// The process that was forked last by this one.
fn newest_child() -> io::Result<i32> {
    let mut newest = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        newest = children.split_whitespace().filter_map(|n| n.parse().ok()).fold(newest, i32::max);
    }
    Ok(newest)
}

fn fetch(process: i32, raw: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(process).ok_or(io::ErrorKind::NotFound)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let target = ForeignRawFd::try_from(raw.cast_unsigned()).map_err(io::Error::other)?;
    Ok(pidfd_getfd(&pidfd, target, PidfdGetfdFlags::empty())?)
}

impl Running {
    /// Waits for the program and for its supervisor.
    pub(crate) fn wait(mut self) -> (ExitStatus, Summary) {
        let status = self.wait_for_program();
        let deadline = Instant::now() + PATIENCE;
        while !self.supervisor.is_finished() {
            assert!(Instant::now() < deadline, "the supervisor ends with the programs");
            thread::sleep(Duration::from_millis(2));
        }
        let summary = self.supervisor.join().expect("the supervisor does not panic");
        (status, summary.expect("the supervisor does not fail"))
    }

    /// Waits for the program.
    pub(crate) fn wait_for_program(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("the program did not end");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the program, and waits for the supervisor.
    pub(crate) fn kill(mut self) -> Summary {
        let _ = self.child.kill();
        self.wait().1
    }
}
