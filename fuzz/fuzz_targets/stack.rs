//! Any order of calls is legal: frames, time and the program's calls, all from one input.
//!
//! The peer is not quite random. It knows what the stack sent last on each connection, so that its
//! segments land in windows, and it can aim a little beside.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use stack::{Config, ConnectionId, HeaderBuf, KeepAlive, ListenerId, Shutdown, Stack, TcpOptions};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveChecksum, ReceiveMeta};
use wire::ip::Protocol;
use wire::tcp::{Flags, Header, Options, Timestamps};
use wire::time::Instant;

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// More calls of an input than this only make it slow.
const MOST_CALLS: usize = 400;

fuzz_target!(|input: &[u8]| {
    let mut bytes = Bytes(input);
    let mut world = World::new(&mut bytes);
    for _ in 0..MOST_CALLS {
        if bytes.0.is_empty() {
            break;
        }
        world.call(&mut bytes);
        world.carry();
    }
    world.end();
});

/// The input, read a little at a time; zeros when it is over.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn take(&mut self, count: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// What the peer knows of a connection: its ports, and what the stack expects next.
#[derive(Clone, Copy)]
struct Known {
    ours: u16,
    theirs: u16,
    expects: u32,
    sent: u32,
    stamp: Option<u32>,
}

struct World {
    stack: Stack,
    interface: stack::InterfaceId,
    now: Instant,
    listeners: Vec<ListenerId>,
    connections: Vec<ConnectionId>,
    known: Vec<Known>,
}

