//! Undoing a reaction to a loss that was none: Eifel detection by timestamps (RFC 3522), detection
//! by D-SACK (RFC 3708), and the response to both (RFC 4015).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::tcp::recovery::scoreboard::Block;
use crate::tcp::seq::Seq;

/// How many ranges that were sent again are remembered for D-SACK: 512 bytes at most, and only
/// while a reaction may still be undone. Beyond it nothing is concluded.
const MOST_RANGES: usize = 64;

/// What is remembered from the moment of the reaction on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undo {
    /// There from the reaction on until it is undone: most connections never need one.
    account: Option<Box<Account>>,
    /// RetransmitTS of RFC 3522 3.2: our timestamp in the oldest copy that may be out still. One of
    /// zero counts as none.
    stamp: Option<NonZeroU32>,
    /// Reactions that were undone.
    pub(crate) undone: u32,
}

#[derive(Clone, Debug, Default)]
struct Account {
    /// What was sent again and is not reported to have arrived twice; a range that left again
    /// several times is here as often.
    unexplained: Vec<Block>,
    /// Something was sent again.
    resent: bool,
    /// The first acceptable ACK after it came.
    answered: bool,
    /// There were more ranges than are remembered.
    overflowed: bool,
}

impl Undo {
    /// The window was reduced because of a loss. `earlier` is what is out and was sent again before,
    /// in an earlier repair: its duplicates prove nothing about this one.
    pub(crate) fn begin(&mut self, earlier: impl Iterator<Item = Block>) {
        let mut account = Box::<Account>::default();
        earlier.for_each(|(start, end)| account.remember(start, end));
        self.account = Some(account);
    }

    /// It was right, or it is undone.
    pub(crate) fn end(&mut self) {
        self.account = None;
    }

    /// The range from `start` to `end` was sent again, in a segment that carried our timestamp `stamp`.
    pub(crate) fn on_resent(&mut self, start: Seq, end: Seq, stamp: Option<u32>) {
        self.stamp = self.stamp.or(stamp.and_then(NonZeroU32::new));
        if let Some(account) = &mut self.account {
            account.resent = true;
            account.remember(start, end);
        }
    }

    /// No copy is out any more.
    pub(crate) fn copies_gone(&mut self) {
        self.stamp = None;
    }

    /// RFC 3522 3.2: whether the first ACK of new data after the retransmission, which echoes `echo`,
    /// was caused by an original: its timestamp is older than that of every copy which is out, be it
    /// of this repair or of one before.
    pub(crate) fn echoes_original(&mut self, echo: Option<u32>) -> bool {
        let Some(account) = self.account.as_mut().filter(|account| account.resent) else {
            return false;
        };
        if core::mem::replace(&mut account.answered, true) {
            return false;
        }
        match (self.stamp, echo) {
            (Some(stamp), Some(echo)) if echo != 0 => Seq(echo).is_before(Seq(stamp.get())),
            _ => false,
        }
    }

    /// RFC 3708 3: the peer received the range from `left` to `right` twice. Whether with it every
    /// retransmission since the reaction is known to have been needless. What was not sent again
    /// was doubled by the network, and says nothing.
    pub(crate) fn on_duplicate(&mut self, left: Seq, right: Seq) -> bool {
        let Some(account) = &mut self.account else { return false };
        account.explain(left, right);
        account.resent && account.unexplained.is_empty() && !account.overflowed
    }
}

impl Account {
    fn remember(&mut self, start: Seq, end: Seq) {
        if let Some((_, last)) = self.unexplained.last_mut().filter(|(_, last)| *last == start) {
            *last = end;
        } else {
            self.put_back(self.unexplained.len(), (start, end));
        }
    }

