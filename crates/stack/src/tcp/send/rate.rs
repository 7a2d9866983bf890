//! How fast data arrives at the peer: a sample for each ACK (draft-ietf-ccwg-bbr 4.1).
//!
//! A segment remembers what had been delivered when it was sent. When it is acknowledged, what was
//! delivered since, over the time that took, is a rate. The time is the longer one of sending and of
//! acknowledging, so that ACKs which arrive squeezed together do not look like bandwidth.

use wire::time::{Duration, Instant};

use crate::tcp::congestion::DeliverySample;
use crate::tcp::send::inflight::Record;

/// What a segment remembers of the moment in which it was sent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct RateStamp {
    /// C.delivered: bytes delivered before.
    pub(crate) delivered: u64,
    /// C.delivered_time: when the last of them was known to be.
    delivered_at: Instant,
    /// C.first_send_time: when the first segment of this round of samples was sent.
    first_sent_at: Instant,
    /// Bytes lost before.
    pub(crate) lost: u64,
    /// Bytes in flight, with its own.
    pub(crate) flight: u32,
    /// The sender had nothing more to send.
    pub(crate) application_limited: bool,
}

/// The running totals of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeliveryRate {
    delivered: u64,
    lost: u64,
    /// Samples are limited by the program until this much is delivered.
    limited_until: u64,
    /// The round trip ends when what is sent from here on is acknowledged.
    round_ends: u64,
    /// What is reported (`tcpi_delivery_rate`): in bytes a second.
    reported: u64,
    /// That rate may be the program's and not the path's.
    reported_is_limited: bool,
}

/// What counts for the sample of an ACK: of the segments that it acknowledges the one sent last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest {
    stamp: RateStamp,
    sent_at: Instant,
}

impl Newest {
    /// The one of `known` and `record` that was sent later.
    pub(crate) fn later_of(known: Option<Self>, record: &Record) -> Option<Self> {
        let is_newer = |known: &Self| {
            (record.sent_at, record.stamp.delivered) >= (known.sent_at, known.stamp.delivered)
        };
        known
            .filter(|known| !is_newer(known))
            .or(Some(Self { stamp: record.stamp, sent_at: record.sent_at }))
    }
}

/// When the samples of what is in flight began.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateClock {
    /// C.delivered_time.
    delivered_at: Instant,
    /// C.first_send_time.
    first_sent_at: Instant,
}

impl RateClock {
    /// Nothing is in flight.
    pub(crate) const fn new() -> Self {
        Self { delivered_at: Instant::ZERO, first_sent_at: Instant::ZERO }
    }
}

impl DeliveryRate {
    /// Bytes that are known to have arrived, ever.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Bytes that were taken for lost, ever.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// The rate at which data last arrived in bytes a second, and whether it may be the program's
    /// and not the path's; `None` before the first sample.
    pub(crate) fn reported(&self) -> Option<(u64, bool)> {
        (self.reported > 0).then_some((self.reported, self.reported_is_limited))
    }

    /// A segment leaves; `flight` is what is on its way with it.
    pub(crate) fn on_sent(
        &mut self,
        clock: &mut RateClock,
        now: Instant,
        length: u32,
        flight: u32,
    ) -> RateStamp {
        if flight <= length {
            // Nothing was out: the time in which nothing could be delivered does not count.
            (clock.first_sent_at, clock.delivered_at) = (now, now);
        }
        RateStamp {
            delivered: self.delivered,
            delivered_at: clock.delivered_at,
            first_sent_at: clock.first_sent_at,
            lost: self.lost,
            flight,
            application_limited: self.is_application_limited(),
        }
    }

    /// The program has nothing more to send, and the window would take more: what is in flight
    /// now measures the program and not the path.
    pub(crate) fn on_application_limited(&mut self, flight: u32) {
        self.limited_until = self.delivered.saturating_add(u64::from(flight)).max(1);
    }

    /// The program left the path without data, and the ACKs since then are of what was in flight
    /// by then: what leaves now measures the program, the first segment after a silence with it.
    pub(crate) fn is_application_limited(&self) -> bool {
        self.limited_until > 0
    }

    /// A segment, or a part of one, is known to have arrived.
    pub(crate) fn on_delivered(&mut self, clock: &mut RateClock, now: Instant, record: &Record) {
        self.delivered = self.delivered.saturating_add(u64::from(record.length()));
        clock.delivered_at = now;
    }

    /// A segment is taken for lost.
    pub(crate) fn on_lost(&mut self, length: u32) {
        self.lost = self.lost.saturating_add(u64::from(length));
    }

