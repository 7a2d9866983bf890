//! TCP (RFC 9293), a file per mechanism.
//!
//! | place | holds | source |
//! |---|---|---|
//! | [`state`] | the states and what leads from one to the next | RFC 9293 3.3.2 |
//! | `arrives` | SEGMENT ARRIVES, the eight steps | RFC 9293 3.10.7 |
//! | `acked` | what an acknowledgment does | RFC 9293 3.10.7.4, RFC 5681 |
//! | `user`, `expire` | calls of the program; timers that fire | RFC 9293 3.10.1-6, 3.10.8 |
//! | `output/` | the only builder of segments: what is next and why, and its headers | RFC 9293 3.8 |
//! | `lifecycle` | the only place where one kind of endpoint becomes another | |
//! | [`seq`] | sequence numbers | RFC 9293 3.4 |
//! | `timestamps` | timestamps and PAWS | RFC 7323 |
//! | `isn`, `ports` | initial sequence numbers, ephemeral ports | RFC 9293 3.4.1, RFC 6056 |
//! | `listen/` | listeners, the SYN queue, SYN cookies | RFC 9293 3.10.7.2, RFC 4987 |
//! | `blind` | challenge ACKs | RFC 5961 |
//! | `timewait` | TIME-WAIT and its early end | RFC 9293 3.6.1, RFC 6191, RFC 1337 |
//! | `mtu`, `path_search` | segment size, and the search for one that arrives | RFC 9293 3.7.1, RFC 1191, RFC 4821 |
//! | `send/` | the send queue and its size, the peer's window, Nagle | RFC 9293 3.7.4, 3.8.6 |
//! | `send/work`, `recv/work` | what is under way or not read; put away while that is nothing | |
//! | `shared_options` | what programs set, once for all with the same | |
//! | `send/inflight` | a record for each transmission | RFC 8985 5.2 |
//! | `send/rate`, `pacing`, `usage` | delivery rates, when to send, whether the window was used | BBR draft 4.1, RFC 7661 4.3 |
//! | `send/control` | where the sender meets its congestion controller | RFC 5681 3 |
//! | `recv/` | the receive queue and its size, our window, delayed ACKs, SACK blocks | RFC 9293 3.8.6, RFC 5681, RFC 2018, RFC 2883 |
//! | `recovery/rtt`, `rto` | round trips, timeouts | RFC 6298 |
//! | `recovery/scoreboard`, `sack` | what the peer reports, and the course of a repair | RFC 2018, RFC 2883, RFC 6675 |
//! | `recovery/rack`, `tlp` | what is lost, by time; probes | RFC 8985 |
//! | `recovery/prr` | how the window falls in a repair | RFC 9937 |
//! | `recovery/frto`, `undo` | timeouts and losses that were none | RFC 5682, RFC 3522, RFC 3708, RFC 4015 |
//! | `recovery/newreno` | repair without SACK, limited transmit | RFC 6582, RFC 3042 |
//! | [`congestion`] | how much may be in flight | RFC 9438, RFC 9406, RFC 5681, BBR draft |
//! | `ecn` | marks instead of losses | RFC 3168 |
//! | `keepalive` | signs of life | RFC 9293 3.8.4 |
//! | `icmp` | what ICMP errors do | RFC 5927, RFC 1191 |

mod acked;
mod arrives;
mod blind;
pub mod congestion;
mod connection;
mod deadlines;
pub(crate) mod ecn;
mod expire;
mod icmp;
mod inspect;
mod isn;
mod keepalive;
mod lifecycle;
mod listen;
mod mtu;
pub(crate) mod output;
mod path_search;
mod ports;
mod recovery;
mod recv;
mod reply;
mod segment;
mod send;
pub mod seq;
mod shared_options;
pub mod state;
mod timestamps;
mod timewait;
mod user;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::num::NonZeroU16;

use rand_core::Rng;
use slotmap::SlotMap;
use wire::frame::ReceiveChecksum;
use wire::time::Instant;

use crate::config::Config;
use crate::demux::Demux;
use crate::error::Error;
use crate::icmp::IcmpError;
use crate::ip::{Interfaces, Received};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::sources::Sources;
use crate::timers::Wheel;
use crate::trace::What;
use crate::{ConnectionId, FourTuple, ListenerId};

use arrives::Arrival;
use connection::Turn;
use isn::IsnGenerator;
use listen::half_open::{HalfOpenId, HalfOpenTable};
use listen::listener::Listener;
use listen::places::Listening;
use listen::syn_cookie::SynCookies;
use ports::PortAllocator;
use reply::{Replies, Reply};
use seq::Seq;
use shared_options::SharedOptions;
use timewait::{TimeWaitId, TimeWaitTable};

pub(crate) use connection::Connection;
pub use listen::pending::{PendingId, PendingSyn};
pub use path_search::MtuProbing;
pub(crate) use recv::work::ReceiveWork;
pub(crate) use segment::{Origin, Segment};
pub(crate) use send::work::SendWork;

