//! The round-trip time: measured (RFC 7323 4, Karn's rule) and smoothed (RFC 6298 2).

use wire::time::{Duration, Instant};

/// Half of the time that a minimum is remembered. Linux remembers one for five minutes.
const HALF_WINDOW: Duration = Duration::from_secs(150);

/// A time that was never measured.
const NEVER: u64 = u64::MAX;

/// What the samples of one connection say about its round-trip time. All times in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct RttEstimator {
    /// SRTT; [`NEVER`] before the first sample.
    srtt: u64,
    /// RTTVAR, the smoothed distance of the samples from SRTT.
    rttvar: u64,
    /// The smallest sample of the current half-window, or [`NEVER`].
    min_current: u64,
    /// The smallest sample of the half-window before, or [`NEVER`].
    min_previous: u64,
    /// When the current half-window began.
    half_start: Instant,
}

impl RttEstimator {
    /// An estimator that knows nothing yet.
    pub(crate) const fn new() -> Self {
        Self {
            srtt: NEVER,
            rttvar: 0,
            min_current: NEVER,
            min_previous: NEVER,
            half_start: Instant::ZERO,
        }
    }

    /// Takes one measurement (RFC 6298 2.2 and 2.3).
    ///
    /// RFC 6298's gains of 1/8 and 1/4 assume one sample in each round trip. With timestamps every
    /// ACK gives one, and the history would be forgotten within a few segments, so the gains are
    /// divided by `expected_samples`, how many a round trip gives (RFC 7323 appendix G); see
    /// [`expected_samples`]. 1 leaves them as they are.
    pub(crate) fn sample(&mut self, rtt: Duration, expected_samples: u32, now: Instant) {
        let nanos = nanos(rtt);
        let share = u64::from(expected_samples.max(1));
        if self.srtt == NEVER {
            self.srtt = nanos;
            self.rttvar = nanos / 2;
        } else {
            // RTTVAR first: it wants the SRTT from before this sample.
            let distance = self.srtt.abs_diff(nanos);
            self.rttvar = moved(self.rttvar, distance, 4 * share);
            self.srtt = moved(self.srtt, nanos, 8 * share);
        }
        self.remember_minimum(rtt, now);
    }

    /// SRTT; `None` before the first sample.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        known(self.srtt)
    }

    /// SRTT in nanoseconds; `None` before the first sample.
    pub(crate) fn smoothed_nanos(&self) -> Option<u64> {
        (self.srtt != NEVER).then_some(self.srtt)
    }

    /// RTTVAR in nanoseconds; zero before the first sample.
    pub(crate) fn variation_nanos(&self) -> u64 {
        self.rttvar
    }

    /// RTTVAR; zero before the first sample.
    pub(crate) fn variation(&self) -> Duration {
        Duration::from_nanos(self.rttvar)
    }

    /// The smallest sample of the last 2.5 to 5 minutes: the path without its queues.
    ///
    /// It expires only as new samples come, so an idle connection keeps what it knows.
    pub(crate) fn min(&self) -> Option<Duration> {
        known(self.min_current.min(self.min_previous))
    }

    /// Takes a sample for the minimum alone.
    pub(crate) fn remember_minimum(&mut self, rtt: Duration, now: Instant) {
        let age = now.since(self.half_start);
        if age >= HALF_WINDOW {
            self.min_previous = if age >= 2 * HALF_WINDOW { NEVER } else { self.min_current };
            self.min_current = NEVER;
            self.half_start = now;
        }
        self.min_current = self.min_current.min(nanos(rtt));
    }
}

/// In nanoseconds; so long that nobody waits for it where that is beyond reckoning.
pub(crate) fn nanos(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(time.subsec_nanos().into()).min(NEVER / 16)
}

fn known(nanos: u64) -> Option<Duration> {
    (nanos != NEVER).then(|| Duration::from_nanos(nanos))
}

/// `old` moved towards `new` by one part in `parts`.
fn moved(old: u64, new: u64, parts: u64) -> u64 {
    if new >= old { old + (new - old) / parts } else { old - (old - new) / parts }
}

/// How many samples a round trip gives (RFC 7323 appendix G): `ceil(FlightSize / (SMSS * 2))`,
/// as a peer that delays its ACKs answers every second segment.
pub(crate) fn expected_samples(flight_size: u64, mss: u32) -> u32 {
    let two_segments = u64::from(mss.max(1)) * 2;
    u32::try_from(flight_size.div_ceil(two_segments)).unwrap_or(u32::MAX).max(1)
}

