//! One VLAN of a link: frames with its tag, without it (IEEE 802.1Q).
//!
//! ```
//! use link::{PairConfig, Vlan, pair};
//! use wire::ethernet::EthernetAddress;
//!
//! let stations = [1, 2].map(|last| EthernetAddress([2, 0, 0, 0, 0, last]));
//! let (end, _) = pair(PairConfig::ethernet(stations[0], stations[1], 1500))?;
//! let vlan = Vlan::new(end, 7)?;
//! assert_eq!(vlan.id(), 7);
//! # std::io::Result::Ok(())
//! ```
//!
//! What the link carries besides is another's: frames of other VLANs, and those without a tag, are passed
//! over and [counted](Vlan::others). A host in several VLANs of one cable opens the kernel's interfaces for
//! them, one [packet socket](crate::PacketSocket) each.

use std::io;

use wire::ethernet::{self, Tag, Tagged};
use wire::frame::{FrameBuf, Medium, ReceiveMeta, TransmitChecksum, TransmitMeta};
use wire::time::Instant;

use crate::{Link, check};

/// The longest header that a tag is put into: link, network and transport, each with all of its options.
const MAX_HEADER: usize = 256;

/// Where the tag stands: behind both addresses.
const PLACE: usize = 12;

/// A link that is one VLAN of another link, which carries Ethernet.
#[derive(Debug)]
pub struct Vlan<L> {
    inner: L,
    tag: Tag,
    others: u64,
}

impl<L: Link> Vlan<L> {
    /// VLAN number `id` of `inner`: 1 to 4094. Frames are sent with the lowest usual priority, 0.
    ///
    /// # Errors
    /// `InvalidInput` for another number, and for a link that does not carry Ethernet.
    pub fn new(inner: L, id: u16) -> io::Result<Self> {
        if id == 0 || id >= Tag::RESERVED_VLAN {
            return Err(check::invalid(format!("{id} is no VLAN: they are 1 to 4094")));
        }
        if inner.capabilities().medium == Medium::Ip {
            return Err(check::invalid("a VLAN is part of an Ethernet link: a TUN has none"));
        }
        let tag = Tag { priority: 0, drop_eligible: false, vlan: id };
        Ok(Self { inner, tag, others: 0 })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.tag.vlan
    }

    /// How many frames came that are not of this VLAN.
    #[must_use]
    pub fn others(&self) -> u64 {
        self.others
    }

    /// The link that it is a part of.
    #[must_use]
    pub fn inner(&self) -> &L {
        &self.inner
    }

    /// Takes the tag out of a frame of this VLAN. Whether it was one.
    fn untag(&self, frame: &mut FrameBuf) -> bool {
        let tag = Tagged::parse(frame).ok().and_then(|(tagged, _)| tagged.tag);
        if tag.is_none_or(|tag| tag.vlan != self.tag.vlan) {
            return false;
        }
        frame.copy_within(..PLACE, Tag::LEN);
        frame.advance(Tag::LEN);
        true
    }
}

