//! How long a world may go on after its lines healed, computed from what the stacks may take.
//!
//! Once nothing is lost any more, every answer comes. What is left are waits that began before, each
//! at most once in a row: for a retransmission timer that backed off, for a persist timer, for a
//! reader that rests, and for the states that wait by themselves. The bound adds them up in the
//! order in which they can follow each other.

use wire::time::{Duration, Instant};

use super::host::Family;
use super::line;
use super::program::Plan;
use super::scenario::{Flow, HostPlan, Scenario};
use super::talks::Talks;

/// When the last endpoint must be gone; `None` for a world that never heals.
#[must_use]
pub fn bound(scenario: &Scenario) -> Option<Instant> {
    let heals = scenario.heals?;
    let flows = scenario.flows.iter().filter(|flow| !flow.absent);
    let slowest = flows.clone().map(|flow| flow_bound(scenario, flow, heals)).max()?;
    // All flows may share one slow line: their bytes pass one after the other.
    let carried = flows.map(|flow| carry_time(scenario, flow)).sum::<Duration>();
    let talks = if scenario.talks.is_empty() { Duration::ZERO } else { Talks::longest() };
    Some(heals.max(last_start(scenario)).after(slowest.max(talks)).after(carried))
}

fn last_start(scenario: &Scenario) -> Instant {
    scenario.flows.iter().map(|flow| flow.start).max().unwrap_or(Instant::ZERO)
}

fn flow_bound(scenario: &Scenario, flow: &Flow, heals: Instant) -> Duration {
    let ends = [flow.client, flow.server];
    let waits: Duration =
        ends.iter().zip(&flow.plans).map(|(_, plan)| longest_wait(plan, heals)).sum();
    let holes: Duration = flow.plans.iter().map(|plan| black_hole(scenario, flow, plan)).sum();
    let programs: Duration = flow
        .plans
        .iter()
        .enumerate()
        .map(|(side, plan)| resting(plan, flow.plans[1 - side].send))
        .sum();
    let quiet =
        ends.iter().map(|end| quiet_states(&scenario.hosts[*end])).max().unwrap_or_default();
    let gives_up: Duration = flow.plans.iter().map(vanished_peer).sum();
    // In each direction: the handshake, the data, a closed window, FIN.
    waits * 4 + holes + programs + quiet + gives_up
}

/// A path that takes less than it says: the timer fires twice for what is longer than the base and four
/// times for each size below, and sizes are halved down to what every host takes (RFC 4821 7.7).
fn black_hole(scenario: &Scenario, flow: &Flow, plan: &Plan) -> Duration {
    let routes = [(flow.client, flow.server), (flow.server, flow.client)];
    let mut lines = routes.iter().filter_map(|route| scenario.routes.get(route)).flatten();
    let narrow = lines.any(|number| {
        let line = &scenario.lines[*number];
        let mut all = line.changes.iter().map(|(_, change)| change).chain([&line.impairment]);
        all.any(|impairment| impairment.longest_packet.is_some())
    });
    let timeouts = if scenario.family == Family::V6 { 2 } else { 2 + 4 * 4 };
    if narrow { plan.options.rto.max * timeouts } else { Duration::ZERO }
}

/// The longest wait for a timer that backed off: a timer doubles only after it ran, so it is never
/// longer than the time before it and the first timeout, and never longer than its limit.
fn longest_wait(plan: &Plan, heals: Instant) -> Duration {
    let rto = &plan.options.rto;
    let elapsed = heals.since(Instant::ZERO).saturating_add(rto.initial.saturating_mul(3));
    rto.max.min(elapsed)
}

/// What a program rests while it reads `bytes`: a pause after three of ten reads at most, each of
/// which gives a byte at least; but who rests finds much to read.
fn resting(plan: &Plan, bytes: u64) -> Duration {
    let reads = bytes / ((*plan.read.end() as u64 / 2).max(1)) + 8;
    let pauses = u32::try_from(reads).unwrap_or(u32::MAX);
    let stall = plan.stall.map_or(Duration::ZERO, |(_, stall)| stall);
    let aborts = match plan.ending {
        super::program::Ending::Aborts(after) => after,
        _ => Duration::ZERO,
    };
    plan.pause.saturating_mul(pauses).saturating_add(stall).saturating_add(aborts)
}

/// TIME-WAIT and FIN-WAIT-2, which end by themselves (RFC 9293 3.6.1).
fn quiet_states(host: &HostPlan) -> Duration {
    host.config.time_wait + host.config.fin_wait_2
}

/// When the peer is gone without a word that arrived: keep-alive notices (RFC 9293 3.8.4).
fn vanished_peer(plan: &Plan) -> Duration {
    let keepalive = plan.options.keepalive.unwrap_or_else(super::program::impatient);
    keepalive.idle + keepalive.interval * (u32::from(keepalive.probes) + 1)
}

/// How long its bytes take on the lines of its routes: headers, and acknowledgments of each segment.
fn carry_time(scenario: &Scenario, flow: &Flow) -> Duration {
    let bytes: u64 = flow.plans.iter().map(|plan| plan.send).sum();
    // A segment has 36 bytes at least (RFC 9293 3.7.1), unless the program writes less.
    let smallest = flow.plans.iter().map(|plan| *plan.write.end() as u64).min().unwrap_or(1);
    let segments = bytes / (smallest.clamp(2, 72) / 2).max(1) + 64;
    let on_wire = bytes * 4 + segments * 160;
    let routes = [(flow.client, flow.server), (flow.server, flow.client)];
    let lines = routes.iter().filter_map(|route| scenario.routes.get(route)).flatten();
    lines.map(|number| line_time(scenario, *number, on_wire, segments)).sum()
}

fn line_time(scenario: &Scenario, number: usize, bytes: u64, segments: u64) -> Duration {
    let plan = &scenario.lines[number];
    let all = plan.changes.iter().map(|(_, impairment)| *impairment).chain([plan.impairment]);
    let slowest = all.clone().filter_map(|impairment| line::healed(impairment).rate).min();
    let delay = all.map(|impairment| impairment.delay).max().unwrap_or_default();
    let sending = slowest.map_or(0, |rate| bytes.saturating_mul(8_000_000_000) / rate.get());
    // A window of one segment: a round trip for each two, at the worst.
    let trips = u32::try_from(segments.min(2_000)).unwrap_or(2_000);
    Duration::from_nanos(sending) + delay * trips
}
