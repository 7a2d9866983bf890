//! Making the world of a failure small: fewer flows, bytes and faults, as long as it still fails.
//!
//! A world is known by its address: its seed, and the simplifications made to it in their order,
//! like `4718,line0.loss,flow1.gone,flow0.client.half`.

use std::fmt;
use std::str::FromStr;

use link::{Impairment, Loss, QueueManagement};
use stack::{Config, TcpOptions};
use wire::time::{Duration, Instant};

use super::scenario::{Flow, HostPlan, LinePlan, Scenario};
use super::{Violation, draw, hunt};

/// What a simplification changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    World,
    Lines,
    Line(usize),
    Flow(usize),
    /// Both ends of every flow.
    Ends,
    /// The client (0) or the server (1) of a flow.
    End(usize, usize),
    Hosts,
    Host(usize),
}

/// One simplification: what of what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    target: Target,
    what: &'static str,
}

const WORLD: &[&str] = &["batches", "talks"];
const LINE: &[&str] = &[
    "loss",
    "duplicate",
    "reorder",
    "corrupt",
    "jitter",
    "changes",
    "queue",
    "rate",
    "delay",
    "narrow",
    "hole",
];
const FLOW: &[&str] = &["gone", "early"];
const END: &[&str] = &["silent", "half", "pause", "stall", "chunk", "buffers", "options"];
const HOST: &[&str] = &["config", "mtu", "offload"];

/// A world's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The seed that it is drawn from.
    pub seed: u64,
    /// What was made simpler.
    pub steps: Vec<Step>,
}

impl Address {
    /// The world at this address.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        let mut scenario = draw::scenario(self.seed);
        self.steps.iter().for_each(|step| step.apply(&mut scenario));
        scenario
    }

    /// Takes back what was made simpler of a flow that is not there any more.
    fn forget_the_gone(&mut self) {
        let is_gone = |step: &Step| matches!(step.target, Target::Flow(_)) && step.what == "gone";
        let gone: Vec<Step> = self.steps.iter().copied().filter(is_gone).collect();
        self.steps.retain(|step| match step.target {
            Target::Flow(flow) | Target::End(flow, _) => {
                let end = Step { target: Target::Flow(flow), what: "gone" };
                *step == end || !gone.contains(&end)
            }
            _ => true,
        });
    }
}

impl From<u64> for Address {
    fn from(seed: u64) -> Self {
        Self { seed, steps: Vec::new() }
    }
}

/// Makes a world that fails smaller, in at most `runs` tries; it fails in the same way afterwards.
#[must_use]
pub fn shrink(seed: u64, violation: Violation, runs: usize) -> (Address, Violation) {
    let mut best = (Address::from(seed), violation);
    let kind = kind_of(&best.1.what);
    let mut left = runs;
    loop {
        let mut progress = false;
        for step in candidates(&best.0.scenario()) {
            let mut address = best.0.clone();
            while left > 0 && step.changes(&address.scenario()) {
                left -= 1;
                address.steps.push(step);
                let outcome = hunt::run_caught(&address.scenario(), &mut super::Nobody);
                let Err(violation) = outcome else { break };
                if kind_of(&violation.what) != kind {
                    break;
                }
                progress = true;
                best = (address.clone(), violation);
            }
        }
        if !progress || left == 0 {
            let mut short = best.0.clone();
            short.forget_the_gone();
            return match hunt::run_caught(&short.scenario(), &mut super::Nobody) {
                Err(violation) if kind_of(&violation.what) == kind => (short, violation),
                _ => best,
            };
        }
    }
}

