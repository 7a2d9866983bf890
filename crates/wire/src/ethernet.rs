//! Ethernet II frames (IEEE 802.3 section 3, RFC 894) and VLAN tags (IEEE 802.1Q).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The length of an Ethernet II header in bytes; there is no option that makes it longer here.
pub const HEADER_LEN: usize = 14;

mod vlan;

pub use vlan::{Tag, Tagged};

/// An Ethernet (MAC) address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EthernetAddress(pub [u8; 6]);

impl EthernetAddress {
    /// All ones: every station.
    pub const BROADCAST: EthernetAddress = EthernetAddress([0xff; 6]);
    /// All zeros: no address, as in the target field of an ARP request.
    pub const UNSPECIFIED: EthernetAddress = EthernetAddress([0; 6]);

    /// The address of an IPv4 group: 01:00:5e and the group's last 23 bits (RFC 1112 section 6.4).
    #[must_use]
    pub const fn of_ipv4_group(group: Ipv4Addr) -> EthernetAddress {
        let [_, a, b, c] = group.octets();
        EthernetAddress([0x01, 0x00, 0x5e, a & 0x7f, b, c])
    }

    /// The address of an IPv6 group: 33:33 and the group's last 32 bits (RFC 2464 section 7).
    #[must_use]
    pub const fn of_ipv6_group(group: Ipv6Addr) -> EthernetAddress {
        let [a, b, c, d] = (group.to_bits() as u32).to_be_bytes();
        EthernetAddress([0x33, 0x33, a, b, c, d])
    }

    /// The address of a group of either family; `None` when `address` is no group. That of IPv4's
    /// limited broadcast is [`EthernetAddress::BROADCAST`].
    #[must_use]
    pub const fn of_group(address: IpAddr) -> Option<EthernetAddress> {
        match address {
            IpAddr::V4(v4) if v4.is_broadcast() => Some(Self::BROADCAST),
            IpAddr::V4(v4) if v4.is_multicast() => Some(Self::of_ipv4_group(v4)),
            IpAddr::V6(v6) if v6.is_multicast() => Some(Self::of_ipv6_group(v6)),
            _ => None,
        }
    }

    /// Whether this is the address of every station.
    #[must_use]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether this is the address of a group; the broadcast address is one.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether this can be the address of one station: neither a group nor all zeros.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        !self.is_multicast() && self != Self::UNSPECIFIED
    }
}

impl fmt::Display for EthernetAddress {
    /// `02:00:00:00:00:01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for EthernetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six bytes in hexadecimal with colons between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseAddressError;

impl fmt::Display for ParseAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an Ethernet address is six bytes in hexadecimal, like 02:00:00:00:00:01")
    }
}

impl core::error::Error for ParseAddressError {}

impl FromStr for EthernetAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let mut address = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut address {
            let part = parts.next().ok_or(ParseAddressError)?;
            let is_hex = part.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !is_hex || !(1..=2).contains(&part.len()) {
                return Err(ParseAddressError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ParseAddressError)?;
        }
        if parts.next().is_some() {
            return Err(ParseAddressError);
        }
        Ok(Self(address))
    }
}

/// The number that says what a frame carries (IANA "IEEE 802 Numbers").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: EtherType = EtherType(0x0800);
    /// ARP (RFC 826).
    pub const ARP: EtherType = EtherType(0x0806);
    /// A VLAN tag (IEEE 802.1Q).
    pub const VLAN: EtherType = EtherType(0x8100);
    /// IPv6 (RFC 2464).
    pub const IPV6: EtherType = EtherType(0x86dd);
    /// A service VLAN tag, outside of another (IEEE 802.1ad).
    pub const SERVICE_VLAN: EtherType = EtherType(0x88a8);

    /// The name that tcpdump prints, where the number has one here.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            EtherType::IPV4 => "IPv4",
            EtherType::ARP => "ARP",
            EtherType::VLAN => "802.1Q",
            EtherType::IPV6 => "IPv6",
            EtherType::SERVICE_VLAN => "802.1ad",
            _ => return None,
        })
    }
}

