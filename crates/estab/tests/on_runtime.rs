//! Stacks whose frames a task of the runtime carries.

mod common;
#[path = "common/spread.rs"]
mod spread;

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, assert_same, at, eventually, join, pattern};
use estab::link::{Link, PairConfig, PairEnd, pair};
use estab::net::{TcpListener, TcpStream, UdpSocket};
use estab::{Stack, StackBuilder, blocking};
use spread::spread;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn several_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap()
}

fn hosted(runtime: &Runtime) -> StackBuilder {
    Stack::builder().address([10, 0, 0, 2], 24).on_runtime(runtime.handle())
}

fn client(link: impl Link + 'static) -> Stack {
    Stack::builder().address([10, 0, 0, 1], 24).start(link).unwrap()
}

/// A client with a driver, and a server on the runtime.
fn stacks(runtime: &Runtime) -> (Stack, Stack) {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    (client(here), hosted(runtime).start(there).unwrap())
}

/// A task for each connection gives back what it gets.
async fn echo(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut reader, mut writer) = stream.split();
            // A peer may be gone, or its stack.
            if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
                let _ = writer.shutdown().await;
            }
        });
    }
}

/// Asks `rounds` times over one connection.
async fn ask(stack: Stack, rounds: u32, length: usize) {
    let mut stream = TcpStream::connect(&stack, at(7)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for round in 0..rounds {
        let question = pattern(length, round);
        stream.write_all(&question).await.unwrap();
        let mut answer = vec![0; length];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_same(&answer, &question);
    }
}

fn ask_blocking(stack: &Stack, rounds: u32, length: usize) {
    let mut stream = blocking::TcpStream::connect(stack, at(7)).unwrap();
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

fn many_ask(runtime: &Runtime, client: &Stack, server: &Stack) {
    runtime.block_on(async {
        let listener = TcpListener::bind(server, at(7)).await.unwrap();
        tokio::spawn(echo(listener));
        let asking = (0..12).map(|n| tokio::spawn(ask(client.clone(), 60, 1 + 900 * (n % 7))));
        for task in asking.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

#[test]
fn one_thread_runs_tasks_and_stack() {
    let runtime = one_thread();
    let (client, server) = stacks(&runtime);
    many_ask(&runtime, &client, &server);
    client.stop();
    server.stop();
}

#[test]
fn both_ends_are_on_one_runtime() {
    for runtime in [one_thread(), several_threads()] {
        let (here, there) = pair(PairConfig::ip(1500)).unwrap();
        let client = Stack::builder().address([10, 0, 0, 1], 24).on_runtime(runtime.handle());
        let (client, server) =
            (client.start(here).unwrap(), hosted(&runtime).start(there).unwrap());
        many_ask(&runtime, &client, &server);
        client.stop();
        server.stop();
    }
}

#[test]
fn several_threads_and_several_shards() {
    for runtime in [one_thread(), several_threads()] {
        let (queues, other) = spread(3, 0x9E37_79B9_7F4A_7C15);
        let server: Stack = hosted(&runtime).start_queues(queues).unwrap();
        let client = client(other);
        many_ask(&runtime, &client, &server);
        client.stop();
        server.stop();
    }
}

#[test]
fn the_stacks_own_thread_is_not_needed() {
    let runtime = one_thread();
    let (client, server) = stacks(&runtime);
    runtime.block_on(async {
        let listener = TcpListener::bind(&server, at(7)).await.unwrap();
        tokio::spawn(echo(listener));
        ask(client.clone(), 500, 10).await;
    });
    let activity = server.activity();
    assert!(activity.turns >= 500 && activity.kicks < 50, "{activity:?}");
    assert!(activity.sleeps < 250, "it is the runtime that sleeps: {activity:?}");
    client.stop();
    server.stop();
}

#[test]
fn threads_that_block_and_tasks_beside_each_other_lose_nothing() {
    for runtime in [one_thread(), several_threads()] {
        let (client, server) = stacks(&runtime);
        let blocked = blocking::TcpListener::bind(&server, at(8)).unwrap();
        let threads = thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = blocked.accept().unwrap();
                let mut bytes = [0; 3000];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..count]).unwrap();
                }
            }
        });
        let asks = {
            let client = client.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    let mut stream = blocking::TcpStream::connect(&client, at(8)).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    for _ in 0..300 {
                        stream.write_all(b"?").unwrap();
                        stream.read_exact(&mut [0; 1]).unwrap();
                    }
                }
            })
        };
        many_ask(&runtime, &client, &server);
        join(asks);
        join(threads);
        client.stop();
        server.stop();
    }
}

#[test]
fn a_task_that_computes_for_long_keeps_no_peer_waiting_for_it() {
    let runtime = one_thread();
    let (client, server) = stacks(&runtime);
    let listener = runtime.block_on(TcpListener::bind(&server, at(7))).unwrap();
    let answered = Arc::new(AtomicBool::new(false));
    let asks = {
        let (client, answered) = (client.clone(), Arc::clone(&answered));
        thread::spawn(move || {
            let mut stream = blocking::TcpStream::connect(&client, at(7)).unwrap();
            stream.write_all(b"?").unwrap();
            // While it computes the stack still answers.
            client.ping(at(7).ip(), b"there?", PATIENCE).unwrap();
            answered.store(true, Ordering::SeqCst);
            stream.read_exact(&mut [0; 1]).unwrap();
        })
    };
    runtime.block_on(async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 1]).await.unwrap();
        let begin = Instant::now();
        while !answered.load(Ordering::SeqCst) && begin.elapsed() < PATIENCE / 2 {
            std::hint::spin_loop();
        }
        assert!(answered.load(Ordering::SeqCst), "nobody answers while it computes");
        stream.write_all(b"!").await.unwrap();
        eventually_async(|| asks.is_finished()).await;
    });
    join(asks);
    client.stop();
    server.stop();
}

