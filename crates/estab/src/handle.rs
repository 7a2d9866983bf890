//! The handle of a running stack.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use link::Link;
use stack::{Config, Counters, SocketEntry, State};

use crate::StackBuilder;
use crate::activity::Activity;
use crate::engine::{Engine, shutdown_all};
use crate::error::from_stack;
use crate::ping::{Pinger, Pong};
use crate::recording::Recording;
use crate::shards::{Hold, Shards, next_shard};
use crate::shared::Shared;

/// How often a graceful stop looks whether everything was delivered, and who waits for a lease whether
/// it came.
pub(crate) const DRAIN_POLL: Duration = Duration::from_millis(5);

/// How long a stop waits until an address is given back to its DHCP server.
const RELEASE_PATIENCE: Duration = Duration::from_millis(500);

/// A running stack: what `bind` and `connect` take as their first argument.
///
/// A handle is cheap to clone, and every clone and every socket keeps the stack running. It ends
///
/// - by [`stop`](Stack::stop) or [`stop_graceful`](Stack::stop_graceful), at once or nearly so;
/// - when the last handle and the last socket are dropped, in the background, as soon as what was
///   written is delivered (at most [`StackBuilder::drain`]);
/// - when a link is gone for good.
///
/// A call on a stack that has ended fails with [`io::ErrorKind::NetworkDown`].
///
/// A stack on a device with several queues ([`StackBuilder::start_queues`]) has a shard for each. Its
/// handle and its sockets are those of any other stack.
#[derive(Clone)]
pub struct Stack {
    /// One for each shard, in order.
    holds: Arc<[Arc<Hold>]>,
}

impl Stack {
    /// Begins to describe a stack.
    pub fn builder() -> StackBuilder {
        StackBuilder::new()
    }

    /// Ends the stack: every connection is reset, every call that waits fails with
    /// [`io::ErrorKind::NetworkDown`], the links are closed and the threads are gone when this
    /// returns. Calling it again does nothing.
    ///
    /// Called by the trace's observer, which runs on the stack's own threads, it only begins that.
    pub fn stop(&self) {
        if let Some(hold) = self.holds.first() {
            hold.shards().stop();
        }
    }

