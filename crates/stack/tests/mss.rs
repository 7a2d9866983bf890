//! What is announced as the largest segment, and what is sent (RFC 9293 3.7.1): by the link, by the way,
//! and where segments are clamped.

extern crate estab_stack as stack;

mod common;

use common::{Family, Pair, plain};
use stack::{Error, InterfaceId};
use wire::tcp::{Flags, Header};

for_both_families! {
    segments_are_clamped_in_both_directions,
    a_clamp_of_one_host_is_enough,
    a_clamp_that_is_taken_away_or_larger_than_the_link_changes_nothing,
}

/// Opens a connection; what each side announced.
fn announced(pair: &mut Pair, port: u16) -> (u16, u16) {
    pair.listen(port, 16);
    pair.connect(port);
    let ip = if pair.family == Family::V4 { 20 } else { 40 };
    let (mut of_a, mut of_b) = (None, None);
    pair.settle_with(|from_a, packet| {
        let (header, _) = Header::parse(&packet[ip..]).unwrap();
        if header.flags.contains(Flags::SYN) {
            *(if from_a { &mut of_a } else { &mut of_b }) = header.options.mss;
        }
        false
    });
    (of_a.unwrap(), of_b.unwrap())
}

/// The longest packet of 100 KB from A to B.
fn longest(pair: &mut Pair, port: u16) -> usize {
    let listener = pair.listen(port, 16);
    let client = pair.connect(port);
    pair.settle();
    pair.b.stack.accept(pair.now, listener).unwrap();
    pair.a.stack.write(pair.now, client, &[7; 60_000]).unwrap();
    let mut longest = 0;
    pair.settle_with(|_, packet| {
        longest = longest.max(packet.len());
        false
    });
    longest
}

fn headers(family: Family) -> usize {
    if family == Family::V4 { 40 } else { 60 }
}

fn segments_are_clamped_in_both_directions(family: Family) {
    let mut pair = Pair::over(family, plain());
    let interface = pair.b.interface;
    pair.b.stack.set_mss_clamp(interface, Some(1234)).unwrap();
    let full = 1500 - headers(family) as u16;
    assert_eq!(announced(&mut pair, 80), (full, 1234));
    // A's by what B announces; B's by itself, though A would take more.
    assert_eq!(longest(&mut pair, 81), 1234 + headers(family));
    std::mem::swap(&mut pair.a, &mut pair.b);
    let (a, b, _) = family.addresses();
    assert_ne!(a, b);
    let listener = pair.b.stack.listen(pair.now, family.a(82), 1, Default::default()).unwrap();
    let client = pair.a.stack.connect(pair.now, None, family.a(82), Default::default()).unwrap();
    pair.settle();
    pair.b.stack.accept(pair.now, listener).unwrap();
    assert_eq!(pair.a.stack.info(client).unwrap().snd_mss, 1234 - 12);
}

fn a_clamp_of_one_host_is_enough(family: Family) {
    let mut pair = Pair::over(family, plain());
    let interface = pair.a.interface;
    pair.a.stack.set_mss_clamp(interface, Some(1000)).unwrap();
    assert_eq!(announced(&mut pair, 80).0, 1000);
    assert_eq!(longest(&mut pair, 81), 1000 + headers(family));
}

fn a_clamp_that_is_taken_away_or_larger_than_the_link_changes_nothing(family: Family) {
    let mut pair = Pair::over(family, plain());
    let interface = pair.a.interface;
    let full = 1500 - headers(family) as u16;
    pair.a.stack.set_mss_clamp(interface, Some(9000)).unwrap();
    assert_eq!(announced(&mut pair, 80), (full, full));
    pair.a.stack.set_mss_clamp(interface, Some(500)).unwrap();
    pair.a.stack.set_mss_clamp(interface, None).unwrap();
    assert_eq!(announced(&mut pair, 81), (full, full));
    assert_eq!(longest(&mut pair, 82), 1500);
}

#[test]
fn a_clamp_without_meaning_is_refused() {
    let mut pair = Pair::over(Family::V4, plain());
    let interface = pair.a.interface;
    assert_eq!(pair.a.stack.set_mss_clamp(interface, Some(0)), Err(Error::InvalidInput));
    let mut other = stack::Stack::new(Default::default(), [1; 32]);
    let there: InterfaceId = interface;
    assert_eq!(other.set_mss_clamp(there, Some(1000)), Err(Error::InvalidInput));
}
