//! SYN-RECEIVED of a passive open: the SYN queue (RFC 9293 3.10.7.4 where it says SYN-RECEIVED).
//!
//! An entry holds what the handshake's last ACK needs and nothing else, so that a flood of SYNs
//! stays cheap. Its only packet is the SYN-ACK, its only timer the one that sends it again.

use alloc::vec::Vec;
use slotmap::SlotMap;
use wire::frame::FrameBuf;
use wire::tcp::{Flags, Header, Options};
use wire::time::{Duration, Instant};

use crate::config::{Config, TcpOptions};
use crate::flow::PackedTuple;
use crate::ip::{InterfaceId, Interfaces};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::tcp::arrives::is_acceptable;
use crate::tcp::connection::{Connection, first_receive_buffer, initial_receive_window};
use crate::tcp::ecn::{self, Ecn, EcnMode};
use crate::tcp::listen::pending::{PendingId, PendingSyn};
use crate::tcp::listen::syn_cookie::CookieOptions;
use crate::tcp::mtu::default_mss;
use crate::tcp::reply::Reply;
use crate::tcp::segment::{Origin, Segment};
use crate::tcp::seq::Seq;
use crate::tcp::state::{Event, State};
use crate::tcp::timestamps::Timestamps;
use crate::tcp::{Ready, Target, Tcp, TimerOwner};
use crate::timers::TimerId;
use crate::trace::{Timer, What};
use crate::{FourTuple, ListenerId};

/// What a peer takes that announces nothing (RFC 9293 3.7.1).
const DEFAULT_MSS: u16 = 536;

slotmap::new_key_type! {
    /// An entry of the table of half-open connections.
    pub(crate) struct HalfOpenId;
}

/// The entries of all listeners.
pub(crate) type HalfOpenTable = SlotMap<HalfOpenId, HalfOpen>;

/// A handshake whose last ACK is missing.
#[derive(Clone, Debug)]
pub(crate) struct HalfOpen {
    tuple: PackedTuple,
    pub(crate) listener: ListenerId,
    /// The peer's initial sequence number, and ours.
    pub(crate) irs: Seq,
    pub(crate) iss: Seq,
    /// What the peer announced.
    peer_mss: u16,
    peer_window: u16,
    /// Whether it is answered, and with what.
    stage: Stage,
    /// How often the SYN-ACK was sent again after a timeout.
    retries: u8,
    /// Why the SYN-ACK is due; `None` when it is not.
    due: Option<Sent>,
    /// The peer's timestamp and the offset of our clock, when both of us use them: without meaning
    /// unless the flags say so.
    stamps: (u32, u32),
    /// When the SYN-ACK was first sent, to measure the first round trip.
    first_sent: Option<Instant>,
    timer: Option<TimerId>,
    /// The window scales, the peer's in the upper four bits and ours in the lower, when both of us
    /// use them: likewise.
    scales: u8,
    flags: Agreed,
}

/// How far a handshake has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// The program has not decided yet. What else the SYN's IP header said.
    Undecided { ttl: u8, traffic_class: u8, interface: InterfaceId },
    /// The SYN-ACK announces this MSS.
    Answered { our_mss: u16 },
}

bitflags::bitflags! {
    /// What both sides of a half-open connection want, and what the entry is about to do.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Agreed: u8 {
        /// Window scales (RFC 7323 2.2).
        const SCALES = 1;
        /// SACK.
        const SACK = 2;
        /// The peer asked for ECN, and we agree.
        const ECN = 4;
        /// Timestamps.
        const TIMESTAMPS = 8;
        /// It stands in the queue of those that have something to send.
        const QUEUED = 16;
        /// The peer's SYN had no MSS option.
        const NO_MSS = 32;
        /// The last ACK came without data, for which the listener waits.
        const DEFERRED = 64;
    }
}

// `Config::syn_queue_limit` counts on it, beside what the tables around them take.
const _: () = assert!(size_of::<HalfOpen>() <= 64);

