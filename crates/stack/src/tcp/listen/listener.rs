//! A listener and its two queues (RFC 9293 3.10.7.2).
//!
//! The SYN queue holds half-open entries: handshakes that we answered and whose last ACK is
//! missing. The accept queue holds open connections that the program has not accepted. Both are
//! bounded by the backlog, and overflow as Linux's do:
//!
//! | what is full | what arrives | what happens |
//! |---|---|---|
//! | the SYN queue (backlog entries) | a SYN | it is answered with a SYN cookie |
//! | the accept queue (backlog + 1 connections) | a SYN | it is dropped; the peer sends it again |
//! | the SYN queue of a listener that [decides first](super::pending) | a SYN | it is dropped: a cookie would decide |
//! | the accept queue | the last ACK of a handshake | it is dropped; our SYN-ACK goes out again later |

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use wire::frame::FrameBuf;

use crate::binding::Binding;
use crate::config::TcpOptions;
use crate::event::{Pending, Ready as Readiness, SocketId};
use crate::ip::Interfaces;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::tcp::arrives::{self, Arrival};
use crate::tcp::connection::{
    Opening, first_receive_buffer, initial_receive_window, receive_scale,
};
use crate::tcp::ecn::{self, EcnMode};
use crate::tcp::listen::half_open::{HalfOpen, HalfOpenId};
use crate::tcp::listen::syn_cookie::{CookieOptions, SynCookies};
use crate::tcp::mtu::{default_mss, link_mss};
use crate::tcp::reply::Reply;
use crate::tcp::segment::Segment;
use crate::tcp::seq::Seq;
use crate::tcp::state::{Event, State};
use crate::tcp::timestamps::Timestamps;
use crate::tcp::{Target, Tcp};
use crate::trace::What;
use crate::{ConnectionId, ListenerId};

/// A socket that waits for connections.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Its address and port; an unspecified address stands for all of ours.
    pub(crate) binding: Binding,
    /// The length of both queues; the accept queue takes one more.
    pub(crate) backlog: usize,
    /// What its connections start with.
    pub(crate) options: Arc<TcpOptions>,
    /// Open connections that wait for `accept`.
    pub(crate) accept_queue: VecDeque<ConnectionId>,
    /// Half-open entries of this listener.
    pub(crate) half_open: usize,
    /// The program decides about each SYN first.
    pub(crate) decides: bool,
    /// SYNs that it was not shown yet; some may be gone.
    pub(crate) undecided: VecDeque<HalfOpenId>,
    /// Events announced and not fetched.
    pub(crate) pending: Pending,
}

impl Listener {
    /// A listener with empty queues.
    pub(crate) fn new(binding: Binding, backlog: usize, options: Arc<TcpOptions>) -> Self {
        Self {
            binding,
            backlog,
            options,
            accept_queue: VecDeque::new(),
            half_open: 0,
            decides: false,
            undecided: VecDeque::new(),
            pending: Pending::default(),
        }
    }

    /// A backlog of N admits N + 1, as on Linux and as everybody's tests expect.
    pub(crate) fn is_accept_queue_full(&self) -> bool {
        self.accept_queue.len() > self.backlog
    }

    fn is_syn_queue_full(&self, limit: usize) -> bool {
        self.half_open >= self.backlog.clamp(1, limit.max(1))
    }
}

impl Tcp {
    /// A segment for no connection: for a listener, or for nobody (RFC 9293 3.10.7.1 and .2).
    ///
    /// `isn_floor` is where the sequence numbers of a connection ended whose TIME-WAIT makes room
    /// for this one (RFC 9293 3.6.1).
    pub(crate) fn listen_arrives(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        seg: Segment,
        frame: FrameBuf,
        isn_floor: Option<Seq>,
    ) {
        let Some(id) = self.listening.find(seg.tuple.local) else {
            self.nobody_arrives(shared, &seg);
            return shared.recycle(frame);
        };
        // First check for a reset, second for an ACK, third for a SYN.
        if seg.rst() {
            shared.drop_packet(Some(seg.tuple), Dropped::ListenReset);
        } else if seg.acks() {
            return self.cookie_arrives(shared, interfaces, id, seg, frame);
        } else if seg.syn() && seg.fin() {
            // Who opens and closes at once looks for holes: Linux does not answer either.
            shared.drop_packet(Some(seg.tuple), Dropped::ListenSynFin);
        } else if seg.syn() {
            self.syn_arrives(shared, interfaces, id, &seg, isn_floor);
        } else {
            shared.drop_packet(Some(seg.tuple), Dropped::ListenNothing);
        }
        shared.recycle(frame);
    }

