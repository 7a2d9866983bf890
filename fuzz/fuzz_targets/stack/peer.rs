//! What the peer remembers: enough to aim.

use std::collections::VecDeque;

use wire::icmpv4::{self, UnreachableCode};
use wire::ip::Protocol;
use wire::ipv4;
use wire::tcp::{Flags, Header, Options, SackBlocks, Timestamps};

use crate::{Bytes, PEER, US};

/// How many segments of either direction are remembered.
const MEMORY: usize = 32;

/// What the peer knows of a connection: its ports, and what the stack expects next.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) ours: u16,
    pub(crate) theirs: u16,
    pub(crate) expects: u32,
    /// Where what the stack sent last ends.
    pub(crate) sent: u32,
    /// What the peer acknowledged last.
    acked: u32,
    pub(crate) stamp: Option<u32>,
}

/// The peer's memory.
pub(crate) struct Peer {
    known: Vec<Known>,
    /// Packets of its own.
    delivered: VecDeque<Vec<u8>>,
    /// The heads of the stack's packets, as ICMP quotes them, with the edges of their text; the
    /// newest last.
    received: VecDeque<(u32, u32, Vec<u8>)>,
}

impl Known {
    /// A plain segment behind everything that the peer sent.
    pub(crate) fn answer(&self, acknowledgment: u32, echo: bool, options: Options) -> Header {
        let timestamps = self.stamp.map(|stamp| Timestamps { value: stamp, echo: stamp });
        Header {
            source_port: self.theirs,
            destination_port: self.ours,
            sequence: self.expects,
            acknowledgment,
            flags: if echo { Flags::ACK | Flags::ECE } else { Flags::ACK },
            window: 60_000,
            options: Options { timestamps, ..options },
            ..Header::default()
        }
    }
}

impl Peer {
    pub(crate) fn new() -> Self {
        let first = Known { ours: 80, theirs: 1000, expects: 1, sent: 0, acked: 0, stamp: None };
        Self { known: vec![first], delivered: VecDeque::new(), received: VecDeque::new() }
    }

    /// One of the connections.
    pub(crate) fn known(&self, index: u8) -> Known {
        self.known[usize::from(index) % self.known.len()]
    }

    pub(crate) fn all(&self) -> Vec<Known> {
        self.known.clone()
    }

    /// The connection between two ports, or any.
    pub(crate) fn known_at(&self, ours: u16, theirs: u16) -> Known {
        let found = self.known.iter().find(|known| (known.ours, known.theirs) == (ours, theirs));
        *found.unwrap_or(&self.known[0])
    }

    /// The stack sent a segment.
    pub(crate) fn note_sent(&mut self, header: &Header, length: usize, packet: &[u8]) {
        let length = header.sequence_len(u32::try_from(length).expect("short"));
        let ports = (header.source_port, header.destination_port);
        let end = header.sequence.wrapping_add(length);
        let before = self.known.iter().position(|old| (old.ours, old.theirs) == ports);
        let before = before.map(|index| self.known.remove(index));
        self.known.push(Known {
            ours: ports.0,
            theirs: ports.1,
            expects: header.acknowledgment,
            sent: end,
            acked: before.map_or(header.sequence, |old| old.acked),
            stamp: header.options.timestamps.map(|stamps| stamps.value),
        });
        let head = packet[..packet.len().min(28)].to_vec();
        remember(&mut self.received, (header.sequence, end, head));
    }

    /// The peer sent a segment.
    pub(crate) fn note_delivered(&mut self, header: &Header, length: usize, packet: &[u8]) {
        let ports = (header.destination_port, header.source_port);
        if let Some(known) = self.known.iter_mut().find(|old| (old.ours, old.theirs) == ports) {
            if header.flags.contains(Flags::ACK) {
                known.acked = header.acknowledgment;
            }
            // More may follow before the stack says anything.
            if header.sequence == known.expects && header.flags == Flags::ACK {
                known.expects = known.expects.wrapping_add(u32::try_from(length).expect("short"));
            }
        }
        remember(&mut self.delivered, packet.to_vec());
    }

    /// Something that the peer sent.
    pub(crate) fn earlier(&self, which: u8) -> Option<Vec<u8>> {
        let index = usize::from(which) % self.delivered.len().max(1);
        self.delivered.get(index).cloned()
    }

    /// Where a remembered segment ends, counted from the newest; with 0 what was acknowledged last.
    pub(crate) fn boundary(&self, known: &Known, which: u8) -> u32 {
        match which {
            0 => known.acked,
            1..=200 => self.edges(which).map_or(known.sent, |(_, end)| end),
            _ => known.acked.wrapping_add(u32::from(which - 200)),
        }
    }

    /// Blocks about what is in flight, or beside it.
    pub(crate) fn blocks(&self, known: &Known, count: u8, bytes: &mut Bytes<'_>) -> SackBlocks {
        let mut blocks = SackBlocks::NONE;
        for _ in 0..count {
            let (kind, which) = (bytes.byte(), bytes.byte());
            let (start, end) = self.edges(which).unwrap_or((known.acked, known.sent));
            let (left, right) = match kind % 8 {
                0..=2 => (start, end),
                // Several segments, or what overlaps other blocks.
                3 => (start, known.sent),
                4 => (start.wrapping_add(u32::from(kind >> 3)), end.wrapping_sub(7)),
                // What was acknowledged, and what was never sent.
                5 => (known.acked.wrapping_sub(u32::from(kind)), known.acked),
                6 => (known.sent, known.sent.wrapping_add(u32::from(kind))),
                _ => (end, start),
            };
            blocks.push(left, right);
        }
        blocks
    }

    /// ICMP's answer to something that the stack sent.
    pub(crate) fn complain(&self, which: u8, next_hop_mtu: u16) -> Option<Vec<u8>> {
        let index = usize::from(which) % self.received.len().max(1);
        let (_, _, quoted) = self.received.get(index)?;
        let code = UnreachableCode::FRAGMENTATION_NEEDED;
        let mut packet = vec![0; 20 + 8];
        icmpv4::Header::DestinationUnreachable { code, next_hop_mtu }.emit(&mut packet[20..]);
        packet.extend_from_slice(quoted);
        icmpv4::fill_checksum(&mut packet[20..]);
        ip_header(Protocol::ICMP, 8 + quoted.len(), 0).emit(&mut packet);
        Some(packet)
    }

    fn edges(&self, which: u8) -> Option<(u32, u32)> {
        let newest = self.received.len().checked_sub(1)?;
        let (start, end, _) = &self.received[newest - usize::from(which) % self.received.len()];
        Some((*start, *end))
    }
}

/// The header of a packet from the peer.
pub(crate) fn ip_header(protocol: Protocol, length: usize, traffic_class: u8) -> ipv4::Header {
    ipv4::Header {
        source: PEER,
        destination: US,
        protocol,
        ttl: 64,
        traffic_class,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: u16::try_from(length).expect("short"),
        options: ipv4::Options::NONE,
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == MEMORY {
        list.pop_front();
    }
    list.push_back(item);
}
