//! UDP flows to any address: a datagram that no socket is bound for begins one, and each is a connected
//! socket of its own.
//!
//! A flow is known by both of its ends, answers from where the datagrams went to, and may answer from
//! anywhere else ([`Stack::udp_send_from`]), so that a program can be the endpoint-independent half of a
//! NAT (RFC 4787 4.1, 5). It ends when it was idle for its time (RFC 4787 4.3), whichever direction was
//! silent: then its socket says [`Error::TimedOut`] once its queue is read, and the next datagram begins
//! a new one.
//!
//! | what is full | what arrives | what becomes of it |
//! |---|---|---|
//! | the backlog of who takes flows | a datagram that would begin one | dropped: [`Dropped::UdpBacklogFull`] |
//! | [`Config::udp_flow_limit`](crate::Config) | likewise | dropped: [`Dropped::UdpFlowLimit`] |
//! | [`Config::flows_per_source`](crate::Config) | likewise | dropped: [`Dropped::SourceLimit`] |
//! | [`Config::udp_flow_memory`](crate::Config) | any datagram of a flow | dropped: [`Dropped::UdpFlowMemory`] |
//! | the flow's `Config::udp_receive_buffer` | a datagram of this flow | dropped: [`Dropped::UdpQueueFull`] |
//!
//! Nothing is answered with ICMP there: who sends again finds room perhaps. A flow that nobody took
//! before it was idle for its time is gone ([`Dropped::UdpFlowUntaken`]).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use rand_core::Rng;
use wire::frame::FrameBuf;
use wire::time::{Duration, Instant};

use super::Udp;
use super::message::UdpTransmit;
use super::socket::{Role, Socket, cost};
use crate::binding::Binding;
use crate::demux::Demux;
use crate::error::Error;
use crate::event::{Ready, SocketId};
use crate::icmp::{Refused, Unreachable};
use crate::ip::{Incoming, InterfaceId};
use crate::reason::Dropped;
use crate::shared::Shared;
use crate::sources::Sources;
use crate::stack::Stack;
use crate::timers::{TimerId, Wheel};
use crate::trace::{Timer, What};
use crate::{FourTuple, UdpId};

/// A flow that a datagram began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewFlow {
    /// Its socket, which is the program's to close.
    pub id: UdpId,
    /// Whom the datagram was sent to (`local`) and by whom (`remote`).
    pub flow: FourTuple,
    /// The interface it came by.
    pub interface: InterfaceId,
    /// TTL or hop limit of its packet.
    pub ttl: u8,
    /// DSCP and ECN of its packet.
    pub traffic_class: u8,
}

/// The flows of a stack.
#[derive(Debug)]
pub(super) struct Flows {
    taker: Option<Taker>,
    /// Which flow is between two ends.
    table: Demux<UdpId>,
    /// How many each source has.
    sources: Sources,
    /// An entry for each flow.
    wheel: Wheel<UdpId>,
    /// What the unread datagrams of all flows pin, in bytes.
    unread: usize,
}

/// Who takes flows.
#[derive(Debug)]
struct Taker {
    id: UdpId,
    /// What a flow begins with.
    idle: Duration,
    backlog: usize,
    /// Flows that nobody took yet, the oldest first.
    waiting: VecDeque<NewFlow>,
}

/// What a flow is beside a socket.
#[derive(Debug)]
pub(super) struct Flow {
    /// The packet that began it.
    began: Refused,
    idle: Duration,
    /// When the last datagram came or went.
    used: Instant,
    /// Its entry in the wheel, at the end of its time or before; `None` once it is over.
    timer: Option<TimerId>,
}

