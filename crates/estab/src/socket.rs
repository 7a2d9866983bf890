//! What every socket is below its surface: an id of the stack, and a way to wait for it.
//!
//! Blocking and asynchronous sockets differ in one line: which waker they wait with.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use stack::{Error, Ready, SocketId};
use wire::time::Instant;

use crate::block::block_on;
use crate::engine::Engine;
use crate::error::from_stack;
use crate::ready::{ReadyList, Watch};
use crate::shards::Hold;
use crate::wait::{Place, Side, Ticket, Waiters};

/// A socket of any kind. Closes when dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Where it lives; keeps the stack running.
    shard: Arc<Hold>,
    id: SocketId,
    waiters: Arc<Waiters>,
    /// Blocking calls fail instead of waiting.
    nonblocking: AtomicBool,
    /// How long a blocking call may wait to read, in nanoseconds; zero: for ever.
    read_timeout: AtomicU64,
    /// The same to write.
    write_timeout: AtomicU64,
}

impl Socket {
    /// Opens a socket with `open` on a shard.
    pub(crate) fn open<I: Copy>(
        shard: &Arc<Hold>,
        kind: fn(I) -> SocketId,
        open: impl FnOnce(&mut stack::Stack, Instant) -> Result<I, Error>,
    ) -> io::Result<(Self, I)> {
        let waiters = Arc::new(Waiters::default());
        let opened = shard.shared().call(|engine, now| {
            let id = open(&mut engine.stack, now)?;
            engine.waiters.insert(kind(id), Arc::clone(&waiters));
            Ok(id)
        })?;
        let id = opened.map_err(from_stack)?;
        Ok((Self::new(shard, kind(id), waiters), id))
    }

    /// A socket that is in the table of waiters already.
    pub(crate) fn new(shard: &Arc<Hold>, id: SocketId, waiters: Arc<Waiters>) -> Self {
        Self {
            shard: Arc::clone(shard),
            id,
            waiters,
            nonblocking: AtomicBool::new(false),
            read_timeout: AtomicU64::new(0),
            write_timeout: AtomicU64::new(0),
        }
    }

    /// The shard that it lives on.
    pub(crate) fn shard(&self) -> &Arc<Hold> {
        &self.shard
    }