/// A SYN-ACK to send, with the IP fields that the listener's program set.
#[derive(Debug)]
pub(crate) struct SynAck {
    pub(crate) tuple: FourTuple,
    pub(crate) segment: Header,
    pub(crate) ttl: Option<u8>,
    pub(crate) traffic_class: u8,
    pub(crate) reason: Sent,
}

impl HalfOpen {
    /// An entry for a SYN; what both sides may offer is settled by the methods below.
    pub(crate) fn new(listener: ListenerId, seg: &Segment, iss: Seq, our_mss: u32) -> Self {
        let our_mss = u16::try_from(our_mss).unwrap_or(u16::MAX);
        let without_mss = seg.header.options.mss.is_none();
        Self {
            tuple: seg.tuple.into(),
            listener,
            irs: seg.seq,
            iss,
            peer_mss: seg.header.options.mss.unwrap_or_else(|| default_mss(&seg.tuple)),
            peer_window: seg.header.window,
            stage: Stage::Answered { our_mss },
            retries: 0,
            due: Some(Sent::SynAccepted),
            stamps: (0, 0),
            first_sent: None,
            timer: None,
            scales: 0,
            flags: if without_mss { Agreed::NO_MSS } else { Agreed::empty() },
        }
    }

    /// The same, but that the program is to decide first what becomes of it.
    pub(crate) fn undecided(mut self, seg: &Segment) -> Self {
        let Origin { ttl, traffic_class, interface } = seg.origin;
        self.stage = Stage::Undecided { ttl, traffic_class, interface };
        self.due = None;
        self
    }

