//! A host of several shards, without a driver: a test carries their frames.

use std::net::{IpAddr, SocketAddr};

use estab_stack::reason::Dropped;
use estab_stack::{
    Config, ConnectionId, HeaderBuf, InterfaceId, ListenerId, Shard, Stack, TcpOptions,
};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::time::{Duration, Instant};

use super::{US, v4};

/// The shards of the host at 10.77.0.2, without a driver: a test carries their frames.
pub(crate) struct Shards {
    pub(crate) stacks: Vec<Stack>,
    pub(crate) interface: InterfaceId,
    pub(crate) now: Instant,
}

impl Shards {
    pub(crate) fn new(count: u16) -> Self {
        Self::with(count, &Config::default(), Medium::Ip)
    }

    pub(crate) fn with(count: u16, config: &Config, medium: Medium) -> Self {
        let capabilities = Capabilities { medium, mtu: 1500, checksum: false, segmentation: false };
        let mut interface = InterfaceId::LOOPBACK;
        let stacks = (0..count)
            .map(|index| {
                let shard = Shard::new(index, count).unwrap();
                let mut stack = Stack::new_shard(config.clone(), [7; 32], shard);
                interface = stack.add_interface(capabilities);
                stack.add_address(interface, IpAddr::V4(US), 24).unwrap();
                stack
            })
            .collect();
        Self { stacks, interface, now: Instant::from_millis(1000) }
    }

    /// A frame comes from `queue` of the device, and goes to its owner.
    pub(crate) fn arrives(&mut self, queue: usize, frame: &[u8]) {
        let frame = FrameBuf::copy_from(frame);
        let meta = ReceiveMeta::default();
        self.stacks[queue].handle_frame(self.now, self.interface, frame, meta);
        self.carry();
    }

    /// Hands over what waits for its owner; says how many frames that were.
    pub(crate) fn carry(&mut self) -> usize {
        let mut count = 0;
        for from in 0..self.stacks.len() {
            count += self.carry_from(from);
        }
        count
    }

    pub(crate) fn carry_from(&mut self, from: usize) -> usize {
        let mut count = 0;
        while let Some(handover) = self.stacks[from].poll_handover() {
            let to = usize::from(handover.to);
            assert_ne!(from, to, "nobody hands over to itself");
            self.stacks[to].handle_handover(self.now, handover);
            // What its owner put together from fragments may be another's.
            count += 1 + self.carry_from(to);
            assert!(count < 1000, "handed over for ever");
        }
        count
    }

    /// Everything that the shards send now, each frame with the queue that it leaves by.
    pub(crate) fn sends(&mut self) -> Vec<(usize, Vec<u8>)> {
        let mut header = HeaderBuf::default();
        let mut frames = Vec::new();
        loop {
            let before = frames.len();
            for (queue, stack) in self.stacks.iter_mut().enumerate() {
                while let Some(transmit) = stack.poll_transmit(self.now, &mut header) {
                    frames.push((queue, transmit.to_frame().to_vec()));
                }
            }
            // What a shard sends to the host itself may be another's.
            if self.carry() == 0 && frames.len() == before {
                return frames;
            }
        }
    }

    pub(crate) fn later(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        for stack in &mut self.stacks {
            stack.handle_timeout(self.now);
        }
    }

    pub(crate) fn dropped(&self, reason: Dropped) -> u64 {
        self.stacks.iter().map(|stack| stack.counters().dropped(reason)).sum()
    }

    pub(crate) fn listen(&mut self, port: u16, options: &TcpOptions) -> Vec<ListenerId> {
        let now = self.now;
        let listen = |stack: &mut Stack| stack.listen(now, v4(US, port), 128, options.clone());
        self.stacks.iter_mut().map(|stack| listen(stack).unwrap()).collect()
    }

    /// A connection that waits on any shard.
    pub(crate) fn accept(
        &mut self,
        listeners: &[ListenerId],
    ) -> Option<(usize, ConnectionId, SocketAddr)> {
        let now = self.now;
        self.stacks.iter_mut().zip(listeners).enumerate().find_map(|(index, (stack, &id))| {
            let (connection, peer) = stack.accept(now, id).ok()?;
            Some((index, connection, peer))
        })
    }
}
