//! What the driver, the handles and the sockets of one stack share: the lock, the clock, the kick.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use wire::time::Instant;

use crate::engine::{Deferrers, Engine, ManyTurn, Woken};
use crate::error::Ended;
use crate::here::Here;
use crate::lead::{Lead, Turner};
use crate::owned::FramePool;
use crate::poller::Poller;
use crate::ready::ReadyList;
use crate::seats::Seats;
use crate::shards::Exchange;

/// How often in a row a thread looks for frames that others hand over meanwhile. What comes then is
/// for the next turn.
const HANDOVER_ROUNDS: usize = 4;

/// One stack, or one shard of it, as all threads see it.
///
/// Aligned, so that it shares no line of memory with another shard's.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Who takes the turns.
    pub(crate) lead: Lead,
    /// The polls that may.
    pub(crate) seats: Seats,
    /// Buffers of frames that programs have dropped.
    frames: Arc<FramePool>,
    /// Where this stack's time starts.
    epoch: std::time::Instant,
    /// How long what was written may take to be delivered once nobody holds the stack.
    drain: Duration,
    /// Where other shards are met, if there are others.
    exchange: Option<Exchange>,
    /// All of them.
    all: OnceLock<Weak<[Arc<Shared>]>>,
}

/// The stack, or why there is none.
#[derive(Debug)]
enum Core {
    /// There is one. Its links may be gone.
    Alive(Box<Engine>),
    /// Its memory is given back.
    Dead(Ended),
}

/// What a turn of the driver leads to.
pub(crate) enum Next {
    /// The next one.
    Go,
    /// That was the last turn.
    End(Ended),
}

/// How to wait for the next turn.
pub(crate) struct Wait {
    pub(crate) poller: Arc<Poller>,
    /// Until then the descriptors are asked without sleeping.
    poll_until: Instant,
    /// Until then it is slept, at the latest.
    pub(crate) until: Instant,
}

/// What was done while waiting.
#[derive(Debug, Default)]
pub(crate) struct Waited {
    polls: u64,
    sleeps: u64,
}

impl Shared {
    /// All shards of a stack have one `epoch`.
    pub(crate) fn new(engine: Engine, epoch: std::time::Instant, drain: Duration) -> Self {
        // The trace is shown by the driver, so only it takes turns that have one.
        let lead = Lead::new(engine.traced);
        let exchange = engine.exchange.clone();
        let seats = Seats::new(exchange.as_ref().map(Exchange::number));
        let core = Mutex::new(Core::Alive(Box::new(engine)));
        let (frames, all) = (Arc::default(), OnceLock::new());
        Self { core, lead, seats, frames, epoch, drain, exchange, all }
    }

    /// Makes the shards of a stack known to each other.
    pub(crate) fn introduce(all: &Arc<[Arc<Shared>]>) {
        for shard in all.iter() {
            // Nobody else sets it.
            let _ = shard.all.set(Arc::downgrade(all));
        }
    }

