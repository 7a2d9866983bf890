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
    delivered_at: Instant,
    first_sent_at: Instant,
    lost: u64,
    /// Samples are limited by the program until this much is delivered.
    limited_until: u64,
    /// The round trip ends when what is sent from here on is acknowledged.
    round_ends: u64,
    /// The newest segment of those that the ACK under way acknowledges.
    newest: Option<Newest>,
    /// What is reported (`tcpi_delivery_rate`): in bytes a second.
    reported: u64,
    /// That rate may be the program's and not the path's.
    reported_is_limited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    stamp: RateStamp,
    sent_at: Instant,
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
    pub(crate) fn on_sent(&mut self, now: Instant, length: u32, flight: u32) -> RateStamp {
        if flight <= length {
            // Nothing was out: the time in which nothing could be delivered does not count.
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        RateStamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
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
    pub(crate) fn on_delivered(&mut self, now: Instant, record: &Record) {
        self.delivered = self.delivered.saturating_add(u64::from(record.length()));
        self.delivered_at = now;
        let newer = self.newest.is_none_or(|newest| {
            (record.sent_at, record.stamp.delivered) >= (newest.sent_at, newest.stamp.delivered)
        });
        if newer {
            self.newest = Some(Newest { stamp: record.stamp, sent_at: record.sent_at });
        }
    }

    /// A segment is taken for lost.
    pub(crate) fn on_lost(&mut self, length: u32) {
        self.lost = self.lost.saturating_add(u64::from(length));
    }

    /// The sample of the ACK whose records were given, and whether a round trip ends with it.
    ///
    /// An interval below the least round trip ever seen is no rate but an accident of timing
    /// (`min_rtt`); it comes without one.
    pub(crate) fn sample(&mut self, min_rtt: Option<Duration>) -> Option<(DeliverySample, bool)> {
        let Newest { stamp, sent_at } = self.newest.take()?;
        if self.limited_until > 0 && self.delivered > self.limited_until {
            self.limited_until = 0;
        }
        self.first_sent_at = sent_at;
        let sending = sent_at.since(stamp.first_sent_at);
        let acknowledging = self.delivered_at.since(stamp.delivered_at);
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

    #[test]
    fn a_steady_flow_shows_its_rate() {
        let mut rate = DeliveryRate::default();
        // 1000 bytes each millisecond, round trip 10 ms.
        let mut sent: alloc::vec::Vec<Record> = alloc::vec::Vec::new();
        let mut rates = alloc::vec::Vec::new();
        for now in 0..60_u32 {
            if now >= 10 {
                let oldest = sent[now as usize - 10];
                rate.on_delivered(ms(u64::from(now)), &oldest);
                let (sample, _) = rate.sample(Some(Duration::from_millis(10))).unwrap();
                rates.push(sample.rate());
            }
            let stamp = rate.on_sent(ms(u64::from(now)), 1000, 1000 * now.min(9) + 1000);
            sent.push(record(now * 1000, 1000, ms(u64::from(now)), stamp));
        }
        assert_eq!(rates.last(), Some(&Some(1_000_000)));
    }

    #[test]
    fn squeezed_acks_are_no_bandwidth() {
        let mut rate = DeliveryRate::default();
        let first = rate.on_sent(ms(0), 1000, 1000);
        let second = rate.on_sent(ms(10), 1000, 2000);
        rate.on_delivered(ms(30), &record(0, 1000, ms(0), first));
        rate.sample(None);
        rate.on_delivered(ms(30), &record(1000, 1000, ms(10), second));
        let (sample, _) = rate.sample(None).unwrap();
        assert_eq!(sample.rate(), Some(2000 * 1000 / 30), "two segments in 30 ms since idle");
    }

    #[test]
    fn a_round_ends_when_what_was_sent_in_it_is_acknowledged() {
        let mut rate = DeliveryRate::default();
        let first = rate.on_sent(ms(0), 1000, 1000);
        let second = rate.on_sent(ms(0), 1000, 2000);
        rate.on_delivered(ms(10), &record(0, 1000, ms(0), first));
        assert!(rate.sample(None).unwrap().1);
        let third = rate.on_sent(ms(10), 1000, 2000);
        rate.on_delivered(ms(11), &record(1000, 1000, ms(0), second));
        assert!(!rate.sample(None).unwrap().1);
        rate.on_delivered(ms(20), &record(2000, 1000, ms(10), third));
        assert!(rate.sample(None).unwrap().1);
    }

    #[test]
    fn an_idle_program_limits_the_samples_of_what_it_left_in_flight() {
        let mut rate = DeliveryRate::default();
        rate.on_application_limited(0);
        let limited = rate.on_sent(ms(0), 1000, 1000);
        rate.on_delivered(ms(10), &record(0, 1000, ms(0), limited));
        assert!(rate.sample(None).unwrap().0.application_limited);
        let free = rate.on_sent(ms(10), 1000, 1000);
        assert!(!free.application_limited);
        // A program that answers with one segment at a time.
        rate.on_delivered(ms(20), &record(1000, 1000, ms(10), free));
        rate.on_application_limited(0);
        assert!(rate.on_sent(ms(30), 1000, 1000).application_limited, "the first of a flight too");
    }
}
