//! What is left to the program: echo requests, protocols that are not spoken here, whole packets.

mod host;

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Echo, Error, Event, OtherProtocols, Ready, SocketId, Unreachable};
use host::*;
use wire::ethernet::EtherType;
use wire::frame::Medium;
use wire::ip::Protocol;
use wire::{checksum, icmpv4, icmpv6, ipv4, ipv6};

/// Stream Control Transmission Protocol.
const SCTP: Protocol = Protocol(132);

fn handing_over() -> Config {
    let (echo, other_protocols) = (Echo::HandOver, OtherProtocols::HandOver);
    Config { echo, other_protocols, packet_limit: 4, ..Config::default() }
}

fn echo_v6() -> Vec<u8> {
    v6::echo(&v6::header(Protocol::ICMPV6), b"ping")
}

fn echo_v4() -> Vec<u8> {
    echo(&header(Protocol::ICMP), b"ping")
}

#[test]
fn echo_requests_are_ignored_where_that_is_wanted() {
    let mut host = v6::with(Config { echo: Echo::Ignore, ..Config::default() });
    host.drops(&echo_v4(), Dropped::EchoIgnored);
    host.drops(&echo_v6(), Dropped::EchoIgnored);
    assert_eq!(host.stack.poll_packet(), None);
}

/// To whatever address they go, with the error of each family; not more of them than of all errors.
#[test]
fn echo_requests_are_refused_where_that_is_wanted() {
    let echo_setting = Echo::Refuse(Unreachable::Host);
    let mut host = v6::with(Config { echo: echo_setting, ..Config::default() });
    host.stack.set_any_address(host.interface, true).unwrap();
    let far = echo(&ipv4::Header { destination: FAR, ..header(Protocol::ICMP) }, b"ping");
    host.arrives(&far);
    let bytes = host.sends_one();
    let (ip, icmp, quoted) = parse_icmp(&bytes);
    assert_eq!((ip.source, ip.destination), (FAR, THEM));
    let code = icmpv4::UnreachableCode::HOST;
    assert_eq!(icmp, icmpv4::Header::DestinationUnreachable { code, next_hop_mtu: 0 });
    assert_eq!(quoted, far);
    host.arrives(&echo_v6());
    let bytes = host.sends_one();
    let (_, icmp, _) = v6::parse_icmp(&bytes);
    let code = icmpv6::UnreachableCode::ADDRESS;
    assert_eq!(icmp, icmpv6::Header::DestinationUnreachable { code });
    for _ in 0..2000 {
        host.arrives(&far);
    }
    assert!(host.sends().len() < 1200 && host.dropped(Dropped::IcmpRateLimited) > 800);
    assert_eq!(host.dropped(Dropped::EchoRefused), 2002);
}

#[test]
fn echo_requests_are_handed_over_whole() {
    let mut host = v6::with(handing_over());
    host.stack.set_any_address(host.interface, true).unwrap();
    let far = echo(&ipv4::Header { destination: FAR, ..header(Protocol::ICMP) }, b"ping");
    let far_v6 = v6::header(Protocol::ICMPV6);
    let far_v6 = v6::echo(&ipv6::Header { destination: v6::FAR, ..far_v6 }, b"ping");
    for packet in [&echo_v4(), &echo_v6(), &far, &far_v6] {
        host.arrives(packet);
        host.sends_nothing();
    }
    let event = host.stack.poll_event();
    assert_eq!(event, Some(Event { socket: SocketId::Packets, ready: Ready::READ }));
    assert!(host.stack.readiness(SocketId::Packets).contains(Ready::READ));
    for packet in [&echo_v4(), &echo_v6(), &far, &far_v6] {
        let (interface, frame) = host.stack.poll_packet().expect("it was handed over");
        assert_eq!((interface, &frame[..]), (host.interface, &packet[..]));
    }
    assert_eq!(host.stack.poll_packet(), None);
    assert!(!host.stack.readiness(SocketId::Packets).contains(Ready::READ));
}

/// What came in fragments is one packet again.
#[test]
fn what_is_handed_over_is_whole() {
    let mut host = Host::new(handing_over(), Medium::Ip, false);
    let ip = ipv4::Header { dont_fragment: false, ..header(SCTP) };
    let first = packet(&ipv4::Header { more_fragments: true, ..ip }, &[1; 16]);
    let second = packet(&ipv4::Header { fragment_offset: 16, ..ip }, &[2; 8]);
    host.arrives(&first);
    assert_eq!(host.stack.poll_packet(), None);
    host.arrives(&second);
    let (_, frame) = host.stack.poll_packet().unwrap();
    let (header, payload) = parse_ip(&frame);
    assert!(!header.is_fragment());
    assert_eq!(payload, [&[1; 16][..], &[2; 8]].concat());
}

