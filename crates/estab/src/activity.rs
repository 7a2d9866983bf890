//! What carrying frames has cost: counts, for tests and for who tunes.

/// Counts of what carries a stack's frames. An idle stack adds to none of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Activity {
    /// Turns: each reads the clock, receives, fires timers and sends.
    pub turns: u64,
    /// How often there was nothing to do, and the thread went to sleep.
    pub sleeps: u64,
    /// How often a [busy polling](crate::StackBuilder::busy_poll) wait asked the links.
    pub polls: u64,
    /// How often a program's call woke the driver, because of a timer that is due before it would
    /// have woken by itself, or because there is more to send than one call sends. Always zero
    /// [inline](crate::inline).
    pub kicks: u64,
    /// Frames received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
}

/// The counts of another shard of the same stack come on top.
impl std::ops::AddAssign for Activity {
    fn add_assign(&mut self, other: Self) {
        self.turns += other.turns;
        self.sleeps += other.sleeps;
        self.polls += other.polls;
        self.kicks += other.kicks;
        self.received += other.received;
        self.sent += other.sent;
    }
}
