//! What a poll is asked for, and what it tells.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::BitOr;

use rustix::event::epoll;
use rustix::event::epoll::EventFlags;
use stack::Ready;

use crate::poller::INTERNAL;

/// The name that a program gives to what it registers, and finds in its events.
///
/// `Token(usize::MAX)` is the poll's own: it cannot be registered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(
    /// Any number: most often the place of a connection in a table of the program.
    pub usize,
);

/// What a program wants to be told of a source.
///
/// ```
/// use estab::blocking::poll::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Interest(u8);

/// Something that happened to a source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event {
    token: Token,
    ready: Ready,
}

/// Where [`Poll::poll`](super::Poll::poll) puts what happened. It is made once and used again.
pub struct Events {
    events: Vec<Event>,
    capacity: usize,
}

/// What came with one call.
#[derive(Clone, Copy, Default)]
pub(super) struct Came {
    /// Something.
    pub(super) any: bool,
    /// Something that is none of the program's: a frame, room for one, a kick.
    pub(super) internal: bool,
}

/// How many events of descriptors are fetched with one call.
const FETCHED: usize = 128;

impl Interest {
    /// Something to read or to accept, or the end of what the peer sends.
    pub const READABLE: Self = Self(1);
    /// Room to write, or the end of a handshake.
    pub const WRITABLE: Self = Self(2);

    /// Both of them. `a | b` is the same.
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This without `other`; `None` when that would be nothing.
    #[must_use]
    pub fn remove(self, other: Self) -> Option<Self> {
        match self.0 & !other.0 {
            0 => None,
            rest => Some(Self(rest)),
        }
    }

    /// Whether it has [`READABLE`](Self::READABLE).
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE.0 != 0
    }

    /// Whether it has [`WRITABLE`](Self::WRITABLE).
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE.0 != 0
    }

    /// What of a socket that is. Failures are told whatever is asked for.
    pub(super) fn of_socket(self) -> Ready {
        let mut ready = Ready::ERROR;
        ready.set(Ready::READ | Ready::READ_CLOSED | Ready::PENDING, self.is_readable());
        ready.set(Ready::WRITE | Ready::WRITE_CLOSED, self.is_writable());
        ready
    }

    /// What of a descriptor that is.
    pub(super) fn of_descriptor(self) -> EventFlags {
        let mut flags = EventFlags::ET;
        flags.set(EventFlags::IN | EventFlags::RDHUP, self.is_readable());
        flags.set(EventFlags::OUT, self.is_writable());
        flags
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.add(other)
    }
}

impl Event {
    /// What the source was registered with.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// There is something to read or to accept, or an end or an error to find by that.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.ready.intersects(Ready::READ | Ready::READ_CLOSED | Ready::PENDING)
    }

    /// There is room to write, or a handshake is over, or writing will fail.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.ready.intersects(Ready::WRITE | Ready::WRITE_CLOSED)
    }

    /// It failed: `take_error` says why.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.ready.contains(Ready::ERROR)
    }

    /// Nothing will come behind what can be read now.
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        self.ready.contains(Ready::READ_CLOSED)
    }

    /// Nothing can be written any more.
    #[must_use]
    pub fn is_write_closed(&self) -> bool {
        self.ready.contains(Ready::WRITE_CLOSED)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("token", &self.token)
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("error", &self.is_error())
            .field("read_closed", &self.is_read_closed())
            .field("write_closed", &self.is_write_closed())
            .finish()
    }
}

impl Events {
    /// Room for `capacity` events, and at least for one: so many does one call bring at the most. What
    /// does not fit comes with the next one.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { events: Vec::with_capacity(capacity), capacity }
    }

    /// How many there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What happened, in no order to rely on.
    pub fn iter(&self) -> std::slice::Iter<'_, Event> {
        self.events.iter()
    }

    /// Forgets it. A poll does so before it looks.
    pub fn clear(&mut self) {
        self.events.clear();
    }

    /// For how many there is room yet.
    pub(super) fn room(&self) -> usize {
        self.capacity() - self.events.len()
    }

    /// Adds what happened to a socket.
    pub(super) fn push(&mut self, token: usize, ready: Ready) {
        self.events.push(Event { token: Token(token), ready });
    }

    /// Adds what `wait` finds of descriptors, when it is given room for at most `limit`.
    pub(super) fn fetch<E>(
        &mut self,
        limit: usize,
        wait: impl FnOnce(&mut [MaybeUninit<epoll::Event>]) -> Result<&mut [epoll::Event], E>,
    ) -> Result<Came, E> {
        let mut raw = [MaybeUninit::uninit(); FETCHED];
        let limit = limit.min(self.room()).min(FETCHED);
        let found = wait(&mut raw[..limit])?;
        let outside = found.iter().filter(|event| event.data.u64() != INTERNAL);
        self.events.extend(outside.filter_map(event_of));
        let internal = found.iter().any(|event| event.data.u64() == INTERNAL);
        Ok(Came { any: !found.is_empty(), internal })
    }
}

/// What happened to a descriptor.
fn event_of(event: &epoll::Event) -> Option<Event> {
    let (token, flags) = (event.data.u64(), event.flags);
    let hangs_up = flags.contains(EventFlags::HUP);
    let mut ready = Ready::empty();
    ready.set(Ready::READ, flags.intersects(EventFlags::IN | EventFlags::HUP));
    ready.set(Ready::WRITE, flags.contains(EventFlags::OUT));
    ready.set(Ready::ERROR, flags.contains(EventFlags::ERR));
    ready.set(Ready::READ_CLOSED, hangs_up || flags.contains(EventFlags::RDHUP));
    ready.set(Ready::WRITE_CLOSED, hangs_up || flags.contains(EventFlags::ERR));
    Some(Event { token: Token(usize::try_from(token).ok()?), ready })
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
