//! Any bytes, read as every format: nothing panics, and what parses is emitted to something that
//! parses to the same.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run wire -- -max_total_time=60`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::annotate::{Start, annotate};
use wire::ip::Protocol;
use wire::{
    arp, dhcpv4, dhcpv6, ethernet, icmpv4, icmpv6, igmp, ip, ipv4, ipv6, mld, ndp, tcp, udp, vnet,
};

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses, so that one corpus serves all formats.
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    match choice % 16 {
        0 => ethernet_frame(bytes),
        1 => arp_packet(bytes),
        2 => ipv4_packet(bytes),
        3 => icmp_message(bytes),
        4 => udp_datagram(bytes),
        5 => tcp_segment(bytes),
        6 => annotation(bytes, Start::Ethernet),
        7 => annotation(bytes, Start::Ip),
        8 => ipv6_packet(bytes),
        9 => icmpv6_message(bytes),
        10 => neighbor_message(bytes),
        11 => listener_message(bytes),
        12 => igmp_message(bytes),
        13 => dhcpv4_message(bytes),
        14 => dhcpv6_message(bytes),
        _ => tagged_frame(bytes),
    }
});

fn ethernet_frame(bytes: &[u8]) {
    if let Some((header, frame)) = vnet::Header::parse(bytes) {
        assert_eq!(header.to_bytes()[..], bytes[..bytes.len() - frame.len()]);
    }
    let Ok((header, payload)) = ethernet::Header::parse(bytes) else { return };
    let mut again = vec![0; header.encoded_len()];
    header.emit(&mut again);
    again.extend_from_slice(payload);
    assert_eq!(again, bytes);
    let _ = header.to_string();
}

fn tagged_frame(bytes: &[u8]) {
    let Ok((header, payload)) = ethernet::Tagged::parse(bytes) else { return };
    let mut again = vec![0; header.encoded_len()];
    header.emit(&mut again);
    again.extend_from_slice(payload);
    assert_eq!(ethernet::Tagged::parse(&again), Ok((header, payload)));
    let _ = header.to_string();
}

fn arp_packet(bytes: &[u8]) {
    let Ok(packet) = arp::Packet::parse(bytes) else { return };
    let mut again = vec![0; packet.encoded_len()];
    packet.emit(&mut again);
    assert_eq!(again, bytes[..again.len()]);
    let _ = packet.to_string();
}

