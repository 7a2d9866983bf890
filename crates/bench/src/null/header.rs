//! Headers that are written once and patched: everything that is the same in each segment stays.

use std::ops::Range;

use wire::checksum::{Sum, pseudo_header, sum};
use wire::ethernet::{self, EtherType, EthernetAddress};
use wire::frame::MAX_FRAME;
use wire::ip::Protocol;
use wire::{ipv4, ipv6, tcp, vnet};

use crate::application::{CLIENT, CLIENT_V6, PORT, SERVER, SERVER_V6, cargo};
use crate::row::Family;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;

/// The length of our TCP headers but that of the SYN-ACK.
const TCP: usize = tcp::MIN_HEADER_LEN;
/// How far our window field is shifted.
const SCALE: u8 = 10;
/// What we take of a connection with offload, in bytes: enough for the client to go on while we
/// read, little enough to stay in the caches.
const WINDOW: usize = 2 << 20;
/// Without offload the device queues 500 packets, and drops what comes then.
const PLAIN_WINDOW: usize = 512 << 10;

/// What stands before the IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// The version of IP.
    pub(super) family: Family,
    /// There is a virtio header, and checksums and segmentation are the device's.
    pub(super) offload: bool,
    /// Our own address if there is an Ethernet header.
    pub(super) ethernet: Option<EthernetAddress>,
}

impl Layout {
    pub(super) const ETHERNET: usize = 14;

    fn before_ip(self) -> usize {
        let vnet = if self.offload { vnet::HEADER_LEN } else { 0 };
        vnet + if self.ethernet.is_some() { Self::ETHERNET } else { 0 }
    }

    /// Where the payload begins in all but the SYN-ACK.
    pub(super) fn before_payload(self) -> usize {
        self.before_tcp() + TCP
    }

    /// Where TCP begins, in bytes from the start of the buffer.
    pub(super) fn before_tcp(self) -> usize {
        self.before_ip() + self.ip()
    }

    /// The length of an IP header without options or extensions, which the client's never have.
    fn ip(self) -> usize {
        match self.family {
            Family::V4 => ipv4::MIN_HEADER_LEN,
            Family::V6 => ipv6::HEADER_LEN,
        }
    }

    fn ethertype(self) -> EtherType {
        match self.family {
            Family::V4 => EtherType::IPV4,
            Family::V6 => EtherType::IPV6,
        }
    }

    /// What a super-segment is called.
    fn gso_type(self) -> vnet::GsoType {
        match self.family {
            Family::V4 => vnet::GsoType::TCPV4,
            Family::V6 => vnet::GsoType::TCPV6,
        }
    }

    /// Where a packet ends in the frame, by the first bytes of its header; `None` for what is not
    /// TCP over our IP.
    fn end_of_packet(self, ip: &[u8; ipv4::MIN_HEADER_LEN]) -> Option<usize> {
        let (is_ours, protocol, before, length) = match self.family {
            Family::V4 => (ip[0] == 0x45, ip[9], self.before_ip(), [ip[2], ip[3]]),
            Family::V6 => (ip[0] >> 4 == 6, ip[6], self.before_tcp(), [ip[4], ip[5]]),
        };
        let is_tcp = is_ours && protocol == Protocol::TCP.0;
        is_tcp.then(|| before + usize::from(u16::from_be_bytes(length)))
    }
}

/// What the null stack wants to know of a segment from the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Arrived {
    /// The client's port.
    pub(super) port: u16,
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    pub(super) flags: u8,
    /// As it stands there.
    pub(super) window: u16,
    /// Where the options are in the frame.
    pub(super) options: Range<usize>,
    /// Where the payload is in the frame.
    pub(super) payload: Range<usize>,
}