    /// Whether the program has to decide yet.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.stage, Stage::Undecided { .. })
    }

    /// The SYN as it came, for the program to look at; `None` once it decided.
    pub(crate) fn pending(&self, id: HalfOpenId) -> Option<PendingSyn> {
        let Stage::Undecided { ttl, traffic_class, interface } = self.stage else { return None };
        let mss = (!self.flags.contains(Agreed::NO_MSS)).then_some(self.peer_mss);
        Some(PendingSyn {
            id: PendingId(id),
            flow: self.tuple(),
            interface,
            ttl,
            traffic_class,
            sequence: self.irs.0,
            window: self.peer_window,
            mss,
            window_scale: self.scales().map(|(theirs, _)| theirs),
            sack: self.flags.contains(Agreed::SACK),
            timestamps: self.flags.contains(Agreed::TIMESTAMPS),
            ecn: self.flags.contains(Agreed::ECN),
        })
    }

    fn our_mss(&self) -> u16 {
        match self.stage {
            Stage::Answered { our_mss } => our_mss,
            Stage::Undecided { .. } => DEFAULT_MSS,
        }
    }

    /// The program takes it: this is the MSS to announce.
    pub(crate) fn decide(&mut self, our_mss: u32) {
        self.stage = Stage::Answered { our_mss: u16::try_from(our_mss).unwrap_or(u16::MAX) };
    }

    /// Our address and the peer's.
    pub(crate) fn tuple(&self) -> FourTuple {
        self.tuple.unpack()
    }

    /// The window scales, the peer's and ours.
    fn scales(&self) -> Option<(u8, u8)> {
        self.flags.contains(Agreed::SCALES).then_some((self.scales >> 4, self.scales & 15))
    }

    fn set_scales(&mut self, scales: Option<(u8, u8)>) {
        self.flags.set(Agreed::SCALES, scales.is_some());
        // None is above 14 (RFC 7323 2.3).
        self.scales = scales.map_or(0, |(theirs, ours)| theirs << 4 | ours);
    }

    /// The peer's timestamp, and the offset of our clock.
    fn stamps(&self) -> Option<(u32, u32)> {
        self.flags.contains(Agreed::TIMESTAMPS).then_some(self.stamps)
    }

    fn set_stamps(&mut self, stamps: Option<(u32, u32)>) {
        self.flags.set(Agreed::TIMESTAMPS, stamps.is_some());
        self.stamps = stamps.unwrap_or_default();
    }

    /// RFC 7323 2.2: our scale is announced only when the peer's is.
    pub(crate) fn with_scale(mut self, shared: &Shared, seg: &Segment, ours: u8) -> Self {
        let theirs = seg.header.options.window_scale.filter(|_| shared.config.window_scaling);
        self.set_scales(theirs.map(|scale| (scale.min(14), ours)));
        self
    }

    /// RFC 2018 2: likewise for SACK.
    pub(crate) fn with_sack(mut self, shared: &Shared, seg: &Segment) -> Self {
        let agreed = shared.config.sack && seg.header.options.sack_permitted;
        self.flags.set(Agreed::SACK, agreed);
        self
    }

    /// RFC 3168 6.1.1: likewise for ECN.
    pub(crate) fn with_ecn(mut self, mode: EcnMode, seg: &Segment) -> Self {
        self.flags.set(Agreed::ECN, mode != EcnMode::Off && ecn::asks(seg));
        self
    }

    /// RFC 7323 3.2: likewise for timestamps.
    pub(crate) fn with_timestamps(mut self, shared: &Shared, seg: &Segment, offset: u32) -> Self {
        let theirs = seg.timestamps().filter(|_| shared.config.timestamps);
        self.set_stamps(theirs.map(|timestamps| (timestamps.value, offset)));
        self
    }

    /// The entry that we did not keep, rebuilt from the cookie that came back.
    pub(crate) fn from_cookie(
        listener: ListenerId,
        seg: &Segment,
        (irs, cookie): (Seq, Seq),
        peer_mss: u16,
        our_mss: u32,
    ) -> Self {
        let mut entry = Self::new(listener, seg, cookie, our_mss);
        (entry.irs, entry.peer_mss, entry.due) = (irs, peer_mss, None);
        entry
    }

    /// What a cookie's timestamp brought back.
    pub(crate) fn restore(&mut self, recent: u32, offset: u32, peer: CookieOptions, our_scale: u8) {
        self.set_stamps(Some((recent, offset)));
        self.set_scales(peer.window_scale.map(|scale| (scale.min(14), our_scale)));
        self.flags.set(Agreed::SACK, peer.sack);
        self.flags.set(Agreed::ECN, peer.ecn);
    }

    pub(crate) fn timestamps(&self) -> Option<Timestamps> {
        self.stamps().map(|(_, offset)| Timestamps::new(offset))
    }

    /// Puts a new connection where this entry stands: SYN-RECEIVED, our SYN out.
    pub(crate) fn hand_over(&self, conn: &mut Connection, shared: &Shared) {
        let offered = Options {
            mss: Some(self.peer_mss),
            window_scale: self.scales().map(|(theirs, _)| theirs),
            sack_permitted: self.flags.contains(Agreed::SACK),
            timestamps: self.stamps().map(|(value, _)| wire::tcp::Timestamps { value, echo: 0 }),
            ..Options::default()
        };
        conn.state = State::SynReceived;
        conn.rcv.scale = self.scales().map_or(0, |(_, ours)| ours);
        conn.rcv.mss = u32::from(self.our_mss());
        conn.take_peer_options(&offered, shared);
        conn.ecn = Ecn::negotiated(self.flags.contains(Agreed::ECN));
        conn.rcv.irs = self.irs;
        conn.rcv.nxt = self.irs.plus(1);
        conn.open_window();
        if let Some(timestamps) = &mut conn.timestamps {
            timestamps.ack_sent(conn.rcv.nxt);
        }
        (conn.snd.nxt, conn.snd.syn_due) = (self.iss.plus(1), false);
        conn.snd.window.set(u32::from(self.peer_window), self.irs, self.iss);
        // Karn: a SYN-ACK that was sent twice measures nothing; nor does one whose answer came long ago.
        let deferred = self.flags.contains(Agreed::DEFERRED);
        conn.snd.work.syn_sent = self.first_sent.filter(|_| self.retries == 0 && !deferred);
        for _ in 0..if deferred { 0 } else { self.retries } {
            conn.snd.rto.back_off();
        }
    }

    /// Puts a new connection where this entry stands, which was not answered: our SYN is due.
    pub(super) fn begin(&self, conn: &mut Connection, shared: &Shared) {
        self.hand_over(conn, shared);
        (conn.snd.nxt, conn.snd.syn_due) = (self.iss, true);
    }

    /// The window of our SYN-ACK, and of the connection that follows.
    fn window(&self, options: &TcpOptions, config: &Config) -> u32 {
        let buffer = first_receive_buffer(options, config);
        initial_receive_window(buffer, u32::from(self.our_mss()))
    }

    /// The SYN-ACK, as it stands now.
    fn syn_ack(&self, now: Instant, window: u16) -> Header {
        let stamps = |(recent, offset): (u32, u32)| wire::tcp::Timestamps {
            value: crate::tcp::timestamps::clock(now, offset),
            echo: recent,
        };
        let ece = if self.flags.contains(Agreed::ECN) { Flags::ECE } else { Flags::empty() };
        let tuple = self.tuple();
        Header {
            source_port: tuple.local.port(),
            destination_port: tuple.remote.port(),
            sequence: self.iss.0,
            acknowledgment: self.irs.plus(1).0,
            flags: Flags::SYN | Flags::ACK | ece,
            window,
            options: Options {
                mss: Some(self.our_mss()),
                window_scale: self.scales().map(|(_, ours)| ours),
                sack_permitted: self.flags.contains(Agreed::SACK),
                timestamps: self.stamps().map(stamps),
                ..Options::default()
            },
            ..Header::default()
        }
    }

    /// How long to wait before the SYN-ACK goes out again.
    fn timeout(&self, initial: Duration, max: Duration) -> Duration {
        initial.saturating_mul(1 << self.retries.min(16)).min(max)
    }
}

