//! One run: two ends in namespaces of their own, the forwarder between them, and what they say.
//!
//! ```text
//! namespace: program, kernel's TCP, TUN --.                  .-- TUN, kernel's TCP, program
//!                                          >-- forwarder --<
//!     thread: program, estab, link::pair --'                  '-- or estab here
//! ```
//!
//! The namespaces are new in every run: no route, metric or counter of an earlier one is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use link::namespace::{Namespace, enter_network, unshare};
use link::{Link, Netlink, PairConfig, TunBuilder, pair};
use rustix::process::setpriority_process;
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Pair, Stack};
use super::forwarder::{Forwarder, Lateness, Seen};
use super::program::{self, LISTENING, PORT, Sender};
use super::tally::Segments;

const SENDER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const PREFIX: u8 = 24;
const MTU: u16 = 1500;
/// The interface in each namespace.
const INTERFACE: &str = "versus0";

/// What each kernel is set to: its stock values, whatever this machine's are.
const SETTINGS: [(&str, &str); 3] = [
    ("tcp_no_metrics_save", "1"),
    ("tcp_rmem", "4096 131072 6291456"),
    ("tcp_wmem", "4096 16384 4194304"),
];

/// Before other programs of the machine, as far as this user may (nice(2)). The forwarder is of the
/// real-time class, and so is estab: the kernel's TCP runs where packets come in, in the
/// forwarder's own writes, and would have an advantage otherwise. The kernel's programs are not.
const PRIORITY: i32 = -10;

/// Frames between a stack and the forwarder: more than both queues of a run hold.
const CAPACITY: usize = 16 * 1024;

/// How much longer than its time a run may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What one run came to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Bytes that reached the receiving program in the run's time.
    pub(super) bytes: u64,
    pub(super) sender: Sender,
    pub(super) segments: Segments,
    /// Data packets that the impairment's dice lost.
    pub(super) lost: u64,
    /// Data packets that found the queue full.
    pub(super) overflowed: u64,
    pub(super) refused: u64,
    pub(super) lateness: Lateness,
}

