//! Who waits costs nothing. One test in a process of its own: it measures processor time.

mod common;

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, World, at, eventually, host};
use estab::blocking::{TcpListener, TcpStream, UdpSocket};
use estab::link::{PairConfig, pair};

/// Processor time of this process so far, in ticks of 10 ms (proc_pid_stat(5)).
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// A thread that spins would take 50 ticks of this half second; a crowded machine may give it a
/// fifth of that.
fn assert_idle(what: &str) {
    let before = ticks();
    thread::sleep(Duration::from_millis(500));
    let spent = ticks() - before;
    assert!(spent < 8, "{what}: {spent} ticks of processor time in half a second");
}

#[test]
fn who_waits_costs_nothing() {
    let world = World::new();
    let listener = TcpListener::bind(&world.server, at(80)).unwrap();
    let client = TcpStream::connect(&world.client, at(80)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let waits = thread::spawn(move || std::io::Read::read(&mut &client, &mut [0; 1]));
    assert_idle("an open connection with a reader");
    server.write_all(b"!").unwrap();
    assert_eq!(common::join(waits).unwrap(), 1);
    assert_idle("a closed connection");

    // The window is full, and nobody reads.
    let client = TcpStream::connect(&world.client, at(80)).unwrap();
    client.set_nonblocking(true).unwrap();
    let chunk = vec![0; 1 << 20];
    eventually("the buffers are full", || {
        let refused = (&client).write(&chunk).is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        thread::sleep(Duration::from_millis(20));
        refused && (&client).write(&chunk).is_err()
    });
    assert_idle("a peer that does not read");

    // The wire is full, and its other end asleep.
    let mut config = PairConfig::ip(1500);
    config.capacity = 1;
    let (here, asleep) = pair(config).unwrap();
    let stack = host(here, 1);
    let socket = UdpSocket::bind(&stack, "10.0.0.1:0").unwrap();
    for _ in 0..10 {
        let _ = socket.send_to(b"into the wire", at(9));
    }
    assert_idle("a wire that is full");

    // The wire is gone.
    drop(asleep);
    eventually("the loss is seen", || stack.ended().is_some());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(socket.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::NetworkDown);
    assert_idle("a wire that is gone");
    stack.stop();
}
