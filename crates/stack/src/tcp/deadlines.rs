//! When each timer of a connection fires.
//!
//! A connection has one entry in the stack's timing wheel, at the earliest of these.

use wire::time::Instant;

use crate::timers::TimerId;
use crate::trace::Timer;

/// The timers of a connection; TIME-WAIT has its own table.
const TIMERS: [Timer; 6] = [
    Timer::Retransmission,
    Timer::Persist,
    Timer::DelayedAck,
    Timer::KeepAlive,
    Timer::FinWait2,
    Timer::UserTimeout,
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
        Timer::Retransmission => 0,
        Timer::Persist => 1,
        Timer::DelayedAck => 2,
        Timer::KeepAlive => 3,
        Timer::FinWait2 => 4,
        Timer::UserTimeout | Timer::TimeWait => 5,
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
