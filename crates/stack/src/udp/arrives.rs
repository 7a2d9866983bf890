//! Datagrams that come, and what ICMP says about those that went (RFC 1122 4.1.3).

use core::net::SocketAddr;

use wire::frame::{FrameBuf, ReceiveChecksum};
use wire::udp;

use super::Udp;
use super::socket::{Datagram, Socket, cost};
use crate::event::{Ready, SocketId};
use crate::icmp::{Icmp, IcmpReport, Problem};
use crate::ip::{Incoming, Interfaces, with_scope};
use crate::reason::Dropped;
use crate::shared::Shared;
use crate::trace::What;
use crate::{FourTuple, UdpId};

impl Udp {
    /// A datagram for one of our addresses, or for everybody on the link.
    pub(crate) fn datagram_arrives(
        &mut self,
        shared: &mut Shared,
        icmp: &mut Icmp,
        interfaces: &Interfaces,
        mut packet: Incoming,
    ) {
        let header = match read_header(&packet) {
            Ok(header) => header,
            Err(reason) => {
                shared.drop_packet(None, reason);
                return shared.recycle(packet.received.frame);
            }
        };
        let received = &packet.received;
        let local = SocketAddr::new(received.destination, header.destination_port);
        let remote = SocketAddr::new(received.source, header.source_port);
        let flow = FourTuple { local, remote };
        shared.trace(
            Some(flow),
            What::PacketIn {
                kind: "UDP",
                source: received.source,
                destination: received.destination,
                length: u32::from(header.payload_len),
            },
        );
        if packet.group {
            let source = with_scope(remote, received.interface);
            let length = usize::from(header.payload_len);
            return self.group_datagram_arrives(shared, &flow, source, packet, length);
        }
        let id = match self.receiver(shared, &flow, &packet) {
            Ok(id) => id,
            Err(reason) => {
                if reason == Dropped::UdpNobody {
                    // RFC 1122 4.1.3.1.
                    icmp.report(shared, interfaces, &packet, Problem::PortUnreachable);
                }
                shared.drop_packet(Some(flow), reason);
                return shared.recycle(packet.received.frame);
            }
        };
        let received = &mut packet.received;
        let source = with_scope(remote, received.interface);
        received.frame.truncate(udp::HEADER_LEN + usize::from(header.payload_len));
        let datagram = Datagram::of(&packet, source, shared.now);
        packet.received.frame.advance(udp::HEADER_LEN);
        let payload = keep(shared, packet.received.frame);
        let pins = cost(&payload);
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let limit = shared.config.udp_receive_buffer;
        match socket.push_received(limit, Datagram { payload, ..datagram }) {
            Ok(()) => {
                shared.events.push(SocketId::Udp(id), &mut socket.pending, Ready::READ);
                self.flow_received(shared, id, pins);
            }
            Err(refused) => {
                shared.drop_packet(Some(flow), Dropped::UdpQueueFull);
                shared.recycle(refused.payload);
            }
        }
    }

    /// Whether a socket could have sent a datagram on `tuple`: it has the port, and is connected to
    /// nobody else.
    pub(crate) fn may_have_sent(&self, tuple: FourTuple) -> bool {
        let found = self.flow_of(&tuple).or_else(|| self.ports.find(tuple.local));
        let socket = found.and_then(|id| self.sockets.get(id));
        socket.is_some_and(|socket| socket.remote.is_none_or(|remote| remote == tuple.remote))
    }

    /// The socket that a datagram is for: the flow that it belongs to, the socket that is bound to
    /// where it goes, or a new flow.
    fn receiver(
        &mut self,
        shared: &mut Shared,
        flow: &FourTuple,
        packet: &Incoming,
    ) -> Result<UdpId, Dropped> {
        if let Some(id) = self.flow_of(flow) {
            return self.is_there_room(shared, id);
        }
        let Some(id) = self.ports.find(flow.local) else {
            return self.begin_flow(shared, flow, packet);
        };
        let hears = |socket: &Socket| socket.remote.is_none_or(|remote| remote == flow.remote);
        self.sockets.get(id).filter(|socket| hears(socket)).map(|_| id).ok_or(Dropped::UdpNobody)
    }

    /// ICMP says that a datagram of ours did not get through. A connected socket hears of it; one with many
    /// peers, which could not say whom it is about, if it asked for that (RFC 1122 4.1.3.3).
    pub(crate) fn icmp_error(
        &mut self,
        shared: &mut Shared,
        tuple: FourTuple,
        report: IcmpReport,
    ) -> Result<(), Dropped> {
        let found = self.flow_of(&tuple).or_else(|| self.ports.find(tuple.local));
        let id = found.ok_or(Dropped::IcmpUnsolicited)?;
        let socket = self.sockets.get_mut(id).ok_or(Dropped::IcmpUnsolicited)?;
        let hears = socket.remote.map_or(socket.hears_all_errors, |peer| peer == tuple.remote);
        if !hears {
            return Err(Dropped::IcmpUnsolicited);
        }
        (socket.error, socket.report) = (Some(report.error), Some(report));
        let ready = Ready::READ | Ready::WRITE | Ready::ERROR;
        shared.events.push(SocketId::Udp(id), &mut socket.pending, ready);
        Ok(())
    }
}

/// RFC 768, RFC 1122 4.1.3.4: lengths and checksum; a checksum of zero was never made.
fn read_header(packet: &Incoming) -> Result<udp::Header, Dropped> {
    let received = &packet.received;
    let (header, _) = udp::Header::parse(&received.frame).map_err(|_| Dropped::MalformedUdp)?;
    let length = udp::HEADER_LEN + usize::from(header.payload_len);
    let datagram = &received.frame[..length];
    let verified = received.meta.checksum != ReceiveChecksum::Unverified;
    if verified || udp::is_checksum_valid(received.source, received.destination, datagram) {
        Ok(header)
    } else {
        Err(Dropped::UdpChecksum)
    }
}

/// The payload as the socket keeps it: the frame itself when most of its buffer is payload, else
/// a copy, so that a small datagram does not pin a large buffer.
pub(super) fn keep(shared: &mut Shared, frame: FrameBuf) -> FrameBuf {
    if frame.len() >= frame.capacity() / 2 {
        return frame;
    }
    let copy = FrameBuf::copy_from(&frame);
    shared.recycle(frame);
    copy
}
