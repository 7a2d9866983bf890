//! What loss says of the path, and forgetting it when it was none (BBR draft 5.5.10, 5.5.11).

use wire::time::Instant;

use super::state::State;
use super::{Bbr, UNBOUNDED};
use crate::tcp::congestion::{LossSample, mul_div};

/// LossThresh: up to this part of a round trip's data may be lost, in hundredths.
const LOSS_THRESHOLD: u64 = 2;
/// Beta: a round with loss leaves at least this, in tenths.
const BETA: u64 = 7;

/// Losses are being repaired, and how that began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Recovery {
    #[default]
    None,
    /// By duplicate ACKs, SACK or RACK.
    Fast,
    /// By a timeout; it ends when so many bytes more have arrived.
    Timeout(u64),
}

impl Recovery {
    pub(super) fn is_fast(self) -> bool {
        self == Recovery::Fast
    }
}

/// The state from before a loss, for when that was none (BBR draft 5.5.11.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Undo {
    /// The state that the loss put an end to.
    pub(super) state: Option<State>,
    /// The other fields are of this recovery, and not of one that is over.
    saved: bool,
    bw_shortterm: u64,
    inflight_shortterm: u64,
    inflight_longterm: u64,
}

impl Bbr {
    /// HandleLostPacket.
    pub(super) fn lose(&mut self, lost: &LossSample) {
        self.note_loss();
        if self.last_loss_at != Some(lost.now) {
            self.last_loss_at = Some(lost.now);
            self.loss_events = self.loss_events.saturating_add(1);
        }
        if self.cycle.is_sample && self.is_too_much(lost.lost_since_sent, lost.flight_when_sent) {
            let flight = inflight_at_loss(lost);
            self.handle_inflight_too_high(flight, lost.application_limited);
        }
    }

    /// NoteLoss, with SaveStateUponLoss.
    pub(super) fn note_loss(&mut self) {
        self.note_congestion();
        if !self.undo.saved {
            self.save_window();
            self.save_state();
        }
    }

    /// The first congestion of a round begins the round at whose end the bounds follow.
    fn note_congestion(&mut self) {
        if !self.loss_in_round {
            self.loss_in_round = true;
            self.loss_round_delivered = self.delivered;
        }
    }

    /// SaveStateUponLoss, once in each recovery, at its first loss (BBR draft 5.5.11.1). That loss
    /// may itself change the state, so what comes after it must not save again.
    fn save_state(&mut self) {
        self.undo = Undo {
            state: None,
            saved: true,
            bw_shortterm: self.bw_shortterm,
            inflight_shortterm: self.inflight_shortterm,
            inflight_longterm: self.inflight_longterm,
        };
    }

    /// Recovery is over; the next loss is another story.
    pub(super) fn end_recovery(&mut self) {
        self.recovery = Recovery::None;
        self.undo.saved = false;
        self.restore_window();
    }

    /// A router marked a packet. The draft leaves the response open but wants one (3.7): a mark is
    /// taken as loss beyond the threshold, with the whole flight as what was too much.
    pub(super) fn take_mark(&mut self, flight: u64) {
        self.note_congestion();
        if self.state == State::Startup {
            self.end_startup_by_congestion();
            self.check_startup_done();
        } else if self.state.is_probing() || self.cycle.is_sample {
            self.handle_inflight_too_high(flight, false);
        }
        // A router said so: a loss that proves to be none does not undo this.
        self.save_state();
        self.undo.saved = self.recovery != Recovery::None;
    }

    /// IsInflightTooHigh, for the newest sample.
    pub(super) fn is_inflight_too_high(&self) -> bool {
        self.is_too_much(self.rs.lost, self.rs.flight_when_sent)
    }

    fn is_too_much(&self, lost: u64, flight: u64) -> bool {
        let permitted = mul_div(flight, LOSS_THRESHOLD, 100);
        lost > permitted || (lost > 0 && !self.selective_acks)
    }

    /// HandleInflightTooHigh: the probe met its limit at `flight`. At most once for each probe.
    fn handle_inflight_too_high(&mut self, flight: u64, application_limited: bool) {
        self.cycle.too_high = true;
        self.cycle.is_sample = false;
        if !application_limited {
            let least = mul_div(self.target_inflight(), BETA, 10);
            self.inflight_longterm = flight.max(least);
        }
        if self.state == State::Up {
            self.undo.state = Some(State::Up);
            self.start_down();
        }
    }

