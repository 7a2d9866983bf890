//! The only builder of segments (RFC 9293 3.8), in one order of priority.
//!
//! Everything else leaves marks; here they become packets. First it is planned what a connection
//! sends next and why, or why it waits; then headers are built; then the connection takes note.

use alloc::boxed::Box;
use arrayvec::ArrayVec;
use wire::checksum;
use wire::frame::{TransmitChecksum, TransmitMeta};
use wire::ip::Protocol;
use wire::tcp::{Flags, Header, Options};

use crate::FourTuple;
use crate::ip::{Envelope, Interfaces, LinkHeader, Route, Waiter};
use crate::reason::{Sent, Withheld};
use crate::shared::Shared;
use crate::tcp::connection::Connection;
use crate::tcp::recv::ack::AckNeed;
use crate::tcp::recv::window::{self, Space, Window};
use crate::tcp::reply::Reply;
use crate::tcp::send::nagle::{self, Decision, Offer};
use crate::tcp::seq::Seq;
use crate::tcp::state::State;
use crate::tcp::{Ready, Tcp};
use crate::trace::{Timer, What};
use crate::transmit::{Body, HeaderBuf, MAX_SLICES, Packet};
use crate::ConnectionId;

/// The longest IP packet.
const LONGEST_PACKET: u32 = 65_535;
/// Where the checksum stands in a TCP header.
const CHECKSUM_OFFSET: usize = 16;

/// A segment that a connection will send next.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seq: Seq,
    flags: Flags,
    /// Payload: so many bytes, from this one of the send queue on.
    offset: usize,
    length: u32,
    reason: Sent,
}

impl Plan {
    /// A segment without text at `seq`.
    fn bare(seq: Seq, flags: Flags, reason: Sent) -> Self {
        Self { seq, flags, offset: 0, length: 0, reason }
    }
}

impl Tcp {
    /// The next segment of any endpoint: answers first, then whoever waits longest.
    pub(crate) fn next_packet(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        while let Some(reply) = self.replies.pop() {
            if let Some(packet) = send_reply(shared, interfaces, header, &reply) {
                return Some(packet);
            }
        }
        while let Some(ready) = self.ready.pop_front() {
            let packet = match ready {
                Ready::Connection(id) => self.send_segment(shared, interfaces, header, id),
                Ready::HalfOpen(id) => self.send_syn_ack(shared, interfaces, header, id),
                Ready::Reply(reply) => send_reply(shared, interfaces, header, &reply),
            };
            if packet.is_some() {
                return packet;
            }
        }
        None
    }

    /// A connection's next segment. It queues up again behind the others, for it may have more.
    fn send_segment(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        header: &mut HeaderBuf,
        id: ConnectionId,
    ) -> Option<Packet> {
        let conn = &mut **self.connections.get_mut(id)?;
        conn.queued = false;
        if matches!(conn.state, State::Closed | State::TimeWait) {
            return None;
        }
        conn.refresh_route(interfaces);
        let Some(plan) = conn.plan(shared) else {
            conn.settle_persist(shared.now);
            self.arm(id);
            return None;
        };
        let waiter = || Waiter::Tcp(Ready::Connection(id));
        let Some(link) = interfaces.link_header(shared, &conn.route, waiter) else {
            conn.parked = true;
            shared.withhold(Some(conn.tuple), Withheld::NeighborPending);
            return None;
        };
        let packet = conn.build(shared, header, link, &plan);
        conn.queued = true;
        self.ready.push_back(Ready::Connection(id));
        self.arm(id);
        Some(packet)
    }

