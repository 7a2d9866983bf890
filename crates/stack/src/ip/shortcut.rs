//! The short way in: a segment of a connection that exists is found by one look at its headers.
//!
//! Nearly every packet is such a one. The addresses of a connection were in order when it was opened
//! (RFC 1122 3.2.1.3), and are so as long as the routes have not changed; so nothing is left to ask of
//! them. What is not as plain as that goes the way of `input`, and says there what is wrong with it.

use wire::checksum;
use wire::frame::{FrameBuf, ReceiveChecksum, ReceiveMeta};
use wire::ip::Protocol;
use wire::ipv4;
use wire::tcp;

use crate::ConnectionId;
use crate::ip::InterfaceId;
use crate::stack::Stack;
use crate::tcp::{Origin, Segment, packets_in};

impl Stack {
    /// Whether `packet` is a segment of a connection, which it then has reached.
    pub(super) fn takes_the_shortcut(
        &mut self,
        interface: InterfaceId,
        packet: &mut FrameBuf,
        meta: &ReceiveMeta,
    ) -> bool {
        let Some((connection, seg, text)) = self.segment_of_connection(interface, packet, meta)
        else {
            return false;
        };
        packet.truncate(text.end);
        packet.advance(text.start);
        let frame = core::mem::take(packet);
        self.tcp.connection_arrives(&mut self.shared, connection, seg, frame);
        true
    }

    /// The connection and its segment, and where in the packet the text is.
    #[inline(always)]
    fn segment_of_connection(
        &self,
        interface: InterfaceId,
        packet: &[u8],
        meta: &ReceiveMeta,
    ) -> Option<(ConnectionId, Segment, core::ops::Range<usize>)> {
        let ip = ipv4::View::new(packet)?;
        let is_plain = (ip.version(), ip.header_words()) == (4, 5)
            && ip.protocol() == Protocol::TCP
            && !ip.more_fragments()
            && ip.fragment_offset() == 0
            && usize::from(ip.total_len()) <= packet.len();
        let segment = ip.payload();
        // A SYN opens a connection, or has no business in one.
        let opens = tcp::View::new(segment)?.flags().contains(tcp::Flags::SYN);
        if !is_plain || opens || !ip.is_checksum_valid() {
            return None;
        }
        let (header, text) = tcp::Header::parse(segment).ok()?;
        let local = (ip.destination(), header.destination_port);
        let remote = (ip.source(), header.source_port);
        let (id, conn) = self.tcp.connection_of(local, remote)?;
        let is_settled = conn.route.interface == interface
            && conn.route.generation == self.interfaces.generation();
        let is_intact = meta.checksum != ReceiveChecksum::Unverified || {
            let (source, destination) = (remote.0.into(), local.0.into());
            checksum::is_transport_valid(source, destination, Protocol::TCP, segment)
        };
        if !is_settled || !is_intact {
            return None;
        }
        // At most 65,535, as the IP header says.
        let length = u32::try_from(text.len()).ok()?;
        let packets = packets_in(length, meta.segment_size);
        let (ttl, traffic_class) = (ip.ttl(), ip.traffic_class());
        let origin = Origin { ttl, traffic_class, interface };
        let seg = Segment::new(conn.tuple(), header, length, packets).from(origin);
        let end = usize::from(ip.total_len());
        Some((id, seg, end - text.len()..end))
    }
}