impl World {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let choice = bytes.byte();
        let config = Config {
            timestamps: choice & 1 == 0,
            window_scaling: choice & 2 == 0,
            syn_cookies: choice & 4 == 0,
            time_wait_limit: 4,
            connection_limit: 16,
            reply_limit: 8,
            ..Config::default()
        };
        let mut stack = Stack::new(config, [7; 32]);
        let offload = choice & 8 == 0;
        let interface = stack.add_interface(Capabilities {
            medium: Medium::Ip,
            mtu: 576 + u16::from(choice) * 4,
            checksum: offload,
            segmentation: offload,
        });
        stack.add_address(interface, IpAddr::V4(US), 24).expect("the first address");
        stack.set_trace(choice & 16 == 0);
        let now = Instant::from_millis(1);
        let local = SocketAddr::new(IpAddr::V4(US), 80);
        let options = TcpOptions { receive_buffer: 5000, ..TcpOptions::default() };
        let listener = stack.listen(now, local, 2, options).expect("the first listener");
        Self {
            stack,
            interface,
            now,
            listeners: vec![listener],
            connections: Vec::new(),
            known: vec![Known { ours: 80, theirs: 1000, expects: 1, sent: 0, stamp: None }],
        }
    }

    fn connection(&self, bytes: &mut Bytes<'_>) -> Option<ConnectionId> {
        let index = usize::from(bytes.byte());
        self.connections.get(index % self.connections.len().max(1)).copied()
    }

    fn call(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 16 {
            0 => self.raw_frame(bytes),
            1..=6 => self.segment(bytes),
            7 => self.now = self.now.after(Duration::from_millis(u64::from(bytes.word()))),
            8 => self.to_deadline(),
            other => self.program(other, bytes),
        }
    }

    fn program(&mut self, which: u8, bytes: &mut Bytes<'_>) {
        let now = self.now;
        if which == 9 {
            for listener in &self.listeners {
                if let Ok((connection, _)) = self.stack.accept(now, *listener) {
                    self.connections.push(connection);
                }
            }
            return;
        }
        if which == 10 && bytes.byte() % 4 == 0 {
            let remote = SocketAddr::new(IpAddr::V4(PEER), 1 + bytes.word() % 3);
            if let Ok(id) = self.stack.connect(now, None, remote, TcpOptions::default()) {
                self.connections.push(id);
            }
            return;
        }
        let Some(id) = self.connection(bytes) else { return };
        match which {
            10 => drop(self.stack.write(now, id, &vec![1; usize::from(bytes.word())]).ok()),
            11 => drop(self.stack.read(now, id, &mut vec![0; usize::from(bytes.word())])),
            12 => {
                let how = [Shutdown::Read, Shutdown::Write, Shutdown::Both];
                let _ = self.stack.shutdown(now, id, how[usize::from(bytes.byte() % 3)]);
            }
            13 => self.stack.close(now, id),
            14 => self.stack.abort(now, id),
            _ => self.set_options(id, bytes),
        }
    }

    fn set_options(&mut self, id: ConnectionId, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let options = TcpOptions {
            nodelay: choice & 1 != 0,
            cork: choice & 2 != 0,
            keepalive: (choice & 4 != 0).then(KeepAlive::default),
            linger: (choice & 8 != 0).then_some(Duration::ZERO),
            user_timeout: (choice & 16 != 0).then_some(Duration::from_secs(3)),
            max_segment: (choice & 32 != 0).then(|| bytes.word()),
            receive_buffer: usize::from(bytes.word()),
            send_buffer: usize::from(bytes.word()),
            ..TcpOptions::default()
        };
        let _ = self.stack.set_tcp_options(self.now, id, options);
        drop((self.stack.info(id), self.stack.take_error(id), self.stack.peek(id, &mut [0; 9])));
    }

    fn to_deadline(&mut self) {
        if let Some(at) = self.stack.poll_timeout() {
            self.now = self.now.max(at);
        }
        self.stack.handle_timeout(self.now);
    }

    fn raw_frame(&mut self, bytes: &mut Bytes<'_>) {
        let length = usize::from(bytes.byte());
        let frame = FrameBuf::copy_from(bytes.take(length));
        self.stack.handle_frame(self.now, self.interface, frame, ReceiveMeta::default());
    }

    /// A segment that is aimed at what the stack expects.
    fn segment(&mut self, bytes: &mut Bytes<'_>) {
        let index = usize::from(bytes.byte());
        let known = self.known[index % self.known.len()];
        let aim = bytes.byte();
        let beside = |bytes: &mut Bytes<'_>, yes: bool| {
            if yes { i32::from(bytes.word() as i16) as u32 } else { 0 }
        };
        let flags = Flags::from_bits_truncate(u16::from(bytes.byte()));
        let flags = if aim & 1 == 0 { flags | Flags::ACK } else { flags };
        let stamp = bytes.byte();
        let header = Header {
            source_port: known.theirs.wrapping_add(u16::from(aim >> 7)),
            destination_port: known.ours,
            sequence: known.expects.wrapping_add(beside(bytes, aim & 2 != 0)),
            acknowledgment: known.sent.wrapping_add(beside(bytes, aim & 4 != 0)),
            flags,
            window: bytes.word(),
            options: Options {
                mss: (aim & 8 != 0).then(|| bytes.word()),
                window_scale: (aim & 16 != 0).then(|| bytes.byte()),
                timestamps: (aim & 32 == 0).then(|| Timestamps {
                    value: u32::from(stamp),
                    echo: known.stamp.unwrap_or_default(),
                }),
                ..Options::default()
            },
            ..Header::default()
        };
        let length = usize::from(bytes.word() % 4000) * usize::from(aim & 64 != 0);
        self.deliver(&header, length);
    }

    fn deliver(&mut self, header: &Header, length: usize) {
        let mut packet = vec![0; 20 + 60 + length];
        let tcp_len = header.emit(&mut packet[20..]);
        let ip = wire::ipv4::Header {
            source: PEER,
            destination: US,
            protocol: Protocol::TCP,
            ttl: 64,
            traffic_class: 0,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: u16::try_from(tcp_len + length).expect("short"),
            options: wire::ipv4::Options::NONE,
        };
        ip.emit(&mut packet);
        packet.truncate(20 + tcp_len + length);
        let meta = ReceiveMeta { checksum: ReceiveChecksum::Verified, segment_size: None };
        self.stack.handle_frame(self.now, self.interface, FrameBuf::from(packet), meta);
    }

    /// Takes what the stack sends, and learns from it.
    fn carry(&mut self) {
        let mut header = HeaderBuf::default();
        let mut packets = 0;
        while let Some(packet) = self.stack.poll_transmit(self.now, &mut header) {
            packets += 1;
            assert!(packets < 20_000, "a stack that never stops sending");
            assert!(!packet.meta.comment.is_empty(), "a packet without a reason");
            let frame = packet.to_frame();
            let Ok((ip, payload)) = wire::ipv4::Header::parse(&frame) else {
                panic!("the stack sends what it would not take")
            };
            if ip.protocol != Protocol::TCP {
                continue;
            }
            let (sent, text) = wire::tcp::Header::parse(payload).expect("a segment of our own");
            let length = u32::try_from(text.len()).expect("short");
            let known = Known {
                ours: sent.source_port,
                theirs: sent.destination_port,
                expects: sent.acknowledgment,
                sent: sent.sequence.wrapping_add(sent.sequence_len(length)),
                stamp: sent.options.timestamps.map(|stamps| stamps.value),
            };
            self.known.retain(|old| (old.ours, old.theirs) != (known.ours, known.theirs));
            self.known.push(known);
        }
        while self.stack.poll_event().is_some() {}
        while self.stack.poll_trace().is_some() {}
    }

    /// The program goes: in the end nothing may be left, whatever the peer did before.
    fn end(mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            self.stack.close_listener(self.now, listener);
        }
        for connection in std::mem::take(&mut self.connections) {
            self.stack.close(self.now, connection);
        }
        for _ in 0..10_000 {
            self.carry();
            drop(self.stack.sockets());
            let Some(at) = self.stack.poll_timeout() else {
                assert!(self.stack.sockets().is_empty(), "{:?}", self.stack.sockets());
                return;
            };
            self.now = self.now.max(at);
            self.stack.handle_timeout(self.now);
        }
        panic!("a silent peer keeps the stack busy for ever: {:?}", self.stack.sockets());
    }
}
