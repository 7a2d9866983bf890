//! When to acknowledge: delayed ACKs (RFC 9293 3.8.6.3, RFC 5681 4.2).
//!
//! An ACK waits for data to ride on, but not for long, and not for more than two full segments;
//! while a connection starts it does not wait at all, for the peer's slow start lives on ACKs.

use wire::time::{Duration, Instant};

use crate::reason::Sent;

/// Segments that are acknowledged at once when a connection starts or stumbles, as in Linux.
const QUICK: u8 = 16;

/// What counts as a full segment before any was seen: the least that every path carries.
const ASSUMED_SEGMENT: u32 = 536;

/// A segment below this says nothing about the size of full ones.
const SMALL_SEGMENT: u32 = 88;

/// Decides when an ACK is due.
#[derive(Clone, Debug)]
pub(crate) struct AckPolicy {
    /// When the oldest text that waits for an ACK has waited long enough.
    deadline: Option<Instant>,
    /// An ACK is due at once, and why.
    due: Option<Sent>,
    /// Duplicate ACKs that are due, each of its own (RFC 5681 4.2).
    duplicates: u8,
    /// Segments that are still acknowledged at once.
    quick: u8,
    /// Bytes of text received since the last ACK.
    waiting: u32,
    /// The text of a full segment from this peer, as far as was seen, in bytes.
    full: u32,
    /// The text of the last segment, in bytes.
    last: u32,
}

/// What the sender of ACKs has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AckNeed {
    /// Everything is acknowledged.
    None,
    /// An ACK must leave by then, unless it rides on data before.
    Delayed(Instant),
    /// An ACK must leave now.
    Now(Sent),
}

impl AckPolicy {
    /// The policy of a new connection: quick at first.
    pub(crate) fn new() -> Self {
        Self {
            deadline: None,
            due: None,
            duplicates: 0,
            quick: QUICK,
            waiting: 0,
            full: ASSUMED_SEGMENT,
            last: 0,
        }
    }

    /// Text arrived in order: `length` bytes in `packets` segments of the wire, which is more than
    /// one when the link joined them. Its ACK may wait for `delay`; RFC 9293 3.8.6.3 demands less
    /// than 500 ms.
    ///
    /// Every second full segment is acknowledged at once (RFC 5681 4.2, RFC 9293 3.8.6.3). Full is
    /// what the peer's segments show, not what we offered: on a narrow path they never get that large.
    pub(crate) fn on_text(&mut self, now: Instant, length: u32, packets: u32, delay: Duration) {
        let packets = packets.max(1);
        self.learn_full_segment(length.div_ceil(packets), packets);
        // Duplicates are duplicates only as long as nothing advances.
        self.duplicates = 0;
        self.waiting = self.waiting.saturating_add(length);
        if self.waiting >= self.full.saturating_mul(2) {
            self.owe(Sent::SecondSegmentAck);
        } else if self.quick > 0 {
            self.owe(Sent::QuickAck);
        }
        self.quick = self.quick.saturating_sub(u8::try_from(packets).unwrap_or(u8::MAX));
        if self.deadline.is_none() {
            self.deadline = Some(now.after(delay));
        }
    }

    /// An ACK is due at once: a FIN came, a hole was filled. The first reason stands.
    pub(crate) fn owe(&mut self, why: Sent) {
        self.due.get_or_insert(why);
    }

    /// A segment arrived behind a hole: it is answered by a duplicate ACK of its own, however many
    /// come in one turn, for the peer counts three (RFC 5681 3.2 and 4.2). The peer is about to
    /// start anew with a small window, so the next ACKs are quick.
    pub(crate) fn owe_duplicate(&mut self) {
        self.duplicates = self.duplicates.saturating_add(1);
        self.quick = QUICK;
    }

    /// The next `QUICK` segments are acknowledged at once (`TCP_QUICKACK`, or after idleness).
    #[cfg(test)]
    fn be_quick(&mut self) {
        self.quick = QUICK;
    }

    /// What has to be done.
    pub(crate) fn need(&self) -> AckNeed {
        match (self.duplicates, self.due, self.deadline) {
            (1.., _, _) => AckNeed::Now(Sent::OutOfOrderAck),
            (0, Some(why), _) => AckNeed::Now(why),
            (0, None, Some(deadline)) => AckNeed::Delayed(deadline),
            (0, None, None) => AckNeed::None,
        }
    }

