//! An HTTP server in one thread, without sockets: each request gets its own body back.
//!
//! ```text
//! cargo run -p estab --example inline_echo -- curl -sS -d 'who is there?' http://10.77.0.2/
//! ```
//!
//! In a network namespace made for it the kernel is 10.77.0.1, the stack 10.77.0.2. The command
//! runs on the kernel's side; its exit status becomes ours.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode};
use std::time::Duration;

use estab::bytes::{Buf, Bytes};
use estab::core::{ConnectionId, Error, Event, ListenerId, Ready, SocketId, TcpOptions};
use estab::inline::Inline;
use estab::link::namespace::{Namespace, unshare};
use estab::link::{Netlink, TunBuilder};

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The longest head and the longest body that a request may have.
const LONGEST: usize = 1 << 20;
/// How often the server looks whether the command has ended.
const LOOK: Duration = Duration::from_millis(50);

fn main() -> io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((program, arguments)) = words.split_first() else {
        eprintln!("say which command to run beside the server");
        return Ok(ExitCode::from(2));
    };
    unshare(&[Namespace::User, Namespace::Network])?;
    let tun = TunBuilder::new().name("estab0").open()?;
    let mut kernel = Netlink::open()?;
    kernel.add_address("estab0", KERNEL.into(), 24)?;
    kernel.set_up("estab0")?;
    let mut server = Server::new(estab::Stack::builder().address(OURS, 24).inline(tun)?)?;
    let mut command = Command::new(program).args(arguments).spawn()?;
    loop {
        server.turn(Some(LOOK))?;
        if let Some(status) = command.try_wait()? {
            server.stack.drain();
            return Ok(ExitCode::from(
                status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1),
            ));
        }
    }
}

/// The stack and what the server remembers of its clients.
struct Server {
    stack: Inline,
    listener: ListenerId,
    clients: HashMap<ConnectionId, Client>,
}

/// One client.
#[derive(Default)]
struct Client {
    /// What it sent that is no whole request yet.
    input: Vec<u8>,
    /// Answers that there was no room for yet. While there are some, nothing more is read.
    output: Vec<Bytes>,
    /// It has closed its half.
    ended: bool,
}

impl Server {
    fn new(mut stack: Inline) -> io::Result<Self> {
        let (now, at) = (stack.now(), SocketAddr::from((OURS, 80)));
        let listener = stack.core().listen(now, at, 1024, TcpOptions::default());
        let listener = listener.map_err(io::Error::other)?;
        Ok(Self { stack, listener, clients: HashMap::new() })
    }

    /// Waits for something to happen and handles it; what that leaves to send goes out with the next
    /// turn, at once.
    fn turn(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.stack.turn(limit)?;
        while let Some(Event { socket, ready }) = self.stack.next_event() {
            match socket {
                SocketId::Listener(_) => self.accept(),
                SocketId::Connection(id) => self.serve(id, ready),
                _ => {}
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        let now = self.stack.now();
        while let Ok((id, _peer)) = self.stack.core().accept(now, self.listener) {
            self.clients.insert(id, Client::default());
            // What it sent before is not told again.
            self.serve(id, Ready::READ);
        }
    }

    fn serve(&mut self, id: ConnectionId, ready: Ready) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let served = if ready.contains(Ready::ERROR) {
            Err(Error::ConnectionReset)
        } else {
            client.serve(&mut self.stack, id)
        };
        let done = client.ended && client.output.is_empty();
        if done || served.is_err() {
            let now = self.stack.now();
            self.clients.remove(&id);
            self.stack.core().close(now, id);
        }
    }
}

impl Client {
    /// Answers as long as there is something to read and room to write.
    fn serve(&mut self, stack: &mut Inline, id: ConnectionId) -> Result<(), Error> {
        loop {
            self.write(stack, id)?;
            if !self.output.is_empty() || self.ended {
                return Ok(());
            }
            match self.read(stack, id) {
                Ok(()) => {}
                Err(Error::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
            while let Some(body) = self.next_request()? {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                self.output.extend([Bytes::from(head), body]);
            }
        }
    }

    /// Takes what has arrived, from where it lies.
    fn read(&mut self, stack: &mut Inline, id: ConnectionId) -> Result<(), Error> {
        let (now, before) = (stack.now(), self.input.len());
        stack.core().chunks(id)?.for_each(|chunk| self.input.extend_from_slice(chunk));
        let count = self.input.len() - before;
        self.ended = count == 0;
        stack.core().consume(now, id, count)
    }

    /// Hands over what there is room for.
    fn write(&mut self, stack: &mut Inline, id: ConnectionId) -> Result<(), Error> {
        let now = stack.now();
        while let Some(bytes) = self.output.first_mut() {
            if !bytes.is_empty() {
                match stack.core().write_bytes(now, id, bytes.clone()) {
                    Ok(count) => bytes.advance(count),
                    Err(Error::WouldBlock) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            if bytes.is_empty() {
                self.output.remove(0);
            }
        }
        Ok(())
    }

    /// The body of the next request, when all of it is here. A request that cannot be is an error.
    fn next_request(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else {
            let endless = self.input.len() > LONGEST;
            return if endless { Err(Error::InvalidInput) } else { Ok(None) };
        };
        let head = String::from_utf8_lossy(&self.input[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.map_or(Ok(0), |length| length.trim().parse::<usize>());
        let length = length.ok().filter(|length| *length <= LONGEST).ok_or(Error::InvalidInput)?;
        let (start, end) = (end + 4, end + 4 + length);
        if self.input.len() < end {
            return Ok(None);
        }
        let body = Bytes::copy_from_slice(&self.input[start..end]);
        self.input.drain(..end);
        Ok(Some(body))
    }
}
