//! Controlled delay: a queue that drops by how long packets waited (RFC 8289).

use wire::time::{Duration, Instant};

/// What becomes of a packet that leaves the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It goes on.
    Pass,
    /// It is dropped, or marked.
    Drop,
}

/// What CoDel remembers between packets (RFC 8289 5.3).
#[derive(Clone, Debug, Default)]
pub(super) struct Codel {
    /// When the wait will have been too long for a whole interval; `None` while it is short.
    first_above: Option<Instant>,
    /// It is dropping.
    dropping: bool,
    /// When the next packet is dropped.
    next_drop: Instant,
    /// How many were dropped since it began.
    count: u32,
    /// The same when it last began.
    last_count: u32,
}

/// With so little behind it a packet is never dropped: the link would fall idle (RFC 8289 5.6).
const LEAST_BACKLOG: usize = 1514;

impl Codel {
    /// A packet leaves the queue at `now`, after `sojourn` in it; `backlog` bytes stay behind.
    pub(super) fn leaves(
        &mut self,
        now: Instant,
        sojourn: Duration,
        backlog: usize,
        (target, interval): (Duration, Duration),
    ) -> Verdict {
        let too_long = self.is_too_long(now, sojourn, backlog, target, interval);
        if !too_long {
            self.dropping = false;
            return Verdict::Pass;
        }
        if self.dropping {
            if now < self.next_drop {
                return Verdict::Pass;
            }
            self.count += 1;
            self.next_drop = control_law(self.next_drop, interval, self.count);
            return Verdict::Drop;
        }
        self.dropping = true;
        // RFC 8289 5.5: who stopped shortly ago goes on at the rate that worked.
        let delta = self.count.saturating_sub(self.last_count);
        let recently = now.since(self.next_drop) < interval.saturating_mul(16);
        self.count = if delta > 1 && recently { delta } else { 1 };
        self.last_count = self.count;
        self.next_drop = control_law(now, interval, self.count);
        Verdict::Drop
    }

    /// The wait was above the target for an interval.
    fn is_too_long(
        &mut self,
        now: Instant,
        sojourn: Duration,
        backlog: usize,
        target: Duration,
        interval: Duration,
    ) -> bool {
        if sojourn < target || backlog <= LEAST_BACKLOG {
            self.first_above = None;
            return false;
        }
        let first_above = *self.first_above.get_or_insert_with(|| now.after(interval));
        now >= first_above
    }
}

/// The n-th drop follows the one before after `interval / sqrt(n)` (RFC 8289 3.3).
fn control_law(last: Instant, interval: Duration, count: u32) -> Instant {
    last.after(interval.div_f64(f64::from(count.max(1)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

    /// When packets are dropped that each waited `sojourn`, one every millisecond.
    fn drops(sojourn: u64, backlog: usize, millis: std::ops::Range<u64>) -> Vec<u64> {
        let mut codel = Codel::default();
        let sojourn = Duration::from_millis(sojourn);
        millis
            .filter(|at| {
                codel.leaves(Instant::from_millis(*at), sojourn, backlog, NUMBERS) == Verdict::Drop
            })
            .collect()
    }

    #[test]
    fn rfc8289_3_2_a_good_queue_is_left_alone() {
        assert_eq!(drops(4, 100_000, 0..1000), []);
        assert_eq!(drops(50, LEAST_BACKLOG, 0..1000), [], "nothing waits behind the packet");
    }

    #[test]
    fn rfc8289_3_3_drops_come_closer_and_closer() {
        // 100 ms, then gaps of 100/sqrt(1), 100/sqrt(2), 100/sqrt(3) ... ms.
        assert_eq!(drops(20, 100_000, 0..430), [100, 200, 271, 329, 379, 424]);
    }

    #[test]
    fn rfc8289_5_5_a_short_pause_does_not_start_over() {
        let mut codel = Codel::default();
        let mut count = |from, to, sojourn| {
            (from..to)
                .filter(|at| {
                    let (at, sojourn) = (Instant::from_millis(*at), Duration::from_millis(sojourn));
                    codel.leaves(at, sojourn, 100_000, NUMBERS) == Verdict::Drop
                })
                .count()
        };
        // As many as 100 ms, 100/sqrt(1), 100/sqrt(2) ... fit into a second.
        assert_eq!(count(0, 1000, 20), 27);
        assert_eq!(count(1000, 1010, 1), 0);
        let again = count(1010, 1310, 20);
        assert!(again > 5, "{again} drops in the interval after the first 100 ms");
    }
}
