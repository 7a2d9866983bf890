//! What the sending side knows of bytes that are under way: nothing, while none are.

use wire::time::Instant;

use crate::tcp::deadlines::SendDeadlines;
use crate::tcp::recovery::Repair;
use crate::tcp::send::autotune::PathWorth;
use crate::tcp::send::inflight::InFlight;
use crate::tcp::send::queue::SendQueue;
use crate::tcp::send::rate::RateClock;
use crate::while_busy::Work;

/// The sender's books of what is written and not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct SendWork {
    /// Bytes that are not acknowledged, sent or not.
    pub(crate) queue: SendQueue,
    /// When our SYN was sent, if that was once and it is not acknowledged (RFC 6298 3, Karn's
    /// algorithm).
    pub(crate) syn_sent: Option<Instant>,
    /// A record of each transmission from SND.UNA to SND.NXT.
    pub(crate) inflight: InFlight,
    /// When the samples of the delivery rate began.
    pub(crate) clock: RateClock,
    /// How large a buffer the path is worth.
    pub(crate) worth: PathWorth,
    /// The course of a repair.
    pub(crate) repair: Repair,
    /// When its timers fire.
    pub(crate) deadlines: SendDeadlines,
}

impl Work for SendWork {
    fn idle() -> &'static Self {
        static IDLE: SendWork = SendWork {
            queue: SendQueue::new(),
            syn_sent: None,
            inflight: InFlight::new(),
            clock: RateClock::new(),
            worth: PathWorth::new(),
            repair: Repair::new(),
            deadlines: SendDeadlines::new(),
        };
        &IDLE
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.inflight.is_empty()
            && self.deadlines.are_stopped()
            && self.syn_sent.is_none()
            && self.repair.is_over()
    }

    fn tidy(&mut self) {
        self.repair = Repair::new();
        self.worth = PathWorth::new();
    }
}
