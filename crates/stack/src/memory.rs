//! The memory that the buffers of all connections pin, and its budget.
//!
//! Who holds memory keeps a [`Charge`]: what it is counted with. The sum of all charges is known at
//! any time, and each change costs O(1). Below the first of two marks everybody gets what they ask
//! for. Above it memory is short: buffers stop growing, and what can come again (data behind a
//! hole) is refused, so that the rest is there for what lets connections end. Above the second mark
//! nothing is kept.

use crate::config::Config;

/// What a holder is counted with, in bytes. It belongs to one [`Memory`], and must be brought to
/// zero there before it goes.
#[derive(Debug, Default)]
pub(crate) struct Charge(usize);

/// The books of one stack.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The sum of all charges.
    used: usize,
    /// Above it memory is short.
    pressure: usize,
    /// Never above it.
    limit: usize,
}

impl Memory {
    pub(crate) fn new(config: &Config) -> Self {
        let limit = config.memory_limit;
        Self { used: 0, pressure: config.memory_pressure.min(limit), limit }
    }

    /// Bytes that are pinned in all.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Whether growth has to stop.
    pub(crate) fn is_short(&self) -> bool {
        self.used >= self.pressure
    }

    /// Whether there is nothing left.
    pub(crate) fn is_spent(&self) -> bool {
        self.used >= self.limit
    }

    /// A holder pins `pinned` bytes now.
    pub(crate) fn charge(&mut self, charge: &mut Charge, pinned: usize) {
        self.used = self.used - charge.0 + pinned;
        charge.0 = pinned;
    }

    /// How many bytes more a holder may pin, that pins `pinned` now, for what cannot wait.
    pub(crate) fn room(&self, charge: &Charge, pinned: usize) -> usize {
        self.limit.saturating_sub(self.used - charge.0 + pinned)
    }

    /// The same for what can come again, or wait.
    pub(crate) fn spare_room(&self, charge: &Charge, pinned: usize) -> usize {
        self.pressure.saturating_sub(self.used - charge.0 + pinned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn memory() -> Memory {
        Memory::new(&Config { memory_pressure: 600, memory_limit: 1000, ..Config::default() })
    }

    #[test]
    fn a_holder_may_pin_what_the_others_leave() {
        let mut memory = memory();
        let (mut one, mut other) = (Charge::default(), Charge::default());
        memory.charge(&mut one, 500);
        memory.charge(&mut other, 300);
        assert!(memory.is_short() && !memory.is_spent());
        assert_eq!((memory.room(&one, 500), memory.spare_room(&one, 500)), (200, 0));
        assert_eq!((memory.room(&one, 0), memory.spare_room(&one, 0)), (700, 300));
        memory.charge(&mut one, 700);
        assert!(memory.is_spent());
        memory.charge(&mut one, 0);
        assert_eq!(memory.used(), 300);
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_all_charges(
            steps in proptest::collection::vec((0..8_usize, 0..1_000_000_usize), 0..200),
        ) {
            let mut memory = memory();
            let mut charges: Vec<Charge> = (0..8).map(|_| Charge::default()).collect();
            let mut model = [0; 8];
            for (holder, pinned) in steps {
                memory.charge(&mut charges[holder], pinned);
                model[holder] = pinned;
                prop_assert_eq!(memory.used(), model.iter().sum::<usize>());
                let others = memory.used() - pinned;
                prop_assert_eq!(memory.room(&charges[holder], 7), 1000_usize.saturating_sub(others + 7));
            }
        }
    }
}