    /// Ends the stack when its work is done: listeners are closed, connections say that nothing
    /// follows (FIN), and what was written is delivered first, within `timeout`. True when all of
    /// it was acknowledged in time.
    ///
    /// Addresses go back to the DHCP servers that gave them. What peers send meanwhile can still be read. A peer that has not closed its own half by then
    /// is reset, behind the end of the stream. Blocks; in asynchronous code use a blocking task.
    pub fn stop_graceful(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        for shard in self.all() {
            // One that has ended has nothing to deliver any more.
            let _ = shard.call(|engine, now| shutdown_all(&mut engine.stack, now));
        }
        let delivered = loop {
            self.rely_on_no_host();
            let undelivered = self.try_each(|engine| engine.is_undelivered());
            match undelivered {
                Ok(undelivered) if !undelivered.contains(&true) => break true,
                Ok(_) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                    thread::sleep(DRAIN_POLL);
                }
                Ok(_) | Err(_) => break false,
            }
        };
        self.give_leases_back();
        self.stop();
        delivered
    }

    /// Others may have the addresses then (RFC 2131 4.4.6). A server whose hardware address is not
    /// known any more is waited for a little.
    fn give_leases_back(&self) {
        for shard in self.all() {
            // One that has ended has given back nothing, and cannot any more.
            let _ = shard.call(|engine, now| engine.stack.dhcp_stop_all(now));
        }
        let is_leaving = || {
            let leaving = self.try_each(|engine| engine.stack.is_releasing_leases());
            leaving.is_ok_and(|leaving| leaving.contains(&true))
        };
        let until = Instant::now().checked_add(RELEASE_PATIENCE);
        while is_leaving() && until.is_some_and(|until| Instant::now() < until) {
            thread::sleep(DRAIN_POLL);
        }
    }

    /// Why the stack has ended, or `None` while it runs.
    #[must_use]
    pub fn ended(&self) -> Option<io::Error> {
        self.try_each(|_| ()).err()
    }

    /// Every socket, half-open connection and TIME-WAIT, as `ss` lists them, those of the first shard
    /// first. A listener is one line, with all that waits for `accept`. Empty after the end.
    ///
    /// Ids are those of a socket's shard: another shard's may be the same.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketEntry> {
        let of_each = self.try_each(|engine| engine.stack.sockets()).unwrap_or_default();
        let mut of_each = of_each.into_iter();
        let mut entries = of_each.next().unwrap_or_default();
        for entry in of_each.flatten() {
            let is_its = |known: &&mut SocketEntry| {
                (known.state, known.local) == (State::Listen, entry.local)
            };
            let listens = entry.state == State::Listen;
            match listens.then(|| entries.iter_mut().find(is_its)).flatten() {
                Some(listener) => listener.receive_queue += entry.receive_queue,
                None => entries.push(entry),
            }
        }
        entries
    }

    /// How often each reason to send, to hold back and to drop was given, by all shards together.
    /// Zero after the end.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.shard_counters().iter().for_each(|counters| sum += counters);
        sum
    }

    /// The same for each shard; empty after the end. There is one without
    /// [`StackBuilder::start_queues`].
    ///
    /// [`Counters::handed_over`] tells how good the kernel's steering is.
    #[must_use]
    pub fn shard_counters(&self) -> Vec<Counters> {
        self.try_each(|engine| engine.stack.counters().clone()).unwrap_or_default()
    }

    /// What carrying this stack's frames has cost all shards so far. Zero after the end.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let mut sum = Activity::default();
        for shard in self.all() {
            sum += shard.look(|engine| engine.activity).unwrap_or_default();
        }
        sum
    }

    /// The time on the stack's clock, which the times in [`SocketEntry`], [`stack::TcpInfo`] and
    /// the trace are on. It starts near zero when the stack starts.
    #[must_use]
    pub fn now(&self) -> wire::time::Instant {
        self.holds[0].shared().now()
    }

    /// The limits and defaults that it was started with; with several shards, each one's part of them.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn config(&self) -> io::Result<Config> {
        self.holds[0].shared().call(|engine, _| engine.stack.config().clone())
    }

    /// Records the trace from now on: what [`StackBuilder::trace`] shows to its observer, for who comes
    /// later. Costs as much while it lasts.
    #[must_use]
    pub fn record(&self) -> Recording {
        Recording::new(self)
    }

    /// Asks `address` for an echo (RFC 792) and waits for it, at most `timeout`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let (end, _other) = link::pair(link::PairConfig::ip(1500))?;
    /// # let stack = estab::Stack::builder().start(end)?;
    /// let pong = stack.ping([127, 0, 0, 1].into(), b"hello", Duration::from_secs(5))?;
    /// assert_eq!(pong.payload, b"hello");
    /// # stack.stop();
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `TimedOut` when nothing comes, `HostUnreachable` and `NetworkUnreachable` when the network
    /// says so, `InvalidInput` when the payload is too long for one packet.
    pub fn ping(&self, address: IpAddr, payload: &[u8], timeout: Duration) -> io::Result<Pong> {
        let pinger = Pinger::open(self)?;
        pinger.send(address, 1, payload)?;
        pinger.receive(Some(timeout))
    }

    /// Reads one more queue of the device of the first link, while the stack runs. The number of shards
    /// stays: the queue is read by the one that has the fewest, and what the kernel brings there is
    /// handed to its owner.
    ///
    /// ```no_run
    /// # fn attach(stack: &estab::Stack) -> std::io::Result<()> {
    /// stack.attach_queue(estab::link::TunBuilder::new().name("tun0").open_queue()?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the queue is of another kind than the device's others, or cannot be waited
    /// for; `NetworkDown` when the stack has ended.
    pub fn attach_queue(&self, queue: impl Link + 'static) -> io::Result<()> {
        let counts = self.try_each(|engine| engine.ports.len())?;
        let fewest = (0..counts.len()).min_by_key(|&index| counts[index]).unwrap_or_default();
        self.holds[fewest].shared().call(|engine, _| {
            let poller = Arc::clone(&engine.poller);
            engine.ports.attach(Box::new(queue), &poller)
        })?
    }

    /// Closes a queue that was attached. What the kernel had put into it is lost, as on a full link.
    ///
    /// # Errors
    /// `NotFound` when there is none; `NetworkDown` when the stack has ended.
    pub fn detach_queue(&self) -> io::Result<()> {
        for shard in self.all() {
            // Closing a queue can take a while: not under the lock.
            if shard.call(|engine, _| engine.ports.detach())?.is_some() {
                return Ok(());
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "no queue was attached to this stack"))
    }

    /// This thread may be the one that runs the task which carries the frames.
    pub(crate) fn rely_on_no_host(&self) {
        self.all().for_each(|shard| shard.lead.host_wakes());
    }

    pub(crate) fn new(shards: Shards) -> Self {
        Self { holds: Hold::all(shards) }
    }

    /// One for each shard, in order.
    pub(crate) fn holds(&self) -> &[Arc<Hold>] {
        &self.holds
    }

    /// The shard with the number `owner`; without one, another each time.
    pub(crate) fn hold(&self, owner: Option<u16>) -> &Arc<Hold> {
        let count = self.holds.len();
        &self.holds[owner.map_or_else(|| next_shard(count), usize::from) % count]
    }

    /// The shards to try for something new: the one with the number `owner` alone, or all of them,
    /// beginning with another each time.
    pub(crate) fn holds_from(&self, owner: Option<u16>) -> impl Iterator<Item = &Arc<Hold>> {
        let count = self.holds.len();
        let (first, tries) = match owner {
            Some(owner) => (usize::from(owner), 1),
            None => (next_shard(count), count),
        };
        (first..first + tries).map(move |index| &self.holds[index % count])
    }

    /// Which shard a connection from `local` belongs to.
    pub(crate) fn owner_of_connection(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> io::Result<u16> {
        let ask = |engine: &mut Engine, _| engine.stack.owner_of_connection(local, remote);
        self.holds[0].shared().call(ask)?.map_err(from_stack)
    }

    /// Which shard a UDP port belongs to.
    pub(crate) fn owner_of_udp_port(&self, port: u16) -> io::Result<u16> {
        self.holds[0].shared().call(|engine, _| engine.stack.owner_of_udp_port(port))
    }

    /// Does something on each shard that still runs.
    pub(crate) fn each_engine(&self, mut f: impl FnMut(&mut Engine)) {
        for shard in self.all() {
            let _ = shard.call(|engine, _| f(engine));
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Shared> {
        self.holds.iter().map(|hold| &**hold.shared())
    }

    /// What `f` gives on each shard, in order.
    pub(crate) fn try_each<T>(&self, f: impl Fn(&mut Engine) -> T) -> io::Result<Vec<T>> {
        self.all().map(|shard| shard.call(|engine, _| f(engine))).collect()
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("shards", &self.holds.len())
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}
