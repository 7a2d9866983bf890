//! UDP: datagrams through a pair that keeps their lengths, and the calls that name peers.
//!
//! A datagram that comes is put into the program's end, where `read` and `poll` see it; who sent it waits
//! beside, in the same order, for `recvfrom` and `recvmsg`, which come here. A program that takes
//! datagrams by `read` from a socket that is not connected, and others by `recvfrom`, can be told of the
//! wrong sender until the end is empty.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::address::Domain;
use crate::errno;
use crate::network::{Datagrams, Network};
use crate::relay::has_hung_up;
use crate::sockopt;
use crate::supervisor::Supervisor;
use crate::table::{Key, Kind, Socket};

mod calls;
mod message;

/// How many datagrams one socket moves in a turn before others have theirs.
const ROUNDS: usize = 64;

/// The largest payload of a UDP datagram, and a little more, so that a longer one is seen.
const BUFFER: usize = 64 << 10;

/// A UDP socket of a program.
#[derive(Debug, Default)]
pub(crate) struct Udp {
    /// On the stack, once it is bound: one for each family that it speaks.
    v4: Option<Datagrams>,
    v6: Option<Datagrams>,
    /// What it was bound to.
    local: Option<SocketAddr>,
    /// Whom the program connected to, as it named it, and where that is.
    peer: Option<(SocketAddr, SocketAddr)>,
    /// Who sent the datagrams that lie in the program's end.
    sources: VecDeque<SocketAddr>,
    /// A datagram that the stack had no room for.
    unsent: Option<Vec<u8>>,
    /// A datagram that the program's end had no room for.
    ungiven: Option<(Vec<u8>, SocketAddr)>,
    error: Option<Errno>,
}

