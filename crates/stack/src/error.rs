//! Why a command could not be carried out.

use core::fmt;

/// The reason why a command failed, or why a connection ended.
///
/// Nearly each variant is one `std::io::ErrorKind`, so that a socket layer can pass it on without
/// loss: a refused, an unreachable, a timed-out and a reset connection are four different things.
/// [`MessageTooBig`](Error::MessageTooBig) shares one with [`InvalidInput`](Error::InvalidInput), and
/// [`Prohibited`](Error::Prohibited) with [`HostUnreachable`](Error::HostUnreachable).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to read, no room to write, no connection to accept: wait for an event.
    WouldBlock,
    /// The id belongs to a socket that was closed.
    NoSuchSocket,
    /// The operation needs a connection, and this socket has none (yet, or any more).
    NotConnected,
    /// The local address and port are taken.
    AddressInUse,
    /// The address is not one of this stack's, or no ephemeral port is free for this peer.
    AddressNotAvailable,
    /// An argument makes no sense: port 0, a mix of address families, an unspecified peer.
    InvalidInput,
    /// The datagram is larger than the protocol or the path allows.
    MessageTooBig,
    /// A limit of [`crate::Config`] was reached: sockets, memory, or pending work.
    LimitReached,
    /// The peer answered the connection attempt with a reset.
    ConnectionRefused,
    /// The peer reset the established connection.
    ConnectionReset,
    /// This side gave up the connection: it was aborted here.
    ConnectionAborted,
    /// Writing after this side said that it was done (`shutdown`), or after the peer went away.
    BrokenPipe,
    /// The peer did not answer in time (retries, keep-alive or user timeout).
    TimedOut,
    /// ICMP said that the host cannot be reached, or it did not answer ARP.
    HostUnreachable,
    /// There is no route, or ICMP said that the network cannot be reached.
    NetworkUnreachable,
    /// ICMP said that a filter on the way forbids it.
    Prohibited,
    /// ICMP said that the host does not speak the protocol.
    ProtocolUnreachable,
    /// A datagram to everybody on a link, from a socket that may not send such; a source route, which none may
    /// send.
    PermissionDenied,
}

impl Error {
    /// A sentence for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Error::WouldBlock => "the operation would block",
            Error::NoSuchSocket => "the socket is closed",
            Error::NotConnected => "the socket is not connected",
            Error::AddressInUse => "the address is in use",
            Error::AddressNotAvailable => "the address is not available on this stack",
            Error::InvalidInput => "an argument makes no sense",
            Error::MessageTooBig => "the message is too big",
            Error::LimitReached => "a limit of the stack is reached",
            Error::ConnectionRefused => "connection refused",
            Error::ConnectionReset => "connection reset by peer",
            Error::ConnectionAborted => "connection aborted",
            Error::BrokenPipe => "broken pipe",
            Error::TimedOut => "connection timed out",
            Error::HostUnreachable => "no route to host",
            Error::NetworkUnreachable => "network is unreachable",
            Error::PermissionDenied => "the socket may not send that",
            Error::Prohibited => "prohibited by a filter on the way",
            Error::ProtocolUnreachable => "protocol not available at the peer",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Error {}
