//! Segments that a script expects from the stack: waits for them, and compares.

use wire::time::Instant;

use super::{ANY_TIME, ORIGIN, Runner, placed, shown};
use crate::script::ast::{Packet, When};
use crate::script::matcher::{self, Due, Rules, Seen};
use crate::script::{Failure, Position, aggregate, relaxed};
use crate::segment::Segment;

impl Runner {
    /// A segment should leave: waits for it as long as `when` allows, and compares.
    pub(super) fn leaves(
        &mut self,
        packet: &Packet,
        when: When,
        at: Position,
    ) -> Result<(), Failure> {
        let due = self.due(when);
        let tolerance = self.tolerance(due.earliest);
        let limit = due.latest.after(tolerance);
        let peer = self.peer_of_packet(packet, packet.ports.map(|(_, remote)| remote));
        let expected = Some((packet, display_due(when, due)));
        if self.may_come_later(packet, peer, limit, at)? {
            return Ok(());
        }
        let Some(seen) = self.take_seen(packet, peer, limit, at)? else {
            let text = matcher::side_by_side("a segment did not leave", expected, None, ORIGIN);
            return Err(at.failure(text));
        };
        let clock = self.settings.compares_timestamps;
        let rules = Rules {
            clock: clock.then(|| u32::try_from(tolerance.as_millis()).unwrap_or(u32::MAX)),
            relaxed: self.settings.relaxed,
        };
        let flow = self.flow(peer);
        let outcome = match &seen.segment {
            None => Err("protocol".to_string()),
            Some(segment) => {
                flow.learn(packet, segment);
                matcher::compare(packet, segment, flow, rules)
            }
        };
        let on_time = due.admits(seen.time, tolerance);
        let problem = match (outcome, on_time) {
            (Ok(()), true) => {
                self.last_event = self.now;
                return self.nothing_overdue(false);
            }
            (Ok(()), false) => "a segment left at another time".to_string(),
            (Err(wrong), true) => format!("another segment left: {wrong} differ"),
            (Err(wrong), false) => format!("another segment left: {wrong}, time differ"),
        };
        let text = matcher::side_by_side(&problem, expected, Some((&seen, flow)), ORIGIN);
        Err(at.failure(text))
    }

    fn due(&self, when: When) -> Due {
        match when {
            When::Any => Due { earliest: ORIGIN, latest: self.now.after(ANY_TIME) },
            When::At(moment) => {
                let time = self.moment(moment);
                Due { earliest: time, latest: time }
            }
            When::Between(from, to) => Due { earliest: self.moment(from), latest: self.moment(to) },
        }
    }

    /// The segment to compare with `packet`: the next one, or the next ones together.
    fn take_seen(
        &mut self,
        packet: &Packet,
        peer: u16,
        limit: Instant,
        at: Position,
    ) -> Result<Option<Seen>, Failure> {
        let Some(place) = self.wait_for_segment(packet, peer, limit, at)? else { return Ok(None) };
        let Some((_, mut seen)) = self.seen.remove(place) else { return Ok(None) };
        let wanted = packet.length as usize;
        let first_len = seen.segment.as_ref().map_or(0, |segment| segment.payload.len());
        while !self.settings.strict_segments {
            let Some(whole) = &mut seen.segment else { break };
            if whole.payload.is_empty() || whole.payload.len() >= wanted {
                break;
            }
            let Some(place) = self.wait_for_segment(packet, peer, limit, at)? else { break };
            let next = self.seen.get(place).and_then(|(_, next)| next.segment.as_ref());
            if !next.is_some_and(|next| aggregate::append(whole, first_len, next, wanted)) {
                break;
            }
            self.seen.remove(place);
        }
        Ok(Some(seen))
    }

    /// Lets time pass until a segment to `peer` is there, at most until `limit`.
    fn wait_for_segment(
        &mut self,
        packet: &Packet,
        peer: u16,
        limit: Instant,
        at: Position,
    ) -> Result<Option<usize>, Failure> {
        loop {
            if let Some(place) = self.next_seen(packet, peer) {
                return Ok(Some(place));
            }
            if !self.step(limit).map_err(|failure| placed(failure, at))? {
                return Ok(None);
            }
        }
    }

