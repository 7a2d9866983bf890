//! What both versions of IP share.

use core::fmt;
use core::net::IpAddr;

use crate::{ipv4, ipv6};

/// The number that says what an IP packet carries (IANA "Protocol Numbers").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// The hop-by-hop options of IPv6 (RFC 8200 section 4.3).
    pub const HOP_BY_HOP: Protocol = Protocol(0);
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: Protocol = Protocol(1);
    /// IGMP (RFC 9776).
    pub const IGMP: Protocol = Protocol(2);
    /// TCP (RFC 9293).
    pub const TCP: Protocol = Protocol(6);
    /// UDP (RFC 768).
    pub const UDP: Protocol = Protocol(17);
    /// The routing header of IPv6 (RFC 8200 section 4.4).
    pub const ROUTING: Protocol = Protocol(43);
    /// The fragment header of IPv6 (RFC 8200 section 4.5).
    pub const FRAGMENT: Protocol = Protocol(44);
    /// An encrypted payload (RFC 4303).
    pub const ESP: Protocol = Protocol(50);
    /// An authentication header (RFC 4302).
    pub const AUTHENTICATION: Protocol = Protocol(51);
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: Protocol = Protocol(58);
    /// Nothing follows (RFC 8200 section 4.7).
    pub const NO_NEXT_HEADER: Protocol = Protocol(59);
    /// The destination options of IPv6 (RFC 8200 section 4.6).
    pub const DESTINATION_OPTIONS: Protocol = Protocol(60);

    /// The name, where the number has one here.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Protocol::HOP_BY_HOP => "hop-by-hop",
            Protocol::ROUTING => "routing",
            Protocol::FRAGMENT => "fragment",
            Protocol::ESP => "ESP",
            Protocol::AUTHENTICATION => "authentication",
            Protocol::NO_NEXT_HEADER => "no next header",
            Protocol::DESTINATION_OPTIONS => "destination options",
            Protocol::ICMP => "ICMP",
            Protocol::IGMP => "IGMP",
            Protocol::TCP => "TCP",
            Protocol::UDP => "UDP",
            Protocol::ICMPV6 => "ICMPv6",
            _ => return None,
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "protocol {}", self.0),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The version field of an IP packet: its first four bits; `None` of an empty packet.
#[must_use]
pub fn version(packet: &[u8]) -> Option<u8> {
    packet.first().map(|first| first >> 4)
}

/// The header of a packet of either family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Header {
    /// IPv4.
    V4(ipv4::Header),
    /// The fixed header of IPv6. Extension headers are part of the payload.
    V6(ipv6::Header),
}

/// How a packet of either family is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The packet is empty.
    Empty,
    /// The version is neither 4 nor 6.
    Version(u8),
    /// The version is 4.
    V4(ipv4::Malformed),
    /// The version is 6.
    V6(ipv6::Malformed),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Empty => f.write_str("the packet is empty"),
            Malformed::Version(version) => write!(f, "the IP version is {version}, not 4 or 6"),
            Malformed::V4(malformed) => malformed.fmt(f),
            Malformed::V6(malformed) => malformed.fmt(f),
        }
    }
}

impl core::error::Error for Malformed {}

impl Header {
    /// Splits a packet into its header and its payload, as [`ipv4::Header::parse`] and
    /// [`ipv6::Header::parse`] do.
    ///
    /// # Errors
    /// When the packet is of neither family, or malformed by the rules of its own.
    pub fn parse(packet: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        match version(packet).ok_or(Malformed::Empty)? {
            4 => ipv4::Header::parse(packet)
                .map(|(header, payload)| (Header::V4(header), payload))
                .map_err(Malformed::V4),
            6 => ipv6::Header::parse(packet)
                .map(|(header, payload)| (Header::V6(header), payload))
                .map_err(Malformed::V6),
            other => Err(Malformed::Version(other)),
        }
    }

    /// Who sent the packet.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        match self {
            Header::V4(header) => IpAddr::V4(header.source),
            Header::V6(header) => IpAddr::V6(header.source),
        }
    }

    /// Whom the packet is for.
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        match self {
            Header::V4(header) => IpAddr::V4(header.destination),
            Header::V6(header) => IpAddr::V6(header.destination),
        }
    }

    /// How many more routers may forward the packet.
    #[must_use]
    pub const fn hop_limit(&self) -> u8 {
        match self {
            Header::V4(header) => header.ttl,
            Header::V6(header) => header.hop_limit,
        }
    }

    /// The DSCP in the upper six bits and ECN in the lower two.
    #[must_use]
    pub const fn traffic_class(&self) -> u8 {
        match self {
            Header::V4(header) => header.traffic_class,
            Header::V6(header) => header.traffic_class,
        }
    }

    /// What the traffic class says about congestion.
    #[must_use]
    pub const fn ecn(&self) -> Ecn {
        Ecn::from_traffic_class(self.traffic_class())
    }

    /// What the header says that follows it; over IPv6 perhaps an extension header.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match self {
            Header::V4(header) => header.protocol,
            Header::V6(header) => header.next_header,
        }
    }

    /// The length of the payload in bytes.
    #[must_use]
    pub const fn payload_len(&self) -> u16 {
        match self {
            Header::V4(header) => header.payload_len,
            Header::V6(header) => header.payload_len,
        }
    }

    /// The length of the header in bytes: 20 to 60, over IPv6 40.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        match self {
            Header::V4(header) => header.encoded_len(),
            Header::V6(header) => header.encoded_len(),
        }
    }

    /// Writes the header to the start of `buf` and returns its length.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Header::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        match self {
            Header::V4(header) => header.emit(buf),
            Header::V6(header) => header.emit(buf),
        }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Header::V4(header) => header.fmt(f),
            Header::V6(header) => header.fmt(f),
        }
    }
}

