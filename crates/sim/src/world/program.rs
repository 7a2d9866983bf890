//! Programs: what each end of a connection does, and what it may expect.
//!
//! A program runs only when its socket has an event or its own pause is over, so a wake-up that the
//! stack forgets is a world that never ends.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use stack::{ConnectionId, Error, KeepAlive, Ready, Shutdown, SocketId, Stack, TcpOptions};
use wire::time::{Duration, Instant};

use super::dice::Dice;
use super::stream;

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
    /// It stops reading for a long time once it has read so many bytes: the window closes.
    pub stall: Option<(u64, Duration)>,
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

impl Plan {
    /// Whether it lets both directions come to their end.
    #[must_use]
    pub fn is_graceful(&self) -> bool {
        !matches!(self.ending, Ending::ClosesAtOnce | Ending::Aborts(_))
    }
}

/// Keep-alive that notices a dead peer within a minute: for programs whose peer may vanish.
#[must_use]
pub fn impatient() -> KeepAlive {
    KeepAlive { idle: Duration::from_secs(20), interval: Duration::from_secs(5), probes: 4 }
}

/// One end under way.
#[derive(Debug)]
pub struct Program {
    /// Where it runs.
    pub(super) host: usize,
    pub(super) plan: Plan,
    /// Which bytes it sends.
    stream: u64,
    /// Which bytes it reads.
    other_stream: u64,
    pub(super) phase: Phase,
    /// When it connects, if it does.
    pub(super) starts: Option<Instant>,
    sent: u64,
    /// How many bytes it read.
    pub(super) received: u64,
    /// It read the end of the stream.
    ended: bool,
    /// It shut its sending side down.
    shut: bool,
    pub(super) error: Option<Error>,
    /// When it goes on reading.
    rests_until: Option<Instant>,
    aborts_at: Option<Instant>,
    stalled: bool,
}

/// How far a program is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing happened yet.
    Waiting,
    /// `connect` was called.
    Connecting(ConnectionId),
    /// Bytes flow.
    Open(ConnectionId),
    /// It has closed its socket.
    Done,
}

/// What a program needs of its host for a turn.
pub(super) struct Turn<'a> {
    pub(super) stack: &'a mut Stack,
    pub(super) now: Instant,
    pub(super) dice: &'a mut Dice,
    /// For the bytes that it reads and writes.
    pub(super) scratch: &'a mut Vec<u8>,
}

impl Program {
    /// An end that sends `stream` and reads `other_stream`.
    pub(super) fn new(host: usize, plan: Plan, stream: u64, other_stream: u64) -> Self {
        Self {
            host,
            plan,
            stream,
            other_stream,
            phase: Phase::Waiting,
            starts: None,
            sent: 0,
            received: 0,
            ended: false,
            shut: false,
            error: None,
            rests_until: None,
            aborts_at: None,
            stalled: false,
        }
    }

    /// The socket, while it has one.
    pub(super) fn socket(&self) -> Option<ConnectionId> {
        match self.phase {
            Phase::Connecting(id) | Phase::Open(id) => Some(id),
            Phase::Waiting | Phase::Done => None,
        }
    }

