//! Reassembly: segments that arrived before the ones they follow (RFC 9293 3.10.7.4).
//!
//! What lies beyond a hole in the sequence waits here until the hole is filled, and is what the
//! SACK option tells the peer about (RFC 2018). Where segments overlap, the byte that came first
//! stays: a later segment cannot rewrite what was received already.
//!
//! Bytes that touch form a run, and between runs are holes. A run is a deque of pieces, so a
//! segment that extends one is appended in O(1), and one that opens or closes a hole costs
//! O(log runs). Keys are 64-bit positions in the stream, so nothing ever wraps in here.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Range;

use wire::frame::FrameBuf;

use crate::pool::{LARGE_CHUNK, Pool};
use crate::tcp::recv::queue::is_worth_keeping;
use crate::tcp::seq::Seq;

/// The most runs, and so the most holes, that are kept apart. A window with a thousand holes is
/// one that lost so much that resending more of it hardly matters; and a peer that sends every
/// second byte pins no more than this many small buffers.
const MAX_RUNS: usize = 1024;
/// The most pieces in all: 12 MB of full Ethernet segments.
const MAX_PIECES: usize = 8192;
/// No window is larger (RFC 7323 2.3), so nothing further ahead can belong to this connection.
const LARGEST_WINDOW: u32 = 1 << 30;
/// What a run or a piece costs beside the bytes themselves: its place in the map or the deque.
const OVERHEAD: usize = 64;

/// The out-of-order bytes of one connection.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// The runs by the position of their first byte. They do not touch each other.
    runs: BTreeMap<u64, Run>,
    /// The next sequence number expected in order when the caller last said so (RCV.NXT).
    next: Seq,
    /// The position of `next`.
    position: u64,
    /// The position where the latest segment began that told, or repeated, something.
    latest: u64,
    /// How many bytes wait.
    bytes: usize,
    /// How many pieces there are in all runs.
    pieces: usize,
    /// The capacity of all pieces' buffers, in bytes.
    capacity: usize,
}

/// Bytes without a hole.
#[derive(Debug)]
struct Run {
    /// The position after its last byte.
    end: u64,
    /// The bytes, in order; no piece is empty.
    pieces: VecDeque<FrameBuf>,
}

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inserted {
    /// All of its bytes were news, and are kept.
    New,
    /// Some of its bytes are kept; the others were there before, or there was no room for them.
    Partial,
    /// None of its bytes were news.
    Duplicate,
    /// None of its bytes are kept, because of a limit. The peer will send them again.
    Refused,
}

impl Assembler {
    /// Without any bytes. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self {
            runs: BTreeMap::new(),
            next: Seq(0),
            position: 0,
            latest: 0,
            bytes: 0,
            pieces: 0,
            capacity: 0,
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes of memory that pins: the capacity of the buffers, and what it takes to
    /// keep account of them.
    pub(crate) fn held(&self) -> usize {
        if self.runs.is_empty() {
            return 0;
        }
        self.capacity + (self.runs.len() + self.pieces) * OVERHEAD
    }

    /// How many separate ranges wait.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Keeps those bytes of a segment that are not here yet.
    ///
    /// `next` is RCV.NXT; bytes before it count as received. The segment begins at `start` and
    /// `frame` is narrowed to its payload, trimmed to the receive window. Small payloads are
    /// copied, so that they do not pin a large buffer; frames that are not kept go to `spare`.
    /// What would bring [`Assembler::held`] above `limit` is refused.
    pub(crate) fn insert(
        &mut self,
        next: Seq,
        start: Seq,
        mut frame: FrameBuf,
        limit: usize,
        spare: &mut Pool,
    ) -> Inserted {
        self.advance_to(next);
        let length = frame.len();
        let before = if start.is_before(next) { next.distance_from(start) } else { 0 };
        frame.advance(before as usize);
        let ahead = start.plus(before).distance_from(next);
        let from = self.position + u64::from(ahead);
        let end = from + frame.len() as u64;
        if end - self.position > u64::from(LARGEST_WINDOW) {
            spare.give(frame);
            return Inserted::Refused;
        }
        let (stored, refused) = self.fill_holes(from, end, frame, limit, spare);
        if stored > 0 || !refused {
            self.latest = from;
        }
        match stored {
            0 if refused => Inserted::Refused,
            0 => Inserted::Duplicate,
            _ if stored == length => Inserted::New,
            _ => Inserted::Partial,
        }
    }

