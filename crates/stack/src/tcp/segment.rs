//! A segment that arrived, in the words of RFC 9293 3.3.1.

use wire::tcp::{Flags, Header, Timestamps};

use crate::FourTuple;
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
    /// The ECN field of its IP header; a super-segment has that of all its packets.
    pub(crate) codepoint: Codepoint,
    /// How many segments it was on the wire: more than one when the link joined them.
    pub(crate) packets: u32,
}

impl Segment {
    pub(crate) fn new(tuple: FourTuple, header: Header, length: u32, packets: u32) -> Self {
        Self {
            tuple,
            header,
            seq: Seq(header.sequence),
            ack: Seq(header.acknowledgment),
            length,
            codepoint: Codepoint::NotEct,
            packets,
        }
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