/// The checksum is made right, or the fuzzer would hardly get past it.
fn ipv4_packet(bytes: &[u8]) {
    let mut packet = bytes.to_vec();
    if let Some(view) = ipv4::View::new(bytes) {
        let _ = (view.payload(), view.options().count());
        let header_len = view.header().len();
        packet[10..12].fill(0);
        let checksum = wire::checksum::sum(&packet[..header_len]).finish();
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    let Ok((header, payload)) = ipv4::Header::parse(&packet) else { return };
    let mut again = vec![0; header.encoded_len()];
    header.emit(&mut again);
    again.extend_from_slice(payload);
    assert_eq!(ipv4::Header::parse(&again), Ok((header, payload)));
    let _ = header.to_string();
}

fn icmp_message(bytes: &[u8]) {
    let Ok((header, payload)) = icmpv4::Header::parse(bytes) else { return };
    if let Some(quoted) = header.quoted(payload) {
        let _ = (quoted.ports(), quoted.sequence(), quoted.echo());
    }
    let mut again = vec![0; header.encoded_len()];
    header.emit(&mut again);
    again.extend_from_slice(payload);
    assert_eq!(icmpv4::Header::parse(&again), Ok((header, payload)));
    icmpv4::fill_checksum(&mut again);
    assert!(icmpv4::is_checksum_valid(&again));
    let _ = header.to_string();
}

/// The chain is walked as a receiver does, and as one who only passes packets on; where both find
/// the transport, it is the same.
fn ipv6_packet(bytes: &[u8]) {
    let Ok((header, payload)) = ipv6::Header::parse(bytes) else { return };
    let mut again = vec![0; header.encoded_len()];
    header.emit(&mut again);
    again.extend_from_slice(payload);
    assert_eq!(ip::Header::parse(&again), Ok((ip::Header::V6(header), payload)));
    let _ = header.to_string();
    let outline = ip::Outline::of(&again);
    match ipv6::Chain::walk(&header, payload, &ipv6::Limits::DEFAULT) {
        Ok(chain) => {
            let outline = outline.expect("what a receiver finds, others do");
            assert_eq!((outline.start, outline.protocol), (chain.start, chain.protocol));
            assert_eq!(again[chain.named_at], chain.protocol.0);
        }
        Err(malformed) => {
            let _ = malformed.to_string();
            let pointer = malformed.answer().map_or(0, |answer| answer.pointer);
            assert!(pointer as usize <= again.len());
        }
    }
}

fn icmpv6_message(bytes: &[u8]) {
    let Ok((header, payload)) = icmpv6::Header::parse(bytes) else { return };
    if let Some(quoted) = header.quoted(payload) {
        let _ = (quoted.ports(), quoted.sequence(), quoted.echo());
    }
    let mut again = vec![0; header.encoded_len()];
    header.emit(&mut again);
    again.extend_from_slice(payload);
    assert_eq!(icmpv6::Header::parse(&again), Ok((header, payload)));
    let (source, destination) = (LINK_LOCAL, ipv6::group::ALL_NODES);
    icmpv6::fill_checksum(source, destination, &mut again);
    assert!(icmpv6::is_checksum_valid(source, destination, &again));
    let _ = header.to_string();
}

const LINK_LOCAL: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The header of a packet that carries a message which is not refused for the packet's sake.
fn carrier(hop_limit: u8) -> ipv6::Header {
    ipv6::Header {
        source: LINK_LOCAL,
        destination: ipv6::solicited_node(LINK_LOCAL),
        next_header: Protocol::ICMPV6,
        hop_limit,
        traffic_class: 0,
        flow_label: 0,
        payload_len: 0,
    }
}

fn neighbor_message(bytes: &[u8]) {
    let ip = carrier(ndp::HOP_LIMIT);
    let Ok((header, options)) = ndp::Header::parse(&ip, bytes) else { return };
    let mut again = vec![0; header.encoded_len()];
    header.emit(&mut again);
    for option in options.iter() {
        let start = again.len();
        again.resize(start + option.encoded_len(), 0);
        option.emit(&mut again[start..]);
    }
    let (same, list) = ndp::Header::parse(&ip, &again).expect("what was emitted");
    assert_eq!(same, header);
    assert!(list.iter().eq(options.iter()));
    let _ = format!("{header} {options:?}");
}

fn listener_message(bytes: &[u8]) {
    let ip = carrier(mld::HOP_LIMIT);
    let Ok(message) = mld::Message::parse(&ip, Some(0), bytes) else { return };
    let mut again = vec![0; message.encoded_len()];
    message.emit(&mut again);
    let same = mld::Message::parse(&ip, Some(0), &again).expect("what was emitted");
    assert_eq!(format!("{same:?}"), format!("{message:?}"));
    let _ = message.to_string();
}

fn igmp_message(bytes: &[u8]) {
    let Ok(message) = igmp::Message::parse(bytes) else { return };
    let mut again = vec![0; message.encoded_len()];
    message.emit(&mut again);
    let same = igmp::Message::parse(&again).expect("what was emitted");
    assert_eq!(format!("{same:?}"), format!("{message:?}"));
    igmp::fill_checksum(&mut again);
    assert!(igmp::is_checksum_valid(&again));
    let _ = message.to_string();
}

fn dhcpv4_message(bytes: &[u8]) {
    let Ok(message) = dhcpv4::Message::parse(bytes) else { return };
    let _ = message.to_string();
    assert_eq!(dhcpv4::Message::parse(&message.to_bytes()), Ok(message));
}

fn dhcpv6_message(bytes: &[u8]) {
    let Ok(message) = dhcpv6::Message::parse(bytes) else { return };
    let _ = format!("{message} {}", message.domains());
    assert_eq!(dhcpv6::Message::parse(&message.to_bytes()), Ok(message));
}

fn udp_datagram(bytes: &[u8]) {
    if let Some(view) = udp::View::new(bytes) {
        let _ = view.payload();
    }
    let Ok((header, payload)) = udp::Header::parse(bytes) else { return };
    let mut again = vec![0; header.encoded_len()];
    header.emit(&mut again);
    again.extend_from_slice(payload);
    assert_eq!(udp::Header::parse(&again), Ok((header, payload)));
    let _ = header.to_string();
}

fn tcp_segment(bytes: &[u8]) {
    if let Some(view) = tcp::View::new(bytes) {
        let _ = (view.payload(), view.reserved(), view.options().count());
    }
    let Ok((header, payload)) = tcp::Header::parse(bytes) else { return };
    let mut again = vec![0; header.encoded_len()];
    assert_eq!(header.emit(&mut again), again.len());
    again.extend_from_slice(payload);
    assert_eq!(tcp::Header::parse(&again), Ok((header, payload)));
    let _ = header.summary(payload.len()).to_string();
}

/// The rows cover every bit exactly once, in order.
fn annotation(bytes: &[u8], start: Start) {
    let mut next = 0;
    for row in annotate(bytes, start) {
        assert_eq!(row.packet_bit_offset(), next, "{row}");
        next += row.bit_len;
    }
    assert_eq!(next, bytes.len() * 8);
}
