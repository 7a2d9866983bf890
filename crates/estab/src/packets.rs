//! Whole packets, as both socket families see them.

use std::io;
use std::sync::Arc;

use stack::{Error, SocketId};
use wire::time::Instant;

use crate::Stack;
use crate::parts::{Part, Parts};
use crate::shards::Hold;
use crate::socket::Socket;
use crate::wait::Waiters;

/// What a stack hands over, on all of its shards.
#[derive(Debug)]
pub(crate) struct PacketQueue {
    parts: Parts<()>,
}

impl PacketQueue {
    pub(crate) fn open(stack: &Stack) -> io::Result<Self> {
        let mut parts = Parts::with_capacity(stack.holds().len());
        for shard in stack.holds() {
            parts.push((open_on(shard)?, ()));
        }
        Ok(Self { parts })
    }

    /// Waits in this thread for a packet.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, packet) = self.parts.block(next)?;
        Ok(copy(&packet, buffer))
    }

    /// Waits in this task for a packet.
    #[cfg(feature = "tokio")]
    pub(crate) async fn received(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, packet) = self.parts.wait(next).await?;
        Ok(copy(&packet, buffer))
    }

    /// The socket that sends, and how.
    pub(crate) fn send<'a>(
        &'a self,
        packet: &'a [u8],
    ) -> (&'a Socket, impl FnMut(&mut stack::Stack, Instant) -> Result<(), Error> + 'a) {
        let send = |core: &mut stack::Stack, now| core.send_packet(now, packet);
        (&self.parts.first().socket, send)
    }

    /// Those on each shard.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.parts.sockets()
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.parts.set_nonblocking(nonblocking);
    }
}

fn open_on(shard: &Arc<Hold>) -> io::Result<Socket> {
    let waiters = Arc::new(Waiters::default());
    let is_free = shard.shared().call(|engine, _| {
        let is_free = engine.waiters.get(SocketId::Packets).is_none();
        if is_free {
            engine.waiters.insert(SocketId::Packets, Arc::clone(&waiters));
        }
        is_free
    })?;
    if !is_free {
        return Err(crate::error::from_stack(Error::AddressInUse));
    }
    Ok(Socket::new(shard, SocketId::Packets, waiters))
}

fn next(
    _: &Part<()>,
) -> impl FnMut(&mut stack::Stack, Instant) -> Result<wire::frame::FrameBuf, Error> + use<> {
    |core, _| core.poll_packet().map(|(_, packet)| packet).ok_or(Error::WouldBlock)
}

fn copy(packet: &[u8], buffer: &mut [u8]) -> usize {
    let length = packet.len().min(buffer.len());
    buffer[..length].copy_from_slice(&packet[..length]);
    length
}
