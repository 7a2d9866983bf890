//! The send queue: what the application wrote and the peer has not acknowledged yet.
//!
//! The bytes from SND.UNA on (RFC 9293 3.3.1), sent and unsent alike. They are copied in once, or
//! moved in whole, and stay where they are until they are acknowledged: a segment, however often
//! it is sent, borrows them as slices for one gathered write to the device.

use alloc::boxed::Box;
use alloc::vec::Vec;

use arrayvec::ArrayVec;
use bytes::{Buf, Bytes};

use crate::pool::{Pool, chunk_size};
use crate::short_queue::ShortQueue;
use crate::transmit::MAX_SLICES;

/// An owned buffer below this size is copied: a copy is cheap, and many short chunks would not
/// fit into the slices of one segment.
const WORTH_OWNING: usize = 16 * 1024;

/// The unacknowledged bytes of one connection, as a deque of chunks.
///
/// An empty queue owns no memory. What it allocates follows what it holds: at most about twice
/// as much, plus what is acknowledged already of the first chunk.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    /// In the order of the stream, without gaps; none is empty.
    chunks: ShortQueue<Chunk>,
    /// The position in the stream of the first byte held: how many were acknowledged so far.
    acknowledged: u64,
    /// How many bytes are held.
    length: usize,
    /// What all chunks are counted with, in bytes.
    capacity: usize,
}

#[derive(Debug)]
struct Chunk {
    /// The position in the stream of its first byte.
    start: u64,
    text: Text,
}

/// Where the bytes of a chunk are. Only the last chunk's grow.
#[derive(Debug)]
enum Text {
    /// In a buffer of ours, with room for more. It counts with its capacity until all of it is
    /// acknowledged.
    Copied(Vec<u8>),
    /// In the program's buffer: the first `taken` bytes of it. They count until each is acknowledged,
    /// and nothing else does: how large the allocation behind a [`Bytes`] is, and who else keeps it
    /// alive, cannot be known. In a box, so that the queue of a connection is small that has none.
    Owned(Box<Owned>),
}

#[derive(Debug)]
struct Owned {
    bytes: Bytes,
    taken: usize,
}

