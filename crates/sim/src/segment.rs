//! TCP segments as they stand on the wire, options in their order and however wrong.
//!
//! The stack's own reader and writer (`wire::tcp`) hold only what makes sense. Scripts must also
//! send what makes none, and checkers must not share a mistake with what they check: so this is a
//! second, naive twin, for IPv4.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use wire::checksum;
use wire::ip::Protocol;
use wire::{ip, ipv4, ipv6};

/// The usual hop limit (RFC 1122 3.2.1.7).
const DEFAULT_TTL: u8 = 64;

/// The flag bits of a segment, as byte 13 of the header has them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags(pub u8);

impl Flags {
    /// The sender has nothing more to send.
    pub const FIN: Flags = Flags(1);
    /// Synchronises sequence numbers.
    pub const SYN: Flags = Flags(2);
    /// Ends the connection at once.
    pub const RST: Flags = Flags(4);
    /// Data for the program without delay.
    pub const PSH: Flags = Flags(8);
    /// The acknowledgment number counts.
    pub const ACK: Flags = Flags(16);
    /// The urgent pointer counts.
    pub const URG: Flags = Flags(32);
    /// ECN echo.
    pub const ECE: Flags = Flags(64);
    /// Congestion window reduced.
    pub const CWR: Flags = Flags(128);

    /// The letters that packetdrill and tcpdump use, beside their flags.
    pub const LETTERS: [(char, Flags); 8] = [
        ('S', Flags::SYN),
        ('F', Flags::FIN),
        ('R', Flags::RST),
        ('P', Flags::PSH),
        ('U', Flags::URG),
        ('E', Flags::ECE),
        ('W', Flags::CWR),
        ('.', Flags::ACK),
    ];

    /// Whether every flag of `other` is set.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// Both sets of flags together.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("-");
        }
        let letters: String =
            Flags::LETTERS.iter().filter(|(_, flag)| self.has(*flag)).map(|(l, _)| *l).collect();
        f.pad(&letters)
    }
}

/// One TCP option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TcpOption {
    /// Kind 0: the list ends here.
    End,
    /// Kind 1: a byte of padding.
    Nop,
    /// Kind 2: maximum segment size (RFC 9293 3.7.1).
    Mss(u16),
    /// Kind 3: window scale (RFC 7323 2.2).
    WindowScale(u8),
    /// Kind 4: SACK permitted (RFC 2018 2).
    SackPermitted,
    /// Kind 5: SACK blocks, left and right edge of each (RFC 2018 3).
    Sack(Vec<(u32, u32)>),
    /// Kind 8: timestamps (RFC 7323 3.2).
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// What it echoes of the other's clock.
        echo: u32,
    },
    /// Any other kind, or a known one with a length that is wrong for it.
    Raw {
        /// The kind.
        kind: u8,
        /// The length that it states, which may lie.
        length: u8,
        /// What follows.
        data: Vec<u8>,
    },
}

impl TcpOption {
    fn push_to(&self, bytes: &mut Vec<u8>) {
        match self {
            TcpOption::End => bytes.push(0),
            TcpOption::Nop => bytes.push(1),
            TcpOption::Mss(mss) => {
                bytes.extend([2, 4]);
                bytes.extend(mss.to_be_bytes());
            }
            TcpOption::WindowScale(shift) => bytes.extend([3, 3, *shift]),
            TcpOption::SackPermitted => bytes.extend([4, 2]),
            TcpOption::Sack(blocks) => {
                bytes.extend([5, u8::try_from(blocks.len() * 8 + 2).unwrap_or(u8::MAX)]);
                for (left, right) in blocks {
                    bytes.extend(left.to_be_bytes());
                    bytes.extend(right.to_be_bytes());
                }
            }
            TcpOption::Timestamps { value, echo } => {
                bytes.extend([8, 10]);
                bytes.extend(value.to_be_bytes());
                bytes.extend(echo.to_be_bytes());
            }
            TcpOption::Raw { kind, length, data } => {
                bytes.extend([*kind, *length]);
                bytes.extend(data);
            }
        }
    }

