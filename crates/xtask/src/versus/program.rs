//! The application at both ends, the same for both stacks: one sends as much as it can for a
//! fixed time, the other counts what it gets.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use estab::blocking;
use rustix::net::sockopt::set_tcp_congestion;
use rustix::net::{AddressFamily, SocketType, connect, socket};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use stack::reason::{Dropped, Sent, Withheld};

use super::world::set_scheduler;

/// The port of the receiver.
pub(super) const PORT: u16 = 5001;

/// The congestion controller of both.
const CUBIC: &str = "cubic";

/// What a receiver says when a sender may come.
pub(super) const LISTENING: &str = "listening";

/// How much is written and read at once.
const CHUNK: usize = 64 * 1024;

/// How often a program that waits looks at its clock.
const GLANCE: Duration = Duration::from_millis(100);

/// So much longer does the sender send, that the receiver's time is over before.
const BEYOND: Duration = Duration::from_millis(300);

/// What the sender knows of its connection.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sender {
    /// The congestion controller.
    pub(super) congestion: String,
    /// What the stack counted, by its own names; zeros are left out.
    pub(super) counters: BTreeMap<String, u64>,
}

/// A connection of either stack.
trait Stream: Read + Write {
    fn wake_now_and_then(&self) -> io::Result<()>;
}

impl Stream for net::TcpStream {
    fn wake_now_and_then(&self) -> io::Result<()> {
        self.set_read_timeout(Some(GLANCE))?;
        self.set_write_timeout(Some(GLANCE))
    }
}

impl Stream for blocking::TcpStream {
    fn wake_now_and_then(&self) -> io::Result<()> {
        self.set_read_timeout(Some(GLANCE))?;
        self.set_write_timeout(Some(GLANCE))
    }
}

/// `__versus-end ROLE ADDRESS MILLISECONDS`: an end on the kernel of this namespace. What it has
/// to say are lines on standard output.
pub(super) fn run(arguments: &[String]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let [role, address, milliseconds] = arguments else { bail!("not for people") };
    ensure!(set_scheduler(&["--other", "--pid", "0"])?, "cannot leave the real-time class");
    let address: SocketAddr = address.parse()?;
    let duration = Duration::from_millis(milliseconds.parse()?);
    let say = |line: &str| {
        println!("{line}");
        io::stdout().flush()
    };
    match role.as_str() {
        "send" => {
            let mut stream = connect_with_cubic(address)?;
            send(&mut stream, duration)?;
            say(&serde_json::to_string(&linux_sender()?)?)?;
        }
        "receive" => {
            let listener = net::TcpListener::bind(address)?;
            set_tcp_congestion(&listener, CUBIC)?;
            say(LISTENING)?;
            let (mut stream, _) = listener.accept()?;
            let bytes = receive(&mut stream, duration)?;
            say(&bytes.to_string())?;
            drain(&mut stream);
        }
        other => bail!("no such role: {other}"),
    }
    Ok(())
}

/// Chosen on the socket, since not every kernel lets a namespace choose its default; and before
/// the handshake, since a controller that paces leaves pacing on when it goes.
fn connect_with_cubic(address: SocketAddr) -> io::Result<net::TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_tcp_congestion(&socket, CUBIC)?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

/// A sender on our stack.
pub(super) fn send_on_estab(
    stack: &estab::Stack,
    address: SocketAddr,
    duration: Duration,
) -> Result<Sender> {
    let mut stream = blocking::TcpStream::connect(stack, address)?;
    send(&mut stream, duration)?;
    estab_sender(stack, &stream)
}

/// A receiver on our stack. `say` gets the count; afterwards the rest is thrown away.
pub(super) fn receive_on_estab(
    listener: &blocking::TcpListener,
    duration: Duration,
    say: impl FnOnce(u64),
) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    say(receive(&mut stream, duration)?);
    drain(&mut stream);
    Ok(())
}

