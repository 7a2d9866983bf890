//! The calls of a UDP socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::control::{Beside, Control, Said};
use super::message::{MANY_COUNT, MANY_LENGTH, Message};
use super::{BUFFER, Given, Sent};
use crate::accept::waits;
use crate::address::{Name, encode};
use crate::errno;
use crate::held::HeldCall;
use crate::process;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::syscall::Call;
use crate::table::{Key, Kind};

const MSG_OOB: i32 = 0x01;
const MSG_PEEK: i32 = 0x02;
const MSG_TRUNC: i32 = 0x20;
const MSG_DONTWAIT: i32 = 0x40;
const MSG_ERRQUEUE: i32 = 0x2000;

/// The largest datagram that can be asked for.
const MAX_PAYLOAD: usize = 65_535;
/// How many interfaces a program's network shows: the loopback and the link.
const INTERFACES: u32 = 2;
/// The most messages of one call (`UIO_MAXIOV`).
const MAX_MESSAGES: usize = 1024;

/// A datagram that was taken out of the program's end.
struct Taken {
    payload: Vec<u8>,
    /// How long it was.
    length: usize,
    beside: Option<Beside>,
}

impl Supervisor {
    /// A call on a UDP socket.
    pub(crate) fn carry_out_udp(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
    ) -> Outcome {
        match request.call {
            Call::Bind => self.bind_udp(key, request),
            Call::Connect => self.connect_udp(key, request),
            Call::Listen | Call::Accept | Call::Accept4 => Outcome::fail(Errno::OPNOTSUPP),
            Call::Shutdown => self.shutdown_udp(key, request, descriptor),
            Call::SendTo => self.send_to(key, request, descriptor),
            Call::SendMessage => self.send_message(key, request, descriptor),
            Call::SendMessages => self.send_messages(key, request, descriptor),
            Call::ReceiveFrom => self.receive_from(key, request, descriptor),
            Call::ReceiveMessage => self.receive_message(key, request, descriptor),
            Call::ReceiveMessages => self.receive_messages(key, request, descriptor),
            _ => Outcome::Continue,
        }
    }

    fn bind_udp(&mut self, key: Key, request: &Request) -> Outcome {
        let local = match self.local_name(key, request) {
            Ok(local) => local,
            Err(errno) => return Outcome::fail(errno),
        };
        let Some(socket) = self.table.get_mut(key) else { return Outcome::Continue };
        let Kind::Udp(udp) = &mut socket.kind else { return Outcome::Continue };
        if udp.socket.is_some() {
            return Outcome::fail(Errno::INVAL);
        }
        if let Err(error) = udp.bind(&self.network, key, local, &socket.settings) {
            return Outcome::fail(errno::from_stack(&error));
        }
        self.datagrams_in(key);
        Outcome::DONE
    }

    fn connect_udp(&mut self, key: Key, request: &Request) -> Outcome {
        let Some(domain) = self.table.get(key).map(|socket| socket.domain) else {
            return Outcome::Continue;
        };
        match request.name(&self.notifier, 1, 2, domain) {
            Ok(Name::At(named)) => self.connect_datagrams(key, named).into(),
            Ok(Name::Nobody) => self.disconnect_datagrams(key).into(),
            Err(errno) => Outcome::fail(errno),
        }
    }

    fn connect_datagrams(&mut self, key: Key, named: SocketAddr) -> Result<(), Errno> {
        // What was written before goes to whom it was meant for.
        self.datagrams_out(key);
        let remote = self.destination(named);
        let socket = self.table.get_mut(key).ok_or(Errno::BADF)?;
        socket.bind_anywhere(&self.network, key)?;
        let Kind::Udp(udp) = &mut socket.kind else { return Err(Errno::INVAL) };
        let socket = udp.socket.as_ref().ok_or(Errno::NETUNREACH)?;
        socket.inner.connect(remote).map_err(|error| errno::from_stack(&error))?;
        udp.peer = Some((named, remote));
        self.datagrams_in(key);
        Ok(())
    }

    /// `connect` to nobody: the socket is bound anew, to the port that it has.
    fn disconnect_datagrams(&mut self, key: Key) -> Result<(), Errno> {
        self.datagrams_out(key);
        let socket = self.table.get_mut(key).ok_or(Errno::BADF)?;
        let any = socket.domain.unspecified();
        let Kind::Udp(udp) = &mut socket.kind else { return Err(Errno::INVAL) };
        let (Some(_), Some(local)) = (udp.peer.take(), udp.local()) else { return Ok(()) };
        udp.socket = None;
        let local = SocketAddr::new(any.ip(), local.port());
        let bound = udp.bind(&self.network, key, local, &socket.settings);
        bound.map_err(|error| errno::from_stack(&error))?;
        self.datagrams_in(key);
        Ok(())
    }

