//! The layers below and beside TCP, in any order: frames of both families and of the link, time, and
//! the program's calls, all from one input.
//!
//! What the far side says ([`packets`]) is what the stack listens to: datagrams, fragments, errors
//! that quote what the stack sent, neighbours and routers, groups, servers of DHCP, SYNs to any
//! address. The program opens and closes sockets of every kind meanwhile.

#![no_main]

mod bytes;
#[path = "network/packets.rs"]
mod packets;
#[path = "network/program.rs"]
mod program;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use packets::Network;
use program::Program;
use stack::{Config, Echo, HeaderBuf, InterfaceId, OtherProtocols, SocketEntry, Stack};
use wire::ethernet::{self, EtherType, EthernetAddress};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::time::Instant;
use wire::{arp, dhcpv4, dhcpv6, ipv4, ipv6};

pub(crate) const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const US_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
/// A port that the program likes.
pub(crate) const PORT: u16 = 4000;
const OURS: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
/// The station of everybody else.
pub(crate) const STATION: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
/// More calls of an input than this only make it slow.
const MOST_CALLS: usize = 400;

fuzz_target!(|input: &[u8]| {
    let mut bytes = Bytes::new(input);
    let mut world = World::new(&mut bytes);
    for _ in 0..MOST_CALLS {
        if bytes.is_over() {
            break;
        }
        world.call(&mut bytes);
        world.carry();
    }
    world.end();
});

struct World {
    stack: Stack,
    interface: InterfaceId,
    medium: Medium,
    now: Instant,
    network: Network,
    program: Program,
}

impl World {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let choice = bytes.byte();
        let config = if choice & 1 == 0 { Config::default() } else { little(bytes) };
        let mut stack = Stack::new(config, [7; 32]);
        let medium = if choice & 2 == 0 { Medium::Ethernet(OURS) } else { Medium::Ip };
        let offload = choice & 4 == 0;
        let mtu = [1500, 1280, 9000, 576][usize::from(choice >> 6)];
        let capabilities = Capabilities { medium, mtu, checksum: offload, segmentation: offload };
        let interface = stack.add_interface(capabilities);
        stack.add_address(interface, US.into(), 24).expect("the first address");
        if mtu >= ipv6::MIN_MTU {
            stack.add_address(interface, US_V6.into(), 64).expect("the second address");
        }
        if choice & 8 == 0 {
            stack.set_any_address(interface, true).expect("an interface of ours");
            stack.set_gateway(interface, packets::ROUTER.into()).expect("a gateway on the link");
        }
        stack.set_trace(choice & 16 == 0);
        let (network, program) = (Network::default(), Program::default());
        let now = Instant::from_millis(1);
        Self { stack, interface, medium, now, network, program }
    }

    fn call(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 16 {
            0..=6 => {
                for packet in self.network.speaks(bytes) {
                    self.arrives(&packet);
                }
            }
            7 => self.raw_frame(bytes),
            8 => self.neighbor_speaks(bytes),
            9 => self.passes(Duration::from_millis(u64::from(bytes.word()))),
            10 => self.to_deadline(),
            _ => self.program.calls(&mut self.stack, self.interface, self.now, bytes),
        }
    }

    /// A packet for the stack, in a frame where the link has frames.
    fn arrives(&mut self, packet: &[u8]) {
        let (Medium::Ethernet(_), Some(first)) = (self.medium, packet.first()) else {
            return self.frame(packet.to_vec());
        };
        let ethertype = if first >> 4 == 4 { EtherType::IPV4 } else { EtherType::IPV6 };
        let group = match first >> 4 {
            4 => ipv4::Header::parse(packet)
                .ok()
                .and_then(|(ip, _)| EthernetAddress::of_group(ip.destination.into())),
            _ => ipv6::Header::parse(packet)
                .ok()
                .and_then(|(ip, _)| EthernetAddress::of_group(ip.destination.into())),
        };
        let destination = group.unwrap_or(OURS);
        let mut frame = vec![0; 14];
        ethernet::Header { destination, source: STATION, ethertype }.emit(&mut frame);
        frame.extend_from_slice(packet);
        self.frame(frame);
    }

    fn raw_frame(&mut self, bytes: &mut Bytes<'_>) {
        let frame = bytes.some(255);
        self.frame(frame);
    }

    /// ARP, where there is some.
    fn neighbor_speaks(&mut self, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let addresses = [US, Ipv4Addr::new(10, 0, 0, 2), packets::ROUTER, Ipv4Addr::UNSPECIFIED];
        let packet = arp::Packet {
            operation: arp::Operation(1 + u16::from(choice & 1)),
            sender_hardware: if choice & 2 == 0 { STATION } else { OURS },
            sender_protocol: addresses[usize::from(choice >> 2 & 3)],
            target_hardware: OURS,
            target_protocol: addresses[usize::from(choice >> 4 & 3)],
        };
        let mut frame = vec![0; 14 + packet.encoded_len()];
        let ethertype = EtherType::ARP;
        let destination = if choice & 64 == 0 { OURS } else { EthernetAddress::BROADCAST };
        ethernet::Header { destination, source: STATION, ethertype }.emit(&mut frame);
        packet.emit(&mut frame[14..]);
        self.frame(frame);
    }

    fn frame(&mut self, frame: Vec<u8>) {
        let meta = ReceiveMeta::default();
        self.stack.handle_frame(self.now, self.interface, FrameBuf::from(frame), meta);
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.stack.handle_timeout(self.now);
    }

    fn to_deadline(&mut self) {
        if let Some(at) = self.stack.poll_timeout() {
            self.now = self.now.max(at);
        }
        // What fires may make something else due at once, but not for ever.
        for _ in 0..8 {
            self.stack.handle_timeout(self.now);
            if self.stack.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("a timer that is due does not fire");
    }

    /// Takes what the stack sends, and learns from it.
    fn carry(&mut self) {
        let mut header = HeaderBuf::default();
        let mut packets = 0;
        while let Some(packet) = self.stack.poll_transmit(self.now, &mut header) {
            packets += 1;
            assert!(packets < 20_000, "a stack that never stops sending");
            assert!(!packet.meta.comment.is_empty(), "a packet without a reason");
            let frame = packet.to_frame();
            let packet = match self.medium {
                Medium::Ip => &frame[..],
                Medium::Ethernet(_) => match ethernet::Header::parse(&frame) {
                    Ok((header, payload)) if header.ethertype != EtherType::ARP => payload,
                    Ok(_) => continue,
                    Err(error) => panic!("not a frame: {error}"),
                },
            };
            check(packet);
            self.network.note_sent(packet);
        }
        while let Some(event) = self.stack.poll_event() {
            let _ = self.stack.readiness(event.socket);
        }
        while self.stack.poll_trace().is_some() {}
        while self.stack.poll_address_change().is_some() {}
        while self.stack.poll_dhcp_change().is_some() {}
        self.network.addresses.clear();
        let addresses = self.stack.addresses(self.interface).map(|(address, _)| address);
        self.network.addresses.extend(addresses);
        let (used, limit) = (self.stack.memory_used(), self.stack.config().memory_limit);
        assert!(used <= limit, "{used} bytes are pinned, of {limit}");
    }

    /// The program's sockets: not those that clients of DHCP keep.
    fn sockets(&self) -> Vec<SocketEntry> {
        let mut sockets = self.stack.sockets();
        let dhcp = [dhcpv4::CLIENT_PORT, dhcpv6::CLIENT_PORT];
        sockets.retain(|entry| entry.protocol != "udp" || !dhcp.contains(&entry.local.port()));
        sockets
    }

    /// The program goes. What is left are the stack's own affairs, and they do not keep it busy.
    fn end(mut self) {
        self.program.goes(&mut self.stack, self.interface, self.now);
        for _ in 0..2_000 {
            self.carry();
            if self.sockets().is_empty() {
                break;
            }
            self.to_deadline();
        }
        assert!(self.sockets().is_empty(), "{:?}", self.sockets());
        assert_eq!(self.stack.memory_used(), 0, "nobody is left who could pin anything");
        let start = self.now;
        for _ in 0..200 {
            self.to_deadline();
            self.carry();
        }
        let quiet = self.stack.poll_timeout().is_none();
        let elapsed = self.now.since(start);
        assert!(quiet || elapsed > Duration::from_millis(500), "200 timers within {elapsed:?}");
    }
}

