//! A stack with its links and waiters: what the lock protects.

use std::sync::{Arc, Weak};
use std::time::Duration;

use stack::{InterfaceId, Ready, SocketId, Stack, State, TraceEvent};
use wire::time::Instant;

use crate::activity::Activity;
use crate::busy::BusyPoll;
use crate::error::Ended;
use crate::here::Here;
use crate::poller::Poller;
use crate::port::Port;
use crate::ports::{Batch, Ports};
use crate::recording::{Recordings, Shelf};
use crate::shards::Exchange;
use crate::wait::{WaitTable, Waiters};

/// How many packets one turn of the driver sends.
const DRIVER_BUDGET: usize = 256;
/// How many packets a program's call sends itself; the driver sends the rest.
const CALL_BUDGET: usize = 64;

/// How many frames that others received one turn handles, before those of its own links.
const HANDOVER_BUDGET: usize = 64;

/// How often an abandoned stack looks whether everything was delivered.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// For how long after a turn the calls of who polls may leave what they send to its next turn. Long
/// enough to answer what one turn brings, and no time for a network.
const LONGEST_DEFERRAL: Duration = Duration::from_micros(100);
/// The same where other threads answer. They need longer, for a change of threads each; and the turn that
/// sends is only as late as the core is busy that the one who leads waits for.
const LONGEST_SHARED_DEFERRAL: Duration = Duration::from_millis(1);

/// Everything of a running stack, or of one shard of it, but its thread.
///
/// Aligned, so that it shares no line of memory with another shard's.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Engine {
    /// The protocols.
    pub(crate) stack: Stack,
    /// The links.
    pub(crate) ports: Ports,
    /// What the driver sleeps on. Here, so that its descriptors go when the stack ends.
    pub(crate) poller: Arc<Poller>,
    /// Whom to wake.
    pub(crate) waiters: WaitTable,
    /// Somebody observes the trace.
    pub(crate) traced: bool,
    /// Who records the trace besides.
    recordings: Recordings,
    /// What was recorded and the observer was not shown.
    unshown: Vec<TraceEvent>,
    /// Why nothing will come any more: what is queued can still be read, and that is all.
    pub(crate) failed: Option<Ended>,
    /// Another shard has failed, and why: the next turn of this one is the last.
    pub(crate) failing: Option<Ended>,
    /// Somebody asked the driver to end the stack.
    pub(crate) stopping: bool,
    /// That was done: its sockets are gone, and its links will be.
    pub(crate) stopped: bool,
    /// Nobody holds the stack any more: it ends when what was written is delivered, or then.
    pub(crate) abandoned: Option<Instant>,
    /// When to look next whether it is. Looking means to list all sockets.
    look_at: Instant,
    /// When the one who leads wakes by itself; `None` while nobody sleeps.
    sleeping_until: Option<Instant>,
    /// Until when was slept last.
    slept_until: Instant,
    /// Whose calls leave what they send to the next turn, until when. A turn of the driver ends it.
    deferring: Option<(Deferrers, Instant)>,
    /// How long the driver asks the links before it sleeps.
    pub(crate) busy: BusyPoll,
    pub(crate) activity: Activity,
    /// Where other shards are met, if there are others.
    pub(crate) exchange: Option<Exchange>,
}

impl Engine {
    pub(crate) fn new(
        stack: Stack,
        ports: Ports,
        poller: Arc<Poller>,
        busy: BusyPoll,
        traced: bool,
    ) -> Self {
        Self {
            stack,
            ports,
            poller,
            waiters: WaitTable::default(),
            traced,
            recordings: Recordings::default(),
            unshown: Vec::new(),
            failed: None,
            failing: None,
            stopping: false,
            stopped: false,
            abandoned: None,
            look_at: Instant::ZERO,
            sleeping_until: None,
            slept_until: Instant::ZERO,
            deferring: None,
            busy,
            activity: Activity::default(),
            exchange: None,
        }
    }

