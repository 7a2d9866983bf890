//! As many bytes as possible.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use rustix::event::epoll::EventFlags;

use super::window::Window;
use super::{Poller, is_pause};
use crate::application::{CHUNK, cargo};
use crate::outcome::Outcome;

/// Sends. What the socket has taken counts: over the window its buffer stays as full as it was.
pub(super) fn send(mut streams: Vec<TcpStream>, mut window: Window) -> Result<Outcome> {
    let chunk = cargo(CHUNK);
    if let [stream] = &mut streams[..] {
        while window.count(stream.write(&chunk).context("while sending")? as u64)? {}
        return window.finish();
    }
    let poller = gather(&streams, EventFlags::OUT)?;
    let mut events = Vec::with_capacity(streams.len());
    loop {
        for index in poller.wait(&mut events)? {
            let count = match streams[index].write(&chunk) {
                Err(error) if is_pause(&error) => 0,
                other => other.context("while sending")?,
            };
            if !window.count(count as u64)? {
                return window.finish();
            }
        }
    }
}

/// Receives.
pub(super) fn receive(mut streams: Vec<TcpStream>, mut window: Window) -> Result<Outcome> {
    let mut chunk = vec![0; CHUNK];
    if let [stream] = &mut streams[..] {
        loop {
            let count = stream.read(&mut chunk).context("while receiving")?;
            ensure!(count > 0, "the server closed the connection");
            if !window.count(count as u64)? {
                return window.finish();
            }
        }
    }
    let poller = gather(&streams, EventFlags::IN)?;
    let mut events = Vec::with_capacity(streams.len());
    loop {
        for index in poller.wait(&mut events)? {
            let count = match streams[index].read(&mut chunk) {
                Err(error) if is_pause(&error) => continue,
                other => other.context("while receiving")?,
            };
            ensure!(count > 0, "the server closed a connection");
            if !window.count(count as u64)? {
                return window.finish();
            }
        }
    }
}

/// Several connections behind one poller, none of which blocks.
fn gather(streams: &[TcpStream], interest: EventFlags) -> Result<Poller> {
    let poller = Poller::new()?;
    for (index, stream) in streams.iter().enumerate() {
        stream.set_nonblocking(true)?;
        poller.add(stream, index, interest)?;
    }
    Ok(poller)
}
