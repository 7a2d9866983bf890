//! Shards: one host on several cores, each with a stack of its own and a queue of the device.
//!
//! A shard shares no memory with the others. Each of them can compute from a packet alone whose it
//! is, its *owner*: a keyed hash of what the conversation keeps, modulo the number of shards. So
//! there is no table of flows to look into, and none that could be filled up or be out of date.
//!
//! | packet | owner | why |
//! |---|---|---|
//! | TCP | by the four-tuple, the same for both directions | a connection, its half-open entry, its cookie and its TIME-WAIT are on one shard; a listener is on all |
//! | UDP | by our port | a socket has one queue, whoever sends |
//! | ICMP echo and timestamp reply | by its identifier | it goes to the socket that asked |
//! | ICMP error | as the packet that it quotes | it is about that |
//! | other ICMP | whoever received it | any shard can answer |
//! | IGMP, listener discovery | everybody | each shard speaks for its own sockets |
//! | ARP, neighbour discovery | everybody; who received it answers | each shard knows its neighbours itself |
//! | what a DHCP server says | by the client's port, like all of UDP | one shard asks, and tells the others |
//! | a fragment | by addresses and identification | it tells no ports; whole, it goes on to its owner |
//!
//! The queue that a frame comes from is the kernel's choice, and its steering is a hint. Who gets
//! a frame of another's keeps it for [`Stack::poll_handover`]; what carries it across is the
//! driver's affair. What a shard opens itself is its own from the start: it takes only ports and
//! identifiers whose owner it is.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher13;
use wire::ethernet::{self, EtherType};
use wire::frame::{FrameBuf, Medium, ReceiveMeta};
use wire::icmpv4::{self, kind};
use wire::ip::{Outline, Protocol};
use wire::time::{Duration, Instant};
use wire::{icmpv6, ipv4, ipv6, tcp, udp};

use crate::binding::Binding;
use crate::dhcp::News;
use crate::error::Error;
use crate::flow::FourTuple;
use crate::ip::{Came, InterfaceId};
use crate::reason::Dropped;
use crate::shared::Shared;
use crate::stack::Stack;

/// When what a shard had no room for is told to it again: by then it will have looked at some of what
/// it has.
const TELL_AGAIN: Duration = Duration::from_millis(10);

/// Which of the shards of a host a stack is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    index: u16,
    count: u16,
}

impl Shard {
    /// The only one.
    pub const ALONE: Self = Self { index: 0, count: 1 };

    /// Number `index`, from zero, of `count`; `None` when there is no such one.
    #[must_use]
    pub const fn new(index: u16, count: u16) -> Option<Self> {
        if index < count { Some(Self { index, count }) } else { None }
    }

    /// Its number, from zero.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.index
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }
}

/// A frame on its way to the shard that it belongs to, or what all shards are to know.
#[derive(Clone, Debug)]
pub struct Handover {
    /// The shard's number.
    pub to: u16,
    interface: InterfaceId,
    /// How it came, when it is an IP packet whatever the link carries: put together from fragments, or
    /// from ourselves.
    packet: Option<Came>,
    frame: FrameBuf,
    meta: ReceiveMeta,
    /// It is no frame, but what its sender learned for all shards.
    news: Option<Box<News>>,
}

/// Whose a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    /// Any shard can handle it: the one that has it does.
    Anybody,
    /// This one.
    Shard(u16),
    /// All of them want to know.
    Everybody,
}

/// Tells whose a packet is, and keeps what is not ours.
#[derive(Debug)]
pub(crate) struct Steering {
    shard: Shard,
    hash: OwnerHash,
    /// Frames for other shards, oldest first.
    handovers: VecDeque<Handover>,
    /// News for which another shard had no room: it is told again, then.
    untold: Vec<Handover>,
    tell_again: Option<Instant>,
    /// The frame at hand came to another shard, which answers it.
    overhears: bool,
}

impl Steering {
    /// All shards of a host have the same `key`, which nobody else knows: a peer that could
    /// compute owners could send all of its connections to one.
    pub(crate) fn new(shard: Shard, key: [u64; 2]) -> Self {
        Self {
            shard,
            hash: OwnerHash { key, count: shard.count },
            handovers: VecDeque::new(),
            untold: Vec::new(),
            tell_again: None,
            overhears: false,
        }
    }

    /// Whether the connection would be ours.
    pub(crate) fn owns_flow(&self, tuple: &FourTuple) -> bool {
        self.is_alone() || self.hash.of_flow(tuple.local, tuple.remote) == self.shard.index
    }

