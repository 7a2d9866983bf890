//! The ways in which a DHCP message can be malformed.

use core::fmt;

use super::{HEADER_LEN, MessageType};

/// How a DHCP message is malformed, or not for us.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The message ends before its options begin.
    Truncated {
        /// The length of the message in bytes.
        length: usize,
    },
    /// The options do not begin with the cookie: this is BOOTP, or nothing of the kind.
    Cookie([u8; 4]),
    /// The client is not on Ethernet.
    Hardware {
        /// The hardware type; 1 is right.
        kind: u8,
        /// The length of a hardware address in bytes; 6 is right.
        length: u8,
    },
    /// An option reaches beyond its field.
    OptionBeyondField {
        /// The code of the option.
        code: u8,
    },
    /// No option says what the message is for: this is BOOTP.
    NoMessageType,
    /// The operation, which says who speaks, contradicts the type.
    Operation {
        /// The operation: 1 from a client, 2 from a server.
        operation: u8,
        /// What the message is for.
        kind: MessageType,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length } => {
                write!(f, "the DHCP message has {length} bytes and needs {HEADER_LEN}")
            }
            Malformed::Cookie(cookie) => {
                write!(f, "the options begin with {cookie:?}, not with DHCP's cookie")
            }
            Malformed::Hardware { kind, length } => write!(
                f,
                "the client's hardware has type {kind} and addresses of {length} bytes, \
                 not those of Ethernet"
            ),
            Malformed::OptionBeyondField { code } => {
                write!(f, "the option {code} reaches beyond the options")
            }
            Malformed::NoMessageType => f.write_str("no option says what the message is for"),
            Malformed::Operation { operation, kind } => {
                write!(f, "the operation {operation} does not go with {kind}")
            }
        }
    }
}

impl core::error::Error for Malformed {}
