//! Requests on connections that stay open: each connection has one on its way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::event::epoll::EventFlags;

use super::window::Window;
use super::{Poller, is_pause};
use crate::application::Exchange;
use crate::outcome::Outcome;
use crate::row::Row;

/// Asks until the window closes.
pub(super) fn run(row: &Row, mut streams: Vec<TcpStream>, window: Window) -> Result<Outcome> {
    let exchange = row.work.exchange().context("nothing to ask for")?;
    match &mut streams[..] {
        [stream] => ask_one(&exchange, stream, window),
        _ => ask_all(&exchange, streams, window),
    }
}

/// One connection, blocking, with the time of each round trip.
fn ask_one(exchange: &Exchange, stream: &mut TcpStream, mut window: Window) -> Result<Outcome> {
    let mut reply = vec![0; exchange.reply.len()];
    let mut since = Instant::now();
    loop {
        stream.write_all(exchange.request).context("while asking")?;
        stream.read_exact(&mut reply).context("while waiting for an answer")?;
        let now = Instant::now();
        if !window.round_trip(since, now)? {
            return window.finish();
        }
        since = now;
    }
}

fn ask_all(
    exchange: &Exchange,
    mut streams: Vec<TcpStream>,
    mut window: Window,
) -> Result<Outcome> {
    let poller = Poller::new()?;
    for (index, stream) in streams.iter_mut().enumerate() {
        stream.set_nonblocking(true)?;
        poller.add(stream, index, EventFlags::IN)?;
        stream.write_all(exchange.request)?;
    }
    let mut missing = vec![exchange.reply.len(); streams.len()];
    let mut buffer = [0; 4096];
    let mut events = Vec::with_capacity(streams.len());
    loop {
        for index in poller.wait(&mut events)? {
            let stream = &mut streams[index];
            let count = match stream.read(&mut buffer) {
                Err(error) if is_pause(&error) => continue,
                other => other.context("while waiting for answers")?,
            };
            ensure!(count > 0, "the server closed a connection");
            ensure!(count <= missing[index], "an answer is too long");
            missing[index] -= count;
            if missing[index] > 0 {
                continue;
            }
            if !window.count(1)? {
                return window.finish();
            }
            missing[index] = exchange.reply.len();
            stream.write_all(exchange.request).context("while asking")?;
        }
    }
}