    /// Whether the UDP port is ours.
    pub(crate) fn owns_udp_port(&self, port: u16) -> bool {
        self.is_alone() || self.hash.of_number(Protocol::UDP, port) == self.shard.index
    }

    /// Whether echo replies with this identifier are ours.
    pub(crate) fn owns_identifier(&self, identifier: u16) -> bool {
        self.is_alone() || self.hash.of_number(Protocol::ICMP, identifier) == self.shard.index
    }

    /// Gives `frame` back when it is for us, too; keeps it for its owner when it is not.
    pub(crate) fn sort(
        &mut self,
        shared: &mut Shared,
        medium: Medium,
        interface: InterfaceId,
        frame: FrameBuf,
        meta: ReceiveMeta,
    ) -> Option<FrameBuf> {
        if self.is_alone() {
            return Some(frame);
        }
        match self.hash.of_frame(medium, &frame) {
            Owner::Shard(to) if to != self.shard.index => {
                self.keep(shared, Handover::of_frame(to, interface, None, frame, meta));
                None
            }
            Owner::Shard(_) | Owner::Anybody => Some(frame),
            Owner::Everybody => {
                let Shard { index, count } = self.shard;
                for to in (0..count).filter(|to| *to != index) {
                    let frame = FrameBuf::copy_from(&frame);
                    self.keep(shared, Handover::of_frame(to, interface, None, frame, meta));
                }
                Some(frame)
            }
        }
    }

    /// The same for a packet that was put together from fragments here, or that we sent to a group.
    pub(crate) fn sort_packet(
        &mut self,
        shared: &mut Shared,
        interface: InterfaceId,
        frame: FrameBuf,
        meta: ReceiveMeta,
        came: Came,
    ) -> Option<FrameBuf> {
        if self.is_alone() {
            return Some(frame);
        }
        match self.hash.of_packet(&frame) {
            Some(to) if to != self.shard.index => {
                self.keep(shared, Handover::of_frame(to, interface, Some(came), frame, meta));
                None
            }
            _ => Some(frame),
        }
    }

    fn keep(&mut self, shared: &mut Shared, handover: Handover) {
        if self.handovers.len() < shared.config.handover_limit {
            shared.counters.count_handed_over();
            self.handovers.push_back(handover);
        } else {
            refuse(shared, handover);
        }
    }

    /// What all other shards are to know. It is never lost, whatever waits for them.
    pub(crate) fn tell(&mut self, shared: &mut Shared, news: &News) {
        let Shard { index, count } = self.shard;
        for to in (0..count).filter(|to| *to != index) {
            shared.counters.count_handed_over();
            self.handovers.push_back(Handover::of_news(to, news.clone()));
        }
    }

    /// When [`Steering::tell_again`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.tell_again
    }

    /// Tells what there was no room for.
    pub(crate) fn tell_again(&mut self, now: Instant) {
        if self.tell_again.take_if(|due| *due <= now).is_some() {
            self.handovers.extend(self.untold.drain(..));
        }
    }

    /// Whether the frame at hand is another shard's to answer.
    pub(crate) fn is_overhearing(&self) -> bool {
        self.overhears
    }

    /// Whether everything is ours.
    pub(crate) fn is_alone(&self) -> bool {
        self.shard.count == 1
    }
}

/// Several shards of one host.
impl Stack {
    /// Which shard this is.
    #[must_use]
    pub fn shard(&self) -> Shard {
        self.steering.shard
    }

    /// The next frame that came here and belongs to another shard: give it to that one's
    /// [`Stack::handle_handover`].
    pub fn poll_handover(&mut self) -> Option<Handover> {
        self.steering.handovers.pop_front()
    }

    /// A frame came from the queue of this one of several shards.
    pub(crate) fn frame_arrives_at_shard(
        &mut self,
        interface: InterfaceId,
        frame: FrameBuf,
        meta: ReceiveMeta,
    ) {
        let Some(medium) = self.interfaces.capabilities(interface).map(|link| link.medium) else {
            return self.discard(frame, Dropped::UnknownInterface);
        };
        let ours = self.steering.sort(&mut self.shared, medium, interface, frame, meta);
        if let Some(frame) = ours {
            self.frame_arrives(interface, frame, meta);
        }
    }

