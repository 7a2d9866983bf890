//! Datagrams with what `sendmsg` and `recvmsg` carry beside them, several at a time.
//!
//! To send many datagrams of one length to one peer, a program writes them one behind the other and says
//! where to cut (`UDP_SEGMENT`). A link that cuts does so, else the stack; what came as one buffer is read
//! as one (`UDP_GRO`), whoever put it together.

use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;

use wire::frame::FrameBuf;
use wire::ipv4::Options;
use wire::time::Instant;

use super::socket::{Outgoing, Socket};
use crate::UdpId;
use crate::binding::unmapped;
use crate::error::Error;
use crate::ip::InterfaceId;
use crate::stack::Stack;

/// What [`Stack::udp_send_message`] sends: a datagram, or several of one length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpTransmit<'a> {
    /// To whom; `None` is the peer that the socket is connected to.
    pub destination: Option<SocketAddr>,
    /// The bytes of the datagram, or of all.
    pub payload: &'a [u8],
    /// `UDP_SEGMENT`: the length in bytes of each datagram, the last of which may be shorter. `None`
    /// sends one.
    pub segment_size: Option<usize>,
    /// `IP_PKTINFO`: from which of our addresses; `None` is the one that the socket is bound to, or that
    /// the route gives.
    pub source: Option<IpAddr>,
    /// `IP_TOS`, `IPV6_TCLASS`: DSCP and ECN.
    pub traffic_class: u8,
    /// `IP_TTL`, `IPV6_HOPLIMIT`: in place of what the socket has, also to a group. Zero is refused.
    pub ttl: Option<u8>,
    /// `IP_OPTIONS`: the options of IPv4, in place of what the socket has
    /// ([`Stack::udp_set_options`]). Over IPv6 they mean nothing.
    pub options: Option<Options>,
}

impl<'a> UdpTransmit<'a> {
    /// One datagram with nothing beside it.
    #[must_use]
    pub const fn new(destination: Option<SocketAddr>, payload: &'a [u8]) -> Self {
        Self {
            destination,
            payload,
            segment_size: None,
            source: None,
            traffic_class: 0,
            ttl: None,
            options: None,
        }
    }
}

/// What [`Stack::udp_receive_message`] read: a datagram, or several of one length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UdpReceived {
    /// Who sent it.
    pub source: SocketAddr,
    /// Whom it was sent to (`IP_PKTINFO`): one of our addresses, a group's or everybody's.
    pub destination: IpAddr,
    /// How many bytes were read.
    pub length: usize,
    /// The length of each datagram among them (`UDP_GRO`), the last of which may be shorter.
    pub stride: usize,
    /// DSCP and ECN, the same of all.
    pub traffic_class: u8,
    /// TTL or hop limit, the same of all (`IP_RECVTTL`, `IPV6_RECVHOPLIMIT`).
    pub ttl: u8,
    /// The options of IPv4, the same of all (`IP_RECVOPTS`); in a recorded route and in timestamps we are the
    /// last, where there was room (RFC 1122 3.2.1.8).
    pub options: Options,
    /// Where it came in.
    pub interface: InterfaceId,
}

impl UdpReceived {
    /// A datagram of `next` came the same way and may follow this.
    fn is_followed_by(&self, next: &UdpReceived) -> bool {
        let whole = self.length.is_multiple_of(self.stride.max(1));
        whole
            && next.length <= self.stride
            && next.length > 0
            && (next.source, next.destination) == (self.source, self.destination)
            && (next.traffic_class, next.ttl) == (self.traffic_class, self.ttl)
            && next.interface == self.interface
            && next.options == self.options
    }
}

