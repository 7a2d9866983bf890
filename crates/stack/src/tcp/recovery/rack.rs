//! RACK: a segment is lost when one that was sent later has arrived, and enough time has passed for
//! it to have been merely reordered (RFC 8985 5 and 6).

use wire::time::{Duration, Instant};

use crate::tcp::recovery::rtt::nanos;
use crate::tcp::send::inflight::{Record, Verdict};
use crate::tcp::seq::Seq;

/// Recoveries in which a window that was widened stays so (RFC 8985 6.2 step 4).
const PERSISTENCE: u8 = 16;
/// Segments behind a hole that mean a loss while no reordering was seen (DupThresh of RFC 8985 6.2 step 4).
pub(crate) const DUPLICATE_THRESHOLD: u32 = 3;

/// What RACK remembers of one connection (RFC 8985 5.3), also when nothing is in flight. Times are in
/// nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Rack {
    /// RACK.rtt: how long the newest segment took that arrived.
    rtt: u64,
    /// RACK.reordering_seen.
    reordering_seen: bool,
    /// RACK.reo_wnd_mult: quarters of the least round trip in the window.
    multiplier: u8,
    /// RACK.reo_wnd_persist: recoveries until the multiplier is 1 again.
    persistence: u8,
    /// By how much a segment that was overtaken came later than one that was sent after it, at most.
    lateness: u64,
}

/// What RACK remembers of what is in flight.
#[derive(Clone, Debug)]
pub(crate) struct RackFlight {
    /// RACK.xmit_ts and RACK.end_seq: of all segments that arrived the one that was sent last.
    newest: Option<(Instant, Seq)>,
    /// The same of the segments that were sent once, and how long that one took.
    original: Option<(Instant, Seq, u64)>,
    /// RACK.fack: the highest sequence number that is known to have arrived.
    fack: Option<Seq>,
    /// RACK.dsack_round: the multiplier grows once in a round trip, which ends here.
    dsack_round: Option<Seq>,
}

impl RackFlight {
    /// Whether something arrived that was sent after `first`, the oldest of what is on its way.
    pub(crate) fn has_overtaken(&self, first: Option<&Record>) -> bool {
        let overtaken = |(at, end)| first.is_some_and(|r| is_after(at, end, r.sent_at, r.end));
        self.newest.is_some_and(overtaken)
    }

    /// Nothing is in flight.
    pub(crate) const fn new() -> Self {
        Self { newest: None, original: None, fack: None, dsack_round: None }
    }

    /// SND.UNA advanced.
    pub(crate) fn end_dsack_round(&mut self, una: Seq) {
        self.dsack_round.take_if(|round| una.is_at_or_after(*round));
        // A mark left behind would be ahead of us again after half the circle.
        self.fack = self.fack.map(|fack| fack.later_of(una));
    }
}

/// What the width of the reordering window depends on besides RACK's own memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// Fast recovery or recovery from a timeout is under way.
    pub(crate) in_recovery: bool,
    /// RACK.segs_sacked: segments that the peer has behind a hole.
    pub(crate) sacked: u32,
    /// The least round trip of the last minutes.
    pub(crate) min_rtt: Duration,
    /// SRTT.
    pub(crate) smoothed: Duration,
}

impl Rack {
    pub(crate) const fn new() -> Self {
        Self {
            rtt: 0,
            reordering_seen: false,
            multiplier: 1,
            persistence: PERSISTENCE,
            lateness: 0,
        }
    }

    /// A segment is newly known to have arrived (RFC 8985 6.2, steps 1 to 3).
    ///
    /// `echoes_original` says that the ACK's timestamp is from before the segment was sent again:
    /// then it answers the first copy, and tells nothing of the second.
    pub(crate) fn on_delivered(
        &mut self,
        flight: &mut RackFlight,
        now: Instant,
        record: &Record,
        min_rtt: Option<Duration>,
        echoes_original: bool,
    ) {
        let rtt = now.since(record.sent_at);
        self.detect_reordering(flight, record, rtt);
        // A copy that is answered within less than any round trip was not needed.
        if record.resent && (echoes_original || min_rtt.is_some_and(|least| rtt < least)) {
            return;
        }
        let newer =
            flight.newest.is_none_or(|(at, end)| is_after(record.sent_at, record.end, at, end));
        if newer {
            flight.newest = Some((record.sent_at, record.end));
            self.rtt = nanos(rtt);
        }
        if !record.resent
            && flight
                .original
                .is_none_or(|(at, end, _)| is_after(record.sent_at, record.end, at, end))
        {
            flight.original = Some((record.sent_at, record.end, nanos(rtt)));
        }
    }

