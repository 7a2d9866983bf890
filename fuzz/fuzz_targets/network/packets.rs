//! Packets for the stack: templates of what it listens to, with the input's numbers in them, right
//! checksums, and cut into fragments where the input says so.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::dhcpv4::{self, MessageType};
use wire::ip::Protocol;
use wire::{checksum, dhcpv6, ipv4, ipv6, tcp, udp};

use crate::{Bytes, PORT, STATION, US, US_V6};

pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
pub(crate) const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// How many of the stack's packets are remembered, for errors that quote them.
const MEMORY: usize = 16;

/// What the far side knows of the stack.
#[derive(Default)]
pub(crate) struct Network {
    /// The stack's packets, from the IP header on; the newest last.
    heard: VecDeque<Vec<u8>>,
    /// The stack's last messages of DHCP, of either family.
    asked: Option<dhcpv4::Message>,
    asked_v6: Option<dhcpv6::Message>,
    /// Addresses that the stack has by now.
    pub(crate) addresses: Vec<IpAddr>,
}

/// Who sends a packet, who gets it, and what is inside.
struct Plan {
    source: IpAddr,
    destination: IpAddr,
    protocol: Protocol,
    hop_limit: u8,
    payload: Vec<u8>,
}

impl Network {
    /// The stack sent a packet.
    pub(crate) fn note_sent(&mut self, packet: &[u8]) {
        if self.heard.len() == MEMORY {
            self.heard.pop_front();
        }
        self.heard.push_back(packet.to_vec());
        if let Ok((header, datagram)) = ipv4::Header::parse(packet)
            && header.protocol == Protocol::UDP
            && let Ok((udp, payload)) = udp::Header::parse(datagram)
            && udp.destination_port == dhcpv4::SERVER_PORT
        {
            self.asked = dhcpv4::Message::parse(payload).ok();
        }
        if let Ok((header, datagram)) = ipv6::Header::parse(packet)
            && header.next_header == Protocol::UDP
            && let Ok((udp, payload)) = udp::Header::parse(datagram)
            && udp.destination_port == dhcpv6::SERVER_PORT
        {
            self.asked_v6 = dhcpv6::Message::parse(payload).ok();
        }
    }

