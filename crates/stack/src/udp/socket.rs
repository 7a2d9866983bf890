//! One UDP socket: what it received, what it will send.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;

use wire::frame::FrameBuf;
use wire::ipv4::Options;
use wire::time::Instant;

use super::casting::Casting;
use super::flows::Flow;
use crate::binding::{Binding, Places};
use crate::config::MtuDiscovery;
use crate::error::Error;
use crate::event::{Pending, Ready};
use crate::icmp::IcmpReport;
use crate::ip::{Incoming, InterfaceId, time_of_day, with_us};

/// What a queued datagram costs beside its buffer: addresses and the queue's slot.
const OVERHEAD: usize = 128;

/// A UDP socket.
#[derive(Debug)]
pub(super) struct Socket {
    /// What it was bound to; a connect may narrow `local` and a later one widens it again.
    pub(super) bound: Binding,
    /// Where datagrams for it go, as tables hold it.
    pub(super) local: SocketAddr,
    /// The only one it hears, and the one whom `send` sends to.
    pub(super) remote: Option<SocketAddr>,
    /// What the program wants; else what the way has.
    pub(super) ttl: Option<u8>,
    pub(super) mtu_discovery: MtuDiscovery,
    /// Of IPv4: what its datagrams carry.
    pub(super) options: Options,
    /// What ICMP said about a datagram of a connected socket.
    pub(super) error: Option<Error>,
    /// The same in full.
    pub(super) report: Option<IcmpReport>,
    /// It is told of what ICMP says although it is not connected.
    pub(super) hears_all_errors: bool,
    pub(super) pending: Pending,
    received: VecDeque<Datagram>,
    /// What `received` pins in memory, in bytes.
    received_cost: usize,
    outgoing: VecDeque<Outgoing>,
    /// What `outgoing`, and datagrams that wait for a neighbour, pin in memory, in bytes.
    outgoing_cost: usize,
    /// A `send` was refused for want of room: the program waits to be told.
    pub(super) wants_room: bool,
    pub(super) role: Role,
    pub(super) casting: Casting,
}

/// How a socket came to be.
#[derive(Debug)]
pub(super) enum Role {
    /// The program bound it.
    Bound,
    /// The program takes flows with it.
    Taker,
    /// A datagram to any address began it.
    Flow(Flow),
}

/// A datagram that came.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) source: SocketAddr,
    /// Whom it was sent to.
    pub(super) destination: IpAddr,
    /// DSCP and ECN.
    pub(super) traffic_class: u8,
    pub(super) ttl: u8,
    /// Of IPv4, with us in what they record; hardly any datagram has some.
    pub(super) options: Option<Box<Options>>,
    /// Where it came in.
    pub(super) interface: InterfaceId,
    /// Where the payload is that of several datagrams: how long each is but the last.
    pub(super) stride: Option<NonZeroU16>,
    pub(super) payload: FrameBuf,
}

impl Datagram {
    /// What came in `packet`, whose frame still shows the UDP header, without its payload.
    pub(super) fn of(packet: &Incoming, source: SocketAddr, now: Instant) -> Self {
        let received = &packet.received;
        let mut options = None;
        if let (came, IpAddr::V4(ours)) = (packet.options(), received.destination)
            && !came.is_empty()
        {
            // RFC 1122 3.2.1.8 (d), (e): before the transport sees them.
            options = Some(Box::new(with_us(&came, ours, time_of_day(now))));
        }
        Self {
            options,
            source,
            destination: received.destination,
            traffic_class: received.traffic_class,
            ttl: received.ttl,
            interface: received.interface,
            stride: received.meta.segment_size,
            payload: FrameBuf::default(),
        }
    }

    /// The payload of the next datagram.
    pub(super) fn next(&self) -> &[u8] {
        let size = self.stride.map_or(usize::MAX, |size| usize::from(size.get()));
        &self.payload[..size.min(self.payload.len())]
    }
}

/// A datagram on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The address that the socket is bound to; `None` lets the route decide.
    pub(super) source: Option<IpAddr>,
    pub(super) source_port: u16,
    pub(super) destination: SocketAddr,
    pub(super) ttl: Option<u8>,
    /// DSCP and ECN.
    pub(super) traffic_class: u8,
    /// Where the payload is that of several datagrams: how long each is but the last.
    pub(super) segment_size: Option<NonZeroU16>,
    /// What goes to a group is heard by our own sockets, too.
    pub(super) heard_here: bool,
    pub(super) mtu_discovery: MtuDiscovery,
    /// Of IPv4.
    pub(super) options: Options,
    pub(super) payload: FrameBuf,
}

