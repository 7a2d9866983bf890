//! TCP flows to any address and port, for threads.

use std::io;
use std::net::SocketAddr;

use stack::{PendingSyn, TcpOptions};

use super::TcpStream;
use crate::Stack;
use crate::listener::{DEFAULT_BACKLOG, Listener};
use crate::pending::{Pending, pending_accessors};
use crate::socket::Socket;
use crate::wait::Side;

/// Takes every TCP flow, of both families and to any address and port, that no listener has; the
/// program decides about each before its handshake.
///
/// The stack must take packets to any address: see
/// [`StackBuilder::any_address`](crate::StackBuilder::any_address).
///
/// ```no_run
/// # fn example(stack: &estab::Stack) -> std::io::Result<()> {
/// let flows = estab::blocking::TcpFlows::bind(stack)?;
/// loop {
///     let flow = flows.next()?;
///     if flow.local_addr().port() == 25 {
///         flow.refuse()?;
///     } else {
///         let stream = flow.accept()?;
///         # drop(stream);
///     }
/// }
/// # }
/// ```
///
/// Dropping it refuses the flows that wait. Flows that were accepted stay.
#[derive(Debug)]
pub struct TcpFlows {
    listener: Listener,
}

/// A TCP flow that waits for a decision: nothing of its handshake was answered, and all that it costs
/// is a half-open entry. Dropping it refuses it.
#[derive(Debug)]
#[must_use = "a flow that is dropped is refused"]
pub struct PendingTcp {
    pending: Pending,
}

impl TcpFlows {
    /// Takes every flow of `stack` from now on, with its default options.
    ///
    /// # Errors
    /// `AddrInUse` when somebody takes them already, `NetworkDown` when the stack has ended.
    pub fn bind(stack: &Stack) -> io::Result<Self> {
        Self::bind_with(stack, DEFAULT_BACKLOG, &TcpOptions::default())
    }

    /// The same, where `backlog` flows of each family may wait for a decision (in all it is
    /// [`Config::syn_queue_limit`](crate::Config) at the most), and with options for those that are
    /// accepted.
    ///
    /// # Errors
    /// As [`bind`](TcpFlows::bind), and `InvalidInput` for options that make no sense.
    pub fn bind_with(stack: &Stack, backlog: usize, options: &TcpOptions) -> io::Result<Self> {
        Ok(Self { listener: Listener::bind_any(stack, backlog, options)? })
    }

    /// Waits for a new flow.
    ///
    /// # Errors
    /// `WouldBlock` when it is non-blocking, `NetworkDown` when the stack has ended.
    pub fn next(&self) -> io::Result<PendingTcp> {
        Ok(PendingTcp { pending: self.listener.next_pending()? })
    }

    /// Makes `next` fail with `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) {
        self.listener.set_nonblocking(nonblocking);
    }

    /// What a poll watches.
    pub(super) fn to_poll(&self) -> Vec<&Socket> {
        self.listener.sockets().collect()
    }
}

impl PendingTcp {
    pending_accessors!();

    /// Answers it, and waits for the end of the handshake.
    ///
    /// # Errors
    /// `NotConnected` when it does not wait any more (see [`refuse`](Self::refuse)), `TimedOut` or
    /// `ConnectionRefused` when the handshake failed, `QuotaExceeded` at a limit of the stack,
    /// `NetworkUnreachable` without a way back, `NetworkDown` when the stack has ended.
    pub fn accept(self) -> io::Result<TcpStream> {
        let connection = self.pending.accept()?;
        connection.socket.block(Side::Write, connection.handshake())?;
        Ok(TcpStream::new(connection))
    }

    /// Answers it, and does not wait for the end of the handshake: the stream is non-blocking, and
    /// connected or failed when it is writable, as with
    /// [`TcpStream::connect_nonblocking`].
    ///
    /// # Errors
    /// As [`accept`](Self::accept), without what makes the handshake fail.
    pub fn accept_nonblocking(self) -> io::Result<TcpStream> {
        let stream = TcpStream::new(self.pending.accept()?);
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}
