//! ICMP for IPv4 (RFC 792, RFC 1122 section 3.2.2, RFC 1191).

use core::fmt;
use core::net::Ipv4Addr;

use crate::checksum;
use crate::ipv4;

mod codes;
mod quoted;

pub use codes::{RedirectCode, TimeExceededCode, UnreachableCode, kind};
pub use quoted::Quoted;

/// The length of the shortest message in bytes.
pub const HEADER_LEN: usize = 8;

/// The length of a timestamp message in bytes.
pub const TIMESTAMP_LEN: usize = 20;

/// Where the checksum field is, in bytes from the start of the message.
pub const CHECKSUM_OFFSET: usize = 2;

/// The names of the fields over the bytes of a message.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    fixed: &'a [u8; HEADER_LEN],
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Lays the view over `message`; `None` when it is shorter than 8 bytes.
    #[must_use]
    pub fn new(message: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = message.split_first_chunk()?;
        Some(Self { fixed, rest })
    }

    /// The type of the message ([`kind`]).
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.fixed[0]
    }

    /// The code, whose meaning depends on the type.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.fixed[1]
    }

    /// The checksum of the whole message.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.fixed[2], self.fixed[3]])
    }

    /// The four bytes whose meaning depends on the type.
    #[must_use]
    pub fn rest_of_header(&self) -> [u8; 4] {
        let [_, _, _, _, a, b, c, d] = *self.fixed;
        [a, b, c, d]
    }

    /// The upper half of the rest of the header; of an echo, its identifier.
    #[must_use]
    pub fn identifier(&self) -> u16 {
        u16::from_be_bytes([self.fixed[4], self.fixed[5]])
    }

    /// The lower half of the rest of the header; of an echo, its sequence number, and of
    /// "fragmentation needed" the MTU of the next hop.
    #[must_use]
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.fixed[6], self.fixed[7]])
    }

    /// Everything behind the first 8 bytes.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.rest
    }
}

/// How an ICMP message is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The message ends before its header does.
    Truncated {
        /// The length of the message in bytes.
        length: usize,
        /// The length that its type needs.
        needed: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length, needed } => {
                write!(f, "the ICMP message has {length} bytes and needs {needed}")
            }
        }
    }
}

impl core::error::Error for Malformed {}

/// What an ICMP message says, without the payload: the data of an echo, or of an error the packet
/// that it quotes ([`Header::quoted`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Header {
    /// Please send the payload back.
    EchoRequest {
        /// Tells programs that ping apart.
        identifier: u16,
        /// Tells the requests of one program apart.
        sequence: u16,
    },
    /// The answer to an echo request, with the same payload.
    EchoReply {
        /// As in the request.
        identifier: u16,
        /// As in the request.
        sequence: u16,
    },
    /// The quoted packet could not be delivered.
    DestinationUnreachable {
        /// Why.
        code: UnreachableCode,
        /// With [`UnreachableCode::FRAGMENTATION_NEEDED`]: the MTU of the next hop in bytes
        /// (RFC 1191), or zero from an old router. With other codes without meaning.
        next_hop_mtu: u16,
    },
    /// Deprecated, to be ignored (RFC 6633).
    SourceQuench,
    /// Send such packets to another router.
    Redirect {
        /// Which packets.
        code: RedirectCode,
        /// To which router.
        gateway: Ipv4Addr,
    },
    /// The quoted packet took too long.
    TimeExceeded {
        /// In flight, or in reassembly.
        code: TimeExceededCode,
    },
    /// The header of the quoted packet is wrong.
    ParameterProblem {
        /// 0: at `pointer`; 1: an option is missing; 2: a length is bad.
        code: u8,
        /// Which byte of the quoted packet, counted from 0.
        pointer: u8,
    },
    /// What time is it there?
    TimestampRequest(Timestamps),
    /// The answer to a timestamp request.
    TimestampReply(Timestamps),
    /// Any other message. `kind` is none of those above, or its emission parses to that one.
    Unknown {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// The four bytes behind the checksum.
        rest: [u8; 4],
    },
}

/// What timestamp messages carry; times are in milliseconds since midnight UT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timestamps {
    /// Tells programs apart.
    pub identifier: u16,
    /// Tells the requests of one program apart.
    pub sequence: u16,
    /// When the request was sent.
    pub originate: u32,
    /// When the request arrived.
    pub receive: u32,
    /// When the reply was sent.
    pub transmit: u32,
}

