//! The control socket's `nc`: one connection of the stack, whose bytes the client's socket carries.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use estab::Stack;
use estab::blocking::{TcpListener, TcpStream};
use rustix::event::{PollFd, PollFlags, poll};

use super::frame::{self, End};
use super::server::{failure, success};

/// From one look whether a client is still there to the next.
const GLANCE: Duration = Duration::from_millis(10);

/// What the client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wish {
    /// Whom to connect to, or which port to listen at.
    pub(crate) to: Destination,
    /// The address to connect from, where the stack does not choose it.
    pub(crate) source: Option<IpAddr>,
    /// How long connecting may take, and how long the connection may be silent.
    pub(crate) wait: Option<Duration>,
    /// The congestion controller of the connection, where it is not the stack's.
    pub(crate) congestion: Option<String>,
}

/// The other side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Destination {
    /// Whoever listens there.
    Peer(SocketAddr),
    /// Whoever connects to this port, at any address of the stack.
    Port(u16),
}

impl Wish {
    /// Reads it from the words behind `nc`.
    pub(super) fn parse(words: &[&str]) -> Option<Self> {
        let (to, settings) = match words {
            ["connect", peer, settings @ ..] => (Destination::Peer(peer.parse().ok()?), settings),
            ["listen", port, settings @ ..] => (Destination::Port(port.parse().ok()?), settings),
            _ => return None,
        };
        let mut wish = Self { to, source: None, wait: None, congestion: None };
        for setting in settings {
            match setting.split_once('=')? {
                ("source", address) => wish.source = Some(address.parse().ok()?),
                ("wait", time) => wish.wait = Some(Duration::from_millis(time.parse().ok()?)),
                ("congestion", name) => wish.congestion = Some(name.to_owned()),
                _ => return None,
            }
        }
        Some(wish)
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Destination::Peer(peer) => write!(f, "nc connect {peer}")?,
            Destination::Port(port) => write!(f, "nc listen {port}")?,
        }
        if let Some(source) = self.source {
            write!(f, " source={source}")?;
        }
        if let Some(wait) = self.wait {
            write!(f, " wait={}", wait.as_millis())?;
        }
        self.congestion.as_ref().map_or(Ok(()), |name| write!(f, " congestion={name}"))
    }
}

/// Opens the connection, and carries bytes until it ends.
pub(super) fn run(
    stack: &Stack,
    addresses: &[IpAddr],
    wish: &Wish,
    from: &mut BufReader<UnixStream>,
    out: &mut UnixStream,
) -> End {
    let opened = match wish.to {
        Destination::Peer(peer) => connect(stack, peer, wish),
        Destination::Port(port) => listen(stack, addresses, port, from),
    };
    match opened.and_then(|stream| controlled(stream, wish)) {
        Ok(stream) => relay(&stream, wish.wait, from, out),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => success(),
        Err(error) => did_not_open(wish, &error),
    }
}

fn connect(stack: &Stack, peer: SocketAddr, wish: &Wish) -> io::Result<TcpStream> {
    let local = wish.source.map(|source| SocketAddr::new(source, 0));
    let options = stack.config()?.tcp;
    match wish.wait {
        Some(wait) => TcpStream::connect_timeout_with(stack, local, peer, &options, wait),
        None => TcpStream::connect_with(stack, local, peer, &options),
    }
}

