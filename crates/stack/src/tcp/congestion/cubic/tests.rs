use super::*;
use crate::tcp::congestion::bottleneck::{Path, World};
use alloc::vec::Vec;
use proptest::prelude::*;

const MSS: u64 = 1_000;
const RTT: Duration = Duration::from_millis(100);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn ack(now: Instant, acked: u64) -> AckSample {
    AckSample { now, acked, rtt: Some(RTT), smoothed_rtt: Some(RTT), ..AckSample::default() }
}

/// A controller that met a loss with `segments` in flight and repaired it at time zero.
fn after_loss(segments: u64) -> Cubic {
    let mut cubic = Cubic::new(1_000);
    cubic.window = segments * MSS;
    cubic.on_congestion(at(0), CongestionCause::Loss, segments * MSS);
    cubic.on_recovered(at(0), segments * MSS);
    cubic
}

/// Acknowledges window after window, one each `rtt` from `start` on, and tells the window after
/// each in segments.
fn rounds(cubic: &mut Cubic, start: Instant, rtt: Duration, count: u32) -> Vec<f64> {
    (0..count)
        .map(|i| {
            let segments = (cubic.window() / MSS).max(1);
            for s in 0..segments {
                let part = u32::try_from(s).unwrap() * rtt / u32::try_from(segments).unwrap();
                let now = start.after(rtt * i).after(part);
                cubic.on_ack(&AckSample { smoothed_rtt: Some(rtt), ..ack(now, MSS) });
            }
            cubic.window() as f64 / MSS as f64
        })
        .collect()
}

/// W_cubic in floating point, in segments.
fn twin(plateau: f64, start: f64, t: f64) -> f64 {
    0.4 * (t - ((plateau - start) / 0.4).cbrt()).powi(3) + plateau
}

#[test]
fn rfc9438_4_2_the_window_follows_the_curve_through_both_regions() {
    // 1000 segments: K = cbrt(300 / 0.4) = 9.09 s, far above what Reno would do in 18 s.
    let mut cubic = after_loss(1_000);
    let windows = rounds(&mut cubic, at(0), RTT, 180);
    for (i, &window) in windows.iter().enumerate().skip(1) {
        // The target of an ACK is one round trip ahead.
        let t = (i + 1) as f64 * 0.1;
        let (low, high) = (twin(1_000.0, 700.0, t - 0.1), twin(1_000.0, 700.0, t + 0.1));
        assert!((low - 1.0..high + 1.0).contains(&window), "{t} s: {window} of {low}..{high}");
    }
    let step = |i: usize| windows[i] - windows[i - 1];
    // 4.4: concave, each step smaller; 4.5: convex, each step larger.
    assert!(step(20) > step(50) && step(50) > step(85), "concave");
    assert!(step(100) < step(130) && step(130) < step(170), "convex");
}

#[test]
fn rfc9438_4_2_the_target_is_at_most_one_and_a_half_windows() {
    let mut cubic = after_loss(10);
    cubic.on_ack(&ack(at(0), MSS));
    let window = cubic.window();
    // An hour later the curve is out of sight; one window of ACKs grows the window by a half.
    let mut acked = 0;
    while acked < window {
        cubic.on_ack(&ack(at(3_600_000), MSS));
        acked += MSS;
    }
    assert!(cubic.window() > window * 14 / 10 && cubic.window() < window * 17 / 10);
}

#[test]
fn rfc9438_4_2_the_window_never_shrinks_towards_the_curve() {
    let mut cubic = after_loss(100);
    cubic.on_ack(&ack(at(0), MSS));
    cubic.window = 200 * MSS;
    cubic.on_ack(&ack(at(1), MSS));
    assert!(cubic.window() >= 200 * MSS);
}

#[test]
fn rfc9438_4_3_where_reno_is_faster_it_is_reno() {
    // A round trip of 10 ms: in two seconds Reno has 200 round trips, and the curve hardly moves.
    let mut cubic = after_loss(20);
    let rtt = Duration::from_millis(10);
    let windows = rounds(&mut cubic, at(0), rtt, 60);
    // 9/17 of a segment for each round trip up to the prior window, which takes 11 or 12 of them,
    assert!((16.4..16.7).contains(&windows[4]), "{}", windows[4]);
    assert!((19.9..20.8).contains(&windows[11]), "{}", windows[11]);
    // and one for each from there on.
    let slope = (windows[50] - windows[20]) / 30.0;
    assert!((0.97..1.04).contains(&slope), "{slope}");
}

