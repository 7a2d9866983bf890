//! Whether the congestion window was used, and so may grow (RFC 7661 4.3).
//!
//! A window that the program did not fill was not tested: what it would do to the path is not known.
//! In slow start a window counts as used when more than half of it was in flight in the last round
//! trip, for it doubles in one; in congestion avoidance only when it was full.

use crate::tcp::seq::Seq;

/// The use of the window in one round trip.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WindowUsage {
    /// The round trip ends when this is acknowledged.
    until: Option<Seq>,
    /// The most that was in flight in it, in bytes.
    most: u32,
    /// The window was full in it, or held data back.
    full: bool,
}

impl WindowUsage {
    /// Something was sent up to `nxt`, or held back: `flight` bytes are on their way, and the window is
    /// `full` or not.
    pub(crate) fn note(&mut self, una: Seq, nxt: Seq, flight: u32, full: bool) {
        let over = self.until.is_none_or(|until| una.is_at_or_after(until));
        if over || full || (!self.full && flight > self.most) {
            *self = Self { until: Some(nxt), most: flight, full };
        }
    }

    /// The most that was in flight in the last round trip, in bytes.
    pub(crate) fn most(&self) -> u32 {
        self.most
    }

    /// Whether a window of `window` bytes was used.
    pub(crate) fn was_used(&self, window: u64, slow_start: bool) -> bool {
        self.full || (slow_start && window < 2 * u64::from(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_slow_start_half_a_window_is_enough() {
        let mut usage = WindowUsage::default();
        assert!(!usage.was_used(10_000, true));
        usage.note(Seq(0), Seq(6000), 6000, false);
        assert!(usage.was_used(10_000, true));
        assert!(!usage.was_used(12_000, true));
        assert!(!usage.was_used(10_000, false));
    }

    #[test]
    fn a_full_window_counts_until_its_round_trip_is_over() {
        let mut usage = WindowUsage::default();
        usage.note(Seq(0), Seq(10_000), 10_000, true);
        usage.note(Seq(2000), Seq(11_000), 9000, false);
        assert!(usage.was_used(10_000, false));
        usage.note(Seq(10_000), Seq(12_000), 2000, false);
        assert!(!usage.was_used(10_000, false));
    }
}
