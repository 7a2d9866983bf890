//! A stack with its links and waiters: what the lock protects.

use std::sync::Arc;
use std::time::Duration;

use stack::{HeaderBuf, InterfaceId, Ready, SocketId, Stack, State};
use wire::frame::FrameBuf;
use wire::time::Instant;

use crate::error::Ended;
use crate::poller::Poller;
use crate::port::{Port, Received};
use crate::wait::{WaitTable, Waiters};

/// How many frames one turn receives from one link before programs get their chance.
const RECEIVE_BUDGET: usize = 64;
/// How many packets one turn of the driver sends.
const DRIVER_BUDGET: usize = 256;
/// How many packets a program's call sends itself; the driver sends the rest.
const CALL_BUDGET: usize = 64;
/// How many frames may wait for one of several links while the others go on. With one link,
/// nothing is built while a frame waits.
const STASH_LIMIT: usize = 64;

/// How often an abandoned stack looks whether everything was delivered.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Everything of a running stack but its thread.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The protocols.
    pub(crate) stack: Stack,
    /// The links. Empty after one was lost.
    ports: Vec<Port>,
    /// What the driver sleeps on. Here, so that its descriptors go when the stack ends.
    pub(crate) poller: Arc<Poller>,
    /// Whom to wake.
    pub(crate) waiters: WaitTable,
    /// Somebody observes the trace.
    pub(crate) traced: bool,
    /// Why nothing will come any more: what is queued can still be read, and that is all.
    pub(crate) failed: Option<Ended>,
    /// Somebody asked the driver to end the stack.
    pub(crate) stopping: bool,
    /// Nobody holds the stack any more: it ends when what was written is delivered, or then.
    pub(crate) abandoned: Option<Instant>,
    /// When to look next whether it is. Looking means to list all sockets.
    look_at: Instant,
    /// When the driver wakes by itself.
    sleeping_until: Instant,
    /// There is more to send than the budget of the last turn allowed.
    more: bool,
    /// Lent to the stack for the headers of each packet.
    header: HeaderBuf,
    /// The next frame to receive into.
    idle: FrameBuf,
}

impl Engine {
    pub(crate) fn new(stack: Stack, poller: Arc<Poller>, traced: bool) -> Self {
        Self {
            stack,
            ports: Vec::new(),
            poller,
            waiters: WaitTable::default(),
            traced,
            failed: None,
            stopping: false,
            abandoned: None,
            look_at: Instant::ZERO,
            sleeping_until: Instant::ZERO,
            more: false,
            header: HeaderBuf::default(),
            idle: FrameBuf::default(),
        }
    }

    pub(crate) fn add_port(&mut self, port: Port) {
        self.ports.push(port);
    }

    /// The interface of the first link.
    pub(crate) fn first_interface(&self) -> Option<InterfaceId> {
        self.ports.first().map(|port| port.interface)
    }

    /// What the driver does with its turn; says why when it is the last one.
    pub(crate) fn driver_turn(&mut self, now: Instant, woken: &mut Woken) -> Option<Ended> {
        let gone = self.receive(now);
        self.stack.handle_timeout(now);
        self.settle(now, DRIVER_BUDGET, woken);
        self.sleeping_until = self.deadline();
        gone.map(Ended::LinkGone)
    }

    /// The end of a program's call: its consequences are sent and announced. True when the driver
    /// must be kicked.
    pub(crate) fn call_done(&mut self, now: Instant, woken: &mut Woken) -> bool {
        self.settle(now, CALL_BUDGET, woken);
        let deadline = self.deadline();
        let kick = deadline < self.sleeping_until || self.traced;
        self.sleeping_until = self.sleeping_until.min(deadline);
        kick
    }

