//! Three hundred worlds, and those that once went wrong.

use std::time::Duration;

use sim::world::scenario::Scenario;
use sim::world::shrink::Address;
use sim::world::{self, Observer, checker, draw, hunt};
use wire::time::Instant;

#[test]
fn three_hundred_worlds() {
    let (tally, failures) = hunt::hunt(1..301, 2, |_| true);
    println!("{tally:?}");
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    assert_eq!(tally.worlds, 300);
    // They test something: packets are lost, and hours pass.
    assert!(tally.lost > 1000 && tally.packets > 10 * tally.lost / 2);
    assert!(tally.simulated > Duration::from_secs(3600));
}

#[derive(Default)]
struct Record(Vec<String>);

impl Observer for Record {
    fn wants_packets(&self) -> bool {
        true
    }

    fn packet(&mut self, now: Instant, from: usize, line: checker::Line<'_>) {
        self.0.push(format!("{now} {from} {line}"));
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let record = |seed| {
        let mut record = Record::default();
        let report = world::run_observed(&draw::scenario(seed), &mut record);
        (report, record.0)
    };
    let (first, second) = (record(7), record(7));
    assert!(first == second);
    assert!(first.1 != record(8).1);
}

/// Worlds that once showed a mistake, with a name and what it was.
#[test]
fn worlds_that_went_wrong_once() {
    let list = include_str!("seeds.txt");
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut known = 0;
    let mut case = ("", "");
    for line in lines {
        // What it showed is indented below the name and the address.
        if let Some(mistake) = line.strip_prefix("  ") {
            let (name, address) = case;
            let address: Address =
                address.parse().unwrap_or_else(|error| panic!("{name} in seeds.txt: {error}"));
            if let Err(violation) = world::run(&address.scenario()) {
                panic!("{name}: {violation}\n  replay: estab sim --replay {address}\n  {mistake}");
            }
            known += 1;
        } else {
            case = line.split_once(' ').unwrap_or_else(|| panic!("no address: {line}"));
        }
    }
    assert!(known > 0);
}

/// Who sends datagrams and pings meets lines that take less than they say, and is not promised what such a
/// line keeps. What comes all the same is what was sent, and where the line takes it an answer comes.
#[test]
fn a_hundred_worlds_that_talk_over_black_holes() {
    let is_hole = |impairment: &link::Impairment| impairment.longest_packet.is_some();
    let has_holes = |scenario: &Scenario| {
        let mut lines = scenario.lines.iter();
        lines.any(|line| {
            is_hole(&line.impairment) || line.changes.iter().any(|(_, change)| is_hole(change))
        })
    };
    let talks_over_them = |scenario: &Scenario| !scenario.talks.is_empty() && has_holes(scenario);
    let worlds = (1..10_000).map(draw::scenario).filter(talks_over_them).take(100);
    let mut count = 0;
    for world in worlds {
        if let Err(violation) = world::run(&world) {
            panic!("{violation}\n  replay: estab sim --replay {}", world.seed);
        }
        count += 1;
    }
    assert_eq!(count, 100);
}
