//! The search for what the way takes, where no router says it (RFC 4821): whole connections over ways that
//! lose what is too long without a word.

extern crate estab_stack as stack;

mod common;

use std::time::Duration;

use common::{Family, Host, Pair, plain};
use stack::reason::Sent;
use stack::{ConnectionId, MtuProbing, TcpInfo, TcpOptions};
use wire::frame::{Capabilities, FrameBuf, ReceiveMeta};

for_both_families! {
    all_arrives_through_a_black_hole_and_the_size_is_found,
    super_segments_are_cut_to_what_arrives,
    who_always_searches_sends_nothing_twice_on_a_way_without_fault,
    questions_have_an_end,
    a_way_that_narrows_and_widens_again_is_followed,
    a_silence_is_no_narrow_way,
    later_connections_know_what_was_found,
    the_programs_largest_segment_bounds_the_search,
    without_the_search_a_black_hole_is_a_dead_end,
    a_size_that_one_of_two_ways_takes_is_given_up,
    losses_of_every_size_refute_none,
}

/// The least on which IPv6 works, and what is between that and the link.
const NARROW: usize = 1330;

fn headers(family: Family) -> u32 {
    // With timestamps.
    if family == Family::V4 { 52 } else { 72 }
}

/// The length of a packet: of the longest piece where it is a super-segment.
fn length(frame: &FrameBuf, meta: ReceiveMeta, family: Family) -> usize {
    let piece = meta.segment_size.map(|size| usize::from(size.get()));
    piece.map_or(frame.len(), |size| frame.len().min(size + headers(family) as usize))
}

/// Carries packets of at most `takes` bytes until both are silent. The rest is lost.
fn carry(pair: &mut Pair, takes: usize) {
    carry_where(pair, &mut |length| length <= takes);
}

/// The same for packets whose length `passes`.
fn carry_where(pair: &mut Pair, passes: &mut dyn FnMut(usize) -> bool) {
    for _ in 0..10_000 {
        let (from_a, from_b) = (pair.a.frames(pair.now), pair.b.frames(pair.now));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        let (now, family) = (pair.now, pair.family);
        let mut give = |host: &mut Host, frames: Vec<(FrameBuf, ReceiveMeta)>| {
            for (frame, meta) in frames {
                if passes(length(&frame, meta, family)) {
                    host.stack.handle_frame(now, host.interface, frame, meta);
                }
            }
        };
        give(&mut pair.b, from_a);
        give(&mut pair.a, from_b);
    }
    panic!("the two never fall silent");
}

fn options(mtu_probing: MtuProbing) -> TcpOptions {
    TcpOptions { mtu_probing, ..TcpOptions::default() }
}

fn connected(pair: &mut Pair, options: TcpOptions) -> (ConnectionId, ConnectionId) {
    let listener = pair.listen(80, 16);
    let remote = pair.family.b(80);
    let client = pair.a.stack.connect(pair.now, None, remote, options).unwrap();
    carry(pair, 200);
    let (server, _) = pair.b.stack.accept(pair.now, listener).expect("a connection waits");
    pair.b.stack.close_listener(pair.now, listener);
    carry(pair, 200);
    (client, server)
}

/// Some time passes, and every timer that is due meanwhile fires.
fn pass(pair: &mut Pair, time: Duration) {
    pair.now = pair.now.after(time);
    for host in [&mut pair.a, &mut pair.b] {
        host.stack.handle_timeout(pair.now);
    }
}

/// Sends so many bytes from A to B, over a way that takes so much; all arrives, in order.
fn transfer(pair: &mut Pair, ends: (ConnectionId, ConnectionId), bytes: usize, takes: usize) {
    transfer_where(pair, ends, bytes, &mut |length| length <= takes);
}

/// The same over a way that takes a packet if its length `passes`.
fn transfer_where(
    pair: &mut Pair,
    (client, server): (ConnectionId, ConnectionId),
    bytes: usize,
    passes: &mut dyn FnMut(usize) -> bool,
) {
    let data: Vec<u8> = (0..bytes).map(|n| (n / 7) as u8).collect();
    let (mut sent, mut got, mut buffer) = (0, Vec::new(), [0; 9000]);
    let limit = pair.now.after(Duration::from_secs(600));
    while got.len() < bytes {
        sent += pair.a.stack.write(pair.now, client, &data[sent..]).unwrap_or(0);
        carry_where(pair, passes);
        let before = got.len();
        while let Ok(length) = pair.b.stack.read(pair.now, server, &mut buffer) {
            got.extend_from_slice(&buffer[..length]);
        }
        if got.len() == before {
            assert!(pair.next_deadline() && pair.now < limit, "{} of {bytes} bytes", got.len());
        } else {
            pass(pair, Duration::from_millis(10));
        }
    }
    carry_where(pair, passes);
    assert!(got == data);
}

