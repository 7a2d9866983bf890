//! TCP (RFC 9293 section 3.1).

use core::fmt;
use core::net::IpAddr;

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum;
use crate::ip::Protocol;

mod flags;
mod layout;
mod list;
mod malformed;
mod options;
mod summary;

pub use flags::Flags;
pub use list::{OptionsIter, TcpOption, kind};
pub use malformed::Malformed;
pub use options::{
    Authentication, FastOpenCookie, MAX_WINDOW_SCALE, Options, SackBlock, SackBlocks, Timestamps,
};
pub use summary::Summary;

/// The length of a header without options in bytes.
pub const MIN_HEADER_LEN: usize = 20;

/// The length of the longest header in bytes.
pub const MAX_HEADER_LEN: usize = 60;

/// The most bytes of options that a header has room for.
pub const MAX_OPTIONS_LEN: usize = MAX_HEADER_LEN - MIN_HEADER_LEN;

/// Where the checksum field is, in bytes from the start of the header.
pub const CHECKSUM_OFFSET: usize = 16;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
struct Fixed {
    source_port: U16,
    destination_port: U16,
    sequence: U32,
    acknowledgment: U32,
    offset_flags: U16,
    window: U16,
    checksum: U16,
    urgent: U16,
}

/// The names of the fields over the bytes of a segment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    bytes: &'a [u8],
    fixed: &'a Fixed,
}

impl<'a> View<'a> {
    /// Lays the view over `segment`; `None` when it is shorter than a header without options.
    #[must_use]
    pub fn new(segment: &'a [u8]) -> Option<Self> {
        let (fixed, _) = Fixed::ref_from_prefix(segment).ok()?;
        Some(Self { bytes: segment, fixed })
    }

    /// The port of the sender.
    #[must_use]
    pub fn source_port(&self) -> u16 {
        self.fixed.source_port.get()
    }

    /// The port of the receiver.
    #[must_use]
    pub fn destination_port(&self) -> u16 {
        self.fixed.destination_port.get()
    }

    /// SEG.SEQ: the number of the first byte of the payload, or of the SYN before it.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        self.fixed.sequence.get()
    }

    /// SEG.ACK: the number that the sender expects next; without meaning unless ACK is set.
    #[must_use]
    pub fn acknowledgment(&self) -> u32 {
        self.fixed.acknowledgment.get()
    }

    /// The stated length of the header in 32-bit words (the field Data Offset); at least 5, if
    /// right.
    #[must_use]
    pub fn data_offset(&self) -> u8 {
        // Four bits after the shift.
        (self.fixed.offset_flags.get() >> 12) as u8
    }

    /// The stated length of the header in bytes: 0 to 60, and right from 20.
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.data_offset()) * 4
    }

    /// The three reserved bits between Data Offset and the flags, which are zero from senders of
    /// today and ignored.
    #[must_use]
    pub fn reserved(&self) -> u8 {
        // Three bits after the mask.
        (self.fixed.offset_flags.get() >> 9 & 7) as u8
    }

    /// The control bits.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags::from_bits_truncate(self.fixed.offset_flags.get())
    }

    /// The window as it stands there: not scaled.
    #[must_use]
    pub fn window(&self) -> u16 {
        self.fixed.window.get()
    }

    /// The checksum over pseudo-header, header and payload.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        self.fixed.checksum.get()
    }

    /// The urgent pointer; without meaning unless URG is set.
    #[must_use]
    pub fn urgent(&self) -> u16 {
        self.fixed.urgent.get()
    }

    /// The bytes of the options, as far as they are there.
    #[must_use]
    pub fn option_bytes(&self) -> &'a [u8] {
        &self.bytes[MIN_HEADER_LEN..self.payload_start()]
    }

    /// The options one by one, those that are malformed among them.
    #[must_use]
    pub fn options(&self) -> OptionsIter<'a> {
        OptionsIter::new(self.option_bytes())
    }

    /// Everything behind the header, as long as that states to be.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_start()..]
    }

    fn payload_start(&self) -> usize {
        self.header_len().max(MIN_HEADER_LEN).min(self.bytes.len())
    }
}

