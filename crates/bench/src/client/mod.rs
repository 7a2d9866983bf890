//! The client: one program on the kernel's sockets for every server.
//!
//! It reads every byte into memory of its own. `MSG_TRUNC` would make it faster and tell less: no
//! program throws away what it asked for. Its buffers stay in the cache, and one connection
//! blocks, which costs one system call for each piece; several are served through epoll.

mod bulk;
mod connects;
mod requests;
mod window;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::sockopt::set_tcp_congestion;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::cpu;
use crate::outcome::Outcome;
use crate::row::{Row, Work};
use window::Window;

/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long nothing may happen.
const SILENCE: Duration = Duration::from_secs(5);

/// `__client ROW WARM-UP WINDOW PID CORE`, times in milliseconds: measures the server in process
/// PID and prints the outcome as one line of JSON.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let [row, warm_up, window, server, core] = arguments else { bail!("not for people") };
    let row = Row::named(row).context("no such row")?;
    let milliseconds = |text: &String| text.parse().map(Duration::from_millis);
    cpu::pin(core.parse()?)?;
    let window = Window::new(milliseconds(warm_up)?, milliseconds(window)?, server.parse()?);
    let outcome = measure(row, window)?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn measure(row: &Row, window: Window) -> Result<Outcome> {
    if row.work == Work::Connect {
        return connects::run(row, window);
    }
    let streams: Result<Vec<TcpStream>> =
        (0..row.connections).map(|_| open(row.server())).collect();
    let streams = streams?;
    match row.work {
        Work::ToUs => bulk::send(streams, window),
        Work::FromUs => bulk::receive(streams, window),
        _ => requests::run(row, streams, window),
    }
}

/// A connection to the server, which may not listen yet.
fn open(server: SocketAddr) -> Result<TcpStream> {
    let patience = Instant::now() + PATIENCE;
    loop {
        let socket = new_socket(server, SocketFlags::CLOEXEC)?;
        match connect(&socket, &server).map_err(io::Error::from) {
            Ok(()) => break finish(socket),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error).context("cannot connect"),
        }
        if Instant::now() > patience {
            bail!("the server does not listen");
        }
        sleep(Duration::from_millis(1));
    }
}

fn finish(socket: OwnedFd) -> Result<TcpStream> {
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    // So that a server that stops ends the run.
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(stream)
}

fn new_socket(server: SocketAddr, flags: SocketFlags) -> io::Result<OwnedFd> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    set_tcp_congestion(&socket, "cubic")?;
    Ok(socket)
}

/// What waits for several connections.
struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    fn add(&self, stream: &TcpStream, index: usize, interest: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, stream, EventData::new_u64(index as u64), interest)?)
    }

    /// Waits, and says which connections have something to say. `events` is lent, and has room for
    /// as many as are told at once.
    fn wait<'a>(
        &self,
        events: &'a mut Vec<Event>,
    ) -> Result<impl Iterator<Item = usize> + use<'a>> {
        events.clear();
        let silence = Timespec::try_from(SILENCE)?;
        epoll::wait(&self.epoll, spare_capacity(events), Some(&silence))?;
        ensure!(!events.is_empty(), "the server says nothing");
        Ok(events.iter().filter_map(|event| usize::try_from(event.data.u64()).ok()))
    }
}

/// Whether a call that failed is to be made again when the connection is ready.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
