//! Many sockets in one thread: who is ready?
//!
//! The sockets of [`blocking`](crate::blocking) wait for one thing each. A program with one thread, or with one
//! for each core, and thousands of sockets asks a [`Poll`] instead, which waits for all of them, as
//! epoll(7) does for the kernel's. The names and the rules are those of the crate mio.
//!
//! It is also the fastest way to serve requests with sockets that other threads may use. A thread in
//! [`Poll::poll`] carries the frames of the stack itself: what arrives is handled by the instructions
//! before its event, and no other thread is woken for it. Only a stack that one thread owns
//! ([`inline`](crate::inline)) costs less.
//!
//! # The loop
//!
//! ```
//! use std::collections::HashMap;
//! use std::io::{ErrorKind, Read, Write};
//! use estab::blocking::poll::{Events, Interest, Poll, Token};
//! use estab::blocking::{TcpListener, TcpStream};
//! # use estab::link::{PairConfig, pair};
//! # let (here, there) = pair(PairConfig::ip(1500))?;
//! # let client = estab::Stack::builder().address([10, 0, 0, 1], 24).start(here)?;
//! # let stack = estab::Stack::builder().address([10, 0, 0, 2], 24).start(there)?;
//!
//! const LISTENER: Token = Token(0);
//!
//! /// Gives back all that has come. A real server keeps what there is no room for: see the example.
//! fn echo(mut stream: &TcpStream) -> std::io::Result<()> {
//!     let mut bytes = [0; 4096];
//!     loop {
//!         match stream.read(&mut bytes)? {
//!             0 => return Err(ErrorKind::UnexpectedEof.into()),
//!             count => stream.write_all(&bytes[..count])?,
//!         }
//!     }
//! }
//!
//! let mut poll = Poll::new()?;
//! let mut events = Events::with_capacity(256);
//! let listener = TcpListener::bind(&stack, "10.0.0.2:7")?;
//! listener.set_nonblocking(true)?;
//! poll.registry().register(&listener, LISTENER, Interest::READABLE)?;
//! let mut streams = HashMap::new();
//! # let asker = std::thread::spawn(move || -> std::io::Result<()> {
//! #     let mut stream = TcpStream::connect(&client, "10.0.0.2:7")?;
//! #     stream.write_all(b"who is there?")?;
//! #     stream.read_exact(&mut [0; 13])?;
//! #     drop(stream);
//! #     client.stop_graceful(std::time::Duration::from_secs(5));
//! #     Ok(())
//! # });
//! # let mut served = 0;
//! loop {
//!     poll.poll(&mut events, None)?;
//!     for event in &events {
//!         if event.token() == LISTENER {
//!             // Until it would block: the next event comes with the next connection.
//!             while let Ok((stream, _peer)) = listener.accept() {
//!                 stream.set_nonblocking(true)?;
//!                 let token = Token(streams.len() + 1);
//!                 poll.registry().register(&stream, token, Interest::READABLE)?;
//!                 streams.insert(token, stream);
//!             }
//!         } else if let Some(stream) = streams.get(&event.token()) {
//!             match echo(stream) {
//!                 Err(error) if error.kind() == ErrorKind::WouldBlock => {}
//!                 _ => drop(streams.remove(&event.token())), // That deregisters it, too.
//!             }
//!         }
//!     }
//!     # served = served.max(streams.len());
//!     # if served == 1 && streams.is_empty() { break }
//! }
//! # asker.join().unwrap()?;
//! # stack.stop();
//! # std::io::Result::Ok(())
//! ```
//!
//! A server on a device, which keeps what it cannot write yet, is the example `poll_echo`.
//!
//! # Edges
//!
//! An event says that something *became* so, and is told once (`EPOLLET`). So
//!
//! - read, write or accept until [`WouldBlock`](std::io::ErrorKind::WouldBlock), or remember that there is
//!   more to do. A read or write of a stream that was shorter than asked for may end that as well, unless
//!   the event [says](Event::is_read_closed) that the end is near;
//! - registering tells at once what is so already, and so does [`reregister`](Registry::reregister): a
//!   connection that was accepted with its first request inside has an event in the next call;
//! - events may be stale: another thread may have read what was there. Make sockets non-blocking
//!   (`set_nonblocking`): in a call that blocks, the thread serves that socket alone.
//!
//! What happens to one source before the program looks is one event with all of it. No event costs an
//! allocation: a registered source has its place in the poll's list.
//!
//! # What can be registered
//!
//! | source | readable | writable |
//! |---|---|---|
//! | [`TcpListener`](super::TcpListener) | a connection waits | |
//! | [`TcpStream`](super::TcpStream) | bytes, the end, an error | room; the end of a [handshake](super::TcpStream::connect_nonblocking) |
//! | [`TcpFlows`](super::TcpFlows), [`UdpFlows`](super::UdpFlows) | a flow waits for a decision | |
//! | [`UdpSocket`](super::UdpSocket), [`UdpFlow`](super::UdpFlow) | a datagram, an error | room |
//! | [`Packets`](super::Packets) | a packet | room |
//! | [`Pinger`](crate::Pinger) | an answer | room |
//! | [`SourceFd`] | | |
//!
//! A [`SourceFd`] is a descriptor of the kernel: sockets, pipes, timers, another epoll. The thread sleeps
//! for all of them at once. Sockets of several stacks go into one poll, too.
//!
//! A clone (`try_clone`) is the same source. A source is deregistered when its last clone is dropped. It can
//! be registered with several polls at a time, each of which is told; threads that block in its calls,
//! and tasks, are woken besides.
//!
//! # When it is sent
//!
//! A call sends what it has to send before it returns, with one
//! exception. Where turn after turn brings several small frames and the device can
//! [batch](link::Batching), the answers to all of them go out with one system call, with the next call
//! of [`Poll::poll`] by the same thread. That holds for 0.1 ms after `poll` has returned; a later call
//! sends at once, and also what the earlier ones left. A thread that does not come back to `poll` before
//! it computes for longer says [`Poll::flush`]; without that, the stack's own thread sends it some
//! milliseconds later.
//!
//! # Threads
//!
//! A [`Poll`] belongs to the thread that calls it; [`Poll::registry`] can be [cloned](Registry::try_clone) and
//! used by others at any time, also while it sleeps, and a [`Waker`] wakes it. Several polls share a stack as
//! several threads do. Of a stack with [several shards](crate::StackBuilder::start_queues) each poll that has
//! sockets on them leads its part: one poll all of them, as many as there are shards each one.
//!
//! While a thread is not in `poll`, frames wait for it for some milliseconds; then the stack's own
//! thread carries them until it is back. Where [tasks](crate::net) use the same stack, that thread always
//! does, and wakes the poll.

