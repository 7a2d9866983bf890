//! What routers say of themselves and of the link: RFC 4861 6.3, RFC 4191.

mod host;

use std::net::Ipv6Addr;

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, TcpOptions};
use host::router::*;
use host::v6::*;
use host::{Host, OUR_HARDWARE, THEIR_HARDWARE, frame};
use wire::ethernet::{EtherType, EthernetAddress};
use wire::ip::Protocol;
use wire::ipv6;
use wire::ndp::{Header, NdpOption, Preference, PrefixInformation, RouterAdvertisement};

/// RFC 4861 6.3.7: three solicitations four seconds apart, until a router answers.
#[test]
fn routers_are_asked_until_one_answers() {
    let solicitations = |frames: &[Vec<u8>]| {
        let said = discovery(frames);
        let asks = said.into_iter().filter(|said| said.header == Header::RouterSolicitation);
        let asks = asks.inspect(|said| {
            let options: Vec<_> = said.options().iter().collect();
            assert_eq!(options, [NdpOption::SourceLinkLayer(OUR_HARDWARE)]);
        });
        asks.map(|said| (said.ip.source, said.ip.destination)).collect::<Vec<_>>()
    };
    let mut host = tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    let own = addresses(&host)[0];
    let asked = solicitations(&passes(&mut host, 20_000));
    assert_eq!(asked, [(own, ipv6::group::ALL_ROUTERS); 3]);
    let mut host = tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    assert_eq!(solicitations(&passes(&mut host, 2200)).len(), 1);
    advertise(&mut host, ROUTER, advertisement(1800), None);
    assert_eq!(solicitations(&passes(&mut host, 20_000)).len(), 0);
    assert_eq!(host.sent(Sent::RouterSolicitation), 1);
}

/// RFC 4861 6.3.7: they are four seconds apart even when nobody took a turn for a minute.
#[test]
fn a_host_that_slept_does_not_ask_routers_in_a_burst() {
    let mut host = tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 2200);
    assert_eq!(host.sent(Sent::RouterSolicitation), 1);
    host.later_millis(60_000);
    for expected in [2, 2, 2, 2, 3] {
        host.sends();
        assert_eq!(host.sent(Sent::RouterSolicitation), expected);
        host.later_millis(1000);
    }
}

/// RFC 4862 5.5.3: an address of the advertised prefix, with a route to its link and one beyond.
#[test]
fn a_router_gives_an_address_and_routes() {
    let mut host = configured();
    let own = global(&host).unwrap();
    assert_eq!(own.segments()[..4], PREFIX.segments()[..4]);
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let far: Ipv6Addr = "2606::1".parse().unwrap();
    host.stack.udp_send_to(host.now, id, b"far", at(far, 7)).unwrap();
    let bytes = host.sends_one();
    let (ethernet, packet) = host::parse_frame(&bytes);
    assert_eq!(ethernet.destination, THEIR_HARDWARE, "the router said where it is");
    assert_eq!(parse_udp(packet).0.source, own);
    // A host of the prefix is on the link.
    let near: Ipv6Addr = "2001:db8:7:7::99".parse().unwrap();
    host.stack.udp_send_to(host.now, id, b"near", at(near, 7)).unwrap();
    let asked = parse_ndp(&host.sends_one());
    assert_eq!(asked.header, Header::NeighborSolicitation { target: near });
}

