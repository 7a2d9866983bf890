//! SEND and RECEIVE (RFC 9293 3.10.2, 3.10.3): bytes of the program, copied, borrowed or handed over.
//!
//! | | copies once | copies nothing |
//! |---|---|---|
//! | to the peer | [`Stack::write`] | [`Stack::write_bytes`]: the buffer is the queue's until it is acknowledged |
//! | from the peer | [`Stack::read`], [`Stack::peek`] | [`Stack::chunks`] and [`Stack::consume`]: borrowed where they arrived; [`Stack::read_frame`]: taken with their buffer |

use bytes::Bytes;

use wire::frame::FrameBuf;
use wire::time::Instant;

use crate::ConnectionId;
use crate::error::Error;
use crate::pool::Pool;
use crate::reason::Withheld;
use crate::shared::Shared;
use crate::stack::Stack;
use crate::tcp::connection::Connection;
use crate::tcp::recv::autotune;
use crate::tcp::send::queue::SendQueue;
use crate::tcp::state::State;
use crate::trace::{Call, What};

/// What a write is cut to when memory does not suffice for all of it: the smallest chunk of a queue.
const SMALL_WRITE: usize = 2048;

/// What a program writes.
enum Text<'a> {
    /// To be copied.
    Copied(&'a [u8]),
    /// To be kept.
    Owned(Bytes),
}

/// SEND (RFC 9293 3.10.2).
impl Stack {
    /// Queues bytes for the peer; gives back how many were taken.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when the send buffer is full or the handshake is not over,
    /// [`Error::BrokenPipe`] after `shutdown` or after the connection failed, and the reason of a
    /// failure, once.
    pub fn write(&mut self, now: Instant, id: ConnectionId, data: &[u8]) -> Result<usize, Error> {
        self.send(now, id, &Text::Copied(data))
    }

    /// Queues bytes for the peer without a copy; gives back how many of them were taken, from the
    /// front: as much as the send buffer has room for.
    ///
    /// Write what was not taken with the next call (`Bytes::advance` a clone by what was). A write
    /// that goes on in the same buffer where the last one ended copies nothing, however few bytes it
    /// is; a first piece of less than 16 KiB is copied, because that costs less than keeping account
    /// of it. The buffer is let go when everything that was taken of it is acknowledged.
    ///
    /// In [`Stack::memory_used`] and its limits these bytes count from when they are taken until
    /// each is acknowledged. What they keep alive besides is the program's business: a `Bytes` does
    /// not tell how large the allocation is that it is a slice of, nor who else holds it.
    ///
    /// # Errors
    /// As [`Stack::write`].
    pub fn write_bytes(
        &mut self,
        now: Instant,
        id: ConnectionId,
        data: Bytes,
    ) -> Result<usize, Error> {
        self.send(now, id, &Text::Owned(data))
    }

    fn send(&mut self, now: Instant, id: ConnectionId, text: &Text<'_>) -> Result<usize, Error> {
        self.connection_mut(now, id)?;
        let conn = &mut *self.tcp.connections[id];
        if let Some(error) = conn.user.error.take() {
            return Err(error);
        }
        match conn.state {
            State::SynSent | State::SynReceived => {
                conn.user.wants_room = true;
                return Err(Error::WouldBlock);
            }
            State::Established | State::CloseWait if !conn.snd.fin_queued => {}
            _ => return Err(Error::BrokenPipe),
        }
        conn.expand_send_buffer(&self.shared);
        let tuple = conn.tuple();
        let room = text.len().min(conn.send_room());
        // Who could not write everything is told when there is room, and need not try in vain before.
        conn.user.wants_room |= room < text.len();
        if room == 0 && text.len() > 0 {
            return Err(Error::WouldBlock);
        }
        let count = conn.affordable(&self.shared, text, room);
        if count < room {
            self.tcp.wait_for_memory(id);
        }
        if count == 0 && text.len() > 0 {
            self.shared.withhold(Some(tuple), Withheld::MemoryShort);
            return Err(Error::WouldBlock);
        }
        let conn = &mut *self.tcp.connections[id];
        conn.snd.work.wake(&mut self.shared.send_works);
        text.push_to(&mut conn.snd.work.queue, count, &mut self.shared.spare);
        let call = Call::Write(count);
        if self.shared.trace.is_on() {
            self.shared.trace(Some(tuple), What::Command { call });
        }
        self.tcp.settle(&mut self.shared, id);
        Ok(count)
    }
}

