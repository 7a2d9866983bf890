//! Interfaces and their addresses (RFC 1122 3.3.4).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand_core::Rng;
use wire::ethernet::EthernetAddress;
use wire::frame::{Capabilities, Medium};
use wire::time::Instant;
use wire::{ipv4, ipv6, tcp};

use crate::dhcp::Resolvers;
use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::arp::ArpReply;
use crate::ip::autoconf::Autoconf;
use crate::ip::fragment::Pieces;
use crate::ip::gateway::SpareGateways;
use crate::ip::igmp::Report;
use crate::ip::ndp::Message;
use crate::ip::neighbor::{Key, Neighbors, Question, Waiter};
use crate::ip::output::{Envelope, Identifications, LinkHeader};
use crate::ip::path::Paths;
use crate::ip::prefix::{Prefix, bits_of};
use crate::ip::probe_v4::Probed;
use crate::ip::redirect::Redirects;
use crate::ip::route::{Hop, Route, RouteTable};
use crate::ip::scope::is_mapped;
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
    /// What IPv6 has to say to everybody on a link.
    pub(super) discovery: VecDeque<Message>,
    /// What IPv4 has to say about groups.
    pub(super) group_reports: VecDeque<Report>,
    pub(super) autoconf: Autoconf,
    /// Name servers of IPv6.
    pub(crate) resolvers: Resolvers,
    /// Addresses of IPv4 of which it is asked whether somebody else has them.
    pub(crate) probed: Vec<Probed>,
    pub(super) paths: Paths,
    /// First hops that routers told of.
    pub(super) redirects: Redirects,
    /// Who may take the place of a gateway that does not answer.
    pub(super) spare_gateways: SpareGateways,
    identifications: Identifications,
    /// Datagrams of which some pieces are still to be sent.
    pub(super) pieces: VecDeque<Pieces>,
    /// The addresses of all interfaces that are ours, to be looked through for each new conversation.
    own_v4: Vec<Ipv4Addr>,
    own_v6: Vec<Ipv6Addr>,
    /// Changes with every change of addresses and routes: cached routes hold as long as it.
    generation: u32,
    /// The interface, source and destination of the last packet whose addresses were in order.
    in_order: Option<(InterfaceId, Ipv4Addr, Ipv4Addr)>,
    in_order_v6: Option<(InterfaceId, Ipv6Addr, Ipv6Addr)>,
}

#[derive(Debug)]
struct Interface {
    capabilities: Capabilities,
    /// Packets to every address that come by it are for us.
    takes_any: bool,
    /// No segment of TCP carries more in either direction.
    mss_clamp: Option<u16>,
    addresses: Vec<Assigned>,
}

/// An address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Assigned {
    pub(crate) address: IpAddr,
    /// How many of its bits all hosts on the link share.
    pub(crate) prefix_len: u8,
    /// Whether, and how gladly, it is used.
    pub(crate) state: AddressState,
    /// It is one that changes from day to day (RFC 8981).
    pub(crate) temporary: bool,
}

/// RFC 4862 2: what an address is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AddressState {
    /// It is asked for whether somebody else has it; until that is known it is not ours.
    Tentative,
    /// Good for everything.
    Preferred,
    /// What uses it goes on; nothing new should begin with it.
    Deprecated,
}

impl Assigned {
    /// The network that it is in.
    pub(crate) fn prefix(&self) -> Prefix {
        Prefix::new(self.address, self.prefix_len)
    }

    /// It is ours.
    pub(crate) fn is_usable(&self) -> bool {
        self.state != AddressState::Tentative
    }

    pub(crate) fn is_deprecated(&self) -> bool {
        self.state == AddressState::Deprecated
    }

