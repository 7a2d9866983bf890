//! What a driver sleeps on: the links' descriptors, and a kick from other threads.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::Errno;

/// An epoll descriptor and an event descriptor in it.
///
/// Which link woke it does not matter: a turn of the driver looks at all of its few links.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    kick: OwnedFd,
}

/// What our own descriptors are called among those of a program.
pub(crate) const INTERNAL: u64 = u64::MAX;

/// Sleeps until `descriptor` is readable, or `timeout` (none: however long it takes). False when that
/// was all. For one descriptor that is the quicker way.
pub(crate) fn wait_for(descriptor: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut descriptors = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    match poll(&mut descriptors, timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sleeps until one of them is readable. Whether the first one is.
pub(crate) fn wait_for_either(first: BorrowedFd<'_>, second: BorrowedFd<'_>) -> io::Result<bool> {
    let mut both = [first, second].map(|one| PollFd::from_borrowed_fd(one, PollFlags::IN));
    match poll(&mut both, None) {
        Ok(_) => Ok(!both[0].revents().is_empty()),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl AsFd for Poller {
    /// Readable when `wait` would return at once.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// What is waited for on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    /// Nothing, not even errors.
    Nothing,
    /// Frames.
    Frames,
    /// Frames, and room for one to send.
    FramesAndRoom,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let poller = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            kick: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        // Edge-triggered, so that nobody has to read it: each kick is one event.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&poller.epoll, &poller.kick, epoll::EventData::new_u64(INTERNAL), flags)?;
        Ok(poller)
    }

    /// Changes what is waited for on `descriptor`. Takes effect in a `wait` that is under way.
    pub(crate) fn change(
        &self,
        descriptor: BorrowedFd<'_>,
        from: Interest,
        to: Interest,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(INTERNAL);
        let flags = match to {
            Interest::Nothing | Interest::Frames => epoll::EventFlags::IN,
            Interest::FramesAndRoom => epoll::EventFlags::IN | epoll::EventFlags::OUT,
        };
        match (from, to) {
            (from, to) if from == to => {}
            // epoll reports errors even to who asked for nothing: out with it.
            (_, Interest::Nothing) => epoll::delete(&self.epoll, descriptor)?,
            (Interest::Nothing, _) => epoll::add(&self.epoll, descriptor, data, flags)?,
            (_, _) => epoll::modify(&self.epoll, descriptor, data, flags)?,
        }
        Ok(())
    }

    /// Begins or ends to wait for the kicks of another one, too.
    pub(crate) fn share_kicks(&self, other: &Self, on: bool) -> io::Result<()> {
        if on {
            let data = epoll::EventData::new_u64(INTERNAL);
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &other.kick, data, flags)?;
        } else {
            epoll::delete(&self.epoll, &other.kick)?;
        }
        Ok(())
    }

    /// Begins to wait for edges of a descriptor of the program's.
    pub(crate) fn add(
        &self,
        descriptor: BorrowedFd<'_>,
        name: u64,
        flags: epoll::EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(name), flags)?)
    }

    /// Changes what is waited for there, or how it is called.
    pub(crate) fn modify(
        &self,
        descriptor: BorrowedFd<'_>,
        name: u64,
        flags: epoll::EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, descriptor, epoll::EventData::new_u64(name), flags)?)
    }

    /// Waits for it no more.
    pub(crate) fn remove(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, descriptor)?)
    }

    /// As `wait`, and gives what came, as much as there is room for.
    pub(crate) fn wait_into<'a>(
        &self,
        room: &'a mut [MaybeUninit<epoll::Event>],
        timeout: Option<Duration>,
    ) -> io::Result<&'a mut [epoll::Event]> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match epoll::wait(self.epoll.as_fd(), room, timeout.as_ref()) {
            Ok((events, _)) => Ok(events),
            Err(Errno::INTR) => Ok(&mut []),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the `wait` that is under way, or the next one, return at once.
    pub(crate) fn kick(&self) {
        // It can only fail when 2^64 kicks were not seen.
        let _ = rustix::io::write(&self.kick, &1_u64.to_ne_bytes());
    }

    /// Sleeps until a descriptor is ready, a kick, or `timeout` (none: however long it takes). False
    /// when that was all.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        // A duration that does not fit is centuries long.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 8];
        match epoll::wait(self.epoll.as_fd(), &mut events, timeout.as_ref()) {
            Ok((ready, _)) => Ok(!ready.is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
