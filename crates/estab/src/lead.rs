//! Who carries the frames: the driver, or a program's thread that has nothing else to do.
//!
//! A thread that waits for a socket and sleeps until the driver wakes it pays two changes of context
//! for whatever it gets, and may find the bytes in another core's cache. So a thread that has to wait
//! takes the lead, if nobody has it: it sleeps on the links itself, takes the turns, wakes the others,
//! and lets go as soon as it has got what it waits for.
//!
//! It also lets go when it has woken one other thread and got nothing itself, as one that accepts
//! connections does: the other is to carry its own frames.
//!
//! Then nobody leads. Whoever waits next does, and that is most often the same thread, some
//! microseconds later; waking another one each time would cost what was to be saved. The driver looks
//! from time to time ([`WATCH`]) whether somebody took a turn, and takes the lead when nobody did. While a thread
//! leads that is asleep, so is the driver. A program that computes for longer between its calls makes
//! the frames wait for a watch or two, and the driver learns from that: it leaves the lead alone less
//! and less often.
//!
//! Only the driver leads a stack that is traced, because it shows the trace, and one that tasks wait
//! for, because they never take a turn; unless a task of their runtime does that, the [host](crate::host),
//! which sleeps in the runtime's own wait. Then no other thread leads but the driver, where the host cannot.
//! Whether a host that sleeps could wake, or its runtime computes instead, is not to be seen. So the driver
//! sleeps on the links, too, when all was quiet, and looks whether the host is there for what comes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::engine::Woken;
use crate::poller::{Poller, wait_for_either};
use crate::shared::{Waited, lock};

/// How soon the driver looks whether somebody leads. When somebody did, it waits twice as long for the
/// next look, up to [`LONGEST_WATCH`].
const WATCH: Duration = Duration::from_millis(1);

/// How long it waits at most between two looks, which bounds how long a frame can wait while nobody
/// leads: twice this. A look is a timer's interrupt and a change of threads, 30 us in a virtual machine;
/// once a millisecond it made two in a hundred round trips of a dialogue on its core three times as long.
const LONGEST_WATCH: Duration = Duration::from_millis(8);

/// For how long who waits, and the driver, leave the turns to a host that shows no sign of life.
pub(crate) const TRUST: Duration = Duration::from_millis(2);

/// The most wake-ups in a row, as a power of two, for which a driver keeps the lead that it left in
/// vain. 64: a machine that was too busy for a moment is forgiven soon.
const MOST_VAIN: u32 = 6;

/// The right to take turns.
#[derive(Debug)]
pub(crate) struct Lead {
    /// Whoever has locked it leads.
    token: Mutex<Turner>,
    /// Somebody does.
    taken: AtomicBool,
    /// How often a program's thread has let go of it.
    passes: AtomicU64,
    /// The driver sleeps until the one who leads lets go.
    tell: AtomicBool,
    /// The driver shall take the lead now.
    hurry: AtomicBool,
    driver: OnceLock<Thread>,
    /// Only the driver leads.
    reserved: AtomicBool,
    /// How many threads wait for a socket.
    blocked: AtomicUsize,
    /// Whoever was left the lead last did not take it.
    vain: AtomicBool,
    /// A task of a runtime takes the turns.
    hosted: AtomicBool,
    /// That task sleeps until something comes.
    host_waits: AtomicBool,
    /// Where the driver sleeps meanwhile.
    beside_host: OnceLock<BesideHost>,
}

/// What wakes a driver that sleeps while a host does.
#[derive(Debug)]
struct BesideHost {
    /// Something came.
    links: Arc<Poller>,
    /// It is told something.
    bell: OwnedFd,
    /// It would not be woken otherwise.
    sleeps: AtomicBool,
}

/// What a turn needs besides the stack; its lists keep their memory.
#[derive(Debug, Default)]
pub(crate) struct Turner {
    /// Whom the turn wakes.
    pub(crate) woken: Woken,
    /// What the turn has to show.
    pub(crate) trace: Vec<stack::TraceEvent>,
    /// What was done since the turn before.
    pub(crate) waited: Waited,
}

/// Somebody leads, until this is dropped.
pub(crate) struct Leading<'a> {
    pub(crate) turner: MutexGuard<'a, Turner>,
    lead: &'a Lead,
    is_driver: bool,
}

