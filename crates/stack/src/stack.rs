//! The stack as a whole: one value, `&mut self` everywhere.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use arrayvec::ArrayVec;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::time::Instant;

use crate::config::Config;
use crate::counters::Counters;
use crate::dhcp::Dhcp;
use crate::event::{Event, Ready, SocketId};
use crate::icmp::Icmp;
use crate::info::SocketEntry;
use crate::ip::{FlowLabels, InterfaceId, Interfaces, Reassembly, Waiter};
use crate::packets::Packets;
use crate::ping::Pings;
use crate::reason::Dropped;
use crate::shard::{Shard, Steering};
use crate::shared::Shared;
use crate::tcp::Tcp;
use crate::trace::TraceEvent;
use crate::transmit::{Body, HeaderBuf, Packet, Transmit};
use crate::udp::Udp;

/// A TCP/IP host: interfaces with addresses, and the sockets of its programs.
///
/// One value per core and per queue of the device; it is `Send`, and holds no lock. See the
/// [crate's manual](crate) for how it is driven.
#[derive(Debug)]
pub struct Stack {
    pub(crate) shared: Shared,
    pub(crate) steering: Steering,
    pub(crate) interfaces: Interfaces,
    pub(crate) reassembly: Reassembly,
    pub(crate) icmp: Icmp,
    pub(crate) pings: Pings,
    pub(crate) packets: Packets,
    pub(crate) udp: Udp,
    /// Clients of DHCP, once there are any.
    pub(crate) dhcp: Option<Box<Dhcp>>,
    pub(crate) tcp: Tcp,
    /// Frames on their way from the stack to itself.
    loopback: VecDeque<FrameBuf>,
    /// The payload of the packet that the driver holds, when it is not in a send queue.
    in_transit: FrameBuf,
}

