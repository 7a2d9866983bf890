//! The retransmission timeout (RFC 6298).

use wire::time::Duration;

use super::rtt::{RttEstimator, nanos};
use crate::config::RtoLimits;

/// G of RFC 6298 2: how coarse the clock is that fires the timer. Whatever a program asks for, what
/// comes again and again takes this long at least: a timer that is due when it is set has no end.
pub(crate) const GRANULARITY: Duration = Duration::from_millis(1);

/// The same in nanoseconds: what follows is reckoned with each segment.
const GRAIN: u64 = 1_000_000;

/// RFC 6298 5.7: the timeout to begin data with when a SYN was lost and nothing was measured.
const AFTER_LOST_SYN: Duration = Duration::from_secs(3);

/// The timeout of one connection: how often it was doubled, and how often it passed. Its bounds are
/// the program's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rto {
    /// How often the timeout doubled since the last sample.
    backoffs: u8,
    /// How often it passed since something new was acknowledged.
    expiries: u8,
    /// It passed for a SYN (RFC 6298 5.7).
    lost_syn: bool,
}

impl Rto {
    /// A timeout that never fired.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// How long to wait for an ACK now (RFC 6298 2.3, 2.4, 2.5 and 5.5).
    ///
    /// `SRTT + max(min, G, 4 * RTTVAR)`, doubled once for each back-off, and never above `max`.
    /// As in Linux the minimum bounds the variance term and not the sum. So even on a path whose
    /// round-trip time never varies, the timeout is 200 ms above it and a peer that delays its
    /// ACK by 40 ms never makes it fire.
    pub(crate) fn timeout(&self, rtt: &RttEstimator, limits: &RtoLimits) -> Duration {
        let base = match rtt.smoothed_nanos() {
            None if self.lost_syn => nanos(limits.initial.max(AFTER_LOST_SYN)),
            None => nanos(limits.initial),
            Some(smoothed) => {
                let variance = rtt.variation_nanos().saturating_mul(4);
                smoothed.saturating_add(variance.max(nanos(limits.min)).max(GRAIN))
            }
        };
        // 2^31 times the shortest possible base is beyond any maximum that makes sense.
        let doubled = base.saturating_mul(1 << self.backoffs.min(31));
        Duration::from_nanos(doubled.min(nanos(limits.max)).max(GRAIN))
    }

    /// The timer fired: the next wait is twice as long (RFC 6298 5.5).
    pub(crate) fn back_off(&mut self) {
        self.backoffs = self.backoffs.saturating_add(1);
        self.expiries = self.expiries.saturating_add(1);
    }

    /// New data was acknowledged. Only with a sample is the timeout again what the samples say
    /// (RFC 6298 5, last note): the ACK of a retransmission measures nothing, so what was doubled
    /// stays, or a path that became slower would have every segment sent twice (Karn's algorithm,
    /// RFC 9293 3.8.1).
    pub(crate) fn on_new_ack(&mut self, sampled: bool) {
        self.expiries = 0;
        if sampled {
            self.backoffs = 0;
        }
    }

    /// How often the timeout doubled since the last sample.
    pub(crate) fn backoffs(&self) -> u8 {
        self.backoffs
    }

    /// How often the timeout passed since something new was acknowledged: what R1 and R2 of RFC
    /// 9293 3.8.3 count.
    pub(crate) fn expiries(&self) -> u8 {
        self.expiries
    }

    /// Our SYN or SYN-ACK timed out, and the handshake is over now (RFC 6298 5.7): as long as
    /// nothing was measured, data begins with a timeout of 3 seconds.
    pub(crate) fn after_lost_syn(&mut self) {
        self.on_new_ack(true);
        self.lost_syn = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::time::Instant;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn usual() -> RtoLimits {
        RtoLimits::default()
    }

    fn estimator(samples: &[u64]) -> RttEstimator {
        let mut rtt = RttEstimator::new();
        for sample in samples {
            rtt.sample(ms(*sample), 1, Instant::ZERO);
        }
        rtt
    }

    #[test]
    fn rfc6298_2_1_one_second_before_the_first_sample() {
        assert_eq!(Rto::new().timeout(&estimator(&[]), &usual()), ms(1000));
    }

    #[test]
    fn rfc6298_2_3_four_variations_above_the_mean() {
        let rto = Rto::new();
        assert_eq!(rto.timeout(&estimator(&[100]), &usual()), ms(100 + 4 * 50));
        assert_eq!(rto.timeout(&estimator(&[1000]), &usual()), ms(1000 + 4 * 500));
    }

    #[test]
    fn a_steady_path_keeps_the_minimum_as_its_margin() {
        let steady = estimator(&[10; 200]);
        let rto = Rto::new();
        assert_eq!(rto.timeout(&steady, &usual()), ms(210));
        let eager = RtoLimits { min: ms(0), ..RtoLimits::default() };
        assert!(Rto::new().timeout(&steady, &eager) >= ms(11), "the clock's grain remains");
    }

    #[test]
    fn a_timeout_of_nothing_takes_a_grain_of_the_clock() {
        let none = RtoLimits { initial: ms(0), min: ms(0), max: ms(0) };
        let mut rto = Rto::new();
        for samples in [&[][..], &[100]] {
            assert_eq!(rto.timeout(&estimator(samples), &none), ms(1));
        }
        rto.back_off();
        assert_eq!(rto.timeout(&estimator(&[]), &none), ms(1));
    }

    #[test]
    fn rfc6298_5_5_each_expiry_doubles_up_to_the_maximum() {
        let mut rto = Rto::new();
        let rtt = estimator(&[]);
        let mut waits = alloc::vec::Vec::new();
        for _ in 0..9 {
            waits.push(rto.timeout(&rtt, &usual()).as_secs());
            rto.back_off();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        for _ in 0..300 {
            rto.back_off();
        }
        assert_eq!(rto.timeout(&rtt, &usual()).as_secs(), 120);
        rto.on_new_ack(true);
        assert_eq!((rto.backoffs(), rto.timeout(&rtt, &usual())), (0, ms(1000)));
    }

    #[test]
    fn rfc6298_5_what_was_doubled_stays_until_a_sample() {
        let mut rto = Rto::new();
        let rtt = estimator(&[100]);
        rto.back_off();
        rto.back_off();
        rto.on_new_ack(false);
        assert_eq!((rto.expiries(), rto.timeout(&rtt, &usual())), (0, ms(1200)));
        rto.on_new_ack(true);
        assert_eq!(rto.timeout(&rtt, &usual()), ms(300));
    }

    #[test]
    fn rfc6298_5_7_a_lost_syn_makes_data_begin_at_three_seconds() {
        let mut rto = Rto::new();
        rto.back_off();
        rto.after_lost_syn();
        assert_eq!(rto.timeout(&estimator(&[]), &usual()), ms(3000));
        assert_eq!(
            rto.timeout(&estimator(&[100]), &usual()),
            ms(300),
            "a timestamp measured it after all"
        );
    }
}