    /// The first option of `bytes`, and what follows it; `None` at the end.
    fn split_from(bytes: &[u8]) -> Option<(TcpOption, &[u8])> {
        let (&kind, rest) = bytes.split_first()?;
        match kind {
            0 => return Some((TcpOption::End, &[])),
            1 => return Some((TcpOption::Nop, rest)),
            _ => {}
        }
        let length = rest.first().copied().unwrap_or(0);
        let end = usize::from(length).clamp(2, bytes.len().max(2)).min(bytes.len());
        let data = bytes.get(2..end).unwrap_or_default();
        let option = match (kind, length, data) {
            (2, 4, &[a, b]) => TcpOption::Mss(u16::from_be_bytes([a, b])),
            (3, 3, &[shift]) => TcpOption::WindowScale(shift),
            (4, 2, &[]) => TcpOption::SackPermitted,
            (5, _, blocks) if !blocks.is_empty() && blocks.len() % 8 == 0 => TcpOption::Sack(
                blocks.chunks_exact(8).map(|b| (be_u32(&b[..4]), be_u32(&b[4..]))).collect(),
            ),
            (8, 10, data) if data.len() == 8 => {
                TcpOption::Timestamps { value: be_u32(&data[..4]), echo: be_u32(&data[4..]) }
            }
            _ => TcpOption::Raw { kind, length, data: data.to_vec() },
        };
        Some((option, &bytes[end..]))
    }
}

impl fmt::Display for TcpOption {
    /// As a packet script writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TcpOption::End => f.write_str("eol"),
            TcpOption::Nop => f.write_str("nop"),
            TcpOption::Mss(mss) => write!(f, "mss {mss}"),
            TcpOption::WindowScale(shift) => write!(f, "wscale {shift}"),
            TcpOption::SackPermitted => f.write_str("sackOK"),
            TcpOption::Sack(blocks) => {
                f.write_str("sack")?;
                blocks.iter().try_for_each(|(left, right)| write!(f, " {left}:{right}"))
            }
            TcpOption::Timestamps { value, echo } => write!(f, "TS val {value} ecr {echo}"),
            TcpOption::Raw { kind, length, .. } => write!(f, "raw {kind} {length}"),
        }
    }
}

/// A TCP segment in an IP packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Who sends it.
    pub source: SocketAddr,
    /// Whom it is for.
    pub destination: SocketAddr,
    /// DSCP and ECN of the IP header.
    pub traffic_class: u8,
    /// The hop limit of the IP header.
    pub ttl: u8,
    /// Its flags.
    pub flags: Flags,
    /// Where its first byte (or SYN) is in the sequence space.
    pub seq: u32,
    /// What the sender expects next.
    pub ack: u32,
    /// The window field, not scaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// Its options, in their order.
    pub options: Vec<TcpOption>,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Segment {
    /// A segment without flags, options or payload.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            source,
            destination,
            traffic_class: 0,
            ttl: DEFAULT_TTL,
            flags: Flags::default(),
            seq: 0,
            ack: 0,
            window: 0,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Reads a packet of either family; `None` when it is not TCP behind a plain IP header, a fragment,
    /// or has a wrong checksum.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let (ip, transport) = ip::Header::parse(packet).ok()?;
        let (source, destination) = (ip.source(), ip.destination());
        if !checksum::is_transport_valid(source, destination, Protocol::TCP, transport) {
            return None;
        }
        Self::parse_unverified(packet)
    }

    /// As [`Segment::parse`], whatever the TCP checksum: it may be left to offload.
    #[must_use]
    pub fn parse_unverified(packet: &[u8]) -> Option<Self> {
        let (ip, transport) = ip::Header::parse(packet).ok()?;
        let is_fragment = matches!(ip, ip::Header::V4(v4) if v4.is_fragment());
        if ip.protocol() != Protocol::TCP || is_fragment {
            return None;
        }
        let mut segment = Self::parse_transport(ip.source(), ip.destination(), transport)?;
        segment.traffic_class = ip.traffic_class();
        segment.ttl = ip.hop_limit();
        Some(segment)
    }

    fn parse_transport(source: IpAddr, destination: IpAddr, bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<20>()?;
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let data_offset = usize::from(header[12] >> 4) * 4;
        let mut rest = bytes.get(20..data_offset)?;
        let mut options = Vec::new();
        while let Some((option, after)) = TcpOption::split_from(rest) {
            options.push(option);
            rest = after;
        }
        Some(Self {
            source: SocketAddr::new(source, half(0)),
            destination: SocketAddr::new(destination, half(2)),
            traffic_class: 0,
            ttl: DEFAULT_TTL,
            flags: Flags(header[13]),
            seq: be_u32(&header[4..8]),
            ack: be_u32(&header[8..12]),
            window: half(14),
            urgent: half(18),
            options,
            payload: bytes.get(data_offset..)?.to_vec(),
        })
    }

    /// The packet, with right checksums. Options are padded with zeros to whole words, and cut
    /// at the 40 bytes that a header has room for.
    #[must_use]
    pub fn to_packet(&self) -> Vec<u8> {
        let mut options = Vec::new();
        self.options.iter().for_each(|option| option.push_to(&mut options));
        options.resize(options.len().next_multiple_of(4), 0);
        options.truncate(40);
        let words = u8::try_from(5 + options.len() / 4).unwrap_or(15);

        let mut transport = Vec::with_capacity(60 + self.payload.len());
        transport.extend(self.source.port().to_be_bytes());
        transport.extend(self.destination.port().to_be_bytes());
        transport.extend(self.seq.to_be_bytes());
        transport.extend(self.ack.to_be_bytes());
        transport.extend([words << 4, self.flags.0]);
        transport.extend(self.window.to_be_bytes());
        transport.extend([0, 0]);
        transport.extend(self.urgent.to_be_bytes());
        transport.extend(options);
        transport.extend(&self.payload);
        let (source, destination) = (self.source.ip(), self.destination.ip());
        let sum = checksum::transport(source, destination, Protocol::TCP, &transport);
        transport[16..18].copy_from_slice(&sum.to_be_bytes());
        let fields = (self.traffic_class, self.ttl);
        with_header(
            &ip_header(source, destination, Protocol::TCP, fields, transport.len()),
            &transport,
        )
    }

    /// How much of the sequence space it takes: payload, SYN and FIN (RFC 9293 3.4).
    #[must_use]
    pub fn sequence_len(&self) -> u32 {
        let flags = u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN));
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX).wrapping_add(flags)
    }

    /// The window scale that a SYN offers.
    #[must_use]
    pub fn window_scale(&self) -> Option<u8> {
        self.options.iter().find_map(|option| match option {
            TcpOption::WindowScale(shift) => Some(*shift),
            _ => None,
        })
    }
}

