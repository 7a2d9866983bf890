//! The ways in which an IPv4 packet can be malformed.

use core::fmt;

use super::MIN_HEADER_LEN;

/// How an IPv4 packet is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The packet ends before its shortest header does.
    Truncated {
        /// The length of the packet in bytes.
        length: usize,
    },
    /// The version is not 4.
    Version(u8),
    /// The stated length of the header is below 5 words.
    HeaderTooShort {
        /// The stated length in 32-bit words.
        words: u8,
    },
    /// The stated length of the header reaches beyond the end of the packet.
    HeaderBeyondPacket {
        /// The stated length of the header in bytes.
        header_len: usize,
        /// The length of the packet in bytes.
        length: usize,
    },
    /// The checksum of the header is wrong.
    Checksum {
        /// The checksum in the header.
        found: u16,
    },
    /// The stated total length is shorter than the header.
    TotalLengthTooShort {
        /// The stated total length in bytes.
        stated: u16,
        /// The stated length of the header in bytes.
        header_len: usize,
    },
    /// The stated total length reaches beyond the end of the packet.
    TotalLengthBeyondPacket {
        /// The stated total length in bytes.
        stated: u16,
        /// The length of the packet in bytes.
        length: usize,
    },
    /// A fragment that is not the last has a payload that is empty or not a multiple of 8 bytes.
    FragmentLength {
        /// The length of the fragment's payload in bytes.
        length: u16,
    },
    /// A fragment reaches beyond the longest packet there is (the "ping of death").
    FragmentBeyondEnd {
        /// Where the fragment's payload starts, in bytes.
        offset: u16,
        /// The length of the fragment's payload in bytes.
        length: u16,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length } => {
                write!(f, "the packet has {length} bytes, an IPv4 header needs {MIN_HEADER_LEN}")
            }
            Malformed::Version(version) => write!(f, "the IP version is {version}, not 4"),
            Malformed::HeaderTooShort { words } => {
                write!(f, "the header states a length of {words} words; the shortest has 5")
            }
            Malformed::HeaderBeyondPacket { header_len, length } => {
                write!(f, "the header states {header_len} bytes, but the packet has {length}")
            }
            Malformed::Checksum { found } => {
                write!(f, "the header checksum {found:#06x} is wrong")
            }
            Malformed::TotalLengthTooShort { stated, header_len } => write!(
                f,
                "the total length of {stated} bytes is shorter than the header of {header_len}"
            ),
            Malformed::TotalLengthBeyondPacket { stated, length } => {
                write!(f, "the packet states a length of {stated} bytes, but {length} are there")
            }
            Malformed::FragmentLength { length } => write!(
                f,
                "a fragment before the last has {length} bytes of payload, not a multiple of 8"
            ),
            Malformed::FragmentBeyondEnd { offset, length } => write!(
                f,
                "a fragment of {length} bytes at offset {offset} reaches beyond the longest packet"
            ),
        }
    }
}

impl core::error::Error for Malformed {}
