//! ICMP for IPv6 (RFC 4443): errors and echo. The messages of neighbour discovery and of listener
//! discovery are ICMPv6, too; [`ndp`](crate::ndp) and [`mld`](crate::mld) read those.

use core::fmt;
use core::net::Ipv6Addr;

use crate::checksum;
use crate::ip::Protocol;
use crate::ipv6;

mod codes;
mod quoted;

pub use codes::{ParameterCode, TimeExceededCode, UnreachableCode, kind, kind_name};
pub use quoted::Quoted;

/// The length of the header of an error or an echo in bytes; of other messages, what is common to
/// all and four bytes that depend on the type.
pub const HEADER_LEN: usize = 8;

/// Where the checksum field is, in bytes from the start of the message.
pub const CHECKSUM_OFFSET: usize = 2;

/// The most bytes of a packet that an error quotes: it must not be longer than the least MTU
/// itself (RFC 4443 section 2.4 (c)).
pub const MAX_QUOTE: usize = ipv6::MIN_MTU as usize - ipv6::HEADER_LEN - HEADER_LEN;

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

    /// The checksum of the whole message and the pseudo-header.
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

    /// The lower half of the rest of the header; of an echo, its sequence number.
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

/// How an ICMPv6 message is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The message ends before its header does.
    Truncated {
        /// The length of the message in bytes.
        length: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length } => {
                write!(f, "the ICMPv6 message has {length} bytes and needs {HEADER_LEN}")
            }
        }
    }
}

impl core::error::Error for Malformed {}

/// What an ICMPv6 message says, without the payload: the data of an echo, or of an error the
/// packet that it quotes ([`Header::quoted`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Header {
    /// The quoted packet could not be delivered.
    DestinationUnreachable {
        /// Why.
        code: UnreachableCode,
    },
    /// The quoted packet is longer than the next link's MTU.
    PacketTooBig {
        /// That MTU in bytes.
        mtu: u32,
    },
    /// The quoted packet took too long.
    TimeExceeded {
        /// In flight, or in reassembly.
        code: TimeExceededCode,
    },
    /// A header of the quoted packet is wrong.
    ParameterProblem {
        /// How.
        code: ParameterCode,
        /// Where, in bytes from the start of the packet; perhaps behind the end of the quote.
        pointer: u32,
    },
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
    /// Any other message. `kind` is none of those above, or its emission parses to that one.
    Other {
        /// The type ([`kind`]).
        kind: u8,
        /// The code.
        code: u8,
        /// The four bytes behind the checksum.
        rest: [u8; 4],
    },
}

impl Header {
    /// Splits a message into its header and its payload. The checksum is not looked at:
    /// [`is_checksum_valid`]. Bytes without meaning are ignored.
    ///
    /// # Errors
    /// When the message is shorter than 8 bytes, which every type needs.
    pub fn parse(message: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let view = View::new(message).ok_or(Malformed::Truncated { length: message.len() })?;
        let (identifier, sequence) = (view.identifier(), view.sequence());
        let (code, rest) = (view.code(), view.rest_of_header());
        let header = match view.kind() {
            kind::DESTINATION_UNREACHABLE => {
                Header::DestinationUnreachable { code: UnreachableCode(code) }
            }
            kind::PACKET_TOO_BIG => Header::PacketTooBig { mtu: u32::from_be_bytes(rest) },
            kind::TIME_EXCEEDED => Header::TimeExceeded { code: TimeExceededCode(code) },
            kind::PARAMETER_PROBLEM => Header::ParameterProblem {
                code: ParameterCode(code),
                pointer: u32::from_be_bytes(rest),
            },
            kind::ECHO_REQUEST => Header::EchoRequest { identifier, sequence },
            kind::ECHO_REPLY => Header::EchoReply { identifier, sequence },
            kind => Header::Other { kind, code, rest },
        };
        Ok((header, view.payload()))
    }

