//! The interfaces of a stack, and what belongs to all of them. Most of what they do is done in other files of
//! this room.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand_core::Rng;
use wire::ethernet::EthernetAddress;
use wire::frame::{Capabilities, Medium};
use wire::time::Instant;

use crate::dhcp::Resolvers;
use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::addresses::Assigned;
use crate::ip::arp::ArpReply;
use crate::ip::autoconf::Autoconf;
use crate::ip::defence::Defended;
use crate::ip::fragment::Pieces;
use crate::ip::gateway::SpareGateways;
use crate::ip::igmp::Report;
use crate::ip::ndp::Message;
use crate::ip::neighbor::{Neighbors, Waiter};
use crate::ip::output::Identifications;
use crate::ip::path::Paths;
use crate::ip::policy::PolicyTable;
use crate::ip::probe_v4::Probed;
use crate::ip::redirect::Redirects;
use crate::ip::route::RouteTable;
use crate::shared::Shared;
use crate::stack::Stack;
use crate::transmit::{HeaderBuf, Packet};

/// The interfaces of a stack, and what belongs to all of them.
#[derive(Debug)]
pub(crate) struct Interfaces {
    /// Number 0 is the loopback.
    pub(super) interfaces: Vec<Interface>,
    pub(super) routes: RouteTable,
    pub(super) neighbors: Neighbors,
    pub(super) arp_replies: VecDeque<ArpReply>,
    /// What IPv6 has to say to everybody on a link.
    pub(super) discovery: VecDeque<Message>,
    /// What IPv4 has to say about groups.
    pub(super) group_reports: VecDeque<Report>,
    pub(super) autoconf: Autoconf,
    /// What [`Config::address_policy`](crate::Config) says.
    pub(crate) policy: PolicyTable,
    /// What [`Config::prefer_public_addresses`](crate::Config) says.
    pub(crate) public_first: bool,
    /// Name servers of IPv6.
    pub(crate) resolvers: Resolvers,
    /// Addresses of IPv4 of which it is asked whether somebody else has them.
    pub(crate) probed: Vec<Probed>,
    /// Addresses of IPv4 that somebody else claimed a short while ago.
    pub(super) defended: Vec<Defended>,
    /// Those that are claimed in spite of that.
    pub(super) contested: Vec<(InterfaceId, Ipv4Addr)>,
    /// Those that go as soon as the last resets from them are sent.
    pub(super) abandoned: Vec<(InterfaceId, Ipv4Addr)>,
    pub(super) paths: Paths,
    /// First hops that routers told of.
    pub(super) redirects: Redirects,
    /// Who may take the place of a gateway that does not answer.
    pub(super) spare_gateways: SpareGateways,
    pub(super) identifications: Identifications,
    /// Datagrams of which some pieces are still to be sent.
    pub(super) pieces: VecDeque<Pieces>,
    /// The addresses of all interfaces that are ours, to be looked through for each new conversation.
    pub(super) own_v4: Vec<Ipv4Addr>,
    pub(super) own_v6: Vec<Ipv6Addr>,
    /// Changes with every change of addresses and routes: cached routes hold as long as it.
    generation: u32,
    /// The interface, source and destination of the last packet whose addresses were in order.
    in_order: Option<(InterfaceId, Ipv4Addr, Ipv4Addr)>,
    in_order_v6: Option<(InterfaceId, Ipv6Addr, Ipv6Addr)>,
}

#[derive(Debug)]
pub(super) struct Interface {
    pub(super) capabilities: Capabilities,
    /// Packets to every address that come by it are for us.
    pub(super) takes_any: bool,
    /// No segment of TCP carries more in either direction.
    pub(super) mss_clamp: Option<u16>,
    pub(super) addresses: Vec<Assigned>,
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
            policy: PolicyTable::default(),
            public_first: false,
            resolvers: Resolvers::default(),
            probed: Vec::new(),
            defended: Vec::new(),
            contested: Vec::new(),
            abandoned: Vec::new(),
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

    /// Whether a packet of its own waits for the link, a waiter for its turn, or an address to go.
    pub(crate) fn has_work(&self) -> bool {
        // Asked for every packet: one question about all of them.
        let own = self.arp_replies.len() | self.pieces.len() | self.discovery.len();
        own | self.group_reports.len() | self.abandoned.len() | self.neighbors.work() != 0
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

    pub(super) fn ids(&self) -> impl Iterator<Item = InterfaceId> + use<> {
        // `add` sees to it that the numbers fit.
        (0..self.interfaces.len()).filter_map(|n| u8::try_from(n).ok()).map(InterfaceId)
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

    pub(super) fn interface_mut(
        &mut self,
        interface: InterfaceId,
    ) -> Result<&mut Interface, Error> {
        self.interfaces.get_mut(usize::from(interface.0)).ok_or(Error::InvalidInput)
    }
}

/// Interfaces.
impl Stack {
    /// Takes every packet that comes by `interface` for ours, whatever host it is addressed to, or no
    /// longer (AnyIP). Sockets see the address that it was sent to, and answer from it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the loopback and for an interface of another stack.
    pub fn set_any_address(&mut self, interface: InterfaceId, on: bool) -> Result<(), Error> {
        self.interfaces.set_takes_any(interface, on)
    }
}

/// The first of two moments, where there are any.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
