//! Any bytes, read as every format: nothing panics, and what parses is emitted to something that
//! parses to the same.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run wire -- -max_total_time=60`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::annotate::{Start, annotate};
use wire::{arp, ethernet, icmpv4, ipv4, tcp, udp, vnet};

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses, so that one corpus serves all formats.
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    match choice % 8 {
        0 => ethernet_frame(bytes),
        1 => arp_packet(bytes),
        2 => ipv4_packet(bytes),
        3 => icmp_message(bytes),
        4 => udp_datagram(bytes),
        5 => tcp_segment(bytes),
        6 => annotation(bytes, Start::Ethernet),
        _ => annotation(bytes, Start::Ip),
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
