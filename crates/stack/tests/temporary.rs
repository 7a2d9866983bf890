//! Temporary addresses: RFC 8981.

mod host;

use std::net::{IpAddr, Ipv6Addr};

use estab_stack::{AddressFate, Config};
use host::router::*;
use host::v6::*;
use host::{Host, THEIR_HARDWARE};
use wire::ndp::{Header, INFINITE, NdpOption};
use wire::time::Duration;

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

/// RFC 8981 3.6: "the Valid Lifetime and Preferred Lifetime [...] MUST be configurable"; 3.8 has the most.
#[test]
fn the_lifetimes_of_temporary_addresses_can_be_set() {
    let config = Config {
        temporary_preferred: Duration::from_secs(2 * 3600),
        temporary_valid: Duration::from_secs(3 * 3600),
        ..Config::default()
    };
    let (mut host, [_, first]) = with_temporary(config);
    changes(&mut host);
    let (mut deprecated, mut expired) = (None, None);
    for minute in 0..4 * 60 {
        host.later_millis(60_000);
        host.sends();
        for (address, fate) in changes(&mut host).into_iter().filter(|change| change.0 == first) {
            match fate {
                AddressFate::Deprecated => deprecated = Some(minute),
                AddressFate::Expired => expired = Some(minute),
                _ => panic!("{address} {fate:?}"),
            }
        }
    }
    // Less up to two fifths (DESYNC_FACTOR) in the first case.
    assert!(deprecated.is_some_and(|minute| (70..=120).contains(&minute)), "{deprecated:?}");
    assert!(expired.is_some_and(|minute| (177..=180).contains(&minute)), "{expired:?}");
}

/// RFC 6724 5, rule 7: "an implementation SHOULD [...] allow" to have it the other way round.
#[test]
fn conversations_can_begin_from_the_stable_address() {
    let config = Config { prefer_public_addresses: true, ..Config::default() };
    let (mut host, [stable, temporary]) = with_temporary(config);
    assert_eq!(source(&mut host), stable);
    let id = host.stack.udp_bind(at(temporary, 0)).unwrap();
    assert_eq!(host.stack.udp_local(id).map(|local| local.ip()), Ok(temporary.into()));
}
