//! The short way in: a segment of a connection that exists is found by one look at its headers.
//!
//! Nearly every packet is such a one. The addresses of a connection were in order when it was opened
//! (RFC 1122 3.2.1.3), and are so as long as the routes have not changed; so nothing is left to ask of
//! them. What is not as plain as that goes the way of `input`, and says there what is wrong with it.

use core::net::IpAddr;
use core::ops::Range;

use wire::checksum;
use wire::frame::{FrameBuf, ReceiveChecksum, ReceiveMeta};
use wire::ip::Protocol;
use wire::tcp;
use wire::{ipv4, ipv6};

use crate::ip::InterfaceId;
use crate::stack::Stack;
use crate::tcp::{Connection, Origin, Segment, packets_in};
use crate::{ConnectionId, FourTuple};

/// The length of IPv6's fixed header.
const HEADER_LEN_V6: u16 = 40;

/// A connection, a segment of it, and where in the packet the text is.
type Found = (ConnectionId, Segment, Range<usize>);

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
    ) -> Option<Found> {
        match wire::ip::version(packet)? {
            4 => self.segment_v4(interface, packet, meta),
            6 => self.segment_v6(interface, packet, meta),
            _ => None,
        }
    }

    #[inline(always)]
    fn segment_v4(
        &self,
        interface: InterfaceId,
        packet: &[u8],
        meta: &ReceiveMeta,
    ) -> Option<Found> {
        let ip = ipv4::View::new(packet)?;
        let is_plain = ip.header_words() == 5
            && ip.protocol() == Protocol::TCP
            && !ip.more_fragments()
            && ip.fragment_offset() == 0
            && usize::from(ip.total_len()) <= packet.len();
        let segment = ip.payload();
        if !is_plain || opens(segment) || !ip.is_checksum_valid() {
            return None;
        }
        let (header, text) = tcp::Header::parse(segment).ok()?;
        let (source, destination) = (ip.source(), ip.destination());
        let local = (destination, header.destination_port);
        let (id, conn) = self.tcp.connection_of(local, (source, header.source_port))?;
        if !self.is_settled(conn, interface) || !is_intact(source, destination, segment, meta) {
            return None;
        }
        let origin = Origin { ttl: ip.ttl(), traffic_class: ip.traffic_class(), interface };
        found(id, conn, header, text, meta, origin, ip.total_len())
    }

    /// The same without extension headers, and between addresses that mean the same on every link.
    fn segment_v6(
        &self,
        interface: InterfaceId,
        packet: &[u8],
        meta: &ReceiveMeta,
    ) -> Option<Found> {
        let ip = ipv6::View::new(packet)?;
        let (source, destination) = (ip.source(), ip.destination());
        let end = ip.payload_len().checked_add(HEADER_LEN_V6)?;
        let is_plain = ip.next_header() == Protocol::TCP
            && !destination.is_unicast_link_local()
            && !source.is_unicast_link_local()
            && usize::from(end) <= packet.len();
        let segment = ip.payload();
        if !is_plain || opens(segment) {
            return None;
        }
        let (header, text) = tcp::Header::parse(segment).ok()?;
        let local = (destination.into(), header.destination_port);
        let tuple = FourTuple::new(local, (source.into(), header.source_port));
        let (id, conn) = self.tcp.connection_between(&tuple)?;
        if !self.is_settled(conn, interface) || !is_intact(source, destination, segment, meta) {
            return None;
        }
        let origin = Origin { ttl: ip.hop_limit(), traffic_class: ip.traffic_class(), interface };
        found(id, conn, header, text, meta, origin, end)
    }

    /// Whether its addresses, and the way to its peer, are as they were when it was looked at last.
    fn is_settled(&self, conn: &Connection, interface: InterfaceId) -> bool {
        conn.route.interface == interface && conn.route.generation == self.interfaces.generation()
    }
}

/// Whether it is a SYN: that opens a connection, or has no business in one.
fn opens(segment: &[u8]) -> bool {
    tcp::View::new(segment).is_none_or(|view| view.flags().contains(tcp::Flags::SYN))
}

fn is_intact(
    source: impl Into<IpAddr>,
    destination: impl Into<IpAddr>,
    segment: &[u8],
    meta: &ReceiveMeta,
) -> bool {
    meta.checksum != ReceiveChecksum::Unverified
        || checksum::is_transport_valid(source.into(), destination.into(), Protocol::TCP, segment)
}

/// `end` is where the packet ends that the text is the last part of.
#[inline(always)]
fn found(
    id: ConnectionId,
    conn: &Connection,
    header: tcp::Header,
    text: &[u8],
    meta: &ReceiveMeta,
    origin: Origin,
    end: u16,
) -> Option<Found> {
    // At most 65,535, as the IP header says.
    let length = u32::try_from(text.len()).ok()?;
    let packets = packets_in(length, meta.segment_size);
    let seg = Segment::new(conn.tuple(), header, length, packets).from(origin);
    let end = usize::from(end);
    Some((id, seg, end - text.len()..end))
}