    /// Another shard received a frame of ours.
    pub fn handle_handover(&mut self, now: Instant, handover: Handover) {
        self.shared.set_time(now);
        self.shared.counters.count_taken_over();
        let Handover { interface, packet, frame, meta, news, .. } = handover;
        if let Some(news) = news {
            return self.hear_news(*news);
        }
        if let Some(came) = packet {
            return self.packet_arrives(interface, frame, meta, came);
        }
        let medium = self.interfaces.capabilities(interface).map(|link| link.medium);
        match medium.map(|medium| (medium, is_arp(medium, &frame))) {
            // Who received it answers it.
            Some((Medium::Ethernet(ours), true)) => {
                self.interfaces.arp_overheard(&mut self.shared, interface, ours, &frame);
                self.abandon_contested();
                self.shared.recycle(frame);
            }
            Some((medium, false)) => {
                // Discovery is everybody's; who received it answers.
                self.steering.overhears =
                    matches!(self.steering.hash.of_frame(medium, &frame), Owner::Everybody);
                self.frame_arrives(interface, frame, meta);
                self.steering.overhears = false;
            }
            _ => self.frame_arrives(interface, frame, meta),
        }
    }

    /// The owner of a frame has no room for it: it is lost, as on a full link. What all shards are to know is
    /// told again a little later.
    pub fn handle_refused_handover(&mut self, handover: Handover) {
        if handover.news.is_some() {
            let steering = &mut self.steering;
            steering.untold.push(handover);
            steering.tell_again = Some(self.shared.now.after(TELL_AGAIN));
            return;
        }
        refuse(&mut self.shared, handover);
    }

    /// Which shard a connection from `local` to `remote` belongs to; from an unspecified address,
    /// one that begins at the address that the route gives.
    ///
    /// # Errors
    /// [`Error::NetworkUnreachable`] without a route, [`Error::AddressNotAvailable`] when the
    /// address is not ours, [`Error::InvalidInput`] for two families.
    pub fn owner_of_connection(&self, local: SocketAddr, remote: SocketAddr) -> Result<u16, Error> {
        let (binding, remote) = Binding::of_connection(Some(local), remote, false)?;
        let asked = Some(binding.local.ip()).filter(|ip| !ip.is_unspecified());
        if asked.is_some_and(|ip| !self.interfaces.is_local(ip)) {
            return Err(Error::AddressNotAvailable);
        }
        let source = self.interfaces.route(asked, remote.ip())?.source;
        Ok(self.steering.hash.of_flow(SocketAddr::new(source, local.port()), remote))
    }

    /// Which shard a UDP port belongs to.
    #[must_use]
    pub fn owner_of_udp_port(&self, port: u16) -> u16 {
        self.steering.hash.of_number(Protocol::UDP, port)
    }
}

impl Handover {
    fn of_frame(
        to: u16,
        interface: InterfaceId,
        packet: Option<Came>,
        frame: FrameBuf,
        meta: ReceiveMeta,
    ) -> Self {
        Self { to, interface, packet, frame, meta, news: None }
    }

    fn of_news(to: u16, news: News) -> Self {
        let (interface, meta) = (InterfaceId::LOOPBACK, ReceiveMeta::default());
        let news = Some(Box::new(news));
        Self { to, interface, packet: None, frame: FrameBuf::default(), meta, news }
    }
}

/// Counts a frame that does not get to its owner.
fn refuse(shared: &mut Shared, handover: Handover) {
    shared.drop_packet(None, Dropped::HandoverFull);
    shared.recycle(handover.frame);
}

fn is_arp(medium: Medium, frame: &[u8]) -> bool {
    matches!(medium, Medium::Ethernet(_))
        && ethernet::View::new(frame).is_some_and(|view| view.ethertype() == EtherType::ARP)
}

/// The hop limit of neighbour discovery (RFC 4861 3.1).
const DISCOVERY_HOPS: u8 = 255;

/// Whether an IP packet speaks of neighbours, routers or groups: each shard knows those itself.
fn is_discovery(packet: &[u8]) -> bool {
    if let Some(ip) = ipv4::View::new(packet).filter(|ip| ip.version() == 4) {
        return ip.protocol() == Protocol::IGMP;
    }
    // All of these go from hop to hop and no further, so their hop limit is one of two.
    let hops = ipv6::View::new(packet).filter(|ip| ip.version() == 6).map(|ip| ip.hop_limit());
    if !matches!(hops, Some(DISCOVERY_HOPS | 1)) {
        return false;
    }
    let message = Outline::of(packet)
        .filter(|outline| outline.protocol == Protocol::ICMPV6 && outline.fragment.is_none())
        .and_then(|outline| icmpv6::View::new(packet.get(outline.start..)?));
    message.is_some_and(|view| matches!(view.kind(), 130..=137 | 143))
}

/// The keyed hash that makes an owner of a conversation.
#[derive(Clone, Copy)]
struct OwnerHash {
    key: [u64; 2],
    count: u16,
}