/// RFC 4861 6.3.4, 6.3.5: hosts of a prefix are on the link while it is valid. An advertisement that
/// says nothing of that (4.6.2) changes nothing.
#[test]
fn a_prefix_is_on_the_link_while_it_is_valid() {
    let other = |valid_lifetime, on_link| PrefixInformation {
        prefix: "2001:db8:9:9::".parse().unwrap(),
        on_link,
        autonomous: false,
        ..prefix(valid_lifetime, 0)
    };
    let mut host = configured();
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let mut last = 0;
    let mut is_near = |host: &mut Host| {
        last += 1;
        let peer = Ipv6Addr::new(0x2001, 0xdb8, 9, 9, 0, 0, 0, last);
        host.stack.udp_send_to(host.now, id, b"x", at(peer, 7)).unwrap();
        let asks_for_it = |frame: &Vec<u8>| {
            let (ip, _) = parse_ip(host::parse_frame(frame).1);
            let asked = Header::NeighborSolicitation { target: peer };
            ip.next_header == Protocol::ICMPV6 && parse_ndp(frame).header == asked
        };
        host.sends().iter().any(asks_for_it)
    };
    assert!(!is_near(&mut host));
    advertise(&mut host, ROUTER, advertisement(1800), Some(other(600, true)));
    assert!(is_near(&mut host));
    advertise(&mut host, ROUTER, advertisement(1800), Some(other(0, false)));
    assert!(is_near(&mut host));
    advertise(&mut host, ROUTER, advertisement(1800), Some(other(0, true)));
    assert!(!is_near(&mut host));
    advertise(&mut host, ROUTER, advertisement(1800), Some(other(600, true)));
    passes(&mut host, 599_900);
    assert!(is_near(&mut host));
    host.later_millis(100);
    assert!(!is_near(&mut host));
}

/// RFC 4861 6.3.4: a router says how far apart questions about a neighbour are; zero says nothing, and
/// what would be a flood, or no end, is bounded.
#[test]
fn a_router_says_how_far_apart_questions_are() {
    let near: Ipv6Addr = "2001:db8:7:7::99".parse().unwrap();
    for (retransmit_time, apart) in [(250, 250), (0, 1000), (1, 100), (u32::MAX, 10_000)] {
        let mut host = configured();
        let said = RouterAdvertisement { retransmit_time, ..advertisement(1800) };
        advertise(&mut host, ROUTER, said, None);
        let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        host.stack.udp_send_to(host.now, id, b"x", at(near, 7)).unwrap();
        let asks = |host: &mut Host| {
            let question = Header::NeighborSolicitation { target: near };
            discovery(&host.sends()).iter().filter(|said| said.header == question).count()
        };
        for _ in 0..3 {
            assert_eq!(asks(&mut host), 1);
            host.later_millis(apart - 1);
            assert_eq!(asks(&mut host), 0, "{retransmit_time}");
            host.later_millis(1);
        }
        assert_eq!(asks(&mut host), 0);
        assert_eq!(host.dropped(Dropped::NeighborUnresolved), 1);
    }
}

/// RFC 4861 6.3.4: a router says how long neighbours count as reachable; zero says nothing.
#[test]
fn a_router_says_how_long_neighbors_are_reachable() {
    let near: Ipv6Addr = "2001:db8:7:7::99".parse().unwrap();
    for (reachable_time, trusted) in [(200_000, true), (0, true), (1000, false)] {
        let mut host = configured();
        let said = RouterAdvertisement { reachable_time: 200_000, ..advertisement(1800) };
        advertise(&mut host, ROUTER, said, None);
        let said = RouterAdvertisement { reachable_time, ..advertisement(1800) };
        advertise(&mut host, ROUTER, said, None);
        let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        host.stack.udp_send_to(host.now, id, b"x", at(near, 7)).unwrap();
        host.sends();
        let header = Header::NeighborAdvertisement {
            target: near,
            is_router: false,
            is_solicited: true,
            is_override: true,
        };
        let option = NdpOption::TargetLinkLayer(EthernetAddress([2, 0, 0, 0, 0, 9]));
        host.arrives(&ndp_frame((near, global(&host).unwrap()), header, &[option]));
        host.sends_one();
        // Half of 200 s at least.
        host.later_millis(90_000);
        host.stack.udp_send_to(host.now, id, b"x", at(near, 7)).unwrap();
        host.sends();
        host.later_millis(5_000);
        assert_eq!(host.sends().is_empty(), trusted, "{reachable_time}");
    }
}

