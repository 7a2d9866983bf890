//! What was lost, when that is known, and how it is repaired.
//!
//! | file | holds | source |
//! |---|---|---|
//! | `rtt`, `rto` | round trips, the retransmission timeout | RFC 6298, RFC 7323 4 |
//! | `scoreboard` | what the peer's SACK blocks say | RFC 2018, RFC 2883 |
//! | `rack`, `tlp` | when a segment counts as lost; the tail loss probe | RFC 8985 |
//! | `prr` | how fast to send while losses are repaired | RFC 9937 |
//! | `frto`, `undo` | reactions that were wrong, and how they are undone | RFC 5682, 3522, 3708, 4015 |
//! | `sack` | the thread through these, for a peer that says what it has | RFC 6675 |
//! | `newreno` | the same for a peer that does not | RFC 6582 |

pub(crate) mod frto;
pub(crate) mod newreno;
pub(crate) mod prr;
pub(crate) mod rack;
pub(crate) mod rto;
pub(crate) mod rtt;
pub(crate) mod sack;
pub(crate) mod scoreboard;
pub(crate) mod tlp;
pub(crate) mod undo;

use wire::time::Duration;

use crate::tcp::congestion::Controller;
use crate::tcp::seq::Seq;
use frto::Frto;
use newreno::NewReno;
use prr::Prr;
use rack::{Rack, RackFlight};
use scoreboard::{Block, Scoreboard};
use tlp::Tlp;
use undo::Undo;

/// What one connection remembers of losses, also when they are repaired.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    /// What is being repaired.
    pub(crate) phase: Phase,
    /// When a segment counts as lost: what the path taught.
    pub(crate) rack: Rack,
    /// The tail loss probe.
    pub(crate) tlp: Tlp,
    /// Whether the last reaction was needed.
    pub(crate) undo: Undo,
    /// Segments that the peer reported to have received twice.
    pub(crate) duplicates: u32,
}

/// The course of a repair: of no meaning while nothing is in flight.
#[derive(Debug)]
pub(crate) struct Repair {
    /// The rate of sending in fast recovery.
    pub(crate) prr: Prr,
    /// Which blocks were seen.
    pub(crate) scoreboard: Scoreboard,
    /// Whether a timeout was needed.
    pub(crate) frto: Frto,
    /// Fast recovery with a peer that does not say what it has.
    pub(crate) newreno: NewReno,
    /// When a segment counts as lost: what is known of those in flight.
    pub(crate) rack: RackFlight,
    /// How often the segment at this number was found lost while it was the oldest (RFC 4821 7.7).
    pub(crate) oldest_losses: (Seq, u8),
}

/// What the sender repairs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing.
    Open,
    /// Segments that were found to be lost, until everything before `until` is acknowledged.
    Fast {
        /// RecoveryPoint of RFC 6675 2: SND.NXT when it began.
        until: Seq,
    },
    /// What was out when the retransmission timer expired.
    Timeout {
        /// SND.NXT at that time.
        until: Seq,
    },
}

impl Recovery {
    /// Nothing is lost.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Open,
            rack: Rack::new(),
            tlp: Tlp::default(),
            undo: Undo::default(),
            duplicates: 0,
        }
    }

    /// Fast recovery is going on.
    pub(crate) fn is_fast(&self) -> bool {
        matches!(self.phase, Phase::Fast { .. })
    }

    /// Losses are being repaired, found by whatever means.
    pub(crate) fn is_repairing(&self) -> bool {
        self.phase != Phase::Open
    }

    /// The window to send by, in bytes: what the controller says, or what the repair makes of it.
    pub(crate) fn window(
        &self,
        repair: &Repair,
        controller: &dyn Controller,
        sack: bool,
        mss: u32,
    ) -> u64 {
        let window = controller.window();
        match (sack, self.phase) {
            (true, Phase::Fast { .. }) if controller.wants_rate_reduction() => repair.prr.window(),
            (true, _) => window,
            (false, _) => repair.newreno.effective_window(window, mss),
        }
    }

    /// The retransmission timer expired; `nxt` is SND.NXT, `una` SND.UNA, and `resent` is what is
    /// on its way and was sent again before. With `sack` the peer says what it has.
    pub(crate) fn on_timeout(
        &mut self,
        repair: &mut Repair,
        sack: bool,
        (una, nxt): (Seq, Seq),
        resent: impl Iterator<Item = Block>,
    ) {
        // RFC 5682 2.1 step 1: nothing is learnt in the middle of a repair.
        let again = match self.phase {
            Phase::Open => false,
            Phase::Fast { until } | Phase::Timeout { until } => una.is_before(until),
        };
        self.phase = Phase::Timeout { until: nxt };
        self.tlp.cancel();
        self.undo.begin(resent);
        repair.frto.on_timeout(again);
        repair.scoreboard.forget();
        if !sack {
            repair.newreno.on_timeout(nxt);
        }
    }
}

impl Repair {
    /// Nothing was ever lost.
    pub(crate) const fn new() -> Self {
        Self {
            prr: Prr::new(),
            scoreboard: Scoreboard::new(),
            frto: Frto::Idle,
            newreno: NewReno::new(),
            rack: RackFlight::new(),
            oldest_losses: (Seq(0), 0),
        }
    }

    /// Whether, with nothing in flight, nothing of it is needed any more.
    pub(crate) fn is_over(&self) -> bool {
        self.newreno.is_at_rest()
    }
}

impl Default for Repair {
    fn default() -> Self {
        Self::new()
    }
}

/// What stands in for a round trip that was never measured.
pub(crate) const UNMEASURED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5682_2_1_nothing_is_asked_in_the_middle_of_a_repair() {
        let until = Seq(5000);
        for (phase, asks) in [
            (Phase::Open, true),
            (Phase::Fast { until }, false),
            (Phase::Timeout { until }, false),
            (Phase::Timeout { until: Seq(1000) }, true),
        ] {
            let mut recovery = Recovery { phase, ..Recovery::new() };
            let mut repair = Repair::new();
            let numbers = (Seq(1000), Seq(9000));
            recovery.on_timeout(&mut repair, true, numbers, core::iter::empty());
            assert_eq!(repair.frto == Frto::HeadResent, asks, "{phase:?}");
        }
    }
}