/// RECEIVE (RFC 9293 3.10.3).
impl Stack {
    /// Takes bytes that arrived, in order. 0 is the end of the stream: the peer sent FIN, or this
    /// side shut reading down.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when nothing is there, [`Error::NotConnected`] before the handshake
    /// is over, and the reason of a failure, once, after what had arrived before it was read.
    pub fn read(
        &mut self,
        now: Instant,
        id: ConnectionId,
        into: &mut [u8],
    ) -> Result<usize, Error> {
        let conn = self.connection_mut(now, id)?;
        if conn.rcv.work.queue.is_empty() {
            return conn.nothing_to_read(into.is_empty());
        }
        let count = self.tcp.connections[id].rcv.work.queue.read(into, &mut self.shared.spare);
        self.was_read(id, count);
        Ok(count)
    }

    /// Copies what the next `read` would give, and leaves it.
    ///
    /// # Errors
    /// As [`Stack::read`].
    pub fn peek(&mut self, id: ConnectionId, into: &mut [u8]) -> Result<usize, Error> {
        let conn = self.tcp.connections.get_mut(id).ok_or(Error::NoSuchSocket)?;
        if conn.rcv.work.queue.is_empty() {
            return conn.nothing_to_read(into.is_empty());
        }
        Ok(conn.rcv.work.queue.peek(into))
    }

    /// Everything that arrived and was not read, in order, borrowed where it is: no copy. No item at
    /// all is the end of the stream. It stays, and holds the peer's window, until [`Stack::consume`]
    /// takes it.
    ///
    /// ```
    /// # use estab_stack::{ConnectionId, Error, Stack};
    /// # use wire::time::Instant;
    /// fn count_lines(stack: &mut Stack, now: Instant, id: ConnectionId) -> Result<usize, Error> {
    ///     let (mut lines, mut bytes) = (0, 0);
    ///     for chunk in stack.chunks(id)? {
    ///         lines += chunk.iter().filter(|byte| **byte == b'\n').count();
    ///         bytes += chunk.len();
    ///     }
    ///     stack.consume(now, id, bytes)?;
    ///     Ok(lines)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Stack::read`].
    pub fn chunks(&mut self, id: ConnectionId) -> Result<impl Iterator<Item = &[u8]>, Error> {
        let conn = self.tcp.connections.get_mut(id).ok_or(Error::NoSuchSocket)?;
        if conn.rcv.work.queue.is_empty() {
            conn.nothing_to_read(false)?;
        }
        Ok(conn.rcv.work.queue.slices())
    }

    /// Takes the first `count` bytes of what [`Stack::chunks`] lends, or all if there are fewer: the
    /// buffers that are done with go back to the driver, and the peer's window opens, as by reading.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] after it was closed.
    pub fn consume(&mut self, now: Instant, id: ConnectionId, count: usize) -> Result<(), Error> {
        let conn = self.connection_mut(now, id)?;
        let count = count.min(conn.rcv.work.queue.len());
        if count > 0 {
            self.tcp.connections[id].rcv.work.queue.consume(count, &mut self.shared.spare);
            self.was_read(id, count);
        }
        Ok(())
    }

