//! One stack, one link and a virtual clock, between packetdrill's two threads.
//!
//! The first thread runs the script and lets time pass. The second makes the calls that block.
//! When something changed, the first waits until the second has tried its call again, and, when
//! the call is over, until it has looked at the clock: packetdrill does that first.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use stack::{Config, HeaderBuf, InterfaceId, SocketId, Stack};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::time::{Duration, Instant};

use crate::epoll::Activity;
use crate::sockets::Sockets;

/// What the clock says when the library is loaded: some day, not the first of 1970.
const ORIGIN: Instant = Instant::from_millis(1_700_000_000_000);

/// How long the second thread may take, in real time, before it is taken for gone.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// How far time goes when packetdrill waits for a packet: longer than any timer of the stack.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How often the stack may want to be called while time stands still.
const MAX_TURNS: u32 = 10_000;

/// What a call came to.
pub(crate) enum Outcome<T> {
    /// It is over.
    Over(Result<T, i32>),
    /// It waits, until this moment if there is one.
    Blocks(Option<Instant>),
}

/// Everything, for both threads.
pub(crate) struct Witness {
    world: Mutex<World>,
    /// Something changed: try your call again.
    changed: Condvar,
    /// The call was tried again; the clock was looked at.
    settled: Condvar,
}

/// What both threads work on, one at a time.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) now: Instant,
    pub(crate) sockets: Sockets,
    pub(crate) defaults: Config,
    pub(crate) activity: BTreeMap<SocketId, Activity>,
    interface: InterfaceId,
    left: VecDeque<(Instant, Vec<u8>)>,
    /// The thread that runs the script.
    first: ThreadId,
    /// When the call that waits stops waiting by itself; `None` while none waits.
    waiting: Option<Option<Instant>>,
    changes: u64,
    seen: u64,
    /// A call of this thread is over, and it has not looked at the clock yet.
    owes_look: Option<ThreadId>,
}

impl Witness {
    /// A world with the settings of `--so_flags`.
    pub(crate) fn new(flags: &str) -> Result<Self, String> {
        let mut config = sim::script::settings::defaults();
        let (mut mtu, mut local) = (1500, Ipv4Addr::new(192, 168, 0, 1));
        for setting in flags.split(',').filter(|setting| !setting.is_empty()) {
            let (name, value) =
                setting.split_once('=').ok_or_else(|| format!("{setting}: not NAME=VALUE"))?;
            let wrong = || format!("{setting}: this value makes no sense");
            match name {
                "mtu" => mtu = value.parse().map_err(|_| wrong())?,
                "local" => local = value.parse().map_err(|_| wrong())?,
                _ => sim::script::settings::configure(&mut config, name, value)?,
            }
        }
        let mut stack = Stack::new(config.clone(), [42; 32]);
        let capabilities =
            Capabilities { medium: Medium::Ip, mtu, checksum: false, segmentation: false };
        let interface = stack.add_interface(capabilities);
        // The remote host is beyond the gateway, whoever it is.
        let [a, b, ..] = local.octets();
        let gateway = Ipv4Addr::new(a, b, 255, 254);
        stack
            .add_address(interface, local.into(), 16)
            .and_then(|()| stack.set_gateway(interface, gateway.into()))
            .map_err(|error| error.to_string())?;
        let world = World {
            stack,
            now: ORIGIN,
            sockets: Sockets::default(),
            defaults: config,
            activity: BTreeMap::new(),
            interface,
            left: VecDeque::new(),
            first: thread::current().id(),
            waiting: None,
            changes: 0,
            seen: 0,
            owes_look: None,
        };
        let (changed, settled) = (Condvar::new(), Condvar::new());
        Ok(Self { world: Mutex::new(world), changed, settled })
    }

