//! Datagrams to groups and to everybody on a link: which sockets hear them, and how they are sent
//! (RFC 1112 6 and 7, RFC 1122 4.1.3.6, RFC 3493 5.2).
//!
//! How groups are joined is the affair of `membership`. A socket hears a group on the interface where it joined it itself, not because another socket did
//! (Linux's `IP_MULTICAST_ALL` off). Several sockets that [share](Stack::udp_bind_shared) a port hear
//! each such datagram, all of them.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use wire::frame::{FrameBuf, ReceiveChecksum, ReceiveMeta};
use wire::udp;

use super::Udp;
use super::arrives::keep;
use super::socket::{Datagram, Outgoing, Socket};
use crate::config::UdpOptions;
use crate::error::Error;
use crate::event::{Ready, SocketId};
use crate::ip::{
    Came, Envelope, Filter, Incoming, InterfaceId, Interfaces, LinkHeader, is_never_told,
};
use crate::reason::Dropped;
use crate::shared::Shared;
use crate::stack::Stack;
use crate::{FourTuple, UdpId};

/// How many datagrams to groups may be on their way to our own sockets.
const ECHO_LIMIT: usize = 256;

/// What a socket has set about groups and broadcasts.
#[derive(Debug)]
pub(super) struct Casting {
    /// It may send to everybody on a link.
    broadcast: bool,
    /// The TTL of what goes to groups.
    ttl: u8,
    /// Our own sockets hear what it sends to groups.
    heard_here: bool,
    /// Where it sends to groups.
    interface: Option<InterfaceId>,
    pub(super) joined: Vec<Joined>,
    /// Others may have its port, too.
    pub(super) shared: bool,
}

/// A group that the socket is in.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) interface: InterfaceId,
    pub(super) group: IpAddr,
    /// From whom it hears it.
    pub(super) filter: Filter,
}

impl Default for Casting {
    /// RFC 1112 6.1: a TTL of 1 unless the program asks for more.
    fn default() -> Self {
        let joined = Vec::new();
        Self { broadcast: false, ttl: 1, heard_here: true, interface: None, joined, shared: false }
    }
}

/// UDP sockets, groups and broadcasts.
impl Stack {
    /// A UDP socket like that of [`Stack::udp_bind`], whose address and port others may have that are
    /// bound in the same way (`SO_REUSEADDR`). Each of them hears what goes to a group that it joined and
    /// to everybody; what goes to one host goes to the one of them that was bound last. It can also be
    /// bound to a group's address, and then hears nothing else.
    ///
    /// # Errors
    /// Those of [`Stack::udp_bind`].
    pub fn udp_bind_shared(&mut self, local: SocketAddr) -> Result<UdpId, Error> {
        self.udp_bind_with(local, UdpOptions { shared: true, ..UdpOptions::default() })
    }

    /// `IP_MULTICAST_IF`: datagrams to groups leave by the interface that has this address; an
    /// unspecified one lets routes decide again.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when no interface has it; [`Error::NoSuchSocket`] when the socket
    /// is closed.
    pub fn udp_set_multicast_interface_v4(
        &mut self,
        id: UdpId,
        address: Ipv4Addr,
    ) -> Result<(), Error> {
        let interface = match address.is_unspecified() {
            true => None,
            false => Some(
                self.interfaces.interface_of(address.into()).ok_or(Error::AddressNotAvailable)?,
            ),
        };
        self.udp.socket_mut(id)?.casting.interface = interface;
        Ok(())
    }

    /// `IPV6_MULTICAST_IF`: datagrams to groups leave by the interface with this number; 0 lets routes
    /// decide again.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when there is none; [`Error::NoSuchSocket`] when the socket is
    /// closed.
    pub fn udp_set_multicast_interface_v6(&mut self, id: UdpId, number: u32) -> Result<(), Error> {
        let interface = match number {
            0 => None,
            number => Some(self.with_number(number).ok_or(Error::AddressNotAvailable)?),
        };
        self.udp.socket_mut(id)?.casting.interface = interface;
        Ok(())
    }

    /// `IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`: how far datagrams to groups go; 1, the default, stays
    /// on the link, 0 on this host.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_set_multicast_ttl(&mut self, id: UdpId, ttl: u8) -> Result<(), Error> {
        self.udp.socket_mut(id)?.casting.ttl = ttl;
        Ok(())
    }

    /// What [`Stack::udp_set_multicast_ttl`] set.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_multicast_ttl(&self, id: UdpId) -> Result<u8, Error> {
        Ok(self.udp.socket(id)?.casting.ttl)
    }

    /// `IP_MULTICAST_LOOP`: whether sockets of this stack hear what this one sends to groups. They do
    /// unless it is set.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_set_multicast_loop(&mut self, id: UdpId, on: bool) -> Result<(), Error> {
        self.udp.socket_mut(id)?.casting.heard_here = on;
        Ok(())
    }

    /// What [`Stack::udp_set_multicast_loop`] set.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_multicast_loop(&self, id: UdpId) -> Result<bool, Error> {
        Ok(self.udp.socket(id)?.casting.heard_here)
    }

    /// `SO_BROADCAST`: whether the socket may send to everybody on a link. It may not unless it is set,
    /// so that nobody does so by accident (RFC 1122 4.1.3.6).
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_set_broadcast(&mut self, id: UdpId, on: bool) -> Result<(), Error> {
        self.udp.socket_mut(id)?.casting.broadcast = on;
        Ok(())
    }

    /// What [`Stack::udp_set_broadcast`] set.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_broadcast(&self, id: UdpId) -> Result<bool, Error> {
        Ok(self.udp.socket(id)?.casting.broadcast)
    }

    /// Our own sockets hear what was sent to groups and to everybody.
    pub(crate) fn echo_datagrams(&mut self) {
        while let Some((interface, frame)) = self.udp.echoes.pop_front() {
            let meta = ReceiveMeta { checksum: ReceiveChecksum::Verified, segment_size: None };
            let ours =
                self.steering.sort_packet(&mut self.shared, interface, frame, meta, Came::FromUs);
            if let Some(frame) = ours {
                self.packet_arrives(interface, frame, meta, Came::FromUs);
            }
        }
    }
}

