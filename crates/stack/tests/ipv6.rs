//! What an IPv6 packet goes through, sentence by sentence (RFC 8200, RFC 4291), and ICMPv6 (RFC 4443).

mod host;

use std::net::{IpAddr, Ipv6Addr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, PingReply, SocketId};
use host::Host;
use host::v6::*;
use proptest::prelude::*;
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::{FrameBuf, ReceiveMeta};
use wire::icmpv6::{Header, ParameterCode, TimeExceededCode, UnreachableCode};
use wire::ip::Protocol;
use wire::ipv6;

const BAD: Protocol = Protocol(253);

fn asked() -> ipv6::Header {
    header(Protocol::ICMPV6)
}

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// An echo request behind extension headers, the first of which is `first`.
fn behind(first: Protocol, headers: &[u8]) -> Vec<u8> {
    let payload = [headers, &echo_bytes(&asked(), b"x")].concat();
    packet(&ipv6::Header { next_header: first, ..asked() }, &payload)
}

/// The stack answers with a parameter problem that quotes the packet.
#[track_caller]
fn complains(host: &mut Host, packet: &[u8], code: ParameterCode, pointer: u32) {
    host.arrives(packet);
    let bytes = host.sends_one();
    let (ip, icmp, quote) = parse_icmp(&bytes);
    assert_eq!((ip.source, ip.destination), (US, THEM));
    assert_eq!(icmp, Header::ParameterProblem { code, pointer });
    assert_eq!(quote, &packet[..packet.len().min(1232)]);
}

/// RFC 4443 4.2: "Every node MUST implement an ICMPv6 Echo responder function"; "The data received
/// in the ICMPv6 Echo Request message MUST be returned entirely and unmodified".
#[test]
fn an_echo_request_is_answered_with_its_data() {
    let mut host = tun();
    for length in [0, 1, 56, 1452] {
        host.arrives(&echo(&asked(), &data(length)));
        let bytes = host.sends_one();
        let (ip, icmp, payload) = parse_icmp(&bytes);
        assert_eq!((ip.source, ip.destination, ip.hop_limit), (US, THEM, 64));
        assert_eq!(icmp, Header::EchoReply { identifier: 1, sequence: 2 });
        assert_eq!(payload, data(length));
    }
    assert_eq!(host.sent(Sent::EchoReply), 4);
}

/// RFC 4443 4.2: the source of the reply to a request to a group "MUST be a unicast address belonging
/// to the interface on which the [...] message was received".
#[test]
fn an_echo_request_to_all_nodes_is_answered_from_our_address() {
    let mut host = tun();
    host.arrives(&echo(&ipv6::Header { destination: ALL_NODES, ..asked() }, b"who is there?"));
    let bytes = host.sends_one();
    let (ip, icmp, _) = parse_icmp(&bytes);
    assert_eq!((ip.source, ip.destination), (US, THEM));
    assert!(matches!(icmp, Header::EchoReply { .. }));
    // RFC 4443 4.2: from an address of the interface that it came by, whoever asks.
    let capabilities = wire::frame::Capabilities {
        medium: wire::frame::Medium::Ip,
        mtu: 1500,
        checksum: false,
        segmentation: false,
    };
    let second = host.stack.add_interface(capabilities);
    let there = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 2);
    host.stack.add_address(second, there.into(), 64).unwrap();
    host.interface = second;
    host.arrives(&echo(&ipv6::Header { destination: ALL_NODES, ..asked() }, b"and there?"));
    let bytes = host.sends_one();
    let (ip, _, _) = parse_icmp(&bytes);
    assert_eq!((ip.source, ip.destination), (there, THEM));
}

#[test]
fn lengths_that_lie_are_malformed_and_padding_is_cut_off() {
    let mut host = tun();
    let mut bytes = echo(&asked(), b"data");
    for length in 1..bytes.len() {
        host.drops(&bytes[..length], Dropped::MalformedIp);
    }
    bytes.extend_from_slice(&[0xff; 20]);
    host.arrives(&bytes);
    let reply = host.sends_one();
    assert_eq!(parse_icmp(&reply).2, b"data");
}

