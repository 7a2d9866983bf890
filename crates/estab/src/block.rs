//! Threads that wait: for their turn to come, or by taking the turns.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::lead::{Leading, TRUST};
use crate::poller::Poller;
use crate::shared::{Shared, lock};

/// Calls `poll` until it is ready, with a waker that ends this thread's wait; `None` when `timeout`
/// passed first. It is asked at least once. Meanwhile this thread sleeps, or carries the frames.
pub(crate) fn block_on<T>(
    shared: &Shared,
    timeout: Option<Duration>,
    mut poll: impl FnMut(&Waker) -> Poll<T>,
) -> Option<T> {
    with_sleeper(|sleeper, waker| {
        sleeper.begin();
        if let Poll::Ready(value) = poll(waker) {
            return Some(value);
        }
        let _blocked = shared.lead.block();
        // A timeout beyond the clock's end is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut trusts = shared.lead.is_hosted();
        loop {
            let looks_again = match shared.lead.take() {
                Some(leading) => lead(shared, leading, sleeper, deadline),
                None => false,
            };
            if !looks_again && std::mem::take(&mut trusts) {
                trusts = trust_host(shared, sleeper, deadline);
            } else if !looks_again {
                sleeper.sleep(deadline);
            }
            sleeper.begin();
            if let Poll::Ready(value) = poll(waker) {
                return Some(value);
            }
            if left(deadline).is_some_and(|left| left.is_zero()) {
                return None;
            }
        }
    })
}

/// Takes turns until this thread is woken or its time is over, or until another is to go on. False:
/// that is a thread that was woken, and this one has nothing to look at.
fn lead(
    shared: &Shared,
    mut leading: Leading<'_>,
    sleeper: &Sleeper,
    deadline: Option<Instant>,
) -> bool {
    loop {
        let Some(turn) = shared.turn_of_blocked(&mut leading.turner) else { return true };
        let woken = leading.turner.woken.wake();
        if let Some(why) = turn.gone {
            shared.end(why);
            return true;
        }
        let limit = left(deadline);
        // One thread was woken, and waits again soon: it shall take its turns itself, or each of them
        // costs a change of threads. Several share what one turn brings them.
        let rests = woken == 1 && leading.may_rest();
        let looks = sleeper.is_woken() || limit.is_some_and(|limit| limit.is_zero());
        if turn.found && turn.more && !rests && !looks {
            continue;
        }
        if turn.defers {
            shared.send_deferred();
        }
        if rests || looks {
            return looks;
        }
        let Some(wait) = shared.prepare_wait() else { return true };
        if !sleeper.enter(&wait.poller) {
            return true;
        }
        let waited = shared.wait(&wait, limit);
        let woken = !sleeper.leave();
        match waited {
            Ok(waited) => leading.turner.waited = waited,
            // The driver will find the same, and end the stack.
            Err(_) => return true,
        }
        if woken {
            return true;
        }
    }
}

/// Sleeps while the task that has the lead can be expected to take its turns. True when this thread was
/// woken; else the driver is called, and this thread looks, and sleeps again.
fn trust_host(shared: &Shared, sleeper: &Sleeper, deadline: Option<Instant>) -> bool {
    let soon = Instant::now() + TRUST;
    sleeper.sleep(Some(deadline.map_or(soon, |deadline| deadline.min(soon))));
    let woken = sleeper.is_woken();
    if !woken {
        shared.lead.host_wakes();
    }
    woken
}

fn left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// How one thread sleeps, and is woken from wherever it does.
struct Sleeper {
    thread: Thread,
    state: Mutex<State>,
}

enum State {
    /// Not woken since it began to look.
    Awake,
    Woken,
    /// Asleep on the links of a stack.
    Leading(Arc<Poller>),
}

impl Sleeper {
    /// What was before does not count any more.
    fn begin(&self) {
        *lock(&self.state) = State::Awake;
    }

    fn is_woken(&self) -> bool {
        matches!(*lock(&self.state), State::Woken)
    }

    /// Goes to sleep on the links; false when it was woken before.
    fn enter(&self, poller: &Arc<Poller>) -> bool {
        let mut state = lock(&self.state);
        let awake = matches!(*state, State::Awake);
        if awake {
            *state = State::Leading(Arc::clone(poller));
        }
        awake
    }

    /// Sleeps there no more; false when it was woken meanwhile.
    fn leave(&self) -> bool {
        let mut state = lock(&self.state);
        let asleep = matches!(*state, State::Leading(_));
        if asleep {
            *state = State::Awake;
        }
        asleep
    }

    /// Sleeps until it is woken or the time is over. It may wake without a reason.
    fn sleep(&self, deadline: Option<Instant>) {
        if self.is_woken() {
            return; // By itself: that needs no unparking.
        }
        match left(deadline) {
            None => thread::park(),
            Some(left) => thread::park_timeout(left),
        }
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let before = std::mem::replace(&mut *lock(&self.state), State::Woken);
        match before {
            State::Leading(poller) => poller.kick(),
            // To itself, in its own turn: it looks before it sleeps.
            _ if self.thread.id() == thread::current().id() => {}
            State::Awake | State::Woken => self.thread.unpark(),
        }
    }
}

