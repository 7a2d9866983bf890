use super::*;
use crate::tcp::congestion::DeliverySample;
use crate::tcp::congestion::bottleneck::{MSS, Path, World};
use alloc::string::ToString;
use alloc::vec::Vec;
use proptest::prelude::*;

/// 40 Mbit/s and 40 ms: 200 packets on the path, and as many in the queue.
const PATH: Path =
    Path { rate: 5_000_000, rtt: Duration::from_millis(40), queue: 200_000, loss_one_in: 0 };

fn world(path: Path) -> World<Bbr> {
    World::new(Bbr::new(1_000), path)
}

fn bbr_of(world: &World<Bbr>) -> Bbr {
    world.controller.clone()
}

#[test]
fn bbr_5_3_1_startup_finds_the_bandwidth_and_drain_empties_the_queue() {
    let mut world = world(PATH);
    world.run(Duration::from_secs(2));
    let first = |phase| *world.points.iter().find(|p| p.phase == phase).unwrap();
    let drain = first(Phase::Drain);
    let startup = drain.now.since(world.points[0].now);
    assert!(startup < PATH.rtt * 15, "log2 of 20 rounds, and three to be sure: {startup:?}");
    assert!(drain.waiting > Duration::from_millis(20), "there was a queue: {:?}", drain.waiting);
    let cruise = first(Phase::ProbeBandwidthCruise);
    assert!(cruise.now.since(drain.now) < PATH.rtt * 3);
    assert!(cruise.waiting < Duration::from_millis(1), "{:?}", cruise.waiting);
}

#[test]
fn bbr_5_5_2_the_bandwidth_is_found_within_a_tenth_and_used() {
    for queue in [40_000, 200_000, 2_000_000] {
        let mut world = world(Path { queue, ..PATH });
        world.run(Duration::from_secs(20));
        let found = bbr_of(&world).max_bw.get();
        assert!(found.abs_diff(PATH.rate) < PATH.rate / 10, "{found}");
        let used = world.goodput(Duration::from_secs(15));
        assert!(used > PATH.rate * 95 / 100, "{used} with a queue of {queue}");
    }
}

#[test]
fn bbr_3_2_a_deep_queue_stays_empty() {
    let mut world = world(Path { queue: 20_000_000, ..PATH });
    world.run(Duration::from_secs(20));
    let later = &world.points[world.points.len() / 10..];
    let most = later.iter().map(|p| p.waiting).max().unwrap();
    assert!(most < PATH.rtt * 3 / 2, "{most:?}");
    let waiting: Duration = later.iter().map(|p| p.waiting).sum();
    let mean = waiting / u32::try_from(later.len()).unwrap();
    assert!(mean < PATH.rtt / 8, "{mean:?}");
    assert_eq!(world.last().dropped, 0);
}

#[test]
fn bbr_3_1_one_percent_of_chance_loss_leaves_four_fifths() {
    let long = Path { rtt: Duration::from_millis(100), queue: 500_000, ..PATH };
    let mut world = world(Path { loss_one_in: 100, ..long });
    world.run(Duration::from_secs(40));
    let used = world.goodput(Duration::from_secs(35));
    assert!(used > PATH.rate * 80 / 100, "{used}");
}

#[test]
fn bbr_5_3_3_6_a_shallow_queue_is_learned_and_loses_little() {
    let mut world = world(Path { queue: 20_000, ..PATH });
    world.run(Duration::from_secs(5));
    let before = world.last();
    world.run(Duration::from_secs(20));
    let after = world.last();
    assert!(bbr_of(&world).inflight_longterm < 280 * MSS, "220 fit");
    let (lost, got) = (after.dropped - before.dropped, (after.delivered - before.delivered) / MSS);
    assert!(lost * 200 < got, "{lost} of {got}");
}

#[test]
fn bbr_5_3_3_more_bandwidth_is_found_and_less_is_believed() {
    let mut world = world(PATH);
    world.run(Duration::from_secs(5));
    world.path.rate = PATH.rate * 2;
    world.run(Duration::from_secs(15));
    let used = world.goodput(Duration::from_secs(3));
    assert!(used > PATH.rate * 18 / 10, "{used}");
    world.path.rate = PATH.rate / 2;
    world.run(Duration::from_secs(15));
    let found = bbr_of(&world).max_bw.get();
    assert!(found < PATH.rate * 55 / 100, "{found}");
}