impl Lead {
    pub(crate) fn new(reserved: bool) -> Self {
        Self {
            token: Mutex::default(),
            taken: AtomicBool::new(false),
            passes: AtomicU64::new(0),
            tell: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
            driver: OnceLock::new(),
            reserved: AtomicBool::new(reserved),
            blocked: AtomicUsize::new(0),
            vain: AtomicBool::new(false),
            hosted: AtomicBool::new(false),
            host_waits: AtomicBool::new(false),
            beside_host: OnceLock::new(),
        }
    }

    /// A task waits: from now on only the driver leads, unless there is a host.
    #[cfg(feature = "tokio")]
    pub(crate) fn reserve(&self) {
        // A store would take the cache line from who reads it.
        if !self.reserved.load(Ordering::Relaxed) && !self.hosted.load(Ordering::SeqCst) {
            self.reserved.store(true, Ordering::Relaxed);
        }
    }

    /// A task of a runtime takes the turns from now on, unless only the driver may. False then. It sleeps
    /// on `links`.
    ///
    /// # Errors
    /// What the system says when it has no descriptors left.
    #[cfg(feature = "tokio")]
    pub(crate) fn begin_hosting(&self, links: &Arc<Poller>) -> io::Result<bool> {
        if self.reserved.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let _ = self.beside_host.set(BesideHost::new(Arc::clone(links))?);
        self.polls();
        self.hosted.store(true, Ordering::SeqCst);
        Ok(true)
    }

    /// There is no such task any more. Others may wait, and so the driver leads.
    #[cfg(feature = "tokio")]
    pub(crate) fn end_hosting(&self) {
        self.polls_no_more();
        self.reserved.store(true, Ordering::SeqCst);
        self.hosted.store(false, Ordering::SeqCst);
        self.host_wakes();
    }

