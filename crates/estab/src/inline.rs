//! A stack that its program runs itself, in one thread: no lock, no other thread, no wake-up between.
//!
//! The [sockets](crate::blocking) share a stack among threads, and a thread of its own carries its
//! frames. A program that is one loop around its connections needs none of that. It owns an
//! [`Inline`], calls its [core](Inline::core) directly, and lets it take a [turn](Inline::turn)
//! whenever it has nothing else to do. That is the fastest way to run the stack: a request that
//! arrives is answered by the instructions that follow, and its acknowledgment travels in the answer.
//!
//! # The loop
//!
//! ```
//! use estab::core::{ConnectionId, Error, SocketId, TcpOptions};
//! use estab::inline::Inline;
//! use estab::link::{PairConfig, pair};
//!
//! /// One turn of a server that gives back what it gets.
//! fn serve(server: &mut Inline) -> std::io::Result<()> {
//!     server.turn(Some(std::time::Duration::ZERO))?;
//!     let now = server.now();
//!     while let Some(event) = server.next_event() {
//!         match event.socket {
//!             SocketId::Listener(listener) => {
//!                 while let Ok((connection, _peer)) = server.core().accept(now, listener) {
//!                     answer(server, connection);
//!                 }
//!             }
//!             SocketId::Connection(connection) => answer(server, connection),
//!             _ => {}
//!         }
//!     }
//!     Ok(())
//! }
//!
//! fn answer(server: &mut Inline, connection: ConnectionId) {
//!     let (now, mut bytes) = (server.now(), [0; 1500]);
//!     loop {
//!         match server.core().read(now, connection, &mut bytes) {
//!             // A real server keeps what there is no room for: see the example.
//!             Ok(count @ 1..) => drop(server.core().write(now, connection, &bytes[..count])),
//!             Err(Error::WouldBlock) => return,
//!             Ok(0) | Err(_) => return server.core().close(now, connection),
//!         }
//!     }
//! }
//!
//! let (here, there) = pair(PairConfig::ip(1500))?;
//! let mut client = estab::Stack::builder().address([10, 0, 0, 1], 24).inline(here)?;
//! let mut server = estab::Stack::builder().address([10, 0, 0, 2], 24).inline(there)?;
//! let (now, at) = (server.now(), "10.0.0.2:7".parse().unwrap());
//! server.core().listen(now, at, 16, TcpOptions::default()).unwrap();
//!
//! // Both are in this thread, so neither may sleep.
//! let now = client.now();
//! let connection = client.core().connect(now, None, at, TcpOptions::default()).unwrap();
//! let mut asked = false;
//! let answer = loop {
//!     serve(&mut server)?;
//!     client.turn(Some(std::time::Duration::ZERO))?;
//!     let now = client.now();
//!     while client.next_event().is_some() {}
//!     if !asked {
//!         asked = client.core().write(now, connection, b"who is there?").is_ok();
//!     }
//!     let mut bytes = [0; 1500];
//!     if let Ok(count) = client.core().read(now, connection, &mut bytes) {
//!         break bytes[..count].to_vec();
//!     }
//! };
//! assert_eq!(answer, b"who is there?");
//! # std::io::Result::Ok(())
//! ```
//!
//! A server on a device, with connections that remember what they could not write yet, is the
//! example `inline_echo`.
//!
//! # What a turn does
//!
//! 1. It sends what the program's calls since the last turn left to send: data, and the
//!    acknowledgments that found no data to travel with.
//! 2. It sleeps until a frame comes, a timer is due or the given limit is over. It does not sleep
//!    while an event waits or the device had more frames than the last turn took, nor where the next
//!    frame tends to be there already; with
//!    [busy polling](crate::StackBuilder::busy_poll) it asks the device for a while before it sleeps.
//! 3. It reads the clock: [`Inline::now`] stands until the next turn.
//! 4. It receives up to a budget of frames, and fires the timers that are due.
//!
//! While each turn finds several small frames, steps 1 and 4 are one system call for all of them, where
//! the device [can](Inline::batching) and io_uring is to be had, and only a turn that found nothing
//! sleeps.
//!
//! Nothing is sent after receiving: first the program sees what came. Call [`Inline::turn`] again
//! when all events are handled.
//!
//! # Events
//!
//! [`Inline::next_event`] says which socket became ready for what. They are edges: read until
//! [`WouldBlock`](stack::Error::WouldBlock), or remember that there is more, for it is not told twice.
//! What a peer sent before its connection was accepted is not told at all: read after accepting.
//! Nothing is allocated for them, one socket has at most one event in the queue, and a socket that was
//! closed has none.
//!
//! # Without a copy
//!
//! | | |
//! |---|---|
//! | [`chunks`](stack::Stack::chunks), [`consume`](stack::Stack::consume) | read frames where the device's driver put them |
//! | [`read_frame`](stack::Stack::read_frame), [`recycle`](stack::Stack::recycle) | take them, and give their buffers back |
//! | [`write_bytes`](stack::Stack::write_bytes) | send from a buffer that the program keeps, or gives away |
//!
//! # In another event loop
//!
//! An [`Inline`] is a descriptor: wait until it is readable or until [`Inline::deadline`], then take
//! a turn with a limit of zero. Take one also after commands, for it sends what they left to send.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use link::Batching;
use stack::{Event, Stack};
use wire::time::Instant;

