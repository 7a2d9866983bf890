//! The servers that run on the stack: echo, discard, chargen, HTTP.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use estab::Stack;
use estab::blocking::{TcpListener, TcpStream};

use crate::http::Site;
use crate::values::{Serve, Service};

/// How many connections one server serves at once; more are closed at once.
const AT_ONCE: usize = 4096;

/// After this long without a byte a connection is given up.
const IDLE: Duration = Duration::from_secs(300);

/// Starts a server on `address`. It ends with the stack.
pub(crate) fn start(stack: &Stack, address: IpAddr, serve: &Serve) -> anyhow::Result<()> {
    let local = SocketAddr::new(address, serve.port);
    let listener = TcpListener::bind(stack, local)
        .with_context(|| format!("cannot listen on port {}", serve.port))?;
    let service = Arc::new(Handler::new(&serve.service)?);
    std::thread::Builder::new()
        .name(format!("port {}", serve.port))
        .spawn(move || accept(&listener, &service))?;
    Ok(())
}

/// A service ready to handle connections.
enum Handler {
    Echo,
    Discard,
    Chargen,
    Http(Site),
}

impl Handler {
    fn new(service: &Service) -> anyhow::Result<Self> {
        Ok(match service {
            Service::Echo => Self::Echo,
            Service::Discard => Self::Discard,
            Service::Chargen => Self::Chargen,
            Service::Http(None) => Self::Http(Site::welcome()),
            Service::Http(Some(directory)) => Self::Http(Site::of(directory)?),
        })
    }

    fn handle(&self, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        stream.set_read_timeout(Some(IDLE))?;
        match self {
            Self::Echo => io::copy(&mut &stream, &mut &stream).map(drop),
            Self::Discard => io::copy(&mut stream, &mut io::sink()).map(drop),
            Self::Chargen => chargen(&stream),
            Self::Http(site) => site.serve(&mut stream, peer),
        }
    }
}

fn accept(listener: &TcpListener, handler: &Arc<Handler>) {
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                if busy.fetch_add(1, Ordering::Relaxed) >= AT_ONCE {
                    busy.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let (handler, served) = (Arc::clone(handler), Arc::clone(&busy));
                let serve = move || {
                    // What goes wrong is the peer's: the connection ends, the server goes on.
                    let _ = handler.handle(stream, peer);
                    served.fetch_sub(1, Ordering::Relaxed);
                };
                if std::thread::Builder::new().spawn(serve).is_err() {
                    busy.fetch_sub(1, Ordering::Relaxed);
                }
            }
            // The stack was stopped.
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => return,
            // Not this connection; perhaps the next.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Lines of the ASCII characters, each shifted by one (RFC 864), until the client has enough.
fn chargen(stream: &TcpStream) -> io::Result<()> {
    let mut bytes = stream.try_clone()?;
    // What the client says is of no interest, but must be read: unread, it would turn the close
    // into a reset.
    std::thread::Builder::new().spawn(move || io::copy(&mut bytes, &mut io::sink()))?;
    let mut pattern = Vec::new();
    for line in 0..95 {
        pattern.extend((0..72).map(|column| b' ' + (line + column) % 95));
        pattern.extend(b"\r\n");
    }
    let mut stream = stream;
    loop {
        stream.write_all(&pattern)?;
    }
}
