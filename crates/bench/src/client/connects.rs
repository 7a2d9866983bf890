//! Connect, ask, read to the end, close; several at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, connect};

use super::window::Window;
use super::{Poller, is_pause, new_socket, open};
use crate::application::Exchange;
use crate::outcome::Outcome;
use crate::row::Row;

/// What becomes of a connection when it is looked at.
enum Course {
    Goes,
    /// The answer was read, and the end.
    Done,
}

/// One of the connections.
struct Attempt {
    stream: TcpStream,
    asked: bool,
    /// Bytes of the answer so far.
    received: usize,
}

/// Connects until the window closes.
pub(super) fn run(row: &Row, mut window: Window) -> Result<Outcome> {
    let exchange = row.work.exchange().context("nothing to ask for")?;
    // The server listens once this is through.
    drop(open(row.server())?);
    let (poller, server) = (Poller::new()?, row.server());
    let attempts: Result<Vec<Attempt>> =
        (0..row.connections).map(|index| Attempt::begin(&poller, server, index)).collect();
    let mut attempts = attempts?;
    let mut events = Vec::with_capacity(row.connections);
    loop {
        for index in poller.wait(&mut events)? {
            let Course::Done = attempts[index].go_on(&exchange)? else { continue };
            if !window.count(1)? {
                return window.finish();
            }
            attempts[index] = Attempt::begin(&poller, server, index)?;
        }
    }
}

impl Attempt {
    fn begin(poller: &Poller, server: SocketAddr, index: usize) -> Result<Self> {
        let socket = new_socket(server, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        match connect(&socket, &server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(io::Error::from(error)).context("cannot connect"),
        }
        let stream = TcpStream::from(socket);
        // Edge-triggered: one call registers it for its whole life.
        poller.add(&stream, index, EventFlags::IN | EventFlags::OUT | EventFlags::ET)?;
        Ok(Self { stream, asked: false, received: 0 })
    }

    fn go_on(&mut self, exchange: &Exchange) -> Result<Course> {
        if !self.asked {
            match self.stream.write(exchange.request) {
                Err(error) if is_pause(&error) => return Ok(Course::Goes),
                other => ensure!(other.context("while asking")? == exchange.request.len()),
            }
            self.asked = true;
        }
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Err(error) if is_pause(&error) => return Ok(Course::Goes),
                Err(error) => return Err(error).context("while waiting for an answer"),
                Ok(0) => break,
                Ok(count) => self.received += count,
            }
        }
        ensure!(self.received == exchange.reply.len(), "an answer of {} bytes", self.received);
        Ok(Course::Done)
    }
}
