//! The blocking sockets over a wire in memory: what `std::net` promises, ours keep.

mod common;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, World, assert_same, at, eventually, join, pattern};
use estab::blocking::{TcpListener, TcpStream};
use estab::bytes::Bytes;
use estab::link::{Impair, Impairment, Loss, PairConfig, pair};
use estab::{KeepAlive, Stack, State, TcpOptions};

/// A connection, both ends of it.
fn connected(world: &World, port: u16) -> (TcpStream, TcpStream) {
    connected_with(world, port, &TcpOptions::default())
}

/// A connection that takes a megabyte which nobody reads yet.
fn roomy(world: &World, port: u16) -> (TcpStream, TcpStream) {
    let room = Some(2 << 20);
    let options = TcpOptions { send_buffer: room, receive_buffer: room, ..TcpOptions::default() };
    connected_with(world, port, &options)
}

fn connected_with(world: &World, port: u16, options: &TcpOptions) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind_with(&world.server, at(port), 8, options).unwrap();
    let client = TcpStream::connect_with(&world.client, None, at(port), options).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

#[test]
fn segments_are_clamped_on_a_link_that_says_so() {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let clamped = Stack::builder().address([10, 0, 0, 2], 24).mss_clamp(1000);
    let world = World { client: common::host(here, 1), server: clamped.start(there).unwrap() };
    let (client, server) = connected(&world, 7);
    for stream in [&client, &server] {
        // Less the timestamps.
        assert_eq!(stream.info().unwrap().snd_mss, 988);
    }
    let (_here, there) = pair(PairConfig::ip(1500)).unwrap();
    let error = Stack::builder().mss_clamp(0).start(there).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn echo_with_addresses_and_info() {
    let world = World::new();
    let (mut client, mut server) = connected(&world, 7);
    assert_eq!(client.peer_addr().unwrap(), at(7));
    assert_eq!(server.local_addr().unwrap(), at(7));
    assert_eq!(client.info().unwrap().state, State::Established);

    client.write_all(b"who is there?").unwrap();
    let mut bytes = [0; 13];
    server.read_exact(&mut bytes).unwrap();
    server.write_all(&bytes).unwrap();
    let mut answer = [0; 13];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"who is there?");
    assert_eq!(client.info().unwrap().bytes_received, 13);
    assert!(client.take_error().unwrap().is_none());
}

fn transfer_both_ways(world: &World, length: usize) {
    let (client, server) = connected(world, 9);
    let threads = [(client, 1, 2), (server, 2, 1)].map(|(stream, own, others)| {
        thread::spawn(move || {
            let (mut reader, mut writer) = stream.into_split();
            let sender = thread::spawn(move || writer.write_all(&pattern(length, own)).unwrap());
            let mut received = Vec::new();
            reader.read_to_end(&mut received).unwrap();
            assert_same(&received, &pattern(length, others));
            join(sender);
        })
    });
    threads.into_iter().for_each(join);
}

#[test]
fn megabytes_both_ways_with_split_halves() {
    transfer_both_ways(&World::new(), 8 << 20);
}

#[test]
fn megabytes_both_ways_without_offload() {
    transfer_both_ways(&World::on(PairConfig::ip(1500).without_offload()), 2 << 20);
}

#[test]
fn megabytes_through_a_wire_that_is_always_full() {
    let mut config = PairConfig::ip(1500);
    config.capacity = 2;
    transfer_both_ways(&World::on(config), 1 << 20);
}

#[test]
fn a_bad_link_loses_nothing() {
    let bad = Impairment {
        loss: Loss::Random(0.02),
        delay: Duration::from_millis(2),
        reorder: 0.02,
        duplicate: 0.01,
        corrupt: 0.005,
        ..Impairment::default()
    };
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let client =
        Stack::builder().address([10, 0, 0, 1], 24).start(Impair::new(here, bad, bad, 42)).unwrap();
    let world = World { client, server: common::host(there, 2) };
    transfer_both_ways(&world, 200_000);
}

