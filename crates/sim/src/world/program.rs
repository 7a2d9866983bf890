//! Programs: both ends of a connection, each with a plan, and what they may expect.
//!
//! A program runs only when its socket has an event or its own pause is over, so a wake-up that the
//! stack forgets is a world that never ends.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;

use stack::{ConnectionId, Error, Event, KeepAlive, Ready, Shutdown, SocketId, TcpOptions};
use wire::time::{Duration, Instant};

use super::dice::Dice;
use super::host::Host;

/// How one end of a connection behaves.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many bytes it sends.
    pub send: u64,
    /// How many bytes it gives to one write.
    pub write: RangeInclusive<usize>,
    /// How many bytes it asks for in one read.
    pub read: RangeInclusive<usize>,
    /// How long it rests at most after a read; some reads only.
    pub pause: Duration,
    /// How it ends the connection.
    pub ending: Ending,
    /// What it sets on its socket.
    pub options: TcpOptions,
}

/// How a program ends its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Writes everything, shuts its side down, reads to the end, closes.
    ShutsDown,
    /// Writes everything, reads to the end, closes.
    WaitsForPeer,
    /// Reads to the end, only then writes everything, closes: half-close the other way.
    AnswersAfterEnd,
    /// Writes everything and closes at once, with data in flight and perhaps unread.
    ClosesAtOnce,
    /// Breaks the connection off after this time.
    Aborts(Duration),
}

/// A connection: two programs on two hosts.
#[derive(Debug)]
pub struct Pair {
    /// Its number: decides its bytes.
    number: u64,
    client: Program,
    server: Program,
    /// When the client connects.
    start: Instant,
    /// Where the server is.
    server_address: SocketAddrV4,
    /// Where the client is.
    client_address: SocketAddrV4,
    /// The server connects, too, instead of accepting.
    simultaneous: bool,
    /// The server may have answered with a SYN cookie. It keeps nothing, so a handshake whose last
    /// ACK is lost or overtaken ends in a reset or in nothing, and an old ACK that comes again may
    /// open a connection again (RFC 4987 3.6). Nothing can be promised then.
    cookies: bool,
}

/// One end under way.
#[derive(Debug)]
struct Program {
    host: usize,
    plan: Plan,
    /// Which bytes it sends: the pair's number and its side.
    stream: u64,
    /// Which bytes it reads.
    other_stream: u64,
    phase: Phase,
    sent: u64,
    received: u64,
    /// It read the end of the stream.
    ended: bool,
    /// It shut its sending side down.
    shut: bool,
    error: Option<Error>,
    /// No reading before.
    rests_until: Instant,
    aborts_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing happened yet.
    Waiting,
    /// `connect` was called.
    Connecting(ConnectionId),
    /// Bytes flow.
    Open(ConnectionId),
    /// It has closed its socket.
    Done,
}

impl Pair {
    /// A connection from a client to a server, each a host's number and a plan.
    #[must_use]
    pub fn new(
        number: u64,
        client: (usize, Plan),
        server: (usize, Plan),
        server_address: SocketAddrV4,
        client_address: SocketAddrV4,
        simultaneous: bool,
        start: Instant,
    ) -> Self {
        let (a, b) = (number * 2, number * 2 + 1);
        Self {
            number,
            client: Program::new(client.0, client.1, a, b),
            server: Program::new(server.0, server.1, b, a),
            start,
            server_address,
            client_address,
            simultaneous,
            cookies: false,
        }
    }

    /// The server answers with SYN cookies.
    #[must_use]
    pub fn with_cookies(mut self) -> Self {
        self.cookies = true;
        for program in [&mut self.client, &mut self.server] {
            program.plan.options.keepalive = Some(impatient());
        }
        self
    }

    /// Whether the server answers with SYN cookies.
    #[must_use]
    pub fn has_cookies(&self) -> bool {
        self.cookies
    }

