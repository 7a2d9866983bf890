//! The halves of a [`TcpStream`](super::TcpStream), as in `tokio::net::tcp`.

mod borrowed;
mod owned;

pub use borrowed::{ReadHalf, WriteHalf};
pub use owned::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};

/// What a half that reads can do, whatever its owner.
macro_rules! read_half {
    () => {
        /// Waits until reading does not block: bytes, the end of the stream or an error.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub async fn readable(&self) -> io::Result<()> {
            self.stream.readable().await
        }

        /// Reads what there is.
        ///
        /// # Errors
        /// `WouldBlock` when there is nothing.
        pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            self.stream.try_read(buffer)
        }

        /// Takes what has arrived, without copying it. See [`TcpStream::read_frames`].
        ///
        /// # Errors
        /// As reading.
        pub async fn read_frames(&mut self, frames: &mut Vec<$crate::Frame>) -> io::Result<usize> {
            self.stream.read_frames(frames).await
        }

        /// Reads without taking: the next read gets the same bytes.
        ///
        /// # Errors
        /// As reading.
        pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.stream.peek(buffer).await
        }

        /// This side's address and port.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            self.stream.local_addr()
        }

        /// The peer's address and port.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn peer_addr(&self) -> io::Result<SocketAddr> {
            self.stream.peer_addr()
        }
    };
}

/// What a half that writes can do, whatever its owner.
macro_rules! write_half {
    () => {
        /// Waits until writing does not block: room, or an error.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub async fn writable(&self) -> io::Result<()> {
            self.stream.writable().await
        }

        /// Writes without a copy what there is room for, and leaves the rest in `bytes`. See
        /// [`TcpStream::write_bytes`].
        ///
        /// # Errors
        /// As writing.
        pub async fn write_bytes(&mut self, bytes: &mut $crate::bytes::Bytes) -> io::Result<usize> {
            self.stream.write_bytes(bytes).await
        }

        /// Writes what there is room for.
        ///
        /// # Errors
        /// `WouldBlock` when there is no room.
        pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            self.stream.try_write(bytes)
        }

        /// This side's address and port.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            self.stream.local_addr()
        }

        /// The peer's address and port.
        ///
        /// # Errors
        /// `NetworkDown` when the stack has ended.
        pub fn peer_addr(&self) -> io::Result<SocketAddr> {
            self.stream.peer_addr()
        }
    };
}

/// The traits of a half that reads.
macro_rules! read_traits {
    ($half:ty) => {
        impl AsyncRead for $half {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.stream.poll_read_shared(cx, buffer)
            }
        }
    };
}

/// The traits of a half that writes.
macro_rules! write_traits {
    ($half:ty) => {
        impl AsyncWrite for $half {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.stream.poll_write_shared(cx, bytes)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.stream.poll_write_vectored_shared(cx, buffers)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.shut_down()
            }
        }
    };
}

use {read_half, read_traits, write_half, write_traits};
