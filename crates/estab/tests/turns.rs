//! Who carries the frames: the driver and the threads that wait take turns, and nobody is forgotten.

mod common;

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, World, assert_same, at, join, pattern};
use estab::blocking::{TcpListener, TcpStream};
use estab::link::{PairConfig, pair};

/// Gives back what it gets.
fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        stream.write_all(&bytes[..count]).unwrap();
    }
}

fn exchange(stream: &mut TcpStream, length: usize, salt: u32) {
    let question = pattern(length, salt);
    stream.write_all(&question).unwrap();
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).unwrap();
    assert_same(&answer, &question);
}

fn connect(world: &World) -> TcpStream {
    let stream = TcpStream::connect(&world.client, at(7)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// An echo server with a thread for each of `connections`, and one that waits for more.
fn serve(world: &World, connections: usize) -> thread::JoinHandle<()> {
    let listener = TcpListener::bind(&world.server, at(7)).unwrap();
    thread::spawn(move || {
        let accepted: Vec<_> = (0..connections).map(|_| listener.accept().unwrap().0).collect();
        let threads: Vec<_> =
            accepted.into_iter().map(|stream| thread::spawn(move || echo(stream))).collect();
        threads.into_iter().for_each(join);
    })
}

#[test]
fn a_thread_that_waits_carries_the_frames_itself() {
    let world = World::new();
    let server = serve(&world, 1);
    let mut stream = connect(&world);
    for round in 0..500 {
        exchange(&mut stream, 10, round);
    }
    let activity = world.client.activity();
    assert!(activity.kicks < 50, "the driver is not called for each exchange: {activity:?}");
    drop(stream);
    join(server);
}

#[test]
fn who_computes_for_long_keeps_nobody_waiting() {
    let world = World::new();
    let server = serve(&world, 6);
    let streams: Vec<_> = (0..6).map(|_| connect(&world)).collect();
    let threads: Vec<_> = streams
        .into_iter()
        .enumerate()
        .map(|(n, mut stream)| {
            thread::spawn(move || {
                for round in 0..100 {
                    exchange(&mut stream, 1 + 700 * n, round);
                    let busy = Instant::now();
                    while n == 5 && busy.elapsed() < Duration::from_millis(3) {
                        std::hint::spin_loop();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(join);
    join(server);
}

#[test]
fn an_idle_stack_takes_no_turns() {
    let world = World::new();
    let server = serve(&world, 1);
    let mut stream = connect(&world);
    exchange(&mut stream, 10_000, 1);
    let before = world.server.activity();
    for _ in 0..100 {
        world.client.ping(at(7).ip(), b"there?", PATIENCE).unwrap();
    }
    let after = world.server.activity();
    let (turns, frames) = (after.turns - before.turns, after.received - before.received);
    // Besides the pings: the last ACKs, each timer that was left standing, a change of who leads.
    assert!(frames < 110 && turns < frames + 10, "{turns} turns for {frames} frames");
    drop(stream);
    join(server);
}

#[test]
fn stopping_ends_whoever_leads() {
    for _ in 0..20 {
        let world = World::new();
        let _server = serve(&world, 1);
        let mut stream = connect(&world);
        exchange(&mut stream, 10, 1);
        let reader = thread::spawn(move || stream.read(&mut [0; 1]).unwrap_err().kind());
        world.client.ping(at(7).ip(), b"there?", PATIENCE).unwrap();
        world.client.stop();
        assert_eq!(join(reader), std::io::ErrorKind::NetworkDown);
    }
}

#[test]
fn a_driver_that_polls_sleeps_no_more_and_can_be_stopped() {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    // So long that it is never over by chance.
    let bound = Duration::from_secs(3600);
    let builder = estab::Stack::builder().address([10, 0, 0, 2], 24).busy_poll(bound);
    let world = World { client: common::host(here, 1), server: builder.start(there).unwrap() };
    world.client.ping(at(7).ip(), b"there?", PATIENCE).unwrap();
    let before = world.server.activity();
    for _ in 0..50 {
        world.client.ping(at(7).ip(), b"there?", PATIENCE).unwrap();
    }
    let after = world.server.activity();
    assert_eq!(after.received - before.received, 50);
    assert!(after.sleeps <= before.sleeps + 1 && after.polls > before.polls, "{after:?}");
    world.server.stop();
}
