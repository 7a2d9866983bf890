//! From the model to what the sender obeys: the pacing rate, the quantum and the window
//! (BBR draft 5.6).

use wire::time::Duration;

use super::loss::Recovery;
use super::state::State;
use super::{Bbr, MIN_PIPE_SEGMENTS, UNBOUNDED};
use crate::tcp::congestion::mul_div;

/// PacingMarginPercent: one percent below the estimate, so that queues shrink.
const PACING_MARGIN: u64 = 1;
/// The most that leaves in one piece.
const MAX_QUANTUM: u64 = 64 << 10;
/// Headroom: this part of inflight_longterm is left for others, in hundredths.
const HEADROOM: u64 = 15;

const NANOS: u64 = 1_000_000_000;

impl Bbr {
    /// InitPacingRate: the initial window within `rtt`, or within 1 ms while nothing is known.
    pub(super) fn init_pacing_rate(&mut self, rtt: Option<Duration>) {
        let rtt = rtt.filter(|rtt| !rtt.is_zero()).unwrap_or(Duration::from_millis(1));
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        let nominal = mul_div(self.initial_window, NANOS, nanos);
        self.pacing_rate = mul_div(nominal, State::Startup.pacing_gain(), 100).max(self.mss);
        self.set_send_quantum();
    }

    /// SetPacingRateWithGain, a gain in hundredths. While the pipe is not known to be full, the
    /// rate only rises.
    pub(super) fn set_pacing_rate(&mut self, gain: u64) {
        let rate = mul_div(self.bw, gain * (100 - PACING_MARGIN), 10_000);
        if rate > self.pacing_rate || (self.full.reached && rate > 0) {
            // Never so slow that a segment takes more than a second.
            self.pacing_rate = rate.max(self.mss);
        }
    }

    /// SetSendQuantum: what leaves in a millisecond.
    pub(super) fn set_send_quantum(&mut self) {
        self.send_quantum = (self.pacing_rate / 1_000).min(MAX_QUANTUM).max(2 * self.mss);
    }

    /// SetCwnd.
    pub(super) fn set_window(&mut self) {
        let max = self.max_inflight();
        let grown = self.window.saturating_add(self.rs.newly_acked);
        if self.full.reached {
            self.window = grown.min(max);
        } else if self.window < max || self.delivered < self.initial_window {
            self.window = grown;
        }
        self.window = self.window.max(MIN_PIPE_SEGMENTS * self.mss);
        self.bound_window();
    }

    /// BoundCwndForProbeRTT and BoundCwndForModel.
    pub(super) fn bound_window(&mut self) {
        if self.state == State::ProbeRtt {
            self.window = self.window.min(self.probe_rtt_window());
        }
        let cap = match self.state {
            State::Startup | State::Drain => UNBOUNDED,
            State::Down | State::Refill | State::Up => self.inflight_longterm,
            State::Cruise | State::ProbeRtt => self.inflight_with_headroom(),
        };
        let cap = cap.min(self.inflight_shortterm).max(MIN_PIPE_SEGMENTS * self.mss);
        self.window = self.window.min(cap);
    }

    /// SaveCwnd: the last window that neither recovery nor ProbeRTT had made small.
    pub(super) fn save_window(&mut self) {
        let small = self.recovery != Recovery::None || self.state == State::ProbeRtt;
        self.prior_window = if small { self.prior_window.max(self.window) } else { self.window };
    }

    /// RestoreCwnd.
    pub(super) fn restore_window(&mut self) {
        self.window = self.window.max(self.prior_window);
    }

    /// What is to be in flight to use all of the path (BBR draft 5.6.4.2).
    fn max_inflight(&self) -> u64 {
        let cap = self.bdp_multiple(self.bw, self.state.cwnd_gain());
        self.with_budget(cap.saturating_add(self.aggregation.extra()))
    }

    /// Inflight: a multiple, in hundredths, of what the path holds at `bw`.
    pub(super) fn inflight(&self, bw: u64, gain: u64) -> u64 {
        self.with_budget(self.bdp_multiple(bw, gain))
    }

    /// BDPMultiple.
    pub(super) fn bdp_multiple(&self, bw: u64, gain: u64) -> u64 {
        if self.min_rtt.get().is_none() {
            return self.initial_window;
        }
        mul_div(self.bdp(bw), gain, 100)
    }

    /// The bandwidth-delay product at `bw`, in bytes; zero before the first round-trip time.
    pub(super) fn bdp(&self, bw: u64) -> u64 {
        let rtt = self.min_rtt.get().unwrap_or_default();
        mul_div(bw, u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX), NANOS)
    }

    /// TargetInflight: the estimate, unless congestion cut the window.
    pub(super) fn target_inflight(&self) -> u64 {
        self.bdp(self.bw).min(self.window)
    }

    /// InflightWithHeadroom.
    pub(super) fn inflight_with_headroom(&self) -> u64 {
        if self.inflight_longterm == UNBOUNDED {
            return UNBOUNDED;
        }
        let headroom = mul_div(self.inflight_longterm, HEADROOM, 100).max(self.mss);
        self.inflight_longterm.saturating_sub(headroom).max(MIN_PIPE_SEGMENTS * self.mss)
    }

    /// QuantizationBudget: three quanta, one each in the sender's queue, being cut and being put
    /// together (BBR draft 5.5.8.1).
    fn with_budget(&self, cap: u64) -> u64 {
        let cap = cap.max(3 * self.send_quantum).max(MIN_PIPE_SEGMENTS * self.mss);
        if self.state == State::Up { cap.saturating_add(2 * self.mss) } else { cap }
    }
}