    /// When it wants to run without an event.
    pub(super) fn wake(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting => self.starts,
            Phase::Open(_) => self.rests_until.into_iter().chain(self.aborts_at).min(),
            Phase::Connecting(_) | Phase::Done => None,
        }
    }

    /// It read everything that `writer` has to send, and the end, without an error.
    pub(super) fn is_complete(&self, writer: &Program) -> bool {
        self.received == writer.plan.send && self.ended && self.error.is_none()
    }

    pub(super) fn connect(
        &mut self,
        turn: &mut Turn<'_>,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<(), String> {
        let options = self.plan.options.clone();
        let id = turn
            .stack
            .connect(turn.now, Some(from), to, options)
            .map_err(|error| format!("connect failed: {error}"))?;
        self.phase = Phase::Connecting(id);
        Ok(())
    }

    /// It has a connection. Runs again at once: data may have come with the handshake.
    pub(super) fn opened(&mut self, id: ConnectionId, now: Instant) {
        self.phase = Phase::Open(id);
        self.rests_until = Some(now);
        if let Ending::Aborts(after) = self.plan.ending {
            self.aborts_at = Some(now.after(after));
        }
    }

    /// Does what it can do now.
    pub(super) fn run(&mut self, turn: &mut Turn<'_>) -> Result<(), String> {
        if let Phase::Connecting(id) = self.phase {
            let ready = turn.stack.readiness(SocketId::Connection(id));
            if !ready.intersects(Ready::WRITE | Ready::ERROR) {
                return Ok(());
            }
            self.error = turn.stack.take_error(id).unwrap_or_else(Some);
            self.opened(id, turn.now);
        }
        let Phase::Open(id) = self.phase else { return Ok(()) };
        if self.aborts_at.is_some_and(|at| at <= turn.now) {
            turn.stack.abort(turn.now, id);
            self.phase = Phase::Done;
            return Ok(());
        }
        if self.error.is_none() && self.rests_until.is_none_or(|until| until <= turn.now) {
            self.rests_until = None;
            self.read(turn, id)?;
        }
        if self.error.is_none() {
            self.write(turn, id)?;
        }
        if self.error.is_some() {
            // It failed: it is closed, and the end of the world decides whether it might.
            turn.stack.close(turn.now, id);
            self.phase = Phase::Done;
            return Ok(());
        }
        self.end(turn, id)
    }

    fn read(&mut self, turn: &mut Turn<'_>, id: ConnectionId) -> Result<(), String> {
        // Who closes at once does not read before.
        while !self.ended && self.plan.ending != Ending::ClosesAtOnce {
            let size = turn.dice.size(self.plan.read.clone());
            turn.scratch.resize(size.max(turn.scratch.len()), 0);
            let into = &mut turn.scratch[..size];
            match turn.stack.read(turn.now, id, into) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    let (at, stream) = (self.received, self.other_stream);
                    if let Some(at) = stream::first_difference(stream, at, &into[..count]) {
                        return Err(format!("byte {at} is not what was sent: {self}"));
                    }
                    self.received += u64::try_from(count).unwrap_or(0);
                    if let Some(rest) = self.rest(turn.dice) {
                        self.rests_until = Some(turn.now.after(rest));
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

    /// How long it rests after a read, if it does.
    fn rest(&mut self, dice: &mut Dice) -> Option<Duration> {
        if let Some((after, stall)) = self.plan.stall
            && !self.stalled
            && self.received >= after
        {
            self.stalled = true;
            return Some(stall);
        }
        (!self.plan.pause.is_zero() && dice.chance(300)).then(|| dice.up_to(self.plan.pause))
    }

    fn write(&mut self, turn: &mut Turn<'_>, id: ConnectionId) -> Result<(), String> {
        if self.plan.ending == Ending::AnswersAfterEnd && !self.ended {
            return Ok(());
        }
        while self.sent < self.plan.send {
            let left = usize::try_from(self.plan.send - self.sent).unwrap_or(usize::MAX);
            let size = turn.dice.size(self.plan.write.clone()).min(left);
            turn.scratch.resize(size.max(turn.scratch.len()), 0);
            let bytes = &mut turn.scratch[..size];
            stream::fill(self.stream, self.sent, bytes);
            match turn.stack.write(turn.now, id, bytes) {
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
    fn end(&mut self, turn: &mut Turn<'_>, id: ConnectionId) -> Result<(), String> {
        let all_sent = self.sent == self.plan.send;
        if self.plan.ending == Ending::ShutsDown && all_sent && !self.shut {
            self.shut = true;
            turn.stack
                .shutdown(turn.now, id, Shutdown::Write)
                .map_err(|error| format!("shutdown failed: {error}"))?;
        }
        let finished = match self.plan.ending {
            Ending::ClosesAtOnce => all_sent,
            Ending::Aborts(_) => false,
            _ => all_sent && self.ended,
        };
        if finished {
            turn.stack.close(turn.now, id);
            self.phase = Phase::Done;
        }
        Ok(())
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
