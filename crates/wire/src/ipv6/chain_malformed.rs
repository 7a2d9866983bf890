//! What is wrong with a chain of extension headers, and what its sender is to be told.

use core::fmt;

use crate::icmpv6::ParameterCode;
use crate::ip::Protocol;

/// Why a packet is refused because of its extension headers. Places (`at`) are in bytes from the
/// start of the packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChainMalformed {
    /// A header ends behind the end of the packet.
    HeaderBeyondPacket {
        /// The kind of header.
        header: Protocol,
        /// Where it starts.
        at: usize,
        /// How many bytes are there from its start on.
        length: usize,
    },
    /// A hop-by-hop header that does not follow the fixed header (RFC 8200 section 4.3).
    HopByHopNotFirst {
        /// Where the field is that names it.
        named_at: usize,
    },
    /// More extension headers than [`Limits::headers`](super::Limits::headers).
    TooManyHeaders {
        /// Where the first is that is too many.
        at: usize,
    },
    /// More options in one header than [`Limits::options`](super::Limits::options), padding not
    /// counted.
    TooManyOptions {
        /// Where the first is that is too many.
        at: usize,
    },
    /// An option is not known, and its highest bits say that the packet is to be discarded
    /// (RFC 8200 section 4.2).
    UnknownOption {
        /// The type octet of the option.
        kind: u8,
        /// Where the option starts.
        at: usize,
    },
    /// An option has a length that it cannot have, or reaches beyond its header.
    OptionLength {
        /// The type octet of the option.
        kind: u8,
        /// Where the option starts.
        at: usize,
    },
    /// More than seven bytes of padding one behind the other, or padding that is not zero: no
    /// alignment needs that, but covert channels do (RFC 4942 section 2.1.9.5, RFC 8504 section
    /// 5.3).
    Padding {
        /// Where the option starts at which it shows.
        at: usize,
    },
    /// A routing header of a type that is not known, with segments left (RFC 8200 section 4.4). No
    /// type is known here; type 0 is abolished (RFC 5095).
    RoutingType {
        /// The type.
        kind: u8,
        /// Where the field is that says so.
        at: usize,
    },
    /// A fragment that is not the last has a payload that is not a multiple of 8 bytes.
    FragmentLength {
        /// The length of the payload in bytes.
        length: usize,
    },
    /// A fragment without any payload, which nobody needs and floods can use.
    FragmentEmpty,
    /// A fragment that would make the packet longer than 65 535 bytes of payload.
    FragmentBeyondEnd {
        /// Where its payload starts in the fragmentable part, in bytes.
        offset: u16,
        /// The length of its payload in bytes.
        length: usize,
        /// Where the field is that says the offset.
        at: usize,
    },
    /// A first fragment that does not hold all headers, that of the transport included (RFC 7112,
    /// RFC 8200 section 4.5).
    FirstFragmentIncomplete,
}

/// What the sender of a refused packet is to be told: an ICMPv6 parameter problem.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Answer {
    /// The code.
    pub code: ParameterCode,
    /// Where in the packet the problem is, in bytes.
    pub pointer: u32,
    /// The answer is owed even to a packet for a multicast group (RFC 4443 section 2.4 (e.3));
    /// others are not.
    pub even_to_multicast: bool,
}

impl ChainMalformed {
    /// The parameter problem that the sender is to be told; `None` when it is to be told nothing.
    #[must_use]
    pub const fn answer(&self) -> Option<Answer> {
        let (code, pointer) = match *self {
            // The length of the header is wrong, or there is no header at all.
            ChainMalformed::HeaderBeyondPacket { at, length: 0, .. } => {
                (ParameterCode::ERRONEOUS_FIELD, at)
            }
            ChainMalformed::HeaderBeyondPacket { at, .. } => {
                (ParameterCode::ERRONEOUS_FIELD, at + 1)
            }
            ChainMalformed::HopByHopNotFirst { named_at } => {
                (ParameterCode::UNRECOGNIZED_NEXT_HEADER, named_at)
            }
            ChainMalformed::TooManyHeaders { at } => {
                (ParameterCode::TOO_MANY_EXTENSION_HEADERS, at)
            }
            ChainMalformed::TooManyOptions { at } => (ParameterCode::TOO_MANY_OPTIONS, at),
            ChainMalformed::UnknownOption { kind, at } if kind >> 6 >= 2 => {
                (ParameterCode::UNRECOGNIZED_OPTION, at)
            }
            ChainMalformed::OptionLength { at, .. } => (ParameterCode::ERRONEOUS_FIELD, at + 1),
            ChainMalformed::RoutingType { at, .. }
            | ChainMalformed::FragmentBeyondEnd { at, .. } => (ParameterCode::ERRONEOUS_FIELD, at),
            ChainMalformed::FragmentLength { .. } => {
                (ParameterCode::ERRONEOUS_FIELD, super::PAYLOAD_LENGTH_OFFSET)
            }
            ChainMalformed::FirstFragmentIncomplete => {
                (ParameterCode::FIRST_FRAGMENT_INCOMPLETE, 0)
            }
            ChainMalformed::UnknownOption { .. }
            | ChainMalformed::Padding { .. }
            | ChainMalformed::FragmentEmpty => return None,
        };
        let even_to_multicast =
            matches!(self, ChainMalformed::UnknownOption { kind, .. } if *kind >> 6 == 2);
        // No packet is longer than 65 575 bytes.
        Some(Answer { code, pointer: pointer as u32, even_to_multicast })
    }
}

impl fmt::Display for ChainMalformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainMalformed::HeaderBeyondPacket { header, at, length } => write!(
                f,
                "the {header} header at byte {at} is longer than the {length} bytes that are left"
            ),
            ChainMalformed::HopByHopNotFirst { named_at } => {
                write!(f, "byte {named_at} names a hop-by-hop header, which can only come first")
            }
            ChainMalformed::TooManyHeaders { at } => {
                write!(f, "the extension header at byte {at} is one too many")
            }
            ChainMalformed::TooManyOptions { at } => {
                write!(f, "the option at byte {at} is one too many in its header")
            }
            ChainMalformed::UnknownOption { kind, at } => {
                write!(f, "the option {kind:#04x} at byte {at} is not known and must be")
            }
            ChainMalformed::OptionLength { kind, at } => {
                write!(f, "the option {kind:#04x} at byte {at} has a wrong length")
            }
            ChainMalformed::Padding { at } => {
                write!(f, "the padding at byte {at} is longer than seven bytes or not zero")
            }
            ChainMalformed::RoutingType { kind, .. } => {
                write!(f, "a routing header of type {kind} has segments left")
            }
            ChainMalformed::FragmentLength { length } => write!(
                f,
                "a fragment before the last has {length} bytes of payload, not a multiple of 8"
            ),
            ChainMalformed::FragmentEmpty => f.write_str("a fragment is empty"),
            ChainMalformed::FragmentBeyondEnd { offset, length, .. } => write!(
                f,
                "a fragment of {length} bytes at offset {offset} reaches beyond the longest packet"
            ),
            ChainMalformed::FirstFragmentIncomplete => {
                f.write_str("the first fragment does not hold all headers")
            }
        }
    }
}

impl core::error::Error for ChainMalformed {}