/// RFC 4861 6.3.4: the MTU of the link, never less than 1280.
#[test]
fn a_router_says_what_the_link_takes() {
    let mut host = configured();
    let mtu_of = |host: &mut Host| {
        let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        host.stack.udp_send_to(host.now, id, &[0; 1400], at(ALL_NODES, 7)).unwrap();
        host.sends().iter().map(|frame| frame.len() - 14).max().unwrap()
    };
    assert_eq!(mtu_of(&mut host), 1448);
    for (mtu, longest) in [(1279, 1448), (1280, 1280), (9000, 1448)] {
        let options = [NdpOption::Mtu(mtu)];
        let header = Header::RouterAdvertisement(advertisement(1800));
        host.arrives(&ndp_frame((ROUTER, ALL_NODES), header, &options));
        assert_eq!(mtu_of(&mut host), longest, "{mtu}");
    }
}

/// RFC 4861 6.3.4: a router says how far packets are to come, of every protocol, unless the program says
/// so itself; zero says nothing.
#[test]
fn a_router_says_how_far_packets_are_to_come() {
    let near: Ipv6Addr = "2001:db8:7:7::99".parse().unwrap();
    let mut host = configured();
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let hops = |host: &mut Host| {
        host.stack.udp_send_to(host.now, id, b"x", at(near, 7)).unwrap();
        let frames = host.sends();
        let mut ip = frames.iter().filter_map(|frame| ipv6::Header::parse(&frame[14..]).ok());
        ip.next_back().map(|(ip, _)| ip.hop_limit)
    };
    host.stack.udp_send_to(host.now, id, b"who?", at(near, 7)).unwrap();
    host.sends();
    let answer = Header::NeighborAdvertisement {
        target: near,
        is_router: false,
        is_solicited: false,
        is_override: true,
    };
    let option = NdpOption::TargetLinkLayer(THEIR_HARDWARE);
    host.arrives(&ndp_frame((near, ALL_NODES), answer, &[option]));
    let said = |host: &mut Host, hop_limit| {
        let said = RouterAdvertisement { hop_limit, ..advertisement(1800) };
        advertise(host, ROUTER, said, None);
        hops(host).unwrap()
    };
    assert_eq!(said(&mut host, 33), 33);
    assert_eq!(said(&mut host, 0), 33);
    assert_eq!(said(&mut host, 255), 255);
    // An answer to an echo request, and a reset for nobody.
    let us = global(&host).unwrap();
    let to_us = |protocol| ipv6::Header { source: near, destination: us, ..header(protocol) };
    let request = frame(EtherType::IPV6, &echo(&to_us(Protocol::ICMPV6), b"echo"));
    host.arrives(&request);
    let (ip, _) = ipv6::Header::parse(&host.sends_one()[14..]).unwrap();
    assert_eq!(ip.hop_limit, 255);
    let options = TcpOptions { ttl: Some(7), ..TcpOptions::default() };
    for (options, expected) in [(TcpOptions::default(), 255), (options, 7)] {
        let id = host.stack.connect(host.now, None, at(near, 80), options).unwrap();
        assert_eq!(host.stack.tcp_ttl(id), Ok(expected));
        let frame = host.sends_one();
        let (ip, _) = ipv6::Header::parse(&frame[14..]).unwrap();
        assert_eq!((ip.next_header, ip.hop_limit), (Protocol::TCP, expected));
    }
    // What the program set stays, until it is taken back.
    host.stack.udp_set_ttl(id, Some(9)).unwrap();
    assert_eq!(said(&mut host, 100), 9);
    assert_eq!(host.stack.udp_ttl(id), Ok(9));
    host.stack.udp_set_ttl(id, None).unwrap();
    assert_eq!(hops(&mut host), Some(100));
    // It is told, of a peer; nobody knows whom the next datagram goes to else.
    assert_eq!(host.stack.udp_ttl(id), Ok(64));
    host.stack.udp_connect(id, at(near, 7)).unwrap();
    assert_eq!(host.stack.udp_ttl(id), Ok(100));
}

/// RFC 4861 6.3.4: "a Lifetime of 0 indicates that the router is not a default router".
#[test]
fn a_router_leaves_when_it_says_so_and_when_its_time_is_over() {
    let far = at("2606::1".parse().unwrap(), 7);
    for says_so in [true, false] {
        let mut host = configured();
        let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let send = |host: &mut Host| host.stack.udp_send_to(host.now, id, b"x", far);
        assert_eq!(send(&mut host), Ok(1));
        match says_so {
            true => advertise(&mut host, ROUTER, advertisement(0), None),
            false => host.later_millis(1_800_000),
        }
        assert_eq!(send(&mut host), Err(Error::NetworkUnreachable));
    }
}

