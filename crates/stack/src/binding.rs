//! What a socket is bound to, and IPv4 on sockets of IPv6 (RFC 4291 2.5.5.2, RFC 3493 3.7 and 5.3).
//!
//! A socket of IPv6 speaks IPv4 too: there `::ffff:10.0.0.1` stands for 10.0.0.1. Bound to `[::]` it
//! hears both families, unless the program wants IPv6 alone. Tables know nothing of this: they hold
//! IPv4 as IPv4, and packets with such addresses do not exist. Only what a program says and is shown
//! is translated, by the binding of its socket.
//!
//! Conflicts are Linux's: `[::]` takes the port of both families, `[::ffff:10.0.0.1]` the one that a
//! socket of IPv4 on 10.0.0.1 would, and other addresses of IPv6 leave IPv4 alone.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use arrayvec::ArrayVec;

use crate::Family;
use crate::error::Error;
use crate::ip::without_scope;

/// What a socket is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Binding {
    /// Address and port as tables hold them; an unspecified address stands for all of its family, and
    /// for those of IPv4 too where the binding is [for both](Binding::is_for_both).
    pub(crate) local: SocketAddr,
    /// The family of the socket, in which it shows addresses.
    family: Family,
    /// It speaks no IPv4 (`IPV6_V6ONLY`).
    only_v6: bool,
}

/// The addresses and ports that a binding takes: one, or one of each family.
pub(crate) type Places = ArrayVec<SocketAddr, 2>;

impl Binding {
    /// The binding of a socket to an address as a program gives it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an address of IPv4 on a socket for IPv6 alone.
    pub(crate) fn new(asked: SocketAddr, only_v6: bool) -> Result<Self, Error> {
        let family = if asked.is_ipv4() { Family::V4 } else { Family::V6 };
        let only_v6 = only_v6 && family == Family::V6;
        let local = without_scope(unmapped(asked));
        if only_v6 && local.is_ipv4() {
            return Err(Error::InvalidInput);
        }
        Ok(Self { local, family, only_v6 })
    }

    /// The binding of a connection's socket to `local`, where the program says that, and the peer as
    /// tables hold it.
    ///
    /// # Errors
    /// Those of [`Binding::new`] and [`Binding::peer`].
    pub(crate) fn of_connection(
        local: Option<SocketAddr>,
        remote: SocketAddr,
        only_v6: bool,
    ) -> Result<(Self, SocketAddr), Error> {
        let family = if remote.is_ipv4() { Family::V4 } else { Family::V6 };
        let binding = match local {
            Some(local) if local.is_ipv4() != remote.is_ipv4() => return Err(Error::InvalidInput),
            Some(local) => Self::new(local, only_v6)?,
            None => Self::new(SocketAddr::new(family.unspecified(), 0), only_v6)?,
        };
        Ok((binding, binding.peer(remote)?))
    }

    /// The binding to an address of a packet, in its own family.
    pub(crate) fn to(local: SocketAddr) -> Self {
        let family = if local.is_ipv4() { Family::V4 } else { Family::V6 };
        Self { local, family, only_v6: true }
    }

    /// The same with another port.
    pub(crate) fn with_port(mut self, port: u16) -> Self {
        self.local.set_port(port);
        self
    }

    /// It stands for all addresses of both families.
    pub(crate) fn is_for_both(&self) -> bool {
        self.family == Family::V6 && !self.only_v6 && self.local.ip() == Ipv6Addr::UNSPECIFIED
    }

    /// What it takes.
    pub(crate) fn places(&self) -> Places {
        let mut places = Places::from_iter([self.local]);
        if self.is_for_both() {
            places.push(SocketAddr::new(Family::V4.unspecified(), self.local.port()));
        }
        places
    }

    /// Whether the socket hears what is sent to `address`, as far as the family decides.
    pub(crate) fn hears_family_of(&self, address: IpAddr) -> bool {
        self.local.is_ipv4() == address.is_ipv4() || self.is_for_both()
    }

    /// A peer that the program names, as tables hold it. It keeps the scope that it has.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the other family; [`Error::NetworkUnreachable`] for IPv4 on a socket
    /// for IPv6 alone.
    pub(crate) fn peer(&self, named: SocketAddr) -> Result<SocketAddr, Error> {
        if self.family == Family::V4 && !named.is_ipv4() {
            return Err(Error::InvalidInput);
        }
        let peer = unmapped(named);
        if self.only_v6 && self.family == Family::V6 && peer.is_ipv4() {
            return Err(Error::NetworkUnreachable);
        }
        if self.hears_family_of(peer.ip()) { Ok(peer) } else { Err(Error::InvalidInput) }
    }

