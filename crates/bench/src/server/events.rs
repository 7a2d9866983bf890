//! Kernel sockets behind epoll, all in one thread: how the kernel serves requests best.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::application::{Exchange, Requests};
use crate::row::Row;

/// The listener among the connections.
const LISTENER: u64 = u64::MAX;

/// How many events one call brings at most.
const EVENTS: usize = 64;

struct Connection {
    stream: TcpStream,
    requests: Requests,
}

/// Answers requests until the process ends.
pub(super) fn serve(row: &Row, listener: &TcpListener) -> Result<()> {
    let exchange = row.work.exchange().context("nothing to answer")?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut events = Vec::with_capacity(EVENTS);
    let mut connections = HashMap::new();
    let mut next = 0;
    let mut buffer = [0; 4096];
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key != LISTENER {
                let over = connections
                    .get_mut(&key)
                    .is_some_and(|connection| answer(&exchange, connection, &mut buffer).is_none());
                if over {
                    connections.remove(&key);
                }
                continue;
            }
            while let Some(stream) = accept(listener)? {
                epoll::add(&epoll, &stream, EventData::new_u64(next), EventFlags::IN)?;
                connections.insert(next, Connection { stream, requests: Requests::default() });
                next += 1;
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
fn answer(exchange: &Exchange, connection: &mut Connection, buffer: &mut [u8]) -> Option<()> {
    let count = match connection.stream.read(buffer) {
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
    Some(())
}
