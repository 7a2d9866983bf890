//! One shard beside several: what more queues of a TUN device cost, and what they bring, here.
//!
//! ```sh
//! cargo run --release -p estab --example shards -- [SHARDS [SECONDS [ROUNDS]]]
//! ```
//!
//! In a network namespace of its own the kernel talks to a stack with one queue and to one with
//! several, in turn, so that what else the machine does hurts both alike. Shown are the medians of
//! all rounds: the rate, the processor time of both sides for one unit (a gigabyte or a request),
//! and how many frames came to the wrong shard for each unit.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use estab::Stack;
use estab::blocking::TcpListener;
use estab::link::namespace::enter_network;
use estab::link::{Netlink, TunBuilder};

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(OURS), 80);
const CHUNK: usize = 256 << 10;
const REQUEST: &[u8; 64] = &[b'?'; 64];
const LAST_REQUEST: &[u8; 64] = &[b'.'; 64];
const ANSWER: &[u8; 256] = &[b'!'; 256];

/// What is measured: how many clients do what, and the units of what they count.
const ROWS: &[Row] = &[
    Row::bulk("bulk to us, 1 stream", 1, send),
    Row::bulk("bulk to us, 4 streams", 4, send),
    Row::bulk("bulk from us, 1 stream", 1, receive),
    Row::bulk("bulk from us, 4 streams", 4, receive),
    Row::requests("requests, 32 connections", 32, ask),
    Row::requests("connect, request, close, 8", 8, visit),
];

/// Counts what it did into the number, until it is told to stop.
type Client = fn(&AtomicBool, &AtomicU64) -> io::Result<()>;

struct Row {
    name: &'static str,
    clients: usize,
    client: Client,
    /// What the rate and the processor time are shown in, and the factors that make it that.
    rate: (f64, &'static str),
    cost: (f64, &'static str),
}

impl Row {
    const fn bulk(name: &'static str, clients: usize, client: Client) -> Self {
        Self { name, clients, client, rate: (8e-9, "Gbit/s"), cost: (1e9, "s/GB") }
    }

    const fn requests(name: &'static str, clients: usize, client: Client) -> Self {
        Self { name, clients, client, rate: (1e-3, "k/s"), cost: (1e6, "us") }
    }
}

/// What one run gave, each for one byte or request.
struct Run {
    rate: f64,
    cost: f64,
    handed_over: f64,
}

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default)).map_err(io::Error::other);
    let (shards, seconds, rounds) = (next(2)?, next(1)?, next(5)?);
    enter_network()?;
    println!("{:<28}{:>9}{shards:>9}{:>16}{shards:>9}{:>14}", "shards", 1, 1, "handed over");
    for row in ROWS {
        let (mut one, mut several) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            one.push(measure(row, 1, seconds as u64)?);
            several.push(measure(row, shards, seconds as u64)?);
        }
        let ((rate, rate_unit), (cost, cost_unit)) = (row.rate, row.cost);
        let of = |runs: &[Run], value: fn(&Run) -> f64| median(runs.iter().map(value).collect());
        print!("{:<28}", row.name);
        let rates = (of(&one, |run| run.rate) * rate, of(&several, |run| run.rate) * rate);
        print!("{:>9.1}{:>9.1} {rate_unit:<6}", rates.0, rates.1);
        let costs = (of(&one, |run| run.cost) * cost, of(&several, |run| run.cost) * cost);
        print!("{:>9.3}{:>9.3} {cost_unit:<6}", costs.0, costs.1);
        println!(
            "{:>7.2}",
            of(&several, |run| run.handed_over) * if cost > 1e8 { cost } else { 1.0 }
        );
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The processor time of this process, which is stack, programs and the kernel's side in one.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// One row in one run.
fn measure(row: &Row, shards: usize, seconds: u64) -> io::Result<Run> {
    let queues = TunBuilder::new().name("estab0").mtu(1500).open_queues(shards)?;
    let mut kernel = Netlink::open()?;
    kernel.add_address("estab0", KERNEL.into(), 24)?;
    kernel.set_up("estab0")?;
    let stack = Stack::builder().address(OURS, 24).start_queues(queues)?;
    let listener = TcpListener::bind(&stack, SERVER)?;
    let server = thread::spawn(move || serve(&listener));
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<JoinHandle<io::Result<()>>> = (0..row.clients)
        .map(|_| {
            let (stop, count, client) = (Arc::clone(&stop), Arc::clone(&count), row.client);
            thread::spawn(move || client(&stop, &count))
        })
        .collect();
    // The windows open, and the kernel learns its flows.
    thread::sleep(Duration::from_millis(200));
    let look = || (count.load(Ordering::Relaxed) as f64, stack.counters().handed_over() as f64);
    let (before, handed_before) = look();
    let (start, processor) = (Instant::now(), processor_time());
    thread::sleep(Duration::from_secs(seconds));
    let (after, handed_after) = look();
    let (time, processor) = (start.elapsed().as_secs_f64(), processor_time() - processor);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().map_err(|_| io::Error::other("a client panicked"))??;
    }
    stack.stop();
    server.join().map_err(|_| io::Error::other("the server panicked"))?;
    let done = (after - before).max(1.0);
    let handed_over = (handed_after - handed_before) / done;
    Ok(Run { rate: done / time, cost: processor / done, handed_over })
}

