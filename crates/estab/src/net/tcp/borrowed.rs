//! Halves that borrow their stream.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{read_half, read_traits, write_half, write_traits};
use crate::net::TcpStream;

/// The half of a [`TcpStream`] that reads, borrowed ([`TcpStream::split`]).
#[derive(Debug)]
pub struct ReadHalf<'a> {
    stream: &'a TcpStream,
}

/// The half of a [`TcpStream`] that writes, borrowed ([`TcpStream::split`]). Dropping it does
/// nothing.
#[derive(Debug)]
pub struct WriteHalf<'a> {
    stream: &'a TcpStream,
}

impl<'a> ReadHalf<'a> {
    pub(in crate::net) fn new(stream: &'a TcpStream) -> Self {
        Self { stream }
    }

    read_half!();
}

impl<'a> WriteHalf<'a> {
    pub(in crate::net) fn new(stream: &'a TcpStream) -> Self {
        Self { stream }
    }

    write_half!();

    fn shut_down(&self) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown_write())
    }
}

impl AsRef<TcpStream> for ReadHalf<'_> {
    fn as_ref(&self) -> &TcpStream {
        self.stream
    }
}

impl AsRef<TcpStream> for WriteHalf<'_> {
    fn as_ref(&self) -> &TcpStream {
        self.stream
    }
}

read_traits!(ReadHalf<'_>);
write_traits!(WriteHalf<'_>);
