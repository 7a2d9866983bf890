//! Many connections and little memory: the budget holds, and every connection ends.

extern crate estab_stack as stack;

mod common;

use common::{B, Pair, plain};
use stack::reason::{Dropped, Withheld};
use stack::{Config, ConnectionId, Error, Stack, TcpOptions};
use wire::frame::Capabilities;

const LIMIT: usize = 1 << 20;
const CONNECTIONS: usize = 60;
const LENGTH: usize = 150_000;

/// Decides what happens, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// One connection from A to B.
struct Stream {
    client: ConnectionId,
    left: usize,
    server: Option<ConnectionId>,
    got: usize,
    done: bool,
}

fn stack_with(config: Config, address: &str, seed: u8, link: Capabilities) -> common::Host {
    let mut stack = Stack::new(config, [seed; 32]);
    let interface = stack.add_interface(link);
    stack.add_address(interface, address.parse().unwrap(), 24).unwrap();
    common::Host { stack, interface }
}

/// A turn of each program: A's write as much as they may, B's read now and then.
fn run_programs(pair: &mut Pair, streams: &mut [Stream], dice: &mut Dice) {
    let mut buffer = [0; 20_000];
    for stream in streams.iter_mut().filter(|stream| !stream.done) {
        while stream.left > 0 {
            let data = &buffer[..stream.left.min(20_000)];
            match pair.a.stack.write(pair.now, stream.client, data) {
                Ok(count) => stream.left -= count,
                Err(Error::WouldBlock) => break,
                Err(error) => panic!("{error}"),
            }
            if stream.left == 0 {
                pair.a.stack.close(pair.now, stream.client);
            }
        }
        let Some(server) = stream.server.filter(|_| dice.below(3) == 0) else { continue };
        match pair.b.stack.read(pair.now, server, &mut buffer) {
            Ok(0) => {
                pair.b.stack.close(pair.now, server);
                stream.done = true;
            }
            Ok(count) => stream.got += count,
            Err(Error::WouldBlock) => {}
            Err(error) => panic!("{error} after {} bytes", stream.got),
        }
    }
}

fn check(pair: &Pair) {
    for (name, host) in [("A", &pair.a), ("B", &pair.b)] {
        let used = host.stack.memory_used();
        assert!(used <= LIMIT, "{name} pins {used} bytes");
    }
}

fn world(seed: u64, link: Capabilities) -> Pair {
    let config =
        || Config { memory_limit: LIMIT, memory_pressure: LIMIT / 4 * 3, ..Config::default() };
    let mut pair = Pair::new(link);
    pair.a = stack_with(config(), common::A, 1, link);
    pair.b = stack_with(config(), B, 2, link);
    let mut dice = Dice(seed);
    let address = format!("{B}:80").parse().unwrap();
    let listener =
        pair.b.stack.listen(pair.now, address, CONNECTIONS, TcpOptions::default()).unwrap();
    let connect = |pair: &mut Pair| {
        pair.a.stack.connect(pair.now, None, address, TcpOptions::default()).unwrap()
    };
    let mut streams: Vec<Stream> = (0..CONNECTIONS)
        .map(|_| connect(&mut pair))
        .map(|client| Stream { client, left: LENGTH, server: None, got: 0, done: false })
        .collect();
    for _ in 0..100_000 {
        run_programs(&mut pair, &mut streams, &mut dice);
        check(&pair);
        let (from_a, from_b) = (pair.a.frames(pair.now), pair.b.frames(pair.now));
        let silent = from_a.is_empty() && from_b.is_empty();
        for (frame, meta) in from_a {
            if dice.below(50) > 0 {
                pair.b.stack.handle_frame(pair.now, pair.b.interface, frame, meta);
                check(&pair);
            }
        }
        for (frame, meta) in from_b {
            if dice.below(50) > 0 {
                pair.a.stack.handle_frame(pair.now, pair.a.interface, frame, meta);
                check(&pair);
            }
        }
        while let Ok((server, remote)) = pair.b.stack.accept(pair.now, listener) {
            let of = |stream: &&mut Stream| {
                pair.a.stack.local_address(stream.client).is_ok_and(|local| local == remote)
                    && stream.server.is_none()
            };
            if let Some(stream) = streams.iter_mut().find(of) {
                stream.server = Some(server);
            }
        }
        if streams.iter().all(|stream| stream.done) {
            assert!(streams.iter().all(|stream| stream.got == LENGTH));
            return pair;
        }
        if silent {
            pair.next_deadline();
            check(&pair);
        }
    }
    let left = streams.iter().filter(|stream| !stream.done).count();
    panic!("{left} of {CONNECTIONS} do not end");
}

fn runs_out_and_recovers(link: Capabilities) {
    let (mut waited, mut dropped) = (0, 0);
    for seed in 1..=5 {
        let mut pair = world(seed, link);
        waited += pair.a.stack.counters().withheld(Withheld::MemoryShort);
        dropped += pair.b.stack.counters().dropped(Dropped::MemoryLimit);
        pair.wait(std::time::Duration::from_secs(3600));
        assert_eq!((pair.a.stack.memory_used(), pair.b.stack.memory_used()), (0, 0));
    }
    assert!(waited > 100, "programs waited {waited} times: there was enough for all");
    assert!(dropped > 20, "{dropped} segments were refused: there was enough for all");
}

#[test]
fn sixty_connections_share_a_mebibyte() {
    runs_out_and_recovers(plain());
}

#[test]
fn sixty_connections_with_super_segments_share_a_mebibyte() {
    runs_out_and_recovers(Capabilities { checksum: true, segmentation: true, ..plain() });
}

#[test]
fn a_stack_without_memory_refuses_connections() {
    let mut pair = Pair::new(plain());
    let config = Config { memory_limit: 4096, memory_pressure: 4096, ..Config::default() };
    pair.a = stack_with(config, common::A, 1, plain());
    let (client, _) = pair.connected();
    assert_eq!(pair.a.stack.write(pair.now, client, &[1; 10_000]), Ok(2048), "the smallest chunk");
    pair.a.stack.write(pair.now, client, &[1; 10_000]).unwrap();
    assert_eq!(pair.a.stack.write(pair.now, client, &[1; 10_000]), Err(Error::WouldBlock));
    let address = format!("{B}:80").parse().unwrap();
    let refused = pair.a.stack.connect(pair.now, None, address, TcpOptions::default());
    assert_eq!(refused, Err(Error::LimitReached));
    pair.settle();
    assert!(pair.a.stack.connect(pair.now, None, address, TcpOptions::default()).is_ok());
    let events: Vec<_> = std::iter::from_fn(|| pair.a.stack.poll_event()).collect();
    let client = stack::SocketId::Connection(client);
    let told =
        |event: &stack::Event| event.socket == client && event.ready.contains(stack::Ready::WRITE);
    assert!(events.iter().any(told), "who waited for memory is told: {events:?}");
}
