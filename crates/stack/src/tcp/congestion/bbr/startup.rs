//! Startup and Drain: finding the bandwidth, and letting the queue run off that this made
//! (BBR draft 5.3.1, 5.3.2).

use super::Bbr;
use super::state::State;

/// The pipe is full after so many rounds that brought little.
const FULL_BW_ROUNDS: u8 = 3;
/// How many losses apart from each other end Startup in one round.
const STARTUP_FULL_LOSS_COUNT: u8 = 6;
/// After so many rounds Drain ends, whatever is in flight: the bandwidth was overestimated.
const DRAIN_ROUNDS: u64 = 3;

/// Whether sending faster still brings more (BBR draft 5.3.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct FullPipe {
    /// full_bw_reached: the pipe was full once in the life of the connection.
    pub(super) reached: bool,
    /// full_bw_now: it is full since the last reset.
    pub(super) now: bool,
    /// full_bw: the rate that the next must clearly exceed, in bytes a second.
    pub(super) baseline: u64,
    /// full_bw_count: rounds without clear growth.
    count: u8,
}

impl FullPipe {
    /// ResetFullBW: looks anew, with `baseline` as the rate to exceed.
    pub(super) fn reset(&mut self, baseline: u64) {
        *self = Self { reached: self.reached, baseline, ..Self::default() };
    }

    /// A round ended whose newest sample is `rate`: less than a quarter more is no growth.
    fn check(&mut self, rate: u64) {
        if self.now {
            return;
        }
        if rate >= self.baseline.saturating_add(self.baseline / 4) {
            self.reset(rate);
            return;
        }
        self.count = self.count.saturating_add(1);
        self.now = self.count >= FULL_BW_ROUNDS;
        self.reached |= self.now;
    }
}

impl Bbr {
    pub(super) fn enter_startup(&mut self) {
        self.state = State::Startup;
    }

    /// CheckFullBWReached.
    pub(super) fn check_full_pipe(&mut self) {
        if self.rounds.start && !self.rs.application_limited && self.rs.rate > 0 {
            self.full.check(self.rs.rate);
        }
    }

    /// CheckStartupDone.
    pub(super) fn check_startup_done(&mut self) {
        if self.state != State::Startup {
            return;
        }
        if self.loss_ends_startup() {
            self.end_startup_by_congestion();
        }
        if self.full.reached {
            self.state = State::Drain;
            self.drain_start_round = self.rounds.count;
        }
    }

    /// What a loss or a mark means in Startup once it is believed (BBR draft 5.3.1.3).
    pub(super) fn end_startup_by_congestion(&mut self) {
        self.undo.state = Some(State::Startup);
        self.full.reached = true;
        self.inflight_longterm = self.bdp(self.bw).max(self.inflight_latest);
    }

    /// CheckDrainDone: the queue is gone.
    pub(super) fn check_drain_done(&mut self) {
        let empty = self.flight <= self.inflight(self.bw, 100);
        let late = self.rounds.count > self.drain_start_round.saturating_add(DRAIN_ROUNDS);
        if self.state == State::Drain && (empty || late) {
            self.start_down();
        }
    }

    /// CheckStartupHighLoss, at the end of a round with losses: recovery has lasted for a round,
    /// more than 2% are lost, and not in one burst. A peer without SACK shows one loss in a round
    /// trip, so there one is enough.
    ///
    /// Losses that are found at the same moment count as one burst, as Linux counts.
    fn loss_ends_startup(&self) -> bool {
        let enough = if self.selective_acks { STARTUP_FULL_LOSS_COUNT } else { 1 };
        self.loss_round_start
            && self.recovery.is_fast()
            && self.loss_events >= enough
            && self.is_inflight_too_high()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bbr_5_3_1_2_three_rounds_without_a_quarter_more_fill_the_pipe() {
        let mut full = FullPipe::default();
        for rate in [100, 200, 300] {
            full.check(rate);
        }
        assert_eq!(full.baseline, 300);
        for rate in [374, 360] {
            full.check(rate);
            assert!(!full.reached);
        }
        full.check(375);
        assert_eq!((full.baseline, full.count), (375, 0), "a quarter more begins anew");
        for rate in [375, 400, 460] {
            full.check(rate);
        }
        assert!(full.now && full.reached);
        full.reset(0);
        assert!(!full.now && full.reached);
    }
}
