//! The windowed maxima of BBR's model (BBR draft 5.5.3, 5.5.9).

/// The largest delivery rate of this ProbeBW cycle and the one before (BBR draft 5.5.6): virtual
/// time that advances with the cycles, so two slots are the whole filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct MaxBandwidth {
    current: u64,
    previous: u64,
}

impl MaxBandwidth {
    /// BBR.max_bw in bytes a second; zero before the first sample.
    pub(super) fn get(&self) -> u64 {
        self.current.max(self.previous)
    }

    pub(super) fn update(&mut self, rate: u64) {
        self.current = self.current.max(rate);
    }

    /// Another cycle begins. One that saw no sample does not push out the one before.
    pub(super) fn advance(&mut self) {
        if self.current > 0 {
            self.previous = self.current;
            self.current = 0;
        }
    }
}

/// The largest value of the last so many rounds, by three candidates in falling order, each from
/// later than the one before (the filter of Kathleen Nichols that BBR draft 5.5.5 names).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct WindowedMax {
    best: [Candidate; 3],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Candidate {
    value: u64,
    round: u64,
}

impl WindowedMax {
    pub(super) fn get(&self) -> u64 {
        self.best[0].value
    }

    /// Takes in `value` at `round`; what is older than `length` rounds counts no more.
    pub(super) fn update(&mut self, value: u64, round: u64, length: u64) {
        let new = Candidate { value, round };
        let age = |candidate: Candidate| round.saturating_sub(candidate.round);
        if value >= self.best[0].value || age(self.best[2]) > length {
            self.best = [new; 3];
            return;
        }
        if value >= self.best[1].value {
            self.best[1] = new;
            self.best[2] = new;
        } else if value >= self.best[2].value {
            self.best[2] = new;
        }
        if age(self.best[0]) > length {
            self.best = [self.best[1], self.best[2], new];
            if age(self.best[0]) > length {
                self.best = [self.best[1], new, new];
            }
        } else if self.best[1].round == self.best[0].round && age(self.best[1]) > length / 4 {
            // A quarter of the window has passed with one candidate: look for a second in what
            // follows, and for a third when half has passed.
            self.best[1] = new;
            self.best[2] = new;
        } else if self.best[2].round == self.best[1].round && age(self.best[2]) > length / 2 {
            self.best[2] = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn bbr_5_5_6_the_bandwidth_of_two_cycles_counts() {
        let mut max = MaxBandwidth::default();
        max.update(500);
        max.update(300);
        max.advance();
        max.update(200);
        assert_eq!(max.get(), 500);
        max.advance();
        assert_eq!(max.get(), 200);
        max.advance();
        assert_eq!(max.get(), 200, "a cycle without samples says nothing");
    }

    proptest! {
        #[test]
        fn the_windowed_maximum_is_close_to_the_true_one(
            values in proptest::collection::vec((0..1_000_u64, 0..3_u64), 1..200),
            length in 1..20_u64,
        ) {
            let mut filter = WindowedMax::default();
            let mut seen: Vec<(u64, u64)> = Vec::new();
            let mut round = 0;
            for (value, passed) in values {
                round += passed;
                seen.push((value, round));
                filter.update(value, round, length);
                let within = seen.iter().filter(|(_, at)| at + length >= round);
                let largest = within.map(|(value, _)| *value).max().unwrap();
                prop_assert!(filter.get() <= largest, "nothing that is too old");
                prop_assert!(filter.get() >= value, "never below the newest");
            }
        }

        #[test]
        fn a_maximum_is_kept_for_the_whole_window(others in proptest::collection::vec(0..99_u64, 10)) {
            let mut filter = WindowedMax::default();
            filter.update(100, 0, 10);
            for (i, value) in others.iter().enumerate() {
                filter.update(*value, i as u64 + 1, 10);
                prop_assert_eq!(filter.get(), 100);
            }
            filter.update(0, 11, 10);
            prop_assert!(filter.get() < 100);
        }
    }
}
