use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::pair::{PairConfig, PairEnd, pair};
use crate::split::tests::{super_segment, super_segment_v6};

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn impaired(outbound: Impairment, seed: u64) -> (Impair<PairEnd>, PairEnd) {
    let config = PairConfig { capacity: 100_000, ..PairConfig::ip(1500) };
    let (a, b) = pair(config.without_descriptors()).unwrap();
    (Impair::new(a, outbound, Impairment::default(), seed), b)
}

fn send(link: &mut impl Link, now: Instant, number: u32) -> io::Result<()> {
    link.send(now, &number.to_be_bytes(), &[&[0; 96]], &TransmitMeta::default())
}

/// The numbers of the frames that are there.
fn arrived(link: &mut impl Link, now: Instant) -> Vec<u32> {
    let mut frame = FrameBuf::with_capacity(MAX_FRAME);
    let mut numbers = Vec::new();
    while link.receive(now, &mut frame).unwrap().is_some() {
        numbers.push(u32::from_be_bytes(frame[..4].try_into().unwrap()));
    }
    numbers
}

/// Lets time pass from deadline to deadline; when which frame reached the other end.
fn run_out(a: &mut Impair<PairEnd>, b: &mut PairEnd) -> Vec<(Instant, u32)> {
    let mut log = Vec::new();
    let mut now = Instant::ZERO;
    for _ in 0..1_000_000 {
        log.extend(arrived(b, now).into_iter().map(|number| (now, number)));
        let Some(next) = a.next_deadline() else { return log };
        assert!(next >= now, "time stands still at {now}");
        now = next;
        assert!(arrived(a, now).is_empty());
    }
    panic!("the link never comes to rest");
}

fn assert_accounted(counters: &Counters) {
    let sum = counters.delivered
        + counters.lost
        + counters.overflowed
        + counters.managed
        + counters.failed
        + counters.held;
    assert_eq!(counters.offered + counters.duplicated, sum, "{counters:?}");
}

#[test]
fn no_impairment_is_no_change() {
    let (mut a, mut b) = impaired(Impairment::default(), 1);
    for number in 0..100 {
        send(&mut a, Instant::ZERO, number).unwrap();
    }
    assert_eq!(arrived(&mut b, Instant::ZERO), (0..100).collect::<Vec<_>>());
    for number in 0..100 {
        send(&mut b, Instant::ZERO, number).unwrap();
    }
    assert_eq!(arrived(&mut a, Instant::ZERO), (0..100).collect::<Vec<_>>());
    assert_eq!(a.next_deadline(), None);
}

#[test]
fn delay_is_exact_and_keeps_order() {
    let (mut a, mut b) =
        impaired(Impairment { delay: Duration::from_millis(5), ..Impairment::default() }, 1);
    send(&mut a, ms(1), 1).unwrap();
    send(&mut a, ms(2), 2).unwrap();
    assert_eq!(a.next_deadline(), Some(ms(6)));
    assert_eq!(run_out(&mut a, &mut b), [(ms(6), 1), (ms(7), 2)]);
}

#[test]
fn what_is_too_long_is_lost_without_a_word() {
    let longest_packet = NonZeroU16::new(600);
    let (mut a, mut b) = impaired(Impairment { longest_packet, ..Impairment::default() }, 1);
    let frame = [0x45; 700];
    for length in [600, 601] {
        a.send(ms(0), &frame[..length], &[], &TransmitMeta::default()).unwrap();
    }
    let mut received = FrameBuf::with_capacity(MAX_FRAME);
    assert!(b.receive(ms(0), &mut received).unwrap().is_some());
    assert_eq!(received.len(), 600);
    assert!(b.receive(ms(0), &mut received).unwrap().is_none());
    assert_eq!((a.outbound().delivered, a.outbound().lost), (1, 1));
}

#[test]
fn the_other_direction_is_delayed_too() {
    let (a, mut b) = pair(PairConfig::ip(1500).without_descriptors()).unwrap();
    let slow = Impairment { delay: Duration::from_millis(5), ..Impairment::default() };
    let mut a = Impair::new(a, Impairment::default(), slow, 1);
    send(&mut b, ms(0), 7).unwrap();
    assert!(arrived(&mut a, ms(0)).is_empty());
    assert_eq!(a.next_deadline(), Some(ms(5)));
    drop(b);
    assert_eq!(arrived_first(&mut a, ms(5)), Some(7), "what was under way arrives");
    let mut frame = FrameBuf::with_capacity(100);
    let end = a.receive(ms(6), &mut frame).unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::BrokenPipe);
}

fn arrived_first(link: &mut impl Link, now: Instant) -> Option<u32> {
    let mut frame = FrameBuf::with_capacity(MAX_FRAME);
    link.receive(now, &mut frame).unwrap()?;
    Some(u32::from_be_bytes(frame[..4].try_into().unwrap()))
}

