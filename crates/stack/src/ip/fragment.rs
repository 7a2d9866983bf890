//! Datagrams become fragments, where they are longer than their way takes (RFC 791 3.2, RFC 6864).

use wire::frame::{FrameBuf, TransmitMeta};
use wire::ipv4::Options;

use crate::ip::interfaces::Interfaces;
use crate::ip::output::{Cut, Envelope};
use crate::ip::{InterfaceId, Route};
use crate::reason::Sent;
use crate::shared::Shared;
use crate::trace::What;
use crate::transmit::{Body, HeaderBuf, Packet};

/// A datagram on its way in pieces.
#[derive(Debug)]
pub(crate) struct Pieces {
    interface: InterfaceId,
    envelope: Envelope,
    identification: u32,
    /// The transport header and what follows it, complete.
    message: FrameBuf,
    /// How much of it left already.
    done: usize,
    /// What one piece may be long, with its headers.
    mtu: usize,
    /// What the first piece has of options; the others have those that are to be copied.
    options: Options,
}

impl Interfaces {
    /// The packet of a datagram whose transport header and payload are `message`, with its checksum;
    /// in pieces where it is too long, of which this gives the first and
    /// [`Interfaces::next_packet`] the others. `options` are those of IPv4.
    pub(crate) fn send_datagram(
        &mut self,
        header: &mut HeaderBuf,
        route: &Route,
        envelope: Envelope,
        options: Options,
        message: FrameBuf,
        reason: Sent,
    ) -> Packet {
        let meta = TransmitMeta { comment: reason.comment(), ..TransmitMeta::default() };
        let (interface, mtu) = (route.hop.interface, usize::from(route.hop.mtu));
        if envelope.ip_len() + options.len() + message.len() <= mtu {
            let header_len = envelope.emit_with(&mut header.0, options, message.len());
            return Packet { interface, header_len, body: Body::Frame(message), meta };
        }
        let identification = self.identify(&envelope);
        let mut pieces =
            Pieces { interface, envelope, identification, message, done: 0, mtu, options };
        let first = pieces.next(header, reason);
        self.pieces.push_back(pieces);
        first
    }

    /// The next piece of a datagram that is on its way.
    pub(super) fn next_piece(
        &mut self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        let pieces = self.pieces.front_mut()?;
        let reason = Sent::Fragment;
        let packet = pieces.next(header, reason);
        shared.counters.count_sent(reason);
        if let Body::Frame(piece) = &packet.body {
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let Envelope { source, destination, .. } = pieces.envelope;
            let kind = "IP fragment";
            shared.trace(None, What::PacketOut { kind, source, destination, length, reason });
        }
        if pieces.is_done()
            && let Some(spent) = self.pieces.pop_front()
        {
            shared.recycle(spent.message);
        }
        Some(packet)
    }
}

impl Pieces {
    fn next(&mut self, header: &mut HeaderBuf, reason: Sent) -> Packet {
        let options = if self.done == 0 { self.options } else { self.options.copied() };
        let room = self.mtu.saturating_sub(self.envelope.cut_ip_len() + options.len());
        // No link has less room than that; if one did, it would not carry IP.
        let step = (room & !7).max(8);
        let end = (self.done + step).min(self.message.len());
        let cut = Cut {
            // The message fits into an IP packet.
            offset: u16::try_from(self.done).unwrap_or(u16::MAX),
            more: end < self.message.len(),
            identification: self.identification,
        };
        let piece = FrameBuf::copy_from(&self.message[self.done..end]);
        let header_len = self.envelope.emit_cut(&mut header.0, &cut, options, piece.len());
        self.done = end;
        Packet {
            interface: self.interface,
            header_len,
            body: Body::Frame(piece),
            meta: TransmitMeta { comment: reason.comment(), ..TransmitMeta::default() },
        }
    }

    fn is_done(&self) -> bool {
        self.done >= self.message.len()
    }
}
