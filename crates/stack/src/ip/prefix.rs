//! Prefixes: the common bits of the addresses of a network (RFC 4632, RFC 4291 2.3).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Prefix {
    /// The common bits, the others zero.
    network: IpAddr,
    length: u8,
}

impl Prefix {
    /// Every address of IPv4.
    pub(crate) const ALL_V4: Self = Self { network: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 };
    /// Every address of IPv6.
    pub(crate) const ALL_V6: Self = Self { network: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 };

    /// What hosts of a link make their addresses of (RFC 4291 2.5.6).
    pub(crate) const LINK_LOCAL: Self =
        Self { network: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), length: 64 };

    /// The addresses that have the first `length` bits of `address`. More bits than an address has
    /// count as all of them.
    pub(crate) fn new(address: IpAddr, length: u8) -> Self {
        let length = length.min(bits_of(address));
        Self { network: masked(address, length), length }
    }

    /// How many bits are common.
    pub(crate) const fn length(&self) -> u8 {
        self.length
    }

    /// Its first address.
    pub(crate) const fn network(&self) -> IpAddr {
        self.network
    }

    /// Whether it is of IPv4.
    pub(crate) const fn is_v4(&self) -> bool {
        self.network.is_ipv4()
    }

    /// Whether `address` begins with them.
    #[inline]
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                address.to_bits() & mask_v4(self.length) == network.to_bits()
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                address.to_bits() & mask_v6(self.length) == network.to_bits()
            }
            _ => false,
        }
    }

    /// RFC 1122 3.2.1.3 (e): `{ <Network-number>, <Subnet-number>, -1 }`. Links of two hosts and
    /// of one have no such address (RFC 3021), and IPv6 has none at all.
    pub(crate) fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.network {
            IpAddr::V4(network) if self.length < 31 => {
                Some(Ipv4Addr::from_bits(network.to_bits() | !mask_v4(self.length)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

/// How many bits an address has.
pub(crate) const fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// How many bits two addresses have in common, counted from the first.
pub(crate) fn common_bits(one: Ipv6Addr, other: Ipv6Addr) -> u32 {
    (one.to_bits() ^ other.to_bits()).leading_zeros()
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(length))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(length))),
    }
}

fn mask_v4(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0)
}

fn mask_v6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_begins_with_it() {
        let v4 = |a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
        let net = Prefix::new(v4(10, 1, 2, 3), 23);
        assert!(net.holds(v4(10, 1, 3, 255)) && !net.holds(v4(10, 1, 4, 0)));
        assert_eq!(net.broadcast(), Some(Ipv4Addr::new(10, 1, 3, 255)));
        assert_eq!(Prefix::new(v4(10, 1, 2, 3), 31).broadcast(), None);
        assert!(Prefix::ALL_V4.holds(v4(1, 2, 3, 4)));
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last));
        let net = Prefix::new(v6(9), 64);
        assert!(net.holds(v6(0xffff)) && !net.holds(v4(10, 1, 3, 255)));
        assert!(!Prefix::new(v6(9), 128).holds(v6(8)) && Prefix::ALL_V6.holds(v6(1)));
        assert_eq!((net.broadcast(), Prefix::new(v6(0), 200).length()), (None, 128));
        assert_eq!(alloc::format!("{net}"), "fd77::/64");
    }
}
