//! What a connection sends next, and why; or why it waits.

use wire::tcp::Flags;
use wire::time::Instant;

use crate::ip::Offload;
use crate::reason::{Sent, Withheld};
use crate::shared::Shared;
use crate::tcp::connection::Connection;
use crate::tcp::recovery::Phase;
use crate::tcp::recv::ack::AckNeed;
use crate::tcp::send::inflight::Fate;
use crate::tcp::send::nagle::{self, Decision, Offer};
use crate::tcp::send::pacing;
use crate::tcp::seq::Seq;
use crate::tcp::state::State;
use crate::trace::Timer;

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
    /// It asks something.
    pub(super) probe: Option<Probe>,
}

/// What a segment with text asks besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Probe {
    /// What became of the last ones (RFC 8985 7.3).
    Tail,
    /// Whether the path takes one of its size (RFC 4821 7.3).
    Path,
}

impl Plan {
    /// A segment without text at `seq`.
    fn bare(seq: Seq, flags: Flags, reason: Sent) -> Self {
        Self { seq, flags, offset: 0, length: 0, reason, probe: None }
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
        self.plan_head()
            .or_else(|| self.plan_probe())
            .or_else(|| self.plan_paced(shared))
            .or_else(|| self.plan_ack(shared))
    }

    /// Whether there is nothing more to plan, for sure: everything that was written is out, and the
    /// segment that has just left answered what there was to answer.
    pub(super) fn has_said_all(&self, now: Instant) -> bool {
        let snd = &self.snd;
        self.syn_acknowledged()
            && snd.nxt == self.queue_end().plus(u32::from(snd.fin_queued))
            && snd.work.inflight.lost() == 0
            && (snd.retransmit_head, snd.probe, self.reply) == (None, None, None)
            && !snd.recovery.tlp.due
            && !self.rcv.window_update
            && self.rcv.ack.need() == AckNeed::None
            && snd.pacer.not_before(now).is_none()
    }

    /// What [`plan`](Self::plan) does besides when it finds that [all was said](Self::has_said_all).
    pub(super) fn end_of_turn(&mut self, now: Instant) {
        if !self.snd.work.inflight.is_empty() {
            self.note_application_limited();
        }
        self.settle_persist(now);
    }

    /// What the congestion window and the sending rate limit.
    fn plan_paced(&mut self, shared: &mut Shared) -> Option<Plan> {
        if self.snd.work.inflight.is_empty() && self.nothing_unsent() {
            return None;
        }
        if let Some(at) = self.snd.pacer.not_before(shared.now) {
            shared.withhold(Some(self.tuple()), Withheld::Pacing);
            self.set_timer(Timer::Pacing, at);
            return None;
        }
        if self.snd.recovery.tlp.due
            && let Some(probe) = self.plan_tail_probe()
        {
            return Some(probe);
        }
        if self.seldom.is_some() {
            self.advance_search(shared.now);
            if let Some(size) = self.path_probe_size(shared, self.unsent()) {
                return self.plan_path_probe(shared, size);
            }
        }
        if self.snd.work.repair.frto.prefers_new() {
            return self.plan_data(shared).or_else(|| self.plan_lost(shared));
        }
        self.plan_lost(shared).or_else(|| self.plan_data(shared))
    }

    /// SYN or SYN,ACK, first or again.
    fn plan_syn(&mut self, flags: Flags) -> Option<Plan> {
        if !self.snd.syn_due {
            let reply = self.reply.take()?;
            return Some(Plan::bare(self.snd.nxt, Flags::ACK, reply));
        }
        let first = self.snd.nxt == self.snd.iss;
        let reason = match (flags.contains(Flags::ACK), self.snd.rto.expiries()) {
            // What sends its first segment was opened by the peer alone.
            (true, 0) if self.counts.segs_out == 0 => Sent::SynAccepted,
            (true, 0) => Sent::SimultaneousOpen,
            (true, _) => Sent::SynAckRetransmitted,
            (false, 0) if first => Sent::ActiveOpen,
            (false, _) => Sent::SynRetransmitted,
        };
        Some(Plan::bare(self.snd.iss, flags, reason))
    }

    /// The oldest segment, out of turn: whatever the windows say, it must go out again.
    fn plan_head(&mut self) -> Option<Plan> {
        let reason = self.snd.retransmit_head.take()?;
        let start = self.snd.work.inflight.first()?.start;
        let end = start.plus(self.payload_limit()).earlier_of(self.head_end());
        Some(self.plan_again(start, self.with_fin(end), reason))
    }

    /// Where at the latest the oldest segment ends: at what was sent, and at what the peer takes if it took
    /// a part of its window back.
    fn head_end(&self) -> Seq {
        let edge = self.snd.window.edge();
        if edge.is_after(self.snd.una) { edge.earlier_of(self.snd.nxt) } else { self.snd.nxt }
    }

    /// How much text the oldest segment carries when it goes again by itself.
    pub(crate) fn head_length(&self) -> u32 {
        let text = self.head_end().earlier_of(self.queue_end()).distance_from(self.snd.una);
        text.min(self.payload_limit())
    }