    fn shutdown_udp(&mut self, key: Key, request: &Request, descriptor: &OwnedFd) -> Outcome {
        let how = match request.int(1) {
            0 => rustix::net::Shutdown::Read,
            1 => rustix::net::Shutdown::Write,
            2 => rustix::net::Shutdown::Both,
            _ => return Outcome::fail(Errno::INVAL),
        };
        if self.connected_peer(key).is_none() {
            return Outcome::fail(Errno::NOTCONN);
        }
        rustix::net::shutdown(descriptor, how).into()
    }

    /// `sendto(fd, bytes, length, flags, address, length)`
    fn send_to(&mut self, key: Key, request: &Request, descriptor: &OwnedFd) -> Outcome {
        let length = usize::try_from(request.arguments[2]).unwrap_or(usize::MAX);
        if length > MAX_PAYLOAD {
            return Outcome::fail(Errno::MSGSIZE);
        }
        let domain = self.table.get(key).map(|socket| socket.domain);
        let Some(domain) = domain else { return Outcome::Continue };
        let payload = process::read(request.thread, request.arguments[1], length);
        let name = request.name(&self.notifier, 4, 5, domain);
        match (payload, name) {
            (Ok(payload), Ok(name)) => {
                let said = Said::default();
                let sent = self.send_to_name(key, descriptor, &payload, name, said, request.int(3));
                self.sent(key, request, descriptor, sent, request.int(3))
            }
            (Err(errno), _) | (_, Err(errno)) => Outcome::fail(errno),
        }
    }

    /// Sends a datagram to whom the program named; how long it was, unless there was no room.
    fn send_to_name(
        &mut self,
        key: Key,
        descriptor: &OwnedFd,
        payload: &[u8],
        name: Name,
        said: Said,
        flags: i32,
    ) -> Result<Option<usize>, Errno> {
        if flags & MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        // What was written before goes first.
        self.datagrams_out(key);
        let remote = match name {
            Name::At(named) => self.destination(named),
            Name::Nobody => self.connected_peer(key).ok_or(Errno::DESTADDRREQ)?,
        };
        let socket = self.table.get_mut(key).ok_or(Errno::BADF)?;
        if let Kind::Udp(udp) = &mut socket.kind
            && let Some(errno) = udp.error.take()
        {
            udp.take_signs(descriptor);
            return Err(errno);
        }
        match socket.send_datagram(&self.network, key, payload, remote, said) {
            Sent::Done => {
                // It may have come to this host.
                self.datagrams_in(key);
                Ok(Some(payload.len()))
            }
            Sent::Later => Ok(None),
            Sent::Failed(errno) => Err(errno),
        }
    }

    /// What a call that sends is answered, or that it waits.
    fn sent(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
        sent: Result<Option<usize>, Errno>,
        flags: i32,
    ) -> Outcome {
        match sent {
            Ok(Some(length)) => Outcome::Answer(Ok(i64::try_from(length).unwrap_or(i64::MAX))),
            Ok(None) if flags & MSG_DONTWAIT == 0 && waits(descriptor) => {
                let until = self.table.get(key).and_then(|socket| socket.settings.send_until());
                self.held.hold(key, request.clone(), until);
                Outcome::Held
            }
            Ok(None) => Outcome::fail(Errno::AGAIN),
            Err(errno) => Outcome::fail(errno),
        }
    }

    /// `sendmsg(fd, message, flags)`
    fn send_message(&mut self, key: Key, request: &Request, descriptor: &OwnedFd) -> Outcome {
        let message = match Message::read(request.thread, request.arguments[1]) {
            Ok(message) => message,
            Err(errno) => return Outcome::fail(errno),
        };
        let flags = request.int(2);
        let sent = self.send_one(key, descriptor, request, &message, flags);
        self.sent(key, request, descriptor, sent, flags)
    }

