//! Whole packets for the program and from it: what this stack leaves to others.
//!
//! | what comes | setting | otherwise |
//! |---|---|---|
//! | ICMP echo requests of either family | [`Echo::HandOver`] | answered, refused with ICMP, or ignored, and counted |
//! | packets of protocols that are not spoken here | [`OtherProtocols::HandOver`] | refused with ICMP and counted |
//!
//! Handed over is what is for us, or for any address where that is [taken](Stack::set_any_address), whole
//! again if it came in fragments. [`Config::packet_limit`](crate::Config) of them wait for
//! [`Stack::poll_packet`]; more are dropped and counted ([`Dropped::PacketQueueFull`]).

use alloc::collections::VecDeque;
use core::net::IpAddr;

use wire::checksum;
use wire::ethernet::EtherType;
use wire::frame::{FrameBuf, TransmitMeta};
use wire::time::Instant;
use wire::{ipv4, ipv6};

use crate::error::Error;
use crate::event::{Pending, Ready, SocketId};
use crate::icmp::{Problem, Unreachable};
use crate::ip::{Incoming, InterfaceId, Interfaces, Waiter};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::stack::Stack;
use crate::trace::What;
use crate::transmit::{Body, HeaderBuf, Packet};

/// What becomes of ICMP echo requests, those to any address included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Echo {
    /// They are answered (RFC 1122 3.2.2.6, RFC 4443 4.2).
    #[default]
    Answer,
    /// They are dropped and counted: the host does not answer.
    Ignore,
    /// Their sender is told by an ICMP error that there is no way: the error counts against
    /// [`Config::icmp_errors_per_second`](crate::Config).
    Refuse(Unreachable),
    /// The program gets them, and answers or forwards them as it likes.
    HandOver,
}

/// What becomes of packets of protocols that are not spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OtherProtocols {
    /// The sender is told so (RFC 1122 3.2.2.1, RFC 8200 4).
    #[default]
    Refuse,
    /// The program gets them.
    HandOver,
}

/// Packets on their way to the program, and from it.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    received: VecDeque<(InterfaceId, FrameBuf)>,
    outgoing: VecDeque<Parked>,
    /// How many of the program's wait for the link or for a neighbour.
    unsent: usize,
    pending: Pending,
}

/// A packet of the program's on its way.
#[derive(Debug)]
pub(crate) struct Parked {
    source: IpAddr,
    destination: IpAddr,
    /// How much of it is the IP header without extensions.
    header_len: usize,
    packet: FrameBuf,
}

/// Whole packets.
impl Stack {
    /// The next packet that was handed over, from its IP header on, and the interface it came by.
    /// [`SocketId::Packets`] stands for this queue in events.
    pub fn poll_packet(&mut self) -> Option<(InterfaceId, FrameBuf)> {
        self.packets.received.pop_front()
    }

    /// Queues an IP packet of the program's own, from any address. The checksum of an IPv4 header is
    /// filled in; what follows the header is the program's affair.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is no packet: too short, a length that lies, a TTL of zero, a
    /// source or destination that no packet has; [`Error::MessageTooBig`] when it is longer than its
    /// link takes; [`Error::NetworkUnreachable`] without a route; [`Error::WouldBlock`] when
    /// [`Config::packet_limit`](crate::Config) wait already.
    pub fn send_packet(&mut self, now: Instant, packet: &[u8]) -> Result<(), Error> {
        self.shared.set_time(now);
        let parked = Parked::new(packet)?;
        let route = self.interfaces.route(Some(parked.source), parked.destination)?;
        if packet.len() > usize::from(route.hop.mtu) {
            return Err(Error::MessageTooBig);
        }
        if self.packets.unsent >= self.shared.config.packet_limit {
            return Err(Error::WouldBlock);
        }
        self.packets.unsent += 1;
        self.packets.outgoing.push_back(parked);
        Ok(())
    }

    /// Its sender is told that there is no way to whom it asked for an echo.
    pub(crate) fn refuse_echo(&mut self, packet: Incoming, what: Unreachable) {
        let problem = Problem::Refused(what);
        self.icmp.report(&mut self.shared, &self.interfaces, &packet, problem);
        self.discard(packet.received.frame, Dropped::EchoRefused);
    }

    /// The program gets a packet.
    pub(crate) fn hand_over(&mut self, packet: Incoming) {
        if self.packets.received.len() >= self.shared.config.packet_limit {
            return self.discard(packet.received.frame, Dropped::PacketQueueFull);
        }
        let mut frame = packet.received.frame;
        frame.retreat(packet.header_len);
        self.packets.received.push_back((packet.received.interface, frame));
        let pending = &mut self.packets.pending;
        self.shared.events.push(SocketId::Packets, pending, Ready::READ);
    }
}

