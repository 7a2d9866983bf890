//! Addresses that make themselves: RFC 4862, RFC 7217, RFC 9777.

mod host;

use std::net::Ipv6Addr;

use estab_stack::reason::Dropped;
use estab_stack::{AddressFate, Config, Error};
use host::THEIR_HARDWARE;
use host::router::*;
use host::v6::*;
use wire::ethernet::EthernetAddress;
use wire::ip::Protocol;
use wire::ipv6::{self, solicited_node};
use wire::membership::RecordKind;
use wire::mld;
use wire::ndp::{Header, NdpOption, PrefixInformation};
use wire::time::Duration;

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

/// RFC 4862 5.5.4: a deprecated address is not chosen, but goes on; at the end it is gone.
#[test]
fn an_address_grows_old_and_goes() {
    let mut host = configured();
    let own = global(&host).unwrap();
    host.later_millis(4 * 3_600_000);
    assert_eq!(changes(&mut host), [(own, AddressFate::Deprecated)]);
    // RFC 4862 5.5.4: what comes to it is taken as before.
    let id = host.stack.udp_bind(at(own, 7)).unwrap();
    let ip = ipv6::Header { destination: own, ..header(Protocol::UDP) };
    let datagram = host::v6::datagram(&ip, (1000, 7), b"old");
    host.arrives(&host::frame(wire::ethernet::EtherType::IPV6, &datagram));
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Ok((3, at(host::v6::THEM, 1000))));
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
    // Nor does what a router says of it make the link-local address one that ends.
    let own = addresses(&host);
    host.later_millis(25 * 3_600_000);
    assert_eq!((addresses(&host), own.len()), (own, 1));
    // Who did not ask for it takes nothing from routers.
    let mut host = tap();
    let header = Header::RouterAdvertisement(advertisement(1800));
    host.drops(
        &ndp_frame((ROUTER, ALL_NODES), header, &[NdpOption::Prefix(good)]),
        Dropped::IcmpIgnored,
    );
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
    assert_eq!(joins.count(), 4, "twice as nobody, and twice from the first address (5.2.14)");
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

/// What leaves of a host that begins to configure itself, with the millisecond after that.
fn beginning(config: Config, seed: u8) -> Vec<(u64, Vec<u8>)> {
    let mut host = tap_with_seed(config, seed);
    host.stack.autoconfigure(host.interface).unwrap();
    let mut sent = Vec::new();
    for millis in 0..1100 {
        host.later_millis(u64::from(millis > 0));
        sent.extend(host.sends().into_iter().map(|frame| (millis, frame)));
    }
    sent
}

/// RFC 4862 5.4.2: the first message of an interface waits at random, up to MAX_RTR_SOLICITATION_DELAY: that
/// is the report that it joins the group of its address, without which switches bring it no answer.
#[test]
fn the_first_message_of_an_interface_waits_for_a_random_time() {
    let mut waits = Vec::new();
    for seed in 0..40 {
        let sent = beginning(Config::default(), seed);
        let [(joined, report), (asked, question), ..] = &sent[..] else { panic!("{sent:?}") };
        assert!(is_mld(report) && !is_mld(question));
        assert_eq!(joined, asked, "the question follows at once");
        assert!(matches!(parse_ndp(question).header, Header::NeighborSolicitation { .. }));
        waits.push(*joined);
    }
    assert!(waits.iter().all(|wait| *wait <= 1000), "{waits:?}");
    waits.sort_unstable();
    assert!(waits[0] < 150 && waits[39] > 850, "all of it is used: {waits:?}");
    waits.dedup();
    assert!(waits.len() > 35, "{waits:?}");
    // It can be turned off.
    let config = Config { solicitation_delay: Duration::ZERO, ..Config::default() };
    assert_eq!(beginning(config, 7)[0].0, 0);
}

