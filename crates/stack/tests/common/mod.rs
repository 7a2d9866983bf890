//! Two stacks joined by nothing: what one sends, the other gets, in virtual time.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of a module they share"
)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use stack::{Config, ConnectionId, HeaderBuf, ListenerId, Stack, TcpOptions};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::time::Instant;

pub const A: &str = "10.0.0.1";
pub const B: &str = "10.0.0.2";

/// Which IP the two hosts speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The addresses of the two hosts, and how long the prefix of their link is.
    pub fn addresses(self) -> (IpAddr, IpAddr, u8) {
        match self {
            Family::V4 => (A.parse().unwrap(), B.parse().unwrap(), 24),
            Family::V6 => ("fd77::1".parse().unwrap(), "fd77::2".parse().unwrap(), 64),
        }
    }

    pub fn a(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses().0, port)
    }

    pub fn b(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses().1, port)
    }
}

/// Makes a test for each family of each function.
#[macro_export]
macro_rules! for_both_families {
    ($($name:ident),* $(,)?) => {
        mod v4 {
            $(#[test] fn $name() { super::$name($crate::common::Family::V4); })*
        }
        mod v6 {
            $(#[test] fn $name() { super::$name($crate::common::Family::V6); })*
        }
    };
}

/// A host, and the moment of its last turn.
pub struct Host {
    pub stack: Stack,
    pub interface: stack::InterfaceId,
}

pub fn host(address: &str, seed: u8, capabilities: Capabilities) -> Host {
    host_at(address.parse().unwrap(), 24, seed, capabilities)
}

pub fn host_at(address: IpAddr, prefix_len: u8, seed: u8, capabilities: Capabilities) -> Host {
    let mut stack = Stack::new(Config::default(), [seed; 32]);
    let interface = stack.add_interface(capabilities);
    stack.add_address(interface, address, prefix_len).unwrap();
    Host { stack, interface }
}

pub fn plain() -> Capabilities {
    Capabilities { medium: Medium::Ip, mtu: 1500, checksum: false, segmentation: false }
}

impl Host {
    /// Everything that it has to send now.
    pub fn frames(&mut self, now: Instant) -> Vec<(FrameBuf, ReceiveMeta)> {
        let mut header = HeaderBuf::default();
        let mut frames = Vec::new();
        while let Some(packet) = self.stack.poll_transmit(now, &mut header) {
            let checksum = match packet.meta.checksum {
                wire::frame::TransmitChecksum::Complete => wire::frame::ReceiveChecksum::Unverified,
                wire::frame::TransmitChecksum::Partial { .. } => {
                    wire::frame::ReceiveChecksum::Partial
                }
            };
            let meta = ReceiveMeta { checksum, segment_size: packet.meta.segment_size };
            frames.push((packet.to_frame(), meta));
            assert!(frames.len() < 100_000, "a stack that never stops sending");
        }
        frames
    }
}

/// Two hosts, and the time.
pub struct Pair {
    pub a: Host,
    pub b: Host,
    pub now: Instant,
    pub family: Family,
}

impl Pair {
    pub fn new(capabilities: Capabilities) -> Self {
        Self::over(Family::V4, capabilities)
    }

    pub fn over(family: Family, capabilities: Capabilities) -> Self {
        let (a, b, prefix_len) = family.addresses();
        Self {
            a: host_at(a, prefix_len, 1, capabilities),
            b: host_at(b, prefix_len, 2, capabilities),
            now: Instant::from_millis(1),
            family,
        }
    }

    /// Carries packets to and fro until both are silent; `lose` decides about each.
    pub fn settle_with(&mut self, mut lose: impl FnMut(bool, &[u8]) -> bool) {
        for _ in 0..10_000 {
            let from_a = self.a.frames(self.now);
            let from_b = self.b.frames(self.now);
            if from_a.is_empty() && from_b.is_empty() {
                return;
            }
            for (frame, meta) in from_a {
                if !lose(true, &frame) {
                    self.b.stack.handle_frame(self.now, self.b.interface, frame, meta);
                }
            }
            for (frame, meta) in from_b {
                if !lose(false, &frame) {
                    self.a.stack.handle_frame(self.now, self.a.interface, frame, meta);
                }
            }
        }
        panic!("the two never fall silent");
    }

    pub fn settle(&mut self) {
        self.settle_with(|_, _| false);
    }

    /// Moves to the next deadline of either; gives back whether there was one.
    pub fn next_deadline(&mut self) -> bool {
        let deadlines = [self.a.stack.poll_timeout(), self.b.stack.poll_timeout()];
        let Some(at) = deadlines.into_iter().flatten().min() else { return false };
        self.now = self.now.max(at);
        self.a.stack.handle_timeout(self.now);
        self.b.stack.handle_timeout(self.now);
        true
    }

    pub fn wait(&mut self, time: Duration) {
        let until = self.now.after(time);
        loop {
            let deadlines = [self.a.stack.poll_timeout(), self.b.stack.poll_timeout()];
            match deadlines.into_iter().flatten().min() {
                Some(at) if at <= until => {
                    self.next_deadline();
                    self.settle();
                }
                _ => break,
            }
        }
        self.now = until;
    }

    /// A listener on B, and a connection to it from A: both ends, open.
    pub fn connected(&mut self) -> (ConnectionId, ConnectionId) {
        let listener = self.listen(80, 16);
        let client = self.connect(80);
        self.settle();
        let (server, _) = self.b.stack.accept(self.now, listener).expect("a connection waits");
        (client, server)
    }

    pub fn listen(&mut self, port: u16, backlog: usize) -> ListenerId {
        let local = self.family.b(port);
        self.b.stack.listen(self.now, local, backlog, TcpOptions::default()).unwrap()
    }

    pub fn connect(&mut self, port: u16) -> ConnectionId {
        let remote = self.family.b(port);
        self.a.stack.connect(self.now, None, remote, TcpOptions::default()).unwrap()
    }
}
