//! What a frame goes through before a transport sees it (RFC 1122 3.2.1, RFC 791).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use wire::ethernet::{self, EtherType, EthernetAddress};
use wire::frame::{FrameBuf, Medium, ReceiveMeta};
use wire::ip::Protocol;
use wire::ipv4::{self, Ipv4Option};

use crate::icmp::Problem;
use crate::ip::input_v6::{pass_extensions, without_fragment_header};
use crate::ip::reassembly::{DatagramKey, Fragment, Reassembled};
use crate::ip::{InterfaceId, Interfaces, Received};
use crate::packets::OtherProtocols;
use crate::reason::Dropped;
use crate::stack::Stack;

/// The longest IPv4 packet in bytes.
const LONGEST_PACKET: usize = 65_535;

/// How much of a TCP header the first fragment must hold: up to and with the flags, which filters
/// look at (RFC 1858 3.2.1).
const TINY_FRAGMENT: usize = 16;

/// A packet that passed the checks, for the protocols that may have to answer with an ICMP error
/// about it.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// How long its IP headers are; the frame still holds them, hidden in front.
    pub(crate) header_len: usize,
    /// What is in it.
    pub(crate) protocol: Protocol,
    /// It was sent to everybody on the link or to a group, not to us alone.
    pub(crate) group: bool,
    /// It goes on where another fragment ended: there is no transport header in it.
    pub(crate) continues: bool,
    /// It was put together from fragments.
    pub(crate) in_fragments: bool,
    /// Addresses and payload.
    pub(crate) received: Received,
}

impl Incoming {
    /// The options of its header, as they came; none over IPv6. To be asked before the frame shows less than the
    /// transport header.
    pub(crate) fn options(&self) -> ipv4::Options {
        if self.header_len <= ipv4::MIN_HEADER_LEN || self.received.destination.is_ipv6() {
            return ipv4::Options::NONE;
        }
        let header = self.received.frame.hidden(self.header_len);
        ipv4::Header::parse_quoted(header).map_or(ipv4::Options::NONE, |(header, _)| header.options)
    }
}

/// How a packet came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Came {
    /// For our station alone.
    ToUs,
    /// In a frame for more stations than us.
    ToLinkGroup,
    /// In fragments, which were put together.
    InFragments,
    /// Not at all: we sent it to a group that we may be in.
    FromUs,
}

/// Why a packet goes no further, and what its sender is told.
struct Objection {
    reason: Dropped,
    problem: Option<Problem>,
}

impl From<Dropped> for Objection {
    fn from(reason: Dropped) -> Self {
        Self { reason, problem: None }
    }
}

impl Stack {
    /// A frame came from `interface`.
    pub(crate) fn frame_arrives(
        &mut self,
        interface: InterfaceId,
        frame: FrameBuf,
        meta: ReceiveMeta,
    ) {
        match self.interfaces.capabilities(interface).map(|link| link.medium) {
            Some(Medium::Ip) => self.packet_arrives(interface, frame, meta, Came::ToUs),
            Some(Medium::Ethernet(ours)) => self.ethernet_arrives(interface, ours, frame, meta),
            None => self.discard(frame, Dropped::UnknownInterface),
        }
    }

    fn ethernet_arrives(
        &mut self,
        interface: InterfaceId,
        ours: EthernetAddress,
        mut frame: FrameBuf,
        meta: ReceiveMeta,
    ) {
        let header = match ethernet::Header::parse(&frame) {
            Ok((header, _)) => header,
            Err(ethernet::Malformed::NotEthernetII { length }) => {
                return self.snap_arrives(interface, frame, meta, length);
            }
            Err(_) => return self.discard(frame, Dropped::MalformedFrame),
        };
        let to_group = header.destination.is_multicast();
        if header.destination != ours && !to_group {
            return self.discard(frame, Dropped::NotOurEthernetAddress);
        }
        if header.ethertype == EtherType::VLAN {
            return self.tagged_arrives(interface, frame, meta);
        }
        frame.advance(header.encoded_len());
        let came = if to_group { Came::ToLinkGroup } else { Came::ToUs };
        match header.ethertype {
            EtherType::IPV4 | EtherType::IPV6 => {
                let version = if header.ethertype == EtherType::IPV4 { 4 } else { 6 };
                if wire::ip::version(&frame) != Some(version) {
                    return self.discard(frame, Dropped::MalformedIp);
                }
                self.packet_arrives(interface, frame, meta, came);
            }
            EtherType::ARP => {
                self.interfaces.arp_arrives(&mut self.shared, interface, ours, &frame);
                self.abandon_contested();
                self.shared.recycle(frame);
            }
            _ => self.discard(frame, Dropped::UnknownEtherType),
        }
    }

