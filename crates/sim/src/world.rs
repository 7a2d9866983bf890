//! Hosts, links and programs in virtual time, all drawn from one seed.
//!
//! [`run`] makes a world from a seed: a server, one or two clients, a path in each direction
//! between them that loses, delays, repeats, reorders and damages packets, and programs on both
//! ends of every connection. It runs until every endpoint is gone, or until something is not as it
//! must be. The same seed gives the same world, packet by packet.
//!
//! What is checked all the time is in the modules [`checker`] (packets and states) and [`program`]
//! (every byte once and in order). What is checked in the end: every program is done with what it
//! could expect, and nothing is left in any stack.

pub mod checker;
pub mod dice;
pub mod host;
pub mod path;
pub mod program;
pub mod scenario;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;

use wire::frame::{FrameBuf, ReceiveChecksum, ReceiveMeta};
use wire::time::{Duration, Instant};

use checker::Checker;
use dice::Dice;
use host::{Departure, Host};
use path::Path;
use program::Pair;
use scenario::Scenario;

/// How long after the links are healed the last endpoint may still be there: the longest
/// retransmission timeout twice, FIN-WAIT-2, TIME-WAIT, and what slow readers need.
pub const LIVENESS_BOUND: Duration = Duration::from_secs(900);

/// How many turns a world may take without time passing.
const MAX_TURNS_AT_ONCE: u32 = 20_000;

/// What a world was like, for whoever wants to know whether it tested anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// When the last endpoint was gone.
    pub ended: Instant,
    /// How many packets left the hosts.
    pub packets: u64,
    /// How many bytes the programs read.
    pub bytes: u64,
}

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The world.
    pub seed: u64,
    /// When it was found.
    pub time: Instant,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { seed, time, what } = self;
        write!(
            f,
            "{what}\n  at {time}; replay: SIM_FIRST={seed} SIM_SEEDS=1 SIM_TRACE=1 \
             cargo test -p estab-sim --test seeds -- --nocapture"
        )
    }
}

impl std::error::Error for Violation {}

/// Runs the world of `seed` to its end.
///
/// # Errors
/// With the first thing that is not as it must be.
pub fn run(seed: u64) -> Result<Report, Violation> {
    run_observed(seed, &mut |_| ())
}

/// Runs the world of `seed`, and tells `observe` every packet as it leaves, arrives or is lost.
///
/// # Errors
/// With the first thing that is not as it must be.
pub fn run_observed(seed: u64, observe: &mut dyn FnMut(&str)) -> Result<Report, Violation> {
    let mut world = World::new(seed);
    let outcome = world.run(observe);
    outcome.map_err(|what| Violation { seed, time: world.now, what })
}

/// A packet under way: to whom, its bytes, and what the link knows about them.
struct Flight {
    to: usize,
    bytes: Vec<u8>,
    meta: ReceiveMeta,
}

