//! The calls of the program (RFC 768 "User Interface", RFC 1122 4.1.4).

use core::net::SocketAddr;
use core::num::NonZeroU16;

use wire::frame::FrameBuf;
use wire::ipv4::Options;
use wire::time::Instant;

use super::Udp;
use super::message::UdpTransmit;
use super::socket::{Outgoing, Role, Socket};
use crate::UdpId;
use crate::binding::Binding;
use crate::config::{DEFAULT_TTL, MtuDiscovery, UdpOptions};
use crate::error::Error;
use crate::icmp::IcmpReport;
use crate::ip::{options_to_send, without_scope};
use crate::stack::Stack;

/// The longest payload that a packet to `address` can carry behind a UDP header: the length of an
/// IPv4 packet counts its header, that of an IPv6 packet does not.
fn longest_payload(address: SocketAddr) -> usize {
    let header = if address.is_ipv4() { wire::ipv4::MIN_HEADER_LEN } else { 0 };
    65_535 - header - wire::udp::HEADER_LEN
}

/// The longest payload in one packet of `mtu` bytes.
fn longest_in(address: SocketAddr, mtu: u16) -> usize {
    let header =
        if address.is_ipv4() { wire::ipv4::MIN_HEADER_LEN } else { wire::ipv6::HEADER_LEN };
    usize::from(mtu).saturating_sub(header + wire::udp::HEADER_LEN)
}

