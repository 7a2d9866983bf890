//! How many instructions the hot paths take: `cargo xtask counts` compares them with
//! `docs/counts.toml`.
//!
//! Each bench hands a stack that is warm (its pools are filled, its tables have grown) a batch of the
//! same work. The counts are those of a processor that is simulated (Valgrind's Callgrind), so they
//! are the same in every run and on every machine with the same compiler.

#![allow(missing_docs, reason = "the macros make modules")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use estab_stack::{Config, ConnectionId, HeaderBuf, InterfaceId, ListenerId, Stack, TcpOptions};
use gungraun::{library_benchmark, library_benchmark_group, main};
use wire::frame::{
    Capabilities, FrameBuf, MAX_FRAME, Medium, ReceiveChecksum, ReceiveMeta, TransmitMeta,
};
use wire::time::Instant;

/// How much of the same work one bench measures.
const BATCH: usize = 64;
/// The payload of a full segment: 1500 bytes less the headers and the timestamps.
const SEGMENT: usize = 1448;
/// What one super-segment carries.
const SUPER_SEGMENT: usize = 44 * SEGMENT;

/// A host on a link with offload.
struct Host {
    stack: Stack,
    interface: InterfaceId,
    header: HeaderBuf,
}

/// A frame under way.
struct Packet {
    frame: FrameBuf,
    meta: ReceiveMeta,
}

impl Host {
    fn new(last: u8) -> Self {
        let config = Config { time_wait: Duration::from_secs(60), ..Config::default() };
        let mut stack = Stack::new(config, [last; 32]);
        let interface = stack.add_interface(Capabilities {
            medium: Medium::Ip,
            mtu: 1500,
            checksum: true,
            segmentation: true,
        });
        stack.add_address(interface, address(last), 8).expect("an address");
        Self { stack, interface, header: HeaderBuf::default() }
    }

    /// The next packet, in a buffer of the size that a driver uses.
    fn next(&mut self, now: Instant) -> Option<Packet> {
        let packet = self.stack.poll_transmit(now, &mut self.header)?;
        let mut frame = FrameBuf::with_capacity(MAX_FRAME);
        frame.append(packet.header);
        for slice in &packet.payload {
            frame.append(slice);
        }
        Some(Packet { frame, meta: meta_of(&packet.meta) })
    }

    fn take(&mut self, now: Instant, packet: Packet) {
        self.stack.handle_frame(now, self.interface, packet.frame, packet.meta);
    }

    fn forget_events(&mut self) {
        while self.stack.poll_event().is_some() {}
    }
}

/// Without Nagle's algorithm: each write is a segment.
fn options() -> TcpOptions {
    TcpOptions { nodelay: true, ..TcpOptions::default() }
}

fn meta_of(meta: &TransmitMeta) -> ReceiveMeta {
    ReceiveMeta { checksum: ReceiveChecksum::Partial, segment_size: meta.segment_size }
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

/// Two hosts and a connection between them: the client is the first.
struct Pair {
    hosts: [Host; 2],
    listener: ListenerId,
    ends: [ConnectionId; 2],
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::from_millis(1);
        let mut hosts = [Host::new(1), Host::new(2)];
        let server = SocketAddr::new(address(2), 80);
        let listener = hosts[1].stack.listen(now, server, 4096, options());
        let listener = listener.expect("a free port");
        let mut pair = Self { hosts, listener, ends: [ConnectionId::default(); 2], now };
        pair.ends = pair.open();
        pair
    }

    /// One connection more.
    fn open(&mut self) -> [ConnectionId; 2] {
        let server = SocketAddr::new(address(2), 80);
        let client = self.hosts[0].stack.connect(self.now, None, server, options());
        let client = client.expect("a connection");
        self.exchange();
        let (server, _) = self.hosts[1].stack.accept(self.now, self.listener).expect("it waits");
        [client, server]
    }

    fn later(&mut self) {
        self.now = self.now.after(Duration::from_micros(50));
    }

    /// Carries packets to and fro until nobody has one.
    fn exchange(&mut self) {
        loop {
            let mut carried = false;
            for from in [0, 1] {
                self.later();
                while let Some(packet) = self.hosts[from].next(self.now) {
                    self.hosts[1 - from].take(self.now, packet);
                    carried = true;
                }
                self.hosts[1 - from].forget_events();
            }
            for host in &mut self.hosts {
                host.stack.handle_timeout(self.now);
            }
            if !carried {
                return;
            }
        }
    }

    /// Writes `bytes` at the client, and reads them at the server.
    fn transfer(&mut self, bytes: usize) {
        let (data, mut into) = (vec![7; bytes], vec![0; bytes]);
        let (mut written, mut read) = (0, 0);
        while read < bytes {
            let rest = &data[written..];
            written += self.hosts[0].stack.write(self.now, self.ends[0], rest).unwrap_or(0);
            self.exchange();
            read += self.hosts[1].stack.read(self.now, self.ends[1], &mut into).unwrap_or(0);
            self.exchange();
        }
    }

    /// After enough traffic that windows are open, pools are filled and round trips are known.
    fn warm() -> Box<Self> {
        let mut pair = Box::new(Self::new());
        for _ in 0..8 {
            pair.transfer(512 * 1024);
        }
        for _ in 0..BATCH {
            pair.transfer(100);
        }
        pair
    }
}