    /// Both programs have closed their sockets, or will never get one.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let never = self.server.phase == Phase::Waiting && !self.both_graceful();
        self.client.phase == Phase::Done && (self.server.phase == Phase::Done || never)
    }

    /// When one of the programs wants to run without an event.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let server_waits = self.simultaneous && self.server.phase == Phase::Waiting;
        let starts = self.client.phase == Phase::Waiting || server_waits;
        let start = starts.then_some(self.start);
        [start, self.client.wake(), self.server.wake()].into_iter().flatten().min()
    }

    /// Whether a program on `host` wants to run at `now` without an event.
    #[must_use]
    pub fn wakes(&self, host: usize, now: Instant) -> bool {
        let due = self.start <= now;
        let client_starts = due && self.client.phase == Phase::Waiting;
        let server_starts = due && self.simultaneous && self.server.phase == Phase::Waiting;
        [&self.client, &self.server]
            .into_iter()
            .any(|program| program.host == host && program.wake().is_some_and(|wake| wake <= now))
            || (client_starts && self.client.host == host)
            || (server_starts && self.server.host == host)
    }

    /// How many bytes both ends read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.client.received + self.server.received
    }

    /// Checks that both programs got what they may expect.
    ///
    /// # Errors
    /// When bytes are missing, or there was an error that nobody caused.
    pub fn check_end(&self) -> Result<(), String> {
        let complete = |reader: &Program, writer: &Program| {
            reader.received == writer.plan.send && reader.ended && reader.error.is_none()
        };
        let (client, server) = (&self.client, &self.server);
        let closes = |program: &Program| program.plan.ending == Ending::ClosesAtOnce;
        let right = if self.cookies {
            true
        } else if self.both_graceful() {
            complete(client, server) && complete(server, client)
        } else if closes(client) && server.plan.send == 0 && server.is_graceful() {
            // A close with nothing unread loses nothing, however much is in flight.
            complete(server, client)
        } else if closes(server) && client.plan.send == 0 && client.is_graceful() {
            complete(client, server)
        } else {
            true
        };
        if right { Ok(()) } else { Err(format!("not everything arrived: {self}")) }
    }

    fn both_graceful(&self) -> bool {
        !self.cookies && self.client.is_graceful() && self.server.is_graceful()
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}: client {} server {}", self.number, self.client, self.server)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Program { phase, sent, received, ended, error, plan, .. } = self;
        let (total, ending) = (plan.send, plan.ending);
        write!(f, "({phase:?}, sent {sent} of {total}, received {received}, ended {ended}, ")?;
        write!(f, "{ending:?}, error {error:?})")
    }
}

/// Runs the programs of a host that have a reason to. Says whether any did.
///
/// # Errors
/// When a program reads other bytes than were sent, or a call fails that must not.
pub fn run(
    host_number: usize,
    host: &mut Host,
    pairs: &mut [Pair],
    events: &[Event],
    now: Instant,
    dice: &mut Dice,
) -> Result<bool, String> {
    let mut ran = false;
    if events.iter().any(|event| matches!(event.socket, SocketId::Listener(_))) {
        ran |= accept(host, pairs, now)?;
    }
    for pair in pairs {
        let due = pair.start <= now;
        if due && pair.client.host == host_number && pair.client.phase == Phase::Waiting {
            let (from, to) = (pair.client_address, pair.server_address);
            pair.client.connect(host, from, to, now)?;
            ran = true;
        }
        let server_waits = pair.simultaneous && pair.server.phase == Phase::Waiting;
        if due && server_waits && pair.server.host == host_number {
            let (from, to) = (pair.server_address, pair.client_address);
            pair.server.connect(host, from, to, now)?;
            ran = true;
        }
        for program in [&mut pair.client, &mut pair.server] {
            if program.host == host_number && program.has_reason(events, now) {
                program.turn(host, now, dice)?;
                ran = true;
            }
        }
    }
    Ok(ran)
}

/// Accepts what waits, and gives each connection to the server program of its client.
fn accept(host: &mut Host, pairs: &mut [Pair], now: Instant) -> Result<bool, String> {
    let Some(listener) = host.listener else { return Ok(false) };
    let mut any = false;
    loop {
        match host.stack.accept(now, listener) {
            Err(Error::WouldBlock) => return Ok(any),
            Err(error) => return Err(format!("accept failed: {error}")),
            Ok((id, remote)) => {
                any = true;
                let owner =
                    pairs.iter_mut().find(|pair| SocketAddr::V4(pair.client_address) == remote);
                let Some(pair) =
                    owner.filter(|pair| pair.server.phase == Phase::Waiting || pair.cookies)
                else {
                    return Err(format!("accepted a connection of {remote}, which nobody made"));
                };
                if pair.server.phase != Phase::Waiting {
                    host.stack.close(now, id);
                    continue;
                }
                let options = pair.server.plan.options.clone();
                let set = host.stack.set_tcp_options(now, id, options);
                // The peer may have reset it while it waited in the queue.
                if let Err(error) = set {
                    pair.server.error = Some(error);
                }
                pair.server.opened(id, now);
            }
        }
    }
}

impl Program {
    fn new(host: usize, plan: Plan, stream: u64, other_stream: u64) -> Self {
        Self {
            host,
            plan,
            stream,
            other_stream,
            phase: Phase::Waiting,
            sent: 0,
            received: 0,
            ended: false,
            shut: false,
            error: None,
            rests_until: Instant::ZERO,
            aborts_at: None,
        }
    }

    fn is_graceful(&self) -> bool {
        !matches!(self.plan.ending, Ending::ClosesAtOnce | Ending::Aborts(_))
    }

    fn wake(&self) -> Option<Instant> {
        let Phase::Open(_) = self.phase else { return None };
        let rest = (self.rests_until > Instant::ZERO).then_some(self.rests_until);
        rest.into_iter().chain(self.aborts_at).min()
    }

    fn has_reason(&self, events: &[Event], now: Instant) -> bool {
        let id = match self.phase {
            Phase::Connecting(id) | Phase::Open(id) => SocketId::Connection(id),
            Phase::Waiting | Phase::Done => return false,
        };
        events.iter().any(|event| event.socket == id) || self.wake().is_some_and(|wake| wake <= now)
    }

