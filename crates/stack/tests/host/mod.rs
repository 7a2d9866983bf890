//! A stack in virtual time with one interface, and the packets that a test gives it and gets back.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the helpers")]

pub(crate) mod dhcp;
pub(crate) mod router;
pub(crate) mod shards;
pub(crate) mod v6;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, HeaderBuf, InterfaceId, Stack};
use wire::ethernet::{self, EtherType, EthernetAddress};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta, TransmitMeta};
use wire::ip::Protocol;
use wire::time::{Duration, Instant};
use wire::{arp, icmpv4, ipv4, udp};

/// The stack's own address.
pub(crate) const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// A host on the same link.
pub(crate) const THEM: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Another one.
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
/// A host beyond the gateway.
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// Everybody on the link.
pub(crate) const SUBNET_BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 255);

/// The stack's hardware address.
pub(crate) const OUR_HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
/// Theirs.
pub(crate) const THEIR_HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

/// A stack at 10.77.0.2/24.
pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) interface: InterfaceId,
    pub(crate) now: Instant,
    /// What the link knew and had to do for the packet sent last.
    pub(crate) meta: TransmitMeta,
}

impl Host {
    /// On a TUN with an MTU of 1500 and no offload.
    pub(crate) fn tun() -> Self {
        Self::new(Config::default(), Medium::Ip, false)
    }

    /// On a TAP.
    pub(crate) fn tap() -> Self {
        Self::new(Config::default(), Medium::Ethernet(OUR_HARDWARE), false)
    }

    pub(crate) fn new(config: Config, medium: Medium, checksum: bool) -> Self {
        Self::seeded(config, medium, checksum, 7)
    }

    pub(crate) fn seeded(config: Config, medium: Medium, checksum: bool, seed: u8) -> Self {
        let mut stack = Stack::new(config, [seed; 32]);
        let capabilities = Capabilities { medium, mtu: 1500, checksum, segmentation: false };
        let interface = stack.add_interface(capabilities);
        stack.add_address(interface, IpAddr::V4(US), 24).unwrap();
        let now = Instant::from_millis(1000);
        Self { stack, interface, now, meta: TransmitMeta::default() }
    }

    /// A frame arrives.
    pub(crate) fn arrives(&mut self, frame: &[u8]) {
        self.arrives_with(frame, ReceiveMeta::default());
    }

    pub(crate) fn arrives_with(&mut self, frame: &[u8], meta: ReceiveMeta) {
        self.stack.handle_frame(self.now, self.interface, FrameBuf::copy_from(frame), meta);
    }

    /// Everything that the stack sends now.
    pub(crate) fn sends(&mut self) -> Vec<Vec<u8>> {
        let mut header = HeaderBuf::default();
        let mut frames = Vec::new();
        while let Some(transmit) = self.stack.poll_transmit(self.now, &mut header) {
            frames.push(transmit.to_frame().to_vec());
            self.meta = transmit.meta;
        }
        frames
    }

    /// The one packet that the stack sends now.
    #[track_caller]
    pub(crate) fn sends_one(&mut self) -> Vec<u8> {
        let mut frames = self.sends();
        assert_eq!(frames.len(), 1, "{frames:?}");
        frames.remove(0)
    }

    #[track_caller]
    pub(crate) fn sends_nothing(&mut self) {
        assert_eq!(self.sends(), Vec::<Vec<u8>>::new());
    }

    /// Time passes, and timers fire.
    pub(crate) fn later(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        self.stack.handle_timeout(self.now);
    }

    pub(crate) fn later_millis(&mut self, millis: u64) {
        self.later(Duration::from_millis(millis));
    }

    pub(crate) fn dropped(&self, reason: Dropped) -> u64 {
        self.stack.counters().dropped(reason)
    }

    pub(crate) fn sent(&self, reason: Sent) -> u64 {
        self.stack.counters().sent(reason)
    }

    /// `frame` is dropped for exactly `reason`, and nothing is sent.
    #[track_caller]
    pub(crate) fn drops(&mut self, frame: &[u8], reason: Dropped) {
        let before: Vec<u64> = Dropped::ALL.iter().map(|&other| self.dropped(other)).collect();
        self.arrives(frame);
        self.sends_nothing();
        for (&other, before) in Dropped::ALL.iter().zip(before) {
            let expected = u64::from(other == reason);
            assert_eq!(self.dropped(other) - before, expected, "{other:?}");
        }
    }
}

/// Time passes in small steps, with all that is sent meanwhile.
pub(crate) fn passes(host: &mut Host, millis: u64) -> Vec<Vec<u8>> {
    let mut packets = host.sends();
    for _ in 0..millis.div_ceil(50) {
        host.later_millis(50);
        packets.extend(host.sends());
    }
    packets
}

pub(crate) fn v4(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), port)
}

