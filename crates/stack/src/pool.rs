//! Buffers that wait to be used again.
//!
//! A frame from the device goes through a receive queue and back to the driver. A short write or a
//! short segment is copied into a small chunk, which goes back when it is acknowledged or read. In
//! the long run nothing on the way of a packet has to allocate. The buffer that came back last is
//! the first to go: it is still in the processor's cache.

use alloc::vec::Vec;

use wire::frame::FrameBuf;

/// The size of the small chunks that are kept, in bytes: room for a request or a short reply.
pub(crate) const SMALL_CHUNK: usize = 2 * 1024;
/// The size of the large chunks, in bytes: what one super-segment carries. Larger ones would free
/// memory later.
pub(crate) const LARGE_CHUNK: usize = 64 * 1024;
/// How many spent frames are kept for the driver.
const FRAME_LIMIT: usize = 256;
/// How many small chunks of each kind are kept.
const CHUNK_LIMIT: usize = 256;
/// How many large chunks are kept: 8 MiB, twice what eight connections fill on a short path
/// (`Config::send_buffer_short_path`). Each one beyond is a page fault for every 4 KiB that is sent.
const LARGE_CHUNK_LIMIT: usize = 128;

/// The next chunk of a queue that holds `held` bytes and gets `rest` more: chunks grow with what waits.
pub(crate) fn chunk_size(held: usize, rest: usize) -> usize {
    held.max(rest).min(LARGE_CHUNK).next_power_of_two().max(SMALL_CHUNK)
}

/// The spare buffers of one stack.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// As large as the driver's.
    frames: Vec<FrameBuf>,
    /// Of receive queues.
    receive_chunks: Vec<FrameBuf>,
    /// Of send queues, small and empty.
    send_chunks: Vec<Vec<u8>>,
    /// Of send queues, large and empty.
    large_chunks: Vec<Vec<u8>>,
    /// The capacity of the driver's buffers in bytes, the largest that came. Smaller ones are of no
    /// use to it.
    frame_size: usize,
}

impl Pool {
    /// Takes note of a frame from the driver: what buffers it reads into.
    pub(crate) fn note_frame(&mut self, frame: &FrameBuf) {
        self.frame_size = self.frame_size.max(frame.capacity());
    }

    /// A frame for the driver to receive into.
    pub(crate) fn take_frame(&mut self) -> Option<FrameBuf> {
        self.frames.pop()
    }

    /// Takes back what nobody needs any more: a frame, or a chunk of a receive queue.
    pub(crate) fn give(&mut self, frame: FrameBuf) {
        let capacity = frame.capacity();
        if capacity == SMALL_CHUNK && capacity != self.frame_size {
            if self.receive_chunks.len() < CHUNK_LIMIT {
                self.receive_chunks.push(frame);
            }
        } else if capacity >= self.frame_size.max(1) && self.frames.len() < FRAME_LIMIT {
            self.frames.push(frame);
        }
    }

    /// An empty buffer of `size` bytes for a receive queue.
    pub(crate) fn take_receive_chunk(&mut self, size: usize) -> FrameBuf {
        let Some(mut chunk) = self.receive_chunks.pop_if(|_| size == SMALL_CHUNK) else {
            return FrameBuf::with_capacity(size);
        };
        chunk.set_filled(0);
        chunk
    }

    /// An empty buffer of `size` bytes for a send queue.
    pub(crate) fn take_send_chunk(&mut self, size: usize) -> Vec<u8> {
        let spare = match size {
            SMALL_CHUNK => self.send_chunks.pop(),
            LARGE_CHUNK => self.large_chunks.pop(),
            _ => None,
        };
        spare.unwrap_or_else(|| Vec::with_capacity(size))
    }

    /// Takes back a send queue's buffer.
    pub(crate) fn give_send_chunk(&mut self, mut chunk: Vec<u8>) {
        let (kept, limit) = match chunk.capacity() {
            SMALL_CHUNK => (&mut self.send_chunks, CHUNK_LIMIT),
            LARGE_CHUNK => (&mut self.large_chunks, LARGE_CHUNK_LIMIT),
            _ => return,
        };
        if kept.len() < limit {
            chunk.clear();
            kept.push(chunk);
        }
    }
}

#[cfg(test)]
impl Pool {
    /// The frames that came back.
    pub(crate) fn frames(&self) -> &[FrameBuf] {
        &self.frames
    }

    /// How many frames and chunks of receive queues came back.
    pub(crate) fn received(&self) -> usize {
        self.frames.len() + self.receive_chunks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_as_what_it_was() {
        let mut pool = Pool::default();
        pool.note_frame(&FrameBuf::with_capacity(9000));
        pool.give(FrameBuf::with_capacity(9000));
        pool.give(FrameBuf::with_capacity(4096));
        let mut chunk = pool.take_receive_chunk(SMALL_CHUNK);
        chunk.append(&[7; 100]);
        let address = chunk.as_ptr();
        pool.give(chunk);
        assert_eq!(pool.take_frame().map(|frame| frame.capacity()), Some(9000));
        assert!(pool.take_frame().is_none(), "a smaller buffer is of no use to the driver");
        assert_eq!(pool.take_receive_chunk(3000).capacity(), 3000);
        let again = pool.take_receive_chunk(SMALL_CHUNK);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        let mut chunk = pool.take_send_chunk(SMALL_CHUNK);
        chunk.extend_from_slice(&[7; 100]);
        let address = chunk.as_ptr();
        pool.give_send_chunk(chunk);
        let again = pool.take_send_chunk(SMALL_CHUNK);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
    }

    #[test]
    fn it_is_bounded() {
        let mut pool = Pool::default();
        for _ in 0..1000 {
            pool.give(FrameBuf::with_capacity(100));
            pool.give(FrameBuf::with_capacity(SMALL_CHUNK));
            pool.give_send_chunk(Vec::with_capacity(SMALL_CHUNK));
            pool.give_send_chunk(Vec::with_capacity(LARGE_CHUNK));
        }
        assert_eq!(pool.frames.len(), FRAME_LIMIT);
        assert_eq!((pool.receive_chunks.len(), pool.send_chunks.len()), (CHUNK_LIMIT, CHUNK_LIMIT));
        assert_eq!(pool.large_chunks.len(), LARGE_CHUNK_LIMIT);
    }
}
