//! What a connection sends next, and why; or why it waits.

use wire::tcp::Flags;

use crate::reason::{Sent, Withheld};
use crate::shared::Shared;
use crate::tcp::connection::Connection;
use crate::tcp::recv::ack::AckNeed;
use crate::tcp::send::nagle::{self, Decision, Offer};
use crate::tcp::seq::Seq;
use crate::tcp::state::State;

/// The longest IP packet.
const LONGEST_PACKET: u32 = 65_535;

/// A segment that a connection will send next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seq: Seq,
    pub(super) flags: Flags,
    /// Payload: so many bytes, from this one of the send queue on.
    pub(super) offset: usize,
    pub(super) length: u32,
    pub(super) reason: Sent,
}

impl Plan {
    /// A segment without text at `seq`.
    fn bare(seq: Seq, flags: Flags, reason: Sent) -> Self {
        Self { seq, flags, offset: 0, length: 0, reason }
    }
}

impl Connection {
    /// What to send next, and why; `None` when there is nothing, or it has to wait.
    pub(super) fn plan(&mut self, shared: &mut Shared) -> Option<Plan> {
        if !self.syn_acknowledged() {
            // FIN of a program that closed already waits behind it.
            let ack = if self.state == State::SynSent { Flags::empty() } else { Flags::ACK };
            return self.plan_syn(Flags::SYN | ack);
        }
        self.plan_retransmission()
            .or_else(|| self.plan_probe())
            .or_else(|| self.plan_data(shared))
            .or_else(|| self.plan_ack(shared))
    }

    /// SYN or SYN,ACK, first or again.
    fn plan_syn(&mut self, flags: Flags) -> Option<Plan> {
        if self.snd.nxt != self.snd.iss {
            let reply = self.reply.take()?;
            return Some(Plan::bare(self.snd.nxt, Flags::ACK, reply));
        }
        let first = self.snd.max == self.snd.iss;
        let reason = match (flags.contains(Flags::ACK), self.snd.rto.expiries()) {
            (true, 0) => Sent::SimultaneousOpen,
            (true, _) => Sent::SynAckRetransmitted,
            (false, 0) if first => Sent::ActiveOpen,
            (false, _) => Sent::SynRetransmitted,
        };
        Some(Plan::bare(self.snd.iss, flags, reason))
    }

    /// The one segment that must go out again, out of turn: the oldest.
    fn plan_retransmission(&mut self) -> Option<Plan> {
        let reason = self.snd.retransmit_head.take()?;
        let queued = u32::try_from(self.snd.queue.len()).unwrap_or(u32::MAX);
        let sent = self.snd.max.distance_from(self.snd.una);
        let length = queued.min(sent).min(self.payload_limit());
        let mut plan = Plan::bare(self.snd.una, Flags::ACK, reason);
        plan.length = length;
        self.finish_flags(&mut plan);
        (plan.length > 0 || plan.flags.contains(Flags::FIN)).then_some(plan)
    }

    /// RFC 9293 3.8.6.1 and 3.8.4: a segment that the peer must answer: one sequence number before
    /// what it expects, and nothing in it.
    fn plan_probe(&mut self) -> Option<Plan> {
        let reason = self.snd.probe.take()?;
        Some(Plan::bare(self.snd.una.minus(1), Flags::ACK, reason))
    }

    /// Data from SND.NXT on, as much as the windows and Nagle let go; and FIN behind the last.
    fn plan_data(&mut self, shared: &mut Shared) -> Option<Plan> {
        let offset = self.snd.nxt.distance_from(self.snd.una);
        let queued = u32::try_from(self.snd.queue.len()).unwrap_or(u32::MAX);
        let again = self.snd.nxt.is_before(self.snd.max);
        let left = queued.saturating_sub(offset);
        let fin_left = self.snd.fin_queued && !self.snd.fin_acked && offset <= queued;
        if left == 0 && !fin_left {
            return None;
        }
        self.restart_after_idle(shared);
        let offer = self.offer(left, offset, again);
        let length = match nagle::decide(&offer) {
            Decision::Send(length) => length,
            Decision::Nothing if offer.peer_room > 0 || again => 0,
            Decision::Nothing => {
                shared.withhold(Some(self.tuple), Withheld::PeerWindow);
                return None;
            }
            Decision::Withhold(reason) => {
                if reason == Withheld::CongestionWindow {
                    self.snd.window_limited_until = Some(self.snd.max);
                }
                shared.withhold(Some(self.tuple), reason);
                return None;
            }
        };
        let mut plan = Plan::bare(self.snd.nxt, Flags::ACK, Sent::Data);
        (plan.offset, plan.length) = (offset as usize, length);
        self.finish_flags(&mut plan);
        plan.reason = self.data_reason(&plan, again);
        Some(plan)
    }