    /// Takes the oldest bytes that arrived with the buffer that they are in: no copy, and no borrow
    /// of the stack. `None` is the end of the stream.
    ///
    /// From then on the buffer is the program's, and counts no more in [`Stack::memory_used`]. Give
    /// it back with [`Stack::recycle`] when it is done with, or the driver allocates a new one.
    ///
    /// # Errors
    /// As [`Stack::read`].
    pub fn read_frame(
        &mut self,
        now: Instant,
        id: ConnectionId,
    ) -> Result<Option<FrameBuf>, Error> {
        let conn = self.connection_mut(now, id)?;
        if conn.rcv.work.queue.is_empty() {
            return conn.nothing_to_read(false).map(|_| None);
        }
        let Some(frame) = conn.rcv.work.queue.pop() else { return Ok(None) };
        self.was_read(id, frame.len());
        Ok(Some(frame))
    }

    /// Takes back a buffer that [`Stack::read_frame`] gave, to receive into again.
    pub fn recycle(&mut self, frame: FrameBuf) {
        self.shared.recycle(frame);
    }

    /// The program took `count` bytes out of the queue.
    fn was_read(&mut self, id: ConnectionId, count: usize) {
        let (conn, shared) = (&mut *self.tcp.connections[id], &mut self.shared);
        autotune::program_reads(conn, shared, count);
        if shared.trace.is_on() {
            shared.trace(Some(conn.tuple()), What::Command { call: Call::Read(count) });
        }
        if conn.window_update_due() {
            conn.rcv.window_update = true;
            self.tcp.settle(shared, id);
        } else {
            self.tcp.settle_memory(shared, id);
        }
    }
}

impl Text<'_> {
    fn len(&self) -> usize {
        match self {
            Text::Copied(bytes) => bytes.len(),
            Text::Owned(bytes) => bytes.len(),
        }
    }

    /// By how much its first `count` bytes would make `queue` grow.
    fn growth(&self, queue: &SendQueue, count: usize) -> usize {
        match self {
            Text::Copied(_) => queue.growth(count),
            Text::Owned(bytes) => queue.growth_owned(bytes, count),
        }
    }

    /// Appends its first `count` bytes.
    fn push_to(&self, queue: &mut SendQueue, count: usize, spare: &mut Pool) {
        match self {
            Text::Copied(bytes) => queue.write(&bytes[..count], spare),
            Text::Owned(bytes) => queue.push_owned(bytes, count, spare),
        }
    }
}

impl Connection {
    /// What `read` says when the queue is empty.
    fn nothing_to_read(&mut self, asked_for_nothing: bool) -> Result<usize, Error> {
        // Who has the whole stream is told of its end, not of what happened to the connection
        // afterwards (as Linux does): a reset behind a FIN takes nothing from the reader.
        let is_whole = self.rcv.fin.is_some_and(|fin| self.rcv.nxt == fin.plus(1));
        if let Some(error) = self.user.error.take_if(|_| !is_whole) {
            return Err(error);
        }
        let ended = self.user.failed || self.user.read_shutdown || !self.state.may_receive();
        match self.state {
            _ if ended || asked_for_nothing => Ok(0),
            State::SynSent | State::SynReceived => Err(Error::NotConnected),
            _ => Err(Error::WouldBlock),
        }
    }

    /// How many of the first `count` bytes of `text` the stack's memory has room for. A first write
    /// may go beyond the mark where memory is short, so that nobody is shut out by who came before.
    fn affordable(&self, shared: &Shared, text: &Text<'_>, count: usize) -> usize {
        let (memory, pinned, queue) = (&shared.memory, self.pinned(), &self.snd.work.queue);
        let room = if queue.is_empty() {
            memory.room(&self.charge, pinned)
        } else {
            memory.spare_room(&self.charge, pinned)
        };
        // A small piece where the whole does not fit, and what costs nothing in any case.
        let fits = |count: &usize| text.growth(queue, *count) <= room;
        let least = queue.spare().min(count);
        [count, count.min(SMALL_WRITE)].into_iter().find(fits).unwrap_or(least)
    }
}