    /// A SYN for a listener: a half-open entry, or a cookie.
    fn syn_arrives(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        id: ListenerId,
        seg: &Segment,
        isn_floor: Option<Seq>,
    ) {
        let decides = self.listeners[id].decides;
        if decides && self.is_source_full(shared, seg.tuple.remote.ip()) {
            return shared.drop_packet(Some(seg.tuple), Dropped::SourceLimit);
        }
        let listener = &mut self.listeners[id];
        if listener.is_accept_queue_full() {
            return shared.drop_packet(Some(seg.tuple), Dropped::AcceptQueueFullSyn);
        }
        let Ok(route) = interfaces.route(Some(seg.tuple.local.ip()), seg.tuple.remote.ip()) else {
            return shared.drop_packet(Some(seg.tuple), Dropped::NoRoute);
        };
        let our_mss = link_mss(&seg.tuple, route.hop.segment_mtu, &listener.options);
        if listener.is_syn_queue_full(shared.config.syn_queue_limit) {
            if shared.config.syn_cookies && !decides {
                let options = Arc::clone(&listener.options);
                let ecn = options.ecn != EcnMode::Off && ecn::asks(seg);
                self.send_cookie(shared, seg, our_mss, &options, ecn);
            } else {
                shared.drop_packet(Some(seg.tuple), Dropped::SynQueueFull);
            }
            return;
        }
        listener.half_open += 1;
        let rcv_scale = receive_scale(&listener.options, &shared.config);
        let iss = self.isn.next(shared.now, &seg.tuple);
        let iss = isn_floor.map_or(iss, |floor| iss.later_of(floor));
        let entry = HalfOpen::new(id, seg, iss, our_mss)
            .with_scale(shared, seg, rcv_scale)
            .with_sack(shared, seg)
            .with_ecn(listener.options.ecn, seg)
            .with_timestamps(shared, seg, self.isn.timestamp_offset(&seg.tuple));
        let entry = if decides { entry.undecided(seg) } else { entry };
        let half_open = self.half_open.insert(entry);
        self.register(&seg.tuple, Target::HalfOpen(half_open));
        let (from, to) = (State::Listen, State::SynReceived);
        shared.trace(Some(seg.tuple), What::Transition { from, to, cause: Event::RcvSyn });
        if decides {
            self.wait_for_decision(shared, half_open);
        } else {
            self.half_open_ready(half_open);
        }
    }

    /// RFC 4987 3.6: everything that we would remember goes into the sequence number and the
    /// timestamp that the peer will send back.
    fn send_cookie(
        &mut self,
        shared: &mut Shared,
        seg: &Segment,
        our_mss: u32,
        options: &TcpOptions,
        ecn: bool,
    ) {
        let offered = &seg.header.options;
        let mss = offered.mss.unwrap_or_else(|| default_mss(&seg.tuple));
        let cookie = self.cookies.encode(shared.now, &seg.tuple, seg.seq, mss);
        let mut reply =
            Reply::ack(seg.tuple, cookie, seg.seq.plus(1), Sent::SynCookie).with(options);
        reply.flags |= wire::tcp::Flags::SYN;
        let window = initial_receive_window(first_receive_buffer(options, &shared.config), our_mss);
        reply.window = u16::try_from(window).unwrap_or(u16::MAX);
        reply.options.mss = u16::try_from(our_mss).ok();
        if let (Some(theirs), true) = (offered.timestamps, shared.config.timestamps) {
            let scale = offered.window_scale.filter(|_| shared.config.window_scaling);
            let ours = Timestamps::new(self.isn.timestamp_offset(&seg.tuple));
            let value = ours.option(shared.now).value;
            let sack = offered.sack_permitted && shared.config.sack;
            let kept = CookieOptions { window_scale: scale, sack, ecn };
            let value = SynCookies::encode_options(value, kept);
            reply.options.timestamps = Some(wire::tcp::Timestamps { value, echo: theirs.value });
            reply.options.window_scale = scale.map(|_| receive_scale(options, &shared.config));
            reply.options.sack_permitted = sack;
            reply.flags.set(wire::tcp::Flags::ECE, ecn);
        }
        self.replies.push(shared, reply);
    }

