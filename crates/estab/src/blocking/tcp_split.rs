//! The two directions of a blocking TCP stream, each with an owner of its own.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;

use super::TcpStream;

/// The half of a [`TcpStream`] that reads.
#[derive(Debug)]
pub struct ReadHalf {
    stream: TcpStream,
}

/// The half of a [`TcpStream`] that writes. Dropping it ends that direction (FIN).
#[derive(Debug)]
pub struct WriteHalf {
    /// `None` only while it is being taken apart.
    stream: Option<TcpStream>,
}

/// The two halves are not of one connection; both are given back.
#[derive(Debug)]
pub struct ReuniteError(pub ReadHalf, pub WriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of one connection")
    }
}

impl std::error::Error for ReuniteError {}

impl ReadHalf {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// The whole stream again.
    ///
    /// # Errors
    /// When `other` is a half of another connection.
    pub fn reunite(self, mut other: WriteHalf) -> Result<TcpStream, ReuniteError> {
        match other.stream.take() {
            Some(stream) if stream.is_same(&self.stream) => Ok(stream),
            stream => {
                other.stream = stream;
                Err(ReuniteError(self, other))
            }
        }
    }
}

impl ReadHalf {
    /// Takes what has arrived, without copying it. See [`TcpStream::read_frames`].
    ///
    /// # Errors
    /// As reading.
    pub fn read_frames(&mut self, frames: &mut Vec<crate::Frame>) -> io::Result<usize> {
        self.stream.read_frames(frames)
    }
}

impl AsRef<TcpStream> for ReadHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Read for ReadHalf {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.stream.read_vectored(buffers)
    }
}

impl WriteHalf {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: Some(stream) }
    }

    /// Writes without a copy what there is room for, and leaves the rest in `bytes`. See
    /// [`TcpStream::write_bytes`].
    ///
    /// # Errors
    /// As writing.
    pub fn write_bytes(&mut self, bytes: &mut crate::bytes::Bytes) -> io::Result<usize> {
        self.stream()?.write_bytes(bytes)
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Write for WriteHalf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream()?.write(bytes)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream()?.write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            // A connection that is over has no direction to end.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}
