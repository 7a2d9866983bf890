//! Interfaces and their addresses (RFC 1122 3.3.4).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use rand_core::Rng;
use wire::ethernet::EthernetAddress;
use wire::frame::{Capabilities, Medium};
use wire::time::Instant;

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::arp::ArpReply;
use crate::ip::fragment::Pieces;
use crate::ip::neighbor::{Key, Neighbors, Waiter};
use crate::ip::output::{Envelope, Identifications, LinkHeader};
use crate::ip::route::{Hop, Route, RouteTable, mask, masked};
use crate::shared::Shared;
use crate::stack::Stack;
use crate::transmit::{HeaderBuf, Packet};

/// How many addresses one interface can have: each received packet is compared with all of them.
const ADDRESS_LIMIT: usize = 64;

/// The interfaces of a stack, and what belongs to all of them.
#[derive(Debug)]
pub(crate) struct Interfaces {
    /// Number 0 is the loopback.
    interfaces: Vec<Interface>,
    pub(super) routes: RouteTable,
    pub(super) neighbors: Neighbors,
    pub(super) arp_replies: VecDeque<ArpReply>,
    identifications: Identifications,
    /// Datagrams of which some pieces are still to be sent.
    pub(super) pieces: VecDeque<Pieces>,
    /// Changes with every change of addresses and routes: cached routes hold as long as it.
    generation: u32,
    /// The interface, source and destination of the last packet whose addresses were in order.
    in_order: Option<(InterfaceId, Ipv4Addr, Ipv4Addr)>,
}

#[derive(Debug)]
struct Interface {
    capabilities: Capabilities,
    /// Packets to every address that come by it are for us.
    takes_any: bool,
    addresses: Vec<Assigned>,
}

/// An address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Assigned {
    pub(crate) address: Ipv4Addr,
    /// How many of its bits all hosts on the link share.
    pub(crate) prefix_len: u8,
}

impl Assigned {
    /// Whether `other` is on the link that this address is on.
    pub(crate) fn network_holds(&self, other: Ipv4Addr) -> bool {
        masked(other, self.prefix_len) == masked(self.address, self.prefix_len)
    }

    /// RFC 1122 3.2.1.3 (e): `{ <Network-number>, <Subnet-number>, -1 }`. Links of two hosts and
    /// of one have no such address (RFC 3021).
    fn is_broadcast(&self, other: Ipv4Addr) -> bool {
        let host_bits = !mask(self.prefix_len);
        self.prefix_len < 31 && other.to_bits() == self.address.to_bits() | host_bits
    }
}

