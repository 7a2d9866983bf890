//! estab with its shared driver, its sockets all in one thread that polls them.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result};
use estab::blocking::poll::{Event, Events, Interest, Poll, Token};
use estab::blocking::{TcpListener, TcpStream};
use link::Tun;

use super::stack;
use crate::application::{CHUNK, Exchange, Requests, cargo};
use crate::row::{Row, Work};

/// The listener among the connections.
const LISTENER: Token = Token(0);

/// How many events one call brings at most.
const EVENTS: usize = 64;

struct Connection {
    stream: TcpStream,
    requests: Requests,
}

/// The buffers of bulk.
struct Buffers {
    into: Vec<u8>,
    cargo: Vec<u8>,
}

/// Serves until the process ends.
pub(super) fn serve(row: &Row, tun: Tun) -> Result<()> {
    let stack = stack(row).start(tun)?;
    let listener = TcpListener::bind(&stack, row.server())?;
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&listener, LISTENER, Interest::READABLE)?;
    let (work, exchange) = (row.work, row.work.exchange());
    let interest = if work == Work::FromUs { Interest::WRITABLE } else { Interest::READABLE };
    let mut events = Events::with_capacity(EVENTS);
    let mut connections = HashMap::new();
    let mut next = 1;
    let mut buffers = Buffers { into: vec![0; CHUNK], cargo: cargo(CHUNK) };
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Some(stream) = accept(&listener)? {
                    poll.registry().register(&stream, Token(next), interest)?;
                    connections.insert(next, Connection { stream, requests: Requests::default() });
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.token().0) {
                let goes_on = match &exchange {
                    Some(exchange) => answer(exchange, connection, event),
                    None => move_bulk(work, &mut connection.stream, &mut buffers),
                };
                if goes_on.is_none() {
                    connections.remove(&event.token().0);
                }
            }
        }
    }
}

fn accept(listener: &TcpListener) -> Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("cannot accept"),
    }
}

/// Answers what has come; `None` when the connection is over.
fn answer(exchange: &Exchange, connection: &mut Connection, event: &Event) -> Option<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = match connection.stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            Err(_) => return None,
        };
        for _ in 0..connection.requests.complete(count, exchange.request.len()) {
            // An answer is small beside the send buffer: it is taken whole.
            connection.stream.write_all(exchange.reply).ok()?;
            if exchange.closes {
                return None;
            }
        }
        if count < buffer.len() && !event.is_read_closed() {
            return Some(()); // More would be another event.
        }
    }
}

/// Receives or sends until it would block; `None` when the connection is over.
fn move_bulk(work: Work, stream: &mut TcpStream, buffers: &mut Buffers) -> Option<()> {
    loop {
        let moved = match work {
            Work::FromUs => stream.write(&buffers.cargo),
            _ => stream.read(&mut buffers.into),
        };
        match moved {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            Err(_) => return None,
        }
    }
}
