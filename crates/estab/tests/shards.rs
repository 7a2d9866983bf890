//! A stack of several shards is one stack to its programs, and loses nothing to bad steering.

mod common;
#[path = "common/spread.rs"]
mod spread;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, assert_same, at, eventually, host, join, pattern};
use estab::blocking::{TcpListener, TcpStream, UdpSocket};
use estab::link::{PairConfig, PairEnd, pair};
use estab::stack::reason::Sent;
use estab::{Stack, TcpOptions};
use spread::spread;

/// A client of one shard, and a server of several behind a device that steers at random.
struct World {
    client: Stack,
    server: Stack,
}

impl World {
    fn new(shards: usize) -> Self {
        let (queues, other) = spread(shards, 0x9E37_79B9_7F4A_7C15);
        let server = Stack::builder().address([10, 0, 0, 2], 24).start_queues(queues).unwrap();
        let client = Stack::builder().address([10, 0, 0, 1], 24).start(other).unwrap();
        Self { client, server }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.client.stop();
        self.server.stop();
    }
}

/// A stack at 10.0.0.2 whose device leads nowhere: it talks to itself.
fn alone(shards: usize) -> (Stack, Vec<PairEnd>) {
    let (queues, others) = (0..shards).map(|_| pair(PairConfig::ip(1500)).unwrap()).unzip();
    (start(queues), others)
}

fn start(queues: Vec<PairEnd>) -> Stack {
    Stack::builder().address([10, 0, 0, 2], 24).start_queues(queues).unwrap()
}

fn echo(listener: TcpListener, connections: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let serve = |mut stream: TcpStream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        };
        let threads: Vec<_> = (0..connections)
            .map(|_| listener.accept().unwrap().0)
            .map(|stream| thread::spawn(move || serve(stream)))
            .collect();
        threads.into_iter().for_each(join);
    })
}

#[test]
fn every_byte_arrives_whatever_queue_a_frame_comes_from() {
    // So many that every shard has some: one of three is left out once in four million times.
    const CONNECTIONS: usize = 40;
    const LENGTH: usize = 60_000;
    let world = World::new(3);
    let server = echo(TcpListener::bind(&world.server, "10.0.0.2:7").unwrap(), CONNECTIONS);
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let client = world.client.clone();
            thread::spawn(move || {
                let wanted = pattern(LENGTH, number as u32);
                let mut stream = TcpStream::connect(&client, at(7)).unwrap();
                stream.write_all(&wanted).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut received = Vec::new();
                stream.read_to_end(&mut received).unwrap();
                assert_same(&received, &wanted);
            })
        })
        .collect();
    clients.into_iter().for_each(join);
    join(server);
    let each = world.server.shard_counters();
    assert_eq!(each.len(), 3);
    let (given, taken) =
        (world.server.counters().handed_over(), world.server.counters().taken_over());
    assert!(given > 100 && taken <= given, "{given} handed over, {taken} taken");
    assert!(
        each.iter().all(|counters| counters.sent(Sent::SynAccepted) > 0),
        "all shards took part"
    );
}

#[test]
fn connections_from_several_shards_reach_a_peer() {
    let world = World::new(4);
    let server = echo(TcpListener::bind(&world.client, "10.0.0.1:7").unwrap(), 16);
    let streams: Vec<_> =
        (0..16).map(|_| TcpStream::connect(&world.server, "10.0.0.1:7").unwrap()).collect();
    for mut stream in streams {
        let local = stream.local_addr().unwrap().to_string();
        stream.write_all(local.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, local);
    }
    join(server);
    let each = world.server.shard_counters();
    assert!(each.iter().all(|counters| counters.sent(Sent::ActiveOpen) == 4), "four by each shard");
}

