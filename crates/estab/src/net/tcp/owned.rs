//! Halves that own their stream together.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{read_half, read_traits, write_half, write_traits};
use crate::net::TcpStream;

/// The half of a [`TcpStream`] that reads ([`TcpStream::into_split`]).
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: TcpStream,
}

/// The half of a [`TcpStream`] that writes ([`TcpStream::into_split`]). Dropping it ends that
/// direction (FIN), unless it was [forgotten](OwnedWriteHalf::forget).
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: TcpStream,
    /// Nothing was shut down yet, and dropping is to do it.
    shutdown_on_drop: bool,
}

/// The two halves are not of one connection; both are given back.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of one connection")
    }
}

impl std::error::Error for ReuniteError {}

impl OwnedReadHalf {
    pub(in crate::net) fn new(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// The whole stream again.
    ///
    /// # Errors
    /// When `other` is a half of another connection.
    pub fn reunite(self, other: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if self.stream.is_same(&other.stream) {
            other.forget();
            Ok(self.stream)
        } else {
            Err(ReuniteError(self, other))
        }
    }

    read_half!();
}

impl OwnedWriteHalf {
    pub(in crate::net) fn new(stream: TcpStream) -> Self {
        Self { stream, shutdown_on_drop: true }
    }

    /// The whole stream again.
    ///
    /// # Errors
    /// When `other` is a half of another connection.
    pub fn reunite(self, other: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        other.reunite(self)
    }

    /// Drops this half without ending its direction.
    pub fn forget(mut self) {
        self.shutdown_on_drop = false;
    }

    write_half!();

    fn shut_down(mut self: Pin<&mut Self>) -> Poll<io::Result<()>> {
        let done = self.stream.shutdown_write();
        if done.is_ok() {
            self.shutdown_on_drop = false;
        }
        Poll::Ready(done)
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shutdown_on_drop {
            // On a stack that ended there is nobody left to tell.
            let _ = self.stream.shutdown_write();
        }
    }
}

impl AsRef<TcpStream> for OwnedReadHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsRef<TcpStream> for OwnedWriteHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

read_traits!(OwnedReadHalf);
write_traits!(OwnedWriteHalf);
