//! What every protocol of a stack needs at hand: the time, the limits, and where to report.

use alloc::vec::Vec;
use wire::frame::FrameBuf;
use wire::time::Instant;

use crate::FourTuple;
use crate::config::Config;
use crate::counters::Counters;
use crate::event::EventQueue;
use crate::memory::Memory;
use crate::reason::{Dropped, Withheld};
use crate::trace::{TraceLog, What};

/// How many spent frame buffers are kept for the driver to use again.
const SPARE_LIMIT: usize = 256;

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
    /// Frames that were read to their end and can be filled again.
    pub(crate) spare: Vec<FrameBuf>,
    /// The capacity of the driver's buffers in bytes, the largest that came. Smaller ones are our
    /// own, and of no use to it.
    buffer_size: usize,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            now: Instant::ZERO,
            memory: Memory::new(&config),
            events: EventQueue::default(),
            trace: TraceLog::new(config.trace_limit),
            counters: Counters::default(),
            spare: Vec::new(),
            buffer_size: 0,
            config,
        }
    }

    /// Sets the time of this call. Time never goes back: an earlier `now` counts as the last one.
    pub(crate) fn set_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
        // Queues give their frames back without looking at the limit.
        self.spare.truncate(SPARE_LIMIT);
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

    /// Takes note of a frame from the driver: what buffers it reads into.
    pub(crate) fn note_buffer(&mut self, frame: &FrameBuf) {
        self.buffer_size = self.buffer_size.max(frame.capacity());
    }

    /// Takes back a frame that nobody needs any more.
    pub(crate) fn recycle(&mut self, frame: FrameBuf) {
        if self.spare.len() < SPARE_LIMIT && frame.capacity() >= self.buffer_size.max(1) {
            self.spare.push(frame);
        }
    }
}
