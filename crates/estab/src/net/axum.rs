//! `axum::serve(listener, app)` on our listener.

use std::io;
use std::net::SocketAddr;

use super::{TcpListener, TcpStream};

impl axum::serve::Listener for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    /// The next connection. After the end of the stack none comes, and this never returns: end
    /// the server with axum's graceful shutdown, or drop its future.
    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        match TcpListener::accept(self).await {
            Ok(accepted) => accepted,
            Err(_) => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}