/// The round-trip time that an ACK of new data shows, if it shows one.
///
/// `sent_at` is when the newest segment that it acknowledges was sent, and `retransmitted`
/// whether that segment was sent more than once: Karn's rule (RFC 6298 3) forbids a sample then,
/// for nobody knows which copy is answered. `echo` is the age of the timestamp that the ACK
/// echoes, which knows (RFC 7323 4.1: only an ACK that advances SND.UNA counts). Our own record
/// goes first, for it is finer than the timestamp clock's ticks.
pub(crate) fn measure(
    now: Instant,
    sent_at: Option<Instant>,
    retransmitted: bool,
    echo: Option<Duration>,
) -> Option<Duration> {
    match sent_at {
        Some(sent_at) if !retransmitted => Some(now.since(sent_at)),
        _ => echo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn rfc6298_2_2_the_first_sample_sets_both() {
        let mut rtt = RttEstimator::new();
        assert_eq!((rtt.smoothed(), rtt.variation()), (None, ms(0)));
        rtt.sample(ms(100), 1, Instant::ZERO);
        assert_eq!((rtt.smoothed(), rtt.variation()), (Some(ms(100)), ms(50)));
        assert_eq!(rtt.min(), Some(ms(100)));
    }

    #[test]
    fn rfc6298_2_3_later_samples_move_it_by_an_eighth_and_a_quarter() {
        let mut rtt = RttEstimator::new();
        rtt.sample(ms(100), 1, Instant::ZERO);
        rtt.sample(ms(180), 1, Instant::ZERO);
        // RTTVAR = 3/4 * 50 + 1/4 * |100 - 180|; SRTT = 7/8 * 100 + 1/8 * 180.
        assert_eq!(rtt.variation(), Duration::from_micros(57_500));
        assert_eq!(rtt.smoothed(), Some(ms(110)));
    }

    #[test]
    fn rfc7323_appendix_g_many_samples_count_less_each() {
        let mut rtt = RttEstimator::new();
        rtt.sample(ms(100), 1, Instant::ZERO);
        rtt.sample(ms(180), 10, Instant::ZERO);
        assert_eq!(rtt.smoothed(), Some(ms(101)));
        assert_eq!(rtt.variation(), Duration::from_micros(50_750));
        assert_eq!(expected_samples(0, 1460), 1);
        assert_eq!(expected_samples(2920, 1460), 1);
        assert_eq!(expected_samples(2921, 1460), 2);
        assert_eq!(expected_samples(u64::MAX, 0), u32::MAX);
    }

    #[test]
    fn the_minimum_is_forgotten_after_five_minutes_at_most() {
        let mut rtt = RttEstimator::new();
        rtt.sample(ms(10), 1, Instant::from_millis(1_000));
        rtt.sample(ms(30), 1, Instant::from_millis(160_000));
        assert_eq!(rtt.min(), Some(ms(10)), "still within the window");
        rtt.sample(ms(30), 1, Instant::from_millis(320_000));
        assert_eq!(rtt.min(), Some(ms(30)), "a longer path is believed in the end");
        rtt.sample(ms(50), 1, Instant::from_millis(10_000_000));
        assert_eq!(rtt.min(), Some(ms(50)));
    }

    #[test]
    fn rfc6298_3_karn_no_sample_from_a_segment_sent_twice() {
        let now = Instant::from_millis(500);
        let sent = Some(Instant::from_millis(400));
        assert_eq!(measure(now, sent, false, None), Some(ms(100)));
        assert_eq!(measure(now, sent, false, Some(ms(96))), Some(ms(100)));
        assert_eq!(measure(now, sent, true, None), None);
        assert_eq!(measure(now, sent, true, Some(ms(7))), Some(ms(7)), "a timestamp knows");
        assert_eq!(measure(now, None, false, None), None);
    }

    proptest! {
        #[test]
        fn the_estimate_stays_between_the_extremes(
            samples in proptest::collection::vec((0..100_000_000_u64, 1..50_u32), 1..200),
        ) {
            let mut rtt = RttEstimator::new();
            for (micros, share) in &samples {
                rtt.sample(Duration::from_micros(*micros), *share, Instant::ZERO);
            }
            let least = Duration::from_micros(samples.iter().map(|s| s.0).min().unwrap());
            let most = Duration::from_micros(samples.iter().map(|s| s.0).max().unwrap());
            prop_assert_eq!(rtt.min(), Some(least));
            let smoothed = rtt.smoothed().unwrap();
            prop_assert!(smoothed >= least && smoothed <= most);
            prop_assert!(rtt.variation() <= most);
        }

        #[test]
        fn no_sample_overflows(nanos: [u64; 4], share: u32) {
            let mut rtt = RttEstimator::new();
            for nanos in nanos {
                rtt.sample(Duration::new(nanos, 0), share, Instant::FAR_FUTURE);
            }
        }
    }
}