    /// An ACK for a listener: the echo of a cookie, or an intruder (RFC 9293 3.10.7.2, second).
    fn cookie_arrives(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        id: ListenerId,
        seg: Segment,
        frame: FrameBuf,
    ) {
        let cookie = seg.ack.minus(1);
        let irs = seg.seq.minus(1);
        let mss = if shared.config.syn_cookies && !seg.syn() {
            self.cookies.check(shared.now, &seg.tuple, irs, cookie)
        } else {
            None
        };
        let Some(mss) = mss else {
            self.replies.push(shared, Reply::reset_for(&seg, Sent::ResetListen));
            return shared.recycle(frame);
        };
        let listener = &self.listeners[id];
        let Ok(route) = interfaces.route(Some(seg.tuple.local.ip()), seg.tuple.remote.ip()) else {
            shared.drop_packet(Some(seg.tuple), Dropped::NoRoute);
            return shared.recycle(frame);
        };
        let our_mss = link_mss(&seg.tuple, route.hop.segment_mtu, &listener.options);
        let echoed = seg
            .timestamps()
            .filter(|_| shared.config.timestamps)
            .map(|timestamps| (timestamps, SynCookies::decode_options(timestamps.echo)));
        let mut entry = HalfOpen::from_cookie(id, &seg, (irs, cookie), mss, our_mss);
        if let Some((theirs, options)) = echoed {
            entry.restore(
                theirs.value,
                self.isn.timestamp_offset(&seg.tuple),
                options,
                receive_scale(&listener.options, &shared.config),
            );
        }
        self.promote(shared, interfaces, &entry, seg, frame);
    }

    /// The handshake is over: a half-open entry becomes a connection in the accept queue. Gives
    /// back whether there was room.
    pub(crate) fn promote(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        entry: &HalfOpen,
        seg: Segment,
        frame: FrameBuf,
    ) -> bool {
        let Some(listener) = self.listeners.get(entry.listener) else { return false };
        let route = interfaces.route(Some(seg.tuple.local.ip()), seg.tuple.remote.ip());
        let (Ok(route), false) = (route, listener.is_accept_queue_full()) else {
            shared.drop_packet(Some(seg.tuple), Dropped::AcceptQueueFullAck);
            shared.recycle(frame);
            return false;
        };
        let mapped = listener.binding.maps(seg.tuple.remote);
        let opening = Opening {
            tuple: seg.tuple,
            options: Arc::clone(&listener.options),
            route: route.hop,
            iss: entry.iss,
            timestamps: entry.timestamps(),
        };
        let Some(id) = self.create(shared, opening) else {
            shared.drop_packet(Some(seg.tuple), Dropped::MemoryLimit);
            shared.recycle(frame);
            return false;
        };
        let conn = &mut *self.connections[id];
        conn.snd.work.wake(&mut shared.send_works);
        entry.hand_over(conn, shared);
        conn.user.listener = Some(entry.listener);
        conn.tuple.set_mapped(mapped);
        let replies = &mut self.replies;
        arrives::segment_arrives(Arrival { conn, shared, replies, seg, frame });
        // An entry is as strict as the eight steps: whatever it lets through completes the handshake.
        debug_assert_ne!(self.connections[id].state, State::SynReceived);
        self.enqueue_accepted(shared, entry.listener, id);
        self.settle(shared, id);
        true
    }

    fn enqueue_accepted(&mut self, shared: &mut Shared, listener: ListenerId, id: ConnectionId) {
        let Some(waiting) = self.listeners.get_mut(listener) else { return };
        waiting.accept_queue.push_back(id);
        shared.events.push(SocketId::Listener(listener), &mut waiting.pending, Readiness::READ);
    }

    /// A connection ended before it was accepted.
    pub(crate) fn remove_from_accept_queue(&mut self, listener: ListenerId, id: ConnectionId) {
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.accept_queue.retain(|waiting| *waiting != id);
        }
    }
}
