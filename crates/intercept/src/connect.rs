//! `connect`: a call that waits for the handshake, or a program's end that becomes writable with it.
//!
//! A pair of Unix sockets is writable from the start. So the program's end of one whose `connect` does not
//! wait is *filled*: its send buffer is made as small as it gets, and bytes are written until no more fit.
//! When the handshake is over they are taken out at our end. When it has failed, our end is closed with
//! the bytes unread, which is a reset for the other end: readable, writable, in error and hung up, as a
//! refused connection is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::task::Poll;

use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_send_buffer_size, socket_error, socket_send_buffer_size};
use rustix::net::{RecvFlags, SendFlags, SocketType, recv, send};

use crate::accept::waits;
use crate::address::{Name, unmapped};
use crate::create::of_ours;
use crate::errno;
use crate::network::Stream;
use crate::process;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::table::{Connected, Connecting, Fill, Key, Kind, Over, Pair, Tcp};

/// More bytes than the smallest send buffer takes, each with what the kernel keeps of it.
const MAX_JUNK: usize = 256;

impl Supervisor {
    /// `connect(fd, address, length)` of TCP
    pub(crate) fn connect(&mut self, key: Key, request: &Request, end: OwnedFd) -> Outcome {
        let Some(socket) = self.table.get_mut(key) else { return Outcome::Continue };
        let domain = socket.domain;
        let name = match request.name(&self.notifier, 1, 2, domain) {
            Ok(name) => name,
            Err(errno) => return Outcome::fail(errno),
        };
        let Kind::Tcp(tcp) = &mut socket.kind else { return Outcome::Continue };
        let Name::At(named) = name else { return self.disconnect(key, end) };
        match tcp {
            Tcp::Fresh => self.begin_to_connect(key, request, named, end),
            Tcp::Connecting(_) if waits(&end) => self.wait_for_handshake(key, request),
            Tcp::Connecting(_) => Outcome::fail(Errno::ALREADY),
            // Once: hearing it makes it reported.
            Tcp::Connected(connected) if connected.unreported => Outcome::DONE,
            Tcp::Over(over) if over.attempt_failed => {
                // Once, and then a new attempt may begin.
                let errno = socket.error.take().filter(|_| socket_error(&end) != Ok(Ok(())));
                *tcp = Tcp::Fresh;
                Outcome::fail(errno.unwrap_or(Errno::CONNABORTED))
            }
            Tcp::Listening(_) | Tcp::Connected(_) | Tcp::Over(_) => Outcome::fail(Errno::ISCONN),
        }
    }

    fn begin_to_connect(
        &mut self,
        key: Key,
        request: &Request,
        named: SocketAddr,
        end: OwnedFd,
    ) -> Outcome {
        let waiting = waits(&end);
        let end = match self.end_for_attempt(key, request, end, !waiting) {
            Ok(end) => end,
            Err(errno) => return Outcome::fail(errno),
        };
        let Some(socket) = self.table.get(key) else { return Outcome::Continue };
        let remote = self.destination(named);
        if remote.port() == 0 {
            return Outcome::fail(Errno::CONNREFUSED);
        }
        let bound = socket.bound.as_ref().map(crate::bound::Hold::local);
        let bound = bound.or(socket.bound_address.map(|ip| SocketAddr::new(ip, 0)));
        let local = bound.map(|local| {
            // Bound to all addresses of both families, it calls from one of the peer's family.
            let family = SocketAddr::new(unspecified_like(remote.ip()), local.port());
            if local.ip().is_unspecified() { family } else { local }
        });
        let options = socket.settings.tcp(&self.network);
        let stream = match Stream::connect(&self.network, key, local, remote, &options) {
            Ok(stream) => stream,
            Err(error) => return Outcome::fail(of_connect(&error)),
        };
        let fill = if waiting { None } else { Fill::of(end) };
        let unreported = !waiting;
        // As on Linux, who calls nobody calls itself.
        let named = if named.ip().is_unspecified() { socket.domain.show(remote) } else { named };
        let connecting = Connecting { stream, named, fill, unreported };
        if let Some(socket) = self.table.get_mut(key) {
            socket.kind = Kind::Tcp(Tcp::Connecting(Box::new(connecting)));
            socket.error = None;
        }
        if waiting {
            return self.wait_for_handshake(key, request);
        }
        // Registers it for news. What is over already is told by the program's end.
        self.handshake_over(key);
        Outcome::fail(Errno::INPROGRESS)
    }

