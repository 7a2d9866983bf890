//! CUBIC: the window as a cubic function of the time since the last congestion (RFC 9438).
//!
//! After a reduction the window climbs fast, becomes flat near where the path was full the last
//! time, and then climbs faster and faster in search of more. Where Reno would be faster (short
//! round trips, little bandwidth) it does what Reno does. The curve itself is in `curve.rs`.

mod curve;

use alloc::boxed::Box;

use wire::time::{Duration, Instant};

use super::hystart::HyStart;
use super::{AckSample, CongestionCause, Controller, NO_THRESHOLD, Phase, initial_window, mul_div};
use curve::{Curve, FRACTION};

/// What is left of a window after congestion: beta of RFC 9438 4.6, 0.7. For ECN too: the 0.85 of
/// RFC 8511 is an experiment.
const BETA: (u64, u64) = (7, 10);

/// The default controller.
#[derive(Clone, Debug)]
pub struct Cubic {
    /// SMSS: bytes of payload in a full segment.
    mss: u32,
    /// The most bytes that leave in one piece and are acknowledged in one.
    burst: u32,
    /// cwnd, in bytes.
    window: u64,
    /// ssthresh, in bytes.
    threshold: u64,
    curve: Curve,
    hystart: HyStart,
    /// When the last ACK came.
    heard: Instant,
    /// What there was before the last loss or timeout, should it prove spurious.
    before: Option<Box<Before>>,
    /// Bytes whose ACKs may still count data that arrived before the last timeout.
    suspect: u32,
    /// What the window has beyond whole bytes, in 1/65536.
    fraction: u16,
    /// Losses are being repaired.
    in_recovery: bool,
    /// Nothing was acknowledged yet: the window is still the initial one.
    untouched: bool,
}

// One for each connection: with what an allocator keeps beside it, 128 bytes.
const _: () = assert!(size_of::<Cubic>() <= 120);

/// The variables to restore after a spurious congestion event (RFC 9438 4.9.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Before {
    window: u64,
    threshold: u64,
    curve: Curve,
}

impl Cubic {
    /// A controller for a connection whose segments carry `mss` bytes, at its initial window
    /// (RFC 6928 2).
    #[must_use]
    pub fn new(mss: u32) -> Self {
        let mss = mss.max(1);
        Self {
            mss,
            burst: mss,
            window: initial_window(mss),
            threshold: NO_THRESHOLD,
            curve: Curve::default(),
            hystart: HyStart::new(false),
            heard: Instant::ZERO,
            before: None,
            suspect: 0,
            fraction: 0,
            in_recovery: false,
            untouched: true,
        }
    }

    /// The same, boxed: what [`TcpOptions::congestion`](crate::TcpOptions::congestion) takes.
    #[must_use]
    pub fn boxed(mss: u32) -> Box<dyn Controller> {
        Box::new(Self::new(mss))
    }

    fn mss(&self) -> u64 {
        self.mss.into()
    }

    fn grow(&mut self, sample: &AckSample) {
        if self.threshold == NO_THRESHOLD {
            self.first_slow_start(sample);
        } else if self.window < self.threshold {
            self.slow_start(sample.acked);
        } else {
            self.avoid_congestion(sample);
        }
    }

    /// The first slow start is HyStart++'s (RFC 9438 4.10). When it ends without a loss nothing is
    /// known of a plateau: the convex half of the curve begins here.
    fn first_slow_start(&mut self, sample: &AckSample) {
        if self.hystart.on_ack(sample) {
            self.threshold = self.window;
            self.curve.prior = self.window;
            self.curve.forget_plateau();
            self.avoid_congestion(sample);
        } else {
            let growth = self.hystart.growth(sample.acked, self.mss(), self.burst.into());
            self.window = self.window.saturating_add(growth);
        }
    }

    /// Slow start towards a threshold, with the limits for one ACK that
    /// [`Reno`](super::Reno) has (RFC 3465 2.2, 2.3).
    fn slow_start(&mut self, acked: u64) {
        let burst = u64::from(self.burst).max(2 * self.mss());
        let limit = if self.suspect > 0 { self.mss() } else { burst };
        self.window = self.window.saturating_add(acked.min(limit)).min(self.threshold);
    }

    /// Congestion avoidance (RFC 9438 4.2 to 4.5).
    fn avoid_congestion(&mut self, sample: &AckSample) {
        let (now, mss, window) = (sample.now, self.mss(), self.window);
        let acked = sample.acked.min(window);
        self.curve.ensure_stage(now, window, mss);
        let reno = self.curve.reno_after(acked, window, mss);
        if self.curve.at(now, Duration::ZERO, mss) < reno {
            // The Reno-friendly region (4.3).
            self.window = window.max(reno);
            return;
        }
        let rtt = sample.smoothed_rtt.unwrap_or_default();
        let most = window.saturating_add(window / 2);
        let target = self.curve.at(now, rtt, mss).clamp(window, most);
        // (target - cwnd) / cwnd for each segment acknowledged (4.4, 4.5).
        let growth = mul_div(acked.saturating_mul(1 << FRACTION), target - window, window);
        let sum = u64::from(self.fraction).saturating_add(growth);
        self.window = window.saturating_add(sum >> FRACTION);
        // The sixteen bits that are less than a byte.
        self.fraction = (sum & ((1 << FRACTION) - 1)) as u16;
    }

