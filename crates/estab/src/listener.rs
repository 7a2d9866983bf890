//! TCP listeners: one for the program, one on each shard.
//!
//! One for any address has two on each shard, for there are two families.

use std::io;
use std::net::SocketAddr;
#[cfg(feature = "tokio")]
use std::task::{Poll, Waker};

use stack::{Error, Family, ListenerId, PendingSyn, Ready, SocketId, TcpOptions};
use wire::time::Instant;

use crate::Stack;
use crate::connection::Connection;
use crate::parts::Parts;
use crate::pending::Pending;
use crate::socket::Socket;
#[cfg(feature = "tokio")]
use crate::wait::Side;

/// How many connections wait for `accept` when nothing else is asked for.
pub(crate) const DEFAULT_BACKLOG: usize = 1024;

/// A TCP listener.
#[derive(Debug)]
pub(crate) struct Listener {
    /// One for each shard, or one for each shard and family, with queues of its own.
    parts: Parts<ListenerId>,
}

type Part = crate::parts::Part<ListenerId>;

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
        let mut listener = Self { parts: Parts::with_capacity(stack.holds().len()) };
        let mut local = local;
        for shard in stack.holds() {
            let part = Socket::open(shard, SocketId::Listener, |core, now| {
                let options = options.unwrap_or(&core.config().tcp).clone();
                core.listen(now, local, backlog, options)
            })?;
            listener.parts.push(part);
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
        let mut listener = Self { parts: Parts::with_capacity(2 * stack.holds().len()) };
        for shard in stack.holds() {
            for family in [Family::V4, Family::V6] {
                let part = Socket::open(shard, SocketId::Listener, |core, now| {
                    let id = core.listen_any(now, family, backlog, options.clone())?;
                    core.decide_first(id, true)?;
                    Ok(id)
                })?;
                listener.parts.push(part);
            }
        }
        Ok(listener)
    }

    /// Waits in this thread for a connection, as the listener's mode says.
    pub(crate) fn accept(&self) -> io::Result<(Connection, SocketAddr)> {
        let (part, accepted) = self.parts.block(Part::accept)?;
        part.adopt(accepted)
    }

    /// Waits in this thread for a SYN to decide about.
    pub(crate) fn next_pending(&self) -> io::Result<Pending> {
        let (part, syn) = self.parts.block(Part::next_pending)?;
        Ok(Pending::new(part.socket.shard(), syn))
    }

    /// Waits in this task for a connection.
    #[cfg(feature = "tokio")]
    pub(crate) async fn accepted(&self) -> io::Result<(Connection, SocketAddr)> {
        let (part, accepted) = self.parts.wait(Part::accept).await?;
        part.adopt(accepted)
    }

    /// Waits in this task for a SYN to decide about.
    #[cfg(feature = "tokio")]
    pub(crate) async fn pending(&self) -> io::Result<Pending> {
        let (part, syn) = self.parts.wait(Part::next_pending).await?;
        Ok(Pending::new(part.socket.shard(), syn))
    }

    /// Takes a connection, or has `waker` woken when there is one. Only the last that asked is.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_accept(&self, waker: &Waker) -> Poll<io::Result<(Connection, SocketAddr)>> {
        let taken = self.parts.first_of(|_, part| {
            part.socket.poll(part.socket.polled(Side::Read), waker, part.accept())
        });
        taken.map(|taken| taken.and_then(|(part, accepted)| part.adopt(accepted)))
    }

    /// Changes what connections start with from now on.
    pub(crate) fn set_options(&self, options: &TcpOptions) -> io::Result<()> {
        let set = |core: &mut stack::Stack, id| core.set_listener_options(id, options.clone());
        self.parts.iter().try_for_each(|part| part.socket.call(|core, _| set(core, part.id)))
    }

    /// How many connections wait.
    pub(crate) fn waiting(&self) -> io::Result<usize> {
        let count = |part: &Part| part.socket.call(|core, _| core.waiting_connections(part.id));
        self.parts.iter().map(count).sum()
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let first = self.parts.first();
        first.socket.call(|core, _| core.listener_local(first.id))
    }

    /// Those on each shard.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.parts.sockets()
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.parts.set_nonblocking(nonblocking);
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
