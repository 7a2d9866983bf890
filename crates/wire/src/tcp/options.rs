//! TCP options: what they mean together.
//!
//! Reading is as lenient as Linux: an option whose length lies ends the list, an option of the
//! wrong size is passed over, and what was good before stays good. [`OptionsIter`] shows both.

use core::fmt;

use super::list::{OptionsIter, TcpOption, kind};

/// The largest shift of the window scale option; a larger one is read as this one
/// (RFC 7323 section 2.3).
pub const MAX_WINDOW_SCALE: u8 = 14;

/// What the options of a segment say.
///
/// Options that are not listed here are passed over in reading.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Options {
    /// The largest payload that the sender takes, in bytes, less options (RFC 9293 section 3.7.1).
    /// Zero is none.
    pub mss: Option<u16>,
    /// The shift that the sender applies to its windows, 0 to [`MAX_WINDOW_SCALE`].
    pub window_scale: Option<u8>,
    /// The sender understands selective acknowledgments.
    pub sack_permitted: bool,
    /// The sender's clock, and ours as it saw it last.
    pub timestamps: Option<Timestamps>,
    /// What the sender has beyond its acknowledgment number.
    pub sack: SackBlocks,
    /// The fast open cookie, as an opaque value; empty when one is asked for.
    pub fast_open: Option<FastOpenCookie>,
    /// A signature, as an opaque value.
    pub authentication: Option<Authentication>,
}

impl Options {
    /// No options.
    pub const NONE: Options = Options {
        mss: None,
        window_scale: None,
        sack_permitted: false,
        timestamps: None,
        sack: SackBlocks::NONE,
        fast_open: None,
        authentication: None,
    };

    /// Takes what is good of the options in `bytes`, which stand behind the fixed part of a
    /// header. Of an option that is there twice the last one counts.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Options {
        let mut options = Options::NONE;
        // What nearly every segment carries: two fillers and the timestamps.
        if let [kind::NO_OP, kind::NO_OP, kind::TIMESTAMPS, 10, times @ ..] = bytes
            && let Ok(times) = <&[u8; 8]>::try_from(times)
        {
            options.timestamps = Some(Timestamps::from_bytes(times));
            return options;
        }
        for option in OptionsIter::new(bytes) {
            options.take(option);
        }
        options
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Options::NONE
    }

    fn take(&mut self, option: TcpOption<'_>) {
        match option {
            TcpOption::MaximumSegmentSize(0)
            | TcpOption::EndOfList
            | TcpOption::NoOp
            | TcpOption::Unknown { .. }
            | TcpOption::WrongSize { .. }
            | TcpOption::BadLength { .. } => {}
            TcpOption::MaximumSegmentSize(mss) => self.mss = Some(mss),
            TcpOption::WindowScale(shift) => self.window_scale = Some(shift.min(MAX_WINDOW_SCALE)),
            TcpOption::SackPermitted => self.sack_permitted = true,
            TcpOption::Sack(blocks) => self.sack = blocks,
            TcpOption::Timestamps(timestamps) => self.timestamps = Some(timestamps),
            TcpOption::Md5Signature(digest) => {
                self.authentication = Authentication::new(kind::MD5_SIGNATURE, digest);
            }
            TcpOption::Authentication(data) => {
                self.authentication = Authentication::new(kind::AUTHENTICATION, data);
            }
            TcpOption::FastOpen(cookie) => self.fast_open = FastOpenCookie::new(cookie),
        }
    }
}

/// The timestamps option (RFC 7323 section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Timestamps {
    /// TSval: the sender's clock, in units of its own choice (1 ms to 1 s).
    pub value: u32,
    /// TSecr: the last value of ours that the sender took over; zero in a SYN.
    pub echo: u32,
}