/// What wakes the task is nothing of the stack's, whose host sleeps.
#[test]
fn a_task_that_a_timer_woke_keeps_no_peer_waiting_either() {
    let runtime = one_thread();
    let (client, server) = stacks(&runtime);
    runtime.block_on(async {
        // All is quiet.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let asks = {
            let client = client.clone();
            thread::spawn(move || client.ping(at(7).ip(), b"there?", PATIENCE))
        };
        let begin = Instant::now();
        while !asks.is_finished() && begin.elapsed() < PATIENCE / 2 {
            std::hint::spin_loop();
        }
        assert!(asks.is_finished(), "nobody answers while it computes");
        join(asks).unwrap();
    });
    client.stop();
    server.stop();
}

async fn eventually_async(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn a_call_that_blocks_in_the_runtime_is_answered() {
    for runtime in [one_thread(), several_threads()] {
        let (client, server) = stacks(&runtime);
        many_ask(&runtime, &client, &server);
        runtime.block_on(async {
            for _ in 0..3 {
                server.ping([10, 0, 0, 1].into(), b"there?", PATIENCE).unwrap();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        });
        client.stop();
        server.stop();
    }
}

#[test]
fn timers_fire_in_a_runtime_that_sleeps() {
    let runtime = one_thread();
    let (here, _silent) = pair(PairConfig::ip(1500)).unwrap();
    let mut config = estab::Config { syn_retries: 1, ..Default::default() };
    config.tcp.rto.initial = Duration::from_millis(20);
    config.tcp.rto.min = Duration::from_millis(10);
    let stack = hosted(&runtime).config(config).start(here).unwrap();
    runtime.block_on(async {
        let nobody = "10.0.0.3:7";
        let refused = TcpStream::connect(&stack, nobody);
        let error = timeout(PATIENCE, refused).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
    stack.stop();
}

#[test]
fn when_the_runtime_ends_the_stacks_own_thread_goes_on() {
    for runtime in [one_thread(), several_threads()] {
        let (client, server) = stacks(&runtime);
        many_ask(&runtime, &client, &server);
        drop(runtime);
        let listener = blocking::TcpListener::bind(&server, at(7)).unwrap();
        let serves = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 3000];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                stream.write_all(&bytes[..count]).unwrap();
            }
        });
        ask_blocking(&client, 100, 10);
        join(serves);
        // Tasks of another runtime, too.
        let other = one_thread();
        many_ask(&other, &client, &server);
        client.stop();
        server.stop();
    }
}

#[test]
fn it_ends_by_stop_and_with_its_last_handle() {
    let runtime = one_thread();
    let (client, server) = stacks(&runtime);
    let (stopped, at_end) = runtime.block_on(async {
        let socket = UdpSocket::bind(&server, at(9)).await.unwrap();
        let stack = server.clone();
        let waits = tokio::spawn(async move { socket.recv_from(&mut [0; 9]).await });
        tokio::task::yield_now().await;
        stack.stop();
        (timeout(PATIENCE, waits).await.unwrap().unwrap(), stack.ended())
    });
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::NetworkDown);
    assert_eq!(at_end.unwrap().kind(), ErrorKind::NetworkDown);
    client.stop();

    let (end, mut other): (PairEnd, PairEnd) = pair(PairConfig::ip(1500)).unwrap();
    let stack = hosted(&runtime).start(end).unwrap();
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(stack);
        let mut frame = estab::wire::frame::FrameBuf::with_capacity(2000);
        let now = estab::wire::time::Instant::ZERO;
        eventually_async(|| other.receive(now, &mut frame).is_err()).await;
    });
}

#[test]
fn stopping_gracefully_delivers_without_the_runtime() {
    let runtime = one_thread();
    let (client, server) = stacks(&runtime);
    let listener = blocking::TcpListener::bind(&client, "10.0.0.1:7").unwrap();
    let reads = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let wanted = pattern(300_000, 1);
    let delivered = runtime.block_on(async {
        let mut stream = TcpStream::connect(&server, "10.0.0.1:7").await.unwrap();
        stream.write_all(&wanted).await.unwrap();
        server.stop_graceful(PATIENCE) // In the runtime's only thread.
    });
    assert!(delivered);
    assert_same(&join(reads), &wanted);
    client.stop();
}

#[test]
fn an_idle_stack_takes_no_turns() {
    let runtime = one_thread();
    let (client, server) = stacks(&runtime);
    many_ask(&runtime, &client, &server);
    let turns = || server.activity().turns;
    // Timers of the last connections may fire yet.
    let settled = |mut before: u64| {
        runtime.block_on(async {
            eventually_async(|| std::mem::replace(&mut before, turns()) == turns()).await;
        });
    };
    settled(u64::MAX);
    let before = turns();
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
    assert!(turns() - before < 10, "{} turns for nothing", turns() - before);
    eventually("it answers all the same", || {
        runtime.block_on(async {
            let client = client.clone();
            let pong = tokio::task::spawn_blocking(move || {
                client.ping(at(7).ip(), b"there?", Duration::from_secs(2))
            });
            pong.await.unwrap().is_ok()
        })
    });
    client.stop();
    server.stop();
}
