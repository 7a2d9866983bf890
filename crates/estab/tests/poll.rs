//! Polls: edges are told once and never lost, whoever else waits for the same sockets.

mod common;
#[path = "common/spread.rs"]
mod spread;

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, World, assert_same, at, join, pattern};
use estab::blocking::poll::{Event, Events, Interest, Poll, Registry, SourceFd, Token, Waker};
use estab::blocking::{Packets, TcpFlows, TcpListener, TcpStream, UdpFlows, UdpSocket};
use estab::link::{Batching, Link, PairConfig, PairEnd, pair};
use estab::wire::frame::{Capabilities, FrameBuf, ReceiveMeta, TransmitMeta};
use estab::wire::time::Instant as Now;
use estab::{Pinger, Stack};
use spread::spread;

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Polls until `wanted` finds its event, and gives it back.
fn wait_for(poll: &mut Poll, wanted: impl Fn(&Event) -> bool) -> Event {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Events::with_capacity(8);
    loop {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        if let Some(event) = events.iter().find(|event| wanted(event)) {
            return *event;
        }
        assert!(Instant::now() < deadline, "in vain");
    }
}

fn readable(token: usize) -> impl Fn(&Event) -> bool {
    move |event| event.token() == Token(token) && event.is_readable()
}

fn writable(token: usize) -> impl Fn(&Event) -> bool {
    move |event| event.token() == Token(token) && event.is_writable()
}

/// Whether nothing has happened.
fn is_quiet(poll: &mut Poll) -> bool {
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    events.is_empty()
}

/// Two ends of a connection, the server's non-blocking.
fn connected(world: &World, port: u16) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(&world.server, at(port)).unwrap();
    let client = TcpStream::connect(&world.client, at(port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    (client, server)
}

/// A server that gives back what it gets: one thread, however many connections.
struct Echo {
    poll: Poll,
    events: Events,
    /// Under the token 0, on each of the polls that serve.
    listener: Option<TcpListener>,
    streams: HashMap<usize, (TcpStream, Vec<u8>)>,
    next: usize,
    done: usize,
    /// The bytes that were given back.
    echoed: usize,
}

impl Echo {
    fn new(listener: Option<TcpListener>) -> Self {
        let poll = Poll::new().unwrap();
        if let Some(listener) = &listener {
            listener.set_nonblocking(true).unwrap();
            poll.registry().register(listener, Token(0), Interest::READABLE).unwrap();
        }
        // Fewer than there are sockets: what does not fit comes with the next call.
        let events = Events::with_capacity(3);
        Self { poll, events, listener, streams: HashMap::new(), next: 1, done: 0, echoed: 0 }
    }

    /// Serves until `connections` have come and gone.
    fn serve(mut self, connections: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.done < connections {
            assert!(Instant::now() < deadline, "{} of {connections}", self.done);
            self.turn(Some(PATIENCE));
        }
    }

    fn turn(&mut self, timeout: Option<Duration>) {
        self.poll.poll(&mut self.events, timeout).unwrap();
        let tokens: Vec<_> = self.events.iter().map(|event| event.token().0).collect();
        for token in tokens {
            if token == 0 {
                self.accept();
            } else if self
                .streams
                .get_mut(&token)
                .is_some_and(|(stream, rest)| is_over(stream, rest, &mut self.echoed))
            {
                self.streams.remove(&token);
                self.done += 1;
            }
        }
    }

    fn accept(&mut self) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(TcpListener::accept) {
            stream.set_nonblocking(true).unwrap();
            self.poll.registry().register(&stream, Token(self.next), BOTH).unwrap();
            self.streams.insert(self.next, (stream, Vec::new()));
            self.next += 1;
        }
    }
}

