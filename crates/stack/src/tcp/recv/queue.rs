//! The receive queue: bytes that arrived in order and wait for the reader.
//!
//! Payload is not copied inside the stack: a large frame that arrives is kept as it is, and the
//! reader's copy is the only one. But a frame occupies its whole buffer, 64 KiB for what may be
//! one byte, so small payloads are copied together and their frames go back to be used again.
//! Either way the memory that waiting bytes pin is known and bounded by a multiple of them.

use wire::frame::FrameBuf;

use crate::pool::{Pool, chunk_size};
use crate::short_queue::ShortQueue;

/// A payload below this size is copied: that costs less than keeping account of a frame.
const WORTH_KEEPING: usize = 1024;
/// A kept payload fills at least this fraction of its buffer: one byte in four.
const KEPT_FRACTION: usize = 4;

/// Whether a frame, narrowed to its payload, is kept (the alternative is to copy the payload):
/// it is when it holds 1024 bytes or more and they fill at least a quarter of its buffer.
pub(crate) fn is_worth_keeping(frame: &FrameBuf) -> bool {
    frame.len() >= WORTH_KEEPING && frame.len() * KEPT_FRACTION >= frame.capacity()
}

/// The bytes of one connection that the reader may have.
///
/// Frames that are done with go back to the pool, and so do the buffers that small payloads were
/// copied into. An empty queue owns no memory.
#[derive(Debug, Default)]
pub(crate) struct ReceiveQueue {
    /// What is left to read of each frame; none is empty.
    frames: ShortQueue<FrameBuf>,
    /// The sum of what is left to read, in bytes.
    length: usize,
    /// The sum of the frames' capacities, in bytes.
    held: usize,
}