/// Where the transport is in a packet of either family, as far as the headers tell. Nothing is
/// judged: it serves whoever passes packets on, or quotes them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Outline {
    /// Who sent the packet.
    pub source: IpAddr,
    /// Whom the packet is for.
    pub destination: IpAddr,
    /// What the packet carries; of an IPv6 fragment, what the fragmentable part begins with.
    pub protocol: Protocol,
    /// Where the transport starts, in bytes from the start of the packet. It may be behind the end
    /// of what is there.
    pub start: usize,
    /// Where the packet ends by its stated length, in bytes; perhaps behind the end of what is
    /// there.
    pub end: usize,
    /// Which piece of a packet this is; `None` of one that is whole.
    pub fragment: Option<Piece>,
}

/// What a fragment of either family is of its packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Piece {
    /// Where in the original payload it starts, in bytes.
    pub offset: u16,
    /// More fragments of the packet follow.
    pub more_fragments: bool,
}

impl Outline {
    /// Looks at the headers of `packet`; `None` when it is of neither family, when the header is
    /// not all there, or an extension header is not.
    #[must_use]
    pub fn of(packet: &[u8]) -> Option<Outline> {
        match version(packet)? {
            4 => Outline::of_v4(&ipv4::View::new(packet)?),
            6 => Outline::of_v6(&ipv6::View::new(packet)?),
            _ => None,
        }
    }

    fn of_v4(view: &ipv4::View<'_>) -> Option<Outline> {
        let start = view.header_len();
        if start < ipv4::MIN_HEADER_LEN || start > view.header().len() {
            return None;
        }
        let piece = Piece { offset: view.fragment_offset(), more_fragments: view.more_fragments() };
        Some(Outline {
            source: view.source().into(),
            destination: view.destination().into(),
            protocol: view.protocol(),
            start,
            end: usize::from(view.total_len()),
            fragment: (piece.offset > 0 || piece.more_fragments).then_some(piece),
        })
    }

    fn of_v6(view: &ipv6::View<'_>) -> Option<Outline> {
        let mut extensions = ipv6::Extensions::new(view.next_header(), view.payload());
        let mut fragment = None;
        while fragment.is_none() {
            let Some(extension) = extensions.next() else { break };
            fragment = extension.fragment().filter(|header| !header.is_atomic());
        }
        if fragment.is_none() && extensions.is_cut_short() {
            return None;
        }
        Some(Outline {
            source: view.source().into(),
            destination: view.destination().into(),
            protocol: extensions.protocol(),
            start: extensions.start(),
            end: ipv6::HEADER_LEN + usize::from(view.payload_len()),
            fragment: fragment.map(|header| Piece {
                offset: header.offset,
                more_fragments: header.more_fragments,
            }),
        })
    }
}

/// What the last two bits of the traffic class say about congestion (RFC 3168 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Ecn {
    /// `00`: the sender does not take part.
    #[default]
    NotCapable,
    /// `01`: ECT(1), which marks L4S traffic (RFC 9331).
    Capable1,
    /// `10`: ECT(0).
    Capable0,
    /// `11`: CE, a router on the way was congested.
    CongestionExperienced,
}

impl Ecn {
    /// The code point in the last two bits of a traffic class.
    #[must_use]
    pub const fn from_traffic_class(traffic_class: u8) -> Ecn {
        match traffic_class & 3 {
            0 => Ecn::NotCapable,
            1 => Ecn::Capable1,
            2 => Ecn::Capable0,
            _ => Ecn::CongestionExperienced,
        }
    }

    /// The two bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Ecn::NotCapable => 0,
            Ecn::Capable1 => 1,
            Ecn::Capable0 => 2,
            Ecn::CongestionExperienced => 3,
        }
    }
}

impl fmt::Display for Ecn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ecn::NotCapable => "Not-ECT",
            Ecn::Capable1 => "ECT(1)",
            Ecn::Capable0 => "ECT(0)",
            Ecn::CongestionExperienced => "CE",
        })
    }
}
