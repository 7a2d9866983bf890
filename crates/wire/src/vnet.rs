//! The header that TUN and TAP put before a packet when offload is on (linux/virtio_net.h).
//!
//! `IFF_VNET_HDR` makes every read and write of the device begin with these 10 bytes. They are in
//! the machine's byte order unless `TUNSETVNETLE` or `TUNSETVNETBE` was asked for.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The length of the header in bytes.
pub const HEADER_LEN: usize = 10;

bitflags::bitflags! {
    /// What was or must be done about the checksum.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Flags: u8 {
        /// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the transport checksum is to be completed, as
        /// `csum_start` and `csum_offset` say.
        const NEEDS_CSUM = 1;
        /// `VIRTIO_NET_HDR_F_DATA_VALID`: the checksum was verified.
        const DATA_VALID = 2;
        /// `VIRTIO_NET_HDR_F_RSC_INFO`: the checksum fields hold coalescing counts instead.
        const RSC_INFO = 4;
        const _ = !0;
    }
}

/// What kind of super-segment the packet is (`VIRTIO_NET_HDR_GSO_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct GsoType(pub u8);

impl GsoType {
    /// One packet, not a super-segment.
    pub const NONE: GsoType = GsoType(0);
    /// TCP over IPv4.
    pub const TCPV4: GsoType = GsoType(1);
    /// UDP, to be fragmented by IP; obsolete.
    pub const UDP: GsoType = GsoType(3);
    /// TCP over IPv6.
    pub const TCPV6: GsoType = GsoType(4);
    /// UDP, to be cut into datagrams.
    pub const UDP_L4: GsoType = GsoType(5);
    /// The bit that says: only the first segment carries the TCP flag CWR.
    pub const ECN: u8 = 0x80;

    /// The kind without [`GsoType::ECN`].
    #[must_use]
    pub const fn kind(self) -> GsoType {
        GsoType(self.0 & !Self::ECN)
    }

    /// Whether [`GsoType::ECN`] is set.
    #[must_use]
    pub const fn has_ecn(self) -> bool {
        self.0 & Self::ECN != 0
    }
}

impl fmt::Debug for GsoType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind() {
            GsoType::NONE => "none",
            GsoType::TCPV4 => "tcpv4",
            GsoType::UDP => "udp",
            GsoType::TCPV6 => "tcpv6",
            GsoType::UDP_L4 => "udp_l4",
            GsoType(other) => return write!(f, "gso {other:#04x}"),
        };
        f.write_str(name)?;
        if self.has_ecn() { f.write_str("+ecn") } else { Ok(()) }
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Fixed {
    flags: u8,
    gso_type: u8,
    hdr_len: [u8; 2],
    gso_size: [u8; 2],
    csum_start: [u8; 2],
    csum_offset: [u8; 2],
}

/// `struct virtio_net_hdr`. Any ten bytes are one, so reading it cannot fail but by length;
/// whether its offsets lie inside the packet is for the reader to check.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Header {
    /// What was or must be done about the checksum.
    pub flags: Flags,
    /// The kind of super-segment.
    pub gso_type: GsoType,
    /// The length of all headers of the packet in bytes; a hint.
    pub hdr_len: u16,
    /// The payload size of each segment in bytes.
    pub gso_size: u16,
    /// Where the checksummed part starts, in bytes from the start of the packet.
    pub csum_start: u16,
    /// Where the checksum belongs, in bytes from `csum_start`.
    pub csum_offset: u16,
}

impl Header {
    /// Splits what was read from the device into the header and the packet; `None` when it is
    /// shorter than [`HEADER_LEN`].
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Header, &[u8])> {
        let (fixed, packet) = Fixed::ref_from_prefix(bytes).ok()?;
        let header = Header {
            flags: Flags::from_bits_retain(fixed.flags),
            gso_type: GsoType(fixed.gso_type),
            hdr_len: u16::from_ne_bytes(fixed.hdr_len),
            gso_size: u16::from_ne_bytes(fixed.gso_size),
            csum_start: u16::from_ne_bytes(fixed.csum_start),
            csum_offset: u16::from_ne_bytes(fixed.csum_offset),
        };
        Some((header, packet))
    }

    /// The header's bytes, as they stand before the packet.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let fixed = Fixed {
            flags: self.flags.bits(),
            gso_type: self.gso_type.0,
            hdr_len: self.hdr_len.to_ne_bytes(),
            gso_size: self.gso_size.to_ne_bytes(),
            csum_start: self.csum_start.to_ne_bytes(),
            csum_offset: self.csum_offset.to_ne_bytes(),
        };
        zerocopy::transmute!(fixed)
    }

    /// Writes the header to the start of `buf` and returns its length.
    ///
    /// # Panics
    /// When `buf` is shorter than [`HEADER_LEN`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        buf[..HEADER_LEN].copy_from_slice(&self.to_bytes());
        HEADER_LEN
    }
}
