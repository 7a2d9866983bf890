//! Datagrams to published ports. Each client gets a socket of the kernel's side, so that PROGRAM tells
//! them apart and answers find their way.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{AGAIN, AT_ONCE, PATIENCE};

/// How long a client may be silent before its way is forgotten (RFC 4787 4.3 asks for two minutes at least).
const IDLE: Duration = Duration::from_secs(120);

/// How many datagrams of one socket are carried before others have their turn.
const AT_A_TIME: usize = 64;

/// The longest datagram, and more.
const LONGEST: usize = 65_536;

/// Carries datagrams both ways.
pub(super) fn carry(host: &UdpSocket, to: SocketAddr) {
    let mut clients = Clients { to, all: Vec::new(), buffer: vec![0; LONGEST] };
    loop {
        if clients.turn(host).is_err() {
            thread::sleep(AGAIN);
        }
    }
}

struct Clients {
    /// PROGRAM.
    to: SocketAddr,
    all: Vec<Client>,
    buffer: Vec<u8>,
}

struct Client {
    address: SocketAddr,
    /// Connected to PROGRAM's port.
    socket: UdpSocket,
    begun: Instant,
    used: Instant,
    /// What it sent last, while PROGRAM may not listen yet.
    last: Vec<u8>,
    /// That was refused, and is sent again then.
    again: Option<Instant>,
}

impl Clients {
    /// Waits for something to do, and does it.
    fn turn(&mut self, host: &UdpSocket) -> io::Result<()> {
        let (of_host, answers) = self.wait(host)?;
        let now = Instant::now();
        for index in answers {
            self.all[index].answer(host, &mut self.buffer, now);
        }
        for client in &mut self.all {
            client.send_again(now);
        }
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
        let wait = if self.all.iter().any(|client| client.again.is_some()) { AGAIN } else { IDLE };
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
        self.all[index].ask(&self.buffer[..length], now);
        Ok(())
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
        let client =
            Client { address, socket, begun: now, used: now, last: Vec::new(), again: None };
        self.all.push(client);
        Ok(self.all.len() - 1)
    }
}

impl Client {
    fn ask(&mut self, datagram: &[u8], now: Instant) {
        self.used = now;
        self.again = None;
        self.last.clear();
        if self.is_early(now) {
            self.last.extend_from_slice(datagram);
        }
        // An error is that of the datagram before, told once; this one was not sent then.
        if self.socket.send(datagram).is_err_and(|error| is_refusal(&error)) {
            let _ = self.socket.send(datagram);
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
                Err(error) if is_refusal(&error) => {
                    self.again = (self.is_early(now) && !self.last.is_empty()).then(|| now + AGAIN);
                }
                Err(_) => return,
            }
        }
    }

    /// PROGRAM may listen by now.
    fn send_again(&mut self, now: Instant) {
        if self.again.take_if(|again| *again <= now).is_some() {
            let _ = self.socket.send(&self.last);
        }
    }

    fn is_early(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) < PATIENCE
    }
}

/// ICMP said that nobody listens there.
fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}
