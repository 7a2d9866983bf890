//! Each controller in the whole stack: one connection over one bottleneck, in virtual time.

use std::net::SocketAddr;
use std::num::NonZeroU64;

use link::impair::{Direction, Packet};
use link::{Impairment, Loss};
use sim::world::host::{Family, Host};
use stack::tcp::congestion;
use stack::{Config, ConnectionId, HeaderBuf, SocketId, TcpInfo, TcpOptions};
use wire::frame::{FrameBuf, Medium, ReceiveChecksum, ReceiveMeta};
use wire::time::{Duration, Instant};

/// 10 Mbit/s and 40 ms: 50 kB on the path.
const RATE: u64 = 1_250_000;
const LATENCY: Duration = Duration::from_millis(20);
const PATH: usize = 50_000;

/// A sender and a receiver, and a path in each direction.
struct World {
    now: Instant,
    hosts: [Host; 2],
    paths: [Direction<()>; 2],
    sender: ConnectionId,
    receiver: Option<ConnectionId>,
    received: u64,
    writes: bool,
}

impl World {
    fn new(controller: &str, forward: Impairment) -> Self {
        let now = Instant::ZERO;
        let congestion = congestion::by_name(controller).unwrap();
        let options = TcpOptions { congestion, ..TcpOptions::default() };
        let mut hosts =
            [0, 1].map(|n| Host::new(n, Config::default(), [7; 32], Family::V4, 1500, false));
        let server = SocketAddr::from((hosts[1].address, 80));
        hosts[1].stack.listen(now, server, 1, TcpOptions::default()).unwrap();
        let sender = hosts[0].stack.connect(now, None, server, options).unwrap();
        let backward = Impairment { delay: LATENCY, ..Impairment::default() };
        Self {
            now,
            hosts,
            paths: [Direction::new(forward, 1, 0), Direction::new(backward, 1, 1)],
            sender,
            receiver: None,
            received: 0,
            writes: true,
        }
    }

    /// Lets `time` pass; the sender writes all that it may, and the receiver reads all that it has.
    fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            self.programs();
            for from in [0, 1] {
                self.send(from);
            }
            let arrivals = self.paths.iter().filter_map(Direction::next_release);
            let timers = self.hosts.iter().filter_map(|host| host.stack.poll_timeout());
            let Some(next) = timers.chain(arrivals).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for (from, path) in self.paths.iter_mut().enumerate() {
                while path.due(self.now, Medium::Ip).is_some() {
                    let packet = path.pop(true).unwrap();
                    let host = &mut self.hosts[1 - from];
                    let (frame, meta) = (FrameBuf::from(packet.bytes), ReceiveMeta::default());
                    host.stack.handle_frame(self.now, host.interface, frame, meta);
                }
            }
            for host in &mut self.hosts {
                if host.stack.poll_timeout().is_some_and(|at| at <= self.now) {
                    host.stack.handle_timeout(self.now);
                }
            }
        }
        self.now = end;
    }

    fn programs(&mut self) {
        let block = [0; 16_384];
        while self.writes
            && self.hosts[0].stack.write(self.now, self.sender, &block).is_ok_and(|n| n > 0)
        {
        }
        while let Some(event) = self.hosts[1].stack.poll_event() {
            if let SocketId::Listener(listener) = event.socket {
                self.receiver =
                    self.hosts[1].stack.accept(self.now, listener).ok().map(|(id, _)| id);
            }
        }
        let mut buffer = [0; 65_536];
        if let Some(receiver) = self.receiver {
            while let Ok(read @ 1..) = self.hosts[1].stack.read(self.now, receiver, &mut buffer) {
                self.received += read as u64;
            }
        }
    }

    fn send(&mut self, from: usize) {
        let mut header = HeaderBuf::default();
        while let Some(packet) = self.hosts[from].stack.poll_transmit(self.now, &mut header) {
            let (bytes, checksum) = (packet.to_frame().to_vec(), ReceiveChecksum::Unverified);
            self.paths[from].take(self.now, Medium::Ip, Packet { bytes, checksum, tag: () });
        }
    }

    fn info(&self) -> TcpInfo {
        self.hosts[0].stack.info(self.sender).unwrap()
    }

    /// The part of the path's rate that arrived in `time`, in percent.
    fn use_of(&mut self, time: Duration) -> u64 {
        let before = self.received;
        self.run(time);
        (self.received - before) * 100 / (RATE * time.as_secs())
    }
}

fn path(queue: usize, loss: f64) -> Impairment {
    Impairment {
        delay: LATENCY,
        rate: NonZeroU64::new(RATE * 8),
        queue_bytes: Some(queue),
        loss: Loss::Random(loss),
        ..Impairment::default()
    }
}

#[test]
fn every_controller_fills_the_path() {
    for name in congestion::NAMES {
        let mut world = World::new(name, path(PATH, 0.0));
        world.run(Duration::from_secs(4));
        let used = world.use_of(Duration::from_secs(12));
        assert_eq!(world.info().congestion, *name);
        // Of 1500 bytes 1448 are payload: 96% is all.
        assert!(used >= 90, "{name}: {used}%");
    }
}

#[test]
fn bbr_keeps_the_queue_short_and_does_not_mind_chance_loss() {
    let mut world = World::new("bbr", path(10 * PATH, 0.0));
    world.run(Duration::from_secs(4));
    let mut queued: Vec<Duration> = (0..50)
        .map(|_| {
            world.run(Duration::from_millis(100));
            world.info().rtt.unwrap().saturating_sub(2 * LATENCY)
        })
        .collect();
    queued.sort();
    // It is there while BBR probes.
    assert!(queued[25] < Duration::from_millis(6) && queued[49] < 2 * LATENCY, "{queued:?}");

    let used = ["bbr", "cubic"].map(|name| {
        let mut world = World::new(name, path(PATH, 0.01));
        world.run(Duration::from_secs(4));
        world.use_of(Duration::from_secs(12))
    });
    assert!(used[0] > 70 && used[1] < 50, "{used:?}");
}

#[test]
fn a_program_may_change_the_controller_under_way() {
    let mut world = World::new("reno", path(PATH, 0.0));
    world.run(Duration::from_secs(2));
    for name in ["bbr", "cubic", "bbr"] {
        let sender = &mut world.hosts[0].stack;
        let mut options = sender.tcp_options(world.sender).unwrap().clone();
        options.congestion = congestion::by_name(name).unwrap();
        sender.set_tcp_options(world.now, world.sender, options).unwrap();
        world.run(Duration::from_secs(2));
        let used = world.use_of(Duration::from_secs(4));
        assert!(used >= 85, "{name}: {used}%");
    }
}

#[test]
fn bbr_does_not_take_a_slow_program_for_a_slow_path() {
    let mut world = World::new("bbr", path(PATH, 0.0));
    world.writes = false;
    world.run(Duration::from_millis(100));
    for _ in 0..100 {
        world.run(Duration::from_millis(40));
        world.hosts[0].stack.write(world.now, world.sender, &[0; 1_000]).unwrap();
    }
    world.writes = true;
    world.run(Duration::from_secs(1));
    let used = world.use_of(Duration::from_secs(3));
    assert!(used >= 85, "{used}%");
}
