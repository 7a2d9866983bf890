//! What a frame goes through before a transport sees it (RFC 1122 3.2.1, RFC 791).

use core::net::{IpAddr, Ipv4Addr};

use wire::ethernet::{self, EtherType, EthernetAddress};
use wire::frame::{FrameBuf, Medium, ReceiveMeta};
use wire::ip::Protocol;
use wire::ipv4::{self, Ipv4Option};

use crate::icmp::Problem;
use crate::ip::{InterfaceId, Interfaces, Received};
use crate::reason::Dropped;
use crate::stack::Stack;

/// An IPv4 packet that passed the checks, for the protocols that may have to answer with an ICMP
/// error about it.
#[derive(Debug)]
pub(crate) struct Packet4 {
    /// Its IP header, which an error quotes.
    pub(crate) header: ipv4::Header,
    /// It was sent to everybody on the link, not to us alone.
    pub(crate) group: bool,
    /// What is in it.
    pub(crate) received: Received,
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
            Some(Medium::Ip) => self.packet_arrives(interface, frame, meta, false),
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
        let Ok((header, _)) = ethernet::Header::parse(&frame) else {
            return self.discard(frame, Dropped::MalformedFrame);
        };
        let to_group = header.destination.is_multicast();
        if header.destination != ours && !to_group {
            return self.discard(frame, Dropped::NotOurEthernetAddress);
        }
        frame.advance(header.encoded_len());
        match header.ethertype {
            EtherType::IPV4 => self.packet_arrives(interface, frame, meta, to_group),
            EtherType::ARP => {
                self.interfaces.arp_arrives(&mut self.shared, interface, ours, &frame);
                self.shared.recycle(frame);
            }
            EtherType::IPV6 => self.discard(frame, Dropped::IpVersionUnsupported),
            _ => self.discard(frame, Dropped::UnknownEtherType),
        }
    }

    /// An IP packet; `to_link_group` when its frame was for more stations than us.
    fn packet_arrives(
        &mut self,
        interface: InterfaceId,
        mut frame: FrameBuf,
        meta: ReceiveMeta,
        to_link_group: bool,
    ) {
        if !to_link_group && self.takes_the_shortcut(interface, &mut frame, &meta) {
            return;
        }
        let header = match read_header(&frame) {
            Ok(header) => header,
            Err(reason) => return self.discard(frame, reason),
        };
        let addresses = (interface, header.source, header.destination);
        let known = !to_link_group && self.interfaces.is_like_the_last(addresses);
        let group = !known && self.interfaces.is_broadcast_on(interface, header.destination);
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
        let packet = Packet4 { header, group, received };
        let objection = if known {
            objection_to_contents(&packet.header)
        } else {
            objection_to_addresses(&self.interfaces, &packet, to_link_group)
                .or_else(|| objection_to_contents(&packet.header))
        };
        match objection {
            None => {
                if !group {
                    self.interfaces.note_in_order(addresses);
                }
                self.deliver(packet);
            }
            Some(Objection { reason, problem }) => {
                if let Some(problem) = problem {
                    self.icmp.report(&mut self.shared, &packet, problem);
                }
                self.discard(packet.received.frame, reason);
            }
        }
    }

    /// A packet for us, to the protocol that its header names.
    fn deliver(&mut self, packet: Packet4) {
        let shared = &mut self.shared;
        match packet.header.protocol {
            Protocol::TCP if packet.group => {
                self.discard(packet.received.frame, Dropped::TcpToGroup);
            }
            Protocol::TCP => {
                self.tcp.segment_arrives(shared, &mut self.interfaces, packet.received);
            }
            Protocol::UDP => self.udp.datagram_arrives(shared, &mut self.icmp, packet),
            Protocol::ICMP => self.icmp_arrives(packet),
            _ => {
                self.icmp.report(shared, &packet, Problem::ProtocolUnreachable);
                self.discard(packet.received.frame, Dropped::UnknownProtocol);
            }
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
        Err(_) if wire::ip::version(packet) == Some(6) => Err(Dropped::IpVersionUnsupported),
        Err(_) => Err(Dropped::MalformedIp),
    }
}

/// What speaks against the addresses of a packet whose header is well formed.
fn objection_to_addresses(
    interfaces: &Interfaces,
    packet: &Packet4,
    to_link_group: bool,
) -> Option<Objection> {
    let (header, interface) = (&packet.header, packet.received.interface);
    if !is_possible_source(interfaces, interface, header.source) {
        return Some(Dropped::ForbiddenSource.into());
    }
    let destination = header.destination;
    let from_outside = interface != InterfaceId::LOOPBACK;
    let stray_loopback = from_outside && destination.is_loopback();
    let takes_any = interfaces.takes_any(interface) && is_one_host(destination);
    let ours = !stray_loopback && (takes_any || interfaces.is_local(IpAddr::V4(destination)));
    if !ours && !packet.group {
        return Some(Dropped::NotOurAddress.into());
    }
    // RFC 1122 3.3.6: what everybody on the link got must be for everybody, too.
    if to_link_group && !packet.group {
        return Some(Dropped::LinkGroup.into());
    }
    None
}

/// What speaks against its options, and against fragments.
fn objection_to_contents(header: &ipv4::Header) -> Option<Objection> {
    if !header.options.is_empty()
        && let Some(objection) = objection_to_options(&header.options)
    {
        return Some(objection);
    }
    header.is_fragment().then(|| Dropped::Fragment.into())
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
    let mut iter = options.iter();
    let mut position = iter.position();
    while let Some(option) = iter.next() {
        match option {
            Ipv4Option::LooseSourceRoute(_) | Ipv4Option::StrictSourceRoute(_) => {
                return Some(Dropped::SourceRoute.into());
            }
            Ipv4Option::BadLength { .. } | Ipv4Option::WrongSize { .. } => {
                // The pointer is to the octet that is wrong: the option's length.
                let pointer = u8::try_from(ipv4::MIN_HEADER_LEN + position + 1).ok();
                return Some(Objection {
                    reason: Dropped::MalformedIpOption,
                    problem: pointer.map(|pointer| Problem::Parameter { pointer }),
                });
            }
            _ => position = iter.position(),
        }
    }
    None
}
