//! What an IPv4 packet goes through, sentence by sentence (RFC 1122 3.2.1 and 3.3, RFC 791).

mod host;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use estab_stack::reason::Dropped;
use estab_stack::{Error, InterfaceId};
use host::*;
use proptest::prelude::*;
use wire::arp::Operation;
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::icmpv4;
use wire::ip::Protocol;
use wire::ipv4::{self, kind};

/// A probe that is always answered when it passes.
fn asked() -> ipv4::Header {
    header(Protocol::ICMP)
}

fn with_option(option: &[u8]) -> Vec<u8> {
    let options = ipv4::Options::from_bytes(option).unwrap();
    echo(&ipv4::Header { options, ..asked() }, b"x")
}

/// 3.2.1.1: "A datagram whose version number is not 4 MUST be silently discarded."
#[test]
fn other_versions_are_discarded() {
    let mut host = Host::tun();
    let mut bytes = echo(&asked(), b"x");
    bytes[0] = 0x65;
    host.drops(&bytes, Dropped::MalformedIp);
    bytes[0] = 0x55;
    host.drops(&bytes, Dropped::IpVersionUnsupported);
    host.drops(&[0x60], Dropped::MalformedIp);
    host.drops(&[], Dropped::MalformedIp);
}

/// 3.2.1.2: "A host MUST verify the IP header checksum on every received datagram and silently
/// discard every datagram that has a bad checksum."
#[test]
fn a_bad_header_checksum_is_discarded() {
    let mut host = Host::tun();
    let mut bytes = echo(&asked(), b"x");
    bytes[10] ^= 1;
    host.drops(&bytes, Dropped::IpChecksum);
}

#[test]
fn lengths_that_lie_are_malformed() {
    let mut host = Host::tun();
    let bytes = echo(&asked(), b"some data");
    for length in 1..bytes.len() {
        host.drops(&bytes[..length], Dropped::MalformedIp);
    }
}

/// The total length says where the packet ends; what is behind it is the link's padding.
#[test]
fn padding_is_cut_off() {
    let mut host = Host::tun();
    let mut bytes = echo(&asked(), b"data");
    bytes.extend_from_slice(&[0xff; 20]);
    host.arrives(&bytes);
    let reply = host.sends_one();
    let (_, _, payload) = parse_icmp(&reply);
    assert_eq!(payload, b"data");
}

/// 3.2.1.3: "A host MUST silently discard an incoming datagram containing an IP source address
/// that is invalid by the rules of this section."
#[test]
fn impossible_sources_are_discarded() {
    let mut host = Host::tun();
    let sources = [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::new(0, 1, 2, 3),
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(127, 9, 9, 9),
        Ipv4Addr::BROADCAST,
        SUBNET_BROADCAST,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(240, 0, 0, 1),
        US,
    ];
    for source in sources {
        host.drops(&echo(&ipv4::Header { source, ..asked() }, b"x"), Dropped::ForbiddenSource);
    }
}

/// 3.2.1.3: "A host MUST silently discard an incoming datagram that is not destined for the host."
#[test]
fn packets_for_others_are_discarded() {
    let mut host = Host::tun();
    for destination in [OTHER, FAR, Ipv4Addr::UNSPECIFIED] {
        host.drops(&echo(&ipv4::Header { destination, ..asked() }, b"x"), Dropped::NotOurAddress);
    }
    // RFC 1112 7.2: a group that nobody joined, and the one of all hosts.
    for (group, reason) in [
        (Ipv4Addr::new(224, 0, 0, 251), Dropped::NotInGroup),
        (Ipv4Addr::new(224, 0, 0, 1), Dropped::IcmpIgnored),
    ] {
        let ip = ipv4::Header { destination: group, ..asked() };
        host.drops(&echo(&ip, b"x"), reason);
    }
}

/// 3.2.1.3 (g): 127/8 "MUST NOT appear outside a host".
#[test]
fn loopback_addresses_do_not_come_from_a_link_nor_go_to_one() {
    let mut host = Host::tun();
    let destination = Ipv4Addr::LOCALHOST;
    host.drops(&echo(&ipv4::Header { destination, ..asked() }, b"x"), Dropped::NotOurAddress);
    let id = host.stack.udp_bind(v4(Ipv4Addr::LOCALHOST, 7)).unwrap();
    let sent = host.stack.udp_send_to(host.now, id, b"x", v4(THEM, 7));
    assert_eq!(sent, Err(Error::NetworkUnreachable));
}

