//! Addresses that make themselves: RFC 4862, RFC 7217, RFC 4861 6.3, RFC 9777.

mod host;

use std::net::{IpAddr, Ipv6Addr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{AddressChange, AddressFate, Config, Error};
use host::v6::*;
use host::{Host, OUR_HARDWARE, THEIR_HARDWARE};
use wire::ethernet::EthernetAddress;
use wire::ip::Protocol;
use wire::ipv6::{self, solicited_node};
use wire::membership::RecordKind;
use wire::mld;
use wire::ndp::{Header, NdpOption, Preference, PrefixInformation, RouterAdvertisement};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 7, 0, 0, 0, 0);
const HOUR: u32 = 3600;

fn advertisement(lifetime: u16) -> RouterAdvertisement {
    RouterAdvertisement {
        hop_limit: 64,
        managed: false,
        other_configuration: false,
        preference: Preference::Medium,
        router_lifetime: lifetime,
        reachable_time: 0,
        retransmit_time: 0,
    }
}

fn prefix(valid: u32, preferred: u32) -> PrefixInformation {
    PrefixInformation {
        prefix: PREFIX,
        prefix_len: 64,
        on_link: true,
        autonomous: true,
        valid_lifetime: valid,
        preferred_lifetime: preferred,
    }
}

fn advertise(
    host: &mut Host,
    router: Ipv6Addr,
    said: RouterAdvertisement,
    prefix: Option<PrefixInformation>,
) {
    let mut options = vec![NdpOption::SourceLinkLayer(THEIR_HARDWARE)];
    options.extend(prefix.map(NdpOption::Prefix));
    let header = Header::RouterAdvertisement(said);
    host.arrives(&ndp_frame((router, ALL_NODES), header, &options));
}

/// Time passes in small steps, with all that is sent meanwhile.
fn passes(host: &mut Host, millis: u64) -> Vec<Vec<u8>> {
    let mut frames = host.sends();
    for _ in 0..millis.div_ceil(100) {
        host.later_millis(100);
        frames.extend(host.sends());
    }
    frames
}

fn addresses(host: &Host) -> Vec<Ipv6Addr> {
    let addresses = host.stack.addresses(host.interface);
    let v6 = addresses.filter_map(|(address, _)| match address {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    });
    v6.collect()
}

fn changes(host: &mut Host) -> Vec<(Ipv6Addr, AddressFate)> {
    let mut changes = Vec::new();
    while let Some(AddressChange { address, fate, .. }) = host.stack.poll_address_change() {
        let IpAddr::V6(address) = address else { panic!("{address}") };
        changes.push((address, fate));
    }
    changes
}

fn is_mld(frame: &[u8]) -> bool {
    frame[20] == Protocol::HOP_BY_HOP.0
}

/// The messages of neighbour discovery among what was sent.
fn discovery(frames: &[Vec<u8>]) -> Vec<Discovery> {
    frames.iter().filter(|frame| !is_mld(frame)).map(|frame| parse_ndp(frame)).collect()
}

/// A host whose addresses are made by itself and are ready.
fn configured() -> Host {
    let mut host = tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 2500);
    advertise(&mut host, ROUTER, advertisement(1800), Some(prefix(24 * HOUR, 4 * HOUR)));
    passes(&mut host, 2500);
    assert_eq!(changes(&mut host).len(), 2);
    host
}

fn global(host: &Host) -> Option<Ipv6Addr> {
    addresses(host).into_iter().find(|address| !address.is_unicast_link_local())
}