    /// The program's end for a new attempt: the old one, or a new one in its place if that has failed, or was
    /// a listener's.
    fn end_for_attempt(
        &mut self,
        key: Key,
        request: &Request,
        end: OwnedFd,
        nonblocking: bool,
    ) -> Result<OwnedFd, Errno> {
        let socket = self.table.get(key).ok_or(Errno::BADF)?;
        if socket.ours.is_some() && !socket.has_listened {
            return Ok(end);
        }
        self.renew_end(key, request, nonblocking)
    }

    /// Puts a new pair's end in the place of the one that the program has.
    pub(crate) fn renew_end(
        &mut self,
        key: Key,
        request: &Request,
        nonblocking: bool,
    ) -> Result<OwnedFd, Errno> {
        let place = request.place();
        let pair = Pair::new(SocketType::STREAM, nonblocking).map_err(|error| of_ours(&error))?;
        let close_on_exec = process::closes_on_exec(place);
        self.notifier
            .replace(request.id, pair.theirs.as_fd(), place.descriptor, close_on_exec)
            .map_err(|error| of_ours(&error))?;
        self.network.watch_pair(key, &pair.ours).map_err(|error| of_ours(&error))?;
        self.table.renew(key, pair).ok_or(Errno::BADF)
    }

    /// Where a connection to `named` goes.
    pub(crate) fn destination(&self, named: SocketAddr) -> SocketAddr {
        let plain = unmapped(named);
        let mapped = self.options.maps.iter().find(|(from, _)| *from == plain);
        let to = mapped.map_or(plain, |(_, to)| *to);
        // As on Linux, nobody's address is the host itself.
        match to.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => {
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), to.port())
            }
            IpAddr::V6(ip) if ip.is_unspecified() => {
                SocketAddr::new(Ipv6Addr::LOCALHOST.into(), to.port())
            }
            _ => to,
        }
    }

    /// Keeps a call until the handshake is over, which it may be already.
    fn wait_for_handshake(&mut self, key: Key, request: &Request) -> Outcome {
        let until = self.table.get(key).and_then(|socket| socket.settings.send_until());
        self.held.hold(key, request.clone(), until);
        self.handshake_over(key);
        Outcome::Held
    }

    /// The program does not wait for the handshake any longer: its end tells when it is over. True when
    /// that was so before.
    pub(crate) fn goes_on_alone(&mut self, key: Key) -> bool {
        let Some(socket) = self.table.get_mut(key) else { return false };
        let place = socket.place;
        let before = matches!(&socket.kind, Kind::Tcp(Tcp::Connecting(it)) if it.unreported);
        if let Kind::Tcp(Tcp::Connecting(connecting)) = &mut socket.kind
            && connecting.fill.is_none()
        {
            connecting.unreported = true;
            let end = self.processes.fetch(place).ok();
            let end = end.filter(|end| self.table.find(end) == Some(key));
            if let (Some(end), Some(connecting)) = (end, self.connecting(key)) {
                connecting.fill = Fill::of(end);
            }
        }
        before
    }

    /// Gives a handshake up.
    pub(crate) fn stop_connecting(&mut self, key: Key) {
        let Some(socket) = self.table.get_mut(key) else { return };
        let Kind::Tcp(tcp) = &mut socket.kind else { return };
        let over = Over { local: None, attempt_failed: true };
        match std::mem::replace(tcp, Tcp::Over(over)) {
            Tcp::Connecting(connecting) => connecting.stream.reset(),
            other => *tcp = other,
        }
        socket.ours = None;
        while let Some(call) = self.held.take_first(key) {
            self.answer_held(&call.request, key, Err(Errno::CONNRESET));
        }
    }

    /// Looks whether a handshake is over, and tells the program.
    pub(crate) fn handshake_over(&mut self, key: Key) {
        let Some(connecting) = self.connecting(key) else { return };
        match connecting.stream.handshake() {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.is_connected(key),
            Poll::Ready(Err(error)) => self.connecting_failed(key, of_connect(&error)),
        }
    }

    fn is_connected(&mut self, key: Key) {
        let Some(socket) = self.table.get_mut(key) else { return };
        let Kind::Tcp(tcp) = &mut socket.kind else { return };
        let Tcp::Connecting(connecting) = std::mem::replace(tcp, Tcp::Fresh) else { return };
        let Connecting { stream, named, fill, .. } = *connecting;
        if let (Some(fill), Some(ours)) = (fill, &socket.ours) {
            fill.empty(ours);
        }
        // Until somebody hears it. Nobody may wait just now: a signal's handler runs, and then the call is
        // repeated.
        *tcp = Tcp::Connected(Box::new(Connected::new(stream, named, true)));
        while let Some(call) = self.held.take_first(key) {
            self.answer_held(&call.request, key, Ok(0));
        }
        self.move_out(key);
        self.move_in(key);
    }

    fn connecting_failed(&mut self, key: Key, errno: Errno) {
        self.attempt_failed(key);
        let Some(socket) = self.table.get_mut(key) else { return };
        let Kind::Tcp(tcp) = &mut socket.kind else { return };
        let Tcp::Connecting(connecting) = std::mem::replace(tcp, Tcp::Fresh) else { return };
        if connecting.fill.is_some() {
            let over = Over { local: None, attempt_failed: true };
            *tcp = Tcp::Over(over);
            socket.error = Some(errno);
            socket.ours = None;
        }
        while let Some(call) = self.held.take_first(key) {
            self.answer_held(&call.request, key, Err(errno));
        }
    }

    /// `connect` to nobody: the connection is reset, and the socket can be used anew.
    fn disconnect(&mut self, key: Key, end: OwnedFd) -> Outcome {
        self.stop_listening(key, Some(end));
        let Some(socket) = self.table.get_mut(key) else { return Outcome::Continue };
        let Kind::Tcp(tcp) = &mut socket.kind else { return Outcome::Continue };
        match std::mem::replace(tcp, Tcp::Fresh) {
            Tcp::Connected(connected) => connected.stream.reset(),
            Tcp::Connecting(connecting) => connecting.stream.reset(),
            Tcp::Fresh | Tcp::Listening(_) | Tcp::Over(_) => return Outcome::DONE,
        }
        socket.ours = None;
        Outcome::DONE
    }

    fn connecting(&mut self, key: Key) -> Option<&mut Connecting> {
        match &mut self.table.get_mut(key)?.kind {
            Kind::Tcp(Tcp::Connecting(connecting)) => Some(connecting),
            _ => None,
        }
    }
}

