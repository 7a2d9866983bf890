//! Other people's programs against our sockets: `cargo xtask interop`.
//!
//! A case is a shell script in a lab of its own, so nothing here touches the machine's network, and
//! it has a time limit. It is tried over several [ways](way): both families, TUN and TAP. A case passes
//! or fails; what cannot be tried fails, and what is not tried over every way says why.

mod autoconf;
pub(crate) mod bench;
mod defence;
mod dhcp;
mod fetch;
mod flows;
mod fragments;
mod half_close;
mod load;
mod multicast;
pub(crate) mod needs;
mod path_mtu;
pub(crate) mod program;
mod redirect;
mod redis;
mod traceroute;
mod udp_segments;
mod vlan;
pub(crate) mod way;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use bench::{Bench, Programs};
use way::{EVERY, V4_TUN, Way};

const USAGE: &str = "\
cargo xtask interop [--list] [NAME...]

  --list   print the names of the cases and stop
  NAME     run only the cases whose name begins with one of these

What is missing is installed from Debian when we are root; else the error says what to install.
";

/// How many cases run at a time. Each has its own network; most wait more than they work.
const AT_A_TIME: usize = 3;

/// At most so many of those that failed are tried a second time, alone. They work in real time, and a machine
/// may stand still for a moment. What fails twice, and what fails with many others, is a mistake; what passes
/// then is told apart, because it may be one.
const SECOND_TRIES: usize = 3;

/// What a case does; an error says why it fails.
type Attempt = Box<dyn Fn(&Bench) -> Result<()> + Sync>;

/// Something to try, and how long it may take.
pub(crate) struct Case {
    name: String,
    limit: Duration,
    ways: &'static [Way],
    /// Why it is not tried over every way.
    only: Option<&'static str>,
    try_it: Attempt,
}

impl Case {
    /// A case that has nothing to do with the way from the kernel to the stack.
    pub(crate) fn new(
        name: impl Into<String>,
        seconds: u64,
        try_it: impl Fn(&Bench) -> Result<()> + Sync + 'static,
    ) -> Self {
        Self { ways: &[], ..Self::over_every(name, seconds, try_it) }
    }

    /// A case for every way.
    pub(crate) fn over_every(
        name: impl Into<String>,
        seconds: u64,
        try_it: impl Fn(&Bench) -> Result<()> + Sync + 'static,
    ) -> Self {
        let limit = Duration::from_secs(seconds);
        Self { name: name.into(), limit, ways: EVERY, only: None, try_it: Box::new(try_it) }
    }

    /// The same for these ways, which are more.
    pub(crate) fn over(self, ways: &'static [Way]) -> Self {
        Self { ways, ..self }
    }

    /// The same for these ways alone, and why.
    pub(crate) fn only_over(self, ways: &'static [Way], why: &'static str) -> Self {
        Self { ways, only: Some(why), ..self }
    }
}

/// A case over a way.
struct Run<'a> {
    name: String,
    case: &'a Case,
    way: Way,
}

/// Runs the cases that `arguments` ask for, all without any.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    Suite { usage: USAGE, cases: all(), prepare: || needs::install(needs::NEEDS) }.run(arguments)
}

/// Cases, and what they need.
pub(crate) struct Suite {
    /// What `--help` prints.
    pub(crate) usage: &'static str,
    /// In the order in which they begin.
    pub(crate) cases: Vec<Case>,
    /// What has to be done before the first of them.
    pub(crate) prepare: fn() -> Result<()>,
}

