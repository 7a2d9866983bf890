//! Any order of calls is legal: frames, time and the program's calls, all from one input.
//!
//! The peer is not quite random. It knows what the stack sent last on each connection, so that its
//! segments land in windows, and it can aim a little beside. In half of the inputs it also speaks
//! what was added to TCP later (selective acknowledgments, marks, scaled windows), reports and
//! repeats what suits it, and sometimes does its duty, so that connections get far.

#![no_main]

mod bytes;
#[path = "stack/peer.rs"]
mod peer;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use peer::{Known, Peer};
use stack::tcp::congestion::{self, by_name};
use stack::{
    Config, ConnectionId, EcnMode, HeaderBuf, KeepAlive, ListenerId, RtoLimits, Shutdown, Stack,
    TcpOptions,
};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveChecksum, ReceiveMeta};
use wire::ip::Protocol;
use wire::tcp::{Flags, Header, Options, Timestamps};
use wire::time::Instant;

pub(crate) const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// More calls of an input than this only make it slow.
const MOST_CALLS: usize = 400;

fuzz_target!(|input: &[u8]| {
    let mut bytes = Bytes::new(input);
    let mut world = World::new(&mut bytes);
    for _ in 0..MOST_CALLS {
        if bytes.is_over() {
            break;
        }
        world.call(&mut bytes);
        world.carry();
    }
    world.end();
});

struct World {
    stack: Stack,
    interface: stack::InterfaceId,
    now: Instant,
    listeners: Vec<ListenerId>,
    connections: Vec<ConnectionId>,
    peer: Peer,
    /// The peer speaks what was added later.
    modern: bool,
}