fn send(stream: &mut impl Stream, duration: Duration) -> io::Result<()> {
    stream.wake_now_and_then()?;
    let chunk = vec![0x5a; CHUNK];
    let end = Instant::now() + duration + BEYOND;
    while Instant::now() < end {
        match stream.write(&chunk) {
            Err(error) if !is_pause(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// How many bytes come within `duration`.
fn receive(stream: &mut impl Stream, duration: Duration) -> Result<u64> {
    stream.wake_now_and_then()?;
    let mut chunk = vec![0; CHUNK];
    let end = Instant::now() + duration;
    let mut bytes = 0;
    loop {
        let count = match stream.read(&mut chunk) {
            Err(error) if is_pause(&error) => 0,
            Err(error) => return Err(error).context("while receiving"),
            Ok(count) => {
                ensure!(count > 0, "the sender ended before its time");
                count as u64
            }
        };
        if Instant::now() >= end {
            return Ok(bytes);
        }
        bytes += count;
    }
}

/// Keeps the connection alive until the sender, or the run, is over.
fn drain(stream: &mut impl Stream) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Err(error) if !is_pause(&error) => return,
            _ => {}
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// What `ss` says of the connection, and what the kernel counted in this namespace, which is new
/// and had no other.
fn linux_sender() -> Result<Sender> {
    let output = Command::new("ss").args(["-tinH"]).output().context("ss (iproute2)")?;
    let text = String::from_utf8(output.stdout)?;
    let mut sender = Sender::default();
    for word in text.split_whitespace() {
        match word.split_once(':') {
            None if word == CUBIC => sender.congestion = word.to_owned(),
            Some(("retrans", counts)) => {
                let total = counts.rsplit('/').next().and_then(|total| total.parse().ok());
                sender.counters.extend(total.map(|total| ("total_retrans".to_owned(), total)));
            }
            Some((name @ ("dsack_dups" | "reord_seen" | "reordering" | "cwnd"), count)) => {
                let count = count.parse().ok();
                sender.counters.extend(count.map(|count| (name.to_owned(), count)));
            }
            _ => {}
        }
    }
    let counts = std::fs::read_to_string("/proc/self/net/netstat")?;
    sender.counters.extend(netstat(&counts));
    Ok(sender)
}

/// The counters of `/proc/net/netstat` that are about TCP and not zero: lines of names, each
/// followed by a line of numbers.
fn netstat(text: &str) -> BTreeMap<String, u64> {
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines
        .chunks_exact(2)
        .flat_map(|pair| pair[0].split_whitespace().zip(pair[1].split_whitespace()));
    let counts = pairs.filter_map(|(name, count)| Some((name, count.parse::<u64>().ok()?)));
    let ours = counts.filter(|(name, count)| name.starts_with("TCP") && *count > 0);
    ours.map(|(name, count)| (name.to_owned(), count)).collect()
}

fn estab_sender(stack: &estab::Stack, stream: &blocking::TcpStream) -> Result<Sender> {
    let info = stream.info()?;
    let counters = stack.counters();
    let sent = Sent::ALL.iter().map(|reason| (format!("{reason:?}"), counters.sent(*reason)));
    let withheld =
        Withheld::ALL.iter().map(|reason| (format!("{reason:?}"), counters.withheld(*reason)));
    let dropped =
        Dropped::ALL.iter().map(|reason| (format!("{reason:?}"), counters.dropped(*reason)));
    let counts = sent.chain(withheld).chain(dropped).filter(|(_, count)| *count > 0);
    let total = ("total_retrans".to_owned(), info.total_retrans);
    let cwnd = ("cwnd".to_owned(), info.snd_cwnd / u64::from(info.snd_mss.max(1)));
    Ok(Sender {
        congestion: info.congestion.to_owned(),
        counters: counts.chain([total, cwnd]).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstat_is_lines_of_names_and_numbers() {
        let text = "TcpExt: SyncookiesSent TCPTimeouts TCPDSACKRecv\nTcpExt: 3 7 0\n\
                    IpExt: InNoRoutes\nIpExt: 4\n";
        assert_eq!(netstat(text), BTreeMap::from([("TCPTimeouts".to_owned(), 7)]));
    }
}
