//! What `--relaxed` lets pass: pure ACKs that a script does not expect, and those that it expects
//! and that come later, or together with what follows.

use wire::time::{Duration, Instant};

use super::Position;
use super::ast::Packet;
use crate::segment::{Flags, Segment, TcpOption};

/// How late an ACK may be: the longest that Linux delays one.
pub(super) const ACK_DELAY: Duration = Duration::from_millis(200);

/// ACKs that a script expects and that did not leave yet.
#[derive(Debug, Default)]
pub(super) struct Owed(Vec<Debt>);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Debt {
    peer: u16,
    ack: u32,
    /// The last moment.
    pub(super) deadline: Instant,
    /// Where the script expects it.
    pub(super) position: Position,
}

impl Owed {
    pub(super) fn add(&mut self, peer: u16, ack: u32, deadline: Instant, position: Position) {
        self.0.push(Debt { peer, ack, deadline, position });
    }

    /// A segment left that acknowledges up to `ack`.
    pub(super) fn settle(&mut self, peer: u16, ack: u32) {
        self.0.retain(|debt| debt.peer != peer || !is_at_or_after(ack, debt.ack));
    }

    /// The first one whose time is over.
    pub(super) fn overdue(&self, now: Instant) -> Option<&Debt> {
        self.0.iter().find(|debt| debt.deadline < now)
    }

    /// When the last one is due.
    pub(super) fn last_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|debt| debt.deadline).max()
    }
}

/// Whether `ack` acknowledges all that `wanted` does.
pub(super) fn is_at_or_after(ack: u32, wanted: u32) -> bool {
    ack.wrapping_sub(wanted) < 1 << 31
}

/// Nothing but an acknowledgment, without SACK blocks: it may come later, or in another segment.
pub(super) fn is_pure_ack(packet: &Packet) -> bool {
    let has_blocks =
        packet.options.iter().flatten().any(|option| matches!(option, TcpOption::Sack(_)));
    packet.flags == Flags::ACK && packet.length == 0 && !has_blocks
}

/// The same for a segment that left, whatever its options.
pub(super) fn is_pure_ack_seen(segment: &Segment) -> bool {
    segment.flags == Flags::ACK && segment.payload.is_empty()
}
