//! Undoing a reaction to a loss that was none: Eifel detection by timestamps (RFC 3522), detection
//! by D-SACK (RFC 3708), and the response to both (RFC 4015).

use crate::tcp::seq::Seq;

/// What is remembered from the moment of the reaction on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Undo {
    account: Option<Account>,
    /// RetransmitTS of RFC 3522 3.2: our timestamp in the oldest copy that may be out still.
    stamp: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    /// SND.UNA at the reaction: duplicates below it are of an earlier one.
    since: Seq,
    /// Bytes that were sent again and are not reported to have arrived twice.
    unexplained: u64,
    /// Something was sent again.
    resent: bool,
}

impl Undo {
    /// The window was reduced because of a loss. `resent` bytes are out that were sent again
    /// before, in an earlier repair.
    pub(crate) fn begin(&mut self, una: Seq, resent: u32) {
        let unexplained = u64::from(resent);
        self.account = Some(Account { since: una, unexplained, resent: false });
    }

    /// It was right, or it is undone.
    pub(crate) fn end(&mut self) {
        self.account = None;
    }

    /// `bytes` were sent again, in a segment that carried our timestamp `stamp`.
    pub(crate) fn on_resent(&mut self, bytes: u32, stamp: Option<u32>) {
        self.stamp = self.stamp.or(stamp);
        if let Some(account) = &mut self.account {
            account.resent = true;
            account.unexplained = account.unexplained.saturating_add(u64::from(bytes));
        }
    }

    /// No copy is out any more.
    pub(crate) fn copies_gone(&mut self) {
        self.stamp = None;
    }

    /// RFC 3522 3.2: whether an ACK that echoes `echo` was caused by the original of something that
    /// was sent again: its timestamp is older than that of every copy which is out, be it of this
    /// repair or of one before.
    pub(crate) fn echoes_original(&self, echo: Option<u32>) -> bool {
        match (self.account, self.stamp, echo) {
            (Some(account), Some(stamp), Some(echo)) if echo != 0 => {
                account.resent && Seq(echo).is_before(Seq(stamp))
            }
            _ => false,
        }
    }

    /// RFC 3708: the peer received the range from `left` to `right` twice. Whether with it every
    /// retransmission since the reaction is known to have been needless.
    pub(crate) fn on_duplicate(&mut self, left: Seq, right: Seq) -> bool {
        let Some(account) = &mut self.account else { return false };
        if left.is_before(account.since) {
            return false;
        }
        let length = u64::from(right.distance_from(left));
        account.unexplained = account.unexplained.saturating_sub(length);
        account.resent && account.unexplained == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun() -> Undo {
        let mut undo = Undo::default();
        undo.begin(Seq(1000), 0);
        undo
    }

    #[test]
    fn rfc3522_3_2_an_echo_from_before_the_copy_answers_the_original() {
        let mut undo = begun();
        assert!(!undo.echoes_original(Some(1)), "nothing was sent again yet");
        undo.on_resent(1000, Some(500));
        undo.on_resent(1000, Some(900));
        assert!(undo.echoes_original(Some(499)));
        assert!(!undo.echoes_original(Some(500)), "the copy's own");
        assert!(!undo.echoes_original(None));
        undo.end();
        assert!(!undo.echoes_original(Some(499)));
    }

    #[test]
    fn rfc3708_all_copies_must_be_duplicates() {
        let mut undo = begun();
        assert!(!undo.on_duplicate(Seq(1000), Seq(2000)), "a duplicate of the network's");
        undo.on_resent(1000, None);
        undo.on_resent(1000, None);
        assert!(!undo.on_duplicate(Seq(500), Seq(1000)), "of an earlier reaction");
        assert!(!undo.on_duplicate(Seq(1000), Seq(2000)));
        assert!(undo.on_duplicate(Seq(2000), Seq(3000)));
    }

    #[test]
    fn what_an_earlier_repair_had_sent_proves_nothing() {
        let mut undo = Undo::default();
        undo.on_resent(1000, Some(400));
        undo.begin(Seq(1000), 1000);
        undo.on_resent(1000, Some(500));
        assert!(!undo.echoes_original(Some(499)), "may be the ACK of the first copy");
        assert!(undo.echoes_original(Some(399)));
        undo.copies_gone();
        undo.on_resent(1000, Some(600));
        assert!(undo.echoes_original(Some(499)));
        assert!(!undo.on_duplicate(Seq(1000), Seq(2000)), "the copy of before");
        assert!(!undo.on_duplicate(Seq(5000), Seq(6000)));
        assert!(undo.on_duplicate(Seq(7000), Seq(8000)));
    }
}
