//! IPv6 and its extension headers (RFC 8200).
//!
//! [`Header`] is the fixed header. What stands between it and the transport is a chain of extension
//! headers, which [`Chain::walk`] follows to its end or to the first thing that a receiver must
//! refuse, with what to tell the sender ([`ChainMalformed::answer`]).

use core::fmt;
use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ip::{Ecn, Protocol};

mod chain;
mod chain_malformed;
mod fragment;
mod malformed;
mod options;

pub use chain::{Chain, Extension, Extensions, Limits, PlacedFragment};
pub use chain_malformed::{Answer, ChainMalformed};
pub use fragment::Fragment;
pub use malformed::Malformed;
pub use options::{Ipv6Option, OptionsIter, option, router_alert, router_alert_header};

/// The length of the fixed header in bytes.
pub const HEADER_LEN: usize = 40;

/// The least MTU of a link that carries IPv6, in bytes (RFC 8200 section 5).
pub const MIN_MTU: u16 = 1280;

/// Where the Payload Length field is, in bytes from the start of the packet.
pub const PAYLOAD_LENGTH_OFFSET: usize = 4;

/// Where the fixed header names what follows it, in bytes from the start of the packet.
pub const NEXT_HEADER_OFFSET: usize = 6;

/// Groups that every node or router of a link is in (RFC 4291 section 2.7.1).
pub mod group {
    use core::net::Ipv6Addr;

    /// All nodes of the link.
    pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    /// All routers of the link.
    pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    /// All routers that speak MLDv2 (RFC 9777 section 5.2.14).
    pub const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
    /// All DHCPv6 servers and relays of the link (RFC 8415 section 7.1).
    pub const ALL_DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
}

/// The group in which a node hears solicitations for `address`: `ff02::1:ffXX:XXXX` with its last
/// 24 bits (RFC 4291 section 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from_bits(PREFIX | address.to_bits() & 0x00ff_ffff)
}

const FLOW_LABEL: u32 = 0x000f_ffff;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
struct Fixed {
    version_class_flow: U32,
    payload_len: U16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

/// The names of the fields over the bytes of a packet.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    fixed: &'a Fixed,
    rest: &'a [u8],
}

impl<'a> View<'a> {
    /// Lays the view over `packet`; `None` when it is shorter than the fixed header.
    #[must_use]
    pub fn new(packet: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = Fixed::ref_from_prefix(packet).ok()?;
        Some(Self { fixed, rest })
    }

    /// The version; 6, if this is IPv6.
    #[must_use]
    pub fn version(&self) -> u8 {
        // Four bits after the shift.
        (self.fixed.version_class_flow.get() >> 28) as u8
    }

    /// The DSCP and the ECN bits.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        // Eight bits after the mask.
        (self.fixed.version_class_flow.get() >> 20 & 0xff) as u8
    }

    /// The number that the packets of one flow share: 20 bits, zero for none (RFC 6437).
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        self.fixed.version_class_flow.get() & FLOW_LABEL
    }

    /// The stated length of everything behind the fixed header in bytes.
    #[must_use]
    pub fn payload_len(&self) -> u16 {
        self.fixed.payload_len.get()
    }

    /// What follows the fixed header: an extension header or the transport.
    #[must_use]
    pub fn next_header(&self) -> Protocol {
        Protocol(self.fixed.next_header)
    }

    /// How many more routers may forward the packet.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.fixed.hop_limit
    }

    /// Who sent the packet.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        self.fixed.source.into()
    }

    /// Whom the packet is for.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        self.fixed.destination.into()
    }

    /// What the stated length makes the payload, extension headers included, as far as it is
    /// there.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        let stated = usize::from(self.payload_len());
        &self.rest[..stated.min(self.rest.len())]
    }
}

/// What the fixed header of an IPv6 packet says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// Who sent the packet.
    pub source: Ipv6Addr,
    /// Whom the packet is for.
    pub destination: Ipv6Addr,
    /// What follows: an extension header or the transport.
    pub next_header: Protocol,
    /// How many more routers may forward the packet.
    pub hop_limit: u8,
    /// The DSCP in the upper six bits and ECN in the lower two.
    pub traffic_class: u8,
    /// The number that the packets of one flow share, zero for none (RFC 6437); 20 bits, of which
    /// emission writes no more.
    pub flow_label: u32,
    /// The length of the payload, extension headers included, in bytes.
    pub payload_len: u16,
}

impl Header {
    /// Splits a packet into its fixed header and what follows. Bytes behind the stated length (the
    /// padding of a short Ethernet frame) are cut off. Extension headers are part of the payload;
    /// [`Chain::walk`] judges them.
    ///
    /// # Errors
    /// When the version is not 6 or the payload is not all there.
    pub fn parse(packet: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let view = View::of_version_6(packet)?;
        let (stated, length) = (view.payload_len(), view.rest.len());
        if usize::from(stated) > length {
            return Err(Malformed::PayloadLengthBeyondPacket { stated, length });
        }
        Ok((Header::of(&view), view.payload()))
    }

    /// Reads the header of a packet that was quoted in an ICMPv6 error: the quote is cut, so the
    /// payload length is not checked. The payload is what there is of it.
    ///
    /// # Errors
    /// When the version is not 6, or the header is not all there.
    pub fn parse_quoted(packet: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let view = View::of_version_6(packet)?;
        Ok((Header::of(&view), view.payload()))
    }

    fn of(view: &View<'_>) -> Header {
        Header {
            source: view.source(),
            destination: view.destination(),
            next_header: view.next_header(),
            hop_limit: view.hop_limit(),
            traffic_class: view.traffic_class(),
            flow_label: view.flow_label(),
            payload_len: view.payload_len(),
        }
    }

    /// What the traffic class says about congestion.
    #[must_use]
    pub const fn ecn(&self) -> Ecn {
        Ecn::from_traffic_class(self.traffic_class)
    }

    /// The length of the fixed header in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header to the start of `buf` and returns its length.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Header::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let class = u32::from(self.traffic_class) << 20;
        let fixed = Fixed {
            version_class_flow: (6 << 28 | class | self.flow_label & FLOW_LABEL).into(),
            payload_len: self.payload_len.into(),
            next_header: self.next_header.0,
            hop_limit: self.hop_limit,
            source: self.source.octets(),
            destination: self.destination.octets(),
        };
        buf[..HEADER_LEN].copy_from_slice(fixed.as_bytes());
        HEADER_LEN
    }
}

impl<'a> View<'a> {
    fn of_version_6(packet: &'a [u8]) -> Result<Self, Malformed> {
        let view = View::new(packet).ok_or(Malformed::Truncated { length: packet.len() })?;
        match view.version() {
            6 => Ok(view),
            other => Err(Malformed::Version(other)),
        }
    }
}

impl fmt::Display for Header {
    /// `fd77::1 > fd77::2: TCP, class 0x0, flowlabel 0x12345, hlim 64, payload length 40`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { source, destination, next_header, .. } = self;
        write!(
            f,
            "{source} > {destination}: {next_header}, class {:#x}, flowlabel {:#x}, hlim {}, \
             payload length {}",
            self.traffic_class,
            self.flow_label & FLOW_LABEL,
            self.hop_limit,
            self.payload_len,
        )
    }
}