#[test]
fn the_client_closes_its_half_and_still_receives() {
    let world = World::new();
    let (mut client, mut server) = connected(&world, 10);
    let (question, answer) = (pattern(300_000, 3), pattern(400_000, 4));
    let reply = answer.clone();
    let thread = thread::spawn(move || {
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        server.write_all(&reply).unwrap();
        received
    });
    client.write_all(&question).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_same(&received, &answer);
    assert_same(&join(thread), &question);
}

#[test]
fn the_server_closes_its_half_and_still_receives() {
    let world = World::new();
    let (mut client, mut server) = connected(&world, 11);
    server.write_all(b"bye").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let mut end = Vec::new();
    client.read_to_end(&mut end).unwrap();
    assert_eq!(end, b"bye");
    let late = pattern(200_000, 5);
    let wanted = late.clone();
    let thread = thread::spawn(move || {
        client.write_all(&late).unwrap();
    });
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert_same(&received, &wanted);
    join(thread);
}

#[test]
fn dropping_delivers_what_was_written() {
    let world = World::new();
    let (mut client, mut server) = roomy(&world, 12);
    let wanted = pattern(1 << 20, 6);
    client.write_all(&wanted).unwrap();
    drop(client);
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert_same(&received, &wanted);
}

#[test]
fn nobody_listens_refused() {
    let world = World::new();
    let error = TcpStream::connect(&world.client, at(81)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<estab::stack::Error>());
    assert_eq!(inner, Some(&estab::stack::Error::ConnectionRefused));
}

#[test]
fn nobody_answers_timed_out() {
    // The other end of the wire is held, and nobody reads it.
    let (here, _silent) = pair(PairConfig::ip(1500)).unwrap();
    let stack = common::host(here, 1);
    let before = Instant::now();
    let timeout = Duration::from_millis(150);
    let error = TcpStream::connect_timeout(&stack, &at(80), timeout).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(before.elapsed() >= timeout);
    let options = TcpOptions::default();
    let from = |local: &str, timeout| {
        let local = Some(local.parse().unwrap());
        TcpStream::connect_timeout_with(&stack, local, at(80), &options, timeout)
            .unwrap_err()
            .kind()
    };
    let ours = stack.addresses()[0].0;
    assert_eq!(from(&format!("{ours}:0"), timeout), ErrorKind::TimedOut);
    assert_eq!(from("203.0.113.1:0", timeout), ErrorKind::AddrNotAvailable);
    let zero = TcpStream::connect_timeout(&stack, &at(80), Duration::ZERO).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
    stack.stop();
}

#[test]
fn no_route_unreachable() {
    let world = World::new();
    let error = TcpStream::connect(&world.client, "192.0.2.1:80").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
}

#[test]
fn wrong_addresses_are_told_apart() {
    let world = World::new();
    let _first = TcpListener::bind(&world.server, at(82)).unwrap();
    let taken = TcpListener::bind(&world.server, at(82)).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    let foreign = TcpListener::bind(&world.server, "10.9.9.9:80").unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
    let nowhere: &[SocketAddr] = &[];
    let none = TcpStream::connect(&world.client, nowhere).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidInput);
    let any = TcpListener::bind(&world.server, "0.0.0.0:0").unwrap();
    assert_ne!(any.local_addr().unwrap().port(), 0);
}

#[test]
fn a_reset_reaches_the_reader_after_the_data_before_it() {
    let world = World::new();
    let (mut client, server) = connected(&world, 13);
    let reader = thread::spawn(move || client.read(&mut [0; 10]).unwrap_err().kind());
    server.reset().unwrap();
    assert_eq!(join(reader), ErrorKind::ConnectionReset);
}