    /// Makes a call, and again whenever something changed while it blocks.
    pub(crate) fn call<T>(
        &self,
        mut attempt: impl FnMut(&mut World) -> Outcome<T>,
    ) -> Result<T, i32> {
        let mut world = self.lock();
        let me = thread::current().id();
        let mut waited = false;
        let result = loop {
            let outcome = attempt(&mut world);
            world.drain();
            let until = match outcome {
                Outcome::Over(result) => break result,
                Outcome::Blocks(until) => until,
            };
            if me == world.first {
                // Nobody else lets time pass.
                let limit = until.unwrap_or(world.now.after(LONGEST_WAIT));
                if !world.step(limit) {
                    match until {
                        Some(until) if until > world.now => world.now = until,
                        _ => break Err(libc::EDEADLK),
                    }
                }
                continue;
            }
            waited = true;
            world.waiting = Some(until);
            world.seen = world.changes;
            self.settled.notify_all();
            let seen = world.changes;
            world = self
                .changed
                .wait_while(world, |world| world.changes == seen)
                .unwrap_or_else(PoisonError::into_inner);
        };
        world.waiting = None;
        world.seen = world.changes;
        if waited {
            world.owes_look = Some(me);
        }
        self.settled.notify_all();
        result
    }

    /// The clock, in microseconds.
    pub(crate) fn look_at_clock(&self) -> u64 {
        let mut world = self.lock();
        if world.owes_look == Some(thread::current().id()) {
            world.owes_look = None;
            self.settled.notify_all();
            return world.now.as_micros();
        }
        let next = world.now.after(Duration::from_micros(1));
        world = self.pass(world, next);
        world.now.as_micros()
    }

    /// Lets time pass.
    pub(crate) fn sleep(&self, duration: Duration) {
        let world = self.lock();
        let until = world.now.after(duration);
        drop(self.pass(world, until));
    }

    /// A packet for the stack.
    pub(crate) fn inject(&self, packet: Vec<u8>) {
        let mut world = self.lock();
        let (now, interface) = (world.now, world.interface);
        world.stack.handle_frame(now, interface, FrameBuf::from(packet), ReceiveMeta::default());
        world.drain();
        drop(self.settle(world));
    }

    /// The next packet of the stack, and when it left; `None` when none can ever come.
    pub(crate) fn next_packet(&self) -> Option<(Instant, Vec<u8>)> {
        let mut world = self.lock();
        let limit = world.now.after(LONGEST_WAIT);
        loop {
            if let Some(found) = world.left.pop_front() {
                return Some(found);
            }
            if !world.step(limit) {
                return None;
            }
            world = self.settle(world);
        }
    }

    /// Lets time pass until `until`, every timer at its own time.
    fn pass<'a>(
        &'a self,
        mut world: MutexGuard<'a, World>,
        until: Instant,
    ) -> MutexGuard<'a, World> {
        while world.step(until) {
            world = self.settle(world);
        }
        world.now = world.now.max(until);
        world
    }

    /// Waits until the thread that blocks has seen what happened.
    fn settle<'a>(&'a self, mut world: MutexGuard<'a, World>) -> MutexGuard<'a, World> {
        if world.waiting.is_none() {
            return world;
        }
        world.changes += 1;
        self.changed.notify_all();
        let unsettled =
            |world: &mut World| world.seen != world.changes || world.owes_look.is_some();
        let waited = self.settled.wait_timeout_while(world, PATIENCE, unsettled);
        let (mut world, _) = waited.unwrap_or_else(PoisonError::into_inner);
        world.owes_look = None;
        world
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Lets time pass to the next timer, of the stack or of a call that waits, unless it is later
    /// than `limit`.
    fn step(&mut self, limit: Instant) -> bool {
        let of_call = self.waiting.flatten().filter(|until| *until > self.now);
        let next = [self.stack.poll_timeout(), of_call].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= limit) else { return false };
        self.now = self.now.max(next);
        let mut turns = 0;
        while turns < MAX_TURNS && self.stack.poll_timeout().is_some_and(|next| next <= self.now) {
            turns += 1;
            self.stack.handle_timeout(self.now);
            self.drain();
        }
        turns < MAX_TURNS
    }

    /// Takes what the stack wants to send, and what it announces.
    fn drain(&mut self) {
        let mut header = HeaderBuf::default();
        while let Some(packet) = self.stack.poll_transmit(self.now, &mut header) {
            self.left.push_back((self.now, packet.to_frame().to_vec()));
        }
        while let Some(event) = self.stack.poll_event() {
            self.activity.entry(event.socket).or_default().note(event.ready);
        }
    }
}