    /// The interface of the first link.
    pub(crate) fn first_interface(&self) -> Option<InterfaceId> {
        self.ports.first_interface()
    }

    /// A turn of who leads; says why when it is the last one.
    pub(crate) fn turn(&mut self, now: Instant, woken: &mut Woken) -> Option<Ended> {
        self.deferring = None;
        self.ports.let_batch(false);
        let batch = self.receive(now, woken);
        self.settle(now, DRIVER_BUDGET, woken);
        batch.gone.map(Ended::LinkGone)
    }

    /// A turn of who leads and takes another one soon. While links batch, what calls left goes out
    /// together with what is received, with one system call, and what follows from this turn goes with
    /// the next: `deferrers` are about to answer what came.
    pub(crate) fn turn_of_many(
        &mut self,
        now: Instant,
        deferrers: Deferrers,
        woken: &mut Woken,
    ) -> ManyTurn {
        self.send(now, DRIVER_BUDGET);
        self.ports.let_batch(true);
        let batch = self.receive(now, woken);
        self.ports.flush(now);
        let until = || now.after(deferrers.longest());
        self.deferring = self.ports.is_batching().then(|| (deferrers, until()));
        if self.deferring.is_some() {
            self.announce(woken);
        } else {
            self.settle(now, DRIVER_BUDGET, woken);
        }
        let more = batch.full || self.ports.expects_frames();
        let (found, defers) = (batch.frames > 0, self.deferring.is_some());
        ManyTurn { found, more, defers, gone: batch.gone.map(Ended::LinkGone) }
    }

    /// From now on calls send what they leave to send. So does the one that says this.
    pub(crate) fn defer_no_more(&mut self) {
        self.deferring = None;
    }

    /// What came, and whose time is over.
    fn receive(&mut self, now: Instant, woken: &mut Woken) -> Batch {
        self.sleeping_until = None;
        self.take_handovers(now);
        let batch = self.ports.receive(&mut self.stack, now);
        self.give_handovers(woken);
        self.stack.handle_timeout(now);
        self.activity.turns += 1;
        self.activity.received += batch.frames as u64;
        if batch.frames > 0 {
            self.busy.received(now);
        }
        self.record();
        batch
    }

    /// The end of a program's call: its consequences are sent and announced. True when the driver
    /// must be kicked.
    pub(crate) fn call_done(&mut self, now: Instant, woken: &mut Woken) -> bool {
        let deferring = self.deferring.filter(|_| !self.recordings.any());
        if deferring.is_some_and(|(who, until)| now < until && who.include_this_thread()) {
            self.announce(woken);
            return false; // Who takes that turn is not asleep.
        }
        self.settle(now, CALL_BUDGET, woken);
        self.record();
        if self.ports.is_batching() {
            self.ports.flush(now);
        }
        let late = self.sleeping_until.map(|until| (until, self.deadline()));
        let late = late.filter(|(until, deadline)| deadline < until);
        if let Some((_, deadline)) = late {
            self.sleeping_until = Some(deadline);
        }
        let late = late.is_some();
        let kick = late || self.traced;
        self.activity.kicks += u64::from(kick);
        kick
    }

    /// Somebody records the trace from now on.
    pub(crate) fn add_recording(&mut self, shelf: Weak<Shelf>) {
        self.recordings.add(shelf);
        self.stack.set_trace(true);
    }

    /// Somebody does not any more.
    pub(crate) fn remove_recording(&mut self, shelf: &Weak<Shelf>) {
        self.recordings.remove(shelf);
        self.stack.set_trace(self.traced || self.recordings.any());
    }

    /// Has what the trace has got recorded, and keeps it for the observer, if there is one.
    fn record(&mut self) {
        if !self.recordings.any() {
            return;
        }
        while let Some(event) = self.stack.poll_trace() {
            self.recordings.push(&event);
            if self.traced {
                self.unshown.push(event);
            }
        }
    }