fn info(pair: &Pair, id: ConnectionId) -> TcpInfo {
    pair.a.stack.info(id).unwrap()
}

fn questions(pair: &Pair) -> u64 {
    pair.a.stack.counters().sent(Sent::PathProbe)
}

/// Within the few bytes that are not worth a question.
fn assert_found(pair: &Pair, id: ConnectionId, takes: usize) {
    let (best, mss) = (takes as u32 - headers(pair.family), info(pair, id).snd_mss);
    assert!(mss <= best && best - mss <= 8, "segments of {mss}, but {best} pass");
}

fn all_arrives_through_a_black_hole_and_the_size_is_found(family: Family) {
    let mut pair = Pair::over(family, plain());
    // Without a word from the program.
    let ends = connected(&mut pair, TcpOptions::default());
    transfer(&mut pair, ends, 300_000, NARROW);
    assert_found(&pair, ends.0, NARROW);
}

fn super_segments_are_cut_to_what_arrives(family: Family) {
    let capabilities = Capabilities { checksum: true, segmentation: true, ..plain() };
    let mut pair = Pair::over(family, capabilities);
    let ends = connected(&mut pair, TcpOptions::default());
    transfer(&mut pair, ends, 400_000, NARROW);
    assert_found(&pair, ends.0, NARROW);
    assert!(info(&pair, ends.0).segs_out > 300, "super-segments count as their pieces");
    assert!(pair.a.stack.counters().sent(Sent::Data) < 200, "and there are some");
}

fn who_always_searches_sends_nothing_twice_on_a_way_without_fault(family: Family) {
    let mut pair = Pair::over(family, plain());
    let ends = connected(&mut pair, options(MtuProbing::Always));
    let first = info(&pair, ends.0).snd_mss;
    assert_eq!(first, if family == Family::V4 { 1024 - 52 } else { 1280 - 72 });
    transfer(&mut pair, ends, 300_000, 1500);
    let after = info(&pair, ends.0);
    assert_eq!((after.snd_mss, after.total_retrans), (1500 - headers(family), 0));
    assert_eq!(questions(&pair), 1);
}

fn questions_have_an_end(family: Family) {
    let mut pair = Pair::over(family, plain());
    let ends = connected(&mut pair, options(MtuProbing::Always));
    transfer(&mut pair, ends, 3_000_000, NARROW);
    assert_found(&pair, ends.0, NARROW);
    let asked = questions(&pair);
    assert!((2..=12).contains(&asked), "{asked}");
    // Ten minutes later as many again, and no more.
    pair.now = pair.now.after(Duration::from_secs(601));
    transfer(&mut pair, ends, 3_000_000, NARROW);
    assert!((asked + 1..=asked + 12).contains(&questions(&pair)), "{}", questions(&pair));
    assert_found(&pair, ends.0, NARROW);
}

fn a_way_that_narrows_and_widens_again_is_followed(family: Family) {
    let mut pair = Pair::over(family, plain());
    let ends = connected(&mut pair, TcpOptions::default());
    transfer(&mut pair, ends, 100_000, 1500);
    assert_eq!(questions(&pair), 0);
    transfer(&mut pair, ends, 1_500_000, NARROW);
    assert_found(&pair, ends.0, NARROW);
    transfer(&mut pair, ends, 1_500_000, 1290);
    assert_found(&pair, ends.0, 1290);
    pair.now = pair.now.after(Duration::from_secs(601));
    transfer(&mut pair, ends, 1_500_000, 1500);
    assert_found(&pair, ends.0, 1500);
}

/// Nothing arrives for a while, whatever its size; then everything does.
fn a_silence_is_no_narrow_way(family: Family) {
    let mut pair = Pair::over(family, plain());
    let ends = connected(&mut pair, TcpOptions::default());
    transfer(&mut pair, ends, 100_000, 1500);
    pair.a.stack.write(pair.now, ends.0, &[7; 50_000]).unwrap();
    let until = pair.now.after(Duration::from_secs(20));
    while pair.now < until {
        carry(&mut pair, 0);
        assert!(pair.next_deadline());
    }
    assert!(info(&pair, ends.0).snd_mss < 1280);
    let mut buffer = [0; 60_000];
    for _ in 0..1000 {
        carry(&mut pair, 1500);
        while pair.b.stack.read(pair.now, ends.1, &mut buffer).is_ok() {}
        if info(&pair, ends.0).unacked == 0 {
            break;
        }
        pair.next_deadline();
    }
    transfer(&mut pair, ends, 300_000, 1500);
    assert_eq!(info(&pair, ends.0).snd_mss, 1500 - headers(family));
    // And nobody else is told of a narrow way.
    let next = connected(&mut pair, TcpOptions::default());
    assert_eq!(info(&pair, next.0).snd_mss, 1500 - headers(family));
}

