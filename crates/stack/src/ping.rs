//! Echo sockets: asking hosts whether they are there (RFC 792, RFC 1122 3.2.2.6, RFC 4443 4).
//!
//! A socket sends echo requests with an identifier of its own and gets the replies to them, as
//! unprivileged ICMP sockets do on Linux.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use slotmap::SlotMap;
use wire::frame::FrameBuf;
use wire::icmpv4::{self, Header, Timestamps};
use wire::icmpv6;
use wire::ipv4::Options;
use wire::time::Instant;

use crate::PingId;
use crate::error::Error;
use crate::event::{Pending, Ready, SocketId};
use crate::icmp::{IcmpReport, protocol_for};
use crate::info::SocketEntry;
use crate::ip::{Envelope, Incoming, Interfaces, Waiter, options_to_send, time_of_day, with_us};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::stack::Stack;
use crate::tcp::state::State;
use crate::trace::What;
use crate::transmit::{HeaderBuf, Packet};

/// How many requests of one socket may wait for the link, and how many replies for the program.
/// Nobody pings faster than this without reading.
const QUEUE_LIMIT: usize = 256;

/// How many echo sockets there may be: far more than programs that ping, far fewer than
/// identifiers.
const SOCKET_LIMIT: usize = 4096;

/// The longest data that a packet to `address` can carry behind an ICMP header.
fn longest_payload(address: IpAddr) -> usize {
    let header = if address.is_ipv4() { wire::ipv4::MIN_HEADER_LEN } else { 0 };
    65_535 - header - icmpv4::HEADER_LEN
}

/// What came back for an echo request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PingReply {
    /// The host that answered; for an error, the host that was asked.
    pub source: IpAddr,
    /// The sequence number of the request.
    pub sequence: u16,
    /// The TTL that the reply had left; 0 for an error.
    pub ttl: u8,
    /// The data of the reply, the same as in the request from an honest host; empty for an error.
    pub payload: Vec<u8>,
    /// When it came.
    pub received: Instant,
    /// Why there is no reply, where the network said so.
    pub error: Option<Error>,
    /// The same in full, where somebody on the way said it.
    pub report: Option<IcmpReport>,
    /// The options of IPv4 that the reply had: a recorded route is that of both ways, with us at its end.
    pub options: Options,
    /// What a reply to [`Stack::ping_send_timestamp`] says of times.
    pub times: Option<Timestamps>,
}

/// All echo sockets of a stack.
#[derive(Debug)]
pub(crate) struct Pings {
    sockets: SlotMap<PingId, Socket>,
    /// Requests that wait for the link, in the order of the programs' calls.
    queue: VecDeque<Parked>,
    /// Whose identifier is whose is found by a walk: see `SOCKET_LIMIT`.
    next_identifier: u16,
}

#[derive(Debug)]
struct Socket {
    identifier: u16,
    local: Option<IpAddr>,
    ttl: Option<u8>,
    options: Options,
    replies: VecDeque<PingReply>,
    /// Requests that wait for the link or for a neighbour.
    unsent: usize,
    pending: Pending,
}

impl Socket {
    /// What a request to `destination` carries.
    fn options_to(&self, destination: IpAddr) -> Options {
        if destination.is_ipv4() { self.options } else { Options::NONE }
    }
}

/// A request on its way, perhaps waiting for its next hop's hardware address.
#[derive(Debug)]
pub(crate) struct Parked {
    id: PingId,
    source: Option<IpAddr>,
    destination: IpAddr,
    sequence: u16,
    ttl: Option<u8>,
    /// Of IPv4.
    options: Options,
    /// The message; over IPv6 its checksum is made when its source is known.
    message: FrameBuf,
}

/// Echo sockets.
impl Stack {
    /// An echo socket, whose requests come from `local` or from the address that the route gives.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when `local` is not ours; [`Error::LimitReached`] when there
    /// are 4096 echo sockets already, or no identifier is left.
    pub fn ping_open(&mut self, local: Option<IpAddr>) -> Result<PingId, Error> {
        let local = local.filter(|ip| !ip.is_unspecified());
        if local.is_some_and(|ip| !self.interfaces.is_local(ip)) {
            return Err(Error::AddressNotAvailable);
        }
        let steering = &self.steering;
        self.pings.open(local, |identifier| steering.owns_identifier(identifier))
    }