#[test]
fn who_waits_on_a_clone_learns_of_shutdown_and_reset() {
    let world = World::new();
    let waiting = |port: u16| {
        let (client, server) = connected(&world, port);
        let mut clone = client.try_clone().unwrap();
        clone.set_read_timeout(None).unwrap();
        let reader = thread::spawn(move || clone.read(&mut [0; 1]));
        thread::sleep(Duration::from_millis(20));
        (client, server, reader)
    };
    let (client, _server, reader) = waiting(40);
    client.shutdown(Shutdown::Read).unwrap();
    assert_eq!(join(reader).unwrap(), 0);
    let (client, _server, reader) = waiting(41);
    client.reset().unwrap();
    assert!(join(reader).is_err());
}

#[test]
fn closing_with_unread_data_resets() {
    let world = World::new();
    let (mut client, server) = connected(&world, 14);
    client.write_all(b"nobody reads this").unwrap();
    let mut peeked = [0; 4];
    assert_eq!(server.peek(&mut peeked).unwrap(), 4);
    assert_eq!(&peeked, b"nobo");
    drop(server);
    let error = client.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn linger_waits_for_the_last_acknowledgment() {
    let world = World::new();
    let (mut client, mut server) = roomy(&world, 15);
    let wanted = pattern(500_000, 7);
    client.write_all(&wanted).unwrap();
    client.set_linger(Some(PATIENCE)).unwrap();
    assert_eq!(client.linger().unwrap(), Some(PATIENCE));
    drop(client);
    // Nothing waits on the client's side any more, although the server has not read.
    let unsent = |entry: &estab::SocketEntry| {
        entry.send_queue > 0 || matches!(entry.state, State::FinWait1 | State::LastAck)
    };
    assert!(!world.client.sockets().iter().any(unsent), "{:?}", world.client.sockets());
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert_same(&received, &wanted);
}

#[test]
fn linger_of_zero_resets() {
    let world = World::new();
    let (client, mut server) = connected(&world, 16);
    client.set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_backlog_of_n_admits_n_and_one() {
    let world = World::new();
    let options = TcpOptions::default();
    let listener = TcpListener::bind_with(&world.server, at(17), 2, &options).unwrap();
    let streams: Vec<_> =
        (0..3).map(|_| TcpStream::connect(&world.client, at(17)).unwrap()).collect();
    let waiting = || {
        let entries = world.server.sockets();
        entries.iter().find(|entry| entry.state == State::Listen).unwrap().receive_queue
    };
    eventually("three wait", || waiting() == 3);
    // A fourth gets in once there is room: its SYN is sent again.
    let client = world.client.clone();
    let fourth = thread::spawn(move || TcpStream::connect(&client, at(17)).unwrap());
    for stream in &streams {
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, stream.local_addr().unwrap());
    }
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer, join(fourth).local_addr().unwrap());
}

#[test]
fn timeouts_say_would_block() {
    let world = World::new();
    let (mut client, _server) = connected(&world, 18);
    client.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_millis(30)));
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
    let chunk = vec![0; 1 << 20];
    let error = (0..1000).find_map(|_| client.write(&chunk).err()).expect("buffers are bounded");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let zero = client.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
}

#[test]
fn nonblocking_never_waits() {
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(19)).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut client = TcpStream::connect(&world.client, at(19)).unwrap();
    let mut server = None;
    eventually("accepted", || {
        server = listener.accept().ok();
        server.is_some()
    });
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let chunk = vec![0; 1 << 20];
    let error = (0..1000).find_map(|_| client.write(&chunk).err()).expect("buffers are bounded");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn vectored_both_ways() {
    let world = World::new();
    let (mut client, mut server) = connected(&world, 20);
    let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
    assert_eq!(client.write_vectored(&parts).unwrap(), 7);
    client.shutdown(Shutdown::Write).unwrap();
    eventually("all is there", || server.peek(&mut [0; 8]).unwrap() == 7);
    let (mut first, mut second, mut third) = ([0; 3], [0; 4], [0; 9]);
    let mut into =
        [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second), IoSliceMut::new(&mut third)];
    assert_eq!(server.read_vectored(&mut into).unwrap(), 7);
    assert_eq!((&first, &second), (b"one", b" two"));
    assert_eq!(server.read(&mut third).unwrap(), 0);
}

