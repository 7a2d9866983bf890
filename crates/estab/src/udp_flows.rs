//! UDP flows to any address, as both socket families see them.

use std::io;
use std::time::Duration;

use stack::{Error, NewFlow, SocketId, UdpId};
use wire::time::Instant;

use crate::Stack;
use crate::datagram::Datagrams;
use crate::parts::{Part, Parts};
use crate::socket::Socket;

/// Who takes flows: a socket on each shard, which has those to its ports.
#[derive(Debug)]
pub(crate) struct DatagramFlows {
    parts: Parts<UdpId>,
}

impl DatagramFlows {
    pub(crate) fn bind(stack: &Stack, idle: Duration, backlog: usize) -> io::Result<Self> {
        let mut parts = Parts::with_capacity(stack.holds().len());
        for shard in stack.holds() {
            let take = |core: &mut stack::Stack, _| core.udp_take_flows(idle, backlog);
            parts.push(Socket::open(shard, SocketId::Udp, take)?);
        }
        Ok(Self { parts })
    }

    /// Those on each shard.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.parts.sockets()
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.parts.set_nonblocking(nonblocking);
    }

    /// Waits in this thread for a flow.
    pub(crate) fn next(&self) -> io::Result<(Datagrams, NewFlow)> {
        let (part, new) = self.parts.block(next)?;
        Ok((Datagrams::adopt(part.socket.shard(), new.id)?, new))
    }

    /// Waits in this task for a flow.
    #[cfg(feature = "tokio")]
    pub(crate) async fn taken(&self) -> io::Result<(Datagrams, NewFlow)> {
        let (part, new) = self.parts.wait(next).await?;
        Ok((Datagrams::adopt(part.socket.shard(), new.id)?, new))
    }
}

/// Takes a flow that waits.
fn next(
    part: &Part<UdpId>,
) -> impl FnMut(&mut stack::Stack, Instant) -> Result<NewFlow, Error> + use<> {
    let id = part.id;
    move |core, _| core.udp_next_flow(id)
}

/// What both families say of a flow.
macro_rules! udp_flow_accessors {
    () => {
        /// What the datagram that began it said: the TTL of its packet and the rest.
        #[must_use]
        pub fn first(&self) -> &NewFlow {
            &self.first
        }

        /// Whom its datagrams go to: the original destination, and where answers come from.
        #[must_use]
        pub fn local_addr(&self) -> SocketAddr {
            self.first.flow.local
        }

        /// Who sends them.
        #[must_use]
        pub fn peer_addr(&self) -> SocketAddr {
            self.first.flow.remote
        }

        /// How long it may be idle from now on, in both directions.
        ///
        /// # Errors
        /// `InvalidInput` for no time at all, `TimedOut` when it is over, `NetworkDown` when the stack
        /// has ended.
        pub fn set_idle(&self, idle: Duration) -> io::Result<()> {
            self.datagrams.set_idle(idle)
        }

        /// Sets the time to live of packets sent (`IP_TTL`): 1 to 255.
        ///
        /// # Errors
        /// `InvalidInput` for another number, `NetworkDown` when the stack has ended.
        pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
            self.datagrams.set_ttl(ttl)
        }

        /// Takes a datagram if there is one.
        ///
        /// # Errors
        /// `WouldBlock` when there is none; else as [`recv`](Self::recv).
        pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let taken = self.datagrams.socket.attempt(Side::Read, self.datagrams.receive(buffer));
            taken.map(|(length, _)| length)
        }

        /// Ends it, and tells the peer by ICMP that nobody hears it:
        /// `flow.refuse(stack::Unreachable::Port)`.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn refuse(self, what: Unreachable) -> io::Result<()> {
            self.datagrams.refuse_flow(what)
        }

        /// Ends it as somebody else was answered: with what the far end said to a proxy that sent on
        /// from there. A port that was refused, and a host or network that cannot be reached, are told
        /// by ICMP; of all else the peer hears nothing.
        ///
        /// # Errors
        /// As [`refuse`](Self::refuse).
        pub fn fail(self, error: &io::Error) -> io::Result<()> {
            let what = match error.kind() {
                io::ErrorKind::ConnectionRefused => Unreachable::Port,
                io::ErrorKind::HostUnreachable => Unreachable::Host,
                io::ErrorKind::NetworkUnreachable => Unreachable::Network,
                _ => return Ok(()),
            };
            self.refuse(what)
        }
    };
}
pub(crate) use udp_flow_accessors;