/// Echoes until it would block; whether the end has come and all is given back.
fn is_over(stream: &mut TcpStream, rest: &mut Vec<u8>, echoed: &mut usize) -> bool {
    let mut bytes = [0; 3000];
    let mut ended = false;
    loop {
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(count) => {
                    rest.drain(..count);
                    *echoed += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
        if ended {
            return true;
        }
        match stream.read(&mut bytes) {
            Ok(0) => ended = true,
            Ok(count) => rest.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks `rounds` times over one connection.
fn ask(stack: &Stack, to: SocketAddr, rounds: u32, length: usize) {
    let mut stream = TcpStream::connect(stack, to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    for round in 0..rounds {
        let question = pattern(length, round);
        stream.write_all(&question).unwrap();
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).unwrap();
        assert_same(&answer, &question);
    }
}

#[test]
fn an_edge_is_told_once_and_again_with_what_comes_next() {
    let world = World::new();
    let (mut client, mut server) = connected(&world, 7);
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&server, Token(5), Interest::READABLE).unwrap();
    assert!(is_quiet(&mut poll));
    client.write_all(b"one").unwrap();
    let event = wait_for(&mut poll, readable(5));
    assert!(!event.is_writable() && !event.is_read_closed() && !event.is_error(), "{event:?}");
    assert!(is_quiet(&mut poll), "it is told once");
    client.write_all(b"two").unwrap();
    wait_for(&mut poll, readable(5));
    let mut bytes = [0; 10];
    assert_eq!(server.read(&mut bytes).unwrap(), 6);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let event = wait_for(&mut poll, |event| event.is_read_closed());
    assert!(event.is_readable());
    assert_eq!(server.read(&mut bytes).unwrap(), 0);
}

#[test]
fn registering_tells_what_is_so_and_registering_anew_does_again() {
    let world = World::new();
    let (mut client, server) = connected(&world, 7);
    client.write_all(b"before").unwrap();
    let mut bytes = [0; 6];
    common::eventually("it arrives", || server.peek(&mut bytes).is_ok_and(|count| count == 6));
    let mut poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    registry.register(&server, Token(1), BOTH).unwrap();
    let event = wait_for(&mut poll, |_| true);
    assert!(event.is_readable() && event.is_writable(), "{event:?}");
    assert!(is_quiet(&mut poll));
    registry.reregister(&server, Token(2), Interest::READABLE).unwrap();
    let event = wait_for(&mut poll, readable(2));
    assert!(!event.is_writable());
    // What was not told yet goes with the registration.
    registry.reregister(&server, Token(3), Interest::READABLE).unwrap();
    registry.deregister(&server).unwrap();
    assert!(is_quiet(&mut poll));
    let kind = |outcome: std::io::Result<()>| outcome.unwrap_err().kind();
    assert_eq!(kind(registry.deregister(&server)), ErrorKind::NotFound);
    assert_eq!(kind(registry.reregister(&server, Token(1), BOTH)), ErrorKind::NotFound);
    registry.register(&server, Token(1), BOTH).unwrap();
    assert_eq!(kind(registry.register(&server, Token(1), BOTH)), ErrorKind::AlreadyExists);
    let own = Token(usize::MAX);
    assert_eq!(kind(registry.reregister(&server, own, BOTH)), ErrorKind::InvalidInput);
}

#[test]
fn a_socket_that_is_dropped_is_told_no_more_and_its_place_is_used_again() {
    let world = World::new();
    let mut poll = Poll::new().unwrap();
    for round in 0..20 {
        let (mut client, server) = connected(&world, 7);
        let token = Token(round);
        poll.registry().register(&server, token, Interest::READABLE).unwrap();
        client.write_all(b"!").unwrap();
        let mut bytes = [0; 1];
        common::eventually("it arrives", || server.peek(&mut bytes).is_ok());
        if round % 2 == 0 {
            wait_for(&mut poll, readable(round));
        }
        drop(server);
        assert!(is_quiet(&mut poll), "round {round}");
    }
}

#[test]
fn a_handshake_does_not_block() {
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(7)).unwrap();
    let mut poll = Poll::new().unwrap();
    let mut stream = TcpStream::connect_nonblocking(&world.client, at(7)).unwrap();
    poll.registry().register(&stream, Token(1), BOTH).unwrap();
    wait_for(&mut poll, writable(1));
    assert!(stream.take_error().unwrap().is_none() && stream.is_connected().unwrap());
    stream.write_all(b"?").unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    accepted.read_exact(&mut [0; 1]).unwrap();

    let refused = TcpStream::connect_nonblocking(&world.client, at(8)).unwrap();
    poll.registry().register(&refused, Token(2), Interest::WRITABLE).unwrap();
    assert!(wait_for(&mut poll, writable(2)).is_error());
    let error = refused.is_connected().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

    // Nobody answers there.
    let mut silent =
        TcpStream::connect_nonblocking(&world.client, "10.0.0.3:7".parse().unwrap()).unwrap();
    assert!(!silent.is_connected().unwrap());
    assert_eq!(silent.write(b"?").unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_short_write_is_followed_by_room() {
    let world = World::new();
    let (mut client, mut server) = connected(&world, 7);
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&server, Token(1), Interest::WRITABLE).unwrap();
    let length = 20_000_000;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let bytes = pattern(length, 1);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        wait_for(&mut poll, writable(1));
        // Never until it would block: as soon as not everything fits, that is to be told.
        while let Ok(count) = server.write(rest) {
            let is_short = count < rest.len();
            rest = &rest[count..];
            if is_short || rest.is_empty() {
                break;
            }
        }
    }
    drop(server);
    assert_same(&join(reader), &bytes);
}

#[test]
fn datagrams_packets_pings_and_flows_are_told() {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let client = common::host(here, 1);
    let server = Stack::builder()
        .address([10, 0, 0, 2], 24)
        .config(estab::Config { echo: estab::Echo::HandOver, ..Default::default() })
        .any_address()
        .start(there)
        .unwrap();
    client.set_gateway([10, 0, 0, 2].into()).unwrap();
    let mut poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();

    let ours = UdpSocket::bind(&server, at(9)).unwrap();
    ours.set_nonblocking(true).unwrap();
    registry.register(&ours, Token(1), Interest::READABLE).unwrap();
    let theirs = UdpSocket::bind(&client, "0.0.0.0:0").unwrap();
    theirs.send_to(b"one", at(9)).unwrap();
    wait_for(&mut poll, readable(1));
    assert_eq!(ours.recv(&mut [0; 9]).unwrap(), 3);

    let flows = UdpFlows::bind(&server, PATIENCE).unwrap();
    flows.set_nonblocking(true);
    assert_eq!(flows.next().unwrap_err().kind(), ErrorKind::WouldBlock);
    registry.register(&flows, Token(2), Interest::READABLE).unwrap();
    theirs.send_to(b"two", "10.1.0.9:53").unwrap();
    wait_for(&mut poll, readable(2));
    let flow = flows.next().unwrap();
    flow.set_nonblocking(true);
    registry.register(&flow, Token(3), Interest::READABLE).unwrap();
    wait_for(&mut poll, readable(3));
    assert_eq!(flow.recv(&mut [0; 9]).unwrap(), 3);
    assert_eq!(flow.recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);

    let flows = TcpFlows::bind(&server).unwrap();
    flows.set_nonblocking(true);
    registry.register(&flows, Token(4), Interest::READABLE).unwrap();
    let stream = TcpStream::connect_nonblocking(&client, "10.1.0.9:80".parse().unwrap()).unwrap();
    wait_for(&mut poll, readable(4));
    let accepted = flows.next().unwrap().accept_nonblocking().unwrap();
    assert_eq!(flows.next().unwrap_err().kind(), ErrorKind::WouldBlock);
    registry.register(&accepted, Token(5), Interest::WRITABLE).unwrap();
    wait_for(&mut poll, writable(5));
    assert!(accepted.is_connected().unwrap());
    common::eventually("it is connected", || stream.is_connected().unwrap());

    let packets = Packets::open(&server).unwrap();
    packets.set_nonblocking(true);
    registry.register(&packets, Token(6), Interest::READABLE).unwrap();
    let pinger = Pinger::open(&client).unwrap();
    registry.register(&pinger, Token(7), Interest::READABLE).unwrap();
    pinger.send([10, 0, 0, 2].into(), 1, b"there?").unwrap();
    wait_for(&mut poll, readable(6));
    let mut packet = [0; 100];
    let length = packets.recv(&mut packet).unwrap();
    assert_eq!(&packet[length - 6..length], b"there?");
    pinger.send([127, 0, 0, 1].into(), 2, b"here?").unwrap();
    wait_for(&mut poll, readable(7));
    assert_eq!(pinger.receive(Some(Duration::ZERO)).unwrap().payload, b"here?");
    client.stop();
    server.stop();
}

#[test]
fn descriptors_of_the_kernel_are_told_beside_sockets() {
    let world = World::new();
    let (mut client, mut server) = connected(&world, 7);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let mut poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    registry.register(&server, Token(1), Interest::READABLE).unwrap();
    registry.register(&SourceFd(&reader), Token(2), Interest::READABLE).unwrap();
    assert!(is_quiet(&mut poll));
    let mut bytes = [0; 1];
    for round in 0..200 {
        let other = thread::spawn({
            let (mut writer, mut client) =
                (writer.try_clone().unwrap(), client.try_clone().unwrap());
            move || {
                if round % 2 == 0 { writer.write_all(b"!") } else { client.write_all(b"!") }
                    .unwrap();
            }
        });
        if round % 2 == 0 {
            wait_for(&mut poll, readable(2));
            reader.read_exact(&mut bytes).unwrap();
        } else {
            wait_for(&mut poll, readable(1));
            server.read_exact(&mut bytes).unwrap();
        }
        join(other);
    }
    client.write_all(b"!").unwrap();
    writer.write_all(b"!").unwrap();
    wait_for(&mut poll, readable(2));
    registry.reregister(&SourceFd(&reader), Token(3), Interest::READABLE).unwrap();
    wait_for(&mut poll, readable(3));
    registry.deregister(&SourceFd(&reader)).unwrap();
    writer.write_all(b"!").unwrap();
    assert_eq!(registry.deregister(&SourceFd(&reader)).unwrap_err().kind(), ErrorKind::NotFound);
    drop(writer);
    registry.register(&SourceFd(&reader), Token(4), Interest::READABLE).unwrap();
    let event = wait_for(&mut poll, readable(4));
    assert!(event.is_read_closed(), "{event:?}");
}

#[test]
fn who_sleeps_on_the_links_hears_of_a_descriptor_that_another_thread_registers() {
    let world = World::new();
    let (_client, server) = connected(&world, 7);
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&server, Token(1), Interest::READABLE).unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        let (reader, writer) = std::io::pipe().unwrap();
        registry.register(&SourceFd(&writer), Token(2), Interest::WRITABLE).unwrap();
        (reader, writer)
    });
    wait_for(&mut poll, writable(2));
    join(other);
}

