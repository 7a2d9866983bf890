//! SYNs that wait for the program's decision, before any of the handshake is answered.
//!
//! A listener that [decides first](Stack::decide_first) keeps a half-open entry for each new SYN and
//! nothing else. The program looks at it and accepts it, refuses it or drops it. A proxy that learns
//! first whether the far end answers can so give its client the very answer that the client would have
//! had without it: RFC 9293 3.10.7.2 leaves it to the user whether a SYN in LISTEN is taken.
//!
//! | what happens meanwhile | what becomes of it |
//! |---|---|
//! | the SYN comes again | it is counted and dropped: the peer asks whether we are still there |
//! | a reset for it comes | the entry goes; a decision finds [`Error::NoSuchSocket`] |
//! | [`Config::decision_timeout`](crate::Config) passes | likewise |
//! | the listener closes | the peer gets a reset |
//! | the SYN queue is full ([`Config::syn_queue_limit`](crate::Config)), or one source has [`Config::flows_per_source`](crate::Config) | a further SYN is dropped: no cookie, which would decide |

use core::net::IpAddr;

use wire::frame::FrameBuf;
use wire::time::Instant;

use crate::error::Error;
use crate::event::{Ready as Readiness, SocketId};
use crate::icmp::Refusal;
use crate::ip::InterfaceId;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::stack::Stack;
use crate::tcp::connection::Opening;
use crate::tcp::listen::half_open::{HalfOpen, HalfOpenId};
use crate::tcp::mtu::link_mss;
use crate::tcp::reply::Reply;
use crate::tcp::segment::Segment;
use crate::tcp::state::Event;
use crate::tcp::{Target, Tcp};
use crate::{ConnectionId, FourTuple, ListenerId};

/// A SYN that waits for a decision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PendingId(pub(crate) HalfOpenId);

/// What a SYN that waits for a decision said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingSyn {
    /// For [`Stack::accept_pending`], [`Stack::refuse_pending`] and [`Stack::drop_pending`].
    pub id: PendingId,
    /// Whom it was sent to (`local`) and by whom (`remote`).
    pub flow: FourTuple,
    /// The interface it came by.
    pub interface: InterfaceId,
    /// TTL or hop limit of its packet.
    pub ttl: u8,
    /// DSCP and ECN of its packet.
    pub traffic_class: u8,
    /// The peer's initial sequence number.
    pub sequence: u32,
    /// The window that it offers, in bytes.
    pub window: u16,
    /// The largest payload that it takes in bytes, if it says (RFC 9293 3.7.1).
    pub mss: Option<u16>,
    /// The shift of its windows, where it offers one and this stack uses them (RFC 7323 2).
    pub window_scale: Option<u8>,
    /// It permits SACK, and this stack does (RFC 2018).
    pub sack: bool,
    /// It carries timestamps, and this stack uses them (RFC 7323 3).
    pub timestamps: bool,
    /// It asks for ECN, and the listener agrees (RFC 3168 6.1.1).
    pub ecn: bool,
}

impl Stack {
    /// Lets the program decide about each new SYN of a listener, or, with false, takes all of them.
    /// [`Ready::PENDING`](crate::Ready::PENDING) announces that one waits.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] after it was closed.
    pub fn decide_first(&mut self, id: ListenerId, on: bool) -> Result<(), Error> {
        self.tcp.listeners.get_mut(id).ok_or(Error::NoSuchSocket)?.decides = on;
        Ok(())
    }

    /// The oldest SYN that waits for a decision and was not looked at yet.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when there is none, [`Error::NoSuchSocket`] after the listener was closed.
    pub fn next_pending(&mut self, id: ListenerId) -> Result<PendingSyn, Error> {
        let listener = self.tcp.listeners.get_mut(id).ok_or(Error::NoSuchSocket)?;
        while let Some(id) = listener.undecided.pop_front() {
            // It may have gone meanwhile.
            if let Some(syn) = self.tcp.half_open.get(id).and_then(|entry| entry.pending(id)) {
                return Ok(syn);
            }
        }
        Err(Error::WouldBlock)
    }