impl Packets {
    /// What the queue is ready for.
    pub(crate) fn readiness(&self, limit: usize) -> Ready {
        let mut ready = Ready::empty();
        ready.set(Ready::READ, !self.received.is_empty());
        ready.set(Ready::WRITE, self.unsent < limit);
        ready
    }

    /// What was announced and not fetched yet.
    pub(crate) fn take_pending(&mut self) -> Ready {
        self.pending.take()
    }

    /// Whether a packet of the program's waits.
    pub(crate) fn has_work(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The next packet for the link.
    pub(crate) fn next_packet(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        while let Some(parked) = self.outgoing.pop_front() {
            let Ok(route) = interfaces.route(Some(parked.source), parked.destination) else {
                self.lose(shared, parked, Dropped::NoRoute);
                continue;
            };
            let Some(link) = interfaces.resolve(shared, &route.hop) else {
                interfaces.park(shared, &route.hop, (route.source, Waiter::Packet(parked)));
                continue;
            };
            self.leaves(shared);
            let Parked { source, destination, header_len, mut packet } = parked;
            let ethertype = if source.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
            let start = link.emit(&mut header.0, ethertype);
            let end = start + header_len;
            header.0[start..end].copy_from_slice(&packet[..header_len]);
            packet.advance(header_len);
            let reason = Sent::OfProgram;
            shared.counters.count_sent(reason);
            let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
            shared.trace(None, What::PacketOut { kind: "IP", source, destination, length, reason });
            return Some(Packet {
                interface: route.hop.interface,
                header_len: end,
                body: Body::Frame(packet),
                meta: TransmitMeta { comment: reason.comment(), ..TransmitMeta::default() },
            });
        }
        None
    }

    /// The next hop of a packet is known now, or will not be.
    pub(crate) fn next_hop_known(
        &mut self,
        shared: &mut Shared,
        parked: Parked,
        outcome: Result<(), Error>,
    ) {
        match outcome {
            Ok(()) => self.outgoing.push_back(parked),
            Err(_) => self.lose(shared, parked, Dropped::NeighborUnresolved),
        }
    }

    fn lose(&mut self, shared: &mut Shared, parked: Parked, reason: Dropped) {
        self.leaves(shared);
        shared.drop_packet(None, reason);
        shared.recycle(parked.packet);
    }

    /// There is room for another.
    fn leaves(&mut self, shared: &mut Shared) {
        if self.unsent >= shared.config.packet_limit {
            shared.events.push(SocketId::Packets, &mut self.pending, Ready::WRITE);
        }
        self.unsent = self.unsent.saturating_sub(1);
    }
}

impl Parked {
    /// Checks what the program made, and completes it.
    fn new(packet: &[u8]) -> Result<Self, Error> {
        let mut frame = FrameBuf::copy_from(packet);
        let (source, destination, header_len): (IpAddr, IpAddr, usize) =
            match wire::ip::version(packet) {
                Some(4) => {
                    let view = ipv4::View::new(packet).ok_or(Error::InvalidInput)?;
                    let header_len = view.header_len();
                    let fits = (ipv4::MIN_HEADER_LEN..=packet.len()).contains(&header_len);
                    if !fits || usize::from(view.total_len()) != packet.len() || view.ttl() == 0 {
                        return Err(Error::InvalidInput);
                    }
                    fill_checksum(&mut frame[..header_len]);
                    (view.source().into(), view.destination().into(), header_len)
                }
                Some(6) => {
                    let view = ipv6::View::new(packet).ok_or(Error::InvalidInput)?;
                    let length = ipv6::HEADER_LEN + usize::from(view.payload_len());
                    if length != packet.len() || view.hop_limit() == 0 {
                        return Err(Error::InvalidInput);
                    }
                    (view.source().into(), view.destination().into(), ipv6::HEADER_LEN)
                }
                _ => return Err(Error::InvalidInput),
            };
        let nobody = source.is_unspecified() || source.is_multicast();
        if nobody || destination.is_unspecified() {
            return Err(Error::InvalidInput);
        }
        Ok(Self { source, destination, header_len, packet: frame })
    }
}

/// RFC 791 3.1: the header's checksum, with its own field as zero.
fn fill_checksum(header: &mut [u8]) {
    let field = ipv4::CHECKSUM_OFFSET..ipv4::CHECKSUM_OFFSET + 2;
    header[field.clone()].fill(0);
    let sum = checksum::sum(header).finish();
    header[field].copy_from_slice(&sum.to_be_bytes());
}
