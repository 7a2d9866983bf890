//! What every protocol of a stack needs at hand: the time, the limits, and where to report.

use wire::frame::FrameBuf;
use wire::time::Instant;

use crate::FourTuple;
use crate::config::Config;
use crate::counters::Counters;
use crate::event::EventQueue;
use crate::ip::FlowLabels;
use crate::memory::Memory;
use crate::pool::Pool;
use crate::reason::{Dropped, Withheld};
use crate::tcp::{ReceiveWork, SendWork};
use crate::trace::{TraceLog, What};
use crate::while_busy::Shelf;

/// The things that are one per stack and belong to no protocol.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The time of the call that is under way.
    pub(crate) now: Instant,
    pub(crate) config: Config,
    /// What the buffers of all connections pin.
    pub(crate) memory: Memory,
    pub(crate) events: EventQueue,
    pub(crate) trace: TraceLog,
    pub(crate) counters: Counters,
    /// What connections need while something is under way, and wait for the next that does.
    pub(crate) send_works: Shelf<SendWork>,
    pub(crate) receive_works: Shelf<ReceiveWork>,
    pub(crate) flow_labels: FlowLabels,
    /// Buffers that can be filled again.
    pub(crate) spare: Pool,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            now: Instant::ZERO,
            memory: Memory::new(&config),
            events: EventQueue::default(),
            trace: TraceLog::new(config.trace_limit),
            counters: Counters::default(),
            send_works: Shelf::new(),
            receive_works: Shelf::new(),
            flow_labels: FlowLabels::new([0; 2]),
            spare: Pool::default(),
            config,
        }
    }

    /// Sets the time of this call. Time never goes back: an earlier `now` counts as the last one.
    pub(crate) fn set_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Records `what` for `flow`, if anybody listens.
    pub(crate) fn trace(&mut self, flow: Option<FourTuple>, what: What) {
        self.trace.push(self.now, flow, what);
    }

    /// Counts and traces a drop.
    pub(crate) fn drop_packet(&mut self, flow: Option<FourTuple>, reason: Dropped) {
        self.counters.count_dropped(reason);
        self.trace(flow, What::Dropped { reason });
    }

    /// Counts and traces something held back.
    pub(crate) fn withhold(&mut self, flow: Option<FourTuple>, reason: Withheld) {
        self.counters.count_withheld(reason);
        self.trace(flow, What::Withheld { reason });
    }

    /// Takes back a frame that nobody needs any more.
    pub(crate) fn recycle(&mut self, frame: FrameBuf) {
        self.spare.give(frame);
    }
}