/// `__versus-run CELL PAIR SEED MILLISECONDS`: prints the outcome as one line of JSON.
pub(super) fn run(arguments: &[String]) -> Result<()> {
    let [cell, pair, seed, milliseconds] = arguments else { bail!("not for people") };
    let cell = Cell::all().into_iter().find(|known| known.name() == *cell).context("no cell")?;
    let pair = Pair::named(pair).context("no pair")?;
    let duration = Duration::from_millis(milliseconds.parse()?);
    let outcome = measure(cell, pair, seed.parse()?, duration)?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn measure(cell: Cell, pair: Pair, seed: u64, duration: Duration) -> Result<Outcome> {
    // Who may not do either has later turns, which is seen.
    let _ = setpriority_process(None, PRIORITY);
    let real_time = set_scheduler(&["--fifo", "--pid", "2"])?;
    enter_network().context("cannot make a network namespace")?;
    // The forwarder inherits its place before all others.
    let (give_links, links) = channel::<(Box<dyn Link>, Box<dyn Link>)>();
    let ended = Arc::new(AtomicBool::new(false));
    let forwarding = {
        let ended = Arc::clone(&ended);
        let forward = move || {
            let Ok((sender, receiver)) = links.recv() else { bail!("there are no links") };
            let forwarder = Forwarder::new(sender, receiver, cell.impairment(), seed);
            Ok(forwarder.run(&ended)?)
        };
        thread::Builder::new().name("forwarder".into()).spawn(forward)?
    };
    if real_time && !set_scheduler(&["--fifo", "--pid", "1"])? {
        bail!("cannot step behind the forwarder");
    }

    let mut receiver = End::receiver(pair.receiver(), duration)?;
    let said = receiver.hear(PATIENCE)?;
    if said != LISTENING {
        bail!("the receiver says: {said}");
    }
    unshare(&[Namespace::Network])?;
    let mut sender = End::sender(pair.sender(), duration)?;
    let both = (sender.take_link()?, receiver.take_link()?);
    give_links.send(both).map_err(|_| anyhow!("the forwarder is gone"))?;
    let heard =
        receiver.hear(duration + PATIENCE).and_then(|bytes| Ok((bytes, sender.hear(PATIENCE)?)));
    ended.store(true, Ordering::Relaxed);
    let seen = forwarding.join().map_err(|_| anyhow!("the forwarder panicked"))??;
    let (bytes, sender) = heard?;
    outcome(&bytes, &sender, &seen)
}

/// Puts this thread into a scheduling class (chrt(1)); whether that was possible.
pub(super) fn set_scheduler(class: &[&str]) -> Result<bool> {
    let output = Command::new("chrt")
        .args(class)
        .arg(std::process::id().to_string())
        .output()
        .context("chrt (util-linux)")?;
    Ok(output.status.success())
}

fn outcome(bytes: &str, sender: &str, seen: &Seen) -> Result<Outcome> {
    Ok(Outcome {
        bytes: bytes.parse().with_context(|| format!("the receiver says: {bytes}"))?,
        sender: serde_json::from_str(sender)
            .with_context(|| format!("the sender says: {sender}"))?,
        segments: seen.segments,
        lost: seen.data.lost,
        overflowed: seen.data.overflowed,
        refused: seen.refused,
        lateness: seen.lateness,
    })
}

/// One end: our side of its link, and what it says. Dropped, it is gone.
struct End {
    link: Option<Box<dyn Link>>,
    lines: Receiver<String>,
    child: Option<Child>,
    stack: Option<estab::Stack>,
}

impl End {
    /// An end that listens at [`RECEIVER`]; one of the kernel, in the present namespace.
    fn receiver(stack: Stack, duration: Duration) -> Result<Self> {
        let address = SocketAddr::from((RECEIVER, PORT));
        if stack == Stack::Linux {
            return Self::on_linux(RECEIVER, "receive", duration);
        }
        Self::on_estab(RECEIVER, move |stack, say| {
            let listener = estab::blocking::TcpListener::bind(stack, address)?;
            say(LISTENING.to_owned());
            program::receive_on_estab(&listener, duration, |bytes| say(bytes.to_string()))
        })
    }

    /// An end that connects from [`SENDER`].
    fn sender(stack: Stack, duration: Duration) -> Result<Self> {
        if stack == Stack::Linux {
            return Self::on_linux(SENDER, "send", duration);
        }
        Self::on_estab(SENDER, move |stack, say| {
            let to = SocketAddr::from((RECEIVER, PORT));
            say(serde_json::to_string(&program::send_on_estab(stack, to, duration)?)?);
            Ok(())
        })
    }

    fn on_linux(address: Ipv4Addr, role: &str, duration: Duration) -> Result<Self> {
        let tun = TunBuilder::new().name(INTERFACE).mtu(MTU).open()?;
        let mut netlink = Netlink::open()?;
        netlink.silence_ipv6(INTERFACE)?;
        netlink.set_up("lo")?;
        netlink.add_address(INTERFACE, address.into(), PREFIX)?;
        netlink.set_up(INTERFACE)?;
        for (name, value) in SETTINGS {
            fs::write(format!("/proc/sys/net/ipv4/{name}"), value)
                .with_context(|| format!("cannot set {name} to {value}"))?;
        }
        let mut child = Command::new("/proc/self/exe")
            .args(["__versus-end", role, &SocketAddr::from((RECEIVER, PORT)).to_string()])
            .arg(duration.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no pipe")?;
        let (say, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        Ok(Self { link: Some(Box::new(tun)), lines, child: Some(child), stack: None })
    }

    fn on_estab(
        address: Ipv4Addr,
        program: impl FnOnce(&estab::Stack, &dyn Fn(String)) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let config = PairConfig { capacity: CAPACITY, ..PairConfig::ip(MTU) };
        let (theirs, ours) = pair(config)?;
        let stack = estab::Stack::builder().address(IpAddr::from(address), PREFIX).start(theirs)?;
        let (say, lines) = channel();
        let handle = stack.clone();
        thread::spawn(move || {
            // Nobody listens any more when the run is over.
            let talk = |line| drop(say.send(line));
            if let Err(error) = program(&handle, &talk) {
                talk(format!("{error:#}"));
            }
        });
        Ok(Self { link: Some(Box::new(ours)), lines, child: None, stack: Some(stack) })
    }

    fn take_link(&mut self) -> Result<Box<dyn Link>> {
        self.link.take().context("the link is taken")
    }

    /// The next line of what the program says.
    fn hear(&self, patience: Duration) -> Result<String> {
        self.lines.recv_timeout(patience).context("an end says nothing")
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It has ended already, or ends now.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(stack) = &self.stack {
            stack.stop();
        }
    }
}