impl OwnerHash {
    /// Reads no more of a frame than tells its owner. What is malformed is anybody's, who will say
    /// so when it comes to that.
    fn of_frame(&self, medium: Medium, frame: &[u8]) -> Owner {
        let packet = match medium {
            Medium::Ip => frame,
            Medium::Ethernet(_) => match ethernet::View::new(frame) {
                Some(view) if view.ethertype() == EtherType::IPV4 => view.payload(),
                Some(view) if view.ethertype() == EtherType::IPV6 => view.payload(),
                Some(view) if view.ethertype() == EtherType::ARP => return Owner::Everybody,
                _ => return Owner::Anybody,
            },
        };
        if is_discovery(packet) {
            return Owner::Everybody;
        }
        self.of_packet(packet).map_or(Owner::Anybody, Owner::Shard)
    }

    fn of_packet(&self, packet: &[u8]) -> Option<u16> {
        if wire::ip::version(packet) == Some(6) {
            return self.of_packet_v6(packet);
        }
        let ip = ipv4::View::new(packet).filter(|ip| ip.version() == 4)?;
        if ip.more_fragments() || ip.fragment_offset() != 0 {
            let name = u32::from(ip.identification()) << 8 | u32::from(ip.protocol().0);
            return Some(self.of_datagram(ip.source().into(), ip.destination().into(), name));
        }
        match ip.protocol() {
            Protocol::TCP => {
                let segment = tcp::View::new(ip.payload())?;
                let local = SocketAddr::new(ip.destination().into(), segment.destination_port());
                let remote = SocketAddr::new(ip.source().into(), segment.source_port());
                Some(self.of_flow(local, remote))
            }
            Protocol::UDP => {
                let port = udp::View::new(ip.payload())?.destination_port();
                Some(self.of_number(Protocol::UDP, port))
            }
            Protocol::ICMP => self.of_message(ip.payload()),
            _ => None,
        }
    }

    fn of_packet_v6(&self, packet: &[u8]) -> Option<u16> {
        let outline = Outline::of(packet)?;
        let (source, destination) = (outline.source, outline.destination);
        if outline.fragment.is_some() {
            let header = ipv6::View::new(packet)?;
            let fragment = ipv6::Extensions::new(header.next_header(), header.payload())
                .find_map(|extension| extension.fragment())?;
            return Some(self.of_datagram(source, destination, fragment.identification));
        }
        let transport = packet.get(outline.start..outline.end.min(packet.len()))?;
        match outline.protocol {
            Protocol::TCP => {
                let segment = tcp::View::new(transport)?;
                let local = SocketAddr::new(destination, segment.destination_port());
                let remote = SocketAddr::new(source, segment.source_port());
                Some(self.of_flow(local, remote))
            }
            Protocol::UDP => {
                let port = udp::View::new(transport)?.destination_port();
                Some(self.of_number(Protocol::UDP, port))
            }
            Protocol::ICMPV6 => self.of_message_v6(transport),
            _ => None,
        }
    }

    fn of_message_v6(&self, message: &[u8]) -> Option<u16> {
        let (header, payload) = icmpv6::Header::parse(message).ok()?;
        if let icmpv6::Header::EchoReply { identifier, .. } = header {
            return Some(self.of_number(Protocol::ICMP, identifier));
        }
        // As for IPv4: what it is about went out from here.
        let quoted = header.quoted(payload)?;
        if let Some((identifier, _)) = quoted.echo() {
            return Some(self.of_number(Protocol::ICMP, identifier));
        }
        let (local_port, remote_port) = quoted.ports()?;
        if quoted.protocol == Protocol::UDP {
            return Some(self.of_number(Protocol::UDP, local_port));
        }
        let local = SocketAddr::new(quoted.header.source.into(), local_port);
        let remote = SocketAddr::new(quoted.header.destination.into(), remote_port);
        Some(self.of_flow(local, remote))
    }

    fn of_message(&self, message: &[u8]) -> Option<u16> {
        let view = icmpv4::View::new(message)?;
        if matches!(view.kind(), kind::ECHO_REPLY | kind::TIMESTAMP_REPLY) {
            return Some(self.of_number(Protocol::ICMP, view.identifier()));
        }
        let (header, payload) = icmpv4::Header::parse(message).ok()?;
        // What it is about went out from here: source and destination change places.
        let quoted = header.quoted(payload)?;
        if let Some((identifier, _)) = quoted.echo() {
            return Some(self.of_number(Protocol::ICMP, identifier));
        }
        let (local_port, remote_port) = quoted.ports()?;
        if quoted.header.protocol == Protocol::UDP {
            return Some(self.of_number(Protocol::UDP, local_port));
        }
        let local = SocketAddr::new(quoted.header.source.into(), local_port);
        let remote = SocketAddr::new(quoted.header.destination.into(), remote_port);
        Some(self.of_flow(local, remote))
    }

