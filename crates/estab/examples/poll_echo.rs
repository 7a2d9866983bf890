//! An echo server for TCP and UDP, in one thread that polls everything that it waits for.
//!
//! ```text
//! cargo run -p estab --example poll_echo -- sh -c 'echo who is there? | nc -N 10.77.0.2 7'
//! ```
//!
//! In a network namespace made for it the kernel is 10.77.0.1, the stack 10.77.0.2. The command
//! runs on the kernel's side; its exit status becomes ours. That it has ended is one more event, of a
//! descriptor of the kernel.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode};

use estab::blocking::poll::{Events, Interest, Poll, SourceFd, Token};
use estab::blocking::{TcpListener, TcpStream, UdpSocket};
use estab::link::namespace::{Namespace, unshare};
use estab::link::{Netlink, TunBuilder};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

const COMMAND: Token = Token(0);
const LISTENER: Token = Token(1);
const DATAGRAMS: Token = Token(2);
/// The first of the clients'.
const CLIENTS: usize = 3;

/// How many bytes may wait for a client that does not read. Beyond that nothing is read from it.
const LONGEST: usize = 256 * 1024;

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
    let stack = estab::Stack::builder().address(OURS, 24).start(tun)?;
    let mut server = Server::new(&stack)?;

    let mut command = Command::new(program).args(arguments).spawn()?;
    let pid = i32::try_from(command.id()).ok().and_then(Pid::from_raw);
    let ended = pidfd_open(pid.ok_or(ErrorKind::NotFound)?, PidfdFlags::empty())?;
    server.poll.registry().register(&SourceFd(&ended), COMMAND, Interest::READABLE)?;
    while !server.turn()? {}
    let status = command.wait()?;
    stack.stop_graceful(std::time::Duration::from_secs(5));
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

struct Server {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    datagrams: UdpSocket,
    clients: HashMap<Token, Client>,
    next: usize,
}

/// One client.
struct Client {
    stream: TcpStream,
    /// What it sent and has not got back yet.
    waiting: Vec<u8>,
    /// It has closed its half.
    ended: bool,
}

impl Server {
    fn new(stack: &estab::Stack) -> io::Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(256));
        let listener = TcpListener::bind(stack, (OURS, 7))?;
        listener.set_nonblocking(true)?;
        poll.registry().register(&listener, LISTENER, Interest::READABLE)?;
        let datagrams = UdpSocket::bind(stack, (OURS, 7))?;
        datagrams.set_nonblocking(true)?;
        poll.registry().register(&datagrams, DATAGRAMS, Interest::READABLE)?;
        Ok(Self { poll, events, listener, datagrams, clients: HashMap::new(), next: CLIENTS })
    }

    /// Waits for something to happen and handles it; true when the command has ended.
    fn turn(&mut self) -> io::Result<bool> {
        self.poll.poll(&mut self.events, None)?;
        let mut ended = false;
        for event in &self.events {
            match event.token() {
                COMMAND => ended = true,
                LISTENER => {
                    while let Some(stream) = accept(&self.listener)? {
                        let token = Token(self.next);
                        self.next += 1;
                        let both = Interest::READABLE | Interest::WRITABLE;
                        self.poll.registry().register(&stream, token, both)?;
                        let client = Client { stream, waiting: Vec::new(), ended: false };
                        self.clients.insert(token, client);
                    }
                }
                DATAGRAMS => answer_datagrams(&self.datagrams),
                token => {
                    // The client may have gone; that is its affair.
                    let goes_on = self.clients.get_mut(&token).map(Client::serve);
                    if !matches!(goes_on, Some(Ok(true))) {
                        self.clients.remove(&token);
                    }
                }
            }
        }
        Ok(ended)
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _peer)) => {
            stream.set_nonblocking(true)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn answer_datagrams(socket: &UdpSocket) {
    let mut bytes = [0; 65536];
    loop {
        match socket.recv_from(&mut bytes) {
            // Like the network, it drops what there is no room for.
            Ok((length, peer)) => drop(socket.send_to(&bytes[..length], peer)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => {} // Of an answer that was refused. What came is still there.
        }
    }
}

impl Client {
    /// Gives back what has come, until it would block. False when that was all.
    fn serve(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 16 * 1024];
        loop {
            while !self.waiting.is_empty() {
                match self.stream.write(&self.waiting) {
                    Ok(count) => drop(self.waiting.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            if self.ended || self.waiting.len() >= LONGEST {
                return Ok(!self.ended || !self.waiting.is_empty()); // Room is an event, too.
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(count) => self.waiting.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
}