#[test]
fn bbr_5_3_4_probe_rtt_comes_every_five_seconds_and_sends_half() {
    let mut world = world(PATH);
    world.run(Duration::from_secs(21));
    let phases = world.points.windows(2);
    let begins = phases
        .filter(|p| p[0].phase != Phase::ProbeRoundTrip && p[1].phase == Phase::ProbeRoundTrip)
        .map(|p| p[1].now)
        .collect::<Vec<_>>();
    assert!((3..=4).contains(&begins.len()), "{begins:?}");
    let during = world.points.iter().filter(|p| p.phase == Phase::ProbeRoundTrip);
    let windows = during.map(|p| p.window / MSS).collect::<Vec<_>>();
    assert!(windows.iter().all(|w| (80..=105).contains(w)), "{windows:?}");
    assert_eq!(world.last().phase.to_string().split(':').next(), Some("probe bandwidth"));
}

#[test]
fn bbr_5_5_7_2_a_longer_path_is_believed_after_ten_seconds() {
    let mut world = world(PATH);
    world.run(Duration::from_secs(3));
    world.path.rtt = Duration::from_millis(60);
    world.run(Duration::from_secs(17));
    let rtt = bbr_of(&world).min_rtt.get().unwrap();
    assert!((60..63).contains(&rtt.as_millis()), "{rtt:?}");
    assert!(world.goodput(Duration::from_secs(2)) > PATH.rate * 9 / 10);
}

#[test]
fn bbr_5_4_after_idleness_the_window_stays_and_the_rate_is_the_paths() {
    let mut world = world(PATH);
    world.run(Duration::from_secs(3));
    let window = world.controller.window();
    world.idle(Duration::from_secs(4));
    assert!(world.controller.window() >= window);
    let rate = world.controller.pacing_rate().unwrap();
    assert!(rate.abs_diff(PATH.rate) < PATH.rate / 20, "{rate}");
    // The time to look for a shorter round trip has come, but idleness has emptied the queue.
    let before = world.points.len();
    world.run(Duration::from_millis(200));
    assert!(world.points[before..].iter().all(|p| p.phase != Phase::ProbeRoundTrip));
}

#[test]
fn bbr_5_6_4_4_a_timeout_lets_one_segment_out_and_then_the_window_comes_back() {
    let mut world = world(PATH);
    world.run(Duration::from_secs(2));
    let before = world.controller.window();
    let mut bbr = bbr_of(&world);
    let now = world.now;
    bbr.on_congestion(now, CongestionCause::Timeout, 20 * MSS);
    assert_eq!(bbr.window(), MSS);
    bbr.on_congestion(now, CongestionCause::RepeatedTimeout, 20 * MSS);
    for i in 1..=20 {
        bbr.on_ack(&AckSample {
            now: now.after(Duration::from_millis(i)),
            acked: MSS,
            ..AckSample::default()
        });
        assert!(i == 20 || bbr.window() < 40 * MSS, "{i}: {}", bbr.window());
    }
    assert_eq!(bbr.recovery, Recovery::None);
    assert!(bbr.window() > before * 9 / 10, "{} of {before}", bbr.window());
}

#[test]
fn bbr_5_5_11_a_loss_that_was_none_leads_back_to_startup_and_to_the_probe() {
    let mut bbr = Bbr::new(1_000);
    bbr.note_loss();
    bbr.end_startup_by_congestion();
    bbr.check_startup_done();
    assert_eq!((bbr.state, bbr.inflight_longterm), (State::Drain, 0));
    bbr.on_congestion(Instant::ZERO, CongestionCause::Loss, 10 * MSS);
    bbr.on_spurious(Instant::ZERO);
    assert_eq!((bbr.state, bbr.inflight_longterm), (State::Startup, UNBOUNDED));
    assert!(!bbr.full.reached);

    let mut world = world(PATH);
    world.run(Duration::from_secs(1));
    while world.controller.phase() != Phase::ProbeBandwidthUp {
        world.run(Duration::from_millis(1));
    }
    world.run(PATH.rtt * 2);
    let mut bbr = bbr_of(&world);
    let (window, longterm) = (bbr.window, bbr.inflight_longterm);
    bbr.on_lost(&LossSample {
        now: world.now,
        bytes: 50 * MSS,
        flight_when_sent: 200 * MSS,
        lost_since_sent: 50 * MSS,
        ..LossSample::default()
    });
    assert_eq!(bbr.state, State::Down);
    assert!(bbr.inflight_longterm < longterm);
    bbr.on_congestion(world.now, CongestionCause::Loss, 200 * MSS);
    bbr.on_spurious(world.now);
    assert_eq!((bbr.state, bbr.inflight_longterm, bbr.window), (State::Refill, longterm, window));
}

