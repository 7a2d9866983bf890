//! Stacks that their program runs itself: two of them in one thread, on a wire in memory.

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{PATIENCE, assert_same, at, pattern};
use estab::bytes::{Buf, Bytes};
use estab::core::{ConnectionId, Error, ListenerId, Ready, SocketId, TcpOptions};
use estab::inline::Inline;
use estab::link::{PairConfig, PairEnd, pair};

const NOT_AT_ALL: Option<Duration> = Some(Duration::ZERO);

fn inline(end: PairEnd, number: u8) -> Inline {
    estab::Stack::builder().address([10, 0, 0, number], 24).inline(end).expect("a stack")
}

/// A client at 10.0.0.1 and a server at 10.0.0.2, in one thread.
struct Couple {
    client: Inline,
    server: Inline,
}

impl Couple {
    fn on(config: PairConfig) -> Self {
        let (here, there) = pair(config).expect("a pair");
        Self { client: inline(here, 1), server: inline(there, 2) }
    }

    fn turn(&mut self) {
        self.client.turn(NOT_AT_ALL).unwrap();
        self.server.turn(NOT_AT_ALL).unwrap();
    }

    fn listen(&mut self, port: u16) -> ListenerId {
        let now = self.server.now();
        self.server.core().listen(now, at(port), 16, TcpOptions::default()).unwrap()
    }

    fn connect(&mut self, port: u16) -> ConnectionId {
        let now = self.client.now();
        self.client.core().connect(now, None, at(port), TcpOptions::default()).unwrap()
    }

    /// A connection, both ends of it.
    fn connected(&mut self, port: u16) -> (ConnectionId, ConnectionId) {
        let listener = self.listen(port);
        let client = self.connect(port);
        for _ in 0..100 {
            self.turn();
            let now = self.server.now();
            if let Ok((server, _)) = self.server.core().accept(now, listener) {
                return (client, server);
            }
        }
        panic!("no connection");
    }

    /// Turns until nothing is on its way and nothing waits but timers.
    fn settle(&mut self) {
        let mut before = None;
        loop {
            self.turn();
            while self.client.next_event().is_some() {}
            while self.server.next_event().is_some() {}
            let moved = (self.client.activity().received, self.server.activity().received);
            if before.replace(moved) == Some(moved) {
                return;
            }
        }
    }
}

/// One direction of a connection.
struct Stream {
    from: ConnectionId,
    to: ConnectionId,
    rest: Bytes,
    got: Vec<u8>,
}