    /// The sample of the ACK whose records were given and whose `newest` is known, and whether a round trip ends with it.
    ///
    /// An interval below the least round trip ever seen is no rate but an accident of timing
    /// (`min_rtt`); it comes without one.
    pub(crate) fn sample(
        &mut self,
        clock: &mut RateClock,
        newest: Option<Newest>,
        min_rtt: Option<Duration>,
    ) -> Option<(DeliverySample, bool)> {
        let Newest { stamp, sent_at } = newest?;
        if self.limited_until > 0 && self.delivered > self.limited_until {
            self.limited_until = 0;
        }
        clock.first_sent_at = sent_at;
        let sending = sent_at.since(stamp.first_sent_at);
        let acknowledging = clock.delivered_at.since(stamp.delivered_at);
        let interval = sending.max(acknowledging);
        let round_start = stamp.delivered >= self.round_ends;
        if round_start {
            self.round_ends = self.delivered;
        }
        let believable = min_rtt.is_none_or(|least| interval >= least);
        let sample = DeliverySample {
            delivered_total: self.delivered,
            delivered_when_sent: stamp.delivered,
            interval: if believable { interval } else { Duration::ZERO },
            lost: self.lost.saturating_sub(stamp.lost),
            flight_when_sent: u64::from(stamp.flight),
            application_limited: stamp.application_limited,
        };
        self.report(&sample);
        Some((sample, round_start))
    }

    /// A sample that the program limited says only that the path can do as much, so a lower one of
    /// that kind is not reported (draft-ietf-ccwg-bbr 4.1.1.3).
    fn report(&mut self, sample: &DeliverySample) {
        let Some(rate) = sample.rate() else { return };
        if !sample.application_limited || rate >= self.reported {
            (self.reported, self.reported_is_limited) = (rate, sample.application_limited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::send::inflight::Sending;
    use crate::tcp::seq::Seq;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn record(start: u32, length: u32, sent_at: Instant, stamp: RateStamp) -> Record {
        let sending = Sending { at: sent_at, size: 1000, stamp };
        Record::new(Seq(start), Seq(start + length), sending)
    }

    /// The sample of an ACK for one record.
    fn ack(
        (rate, clock): (&mut DeliveryRate, &mut RateClock),
        millis: u64,
        record: &Record,
        min_rtt: Option<Duration>,
    ) -> (DeliverySample, bool) {
        rate.on_delivered(clock, ms(millis), record);
        rate.sample(clock, Newest::later_of(None, record), min_rtt).unwrap()
    }

    #[test]
    fn a_steady_flow_shows_its_rate() {
        let (mut rate, mut clock) = (DeliveryRate::default(), RateClock::new());
        // 1000 bytes each millisecond, round trip 10 ms.
        let mut sent: alloc::vec::Vec<Record> = alloc::vec::Vec::new();
        let mut rates = alloc::vec::Vec::new();
        for now in 0..60_u32 {
            if now >= 10 {
                let oldest = sent[now as usize - 10];
                let least = Some(Duration::from_millis(10));
                let (sample, _) = ack((&mut rate, &mut clock), u64::from(now), &oldest, least);
                rates.push(sample.rate());
            }
            let stamp =
                rate.on_sent(&mut clock, ms(u64::from(now)), 1000, 1000 * now.min(9) + 1000);
            sent.push(record(now * 1000, 1000, ms(u64::from(now)), stamp));
        }
        assert_eq!(rates.last(), Some(&Some(1_000_000)));
    }

    #[test]
    fn squeezed_acks_are_no_bandwidth() {
        let (mut rate, mut clock) = (DeliveryRate::default(), RateClock::new());
        let first = rate.on_sent(&mut clock, ms(0), 1000, 1000);
        let second = rate.on_sent(&mut clock, ms(10), 1000, 2000);
        ack((&mut rate, &mut clock), 30, &record(0, 1000, ms(0), first), None);
        let (sample, _) =
            ack((&mut rate, &mut clock), 30, &record(1000, 1000, ms(10), second), None);
        assert_eq!(sample.rate(), Some(2000 * 1000 / 30), "two segments in 30 ms since idle");
    }

    #[test]
    fn a_round_ends_when_what_was_sent_in_it_is_acknowledged() {
        let (mut rate, mut clock) = (DeliveryRate::default(), RateClock::new());
        let first = rate.on_sent(&mut clock, ms(0), 1000, 1000);
        let second = rate.on_sent(&mut clock, ms(0), 1000, 2000);
        assert!(ack((&mut rate, &mut clock), 10, &record(0, 1000, ms(0), first), None).1);
        let third = rate.on_sent(&mut clock, ms(10), 1000, 2000);
        assert!(!ack((&mut rate, &mut clock), 11, &record(1000, 1000, ms(0), second), None).1);
        assert!(ack((&mut rate, &mut clock), 20, &record(2000, 1000, ms(10), third), None).1);
    }

    #[test]
    fn an_idle_program_limits_the_samples_of_what_it_left_in_flight() {
        let (mut rate, mut clock) = (DeliveryRate::default(), RateClock::new());
        rate.on_application_limited(0);
        let limited = rate.on_sent(&mut clock, ms(0), 1000, 1000);
        let (sample, _) = ack((&mut rate, &mut clock), 10, &record(0, 1000, ms(0), limited), None);
        assert!(sample.application_limited);
        let free = rate.on_sent(&mut clock, ms(10), 1000, 1000);
        assert!(!free.application_limited);
        // A program that answers with one segment at a time.
        rate.on_delivered(&mut clock, ms(20), &record(1000, 1000, ms(10), free));
        rate.on_application_limited(0);
        assert!(
            rate.on_sent(&mut clock, ms(30), 1000, 1000).application_limited,
            "the first of a flight too"
        );
    }
}