/// What a violation is about, without its numbers.
fn kind_of(what: &str) -> String {
    let head = what.split([':', ';', '(']).find(|part| !part.trim_start().starts_with("end "));
    head.unwrap_or(what).chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// What could be made simpler: the largest cuts first.
fn candidates(scenario: &Scenario) -> Vec<Step> {
    let mut all = Vec::new();
    let mut add = |target, whats: &'static [&'static str]| {
        all.extend(whats.iter().map(|what| Step { target, what }));
    };
    (0..scenario.flows.len()).for_each(|flow| add(Target::Flow(flow), FLOW));
    add(Target::Lines, LINE);
    add(Target::World, WORLD);
    add(Target::Ends, END);
    add(Target::Hosts, HOST);
    let present = scenario.flows.iter().enumerate().filter(|(_, flow)| !flow.absent);
    for (flow, _) in present {
        (0..2).for_each(|side| add(Target::End(flow, side), END));
    }
    (0..scenario.hosts.len()).for_each(|host| add(Target::Host(host), HOST));
    (0..scenario.lines.len()).for_each(|line| add(Target::Line(line), LINE));
    all
}

impl Step {
    /// Whether it makes any difference.
    fn changes(&self, scenario: &Scenario) -> bool {
        if let Target::Flow(flow) | Target::End(flow, _) = self.target
            && scenario.flows.get(flow).is_none_or(|flow| flow.absent)
        {
            return false;
        }
        let mut simpler = scenario.clone();
        self.apply(&mut simpler);
        format!("{simpler:?}") != format!("{scenario:?}")
    }

    fn apply(&self, scenario: &mut Scenario) {
        let what = self.what;
        match self.target {
            Target::World if what == "talks" => scenario.talks.clear(),
            Target::World => scenario.batches = false,
            Target::Lines => scenario.lines.iter_mut().for_each(|line| simplify_line(line, what)),
            Target::Line(number) => {
                if let Some(line) = scenario.lines.get_mut(number) {
                    simplify_line(line, what);
                }
            }
            Target::Flow(number) => {
                if let Some(flow) = scenario.flows.get_mut(number) {
                    simplify_flow(flow, what);
                }
            }
            Target::Ends => {
                for flow in scenario.flows.iter_mut().filter(|flow| !flow.absent) {
                    (0..2).for_each(|side| simplify_end(flow, side, what));
                }
            }
            Target::Hosts => scenario.hosts.iter_mut().for_each(|host| simplify_host(host, what)),
            Target::End(number, side) => {
                if let Some(flow) = scenario.flows.get_mut(number) {
                    simplify_end(flow, side, what);
                }
            }
            Target::Host(number) => {
                if let Some(host) = scenario.hosts.get_mut(number) {
                    simplify_host(host, what);
                }
            }
        }
    }
}

fn simplify_line(line: &mut LinePlan, what: &str) {
    if what == "changes" {
        return line.changes.clear();
    }
    if what == "narrow" {
        return line.narrow.clear();
    }
    let defaults = Impairment::default();
    let all = line.changes.iter_mut().map(|(_, impairment)| impairment);
    for impairment in all.chain([&mut line.impairment]) {
        match what {
            "loss" => impairment.loss = Loss::None,
            "duplicate" => impairment.duplicate = 0.0,
            "reorder" => impairment.reorder = 0.0,
            "corrupt" => impairment.corrupt = 0.0,
            "jitter" => impairment.jitter = Duration::ZERO,
            "queue" => {
                impairment.queue_packets = defaults.queue_packets;
                impairment.queue_bytes = None;
                impairment.management = QueueManagement::DropTail;
            }
            "rate" => impairment.rate = None,
            "hole" => impairment.longest_packet = None,
            _ => impairment.delay = Duration::from_millis(10),
        }
    }
}

fn simplify_flow(flow: &mut Flow, what: &str) {
    match what {
        "gone" => flow.absent = true,
        _ => flow.start = Instant::from_millis(1),
    }
}

fn simplify_end(flow: &mut Flow, side: usize, what: &str) {
    let plan = &mut flow.plans[side.min(1)];
    let defaults = TcpOptions::default();
    match what {
        "silent" => plan.send = 0,
        "half" => plan.send /= 2,
        "pause" => plan.pause = Duration::ZERO,
        "stall" => plan.stall = None,
        "chunk" => (plan.write, plan.read) = (60_000..=60_000, 60_000..=60_000),
        "buffers" => {
            plan.options.receive_buffer = Some(65_536);
            plan.options.send_buffer = Some(65_536);
        }
        _ => {
            plan.options = TcpOptions {
                receive_buffer: plan.options.receive_buffer,
                send_buffer: plan.options.send_buffer,
                congestion: plan.options.congestion,
                keepalive: plan.options.keepalive,
                ..defaults
            };
        }
    }
}

