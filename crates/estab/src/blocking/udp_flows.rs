//! UDP flows to any address and port, for threads.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use stack::{NewFlow, Unreachable};

use crate::Stack;
use crate::datagram::Datagrams;
use crate::listener::DEFAULT_BACKLOG;
use crate::socket::Socket;
use crate::udp_flows::{DatagramFlows, udp_flow_accessors};
use crate::wait::Side;

/// Takes every UDP flow, of both families and to any address and port, that no socket is bound to.
///
/// The stack must take packets to any address: see
/// [`StackBuilder::any_address`](crate::StackBuilder::any_address). What bounds flows stands in
/// [`Config`](crate::Config): `udp_flow_limit`, `flows_per_source`, `udp_flow_memory`.
///
/// ```no_run
/// # fn example(stack: &estab::Stack) -> std::io::Result<()> {
/// let flows = estab::blocking::UdpFlows::bind(stack, std::time::Duration::from_secs(60))?;
/// let flow = flows.next()?;
/// let mut question = [0; 1500];
/// let length = flow.recv(&mut question)?;
/// flow.send(&question[..length])?; // from where it was sent to
/// # Ok(())
/// # }
/// ```
///
/// Dropping it drops the flows that wait. Those that were taken stay.
#[derive(Debug)]
pub struct UdpFlows {
    flows: DatagramFlows,
}

/// A UDP flow: what one socket of a peer sends to one address and port, which need not be ours.
///
/// It is over when no datagram came or went for its idle time: then [`recv`](UdpFlow::recv) gives what
/// came before, and `TimedOut`. What comes later is a new flow. Dropping it ends it, too.
#[derive(Debug)]
pub struct UdpFlow {
    datagrams: Datagrams,
    first: NewFlow,
}

impl UdpFlows {
    /// Takes every flow of `stack` from now on; each may be `idle` for that long.
    ///
    /// # Errors
    /// `AddrInUse` when somebody takes them already, `InvalidInput` for no idle time, `NetworkDown`
    /// when the stack has ended.
    pub fn bind(stack: &Stack, idle: Duration) -> io::Result<Self> {
        Self::bind_with(stack, idle, DEFAULT_BACKLOG)
    }

    /// The same, where `backlog` flows may wait for [`next`](UdpFlows::next) on each shard.
    ///
    /// # Errors
    /// As [`bind`](UdpFlows::bind).
    pub fn bind_with(stack: &Stack, idle: Duration, backlog: usize) -> io::Result<Self> {
        Ok(Self { flows: DatagramFlows::bind(stack, idle, backlog)? })
    }

    /// Waits for a new flow.
    ///
    /// # Errors
    /// `WouldBlock` when it is non-blocking, `NetworkDown` when the stack has ended.
    pub fn next(&self) -> io::Result<UdpFlow> {
        let (datagrams, first) = self.flows.next()?;
        Ok(UdpFlow { datagrams, first })
    }

    /// Makes `next` fail with `WouldBlock` instead of waiting. The flows that it gives are as they always
    /// are: blocking.
    pub fn set_nonblocking(&self, nonblocking: bool) {
        self.flows.set_nonblocking(nonblocking);
    }

    /// What a poll watches.
    pub(super) fn to_poll(&self) -> Vec<&Socket> {
        self.flows.sockets().collect()
    }
}

impl UdpFlow {
    udp_flow_accessors!();

    /// Waits for a datagram; what does not fit is lost.
    ///
    /// # Errors
    /// `TimedOut` when it is over; `ConnectionRefused`, `HostUnreachable` and `NetworkUnreachable` when
    /// the network said so about an answer; `NetworkDown` when the stack has ended.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = self.datagrams.socket.block(Side::Read, self.datagrams.receive(buffer))?;
        Ok(received.0)
    }

    /// Answers from the original destination.
    ///
    /// # Errors
    /// `InvalidInput` when it is too long for a packet; else as [`recv`](UdpFlow::recv).
    pub fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.datagrams.socket.block(Side::Write, self.datagrams.send(payload, None))
    }

    /// Answers as if from `source`: any address and port of the flow's family (RFC 4787 4.1).
    ///
    /// # Errors
    /// `InvalidInput` when the source is no host's, and as [`send`](UdpFlow::send).
    pub fn send_from(&self, payload: &[u8], source: SocketAddr) -> io::Result<usize> {
        self.datagrams.socket.block(Side::Write, self.datagrams.send_from(payload, source))
    }

    /// Makes sending and receiving fail with `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) {
        self.datagrams.socket.set_nonblocking(nonblocking);
    }

    /// What a poll watches.
    pub(super) fn to_poll(&self) -> &Socket {
        &self.datagrams.socket
    }
}
