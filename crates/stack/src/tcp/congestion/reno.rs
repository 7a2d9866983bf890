//! Reno: slow start and congestion avoidance (RFC 5681 3.1), counted in bytes (RFC 3465).

use alloc::boxed::Box;

use wire::time::{Duration, Instant};

use super::{AckSample, CongestionCause, Controller, NO_THRESHOLD, Phase, initial_window};

/// The classic controller: doubles until it meets the threshold, then adds one segment in each
/// round trip, and halves at a loss.
#[derive(Clone, Debug)]
pub struct Reno {
    /// SMSS: bytes of payload in a full segment.
    mss: u64,
    /// cwnd, in bytes.
    window: u64,
    /// ssthresh, in bytes.
    threshold: u64,
    /// Bytes acknowledged in congestion avoidance since the window last grew (RFC 3465 2.1).
    acked: u64,
    /// The most bytes that leave in one piece and are acknowledged in one.
    burst: u64,
    /// Bytes whose ACKs may still count data that arrived before the last timeout.
    suspect: u64,
    /// Losses are being repaired.
    in_recovery: bool,
    /// Nothing was acknowledged yet: the window is still the initial one.
    untouched: bool,
    /// Window and threshold before the last sign of congestion, should it prove spurious.
    before: Option<(u64, u64)>,
}

impl Reno {
    /// A controller for a connection whose segments carry `mss` bytes, at its initial window
    /// (RFC 6928 2).
    #[must_use]
    pub fn new(mss: u32) -> Self {
        let mss = mss.max(1);
        Self {
            mss: u64::from(mss),
            window: initial_window(mss),
            threshold: NO_THRESHOLD,
            acked: 0,
            burst: u64::from(mss),
            suspect: 0,
            in_recovery: false,
            untouched: true,
            before: None,
        }
    }

    /// The same, boxed: what [`TcpOptions::congestion`](crate::TcpOptions::congestion) takes.
    #[must_use]
    pub fn boxed(mss: u32) -> Box<dyn Controller> {
        Box::new(Self::new(mss))
    }

    /// Slow start: the window grows by what was acknowledged, but by at most L for one ACK
    /// (RFC 3465 2.2).
    ///
    /// L is two segments, so that a peer which delays its ACKs does not slow us down. Where the
    /// sender uses super-segments, one ACK answers a whole one, and L is that: what may leave in
    /// one piece anyway cannot be too large a burst. After a timeout L is one segment until the
    /// data of before is through (RFC 3465 2.3): such an ACK may cover much that had arrived long
    /// ago.
    fn slow_start(&mut self, acked: u64) {
        let limit = if self.suspect > 0 { self.mss } else { self.burst.max(2 * self.mss) };
        self.window = self.window.saturating_add(acked.min(limit));
    }

    /// Congestion avoidance: one segment for each window of data acknowledged (RFC 5681 3.1,
    /// RFC 3465 2.1).
    fn avoid_congestion(&mut self, acked: u64) {
        self.acked = self.acked.saturating_add(acked);
        if self.acked >= self.window {
            self.acked -= self.window;
            self.window = self.window.saturating_add(self.mss);
        }
        // A stretch ACK of many windows must not leave a debt that grows the window later.
        self.acked = self.acked.min(self.window);
    }

    /// Equation 4 of RFC 5681 3.1: `max(FlightSize / 2, 2 * SMSS)`.
    fn halve(&mut self, flight_size: u64) {
        self.before = Some((self.window, self.threshold));
        self.threshold = (flight_size / 2).max(2 * self.mss);
        self.acked = 0;
    }
}