    /// The multiplicative decrease of RFC 9438 4.6; tells what is left of `flight_size`.
    fn reduce(&mut self, flight_size: u64) -> u64 {
        let (window, threshold, curve) = (self.window, self.threshold, self.curve);
        self.before = Some(Box::new(Before { window, threshold, curve }));
        self.curve.on_congestion(self.window);
        self.fraction = 0;
        let rest = mul_div(flight_size, BETA.0, BETA.1);
        self.threshold = rest.max(2 * self.mss());
        rest
    }
}

/// What is in flight fits: sequence numbers have 32 bits.
fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Controller for Cubic {
    fn name(&self) -> &'static str {
        "cubic"
    }

    fn on_ack(&mut self, sample: &AckSample) {
        self.untouched = false;
        if sample.application_limited {
            self.curve.exclude(sample.now.since(self.heard));
        } else if !sample.in_recovery && !sample.ecn_echo {
            // RFC 3168 6.1.2: an ACK that echoes a mark opens nothing.
            self.grow(sample);
        }
        self.heard = sample.now;
        self.suspect = self.suspect.saturating_sub(narrow(sample.acked));
    }

    fn on_congestion(&mut self, _now: Instant, cause: CongestionCause, flight_size: u64) {
        self.untouched = false;
        match cause {
            CongestionCause::Loss => {
                self.reduce(flight_size);
                // After a recovery more may be in flight than the window: no reduction opens it.
                self.window = self.window.min(self.threshold);
                self.in_recovery = true;
            }
            CongestionCause::Ecn => {
                let rest = self.reduce(flight_size);
                // A router said so: there is nothing to undo. And down to one segment (4.6).
                self.before = None;
                self.window = self.window.min(rest).max(self.mss());
            }
            CongestionCause::Timeout => {
                self.reduce(flight_size);
                self.curve.forget_plateau();
                self.window = self.mss();
                self.suspect = narrow(flight_size);
                self.in_recovery = false;
            }
            CongestionCause::RepeatedTimeout => {
                self.curve.forget_plateau();
                self.window = self.mss();
                self.suspect = self.suspect.max(narrow(flight_size));
                self.in_recovery = false;
            }
        }
    }

    /// As [`Reno`](super::Reno): a recovery that ends with little in flight ends without a burst
    /// (RFC 6582 3.2, step 3).
    fn on_recovered(&mut self, _now: Instant, flight_size: u64) {
        self.in_recovery = false;
        let gentle = flight_size.max(self.mss()).saturating_add(self.mss());
        self.window = self.threshold.min(gentle);
    }

    /// RFC 9438 4.9.2, and 4.9.1 with RFC 4015 3.2: everything as it was, unless the window has
    /// grown beyond that already.
    fn on_spurious(&mut self, _now: Instant) {
        if let Some(before) = self.before.take()
            && self.window < self.curve.prior
        {
            self.window = before.window.max(self.mss());
            self.threshold = before.threshold;
            self.curve = before.curve;
            self.hystart = HyStart::new(false);
        }
        self.suspect = 0;
        self.in_recovery = false;
    }

    /// The restart window, `min(IW, cwnd)` (RFC 5681 4.1). Where slow start meets the threshold
    /// another stage begins, so the idle time does not count (RFC 9438 5.8).
    fn on_idle_restart(&mut self, _now: Instant, _idle: Duration) {
        self.window = self.window.min(initial_window(self.mss));
        self.curve.end_stage();
    }

    /// As [`Reno`](super::Reno) (RFC 6928 2).
    fn on_handshake_loss(&mut self, retransmissions: u8) {
        if self.untouched && retransmissions > 1 {
            self.untouched = false;
            self.window = self.mss();
        }
    }

    /// The first data after a silence: the silence is no time of the stage (RFC 9438 5.8).
    fn on_sent(&mut self, now: Instant, bytes: u64, flight_size: u64) {
        if flight_size == bytes {
            self.curve.exclude(now.since(self.heard));
            self.heard = now;
        }
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn slow_start_threshold(&self) -> u64 {
        self.threshold
    }

    fn set_mss(&mut self, mss: u32) {
        self.mss = mss.max(1);
        self.burst = self.burst.max(self.mss);
        if self.untouched {
            self.window = initial_window(self.mss);
        }
        self.window = self.window.max(self.mss());
        // RFC 5681 3.1, (4): two segments are the least, also of those that became longer.
        self.threshold = self.threshold.max(2 * self.mss());
    }

    fn set_burst(&mut self, bytes: u32) {
        self.burst = bytes.max(self.mss);
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn phase(&self) -> Phase {
        if self.in_recovery {
            Phase::Recovery
        } else if self.window >= self.threshold {
            Phase::CongestionAvoidance
        } else if self.hystart.is_conservative() && self.threshold == NO_THRESHOLD {
            Phase::ConservativeSlowStart
        } else {
            Phase::SlowStart
        }
    }
}

#[cfg(test)]
mod tests;