/// All of a stack's TCP: every endpoint, and who is next to send.
#[derive(Debug)]
pub(crate) struct Tcp {
    listeners: SlotMap<ListenerId, Listener>,
    listening: Listening,
    half_open: HalfOpenTable,
    connections: SlotMap<ConnectionId, Box<Connection>>,
    time_wait: TimeWaitTable,
    /// Which endpoint a segment belongs to.
    demux: Demux<Target>,
    /// One entry per connection and half-open entry whose timers run.
    wheel: Wheel<TimerOwner>,
    /// Endpoints that may have something to send, first come first served.
    ready: VecDeque<Ready>,
    /// Whose program waits for memory to write into, the longest first.
    starved: VecDeque<ConnectionId>,
    replies: Replies,
    /// How many flows each source has that the program decides, or decided, about.
    sources: Sources,
    /// What programs set, kept once for all that set the same.
    options: SharedOptions,
    isn: IsnGenerator,
    ports: PortAllocator,
    cookies: SynCookies,
}

/// What an entry of the demultiplexing table stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    Connection(ConnectionId),
    HalfOpen(HalfOpenId),
    TimeWait(TimeWaitId),
}

/// Whose timer it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TimerOwner {
    Connection(ConnectionId),
    HalfOpen(HalfOpenId),
}

/// Who has something to send.
#[derive(Clone, Debug)]
pub(crate) enum Ready {
    Connection(ConnectionId),
    HalfOpen(HalfOpenId),
    Reply(Box<Reply>),
}

impl Tcp {
    pub(crate) fn new(config: &Config, rng: &mut impl Rng) -> Self {
        Self {
            listeners: SlotMap::with_key(),
            listening: Listening::new(rng),
            half_open: HalfOpenTable::with_key(),
            connections: SlotMap::with_key(),
            time_wait: TimeWaitTable::new(config.time_wait_limit),
            demux: Demux::new(key_pair(rng)),
            wheel: Wheel::new(),
            ready: VecDeque::new(),
            starved: VecDeque::new(),
            replies: Replies::default(),
            sources: Sources::new(rng),
            options: SharedOptions::default(),
            isn: IsnGenerator::new(key(rng)),
            ports: PortAllocator::new(key(rng), config.ephemeral_ports.clone()),
            cookies: SynCookies::new(key(rng)),
        }
    }

    /// A segment for one of our addresses: checks it and hands it to its endpoint.
    pub(crate) fn segment_arrives(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        mut received: Received,
    ) {
        let (source, destination) = (received.source, received.destination);
        let verified = received.meta.checksum != ReceiveChecksum::Unverified;
        let protocol = wire::ip::Protocol::TCP;
        if !verified
            && !wire::checksum::is_transport_valid(source, destination, protocol, &received.frame)
        {
            shared.drop_packet(None, Dropped::TcpChecksum);
            return shared.recycle(received.frame);
        }
        let Ok((header, text)) = wire::tcp::Header::parse(&received.frame) else {
            shared.drop_packet(None, Dropped::MalformedTcp);
            return shared.recycle(received.frame);
        };
        // At most 65,535: the IP layer saw to that.
        let length = u32::try_from(text.len()).unwrap_or(0);
        let data_offset = received.frame.len() - text.len();
        let tuple =
            FourTuple::new((destination, header.destination_port), (source, header.source_port));
        let packets = packets_in(length, received.meta.segment_size);
        if shared.trace.is_on() {
            shared.trace(Some(tuple), What::SegmentIn { header, length });
        }
        received.frame.advance(data_offset);
        let Received { ttl, traffic_class, interface, .. } = received;
        let origin = Origin { ttl, traffic_class, interface };
        let segment = Segment::new(tuple, header, length, packets).from(origin);
        self.dispatch(shared, interfaces, segment, received.frame);
    }

    fn dispatch(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        seg: Segment,
        frame: wire::frame::FrameBuf,
    ) {
        match self.find(&seg.tuple) {
            Some(Target::Connection(id)) => self.hand_to_connection(shared, id, seg, frame),
            Some(Target::HalfOpen(id)) => {
                self.half_open_arrives(shared, interfaces, id, seg, frame);
            }
            Some(Target::TimeWait(id)) => {
                self.time_wait_arrives(shared, interfaces, id, seg, frame);
            }
            None => self.listen_arrives(shared, interfaces, seg, frame, None),
        }
    }

    /// The connection between two addresses and ports of IPv4, if there is one.
    #[inline]
    pub(crate) fn connection_of(
        &self,
        local: (Ipv4Addr, u16),
        remote: (Ipv4Addr, u16),
    ) -> Option<(ConnectionId, &Connection)> {
        let is_it = |target| match target {
            Target::Connection(id) => {
                self.connections.get(id).is_some_and(|conn| conn.is_between(local, remote))
            }
            Target::HalfOpen(_) | Target::TimeWait(_) => false,
        };
        match self.demux.find_v4(local, remote, is_it)? {
            Target::Connection(id) => Some((id, self.connections.get(id)?)),
            Target::HalfOpen(_) | Target::TimeWait(_) => None,
        }
    }