#[test]
fn options_are_kept() {
    let world = World::new();
    let (client, _server) = connected(&world, 21);
    client.set_nodelay(true).unwrap();
    client.set_ttl(3).unwrap();
    assert!(client.nodelay().unwrap());
    assert_eq!(client.ttl().unwrap(), 3);
    assert_eq!(client.set_ttl(256).unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut options = client.options().unwrap();
    options.keepalive = Some(KeepAlive::default());
    options.user_timeout = Some(Duration::from_secs(9));
    client.set_options(options).unwrap();
    let options = client.options().unwrap();
    assert_eq!(options.keepalive, Some(KeepAlive::default()));
    assert_eq!(options.user_timeout, Some(Duration::from_secs(9)));
    assert!(options.nodelay);
}

#[test]
fn halves_reunite_only_with_their_own() {
    let world = World::new();
    let (client, server) = connected(&world, 22);
    let (client_reader, client_writer) = client.into_split();
    let (server_reader, server_writer) = server.into_split();
    let error = client_reader.reunite(server_writer).unwrap_err();
    let (client_reader, server_writer) = (error.0, error.1);
    let mut client = client_reader.reunite(client_writer).unwrap();
    let mut server = server_reader.reunite(server_writer).unwrap();
    client.write_all(b"x").unwrap();
    let mut byte = [0];
    server.read_exact(&mut byte).unwrap();
    drop(client.try_clone().unwrap());
    client.write_all(b"y").unwrap();
    server.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"y");
}

#[test]
fn stop_wakes_everybody_who_waits() {
    let world = World::new();
    let (client, _server) = connected(&world, 23);
    let listener = TcpListener::bind(&world.client, "0.0.0.0:24").unwrap();
    let reader = {
        let mut client = client.try_clone().unwrap();
        client.set_read_timeout(None).unwrap();
        thread::spawn(move || client.read(&mut [0; 1]).unwrap_err().kind())
    };
    let writer = {
        let mut client = client.try_clone().unwrap();
        client.set_write_timeout(None).unwrap();
        thread::spawn(move || client.write_all(&vec![0; 64 << 20]).unwrap_err().kind())
    };
    let acceptor = thread::spawn(move || listener.accept().unwrap_err().kind());
    // No way to see that they wait; most of the time they do by then.
    thread::sleep(Duration::from_millis(50));
    world.client.stop();
    for thread in [reader, writer, acceptor] {
        assert_eq!(join(thread), ErrorKind::NetworkDown);
    }
    assert_eq!(world.client.ended().unwrap().kind(), ErrorKind::NetworkDown);
    assert!(world.client.sockets().is_empty());
    let error = TcpStream::connect(&world.client, at(23)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkDown);
    world.client.stop();
}

#[test]
fn stop_resets_what_is_open() {
    let world = World::new();
    let (_client, mut server) = connected(&world, 25);
    world.client.stop();
    // Either the reset, or the loss of the wire behind it.
    let kind = server.read(&mut [0; 1]).unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::NetworkDown), "{kind:?}");
}

#[test]
fn a_graceful_stop_delivers_first() {
    let world = World::new();
    let (mut client, mut server) = roomy(&world, 26);
    let wanted = pattern(700_000, 8);
    client.write_all(&wanted).unwrap();
    assert!(world.client.stop_graceful(PATIENCE));
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert_same(&received, &wanted);
    // The wire is gone with its other end.
    eventually("the loss is seen", || world.server.ended().is_some());
    let error = world.server.ended().unwrap();
    assert_eq!(error.kind(), ErrorKind::NetworkDown);
    assert!(error.to_string().contains("pair is gone"), "{error}");
}

