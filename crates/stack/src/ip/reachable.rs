//! How long a neighbour of IPv6 counts as reachable after it was confirmed (RFC 4861 6.3.2, 6.3.4).

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use wire::time::{Duration, Instant};

/// The mean where routers say nothing (RFC 4861 10, REACHABLE_TIME).
const REACHABLE_TIME: Duration = Duration::from_secs(30);

/// How long one time drawn is used. RFC 4861 6.3.4: "at least once every few hours".
const DRAWN_FOR: Duration = Duration::from_secs(2 * 3600);

/// A time drawn from around a mean, so that hosts do not all ask at once, and anew every few hours, so that
/// two that drew the same do not go on together.
pub(super) struct ReachableTime {
    random: ChaCha12Rng,
    mean: Duration,
    drawn: Duration,
    drawn_at: Instant,
}

impl Default for ReachableTime {
    fn default() -> Self {
        Self {
            random: ChaCha12Rng::from_seed([0; 32]),
            mean: REACHABLE_TIME,
            drawn: REACHABLE_TIME,
            drawn_at: Instant::ZERO,
        }
    }
}

impl ReachableTime {
    /// Sows the randomness, and draws for the first time.
    pub(super) fn seed(&mut self, rng: &mut impl Rng) {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        self.random = ChaCha12Rng::from_seed(seed);
        self.draw(Instant::ZERO);
    }

    /// The time for a neighbour that is confirmed now.
    pub(super) fn at(&mut self, now: Instant) -> Duration {
        if now.since(self.drawn_at) >= DRAWN_FOR {
            self.draw(now);
        }
        self.drawn
    }

    /// A router says what the mean is.
    pub(super) fn set_mean(&mut self, now: Instant, mean: Duration) {
        if self.mean != mean {
            self.mean = mean;
            self.draw(now);
        }
    }

    /// Between half and one and a half of the mean (RFC 4861 10, MIN_RANDOM_FACTOR and
    /// MAX_RANDOM_FACTOR).
    fn draw(&mut self, now: Instant) {
        let permille = 500 + (self.random.next_u64() % 1001) as u32;
        (self.drawn, self.drawn_at) = (self.mean * permille / 1000, now);
    }
}

impl core::fmt::Debug for ReachableTime {
    /// Never prints what is drawn next.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReachableTime").field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    fn sown(seed: u8) -> ReachableTime {
        let mut time = ReachableTime::default();
        time.seed(&mut ChaCha12Rng::from_seed([seed; 32]));
        time
    }

    /// RFC 4861 6.3.4: "a new random value gets re-computed at least once every few hours".
    #[test]
    fn a_time_is_drawn_anew_every_few_hours() {
        let mut time = sown(1);
        let mut drawn = BTreeSet::new();
        for minutes in 0..24 * 60 {
            drawn.insert(time.at(Instant::ZERO.after(Duration::from_secs(60 * minutes))));
        }
        assert!((11..=12).contains(&drawn.len()), "{drawn:?}");
        let (least, most) = (Duration::from_secs(15), Duration::from_secs(45));
        assert!(drawn.iter().all(|time| (least..=most).contains(time)), "{drawn:?}");
    }

    /// RFC 4861 6.3.2: "a uniformly distributed random value"; two hosts have two.
    #[test]
    fn a_time_is_another_with_another_mean_and_on_another_host() {
        let (mut one, mut other) = (sown(1), sown(2));
        let now = Instant::from_millis(1000);
        let first = one.at(now);
        assert_ne!(first, other.at(now));
        one.set_mean(now, REACHABLE_TIME);
        assert_eq!(one.at(now), first, "nothing new was said");
        one.set_mean(now, Duration::from_secs(300));
        assert!(one.at(now) >= Duration::from_secs(150));
    }
}