    /// Takes what the observer is to be shown.
    pub(crate) fn take_trace(&mut self, into: &mut Vec<TraceEvent>) {
        self.record();
        into.append(&mut self.unshown);
        while let Some(event) = self.stack.poll_trace() {
            into.push(event);
        }
    }

    /// Whether turns are taken, and not by the driver alone because the stack is about to end.
    pub(crate) fn is_going_on(&self) -> bool {
        let ends = self.stopping || self.abandoned.is_some();
        self.failed.is_none() && self.failing.is_none() && !ends
    }

    /// Who leads goes to sleep: until when.
    pub(crate) fn sleep(&mut self, now: Instant) -> Instant {
        if self.deferring.take().is_some() {
            return Instant::ZERO; // Who led let go: what calls left is to be sent.
        }
        let deadline = self.deadline();
        // A deadline that was moved back or cancelled since it was slept for is left standing: the
        // next call would set one like it, and would have to wake the sleeper for that. So a
        // retransmission timer that is set with each request wakes it once in each timeout.
        if !(now < self.slept_until && self.slept_until < deadline) {
            self.slept_until = deadline;
        }
        self.sleeping_until = Some(self.slept_until);
        self.slept_until
    }

    /// When there is something to do although nobody asks for it.
    pub(crate) fn deadline(&self) -> Instant {
        let waits = self.stopping || self.exchange.as_ref().is_some_and(Exchange::has_frames);
        if waits { Instant::ZERO } else { self.ports.deadline(&self.stack) }
    }

    /// Handles a budget of the frames that came to other shards and belong here.
    pub(crate) fn take_handovers(&mut self, now: Instant) {
        let Some(exchange) = &self.exchange else { return };
        for _ in 0..HANDOVER_BUDGET {
            let Some(handover) = exchange.take() else { return };
            self.stack.handle_handover(now, handover);
        }
    }

    /// Gives the frames that belong elsewhere to their owners.
    fn give_handovers(&mut self, woken: &mut Woken) {
        let Some(exchange) = &self.exchange else { return };
        while let Some(handover) = self.stack.poll_handover() {
            let owner = handover.to;
            match exchange.give(handover) {
                Ok(()) => woken.push_owner(owner),
                Err(handover) => self.stack.handle_refused_handover(handover),
            }
        }
    }

    /// Whether an abandoned stack has something to deliver yet, and time for it.
    pub(crate) fn is_draining(&mut self, now: Instant, until: Instant) -> bool {
        if now >= self.look_at {
            self.look_at = now.after(LOOK_INTERVAL);
            if !self.is_undelivered() {
                return false;
            }
        }
        now < until
    }

    /// When [`Engine::drain`] wants to be asked again.
    pub(crate) fn look_at(&self) -> Instant {
        self.abandoned.map_or(self.look_at, |until| self.look_at.min(until))
    }

    /// Ends every connection with a reset, so that no peer waits in vain.
    pub(crate) fn abort_all(&mut self, now: Instant, woken: &mut Woken) {
        abort_all(&mut self.stack, now);
        self.stopped = true;
        self.settle(now, usize::MAX, woken);
    }

    /// Whether something that a program wrote is not acknowledged yet.
    pub(crate) fn is_undelivered(&self) -> bool {
        self.ports.is_stashing() || is_undelivered(&self.stack)
    }

    /// Lets go of the links.
    pub(crate) fn take_ports(&mut self) -> Vec<Port> {
        self.ports.take()
    }

    /// Sends what there is to send and collects whom to wake.
    fn settle(&mut self, now: Instant, budget: usize, woken: &mut Woken) {
        self.send(now, budget);
        self.announce(woken);
    }

    fn send(&mut self, now: Instant, budget: usize) {
        let sent = self.ports.transmit(&mut self.stack, now, budget);
        if sent > 0 {
            self.activity.sent += sent as u64;
            self.busy.sent(now);
        }
    }