#[test]
fn many_connections_at_once() {
    const CLIENTS: usize = 64;
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(27)).unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let server = thread::spawn(move || {
        let mut threads = Vec::new();
        for stream in listener.incoming().take(CLIENTS) {
            let count = Arc::clone(&count);
            threads.push(thread::spawn(move || {
                let (mut reader, mut writer) = stream.unwrap().into_split();
                std::io::copy(&mut reader, &mut writer).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }));
        }
        threads.into_iter().for_each(join);
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let stack = world.client.clone();
            thread::spawn(move || {
                let wanted = pattern(20_000, u32::try_from(index).unwrap());
                let mut stream = TcpStream::connect(&stack, at(27)).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
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
    assert_eq!(served.load(Ordering::Relaxed), CLIENTS);
}

#[test]
fn short_connections_leave_only_time_waits() {
    const CONNECTIONS: usize = 2_000;
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(50)).unwrap();
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(CONNECTIONS) {
            let mut stream = stream.unwrap();
            let mut question = [0; 8];
            stream.read_exact(&mut question).unwrap();
            stream.write_all(&question).unwrap();
        }
    });
    for number in 0..CONNECTIONS {
        let question = u64::try_from(number).unwrap().to_be_bytes();
        let mut stream = TcpStream::connect(&world.client, at(50)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&question).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, question);
    }
    join(server);
    let rest = |stack: &Stack| -> Vec<_> {
        let entries = stack.sockets().into_iter();
        entries.filter(|entry| entry.state != State::TimeWait).collect()
    };
    eventually("only TIME-WAITs are left", || {
        rest(&world.client).is_empty() && rest(&world.server).is_empty()
    });
    assert_eq!(world.server.sockets().len(), CONNECTIONS, "who closes first waits");
}

#[test]
fn ping_pong_never_stalls() {
    // The shape in which a lost wake-up shows: each side always waits for the other.
    const ROUNDS: usize = 5_000;
    let world = World::new();
    let (mut client, mut server) = connected(&world, 28);
    let echo = thread::spawn(move || {
        let mut byte = [0];
        for _ in 0..ROUNDS {
            server.read_exact(&mut byte).unwrap();
            server.write_all(&byte).unwrap();
        }
    });
    let mut byte = [0];
    for round in 0..ROUNDS {
        let sent = [u8::try_from(round % 251).unwrap()];
        client.write_all(&sent).unwrap();
        client.read_exact(&mut byte).unwrap();
        assert_eq!(byte, sent);
    }
    join(echo);
}

#[test]
fn several_stacks_and_a_loopback_in_each() {
    let worlds = [World::new(), World::new(), World::new()];
    let streams: Vec<_> = worlds.iter().map(|world| connected(world, 29)).collect();
    for (mut client, mut server) in streams {
        client.write_all(b"!").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    let own: &Stack = &worlds[0].client;
    let listener = TcpListener::bind(own, "127.0.0.1:30").unwrap();
    let mut client = TcpStream::connect(own, "127.0.0.1:30").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let wanted = pattern(3 << 20, 9);
    let sent = wanted.clone();
    let sender = thread::spawn(move || client.write_all(&sent).unwrap());
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert_same(&received, &wanted);
    join(sender);
}

#[test]
fn the_trace_shows_the_handshake() {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let (sender, events) = std::sync::mpsc::channel();
    let client = Stack::builder()
        .address([10, 0, 0, 1], 24)
        .trace(Box::new(move |event| {
            let _ = sender.send(event.clone());
        }))
        .start(here)
        .unwrap();
    let server = common::host(there, 2);
    let _listener = TcpListener::bind(&server, at(31)).unwrap();
    let _stream = TcpStream::connect(&client, at(31)).unwrap();
    let established = |event: &estab::TraceEvent| {
        matches!(&event.what, estab::stack::trace::What::Transition { to: State::Established, .. })
    };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if established(&events.recv_timeout(PATIENCE).expect("an event")) {
            client.stop();
            server.stop();
            return;
        }
    }
    panic!("no transition to ESTABLISHED in the trace");
}

