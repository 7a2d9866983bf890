//! A size that was raised is watched (RFC 4821 7.8): where packets take several ways, a question that
//! arrived answers for one of them only.

use wire::time::{Duration, Instant};

use crate::reason::Sent;
use crate::tcp::connection::Connection;
use crate::tcp::path_search::search_of;

/// One in so many bytes may be lost: more are the way's, and not those of a full queue (RFC 4821 7.8).
const ONE_IN: u128 = 10;
/// And the share has grown so much since the size was raised.
const SHARPLY: u128 = 2;
/// For how many retransmission timeouts losses are counted before they are judged.
const TIMEOUTS: u32 = 4;

/// Bytes that arrived, and bytes that did not, since the connection began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    pub(super) delivered: u64,
    pub(super) lost: u64,
}

/// The size of segments from before, and what had been lost by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verification {
    before: u32,
    judged_at: Instant,
    totals: Totals,
}

impl Verification {
    /// The size is raised now, from `before`.
    pub(super) fn begin(before: u32, now: Instant, timeout: Duration, totals: Totals) -> Self {
        Self { before, judged_at: now.after(timeout.saturating_mul(TIMEOUTS)), totals }
    }

    /// Whether so much more is lost since then that the larger size must be why.
    fn refutes(&self, now: Totals) -> bool {
        let lost = u128::from(now.lost.saturating_sub(self.totals.lost));
        let all = lost + u128::from(now.delivered.saturating_sub(self.totals.delivered));
        let lost_before = u128::from(self.totals.lost);
        let all_before = lost_before + u128::from(self.totals.delivered);
        // Without the divisions: lost / all > 1 / ONE_IN, and > SHARPLY * lost_before / all_before.
        lost * ONE_IN > all && lost * all_before >= SHARPLY * lost_before * all
    }
}

impl Connection {
    pub(super) fn totals(&self) -> Totals {
        Totals { delivered: self.snd.rate.delivered(), lost: self.snd.rate.lost() }
    }

    /// RFC 4821 7.8: something was lost. Where too much is since the size was raised, and for long
    /// enough, it falls back to what it was, and the larger one counts as a question that failed.
    pub(crate) fn verify_size(&mut self, now: Instant) {
        let (totals, size) = (self.totals(), self.snd.mss);
        let pause = self.retransmission_timeout().saturating_mul(2);
        let Some(search) = search_of(&mut self.seldom) else { return };
        let Some(raised) = search.verification.take_if(|raised| now >= raised.judged_at) else {
            return;
        };
        if !raised.refutes(totals) {
            return;
        }
        search.refuted(raised.before, size, now.after(pause));
        self.resize_segments(raised.before);
        self.snd.retransmit_head = Some(Sent::LargerSizeRefuted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refutes(before: (u64, u64), since: (u64, u64)) -> bool {
        let totals = Totals { delivered: before.0, lost: before.1 };
        let raised = Verification::begin(1000, Instant::ZERO, Duration::from_secs(1), totals);
        let now = Totals { delivered: before.0 + since.0, lost: before.1 + since.1 };
        raised.refutes(now)
    }

    #[test]
    fn more_than_one_in_ten_is_too_many() {
        assert!(!refutes((0, 0), (90, 10)));
        assert!(refutes((0, 0), (89, 11)));
        assert!(!refutes((0, 0), (0, 0)), "nothing lost refutes nothing");
    }

    #[test]
    fn a_way_that_was_as_bad_before_is_no_sign() {
        assert!(!refutes((80, 20), (80, 20)));
        assert!(!refutes((80, 20), (61, 39)));
        assert!(refutes((80, 20), (60, 40)));
    }

    #[test]
    fn no_number_is_too_large() {
        assert!(refutes((u64::MAX / 4, 1), (0, u64::MAX / 4)));
    }
}
