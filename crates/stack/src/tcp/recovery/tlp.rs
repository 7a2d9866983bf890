//! The tail loss probe: when the last segments of a flight may be lost and nothing follows that
//! could show it, one segment asks, long before the retransmission timer (RFC 8985 7).

use wire::time::Duration;

use crate::tcp::seq::Seq;

/// RFC 8985 7.2: how long a peer may delay the ACK of a lone segment (TLP.max_ack_delay).
const MAX_ACK_DELAY: Duration = Duration::from_millis(200);
/// Before a round trip was measured.
const UNMEASURED: Duration = Duration::from_secs(1);
/// The clock's grain: a peer that answers at once is not faster.
const GRAIN: Duration = Duration::from_millis(2);

/// The probe of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tlp {
    /// A probe is due.
    pub(crate) due: bool,
    /// TLP.end_seq and TLP.is_retrans: a probe is out, and whether it repeated something.
    probe: Option<Probe>,
    /// A round trip was measured since the last probe left, or since the connection began.
    measured: bool,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    end: Seq,
    repeats: bool,
}

/// What an ACK says about the probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProbeVerdict {
    /// None is out, or it is not answered yet.
    Nothing,
    /// Answered: nothing was lost, or recovery will see to it.
    Done,
    /// The probe repaired a loss that nobody saw: the congestion window must hear of it.
    RepairedLoss,
}

impl Tlp {
    /// TLP_calc_PTO of RFC 8985 7.2: two round trips, and the peer's delayed ACK where only one
    /// segment is out.
    pub(crate) fn timeout(smoothed: Option<Duration>, one_segment: bool) -> Duration {
        let Some(smoothed) = smoothed else { return UNMEASURED };
        let wait = smoothed.saturating_mul(2);
        wait.saturating_add(if one_segment { MAX_ACK_DELAY } else { GRAIN })
    }

    /// RFC 8985 7.3: one probe at a time, and a round trip is measured between two of them, or probes
    /// could keep a path that became longer from being noticed.
    pub(crate) fn may_probe(&self) -> bool {
        self.probe.is_none() && self.measured
    }

    /// No probe is out.
    pub(crate) fn is_answered(&self) -> bool {
        self.probe.is_none()
    }

    /// A round trip was measured.
    pub(crate) fn on_measured(&mut self) {
        self.measured = true;
    }

    /// A probe left. `end` is SND.NXT with it; it `repeats` a segment or carries new data.
    pub(crate) fn on_sent(&mut self, end: Seq, repeats: bool) {
        self.due = false;
        self.measured = false;
        self.probe = Some(Probe { end, repeats });
    }

    /// TLP_process_ack of RFC 8985 7.4.2. `una` is SND.UNA with this ACK; `duplicate` is the end of
    /// a block that the peer reported to have received twice; `repeated` is whether this ACK
    /// acknowledges nothing, brings no block and changes no window.
    pub(crate) fn on_ack(
        &mut self,
        ack: Seq,
        duplicate: Option<Seq>,
        repeated: bool,
    ) -> ProbeVerdict {
        let Some(probe) = self.probe else { return ProbeVerdict::Nothing };
        if ack.is_before(probe.end) {
            return ProbeVerdict::Nothing;
        }
        let verdict = if !probe.repeats || duplicate == Some(probe.end) {
            // It was new, or both copies arrived.
            ProbeVerdict::Done
        } else if ack.is_after(probe.end) {
            // More was acknowledged than the probe could explain without a loss.
            ProbeVerdict::RepairedLoss
        } else if repeated {
            // A second ACK for the same: both copies arrived, at a peer without D-SACK.
            ProbeVerdict::Done
        } else {
            return ProbeVerdict::Nothing;
        };
        self.probe = None;
        verdict
    }

    /// Recovery began, or the timer expired: the probe's question is answered otherwise.
    pub(crate) fn cancel(&mut self) {
        *self = Self { measured: self.measured, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProbeVerdict::{Done, Nothing, RepairedLoss};

    fn sent(repeats: bool) -> Tlp {
        let mut tlp = Tlp::default();
        tlp.on_sent(Seq(5000), repeats);
        tlp
    }

    #[test]
    fn rfc8985_7_2_two_round_trips_and_the_delay_of_a_lone_segments_ack() {
        let rtt = Some(Duration::from_millis(50));
        assert_eq!(Tlp::timeout(rtt, false), Duration::from_millis(102));
        assert_eq!(Tlp::timeout(rtt, true), Duration::from_millis(300));
        assert_eq!(Tlp::timeout(None, true), Duration::from_secs(1));
    }

    #[test]
    fn rfc8985_7_3_a_probe_wants_a_round_trip_since_the_last() {
        let mut tlp = Tlp::default();
        assert!(!tlp.may_probe(), "nothing was measured yet");
        tlp.on_measured();
        assert!(tlp.may_probe());
        tlp.on_sent(Seq(5000), true);
        tlp.on_ack(Seq(6000), None, false);
        assert!(!tlp.may_probe(), "answered, but not measured");
        tlp.cancel();
        assert!(!tlp.may_probe(), "recovery measures nothing by itself");
        tlp.on_measured();
        assert!(tlp.may_probe());
    }

    #[test]
    fn rfc8985_7_4_2_the_answer_of_a_probe() {
        // (it repeats, ACK, duplicate reported, a bare repetition), what it means.
        let table = [
            ((true, 4000, None, false), Nothing),
            ((true, 5000, Some(5000), false), Done),
            ((true, 5000, None, false), Nothing),
            ((true, 5000, None, true), Done),
            ((true, 6000, None, false), RepairedLoss),
            ((false, 5000, None, false), Done),
        ];
        for ((repeats, ack, duplicate, repeated), expected) in table {
            let mut tlp = sent(repeats);
            let verdict = tlp.on_ack(Seq(ack), duplicate.map(Seq), repeated);
            assert_eq!(verdict, expected, "{repeats} {ack} {duplicate:?} {repeated}");
            tlp.on_measured();
            assert_eq!(tlp.may_probe(), expected != Nothing);
        }
    }
}