/// RFC 4862 5.4.2: a solicitation from nobody to the solicited-node group; after RETRANS_TIMER without
/// an answer the address is ours.
#[test]
fn an_address_is_asked_for_before_it_is_used() {
    let mut host = tap_with(Config::default());
    host.stack.add_address(host.interface, US.into(), 64).unwrap();
    assert!(!host.stack.is_local(US.into()));
    let early = host.stack.udp_bind(at(US, 7));
    assert_eq!(early, Err(Error::AddressNotAvailable));
    let said = discovery(&passes(&mut host, 900));
    let asked: Vec<_> =
        said.iter().filter(|said| said.ip.destination == solicited_node(US)).collect();
    let [asked] = asked[..] else { panic!("asked {} times", asked.len()) };
    assert_eq!(asked.header, Header::NeighborSolicitation { target: US });
    assert_eq!(asked.ip.source, Ipv6Addr::UNSPECIFIED);
    let destination = EthernetAddress::of_ipv6_group(solicited_node(US));
    assert_eq!(asked.ethernet.destination, destination);
    // What is for the address meanwhile is not for us.
    let early =
        host::frame(wire::ethernet::EtherType::IPV6, &echo(&header(Protocol::ICMPV6), b"x"));
    host.drops(&early, Dropped::NotOurAddress);
    passes(&mut host, 200);
    assert!(host.stack.is_local(US.into()));
    assert!(changes(&mut host).contains(&(US, AddressFate::Ready)));
    assert!(host.stack.udp_bind(at(US, 7)).is_ok());
    // RFC 4291 2.8: a link-local address is there, too.
    assert_eq!(addresses(&host).iter().filter(|a| a.is_unicast_link_local()).count(), 1);
}

/// RFC 4862 5.4.3 and 5.4.4: both ways in which somebody else shows that the address is taken.
#[test]
fn a_duplicate_is_taken_away_and_told() {
    let asks = |source| {
        let header = Header::NeighborSolicitation { target: US };
        ndp_frame((source, solicited_node(US)), header, &[])
    };
    let has = Header::NeighborAdvertisement {
        target: US,
        is_router: false,
        is_solicited: false,
        is_override: true,
    };
    let option = NdpOption::TargetLinkLayer(THEIR_HARDWARE);
    for conflict in [asks(Ipv6Addr::UNSPECIFIED), ndp_frame((US, ALL_NODES), has, &[option])] {
        let mut host = tap_with(Config::default());
        host.stack.add_address(host.interface, US.into(), 64).unwrap();
        passes(&mut host, 100);
        // A host that only looks for the address does not have it.
        host.drops(&asks(THEM), Dropped::NdpTentative);
        host.arrives(&conflict);
        assert!(changes(&mut host).contains(&(US, AddressFate::Duplicate)));
        passes(&mut host, 3000);
        assert!(!addresses(&host).contains(&US));
    }
}

/// RFC 7527 4.2: our own question that comes back is none of another's.
#[test]
fn an_echo_of_our_own_question_is_no_duplicate() {
    let mut host = tap_with(Config::default());
    host.stack.add_address(host.interface, US.into(), 64).unwrap();
    for mut frame in passes(&mut host, 500) {
        frame[6..12].copy_from_slice(&THEIR_HARDWARE.0);
        host.arrives(&frame);
    }
    passes(&mut host, 1000);
    assert!(host.stack.is_local(US.into()));
}

/// RFC 7217 6: after a duplicate another identifier is made.
#[test]
fn a_made_address_that_is_taken_is_replaced() {
    let mut host = tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    let first = addresses(&host)[0];
    host.sends();
    for round in 0..5 {
        let Some(&taken) = addresses(&host).first() else {
            assert_eq!(round, 4, "RFC 7217: IDGEN_RETRIES is 3");
            return;
        };
        let header = Header::NeighborSolicitation { target: taken };
        host.arrives(&ndp_frame((Ipv6Addr::UNSPECIFIED, solicited_node(taken)), header, &[]));
        assert_eq!(changes(&mut host), [(taken, AddressFate::Duplicate)]);
        assert!(round == 0 || taken != first);
    }
    panic!("it never gives up");
}

/// RFC 7217 5: the same each time for the same secret and link; the prefix alone would not tell.
#[test]
fn opaque_addresses_are_stable() {
    let made = |secret: Option<[u8; 16]>| {
        let mut host = tap_with(Config { stable_secret: secret, ..Config::default() });
        host.stack.autoconfigure(host.interface).unwrap();
        addresses(&host)[0]
    };
    assert_eq!(made(Some([1; 16])), made(Some([1; 16])));
    assert_ne!(made(Some([1; 16])), made(Some([2; 16])));
    assert_ne!(made(None), made(Some([1; 16])));
    assert_eq!(made(None), made(None), "the seed is the same");
}

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

