//! The Internet checksum: full, partial and incremental (RFC 1071, RFC 1624).
//!
//! A checksum is the complement of a one's complement sum of 16-bit words. [`Sum`] is that sum
//! before it is complemented; sums of parts [combine](Sum::combine) to the sum of the whole.
//!
//! ```
//! use estab_wire::checksum;
//! let header = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
//! let mut sealed = header;
//! sealed[10..12].copy_from_slice(&checksum::sum(&header).finish().to_be_bytes());
//! assert!(checksum::is_valid(&sealed));
//! ```

use core::net::IpAddr;

use crate::ip::Protocol;

/// A one's complement sum of 16-bit big-endian words, folded to 16 bits.
///
/// `0x0000` and `0xffff` are both zero in one's complement; `0x0000` is only the sum of zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u16);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Sum = Sum(0);

    /// The sum of both parts, where the part behind `self` has even length (or is the last).
    #[must_use]
    pub const fn combine(self, other: Sum) -> Sum {
        self.add_u16(other.0)
    }

    /// The sum of `self`, whose bytes are `length` many, followed by `next`.
    ///
    /// After an odd number of bytes the words of `next` straddle those of the whole, so its sum
    /// counts with its bytes swapped (RFC 1071 section 2).
    #[must_use]
    pub const fn followed_by(self, length: usize, next: Sum) -> Sum {
        if length.is_multiple_of(2) {
            self.add_u16(next.0)
        } else {
            self.add_u16(next.0.swap_bytes())
        }
    }

    /// Adds one 16-bit word.
    #[must_use]
    pub const fn add_u16(self, word: u16) -> Sum {
        let (sum, carry) = self.0.overflowing_add(word);
        Sum(sum + carry as u16)
    }

    /// Adds a 32-bit field: its two words.
    #[must_use]
    pub const fn add_u32(self, field: u32) -> Sum {
        self.add_u16((field >> 16) as u16).add_u16((field & 0xffff) as u16)
    }

    /// The checksum: the complement of the sum, as it stands in a header.
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.0
    }

    /// The sum itself. Of a pseudo-header, it is what a checksum field holds while the rest is
    /// left to offload.
    #[must_use]
    pub const fn partial(self) -> u16 {
        self.0
    }
}

/// The sum of `bytes`; an odd last byte counts as the high half of a word.
#[must_use]
pub fn sum(bytes: &[u8]) -> Sum {
    if let Ok(header) = <&[u8; 20]>::try_from(bytes) {
        return sum_header(header);
    }
    // One's complement sums do not care about byte order (RFC 1071 section 2), nor about the width
    // of the words as long as the carries come back in: add 32-bit words of the machine's order
    // into eight 64-bit lanes, which compilers turn into vector instructions, and fold at the end.
    // A lane overflows after 2^32 additions, which no slice of a packet reaches.
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut total = if blocks.is_empty() { 0 } else { sum_blocks(blocks) };
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        total = total.wrapping_add(u64::from(u32::from_ne_bytes(*word)));
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        total = total.wrapping_add(u64::from(u32::from_ne_bytes(last)));
    }
    Sum(u16::from_be_bytes(fold16(total).to_ne_bytes()))
}

/// The sum of an IPv4 header without options, which is taken of every packet.
fn sum_header(header: &[u8; 20]) -> Sum {
    let (words, _) = header.as_chunks::<4>();
    let total = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    Sum(u16::from_be_bytes(fold16(total).to_ne_bytes()))
}

/// The sum of the 32-bit words in `blocks`.
fn sum_blocks(blocks: &[[u8; 32]]) -> u64 {
    let mut lanes = [0u64; 8];
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane = lane.wrapping_add(u64::from(u32::from_ne_bytes(*word)));
        }
    }
    lanes.into_iter().map(fold32).sum()
}

/// The sum of slices that stand one behind the other, whatever their lengths.
#[must_use]
pub fn sum_slices<'a>(slices: impl IntoIterator<Item = &'a [u8]>) -> Sum {
    let mut total = Sum::ZERO;
    let mut length = 0usize;
    for slice in slices {
        total = total.followed_by(length, sum(slice));
        length = length.wrapping_add(slice.len());
    }
    total
}

/// The sum of the pseudo-header that TCP, UDP and ICMPv6 put before their own bytes.
///
/// `length` is that of the transport header and payload in bytes. One function serves both
/// families: their layouts differ only in zeros (RFC 9293 section 3.1, RFC 8200 section 8.1).
#[must_use]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: Protocol, length: u32) -> Sum {
    address(source).combine(address(destination)).add_u16(u16::from(protocol.0)).add_u32(length)
}

/// The checksum of a transport packet whose own checksum field holds zero.
///
/// A length beyond 4 GiB does not occur: it would be summed as `u32::MAX`.
#[must_use]
pub fn transport(source: IpAddr, destination: IpAddr, protocol: Protocol, packet: &[u8]) -> u16 {
    transport_sum(source, destination, protocol, packet).finish()
}

/// Whether the checksum inside a transport packet is right.
#[must_use]
pub fn is_transport_valid(
    source: IpAddr,
    destination: IpAddr,
    protocol: Protocol,
    packet: &[u8],
) -> bool {
    transport_sum(source, destination, protocol, packet).finish() == 0
}

/// Whether `bytes`, which include their checksum, sum up to what they should.
#[must_use]
pub fn is_valid(bytes: &[u8]) -> bool {
    sum(bytes).finish() == 0
}

/// The checksum after one 16-bit field under it changed from `old` to `new` (RFC 1624, equation 3).
#[must_use]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    Sum(!checksum).add_u16(!old).add_u16(new).finish()
}

/// The checksum after one 32-bit field under it changed from `old` to `new`.
#[must_use]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    Sum(!checksum).add_u32(!old).add_u32(new).finish()
}

fn transport_sum(source: IpAddr, destination: IpAddr, protocol: Protocol, packet: &[u8]) -> Sum {
    let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    pseudo_header(source, destination, protocol, length).combine(sum(packet))
}

fn address(address: IpAddr) -> Sum {
    match address {
        IpAddr::V4(v4) => Sum::ZERO.add_u32(v4.to_bits()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    }
}

/// Folds 64 bits into 33, keeping the one's complement sum of their 32-bit words.
const fn fold32(sum: u64) -> u64 {
    (sum >> 32) + (sum & 0xffff_ffff)
}

/// Folds 64 bits into 16, keeping the one's complement sum of their 16-bit words.
const fn fold16(sum: u64) -> u16 {
    let sum = fold32(fold32(sum));
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum & 0xffff) as u16
}
