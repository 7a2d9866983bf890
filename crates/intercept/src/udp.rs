//! UDP: datagrams through a pair that keeps their lengths, and the calls that name peers.
//!
//! A datagram that comes is put into the program's end, where `read` and `poll` see it; who sent it waits
//! beside, in the same order, for `recvfrom` and `recvmsg`, which come here. A program that takes
//! datagrams by `read` from a socket that is not connected, and others by `recvfrom`, can be told of the
//! wrong sender until the end is empty.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use estab::blocking::UdpSocket;
use estab::core::UdpOptions;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::errno;
use crate::network::{Datagrams, Edges, Network};
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
    /// On the stack, once it is bound.
    socket: Option<Datagrams>,
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
        self.socket.as_ref()?.inner.local_addr().ok()
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.socket.is_some()
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer.map(|(named, _)| named)
    }

    pub(crate) fn take_error(&mut self) -> Option<Errno> {
        let reported = self.socket.as_ref().and_then(|socket| socket.inner.take_error().ok()?);
        self.error.take().or(reported.map(|error| errno::from_stack(&error)))
    }

    /// Sets something on the stack's socket, if there is one yet; binding sets it else.
    pub(crate) fn set(&self, f: impl FnOnce(&UdpSocket) -> io::Result<()>) -> Result<(), Errno> {
        let set = self.socket.as_ref().map_or(Ok(()), |socket| f(&socket.inner));
        set.map_err(|error| errno::from_stack(&error))
    }

    /// Takes an address and port on the stack.
    fn bind(
        &mut self,
        network: &Network,
        key: Key,
        local: SocketAddr,
        settings: &sockopt::Settings,
    ) -> io::Result<()> {
        let shared = settings.reuse_address || settings.reuse_port || local.ip().is_multicast();
        let options = UdpOptions { shared, only_v6: settings.only_v6 };
        let socket = Datagrams::bind(network, key, local, options)?;
        let ip = settings.ip();
        socket.inner.set_broadcast(settings.broadcast)?;
        socket.inner.set_ttl(ip.ttl.into())?;
        socket.inner.set_multicast_ttl_v4(ip.multicast_ttl.into())?;
        socket.inner.set_multicast_loop_v4(ip.multicast_loop)?;
        settings.choices().iter().try_for_each(|choice| choice.apply(&socket.inner))?;
        self.socket = Some(socket);
        Ok(())
    }
}

/// What became of a datagram of the program.
enum Sent {
    Done,
    /// There is no room; the stack tells when there is.
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
        if let Err(errno) = self.bind_anywhere(network, key) {
            return Sent::Failed(errno);
        }
        let Kind::Udp(udp) = &self.kind else { return Sent::Failed(Errno::INVAL) };
        let Some(socket) = &udp.socket else { return Sent::Failed(Errno::NETUNREACH) };
        match socket.inner.send_to(payload, remote) {
            Ok(_) => Sent::Done,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Later,
            Err(error) => Sent::Failed(errno::from_stack(&error)),
        }
    }

    /// Binds a socket that is not bound, to any port.
    fn bind_anywhere(&mut self, network: &Network, key: Key) -> Result<(), Errno> {
        let any = self.domain.unspecified();
        let Kind::Udp(udp) = &mut self.kind else { return Err(Errno::INVAL) };
        if udp.socket.is_some() {
            return Ok(());
        }
        let bound = udp.bind(network, key, any, &self.settings);
        bound.map_err(|error| errno::from_stack(&error))
    }
}

impl Supervisor {
    pub(crate) fn udp_pair_ready(&mut self, key: Key, edges: Edges) {
        if edges.read {
            self.datagrams_out(key);
        }
        if edges.write {
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
                    let Some(socket) = &udp.socket else { return };
                    match socket.inner.recv_from(buffer) {
                        Ok((length, source)) => (buffer[..length].to_vec(), source),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                        Err(error) => {
                            udp.error = Some(errno::from_stack(&error));
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