/// RFC 4862 5.5.4: a deprecated address is not chosen, but goes on; at the end it is gone.
#[test]
fn an_address_grows_old_and_goes() {
    let mut host = configured();
    let own = global(&host).unwrap();
    host.later_millis(4 * 3_600_000);
    assert_eq!(changes(&mut host), [(own, AddressFate::Deprecated)]);
    assert!(host.stack.is_local(own.into()));
    // It is young again when a router says so.
    advertise(&mut host, ROUTER, advertisement(1800), Some(prefix(24 * HOUR, 4 * HOUR)));
    host.later_millis(23 * 3_600_000);
    assert_eq!(changes(&mut host), [(own, AddressFate::Deprecated)]);
    host.later_millis(3_600_000);
    assert_eq!(changes(&mut host), [(own, AddressFate::Expired)]);
    assert_eq!(global(&host), None);
}

/// RFC 4862 5.5.3 (e): a forged advertisement of zero cannot take the address away.
#[test]
fn two_hours_are_left_to_an_address() {
    let mut host = configured();
    let own = global(&host).unwrap();
    advertise(&mut host, ROUTER, advertisement(1800), Some(prefix(0, 0)));
    host.later_millis(7_199_000);
    assert!(host.stack.is_local(own.into()));
    host.later_millis(1_000);
    assert_eq!(changes(&mut host).last(), Some(&(own, AddressFate::Expired)));
}

