//! The stack's side of the control socket.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use estab::Stack;
use estab::blocking::{TcpListener, TcpStream};
use rustix::event::{PollFd, PollFlags, poll};

use super::announced::is_ours;
use super::frame::{self, End};
use super::serve_program::{self, Wish};
use super::served::Served;
use crate::ss::{self, Selection};
use crate::{ping, traceroute};

/// From one look whether a client is still there to the next.
const GLANCE: Duration = Duration::from_millis(10);

/// The longest command line.
const LONGEST_LINE: u64 = 1024;

/// Whom a control socket answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clients {
    /// Who can reach it: the network that it is in, or its directory, is the stack's own.
    All,
    /// Processes of this user.
    Ours,
}

/// Answers the clients of `listener`, each on a thread of its own.
///
/// What listens, listens on all of `addresses`.
pub(crate) fn start(
    listener: UnixListener,
    clients: Clients,
    stack: Stack,
    addresses: Vec<IpAddr>,
    served: Served,
) -> io::Result<()> {
    let serve = move || {
        for client in listener.incoming() {
            let (Ok(client), stack) = (client, stack.clone()) else { return };
            if clients == Clients::Ours && !is_ours(&client) {
                continue;
            }
            let (addresses, served) = (addresses.clone(), served.clone());
            let answer = move || {
                // A client that is gone needs no answer.
                let _ = answer(client, &stack, &addresses, &served);
            };
            if std::thread::Builder::new().spawn(answer).is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    };
    std::thread::Builder::new().name("control".into()).spawn(serve)?;
    Ok(())
}

fn answer(
    client: UnixStream,
    stack: &Stack,
    addresses: &[IpAddr],
    served: &Served,
) -> io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    (&mut from).take(LONGEST_LINE).read_line(&mut line)?;
    let mut out = client;
    let words: Vec<&str> = line.split_whitespace().collect();
    let end = match words.as_slice() {
        ["ss", options @ ..] => {
            let has = |word| options.contains(&word);
            let (all, listening, info) = (has("all"), has("listening"), has("info"));
            let selection = Selection { all, listening, info };
            let sockets = stack.sockets();
            // Asked second: whose socket is listed is known by then.
            let users = if has("processes") { Some(served.sockets()) } else { None };
            let table = ss::table(&sockets, selection, users.as_deref(), stack.now());
            frame::write(&mut out, table.as_bytes())?;
            success()
        }
        ["ip"] => {
            for (address, prefix) in stack.addresses() {
                frame::write(&mut out, format!("{address}/{prefix}\n").as_bytes())?;
            }
            success()
        }
        ["ping", arguments @ ..] => match ping::Plan::parse(arguments) {
            Some(plan) => {
                let mut say = |text: &str| frame::write(&mut out, text.as_bytes());
                ping::run(stack, &plan, &mut say)
                    .map(|answered| End { status: u8::from(!answered), message: String::new() })?
            }
            None => unknown(&line),
        },
        ["traceroute", arguments @ ..] => match traceroute::Plan::parse(arguments) {
            Some(plan) => {
                let mut say = |text: &str| frame::write(&mut out, text.as_bytes());
                traceroute::run(stack, &plan, &mut say)
                    .map(|answered| End { status: u8::from(!answered), message: String::new() })?
            }
            None => unknown(&line),
        },
        ["run", wish @ ..] => match Wish::parse(wish) {
            Some(wish) => serve_program::run(stack, served, &wish, &mut out)
                .unwrap_or_else(|error| failure("cannot serve the program", &error)),
            None => unknown(&line),
        },
        ["connect", peer, congestion @ ..] => match peer.parse() {
            Ok(peer) => connect(stack, peer, congestion.first(), &mut from, &mut out),
            Err(_) => unknown(&line),
        },
        ["listen", port, congestion @ ..] => match port.parse() {
            Ok(port) => {
                let local = addresses.iter().map(|address| SocketAddr::new(*address, port));
                let local: Vec<SocketAddr> = local.collect();
                listen(stack, &local, congestion.first(), &mut from, &mut out)
            }
            Err(_) => unknown(&line),
        },
        _ => unknown(&line),
    };
    frame::finish(&mut out, &end)?;
    out.shutdown(Shutdown::Write)
}

fn connect(
    stack: &Stack,
    peer: SocketAddr,
    congestion: Option<&&str>,
    from: &mut BufReader<UnixStream>,
    out: &mut UnixStream,
) -> End {
    let connected = TcpStream::connect(stack, peer);
    match connected.and_then(|stream| controlled(stream, congestion)) {
        Ok(stream) => relay(&stream, from, out),
        Err(error) => failure(&peer.to_string(), &error),
    }
}

fn listen(
    stack: &Stack,
    local: &[SocketAddr],
    congestion: Option<&&str>,
    from: &mut BufReader<UnixStream>,
    out: &mut UnixStream,
) -> End {
    let listeners = local.iter().map(|local| TcpListener::bind(stack, local));
    let listeners: io::Result<Vec<TcpListener>> = listeners.collect();
    let accepted = listeners.and_then(|listeners| accept(&listeners, from));
    match accepted.and_then(|stream| controlled(stream, congestion)) {
        Ok(stream) => relay(&stream, from, out),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => success(),
        Err(error) => {
            let port = local.first().map_or(0, SocketAddr::port);
            failure(&format!("port {port}"), &error)
        }
    }
}

/// The connection with the congestion controller that the client asked for, if it did.
fn controlled(stream: TcpStream, congestion: Option<&&str>) -> io::Result<TcpStream> {
    if let Some(name) = congestion {
        stream.set_congestion(name)?;
    }
    Ok(stream)
}

/// Waits for one connection at any of `listeners`, as long as the client is there.
fn accept(listeners: &[TcpListener], client: &BufReader<UnixStream>) -> io::Result<TcpStream> {
    for listener in listeners {
        listener.set_nonblocking(true)?;
    }
    loop {
        for listener in listeners {
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

/// Carries bytes both ways until both halves are done. The client's end of input becomes our FIN;
/// after the peer's FIN the client may still send. A client that is gone resets the connection.
fn relay(stream: &TcpStream, from: &mut BufReader<UnixStream>, out: &mut UnixStream) -> End {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut writer = stream;
            let sent = io::copy(from, &mut writer).and_then(|_| stream.shutdown(Shutdown::Write));
            while !done.load(Ordering::Relaxed) {
                if is_gone(from.get_ref(), GLANCE).unwrap_or(true) {
                    let _ = stream.shutdown(Shutdown::Both);
                    break;
                }
            }
            sent
        });
        let received = receive(stream, out);
        done.store(true, Ordering::Relaxed);
        if received.is_err() {
            // Ends the other half, wherever it waits.
            let _ = stream.shutdown(Shutdown::Both);
            let _ = out.shutdown(Shutdown::Read);
        }
        let sent = sender.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        match received.and(sent) {
            Ok(()) => success(),
            Err(error) => failure("the connection ended", &error),
        }
    })
}

/// Gives the client what the peer sends, to its end.
fn receive(mut stream: &TcpStream, out: &mut UnixStream) -> io::Result<()> {
    let mut buffer = vec![0; frame::LONGEST];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => frame::write(out, &buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
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

fn success() -> End {
    End { status: 0, message: String::new() }
}

fn failure(what: &str, error: &io::Error) -> End {
    End { status: 1, message: format!("{what}: {error}") }
}

fn unknown(line: &str) -> End {
    End { status: 2, message: format!("the lab does not know '{}'", line.trim_end()) }
}