impl Header {
    /// Splits a message into its header and its payload. The checksum is not looked at:
    /// [`is_checksum_valid`]. Bytes without meaning are ignored.
    ///
    /// # Errors
    /// When the message is shorter than its type needs.
    pub fn parse(message: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let length = message.len();
        let view = View::new(message).ok_or(Malformed::Truncated { length, needed: HEADER_LEN })?;
        let (identifier, sequence) = (view.identifier(), view.sequence());
        let rest = view.rest_of_header();
        let header = match view.kind() {
            kind::ECHO_REPLY => Header::EchoReply { identifier, sequence },
            kind::ECHO_REQUEST => Header::EchoRequest { identifier, sequence },
            kind::DESTINATION_UNREACHABLE => Header::DestinationUnreachable {
                code: UnreachableCode(view.code()),
                next_hop_mtu: sequence,
            },
            kind::SOURCE_QUENCH => Header::SourceQuench,
            kind::REDIRECT => {
                Header::Redirect { code: RedirectCode(view.code()), gateway: rest.into() }
            }
            kind::TIME_EXCEEDED => Header::TimeExceeded { code: TimeExceededCode(view.code()) },
            kind::PARAMETER_PROBLEM => {
                Header::ParameterProblem { code: view.code(), pointer: rest[0] }
            }
            kind @ (kind::TIMESTAMP_REQUEST | kind::TIMESTAMP_REPLY) => {
                let (times, payload) = Timestamps::parse(&view)
                    .ok_or(Malformed::Truncated { length, needed: TIMESTAMP_LEN })?;
                let header = match kind {
                    kind::TIMESTAMP_REQUEST => Header::TimestampRequest(times),
                    _ => Header::TimestampReply(times),
                };
                return Ok((header, payload));
            }
            kind => Header::Unknown { kind, code: view.code(), rest },
        };
        Ok((header, view.payload()))
    }

    /// The type of the message ([`kind`]).
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Header::EchoRequest { .. } => kind::ECHO_REQUEST,
            Header::EchoReply { .. } => kind::ECHO_REPLY,
            Header::DestinationUnreachable { .. } => kind::DESTINATION_UNREACHABLE,
            Header::SourceQuench => kind::SOURCE_QUENCH,
            Header::Redirect { .. } => kind::REDIRECT,
            Header::TimeExceeded { .. } => kind::TIME_EXCEEDED,
            Header::ParameterProblem { .. } => kind::PARAMETER_PROBLEM,
            Header::TimestampRequest(_) => kind::TIMESTAMP_REQUEST,
            Header::TimestampReply(_) => kind::TIMESTAMP_REPLY,
            Header::Unknown { kind, .. } => *kind,
        }
    }

    /// The code of the message.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Header::DestinationUnreachable { code, .. } => code.0,
            Header::Redirect { code, .. } => code.0,
            Header::TimeExceeded { code } => code.0,
            Header::ParameterProblem { code, .. } | Header::Unknown { code, .. } => *code,
            _ => 0,
        }
    }

    /// Whether this is an error about a packet that it quotes. No error is ever sent about such a
    /// message (RFC 1122 section 3.2.2).
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(
            self,
            Header::DestinationUnreachable { .. }
                | Header::SourceQuench
                | Header::Redirect { .. }
                | Header::TimeExceeded { .. }
                | Header::ParameterProblem { .. }
        )
    }

    /// The packet that an error is about, read from the message's `payload`.
    ///
    /// `None` when the message is no error, or what it quotes is no IPv4 header.
    #[must_use]
    pub fn quoted<'a>(&self, payload: &'a [u8]) -> Option<Quoted<'a>> {
        if !self.is_error() {
            return None;
        }
        let (header, transport) = ipv4::Header::parse_quoted(payload).ok()?;
        Some(Quoted { header, transport })
    }

    /// The length of the header in bytes: 8, and 20 of timestamp messages.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        match self {
            Header::TimestampRequest(_) | Header::TimestampReply(_) => TIMESTAMP_LEN,
            _ => HEADER_LEN,
        }
    }

    /// Writes the header, with a checksum of zero, to the start of `buf` and returns its length;
    /// [`fill_checksum`] does the rest.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Header::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let rest = match *self {
            Header::EchoRequest { identifier, sequence }
            | Header::EchoReply { identifier, sequence } => halves(identifier, sequence),
            Header::DestinationUnreachable { next_hop_mtu, .. } => halves(0, next_hop_mtu),
            Header::SourceQuench | Header::TimeExceeded { .. } => [0; 4],
            Header::Redirect { gateway, .. } => gateway.octets(),
            Header::ParameterProblem { pointer, .. } => [pointer, 0, 0, 0],
            Header::TimestampRequest(times) | Header::TimestampReply(times) => {
                buf[8..12].copy_from_slice(&times.originate.to_be_bytes());
                buf[12..16].copy_from_slice(&times.receive.to_be_bytes());
                buf[16..20].copy_from_slice(&times.transmit.to_be_bytes());
                halves(times.identifier, times.sequence)
            }
            Header::Unknown { rest, .. } => rest,
        };
        buf[..4].copy_from_slice(&[self.kind(), self.code(), 0, 0]);
        buf[4..8].copy_from_slice(&rest);
        self.encoded_len()
    }
}