#[test]
fn a_rate_spaces_packets_and_its_queue_overflows() {
    // 100 bytes at 800 kbit/s take 1 ms.
    let slow = Impairment {
        rate: NonZeroU64::new(800_000),
        queue_packets: 3,
        delay: Duration::from_millis(10),
        ..Impairment::default()
    };
    let (mut a, mut b) = impaired(slow, 1);
    for number in 0..5 {
        send(&mut a, ms(0), number).unwrap();
    }
    assert_eq!(a.outbound().overflowed, 2);
    assert_eq!(run_out(&mut a, &mut b), [(ms(11), 0), (ms(12), 1), (ms(13), 2)]);
    assert_accounted(&a.outbound());
}

#[test]
fn codel_keeps_a_standing_queue_short_of_its_limit() {
    // 1 ms a packet, and 11 packets come in 10 ms: a tail of ever more waits, unless it is managed.
    let run = |management| {
        let rate = NonZeroU64::new(800_000);
        let (mut a, mut b) = impaired(Impairment { rate, management, ..Impairment::default() }, 1);
        for number in 0..5_500u32 {
            let now = Instant::from_micros(u64::from(number) * 10_000 / 11);
            while a.next_deadline().is_some_and(|deadline| deadline <= now) {
                arrived(&mut a, now);
                arrived(&mut b, now);
            }
            send(&mut a, now, number).unwrap();
        }
        let counters = a.outbound();
        assert_accounted(&counters);
        (counters.managed, counters.held)
    };
    assert_eq!(run(QueueManagement::DropTail), (0, 501));
    let (managed, held) = run(QueueManagement::codel(true));
    assert!(managed > 300 && held < 150, "{managed} dropped (they carry no ECN), {held} wait");
}

#[test]
fn a_byte_limit_counts_bytes() {
    let slow = Impairment {
        delay: Duration::from_millis(1),
        queue_bytes: Some(250),
        ..Impairment::default()
    };
    let (mut a, mut b) = impaired(slow, 1);
    for number in 0..5 {
        send(&mut a, ms(0), number).unwrap();
    }
    assert_eq!(run_out(&mut a, &mut b).len(), 2);
    assert_eq!(a.outbound().overflowed, 3);
}

#[test]
fn a_burst_through_a_small_queue_loses_nothing_when_nothing_waits() {
    let small = Impairment { queue_packets: 1, ..Impairment::default() };
    let (mut a, mut b) = impaired(small, 1);
    let (frame, size) = super_segment(40, 1000, 60_000, 0x10);
    let meta = TransmitMeta {
        checksum: TransmitChecksum::Partial { start: 20, offset: 16 },
        segment_size: Some(size),
        comment: "",
    };
    a.send(ms(0), &frame[..40], &[&frame[40..]], &meta).unwrap();
    assert_eq!(arrived(&mut b, ms(0)).len(), 60);
    assert_eq!(a.outbound().delivered, 60);
}

#[test]
fn incoming_super_segments_arrive_as_whole_packets() {
    let (mut a, mut b) = impaired(Impairment::default(), 1);
    let (frame, size) = super_segment(40, 1000, 2500, 0x18);
    let meta = TransmitMeta {
        checksum: TransmitChecksum::Partial { start: 20, offset: 16 },
        segment_size: Some(size),
        comment: "",
    };
    b.send(ms(0), &frame, &[], &meta).unwrap();
    let mut buffer = FrameBuf::with_capacity(MAX_FRAME);
    let mut lengths = Vec::new();
    while let Some(meta) = a.receive(ms(0), &mut buffer).unwrap() {
        assert_eq!(meta.segment_size, None);
        assert_eq!(meta.checksum, ReceiveChecksum::Verified);
        lengths.push(buffer.len());
    }
    assert_eq!(lengths, [1040, 1040, 540]);
}

#[test]
fn corruption_is_detectable() {
    let broken = Impairment { corrupt: 1.0, ..Impairment::default() };
    let frames =
        [(super_segment(40, 1000, 500, 0x18).0, 20), (super_segment_v6(1000, 500, 0x18).0, 40)];
    for (frame, start) in frames {
        let partial = TransmitMeta {
            checksum: TransmitChecksum::Partial { start, offset: 16 },
            ..TransmitMeta::default()
        };
        let config = PairConfig { capacity: 1000, ..PairConfig::ip(1500) };
        let (a, mut b) = pair(config.without_descriptors()).unwrap();
        let mut a = Impair::new(a, broken, broken, 7);
        let mut buffer = FrameBuf::with_capacity(MAX_FRAME);
        for _ in 0..300 {
            a.send(ms(0), &frame, &[], &partial).unwrap();
            b.receive(ms(0), &mut buffer).unwrap().unwrap();
            assert!(!is_right(&buffer), "sent");
            b.send(ms(0), &frame, &[], &partial).unwrap();
            let meta = a.receive(ms(0), &mut buffer).unwrap().unwrap();
            assert_eq!(meta.checksum, ReceiveChecksum::Unverified);
            assert!(!is_right(&buffer), "received");
        }
        assert_eq!((a.outbound().corrupted, a.inbound().corrupted), (300, 300));
    }
}

