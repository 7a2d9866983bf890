//! estab in the thread of its application: borrowed reads, owned writes, events instead of sockets.

use std::time::Duration;

use anyhow::{Context, Result};
use estab::bytes::{Buf, Bytes};
use estab::core::{ConnectionId, Error, Event, ListenerId, Ready, SocketId, Stack, TcpOptions};
use estab::wire::time::Instant;
use link::Tun;
use slotmap::SecondaryMap;

use super::stack;
use crate::application::{CHUNK, Exchange, Requests, cargo};
use crate::row::{Row, Work};

/// How many connections may wait to be accepted.
const BACKLOG: usize = 1024;

/// Serves until the process ends. `busy_poll` is how long it looks for frames before it sleeps.
pub(super) fn serve(row: &Row, tun: Tun, busy_poll: Duration) -> Result<()> {
    let mut inline = stack(row).busy_poll(busy_poll).inline(tun)?;
    let (now, options) = (inline.now(), TcpOptions { nodelay: true, ..TcpOptions::default() });
    let listener = inline.core().listen(now, row.server(), BACKLOG, options);
    let mut application = Application {
        listener: listener.context("cannot listen")?,
        work: row.work,
        exchange: row.work.exchange(),
        cargo: Bytes::from(cargo(CHUNK)),
        connections: SecondaryMap::new(),
    };
    loop {
        inline.turn(None)?;
        let now = inline.now();
        while let Some(event) = inline.next_event() {
            application.handle(inline.core(), now, event);
        }
    }
}

struct Application {
    listener: ListenerId,
    work: Work,
    exchange: Option<Exchange>,
    /// What is sent in bulk, again and again.
    cargo: Bytes,
    connections: SecondaryMap<ConnectionId, Connection>,
}

#[derive(Default)]
struct Connection {
    requests: Requests,
    /// What of the cargo is still to be written.
    rest: Bytes,
}

impl Application {
    fn handle(&mut self, core: &mut Stack, now: Instant, event: Event) {
        match event.socket {
            SocketId::Listener(_) => {
                while let Ok((id, _)) = core.accept(now, self.listener) {
                    self.connections.insert(id, Connection::default());
                    // What it sent before is not told again.
                    self.serve(core, now, id, Ready::READ | Ready::WRITE);
                }
            }
            SocketId::Connection(id) => self.serve(core, now, id, event.ready),
            SocketId::Udp(_) | SocketId::Ping(_) | SocketId::Packets => {}
        }
    }

    fn serve(&mut self, core: &mut Stack, now: Instant, id: ConnectionId, ready: Ready) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let outcome = match (self.work, &self.exchange) {
            (_, Some(exchange)) => answer(core, now, id, connection, exchange),
            (Work::FromUs, _) if ready.contains(Ready::WRITE) => {
                supply(core, now, id, &mut connection.rest, &self.cargo)
            }
            (Work::ToUs, _) => discard(core, now, id),
            _ => Ok(Course::Goes),
        };
        if !matches!(outcome, Ok(Course::Goes) | Err(Error::WouldBlock)) {
            self.connections.remove(id);
            core.close(now, id);
        }
    }
}

/// What becomes of a connection.
enum Course {
    Goes,
    Ends,
}

fn discard(core: &mut Stack, now: Instant, id: ConnectionId) -> Result<Course, Error> {
    while take(core, now, id)? > 0 {}
    Ok(Course::Ends)
}

/// Looks at what came where it lies, and lets go of it; how many bytes it was, none at the end.
fn take(core: &mut Stack, now: Instant, id: ConnectionId) -> Result<usize, Error> {
    let count = core.chunks(id)?.map(<[u8]>::len).sum();
    core.consume(now, id, count)?;
    Ok(count)
}

/// Gives buffers that are sent from where they lie, until there is no room for more.
fn supply(
    core: &mut Stack,
    now: Instant,
    id: ConnectionId,
    rest: &mut Bytes,
    cargo: &Bytes,
) -> Result<Course, Error> {
    loop {
        if rest.is_empty() {
            rest.clone_from(cargo);
        }
        let taken = core.write_bytes(now, id, rest.clone())?;
        rest.advance(taken);
    }
}

fn answer(
    core: &mut Stack,
    now: Instant,
    id: ConnectionId,
    connection: &mut Connection,
    exchange: &Exchange,
) -> Result<Course, Error> {
    loop {
        let count = take(core, now, id)?;
        if count == 0 {
            return Ok(Course::Ends);
        }
        for _ in 0..connection.requests.complete(count, exchange.request.len()) {
            // An answer is small beside the send buffer: it is taken whole.
            core.write(now, id, exchange.reply)?;
            if exchange.closes {
                return Ok(Course::Ends);
            }
        }
    }
}
