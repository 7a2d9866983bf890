//! What the peer's SACK option says (RFC 2018 5, RFC 2883 4): which blocks are news, and which is
//! about something that arrived twice.

use arrayvec::ArrayVec;
use wire::tcp::SackBlocks;

use crate::tcp::seq::Seq;

/// The most blocks that an option has room for (RFC 2018 3).
const MOST_BLOCKS: usize = 4;

/// A range of sequence numbers, from its first to the one after its last.
pub(crate) type Block = (Seq, Seq);

/// The blocks of one ACK, put to the test.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Report {
    /// What arrived behind a hole.
    pub(crate) blocks: ArrayVec<Block, MOST_BLOCKS>,
    /// What arrived a second time (D-SACK, RFC 2883 4).
    pub(crate) duplicate: Option<Block>,
}

/// The blocks that were last reported: they come again with each ACK, and need no second look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scoreboard {
    seen: ArrayVec<Block, MOST_BLOCKS>,
}

impl Report {
    /// Reads the option of an ACK for `ack`, of a connection with `una` to `nxt` in flight.
    ///
    /// A block that is empty, or reaches beyond what was ever sent, is passed over: the option is the
    /// peer's, and may say anything. `max_window` bounds how old a duplicate may be to count.
    pub(crate) fn read(option: &SackBlocks, ack: Seq, una: Seq, nxt: Seq, max_window: u32) -> Self {
        let mut report = Self::default();
        let mut blocks = option.iter().map(|block| (Seq(block.left), Seq(block.right)));
        let Some(first) = blocks.next() else { return report };
        let mut rest = blocks.clone();
        let within = rest.next().is_some_and(|(left, right)| {
            left.is_at_or_before(first.0) && first.1.is_at_or_before(right)
        });
        if is_range(first) && (first.0.is_before(ack) || within) {
            // RFC 2883 4: the first block lies below the cumulative ACK, or inside the second.
            let recent = first.1.is_at_or_before(nxt)
                && nxt.distance_from(first.0)
                    <= max_window.max(nxt.distance_from(una)).saturating_mul(2);
            report.duplicate = recent.then_some(first);
        } else {
            report.take(first, ack, nxt);
        }
        for block in blocks {
            report.take(block, ack, nxt);
        }
        report
    }

    fn take(&mut self, (left, right): Block, ack: Seq, nxt: Seq) {
        let sane =
            is_range((left, right)) && left.is_at_or_after(ack) && right.is_at_or_before(nxt);
        if sane && !self.blocks.is_full() {
            self.blocks.push((left, right));
        }
    }
}

impl Scoreboard {
    /// Nothing was reported yet.
    pub(crate) const fn new() -> Self {
        Self { seen: ArrayVec::new_const() }
    }

    /// Calls `each` with what of the report was not in the one before, and the `segment` bytes
    /// beside it: a block may have ended inside a segment, which is whole now.
    pub(crate) fn news(&mut self, report: &Report, segment: u32, mut each: impl FnMut(Block)) {
        if report.blocks.is_empty() {
            return;
        }
        for &block in &report.blocks {
            self.unseen(block, segment, &mut each);
        }
        self.seen.clone_from(&report.blocks);
    }

    /// What was reported before counts no more: look at all of it again.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }

    /// The parts of a block that lie beside the one it had grown from.
    fn unseen(&self, (left, right): Block, segment: u32, each: &mut impl FnMut(Block)) {
        let overlaps = |(from, to): &&Block| from.is_before(right) && left.is_before(*to);
        let Some(&(from, to)) = self.seen.iter().find(overlaps) else {
            return each((left, right));
        };
        if left.is_before(from) {
            each((left, from.plus(segment).earlier_of(right)));
        }
        if to.is_before(right) {
            each((to.minus(segment).later_of(left), right));
        }
    }
}

/// Not empty, and the right way round.
fn is_range((left, right): Block) -> bool {
    left.is_before(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn read(blocks: &[(u32, u32)], ack: u32, una: u32, nxt: u32) -> Report {
        let mut option = SackBlocks::NONE;
        for &(left, right) in blocks {
            option.push(left, right);
        }
        Report::read(&option, Seq(ack), Seq(una), Seq(nxt), 65_535)
    }

    fn block(left: u32, right: u32) -> Block {
        (Seq(left), Seq(right))
    }

    #[test]
    fn rfc2018_5_blocks_behind_the_ack_are_taken() {
        let report = read(&[(5000, 6000), (3000, 4000)], 1000, 1000, 9000);
        assert_eq!(report.blocks.as_slice(), [block(5000, 6000), block(3000, 4000)]);
        assert_eq!(report.duplicate, None);
    }

    #[test]
    fn rfc2883_4_1_a_block_below_the_ack_is_a_duplicate() {
        // RFC 2883 4.1.1: ACK 4000, SACK 3000-3500.
        let report = read(&[(3000, 3500)], 4000, 4000, 5000);
        assert_eq!((report.duplicate, report.blocks.len()), (Some(block(3000, 3500)), 0));
    }

    #[test]
    fn rfc2883_4_2_1_a_block_inside_the_second_is_a_duplicate() {
        // RFC 2883 4.2.1: ACK 3000, SACK 4500-5000 and 4500-5500.
        let report = read(&[(4500, 5000), (4500, 5500)], 3000, 3000, 6000);
        assert_eq!(report.duplicate, Some(block(4500, 5000)));
        assert_eq!(report.blocks.as_slice(), [block(4500, 5500)]);
    }

    #[test]
    fn nonsense_is_passed_over() {
        let report = read(&[(9000, 9001), (4000, 4000), (5000, 4000)], 3000, 3000, 6000);
        assert_eq!(report, Report::default());
        let old = read(&[(0x8000_0000, 0x8000_0001)], 3000, 3000, 6000);
        assert_eq!(old, Report::default(), "half a circle away");
    }

    #[test]
    fn only_what_was_not_reported_before_is_news() {
        let mut board = Scoreboard::default();
        let mut news = |blocks: &[(u32, u32)]| {
            let mut all = Vec::new();
            board.news(&read(blocks, 1000, 1000, 9000), 100, |block| all.push(block));
            all
        };
        assert_eq!(news(&[(3000, 4000)]), [block(3000, 4000)]);
        assert_eq!(news(&[(3000, 4000)]), []);
        assert_eq!(news(&[(2000, 5000)]), [block(2000, 3100), block(3900, 5000)]);
        assert_eq!(news(&[(6000, 7000), (2000, 5000)]), [block(6000, 7000)]);
    }
}