/// 3.2.1.7: "A host MUST NOT discard a datagram just because it was received with TTL less than 2."
#[test]
fn a_ttl_that_is_used_up_is_no_reason_to_discard() {
    let mut host = Host::tun();
    for ttl in [0, 1] {
        host.arrives(&echo(&ipv4::Header { ttl, ..asked() }, b"x"));
        host.sends_one();
    }
}

/// 3.2.1.8 (c) lets a host refuse source routes; RFC 7126 4.3.5 and 4.4.5 say to drop them.
#[test]
fn source_routes_are_dropped() {
    let mut host = Host::tun();
    for kind in [kind::LOOSE_SOURCE_ROUTE, kind::STRICT_SOURCE_ROUTE] {
        host.drops(&with_option(&[kind, 7, 4, 10, 0, 0, 1, 0]), Dropped::SourceRoute);
    }
}

/// 3.2.1.8: "the IP and transport layers MUST each interpret those IP options that they understand
/// and silently ignore the others."
#[test]
fn unknown_options_are_ignored() {
    let mut host = Host::tun();
    host.arrives(&with_option(&[kind::NO_OP, 0x55, 3, 0]));
    host.arrives(&with_option(&[kind::RECORD_ROUTE, 7, 4, 0, 0, 0, 0, 0]));
    host.arrives(&with_option(&[kind::ROUTER_ALERT, 4, 0, 0]));
    assert_eq!(host.sends().len(), 3);
}

/// RFC 791 3.1: "The pointer is relative to this option, and the smallest legal value for the pointer is
/// 4", or 5 where times are recorded. What is wrong is told (RFC 1122 3.2.2.5).
#[test]
fn options_that_point_astray_are_answered() {
    let mut host = Host::tun();
    for option in [
        [kind::RECORD_ROUTE, 7, 3, 0, 0, 0, 0, 0],
        [kind::RECORD_ROUTE, 7, 5, 0, 0, 0, 0, 0],
        [kind::TIMESTAMP, 8, 4, 0, 0, 0, 0, 0],
        [kind::TIMESTAMP, 8, 5, 1, 0, 0, 0, 0],
    ] {
        host.later_millis(1000);
        host.arrives(&with_option(&option));
        let bytes = host.sends_one();
        let (_, icmp, _) = parse_icmp(&bytes);
        assert_eq!(icmp, icmpv4::Header::ParameterProblem { code: 0, pointer: 22 });
    }
    assert_eq!(host.dropped(Dropped::MalformedIpOption), 4);
}

/// RFC 9293 3.9.2.3: a SYN to a broadcast address is silently discarded.
#[test]
fn tcp_to_a_broadcast_address_is_discarded() {
    let mut host = Host::tun();
    for destination in [SUBNET_BROADCAST, Ipv4Addr::BROADCAST] {
        let ip = ipv4::Header { destination, ..header(Protocol::TCP) };
        host.drops(&packet(&ip, &[0; 20]), Dropped::TcpToGroup);
    }
}

/// RFC 9293 3.9.2.3: an open to a broadcast or multicast address is an error of the caller.
#[test]
fn tcp_does_not_connect_to_a_group() {
    let mut host = Host::tun();
    let options = host.stack.config().tcp.clone();
    for group in [SUBNET_BROADCAST, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)] {
        let opened = host.stack.connect(host.now, None, v4(group, 80), options.clone());
        assert_eq!(opened, Err(Error::InvalidInput));
    }
}

/// 3.3.6: "A host SHOULD silently discard a datagram that is received via a link-layer broadcast
/// but does not specify an IP multicast or broadcast destination address."
#[test]
fn unicast_in_a_broadcast_frame_is_discarded() {
    let mut host = Host::tap();
    let bytes = echo(&asked(), b"x");
    let frame = frame_to(EthernetAddress::BROADCAST, EtherType::IPV4, &bytes);
    host.drops(&frame, Dropped::LinkGroup);
}

#[test]
fn frames_for_other_stations_and_of_other_types_are_dropped() {
    let mut host = Host::tap();
    let other = EthernetAddress([2, 0, 0, 0, 0, 9]);
    let bytes = echo(&asked(), b"x");
    host.drops(&frame_to(other, EtherType::IPV4, &bytes), Dropped::NotOurEthernetAddress);
    host.drops(&frame(EtherType::IPV6, &bytes), Dropped::MalformedIp);
    host.drops(&frame(EtherType(0x88cc), &bytes), Dropped::UnknownEtherType);
    host.drops(&frame(EtherType::IPV4, &bytes)[..13], Dropped::MalformedFrame);
}