#[test]
fn rfc9438_4_6_loss_leaves_seven_tenths_of_what_was_in_flight() {
    let mut cubic = Cubic::new(1_000);
    cubic.window = 50 * MSS;
    cubic.on_congestion(at(0), CongestionCause::Loss, 40 * MSS);
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (28 * MSS, 28 * MSS));
    assert_eq!(cubic.phase(), Phase::Recovery);
    assert_eq!(cubic.curve.prior, 50 * MSS);
    cubic.on_congestion(at(0), CongestionCause::Loss, MSS);
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (2 * MSS, 2 * MSS));
}

#[test]
fn rfc9438_4_6_marks_reduce_down_to_one_segment() {
    let mut cubic = Cubic::new(1_000);
    cubic.on_congestion(at(0), CongestionCause::Ecn, 10 * MSS);
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (7 * MSS, 7 * MSS));
    assert_eq!(cubic.phase(), Phase::CongestionAvoidance);
    cubic.on_congestion(at(0), CongestionCause::Ecn, MSS);
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (MSS, 2 * MSS));
}

#[test]
fn rfc9438_4_7_a_flow_that_loses_ground_plateaus_earlier() {
    let mut cubic = after_loss(1_000);
    let window = cubic.window();
    cubic.on_congestion(at(1), CongestionCause::Loss, window);
    assert_eq!(cubic.curve.plateau, 595 * MSS, "0.7 * 0.85 of 1000");
}

#[test]
fn rfc9438_4_8_after_a_timeout_the_curve_begins_with_its_convex_half() {
    let mut cubic = Cubic::new(1_000);
    cubic.window = 100 * MSS;
    cubic.on_congestion(at(0), CongestionCause::Timeout, 100 * MSS);
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (MSS, 70 * MSS));
    // The data of before is through; slow start leads to the threshold.
    cubic.on_ack(&ack(at(200), 100 * MSS));
    while cubic.phase() == Phase::SlowStart {
        cubic.on_ack(&ack(at(500), MSS));
    }
    assert_eq!(cubic.window(), 70 * MSS);
    cubic.on_ack(&ack(at(1_000), MSS));
    let expected = |seconds: f64| (twin(70.0, 70.0, seconds) * 1_000.0) as u64;
    let found = cubic.curve.at(at(3_000), Duration::ZERO, MSS);
    assert!(found.abs_diff(expected(2.0)) < 10, "{found}");
}

#[test]
fn rfc5681_3_1_a_second_timeout_of_the_same_data_keeps_the_threshold() {
    let mut cubic = Cubic::new(1_000);
    cubic.on_congestion(at(0), CongestionCause::Timeout, 20 * MSS);
    cubic.on_congestion(at(1), CongestionCause::RepeatedTimeout, MSS);
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (MSS, 14 * MSS));
    cubic.on_spurious(at(2));
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (10 * MSS, NO_THRESHOLD));
}

#[test]
fn rfc9438_4_9_2_a_spurious_loss_is_undone() {
    let mut cubic = after_loss(1_000);
    rounds(&mut cubic, at(0), RTT, 50);
    let (window, threshold, curve) = (cubic.window, cubic.threshold, cubic.curve);
    cubic.on_congestion(at(5_000), CongestionCause::Loss, window);
    cubic.on_spurious(at(5_100));
    assert_eq!((cubic.window, cubic.threshold, cubic.curve), (window, threshold, curve));
    assert_eq!(cubic.phase(), Phase::CongestionAvoidance);
}

#[test]
fn rfc9438_4_9_2_nothing_is_undone_when_the_window_has_grown_beyond() {
    let mut cubic = after_loss(10);
    rounds(&mut cubic, at(0), RTT, 40);
    let window = cubic.window();
    assert!(window > 10 * MSS);
    cubic.on_spurious(at(4_000));
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (window, 7 * MSS));
}

#[test]
fn rfc9438_4_9_a_mark_after_a_loss_is_not_undone() {
    let mut cubic = after_loss(100);
    cubic.on_congestion(at(1), CongestionCause::Ecn, 70 * MSS);
    cubic.on_spurious(at(2));
    assert_eq!(cubic.window(), 49 * MSS);
}