/// Waits for one connection to any of `addresses`, as long as the client is there.
fn listen(
    stack: &Stack,
    addresses: &[IpAddr],
    port: u16,
    client: &BufReader<UnixStream>,
) -> io::Result<TcpStream> {
    let listeners = addresses.iter().map(|address| {
        let listener = TcpListener::bind(stack, SocketAddr::new(*address, port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let listeners: Vec<TcpListener> = listeners.collect::<io::Result<_>>()?;
    loop {
        for listener in &listeners {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if is_gone(client.get_ref(), GLANCE)? {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
}

/// The connection with the congestion controller that the client asked for, if it did.
fn controlled(stream: TcpStream, wish: &Wish) -> io::Result<TcpStream> {
    if let Some(name) = &wish.congestion {
        stream.set_congestion(name)?;
    }
    Ok(stream)
}

fn did_not_open(wish: &Wish, error: &io::Error) -> End {
    match (wish.to, wish.source) {
        // It is the command that cannot work: no other attempt will find the address.
        (_, Some(source)) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            End { status: 2, ..failure(&source.to_string(), error) }
        }
        (Destination::Peer(peer), _) => failure(&peer.to_string(), error),
        (Destination::Port(port), _) => failure(&format!("port {port}"), error),
    }
}

/// Carries bytes both ways until both halves are done. The client's end of input becomes our FIN;
/// after the peer's FIN the client may still send. A client that is gone resets the connection, and one
/// that was silent for `patience` ends, as in OpenBSD's nc, with success.
fn relay(
    stream: &TcpStream,
    patience: Option<Duration>,
    from: &mut BufReader<UnixStream>,
    out: &mut UnixStream,
) -> End {
    let (done, silence) = (AtomicBool::new(false), Silence::begin(patience));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut writer = stream;
            let mut heard = Heard { from: &mut *from, silence: &silence };
            let sent = io::copy(&mut heard, &mut writer);
            let sent = sent.and_then(|_| stream.shutdown(Shutdown::Write));
            while !done.load(Ordering::Relaxed) {
                if is_gone(from.get_ref(), GLANCE).unwrap_or(true) {
                    let _ = stream.shutdown(Shutdown::Both);
                    break;
                }
            }
            sent
        });
        let received = receive(stream, &silence, out);
        done.store(true, Ordering::Relaxed);
        if !matches!(received, Ok(Received::All)) {
            // Ends the other half, wherever it waits.
            let _ = stream.shutdown(Shutdown::Both);
            let _ = out.shutdown(Shutdown::Read);
        }
        let sent = sender.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        match (received, sent) {
            (Ok(Received::Silence), _) | (Ok(Received::All), Ok(())) => success(),
            (Err(error), _) | (_, Err(error)) => failure("the connection ended", &error),
        }
    })
}

/// Why nothing more is received.
enum Received {
    /// The peer has said all.
    All,
    /// Neither side said anything for too long.
    Silence,
}

/// Gives the client what the peer sends, to its end.
fn receive(
    mut stream: &TcpStream,
    silence: &Silence,
    out: &mut UnixStream,
) -> io::Result<Received> {
    let mut buffer = vec![0; frame::LONGEST];
    loop {
        match silence.rest() {
            Some(Duration::ZERO) => return Ok(Received::Silence),
            rest => stream.set_read_timeout(rest)?,
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Received::All),
            Ok(count) => {
                silence.broken();
                frame::write(out, &buffer[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// How long nobody has said anything, and how long that may last.
struct Silence {
    since: Mutex<Instant>,
    limit: Option<Duration>,
}

impl Silence {
    fn begin(limit: Option<Duration>) -> Self {
        Self { since: Mutex::new(Instant::now()), limit }
    }

    fn broken(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// What is left of the limit.
    fn rest(&self) -> Option<Duration> {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        self.limit.map(|limit| limit.saturating_sub(since.elapsed()))
    }
}

/// What the client says, which breaks the silence.
struct Heard<'a> {
    from: &'a mut BufReader<UnixStream>,
    silence: &'a Silence,
}

impl Read for Heard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.silence.broken();
        Ok(count)
    }
}

/// Whether the client closed its socket altogether, which a mere end of its input is not; waits
/// for it at most for `timeout`.
fn is_gone(client: &UnixStream, timeout: Duration) -> io::Result<bool> {
    let timeout = timeout.try_into().ok();
    let mut descriptors = [PollFd::new(client, PollFlags::empty())];
    match poll(&mut descriptors, timeout.as_ref()) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_a_line_is_read_from_it() {
        let plain = Wish { to: Destination::Port(80), source: None, wait: None, congestion: None };
        let full = Wish {
            to: Destination::Peer("[fd77::1]:80".parse().unwrap()),
            source: Some("fd77::2".parse().unwrap()),
            wait: Some(Duration::from_millis(1500)),
            congestion: Some("bbr".to_owned()),
        };
        for wish in [plain, full] {
            let line = wish.to_string();
            let words: Vec<&str> = line.split(' ').skip(1).collect();
            assert_eq!(Wish::parse(&words), Some(wish), "{line}");
        }
        for wrong in ["connect 80", "listen x", "listen 80 wait=x", "listen 80 bbr", "wait 80"] {
            let words: Vec<&str> = wrong.split(' ').collect();
            assert_eq!(Wish::parse(&words), None, "{wrong}");
        }
    }
}