fn halves(high: u16, low: u16) -> [u8; 4] {
    ((u32::from(high) << 16) | u32::from(low)).to_be_bytes()
}

impl Timestamps {
    fn parse<'a>(view: &View<'a>) -> Option<(Timestamps, &'a [u8])> {
        let (originate, rest) = view.payload().split_first_chunk()?;
        let (receive, rest) = rest.split_first_chunk()?;
        let (transmit, rest) = rest.split_first_chunk()?;
        let times = Timestamps {
            identifier: view.identifier(),
            sequence: view.sequence(),
            originate: u32::from_be_bytes(*originate),
            receive: u32::from_be_bytes(*receive),
            transmit: u32::from_be_bytes(*transmit),
        };
        Some((times, rest))
    }
}

/// Whether the checksum of a whole message is right.
#[must_use]
pub fn is_checksum_valid(message: &[u8]) -> bool {
    checksum::is_valid(message)
}

/// Computes the checksum of a whole message and stores it. Does nothing when the message is too
/// short to have one.
pub fn fill_checksum(message: &mut [u8]) {
    if message.len() < HEADER_LEN {
        return;
    }
    message[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].fill(0);
    let checksum = checksum::sum(message).finish();
    message[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&checksum.to_be_bytes());
}

impl fmt::Display for Header {
    /// `ICMP echo request, id 7, seq 1`, `ICMP unreachable - need to frag (mtu 1400)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Header::EchoRequest { identifier, sequence } => {
                write!(f, "ICMP echo request, id {identifier}, seq {sequence}")
            }
            Header::EchoReply { identifier, sequence } => {
                write!(f, "ICMP echo reply, id {identifier}, seq {sequence}")
            }
            Header::DestinationUnreachable {
                code: code @ UnreachableCode::FRAGMENTATION_NEEDED,
                next_hop_mtu,
            } => write!(f, "ICMP unreachable - {code} (mtu {next_hop_mtu})"),
            Header::DestinationUnreachable { code, .. } => {
                write!(f, "ICMP unreachable - {code}")
            }
            Header::SourceQuench => f.write_str("ICMP source quench"),
            Header::Redirect { code, gateway } => write!(f, "ICMP redirect {code} to {gateway}"),
            Header::TimeExceeded { code } => write!(f, "ICMP time exceeded {code}"),
            Header::ParameterProblem { code: 0, pointer } => {
                write!(f, "ICMP parameter problem - octet {pointer}")
            }
            Header::ParameterProblem { code, .. } => {
                write!(f, "ICMP parameter problem - code {code}")
            }
            Header::TimestampRequest(Timestamps { identifier, sequence, .. }) => {
                write!(f, "ICMP time stamp query id {identifier} seq {sequence}")
            }
            Header::TimestampReply(Timestamps {
                identifier,
                sequence,
                originate,
                receive,
                transmit,
            }) => {
                write!(
                    f,
                    "ICMP time stamp reply id {identifier} seq {sequence}: org {originate}, \
                     recv {receive}, xmit {transmit}"
                )
            }
            Header::Unknown { kind, code, .. } => write!(f, "ICMP type {kind} code {code}"),
        }
    }
}
