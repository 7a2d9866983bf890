//! IPv4 (RFC 791, RFC 1122 section 3.2.1, RFC 2474, RFC 3168).

use core::fmt;
use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum;
use crate::ip::{Ecn, Protocol};

mod malformed;
mod options;

pub use malformed::Malformed;
pub use options::{Ipv4Option, Options, OptionsIter, Route, kind};

/// The length of a header without options in bytes.
pub const MIN_HEADER_LEN: usize = 20;

/// The length of the longest header in bytes.
pub const MAX_HEADER_LEN: usize = 60;

/// Where the checksum field is, in bytes from the start of the header.
pub const CHECKSUM_OFFSET: usize = 10;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
struct Fixed {
    version_ihl: u8,
    traffic_class: u8,
    total_len: U16,
    identification: U16,
    flags_offset: U16,
    ttl: u8,
    protocol: u8,
    checksum: U16,
    source: [u8; 4],
    destination: [u8; 4],
}

/// The names of the fields over the bytes of a packet.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    bytes: &'a [u8],
    fixed: &'a Fixed,
}

impl<'a> View<'a> {
    /// Lays the view over `packet`; `None` when it is shorter than a header without options.
    #[must_use]
    pub fn new(packet: &'a [u8]) -> Option<Self> {
        let (fixed, _) = Fixed::ref_from_prefix(packet).ok()?;
        Some(Self { bytes: packet, fixed })
    }

    /// The version; 4, if this is IPv4.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.fixed.version_ihl >> 4
    }

    /// The stated length of the header in 32-bit words (the field IHL); at least 5, if right.
    #[must_use]
    pub fn header_words(&self) -> u8 {
        self.fixed.version_ihl & 15
    }

    /// The stated length of the header in bytes: 0 to 60, and right from 20.
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.header_words()) * 4
    }

    /// The DSCP and the ECN bits; once the "type of service".
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        self.fixed.traffic_class
    }

    /// The stated length of header and payload in bytes.
    #[must_use]
    pub fn total_len(&self) -> u16 {
        self.fixed.total_len.get()
    }

    /// The number that fragments of one packet share.
    #[must_use]
    pub fn identification(&self) -> u16 {
        self.fixed.identification.get()
    }

    /// The reserved flag, which must be zero.
    #[must_use]
    pub fn reserved_flag(&self) -> bool {
        self.fixed.flags_offset.get() & 0x8000 != 0
    }

    /// DF: routers must not fragment the packet.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.fixed.flags_offset.get() & DONT_FRAGMENT != 0
    }

    /// MF: more fragments of this packet follow.
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        self.fixed.flags_offset.get() & MORE_FRAGMENTS != 0
    }

    /// Where in the original packet this fragment's payload starts, in bytes.
    #[must_use]
    pub fn fragment_offset(&self) -> u16 {
        (self.fixed.flags_offset.get() & FRAGMENT_OFFSET) * 8
    }

    /// How many more routers may forward the packet.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.fixed.ttl
    }

    /// What the packet carries.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        Protocol(self.fixed.protocol)
    }

    /// The checksum of the header.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        self.fixed.checksum.get()
    }

    /// Who sent the packet.
    #[must_use]
    pub fn source(&self) -> Ipv4Addr {
        self.fixed.source.into()
    }

    /// Whom the packet is for.
    #[must_use]
    pub fn destination(&self) -> Ipv4Addr {
        self.fixed.destination.into()
    }

    /// The header, as long as it states to be and as far as it is there; at least 20 bytes.
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        let end = self.header_len().max(MIN_HEADER_LEN).min(self.bytes.len());
        &self.bytes[..end]
    }

    /// The bytes of the options, as far as they are there.
    #[must_use]
    pub fn option_bytes(&self) -> &'a [u8] {
        &self.header()[MIN_HEADER_LEN..]
    }

    /// The options one by one.
    #[must_use]
    pub fn options(&self) -> OptionsIter<'a> {
        OptionsIter::new(self.option_bytes())
    }

    /// What the stated lengths make the payload, as far as it is there.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        let start = self.header().len();
        let end = usize::from(self.total_len()).clamp(start, self.bytes.len());
        &self.bytes[start..end]
    }

    /// Whether the checksum of the header is right.
    #[must_use]
    pub fn is_checksum_valid(&self) -> bool {
        checksum::is_valid(self.header())
    }
}

/// What the header of an IPv4 packet says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// Who sent the packet.
    pub source: Ipv4Addr,
    /// Whom the packet is for.
    pub destination: Ipv4Addr,
    /// What the packet carries.
    pub protocol: Protocol,
    /// How many more routers may forward the packet.
    pub ttl: u8,
    /// The DSCP in the upper six bits and ECN in the lower two; once the "type of service".
    pub traffic_class: u8,
    /// The number that fragments of one packet share; without meaning in a packet that is not and
    /// will not be fragmented (RFC 6864).
    pub identification: u16,
    /// DF: routers must not fragment the packet.
    pub dont_fragment: bool,
    /// MF: more fragments of this packet follow.
    pub more_fragments: bool,
    /// Where in the original packet this fragment's payload starts, in bytes; a multiple of 8
    /// (emission rounds it down).
    pub fragment_offset: u16,
    /// The length of the payload in bytes. Header and payload have at most 65 535 together;
    /// emission states no more than that.
    pub payload_len: u16,
    /// The options.
    pub options: Options,
}

