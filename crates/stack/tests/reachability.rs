//! What TCP knows of its neighbours spares them questions (RFC 4861 7.3.1, RFC 1122 2.3.2.1).

extern crate estab_stack as stack;

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Family, Host, Pair, host_at};
use stack::reason::Sent;
use stack::{Config, Stack};
use wire::ethernet::EthernetAddress;
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::time::Instant;

fn on_ethernet(last: u8) -> Capabilities {
    let medium = Medium::Ethernet(EthernetAddress([2, 0, 0, 0, 0, last]));
    Capabilities { medium, mtu: 1500, checksum: false, segmentation: false }
}

/// Two hosts on a link of Ethernet whose addresses are ready.
fn link(family: Family) -> Pair {
    let (a, b, prefix_len) = family.addresses();
    let mut pair = Pair {
        a: host_at(a, prefix_len, 1, on_ethernet(1)),
        b: host_at(b, prefix_len, 2, on_ethernet(2)),
        now: Instant::from_millis(1),
        family,
    };
    pair.settle();
    pair.wait(Duration::from_secs(5));
    pair
}

/// How often a host asked for a neighbour.
fn asked(host: &Host) -> u64 {
    let counters = host.stack.counters();
    counters.sent(Sent::NeighborSolicitation) + counters.sent(Sent::ArpRequest)
}

/// A request and its answer every three seconds, for ten minutes: each shows that the other hears us.
#[test]
fn who_answers_by_tcp_is_not_asked() {
    for family in [Family::V4, Family::V6] {
        let mut pair = link(family);
        let (client, server) = pair.connected();
        let before = (asked(&pair.a), asked(&pair.b));
        for _ in 0..200 {
            pair.a.stack.write(pair.now, client, b"how are you?").unwrap();
            pair.settle();
            assert_eq!(pair.b.stack.read(pair.now, server, &mut [0; 64]), Ok(12));
            pair.b.stack.write(pair.now, server, b"well").unwrap();
            pair.settle();
            assert_eq!(pair.a.stack.read(pair.now, client, &mut [0; 64]), Ok(4));
            pair.wait(Duration::from_secs(3));
        }
        assert_eq!((asked(&pair.a), asked(&pair.b)), before);
    }
}

/// One that only sends knows it by the acknowledgments of new data, and one that only receives by the new
/// data.
#[test]
fn who_acknowledges_is_not_asked() {
    for family in [Family::V4, Family::V6] {
        let mut pair = link(family);
        let (client, server) = pair.connected();
        let before = (asked(&pair.a), asked(&pair.b));
        for _ in 0..200 {
            pair.a.stack.write(pair.now, client, b"on and on").unwrap();
            pair.settle();
            assert_eq!(pair.b.stack.read(pair.now, server, &mut [0; 64]), Ok(9));
            pair.wait(Duration::from_secs(3));
        }
        assert_eq!((asked(&pair.a), asked(&pair.b)), before);
    }
}

/// The same exchange in datagrams, of which nobody knows whether they answer one another.
#[test]
fn who_answers_by_udp_is_asked() {
    for family in [Family::V4, Family::V6] {
        let mut pair = link(family);
        let here = pair.a.stack.udp_bind(family.a(7)).unwrap();
        let there = pair.b.stack.udp_bind(family.b(7)).unwrap();
        let say = |host: &mut Host, now, id, to: SocketAddr| {
            host.stack.udp_send_to(now, id, b"x", to).unwrap();
        };
        for _ in 0..200 {
            say(&mut pair.a, pair.now, here, family.b(7));
            pair.settle();
            assert!(pair.b.stack.udp_receive_from(there, &mut [0; 9]).is_ok());
            say(&mut pair.b, pair.now, there, family.a(7));
            pair.settle();
            assert!(pair.a.stack.udp_receive_from(here, &mut [0; 9]).is_ok());
            pair.wait(Duration::from_secs(3));
        }
        assert!(asked(&pair.a) > 5, "asked {} times in ten minutes", asked(&pair.a));
    }
}

/// Data that is sent again and again shows nothing.
#[test]
fn who_does_not_acknowledge_is_asked() {
    for family in [Family::V4, Family::V6] {
        let mut pair = link(family);
        let (client, _) = pair.connected();
        // Nobody remembers who was confirmed a while ago.
        pair.wait(Duration::from_secs(120));
        let before = asked(&pair.a);
        pair.a.stack.write(pair.now, client, b"is anybody there?").unwrap();
        for _ in 0..20 {
            pair.settle_with(|_, _| true);
            pair.now = pair.now.after(Duration::from_millis(500));
            pair.a.stack.handle_timeout(pair.now);
            pair.b.stack.handle_timeout(pair.now);
        }
        assert!(asked(&pair.a) > before);
    }
}

/// What arrived before a neighbour had another hardware address says nothing of that.
#[test]
fn who_moves_is_asked_whatever_it_acknowledged_before() {
    let mut pair = link(Family::V6);
    let (client, _) = pair.connected();
    pair.a.stack.write(pair.now, client, b"before").unwrap();
    pair.settle();
    pair.wait(Duration::from_secs(1));
    let before = asked(&pair.a);
    // B says, by asking who A is, that it has other hardware now; and is silent then.
    let frame = FrameBuf::copy_from(&question_from_other_hardware(pair.now));
    pair.a.stack.handle_frame(pair.now, pair.a.interface, frame, ReceiveMeta::default());
    pair.a.stack.write(pair.now, client, b"after").unwrap();
    for _ in 0..12 {
        pair.settle_with(|_, _| true);
        pair.now = pair.now.after(Duration::from_millis(500));
        pair.a.stack.handle_timeout(pair.now);
    }
    assert!(asked(&pair.a) > before);
}

fn question_from_other_hardware(now: Instant) -> Vec<u8> {
    let (a, b, prefix_len) = Family::V6.addresses();
    let config = Config { duplicate_address_probes: 0, ..Config::default() };
    let mut stack = Stack::new(config, [3; 32]);
    let interface = stack.add_interface(on_ethernet(3));
    stack.add_address(interface, b, prefix_len).unwrap();
    let id = stack.udp_bind(SocketAddr::new(b, 9)).unwrap();
    stack.udp_send_to(now, id, b"x", SocketAddr::new(a, 9)).unwrap();
    let frames = Host { stack, interface }.frames(now);
    let is_question = |frame: &&(FrameBuf, ReceiveMeta)| frame.0[54] == 135;
    frames.iter().find(is_question).expect("it asks first").0.to_vec()
}
