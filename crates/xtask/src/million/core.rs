//! Connections between two cores, in virtual time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use stack::{
    Config, ConnectionId, HeaderBuf, InterfaceId, KeepAlive, ListenerId, Stack, TcpOptions,
};
use wire::frame::{
    Capabilities, FrameBuf, MAX_FRAME, Medium, ReceiveChecksum, ReceiveMeta, TransmitChecksum,
};
use wire::time::Instant;

use super::measure::{Comparison, compare, each, resident, worked};

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 80);
/// Connections from each of the client's addresses, and the first one's port.
const PER_ADDRESS: usize = 60_000;
const FIRST_PORT: usize = 2_000;
/// How many connections open at a time: no more than a backlog.
const WAVE: usize = 1_000;
/// The world to compare with.
const FEW: usize = 10;
/// Pieces of work in each round of a comparison.
const WORK: usize = 2_000;
/// What a request and its answer carry.
const REQUEST: [u8; 100] = [7; 100];

/// `__million-core COUNT`: both ends in one process.
pub(super) fn run(count: usize) -> Result<()> {
    println!("core: {count} connections between two stacks in one process");
    let before = resident()?;
    let mut many = World::new(count)?;
    many.open(count)?;
    let virgin = resident()? - before;
    println!("  {:.0} bytes an end, open and never used", each(virgin, 2 * count));
    for index in 0..count {
        many.exchange(index)?;
    }
    many.fall_silent()?;
    let used = resident()? - before;
    println!("  {:.0} bytes an end, after a request and an answer", each(used, 2 * count));
    ensure!(many.pinned() == 0, "{} bytes are pinned by buffers", many.pinned());

    let mut few = World::new(FEW)?;
    few.open(FEW)?;
    compare_packets(&mut few, &mut many, "")?;

    let armed = resident()?;
    for index in 0..count {
        many.keep_alive(index, 7200)?;
        if index % WAVE == 0 {
            many.carry();
        }
    }
    let timers = resident()? - armed;
    println!("  {:.0} bytes more for an armed timer", each(timers, count));
    for index in 0..FEW {
        few.keep_alive(index, 7200)?;
    }
    compare_packets(&mut few, &mut many, ", timers armed")?;
    compare_timers(&mut few, &mut many)
}

/// A request and an answer, over the same connection each time, and over another each time.
fn compare_packets(few: &mut World, many: &mut World, how: &str) -> Result<()> {
    let (ten, all) = (few.connections.len(), many.connections.len());
    let same = compare(WORK, |n| few.exchange_with(n, 0), |n| many.exchange_with(n, 0))?;
    same.print(&format!("request, answer, ACKs: always the same{how}"), ten, all);
    let other = compare(WORK, |n| few.exchange_with(n, 1), |n| many.exchange_with(n, 7919))?;
    other.print(&format!("request, answer, ACKs: always another{how}"), ten, all);
    Ok(())
}

fn compare_timers(few: &mut World, many: &mut World) -> Result<()> {
    let (ten, all) = (few.connections.len(), many.connections.len());
    let rearm = |world: &mut World, n: usize| -> Result<()> {
        (0..n).try_for_each(|time| world.keep_alive(3, 7000 + time as u64 % 2))
    };
    let arm = compare(WORK, |n| rearm(few, n), |n| rearm(many, n))?;
    arm.print("arm a timer anew: always the same", ten, all);
    let begin = worked();
    let fired = many.fire_keepalives()?;
    ensure!(fired == all, "{fired} of {all} timers fired");
    let long = (worked() - begin) / fired as f64;
    let begin = worked();
    let mut fired = 0;
    for _ in 0..10 * WORK / FEW {
        fired += few.fire_keepalives()?;
    }
    let short = (worked() - begin) / fired as f64;
    Comparison { few: short, many: long }.print(
        "fire, ask the peer, hear it: all of them",
        ten,
        all,
    );
    Ok(())
}

/// A stack with its link.
struct Host {
    stack: Stack,
    interface: InterfaceId,
    header: HeaderBuf,
}

impl Host {
    fn new(addresses: impl Iterator<Item = IpAddr>, seed: u8) -> Result<Self> {
        let mut stack = Stack::new(Config::default(), [seed; 32]);
        let link =
            Capabilities { medium: Medium::Ip, mtu: 1500, checksum: true, segmentation: true };
        let interface = stack.add_interface(link);
        for address in addresses {
            stack.add_address(interface, address, 8)?;
        }
        Ok(Self { stack, interface, header: HeaderBuf::default() })
    }

    /// Hands everything that it has to send to `other`; whether there was something.
    fn send_to(&mut self, now: Instant, other: &mut Self) -> bool {
        let mut sent = false;
        while let Some(packet) = self.stack.poll_transmit(now, &mut self.header) {
            let checksum = match packet.meta.checksum {
                TransmitChecksum::Complete => ReceiveChecksum::Unverified,
                TransmitChecksum::Partial { .. } => ReceiveChecksum::Partial,
            };
            let meta = ReceiveMeta { checksum, segment_size: packet.meta.segment_size };
            let spare = other.stack.spare_frame();
            let mut frame = spare.unwrap_or_else(|| FrameBuf::with_capacity(MAX_FRAME));
            frame.set_filled(0);
            frame.append(packet.header);
            for slice in &packet.payload {
                frame.append(slice);
            }
            other.stack.handle_frame(now, other.interface, frame, meta);
            sent = true;
        }
        while self.stack.poll_event().is_some() {}
        sent
    }
}