/// What the header of a segment says. The default is all zero: a base for `..Header::default()`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Header {
    /// The port of the sender.
    pub source_port: u16,
    /// The port of the receiver.
    pub destination_port: u16,
    /// SEG.SEQ: the number of the first byte of the payload, or of the SYN before it.
    pub sequence: u32,
    /// SEG.ACK: the number that the sender expects next; without meaning unless ACK is set.
    pub acknowledgment: u32,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND as it stands in the header: in bytes with SYN, else in units of the sender's
    /// window scale (RFC 7323 section 2.2).
    pub window: u16,
    /// SEG.UP: how many bytes behind the sequence number urgent data ends; without meaning unless
    /// URG is set.
    pub urgent: u16,
    /// The options.
    pub options: Options,
}

impl Header {
    /// Splits a segment into its header and its payload. The checksum is not looked at
    /// ([`is_checksum_valid`]), reserved bits are ignored, and of the options those that are well
    /// formed are taken ([`Options::parse`]).
    ///
    /// # Errors
    /// When the header is cut short, or its stated length cannot be.
    pub fn parse(segment: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let length = segment.len();
        let view = View::new(segment).ok_or(Malformed::Truncated { length })?;
        let header_len = view.header_len();
        if header_len < MIN_HEADER_LEN {
            return Err(Malformed::HeaderTooShort { words: view.data_offset() });
        }
        if header_len > length {
            return Err(Malformed::HeaderBeyondSegment { header_len, length });
        }
        let header = Header {
            source_port: view.source_port(),
            destination_port: view.destination_port(),
            sequence: view.sequence(),
            acknowledgment: view.acknowledgment(),
            flags: view.flags(),
            window: view.window(),
            urgent: view.urgent(),
            options: Options::parse(view.option_bytes()),
        };
        Ok((header, view.payload()))
    }

    /// The length of the header in bytes: 20 to 60.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        MIN_HEADER_LEN + self.options.encoded_len()
    }

    /// Writes the header, with a checksum of zero, to the start of `buf` and returns its length.
    /// The options are laid out as Linux does ([`Options::emit`]).
    ///
    /// # Panics
    /// When `buf` is shorter than [`Header::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let (fixed_part, rest) = buf.split_at_mut(MIN_HEADER_LEN);
        let header_len = MIN_HEADER_LEN + self.options.emit(rest);
        // At most 60 / 4 = 15, which fits into the four bits.
        let words = (header_len / 4) as u16;
        let fixed = Fixed {
            source_port: self.source_port.into(),
            destination_port: self.destination_port.into(),
            sequence: self.sequence.into(),
            acknowledgment: self.acknowledgment.into(),
            offset_flags: (words << 12 | self.flags.bits()).into(),
            window: self.window.into(),
            checksum: 0.into(),
            urgent: self.urgent.into(),
        };
        fixed_part.copy_from_slice(fixed.as_bytes());
        header_len
    }

    /// How much sequence space the segment takes with a payload of `payload_len` bytes: SYN and
    /// FIN count one each (SEG.LEN, RFC 9293 section 3.4).
    #[must_use]
    pub const fn sequence_len(&self, payload_len: u32) -> u32 {
        let syn = self.flags.contains(Flags::SYN) as u32;
        let fin = self.flags.contains(Flags::FIN) as u32;
        payload_len.wrapping_add(syn).wrapping_add(fin)
    }

    /// The segment in one line, as tcpdump prints it.
    #[must_use]
    pub const fn summary(&self, payload_len: usize) -> Summary<'_> {
        Summary::new(self, payload_len)
    }
}

impl fmt::Display for Header {
    /// The header in tcpdump's style, without the length, which it does not know:
    /// [`Header::summary`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(0).fmt_header(f)
    }
}

/// Whether the checksum of a whole segment is right.
#[must_use]
pub fn is_checksum_valid(source: IpAddr, destination: IpAddr, segment: &[u8]) -> bool {
    checksum::is_transport_valid(source, destination, Protocol::TCP, segment)
}

/// Computes the checksum of a whole segment and stores it. Does nothing when the header is not
/// all there.
pub fn fill_checksum(source: IpAddr, destination: IpAddr, segment: &mut [u8]) {
    if segment.len() < MIN_HEADER_LEN {
        return;
    }
    store_checksum(segment, 0);
    store_checksum(segment, checksum::transport(source, destination, Protocol::TCP, segment));
}

/// Stores `checksum` in the header at the start of `segment`: a checksum that was summed over
/// slices, or for offload the pseudo-header's [`checksum::Sum::partial`].
///
/// # Panics
/// When `segment` is shorter than [`MIN_HEADER_LEN`].
pub fn store_checksum(segment: &mut [u8], checksum: u16) {
    segment[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&checksum.to_be_bytes());
}
