//! What a supervisor is told when it starts.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::bound::Bound;
use crate::report::CallEvent;

/// Who is shown each call ([`Options::trace`]).
pub type Observer = Box<dyn FnMut(&CallEvent) + Send>;

/// How a supervisor serves programs.
pub struct Options {
    /// A program that connects or sends to the first of each pair reaches the second, and sees the first
    /// as its peer: for addresses that are written in programs.
    pub maps: Vec<(SocketAddr, SocketAddr)>,
    /// How long what programs wrote may take to be delivered when all of them are gone. 10 s.
    pub drain: Duration,
    /// Sees every call that is served, and what it did. Costs a lock of the stack and a text for each
    /// call; `None`, the default, costs nothing.
    pub trace: Option<Observer>,
    /// Told once, what programs do first: after the first call by which one waits for others (`listen`, or
    /// `bind` of UDP to a port), or before the first by which one turns to another host (`connect`,
    /// `sendto`, ...), which waits until it returns.
    pub first_use: Option<Box<dyn FnOnce(FirstUse) + Send>>,
    /// How many names and errors of finished connections are kept for programs that still have the
    /// descriptor, before it is looked who does. 4096.
    pub tombstones: usize,
    /// What is bound already: the same for all supervisors of a stack. Alone, one has its own.
    pub bound: Bound,
    /// A socket of the kernel's in the network of the programs, which answers what they ask about interfaces
    /// (netdevice(7)) as netlink does there. `None`: such questions are refused (`ENOTTY`).
    pub interfaces: Option<OwnedFd>,
}

/// What programs do first with their sockets ([`Options::first_use`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstUse {
    /// One waits for others.
    Listens,
    /// One turns to others.
    Connects,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            maps: Vec::new(),
            drain: Duration::from_secs(10),
            trace: None,
            first_use: None,
            tombstones: 4096,
            bound: Bound::default(),
            interfaces: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("maps", &self.maps)
            .field("drain", &self.drain)
            .field("traced", &self.trace.is_some())
            .field("tombstones", &self.tombstones)
            .finish()
    }
}