    /// Takes a SYN: it is answered, and a connection in SYN-RECEIVED stands in its place, which is the
    /// program's from now on. [`Ready::WRITE`](crate::Ready::WRITE) announces that the handshake is
    /// over, well or badly, as after [`Stack::connect`].
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when nothing waits any more (the module's table says why),
    /// [`Error::NetworkUnreachable`] without a route back, [`Error::LimitReached`] when there are too
    /// many connections or no memory is left; the SYN waits on then.
    pub fn accept_pending(&mut self, now: Instant, id: PendingId) -> Result<ConnectionId, Error> {
        self.shared.set_time(now);
        let (tcp, shared) = (&mut self.tcp, &mut self.shared);
        let entry = tcp.undecided(id)?;
        let listener = tcp.listeners.get(entry.listener).ok_or(Error::NoSuchSocket)?;
        let tuple = entry.tuple();
        let route = self.interfaces.route(Some(tuple.local.ip()), tuple.remote.ip())?;
        let options = alloc::sync::Arc::clone(&listener.options);
        let our_mss = link_mss(&tuple, route.hop.segment_mtu, &options);
        let (iss, timestamps) = (entry.iss, entry.timestamps());
        let opening = Opening { tuple, options, route: route.hop, iss, timestamps };
        let connection = tcp.create(shared, opening).ok_or(Error::LimitReached)?;
        // The table of flows has one place for the two: the connection takes it anew.
        let mut entry = tcp.take_half_open(id.0);
        tcp.register(&tuple, Target::Connection(connection));
        entry.decide(our_mss);
        let conn = &mut *tcp.connections[connection];
        entry.begin(conn, shared);
        conn.counted = true;
        tcp.sources.count(tuple.remote.ip());
        tcp.settle(shared, connection);
        Ok(connection)
    }

    /// Refuses a SYN: with a reset, as if nobody listened, or with an ICMP error.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when nothing waits any more.
    pub fn refuse_pending(
        &mut self,
        now: Instant,
        id: PendingId,
        refusal: Refusal,
    ) -> Result<(), Error> {
        self.shared.set_time(now);
        let entry = self.tcp.undecided(id)?;
        match (refusal, entry.pending(id.0)) {
            (Refusal::Unreachable(what), Some(syn)) => {
                self.icmp.refuse_syn(&mut self.shared, &syn, what);
            }
            _ => {
                let reset = Reply::refusal(entry.tuple(), entry.irs, Sent::ResetRefused);
                self.tcp.replies.push(&mut self.shared, reset);
            }
        }
        self.tcp.remove_half_open(&mut self.shared, id.0, Event::Abort);
        Ok(())
    }

    /// Drops a SYN without an answer, as a firewall does. It counts as new when it comes again.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when nothing waits any more.
    pub fn drop_pending(&mut self, now: Instant, id: PendingId) -> Result<(), Error> {
        self.shared.set_time(now);
        let tuple = self.tcp.undecided(id)?.tuple();
        self.shared.drop_packet(Some(tuple), Dropped::ByDecision);
        self.tcp.remove_half_open(&mut self.shared, id.0, Event::Abort);
        Ok(())
    }
}

impl Tcp {
    /// Keeps a new SYN for the program's decision. The caller saw to it that there is room.
    pub(super) fn wait_for_decision(&mut self, shared: &mut Shared, id: HalfOpenId) {
        let Some(entry) = self.half_open.get(id) else { return };
        let (tuple, listener) = (entry.tuple(), entry.listener);
        self.sources.count(tuple.remote.ip());
        self.start_waiting(shared, id);
        if let Some(listening) = self.listeners.get_mut(listener) {
            listening.undecided.push_back(id);
            let (socket, pending) = (SocketId::Listener(listener), &mut listening.pending);
            shared.events.push(socket, pending, Readiness::PENDING);
        }
    }

    /// A segment for an entry that waits for a decision.
    pub(super) fn undecided_arrives(
        &mut self,
        shared: &mut Shared,
        id: HalfOpenId,
        seg: &Segment,
        frame: FrameBuf,
    ) {
        let irs = self.half_open[id].irs;
        if seg.rst() {
            // RFC 5961 3.2: only the exact number counts.
            if seg.seq == irs.plus(1) {
                self.remove_half_open(shared, id, Event::RcvRst);
            } else {
                shared.drop_packet(Some(seg.tuple), Dropped::BlindReset);
            }
        } else if seg.syn() && !seg.acks() {
            shared.drop_packet(Some(seg.tuple), Dropped::SynUndecided);
        } else {
            // As in LISTEN: there is nothing to acknowledge (RFC 9293 3.10.7.2, second).
            self.replies.push(shared, Reply::reset_for(seg, Sent::ResetListen));
        }
        shared.recycle(frame);
    }

    /// Whether one source has as many flows already as one may have.
    pub(super) fn is_source_full(&self, shared: &Shared, source: IpAddr) -> bool {
        self.sources.is_full(source, shared.config.flows_per_source)
    }

    /// The entry that waits for a decision.
    fn undecided(&self, id: PendingId) -> Result<&HalfOpen, Error> {
        let entry = self.half_open.get(id.0).filter(|entry| entry.is_undecided());
        entry.ok_or(Error::NoSuchSocket)
    }
}
