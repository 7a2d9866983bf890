//! Runs a command so that its sockets are served by a stack of ours, on a TUN device in a network
//! namespace of its own: `programs [--trace] [--peer COMMAND] -- PROGRAM ARGUMENTS`. The peer runs beside
//! it with the kernel's sockets, at 10.77.0.1; the stack has 10.77.0.2.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io;
use std::process::Command;

use intercept::Options;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut options = Options::default();
    let mut peer = None;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--trace" => {
                options.trace = Some(Box::new(|event| {
                    let result = match &event.result {
                        Some(Ok(value)) => format!(" = {value}"),
                        Some(Err(errno)) => format!(" = -1 {errno}"),
                        None => String::new(),
                    };
                    eprintln!(
                        "[{}] {}{result} {:?}",
                        event.thread, event.call, event.effect.states
                    );
                }));
            }
            "--peer" => peer = arguments.next(),
            "--map" => {
                let map = arguments.next().unwrap_or_default();
                let (from, to) = map.split_once('=').ok_or(io::ErrorKind::InvalidInput)?;
                let parse = |text: &str| text.parse().map_err(io::Error::other);
                options.maps.push((parse(from)?, parse(to)?));
            }
            "--" => break,
            other => return Err(io::Error::other(format!("unknown option {other}"))),
        }
    }
    let program = arguments.next().ok_or(io::ErrorKind::InvalidInput)?;
    let Some(stack) = common::network()? else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments);
    let peer = peer.map(|peer| Command::new("sh").arg("-c").arg(peer).spawn()).transpose()?;
    let mut running = common::start(&stack, command, options)?;
    let peer_goes_on = peer.is_some();
    if let Some(mut peer) = peer {
        println!("peer: {}", peer.wait()?);
        let _ = running.child.kill();
    }
    if !peer_goes_on {
        let (status, summary) = running.wait();
        println!("{status}, {summary:?}");
    } else {
        println!("{:?}", running.wait().1);
    }
    stack.stop();
    Ok(())
}