    /// The delayed-ACK timer fired: whatever waits is due.
    pub(crate) fn on_timer(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.owe(Sent::DelayedAck);
        }
    }

    /// A segment with an ACK left; `with_text` if it carried data.
    ///
    /// An ACK that rode on data within the time that it may wait shows a dialogue: the answer comes by
    /// itself, so ACKs need not be quick any more. A segment with data is no duplicate ACK (RFC
    /// 5681 2), so those stay due.
    pub(crate) fn acknowledged(&mut self, with_text: bool) {
        if with_text && self.deadline.is_some() && self.duplicates == 0 {
            self.quick = 0;
        }
        if !with_text {
            self.duplicates = self.duplicates.saturating_sub(1);
        }
        self.due = None;
        self.deadline = None;
        self.waiting = 0;
    }

    /// Learns from one segment's size: a larger one at once; a smaller one when two in a row have
    /// it, or the link joined several of it.
    fn learn_full_segment(&mut self, size: u32, packets: u32) {
        let repeated = size == self.last || packets > 1;
        if size > self.full || (repeated && size >= SMALL_SEGMENT) {
            self.full = size;
        }
        self.last = size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);
    const DELAY: Duration = Duration::from_millis(40);
    const DUE: Instant = Instant::from_millis(1_040);

    /// A policy past its quick start.
    fn settled() -> AckPolicy {
        let mut policy = AckPolicy::new();
        for _ in 0..QUICK {
            policy.on_text(NOW, 1_460, 1, DELAY);
            policy.acknowledged(false);
        }
        policy
    }

    #[test]
    fn the_first_sixteen_segments_are_acknowledged_at_once() {
        let mut policy = AckPolicy::new();
        for segment in 0..20 {
            policy.on_text(NOW, 100, 1, DELAY);
            let expected =
                if segment < 16 { AckNeed::Now(Sent::QuickAck) } else { AckNeed::Delayed(DUE) };
            assert_eq!(policy.need(), expected, "segment {segment}");
            policy.acknowledged(false);
            assert_eq!(policy.need(), AckNeed::None);
        }
    }

    #[test]
    fn rfc5681_4_2_every_second_full_segment_is_acknowledged() {
        let mut policy = settled();
        policy.on_text(NOW, 1_460, 1, DELAY);
        assert_eq!(policy.need(), AckNeed::Delayed(DUE));
        policy.on_text(NOW, 1_460, 1, DELAY);
        assert_eq!(policy.need(), AckNeed::Now(Sent::SecondSegmentAck));
    }

    #[test]
    fn a_super_segment_counts_as_the_segments_that_it_is() {
        let mut policy = settled();
        policy.on_text(NOW, 2_920, 2, DELAY);
        assert_eq!(policy.need(), AckNeed::Now(Sent::SecondSegmentAck));
    }

    #[test]
    fn rfc9293_3_8_6_3_the_oldest_text_decides_the_deadline() {
        let mut policy = settled();
        policy.on_text(NOW, 10, 1, DELAY);
        policy.on_text(Instant::from_millis(1_030), 10, 1, DELAY);
        assert_eq!(policy.need(), AckNeed::Delayed(DUE));
        policy.on_timer(Instant::from_millis(1_039));
        assert_eq!(policy.need(), AckNeed::Delayed(DUE), "too early");
        policy.on_timer(DUE);
        assert_eq!(policy.need(), AckNeed::Now(Sent::DelayedAck));
        policy.acknowledged(true);
        assert_eq!(policy.need(), AckNeed::None);
    }

    #[test]
    fn segments_of_a_narrow_path_count_as_full() {
        let mut policy = settled();
        let mut acks = 0;
        for _ in 0..20 {
            policy.on_text(NOW, 500, 1, DELAY);
            if policy.need() == AckNeed::Now(Sent::SecondSegmentAck) {
                acks += 1;
                policy.acknowledged(false);
            }
        }
        assert!((9..=10).contains(&acks), "{acks} ACKs for 20 segments");
    }

    #[test]
    fn rfc5681_4_2_each_segment_behind_a_hole_gets_its_duplicate() {
        let mut policy = settled();
        for _ in 0..3 {
            policy.owe_duplicate();
        }
        let mut sent = 0;
        while policy.need() == AckNeed::Now(Sent::OutOfOrderAck) {
            policy.acknowledged(true);
            assert_eq!(policy.need(), AckNeed::Now(Sent::OutOfOrderAck), "data is no duplicate");
            policy.acknowledged(false);
            sent += 1;
        }
        assert_eq!((sent, policy.need()), (3, AckNeed::None));
        policy.owe_duplicate();
        policy.on_text(NOW, 10, 1, DELAY);
        assert_eq!(policy.need(), AckNeed::Now(Sent::QuickAck), "the hole is filled");
    }

    #[test]
    fn a_dialogue_ends_the_quick_start() {
        let mut policy = AckPolicy::new();
        policy.on_text(NOW, 100, 1, DELAY);
        policy.acknowledged(true);
        policy.on_text(NOW, 100, 1, DELAY);
        assert_eq!(policy.need(), AckNeed::Delayed(DUE));
        policy.acknowledged(false);
        policy.be_quick();
        policy.on_text(NOW, 100, 1, DELAY);
        assert_eq!(policy.need(), AckNeed::Now(Sent::QuickAck));
    }

    #[test]
    fn a_fin_is_acknowledged_at_once() {
        let mut policy = settled();
        policy.on_text(NOW, 10, 1, DELAY);
        policy.owe(Sent::FinAck);
        assert_eq!(policy.need(), AckNeed::Now(Sent::FinAck));
    }
}
