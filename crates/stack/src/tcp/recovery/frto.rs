//! F-RTO: after a timeout, new data shows whether the old was lost at all (RFC 5682).
//!
//! The oldest segment goes out again. If its ACK acknowledges more, two new segments leave instead
//! of old ones; and if then something is acknowledged that was sent only once, before the timeout,
//! the flight was late and not lost.

/// How far the question has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Frto {
    /// Nothing is asked, or it was answered: retransmissions go on as always.
    #[default]
    Idle,
    /// RFC 5682 3.1 step 1: the oldest segment was sent again.
    HeadResent,
    /// Step 2b: new segments leave.
    NewData,
}

/// What an ACK after a timeout answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FrtoVerdict {
    /// Nothing was asked, or it is not known yet.
    Continue,
    /// Step 3a: the new data tells of no original. The timeout was right.
    Needed,
    /// Step 3b: it was spurious. Undo it.
    Spurious,
}

/// What an ACK shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    /// SND.UNA advanced.
    pub(crate) advanced: bool,
    /// Something arrived that was sent before the timeout and never again.
    pub(crate) original: bool,
    /// Everything that was out at the timeout is acknowledged.
    pub(crate) covered: bool,
    /// There is data that was never sent, and the peer's window takes it.
    pub(crate) has_new: bool,
}

impl Frto {
    /// The retransmission timer expired. `again` says that it did before for the same segment, or
    /// during a recovery that a timeout had begun: then nothing can be learnt (RFC 5682 2.1 step 1).
    pub(crate) fn on_timeout(&mut self, again: bool) {
        *self = if again { Frto::Idle } else { Frto::HeadResent };
    }

    /// An ACK of the time after the timeout (RFC 5682 3.1, steps 2 and 3).
    pub(crate) fn on_ack(&mut self, evidence: &Evidence) -> FrtoVerdict {
        if *self == Frto::Idle {
            return FrtoVerdict::Continue;
        }
        if evidence.original {
            *self = Frto::Idle;
            return FrtoVerdict::Spurious;
        }
        let asked = *self == Frto::NewData;
        let may_ask = *self == Frto::HeadResent && evidence.has_new && !evidence.covered;
        *self = if may_ask && evidence.advanced { Frto::NewData } else { Frto::Idle };
        if asked { FrtoVerdict::Needed } else { FrtoVerdict::Continue }
    }

    /// New data goes before what waits to be sent again.
    pub(crate) fn prefers_new(self) -> bool {
        self == Frto::NewData
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: Evidence =
        Evidence { advanced: true, original: false, covered: false, has_new: true };

    fn asked() -> Frto {
        let mut frto = Frto::default();
        frto.on_timeout(false);
        frto
    }

    #[test]
    fn rfc5682_3_1_an_original_that_arrives_shows_a_spurious_timeout() {
        let mut frto = asked();
        assert_eq!(frto.on_ack(&ACK), FrtoVerdict::Continue);
        assert!(frto.prefers_new());
        let original = Evidence { original: true, ..ACK };
        assert_eq!(frto.on_ack(&original), FrtoVerdict::Spurious);
        assert!(!frto.prefers_new());
    }

    #[test]
    fn rfc5682_2_1_a_duplicate_ack_means_that_it_was_right() {
        for evidence in [
            Evidence { advanced: false, ..ACK },
            Evidence { covered: true, ..ACK },
            Evidence { has_new: false, ..ACK },
        ] {
            let mut frto = asked();
            assert_eq!(frto.on_ack(&evidence), FrtoVerdict::Continue);
            assert_eq!(frto, Frto::Idle, "{evidence:?}");
        }
        let mut frto = asked();
        frto.on_ack(&ACK);
        frto.on_ack(&Evidence { advanced: false, ..ACK });
        assert_eq!(frto, Frto::Idle, "the new data found a hole");
    }

    #[test]
    fn rfc5682_2_1_a_second_timeout_asks_nothing() {
        let mut frto = asked();
        frto.on_timeout(true);
        assert_eq!(frto.on_ack(&Evidence { original: true, ..ACK }), FrtoVerdict::Continue);
    }
}