    /// A frame of IEEE 802.3 with a SNAP header in place of a type (RFC 1042, RFC 1122 2.3.3): it is looked at anew
    /// with the type alone.
    fn snap_arrives(
        &mut self,
        interface: InterfaceId,
        mut frame: FrameBuf,
        meta: ReceiveMeta,
        length: u16,
    ) {
        const ADDRESSES: usize = 12;
        /// LLC and the organization that the type is of: none.
        const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];
        /// With the length in front.
        const BEFORE_TYPE: usize = 2 + SNAP.len();
        frame.truncate(ethernet::HEADER_LEN + usize::from(length));
        let inner = frame.get(ethernet::HEADER_LEN..).and_then(|llc| llc.strip_prefix(&SNAP));
        // A length in place of the type once more would lead here again.
        let is_type = |inner: &[u8]| inner.first().is_some_and(|high| *high >= 0x06);
        if !inner.is_some_and(|inner| inner.len() >= 2 && is_type(inner)) {
            return self.discard(frame, Dropped::MalformedFrame);
        }
        frame.copy_within(..ADDRESSES, BEFORE_TYPE);
        frame.advance(BEFORE_TYPE);
        if self.steering.is_alone() {
            self.frame_arrives(interface, frame, meta);
        } else {
            self.frame_arrives_at_shard(interface, frame, meta);
        }
    }

    /// A frame with a tag. One that says no more than a priority is in no VLAN (IEEE 802.1Q 6.9.1): it is
    /// looked at anew without it.
    fn tagged_arrives(&mut self, interface: InterfaceId, mut frame: FrameBuf, meta: ReceiveMeta) {
        const ADDRESSES: usize = 12;
        let tag = match ethernet::Tagged::parse(&frame) {
            Ok((tagged, _)) => tagged.tag,
            Err(_) => return self.discard(frame, Dropped::MalformedFrame),
        };
        if tag.is_none_or(|tag| !tag.is_priority_only()) {
            return self.discard(frame, Dropped::OtherVlan);
        }
        frame.copy_within(..ADDRESSES, ethernet::Tag::LEN);
        frame.advance(ethernet::Tag::LEN);
        if self.steering.is_alone() {
            self.frame_arrives(interface, frame, meta);
        } else {
            self.frame_arrives_at_shard(interface, frame, meta);
        }
    }

    /// An IP packet of either family.
    pub(crate) fn packet_arrives(
        &mut self,
        interface: InterfaceId,
        mut frame: FrameBuf,
        meta: ReceiveMeta,
        came: Came,
    ) {
        if came == Came::ToUs && self.takes_the_shortcut(interface, &mut frame, &meta) {
            return;
        }
        if wire::ip::version(&frame) == Some(6) {
            return self.packet_v6_arrives(interface, frame, meta, came);
        }
        let to_link_group = came == Came::ToLinkGroup;
        let header = match read_header(&frame) {
            Ok(header) => header,
            Err(reason) => return self.discard(frame, reason),
        };
        let addresses = (interface, header.source, header.destination);
        let known = !to_link_group && self.interfaces.is_like_the_last(addresses);
        let group = !known && is_for_group(&self.interfaces, interface, &header);
        let header_len = header.encoded_len();
        // What is behind the stated length is padding of the link (RFC 1122 3.2.1).
        frame.truncate(header_len + usize::from(header.payload_len));
        frame.advance(header_len);
        let received = Received {
            source: IpAddr::V4(header.source),
            destination: IpAddr::V4(header.destination),
            interface,
            ttl: header.ttl,
            traffic_class: header.traffic_class,
            frame,
            meta,
        };
        let (protocol, continues) = (header.protocol, header.fragment_offset != 0);
        let in_fragments = came == Came::InFragments;
        let packet = Incoming { header_len, protocol, group, continues, in_fragments, received };
        let objection = if known {
            objection_to_options(&header.options)
        } else {
            objection_to_addresses(&self.interfaces, &header, &packet, came)
                .or_else(|| objection_to_options(&header.options))
        };
        if let Some(Objection { reason, problem }) = objection {
            if let Some(problem) = problem {
                self.icmp.report(&mut self.shared, &self.interfaces, &packet, problem);
            }
            return self.discard(packet.received.frame, reason);
        }
        if !group {
            self.interfaces.note_in_order(addresses);
        }
        if header.is_fragment() {
            self.fragment_arrives(&header, packet);
        } else {
            self.deliver(packet);
        }
    }

    /// A packet for us, to the protocol that its header names.
    fn deliver(&mut self, packet: Incoming) {
        let shared = &mut self.shared;
        match packet.protocol {
            Protocol::TCP if packet.group => {
                self.discard(packet.received.frame, Dropped::TcpToGroup);
            }
            Protocol::TCP => {
                self.tcp.segment_arrives(shared, &mut self.interfaces, packet.received);
            }
            Protocol::UDP => {
                self.udp.datagram_arrives(shared, &mut self.icmp, &self.interfaces, packet);
            }
            Protocol::ICMP => self.icmp_arrives(packet),
            Protocol::IGMP => {
                if let Err(reason) = self.interfaces.igmp_arrives(shared, &packet) {
                    shared.drop_packet(None, reason);
                }
                shared.recycle(packet.received.frame);
            }
            _ if shared.config.other_protocols == OtherProtocols::HandOver => {
                self.hand_over(packet);
            }
            _ => {
                self.icmp.report(shared, &self.interfaces, &packet, Problem::ProtocolUnreachable);
                self.discard(packet.received.frame, Dropped::UnknownProtocol);
            }
        }
    }

    /// A part of a packet came.
    fn fragment_arrives(&mut self, header: &ipv4::Header, packet: Incoming) {
        let (frame, offset) = (&packet.received.frame, usize::from(header.fragment_offset));
        if frame.is_empty() || packet.header_len + offset + frame.len() > LONGEST_PACKET {
            return self.discard(packet.received.frame, Dropped::FragmentMalformed);
        }
        // RFC 3128: a fragment at 8 could bring other flags; RFC 1858: so could one behind a tiny
        // first.
        let hides_flags = offset == 8 || (offset == 0 && frame.len() < TINY_FRAGMENT);
        if header.protocol == Protocol::TCP && hides_flags {
            return self.discard(packet.received.frame, Dropped::FragmentTiny);
        }
        let key = DatagramKey {
            source: packet.received.source,
            destination: packet.received.destination,
            identification: u32::from(header.identification),
            protocol: header.protocol.0,
        };
        let fragment = Fragment {
            interface: packet.received.interface,
            offset: u32::from(header.fragment_offset),
            more: header.more_fragments,
            ecn: header.ecn(),
            headers: frame.hidden(packet.header_len),
            bytes: frame,
        };
        self.put_together(key, &fragment);
        self.shared.recycle(packet.received.frame);
    }

    /// A fragment of either family; the packet that it completes comes in as if it had never been
    /// cut, and belongs perhaps to another shard.
    pub(super) fn put_together(&mut self, key: DatagramKey, fragment: &Fragment<'_>) {
        let whole = match self.reassembly.add(&mut self.shared, key, fragment) {
            Ok(Some(whole)) => whole,
            Ok(None) => return,
            Err(reason) => return self.shared.drop_packet(None, reason),
        };
        let interface = whole.interface;
        let packet = match key.source {
            IpAddr::V4(_) => without_fragment_fields(whole),
            IpAddr::V6(_) => without_fragment_header(&whole),
        };
        let Some(packet) = packet else {
            return self.shared.drop_packet(None, Dropped::FragmentMalformed);
        };
        // Nobody has summed all of it.
        let (packet, meta) = (FrameBuf::from(packet), ReceiveMeta::default());
        let ours =
            self.steering.sort_packet(&mut self.shared, interface, packet, meta, Came::InFragments);
        if let Some(packet) = ours {
            self.packet_arrives(interface, packet, meta, Came::InFragments);
        }
    }

    /// Gives up datagrams whose fragments did not all come, and says so to whoever sent the first
    /// (RFC 1122 3.3.2).
    pub(crate) fn give_up_fragments(&mut self) {
        while let Some(expired) = self.reassembly.pop_expired(self.shared.now) {
            self.shared.drop_packet(None, Dropped::FragmentTimeout);
            if expired.packet.is_empty() {
                continue;
            }
            let (key, interface, header_len) = (expired.key, expired.interface, expired.header_len);
            let group = match key.destination {
                IpAddr::V4(v4) => self.interfaces.is_broadcast_on(interface, v4),
                IpAddr::V6(v6) => v6.is_multicast(),
            };
            let protocol = expired.protocol();
            let received = Received {
                source: key.source,
                destination: key.destination,
                interface,
                ttl: 0,
                traffic_class: 0,
                frame: expired.into_frame(),
                meta: ReceiveMeta::default(),
            };
            let mut packet = Incoming {
                header_len,
                protocol,
                group,
                continues: false,
                in_fragments: true,
                received,
            };
            if key.source.is_ipv6() {
                pass_extensions(&mut packet);
            }
            self.icmp.report(
                &mut self.shared,
                &self.interfaces,
                &packet,
                Problem::ReassemblyTimeout,
            );
        }
    }

    /// Drops a frame that nobody will read.
    pub(crate) fn discard(&mut self, frame: FrameBuf, reason: Dropped) {
        self.shared.drop_packet(None, reason);
        self.shared.recycle(frame);
    }
}

