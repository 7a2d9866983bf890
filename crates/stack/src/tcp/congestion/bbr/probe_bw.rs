//! ProbeBW: the cycle of slowing down, cruising, refilling and probing (BBR draft 5.3.3).

use wire::time::{Duration, Instant};

use super::state::State;
use super::{Bbr, UNBOUNDED};

/// The shortest time from one probe for bandwidth to the next; up to [`WAIT_SPREAD`] is added.
const SHORTEST_WAIT: Duration = Duration::from_secs(2);
/// One second.
const WAIT_SPREAD: u64 = 1_000_000_000;
/// With Reno beside us, this many rounds are as long as one of its sawteeth may last.
const MAX_RENO_ROUNDS: u64 = 63;
/// The growth of inflight_longterm doubles in each round, but not for ever.
const MAX_PROBE_ROUNDS: u8 = 30;

/// What the ACKs that come now tell about, with respect to probing (BBR draft 2.14).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum AckPhase {
    /// Not probing.
    #[default]
    Init,
    /// The pipe is being filled.
    Refilling,
    /// The probe is on its way; its ACKs are not here yet.
    ProbeStarting,
    /// ACKs of the probe arrive.
    ProbeFeedback,
    /// The probe is over; the last of its ACKs arrive.
    ProbeStopping,
}

/// The state of one ProbeBW cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cycle {
    pub(super) ack_phase: AckPhase,
    /// is_bw_probe_sample: ACKs are of data that probed, so a loss can bound inflight_longterm.
    pub(super) is_sample: bool,
    /// prev_probe_too_high: the last probe lost too much.
    pub(super) too_high: bool,
    /// prev_probe_precautionary: the last probe stopped at the volume where the one before it lost.
    precautionary: bool,
    /// bw_probe_up_acked: bytes acknowledged since inflight_longterm grew.
    up_acked: u64,
    /// probe_up_acked_per_inc: bytes to acknowledge for each segment that it grows.
    up_acked_per_segment: u64,
    /// bw_probe_up_rounds.
    up_rounds: u8,
    /// rounds_since_probe_up.
    pub(super) rounds_since_up: u64,
    /// bw_probe_wait: the longest time until the next probe.
    wait: Duration,
    /// cycle_stamp: when this cycle began.
    began: Instant,
}

impl Cycle {
    pub(super) fn new() -> Self {
        Self {
            ack_phase: AckPhase::Init,
            is_sample: false,
            too_high: false,
            precautionary: false,
            up_acked: 0,
            up_acked_per_segment: UNBOUNDED,
            up_rounds: 0,
            rounds_since_up: 0,
            wait: Duration::ZERO,
            began: Instant::ZERO,
        }
    }
}

impl Bbr {
    pub(super) fn start_down(&mut self) {
        self.reset_congestion_signals();
        self.cycle.up_acked_per_segment = UNBOUNDED;
        self.pick_probe_wait();
        self.cycle.began = self.now;
        self.cycle.ack_phase = AckPhase::ProbeStopping;
        self.start_round();
        self.state = State::Down;
    }

    pub(super) fn start_cruise(&mut self) {
        self.state = State::Cruise;
    }

    pub(super) fn start_refill(&mut self) {
        self.reset_short_term_model();
        self.cycle.up_rounds = 0;
        self.cycle.up_acked = 0;
        self.cycle.precautionary = false;
        self.cycle.ack_phase = AckPhase::Refilling;
        self.start_round();
        self.state = State::Refill;
    }

    fn start_up(&mut self) {
        self.cycle.ack_phase = AckPhase::ProbeStarting;
        self.start_round();
        self.full.reset(self.rs.rate);
        self.state = State::Up;
        self.raise_longterm_slope();
    }

    /// UpdateProbeBWCyclePhase.
    pub(super) fn update_cycle(&mut self) {
        if !self.full.reached || self.adapt_long_term_model() {
            return;
        }
        match self.state {
            State::Down if self.is_time_to_probe() => self.start_refill(),
            State::Down if self.is_time_to_cruise() => self.start_cruise(),
            State::Cruise if self.is_time_to_probe() => self.start_refill(),
            State::Refill if self.rounds.start => {
                self.cycle.is_sample = true;
                self.start_up();
            }
            State::Up => self.go_down_if_due(),
            _ => {}
        }
    }