/// So many segments that the client sent and nobody received yet.
fn segments(count: usize, length: usize) -> (Box<Pair>, Vec<Packet>) {
    let mut pair = Pair::warm();
    let data = vec![7; length];
    let mut packets = Vec::new();
    for _ in 0..count {
        pair.later();
        let written = pair.hosts[0].stack.write(pair.now, pair.ends[0], &data);
        assert_eq!(written, Ok(length), "the buffer takes it");
        packets.push(pair.hosts[0].next(pair.now).expect("the window takes it"));
    }
    (pair, packets)
}

// A segment in order arrives, and the program reads it.
#[library_benchmark]
#[bench::small(args = (BATCH, 100), setup = segments)]
#[bench::full(args = (BATCH, SEGMENT), setup = segments)]
fn segment_in((mut pair, packets): (Box<Pair>, Vec<Packet>)) -> Box<Pair> {
    let mut into = [0; SEGMENT];
    let host = &mut pair.hosts[1];
    for packet in packets {
        host.take(pair.now, packet);
        while host.stack.poll_event().is_some() {}
        let read = host.stack.read(pair.now, pair.ends[1], &mut into);
        black_box(read.expect("it arrived"));
    }
    pair
}

// Eight super-segments arrive. The reader's copy is left out: it would hide the rest.
#[library_benchmark]
#[bench::of_64_kib(args = (8, SUPER_SEGMENT), setup = segments)]
fn super_segment_in((mut pair, packets): (Box<Pair>, Vec<Packet>)) -> Box<Pair> {
    let host = &mut pair.hosts[1];
    for packet in packets {
        host.take(pair.now, packet);
        while host.stack.poll_event().is_some() {}
    }
    pair
}

// The program writes, and a segment leaves.
#[library_benchmark]
#[bench::small(args = (100), setup = warm)]
#[bench::full(args = (SEGMENT), setup = warm)]
fn segment_out((mut pair, data): (Box<Pair>, Vec<u8>)) -> Box<Pair> {
    let (host, end) = (&mut pair.hosts[0], pair.ends[0]);
    for _ in 0..BATCH {
        host.stack.write(pair.now, end, &data).expect("there is room");
        let packet = host.stack.poll_transmit(pair.now, &mut host.header);
        black_box(packet.expect("the window is open").len());
    }
    pair
}

fn warm(length: usize) -> (Box<Pair>, Vec<u8>) {
    (Pair::warm(), vec![7; length])
}

// An ACK of new data arrives.
#[library_benchmark]
#[bench::one_each(acks())]
fn ack_in((mut pair, packets): (Box<Pair>, Vec<Packet>)) -> Box<Pair> {
    for packet in packets {
        pair.hosts[0].take(pair.now, packet);
        pair.hosts[0].forget_events();
    }
    pair
}

/// ACKs of one segment each, on their way to the client.
fn acks() -> (Box<Pair>, Vec<Packet>) {
    let (mut pair, packets) = segments(BATCH, SEGMENT);
    let mut acks = Vec::new();
    let mut into = [0; SEGMENT];
    for packet in packets {
        pair.later();
        let host = &mut pair.hosts[1];
        host.take(pair.now, packet);
        host.forget_events();
        host.stack.read(pair.now, pair.ends[1], &mut into).expect("it arrived");
        // The delayed ACKs too.
        pair.now = pair.now.after(Duration::from_millis(50));
        host.stack.handle_timeout(pair.now);
        acks.extend(std::iter::from_fn(|| host.next(pair.now)));
    }
    (pair, acks)
}