/// RFC 1122 3.2.1.1 and 3.2.1.2: version, lengths and checksum, each with its own reason.
fn read_header(packet: &[u8]) -> Result<ipv4::Header, Dropped> {
    match ipv4::Header::parse(packet) {
        Ok((header, _)) => Ok(header),
        Err(ipv4::Malformed::Checksum { .. }) => Err(Dropped::IpChecksum),
        Err(ipv4::Malformed::Version(_)) => Err(Dropped::IpVersionUnsupported),
        Err(_) => Err(Dropped::MalformedIp),
    }
}

/// A packet that is whole again.
fn without_fragment_fields(whole: Reassembled) -> Option<Vec<u8>> {
    let Reassembled { mut packet, header_len, ecn, .. } = whole;
    let (header, _) = ipv4::Header::parse_quoted(&packet).ok()?;
    let header = ipv4::Header {
        more_fragments: false,
        fragment_offset: 0,
        payload_len: u16::try_from(packet.len().checked_sub(header_len)?).ok()?,
        traffic_class: header.traffic_class & !3 | ecn.bits(),
        ..header
    };
    header.emit(&mut packet);
    Some(packet)
}

/// What speaks against the addresses of a packet whose header is well formed.
fn objection_to_addresses(
    interfaces: &Interfaces,
    header: &ipv4::Header,
    packet: &Incoming,
    came: Came,
) -> Option<Objection> {
    let interface = packet.received.interface;
    if came != Came::FromUs && !is_possible_source(interfaces, interface, header.source) {
        return Some(Dropped::ForbiddenSource.into());
    }
    let destination = header.destination;
    let from_outside = interface != InterfaceId::LOOPBACK;
    let stray_loopback = from_outside && destination.is_loopback();
    let takes_any = interfaces.takes_any(interface) && is_one_host(destination);
    let ours = !stray_loopback && (takes_any || interfaces.is_local(IpAddr::V4(destination)));
    if !ours && !packet.group {
        let reason =
            if destination.is_multicast() { Dropped::NotInGroup } else { Dropped::NotOurAddress };
        return Some(reason.into());
    }
    // RFC 1122 3.3.6: what everybody on the link got must be for everybody, too.
    if came == Came::ToLinkGroup && !packet.group {
        return Some(Dropped::LinkGroup.into());
    }
    None
}