/// RFC 4862 5.5.3 (a) to (d), RFC 4861 6.3.4: prefixes that make no address.
#[test]
fn prefixes_that_are_none_are_ignored() {
    let mut host = tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 2500);
    let good = prefix(24 * HOUR, 4 * HOUR);
    for bad in [
        PrefixInformation { autonomous: false, ..good },
        PrefixInformation { prefix: "fe80::".parse().unwrap(), ..good },
        PrefixInformation { preferred_lifetime: 25 * HOUR, ..good },
        PrefixInformation { prefix_len: 63, ..good },
        PrefixInformation { valid_lifetime: 0, preferred_lifetime: 0, ..good },
    ] {
        advertise(&mut host, ROUTER, advertisement(1800), Some(bad));
    }
    passes(&mut host, 2500);
    assert_eq!(global(&host), None);
    // Who did not ask for it takes nothing from routers.
    let mut host = tap();
    let header = Header::RouterAdvertisement(advertisement(1800));
    host.drops(
        &ndp_frame((ROUTER, ALL_NODES), header, &[NdpOption::Prefix(good)]),
        Dropped::IcmpIgnored,
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

/// RFC 9777 6.1: a change is told twice, with a router alert, to all routers that listen.
#[test]
fn groups_are_reported() {
    let mut host = tap_with(Config::default());
    host.stack.add_address(host.interface, US.into(), 64).unwrap();
    let reports = |frames: &[Vec<u8>]| {
        let mut told = Vec::new();
        for frame in frames.iter().filter(|frame| is_mld(frame)) {
            let (ethernet, packet) = host::parse_frame(frame);
            let (ip, payload) = parse_ip(packet);
            let chain = ipv6::Chain::walk(&ip, payload, &ipv6::Limits::DEFAULT).unwrap();
            let message = &packet[chain.start..];
            assert_eq!(ip.destination, ipv6::group::ALL_MLDV2_ROUTERS);
            assert_eq!(ethernet.destination, EthernetAddress([0x33, 0x33, 0, 0, 0, 0x16]));
            assert!(wire::icmpv6::is_checksum_valid(ip.source, ip.destination, message));
            let parsed = mld::Message::parse(&ip, chain.router_alert, message).unwrap();
            let mld::Message::Report(records) = parsed else { panic!("{parsed:?}") };
            told.extend(records.map(|record| (record.group, record.kind)));
        }
        told
    };
    let told = reports(&passes(&mut host, 3000));
    let joins = told.iter().filter(|told| **told == (solicited_node(US), RecordKind::TO_EXCLUDE));
    assert_eq!(joins.count(), 2);
    host.stack.remove_address(host.interface, US.into()).unwrap();
    host.later_millis(0);
    let told = reports(&passes(&mut host, 2000));
    assert_eq!(told, [(solicited_node(US), RecordKind::TO_INCLUDE); 2]);
    // 6.2: a query is answered with all groups, once, within the time it gives.
    let query = mld::Query {
        max_response: wire::membership::Code16(1000),
        group: Ipv6Addr::UNSPECIFIED,
        v2: Some(mld::QueryV2 {
            suppress: false,
            robustness: 2,
            interval: wire::membership::Code8(125),
            sources: &[],
        }),
    };
    let mut message = vec![0; query.encoded_len()];
    query.emit(&mut message);
    wire::icmpv6::fill_checksum(ROUTER, ALL_NODES, &mut message);
    let alert = ipv6::router_alert_header(Protocol::ICMPV6, 0);
    let ip = ipv6::Header {
        source: ROUTER,
        destination: ALL_NODES,
        hop_limit: 1,
        ..header(Protocol::HOP_BY_HOP)
    };
    let bytes = packet(&ip, &[&alert[..], &message].concat());
    let to = EthernetAddress::of_ipv6_group(ALL_NODES);
    host.arrives(&host::frame_to(to, wire::ethernet::EtherType::IPV6, &bytes));
    host.arrives(&host::frame_to(to, wire::ethernet::EtherType::IPV6, &bytes));
    let told = reports(&passes(&mut host, 1100));
    let own = addresses(&host)[0];
    assert_eq!(told, [(solicited_node(own), RecordKind::IS_EXCLUDE)]);
    // Without a router alert it is not believed.
    let bare = ipv6::Header { next_header: Protocol::ICMPV6, ..ip };
    let bytes = packet(&bare, &message);
    host.drops(&host::frame_to(to, wire::ethernet::EtherType::IPV6, &bytes), Dropped::MalformedMld);
}

#[test]
fn only_ethernet_links_configure_themselves() {
    let mut host = tun();
    assert_eq!(host.stack.autoconfigure(host.interface), Err(Error::InvalidInput));
    assert!(host.stack.is_local(US.into()), "nobody else can have it");
    assert_eq!(host.stack.poll_timeout(), None);
    host.sends_nothing();
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

/// A host that makes temporary addresses, with the two that it has in a prefix: the stable one first.
fn with_temporary(config: Config) -> (Host, [Ipv6Addr; 2]) {
    let mut host = tap_with(Config { temporary_addresses: true, ..config });
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 2500);
    // A way out for longer than the router says of itself.
    host.stack.set_gateway(host.interface, ROUTER.into()).unwrap();
    advertise(&mut host, ROUTER, advertisement(1800), Some(prefix(INFINITE, INFINITE)));
    passes(&mut host, 2500);
    let made = globals(&host);
    let [stable, temporary] = made[..] else { panic!("{made:?}") };
    (host, [stable, temporary])
}

const INFINITE: u32 = u32::MAX;

fn globals(host: &Host) -> Vec<Ipv6Addr> {
    addresses(host).into_iter().filter(|address| !address.is_unicast_link_local()).collect()
}

/// From where a datagram to a far host comes.
fn source(host: &mut Host) -> Ipv6Addr {
    let id = host.stack.udp_bind(at(Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    host.stack.udp_connect(id, at(FAR, 9)).unwrap();
    let local = host.stack.udp_local(id).unwrap();
    host.stack.udp_close(id).unwrap();
    let IpAddr::V6(source) = local.ip() else { panic!("{local}") };
    source
}

/// Hours pass in steps of a minute.
fn hours(host: &mut Host, count: u64) {
    for _ in 0..60 * count {
        host.later_millis(60_000);
        host.sends();
    }
}

/// RFC 8981 3.1 and 3.3: beside the stable address there is another, whose identifier says nothing of
/// it, and conversations begin from that (RFC 6724 5, rule 7).
#[test]
fn conversations_begin_from_a_temporary_address() {
    let (mut host, [stable, temporary]) = with_temporary(Config::default());
    assert_eq!(stable.segments()[..4], temporary.segments()[..4]);
    assert_ne!(stable.segments()[4..], temporary.segments()[4..]);
    assert_eq!(source(&mut host), temporary);
    // Both are ours.
    assert!(host.stack.is_local(stable.into()) && host.stack.is_local(temporary.into()));
    assert_eq!(globals(&configured()), [stable], "without the option that one is alone");
}

/// RFC 8981 3.4 and 3.6: it is used for a day at most, has a successor before that ends, and lives for two
/// days.
#[test]
fn a_temporary_address_has_a_successor_every_day() {
    let (mut host, [stable, first]) = with_temporary(Config::default());
    let mut used = vec![first];
    let mut most = 0;
    for _ in 0..7 * 24 {
        hours(&mut host, 1);
        let now = source(&mut host);
        if used.last() != Some(&now) {
            assert!(!used.contains(&now), "an address comes again");
            used.push(now);
        }
        let all = globals(&host);
        assert!(all.contains(&stable) && now != stable);
        most = most.max(all.len());
    }
    // From three fifths of a day to a day each.
    assert!((8..=12).contains(&used.len()), "{} in a week", used.len());
    assert!(!addresses(&host).contains(&first), "the first one lives on");
    assert!(most <= 6, "{most} addresses at once");
}

/// RFC 8981 3.4: "lifetimes are the lower of" the prefix's and its own: it goes with its prefix, and is
/// not made for one that is about to grow old.
#[test]
fn a_temporary_address_lives_no_longer_than_its_prefix() {
    let (mut host, [stable, temporary]) = with_temporary(Config::default());
    changes(&mut host);
    // Within two hours, which are the least (RFC 4862 5.5.3).
    advertise(&mut host, ROUTER, advertisement(1800), Some(prefix(HOUR, 0)));
    passes(&mut host, 100);
    let old = changes(&mut host);
    assert!(old.contains(&(temporary, AddressFate::Deprecated)), "{old:?}");
    hours(&mut host, 3);
    assert!(globals(&host).is_empty());
    assert!(changes(&mut host).contains(&(stable, AddressFate::Expired)));

    let mut host = tap_with(Config { temporary_addresses: true, ..Config::default() });
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 2500);
    advertise(&mut host, ROUTER, advertisement(1800), Some(prefix(HOUR, 5)));
    passes(&mut host, 2500);
    assert_eq!(globals(&host).len(), 1);
}

/// RFC 8981 3.4, step 7: one that somebody else has is replaced, three times at most.
#[test]
fn a_temporary_address_that_is_taken_is_replaced() {
    let mut host = tap_with(Config { temporary_addresses: true, ..Config::default() });
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 2500);
    advertise(&mut host, ROUTER, advertisement(1800), Some(prefix(INFINITE, INFINITE)));
    let mut tried = Vec::new();
    for _ in 0..5 {
        let Some(&temporary) = globals(&host).get(1) else { break };
        tried.push(temporary);
        let header = Header::NeighborAdvertisement {
            target: temporary,
            is_router: false,
            is_solicited: false,
            is_override: true,
        };
        let option = NdpOption::TargetLinkLayer(THEIR_HARDWARE);
        host.arrives(&ndp_frame((temporary, ALL_NODES), header, &[option]));
    }
    assert_eq!(tried.len(), 4);
    tried.dedup();
    assert_eq!(tried.len(), 4);
    assert_eq!(globals(&host).len(), 1);
}

/// RFC 8981 3.3.2: the secret is a new one at each start, whatever is kept for the stable addresses.
#[test]
fn temporary_addresses_have_a_secret_of_their_own() {
    let (_, [_, one]) = with_temporary(Config::default());
    let config = Config { stable_secret: Some([9; 16]), ..Config::default() };
    let (_, [_, other]) = with_temporary(config);
    assert_eq!(one, other, "the secret that is kept has no part in it");
}
