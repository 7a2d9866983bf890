//! Which way a packet goes, and from which address (RFC 1122 3.3.1, 3.3.4.3).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;

/// How many routes a stack keeps. A host has one or two per interface; 1024 is far beyond what
/// somebody types, and keeps the walk over the table short.
const ROUTE_LIMIT: usize = 1024;

/// The way to a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    /// The address that packets come from.
    pub(crate) source: IpAddr,
    /// Where they go first.
    pub(crate) hop: Hop,
}

/// The first step of a way. Holds until the generation of the [`Interfaces`] changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hop {
    /// Where packets leave; the loopback for our own addresses.
    pub(crate) interface: InterfaceId,
    /// Whose hardware address they need: the destination's, or a gateway's.
    pub(crate) next_hop: IpAddr,
    /// The largest IP packet in bytes.
    pub(crate) mtu: u16,
    /// The link completes transport checksums.
    pub(crate) checksum: bool,
    /// The link cuts super-segments.
    pub(crate) segmentation: bool,
    /// The generation of the addresses and routes that this follows from.
    pub(crate) generation: u32,
}

/// One line of the routing table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    /// The destinations' common bits, the others zero.
    network: Ipv4Addr,
    /// How many bits that is.
    prefix_len: u8,
    /// Through whom; `None` when the destinations are on the link itself.
    gateway: Option<Ipv4Addr>,
    /// Where it leaves.
    interface: InterfaceId,
}

/// The routing table, longest prefix first.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    entries: Vec<Entry>,
}

impl RouteTable {
    /// Adds a route, in place of another to the same destinations over the same interface.
    pub(crate) fn add(
        &mut self,
        network: Ipv4Addr,
        prefix_len: u8,
        gateway: Option<Ipv4Addr>,
        interface: InterfaceId,
    ) -> Result<(), Error> {
        let network = masked(network, prefix_len);
        self.remove(network, prefix_len, gateway.is_some(), interface);
        if self.entries.len() >= ROUTE_LIMIT {
            return Err(Error::LimitReached);
        }
        // Behind those of the same length: the first one given is the one that counts.
        let place = self.entries.partition_point(|entry| entry.prefix_len >= prefix_len);
        self.entries.insert(place, Entry { network, prefix_len, gateway, interface });
        Ok(())
    }

    /// Takes a route out, and says whether it was there.
    pub(crate) fn remove(
        &mut self,
        network: Ipv4Addr,
        prefix_len: u8,
        through_gateway: bool,
        interface: InterfaceId,
    ) -> bool {
        let network = masked(network, prefix_len);
        let before = self.entries.len();
        self.entries.retain(|entry| {
            !(entry.network == network
                && entry.prefix_len == prefix_len
                && entry.gateway.is_some() == through_gateway
                && entry.interface == interface)
        });
        self.entries.len() != before
    }

    /// The interface and the next hop for `destination`: the longest prefix that holds it.
    fn find(&self, destination: Ipv4Addr) -> Option<(InterfaceId, Ipv4Addr)> {
        let holds = |entry: &&Entry| masked(destination, entry.prefix_len) == entry.network;
        let entry = self.entries.iter().find(holds)?;
        Some((entry.interface, entry.gateway.unwrap_or(destination)))
    }
}

impl Interfaces {
    /// The way to `destination`, from `source` where the caller has bound one.
    ///
    /// # Errors
    /// [`Error::NetworkUnreachable`] when no route leads there, or no address of ours can be the
    /// source.
    pub(crate) fn route(
        &self,
        source: Option<IpAddr>,
        destination: IpAddr,
    ) -> Result<Route, Error> {
        let source = source.filter(|ip| !ip.is_unspecified());
        if self.is_local(destination) {
            return Ok(self.route_to_self(source.unwrap_or(destination), destination));
        }
        let IpAddr::V4(v4) = destination else { return Err(Error::NetworkUnreachable) };
        // RFC 1122 3.2.1.3 (g): a loopback address must not appear outside the host.
        if v4.is_unspecified() || source.is_some_and(|ip| ip.is_loopback()) {
            return Err(Error::NetworkUnreachable);
        }
        let (interface, next_hop) = self.next_hop(source, v4).ok_or(Error::NetworkUnreachable)?;
        let source = match source {
            Some(source) => source,
            None => {
                IpAddr::V4(self.source_for(interface, next_hop).ok_or(Error::NetworkUnreachable)?)
            }
        };
        let link = self.capabilities(interface).ok_or(Error::NetworkUnreachable)?;
        let hop = Hop {
            interface,
            next_hop: IpAddr::V4(next_hop),
            mtu: link.mtu,
            checksum: link.checksum,
            segmentation: link.segmentation,
            generation: self.generation(),
        };
        Ok(Route { source, hop })
    }