/// RFC 4291 2.7: "Multicast addresses must not be used as source addresses"; 2.5.3: "A packet received
/// on an interface with a destination address of loopback must be dropped".
#[test]
fn impossible_sources_are_discarded() {
    let mut host = tun();
    let mapped = "::ffff:10.77.0.1".parse().unwrap();
    for source in [Ipv6Addr::LOCALHOST, ALL_NODES, US, mapped] {
        let bytes = echo(&ipv6::Header { source, ..asked() }, b"x");
        host.drops(&bytes, Dropped::ForbiddenSource);
    }
    let nobody = ipv6::Header { source: Ipv6Addr::UNSPECIFIED, ..asked() };
    host.drops(&datagram(&nobody, (1, 2), b"x"), Dropped::ForbiddenSource);
    host.drops(&echo(&nobody, b"x"), Dropped::IcmpIgnored);
}

#[test]
fn packets_for_others_are_discarded() {
    let mut host = tun();
    let other_group = "ff02::fb".parse().unwrap();
    let link_local = "fe80::2".parse().unwrap();
    for destination in [OTHER, FAR, Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, link_local] {
        let bytes = echo(&ipv6::Header { destination, ..asked() }, b"x");
        host.drops(&bytes, Dropped::NotOurAddress);
    }
    let bytes = echo(&ipv6::Header { destination: other_group, ..asked() }, b"x");
    host.drops(&bytes, Dropped::NotInGroup);
}

#[test]
fn broken_messages_are_dropped() {
    let mut host = tun();
    let mut bytes = echo(&asked(), b"data");
    *bytes.last_mut().unwrap() ^= 1;
    host.drops(&bytes, Dropped::IcmpChecksum);
    // RFC 4443 2.4 (b): an informational message of unknown type "MUST be silently discarded".
    let unknown = Header::Other { kind: 200, code: 0, rest: [0; 4] };
    host.drops(&message(&asked(), &unknown, b""), Dropped::IcmpIgnored);
    // RFC 8200 8.1: "IPv6 receivers must discard UDP packets containing a zero checksum".
    let mut bytes = datagram(&asked(), (1000, 7), b"data");
    bytes[46..48].fill(0);
    host.drops(&bytes, Dropped::UdpChecksum);
}

/// RFC 8200 3: the host that a packet is for takes it, however far it could have gone still.
#[test]
fn a_hop_limit_that_is_used_up_is_no_reason_to_discard() {
    let mut host = tun();
    for hop_limit in [0, 1] {
        host.arrives(&echo(&ipv6::Header { hop_limit, ..asked() }, b"x"));
        host.sends_one();
    }
}

/// RFC 4443 2.4 (e.4), (e.5): what came in a frame for many deserves no error, and no answer either.
#[test]
fn unicast_in_a_group_frame_is_discarded() {
    let mut host = host::v6::tap();
    for to in [EthernetAddress::BROADCAST, EthernetAddress::of_ipv6_group(ALL_NODES)] {
        for packet in [echo(&asked(), b"x"), datagram(&asked(), (1, 2), b"x")] {
            host.drops(&host::frame_to(to, EtherType::IPV6, &packet), Dropped::LinkGroup);
        }
    }
}

/// RFC 8200 4: extension headers in front of a transport are passed over, and none comes back (8.4).
#[test]
fn extension_headers_are_passed() {
    let mut host = tun();
    let answers = |host: &mut Host| {
        let bytes = host.sends_one();
        let (_, icmp, payload) = parse_icmp(&bytes);
        assert_eq!(icmp, Header::EchoReply { identifier: 1, sequence: 2 });
        assert_eq!(payload, b"x");
    };
    let icmp = Protocol::ICMPV6.0;
    let padding = [icmp, 0, 1, 4, 0, 0, 0, 0];
    for first in [Protocol::HOP_BY_HOP, Protocol::DESTINATION_OPTIONS] {
        host.arrives(&behind(first, &padding));
        answers(&mut host);
    }
    // RFC 5095: nothing is left of a routing header without segments.
    host.arrives(&behind(Protocol::ROUTING, &[icmp, 0, 0, 0, 0, 0, 0, 0]));
    answers(&mut host);
    let two = [[Protocol::DESTINATION_OPTIONS.0, 0, 1, 4, 0, 0, 0, 0], padding].concat();
    host.arrives(&behind(Protocol::HOP_BY_HOP, &two));
    answers(&mut host);
    // RFC 8200 4.7: nothing follows.
    host.drops(&behind(Protocol::NO_NEXT_HEADER, &[]), Dropped::NoNextHeader);
}

