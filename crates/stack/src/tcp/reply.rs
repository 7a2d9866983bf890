//! Answers that belong to no connection: resets, SYN cookies, the ACKs of TIME-WAIT.

use alloc::collections::VecDeque;
use wire::tcp::{Flags, Options};
use wire::time::Instant;

use crate::FourTuple;
use crate::config::TcpOptions;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::tcp::connection::Connection;
use crate::tcp::ecn::Codepoint;
use crate::tcp::segment::Segment;
use crate::tcp::seq::Seq;

/// One segment to send, complete but for its addresses' route.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) tuple: FourTuple,
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) flags: Flags,
    pub(crate) window: u16,
    pub(crate) options: Options,
    /// `IP_TTL` and `IP_TOS`: those of the connection that it speaks for, else the defaults.
    pub(crate) ttl: Option<u8>,
    pub(crate) traffic_class: u8,
    pub(crate) reason: Sent,
}

impl Reply {
    fn bare(tuple: FourTuple, seq: Seq, ack: Seq, flags: Flags, reason: Sent) -> Self {
        let options = Options::default();
        Self { tuple, seq, ack, flags, window: 0, options, ttl: None, traffic_class: 0, reason }
    }

    /// RFC 9293 3.5.2 and 3.10.7.1: the reset that `seg` deserves, made so that the peer accepts
    /// it: with the sequence number that the peer expects, or acknowledging what it sent.
    pub(crate) fn reset_for(seg: &Segment, reason: Sent) -> Self {
        let mut reset = if seg.acks() {
            Self::bare(seg.tuple, seg.ack, Seq(0), Flags::RST, reason)
        } else {
            Self::bare(seg.tuple, Seq(0), seg.end(), Flags::RST | Flags::ACK, reason)
        };
        // In the class of what it answers, as Linux has it; it has no ECN (RFC 3168 6.1.5).
        reset.traffic_class = seg.origin.traffic_class & !Codepoint::MASK;
        reset
    }

    /// The same for a SYN with the initial sequence number `irs`.
    pub(crate) fn refusal(tuple: FourTuple, irs: Seq, reason: Sent) -> Self {
        Self::bare(tuple, Seq(0), irs.plus(1), Flags::RST | Flags::ACK, reason)
    }

    /// The reset with which we end a connection ourselves (RFC 9293 3.10.5), with a timestamp where
    /// the connection has them (RFC 7323 3.2).
    pub(crate) fn reset_of(conn: &Connection, now: Instant, reason: Sent) -> Self {
        let flags = Flags::RST | Flags::ACK;
        let mut reset = Self::bare(conn.tuple(), conn.snd.nxt, conn.rcv.nxt, flags, reason);
        reset.options.timestamps = conn.timestamps.map(|ours| ours.option(now));
        reset.with(&conn.options)
    }

    /// The same, with the IP fields that the program set (RFC 9293 3.9.1.9).
    pub(crate) fn with(mut self, options: &TcpOptions) -> Self {
        (self.ttl, self.traffic_class) = (options.ttl, options.traffic_class);
        self
    }

    /// An ACK that says where we are.
    pub(crate) fn ack(tuple: FourTuple, seq: Seq, ack: Seq, reason: Sent) -> Self {
        Self::bare(tuple, seq, ack, Flags::ACK, reason)
    }
}

/// The answers that wait for the link, bounded by `Config::reply_limit`.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    queue: VecDeque<Reply>,
}

impl Replies {
    /// Queues an answer; when too many wait already, it is dropped and counted.
    pub(crate) fn push(&mut self, shared: &mut Shared, reply: Reply) {
        if self.queue.len() < shared.config.reply_limit {
            self.queue.push_back(reply);
        } else {
            shared.drop_packet(Some(reply.tuple), Dropped::ReplyQueueFull);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Reply> {
        self.queue.pop_front()
    }
}
