//! What the receiving side knows of bytes that nobody read yet, or that wait behind a hole: nothing,
//! while there are none.

use crate::tcp::recv::assembler::Assembler;
use crate::tcp::recv::queue::ReceiveQueue;
use crate::tcp::recv::sack::SackReport;
use crate::while_busy::Work;

/// The receiver's books of what arrived and was not read.
#[derive(Debug, Default)]
pub(crate) struct ReceiveWork {
    /// In order, not read.
    pub(crate) queue: ReceiveQueue,
    /// Out of order.
    pub(crate) assembler: Assembler,
    /// What the next ACK reports of what is out of order, or came twice (RFC 2018, RFC 2883).
    pub(crate) report: SackReport,
}

impl Work for ReceiveWork {
    fn idle() -> &'static Self {
        static IDLE: ReceiveWork = ReceiveWork {
            queue: ReceiveQueue::new(),
            assembler: Assembler::new(),
            report: SackReport::new(),
        };
        &IDLE
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.assembler.is_empty() && !self.report.duplicate_waits()
    }

    fn tidy(&mut self) {
        self.report = SackReport::new();
    }
}