mod crew;
mod event;
mod registry;
mod source;
mod waker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use event::{Event, Events, Interest, Token};
pub use registry::Registry;
pub use source::{Source, SourceFd};
pub use waker::Waker;

use crate::lead::TRUST;
use crate::shared::{Shared, lock};
use crew::{Crew, Leads, Ranks};
use registry::Inner;

/// Waits for many sources at a time. See the [module](self).
#[derive(Debug)]
pub struct Poll {
    registry: Registry,
    crew: Crew,
    /// The state of the registrations that the crew knows.
    version: usize,
    /// Whose events come first: what there is room for is shared.
    descriptors_first: bool,
}

impl Poll {
    /// A poll without sources.
    ///
    /// # Errors
    /// What the system says when it has no descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            registry: Registry::new()?,
            crew: Crew::default(),
            version: 0,
            descriptors_first: false,
        })
    }

    /// Where to register sources.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits until something happened, and tells it; at most for `timeout` (`None`: however long it takes,
    /// zero: not at all). No event means that the time is over. A signal does not end it.
    ///
    /// # Errors
    /// What the system says when it cannot wait.
    pub fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        // A timeout beyond the clock's end is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let looks = timeout == Some(Duration::ZERO)
            || self.crew.has_more()
            || self.registry.inner.list.has_some();
        if looks {
            self.crew.look_everywhere();
        }
        let mut trusts = true;
        while !self.round(events, deadline, &mut trusts)? {}
        Ok(())
    }

    /// Sends now what calls since [`poll`](Poll::poll) have left to its next call. For who does something
    /// else first that takes long; [most of the time](self#when-it-is-sent) there is nothing to send.
    pub fn flush(&mut self) {
        let (shards, mut ranks) = self.crew.split();
        ranks.stop_deferring(shards);
    }

    /// Takes the lead where it may, and carries frames and sleeps until there is something to tell or its
    /// time is over (true), or until it is to begin anew.
    ///
    /// It `trusts` that whoever else has a lead carries the frames; once only, where that is a host.
    fn round(
        &mut self,
        events: &mut Events,
        deadline: Option<Instant>,
        trusts: &mut bool,
    ) -> io::Result<bool> {
        let inner = &*self.registry.inner;
        let version = inner.version.load(Ordering::Acquire);
        if version != self.version || self.crew.has_ended() {
            self.crew.update(&mut lock(&inner.shards));
            self.version = version;
        }
        let (shards, mut ranks) = self.crew.split();
        let mut leads = ranks.take_leads(shards);
        loop {
            let again = ranks.take_turns(shards, &mut leads, &inner.list);
            let limit = left(deadline);
            let is_over = limit.is_some_and(|limit| limit.is_zero());
            // Who goes to sleep is told of descriptors by that.
            if again || is_over || inner.list.has_some() {
                self.descriptors_first = !self.descriptors_first;
                inner.collect(events, self.descriptors_first)?;
            }
            if !events.is_empty() || is_over {
                return Ok(true);
            }
            if again {
                continue;
            }
            let hosted = std::mem::take(trusts) && shards.iter().any(|s| s.lead.is_hosted());
            let soon = if hosted { Some(TRUST) } else { None };
            let limit = [limit, soon].into_iter().flatten().min();
            inner.sleep(shards, &mut ranks, &mut leads, events, limit)?;
            if !events.is_empty() {
                return Ok(true);
            }
            if hosted && !inner.list.has_some() {
                shards.iter().for_each(|shard| shard.lead.host_wakes());
            }
            if leads.is_empty() || inner.version.load(Ordering::Acquire) != version {
                return Ok(false);
            }
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.flush();
        self.registry.inner.list.close();
    }
}