    /// The same for addresses of either family.
    pub(crate) fn connection_between(
        &self,
        tuple: &FourTuple,
    ) -> Option<(ConnectionId, &Connection)> {
        match self.find(tuple)? {
            Target::Connection(id) => Some((id, self.connections.get(id)?)),
            Target::HalfOpen(_) | Target::TimeWait(_) => None,
        }
    }

    /// A segment that was found to belong to a connection.
    pub(crate) fn connection_arrives(
        &mut self,
        shared: &mut Shared,
        id: ConnectionId,
        seg: Segment,
        frame: wire::frame::FrameBuf,
    ) {
        if shared.trace.is_on() {
            let (header, length) = (seg.header, seg.length);
            shared.trace(Some(seg.tuple), What::SegmentIn { header, length });
        }
        self.hand_to_connection(shared, id, seg, frame);
    }

    #[inline]
    fn hand_to_connection(
        &mut self,
        shared: &mut Shared,
        id: ConnectionId,
        seg: Segment,
        frame: wire::frame::FrameBuf,
    ) {
        let Some(conn) = self.connections.get_mut(id) else { return };
        let replies = &mut self.replies;
        arrives::segment_arrives(Arrival { conn, shared, replies, seg, frame });
        self.settle(shared, id);
    }

    /// RFC 9293 3.10.7.1: a segment for nobody is answered with a reset, unless it is one.
    fn nobody_arrives(&mut self, shared: &mut Shared, seg: &Segment) {
        if seg.rst() {
            shared.drop_packet(Some(seg.tuple), Dropped::NobodyReset);
        } else {
            self.replies.push(shared, Reply::reset_for(seg, Sent::ResetNobody));
        }
    }

    /// ICMP says that something is wrong with what we sent on `tuple` at `seq`. Whether that is in
    /// flight.
    pub(crate) fn icmp_error(
        &mut self,
        shared: &mut Shared,
        tuple: FourTuple,
        seq: Seq,
        error: IcmpError,
    ) -> bool {
        let found = match self.find(&tuple) {
            Some(Target::Connection(id)) => self.connections.get_mut(id).map(|conn| (id, conn)),
            _ => None,
        };
        let Some((id, conn)) = found else {
            shared.drop_packet(Some(tuple), Dropped::IcmpUnsolicited);
            return false;
        };
        let in_flight = conn.icmp_arrives(shared, seq, error);
        self.settle(shared, id);
        in_flight
    }

    /// The next hop of something that was parked is known now, or will not be.
    pub(crate) fn next_hop_known(
        &mut self,
        shared: &mut Shared,
        ready: Ready,
        outcome: Result<(), Error>,
    ) {
        match (ready, outcome) {
            (Ready::Connection(id), outcome) => {
                let Some(conn) = self.connections.get_mut(id) else { return };
                conn.turn = Turn::None;
                if let Err(error) = outcome {
                    conn.unreachable(shared, error);
                }
                self.settle(shared, id);
            }
            (Ready::HalfOpen(id), Ok(())) => self.half_open_ready(id),
            (Ready::Reply(reply), Ok(())) => self.replies.push(shared, *reply),
            (Ready::HalfOpen(_), Err(_)) => {}
            (Ready::Reply(reply), Err(_)) => {
                shared.drop_packet(Some(reply.tuple), Dropped::NeighborUnresolved);
            }
        }
    }

    /// When the next timer fires.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.wheel.next_deadline(), self.time_wait.next_deadline()].into_iter().flatten().min()
    }

    fn find(&self, tuple: &FourTuple) -> Option<Target> {
        self.demux.find(tuple, |target| self.tuple_of(target))
    }

    /// Where the endpoint behind an entry of the table keeps its tuple.
    fn tuple_of(&self, target: Target) -> FourTuple {
        match target {
            Target::Connection(id) => self.connections[id].tuple(),
            Target::HalfOpen(id) => self.half_open[id].tuple(),
            Target::TimeWait(id) => self.time_wait.tuple(id),
        }
    }
}

/// The address that stands for all of its family.
fn wildcard(address: SocketAddr) -> SocketAddr {
    let any = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, address.port())
}

/// How many packets a super-segment was on the wire.
pub(crate) fn packets_in(length: u32, segment_size: Option<NonZeroU16>) -> u32 {
    segment_size.map_or(1, |size| length.div_ceil(u32::from(size.get())).max(1))
}

fn key(rng: &mut impl Rng) -> [u8; 16] {
    let mut key = [0; 16];
    rng.fill_bytes(&mut key);
    key
}

fn key_pair(rng: &mut impl Rng) -> [u64; 2] {
    [rng.next_u64(), rng.next_u64()]
}