    /// A reaction proved wrong: what was sent again was not needed, so it was the originals that were
    /// acknowledged, and what left between them and the copies is not late.
    pub(crate) fn doubt_copies(&mut self, flight: &mut RackFlight) {
        flight.newest = flight.original.map(|(at, end, _)| (at, end));
        self.rtt = flight.original.map_or(self.rtt, |(_, _, rtt)| rtt);
    }

    /// RFC 8985 6.2 step 3: what arrives below what arrived before, and was sent once, was reordered.
    fn detect_reordering(&mut self, flight: &mut RackFlight, record: &Record, rtt: Duration) {
        match flight.fack {
            Some(fack) if record.end.is_before(fack) => {
                if !record.resent {
                    self.reordered(rtt);
                }
            }
            _ => flight.fack = Some(record.end),
        }
    }

    /// A segment was overtaken, and arrived `rtt` after it was sent.
    fn reordered(&mut self, rtt: Duration) {
        self.reordering_seen = true;
        self.lateness = self.lateness.max(nanos(rtt).saturating_sub(self.rtt));
        self.persistence = PERSISTENCE;
    }

    /// RFC 8985 6.2 step 4: a duplicate was reported, so something was sent again without need, or
    /// recovery ended and the window may narrow again.
    pub(crate) fn on_duplicate(&mut self, flight: &mut RackFlight, una: Seq, nxt: Seq) {
        flight.end_dsack_round(una);
        if flight.dsack_round.is_none() {
            flight.dsack_round = Some(nxt);
            self.multiplier = self.multiplier.saturating_add(1);
            self.persistence = PERSISTENCE;
        }
    }

    /// A recovery ended.
    pub(crate) fn on_recovered(&mut self) {
        self.persistence = self.persistence.saturating_sub(1);
        if self.persistence == 0 {
            self.multiplier = 1;
            self.lateness = 0;
        }
    }

    /// What was sent again had only been late: it was reordered, though nobody saw it overtaken.
    /// `rtt` is how long the original took, where that is known.
    pub(crate) fn on_spurious(&mut self, rtt: Option<Duration>) {
        self.reordered(rtt.unwrap_or_default());
    }

    /// Whether segments were ever seen to overtake one another.
    pub(crate) fn reordering_seen(&self) -> bool {
        self.reordering_seen
    }

    /// RACK.reo_wnd: how long a segment may be late (RFC 8985 6.2 step 4).
    ///
    /// Beside the RFC's quarters of the least round trip it is as long as a segment was seen to be late,
    /// for as many recoveries: where packets overtake by more than that, each would otherwise be
    /// sent again in vain until enough duplicates were reported.
    pub(crate) fn window(&self, conditions: &Conditions) -> Duration {
        let many = conditions.in_recovery || conditions.sacked >= DUPLICATE_THRESHOLD;
        if many && !self.reordering_seen {
            return Duration::ZERO;
        }
        let quarters = conditions.min_rtt / 4 * u32::from(self.multiplier);
        let late = Duration::from_nanos(self.lateness.saturating_add(self.lateness / 8));
        quarters.max(late).min(conditions.smoothed)
    }

    /// RFC 8985 6.2 step 5: whether a segment that was sent at `sent` and ends at `end` is lost.
    pub(crate) fn judge(
        &self,
        flight: &RackFlight,
        now: Instant,
        window: Duration,
    ) -> impl Fn(Instant, Seq) -> Verdict + use<> {
        let (newest, rtt) = (flight.newest, Duration::from_nanos(self.rtt));
        move |sent, end| {
            let Some((at, newest_end)) = newest else { return Verdict::Unknown };
            if !is_after(at, newest_end, sent, end) {
                return Verdict::Unknown;
            }
            let late = sent.after(rtt).after(window);
            if late <= now { Verdict::Lost } else { Verdict::Wait(late) }
        }
    }

    /// RFC 8985 6.3: whether a segment that was sent at `sent` has had its time when the
    /// retransmission timer expires.
    pub(crate) fn is_overdue(&self, now: Instant, window: Duration, sent: Instant) -> bool {
        sent.after(Duration::from_nanos(self.rtt)).after(window) <= now
    }
}

