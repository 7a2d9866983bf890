//! A TCP connection for tasks.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use stack::{TcpInfo, TcpOptions};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use super::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::Stack;
use crate::connection::{Connection, READABLE, WRITABLE, stream_accessors};
use crate::owned::task_owned;
use crate::wait::Side;

/// A TCP connection, as `tokio::net::TcpStream`.
///
/// Dropping it closes it: what was written is still delivered, then FIN, in the background. When
/// something was received and not read, the peer gets a reset instead (RFC 9293 3.6.1), so that
/// it learns that its data went nowhere.
#[derive(Debug)]
pub struct TcpStream {
    connection: Arc<Connection>,
}

impl TcpStream {
    /// Connects to `address`, as patiently as the stack's configuration says (SYN retries). When
    /// the future is dropped, the attempt is given up.
    ///
    /// Give literal addresses: a host name would be looked up by the system, not by the stack,
    /// and would block.
    ///
    /// # Errors
    /// `ConnectionRefused`, `HostUnreachable`, `NetworkUnreachable`, `TimedOut`,
    /// `AddrNotAvailable` (no free port to this peer), `NetworkDown` (the stack has ended).
    pub async fn connect<A: ToSocketAddrs>(stack: &Stack, address: A) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to use");
        for address in address.to_socket_addrs()?.collect::<Vec<_>>() {
            match Self::connect_to(stack, None, address, None).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects from `local` (an address, a port or both; zero means any) with `options`.
    ///
    /// # Errors
    /// As [`connect`](TcpStream::connect), `AddrInUse` when `local` is taken for this peer, and
    /// `InvalidInput` for options that make no sense.
    pub async fn connect_with(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        Self::connect_to(stack, local, remote, Some(options)).await
    }

    async fn connect_to(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<&TcpOptions>,
    ) -> io::Result<Self> {
        let connection = Connection::connect(stack, local, remote, options)?;
        connection.socket.wait(Side::Write, connection.handshake()).await?;
        Ok(Self::new(connection))
    }

    pub(super) fn new(connection: Connection) -> Self {
        Self { connection: Arc::new(connection) }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    stream_accessors!();
    task_owned!();

    /// Sets `SO_LINGER`. `None`: dropping delivers everything in the background. Zero: dropping
    /// throws away what is not delivered, and resets the connection. Another time is the same as
    /// `None` here, because a task must not block: await [`drained`](TcpStream::drained).
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.connection.change_options(|options| options.linger = linger)
    }

    /// Waits until the peer acknowledged everything that was written, and the FIN if this side
    /// was shut down.
    ///
    /// # Errors
    /// What ended the connection before that; `NetworkDown` when the stack has ended.
    pub async fn drained(&self) -> io::Result<()> {
        let socket = &self.connection.socket;
        socket
            .wait(Side::Write, socket.is_ready(stack::Ready::DRAINED | stack::Ready::ERROR))
            .await?;
        self.take_error()?.map_or(Ok(()), Err)
    }

    /// Reads without taking: the next read gets the same bytes.
    ///
    /// # Errors
    /// As reading.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.connection.socket.wait(Side::Read, self.connection.peek(buffer)).await
    }

    /// The same for who polls.
    ///
    /// # Errors
    /// As reading.
    pub fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let socket = &self.connection.socket;
        let operation = self.connection.peek(buffer.initialize_unfilled());
        let count = ready!(socket.poll(socket.polled(Side::Read), cx.waker(), operation))?;
        buffer.advance(count);
        Poll::Ready(Ok(count))
    }

    /// Waits until reading does not block: bytes, the end of the stream or an error.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub async fn readable(&self) -> io::Result<()> {
        self.connection.socket.wait(Side::Read, self.connection.socket.is_ready(READABLE)).await
    }

    /// Waits until writing does not block: room, or an error.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub async fn writable(&self) -> io::Result<()> {
        self.connection.socket.wait(Side::Write, self.connection.socket.is_ready(WRITABLE)).await
    }

    /// [`readable`](TcpStream::readable) for who polls.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = &self.connection.socket;
        socket.poll(socket.polled(Side::Read), cx.waker(), socket.is_ready(READABLE))
    }

    /// [`writable`](TcpStream::writable) for who polls.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = &self.connection.socket;
        socket.poll(socket.polled(Side::Write), cx.waker(), socket.is_ready(WRITABLE))
    }

    /// Reads what there is.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.connection.socket.attempt(Side::Read, self.connection.read(buffer))
    }

    /// Reads what there is, into one buffer after the other.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.connection.socket.attempt(Side::Read, self.connection.read_vectored(buffers))
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.socket.attempt(Side::Write, self.connection.write(bytes))
    }

    /// Writes what there is room for, one buffer after the other.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room.
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection.socket.attempt(Side::Write, self.connection.write_vectored(buffers))
    }

    /// A half to read and a half to write, borrowed.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf::new(self), WriteHalf::new(self))
    }

    /// A half to read and a half to write, for two tasks. Dropping the half to write ends that
    /// direction (FIN); the connection is closed when both are dropped.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let other = Self { connection: Arc::clone(&self.connection) };
        (OwnedReadHalf::new(self), OwnedWriteHalf::new(other))
    }

    /// Whether both are the same connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connection, &other.connection)
    }

    /// Ends the direction to the peer. A connection that is over has none to end.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        match self.connection.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        }
    }

    pub(super) fn poll_read_shared(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let budget = ready!(poll_proceed(cx));
        let socket = &self.connection.socket;
        let operation = self.connection.read(buffer.initialize_unfilled());
        let count = ready!(socket.poll(socket.polled(Side::Read), cx.waker(), operation))?;
        budget.made_progress();
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write_shared(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let budget = ready!(poll_proceed(cx));
        let socket = &self.connection.socket;
        let place = socket.polled(Side::Write);
        let count = ready!(socket.poll(place, cx.waker(), self.connection.write(bytes)))?;
        budget.made_progress();
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_write_vectored_shared(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let budget = ready!(poll_proceed(cx));
        let socket = &self.connection.socket;
        let operation = self.connection.write_vectored(buffers);
        let count = ready!(socket.poll(socket.polled(Side::Write), cx.waker(), operation))?;
        budget.made_progress();
        Poll::Ready(Ok(count))
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_shared(cx, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_shared(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored_shared(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: what was written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the direction to the peer (FIN behind all that was written); reading goes on.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }
}