/// An IP packet without options around `transport`.
#[must_use]
pub fn ip_packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: Protocol,
    traffic_class: u8,
    transport: &[u8],
) -> Vec<u8> {
    let fields = (traffic_class, DEFAULT_TTL);
    with_header(&ip_header(source, destination, protocol, fields, transport.len()), transport)
}

/// # Panics
/// When the addresses are of two families.
fn ip_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: Protocol,
    (traffic_class, ttl): (u8, u8),
    payload_len: usize,
) -> ip::Header {
    let payload_len = u16::try_from(payload_len).unwrap_or(u16::MAX);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ip::Header::V4(ipv4::Header {
            source,
            destination,
            protocol,
            ttl,
            traffic_class,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len,
            options: ipv4::Options::default(),
        }),
        (IpAddr::V6(source), IpAddr::V6(destination)) => ip::Header::V6(ipv6::Header {
            source,
            destination,
            next_header: protocol,
            hop_limit: ttl,
            traffic_class,
            flow_label: 0,
            payload_len,
        }),
        _ => panic!("one family: {source} and {destination}"),
    }
}

fn with_header(header: &ip::Header, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; header.encoded_len()];
    header.emit(&mut packet);
    packet.extend(payload);
    packet
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let pairs = [("192.0.2.1:4000", "192.168.0.1:80"), ("[2001:db8::1]:4000", "[fd77::1]:80")];
        for (source, destination) in pairs {
            reads_what_it_writes(source.parse().unwrap(), destination.parse().unwrap());
        }
    }

    fn reads_what_it_writes(source: SocketAddr, destination: SocketAddr) {
        let segment = Segment {
            flags: Flags::SYN.with(Flags::ACK),
            seq: u32::MAX,
            ack: 7,
            window: 65_535,
            urgent: 3,
            options: vec![
                TcpOption::Mss(1460),
                TcpOption::SackPermitted,
                TcpOption::Timestamps { value: 1, echo: u32::MAX },
                TcpOption::Nop,
                TcpOption::WindowScale(7),
            ],
            payload: b"hello".to_vec(),
            ..Segment::new(source, destination)
        };
        let read = Segment::parse(&segment.to_packet()).unwrap();
        assert_eq!(read, segment);
        assert_eq!(segment.sequence_len(), 6);
        assert_eq!(segment.flags.to_string(), "S.");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Segment::parse(&bytes);
            let any = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
            let _ = Segment::parse_transport(any, any, &bytes);
        }
    }
}