    /// `sendmmsg(fd, messages, count, flags)`
    fn send_messages(&mut self, key: Key, request: &Request, descriptor: &OwnedFd) -> Outcome {
        let (first, flags) = (request.arguments[1], request.int(3));
        let count = request.int(2).cast_unsigned() as usize;
        let mut done = 0;
        for index in 0..count.min(MAX_MESSAGES) {
            let place = first.wrapping_add(index as u64 * MANY_LENGTH);
            let sent = Message::read(request.thread, place)
                .and_then(|message| self.send_one(key, descriptor, request, &message, flags));
            let length = match sent {
                Ok(Some(length)) => u32::try_from(length).unwrap_or(0),
                // What was sent counts.
                Ok(None) | Err(_) if done > 0 => break,
                other => return self.sent(key, request, descriptor, other, flags),
            };
            let place = place.wrapping_add(MANY_COUNT);
            if let Err(errno) = process::write(request.thread, place, &length.to_ne_bytes()) {
                return Outcome::fail(errno);
            }
            done += 1;
        }
        Outcome::Answer(Ok(done))
    }

    fn send_one(
        &mut self,
        key: Key,
        descriptor: &OwnedFd,
        request: &Request,
        message: &Message,
        flags: i32,
    ) -> Result<Option<usize>, Errno> {
        let said = Said::parse(&message.control()?)?;
        if said.interface.is_some_and(|index| index > INTERFACES) {
            return Err(Errno::NODEV);
        }
        let domain = self.table.get(key).ok_or(Errno::BADF)?.domain;
        let name = match message.name {
            0 => Name::Nobody,
            address => {
                let length = usize::try_from(message.name_length).unwrap_or(usize::MAX).min(128);
                domain
                    .parse(&process::read(request.thread, address, length)?)?
                    .in_scope(said.interface)
            }
        };
        let payload = message.gather(MAX_PAYLOAD)?;
        self.send_to_name(key, descriptor, &payload, name, said, flags)
    }

    fn connected_peer(&self, key: Key) -> Option<SocketAddr> {
        match &self.table.get(key)?.kind {
            Kind::Udp(udp) => udp.peer.map(|(_, remote)| remote),
            Kind::Tcp(_) => None,
        }
    }

    /// `recvfrom(fd, buffer, length, flags, address, length)`
    fn receive_from(&mut self, key: Key, request: &Request, descriptor: &OwnedFd) -> Outcome {
        let (room, flags) = (request.arguments[2], request.int(3));
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(BUFFER);
        let taken = match self.take_datagram(key, descriptor, room, flags) {
            Ok(taken) => taken,
            Err(errno) => return self.nothing_came(key, request, descriptor, flags, errno),
        };
        let name = self.shown(key, taken.beside.map(|beside| beside.source));
        let mut written = process::write(request.thread, request.arguments[1], &taken.payload);
        if request.arguments[4] != 0 {
            written = written.and_then(|()| request.write_sized(4, 5, &name));
        }
        match written {
            Ok(()) => Outcome::Answer(Ok(taken.count(flags))),
            Err(errno) => Outcome::fail(errno),
        }
    }

    /// `recvmsg(fd, message, flags)`
    fn receive_message(&mut self, key: Key, request: &Request, descriptor: &OwnedFd) -> Outcome {
        let flags = request.int(2);
        match self.receive_one(key, request, descriptor, request.arguments[1], flags) {
            Ok(count) => Outcome::Answer(Ok(count)),
            Err(errno) => self.nothing_came(key, request, descriptor, flags, errno),
        }
    }

    /// `recvmmsg(fd, messages, count, flags, timeout)`. It gives what is there, and waits for the first
    /// message only.
    fn receive_messages(&mut self, key: Key, request: &Request, descriptor: &OwnedFd) -> Outcome {
        let (first, flags) = (request.arguments[1], request.int(3));
        let count = request.int(2).cast_unsigned() as usize;
        let mut done = 0;
        for index in 0..count.min(MAX_MESSAGES) {
            let place = first.wrapping_add(index as u64 * MANY_LENGTH);
            let length = match self.receive_one(key, request, descriptor, place, flags) {
                Ok(length) => u32::try_from(length).unwrap_or(0),
                Err(_) if done > 0 => break,
                Err(errno) => return self.nothing_came(key, request, descriptor, flags, errno),
            };
            let place = place.wrapping_add(MANY_COUNT);
            if let Err(errno) = process::write(request.thread, place, &length.to_ne_bytes()) {
                return Outcome::fail(errno);
            }
            done += 1;
        }
        Outcome::Answer(Ok(done))
    }

    fn receive_one(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
        place: u64,
        flags: i32,
    ) -> Result<i64, Errno> {
        let message = Message::read(request.thread, place)?;
        let taken = self.take_datagram(key, descriptor, message.room().min(BUFFER), flags)?;
        message.scatter(&taken.payload)?;
        let cut = if taken.length > taken.payload.len() { MSG_TRUNC } else { 0 };
        let control = self.control_beside(key, &taken);
        message.finish(
            &self.shown(key, taken.beside.map(|beside| beside.source)),
            &control,
            cut,
        )?;
        Ok(taken.count(flags))
    }

