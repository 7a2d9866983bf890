//! Connections to published ports: each is carried by one of the kernel's side.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::{AGAIN, AT_ONCE, PATIENCE};

/// Accepts connections, and carries each on a thread of its own.
pub(super) fn accept(listener: &TcpListener, to: SocketAddr) {
    let (busy, listened) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    for client in listener.incoming() {
        // Not this one; perhaps the next.
        let Ok(client) = client else {
            thread::sleep(AGAIN);
            continue;
        };
        if busy.fetch_add(1, Ordering::Relaxed) >= AT_ONCE {
            busy.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (carried, listened) = (Arc::clone(&busy), Arc::clone(&listened));
        let carry = move || {
            // What goes wrong ends this connection at both ends.
            let _ = connect(to, &listened).and_then(|server| carry(&client, &server));
            carried.fetch_sub(1, Ordering::Relaxed);
        };
        if thread::Builder::new().spawn(carry).is_err() {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Connects to PROGRAM, which may not listen yet.
fn connect(to: SocketAddr, listened: &AtomicBool) -> io::Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(to) {
            Ok(stream) => {
                listened.store(true, Ordering::Relaxed);
                return Ok(stream);
            }
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && !listened.load(Ordering::Relaxed)
                    && Instant::now() < deadline =>
            {
                thread::sleep(AGAIN);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Both ways until both have ended; the end of one half is handed on.
fn carry(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let half = |from: &TcpStream, to: &TcpStream| {
        let (mut reader, mut writer) = (from, to);
        match io::copy(&mut reader, &mut writer) {
            Ok(_) => to.shutdown(Shutdown::Write),
            Err(error) => {
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                Err(error)
            }
        }
    };
    thread::scope(|scope| {
        let there = scope.spawn(|| half(client, server));
        let back = half(server, client);
        there.join().map_err(|_| io::Error::other("a thread panicked"))?.and(back)
    })
}