impl Udp {
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        let one = [&self.v6, &self.v4].into_iter().flatten();
        let known = one.filter_map(|socket| socket.inner.local_addr().ok());
        // Once it is connected, the family of the peer has an address.
        known.max_by_key(|local| !local.ip().is_unspecified()).or(self.local)
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer.map(|(named, _)| named)
    }

    pub(crate) fn take_error(&mut self) -> Option<Errno> {
        let reported = [&self.v4, &self.v6].into_iter().flatten();
        let reported = reported.filter_map(|socket| socket.inner.take_error().ok().flatten());
        let reported: Vec<_> = reported.map(|error| errno::from_stack(&error)).collect();
        self.error.take().or(reported.into_iter().next())
    }

    pub(crate) fn set_broadcast(&self, on: bool) {
        if let Some(v4) = &self.v4 {
            // The stack has not ended, or nothing matters any more.
            let _ = v4.inner.set_broadcast(on);
        }
    }

    pub(crate) fn set_ttl(&self, ttl: u8) {
        for socket in [&self.v4, &self.v6].into_iter().flatten() {
            let _ = socket.inner.set_ttl(ttl.into());
        }
    }

    pub(crate) fn set_multicast_ttl(&self, ttl: u8) -> io::Result<()> {
        let mut sockets = [&self.v4, &self.v6].into_iter().flatten();
        sockets.try_for_each(|socket| socket.inner.set_multicast_ttl_v4(ttl.into()))
    }

    pub(crate) fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        let mut sockets = [&self.v4, &self.v6].into_iter().flatten();
        sockets.try_for_each(|socket| socket.inner.set_multicast_loop_v4(on))
    }

    pub(crate) fn set_multicast_interface_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        let socket = self.v4.as_ref().ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.inner.set_multicast_if_v4(&interface)
    }

    pub(crate) fn set_multicast_interface_v6(&self, interface: u32) -> io::Result<()> {
        let socket = self.v6.as_ref().ok_or(io::ErrorKind::AddrNotAvailable)?;
        socket.inner.set_multicast_if_v6(interface)
    }

    pub(crate) fn change_group_v4(
        &mut self,
        _network: &Network,
        group: Ipv4Addr,
        interface: Ipv4Addr,
        join: bool,
    ) -> io::Result<()> {
        let socket = self.v4.as_ref().ok_or(io::ErrorKind::AddrNotAvailable)?;
        if join {
            socket.inner.join_multicast_v4(group, interface)
        } else {
            socket.inner.leave_multicast_v4(group, interface)
        }
    }

    pub(crate) fn change_group_v6(
        &mut self,
        _network: &Network,
        group: Ipv6Addr,
        interface: u32,
        join: bool,
    ) -> io::Result<()> {
        let socket = self.v6.as_ref().ok_or(io::ErrorKind::AddrNotAvailable)?;
        if join {
            socket.inner.join_multicast_v6(&group, interface)
        } else {
            socket.inner.leave_multicast_v6(&group, interface)
        }
    }

    /// Takes an address and port on the stack, for both families where the socket speaks both.
    fn bind(
        &mut self,
        network: &Network,
        key: Key,
        domain: Domain,
        local: SocketAddr,
        settings: &sockopt::Settings,
    ) -> io::Result<()> {
        let shared = settings.reuse_address || settings.reuse_port || local.ip().is_multicast();
        let open = |local| Datagrams::bind(network, key, local, shared);
        let first = open(local)?;
        let port = first.inner.local_addr()?.port();
        if local.is_ipv4() {
            self.v4 = Some(first);
        } else {
            self.v6 = Some(first);
            let both = local.ip().is_unspecified() && !settings.only_v6;
            if both && domain == Domain::V6 {
                self.v4 = Some(open(SocketAddr::from(([0; 4], port)))?);
            }
        }
        self.local = Some(SocketAddr::new(local.ip(), port));
        self.set_broadcast(settings.broadcast);
        self.set_ttl(settings.ip().ttl);
        self.set_multicast_ttl(settings.ip().multicast_ttl)?;
        self.set_multicast_loop(settings.ip().multicast_loop)
    }

    /// The stack's socket for the family of `remote`.
    fn towards(&self, remote: SocketAddr) -> Option<&Datagrams> {
        if remote.is_ipv4() { self.v4.as_ref() } else { self.v6.as_ref() }
    }

    /// Takes a datagram that came.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Errno> {
        for socket in [&self.v4, &self.v6].into_iter().flatten() {
            match socket.receive(buffer) {
                Ok(received) => return Ok(received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(errno::from_stack(&error)),
            }
        }
        Err(Errno::AGAIN)
    }
}

/// What became of a datagram of the program.
enum Sent {
    Done,
    /// There is no room; the bell rings when there is.
    Later,
    Failed(Errno),
}

impl Socket {
    /// Sends a datagram, from a port of its own if it has none.
    fn send_datagram(
        &mut self,
        network: &Network,
        key: Key,
        payload: &[u8],
        remote: SocketAddr,
    ) -> Sent {
        if let Err(errno) = self.bind_anywhere(network, key, remote) {
            return Sent::Failed(errno);
        }
        let Kind::Udp(udp) = &self.kind else { return Sent::Failed(Errno::INVAL) };
        let Some(socket) = udp.towards(remote) else { return Sent::Failed(Errno::NETUNREACH) };
        match socket.send(payload, remote) {
            Ok(_) => Sent::Done,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Later,
            Err(error) => Sent::Failed(errno::from_stack(&error)),
        }
    }

    /// Binds a socket that is not bound, to talk to `remote`.
    fn bind_anywhere(
        &mut self,
        network: &Network,
        key: Key,
        remote: SocketAddr,
    ) -> Result<(), Errno> {
        let (domain, settings) = (self.domain, self.settings.clone());
        let Kind::Udp(udp) = &mut self.kind else { return Err(Errno::INVAL) };
        if udp.local.is_some() {
            return Ok(());
        }
        let local = match remote.ip() {
            _ if domain == Domain::V6 && !settings.only_v6 => Ipv6Addr::UNSPECIFIED.into(),
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let bound = udp.bind(network, key, domain, SocketAddr::new(local, 0), &settings);
        bound.map_err(|error| errno::from_stack(&error))
    }
}

impl Supervisor {
    pub(crate) fn udp_pair_ready(&mut self, key: Key, flags: EventFlags) {
        if flags.intersects(!EventFlags::OUT) {
            self.datagrams_out(key);
        }
        if flags.contains(EventFlags::OUT) {
            self.datagrams_in(key);
        }
    }