// A request of 100 bytes arrives, is read and answered with as many: everything but the device.
#[library_benchmark]
#[bench::of_100_bytes(Pair::warm())]
fn request(mut pair: Box<Pair>) -> Box<Pair> {
    let mut into = [0; 128];
    for _ in 0..BATCH {
        pair.later();
        pair.hosts[0].stack.write(pair.now, pair.ends[0], &[7; 100]).expect("there is room");
        hand_over(&mut pair, 0);
        let server = &mut pair.hosts[1].stack;
        let count = server.read(pair.now, pair.ends[1], &mut into).expect("it arrived");
        server.write(pair.now, pair.ends[1], &into[..count]).expect("there is room");
        hand_over(&mut pair, 1);
        let answer = pair.hosts[0].stack.read(pair.now, pair.ends[0], &mut into);
        black_box(answer.expect("it is there"));
    }
    pair
}

/// Carries what one host has to send in the other's own buffers, as a driver does.
fn hand_over(pair: &mut Pair, from: usize) {
    let (left, right) = pair.hosts.split_at_mut(1);
    let (from, to) =
        if from == 0 { (&mut left[0], &mut right[0]) } else { (&mut right[0], &mut left[0]) };
    while let Some(packet) = from.stack.poll_transmit(pair.now, &mut from.header) {
        let frame = to.stack.spare_frame();
        let mut frame = frame.unwrap_or_else(|| FrameBuf::with_capacity(MAX_FRAME));
        frame.set_filled(0);
        frame.append(packet.header);
        for slice in &packet.payload {
            frame.append(slice);
        }
        to.stack.handle_frame(pair.now, to.interface, frame, meta_of(&packet.meta));
    }
    to.forget_events();
}

// A SYN arrives and is answered, its ACK arrives, and the program accepts.
#[library_benchmark]
#[bench::of_one_peer(connections())]
fn accept((mut pair, handshakes): (Box<Pair>, Vec<[Packet; 2]>)) -> Box<Pair> {
    let host = &mut pair.hosts[1];
    for [syn, ack] in handshakes {
        host.take(pair.now, syn);
        black_box(host.stack.poll_transmit(pair.now, &mut host.header).is_some());
        host.take(pair.now, ack);
        host.forget_events();
        black_box(host.stack.accept(pair.now, pair.listener).expect("the handshake is over"));
    }
    pair
}

/// The client's packets of handshakes, recorded with a twin of the server: the same seed and the
/// same time make the same sequence numbers.
fn connections() -> (Box<Pair>, Vec<[Packet; 2]>) {
    let (mut pair, mut twin) = (Box::new(Pair::new()), Pair::new());
    let server = SocketAddr::new(address(2), 80);
    let mut handshakes = Vec::new();
    for _ in 0..BATCH {
        let client = &mut twin.hosts[0];
        client.stack.connect(twin.now, None, server, TcpOptions::default()).expect("a port");
        let syn = client.next(twin.now).expect("a SYN");
        let copy = Packet { frame: syn.frame.clone(), meta: syn.meta };
        twin.hosts[1].take(twin.now, syn);
        let syn_ack = twin.hosts[1].next(twin.now).expect("a SYN,ACK");
        twin.hosts[0].take(twin.now, syn_ack);
        let ack = twin.hosts[0].next(twin.now).expect("an ACK");
        handshakes.push([copy, ack]);
    }
    pair.now = twin.now;
    (pair, handshakes)
}

// A timer of one connection among so many is set anew with each segment, and in the end fires.
#[library_benchmark]
#[bench::among_10(args = (10), setup = crowd)]
#[bench::among_100_000(args = (100_000), setup = crowd)]
fn timer((mut pair, data): (Box<Pair>, Vec<u8>)) -> Box<Pair> {
    let host = &mut pair.hosts[0];
    for _ in 0..BATCH {
        pair.now = pair.now.after(Duration::from_millis(1));
        host.stack.write(pair.now, pair.ends[0], &data).expect("there is room");
        while host.stack.poll_transmit(pair.now, &mut host.header).is_some() {}
        black_box(host.stack.poll_timeout());
        host.stack.handle_timeout(pair.now);
    }
    pair
}

/// So many connections whose timers are armed: their SYNs are not answered.
fn crowd(count: usize) -> (Box<Pair>, Vec<u8>) {
    let mut pair = Pair::warm();
    for n in 0..count {
        let host = IpAddr::V4(Ipv4Addr::from(0x0a00_0100 + u32::try_from(n).expect("few")));
        let peer = SocketAddr::new(host, 80);
        if pair.hosts[0].stack.connect(pair.now, None, peer, TcpOptions::default()).is_err() {
            continue;
        }
        while pair.hosts[0].stack.poll_transmit(pair.now, &mut pair.hosts[0].header).is_some() {}
    }
    (pair, vec![7; 100])
}

library_benchmark_group!(
    name = hot_paths,
    benchmarks = [segment_in, super_segment_in, segment_out, ack_in, request, accept, timer]
);
main!(library_benchmark_groups = hot_paths);
