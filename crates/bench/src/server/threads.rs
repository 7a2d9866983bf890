//! Blocking sockets, a thread for each connection: the kernel's and ours.

use std::io::{self, Read, Write};
use std::net;
use std::thread;

use anyhow::{Result, bail};
use estab::blocking;

use crate::application;
use crate::row::{Row, Work};

/// A listener of either.
pub(super) trait Listener: Sized + Send + 'static {
    type Stream: Read + Write;

    fn accept(&self) -> io::Result<Self::Stream>;
    fn again(&self) -> io::Result<Self>;
}

impl Listener for net::TcpListener {
    type Stream = net::TcpStream;

    fn accept(&self) -> io::Result<net::TcpStream> {
        let (stream, _) = self.accept()?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }
}

impl Listener for blocking::TcpListener {
    type Stream = blocking::TcpStream;

    fn accept(&self) -> io::Result<blocking::TcpStream> {
        let (stream, _) = self.accept()?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }
}

/// As many threads as connections at a time, each of which serves one connection after another.
pub(super) fn serve(row: &Row, listener: &impl Listener) -> Result<()> {
    let mut threads = Vec::new();
    // One more, for a connection whose last moments are served yet.
    for _ in 0..=row.connections {
        let (listener, work) = (listener.again()?, row.work);
        threads.push(thread::spawn(move || serve_all(&listener, work)));
    }
    for thread in threads {
        match thread.join() {
            Ok(outcome) => outcome?,
            Err(_) => bail!("a thread of the server panicked"),
        }
    }
    Ok(())
}

fn serve_all(listener: &impl Listener, work: Work) -> io::Result<()> {
    loop {
        let mut stream = listener.accept()?;
        // The client may have gone; whoever misses something is the client.
        let _ = application::serve(work, &mut stream);
    }
}