    /// Takes one copy of the range out.
    fn explain(&mut self, mut left: Seq, right: Seq) {
        while left.is_before(right) {
            let holds = |(from, to): &Block| from.is_before(right) && left.is_before(*to);
            let Some(index) = self.unexplained.iter().position(holds) else { return };
            let (from, to) = self.unexplained.remove(index);
            let end = to.earlier_of(right);
            if end.is_before(to) {
                self.put_back(index, (end, to));
            }
            if from.is_before(left) {
                self.put_back(index, (from, left));
            }
            left = end;
        }
    }

    fn put_back(&mut self, index: usize, rest: Block) {
        if self.unexplained.len() < MOST_RANGES {
            self.unexplained.insert(index, rest);
        } else {
            self.overflowed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Undo {
        let mut undo = Undo::default();
        undo.begin(core::iter::empty());
        undo
    }

    #[test]
    fn rfc3522_3_2_an_echo_from_before_the_copy_answers_the_original() {
        for (echo, original) in [(Some(499), true), (Some(500), false), (None, false)] {
            let mut undo = begun();
            assert!(!undo.echoes_original(Some(1)), "nothing was sent again yet");
            undo.on_resent(Seq(1000), Seq(2000), Some(500));
            undo.on_resent(Seq(2000), Seq(3000), Some(900));
            assert_eq!(undo.echoes_original(echo), original);
        }
    }

    #[test]
    fn rfc3522_3_2_only_the_first_acceptable_ack_counts() {
        let mut undo = begun();
        undo.on_resent(Seq(1000), Seq(2000), Some(500));
        assert!(!undo.echoes_original(Some(500)));
        assert!(!undo.echoes_original(Some(499)));
    }

    #[test]
    fn rfc3708_3_all_copies_must_be_duplicates() {
        let mut undo = begun();
        assert!(!undo.on_duplicate(Seq(1000), Seq(2000)), "a duplicate of the network's");
        undo.on_resent(Seq(1000), Seq(2000), None);
        undo.on_resent(Seq(3000), Seq(4000), None);
        assert!(!undo.on_duplicate(Seq(500), Seq(1000)), "of an earlier reaction");
        assert!(!undo.on_duplicate(Seq(2000), Seq(3000)), "sent once, and doubled on the way");
        assert!(!undo.on_duplicate(Seq(1000), Seq(2000)));
        assert!(!undo.on_duplicate(Seq(3200), Seq(3400)), "a part");
        assert!(!undo.on_duplicate(Seq(3000), Seq(3200)));
        assert!(undo.on_duplicate(Seq(3400), Seq(4000)));
    }

    #[test]
    fn rfc3708_3_what_left_twice_must_be_reported_twice() {
        let mut undo = begun();
        undo.on_resent(Seq(1000), Seq(2000), None);
        undo.on_resent(Seq(1000), Seq(2000), None);
        assert!(!undo.on_duplicate(Seq(1000), Seq(2000)));
        assert!(undo.on_duplicate(Seq(1000), Seq(2000)));
    }

    #[test]
    fn more_ranges_than_are_remembered_prove_nothing() {
        let mut undo = begun();
        let range = |index: u32| (Seq(index * 2000), Seq(index * 2000 + 1000));
        let count = u32::try_from(MOST_RANGES).unwrap() + 1;
        (0..count).map(range).for_each(|(start, end)| undo.on_resent(start, end, None));
        assert!((0..count).map(range).all(|(start, end)| !undo.on_duplicate(start, end)));
    }

    #[test]
    fn what_an_earlier_repair_had_sent_proves_nothing() {
        let mut undo = Undo::default();
        undo.on_resent(Seq(1000), Seq(2000), Some(400));
        undo.begin([(Seq(1000), Seq(2000))].into_iter());
        undo.on_resent(Seq(5000), Seq(6000), Some(500));
        assert!(!undo.echoes_original(Some(499)), "may be the ACK of the first copy");
        assert!(!undo.on_duplicate(Seq(1000), Seq(2000)), "the copy of before");
        assert!(undo.on_duplicate(Seq(5000), Seq(6000)));
    }
}