    /// The first packet that nobody expected yet and that goes to `peer`, or is not TCP at all.
    /// Relaxed, ACKs that no line expects are passed over.
    fn next_seen(&mut self, packet: &Packet, peer: u16) -> Option<usize> {
        let remote = self.flow(peer).remote;
        let goes_there =
            |seen: &Seen| seen.segment.as_ref().is_none_or(|segment| segment.destination == remote);
        if self.settings.relaxed && !is_bare_ack(packet) {
            let is_extra = |seen: &Seen| {
                goes_there(seen) && seen.segment.as_ref().is_some_and(relaxed::is_pure_ack_seen)
            };
            self.seen.retain(|(_, seen)| !is_extra(seen));
        }
        self.seen.iter().position(|(_, seen)| goes_there(seen))
    }

    /// Relaxed, an expected ACK is fine when it left already, or leaves within the longest delay,
    /// alone or with something else. True when nothing remains to be compared now.
    fn may_come_later(
        &mut self,
        packet: &Packet,
        peer: u16,
        limit: Instant,
        at: Position,
    ) -> Result<bool, Failure> {
        let Some(ack) = packet.ack.filter(|_| relaxed::is_pure_ack(packet)) else {
            return Ok(false);
        };
        if !self.settings.relaxed {
            return Ok(false);
        }
        let ack = self.flow(peer).remote_to_wire(ack);
        self.advance_to_ack(peer, ack, limit, at)?;
        let remote = self.flow(peer).remote;
        let covers = |segment: &Segment| {
            segment.destination == remote && relaxed::is_at_or_after(segment.ack, ack)
        };
        // ACKs up to the wanted one are done with; a later one may be wanted by the next line.
        let exact = self.seen.iter().position(|(_, seen)| {
            seen.segment.as_ref().is_some_and(|segment| {
                relaxed::is_pure_ack_seen(segment) && covers(segment) && segment.ack == ack
            })
        });
        if let Some(place) = exact {
            if let Some((_, seen)) = self.seen.remove(place)
                && let Some(segment) = &seen.segment
            {
                self.flow(peer).learn(packet, segment);
            }
        } else if !self.seen.iter().any(|(_, seen)| seen.segment.as_ref().is_some_and(covers)) {
            self.owed.add(peer, ack, limit.after(relaxed::ACK_DELAY), at);
        }
        self.last_event = self.now;
        Ok(true)
    }

    /// Lets time pass up to `limit`, and no further than an ACK that covers `ack`.
    fn advance_to_ack(
        &mut self,
        peer: u16,
        ack: u32,
        limit: Instant,
        at: Position,
    ) -> Result<(), Failure> {
        let remote = self.flow(peer).remote;
        let is_there = |runner: &Runner| {
            runner.seen.iter().any(|(_, seen)| {
                seen.segment.as_ref().is_some_and(|segment| {
                    segment.destination == remote && relaxed::is_at_or_after(segment.ack, ack)
                })
            })
        };
        while !is_there(self) && self.step(limit).map_err(|failure| placed(failure, at))? {}
        Ok(())
    }

    /// No ACK that was to come later is too late; at the end, none is still to come.
    pub(super) fn nothing_overdue(&self, at_the_end: bool) -> Result<(), Failure> {
        let horizon = if at_the_end { Instant::FAR_FUTURE } else { self.now };
        match self.owed.overdue(horizon) {
            None => Ok(()),
            Some(debt) => Err(debt.position.failure(format!(
                "an ACK did not leave\n  expected  until {}\n  seen      nothing",
                shown(debt.deadline)
            ))),
        }
    }

    /// What left before the last event was expected by some line.
    pub(super) fn nothing_unexpected(&mut self, count: u64, at: Position) -> Result<(), Failure> {
        let Some((_, seen)) = self.seen.iter().find(|(number, _)| *number < count) else {
            return Ok(());
        };
        let seen = seen.clone();
        let peer = seen.segment.as_ref().and_then(|s| self.peer_of(s.destination)).unwrap_or(0);
        let flow = self.flow(peer);
        let problem = "the script ends, and no line expects this";
        let text = matcher::side_by_side(problem, None, Some((&seen, flow)), ORIGIN);
        Err(at.failure(text))
    }
}

/// An acknowledgment and nothing else, whatever its options.
fn is_bare_ack(packet: &Packet) -> bool {
    packet.flags == crate::segment::Flags::ACK && packet.length == 0
}

fn display_due(when: When, due: Due) -> String {
    match when {
        When::Any => "*".to_string(),
        When::At(_) => shown(due.earliest),
        When::Between(..) => format!("{}~{}", shown(due.earliest), shown(due.latest)),
    }
}