/// Room for almost nothing.
fn little(bytes: &mut Bytes<'_>) -> Config {
    let choice = bytes.byte();
    Config {
        neighbor_limit: 1 + usize::from(choice & 1),
        path_mtu_limit: 1,
        reassembly_memory: if choice & 2 == 0 { 5_000 } else { 50_000 },
        reassembly_per_source: if choice & 2 == 0 { 3_000 } else { 20_000 },
        fragments_per_datagram: 2 + usize::from(choice & 4),
        duplicate_address_probes: choice >> 3 & 1,
        dhcp_probes: choice >> 4 & 1,
        echo: [Echo::Answer, Echo::HandOver, Echo::Ignore, Echo::HandOver]
            [usize::from(choice >> 5 & 3)],
        other_protocols: if choice & 128 == 0 {
            OtherProtocols::HandOver
        } else {
            OtherProtocols::Refuse
        },
        packet_limit: 2,
        reply_limit: 4,
        loopback_limit: 4,
        udp_flow_limit: 3,
        flows_per_source: 2,
        udp_flow_memory: 4_000,
        udp_receive_buffer: 4_000,
        udp_send_buffer: 8_000,
        groups_per_socket: 2,
        icmp_errors_per_second: 20,
        syn_queue_limit: 2,
        connection_limit: 4,
        ..Config::default()
    }
}

/// What the stack sends, others take.
fn check(packet: &[u8]) {
    match packet.first().map(|first| first >> 4) {
        Some(4) => match ipv4::Header::parse(packet) {
            // What a program sends as it is may be a fragment that nobody takes.
            Ok(_) | Err(ipv4::Malformed::FragmentLength { .. }) => {}
            Err(error) => panic!("not a packet of IPv4: {error}"),
        },
        Some(6) => drop(ipv6::Header::parse(packet).expect("a packet of IPv6")),
        _ => panic!("a packet of no family: {packet:?}"),
    }
}
