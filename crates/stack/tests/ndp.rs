//! Neighbour discovery on Ethernet links (RFC 4861 7), the twin of ARP.

mod host;

use std::net::Ipv6Addr;

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, SocketId, UdpId};
use host::v6::*;
use host::{Host, OUR_HARDWARE, THEIR_HARDWARE, frame, router};
use proptest::prelude::*;
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::{Capabilities, Medium};
use wire::icmpv6;
use wire::ip::Protocol;
use wire::ipv6::{self, solicited_node};
use wire::ndp::{Header, NdpOption};

const MOVED: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x11]);

fn socket(host: &mut Host) -> UdpId {
    host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap()
}

fn say(host: &mut Host, id: UdpId, to: Ipv6Addr, what: &[u8]) {
    host.stack.udp_send_to(host.now, id, what, at(to, 7)).unwrap();
}

/// Somebody asks who has our address.
fn question(source: Ipv6Addr, options: &[NdpOption<'_>]) -> Vec<u8> {
    let header = Header::NeighborSolicitation { target: US };
    ndp_frame((source, solicited_node(US)), header, options)
}

/// They say that they are at `hardware`.
fn answer(hardware: EthernetAddress, is_solicited: bool, is_override: bool) -> Vec<u8> {
    let header =
        Header::NeighborAdvertisement { target: THEM, is_router: false, is_solicited, is_override };
    ndp_frame((THEM, US), header, &[NdpOption::TargetLinkLayer(hardware)])
}

/// What `frame` asks: who has `target`?
#[track_caller]
fn assert_asks(frame: &[u8], target: Ipv6Addr, to: Option<EthernetAddress>) {
    let asked = parse_ndp(frame);
    assert_eq!(asked.header, Header::NeighborSolicitation { target });
    let group = solicited_node(target);
    let (hardware, address) = match to {
        Some(hardware) => (hardware, target),
        None => (EthernetAddress::of_ipv6_group(group), group),
    };
    assert_eq!((asked.ethernet.source, asked.ethernet.destination), (OUR_HARDWARE, hardware));
    assert_eq!((asked.ip.source, asked.ip.destination, asked.ip.hop_limit), (US, address, 255));
    let options: Vec<_> = asked.options().iter().collect();
    assert_eq!(options, [NdpOption::SourceLinkLayer(OUR_HARDWARE)]);
}

#[track_caller]
fn asks(host: &mut Host, target: Ipv6Addr, to: Option<EthernetAddress>) {
    let bytes = host.sends_one();
    assert_asks(&bytes, target, to);
}

/// The stack sends one datagram with `payload` to `hardware`.
#[track_caller]
fn delivers(host: &mut Host, payload: &[u8], hardware: EthernetAddress) {
    let bytes = host.sends_one();
    let (ethernet, packet) = host::parse_frame(&bytes);
    assert_eq!((ethernet.destination, ethernet.ethertype), (hardware, EtherType::IPV6));
    assert_eq!(parse_udp(packet).2, payload);
}

/// RFC 4861 7.2.4.
#[test]
fn a_question_for_us_is_answered() {
    let mut host = tap();
    host.arrives(&question(THEM, &[NdpOption::SourceLinkLayer(THEIR_HARDWARE)]));
    let bytes = host.sends_one();
    let said = parse_ndp(&bytes);
    assert_eq!((said.ethernet.destination, said.ip.destination), (THEIR_HARDWARE, THEM));
    let header = Header::NeighborAdvertisement {
        target: US,
        is_router: false,
        is_solicited: true,
        is_override: true,
    };
    assert_eq!((said.header, said.ip.source), (header, US));
    let options: Vec<_> = said.options().iter().collect();
    assert_eq!(options, [NdpOption::TargetLinkLayer(OUR_HARDWARE)]);
    assert_eq!(host.meta.comment, Sent::NeighborAdvertisement.comment());
    // 7.2.3: who asks is remembered: we will want to answer.
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"at once");
    delivers(&mut host, b"at once", THEIR_HARDWARE);
}