/// Lends the calling thread's sleeper and its waker, which are made once per thread.
fn with_sleeper<T>(f: impl FnOnce(&Arc<Sleeper>, &Waker) -> T) -> T {
    thread_local! {
        static SLEEPER: OnceCell<(Arc<Sleeper>, Waker)> = const { OnceCell::new() };
    }
    let make = || {
        let state = Mutex::new(State::Awake);
        let sleeper = Arc::new(Sleeper { thread: thread::current(), state });
        (Arc::clone(&sleeper), Waker::from(sleeper))
    };
    // A socket may be used while the thread's own variables are being dropped.
    if SLEEPER.try_with(|_| ()).is_err() {
        let (sleeper, waker) = make();
        return f(&sleeper, &waker);
    }
    SLEEPER.with(|kept| {
        let (sleeper, waker) = kept.get_or_init(make);
        let value = f(sleeper, waker);
        // A waker may have called this, of a turn that was taken for another wait of this thread:
        // that one shall look again.
        sleeper.wake_by_ref();
        value
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use stack::{Config, Stack};

    use super::*;
    use crate::busy::BusyPoll;
    use crate::engine::Engine;
    use crate::ports::Ports;

    /// A stack without links and without a driver: whoever waits leads.
    fn undriven() -> Arc<Shared> {
        let poller = Arc::new(Poller::new().unwrap());
        let core = Stack::new(Config::default(), [0; 32]);
        let busy = BusyPoll::new(Duration::ZERO);
        let engine = Engine::new(core, Ports::default(), poller, busy, false);
        Arc::new(Shared::new(engine, Instant::now(), Duration::ZERO))
    }

    /// Something to wait for.
    #[derive(Default)]
    struct Flag(Mutex<(usize, Vec<Waker>)>);

    impl Flag {
        fn raise(&self) {
            let wakers = {
                let mut state = lock(&self.0);
                state.0 += 1;
                std::mem::take(&mut state.1)
            };
            wakers.into_iter().for_each(Waker::wake);
        }

        fn wait(&self, shared: &Shared, count: usize) {
            // Looking and registering under one lock, as `Socket::poll` does.
            block_on(shared, None, |waker| {
                let mut state = lock(&self.0);
                if state.0 >= count {
                    return Poll::Ready(());
                }
                state.1.push(waker.clone());
                Poll::Pending
            });
        }
    }

    #[test]
    fn a_thread_gives_up_when_its_time_is_over() {
        let shared = undriven();
        let never = |timeout| block_on(&shared, Some(timeout), |_| Poll::<()>::Pending);
        assert_eq!(never(Duration::from_millis(2)), None, "leading");
        let leading = shared.lead.take().unwrap();
        assert_eq!(never(Duration::from_millis(2)), None, "while another leads");
        drop(leading);
        assert_eq!(block_on(&shared, Some(Duration::ZERO), |_| Poll::Ready(3)), Some(3));
    }

    #[test]
    fn whoever_waits_is_woken_wherever_it_sleeps() {
        const ROUNDS: usize = 2_000;
        let shared = undriven();
        // One of them leads, the others are parked; who it is changes.
        let flags: Arc<Vec<(Flag, Flag)>> = Arc::new((0..3).map(|_| Default::default()).collect());
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let (shared, flags) = (Arc::clone(&shared), Arc::clone(&flags));
                thread::spawn(move || {
                    for round in 1..=ROUNDS {
                        flags[n].0.wait(&shared, round);
                        flags[n].1.raise();
                    }
                })
            })
            .collect();
        for round in 1..=ROUNDS {
            flags.iter().for_each(|(there, _)| there.raise());
            flags.iter().for_each(|(_, back)| back.wait(&shared, round));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_waker_that_waits_itself_takes_no_wake_up_away() {
        struct Waits(Arc<Shared>, AtomicUsize);
        impl Wake for Waits {
            fn wake(self: Arc<Self>) {
                self.1.fetch_add(1, Ordering::SeqCst);
                block_on(&self.0, Some(Duration::ZERO), |_| Poll::<()>::Pending);
            }
        }
        let shared = undriven();
        let waits = Arc::new(Waits(Arc::clone(&shared), AtomicUsize::new(0)));
        let mut asked = 0;
        let value = block_on(&shared, None, |waker| {
            asked += 1;
            if asked == 2 {
                return Poll::Ready("woken");
            }
            waker.wake_by_ref();
            Waker::from(Arc::clone(&waits)).wake();
            Poll::Pending
        });
        assert_eq!((value, waits.1.load(Ordering::SeqCst)), (Some("woken"), 1));
    }
}