    /// One packet, or its fragments.
    pub(crate) fn speaks(&self, bytes: &mut Bytes<'_>) -> Vec<Vec<u8>> {
        let choice = bytes.byte();
        let mut plan = if choice & 1 == 0 { self.plan_v4(bytes) } else { self.plan_v6(bytes) };
        if plan.source.is_ipv4() != plan.destination.is_ipv4() {
            return Vec::new();
        }
        // What the checksum covers is whole; one in sixteen is damaged afterwards.
        fill_checksum(&mut plan);
        if choice & 0xf0 == 0xf0 {
            let at = usize::from(bytes.word()) % plan.payload.len().max(1);
            plan.payload.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (choice & 7));
        }
        if choice & 0b1110 == 0 { cut(&plan, bytes) } else { vec![whole(&plan, bytes)] }
    }

    fn plan_v4(&self, bytes: &mut Bytes<'_>) -> Plan {
        let ends = bytes.byte();
        let far = Ipv4Addr::new(203, 0, 113, ends >> 6);
        let source =
            [Ipv4Addr::new(10, 0, 0, 2), ROUTER, far, Ipv4Addr::UNSPECIFIED][usize::from(ends & 3)];
        let destination = match ends >> 2 & 7 {
            0..=2 => US,
            3 => Ipv4Addr::BROADCAST,
            4 => Ipv4Addr::new(10, 0, 0, 255),
            5 => Ipv4Addr::new(224, 0, 0, 1),
            6 => Ipv4Addr::new(239, 1, 1, ends >> 6),
            _ => far,
        };
        let (protocol, payload) = match bytes.byte() % 10 {
            0 | 1 => (Protocol::UDP, self.datagram(bytes)),
            2 => (Protocol::UDP, self.dhcp_answer(bytes)),
            3 => (Protocol::TCP, segment(bytes)),
            4 => (Protocol::ICMP, self.error(bytes, [3, 4, 5, 11, 12])),
            5 => (Protocol::ICMP, echo(bytes, [8, 0])),
            6 => (Protocol::ICMP, bytes.some(60)),
            7 => (Protocol::IGMP, group_message(bytes, &[0x11, 0x12, 0x16, 0x17, 0x22])),
            8 => (Protocol::IGMP, bytes.some(40)),
            _ => (Protocol(bytes.byte()), bytes.some(60)),
        };
        let hop_limit = [64, 1, 255, bytes.byte()][usize::from(ends >> 5 & 3)];
        let (source, destination) = (source.into(), destination.into());
        Plan { source, destination, protocol, hop_limit, payload }
    }

    fn plan_v6(&self, bytes: &mut Bytes<'_>) -> Plan {
        let ends = bytes.byte();
        let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(ends >> 6));
        let source = match ends & 3 {
            0 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2),
            1 => ROUTER_V6,
            2 => far,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let own = self.addresses.iter().filter_map(|own| match own {
            IpAddr::V6(own) => Some(*own),
            IpAddr::V4(_) => None,
        });
        let own: Vec<_> = own.collect();
        let some = own.get(usize::from(ends >> 6) % own.len().max(1)).copied().unwrap_or(US_V6);
        let destination = match ends >> 2 & 7 {
            0 | 1 => US_V6,
            2 => some,
            3 => ipv6::solicited_node(some),
            4 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
            5 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb),
            6 => Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, u16::from(ends >> 6)),
            _ => far,
        };
        let kind = bytes.byte() % 12;
        let (protocol, payload) = match kind {
            0 | 1 => (Protocol::UDP, self.datagram(bytes)),
            2 => (Protocol::UDP, self.information(bytes)),
            3 => (Protocol::TCP, segment(bytes)),
            4 => (Protocol::ICMPV6, self.error(bytes, [1, 2, 3, 4, 100])),
            5 => (Protocol::ICMPV6, echo(bytes, [128, 129])),
            6 => (Protocol::ICMPV6, bytes.some(80)),
            7 => (Protocol::ICMPV6, group_message(bytes, &[130, 131, 132, 143])),
            8 => (Protocol::ICMPV6, advertisement(bytes)),
            9 | 10 => (Protocol::ICMPV6, neighbor(bytes, some)),
            _ => (Protocol(bytes.byte()), bytes.some(60)),
        };
        let usual = if kind >= 8 { 255 } else { 64 };
        let hop_limit = [usual, usual, 1, bytes.byte()][usize::from(ends >> 4 & 3)];
        let (source, destination) = (source.into(), destination.into());
        Plan { source, destination, protocol, hop_limit, payload }
    }

    fn datagram(&self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let ports = bytes.byte();
        let to = [PORT, PORT + 1, 53, 68, 546, 0][usize::from(ports & 7) % 6];
        let from = [9000 + u16::from(ports >> 6), 53, 67, 547][usize::from(ports >> 3 & 3)];
        let length = usize::from(bytes.word() % 4000);
        let payload = if ports & 32 == 0 { vec![ports; length] } else { bytes.some(64) };
        udp_of(from, to, &payload)
    }

    /// A DHCP server answers what it was asked last.
    fn dhcp_answer(&self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let Some(asked) = &self.asked else { return self.datagram(bytes) };
        let mut message = asked.clone();
        let choice = bytes.byte();
        message.kind = MessageType(1 + choice % 8);
        message.your_address = if choice & 8 == 0 { US } else { Ipv4Addr::new(10, 0, 0, 77) };
        message.options.server_identifier = (choice & 16 == 0).then_some(ROUTER);
        message.options.lease_time = (choice & 32 == 0).then(|| u32::from(bytes.word()) << 4);
        message.options.prefix_len = (choice & 64 == 0).then_some(bytes.byte() % 33);
        message.options.routers = vec![ROUTER; usize::from(bytes.byte() % 3)];
        message.options.mtu = (choice & 128 == 0).then_some(bytes.word());
        let mut payload = message.to_bytes();
        let at = usize::from(bytes.word());
        payload.get_mut(at).into_iter().for_each(|byte| *byte ^= choice);
        udp_of(dhcpv4::SERVER_PORT, dhcpv4::CLIENT_PORT, &payload)
    }

    /// The same of DHCPv6, which is asked for information alone.
    fn information(&self, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let Some(asked) = &self.asked_v6 else { return self.datagram(bytes) };
        let mut payload = asked.to_bytes();
        payload[0] = 7 + bytes.byte() % 2;
        payload.extend_from_slice(&[0, 2, 0, 4, 0, 3, 0, 1]);
        payload.extend(bytes.some(60));
        udp_of(dhcpv6::SERVER_PORT, dhcpv6::CLIENT_PORT, &payload)
    }

    /// An error about something that the stack sent.
    fn error(&self, bytes: &mut Bytes<'_>, kinds: [u8; 5]) -> Vec<u8> {
        let choice = bytes.byte();
        let mut message = vec![kinds[usize::from(choice % 5)], bytes.byte() % 16, 0, 0, 0, 0];
        message.extend_from_slice(&bytes.word().to_be_bytes());
        let index = usize::from(bytes.byte()) % self.heard.len().max(1);
        if let Some(quoted) = self.heard.get(index) {
            let most = [28, 48, 120, 1200][usize::from(choice >> 6)];
            message.extend_from_slice(&quoted[..quoted.len().min(most)]);
        }
        message
    }
}