impl Arrived {
    /// Reads the fields; `None` for what is not TCP over our IP.
    pub(super) fn parse(layout: Layout, frame: &[u8]) -> Option<Self> {
        let (before_ip, before_tcp) = (layout.before_ip(), layout.before_tcp());
        let tcp: &[u8; TCP] = frame.get(before_tcp..)?.first_chunk()?;
        let end = layout.end_of_packet(frame.get(before_ip..)?.first_chunk()?)?;
        let payload = before_tcp + usize::from(tcp[12] >> 4) * 4;
        if payload > end || end > frame.len() {
            return None;
        }
        Some(Self {
            port: u16::from_be_bytes([tcp[0], tcp[1]]),
            sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
            acknowledgment: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
            flags: tcp[13],
            window: u16::from_be_bytes([tcp[14], tcp[15]]),
            options: before_tcp + TCP..payload,
            payload: payload..end,
        })
    }

    pub(super) fn payload_len(&self) -> u32 {
        // It is part of an IP packet.
        self.payload.len() as u32
    }
}

/// What differs between our segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    /// The client's port.
    pub(super) port: u16,
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    pub(super) flags: u8,
    /// Of the payload, in bytes.
    pub(super) length: usize,
}

/// Writes our segments, all into the same bytes.
pub(super) struct Writer {
    layout: Layout,
    /// The largest payload of a packet.
    mss: usize,
    /// Headers, and behind them what is sent.
    segment: Vec<u8>,
    syn_ack: Vec<u8>,
    /// The sum of the IP header without its length; only IPv4 has use for it.
    ip_sum: Sum,
    /// The sum of the pseudo-header without its length.
    pseudo_sum: Sum,
    /// The sum of the first bytes of the payload, and of how many.
    payload_sum: (usize, Sum),
}

impl Writer {
    /// Our first sequence number in every connection.
    pub(super) const ISN: u32 = 0x1000_0000;

    pub(super) fn new(layout: Layout, mtu: u16, connections: usize) -> Self {
        let mss = usize::from(mtu) - layout.ip() - TCP;
        let window = if layout.offload { WINDOW } else { PLAIN_WINDOW / connections };
        let with = |window: usize, options| {
            let header = tcp::Header {
                source_port: PORT,
                // At most what the field holds.
                window: window.min(usize::from(u16::MAX)) as u16,
                options,
                ..tcp::Header::default()
            };
            template(layout, mss, &header)
        };
        let offers = tcp::Options {
            mss: u16::try_from(mss).ok(),
            window_scale: Some(SCALE),
            ..tcp::Options::NONE
        };
        let mut segment = with(window >> SCALE, tcp::Options::NONE);
        let syn_ack = with(window, offers);
        let ip_sum = sum(&segment[layout.before_ip()..layout.before_tcp()]);
        let family = layout.family;
        let pseudo_sum = pseudo_header(family.server(), family.client(), Protocol::TCP, 0);
        segment.extend_from_slice(&cargo(MAX_FRAME));
        Self { layout, mss, segment, syn_ack, ip_sum, pseudo_sum, payload_sum: (0, Sum::ZERO) }
    }

    /// Sends these bytes from now on.
    pub(super) fn set_payload(&mut self, payload: &[u8]) {
        self.segment.truncate(self.layout.before_payload());
        self.segment.extend_from_slice(payload);
    }

    /// The longest payload that one write can send.
    pub(super) fn longest(&self) -> usize {
        let packets = (usize::from(u16::MAX) - self.layout.ip() - TCP) / self.mss;
        if self.layout.offload { packets * self.mss } else { self.mss }
    }

    /// The frame of a segment with its payload.
    pub(super) fn segment(&mut self, outgoing: &Outgoing) -> &[u8] {
        self.patch(outgoing, TCP);
        &self.segment[..self.layout.before_payload() + outgoing.length]
    }

    /// The bytes that the payload is copied from.
    pub(super) fn payload(&self, length: usize) -> &[u8] {
        let start = self.layout.before_payload();
        &self.segment[start..start + length]
    }

    /// The frame of a segment without its payload.
    pub(super) fn head(&mut self, outgoing: &Outgoing) -> &[u8] {
        self.patch(outgoing, TCP);
        &self.segment[..self.layout.before_payload()]
    }

