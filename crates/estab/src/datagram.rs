//! UDP as both socket families see it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stack::{Error, SocketId, UdpId, Unreachable};
use wire::time::Instant;

use crate::Stack;
use crate::shards::Hold;
use crate::socket::Socket;

type Answer<T> = Result<T, Error>;

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct Datagrams {
    pub(crate) socket: Socket,
    id: UdpId,
}

impl Datagrams {
    /// A port belongs to one shard, and so does its socket; port 0 is one of another shard each time.
    pub(crate) fn bind(stack: &Stack, local: SocketAddr) -> io::Result<Self> {
        let asked =
            (local.port() != 0).then(|| stack.owner_of_udp_port(local.port())).transpose()?;
        let shard = stack.hold(asked);
        let (socket, id) = Socket::open(shard, SocketId::Udp, |core, _| core.udp_bind(local))?;
        Ok(Self { socket, id })
    }

    /// A socket of a flow that began.
    pub(crate) fn adopt(shard: &Arc<Hold>, id: UdpId) -> io::Result<Self> {
        let (socket, id) = Socket::open(shard, SocketId::Udp, |_, _| Ok(id))?;
        Ok(Self { socket, id })
    }

    /// Sends to a flow's peer as if from `source`.
    pub(crate) fn send_from(
        &self,
        payload: &[u8],
        source: SocketAddr,
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, now| core.udp_send_from(now, id, source, payload)
    }

    pub(crate) fn set_idle(&self, idle: Duration) -> io::Result<()> {
        self.socket.call(|core, _| core.udp_set_idle(self.id, idle))
    }

    pub(crate) fn refuse_flow(&self, what: Unreachable) -> io::Result<()> {
        self.socket.call(|core, now| core.udp_refuse_flow(now, self.id, what))
    }

    pub(crate) fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        self.socket.call(|core, _| core.udp_connect(self.id, remote))
    }

    /// Sends to the peer that was connected to, or to `remote`.
    pub(crate) fn send(
        &self,
        payload: &[u8],
        remote: Option<SocketAddr>,
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<usize> {
        let id = self.id;
        move |core, now| match remote {
            Some(remote) => core.udp_send_to(now, id, payload, remote),
            None => core.udp_send(now, id, payload),
        }
    }

    /// Takes the next datagram; what does not fit `buffer` is lost.
    pub(crate) fn receive(
        &self,
        buffer: &mut [u8],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<(usize, SocketAddr)> {
        let id = self.id;
        move |core, _| core.udp_receive_from(id, buffer)
    }

    /// Reads the next datagram and leaves it there.
    pub(crate) fn peek(
        &self,
        buffer: &mut [u8],
    ) -> impl FnMut(&mut stack::Stack, Instant) -> Answer<(usize, SocketAddr)> {
        let id = self.id;
        move |core, _| core.udp_peek_from(id, buffer)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|core, _| core.udp_local(self.id))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(|core, _| core.udp_remote(self.id))
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let error = self.socket.call(|core, _| core.udp_take_error(self.id))?;
        Ok(error.map(crate::error::from_stack))
    }

    pub(crate) fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = crate::connection::ttl_from(ttl)?;
        self.socket.call(|core, _| core.udp_set_ttl(self.id, ttl))
    }
}

/// The accessors that every UDP socket has, whatever its family.
macro_rules! datagram_accessors {
    () => {
        /// This side's address and port.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            self.datagrams.local_addr()
        }

        /// The address and port that it is connected to.
        ///
        /// # Errors
        /// `NotConnected`; `NetworkDown` when the stack has ended.
        pub fn peer_addr(&self) -> io::Result<SocketAddr> {
            self.datagrams.peer_addr()
        }

        /// The error that the network reported last (`SO_ERROR`), once.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            self.datagrams.take_error()
        }

        /// Sets the time to live of packets sent (`IP_TTL`): 1 to 255.
        ///
        /// # Errors
        /// `InvalidInput` for another number, `NetworkDown` when the stack has ended.
        pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
            self.datagrams.set_ttl(ttl)
        }
    };
}
pub(crate) use datagram_accessors;
