//! Who talks to whom: the key of everything that belongs to one conversation.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Both ends of a conversation, as this stack sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FourTuple {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
}

impl FourTuple {
    /// The conversation between two addresses and ports.
    #[must_use]
    pub fn new(local: (IpAddr, u16), remote: (IpAddr, u16)) -> Self {
        Self {
            local: SocketAddr::new(local.0, local.1),
            remote: SocketAddr::new(remote.0, remote.1),
        }
    }

    /// The same conversation as the peer sees it.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { local: self.remote, remote: self.local }
    }
}

impl fmt::Display for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local, self.remote)
    }
}