    fn is_broadcast(&self, other: Ipv4Addr) -> bool {
        self.prefix().broadcast() == Some(other)
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
                mss_clamp: None,
                addresses: Vec::new(),
            }]),
            routes: RouteTable::default(),
            neighbors: Neighbors::new(rng),
            arp_replies: VecDeque::new(),
            discovery: VecDeque::new(),
            group_reports: VecDeque::new(),
            autoconf: Autoconf::default(),
            resolvers: Resolvers::default(),
            probed: Vec::new(),
            paths: Paths::default(),
            redirects: Redirects::default(),
            spare_gateways: SpareGateways::default(),
            identifications: Identifications::new([rng.next_u64(), rng.next_u64()]),
            pieces: VecDeque::new(),
            own_v4: Vec::new(),
            own_v6: Vec::new(),
            generation: 0,
            in_order: None,
            in_order_v6: None,
        }
    }

    /// # Panics
    /// When there are 255 already, besides the loopback.
    pub(crate) fn add(&mut self, capabilities: Capabilities) -> InterfaceId {
        let number = u8::try_from(self.interfaces.len()).expect("at most 255 interfaces");
        self.interfaces.push(Interface {
            capabilities,
            takes_any: false,
            mss_clamp: None,
            addresses: Vec::new(),
        });
        InterfaceId(number)
    }

    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared) {
        self.neighbors.handle_timeout(shared);
        self.look_for_other_ways();
        if self.autoconf.is_active() {
            self.autoconf_timeout(shared);
        }
        self.paths.expire(shared.now);
        self.expire_redirects(shared);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let learnt = earlier(self.paths.poll_timeout(), self.redirects.poll_timeout());
        let often = earlier(self.neighbors.poll_timeout(), learnt);
        if self.autoconf.is_active() { earlier(often, self.autoconf.poll_timeout()) } else { often }
    }

    /// The next waiter that can try again, or that must give up.
    pub(crate) fn poll_resolved(&mut self) -> Option<(Waiter, Result<(), Error>)> {
        self.neighbors.poll_resolved()
    }

    /// Whether a packet of its own waits for the link, or a waiter for its turn.
    pub(crate) fn has_work(&self) -> bool {
        // Asked for every packet: one question about all of them.
        let own = self.arp_replies.len() | self.pieces.len() | self.discovery.len();
        own | self.group_reports.len() | self.neighbors.work() != 0
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
    pub(crate) fn takes_any(&self, interface: InterfaceId) -> bool {
        self.interfaces.get(usize::from(interface.0)).is_some_and(|found| found.takes_any)
    }

    /// The same for IPv6.
    pub(super) fn is_like_the_last_v6(&self, packet: (InterfaceId, Ipv6Addr, Ipv6Addr)) -> bool {
        self.in_order_v6 == Some(packet)
    }

    /// The same for IPv6.
    pub(super) fn note_in_order_v6(&mut self, packet: (InterfaceId, Ipv6Addr, Ipv6Addr)) {
        self.in_order_v6 = Some(packet);
    }

    /// Whether packets to `address` stay inside: our own addresses, 127.0.0.0/8 and ::1.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.is_loopback() || self.own_v4.contains(&v4),
            IpAddr::V6(v6) => v6.is_loopback() || self.own_v6.contains(&v6),
        }
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
        let group = match hop.next_hop {
            IpAddr::V4(v4) if self.is_broadcast_on(hop.interface, v4) => {
                Some(EthernetAddress::BROADCAST)
            }
            next_hop => EthernetAddress::of_group(next_hop),
        };
        let destination = match group {
            Some(group) => group,
            None => self.neighbors.look_up(shared, (hop.interface, hop.next_hop))?,
        };
        Some(LinkHeader::Ethernet { source, destination })
    }

    /// Neighbours do not answer (RFC 4861 7.3.3): where they were on the way to others, there may be
    /// another way, which what waits for them tries.
    fn look_for_other_ways(&mut self) {
        while let Some((key, is_given_up)) = self.neighbors.poll_silent() {
            let (interface, address) = key;
            let redirected = self.redirect_is_silent(interface, address);
            let advertised = match address {
                IpAddr::V6(router) => self.router_is_silent(interface, router),
                IpAddr::V4(_) => false,
            };
            if redirected || advertised || self.gateway_is_silent(interface, address) {
                self.neighbors.give_up(key, Ok(()));
            } else if is_given_up {
                self.neighbors.give_up(key, Err(Error::HostUnreachable));
            }
        }
    }

    /// Keeps `waiter` until `hop` is known.
    pub(crate) fn park(&mut self, shared: &mut Shared, hop: &Hop, waiter: Waiter) {
        let key: Key = (hop.interface, hop.next_hop);
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
        self.next_piece(shared, header)
            .or_else(|| self.next_arp_reply(shared, header))
            .or_else(|| self.next_discovery(shared, header))
            .or_else(|| self.next_group_report(shared, header))
            .or_else(|| self.next_question(shared, header))
    }

    /// The next question about a neighbour.
    fn next_question(&mut self, shared: &mut Shared, header: &mut HeaderBuf) -> Option<Packet> {
        while let Some(Question { neighbor: (interface, target), to }) =
            self.neighbors.next_question()
        {
            let packet = match target {
                IpAddr::V4(v4) => self.arp_question(shared, header, (interface, v4), to),
                IpAddr::V6(v6) => self.solicitation(shared, header, (interface, v6), to),
            };
            if packet.is_some() {
                return packet;
            }
        }
        None
    }

    pub(crate) fn capabilities(&self, interface: InterfaceId) -> Option<Capabilities> {
        Some(self.interfaces.get(usize::from(interface.0))?.capabilities)
    }

    /// Our own address on an Ethernet link; `None` for other links.
    pub(crate) fn ethernet_address(&self, interface: InterfaceId) -> Option<EthernetAddress> {
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

    /// Whether `address` is ours, on this interface.
    pub(super) fn has_address(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.assigned(interface).any(|own| own.address == address && own.is_usable())
    }

    /// Whether `address` is on the link of `interface`.
    pub(super) fn is_neighbor(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.assigned(interface).any(|assigned| assigned.prefix().holds(address))
    }

    /// Whether `address` reaches every host on the link of `interface`.
    pub(super) fn is_broadcast_on(&self, interface: InterfaceId, address: Ipv4Addr) -> bool {
        address.is_broadcast()
            || self.assigned(interface).any(|assigned| assigned.is_broadcast(address))
    }

    /// Whether packets to the IPv6 group are for us, too: everybody's on the link, those in which
    /// somebody looks for one of our addresses (RFC 4291 2.8), and what sockets joined.
    pub(super) fn is_in_group(&self, interface: InterfaceId, group: Ipv6Addr) -> bool {
        let asks_for_us = |own: Assigned| match own.address {
            IpAddr::V6(address) => ipv6::solicited_node(address) == group,
            IpAddr::V4(_) => false,
        };
        group == ipv6::group::ALL_NODES
            || self.assigned(interface).any(asks_for_us)
            || self.autoconf.groups.is_member(interface, group.into())
    }

    /// The first interface that has an address of the family, the loopback aside.
    pub(super) fn first_with_address(&self, v4: bool) -> Option<InterfaceId> {
        let has = |id| self.assigned(id).any(|own| own.address.is_ipv4() == v4 && own.is_usable());
        self.ids().skip(1).find(|&id| has(id))
    }

    /// The interface that has `address`.
    pub(crate) fn interface_of(&self, address: IpAddr) -> Option<InterfaceId> {
        self.ids().find(|&id| self.has_address(id, address))
    }

    /// The largest packet of the family of `destination` on the link of `interface`, which takes
    /// `link_mtu` bytes.
    pub(super) fn link_mtu(
        &self,
        interface: InterfaceId,
        link_mtu: u16,
        destination: IpAddr,
    ) -> u16 {
        match destination {
            IpAddr::V4(_) => link_mtu,
            IpAddr::V6(_) => {
                self.autoconf.link_mtu(interface).map_or(link_mtu, |mtu| mtu.min(link_mtu))
            }
        }
    }

    /// The largest packet that the first link of a way takes, whatever is known of the others.
    pub(crate) fn mtu_of_link(&self, route: &Route) -> u16 {
        let interface = route.hop.interface;
        let link = self.capabilities(interface).map_or(u16::MAX, |link| link.mtu);
        self.link_mtu(interface, link, route.source)
    }

    /// The largest packet that the way to `destination` takes, over a link that takes `link_mtu` bytes.
    pub(super) fn path_mtu(&self, link_mtu: u16, destination: IpAddr) -> u16 {
        self.paths.mtu(destination).map_or(link_mtu, |path| path.min(link_mtu))
    }

    /// The same of TCP's packets, where segments are clamped.
    pub(super) fn clamped(
        &self,
        interface: InterfaceId,
        link_mtu: u16,
        destination: IpAddr,
    ) -> u16 {
        let found = self.interfaces.get(usize::from(interface.0));
        let Some(mss) = found.and_then(|found| found.mss_clamp) else { return link_mtu };
        let ip = if destination.is_ipv4() { ipv4::MIN_HEADER_LEN } else { ipv6::HEADER_LEN };
        let headers = u16::try_from(ip + tcp::MIN_HEADER_LEN).unwrap_or(u16::MAX);
        link_mtu.min(mss.saturating_add(headers))
    }

    fn set_mss_clamp(&mut self, interface: InterfaceId, mss: Option<u16>) -> Result<(), Error> {
        if mss == Some(0) {
            return Err(Error::InvalidInput);
        }
        self.interface_mut(interface)?.mss_clamp = mss;
        self.changed();
        Ok(())
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = InterfaceId> + use<> {
        // `add` sees to it that the numbers fit.
        (0..self.interfaces.len()).filter_map(|n| u8::try_from(n).ok()).map(InterfaceId)
    }

    pub(super) fn all_assigned(&self) -> impl Iterator<Item = Assigned> {
        self.interfaces.iter().flat_map(|interface| interface.addresses.iter().copied())
    }

    pub(super) fn changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        (self.in_order, self.in_order_v6) = (None, None);
        self.own_v4.clear();
        self.own_v6.clear();
        for own in self.interfaces.iter().flat_map(|interface| &interface.addresses) {
            match own.address {
                IpAddr::V4(v4) => self.own_v4.push(v4),
                IpAddr::V6(v6) if own.is_usable() => self.own_v6.push(v6),
                IpAddr::V6(_) => {}
            }
        }
    }

    fn interface_mut(&mut self, interface: InterfaceId) -> Result<&mut Interface, Error> {
        self.interfaces.get_mut(usize::from(interface.0)).ok_or(Error::InvalidInput)
    }

    /// Gives the interface an address; over IPv6 on Ethernet it is asked first whether it is free.
    pub(super) fn add_address(
        &mut self,
        shared: &Shared,
        id: InterfaceId,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), Error> {
        let state = self.first_state(shared, id, address);
        let assigned = Assigned { address, prefix_len, state, temporary: false };
        let broadcast = match address {
            IpAddr::V4(v4) => v4.is_broadcast() || assigned.is_broadcast(v4),
            IpAddr::V6(_) => false,
        };
        let impossible = address.is_unspecified()
            || address.is_multicast()
            || is_mapped(address)
            || broadcast
            || (address.is_loopback() && id != InterfaceId::LOOPBACK);
        if prefix_len > bits_of(address) || impossible || !self.carries(id, address) {
            return Err(Error::InvalidInput);
        }
        if self.all_assigned().any(|other| other.address == address) {
            return Err(Error::AddressInUse);
        }
        if self.interface_mut(id)?.addresses.len() >= ADDRESS_LIMIT {
            return Err(Error::LimitReached);
        }
        if id != InterfaceId::LOOPBACK && !is_link_local_host(address) {
            self.routes.add(assigned.prefix(), None, id)?;
        }
        self.interface_mut(id)?.addresses.push(assigned);
        self.changed();
        self.address_added(shared, id, assigned);
        Ok(())
    }

    /// An address is one that changes from day to day.
    pub(super) fn set_temporary(&mut self, id: InterfaceId, address: IpAddr) {
        let Ok(interface) = self.interface_mut(id) else { return };
        if let Some(own) = interface.addresses.iter_mut().find(|own| own.address == address) {
            own.temporary = true;
        }
    }

    /// Changes what an address is good for.
    pub(super) fn set_state(&mut self, id: InterfaceId, address: IpAddr, state: AddressState) {
        let Ok(interface) = self.interface_mut(id) else { return };
        if let Some(own) = interface.addresses.iter_mut().find(|own| own.address == address)
            && own.state != state
        {
            own.state = state;
            self.changed();
        }
    }

    /// RFC 8200 5: a link of less than 1280 bytes is none for IPv6.
    fn carries(&self, id: InterfaceId, address: IpAddr) -> bool {
        let mtu = self.capabilities(id).map_or(0, |link| link.mtu);
        address.is_ipv4() || mtu >= ipv6::MIN_MTU
    }

    pub(super) fn remove_address(
        &mut self,
        shared: &Shared,
        id: InterfaceId,
        address: IpAddr,
    ) -> Result<(), Error> {
        let interface = self.interface_mut(id)?;
        let place = interface.addresses.iter().position(|other| other.address == address);
        let removed = interface.addresses.remove(place.ok_or(Error::AddressNotAvailable)?);
        if !self.has_prefix(id, removed.prefix()) {
            self.routes.remove(removed.prefix(), false, id);
        }
        self.neighbors.forget_all_of(id);
        self.changed();
        self.address_removed(shared, id, address);
        Ok(())
    }

    /// Whether somebody says that the prefix is on the link: an address of ours, or a router.
    pub(super) fn has_prefix(&self, id: InterfaceId, prefix: Prefix) -> bool {
        self.assigned(id).any(|own| own.prefix() == prefix) || self.autoconf.is_on_link(id, prefix)
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

/// Addresses and routes.
impl Stack {
    /// Gives `interface` an address of either family; an IPv6 address on Ethernet is ours once nobody
    /// else turned out to have it, about a second later ([`Stack::poll_address_change`] tells); it needs
    /// a link-local address beside it, which comes with the first. The first `prefix_len` bits of it are those of every host on
    /// the link, to which it adds a route.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an address that no host can have (unspecified, loopback
    /// elsewhere than on the loopback, multicast, broadcast), a `prefix_len` over 32 or 128, an
    /// interface of another stack, or for IPv6 over a link of less than 1280 bytes;
    /// [`Error::AddressInUse`] when the stack has it already; [`Error::LimitReached`] beyond 64
    /// addresses of one interface.
    pub fn add_address(
        &mut self,
        interface: InterfaceId,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), Error> {
        self.interfaces.add_address(&self.shared, interface, address, prefix_len)
    }

    /// Takes an address away, and the route to its link with it. Sockets that use the address
    /// stay; what they send finds no way back.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when `interface` does not have it.
    pub fn remove_address(&mut self, interface: InterfaceId, address: IpAddr) -> Result<(), Error> {
        self.interfaces.remove_address(&self.shared, interface, address)
    }

    /// Takes every packet that comes by `interface` for ours, whatever host it is addressed to, or no
    /// longer (AnyIP). Sockets see the address that it was sent to, and answer from it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the loopback and for an interface of another stack.
    pub fn set_any_address(&mut self, interface: InterfaceId, on: bool) -> Result<(), Error> {
        self.interfaces.set_takes_any(interface, on)
    }

    /// Clamps the segments of TCP to `mss` bytes on the ways over `interface`, in both directions: no more
    /// is announced to peers, and no more sent, whatever they announce. For a link behind which packets
    /// become longer, as in a tunnel. `None`: the link's MTU alone counts. Connections that are open keep
    /// what they agreed on.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an interface that is not there, and for 0.
    pub fn set_mss_clamp(&mut self, interface: InterfaceId, mss: Option<u16>) -> Result<(), Error> {
        self.interfaces.set_mss_clamp(interface, mss)
    }

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

    /// The addresses of `interface` and the lengths of their prefixes in bits, in the order in
    /// which they were added.
    pub fn addresses(&self, interface: InterfaceId) -> impl Iterator<Item = (IpAddr, u8)> {
        let addresses = self.interfaces.assigned(interface);
        addresses.map(|assigned| (assigned.address, assigned.prefix_len))
    }

    /// Whether packets to `address` stay inside the stack: its own addresses, 127.0.0.0/8 and
    /// ::1.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.interfaces.is_local(address)
    }
}

/// The first of two moments, where there are any.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whether it is one host's address that has a meaning on one link alone.
pub(super) fn is_link_local_host(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