/// Fills the program's end: how many bytes that took, and the send buffer that it had. One that cannot be
/// filled is writable too early, which is no reason to fail.
pub(crate) fn fill(end: &OwnedFd) -> Option<(usize, usize)> {
    let send_buffer = socket_send_buffer_size(end).ok()?;
    set_socket_send_buffer_size(end, 1).ok()?;
    let mut junk = 0;
    while junk < MAX_JUNK && send(end, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok() {
        junk += 1;
    }
    Some((junk, send_buffer))
}

impl Fill {
    fn of(end: OwnedFd) -> Option<Self> {
        let (junk, send_buffer) = fill(&end)?;
        Some(Self { end, junk, send_buffer })
    }

    /// Takes the bytes out at our end, and gives the program's end its buffer back.
    pub(crate) fn empty(self, ours: &OwnedFd) {
        // The kernel doubles what it is given.
        let _ = set_socket_send_buffer_size(&self.end, self.send_buffer / 2);
        let mut junk = [0; MAX_JUNK];
        let mut left = self.junk;
        while left > 0 {
            match recv(ours, &mut junk[..left], RecvFlags::DONTWAIT) {
                Ok((count @ 1.., _)) => left -= count.min(left),
                _ => break,
            }
        }
    }
}

/// What `connect` fails with.
fn of_connect(error: &std::io::Error) -> Errno {
    match errno::from_stack(error) {
        // To a group or to everybody.
        Errno::INVAL => Errno::NETUNREACH,
        // Of this stack, all ports to this peer are taken (Linux says so, too).
        errno => errno,
    }
}

fn unspecified_like(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
