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

use estab::UdpTransmit;
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
pub(crate) mod control;
pub(crate) mod message;

use control::{Beside, Said};

/// How many datagrams one socket moves in a turn before others have theirs.
const ROUNDS: usize = 64;

/// More datagrams than fit into a program's end: of the largest buffer each takes 768 bytes at least.
const MOST_GIVEN: usize = 8192;

/// The largest payload of a UDP datagram, and a little more, so that a longer one is seen.
const BUFFER: usize = 64 << 10;

/// A UDP socket of a program.
#[derive(Debug, Default)]
pub(crate) struct Udp {
    /// On the stack, once it is bound.
    socket: Option<Datagrams>,
    /// Whom the program connected to, as it named it, and where that is.
    peer: Option<(SocketAddr, SocketAddr)>,
    /// What is known of the datagrams that lie in the program's end.
    given: VecDeque<Given>,
    /// A datagram that the stack had no room for.
    unsent: Option<Vec<u8>>,
    /// A datagram that the program's end had no room for.
    ungiven: Option<(Vec<u8>, Beside)>,
    error: Option<Errno>,
}

/// What lies in the program's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Given {
    Datagram(Beside),
    /// Nothing but a sign that there is an error to be told.
    Sign,
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

    /// The longest packet that the way to its peer takes.
    pub(crate) fn path_mtu(&self) -> Result<u16, Errno> {
        let socket = self.socket.as_ref().ok_or(Errno::NOTCONN)?;
        socket.inner.path_mtu().map_err(|error| errno::from_stack(&error))
    }

    /// The hop limit of what goes to its peer.
    pub(crate) fn ttl(&self) -> Option<u32> {
        self.socket.as_ref()?.inner.ttl().ok()
    }

    /// What is to be told, once.
    pub(crate) fn take_error(&mut self, descriptor: &OwnedFd) -> Option<Errno> {
        self.take_signs(descriptor);
        let reported = self.socket.as_ref().and_then(|socket| socket.inner.take_error().ok()?);
        self.error.take().or(reported.map(|error| errno::from_stack(&error)))
    }

    /// Sets something on the stack's socket, if there is one yet; binding sets it else.
    pub(crate) fn set(&self, f: impl FnOnce(&UdpSocket) -> io::Result<()>) -> Result<(), Errno> {
        let set = self.socket.as_ref().map_or(Ok(()), |socket| f(&socket.inner));
        set.map_err(|error| errno::from_stack(&error))
    }

    /// Remembers what lies in the program's end. What `read` took out is not heard of: whatever is more than
    /// can lie there is gone.
    fn note_given(&mut self, given: Given) {
        if self.given.len() >= MOST_GIVEN {
            self.given.pop_front();
        }
        self.given.push_back(given);
    }

    /// Takes signs away that are next in the program's end.
    pub(crate) fn take_signs(&mut self, descriptor: &OwnedFd) {
        while self.given.front() == Some(&Given::Sign) {
            self.given.pop_front();
            let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK | RecvFlags::TRUNC;
            // One that the program has read itself is not there any more.
            if matches!(recv(descriptor, &mut [0; 1], flags), Ok((_, 0))) {
                let _ = recv(descriptor, &mut [0; 1], RecvFlags::DONTWAIT);
            }
        }
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
        ip.ttl.map_or(Ok(()), |ttl| socket.inner.set_ttl(ttl.into()))?;
        socket.inner.set_multicast_ttl_v4(ip.multicast_ttl.into())?;
        socket.inner.set_multicast_loop_v4(ip.multicast_loop)?;
        socket.inner.set_mtu_discovery(ip.mtu_discovery)?;
        socket.inner.set_options_v4(ip.options.as_bytes())?;
        socket.inner.hear_all_errors(settings.receive_errors)?;
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
        said: Said,
    ) -> Sent {
        if let Err(errno) = self.bind_anywhere(network, key) {
            return Sent::Failed(errno);
        }
        let Kind::Udp(udp) = &self.kind else { return Sent::Failed(Errno::INVAL) };
        let Some(socket) = &udp.socket else { return Sent::Failed(Errno::NETUNREACH) };
        let ip = self.settings.ip();
        let message = UdpTransmit {
            segment_size: said.segment.or(ip.segment).map(usize::from),
            source: said.source,
            traffic_class: said.class.unwrap_or(ip.class),
            ttl: said.ttl,
            options: said.options,
            ..UdpTransmit::new(Some(remote), payload)
        };
        match socket.inner.send_message(&message) {
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
            let said = Said::default();
            match socket.send_datagram(&self.network, key, &payload, remote, said) {
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
            let (payload, beside) = match udp.ungiven.take() {
                Some(ungiven) => ungiven,
                None => {
                    let buffer = &mut self.buffers.read;
                    let Some(socket) = &udp.socket else { return };
                    match socket.inner.recv_datagram(buffer) {
                        Ok(received) => {
                            (buffer[..received.length].to_vec(), Beside::new(&received))
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                        Err(error) => {
                            udp.error = Some(errno::from_stack(&error));
                            self.give_sign(key);
                            continue;
                        }
                    }
                }
            };
            match send(ours, &payload, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(_) => udp.note_given(Given::Datagram(beside)),
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    udp.ungiven = Some((payload, beside));
                    return self.await_room(key);
                }
                // It is closed, of which we hear at our end.
                Err(_) => return,
            }
        }
        self.later(key);
    }

    /// Has the program look at once, which waits for something to read: a datagram without bytes says that an
    /// error is to be told, as a pair cannot carry one and go on. Calls that come to the supervisor tell the
    /// error, and take the sign away; `read` sees an empty datagram.
    fn give_sign(&mut self, key: Key) {
        let Some(Kind::Udp(udp)) = self.table.get(key).map(|socket| &socket.kind) else { return };
        let waits = udp.given.back() == Some(&Given::Sign);
        if waits && !self.has_read_all(key) {
            return;
        }
        let Some(socket) = self.table.get_mut(key) else { return };
        let (Kind::Udp(udp), Some(ours)) = (&mut socket.kind, &socket.ours) else { return };
        if waits {
            udp.given.clear();
        }
        if send(ours, &[], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok() {
            udp.note_given(Given::Sign);
        }
    }

    /// Whether nothing lies in the program's end, as far as it can be looked at.
    fn has_read_all(&mut self, key: Key) -> bool {
        let Some(place) = self.table.get(key).map(|socket| socket.place) else { return false };
        let end = self.processes.fetch(place).ok();
        let end = end.filter(|end| self.table.find(end) == Some(key));
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        end.is_some_and(|end| recv(&end, &mut [0; 1], flags) == Err(Errno::AGAIN))
    }

    /// Carries out again what waited for the socket, as far as it goes now.
    pub(crate) fn retry_held(&mut self, key: Key) {
        let mut waiting = Vec::new(); // Takes no memory while nobody waits.
        while let Some(call) = self.held.take_first(key) {
            waiting.push(call);
        }
        for call in waiting {
            let descriptor = match self.notifier.is_valid(call.request.id) {
                true => self.processes.fetch(call.request.place()).ok(),
                false => None,
            };
            let Some(descriptor) = descriptor else {
                // It was interrupted. If it comes again, it is to be known how far it got.
                if call.request.done > 0 {
                    self.held.hold(key, call.request, call.until);
                }
                continue;
            };
            self.retry(key, &call, &descriptor);
            self.held.keep_until(call.request.id, call.until);
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