/// RFC 4861 7.2.5: who advertises itself and is no router any more is none of our default routers.
#[test]
fn a_router_that_became_a_host_is_none() {
    let mut host = configured();
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let far = at("2606::1".parse().unwrap(), 7);
    let send = |host: &mut Host| host.stack.udp_send_to(host.now, id, b"x", far);
    let says = |is_router| {
        let header = Header::NeighborAdvertisement {
            target: ROUTER,
            is_router,
            is_solicited: false,
            is_override: true,
        };
        ndp_frame((ROUTER, ALL_NODES), header, &[NdpOption::TargetLinkLayer(THEIR_HARDWARE)])
    };
    host.arrives(&says(true));
    assert_eq!(send(&mut host), Ok(1));
    // 7.2.3: what it asks says nothing of that, and is answered.
    let target = global(&host).unwrap();
    let header = Header::NeighborSolicitation { target };
    let option = NdpOption::SourceLinkLayer(THEIR_HARDWARE);
    host.arrives(&ndp_frame((ROUTER, wire::ipv6::solicited_node(target)), header, &[option]));
    assert_eq!(send(&mut host), Ok(1));
    host.arrives(&says(false));
    assert_eq!(send(&mut host), Err(Error::NetworkUnreachable));
}

/// RFC 4191 3.2: the preference decides, and the next takes over. A gateway that the program set comes
/// before all.
#[test]
fn the_most_preferred_router_is_used() {
    let other: Ipv6Addr = "fe80::9".parse().unwrap();
    let mut host = configured();
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let far = at("2606::1".parse().unwrap(), 7);
    let asked_for = |host: &mut Host| {
        host.stack.udp_send_to(host.now, id, b"x", far).unwrap();
        // Behind a question whether an old neighbour is still there.
        host::parse_frame(host.sends().last().unwrap()).0.destination
    };
    let high = RouterAdvertisement { preference: Preference::High, ..advertisement(100) };
    let hardware = EthernetAddress([2, 0, 0, 0, 0, 9]);
    let option = NdpOption::SourceLinkLayer(hardware);
    host.arrives(&ndp_frame((other, ALL_NODES), Header::RouterAdvertisement(high), &[option]));
    assert_eq!(asked_for(&mut host), hardware);
    host.later_millis(100_000);
    assert_eq!(asked_for(&mut host), THEIR_HARDWARE);
    host.stack.set_gateway(host.interface, "fe80::77".parse().unwrap()).unwrap();
    host.arrives(&ndp_frame((other, ALL_NODES), Header::RouterAdvertisement(high), &[option]));
    assert_eq!(
        asked_for(&mut host),
        EthernetAddress::of_ipv6_group("ff02::1:ff00:77".parse().unwrap())
    );
}

#[test]
fn tables_that_routers_fill_are_bounded() {
    let mut host = configured();
    for n in 0..200 {
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n);
        let other = PrefixInformation {
            prefix: Ipv6Addr::new(0x2001, 0xdb8, 8, n, 0, 0, 0, 0),
            ..prefix(24 * HOUR, 4 * HOUR)
        };
        advertise(&mut host, router, advertisement(1800), Some(other));
    }
    passes(&mut host, 3000);
    assert!(addresses(&host).len() <= 18, "{}", addresses(&host).len());
}

/// Whom a datagram that is sent now goes to, or who is asked for, in the first frame; nobody while an
/// answer is waited for.
fn first_hop(host: &mut Host) -> Option<Ipv6Addr> {
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    host.stack.udp_send_to(host.now, id, b"x", at(FAR, 9)).unwrap();
    host.stack.udp_close(id).unwrap();
    let frame = host.sends().into_iter().next()?;
    let (ethernet, packet) = host::parse_frame(&frame);
    Some(match parse_ip(packet).0.next_header {
        Protocol::UDP => hop_of(ethernet.destination),
        _ => match parse_ndp(&frame).header {
            Header::NeighborSolicitation { target } => target,
            other => panic!("{other:?}"),
        },
    })
}

