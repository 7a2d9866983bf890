//! UDP that blocks.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use stack::{MtuDiscovery, UdpOptions, UdpReceived, UdpTransmit};

use crate::Stack;
use crate::datagram::{Datagrams, datagram_accessors};
use crate::error::for_each_address;
use crate::socket::Socket;
use crate::wait::Side;

/// A UDP socket, as [`std::net::UdpSocket`].
#[derive(Debug)]
pub struct UdpSocket {
    datagrams: Arc<Datagrams>,
}

impl UdpSocket {
    /// Binds to `address` of `stack`. Port 0 takes a free one, `0.0.0.0` means all addresses of IPv4 and
    /// `[::]` all of both families. A socket of IPv6 shows 10.0.0.1 as `::ffff:10.0.0.1`, and takes that
    /// for it.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` (not an address of the stack), `NetworkDown` (the stack
    /// has ended).
    pub fn bind<A: ToSocketAddrs>(stack: &Stack, address: A) -> io::Result<Self> {
        Self::bind_with(stack, address, UdpOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`bind`](UdpSocket::bind); `InvalidInput` for IPv4 where it is to be IPv6 alone.
    pub fn bind_with<A: ToSocketAddrs>(
        stack: &Stack,
        address: A,
        options: UdpOptions,
    ) -> io::Result<Self> {
        for_each_address(address, |address| {
            Ok(Self { datagrams: Arc::new(Datagrams::bind(stack, address, options)?) })
        })
    }

    /// The same, with a port that others may have that are bound in this way (`SO_REUSEADDR`). Each of
    /// them hears what goes to a group that it joined and to everybody; what goes to one host goes to
    /// the one of them that was bound last. The address can also be a group's: then the socket hears
    /// nothing else.
    ///
    /// # Errors
    /// As [`bind`](UdpSocket::bind).
    pub fn bind_shared<A: ToSocketAddrs>(stack: &Stack, address: A) -> io::Result<Self> {
        Self::bind_with(stack, address, UdpOptions { shared: true, ..UdpOptions::default() })
    }

    /// Sends to and receives from `address` only, from now on.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput`, `NetworkDown` (the stack has ended).
    pub fn connect<A: ToSocketAddrs>(&self, address: A) -> io::Result<()> {
        for_each_address(address, |address| self.datagrams.connect(address))
    }

    /// Sends one datagram to the peer that was connected to.
    ///
    /// # Errors
    /// `NotConnected`; else as [`send_to`](UdpSocket::send_to).
    pub fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.datagrams.socket.block(Side::Write, self.datagrams.send(payload, None))
    }

    /// Sends one datagram to the first of the addresses.
    ///
    /// # Errors
    /// `NetworkUnreachable`; `InvalidInput` when it is too long or the address makes no sense;
    /// `ConnectionRefused` and `HostUnreachable` when the network said so about an earlier one;
    /// `WouldBlock` when the socket is non-blocking; `NetworkDown` when the stack has ended.
    pub fn send_to<A: ToSocketAddrs>(&self, payload: &[u8], address: A) -> io::Result<usize> {
        let remote = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::InvalidInput)?;
        self.datagrams.socket.block(Side::Write, self.datagrams.send(payload, Some(remote)))
    }

    /// Waits for a datagram from the peer that was connected to; what does not fit is lost.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_from(buffer).map(|(length, _)| length)
    }

    /// Waits for a datagram and tells who sent it; what does not fit is lost.
    ///
    /// # Errors
    /// `ConnectionRefused` and `HostUnreachable` when the network said so about a datagram that
    /// was sent; `WouldBlock` when the socket is non-blocking or the timeout passed;
    /// `NetworkDown` when the stack has ended.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.datagrams.socket.block(Side::Read, self.datagrams.receive(buffer))
    }

    /// Sends what `sendmsg` would: one datagram with a source and a traffic class of its own, or several
    /// of one length, which a link that can do so cuts (`UDP_SEGMENT`). Gives the number of all bytes.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to); `InvalidInput` for a segment size of zero;
    /// `AddrNotAvailable` for a source that is not the stack's or not what the socket is bound to.
    pub fn send_message(&self, message: &UdpTransmit<'_>) -> io::Result<usize> {
        self.datagrams.socket.block(Side::Write, self.datagrams.send_message(message))
    }

    /// Waits for a datagram as `recvmsg` does, and tells whom it was sent to and its traffic class. Those
    /// behind it from the same peer with the same length are read too, as far as they fit whole
    /// (`UDP_GRO`).
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn recv_message(&self, buffer: &mut [u8]) -> io::Result<UdpReceived> {
        self.datagrams.socket.block(Side::Read, self.datagrams.receive_message(buffer))
    }

    /// Waits for a datagram as `recv_message` does, and takes it alone, whatever is behind it.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn recv_datagram(&self, buffer: &mut [u8]) -> io::Result<UdpReceived> {
        self.datagrams.socket.block(Side::Read, self.datagrams.receive_one(buffer))
    }

    /// Like [`recv`](UdpSocket::recv), and leaves the datagram there.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.peek_from(buffer).map(|(length, _)| length)
    }

    /// The same, and leaves the datagram there.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.datagrams.socket.block(Side::Read, self.datagrams.peek(buffer))
    }

    datagram_accessors!();

    /// The same socket once more; it is closed when the last one is dropped.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { datagrams: Arc::clone(&self.datagrams) })
    }

    /// How long receiving waits; `None`: for ever.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.datagrams.socket.timeout(Side::Read))
    }

    /// Makes receiving fail with `WouldBlock` when nothing comes for `timeout`.
    ///
    /// # Errors
    /// `InvalidInput` for a timeout of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.datagrams.socket.set_timeout(Side::Read, timeout)
    }

    /// How long sending waits for room; `None`: for ever.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.datagrams.socket.timeout(Side::Write))
    }

    /// Makes sending fail with `WouldBlock` when there is no room for `timeout`.
    ///
    /// # Errors
    /// `InvalidInput` for a timeout of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.datagrams.socket.set_timeout(Side::Write, timeout)
    }

    /// Makes sending and receiving fail with `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// Never; the signature is that of `std::net`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.datagrams.socket.set_nonblocking(nonblocking);
        Ok(())
    }

    /// What a poll watches.
    pub(super) fn to_poll(&self) -> &Socket {
        &self.datagrams.socket
    }
}