/// RACK_sent_after of RFC 8985 6.2: of two segments sent in one turn the higher is the later.
fn is_after(at: Instant, end: Seq, other_at: Instant, other_end: Seq) -> bool {
    at > other_at || (at == other_at && end.is_after(other_end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::send::inflight::Sending;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    const fn span(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn record(start: u32, sent: u64, resent: bool) -> Record {
        let sending = Sending { at: ms(sent), size: 1000, ..Sending::default() };
        let mut record = Record::new(Seq(start), Seq(start + 1000), sending);
        record.resent = resent;
        record
    }

    fn conditions() -> Conditions {
        Conditions { in_recovery: false, sacked: 0, min_rtt: span(40), smoothed: span(100) }
    }

    #[test]
    fn rfc8985_6_2_what_was_sent_before_is_lost_when_its_time_is_over() {
        let (mut rack, mut flight) = (Rack::new(), RackFlight::new());
        assert_eq!(rack.judge(&flight, ms(50), span(0))(ms(0), Seq(1000)), Verdict::Unknown);
        rack.on_delivered(&mut flight, ms(50), &record(3000, 3, false), None, false);
        let judge = rack.judge(&flight, ms(50), span(10));
        assert_eq!(judge(ms(0), Seq(1000)), Verdict::Wait(ms(57)), "sent + rtt + window");
        assert_eq!(judge(ms(3), Seq(5000)), Verdict::Unknown, "sent in the same turn, but after");
        assert_eq!(judge(ms(3), Seq(3000)), Verdict::Wait(ms(60)));
        assert_eq!(rack.judge(&flight, ms(57), span(10))(ms(0), Seq(1000)), Verdict::Lost);
    }

    #[test]
    fn rfc8985_6_2_step_2_a_spurious_copy_says_nothing() {
        let (mut rack, mut flight) = (Rack::new(), RackFlight::new());
        rack.on_delivered(&mut flight, ms(50), &record(0, 0, false), None, false);
        rack.on_delivered(&mut flight, ms(60), &record(1000, 55, true), Some(span(40)), false);
        assert_eq!(flight.newest, Some((ms(0), Seq(1000))), "answered too soon");
        rack.on_delivered(&mut flight, ms(99), &record(1000, 55, true), Some(span(40)), true);
        assert_eq!(flight.newest, Some((ms(0), Seq(1000))), "the original was answered");
        rack.on_delivered(&mut flight, ms(99), &record(1000, 55, true), Some(span(40)), false);
        assert_eq!(flight.newest, Some((ms(55), Seq(2000))));
    }

    #[test]
    fn rfc8985_6_2_step_2_copies_that_were_not_needed_say_nothing() {
        let (mut rack, mut flight) = (Rack::new(), RackFlight::new());
        rack.on_delivered(&mut flight, ms(50), &record(0, 0, false), None, false);
        rack.on_delivered(&mut flight, ms(99), &record(1000, 55, true), None, false);
        rack.doubt_copies(&mut flight);
        assert_eq!((flight.newest, rack.rtt), (Some((ms(0), Seq(1000))), nanos(span(50))));
    }

    #[test]
    fn rfc8985_6_2_step_3_a_late_original_is_reordering() {
        let (mut rack, mut flight) = (Rack::new(), RackFlight::new());
        rack.on_delivered(&mut flight, ms(50), &record(3000, 3, false), None, false);
        rack.on_delivered(&mut flight, ms(51), &record(1000, 60, true), None, false);
        assert!(!rack.reordering_seen(), "a copy is none");
        rack.on_delivered(&mut flight, ms(52), &record(0, 0, false), None, false);
        assert!(rack.reordering_seen());
    }

    #[test]
    fn rfc8985_6_2_step_4_no_window_while_nothing_is_reordered_and_three_are_missing() {
        let mut rack = Rack::new();
        assert_eq!(rack.window(&conditions()), span(10), "a quarter of the least round trip");
        let three = Conditions { sacked: 3, ..conditions() };
        assert_eq!(rack.window(&three), span(0));
        assert_eq!(rack.window(&Conditions { in_recovery: true, ..conditions() }), span(0));
        rack.reordering_seen = true;
        assert_eq!(rack.window(&three), span(10));
    }

    #[test]
    fn rfc8985_6_2_step_4_each_round_with_a_duplicate_widens_the_window() {
        let (mut rack, mut flight) = (Rack::new(), RackFlight::new());
        rack.on_duplicate(&mut flight, Seq(0), Seq(5000));
        rack.on_duplicate(&mut flight, Seq(0), Seq(6000));
        assert_eq!(rack.window(&conditions()), span(20), "once in a round");
        flight.end_dsack_round(Seq(5000));
        rack.on_duplicate(&mut flight, Seq(5000), Seq(9000));
        assert_eq!(rack.window(&conditions()), span(30));
        rack.multiplier = 100;
        assert_eq!(rack.window(&conditions()), span(100), "never above the smoothed round trip");
        for _ in 0..15 {
            rack.on_recovered();
        }
        assert_eq!(rack.multiplier, 100);
        rack.on_recovered();
        assert_eq!(rack.window(&conditions()), span(10), "sixteen recoveries without one");
    }
}
