//! UDP for tasks.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::task::{Context, Poll, ready};

use stack::{MtuDiscovery, Ready, UdpOptions, UdpReceived, UdpTransmit};
use tokio::io::ReadBuf;

use crate::Stack;
use crate::datagram::{Datagrams, datagram_accessors};
use crate::error::for_each_address;
use crate::wait::Side;

/// A UDP socket, as `tokio::net::UdpSocket`.
#[derive(Debug)]
pub struct UdpSocket {
    datagrams: Datagrams,
}

impl UdpSocket {
    /// Binds to `address` of `stack`. Port 0 takes a free one, `0.0.0.0` means all addresses of IPv4 and
    /// `[::]` all of both families. A socket of IPv6 shows 10.0.0.1 as `::ffff:10.0.0.1`, and takes that
    /// for it.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` (not an address of the stack), `NetworkDown` (the stack
    /// has ended).
    #[expect(clippy::unused_async, reason = "the signature is tokio's")]
    pub async fn bind<A: ToSocketAddrs>(stack: &Stack, address: A) -> io::Result<Self> {
        Self::open(stack, address, UdpOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`bind`](UdpSocket::bind); `InvalidInput` for IPv4 where it is to be IPv6 alone.
    #[expect(clippy::unused_async, reason = "the others are")]
    pub async fn bind_with<A: ToSocketAddrs>(
        stack: &Stack,
        address: A,
        options: UdpOptions,
    ) -> io::Result<Self> {
        Self::open(stack, address, options)
    }

    /// The same, with a port that others may have that are bound in this way (`SO_REUSEADDR`). Each of
    /// them hears what goes to a group that it joined and to everybody; what goes to one host goes to
    /// the one of them that was bound last. The address can also be a group's: then the socket hears
    /// nothing else.
    ///
    /// # Errors
    /// As [`bind`](UdpSocket::bind).
    #[expect(clippy::unused_async, reason = "the signature is tokio's")]
    pub async fn bind_shared<A: ToSocketAddrs>(stack: &Stack, address: A) -> io::Result<Self> {
        Self::open(stack, address, UdpOptions { shared: true, ..UdpOptions::default() })
    }

    fn open<A: ToSocketAddrs>(stack: &Stack, address: A, options: UdpOptions) -> io::Result<Self> {
        let bind = |address| Ok(Self { datagrams: Datagrams::bind(stack, address, options)? });
        for_each_address(address, bind)
    }

    /// Sends to and receives from `address` only, from now on.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput`, `NetworkDown` (the stack has ended).
    #[expect(clippy::unused_async, reason = "the signature is tokio's")]
    pub async fn connect<A: ToSocketAddrs>(&self, address: A) -> io::Result<()> {
        for_each_address(address, |address| self.datagrams.connect(address))
    }

    /// Sends one datagram to the peer that was connected to.
    ///
    /// # Errors
    /// `NotConnected`; else as [`send_to`](UdpSocket::send_to).
    pub async fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.datagrams.socket.wait(Side::Write, self.datagrams.send(payload, None)).await
    }