    /// When the driver has something to do although nobody asks for it.
    pub(crate) fn deadline(&self) -> Instant {
        if self.more || self.stopping || self.ports.iter().any(Port::needs_driver) {
            return Instant::ZERO;
        }
        let links = self.ports.iter().filter_map(Port::deadline);
        links.chain(self.stack.poll_timeout()).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// When to look again whether an abandoned stack is done; `None`: it is, or its time is up.
    pub(crate) fn drain(&mut self, now: Instant, until: Instant) -> Option<Instant> {
        if now >= self.look_at {
            self.look_at = now.after(LOOK_INTERVAL);
            if !self.is_undelivered() {
                return None;
            }
        }
        (now < until).then(|| self.look_at.min(until))
    }

    /// Ends every connection with a reset, so that no peer waits in vain.
    pub(crate) fn abort_all(&mut self, now: Instant, woken: &mut Woken) {
        for entry in self.stack.sockets() {
            match entry.id {
                Some(SocketId::Listener(id)) => self.stack.close_listener(now, id),
                Some(SocketId::Connection(id)) => self.stack.abort(now, id),
                Some(SocketId::Udp(_) | SocketId::Ping(_)) | None => {}
            }
        }
        self.settle(now, usize::MAX, woken);
    }

    /// Whether something that a program wrote is not acknowledged yet.
    pub(crate) fn is_undelivered(&self) -> bool {
        let waits = |entry: &stack::SocketEntry| match entry.state {
            State::FinWait1 | State::Closing | State::LastAck => true,
            State::Established | State::CloseWait => entry.id.is_none() || entry.send_queue > 0,
            _ => false,
        };
        self.ports.iter().any(|port| port.stashed() > 0)
            || self.stack.sockets().iter().any(|entry| entry.protocol == "tcp" && waits(entry))
    }

    /// Lets go of the links.
    pub(crate) fn take_ports(&mut self) -> Vec<Port> {
        std::mem::take(&mut self.ports)
    }

    /// Receives up to a budget from each link; the reason when one is gone.
    fn receive(&mut self, now: Instant) -> Option<String> {
        for port in &mut self.ports {
            for _ in 0..RECEIVE_BUDGET {
                match port.receive(now, &mut self.idle) {
                    Received::Frame(meta) => {
                        let next = self.stack.spare_frame().unwrap_or_default();
                        let frame = std::mem::replace(&mut self.idle, next);
                        self.stack.handle_frame(now, port.interface, frame, meta);
                    }
                    Received::Nothing => break,
                    Received::Gone(why) => return Some(why),
                }
            }
        }
        None
    }

    /// Sends what there is to send and collects whom to wake.
    fn settle(&mut self, now: Instant, budget: usize, woken: &mut Woken) {
        self.transmit(now, budget);
        while let Some(event) = self.stack.poll_event() {
            if let Some(waiters) = self.waiters.get(event.socket) {
                woken.push(waiters, event.ready);
            }
        }
    }

    fn transmit(&mut self, now: Instant, budget: usize) {
        for port in &mut self.ports {
            port.flush(now);
        }
        let limit = if self.ports.len() > 1 { STASH_LIMIT } else { 1 };
        self.more = false;
        for sent in 0.. {
            if self.ports.iter().any(|port| port.stashed() >= limit) {
                return; // The driver goes on when the link is writable.
            }
            if sent >= budget {
                self.more = true;
                return;
            }
            let Some(packet) = self.stack.poll_transmit(now, &mut self.header) else {
                return;
            };
            if let Some(port) = self.ports.iter_mut().find(|p| p.interface == packet.interface) {
                port.send(now, &packet);
            }
        }
    }
}

/// Whom to wake once the lock is released.
#[derive(Debug, Default)]
pub(crate) struct Woken(Vec<(Arc<Waiters>, Ready)>);

impl Woken {
    fn push(&mut self, waiters: &Arc<Waiters>, ready: Ready) {
        self.0.push((Arc::clone(waiters), ready));
    }

    /// Adds everybody who waits for anything.
    pub(crate) fn push_all(&mut self, table: &WaitTable) {
        self.0.extend(table.all().into_iter().map(|waiters| (waiters, Ready::all())));
    }

    /// Wakes them. The list keeps its memory.
    pub(crate) fn wake(&mut self) {
        for (waiters, ready) in self.0.drain(..) {
            waiters.wake(ready);
        }
    }
}
