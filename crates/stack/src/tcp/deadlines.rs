//! When each timer of a connection fires.
//!
//! Every deadline stands where what it is for is known: those of bytes under way with the sender's
//! work, that of an ACK with the policy that lets it wait, the others here. A connection has one entry
//! in the stack's timing wheel, at the earliest of them.

use wire::time::Instant;

use crate::tcp::connection::Connection;
use crate::tcp::recv::ack::AckNeed;
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

/// What a timer is set to that does not run.
const STOPPED: Instant = Instant::FAR_FUTURE;

/// The timers that run while something is under way to the peer.
#[derive(Debug)]
pub(crate) struct SendDeadlines([Instant; 6]);

impl SendDeadlines {
    /// None runs.
    pub(crate) const fn new() -> Self {
        Self([STOPPED; 6])
    }

    /// Whether none runs.
    pub(crate) fn are_stopped(&self) -> bool {
        self.0.iter().all(|at| *at == STOPPED)
    }
}

impl Default for SendDeadlines {
    fn default() -> Self {
        Self::new()
    }
}

/// The timers that run also while nothing is under way, and the entry for all.
#[derive(Debug)]
pub(crate) struct Deadlines {
    keep_alive: Instant,
    fin_wait_2: Instant,
    /// What the entry is armed for, to leave the wheel alone when nothing changed.
    pub(crate) armed: Instant,
    /// The entry in the timing wheel.
    pub(crate) entry: Option<TimerId>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { keep_alive: STOPPED, fin_wait_2: STOPPED, armed: STOPPED, entry: None }
    }
}

/// Where a timer's deadline stands.
enum Place {
    /// Among the sender's, at this index.
    Send(usize),
    KeepAlive,
    FinWait2,
    /// With the policy for ACKs, which alone sets it.
    Ack,
}

fn place(timer: Timer) -> Place {
    match timer {
        Timer::LossProbe => Place::Send(0),
        Timer::Reordering => Place::Send(1),
        Timer::Retransmission => Place::Send(2),
        Timer::Persist => Place::Send(3),
        Timer::UserTimeout => Place::Send(4),
        Timer::Pacing => Place::Send(5),
        Timer::KeepAlive => Place::KeepAlive,
        Timer::FinWait2 => Place::FinWait2,
        Timer::DelayedAck | Timer::TimeWait | Timer::FlowIdle => Place::Ack,
    }
}

impl Connection {
    pub(crate) fn set_timer(&mut self, timer: Timer, deadline: Instant) {
        match place(timer) {
            Place::Send(index) => self.snd.work.deadlines.0[index] = deadline,
            Place::KeepAlive => self.deadlines.keep_alive = deadline,
            Place::FinWait2 => self.deadlines.fin_wait_2 = deadline,
            Place::Ack => debug_assert!(false, "the policy for ACKs sets this one"),
        }
    }

    pub(crate) fn stop_timer(&mut self, timer: Timer) {
        if self.timer_runs(timer) {
            self.set_timer(timer, STOPPED);
        }
    }

    /// Stops all but what an ACK waits for.
    pub(crate) fn stop_timers(&mut self) {
        (self.deadlines.keep_alive, self.deadlines.fin_wait_2) = (STOPPED, STOPPED);
        if self.snd.work.is_awake() {
            self.snd.work.deadlines = SendDeadlines::new();
        }
    }

    pub(crate) fn timer_runs(&self, timer: Timer) -> bool {
        self.deadline_of(timer) != STOPPED
    }

    /// When a timer fires, if it runs.
    pub(crate) fn timer(&self, timer: Timer) -> Option<Instant> {
        let at = self.deadline_of(timer);
        (at != STOPPED).then_some(at)
    }

    /// When the first timer fires, if one runs.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let Deadlines { keep_alive, fin_wait_2, .. } = self.deadlines;
        let others = keep_alive.min(fin_wait_2).min(self.ack_deadline());
        let at = self.snd.work.deadlines.0.iter().fold(others, |least, at| least.min(*at));
        (at != STOPPED).then_some(at)
    }

    /// The timer that fires first.
    pub(crate) fn next_timer(&self) -> Option<(Timer, Instant)> {
        let at = self.next_deadline()?;
        TIMERS.into_iter().find(|timer| self.deadline_of(*timer) == at).map(|timer| (timer, at))
    }

    /// Stops and returns one timer that is due. (An ACK's stops when it fires.)
    pub(crate) fn take_due_timer(&mut self, now: Instant) -> Option<Timer> {
        let (timer, _) = self.next_timer().filter(|(_, at)| *at <= now)?;
        if timer != Timer::DelayedAck {
            self.set_timer(timer, STOPPED);
        }
        Some(timer)
    }

    fn deadline_of(&self, timer: Timer) -> Instant {
        match place(timer) {
            Place::Send(index) => self.snd.work.deadlines.0[index],
            Place::KeepAlive => self.deadlines.keep_alive,
            Place::FinWait2 => self.deadlines.fin_wait_2,
            Place::Ack => self.ack_deadline(),
        }
    }

    fn ack_deadline(&self) -> Instant {
        match self.rcv.ack.need() {
            AckNeed::Delayed(deadline) => deadline,
            AckNeed::Now(_) | AckNeed::None => STOPPED,
        }
    }
}