/// A client and a server, and the time.
struct World {
    now: Instant,
    client: Host,
    server: Host,
    listener: ListenerId,
    /// The client's end and the server's.
    connections: Vec<(ConnectionId, ConnectionId)>,
    /// Whose turn it was last.
    last: usize,
}

impl World {
    fn new(count: usize) -> Result<Self> {
        let addresses = (0..count.div_ceil(PER_ADDRESS)).map(client_address);
        let now = Instant::from_millis(1);
        let client = Host::new(addresses, 1)?;
        let mut server = Host::new(std::iter::once(SERVER.ip()), 2)?;
        let listener = server.stack.listen(now, SERVER, WAVE, TcpOptions::default())?;
        // The list is no part of what is measured: it is there before.
        let connections = vec![Default::default(); count];
        Ok(Self { now, client, server, listener, connections, last: 0 })
    }

    fn open(&mut self, count: usize) -> Result<()> {
        let all: Vec<usize> = (0..count).collect();
        for wave in all.chunks(WAVE) {
            for &index in wave {
                let port = u16::try_from(FIRST_PORT + index % PER_ADDRESS)?;
                let local = SocketAddr::new(client_address(index / PER_ADDRESS), port);
                let options = TcpOptions::default();
                let stack = &mut self.client.stack;
                self.connections[index].0 =
                    stack.connect(self.now, Some(local), SERVER, options)?;
            }
            self.carry();
            for _ in wave {
                let (id, peer) = self.server.stack.accept(self.now, self.listener)?;
                self.connections[index_of(peer)?].1 = id;
            }
        }
        self.fall_silent()
    }

    /// Carries packets until both are silent.
    fn carry(&mut self) {
        let (client, server) = (&mut self.client, &mut self.server);
        while client.send_to(self.now, server) | server.send_to(self.now, client) {}
    }

    /// Time passes until no timer runs that is due within a minute.
    fn fall_silent(&mut self) -> Result<()> {
        let until = self.now.after(Duration::from_secs(60));
        for _ in 0..100_000_000_u64 {
            self.carry();
            match self.next_deadline() {
                Some(at) if at <= until => self.pass_to(at),
                _ => return Ok(()),
            }
        }
        anyhow::bail!("the two never fall silent")
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.client.stack.poll_timeout(), self.server.stack.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    fn pass_to(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.client.stack.handle_timeout(self.now);
        self.server.stack.handle_timeout(self.now);
    }

    /// A request and its answer over one connection.
    fn exchange(&mut self, index: usize) -> Result<()> {
        self.pass_to(self.now.after(Duration::from_micros(50)));
        let (client, server) = self.connections[index];
        let mut buffer = [0; REQUEST.len()];
        self.client.stack.write(self.now, client, &REQUEST)?;
        self.carry();
        ensure!(self.server.stack.read(self.now, server, &mut buffer)? == REQUEST.len(), "cut");
        self.server.stack.write(self.now, server, &buffer)?;
        self.carry();
        ensure!(self.client.stack.read(self.now, client, &mut buffer)? == REQUEST.len(), "cut");
        self.carry();
        Ok(())
    }

    /// So many exchanges, each so many connections further.
    fn exchange_with(&mut self, count: usize, step: usize) -> Result<()> {
        for _ in 0..count {
            self.last = (self.last + step) % self.connections.len();
            self.exchange(self.last)?;
        }
        Ok(())
    }

    /// The client asks its peer for a sign of life after so many idle seconds.
    fn keep_alive(&mut self, index: usize, seconds: u64) -> Result<()> {
        let keepalive = KeepAlive { idle: Duration::from_secs(seconds), ..KeepAlive::default() };
        let options = TcpOptions { keepalive: Some(keepalive), ..TcpOptions::default() };
        let client = self.connections[index].0;
        self.client.stack.set_tcp_options(self.now, client, options)?;
        Ok(())
    }

    /// Lets the idle time pass, and every connection ask once; how many timers fired.
    fn fire_keepalives(&mut self) -> Result<usize> {
        let count =
            |world: &Self| world.client.stack.counters().sent(stack::reason::Sent::KeepAlive);
        let before = count(self);
        self.pass_to(self.now.after(Duration::from_secs(3 * 3600)));
        self.carry();
        Ok(usize::try_from(count(self) - before)?)
    }

    /// What the buffers of both ends pin.
    fn pinned(&self) -> usize {
        self.client.stack.memory_used() + self.server.stack.memory_used()
    }
}

fn client_address(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0100 + u32::try_from(number).unwrap_or(0)))
}

/// Which connection a client's address belongs to.
fn index_of(peer: SocketAddr) -> Result<usize> {
    let IpAddr::V4(address) = peer.ip() else { anyhow::bail!("{peer} is not ours") };
    let number = address.to_bits() as usize - 0x0a00_0100;
    Ok(number * PER_ADDRESS + usize::from(peer.port()) - FIRST_PORT)
}
