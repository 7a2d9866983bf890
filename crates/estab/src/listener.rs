//! TCP listeners: one for the program, one on each shard.
//!
//! One for any address has two on each shard, for there are two families.

use std::io;
use std::net::SocketAddr;
use std::task::{Poll, Waker};

use stack::{Error, Family, ListenerId, PendingSyn, Ready, SocketId, TcpOptions};
use wire::time::Instant;

use crate::Stack;
use crate::block::block_on;
use crate::connection::Connection;
use crate::pending::Pending;
use crate::shards::next_shard;
use crate::socket::Socket;
use crate::wait::{Place, Side, Ticket};

/// How many connections wait for `accept` when nothing else is asked for.
pub(crate) const DEFAULT_BACKLOG: usize = 1024;

/// A TCP listener.
#[derive(Debug)]
pub(crate) struct Listener {
    /// One for each shard, or one for each shard and family, in order.
    parts: Vec<Part>,
}

/// A listener of one shard, with queues of its own.
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

    /// Takes every flow of both families to any address and port that no other listener has. Of each
    /// new SYN the program decides first.
    pub(crate) fn bind_any(
        stack: &Stack,
        backlog: usize,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        let mut listener = Self { parts: Vec::with_capacity(2 * stack.holds().len()) };
        for shard in stack.holds() {
            for family in [Family::V4, Family::V6] {
                let (socket, id) = Socket::open(shard, SocketId::Listener, |core, now| {
                    let id = core.listen_any(now, family, backlog, options.clone())?;
                    core.decide_first(id, true)?;
                    Ok(id)
                })?;
                listener.parts.push(Part { socket, id });
            }
        }
        Ok(listener)
    }

    /// Waits in this thread for a connection, as the listener's mode says.
    pub(crate) fn accept(&self) -> io::Result<(Connection, SocketAddr)> {
        let (part, accepted) = self.block(Part::accept)?;
        part.adopt(accepted)
    }

    /// Waits in this thread for a SYN to decide about.
    pub(crate) fn next_pending(&self) -> io::Result<Pending> {
        let (part, syn) = self.block(Part::next_pending)?;
        Ok(Pending::new(part.socket.shard(), syn))
    }

    /// Waits in this task for a connection.
    #[cfg(feature = "tokio")]
    pub(crate) async fn accepted(&self) -> io::Result<(Connection, SocketAddr)> {
        let (part, accepted) = self.wait(Part::accept).await?;
        part.adopt(accepted)
    }

    /// Waits in this task for a SYN to decide about.
    #[cfg(feature = "tokio")]
    pub(crate) async fn pending(&self) -> io::Result<Pending> {
        let (part, syn) = self.wait(Part::next_pending).await?;
        Ok(Pending::new(part.socket.shard(), syn))
    }

    /// Takes a connection, or has `waker` woken when there is one. Only the last that asked is.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_accept(&self, waker: &Waker) -> Poll<io::Result<(Connection, SocketAddr)>> {
        let taken = self.first_of(|_, part| {
            part.socket.poll(part.socket.polled(Side::Read), waker, part.accept())
        });
        taken.map(|taken| taken.and_then(|(part, accepted)| part.adopt(accepted)))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        // There is a part: binding fails otherwise.
        self.parts[0].socket.call(|core, _| core.listener_local(self.parts[0].id))
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.parts.iter().for_each(|part| part.socket.set_nonblocking(nonblocking));
    }

    /// Waits in this thread, as the listener's mode says, until one of the parts has what is `wanted`.
    fn block<T, F>(&self, wanted: impl Fn(&Part) -> F) -> io::Result<(&Part, T)>
    where
        F: FnMut(&mut stack::Stack, Instant) -> Result<T, Error>,
    {
        if let [only] = self.parts.as_slice() {
            return Ok((only, only.socket.block(Side::Read, wanted(only))?));
        }
        if self.parts.iter().any(|part| part.socket.is_nonblocking()) {
            return self.attempt(wanted);
        }
        let mut tickets = self.tickets();
        // It may carry the frames of one shard while it waits, and is woken by any.
        let shard = self.parts[next_shard(self.parts.len())].socket.shard().shared();
        let taken = block_on(shard, None, |waker| self.poll_tickets(waker, &mut tickets, &wanted));
        taken.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    /// Waits in this task until one of the parts has what is `wanted`.
    #[cfg(feature = "tokio")]
    async fn wait<T, F>(&self, wanted: impl Fn(&Part) -> F) -> io::Result<(&Part, T)>
    where
        F: FnMut(&mut stack::Stack, Instant) -> Result<T, Error>,
    {
        if let [only] = self.parts.as_slice() {
            return Ok((only, only.socket.wait(Side::Read, wanted(only)).await?));
        }
        self.parts.iter().for_each(|part| part.socket.shard().shared().lead.reserve());
        let mut tickets = self.tickets();
        std::future::poll_fn(|cx| self.poll_tickets(cx.waker(), &mut tickets, &wanted)).await
    }

    /// `tickets` are the places of one waiter, one at each part: any of them wakes it.
    fn poll_tickets<T, F>(
        &self,
        waker: &Waker,
        tickets: &mut [Ticket<'_>],
        wanted: impl Fn(&Part) -> F,
    ) -> Poll<io::Result<(&Part, T)>>
    where
        F: FnMut(&mut stack::Stack, Instant) -> Result<T, Error>,
    {
        self.first_of(|index, part| {
            part.socket.poll(Place::Ticket(&mut tickets[index]), waker, wanted(part))
        })
    }

    fn attempt<T, F>(&self, wanted: impl Fn(&Part) -> F) -> io::Result<(&Part, T)>
    where
        F: FnMut(&mut stack::Stack, Instant) -> Result<T, Error>,
    {
        let taken = self.first_of(|_, part| match part.socket.attempt(Side::Read, wanted(part)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        });
        match taken {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Asks each part once, and each time begins with another: no shard's connections wait behind
    /// those of a busier one. An error only when none has what is asked for.
    fn first_of<T>(
        &self,
        mut ask: impl FnMut(usize, &Part) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<(&Part, T)>> {
        let (first, count) = (next_shard(self.parts.len()), self.parts.len());
        let mut failed = Poll::Pending;
        for index in (0..count).map(|step| (first + step) % count) {
            let part = &self.parts[index];
            match ask(index, part) {
                Poll::Pending => {}
                Poll::Ready(Ok(taken)) => return Poll::Ready(Ok((part, taken))),
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

    /// Takes a SYN to decide about.
    fn next_pending(
        &self,
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Result<PendingSyn, Error> + use<> {
        let id = self.id;
        move |core, _| core.next_pending(id)
    }

    /// Makes a socket of what `accept` gave.
    fn adopt(&self, accepted: Accepted) -> io::Result<(Connection, SocketAddr)> {
        let (id, peer) = accepted;
        Ok((Connection::adopt(self.socket.shard(), id)?, peer))
    }
}
