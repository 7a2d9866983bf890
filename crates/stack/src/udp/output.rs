//! Datagrams that go (RFC 768, RFC 1122 4.1.3.2).

use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;

use wire::checksum;
use wire::frame::{FrameBuf, TransmitChecksum, TransmitMeta};
use wire::ip::Protocol;
use wire::udp;

use super::Udp;
use super::socket::{Outgoing, Socket};
use crate::config::MtuDiscovery;
use crate::error::Error;
use crate::event::{Ready, SocketId};
use crate::ip::{
    Envelope, InterfaceId, Interfaces, LinkHeader, Offload, Route, Waiter, time_of_day, with_us,
};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::trace::What;
use crate::transmit::{Body, HeaderBuf, Packet};
use crate::{FourTuple, UdpId};

/// A datagram that waits for its next hop's hardware address, and whose it is. It waits alone: the
/// socket goes on sending to others.
#[derive(Debug)]
pub(crate) struct Parked {
    id: UdpId,
    datagram: Outgoing,
}

impl Udp {
    /// Whether a datagram waits.
    pub(crate) fn has_work(&self) -> bool {
        self.returned.len() | self.ready.len() | self.echoes.len() != 0
    }

    /// The next datagram for the link.
    pub(crate) fn next_packet(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        loop {
            let next = self.returned.pop_front().or_else(|| self.pop_ready());
            let Parked { id, datagram } = match next {
                Some(next) => next,
                None if self.ready.is_empty() => return None,
                None => continue,
            };
            let source = datagram.source;
            let route = match interfaces.route(source, datagram.destination.ip()) {
                Ok(route) => route,
                Err(error) => {
                    self.fail(shared, id, datagram, error, Dropped::NoRoute);
                    continue;
                }
            };
            let Some(link) = interfaces.resolve(shared, &route.hop) else {
                let waiter = Waiter::Udp(Parked { id, datagram });
                interfaces.park(shared, &route.hop, (route.source, waiter));
                continue;
            };
            let (mut datagram, others) = match datagram.segment_size {
                Some(size) if !does_link_cut(&route, &datagram, size) => datagram.cut(size),
                _ => (datagram, None),
            };
            if let (false, IpAddr::V4(ours)) = (datagram.options.is_empty(), route.source) {
                datagram.options = with_us(&datagram.options, ours, time_of_day(shared.now));
            }
            let envelope = envelope(shared, interfaces, &route, link, &datagram);
            if datagram.heard_here {
                self.echo(interfaces, route.hop.interface, &envelope, &datagram);
            }
            match others {
                Some(others) => self.returned.push_front(Parked { id, datagram: others }),
                None => self.release_room(shared, id, &datagram.payload),
            }
            if datagram.ttl == Some(0) {
                // To a group, and the program keeps it on this host.
                shared.recycle(datagram.payload);
                continue;
            }
            let ip_len = envelope.ip_len() + datagram.options.len();
            let packet_len = ip_len + udp::HEADER_LEN + datagram.payload.len();
            let mut route = route;
            if !matches!(datagram.mtu_discovery, MtuDiscovery::Dont | MtuDiscovery::Want) {
                // Nothing heard of the path makes us cut it, also not meanwhile.
                route.hop.mtu = interfaces.mtu_of_link(&route);
            }
            if packet_len <= usize::from(route.hop.mtu) || datagram.segment_size.is_some() {
                return Some(emit(shared, header, &route, &envelope, datagram));
            }
            let options = datagram.options;
            let message = message(shared, &envelope, datagram);
            let reason = Sent::Datagram;
            let packet =
                interfaces.send_datagram(header, &route, envelope, options, message, reason);
            return Some(packet);
        }
    }

    /// The next hop of a datagram is known now, or will not be.
    pub(crate) fn next_hop_known(
        &mut self,
        shared: &mut Shared,
        parked: Parked,
        outcome: Result<(), Error>,
    ) {
        match outcome {
            Ok(()) => self.returned.push_back(parked),
            Err(error) => {
                let Parked { id, datagram } = parked;
                self.fail(shared, id, datagram, error, Dropped::NeighborUnresolved);
            }
        }
    }

    /// Sends what a socket still had in its queue when it was closed.
    pub(super) fn send_the_rest(&mut self, id: UdpId, socket: &mut Socket) {
        self.ready.retain(|other| *other != id);
        while let Some(datagram) = socket.pop_outgoing() {
            self.returned.push_back(Parked { id, datagram });
        }
    }

    fn pop_ready(&mut self) -> Option<Parked> {
        let id = self.ready.pop_front()?;
        let datagram = self.sockets.get_mut(id)?.pop_outgoing()?;
        Some(Parked { id, datagram })
    }

    /// A datagram will not be sent: a connected socket is told why.
    fn fail(
        &mut self,
        shared: &mut Shared,
        id: UdpId,
        datagram: Outgoing,
        error: Error,
        reason: Dropped,
    ) {
        self.release_room(shared, id, &datagram.payload);
        shared.drop_packet(None, reason);
        if let Some(socket) = self.sockets.get_mut(id)
            && socket.remote == Some(datagram.destination)
        {
            socket.error = Some(error);
            let ready = Ready::READ | Ready::WRITE | Ready::ERROR;
            shared.events.push(SocketId::Udp(id), &mut socket.pending, ready);
        }
        shared.recycle(datagram.payload);
    }

    fn release_room(&mut self, shared: &mut Shared, id: UdpId, payload: &FrameBuf) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if socket.sent(payload, shared.config.udp_send_buffer) {
            shared.events.push(SocketId::Udp(id), &mut socket.pending, Ready::WRITE);
        }
    }
}