    /// The lowest of what is lost.
    fn plan_lost(&mut self, shared: &mut Shared) -> Option<Plan> {
        if self.snd.work.inflight.lost() == 0 {
            return None;
        }
        let room = self.congestion_room(0);
        let segments = room / u64::from(self.snd.mss.max(1)) * u64::from(self.snd.mss);
        let limit = u32::try_from(segments.max(room.min(u64::from(self.snd.mss))));
        let most = self.largest_transmission();
        let limit = limit.unwrap_or(u32::MAX).min(most);
        let (start, end) = self.snd.work.inflight.next_lost(most)?;
        let least = end.distance_from(start).min(self.snd.mss);
        if limit < least {
            self.note_window_usage(true);
            shared.withhold(Some(self.tuple()), Withheld::CongestionWindow);
            return None;
        }
        let end = end.earlier_of(start.plus(limit));
        if end.is_after(self.snd.window.edge().later_of(self.snd.una.plus(self.snd.mss))) {
            // The peer took its window back: what lies beyond waits for the timer, or for the peer.
            shared.withhold(Some(self.tuple()), Withheld::PeerWindow);
            return None;
        }
        let reason = match self.snd.recovery.phase {
            Phase::Fast { .. } => Sent::SackRetransmission,
            _ => self.snd.resending,
        };
        let end = if self.last_is_lost() { self.with_fin(end) } else { end };
        Some(self.plan_again(start, end, reason))
    }

    fn last_is_lost(&self) -> bool {
        self.snd.work.inflight.last().is_some_and(|last| last.fate == Fate::Lost)
    }

    /// A FIN needs no room: it goes again with the data before it, as it went the first time.
    fn with_fin(&self, end: Seq) -> Seq {
        if end == self.queue_end() && self.fin_sent() { end.plus(1) } else { end }
    }

    /// What was sent before, from `start` to `end`; a FIN among it has the last number.
    fn plan_again(&self, start: Seq, end: Seq, reason: Sent) -> Plan {
        let mut plan = Plan::bare(start, Flags::ACK, reason);
        let text_end = end.earlier_of(self.queue_end());
        plan.offset = start.distance_from(self.snd.una) as usize;
        plan.length = text_end.distance_from(start);
        if start.is_after(self.queue_end()) || start == self.queue_end() {
            (plan.length, plan.reason) = (0, Sent::FinRetransmitted);
        }
        plan.flags.set(Flags::PSH, plan.length > 0 && text_end == self.queue_end());
        plan.flags.set(Flags::FIN, end.is_after(self.queue_end()));
        plan
    }

    /// RFC 8985 7.3: new data, if there is any and the peer takes it; else the last segment again.
    fn plan_tail_probe(&mut self) -> Option<Plan> {
        self.snd.recovery.tlp.due = false;
        let mut plan = if self.has_new_data() {
            let start = self.snd.nxt;
            let room = self.snd.window.usable(start).min(self.payload_limit());
            let end = self.queue_end().earlier_of(start.plus(room));
            let mut plan = self.plan_again(start, end, Sent::TailLossProbe);
            self.finish_flags(&mut plan);
            plan
        } else {
            let last = *self.snd.work.inflight.last().filter(|last| last.fate == Fate::Flying)?;
            let text_end = last.end.earlier_of(self.queue_end());
            let start = last.start.later_of(text_end.minus(self.payload_limit()));
            let mut plan = self.plan_again(start, last.end, Sent::TailLossProbe);
            plan.reason = Sent::TailLossProbe;
            plan
        };
        plan.probe = Some(Probe::Tail);
        Some(plan)
    }

    /// RFC 4821 7.4: a segment longer than the others, in front of some more. It waits for the congestion
    /// window like any.
    fn plan_path_probe(&mut self, shared: &mut Shared, size: u32) -> Option<Plan> {
        if self.congestion_room(0) < u64::from(size) {
            self.note_window_usage(true);
            shared.withhold(Some(self.tuple()), Withheld::CongestionWindow);
            return None;
        }
        let start = self.snd.nxt;
        let mut plan = self.plan_again(start, start.plus(size), Sent::PathProbe);
        plan.probe = Some(Probe::Path);
        Some(plan)
    }

    /// How many bytes were written and never sent.
    pub(crate) fn unsent(&self) -> u32 {
        let queued = u32::try_from(self.snd.work.queue.len()).unwrap_or(u32::MAX);
        queued.saturating_sub(self.snd.nxt.distance_from(self.snd.una))
    }