/// IEEE 802.1Q 6.9: a tag that says a priority and no VLAN is none; all others are for somebody else.
#[test]
fn a_frame_with_a_priority_alone_is_taken() {
    let mut host = Host::tap();
    host.arrives(&arp_reply());
    let packet = echo(&asked(), b"x");
    let tagged = |bits: [u8; 2]| {
        let tag = [&bits[..], &EtherType::IPV4.0.to_be_bytes(), &packet].concat();
        frame(EtherType::VLAN, &tag)
    };
    for priority in [0x00, 0x20, 0xf0] {
        host.arrives(&tagged([priority, 0]));
        host.sends_one();
    }
    host.drops(&tagged([0, 7]), Dropped::OtherVlan);
    host.drops(&frame(EtherType::VLAN, &[0, 0, 8]), Dropped::MalformedFrame);
    let stacked = [&[0, 0, 0x81, 0][..], &[0, 0, 8, 0], &packet].concat();
    host.drops(&frame(EtherType::VLAN, &stacked), Dropped::MalformedFrame);
}

#[test]
fn a_packet_to_ourselves_never_leaves() {
    let mut host = Host::tun();
    let server = host.stack.udp_bind(v4(Ipv4Addr::UNSPECIFIED, 7)).unwrap();
    let client = host.stack.udp_bind(v4(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    for address in [US, Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 1, 2, 3)] {
        host.stack.udp_send_to(host.now, client, b"hello", v4(address, 7)).unwrap();
        host.sends_nothing();
        let mut buffer = [0; 10];
        let (length, from) = host.stack.udp_receive_from(server, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.ip()), (&b"hello"[..], IpAddr::V4(address)));
    }
}

#[test]
fn nothing_is_sent_where_no_route_leads() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let to_far = |host: &mut Host| host.stack.udp_send_to(host.now, id, b"x", v4(FAR, 7));
    assert_eq!(to_far(&mut host), Err(Error::NetworkUnreachable));
    host.stack.set_gateway(host.interface, IpAddr::V4(THEM)).unwrap();
    assert_eq!(to_far(&mut host), Ok(1));
    let bytes = host.sends_one();
    let (ip, ..) = parse_udp(&bytes);
    assert_eq!((ip.source, ip.destination, ip.ttl), (US, FAR, 64));
}