impl Casting {
    pub(super) fn joined(&self, interface: InterfaceId, group: IpAddr) -> Option<&Joined> {
        let is_it = |joined: &&Joined| (joined.interface, joined.group) == (interface, group);
        self.joined.iter().find(is_it)
    }
}

impl Socket {
    /// Where a datagram to a group comes from, with what TTL, and whether it may go at all.
    pub(super) fn casts(
        &self,
        interfaces: &Interfaces,
        source: Option<IpAddr>,
        destination: IpAddr,
    ) -> Result<(Option<IpAddr>, Option<u8>, bool), Error> {
        let Casting { broadcast, ttl, heard_here, interface, .. } = self.casting;
        if destination.is_multicast() {
            let source = match (source, interface) {
                (None, Some(interface)) => interfaces.source_on(interface, destination),
                _ => source,
            };
            return Ok((source, Some(ttl), heard_here));
        }
        if !interfaces.is_broadcast(destination) {
            return Ok((source, self.ttl, false));
        }
        if broadcast { Ok((source, self.ttl, true)) } else { Err(Error::PermissionDenied) }
    }

    /// Whether the socket wants to hear what goes to the group from this source; in what everybody is
    /// in, a socket that did not say so hears everybody.
    fn hears_from(&self, interface: InterfaceId, flow: &FourTuple) -> bool {
        let joined = self.casting.joined(interface, flow.local.ip());
        joined.is_none_or(|joined| joined.filter.accepts(flow.remote.ip()))
    }

    /// Whether a datagram to a group, or to everybody, is for this socket, if it hears its source.
    fn is_addressed(&self, interface: InterfaceId, flow: &FourTuple) -> bool {
        let (group, bound) = (flow.local.ip(), self.local.ip());
        let addressed = bound.is_unspecified() || bound == group;
        let joined = !group.is_multicast()
            || is_never_told(group)
            || self.casting.joined(interface, group).is_some();
        addressed && joined && self.remote.is_none_or(|remote| remote == flow.remote)
    }
}

impl Udp {
    /// A datagram for a group, or for everybody on the link: each socket that hears it gets it.
    pub(super) fn group_datagram_arrives(
        &mut self,
        shared: &mut Shared,
        flow: &FourTuple,
        source: SocketAddr,
        mut packet: Incoming,
        length: usize,
    ) {
        let interface = packet.received.interface;
        let is = |id: &UdpId, what: fn(&Socket, InterfaceId, &FourTuple) -> bool| {
            self.sockets.get(*id).is_some_and(|socket| what(socket, interface, flow))
        };
        let addressed = self.ports.find_all(flow.local).filter(|id| is(id, Socket::is_addressed));
        let mut hearers: Vec<UdpId> = addressed.collect();
        let nobody = if hearers.is_empty() { Dropped::UdpNobody } else { Dropped::SourceFiltered };
        hearers.retain(|id| is(id, Socket::hears_from));
        packet.received.frame.truncate(udp::HEADER_LEN + length);
        let datagram = Datagram::of(&packet, source, shared.now);
        packet.received.frame.advance(udp::HEADER_LEN);
        let Some((last, others)) = hearers.split_last() else {
            shared.drop_packet(Some(*flow), nobody);
            return shared.recycle(packet.received.frame);
        };
        for id in others {
            let payload = FrameBuf::copy_from(&packet.received.frame);
            let options = datagram.options.clone();
            self.give(shared, *id, flow, Datagram { payload, options, ..datagram });
        }
        let payload = keep(shared, packet.received.frame);
        self.give(shared, *last, flow, Datagram { payload, ..datagram });
    }

    /// Whether a socket still has something to send.
    pub(crate) fn is_sending(&self, id: UdpId) -> bool {
        self.sockets.get(id).is_some_and(Socket::is_sending)
    }

    fn give(&mut self, shared: &mut Shared, id: UdpId, flow: &FourTuple, datagram: Datagram) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        match socket.push_received(shared.config.udp_receive_buffer, datagram) {
            Ok(()) => shared.events.push(SocketId::Udp(id), &mut socket.pending, Ready::READ),
            Err(refused) => {
                shared.drop_packet(Some(*flow), Dropped::UdpQueueFull);
                shared.recycle(refused.payload);
            }
        }
    }

    /// A datagram to a group or to everybody leaves: our own sockets are to hear it, if any may.
    pub(super) fn echo(
        &mut self,
        interfaces: &Interfaces,
        interface: InterfaceId,
        envelope: &Envelope,
        datagram: &Outgoing,
    ) {
        let destination = datagram.destination;
        let nobody = !interfaces.has_siblings() && !self.ports.is_used(destination);
        if nobody
            || self.echoes.len() >= ECHO_LIMIT
            || !interfaces.may_hear(interface, destination.ip())
        {
            return;
        }
        let envelope = Envelope { link: LinkHeader::None, ..*envelope };
        let start = envelope.len() + datagram.options.len();
        let length = udp::HEADER_LEN + datagram.payload.len();
        let mut packet = alloc::vec![0; start + length];
        envelope.emit_with(&mut packet, datagram.options, length);
        super::output::header_of(datagram).emit(&mut packet[start..]);
        packet[start + udp::HEADER_LEN..].copy_from_slice(&datagram.payload);
        self.echoes.push_back((interface, FrameBuf::from(packet)));
    }
}
