//! TCP that blocks.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use stack::{TcpInfo, TcpOptions};

use super::tcp_split::{ReadHalf, WriteHalf};
use crate::Stack;
use crate::connection::{Connection, stream_accessors};
use crate::error::for_each_address;
use crate::listener::{DEFAULT_BACKLOG, Listener};
use crate::owned::blocking_owned;
use crate::socket::Socket;
use crate::wait::Side;

/// A TCP listener, as [`std::net::TcpListener`]. Dropping it closes it, and resets connections
/// that nobody accepted.
#[derive(Debug)]
pub struct TcpListener {
    listener: Arc<Listener>,
}

impl TcpListener {
    /// Listens at `address` of `stack` with a backlog of 1024. Port 0 takes a free one,
    /// `0.0.0.0` means all addresses of IPv4 and `[::]` all of both families, unless
    /// [`TcpOptions::only_v6`] is set. Then a peer with IPv4 shows as `::ffff:10.0.0.1`.
    ///
    /// Give literal addresses: a host name would be looked up by the system, not by the stack.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` (not an address of the stack), `NetworkDown` (the stack
    /// has ended).
    pub fn bind<A: ToSocketAddrs>(stack: &Stack, address: A) -> io::Result<Self> {
        for_each_address(address, |address| Self::listen(stack, address, DEFAULT_BACKLOG, None))
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
        for_each_address(address, |address| Self::listen(stack, address, backlog, Some(options)))
    }

    fn listen(
        stack: &Stack,
        address: SocketAddr,
        backlog: usize,
        options: Option<&TcpOptions>,
    ) -> io::Result<Self> {
        let listener = Listener::bind(stack, address, backlog, options)?;
        Ok(Self { listener: Arc::new(listener) })
    }

    /// The address and port that it listens at.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The same listener once more; it is closed when the last one is dropped.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { listener: Arc::clone(&self.listener) })
    }

    /// Waits for a connection and takes it.
    ///
    /// # Errors
    /// `WouldBlock` when the listener is non-blocking, `NetworkDown` when the stack has ended.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (connection, peer) = self.listener.accept()?;
        Ok((TcpStream::new(connection), peer))
    }

    /// Sets the options that connections start with which come from now on.
    ///
    /// # Errors
    /// `InvalidInput` for a value that makes no sense, `NetworkDown` when the stack has ended.
    pub fn set_options(&self, options: &TcpOptions) -> io::Result<()> {
        self.listener.set_options(options)
    }

    /// How many connections wait to be accepted.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn waiting(&self) -> io::Result<usize> {
        self.listener.waiting()
    }

    /// Every connection that comes, without end; also errors are items.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Makes `accept` fail with `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.listener.set_nonblocking(nonblocking);
        Ok(())
    }

    /// What a poll watches.
    pub(super) fn to_poll(&self) -> Vec<&Socket> {
        self.listener.sockets().collect()
    }
}

/// The connections that come to a [`TcpListener`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

/// A TCP connection, as [`std::net::TcpStream`].
///
/// Dropping the last clone closes it: what was written is still delivered, then FIN, in the
/// background. When something was received and not read, the peer gets a reset instead
/// (RFC 9293 3.6.1), so that it learns that its data went nowhere.
#[derive(Debug)]
pub struct TcpStream {
    open: Arc<Open>,
}

/// An open connection whose last user waits for its end when asked to.
#[derive(Debug)]
pub(super) struct Open(pub(super) Connection);

impl Drop for Open {
    fn drop(&mut self) {
        if let Ok(Some(limit)) = self.0.options().map(|options| options.linger)
            && !limit.is_zero()
            && !std::thread::panicking()
        {
            self.0.linger(limit);
        }
    }
}

