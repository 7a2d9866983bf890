//! Blind attacks on a connection and what they get (RFC 5961).
//!
//! Somebody who sees none of our packets can still guess at a window's worth of sequence
//! numbers. A guess is answered with a challenge ACK: the true peer corrects itself with one exact
//! reset, a guesser learns nothing.

use wire::time::{Duration, Instant};

use super::seq::Seq;

/// A connection's allowance of challenge ACKs (RFC 5961 7).
///
/// Each connection has its own. A stack-wide allowance lets an outsider measure it through a
/// connection of his own and so find out about others' (CVE-2016-5696).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChallengeBudget {
    /// When the period began that `spent` counts in.
    period_start: Instant,
    /// Challenge ACKs sent in this period.
    spent: u16,
    /// Challenge ACKs allowed in each period.
    limit: u16,
    /// Before this time no unacceptable segment without text is answered.
    quiet_until: Instant,
}

const _: () = assert!(size_of::<ChallengeBudget>() <= 24);

impl ChallengeBudget {
    /// The default limit: more than an honest peer provokes by a restart or a reordered path,
    /// and far too little to be of use as a reflector.
    pub(crate) const DEFAULT_LIMIT: u16 = 10;

    /// How long a period is.
    pub(crate) const PERIOD: Duration = Duration::from_secs(1);

    /// The least time between two answers to unacceptable segments without text.
    pub(crate) const ANSWER_INTERVAL: Duration = Duration::from_millis(500);

    /// A budget of `limit` challenge ACKs in each second; zero means none at all.
    pub(crate) const fn new(limit: u16) -> Self {
        Self { period_start: Instant::ZERO, spent: 0, limit, quiet_until: Instant::ZERO }
    }

    /// Takes one challenge ACK from the budget; `false` when none is left in this period.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        if now.since(self.period_start) >= Self::PERIOD {
            self.period_start = now;
            self.spent = 0;
        }
        let allowed = self.spent < self.limit;
        self.spent += u16::from(allowed);
        allowed
    }

    /// The same for an answer to a segment without text that is not acceptable. Such answers also
    /// keep a distance from each other (as Linux has it: `tcp_invalid_ratelimit`): when the two ends
    /// disagree about their numbers, each answer is the next thing to be answered, and this ends it.
    pub(crate) fn allow_answer(&mut self, now: Instant) -> bool {
        if now < self.quiet_until || !self.allow(now) {
            return false;
        }
        self.quiet_until = now.after(Self::ANSWER_INTERVAL);
        true
    }
}

impl Default for ChallengeBudget {
    fn default() -> Self {
        Self::new(Self::DEFAULT_LIMIT)
    }
}

/// What a reset gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResetVerdict {
    /// Exactly at RCV.NXT: the connection is reset.
    Reset,
    /// Somewhere else in the window: a challenge ACK, and nothing changes.
    Challenge,
    /// Outside the window: dropped in silence.
    Drop,
}

/// Judges a RST in a synchronized state (RFC 5961 3.2, RFC 9293 3.10.7.4 second check).
pub(crate) fn reset_verdict(seq: Seq, rcv_nxt: Seq, rcv_wnd: u32) -> ResetVerdict {
    if seq == rcv_nxt {
        ResetVerdict::Reset
    } else if seq.is_within(rcv_nxt, rcv_wnd) {
        ResetVerdict::Challenge
    } else {
        ResetVerdict::Drop
    }
}

/// Where an acknowledgment number lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AckRange {
    /// It acknowledges something not acknowledged before: `SND.UNA < SEG.ACK =< SND.NXT`.
    New,
    /// It repeats SND.UNA, or is older by no more than a window: the segment counts, its
    /// acknowledgment tells nothing new.
    Repeated,
    /// Older than any segment in flight can be: a challenge ACK and dropped.
    TooOld,
    /// It acknowledges something never sent: an ACK and dropped.
    Unsent,
}

impl AckRange {
    /// Judges SEG.ACK in a synchronized state (RFC 5961 5.2, RFC 9293 3.10.7.4 fifth check).
    ///
    /// `snd_max` is the end of everything ever sent (SND.NXT when nothing is being sent again),
    /// `max_snd_wnd` the largest window the peer ever offered, in bytes.
    pub(crate) fn of(ack: Seq, snd_una: Seq, snd_max: Seq, max_snd_wnd: u32) -> Self {
        if ack.is_after(snd_max) {
            // Half the circle is "after": an ACK that is old by much lands here or below. The
            // two get the same answer, an ACK.
            Self::Unsent
        } else if ack.is_after(snd_una) {
            Self::New
        } else if snd_una.distance_from(ack) <= max_snd_wnd {
            Self::Repeated
        } else {
            Self::TooOld
        }
    }
}

/// Whether `SND.UNA - MAX.SND.WND =< SEG.ACK =< SND.NXT` (RFC 5961 5.2).
pub(crate) fn ack_acceptable(ack: Seq, snd_una: Seq, snd_max: Seq, max_snd_wnd: u32) -> bool {
    matches!(AckRange::of(ack, snd_una, snd_max, max_snd_wnd), AckRange::New | AckRange::Repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5961_7_the_budget_limits_each_period_by_itself() {
        let mut budget = ChallengeBudget::new(3);
        let at = Instant::from_millis;
        let taken: alloc::vec::Vec<bool> =
            [0, 1, 2, 3, 999, 1000, 1001, 1002, 1003].map(|ms| budget.allow(at(ms))).into();
        assert_eq!(taken, [true, true, true, false, false, true, true, true, false]);
        assert!(!ChallengeBudget::new(0).allow(at(5)));
    }

    #[test]
    fn a_clock_that_starts_late_starts_with_a_full_budget() {
        let mut budget = ChallengeBudget::default();
        let now = Instant::from_millis(86_400_000);
        assert_eq!((0..20).filter(|_| budget.allow(now)).count(), 10);
    }

    #[test]
    fn rfc5961_3_2_only_the_exact_number_resets() {
        let nxt = Seq(u32::MAX - 1);
        let table = [
            (nxt, 1000, ResetVerdict::Reset),
            (nxt.plus(1), 1000, ResetVerdict::Challenge),
            (nxt.plus(999), 1000, ResetVerdict::Challenge),
            (nxt.plus(1000), 1000, ResetVerdict::Drop),
            (nxt.minus(1), 1000, ResetVerdict::Drop),
            // A closed window still takes the exact number.
            (nxt, 0, ResetVerdict::Reset),
            (nxt.plus(1), 0, ResetVerdict::Drop),
        ];
        for (seq, window, expected) in table {
            assert_eq!(reset_verdict(seq, nxt, window), expected, "{seq} in {window}");
        }
    }

    #[test]
    fn rfc5961_5_2_an_ack_must_be_near() {
        let una = Seq(5);
        let nxt = una.plus(100);
        let table = [
            (una.plus(1), AckRange::New),
            (nxt, AckRange::New),
            (nxt.plus(1), AckRange::Unsent),
            (una, AckRange::Repeated),
            (una.minus(65_535), AckRange::Repeated),
            (una.minus(65_536), AckRange::TooOld),
            (una.minus(0x7FFF_0000), AckRange::TooOld),
        ];
        for (ack, expected) in table {
            assert_eq!(AckRange::of(ack, una, nxt, 65_535), expected, "{ack}");
            let fine = matches!(expected, AckRange::New | AckRange::Repeated);
            assert_eq!(ack_acceptable(ack, una, nxt, 65_535), fine);
        }
    }
}
