//! The one source of typed events: what came, what went, what changed, and why.
//!
//! Traces, sequence diagrams and `estab demo` read it. Nothing is recorded until somebody turns it
//! on, and then a bounded queue keeps what was not fetched yet.

use alloc::collections::VecDeque;
use core::net::IpAddr;
use wire::tcp;
use wire::time::Instant;

use crate::FourTuple;
use crate::reason::{Dropped, Sent, Withheld};
use crate::tcp::state::{self, State};

/// Something that happened at a moment, to a conversation or to nobody's packet.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceEvent {
    /// When.
    pub time: Instant,
    /// Whose, where it is known.
    pub flow: Option<FourTuple>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum What {
    /// A TCP segment arrived whose checksum is right. A `Dropped` may follow for the same segment.
    SegmentIn {
        /// Its header with all options.
        header: tcp::Header,
        /// Its payload, in bytes.
        length: u32,
    },
    /// A TCP segment was built for the link.
    SegmentOut {
        /// Its header with all options.
        header: tcp::Header,
        /// Its payload, in bytes.
        length: u32,
        /// Why it is sent.
        reason: Sent,
    },
    /// A packet of another protocol arrived.
    PacketIn {
        /// `ICMP echo request`, `UDP`, `ARP who-has`, …
        kind: &'static str,
        /// Who sent it.
        source: IpAddr,
        /// Whom it is for.
        destination: IpAddr,
        /// Its payload, in bytes.
        length: u32,
    },
    /// A packet of another protocol was built for the link.
    PacketOut {
        /// `ICMP echo reply`, `UDP`, `ARP is-at`, …
        kind: &'static str,
        /// Who sends it.
        source: IpAddr,
        /// Whom it is for.
        destination: IpAddr,
        /// Its payload, in bytes.
        length: u32,
        /// Why it is sent.
        reason: Sent,
    },
    /// What arrived just before was dropped, or a part of it.
    Dropped {
        /// Why.
        reason: Dropped,
    },
    /// Something could have been sent and was held back.
    Withheld {
        /// Why.
        reason: Withheld,
    },
    /// A connection went from one state to another.
    Transition {
        /// The state before.
        from: State,
        /// The state after.
        to: State,
        /// What made it change.
        cause: state::Event,
    },
    /// The program called.
    Command {
        /// Which call.
        call: Call,
    },
    /// A timer fired.
    Timer {
        /// Which one.
        timer: Timer,
    },
}

/// A call of the program, as the trace names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// `listen`, with its backlog.
    Listen(usize),
    /// `connect`.
    Connect,
    /// `accept` took a connection.
    Accept,
    /// `write` took this many bytes.
    Write(usize),
    /// `read` gave this many bytes; 0 is the end of the stream.
    Read(usize),
    /// `shutdown` of the sending side.
    ShutdownWrite,
    /// `shutdown` of the receiving side.
    ShutdownRead,
    /// `close`.
    Close,
    /// `abort`.
    Abort,
}

/// The timers of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// Sent data or SYN or FIN was not acknowledged in time (RFC 6298).
    Retransmission,
    /// The peer's window is zero: time to ask again (RFC 9293 3.8.6.1).
    Persist,
    /// An ACK has waited long enough (RFC 9293 3.8.6.3).
    DelayedAck,
    /// Idle for long: time for a probe (RFC 9293 3.8.4).
    KeepAlive,
    /// 2 MSL are over (RFC 9293 3.6.1).
    TimeWait,
    /// The peer did not send its FIN in time after the program closed.
    FinWait2,
    /// `TCP_USER_TIMEOUT` is over (RFC 5482).
    UserTimeout,
    /// No ACK for two round trips: time for a tail loss probe (RFC 8985 7).
    LossProbe,
    /// A segment is late, and was not merely overtaken (RFC 8985 6.2).
    Reordering,
    /// The sending rate lets the next segment out.
    Pacing,
    /// A UDP flow had no datagram for as long as it may be idle (RFC 4787 4.3).
    FlowIdle,
}

/// The events that wait to be fetched.
#[derive(Debug)]
pub(crate) struct TraceLog {
    on: bool,
    limit: usize,
    lost: u64,
    events: VecDeque<TraceEvent>,
}

impl TraceLog {
    pub(crate) fn new(limit: usize) -> Self {
        Self { on: false, limit, lost: 0, events: VecDeque::new() }
    }

    pub(crate) fn turn(&mut self, on: bool) {
        self.on = on;
        if !on {
            self.events = VecDeque::new();
        }
    }

    /// Whether anybody listens: callers need not build what nobody reads.
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    pub(crate) fn push(&mut self, time: Instant, flow: Option<FourTuple>, what: What) {
        if !self.on {
            return;
        }
        if self.events.len() < self.limit {
            self.events.push_back(TraceEvent { time, flow, what });
        } else {
            self.lost += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<TraceEvent> {
        self.events.pop_front()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}