    /// Collects whom to wake.
    fn announce(&mut self, woken: &mut Woken) {
        self.give_handovers(woken);
        while let Some(event) = self.stack.poll_event() {
            if let Some(waiters) = self.waiters.get(event.socket) {
                woken.push(waiters, event.ready);
            }
        }
    }
}

/// Whose calls leave what they send to the next turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deferrers {
    /// Those of this thread, which takes that turn when it has answered.
    Only(Here),
    /// Everybody's: the turn wakes the threads that answer, and the next one follows at once.
    All,
}

impl Deferrers {
    fn longest(self) -> Duration {
        match self {
            Self::Only(_) => LONGEST_DEFERRAL,
            Self::All => LONGEST_SHARED_DEFERRAL,
        }
    }

    fn include_this_thread(self) -> bool {
        match self {
            Self::Only(who) => who == Here::get(),
            Self::All => true,
        }
    }
}

/// What a turn came to after which another one follows soon.
pub(crate) struct ManyTurn {
    /// Frames came.
    pub(crate) found: bool,
    /// The next one can be expected to find some without waiting.
    pub(crate) more: bool,
    /// Calls leave what they send to the next one.
    pub(crate) defers: bool,
    /// It was the last one, and why.
    pub(crate) gone: Option<Ended>,
}

/// Ends every connection and listener of `stack`, with resets.
pub(crate) fn abort_all(stack: &mut Stack, now: Instant) {
    for entry in stack.sockets() {
        match entry.id {
            Some(SocketId::Listener(id)) => stack.close_listener(now, id),
            Some(SocketId::Connection(id)) => stack.abort(now, id),
            Some(SocketId::Udp(_) | SocketId::Ping(_) | SocketId::Packets) | None => {}
        }
    }
}

/// Closes every listener of `stack`, and says on every connection that nothing follows.
pub(crate) fn shutdown_all(stack: &mut Stack, now: Instant) {
    for entry in stack.sockets() {
        match entry.id {
            Some(SocketId::Listener(id)) => stack.close_listener(now, id),
            // One that is not connected has nothing to deliver.
            Some(SocketId::Connection(id)) => {
                let _ = stack.shutdown(now, id, stack::Shutdown::Write);
            }
            Some(SocketId::Udp(_) | SocketId::Ping(_) | SocketId::Packets) | None => {}
        }
    }
}

/// Whether something that the program wrote to `stack` is not acknowledged yet.
pub(crate) fn is_undelivered(stack: &Stack) -> bool {
    let waits = |entry: &stack::SocketEntry| match entry.state {
        State::FinWait1 | State::Closing | State::LastAck => true,
        State::Established | State::CloseWait => entry.id.is_none() || entry.send_queue > 0,
        _ => false,
    };
    stack.sockets().iter().any(|entry| entry.protocol == "tcp" && waits(entry))
}

/// Whom to wake once the lock is released.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    waiters: Vec<(Arc<Waiters>, Ready)>,
    /// Shards that were given frames.
    owners: Vec<u16>,
}

impl Woken {
    fn push(&mut self, waiters: &Arc<Waiters>, ready: Ready) {
        self.waiters.push((Arc::clone(waiters), ready));
    }

    fn push_owner(&mut self, owner: u16) {
        if !self.owners.contains(&owner) {
            self.owners.push(owner);
        }
    }

    /// Adds everybody who waits for anything.
    pub(crate) fn push_all(&mut self, table: &WaitTable) {
        self.waiters.extend(table.all().into_iter().map(|waiters| (waiters, Ready::all())));
    }

    /// The shards that were given frames. The list keeps its memory.
    pub(crate) fn owners(&mut self) -> impl Iterator<Item = u16> {
        self.owners.drain(..)
    }

    /// Wakes who waits for a socket, and says how many that were. The list keeps its memory.
    pub(crate) fn wake(&mut self) -> usize {
        self.waiters.drain(..).map(|(waiters, ready)| waiters.wake(ready)).sum()
    }
}
