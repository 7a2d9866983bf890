//! What the sender did, as the wire shows it: alike for every stack, whatever it says of itself.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use wire::tcp::{self, Flags};
use wire::{ip, ipv4};

/// Counts of the data segments of one direction of one connection, of less than 4 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Segments {
    /// Sent, each time that it was.
    pub(super) sent: u64,
    /// Sent although all or a part of it had been sent before.
    pub(super) retransmitted: u64,
    /// Arrived although all of it had arrived before: the retransmission was spurious.
    pub(super) spurious: u64,
}

/// Watches the data of one direction before and behind the impairment.
#[derive(Debug, Default)]
pub(super) struct Tally {
    segments: Segments,
    /// The sequence number of the first byte.
    first: Option<u32>,
    /// How many bytes from the first were sent.
    highest: u32,
    /// What arrived: starts with ends, none of which touch. In bytes from the first.
    arrived: BTreeMap<u32, u32>,
}

impl Tally {
    /// The counts so far.
    pub(super) fn segments(&self) -> Segments {
        self.segments
    }

    /// A packet, or a super-segment with the size of its segments, leaves the sender.
    pub(super) fn note_sent(&mut self, packet: &[u8], segment_size: Option<NonZeroU16>) {
        let Some((start, end)) = self.place(packet) else { return };
        let length = end - start;
        let size = segment_size.map_or(length, |size| size.get().into());
        self.segments.sent += u64::from(length.div_ceil(size));
        let again = self.highest.saturating_sub(start).min(length);
        self.segments.retransmitted += u64::from(again.div_ceil(size));
        self.highest = self.highest.max(end);
    }

    /// A packet reaches the receiver.
    pub(super) fn note_arrived(&mut self, packet: &[u8]) {
        let Some((mut start, mut end)) = self.place(packet) else { return };
        let before = self.arrived.range(..=start).next_back().map(|(start, end)| (*start, *end));
        if let Some((earlier, its_end)) = before.filter(|(_, its_end)| *its_end >= start) {
            if its_end >= end {
                self.segments.spurious += 1;
                return;
            }
            start = earlier;
        }
        let touched: Vec<u32> = self.arrived.range(start..=end).map(|(start, _)| *start).collect();
        for other in touched {
            end = end.max(self.arrived.remove(&other).unwrap_or(end));
        }
        self.arrived.insert(start, end);
    }

    /// Which bytes of the stream a packet carries; `None`: none.
    fn place(&mut self, packet: &[u8]) -> Option<(u32, u32)> {
        let datagram = ipv4::View::new(packet)?;
        if datagram.protocol() != ip::Protocol::TCP {
            return None;
        }
        let segment = tcp::View::new(datagram.payload())?;
        if segment.flags().contains(Flags::SYN) {
            self.first = Some(segment.sequence().wrapping_add(1));
        }
        let start = segment.sequence().wrapping_sub(self.first?);
        let length = u32::try_from(segment.payload().len()).ok()?;
        (length > 0).then(|| (start, start.saturating_add(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet whose payload starts at `sequence`.
    fn packet(sequence: u32, flags: Flags, length: usize) -> Vec<u8> {
        let header = tcp::Header { sequence, flags, ..tcp::Header::default() };
        let mut bytes = vec![0; 20 + header.encoded_len() + length];
        header.emit(&mut bytes[20..]);
        bytes[0] = 0x45;
        let total = u16::try_from(bytes.len()).unwrap();
        bytes[2..4].copy_from_slice(&total.to_be_bytes());
        bytes[9] = 6;
        bytes
    }

    fn begun() -> Tally {
        let mut tally = Tally::default();
        // Sequence numbers wrap within the stream.
        tally.note_sent(&packet(u32::MAX - 150, Flags::SYN, 0), None);
        tally
    }

    fn data(offset: u32, length: usize) -> Vec<u8> {
        packet((u32::MAX - 149).wrapping_add(offset), Flags::ACK, length)
    }

    #[test]
    fn what_is_sent_again_is_a_retransmission() {
        let mut tally = begun();
        tally.note_sent(&data(0, 100), None);
        tally.note_sent(&data(100, 250), NonZeroU16::new(100));
        assert_eq!(tally.segments(), Segments { sent: 4, ..Segments::default() });
        tally.note_sent(&data(100, 100), None);
        // The first of these three was sent before.
        tally.note_sent(&data(300, 300), NonZeroU16::new(100));
        assert_eq!(tally.segments().sent, 8);
        assert_eq!(tally.segments().retransmitted, 2);
    }

    #[test]
    fn what_arrives_again_is_spurious() {
        let mut tally = begun();
        for offset in [0, 200, 100, 400] {
            tally.note_arrived(&data(offset, 100));
        }
        assert_eq!(tally.segments().spurious, 0);
        assert_eq!(tally.arrived, BTreeMap::from([(0, 300), (400, 500)]));
        tally.note_arrived(&data(100, 100));
        tally.note_arrived(&data(400, 50));
        assert_eq!(tally.segments().spurious, 2);
        // Of these only a part was there.
        tally.note_arrived(&data(250, 100));
        tally.note_arrived(&data(340, 200));
        assert_eq!(tally.segments().spurious, 2);
        assert_eq!(tally.arrived, BTreeMap::from([(0, 540)]));
    }

    #[test]
    fn acknowledgments_carry_nothing() {
        let mut tally = begun();
        tally.note_sent(&data(0, 0), None);
        tally.note_arrived(&data(0, 0));
        assert_eq!(tally.segments(), Segments::default());
    }
}
