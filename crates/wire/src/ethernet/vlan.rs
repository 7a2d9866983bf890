//! VLAN tags (IEEE 802.1Q section 9.6).

use core::fmt;

use super::{EtherType, Header, Malformed};

/// What a VLAN tag says. It stands behind the type [`EtherType::VLAN`], and the type of what the
/// frame carries stands behind it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tag {
    /// PCP: the priority, 0 to 7. Not in the order of its numbers: 1 is the lowest.
    pub priority: u8,
    /// DEI: may be dropped before others.
    pub drop_eligible: bool,
    /// VID: the VLAN, 1 to 4094; 0 says that the tag is for its priority only.
    pub vlan: u16,
}

const VLAN: u16 = 0x0fff;
const DROP_ELIGIBLE: u16 = 0x1000;

impl Tag {
    /// The length of a tag, with the type that follows it, in bytes.
    pub const LEN: usize = 4;

    /// The VLAN that no frame may be in (IEEE 802.1Q table 9-2).
    pub const RESERVED_VLAN: u16 = 0x0fff;

    /// Reads a tag from its two bytes.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Tag {
        Tag {
            // Three bits after the shift.
            priority: (bits >> 13) as u8,
            drop_eligible: bits & DROP_ELIGIBLE != 0,
            vlan: bits & VLAN,
        }
    }

    /// The two bytes; of the priority three bits are written, of the VLAN twelve.
    #[must_use]
    pub const fn bits(self) -> u16 {
        let drop_eligible = if self.drop_eligible { DROP_ELIGIBLE } else { 0 };
        ((self.priority & 7) as u16) << 13 | drop_eligible | self.vlan & VLAN
    }

    /// Whether the tag is for its priority only: the frame is in the VLAN of those without a tag.
    #[must_use]
    pub const fn is_priority_only(self) -> bool {
        self.vlan == 0
    }
}

impl fmt::Display for Tag {
    /// `vlan 7, p 3`, and `, DEI`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vlan {}, p {}", self.vlan, self.priority)?;
        if self.drop_eligible { f.write_str(", DEI") } else { Ok(()) }
    }
}

/// The header of a frame, with a VLAN tag or without.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tagged {
    /// The addresses, and the type of what the frame carries behind the tag.
    pub header: Header,
    /// The tag, if there is one.
    pub tag: Option<Tag>,
}

impl Tagged {
    /// Splits a frame into its header with a tag, if it has one, and its payload.
    ///
    /// # Errors
    /// As [`Header::parse`], when the tag is cut short, and when there is another inside it.
    pub fn parse(frame: &[u8]) -> Result<(Tagged, &[u8]), Malformed> {
        let (header, payload) = Header::parse(frame)?;
        if !is_tag(header.ethertype) {
            return Ok((Tagged { header, tag: None }, payload));
        }
        let (&[a, b, c, d], rest) =
            payload.split_first_chunk().ok_or(Malformed::TagTruncated { length: payload.len() })?;
        let tag = Tag::from_bits(u16::from_be_bytes([a, b]));
        let ethertype = EtherType(u16::from_be_bytes([c, d]));
        if is_tag(ethertype) {
            return Err(Malformed::StackedTags { outer: tag, inner: ethertype });
        }
        if ethertype.0 < 0x0600 {
            return Err(Malformed::NotEthernetII { length: ethertype.0 });
        }
        Ok((Tagged { header: Header { ethertype, ..header }, tag: Some(tag) }, rest))
    }

    /// The length of the header in bytes: 14, with a tag 18.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.header.encoded_len() + if self.tag.is_some() { Tag::LEN } else { 0 }
    }

    /// Writes the header, with the tag in [`EtherType::VLAN`], to the start of `buf` and returns
    /// its length.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Tagged::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let Some(tag) = self.tag else { return self.header.emit(buf) };
        let end = Header { ethertype: EtherType::VLAN, ..self.header }.emit(buf);
        buf[end..end + 2].copy_from_slice(&tag.bits().to_be_bytes());
        buf[end + 2..end + Tag::LEN].copy_from_slice(&self.header.ethertype.0.to_be_bytes());
        end + Tag::LEN
    }
}

const fn is_tag(ethertype: EtherType) -> bool {
    matches!(ethertype, EtherType::VLAN | EtherType::SERVICE_VLAN)
}

impl fmt::Display for Tagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.header, f)?;
        match self.tag {
            Some(tag) => write!(f, ", {tag}"),
            None => Ok(()),
        }
    }
}
