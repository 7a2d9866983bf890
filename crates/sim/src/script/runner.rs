//! Runs a script: one stack, one link, and a clock that jumps from event to event.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};

use stack::{HeaderBuf, InterfaceId, Stack};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::icmpv4;
use wire::ip::Protocol;
use wire::time::{Duration, Instant};

use super::ast::{Action, Call, Event, Icmp, Moment, Packet, Script, When};
use super::calls::{Outcome, Returned};
use super::flow::Flow;
use super::matcher::{self, Due, Seen};
use super::settings::Settings;
use super::sockets::Sockets;
use super::{Failure, Position, assertions};
use crate::segment::{self, Segment};

/// When scripts begin: not at zero, so that "before" exists.
const ORIGIN: Instant = Instant::from_millis(1_000_000);

/// How long `*` waits for a segment: longer than any timer of the stack.
const ANY_TIME: Duration = Duration::from_secs(24 * 3600);

/// How often the stack may want to be called without time passing before it counts as stuck.
const MAX_TURNS_AT_ONCE: u32 = 10_000;

/// Runs `script` from its first event to its last.
pub(super) fn run(script: &Script) -> Result<(), Failure> {
    let mut runner = Runner::new(script)?;
    let last = script.events.len().saturating_sub(1);
    let mut seen_before_last = 0;
    for (index, event) in script.events.iter().enumerate() {
        if index == last {
            seen_before_last = runner.seen_count;
        }
        runner.event(event)?;
    }
    let Some(last) = script.events.get(last) else { return Ok(()) };
    runner.finish_call(last.position)?;
    runner.nothing_unexpected(seen_before_last, last.position)
}

/// A script under way.
pub(super) struct Runner {
    pub(super) stack: Stack,
    pub(super) now: Instant,
    pub(super) settings: Settings,
    pub(super) sockets: Sockets,
    /// The remote ends, by their number.
    flows: BTreeMap<u16, Flow>,
    interface: InterfaceId,
    /// What left the stack and no line expected yet, with its number.
    seen: VecDeque<(u64, Seen)>,
    /// How many packets left the stack.
    seen_count: u64,
    /// When the last event was: relative times count from here.
    last_event: Instant,
    /// Time after which settings are too late.
    begun: bool,
    /// A system call that blocks.
    pending: Option<Pending>,
}

/// A system call that has not returned yet.
struct Pending {
    call: Call,
    position: Position,
    until: Instant,
}