/// RFC 8200 4.2: the two highest bits of an unknown option say what happens.
#[test]
fn unknown_options_are_treated_as_their_type_says() {
    let mut host = tun();
    let with = |kind: u8| [Protocol::ICMPV6.0, 0, kind, 4, 0, 0, 0, 0];
    let to_group = |kind: u8| {
        let payload = [&with(kind)[..], &echo_bytes(&asked(), b"x")].concat();
        let ip = ipv6::Header {
            next_header: Protocol::DESTINATION_OPTIONS,
            destination: ALL_NODES,
            ..asked()
        };
        packet(&ip, &payload)
    };
    host.arrives(&behind(Protocol::DESTINATION_OPTIONS, &with(0x3e)));
    host.sends_one();
    host.drops(&behind(Protocol::DESTINATION_OPTIONS, &with(0x7e)), Dropped::MalformedExtension);
    for kind in [0xbe, 0xfe] {
        let bytes = behind(Protocol::DESTINATION_OPTIONS, &with(kind));
        complains(&mut host, &bytes, ParameterCode::UNRECOGNIZED_OPTION, 42);
    }
    complains(&mut host, &to_group(0xbe), ParameterCode::UNRECOGNIZED_OPTION, 42);
    host.drops(&to_group(0xfe), Dropped::MalformedExtension);
}