impl Suite {
    /// Runs the cases that `arguments` ask for, all without any.
    pub(crate) fn run(&self, arguments: &[String]) -> Result<()> {
        let mut names = Vec::new();
        let mut list = false;
        for argument in arguments {
            match argument.as_str() {
                "--list" => list = true,
                "--help" | "-h" => {
                    print!("{}", self.usage);
                    return Ok(());
                }
                option if option.starts_with('-') => {
                    bail!("{option}: no such option\n{}", self.usage)
                }
                name => names.push(name),
            }
        }
        let runs = selected(&self.cases, &names)?;
        for case in &self.cases {
            if let (Some(why), true) =
                (case.only, runs.iter().any(|run| run.case.name == case.name))
            {
                let ways: Vec<String> = case.ways.iter().map(|way| way.name()).collect();
                println!("only {} over {}: {why}", case.name, ways.join(", "));
            }
        }
        if list {
            runs.iter().for_each(|run| println!("{}", run.name));
            return Ok(());
        }
        (self.prepare)()?;
        let programs = Programs::build()?;
        let mut failed = run_all(&runs, &programs);
        if (1..=SECOND_TRIES).contains(&failed.len()) {
            println!("once more, alone:");
            let first = failed.len();
            failed.retain(|run| !passes(run, &programs));
            println!("{} passed at the second try only", first - failed.len());
        }
        println!("{} passed, {} failed", runs.len() - failed.len(), failed.len());
        if !failed.is_empty() {
            bail!("interoperation is broken");
        }
        Ok(())
    }
}

/// Every case, from the longest to the quickest, so that the last ones end together.
fn all() -> Vec<Case> {
    [
        load::cases(),
        fetch::files(),
        fetch::from_servers(),
        flows::cases(),
        dhcp::cases(),
        defence::cases(),
        traceroute::cases(),
        redirect::cases(),
        redis::cases(),
        autoconf::cases(),
        path_mtu::cases(),
        fragments::cases(),
        multicast::cases(),
        half_close::cases(),
        udp_segments::cases(),
        vlan::cases(),
        fetch::pages(),
        program::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The runs whose names begin with one of `names`; all without any.
fn selected<'a>(cases: &'a [Case], names: &[&str]) -> Result<Vec<Run<'a>>> {
    let over_its_ways = |case: &'a Case| {
        let anyway =
            case.ways.is_empty().then(|| Run { name: case.name.clone(), case, way: V4_TUN });
        let over = |&way: &Way| Run { name: format!("{}-{}", case.name, way.name()), case, way };
        anyway.into_iter().chain(case.ways.iter().map(over))
    };
    let runs: Vec<Run<'_>> = cases.iter().flat_map(over_its_ways).collect();
    for name in names {
        let known = runs.iter().any(|run| run.name.starts_with(name));
        known.then_some(()).with_context(|| format!("{name}: no case begins so; see --list"))?;
    }
    let wanted = |run: &Run<'_>| names.is_empty() || names.iter().any(|n| run.name.starts_with(n));
    Ok(runs.into_iter().filter(wanted).collect())
}

/// Runs all, some at a time, and returns those that failed.
fn run_all<'a, 'b>(runs: &'b [Run<'a>], programs: &Programs) -> Vec<&'b Run<'a>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mine = std::iter::from_fn(|| runs.get(next.fetch_add(1, Ordering::Relaxed)));
        mine.filter(|run| !passes(run, programs)).collect()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let failed = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        failed.collect::<Vec<Vec<_>>>().concat()
    })
}

/// Runs one case and prints its line.
fn passes(run: &Run<'_>, programs: &Programs) -> bool {
    let Run { name, case, way } = run;
    let start = Instant::now();
    let bench = programs.bench(name, *way, case.limit);
    let outcome = bench.and_then(|bench| (case.try_it)(&bench));
    let seconds = start.elapsed().as_secs_f32();
    match &outcome {
        Ok(()) => println!("ok {name} {seconds:.1}s"),
        Err(error) => {
            let why = format!("{error:#}");
            println!("FAIL {name} {}", why.trim().replace('\n', " | "));
        }
    }
    outcome.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let cases = all();
        let runs = selected(&cases, &[]).unwrap();
        let mut names: Vec<&String> = runs.iter().map(|run| &run.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_name_selects_every_case_that_begins_with_it() {
        let cases = all();
        let pages = selected(&cases, &["page"]).unwrap();
        assert!(pages.len() > 1 && pages.iter().all(|run| run.name.starts_with("page")));
        assert!(selected(&cases, &["no-such-case"]).is_err());
    }

    #[test]
    fn a_case_is_tried_over_every_way_or_says_why_not() {
        for case in all() {
            let names: Vec<String> = case.ways.iter().map(|way| way.name()).collect();
            let every = names.is_empty() || EVERY.iter().all(|way| names.contains(&way.name()));
            assert_eq!(every, case.only.is_none(), "{}", case.name);
        }
    }
}