/// UDP messages.
impl Stack {
    /// Queues one datagram, or several of one length to one peer, and gives the number of all their
    /// bytes.
    ///
    /// # Errors
    /// Those of [`Stack::udp_send_to`], of which [`Error::MessageTooBig`] also when all of them are longer
    /// than the longest datagram; those of [`Stack::udp_set_options`]; [`Error::InvalidInput`] for a segment size or a TTL of zero, or a source
    /// of another family than the peer; [`Error::AddressNotAvailable`] for a source that is not ours, or not what
    /// the socket is bound to; [`Error::NotConnected`] without a peer.
    pub fn udp_send_message(
        &mut self,
        now: Instant,
        id: UdpId,
        message: &UdpTransmit<'_>,
    ) -> Result<usize, Error> {
        let socket = self.udp.socket(id)?;
        let destination = message.destination.or(socket.remote).ok_or(Error::NotConnected)?;
        let local = match message.source {
            None => socket.local,
            Some(source) => {
                let from = unmapped(SocketAddr::new(source, socket.local.port()));
                let bound = socket.local.ip();
                let is_bound = bound == from.ip() || bound.is_unspecified();
                if !is_bound || !self.interfaces.is_local(from.ip()) {
                    return Err(Error::AddressNotAvailable);
                }
                from
            }
        };
        self.send_datagram(now, id, local, destination, message)
    }

    /// Takes the next datagram and those behind it that came from the same peer with the same length,
    /// as long as `buffer` has room for them.
    ///
    /// # Errors
    /// Those of [`Stack::udp_receive_from`].
    pub fn udp_receive_message(
        &mut self,
        id: UdpId,
        buffer: &mut [u8],
    ) -> Result<UdpReceived, Error> {
        let mut all = self.read_datagram(id, buffer)?;
        all.stride = all.length;
        while all.length > 0
            && let Some(next) = self.udp.socket(id)?.next_received()
            && all.is_followed_by(&next)
            && let Some(room) = buffer.get_mut(all.length..all.length + next.length)
        {
            all.length += self.read_datagram(id, room)?.length;
        }
        Ok(all)
    }

    /// Takes the next datagram alone, as far as it fits `buffer`: who wants them one by one.
    ///
    /// # Errors
    /// Those of [`Stack::udp_receive_from`].
    pub fn udp_receive_datagram(
        &mut self,
        id: UdpId,
        buffer: &mut [u8],
    ) -> Result<UdpReceived, Error> {
        self.read_datagram(id, buffer)
    }

    /// Takes the next datagram, as far as it fits.
    pub(super) fn read_datagram(
        &mut self,
        id: UdpId,
        buffer: &mut [u8],
    ) -> Result<UdpReceived, Error> {
        let socket = self.udp.socket_mut(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let (received, spent) = socket.read(buffer).ok_or_else(|| socket.nothing())?;
        if let Some(frame) = spent {
            self.udp.flow_was_read(id, &frame);
            self.shared.recycle(frame);
        }
        Ok(received)
    }
}

impl Socket {
    /// What the next datagram is, whole.
    fn next_received(&self) -> Option<UdpReceived> {
        let datagram = self.first_received()?;
        let length = datagram.next().len();
        Some(UdpReceived {
            source: self.show(datagram.source),
            destination: self.show(SocketAddr::new(datagram.destination, 0)).ip(),
            length,
            stride: length,
            traffic_class: datagram.traffic_class,
            ttl: datagram.ttl,
            options: datagram.options.as_deref().copied().unwrap_or_default(),
            interface: datagram.interface,
        })
    }

    /// Copies the next datagram to `buffer`, as far as it fits; gives its frame when nothing is left
    /// in that.
    fn read(&mut self, buffer: &mut [u8]) -> Option<(UdpReceived, Option<FrameBuf>)> {
        let next = self.next_received()?;
        let length = self.peek(buffer)?;
        let received = UdpReceived { length, ..next };
        Some((received, self.pass_over(next.length)))
    }

    /// Copies the next datagram to `buffer` and leaves it there.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> Option<usize> {
        let payload = self.first_received()?.next();
        let length = payload.len().min(buffer.len());
        buffer[..length].copy_from_slice(&payload[..length]);
        Some(length)
    }
}

impl Outgoing {
    /// The first of several datagrams, and the others. The others keep the buffer, which is what the
    /// socket's queue is charged for.
    pub(super) fn cut(mut self, size: NonZeroU16) -> (Self, Option<Self>) {
        let length = usize::from(size.get());
        if self.payload.len() <= length {
            self.segment_size = None;
            return (self, None);
        }
        let payload = FrameBuf::copy_from(&self.payload[..length]);
        self.payload.advance(length);
        (Self { payload, segment_size: None, ..self }, Some(self))
    }
}