#[test]
fn rfc9438_4_10_the_first_slow_start_ends_when_the_delay_rises() {
    let mut cubic = Cubic::new(1_000);
    let mut round = |rtt: u64| {
        for i in 0..10 {
            cubic.on_ack(&AckSample {
                rtt: Some(Duration::from_millis(rtt)),
                round_start: i == 0,
                ..ack(at(0), MSS)
            });
        }
        (cubic.window() / MSS, cubic.phase())
    };
    assert_eq!(round(80), (20, Phase::SlowStart));
    // Two of the ten ACKs came after the eighth sample showed the rise, with it three.
    assert_eq!(round(100), (27, Phase::ConservativeSlowStart));
    for _ in 0..4 {
        assert_eq!(round(100).1, Phase::ConservativeSlowStart);
    }
    assert_eq!(round(100).1, Phase::CongestionAvoidance);
    assert_eq!(cubic.curve.prior, cubic.slow_start_threshold());
}

#[test]
fn rfc3465_2_2_a_later_slow_start_gives_two_segments_for_an_ack() {
    let mut cubic = Cubic::new(1_000);
    cubic.on_congestion(at(0), CongestionCause::Timeout, 20 * MSS);
    cubic.on_ack(&ack(at(1), 18 * MSS));
    assert_eq!(cubic.window(), 2 * MSS, "one while the old flight is out");
    cubic.on_ack(&ack(at(1), 2 * MSS));
    cubic.on_ack(&ack(at(2), 8 * MSS));
    assert_eq!(cubic.window(), 5 * MSS);
    cubic.set_burst(64_000);
    cubic.on_ack(&ack(at(3), 64_000));
    assert_eq!(cubic.window(), 14 * MSS, "the threshold is not jumped over");
}

#[test]
fn rfc9438_5_8_a_window_that_is_not_used_does_not_grow() {
    let mut cubic = after_loss(100);
    cubic.on_ack(&ack(at(0), MSS));
    let window = cubic.window();
    for i in 1..1_000 {
        cubic.on_ack(&AckSample { application_limited: true, ..ack(at(i * 100), MSS) });
    }
    assert_eq!(cubic.window(), window);
    // Time stood still: the next ACKs find the curve where they left it.
    let windows = rounds(&mut cubic, at(99_900), RTT, 10);
    let fresh = rounds(&mut after_loss(100), at(0), RTT, 10);
    assert!((windows[9] - fresh[9]).abs() < 1.0, "{} {}", windows[9], fresh[9]);
}

#[test]
fn rfc9438_5_8_a_silence_is_no_time_of_the_stage() {
    let mut cubic = after_loss(100);
    cubic.on_ack(&ack(at(0), MSS));
    let before = cubic.curve.at(at(0), Duration::ZERO, MSS);
    cubic.on_sent(at(50_000), MSS, MSS);
    assert_eq!(cubic.curve.at(at(50_000), Duration::ZERO, MSS), before);
    cubic.on_sent(at(60_000), MSS, 2 * MSS);
    assert!(cubic.curve.at(at(60_000), Duration::ZERO, MSS) > before, "not the first in flight");
}

#[test]
fn rfc5681_4_1_after_idleness_the_restart_window() {
    let mut cubic = after_loss(100);
    cubic.on_idle_restart(at(0), Duration::from_secs(1));
    assert_eq!((cubic.window(), cubic.slow_start_threshold()), (10 * MSS, 70 * MSS));
    assert_eq!(cubic.phase(), Phase::SlowStart);
}

#[test]
fn acks_during_recovery_do_not_grow_the_window() {
    let mut cubic = Cubic::new(1_000);
    cubic.on_congestion(at(0), CongestionCause::Loss, 10 * MSS);
    cubic.on_ack(&AckSample { in_recovery: true, ..ack(at(0), 5 * MSS) });
    assert_eq!(cubic.window(), 7 * MSS);
}

#[test]
fn rfc6928_2_one_lost_syn_keeps_the_initial_window_and_two_do_not() {
    let mut cubic = Cubic::new(1_000);
    cubic.set_mss(500);
    cubic.on_handshake_loss(1);
    assert_eq!(cubic.window(), 5_000);
    cubic.on_handshake_loss(2);
    assert_eq!(cubic.window(), 500);
}

