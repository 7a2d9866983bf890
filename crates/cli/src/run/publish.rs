//! `--publish`: ports of this machine's loopback that lead to PROGRAM.
//!
//! The listeners are made before the run leaves the machine's network. What they accept is carried
//! to the stack by a connection of the kernel's side, over the link and all that is asked of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::arguments::Publish;

/// How many connections are carried at once; more are closed at once.
const AT_ONCE: usize = 1024;

/// How long who connects early waits for PROGRAM to listen for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is tried.
const AGAIN: Duration = Duration::from_millis(20);

/// Ports that are ours already.
#[derive(Debug)]
pub(super) struct Published(Vec<(TcpListener, u16)>);

/// Takes the ports, in the machine's network.
pub(super) fn listen(ports: &[Publish]) -> anyhow::Result<Published> {
    let listen = |publish: &Publish| {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), publish.host);
        let listener = TcpListener::bind(address)
            .with_context(|| format!("--publish: cannot listen on {address}"))?;
        Ok((listener, publish.program))
    };
    Ok(Published(ports.iter().map(listen).collect::<anyhow::Result<_>>()?))
}

impl Published {
    /// Carries what comes to PROGRAM, at `stack`.
    pub(super) fn start(self, stack: IpAddr) -> io::Result<()> {
        for (listener, port) in self.0 {
            let to = SocketAddr::new(stack, port);
            thread::Builder::new()
                .name(format!("publish {port}"))
                .spawn(move || accept(&listener, to))?;
        }
        Ok(())
    }
}

fn accept(listener: &TcpListener, to: SocketAddr) {
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