impl<L: Link> Link for Vlan<L> {
    all_but_frames!(self => self.inner);

    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        while let Some(meta) = self.inner.receive(now, frame)? {
            if self.untag(frame) {
                return Ok(Some(meta));
            }
            self.others += 1;
        }
        Ok(None)
    }

    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        let mut buffer = [0; MAX_HEADER];
        let length = header.len() + Tag::LEN;
        let (Some(tagged), true) = (buffer.get_mut(..length), header.len() >= ethernet::HEADER_LEN)
        else {
            return Err(check::invalid("a header that no VLAN tag can be put into"));
        };
        let (addresses, rest) = header.split_at(PLACE);
        tagged[..PLACE].copy_from_slice(addresses);
        tagged[PLACE..PLACE + 2].copy_from_slice(&ethernet::EtherType::VLAN.0.to_be_bytes());
        tagged[PLACE + 2..PLACE + Tag::LEN].copy_from_slice(&self.tag.bits().to_be_bytes());
        tagged[PLACE + Tag::LEN..].copy_from_slice(rest);
        let checksum = match meta.checksum {
            TransmitChecksum::Partial { start, offset } => {
                // A header that fits the buffer has no place beyond it.
                TransmitChecksum::Partial { start: start.saturating_add(Tag::LEN as u16), offset }
            }
            TransmitChecksum::Complete => TransmitChecksum::Complete,
        };
        self.inner.send(now, tagged, payload, &TransmitMeta { checksum, ..*meta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::{PairConfig, PairEnd, pair};
    use wire::ethernet::{EtherType, EthernetAddress, Header};

    const NOW: Instant = Instant::ZERO;
    const US: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
    const THEM: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

    fn header() -> Vec<u8> {
        let (destination, source, ethertype) = (THEM, US, EtherType::IPV4);
        let mut bytes = vec![0; ethernet::HEADER_LEN];
        Header { destination, source, ethertype }.emit(&mut bytes);
        bytes
    }

    fn receives(link: &mut impl Link) -> Option<Vec<u8>> {
        let mut frame = FrameBuf::with_capacity(4000);
        link.receive(NOW, &mut frame).unwrap().map(|_| frame.to_vec())
    }

    fn vlan(id: u16) -> (Vlan<PairEnd>, PairEnd) {
        let (ours, theirs) = pair(PairConfig::ethernet(US, THEM, 1500)).unwrap();
        (Vlan::new(ours, id).unwrap(), theirs)
    }

    #[test]
    fn a_tag_is_put_in_and_taken_out() {
        let (mut ours, mut theirs) = vlan(7);
        ours.send(NOW, &header(), &[b"hello"], &TransmitMeta::default()).unwrap();
        let sent = receives(&mut theirs).unwrap();
        let (tagged, payload) = Tagged::parse(&sent).unwrap();
        assert_eq!(tagged.tag, Some(Tag { priority: 0, drop_eligible: false, vlan: 7 }));
        assert_eq!((tagged.header.ethertype, payload), (EtherType::IPV4, &b"hello"[..]));
        // It comes back as it was, whatever its priority.
        let mut back = sent.clone();
        back[14] |= 0xe0;
        theirs.send(NOW, &back, &[], &TransmitMeta::default()).unwrap();
        assert_eq!(receives(&mut ours).unwrap(), [&header()[..], b"hello"].concat());
    }

    #[test]
    fn what_is_not_of_the_vlan_is_counted_and_passed_over() {
        let (mut ours, mut theirs) = vlan(7);
        let mut other = header();
        other.splice(12..12, [0x81, 0x00, 0, 8]);
        let mut priority_only = header();
        priority_only.splice(12..12, [0x81, 0x00, 0xa0, 0]);
        let mut of_it = header();
        of_it.splice(12..12, [0x81, 0x00, 0, 7]);
        let cut = of_it[..15].to_vec();
        for frame in [&header(), &other, &priority_only, &cut, &of_it] {
            theirs.send(NOW, frame, &[], &TransmitMeta::default()).unwrap();
        }
        assert_eq!(receives(&mut ours), Some(header()));
        assert_eq!((receives(&mut ours), ours.others()), (None, 4));
    }

    #[test]
    fn what_is_no_vlan_is_refused() {
        for id in [0, 4095, 5000] {
            let (ours, _) = pair(PairConfig::ethernet(US, THEM, 1500)).unwrap();
            assert_eq!(Vlan::new(ours, id).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let (ours, _) = pair(PairConfig::ip(1500)).unwrap();
        assert_eq!(Vlan::new(ours, 7).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let (mut ours, mut theirs) = vlan(7);
        let short = ours.send(NOW, &header()[..13], &[], &TransmitMeta::default());
        assert_eq!(short.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(receives(&mut theirs), None);
    }
}
