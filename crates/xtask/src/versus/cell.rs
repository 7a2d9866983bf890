//! What is compared: impairments, round-trip times, and who sends to whom.

use std::num::NonZeroU64;
use std::time::Duration;

use link::{Impairment, Loss};
use serde::{Deserialize, Serialize};

/// Bits per second, in each direction.
const RATE: u64 = 100_000_000;

/// What happens to packets, in both directions alike.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Trouble {
    /// Each is lost with so many in a thousand.
    Loss(u32),
    /// One in a hundred is lost, five in a row on average.
    Bursts,
    /// Three in a hundred skip the delay, and so overtake half a round trip of others.
    Reordering,
}

/// One impairment at one round-trip time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Cell {
    pub(super) trouble: Trouble,
    /// In milliseconds.
    pub(super) round_trip: u32,
}

impl Cell {
    /// Every cell of the table.
    pub(super) fn all() -> Vec<Self> {
        let troubles = [
            Trouble::Loss(0),
            Trouble::Loss(1),
            Trouble::Loss(10),
            Trouble::Loss(30),
            Trouble::Bursts,
            Trouble::Reordering,
        ];
        let at = |round_trip| troubles.map(|trouble| Self { trouble, round_trip });
        [at(20), at(100)].concat()
    }

    /// Four that differ most, and whose figures are steady in short runs.
    pub(super) fn quick() -> Vec<Self> {
        vec![
            Self { trouble: Trouble::Loss(0), round_trip: 100 },
            Self { trouble: Trouble::Loss(10), round_trip: 20 },
            Self { trouble: Trouble::Bursts, round_trip: 20 },
            Self { trouble: Trouble::Reordering, round_trip: 20 },
        ]
    }

    /// What it is called on the command line and in the table.
    pub(super) fn name(self) -> String {
        let trouble = match self.trouble {
            Trouble::Loss(0) => "no loss".into(),
            Trouble::Loss(thousandths) => format!("{}% loss", f64::from(thousandths) / 10.0),
            Trouble::Bursts => "bursts".into(),
            Trouble::Reordering => "reordering".into(),
        };
        format!("{trouble}, {} ms", self.round_trip)
    }

    /// What happens to each direction. The queue holds one bandwidth-delay product.
    pub(super) fn impairment(self) -> Impairment {
        let round_trip = Duration::from_millis(self.round_trip.into());
        let product = RATE / 8 * u64::from(self.round_trip) / 1000;
        let plain = Impairment {
            delay: round_trip / 2,
            rate: NonZeroU64::new(RATE),
            queue_packets: usize::MAX,
            queue_bytes: usize::try_from(product).ok(),
            ..Impairment::default()
        };
        match self.trouble {
            Trouble::Loss(0) => plain,
            Trouble::Loss(thousandths) => {
                Impairment { loss: Loss::Random(f64::from(thousandths) / 1000.0), ..plain }
            }
            // In the bad state for 0.002 / (0.002 + 0.2) of the packets.
            Trouble::Bursts => Impairment {
                loss: Loss::Burst { enter: 0.002, leave: 0.2, good: 0.0, bad: 1.0 },
                ..plain
            },
            Trouble::Reordering => Impairment { reorder: 0.03, ..plain },
        }
    }
}

/// Whose TCP an end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stack {
    Linux,
    Estab,
}

/// Who sends to whom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum Pair {
    /// What the others are measured by.
    LinuxToLinux,
    EstabToLinux,
    LinuxToEstab,
    /// The same as the first, to see how far two measurements of one thing are apart.
    LinuxAgain,
}

impl Pair {
    const ALL: [Self; 4] =
        [Self::LinuxToLinux, Self::EstabToLinux, Self::LinuxToEstab, Self::LinuxAgain];

    /// The pair with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pair| pair.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LinuxToLinux => "Linux to Linux",
            Self::EstabToLinux => "estab to Linux",
            Self::LinuxToEstab => "Linux to estab",
            Self::LinuxAgain => "Linux to Linux, again",
        }
    }

    pub(super) fn sender(self) -> Stack {
        if self == Self::EstabToLinux { Stack::Estab } else { Stack::Linux }
    }

    pub(super) fn receiver(self) -> Stack {
        if self == Self::LinuxToEstab { Stack::Estab } else { Stack::Linux }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_and_pairs_have_names_of_their_own() {
        let mut names: Vec<String> = Cell::all().into_iter().map(Cell::name).collect();
        assert_eq!(names.len(), 12);
        assert!(names.contains(&"0.1% loss, 20 ms".to_owned()), "{names:?}");
        assert!(Cell::quick().into_iter().all(|cell| names.contains(&cell.name())));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 12);
        for pair in Pair::ALL {
            assert_eq!(Pair::named(pair.name()), Some(pair));
        }
    }

    #[test]
    fn the_queue_holds_one_bandwidth_delay_product() {
        let cell = Cell { trouble: Trouble::Bursts, round_trip: 20 };
        assert_eq!(cell.impairment().queue_bytes, Some(250_000));
        assert_eq!(cell.impairment().delay, Duration::from_millis(10));
    }
}
