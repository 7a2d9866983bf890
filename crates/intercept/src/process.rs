//! The programs: their descriptors and their memory.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{
    ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open,
    pidfd_send_signal,
};

use crate::sys::memory;

/// How many threads' descriptors are kept. Each is one descriptor of ours.
const KEPT: usize = 1024;

/// From Linux 6.9 on: the descriptor of a thread.
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(rustix::fs::OFlags::EXCL.bits());

/// Threads that called, with a descriptor of each.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    known: HashMap<u32, OwnedFd>,
}

/// A descriptor of a thread that a socket was seen at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) thread: u32,
    pub(crate) descriptor: u32,
}

impl Processes {
    /// A duplicate of the descriptor that `place` says.
    ///
    /// The number of a thread may have been given to another one since: whoever answers a call checks
    /// that it still waits, and whoever does not, checks what it got.
    ///
    /// # Errors
    /// `EBADF` when there is no such descriptor, `ESRCH` when there is no such thread, `EPERM` when it
    /// may not be looked into.
    pub(crate) fn fetch(&mut self, place: Place) -> Result<OwnedFd, Errno> {
        let target = ForeignRawFd::try_from(place.descriptor).map_err(|_| Errno::BADF)?;
        let get = |thread: BorrowedFd<'_>| pidfd_getfd(thread, target, PidfdGetfdFlags::empty());
        if let Some(known) = self.known.get(&place.thread) {
            match get(known.as_fd()) {
                // It is gone, and the number may be another's.
                Err(Errno::SRCH) => {}
                answer => return answer,
            }
        }
        if self.known.len() >= KEPT {
            self.known.clear();
        }
        let opened = open(place.thread)?;
        let answer = get(opened.as_fd());
        self.known.insert(place.thread, opened);
        answer
    }
}

/// A descriptor of the thread; before Linux 6.9 of its process, which has the same descriptors.
fn open(thread: u32) -> Result<OwnedFd, Errno> {
    match pidfd_open(pid(thread)?, PIDFD_THREAD) {
        Err(Errno::INVAL) => {
            pidfd_open(pid(process_of(thread).ok_or(Errno::SRCH)?)?, PidfdFlags::empty())
        }
        opened => opened,
    }
}

fn pid(number: u32) -> Result<Pid, Errno> {
    i32::try_from(number).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)
}

/// Has a thread get SIGPIPE where that ends it, or waits until the thread lets it through. A handler is not
/// called: the signal would interrupt the call that it belongs to, instead of coming with its answer.
pub(crate) fn raise_sigpipe(thread: u32) {
    const SIGPIPE: u64 = 1 << (libc::SIGPIPE - 1);
    let is_in = |name| {
        let mask = status(thread, name).and_then(|mask| u64::from_str_radix(&mask, 16).ok());
        mask.is_some_and(|mask| mask & SIGPIPE != 0)
    };
    if !is_in("SigCgt:") || is_in("SigBlk:") {
        // Who is gone needs none.
        let _ = open(thread).and_then(|thread| pidfd_send_signal(thread, Signal::PIPE));
    }
}

/// The process of a thread.
pub(crate) fn process_of(thread: u32) -> Option<u32> {
    status(thread, "Tgid:")?.parse().ok()
}

/// Whether a thread's process has handlers for signals.
pub(crate) fn catches_signals(thread: u32) -> bool {
    let caught = status(thread, "SigCgt:").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    // The C library catches two for itself, from the first thread that is cancelled on.
    caught.is_some_and(|mask| mask & !(0b11 << 31) != 0)
}

fn status(thread: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned())
}

/// The name of a process.
pub(crate) fn command(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// Whether the descriptor is closed on `exec`.
pub(crate) fn closes_on_exec(place: Place) -> bool {
    let info = fs::read_to_string(format!("/proc/{}/fdinfo/{}", place.thread, place.descriptor));
    let info = info.unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_CLOEXEC.cast_unsigned() != 0)
}

