//! The calls that come, and their answers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::sys::seccomp::{self, Notification};

/// The descriptor that a filter's installation gave.
#[derive(Debug)]
pub(crate) struct Notifier {
    descriptor: OwnedFd,
}

/// What there is at the descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    /// A call waits to be received.
    pub(crate) call: bool,
    /// Every program under the filter is gone.
    pub(crate) over: bool,
}

/// What waiting for a call gave.
#[derive(Debug)]
pub(crate) enum Received {
    /// A call.
    Call(Notification),
    /// Who called is gone, or was interrupted meanwhile.
    Nothing,
}

impl Notifier {
    /// Takes calls from `descriptor`, and asks for quick changes between program and supervisor, which
    /// kernels before 6.6 do not offer.
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        // Without it everything works, only slower.
        let _ = seccomp::set_sync_wake_up(descriptor.as_fd());
        Self { descriptor }
    }

    /// Looks what there is.
    pub(crate) fn look(&self) -> Look {
        let mut entry = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        // Only a lack of memory makes this fail, and then the next look tells.
        let _ = poll(&mut entry, Some(&now));
        let found = entry[0].revents();
        Look { call: found.contains(PollFlags::IN), over: found.contains(PollFlags::HUP) }
    }

    /// Takes the next call. Waits for one, so it is to be [looked](Self::look) first.
    pub(crate) fn receive(&self) -> io::Result<Received> {
        match seccomp::receive(self.as_fd()) {
            Ok(notification) => Ok(Received::Call(notification)),
            // ENOENT: it was interrupted between the wake-up and the receipt.
            Err(error) if is_one_of(&error, &[Errno::NOENT, Errno::INTR]) => Ok(Received::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Answers with a value or an error. False when the call does not wait any more.
    pub(crate) fn answer(&self, id: u64, answer: Result<i64, Errno>) -> bool {
        let (value, error) = match answer {
            Ok(value) => (value, 0),
            Err(errno) => (0, errno.raw_os_error()),
        };
        seccomp::respond(self.as_fd(), id, value, error).is_ok()
    }

    /// Lets the kernel carry the call out. False when it does not wait any more.
    pub(crate) fn let_continue(&self, id: u64) -> bool {
        seccomp::let_continue(self.as_fd(), id).is_ok()
    }

    /// Whether the call still waits: what was learnt of the caller before is its own then.
    pub(crate) fn is_valid(&self, id: u64) -> bool {
        seccomp::is_valid(self.as_fd(), id)
    }

    /// Gives the caller a descriptor and its number as the answer, in one step.
    pub(crate) fn give(
        &self,
        id: u64,
        descriptor: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> io::Result<i32> {
        seccomp::add_and_respond(self.as_fd(), id, descriptor, close_on_exec)
    }

    /// Puts a descriptor in the place of the caller's own `target`. The call goes on waiting.
    pub(crate) fn replace(
        &self,
        id: u64,
        descriptor: BorrowedFd<'_>,
        target: u32,
        close_on_exec: bool,
    ) -> io::Result<()> {
        seccomp::replace(self.as_fd(), id, descriptor, target, close_on_exec).map(drop)
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn is_one_of(error: &io::Error, errnos: &[Errno]) -> bool {
    errnos.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
