//! The one source of chance in a world, besides the dice of its lines.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use wire::time::Duration;

/// Random numbers that a seed decides.
#[derive(Debug)]
pub struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    /// The dice with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// A number of `range`, each as likely as the next (for what a test needs).
    pub fn pick(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        low + self.rng.next_u64() % (high - low + 1).max(1)
    }

    /// As [`Dice::pick`], for sizes.
    pub fn size(&mut self, range: RangeInclusive<usize>) -> usize {
        let low = u64::try_from(*range.start()).unwrap_or(0);
        let high = u64::try_from(*range.end()).unwrap_or(u64::MAX);
        usize::try_from(self.pick(low..=high)).unwrap_or(*range.start())
    }

    /// A time between zero and `most`.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(self.pick(0..=nanos))
    }

    /// True `permille` times of a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        permille > 0 && self.pick(0..=999) < permille
    }

    /// One of `choices`.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.size(0..=choices.len() - 1)]
    }

    /// 32 bytes, to seed a stack.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }
}
