//! When each timer of a connection fires.
//!
//! A connection has one entry in the stack's timing wheel, at the earliest of these.

use wire::time::Instant;

use crate::timers::TimerId;
use crate::trace::Timer;

/// The timers of a connection; TIME-WAIT has its own table.
///
/// Of two that are due at once the first here fires first: a loss probe goes before the timeout that
/// it is to prevent.
const TIMERS: [Timer; 9] = [
    Timer::LossProbe,
    Timer::Reordering,
    Timer::Retransmission,
    Timer::Persist,
    Timer::DelayedAck,
    Timer::KeepAlive,
    Timer::FinWait2,
    Timer::UserTimeout,
    Timer::Pacing,
];

/// Which timers run, and until when.
#[derive(Debug)]
pub(crate) struct Deadlines {
    at: [Instant; TIMERS.len()],
    /// The entry in the timing wheel.
    pub(crate) entry: Option<TimerId>,
    /// What the entry is armed for, to leave the wheel alone when nothing changed.
    pub(crate) armed: Instant,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { at: [Instant::FAR_FUTURE; TIMERS.len()], entry: None, armed: Instant::FAR_FUTURE }
    }
}

fn index(timer: Timer) -> usize {
    match timer {
        Timer::LossProbe => 0,
        Timer::Reordering => 1,
        Timer::Retransmission => 2,
        Timer::Persist => 3,
        Timer::DelayedAck => 4,
        Timer::KeepAlive => 5,
        Timer::FinWait2 => 6,
        Timer::UserTimeout | Timer::TimeWait => 7,
        Timer::Pacing => 8,
    }
}

impl Deadlines {
    pub(crate) fn set(&mut self, timer: Timer, deadline: Instant) {
        self.at[index(timer)] = deadline;
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.at[index(timer)] = Instant::FAR_FUTURE;
    }

    pub(crate) fn stop_all(&mut self) {
        self.at = [Instant::FAR_FUTURE; TIMERS.len()];
    }

    pub(crate) fn runs(&self, timer: Timer) -> bool {
        self.at[index(timer)] != Instant::FAR_FUTURE
    }

    /// When a timer fires, if it runs.
    pub(crate) fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.runs(timer).then(|| self.at[index(timer)])
    }

    /// The earliest timer that runs.
    pub(crate) fn earliest(&self) -> Option<(Timer, Instant)> {
        let (i, at) = self.at.iter().enumerate().min_by_key(|(_, at)| **at)?;
        (*at != Instant::FAR_FUTURE).then_some((TIMERS[i], *at))
    }

    /// Stops and returns one timer that is due.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let (timer, at) = self.earliest()?;
        (at <= now).then(|| {
            self.stop(timer);
            timer
        })
    }
}