impl Interfaces {
    /// The loopback and nothing else.
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        let capabilities =
            Capabilities { medium: Medium::Ip, mtu: u16::MAX, checksum: true, segmentation: false };
        Self {
            interfaces: Vec::from([Interface {
                capabilities,
                takes_any: false,
                addresses: Vec::new(),
            }]),
            routes: RouteTable::default(),
            neighbors: Neighbors::new(rng),
            arp_replies: VecDeque::new(),
            identifications: Identifications::new([rng.next_u64(), rng.next_u64()]),
            pieces: VecDeque::new(),
            generation: 0,
            in_order: None,
        }
    }

    /// # Panics
    /// When there are 255 already, besides the loopback.
    pub(crate) fn add(&mut self, capabilities: Capabilities) -> InterfaceId {
        let number = u8::try_from(self.interfaces.len()).expect("at most 255 interfaces");
        self.interfaces.push(Interface { capabilities, takes_any: false, addresses: Vec::new() });
        InterfaceId(number)
    }

    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared) {
        self.neighbors.handle_timeout(shared);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.neighbors.poll_timeout()
    }

    /// The next waiter that can try again, or that must give up.
    pub(crate) fn poll_resolved(&mut self) -> Option<(Waiter, Result<(), Error>)> {
        self.neighbors.poll_resolved()
    }

    /// Whether a packet of its own waits for the link, or a waiter for its turn.
    pub(crate) fn has_work(&self) -> bool {
        !self.arp_replies.is_empty() || !self.pieces.is_empty() || self.neighbors.has_work()
    }

    /// Changes with every change of addresses and routes.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether a packet between two hosts is like the one before, whose addresses were in order. Most
    /// are, and need not be looked at again.
    pub(super) fn is_like_the_last(&self, packet: (InterfaceId, Ipv4Addr, Ipv4Addr)) -> bool {
        self.in_order == Some(packet)
    }

    /// The addresses of a packet were in order: it is from one host to one host, which is us.
    pub(super) fn note_in_order(&mut self, packet: (InterfaceId, Ipv4Addr, Ipv4Addr)) {
        self.in_order = Some(packet);
    }

    fn set_takes_any(&mut self, interface: InterfaceId, on: bool) -> Result<(), Error> {
        if interface == InterfaceId::LOOPBACK {
            return Err(Error::InvalidInput);
        }
        self.interface_mut(interface)?.takes_any = on;
        self.changed();
        Ok(())
    }

    /// Whether packets to every address that come by `interface` are for us.
    pub(super) fn takes_any(&self, interface: InterfaceId) -> bool {
        self.interfaces.get(usize::from(interface.0)).is_some_and(|found| found.takes_any)
    }

    /// Whether packets to `address` stay inside: our own addresses and 127.0.0.0/8.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        v4.is_loopback() || self.all_assigned().any(|assigned| assigned.address == v4)
    }

    /// Whether `address` is the broadcast address of any of our networks, or of all.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        v4.is_broadcast() || self.all_assigned().any(|assigned| assigned.is_broadcast(v4))
    }

    /// The link header for a packet on its way by `hop`. `None`: the next hop is not known
    /// yet, and `waiter` comes back by [`Interfaces::poll_resolved`].
    pub(crate) fn link_header(
        &mut self,
        shared: &mut Shared,
        hop: &Hop,
        waiter: impl FnOnce() -> Waiter,
    ) -> Option<LinkHeader> {
        let known = self.resolve(shared, hop);
        if known.is_none() {
            self.park(shared, hop, waiter());
        }
        known
    }

    /// The link header for a packet on its way by `hop`, or the start of a search for it;
    /// follow that with [`Interfaces::park`].
    pub(crate) fn resolve(&mut self, shared: &Shared, hop: &Hop) -> Option<LinkHeader> {
        let Some(source) = self.ethernet_address(hop.interface) else {
            return Some(LinkHeader::None);
        };
        // No route leads to IPv6 destinations, so there are none here.
        let IpAddr::V4(next_hop) = hop.next_hop else { return Some(LinkHeader::None) };
        let destination = if self.is_broadcast_on(hop.interface, next_hop) {
            EthernetAddress::BROADCAST
        } else if next_hop.is_multicast() {
            group_address(next_hop)
        } else {
            self.neighbors.look_up(shared, (hop.interface, next_hop))?
        };
        Some(LinkHeader::Ethernet { source, destination })
    }

    /// Keeps `waiter` until `hop` is known.
    pub(crate) fn park(&mut self, shared: &mut Shared, hop: &Hop, waiter: Waiter) {
        let IpAddr::V4(next_hop) = hop.next_hop else { return };
        let key: Key = (hop.interface, next_hop);
        self.neighbors.park(shared, key, waiter);
    }

    /// An identification field for a packet that may be fragmented on its way.
    pub(crate) fn identification(&mut self, route: &Route, destination: IpAddr) -> u16 {
        // The lower half; IPv6 has the field only in fragments.
        if destination.is_ipv4() {
            self.identifications.next(route.source, destination) as u16
        } else {
            0
        }
    }

    /// What the pieces of a datagram have in common.
    pub(super) fn identify(&mut self, envelope: &Envelope) -> u32 {
        match envelope.identification {
            0 => self.identifications.next(envelope.source, envelope.destination),
            known => u32::from(known),
        }
    }

    /// The next packet for the link that is no protocol's: the rest of a datagram in pieces, answers
    /// to neighbours, questions about them.
    pub(crate) fn next_packet(
        &mut self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        self.next_piece(shared, header).or_else(|| self.next_arp_packet(shared, header))
    }

    pub(crate) fn capabilities(&self, interface: InterfaceId) -> Option<Capabilities> {
        Some(self.interfaces.get(usize::from(interface.0))?.capabilities)
    }

    /// Our own address on an Ethernet link; `None` for other links.
    pub(super) fn ethernet_address(&self, interface: InterfaceId) -> Option<EthernetAddress> {
        match self.capabilities(interface)?.medium {
            Medium::Ethernet(address) => Some(address),
            Medium::Ip => None,
        }
    }

    /// The addresses of one interface.
    pub(super) fn assigned(&self, interface: InterfaceId) -> impl Iterator<Item = Assigned> {
        let found = self.interfaces.get(usize::from(interface.0));
        found.map_or(&[][..], |found| &found.addresses).iter().copied()
    }

    pub(super) fn has_address(&self, interface: InterfaceId, address: Ipv4Addr) -> bool {
        self.assigned(interface).any(|assigned| assigned.address == address)
    }

    /// Whether `address` is on the link of `interface`.
    pub(super) fn is_neighbor(&self, interface: InterfaceId, address: Ipv4Addr) -> bool {
        self.assigned(interface).any(|assigned| assigned.network_holds(address))
    }

    /// Whether `address` reaches every host on the link of `interface`.
    pub(super) fn is_broadcast_on(&self, interface: InterfaceId, address: Ipv4Addr) -> bool {
        address.is_broadcast()
            || self.assigned(interface).any(|assigned| assigned.is_broadcast(address))
    }

    /// The first interface that has an address, the loopback aside.
    pub(super) fn first_with_address(&self) -> Option<InterfaceId> {
        self.ids().skip(1).find(|&id| self.assigned(id).next().is_some())
    }

    /// The interface that has `address`.
    pub(super) fn interface_of(&self, address: IpAddr) -> Option<InterfaceId> {
        let IpAddr::V4(v4) = address else { return None };
        self.ids().find(|&id| self.has_address(id, v4))
    }

    fn ids(&self) -> impl Iterator<Item = InterfaceId> + use<> {
        // `add` sees to it that the numbers fit.
        (0..self.interfaces.len()).filter_map(|n| u8::try_from(n).ok()).map(InterfaceId)
    }

    fn all_assigned(&self) -> impl Iterator<Item = Assigned> {
        self.interfaces.iter().flat_map(|interface| interface.addresses.iter().copied())
    }

    fn changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.in_order = None;
    }

    fn interface_mut(&mut self, interface: InterfaceId) -> Result<&mut Interface, Error> {
        self.interfaces.get_mut(usize::from(interface.0)).ok_or(Error::InvalidInput)
    }

    fn add_address(
        &mut self,
        id: InterfaceId,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), Error> {
        let IpAddr::V4(address) = address else { return Err(Error::AddressNotAvailable) };
        let assigned = Assigned { address, prefix_len };
        let impossible = address.is_unspecified()
            || address.is_broadcast()
            || address.is_multicast()
            || (address.is_loopback() && id != InterfaceId::LOOPBACK)
            || assigned.is_broadcast(address);
        if prefix_len > 32 || impossible {
            return Err(Error::InvalidInput);
        }
        if self.all_assigned().any(|other| other.address == address) {
            return Err(Error::AddressInUse);
        }
        if self.interface_mut(id)?.addresses.len() >= ADDRESS_LIMIT {
            return Err(Error::LimitReached);
        }
        if id != InterfaceId::LOOPBACK {
            self.routes.add(address, prefix_len, None, id)?;
        }
        self.interface_mut(id)?.addresses.push(assigned);
        self.changed();
        Ok(())
    }

    fn remove_address(&mut self, id: InterfaceId, address: IpAddr) -> Result<(), Error> {
        let IpAddr::V4(address) = address else { return Err(Error::AddressNotAvailable) };
        let interface = self.interface_mut(id)?;
        let place = interface.addresses.iter().position(|other| other.address == address);
        let removed = interface.addresses.remove(place.ok_or(Error::AddressNotAvailable)?);
        let shared_by_another = self.assigned(id).any(|other| {
            other.prefix_len == removed.prefix_len && other.network_holds(removed.address)
        });
        if !shared_by_another {
            self.routes.remove(removed.address, removed.prefix_len, false, id);
        }
        self.neighbors.forget_all_of(id);
        self.changed();
        Ok(())
    }

    fn set_gateway(&mut self, id: InterfaceId, gateway: IpAddr) -> Result<(), Error> {
        let IpAddr::V4(gateway) = gateway else { return Err(Error::AddressNotAvailable) };
        let impossible = gateway.is_unspecified()
            || gateway.is_multicast()
            || self.is_broadcast(IpAddr::V4(gateway))
            || self.is_local(IpAddr::V4(gateway));
        if impossible || id == InterfaceId::LOOPBACK || self.capabilities(id).is_none() {
            return Err(Error::InvalidInput);
        }
        // A gateway behind a gateway has no hardware address on this link.
        if self.ethernet_address(id).is_some() && !self.is_neighbor(id, gateway) {
            return Err(Error::NetworkUnreachable);
        }
        self.routes.add(Ipv4Addr::UNSPECIFIED, 0, Some(gateway), id)?;
        self.changed();
        Ok(())
    }
}