impl TcpStream {
    /// Connects to `address`, as patiently as the stack's configuration says (SYN retries).
    ///
    /// Give literal addresses: a host name would be looked up by the system, not by the stack.
    ///
    /// # Errors
    /// `ConnectionRefused`, `HostUnreachable`, `NetworkUnreachable`, `TimedOut`,
    /// `AddrNotAvailable` (no free port to this peer), `NetworkDown` (the stack has ended).
    pub fn connect<A: ToSocketAddrs>(stack: &Stack, address: A) -> io::Result<Self> {
        for_each_address(address, |address| {
            let stream = Self::new(Connection::connect(stack, None, address, None)?);
            stream.wait_for_handshake(None)?;
            Ok(stream)
        })
    }

    /// The same, at most for `timeout`.
    ///
    /// # Errors
    /// As [`connect`](TcpStream::connect); `TimedOut` after `timeout`, `InvalidInput` when it is
    /// zero.
    pub fn connect_timeout(
        stack: &Stack,
        address: &SocketAddr,
        timeout: Duration,
    ) -> io::Result<Self> {
        Self::connect_within(stack, None, *address, None, timeout)
    }

    /// Connects from `local` (an address, a port or both; zero means any) with `options`.
    ///
    /// # Errors
    /// As [`connect`](TcpStream::connect), `AddrInUse` when `local` is taken for this peer, and
    /// `InvalidInput` for options that make no sense.
    pub fn connect_with(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        let stream = Self::new(Connection::connect(stack, local, remote, Some(options))?);
        stream.wait_for_handshake(None)?;
        Ok(stream)
    }

    /// The same, at most for `timeout`.
    ///
    /// # Errors
    /// As [`connect_with`](TcpStream::connect_with); `TimedOut` after `timeout`, `InvalidInput` when it
    /// is zero.
    pub fn connect_timeout_with(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: &TcpOptions,
        timeout: Duration,
    ) -> io::Result<Self> {
        Self::connect_within(stack, local, remote, Some(options), timeout)
    }

