//! Runs a script: one stack, one link, and a clock that jumps from event to event.

mod outbound;
mod pending;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use stack::{HeaderBuf, InterfaceId, SocketId, Stack};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::ip::Protocol;
use wire::time::{Duration, Instant};
use wire::{icmpv4, icmpv6};

use super::ast::{Action, Event, Icmp, Moment, Packet, Script, When};
use super::calls::Activity;
use super::code::{Scope, Subject};
use super::flow::Flow;
use super::matcher::{self, Seen};
use super::relaxed::Owed;
use super::settings::Settings;
use super::sockets::Sockets;
use super::{Failure, Position, Problem, not_supported};
use crate::segment::{self, Flags, Segment};
use pending::Pending;

/// When scripts begin: not at zero, so that "before" exists.
const ORIGIN: Instant = Instant::from_millis(1_000_000);

/// How long `*` waits for a segment: longer than any timer of the stack.
const ANY_TIME: Duration = Duration::from_secs(24 * 3600);

/// How often the stack may want to be called without time passing before it counts as stuck.
const MAX_TURNS_AT_ONCE: u32 = 10_000;

/// How many timers may fire in one script: an idle connection with keep-alive could go on for ever.
const MAX_TIMERS: u32 = 1_000_000;

/// The numbers of remote ends that come after a later `listen` begin behind this one.
const FIRST_LATER_PEER: u16 = 10_000;

/// How many packets that no line asked for are kept.
const MAX_SEEN: usize = 100_000;

/// A script that was run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whether it passed, and if not, why.
    pub verdict: Result<(), Failure>,
    /// What happened, a line each, when [`Options::log`](super::Options::log) asks for it.
    pub log: Vec<String>,
    /// How much virtual time passed.
    pub elapsed: Duration,
}

impl Run {
    pub(super) fn without_events(failure: Failure) -> Run {
        Run { verdict: Err(failure), log: Vec::new(), elapsed: Duration::ZERO }
    }
}

/// Runs `script` from its first event to its last.
pub(super) fn run(script: &Script, settings: Settings) -> Run {
    match Runner::new(settings) {
        Err(error) => Run::without_events(Failure::without_place(error.to_string())),
        Ok(mut runner) => {
            let verdict = runner.script(script);
            Run { verdict, log: runner.log, elapsed: runner.now.since(ORIGIN) }
        }
    }
}

/// A script under way.
pub(super) struct Runner {
    pub(super) stack: Stack,
    pub(super) now: Instant,
    pub(super) settings: Settings,
    pub(super) sockets: Sockets,
    /// What happened to each socket that wakes an edge-triggered waiter.
    pub(super) activity: BTreeMap<SocketId, Activity>,
    /// The remote ends, by their number.
    flows: BTreeMap<u16, Flow>,
    /// The remote end of segments that name none: 0, or who came after a later `listen`.
    default_peer: u16,
    /// `listen` was called: the next SYN comes from somebody new, as with packetdrill.
    listens_anew: bool,
    interface: InterfaceId,
    /// What left the stack and no line expected yet, with its number.
    seen: VecDeque<(u64, Seen)>,
    /// How many packets left the stack.
    seen_count: u64,
    /// ACKs that may come later.
    owed: Owed,
    /// When the last event was over: relative times count from here.
    last_event: Instant,
    /// Settings that stand before the first event were read before the stack was made.
    begun: bool,
    /// A system call that blocks.
    pending: Option<Pending>,
    /// The variables of `%{ }%`.
    scope: Scope,
    timers_fired: u32,
    log: Vec<String>,
}