impl fmt::Display for EtherType {
    /// `IPv4 (0x0800)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:04x})", self.name().unwrap_or("Unknown"), self.0)
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
struct Fixed {
    destination: [u8; 6],
    source: [u8; 6],
    ethertype: U16,
}

/// The names of the fields over the bytes of a frame.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    fixed: &'a Fixed,
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Lays the view over `frame`; `None` when it is shorter than the header.
    #[must_use]
    pub fn new(frame: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = Fixed::ref_from_prefix(frame).ok()?;
        Some(Self { fixed, rest })
    }

    /// Whom the frame is for.
    #[must_use]
    pub fn destination(&self) -> EthernetAddress {
        EthernetAddress(self.fixed.destination)
    }

    /// Who sent the frame.
    #[must_use]
    pub fn source(&self) -> EthernetAddress {
        EthernetAddress(self.fixed.source)
    }

    /// What the frame carries.
    #[must_use]
    pub fn ethertype(&self) -> EtherType {
        EtherType(self.fixed.ethertype.get())
    }

    /// Everything behind the header, padding to the shortest frame (60 bytes) included.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.rest
    }
}

/// How a frame is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The frame ends before its header does.
    Truncated {
        /// The length of the frame in bytes.
        length: usize,
    },
    /// The type field holds a length, as in IEEE 802.3 framing with LLC, which IP hosts need not
    /// understand (RFC 1122 section 2.3.3).
    NotEthernetII {
        /// The length in the type field, at most 1500.
        length: u16,
    },
    /// The frame ends inside a VLAN tag.
    TagTruncated {
        /// How many bytes stand behind the tag's type.
        length: usize,
    },
    /// A VLAN tag inside another, as providers stack them; hosts are in one VLAN.
    StackedTags {
        /// What is outside.
        outer: Tag,
        /// The type of the tag inside.
        inner: EtherType,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length } => {
                write!(f, "the frame has {length} bytes, its Ethernet header needs {HEADER_LEN}")
            }
            Malformed::NotEthernetII { length } => {
                write!(f, "the frame has a length ({length}) in the place of its type")
            }
            Malformed::TagTruncated { length } => {
                write!(f, "the frame has {length} bytes of VLAN tag, which needs {}", Tag::LEN)
            }
            Malformed::StackedTags { outer, inner } => {
                write!(f, "the frame has another VLAN tag, {inner}, inside that of {outer}")
            }
        }
    }
}

impl core::error::Error for Malformed {}

/// What the header of an Ethernet II frame says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// Whom the frame is for.
    pub destination: EthernetAddress,
    /// Who sent the frame.
    pub source: EthernetAddress,
    /// What the frame carries; 0x0600 or more.
    pub ethertype: EtherType,
}

impl Header {
    /// Splits a frame into its header and its payload (padding included: the payload knows its
    /// own length).
    ///
    /// # Errors
    /// When the frame is shorter than the header, or is not Ethernet II.
    pub fn parse(frame: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let view = View::new(frame).ok_or(Malformed::Truncated { length: frame.len() })?;
        let ethertype = view.ethertype();
        if ethertype.0 < 0x0600 {
            return Err(Malformed::NotEthernetII { length: ethertype.0 });
        }
        let header = Header { destination: view.destination(), source: view.source(), ethertype };
        Ok((header, view.payload()))
    }

    /// The length of the header in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header to the start of `buf` and returns its length.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Header::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let fixed = Fixed {
            destination: self.destination.0,
            source: self.source.0,
            ethertype: self.ethertype.0.into(),
        };
        buf[..HEADER_LEN].copy_from_slice(fixed.as_bytes());
        HEADER_LEN
    }
}

impl fmt::Display for Header {
    /// `02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}, ethertype {}", self.source, self.destination, self.ethertype)
    }
}
