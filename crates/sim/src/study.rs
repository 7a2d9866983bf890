//! A world that a person wrote down, measured.
//!
//! Flows share one bottleneck; each has a path of its own to it. [`Study`] says what there is
//! (a TOML file does, see [`mod@file`]), [`Study::run`] lets it happen, and what comes back holds the
//! curves ([`recorder`]), which can be drawn ([`svg`]), written as CSV, and summed up.

mod at_once;
pub mod file;
pub mod recorder;
pub mod svg;
pub mod tables;

use std::collections::BTreeMap;

use link::Impairment;
use stack::config::ControllerFactory;
use stack::{Config, EcnMode, TcpOptions};
use wire::time::{Duration, Instant};

use crate::world::host::Family;
use crate::world::program::{Ending, Plan};
use crate::world::scenario::{Flow, HostPlan, LinePlan, Scenario};
use crate::world::{self, Violation};

pub use recorder::Measured;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Study {
    /// What the picture says above the curves.
    pub title: String,
    /// Decides every chance.
    pub seed: u64,
    /// How long it runs.
    pub duration: Duration,
    /// The largest packet, in bytes.
    pub mtu: u16,
    /// The hosts speak ECN (RFC 3168).
    pub ecn: bool,
    /// The bottleneck: from the senders to the receivers, and back.
    pub bottleneck: [LinePlan; 2],
    /// Who sends.
    pub flows: Vec<Sender>,
}

/// A flow of a study: one program that sends, one that reads.
#[derive(Clone, Debug)]
pub struct Sender {
    /// How the legend calls it.
    pub name: String,
    /// Its congestion controller.
    pub controller: ControllerFactory,
    /// When it connects.
    pub start: Instant,
    /// How many bytes it sends; `None`: it never stops.
    pub bytes: Option<u64>,
    /// How long its own path to the bottleneck takes, in each direction.
    pub delay: Duration,
    /// It paces, whatever its controller asks for.
    pub pacing: bool,
}

/// How many flows a study has at most: each has a host of its own, with an address of its own.
pub const MOST_FLOWS: usize = 100;

impl Study {
    /// Lets it happen; `passes` hears how far it is.
    ///
    /// # Errors
    /// When the stack does what must not be: the same checkers look as in a hunt.
    pub fn run(&self, passes: &mut dyn FnMut(Instant)) -> Result<Measured, Violation> {
        let mut recorder = recorder::Recorder::new(self, passes);
        let report = world::run_observed(&self.scenario(), &mut recorder)?;
        Ok(recorder.finish(report))
    }

    /// The world: the receivers' host has number 0, each sender one of its own.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        let ecn = if self.ecn { EcnMode::Request } else { EcnMode::default() };
        let host = HostPlan { config: Config::default(), mtu: self.mtu, offload: false };
        let mut lines = self.bottleneck.to_vec();
        let mut routes = BTreeMap::new();
        for (number, sender) in self.flows.iter().enumerate() {
            let access = Impairment {
                delay: sender.delay,
                queue_packets: usize::MAX,
                ..Impairment::default()
            };
            let own = lines.len();
            let line = LinePlan { impairment: access, changes: Vec::new(), narrow: Vec::new() };
            lines.extend([line.clone(), line]);
            routes.insert((number + 1, 0), vec![own, 0]);
            routes.insert((0, number + 1), vec![1, own + 1]);
        }
        Scenario {
            seed: self.seed,
            family: Family::V4,
            hosts: vec![host; self.flows.len() + 1],
            lines,
            routes,
            flows: self.flows.iter().enumerate().map(|flow| self::flow(flow, ecn)).collect(),
            talks: Vec::new(),
            listener: TcpOptions::default(),
            heals: None,
            until: Some(Instant::ZERO.after(self.duration)),
            batches: false,
        }
    }
}

fn flow((number, sender): (usize, &Sender), ecn: EcnMode) -> Flow {
    const CHUNK: usize = 65_536;
    let plan = |send, ending| Plan {
        send,
        write: CHUNK..=CHUNK,
        read: CHUNK..=CHUNK,
        pause: Duration::ZERO,
        stall: None,
        ending,
        options: TcpOptions {
            congestion: sender.controller,
            pacing: sender.pacing,
            ecn,
            ..TcpOptions::default()
        },
    };
    Flow {
        client: number + 1,
        server: 0,
        start: sender.start,
        simultaneous: false,
        plans: [
            plan(sender.bytes.unwrap_or(u64::MAX), Ending::ShutsDown),
            plan(0, Ending::WaitsForPeer),
        ],
        absent: false,
    }
}
