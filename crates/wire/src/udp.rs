//! UDP (RFC 768).

use core::fmt;
use core::net::IpAddr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum;
use crate::ip::Protocol;

/// The length of a UDP header in bytes.
pub const HEADER_LEN: usize = 8;

/// Where the checksum field is, in bytes from the start of the header.
pub const CHECKSUM_OFFSET: usize = 6;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
struct Fixed {
    source_port: U16,
    destination_port: U16,
    length: U16,
    checksum: U16,
}

/// The names of the fields over the bytes of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    fixed: &'a Fixed,
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Lays the view over `datagram`; `None` when it is shorter than the header.
    #[must_use]
    pub fn new(datagram: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = Fixed::ref_from_prefix(datagram).ok()?;
        Some(Self { fixed, rest })
    }

    /// The port of the sender; zero when it wants no answer.
    #[must_use]
    pub fn source_port(&self) -> u16 {
        self.fixed.source_port.get()
    }

    /// The port of the receiver.
    #[must_use]
    pub fn destination_port(&self) -> u16 {
        self.fixed.destination_port.get()
    }

    /// The stated length of header and payload in bytes.
    #[must_use]
    pub fn length(&self) -> u16 {
        self.fixed.length.get()
    }

    /// The checksum; zero when the sender made none.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        self.fixed.checksum.get()
    }

    /// What the stated length makes the payload, as far as it is there.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        let stated = usize::from(self.length()).saturating_sub(HEADER_LEN);
        &self.rest[..stated.min(self.rest.len())]
    }
}

/// How a datagram is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The datagram ends before its header does.
    Truncated {
        /// The length of the datagram in bytes.
        length: usize,
    },
    /// The stated length is shorter than the header.
    LengthTooShort {
        /// The stated length in bytes.
        stated: u16,
    },
    /// The stated length reaches beyond the end of the IP packet.
    LengthBeyondPacket {
        /// The stated length in bytes.
        stated: u16,
        /// How many bytes there are.
        length: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length } => {
                write!(f, "the datagram has {length} bytes, its UDP header needs {HEADER_LEN}")
            }
            Malformed::LengthTooShort { stated } => {
                write!(f, "the datagram states a length of {stated} bytes, less than its header")
            }
            Malformed::LengthBeyondPacket { stated, length } => {
                write!(f, "the datagram states a length of {stated} bytes, but {length} are there")
            }
        }
    }
}

impl core::error::Error for Malformed {}

/// What the header of a datagram says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The port of the sender; zero when it wants no answer.
    pub source_port: u16,
    /// The port of the receiver.
    pub destination_port: u16,
    /// The length of the payload in bytes; at most 65 527.
    pub payload_len: u16,
}

impl Header {
    /// Splits the payload of an IP packet into the UDP header and the datagram's payload. Bytes
    /// behind the stated length are cut off. The checksum is not looked at: [`is_checksum_valid`].
    ///
    /// # Errors
    /// When the header is cut short or its length field lies.
    pub fn parse(datagram: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let length = datagram.len();
        let view = View::new(datagram).ok_or(Malformed::Truncated { length })?;
        let stated = view.length();
        if usize::from(stated) < HEADER_LEN {
            return Err(Malformed::LengthTooShort { stated });
        }
        if usize::from(stated) > length {
            return Err(Malformed::LengthBeyondPacket { stated, length });
        }
        let header = Header {
            source_port: view.source_port(),
            destination_port: view.destination_port(),
            payload_len: stated - 8,
        };
        Ok((header, view.payload()))
    }

    /// The length of the header in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header, with a checksum of zero ("none"), to the start of `buf` and returns its
    /// length; [`fill_checksum`] does the rest.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Header::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let fixed = Fixed {
            source_port: self.source_port.into(),
            destination_port: self.destination_port.into(),
            length: self.payload_len.saturating_add(8).into(),
            checksum: 0.into(),
        };
        buf[..HEADER_LEN].copy_from_slice(fixed.as_bytes());
        HEADER_LEN
    }
}

impl fmt::Display for Header {
    /// `UDP, 49152 > 53, length 33`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { source_port, destination_port, payload_len } = self;
        write!(f, "UDP, {source_port} > {destination_port}, length {payload_len}")
    }
}

/// Whether the checksum of a datagram is right. `datagram` is header and payload, cut at the
/// stated length. A sender over IPv4 may leave it out (zero); over IPv6 it may not (RFC 8200
/// section 8.1). False also when the header is not all there.
#[must_use]
pub fn is_checksum_valid(source: IpAddr, destination: IpAddr, datagram: &[u8]) -> bool {
    match View::new(datagram) {
        None => false,
        Some(view) if view.checksum() == 0 => source.is_ipv4(),
        Some(_) => checksum::is_transport_valid(source, destination, Protocol::UDP, datagram),
    }
}

/// Computes the checksum of a datagram and stores it in its header. A computed zero is stored as
/// 0xffff, because zero means "none". Does nothing when the header is not all there.
pub fn fill_checksum(source: IpAddr, destination: IpAddr, datagram: &mut [u8]) {
    if datagram.len() < HEADER_LEN {
        return;
    }
    datagram[CHECKSUM_OFFSET..HEADER_LEN].fill(0);
    let checksum = match checksum::transport(source, destination, Protocol::UDP, datagram) {
        0 => 0xffff,
        other => other,
    };
    datagram[CHECKSUM_OFFSET..HEADER_LEN].copy_from_slice(&checksum.to_be_bytes());
}