/// Serves each connection by a thread, until the stack ends.
fn serve(listener: &TcpListener) {
    while let Ok((stream, _)) = listener.accept() {
        // A client that goes away ends its thread, and that is all.
        thread::spawn(move || drop(answer(stream)));
    }
}

/// The first byte says what the client wants: to send, to receive, to ask once, or to go on asking.
fn answer(mut stream: estab::blocking::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; CHUNK];
    let count = stream.read(&mut buffer)?;
    match buffer.first() {
        Some(b's') => while stream.read(&mut buffer)? > 0 {},
        Some(b'r') => loop {
            stream.write_all(&buffer)?;
        },
        Some(b'.') => stream.write_all(ANSWER)?,
        _ => {
            let mut got = count;
            while got > 0 {
                if got % REQUEST.len() == 0 {
                    stream.write_all(ANSWER)?;
                }
                let more = stream.read(&mut buffer)?;
                got = if more == 0 { 0 } else { got % REQUEST.len() + more };
            }
        }
    }
    Ok(())
}

fn connect(wish: &[u8]) -> io::Result<std::net::TcpStream> {
    let mut stream = std::net::TcpStream::connect(SERVER)?;
    stream.set_nodelay(true)?;
    stream.write_all(wish)?;
    Ok(stream)
}

fn send(stop: &AtomicBool, count: &AtomicU64) -> io::Result<()> {
    let (mut stream, buffer) = (connect(b"s")?, vec![0; CHUNK]);
    while !stop.load(Ordering::Relaxed) {
        count.fetch_add(stream.write(&buffer)? as u64, Ordering::Relaxed);
    }
    Ok(())
}

fn receive(stop: &AtomicBool, count: &AtomicU64) -> io::Result<()> {
    let (mut stream, mut buffer) = (connect(b"r")?, vec![0; CHUNK]);
    while !stop.load(Ordering::Relaxed) {
        count.fetch_add(stream.read(&mut buffer)? as u64, Ordering::Relaxed);
    }
    Ok(())
}

fn ask(stop: &AtomicBool, count: &AtomicU64) -> io::Result<()> {
    let (mut stream, mut answer) = (connect(REQUEST)?, *ANSWER);
    while !stop.load(Ordering::Relaxed) {
        stream.read_exact(&mut answer)?;
        count.fetch_add(1, Ordering::Relaxed);
        stream.write_all(REQUEST)?;
    }
    Ok(())
}

/// The server closes first, so that the kernel does not run out of ports.
fn visit(stop: &AtomicBool, count: &AtomicU64) -> io::Result<()> {
    let mut answer = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        answer.clear();
        connect(LAST_REQUEST)?.read_to_end(&mut answer)?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