impl ReceiveQueue {
    /// An empty queue. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self { frames: ShortQueue::new(), length: 0, held: 0 }
    }

    /// How many bytes wait for the reader.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Whether the reader has everything that arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many bytes of memory the frames and chunks occupy.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// By how much [`ReceiveQueue::held`] would grow if `frame` were pushed.
    pub(crate) fn growth(&self, frame: &FrameBuf) -> usize {
        if is_worth_keeping(frame) {
            return frame.capacity();
        }
        let spare = self.frames.back().map_or(0, FrameBuf::room);
        let rest = frame.len().saturating_sub(spare);
        // A payload that is not kept is smaller than the largest chunk.
        if rest == 0 { 0 } else { chunk_size(self.length + frame.len() - rest, rest) }
    }

    /// Appends a payload: a frame that was narrowed to it. The frame is kept if
    /// [`is_worth_keeping`] says so; otherwise the payload is copied and the frame goes to `spare`.
    pub(crate) fn push(&mut self, frame: FrameBuf, spare: &mut Pool) {
        if is_worth_keeping(&frame) {
            self.keep(frame);
        } else {
            self.push_slice(&frame, spare);
            spare.give(frame);
        }
    }

    /// Appends a copy of `bytes`, first into the room that the last frame has left.
    pub(crate) fn push_slice(&mut self, bytes: &[u8], spare: &mut Pool) {
        let mut rest = bytes;
        if let Some(tail) = self.frames.back_mut() {
            let count = tail.append(rest);
            self.length += count;
            rest = &rest[count..];
        }
        while !rest.is_empty() {
            let mut chunk = spare.take_receive_chunk(chunk_size(self.length, rest.len()));
            let count = chunk.append(rest);
            rest = &rest[count..];
            self.keep(chunk);
        }
    }

    /// Moves as many bytes as there are, and fit, into `into`, and says how many.
    pub(crate) fn read(&mut self, into: &mut [u8], spare: &mut Pool) -> usize {
        let count = self.peek(into);
        self.consume(count, spare);
        count
    }

    /// Copies what [`ReceiveQueue::read`] would move.
    pub(crate) fn peek(&self, into: &mut [u8]) -> usize {
        let mut copied = 0;
        for slice in self.slices() {
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

    /// The waiting bytes in order, borrowed; [`ReceiveQueue::consume`] what was read of them.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().map(|frame| &**frame)
    }

    /// Drops the first `count` bytes, at most all of them.
    pub(crate) fn consume(&mut self, count: usize, spare: &mut Pool) {
        let mut rest = count.min(self.length);
        self.length -= rest;
        while let Some(frame) = self.frames.front_mut() {
            if frame.len() > rest {
                frame.advance(rest);
                return;
            }
            rest -= frame.len();
            self.held -= frame.capacity();
            self.frames.pop_front().into_iter().for_each(|frame| spare.give(frame));
        }
    }

    /// Takes the oldest bytes with the buffer that they are in.
    pub(crate) fn pop(&mut self) -> Option<FrameBuf> {
        let frame = self.frames.pop_front()?;
        self.length -= frame.len();
        self.held -= frame.capacity();
        Some(frame)
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, spare: &mut Pool) {
        self.consume(self.length, spare);
    }

    fn keep(&mut self, frame: FrameBuf) {
        self.length += frame.len();
        self.held += frame.capacity();
        self.frames.push_back(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// A frame as a device hands it over, narrowed to a payload behind 66 bytes of headers.
    fn frame(payload: &[u8], capacity: usize) -> FrameBuf {
        let mut frame = FrameBuf::with_capacity(capacity.max(payload.len() + 66));
        frame.set_filled(66 + payload.len());
        frame.advance(66);
        frame.copy_from_slice(payload);
        frame
    }

    #[test]
    fn an_idle_queue_owns_nothing() {
        assert!(size_of::<ReceiveQueue>() <= 64);
        let (mut queue, mut spare) = (ReceiveQueue::new(), Pool::default());
        queue.push(frame(&[7; 3000], 4096), &mut spare);
        queue.push(frame(&[8; 10], 4096), &mut spare);
        assert_eq!(queue.read(&mut [0; 5000], &mut spare), 3010);
        assert_eq!((queue.len(), queue.held(), queue.frames.allocated()), (0, 0, 0));
    }

    #[test]
    fn a_large_payload_is_kept_and_its_frame_comes_back() {
        let (mut queue, mut spare) = (ReceiveQueue::new(), Pool::default());
        let large = frame(&[1; 40_000], 65_553);
        let address = large.as_ptr();
        queue.push(large, &mut spare);
        assert_eq!(queue.slices().next().map(<[u8]>::as_ptr), Some(address));
        assert_eq!((queue.held(), spare.frames().len()), (65_553, 0));
        queue.consume(39_999, &mut spare);
        assert_eq!((queue.held(), spare.frames().len()), (65_553, 0));
        queue.consume(1, &mut spare);
        assert_eq!(
            (queue.held(), spare.frames().len(), spare.frames()[0].capacity()),
            (0, 1, 65_553)
        );
    }

    #[test]
    fn small_payloads_in_large_frames_pin_little() {
        let (mut queue, mut spare) = (ReceiveQueue::new(), Pool::default());
        for _ in 0..100 {
            queue.push(frame(&[2; 1448], 65_553), &mut spare);
        }
        assert_eq!((queue.len(), spare.frames().len()), (144_800, 100));
        assert!(queue.held() <= 2 * queue.len());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { length: usize, capacity: usize },
        PushSlice(usize),
        Read(usize),
        Consume(usize),
        Pop,
        Clear,
    }

    fn size() -> impl Strategy<Value = usize> {
        prop_oneof![4 => 0..100_usize, 2 => 0..5000_usize, 1 => 0..65_000_usize]
    }

    fn step() -> impl Strategy<Value = Step> {
        let capacity = prop_oneof![Just(0), Just(2048), Just(65_553)];
        prop_oneof![
            6 => (size(), capacity).prop_map(|(length, capacity)| Step::Push { length, capacity }),
            2 => size().prop_map(Step::PushSlice),
            3 => size().prop_map(Step::Read),
            2 => size().prop_map(Step::Consume),
            2 => Just(Step::Pop),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_a_deque_of_bytes(steps in proptest::collection::vec(step(), 1..60)) {
            let (mut queue, mut spare) = (ReceiveQueue::new(), Pool::default());
            let mut model: VecDeque<u8> = VecDeque::new();
            let mut frames = 0;
            for (salt, step) in steps.into_iter().enumerate() {
                let bytes = |length| -> Vec<u8> { (0..length).map(|n| (n + salt) as u8).collect() };
                match step {
                    Step::Push { length, capacity } => {
                        let frame = frame(&bytes(length), capacity);
                        let expected = queue.held() + queue.growth(&frame);
                        queue.push(frame, &mut spare);
                        prop_assert!(queue.held() <= expected);
                        model.extend(bytes(length));
                        frames += 1;
                    }
                    Step::PushSlice(length) => {
                        queue.push_slice(&bytes(length), &mut spare);
                        model.extend(bytes(length));
                    }
                    Step::Read(length) => {
                        let count = length.min(model.len());
                        let expected: Vec<u8> = model.drain(..count).collect();
                        let mut into = alloc::vec![0; length];
                        prop_assert_eq!(queue.peek(&mut into), count);
                        prop_assert_eq!(&into[..count], &expected);
                        into.fill(0);
                        prop_assert_eq!(queue.read(&mut into, &mut spare), count);
                        prop_assert_eq!(&into[..count], &expected);
                    }
                    Step::Consume(count) => {
                        queue.consume(count, &mut spare);
                        model.drain(..count.min(model.len()));
                    }
                    Step::Pop => {
                        let frame = queue.pop();
                        prop_assert_eq!(frame.is_none(), model.is_empty());
                        let bytes = frame.as_deref().unwrap_or_default();
                        let expected: Vec<u8> = model.drain(..bytes.len()).collect();
                        prop_assert!(bytes == expected && frame.as_ref().is_none_or(|f| !f.is_empty()));
                        frame.into_iter().for_each(|frame| spare.give(frame));
                    }
                    Step::Clear => {
                        queue.clear(&mut spare);
                        model.clear();
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                let slices: Vec<u8> = queue.slices().flatten().copied().collect();
                prop_assert_eq!(slices, model.iter().copied().collect::<Vec<_>>());
                let held = queue.frames.iter().map(FrameBuf::capacity).sum();
                prop_assert_eq!(queue.held(), held);
            }
            // No frame is lost: every one that went in came back, or does now.
            queue.clear(&mut spare);
            prop_assert!(spare.received() >= frames);
        }
    }
}