/// Addresses and routes.
impl Stack {
    /// Gives `interface` an address; the first `prefix_len` bits of it are those of every host on
    /// the link, to which it adds a route.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an address that no host can have (unspecified, loopback
    /// elsewhere than on the loopback, multicast, broadcast), a `prefix_len` over 32, or an
    /// interface of another stack; [`Error::AddressInUse`] when the stack has it already;
    /// [`Error::AddressNotAvailable`] for IPv6, which is not spoken yet; [`Error::LimitReached`]
    /// beyond 64 addresses of one interface.
    pub fn add_address(
        &mut self,
        interface: InterfaceId,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), Error> {
        self.interfaces.add_address(interface, address, prefix_len)
    }

    /// Takes an address away, and the route to its link with it. Sockets that use the address
    /// stay; what they send finds no way back.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when `interface` does not have it.
    pub fn remove_address(&mut self, interface: InterfaceId, address: IpAddr) -> Result<(), Error> {
        self.interfaces.remove_address(interface, address)
    }

    /// Takes every packet that comes by `interface` for ours, whatever host it is addressed to, or no
    /// longer (AnyIP). Sockets see the address that it was sent to, and answer from it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the loopback and for an interface of another stack.
    pub fn set_any_address(&mut self, interface: InterfaceId, on: bool) -> Result<(), Error> {
        self.interfaces.set_takes_any(interface, on)
    }

    /// Sends what no other route leads to through `gateway`, over `interface` (RFC 1122 3.3.1.1).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it cannot be a gateway: it is unspecified, a group's, or our
    /// own; [`Error::NetworkUnreachable`] on an Ethernet link none of whose networks it is in.
    pub fn set_gateway(&mut self, interface: InterfaceId, gateway: IpAddr) -> Result<(), Error> {
        self.interfaces.set_gateway(interface, gateway)
    }

    /// The addresses of `interface` and the lengths of their prefixes in bits, in the order in
    /// which they were added.
    pub fn addresses(&self, interface: InterfaceId) -> impl Iterator<Item = (IpAddr, u8)> {
        let addresses = self.interfaces.assigned(interface);
        addresses.map(|assigned| (IpAddr::V4(assigned.address), assigned.prefix_len))
    }

    /// Whether packets to `address` stay inside the stack: its own addresses, and 127.0.0.0/8.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.interfaces.is_local(address)
    }
}

/// RFC 1112 6.4: the low 23 bits of a group's address, behind 01-00-5E.
fn group_address(group: Ipv4Addr) -> EthernetAddress {
    let [_, b, c, d] = group.octets();
    EthernetAddress([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}
