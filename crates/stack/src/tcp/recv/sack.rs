//! What an ACK tells of data beyond RCV.NXT, and of data that came twice: SACK as the receiver
//! gives it (RFC 2018 4) and D-SACK (RFC 2883 4).
//!
//! Arriving segments leave notes here; when a segment leaves, [`SackReport::blocks`] makes the
//! option out of them: a duplicate first, then the range with the segment that came last, then the
//! other ranges in the order in which they were last added to, so that each is repeated in several
//! ACKs and a lost ACK loses nothing.

use arrayvec::ArrayVec;
use wire::tcp::SackBlocks;

use crate::tcp::connection::{Connection, ReceiveSide};
use crate::tcp::recv::assembler::Assembler;
use crate::tcp::recv::work::ReceiveWork;
use crate::tcp::seq::Seq;

/// From a sequence number to the one after the last.
type Range = (Seq, Seq);

/// How many duplicates wait to be reported. An ACK reports one, and a driver's turn may bring several
/// segments; what came twice in a row counts as one, so there are rarely as many.
const MAX_DUPLICATES: usize = 4;

/// Beside timestamps, which take 12 of the 40 bytes of options, there is room for so many blocks.
const BLOCKS_BESIDE_TIMESTAMPS: usize = SackBlocks::MAX - 1;

/// What the next ACKs have to report.
#[derive(Clone, Debug, Default)]
pub(crate) struct SackReport {
    /// Data that came twice and was not reported yet, the oldest first.
    duplicates: ArrayVec<Range, MAX_DUPLICATES>,
    /// A sequence number in each of the ranges that were added to last, the latest first.
    recent: ArrayVec<Seq, { SackBlocks::MAX }>,
}

impl SackReport {
    /// Nothing to report.
    pub(crate) const fn new() -> Self {
        Self { duplicates: ArrayVec::new_const(), recent: ArrayVec::new_const() }
    }

    /// Data came that was here before. Each duplicate is reported once (RFC 2883 4, (2)); pieces
    /// of one stretch, which came in the same turn, are reported together.
    fn note_duplicate(&mut self, range: Range) {
        if let Some(last) = self.duplicates.last_mut()
            && last.1 == range.0
        {
            last.1 = range.1;
        } else {
            // Without room this one is not told: the option is only advice.
            let _ = self.duplicates.try_push(range);
        }
    }

    /// A segment came that lies beyond a hole: its range is the first one from now on.
    fn note_out_of_order(&mut self, assembler: &Assembler) {
        let Some((start, end)) = assembler.most_recent() else { return };
        let elsewhere = |at: &Seq| at.is_before(start) || at.is_at_or_after(end);
        self.recent.retain(|at| elsewhere(at) && assembler.range_at(*at).is_some());
        self.recent.truncate(SackBlocks::MAX - 1);
        self.recent.insert(0, start);
    }

    /// Whether a duplicate waits to be reported.
    pub(crate) fn duplicate_waits(&self) -> bool {
        !self.duplicates.is_empty()
    }

    /// An ACK left with the blocks: its duplicate is reported, and is not again.
    pub(crate) fn reported(&mut self) {
        if !self.duplicates.is_empty() {
            self.duplicates.remove(0);
        }
    }

    /// At most `limit` blocks, the most telling first.
    fn blocks(&self, assembler: &Assembler, limit: usize) -> SackBlocks {
        let mut blocks: ArrayVec<Range, { SackBlocks::MAX }> = ArrayVec::new();
        let recent = self.recent.iter().filter_map(|at| assembler.range_at(*at));
        let room = limit - usize::from(self.duplicate_waits());
        // No more ranges can be known already than there are places, so the search is short.
        for range in recent.chain(assembler.ranges()) {
            if blocks.len() >= room {
                break;
            }
            if !blocks.contains(&range) {
                blocks.push(range);
            }
        }
        let duplicate = self.duplicates.first().into_iter();
        duplicate.chain(&blocks).map(|(left, right)| (left.0, right.0)).collect()
    }
}

impl ReceiveSide {
    /// Data came that was here before; not told where SACK was not agreed on.
    pub(crate) fn note_duplicate(&mut self, range: Range) {
        if self.sack_agreed && range.0.is_before(range.1) {
            self.work.report.note_duplicate(range);
        }
    }

    /// A segment came that lies beyond a hole, and is kept.
    pub(crate) fn note_out_of_order(&mut self) {
        if self.sack_agreed {
            let ReceiveWork { report, assembler, .. } = &mut *self.work;
            report.note_out_of_order(assembler);
        }
    }
}

impl Connection {
    /// The SACK option of a segment that leaves now with `length` bytes of text and an ACK, and the
    /// largest payload beside it. The duplicate in it counts as reported.
    ///
    /// A full segment whose payload was cut without a thought of blocks goes without them: it has
    /// no room, and what is owed rides on the next ACK.
    pub(crate) fn take_sack_blocks(&mut self, length: u32) -> (SackBlocks, u32) {
        let limit = self.payload_limit();
        if limit == self.snd.mss || (limit + 1..=self.snd.mss).contains(&length) {
            return (SackBlocks::NONE, self.snd.mss);
        }
        let ReceiveWork { report, assembler, .. } = &mut *self.rcv.work;
        let blocks = report.blocks(assembler, block_limit(self.timestamps.is_some()));
        report.reported();
        (blocks, limit)
    }

