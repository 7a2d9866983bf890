//! The packets that ICMP errors quote.

use super::{View, kind};
use crate::ip::Protocol;
use crate::ipv4;

/// The packet that an ICMP error is about, as far as the error quotes it: the IP header and at
/// least 8 bytes behind it from a careful router (RFC 792), more from a newer one (RFC 1812
/// section 4.3.2.3). It is what some machine on the way claims; who acts on it checks it first
/// (RFC 5927).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted<'a> {
    /// The header of the packet. Its source is, if the quote is honest, ourselves.
    pub header: ipv4::Header,
    /// What is quoted of its payload; perhaps nothing.
    pub transport: &'a [u8],
}

impl Quoted<'_> {
    /// The source and the destination port, if the packet is the start of one of TCP or UDP.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        if !matches!(self.header.protocol, Protocol::TCP | Protocol::UDP) {
            return None;
        }
        let [a, b, c, d] = *self.start()?.first_chunk()?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// The sequence number, if the packet is the start of a TCP segment.
    #[must_use]
    pub fn sequence(&self) -> Option<u32> {
        if self.header.protocol != Protocol::TCP {
            return None;
        }
        let (_, sequence) = self.start()?.first_chunk::<8>()?.split_last_chunk()?;
        Some(u32::from_be_bytes(*sequence))
    }

    /// The identifier and the sequence number, if the packet is an echo or a timestamp request.
    #[must_use]
    pub fn echo(&self) -> Option<(u16, u16)> {
        if self.header.protocol != Protocol::ICMP {
            return None;
        }
        let view = View::new(self.start()?)?;
        matches!(view.kind(), kind::ECHO_REQUEST | kind::TIMESTAMP_REQUEST)
            .then(|| (view.identifier(), view.sequence()))
    }

    /// The transport bytes, unless the packet is a fragment that lacks the transport header.
    fn start(&self) -> Option<&[u8]> {
        (self.header.fragment_offset == 0).then_some(self.transport)
    }
}