/// RFC 4861 7.1.1, 7.1.2 and 4.6: options of other messages are passed over, and the message is taken.
#[test]
fn options_of_other_messages_are_passed_over() {
    let mut host = ready_tap(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    router::passes(&mut host, 3000);
    let before = (router::addresses(&host), host.stack.dns_servers());
    let stray = [
        NdpOption::Prefix(router::prefix(7200, 7200)),
        NdpOption::Mtu(1280),
        NdpOption::RecursiveDns { lifetime: 60, servers: &[US.octets()] },
        NdpOption::RedirectedHeader(&[0; 6]),
    ];
    let own = [NdpOption::SourceLinkLayer(THEIR_HARDWARE)];
    host.arrives(&question(THEM, &[&stray[..], &own].concat()));
    let said = parse_ndp(&host.sends_one());
    assert!(matches!(said.header, Header::NeighborAdvertisement { target: US, .. }));
    let id = socket(&mut host);
    say(&mut host, id, THEM, &[7; 1452]);
    assert_eq!(host.sends_one().len(), 14 + 1500, "whole, and not in pieces");
    let header = Header::NeighborAdvertisement {
        target: THEM,
        is_router: false,
        is_solicited: true,
        is_override: true,
    };
    let own = [NdpOption::TargetLinkLayer(MOVED)];
    host.arrives(&ndp_frame((THEM, US), header, &[&stray[..], &own].concat()));
    say(&mut host, id, THEM, b"moved");
    delivers(&mut host, b"moved", MOVED);
    router::passes(&mut host, 3000);
    assert_eq!((router::addresses(&host), host.stack.dns_servers()), before);
}

/// RFC 4861 7.2.4: "If the source of the solicitation is the unspecified address, the node MUST set
/// the Solicited flag to zero and multicast the advertisement to the all-nodes address."
#[test]
fn who_is_about_to_take_our_address_hears_of_it_with_all_others() {
    let mut host = tap();
    host.arrives(&question(Ipv6Addr::UNSPECIFIED, &[]));
    let bytes = host.sends_one();
    let said = parse_ndp(&bytes);
    assert_eq!(said.ip.destination, ALL_NODES);
    assert_eq!(said.ethernet.destination, EthernetAddress([0x33, 0x33, 0, 0, 0, 1]));
    assert!(matches!(said.header, Header::NeighborAdvertisement { is_solicited: false, .. }));
}

/// 7.2.2: "While waiting for address resolution to complete, the sender MUST, for each neighbor, retain
/// a small queue of packets".
#[test]
fn the_first_packet_waits_for_the_answer() {
    let mut host = tap();
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"first");
    say(&mut host, id, THEM, b"second");
    asks(&mut host, THEM, None);
    host.arrives(&answer(THEIR_HARDWARE, true, true));
    let frames = host.sends();
    let payloads: Vec<_> = frames.iter().map(|f| parse_udp(host::parse_frame(f).1).2).collect();
    assert_eq!(payloads, [b"first".as_slice(), b"second"]);
}

/// 7.2.2: RETRANS_TIMER apart, MAX_MULTICAST_SOLICIT times; then "the sender MUST return ICMP
/// destination unreachable [...] for each packet queued": here it is an error at the socket.
#[test]
fn a_neighbor_is_asked_once_a_second_three_times_and_then_given_up() {
    let mut host = tap();
    let id = socket(&mut host);
    host.stack.udp_connect(id, at(THEM, 7)).unwrap();
    say(&mut host, id, THEM, b"x");
    for _ in 0..3 {
        asks(&mut host, THEM, None);
        host.later_millis(999);
        host.sends_nothing();
        host.later_millis(1);
    }
    host.sends_nothing();
    assert_eq!(host.dropped(Dropped::NeighborUnresolved), 1);
    assert_eq!(host.stack.udp_take_error(id), Ok(Some(Error::HostUnreachable)));
    assert_eq!(host.stack.poll_event().unwrap().socket, SocketId::Udp(id));
    assert_eq!(host.stack.poll_timeout(), None);
    assert_eq!(host.sent(Sent::NeighborSolicitation), 3);
}

#[test]
fn a_silent_neighbor_blocks_nobody_else() {
    let mut host = tap();
    let id = socket(&mut host);
    say(&mut host, id, OTHER, b"into the void");
    asks(&mut host, OTHER, None);
    say(&mut host, id, THEM, b"heard");
    asks(&mut host, THEM, None);
    host.arrives(&answer(THEIR_HARDWARE, true, true));
    delivers(&mut host, b"heard", THEIR_HARDWARE);
}

/// A host that knows where they are.
fn acquainted() -> (Host, UdpId) {
    let mut host = tap();
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"hello");
    asks(&mut host, THEM, None);
    host.arrives(&answer(THEIR_HARDWARE, true, true));
    delivers(&mut host, b"hello", THEIR_HARDWARE);
    (host, id)
}