impl Runner {
    fn new(settings: Settings) -> Result<Self, stack::Error> {
        let mut stack = Stack::new(settings.config.clone(), [42; 32]);
        let interface = stack.add_interface(Capabilities {
            medium: Medium::Ip,
            mtu: settings.mtu,
            checksum: false,
            segmentation: false,
        });
        stack.add_address(
            interface,
            settings.local,
            if settings.local.is_ipv4() { 16 } else { 64 },
        )?;
        stack.set_gateway(interface, settings.remote)?;
        Ok(Self {
            stack,
            now: ORIGIN,
            settings,
            sockets: Sockets::default(),
            activity: BTreeMap::new(),
            flows: BTreeMap::new(),
            default_peer: 0,
            listens_anew: false,
            interface,
            seen: VecDeque::new(),
            seen_count: 0,
            owed: Owed::default(),
            last_event: ORIGIN,
            begun: false,
            pending: None,
            scope: Scope::default(),
            timers_fired: 0,
            log: Vec::new(),
        })
    }

    fn script(&mut self, script: &Script) -> Result<(), Failure> {
        let last = script.events.len().saturating_sub(1);
        let mut seen_before_last = 0;
        for (index, event) in script.events.iter().enumerate() {
            if index == last {
                seen_before_last = self.seen_count;
            }
            self.event(event)?;
        }
        let Some(last) = script.events.get(last) else { return Ok(()) };
        self.finish_call(last.position)?;
        if let Some(deadline) = self.owed.last_deadline() {
            self.advance(deadline).map_err(|failure| placed(failure, last.position))?;
            self.nothing_overdue(true)?;
        }
        if self.settings.minds_leftovers {
            self.nothing_unexpected(seen_before_last, last.position)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        let position = event.position;
        if let Action::Leaves(packet) = &event.action {
            self.begun = true;
            return self.leaves(packet, event.when, position);
        }
        let When::At(moment) = event.when else {
            return Err(position
                .failure(not_supported("a range of time for anything but a segment that leaves")));
        };
        let base = self.last_event;
        let start = self.moment(moment);
        self.advance(start).map_err(|failure| placed(failure, position))?;
        let late = self.now.since(start);
        if late > self.tolerance(start) {
            let late = format!("{late:?}");
            return Err(position.failure(format!("this event comes {late} too late")));
        }
        match &event.action {
            Action::Arrives(packet) => self.arrives(packet),
            Action::Icmp(icmp) => self.icmp(icmp),
            Action::Code(code) => self.code(code).map_err(|problem| position.failure(problem))?,
            Action::Shell(text) => self.shell(text).map_err(|p| position.failure(p))?,
            Action::Call(call) => {
                let until = event.until.map(|until| match moment {
                    Moment::Absolute(_) => ORIGIN.after(until),
                    Moment::Relative(_) => base.after(until),
                });
                self.call(call, until, position)?;
            }
            Action::Leaves(_) => {}
        }
        self.begun |= !matches!(event.action, Action::Shell(_));
        self.drain();
        self.retry_call()?;
        self.nothing_overdue(false)?;
        self.last_event = self.now;
        Ok(())
    }

    /// Settings before the first event were read before the stack was made.
    fn shell(&mut self, text: &str) -> Result<(), Problem> {
        if self.begun {
            self.settings.commands(text)?;
            self.stack.set_config(self.settings.config.clone());
        }
        Ok(())
    }

    fn moment(&self, moment: Moment) -> Instant {
        match moment {
            Moment::Absolute(time) => ORIGIN.after(time),
            Moment::Relative(time) => self.last_event.after(time),
        }
    }

    /// How early or late something may be that should happen at `expected`.
    fn tolerance(&self, expected: Instant) -> Duration {
        let share = expected.since(self.last_event) * self.settings.tolerance_permille / 1000;
        self.settings.tolerance.max(share)
    }

    /// Lets time pass until `to`, firing every timer of the stack at its own time.
    fn advance(&mut self, to: Instant) -> Result<(), Failure> {
        while self.step(to)? {}
        self.now = self.now.max(to);
        Ok(())
    }

    /// Fires the next timer, of the stack or of a call that waits, unless it is later than `limit`.
    fn step(&mut self, limit: Instant) -> Result<bool, Failure> {
        let of_call = self.pending.as_ref().and_then(|pending| pending.wakes_at);
        let next = [self.stack.poll_timeout(), of_call].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= limit) else { return Ok(false) };
        self.timers_fired += 1;
        if self.timers_fired > MAX_TIMERS {
            return Err(Failure::without_place(format!("more than {MAX_TIMERS} timers fired")));
        }
        self.now = self.now.max(next);
        let mut turns = 0;
        while self.stack.poll_timeout().is_some_and(|next| next <= self.now) {
            turns += 1;
            if turns > MAX_TURNS_AT_ONCE {
                return Err(Failure::without_place(
                    "the stack asks for one turn after another at the same time",
                ));
            }
            self.stack.handle_timeout(self.now);
            self.drain();
        }
        self.retry_call()?;
        Ok(true)
    }