    /// Sends one datagram to the first of the addresses.
    ///
    /// # Errors
    /// `NetworkUnreachable`; `InvalidInput` when it is too long or the address makes no sense;
    /// `ConnectionRefused` and `HostUnreachable` when the network said so about an earlier one;
    /// `NetworkDown` when the stack has ended.
    pub async fn send_to<A: ToSocketAddrs>(&self, payload: &[u8], address: A) -> io::Result<usize> {
        let remote = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::InvalidInput)?;
        self.datagrams.socket.wait(Side::Write, self.datagrams.send(payload, Some(remote))).await
    }

    /// The same for who polls. Only the last task that called is woken.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        remote: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let socket = &self.datagrams.socket;
        let operation = self.datagrams.send(payload, Some(remote));
        socket.poll(socket.polled(Side::Write), cx.waker(), operation)
    }

    /// Sends one datagram if there is room.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else as [`send_to`](UdpSocket::send_to).
    pub fn try_send_to(&self, payload: &[u8], remote: SocketAddr) -> io::Result<usize> {
        self.datagrams.socket.attempt(Side::Write, self.datagrams.send(payload, Some(remote)))
    }

    /// Waits for a datagram from the peer that was connected to; what does not fit is lost.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_from(buffer).await.map(|(length, _)| length)
    }

    /// Waits for a datagram and tells who sent it; what does not fit is lost.
    ///
    /// # Errors
    /// `ConnectionRefused` and `HostUnreachable` when the network said so about a datagram that
    /// was sent; `NetworkDown` when the stack has ended.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.datagrams.socket.wait(Side::Read, self.datagrams.receive(buffer)).await
    }

    /// The same for who polls. Only the last task that called is woken.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        let socket = &self.datagrams.socket;
        let operation = self.datagrams.receive(buffer.initialize_unfilled());
        let (count, sender) =
            ready!(socket.poll(socket.polled(Side::Read), cx.waker(), operation))?;
        buffer.advance(count);
        Poll::Ready(Ok(sender))
    }

    /// Takes a datagram if there is one.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else as [`recv_from`](UdpSocket::recv_from).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.datagrams.socket.attempt(Side::Read, self.datagrams.receive(buffer))
    }

    /// Sends what `sendmsg` would: one datagram with a source and a traffic class of its own, or several
    /// of one length, which a link that can do so cuts (`UDP_SEGMENT`). Gives the number of all bytes.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to); `InvalidInput` for a segment size of zero;
    /// `AddrNotAvailable` for a source that is not the stack's or not what the socket is bound to.
    pub async fn send_message(&self, message: &UdpTransmit<'_>) -> io::Result<usize> {
        self.datagrams.socket.wait(Side::Write, self.datagrams.send_message(message)).await
    }

    /// The same if there is room.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else as [`send_message`](UdpSocket::send_message).
    pub fn try_send_message(&self, message: &UdpTransmit<'_>) -> io::Result<usize> {
        self.datagrams.socket.attempt(Side::Write, self.datagrams.send_message(message))
    }

    /// Waits for a datagram as `recvmsg` does, and tells whom it was sent to and its traffic class. Those
    /// behind it from the same peer with the same length are read too, as far as they fit whole
    /// (`UDP_GRO`).
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub async fn recv_message(&self, buffer: &mut [u8]) -> io::Result<UdpReceived> {
        self.datagrams.socket.wait(Side::Read, self.datagrams.receive_message(buffer)).await
    }

    /// Waits for a datagram as `recv_message` does, and takes it alone, whatever is behind it.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub async fn recv_datagram(&self, buffer: &mut [u8]) -> io::Result<UdpReceived> {
        self.datagrams.socket.wait(Side::Read, self.datagrams.receive_one(buffer)).await
    }

    /// The same for who polls. Only the last task that called is woken.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn poll_recv_message(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<UdpReceived>> {
        let socket = &self.datagrams.socket;
        let operation = self.datagrams.receive_message(buffer);
        socket.poll(socket.polled(Side::Read), cx.waker(), operation)
    }

    /// Waits for a datagram, tells who sent it, and leaves it there.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.datagrams.socket.wait(Side::Read, self.datagrams.peek(buffer)).await
    }

    /// Waits until there is a datagram or an error.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub async fn readable(&self) -> io::Result<()> {
        let socket = &self.datagrams.socket;
        socket.wait(Side::Read, socket.is_ready(Ready::READ | Ready::ERROR)).await
    }

    /// Waits until there is room to send.
    ///
    /// # Errors
    /// `NetworkDown` when the stack has ended.
    pub async fn writable(&self) -> io::Result<()> {
        let socket = &self.datagrams.socket;
        socket.wait(Side::Write, socket.is_ready(Ready::WRITE | Ready::ERROR)).await
    }

    datagram_accessors!();
}