    /// Takes the piece that holds the byte at `next` (RCV.NXT), trimmed so that it begins there.
    ///
    /// Pieces wholly before `next`, which arrived a second time in order, are dropped to `spare`.
    /// `None` says that the byte at `next` is not here.
    pub(crate) fn take_contiguous(&mut self, next: Seq, spare: &mut Pool) -> Option<FrameBuf> {
        self.advance_to(next);
        loop {
            let (start, mut piece) = self.pop_piece_before(self.position.saturating_add(1))?;
            let skip = self.position - start;
            if skip < piece.len() as u64 {
                piece.advance(skip as usize);
                return Some(piece);
            }
            spare.give(piece);
        }
    }

    /// The ranges that wait, as first sequence number and the one after the last, in order. The
    /// caller takes what is contiguous first, so all of them lie beyond RCV.NXT.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.runs.iter().map(|(start, run)| (self.seq(*start), self.seq(run.end)))
    }

    /// The range with the segment that arrived last, new or duplicate: the first block of the
    /// SACK option (RFC 2018 4). `None` when that segment does not wait any more.
    pub(crate) fn most_recent(&self) -> Option<(Seq, Seq)> {
        let (start, run) = self.runs.range(..=self.latest).next_back()?;
        (run.end > self.latest).then(|| (self.seq(*start), self.seq(run.end)))
    }

    /// The range that a sequence number lies in; `None` when its byte does not wait.
    pub(crate) fn range_at(&self, at: Seq) -> Option<(Seq, Seq)> {
        let position = self.position_of(at)?;
        let (start, run) = self.runs.range(..=position).next_back()?;
        (run.end > position).then(|| (self.seq(*start), self.seq(run.end)))
    }

    /// The first stretch from `start` to before `end` whose bytes wait already.
    pub(crate) fn first_overlap(&self, start: Seq, end: Seq) -> Option<(Seq, Seq)> {
        if self.runs.is_empty() {
            return None;
        }
        let from = self.position_of(start)?;
        let to = from + u64::from(end.distance_from(start));
        let before = self.runs.range(..=from).next_back().filter(|(_, run)| run.end > from);
        let (first, run) = before.or_else(|| self.runs.range(from..to).next())?;
        Some((self.seq(from.max(*first)), self.seq(to.min(run.end))))
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, spare: &mut Pool) {
        for run in core::mem::take(self).runs.into_values() {
            run.pieces.into_iter().for_each(|piece| spare.give(piece));
        }
    }

    /// Takes note of RCV.NXT. Positions count from where the assembler was empty last.
    fn advance_to(&mut self, next: Seq) {
        if self.runs.is_empty() {
            *self = Self { next, ..Self::default() };
        } else if next.is_after(self.next) {
            self.position += u64::from(next.distance_from(self.next));
            self.next = next;
        }
    }

    /// The position of a sequence number that is not before RCV.NXT.
    fn position_of(&self, at: Seq) -> Option<u64> {
        let ahead = (!at.is_before(self.next)).then(|| at.distance_from(self.next))?;
        Some(self.position + u64::from(ahead))
    }

    /// The sequence number of a position.
    fn seq(&self, position: u64) -> Seq {
        // Positions modulo 2^32 are sequence numbers, but for where they begin.
        self.next.plus(position.wrapping_sub(self.position) as u32)
    }

    /// The first stretch between two positions that is not here.
    fn hole(&self, from: u64, end: u64) -> Option<Range<u64>> {
        let before = self.runs.range(..=from).next_back();
        let start = before.map_or(from, |(_, run)| run.end.max(from));
        if start >= end {
            return None;
        }
        let after = self.runs.range(start..end).next();
        Some(start..after.map_or(end, |(next, _)| *next))
    }

    /// Stores what of the bytes from `from` to `end` is not here, and says how many bytes that was
    /// and whether a limit stopped it. Only the last hole can be filled with the frame itself.
    fn fill_holes(
        &mut self,
        from: u64,
        end: u64,
        mut frame: FrameBuf,
        limit: usize,
        spare: &mut Pool,
    ) -> (usize, bool) {
        let (mut at, mut stored) = (from, 0);
        let mut next_hole = self.hole(from, end);
        while let Some(hole) = next_hole {
            next_hole = self.hole(hole.end, end);
            // Parts of one frame, so they fit.
            let size = (hole.end - hole.start) as usize;
            frame.advance((hole.start - at) as usize);
            at = hole.start;
            if next_hole.is_none() {
                frame.truncate(size);
            }
            let keep = next_hole.is_none() && is_worth_keeping(&frame);
            let cost = if keep { frame.capacity() } else { size };
            let Some(room) = self.room(&hole, cost, limit) else {
                spare.give(frame);
                return (stored, true);
            };
            stored += size;
            if keep {
                self.attach(at, frame);
                return (stored, false);
            }
            self.attach_copy(at, &frame[..size], room);
        }
        spare.give(frame);
        (stored, false)
    }

    /// How much memory is left for a new piece in a hole after it has cost `cost`, or `None` if
    /// that is too much or the piece is one too many.
    fn room(&self, hole: &Range<u64>, cost: usize, limit: usize) -> Option<usize> {
        let touches = self.runs.contains_key(&hole.end) || self.run_ending_at(hole.start);
        if self.pieces >= MAX_PIECES || (self.runs.len() >= MAX_RUNS && !touches) {
            return None;
        }
        let overhead = if touches { OVERHEAD } else { 2 * OVERHEAD };
        limit.checked_sub(self.held() + overhead + cost)
    }

    fn run_ending_at(&self, position: u64) -> bool {
        self.runs.range(..position).next_back().is_some_and(|(_, run)| run.end == position)
    }

    fn run_ending_at_mut(&mut self, position: u64) -> Option<&mut Run> {
        let (_, run) = self.runs.range_mut(..position).next_back()?;
        (run.end == position).then_some(run)
    }

    /// Puts a copy of `bytes` into a hole: into the room that the piece before has left, or into
    /// a new buffer. It is exactly as large as it must be for bytes that stand alone; in a run it
    /// grows with what precedes it, as far as `room` goes.
    fn attach_copy(&mut self, position: u64, bytes: &[u8], room: usize) {
        let (mut count, mut growth) = (0, 0);
        if let Some(run) = self.run_ending_at_mut(position)
            && let Some(last) = run.pieces.back_mut()
        {
            growth = (2 * last.len()).min(LARGE_CHUNK);
            count = last.append(bytes);
            run.end += count as u64;
        }
        self.bytes += count;
        let position = position + count as u64;
        let rest = &bytes[count..];
        if rest.is_empty() {
            return self.join_at(position);
        }
        let mut chunk = FrameBuf::with_capacity(rest.len().max(growth.min(room)));
        chunk.append(rest);
        self.attach(position, chunk);
    }

    /// Puts a piece into a hole.
    fn attach(&mut self, position: u64, piece: FrameBuf) {
        let end = position + piece.len() as u64;
        self.pieces += 1;
        self.bytes += piece.len();
        self.capacity += piece.capacity();
        if let Some(run) = self.run_ending_at_mut(position) {
            run.end = end;
            run.pieces.push_back(piece);
        } else {
            self.runs.insert(position, Run { end, pieces: VecDeque::from([piece]) });
        }
        self.join_at(end);
    }

    /// Joins the run that ends at a position with the one that begins there.
    fn join_at(&mut self, position: u64) {
        let Some(mut later) = self.runs.remove(&position) else {
            return;
        };
        let Some(earlier) = self.run_ending_at_mut(position) else {
            self.runs.insert(position, later);
            return;
        };
        earlier.end = later.end;
        // The shorter deque moves, so that a piece moves O(log pieces) times at most.
        if earlier.pieces.len() < later.pieces.len() {
            for piece in earlier.pieces.drain(..).rev() {
                later.pieces.push_front(piece);
            }
            earlier.pieces = later.pieces;
        } else {
            earlier.pieces.append(&mut later.pieces);
        }
    }

    /// Takes the very first piece, with its position, if it begins before `position`.
    fn pop_piece_before(&mut self, position: u64) -> Option<(u64, FrameBuf)> {
        let first = self.runs.first_entry().filter(|run| *run.key() < position)?;
        let (start, mut run) = first.remove_entry();
        let piece = run.pieces.pop_front()?;
        self.pieces -= 1;
        self.bytes -= piece.len();
        self.capacity -= piece.capacity();
        if run.pieces.is_empty() {
            if self.runs.is_empty() {
                // The map would keep a node for the next run; idle connections need none.
                self.runs = BTreeMap::new();
            }
        } else {
            self.runs.insert(start + piece.len() as u64, run);
        }
        Some((start, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const NO_LIMIT: usize = usize::MAX;

    fn frame(payload: &[u8], capacity: usize) -> FrameBuf {
        let mut frame = FrameBuf::with_capacity(capacity.max(payload.len() + 40));
        frame.set_filled(40 + payload.len());
        frame.advance(40);
        frame.copy_from_slice(payload);
        frame
    }

    struct Fixture {
        assembler: Assembler,
        next: Seq,
        spare: Pool,
    }

    impl Fixture {
        fn new(next: u32) -> Self {
            Self { assembler: Assembler::new(), next: Seq(next), spare: Pool::default() }
        }

        /// Inserts bytes that begin `ahead` of RCV.NXT.
        fn insert(&mut self, ahead: i32, payload: &[u8]) -> Inserted {
            let start = self.next.plus(ahead.cast_unsigned());
            let frame = frame(payload, 65_553);
            self.assembler.insert(self.next, start, frame, NO_LIMIT, &mut self.spare)
        }

        fn take(&mut self) -> Vec<u8> {
            let mut taken = Vec::new();
            while let Some(piece) = self.assembler.take_contiguous(self.next, &mut self.spare) {
                self.next = self.next.plus(piece.len() as u32);
                taken.extend_from_slice(&piece);
            }
            taken
        }
    }

    #[test]
    fn waits_for_the_hole_to_be_filled_across_the_wrap() {
        let mut it = Fixture::new(u32::MAX - 2);
        assert_eq!(it.insert(4, b"efgh"), Inserted::New);
        assert_eq!(it.take(), b"");
        assert_eq!(it.assembler.ranges().collect::<Vec<_>>(), [(Seq(1), Seq(5))]);
        assert_eq!(it.insert(0, b"abcd"), Inserted::New);
        assert_eq!(it.take(), b"abcdefgh");
        assert!(it.assembler.is_empty() && it.assembler.held() == 0);
        assert_eq!(it.next, Seq(5));
    }

    #[test]
    fn the_byte_that_came_first_stays() {
        let mut it = Fixture::new(9);
        assert_eq!(it.insert(2, b"cd"), Inserted::New);
        assert_eq!(it.insert(5, b"f"), Inserted::New);
        assert_eq!(it.insert(2, b"XY"), Inserted::Duplicate);
        assert_eq!(it.insert(-3, b"zzzabXXeXg"), Inserted::Partial);
        assert_eq!(it.insert(-3, b"zzz"), Inserted::Duplicate);
        assert_eq!(it.take(), b"abcdefg");
    }

    #[test]
    fn says_which_range_is_the_most_recent() {
        let mut it = Fixture::new(0);
        assert_eq!(it.assembler.most_recent(), None);
        it.insert(10, b"a");
        it.insert(30, b"b");
        it.insert(20, b"c");
        assert_eq!(it.assembler.most_recent(), Some((Seq(20), Seq(21))));
        it.insert(31, b"d");
        assert_eq!(it.assembler.most_recent(), Some((Seq(30), Seq(32))));
        // A duplicate is what the next ACK answers, too (RFC 2883 4).
        it.insert(10, b"a");
        assert_eq!(it.assembler.most_recent(), Some((Seq(10), Seq(11))));
        it.next = Seq(10);
        it.take();
        assert_eq!(it.assembler.most_recent(), None);
    }

    #[test]
    fn what_arrived_again_in_order_is_dropped() {
        let mut it = Fixture::new(0);
        it.insert(3, b"def");
        it.insert(8, b"i");
        it.next = Seq(5);
        assert_eq!(it.take(), b"f");
        it.next = Seq(9);
        assert_eq!(it.take(), b"");
        assert!(it.assembler.is_empty());
    }

    #[test]
    fn small_payloads_in_large_frames_pin_little() {
        let mut it = Fixture::new(0);
        for n in 0..1000 {
            assert_eq!(it.insert(10 + n * 1448, &[7; 1448]), Inserted::New);
        }
        assert_eq!((it.assembler.len(), it.assembler.bytes()), (1, 1_448_000));
        assert!(it.assembler.held() < 2 * it.assembler.bytes());
        assert!(it.assembler.pieces < 100);
        let mut it = Fixture::new(0);
        for n in 0..100 {
            it.insert(10 + n * 2, b"x");
        }
        assert!(it.assembler.held() <= 100 * (1 + 2 * OVERHEAD));
    }

    #[test]
    fn a_large_frame_is_kept_as_it_is() {
        let mut it = Fixture::new(0);
        let frame = frame(&[7; 40_000], 65_553);
        let address = frame.as_ptr();
        it.assembler.insert(Seq(0), Seq(0), frame, NO_LIMIT, &mut it.spare);
        let piece = it.assembler.take_contiguous(Seq(0), &mut it.spare);
        assert_eq!(piece.map(|piece| piece.as_ptr()), Some(address));
    }

    #[test]
    fn holes_and_memory_are_limited() {
        let mut it = Fixture::new(0);
        for n in 1..=MAX_RUNS as i32 {
            assert_eq!(it.insert(2 * n, b"x"), Inserted::New);
        }
        assert_eq!(it.insert(0, b"x"), Inserted::Refused);
        assert_eq!(it.insert(3, b"x"), Inserted::New, "what closes a hole is welcome");
        assert_eq!(it.insert(1 << 30, b"x"), Inserted::Refused);
        assert_eq!(it.insert(i32::MAX, b"x"), Inserted::Refused);

        let (mut assembler, mut spare) = (Assembler::new(), Pool::default());
        let mut insert =
            |start| assembler.insert(Seq(0), Seq(start), frame(&[1; 500], 600), 2000, &mut spare);
        let outcomes = [1000, 2000, 3000, 4000].map(&mut insert);
        assert_eq!(outcomes[..3], [Inserted::New; 3]);
        assert_eq!(outcomes[3], Inserted::Refused);
        assert!(assembler.held() <= 2000);
    }

    #[test]
    fn an_insert_in_any_order_is_cheap() {
        // Backward, every other one first, and forward: each joins long runs with short ones.
        const COUNT: i32 = 8000;
        let backward = (0..COUNT).rev().collect::<Vec<_>>();
        let forward = (0..COUNT).collect();
        let holes_last = (0..1000).map(|n| n * 2).chain((0..1000).map(|n| n * 2 + 1)).collect();
        for order in [backward, forward, holes_last] {
            let mut it = Fixture::new(77);
            for n in &order {
                assert_eq!(it.insert(n * 3, b"abc"), Inserted::New);
            }
            assert_eq!((it.assembler.len(), it.assembler.bytes()), (1, order.len() * 3));
            assert_eq!(it.take().len(), order.len() * 3);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert {
            ahead: i32,
            length: usize,
            capacity: usize,
        },
        /// In-order bytes arrived without passing through here.
        Skip(u32),
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = prop_oneof![4 => 0..20_usize, 2 => 0..2000_usize, 1 => 0..9000_usize];
        let ahead = prop_oneof![4 => -10..100_i32, 4 => -1000..20_000_i32];
        let capacity = prop_oneof![Just(0), Just(2048), Just(65_553)];
        prop_oneof![
            10 => (ahead, length, capacity)
                .prop_map(|(ahead, length, capacity)| Step::Insert { ahead, length, capacity }),
            1 => (0..3000_u32).prop_map(Step::Skip),
            2 => Just(Step::Take),
        ]
    }

    /// The stream as a naive twin keeps it: each byte on its own, there or not.
    struct Model {
        bytes: Vec<Option<u8>>,
        next: usize,
    }

    impl Model {
        fn new() -> Self {
            Self { bytes: alloc::vec![None; 300_000], next: 0 }
        }

        fn insert(&mut self, ahead: i32, payload: &[u8]) -> Inserted {
            let mut news = 0;
            for (n, byte) in (i64::from(ahead)..).zip(payload) {
                let Ok(ahead) = usize::try_from(n) else { continue };
                let place = &mut self.bytes[self.next + ahead];
                if place.is_none() {
                    *place = Some(*byte);
                    news += 1;
                }
            }
            match news {
                0 => Inserted::Duplicate,
                _ if news == payload.len() => Inserted::New,
                _ => Inserted::Partial,
            }
        }

        fn take(&mut self) -> Vec<u8> {
            let taken: Vec<u8> = self.bytes[self.next..].iter().map_while(|byte| *byte).collect();
            self.next += taken.len();
            taken
        }

        fn ranges(&self) -> Vec<(usize, usize)> {
            let mut ranges = Vec::new();
            let mut open = None;
            for (n, byte) in self.bytes.iter().enumerate().skip(self.next).take(30_000) {
                match (byte, open) {
                    (Some(_), None) => open = Some(n),
                    (None, Some(start)) => {
                        ranges.push((start, n));
                        open = None;
                    }
                    _ => {}
                }
            }
            ranges
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn agrees_with_an_array_of_bytes(
            initial in prop_oneof![any::<u32>(), u32::MAX - 30_000..=u32::MAX],
            steps in proptest::collection::vec(step(), 1..80),
        ) {
            let mut it = Fixture::new(initial);
            let mut model = Model::new();
            for (salt, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert { ahead, length, capacity } => {
                        let payload: Vec<u8> = (0..length).map(|n| (n + salt) as u8).collect();
                        let start = it.next.plus(ahead.cast_unsigned());
                        let frame = frame(&payload, capacity);
                        let outcome =
                            it.assembler.insert(it.next, start, frame, NO_LIMIT, &mut it.spare);
                        prop_assert_eq!(outcome, model.insert(ahead, &payload));
                    }
                    Step::Skip(count) => {
                        it.next = it.next.plus(count);
                        model.next += count as usize;
                        prop_assert_eq!(it.take(), model.take());
                    }
                    Step::Take => prop_assert_eq!(it.take(), model.take()),
                }
                let ranges = model.ranges();
                let expected: Vec<_> = ranges
                    .iter()
                    .map(|(start, end)| (*start as u32, *end as u32))
                    .map(|(start, end)| (Seq(initial).plus(start), Seq(initial).plus(end)))
                    .collect();
                prop_assert_eq!(it.assembler.ranges().collect::<Vec<_>>(), &expected[..]);
                for ahead in [0, 1, 99, 500, salt as u32 * 53] {
                    let (at, end) = (it.next.plus(ahead), it.next.plus(ahead + 300));
                    let holds = |range: &&(Seq, Seq)| at.is_at_or_after(range.0) && at.is_before(range.1);
                    prop_assert_eq!(it.assembler.range_at(at), expected.iter().find(holds).copied());
                    let cut = |range: &(Seq, Seq)| (range.0.later_of(at), range.1.earlier_of(end));
                    let overlap = expected.iter().map(cut).find(|(left, right)| left.is_before(*right));
                    prop_assert_eq!(it.assembler.first_overlap(at, end), overlap);
                }
                prop_assert_eq!(it.assembler.len(), ranges.len());
                let bytes: usize = ranges.iter().map(|(start, end)| end - start).sum();
                prop_assert_eq!(it.assembler.bytes(), bytes);
                let pieces = || it.assembler.runs.values().flat_map(|run| &run.pieces);
                prop_assert_eq!(it.assembler.pieces, pieces().count());
                let capacity = pieces().map(FrameBuf::capacity).sum();
                prop_assert_eq!(it.assembler.capacity, capacity);
            }
            it.assembler.clear(&mut it.spare);
            prop_assert!(it.assembler.is_empty() && it.assembler.held() == 0);
        }
    }
}