/// 7.3.2 and 7.3.3: REACHABLE, STALE, DELAY for five seconds, PROBE by unicast, and REACHABLE again.
#[test]
fn an_old_entry_is_used_and_confirmed_by_unicast() {
    let (mut host, id) = acquainted();
    // Half of 30 s at least: RFC 4861 6.3.2.
    host.later_millis(15_000);
    say(&mut host, id, THEM, b"fresh");
    delivers(&mut host, b"fresh", THEIR_HARDWARE);
    assert_eq!(host.stack.poll_timeout(), None);
    host.later_millis(30_000);
    say(&mut host, id, THEM, b"stale");
    delivers(&mut host, b"stale", THEIR_HARDWARE);
    host.later_millis(4_999);
    host.sends_nothing();
    host.later_millis(1);
    asks(&mut host, THEM, Some(THEIR_HARDWARE));
    say(&mut host, id, THEM, b"meanwhile");
    delivers(&mut host, b"meanwhile", THEIR_HARDWARE);
    host.arrives(&answer(THEIR_HARDWARE, true, true));
    host.later_millis(5_000);
    host.sends_nothing();
    assert_eq!(host.stack.poll_timeout(), None);
}

/// 7.3.3: three unicast probes without an answer; then it is looked for anew.
#[test]
fn a_neighbor_that_left_is_probed_and_looked_for() {
    let (mut host, id) = acquainted();
    host.later_millis(46_000);
    say(&mut host, id, THEM, b"stale");
    delivers(&mut host, b"stale", THEIR_HARDWARE);
    host.later_millis(5_000);
    for _ in 0..3 {
        asks(&mut host, THEM, Some(THEIR_HARDWARE));
        host.later_millis(1_000);
    }
    asks(&mut host, THEM, None);
    host.arrives(&answer(MOVED, true, true));
    say(&mut host, id, THEM, b"found");
    delivers(&mut host, b"found", MOVED);
}

/// 7.2.5, case by case: what an advertisement changes when the address is known.
#[test]
fn advertisements_change_what_their_flags_say() {
    // (solicited, override) of an advertisement with another address; who gets the next packet, and
    // whether that is confirmed after five seconds.
    let table = [
        (false, false, THEIR_HARDWARE, true),
        (true, false, THEIR_HARDWARE, true),
        (false, true, MOVED, true),
        (true, true, MOVED, false),
    ];
    for (is_solicited, is_override, hardware, probed) in table {
        let (mut host, id) = acquainted();
        host.arrives(&answer(MOVED, is_solicited, is_override));
        say(&mut host, id, THEM, b"next");
        delivers(&mut host, b"next", hardware);
        host.later_millis(5_000);
        match probed {
            true => asks(&mut host, THEM, Some(hardware)),
            false => host.sends_nothing(),
        }
    }
}

/// 7.2.5: "If no entry exists, the advertisement SHOULD be silently discarded."
#[test]
fn nobody_is_learned_from_an_advertisement_that_we_did_not_ask_for() {
    let mut host = tap();
    host.drops(&answer(THEIR_HARDWARE, false, true), Dropped::NdpNotForUs);
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"who");
    asks(&mut host, THEM, None);
}

/// 7.2.5: what was asked for was an address; an answer without one is none.
#[test]
fn an_advertisement_without_an_address_answers_nothing() {
    let mut host = tap();
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"first");
    asks(&mut host, THEM, None);
    let header = Header::NeighborAdvertisement {
        target: THEM,
        is_router: false,
        is_solicited: true,
        is_override: true,
    };
    host.drops(&ndp_frame((THEM, US), header, &[]), Dropped::NdpNotForUs);
    host.arrives(&answer(THEIR_HARDWARE, true, true));
    delivers(&mut host, b"first", THEIR_HARDWARE);
}

/// 7.2.3: a question that is none for us teaches nothing.
#[test]
fn a_question_for_another_is_discarded() {
    let mut host = tap();
    let header = Header::NeighborSolicitation { target: OTHER };
    let asked = ndp_frame((THEM, US), header, &[NdpOption::SourceLinkLayer(THEIR_HARDWARE)]);
    host.drops(&asked, Dropped::NdpNotForUs);
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"who");
    asks(&mut host, THEM, None);
}

/// 7.2.3: who asks from another hardware address has it now, and is to confirm it.
#[test]
fn a_question_from_new_hardware_moves_its_sender() {
    let (mut host, id) = acquainted();
    host.arrives(&question(THEM, &[NdpOption::SourceLinkLayer(MOVED)]));
    host.sends_one();
    say(&mut host, id, THEM, b"there");
    delivers(&mut host, b"there", MOVED);
    host.later_millis(5_000);
    asks(&mut host, THEM, Some(MOVED));
}