#[test]
fn other_protocols_are_refused_or_handed_over_from_the_link_or_behind_extensions() {
    let sctp = packet(&header(SCTP), b"chunk");
    let mut host = Host::tun();
    host.arrives(&sctp);
    assert_eq!(host.sends().len(), 1, "RFC 1122 3.2.2.1");
    assert_eq!(host.dropped(Dropped::UnknownProtocol), 1);

    let mut host = v6::ready_tap(handing_over());
    // A padded hop-by-hop header, and 10 bytes behind it.
    let behind = [&[SCTP.0, 0, 1, 4, 0, 0, 0, 0][..], &[9; 10]].concat();
    let extended = v6::packet(&v6::header(Protocol::HOP_BY_HOP), &behind);
    host.arrives(&frame(EtherType::IPV4, &[&sctp[..], &[0; 30]].concat()));
    host.arrives(&frame(EtherType::IPV6, &extended));
    host.sends_nothing();
    let handed: Vec<_> = std::iter::from_fn(|| host.stack.poll_packet()).collect();
    let bytes: Vec<_> = handed.iter().map(|(_, frame)| &frame[..]).collect();
    assert_eq!(bytes, [&sctp[..], &extended], "from the IP header on, without padding");
    assert_eq!(host.dropped(Dropped::UnknownProtocol), 0);
}

#[test]
fn what_nobody_fetches_is_bounded_and_counted() {
    let mut host = Host::new(handing_over(), Medium::Ip, false);
    for _ in 0..6 {
        host.arrives(&packet(&header(SCTP), b"chunk"));
    }
    assert_eq!(host.dropped(Dropped::PacketQueueFull), 2);
    assert_eq!(std::iter::from_fn(|| host.stack.poll_packet()).count(), 4);
}

#[test]
fn a_packet_of_the_program_goes_as_it_is() {
    let mut host = v6::tun();
    // From somebody far, to somebody near: what a router sends.
    let ip = ipv4::Header { source: FAR, destination: THEM, ..header(SCTP) };
    let mut ours = packet(&ip, b"chunk");
    let whole = ours.clone();
    ours[10..12].fill(0xee);
    assert_eq!(host.stack.send_packet(host.now, &ours), Ok(()));
    assert_eq!(host.sends_one(), whole, "with the checksum filled in");
    assert!(checksum::is_valid(&whole[..20]));
    assert_eq!((host.sent(Sent::OfProgram), host.meta.comment), (1, Sent::OfProgram.comment()));

    let ip = ipv6::Header { source: v6::FAR, destination: v6::THEM, ..v6::header(SCTP) };
    let ours = v6::packet(&ip, b"chunk");
    assert_eq!(host.stack.send_packet(host.now, &ours), Ok(()));
    assert_eq!(host.sends_one(), ours);
}

#[test]
fn a_packet_of_the_program_waits_for_its_neighbour() {
    let mut host = Host::tap();
    let ours = packet(&ipv4::Header { source: US, destination: THEM, ..header(SCTP) }, b"chunk");
    host.stack.send_packet(host.now, &ours).unwrap();
    parse_arp(&host.sends_one());
    host.arrives(&arp_reply());
    let frame = host.sends_one();
    let (header, payload) = parse_frame(&frame);
    assert_eq!((header.destination, header.ethertype), (THEIR_HARDWARE, EtherType::IPV4));
    assert_eq!(payload, ours);
}

/// RFC 1122 3.2.1: what no host may send is not sent for a program either.
#[test]
fn what_is_no_packet_is_refused() {
    let mut host = v6::tun();
    let ip = ipv4::Header { source: US, destination: THEM, ..header(SCTP) };
    let good = packet(&ip, &[7; 20]);
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let cases = [
        Vec::new(),
        vec![0x45],
        good[..19].to_vec(),
        good[..30].to_vec(),
        broken(&|bytes| bytes[0] = 0x75),
        broken(&|bytes| bytes[0] = 0x44),
        broken(&|bytes| bytes[0] = 0x4f),
        broken(&|bytes| bytes[3] += 1),
        broken(&|bytes| bytes[8] = 0),
        broken(&|bytes| bytes[12..16].fill(0)),
        broken(&|bytes| bytes[12] = 224),
        broken(&|bytes| bytes[16..20].fill(0)),
        v6::packet(&v6::header(SCTP), b"chunk")[..44].to_vec(),
        v6::packet(&ipv6::Header { hop_limit: 0, ..v6::header(SCTP) }, b"chunk"),
    ];
    for bytes in cases {
        let sent = host.stack.send_packet(host.now, &bytes);
        assert_eq!(sent, Err(Error::InvalidInput), "{bytes:x?}");
    }
    let long = packet(&ip, &[7; 1481]);
    assert_eq!(host.stack.send_packet(host.now, &long), Err(Error::MessageTooBig));
    let away = packet(&ipv4::Header { destination: FAR, ..ip }, b"x");
    assert_eq!(host.stack.send_packet(host.now, &away), Err(Error::NetworkUnreachable));
    host.sends_nothing();
}

#[test]
fn the_programs_queue_pushes_back() {
    let mut host = Host::new(handing_over(), Medium::Ip, false);
    let ours = packet(&ipv4::Header { source: US, destination: THEM, ..header(SCTP) }, b"chunk");
    for _ in 0..4 {
        assert_eq!(host.stack.send_packet(host.now, &ours), Ok(()));
    }
    assert_eq!(host.stack.send_packet(host.now, &ours), Err(Error::WouldBlock));
    assert_eq!(host.sends().len(), 4);
    let event = host.stack.poll_event();
    assert_eq!(event, Some(Event { socket: SocketId::Packets, ready: Ready::WRITE }));
    assert_eq!(host.stack.send_packet(host.now, &ours), Ok(()));
}