#[test]
fn a_connection_from_a_given_port_is_opened_by_its_owner() {
    let world = World::new(4);
    let server = echo(TcpListener::bind(&world.client, "10.0.0.1:7").unwrap(), 12);
    for port in 6000..6012 {
        let (local, options) = (SocketAddr::from(([0, 0, 0, 0], port)), TcpOptions::default());
        let remote = "10.0.0.1:7".parse().unwrap();
        let stream = TcpStream::connect_with(&world.server, Some(local), remote, &options).unwrap();
        assert_eq!(stream.local_addr().unwrap(), at(port));
        let again = TcpStream::connect_with(&world.server, Some(local), remote, &options);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
    join(server);
}

#[test]
fn a_listener_has_one_port_on_all_shards() {
    let (stack, _others) = alone(3);
    let listener = TcpListener::bind(&stack, "10.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    let taken = TcpListener::bind(&stack, address).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    assert_eq!(stack.sockets().len(), 1, "it is one line: {:?}", stack.sockets());
    for _ in 0..9 {
        let stream = TcpStream::connect(&stack, address).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, stream.local_addr().unwrap());
    }
    drop(listener);
    let refused = TcpStream::connect(&stack, address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    TcpListener::bind(&stack, address).unwrap();
    stack.stop();
}

/// Each shard has an accept queue of the whole backlog.
#[test]
fn the_backlog_is_that_of_each_shard() {
    let (stack, _others) = alone(2);
    let options = TcpOptions::default();
    let listener = TcpListener::bind_with(&stack, at(80), 1, &options).unwrap();
    let streams: Vec<_> = (0..4).map(|_| TcpStream::connect(&stack, at(80)).unwrap()).collect();
    assert_eq!(stack.sockets()[0].receive_queue, 4, "what waits on both shards");
    // Both accept queues are full, so that the next SYNs are dropped.
    for _ in 0..2 {
        let late = TcpStream::connect_timeout(&stack, &at(80), Duration::from_millis(20));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
    }
    for _ in 0..4 {
        listener.accept().unwrap();
    }
    drop(streams);
    stack.stop();
}

#[test]
fn whoever_waits_in_accept_is_woken_by_any_shard() {
    let (stack, _others) = alone(4);
    let listener = TcpListener::bind(&stack, at(80)).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    listener.set_nonblocking(false).unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let server = {
        let accepted = Arc::clone(&accepted);
        thread::spawn(move || {
            while listener.accept().is_ok() {
                accepted.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    for number in 1..=12 {
        let _stream = TcpStream::connect(&stack, at(80)).unwrap();
        eventually("it is accepted", || accepted.load(Ordering::SeqCst) == number);
    }
    // The end of the stack wakes it, too.
    stack.stop();
    join(server);
}

#[tokio::test]
async fn a_task_that_waits_in_accept_is_woken_by_any_shard() {
    let (stack, _others) = alone(3);
    let listener = estab::net::TcpListener::bind(&stack, "10.0.0.2:80").await.unwrap();
    for _ in 0..9 {
        let connect = estab::net::TcpStream::connect(&stack, "10.0.0.2:80");
        let (stream, accepted) = tokio::join!(connect, listener.accept());
        assert_eq!(stream.unwrap().local_addr().unwrap(), accepted.unwrap().1);
        let connect = estab::net::TcpStream::connect(&stack, "10.0.0.2:80");
        let polled = std::future::poll_fn(|cx| listener.poll_accept(cx));
        let (stream, accepted) = tokio::join!(connect, polled);
        assert_eq!(stream.unwrap().local_addr().unwrap(), accepted.unwrap().1);
    }
    stack.stop();
}

/// Their ports belong to different shards, so what one sends another's thread must be woken for.
#[test]
fn datagrams_and_pings_inside_cross_the_shards() {
    let (stack, _others) = alone(3);
    let sockets: Vec<_> = (0..6)
        .map(|_| {
            let socket = UdpSocket::bind(&stack, "10.0.0.2:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
        .collect();
    for from in &sockets {
        for to in &sockets {
            from.send_to(b"hello", to.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 16];
            let (count, sender) = to.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..count], sender), (&b"hello"[..], from.local_addr().unwrap()));
        }
    }
    assert!(stack.counters().taken_over() >= 24, "two of three pairs are on two shards");
    for _ in 0..6 {
        let pong = stack.ping([10, 0, 0, 2].into(), b"me", PATIENCE).unwrap();
        assert_eq!(pong.payload, b"me");
    }
    let twice = UdpSocket::bind(&stack, sockets[0].local_addr().unwrap()).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::AddrInUse);
    stack.stop();
}

#[test]
fn datagrams_reach_their_socket_whatever_queue_they_come_from() {
    let world = World::new(3);
    let far = UdpSocket::bind(&world.client, "10.0.0.1:0").unwrap();
    for port in 700..720 {
        let socket = UdpSocket::bind(&world.server, at(port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        far.send_to(&port.to_be_bytes(), at(port)).unwrap();
        let mut buffer = [0; 16];
        let (count, sender) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..count], sender),
            (&port.to_be_bytes()[..], far.local_addr().unwrap())
        );
    }
    for _ in 0..8 {
        world.server.ping([10, 0, 0, 1].into(), b"there?", PATIENCE).unwrap();
        world.client.ping([10, 0, 0, 2].into(), b"here?", PATIENCE).unwrap();
    }
}

#[test]
fn stopping_gracefully_delivers_from_every_shard() {
    const LENGTH: usize = 300_000;
    let world = World::new(3);
    let listener = TcpListener::bind(&world.client, "10.0.0.1:9").unwrap();
    let (writers, readers): (Vec<_>, Vec<_>) = (0..6)
        .map(|_| {
            let mut stream = TcpStream::connect(&world.server, "10.0.0.1:9").unwrap();
            let (mut far, _) = listener.accept().unwrap();
            let writer = thread::spawn(move || {
                stream.write_all(&pattern(LENGTH, 1)).unwrap();
                stream
            });
            let reader = thread::spawn(move || {
                let mut received = Vec::new();
                far.read_to_end(&mut received).unwrap();
                received
            });
            (writer, reader)
        })
        .unzip();
    // All of it is written, and some of it is still on its way.
    let _streams: Vec<_> = writers.into_iter().map(join).collect();
    assert!(world.server.stop_graceful(PATIENCE));
    for reader in readers {
        assert_same(&join(reader), &pattern(LENGTH, 1));
    }
}

#[test]
fn a_host_ends_with_the_link_of_any_shard() {
    for lost in 0..3 {
        let (stack, mut others) = alone(3);
        let listener = TcpListener::bind(&stack, at(80)).unwrap();
        let server = thread::spawn(move || listener.accept().map(|_| ()));
        assert!(stack.ended().is_none());
        drop(others.remove(lost));
        eventually("all shards end", || stack.ended().is_some());
        assert_eq!(join(server).unwrap_err().kind(), ErrorKind::NetworkDown);
        eventually("no shard works any more", || {
            (0..3).all(|_| TcpStream::connect(&stack, at(80)).is_err())
        });
        assert_eq!(stack.ended().unwrap().kind(), ErrorKind::NetworkDown);
        stack.stop();
    }
}

#[test]
fn one_observer_sees_all_shards() {
    let (queues, _others): (Vec<_>, Vec<_>) =
        (0..3).map(|_| pair(PairConfig::ip(1500)).unwrap()).unzip();
    let flows = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let seen = Arc::clone(&flows);
    let observer = Box::new(move |event: &estab::TraceEvent| {
        if let Some(flow) = event.flow {
            seen.lock().unwrap().insert(flow.local);
        }
    });
    let stack =
        Stack::builder().address([10, 0, 0, 2], 24).trace(observer).start_queues(queues).unwrap();
    let _listener = TcpListener::bind(&stack, at(80)).unwrap();
    let streams: Vec<_> = (0..6).map(|_| TcpStream::connect(&stack, at(80)).unwrap()).collect();
    for stream in &streams {
        let local = stream.local_addr().unwrap();
        eventually("it is in the trace", || flows.lock().unwrap().contains(&local));
    }
    stack.stop();
}

/// It stops its own stack from one of the threads that call it.
#[test]
fn an_observer_may_stop_the_stack() {
    let (queues, _others): (Vec<_>, Vec<_>) =
        (0..3).map(|_| pair(PairConfig::ip(1500)).unwrap()).unzip();
    let handle = Arc::new(Mutex::new(None::<Stack>));
    let own = Arc::clone(&handle);
    let observer = Box::new(move |_: &estab::TraceEvent| {
        if let Some(stack) = own.lock().unwrap().take() {
            stack.stop();
        }
    });
    let builder = Stack::builder().address([10, 0, 0, 2], 24).trace(observer);
    let stack = builder.start_queues(queues).unwrap();
    *handle.lock().unwrap() = Some(stack.clone());
    let _ = TcpListener::bind(&stack, at(80));
    eventually("it ends", || stack.ended().is_some());
    stack.stop();
}

#[test]
fn a_queue_can_come_and_go_while_connections_work() {
    let (mut queues, other) = spread(3, 5);
    let third = queues.pop().unwrap();
    let server = start(queues);
    let client = Stack::builder().address([10, 0, 0, 1], 24).start(other).unwrap();
    let listener = TcpListener::bind(&server, at(7)).unwrap();
    let mut connections = Vec::new();
    let talk = |connections: &mut Vec<(TcpStream, TcpStream)>| {
        let near = TcpStream::connect(&client, at(7)).unwrap();
        connections.push((near, listener.accept().unwrap().0));
        for (near, far) in connections.iter_mut() {
            near.write_all(b"ping").unwrap();
            let mut bytes = [0; 4];
            far.read_exact(&mut bytes).unwrap();
            far.write_all(&bytes).unwrap();
            near.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"ping");
        }
    };
    // A third of the frames is lost in the queue that nobody reads yet.
    talk(&mut connections);
    server.attach_queue(third).unwrap();
    for _ in 0..8 {
        talk(&mut connections);
    }
    server.detach_queue().unwrap();
    talk(&mut connections);
    assert_eq!(server.detach_queue().unwrap_err().kind(), ErrorKind::NotFound);
    let (strange, _end) = pair(PairConfig::ip(9000)).unwrap();
    assert_eq!(server.attach_queue(strange).unwrap_err().kind(), ErrorKind::InvalidInput);
    client.stop();
    server.stop();
}

#[test]
fn queues_that_do_not_fit_together_are_refused() {
    let end = |mtu| pair(PairConfig::ip(mtu)).unwrap().0;
    let kind = |started: std::io::Result<Stack>| started.unwrap_err().kind();
    let none = Stack::builder().start_queues(Vec::<PairEnd>::new());
    assert_eq!(kind(none), ErrorKind::InvalidInput);
    let unlike = Stack::builder().start_queues([end(1500), end(9000)]);
    assert_eq!(kind(unlike), ErrorKind::InvalidInput);
    let second = estab::Interface::new(end(1500));
    let uneven = Stack::builder().interface(second).start_queues([end(1500), end(1500)]);
    assert_eq!(kind(uneven), ErrorKind::InvalidInput);
}

#[test]
fn two_interfaces_with_as_many_queues_work_together() {
    let (first, other) = spread(2, 1);
    let (second, _others): (Vec<_>, Vec<_>) =
        (0..2).map(|_| pair(PairConfig::ip(1500)).unwrap()).unzip();
    let interface = estab::Interface::with_queues(second).address([10, 1, 0, 2], 24);
    let server = Stack::builder()
        .address([10, 0, 0, 2], 24)
        .interface(interface)
        .start_queues(first)
        .unwrap();
    let client =
        Stack::builder().address([10, 0, 0, 1], 24).gateway([10, 0, 0, 2]).start(other).unwrap();
    let listener = TcpListener::bind(&server, "0.0.0.0:7").unwrap();
    for address in ["10.0.0.2:7", "10.1.0.2:7"] {
        for _ in 0..4 {
            let stream = TcpStream::connect(&client, address).unwrap();
            assert_eq!(listener.accept().unwrap().1, stream.local_addr().unwrap());
        }
    }
    client.stop();
    server.stop();
}

#[test]
fn dropping_everything_ends_all_shards() {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let (other, mut end) = pair(PairConfig::ip(1500)).unwrap();
    let client = host(there, 1);
    let stack = start(vec![here, other]);
    let socket = UdpSocket::bind(&stack, at(80)).unwrap();
    drop(stack);
    // The socket alone keeps all of them running.
    client.ping([10, 0, 0, 2].into(), b"still there?", PATIENCE).unwrap();
    drop(socket);
    eventually("the first queue is closed", || client.ended().is_some());
    let mut frame = estab::wire::frame::FrameBuf::with_capacity(2000);
    eventually("the second queue is closed", || {
        use estab::link::Link as _;
        end.receive(estab::wire::time::Instant::ZERO, &mut frame).is_err()
    });
    client.stop();
}
