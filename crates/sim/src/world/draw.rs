//! What a seed decides: who is there, what the lines are like, and what the programs do.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU64};

use link::{Impairment, Loss, QueueManagement};
use stack::config::ControllerFactory;
use stack::tcp::congestion;
use stack::{Config, EcnMode, MtuProbing, RtoLimits, TcpOptions};
use wire::time::{Duration, Instant};

use super::dice::Dice;
use super::host::Family;
use super::program::{self, Ending, Plan};
use super::scenario::{Flow, HostPlan, LinePlan, Scenario};
use super::talks::{Kind, Talk};

/// Draws the world of a seed.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    let dice = &mut Dice::new(seed);
    let count = dice.size(2..=4);
    let mtu = mtu(dice);
    let offload = dice.chance(200);
    let cookies = dice.chance(80);
    let hosts: Vec<HostPlan> = (0..count)
        .map(|number| HostPlan {
            config: config(dice, cookies && number == 0),
            mtu: if dice.chance(200) { self::mtu(dice) } else { mtu },
            offload: offload && dice.chance(800),
        })
        .collect();
    let heals = Instant::from_millis(dice.one_of(&[2_000, 10_000, 20_000, 25_000]));
    let (lines, routes) = network(dice, count, heals);
    let flows = match dice.pick(0..=99) {
        0..=1 => 40,
        2..=9 => 12,
        _ => dice.pick(1..=4),
    };
    let congestion = controller(dice);
    let mut scenario = Scenario {
        seed,
        family: Family::V4,
        hosts,
        lines,
        routes,
        flows: (0..flows).map(|_| flow(dice, count)).collect(),
        talks: Vec::new(),
        listener: TcpOptions {
            receive_buffer: dice.one_of(&[Some(65_536), Some(1 << 20), None]),
            congestion,
            ..TcpOptions::default()
        },
        heals: Some(heals),
        until: None,
        batches: dice.chance(700),
    };
    if flows > 4 {
        scenario.flows.iter_mut().flat_map(|flow| &mut flow.plans).for_each(|plan| plan.send /= 4);
    }
    // Last, so that the rest of the world is the same over both families.
    if dice.chance(400) {
        scenario.family = Family::V6;
        for host in &mut scenario.hosts {
            // RFC 8200 5: no link of IPv6 takes less.
            host.mtu = host.mtu.max(1280);
        }
    }
    // From dice of their own, so that the rest is what it was before there were any.
    let dice = &mut Dice::new(seed ^ 0x6e61_7272_6f77);
    narrow(dice, &mut scenario, heals);
    talks(dice, &mut scenario);
    let dice = &mut Dice::new(seed ^ 0x686f_6c65);
    let holes = dice.chance(250) && scenario.talks.is_empty();
    if holes {
        black_holes(dice, &mut scenario, heals);
    }
    if holes || dice.chance(100) {
        probing(dice, &mut scenario);
    }
    let dice = &mut Dice::new(seed ^ 0x656c_6f68);
    if !scenario.talks.is_empty() && dice.chance(300) {
        black_holes(dice, &mut scenario, heals);
        probing(dice, &mut scenario);
    }
    scenario
}

/// Some lines take only shorter packets from some time on, perhaps from the first, perhaps ever shorter.
fn narrow(dice: &mut Dice, scenario: &mut Scenario, heals: Instant) {
    if !dice.chance(250) {
        return;
    }
    let sizes: &[u16] = match scenario.family {
        Family::V4 => &[1400, 1280, 1006, 576],
        Family::V6 => &[1400, 1300, 1280],
    };
    for line in scenario.lines.iter_mut() {
        let count = dice.one_of(&[0, 1, 1, 2]);
        for _ in 0..count {
            let later = dice.pick(0..=heals.as_millis());
            let from = dice.one_of(&[0, later]);
            line.narrow.push((Instant::from_millis(from), dice.one_of(sizes)));
        }
        line.narrow.sort_by_key(|(from, _)| *from);
    }
}

/// Some lines take less than the links at their ends and say nothing: from the start or from some time on,
/// for ever or for a while.
fn black_holes(dice: &mut Dice, scenario: &mut Scenario, heals: Instant) {
    let takes: &[u16] = match scenario.family {
        Family::V4 => &[296, 576, 1006, 1080, 1280, 1400],
        Family::V6 => &[1280, 1400],
    };
    for line in &mut scenario.lines {
        // From when on how much fits.
        let mut fits = Vec::new();
        for number in 0..=dice.pick(0..=2) {
            let at = if number == 0 { 0 } else { dice.pick(0..=heals.as_millis()) };
            let longest = NonZeroU16::new(dice.one_of(takes)).filter(|_| dice.chance(500));
            fits.push((Instant::from_millis(at), longest));
        }
        fits.sort_by_key(|(at, _)| *at);
        let mut moments: Vec<Instant> = fits.iter().map(|(at, _)| *at).collect();
        moments.extend(line.changes.iter().map(|(at, _)| *at));
        moments.sort();
        moments.dedup();
        let changed = moments.iter().map(|at| {
            let impairment = latest(&line.changes, *at).unwrap_or(line.impairment);
            let longest_packet = latest(&fits, *at).flatten();
            (*at, Impairment { longest_packet, ..impairment })
        });
        line.changes = changed.collect();
    }
}