    /// AdaptLongTermModel: follows what the ACKs tell about, and moves the bandwidth filter and
    /// inflight_longterm. `true` when that began another phase.
    fn adapt_long_term_model(&mut self) -> bool {
        if self.cycle.ack_phase == AckPhase::ProbeStarting && self.rounds.start {
            self.cycle.ack_phase = AckPhase::ProbeFeedback;
        }
        if self.cycle.ack_phase == AckPhase::ProbeStopping && self.rounds.start {
            self.cycle.is_sample = false;
            self.cycle.ack_phase = AckPhase::Init;
            if self.state.is_probe_bw() {
                if !self.rs.application_limited {
                    self.max_bw.advance();
                }
                // Stopping early was enough to lose nothing: now probe in earnest (5.3.3.6).
                if self.cycle.precautionary && !self.cycle.too_high {
                    self.start_refill();
                    return true;
                }
            }
        }
        if !self.is_inflight_too_high() && self.inflight_longterm != UNBOUNDED {
            self.inflight_longterm = self.inflight_longterm.max(self.rs.flight_when_sent);
            if self.state == State::Up {
                self.probe_longterm_upward();
            }
        }
        false
    }

    /// ProbeInflightLongtermUpward: more for each round in which the bound was really used.
    fn probe_longterm_upward(&mut self) {
        if !self.is_window_limited() || self.window < self.inflight_longterm {
            return;
        }
        self.cycle.up_acked = self.cycle.up_acked.saturating_add(self.rs.newly_acked);
        let per_segment = self.cycle.up_acked_per_segment.max(1);
        let segments = self.cycle.up_acked / per_segment;
        self.cycle.up_acked -= segments * per_segment;
        self.inflight_longterm =
            self.inflight_longterm.saturating_add(segments.saturating_mul(self.mss));
        if self.rounds.start {
            self.raise_longterm_slope();
        }
    }

    /// RaiseInflightLongtermSlope: 1, 2, 4, 8 ... segments in a round trip.
    fn raise_longterm_slope(&mut self) {
        let growth = 1_u64 << self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(MAX_PROBE_ROUNDS);
        self.cycle.up_acked_per_segment = (self.window / growth).max(self.mss);
    }

    fn is_time_to_cruise(&self) -> bool {
        self.flight <= self.inflight_with_headroom()
            && self.flight <= self.inflight(self.max_bw.get(), 100)
    }

    fn go_down_if_due(&mut self) {
        if self.is_time_to_go_down() {
            // No loss beyond the threshold, as far as is known yet.
            self.cycle.too_high = false;
            self.start_down();
        }
    }

    fn is_time_to_go_down(&mut self) -> bool {
        // Deceleration of 5.3.3.6. An ACK has just made room, so what was in flight before it
        // tells whether the bound was reached.
        if self.cycle.too_high && self.flight_before.max(self.flight) >= self.inflight_longterm {
            self.cycle.precautionary = true;
            return true;
        }
        if self.is_window_limited() && self.window >= self.inflight_longterm {
            // The bound, and not the path, holds the rate down.
            self.full.reset(self.rs.rate);
            return false;
        }
        self.full.now
    }

    /// IsTimeToProbeBW: a time of two to three seconds, or what Reno would take to come back to
    /// this window (5.3.3.8).
    fn is_time_to_probe(&self) -> bool {
        self.now > self.cycle.began.after(self.cycle.wait) || self.is_reno_coexistence_time()
    }

    fn is_reno_coexistence_time(&self) -> bool {
        let rounds = (self.target_inflight() / self.mss).min(MAX_RENO_ROUNDS);
        self.cycle.rounds_since_up >= rounds
    }

    /// PickProbeWait. Chance keeps flows from probing in step. Here it comes from when the cycle
    /// begins and how much was delivered by then, which differ between flows and are the same
    /// whenever the same happens again.
    fn pick_probe_wait(&mut self) {
        let chance = mix(self.now.as_nanos() ^ self.delivered.rotate_left(32));
        self.cycle.rounds_since_up = chance >> 63;
        self.cycle.wait = SHORTEST_WAIT + Duration::from_nanos(chance % WAIT_SPREAD);
    }
}

/// Spreads every bit of `seed` over the whole word (the finalizer of SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