use crate::activity::Activity;
use crate::busy::BusyPoll;
use crate::driver::Observer;
use crate::engine::{abort_all, is_undelivered, shutdown_all};
use crate::error::Ended;
use crate::poller::{self, Poller};
use crate::ports::{Batch, Ports};

/// How many packets one turn sends before it looks what has arrived.
const SEND_BUDGET: usize = 256;

/// A stack, its links and its clock, owned by one thread. See the [module](self).
///
/// Dropping it resets every connection; [`drain`](Inline::drain) delivers first.
pub struct Inline {
    core: Stack,
    ports: Ports,
    poller: Arc<Poller>,
    /// Where this stack's time starts.
    epoch: std::time::Instant,
    /// The time of this turn.
    now: Instant,
    /// A link had more frames than the last turn took.
    full: bool,
    busy: BusyPoll,
    observer: Option<Observer>,
    /// The bound of [`Inline::drain`].
    drain: Duration,
    /// A link is gone: nothing will come any more.
    ended: Option<Ended>,
    activity: Activity,
    prompt: Prompt,
}

/// Whether the next frame tends to be there when the program is done with the last one.
///
/// Where both ends share a core the peer answers while our frame is still being written. Then reading at
/// once saves the call that would only find that it need not sleep. Elsewhere it is in vain, and so it is
/// done seldom.
#[derive(Clone, Copy, Debug, Default)]
struct Prompt {
    /// How often in a row it was not there.
    vain: u8,
}

impl Prompt {
    /// So often in a row it is looked in vain,
    const PATIENCE: u8 = 4;
    /// and then once in so many times.
    const DOUBT: u8 = 16;

    /// Whether to look before sleeping.
    fn looks(&mut self) -> bool {
        if self.vain < Self::PATIENCE {
            return true;
        }
        self.vain += 1;
        self.vain >= Self::PATIENCE + Self::DOUBT
    }

    /// It was looked.
    fn learn(&mut self, found: bool) {
        self.vain = if found { 0 } else { (self.vain + 1).min(Self::PATIENCE) };
    }
}

impl Inline {
    pub(crate) fn new(
        core: Stack,
        mut ports: Ports,
        poller: Arc<Poller>,
        busy: BusyPoll,
        observer: Option<Observer>,
        drain: Duration,
    ) -> Self {
        ports.let_batch(true);
        Self {
            core,
            ports,
            poller,
            epoch: std::time::Instant::now(),
            now: Instant::ZERO,
            full: false,
            busy,
            observer,
            drain,
            ended: None,
            activity: Activity::default(),
            prompt: Prompt::default(),
        }
    }

    /// The protocols: sockets are opened, read, written and closed here. Commands take
    /// [`Inline::now`] as their time.
    pub fn core(&mut self) -> &mut Stack {
        &mut self.core
    }

    /// The time of this turn, on the stack's own clock. It is read once a turn.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Sends what is to be sent, waits for something to do, at most for `limit` (`None`: however long
    /// it takes), and receives it. The [module](self#what-a-turn-does) has the details.
    ///
    /// # Errors
    /// `NetworkDown` when a link is gone for good; what was received before can still be read. What
    /// the system says when it cannot wait.
    pub fn turn(&mut self, limit: Option<Duration>) -> io::Result<()> {
        if let Some(ended) = &self.ended {
            return Err(ended.error());
        }
        self.activity.turns += 1;
        let sent = self.ports.transmit(&mut self.core, self.now, SEND_BUDGET);
        self.activity.sent += sent as u64;
        if sent > 0 {
            self.busy.sent(self.now);
        }
        let batch = match limit {
            Some(Duration::ZERO) => self.receive(),
            _ if self.full || self.core.has_events() => self.receive(),
            limit => self.wait(limit)?,
        };
        self.core.handle_timeout(self.now);
        self.full = batch.full;
        self.ended = batch.gone.map(Ended::LinkGone);
        if let Some(observer) = &mut self.observer {
            while let Some(event) = self.core.poll_trace() {
                observer(&event);
            }
        }
        Ok(())
    }