    fn nothing_unsent(&self) -> bool {
        self.snd.work.queue.is_empty() && (!self.snd.fin_queued || self.snd.fin_acked)
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
        let queued = u32::try_from(self.snd.work.queue.len()).unwrap_or(u32::MAX);
        let left = queued.saturating_sub(offset);
        let fin_left = self.snd.fin_queued && !self.snd.fin_acked && offset <= queued;
        if left == 0 && !fin_left {
            self.note_application_limited();
            return None;
        }
        self.restart_after_idle(shared);
        let offer = self.offer(left, offset);
        let length = match nagle::decide(&offer) {
            Decision::Send(length) => length,
            Decision::Nothing if offer.peer_room > 0 => 0,
            Decision::Nothing => {
                shared.withhold(Some(self.tuple()), Withheld::PeerWindow);
                return None;
            }
            Decision::Withhold(reason) => {
                if reason == Withheld::CongestionWindow {
                    self.note_window_usage(true);
                }
                shared.withhold(Some(self.tuple()), reason);
                return None;
            }
        };
        let mut plan = Plan::bare(self.snd.nxt, Flags::ACK, Sent::Data);
        (plan.offset, plan.length) = (offset as usize, length);
        self.finish_flags(&mut plan);
        plan.reason = data_reason(&plan);
        Some(plan)
    }

    /// The program has nothing more to send, and more could be: the path is not measured.
    fn note_application_limited(&mut self) {
        let pipe = self.snd.work.inflight.pipe();
        if self.snd.work.inflight.lost() == 0 && u64::from(pipe) < self.send_window() {
            self.snd.rate.on_application_limited(pipe);
        }
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

    /// What the congestion window still takes, in bytes.
    fn congestion_room(&self, beyond: u64) -> u64 {
        let window = self.send_window().saturating_add(beyond);
        window.saturating_sub(u64::from(self.snd.work.inflight.pipe()))
    }

    /// What there is and what limits it.
    fn offer(&self, left: u32, in_flight: u32) -> Offer {
        let snd = &self.snd;
        // RFC 3042 2; with SACK it follows from what is known to have left the network, and after a
        // timeout there are lost segments to send.
        let limited_transmit = match self.rcv.sack_agreed || snd.recovery.is_repairing() {
            true => 0,
            false => snd.work.repair.newreno.limited_transmit(snd.mss),
        };
        let small = snd.small_end.is_some_and(|end| end.is_after(snd.una));
        Offer {
            queued: u64::from(left),
            peer_room: u64::from(snd.window.usable(snd.nxt)),
            congestion_room: self.congestion_room(limited_transmit),
            max_window: u64::from(snd.window.max()),
            mss: self.payload_limit(),
            limit: self.largest_transmission(),
            in_flight: in_flight > 0,
            small_in_flight: small,
            nodelay: self.options.nodelay,
            cork: self.options.cork,
            fin: snd.fin_queued,
            overdue: snd.overdue,
        }
    }

    /// One segment, or as many as fit into a super-segment where the link cuts them.
    pub(crate) fn largest_transmission(&self) -> u32 {
        let size = self.payload_limit();
        // A duplicate is reported once, so not by a segment that will be several (RFC 2883 4).
        if self.route.offload < Offload::Segmentation || self.rcv.work.report.duplicate_waits() {
            return size;
        }
        // IP and TCP headers at their longest leave this for payload.
        let longest = LONGEST_PACKET - 60 - 60;
        let most = self.pacing_rate().map_or(longest, |rate| {
            let wanted = self.snd.controller.send_quantum();
            let wanted = wanted.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
            wanted.unwrap_or_else(|| pacing::quantum(rate, self.snd.mss)).min(longest)
        });
        (most / size * size).max(size)
    }

    /// RFC 5681 4.1: after an idle time the window has to be earned again, and the controller hears
    /// of every silence that was the program's.
    fn restart_after_idle(&mut self, shared: &Shared) {
        let idle = !self.snd.restarted && self.snd.una == self.snd.nxt;
        let Some(last) = self.counts.last_data_sent.filter(|_| idle) else { return };
        let idle = shared.now.since(last);
        // No timeout is shorter than that, which is known without reckoning.
        let limits = &self.options.rto;
        if idle > limits.min.min(limits.max) && idle > self.retransmission_timeout() {
            self.snd.controller.on_idle_restart(shared.now, idle);
            self.snd.restarted = true;
        }
        if self.snd.rate.is_application_limited() {
            self.snd.controller.on_restart(shared.now);
        }
    }

    /// An ACK by itself, when one is due.
    fn plan_ack(&mut self, shared: &mut Shared) -> Option<Plan> {
        let now = match self.rcv.ack.need() {
            AckNeed::Now(reason) => Some(reason),
            AckNeed::Delayed(_) if self.reply.is_none() => {
                shared.withhold(Some(self.tuple()), Withheld::AckDelayed);
                None
            }
            AckNeed::Delayed(_) | AckNeed::None => None,
        };
        let update = self.rcv.window_update.then_some(Sent::WindowUpdate);
        let reason = now.or(self.reply).or(update)?;
        Some(Plan::bare(self.snd.nxt, Flags::ACK, reason))
    }
}

fn data_reason(plan: &Plan) -> Sent {
    let fin = plan.flags.contains(Flags::FIN);
    match (fin, plan.length) {
        (true, 0) => Sent::Fin,
        (true, _) => Sent::DataAndFin,
        (false, _) if plan.flags.contains(Flags::PSH) => Sent::DataPushed,
        (false, _) => Sent::Data,
    }
}