    /// The host takes the lead, unless the driver has it.
    #[cfg(feature = "tokio")]
    pub(crate) fn take_for_host(&self) -> Option<Leading<'_>> {
        self.try_take()
    }

    /// The host sleeps until something comes. It is as if it had the lead.
    #[cfg(feature = "tokio")]
    pub(crate) fn host_waits(&self) {
        self.host_waits.store(true, Ordering::SeqCst);
    }

    /// It is awake, or is not to be relied on: the driver helps out when nobody leads for a while.
    pub(crate) fn host_wakes(&self) {
        if self.host_waits.swap(false, Ordering::SeqCst) {
            self.passed_on();
        }
    }

    /// Whether there is a host. Who waits for it longer than [`TRUST`] says [`Lead::host_wakes`]: its
    /// runtime may not run at all.
    pub(crate) fn is_hosted(&self) -> bool {
        self.hosted.load(Ordering::SeqCst)
    }

    /// Whether somebody leads, or will when something comes.
    fn is_led(&self) -> bool {
        self.taken.load(Ordering::SeqCst) || self.host_waits.load(Ordering::SeqCst)
    }

    /// Somebody has let go of the lead: the driver, if it sleeps until then, is told.
    fn passed_on(&self) {
        if self.tell.swap(false, Ordering::SeqCst) {
            self.wake_driver();
        }
    }

    fn wake_driver(&self) {
        if let Some(driver) = self.driver.get() {
            driver.unpark();
        }
        if let Some(beside) = self.beside_host.get() {
            beside.ring();
        }
    }

    /// A program's thread that waits takes the lead, if it may.
    pub(crate) fn take(&self) -> Option<Leading<'_>> {
        if self.reserved.load(Ordering::Relaxed) {
            return None;
        }
        if self.is_hosted() {
            return None;
        }
        self.try_take()
    }

    fn try_take(&self) -> Option<Leading<'_>> {
        match self.token.try_lock() {
            Ok(turner) => Some(self.leading(turner, false)),
            Err(TryLockError::Poisoned(turner)) => Some(self.leading(turner.into_inner(), false)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The driver takes the lead, after the one who has it.
    pub(crate) fn take_for_driver(&self) -> Leading<'_> {
        self.leading(lock(&self.token), true)
    }

    /// Counts a thread as waiting until the result is dropped.
    pub(crate) fn block(&self) -> Blocked<'_> {
        self.blocked.fetch_add(1, Ordering::Relaxed);
        Blocked(self)
    }

    /// The same for a thread that polls, until [`Lead::polls_no_more`]: it always comes back to wait.
    pub(crate) fn polls(&self) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
    }

    /// One poll less.
    pub(crate) fn polls_no_more(&self) {
        self.blocked.fetch_sub(1, Ordering::Relaxed);
    }

    /// The driver shall take the lead now, and its turn.
    pub(crate) fn hurry(&self) {
        self.hurry.store(true, Ordering::SeqCst);
        self.wake_driver();
    }

    fn leading<'a>(&'a self, turner: MutexGuard<'a, Turner>, is_driver: bool) -> Leading<'a> {
        self.taken.store(true, Ordering::SeqCst);
        Leading { turner, lead: self, is_driver }
    }

    /// The driver's rest while others lead: it ends when nobody has for a while. True when somebody did.
    pub(crate) fn watch(&self) -> bool {
        let _ = self.driver.set(thread::current());
        let mut paid = false;
        let mut interval = WATCH;
        loop {
            let before = self.passes.load(Ordering::SeqCst);
            thread::park_timeout(interval);
            interval = (interval * 2).min(LONGEST_WATCH);
            if self.hurry.load(Ordering::SeqCst) {
                return paid;
            }
            if self.passes.load(Ordering::SeqCst) != before {
                paid = true;
                continue;
            }
            if !self.is_led() {
                return paid;
            }
            // Who leads has slept all the time. Either it sees that it is to tell, or we see that it
            // has let go.
            paid = true;
            self.tell.store(true, Ordering::SeqCst);
            let told = || self.hurry.load(Ordering::SeqCst) || !self.tell.load(Ordering::SeqCst);
            while !told() && self.is_led() {
                let beside = self.beside_host.get();
                match beside.filter(|_| self.host_waits.load(Ordering::SeqCst)) {
                    Some(beside) if beside.sleep_until_something_comes(told) => {
                        if !self.host_comes(before) {
                            return paid;
                        }
                        break;
                    }
                    Some(_) => {}
                    None => thread::park(),
                }
            }
            self.tell.store(false, Ordering::SeqCst);
            if self.hurry.load(Ordering::SeqCst) {
                return paid;
            }
        }
    }

    /// Something came while the host slept, which is since `before` passes. Whether it takes a turn within
    /// [`TRUST`], or has done so; else it is taken for one that cannot.
    fn host_comes(&self, before: u64) -> bool {
        self.tell.store(false, Ordering::SeqCst); // Once woken is enough.
        let patience = Instant::now() + TRUST;
        let came = || self.passes.load(Ordering::SeqCst) != before;
        while !came() && !self.hurry.load(Ordering::SeqCst) {
            let left = patience.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.host_waits.store(false, Ordering::SeqCst);
                return false;
            }
            thread::park_timeout(left);
        }
        true
    }
}

impl BesideHost {
    #[cfg(feature = "tokio")]
    fn new(links: Arc<Poller>) -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { links, bell, sleeps: AtomicBool::new(false) })
    }

    /// Sleeps until something comes, or somebody rings, which `told` shows. Whether something came.
    fn sleep_until_something_comes(&self, told: impl Fn() -> bool) -> bool {
        self.sleeps.store(true, Ordering::SeqCst);
        // Who has told us before that did not ring.
        let came =
            !told() && wait_for_either(self.links.as_fd(), self.bell.as_fd()).unwrap_or(true);
        self.sleeps.store(false, Ordering::SeqCst);
        // Who rang late wakes us once more, for nothing.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        came
    }

    fn ring(&self) {
        if self.sleeps.swap(false, Ordering::SeqCst) {
            // It can only fail when 2^64 were not heard.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }
}

impl Leading<'_> {
    /// Whether a thread that was woken can be expected to take the lead soon.
    pub(crate) fn may_rest(&self) -> bool {
        !self.lead.vain.load(Ordering::Relaxed)
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if !self.is_driver {
            self.lead.passes.fetch_add(1, Ordering::SeqCst);
        }
        self.lead.taken.store(false, Ordering::SeqCst);
        self.lead.passed_on();
    }
}