/// The last of a list that is there by `at`.
fn latest<T: Copy>(list: &[(Instant, T)], at: Instant) -> Option<T> {
    list.iter().rev().find(|(since, _)| *since <= at).map(|(_, what)| *what)
}

/// How hosts look for what their paths take. Somebody has to: a path that says nothing is a dead end
/// otherwise.
fn probing(dice: &mut Dice, scenario: &mut Scenario) {
    for host in &mut scenario.hosts {
        host.config.mtu_probe_interval = Duration::from_secs(dice.one_of(&[1, 10, 600]));
    }
    let plans = scenario.flows.iter_mut().flat_map(|flow| &mut flow.plans);
    for options in plans.map(|plan| &mut plan.options).chain([&mut scenario.listener]) {
        options.mtu_probing = dice.one_of(&[MtuProbing::OnBlackHole, MtuProbing::Always]);
    }
}

fn talks(dice: &mut Dice, scenario: &mut Scenario) {
    if !dice.chance(250) {
        return;
    }
    for _ in 0..dice.pick(1..=3) {
        let client = dice.size(0..=scenario.hosts.len() - 1);
        let server = (client + dice.size(1..=scenario.hosts.len() - 1)) % scenario.hosts.len();
        scenario.talks.push(Talk {
            client,
            server,
            length: dice.one_of(&[100, 1_400, 3_000, 9_000, 20_000]),
            kind: dice.one_of(&[Kind::Datagrams, Kind::Datagrams, Kind::Pings, Kind::Refused]),
        });
    }
}

fn mtu(dice: &mut Dice) -> u16 {
    dice.one_of(&[1500, 1500, 1500, 576, 1280, 9000, 296, 128])
}

fn controller(dice: &mut Dice) -> ControllerFactory {
    let name = dice.one_of(congestion::NAMES);
    congestion::by_name(name).unwrap_or(congestion::Reno::boxed)
}

fn config(dice: &mut Dice, cookies: bool) -> Config {
    Config {
        sack: dice.chance(800),
        timestamps: dice.chance(800),
        window_scaling: dice.chance(800),
        syn_queue_limit: if cookies { 1 } else { 4096 },
        // Programs close early here, and lines stay bad for long: nobody gives up meanwhile.
        orphan_retries: 15,
        // A program that reads byte by byte fills one of the usual size in one turn.
        trace_limit: usize::MAX,
        ..Config::default()
    }
}

type Network = (Vec<LinePlan>, BTreeMap<(usize, usize), Vec<usize>>);

/// A line for each direction of each pair of hosts; or one for each host to and from a bottleneck
/// that all share.
fn network(dice: &mut Dice, hosts: usize, heals: Instant) -> Network {
    let mut lines = Vec::new();
    let mut routes = BTreeMap::new();
    let shared = dice.chance(250);
    for from in 0..hosts {
        for to in (0..hosts).filter(|to| *to != from) {
            lines.push(line(dice, heals));
            routes.insert((from, to), vec![lines.len() - 1]);
        }
    }
    if shared {
        let bottleneck = lines.len();
        for _ in 0..2 {
            let mut line = line(dice, heals);
            line.impairment.rate = NonZeroU64::new(dice.one_of(&[800_000, 8_000_000]));
            // Two flipped bits could cancel each other out.
            line.impairment.corrupt = 0.0;
            line.changes.iter_mut().for_each(|(_, change)| change.corrupt = 0.0);
            lines.push(line);
        }
        for ((from, _), route) in &mut routes {
            // To the server, and from it.
            route.push(if *from == 0 { bottleneck + 1 } else { bottleneck });
        }
    }
    (lines, routes)
}

fn line(dice: &mut Dice, heals: Instant) -> LinePlan {
    let impairment = impairment(dice);
    let mut changes = Vec::new();
    let end = heals.as_millis();
    if dice.chance(250) {
        for _ in 0..dice.pick(1..=2) {
            let from = dice.pick(0..=end);
            let length = dice.one_of(&[100, 1_000, 5_000, 15_000]);
            let hole = Impairment { loss: Loss::Random(1.0), ..impairment };
            changes.push((Instant::from_millis(from), hole));
            changes.push((Instant::from_millis(from + dice.pick(1..=length)), impairment));
        }
    }
    if dice.chance(200) {
        let other = self::impairment(dice);
        let changed = Impairment { delay: other.delay, rate: other.rate, ..impairment };
        changes.push((Instant::from_millis(dice.pick(0..=end)), changed));
    }
    changes.sort_by_key(|(at, _)| *at);
    LinePlan { impairment, changes, narrow: Vec::new() }
}