    /// PSH on the last byte that was written, FIN behind it.
    fn finish_flags(&self, plan: &mut Plan) {
        let end = plan.seq.plus(plan.length);
        if end == self.queue_end() {
            if plan.length > 0 {
                plan.flags |= Flags::PSH;
            }
            if self.snd.fin_queued && !self.snd.fin_acked {
                plan.flags |= Flags::FIN;
            }
        }
    }

    fn data_reason(&self, plan: &Plan, again: bool) -> Sent {
        let fin = plan.flags.contains(Flags::FIN);
        if again && plan.length == 0 {
            Sent::FinRetransmitted
        } else if again && plan.seq == self.snd.una && self.snd.rto.expiries() > 0 {
            Sent::TimeoutRetransmission
        } else if again {
            self.snd.resending
        } else if fin && plan.length == 0 {
            Sent::Fin
        } else if fin {
            Sent::DataAndFin
        } else if plan.flags.contains(Flags::PSH) {
            Sent::DataPushed
        } else {
            Sent::Data
        }
    }

    /// What there is and what limits it.
    fn offer(&self, left: u32, in_flight: u32, again: bool) -> Offer {
        let snd = &self.snd;
        let window = snd.recovery.effective_window(snd.controller.window(), snd.mss);
        // RFC 3042 2 lets out what was never sent; behind a timeout that would be old data.
        let limited_transmit = if again { 0 } else { snd.recovery.limited_transmit(snd.mss) };
        let window = window + limited_transmit;
        let small = snd.small_end.is_some_and(|end| end.is_after(snd.una));
        Offer {
            queued: u64::from(left),
            peer_room: u64::from(snd.window.usable(snd.nxt)),
            congestion_room: window.saturating_sub(u64::from(in_flight)),
            max_window: u64::from(snd.window.max()),
            mss: self.payload_limit(),
            limit: self.largest_transmission(),
            in_flight: in_flight > 0,
            small_in_flight: small,
            nodelay: self.options.nodelay,
            cork: self.options.cork,
            fin: snd.fin_queued,
            overdue: snd.overdue || again,
        }
    }

    /// One segment, or as many as fit into a super-segment where the link cuts them.
    pub(crate) fn largest_transmission(&self) -> u32 {
        let size = self.payload_limit();
        // A duplicate is reported once, so not by a segment that will be several (RFC 2883 4).
        if !self.route.segmentation || self.rcv.sack.duplicate_waits() {
            return size;
        }
        // IP and TCP headers at their longest leave this for payload.
        let most = LONGEST_PACKET - 60 - 60;
        most / size * size
    }

    /// RFC 5681 4.1: after an idle time the window has to be earned again.
    fn restart_after_idle(&mut self, shared: &Shared) {
        let Some(last) = self.snd.last_sent else { return };
        let idle = shared.now.since(last);
        if self.snd.una == self.snd.max && idle > self.retransmission_timeout() {
            self.snd.controller.on_idle_restart(shared.now, idle);
            self.snd.last_sent = None;
        }
    }

    /// An ACK by itself, when one is due.
    fn plan_ack(&mut self, shared: &mut Shared) -> Option<Plan> {
        let now = match self.rcv.ack.need() {
            AckNeed::Now(reason) => Some(reason),
            AckNeed::Delayed(_) if self.reply.is_none() => {
                shared.withhold(Some(self.tuple), Withheld::AckDelayed);
                None
            }
            AckNeed::Delayed(_) | AckNeed::None => None,
        };
        let update = self.rcv.window_update.then_some(Sent::WindowUpdate);
        let reason = now.or(self.reply).or(update)?;
        Some(Plan::bare(self.snd.max, Flags::ACK, reason))
    }
}
