//! `estab nc`: standard input and output as a TCP connection of the running stack.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;

use anyhow::Context;

use crate::arguments::Nc;
use crate::control::client;

/// Runs `estab nc`.
pub(crate) fn run(arguments: &Nc) -> anyhow::Result<ExitCode> {
    let port = arguments.port.context("give a port")?;
    let stream = match arguments.address {
        Some(address) if !arguments.listen => {
            client::request(&format!("connect {}", SocketAddr::new(address, port)))?
        }
        _ => client::request(&format!("listen {port}"))?,
    };
    let mut towards = stream.try_clone()?;
    // It may wait for input for ever; it ends with this process, when the peer is done.
    std::thread::Builder::new().name("input".into()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut towards);
        let _ = towards.shutdown(Shutdown::Write);
    })?;
    client::show(stream)
}