fn impairment(dice: &mut Dice) -> Impairment {
    let level = dice.one_of(&[0, 0, 10, 50, 150, 300]);
    let mut share = |most: u64| dice.pick(0..=most) as f64 / 1000.0;
    let (loss, duplicate, reorder, corrupt) =
        (share(level), share(level), share(level * 2), share(level / 2));
    let loss = match dice.pick(0..=3) {
        0 => Loss::Burst {
            enter: loss / 5.0,
            leave: dice.one_of(&[0.1, 0.3, 0.5]),
            good: 0.0,
            bad: dice.one_of(&[0.7, 1.0]),
        },
        _ => Loss::Random(loss),
    };
    Impairment {
        loss,
        delay: Duration::from_micros(dice.one_of(&[50, 1_000, 10_000, 80_000, 300_000])),
        jitter: Duration::from_micros(dice.one_of(&[0, 0, 0, 500, 20_000])),
        reorder,
        duplicate,
        corrupt,
        rate: NonZeroU64::new(dice.one_of(&[0, 0, 8_000_000, 800_000])),
        queue_packets: dice.one_of(&[3, 10, 1000]),
        queue_bytes: dice.one_of(&[None, None, Some(12_000)]),
        management: dice.one_of(&[
            QueueManagement::DropTail,
            QueueManagement::DropTail,
            QueueManagement::codel(false),
            QueueManagement::codel(true),
            QueueManagement::MarkAbove(5),
        ]),
        ..Impairment::default()
    }
}

fn flow(dice: &mut Dice, hosts: usize) -> Flow {
    let client = dice.size(1..=hosts - 1);
    let rough = dice.chance(250);
    let mut plans = [plan(dice, rough), plan(dice, rough)];
    // If both waited for the other's end, they would wait forever.
    plans[0].ending = dice.one_of(&[Ending::ShutsDown, Ending::ShutsDown, Ending::WaitsForPeer]);
    plans[1].ending = if plans[0].ending == Ending::WaitsForPeer {
        Ending::ShutsDown
    } else {
        dice.one_of(&[Ending::ShutsDown, Ending::WaitsForPeer, Ending::AnswersAfterEnd])
    };
    for side in 0..2 {
        // A window that is always silly lets a small segment out each second (RFC 9293 3.8.6.2.1).
        if plans[1 - side].options.receive_buffer.is_some_and(|buffer| buffer < 3_000) {
            plans[side].send = plans[side].send.min(20_000);
        }
    }
    if rough {
        let after = Duration::from_millis(dice.pick(0..=3_000));
        let side = dice.size(0..=1);
        plans[side].ending = dice.one_of(&[Ending::ClosesAtOnce, Ending::Aborts(after)]);
        plans[1 - side].ending = Ending::ShutsDown;
        if dice.chance(500) {
            plans[1 - side].send = 0;
        }
    }
    Flow {
        client,
        server: 0,
        start: Instant::from_millis(dice.pick(1..=500)),
        simultaneous: dice.chance(100),
        plans,
        absent: false,
    }
}

/// A size, or `None`: the stack finds one.
fn buffer(dice: &mut Dice, sizes: &[usize]) -> Option<usize> {
    let size = dice.one_of(sizes);
    dice.chance(800).then_some(size)
}

fn plan(dice: &mut Dice, rough: bool) -> Plan {
    let largest = dice.one_of(&[0, 1, 100, 5_000, 60_000, 60_000, 400_000]);
    let chunk = dice.one_of(&[1_usize, 100, 1_460, 20_000]);
    let send = dice.pick(0..=largest).min(u64::try_from(chunk).unwrap_or(0) * 500);
    let options = TcpOptions {
        nodelay: dice.chance(300),
        receive_buffer: buffer(dice, &[600, 2_048, 8_192, 65_536, 400_000]),
        send_buffer: buffer(dice, &[1_000, 16_384, 65_536, 400_000]),
        max_segment: dice.one_of(&[None, None, None, Some(400)]),
        keepalive: rough.then(program::impatient),
        rto: RtoLimits {
            min: Duration::from_millis(dice.one_of(&[200, 200, 200, 1_000, 50])),
            max: Duration::from_secs(dice.one_of(&[120, 120, 10])),
            ..RtoLimits::default()
        },
        pacing: dice.chance(200),
        ecn: dice.one_of(&[EcnMode::Off, EcnMode::Accept, EcnMode::Request]),
        congestion: controller(dice),
        ..TcpOptions::default()
    };
    let stall = Duration::from_millis(dice.one_of(&[500, 3_000, 15_000]));
    let pause = dice.one_of(&[0, 0, 0, 20, 300]);
    // Who reads little and rests long keeps the window closed for longer than a sender waits that
    // its program has left (`Config::orphan_retries`).
    let least = match pause {
        0 => 10,
        20 => 100,
        _ => 2_000,
    };
    Plan {
        send,
        write: 1..=chunk,
        read: 1..=dice.one_of(&[least, 1_000_usize.max(least), 65_536]),
        pause: Duration::from_millis(pause),
        stall: dice.chance(150).then(|| (dice.pick(0..=send), stall)),
        ending: Ending::ShutsDown,
        options,
    }
}
