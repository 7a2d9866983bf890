//! TCP options one by one, as they stand in a header.

use core::fmt;

use super::options::{FastOpenCookie, SackBlock, SackBlocks, Timestamps};
use crate::walk::{Length, Walk};

/// The kinds of TCP options (IANA "TCP Option Kind Numbers").
pub mod kind {
    /// End of option list: one byte; what follows is padding.
    pub const END_OF_LIST: u8 = 0;
    /// No operation: one byte, between options.
    pub const NO_OP: u8 = 1;
    /// Maximum segment size (RFC 9293 section 3.7.1).
    pub const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    /// Window scale (RFC 7323 section 2).
    pub const WINDOW_SCALE: u8 = 3;
    /// Selective acknowledgment permitted (RFC 2018 section 2).
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgment (RFC 2018 section 3).
    pub const SACK: u8 = 5;
    /// Timestamps (RFC 7323 section 3).
    pub const TIMESTAMPS: u8 = 8;
    /// MD5 signature (RFC 2385).
    pub const MD5_SIGNATURE: u8 = 19;
    /// The authentication option (RFC 5925).
    pub const AUTHENTICATION: u8 = 29;
    /// Fast open cookie (RFC 7413 section 4.1.1).
    pub const FAST_OPEN: u8 = 34;
}

/// One option as it stands in a header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TcpOption<'a> {
    /// The list ends here; what follows is padding.
    EndOfList,
    /// A filler between options.
    NoOp,
    /// The largest payload that the sender takes.
    MaximumSegmentSize(u16),
    /// The shift that the sender applies to its windows, as it stands there: perhaps above
    /// [`MAX_WINDOW_SCALE`](super::MAX_WINDOW_SCALE).
    WindowScale(u8),
    /// The sender understands selective acknowledgments.
    SackPermitted,
    /// What the sender has beyond its acknowledgment number.
    Sack(SackBlocks),
    /// The sender's clock, and ours as it saw it last.
    Timestamps(Timestamps),
    /// A signature by MD5: 16 bytes.
    Md5Signature(&'a [u8]),
    /// The authentication option: KeyID, RNextKeyID and the code; at least 2 bytes.
    Authentication(&'a [u8]),
    /// A fast open cookie, or the request of one when it is empty.
    FastOpen(&'a [u8]),
    /// Any other option.
    Unknown {
        /// The kind.
        kind: u8,
        /// What follows kind and length.
        data: &'a [u8],
    },
    /// A known option whose length is not one that it can have; it is passed over.
    WrongSize {
        /// The kind.
        kind: u8,
        /// What follows kind and length.
        data: &'a [u8],
    },
    /// An option whose length is below 2, or reaches beyond the options, or is missing. The list
    /// ends here, because nobody knows where the next one starts.
    BadLength {
        /// The kind.
        kind: u8,
        /// The stated length in bytes, if it is there.
        length: Option<u8>,
    },
}

/// The options of a header one by one. It ends behind [`TcpOption::EndOfList`] and
/// [`TcpOption::BadLength`].
#[derive(Clone, Debug)]
pub struct OptionsIter<'a>(Walk<'a>);

impl<'a> OptionsIter<'a> {
    /// Reads the options in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(Walk::new(bytes))
    }

    /// Where the next option starts, in bytes from the start of the options; behind the end of
    /// the list, where the padding starts.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.0.position()
    }
}

impl<'a> Iterator for OptionsIter<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        let walk = &mut self.0;
        Some(match walk.kind()? {
            kind::END_OF_LIST => {
                walk.end();
                TcpOption::EndOfList
            }
            kind::NO_OP => {
                walk.pass();
                TcpOption::NoOp
            }
            kind => match walk.data(Length::Whole) {
                Ok(data) => read(kind, data),
                Err(length) => TcpOption::BadLength { kind, length },
            },
        })
    }
}

fn read(kind: u8, data: &[u8]) -> TcpOption<'_> {
    let known = match kind {
        kind::MAXIMUM_SEGMENT_SIZE => <[u8; 2]>::try_from(data)
            .ok()
            .map(|mss| TcpOption::MaximumSegmentSize(u16::from_be_bytes(mss))),
        kind::WINDOW_SCALE => match *data {
            [shift] => Some(TcpOption::WindowScale(shift)),
            _ => None,
        },
        kind::SACK_PERMITTED => data.is_empty().then_some(TcpOption::SackPermitted),
        kind::SACK => SackBlocks::from_bytes(data).map(TcpOption::Sack),
        kind::TIMESTAMPS => <&[u8; 8]>::try_from(data)
            .ok()
            .map(|times| TcpOption::Timestamps(Timestamps::from_bytes(times))),
        kind::MD5_SIGNATURE => (data.len() == 16).then_some(TcpOption::Md5Signature(data)),
        kind::AUTHENTICATION => (data.len() >= 2).then_some(TcpOption::Authentication(data)),
        kind::FAST_OPEN => FastOpenCookie::new(data).map(|_| TcpOption::FastOpen(data)),
        _ => Some(TcpOption::Unknown { kind, data }),
    };
    known.unwrap_or(TcpOption::WrongSize { kind, data })
}

impl fmt::Display for TcpOption<'_> {
    /// As tcpdump prints it: `mss 1460`, `sackOK`, `TS val 1 ecr 0`, `nop`, `wscale 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TcpOption::EndOfList => f.write_str("eol"),
            TcpOption::NoOp => f.write_str("nop"),
            TcpOption::MaximumSegmentSize(mss) => write!(f, "mss {mss}"),
            TcpOption::WindowScale(shift) => write!(f, "wscale {shift}"),
            TcpOption::SackPermitted => f.write_str("sackOK"),
            TcpOption::Sack(blocks) => {
                write!(f, "sack {} ", blocks.len())?;
                blocks
                    .iter()
                    .try_for_each(|SackBlock { left, right }| write!(f, "{{{left}:{right}}}"))
            }
            TcpOption::Timestamps(Timestamps { value, echo }) => {
                write!(f, "TS val {value} ecr {echo}")
            }
            TcpOption::Md5Signature(digest) => {
                f.write_str("md5 ")?;
                hex(f, digest)
            }
            TcpOption::Authentication(data) => {
                f.write_str("tcp-ao ")?;
                hex(f, data)
            }
            TcpOption::FastOpen([]) => f.write_str("tfo cookiereq"),
            TcpOption::FastOpen(cookie) => {
                f.write_str("tfo cookie ")?;
                hex(f, cookie)
            }
            TcpOption::Unknown { kind, data } => {
                write!(f, "unknown-{kind} 0x")?;
                hex(f, data)
            }
            TcpOption::WrongSize { kind, data } => {
                write!(f, "bad-size-{kind} 0x")?;
                hex(f, data)
            }
            TcpOption::BadLength { kind, length: Some(length) } => {
                write!(f, "bad-length-{kind} {length}")
            }
            TcpOption::BadLength { kind, length: None } => write!(f, "no-length-{kind}"),
        }
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
