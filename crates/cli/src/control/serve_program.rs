//! The control socket's `run`: a program of somebody else, served by this stack.
//!
//! The client says how, in one line. When it hears [`ASKS`] it sends the filter's descriptor, and a
//! socket of PROGRAM's network, and lets
//! PROGRAM begin when it hears [`SERVES`]. What is traced comes in between, behind [`TRACES`]. The end
//! comes when PROGRAM and all that it started are gone and what they wrote is delivered; when the
//! client goes first, the supervisor ends.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use estab::Stack;
use intercept::{CallEvent, Options, Summary};
use rustix::event::{PollFd, PollFlags, poll};

use super::frame::{self, End};
use super::served::Served;
use crate::calls::{self, Callers};
use crate::run::line::{LISTENER, receive};
use crate::run::serving::{Serving, serve};

/// The first byte of what the server says: send the descriptor.
pub(crate) const ASKS: u8 = b'a';
/// PROGRAM is served.
pub(crate) const SERVES: u8 = b's';
/// A line of the trace follows.
pub(crate) const TRACES: u8 = b't';

/// How many lines of the trace wait for the client before more are dropped.
const WAITING: usize = 65_536;

/// What the client wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) maps: Vec<(SocketAddr, SocketAddr)>,
    pub(crate) trace: bool,
}

impl Wish {
    /// Reads it from words of a line.
    pub(super) fn parse(words: &[&str]) -> Option<Self> {
        let mut wish = Self::default();
        for word in words {
            match word.split_once('=') {
                Some((from, to)) => wish.maps.push((from.parse().ok()?, to.parse().ok()?)),
                None if *word == "trace" => wish.trace = true,
                None => return None,
            }
        }
        Some(wish)
    }

    /// The line.
    pub(crate) fn line(&self) -> String {
        let mut line = String::from("run");
        if self.trace {
            line.push_str(" trace");
        }
        for (from, to) in &self.maps {
            line.push_str(&format!(" {from}={to}"));
        }
        line
    }
}

/// Serves a program until its end.
pub(super) fn run(
    stack: &Stack,
    served: &Served,
    wish: &Wish,
    client: &mut UnixStream,
) -> io::Result<End> {
    frame::write(client, &[ASKS])?;
    let [listener, interfaces] = receive(client, LISTENER)?;
    let (observer, lines) = if wish.trace { traced() } else { (None, None) };
    let (maps, bound) = (wish.maps.clone(), served.bound());
    let interfaces = Some(interfaces);
    let options = Options { maps, trace: observer, bound, interfaces, ..Options::default() };
    let waker = client.try_clone()?;
    let wake = move || {
        // Who waits for the client.
        let _ = waker.shutdown(Shutdown::Read);
    };
    let serving = serve(stack, listener, options, wake)?;
    let at_work = served.add(&serving.handle);
    frame::write(client, &[SERVES])?;
    let writer = lines.map(|lines| write_lines(lines, client.try_clone())).transpose()?;
    let ended = wait(client, &serving);
    drop(at_work);
    if let Some(writer) = writer {
        let _ = writer.join();
    }
    ended.map(|summary| match summary.delivered {
        true => End { status: 0, message: String::new() },
        false => End { status: 0, message: "not all that was written was acknowledged".into() },
    })
}

/// Waits for the end of the programs, or ends the supervisor when the client is gone.
fn wait(client: &UnixStream, serving: &Serving) -> io::Result<Summary> {
    // The client says nothing any more: what makes it readable is an end.
    let mut entry = [PollFd::new(client, PollFlags::IN | PollFlags::RDHUP)];
    while poll(&mut entry, None) == Err(rustix::io::Errno::INTR) {}
    if let Ok(ended) = serving.ended.try_recv() {
        return ended;
    }
    serving.handle.stop();
    serving.ended.recv().unwrap_or_else(|_| Err(io::Error::other("the supervisor panicked")))
}

type Lines = Receiver<String>;

fn traced() -> (Option<intercept::Observer>, Option<Lines>) {
    let (sender, lines): (SyncSender<String>, Lines) = sync_channel(WAITING);
    let mut callers = Callers::default();
    let observer = move |event: &CallEvent| {
        let caller = callers.of(event);
        // Full: a gap is better than a program that waits for a terminal.
        let _ = sender.try_send(calls::line(event, &caller));
    };
    (Some(Box::new(observer)), Some(lines))
}

fn write_lines(lines: Lines, client: io::Result<UnixStream>) -> io::Result<thread::JoinHandle<()>> {
    let mut client = client?;
    let write = move || {
        for line in lines {
            if frame::write(&mut client, &[&[TRACES], line.as_bytes()].concat()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("trace".into()).spawn(write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_crosses_the_line() {
        let pair = |a: &str, b: &str| (a.parse().unwrap(), b.parse().unwrap());
        let maps = vec![pair("127.0.0.1:80", "10.77.0.1:8080"), pair("[::1]:80", "[fd77::1]:80")];
        let wish = Wish { maps, trace: true };
        let line = wish.line();
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        assert_eq!(Wish::parse(&words), Some(wish));
        assert_eq!(Wish::parse(&[]), Some(Wish::default()));
        assert_eq!(Wish::parse(&["nonsense"]), None);
        assert_eq!(Wish::parse(&["a=b"]), None);
    }
}