/// Every descriptor of a socket that some process has which we may look into: the socket's inode and
/// where it is.
pub(crate) fn sockets_in_proc() -> Vec<(u64, Place)> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for process in processes.flatten() {
        let Ok(thread) = process.file_name().to_string_lossy().parse() else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            let inode = target.to_string_lossy();
            let inode = inode.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            let Some(inode) = inode.and_then(|inode| inode.parse().ok()) else { continue };
            if let Ok(descriptor) = descriptor.file_name().to_string_lossy().parse() {
                found.push((inode, Place { thread, descriptor }));
            }
        }
    }
    found
}

/// Reads exactly `length` bytes of the memory of `thread`.
///
/// # Errors
/// `EFAULT` when they are not all there.
pub(crate) fn read(thread: u32, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; length];
    if length == 0 {
        return Ok(bytes);
    }
    match memory::read(pid(thread)?, address, &mut bytes) {
        Ok(count) if count == length => Ok(bytes),
        _ => Err(Errno::FAULT),
    }
}

/// Writes all of `bytes` into the memory of `thread`.
///
/// # Errors
/// `EFAULT` when they cannot all be written.
pub(crate) fn write(thread: u32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    if bytes.is_empty() {
        return Ok(());
    }
    match memory::write(pid(thread)?, address, bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

/// Writes a value and its length, each at its address, with one call.
///
/// # Errors
/// `EFAULT` when they cannot all be written.
pub(crate) fn write_both(thread: u32, parts: [(u64, &[u8]); 2]) -> Result<(), Errno> {
    let length: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
    match memory::write_all(pid(thread)?, parts) {
        Ok(count) if count == length => Ok(()),
        _ => Err(Errno::FAULT),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::UnsafeCell;
    use std::os::fd::AsRawFd;

    use super::*;

    fn me(descriptor: &impl AsRawFd) -> Place {
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        Place { thread, descriptor: descriptor.as_raw_fd().cast_unsigned() }
    }

    #[test]
    fn a_descriptor_is_found_by_what_it_is_of() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let fetched = Processes::default().fetch(me(&one)).unwrap();
        let cookie = rustix::net::sockopt::socket_cookie(&one).unwrap();
        assert_eq!(rustix::net::sockopt::socket_cookie(&fetched).unwrap(), cookie);
        let inode = rustix::fs::fstat(&one).unwrap().st_ino;
        let place = me(&one);
        assert!(
            sockets_in_proc().iter().any(|(i, p)| *i == inode && p.descriptor == place.descriptor)
        );
        assert!(closes_on_exec(place));
    }

    #[test]
    fn a_thread_that_is_gone_is_no_thread() {
        let gone = std::thread::spawn(|| rustix::thread::gettid().as_raw_nonzero().get());
        let thread = gone.join().unwrap().cast_unsigned();
        let mut processes = Processes::default();
        assert_eq!(processes.fetch(Place { thread, descriptor: 0 }).unwrap_err(), Errno::SRCH);
    }

    #[test]
    fn memory_is_all_or_an_error() {
        let bytes = [1_u8, 2, 3];
        let me = std::process::id();
        assert_eq!(read(me, bytes.as_ptr() as u64, 3).unwrap(), bytes);
        assert_eq!(read(me, 8, 3), Err(Errno::FAULT));
        assert_eq!(write(me, 8, &[1]), Err(Errno::FAULT));
        let (value, length) = (UnsafeCell::new([0_u8; 4]), UnsafeCell::new([0_u8; 4]));
        let [value, length] = [&value, &length].map(|place| place.get() as u64);
        assert_eq!(write_both(me, [(value, &[7]), (length, &[1, 0, 0, 0])]), Ok(()));
        assert_eq!((read(me, value, 4), read(me, length, 1)), (Ok(vec![7, 0, 0, 0]), Ok(vec![1])));
        assert_eq!(write_both(me, [(value, &[7]), (8, &[1])]), Err(Errno::FAULT));
    }
}