    /// The payload of a full segment that leaves now: SACK blocks take their room from it
    /// (RFC 9293 3.7.1).
    pub(crate) fn payload_limit(&self) -> u32 {
        let work = &self.rcv.work;
        let waiting = usize::from(work.report.duplicate_waits()) + work.assembler.len();
        if !self.rcv.sack_agreed || waiting == 0 {
            return self.snd.mss;
        }
        let blocks = waiting.min(block_limit(self.timestamps.is_some()));
        // Two fillers, kind and length, and two sequence numbers a block: at most 36.
        let option = u32::try_from(4 + 8 * blocks).unwrap_or(u32::MAX);
        self.snd.mss.saturating_sub(option).max(1)
    }
}

fn block_limit(timestamps: bool) -> usize {
    if timestamps { BLOCKS_BESIDE_TIMESTAMPS } else { SackBlocks::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use alloc::vec::Vec;
    use wire::frame::FrameBuf;

    /// Close to the wrap, where comparisons of plain numbers go wrong.
    const NXT: Seq = Seq(u32::MAX - 700);

    struct Receiver(ReceiveSide);

    impl Receiver {
        fn new() -> Self {
            let mut side = ReceiveSide::new(1460, 128 << 10);
            side.sack_agreed = true;
            Self(side)
        }

        /// A segment of `length` bytes that begins `ahead` of RCV.NXT.
        fn receive(&mut self, ahead: u32, length: u32) {
            let (start, end) = (NXT.plus(ahead), NXT.plus(ahead + length));
            if let Some(range) = self.0.work.assembler.first_overlap(start, end) {
                self.0.note_duplicate(range);
            }
            let frame = FrameBuf::copy_from(&[7; 10_000][..length as usize]);
            self.0.work.assembler.insert(NXT, start, frame, usize::MAX, &mut Pool::default());
            self.0.note_out_of_order();
        }

        /// The blocks that an ACK tells, as distances from RCV.NXT.
        fn ack(&mut self, limit: usize) -> Vec<(u32, u32)> {
            let blocks = self.0.work.report.blocks(&self.0.work.assembler, limit);
            self.0.work.report.reported();
            let ahead = |at| Seq(at).distance_from(NXT);
            blocks.iter().map(|block| (ahead(block.left), ahead(block.right))).collect()
        }
    }

    #[test]
    fn rfc2018_4_a_range_is_repeated_in_as_many_acks_as_there_are_blocks() {
        let mut it = Receiver::new();
        let mut told = [0; 7];
        for range in 1..=7 {
            it.receive(range * 1000, 500);
            for (left, _) in it.ack(SackBlocks::MAX) {
                told[(left / 1000 - 1) as usize] += 1;
            }
        }
        assert_eq!(told, [4, 4, 4, 4, 3, 2, 1]);
    }

    #[test]
    fn ranges_that_were_forgotten_fill_the_places_that_become_free() {
        let mut it = Receiver::new();
        for range in 1..=5 {
            it.receive(range * 1000, 500);
        }
        // The four latest ranges become one: the first range is told again.
        it.receive(2000, 3500);
        assert_eq!(it.ack(4)[0], (2000, 2500), "the duplicate");
        assert_eq!(it.ack(4), [(2000, 5500), (1000, 1500)]);
    }

    #[test]
    fn rfc2883_4_duplicates_of_one_turn_are_told_one_by_one() {
        let mut it = Receiver::new();
        it.receive(1000, 500);
        it.receive(2000, 500);
        it.receive(2000, 500);
        it.receive(1000, 500);
        assert_eq!(it.ack(3), [(2000, 2500), (1000, 1500), (2000, 2500)]);
        assert!(it.0.work.report.duplicate_waits());
        assert_eq!(it.ack(3), [(1000, 1500), (1000, 1500), (2000, 2500)]);
        assert!(!it.0.work.report.duplicate_waits());
        assert_eq!(it.ack(3), [(1000, 1500), (2000, 2500)]);
    }

    #[test]
    fn a_batch_that_came_twice_is_one_duplicate() {
        let mut it = Receiver::new();
        for _ in 0..2 {
            for segment in 0..5 {
                it.receive(1000 + segment * 100, 100);
            }
        }
        assert_eq!(it.ack(4), [(1000, 1500), (1000, 1500)]);
        assert_eq!(it.ack(4), [(1000, 1500)]);
    }

    #[test]
    fn without_agreement_nothing_is_noted() {
        let mut it = Receiver::new();
        it.0.sack_agreed = false;
        it.receive(1000, 500);
        it.receive(1000, 500);
        assert!(!it.0.work.report.duplicate_waits() && it.0.work.report.recent.is_empty());
    }
}
