//! A script's numbers and the stack's.
//!
//! As in packetdrill, a SYN has the initial number that the script gives it, usually 0, and all other
//! segments count from the two SYNs. The remote side is the script's, so its initial number goes
//! over the wire as it is written. Our side's is the stack's secret: the first SYN that a script
//! expects tells how far the two are apart, and a new connection between the same ports tells it
//! anew.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::ast::{Packet, TrafficClass};
use crate::segment::{Flags, Segment, TcpOption};

/// One remote end of a script, and its conversation with the stack.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// The stack's address and port.
    pub(super) local: SocketAddr,
    /// The script's.
    pub(super) remote: SocketAddr,
    /// The stack's sequence numbers minus the script's, once a SYN told.
    offset: Option<u32>,
    /// A new connection began: the next SYN of the stack may have a new number.
    renumber: bool,
    /// The script's number of the stack's SYN.
    local_start: u32,
    /// The number of the remote SYN that began the connection.
    remote_start: Option<u32>,
    /// The number of a later one: it begins another connection if the stack says so.
    candidate: Option<u32>,
    /// The stack has sent something other than a SYN since the connection began.
    handshake_over: bool,
    /// Timestamps of the stack: the script's value, and the one on the wire that had it last.
    timestamps: BTreeMap<u32, u32>,
    /// The first of them.
    first_timestamp: Option<(u32, u32)>,
    /// Every byte that the program wrote.
    written: Vec<u8>,
    /// How many bytes the program read.
    read: u32,
}