    /// The type of the message ([`kind`]).
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Header::DestinationUnreachable { .. } => kind::DESTINATION_UNREACHABLE,
            Header::PacketTooBig { .. } => kind::PACKET_TOO_BIG,
            Header::TimeExceeded { .. } => kind::TIME_EXCEEDED,
            Header::ParameterProblem { .. } => kind::PARAMETER_PROBLEM,
            Header::EchoRequest { .. } => kind::ECHO_REQUEST,
            Header::EchoReply { .. } => kind::ECHO_REPLY,
            Header::Other { kind, .. } => *kind,
        }
    }

    /// The code of the message.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Header::DestinationUnreachable { code } => code.0,
            Header::TimeExceeded { code } => code.0,
            Header::ParameterProblem { code, .. } => code.0,
            Header::Other { code, .. } => *code,
            _ => 0,
        }
    }

    /// Whether this is an error about a packet that it quotes; so is every message of a type below
    /// 128, also an unknown one (RFC 4443 section 2.1). No error is ever sent about such a message,
    /// nor about a redirect (section 2.4 (e)).
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.kind() < 128
    }

    /// The packet that an error is about, read from the message's `payload`.
    ///
    /// `None` when the message is no error, or what it quotes is no IPv6 packet with all of its
    /// extension headers.
    #[must_use]
    pub fn quoted<'a>(&self, payload: &'a [u8]) -> Option<Quoted<'a>> {
        if self.is_error() { Quoted::read(payload) } else { None }
    }

    /// The length of the header in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header, with a checksum of zero, to the start of `buf` and returns its length;
    /// [`fill_checksum`] does the rest.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Header::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let rest = match *self {
            Header::DestinationUnreachable { .. } | Header::TimeExceeded { .. } => [0; 4],
            Header::PacketTooBig { mtu } => mtu.to_be_bytes(),
            Header::ParameterProblem { pointer, .. } => pointer.to_be_bytes(),
            Header::EchoRequest { identifier, sequence }
            | Header::EchoReply { identifier, sequence } => {
                let ([a, b], [c, d]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
                [a, b, c, d]
            }
            Header::Other { rest, .. } => rest,
        };
        buf[..4].copy_from_slice(&[self.kind(), self.code(), 0, 0]);
        buf[4..HEADER_LEN].copy_from_slice(&rest);
        HEADER_LEN
    }
}

/// Whether the checksum of a whole message is right (RFC 4443 section 2.3). There is always one.
#[must_use]
pub fn is_checksum_valid(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> bool {
    checksum::is_transport_valid(source.into(), destination.into(), Protocol::ICMPV6, message)
}

/// Computes the checksum of a whole message and stores it. Does nothing when the message is too
/// short to have one.
pub fn fill_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &mut [u8]) {
    if message.len() < CHECKSUM_OFFSET + 2 {
        return;
    }
    message[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].fill(0);
    let (source, destination) = (source.into(), destination.into());
    let checksum = checksum::transport(source, destination, Protocol::ICMPV6, message);
    message[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&checksum.to_be_bytes());
}

impl fmt::Display for Header {
    /// `ICMP6, echo request, id 7, seq 1`, `ICMP6, packet too big, mtu 1400`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ICMP6, ")?;
        match *self {
            Header::DestinationUnreachable { code } => {
                write!(f, "destination unreachable, {code}")
            }
            Header::PacketTooBig { mtu } => write!(f, "packet too big, mtu {mtu}"),
            Header::TimeExceeded { code } => write!(f, "time exceeded {code}"),
            Header::ParameterProblem { code, pointer } => {
                write!(f, "parameter problem, {code} - octet {pointer}")
            }
            Header::EchoRequest { identifier, sequence } => {
                write!(f, "echo request, id {identifier}, seq {sequence}")
            }
            Header::EchoReply { identifier, sequence } => {
                write!(f, "echo reply, id {identifier}, seq {sequence}")
            }
            Header::Other { kind, code, .. } => match kind_name(kind) {
                Some(name) => f.write_str(name),
                None => write!(f, "type {kind} code {code}"),
            },
        }
    }
}