fn simplify_host(host: &mut HostPlan, what: &str) {
    match what {
        "config" => {
            let syn_queue_limit = host.config.syn_queue_limit;
            host.config = Config { syn_queue_limit, ..Config::default() };
        }
        "mtu" => host.mtu = 1500,
        _ => host.offload = false,
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what;
        match self.target {
            Target::World => write!(f, "world.{what}"),
            Target::Lines => write!(f, "lines.{what}"),
            Target::Line(line) => write!(f, "line{line}.{what}"),
            Target::Flow(flow) => write!(f, "flow{flow}.{what}"),
            Target::Ends => write!(f, "ends.{what}"),
            Target::Hosts => write!(f, "hosts.{what}"),
            Target::End(flow, 0) => write!(f, "flow{flow}.client.{what}"),
            Target::End(flow, _) => write!(f, "flow{flow}.server.{what}"),
            Target::Host(host) => write!(f, "host{host}.{what}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        self.steps.iter().try_for_each(|step| write!(f, ",{step}"))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let seed = parts.next().unwrap_or_default();
        let seed = seed.parse().map_err(|_| {
            format!(
                "'{seed}' is no seed: write a number, like 42, or an address as a failure prints it"
            )
        })?;
        Ok(Self { seed, steps: parts.map(Step::from_str).collect::<Result<_, _>>()? })
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no simplification: write it as a failure prints it");
        let (target, what) = text.rsplit_once('.').ok_or_else(wrong)?;
        let number = |name: &str| target.strip_prefix(name).and_then(|rest| rest.parse().ok());
        let end = |side: &str| {
            target.strip_suffix(side).and_then(|rest| rest.strip_prefix("flow")?.parse().ok())
        };
        let (target, whats) = if target == "world" {
            (Target::World, WORLD)
        } else if target == "lines" {
            (Target::Lines, LINE)
        } else if target == "ends" {
            (Target::Ends, END)
        } else if target == "hosts" {
            (Target::Hosts, HOST)
        } else if let Some(line) = number("line") {
            (Target::Line(line), LINE)
        } else if let Some(flow) = number("flow") {
            (Target::Flow(flow), FLOW)
        } else if let Some(flow) = end(".client") {
            (Target::End(flow, 0), END)
        } else if let Some(flow) = end(".server") {
            (Target::End(flow, 1), END)
        } else if let Some(host) = number("host") {
            (Target::Host(host), HOST)
        } else {
            return Err(wrong());
        };
        let what = whats.iter().find(|known| **known == what).ok_or_else(wrong)?;
        Ok(Step { target, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for seed in 1..20 {
            let steps = candidates(&draw::scenario(seed));
            let address = Address { seed, steps };
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        for wrong in ["", "x", "1,", "1,line.loss", "1,line0.gone", "1,flow0.x.half", "1 2"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_simplification_changes_some_world() {
        let scenarios: Vec<Scenario> = (1..60).map(draw::scenario).collect();
        for step in candidates(&scenarios[0]) {
            assert!(scenarios.iter().any(|scenario| step.changes(scenario)), "{step}");
        }
    }

    #[test]
    fn what_was_done_to_a_flow_that_is_gone_is_forgotten() {
        let mut address: Address =
            "9,flow1.client.half,flow0.early,ends.chunk,flow1.gone".parse().unwrap();
        address.forget_the_gone();
        assert_eq!(address.to_string(), "9,flow0.early,ends.chunk,flow1.gone");
    }

    #[test]
    fn kinds_have_no_numbers() {
        let kind = kind_of("end 12: 300 in flight, but the window is 5");
        assert_eq!(kind, kind_of("end 1: 31 in flight, but the window is 77"));
        assert_ne!(kind, kind_of("end 1: counts that cannot be: x"));
    }
}
