//! The ways in which a message of listener discovery can be invalid.

use core::fmt;
use core::net::Ipv6Addr;

/// Why a message of listener discovery must be discarded without a word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The ICMPv6 message is of another protocol.
    Kind(u8),
    /// The hop limit is not 1.
    HopLimit(u8),
    /// The packet has no router alert.
    NoRouterAlert,
    /// The source is not link-local, nor, of a report, unspecified.
    SourceNotLinkLocal(Ipv6Addr),
    /// The message is shorter than it needs to be.
    Truncated {
        /// The length of the message in bytes.
        length: usize,
        /// The least length that it needs.
        needed: usize,
    },
    /// A record of a report reaches beyond the message, or is missing.
    RecordBeyondMessage {
        /// Which one, counted from 0.
        index: u16,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Kind(kind) => {
                write!(f, "the ICMPv6 type {kind} is none of multicast listener discovery")
            }
            Malformed::HopLimit(hops) => write!(f, "the hop limit is {hops}, not 1"),
            Malformed::NoRouterAlert => f.write_str("the packet has no router alert"),
            Malformed::SourceNotLinkLocal(source) => {
                write!(f, "the source {source} is not link-local")
            }
            Malformed::Truncated { length, needed } => {
                write!(f, "the message has {length} bytes and needs {needed}")
            }
            Malformed::RecordBeyondMessage { index } => {
                write!(f, "the record {index} of the report reaches beyond its end")
            }
        }
    }
}

impl core::error::Error for Malformed {}