/// A thread that waits for a socket.
pub(crate) struct Blocked<'a>(&'a Lead);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.blocked.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the driver leaves the lead to the threads that it wakes.
#[derive(Debug, Default)]
pub(crate) struct Retreat {
    /// How often in a row nobody took it.
    vain: u32,
    /// For so many wake-ups it is kept.
    keep: u32,
}

impl Retreat {
    /// The driver's turn woke `woken`. Lets go of the lead, and waits until it is needed again, if
    /// those can be expected to wait again soon; else gives it back.
    pub(crate) fn consider<'a>(
        &mut self,
        leading: Leading<'a>,
        woken: usize,
    ) -> Option<Leading<'a>> {
        let lead = leading.lead;
        let none = woken == 0
            || lead.blocked.load(Ordering::Relaxed) == 0
            || lead.reserved.load(Ordering::Relaxed)
            || lead.hurry.load(Ordering::Relaxed);
        if none || self.keep > 0 {
            self.keep = self.keep.saturating_sub(u32::from(!none));
            return Some(leading);
        }
        drop(leading);
        let paid = lead.watch();
        lead.vain.store(!paid, Ordering::Relaxed);
        self.learn(paid);
        None
    }

    fn learn(&mut self, paid: bool) {
        if paid {
            *self = Self::default();
        } else {
            self.vain = (self.vain + 1).min(MOST_VAIN);
            self.keep = 1 << self.vain;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn one_leads_at_a_time() {
        let lead = Lead::new(false);
        let leading = lead.take().unwrap();
        assert!(lead.take().is_none());
        drop(leading);
        assert!(lead.take().is_some());
        lead.reserved.store(true, Ordering::Relaxed);
        assert!(lead.take().is_none(), "tasks wait for the driver");
        assert!(Lead::new(true).take().is_none(), "so does a trace");
    }

    #[test]
    fn a_driver_is_back_when_nobody_leads() {
        let lead = Lead::new(false);
        let mut retreat = Retreat::default();
        let blocked = lead.block();
        let mut kept = 0;
        for _ in 0..1000 {
            kept += usize::from(retreat.consider(lead.take_for_driver(), 1).is_some());
        }
        assert!(kept > 950, "it learns: it left the lead {} times", 1000 - kept);
        assert!(retreat.consider(lead.take_for_driver(), 0).is_some(), "nobody was woken");
        assert!(!lead.take().unwrap().may_rest(), "nor does a thread leave it");
        drop(blocked);
        retreat = Retreat::default();
        assert!(retreat.consider(lead.take_for_driver(), 1).is_some(), "only tasks were woken");
    }

    #[test]
    fn a_driver_sleeps_with_the_one_who_leads_and_is_told() {
        let lead = Arc::new(Lead::new(false));
        let leading = lead.take().unwrap();
        let driver = {
            let lead = Arc::clone(&lead);
            thread::spawn(move || lead.watch())
        };
        while !lead.tell.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        drop(leading);
        assert!(driver.join().unwrap(), "it paid to leave");
        assert!(!lead.tell.load(Ordering::SeqCst));
    }

    #[test]
    fn a_driver_relies_on_a_host_that_waits_and_on_no_other() {
        let lead = Arc::new(Lead::new(false));
        lead.polls();
        lead.hosted.store(true, Ordering::SeqCst);
        lead.host_waits.store(true, Ordering::SeqCst);
        assert!(lead.take().is_none(), "no other thread leads");
        let driver = {
            let lead = Arc::clone(&lead);
            thread::spawn(move || lead.watch())
        };
        while !lead.tell.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        lead.host_wakes();
        assert!(driver.join().unwrap());
    }

    #[test]
    fn a_driver_in_a_hurry_does_not_watch() {
        let lead = Arc::new(Lead::new(false));
        let leading = lead.take().unwrap();
        let driver = {
            let lead = Arc::clone(&lead);
            thread::spawn(move || {
                lead.watch();
                drop(lead.take_for_driver());
            })
        };
        while !lead.tell.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        lead.hurry();
        drop(leading);
        driver.join().unwrap();
    }
}