impl Tcp {
    /// A segment for a half-open entry.
    pub(crate) fn half_open_arrives(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        id: HalfOpenId,
        seg: Segment,
        frame: FrameBuf,
    ) {
        let entry = &mut self.half_open[id];
        if entry.is_undecided() {
            return self.undecided_arrives(shared, id, &seg, frame);
        }
        let next = entry.irs.plus(1);
        if seg.syn() && !seg.acks() && !seg.rst() && seg.seq == entry.irs {
            // Our SYN-ACK was lost, or is late. The timestamp is that of the SYN which it answers
            // (RFC 7323 4.3), or the peer would measure from the first one.
            if let (Some((recent, _)), Some(theirs)) = (entry.stamps(), seg.timestamps())
                && !Seq(theirs.value).is_before(Seq(recent))
            {
                entry.stamps.0 = theirs.value;
            }
            // RFC 3168 6.1.1.1: the peer may ask no more, when it believes that the question is dropped.
            let still = entry.flags.contains(Agreed::ECN) && ecn::asks(&seg);
            entry.flags.set(Agreed::ECN, still);
            entry.due = Some(Sent::SynRepeated);
            self.half_open_ready(id);
            return shared.recycle(frame);
        }
        let window = self
            .listeners
            .get(entry.listener)
            .map_or(0, |l| entry.window(&l.options, &shared.config));
        if seg.rst() {
            // RFC 5961 3.2: only the exact number counts; the entry is too cheap for a challenge.
            if seg.seq == next {
                self.remove_half_open(shared, id, Event::RcvRst);
            } else {
                shared.drop_packet(Some(seg.tuple), Dropped::BlindReset);
            }
        } else if entry.stamps().is_some() && seg.timestamps().is_none() {
            shared.drop_packet(Some(seg.tuple), Dropped::NoTimestamp);
        } else if !is_acceptable(&seg, next, window) || is_old(entry, &seg) {
            // What the connection would not take must not make one of the entry.
            entry.due = Some(Sent::SynRepeated);
            self.half_open_ready(id);
            shared.drop_packet(Some(seg.tuple), Dropped::OutOfWindow);
        } else if seg.syn() {
            // RFC 9293 3.10.7.4, fourth: back to LISTEN, where the new SYN finds its place.
            self.remove_half_open(shared, id, Event::RcvRst);
            return self.listen_arrives(shared, interfaces, seg, frame, None);
        } else if !seg.acks() {
            shared.drop_packet(Some(seg.tuple), Dropped::NoAck);
        } else if seg.ack != entry.iss.plus(1) {
            self.replies.push(shared, Reply::reset_for(&seg, Sent::ResetHalfOpen));
        } else {
            return self.handshake_completed(shared, interfaces, id, seg, frame);
        }
        shared.recycle(frame);
    }

