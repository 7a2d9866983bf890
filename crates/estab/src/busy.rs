//! How long to ask the device again and again before going to sleep.
//!
//! A thread that sleeps is woken late: by the time a processor core takes to wake, and by that of a
//! change of context. Who polls instead is there at once, and pays with processor time. The bound
//! that the program set is kept, and shortened where it does not pay, by the rule that hypervisors
//! poll by: a wait that ended within the bound, so that polling (longer) was right or would have
//! been, doubles the time; one that took longer halves it, and so a connection that falls silent
//! soon costs nothing.

use std::time::Duration;

use wire::time::Instant;

/// From nothing the time begins again with this fraction of the bound, and below half of it ends.
const SMALLEST_FRACTION: u32 = 8;

/// The time that a wait polls before it sleeps.
#[derive(Debug)]
pub(crate) struct BusyPoll {
    /// What the program allows. Zero: never.
    bound: Duration,
    /// What it is worth now.
    current: Duration,
    /// When the wait began that is under way.
    since: Option<Instant>,
}

impl BusyPoll {
    pub(crate) fn new(bound: Duration) -> Self {
        Self { bound, current: bound, since: None }
    }

    /// Whether it may ever poll.
    pub(crate) fn is_on(&self) -> bool {
        !self.bound.is_zero()
    }

    /// Until when a wait polls that begins now, or goes on.
    pub(crate) fn poll_until(&mut self, now: Instant) -> Instant {
        self.since.get_or_insert(now).after(self.current)
    }

    /// A frame came: that ends the wait.
    pub(crate) fn received(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.learn(now.since(since));
        }
    }

    /// Something was sent that may be answered: another wait begins, and one that polled in vain is
    /// counted.
    pub(crate) fn sent(&mut self, now: Instant) {
        if let Some(waited) = self.since.take().map(|since| now.since(since))
            && waited > self.bound
        {
            self.learn(waited);
        }
    }

    fn learn(&mut self, waited: Duration) {
        let least = self.bound / SMALLEST_FRACTION;
        self.current = if waited <= self.bound {
            (self.current * 2).clamp(least, self.bound)
        } else {
            let half = self.current / 2;
            if half < least / 2 { Duration::ZERO } else { half }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_micros(80);

    /// For how long waits poll that take `waits`, and what it does after them.
    fn run(busy: &mut BusyPoll, waits: impl IntoIterator<Item = Duration>) -> Duration {
        let (mut now, mut spent) = (Instant::from_millis(1), Duration::ZERO);
        for wait in waits {
            let until = busy.poll_until(now);
            assert!(until <= now.after(busy.bound));
            spent += until.since(now).min(wait);
            now = now.after(wait);
            busy.received(now);
        }
        spent
    }

    #[test]
    fn silence_ends_it_and_answers_begin_it_again() {
        let mut busy = BusyPoll::new(BOUND);
        let spent = run(&mut busy, [Duration::from_millis(50); 1000]);
        assert!(spent < BOUND * 2, "{spent:?} in all for a thousand answers that took long");
        assert_eq!(busy.current, Duration::ZERO);
        let spent = run(&mut busy, [Duration::from_micros(60); 4]);
        assert_eq!(
            spent,
            BOUND / 8 + BOUND / 4 + BOUND / 2,
            "nothing at first, then twice as much"
        );
        assert_eq!(busy.current, BOUND);
    }

    #[test]
    fn what_is_never_answered_ends_it_too() {
        let mut busy = BusyPoll::new(BOUND);
        let (mut now, mut spent) = (Instant::from_millis(1), Duration::ZERO);
        for _ in 0..1000 {
            busy.sent(now);
            spent += busy.poll_until(now).since(now);
            now = now.after(Duration::from_millis(10));
        }
        assert!(spent < BOUND * 2, "{spent:?}");
    }

    #[test]
    fn a_wait_that_is_interrupted_goes_on() {
        let mut busy = BusyPoll::new(BOUND);
        let start = Instant::from_millis(1);
        assert_eq!(busy.poll_until(start), start.after(BOUND));
        let later = start.after(BOUND / 2);
        assert_eq!(busy.poll_until(later), start.after(BOUND));
    }

    #[test]
    fn without_a_bound_it_never_polls() {
        let mut busy = BusyPoll::new(Duration::ZERO);
        assert_eq!(run(&mut busy, [Duration::ZERO, Duration::from_micros(1)]), Duration::ZERO);
        assert!(!busy.is_on());
    }
}
