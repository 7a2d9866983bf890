//! The loop: calls of programs, bytes of programs, news of the stack.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use estab::{Stack, State};
use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, getrlimit, setrlimit};
use slotmap::{Key as _, KeyData};

use crate::bound::Bound;
use crate::handle::{Handle, Inbox};
use crate::held::Held;
use crate::network::Network;
use crate::notify::{Notifier, Received};
use crate::options::Options;
use crate::process::Processes;
use crate::relay::Buffers;
use crate::table::{Key, Table};
use crate::trace::Tracer;

/// How many events one look takes.
const EVENTS: usize = 256;
/// How many connections that programs left behind are remembered before it is looked which of them are
/// still there.
const MAX_LEFT: usize = 4096;
/// How often it is looked whether what programs wrote was delivered when they are gone.
const DRAIN_POLL: Duration = Duration::from_millis(5);

// What wakes the loop besides sockets, whose keys are never these (their version is odd).
const NOTIFY: u64 = 0;
const NEWS: u64 = 2;
const INBOX: u64 = 4;

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
    pub(crate) epoll: OwnedFd,
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
        let (notifier, network) = (Notifier::new(notify), Network::new(stack)?);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let level = epoll::EventFlags::IN;
        epoll::add(&epoll, &notifier, epoll::EventData::new_u64(NOTIFY), level)?;
        epoll::add(&epoll, &network, epoll::EventData::new_u64(NEWS), level)?;
        epoll::add(&epoll, &*inbox, epoll::EventData::new_u64(INBOX), level)?;
        let tracer = options.trace.take().map(|observer| Tracer::new(stack, observer));
        Ok(Self {
            notifier,
            processes: Processes::default(),
            network,
            table: Table::default(),
            bound: Bound::default(),
            held: Held::default(),
            buffers: Buffers::default(),
            tracer,
            options,
            summary: Summary::default(),
            epoll,
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
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let turn = self.turn(&mut events, None)?;
            if turn.stop || (turn.over && self.notifier.is_over()) {
                return Ok(());
            }
        }
    }

    /// Waits for something to do, at most for `limit`, and does it.
    fn turn(
        &mut self,
        events: &mut Vec<epoll::Event>,
        limit: Option<Duration>,
    ) -> io::Result<Turn> {
        let mut turn = Turn::default();
        events.clear();
        let wait = self.patience(limit).map(timespec);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for key in std::mem::take(&mut self.again) {
            self.go_on(key);
        }
        let mut calls = false;
        for event in events.iter() {
            let flags = event.flags;
            match event.data.u64() {
                NOTIFY => {
                    calls = flags.contains(epoll::EventFlags::IN);
                    turn.over = flags.contains(epoll::EventFlags::HUP);
                }
                NEWS => self.hear_news(),
                INBOX => turn.stop |= self.answer_questions(),
                key => self.pair_ready(Key::from(KeyData::from_ffi(key)), flags),
            }
        }
        // One call in a turn: what the program did before its next one is at our ends by then, and a
        // descriptor that it closed is closed.
        if calls {
            self.take_call()?;
        }
        self.give_up_expired();
        Ok(turn)
    }

    /// How long there is nothing to do by itself.
    fn patience(&self, limit: Option<Duration>) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let held = self.held.deadline().map(|until| until.saturating_duration_since(now));
        match (held, limit) {
            (Some(held), Some(limit)) => Some(held.min(limit)),
            (held, limit) => held.or(limit),
        }
    }

    fn take_call(&mut self) -> io::Result<()> {
        if let Received::Call(notification) = self.notifier.receive()? {
            self.summary.calls += 1;
            self.serve(notification);
        }
        Ok(())
    }

    fn hear_news(&mut self) {
        let mut news = Vec::new();
        self.network.take_news(&mut news);
        for key in news {
            self.stack_ready(key);
        }
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

    /// Has our end of a socket's pair watched.
    pub(crate) fn watch(&self, key: Key, ours: &impl AsFd) -> io::Result<()> {
        use epoll::EventFlags;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = epoll::EventData::new_u64(key.data().as_ffi());
        Ok(epoll::add(&self.epoll, ours, data, flags)?)
    }

    /// The programs are gone: what they wrote is delivered, and so it is told whether all of it was.
    fn drain(&mut self) -> io::Result<bool> {
        let until = Instant::now() + self.options.drain;
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            self.close_abandoned();
            if self.table.is_empty() && !self.is_undelivered() {
                return Ok(true);
            }
            if Instant::now() >= until || self.network.stack.ended().is_some() {
                return Ok(false);
            }
            if self.turn(&mut events, Some(DRAIN_POLL))?.stop {
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

/// What a turn has found besides its work.
#[derive(Debug, Default)]
struct Turn {
    stop: bool,
    /// The notifier has hung up.
    over: bool,
}

fn timespec(duration: Duration) -> Timespec {
    // Rounded up: a deadline has passed when it is looked for.
    let nanos = duration.subsec_nanos();
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(nanos),
    }
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    // It is as it was, then.
    let _ = setrlimit(Resource::Nofile, raised);
}
