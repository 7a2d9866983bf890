//! The fragment header (RFC 8200 section 4.5).

use core::fmt;

use crate::ip::Protocol;

const MORE_FRAGMENTS: u16 = 1;
const OFFSET: u16 = 0xfff8;

/// What a fragment header says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fragment {
    /// What the fragmentable part of the original packet begins with. Only the first fragment's
    /// counts.
    pub next_header: Protocol,
    /// Where in the fragmentable part this fragment starts, in bytes; a multiple of 8 (emission
    /// rounds it down).
    pub offset: u16,
    /// More fragments of this packet follow.
    pub more_fragments: bool,
    /// The number that fragments of one packet share.
    pub identification: u32,
}

impl Fragment {
    /// The length of a fragment header in bytes.
    pub const LEN: usize = 8;

    /// Reads a fragment header. The reserved bits are ignored.
    #[must_use]
    pub const fn parse(bytes: &[u8; Fragment::LEN]) -> Fragment {
        let [next_header, _, high, low, a, b, c, d] = *bytes;
        let offset_flags = u16::from_be_bytes([high, low]);
        Fragment {
            next_header: Protocol(next_header),
            offset: offset_flags & OFFSET,
            more_fragments: offset_flags & MORE_FRAGMENTS != 0,
            identification: u32::from_be_bytes([a, b, c, d]),
        }
    }

    /// The header's bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Fragment::LEN] {
        let [high, low] = (self.offset & OFFSET | self.more_fragments as u16).to_be_bytes();
        let [a, b, c, d] = self.identification.to_be_bytes();
        [self.next_header.0, 0, high, low, a, b, c, d]
    }

    /// Whether the packet is whole in spite of this header: it is handled by itself, and never
    /// meets other fragments of the same identification (RFC 6946).
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more_fragments
    }
}

impl fmt::Display for Fragment {
    /// `frag (0x00000007, offset 1448, +) TCP`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.more_fragments { ", +" } else { "" };
        let Fragment { next_header, offset, identification, .. } = self;
        write!(f, "frag ({identification:#010x}, offset {offset}{more}) {next_header}")
    }
}
