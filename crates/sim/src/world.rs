//! Hosts, lines and programs in virtual time, all drawn from one seed.
//!
//! A [`Scenario`] says who is there; [`draw::scenario`] makes one from a seed: servers and clients,
//! lines between them that lose, delay, repeat, reorder, damage and queue packets, and programs on
//! both ends of every connection. [`run`] lets it happen until every endpoint is gone, or until
//! something is not as it must be. The same scenario gives the same world, packet by packet.
//!
//! | what is checked | where |
//! |---|---|
//! | every packet, as it leaves | [`checker`] |
//! | every change of state, and both ends together | [`states`] |
//! | the inside of every connection, after each turn | [`laws`] |
//! | every byte that a program reads, and what it may expect in the end | [`program`], [`programs`] |
//! | that it ends, and when at the latest | [`liveness`] |
//! | datagrams and pings, in fragments, and what routers say of them | [`talks`], [`router`] |
//!
//! What fails is made small by [`shrink`], and found by [`hunt`].

pub mod checker;
pub mod dice;
pub mod draw;
pub mod host;
pub mod hunt;
pub mod laws;
pub mod line;
pub mod liveness;
pub mod peek;
pub mod program;
pub mod programs;
pub mod router;
pub mod scenario;
pub mod shrink;
pub mod states;
pub mod stream;
pub mod talks;

use std::fmt;
use std::num::NonZeroU16;

use link::impair::Packet;
use link::split;
use stack::trace::{Timer, What};
use stack::{TcpInfo, TraceEvent};
use wire::frame::{FrameBuf, Medium, ReceiveChecksum, ReceiveMeta, TransmitChecksum, TransmitMeta};
use wire::time::{Duration, Instant};

use crate::segment::Segment;
use checker::Checker;
use dice::Dice;
use host::Host;
use laws::Laws;
use line::{Line, Tag};
use programs::Programs;
use router::TooLong;
pub use scenario::Scenario;
use states::States;
use talks::Talks;

/// How many turns a world may take without time passing.
const MAX_TURNS_AT_ONCE: u32 = 20_000;

/// When nothing happens for so long, every host's timers are looked at.
const QUIET: Duration = Duration::from_millis(150);

/// A host without connections forgets everything within this: a way's MTU after ten minutes.
const FADES: Duration = Duration::from_secs(11 * 60);

/// What a world was like, for whoever wants to know whether it tested anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// When the last endpoint was gone, or when it stopped.
    pub ended: Instant,
    /// How many packets the lines were given.
    pub packets: u64,
    /// How many of them were lost, for whatever reason.
    pub lost: u64,
    /// How many bytes the programs read.
    pub bytes: u64,
}

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// When it was found.
    pub time: Instant,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", self.time, self.what)
    }
}

impl std::error::Error for Violation {}

/// Who looks at a world while it runs. An end is twice the flow's number, and one more for its
/// server.
pub trait Observer {
    /// Whether [`packet`](Observer::packet) is wanted.
    fn wants_packets(&self) -> bool {
        false
    }

    /// A packet left a host.
    fn packet(&mut self, now: Instant, from: usize, line: checker::Line<'_>) {
        let _ = (now, from, line);
    }

    /// A line lost a packet.
    fn lost(&mut self, at: Instant, line: usize, tag: Tag) {
        let _ = (at, line, tag);
    }

    /// A turn changed something about an end's connection.
    fn turned(&mut self, now: Instant, end: usize, info: &TcpInfo, received: u64) {
        let _ = (now, end, info, received);
    }

    /// A stack says what it did and why.
    fn told(&mut self, host: usize, event: &TraceEvent) {
        let _ = (host, event);
    }

    /// Time passes.
    fn passes(&mut self, now: Instant) {
        let _ = now;
    }
}

/// Nobody looks.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;
impl Observer for Nobody {}

/// Lets a world happen.
///
/// # Errors
/// With the first thing that is not as it must be.
pub fn run(scenario: &Scenario) -> Result<Report, Violation> {
    run_observed(scenario, &mut Nobody)
}