/// RFC 4821 4: whatever the size, the window in bytes is not raised.
#[test]
fn longer_segments_do_not_enlarge_a_window_in_use() {
    let mut cubic = Cubic::new(1_000);
    cubic.on_ack(&ack(at(1), MSS));
    let before = cubic.window();
    cubic.set_mss(1_400);
    assert_eq!(cubic.window(), before);
}

/// 40 Mbit/s and 40 ms: 200 packets on the path, and as many in the queue.
const PATH: Path =
    Path { rate: 5_000_000, rtt: Duration::from_millis(40), queue: 200_000, loss_one_in: 0 };

#[test]
fn rfc9438_4_10_the_first_slow_start_ends_before_the_queue_is_full() {
    // Doubling overruns a queue of ten times the path. HyStart++ sees the delay when a whole
    // round trip has felt the queue, and then needs five rounds of a quarter each to be sure.
    let deep = Path { queue: 2_000_000, ..PATH };
    let mut reno = World::new(crate::tcp::congestion::Reno::new(1_000), deep);
    reno.run(Duration::from_secs(2));
    assert!(reno.last().dropped > 0);
    let mut world = World::new(Cubic::new(1_000), deep);
    world.run(Duration::from_secs(2));
    let slow = |p: &Phase| matches!(p, Phase::SlowStart | Phase::ConservativeSlowStart);
    let left = world.points.iter().find(|p| !slow(&p.phase)).unwrap();
    assert_eq!((left.phase, left.dropped), (Phase::CongestionAvoidance, 0));
    let css = world.points.iter().find(|p| p.phase == Phase::ConservativeSlowStart).unwrap();
    assert!(css.window > 200 * MSS, "and not before the pipe is full: {}", css.window);
}

#[test]
fn rfc9438_4_2_between_two_losses_the_window_follows_the_curve() {
    let mut world = World::new(Cubic::new(1_000), PATH);
    world.run(Duration::from_secs(40));
    let points = &world.points;
    let recovering = |p: Phase| p == Phase::Recovery;
    // The second recovery and the third: the first plateau is known by then.
    let edges: Vec<usize> = (1..points.len())
        .filter(|&i| recovering(points[i - 1].phase) != recovering(points[i].phase))
        .collect();
    let (lost, from, to) = (edges[2], edges[3], edges[4]);
    let segments = |i: usize| points[i].window as f64 / MSS as f64;
    let (plateau, start) = (segments(lost - 1), segments(from));
    // Fast convergence lowers a plateau that was not reached again.
    let earlier = segments(edges[0] - 1);
    let plateau = if plateau < earlier { plateau * 0.85 } else { plateau };
    for i in from..to {
        let t = points[i].now.since(points[from].now).as_secs_f64();
        // One round trip ahead, and one behind as the window follows its target.
        let (low, high) = (twin(plateau, start, t - 0.1), twin(plateau, start, t + 0.1));
        let found = segments(i);
        assert!((low - 3.0..high + 3.0).contains(&found), "{t} s: {found} of {low}..{high}");
    }
    let used = world.goodput(Duration::from_secs(35));
    assert!(used > PATH.rate * 95 / 100, "{used}");
}

proptest! {
    #[test]
    fn the_window_is_never_below_one_segment(
        mss in 1..65_536_u32,
        steps in proptest::collection::vec((0..10_u8, any::<u64>(), any::<u32>()), 0..100),
    ) {
        let mut cubic = Cubic::new(mss);
        let mut now = at(0);
        for (step, value, wait) in steps {
            now = now.after(Duration::from_micros(wait.into()));
            match step {
                0..=2 => cubic.on_ack(&AckSample {
                    rtt: Some(Duration::from_nanos(wait.into())),
                    round_start: value % 3 == 0,
                    application_limited: value % 5 == 0,
                    ..ack(now, value >> (value % 64))
                }),
                3 => cubic.on_congestion(now, CongestionCause::Loss, value),
                4 => cubic.on_congestion(now, CongestionCause::Timeout, value),
                5 => cubic.on_congestion(now, CongestionCause::RepeatedTimeout, value),
                6 => cubic.on_recovered(now, value),
                7 => cubic.on_spurious(now),
                8 => cubic.on_congestion(now, CongestionCause::Ecn, value),
                _ => cubic.on_idle_restart(now, Duration::ZERO),
            }
            prop_assert!(cubic.window() >= u64::from(mss));
            prop_assert!(cubic.slow_start_threshold() >= 2 * u64::from(mss));
        }
    }
}
