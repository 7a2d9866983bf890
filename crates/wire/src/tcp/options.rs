//! TCP options: as they stand in the header, and what they mean together.
//!
//! Reading is as lenient as Linux: an option whose length lies ends the list, an option of the
//! wrong size is passed over, and what was good before stays good. [`OptionsIter`] shows both.

use core::fmt;

/// The largest shift of the window scale option; a larger one is read as this one
/// (RFC 7323 section 2.3).
pub const MAX_WINDOW_SCALE: u8 = 14;

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
    fn from_bytes(bytes: &[u8; 8]) -> Timestamps {
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

    fn from_bytes(bytes: &[u8]) -> Option<SackBlocks> {
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
    /// [`MAX_WINDOW_SCALE`].
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
pub struct OptionsIter<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> OptionsIter<'a> {
    /// Reads the options in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, position: 0 }
    }

    /// Where the next option starts, in bytes from the start of the options; behind the end of
    /// the list, where the padding starts.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
        self.position += count;
    }
}

impl<'a> Iterator for OptionsIter<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        let &kind = self.rest.first()?;
        match kind {
            kind::END_OF_LIST => {
                self.position += 1;
                self.rest = &[];
                return Some(TcpOption::EndOfList);
            }
            kind::NO_OP => {
                self.skip(1);
                return Some(TcpOption::NoOp);
            }
            _ => {}
        }
        let length = self.rest.get(1).copied();
        let body = length.and_then(|length| self.rest.get(2..usize::from(length)));
        let Some(data) = body else {
            self.rest = &[];
            return Some(TcpOption::BadLength { kind, length });
        };
        self.skip(2 + data.len());
        Some(read(kind, data))
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