    /// UpdateLatestDeliverySignals: the best of this round.
    pub(super) fn update_latest_signals(&mut self) {
        self.loss_round_start = false;
        self.bw_latest = self.bw_latest.max(self.rs.rate);
        self.inflight_latest = self.inflight_latest.max(self.rs.delivered);
        if self.rs.delivered > 0 && self.rs.prior_delivered >= self.loss_round_delivered {
            self.loss_round_delivered = self.delivered;
            self.loss_round_start = true;
        }
    }

    /// AdvanceLatestDeliverySignals.
    pub(super) fn advance_latest_signals(&mut self) {
        if self.loss_round_start {
            self.bw_latest = self.rs.rate;
            self.inflight_latest = self.rs.delivered;
            self.loss_events = 0;
        }
    }

    pub(super) fn reset_congestion_signals(&mut self) {
        self.loss_in_round = false;
        self.bw_latest = 0;
        self.inflight_latest = 0;
    }

    pub(super) fn reset_short_term_model(&mut self) {
        self.bw_shortterm = UNBOUNDED;
        self.inflight_shortterm = UNBOUNDED;
    }

    /// AdaptLowerBoundsFromCongestion: at the end of a round with loss in which we did not probe,
    /// the short-term bounds follow what the path delivered.
    pub(super) fn adapt_short_term_model(&mut self) {
        if !self.loss_round_start {
            return;
        }
        if self.loss_in_round && !self.state.is_probing() {
            let bw =
                if self.bw_shortterm == UNBOUNDED { self.max_bw.get() } else { self.bw_shortterm };
            let inflight = self.inflight_shortterm;
            let inflight = if inflight == UNBOUNDED { self.window } else { inflight };
            self.bw_shortterm = self.bw_latest.max(mul_div(bw, BETA, 10));
            self.inflight_shortterm = self.inflight_latest.max(mul_div(inflight, BETA, 10));
        }
        self.loss_in_round = false;
    }

    /// HandleSpuriousLossDetection.
    pub(super) fn handle_spurious_loss(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let undo = core::mem::take(&mut self.undo);
        self.end_recovery();
        self.loss_in_round = false;
        self.full.reset(0);
        self.bw_shortterm = self.bw_shortterm.max(undo.bw_shortterm);
        self.inflight_shortterm = self.inflight_shortterm.max(undo.inflight_shortterm);
        self.inflight_longterm = self.inflight_longterm.max(undo.inflight_longterm);
        match undo.state {
            Some(State::Startup) if self.state != State::Startup => {
                self.full.reached = false;
                if self.state != State::ProbeRtt {
                    self.enter_startup();
                }
            }
            Some(State::Up) if !matches!(self.state, State::Up | State::ProbeRtt) => {
                self.start_refill();
            }
            _ => {}
        }
    }
}

/// InflightAtLoss: what was in flight when the losses came to the threshold, perhaps in the middle
/// of a super-segment.
fn inflight_at_loss(lost: &LossSample) -> u64 {
    let before = lost.flight_when_sent.saturating_sub(lost.bytes);
    let lost_before = lost.lost_since_sent.saturating_sub(lost.bytes);
    let room = mul_div(before, LOSS_THRESHOLD, 100).saturating_sub(lost_before);
    before.saturating_add(mul_div(room, 100, 100 - LOSS_THRESHOLD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bbr_5_5_10_2_the_threshold_may_be_met_within_a_super_segment() {
        let lost = |bytes, lost_since_sent| LossSample {
            bytes,
            flight_when_sent: 100_000,
            lost_since_sent,
            ..LossSample::default()
        };
        // 36 kB before it, nothing lost: x / (36000 + x) = 2% at 734 bytes of it.
        assert_eq!(inflight_at_loss(&lost(64_000, 64_000)), 36_734);
        // Too much was lost before it: all of it is too much.
        assert_eq!(inflight_at_loss(&lost(1_000, 4_000)), 99_000);
    }
}
