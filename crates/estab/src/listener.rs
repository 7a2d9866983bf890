//! TCP listeners: one for the program, one on each shard.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};

use stack::{Error, ListenerId, Ready, SocketId, TcpOptions};
use wire::time::Instant;

use crate::Stack;
use crate::block::block_on;
use crate::connection::Connection;
use crate::shards::next_shard;
use crate::socket::Socket;
use crate::wait::{Place, Side, Ticket, Waiters};

/// How many connections wait for `accept` when nothing else is asked for.
pub(crate) const DEFAULT_BACKLOG: usize = 1024;

/// A TCP listener.
#[derive(Debug)]
pub(crate) struct Listener {
    /// One for each shard, in order.
    parts: Vec<Part>,
}

/// The listener of one shard, with an accept queue of its own.
#[derive(Debug)]
struct Part {
    socket: Socket,
    id: ListenerId,
}

/// What the stack's `accept` gives.
type Accepted = (stack::ConnectionId, SocketAddr);

impl Listener {
    /// Listens at `local`, on all shards; without `options` with the stack's defaults.
    ///
    /// The first shard decides whether the address is free and which port 0 is. Binding goes through
    /// the shards from the first to the last and closing the other way, so the others have no say.
    pub(crate) fn bind(
        stack: &Stack,
        local: SocketAddr,
        backlog: usize,
        options: Option<&TcpOptions>,
    ) -> io::Result<Self> {
        let mut listener = Self { parts: Vec::with_capacity(stack.holds().len()) };
        let mut local = local;
        for shard in stack.holds() {
            let (socket, id) = Socket::open(shard, SocketId::Listener, |core, now| {
                let options = options.unwrap_or(&core.config().tcp).clone();
                core.listen(now, local, backlog, options)
            })?;
            listener.parts.push(Part { socket, id });
            local = listener.local_addr()?;
        }
        Ok(listener)
    }

    /// Waits in this thread for a connection, as the listener's mode says.
    pub(crate) fn accept(&self) -> io::Result<(Connection, SocketAddr)> {
        if let [only] = self.parts.as_slice() {
            return only.adopt(only.socket.block(Side::Read, only.accept())?);
        }
        if self.parts.iter().any(|part| part.socket.is_nonblocking()) {
            return self.attempt();
        }
        let mut tickets = self.tickets();
        // It may carry the frames of one shard while it waits, and is woken by any.
        let shard = self.parts[next_shard(self.parts.len())].socket.shard().shared();
        let accepted = block_on(shard, None, |waker| self.poll_tickets(waker, &mut tickets));
        accepted.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Waits in this task for a connection.
    #[cfg(feature = "tokio")]
    pub(crate) async fn accepted(&self) -> io::Result<(Connection, SocketAddr)> {
        if let [only] = self.parts.as_slice() {
            return only.adopt(only.socket.wait(Side::Read, only.accept()).await?);
        }
        self.parts.iter().for_each(|part| part.socket.shard().shared().lead.reserve());
        let mut tickets = self.tickets();
        std::future::poll_fn(|cx| self.poll_tickets(cx.waker(), &mut tickets)).await
    }

    /// Takes a connection, or has `waker` woken when there is one. Only the last that asked is.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_accept(&self, waker: &Waker) -> Poll<io::Result<(Connection, SocketAddr)>> {
        self.first_of(|_, part| {
            part.socket.poll(part.socket.polled(Side::Read), waker, part.accept())
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        // There is a part: binding fails otherwise.
        self.parts[0].socket.call(|core, _| core.listener_local(self.parts[0].id))
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.parts.iter().for_each(|part| part.socket.set_nonblocking(nonblocking));
    }

    /// `tickets` are the places of one waiter, one on each shard: any of them wakes it.
    fn poll_tickets(
        &self,
        waker: &Waker,
        tickets: &mut [Ticket<'_>],
    ) -> Poll<io::Result<(Connection, SocketAddr)>> {
        self.first_of(|index, part| {
            part.socket.poll(Place::Ticket(&mut tickets[index]), waker, part.accept())
        })
    }

    fn attempt(&self) -> io::Result<(Connection, SocketAddr)> {
        let accepted =
            self.first_of(|_, part| match part.socket.attempt(Side::Read, part.accept()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                done => Poll::Ready(done),
            });
        match accepted {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Asks each shard once, and each time begins with another: no shard's connections wait behind
    /// those of a busier one. An error only when none has a connection.
    fn first_of(
        &self,
        mut ask: impl FnMut(usize, &Part) -> Poll<io::Result<Accepted>>,
    ) -> Poll<io::Result<(Connection, SocketAddr)>> {
        let (first, count) = (next_shard(self.parts.len()), self.parts.len());
        let mut failed = Poll::Pending;
        for index in (0..count).map(|step| (first + step) % count) {
            let part = &self.parts[index];
            match ask(index, part) {
                Poll::Pending => {}
                Poll::Ready(Ok(accepted)) => return Poll::Ready(part.adopt(accepted)),
                Poll::Ready(Err(error)) => failed = Poll::Ready(Err(error)),
            }
        }
        failed
    }

    fn tickets(&self) -> Vec<Ticket<'_>> {
        self.parts.iter().map(|part| part.socket.ticket(Side::Read)).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        while self.parts.pop().is_some() {}
    }
}

impl Part {
    /// Takes a connection that waits.
    fn accept(&self) -> impl FnMut(&mut stack::Stack, Instant) -> Result<Accepted, Error> + use<> {
        let id = self.id;
        // A connection that ended in the queue must not hide the ones behind it.
        move |core, now| loop {
            match core.accept(now, id) {
                Err(Error::WouldBlock)
                    if core.readiness(SocketId::Listener(id)).contains(Ready::READ) => {}
                answer => return answer,
            }
        }
    }

    /// Makes a socket of what `accept` gave.
    fn adopt(&self, accepted: Accepted) -> io::Result<(Connection, SocketAddr)> {
        let (id, peer) = accepted;
        let waiters = Arc::new(Waiters::default());
        let shard = self.socket.shard();
        let socket = Socket::new(shard, SocketId::Connection(id), Arc::clone(&waiters));
        // Whoever is to wait for the socket does not have it yet, so nobody misses an event.
        shard.shared().enter(|engine, _| {
            engine.waiters.insert(SocketId::Connection(id), waiters);
        })?;
        Ok((Connection::new(socket, id), peer))
    }
}