    /// Something happened to the socket on the stack.
    pub(crate) fn udp_ready(&mut self, key: Key) {
        self.datagrams_out(key);
        self.datagrams_in(key);
        self.retry_held(key);
    }

    /// Sends what the program wrote without naming anybody.
    pub(super) fn datagrams_out(&mut self, key: Key) {
        for _ in 0..ROUNDS {
            let Some(socket) = self.table.get_mut(key) else { return };
            let (Kind::Udp(udp), Some(ours)) = (&mut socket.kind, &socket.ours) else { return };
            let (payload, peer) = (udp.unsent.take(), udp.peer);
            let payload = match payload {
                Some(payload) => payload,
                None => match next_datagram(ours, &mut self.buffers.read) {
                    Next::Datagram(payload) => payload,
                    Next::Nothing => return,
                    Next::Closed => return self.close(key),
                },
            };
            // Without a peer it goes nowhere; Linux refuses the call.
            let Some((_, remote)) = peer else { continue };
            match socket.send_datagram(&self.network, key, &payload, remote) {
                Sent::Done => {}
                Sent::Later => {
                    if let Kind::Udp(udp) = &mut socket.kind {
                        udp.unsent = Some(payload);
                    }
                    return;
                }
                Sent::Failed(errno) => {
                    if let Kind::Udp(udp) = &mut socket.kind {
                        udp.error = Some(errno);
                    }
                }
            }
        }
        self.later(key);
    }

    /// Gives the program what came.
    pub(super) fn datagrams_in(&mut self, key: Key) {
        for _ in 0..ROUNDS {
            let Some(socket) = self.table.get_mut(key) else { return };
            let (Kind::Udp(udp), Some(ours)) = (&mut socket.kind, &socket.ours) else { return };
            let (payload, source) = match udp.ungiven.take() {
                Some(ungiven) => ungiven,
                None => {
                    let buffer = &mut self.buffers.read;
                    match udp.receive(buffer) {
                        Ok((length, source)) => (buffer[..length].to_vec(), source),
                        Err(Errno::AGAIN) => return,
                        Err(errno) => {
                            udp.error = Some(errno);
                            continue;
                        }
                    }
                }
            };
            match send(ours, &payload, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(_) => udp.sources.push_back(source),
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    udp.ungiven = Some((payload, source));
                    return;
                }
                // It is closed, of which we hear at our end.
                Err(_) => return,
            }
        }
        self.later(key);
    }

    /// Carries out again what waited for the socket, as far as it goes now.
    pub(crate) fn retry_held(&mut self, key: Key) {
        let mut waiting = Vec::new();
        while let Some(call) = self.held.take_first(key) {
            waiting.push(call);
        }
        for call in waiting {
            if !self.notifier.is_valid(call.request.id) {
                continue;
            }
            let Ok(descriptor) = self.processes.fetch(call.request.place()) else { continue };
            self.retry(key, &call, &descriptor);
        }
    }
}

/// What our end of a pair has.
enum Next {
    Datagram(Vec<u8>),
    Nothing,
    Closed,
}

fn next_datagram(ours: &OwnedFd, buffer: &mut [u8]) -> Next {
    match recv(ours, &mut *buffer, RecvFlags::DONTWAIT) {
        // An end looks like an empty datagram.
        Ok((0, _)) if has_hung_up(ours) => Next::Closed,
        Ok((length, _)) => Next::Datagram(buffer[..length].to_vec()),
        Err(Errno::AGAIN | Errno::INTR) => Next::Nothing,
        Err(_) => Next::Closed,
    }
}