fn later_connections_know_what_was_found(family: Family) {
    let mut pair = Pair::over(family, plain());
    let ends = connected(&mut pair, TcpOptions::default());
    transfer(&mut pair, ends, 1_000_000, NARROW);
    let next = connected(&mut pair, TcpOptions::default());
    assert_eq!(info(&pair, next.0).snd_mss, info(&pair, ends.0).snd_mss);
    transfer(&mut pair, next, 100_000, NARROW);
    assert_eq!(info(&pair, next.0).total_retrans, 0);
    // It looks for more itself when that may have changed.
    pass(&mut pair, Duration::from_secs(599));
    transfer(&mut pair, next, 300_000, 1500);
    assert_found(&pair, next.0, NARROW);
    pass(&mut pair, Duration::from_secs(60));
    transfer(&mut pair, next, 300_000, 1500);
    assert_found(&pair, next.0, 1500);
    let next = connected(&mut pair, TcpOptions::default());
    assert_eq!(info(&pair, next.0).snd_mss, 1500 - headers(family));
}

fn the_programs_largest_segment_bounds_the_search(family: Family) {
    let mut pair = Pair::over(family, plain());
    let limited = TcpOptions { max_segment: Some(1300), ..options(MtuProbing::Always) };
    let ends = connected(&mut pair, limited);
    transfer(&mut pair, ends, 300_000, 1500);
    assert_eq!(info(&pair, ends.0).snd_mss, 1300 - 12);
    let smaller = TcpOptions { max_segment: Some(700), ..options(MtuProbing::Always) };
    pair.a.stack.set_tcp_options(pair.now, ends.0, smaller).unwrap();
    transfer(&mut pair, ends, 300_000, 1500);
    assert_eq!(info(&pair, ends.0).snd_mss, 700 - 12);
}

fn without_the_search_a_black_hole_is_a_dead_end(family: Family) {
    let mut pair = Pair::over(family, plain());
    let ends = connected(&mut pair, options(MtuProbing::Off));
    pair.a.stack.write(pair.now, ends.0, &[7; 10_000]).unwrap();
    for _ in 0..100 {
        carry(&mut pair, NARROW);
        if !pair.next_deadline() {
            break;
        }
    }
    assert!(pair.a.stack.info(ends.0).is_err() || info(&pair, ends.0).bytes_acked <= 1);
    assert_eq!(questions(&pair), 0);
}

/// RFC 4821 7.8: packets take two ways in turn, of which one is narrow. A question that went by the other
/// one was answered for both.
fn a_size_that_one_of_two_ways_takes_is_given_up(family: Family) {
    let mut pair = Pair::over(family, plain());
    let ends = connected(&mut pair, options(MtuProbing::Always));
    let mut turn = 0;
    let mut in_turn = |length: usize| {
        turn += 1;
        length <= NARROW || turn % 2 == 0
    };
    transfer_where(&mut pair, ends, 3_000_000, &mut in_turn);
    assert!(pair.a.stack.counters().sent(Sent::LargerSizeRefuted) > 0);
    let (mss, before) = (info(&pair, ends.0).snd_mss, info(&pair, ends.0));
    assert!(mss <= NARROW as u32 - headers(family), "{mss}");
    transfer_where(&mut pair, ends, 300_000, &mut in_turn);
    let again = info(&pair, ends.0).total_retrans - before.total_retrans;
    assert!(again <= 2, "{again} segments were sent again, which all arrive");
}

/// One packet in twelve is lost, however long it is: the way takes the longest.
fn losses_of_every_size_refute_none(family: Family) {
    let mut pair = Pair::over(family, plain());
    let ends = connected(&mut pair, options(MtuProbing::Always));
    let mut turn = 0;
    let mut dice = |length: usize| {
        turn += 1;
        length < 200 || turn % 12 != 0
    };
    transfer_where(&mut pair, ends, 3_000_000, &mut dice);
    assert_eq!(pair.a.stack.counters().sent(Sent::LargerSizeRefuted), 0);
    assert_eq!(info(&pair, ends.0).snd_mss, 1500 - headers(family));
}