impl World {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let choice = bytes.byte();
        let modern = choice & 32 == 0;
        let config = Config {
            timestamps: choice & 1 == 0,
            window_scaling: choice & 2 == 0,
            syn_cookies: choice & 4 == 0,
            time_wait_limit: 4,
            connection_limit: 16,
            reply_limit: 8,
            ..if modern { Self::limits(bytes) } else { Config::default() }
        };
        let options = TcpOptions { receive_buffer: Some(5000), ..TcpOptions::default() };
        let options = if modern { Self::options(bytes) } else { options };
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
        let listener = stack.listen(now, local, 2, options).or_else(|_| {
            // Some options can only be a mistake, and are refused.
            stack.listen(now, local, 2, TcpOptions::default())
        });
        let listener = listener.expect("the first listener");
        Self {
            stack,
            interface,
            now,
            listeners: vec![listener],
            connections: Vec::new(),
            peer: Peer::new(),
            modern,
        }
    }

    /// Little memory, and ends that come soon.
    fn limits(bytes: &mut Bytes<'_>) -> Config {
        let choice = bytes.byte();
        let memory_limit = [512 << 20, 300_000, 60_000, 9_000][usize::from(choice & 3)];
        Config {
            sack: choice & 4 == 0,
            memory_limit,
            memory_pressure: if choice & 8 == 0 { memory_limit / 4 * 3 } else { memory_limit },
            out_of_order_limit: if choice & 16 == 0 { 6 << 20 } else { 4_000 },
            syn_queue_limit: if choice & 32 == 0 { 4096 } else { 1 },
            data_retries: if choice & 64 == 0 { 15 } else { 2 },
            ..Config::default()
        }
    }

    /// What a program may choose, good and bad.
    fn options(bytes: &mut Bytes<'_>) -> TcpOptions {
        let choice = bytes.byte();
        let more = bytes.byte();
        let buffer = |bytes: &mut Bytes<'_>, set: bool| set.then(|| usize::from(bytes.word()));
        let name = congestion::NAMES[usize::from(choice & 3) % congestion::NAMES.len()];
        TcpOptions {
            congestion: by_name(name).expect("a known name"),
            pacing: choice & 4 != 0,
            max_pacing_rate: (choice & 8 != 0).then(|| u64::from(bytes.word()) << (more & 15)),
            ecn: [EcnMode::Accept, EcnMode::Request, EcnMode::Off, EcnMode::Request]
                [usize::from(choice >> 4 & 3)],
            receive_buffer: buffer(bytes, choice & 64 != 0),
            send_buffer: buffer(bytes, choice & 128 != 0),
            nodelay: more & 16 != 0,
            max_segment: (more & 32 != 0).then(|| bytes.word()),
            user_timeout: (more & 64 != 0).then_some(Duration::from_secs(3)),
            ..if more & 128 == 0 { TcpOptions::default() } else { Self::times(bytes) }
        }
    }

    /// Times that may be much too short.
    fn times(bytes: &mut Bytes<'_>) -> TcpOptions {
        let time = Duration::from_micros(u64::from(bytes.word()));
        let max = if time.as_micros() % 2 == 0 { time } else { Duration::from_secs(1) };
        let probes = bytes.byte();
        TcpOptions {
            rto: RtoLimits { initial: time, min: time, max },
            keepalive: (probes > 0).then_some(KeepAlive { idle: max, interval: time, probes }),
            delayed_ack: time,
            ..TcpOptions::default()
        }
    }

    fn connection(&self, bytes: &mut Bytes<'_>) -> Option<ConnectionId> {
        let index = usize::from(bytes.byte());
        self.connections.get(index % self.connections.len().max(1)).copied()
    }

    fn call(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % if self.modern { 24 } else { 16 } {
            0 => self.raw_frame(bytes),
            1..=6 => self.segment(bytes),
            7 => self.now = self.now.after(Duration::from_millis(u64::from(bytes.word()))),
            8 => self.to_deadline(),
            16 => self.handshake(bytes),
            17 | 18 => self.report(bytes),
            19 => self.replay(bytes),
            20 => self.too_big(bytes),
            21 => self.duty(bytes),
            22 => self.write_much(bytes),
            23 => self.now = self.now.after(Duration::from_micros(u64::from(bytes.word()))),
            other => self.program(other, bytes),
        }
    }

    fn program(&mut self, which: u8, bytes: &mut Bytes<'_>) {
        let now = self.now;
        if which == 9 {
            return self.accept();
        }
        if which == 10 && bytes.byte() % 4 == 0 {
            let remote = SocketAddr::new(IpAddr::V4(PEER), 1 + bytes.word() % 3);
            let options = if self.modern { Self::options(bytes) } else { TcpOptions::default() };
            if let Ok(id) = self.stack.connect(now, None, remote, options) {
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

    fn accept(&mut self) {
        for listener in &self.listeners {
            if let Ok((connection, _)) = self.stack.accept(self.now, *listener) {
                self.connections.push(connection);
            }
        }
    }

    fn write_much(&mut self, bytes: &mut Bytes<'_>) {
        if let Some(id) = self.connection(bytes) {
            let text = vec![2; usize::from(bytes.byte()) << 10];
            let _ = self.stack.write(self.now, id, &text);
        }
    }

    fn set_options(&mut self, id: ConnectionId, bytes: &mut Bytes<'_>) {
        if self.modern {
            let options = Self::options(bytes);
            let _ = self.stack.set_tcp_options(self.now, id, options);
            return;
        }
        let choice = bytes.byte();
        let options = TcpOptions {
            nodelay: choice & 1 != 0,
            cork: choice & 2 != 0,
            keepalive: (choice & 4 != 0).then(KeepAlive::default),
            linger: (choice & 8 != 0).then_some(Duration::ZERO),
            user_timeout: (choice & 16 != 0).then_some(Duration::from_secs(3)),
            max_segment: (choice & 32 != 0).then(|| bytes.word()),
            receive_buffer: Some(usize::from(bytes.word())),
            send_buffer: Some(usize::from(bytes.word())),
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
        let frame = FrameBuf::from(bytes.some(255));
        self.stack.handle_frame(self.now, self.interface, frame, ReceiveMeta::default());
    }

    /// A segment that is aimed at what the stack expects.
    fn segment(&mut self, bytes: &mut Bytes<'_>) {
        let known = self.peer.known(bytes.byte());
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
                ..self.later_options(&known, flags, bytes)
            },
            ..Header::default()
        };
        let length = usize::from(bytes.word() % 4000) * usize::from(aim & 64 != 0);
        let traffic_class = if self.modern { bytes.byte() & 3 } else { 0 };
        self.deliver(&header, length, traffic_class);
    }

    fn later_options(&self, known: &Known, flags: Flags, bytes: &mut Bytes<'_>) -> Options {
        if !self.modern {
            return Options::default();
        }
        let blocks = bytes.byte();
        Options {
            sack_permitted: flags.contains(Flags::SYN),
            sack: self.peer.blocks(known, blocks & 3, bytes),
            ..Options::default()
        }
    }

    /// A client opens a connection as one does today.
    fn handshake(&mut self, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let mut header = Header {
            source_port: 1000 + u16::from(choice & 3),
            destination_port: 80,
            sequence: 1,
            flags: if choice & 4 == 0 { Flags::SYN } else { Flags::SYN | Flags::ECE | Flags::CWR },
            window: 60_000,
            options: Options {
                mss: Some(1460),
                window_scale: (choice & 8 == 0).then_some(choice >> 5),
                timestamps: (choice & 16 == 0).then_some(Timestamps { value: 1, echo: 0 }),
                sack_permitted: true,
                ..Options::default()
            },
            ..Header::default()
        };
        self.deliver(&header, 0, 0);
        self.carry();
        let known = self.peer.known_at(80, header.source_port);
        header.flags = Flags::ACK;
        (header.sequence, header.acknowledgment) = (2, known.sent);
        let echo = known.stamp.map(|echo| Timestamps { value: 1, echo });
        header.options = Options { timestamps: echo, ..Options::default() };
        self.deliver(&header, 0, 0);
        self.accept();
    }

    /// The peer says what it has, or anything else.
    fn report(&mut self, bytes: &mut Bytes<'_>) {
        let known = self.peer.known(bytes.byte());
        let choice = bytes.byte();
        let portion = if choice & 4 == 0 { 0 } else { bytes.byte() };
        let acknowledgment = self.peer.boundary(&known, portion);
        let header = known.answer(
            acknowledgment,
            choice & 8 != 0,
            Options { sack: self.peer.blocks(&known, choice & 3, bytes), ..Options::default() },
        );
        let window = if choice & 16 == 0 { header.window } else { bytes.word() };
        let length = if choice & 32 == 0 { 0 } else { usize::from(bytes.byte()) * 8 };
        self.deliver(&Header { window, ..header }, length, choice >> 6);
    }

    /// Something that the peer sent comes again, late.
    fn replay(&mut self, bytes: &mut Bytes<'_>) {
        if let Some(packet) = self.peer.earlier(bytes.byte()) {
            self.hand_over(packet);
        }
    }

    /// A router says that something was too big for its next link.
    fn too_big(&mut self, bytes: &mut Bytes<'_>) {
        let (which, mtu) = (bytes.byte(), bytes.word());
        if let Some(packet) = self.peer.complain(which, mtu) {
            self.hand_over(packet);
        }
    }

    /// The peer acknowledges everything for some rounds, as it should.
    fn duty(&mut self, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        for _ in 0..=choice & 7 {
            self.now = self.now.after(Duration::from_millis(1 << (choice >> 3 & 7)));
            self.stack.handle_timeout(self.now);
            self.carry();
            for known in self.peer.all() {
                let header = known.answer(known.sent, choice & 64 != 0, Options::default());
                self.deliver(&header, usize::from(choice & 128) * 4, 0);
            }
        }
    }

    fn deliver(&mut self, header: &Header, length: usize, traffic_class: u8) {
        let mut packet = vec![0; 20 + 60 + length];
        let tcp_len = header.emit(&mut packet[20..]);
        peer::ip_header(Protocol::TCP, tcp_len + length, traffic_class).emit(&mut packet);
        packet.truncate(20 + tcp_len + length);
        self.peer.note_delivered(header, length, &packet);
        self.hand_over(packet);
    }

    fn hand_over(&mut self, packet: Vec<u8>) {
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
            self.peer.note_sent(&sent, text.len(), &frame);
        }
        while self.stack.poll_event().is_some() {}
        while self.stack.poll_trace().is_some() {}
        self.look();
    }

    /// What must be true at any time.
    fn look(&self) {
        let (used, limit) = (self.stack.memory_used(), self.stack.config().memory_limit);
        assert!(used <= limit, "{used} bytes are pinned, of {limit}");
        for info in self.connections.iter().filter_map(|id| self.stack.info(*id).ok()) {
            let (sacked, lost) = (u64::from(info.sacked), u64::from(info.lost));
            assert!(sacked + lost <= u64::from(info.unacked), "{info:?}");
            assert!(info.snd_cwnd >= 1, "{info:?}");
        }
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
                assert_eq!(self.stack.memory_used(), 0, "nobody is left who could pin anything");
                return;
            };
            self.now = self.now.max(at);
            self.stack.handle_timeout(self.now);
        }
        panic!("a silent peer keeps the stack busy for ever: {:?}", self.stack.sockets());
    }
}