/// RFC 8200 4: "the node should discard the packet and send an ICMP Parameter Problem message [...]
/// with an ICMP Code value of 1".
#[test]
fn unknown_protocols_and_headers_are_reported() {
    let mut host = tun();
    complains(&mut host, &packet(&header(BAD), b"x"), ParameterCode::UNRECOGNIZED_NEXT_HEADER, 6);
    let bytes = behind(Protocol::DESTINATION_OPTIONS, &[BAD.0, 0, 1, 4, 0, 0, 0, 0]);
    complains(&mut host, &bytes, ParameterCode::UNRECOGNIZED_NEXT_HEADER, 40);
    // RFC 5095: type 0 is an unknown type of routing header.
    let bytes = behind(Protocol::ROUTING, &[Protocol::ICMPV6.0, 0, 0, 1, 0, 0, 0, 0]);
    host.arrives(&bytes);
    let answer = host.sends_one();
    let problem = Header::ParameterProblem { code: ParameterCode::ERRONEOUS_FIELD, pointer: 42 };
    assert_eq!(parse_icmp(&answer).1, problem);
    assert_eq!(host.dropped(Dropped::SourceRoute), 1);
    // ICMP for IPv4 has no business here.
    let v4 = packet(&header(Protocol::ICMP), &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    complains(&mut host, &v4, ParameterCode::UNRECOGNIZED_NEXT_HEADER, 6);
}

/// RFC 4443 3.1: "A destination node SHOULD originate a Destination Unreachable message with Code 4";
/// 2.4 (c): as much of the packet as fits into 1280 bytes.
#[test]
fn a_closed_port_is_reported_with_a_quote() {
    let mut host = tun();
    for length in [0, 10, 1400] {
        let original = datagram(&asked(), (1000, 2000), &vec![7; length]);
        host.arrives(&original);
        let bytes = host.sends_one();
        let (ip, icmp, quote) = parse_icmp(&bytes);
        assert_eq!((ip.source, ip.destination), (US, THEM));
        assert_eq!(icmp, Header::DestinationUnreachable { code: UnreachableCode::PORT });
        assert_eq!(quote, &original[..original.len().min(1232)]);
        assert!(bytes.len() <= 1280);
    }
    assert_eq!(host.sent(Sent::PortUnreachable), 3);
}

/// RFC 4443 2.4 (e): no error about an error, a redirect, or a packet to a group.
#[test]
fn no_error_where_it_could_do_harm() {
    let mut host = tun();
    let unknown_option = [Protocol::ICMPV6.0, 0, 0xfe, 4, 0, 0, 0, 0];
    let about = |kind: u8| {
        let inner = message_bytes(&asked(), &Header::Other { kind, code: 0, rest: [0; 4] }, &[]);
        let ip = ipv6::Header { next_header: Protocol::DESTINATION_OPTIONS, ..asked() };
        packet(&ip, &[&unknown_option[..], &inner].concat())
    };
    for kind in [1, 2, 3, 4, 100, 137] {
        host.drops(&about(kind), Dropped::MalformedExtension);
    }
    host.arrives(&about(128));
    host.sends_one();
    let to_group = ipv6::Header { destination: ALL_NODES, ..asked() };
    host.drops(&datagram(&to_group, (1, 2), b"x"), Dropped::UdpNobody);
    let bad = ipv6::Header { next_header: BAD, ..to_group };
    host.drops(&packet(&bad, b"x"), Dropped::UnknownProtocol);
}

/// RFC 4443 2.4 (f): "an IPv6 node MUST limit the rate of ICMPv6 error messages it originates".
#[test]
fn the_rate_of_errors_is_limited() {
    let mut host = with(Config { icmp_errors_per_second: 50, ..Config::default() });
    let original = packet(&header(BAD), b"x");
    (0..20).for_each(|_| host.arrives(&original));
    assert_eq!(host.sends().len(), 5);
    assert_eq!(host.dropped(Dropped::IcmpRateLimited), 15);
}

/// RFC 4443 2.4 (d): an error "MUST be passed to the upper-layer process".
#[test]
fn errors_reach_the_socket_as_different_errors() {
    let mut host = tun();
    let id = host.stack.udp_bind(at(US, 5000)).unwrap();
    host.stack.udp_connect(id, at(THEM, 7)).unwrap();
    host.stack.udp_send(host.now, id, &[7; 1400]).unwrap();
    let sent = host.sends_one();
    let unreachable = |code| Header::DestinationUnreachable { code };
    let problem = |code| Header::ParameterProblem { code, pointer: 6 };
    let prohibited = UnreachableCode::ADMINISTRATIVELY_PROHIBITED;
    let cases = [
        (unreachable(UnreachableCode::PORT), Error::ConnectionRefused),
        (unreachable(UnreachableCode::ADDRESS), Error::HostUnreachable),
        (unreachable(UnreachableCode::NO_ROUTE), Error::NetworkUnreachable),
        (unreachable(prohibited), Error::Prohibited),
        (Header::PacketTooBig { mtu: 1280 }, Error::MessageTooBig),
        (Header::TimeExceeded { code: TimeExceededCode::IN_TRANSIT }, Error::HostUnreachable),
        (problem(ParameterCode::UNRECOGNIZED_NEXT_HEADER), Error::ProtocolUnreachable),
        (Header::Other { kind: 100, code: 0, rest: [0; 4] }, Error::HostUnreachable),
    ];
    for (icmp, error) in cases {
        host.arrives(&message(&asked(), &icmp, &sent));
        assert_eq!(host.stack.poll_event().unwrap().socket, SocketId::Udp(id));
        assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Err(error), "{icmp}");
    }
    // RFC 5927 4: only about what we may have sent.
    let port = unreachable(UnreachableCode::PORT);
    for at in [23, 39, 41, 43, 6] {
        let mut quote = sent.clone();
        quote[at] ^= 1;
        host.drops(&message(&asked(), &port, &quote), Dropped::IcmpUnsolicited);
    }
    host.drops(&message(&asked(), &port, &sent[..39]), Dropped::MalformedIcmp);
}

#[test]
fn datagrams_go_both_ways() {
    let mut host = tun();
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 7)).unwrap();
    host.arrives(&datagram(&asked(), (1000, 7), b"hello"));
    let mut buffer = [0; 16];
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((5, at(THEM, 1000))));
    host.stack.udp_send_to(host.now, id, b"and back", at(THEM, 1000)).unwrap();
    let bytes = host.sends_one();
    let (ip, udp, payload) = parse_udp(&bytes);
    assert_eq!((ip.source, ip.destination, udp.source_port), (US, THEM, 7));
    assert_eq!(payload, b"and back");
    assert_ne!(ip.flow_label, 0, "RFC 6437 3");
    // A group is heard by whoever is bound to all addresses.
    let to_all = ipv6::Header { destination: ALL_NODES, ..asked() };
    host.arrives(&datagram(&to_all, (1000, 7), b"to all"));
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((6, at(THEM, 1000))));
    assert_eq!(host.stack.udp_bind(at(US, 7)), Err(Error::AddressInUse));
}