    /// The last ACK is here. Under `TCP_DEFER_ACCEPT` one without data only says that the peer is there, until
    /// the time for that is over. When the accept queue is full the entry stays, as if the ACK had been
    /// lost: the SYN-ACK goes out again at its time, and the peer's answer finds room or does not.
    fn handshake_completed(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        id: HalfOpenId,
        seg: Segment,
        frame: FrameBuf,
    ) {
        let bare = seg.length == 0 && !seg.fin();
        let entry = &mut self.half_open[id];
        let deferrals = self.listeners.get(entry.listener).map_or(0, |l| l.options.deferrals());
        if bare && entry.retries < deferrals {
            entry.flags.insert(Agreed::DEFERRED);
            shared.drop_packet(Some(seg.tuple), Dropped::AcceptDeferred);
            return shared.recycle(frame);
        }
        let entry = entry.clone();
        let full = self.listeners.get(entry.listener).is_none_or(|l| l.is_accept_queue_full());
        if full {
            shared.drop_packet(Some(seg.tuple), Dropped::AcceptQueueFullAck);
            return shared.recycle(frame);
        }
        if shared.memory.is_spent() {
            shared.drop_packet(Some(seg.tuple), Dropped::MemoryLimit);
            return shared.recycle(frame);
        }
        self.take_half_open(id);
        self.promote(shared, interfaces, &entry, seg, frame);
    }

    /// Queues an entry's SYN-ACK.
    pub(crate) fn half_open_ready(&mut self, id: HalfOpenId) {
        let Some(entry) = self.half_open.get_mut(id) else { return };
        if !entry.flags.contains(Agreed::QUEUED) && entry.due.is_some() {
            entry.flags.insert(Agreed::QUEUED);
            self.ready.push_back(Ready::HalfOpen(id));
        }
    }

    /// The SYN-ACK was not answered in time.
    pub(crate) fn half_open_expired(&mut self, shared: &mut Shared, id: HalfOpenId) {
        let Some(entry) = self.half_open.get_mut(id) else { return };
        entry.timer = None;
        if entry.is_undecided() {
            shared.drop_packet(Some(entry.tuple()), Dropped::Undecided);
            return self.remove_half_open(shared, id, Event::TimedOut);
        }
        shared.trace(Some(entry.tuple()), What::Timer { timer: Timer::Retransmission });
        let options = self.listeners.get(entry.listener).map(|listener| &listener.options);
        let deferrals = options.map_or(0, |options| options.deferrals());
        let waits = entry.flags.contains(Agreed::DEFERRED) && entry.retries < deferrals;
        if entry.retries >= shared.config.syn_ack_retries && !waits {
            return self.remove_half_open(shared, id, Event::TimedOut);
        }
        entry.retries += 1;
        // Whoever has answered already is asked once more at the end, and opens the connection then.
        if let Some(options) = options.filter(|_| waits && entry.retries < deferrals) {
            let wait = entry.timeout(options.rto.initial, options.rto.max);
            let owner = TimerOwner::HalfOpen(id);
            return self.wheel.arm(&mut entry.timer, shared.now.after(wait), owner);
        }
        entry.due = Some(Sent::SynAckRetransmitted);
        self.half_open_ready(id);
    }