impl Runner {
    fn new(script: &Script) -> Result<Self, Failure> {
        let settings = Settings::of(script)?;
        let mut stack = Stack::new(settings.config.clone(), [42; 32]);
        let interface = stack.add_interface(Capabilities {
            medium: Medium::Ip,
            mtu: settings.mtu,
            checksum: false,
            segmentation: false,
        });
        stack
            .add_address(interface, settings.local.into(), 16)
            .and_then(|()| stack.set_gateway(interface, settings.remote.into()))
            .map_err(|error| Failure { path: None, position: None, message: error.to_string() })?;
        Ok(Self {
            stack,
            now: ORIGIN,
            settings,
            sockets: Sockets::default(),
            flows: BTreeMap::new(),
            interface,
            seen: VecDeque::new(),
            seen_count: 0,
            last_event: ORIGIN,
            begun: false,
            pending: None,
        })
    }

    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        let position = event.position;
        if let Action::Shell(text) = &event.action {
            return self.shell(text, event, position);
        }
        self.begun = true;
        if let Action::Leaves(packet) = &event.action {
            return self.leaves(packet, event.when, position);
        }
        let When::At(moment) = event.when else {
            return Err(position.failure("only a segment that leaves may come at any time"));
        };
        let start = self.moment(moment);
        self.advance(start).map_err(|message| position.failure(message))?;
        let base = self.last_event;
        self.last_event = start;
        match &event.action {
            Action::Arrives(packet) => self.arrives(packet),
            Action::Icmp(icmp) => self.icmp(icmp),
            Action::Code(code) => self.code(code).map_err(|message| position.failure(message))?,
            Action::Call(call) => {
                let until = event.until.map(|until| match moment {
                    Moment::Absolute(_) => ORIGIN.after(until),
                    Moment::Relative(_) => base.after(until),
                });
                self.call(call, until, position)?;
            }
            Action::Leaves(_) | Action::Shell(_) => {}
        }
        self.drain();
        self.retry_call()
    }

    /// Settings were read before the stack was made; afterwards they would come too late.
    fn shell(&mut self, text: &str, event: &Event, position: Position) -> Result<(), Failure> {
        if !self.begun {
            return Ok(());
        }
        // A line that does nothing lets time pass at the end of a script.
        if text.trim() == "true" {
            let When::At(moment) = event.when else {
                return Err(position.failure("a command needs a time"));
            };
            let time = self.moment(moment);
            self.advance(time).map_err(|message| position.failure(message))?;
            self.last_event = time;
            return self.retry_call();
        }
        Err(position.failure("settings must stand before the first event"))
    }

    fn moment(&self, moment: Moment) -> Instant {
        match moment {
            Moment::Absolute(time) => ORIGIN.after(time),
            Moment::Relative(time) => self.last_event.after(time),
        }
    }

    /// Lets time pass until `to`, firing every timer of the stack at its own time.
    fn advance(&mut self, to: Instant) -> Result<(), String> {
        while self.step(to)? {}
        self.now = self.now.max(to);
        Ok(())
    }

    /// Fires the stack's next timer, unless it is later than `limit`.
    fn step(&mut self, limit: Instant) -> Result<bool, String> {
        let Some(next) = self.stack.poll_timeout().filter(|next| *next <= limit) else {
            return Ok(false);
        };
        self.now = self.now.max(next);
        let mut turns = 0;
        while self.stack.poll_timeout().is_some_and(|next| next <= self.now) {
            turns += 1;
            if turns > MAX_TURNS_AT_ONCE {
                return Err("the stack asks for one turn after another at the same time".into());
            }
            self.stack.handle_timeout(self.now);
            self.drain();
        }
        self.retry_call().map_err(|failure| failure.to_string())?;
        Ok(true)
    }

    /// Takes everything that the stack wants to send.
    pub(super) fn drain(&mut self) {
        let mut header = HeaderBuf::default();
        while let Some(packet) = self.stack.poll_transmit(self.now, &mut header) {
            let reason = packet.meta.comment;
            let segment = Segment::parse(&packet.to_frame());
            self.seen.push_back((self.seen_count, Seen { time: self.now, segment, reason }));
            self.seen_count += 1;
        }
        while self.stack.poll_event().is_some() {}
    }

    fn inject(&mut self, packet: Vec<u8>) {
        let frame = FrameBuf::from(packet);
        self.stack.handle_frame(self.now, self.interface, frame, ReceiveMeta::default());
    }

    fn arrives(&mut self, packet: &Packet) {
        let bad_checksum = packet.bad_checksum;
        let mut bytes = self.flow(packet.peer).inbound(packet).to_packet();
        if bad_checksum {
            bytes[36] ^= 0x55;
        }
        self.inject(bytes);
    }

    fn icmp(&mut self, icmp: &Icmp) {
        let flow = self.flow(icmp.peer);
        let mut quoted = Segment::new(flow.local, flow.remote);
        quoted.seq = flow.to_wire(icmp.seq);
        quoted.flags = segment::Flags::ACK;
        quoted.payload = vec![0; icmp.length as usize];
        // A router quotes the IP header and at least 8 bytes (RFC 792).
        let mut quoted = quoted.to_packet();
        quoted.truncate(28);
        let [high, low] = icmp.mtu.to_be_bytes();
        let mut message = vec![icmp.kind, icmp.code, 0, 0, 0, 0, high, low];
        message.extend(quoted);
        icmpv4::fill_checksum(&mut message);
        let (router, host) = (self.settings.remote, self.settings.local);
        self.inject(segment::ip_packet(router, host, Protocol::ICMP, 0, &message));
    }

    /// A segment should leave: waits for it as long as `when` allows, and compares.
    fn leaves(&mut self, packet: &Packet, when: When, at: Position) -> Result<(), Failure> {
        let due = match when {
            When::Any => Due { earliest: ORIGIN, latest: self.now.after(ANY_TIME) },
            When::At(moment) => {
                let time = self.moment(moment);
                Due { earliest: time, latest: time }
            }
            When::Between(from, to) => Due { earliest: self.moment(from), latest: self.moment(to) },
        };
        let limit = due.latest.after(self.settings.tolerance);
        let place = loop {
            if let Some(place) = self.next_seen(packet.peer) {
                break Some(place);
            }
            if !self.step(limit).map_err(|message| at.failure(message))? {
                break None;
            }
        };
        let expected = Some((packet, Self::display_due(when, due)));
        let Some((_, seen)) = place.and_then(|place| self.seen.remove(place)) else {
            let text = matcher::side_by_side("a segment did not leave", expected, None, ORIGIN);
            return Err(at.failure(text));
        };
        let tolerance = self.settings.tolerance;
        let clock = self.settings.compares_timestamps;
        let flow = self.flow(packet.peer);
        let outcome = match &seen.segment {
            None => Err("protocol".to_string()),
            Some(segment) => {
                flow.learn(packet, segment);
                matcher::compare(packet, segment, flow, clock)
            }
        };
        let on_time = due.admits(seen.time, tolerance);
        let problem = match (outcome, on_time) {
            (Ok(()), true) => {
                let exact = matches!(when, When::At(_));
                self.last_event = if exact { due.earliest } else { seen.time };
                return Ok(());
            }
            (Ok(()), false) => "a segment left at another time".to_string(),
            (Err(wrong), true) => format!("another segment left: {wrong} differ"),
            (Err(wrong), false) => format!("another segment left: {wrong}, time differ"),
        };
        let text = matcher::side_by_side(&problem, expected, Some((&seen, flow)), ORIGIN);
        Err(at.failure(text))
    }

    fn display_due(when: When, due: Due) -> String {
        let time = |at: Instant| Instant::ZERO.after(at.since(ORIGIN));
        match when {
            When::Any => "*".to_string(),
            When::At(_) => time(due.earliest).to_string(),
            When::Between(..) => format!("{}~{}", time(due.earliest), time(due.latest)),
        }
    }

    /// The first packet that nobody expected yet and that goes to `peer`, or is not TCP at all.
    fn next_seen(&mut self, peer: u16) -> Option<usize> {
        let remote = self.flow(peer).remote;
        self.seen.iter().position(|(_, seen)| {
            seen.segment.as_ref().is_none_or(|segment| segment.destination == remote)
        })
    }

    fn nothing_unexpected(&mut self, count: u64, position: Position) -> Result<(), Failure> {
        let Some((_, seen)) = self.seen.iter().find(|(number, _)| *number < count) else {
            return Ok(());
        };
        let seen = seen.clone();
        let peer = seen.segment.as_ref().and_then(|s| self.peer_of(s.destination)).unwrap_or(0);
        let flow = self.flow(peer);
        let problem = "the script ends, and no line expects this";
        let text = matcher::side_by_side(problem, None, Some((&seen, flow)), ORIGIN);
        Err(position.failure(text))
    }

    fn code(&mut self, code: &str) -> Result<(), String> {
        let id = self.sockets.latest_connection().ok_or("no connection is open to ask")?;
        let info = self.stack.info(id).map_err(|error| error.to_string())?;
        assertions::check(code, &info)
    }

    /// The remote end with this number.
    pub(super) fn flow(&mut self, peer: u16) -> &mut Flow {
        let settings = &self.settings;
        self.flows.entry(peer).or_insert_with(|| {
            let port = settings.connect_port.wrapping_add(peer);
            let local = SocketAddrV4::new(settings.local, settings.bind_port);
            Flow::new(local, SocketAddrV4::new(settings.remote, port))
        })
    }

    /// The number of a remote end, if it is on the remote host.
    pub(super) fn peer_of(&self, remote: SocketAddrV4) -> Option<u16> {
        let on_host = *remote.ip() == self.settings.remote;
        on_host.then(|| remote.port().wrapping_sub(self.settings.connect_port))
    }

    /// As [`Runner::peer_of`], for what the stack says.
    pub(super) fn peer_of_any(&self, remote: SocketAddr) -> Option<u16> {
        match remote {
            SocketAddr::V4(v4) => self.peer_of(v4),
            SocketAddr::V6(_) => None,
        }
    }

    fn call(&mut self, call: &Call, until: Option<Instant>, at: Position) -> Result<(), Failure> {
        self.finish_call(at)?;
        let outcome = self.attempt(call).map_err(|message| at.failure(message))?;
        match (outcome, until) {
            (Outcome::Returned(returned), None) => Self::check_return(call, &returned, at),
            (Outcome::Returned(_), Some(until))
                if until > self.now.after(self.settings.tolerance) =>
            {
                Err(at.failure(format!("{} returned at once instead of blocking", call.name)))
            }
            (Outcome::Returned(returned), Some(_)) => Self::check_return(call, &returned, at),
            (Outcome::Blocks, Some(until)) => {
                self.pending = Some(Pending { call: call.clone(), position: at, until });
                Ok(())
            }
            (Outcome::Blocks, None) => Err(at.failure(format!(
                "{} blocks; write `+0...TIME` when it should return later",
                call.name
            ))),
        }
    }

    /// Tries a blocked call again: something happened.
    fn retry_call(&mut self) -> Result<(), Failure> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let at = pending.position;
        match self.attempt(&pending.call).map_err(|message| at.failure(message))? {
            Outcome::Blocks => self.pending = Some(pending),
            Outcome::Returned(returned) => {
                self.drain();
                let due = Due { earliest: pending.until, latest: pending.until };
                Self::check_return(&pending.call, &returned, at)?;
                if !due.admits(self.now, self.settings.tolerance) {
                    let time = |t: Instant| Instant::ZERO.after(t.since(ORIGIN));
                    return Err(at.failure(format!(
                        "{} returned at {}, expected at {}",
                        pending.call.name,
                        time(self.now),
                        time(pending.until)
                    )));
                }
            }
        }
        Ok(())
    }

    /// Lets time pass until a blocked call has returned.
    fn finish_call(&mut self, at: Position) -> Result<(), Failure> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let limit = pending.until.after(self.settings.tolerance);
        while self.pending.is_some() {
            if !self.step(limit).map_err(|message| at.failure(message))? {
                break;
            }
        }
        match &self.pending {
            None => Ok(()),
            Some(pending) => {
                Err(pending.position.failure(format!("{} does not return", pending.call.name)))
            }
        }
    }

    fn check_return(call: &Call, returned: &Returned, at: Position) -> Result<(), Failure> {
        returned.check(call).map_err(|message| at.failure(message))
    }
}