/// RFC 1122 3.3.4.3: the source is an address in the network of the next hop.
#[test]
fn the_source_is_an_address_near_the_next_hop() {
    let mut host = Host::tun();
    let second = Ipv4Addr::new(172, 16, 0, 5);
    host.stack.add_address(host.interface, IpAddr::V4(second), 16).unwrap();
    let id = host.stack.udp_bind(v4(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    for (destination, source) in [(THEM, US), (Ipv4Addr::new(172, 16, 9, 9), second)] {
        host.stack.udp_send_to(host.now, id, b"x", v4(destination, 7)).unwrap();
        let bytes = host.sends_one();
        assert_eq!(parse_ip(&bytes).0.source, source);
    }
}

#[test]
fn addresses_come_and_go() {
    let mut host = Host::tun();
    let listed: Vec<_> = host.stack.addresses(host.interface).collect();
    assert_eq!(listed, [(IpAddr::V4(US), 24)]);
    assert!(host.stack.is_local(IpAddr::V4(US)));
    let again = host.stack.add_address(host.interface, IpAddr::V4(US), 24);
    assert_eq!(again, Err(Error::AddressInUse));
    host.stack.remove_address(host.interface, IpAddr::V4(US)).unwrap();
    assert!(!host.stack.is_local(IpAddr::V4(US)));
    host.drops(&echo(&asked(), b"x"), Dropped::NotOurAddress);
    let gone = host.stack.remove_address(host.interface, IpAddr::V4(US));
    assert_eq!(gone, Err(Error::AddressNotAvailable));
}

#[test]
fn impossible_addresses_and_gateways_are_refused() {
    let mut host = Host::tap();
    let mut add = |address, len| host.stack.add_address(host.interface, address, len);
    let v4 = |a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    for address in [v4(0, 0, 0, 0), v4(127, 0, 0, 1), v4(224, 0, 0, 1), v4(10, 1, 1, 255)] {
        assert_eq!(add(address, 24), Err(Error::InvalidInput), "{address}");
    }
    assert_eq!(add(v4(10, 1, 1, 1), 33), Err(Error::InvalidInput));
    assert_eq!(add(IpAddr::V6(Ipv6Addr::LOCALHOST), 64), Err(Error::InvalidInput));
    let mut via = |gateway| host.stack.set_gateway(host.interface, gateway);
    assert_eq!(via(IpAddr::V4(US)), Err(Error::InvalidInput));
    assert_eq!(via(IpAddr::V4(SUBNET_BROADCAST)), Err(Error::InvalidInput));
    assert_eq!(via(IpAddr::V4(FAR)), Err(Error::NetworkUnreachable));
    assert_eq!(via(IpAddr::V4(THEM)), Ok(()));
    let on_loopback = host.stack.set_gateway(InterfaceId::LOOPBACK, IpAddr::V4(THEM));
    assert_eq!(on_loopback, Err(Error::InvalidInput));
}

#[test]
fn the_longest_prefix_decides_between_interfaces() {
    let mut host = Host::tun();
    let second = host.stack.add_interface(Capabilities {
        medium: Medium::Ip,
        mtu: 1400,
        checksum: false,
        segmentation: false,
    });
    let near = Ipv4Addr::new(10, 77, 0, 130);
    host.stack.add_address(second, IpAddr::V4(near), 25).unwrap();
    let id = host.stack.udp_bind(v4(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let mut header = estab_stack::HeaderBuf::default();
    for (destination, expected) in [(131, second), (3, host.interface)] {
        let destination = Ipv4Addr::new(10, 77, 0, destination);
        host.stack.udp_send_to(host.now, id, b"x", v4(destination, 7)).unwrap();
        let transmit = host.stack.poll_transmit(host.now, &mut header).unwrap();
        assert_eq!(transmit.interface, expected);
    }
}

proptest! {
    /// No bytes of a peer make the stack panic, on either medium.
    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        protocol in prop_oneof![Just(1_u8), Just(6), Just(17), any::<u8>()],
        whole: bool,
        tap: bool,
    ) {
        let mut host = if tap { Host::tap() } else { Host::tun() };
        let bytes = if whole { packet(&header(Protocol(protocol)), &bytes) } else { bytes };
        let bytes = if tap && whole { frame(EtherType::IPV4, &bytes) } else { bytes };
        let frame = FrameBuf::copy_from(&bytes);
        host.stack.handle_frame(host.now, host.interface, frame, ReceiveMeta::default());
        host.sends();
    }
}

/// RFC 1122 2.3.3: a host "SHOULD be able to receive RFC-1042 packets, intermixed with RFC-894 packets".
#[test]
fn frames_with_a_snap_header_are_received() {
    const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];
    let mut host = Host::tap();
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    let inner = datagram(&header(Protocol::UDP), (9, 7), b"hello");
    let snap = |llc: &[u8], ethertype: u16, payload: &[u8], missing: usize| {
        let body = [llc, &ethertype.to_be_bytes(), payload].concat();
        let length = u16::try_from(body.len() - missing).unwrap();
        frame(EtherType(length), &body)
    };
    // With the padding that a short frame has.
    let padded = [&snap(&SNAP, 0x0800, &inner, 0)[..], &[0xee; 20]].concat();
    host.arrives(&padded);
    let mut buffer = [0; 100];
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((5, v4(THEM, 9))));
    // So is a question of ARP, whose answer goes as everything does.
    let nobody = EthernetAddress::UNSPECIFIED;
    let asked = arp_frame(Operation::REQUEST, (THEIR_HARDWARE, THEM), (nobody, US));
    host.arrives(&snap(&SNAP, 0x0806, &asked[14..], 0));
    assert_eq!(parse_arp(&host.sends_one()).0.ethertype, EtherType::ARP);
    // Spanning tree, another organization's types, a length once more, nothing.
    host.drops(&snap(&[0x42, 0x42, 3, 0, 0, 0], 0x0800, &inner, 0), Dropped::MalformedFrame);
    host.drops(&snap(&[0xaa, 0xaa, 3, 0, 0, 0x0c], 0x0800, &inner, 0), Dropped::MalformedFrame);
    host.drops(&snap(&SNAP, 40, &inner, 0), Dropped::MalformedFrame);
    host.drops(&snap(&SNAP, 0x0800, &[], 1), Dropped::MalformedFrame);
    // What is behind the length is not of the packet.
    host.drops(&snap(&SNAP, 0x0800, &inner, 1), Dropped::MalformedIp);
}