/// RFC 4862 5.4.2: hosts that heard the same advertisement do not ask together, nor join together.
#[test]
fn an_advertised_address_is_asked_for_after_a_random_time() {
    let mut waits = Vec::new();
    for seed in 0..40 {
        let mut host = tap_with_seed(Config::default(), seed);
        host.stack.autoconfigure(host.interface).unwrap();
        passes(&mut host, 4000);
        advertise(&mut host, ROUTER, advertisement(1800), Some(prefix(24 * HOUR, 4 * HOUR)));
        let group = solicited_node(global(&host).unwrap());
        let first = (0..=1000).find(|millis| {
            host.later_millis(u64::from(*millis > 0));
            let frames = host.sends();
            let asks =
                |frame: &&Vec<u8>| !is_mld(frame) && parse_ndp(frame).ip.destination == group;
            let asked = frames.iter().any(|frame| asks(&frame));
            // The report that it joins comes with the question, and not before.
            assert_eq!(frames.iter().any(|frame| is_mld(frame)), asked);
            asked
        });
        waits.push(first.expect("within a second"));
    }
    waits.sort_unstable();
    assert!(waits[0] < 150 && waits[39] > 850, "all of it is used: {waits:?}");
    waits.dedup();
    assert!(waits.len() > 35, "{waits:?}");
}

/// RFC 4862 5.4.2: what comes for the groups of all nodes and of the address "during the delay period" is
/// taken. And who leaves before anybody was told of it says nothing.
#[test]
fn a_duplicate_is_heard_while_the_first_message_waits() {
    let config = Config { solicitation_delay: Duration::from_secs(1000), ..Config::default() };
    for to_all in [false, true] {
        let mut host = tap_with(config.clone());
        host.stack.autoconfigure(host.interface).unwrap();
        let own = addresses(&host)[0];
        assert_eq!(passes(&mut host, 1000), Vec::<Vec<u8>>::new());
        if to_all {
            let header = Header::NeighborAdvertisement {
                target: own,
                is_router: false,
                is_solicited: false,
                is_override: true,
            };
            let option = NdpOption::TargetLinkLayer(THEIR_HARDWARE);
            host.arrives(&ndp_frame((own, ALL_NODES), header, &[option]));
        } else {
            let header = Header::NeighborSolicitation { target: own };
            let nobody = Ipv6Addr::UNSPECIFIED;
            host.arrives(&ndp_frame((nobody, solicited_node(own)), header, &[]));
        }
        assert_eq!(changes(&mut host), [(own, AddressFate::Duplicate)]);
        assert!(!addresses(&host).contains(&own));
        host.later_millis(0);
        host.sends_nothing();
    }
}

/// RFC 7217 6: "hosts SHOULD introduce a random delay between 0 and IDGEN_DELAY seconds before trying a new
/// tentative address".
#[test]
fn the_next_identifier_waits_for_a_random_time() {
    let mut waits = Vec::new();
    for seed in 0..40 {
        let config = Config { solicitation_delay: Duration::ZERO, ..Config::default() };
        let mut host = tap_with_seed(config, seed);
        host.stack.autoconfigure(host.interface).unwrap();
        host.later_millis(0);
        host.sends();
        let taken = addresses(&host)[0];
        let header = Header::NeighborSolicitation { target: taken };
        host.arrives(&ndp_frame((Ipv6Addr::UNSPECIFIED, solicited_node(taken)), header, &[]));
        let next = addresses(&host)[0];
        let asked = (0..=1000).find(|millis| {
            host.later_millis(u64::from(*millis > 0));
            let frames = host.sends();
            let said = discovery(&frames);
            said.iter().any(|said| said.header == Header::NeighborSolicitation { target: next })
        });
        waits.push(asked.expect("within a second"));
    }
    waits.sort_unstable();
    assert!(waits[0] < 150 && waits[39] > 850, "all of it is used: {waits:?}");
    waits.dedup();
    assert!(waits.len() > 35, "{waits:?}");
}