    /// The time on this stack's clock.
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO.after(self.epoch.elapsed())
    }

    /// Where frames go that programs have dropped.
    pub(crate) fn frames(&self) -> &Arc<FramePool> {
        &self.frames
    }

    /// Carries a program's call out, sends what follows from it, and wakes whom it concerns.
    ///
    /// # Errors
    /// When the stack has ended.
    pub(crate) fn call<T>(&self, f: impl FnOnce(&mut Engine, Instant) -> T) -> std::io::Result<T> {
        self.enter(|engine, now| match &engine.failed {
            Some(ended) => Err(ended.error()),
            None => Ok(f(engine, now)),
        })?
    }

    /// The same, also while only what was received before the links were lost is left.
    pub(crate) fn enter<T>(&self, f: impl FnOnce(&mut Engine, Instant) -> T) -> std::io::Result<T> {
        let mut woken = Woken::default();
        let mut core = self.lock();
        let engine = match &mut *core {
            Core::Alive(engine) if engine.stopped => return Err(Ended::Stopped.error()),
            Core::Alive(engine) => engine,
            Core::Dead(ended) => return Err(ended.error()),
        };
        self.begin_work();
        // Under the lock, so that the stack's time never goes back.
        let now = self.now();
        let value = f(engine, now);
        let kick = engine.call_done(now, &mut woken).then(|| Arc::clone(&engine.poller));
        drop(core);
        if let Some(poller) = kick {
            poller.kick();
        }
        self.end_work(&mut woken);
        woken.wake();
        Ok(value)
    }

    /// Under the lock: who hands a frame over from here on leaves it to us.
    fn begin_work(&self) {
        if let Some(exchange) = &self.exchange {
            exchange.begin_work();
        }
    }

    /// Behind the lock: handles what was handed over meanwhile, and hands over what belongs elsewhere.
    fn end_work(&self, woken: &mut Woken) {
        let Some(exchange) = &self.exchange else { return };
        if exchange.end_work() {
            self.handle_handovers(exchange);
        }
        self.serve_owners(exchange, woken);
    }

    /// Handles, in this thread, the frames that were given to other shards, as a program's call would.
    /// A shard that is at work does that itself before it is done.
    fn serve_owners(&self, exchange: &Exchange, woken: &mut Woken) {
        for owner in woken.owners() {
            let Some(all) = self.all.get().and_then(Weak::upgrade) else { continue };
            let shard = all.get(usize::from(owner)).filter(|_| !exchange.is_at_work(owner));
            if let Some((shard, exchange)) = shard.and_then(|s| Some((s, s.exchange.as_ref()?))) {
                shard.handle_handovers(exchange);
            }
        }
    }

    fn handle_handovers(&self, exchange: &Exchange) {
        for _ in 0..HANDOVER_ROUNDS {
            let mut woken = Woken::default();
            let mut core = self.lock();
            let Core::Alive(engine) = &mut *core else { return };
            exchange.begin_work();
            let now = self.now();
            engine.take_handovers(now);
            let kick = engine.call_done(now, &mut woken).then(|| Arc::clone(&engine.poller));
            drop(core);
            if let Some(poller) = kick {
                poller.kick();
            }
            let more = exchange.end_work();
            self.serve_owners(exchange, &mut woken);
            woken.wake();
            if !more {
                return;
            }
        }
    }

    /// Looks, and does nothing that would be a program's call. `None` when the stack has ended.
    pub(crate) fn look<T>(&self, f: impl FnOnce(&Engine) -> T) -> Option<T> {
        match &*self.lock() {
            Core::Alive(engine) => Some(f(engine)),
            Core::Dead(_) => None,
        }
    }

    /// One turn of the driver. The trace of it and of all calls since goes to the turner.
    pub(crate) fn turn(&self, turner: &mut Turner) -> Next {
        let next = self.turn_under_lock(turner);
        self.end_work(&mut turner.woken);
        next
    }

    fn turn_under_lock(&self, turner: &mut Turner) -> Next {
        let mut core = self.lock();
        let engine = match &mut *core {
            Core::Alive(engine) => engine,
            Core::Dead(ended) => return Next::End(ended.clone()),
        };
        if let Some(ended) = &engine.failed {
            return Next::End(ended.clone()); // A thread that led has lost the link.
        }
        self.begin_work();
        let now = self.now();
        let gone = self.take_turn(engine, now, turner);
        if engine.stopping {
            engine.abort_all(now, &mut turner.woken);
        }
        engine.take_trace(&mut turner.trace);
        let drained = engine.abandoned.is_some_and(|until| !engine.is_draining(now, until));
        match gone {
            _ if engine.stopping || drained => Next::End(Ended::Stopped),
            Some(ended) => Next::End(ended),
            None => engine.failing.take().map_or(Next::Go, Next::End),
        }
    }

    /// One turn of a thread that waits for a socket. `None`: what is left to do is the driver's.
    pub(crate) fn turn_of_blocked(&self, turner: &mut Turner) -> Option<ManyTurn> {
        self.turn_of_many(turner, Deferrers::All)
    }

    /// One turn of a thread that polls. `None`: what is left to do is the driver's.
    pub(crate) fn turn_of_poll(&self, turner: &mut Turner) -> Option<ManyTurn> {
        self.turn_of_many(turner, Deferrers::Only(Here::get()))
    }

    fn turn_of_many(&self, turner: &mut Turner, deferrers: Deferrers) -> Option<ManyTurn> {
        let turn = match &mut *self.lock() {
            Core::Alive(engine) if engine.is_going_on() => {
                self.begin_work();
                let now = self.now();
                self.begin_turn(engine, turner);
                engine.turn_of_many(now, deferrers, &mut turner.woken)
            }
            Core::Alive(_) | Core::Dead(_) => return None,
        };
        self.end_work(&mut turner.woken);
        Some(turn)
    }

    /// What calls have left to the next turn is sent now.
    pub(crate) fn send_deferred(&self) {
        // On a stack that ended there is nothing to send.
        let _ = self.enter(|engine, _| engine.defer_no_more());
    }

    fn take_turn(&self, engine: &mut Engine, now: Instant, turner: &mut Turner) -> Option<Ended> {
        self.begin_turn(engine, turner);
        engine.turn(now, &mut turner.woken)
    }

    fn begin_turn(&self, engine: &mut Engine, turner: &mut Turner) {
        let waited = std::mem::take(&mut turner.waited);
        engine.activity.polls += waited.polls;
        engine.activity.sleeps += waited.sleeps;
        self.frames.empty_into(&mut engine.stack);
    }

    /// How to wait for the next turn. Calls know then that somebody sleeps.
    pub(crate) fn prepare_wait(&self) -> Option<Wait> {
        let mut core = self.lock();
        let Core::Alive(engine) = &mut *core else { return None };
        let now = self.now();
        let mut until = engine.sleep(now);
        if engine.abandoned.is_some() {
            until = until.min(engine.look_at());
        }
        let poll_until =
            if engine.busy.is_on() { engine.busy.poll_until(now) } else { Instant::ZERO };
        Some(Wait { poller: Arc::clone(&engine.poller), poll_until: poll_until.min(until), until })
    }

    /// Waits for something to do, at most for `limit`: asks for a while, and then sleeps.
    pub(crate) fn wait(&self, wait: &Wait, limit: Option<Duration>) -> std::io::Result<Waited> {
        let mut waited = Waited::default();
        let until = match limit {
            Some(limit) => wait.until.min(self.now().after(limit)),
            None => wait.until,
        };
        if wait.poll_until > Instant::ZERO {
            while self.now() < wait.poll_until.min(until) {
                waited.polls += 1;
                if wait.poller.wait(Some(Duration::ZERO))? {
                    return Ok(waited);
                }
                std::hint::spin_loop();
            }
        }
        waited.sleeps += 1;
        wait.poller.wait(self.until(until))?;
        Ok(waited)
    }

    /// How long this wait may take, and whether the links are to be asked meanwhile instead of sleeping.
    pub(crate) fn left_of(&self, wait: &Wait) -> (Option<Duration>, bool) {
        let polls = wait.poll_until > Instant::ZERO && self.now() < wait.poll_until;
        (self.until(wait.until), polls)
    }

    /// Has the poll of `list` wait for what wakes who leads, or no more.
    pub(crate) fn share_with(&self, list: &Arc<ReadyList>, on: bool) -> std::io::Result<()> {
        match &mut *self.lock() {
            Core::Alive(engine) => {
                list.own().share_kicks(&engine.poller, on)?;
                engine.ports.share_with(list, on)
            }
            // With the stack its descriptors are gone.
            Core::Dead(_) => Ok(()),
        }
    }

    /// Asks the driver for its last turn. A stack that the driver has left already ends here.
    pub(crate) fn request_stop(&self) {
        let mut core = self.lock();
        let Core::Alive(engine) = &mut *core else { return };
        if engine.failed.is_some() {
            drop(core);
            self.end(Ended::Stopped);
        } else {
            engine.stopping = true;
            engine.poller.kick();
            drop(core);
            self.lead.hurry();
        }
    }

    /// Another shard has failed, and so the driver's next turn is the last one here, too.
    pub(crate) fn fail(&self, why: &Ended) {
        let mut core = self.lock();
        let Core::Alive(engine) = &mut *core else { return };
        if engine.failed.is_none() {
            engine.failing = Some(why.clone());
            engine.poller.kick();
            drop(core);
            self.lead.hurry();
        }
    }

    /// Nobody holds the stack any more: it ends when what was written is delivered.
    pub(crate) fn abandon(&self) {
        let until = self.now().after(self.drain);
        if let Core::Alive(engine) = &mut *self.lock() {
            engine.abandoned = Some(until);
            engine.poller.kick();
        }
    }

    /// The driver is done: everybody who waits learns it, and the links are closed.
    pub(crate) fn end(&self, why: Ended) {
        let mut woken = Woken::default();
        let mut core = self.lock();
        let rest = match &mut *core {
            Core::Dead(_) => return,
            Core::Alive(engine) => {
                woken.push_all(&engine.waiters);
                if matches!(why, Ended::LinkGone(_)) {
                    // What was received can still be read.
                    engine.failed = Some(why);
                    (engine.take_ports(), None)
                } else {
                    let ports = engine.take_ports();
                    (ports, Some(std::mem::replace(&mut *core, Core::Dead(why))))
                }
            }
        };
        drop(core);
        // Closing a device can take a while: not under the lock.
        drop(rest);
        woken.wake();
    }

    /// A panic under the lock leaves a stack that nobody can trust: it ends.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(|poisoned| {
            self.core.clear_poison();
            let mut core = poisoned.into_inner();
            if let Core::Alive(engine) = &*core {
                let mut woken = Woken::default();
                woken.push_all(&engine.waiters);
                *core = Core::Dead(Ended::Panicked);
                woken.wake();
            }
            core
        })
    }

    /// How long to sleep until `deadline`: none means for ever, zero not at all.
    pub(crate) fn until(&self, deadline: Instant) -> Option<Duration> {
        (deadline != Instant::FAR_FUTURE).then(|| deadline.since(self.now()))
    }
}

/// Locks something that a panic cannot leave half-done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
