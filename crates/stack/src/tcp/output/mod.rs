//! The only builder of segments (RFC 9293 3.8), in one order of priority.
//!
//! Everything else leaves marks; here they become packets. First it is [planned](plan) what a
//! connection sends next and why, or why it waits; then headers are [built](build); then the
//! connection takes note.

mod build;
mod plan;

use alloc::boxed::Box;
use arrayvec::ArrayVec;
use wire::tcp::Header;
use wire::time::Instant;

use crate::ConnectionId;
use crate::ip::{Interfaces, Waiter};
use crate::reason::Withheld;
use crate::shared::Shared;
use crate::tcp::connection::Turn;
use crate::tcp::lifecycle::arm;
use crate::tcp::listen::half_open::SynAck;
use crate::tcp::reply::Reply;
use crate::tcp::state::State;
use crate::tcp::{Ready, Tcp};
use crate::transmit::{HeaderBuf, MAX_SLICES, Packet};

use build::Outgoing;
pub(crate) use build::complete_checksum;

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

    /// A connection's next segment. It queues up again behind the others when it may have more.
    fn send_segment(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        header: &mut HeaderBuf,
        id: ConnectionId,
    ) -> Option<Packet> {
        let conn = &mut **self.connections.get_mut(id)?;
        conn.turn = Turn::None;
        if matches!(conn.state, State::Closed | State::TimeWait) {
            return None;
        }
        conn.refresh_route(shared, interfaces);
        let Some(plan) = conn.plan(shared) else {
            conn.settle_persist(shared.now);
            arm(&mut self.wheel, conn);
            return None;
        };
        let waiter = || (conn.tuple().local.ip(), Waiter::Tcp(Ready::Connection(id)));
        let Some(link) =
            interfaces.link_header(shared, &conn.route, conn.counts.progress.seen(), waiter)
        else {
            conn.turn = Turn::Parked;
            shared.withhold(Some(conn.tuple()), Withheld::NeighborPending);
            return None;
        };
        let packet = conn.build(shared, header, link, &plan);
        if conn.has_said_all(shared.now) {
            conn.end_of_turn(shared.now);
        } else {
            conn.queue_up(&mut self.ready);
        }
        arm(&mut self.wheel, conn);
        Some(packet)
    }

    fn send_syn_ack(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        header: &mut HeaderBuf,
        id: super::listen::half_open::HalfOpenId,
    ) -> Option<Packet> {
        let SynAck { tuple, segment, ttl, traffic_class, reason } =
            self.take_syn_ack(shared, id)?;
        let route = interfaces.route(Some(tuple.local.ip()), tuple.remote.ip()).ok()?;
        let waiter = || (route.source, Waiter::Tcp(Ready::HalfOpen(id)));
        let Some(link) = interfaces.link_header(shared, &route.hop, Instant::ZERO, waiter) else {
            self.put_syn_ack_back(id, reason);
            return None;
        };
        let out = Outgoing { tuple, route: &route.hop, link, ttl, traffic_class };
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
            conn.snd.work.queue.slices(offset, length, into);
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
    let waiter = || (route.source, Waiter::Tcp(Ready::Reply(Box::new(reply.clone()))));
    let link = interfaces.link_header(shared, &route.hop, Instant::ZERO, waiter)?;
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
    let (ttl, traffic_class) = (reply.ttl, reply.traffic_class);
    let out = Outgoing { tuple, route: &route.hop, link, ttl, traffic_class };
    Some(out.packet(shared, header, &segment, 0, reply.reason, None))
}