    fn send_syn_ack(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        header: &mut HeaderBuf,
        id: super::listen::half_open::HalfOpenId,
    ) -> Option<Packet> {
        let (tuple, segment, reason) = self.take_syn_ack(shared, id)?;
        let route = interfaces.route(Some(tuple.local.ip()), tuple.remote.ip()).ok()?;
        let waiter = || Waiter::Tcp(Ready::HalfOpen(id));
        let Some(link) = interfaces.link_header(shared, &route, waiter) else {
            self.put_syn_ack_back(id, reason);
            return None;
        };
        let out = Outgoing { tuple, route: &route, link, ttl: 64, traffic_class: 0 };
        Some(out.packet(shared, header, &segment, 0, reason, None))
    }

    /// The slices of a connection's send queue that a packet carries.
    pub(crate) fn payload<'a>(
        &'a self,
        id: ConnectionId,
        offset: usize,
        length: usize,
        into: &mut ArrayVec<&'a [u8], MAX_SLICES>,
    ) {
        if let Some(conn) = self.connections.get(id) {
            conn.snd.queue.slices(offset, length, into);
        }
    }
}

/// Sends an answer that belongs to no connection.
fn send_reply(
    shared: &mut Shared,
    interfaces: &mut Interfaces,
    header: &mut HeaderBuf,
    reply: &Reply,
) -> Option<Packet> {
    let tuple = reply.tuple;
    let Ok(route) = interfaces.route(Some(tuple.local.ip()), tuple.remote.ip()) else {
        shared.drop_packet(Some(tuple), crate::reason::Dropped::NoRoute);
        return None;
    };
    let waiter = || Waiter::Tcp(Ready::Reply(Box::new(reply.clone())));
    let link = interfaces.link_header(shared, &route, waiter)?;
    let segment = Header {
        source_port: tuple.local.port(),
        destination_port: tuple.remote.port(),
        sequence: reply.seq.0,
        acknowledgment: reply.ack.0,
        flags: reply.flags,
        window: reply.window,
        options: reply.options,
        ..Header::default()
    };
    let out = Outgoing { tuple, route: &route, link, ttl: 64, traffic_class: 0 };
    Some(out.packet(shared, header, &segment, 0, reply.reason, None))
}

