//! The packets that ICMPv6 errors quote.

use super::{View, kind};
use crate::ip::{Outline, Piece, Protocol};
use crate::ipv6;

/// The packet that an ICMPv6 error is about, as far as the error quotes it: as much as fits into
/// the least MTU. It is what some machine on the way claims; who acts on it checks it first
/// (RFC 5927).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted<'a> {
    /// The fixed header of the packet. Its source is, if the quote is honest, ourselves.
    pub header: ipv6::Header,
    /// What the packet carries behind its extension headers.
    pub protocol: Protocol,
    /// Which piece of a packet it is; `None` of one that was whole.
    pub fragment: Option<Piece>,
    /// What is quoted of the transport; perhaps nothing.
    pub transport: &'a [u8],
}

impl<'a> Quoted<'a> {
    pub(super) fn read(packet: &'a [u8]) -> Option<Quoted<'a>> {
        let (header, _) = ipv6::Header::parse_quoted(packet).ok()?;
        let Outline { protocol, fragment, start, end, .. } = Outline::of(packet)?;
        let transport = packet.get(start..end.min(packet.len())).unwrap_or_default();
        Some(Quoted { header, protocol, fragment, transport })
    }

    /// The source and the destination port, if the packet is the start of one of TCP or UDP.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let start = match self.protocol {
            Protocol::TCP => self.start(Protocol::TCP)?,
            _ => self.start(Protocol::UDP)?,
        };
        let [a, b, c, d] = *start.first_chunk()?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// The sequence number, if the packet is the start of a TCP segment.
    #[must_use]
    pub fn sequence(&self) -> Option<u32> {
        let start = self.start(Protocol::TCP)?;
        let (_, sequence) = start.first_chunk::<8>()?.split_last_chunk()?;
        Some(u32::from_be_bytes(*sequence))
    }

    /// The identifier and the sequence number, if the packet is an echo request.
    #[must_use]
    pub fn echo(&self) -> Option<(u16, u16)> {
        self.echo_of(kind::ECHO_REQUEST)
    }

    /// The same of an echo reply.
    #[must_use]
    pub fn echo_reply(&self) -> Option<(u16, u16)> {
        self.echo_of(kind::ECHO_REPLY)
    }

    fn echo_of(&self, kind: u8) -> Option<(u16, u16)> {
        let view = View::new(self.start(Protocol::ICMPV6)?)?;
        (view.kind() == kind).then(|| (view.identifier(), view.sequence()))
    }

    /// The transport bytes, if they are the start of a packet of `protocol`. A first fragment may
    /// have more extension headers behind its fragment header; then its protocol is not that.
    fn start(&self, protocol: Protocol) -> Option<&'a [u8]> {
        let is_start = self.fragment.is_none_or(|piece| piece.offset == 0);
        (is_start && self.protocol == protocol).then_some(self.transport)
    }
}
