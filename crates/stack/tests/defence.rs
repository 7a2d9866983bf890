//! An address of IPv4 that somebody else claims: RFC 5227 2.4.

mod host;

use std::net::{IpAddr, Ipv4Addr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{AddressFate, Config};
use host::*;
use wire::arp::Operation;
use wire::ethernet::EthernetAddress;
use wire::frame::Medium;

/// Somebody else says that the address is its own, by a question or an answer.
fn claims(host: &mut Host, operation: Operation) {
    let theirs = (THEIR_HARDWARE, US);
    host.arrives(&arp_frame(operation, theirs, (EthernetAddress::BROADCAST, OTHER)));
}

fn fates(host: &mut Host) -> Vec<AddressFate> {
    let changes = std::iter::from_fn(|| host.stack.poll_address_change());
    changes.inspect(|change| assert_eq!(change.address, IpAddr::V4(US))).map(|c| c.fate).collect()
}

#[track_caller]
fn announces(host: &mut Host) {
    let frame = host.sends_one();
    let (ethernet, packet) = parse_arp(&frame);
    assert_eq!(ethernet.destination, EthernetAddress::BROADCAST);
    assert_eq!((packet.operation, packet.sender_hardware), (Operation::REQUEST, OUR_HARDWARE));
    assert_eq!((packet.sender_protocol, packet.target_protocol), (US, US));
}

/// RFC 5227 2.4 (c): one announcement, and no other for ten seconds, however often it is claimed; the
/// program hears of it as often.
#[test]
fn an_address_that_is_claimed_is_defended_every_ten_seconds() {
    let mut host = Host::tap();
    for round in 1..4 {
        claims(&mut host, if round == 2 { Operation::REPLY } else { Operation::REQUEST });
        announces(&mut host);
        assert_eq!(fates(&mut host), [AddressFate::Claimed]);
        for _ in 0..9 {
            host.later_millis(1000);
            claims(&mut host, Operation::REQUEST);
            host.sends_nothing();
        }
        assert_eq!(fates(&mut host), []);
        host.later_millis(1000);
    }
    assert!(host.stack.is_local(US.into()));
    assert_eq!((host.sent(Sent::ArpAnnouncement), host.dropped(Dropped::ArpConflict)), (3, 30));
}

/// RFC 5227 2.4 (b), where the embedder wants it: claimed again within ten seconds, it is given up.
#[test]
fn an_address_is_given_up_where_that_is_wanted() {
    let config = Config { give_up_addresses: true, ..Config::default() };
    let mut host = Host::new(config, Medium::Ethernet(OUR_HARDWARE), false);
    claims(&mut host, Operation::REQUEST);
    announces(&mut host);
    host.later_millis(10_000);
    claims(&mut host, Operation::REQUEST);
    announces(&mut host);
    host.later_millis(9_999);
    claims(&mut host, Operation::REQUEST);
    host.sends_nothing();
    let all = [AddressFate::Claimed, AddressFate::Claimed, AddressFate::Duplicate];
    assert_eq!(fates(&mut host), all);
    assert!(!host.stack.is_local(US.into()));
}

/// What comes back of our own packets, and what others say of themselves, is no claim.
#[test]
fn our_own_packets_and_others_addresses_are_no_claim() {
    let mut host = Host::tap();
    let target = (EthernetAddress::UNSPECIFIED, THEM);
    for sender in
        [(OUR_HARDWARE, US), (THEIR_HARDWARE, OTHER), (THEIR_HARDWARE, Ipv4Addr::UNSPECIFIED)]
    {
        host.arrives(&arp_frame(Operation::REQUEST, sender, target));
        host.sends_nothing();
    }
    assert_eq!(fates(&mut host), []);
}
