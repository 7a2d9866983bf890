//! Round trips counted in packets, samples, and the degree of aggregation (BBR draft 5.5.1, 5.5.5,
//! 5.5.9).

use wire::time::{Duration, Instant};

use super::Bbr;
use super::filters::WindowedMax;
use crate::tcp::congestion::{AckSample, mul_div};

/// ExtraAckedFilterLen: how many rounds the aggregation is remembered once the pipe was full.
const EXTRA_ACKED_ROUNDS: u64 = 10;

/// RS of BBR draft 2.3: what the newest ACK measured. Rates of zero are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct RateSample {
    /// Bytes a second.
    pub(super) rate: u64,
    /// Bytes delivered while the newest acknowledged segment was on its way.
    pub(super) delivered: u64,
    /// What was delivered in all when it was sent.
    pub(super) prior_delivered: u64,
    /// tx_in_flight.
    pub(super) flight_when_sent: u64,
    /// Bytes lost while it was on its way.
    pub(super) lost: u64,
    pub(super) application_limited: bool,
    pub(super) newly_acked: u64,
    pub(super) rtt: Option<Duration>,
}

impl RateSample {
    /// GenerateRateSample: a rate over less than a round trip is not believed.
    pub(super) fn of(sample: &AckSample) -> Self {
        let ack = Self { newly_acked: sample.acked, rtt: sample.rtt, ..Self::default() };
        let Some(delivery) = &sample.delivery else { return ack };
        let believed = sample.min_rtt.is_none_or(|min| delivery.interval >= min);
        Self {
            rate: delivery.rate().filter(|_| believed).unwrap_or(0),
            delivered: delivery.delivered_total.saturating_sub(delivery.delivered_when_sent),
            prior_delivered: delivery.delivered_when_sent,
            flight_when_sent: delivery.flight_when_sent,
            lost: delivery.lost,
            application_limited: delivery.application_limited,
            ..ack
        }
    }
}

/// Round trips that begin with the sending of a segment and end with its ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Rounds {
    pub(super) count: u64,
    /// round_start: this ACK began one.
    pub(super) start: bool,
    /// next_round_delivered: an ACK of a segment sent at or after this ends the round.
    end: u64,
}

/// How much more is acknowledged at once than the bandwidth explains.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Aggregation {
    /// extra_acked_interval_start.
    pub(super) since: Instant,
    /// extra_acked_delivered.
    delivered: u64,
    filter: WindowedMax,
}

impl Aggregation {
    pub(super) fn extra(&self) -> u64 {
        self.filter.get()
    }
}

impl Bbr {
    /// UpdateRound and UpdateMaxBw. A rate that the program held down counts only when it is
    /// above the estimate all the same.
    pub(super) fn update_max_bw(&mut self) {
        let rs = self.rs;
        self.rounds.start = rs.delivered > 0 && rs.prior_delivered >= self.rounds.end;
        if self.rounds.start {
            self.start_round();
            self.rounds.count += 1;
            self.cycle.rounds_since_up = self.cycle.rounds_since_up.saturating_add(1);
            self.window_limited_before = core::mem::take(&mut self.window_limited);
        }
        if rs.rate > 0 && (rs.rate >= self.max_bw.get() || !rs.application_limited) {
            self.max_bw.update(rs.rate);
        }
    }

    /// StartRound: the round ends with the ACK of something that is sent from now on.
    pub(super) fn start_round(&mut self) {
        self.rounds.end = self.delivered;
    }

    /// is_cwnd_limited: the window was full at some time in the last round trip.
    pub(super) fn is_window_limited(&self) -> bool {
        self.window_limited || self.window_limited_before
    }

    /// UpdateACKAggregation.
    pub(super) fn update_aggregation(&mut self) {
        let interval = self.now.since(self.aggregation.since).as_nanos();
        let interval = u64::try_from(interval).unwrap_or(u64::MAX);
        let mut expected = mul_div(self.bw, interval, 1_000_000_000);
        if self.aggregation.delivered <= expected {
            self.aggregation.delivered = 0;
            self.aggregation.since = self.now;
            expected = 0;
        }
        let delivered = self.aggregation.delivered.saturating_add(self.rs.newly_acked);
        self.aggregation.delivered = delivered;
        let extra = delivered.saturating_sub(expected).min(self.window);
        let length = if self.full.reached { EXTRA_ACKED_ROUNDS } else { 1 };
        self.aggregation.filter.update(extra, self.rounds.count, length);
    }
}