    /// The frame of the answer to a SYN.
    pub(super) fn syn_ack(&mut self, port: u16, acknowledgment: u32) -> &[u8] {
        let header = self.syn_ack.len() - self.layout.before_tcp();
        let sequence = Self::ISN;
        let outgoing = Outgoing { port, sequence, acknowledgment, flags: SYN | ACK, length: 0 };
        std::mem::swap(&mut self.segment, &mut self.syn_ack);
        self.patch(&outgoing, header);
        std::mem::swap(&mut self.segment, &mut self.syn_ack);
        &self.syn_ack
    }

    fn patch(&mut self, outgoing: &Outgoing, header: usize) {
        let before = self.layout.before_tcp();
        if self.layout.offload {
            let large = outgoing.length > self.mss;
            self.segment[1] = if large { self.layout.gso_type().0 } else { vnet::GsoType::NONE.0 };
        }
        // It is part of an IP packet.
        let length = (header + outgoing.length) as u16;
        self.patch_ip(length);
        let tcp = &mut self.segment[before..before + header];
        tcp[2..4].copy_from_slice(&outgoing.port.to_be_bytes());
        tcp[4..8].copy_from_slice(&outgoing.sequence.to_be_bytes());
        tcp[8..12].copy_from_slice(&outgoing.acknowledgment.to_be_bytes());
        tcp[13] = outgoing.flags;
        let pseudo = self.pseudo_sum.add_u16(length);
        let checksum = if self.layout.offload {
            pseudo.partial()
        } else {
            tcp[16..18].fill(0);
            let head = pseudo.combine(sum(tcp));
            head.combine(self.sum_payload(outgoing.length)).finish()
        };
        tcp::store_checksum(&mut self.segment[before..], checksum);
    }

    /// Writes what depends on the length of the segment.
    fn patch_ip(&mut self, length: u16) {
        let ip = &mut self.segment[self.layout.before_ip()..];
        match self.layout.family {
            Family::V4 => {
                let total = length + ipv4::MIN_HEADER_LEN as u16;
                ip[2..4].copy_from_slice(&total.to_be_bytes());
                ip[10..12].copy_from_slice(&self.ip_sum.add_u16(total).finish().to_be_bytes());
            }
            Family::V6 => ip[4..6].copy_from_slice(&length.to_be_bytes()),
        }
    }

    /// The sum of what is sent, which is the same each time.
    fn sum_payload(&mut self, length: usize) -> Sum {
        if self.payload_sum.0 != length {
            self.payload_sum = (length, sum(self.payload(length)));
        }
        self.payload_sum.1
    }
}

/// Everything that comes before a payload, with no length.
fn template(layout: Layout, mss: usize, header: &tcp::Header) -> Vec<u8> {
    let (before_ip, before_tcp) = (layout.before_ip(), layout.before_tcp());
    let mut bytes = vec![0; before_tcp + header.encoded_len()];
    let ethernet = if layout.ethernet.is_some() { Layout::ETHERNET } else { 0 };
    if layout.offload {
        let vnet = vnet::Header {
            flags: vnet::Flags::NEEDS_CSUM,
            gso_type: vnet::GsoType::NONE,
            hdr_len: (ethernet + layout.ip() + TCP) as u16,
            gso_size: mss as u16,
            csum_start: (ethernet + layout.ip()) as u16,
            csum_offset: tcp::CHECKSUM_OFFSET as u16,
        };
        vnet.emit(&mut bytes);
    }
    if let Some(source) = layout.ethernet {
        // The kernel's address differs from ours in the last bit.
        let mut destination = source;
        destination.0[5] ^= 1;
        let header = ethernet::Header { destination, source, ethertype: layout.ethertype() };
        header.emit(&mut bytes[before_ip - ethernet..]);
    }
    emit_ip(layout.family, &mut bytes[before_ip..before_tcp]);
    header.emit(&mut bytes[before_tcp..]);
    bytes
}

