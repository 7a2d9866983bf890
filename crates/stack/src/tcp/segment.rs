//! A segment that arrived, in the words of RFC 9293 3.3.1.

use wire::tcp::{Flags, Header, Timestamps};

use crate::FourTuple;
use crate::ip::InterfaceId;
use crate::tcp::ecn::Codepoint;
use crate::tcp::seq::Seq;

/// The current segment: its header's fields as variables, its text beside it in a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Whose it is, from our side.
    pub(crate) tuple: FourTuple,
    /// Everything that the header says.
    pub(crate) header: Header,
    /// SEG.SEQ.
    pub(crate) seq: Seq,
    /// SEG.ACK; means something when the ACK flag is set.
    pub(crate) ack: Seq,
    /// The payload's length in bytes, SYN and FIN not counted.
    pub(crate) length: u32,
    /// What else its IP header says, and where it came from.
    pub(crate) origin: Origin,
    /// How many segments it was on the wire: more than one when the link joined them.
    pub(crate) packets: u32,
}

/// Where a segment came from, beside its addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// The interface it came by.
    pub(crate) interface: InterfaceId,
}

impl Default for Origin {
    fn default() -> Self {
        Self { ttl: 0, traffic_class: 0, interface: InterfaceId::LOOPBACK }
    }
}

impl Segment {
    pub(crate) fn new(tuple: FourTuple, header: Header, length: u32, packets: u32) -> Self {
        Self {
            tuple,
            header,
            seq: Seq(header.sequence),
            ack: Seq(header.acknowledgment),
            length,
            origin: Origin::default(),
            packets,
        }
    }

    /// The same, from `origin`.
    pub(crate) fn from(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// The ECN field of its IP header; a super-segment has that of all its packets.
    pub(crate) fn codepoint(&self) -> Codepoint {
        Codepoint::of(self.origin.traffic_class)
    }

    pub(crate) fn has(&self, flags: Flags) -> bool {
        self.header.flags.contains(flags)
    }

    pub(crate) fn syn(&self) -> bool {
        self.has(Flags::SYN)
    }

    pub(crate) fn fin(&self) -> bool {
        self.has(Flags::FIN)
    }

    pub(crate) fn rst(&self) -> bool {
        self.has(Flags::RST)
    }

    pub(crate) fn acks(&self) -> bool {
        self.has(Flags::ACK)
    }

    /// SEG.LEN: the sequence space that it takes, counting SYN and FIN.
    pub(crate) fn sequence_length(&self) -> u32 {
        self.length + u32::from(self.syn()) + u32::from(self.fin())
    }

    /// The sequence number after its last.
    pub(crate) fn end(&self) -> Seq {
        self.seq.plus(self.sequence_length())
    }

    pub(crate) fn timestamps(&self) -> Option<Timestamps> {
        self.header.options.timestamps
    }
}