    fn connect(
        &mut self,
        host: &mut Host,
        from: SocketAddrV4,
        to: SocketAddrV4,
        now: Instant,
    ) -> Result<(), String> {
        let options = self.plan.options.clone();
        let id = host
            .stack
            .connect(now, Some(from.into()), to.into(), options)
            .map_err(|error| format!("connect failed: {error}"))?;
        self.phase = Phase::Connecting(id);
        Ok(())
    }

    fn opened(&mut self, id: ConnectionId, now: Instant) {
        self.phase = Phase::Open(id);
        // Runs at once: data may have come with the handshake.
        self.rests_until = now;
        if let Ending::Aborts(after) = self.plan.ending {
            self.aborts_at = Some(now.after(after));
        }
    }

    fn turn(&mut self, host: &mut Host, now: Instant, dice: &mut Dice) -> Result<(), String> {
        if let Phase::Connecting(id) = self.phase {
            let ready = host.stack.readiness(SocketId::Connection(id));
            if !ready.intersects(Ready::WRITE | Ready::ERROR) {
                return Ok(());
            }
            self.error = host.stack.take_error(id).unwrap_or_else(Some);
            if self.error.is_some() {
                return self.failed(host, id, now);
            }
            self.opened(id, now);
        }
        let Phase::Open(id) = self.phase else { return Ok(()) };
        if self.aborts_at.is_some_and(|at| at <= now) {
            host.stack.abort(now, id);
            self.phase = Phase::Done;
            return Ok(());
        }
        if self.rests_until <= now {
            self.rests_until = Instant::ZERO;
            self.read(host, id, now, dice)?;
        }
        if self.error.is_none() {
            self.write(host, id, now, dice)?;
        }
        if self.error.is_some() {
            return self.failed(host, id, now);
        }
        self.end(host, id, now)
    }

    fn read(
        &mut self,
        host: &mut Host,
        id: ConnectionId,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<(), String> {
        // Who closes at once does not read before.
        while !self.ended && self.plan.ending != Ending::ClosesAtOnce {
            let mut into = vec![0; dice.size(self.plan.read.clone())];
            match host.stack.read(now, id, &mut into) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    for (at, byte) in (self.received..).zip(&into[..count]) {
                        if generated(self.other_stream, at) != *byte {
                            return Err(format!("byte {at} is not what was sent: {self}"));
                        }
                    }
                    self.received += u64::try_from(count).unwrap_or(0);
                    if !self.plan.pause.is_zero() && dice.chance(300) {
                        self.rests_until = now.after(dice.up_to(self.plan.pause));
                        return Ok(());
                    }
                }
                Err(Error::WouldBlock) => return Ok(()),
                Err(error) => {
                    self.error = Some(error);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        host: &mut Host,
        id: ConnectionId,
        now: Instant,
        dice: &mut Dice,
    ) -> Result<(), String> {
        if self.plan.ending == Ending::AnswersAfterEnd && !self.ended {
            return Ok(());
        }
        while self.sent < self.plan.send {
            let left = usize::try_from(self.plan.send - self.sent).unwrap_or(usize::MAX);
            let size = dice.size(self.plan.write.clone()).min(left);
            let bytes: Vec<u8> =
                (self.sent..).take(size).map(|at| generated(self.stream, at)).collect();
            match host.stack.write(now, id, &bytes) {
                Ok(0) => return Err("write took nothing and did not say why".into()),
                Ok(count) => self.sent += u64::try_from(count).unwrap_or(0),
                Err(Error::WouldBlock) => return Ok(()),
                Err(error) => {
                    self.error = Some(error);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Ends the connection when the plan is carried out.
    fn end(&mut self, host: &mut Host, id: ConnectionId, now: Instant) -> Result<(), String> {
        let all_sent = self.sent == self.plan.send;
        if self.plan.ending == Ending::ShutsDown && all_sent && !self.shut {
            self.shut = true;
            host.stack
                .shutdown(now, id, Shutdown::Write)
                .map_err(|error| format!("shutdown failed: {error}"))?;
        }
        let finished = match self.plan.ending {
            Ending::ClosesAtOnce => all_sent,
            Ending::Aborts(_) => false,
            _ => all_sent && self.ended,
        };
        if finished {
            host.stack.close(now, id);
            self.phase = Phase::Done;
        }
        Ok(())
    }

    /// The connection failed: it is closed, and the end decides whether it might.
    fn failed(&mut self, host: &mut Host, id: ConnectionId, now: Instant) -> Result<(), String> {
        host.stack.close(now, id);
        self.phase = Phase::Done;
        Ok(())
    }
}

/// Keep-alive that notices a dead peer within a minute: for programs whose peer may vanish.
#[must_use]
pub fn impatient() -> KeepAlive {
    KeepAlive { idle: Duration::from_secs(20), interval: Duration::from_secs(5), probes: 4 }
}

/// The byte at a place of a stream.
fn generated(stream: u64, at: u64) -> u8 {
    let mixed = (at ^ (stream << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_be_bytes()[1]
}