/// Whether a packet is for everybody on the link, or for a group that we are in. Fragments may be for
/// another shard.
fn is_for_group(interfaces: &Interfaces, interface: InterfaceId, header: &ipv4::Header) -> bool {
    let group = header.destination;
    if !group.is_multicast() {
        return interfaces.is_broadcast_on(interface, group);
    }
    interfaces.is_in_group_v4(interface, group)
        || header.is_fragment() && interfaces.may_hear(interface, group.into())
}

/// Whether an address can be one host's: neither a group's, nor "this network", nor reserved.
fn is_one_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first < 224
}

/// RFC 1122 3.2.1.3: a source is the address of one host, and from outside it is neither a
/// loopback address nor one of our own.
fn is_possible_source(interfaces: &Interfaces, interface: InterfaceId, source: Ipv4Addr) -> bool {
    // 240.0.0.0/4 is reserved (RFC 1112 section 4); it includes 255.255.255.255.
    let nobody = source.octets()[0] == 0 || source.is_multicast() || source.octets()[0] >= 240;
    if nobody || interfaces.is_broadcast(IpAddr::V4(source)) {
        return false;
    }
    interface == InterfaceId::LOOPBACK || !interfaces.is_local(IpAddr::V4(source))
}

/// RFC 1122 3.2.1.8: options that we do not know are passed over, those that make no sense are
/// answered, and source routes lead nowhere here (RFC 7126 4.3 and 4.4 say to drop them).
fn objection_to_options(options: &ipv4::Options) -> Option<Objection> {
    if options.is_empty() {
        return None;
    }
    let mut iter = options.iter();
    let mut position = iter.position();
    while let Some(option) = iter.next() {
        match option {
            Ipv4Option::LooseSourceRoute(_) | Ipv4Option::StrictSourceRoute(_) => {
                return Some(Dropped::SourceRoute.into());
            }
            // What is told is the octet that is wrong: the option's length, or its pointer.
            Ipv4Option::BadLength { .. } | Ipv4Option::WrongSize { .. } => {
                return Some(malformed_option(position + 1));
            }
            _ if points_astray(&option) => return Some(malformed_option(position + 2)),
            _ => position = iter.position(),
        }
    }
    None
}

/// Byte `wrong` of the options makes no sense.
fn malformed_option(wrong: usize) -> Objection {
    let pointer = u8::try_from(ipv4::MIN_HEADER_LEN + wrong).ok();
    let problem = pointer.map(|pointer| Problem::Parameter { pointer });
    Objection { reason: Dropped::MalformedIpOption, problem }
}

/// Whether the next address or time is to be written over what is no place for it: before the first, or
/// in part behind the last. Behind all of them is full (RFC 791 3.1).
fn points_astray(option: &Ipv4Option<'_>) -> bool {
    let (pointer, first, data, entry) = match *option {
        Ipv4Option::RecordRoute(route) => (route.pointer, 4, route.data, 4),
        Ipv4Option::Timestamp { pointer, flag: 0, data, .. } => (pointer, 5, data, 4),
        Ipv4Option::Timestamp { pointer, data, .. } => (pointer, 5, data, 8),
        _ => return false,
    };
    let (pointer, end) = (usize::from(pointer), first + data.len());
    pointer < first || pointer < end && pointer + entry > end
}