/// Writes an IP header with no length.
fn emit_ip(family: Family, bytes: &mut [u8]) {
    if family == Family::V6 {
        let header = ipv6::Header {
            source: SERVER_V6,
            destination: CLIENT_V6,
            next_header: Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
            payload_len: 0,
        };
        header.emit(bytes);
        return;
    }
    let header = ipv4::Header {
        source: SERVER,
        destination: CLIENT,
        protocol: Protocol::TCP,
        ttl: 64,
        traffic_class: 0,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: 0,
        options: ipv4::Options::default(),
    };
    header.emit(bytes);
    // Length and checksum are patched, and must not be in the sum.
    bytes[2..4].fill(0);
    bytes[10..12].fill(0);
}

#[cfg(test)]
mod tests {
    use wire::checksum;

    use super::*;

    const ADDRESS: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 8]);

    fn layouts() -> Vec<Layout> {
        let mut layouts = Vec::new();
        for family in [Family::V4, Family::V6] {
            for ethernet in [None, Some(ADDRESS)] {
                let of = |offload| Layout { family, offload, ethernet };
                layouts.extend([true, false].map(of));
            }
        }
        layouts
    }

    const OUTGOING: Outgoing = Outgoing {
        port: 40_000,
        sequence: 0xfedc_ba98,
        acknowledgment: 0x0123_4567,
        flags: ACK | PSH,
        length: 1000,
    };

    /// The packet of a frame, after a look at what is before it.
    fn packet(layout: Layout, frame: &[u8]) -> &[u8] {
        let mut rest = frame;
        if layout.offload {
            let (vnet, behind) = vnet::Header::parse(rest).unwrap();
            assert_eq!(vnet.flags, vnet::Flags::NEEDS_CSUM);
            assert_eq!(usize::from(vnet.csum_start) + vnet::HEADER_LEN, layout.before_tcp());
            rest = behind;
        }
        if let Some(source) = layout.ethernet {
            let (header, behind) = ethernet::Header::parse(rest).unwrap();
            assert_eq!((header.source, header.ethertype), (source, layout.ethertype()));
            rest = behind;
        }
        rest
    }

    /// The segment of a packet that says from whom to whom it is.
    fn segment_of(layout: Layout, frame: &[u8]) -> &[u8] {
        let packet = packet(layout, frame);
        match layout.family {
            Family::V4 => {
                let (ip, segment) = ipv4::Header::parse(packet).unwrap();
                assert_eq!((ip.source, ip.destination), (SERVER, CLIENT));
                assert!(checksum::is_valid(&packet[..ipv4::MIN_HEADER_LEN]));
                segment
            }
            Family::V6 => {
                let (ip, segment) = ipv6::Header::parse(packet).unwrap();
                assert_eq!((ip.source, ip.destination), (SERVER_V6, CLIENT_V6));
                assert_eq!((ip.next_header, ip.hop_limit), (Protocol::TCP, 64));
                assert_eq!(usize::from(ip.payload_len), packet.len() - ipv6::HEADER_LEN);
                segment
            }
        }
    }

    #[test]
    fn what_is_patched_parses() {
        for layout in layouts() {
            let mut writer = Writer::new(layout, 1500, 1);
            for length in [0, 1, 999, writer.mss] {
                let outgoing = Outgoing { length, ..OUTGOING };
                let frame = writer.segment(&outgoing).to_vec();
                let segment = segment_of(layout, &frame);
                let (header, payload) = tcp::Header::parse(segment).unwrap();
                assert_eq!(payload, cargo(length));
                assert_eq!((header.source_port, header.destination_port), (PORT, 40_000));
                assert_eq!(header.sequence, OUTGOING.sequence);
                assert_eq!(header.acknowledgment, OUTGOING.acknowledgment);
                assert_eq!(header.flags, tcp::Flags::ACK | tcp::Flags::PSH);
                let (own, client) = (layout.family.server(), layout.family.client());
                if layout.offload {
                    let length = 20 + length as u32;
                    let sum = pseudo_header(own, client, Protocol::TCP, length);
                    assert_eq!(tcp::View::new(segment).unwrap().checksum(), sum.partial());
                } else {
                    assert!(tcp::is_checksum_valid(own, client, segment));
                }
            }
        }
    }

    #[test]
    fn a_super_segment_says_how_it_is_to_be_cut() {
        let families =
            [(Family::V4, 1460, vnet::GsoType::TCPV4), (Family::V6, 1440, vnet::GsoType::TCPV6)];
        for (family, mss, gso_type) in families {
            let layout = Layout { family, offload: true, ethernet: None };
            let mut writer = Writer::new(layout, 1500, 1);
            let length = writer.longest();
            assert_eq!(length % mss, 0);
            let frame = writer.segment(&Outgoing { length, ..OUTGOING });
            let (vnet, packet) = vnet::Header::parse(frame).unwrap();
            assert_eq!((vnet.gso_type, usize::from(vnet.gso_size)), (gso_type, mss));
            assert_eq!(usize::from(vnet.hdr_len), 1500 - mss);
            assert_eq!(packet.len(), length + 1500 - mss);
            let frame = writer.segment(&OUTGOING);
            assert_eq!(vnet::Header::parse(frame).unwrap().0.gso_type, vnet::GsoType::NONE);
            let plain = Writer::new(Layout { offload: false, ..layout }, 1500, 1);
            assert_eq!(plain.longest(), mss);
        }
    }

    #[test]
    fn the_answer_to_a_syn_offers_a_scaled_window() {
        for layout in layouts() {
            let mut writer = Writer::new(layout, 1500, 1);
            let frame = writer.syn_ack(40_001, 7).to_vec();
            let (header, payload) = tcp::Header::parse(segment_of(layout, &frame)).unwrap();
            assert!(payload.is_empty());
            assert_eq!((header.sequence, header.acknowledgment), (Writer::ISN, 7));
            assert_eq!(header.flags, tcp::Flags::SYN | tcp::Flags::ACK);
            assert_eq!(header.options.mss.map(usize::from), Some(writer.mss));
            assert_eq!(header.options.window_scale, Some(SCALE));
            // The next segment is what it was.
            let frame = writer.segment(&OUTGOING).to_vec();
            let arrived = Arrived::parse(layout, &frame).unwrap();
            assert_eq!(arrived.payload_len(), 1000);
        }
    }

    #[test]
    fn what_wire_writes_is_read_and_all_else_refused() {
        let header = tcp::Header {
            source_port: 1234,
            destination_port: PORT,
            sequence: 99,
            acknowledgment: 77,
            flags: tcp::Flags::SYN,
            window: 500,
            options: tcp::Options { window_scale: Some(7), ..tcp::Options::NONE },
            ..tcp::Header::default()
        };
        for (family, length_at, protocol_at) in [(Family::V4, 2, 9), (Family::V6, 4, 6)] {
            let layout = Layout { family, offload: false, ethernet: None };
            let mut frame = template(layout, 1440, &header);
            frame.extend_from_slice(b"payload");
            let before = if family == Family::V6 { ipv6::HEADER_LEN } else { 0 };
            let length = (frame.len() - before) as u16;
            frame[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
            let arrived = Arrived::parse(layout, &frame).unwrap();
            assert_eq!((arrived.port, arrived.sequence, arrived.acknowledgment), (1234, 99, 77));
            assert_eq!((arrived.flags, arrived.window), (SYN, 500));
            assert_eq!(&frame[arrived.payload], b"payload");
            assert_eq!(tcp::Options::parse(&frame[arrived.options]).window_scale, Some(7));
            for broken in [0, 19, 39, frame.len() - 1] {
                assert_eq!(Arrived::parse(layout, &frame[..broken]), None);
            }
            let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
            assert_eq!(Arrived::parse(Layout { family: other, ..layout }, &frame), None);
            frame[protocol_at] = Protocol::UDP.0;
            assert_eq!(Arrived::parse(layout, &frame), None);
        }
    }
}
