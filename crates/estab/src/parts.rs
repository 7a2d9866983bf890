//! One socket for the program, and one on each shard, or more: whoever waits waits for all of them.

use std::io;
use std::task::{Poll, Waker};

use stack::Error;
use wire::time::Instant;

use crate::block::block_on;
use crate::shards::next_shard;
use crate::socket::Socket;
use crate::wait::{Place, Side, Ticket};

/// The parts of a socket, in the order of the shards. There is at least one.
#[derive(Debug)]
pub(crate) struct Parts<I> {
    parts: Vec<Part<I>>,
}

/// What a socket has on one shard.
#[derive(Debug)]
pub(crate) struct Part<I> {
    pub(crate) socket: Socket,
    pub(crate) id: I,
}

impl<I> Parts<I> {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { parts: Vec::with_capacity(count) }
    }

    pub(crate) fn push(&mut self, (socket, id): (Socket, I)) {
        self.parts.push(Part { socket, id });
    }

    /// The part whose word counts where one has to be asked: binding fails when there is none.
    pub(crate) fn first(&self) -> &Part<I> {
        &self.parts[0]
    }

    /// All of them.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Part<I>> {
        self.parts.iter()
    }

    /// The sockets of all of them.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.parts.iter().map(|part| &part.socket)
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.parts.iter().for_each(|part| part.socket.set_nonblocking(nonblocking));
    }

    /// Waits in this thread, as the socket's mode says, until one of the parts has what is `wanted`.
    pub(crate) fn block<T, F>(&self, wanted: impl Fn(&Part<I>) -> F) -> io::Result<(&Part<I>, T)>
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
    pub(crate) async fn wait<T, F>(
        &self,
        wanted: impl Fn(&Part<I>) -> F,
    ) -> io::Result<(&Part<I>, T)>
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

    /// Asks each part once, and each time begins with another: no shard's connections wait behind
    /// those of a busier one. An error only when none has what is asked for.
    pub(crate) fn first_of<T>(
        &self,
        mut ask: impl FnMut(usize, &Part<I>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<(&Part<I>, T)>> {
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

    /// `tickets` are the places of one waiter, one at each part: any of them wakes it.
    fn poll_tickets<T, F>(
        &self,
        waker: &Waker,
        tickets: &mut [Ticket<'_>],
        wanted: impl Fn(&Part<I>) -> F,
    ) -> Poll<io::Result<(&Part<I>, T)>>
    where
        F: FnMut(&mut stack::Stack, Instant) -> Result<T, Error>,
    {
        self.first_of(|index, part| {
            part.socket.poll(Place::Ticket(&mut tickets[index]), waker, wanted(part))
        })
    }

    fn attempt<T, F>(&self, wanted: impl Fn(&Part<I>) -> F) -> io::Result<(&Part<I>, T)>
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

    fn tickets(&self) -> Vec<Ticket<'_>> {
        self.parts.iter().map(|part| part.socket.ticket(Side::Read)).collect()
    }
}

impl<I> Drop for Parts<I> {
    /// Closes them from the last to the first: binding went the other way.
    fn drop(&mut self) {
        while self.parts.pop().is_some() {}
    }
}