/// UDP flows to any address.
impl Stack {
    /// A socket that takes every flow of both families to any address and port that no other socket is
    /// bound to. What comes to addresses that are not ours gets here by
    /// [`Stack::set_any_address`]. A flow lives until it was `idle` for that long; `backlog` of them,
    /// at least one and at most [`Config::backlog_limit`](crate::Config), may wait to be taken.
    ///
    /// # Errors
    /// [`Error::AddressInUse`] when there is one; [`Error::InvalidInput`] for no idle time.
    pub fn udp_take_flows(&mut self, idle: Duration, backlog: usize) -> Result<UdpId, Error> {
        if idle.is_zero() {
            return Err(Error::InvalidInput);
        }
        let (udp, config) = (&mut self.udp, &self.shared.config);
        let flows = udp.flows.get_or_insert_with(|| Box::new(Flows::new(udp.ports.rng())));
        if flows.taker.is_some() {
            return Err(Error::AddressInUse);
        }
        let everybody = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
        let mut socket = Socket::new(Binding::to(everybody), config.tcp.ttl);
        socket.role = Role::Taker;
        let id = udp.sockets.insert(socket);
        let backlog = backlog.min(config.backlog_limit).max(1);
        flows.taker = Some(Taker { id, idle, backlog, waiting: VecDeque::new() });
        Ok(id)
    }

    /// Takes the oldest flow that waits. [`Ready::READ`] announces that there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when there is none; [`Error::NoSuchSocket`] when the socket is closed or
    /// takes no flows.
    pub fn udp_next_flow(&mut self, id: UdpId) -> Result<NewFlow, Error> {
        let taker = self.udp.flows.as_mut().and_then(|flows| flows.taker.as_mut());
        let taker = taker.filter(|taker| taker.id == id).ok_or(Error::NoSuchSocket)?;
        taker.waiting.pop_front().ok_or(Error::WouldBlock)
    }

    /// Queues a datagram to the peer of a flow as if it came from `source`, be that ours or not.
    ///
    /// # Errors
    /// [`Error::NotConnected`] on a socket that is no flow; [`Error::InvalidInput`] for a source that
    /// cannot be one host's, or of another family; those of [`Stack::udp_send_to`].
    pub fn udp_send_from(
        &mut self,
        now: Instant,
        id: UdpId,
        source: SocketAddr,
        payload: &[u8],
    ) -> Result<usize, Error> {
        let socket = self.udp.socket(id)?;
        let remote = socket.remote.filter(|_| socket.flow().is_some());
        let remote = remote.ok_or(Error::NotConnected)?;
        let ip = source.ip();
        let nobody = ip.is_unspecified() || ip.is_multicast() || self.interfaces.is_broadcast(ip);
        if nobody || source.is_ipv4() != remote.is_ipv4() {
            return Err(Error::InvalidInput);
        }
        self.send_datagram(now, id, source, remote, &UdpTransmit::new(None, payload))
    }

    /// Closes a flow and tells its peer that nobody hears it, with an ICMP error, which is rate-limited
    /// like all of them.
    ///
    /// # Errors
    /// [`Error::NotConnected`] on a socket that is no flow; [`Error::NoSuchSocket`] when it is closed.
    pub fn udp_refuse_flow(
        &mut self,
        now: Instant,
        id: UdpId,
        what: Unreachable,
    ) -> Result<(), Error> {
        self.shared.set_time(now);
        let socket = self.udp.socket(id)?;
        let began = socket.flow().ok_or(Error::NotConnected)?.began;
        let packet = Refused { flow: socket.tuple(), ..began };
        self.icmp.refuse_datagram(&mut self.shared, &packet, what);
        self.udp_close(id)
    }

    /// How long a flow may be idle from now on.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for no time at all, [`Error::NotConnected`] on a socket that is no
    /// flow, [`Error::TimedOut`] when it is over; [`Error::NoSuchSocket`] when it is closed.
    pub fn udp_set_idle(&mut self, id: UdpId, idle: Duration) -> Result<(), Error> {
        let flow = self.udp.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        let flow = flow.flow_mut().ok_or(Error::NotConnected)?;
        if idle.is_zero() {
            return Err(Error::InvalidInput);
        }
        if flow.is_over() {
            return Err(Error::TimedOut);
        }
        flow.idle = idle;
        if let Some(flows) = &mut self.udp.flows {
            flows.wheel.arm(&mut flow.timer, flow.used.after(idle), id);
        }
        Ok(())
    }
}