impl Stack {
    /// A stack with a loopback interface and nothing else.
    ///
    /// Every secret (sequence numbers, ports, cookies, hash keys) is derived from `seed`: give it
    /// 32 random bytes, or fixed ones where a run must be repeatable.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Self::new_shard(config, seed, Shard::ALONE)
    }

    /// One of the shards of a host: it opens, accepts and answers only what is its own, and hands
    /// over the frames that are not ([`Stack::poll_handover`]).
    ///
    /// Give all shards the same `seed`: they have the same secrets, because they are one host, and
    /// agree on whose is what. Give them the same interfaces and addresses, in the same order, and
    /// each its part of the limits ([`Config::divided`]).
    #[must_use]
    pub fn new_shard(config: Config, seed: [u8; 32], shard: Shard) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut stack = Self {
            interfaces: Interfaces::new(&mut rng),
            icmp: Icmp::new(&config),
            pings: Pings::new(),
            packets: Packets::default(),
            udp: Udp::new(&config, &mut rng),
            dhcp: None,
            tcp: Tcp::new(&config, &mut rng),
            steering: Steering::new(shard, [rng.next_u64(), rng.next_u64()]),
            // Last: what came before it keeps its secrets.
            reassembly: Reassembly::new(&mut rng),
            shared: Shared {
                flow_labels: FlowLabels::new([rng.next_u64(), rng.next_u64()]),
                ..Shared::new(config)
            },
            loopback: VecDeque::new(),
            in_transit: FrameBuf::default(),
        };
        stack.seed_autoconf(&mut rng);
        if !stack.shared.config.path_mtu_discovery {
            stack.interfaces.find_out_no_paths();
        }
        stack.interfaces.policy = stack.shared.config.address_policy.clone();
        stack.interfaces.public_first = stack.shared.config.prefer_public_addresses;
        stack
    }

    /// Adds an interface that carries frames as `capabilities` say, without an address.
    ///
    /// # Panics
    /// When there are 255 already.
    pub fn add_interface(&mut self, capabilities: Capabilities) -> InterfaceId {
        self.interfaces.add(capabilities)
    }

    /// How many bytes the buffers of all connections pin, of [`Config::memory_limit`].
    #[must_use]
    pub fn memory_used(&self) -> usize {
        self.shared.memory.used()
    }

    /// A frame came from `interface`. The stack keeps it, or offers its buffer again through
    /// [`Stack::spare_frame`].
    pub fn handle_frame(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        frame: FrameBuf,
        meta: ReceiveMeta,
    ) {
        self.shared.set_time(now);
        self.shared.spare.note_frame(&frame);
        if self.steering.is_alone() {
            self.frame_arrives(interface, frame, meta);
        } else {
            self.frame_arrives_at_shard(interface, frame, meta);
        }
    }

    /// Time has passed: fires every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.shared.set_time(now);
        self.interfaces.handle_timeout(&mut self.shared);
        if self.interfaces.is_configuring() {
            self.dhcp_timeout();
            self.resolvers_timeout();
            self.steering.tell_again(self.shared.now);
        }
        self.give_up_fragments();
        self.udp.handle_timeout(&mut self.shared);
        self.tcp.handle_timeout(&mut self.shared);
    }

    /// When [`Stack::handle_timeout`] has something to do; `None` while there is nothing to wait
    /// for but packets and commands.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.interfaces.poll_timeout(),
            self.reassembly.poll_timeout(),
            self.udp.poll_timeout(),
            self.tcp.poll_timeout(),
            self.configuration_due(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The next packet for the link, its headers written into `header`. `None` when there is
    /// nothing (more) to send now.
    ///
    /// What is returned counts as sent: a link that cannot take it keeps it.
    pub fn poll_transmit<'a>(
        &'a mut self,
        now: Instant,
        header: &'a mut HeaderBuf,
    ) -> Option<Transmit<'a>> {
        self.shared.set_time(now);
        loop {
            if let Some(frame) = self.loopback.pop_front() {
                self.frame_arrives(InterfaceId::LOOPBACK, frame, loopback_meta());
            }
            let Some(packet) = self.next_packet(header) else {
                if self.loopback.is_empty() {
                    return None;
                }
                continue;
            };
            if packet.interface == InterfaceId::LOOPBACK {
                self.loop_back(header, packet);
            } else {
                return Some(self.gather(header, packet));
            }
        }
    }

    /// The next thing that happened to a socket.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            let socket = self.shared.events.pop()?;
            let ready = self.take_pending(socket);
            if !ready.is_empty() {
                return Some(Event { socket, ready });
            }
        }
    }

    /// Whether [`Stack::poll_event`] has something to look at: a driver that is to sleep need not ask.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.shared.events.is_empty()
    }

    /// Turns the trace on or off. Off, it costs nothing.
    pub fn set_trace(&mut self, on: bool) {
        self.shared.trace.turn(on);
    }

    /// The next event of the trace, oldest first.
    pub fn poll_trace(&mut self) -> Option<TraceEvent> {
        self.shared.trace.pop()
    }

    /// How many trace events were lost because nobody fetched them in time.
    #[must_use]
    pub fn trace_lost(&self) -> u64 {
        self.shared.trace.lost()
    }

    /// A buffer that was read to its end, to receive the next frame into.
    pub fn spare_frame(&mut self) -> Option<FrameBuf> {
        self.shared.spare.take_frame()
    }

    /// How often each reason was given.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The limits and defaults of this stack.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Changes limits and defaults. What exists keeps what it began with; secrets stay.
    pub fn set_config(&mut self, config: Config) {
        self.interfaces.policy = config.address_policy.clone();
        self.interfaces.public_first = config.prefer_public_addresses;
        self.shared.config = config;
    }

    /// What `socket` is ready for now. Empty for a socket that is gone.
    #[must_use]
    pub fn readiness(&self, socket: SocketId) -> Ready {
        match socket {
            SocketId::Listener(id) => self.tcp.listener_readiness(id),
            SocketId::Connection(id) => self.tcp.connection_readiness(id),
            SocketId::Udp(id) => self.udp.readiness(id),
            SocketId::Ping(id) => self.pings.readiness(id),
            SocketId::Packets => self.packets.readiness(self.shared.config.packet_limit),
        }
    }

    /// Every socket, connection, half-open entry and TIME-WAIT, as `ss` lists them.
    #[must_use]
    pub fn sockets(&self) -> alloc::vec::Vec<SocketEntry> {
        let mut entries = alloc::vec::Vec::new();
        self.tcp.list(&self.shared, &mut entries);
        self.udp.list(&mut entries);
        self.pings.list(&mut entries);
        entries
    }

    fn take_pending(&mut self, socket: SocketId) -> Ready {
        match socket {
            SocketId::Listener(id) => self.tcp.take_listener_pending(id),
            SocketId::Connection(id) => self.tcp.take_connection_pending(id),
            SocketId::Udp(id) => self.udp.take_pending(id),
            SocketId::Ping(id) => self.pings.take_pending(id),
            SocketId::Packets => self.packets.take_pending(),
        }
    }

    /// The next packet of any protocol: first what keeps the network going, then answers, then
    /// programs' data.
    fn next_packet(&mut self, header: &mut HeaderBuf) -> Option<Packet> {
        loop {
            if self.interfaces.has_work() {
                self.resume_waiters();
            }
            if let Some(packet) = self.next_packet_beside_tcp(header) {
                return Some(packet);
            }
            let packet = self.tcp.next_packet(&mut self.shared, &mut self.interfaces, header);
            // Who looked for its next hop in vain left a question to send.
            if packet.is_some() || !self.interfaces.has_work() {
                return packet;
            }
            self.remove_abandoned();
        }
    }

    fn configuration_due(&self) -> Option<Instant> {
        if !self.interfaces.is_configuring() {
            return None;
        }
        [self.dhcp_due(), self.resolvers_due(), self.steering.due()].into_iter().flatten().min()
    }

    /// The next packet of the protocols that seldom have one.
    #[inline]
    fn next_packet_beside_tcp(&mut self, header: &mut HeaderBuf) -> Option<Packet> {
        if self.interfaces.is_configuring() {
            self.work_on_resolvers();
            if let Some(packet) = self.next_dhcp_packet(header) {
                return Some(packet);
            }
        }
        let (shared, interfaces) = (&mut self.shared, &mut self.interfaces);
        if interfaces.has_work()
            && let Some(packet) = interfaces.next_packet(shared, header)
        {
            return Some(packet);
        }
        if self.icmp.has_work()
            && let Some(packet) = self.icmp.next_packet(shared, interfaces, header)
        {
            return Some(packet);
        }
        if self.pings.has_work()
            && let Some(packet) = self.pings.next_packet(shared, interfaces, header)
        {
            return Some(packet);
        }
        if self.packets.has_work()
            && let Some(packet) = self.packets.next_packet(shared, interfaces, header)
        {
            return Some(packet);
        }
        if !self.udp.has_work() {
            return None;
        }
        self.echo_datagrams();
        self.udp.next_packet(&mut self.shared, &mut self.interfaces, header)
    }

    /// Whoever waited for a next hop's hardware address tries again, or gives up.
    fn resume_waiters(&mut self) {
        let shared = &mut self.shared;
        while let Some((waiter, outcome)) = self.interfaces.poll_resolved() {
            match waiter {
                Waiter::Tcp(ready) => self.tcp.next_hop_known(shared, ready, outcome),
                Waiter::Udp(parked) => self.udp.next_hop_known(shared, parked, outcome),
                Waiter::Ping(parked) => self.pings.next_hop_known(shared, parked, outcome),
                Waiter::Packet(parked) => self.packets.next_hop_known(shared, parked, outcome),
                Waiter::Icmp(reply) => self.icmp.next_hop_known(shared, reply, outcome),
            }
        }
    }

    /// Puts the payload's slices beside the headers, and completes what the link will not.
    #[inline]
    fn gather<'a>(&'a mut self, header: &'a mut HeaderBuf, packet: Packet) -> Transmit<'a> {
        let mut payload = ArrayVec::new();
        match packet.body {
            Body::Empty => {}
            Body::Frame(frame) => {
                let spent = core::mem::replace(&mut self.in_transit, frame);
                self.shared.recycle(spent);
                payload.push(&*self.in_transit);
            }
            Body::Stream { connection, offset, length, complete_checksum_at } => {
                self.tcp.payload(connection, offset, length, &mut payload);
                if let Some(at) = complete_checksum_at {
                    crate::tcp::output::complete_checksum(
                        &mut header.0[at..packet.header_len],
                        &payload,
                    );
                }
            }
        }
        Transmit {
            interface: packet.interface,
            header: &header.0[..packet.header_len],
            payload,
            meta: packet.meta,
        }
    }

    /// A packet to one of our own addresses: what was sent is received.
    fn loop_back(&mut self, header: &mut HeaderBuf, packet: Packet) {
        let frame = self.gather(header, packet).to_frame();
        let (inside, meta) = (InterfaceId::LOOPBACK, loopback_meta());
        let ours = self.steering.sort(&mut self.shared, Medium::Ip, inside, frame, meta);
        let Some(frame) = ours else { return };
        if self.loopback.len() < self.shared.config.loopback_limit {
            self.loopback.push_back(frame);
        } else {
            self.shared.drop_packet(None, Dropped::LoopbackFull);
        }
    }
}

/// Nothing can go wrong with bytes that never left the stack.
fn loopback_meta() -> ReceiveMeta {
    ReceiveMeta { checksum: wire::frame::ReceiveChecksum::Verified, segment_size: None }
}
