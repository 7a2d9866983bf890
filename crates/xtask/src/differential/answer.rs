//! What an answer says, without what is each stack's own choice.

use std::fmt::Write;
use std::net::IpAddr;

use wire::ip::Protocol;
use wire::{icmpv4, icmpv6, ipv4, ipv6, tcp, udp};

/// One line for an answer. Left out is what two right stacks may choose as they like:
/// identifications, flow labels, ECN, initial sequence numbers, windows, the clocks of timestamps, and how
/// much of a packet an ICMP error quotes. `None` for what nobody asked for: a host's own first words
/// on a link.
pub(super) fn describe(packet: &[u8]) -> Option<String> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => describe_v4(packet),
        Some(6) => describe_v6(packet),
        _ => Some(format!("{} bytes that are no IP", packet.len())),
    }
}

fn describe_v4(packet: &[u8]) -> Option<String> {
    let Ok((header, payload)) = ipv4::Header::parse(packet) else {
        return Some("malformed IPv4".to_owned());
    };
    let (from, to) = (IpAddr::V4(header.source), IpAddr::V4(header.destination));
    let mut text = format!("{from} to {to} ttl {}", header.ttl);
    if header.traffic_class & !3 != 0 {
        let _ = write!(text, " class {:#x}", header.traffic_class & !3);
    }
    if !header.options.is_empty() {
        text.push_str(" with options");
    }
    match header.protocol {
        Protocol::ICMP => {
            let right = if icmpv4::is_checksum_valid(payload) { "" } else { " WRONG CHECKSUM" };
            let Ok((icmp, rest)) = icmpv4::Header::parse(payload) else {
                return Some(format!("{text}: malformed ICMP"));
            };
            let rest = if icmp.is_error() { String::new() } else { contents(rest) };
            let _ = write!(text, ": {icmp:?}{rest}{right}");
        }
        Protocol(2) => return None,
        protocol => transport(&mut text, from, to, protocol, payload),
    }
    Some(text)
}

fn describe_v6(packet: &[u8]) -> Option<String> {
    let Ok((header, payload)) = ipv6::Header::parse(packet) else {
        return Some("malformed IPv6".to_owned());
    };
    let (from, to) = (IpAddr::V6(header.source), IpAddr::V6(header.destination));
    let mut text = format!("{from} to {to} hops {}", header.hop_limit);
    match header.next_header {
        Protocol::ICMPV6 => {
            let right = icmpv6::is_checksum_valid(header.source, header.destination, payload);
            let right = if right { "" } else { " WRONG CHECKSUM" };
            // Reports, solicitations and advertisements of its own.
            if payload.first().is_some_and(|kind| (130..=137).contains(kind) || *kind == 143) {
                return None;
            }
            let Ok((icmp, rest)) = icmpv6::Header::parse(payload) else {
                return Some(format!("{text}: malformed ICMPv6"));
            };
            let rest = if payload[0] < 128 { String::new() } else { contents(rest) };
            let _ = write!(text, ": {icmp:?}{rest}{right}");
        }
        Protocol(0) => return None,
        protocol => transport(&mut text, from, to, protocol, payload),
    }
    Some(text)
}

fn contents(bytes: &[u8]) -> String {
    let sum =
        bytes.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    format!(" {} bytes ({sum:08x})", bytes.len())
}

fn transport(text: &mut String, from: IpAddr, to: IpAddr, protocol: Protocol, payload: &[u8]) {
    let outcome = match protocol {
        Protocol::TCP => segment(text, from, to, payload),
        Protocol::UDP => match udp::Header::parse(payload) {
            Ok((header, rest)) => write!(text, ": {header:?}{}", contents(rest)),
            Err(error) => write!(text, ": malformed UDP {error:?}"),
        },
        Protocol(other) => write!(text, ": protocol {other}, {} bytes", payload.len()),
    };
    // Nothing can go wrong with writing to a string.
    let _ = outcome;
}

fn segment(text: &mut String, from: IpAddr, to: IpAddr, payload: &[u8]) -> std::fmt::Result {
    let Ok((header, rest)) = tcp::Header::parse(payload) else {
        return write!(text, ": malformed TCP");
    };
    let right = tcp::is_checksum_valid(from, to, payload);
    let tcp::Options { mss, window_scale, sack_permitted, timestamps, .. } = header.options;
    let syn = header.flags.contains(tcp::Flags::SYN);
    let sequence = if syn { "any".to_owned() } else { header.sequence.to_string() };
    write!(
        text,
        ": TCP {} to {} {:?} seq {sequence} ack {} mss {mss:?} scaled {} sack {sack_permitted} \
         echo {:?} text {}{}",
        header.source_port,
        header.destination_port,
        header.flags,
        header.acknowledgment,
        window_scale.is_some(),
        timestamps.map(|timestamps| timestamps.echo),
        rest.len(),
        if right { "" } else { " WRONG CHECKSUM" }
    )
}
