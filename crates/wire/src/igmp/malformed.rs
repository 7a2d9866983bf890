//! The ways in which an IGMP message can be malformed.

use core::fmt;

/// How an IGMP message is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
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
            Malformed::Truncated { length, needed } => {
                write!(f, "the IGMP message has {length} bytes and needs {needed}")
            }
            Malformed::RecordBeyondMessage { index } => {
                write!(f, "the record {index} of the report reaches beyond its end")
            }
        }
    }
}

impl core::error::Error for Malformed {}