impl Inner {
    /// Takes what happened, for as much of it as there is room. Descriptors are looked at first or only when
    /// no socket has anything: each look is a system call.
    fn collect(&self, events: &mut Events, descriptors_first: bool) -> io::Result<()> {
        let has_descriptors = self.has_descriptors.load(Ordering::Relaxed);
        if has_descriptors && descriptors_first {
            self.fetch(events, events.room().div_ceil(2))?;
        }
        self.list.take(events.room(), |token, ready| events.push(token, ready));
        if has_descriptors && !descriptors_first && events.is_empty() {
            self.fetch(events, events.room())?;
        }
        Ok(())
    }

    fn fetch(&self, events: &mut Events, limit: usize) -> io::Result<()> {
        events.fetch(limit, |room| self.list.own().wait_into(room, Some(Duration::ZERO)))?;
        Ok(())
    }

    /// Sleeps until something may have happened.
    fn sleep(
        &self,
        shards: &[Arc<Shared>],
        ranks: &mut Ranks<'_>,
        leads: &mut Leads<'_>,
        events: &mut Events,
        limit: Option<Duration>,
    ) -> io::Result<()> {
        let Some(waits) = ranks.prepare_waits(shards, leads) else {
            leads.clear();
            return Ok(());
        };
        let has_descriptors = self.has_descriptors.load(Ordering::Relaxed);
        if let ([led], [wait], false) = (&mut leads[..], &waits[..], has_descriptors) {
            // The links are all that there is: that is the quicker way.
            if self.list.enter(Some(&wait.poller)) {
                let slept = ranks.sleep_on_one(shards, led, wait, limit);
                self.list.leave();
                slept?;
            }
            return Ok(());
        }
        ranks.share_links(shards, leads, &self.list)?;
        if self.list.enter(None) {
            let slept = self.sleep_on_all(shards, leads, &waits, events, limit);
            self.list.leave();
            ranks.look_who_woke(shards, leads, &waits, slept?)?;
        }
        Ok(())
    }

    /// Sleeps on everything, at most for `limit`: asks for a while where that is wanted, and then sleeps.
    /// True when something came that is none of the program's.
    fn sleep_on_all(
        &self,
        shards: &[Arc<Shared>],
        leads: &Leads<'_>,
        waits: &crew::Waits,
        events: &mut Events,
        limit: Option<Duration>,
    ) -> io::Result<bool> {
        let begin = Instant::now();
        loop {
            let (mut timeout, mut polls) = (limit, false);
            for ((index, _), wait) in leads.iter().zip(waits) {
                let (left, asks) = shards[*index].left_of(wait);
                timeout = [timeout, left].into_iter().flatten().min();
                polls |= asks;
            }
            let is_over = limit.is_some_and(|limit| begin.elapsed() >= limit);
            let sleep = if polls && !is_over { Some(Duration::ZERO) } else { timeout };
            let room = events.room();
            let came = events.fetch(room, |room| self.list.own().wait_into(room, sleep))?;
            if came.any || !polls || is_over || timeout == Some(Duration::ZERO) {
                return Ok(came.internal);
            }
            std::hint::spin_loop();
        }
    }
}

fn left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}
