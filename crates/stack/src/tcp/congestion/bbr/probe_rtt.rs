//! The smallest round-trip time, and ProbeRTT, which sends little for a while to see it without
//! our own queue (BBR draft 5.3.4, 5.5.7).

use wire::time::{Duration, Instant};

use super::probe_bw::AckPhase;
use super::state::State;
use super::{Bbr, MIN_PIPE_SEGMENTS, RateSample};

/// How long a round-trip time is believed.
const MIN_RTT_FILTER_LEN: Duration = Duration::from_secs(10);
/// How often at most the queue is drained to look; all BBR flows share the number, so that their
/// probes meet.
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// How long the flight is kept low.
const PROBE_RTT_DURATION: Duration = Duration::from_millis(200);

/// The estimate, and when it is due for a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct MinRtt {
    /// BBR.min_rtt.
    value: Option<Duration>,
    since: Instant,
    /// probe_rtt_min_delay: the smallest of the last five seconds.
    recent: Option<Duration>,
    recent_since: Instant,
    /// probe_rtt_expired: that was not seen again for as long.
    expired: bool,
    /// probe_rtt_done_stamp: ProbeRTT may end then; `None` until the flight is low.
    done_at: Option<Instant>,
    /// probe_rtt_round_done: a round trip went by with a low flight.
    round_done: bool,
}

impl MinRtt {
    /// The connection begins; the handshake may have measured `rtt`.
    pub(super) fn start(now: Instant, rtt: Option<Duration>) -> Self {
        Self { value: rtt, since: now, recent: rtt, recent_since: now, ..Self::default() }
    }

    pub(super) fn get(&self) -> Option<Duration> {
        self.value
    }

    /// UpdateMinRTT.
    fn update(&mut self, now: Instant, rtt: Option<Duration>) {
        self.expired = now > self.recent_since.after(PROBE_RTT_INTERVAL);
        if let Some(rtt) = rtt
            && (self.expired || self.recent.is_none_or(|recent| rtt < recent))
        {
            self.recent = Some(rtt);
            self.recent_since = now;
        }
        let expired = now > self.since.after(MIN_RTT_FILTER_LEN);
        let smaller = match (self.recent, self.value) {
            (Some(recent), Some(value)) => recent < value,
            (recent, None) => recent.is_some(),
            (None, Some(_)) => false,
        };
        if smaller || (expired && self.recent.is_some()) {
            self.value = self.recent;
            self.since = self.recent_since;
        }
    }
}

impl Bbr {
    /// UpdateMinRTT and CheckProbeRTT.
    pub(super) fn update_round_trip(&mut self) {
        self.min_rtt.update(self.now, self.rs.rtt);
        if self.state != State::ProbeRtt && self.min_rtt.expired && !self.idle_restart {
            self.save_window();
            self.state = State::ProbeRtt;
            self.min_rtt.done_at = None;
            self.cycle.ack_phase = AckPhase::ProbeStopping;
            self.start_round();
            self.limited_from = self.delivered;
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt();
        }
        if self.rs.delivered > 0 {
            self.idle_restart = false;
        }
    }

    /// HandleProbeRTT: from when the flight is low, 200 ms and a round trip.
    fn handle_probe_rtt(&mut self) {
        // MarkConnectionAppLimited: what is sent until now shows a rate that we chose.
        self.limited_until = self.delivered.saturating_add(self.flight);
        if self.min_rtt.done_at.is_none() {
            if self.flight <= self.probe_rtt_window() {
                self.min_rtt.done_at = Some(self.now.after(PROBE_RTT_DURATION));
                self.min_rtt.round_done = false;
                self.start_round();
            }
            return;
        }
        self.min_rtt.round_done |= self.rounds.start;
        if self.min_rtt.round_done {
            self.check_probe_rtt_done();
        }
    }

    /// CheckProbeRTTDone and ExitProbeRTT.
    pub(super) fn check_probe_rtt_done(&mut self) {
        if self.min_rtt.done_at.is_none_or(|at| self.now <= at) {
            return;
        }
        self.min_rtt.recent_since = self.now;
        self.restore_window();
        self.reset_short_term_model();
        if self.full.reached {
            self.start_down();
            self.start_cruise();
        } else {
            self.enter_startup();
        }
    }

    /// ProbeRTTCwnd: half of what the path holds.
    pub(super) fn probe_rtt_window(&self) -> u64 {
        self.bdp_multiple(self.bw, State::ProbeRtt.cwnd_gain()).max(MIN_PIPE_SEGMENTS * self.mss)
    }

    /// Whether `rs` is of data that was sent while ProbeRTT kept the rate low.
    pub(super) fn is_of_probe_rtt(&self, rs: &RateSample) -> bool {
        (self.limited_from..=self.limited_until).contains(&rs.prior_delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn bbr_5_3_4_3_a_smaller_round_trip_counts_at_once_and_for_ten_seconds() {
        let mut rtt = MinRtt::start(Instant::ZERO, None);
        rtt.update(Instant::from_millis(100), Some(millis(50)));
        rtt.update(Instant::from_millis(200), Some(millis(40)));
        rtt.update(Instant::from_millis(300), Some(millis(60)));
        assert_eq!(rtt.get(), Some(millis(40)));
        rtt.update(Instant::from_millis(5_201), Some(millis(60)));
        assert!(rtt.expired, "not seen for five seconds");
        assert_eq!((rtt.recent, rtt.get()), (Some(millis(60)), Some(millis(40))));
        rtt.update(Instant::from_millis(10_201), Some(millis(70)));
        assert_eq!(rtt.get(), Some(millis(60)), "the smallest of the last five seconds");
    }

    #[test]
    fn bbr_5_3_4_3_no_sample_changes_nothing() {
        let mut rtt = MinRtt::start(Instant::ZERO, Some(millis(30)));
        rtt.update(Instant::from_millis(60_000), None);
        assert_eq!(rtt.get(), Some(millis(30)));
    }
}
