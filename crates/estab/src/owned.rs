//! Bytes that change hands instead of being copied: frames to the program, buffers from it.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use stack::Stack;
use wire::frame::FrameBuf;
use wire::time::Instant;

use crate::connection::{Answer, Connection};
use crate::shared::lock;

/// How many frames that programs have dropped wait for the next turn. 256, as many as the stack
/// itself keeps: 16 MiB on a link with super-segments.
const POOL_LIMIT: usize = 256;

/// Bytes that arrived, in the buffer that the link wrote them to.
///
/// It belongs to whoever holds it; the stack counts it no more, and the peer may send as much again.
/// When it is dropped its buffer goes back to the stack, to receive into. [`Bytes`] can be made of it,
/// with no copy either, and written to another stream.
pub struct Frame {
    buffer: FrameBuf,
    pool: Arc<FramePool>,
}

impl Deref for Frame {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl From<Frame> for Bytes {
    fn from(frame: Frame) -> Self {
        Bytes::from_owner(frame)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("length", &self.len()).finish_non_exhaustive()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}

/// The buffers that came back since the last turn. Its lock is held for a moment only, and never
/// together with the stack's by who drops a frame.
#[derive(Debug, Default)]
pub(crate) struct FramePool {
    /// There may be some: it saves the lock when there are none.
    any: AtomicBool,
    spare: Mutex<Vec<FrameBuf>>,
}

impl FramePool {
    fn give(&self, frame: FrameBuf) {
        let mut spare = lock(&self.spare);
        if spare.len() < POOL_LIMIT {
            spare.push(frame);
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// Gives them to the stack.
    pub(crate) fn empty_into(&self, stack: &mut Stack) {
        if self.any.load(Ordering::Relaxed) {
            let mut spare = lock(&self.spare);
            self.any.store(false, Ordering::Relaxed);
            spare.drain(..).for_each(|frame| stack.recycle(frame));
        }
    }
}

impl Connection {
    /// Takes all that arrived, frame by frame.
    pub(crate) fn read_frames(
        &self,
        frames: &mut Vec<Frame>,
    ) -> impl FnMut(&mut Stack, Instant) -> Answer<usize> {
        let (id, pool) = (self.id(), Arc::clone(self.socket.shard().shared().frames()));
        move |core, now| {
            let mut total = 0;
            while let Some(buffer) = core.read_frame(now, id)? {
                total += buffer.len();
                frames.push(Frame { buffer, pool: Arc::clone(&pool) });
                // An end or an error behind the bytes belongs to the next call.
                if core.readable_bytes(id)? == 0 {
                    break;
                }
            }
            Ok(total)
        }
    }

    /// Writes as much of `bytes` as there is room for, and leaves the rest in it.
    pub(crate) fn write_bytes(
        &self,
        bytes: &mut Bytes,
    ) -> impl FnMut(&mut Stack, Instant) -> Answer<usize> {
        let id = self.id();
        move |core, now| {
            if bytes.is_empty() {
                return Ok(0);
            }
            let count = core.write_bytes(now, id, bytes.clone())?;
            bytes.advance(count);
            Ok(count)
        }
    }
}

/// What every TCP stream that blocks can do without a copy.
macro_rules! blocking_owned {
    () => {
        /// Takes what has arrived, without copying it: appends it to `frames`, in order, and says how
        /// many bytes that is. 0 is the end of the stream. Waits when there is nothing.
        ///
        /// # Errors
        /// As reading.
        pub fn read_frames(&self, frames: &mut Vec<$crate::Frame>) -> io::Result<usize> {
            let connection = self.connection();
            connection.socket.block(Side::Read, connection.read_frames(frames))
        }

        /// Writes without a copy what there is room for, and leaves the rest in `bytes`. Waits when
        /// there is none. See [`write_bytes`](stack::Stack::write_bytes) of the core for what becomes
        /// of the buffer.
        ///
        /// # Errors
        /// As writing.
        pub fn write_bytes(&self, bytes: &mut $crate::bytes::Bytes) -> io::Result<usize> {
            let connection = self.connection();
            connection.socket.block(Side::Write, connection.write_bytes(bytes))
        }

        /// Writes all of `bytes` without a copy. After an error it holds what was not taken.
        ///
        /// # Errors
        /// As writing.
        pub fn write_all_bytes(&self, bytes: &mut $crate::bytes::Bytes) -> io::Result<()> {
            while !bytes.is_empty() {
                self.write_bytes(bytes)?;
            }
            Ok(())
        }
    };
}
pub(crate) use blocking_owned;

/// The same for tasks.
#[cfg(feature = "tokio")]
macro_rules! task_owned {
    () => {
        /// Takes what has arrived, without copying it: appends it to `frames`, in order, and says how
        /// many bytes that is. 0 is the end of the stream. Waits when there is nothing.
        ///
        /// # Errors
        /// As reading.
        pub async fn read_frames(&self, frames: &mut Vec<$crate::Frame>) -> io::Result<usize> {
            let connection = self.connection();
            connection.socket.wait(Side::Read, connection.read_frames(frames)).await
        }

        /// The same without waiting.
        ///
        /// # Errors
        /// `WouldBlock` when there is nothing; else as reading.
        pub fn try_read_frames(&self, frames: &mut Vec<$crate::Frame>) -> io::Result<usize> {
            let connection = self.connection();
            connection.socket.attempt(Side::Read, connection.read_frames(frames))
        }

        /// Writes without a copy what there is room for, and leaves the rest in `bytes`. Waits when
        /// there is none. See [`write_bytes`](stack::Stack::write_bytes) of the core for what becomes
        /// of the buffer.
        ///
        /// # Errors
        /// As writing.
        pub async fn write_bytes(&self, bytes: &mut $crate::bytes::Bytes) -> io::Result<usize> {
            let connection = self.connection();
            connection.socket.wait(Side::Write, connection.write_bytes(bytes)).await
        }

        /// The same without waiting.
        ///
        /// # Errors
        /// `WouldBlock` when there is no room; else as writing.
        pub fn try_write_bytes(&self, bytes: &mut $crate::bytes::Bytes) -> io::Result<usize> {
            let connection = self.connection();
            connection.socket.attempt(Side::Write, connection.write_bytes(bytes))
        }

        /// Writes all of `bytes` without a copy. When the future is dropped or fails, `bytes` holds
        /// what was not taken.
        ///
        /// # Errors
        /// As writing.
        pub async fn write_all_bytes(&self, bytes: &mut $crate::bytes::Bytes) -> io::Result<()> {
            while !bytes.is_empty() {
                self.write_bytes(bytes).await?;
            }
            Ok(())
        }
    };
}
#[cfg(feature = "tokio")]
pub(crate) use task_owned;