impl SendQueue {
    /// An empty queue. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self { chunks: ShortQueue::new(), acknowledged: 0, length: 0, capacity: 0 }
    }

    /// How many bytes are held.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Whether everything that was written is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// What all chunks are counted with, in bytes: the capacity of our own buffers, and the bytes in
    /// those of the program.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// By how much [`SendQueue::capacity`] would grow if `count` bytes were written.
    pub(crate) fn growth(&self, count: usize) -> usize {
        let (mut held, mut growth) = (self.len(), 0);
        let spare = self.spare();
        let mut rest = count.saturating_sub(spare);
        held += count - rest;
        while rest > 0 {
            let chunk = chunk_size(held, rest);
            growth += chunk;
            held += rest.min(chunk);
            rest -= rest.min(chunk);
        }
        growth
    }

    /// How many bytes can be written without growth.
    pub(crate) fn spare(&self) -> usize {
        match self.chunks.back() {
            Some(Chunk { text: Text::Copied(tail), .. }) => tail.capacity() - tail.len(),
            _ => 0,
        }
    }

    /// By how much [`SendQueue::capacity`] would grow, at most, if the first `count` of `bytes` were
    /// pushed.
    pub(crate) fn growth_owned(&self, bytes: &Bytes, count: usize) -> usize {
        let copied = count < WORTH_OWNING && !self.is_continued_by(bytes, count);
        if copied { self.growth(count) } else { count }
    }

    /// How many bytes of memory the queue has allocated.
    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.capacity + self.chunks.allocated()
    }

    /// Appends a copy of all of `data`; the caller keeps to its buffer size.
    pub(crate) fn write(&mut self, mut data: &[u8], spare: &mut Pool) {
        if let Some(Chunk { text: Text::Copied(tail), .. }) = self.chunks.back_mut() {
            let count = data.len().min(tail.capacity() - tail.len());
            tail.extend_from_slice(&data[..count]);
            self.length += count;
            data = &data[count..];
        }
        while !data.is_empty() {
            let mut bytes = spare.take_send_chunk(chunk_size(self.len(), data.len()));
            let count = data.len().min(bytes.capacity());
            bytes.extend_from_slice(&data[..count]);
            data = &data[count..];
            self.push_chunk(Text::Copied(bytes));
        }
    }

    /// Appends the first `count` of `bytes` without copying them, except where a copy is the cheaper
    /// way; the caller keeps to its buffer size.
    ///
    /// Who pushes the rest later goes on where this ended: then even a byte is not copied. The buffer
    /// is let go when the last byte that was taken of it is acknowledged.
    pub(crate) fn push_owned(&mut self, bytes: &Bytes, count: usize, spare: &mut Pool) {
        if self.is_continued_by(bytes, count) {
            if let Some(Chunk { text: Text::Owned(owned), .. }) = self.chunks.back_mut() {
                owned.taken += count;
                self.length += count;
                self.capacity += count;
            }
            return;
        }
        if count < WORTH_OWNING {
            return self.write(&bytes[..count], spare);
        }
        // Nothing is appended to the last chunk any more, so it gives its spare room back.
        if let Some(Chunk { text: Text::Copied(tail), .. }) = self.chunks.back_mut() {
            self.capacity -= tail.capacity();
            shrink(tail);
            self.capacity += tail.capacity();
        }
        self.push_chunk(Text::Owned(Box::new(Owned { bytes: bytes.clone(), taken: count })));
    }

    /// Whether the first `count` of `bytes` are those behind what was taken of the last chunk's buffer.
    /// Both are alive, so the same address is the same memory.
    fn is_continued_by(&self, bytes: &Bytes, count: usize) -> bool {
        match self.chunks.back() {
            Some(Chunk { text: Text::Owned(owned), .. }) => {
                let rest = &owned.bytes[owned.taken..];
                count <= rest.len() && rest.as_ptr() == bytes.as_ptr()
            }
            _ => false,
        }
    }

    /// Drops the first `count` bytes (at most all of them), and gives back the chunks that they fill.
    pub(crate) fn acknowledge(&mut self, count: usize, spare: &mut Pool) {
        let count = count.min(self.length);
        self.length -= count;
        self.acknowledged += count as u64;
        while let Some(chunk) = self.chunks.front_mut() {
            self.capacity -= chunk.drop_before(self.acknowledged);
            if chunk.end() > self.acknowledged {
                return;
            }
            self.capacity -= chunk.capacity();
            if let Some(Chunk { text: Text::Copied(bytes), .. }) = self.chunks.pop_front() {
                spare.give_send_chunk(bytes);
            }
        }
    }

    /// Gathers up to `length` bytes, beginning `offset` bytes after the first one held, and says
    /// how many: fewer when the queue ends first, or when `into` has no room for another slice.
    ///
    /// Written chunks double in size and owned ones are 16 KiB or more, so an empty `into` has
    /// room for a super-segment of 64 KiB.
    pub(crate) fn slices<'a>(
        &'a self,
        offset: usize,
        length: usize,
        into: &mut ArrayVec<&'a [u8], MAX_SLICES>,
    ) -> usize {
        let mut gathered = 0;
        for slice in self.from(offset) {
            let count = slice.len().min(length - gathered);
            if count == 0 || into.try_push(&slice[..count]).is_err() {
                break;
            }
            gathered += count;
        }
        gathered
    }

    /// Copies the bytes from `offset` on into `into`, and says how many there were.
    #[cfg_attr(not(test), allow(dead_code, reason = "for probes that repeat a byte"))]
    pub(crate) fn copy_to(&self, offset: usize, into: &mut [u8]) -> usize {
        let mut copied = 0;
        for slice in self.from(offset) {
            let room = &mut into[copied..];
            let count = slice.len().min(room.len());
            if count == 0 {
                break;
            }
            room[..count].copy_from_slice(&slice[..count]);
            copied += count;
        }
        copied
    }

    /// The bytes from `offset` on, chunk by chunk. O(log chunks) to find the first.
    fn from(&self, offset: usize) -> impl Iterator<Item = &[u8]> {
        let position = self.acknowledged.saturating_add(offset as u64);
        self.chunks.iter_from(move |chunk| chunk.end() <= position).map(move |chunk| {
            // Only in the first chunk are there bytes before the position.
            let skip = position.saturating_sub(chunk.start);
            let bytes = chunk.bytes();
            &bytes[usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len())..]
        })
    }

    fn push_chunk(&mut self, text: Text) {
        let chunk = Chunk { start: self.end(), text };
        self.length += chunk.bytes().len();
        self.capacity += chunk.capacity();
        self.chunks.push_back(chunk);
    }

    /// The position in the stream after the last byte held.
    fn end(&self) -> u64 {
        self.acknowledged + self.length as u64
    }
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match &self.text {
            Text::Copied(bytes) => bytes,
            Text::Owned(owned) => &owned.bytes[..owned.taken],
        }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes().len() as u64
    }

    /// What it is counted with.
    fn capacity(&self) -> usize {
        match &self.text {
            Text::Copied(bytes) => bytes.capacity(),
            Text::Owned(owned) => owned.taken,
        }
    }

    /// What lies before `position` was acknowledged: of the program's buffer it counts no more. By how
    /// much less the chunk is counted.
    fn drop_before(&mut self, position: u64) -> usize {
        let Text::Owned(owned) = &mut self.text else { return 0 };
        let before = position.saturating_sub(self.start);
        let count = usize::try_from(before).unwrap_or(usize::MAX).min(owned.taken);
        owned.bytes.advance(count);
        owned.taken -= count;
        self.start += count as u64;
        count
    }
}