#[test]
fn a_ping_gets_its_reply() {
    let mut host = tun();
    let id = host.stack.ping_open(None).unwrap();
    host.stack.ping_send(host.now, id, THEM.into(), 9, b"are you there?").unwrap();
    let bytes = host.sends_one();
    let (ip, icmp, payload) = parse_icmp(&bytes);
    let Header::EchoRequest { identifier, sequence: 9 } = icmp else { panic!("{icmp:?}") };
    assert_eq!((ip.source, ip.destination), (US, THEM));
    host.later_millis(30);
    host.arrives(&message(&asked(), &Header::EchoReply { identifier, sequence: 9 }, payload));
    let reply = PingReply {
        source: THEM.into(),
        sequence: 9,
        ttl: 64,
        payload: b"are you there?".to_vec(),
        received: host.now,
        error: None,
        report: None,
        options: wire::ipv4::Options::NONE,
        times: None,
    };
    assert_eq!(host.stack.ping_receive(id), Ok(reply));
    let unreachable = Header::DestinationUnreachable { code: UnreachableCode::ADDRESS };
    host.arrives(&message(&asked(), &unreachable, &bytes));
    assert_eq!(host.stack.ping_receive(id).unwrap().error, Some(Error::HostUnreachable));
    let bound = host.stack.ping_open(Some(US.into())).unwrap();
    let other_family = host.stack.ping_send(host.now, bound, host::THEM.into(), 1, b"x");
    assert_eq!(other_family, Err(Error::InvalidInput));
}

#[test]
fn the_stack_can_speak_to_itself() {
    let mut host = tun();
    let id = host.stack.ping_open(None).unwrap();
    for address in [US, Ipv6Addr::LOCALHOST] {
        host.stack.ping_send(host.now, id, address.into(), 1, b"me").unwrap();
        host.sends_nothing();
        assert_eq!(host.stack.ping_receive(id).unwrap().source, IpAddr::V6(address));
    }
    let server = host.stack.udp_bind(at(Ipv6Addr::LOCALHOST, 7)).unwrap();
    let to_link = host.stack.udp_send_to(host.now, server, b"x", at(THEM, 7));
    assert_eq!(to_link, Err(Error::NetworkUnreachable));
    // The longest that UDP knows is longer than a packet of IPv4 could be.
    let longest = data(65_527);
    host.stack.udp_send_to(host.now, server, &longest, at(Ipv6Addr::LOCALHOST, 7)).unwrap();
    host.sends_nothing();
    let mut buffer = vec![0; 70_000];
    let (length, _) = host.stack.udp_receive_from(server, &mut buffer).unwrap();
    assert_eq!(&buffer[..length], longest);
}

#[test]
fn impossible_addresses_and_gateways_are_refused() {
    let mut host = tun();
    let mut add =
        |text: &str, len| host.stack.add_address(host.interface, text.parse().unwrap(), len);
    for address in ["::", "::1", "ff02::1"] {
        assert_eq!(add(address, 64), Err(Error::InvalidInput), "{address}");
    }
    assert_eq!(add("fd77::9", 129), Err(Error::InvalidInput));
    assert_eq!(add("fd77::2", 64), Err(Error::AddressInUse));
    let narrow = wire::frame::Capabilities {
        medium: wire::frame::Medium::Ip,
        mtu: 1279,
        checksum: false,
        segmentation: false,
    };
    let narrow = host.stack.add_interface(narrow);
    let added = host.stack.add_address(narrow, "fd78::1".parse().unwrap(), 64);
    assert_eq!(added, Err(Error::InvalidInput), "RFC 8200 5: at least 1280 bytes");
}