    /// Takes everything that the stack wants to send, and what it announces.
    fn drain(&mut self) {
        let mut header = HeaderBuf::default();
        let mut left = Vec::new();
        while let Some(packet) = self.stack.poll_transmit(self.now, &mut header) {
            let reason = packet.meta.comment;
            let segment = Segment::parse(&packet.to_frame());
            left.push(Seen { time: self.now, segment, reason });
        }
        for seen in left {
            self.note_seen(&seen);
            if self.seen.len() < MAX_SEEN {
                self.seen.push_back((self.seen_count, seen));
            }
            self.seen_count += 1;
        }
        while let Some(event) = self.stack.poll_event() {
            self.activity.entry(event.socket).or_default().note(event.ready);
        }
    }

    fn note_seen(&mut self, seen: &Seen) {
        let Some(segment) = &seen.segment else { return };
        let Some(peer) = self.peer_of(segment.destination) else { return };
        if segment.flags.has(Flags::ACK) {
            self.owed.settle(peer, segment.ack);
        }
        if self.settings.log {
            let text = matcher::display_segment(&self.flow(peer).outbound(segment));
            self.log(&format!("> {text}  ({})", seen.reason));
        }
    }

    pub(super) fn log(&mut self, text: &str) {
        if self.settings.log {
            let time = self.now.since(ORIGIN);
            self.log.push(format!("{:>12.6}  {text}", time.as_secs_f64()));
        }
    }

    fn inject(&mut self, packet: Vec<u8>) {
        let frame = FrameBuf::from(packet);
        let segment_size = self.settings.segment_size;
        let meta = ReceiveMeta { segment_size, ..ReceiveMeta::default() };
        self.stack.handle_frame(self.now, self.interface, frame, meta);
    }

    fn arrives(&mut self, packet: &Packet) {
        if self.settings.log {
            self.log(&format!("< {}", matcher::display_packet(packet)));
        }
        if packet.flags.has(Flags::SYN) && !packet.flags.has(Flags::ACK) {
            self.meets_somebody(packet);
        }
        let peer = self.peer_of_packet(packet, packet.ports.map(|(source, _)| source));
        let mut segment = self.flow(peer).inbound(packet);
        if let Some((_, destination)) = packet.ports {
            segment.destination.set_port(destination);
        }
        let mut bytes = segment.to_packet();
        if packet.bad_checksum {
            bytes[self.ip_header_len() + 16] ^= 0x55;
        }
        self.inject(bytes);
    }

    fn icmp(&mut self, icmp: &Icmp) {
        self.log(&format!("< icmp type {} code {}", icmp.kind, icmp.code));
        let peer = if icmp.peer == 0 { self.default_peer } else { icmp.peer };
        let flow = self.flow(peer);
        let mut quoted = Segment::new(flow.local, flow.remote);
        quoted.seq = flow.to_wire(icmp.seq, false);
        quoted.flags = Flags::ACK;
        quoted.payload = vec![0; icmp.length as usize];
        // A router quotes the IP header and at least 8 bytes (RFC 792).
        let mut quoted = quoted.to_packet();
        quoted.truncate(self.ip_header_len() + 8);
        let [high, low] = icmp.mtu.to_be_bytes();
        let (router, host) = (self.settings.remote, self.settings.local);
        let (kind, code, protocol) = match (router, icmp.kind, icmp.code) {
            (IpAddr::V4(_), kind, code) => (kind, code, Protocol::ICMP),
            (IpAddr::V6(_), kind, code) => {
                let (kind, code) = in_icmpv6(kind, code);
                (kind, code, Protocol::ICMPV6)
            }
        };
        let mut message = vec![kind, code, 0, 0, 0, 0, high, low];
        message.extend(quoted);
        match (router, host) {
            (IpAddr::V6(from), IpAddr::V6(to)) => icmpv6::fill_checksum(from, to, &mut message),
            _ => icmpv4::fill_checksum(&mut message),
        }
        self.inject(segment::ip_packet(router, host, protocol, 0, &message));
    }