    /// The same for both directions, so that both ends of a connection that stays inside are on
    /// one shard.
    fn of_flow(&self, local: SocketAddr, remote: SocketAddr) -> u16 {
        let (first, second) = if local <= remote { (local, remote) } else { (remote, local) };
        let mut hash = self.begin();
        for end in [first, second] {
            match end.ip() {
                IpAddr::V4(ip) => {
                    hash.write_u64(u64::from(ip.to_bits()) << 16 | u64::from(end.port()));
                }
                IpAddr::V6(ip) => {
                    hash.write(&ip.octets());
                    hash.write_u16(end.port());
                }
            }
        }
        self.scale(&hash)
    }

    /// For the fragments of one datagram.
    fn of_datagram(&self, source: IpAddr, destination: IpAddr, name: u32) -> u16 {
        let mut hash = self.begin();
        for address in [source, destination] {
            match address {
                IpAddr::V4(ip) => hash.write(&ip.octets()),
                IpAddr::V6(ip) => hash.write(&ip.octets()),
            }
        }
        hash.write_u32(name);
        self.scale(&hash)
    }

    /// For what a protocol finds by one number: a port, an identifier.
    fn of_number(&self, protocol: Protocol, number: u16) -> u16 {
        let mut hash = self.begin();
        hash.write_u32(u32::from(protocol.0) << 16 | u32::from(number));
        self.scale(&hash)
    }

    fn begin(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key[0], self.key[1])
    }

    /// The hash as a fraction of its range, times the number of shards: less than that number.
    fn scale(&self, hash: &SipHasher13) -> u16 {
        (((hash.finish() >> 32) * u64::from(self.count)) >> 32) as u16
    }
}

impl core::fmt::Debug for OwnerHash {
    /// Never prints the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OwnerHash { .. }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn hash(count: u16) -> OwnerHash {
        OwnerHash { key: [1, 2], count }
    }

    fn end(address: u32, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(address)), port)
    }

    #[test]
    fn there_is_no_shard_beyond_the_last() {
        assert_eq!(Shard::new(0, 0), None);
        assert_eq!(Shard::new(2, 2), None);
        assert_eq!(Shard::new(0, 1), Some(Shard::ALONE));
        assert_eq!(
            Shard::new(255, 256).map(|shard| (shard.index(), shard.count())),
            Some((255, 256))
        );
    }

    #[test]
    fn every_shard_gets_about_its_part() {
        for count in [2, 3, 8, 32, 256] {
            let mut owned = alloc::vec![0_u32; usize::from(count)];
            for n in 0..u32::from(count) * 1000 {
                let remote = end(0x0a00_0000 + n % 7, (n / 7 % 65_536) as u16);
                owned[usize::from(hash(count).of_flow(end(0x0a00_00ff, 80), remote))] += 1;
            }
            assert!(owned.iter().all(|owned| (800..1200).contains(owned)), "{count}: {owned:?}");
        }
    }

    #[test]
    fn another_key_makes_other_owners() {
        let owners = |key| {
            let hash = OwnerHash { key, count: 16 };
            (0..64).map(|port| hash.of_number(Protocol::UDP, port)).collect::<alloc::vec::Vec<_>>()
        };
        assert_eq!(owners([1, 2]), owners([1, 2]));
        assert_ne!(owners([1, 2]), owners([1, 3]));
    }

    proptest! {
        #[test]
        fn both_directions_have_one_owner(
            local: u32, remote: u32, local_port: u16, remote_port: u16, count in 1..=256_u16,
        ) {
            let (local, remote) = (end(local, local_port), end(remote, remote_port));
            let owner = hash(count).of_flow(local, remote);
            prop_assert!(owner < count);
            prop_assert_eq!(owner, hash(count).of_flow(remote, local));
        }

        #[test]
        fn no_bytes_are_too_bad_to_be_anybodys(
            bytes in proptest::collection::vec(any::<u8>(), 0..120), ethernet: bool,
        ) {
            let medium = if ethernet {
                Medium::Ethernet(ethernet::EthernetAddress([2, 0, 0, 0, 0, 1]))
            } else {
                Medium::Ip
            };
            if let Owner::Shard(owner) = hash(5).of_frame(medium, &bytes) {
                prop_assert!(owner < 5);
            }
        }
    }
}
