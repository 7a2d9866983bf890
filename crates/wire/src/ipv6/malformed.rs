//! The ways in which the fixed header of an IPv6 packet can be malformed.

use core::fmt;

use super::HEADER_LEN;

/// How the fixed header of an IPv6 packet is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The packet ends before its fixed header does.
    Truncated {
        /// The length of the packet in bytes.
        length: usize,
    },
    /// The version is not 6.
    Version(u8),
    /// The stated payload reaches beyond the end of the packet.
    PayloadLengthBeyondPacket {
        /// The stated length of the payload in bytes.
        stated: u16,
        /// How many bytes stand behind the fixed header.
        length: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length } => {
                write!(f, "the packet has {length} bytes, an IPv6 header needs {HEADER_LEN}")
            }
            Malformed::Version(version) => write!(f, "the IP version is {version}, not 6"),
            Malformed::PayloadLengthBeyondPacket { stated, length } => {
                write!(f, "the packet states a payload of {stated} bytes, but {length} are there")
            }
        }
    }
}

impl core::error::Error for Malformed {}