#[test]
fn a_waker_is_one_event_however_often_it_wakes() {
    let mut poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), Token(9)).unwrap());
    waker.wake().unwrap();
    std::task::Waker::from(Arc::clone(&waker)).wake();
    assert!(wait_for(&mut poll, readable(9)).is_readable());
    assert!(is_quiet(&mut poll));
    let other = thread::spawn(move || {
        for _ in 0..1000 {
            waker.wake().unwrap();
        }
        waker
    });
    wait_for(&mut poll, readable(9));
    drop(join(other));
    assert!(is_quiet(&mut poll), "dropped, it has no event any more");
    let start = Instant::now();
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
    assert!(events.is_empty() && start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn one_thread_serves_many_connections_and_carries_their_frames() {
    let world = World::new();
    let echo = Echo::new(Some(TcpListener::bind(&world.server, at(7)).unwrap()));
    let server = thread::spawn(move || echo.serve(40));
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let client = world.client.clone();
            thread::spawn(move || {
                for round in 0..10 {
                    ask(&client, at(7), 20, 1 + 3000 * n * round);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(join);
    join(server);
    let activity = world.server.activity();
    assert!(activity.kicks < 200, "{activity:?}");
}

/// A link that sends late what it is given while it batches, as one on io_uring does.
struct Keeps {
    end: PairEnd,
    on: bool,
    kept: VecDeque<(Vec<u8>, usize, TransmitMeta)>,
    batched: Arc<AtomicUsize>,
}

impl Keeps {
    fn new(end: PairEnd, batched: Arc<AtomicUsize>) -> Self {
        Self { end, on: false, kept: VecDeque::new(), batched }
    }
}

impl Link for Keeps {
    fn capabilities(&self) -> Capabilities {
        self.end.capabilities()
    }

    fn receive(&mut self, now: Now, frame: &mut FrameBuf) -> std::io::Result<Option<ReceiveMeta>> {
        let _ = self.flush(now);
        self.end.receive(now, frame)
    }

    fn send(
        &mut self,
        now: Now,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> std::io::Result<()> {
        if self.on && self.kept.len() < 64 {
            self.kept.push_back(([header, &payload.concat()].concat(), header.len(), *meta));
            self.batched.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        self.flush(now)?;
        self.end.send(now, header, payload, meta)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.end.descriptor()
    }

    fn set_batching(&mut self, on: bool) {
        self.on = on;
    }

    fn batching(&self) -> Batching {
        if self.on { Batching::On } else { Batching::Off }
    }

    fn flush(&mut self, now: Now) -> std::io::Result<()> {
        while let Some((bytes, header, meta)) = self.kept.front() {
            let (header, payload) = bytes.split_at(*header);
            self.end.send(now, header, &[payload], meta)?;
            self.kept.pop_front();
        }
        Ok(())
    }
}

/// Gives back what comes on the next `count` connections, with a thread for each, until their ends.
fn serve_with_threads(listener: &TcpListener, count: usize) {
    let serve = |mut stream: TcpStream| {
        let mut bytes = [0; 3000];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            stream.write_all(&bytes[..count]).unwrap();
        }
    };
    let threads: Vec<_> = (0..count)
        .map(|_| listener.accept().unwrap().0)
        .map(|stream| thread::spawn(move || serve(stream)))
        .collect();
    threads.into_iter().for_each(join);
}

/// Every way to wait at once: two polls with the same listener, whose connections are each other's too,
/// threads that block, datagrams, descriptors, wakers. Nothing is lost, or somebody waits in vain.
fn stress(client: &Stack, server: &Stack) {
    const EACH: usize = 6;
    let listener = TcpListener::bind(server, at(7)).unwrap();
    let blocked = TcpListener::bind(server, at(8)).unwrap();
    let (done, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let polls: Vec<_> = (0..2)
        .map(|_| {
            let (listener, done) = (listener.try_clone().unwrap(), Arc::clone(&done));
            let mut echo = Echo::new(Some(listener));
            let registry = echo.poll.registry().try_clone().unwrap();
            let waker = Waker::new(&registry, Token(usize::MAX - 1)).unwrap();
            let thread = thread::spawn(move || {
                let deadline = Instant::now() + PATIENCE;
                while done.load(Ordering::SeqCst) < 2 * EACH {
                    assert!(Instant::now() < deadline, "{} done", done.load(Ordering::SeqCst));
                    echo.turn(None);
                    done.fetch_add(std::mem::take(&mut echo.done), Ordering::SeqCst);
                }
            });
            (thread, waker, registry)
        })
        .collect();
    let threads = thread::spawn(move || serve_with_threads(&blocked, EACH));
    let disturbs = {
        let (registries, stop): (Vec<Registry>, _) =
            (polls.iter().map(|poll| poll.2.try_clone().unwrap()).collect(), Arc::clone(&stop));
        thread::spawn(move || {
            let (reader, mut writer) = std::io::pipe().unwrap();
            while !stop.load(Ordering::SeqCst) {
                for registry in &registries {
                    let source = SourceFd(&reader);
                    registry.register(&source, Token(1_000_000), Interest::READABLE).unwrap();
                    writer.write_all(b"!").unwrap();
                    registry.deregister(&source).unwrap();
                }
                thread::sleep(Duration::from_micros(300));
            }
        })
    };
    let clients: Vec<_> = (0..3 * EACH)
        .map(|n| {
            let (client, port) = (client.clone(), if n % 3 == 2 { 8 } else { 7 });
            thread::spawn(move || ask(&client, at(port), 150, 1 + 900 * (n % 7)))
        })
        .collect();
    clients.into_iter().for_each(join);
    stop.store(true, Ordering::SeqCst);
    join(disturbs);
    join(threads);
    common::eventually("all are served", || done.load(Ordering::SeqCst) >= 2 * EACH);
    for (thread, waker, _) in polls {
        waker.wake().unwrap();
        join(thread);
    }
}

#[test]
fn polls_and_threads_beside_each_other_lose_nothing() {
    let world = World::new();
    stress(&world.client, &world.server);
}

#[test]
fn what_a_link_batches_is_not_lost_either() {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let client = common::host(here, 1);
    let batched = Arc::new(AtomicUsize::new(0));
    let link = Keeps::new(there, Arc::clone(&batched));
    let server = Stack::builder().address([10, 0, 0, 2], 24).start(link).unwrap();
    stress(&client, &server);
    assert!(batched.load(Ordering::SeqCst) > 0, "it was asked to batch");
    client.stop();
    server.stop();
}

#[test]
fn what_threads_leave_to_the_turn_of_another_is_sent() {
    const CLIENTS: usize = 12;
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let client = common::host(here, 1);
    let batched = Arc::new(AtomicUsize::new(0));
    let link = Keeps::new(there, Arc::clone(&batched));
    let server = Stack::builder().address([10, 0, 0, 2], 24).start(link).unwrap();
    let listener = TcpListener::bind(&server, at(8)).unwrap();
    // Several frames come in one turn as often as threads happen to run so.
    for _ in 0..50 {
        thread::scope(|scope| {
            scope.spawn(|| serve_with_threads(&listener, CLIENTS));
            for n in 0..CLIENTS {
                let client = &client;
                scope.spawn(move || ask(client, at(8), 100, 1 + 10 * n));
            }
        });
        if batched.load(Ordering::SeqCst) > 100 {
            break;
        }
    }
    assert!(batched.load(Ordering::SeqCst) > 100, "answers of threads went together");
    client.stop();
    server.stop();
}

#[test]
fn what_was_left_to_the_next_poll_is_sent_without_it() {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let client = common::host(here, 1);
    let link = Keeps::new(there, Arc::default());
    let server = Stack::builder().address([10, 0, 0, 2], 24).start(link).unwrap();
    let mut echo = Echo::new(Some(TcpListener::bind(&server, at(7)).unwrap()));
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let stream = TcpStream::connect_nonblocking(&client, at(7)).unwrap();
            common::eventually("accepted", || {
                echo.turn(Some(Duration::ZERO));
                stream.is_connected().unwrap()
            });
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        })
        .collect();
    for round in 0..300 {
        clients.iter_mut().for_each(|client| client.write_all(b"?").unwrap());
        // Not events: one may be stale, where room was told first and the byte was read then.
        while echo.echoed < clients.len() * (round + 1) {
            echo.turn(Some(PATIENCE));
            if round % 50 == 49 {
                // It is computing: somebody else sees to what it left.
                thread::sleep(Duration::from_millis(5));
            } else if round % 50 == 48 {
                echo.poll.flush();
            }
        }
        // Nobody is in `poll` now.
        clients.iter_mut().for_each(|client| client.read_exact(&mut [0; 1]).unwrap());
    }
    client.stop();
    server.stop();
}

#[test]
fn polls_and_threads_on_several_shards_lose_nothing() {
    let (queues, other) = spread(3, 0x51_7C_C1_B7_27_22_0A_95);
    let server = Stack::builder().address([10, 0, 0, 2], 24).start_queues(queues).unwrap();
    let client = Stack::builder().address([10, 0, 0, 1], 24).start(other).unwrap();
    stress(&client, &server);
    client.stop();
    server.stop();
}

#[test]
fn one_poll_serves_several_stacks_and_several_shards() {
    let (queues, other) = spread(4, 0x2545_F491_4F6C_DD1D);
    let server = Stack::builder().address([10, 0, 0, 2], 24).start_queues(queues).unwrap();
    let client = Stack::builder().address([10, 0, 0, 1], 24).start(other).unwrap();
    let echo = Echo::new(Some(TcpListener::bind(&server, at(7)).unwrap()));
    let serving = thread::spawn(move || echo.serve(12));
    // The client's sockets, too, are polled by one thread.
    let mut poll = Poll::new().unwrap();
    let mut streams: Vec<_> = (0..12)
        .map(|n| {
            let stream = TcpStream::connect_nonblocking(&client, at(7)).unwrap();
            poll.registry().register(&stream, Token(n), BOTH).unwrap();
            (stream, 0)
        })
        .collect();
    let mut events = Events::with_capacity(5);
    let deadline = Instant::now() + PATIENCE;
    while streams.iter().any(|(_, asked)| *asked < 50) {
        assert!(Instant::now() < deadline);
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        for event in &events {
            let (stream, asked) = &mut streams[event.token().0];
            let begins = *asked == 0 && stream.is_connected().unwrap();
            if begins || matches!(stream.read(&mut [0; 10]), Ok(1..)) {
                *asked += 1;
                if *asked < 50 {
                    stream.write_all(b"?").unwrap();
                }
            }
        }
    }
    drop(streams);
    join(serving);
    client.stop();
    server.stop();
}

#[test]
fn a_poll_hears_that_its_stack_has_ended() {
    let world = World::new();
    let (_client, mut server) = connected(&world, 7);
    let (_client, other) = connected(&world, 8);
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&server, Token(1), BOTH).unwrap();
    wait_for(&mut poll, writable(1));
    let stack = world.server.clone();
    let stops = thread::spawn(move || {
        thread::sleep(Duration::from_millis(3));
        stack.stop();
    });
    let event = wait_for(&mut poll, readable(1));
    assert!(event.is_error(), "{event:?}");
    assert_eq!(server.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::NetworkDown);
    join(stops);
    let error = poll.registry().register(&other, Token(2), BOTH).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkDown);
    // It is a poll as before for what else there is.
    let waker = Waker::new(poll.registry(), Token(3)).unwrap();
    waker.wake().unwrap();
    wait_for(&mut poll, readable(3));
}

#[test]
fn a_poll_keeps_no_stack_running_and_a_dropped_one_nobody_waiting() {
    let world = World::new();
    let (mut client, server) = connected(&world, 7);
    let poll = Poll::new().unwrap();
    poll.registry().register(&server, Token(1), BOTH).unwrap();
    drop(poll);
    let mut server = server;
    server.set_nonblocking(false).unwrap();
    client.write_all(b"!").unwrap();
    server.read_exact(&mut [0; 1]).unwrap();

    let (end, other) = pair(PairConfig::ip(1500)).unwrap();
    let stack = common::host(end, 3);
    let mut poll = Poll::new().unwrap();
    let socket = UdpSocket::bind(&stack, "10.0.0.3:9").unwrap();
    poll.registry().register(&socket, Token(1), Interest::READABLE).unwrap();
    assert!(is_quiet(&mut poll));
    drop((stack, socket));
    let mut other = other;
    common::eventually("the link is closed", || {
        let mut frame = FrameBuf::with_capacity(2000);
        other.receive(Now::ZERO, &mut frame).is_err()
    });
}
