//! How often each reason was given: the true counts behind `nstat` and `ss -s`.

use crate::reason::{Dropped, Sent, Withheld};

/// Counts of everything that the stack did, by reason.
#[derive(Clone, Debug)]
pub struct Counters {
    sent: [u64; Sent::ALL.len()],
    dropped: [u64; Dropped::ALL.len()],
    withheld: [u64; Withheld::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            sent: [0; Sent::ALL.len()],
            dropped: [0; Dropped::ALL.len()],
            withheld: [0; Withheld::ALL.len()],
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