/// Lets a world happen, and shows it to `observer`.
///
/// # Errors
/// With the first thing that is not as it must be.
pub fn run_observed(scenario: &Scenario, observer: &mut dyn Observer) -> Result<Report, Violation> {
    let mut world = World::new(scenario, observer);
    let outcome = world.run();
    let time = world.now;
    outcome.map_err(|what| Violation { time, what })
}

struct World<'a> {
    scenario: &'a Scenario,
    observer: &'a mut dyn Observer,
    now: Instant,
    dice: Dice,
    hosts: Vec<Host>,
    lines: Vec<Line>,
    /// The routes, by the numbers of both hosts.
    routes: Vec<Vec<&'a [usize]>>,
    programs: Programs,
    talks: Talks,
    checker: Checker,
    states: States,
    laws: Laws,
    /// When the lines become perfect, until they are.
    heals: Option<Instant>,
    /// The ends of flows about which something changed in this turn.
    touched: Vec<usize>,
    /// For a packet that leaves.
    whole: Vec<u8>,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, observer: &'a mut dyn Observer) -> Self {
        let mut dice = Dice::new(scenario.seed);
        let mut hosts = make_hosts(scenario, &mut dice);
        let talks = Talks::new(scenario, &mut hosts);
        let line_seed = dice.pick(0..=u64::MAX - 1);
        let lines = scenario.lines.iter().enumerate().map(|(number, plan)| {
            let (changes, narrow) = (plan.changes.clone(), plan.narrow.clone());
            Line::new(plan.impairment, changes, narrow, line_seed, number)
        });
        let count = hosts.len();
        let route = |from, to| scenario.routes.get(&(from, to)).map_or(&[][..], Vec::as_slice);
        let routes =
            (0..count).map(|from| (0..count).map(|to| route(from, to)).collect()).collect();
        Self {
            scenario,
            observer,
            now: Instant::ZERO,
            lines: lines.collect(),
            dice,
            hosts,
            routes,
            programs: Programs::new(scenario),
            talks,
            checker: Checker::new(scenario),
            states: States::new(scenario.flows.len(), scenario.has_cookies()),
            laws: Laws::new(shortest_round_trips(scenario)),
            heals: scenario.heals,
            touched: Vec::new(),
            whole: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<Report, String> {
        let bound = liveness::bound(self.scenario).unwrap_or(Instant::FAR_FUTURE);
        let until = self.scenario.until.unwrap_or(Instant::FAR_FUTURE);
        let mut turns = 0;
        while !self.is_over() {
            let Some(next) = self.next_time() else {
                return Err(format!("nothing will ever happen again, but {}", self.leftovers()));
            };
            if next > until {
                self.now = until;
                return Ok(self.report());
            }
            turns = if next > self.now { 0 } else { turns + 1 };
            if turns > MAX_TURNS_AT_ONCE {
                return Err("turn after turn at the same time: livelock".into());
            }
            if next.since(self.now) > QUIET {
                self.check_quiet()?;
            }
            self.now = self.now.max(next);
            if self.now > bound {
                return Err(format!("over by {bound} at the latest, but {}", self.leftovers()));
            }
            self.observer.passes(self.now);
            self.turn()?;
        }
        self.programs.check_end()?;
        let report = self.report();
        self.check_memory_fades()?;
        Ok(report)
    }

    /// What a host remembers without a connection (fragments, how narrow a way is) it forgets in time.
    fn check_memory_fades(&mut self) -> Result<(), String> {
        for (number, host) in self.hosts.iter_mut().enumerate() {
            let end = self.now.after(FADES);
            let mut now = self.now;
            while let Some(next) = host.stack.poll_timeout() {
                if next > end {
                    return Err(format!("host {number} has a timer, but no connection"));
                }
                now = now.max(next);
                host.stack.handle_timeout(now);
                if host.stack.poll_timeout().is_some_and(|next| next <= now) {
                    return Err(format!("host {number} has a timer that is due and does not fire"));
                }
            }
        }
        Ok(())
    }

    /// Everything that happens at this moment.
    fn turn(&mut self) -> Result<(), String> {
        if self.heals.is_some_and(|heals| heals <= self.now) {
            self.heals = None;
            self.lines.iter_mut().for_each(Line::heal);
        }
        // First: who opens at the same time as its peer does so before the peer's SYN can be there.
        while let Some(host) = self.programs.due_host(self.now) {
            self.settle(host)?;
        }
        while let Some(host) = self.talks.due_host(self.now) {
            self.settle(host)?;
        }
        let mut touched = [false; 256];
        for number in 0..self.lines.len() {
            self.lines[number].change(self.now);
            while let Some(packet) = self.lines[number].arrived(self.now) {
                if let Some(host) = self.arrives(number, packet) {
                    touched[host] = true;
                    // Drivers read one packet or a batch of them before they let the stack answer.
                    if !self.scenario.batches || self.dice.chance(500) {
                        self.settle(host)?;
                    }
                }
            }
            self.report_losses(number);
        }
        for (number, touched) in touched.iter().enumerate().take(self.hosts.len()) {
            let host = &mut self.hosts[number];
            let due = host.stack.poll_timeout().is_some_and(|timeout| timeout <= self.now);
            if due {
                host.stack.handle_timeout(self.now);
                if host.stack.poll_timeout().is_some_and(|timeout| timeout <= self.now) {
                    return Err("a timer that is due did not fire".into());
                }
            }
            if due || *touched {
                self.settle(number)?;
            }
        }
        Ok(())
    }

    /// A packet is at the end of a line: it goes on to the next, or to its host, whose number comes
    /// back.
    fn arrives(&mut self, line: usize, mut packet: Packet<Tag>) -> Option<usize> {
        let Tag { from, to, hop, .. } = packet.tag;
        let (from, to) = (usize::from(from), usize::from(to));
        if let Some(next) = self.routes[from][to].get(usize::from(hop)) {
            packet.tag.hop += 1;
            self.enters(*next, packet);
            return None;
        }
        let host = &mut self.hosts[to];
        // No checksum covers hop limit, traffic class and flow label of IPv6: a packet that is damaged
        // there alone is believed.
        let undamaged = packet.checksum == ReceiveChecksum::Verified;
        let is_v6 = wire::ip::version(&packet.bytes) == Some(6);
        if undamaged || (is_v6 && Segment::parse(&packet.bytes).is_some()) {
            self.checker.arrives(&packet.bytes);
        }
        let checksum = if host.offload { packet.checksum } else { ReceiveChecksum::Unverified };
        let meta = ReceiveMeta { checksum, segment_size: None };
        // The frame is copied: a stack may keep it, while the line uses its buffer again.
        let mut frame = host.stack.spare_frame().unwrap_or_default();
        if frame.capacity() < packet.bytes.len() {
            frame = FrameBuf::with_capacity(packet.bytes.len().max(2048));
        }
        frame.set_filled(0);
        frame.append(&packet.bytes);
        self.lines[line].direction().recycle(packet.bytes);
        host.stack.handle_frame(self.now, host.interface, frame, meta);
        Some(to)
    }

    /// Lets the programs of a host do what they can, and its stack send, until both are quiet.
    fn settle(&mut self, host: usize) -> Result<(), String> {
        loop {
            self.send(host)?;
            let ran = self.programs.run(host, &mut self.hosts[host], self.now, &mut self.dice)?;
            while let Some(end) = self.programs.next_that_ran() {
                let received = self.programs.get(end).map_or(0, |program| program.received);
                self.checker.consumed(end, received);
                self.touch(end);
            }
            self.talks.run(host, &mut self.hosts[host], self.now)?;
            self.follow(host)?;
            if !ran {
                self.send(host)?;
                break;
            }
        }
        self.check_touched(host)
    }

    /// Reads the host's trace: changes of state, timers, and whom they are about.
    fn follow(&mut self, host: usize) -> Result<(), String> {
        if self.hosts[host].stack.trace_lost() > 0 {
            return Err("a part of the trace was lost".into());
        }
        while let Some(event) = self.hosts[host].stack.poll_trace() {
            self.observer.told(host, &event);
            let Some(tuple) = event.flow else { continue };
            let end = scenario::end_of(tuple.local.port(), tuple.remote.port());
            let Some(end) = end.map(|(flow, side)| flow * 2 + side) else { continue };
            self.touch(end);
            match event.what {
                What::Transition { from, to, cause } => {
                    self.states.change(tuple, from, to, cause)?;
                }
                What::Timer { timer: Timer::Retransmission } => self.laws.timed_out(end),
                _ => {}
            }
        }
        Ok(())
    }

    fn touch(&mut self, end: usize) {
        if self.touched.last() != Some(&end) && !self.touched.contains(&end) {
            self.touched.push(end);
        }
    }

    /// Looks at the connections about which something changed.
    fn check_touched(&mut self, host: usize) -> Result<(), String> {
        while let Some(end) = self.touched.pop() {
            let Some(program) = self.programs.get(end) else { continue };
            let Some(id) = program.socket() else { continue };
            let Ok(info) = self.hosts[host].stack.info(id) else { continue };
            self.observer.turned(self.now, end, &info, program.received);
            self.laws.check(end, program, info).map_err(|what| format!("end {end}: {what}"))?;
        }
        laws::check_memory(&self.hosts[host].stack)
    }

    fn send(&mut self, from: usize) -> Result<(), String> {
        loop {
            let Some(meta) = self.next_departure(from) else { return Ok(()) };
            let (segment_size, reason) = (meta.segment_size, meta.comment);
            self.checker.leaves(&self.whole, segment_size, reason)?;
            let line = checker::Line { packet: &self.whole, segment_size, reason };
            if self.observer.wants_packets() {
                self.observer.packet(self.now, from, line);
            }
            let to = host::number_of(&self.whole).filter(|to| *to < self.hosts.len());
            let Some(to) = to.filter(|to| *to != from) else {
                return Err(format!("a packet to nobody: {line}"));
            };
            if let TransmitChecksum::Partial { start, offset } = meta.checksum
                && segment_size.is_none()
            {
                split::complete_checksum(&mut self.whole, start, offset);
            }
            self.give_to_line(from, to, segment_size)?;
        }
    }

    /// Puts the next packet of a host together.
    fn next_departure(&mut self, from: usize) -> Option<TransmitMeta> {
        let host = &mut self.hosts[from];
        let packet = host.stack.poll_transmit(self.now, &mut host.header)?;
        self.whole.clear();
        self.whole.extend_from_slice(packet.header);
        packet.payload.iter().for_each(|slice| self.whole.extend_from_slice(slice));
        Some(packet.meta)
    }

    /// Gives a packet to the first line of its route, a super-segment in its pieces.
    fn give_to_line(
        &mut self,
        from: usize,
        to: usize,
        segment_size: Option<NonZeroU16>,
    ) -> Result<(), String> {
        let Some(number) = self.routes[from][to].first().copied() else {
            return Err(format!("host {from} has no route to host {to}"));
        };
        let end = peek::Peek::new(&self.whole)
            .and_then(|peek| scenario::end_of(peek.source.port(), peek.destination.port()))
            .and_then(|(flow, side)| u16::try_from(flow * 2 + side).ok());
        let narrow = |host| u8::try_from(host).unwrap_or(u8::MAX);
        let tag = Tag { from: narrow(from), to: narrow(to), hop: 1, end };
        let checksum = ReceiveChecksum::Verified;
        let Some(size) = segment_size else {
            let mut bytes = self.lines[number].direction().buffer();
            bytes.extend_from_slice(&self.whole);
            self.enters(number, Packet { bytes, checksum, tag });
            return Ok(());
        };
        let mut pieces =
            split::split(Medium::Ip, &self.whole, size).map_err(|why| why.to_string())?;
        let Self { lines, routes, now, .. } = self;
        while pieces.remaining() > 0 {
            let mut bytes = lines[number].direction().buffer();
            pieces.next_into(&mut bytes);
            enter(lines, routes, *now, number, Packet { bytes, checksum, tag });
        }
        Ok(())
    }

    /// A packet comes to the beginning of a line.
    fn enters(&mut self, line: usize, packet: Packet<Tag>) {
        enter(&mut self.lines, &self.routes, self.now, line, packet);
    }

    fn report_losses(&mut self, line: usize) {
        while let Some((at, tag)) = self.lines[line].direction().next_drop() {
            self.observer.lost(at, line, tag);
        }
    }

    fn next_time(&mut self) -> Option<Instant> {
        let lines = self.lines.iter().filter_map(Line::next_time).min();
        let timers = self.hosts.iter().filter_map(|host| host.stack.poll_timeout()).min();
        let programs = self.programs.next_wake();
        let talks = self.talks.next_wake();
        [lines, timers, programs, talks, self.heals].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        self.heals.is_none()
            && self.now > Instant::ZERO
            && self.programs.are_done()
            && self.talks.are_done()
            && self.hosts.iter().all(Host::has_only_listeners)
    }

    /// Nothing happens for a while: whoever waits must have a timer.
    fn check_quiet(&self) -> Result<(), String> {
        self.hosts.iter().try_for_each(|host| laws::check_timers(&host.stack.sockets()))
    }

    /// What keeps the world from being over.
    fn leftovers(&self) -> String {
        let sockets = self.hosts.iter().enumerate().flat_map(|(host, h)| {
            h.leftovers().into_iter().map(move |line| format!("host {host} has {line}"))
        });
        self.programs.leftovers().into_iter().chain(sockets).collect::<Vec<_>>().join("; ")
    }

    fn report(&mut self) -> Report {
        let counters: Vec<_> =
            self.lines.iter_mut().map(|line| line.direction().counters()).collect();
        Report {
            ended: self.now,
            packets: counters.iter().map(|c| c.offered).sum(),
            lost: counters.iter().map(|c| c.lost + c.overflowed + c.managed).sum(),
            bytes: self.programs.bytes_read(),
        }
    }
}