    /// The program has so long to decide about an entry.
    pub(super) fn start_waiting(&mut self, shared: &Shared, id: HalfOpenId) {
        if let Some(entry) = self.half_open.get_mut(id) {
            let until = shared.now.after(shared.config.decision_timeout);
            self.wheel.arm(&mut entry.timer, until, TimerOwner::HalfOpen(id));
        }
    }

    /// The SYN-ACK of an entry whose turn it is, and why; its timer runs from now on.
    pub(crate) fn take_syn_ack(&mut self, shared: &Shared, id: HalfOpenId) -> Option<SynAck> {
        let entry = self.half_open.get_mut(id)?;
        entry.flags.remove(Agreed::QUEUED);
        let reason = entry.due.take()?;
        let options = &self.listeners.get(entry.listener)?.options;
        let window = u16::try_from(entry.window(options, &shared.config)).unwrap_or(u16::MAX);
        let segment = entry.syn_ack(shared.now, window);
        let (ttl, traffic_class) = (options.ttl, options.traffic_class);
        if entry.timer.is_none() {
            let wait = entry.timeout(options.rto.initial, options.rto.max);
            entry.first_sent.get_or_insert(shared.now);
            let owner = TimerOwner::HalfOpen(id);
            self.wheel.arm(&mut entry.timer, shared.now.after(wait), owner);
        }
        Some(SynAck { tuple: entry.tuple(), segment, ttl, traffic_class, reason })
    }

    /// The SYN-ACK could not leave: the next hop is not known yet.
    pub(crate) fn put_syn_ack_back(&mut self, id: HalfOpenId, reason: Sent) {
        if let Some(entry) = self.half_open.get_mut(id) {
            entry.due = Some(reason);
        }
    }

    /// Half-open entries of a listener that closes.
    pub(crate) fn remove_half_opens_of(&mut self, shared: &mut Shared, listener: ListenerId) {
        let of_listener =
            |(id, entry): (HalfOpenId, &HalfOpen)| (entry.listener == listener).then_some(id);
        let ids: Vec<_> = self.half_open.iter().filter_map(of_listener).collect();
        for id in ids {
            let entry = &self.half_open[id];
            let (tuple, seq, ack) = (entry.tuple(), entry.iss.plus(1), entry.irs.plus(1));
            let mut reset = Reply::ack(tuple, seq, ack, Sent::ResetAborted);
            reset.flags |= Flags::RST;
            self.replies.push(shared, reset);
            self.remove_half_open(shared, id, Event::Abort);
        }
    }

    pub(super) fn remove_half_open(&mut self, shared: &mut Shared, id: HalfOpenId, cause: Event) {
        let entry = self.take_half_open(id);
        let (from, to) = (State::SynReceived, State::Closed);
        shared.trace(Some(entry.tuple()), What::Transition { from, to, cause });
    }

    /// Takes an entry out of every table.
    pub(super) fn take_half_open(&mut self, id: HalfOpenId) -> HalfOpen {
        let tuple = self.half_open[id].tuple();
        self.unregister(&tuple);
        let mut entry = self.half_open.remove(id).expect("indexed just above");
        self.wheel.disarm(&mut entry.timer);
        if let Some(listener) = self.listeners.get_mut(entry.listener) {
            listener.half_open = listener.half_open.saturating_sub(1);
        }
        if entry.is_undecided() {
            self.sources.uncount(tuple.remote.ip());
        }
        debug_assert!(self.find(&tuple) != Some(Target::HalfOpen(id)));
        entry
    }
}

/// RFC 7323 5.3: PAWS holds for the handshake's last ACK as well.
fn is_old(entry: &HalfOpen, seg: &Segment) -> bool {
    match (entry.stamps(), seg.timestamps()) {
        (Some((recent, _)), Some(theirs)) => Seq(theirs.value).is_before(Seq(recent)),
        _ => false,
    }
}

impl HalfOpen {
    /// How often the SYN-ACK was sent again, for `ss`.
    pub(crate) fn retries(&self) -> u8 {
        self.retries
    }
}