    /// Queues an echo request to `destination`.
    ///
    /// # Errors
    /// [`Error::MessageTooBig`] when no IP packet can hold it (what does not fit the link is sent in
    /// fragments); [`Error::NetworkUnreachable`]
    /// without a route; [`Error::WouldBlock`] when 256 wait already; [`Error::InvalidInput`] for
    /// another family than that of the socket's address; [`Error::NoSuchSocket`] when the socket is
    /// closed.
    pub fn ping_send(
        &mut self,
        now: Instant,
        id: PingId,
        destination: IpAddr,
        sequence: u16,
        payload: &[u8],
    ) -> Result<(), Error> {
        let socket = self.pings.sockets.get(id).ok_or(Error::NoSuchSocket)?;
        let longest = longest_payload(destination) - socket.options_to(destination).len();
        if payload.len() > longest {
            return Err(Error::MessageTooBig);
        }
        let message = request(destination, socket.identifier, sequence, payload);
        self.ping_queue(now, id, (destination, sequence), message)
    }

    /// Queues a timestamp request to `destination` (RFC 792, RFC 1122 3.2.2.8). What comes back has
    /// [`PingReply::times`]: when the request left here, and when it came and the reply left there, in milliseconds
    /// of the day. The highest bit is set in a time that is not that of UTC; ours have it. Few hosts
    /// answer.
    ///
    /// # Errors
    /// Those of [`Stack::ping_send`].
    pub fn ping_send_timestamp(
        &mut self,
        now: Instant,
        id: PingId,
        destination: Ipv4Addr,
        sequence: u16,
    ) -> Result<(), Error> {
        let socket = self.pings.sockets.get(id).ok_or(Error::NoSuchSocket)?;
        let (identifier, originate) = (socket.identifier, time_of_day(now));
        let times = Timestamps { identifier, sequence, originate, receive: 0, transmit: 0 };
        let mut message = alloc::vec![0; icmpv4::TIMESTAMP_LEN];
        Header::TimestampRequest(times).emit(&mut message);
        icmpv4::fill_checksum(&mut message);
        self.ping_queue(now, id, (destination.into(), sequence), message)
    }

    fn ping_queue(
        &mut self,
        now: Instant,
        id: PingId,
        (destination, sequence): (IpAddr, u16),
        message: Vec<u8>,
    ) -> Result<(), Error> {
        self.shared.set_time(now);
        let socket = self.pings.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        if socket.local.is_some_and(|local| local.is_ipv4() != destination.is_ipv4()) {
            return Err(Error::InvalidInput);
        }
        self.interfaces.route(socket.local, destination)?;
        if socket.unsent >= QUEUE_LIMIT {
            return Err(Error::WouldBlock);
        }
        socket.unsent += 1;
        let (source, ttl, options) = (socket.local, socket.ttl, socket.options_to(destination));
        let message = FrameBuf::from(message);
        let request = Parked { id, source, destination, sequence, ttl, options, message };
        self.pings.queue.push_back(request);
        Ok(())
    }

    /// The options of IPv4 that requests carry from now on, at most 40 bytes; none is none. With a record route
    /// (RFC 791 3.1) the reply says which way both went, as far as there is room.
    ///
    /// # Errors
    /// Those of [`Stack::udp_set_options`].
    pub fn ping_set_options(&mut self, id: PingId, options: &[u8]) -> Result<(), Error> {
        let socket = self.pings.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.options = options_to_send(options)?;
        Ok(())
    }

    /// The TTL of the requests that are sent from now on: that of [`TcpOptions`](crate::TcpOptions::ttl)
    /// unless it is set. Who answers with [`IcmpReport::expired`] tells how far they come.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for 0; [`Error::NoSuchSocket`] when the socket is closed.
    pub fn ping_set_ttl(&mut self, id: PingId, ttl: u8) -> Result<(), Error> {
        let socket = self.pings.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        if ttl == 0 {
            return Err(Error::InvalidInput);
        }
        socket.ttl = Some(ttl);
        Ok(())
    }

    /// Takes the next reply, or the news that there will be none.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when nothing came; [`Error::NoSuchSocket`] when the socket is closed.
    pub fn ping_receive(&mut self, id: PingId) -> Result<PingReply, Error> {
        let socket = self.pings.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.replies.pop_front().ok_or(Error::WouldBlock)
    }

    /// Closes an echo socket. Replies that come later find nobody.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when it is closed already.
    pub fn ping_close(&mut self, id: PingId) -> Result<(), Error> {
        self.pings.sockets.remove(id).map(|_| ()).ok_or(Error::NoSuchSocket)
    }
}