impl Connection {
    /// What to send next, and why; `None` when there is nothing, or it has to wait.
    fn plan(&mut self, shared: &mut Shared) -> Option<Plan> {
        match self.state {
            State::SynSent => return self.plan_syn(Flags::SYN),
            State::SynReceived => return self.plan_syn(Flags::SYN | Flags::ACK),
            _ => {}
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
        let length = queued.min(sent).min(self.snd.mss);
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
            mss: snd.mss,
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
        if !self.route.segmentation {
            return self.snd.mss;
        }
        // IP and TCP headers at their longest leave this for payload.
        let most = LONGEST_PACKET - 60 - 60;
        most / self.snd.mss * self.snd.mss
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

    /// Builds the planned segment, and takes note that it was sent.
    fn build(
        &mut self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
        link: LinkHeader,
        plan: &Plan,
    ) -> Packet {
        let syn = plan.flags.contains(Flags::SYN);
        let window = if syn { self.syn_window() } else { self.choose_window() };
        let segment = Header {
            source_port: self.tuple.local.port(),
            destination_port: self.tuple.remote.port(),
            sequence: plan.seq.0,
            acknowledgment: if plan.flags.contains(Flags::ACK) { self.rcv.nxt.0 } else { 0 },
            flags: plan.flags,
            window: window.field,
            options: self.segment_options(shared, syn),
            ..Header::default()
        };
        let body = (self.id, plan.offset);
        let out = Outgoing {
            tuple: self.tuple,
            route: &self.route,
            link,
            ttl: self.options.ttl,
            traffic_class: self.options.traffic_class,
        };
        let text = (plan.length > 0).then_some((body, self.snd.mss));
        let packet = out.packet(shared, header, &segment, plan.length, plan.reason, text);
        self.note_sent(shared, plan, window);
        packet
    }

    fn segment_options(&self, shared: &Shared, syn: bool) -> Options {
        let timestamps = self.timestamps.map(|ours| ours.option(shared.now));
        if !syn {
            return Options { timestamps, ..Options::default() };
        }
        // A SYN,ACK answers only what the peer's SYN offered (RFC 7323 2.2).
        let scaled = shared.config.window_scaling
            && (self.state == State::SynSent || self.rcv.scale != 0 || self.snd.scale != 0);
        Options {
            mss: u16::try_from(self.rcv.mss).ok(),
            window_scale: scaled.then_some(self.rcv.scale),
            timestamps,
            ..Options::default()
        }
    }

    fn note_sent(&mut self, shared: &mut Shared, plan: &Plan, window: Window) {
        let now = shared.now;
        let space = plan.length
            + u32::from(plan.flags.contains(Flags::SYN))
            + u32::from(plan.flags.contains(Flags::FIN));
        self.counts.segs_out += u64::from(plan.length.div_ceil(self.snd.mss).max(1));
        if plan.flags.contains(Flags::ACK) {
            // An ACK answers everything that was asked.
            self.rcv.ack.acknowledged(plan.length > 0);
            self.rcv.window_update = false;
            self.reply = None;
            self.rcv.edge = self.rcv.edge.later_of(window.edge);
            if let Some(ours) = &mut self.timestamps {
                ours.ack_sent(self.rcv.nxt);
            }
        }
        if space > 0 {
            self.note_text_sent(now, plan, space);
        }
    }

    /// Sequence numbers left: they are timed, and will be sent again if nobody acknowledges them.
    fn note_text_sent(&mut self, now: wire::time::Instant, plan: &Plan, space: u32) {
        let end = plan.seq.plus(space);
        let snd = &mut self.snd;
        let again = plan.seq.is_before(snd.max);
        self.counts.bytes_sent += u64::from(plan.length);
        if again {
            let segments = u64::from(plan.length.div_ceil(snd.mss).max(1));
            self.counts.total_retrans += segments;
            self.counts.bytes_retrans += u64::from(plan.length);
            // Karn: what was sent twice measures nothing.
            snd.timed = None;
        } else if snd.timed.is_none() {
            snd.timed = Some((end, now));
        }
        if plan.seq == snd.nxt {
            snd.nxt = end;
        }
        snd.max = snd.max.later_of(end);
        snd.overdue = false;
        if !plan.length.is_multiple_of(snd.mss) {
            snd.small_end = Some(end);
        }
        snd.last_sent = Some(now);
        self.counts.last_data_sent = Some(now);
        let flight = u64::from(snd.max.distance_from(snd.una));
        snd.controller.on_sent(now, u64::from(plan.length), flight);
        if !self.deadlines.runs(Timer::Retransmission) {
            let timeout = self.retransmission_timeout();
            self.deadlines.set(Timer::Retransmission, now.after(timeout));
        }
        if let (Some(limit), false) =
            (self.options.user_timeout, self.deadlines.runs(Timer::UserTimeout))
        {
            self.deadlines.set(Timer::UserTimeout, now.after(limit));
        }
        self.deadlines.stop(Timer::Persist);
    }

    fn refresh_route(&mut self, interfaces: &Interfaces) {
        if self.route.generation != interfaces.generation() {
            let (source, remote) = (self.tuple.local.ip(), self.tuple.remote.ip());
            // Without a route the old one serves until timers give up: addresses come back.
            if let Ok(route) = interfaces.route(Some(source), remote) {
                let mtu = route.mtu.min(self.route.mtu);
                self.route = Route { mtu, ..route };
            }
        }
    }

    /// The window of a SYN is never scaled (RFC 7323 2.2).
    fn syn_window(&self) -> Window {
        let window = self.initial_window();
        let edge = self.rcv.nxt.plus(window);
        Window { field: u16::try_from(window).unwrap_or(u16::MAX), edge }
    }

    fn choose_window(&self) -> Window {
        window::choose(self.rcv.nxt, self.rcv.edge, self.rcv.scale, &self.space())
    }

    fn space(&self) -> Space {
        Space {
            free: u32::try_from(self.receive_space()).unwrap_or(u32::MAX),
            capacity: u32::try_from(self.options.receive_buffer).unwrap_or(u32::MAX),
            mss: self.rcv.mss,
        }
    }

    /// The window field that an ACK would carry now.
    pub(crate) fn advertised_window_field(&self) -> u16 {
        self.choose_window().field
    }

    /// The program read so much that the peer should hear of it.
    pub(crate) fn window_update_due(&self) -> bool {
        self.state.may_receive()
            && self.state.is_synchronized()
            && window::update_worthwhile(
                self.rcv.nxt,
                self.rcv.edge,
                self.rcv.scale,
                &self.space(),
            )
    }
}

/// What every segment of one flow has in front of its TCP header.
struct Outgoing<'a> {
    tuple: FourTuple,
    route: &'a Route,
    link: LinkHeader,
    ttl: u8,
    traffic_class: u8,
}

impl Outgoing<'_> {
    /// Writes every header, counts and traces. `text` is whose queue the payload is in, from which
    /// byte on, and the size of the pieces that a super-segment is to be cut into.
    fn packet(
        &self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
        segment: &Header,
        length: u32,
        reason: Sent,
        text: Option<((ConnectionId, usize), u32)>,
    ) -> Packet {
        let (source, destination) = (self.tuple.local.ip(), self.tuple.remote.ip());
        let envelope = Envelope {
            link: self.link,
            source,
            destination,
            protocol: Protocol::TCP,
            ttl: self.ttl,
            traffic_class: self.traffic_class,
            dont_fragment: true,
            identification: 0,
        };
        let at = envelope.len();
        let tcp_len = segment.emit(&mut header.0[at..]);
        let transport_len = tcp_len + length as usize;
        envelope.emit(&mut header.0, transport_len);
        // A transport segment is never longer than an IP packet.
        let counted = u32::try_from(transport_len).unwrap_or(u32::MAX);
        let pseudo = checksum::pseudo_header(source, destination, Protocol::TCP, counted);
        let field = at + CHECKSUM_OFFSET..at + CHECKSUM_OFFSET + 2;
        header.0[field].copy_from_slice(&pseudo.partial().to_be_bytes());
        let offloaded = self.route.checksum;
        if !offloaded && text.is_none() {
            complete_checksum(&mut header.0[at..at + tcp_len], &[]);
        }
        shared.counters.count_sent(reason);
        if shared.trace.is_on() {
            let what = What::SegmentOut { header: *segment, length, reason };
            shared.trace(Some(self.tuple), what);
        }
        let partial = TransmitChecksum::Partial {
            start: u16::try_from(at).unwrap_or(u16::MAX),
            offset: 16,
        };
        let pieces = text.filter(|(_, mss)| length > *mss).map(|(_, mss)| mss);
        let segment_size = pieces.and_then(|mss| u16::try_from(mss).ok()?.try_into().ok());
        Packet {
            interface: self.route.interface,
            header_len: at + tcp_len,
            body: match text {
                None => Body::Empty,
                Some(((connection, offset), _)) => Body::Stream {
                    connection,
                    offset,
                    length: length as usize,
                    complete_checksum_at: (!offloaded).then_some(at),
                },
            },
            meta: TransmitMeta {
                checksum: if offloaded { partial } else { TransmitChecksum::Complete },
                segment_size,
                comment: reason.comment(),
            },
        }
    }
}

/// Completes the checksum of a segment whose field holds the pseudo-header's sum.
pub(crate) fn complete_checksum(header: &mut [u8], payload: &[&[u8]]) {
    let sum = checksum::sum(header).followed_by(
        header.len(),
        checksum::sum_slices(payload.iter().copied()),
    );
    wire::tcp::store_checksum(header, sum.finish());
}