    /// From ourselves to ourselves: nothing can be lost or damaged on the way, so checksums are
    /// as good as completed and never computed.
    fn route_to_self(&self, source: IpAddr, destination: IpAddr) -> Route {
        let hop = Hop {
            interface: InterfaceId::LOOPBACK,
            next_hop: destination,
            mtu: u16::MAX,
            checksum: true,
            segmentation: false,
            generation: self.generation(),
        };
        Route { source, hop }
    }

    fn next_hop(
        &self,
        source: Option<IpAddr>,
        destination: Ipv4Addr,
    ) -> Option<(InterfaceId, Ipv4Addr)> {
        // A group without a route: the link of the source address, else the first there is.
        let group = destination.is_multicast() || destination.is_broadcast();
        let found = if destination.is_broadcast() { None } else { self.routes.find(destination) };
        found.or_else(|| {
            let interface = source
                .map_or_else(|| self.first_with_address(), |source| self.interface_of(source));
            interface.filter(|_| group).map(|interface| (interface, destination))
        })
    }

    /// RFC 1122 3.3.4.3: an address in the next hop's own network, else the interface's first,
    /// else our first.
    fn source_for(&self, interface: InterfaceId, next_hop: Ipv4Addr) -> Option<Ipv4Addr> {
        let of_interface = || self.assigned(interface);
        let near = of_interface().find(|assigned| assigned.network_holds(next_hop));
        near.or_else(|| of_interface().next())
            .or_else(|| self.first_with_address().and_then(|id| self.assigned(id).next()))
            .map(|assigned| assigned.address)
    }
}

/// `address` with everything behind its first `prefix_len` bits zero.
pub(crate) fn masked(address: Ipv4Addr, prefix_len: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & mask(prefix_len))
}

/// The first `prefix_len` bits set; more than 32 count as 32.
pub(crate) fn mask(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: InterfaceId = InterfaceId(1);
    const TWO: InterfaceId = InterfaceId(2);

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let mut table = RouteTable::default();
        let gateway = Ipv4Addr::new(10, 0, 0, 1);
        table.add(Ipv4Addr::UNSPECIFIED, 0, Some(gateway), ONE).unwrap();
        table.add(Ipv4Addr::new(10, 1, 2, 9), 24, None, TWO).unwrap();
        table.add(Ipv4Addr::new(10, 0, 0, 0), 8, None, ONE).unwrap();
        let near = Ipv4Addr::new(10, 1, 2, 3);
        assert_eq!(table.find(near), Some((TWO, near)));
        let far = Ipv4Addr::new(10, 1, 3, 3);
        assert_eq!(table.find(far), Some((ONE, far)));
        assert_eq!(table.find(Ipv4Addr::new(192, 0, 2, 1)), Some((ONE, gateway)));
        assert!(table.remove(Ipv4Addr::new(10, 1, 2, 0), 24, false, TWO));
        assert_eq!(table.find(near), Some((ONE, near)));
    }

    proptest! {
        #[test]
        fn agrees_with_a_search_of_all_routes(
            routes in proptest::collection::vec((any::<u32>(), 0..=32_u8), 0..20),
            destination: u32,
        ) {
            let destination = Ipv4Addr::from_bits(destination & 0xc000_00ff);
            let mut table = RouteTable::default();
            let mut model: Vec<(Ipv4Addr, u8)> = Vec::new();
            for (network, prefix_len) in routes {
                let network = masked(Ipv4Addr::from_bits(network & 0xc000_00ff), prefix_len);
                table.add(network, prefix_len, Some(network), ONE).unwrap();
                model.push((network, prefix_len));
            }
            let best = model.into_iter()
                .filter(|&(network, length)| masked(destination, length) == network)
                .max_by_key(|&(_, length)| length);
            prop_assert_eq!(table.find(destination).map(|(_, hop)| hop), best.map(|(net, _)| net));
        }
    }
}
