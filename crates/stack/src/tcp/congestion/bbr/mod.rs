//! BBR, version 3: a model of the path instead of a reaction to loss (draft-ietf-ccwg-bbr-06, "BBR
//! draft" in these files).
//!
//! The model has two dimensions: how fast the path delivers, and how much it holds. BBR measures
//! both in turn, sends at that rate and keeps that much in flight, and so needs no full queue to
//! know that the path is full. Loss bounds the model; it does not drive it.
//!
//! It wants a sender that measures delivery rates and paces. The files follow the draft's sections,
//! and the functions bear its names where these are short.

mod control;
mod filters;
mod loss;
mod model;
mod probe_bw;
mod probe_rtt;
mod startup;
mod state;

use alloc::boxed::Box;

use wire::time::{Duration, Instant};

use super::{
    AckSample, CongestionCause, Controller, LossSample, NO_THRESHOLD, Phase, initial_window,
};
use filters::MaxBandwidth;
use loss::{Recovery, Undo};
use model::{Aggregation, RateSample, Rounds};
use probe_bw::Cycle;
use probe_rtt::MinRtt;
use startup::FullPipe;
use state::State;

/// A bound that is not set: the draft's Infinity.
const UNBOUNDED: u64 = u64::MAX;
/// MinPipeCwnd: two segments on their way and the ACKs of two more, even where a peer acknowledges
/// only every second.
const MIN_PIPE_SEGMENTS: u64 = 4;

/// A controller that finds out the path's bandwidth and round-trip time, and sends to match.
#[derive(Clone, Debug)]
pub struct Bbr {
    /// SMSS: bytes of payload in a full segment.
    mss: u64,
    initial_window: u64,
    /// The peer can tell of more than one loss in a round trip.
    selective_acks: bool,
    /// Nothing was acknowledged yet: the window is still the initial one.
    untouched: bool,
    /// The clock of the filters runs.
    started: bool,

    now: Instant,
    /// The newest sample (RS).
    rs: RateSample,
    /// Bytes delivered in the life of the connection (C.delivered).
    delivered: u64,
    /// Bytes in flight after the newest ACK (C.inflight), and before it.
    flight: u64,
    flight_before: u64,
    /// The window was full in this round, and in the one before.
    window_limited: bool,
    window_limited_before: bool,
    /// Segments sent while C.delivered was in this range are of ProbeRTT.
    limited_from: u64,
    limited_until: u64,

    state: State,
    rounds: Rounds,
    recovery: Recovery,
    full: FullPipe,
    drain_start_round: u64,
    cycle: Cycle,
    idle_restart: bool,

    /// The long-term model: the bandwidth in bytes a second, and what was in flight without loss.
    max_bw: MaxBandwidth,
    inflight_longterm: u64,
    /// The short-term model: bounds after recent loss.
    bw_shortterm: u64,
    inflight_shortterm: u64,
    /// BBR.bw: the smaller of the two bandwidths.
    bw: u64,
    min_rtt: MinRtt,
    aggregation: Aggregation,

    /// The best of this round, for what follows a loss.
    bw_latest: u64,
    inflight_latest: u64,
    loss_in_round: bool,
    loss_round_start: bool,
    loss_round_delivered: u64,
    /// Losses found at different moments in this round.
    loss_events: u8,
    last_loss_at: Option<Instant>,
    undo: Undo,

    pacing_rate: u64,
    /// The pacing rate rests on a measured round-trip time.
    seen_rtt: bool,
    send_quantum: u64,
    /// cwnd, in bytes.
    window: u64,
    /// prior_cwnd.
    prior_window: u64,
}

impl Bbr {
    /// A controller for a connection whose segments carry `mss` bytes, at its initial window
    /// (RFC 6928 2).
    #[must_use]
    pub fn new(mss: u32) -> Self {
        let mut bbr = Self {
            mss: u64::from(mss.max(1)),
            initial_window: initial_window(mss),
            selective_acks: true,
            untouched: true,
            started: false,
            now: Instant::ZERO,
            rs: RateSample::default(),
            delivered: 0,
            flight: 0,
            flight_before: 0,
            window_limited: false,
            window_limited_before: false,
            limited_from: UNBOUNDED,
            limited_until: 0,
            state: State::Startup,
            rounds: Rounds::default(),
            recovery: Recovery::None,
            full: FullPipe::default(),
            drain_start_round: 0,
            cycle: Cycle::new(),
            idle_restart: false,
            max_bw: MaxBandwidth::default(),
            inflight_longterm: UNBOUNDED,
            bw_shortterm: UNBOUNDED,
            inflight_shortterm: UNBOUNDED,
            bw: 0,
            min_rtt: MinRtt::default(),
            aggregation: Aggregation::default(),
            bw_latest: 0,
            inflight_latest: 0,
            loss_in_round: false,
            loss_round_start: false,
            loss_round_delivered: 0,
            loss_events: 0,
            last_loss_at: None,
            undo: Undo::default(),
            pacing_rate: 0,
            seen_rtt: false,
            send_quantum: 0,
            window: initial_window(mss),
            prior_window: 0,
        };
        bbr.init_pacing_rate(None);
        bbr
    }

