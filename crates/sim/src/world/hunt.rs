//! Hunting: world after world on all cores, until one fails or the time is up.

use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wire::time::Instant;

use super::shrink::{self, Address};
use super::{Nobody, Observer, Report, Scenario, Violation, draw, run_observed};

/// How many failures end a hunt: those that follow are the same more often than not.
const ENOUGH: usize = 4;
/// How many worlds are tried to make one failure small.
const SHRINK_RUNS: usize = 400;

/// What a hunt did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Worlds that came to their end.
    pub worlds: u64,
    /// Packets that their lines were given.
    pub packets: u64,
    /// Packets that were lost.
    pub lost: u64,
    /// Bytes that programs read.
    pub bytes: u64,
    /// The time that passed in all worlds together.
    pub simulated: Duration,
}

/// A world that failed, made small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The world as it was drawn.
    pub seed: u64,
    /// The small one.
    pub address: Address,
    /// What is wrong in it.
    pub violation: Violation,
}

/// Runs the worlds of `seeds` on `threads` threads while `goes_on` says so; it is told from time to
/// time what was done.
pub fn hunt(
    seeds: std::ops::Range<u64>,
    threads: usize,
    mut goes_on: impl FnMut(Tally) -> bool + Send,
) -> (Tally, Vec<Failure>) {
    let next = AtomicU64::new(seeds.start);
    let stopped = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let failures = Mutex::new(Vec::new());
    let work = || {
        while !stopped.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match run_caught(&draw::scenario(seed), &mut Nobody) {
                Ok(report) => lock(&tally).add(&report),
                Err(violation) => {
                    let (address, violation) = shrink::shrink(seed, violation, SHRINK_RUNS);
                    let mut failures = lock(&failures);
                    failures.push(Failure { seed, address, violation });
                    if failures.len() >= ENOUGH {
                        stopped.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            // The wait is for people who look at the progress, and for nothing in a world.
            std::thread::park_timeout(Duration::from_millis(50));
            if !goes_on(*lock(&tally)) {
                stopped.store(true, Ordering::Relaxed);
            }
        }
    });
    let tally = *lock(&tally);
    let mut failures = failures.into_inner().unwrap_or_else(|poison| poison.into_inner());
    failures.sort_by_key(|failure| failure.seed);
    (tally, failures)
}

impl Tally {
    fn add(&mut self, report: &Report) {
        self.worlds += 1;
        self.packets += report.packets;
        self.lost += report.lost;
        self.bytes += report.bytes;
        self.simulated += report.ended.since(Instant::ZERO);
    }
}

/// Lets a world happen; a panic in it is a violation like others.
///
/// # Errors
/// With the first thing that is not as it must be.
pub fn run_caught(scenario: &Scenario, observer: &mut dyn Observer) -> Result<Report, Violation> {
    catch_quietly();
    QUIET.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| run_observed(scenario, observer)));
    QUIET.set(false);
    outcome.unwrap_or_else(|_| {
        let what = format!("panic: {}", LAST_PANIC.take().unwrap_or_default());
        Err(Violation { time: Instant::ZERO, what })
    })
}

thread_local! {
    /// Panics of this thread are kept and not printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

/// Keeps what a panic in a world says, and leaves all others to whoever had them before.
fn catch_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                let line = info.to_string().replace('\n', " ");
                LAST_PANIC.set(Some(line));
            } else {
                before(info);
            }
        }));
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

impl fmt::Display for Failure {
    /// One line, with the command that replays it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, address, violation } = self;
        write!(f, "seed {seed}: {violation}; replay: estab sim --replay {address}")
    }
}