fn udp_of(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let payload_len = u16::try_from(payload.len()).expect("short");
    let header = udp::Header { source_port, destination_port, payload_len };
    let mut datagram = vec![0; 8];
    header.emit(&mut datagram);
    datagram.extend_from_slice(payload);
    datagram
}

fn segment(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let choice = bytes.byte();
    let header = tcp::Header {
        source_port: 1000 + u16::from(choice & 15),
        destination_port: PORT + u16::from(choice >> 6),
        sequence: u32::from(bytes.byte()),
        acknowledgment: u32::from(bytes.word()),
        flags: if choice & 32 == 0 {
            tcp::Flags::SYN
        } else {
            tcp::Flags::from_bits_truncate(u16::from(bytes.byte()))
        },
        window: bytes.word(),
        ..tcp::Header::default()
    };
    let mut segment = vec![0; header.encoded_len()];
    header.emit(&mut segment);
    segment.extend(bytes.some(20));
    segment
}

fn echo(bytes: &mut Bytes<'_>, kinds: [u8; 2]) -> Vec<u8> {
    let choice = bytes.byte();
    let mut message = vec![kinds[usize::from(choice & 1)], 0, 0, 0];
    message.extend_from_slice(&bytes.word().to_be_bytes());
    message.extend_from_slice(&u16::from(choice >> 2).to_be_bytes());
    message.resize(8 + usize::from(bytes.word() % 3000), choice);
    message
}

/// A query or report of groups: a type, and numbers that may lie.
fn group_message(bytes: &mut Bytes<'_>, kinds: &[u8]) -> Vec<u8> {
    let choice = bytes.byte();
    let kind = kinds[usize::from(choice) % kinds.len()];
    let mut message = vec![kind, bytes.byte(), 0, 0];
    if kind >= 130 {
        message.extend_from_slice(&[0, 0, 0, bytes.byte()]);
        let group = if choice & 64 == 0 { 0 } else { 0xff15_u16 };
        message.extend_from_slice(&group.to_be_bytes());
        message.extend_from_slice(&[0; 13]);
        message.push(choice >> 6 & 3);
    } else {
        let group = if choice & 64 == 0 { [0; 4] } else { [239, 1, 1, choice >> 6 & 3] };
        message.extend_from_slice(&group);
    }
    // A query of the newest version has robustness, interval and sources besides.
    if choice & 32 == 0 {
        message.extend(bytes.some(40));
    }
    message
}

fn advertisement(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, bytes.byte(), bytes.byte()];
    message.extend_from_slice(&bytes.word().to_be_bytes());
    message.extend_from_slice(&u32::from(bytes.word()).to_be_bytes());
    message.extend_from_slice(&u32::from(bytes.word()).to_be_bytes());
    message.extend_from_slice(&[1, 1]);
    message.extend_from_slice(&STATION.0);
    for _ in 0..bytes.byte() % 4 {
        message.extend_from_slice(&[3, 4, 48 + bytes.byte() % 96, bytes.byte()]);
        let scale = bytes.byte();
        for _ in 0..2 {
            let time = u32::from(bytes.word()).rotate_left(u32::from(scale & 31));
            message.extend_from_slice(&time.to_be_bytes());
        }
        message.extend_from_slice(&[0; 4]);
        let prefix = Ipv6Addr::new(0xfd00, u16::from(scale), 0, 0, 0, 0, 0, 0);
        message.extend_from_slice(&prefix.octets());
    }
    message.extend_from_slice(&[5, 1, 0, 0, 0, 0]);
    message.extend_from_slice(&bytes.word().to_be_bytes());
    message.extend(bytes.some(48));
    message
}