impl Udp {
    /// Fires the timers that are due.
    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared) {
        while let Some((id, _)) = self.flows.as_mut().and_then(|f| f.wheel.expire(shared.now)) {
            self.idle_timer_fires(shared, id);
        }
    }

    /// When the next timer is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.flows.as_ref()?.wheel.next_deadline()
    }

    /// How many flows wait to be taken.
    pub(super) fn waiting_flows(&self) -> usize {
        let taker = self.flows.as_ref().and_then(|flows| flows.taker.as_ref());
        taker.map_or(0, |taker| taker.waiting.len())
    }

    /// The flow between two ends.
    pub(super) fn flow_of(&self, tuple: &FourTuple) -> Option<UdpId> {
        let sockets = &self.sockets;
        self.flows.as_ref()?.table.find(tuple, |id| sockets[id].tuple())
    }

    /// Whether a datagram of a flow can be kept.
    pub(super) fn is_there_room(&self, shared: &Shared, id: UdpId) -> Result<UdpId, Dropped> {
        let unread = self.flows.as_ref().map_or(0, |flows| flows.unread);
        if unread < shared.config.udp_flow_memory { Ok(id) } else { Err(Dropped::UdpFlowMemory) }
    }

    /// A datagram that no socket is bound for: it begins a flow, if somebody takes them.
    pub(super) fn begin_flow(
        &mut self,
        shared: &mut Shared,
        tuple: &FourTuple,
        packet: &Incoming,
    ) -> Result<UdpId, Dropped> {
        let flows = self.flows.as_mut().filter(|_| !packet.group).ok_or(Dropped::UdpNobody)?;
        let taker = flows.taker.as_mut().ok_or(Dropped::UdpNobody)?;
        let (config, source) = (&shared.config, tuple.remote.ip());
        let obstacles = [
            (flows.table.len() >= config.udp_flow_limit, Dropped::UdpFlowLimit),
            (flows.sources.is_full(source, config.flows_per_source), Dropped::SourceLimit),
            (taker.waiting.len() >= taker.backlog, Dropped::UdpBacklogFull),
            (flows.unread >= config.udp_flow_memory, Dropped::UdpFlowMemory),
        ];
        if let Some((_, reason)) = obstacles.into_iter().find(|(is_in_the_way, _)| *is_in_the_way) {
            return Err(reason);
        }
        let mut socket = Socket::new(Binding::to(tuple.local), config.tcp.ttl);
        socket.remote = Some(tuple.remote);
        let id = self.sockets.insert(socket);
        let received = &packet.received;
        let (interface, ttl, traffic_class) =
            (received.interface, received.ttl, received.traffic_class);
        let began = Refused { flow: *tuple, interface, ttl, traffic_class };
        let mut flow = Flow { began, idle: taker.idle, used: shared.now, timer: None };
        flows.wheel.arm(&mut flow.timer, shared.now.after(taker.idle), id);
        self.sockets[id].role = Role::Flow(flow);
        let sockets = &self.sockets;
        flows.table.insert(tuple, id, |id| sockets[id].tuple());
        flows.sources.count(source);
        taker.waiting.push_back(NewFlow { id, flow: *tuple, interface, ttl, traffic_class });
        let (taker, announce) = (taker.id, Ready::READ);
        if let Some(socket) = self.sockets.get_mut(taker) {
            shared.events.push(SocketId::Udp(taker), &mut socket.pending, announce);
        }
        Ok(id)
    }

    /// A datagram is in a socket's queue, where it pins so many bytes.
    pub(super) fn flow_received(&mut self, shared: &Shared, id: UdpId, pins: usize) {
        let flow = self.sockets.get_mut(id).and_then(Socket::flow_mut);
        if let (Some(flow), Some(flows)) = (flow, &mut self.flows) {
            flow.is_used(shared.now);
            flows.unread += pins;
        }
    }

    /// A datagram was taken out of it.
    pub(super) fn flow_was_read(&mut self, id: UdpId, payload: &FrameBuf) {
        let is_flow = self.sockets.get(id).is_some_and(|socket| socket.flow().is_some());
        if let Some(flows) = self.flows.as_mut().filter(|_| is_flow) {
            flows.unread = flows.unread.saturating_sub(cost(payload));
        }
    }

    /// Nobody takes flows any more: those that wait go, the others stay.
    pub(super) fn stop_taking(&mut self, shared: &mut Shared) {
        let taker = self.flows.as_mut().and_then(|flows| flows.taker.take());
        for waiting in taker.into_iter().flat_map(|taker| taker.waiting) {
            self.bury(shared, waiting.id);
        }
    }

    /// A flow is closed, and its socket taken out already.
    pub(super) fn forget_flow(&mut self, shared: &mut Shared, id: UdpId, socket: &mut Socket) {
        let tuple = socket.tuple();
        let Some(flows) = &mut self.flows else { return };
        while let Some(datagram) = socket.pop_received() {
            flows.unread = flows.unread.saturating_sub(cost(&datagram.payload));
            shared.recycle(datagram.payload);
        }
        if let Some(flow) = socket.flow_mut().filter(|flow| !flow.is_over()) {
            flows.wheel.disarm(&mut flow.timer);
            flows.forget(&tuple, id);
        }
    }

    /// A flow was idle for its time, or used since its timer was set.
    fn idle_timer_fires(&mut self, shared: &mut Shared, id: UdpId) {
        let (Some(socket), Some(flows)) = (self.sockets.get_mut(id), &mut self.flows) else {
            return;
        };
        let tuple = socket.tuple();
        let Some(flow) = socket.flow_mut() else { return };
        flow.timer = None;
        let until = flow.used.after(flow.idle);
        if until > shared.now {
            return flows.wheel.arm(&mut flow.timer, until, id);
        }
        flows.forget(&tuple, id);
        shared.trace(Some(tuple), What::Timer { timer: Timer::FlowIdle });
        if flows.is_waiting(id) {
            shared.drop_packet(Some(tuple), Dropped::UdpFlowUntaken);
            return self.bury(shared, id);
        }
        let ready = Ready::READ | Ready::WRITE | Ready::ERROR;
        shared.events.push(SocketId::Udp(id), &mut socket.pending, ready);
    }

    /// Takes out a flow that nobody took.
    fn bury(&mut self, shared: &mut Shared, id: UdpId) {
        if let Some(taker) = self.flows.as_mut().and_then(|flows| flows.taker.as_mut()) {
            taker.waiting.retain(|waiting| waiting.id != id);
        }
        if let Some(mut socket) = self.sockets.remove(id) {
            self.forget_flow(shared, id, &mut socket);
        }
    }
}

impl Flows {
    fn new(rng: &mut impl Rng) -> Self {
        Self {
            taker: None,
            table: Demux::new([rng.next_u64(), rng.next_u64()]),
            sources: Sources::new(rng),
            wheel: Wheel::new(),
            unread: 0,
        }
    }

    /// A flow is over: what comes between its ends begins another.
    fn forget(&mut self, tuple: &FourTuple, id: UdpId) {
        self.table.remove_value(tuple, id);
        self.sources.uncount(tuple.remote.ip());
    }

    fn is_waiting(&self, id: UdpId) -> bool {
        self.taker.as_ref().is_some_and(|taker| taker.waiting.iter().any(|flow| flow.id == id))
    }
}

impl Flow {
    /// A datagram came or went.
    pub(super) fn is_used(&mut self, now: Instant) {
        self.used = now;
    }

    /// It was idle for too long.
    pub(super) fn is_over(&self) -> bool {
        self.timer.is_none()
    }

    /// When it will be over, as things are; `None` when it is.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.timer.map(|_| self.used.after(self.idle))
    }
}

impl Socket {
    /// Both of a flow's ends.
    fn tuple(&self) -> FourTuple {
        FourTuple { local: self.local, remote: self.remote.unwrap_or(self.local) }
    }
}