fn envelope(
    shared: &Shared,
    interfaces: &mut Interfaces,
    route: &Route,
    link: LinkHeader,
    datagram: &Outgoing,
) -> Envelope {
    let (source, destination) = (route.source, datagram.destination);
    let flow =
        FourTuple { local: SocketAddr::new(source, datagram.source_port), remote: destination };
    let ip = if source.is_ipv4() { wire::ipv4::MIN_HEADER_LEN } else { wire::ipv6::HEADER_LEN };
    let ip = ip + datagram.options.len();
    let fits = ip + udp::HEADER_LEN + datagram.payload.len() <= usize::from(route.hop.mtu);
    let whole = match datagram.mtu_discovery {
        MtuDiscovery::Want => fits,
        MtuDiscovery::Do | MtuDiscovery::Probe => true,
        MtuDiscovery::Dont | MtuDiscovery::Interface | MtuDiscovery::Omit => false,
    };
    Envelope {
        link,
        source,
        destination: destination.ip(),
        protocol: Protocol::UDP,
        ttl: datagram.ttl.unwrap_or(route.hop.ttl),
        traffic_class: datagram.traffic_class,
        // What a link cuts has numbers of its choice (RFC 6864 4.1).
        dont_fragment: datagram.segment_size.is_some() || whole,
        identification: interfaces.identification(route, destination.ip()),
        flow_label: shared.flow_labels.of(&flow),
    }
}

/// Whether the link is to cut a message into datagrams of `size`: it can, each fits it, and nobody here
/// is to hear them one by one.
fn does_link_cut(route: &Route, datagram: &Outgoing, size: NonZeroU16) -> bool {
    let ip =
        if route.source.is_ipv4() { wire::ipv4::MIN_HEADER_LEN } else { wire::ipv6::HEADER_LEN };
    let packet_len = ip + udp::HEADER_LEN + usize::from(size.get());
    let able = route.hop.offload >= Offload::Segmentation;
    able && datagram.options.is_empty()
        && packet_len <= usize::from(route.hop.mtu)
        && !datagram.heard_here
        && datagram.ttl != Some(0)
}

fn emit(
    shared: &mut Shared,
    header: &mut HeaderBuf,
    route: &Route,
    envelope: &Envelope,
    datagram: Outgoing,
) -> Packet {
    note_sent(shared, envelope, &datagram);
    let length = udp::HEADER_LEN + datagram.payload.len();
    let start = envelope.emit_with(&mut header.0, datagram.options, length);
    let header_len = start + udp::HEADER_LEN;
    header_of(&datagram).emit(&mut header.0[start..]);
    let segment_size = datagram.segment_size;
    let payload = datagram.payload;
    let udp_bytes = &mut header.0[start..header_len];
    let checksum = fill_checksum(route, envelope, udp_bytes, &payload, start);
    let comment = Sent::Datagram.comment();
    Packet {
        interface: route.hop.interface,
        header_len,
        body: Body::Frame(payload),
        meta: TransmitMeta { checksum, segment_size, comment },
    }
}

/// Header and payload in one piece, with the checksum: what is cut into fragments.
fn message(shared: &mut Shared, envelope: &Envelope, datagram: Outgoing) -> FrameBuf {
    note_sent(shared, envelope, &datagram);
    let mut message = alloc::vec![0; udp::HEADER_LEN];
    header_of(&datagram).emit(&mut message);
    message.extend_from_slice(&datagram.payload);
    shared.recycle(datagram.payload);
    udp::fill_checksum(envelope.source, envelope.destination, &mut message);
    FrameBuf::from(message)
}

pub(super) fn header_of(datagram: &Outgoing) -> udp::Header {
    udp::Header {
        source_port: datagram.source_port,
        destination_port: datagram.destination.port(),
        // `udp_send_to` refuses what no packet can hold.
        payload_len: u16::try_from(datagram.payload.len()).unwrap_or(u16::MAX),
    }
}

fn note_sent(shared: &mut Shared, envelope: &Envelope, datagram: &Outgoing) {
    let Outgoing { source_port, destination, payload, .. } = datagram;
    let reason = Sent::Datagram;
    shared.counters.count_sent(reason);
    let (source, destination, port) = (envelope.source, destination.ip(), destination.port());
    let flow = FourTuple::new((source, *source_port), (destination, port));
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    shared.trace(Some(flow), What::PacketOut { kind: "UDP", source, destination, length, reason });
}

/// RFC 1122 4.1.3.4: a host must make checksums; who completes it depends on the link.
fn fill_checksum(
    route: &Route,
    envelope: &Envelope,
    header: &mut [u8],
    payload: &[u8],
    start: usize,
) -> TransmitChecksum {
    if route.hop.interface == InterfaceId::LOOPBACK {
        return TransmitChecksum::Complete;
    }
    let length = header.len() + payload.len();
    let pseudo = checksum::pseudo_header(
        envelope.source,
        envelope.destination,
        Protocol::UDP,
        u32::try_from(length).unwrap_or(u32::MAX),
    );
    let field = udp::CHECKSUM_OFFSET..udp::CHECKSUM_OFFSET + 2;
    let completes = route.hop.offload >= Offload::Checksum;
    if let (true, Ok(start)) = (completes, u16::try_from(start)) {
        header[field].copy_from_slice(&pseudo.partial().to_be_bytes());
        return TransmitChecksum::Partial { start, offset: 6 };
    }
    let sum = pseudo.combine(checksum::sum(header)).combine(checksum::sum(payload));
    // Zero would mean that there is none (RFC 768).
    let value = match sum.finish() {
        0 => u16::MAX,
        other => other,
    };
    header[field].copy_from_slice(&value.to_be_bytes());
    TransmitChecksum::Complete
}