/// UDP sockets.
impl Stack {
    /// A UDP socket on `local`. An unspecified address stands for all of ours, and for broadcasts; that
    /// of IPv6 for both families, and that of IPv4 for its own; port 0 stands for a free one.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when the address is not ours, no port is free, or the port belongs to another shard ([`Stack::owner_of_udp_port`]); [`Error::AddressInUse`] when another socket has the port on this address or on all.
    pub fn udp_bind(&mut self, local: SocketAddr) -> Result<UdpId, Error> {
        self.udp_bind_with(local, UdpOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// Those of [`Stack::udp_bind`]; [`Error::InvalidInput`] for IPv4 written as IPv6 under
    /// [`UdpOptions::only_v6`].
    pub fn udp_bind_with(
        &mut self,
        local: SocketAddr,
        options: UdpOptions,
    ) -> Result<UdpId, Error> {
        let UdpOptions { shared, only_v6 } = options;
        let binding = Binding::new(local, only_v6)?;
        let ip = binding.local.ip();
        let group = shared && ip.is_multicast();
        if !(ip.is_unspecified() || group || self.interfaces.is_local(ip)) {
            return Err(Error::AddressNotAvailable);
        }
        let (ports, steering) = (&mut self.udp.ports, &self.steering);
        let suits = |port| steering.owns_udp_port(port);
        let binding = if local.port() == 0 { ports.pick(binding, suits)? } else { binding };
        if !suits(binding.local.port()) {
            return Err(Error::AddressNotAvailable);
        }
        if !ports.can_have(&binding.places(), shared) {
            return Err(Error::AddressInUse);
        }
        let mut socket = Socket::new(binding, self.shared.config.tcp.ttl);
        socket.casting.shared = shared;
        let id = self.udp.sockets.insert(socket);
        self.udp.ports.take(&binding.places(), id, shared);
        Ok(id)
    }

    /// Connects a socket: it hears and [`Stack::udp_send`] reaches only `remote`, and errors that
    /// come back are reported. A socket on all addresses takes the one that the route gives it.
    /// What was received from others before stays in the queue.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for port 0, an unspecified address or another family, and for a flow,
    /// which is connected; [`Error::NetworkUnreachable`] when no route leads there; [`Error::AddressInUse`] when
    /// another socket has the port on the address that the route gives.
    pub fn udp_connect(&mut self, id: UdpId, remote: SocketAddr) -> Result<(), Error> {
        let socket = self.udp.socket(id)?;
        if !matches!(socket.role, Role::Bound) {
            return Err(Error::InvalidInput);
        }
        let (bound, before) = (socket.bound, socket.places());
        let remote = possible_peer(&bound, remote)?;
        let shared = socket.casting.shared;
        let source = self.interfaces.source_in_scope(bound.source(), remote)?;
        let remote = without_scope(remote);
        let route = self.interfaces.route(source, remote.ip())?;
        let local = SocketAddr::new(route.source, bound.local.port());
        if before[..] != [local] {
            let ports = &mut self.udp.ports;
            ports.release(&before, id);
            if !ports.can_have(&[local], shared) {
                ports.take(&before, id, shared);
                return Err(Error::AddressInUse);
            }
            ports.take(&[local], id, shared);
        }
        let socket = self.udp.socket_mut(id)?;
        (socket.local, socket.remote, socket.error) = (local, Some(remote), None);
        Ok(())
    }

    /// Queues a datagram to `remote`; gives its length, always that of `payload`.
    ///
    /// # Errors
    /// [`Error::MessageTooBig`] when no IP packet can hold it (what does not fit the link is sent in
    /// fragments), or no packet that the path takes under [`MtuDiscovery::Do`];
    /// [`Error::WouldBlock`] when `Config::udp_send_buffer` is full; [`Error::NetworkUnreachable`]
    /// without a route; [`Error::InvalidInput`] for an impossible peer; [`Error::PermissionDenied`] for
    /// a broadcast without [`Stack::udp_set_broadcast`]; on a connected socket, whatever ICMP reported before, once; on a flow that was idle for too long,
    /// [`Error::TimedOut`].
    pub fn udp_send_to(
        &mut self,
        now: Instant,
        id: UdpId,
        payload: &[u8],
        remote: SocketAddr,
    ) -> Result<usize, Error> {
        let local = self.udp.socket(id)?.local;
        self.send_datagram(now, id, local, remote, &UdpTransmit::new(None, payload))
    }

    /// Queues a datagram to the peer of a connected socket.
    ///
    /// # Errors
    /// [`Error::NotConnected`] without a peer, and those of [`Stack::udp_send_to`].
    pub fn udp_send(&mut self, now: Instant, id: UdpId, payload: &[u8]) -> Result<usize, Error> {
        let remote = self.udp.socket(id)?.remote.ok_or(Error::NotConnected)?;
        self.udp_send_to(now, id, payload, remote)
    }

    /// Queues datagrams of a socket as from `local` to `remote`.
    pub(super) fn send_datagram(
        &mut self,
        now: Instant,
        id: UdpId,
        local: SocketAddr,
        remote: SocketAddr,
        message: &UdpTransmit<'_>,
    ) -> Result<usize, Error> {
        let UdpTransmit { payload, segment_size, traffic_class, .. } = *message;
        self.shared.set_time(now);
        let socket = self.udp.socket_mut(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        if socket.is_over() {
            return Err(Error::TimedOut);
        }
        if socket.takes_flows() {
            return Err(Error::InvalidInput);
        }
        let remote = possible_peer(&socket.bound, remote)?;
        let ours = !local.ip().is_unspecified() && !local.ip().is_multicast();
        let source = self.interfaces.source_in_scope(ours.then_some(local.ip()), remote)?;
        let remote = without_scope(remote);
        let (source, ttl, heard_here) = socket.casts(&self.interfaces, source, remote.ip())?;
        if message.ttl == Some(0) {
            return Err(Error::InvalidInput);
        }
        let route = self.interfaces.route(source, remote.ip())?;
        let options = match message.options {
            _ if remote.is_ipv6() => Options::NONE,
            Some(options) => options_to_send(options.as_bytes())?,
            None => socket.options,
        };
        // One that no datagram is longer than cuts nothing.
        let size = segment_size.unwrap_or(payload.len().max(1)).min(usize::from(u16::MAX));
        let segment_size =
            Some(u16::try_from(size).ok().and_then(NonZeroU16::new).ok_or(Error::InvalidInput)?);
        let longest = match socket.mtu_discovery {
            MtuDiscovery::Dont | MtuDiscovery::Want | MtuDiscovery::Omit => longest_payload(remote),
            MtuDiscovery::Do => longest_in(remote, route.hop.mtu),
            MtuDiscovery::Probe | MtuDiscovery::Interface => {
                longest_in(remote, self.interfaces.mtu_of_link(&route))
            }
        };
        let room = longest_payload(remote).saturating_sub(options.len());
        if payload.len() > room || size.min(payload.len()) > longest.saturating_sub(options.len()) {
            return Err(Error::MessageTooBig);
        }
        let datagram = Outgoing {
            source,
            source_port: local.port(),
            destination: remote,
            ttl: message.ttl.or(ttl),
            traffic_class,
            segment_size: segment_size.filter(|size| payload.len() > usize::from(size.get())),
            heard_here,
            mtu_discovery: socket.mtu_discovery,
            options,
            payload: FrameBuf::copy_from(payload),
        };
        socket.push_outgoing(self.shared.config.udp_send_buffer, datagram)?;
        if let Some(flow) = socket.flow_mut() {
            flow.is_used(self.shared.now);
        }
        self.udp.ready.push_back(id);
        Ok(payload.len())
    }

    /// Takes the next datagram: how many of its bytes fitted into `buffer`, the others being lost
    /// as with `recvfrom`, and who sent it.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] when there is none; on a connected socket, whatever ICMP reported
    /// before, once; [`Error::TimedOut`] when there is none and a flow was idle for too long.
    pub fn udp_receive_from(
        &mut self,
        id: UdpId,
        buffer: &mut [u8],
    ) -> Result<(usize, SocketAddr), Error> {
        let received = self.read_datagram(id, buffer)?;
        Ok((received.length, received.source))
    }

    /// Like [`Stack::udp_receive_from`], but the datagram stays where it is.
    ///
    /// # Errors
    /// Those of [`Stack::udp_receive_from`].
    pub fn udp_peek_from(
        &mut self,
        id: UdpId,
        buffer: &mut [u8],
    ) -> Result<(usize, SocketAddr), Error> {
        let socket = self.udp.socket_mut(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let datagram = socket.first_received().ok_or_else(|| socket.nothing())?;
        let source = socket.show(datagram.source);
        Ok((socket.peek(buffer).unwrap_or_default(), source))
    }

    /// The socket's own address and port.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when it is closed.
    pub fn udp_local(&self, id: UdpId) -> Result<SocketAddr, Error> {
        let socket = self.udp.socket(id)?;
        Ok(socket.show(socket.local))
    }

    /// The peer that the socket is connected to.
    ///
    /// # Errors
    /// [`Error::NotConnected`] without one; [`Error::NoSuchSocket`] when it is closed.
    pub fn udp_remote(&self, id: UdpId) -> Result<SocketAddr, Error> {
        let socket = self.udp.socket(id)?;
        let remote = socket.remote.ok_or(Error::NotConnected)?;
        Ok(socket.show(self.interfaces.show_peer(socket.local.ip(), remote)))
    }

    /// What ICMP reported last, as `SO_ERROR` gives it: once.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_take_error(&mut self, id: UdpId) -> Result<Option<Error>, Error> {
        Ok(self.udp.socket_mut(id)?.error.take())
    }

    /// What ICMP reported last, and who said so, as `IP_RECVERR` gives it: once.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_take_report(&mut self, id: UdpId) -> Result<Option<IcmpReport>, Error> {
        Ok(self.udp.socket_mut(id)?.report.take())
    }

    /// `IP_TTL`, `IPV6_UNICAST_HOPS`: the TTL of what is sent from now on. `None`, as it is unless set, is what
    /// routers of the link advertise (RFC 4861 6.3.4), and 64 where they say nothing.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for 0 (RFC 1122 3.2.1.7: must not be sent);
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_set_ttl(&mut self, id: UdpId, ttl: Option<u8>) -> Result<(), Error> {
        let socket = self.udp.socket_mut(id)?;
        if ttl == Some(0) {
            return Err(Error::InvalidInput);
        }
        socket.ttl = ttl;
        Ok(())
    }

    /// What [`Stack::udp_set_ttl`] set; else the TTL of what goes to the peer, and 64 without a peer.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_ttl(&self, id: UdpId) -> Result<u8, Error> {
        let socket = self.udp.socket(id)?;
        let usual = |remote: SocketAddr| self.interfaces.ttl_to(socket.local.ip(), remote.ip());
        Ok(socket.ttl.or(socket.remote.and_then(usual)).unwrap_or(DEFAULT_TTL))
    }

    /// `IP_OPTIONS`: the options of IPv4 that datagrams carry from now on, at most 40 bytes; none is none. In a
    /// recorded route and in timestamps we are the first (RFC 1122 3.2.1.8).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for more bytes, and for options that no receiver could read;
    /// [`Error::PermissionDenied`] for a source route, which is dropped nearly everywhere (RFC 7126 4.3);
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_set_options(&mut self, id: UdpId, options: &[u8]) -> Result<(), Error> {
        let socket = self.udp.socket_mut(id)?;
        socket.options = options_to_send(options)?;
        Ok(())
    }

    /// What [`Stack::udp_set_options`] set, padded to a multiple of 4 bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_options(&self, id: UdpId) -> Result<Options, Error> {
        Ok(self.udp.socket(id)?.options)
    }