impl Socket {
    pub(super) fn new(bound: Binding, ttl: Option<u8>) -> Self {
        Self {
            bound,
            local: bound.local,
            remote: None,
            ttl,
            mtu_discovery: MtuDiscovery::default(),
            options: Options::NONE,
            error: None,
            report: None,
            hears_all_errors: false,
            pending: Pending::default(),
            received: VecDeque::new(),
            received_cost: 0,
            outgoing: VecDeque::new(),
            outgoing_cost: 0,
            wants_room: false,
            role: Role::Bound,
            casting: Casting::default(),
        }
    }

    /// What it is beside a socket, if it is a flow.
    pub(super) fn flow(&self) -> Option<&Flow> {
        if let Role::Flow(flow) = &self.role { Some(flow) } else { None }
    }

    pub(super) fn flow_mut(&mut self) -> Option<&mut Flow> {
        if let Role::Flow(flow) = &mut self.role { Some(flow) } else { None }
    }

    /// It was idle for too long.
    pub(super) fn is_over(&self) -> bool {
        self.flow().is_some_and(Flow::is_over)
    }

    /// The addresses and ports that it takes now.
    pub(super) fn places(&self) -> Places {
        let narrowed = self.local != self.bound.local;
        if narrowed { Places::from_iter([self.local]) } else { self.bound.places() }
    }

    /// An address and port as its program is to see it.
    pub(super) fn show(&self, address: SocketAddr) -> SocketAddr {
        self.bound.show(address)
    }

    /// It gets flows, and no datagrams.
    pub(super) fn takes_flows(&self) -> bool {
        matches!(self.role, Role::Taker)
    }

    /// What it is ready for. Room for sending is announced when it comes back.
    pub(super) fn readiness(&self) -> Ready {
        let mut ready = Ready::empty();
        let failed = self.error.is_some() || self.is_over();
        ready.set(Ready::READ, !self.received.is_empty() || failed);
        ready.set(Ready::WRITE, !self.wants_room || failed);
        ready.set(Ready::ERROR, failed);
        ready
    }

    /// Queues what came, as long as less than `limit` bytes are pinned.
    pub(super) fn push_received(
        &mut self,
        limit: usize,
        datagram: Datagram,
    ) -> Result<(), Datagram> {
        if self.received_cost >= limit {
            return Err(datagram);
        }
        self.received_cost += cost(&datagram.payload);
        self.received.push_back(datagram);
        Ok(())
    }

    pub(super) fn first_received(&self) -> Option<&Datagram> {
        self.received.front()
    }

    pub(super) fn pop_received(&mut self) -> Option<Datagram> {
        let datagram = self.received.pop_front()?;
        self.received_cost -= cost(&datagram.payload);
        Some(datagram)
    }

    /// The next `length` bytes were read: gives the frame when nothing is left in it.
    pub(super) fn pass_over(&mut self, length: usize) -> Option<FrameBuf> {
        let first = self.received.front_mut()?;
        if first.payload.len() > length {
            first.payload.advance(length);
            return None;
        }
        self.pop_received().map(|datagram| datagram.payload)
    }

    /// Why there is no datagram.
    pub(super) fn nothing(&self) -> Error {
        if self.is_over() { Error::TimedOut } else { Error::WouldBlock }
    }

    /// Unread bytes.
    pub(super) fn received_bytes(&self) -> usize {
        self.received.iter().map(|datagram| datagram.payload.len()).sum()
    }

    /// Queues a datagram for the link, as long as less than `limit` bytes wait.
    pub(super) fn push_outgoing(&mut self, limit: usize, datagram: Outgoing) -> Result<(), Error> {
        if self.outgoing_cost >= limit {
            self.wants_room = true;
            return Err(Error::WouldBlock);
        }
        self.outgoing_cost += cost(&datagram.payload);
        self.outgoing.push_back(datagram);
        Ok(())
    }

    /// The next datagram for the link. It stays charged until [`Socket::sent`].
    pub(super) fn pop_outgoing(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    /// A datagram left, or was lost: its room is free. Whether the program waits for it.
    pub(super) fn sent(&mut self, payload: &FrameBuf, limit: usize) -> bool {
        self.outgoing_cost = self.outgoing_cost.saturating_sub(cost(payload));
        let announce = self.wants_room && self.outgoing_cost < limit;
        self.wants_room &= !announce;
        announce
    }

    /// Whether something waits for the link or for a neighbour.
    pub(super) fn is_sending(&self) -> bool {
        self.outgoing_cost > 0
    }

    /// Bytes that wait for the link.
    pub(super) fn outgoing_bytes(&self) -> usize {
        self.outgoing.iter().map(|datagram| datagram.payload.len()).sum()
    }
}

/// What a queued payload pins in memory, in bytes.
pub(super) fn cost(payload: &FrameBuf) -> usize {
    payload.capacity() + OVERHEAD
}