    /// The same, boxed: what [`TcpOptions::congestion`](crate::TcpOptions::congestion) takes.
    #[must_use]
    pub fn boxed(mss: u32) -> Box<dyn Controller> {
        Box::new(Self::new(mss))
    }

    /// The part of OnInit that needs the time (BBR draft 5.2.1).
    fn start(&mut self, now: Instant, rtt: Option<Duration>) {
        self.now = self.now.max(now);
        if !self.started {
            self.started = true;
            self.min_rtt = MinRtt::start(now, rtt);
            self.aggregation.since = now;
        }
        if !self.seen_rtt && rtt.is_some() {
            self.seen_rtt = true;
            self.init_pacing_rate(rtt);
        }
    }

    /// UpdateModelAndState (BBR draft 5.2.3), in its order.
    fn update_model_and_state(&mut self) {
        self.update_latest_signals();
        self.update_max_bw();
        self.adapt_short_term_model();
        self.update_aggregation();
        self.check_full_pipe();
        self.check_startup_done();
        self.check_drain_done();
        self.update_cycle();
        self.update_round_trip();
        self.advance_latest_signals();
        self.bw = self.max_bw.get().min(self.bw_shortterm);
    }

    /// UpdateControlParameters (BBR draft 5.2.3).
    fn update_control_parameters(&mut self) {
        self.set_pacing_rate(self.state.pacing_gain());
        self.set_send_quantum();
        self.set_window();
    }

    /// After a timeout recovery lasts until what was out then has arrived.
    fn follow_timeout_recovery(&mut self, acked: u64) {
        if let Recovery::Timeout(left) = &mut self.recovery {
            *left = left.saturating_sub(acked);
            if *left == 0 {
                self.end_recovery();
            }
        }
    }
}

impl Controller for Bbr {
    fn name(&self) -> &'static str {
        "bbr"
    }

    fn on_established(&mut self, now: Instant, rtt: Option<Duration>, selective_acks: bool) {
        self.selective_acks = selective_acks;
        self.start(now, rtt);
    }

    fn on_ack(&mut self, sample: &AckSample) {
        self.untouched = false;
        self.start(sample.now, sample.smoothed_rtt);
        self.flight_before = sample.flight_before;
        self.flight = sample.flight;
        self.delivered = match &sample.delivery {
            Some(delivery) => delivery.delivered_total,
            None => self.delivered.saturating_add(sample.acked),
        };
        self.rs = RateSample::of(sample);
        self.rs.application_limited |= self.is_of_probe_rtt(&self.rs);
        self.follow_timeout_recovery(sample.acked);
        self.update_model_and_state();
        self.update_control_parameters();
    }

    fn on_lost(&mut self, sample: &LossSample) {
        self.start(sample.now, None);
        self.lose(sample);
    }

    /// BBR draft 5.6.4.4: loss itself is [`on_lost`](Controller::on_lost)'s; a timeout lets one
    /// segment out.
    fn on_congestion(&mut self, now: Instant, cause: CongestionCause, flight_size: u64) {
        self.untouched = false;
        self.start(now, None);
        match cause {
            CongestionCause::Loss => {
                self.note_loss();
                self.recovery = Recovery::Fast;
            }
            CongestionCause::Timeout | CongestionCause::RepeatedTimeout => {
                self.note_loss();
                self.save_window();
                self.recovery = Recovery::Timeout(flight_size);
                self.window = self.mss;
            }
            CongestionCause::Ecn => self.take_mark(flight_size),
        }
    }

    fn on_recovered(&mut self, _now: Instant, _flight_size: u64) {
        self.end_recovery();
        self.bound_window();
    }

    fn on_spurious(&mut self, now: Instant) {
        self.handle_spurious_loss(now);
    }

    /// HandleRestartFromIdle (BBR draft 5.4.1): the window stays; the rate is that of the path.
    fn on_restart(&mut self, now: Instant) {
        self.start(now, None);
        self.idle_restart = true;
        self.aggregation.since = now;
        if self.state.is_probe_bw() {
            self.set_pacing_rate(100);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done();
        }
    }

    fn on_sent(&mut self, now: Instant, _bytes: u64, flight_size: u64) {
        self.start(now, None);
        self.window_limited |= flight_size.saturating_add(self.mss) > self.window;
    }

    /// As [`Reno`](super::Reno) (RFC 6928 2).
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
        NO_THRESHOLD
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.pacing_rate)
    }

    fn wants_rate_reduction(&self) -> bool {
        false
    }

    fn send_quantum(&self) -> Option<u64> {
        Some(self.send_quantum)
    }

    fn set_mss(&mut self, mss: u32) {
        let mss = mss.max(1);
        self.mss = u64::from(mss);
        if self.untouched {
            self.initial_window = initial_window(mss);
            self.window = self.initial_window;
        }
        self.window = self.window.max(self.mss);
        self.set_send_quantum();
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn phase(&self) -> Phase {
        self.state.phase()
    }
}

#[cfg(test)]
mod tests;