fn is_right(frame: &[u8]) -> bool {
    let medium = wire::frame::Medium::Ip;
    let Some(layout) = split::locate(medium, frame) else { return false };
    wire::ip::Header::parse(frame).is_ok()
        && wire::tcp::is_checksum_valid(
            layout.source,
            layout.destination,
            &frame[layout.transport..layout.ip.end],
        )
}

#[test]
fn back_pressure_is_handed_on_and_nothing_is_lost() {
    let config = PairConfig { capacity: 2, ..PairConfig::ip(1500) };
    let (a, mut b) = pair(config.without_descriptors()).unwrap();
    let mut a = Impair::new(a, Impairment::default(), Impairment::default(), 1);
    let (mut accepted, mut seen) = (0, Vec::new());
    while send(&mut a, ms(0), accepted).is_ok() {
        accepted += 1;
        assert!(accepted < 10);
    }
    // One more than the link holds: the first that did not fit waits in the wrapper.
    assert_eq!(accepted, 3);
    let retry = a.next_deadline().expect("what waits is tried again");
    assert!(retry > ms(0), "a driver must not spin");
    seen.extend(arrived(&mut b, ms(0)));
    assert!(arrived(&mut a, retry).is_empty());
    seen.extend(arrived(&mut b, retry));
    assert_eq!(seen, [0, 1, 2]);
    assert_eq!(a.next_deadline(), None);
}

#[test]
fn reordering_needs_no_delay_and_reorders_with_one() {
    for delay in [0, 5] {
        let shuffled = Impairment {
            delay: Duration::from_millis(delay),
            reorder: 0.2,
            ..Impairment::default()
        };
        let (mut a, mut b) = impaired(shuffled, 3);
        let mut seen = Vec::new();
        for number in 0..500 {
            let now = Instant::from_micros(u64::from(number) * 300);
            send(&mut a, now, number).unwrap();
            arrived(&mut a, now);
            seen.extend(arrived(&mut b, now));
        }
        seen.extend(run_out(&mut a, &mut b).into_iter().map(|(_, number)| number));
        let late = seen.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!(late > 30, "delay {delay} ms: {late} of 500 overtaken");
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
    }
}

#[test]
fn a_gap_bounds_how_often_packets_are_picked() {
    let every_tenth = Impairment { reorder: 1.0, reorder_gap: 10, ..Impairment::default() };
    let (mut a, _b) = impaired(every_tenth, 3);
    for number in 0..1000 {
        send(&mut a, ms(0), number).unwrap();
    }
    assert_eq!(a.outbound().reordered, 100);
}

