//! The ways in which a segment can be malformed.

use core::fmt;

use super::MIN_HEADER_LEN;

/// How a segment is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The segment ends before its shortest header does.
    Truncated {
        /// The length of the segment in bytes.
        length: usize,
    },
    /// The stated length of the header is below 5 words.
    HeaderTooShort {
        /// The stated length (Data Offset) in 32-bit words.
        words: u8,
    },
    /// The stated length of the header reaches beyond the end of the segment.
    HeaderBeyondSegment {
        /// The stated length of the header in bytes.
        header_len: usize,
        /// The length of the segment in bytes.
        length: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length } => {
                write!(f, "the segment has {length} bytes, a TCP header needs {MIN_HEADER_LEN}")
            }
            Malformed::HeaderTooShort { words } => {
                write!(f, "the TCP header states a length of {words} words; the shortest has 5")
            }
            Malformed::HeaderBeyondSegment { header_len, length } => {
                write!(f, "the TCP header states {header_len} bytes, but the segment has {length}")
            }
        }
    }
}

impl core::error::Error for Malformed {}