    /// Where packets to `peer` come from, if the binding says so.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        Some(self.local.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
    }

    /// An address and port as the socket shows them.
    pub(crate) fn show(&self, address: SocketAddr) -> SocketAddr {
        if self.family == Family::V6 { mapped(address) } else { address }
    }

    /// Whether it shows what has to do with `peer` in another family.
    pub(crate) fn maps(&self, peer: SocketAddr) -> bool {
        self.family == Family::V6 && peer.is_ipv4()
    }
}

/// IPv4 as a socket of IPv6 shows it.
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
        SocketAddr::V6(_) => address,
    }
}

/// The address and port that are meant, where IPv4 may be written as IPv6.
pub(crate) fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn bound(address: &str, only_v6: bool) -> Binding {
        Binding::new(at(address), only_v6).unwrap()
    }

    /// Which ports are taken is what conflicts are made of.
    #[test]
    fn a_binding_takes_what_linux_lets_it_take() {
        let table: [(&str, bool, &[&str]); 7] = [
            ("0.0.0.0:80", false, &["0.0.0.0:80"]),
            ("10.0.0.1:80", true, &["10.0.0.1:80"]),
            ("[::]:80", false, &["[::]:80", "0.0.0.0:80"]),
            ("[::]:80", true, &["[::]:80"]),
            ("[fd77::2]:80", false, &["[fd77::2]:80"]),
            ("[::ffff:10.0.0.1]:80", false, &["10.0.0.1:80"]),
            ("[::ffff:0.0.0.0]:80", false, &["0.0.0.0:80"]),
        ];
        for (address, only_v6, taken) in table {
            let places: Vec<_> = bound(address, only_v6).places().into_iter().collect();
            let taken: Vec<_> = taken.iter().map(|place| at(place)).collect();
            assert_eq!(places, taken, "{address} {only_v6}");
        }
        assert_eq!(Binding::new(at("[::ffff:10.0.0.1]:80"), true), Err(Error::InvalidInput));
    }

    #[test]
    fn a_peer_is_of_a_family_that_the_socket_speaks() {
        let v4 = Ok(at("10.0.0.9:7"));
        let v6 = Ok(at("[fd77::9]:7"));
        let wrong = Err(Error::InvalidInput);
        let away = Err(Error::NetworkUnreachable);
        // Bound to, for IPv6 alone: and what becomes of 10.0.0.9, ::ffff:10.0.0.9 and fd77::9.
        let table = [
            ("0.0.0.0:1", false, [v4, wrong, wrong]),
            ("[::]:1", false, [v4, v4, v6]),
            ("[::]:1", true, [away, away, v6]),
            ("[fd77::2]:1", false, [wrong, wrong, v6]),
            ("[::ffff:10.0.0.1]:1", false, [v4, v4, wrong]),
        ];
        for (address, only_v6, expected) in table {
            let binding = bound(address, only_v6);
            let named = ["10.0.0.9:7", "[::ffff:10.0.0.9]:7", "[fd77::9]:7"];
            assert_eq!(named.map(|peer| binding.peer(at(peer))), expected, "{address}");
        }
    }

    #[test]
    fn a_socket_of_ipv6_shows_ipv4_as_ipv6() {
        let shown = |binding: &str| -> Vec<String> {
            let binding = bound(binding, false);
            let show = |address| alloc::format!("{}", binding.show(at(address)));
            ["10.0.0.9:7", "[fe80::1%3]:7"].map(show).into_iter().collect()
        };
        assert_eq!(shown("[::]:1"), ["[::ffff:10.0.0.9]:7", "[fe80::1%3]:7"]);
        assert_eq!(shown("0.0.0.0:1")[0], "10.0.0.9:7");
    }

    /// RFC 4291 2.5.5.2: no other address of IPv6 stands for one of IPv4.
    #[test]
    fn only_mapped_addresses_are_translated() {
        for address in ["[::10.0.0.1]:1", "[64:ff9b::10.0.0.1]:1", "[::1]:1", "[fe80::1%3]:1"] {
            assert_eq!(unmapped(at(address)), at(address));
        }
        assert_eq!(unmapped(mapped(at("10.0.0.1:9"))), at("10.0.0.1:9"));
    }
}
