//! How often each reason was given: the true counts behind `nstat` and `ss -s`.

use crate::reason::{Dropped, Sent, Withheld};

/// Counts of everything that the stack did, by reason.
#[derive(Clone, Debug)]
pub struct Counters {
    sent: [u64; Sent::ALL.len()],
    dropped: [u64; Dropped::ALL.len()],
    withheld: [u64; Withheld::ALL.len()],
    handed_over: u64,
    taken_over: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            sent: [0; Sent::ALL.len()],
            dropped: [0; Dropped::ALL.len()],
            withheld: [0; Withheld::ALL.len()],
            handed_over: 0,
            taken_over: 0,
        }
    }
}

impl Counters {
    /// How many packets were sent for this reason.
    #[must_use]
    pub fn sent(&self, reason: Sent) -> u64 {
        self.sent[reason as usize]
    }

    /// How many packets were dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize]
    }

    /// How often something was held back for this reason.
    #[must_use]
    pub fn withheld(&self, reason: Withheld) -> u64 {
        self.withheld[reason as usize]
    }

    /// How many frames came to this shard and belonged to another.
    #[must_use]
    pub fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// How many frames of this shard came to another, and then here.
    #[must_use]
    pub fn taken_over(&self) -> u64 {
        self.taken_over
    }

    pub(crate) fn count_handed_over(&mut self) {
        self.handed_over += 1;
    }

    pub(crate) fn count_taken_over(&mut self) {
        self.taken_over += 1;
    }

    pub(crate) fn count_sent(&mut self, reason: Sent) {
        self.sent[reason as usize] += 1;
    }

    pub(crate) fn count_dropped(&mut self, reason: Dropped) {
        self.dropped[reason as usize] += 1;
    }

    pub(crate) fn count_withheld(&mut self, reason: Withheld) {
        self.withheld[reason as usize] += 1;
    }
}

/// The counts of another shard of the same host come on top.
impl core::ops::AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, other: &Counters) {
        let add = |to: &mut [u64], from: &[u64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        };
        add(&mut self.sent, &other.sent);
        add(&mut self.dropped, &other.dropped);
        add(&mut self.withheld, &other.withheld);
        self.handed_over += other.handed_over;
        self.taken_over += other.taken_over;
    }
}
