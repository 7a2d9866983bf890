//! Packets to hand to both: valid ones, and those with one thing wrong.

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::checksum;
use wire::ip::Protocol;

/// Who asks, and who is asked.
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
pub(super) const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1);
pub(super) const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2);
/// Somebody listens on this TCP port, and a socket has this UDP port; on the next ones nobody does.
pub(super) const TCP_OPEN: u16 = 80;
pub(super) const UDP_OPEN: u16 = 700;

/// A packet, and what it is.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) packet: Vec<u8>,
}

/// The IPv4 packet around a payload, with fields to spoil.
#[derive(Clone)]
struct V4 {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    version_ihl: Option<u8>,
    traffic_class: u8,
    total_len: Option<u16>,
    flags_offset: u16,
    ttl: u8,
    protocol: u8,
    checksum: Option<u16>,
    options: Vec<u8>,
}

impl Default for V4 {
    fn default() -> Self {
        Self {
            source: PEER,
            destination: HOST,
            version_ihl: None,
            traffic_class: 0,
            total_len: None,
            flags_offset: 0,
            ttl: 64,
            protocol: 0,
            checksum: None,
            options: Vec::new(),
        }
    }
}

impl V4 {
    fn around(&self, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total = u16::try_from(header_len + payload.len()).unwrap_or(u16::MAX);
        let ihl = u8::try_from(header_len / 4).unwrap_or(15);
        let mut packet = vec![self.version_ihl.unwrap_or(0x40 | ihl), self.traffic_class];
        packet.extend(self.total_len.unwrap_or(total).to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(self.flags_offset.to_be_bytes());
        packet.extend([self.ttl, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(&self.options);
        let right = checksum::sum(&packet).finish();
        packet[10..12].copy_from_slice(&self.checksum.unwrap_or(right).to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// The IPv6 packet around a payload.
#[derive(Clone)]
struct V6 {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    version: u8,
    payload_len: Option<u16>,
    next_header: u8,
    hop_limit: u8,
}

impl Default for V6 {
    fn default() -> Self {
        Self {
            source: PEER_V6,
            destination: HOST_V6,
            version: 6,
            payload_len: None,
            next_header: 59,
            hop_limit: 64,
        }
    }
}

impl V6 {
    fn around(&self, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        let mut packet = vec![self.version << 4, 0, 0, 0];
        packet.extend(self.payload_len.unwrap_or(length).to_be_bytes());
        packet.extend([self.next_header, self.hop_limit]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(payload);
        packet
    }
}

/// Both ends of a transport's pseudo-header.
#[derive(Clone, Copy)]
enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Ends {
    const USUAL: [Ends; 2] = [Ends::V4(PEER, HOST), Ends::V6(PEER_V6, HOST_V6)];

    fn transport(self, protocol: Protocol, bytes: &[u8]) -> u16 {
        match self {
            Ends::V4(from, to) => checksum::transport(from.into(), to.into(), protocol, bytes),
            Ends::V6(from, to) => checksum::transport(from.into(), to.into(), protocol, bytes),
        }
    }

    fn name(self) -> &'static str {
        if matches!(self, Ends::V4(..)) { "v4" } else { "v6" }
    }

    fn wrap(self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match self {
            Ends::V4(source, destination) => {
                V4 { source, destination, protocol, ..V4::default() }.around(payload)
            }
            Ends::V6(source, destination) => {
                V6 { source, destination, next_header: protocol, ..V6::default() }.around(payload)
            }
        }
    }
}

/// A TCP segment with fields to spoil.
#[derive(Clone)]
struct Tcp {
    ports: (u16, u16),
    sequence: u32,
    ack: u32,
    flags: u16,
    words: Option<u16>,
    options: Vec<u8>,
    text: Vec<u8>,
    spoil: bool,
}

const FIN: u16 = 1;
const SYN: u16 = 2;
const RST: u16 = 4;
const PSH: u16 = 8;
const ACK: u16 = 16;
const URG: u16 = 32;

impl Tcp {
    fn new(port: u16, to: u16, flags: u16) -> Self {
        let ack = if flags & ACK == 0 { 0 } else { 77_777 };
        let (options, text) = (Vec::new(), Vec::new());
        Self {
            ports: (port, to),
            sequence: 1_000,
            ack,
            flags,
            words: None,
            options,
            text,
            spoil: false,
        }
    }

    fn bytes(&self, ends: Ends) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        let words = u16::try_from(5 + self.options.len() / 4).unwrap_or(15);
        bytes.extend((self.words.unwrap_or(words) << 12 | self.flags).to_be_bytes());
        bytes.extend(65_000_u16.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.options);
        bytes.extend(&self.text);
        let sum = ends.transport(Protocol::TCP, &bytes);
        let sum = if self.spoil { sum ^ 0x5555 } else { sum };
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// Every case; no two have the same source port, so that no answer belongs to another.
pub(super) fn all() -> Vec<Case> {
    let mut cases = Cases { list: Vec::new(), port: 20_000 };
    cases.tcp();
    cases.udp();
    cases.icmp();
    cases.ipv4();
    cases.ipv6();
    cases.fragments();
    cases.list
}

/// `count` mutations of them: some bytes are others.
pub(super) fn mutations(seed: u64, count: usize) -> Vec<Case> {
    let whole = all();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap_or(0)
    };
    let mut cases = Vec::new();
    for port in (30_000..=u16::MAX).cycle().take(count) {
        let Case { name, packet } = &whole[next() % whole.len()];
        let mut packet = packet.clone();
        if name.contains(" TCP ") || name.contains(" UDP ") {
            move_to_port(&mut packet, port);
        } else if name.contains(" fragment ") {
            renumber(&mut packet, port);
        }
        // Not the addresses: to whom it goes, and who is answered, stays as it is.
        let addresses = if packet[0] >> 4 == 6 { 8..40 } else { 12..20 };
        let mut changes = Vec::new();
        for _ in 0..=next() % 2 {
            let (place, value) = (next() % packet.len(), next());
            if place > 0 && !addresses.contains(&place) {
                packet[place] = value.to_le_bytes()[0];
                changes.push(format!("[{place}]={}", packet[place]));
            }
        }
        if next() % 2 == 0 && packet[0] == 0x45 && packet.len() >= 20 {
            packet[10..12].fill(0);
            let sum = checksum::sum(&packet[..20]).finish();
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        cases.push(Case { name: format!("{name} {}", changes.join(" ")), packet });
    }
    cases
}

/// The reset for a SYN,ACK, so that who sent it does not wait; `None` for all other packets.
pub(super) fn reset(answer: &[u8]) -> Option<Vec<u8>> {
    let (ends, start) = match answer.first()? >> 4 {
        4 if *answer.get(9)? == 6 => (Ends::USUAL[0], 20),
        6 if *answer.get(6)? == 6 => (Ends::USUAL[1], 40),
        _ => return None,
    };
    let (header, _) = wire::tcp::Header::parse(answer.get(start..)?).ok()?;
    let opens = header.flags.contains(wire::tcp::Flags::SYN | wire::tcp::Flags::ACK);
    let segment = Tcp {
        sequence: header.acknowledgment,
        ..Tcp::new(header.destination_port, header.source_port, RST)
    };
    opens.then(|| ends.wrap(6, &segment.bytes(ends)))
}

/// Another source port, so that nothing that is remembered of an earlier packet counts.
fn move_to_port(packet: &mut [u8], port: u16) {
    let (transport, protocol) = if packet[0] >> 4 == 6 { (40, packet[6]) } else { (20, packet[9]) };
    let at = transport + if protocol == 6 { 16 } else { 6 };
    let Some(field) = packet.get(at..at + 2) else { return };
    let sum = u16::from_be_bytes([field[0], field[1]]);
    let old = u16::from_be_bytes([packet[transport], packet[transport + 1]]);
    packet[transport..transport + 2].copy_from_slice(&port.to_be_bytes());
    if protocol == 6 || sum != 0 {
        let sum = checksum::update_u16(sum, old, port);
        packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Another identification, so that no fragment of another packet fits.
fn renumber(packet: &mut [u8], number: u16) {
    if packet[0] >> 4 == 6 {
        packet[46..48].copy_from_slice(&number.to_be_bytes());
        return;
    }
    let field = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let sum = checksum::update_u16(field(10), field(4), number);
    packet[4..6].copy_from_slice(&number.to_be_bytes());
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

struct Cases {
    list: Vec<Case>,
    port: u16,
}

impl Cases {
    fn add(&mut self, name: impl Into<String>, packet: Vec<u8>) {
        self.list.push(Case { name: name.into(), packet });
    }

    fn port(&mut self) -> u16 {
        self.port += 1;
        self.port
    }

    fn tcp(&mut self) {
        let flags = [
            ("SYN", SYN),
            ("SYN ACK", SYN | ACK),
            ("ACK", ACK),
            ("RST", RST),
            ("RST ACK", RST | ACK),
            ("FIN", FIN),
            ("FIN ACK", FIN | ACK),
            ("none", 0),
            ("SYN FIN", SYN | FIN),
            ("SYN RST", SYN | RST),
            ("PSH URG", PSH | URG),
            ("all", 0x3f),
            ("SYN ECE CWR", SYN | 0xc0),
        ];
        let options: [(&str, &[u8]); 8] = [
            ("MSS", &[2, 4, 5, 180]),
            ("MSS 0", &[2, 4, 0, 0]),
            ("MSS of wrong size", &[2, 3, 5, 1]),
            ("length 0", &[8, 0, 1, 1]),
            ("length beyond", &[8, 10, 1, 1]),
            ("unknown", &[200, 4, 1, 1]),
            ("scale 15", &[1, 3, 3, 15]),
            ("all that is usual", &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7]),
        ];
        for ends in Ends::USUAL {
            let family = ends.name();
            for (name, flags) in flags {
                for (state, to) in [("open", TCP_OPEN), ("closed", TCP_OPEN + 1)] {
                    for text in [0, 10] {
                        let port = self.port();
                        let segment = Tcp { text: vec![7; text], ..Tcp::new(port, to, flags) };
                        let packet = ends.wrap(6, &segment.bytes(ends));
                        self.add(format!("{family} TCP {state} {name} text {text}"), packet);
                    }
                }
            }
            for (name, options) in options {
                let port = self.port();
                let options = options.to_vec();
                let segment = Tcp { options, ..Tcp::new(port, TCP_OPEN, SYN) };
                self.add(
                    format!("{family} TCP SYN option {name}"),
                    ends.wrap(6, &segment.bytes(ends)),
                );
            }
            let port = self.port();
            let spoilt = Tcp { spoil: true, ..Tcp::new(port, TCP_OPEN, SYN) };
            self.add(format!("{family} TCP SYN wrong checksum"), ends.wrap(6, &spoilt.bytes(ends)));
            for words in [0, 4, 15] {
                let port = self.port();
                let segment = Tcp { words: Some(words), ..Tcp::new(port, TCP_OPEN, SYN) };
                let packet = ends.wrap(6, &segment.bytes(ends));
                self.add(format!("{family} TCP SYN of {words} words"), packet);
            }
            let port = self.port();
            let cut = &Tcp::new(port, TCP_OPEN, SYN).bytes(ends)[..12];
            self.add(format!("{family} TCP cut short"), ends.wrap(6, cut));
            let port = self.port();
            let zero = Tcp::new(port, 0, SYN).bytes(ends);
            self.add(format!("{family} TCP SYN to port 0"), ends.wrap(6, &zero));
        }
    }

    fn udp(&mut self) {
        for ends in Ends::USUAL {
            let family = ends.name();
            for (state, to) in [("open", UDP_OPEN), ("closed", UDP_OPEN + 1), ("port 0", 0)] {
                for (what, length, sum) in [
                    ("", None, None),
                    (" wrong checksum", None, Some(1)),
                    (" no checksum", None, Some(0)),
                    (" length 4", Some(4), None),
                    (" length 8", Some(8), None),
                    (" length beyond", Some(900), None),
                    (" length 0", Some(0), None),
                ] {
                    let mut bytes = Vec::new();
                    bytes.extend(self.port().to_be_bytes());
                    bytes.extend(to.to_be_bytes());
                    bytes.extend(length.unwrap_or(18_u16).to_be_bytes());
                    bytes.extend([0; 2]);
                    bytes.extend([9; 10]);
                    let covered = usize::from(length.unwrap_or(18)).clamp(8, 18);
                    let right = ends.transport(Protocol::UDP, &bytes[..covered]);
                    bytes[6..8].copy_from_slice(&sum.unwrap_or(right).to_be_bytes());
                    self.add(format!("{family} UDP {state}{what}"), ends.wrap(17, &bytes));
                }
            }
            let cut = ends.wrap(17, &[0, 9, 2, 189]);
            self.add(format!("{family} UDP cut short"), cut);
        }
    }

    fn icmp(&mut self) {
        let v4 = Ends::V4(PEER, HOST);
        for kind in 0..=20_u8 {
            for code in [0, 1] {
                let mut bytes = vec![kind, code, 0, 0];
                bytes.extend(self.port().to_be_bytes());
                bytes.extend([0, 1]);
                bytes.extend([5; 32]);
                let sum = checksum::sum(&bytes).finish();
                bytes[2..4].copy_from_slice(&sum.to_be_bytes());
                self.add(format!("v4 ICMP type {kind} code {code}"), v4.wrap(1, &bytes));
            }
        }
        let wrong = [8, 0, 1, 2, 0, 7, 0, 1, 5, 5];
        self.add("v4 ICMP echo wrong checksum", v4.wrap(1, &wrong));
        self.add("v4 ICMP cut short", v4.wrap(1, &[8, 0, 247]));
        for length in [0, 1, 1_000] {
            let echo = self.echo_v4(length);
            self.add(format!("v4 ICMP echo of {length} bytes"), v4.wrap(1, &echo));
        }
        let v6 = Ends::V6(PEER_V6, HOST_V6);
        for kind in [0, 1, 2, 3, 4, 5, 100, 127, 128, 129, 130, 131, 140, 150, 200, 255] {
            let port = self.port();
            let bytes = icmpv6(v6, kind, port, 32);
            self.add(format!("v6 ICMP type {kind}"), v6.wrap(58, &bytes));
        }
        for length in [0, 1, 1_000] {
            let port = self.port();
            let bytes = icmpv6(v6, 128, port, length);
            self.add(format!("v6 ICMP echo of {length} bytes"), v6.wrap(58, &bytes));
        }
        let mut wrong = icmpv6(v6, 128, 7, 8);
        wrong[2] ^= 0x55;
        self.add("v6 ICMP echo wrong checksum", v6.wrap(58, &wrong));
    }

    fn echo_v4(&mut self, length: usize) -> Vec<u8> {
        let mut echo = vec![8, 0, 0, 0];
        echo.extend(self.port().to_be_bytes());
        echo.extend([0, 1]);
        echo.resize(8 + length, 5);
        let sum = checksum::sum(&echo).finish();
        echo[2..4].copy_from_slice(&sum.to_be_bytes());
        echo
    }

    fn ipv4(&mut self) {
        let usual = V4 { protocol: 1, ..V4::default() };
        let addresses = [
            ("source 0.0.0.0", Ipv4Addr::UNSPECIFIED, HOST),
            ("source 127.0.0.1", Ipv4Addr::LOCALHOST, HOST),
            ("source of a group", Ipv4Addr::new(224, 0, 0, 5), HOST),
            ("source 255.255.255.255", Ipv4Addr::BROADCAST, HOST),
            ("source of ours", HOST, HOST),
            ("source of the net's broadcast", Ipv4Addr::new(10, 99, 0, 255), HOST),
            ("source reserved", Ipv4Addr::new(240, 1, 1, 1), HOST),
            ("to 255.255.255.255", PEER, Ipv4Addr::BROADCAST),
            ("to the net's broadcast", PEER, Ipv4Addr::new(10, 99, 0, 255)),
            ("to all hosts", PEER, Ipv4Addr::new(224, 0, 0, 1)),
            ("to another group", PEER, Ipv4Addr::new(224, 1, 2, 3)),
            ("to somebody else", PEER, Ipv4Addr::new(10, 99, 0, 77)),
            ("to 127.0.0.1", PEER, Ipv4Addr::LOCALHOST),
            ("to 0.0.0.0", PEER, Ipv4Addr::UNSPECIFIED),
        ];
        for (name, source, destination) in addresses {
            let echo = self.echo_v4(8);
            let packet = V4 { source, destination, ..usual.clone() }.around(&echo);
            self.add(format!("v4 {name}"), packet);
        }
        let fields = [
            ("wrong checksum", V4 { checksum: Some(1), ..usual.clone() }),
            ("version 5", V4 { version_ihl: Some(0x55), ..usual.clone() }),
            ("IHL 4", V4 { version_ihl: Some(0x44), ..usual.clone() }),
            ("IHL 15", V4 { version_ihl: Some(0x4f), ..usual.clone() }),
            ("total length 19", V4 { total_len: Some(19), ..usual.clone() }),
            ("total length beyond", V4 { total_len: Some(90), ..usual.clone() }),
            ("total length cuts", V4 { total_len: Some(30), ..usual.clone() }),
            ("TTL 0", V4 { ttl: 0, ..usual.clone() }),
            ("TTL 1", V4 { ttl: 1, ..usual.clone() }),
            ("the reserved flag", V4 { flags_offset: 0x8000, ..usual.clone() }),
            ("DF", V4 { flags_offset: 0x4000, ..usual.clone() }),
            ("a class", V4 { traffic_class: 0xb9, ..usual.clone() }),
        ];
        for (name, header) in fields {
            let echo = self.echo_v4(8);
            self.add(format!("v4 {name}"), header.around(&echo));
        }
        let options: [(&str, &[u8]); 15] = [
            ("no-ops", &[1, 1, 1, 0]),
            ("length 0", &[7, 0, 4, 0]),
            ("length 1", &[200, 1, 0, 0]),
            ("length beyond", &[200, 9, 0, 0]),
            ("record route", &[7, 7, 4, 0, 0, 0, 0, 0]),
            ("record route full", &[7, 7, 8, 10, 99, 0, 9, 0]),
            ("record route, wrong pointer", &[7, 7, 3, 0, 0, 0, 0, 0]),
            ("record route, two", &[7, 11, 8, 10, 99, 0, 9, 0, 0, 0, 0, 0]),
            ("timestamp", &[68, 8, 5, 0, 0, 0, 0, 0]),
            ("timestamp with address", &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("timestamp full", &[68, 8, 9, 0x20, 1, 2, 3, 4]),
            ("timestamp, wrong pointer", &[68, 8, 4, 0, 0, 0, 0, 0]),
            ("loose source route", &[131, 7, 4, 10, 99, 0, 9, 0]),
            ("strict source route", &[137, 7, 4, 10, 99, 0, 9, 0]),
            ("router alert", &[148, 4, 0, 0]),
        ];
        for (name, options) in options {
            let echo = self.echo_v4(8);
            let packet = V4 { options: options.to_vec(), ..usual.clone() }.around(&echo);
            self.add(format!("v4 option {name}"), packet);
        }
        for protocol in [0, 2, 41, 47, 132, 253] {
            let packet = V4 { protocol, ..V4::default() }.around(&[9; 20]);
            self.add(format!("v4 protocol {protocol}"), packet);
        }
        self.add("v4 nothing but a header", V4 { protocol: 253, ..V4::default() }.around(&[]));
        self.add("v4 cut short", vec![0x45, 0, 0, 40, 0, 0]);
    }

    fn ipv6(&mut self) {
        let groups: Ipv6Addr = "ff02::1".parse().unwrap_or(Ipv6Addr::UNSPECIFIED);
        let addresses = [
            ("source ::1", Ipv6Addr::LOCALHOST, HOST_V6),
            ("source ::", Ipv6Addr::UNSPECIFIED, HOST_V6),
            ("source of a group", groups, HOST_V6),
            ("source of ours", HOST_V6, HOST_V6),
            ("source of IPv4", Ipv4Addr::new(10, 99, 0, 1).to_ipv6_mapped(), HOST_V6),
            ("to all nodes", PEER_V6, groups),
            ("to another group", PEER_V6, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x99)),
            ("to ::1", PEER_V6, Ipv6Addr::LOCALHOST),
            ("to ::", PEER_V6, Ipv6Addr::UNSPECIFIED),
            ("to somebody else", PEER_V6, Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 77)),
        ];
        for (name, source, destination) in addresses {
            let port = self.port();
            let echo = icmpv6(Ends::V6(source, destination), 128, port, 8);
            let packet = V6 { source, destination, next_header: 58, ..V6::default() }.around(&echo);
            self.add(format!("v6 {name}"), packet);
        }
        let usual = Ends::V6(PEER_V6, HOST_V6);
        let fields = [
            ("version 7", V6 { version: 7, next_header: 58, ..V6::default() }),
            ("length beyond", V6 { payload_len: Some(900), next_header: 58, ..V6::default() }),
            ("length cuts", V6 { payload_len: Some(9), next_header: 58, ..V6::default() }),
            ("hop limit 0", V6 { hop_limit: 0, next_header: 58, ..V6::default() }),
            ("hop limit 1", V6 { hop_limit: 1, next_header: 58, ..V6::default() }),
        ];
        for (name, header) in fields {
            let port = self.port();
            let echo = icmpv6(usual, 128, port, 8);
            self.add(format!("v6 {name}"), header.around(&echo));
        }
        let extensions: [(&str, u8, &[u8]); 16] = [
            ("hop-by-hop PadN", 0, &[58, 0, 1, 4, 0, 0, 0, 0]),
            ("hop-by-hop unknown, skip", 0, &[58, 0, 0x1e, 4, 0, 0, 0, 0]),
            ("hop-by-hop unknown, drop", 0, &[58, 0, 0x5e, 4, 0, 0, 0, 0]),
            ("hop-by-hop unknown, tell", 0, &[58, 0, 0x9e, 4, 0, 0, 0, 0]),
            ("hop-by-hop unknown, tell hosts", 0, &[58, 0, 0xde, 4, 0, 0, 0, 0]),
            ("hop-by-hop option beyond", 0, &[58, 0, 0x1e, 40, 0, 0, 0, 0]),
            ("hop-by-hop beyond the packet", 0, &[58, 90, 1, 4, 0, 0, 0, 0]),
            ("router alert", 0, &[58, 0, 5, 2, 0, 0, 1, 0]),
            ("jumbo", 0, &[58, 0, 0xc2, 4, 0, 1, 0, 0]),
            ("destination options PadN", 60, &[58, 0, 1, 4, 0, 0, 0, 0]),
            ("destination options unknown, tell", 60, &[58, 0, 0x9e, 4, 0, 0, 0, 0]),
            ("routing type 0, none left", 43, &[58, 0, 0, 0, 0, 0, 0, 0]),
            ("routing type 0, one left", 43, &[58, 0, 0, 1, 0, 0, 0, 0]),
            ("routing type 200, one left", 43, &[58, 0, 200, 1, 0, 0, 0, 0]),
            ("nothing follows", 60, &[59, 0, 1, 4, 0, 0, 0, 0]),
            ("unknown next header", 60, &[253, 0, 1, 4, 0, 0, 0, 0]),
        ];
        for (name, next_header, extension) in extensions {
            let port = self.port();
            let mut payload = extension.to_vec();
            payload.extend(icmpv6(usual, 128, port, 8));
            self.add(format!("v6 {name}"), V6 { next_header, ..V6::default() }.around(&payload));
        }
        for next_header in [6_u8, 17, 41, 51, 59, 132, 253] {
            let packet = V6 { next_header, ..V6::default() }.around(&[9; 4]);
            self.add(format!("v6 next header {next_header}, 4 bytes"), packet);
        }
        let mut late =
            vec![60, 0, 1, 4, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 58, 0, 1, 4, 0, 0, 0, 0];
        let port = self.port();
        late.extend(icmpv6(usual, 128, port, 8));
        self.add("v6 hop-by-hop not first", V6 { next_header: 60, ..V6::default() }.around(&late));
    }

    fn fragments(&mut self) {
        let more = 0x2000;
        for (name, flags_offset, length) in [
            ("first only", more, 16),
            ("last only", 2, 16),
            ("of 7 bytes, more follow", more, 7),
            ("beyond 65,535", 0x1fff, 16),
            ("empty, more follow", more, 0),
        ] {
            let header = V4 { flags_offset, protocol: 1, ..V4::default() };
            self.add(format!("v4 fragment {name}"), header.around(&vec![5; length]));
        }
        for (name, offset_more, length) in [
            ("first only", 1_u16, 16),
            ("last only", 16, 16),
            ("of 7 bytes, more follow", 1, 7),
            ("beyond 65,535", 0xfff8, 16),
            ("empty, more follow", 1, 0),
        ] {
            let mut payload = vec![58, 0];
            payload.extend(offset_more.to_be_bytes());
            payload.extend([0, 0]);
            payload.extend(self.port().to_be_bytes());
            payload.resize(8 + length, 5);
            let header = V6 { next_header: 44, ..V6::default() };
            self.add(format!("v6 fragment {name}"), header.around(&payload));
        }
        let port = self.port();
        let mut atomic = vec![58, 0, 0, 0, 0, 0, 7, 7];
        atomic.extend(icmpv6(Ends::V6(PEER_V6, HOST_V6), 128, port, 8));
        self.add("v6 fragment atomic", V6 { next_header: 44, ..V6::default() }.around(&atomic));
    }
}

fn icmpv6(ends: Ends, kind: u8, identifier: u16, length: usize) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(identifier.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.resize(8 + length, 5);
    let sum = ends.transport(Protocol::ICMPV6, &bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}