#[test]
fn the_losses_of_a_seed_do_not_move_when_a_delay_is_added() {
    let lossy = Impairment { loss: Loss::Random(0.1), ..Impairment::default() };
    let lossy_and_slow = Impairment {
        delay: Duration::from_millis(9),
        jitter: Duration::from_millis(3),
        duplicate: 0.5,
        ..lossy
    };
    let survivors = |impairment| {
        let (mut a, mut b) = impaired(impairment, 42);
        for number in 0..500 {
            send(&mut a, ms(0), number).unwrap();
        }
        let mut numbers: Vec<u32> =
            run_out(&mut a, &mut b).into_iter().map(|(_, number)| number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    assert_eq!(survivors(lossy), survivors(lossy_and_slow));
}

/// How often each probability comes true in 100,000 packets. The bounds are five standard
/// deviations wide, and the seed is fixed.
#[test]
fn probabilities_come_true() {
    const PACKETS: u32 = 100_000;
    let impairment = Impairment {
        loss: Loss::Random(0.02),
        duplicate: 0.01,
        reorder: 0.05,
        queue_packets: usize::MAX,
        ..Impairment::default()
    };
    let (mut a, mut b) = impaired(impairment, 5);
    for number in 0..PACKETS {
        send(&mut a, ms(0), number).unwrap();
        if number % 1000 == 0 {
            arrived(&mut b, ms(0));
        }
    }
    let counters = a.outbound();
    assert_accounted(&counters);
    let passed = f64::from(PACKETS) * 0.98;
    for (name, seen, expected) in [
        ("lost", counters.lost, f64::from(PACKETS) * 0.02),
        ("duplicated", counters.duplicated, passed * 0.01),
        ("reordered", counters.reordered, passed * 0.05),
    ] {
        let difference = (seen as f64 - expected).abs();
        assert!(difference < 5.0 * expected.sqrt(), "{name}: {seen}, expected {expected}");
    }
}

#[test]
fn bursts_have_their_mean_length() {
    const PACKETS: u32 = 50_000;
    let bursts = Impairment {
        loss: Loss::Burst { enter: 0.01, leave: 0.25, good: 0.0, bad: 1.0 },
        ..Impairment::default()
    };
    let (mut a, mut b) = impaired(bursts, 9);
    let mut seen = vec![false; PACKETS as usize];
    for number in 0..PACKETS {
        send(&mut a, ms(0), number).unwrap();
        for number in arrived(&mut b, ms(0)) {
            seen[number as usize] = true;
        }
    }
    let runs: Vec<usize> =
        seen.chunk_by(|a, b| a == b).filter(|run| !run[0]).map(<[bool]>::len).collect();
    let mean = runs.iter().sum::<usize>() as f64 / runs.len() as f64;
    assert!((3.5..4.5).contains(&mean), "bursts of {mean} packets in the mean, expected 4");
    let share = a.outbound().lost as f64 / f64::from(PACKETS);
    assert!((0.033..0.044).contains(&share), "{share} lost, expected 0.0385");
}

fn any_impairment() -> impl Strategy<Value = Impairment> {
    let loss = prop_oneof![
        Just(Loss::None),
        (0.0..1.0).prop_map(Loss::Random),
        (0.0..0.5, 0.1..1.0, 0.0..0.1, 0.5..1.0)
            .prop_map(|(enter, leave, good, bad)| Loss::Burst { enter, leave, good, bad }),
    ];
    let times = (0u64..20, 0u64..30);
    let chances = (0.0..1.0, 0.0..1.0, 0u32..5);
    let queue =
        (prop::option::of(1_000u64..10_000_000), 1usize..50, prop::option::of(50usize..9000));
    let management = prop_oneof![
        Just(QueueManagement::DropTail),
        any::<bool>().prop_map(QueueManagement::codel),
        (0usize..5).prop_map(QueueManagement::MarkAbove),
    ];
    let parts = (loss, times, chances, queue, management);
    parts.prop_map(|(loss, times, chances, queue, management)| Impairment {
        longest_packet: None,
        loss,
        delay: Duration::from_millis(times.0),
        jitter: Duration::from_millis(times.1),
        reorder: chances.0,
        duplicate: chances.1,
        reorder_gap: chances.2,
        corrupt: 0.0,
        rate: queue.0.and_then(NonZeroU64::new),
        queue_packets: queue.1,
        queue_bytes: queue.2,
        management,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is switched on: every packet is accounted for, each arrives at most twice, and the
    /// same seed gives the same packets at the same times.
    #[test]
    fn every_packet_is_accounted_for(
        impairment in any_impairment(),
        seed: u64,
        gaps in prop::collection::vec(0u64..5, 1..120),
    ) {
        let run = || {
            let (mut a, mut b) = impaired(impairment, seed);
            let mut now = Instant::ZERO;
            let mut log = Vec::new();
            for (number, gap) in gaps.iter().enumerate() {
                now = now.after(Duration::from_millis(*gap));
                send(&mut a, now, u32::try_from(number).unwrap()).unwrap();
                assert_accounted(&a.outbound());
                log.extend(arrived(&mut b, now).into_iter().map(|number| (now, number)));
            }
            log.extend(run_out(&mut a, &mut b));
            (log, a.outbound())
        };
        let (log, counters) = run();
        assert_accounted(&counters);
        prop_assert_eq!(counters.held, 0);
        prop_assert_eq!(counters.offered, gaps.len() as u64);
        prop_assert_eq!(counters.delivered, log.len() as u64);
        let mut times = BTreeMap::new();
        for (_, number) in &log {
            *times.entry(*number).or_insert(0) += 1;
        }
        prop_assert!(times.values().all(|count| *count <= 2));
        prop_assert_eq!(run(), (log, counters));
    }

    /// Without jitter and reordering nothing overtakes.
    #[test]
    fn order_is_kept(mut impairment in any_impairment(), seed: u64) {
        impairment.jitter = Duration::ZERO;
        impairment.reorder = 0.0;
        let (mut a, mut b) = impaired(impairment, seed);
        for number in 0..60 {
            send(&mut a, ms(u64::from(number)), number).unwrap();
        }
        let numbers: Vec<u32> = run_out(&mut a, &mut b).into_iter().map(|(_, n)| n).collect();
        prop_assert!(numbers.is_sorted(), "{:?}", numbers);
    }
}