impl Header {
    /// Splits a packet into its header and its payload. Bytes behind the stated total length (the
    /// padding of a short Ethernet frame) are cut off. The reserved flag is ignored, and options
    /// are not judged: [`Options::iter`] does that.
    ///
    /// # Errors
    /// When the packet must be discarded by RFC 1122 section 3.2.1 (version, checksum), when its
    /// lengths lie, or when it is a fragment that no packet can have.
    pub fn parse(packet: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let view = View::new(packet).ok_or(Malformed::Truncated { length: packet.len() })?;
        if view.version() != 4 {
            return Err(Malformed::Version(view.version()));
        }
        let header_len = view.header_len();
        if header_len < MIN_HEADER_LEN {
            return Err(Malformed::HeaderTooShort { words: view.header_words() });
        }
        if header_len > packet.len() {
            return Err(Malformed::HeaderBeyondPacket { header_len, length: packet.len() });
        }
        if !view.is_checksum_valid() {
            return Err(Malformed::Checksum { found: view.checksum() });
        }
        let stated = view.total_len();
        if usize::from(stated) < header_len {
            return Err(Malformed::TotalLengthTooShort { stated, header_len });
        }
        if usize::from(stated) > packet.len() {
            return Err(Malformed::TotalLengthBeyondPacket { stated, length: packet.len() });
        }
        let header = Header::of(&view, stated);
        header.check_fragment()?;
        Ok((header, view.payload()))
    }

    /// Reads the header of a packet that was quoted in an ICMP error: routers cut the payload and
    /// may have changed the header on the way, so neither the total length nor the checksum is
    /// checked. The payload is what there is of it.
    ///
    /// # Errors
    /// When the version is not 4, or the header is not all there.
    pub fn parse_quoted(packet: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let view = View::new(packet).ok_or(Malformed::Truncated { length: packet.len() })?;
        if view.version() != 4 {
            return Err(Malformed::Version(view.version()));
        }
        let header_len = view.header_len();
        if header_len < MIN_HEADER_LEN {
            return Err(Malformed::HeaderTooShort { words: view.header_words() });
        }
        if header_len > packet.len() {
            return Err(Malformed::HeaderBeyondPacket { header_len, length: packet.len() });
        }
        Ok((Header::of(&view, view.total_len()), &packet[header_len..]))
    }

    /// The meaning of a header whose length is checked, in a packet of `total_len` bytes.
    fn of(view: &View<'_>, total_len: u16) -> Header {
        let header_len = u16::from(view.header_words()) * 4;
        Header {
            source: view.source(),
            destination: view.destination(),
            protocol: view.protocol(),
            ttl: view.ttl(),
            traffic_class: view.traffic_class(),
            identification: view.identification(),
            dont_fragment: view.dont_fragment(),
            more_fragments: view.more_fragments(),
            fragment_offset: view.fragment_offset(),
            payload_len: total_len.saturating_sub(header_len),
            options: Options::from_bytes(view.option_bytes()).unwrap_or_default(),
        }
    }

    fn check_fragment(&self) -> Result<(), Malformed> {
        let (offset, length) = (self.fragment_offset, self.payload_len);
        if self.more_fragments && (length == 0 || length % 8 != 0) {
            return Err(Malformed::FragmentLength { length });
        }
        // The reassembled packet has a header, too, but its length is that of the first fragment.
        if u32::from(offset) + u32::from(length) > 65_535 - 20 && offset > 0 {
            return Err(Malformed::FragmentBeyondEnd { offset, length });
        }
        Ok(())
    }

    /// Whether the packet is a fragment of a larger one.
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// What the traffic class says about congestion.
    #[must_use]
    pub const fn ecn(&self) -> Ecn {
        Ecn::from_traffic_class(self.traffic_class)
    }

    /// The length of the header in bytes: 20 to 60.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        MIN_HEADER_LEN + self.options.len()
    }

    /// Writes the header with its checksum to the start of `buf` and returns its length.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Header::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let options = self.options.as_bytes();
        let words = 5 + self.options.words();
        let mut flags_offset = self.fragment_offset / 8;
        if self.dont_fragment {
            flags_offset |= DONT_FRAGMENT;
        }
        if self.more_fragments {
            flags_offset |= MORE_FRAGMENTS;
        }
        let mut fixed = Fixed {
            version_ihl: 0x40 | words,
            traffic_class: self.traffic_class,
            total_len: self.payload_len.saturating_add(u16::from(words) * 4).into(),
            identification: self.identification.into(),
            flags_offset: flags_offset.into(),
            ttl: self.ttl,
            protocol: self.protocol.0,
            checksum: 0.into(),
            source: self.source.octets(),
            destination: self.destination.octets(),
        };
        let mut sum = checksum::sum(fixed.as_bytes());
        if !options.is_empty() {
            sum = sum.combine(checksum::sum(options));
        }
        fixed.checksum = sum.finish().into();
        let header_len = MIN_HEADER_LEN + options.len();
        buf[..MIN_HEADER_LEN].copy_from_slice(fixed.as_bytes());
        buf[MIN_HEADER_LEN..header_len].copy_from_slice(options);
        header_len
    }
}

impl fmt::Display for Header {
    /// `10.77.0.1 > 10.77.0.2: TCP, tos 0x0, ttl 64, id 32832, offset 0, flags [DF], length 60`,
    /// and the options if there are some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = match (self.dont_fragment, self.more_fragments) {
            (false, false) => "none",
            (true, false) => "DF",
            (false, true) => "+",
            (true, true) => "DF,+",
        };
        write!(
            f,
            "{} > {}: {}, tos {:#x}, ttl {}, id {}, offset {}, flags [{flags}], length {}",
            self.source,
            self.destination,
            self.protocol,
            self.traffic_class,
            self.ttl,
            self.identification,
            self.fragment_offset,
            usize::from(self.payload_len) + self.encoded_len(),
        )?;
        if self.options.is_empty() { Ok(()) } else { write!(f, ", options ({})", self.options) }
    }
}
