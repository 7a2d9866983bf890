//! A TCP listener for tasks.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::task::{Context, Poll, ready};

use stack::TcpOptions;

use super::TcpStream;
use crate::Stack;
use crate::error::for_each_address;
use crate::listener::{DEFAULT_BACKLOG, Listener};

/// A TCP listener, as `tokio::net::TcpListener`. Dropping it closes it, and resets connections
/// that nobody accepted.
#[derive(Debug)]
pub struct TcpListener {
    listener: Listener,
}

impl TcpListener {
    /// Listens at `address` of `stack` with a backlog of 1024. Port 0 takes a free one,
    /// `0.0.0.0` means all addresses of IPv4 and `[::]` all of both families, unless
    /// [`TcpOptions::only_v6`] is set. Then a peer with IPv4 shows as `::ffff:10.0.0.1`.
    ///
    /// Give literal addresses: a host name would be looked up by the system, not by the stack,
    /// and would block.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` (not an address of the stack), `NetworkDown` (the stack
    /// has ended).
    #[expect(clippy::unused_async, reason = "the signature is tokio's")]
    pub async fn bind<A: ToSocketAddrs>(stack: &Stack, address: A) -> io::Result<Self> {
        for_each_address(address, |address| {
            Ok(Self { listener: Listener::bind(stack, address, DEFAULT_BACKLOG, None)? })
        })
    }

    /// The same with a backlog (how many connections may wait for `accept`: `backlog` + 1, as on
    /// Linux) and with options, which accepted connections inherit.
    ///
    /// # Errors
    /// As [`bind`](TcpListener::bind), and `InvalidInput` for options that make no sense.
    pub fn bind_with<A: ToSocketAddrs>(
        stack: &Stack,
        address: A,
        backlog: usize,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        for_each_address(address, |address| {
            Ok(Self { listener: Listener::bind(stack, address, backlog, Some(options))? })
        })
    }

    /// The address and port that it listens at.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Sets the options that connections start with which come from now on.
    ///
    /// # Errors
    /// `InvalidInput` for a value that makes no sense, `NetworkDown` when the stack has ended.
    pub fn set_options(&self, options: &TcpOptions) -> io::Result<()> {
        self.listener.set_options(options)
    }

    /// Waits for a connection and takes it.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (connection, peer) = self.listener.accepted().await?;
        Ok((TcpStream::new(connection), peer))
    }

    /// Takes a connection, or has the task woken when there is one. Only the last task that
    /// called is woken.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let (connection, peer) = ready!(self.listener.poll_accept(cx.waker()))?;
        Poll::Ready(Ok((TcpStream::new(connection), peer)))
    }
}