fn hop_of(hardware: EthernetAddress) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, hardware.0[5].into())
}

/// The router fe80::`n` speaks of itself.
fn router_speaks(host: &mut Host, n: u8, preference: Preference) -> Ipv6Addr {
    let router = hop_of(EthernetAddress([2, 0, 0, 0, 0, n]));
    let option = NdpOption::SourceLinkLayer(EthernetAddress([2, 0, 0, 0, 0, n]));
    let said = RouterAdvertisement { preference, ..advertisement(1800) };
    let header = Header::RouterAdvertisement(said);
    host.arrives(&ndp_frame((router, ALL_NODES), header, &[option]));
    router
}

/// RFC 4861 6.3.6: "Routers that are reachable or probably reachable [...] SHOULD be preferred over
/// routers whose reachability is unknown or suspect", and 7.3.3: packets are not lost for ever to a
/// router that is dead.
#[test]
fn a_dead_router_is_left_for_another() {
    let mut host = tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 2500);
    advertise(&mut host, ROUTER, advertisement(0), Some(prefix(24 * HOUR, 4 * HOUR)));
    passes(&mut host, 2500);
    let first = router_speaks(&mut host, 4, Preference::High);
    let second = router_speaks(&mut host, 5, Preference::Low);
    assert_eq!(first_hop(&mut host), Some(first));
    // It was never heard to answer: after five seconds it is asked, three times, a second apart.
    let mut last = Some(first);
    let mut waited = 0;
    while last == Some(first) && waited < 20 {
        passes(&mut host, 1000);
        waited += 1;
        last = first_hop(&mut host);
    }
    assert_eq!((last, waited), (Some(second), 8));
    // It speaks again: it is there.
    router_speaks(&mut host, 4, Preference::High);
    assert_eq!(first_hop(&mut host), Some(first));
}

/// "When no routers on the list are known to be reachable or probably reachable, routers SHOULD be
/// selected in a round-robin fashion".
#[test]
fn dead_routers_are_tried_in_turn() {
    let mut host = tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 2500);
    advertise(&mut host, ROUTER, advertisement(0), Some(prefix(24 * HOUR, 4 * HOUR)));
    passes(&mut host, 2500);
    for n in 4..=6 {
        router_speaks(&mut host, n, Preference::Medium);
    }
    let mut used = Vec::new();
    for _ in 0..60 {
        let hop = first_hop(&mut host);
        // Once all are forgotten, what waits has them asked for.
        let asked = discovery(&passes(&mut host, 1000)).into_iter().filter_map(|said| {
            let to_group = said.ip.destination.is_multicast();
            match said.header {
                Header::NeighborSolicitation { target } if to_group => Some(target),
                _ => None,
            }
        });
        for hop in hop.into_iter().chain(asked) {
            if used.last() != Some(&hop) {
                used.push(hop);
            }
        }
    }
    let hop = |n: u8| hop_of(EthernetAddress([2, 0, 0, 0, 0, n]));
    assert_eq!(used[..6], [4, 5, 6, 4, 5, 6].map(hop));
}

/// When the first router solicitation of a host with this seed leaves, in milliseconds after it began to
/// configure itself; its address by hand needs no detection where `by_hand`.
fn first_solicitation(seed: u8, by_hand: bool) -> u64 {
    let config = Config { duplicate_address_probes: u8::from(!by_hand), ..Config::default() };
    let mut host = tap_with_seed(config, seed);
    if by_hand {
        host.stack.add_address(host.interface, US.into(), 64).unwrap();
        host.later_millis(0);
        host.sends();
    }
    host.stack.autoconfigure(host.interface).unwrap();
    for millis in 0..3000 {
        host.later_millis(u64::from(millis > 0));
        host.sends();
        if host.sent(Sent::RouterSolicitation) > 0 {
            return millis;
        }
    }
    panic!("nobody was asked");
}