struct World {
    seed: u64,
    now: Instant,
    dice: Dice,
    hosts: Vec<Host>,
    pairs: Vec<Pair>,
    /// The path from one host to another, by their places.
    paths: BTreeMap<(usize, usize), Path>,
    /// Packets under way, by when they arrive and the order in which they left.
    arrivals: BinaryHeap<Reverse<(Instant, u64)>>,
    flights: BTreeMap<u64, Flight>,
    packets: u64,
    checker: Checker,
    /// When the links become perfect.
    heals: Instant,
    healed: bool,
    offload: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let Scenario { hosts, pairs, paths, heals, offload } = Scenario::draw(&mut dice);
        let cookies = pairs.iter().any(Pair::has_cookies);
        Self {
            seed,
            now: Instant::ZERO,
            dice,
            checker: Checker::new(hosts.len(), cookies),
            hosts,
            pairs,
            paths,
            arrivals: BinaryHeap::new(),
            flights: BTreeMap::new(),
            packets: 0,
            heals,
            healed: false,
            offload,
        }
    }

    fn run(&mut self, observe: &mut dyn FnMut(&str)) -> Result<Report, String> {
        let deadline = self.heals.after(LIVENESS_BOUND);
        let mut turns = 0;
        for host in 0..self.hosts.len() {
            self.settle(host, observe)?;
        }
        while !self.is_over() {
            let Some(next) = self.next_time() else {
                return Err(format!("nothing will ever happen again, but {}", self.leftovers()));
            };
            turns = if next > self.now { 0 } else { turns + 1 };
            if turns > MAX_TURNS_AT_ONCE {
                return Err("turn after turn at the same time: livelock".into());
            }
            self.now = self.now.max(next);
            if self.now > deadline {
                return Err(format!("it should be over by now, but {}", self.leftovers()));
            }
            self.turn(observe)?;
        }
        self.pairs.iter().try_for_each(Pair::check_end)?;
        let bytes = self.pairs.iter().map(Pair::bytes_read).sum();
        Ok(Report { seed: self.seed, ended: self.now, packets: self.packets, bytes })
    }

    /// Everything that happens at this moment.
    fn turn(&mut self, observe: &mut dyn FnMut(&str)) -> Result<(), String> {
        if self.now >= self.heals && !self.healed {
            self.healed = true;
            self.paths.values_mut().for_each(Path::heal);
        }
        let mut touched = vec![false; self.hosts.len()];
        while let Some(flight) = self.next_arrival() {
            touched[flight.to] = true;
            let host = &mut self.hosts[flight.to];
            self.checker.arrives(&flight.bytes);
            let frame = FrameBuf::from(flight.bytes);
            host.stack.handle_frame(self.now, host.interface, frame, flight.meta);
            // Drivers read one packet or a batch of them before they let the stack answer.
            if self.dice.chance(500) {
                self.settle(flight.to, observe)?;
            }
        }
        for (host, touched) in touched.iter().enumerate() {
            let timeout = self.hosts[host].stack.poll_timeout();
            let due = timeout.is_some_and(|timeout| timeout <= self.now);
            if due {
                self.hosts[host].stack.handle_timeout(self.now);
            }
            let woken = self.pairs.iter().any(|pair| pair.wakes(host, self.now));
            if due || *touched || woken {
                self.settle(host, observe)?;
            }
        }
        Ok(())
    }

    /// Lets the programs of a host do what they can, and its stack send, until both are quiet.
    fn settle(&mut self, host: usize, observe: &mut dyn FnMut(&str)) -> Result<(), String> {
        loop {
            self.send(host, observe)?;
            let events = self.hosts[host].events();
            let ran = program::run(
                host,
                &mut self.hosts[host],
                &mut self.pairs,
                &events,
                self.now,
                &mut self.dice,
            )?;
            self.checker.follow(host, &mut self.hosts[host].stack)?;
            if !ran {
                break;
            }
        }
        self.send(host, observe)?;
        self.checker.follow(host, &mut self.hosts[host].stack)?;
        self.hosts[host].check_limits()
    }

    fn send(&mut self, from: usize, observe: &mut dyn FnMut(&str)) -> Result<(), String> {
        while let Some(Departure { bytes, segment_size, reason }) =
            self.hosts[from].next_departure(self.now)
        {
            let time = self.now;
            self.packets += 1;
            let line = self.checker.leaves(&bytes, segment_size, reason)?;
            let to = host::number_of(&bytes).filter(|to| *to < self.hosts.len() && *to != from);
            let Some(to) = to else { return Err(format!("a packet to nobody: {line}")) };
            let checksum =
                if self.offload { ReceiveChecksum::Verified } else { ReceiveChecksum::Unverified };
            let meta = ReceiveMeta { checksum, segment_size };
            let Some(path) = self.paths.get_mut(&(from, to)) else { continue };
            let copies = path.carry(time, bytes, &mut self.dice);
            let fate = if copies.is_empty() { " LOST" } else { "" };
            observe(&format!("{time} {from} > {to} {line}{fate}"));
            for (arrives, bytes) in copies {
                let number = self.dice.count();
                self.arrivals.push(Reverse((arrives, number)));
                self.flights.insert(number, Flight { to, bytes, meta });
            }
        }
        Ok(())
    }

    fn next_arrival(&mut self) -> Option<Flight> {
        let Reverse((time, number)) = *self.arrivals.peek()?;
        if time > self.now {
            return None;
        }
        self.arrivals.pop();
        self.flights.remove(&number)
    }

    fn next_time(&self) -> Option<Instant> {
        let arrival = self.arrivals.peek().map(|Reverse((time, _))| *time);
        let timers = self.hosts.iter().filter_map(|host| host.stack.poll_timeout());
        let programs = self.pairs.iter().filter_map(Pair::next_wake);
        let heals = (!self.healed).then_some(self.heals);
        arrival.into_iter().chain(timers).chain(programs).chain(heals).min()
    }

    fn is_over(&self) -> bool {
        self.healed
            && self.pairs.iter().all(Pair::is_done)
            && self.hosts.iter().all(Host::has_only_listeners)
    }

    /// What keeps the world from being over.
    fn leftovers(&self) -> String {
        let programs =
            self.pairs.iter().filter(|pair| !pair.is_done()).map(|pair| format!("{pair}"));
        let sockets = self.hosts.iter().enumerate().flat_map(|(host, h)| {
            h.leftovers().into_iter().map(move |line| format!("host {host} has {line}"))
        });
        programs.chain(sockets).collect::<Vec<_>>().join("\n  ")
    }
}