#[test]
fn bbr_3_7_a_mark_ends_startup_and_a_probe() {
    let mut bbr = Bbr::new(1_000);
    bbr.on_congestion(Instant::ZERO, CongestionCause::Ecn, 10 * MSS);
    assert_eq!(bbr.state, State::Drain);

    let mut world = world(PATH);
    world.run(Duration::from_secs(1));
    while world.controller.phase() != Phase::ProbeBandwidthUp {
        world.run(Duration::from_millis(1));
    }
    let mut bbr = bbr_of(&world);
    bbr.on_congestion(world.now, CongestionCause::Ecn, 220 * MSS);
    assert_eq!((bbr.state, bbr.inflight_longterm), (State::Down, 220 * MSS));
}

#[test]
fn bbr_5_3_1_3_without_sack_one_loss_in_recovery_ends_startup() {
    for (selective, ended) in [(false, true), (true, false)] {
        let mut bbr = Bbr::new(1_000);
        bbr.on_established(Instant::ZERO, Some(PATH.rtt), selective);
        let ack = |delivered: u64, before: u64, lost| AckSample {
            now: Instant::from_millis(delivered / 100),
            acked: MSS,
            delivery: Some(DeliverySample {
                delivered_total: delivered,
                delivered_when_sent: before,
                interval: PATH.rtt,
                lost,
                flight_when_sent: 10 * MSS,
                application_limited: false,
            }),
            ..AckSample::default()
        };
        bbr.on_ack(&ack(10_000, 0, 0));
        bbr.on_lost(&LossSample { bytes: MSS, ..LossSample::default() });
        bbr.on_congestion(Instant::ZERO, CongestionCause::Loss, 10 * MSS);
        bbr.on_ack(&ack(19_000, 10_000, MSS));
        assert_eq!(bbr.full.reached, ended);
    }
}

#[test]
fn bbr_5_6_2_the_first_rate_is_the_initial_window_in_a_round_trip() {
    let mut bbr = Bbr::new(1_000);
    assert_eq!(bbr.pacing_rate(), Some(27_700_000), "10 kB in 1 ms, times 2.77");
    bbr.on_established(Instant::ZERO, Some(Duration::from_millis(100)), true);
    assert_eq!(bbr.pacing_rate(), Some(277_000));
    assert_eq!(bbr.send_quantum(), Some(2 * MSS));
}

#[test]
fn the_same_again_is_the_same() {
    let run = || {
        let mut world = world(Path { loss_one_in: 200, ..PATH });
        world.run(Duration::from_secs(8));
        world.points.iter().map(|p| (p.now, p.window)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

proptest! {
    #[test]
    fn any_order_of_calls_leaves_a_window_and_a_rate(
        mss in 1..65_536_u32,
        steps in proptest::collection::vec((0..12_u8, any::<u64>(), any::<u32>()), 0..200),
    ) {
        let mut bbr = Bbr::new(mss);
        let mut now = Instant::ZERO;
        for (step, value, wait) in steps {
            now = now.after(Duration::from_micros(wait.into()));
            let small = value >> (value % 64);
            match step {
                0..=4 => bbr.on_ack(&AckSample {
                    now,
                    acked: small,
                    flight_before: value,
                    flight: small,
                    rtt: Some(Duration::from_nanos(small)),
                    smoothed_rtt: Some(Duration::from_nanos(small)),
                    delivery: (value % 7 > 0).then_some(DeliverySample {
                        delivered_total: value,
                        delivered_when_sent: small,
                        interval: Duration::from_nanos(wait.into()),
                        lost: small % 5_000,
                        flight_when_sent: small,
                        application_limited: value % 3 == 0,
                    }),
                    ..AckSample::default()
                }),
                5 => bbr.on_congestion(now, CongestionCause::Loss, value),
                6 => bbr.on_congestion(now, CongestionCause::Timeout, small),
                7 => bbr.on_recovered(now, value),
                8 => bbr.on_spurious(now),
                9 => bbr.on_congestion(now, CongestionCause::Ecn, small),
                10 => bbr.on_restart(now),
                _ => bbr.on_lost(&LossSample {
                    now,
                    bytes: small,
                    flight_when_sent: value,
                    lost_since_sent: small,
                    ..LossSample::default()
                }),
            }
            bbr.on_sent(now, small, value);
            prop_assert!(bbr.window() >= u64::from(mss));
            prop_assert!(bbr.pacing_rate().unwrap() >= u64::from(mss));
            prop_assert!(bbr.send_quantum().unwrap() >= 2 * u64::from(mss));
        }
    }
}