impl Stream {
    fn write(&mut self, host: &mut Inline) {
        let now = host.now();
        while !self.rest.is_empty() {
            match host.core().write_bytes(now, self.from, self.rest.clone()) {
                Ok(count) => self.rest.advance(count),
                Err(Error::WouldBlock) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn read(&mut self, host: &mut Inline) {
        let (now, before) = (host.now(), self.got.len());
        match host.core().chunks(self.to) {
            Ok(chunks) => self.got.extend(chunks.flatten()),
            Err(Error::WouldBlock) => return,
            Err(error) => panic!("{error}"),
        }
        host.core().consume(now, self.to, self.got.len() - before).unwrap();
    }
}

fn both_ways(config: PairConfig, length: usize) {
    let mut couple = Couple::on(config);
    let (client, server) = couple.connected(9);
    let (there, back) = (pattern(length, 1), pattern(length, 2));
    let stream = |from, to, data: &[u8]| Stream {
        from,
        to,
        rest: Bytes::copy_from_slice(data),
        got: Vec::new(),
    };
    let mut up = stream(client, server, &there);
    let mut down = stream(server, client, &back);
    let end = std::time::Instant::now() + PATIENCE;
    while up.got.len() < length || down.got.len() < length {
        assert!(std::time::Instant::now() < end, "{} and {} bytes", up.got.len(), down.got.len());
        up.write(&mut couple.client);
        down.write(&mut couple.server);
        couple.turn();
        up.read(&mut couple.server);
        down.read(&mut couple.client);
        while couple.client.next_event().is_some() {}
        while couple.server.next_event().is_some() {}
    }
    assert_same(&up.got, &there);
    assert_same(&down.got, &back);
}

#[test]
fn megabytes_both_ways() {
    both_ways(PairConfig::ip(1500), 8 << 20);
}

#[test]
fn megabytes_both_ways_without_offload() {
    both_ways(PairConfig::ip(1500).without_offload(), 2 << 20);
}

#[test]
fn megabytes_through_a_wire_that_is_always_full() {
    let mut config = PairConfig::ip(1500);
    config.capacity = 2;
    both_ways(config, 1 << 20);
}

#[test]
fn nothing_is_sent_before_the_program_has_seen_what_came() {
    let mut couple = Couple::on(PairConfig::ip(1500));
    let (client, server) = couple.connected(7);
    couple.settle();
    let now = couple.client.now();
    couple.client.core().write(now, client, b"question").unwrap();
    couple.client.turn(NOT_AT_ALL).unwrap();
    let sent = couple.server.activity().sent;
    couple.server.turn(None).unwrap();
    let event = couple.server.next_event().expect("what came is told");
    assert_eq!(event.socket, SocketId::Connection(server));
    assert!(event.ready.contains(Ready::READ) && couple.server.next_event().is_none());
    assert_eq!(couple.server.activity().sent, sent, "no ACK by itself");
    let now = couple.server.now();
    let mut question = [0; 8];
    couple.server.core().read(now, server, &mut question).unwrap();
    couple.server.core().write(now, server, b"answer").unwrap();
    couple.server.turn(NOT_AT_ALL).unwrap();
    assert_eq!(couple.server.activity().sent, sent + 1, "it travels in the answer");
    couple.client.turn(None).unwrap();
    let mut answer = [0; 6];
    let now = couple.client.now();
    assert_eq!(couple.client.core().read(now, client, &mut answer), Ok(6));
    assert_eq!((&question, &answer), (b"question", b"answer"));
}

#[test]
fn an_idle_stack_has_nothing_to_wake_for() {
    let mut couple = Couple::on(PairConfig::ip(1500));
    let (client, _server) = couple.connected(7);
    for _ in 0..10 {
        let now = couple.client.now();
        couple.client.core().write(now, client, b"something").unwrap();
        couple.settle();
    }
    // Delayed ACKs are all that is left; they are timers, and end.
    let end = std::time::Instant::now() + PATIENCE;
    while let Some(at) = couple.client.deadline().max(couple.server.deadline()) {
        assert!(std::time::Instant::now() < end, "a timer that never ends: {at}");
        couple.settle();
    }
    assert_eq!((couple.client.deadline(), couple.server.deadline()), (None, None));
    // One packet is one turn, and one sleep at most: it is there already, as is found out sooner or later.
    for _ in 0..20 {
        let before = couple.server.activity();
        let now = couple.client.now();
        let ping = couple.client.core().ping_open(None).unwrap();
        couple.client.core().ping_send(now, ping, at(0).ip(), 1, b"wake up").unwrap();
        couple.client.turn(NOT_AT_ALL).unwrap();
        couple.server.turn(None).unwrap();
        let after = couple.server.activity();
        assert_eq!((after.received, after.turns), (before.received + 1, before.turns + 1));
        assert!(after.sleeps <= before.sleeps + 1 && after.polls == before.polls, "{after:?}");
        couple.server.turn(NOT_AT_ALL).unwrap();
        couple.client.turn(None).unwrap();
        while couple.client.next_event().is_some() {}
        couple.client.core().ping_close(ping).unwrap();
    }
}

#[test]
fn busy_polling_finds_what_comes_and_ends_by_itself() {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    // So long that it is never over by chance.
    let bound = Duration::from_secs(3600);
    let builder = estab::Stack::builder().address([10, 0, 0, 2], 24).busy_poll(bound);
    let mut couple = Couple { client: inline(here, 1), server: builder.inline(there).unwrap() };
    let ping = couple.client.core().ping_open(None).unwrap();
    for round in 1..10 {
        let now = couple.client.now();
        couple.client.core().ping_send(now, ping, at(0).ip(), round, b"there?").unwrap();
        couple.client.turn(NOT_AT_ALL).unwrap();
        let before = couple.server.activity();
        couple.server.turn(Some(PATIENCE)).unwrap();
        let after = couple.server.activity();
        assert_eq!((after.received, after.sleeps), (before.received + 1, 0), "round {round}");
        assert!(after.polls > before.polls);
        couple.turn();
    }
    // The limit of a turn ends the poll too.
    while couple.server.next_event().is_some() {}
    couple.server.turn(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(couple.server.activity().sleeps, 0);
}

#[test]
fn a_link_that_is_gone_is_told_after_what_it_brought() {
    let (end, mut other) = pair(PairConfig::ip(1500)).unwrap();
    let mut stack = inline(end, 1);
    use estab::link::Link;
    other.send(stack.now(), &[0x45; 20], &[], &Default::default()).unwrap();
    drop(other);
    stack.turn(None).unwrap();
    assert_eq!(stack.activity().received, 1);
    assert_eq!(stack.turn(None).unwrap_err().kind(), ErrorKind::NetworkDown);
}

#[test]
fn draining_delivers_and_dropping_resets() {
    let mut couple = Couple::on(PairConfig::ip(1500));
    let (client, server) = couple.connected(7);
    let data = pattern(50_000, 3);
    let now = couple.client.now();
    assert_eq!(couple.client.core().write(now, client, &data), Ok(50_000));
    let Couple { client: stack, server: mut host } = couple;
    let drained = std::thread::spawn(move || stack.drain());
    let mut got = Vec::new();
    let end = std::time::Instant::now() + PATIENCE;
    // The wire goes with the stack.
    while host.turn(Some(Duration::from_millis(10))).is_ok() {
        assert!(std::time::Instant::now() < end);
        while host.next_event().is_some() {}
        let now = host.now();
        while let Ok(Some(frame)) = host.core().read_frame(now, server) {
            got.extend_from_slice(&frame);
        }
    }
    assert!(drained.join().unwrap(), "all was acknowledged");
    assert_same(&got, &data);

    let mut couple = Couple::on(PairConfig::ip(1500));
    let (client, _server) = couple.connected(7);
    let Couple { client: mut host, server: stack } = couple;
    drop(stack);
    host.turn(NOT_AT_ALL).unwrap();
    let now = host.now();
    assert_eq!(host.core().read(now, client, &mut [0; 1]), Err(Error::ConnectionReset));
}

#[test]
fn the_trace_is_shown_each_turn() {
    let (end, _other) = pair(PairConfig::ip(1500)).unwrap();
    let (told, events) = std::sync::mpsc::channel();
    let observer = Box::new(move |event: &estab::TraceEvent| told.send(event.clone()).unwrap());
    let builder = estab::Stack::builder().address([10, 0, 0, 1], 24).trace(observer);
    let mut stack = builder.inline(end).unwrap();
    let now = stack.now();
    stack.core().listen(now, "10.0.0.1:7".parse().unwrap(), 1, TcpOptions::default()).unwrap();
    assert!(events.try_recv().is_err());
    stack.turn(NOT_AT_ALL).unwrap();
    assert!(events.try_recv().is_ok());
}
