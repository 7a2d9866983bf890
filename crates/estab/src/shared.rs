//! What the driver, the handles and the sockets of one stack share: the lock, the clock, the kick.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wire::time::Instant;

use crate::engine::{Engine, Woken};
use crate::error::Ended;

/// One stack, as all of its threads see it.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Where this stack's time starts.
    epoch: std::time::Instant,
    /// How long what was written may take to be delivered once nobody holds the stack.
    drain: Duration,
}

/// The stack, or why there is none.
#[derive(Debug)]
enum Core {
    /// There is one. Its links may be gone.
    Alive(Box<Engine>),
    /// Its memory is given back.
    Dead(Ended),
}

/// What one turn of the driver leads to.
pub(crate) enum Next {
    /// Wait until a descriptor is ready, a kick, or this time.
    Wait(Wait),
    /// That was the last turn.
    End(Ended),
}

/// How the driver waits for its next turn.
pub(crate) struct Wait {
    /// Until then it asks the descriptors without sleeping.
    pub(crate) poll_until: Instant,
    /// Then it sleeps, until this time at the latest.
    pub(crate) until: Instant,
}

/// What the driver did while it waited.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waited {
    pub(crate) polls: u64,
    pub(crate) sleeps: u64,
}

impl Shared {
    pub(crate) fn new(engine: Engine, drain: Duration) -> Self {
        let core = Mutex::new(Core::Alive(Box::new(engine)));
        Self { core, epoch: std::time::Instant::now(), drain }
    }

    /// The time on this stack's clock.
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO.after(self.epoch.elapsed())
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
            Core::Alive(engine) => engine,
            Core::Dead(ended) => return Err(ended.error()),
        };
        // Under the lock, so that the stack's time never goes back.
        let now = self.now();
        let value = f(engine, now);
        let kick = engine.call_done(now, &mut woken).then(|| Arc::clone(&engine.poller));
        drop(core);
        if let Some(poller) = kick {
            poller.kick();
        }
        woken.wake();
        Ok(value)
    }

    /// Looks, and does nothing that would be a program's call. `None` when the stack has ended.
    pub(crate) fn look<T>(&self, f: impl FnOnce(&Engine) -> T) -> Option<T> {
        match &*self.lock() {
            Core::Alive(engine) => Some(f(engine)),
            Core::Dead(_) => None,
        }
    }

    /// One turn of the driver, which `waited` for it. The trace of it and of all calls since goes to
    /// `trace`.
    pub(crate) fn turn(
        &self,
        waited: Waited,
        woken: &mut Woken,
        trace: &mut Vec<stack::TraceEvent>,
    ) -> Next {
        let mut core = self.lock();
        let engine = match &mut *core {
            Core::Alive(engine) => engine,
            Core::Dead(ended) => return Next::End(ended.clone()),
        };
        let now = self.now();
        engine.activity.polls += waited.polls;
        engine.activity.sleeps += waited.sleeps;
        let gone = engine.driver_turn(now, woken);
        if engine.stopping {
            engine.abort_all(now, woken);
        }
        while let Some(event) = engine.stack.poll_trace() {
            trace.push(event);
        }
        if engine.stopping {
            return Next::End(Ended::Stopped);
        }
        if let Some(ended) = gone {
            return Next::End(ended);
        }
        let mut until = engine.sleeping_until;
        if let Some(end) = engine.abandoned {
            match engine.drain(now, end) {
                Some(look_at) => until = until.min(look_at),
                None => return Next::End(Ended::Stopped),
            }
        }
        let poll_until =
            if engine.busy.is_on() { engine.busy.poll_until(self.now()) } else { Instant::ZERO };
        Next::Wait(Wait { poll_until: poll_until.min(until), until })
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