/// 6.1.1: a host does not answer for routers.
#[test]
fn router_solicitations_are_discarded() {
    let mut host = tap();
    let option = NdpOption::SourceLinkLayer(THEIR_HARDWARE);
    let asked = ndp_frame((THEM, US), Header::RouterSolicitation, &[option]);
    host.drops(&asked, Dropped::IcmpIgnored);
}

/// 7.1.1 and 7.1.2: each reason to discard a message.
#[test]
fn messages_that_may_not_be_believed_are_dropped() {
    let mut host = tap();
    let good = question(THEM, &[NdpOption::SourceLinkLayer(THEIR_HARDWARE)]);
    let reseal = |mut bytes: Vec<u8>, change: &dyn Fn(&mut [u8])| {
        change(&mut bytes);
        let (source, destination) = (THEM, solicited_node(US));
        icmpv6::fill_checksum(source, destination, &mut bytes[54..]);
        bytes
    };
    // The hop limit: it may come from beyond the link.
    host.drops(&reseal(good.clone(), &|bytes| bytes[21] = 254), Dropped::MalformedNdp);
    // The code, a group as the target, an option without length.
    host.drops(&reseal(good.clone(), &|bytes| bytes[55] = 1), Dropped::MalformedNdp);
    host.drops(&reseal(good.clone(), &|bytes| bytes[62] = 0xff), Dropped::MalformedNdp);
    host.drops(&reseal(good.clone(), &|bytes| bytes[79] = 0), Dropped::MalformedNdp);
    let mut unsummed = good;
    unsummed[56] ^= 1;
    host.drops(&unsummed, Dropped::IcmpChecksum);
    // RFC 6980: nothing of it comes in fragments.
    let message = vec![135; 24];
    let fragment = ipv6::Fragment {
        next_header: Protocol::ICMPV6,
        offset: 0,
        more_fragments: true,
        identification: 1,
    };
    let ip = ipv6::Header { hop_limit: 255, ..header(Protocol::FRAGMENT) };
    let payload = [&fragment.to_bytes()[..], &message].concat();
    host.arrives(&frame(EtherType::IPV6, &packet(&ip, &payload)));
    host.sends_nothing();
}

#[test]
fn groups_need_no_neighbor() {
    let mut host = tap();
    let id = socket(&mut host);
    say(&mut host, id, ALL_NODES, b"everybody");
    delivers(&mut host, b"everybody", EthernetAddress([0x33, 0x33, 0, 0, 0, 1]));
}

#[test]
fn what_is_beyond_goes_to_the_gateway() {
    let mut host = tap();
    host.stack.set_gateway(host.interface, THEM.into()).unwrap();
    let id = socket(&mut host);
    say(&mut host, id, FAR, b"far");
    asks(&mut host, THEM, None);
    host.arrives(&answer(THEIR_HARDWARE, true, true));
    delivers(&mut host, b"far", THEIR_HARDWARE);
}

/// A link-local peer is reached by the scope of its address, and shows it.
#[test]
fn a_link_local_peer_has_a_scope() {
    let mut host = tap();
    let peer: Ipv6Addr = "fe80::1".parse().unwrap();
    let ours = host.stack.addresses(host.interface).map(|(address, _)| address);
    let ours = ours.filter_map(|address| match address {
        std::net::IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
        _ => None,
    });
    let ours = ours.last().expect("it came with the first address");
    let scope = host.interface.scope_id();
    let scoped = std::net::SocketAddrV6::new(peer, 7, 0, scope).into();
    let id = socket(&mut host);
    let nowhere = std::net::SocketAddrV6::new(peer, 7, 0, 9).into();
    let sent = host.stack.udp_send_to(host.now, id, b"x", nowhere);
    assert_eq!(sent, Err(Error::NetworkUnreachable));
    host.stack.udp_send_to(host.now, id, b"here", scoped).unwrap();
    let asked = parse_ndp(&host.sends_one());
    assert_eq!((asked.ip.source, asked.ip.destination), (ours, solicited_node(peer)));
    let header = Header::NeighborAdvertisement {
        target: peer,
        is_router: true,
        is_solicited: true,
        is_override: true,
    };
    let option = NdpOption::TargetLinkLayer(THEIR_HARDWARE);
    host.arrives(&ndp_frame((peer, ours), header, &[option]));
    let bytes = host.sends_one();
    let (ip, udp, _) = parse_udp(host::parse_frame(&bytes).1);
    let back = ipv6::Header { source: peer, destination: ours, ..ip };
    let reply = datagram(&back, (7, udp.source_port), b"there");
    host.arrives(&frame(EtherType::IPV6, &reply));
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Ok((5, scoped)));
}

