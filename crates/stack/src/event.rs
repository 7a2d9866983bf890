//! What the stack tells its driver: which socket is worth looking at.

use alloc::collections::VecDeque;

use core::net::IpAddr;

use crate::{ConnectionId, InterfaceId, ListenerId, PingId, UdpId};

/// Any socket of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum SocketId {
    /// A TCP listener.
    Listener(ListenerId),
    /// A TCP connection.
    Connection(ConnectionId),
    /// A UDP socket.
    Udp(UdpId),
    /// An ICMP echo socket.
    Ping(PingId),
    /// Whole packets that are handed over (`Stack::poll_packet`), or sent (`Stack::send_packet`).
    Packets,
}

bitflags::bitflags! {
    /// What a socket is ready for. Level-triggered when asked for (`Stack::readiness`),
    /// edge-triggered when announced (`Stack::poll_event`).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Ready: u8 {
        /// `read`, `accept` or `receive` will not answer `WouldBlock`: there are bytes, an end of
        /// stream, a connection, a datagram or an error.
        const READ = 1;
        /// `write` or `send` will not answer `WouldBlock`; on a connecting socket: the handshake
        /// is over, well or badly.
        const WRITE = 2;
        /// The peer sent FIN, or the connection failed: nothing follows what is queued.
        const READ_CLOSED = 4;
        /// Nothing can be written any more: shut down here, or the connection failed.
        const WRITE_CLOSED = 8;
        /// The connection failed; `take_error` says why.
        const ERROR = 16;
        /// Everything written, and the FIN if there was one, was acknowledged.
        const DRAINED = 32;
        /// On a listener that decides first: a SYN waits for the program's decision.
        const PENDING = 64;
    }
}

/// A socket became ready for something that it was not ready for before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Which socket.
    pub socket: SocketId,
    /// For what.
    pub ready: Ready,
}

/// What became of an address that the stack made or asked for by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressChange {
    /// Whose address it is.
    pub interface: InterfaceId,
    /// The address.
    pub address: IpAddr,
    /// What became of it.
    pub fate: AddressFate,
}

/// What can become of an address (RFC 4862 5.4 and 5.5.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddressFate {
    /// Nobody else has it: it is ours now.
    Ready,
    /// Somebody else has it: it was taken away.
    Duplicate,
    /// What uses it goes on; nothing new should begin with it.
    Deprecated,
    /// Its time is over: it was taken away.
    Expired,
    /// Somebody else claims it, and was told that it is ours (RFC 5227 2.4). Said at most once in ten
    /// seconds.
    Claimed,
}

/// Events on their way to the driver, one entry per socket however much happens to it.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    queue: VecDeque<SocketId>,
}

/// A socket's own part of the queue: what was announced and not yet fetched.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Pending(Ready);

impl EventQueue {
    /// Announces `ready` for `socket`, whose [`Pending`] keeps it until it is fetched.
    pub(crate) fn push(&mut self, socket: SocketId, pending: &mut Pending, ready: Ready) {
        if pending.0.is_empty() && !ready.is_empty() {
            self.queue.push_back(socket);
        }
        pending.0 |= ready;
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next socket with something pending (it may be gone by now).
    pub(crate) fn pop(&mut self) -> Option<SocketId> {
        self.queue.pop_front()
    }
}

impl Pending {
    /// Takes what was announced.
    pub(crate) fn take(&mut self) -> Ready {
        core::mem::take(&mut self.0)
    }
}