/// Gives back the spare room of a buffer that is less than half full.
fn shrink(bytes: &mut Vec<u8>) {
    if bytes.len() < bytes.capacity() / 2 {
        bytes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{LARGE_CHUNK, SMALL_CHUNK};
    use alloc::collections::VecDeque;
    use proptest::prelude::*;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 31 / 7) as u8).collect()
    }

    #[test]
    fn an_idle_queue_is_64_bytes_and_nothing_else() {
        assert!(size_of::<SendQueue>() <= 64);
        let (mut queue, mut spare) = (SendQueue::new(), Pool::default());
        assert_eq!(queue.allocated(), 0);
        queue.write(&pattern(100_000), &mut spare);
        queue.acknowledge(100_000, &mut spare);
        assert_eq!((queue.len(), queue.allocated()), (0, 0));
    }

    #[test]
    fn small_writes_share_a_chunk() {
        let (mut queue, mut spare) = (SendQueue::new(), Pool::default());
        for _ in 0..200 {
            queue.write(b"ten bytes.", &mut spare);
        }
        assert_eq!((queue.chunks.iter().count(), queue.len()), (1, 2000));
    }

    #[test]
    fn chunks_grow_with_use_up_to_64_kib() {
        let (mut queue, mut spare) = (SendQueue::new(), Pool::default());
        for _ in 0..1000 {
            queue.write(&[0; 1000], &mut spare);
        }
        let sizes: Vec<_> = queue.chunks.iter().map(Chunk::capacity).collect();
        assert!(sizes.is_sorted() && sizes[0] == SMALL_CHUNK);
        assert_eq!(sizes.last(), Some(&LARGE_CHUNK));
        assert!(queue.allocated() < 2 * queue.len());
    }

    #[test]
    fn a_super_segment_is_gathered_whole_from_any_mix_of_writes() {
        let (mut queue, mut spare) = (SendQueue::new(), Pool::default());
        let long = Bytes::from(pattern(3 * WORTH_OWNING));
        while queue.len() < 300_000 {
            queue.write(b"short", &mut spare);
            queue.push_owned(&long, WORTH_OWNING, &mut spare);
            // Pieces of the same buffer do not become chunks.
            for count in 1..100 {
                let taken = (1..count).sum::<usize>();
                queue.push_owned(&long.slice(WORTH_OWNING + taken..), count, &mut spare);
            }
            queue.push_owned(&long, 1, &mut spare);
        }
        for offset in (0..200_000).step_by(997) {
            let mut slices = ArrayVec::new();
            assert_eq!(queue.slices(offset, 65_535, &mut slices), 65_535);
        }
    }

    #[test]
    fn an_owned_buffer_is_not_copied() {
        let (mut queue, mut spare) = (SendQueue::new(), Pool::default());
        queue.write(b"head", &mut spare);
        let mut body = Bytes::from(pattern(20_000));
        let address = body.as_ptr();
        for count in [WORTH_OWNING, 1, 2000, 20_000 - WORTH_OWNING - 2001] {
            queue.push_owned(&body, count, &mut spare);
            body.advance(count);
        }
        let mut slices = ArrayVec::new();
        assert_eq!(queue.slices(4, 20_000, &mut slices), 20_000);
        assert_eq!((slices.len(), slices[0].as_ptr()), (1, address));
    }

    #[test]
    fn an_owned_buffer_is_let_go_with_its_last_byte() {
        let (mut queue, mut spare) = (SendQueue::new(), Pool::default());
        let body = Bytes::from(pattern(50_000));
        queue.push_owned(&body, 40_000, &mut spare);
        assert_eq!((queue.capacity(), body.is_unique()), (40_000, false));
        queue.acknowledge(39_999, &mut spare);
        assert_eq!((queue.capacity(), body.is_unique()), (1, false));
        queue.push_owned(&body.slice(40_000..), 10, &mut spare);
        assert_eq!((queue.chunks.iter().count(), queue.capacity(), queue.len()), (1, 11, 11));
        queue.acknowledge(11, &mut spare);
        assert_eq!((queue.allocated(), body.is_unique()), (0, true));
    }

    #[test]
    fn too_large_numbers_are_harmless() {
        let (mut queue, mut spare) = (SendQueue::new(), Pool::default());
        queue.write(b"abc", &mut spare);
        let mut slices = ArrayVec::new();
        assert_eq!(queue.slices(usize::MAX, usize::MAX, &mut slices), 0);
        assert_eq!(queue.slices(1, usize::MAX, &mut slices), 2);
        assert_eq!(queue.copy_to(3, &mut [0; 4]), 0);
        drop(slices);
        queue.acknowledge(usize::MAX, &mut spare);
        assert!(queue.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(Vec<u8>),
        /// A buffer of the program, of which so many bytes are taken now.
        PushOwned(Vec<u8>, usize),
        /// So many more of the last such buffer.
        Continue(usize),
        Acknowledge(usize),
        Gather {
            offset: usize,
            length: usize,
        },
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![4 => 0..100_usize, 2 => 0..5000_usize, 1 => 0..150_000_usize];
        (length, any::<u8>()).prop_map(|(length, salt)| {
            pattern(length).into_iter().map(|byte| byte.wrapping_add(salt)).collect()
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => bytes().prop_map(Step::Write),
            2 => (bytes(), 0..150_000_usize).prop_map(|(bytes, count)| Step::PushOwned(bytes, count)),
            2 => prop_oneof![0..100_usize, 0..50_000_usize].prop_map(Step::Continue),
            3 => prop_oneof![0..100_usize, 0..200_000_usize].prop_map(Step::Acknowledge),
            3 => (0..300_000_usize, 0..70_000_usize)
                .prop_map(|(offset, length)| Step::Gather { offset, length }),
        ]
    }

    /// Pushes the first `count` of `rest`, and leaves the others in it.
    fn push_front(
        queue: &mut SendQueue,
        spare: &mut Pool,
        model: &mut VecDeque<u8>,
        rest: &mut Bytes,
        count: usize,
    ) -> Result<(), TestCaseError> {
        let count = count.min(rest.len());
        let most = queue.capacity() + queue.growth_owned(rest, count);
        queue.push_owned(rest, count, spare);
        prop_assert!(queue.capacity() <= most);
        model.extend(rest.split_to(count));
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_a_deque_of_bytes(steps in proptest::collection::vec(step(), 1..60)) {
            let (mut queue, mut spare) = (SendQueue::new(), Pool::default());
            let mut model: VecDeque<u8> = VecDeque::new();
            let mut rest = Bytes::new();
            for step in steps {
                match step {
                    Step::Write(bytes) => {
                        let expected = queue.capacity() + queue.growth(bytes.len());
                        queue.write(&bytes, &mut spare);
                        prop_assert_eq!(queue.capacity(), expected);
                        model.extend(bytes);
                    }
                    Step::PushOwned(bytes, count) => {
                        rest = Bytes::from(bytes);
                        push_front(&mut queue, &mut spare, &mut model, &mut rest, count)?;
                    }
                    Step::Continue(count) => {
                        push_front(&mut queue, &mut spare, &mut model, &mut rest, count)?;
                    }
                    Step::Acknowledge(count) => {
                        queue.acknowledge(count, &mut spare);
                        model.drain(..count.min(model.len()));
                    }
                    Step::Gather { offset, length } => {
                        let expected: Vec<u8> =
                            model.iter().skip(offset).take(length).copied().collect();
                        let mut slices = ArrayVec::new();
                        let gathered = queue.slices(offset, length, &mut slices);
                        prop_assert_eq!(slices.concat(), &expected[..gathered]);
                        prop_assert!(gathered == expected.len() || slices.is_full());
                        prop_assert!(slices.iter().all(|slice| !slice.is_empty()));
                        let mut copy = alloc::vec![0; length];
                        let copied = queue.copy_to(offset, &mut copy);
                        prop_assert_eq!(&copy[..copied], expected);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                let capacity = queue.chunks.iter().map(Chunk::capacity).sum();
                prop_assert_eq!(queue.capacity, capacity);
                prop_assert!(queue.capacity >= queue.len());
                prop_assert!(!queue.is_empty() || queue.allocated() == 0);
            }
        }
    }
}
