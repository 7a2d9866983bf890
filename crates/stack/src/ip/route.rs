//! Which way a packet goes (RFC 1122 3.3.1, RFC 4861 5.2).

use alloc::vec::Vec;
use core::net::IpAddr;

use wire::frame::Capabilities;

use crate::config::DEFAULT_TTL;
use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;
use crate::ip::prefix::{Prefix, bits_of};
use crate::ip::scope::is_mapped;
use crate::stack::Stack;

/// How many routes a stack keeps for each family. A host has one or two per interface; 1024 is far
/// beyond what somebody types, and keeps the walk over the table short.
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
    /// What TCP announces its largest segment by: the link's MTU, whatever is known of the way (RFC 1191
    /// 3.1), or less where segments are clamped.
    pub(crate) segment_mtu: u16,
    /// The TTL or hop limit of what is sent where the program says none.
    pub(crate) ttl: u8,
    /// What the link does of a packet's work.
    pub(crate) offload: Offload,
    /// The generation of the addresses and routes that this follows from.
    pub(crate) generation: u32,
}

/// What a link does of a packet's work, each with what stands before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Offload {
    /// Nothing.
    Nothing,
    /// It completes transport checksums.
    Checksum,
    /// It cuts super-segments.
    Segmentation,
}

impl Offload {
    fn of(link: Capabilities) -> Self {
        match (link.checksum, link.segmentation) {
            // Who cuts makes the checksums of the pieces.
            (true, true) => Self::Segmentation,
            (true, false) => Self::Checksum,
            (false, _) => Self::Nothing,
        }
    }
}

/// One line of the routing table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    /// The destinations.
    prefix: Prefix,
    /// Through whom; `None` when the destinations are on the link itself.
    gateway: Option<IpAddr>,
    /// Where it leaves.
    interface: InterfaceId,
}

/// The routing table of both families, longest prefix first.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    v4: Vec<Entry>,
    v6: Vec<Entry>,
}

impl RouteTable {
    /// Adds a route, in place of another to the same destinations over the same interface.
    pub(crate) fn add(
        &mut self,
        prefix: Prefix,
        gateway: Option<IpAddr>,
        interface: InterfaceId,
    ) -> Result<(), Error> {
        self.remove(prefix, gateway.is_some(), interface);
        let entries = self.of_family_mut(prefix);
        if entries.len() >= ROUTE_LIMIT {
            return Err(Error::LimitReached);
        }
        // Behind those of the same length: the first one given is the one that counts.
        let place = entries.partition_point(|entry| entry.prefix.length() >= prefix.length());
        entries.insert(place, Entry { prefix, gateway, interface });
        Ok(())
    }

    /// Takes a route out, and says whether it was there.
    pub(crate) fn remove(
        &mut self,
        prefix: Prefix,
        through_gateway: bool,
        interface: InterfaceId,
    ) -> bool {
        let entries = self.of_family_mut(prefix);
        let before = entries.len();
        entries.retain(|entry| {
            !(entry.prefix == prefix
                && entry.gateway.is_some() == through_gateway
                && entry.interface == interface)
        });
        entries.len() != before
    }

    /// Through whom the route to `prefix` over `interface` leads, if there is one through somebody.
    pub(super) fn gateway_of(&self, prefix: Prefix, interface: InterfaceId) -> Option<IpAddr> {
        let entries = if prefix.is_v4() { &self.v4 } else { &self.v6 };
        let is_it = |entry: &&Entry| {
            entry.prefix == prefix && entry.interface == interface && entry.gateway.is_some()
        };
        entries.iter().find(is_it)?.gateway
    }

    /// The interface and the next hop for `destination`: the longest prefix that holds it.
    fn find(&self, destination: IpAddr) -> Option<(InterfaceId, IpAddr)> {
        let entries = if destination.is_ipv4() { &self.v4 } else { &self.v6 };
        let entry = entries.iter().find(|entry| entry.prefix.holds(destination))?;
        Some((entry.interface, entry.gateway.unwrap_or(destination)))
    }

    fn of_family_mut(&mut self, prefix: Prefix) -> &mut Vec<Entry> {
        if prefix.is_v4() { &mut self.v4 } else { &mut self.v6 }
    }
}