/// A packet comes to the beginning of a line, where it may be too long: then the answer goes back by the
/// last line that leads to who sent it.
fn enter(
    lines: &mut [Line],
    routes: &[Vec<&[usize]>],
    now: Instant,
    line: usize,
    packet: Packet<Tag>,
) {
    let Packet { checksum, tag, .. } = packet;
    let too_long = lines[line].mtu(now).and_then(|mtu| router::too_long(&packet.bytes, mtu));
    match too_long {
        None => lines[line].take(now, packet),
        Some(TooLong::Cut(pieces)) => {
            for bytes in pieces {
                lines[line].take(now, Packet { bytes, checksum, tag });
            }
        }
        Some(TooLong::Told(bytes)) => {
            let back = routes[usize::from(tag.to)][usize::from(tag.from)];
            let Some(last) = back.last() else { return };
            let hop = u8::try_from(back.len()).unwrap_or(u8::MAX);
            let tag = Tag { from: tag.to, to: tag.from, hop, end: None };
            lines[*last].take(now, Packet { bytes, checksum: ReceiveChecksum::Verified, tag });
        }
    }
}

/// The hosts, listening where a flow has its server.
fn make_hosts(scenario: &Scenario, dice: &mut Dice) -> Vec<Host> {
    let plans = scenario.hosts.iter().enumerate();
    let make = |(number, plan): (usize, &scenario::HostPlan)| {
        let config = plan.config.clone();
        let mut host =
            Host::new(number, config, dice.seed(), scenario.family, plan.mtu, plan.offload);
        let served = |flow: &scenario::Flow| flow.server == number && !flow.simultaneous;
        if scenario.flows.iter().any(served) {
            let address = std::net::SocketAddr::new(host.address, scenario::PORT);
            let options = scenario.listener.clone();
            let listener = host.stack.listen(Instant::ZERO, address, 1024, options);
            host.listener = Some(listener.expect("a fresh host can listen"));
        }
        host
    };
    plans.map(make).collect()
}

/// How long a round trip of each flow takes at least.
fn shortest_round_trips(scenario: &Scenario) -> Vec<Duration> {
    let shortest = |line: usize| {
        let plan = &scenario.lines[line];
        let all = plan.changes.iter().map(|(_, impairment)| impairment).chain([&plan.impairment]);
        // A packet that is picked for reordering skips the delay.
        let delay = |i: &link::Impairment| match i.reorder > 0.0 {
            true => Duration::ZERO,
            false => i.delay.saturating_sub(i.jitter),
        };
        all.map(delay).min().unwrap_or_default()
    };
    let one_way =
        |route| scenario.routes.get(&route).into_iter().flatten().map(|l| shortest(*l)).sum();
    let both = |flow: &scenario::Flow| -> Duration {
        let there: Duration = one_way((flow.client, flow.server));
        let back: Duration = one_way((flow.server, flow.client));
        there + back
    };
    scenario.flows.iter().map(both).collect()
}
