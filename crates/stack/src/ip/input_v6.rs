//! What an IPv6 packet goes through before a transport sees it (RFC 8200).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use wire::frame::{FrameBuf, ReceiveMeta};
use wire::icmpv6::ParameterCode;
use wire::ip::{Ecn, Protocol};
use wire::ipv6::{self, Answer, Chain, ChainMalformed, Extensions, Limits, PlacedFragment};

use crate::icmp::Problem;
use crate::ip::input::{Came, Incoming};
use crate::ip::reassembly::{DatagramKey, Fragment, Reassembled};
use crate::ip::scope::is_mapped;
use crate::ip::{InterfaceId, Interfaces, Received};
use crate::packets::OtherProtocols;
use crate::reason::Dropped;
use crate::stack::Stack;

impl Stack {
    /// An IPv6 packet.
    pub(super) fn packet_v6_arrives(
        &mut self,
        interface: InterfaceId,
        mut frame: FrameBuf,
        meta: ReceiveMeta,
        came: Came,
    ) {
        let Ok((header, payload)) = ipv6::Header::parse(&frame) else {
            return self.discard(frame, Dropped::MalformedIp);
        };
        let addresses = (interface, header.source, header.destination);
        let known = came != Came::ToLinkGroup && self.interfaces.is_like_the_last_v6(addresses);
        if !known
            && let Some(reason) = objection_to_addresses(&self.interfaces, interface, &header, came)
        {
            return self.discard(frame, reason);
        }
        let chain = Chain::walk(&header, payload, &Limits::DEFAULT);
        // What is behind the stated length is padding of the link.
        frame.truncate(ipv6::HEADER_LEN + usize::from(header.payload_len));
        let start = chain.as_ref().map_or(ipv6::HEADER_LEN, |chain| chain.start);
        frame.advance(start);
        let received = Received {
            source: IpAddr::V6(header.source),
            destination: IpAddr::V6(header.destination),
            interface,
            ttl: header.hop_limit,
            traffic_class: header.traffic_class,
            frame,
            meta,
        };
        let mut packet = Incoming {
            header_len: start,
            protocol: header.next_header,
            group: header.destination.is_multicast(),
            continues: false,
            in_fragments: came == Came::InFragments,
            received,
        };
        let chain = match chain {
            Ok(chain) => chain,
            Err(malformed) => return self.refuse_chain(packet, malformed),
        };
        packet.protocol = chain.protocol;
        if header.source.is_unspecified() {
            // Only who has no address yet speaks like this, and only of that (RFC 4861, RFC 9777).
            if chain.protocol != Protocol::ICMPV6 {
                return self.discard(packet.received.frame, Dropped::ForbiddenSource);
            }
        } else if !known && !packet.group {
            self.interfaces.note_in_order_v6(addresses);
        }
        match chain.fragment {
            Some(fragment) => self.fragment_v6_arrives(packet, &chain, &fragment, header.ecn()),
            None => self.deliver_v6(packet, chain.named_at),
        }
    }

    /// Something is wrong with the extension headers: the sender is told, where it is to be.
    fn refuse_chain(&mut self, mut packet: Incoming, malformed: ChainMalformed) {
        pass_extensions(&mut packet);
        if let Some(answer) = malformed.answer() {
            self.icmp.report(&mut self.shared, &self.interfaces, &packet, Problem::Headers(answer));
        }
        let reason = match malformed {
            ChainMalformed::FragmentLength { .. }
            | ChainMalformed::FragmentEmpty
            | ChainMalformed::FragmentBeyondEnd { .. } => Dropped::FragmentMalformed,
            ChainMalformed::FirstFragmentIncomplete => Dropped::FragmentTiny,
            ChainMalformed::RoutingType { .. } => Dropped::SourceRoute,
            _ => Dropped::MalformedExtension,
        };
        self.discard(packet.received.frame, reason);
    }