/// Routes.
impl Stack {
    /// Sends what the first `prefix_len` bits of `network` hold over `interface`: to the hosts
    /// themselves, or through `gateway`. Of all routes the longest prefix counts; one to the same
    /// destinations over the same interface is replaced.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a gateway of the other family or of our own, a `prefix_len` over
    /// 32 or 128, the loopback, or an interface of another stack; [`Error::LimitReached`] beyond 1024
    /// routes of a family.
    pub fn add_route(
        &mut self,
        interface: InterfaceId,
        network: IpAddr,
        prefix_len: u8,
        gateway: Option<IpAddr>,
    ) -> Result<(), Error> {
        if prefix_len > bits_of(network) {
            return Err(Error::InvalidInput);
        }
        self.interfaces.add_route(interface, Prefix::new(network, prefix_len), gateway)
    }

    /// Takes a route away, through whomever it leads.
    ///
    /// # Errors
    /// [`Error::NetworkUnreachable`] when there is none.
    pub fn remove_route(
        &mut self,
        interface: InterfaceId,
        network: IpAddr,
        prefix_len: u8,
    ) -> Result<(), Error> {
        self.interfaces.remove_route(interface, Prefix::new(network, prefix_len))
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
        if source.is_some_and(|source| source.is_ipv4() != destination.is_ipv4()) {
            return Err(Error::NetworkUnreachable);
        }
        if self.is_local(destination) {
            return Ok(self.route_to_self(source.unwrap_or(destination), destination));
        }
        // RFC 1122 3.2.1.3 (g), RFC 4291 2.5.3: a loopback address must not appear outside the host;
        // nor does one of IPv6 that stands for IPv4, which a socket translates.
        let no_host = destination.is_unspecified() || is_mapped(destination);
        if no_host || source.is_some_and(|ip| ip.is_loopback()) {
            return Err(Error::NetworkUnreachable);
        }
        let (interface, next_hop) =
            self.next_hop(source, destination).ok_or(Error::NetworkUnreachable)?;
        let source = match source {
            Some(source) => source,
            None => self
                .source_for(interface, next_hop, destination)
                .ok_or(Error::NetworkUnreachable)?,
        };
        let link = self.capabilities(interface).ok_or(Error::NetworkUnreachable)?;
        let link_mtu = self.link_mtu(interface, link.mtu, destination);
        let hop = Hop {
            interface,
            next_hop,
            mtu: self.path_mtu(link_mtu, next_hop, destination),
            segment_mtu: self.clamped(interface, link_mtu, destination),
            ttl: self.usual_ttl(interface, destination),
            offload: Offload::of(link),
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
            segment_mtu: u16::MAX,
            ttl: DEFAULT_TTL,
            offload: Offload::Checksum,
            generation: self.generation(),
        };
        Route { source, hop }
    }

    /// The hop limit of what goes from one of our addresses to somebody, where nobody sets another.
    pub(crate) fn ttl_to(&self, source: IpAddr, destination: IpAddr) -> Option<u8> {
        Some(self.route(Some(source), destination).ok()?.hop.ttl)
    }

    /// RFC 4861 6.3.4: over IPv6 what routers of the link advertise.
    fn usual_ttl(&self, interface: InterfaceId, destination: IpAddr) -> u8 {
        let advertised = self.autoconf.hop_limit(interface);
        advertised.filter(|_| destination.is_ipv6()).unwrap_or(DEFAULT_TTL)
    }

    fn next_hop(
        &self,
        source: Option<IpAddr>,
        destination: IpAddr,
    ) -> Option<(InterfaceId, IpAddr)> {
        let (on_link_only, group) = match destination {
            IpAddr::V4(v4) => (v4.is_broadcast(), v4.is_multicast() || v4.is_broadcast()),
            // The link of such an address is that of ours: each of them is on one link alone.
            IpAddr::V6(v6) => (is_link_local(v6), v6.is_multicast() || is_link_local(v6)),
        };
        let found = if on_link_only { None } else { self.routes.find(destination) };
        let found = found.map(|hop| self.redirects.better(hop, destination));
        if destination.is_multicast() {
            // A group is on the link itself, whoever is the gateway (RFC 1112 6.1): on the one that the
            // source says, else the one that a route does.
            let asked = source.and_then(|source| self.interface_of(source));
            if let Some(interface) = asked.or(found.map(|(interface, _)| interface)) {
                return Some((interface, destination));
            }
        }
        found.or_else(|| {
            // A group without a route: the link of the source address, else the first there is.
            let interface = source.map_or_else(
                || self.first_with_address(destination.is_ipv4()),
                |source| self.interface_of(source),
            );
            interface.filter(|_| group).map(|interface| (interface, destination))
        })
    }