#[test]
fn frames_and_buffers_change_hands_without_a_copy() {
    let world = World::new();
    let (client, server) = connected(&world, 30);
    let data = pattern(3 << 20, 9);
    let proxy = thread::spawn(move || {
        let mut frames = Vec::new();
        let mut total = 0;
        while let count @ 1.. = server.read_frames(&mut frames).unwrap() {
            assert_eq!(frames.iter().map(|frame| frame.len()).sum::<usize>(), count);
            total += count;
            for frame in frames.drain(..) {
                server.write_all_bytes(&mut frame.into()).unwrap();
            }
        }
        total
    });
    let (mut reader, mut writer) = client.into_split();
    let mut rest = Bytes::from(data.clone());
    let kept = rest.clone();
    let sender = thread::spawn(move || {
        while !rest.is_empty() {
            assert!(writer.write_bytes(&mut rest).unwrap() > 0);
        }
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    assert_same(&received, &data);
    join(sender);
    assert_eq!(join(proxy), data.len());
    eventually("the stack lets go of the buffer", || kept.is_unique());
}

#[test]
fn a_frame_outlives_its_stack() {
    let world = World::new();
    let (mut client, server) = connected(&world, 31);
    client.write_all(&pattern(5_000, 1)).unwrap();
    let mut frames = Vec::new();
    let mut count = 0;
    while count < 5_000 {
        count += server.read_frames(&mut frames).unwrap();
    }
    world.server.stop();
    assert_eq!(server.read_frames(&mut frames).unwrap_err().kind(), ErrorKind::NetworkDown);
    drop((server, world));
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.iter().copied()).collect();
    assert_same(&bytes, &pattern(5_000, 1));
}

#[test]
fn what_arrived_is_lent_and_taken_in_part() {
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(7)).unwrap();
    let mut client = TcpStream::connect(&world.client, at(7)).unwrap();
    eventually("it waits", || listener.waiting().unwrap() == 1);
    let (server, _) = listener.accept().unwrap();
    assert_eq!(listener.waiting().unwrap(), 0);
    let nothing = server.try_read_with(|_| Ok(0)).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    client.write_all(b"who is there?").unwrap();
    server.peek(&mut [0; 1]).unwrap();
    let mut all: Vec<u8> = Vec::new();
    let taken = server.try_read_with(|slices| {
        slices.iter().for_each(|slice| all.extend_from_slice(slice));
        Ok(4)
    });
    assert_eq!((taken.unwrap(), all.as_slice()), (4, b"who is there?".as_slice()));
    // An error takes nothing.
    server.try_read_with(|_| Err(ErrorKind::Other.into())).unwrap_err();
    let mut rest = [0; 9];
    (&server).read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"is there?");
    client.shutdown(Shutdown::Write).unwrap();
    server.peek(&mut [0; 1]).unwrap();
    let end = server.try_read_with(|slices| {
        assert!(slices.is_empty(), "the end of the stream");
        Ok(0)
    });
    assert_eq!(end.unwrap(), 0);
}

#[test]
fn a_recording_has_what_a_call_does_when_it_returns() {
    use estab::core::trace::What;
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(7)).unwrap();
    let client = TcpStream::connect(&world.client, at(7)).unwrap();
    let (_server, _) = listener.accept().unwrap();
    let recording = world.client.record();
    client.shutdown(Shutdown::Write).unwrap();
    let sent = |events: &[estab::TraceEvent]| {
        let is_sent = |event: &&estab::TraceEvent| matches!(event.what, What::SegmentOut { .. });
        events.iter().filter(is_sent).count()
    };
    assert_eq!(sent(&recording.take()), 1, "FIN");
    drop(recording);
    let later = world.client.record();
    assert_eq!(sent(&later.take()), 0, "nothing is kept for who comes later");
    assert_eq!(world.client.config().unwrap().syn_retries, 6);
}
