//! `accept`, and listeners that are readable exactly while connections wait.
//!
//! Connections wait on the stack, where the backlog bounds them. In the program's end of the pair lies a
//! byte for each, the *token*, which `accept` takes out again: so `poll` and `epoll` see what they would
//! see. Sockets that share a port get their connections here, by a hash of the peer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType, recv, send};

use crate::address::encode;
use crate::create::{of_ours, refused};
use crate::errno;
use crate::process::Place;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::syscall::Call;
use crate::table::{Connected, Fill, Key, Kind, Listening, Pair, Ready, Shared, Socket, Tcp};

/// How many tokens lie in a program's end at most: each takes 768 bytes of its buffer's 208 KiB.
const MAX_TOKENS: usize = 256;

const SOCK_NONBLOCK: i32 = 0o4000;
const SOCK_CLOEXEC: i32 = 0o2000000;

/// Whether calls on a descriptor wait.
pub(crate) fn waits(descriptor: &impl AsFd) -> bool {
    !fcntl_getfl(descriptor).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
}

impl Supervisor {
    /// `accept(fd, address, length)` and `accept4(fd, address, length, flags)`
    pub(crate) fn accept(&mut self, key: Key, request: &Request, descriptor: &OwnedFd) -> Outcome {
        let Some(socket) = self.table.get(key) else { return Outcome::Continue };
        if !matches!(socket.kind, Kind::Tcp(Tcp::Listening(_))) {
            return Outcome::fail(Errno::INVAL);
        }
        if flags(request) & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
            return Outcome::fail(Errno::INVAL);
        }
        let outcome = match self.next_connection(key) {
            Ok(Some(connection)) => {
                // Before the program goes on, and may look.
                self.correct_tokens(key, Some(descriptor));
                self.give_connection(key, request, connection)
            }
            // It was told of one that its peer has reset since (Linux has it accepted, and fail then).
            Ok(None) if waits(descriptor) && self.has_told(key) => {
                Outcome::fail(Errno::CONNABORTED)
            }
            Ok(None) if waits(descriptor) => {
                let until = self.table.get(key).and_then(|socket| socket.settings.receive_until());
                self.held.hold(key, request.clone(), until);
                Outcome::Held
            }
            Ok(None) => Outcome::fail(Errno::AGAIN),
            Err(errno) => Outcome::fail(errno),
        };
        self.correct_tokens(key, Some(descriptor));
        outcome
    }

    /// Whether the program's end says that a connection waits.
    fn has_told(&mut self, key: Key) -> bool {
        self.listening(key).is_some_and(|listening| listening.tokens > 0)
    }

    /// The connection that has waited for the longest time.
    fn next_connection(&mut self, key: Key) -> Result<Option<Ready>, Errno> {
        let Some(listening) = self.listening(key) else { return Ok(None) };
        if let Some(ready) = listening.ready.pop_front() {
            return Ok(Some(ready));
        }
        let shared = Rc::clone(&listening.listener);
        if shared.members.borrow().len() > 1 {
            return Ok(None);
        }
        let accepted = shared.listener.accept();
        let waiting = shared.listener.waiting();
        if let (Some(listening), Ok(waiting)) = (self.listening(key), waiting) {
            listening.waiting = waiting;
        }
        let taken = |(stream, peer)| Ready::Taken(stream, peer);
        accepted.map(|accepted| accepted.map(taken)).map_err(|error| errno::from_stack(&error))
    }

    /// Gives a connection to the program as the answer to its call, or keeps it for the next one.
    fn give_connection(&mut self, listener: Key, request: &Request, ready: Ready) -> Outcome {
        let flags = flags(request);
        let (key, theirs) = match self.made(listener, request, ready) {
            Ok(made) => made,
            Err(errno) => return Outcome::fail(errno),
        };
        if flags & SOCK_NONBLOCK != 0 {
            // A socket can always be made so.
            let _ = rustix::io::ioctl_fionbio(&theirs, true);
        }
        let shown = self.table.get(key).and_then(Socket::peer);
        if request.arguments[1] != 0
            && let Some(shown) = shown
            && let Err(errno) = request.write_sized(1, 2, &encode(shown))
        {
            // As on Linux, the connection is lost to a program that has no room for the name.
            self.table.remove(key);
            return Outcome::fail(errno);
        }
        match self.give(key, request, &theirs, flags & SOCK_CLOEXEC != 0) {
            Ok(descriptor) => Outcome::Given(Some(descriptor)),
            Err(error) => {
                rustix::io::ioctl_fionbio(&theirs, false).ok();
                self.keep(listener, Ready::Made(key, theirs));
                refused(&error)
            }
        }
    }

    /// The socket of a connection, and the program's end of its pair, in which all lies that has come: a
    /// program that was told of data reads without waiting for it.
    fn made(
        &mut self,
        listener: Key,
        request: &Request,
        ready: Ready,
    ) -> Result<(Key, OwnedFd), Errno> {
        let (stream, peer) = match ready {
            Ready::Taken(stream, peer) => (stream, peer),
            Ready::Made(key, theirs) => return Ok((key, theirs)),
        };
        let pair = match Pair::new(SocketType::STREAM, false) {
            Ok(pair) => pair,
            Err(error) => {
                self.keep(listener, Ready::Taken(stream, peer));
                return Err(of_ours(&error));
            }
        };
        let socket = self.table.get(listener).ok_or(Errno::BADF)?;
        let (domain, settings) = (socket.domain, socket.settings.inherited());
        settings.give_timeouts(&pair.theirs);
        let connected = Connected::new(stream, domain.show(peer), false);
        let kind = Kind::Tcp(Tcp::Connected(Box::new(connected)));
        let place = Place { thread: request.thread, descriptor: u32::MAX };
        let (key, theirs) = self.table.insert(pair, domain, kind, place);
        if let Some(socket) = self.table.get_mut(key) {
            socket.settings = settings;
        }
        if let Err(error) = self.watch_pair(key) {
            self.table.remove(key);
            return Err(of_ours(&error));
        }
        self.adopt(key);
        Ok((key, theirs))
    }

    /// Has news of an accepted connection come to its own socket, and moves what is there already.
    fn adopt(&mut self, key: Key) {
        let Some(socket) = self.table.get_mut(key) else { return };
        if let Kind::Tcp(Tcp::Connected(connected)) = &mut socket.kind {
            // A stack that has ended tells nothing; reading says so.
            let _ = connected.stream.watch(&self.network, key);
            if socket.settings.changed_while_listening {
                // What cannot be set on a connection was not accepted before.
                let _ = connected.stream.set_options(socket.settings.tcp(&self.network));
            }
        }
        self.move_in(key);
    }

    /// Puts a connection back that could not be given.
    fn keep(&mut self, listener: Key, ready: Ready) {
        if let Some(listening) = self.listening(listener) {
            listening.ready.push_front(ready);
        }
    }

    /// Connections have come, or gone: whoever waits in `accept` gets them, and the others are told.
    pub(crate) fn connections_wait(&mut self, key: Key) {
        let Some(listening) = self.listening(key) else { return };
        let shared = Rc::clone(&listening.listener);
        let members = shared.members.borrow().clone();
        if members.len() > 1 {
            self.distribute(&shared, &members);
        } else if let Ok(waiting) = shared.listener.waiting()
            && let Some(listening) = self.listening(key)
        {
            listening.waiting = waiting;
        }
        for member in members {
            self.serve_accepts(member);
            self.correct_tokens(member, None);
        }
    }

    /// Gives each of the sockets that share a port its part of the connections.
    fn distribute(&mut self, shared: &Shared, members: &[Key]) {
        let has_room = |listening: &mut Listening| listening.ready.len() <= listening.backlog;
        while let Some(member) =
            members.iter().find(|member| self.listening(**member).is_some_and(has_room))
        {
            let Ok(Some((stream, peer))) = shared.listener.accept() else {
                break;
            };
            let mut hasher = DefaultHasher::new();
            peer.hash(&mut hasher);
            let chosen = members[(hasher.finish() % members.len() as u64) as usize];
            // One that is full leaves it to another, where Linux would drop it.
            let fits = self.listening(chosen).is_some_and(has_room);
            if let Some(listening) = self.listening(if fits { chosen } else { *member }) {
                listening.ready.push_back(Ready::Taken(stream, peer));
            }
        }
    }

    /// Answers calls of `accept` that wait, as long as there are connections.
    fn serve_accepts(&mut self, key: Key) {
        while self.held.any(key) {
            let Ok(Some(connection)) = self.next_connection(key) else { return };
            let Some(call) = self.held.take_first(key) else { return };
            let outcome = self.give_connection(key, &call.request, connection);
            self.settle(&call.request, Some(key), outcome);
        }
    }

    /// Makes the program's end hold as many tokens as connections wait. Only with its `descriptor` some
    /// can be taken out.
    fn correct_tokens(&mut self, key: Key, descriptor: Option<&OwnedFd>) {
        let Some(socket) = self.table.get_mut(key) else { return };
        let (Kind::Tcp(Tcp::Listening(listening)), Some(ours)) = (&mut socket.kind, &socket.ours)
        else {
            return;
        };
        let wanted = (listening.waiting + listening.ready.len()).min(MAX_TOKENS);
        while listening.tokens < wanted {
            if send(ours, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_err() {
                break;
            }
            listening.tokens += 1;
        }
        let mut tokens = [0; MAX_TOKENS];
        if let Some(descriptor) = descriptor.filter(|_| listening.tokens > wanted) {
            let excess = listening.tokens - wanted;
            let taken = recv(descriptor, &mut tokens[..excess], RecvFlags::DONTWAIT);
            listening.tokens -= taken.map_or(0, |(count, _)| count).min(excess);
        }
    }

    pub(crate) fn listening(&mut self, key: Key) -> Option<&mut Listening> {
        match &mut self.table.get_mut(key)?.kind {
            Kind::Tcp(Tcp::Listening(listening)) => Some(listening),
            _ => None,
        }
    }

    /// A socket does not listen any more: its connections are reset, unless others share the port.
    /// With its `descriptor` it can be used for something else then.
    pub(crate) fn stop_listening(&mut self, key: Key, descriptor: Option<OwnedFd>) {
        let Some(socket) = self.table.get_mut(key) else { return };
        let Kind::Tcp(kind) = &mut socket.kind else { return };
        if !matches!(kind, Tcp::Listening(_)) {
            return;
        }
        let Tcp::Listening(listening) = std::mem::replace(kind, Tcp::Fresh) else { return };
        if let (Some(end), Some(ours)) = (descriptor, &socket.ours) {
            // There are as many as were put there, or none.
            let _ = recv(&end, &mut [0; MAX_TOKENS][..listening.tokens], RecvFlags::DONTWAIT);
            if let Some((junk, send_buffer)) = listening.fill {
                Fill { end, junk, send_buffer }.empty(ours);
            }
        }
        if let Some(hold) = &socket.bound {
            // Not to listen is never a conflict.
            let _ = hold.set_listens(false);
        }
        let shared = listening.listener;
        shared.members.borrow_mut().retain(|member| *member != key);
        for ready in listening.ready {
            match ready {
                Ready::Taken(stream, _) => stream.reset(),
                Ready::Made(key, _) => self.abort(key),
            }
        }
        let heir = shared.members.borrow().first().copied();
        if let Some(heir) = heir {
            // One that is registered can be registered anew.
            let _ = shared.listener.tell(&self.network, heir);
            self.connections_wait(heir);
        }
    }
}

fn flags(request: &Request) -> i32 {
    if request.call == Call::Accept4 { request.int(3) } else { 0 }
}