    fn ip_header_len(&self) -> usize {
        if self.settings.local.is_ipv4() { 20 } else { 40 }
    }

    fn code(&mut self, code: &str) -> Result<(), Problem> {
        let id = self.sockets.latest_connection();
        let info = id.and_then(|id| self.stack.info(id).ok());
        let outcome = self.scope.run(code, Subject { info: info.as_ref(), now: self.now });
        for line in std::mem::take(&mut self.scope.printed) {
            self.log(&line);
        }
        outcome
    }

    /// The first SYN after `listen` comes from a port that was not used yet.
    fn meets_somebody(&mut self, syn: &Packet) {
        let unnamed = syn.peer == 0 && syn.ports.is_none();
        let known = self.flows.get(&self.default_peer).is_some_and(Flow::is_used);
        if unnamed && std::mem::take(&mut self.listens_anew) && known {
            let last = self.flows.keys().next_back().copied().unwrap_or(0);
            self.default_peer = last.max(FIRST_LATER_PEER).wrapping_add(1);
        }
    }

    /// `listen` succeeded.
    pub(super) fn listens(&mut self) {
        self.listens_anew = true;
    }

    /// The program connects to the remote end `peer`: unnamed segments are of that conversation.
    pub(super) fn connects_to(&mut self, peer: u16) {
        self.listens_anew = false;
        if peer == 0 {
            self.default_peer = 0;
        }
    }

    /// The number of the remote end that `packet` comes from or goes to.
    fn peer_of_packet(&self, packet: &Packet, remote_port: Option<u16>) -> u16 {
        let unnamed = if packet.peer == 0 { self.default_peer } else { packet.peer };
        remote_port.map_or(unnamed, |port| port.wrapping_sub(self.settings.connect_port))
    }

    /// The remote end with this number.
    pub(super) fn flow(&mut self, peer: u16) -> &mut Flow {
        let settings = &self.settings;
        self.flows.entry(peer).or_insert_with(|| {
            let port = settings.connect_port.wrapping_add(peer);
            let local = SocketAddr::new(settings.local, settings.bind_port);
            Flow::new(local, SocketAddr::new(settings.remote, port))
        })
    }

    /// The number of a remote end, if it is on the remote host.
    pub(super) fn peer_of(&self, remote: SocketAddr) -> Option<u16> {
        let on_host = remote.ip() == self.settings.as_named(self.settings.remote);
        on_host.then(|| remote.port().wrapping_sub(self.settings.connect_port))
    }
}

/// A moment as a script would write it.
fn shown(time: Instant) -> String {
    Instant::ZERO.after(time.since(ORIGIN)).to_string()
}

/// The place of a failure, when it has none of its own.
fn placed(failure: Failure, position: Position) -> Failure {
    Failure { position: failure.position.or(Some(position)), ..failure }
}

/// The type and code of ICMPv6 for what a script says in those of ICMP (RFC 792, RFC 4443 3).
fn in_icmpv6(kind: u8, code: u8) -> (u8, u8) {
    match (kind, code) {
        // Fragmentation needed is a type of its own.
        (3, 4) => (2, 0),
        (3, 0 | 6) => (1, 0),
        (3, 3) => (1, 4),
        (3, 9 | 10 | 13) => (1, 1),
        // A protocol that is not spoken is a problem with the header that names it.
        (3, 2) => (4, 1),
        (3, _) => (1, 3),
        (11, code) => (3, code),
        (_, code) => (4, code),
    }
}