#[test]
fn routes_lead_through_gateways_and_the_longest_prefix_counts() {
    let mut host = tun();
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let to_far = |host: &mut Host| host.stack.udp_send_to(host.now, id, b"x", at(FAR, 7));
    assert_eq!(to_far(&mut host), Err(Error::NetworkUnreachable));
    host.stack
        .add_route(host.interface, "2001:db8::".parse().unwrap(), 32, Some(THEM.into()))
        .unwrap();
    assert_eq!(to_far(&mut host), Ok(1));
    let bytes = host.sends_one();
    assert_eq!((parse_ip(&bytes).0.source, parse_ip(&bytes).0.destination), (US, FAR));
    host.stack.remove_route(host.interface, "2001:db8::".parse().unwrap(), 32).unwrap();
    assert_eq!(to_far(&mut host), Err(Error::NetworkUnreachable));
    let gone = host.stack.remove_route(host.interface, "2001:db8::".parse().unwrap(), 32);
    assert_eq!(gone, Err(Error::NetworkUnreachable));
    let mixed = host.stack.add_route(host.interface, FAR.into(), 64, Some(host::THEM.into()));
    assert_eq!(mixed, Err(Error::InvalidInput));
}

/// RFC 6724 5: here the longest common prefix decides.
#[test]
fn the_source_is_chosen_for_its_destination() {
    let mut host = tun();
    let global: Ipv6Addr = "2001:db8:1::5".parse().unwrap();
    host.stack.add_address(host.interface, global.into(), 64).unwrap();
    host.stack.set_gateway(host.interface, THEM.into()).unwrap();
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    for (destination, source) in [(THEM, US), (FAR, global)] {
        host.stack.udp_send_to(host.now, id, b"x", at(destination, 7)).unwrap();
        assert_eq!(parse_ip(&host.sends_one()).0.source, source);
    }
}

/// RFC 6724 4: "For all multicast and link-local destination addresses, the set of candidate source
/// addresses MUST only include addresses assigned to interfaces belonging to the same link as the outgoing
/// interface."
#[test]
fn what_goes_to_a_group_comes_from_an_address_of_its_link() {
    let mut host = tun();
    let second = host.stack.add_interface(wire::frame::Capabilities {
        medium: wire::frame::Medium::Ip,
        mtu: 1500,
        checksum: false,
        segmentation: false,
    });
    let near: Ipv6Addr = "fe80::5".parse().unwrap();
    host.stack.add_address(second, near.into(), 64).unwrap();
    host.sends();
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    host.stack.udp_set_multicast_interface_v6(id, second.scope_id()).unwrap();
    let site: Ipv6Addr = "ff05::7".parse().unwrap();
    host.stack.udp_send_to(host.now, id, b"x", at(site, 7)).unwrap();
    let (ip, _) = parse_ip(&host.sends_one());
    assert_eq!((ip.source, ip.destination), (near, site));
}

proptest! {
    /// No bytes of a peer make the stack panic, on either medium.
    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        first in prop_oneof![
            Just(0_u8), Just(6), Just(17), Just(43), Just(44), Just(58), Just(60), any::<u8>()
        ],
        icmp in proptest::option::of(proptest::collection::vec(any::<u8>(), 8..100)),
        hop_limit in prop_oneof![Just(255_u8), Just(1), any::<u8>()],
        to in prop_oneof![Just(US), Just(ALL_NODES), Just("ff02::1:ff00:2".parse().unwrap())],
        tap: bool,
    ) {
        let mut host = if tap { host::v6::tap() } else { tun() };
        let ip = ipv6::Header { hop_limit, destination: to, ..header(Protocol(first)) };
        let bytes = match icmp {
            Some(mut bytes) => {
                wire::icmpv6::fill_checksum(ip.source, ip.destination, &mut bytes);
                packet(&ipv6::Header { next_header: Protocol::ICMPV6, ..ip }, &bytes)
            }
            None => packet(&ip, &bytes),
        };
        let bytes = match tap {
            true => host::frame(EtherType::IPV6, &bytes),
            false => bytes,
        };
        let frame = FrameBuf::copy_from(&bytes);
        host.stack.handle_frame(host.now, host.interface, frame, ReceiveMeta::default());
        host.sends();
        host.later_millis(70_000);
        host.sends();
    }
}