    /// A place among those who wait for it.
    pub(crate) fn ticket(&self, side: Side) -> Ticket<'_> {
        Ticket::new(&self.waiters, side)
    }

    /// Carries out a command that never waits. `WouldBlock` is an error like any other.
    pub(crate) fn call<T>(
        &self,
        op: impl FnOnce(&mut stack::Stack, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        let done = self.shard.shared().call(|engine, now| op(&mut engine.stack, now))?;
        done.map_err(from_stack)
    }

    /// Tries `op` once without waiting. Reading gets what came before the links were lost.
    pub(crate) fn attempt<T>(
        &self,
        side: Side,
        op: impl FnOnce(&mut stack::Stack, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        self.shard.shared().enter(|engine, now| try_op(engine, now, side, op))?
    }

    /// Tries `op`; when it would block, `waker` is registered in `place` under the same lock.
    pub(crate) fn poll<T>(
        &self,
        mut place: Place<'_, '_>,
        waker: &Waker,
        op: impl FnOnce(&mut stack::Stack, Instant) -> Result<T, Error>,
    ) -> Poll<io::Result<T>> {
        let mut replaced = None;
        let polled =
            self.shard.shared().enter(|engine, now| match try_op(engine, now, place.side(), op) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    replaced = place.register(waker);
                    Poll::Pending
                }
                done => Poll::Ready(done),
            });
        drop(replaced);
        polled.unwrap_or_else(|ended| Poll::Ready(Err(ended)))
    }

    /// The one place of the `poll_*` functions of `side`.
    #[cfg(feature = "tokio")]
    pub(crate) fn polled(&self, side: Side) -> Place<'_, '_> {
        self.shard.shared().lead.reserve();
        Place::Polled(&self.waiters, side)
    }

    /// Waits in this thread until `op` does not block, as the socket's mode and timeouts say.
    pub(crate) fn block<T>(
        &self,
        side: Side,
        op: impl FnMut(&mut stack::Stack, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        // `WouldBlock` for both, as on Linux.
        let would_block = || io::Error::from(io::ErrorKind::WouldBlock);
        if self.is_nonblocking() {
            return self.attempt(side, op);
        }
        self.block_for(side, self.timeout(side), op).unwrap_or_else(|| Err(would_block()))
    }

    /// Waits in this thread until `op` does not block; `None` when `timeout` passed first.
    pub(crate) fn block_for<T>(
        &self,
        side: Side,
        timeout: Option<Duration>,
        mut op: impl FnMut(&mut stack::Stack, Instant) -> Result<T, Error>,
    ) -> Option<io::Result<T>> {
        let mut ticket = Ticket::new(&self.waiters, side);
        let shared = self.shard.shared();
        block_on(shared, timeout, |waker| self.poll(Place::Ticket(&mut ticket), waker, &mut op))
    }

    /// Waits in this task until `op` does not block.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait<T>(
        &self,
        side: Side,
        mut op: impl FnMut(&mut stack::Stack, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        self.shard.shared().lead.reserve();
        let mut ticket = Ticket::new(&self.waiters, side);
        std::future::poll_fn(|cx| self.poll(Place::Ticket(&mut ticket), cx.waker(), &mut op)).await
    }

    /// An operation that succeeds as soon as the socket is ready for one of `wanted`.
    pub(crate) fn is_ready(
        &self,
        wanted: Ready,
    ) -> impl Fn(&mut stack::Stack, Instant) -> Result<(), Error> + use<> {
        let id = self.id;
        move |stack, _| {
            if stack.readiness(id).intersects(wanted) { Ok(()) } else { Err(Error::WouldBlock) }
        }
    }

    /// Begins to tell a poll of everything that happens here, and of what has happened already.
    ///
    /// # Errors
    /// `AlreadyExists` when it is told, `NetworkDown` when the stack has ended.
    pub(crate) fn watch(&self, watch: Watch) -> io::Result<()> {
        self.shard.shared().enter(|engine, _| {
            let now = self.now_ready(engine);
            watch.tell(now);
            self.waiters.watch(watch)
        })?
    }

    /// Changes what the poll with this list is told.
    ///
    /// # Errors
    /// `NotFound` when it is told nothing, `NetworkDown` when the stack has ended.
    pub(crate) fn rewatch(
        &self,
        list: &Arc<ReadyList>,
        token: usize,
        interest: Ready,
    ) -> io::Result<()> {
        let watch = self.waiters.watch_of(list).ok_or_else(not_registered)?;
        watch.change(token, interest);
        self.shard.shared().enter(|engine, _| {
            watch.tell(self.now_ready(engine));
        })
    }

    /// The poll with this list is told no more.
    ///
    /// # Errors
    /// `NotFound` when it is told nothing.
    pub(crate) fn unwatch(&self, list: &Arc<ReadyList>) -> io::Result<()> {
        self.waiters.unwatch(list).map(drop).ok_or_else(not_registered)
    }

    fn now_ready(&self, engine: &Engine) -> Ready {
        if engine.failed.is_some() { Ready::all() } else { engine.stack.readiness(self.id) }
    }

    /// Wakes everybody who waits for this socket, because it is no more.
    pub(crate) fn wake_all(&self) {
        self.waiters.wake(Ready::all());
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    /// How long a blocking call of `side` may wait; `None`: for ever.
    pub(crate) fn timeout(&self, side: Side) -> Option<Duration> {
        match self.timeout_of(side).load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// # Errors
    /// `InvalidInput` for a timeout of zero, as `std::net` has it.
    pub(crate) fn set_timeout(&self, side: Side, timeout: Option<Duration>) -> io::Result<()> {
        let nanos = match timeout {
            None => 0,
            Some(Duration::ZERO) => {
                let why = "a timeout of zero: use set_nonblocking";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        };
        self.timeout_of(side).store(nanos, Ordering::Relaxed);
        Ok(())
    }

    fn timeout_of(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Read => &self.read_timeout,
            Side::Write => &self.write_timeout,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.waiters.unwatch_all();
        // On a stack that ended there is nothing left to close.
        let _ = self.shard.shared().enter(|engine, now| {
            engine.waiters.remove(self.id);
            match self.id {
                SocketId::Listener(id) => engine.stack.close_listener(now, id),
                SocketId::Connection(id) => engine.stack.close(now, id),
                SocketId::Udp(id) => drop(engine.stack.udp_close(id)),
                SocketId::Ping(id) => drop(engine.stack.ping_close(id)),
                SocketId::Packets => while engine.stack.poll_packet().is_some() {},
            }
        });
    }
}

fn not_registered() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the socket is not registered with this poll")
}

/// Tries `op` on a stack whose links may be gone: then only what needs no waiting can be read.
fn try_op<T>(
    engine: &mut Engine,
    now: Instant,
    side: Side,
    op: impl FnOnce(&mut stack::Stack, Instant) -> Result<T, Error>,
) -> io::Result<T> {
    match &engine.failed {
        None => op(&mut engine.stack, now).map_err(from_stack),
        Some(ended) if side == Side::Write => Err(ended.error()),
        Some(ended) => {
            let ended = ended.clone();
            match op(&mut engine.stack, now) {
                Err(Error::WouldBlock) => Err(ended.error()),
                done => done.map_err(from_stack),
            }
        }
    }
}