    /// Takes a datagram out of the program's end, as the program would.
    fn take_datagram(
        &mut self,
        key: Key,
        descriptor: &OwnedFd,
        room: usize,
        flags: i32,
    ) -> Result<Taken, Errno> {
        if flags & MSG_ERRQUEUE != 0 {
            return Err(Errno::AGAIN);
        }
        let socket = self.table.get_mut(key).ok_or(Errno::BADF)?;
        let Kind::Udp(udp) = &mut socket.kind else { return Err(Errno::INVAL) };
        if let Some(errno) = udp.error.take() {
            udp.take_signs(descriptor);
            return Err(errno);
        }
        udp.take_signs(descriptor);
        let peek = flags & MSG_PEEK != 0;
        let mut how = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        how.set(RecvFlags::PEEK, peek);
        let mut payload = vec![0; room];
        let length = match recv(descriptor, payload.as_mut_slice(), how) {
            Ok((_, length)) => length,
            Err(errno) => {
                if errno == Errno::AGAIN {
                    udp.given.clear(); // All of them were taken.
                }
                return Err(errno);
            }
        };
        payload.truncate(length);
        let given = if peek { udp.given.front().copied() } else { udp.given.pop_front() };
        let beside = match given {
            Some(Given::Datagram(beside)) => Some(beside),
            Some(Given::Sign) | None => None,
        };
        Ok(Taken { payload, length, beside })
    }

    /// What the program wants to be told beside a datagram.
    fn control_beside(&self, key: Key, taken: &Taken) -> Control {
        let Some(socket) = self.table.get(key) else { return Control::default() };
        let Some(beside) = taken.beside else { return Control::default() };
        beside.control(&socket.settings.wanted, socket.domain, |destination| {
            self.address_for(destination)
        })
    }

    /// Which of our addresses answers what was sent to `destination`: itself, or the first one of the link where
    /// it is a group's or everybody's.
    fn address_for(&self, destination: Ipv4Addr) -> Ipv4Addr {
        let addresses = self.network.stack.addresses();
        let ours = |ip: IpAddr| addresses.iter().any(|(address, _)| *address == ip);
        if destination.is_loopback() || ours(destination.into()) {
            return destination;
        }
        let first = addresses.iter().find_map(|(address, _)| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        first.unwrap_or(destination)
    }

    /// What a call that receives is answered when there is nothing, or that it waits.
    fn nothing_came(
        &mut self,
        key: Key,
        request: &Request,
        descriptor: &OwnedFd,
        flags: i32,
        errno: Errno,
    ) -> Outcome {
        let wait = errno == Errno::AGAIN
            && flags & (MSG_DONTWAIT | MSG_ERRQUEUE) == 0
            && waits(descriptor);
        if !wait {
            return Outcome::fail(errno);
        }
        let until = self.table.get(key).and_then(|socket| socket.settings.receive_until());
        self.held.hold(key, request.clone(), until);
        Outcome::Held
    }

    fn shown(&self, key: Key, source: Option<SocketAddr>) -> Vec<u8> {
        let Some(socket) = self.table.get(key) else { return Vec::new() };
        let source = source.map(|source| socket.domain.show(self.known_as(source)));
        source.map_or_else(Vec::new, encode)
    }

    /// The address by which programs know `remote`.
    fn known_as(&self, remote: SocketAddr) -> SocketAddr {
        let mapped = self.options.maps.iter().find(|(_, to)| *to == remote);
        mapped.map_or(remote, |(from, _)| *from)
    }

    /// Carries out once more a call that waited.
    pub(super) fn retry(&mut self, key: Key, call: &HeldCall, descriptor: &OwnedFd) {
        let udp = matches!(self.table.get(key).map(|socket| &socket.kind), Some(Kind::Udp(_)));
        let outcome = match udp {
            true => self.carry_out_udp(key, &call.request, descriptor),
            false if call.request.call == Call::ReceiveFrom => {
                self.throw_away(key, &call.request, descriptor)
            }
            // Of a stream, nothing else waits for its pair.
            false => self.send_stream(key, &call.request, descriptor),
        };
        if outcome != Outcome::Held {
            self.settle(&call.request, Some(key), outcome);
        }
    }
}

impl Taken {
    /// What the call returns.
    fn count(&self, flags: i32) -> i64 {
        let count = if flags & MSG_TRUNC != 0 { self.length } else { self.payload.len() };
        i64::try_from(count).unwrap_or(i64::MAX)
    }
}
