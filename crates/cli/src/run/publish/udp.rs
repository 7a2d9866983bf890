//! Datagrams to published ports. Each client gets a socket of the kernel's side, so that PROGRAM tells
//! them apart and answers find their way.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use estab::Stack;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stack::SocketEntry;

use super::{AGAIN, AT_ONCE, PATIENCE};

/// How long a client may be silent before its way is forgotten (RFC 4787 4.3 asks for two minutes at least).
const IDLE: Duration = Duration::from_secs(120);

/// How many datagrams of one socket are carried before others have their turn.
const AT_A_TIME: usize = 64;

/// The longest datagram, and more.
const LONGEST: usize = 65_536;

/// Carries datagrams both ways between `host` and PROGRAM, which is at `to` of `stack`.
pub(super) fn carry(host: &UdpSocket, to: SocketAddr, stack: Stack) {
    let mut clients =
        Clients { to, stack, listened: false, all: Vec::new(), buffer: vec![0; LONGEST] };
    loop {
        if clients.turn(host).is_err() {
            thread::sleep(AGAIN);
        }
    }
}

struct Clients {
    /// PROGRAM.
    to: SocketAddr,
    stack: Stack,
    /// It has a socket there, or had one.
    listened: bool,
    all: Vec<Client>,
    buffer: Vec<u8>,
}

struct Client {
    address: SocketAddr,
    /// Connected to PROGRAM's port.
    socket: UdpSocket,
    used: Instant,
    /// What it sent last, while PROGRAM has no socket yet.
    early: Option<Vec<u8>>,
}

impl Clients {
    /// Waits for something to do, and does it.
    fn turn(&mut self, host: &UdpSocket) -> io::Result<()> {
        let (of_host, answers) = self.wait(host)?;
        let now = Instant::now();
        for index in answers {
            self.all[index].answer(host, &mut self.buffer, now);
        }
        self.send_early(now);
        self.all.retain(|client| now.saturating_duration_since(client.used) < IDLE);
        for _ in 0..if of_host { AT_A_TIME } else { 0 } {
            match host.recv_from(&mut self.buffer) {
                Ok((length, client)) => self.ask(client, length, now)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether there is something from this machine, and which clients have answers.
    fn wait(&self, host: &UdpSocket) -> io::Result<(bool, Vec<usize>)> {
        host.set_nonblocking(true)?;
        let sockets = std::iter::once(host).chain(self.all.iter().map(|client| &client.socket));
        let mut entries: Vec<_> =
            sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let wait = if self.all.iter().any(|client| client.early.is_some()) { AGAIN } else { IDLE };
        let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
        poll(&mut entries, Some(&wait))?;
        let is_ready = |entry: &PollFd<'_>| !entry.revents().is_empty();
        let of_host = entries.first().is_some_and(is_ready);
        let answers = entries.iter().skip(1).enumerate().filter(|(_, entry)| is_ready(entry));
        Ok((of_host, answers.map(|(index, _)| index).collect()))
    }

    /// Hands a datagram of `client` on.
    fn ask(&mut self, client: SocketAddr, length: usize, now: Instant) -> io::Result<()> {
        let known = self.all.iter().position(|known| known.address == client);
        let index = match known {
            Some(index) => index,
            None => self.add(client, now)?,
        };
        let (client, datagram) = (&mut self.all[index], &self.buffer[..length]);
        client.used = now;
        client.early = Some(datagram.to_owned());
        self.send_early(now);
        Ok(())
    }

    /// Sends what has waited for PROGRAM's first socket, or has not to.
    fn send_early(&mut self, now: Instant) {
        let mut early = self.all.iter_mut().filter(|client| client.early.is_some()).peekable();
        if early.peek().is_none() {
            return;
        }
        let is_it =
            |entry: &SocketEntry| entry.protocol == "udp" && entry.local.port() == self.to.port();
        self.listened = self.listened || self.stack.sockets().iter().any(is_it);
        for client in early {
            if self.listened {
                client.send();
            } else if now.saturating_duration_since(client.used) >= PATIENCE {
                client.early = None;
            }
        }
    }

    /// A new client, in the place of who was silent for the longest time when there are many.
    fn add(&mut self, address: SocketAddr, now: Instant) -> io::Result<usize> {
        if self.all.len() >= AT_ONCE {
            let used = |(_, client): &(usize, &Client)| client.used;
            if let Some((oldest, _)) = self.all.iter().enumerate().min_by_key(used) {
                self.all.swap_remove(oldest);
            }
        }
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(self.to)?;
        socket.set_nonblocking(true)?;
        self.all.push(Client { address, socket, used: now, early: None });
        Ok(self.all.len() - 1)
    }
}

impl Client {
    fn send(&mut self) {
        let Some(datagram) = self.early.take() else { return };
        // A refusal is that of the datagram before, told once; this one was not sent then.
        if self.socket.send(&datagram).is_err_and(|error| is_refusal(&error)) {
            let _ = self.socket.send(&datagram);
        }
    }

    /// Carries answers back. A datagram that nobody may get is lost, as datagrams are.
    fn answer(&mut self, host: &UdpSocket, buffer: &mut [u8], now: Instant) {
        for _ in 0..AT_A_TIME {
            match self.socket.recv(buffer) {
                Ok(length) => {
                    self.used = now;
                    let _ = host.send_to(&buffer[..length], self.address);
                }
                Err(error) if is_refusal(&error) => {}
                Err(_) => return,
            }
        }
    }
}

/// ICMP said that nobody listens there.
fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}