impl Pings {
    pub(crate) fn new() -> Self {
        Self { sockets: SlotMap::with_key(), queue: VecDeque::new(), next_identifier: 1 }
    }

    /// What a socket is ready for; nothing when it is gone.
    pub(crate) fn readiness(&self, id: PingId) -> Ready {
        let Some(socket) = self.sockets.get(id) else { return Ready::empty() };
        let mut ready = Ready::empty();
        ready.set(Ready::READ, !socket.replies.is_empty());
        ready.set(Ready::WRITE, socket.unsent < QUEUE_LIMIT);
        ready
    }

    /// What was announced for a socket and not fetched yet.
    pub(crate) fn take_pending(&mut self, id: PingId) -> Ready {
        self.sockets.get_mut(id).map_or_else(Ready::empty, |socket| socket.pending.take())
    }

    /// Adds a line for each socket.
    pub(crate) fn list(&self, entries: &mut Vec<SocketEntry>) {
        const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        entries.extend(self.sockets.iter().map(|(id, socket)| SocketEntry {
            id: Some(SocketId::Ping(id)),
            protocol: "icmp",
            state: State::Closed,
            receive_queue: socket.replies.iter().map(|reply| reply.payload.len()).sum(),
            send_queue: socket.unsent,
            local: SocketAddr::new(socket.local.unwrap_or(ANY), socket.identifier),
            remote: SocketAddr::new(ANY, 0),
            timer: None,
            retries: 0,
            info: None,
        }));
    }

    /// Whether a request waits.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next request for the link.
    pub(crate) fn next_packet(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        while let Some(request) = self.queue.pop_front() {
            let route = match interfaces.route(request.source, request.destination) {
                Ok(route) => route,
                Err(error) => {
                    self.fail(shared, request, error, Dropped::NoRoute);
                    continue;
                }
            };
            let Some(link) = interfaces.resolve(shared, &route.hop) else {
                interfaces.park(shared, &route.hop, (route.source, Waiter::Ping(request)));
                continue;
            };
            let identification = interfaces.identification(&route, request.destination);
            self.leaves(shared, request.id);
            let mut message = request.message;
            if let (IpAddr::V6(from), IpAddr::V6(to)) = (route.source, request.destination) {
                icmpv6::fill_checksum(from, to, &mut message);
            }
            let envelope = Envelope {
                link,
                source: route.source,
                destination: request.destination,
                protocol: protocol_for(request.destination),
                ttl: request.ttl.unwrap_or(route.hop.ttl),
                traffic_class: 0,
                dont_fragment: false,
                identification,
                flow_label: 0,
            };
            let (kind, reason) = match message.first() {
                Some(&icmpv4::kind::TIMESTAMP_REQUEST) if route.source.is_ipv4() => {
                    ("ICMP timestamp request", Sent::TimestampRequest)
                }
                _ => ("ICMP echo request", Sent::EchoRequest),
            };
            shared.counters.count_sent(reason);
            let length = message.len().saturating_sub(icmpv4::HEADER_LEN);
            shared.trace(
                None,
                What::PacketOut {
                    kind,
                    source: route.source,
                    destination: request.destination,
                    length: u32::try_from(length).unwrap_or(u32::MAX),
                    reason,
                },
            );
            let options = match route.source {
                IpAddr::V4(ours) if !request.options.is_empty() => {
                    with_us(&request.options, ours, time_of_day(shared.now))
                }
                _ => request.options,
            };
            let packet =
                interfaces.send_datagram(header, &route, envelope, options, message, reason);
            return Some(packet);
        }
        None
    }

    /// The next hop of a request is known now, or will not be.
    pub(crate) fn next_hop_known(
        &mut self,
        shared: &mut Shared,
        parked: Parked,
        outcome: Result<(), Error>,
    ) {
        match outcome {
            Ok(()) => self.queue.push_back(parked),
            Err(error) => self.fail(shared, parked, error, Dropped::NeighborUnresolved),
        }
    }