impl Timestamps {
    pub(super) fn from_bytes(bytes: &[u8; 8]) -> Timestamps {
        let [a, b, c, d, e, f, g, h] = *bytes;
        Timestamps {
            value: u32::from_be_bytes([a, b, c, d]),
            echo: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

/// A range of sequence numbers that has arrived (RFC 2018 section 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SackBlock {
    /// The first number in the block.
    pub left: u32,
    /// The number behind the last one in the block.
    pub right: u32,
}

/// Up to four [`SackBlock`]s in the order of the option.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SackBlocks {
    /// Those behind `len` are all zeros.
    blocks: [SackBlock; 4],
    len: u8,
}

impl SackBlocks {
    /// No blocks.
    pub const NONE: SackBlocks =
        SackBlocks { blocks: [SackBlock { left: 0, right: 0 }; 4], len: 0 };

    /// The most blocks that an option has room for; three when timestamps are there, too.
    pub const MAX: usize = 4;

    /// Adds a block; false when there are four already.
    pub fn push(&mut self, left: u32, right: u32) -> bool {
        match self.blocks.get_mut(usize::from(self.len)) {
            Some(free) => {
                *free = SackBlock { left, right };
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// The blocks.
    #[must_use]
    pub fn as_slice(&self) -> &[SackBlock] {
        &self.blocks[..self.len()]
    }

    /// The blocks one by one.
    pub fn iter(&self) -> core::slice::Iter<'_, SackBlock> {
        self.as_slice().iter()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blocks of an option; `None` of a length that it cannot have.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<SackBlocks> {
        let (words, rest) = bytes.as_chunks::<4>();
        let (pairs, odd) = words.as_chunks::<2>();
        if !rest.is_empty() || !odd.is_empty() || pairs.is_empty() {
            return None;
        }
        let mut blocks = SackBlocks::NONE;
        for &[left, right] in pairs {
            if !blocks.push(u32::from_be_bytes(left), u32::from_be_bytes(right)) {
                return None;
            }
        }
        Some(blocks)
    }
}

impl<'a> IntoIterator for &'a SackBlocks {
    type Item = &'a SackBlock;
    type IntoIter = core::slice::Iter<'a, SackBlock>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<(u32, u32)> for SackBlocks {
    /// The first four blocks.
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(blocks: I) -> Self {
        let mut taken = SackBlocks::NONE;
        for (left, right) in blocks {
            if !taken.push(left, right) {
                break;
            }
        }
        taken
    }
}

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|block| (block.left, block.right))).finish()
    }
}

/// A fast open cookie: empty, or 4 to 16 bytes and even (RFC 7413 section 4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FastOpenCookie {
    bytes: [u8; 16],
    len: u8,
}

impl FastOpenCookie {
    /// The empty cookie, which asks for one.
    pub const REQUEST: FastOpenCookie = FastOpenCookie { bytes: [0; 16], len: 0 };

    /// A cookie of these bytes; `None` when a cookie cannot have this length.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<FastOpenCookie> {
        if !matches!(bytes.len(), 0 | 4 | 6 | 8 | 10 | 12 | 14 | 16) {
            return None;
        }
        let mut cookie = FastOpenCookie::REQUEST;
        cookie.bytes[..bytes.len()].copy_from_slice(bytes);
        cookie.len = u8::try_from(bytes.len()).ok()?;
        Some(cookie)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for FastOpenCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FastOpenCookie({:02x?})", self.as_bytes())
    }
}

/// The signature of a segment, by MD5 (RFC 2385) or the authentication option (RFC 5925), which
/// exclude each other. Its bytes are not interpreted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Authentication {
    bytes: [u8; 38],
    len: u8,
    kind: u8,
}

impl Authentication {
    /// A signature of this kind: [`kind::MD5_SIGNATURE`] with 16 bytes, or
    /// [`kind::AUTHENTICATION`] with 2 (two key ids and no code) to 38. `None` for others.
    #[must_use]
    pub fn new(kind: u8, data: &[u8]) -> Option<Authentication> {
        let fits = match kind {
            kind::MD5_SIGNATURE => data.len() == 16,
            kind::AUTHENTICATION => (2..=38).contains(&data.len()),
            _ => false,
        };
        if !fits {
            return None;
        }
        let mut bytes = [0; 38];
        bytes[..data.len()].copy_from_slice(data);
        Some(Authentication { bytes, len: u8::try_from(data.len()).ok()?, kind })
    }

    /// The kind of the option.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// What follows kind and length.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authentication({}, {:02x?})", self.kind, self.data())
    }
}