impl Flow {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            offset: None,
            renumber: true,
            local_start: 0,
            remote_start: None,
            candidate: None,
            handshake_over: false,
            timestamps: BTreeMap::new(),
            first_timestamp: None,
            written: Vec::new(),
            read: 0,
        }
    }

    /// Whether a SYN came from here.
    pub(super) fn is_used(&self) -> bool {
        self.remote_start.is_some()
    }

    /// The program connects from `local`: what follows is another connection.
    pub(super) fn connects_from(&mut self, local: SocketAddr) {
        self.local = local;
        self.remote_start = None;
        self.begin();
    }

    /// The segment that `packet` means on the wire, from the remote end to the stack.
    pub(super) fn inbound(&mut self, packet: &Packet) -> Segment {
        let syn = packet.flags.has(Flags::SYN);
        if syn && self.remote_start.is_none() {
            self.remote_start = Some(packet.seq);
        } else if syn && self.remote_start != Some(packet.seq) {
            self.candidate = Some(packet.seq);
        }
        let seq = packet.seq.wrapping_add(self.remote_base(syn));
        let first = seq.wrapping_add(u32::from(syn));
        let mut options = packet.options.clone().unwrap_or_default();
        for option in &mut options {
            match option {
                TcpOption::Timestamps { echo, .. } => *echo = self.wire_timestamp(*echo),
                TcpOption::Sack(blocks) => {
                    for (left, right) in blocks {
                        *left = self.to_wire(*left, syn);
                        *right = self.to_wire(*right, syn);
                    }
                }
                _ => {}
            }
        }
        Segment {
            traffic_class: match packet.traffic_class {
                TrafficClass::Any => 0,
                TrafficClass::Capable => 2,
                TrafficClass::Ecn(bits) | TrafficClass::Byte(bits) => bits,
            },
            ttl: packet.ttl.unwrap_or(64),
            flags: packet.flags,
            seq,
            ack: packet.ack.map_or(0, |ack| self.to_wire(ack, syn)),
            window: packet.window.unwrap_or(0),
            urgent: packet.urgent.unwrap_or(0),
            options,
            payload: self.remote_bytes(first, packet.length),
            ..Segment::new(self.remote, self.local)
        }
    }

    /// Learns from a segment of the stack that the script expects as `packet`: the first number of
    /// a connection, and which of its timestamps the script calls what.
    pub(super) fn learn(&mut self, packet: &Packet, seen: &Segment) {
        let both_syn = packet.flags.has(Flags::SYN) && seen.flags.has(Flags::SYN);
        let accepted = self.candidate.filter(|start| seen.ack == start.wrapping_add(1));
        if accepted.is_some() && (both_syn || !self.handshake_over) {
            self.remote_start = accepted;
            self.candidate = None;
            if both_syn {
                self.begin();
            }
        }
        self.handshake_over |= !seen.flags.has(Flags::SYN) && !seen.flags.has(Flags::RST);
        if both_syn && (self.renumber || self.offset.is_none()) {
            self.offset = Some(seen.seq.wrapping_sub(packet.seq));
            self.local_start = packet.seq;
            self.renumber = false;
        }
        let (wanted, found) = (packet.options.as_deref(), &seen.options);
        if let (Some(script), Some(wire)) =
            (wanted.and_then(timestamp_value), timestamp_value(found))
        {
            self.first_timestamp.get_or_insert((script, wire));
            self.timestamps.insert(script, wire);
        }
    }

    /// A segment of the stack in the script's numbers.
    pub(super) fn outbound(&self, seen: &Segment) -> Segment {
        let mut segment = seen.clone();
        // Before the first SYN was compared, it is where our numbers begin.
        let is_first = self.offset.is_none() && segment.flags.has(Flags::SYN);
        let syn = segment.flags.has(Flags::SYN);
        segment.seq = if is_first { 0 } else { segment.seq.wrapping_sub(self.local_base(syn)) };
        let base = self.remote_base(syn);
        if segment.flags.has(Flags::ACK) {
            segment.ack = segment.ack.wrapping_sub(base);
        }
        for option in &mut segment.options {
            match option {
                TcpOption::Timestamps { value, .. } => *value = self.script_timestamp(*value),
                TcpOption::Sack(blocks) => blocks.iter_mut().for_each(|(left, right)| {
                    *left = left.wrapping_sub(base);
                    *right = right.wrapping_sub(base);
                }),
                _ => {}
            }
        }
        segment
    }

    /// A sequence number of ours as it is on the wire, in a SYN or in another segment.
    pub(super) fn to_wire(&self, number: u32, syn: bool) -> u32 {
        number.wrapping_add(self.local_base(syn))
    }

    /// A number of the remote end as it is on the wire, in a segment that is no SYN.
    pub(super) fn remote_to_wire(&self, number: u32) -> u32 {
        number.wrapping_add(self.remote_base(false))
    }

    fn local_base(&self, syn: bool) -> u32 {
        let start = if syn { 0 } else { self.local_start };
        self.offset.unwrap_or(0).wrapping_add(start)
    }

    /// What the remote end's numbers count from.
    fn remote_base(&self, syn: bool) -> u32 {
        if syn { 0 } else { self.remote_start.unwrap_or(0) }
    }

    /// Makes `length` more bytes to write.
    pub(super) fn generate(&self, length: usize) -> Vec<u8> {
        let start = self.written.len();
        (start..start + length).map(|at| generated(u32::try_from(at).unwrap_or(u32::MAX))).collect()
    }

    /// The program wrote `bytes`.
    pub(super) fn wrote(&mut self, bytes: &[u8]) {
        self.written.extend(bytes);
    }

    /// Whether the payload of a segment of the stack is what the program wrote there. `seq` is in
    /// the script's numbers.
    pub(super) fn payload_was_written(&self, seq: u32, payload: &[u8]) -> bool {
        let at = seq.wrapping_sub(1) as usize;
        // A keep-alive probe may carry a byte of garbage that was acknowledged long ago.
        payload.is_empty() || self.written.get(at..at + payload.len()) == Some(payload)
    }

    /// The program read `bytes`: whether they are the next ones that the remote end sent.
    pub(super) fn was_read(&mut self, bytes: &[u8], keep: bool) -> bool {
        let start = self.remote_start.unwrap_or(0).wrapping_add(1).wrapping_add(self.read);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let right = self.remote_bytes(start, length) == bytes;
        if !keep {
            self.read = self.read.wrapping_add(length);
        }
        right
    }

    fn begin(&mut self) {
        self.renumber = true;
        self.handshake_over = false;
        self.timestamps.clear();
        self.first_timestamp = None;
        self.written.clear();
        self.read = 0;
    }

    /// The bytes of the remote stream from the number `seq` on.
    fn remote_bytes(&self, seq: u32, length: u32) -> Vec<u8> {
        let first = seq.wrapping_sub(self.remote_start.unwrap_or(0).wrapping_add(1));
        (0..length).map(|at| generated(first.wrapping_add(at))).collect()
    }

    fn wire_timestamp(&self, script: u32) -> u32 {
        match (self.timestamps.get(&script), self.first_timestamp) {
            (Some(wire), _) => *wire,
            (None, Some((first, wire))) if script != 0 => {
                script.wrapping_sub(first).wrapping_add(wire)
            }
            _ => script,
        }
    }

    fn script_timestamp(&self, wire: u32) -> u32 {
        match self.first_timestamp {
            Some((first, base)) => wire.wrapping_sub(base).wrapping_add(first),
            None => wire,
        }
    }
}

/// The value of the timestamp option.
fn timestamp_value(options: &[TcpOption]) -> Option<u32> {
    options.iter().find_map(|option| match option {
        TcpOption::Timestamps { value, .. } => Some(*value),
        _ => None,
    })
}

/// The byte at a place of a generated stream.
fn generated(at: u32) -> u8 {
    let [a, b, c, d] = at.wrapping_mul(0x9e37_79b1).to_le_bytes();
    a ^ b.rotate_left(3) ^ c ^ d
}