    /// The next thing that happened to a socket.
    pub fn next_event(&mut self) -> Option<Event> {
        self.core.poll_event()
    }

    /// When the next turn has something to do although nothing comes and the program calls nothing;
    /// `None`, when only that counts. For who waits elsewhere.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let at = if self.full || self.core.has_events() {
            self.now
        } else {
            self.ports.deadline(&self.core)
        };
        (at != Instant::FAR_FUTURE).then_some(at)
    }

    /// What the turns so far did.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// Whether the first link sends and receives several frames with one system call, does so at times,
    /// or may not. It is never an error when the system forbids it: all goes on with a call for each frame.
    #[must_use]
    pub fn batching(&self) -> Batching {
        self.ports.batching()
    }

    /// Ends the stack when its work is done: listeners are closed, connections say that nothing
    /// follows (FIN), and what was written is delivered first, within
    /// [`StackBuilder::drain`](crate::StackBuilder::drain). True when all of it was acknowledged in
    /// time. Then every connection that is left is reset.
    pub fn drain(mut self) -> bool {
        shutdown_all(&mut self.core, self.now);
        let until = self.clock().after(self.drain);
        while self.is_undelivered() {
            let left = until.since(self.clock());
            if left.is_zero() || self.turn(Some(left)).is_err() {
                return false;
            }
            while self.next_event().is_some() {}
        }
        true
    }

    fn is_undelivered(&self) -> bool {
        self.ports.is_stashing() || is_undelivered(&self.core)
    }

    /// Waits for a frame, a deadline or the end of `limit`, and receives what there is then.
    fn wait(&mut self, limit: Option<Duration>) -> io::Result<Batch> {
        let looks = !self.busy.is_on() && self.prompt.looks();
        if self.ports.expects_frames() || looks {
            // What there is to send goes out with this, too.
            let batch = self.receive();
            self.prompt.learn(batch.frames > 0);
            if batch.frames > 0 || batch.gone.is_some() {
                return Ok(batch);
            }
        }
        let deadline = self.ports.deadline(&self.core);
        if deadline <= self.now {
            return Ok(self.receive());
        }
        let mut until = deadline;
        if let Some(limit) = limit {
            until = until.min(self.clock().after(limit));
        }
        if self.busy.is_on() {
            let batch = self.poll(until);
            if batch.frames > 0 || batch.gone.is_some() || self.now >= until {
                return Ok(batch);
            }
        }
        let timeout = (until != Instant::FAR_FUTURE).then(|| until.since(self.clock()));
        self.activity.sleeps += 1;
        match self.ports.lone_descriptor() {
            Some(descriptor) => poller::wait_for(descriptor, timeout)?,
            None => self.poller.wait(timeout)?,
        };
        Ok(self.receive())
    }

    /// Asks the links again and again, until something came, or for as long as that is worth.
    fn poll(&mut self, until: Instant) -> Batch {
        let until = self.busy.poll_until(self.clock()).min(until);
        loop {
            let batch = self.receive();
            self.activity.polls += 1;
            if batch.frames > 0 || batch.gone.is_some() || self.now >= until {
                return batch;
            }
            std::hint::spin_loop();
        }
    }

    /// Begins the turn's time, and receives up to a budget.
    fn receive(&mut self) -> Batch {
        self.now = self.clock();
        let batch = self.ports.receive(&mut self.core, self.now);
        self.ports.flush(self.now);
        if batch.frames > 0 {
            self.activity.received += batch.frames as u64;
            self.busy.received(self.now);
        }
        batch
    }

    fn clock(&self) -> Instant {
        Instant::ZERO.after(self.epoch.elapsed())
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        abort_all(&mut self.core, self.now);
        self.ports.transmit(&mut self.core, self.now, usize::MAX);
        self.ports.flush(self.now);
    }
}

impl AsFd for Inline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl std::fmt::Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inline")
            .field("now", &self.now)
            .field("ended", &self.ended)
            .field("activity", &self.activity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `sleeps` begin with a look, where the next frame `is_there` or not.
    fn looks(prompt: &mut Prompt, sleeps: usize, is_there: bool) -> usize {
        let mut looks = 0;
        for _ in 0..sleeps {
            if prompt.looks() {
                looks += 1;
                prompt.learn(is_there);
            }
        }
        looks
    }

    #[test]
    fn looking_in_vain_is_given_up_and_tried_again_now_and_then() {
        let mut prompt = Prompt::default();
        assert_eq!(looks(&mut prompt, 100, true), 100);
        assert_eq!(looks(&mut prompt, 4, false), 4);
        assert_eq!(looks(&mut prompt, 1600, false), 100);
        assert!(looks(&mut prompt, 100, true) >= 84, "and what pays is noticed");
    }
}
