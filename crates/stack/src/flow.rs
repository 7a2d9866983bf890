//! Who talks to whom: the key of everything that belongs to one conversation.

use alloc::boxed::Box;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// A family of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The address that stands for all of the family.
    #[must_use]
    pub const fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

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

/// A [`FourTuple`] as an endpoint keeps it: in the bytes that it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PackedTuple {
    /// Both ends have IPv4. On a socket of IPv6 they are shown as `::ffff:10.0.0.1`.
    V4 { local: Ipv4Addr, remote: Ipv4Addr, local_port: u16, remote_port: u16, mapped: bool },
    /// Both ends have IPv6; their 56 bytes stand elsewhere.
    Other(Box<FourTuple>),
}

const _: () = assert!(size_of::<PackedTuple>() <= 16);

impl PackedTuple {
    /// The whole of it.
    pub(crate) fn unpack(&self) -> FourTuple {
        match self {
            Self::V4 { local, remote, local_port, remote_port, .. } => FourTuple {
                local: SocketAddrV4::new(*local, *local_port).into(),
                remote: SocketAddrV4::new(*remote, *remote_port).into(),
            },
            Self::Other(tuple) => **tuple,
        }
    }

    /// Whether the ends are shown as addresses of IPv6 though they are none.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self, Self::V4 { mapped: true, .. })
    }

    /// Has them shown so, or not.
    pub(crate) fn set_mapped(&mut self, on: bool) {
        if let Self::V4 { mapped, .. } = self {
            *mapped = on;
        }
    }
}

impl From<FourTuple> for PackedTuple {
    fn from(tuple: FourTuple) -> Self {
        match (tuple.local, tuple.remote) {
            (SocketAddr::V4(local), SocketAddr::V4(remote)) => Self::V4 {
                local: *local.ip(),
                remote: *remote.ip(),
                local_port: local.port(),
                remote_port: remote.port(),
                mapped: false,
            },
            _ => Self::Other(Box::new(tuple)),
        }
    }
}

impl fmt::Display for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local, self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv6Addr, SocketAddrV6};

    #[test]
    fn what_is_packed_comes_out_whole() {
        let v4 = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 80);
        let v6 = (IpAddr::V6(Ipv6Addr::LOCALHOST), 8080);
        let mut scoped = FourTuple::new(v6, v6);
        scoped.remote = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 3, 7).into();
        for tuple in [FourTuple::new(v4, (v4.0, 9)), FourTuple::new(v6, v4), scoped] {
            assert_eq!(PackedTuple::from(tuple).unpack(), tuple);
        }
    }
}