/// RFC 4861 6.3.7: a random time of up to MAX_RTR_SOLICITATION_DELAY before the first solicitation, once:
/// "there is no need to delay again" after that of duplicate address detection, which lasts a second.
#[test]
fn the_first_solicitation_waits_for_a_random_time() {
    for (by_hand, least, most) in [(true, 0, 1001), (false, 1000, 2001)] {
        let mut waits: Vec<_> = (0..40).map(|seed| first_solicitation(seed, by_hand)).collect();
        assert!(waits.iter().all(|wait| (least..=most).contains(wait)), "{waits:?}");
        waits.sort_unstable();
        assert!(waits[0] < least + 150 && waits[39] > most - 150, "all of it is used: {waits:?}");
        waits.dedup();
        assert!(waits.len() > 35, "hosts that begin together do not ask together: {waits:?}");
    }
}

/// RFC 4861 6.3.7: "a host SHOULD send at least one solicitation in the case where an advertisement is
/// received prior to having sent a solicitation", and then MUST desist.
#[test]
fn who_has_heard_a_router_asks_once() {
    for heard_after in [0, 500, 1000] {
        let mut host = tap_with(Config::default());
        host.stack.autoconfigure(host.interface).unwrap();
        passes(&mut host, heard_after);
        assert_eq!(host.sent(Sent::RouterSolicitation), 0);
        advertise(&mut host, ROUTER, advertisement(1800), None);
        passes(&mut host, 20_000);
        assert_eq!(host.sent(Sent::RouterSolicitation), 1, "{heard_after}");
    }
}

/// RFC 4861 6.3.4: the address that an advertisement brings is STALE: it is used, and its router asked
/// whether it hears us.
#[test]
fn a_router_that_advertised_itself_is_to_confirm_that_it_hears_us() {
    let mut host = configured();
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    host.stack.udp_send_to(host.now, id, b"far", at(FAR, 7)).unwrap();
    let bytes = host.sends_one();
    assert_eq!(host::parse_frame(&bytes).0.destination, THEIR_HARDWARE);
    host.later_millis(4_999);
    host.sends_nothing();
    host.later_millis(1);
    let asked = parse_ndp(&host.sends_one());
    assert_eq!(asked.header, Header::NeighborSolicitation { target: ROUTER });
    assert_eq!((asked.ethernet.destination, asked.ip.destination), (THEIR_HARDWARE, ROUTER));
    // Who was confirmed meanwhile is not asked, whatever it advertises then.
    let header = Header::NeighborAdvertisement {
        target: ROUTER,
        is_router: true,
        is_solicited: true,
        is_override: true,
    };
    let option = NdpOption::TargetLinkLayer(THEIR_HARDWARE);
    host.arrives(&ndp_frame((ROUTER, asked.ip.source), header, &[option]));
    advertise(&mut host, ROUTER, advertisement(1800), None);
    host.stack.udp_send_to(host.now, id, b"far", at(FAR, 7)).unwrap();
    host.sends_one();
    host.later_millis(10_000);
    host.sends_nothing();
}

/// RFC 6724 5, rule 5.5: through each router from the address of the prefix that it advertised, whichever
/// is more like the destination.
#[test]
fn each_router_gets_what_comes_from_its_own_prefix() {
    const SECOND: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    let other = PrefixInformation {
        prefix: "2606:0:7:7::".parse().unwrap(),
        ..prefix(24 * HOUR, 4 * HOUR)
    };
    let source_through = |first: Preference, second: Preference| {
        let mut host = configured();
        let said = |preference| RouterAdvertisement { preference, ..advertisement(1800) };
        advertise(&mut host, ROUTER, said(first), Some(prefix(24 * HOUR, 4 * HOUR)));
        advertise(&mut host, SECOND, said(second), Some(other));
        passes(&mut host, 2500);
        let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let mut sources = Vec::new();
        for far in ["2606::1", "2001:db8::1"] {
            host.stack.udp_connect(id, at(far.parse().unwrap(), 9)).unwrap();
            let std::net::IpAddr::V6(source) = host.stack.udp_local(id).unwrap().ip() else {
                panic!("of the other family");
            };
            sources.push(source.segments()[0]);
        }
        sources
    };
    assert_eq!(source_through(Preference::High, Preference::Medium), [0x2001; 2]);
    assert_eq!(source_through(Preference::Medium, Preference::High), [0x2606; 2]);
}