    /// A packet for us, to the protocol behind its headers, which is named at byte `named_at`.
    fn deliver_v6(&mut self, packet: Incoming, named_at: usize) {
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
            Protocol::ICMPV6 => self.icmpv6_arrives(packet),
            Protocol::NO_NEXT_HEADER => {
                self.discard(packet.received.frame, Dropped::NoNextHeader);
            }
            _ if shared.config.other_protocols == OtherProtocols::HandOver => {
                self.hand_over(packet);
            }
            _ => {
                let answer = Answer {
                    code: ParameterCode::UNRECOGNIZED_NEXT_HEADER,
                    pointer: u32::try_from(named_at).unwrap_or(0),
                    even_to_multicast: false,
                };
                self.icmp.report(shared, &self.interfaces, &packet, Problem::Headers(answer));
                self.discard(packet.received.frame, Dropped::UnknownProtocol);
            }
        }
    }

    /// A part of a packet came (RFC 8200 4.5, RFC 5722). What a fragment must be like was looked at
    /// when its headers were; one that is whole by itself did not come here (RFC 6946).
    fn fragment_v6_arrives(
        &mut self,
        packet: Incoming,
        chain: &Chain,
        fragment: &PlacedFragment,
        ecn: Ecn,
    ) {
        let key = DatagramKey {
            source: packet.received.source,
            destination: packet.received.destination,
            identification: fragment.header.identification,
            protocol: 0,
        };
        let frame = &packet.received.frame;
        let piece = Fragment {
            interface: packet.received.interface,
            offset: u32::from(fragment.header.offset),
            more: fragment.header.more_fragments,
            ecn,
            headers: frame.hidden(chain.start),
            bytes: frame,
        };
        self.put_together(key, &piece);
        self.shared.recycle(packet.received.frame);
    }
}

/// Passes over the extension headers that are left, as far as they came: what the packet is in the end
/// decides whether an error may be sent about it (RFC 4443 2.4 (e)).
pub(super) fn pass_extensions(packet: &mut Incoming) {
    let mut rest = Extensions::new(packet.protocol, &packet.received.frame);
    for extension in rest.by_ref() {
        packet.continues |= extension.fragment().is_some_and(|fragment| fragment.offset != 0);
    }
    packet.protocol = rest.protocol();
    let passed = rest.start() - ipv6::HEADER_LEN;
    packet.header_len += passed;
    packet.received.frame.advance(passed);
}

/// A packet that is whole again, without its fragment header: RFC 8200 4.5. `None` when it would be
/// longer than a packet can be.
pub(super) fn without_fragment_header(whole: &Reassembled) -> Option<Vec<u8>> {
    let (headers, payload) = whole.packet.split_at_checked(whole.header_len)?;
    let (header, behind) = ipv6::Header::parse_quoted(headers).ok()?;
    let mut extensions = Extensions::new(header.next_header, behind);
    let extension = extensions.find(|extension| extension.kind == Protocol::FRAGMENT)?;
    let fragment = extension.fragment()?;
    let mut packet = Vec::with_capacity(whole.packet.len());
    packet.extend_from_slice(headers.get(..extension.start)?);
    *packet.get_mut(extension.named_at)? = fragment.next_header.0;
    packet.extend_from_slice(payload);
    let header = ipv6::Header {
        next_header: match extension.named_at {
            ipv6::NEXT_HEADER_OFFSET => fragment.next_header,
            _ => header.next_header,
        },
        traffic_class: header.traffic_class & !3 | whole.ecn.bits(),
        payload_len: u16::try_from(packet.len() - ipv6::HEADER_LEN).ok()?,
        ..header
    };
    header.emit(&mut packet);
    Some(packet)
}

/// What speaks against the addresses of a packet.
fn objection_to_addresses(
    interfaces: &Interfaces,
    interface: InterfaceId,
    header: &ipv6::Header,
    came: Came,
) -> Option<Dropped> {
    let from_outside = interface != InterfaceId::LOOPBACK;
    if came != Came::FromUs && !is_possible_source(interfaces, from_outside, header.source) {
        return Some(Dropped::ForbiddenSource);
    }
    let destination = header.destination;
    if destination.is_multicast() {
        // Fragments may be for another shard.
        let ours = interfaces.is_in_group(interface, destination)
            || header.next_header == Protocol::FRAGMENT
                && interfaces.may_hear(interface, destination.into());
        return (!ours).then_some(Dropped::NotInGroup);
    }
    // RFC 4291 2.5.3 and 2.5.6: such addresses have a meaning on the host and on the link alone.
    let stray = from_outside && destination.is_loopback();
    let ours = if destination.is_unicast_link_local() && from_outside {
        interfaces.has_address(interface, destination.into())
    } else {
        let nobody = destination.is_unspecified() || is_mapped(destination.into());
        (interfaces.takes_any(interface) && !nobody) || interfaces.is_local(destination.into())
    };
    if stray || !ours {
        return Some(Dropped::NotOurAddress);
    }
    (came == Came::ToLinkGroup).then_some(Dropped::LinkGroup)
}

/// RFC 4291 2.7 and 2.5.3: a source is one host's, and from outside it is neither the loopback's nor
/// one of ours, nor one that stands for an address of IPv4, with which nothing speaks IPv6.
fn is_possible_source(interfaces: &Interfaces, from_outside: bool, source: Ipv6Addr) -> bool {
    if source.is_multicast() || is_mapped(source.into()) {
        return false;
    }
    !from_outside || !interfaces.is_local(source.into())
}
