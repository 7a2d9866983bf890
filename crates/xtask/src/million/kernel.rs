//! Connections from the kernel's sockets to a running stack, over a TUN device in a namespace.
//!
//! A process may have so many descriptors and no more, so the kernel's ends are spread over several.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{self, IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use estab::Stack;
use estab::blocking::{TcpListener, TcpStream};
use link::namespace::enter_network;
use link::{Netlink, TunBuilder};
use rustix::process::{Resource, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

use super::measure::{compare, each, resident};

/// The world to compare with.
const FEW: usize = 10;
/// Pieces of work in each round of a comparison.
const WORK: usize = 200;
/// The first process's port; the others count on.
const FIRST_PORT: u16 = 5_000;
/// Descriptors that a process needs for other things.
const RESERVED: u64 = 100;
/// More connections from one address than this, and the kernel runs out of ports.
const MOST_EACH: usize = 15_000;
/// What a request and its answer carry.
const REQUEST: [u8; 100] = [7; 100];

/// `__million-kernel COUNT`: the stack's end of each connection is here.
pub(super) fn run(count: usize) -> Result<()> {
    println!("kernel: {count} connections from the kernel to a running stack, over TUN");
    raise_limit()?;
    enter_network().context("cannot make a network namespace")?;
    let (mut few, mut many) = (World::new(1)?, World::new(2)?);
    let before = resident()?;
    many.open(count)?;
    let used = resident()? - before;
    println!("  {:.0} bytes a connection, open and never used", each(used, count));
    few.open(FEW)?;
    for (how, few_step, many_step) in [("the same", 0, 0), ("another", 1, 7919)] {
        let seen = compare(
            WORK,
            |n| few.exchange_with(n, few_step),
            |n| many.exchange_with(n, many_step),
        )?;
        seen.print(&format!("request, answer: always {how}"), FEW, count);
    }
    Ok(())
}

/// As many descriptors as this process may have; how many that is.
fn raise_limit() -> Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// A running stack, and processes whose sockets are connected with it.
struct World {
    stack: Stack,
    address: IpAddr,
    peers: Vec<Peer>,
}

/// A process with kernel sockets, and our ends of them in the order in which they came.
struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    streams: Vec<TcpStream>,
}

impl World {
    /// Without a connection, in a network of its own.
    fn new(network: u8) -> Result<Self> {
        let name = format!("million{network}");
        let tun = TunBuilder::new().name(&*name).mtu(1500).open()?;
        let mut netlink = Netlink::open()?;
        netlink.silence_ipv6(&name)?;
        netlink.add_address(&name, Ipv4Addr::new(10, network, 0, 1).into(), 24)?;
        netlink.set_up(&name)?;
        let address = IpAddr::V4(Ipv4Addr::new(10, network, 0, 2));
        let stack = Stack::builder().address(address, 24).start(tun)?;
        Ok(Self { stack, address, peers: Vec::new() })
    }

    fn open(&mut self, count: usize) -> Result<()> {
        let each = usize::try_from(raise_limit()?.saturating_sub(RESERVED))?.min(MOST_EACH);
        for number in 0..count.div_ceil(each) {
            let port = FIRST_PORT + u16::try_from(number)?;
            let share = each.min(count - number * each);
            self.peers.push(Peer::open(&self.stack, SocketAddr::new(self.address, port), share)?);
        }
        Ok(())
    }

    /// So many exchanges over the connections of the first peer, each so many further.
    fn exchange_with(&mut self, count: usize, step: usize) -> Result<()> {
        let peer = self.peers.first_mut().context("no peer")?;
        writeln!(peer.orders, "{count} {step}")?;
        let mut buffer = [0; REQUEST.len()];
        for mut stream in order(&peer.streams, count, step) {
            stream.read_exact(&mut buffer)?;
            stream.write_all(&buffer)?;
        }
        peer.hear("done")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stack.stop();
    }
}

impl Peer {
    /// Starts a process that connects `count` times to `address`.
    fn open(stack: &Stack, address: SocketAddr, count: usize) -> Result<Self> {
        let listener = TcpListener::bind(stack, address)?;
        let mut child = Command::new("/proc/self/exe")
            .args(["__million-peer", &address.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("no pipe")?;
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut peer = Self { child, orders, answers, streams: Vec::with_capacity(count) };
        for _ in 0..count {
            peer.streams.push(listener.accept()?.0);
        }
        peer.hear("ready")?;
        Ok(peer)
    }

    fn hear(&mut self, expected: &str) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(line.trim_end() == expected, "a peer says: {line}");
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The connections of `count` exchanges, the same at both ends.
fn order<T>(streams: &[T], count: usize, step: usize) -> impl Iterator<Item = &T> {
    (0..count).map(move |number| &streams[number * step % streams.len()])
}

/// `__million-peer ADDRESS COUNT`: the kernel's end of so many connections.
pub(super) fn peer(arguments: &[String]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let [address, count] = arguments else { bail!("not for people") };
    let (address, count): (SocketAddr, usize) = (address.parse()?, count.parse()?);
    let streams: Vec<_> =
        (0..count).map(|_| net::TcpStream::connect(address)).collect::<io::Result<_>>()?;
    println!("ready");
    let mut buffer = [0; REQUEST.len()];
    for line in io::stdin().lines() {
        let line = line?;
        let (count, step) = line.split_once(' ').context("an order has two numbers")?;
        for mut stream in order(&streams, count.parse()?, step.parse()?) {
            stream.write_all(&REQUEST)?;
            stream.read_exact(&mut buffer)?;
        }
        println!("done");
    }
    Ok(())
}