impl Controller for Reno {
    fn name(&self) -> &'static str {
        "reno"
    }

    fn on_ack(&mut self, sample: &AckSample) {
        self.untouched = false;
        // RFC 3168 6.1.2: an ACK that echoes a mark opens nothing.
        if !sample.in_recovery && !sample.application_limited && !sample.ecn_echo {
            if self.window < self.threshold {
                self.slow_start(sample.acked);
            } else {
                self.avoid_congestion(sample.acked);
            }
        }
        self.suspect = self.suspect.saturating_sub(sample.acked);
    }

    fn on_congestion(&mut self, _now: Instant, cause: CongestionCause, flight_size: u64) {
        self.untouched = false;
        match cause {
            CongestionCause::Loss | CongestionCause::Ecn => {
                self.halve(flight_size);
                // After a recovery more may be in flight than the window: no reduction opens it.
                self.window = self.window.min(self.threshold);
                self.in_recovery = cause == CongestionCause::Loss;
                if cause == CongestionCause::Ecn {
                    // A router said so: there is nothing to undo.
                    self.before = None;
                }
            }
            CongestionCause::Timeout => {
                self.halve(flight_size);
                self.window = self.mss;
                self.suspect = flight_size;
                self.in_recovery = false;
            }
            CongestionCause::RepeatedTimeout => {
                self.window = self.mss;
                self.suspect = self.suspect.max(flight_size);
                self.in_recovery = false;
            }
        }
    }

    /// Option 1 of RFC 6582 3.2, step 3: `min(ssthresh, max(FlightSize, SMSS) + SMSS)`, so that
    /// the end of a recovery with little in flight is not a burst.
    fn on_recovered(&mut self, _now: Instant, flight_size: u64) {
        self.in_recovery = false;
        let gentle = flight_size.max(self.mss).saturating_add(self.mss);
        self.window = self.threshold.min(gentle);
    }

    fn on_spurious(&mut self, _now: Instant) {
        if let Some((window, threshold)) = self.before.take() {
            self.window = self.window.max(window);
            self.threshold = self.threshold.max(threshold);
        }
        self.suspect = 0;
        self.in_recovery = false;
    }

    /// The restart window, `min(IW, cwnd)` (RFC 5681 4.1): what was known about the path is stale.
    /// The threshold remembers it, so slow start leads back quickly.
    fn on_idle_restart(&mut self, _now: Instant, _idle: Duration) {
        let mss = u32::try_from(self.mss).unwrap_or(u32::MAX);
        self.window = self.window.min(initial_window(mss));
        self.acked = 0;
    }

    /// RFC 6928 2: the initial window is given up only if the SYN was lost more than once; then it
    /// is one segment (RFC 5681 3.1).
    fn on_handshake_loss(&mut self, retransmissions: u8) {
        if self.untouched && retransmissions > 1 {
            self.untouched = false;
            self.window = self.mss;
        }
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn slow_start_threshold(&self) -> u64 {
        self.threshold
    }

    fn set_mss(&mut self, mss: u32) {
        let mss = mss.max(1);
        self.mss = u64::from(mss);
        self.burst = self.burst.max(self.mss);
        if self.untouched {
            self.window = initial_window(mss);
        }
        self.window = self.window.max(self.mss);
        // RFC 5681 3.1, (4): two segments are the least, also of those that became longer.
        self.threshold = self.threshold.max(2 * self.mss);
    }

    fn set_burst(&mut self, bytes: u32) {
        self.burst = u64::from(bytes).max(self.mss);
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn phase(&self) -> Phase {
        if self.in_recovery {
            Phase::Recovery
        } else if self.window < self.threshold {
            Phase::SlowStart
        } else {
            Phase::CongestionAvoidance
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const MSS: u64 = 1_000;
    const NOW: Instant = Instant::ZERO;

    fn reno() -> Reno {
        Reno::new(1_000)
    }

    fn ack(acked: u64) -> AckSample {
        AckSample { acked, ..AckSample::default() }
    }

    /// Acknowledges one window in ACKs of `each` bytes, and tells the window after it.
    fn round(reno: &mut Reno, each: u64) -> u64 {
        let acks = reno.window().div_ceil(each);
        for _ in 0..acks {
            reno.on_ack(&ack(each));
        }
        reno.window()
    }

    #[test]
    fn rfc5681_3_1_slow_start_doubles_in_a_round_trip() {
        let mut reno = reno();
        let windows: Vec<u64> = (0..4).map(|_| round(&mut reno, MSS)).collect();
        assert_eq!(windows, [20_000, 40_000, 80_000, 160_000]);
        assert_eq!(reno.phase(), Phase::SlowStart);
    }

    #[test]
    fn rfc3465_2_2_a_peer_that_delays_its_acks_does_not_slow_slow_start() {
        assert_eq!(round(&mut reno(), 2 * MSS), 20_000);
    }

    #[test]
    fn rfc3465_2_2_one_ack_gives_two_segments_at_most() {
        let mut reno = reno();
        reno.on_ack(&ack(10 * MSS));
        assert_eq!(reno.window(), 12 * MSS);
    }

    #[test]
    fn one_ack_for_a_super_segment_gives_all_of_it() {
        let mut reno = reno();
        reno.set_burst(64_000);
        reno.on_ack(&ack(10 * MSS));
        assert_eq!(reno.window(), 20 * MSS);
    }

    #[test]
    fn rfc3465_2_3_after_a_timeout_one_ack_gives_one_segment() {
        let mut reno = reno();
        reno.set_burst(64_000);
        reno.on_congestion(NOW, CongestionCause::Timeout, 20 * MSS);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (MSS, 10 * MSS));
        reno.on_ack(&ack(18 * MSS));
        assert_eq!(reno.window(), 2 * MSS);
        reno.on_ack(&ack(2 * MSS));
        assert_eq!(reno.window(), 3 * MSS);
        reno.on_ack(&ack(2 * MSS));
        assert_eq!(reno.window(), 5 * MSS, "the old flight is through");
    }

    #[test]
    fn rfc5681_3_1_congestion_avoidance_adds_one_segment_in_a_round_trip() {
        let mut reno = reno();
        reno.on_congestion(NOW, CongestionCause::Ecn, 20 * MSS);
        assert_eq!(reno.phase(), Phase::CongestionAvoidance);
        for (each, expected) in [(MSS, 11), (2 * MSS, 12), (500, 13)] {
            assert_eq!(round(&mut reno, each), expected * MSS);
        }
    }

    #[test]
    fn rfc5681_3_1_equation_4_counts_the_flight_and_not_the_window() {
        let mut reno = reno();
        reno.on_congestion(NOW, CongestionCause::Loss, 6 * MSS);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (3 * MSS, 3 * MSS));
        assert_eq!(reno.phase(), Phase::Recovery);
        reno.on_congestion(NOW, CongestionCause::Loss, MSS);
        assert_eq!(reno.slow_start_threshold(), 2 * MSS, "never below two segments");
    }

    #[test]
    fn rfc5681_3_1_a_second_timeout_of_the_same_data_keeps_the_threshold() {
        let mut reno = reno();
        reno.on_congestion(NOW, CongestionCause::Timeout, 20 * MSS);
        reno.on_congestion(NOW, CongestionCause::RepeatedTimeout, MSS);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (MSS, 10 * MSS));
    }

    #[test]
    fn rfc7661_4_3_a_window_that_was_not_used_does_not_grow() {
        let mut reno = reno();
        let idle = AckSample { application_limited: true, ..ack(MSS) };
        for _ in 0..100 {
            reno.on_ack(&idle);
        }
        assert_eq!(reno.window(), 10 * MSS);
    }

    #[test]
    fn acks_during_recovery_do_not_grow_the_window() {
        let mut reno = reno();
        reno.on_congestion(NOW, CongestionCause::Loss, 10 * MSS);
        reno.on_ack(&AckSample { in_recovery: true, ..ack(5 * MSS) });
        assert_eq!(reno.window(), 5 * MSS);
    }

    #[test]
    fn rfc6582_3_2_step_3_recovery_ends_without_a_burst() {
        let mut reno = reno();
        reno.on_congestion(NOW, CongestionCause::Loss, 40 * MSS);
        let mut full = reno.clone();
        reno.on_recovered(NOW, 0);
        assert_eq!(reno.window(), 2 * MSS);
        full.on_recovered(NOW, 30 * MSS);
        assert_eq!(full.window(), 20 * MSS);
    }

    #[test]
    fn rfc4015_a_spurious_timeout_is_undone() {
        let mut reno = reno();
        reno.on_congestion(NOW, CongestionCause::Timeout, 10 * MSS);
        reno.on_spurious(NOW);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (10 * MSS, NO_THRESHOLD));
    }

    #[test]
    fn a_mark_just_behind_a_recovery_does_not_open_the_window() {
        let mut controllers: [Box<dyn Controller>; 2] =
            [Reno::boxed(1_000), crate::tcp::congestion::Cubic::boxed(1_000)];
        for controller in &mut controllers {
            controller.on_congestion(NOW, CongestionCause::Loss, 6 * MSS);
            controller.on_recovered(NOW, 20 * MSS);
            let window = controller.window();
            controller.on_congestion(NOW, CongestionCause::Ecn, 20 * MSS);
            assert!(controller.window() <= window, "{} opened the window", controller.name());
        }
    }

    #[test]
    fn rfc4015_a_mark_after_a_loss_is_not_undone() {
        let mut reno = reno();
        reno.on_congestion(NOW, CongestionCause::Loss, 10 * MSS);
        reno.on_congestion(NOW, CongestionCause::Ecn, 8 * MSS);
        reno.on_spurious(NOW);
        assert_eq!((reno.window(), reno.slow_start_threshold()), (4 * MSS, 4 * MSS));
    }

    #[test]
    fn rfc5681_4_1_after_idleness_the_restart_window() {
        let mut reno = reno();
        round(&mut reno, MSS);
        reno.on_idle_restart(NOW, Duration::from_secs(1));
        assert_eq!(reno.window(), 10 * MSS);
        reno.on_congestion(NOW, CongestionCause::Timeout, 10 * MSS);
        reno.on_idle_restart(NOW, Duration::from_secs(1));
        assert_eq!(reno.window(), MSS, "never above the window of before");
    }

    #[test]
    fn rfc6928_2_one_lost_syn_keeps_the_initial_window_and_two_do_not() {
        let mut reno = reno();
        reno.on_handshake_loss(1);
        assert_eq!(reno.window(), 10 * MSS);
        reno.on_handshake_loss(2);
        assert_eq!(reno.window(), MSS);
    }

    #[test]
    fn the_handshake_decides_the_segment_of_the_initial_window() {
        let mut reno = reno();
        reno.set_mss(500);
        assert_eq!(reno.window(), 5_000);
        reno.on_ack(&ack(500));
        reno.set_mss(400);
        assert_eq!(reno.window(), 5_500, "a smaller path does not shrink a window in use");
    }

    /// RFC 4821 4: whatever the size, the window in bytes is not raised.
    #[test]
    fn longer_segments_do_not_enlarge_a_window_in_use() {
        let mut reno = reno();
        reno.on_ack(&ack(MSS));
        let before = reno.window();
        reno.set_mss(1_400);
        assert_eq!(reno.window(), before);
    }

    proptest! {
        #[test]
        fn the_window_is_never_below_one_segment(
            mss in 1..65_536_u32,
            steps in proptest::collection::vec((0..8_u8, any::<u64>()), 0..100),
        ) {
            let mut reno = Reno::new(mss);
            for (step, value) in steps {
                match step {
                    0 | 1 => reno.on_ack(&ack(value)),
                    2 => reno.on_congestion(NOW, CongestionCause::Loss, value),
                    3 => reno.on_congestion(NOW, CongestionCause::Timeout, value),
                    4 => reno.on_congestion(NOW, CongestionCause::RepeatedTimeout, value),
                    5 => reno.on_recovered(NOW, value),
                    6 => reno.on_spurious(NOW),
                    _ => reno.on_idle_restart(NOW, Duration::ZERO),
                }
                prop_assert!(reno.window() >= u64::from(mss));
                prop_assert!(reno.slow_start_threshold() >= 2 * u64::from(mss));
            }
        }
    }
}
