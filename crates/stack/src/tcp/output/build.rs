//! Headers, and what a connection remembers of a segment that leaves.

use wire::checksum;
use wire::frame::{TransmitChecksum, TransmitMeta};
use wire::ip::Protocol;
use wire::tcp::{Flags, Header, Options, SackBlocks};
use wire::time::Instant;

use crate::ip::{Envelope, Hop, Interfaces, LinkHeader, Offload};
use crate::reason::Sent;
use crate::shared::Shared;
use crate::tcp::acked::announce_room;
use crate::tcp::connection::{Connection, Progress};
use crate::tcp::ecn::Codepoint;
use crate::tcp::output::plan::{Plan, Probe};
use crate::tcp::path_search::search_of;
use crate::tcp::recv::window::{self, Space, Window};
use crate::tcp::send::inflight::Sending;
use crate::tcp::state::State;
use crate::trace::{Timer, What};
use crate::transmit::{Body, HeaderBuf, Packet};
use crate::{ConnectionId, FourTuple};

/// Where the checksum stands in a TCP header.
const CHECKSUM_OFFSET: usize = 16;

impl Connection {
    /// Builds the planned segment, and takes note that it was sent.
    pub(super) fn build(
        &mut self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
        link: LinkHeader,
        plan: &Plan,
    ) -> Packet {
        let syn = plan.flags.contains(Flags::SYN);
        let (sack, size) = match plan.probe {
            Some(Probe::Path) => (SackBlocks::NONE, plan.length),
            _ if syn => (SackBlocks::NONE, self.snd.mss),
            _ => self.take_sack_blocks(plan.length),
        };
        let (flags, codepoint) = self.ecn_marks(plan.seq, plan.length, plan.flags);
        let window = if syn { self.syn_window() } else { self.choose_window() };
        let segment = Header {
            source_port: self.tuple().local.port(),
            destination_port: self.tuple().remote.port(),
            sequence: plan.seq.0,
            acknowledgment: if plan.flags.contains(Flags::ACK) { self.rcv.nxt.0 } else { 0 },
            flags,
            window: window.field,
            options: Options { sack, ..self.segment_options(shared, syn) },
            ..Header::default()
        };
        let body = (self.id, plan.offset);
        let out = Outgoing {
            tuple: self.tuple(),
            route: &self.route,
            link,
            ttl: self.options.ttl,
            traffic_class: self.options.traffic_class & !Codepoint::MASK | codepoint as u8,
        };
        let text = (plan.length > 0).then_some((body, size));
        let packet = out.packet(shared, header, &segment, plan.length, plan.reason, text);
        self.note_sent(shared, plan, window, size);
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
            // RFC 2018 2, and likewise.
            sack_permitted: shared.config.sack
                && (self.state == State::SynSent || self.rcv.sack_agreed),
            timestamps,
            ..Options::default()
        }
    }

    /// `size` is the payload of a full segment of this transmission.
    fn note_sent(&mut self, shared: &mut Shared, plan: &Plan, window: Window, size: u32) {
        let now = shared.now;
        let space = plan.length
            + u32::from(plan.flags.contains(Flags::SYN))
            + u32::from(plan.flags.contains(Flags::FIN));
        self.counts.segs_out = self.counts.segs_out.wrapping_add(plan.length.div_ceil(size).max(1));
        if plan.flags.contains(Flags::ACK) {
            // An ACK answers everything that was asked.
            self.rcv.ack.acknowledged(plan.length > 0);
            self.rcv.window_update = false;
            // One ACK reports one duplicate (RFC 2883 4).
            self.reply = self.rcv.work.report.duplicate_waits().then_some(Sent::DuplicateAck);
            self.rcv.edge = self.rcv.edge.later_of(window.edge);
            if let Some(ours) = &mut self.timestamps {
                ours.ack_sent(self.rcv.nxt);
            }
        }
        if space > 0 {
            self.note_text_sent(now, plan, space, size);
            self.arm_loss_probe(shared);
            // What has left makes room under `TCP_NOTSENT_LOWAT`.
            if self.user.wants_room && self.options.notsent_lowat.is_some() {
                announce_room(self, shared);
            }
        }
    }

    /// Sequence numbers left: they are recorded, and will be sent again if nobody acknowledges them.
    fn note_text_sent(&mut self, now: Instant, plan: &Plan, space: u32, size: u32) {
        if plan.flags.contains(Flags::SYN) {
            self.note_syn_sent(now);
        } else {
            self.note_in_flight(now, plan, space, size);
            self.note_window_usage(false);
        }
        self.counts.bytes_sent += u64::from(plan.length);
        self.counts.last_data_sent = Some(now);
        self.snd.restarted = false;
        self.snd.overdue = false;
        let rearm =
            plan.probe == Some(Probe::Tail) || (self.rcv.sack_agreed && plan.seq == self.snd.una);
        if rearm || !self.timer_runs(Timer::Retransmission) {
            let timeout = self.retransmission_timeout();
            self.set_timer(Timer::Retransmission, now.after(timeout));
        }
        if let (Some(limit), false) =
            (self.options.user_timeout, self.timer_runs(Timer::UserTimeout))
        {
            self.set_timer(Timer::UserTimeout, now.after(limit));
        }
        self.stop_timer(Timer::Persist);
    }

    fn note_syn_sent(&mut self, now: Instant) {
        let first = self.snd.nxt == self.snd.iss;
        self.snd.work.syn_sent = first.then_some(now);
        self.snd.syn_due = false;
        self.snd.nxt = self.snd.iss.plus(1);
        self.counts.total_retrans += u32::from(!first);
    }

    fn note_in_flight(&mut self, now: Instant, plan: &Plan, space: u32, size: u32) {
        let end = plan.seq.plus(space);
        let again = plan.seq.is_before(self.snd.nxt);
        let rate = self.pacing_rate();
        let snd = &mut self.snd;
        let flight = snd.work.inflight.pipe().saturating_add(space);
        let stamp = snd.rate.on_sent(&mut snd.work.clock, now, space, flight);
        let sending = Sending { at: now, size: u16::try_from(size).unwrap_or(u16::MAX), stamp };
        if again {
            let segments = plan.length.div_ceil(size).max(1);
            self.counts.total_retrans = self.counts.total_retrans.saturating_add(segments);
            self.counts.bytes_retrans += u64::from(plan.length);
            snd.work.inflight.resend(plan.seq, end, sending);
            let stamp = self.timestamps.map(|ours| ours.at(now));
            snd.recovery.undo.on_resent(plan.seq, end, stamp);
            if let Some(search) = search_of(&mut self.seldom) {
                search.sent_again(plan.seq, end);
            }
        } else {
            snd.work.inflight.push(plan.seq, end, sending);
            snd.nxt = end;
        }
        if !plan.length.is_multiple_of(size) {
            snd.small_end = Some(end);
        }
        snd.work.repair.prr.on_sent(u64::from(space));
        match plan.probe {
            None => {}
            Some(Probe::Tail) => snd.recovery.tlp.on_sent(snd.nxt, again),
            Some(Probe::Path) => {
                if let Some(search) = search_of(&mut self.seldom) {
                    search.probe_sent(plan.seq, plan.length);
                }
            }
        }
        if let Some(rate) = rate {
            snd.pacer.on_sent(now, u64::from(plan.length), rate);
        }
        snd.controller.on_sent(now, u64::from(plan.length), u64::from(snd.work.inflight.pipe()));
    }

    pub(super) fn refresh_route(&mut self, shared: &Shared, interfaces: &mut Interfaces) {
        if self.route.generation != interfaces.generation() {
            self.remember_path(shared, interfaces);
            let (source, remote) = (self.tuple().local.ip(), self.tuple().remote.ip());
            // Without a route the old one serves until timers give up: addresses come back.
            if let Ok(route) = interfaces.route(Some(source), remote) {
                let mtu = route.hop.mtu.min(self.route.mtu);
                let is_narrower = mtu < self.route.mtu;
                let before = (self.route.interface, self.route.next_hop);
                if before != (route.hop.interface, route.hop.next_hop) {
                    // What arrived went another way.
                    self.counts.progress = Progress::default();
                }
                self.route = Hop { mtu, ..route.hop };
                // Who searches himself knows it better.
                if is_narrower && self.syn_acknowledged() && search_of(&mut self.seldom).is_none() {
                    self.lower_path_mtu(shared.now.after(shared.config.mtu_probe_interval), mtu);
                }
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
        let bytes = |size| u32::try_from(self.options.clamped(size)).unwrap_or(u32::MAX);
        Space {
            free: bytes(self.receive_space()),
            capacity: bytes(self.receive_buffer()),
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
            && window::update_worthwhile(self.rcv.nxt, self.rcv.edge, self.rcv.scale, &self.space())
    }
}

/// What every segment of one flow has in front of its TCP header.
pub(super) struct Outgoing<'a> {
    pub(super) tuple: FourTuple,
    pub(super) route: &'a Hop,
    pub(super) link: LinkHeader,
    /// What the program wants; else what the way has.
    pub(super) ttl: Option<u8>,
    pub(super) traffic_class: u8,
}

impl Outgoing<'_> {
    /// Writes every header, counts and traces. `text` is whose queue the payload is in, from which
    /// byte on, and the size of the pieces that a super-segment is to be cut into.
    pub(super) fn packet(
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
            ttl: self.ttl.unwrap_or(self.route.ttl),
            traffic_class: self.traffic_class,
            dont_fragment: true,
            identification: 0,
            flow_label: shared.flow_labels.of(&self.tuple),
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
        let offloaded = self.route.offload >= Offload::Checksum;
        if !offloaded && text.is_none() {
            complete_checksum(&mut header.0[at..at + tcp_len], &[]);
        }
        shared.counters.count_sent(reason);
        if shared.trace.is_on() {
            let what = What::SegmentOut { header: *segment, length, reason };
            shared.trace(Some(self.tuple), what);
        }
        let partial =
            TransmitChecksum::Partial { start: u16::try_from(at).unwrap_or(u16::MAX), offset: 16 };
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
    let sum = checksum::sum(header)
        .followed_by(header.len(), checksum::sum_slices(payload.iter().copied()));
    wire::tcp::store_checksum(header, sum.finish());
}