    fn add_route(
        &mut self,
        id: InterfaceId,
        prefix: Prefix,
        gateway: Option<IpAddr>,
    ) -> Result<(), Error> {
        let known = self.capabilities(id).is_some() && id != InterfaceId::LOOPBACK;
        let mixed = gateway.is_some_and(|gateway| gateway.is_ipv4() != prefix.is_v4());
        let own = gateway.is_some_and(|gateway| gateway.is_unspecified() || self.is_local(gateway));
        if !known || mixed || own {
            return Err(Error::InvalidInput);
        }
        self.routes.add(prefix, gateway, id)?;
        self.changed();
        Ok(())
    }

    fn remove_route(&mut self, id: InterfaceId, prefix: Prefix) -> Result<(), Error> {
        self.spare_gateways.forget(prefix, id);
        let through_gateway = self.routes.remove(prefix, true, id);
        if !through_gateway && !self.routes.remove(prefix, false, id) {
            return Err(Error::NetworkUnreachable);
        }
        self.changed();
        Ok(())
    }
}

/// Whether an address, one host's or a group's, has a meaning on one link only (RFC 4291 2.5.6, 2.7).
pub(crate) fn is_link_local(address: core::net::Ipv6Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_unicast_link_local() || (first == 0xff && second & 0xf <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    const ONE: InterfaceId = InterfaceId(1);
    const TWO: InterfaceId = InterfaceId(2);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn net(text: &str, length: u8) -> Prefix {
        Prefix::new(ip(text), length)
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let mut table = RouteTable::default();
        let gateway = ip("10.0.0.1");
        table.add(Prefix::ALL_V4, Some(gateway), ONE).unwrap();
        table.add(net("10.1.2.9", 24), None, TWO).unwrap();
        table.add(net("10.0.0.0", 8), None, ONE).unwrap();
        let near = ip("10.1.2.3");
        assert_eq!(table.find(near), Some((TWO, near)));
        let far = ip("10.1.3.3");
        assert_eq!(table.find(far), Some((ONE, far)));
        assert_eq!(table.find(ip("192.0.2.1")), Some((ONE, gateway)));
        assert!(table.remove(net("10.1.2.0", 24), false, TWO));
        assert_eq!(table.find(near), Some((ONE, near)));
        assert_eq!(table.find(ip("2001:db8::1")), None);
    }

    #[test]
    fn the_families_have_routes_of_their_own() {
        let mut table = RouteTable::default();
        table.add(Prefix::ALL_V6, Some(ip("fe80::1")), ONE).unwrap();
        table.add(net("fd77::", 64), None, TWO).unwrap();
        assert_eq!(table.find(ip("fd77::9")), Some((TWO, ip("fd77::9"))));
        assert_eq!(table.find(ip("2001:db8::9")), Some((ONE, ip("fe80::1"))));
        assert_eq!(table.find(ip("10.0.0.1")), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_search_of_all_routes(
            routes in proptest::collection::vec((any::<u32>(), 0..=32_u8, any::<bool>()), 0..20),
            destination: u32,
            v6: bool,
        ) {
            let address = |bits: u32, v6: bool| if v6 {
                IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits & 0xc000_00ff) << 96))
            } else {
                IpAddr::V4(Ipv4Addr::from_bits(bits & 0xc000_00ff))
            };
            let mut table = RouteTable::default();
            let mut model: Vec<(Prefix, IpAddr)> = Vec::new();
            for (network, length, v6) in routes {
                let gateway = address(network, v6);
                table.add(Prefix::new(gateway, length), Some(gateway), ONE).unwrap();
                model.retain(|(prefix, _)| *prefix != Prefix::new(gateway, length));
                model.push((Prefix::new(gateway, length), gateway));
            }
            let destination = address(destination, v6);
            let best = model.into_iter()
                .filter(|(prefix, _)| prefix.holds(destination))
                .max_by_key(|(prefix, _)| prefix.length());
            prop_assert_eq!(table.find(destination).map(|(_, hop)| hop), best.map(|(_, hop)| hop));
        }
    }
}