/// An IPv4 header from them to us, as a careful host makes it.
pub(crate) fn header(protocol: Protocol) -> ipv4::Header {
    ipv4::Header {
        source: THEM,
        destination: US,
        protocol,
        ttl: 64,
        traffic_class: 0,
        identification: 7,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: 0,
        options: ipv4::Options::NONE,
    }
}

/// A packet: `header` with its length filled in, and `payload`.
pub(crate) fn packet(header: &ipv4::Header, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Header { payload_len: payload.len() as u16, ..*header };
    let mut bytes = vec![0; header.encoded_len()];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// A UDP datagram in a packet.
pub(crate) fn datagram(ip: &ipv4::Header, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let header = udp::Header {
        source_port: ports.0,
        destination_port: ports.1,
        payload_len: payload.len() as u16,
    };
    let mut bytes = vec![0; udp::HEADER_LEN];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    udp::fill_checksum(IpAddr::V4(ip.source), IpAddr::V4(ip.destination), &mut bytes);
    packet(&ipv4::Header { protocol: Protocol::UDP, ..*ip }, &bytes)
}

/// An ICMP message with its checksum.
pub(crate) fn message(icmp: &icmpv4::Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; icmp.encoded_len()];
    icmp.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    icmpv4::fill_checksum(&mut bytes);
    bytes
}

/// An echo request in a packet.
pub(crate) fn echo(ip: &ipv4::Header, payload: &[u8]) -> Vec<u8> {
    let request = icmpv4::Header::EchoRequest { identifier: 1, sequence: 2 };
    packet(&ipv4::Header { protocol: Protocol::ICMP, ..*ip }, &message(&request, payload))
}

/// A frame from them to us.
pub(crate) fn frame(ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
    frame_to(OUR_HARDWARE, ethertype, payload)
}

pub(crate) fn frame_to(
    destination: EthernetAddress,
    ethertype: EtherType,
    payload: &[u8],
) -> Vec<u8> {
    let header = ethernet::Header { destination, source: THEIR_HARDWARE, ethertype };
    let mut bytes = vec![0; ethernet::HEADER_LEN];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// An ARP packet from `sender` about `target`, in a frame.
pub(crate) fn arp_frame(
    operation: arp::Operation,
    sender: (EthernetAddress, Ipv4Addr),
    target: (EthernetAddress, Ipv4Addr),
) -> Vec<u8> {
    let packet = arp::Packet {
        operation,
        sender_hardware: sender.0,
        sender_protocol: sender.1,
        target_hardware: target.0,
        target_protocol: target.1,
    };
    let mut bytes = [0; arp::PACKET_LEN];
    packet.emit(&mut bytes);
    let to =
        if operation == arp::Operation::REQUEST { EthernetAddress::BROADCAST } else { target.0 };
    frame_to(to, EtherType::ARP, &bytes)
}

/// Their answer to our question.
pub(crate) fn arp_reply() -> Vec<u8> {
    arp_frame(arp::Operation::REPLY, (THEIR_HARDWARE, THEM), (OUR_HARDWARE, US))
}

/// What a frame is: ARP, or a packet and whom it is for.
#[track_caller]
pub(crate) fn parse_frame(frame: &[u8]) -> (ethernet::Header, &[u8]) {
    ethernet::Header::parse(frame).unwrap()
}

#[track_caller]
pub(crate) fn parse_arp(frame: &[u8]) -> (ethernet::Header, arp::Packet) {
    let (header, payload) = parse_frame(frame);
    assert_eq!(header.ethertype, EtherType::ARP);
    (header, arp::Packet::parse(payload).unwrap())
}

#[track_caller]
pub(crate) fn parse_ip(packet: &[u8]) -> (ipv4::Header, &[u8]) {
    ipv4::Header::parse(packet).unwrap()
}

#[track_caller]
pub(crate) fn parse_icmp(packet: &[u8]) -> (ipv4::Header, icmpv4::Header, &[u8]) {
    let (ip, message) = parse_ip(packet);
    assert_eq!(ip.protocol, Protocol::ICMP);
    assert!(icmpv4::is_checksum_valid(message));
    let (icmp, payload) = icmpv4::Header::parse(message).unwrap();
    (ip, icmp, payload)
}

#[track_caller]
pub(crate) fn parse_udp(packet: &[u8]) -> (ipv4::Header, udp::Header, &[u8]) {
    let (ip, bytes) = parse_ip(packet);
    assert_eq!(ip.protocol, Protocol::UDP);
    let (source, destination) = (IpAddr::V4(ip.source), IpAddr::V4(ip.destination));
    assert!(udp::View::new(bytes).unwrap().checksum() != 0);
    assert!(udp::is_checksum_valid(source, destination, bytes));
    let (header, payload) = udp::Header::parse(bytes).unwrap();
    (ip, header, payload)
}