    /// A reply came, perhaps one that says `times`.
    pub(crate) fn reply_arrives(
        &mut self,
        shared: &mut Shared,
        packet: Incoming,
        (identifier, sequence): (u16, u16),
        times: Option<Timestamps>,
    ) {
        let mut options = packet.options();
        let received = packet.received;
        if let (false, IpAddr::V4(ours)) = (options.is_empty(), received.destination) {
            options = with_us(&options, ours, time_of_day(shared.now));
        }
        let header_len = times.map_or(icmpv4::HEADER_LEN, |_| icmpv4::TIMESTAMP_LEN);
        let reply = PingReply {
            source: received.source,
            sequence,
            ttl: received.ttl,
            payload: received.frame.get(header_len..).unwrap_or_default().to_vec(),
            received: shared.now,
            error: None,
            report: None,
            options,
            times,
        };
        let to = received.destination;
        let asked = |socket: &Socket| {
            socket.identifier == identifier && socket.local.is_none_or(|local| local == to)
        };
        let found = self.sockets.iter().find(|(_, socket)| asked(socket)).map(|(id, _)| id);
        match found {
            Some(id) => self.push_reply(shared, id, reply),
            None => shared.drop_packet(None, Dropped::PingNobody),
        }
        shared.recycle(received.frame);
    }

    /// ICMP says that the request with `sequence` to `destination` did not get through.
    pub(crate) fn icmp_error(
        &mut self,
        shared: &mut Shared,
        destination: IpAddr,
        (identifier, sequence): (u16, u16),
        report: IcmpReport,
    ) -> Result<(), Dropped> {
        let found = self.sockets.iter().find(|(_, socket)| socket.identifier == identifier);
        let id = found.map(|(id, _)| id).ok_or(Dropped::IcmpUnsolicited)?;
        let news = failure(shared, destination, sequence, report.error);
        self.push_reply(shared, id, PingReply { report: Some(report), ..news });
        Ok(())
    }

    /// Opens a socket with an identifier that `suits`.
    fn open(
        &mut self,
        local: Option<IpAddr>,
        suits: impl Fn(u16) -> bool,
    ) -> Result<PingId, Error> {
        if self.sockets.len() >= SOCKET_LIMIT {
            return Err(Error::LimitReached);
        }
        let taken = |identifier| self.sockets.values().any(|s| s.identifier == identifier);
        let identifier = (0..=u16::MAX)
            .map(|step| self.next_identifier.wrapping_add(step))
            .find(|&identifier| suits(identifier) && !taken(identifier))
            .ok_or(Error::LimitReached)?;
        self.next_identifier = identifier.wrapping_add(1);
        Ok(self.sockets.insert(Socket {
            identifier,
            local,
            ttl: None,
            options: Options::NONE,
            replies: VecDeque::new(),
            unsent: 0,
            pending: Pending::default(),
        }))
    }

    /// A request left, or was lost: there is room for another.
    fn leaves(&mut self, shared: &mut Shared, id: PingId) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if socket.unsent == QUEUE_LIMIT {
            shared.events.push(SocketId::Ping(id), &mut socket.pending, Ready::WRITE);
        }
        socket.unsent = socket.unsent.saturating_sub(1);
    }

    /// A request will not be sent.
    fn fail(&mut self, shared: &mut Shared, request: Parked, error: Error, reason: Dropped) {
        shared.drop_packet(None, reason);
        self.leaves(shared, request.id);
        let news = failure(shared, request.destination, request.sequence, error);
        if self.sockets.contains_key(request.id) {
            self.push_reply(shared, request.id, news);
        }
        shared.recycle(request.message);
    }

    fn push_reply(&mut self, shared: &mut Shared, id: PingId, reply: PingReply) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if socket.replies.len() >= QUEUE_LIMIT {
            return shared.drop_packet(None, Dropped::PingQueueFull);
        }
        socket.replies.push_back(reply);
        shared.events.push(SocketId::Ping(id), &mut socket.pending, Ready::READ);
    }
}

/// An echo request; over IPv6 without its checksum, which needs to know the source.
fn request(destination: IpAddr, identifier: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = alloc::vec![0; icmpv4::HEADER_LEN];
    match destination {
        IpAddr::V4(_) => Header::EchoRequest { identifier, sequence }.emit(&mut message),
        IpAddr::V6(_) => icmpv6::Header::EchoRequest { identifier, sequence }.emit(&mut message),
    };
    message.extend_from_slice(payload);
    if destination.is_ipv4() {
        icmpv4::fill_checksum(&mut message);
    }
    message
}

fn failure(shared: &Shared, source: IpAddr, sequence: u16, error: Error) -> PingReply {
    let received = shared.now;
    PingReply {
        source,
        sequence,
        ttl: 0,
        payload: Vec::new(),
        received,
        error: Some(error),
        report: None,
        options: Options::NONE,
        times: None,
    }
}
