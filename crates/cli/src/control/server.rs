//! The stack's side of the control socket.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use estab::Stack;

use super::announced::is_ours;
use super::frame::{self, End};
use super::relay;
use super::serve_program::{self, Wish};
use super::served::Served;
use crate::ss::{self, Selection};
use crate::{ping, traceroute};

/// The longest command line.
const LONGEST_LINE: u64 = 1024;

/// Whom a control socket answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clients {
    /// Who can reach it: the network that it is in, or its directory, is the stack's own.
    All,
    /// Processes of this user.
    Ours,
}

/// Answers the clients of `listener`, each on a thread of its own.
///
/// What listens, listens on all of `addresses`.
pub(crate) fn start(
    listener: UnixListener,
    clients: Clients,
    stack: Stack,
    addresses: Vec<IpAddr>,
    served: Served,
) -> io::Result<()> {
    let serve = move || {
        for client in listener.incoming() {
            let (Ok(client), stack) = (client, stack.clone()) else { return };
            if clients == Clients::Ours && !is_ours(&client) {
                continue;
            }
            let (addresses, served) = (addresses.clone(), served.clone());
            let answer = move || {
                // A client that is gone needs no answer.
                let _ = answer(client, &stack, &addresses, &served);
            };
            if std::thread::Builder::new().spawn(answer).is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    };
    std::thread::Builder::new().name("control".into()).spawn(serve)?;
    Ok(())
}

fn answer(
    client: UnixStream,
    stack: &Stack,
    addresses: &[IpAddr],
    served: &Served,
) -> io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    (&mut from).take(LONGEST_LINE).read_line(&mut line)?;
    let mut out = client;
    let words: Vec<&str> = line.split_whitespace().collect();
    let end = match words.as_slice() {
        ["ss", options @ ..] => {
            let has = |word| options.contains(&word);
            let (all, listening, info) = (has("all"), has("listening"), has("info"));
            let selection = Selection { all, listening, info };
            let sockets = stack.sockets();
            // Asked second: whose socket is listed is known by then.
            let users = if has("processes") { Some(served.sockets()) } else { None };
            let table = ss::table(&sockets, selection, users.as_deref(), stack.now());
            frame::write(&mut out, table.as_bytes())?;
            success()
        }
        ["ip"] => {
            for (address, prefix) in stack.addresses() {
                frame::write(&mut out, format!("{address}/{prefix}\n").as_bytes())?;
            }
            success()
        }
        ["ping", arguments @ ..] => match ping::Plan::parse(arguments) {
            Some(plan) => {
                let mut say = |text: &str| frame::write(&mut out, text.as_bytes());
                ping::run(stack, &plan, &mut say)
                    .map(|answered| End { status: u8::from(!answered), message: String::new() })?
            }
            None => unknown(&line),
        },
        ["traceroute", arguments @ ..] => match traceroute::Plan::parse(arguments) {
            Some(plan) => {
                let mut say = |text: &str| frame::write(&mut out, text.as_bytes());
                traceroute::run(stack, &plan, &mut say)
                    .map(|answered| End { status: u8::from(!answered), message: String::new() })?
            }
            None => unknown(&line),
        },
        ["run", wish @ ..] => match Wish::parse(wish) {
            Some(wish) => serve_program::run(stack, served, &wish, &mut out)
                .unwrap_or_else(|error| failure("cannot serve the program", &error)),
            None => unknown(&line),
        },
        ["nc", wish @ ..] => match relay::Wish::parse(wish) {
            Some(wish) => relay::run(stack, addresses, &wish, &mut from, &mut out),
            None => unknown(&line),
        },
        _ => unknown(&line),
    };
    frame::finish(&mut out, &end)?;
    out.shutdown(Shutdown::Write)
}

pub(super) fn success() -> End {
    End { status: 0, message: String::new() }
}

pub(super) fn failure(what: &str, error: &io::Error) -> End {
    End { status: 1, message: format!("{what}: {error}") }
}

fn unknown(line: &str) -> End {
    End { status: 2, message: format!("the lab does not know '{}'", line.trim_end()) }
}