    fn connect_within(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<&TcpOptions>,
        timeout: Duration,
    ) -> io::Result<Self> {
        if timeout.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a timeout of zero"));
        }
        let stream = Self::new(Connection::connect(stack, local, remote, options)?);
        stream.wait_for_handshake(Some(timeout))?;
        Ok(stream)
    }

    /// Begins to connect, and does not wait: the stream is non-blocking, and until the handshake is over
    /// writing fails with `WouldBlock` and reading with `NotConnected`. It is over when a [poll](super::poll) tells that the
    /// stream is writable; then [`take_error`](Self::take_error) says why it failed, or nothing when it
    /// is connected. [`is_connected`](Self::is_connected) can be asked without a poll.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `AddrNotAvailable` (no free port to this peer), `InvalidInput` (no host's
    /// address), `NetworkDown` (the stack has ended).
    pub fn connect_nonblocking(stack: &Stack, address: SocketAddr) -> io::Result<Self> {
        Self::begin_to_connect(Connection::connect(stack, None, address, None)?)
    }

    /// The same from `local` and with `options`, as [`connect_with`](Self::connect_with).
    ///
    /// # Errors
    /// As [`connect_nonblocking`](Self::connect_nonblocking), `AddrInUse` when `local` is taken for this
    /// peer, and `InvalidInput` for options that make no sense.
    pub fn connect_nonblocking_with(
        stack: &Stack,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        Self::begin_to_connect(Connection::connect(stack, local, remote, Some(options))?)
    }

    fn begin_to_connect(connection: Connection) -> io::Result<Self> {
        let stream = Self::new(connection);
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Whether the handshake is over.
    ///
    /// # Errors
    /// What made it fail, once, as [`connect`](Self::connect) says it.
    pub fn is_connected(&self) -> io::Result<bool> {
        let connection = self.connection();
        match connection.socket.attempt(Side::Write, connection.handshake()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn wait_for_handshake(&self, timeout: Option<Duration>) -> io::Result<()> {
        let connection = self.connection();
        let over = connection.socket.block_for(Side::Write, timeout, connection.handshake());
        over.unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::TimedOut, stack::Error::TimedOut)))
    }

    pub(super) fn new(connection: Connection) -> Self {
        Self { open: Arc::new(Open(connection)) }
    }

    fn connection(&self) -> &Connection {
        &self.open.0
    }

    stream_accessors!();
    blocking_owned!();

    /// Sets `SO_LINGER`. `None`: dropping returns at once and everything is delivered in the
    /// background. Zero: dropping throws away what is not delivered, and resets the connection.
    /// Another time: dropping waits that long for the peer to acknowledge everything.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.connection().change_options(|options| options.linger = linger)
    }

    /// Ends one or both directions. After `Write` the peer sees the end of the stream behind all
    /// that was written, and can still send.
    ///
    /// # Errors
    /// `NotConnected`; `NetworkDown` when the stack has ended.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.connection().shutdown(how)
    }

    /// The same connection once more; it is closed when the last one is dropped.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { open: Arc::clone(&self.open) })
    }

    /// Lends what has arrived, in order and without a copy, and takes as many bytes of it as `f` says.
    /// No slice at all is the end of the stream. It never waits, and the stack waits for `f`, which
    /// therefore may not use it, nor sleep.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use estab::blocking::{TcpListener, TcpStream};
    /// # let (end, _other) = estab::link::pair(estab::link::PairConfig::ip(1500))?;
    /// # let stack = estab::Stack::builder().start(end)?;
    /// # let listener = TcpListener::bind(&stack, "127.0.0.1:7")?;
    /// # let mut client = TcpStream::connect(&stack, "127.0.0.1:7")?;
    /// # client.write_all(b"who is there?")?;
    /// # let (stream, _) = listener.accept()?;
    /// # stream.peek(&mut [0; 1])?;
    /// // From the stack to a file, a pipe or a socket of the kernel, with one copy.
    /// let mut output = Vec::new();
    /// stream.try_read_with(|slices| output.write_vectored(slices))?;
    /// assert_eq!(output, b"who is there?");
    /// # stack.stop();
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; those of `f`; else as reading.
    pub fn try_read_with(
        &self,
        f: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let connection = self.connection();
        connection.socket.attempt(Side::Read, connection.lend(f))?
    }

    /// Reads without taking: the next `read` gets the same bytes.
    ///
    /// # Errors
    /// As reading.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let connection = self.connection();
        connection.socket.block(Side::Read, connection.peek(buffer))
    }

    /// How long reading waits; `None`: for ever.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.connection().socket.timeout(Side::Read))
    }

    /// Makes reading fail with `WouldBlock` when nothing comes for `timeout`.
    ///
    /// # Errors
    /// `InvalidInput` for a timeout of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.connection().socket.set_timeout(Side::Read, timeout)
    }

    /// How long writing waits for room; `None`: for ever.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.connection().socket.timeout(Side::Write))
    }

    /// Makes writing fail with `WouldBlock` when there is no room for `timeout`.
    ///
    /// # Errors
    /// `InvalidInput` for a timeout of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.connection().socket.set_timeout(Side::Write, timeout)
    }

    /// Makes reading and writing fail with `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.connection().socket.set_nonblocking(nonblocking);
        Ok(())
    }

    /// A half to read and a half to write, for two threads. Dropping the half to write ends that
    /// direction (FIN); the connection is closed when both are dropped.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf::new(Self { open: Arc::clone(&self.open) }), WriteHalf::new(self))
    }

    /// What a poll watches.
    pub(super) fn to_poll(&self) -> &Socket {
        &self.connection().socket
    }

    /// Whether both are the same connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.open, &other.open)
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let connection = self.connection();
        connection.socket.block(Side::Read, connection.read(buffer))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let connection = self.connection();
        connection.socket.block(Side::Read, connection.read_vectored(buffers))
    }
}

impl Write for &TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let connection = self.connection();
        connection.socket.block(Side::Write, connection.write(bytes))
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let connection = self.connection();
        connection.socket.block(Side::Write, connection.write_vectored(buffers))
    }

    /// Does nothing: what was written is on its way.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