/// A flood of neighbours leaves room for those whom we speak to.
#[test]
fn a_flood_of_neighbors_keeps_nobody_out() {
    let config = Config { duplicate_address_probes: 0, neighbor_limit: 8, ..Config::default() };
    let mut host = tap_with(config);
    host.stack.add_address(host.interface, US.into(), 64).unwrap();
    for n in 10..100 {
        let source = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, n);
        host.arrives(&question(source, &[NdpOption::SourceLinkLayer(MOVED)]));
        host.sends();
    }
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"x");
    asks(&mut host, THEM, None);
    host.arrives(&answer(THEIR_HARDWARE, true, true));
    delivers(&mut host, b"x", THEIR_HARDWARE);
}

proptest! {
    /// Whatever neighbours say, nothing panics, and who is asked in vain is given up.
    #[test]
    fn any_messages_are_survived(
        steps in proptest::collection::vec((0..6_u8, any::<[u8; 3]>(), 0..8_000_u64), 0..60),
    ) {
        let mut host = tap();
        let id = socket(&mut host);
        for (kind, bits, millis) in steps {
            let source = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(bits[0] % 8));
            let hardware = EthernetAddress([2, 0, 0, 0, 1, bits[1] % 4]);
            let target = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(bits[1] % 8));
            let frame = match kind {
                0 | 1 => ndp_frame(
                    (source, solicited_node(target)),
                    Header::NeighborSolicitation { target },
                    &[NdpOption::SourceLinkLayer(hardware)],
                ),
                2 | 3 => ndp_frame(
                    (source, if bits[2] & 1 == 0 { US } else { ALL_NODES }),
                    Header::NeighborAdvertisement {
                        target,
                        is_router: bits[2] & 2 != 0,
                        is_solicited: bits[2] & 5 == 4,
                        is_override: bits[2] & 8 != 0,
                    },
                    &[NdpOption::TargetLinkLayer(hardware)],
                ),
                _ => {
                    let sent = host.stack.udp_send_to(host.now, id, b"x", at(target, 7));
                    prop_assert!(matches!(
                        sent,
                        Ok(1) | Err(Error::WouldBlock | Error::NetworkUnreachable)
                    ), "{sent:?}");
                    host.sends();
                    host.later_millis(millis);
                    continue;
                }
            };
            host.arrives(&frame);
            host.sends();
            host.later_millis(millis);
        }
        for _ in 0..20 {
            host.later_millis(1000);
            host.sends();
        }
        prop_assert_eq!(host.stack.poll_timeout(), None);
    }
}

/// RFC 4861 7.2.2: "If the source address of the packet prompting the solicitation is the same as one of the
/// addresses assigned to the outgoing interface, that address SHOULD be placed in the IP Source Address of
/// the outgoing solicitation." Else one of the interface's own.
#[test]
fn a_question_comes_from_the_address_of_the_packet_that_waits() {
    let second: Ipv6Addr = "2001:db8::2".parse().unwrap();
    for (bound, expected) in [(US, US), (second, second), (Ipv6Addr::UNSPECIFIED, US)] {
        let mut host = tap();
        host.stack.add_address(host.interface, second.into(), 64).unwrap();
        router::passes(&mut host, 3000);
        let id = host.stack.udp_bind(at(bound, 0)).unwrap();
        say(&mut host, id, THEM, b"first");
        // What waits beside it changes nothing.
        let other = host.stack.udp_bind(at(second, 0)).unwrap();
        say(&mut host, other, THEM, b"second");
        let asked = parse_ndp(&host.sends_one());
        assert_eq!(asked.header, Header::NeighborSolicitation { target: THEM });
        assert_eq!(asked.ip.source, expected);
        // Asked again it is the same.
        host.later_millis(1000);
        assert_eq!(parse_ndp(&host.sends_one()).ip.source, expected);
    }
    // The packet is sent from an address of another link.
    let mut host = tap();
    let capabilities =
        Capabilities { medium: Medium::Ip, mtu: 1500, checksum: false, segmentation: false };
    let elsewhere = host.stack.add_interface(capabilities);
    host.stack.add_address(elsewhere, second.into(), 64).unwrap();
    let id = host.stack.udp_bind(at(second, 0)).unwrap();
    say(&mut host, id, THEM, b"from elsewhere");
    asks(&mut host, THEM, None);
}