/// A solicitation, an advertisement or a redirect about an address.
fn neighbor(bytes: &mut Bytes<'_>, about: Ipv6Addr) -> Vec<u8> {
    let choice = bytes.byte();
    let kind = [135, 136, 136, 137][usize::from(choice & 3)];
    let target = match choice >> 2 & 3 {
        0 | 1 => about,
        2 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2),
        _ => ROUTER_V6,
    };
    let mut message = vec![kind, 0, 0, 0, choice & 0xe0, 0, 0, 0];
    message.extend_from_slice(&target.octets());
    if kind == 137 {
        message.extend_from_slice(&about.octets());
    }
    if choice & 16 == 0 {
        message.extend_from_slice(&[1 + u8::from(kind == 136), 1]);
        message.extend_from_slice(&STATION.0);
    }
    message.extend(bytes.some(24));
    message
}

/// Where the transport's checksum is, and over what, is the same for all but a few bytes.
fn fill_checksum(plan: &mut Plan) {
    let at = match plan.protocol {
        Protocol::TCP => 16,
        Protocol::UDP => 6,
        Protocol::ICMP | Protocol::IGMP | Protocol::ICMPV6 => 2,
        _ => return,
    };
    let Some(field) = plan.payload.get_mut(at..at + 2) else { return };
    field.fill(0);
    let sum = match plan.protocol {
        Protocol::ICMP | Protocol::IGMP => checksum::sum(&plan.payload).finish(),
        protocol => checksum::transport(plan.source, plan.destination, protocol, &plan.payload),
    };
    plan.payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn whole(plan: &Plan, bytes: &mut Bytes<'_>) -> Vec<u8> {
    // Hop-by-hop options with a router alert, or whatever.
    let options = bytes.byte();
    if plan.source.is_ipv4() || options & 3 != 0 {
        return packet(plan, plan.protocol, &plan.payload, (0, false, 0));
    }
    let mut payload = vec![plan.protocol.0, 0, 5, 2, 0, 0, 1, 0];
    if options & 4 != 0 {
        payload[2..].copy_from_slice(&[options, bytes.byte(), 0, 0, 0, 0]);
    }
    payload.extend_from_slice(&plan.payload);
    let first = if options & 8 == 0 { Protocol::HOP_BY_HOP } else { Protocol::DESTINATION_OPTIONS };
    packet(plan, first, &payload, (0, false, 0))
}

/// The payload in pieces: in any order, twice, overlapping or not at all.
fn cut(plan: &Plan, bytes: &mut Bytes<'_>) -> Vec<Vec<u8>> {
    let size = 8 * (1 + usize::from(bytes.byte()));
    let identification = u32::from(bytes.byte() & 3);
    let count = plan.payload.len().div_ceil(size).clamp(1, 12);
    let mut pieces = Vec::new();
    for number in 0..count {
        let fate = bytes.byte();
        let number = if fate & 1 == 0 { number } else { usize::from(fate >> 4) % count };
        let start = (number * size).saturating_sub(if fate & 14 == 2 { 8 } else { 0 });
        let end = plan.payload.len().min((number + 1) * size);
        let Some(piece) = plan.payload.get(start..end).filter(|_| fate & 14 != 4) else { continue };
        let more = number + 1 < count || fate & 14 == 6;
        let offset = u16::try_from(start).expect("short");
        if plan.source.is_ipv4() {
            pieces.push(packet(plan, plan.protocol, piece, (offset, more, identification)));
            continue;
        }
        let header = ipv6::Fragment {
            next_header: plan.protocol,
            offset,
            more_fragments: more,
            identification,
        };
        let mut payload = header.to_bytes().to_vec();
        payload.extend_from_slice(piece);
        pieces.push(packet(plan, Protocol::FRAGMENT, &payload, (0, false, 0)));
    }
    pieces
}

/// A packet; `piece` is the place of an IPv4 fragment, whether more follow, and its number.
fn packet(plan: &Plan, protocol: Protocol, payload: &[u8], piece: (u16, bool, u32)) -> Vec<u8> {
    let payload_len = u16::try_from(payload.len()).expect("short");
    let mut packet = match (plan.source, plan.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = ipv4::Header {
                source,
                destination,
                protocol,
                ttl: plan.hop_limit,
                traffic_class: 0,
                identification: piece.2 as u16,
                dont_fragment: false,
                more_fragments: piece.1,
                fragment_offset: piece.0,
                payload_len,
                options: ipv4::Options::NONE,
            };
            let mut packet = vec![0; header.encoded_len()];
            header.emit(&mut packet);
            packet
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Header {
                source,
                destination,
                next_header: protocol,
                hop_limit: plan.hop_limit,
                traffic_class: 0,
                flow_label: 0,
                payload_len,
            };
            let mut packet = vec![0; header.encoded_len()];
            header.emit(&mut packet);
            packet
        }
        _ => return Vec::new(),
    };
    packet.extend_from_slice(payload);
    packet
}
