//! The loop: calls of programs, bytes of programs, news of the stack.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use estab::{Stack, State};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::bound::Bound;
use crate::handle::{Handle, Inbox};
use crate::held::Held;
use crate::network::{Happened, Network};
use crate::notify::{Notifier, Received};
use crate::options::Options;
use crate::process::Processes;
use crate::relay::Buffers;
use crate::table::{Key, Table};
use crate::trace::Tracer;

/// How many connections that programs left behind are remembered before it is looked which of them are
/// still there.
const MAX_LEFT: usize = 4096;
/// How often it is looked whether what programs wrote was delivered when they are gone.
const DRAIN_POLL: Duration = Duration::from_millis(5);

/// Serves the sockets of all programs under one filter with one stack.
#[derive(Debug)]
pub struct Supervisor {
    pub(crate) notifier: Notifier,
    pub(crate) processes: Processes,
    pub(crate) network: Network,
    pub(crate) table: Table,
    /// What TCP sockets are bound to. UDP ports are taken on the stack.
    pub(crate) bound: Bound,
    pub(crate) held: Held,
    pub(crate) buffers: Buffers,
    pub(crate) tracer: Option<Tracer>,
    pub(crate) options: Options,
    pub(crate) summary: Summary,
    /// A call may wait that was not received.
    calls: bool,
    /// Every program is gone.
    over: bool,
    /// Sockets that had more to do than their share of a turn.
    pub(crate) again: Vec<Key>,
    /// Connections that programs have left to the stack.
    left: HashSet<(SocketAddr, SocketAddr)>,
    inbox: Arc<Inbox>,
    handle: Handle,
}

/// What a supervisor has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Calls that came.
    pub calls: u64,
    /// Sockets that were made, accepted ones with them.
    pub sockets: u64,
    /// Everything that programs wrote was delivered and acknowledged.
    pub delivered: bool,
}

impl Supervisor {
    /// A supervisor for the programs whose calls come on `notify`, the descriptor that
    /// [`filter::install`](crate::filter::install) gave in the child.
    ///
    /// Each socket of a program costs the supervisor a descriptor, so the limit of this process is
    /// raised as far as it may be.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended; lack of descriptors.
    pub fn new(stack: &Stack, notify: OwnedFd, mut options: Options) -> io::Result<Self> {
        if let Some(ended) = stack.ended() {
            return Err(ended);
        }
        raise_descriptor_limit();
        let (handle, inbox) = Handle::new()?;
        let notifier = Notifier::new(notify);
        let network = Network::new(stack, &notifier, &*inbox)?;
        let tracer = options.trace.take().map(|observer| Tracer::new(stack, observer));
        Ok(Self {
            notifier,
            processes: Processes::default(),
            network,
            table: Table::default(),
            bound: options.bound.clone(),
            held: Held::default(),
            buffers: Buffers::default(),
            tracer,
            options,
            summary: Summary::default(),
            calls: false,
            over: false,
            again: Vec::new(),
            left: HashSet::new(),
            inbox,
            handle,
        })
    }

    /// For other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves calls until no program is left, and what they wrote is delivered or
    /// [`Options::drain`] is over; or until [`Handle::stop`].
    ///
    /// # Errors
    /// When the kernel gives no calls any more.
    pub fn run(mut self) -> io::Result<Summary> {
        let served = self.serve_all();
        self.inbox.close();
        served?;
        self.summary.delivered = self.drain()?;
        Ok(self.summary)
    }

    fn serve_all(&mut self) -> io::Result<()> {
        let mut happened = Vec::new();
        loop {
            if self.turn(&mut happened, None)? || self.over {
                return Ok(());
            }
        }
    }

    /// Waits for something to do, at most for `limit`, and does it. True when somebody said stop.
    fn turn(&mut self, happened: &mut Vec<Happened>, limit: Option<Duration>) -> io::Result<bool> {
        let limit = self.patience(limit);
        self.network.wait(limit, happened)?;
        for key in std::mem::take(&mut self.again) {
            self.go_on(key);
        }
        let mut stop = false;
        for event in happened.drain(..) {
            match event {
                // The kernel counts the calls that came, and those received: with an event of one there is
                // always one to receive, though its caller may be gone.
                Happened::Notified => self.calls = true,
                Happened::CallersGone => self.look_for_calls(),
                Happened::Asked => stop |= self.answer_questions(),
                Happened::OnStack(key, failed) => {
                    self.stack_ready(key);
                    if failed {
                        self.failed_behind_the_end(key);
                    }
                }
                Happened::AtPair(key, edges) => self.pair_ready(key, edges),
            }
        }
        // One call in a turn: what the program did before its next one is at our ends by then, and a
        // descriptor that it closed is closed.
        if self.calls {
            self.take_call()?;
            self.look_for_calls();
        }
        self.give_up_expired();
        Ok(stop)
    }

    /// How long there is nothing to do by itself.
    fn patience(&self, limit: Option<Duration>) -> Option<Duration> {
        if self.calls || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let held = self.held.deadline().map(|until| until.saturating_duration_since(now));
        match (held, limit) {
            (Some(held), Some(limit)) => Some(held.min(limit)),
            (held, limit) => held.or(limit),
        }
    }

    fn look_for_calls(&mut self) {
        let look = self.notifier.look();
        (self.calls, self.over) = (look.call, look.over && !look.call);
    }

    fn take_call(&mut self) -> io::Result<()> {
        if let Received::Call(notification) = self.notifier.receive()? {
            self.summary.calls += 1;
            self.serve(notification);
        }
        Ok(())
    }

    /// Answers other threads; true when the loop is to end.
    fn answer_questions(&mut self) -> bool {
        let questions = self.inbox.take();
        if !questions.lists.is_empty() {
            let list = self.list_sockets();
            for asker in questions.lists {
                // Who does not wait any more does not hear it.
                let _ = asker.send(list.clone());
            }
        }
        questions.stop
    }

    /// The programs are gone: what they wrote is delivered, and so it is told whether all of it was.
    fn drain(&mut self) -> io::Result<bool> {
        let until = Instant::now() + self.options.drain;
        let mut happened = Vec::new();
        loop {
            self.close_abandoned();
            if self.table.is_empty() && !self.is_undelivered() {
                return Ok(true);
            }
            if Instant::now() >= until || self.network.stack.ended().is_some() {
                return Ok(false);
            }
            if self.turn(&mut happened, Some(DRAIN_POLL))? {
                return Ok(false);
            }
        }
    }

    /// Whether one of the connections that programs left behind has something to deliver yet.
    fn is_undelivered(&mut self) -> bool {
        self.forget_delivered();
        !self.left.is_empty()
    }

    /// Remembers a connection that a program leaves to the stack.
    pub(crate) fn leave(&mut self, flow: Option<(SocketAddr, SocketAddr)>) {
        self.left.extend(flow);
        if self.left.len() > MAX_LEFT {
            self.forget_delivered();
        }
    }

    fn forget_delivered(&mut self) {
        use State::{CloseWait, Closing, Established, FinWait1, LastAck};
        let waits = |state| matches!(state, Established | CloseWait | FinWait1 | Closing | LastAck);
        let known = std::mem::take(&mut self.left);
        let entries = self.network.stack.sockets();
        let waiting = entries.iter().filter(|entry| waits(entry.state));
        let flows = waiting.map(|entry| (entry.local, entry.remote));
        self.left = flows.filter(|flow| known.contains(flow)).collect();
    }
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    // It is as it was, then.
    let _ = setrlimit(Resource::Nofile, raised);
}