    /// `IP_RECVERR`, `IPV6_RECVERR`: what ICMP reports is told also while the socket is not connected. It is
    /// not, unless set.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_hear_all_errors(&mut self, id: UdpId, on: bool) -> Result<(), Error> {
        self.udp.socket_mut(id)?.hears_all_errors = on;
        Ok(())
    }

    /// `SO_REUSEADDR` after the bind ([`UdpOptions::shared`]): lets others have the address and port, or no
    /// others.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a flow, whose port is no socket's; [`Error::NoSuchSocket`] when the socket is
    /// closed.
    pub fn udp_set_shared(&mut self, id: UdpId, shared: bool) -> Result<(), Error> {
        let socket = self.udp.socket_mut(id)?;
        if !matches!(socket.role, Role::Bound) {
            return Err(Error::InvalidInput);
        }
        socket.casting.shared = shared;
        let places = socket.places();
        self.udp.ports.set_shared(&places, shared);
        Ok(())
    }

    /// `IP_MTU_DISCOVER`, `IPV6_MTU_DISCOVER`: what becomes from now on of datagrams that are longer than the
    /// path takes.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_set_mtu_discovery(&mut self, id: UdpId, mode: MtuDiscovery) -> Result<(), Error> {
        self.udp.socket_mut(id)?.mtu_discovery = mode;
        Ok(())
    }

    /// `IP_MTU`, `IPV6_MTU`: the longest packet in bytes that the way to the peer takes, as far as is known.
    ///
    /// # Errors
    /// [`Error::NotConnected`] without a peer; [`Error::NetworkUnreachable`] without a route;
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_path_mtu(&self, id: UdpId) -> Result<u16, Error> {
        let socket = self.udp.socket(id)?;
        let remote = socket.remote.ok_or(Error::NotConnected)?;
        Ok(self.interfaces.route(Some(socket.local.ip()), remote.ip())?.hop.mtu)
    }

    /// Closes a socket. What it queued for the link before is still sent; what it did not read is
    /// gone. With a socket that takes flows go those that nobody took yet.
    ///
    /// # Errors
    /// [`Error::NoSuchSocket`] when it is closed already.
    pub fn udp_close(&mut self, id: UdpId) -> Result<(), Error> {
        let mut socket = self.udp.sockets.remove(id).ok_or(Error::NoSuchSocket)?;
        match &socket.role {
            Role::Bound => {
                self.udp.ports.release(&socket.places(), id);
                self.leave_all(&mut socket);
            }
            Role::Taker => self.udp.stop_taking(&mut self.shared),
            Role::Flow(_) => self.udp.forget_flow(&mut self.shared, id, &mut socket),
        }
        while let Some(datagram) = socket.pop_received() {
            self.shared.recycle(datagram.payload);
        }
        self.udp.send_the_rest(id, &mut socket);
        Ok(())
    }
}

impl Udp {
    pub(super) fn socket(&self, id: UdpId) -> Result<&Socket, Error> {
        self.sockets.get(id).ok_or(Error::NoSuchSocket)
    }

    pub(super) fn socket_mut(&mut self, id: UdpId) -> Result<&mut Socket, Error> {
        self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)
    }
}

/// A peer that a datagram can be sent to, as tables hold it, from a socket that is bound like this.
fn possible_peer(bound: &Binding, named: SocketAddr) -> Result<SocketAddr, Error> {
    let peer = bound.peer(named)?;
    let impossible = peer.port() == 0 || peer.ip().is_unspecified();
    if impossible { Err(Error::InvalidInput) } else { Ok(peer) }
}
