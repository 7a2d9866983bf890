//! The same host over IPv6, and what a test gives it and gets back.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use estab_stack::Config;
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::Medium;
use wire::ip::Protocol;
use wire::{icmpv6, ipv6, ndp, udp};

use super::{Host, OUR_HARDWARE, frame_to, parse_frame};

/// The stack's own address.
pub(crate) const US: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// A host on the same link.
pub(crate) const THEM: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// Another one.
pub(crate) const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 3);
/// A host beyond the gateway.
pub(crate) const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
/// Everybody on the link.
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A stack at fd77::2/64 (and 10.77.0.2/24) on a TUN.
pub(crate) fn tun() -> Host {
    with(Config::default())
}

pub(crate) fn with(config: Config) -> Host {
    let mut host = Host::new(config, Medium::Ip, false);
    host.stack.add_address(host.interface, US.into(), 64).unwrap();
    host
}

/// The same on a TAP, where the address needs no detection of duplicates; what it says of its groups
/// is sent already.
pub(crate) fn tap() -> Host {
    ready_tap(Config::default())
}

/// The same with other limits and defaults.
pub(crate) fn ready_tap(config: Config) -> Host {
    let mut host = tap_with(Config { duplicate_address_probes: 0, ..config });
    host.stack.add_address(host.interface, US.into(), 64).unwrap();
    for _ in 0..2 {
        host.later_millis(1000);
        host.sends();
    }
    host
}

/// A TAP without an address of IPv6.
pub(crate) fn tap_with(config: Config) -> Host {
    Host::new(config, Medium::Ethernet(OUR_HARDWARE), false)
}

/// The same with another seed.
pub(crate) fn tap_with_seed(config: Config, seed: u8) -> Host {
    Host::seeded(config, Medium::Ethernet(OUR_HARDWARE), false, seed)
}

/// A message of neighbour discovery from `source` to `destination`, in a frame.
pub(crate) fn ndp_frame(
    (source, destination): (Ipv6Addr, Ipv6Addr),
    header: ndp::Header,
    options: &[ndp::NdpOption<'_>],
) -> Vec<u8> {
    let mut message = vec![0; header.encoded_len()];
    header.emit(&mut message);
    for option in options {
        let start = message.len();
        message.resize(start + option.encoded_len(), 0);
        option.emit(&mut message[start..]);
    }
    icmpv6::fill_checksum(source, destination, &mut message);
    let ip = ipv6::Header {
        source,
        destination,
        next_header: Protocol::ICMPV6,
        hop_limit: ndp::HOP_LIMIT,
        traffic_class: 0,
        flow_label: 0,
        payload_len: 0,
    };
    let to = match destination.is_multicast() {
        true => EthernetAddress::of_ipv6_group(destination),
        false => OUR_HARDWARE,
    };
    frame_to(to, EtherType::IPV6, &packet(&ip, &message))
}

/// A message of neighbour discovery and what it came in.
pub(crate) struct Discovery {
    pub(crate) ethernet: wire::ethernet::Header,
    pub(crate) ip: ipv6::Header,
    pub(crate) header: ndp::Header,
    pub(crate) options: Vec<u8>,
}

impl Discovery {
    pub(crate) fn options(&self) -> ndp::Options<'_> {
        ndp::Options::new(&self.options).unwrap()
    }
}

#[track_caller]
pub(crate) fn parse_ndp(frame: &[u8]) -> Discovery {
    let (ethernet, packet) = parse_frame(frame);
    assert_eq!(ethernet.ethertype, EtherType::IPV6);
    let (ip, message) = parse_ip(packet);
    assert_eq!(ip.next_header, Protocol::ICMPV6);
    assert!(icmpv6::is_checksum_valid(ip.source, ip.destination, message));
    let (header, options) = ndp::Header::parse(&ip, message).unwrap();
    Discovery { ethernet, ip, header, options: options.as_bytes().to_vec() }
}

pub(crate) fn at(address: Ipv6Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(address), port)
}

/// An IPv6 header from them to us, as a careful host makes it.
pub(crate) fn header(next_header: Protocol) -> ipv6::Header {
    ipv6::Header {
        source: THEM,
        destination: US,
        next_header,
        hop_limit: 64,
        traffic_class: 0,
        flow_label: 0x12345,
        payload_len: 0,
    }
}

/// A packet: `header` with its length filled in, and `payload`.
pub(crate) fn packet(header: &ipv6::Header, payload: &[u8]) -> Vec<u8> {
    let header = ipv6::Header { payload_len: payload.len() as u16, ..*header };
    let mut bytes = vec![0; header.encoded_len()];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// The bytes of a UDP datagram.
pub(crate) fn udp_bytes(ip: &ipv6::Header, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let header = udp::Header {
        source_port: ports.0,
        destination_port: ports.1,
        payload_len: payload.len() as u16,
    };
    let mut bytes = vec![0; udp::HEADER_LEN];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    udp::fill_checksum(ip.source.into(), ip.destination.into(), &mut bytes);
    bytes
}

/// A UDP datagram in a packet.
pub(crate) fn datagram(ip: &ipv6::Header, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let bytes = udp_bytes(ip, ports, payload);
    packet(&ipv6::Header { next_header: Protocol::UDP, ..*ip }, &bytes)
}

/// An ICMPv6 message with its checksum.
pub(crate) fn message_bytes(ip: &ipv6::Header, icmp: &icmpv6::Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; icmp.encoded_len()];
    icmp.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    icmpv6::fill_checksum(ip.source, ip.destination, &mut bytes);
    bytes
}

/// An ICMPv6 message in a packet.
pub(crate) fn message(ip: &ipv6::Header, icmp: &icmpv6::Header, payload: &[u8]) -> Vec<u8> {
    let bytes = message_bytes(ip, icmp, payload);
    packet(&ipv6::Header { next_header: Protocol::ICMPV6, ..*ip }, &bytes)
}

/// The bytes of an echo request.
pub(crate) fn echo_bytes(ip: &ipv6::Header, payload: &[u8]) -> Vec<u8> {
    let request = icmpv6::Header::EchoRequest { identifier: 1, sequence: 2 };
    message_bytes(ip, &request, payload)
}

/// An echo request in a packet.
pub(crate) fn echo(ip: &ipv6::Header, payload: &[u8]) -> Vec<u8> {
    packet(&ipv6::Header { next_header: Protocol::ICMPV6, ..*ip }, &echo_bytes(ip, payload))
}

#[track_caller]
pub(crate) fn parse_ip(packet: &[u8]) -> (ipv6::Header, &[u8]) {
    ipv6::Header::parse(packet).unwrap()
}

#[track_caller]
pub(crate) fn parse_icmp(packet: &[u8]) -> (ipv6::Header, icmpv6::Header, &[u8]) {
    let (ip, message) = parse_ip(packet);
    assert_eq!(ip.next_header, Protocol::ICMPV6);
    assert!(icmpv6::is_checksum_valid(ip.source, ip.destination, message));
    let (icmp, payload) = icmpv6::Header::parse(message).unwrap();
    (ip, icmp, payload)
}

#[track_caller]
pub(crate) fn parse_udp(packet: &[u8]) -> (ipv6::Header, udp::Header, &[u8]) {
    let (ip, bytes) = parse_ip(packet);
    assert_eq!(ip.next_header, Protocol::UDP);
    assert!(udp::View::new(bytes).unwrap().checksum() != 0);
    assert!(udp::is_checksum_valid(ip.source.into(), ip.destination.into(), bytes));
    let (header, payload) = udp::Header::parse(bytes).unwrap();
    (ip, header, payload)
}
