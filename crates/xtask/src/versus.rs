//! Side by side with Linux under the same impairment: `cargo xtask versus-linux`.
//!
//! In each cell the same two programs move bytes through the same forwarder with the same dice:
//! between two kernels, from estab to a kernel, and from a kernel to estab. The pairs of a round
//! run at the same time, so that what else the machine does meets all alike; rounds go from cell
//! to cell.

mod cell;
mod forwarder;
mod program;
mod record;
mod table;
mod tally;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::source;
use cell::{Cell, Pair, Trouble};
use record::{Log, Record};
use world::Outcome;

const USAGE: &str = "\
cargo xtask versus-linux [OPTION...]

  --quick          four cells within five minutes; the last line is the worst ratio
  --against-itself Linux against Linux once more: how far equals are apart
  --cell NAME      only this cell, as the table names it; may be given again
  --rounds N       so many runs of each; else 7, and 21 of the whole measurement's cells with
                   reordering, where two runs of one and the same are far apart
  --seconds N      so long a run; else 12 at 20 ms and 24 at 100 ms
  --resume         continue the measurement that was interrupted
  --table          only print the table of the runs so far

A whole measurement takes about forty minutes and is written to docs/src/versus-linux.md.
";

/// Where the table stands in the book.
const DOCUMENT: &str = "docs/src/versus-linux.md";

/// A run in which the forwarder was late once by more than this, or by more than one in so many
/// of its time together, is tried again.
const WORST: Duration = Duration::from_millis(10);
const SHARE: u32 = 200;

/// How often a round is tried in a cell until it is taken as it is.
const TRIES: usize = 3;

/// One repetition for so many: a machine that always disturbs does not double the time.
const ROUNDS_PER_REPETITION: usize = 6;

/// What is to be measured.
struct Plan {
    /// What the file of the runs is called.
    name: &'static str,
    cells: Vec<Cell>,
    pairs: Vec<Pair>,
    rounds: u32,
    seconds: Option<f64>,
    resume: bool,
    only_table: bool,
    /// Every cell as it should be: the table is for the book.
    whole: bool,
}

impl Plan {
    fn of(arguments: &[String]) -> Result<Option<Self>> {
        let pairs = vec![Pair::LinuxToLinux, Pair::EstabToLinux, Pair::LinuxToEstab];
        let mut plan = Self {
            name: "whole",
            cells: Cell::all(),
            pairs,
            rounds: 7,
            seconds: None,
            resume: false,
            only_table: false,
            whole: true,
        };
        let mut cells = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} what?"));
            plan.whole &= matches!(argument.as_str(), "--resume" | "--table");
            match argument.as_str() {
                "--quick" => {
                    plan.name = "quick";
                    plan.cells = Cell::quick();
                    plan.seconds = plan.seconds.or(Some(5.0));
                }
                "--against-itself" => plan.pairs = vec![Pair::LinuxToLinux, Pair::LinuxAgain],
                "--cell" => {
                    let name = value()?;
                    let found = Cell::all().into_iter().find(|cell| cell.name() == *name);
                    cells.push(found.with_context(|| format!("no cell '{name}'"))?);
                }
                "--rounds" => plan.rounds = value()?.parse()?,
                "--seconds" => plan.seconds = Some(value()?.parse()?),
                "--resume" => plan.resume = true,
                "--table" => (plan.resume, plan.only_table) = (true, true),
                "--help" | "-h" => return Ok(None),
                other => bail!("{other}: no such option\n{USAGE}"),
            }
        }
        if !cells.is_empty() {
            plan.cells = cells;
        }
        Ok(Some(plan))
    }

    /// How many runs of a cell. Of a whole measurement, those are more where it matters much for a
    /// run when the sender learns of the reordering: in or after its slow start.
    fn rounds_of(&self, cell: Cell) -> u32 {
        if self.whole && cell.trouble == Trouble::Reordering {
            3 * self.rounds
        } else {
            self.rounds
        }
    }

    fn duration(&self, cell: Cell) -> Duration {
        let seconds = self.seconds.unwrap_or(if cell.round_trip < 50 { 12.0 } else { 24.0 });
        Duration::from_secs_f64(seconds.clamp(0.5, 60.0))
    }
}

/// A hidden part of the command, for `main`; `None`: it is another command.
pub(crate) fn run_part(command: &str, arguments: &[String]) -> Option<Result<()>> {
    match command {
        "__versus-run" => Some(world::run(arguments)),
        "__versus-end" => Some(program::run(arguments)),
        _ => None,
    }
}

/// Measures what `arguments` ask for.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let Some(plan) = Plan::of(arguments)? else {
        print!("{USAGE}");
        return Ok(());
    };
    // Optimised, as what it measures.
    let built = source::build(&["--release", "--package", "xtask", "--bin", "xtask"])?;
    let program = built.iter().find(|path| path.ends_with("xtask")).context("no xtask")?;
    let itself = if plan.pairs.contains(&Pair::LinuxAgain) { "-itself" } else { "" };
    let path = directory(program)?.join(format!("{}{itself}.jsonl", plan.name));
    let mut log = Log::open(&path, plan.resume)?;
    if !plan.only_table {
        measure_all(&plan, program, &mut log)?;
    }
    let rows = table::rows(&plan.cells, &plan.pairs, &log.records);
    let (markdown, verdict) = (table::markdown(&rows)?, table::verdict(&rows)?);
    if plan.whole {
        let text = format!("{}\n{markdown}\n```text\n{verdict}```\n", preface(&log)?);
        fs::write(source::root().join(DOCUMENT), text).context(DOCUMENT)?;
        println!("wrote {DOCUMENT}");
    }
    let disturbed = log.records.iter().filter(|record| record.disturbed).count();
    print!("{markdown}\n{disturbed} of {} runs were disturbed\n", log.records.len());
    print!("congestion control: {}\n{verdict}", controllers(&log.records));
    Ok(())
}

fn measure_all(plan: &Plan, program: &Path, log: &mut Log) -> Result<()> {
    let total = plan.cells.iter().map(|cell| plan.rounds_of(*cell) as usize).sum::<usize>();
    let (mut done, mut repetitions) = (0, total.div_ceil(ROUNDS_PER_REPETITION));
    let rounds = plan.cells.iter().map(|cell| plan.rounds_of(*cell)).max().unwrap_or_default();
    for round in 0..rounds {
        for cell in plan.cells.iter().filter(|cell| round < plan.rounds_of(**cell)) {
            done += 1;
            if log.holds(&cell.name(), round) {
                continue;
            }
            let measure = || {
                run_pairs(program, *cell, &plan.pairs, round, plan.duration(*cell))
                    .with_context(|| format!("{}, round {round}", cell.name()))
            };
            let records = undisturbed(measure, &mut repetitions)?;
            for record in &records {
                println!("{done}/{total} {}", line(record));
            }
            log.add(records)?;
        }
    }
    Ok(())
}

/// Measures until no run is disturbed, or patience is over; the least disturbed ones.
fn undisturbed(
    measure: impl Fn() -> Result<Vec<Record>>,
    repetitions: &mut usize,
) -> Result<Vec<Record>> {
    let late = |records: &[Record]| -> Duration {
        records.iter().map(|record| record.outcome.lateness.total).sum()
    };
    let mut best = measure()?;
    for _ in 1..TRIES {
        let Some(record) = best.iter().find(|record| record.disturbed) else { break };
        if *repetitions == 0 {
            break;
        }
        *repetitions -= 1;
        println!("    again: {}", line(record));
        let records = measure()?;
        if late(&records) < late(&best) {
            best = records;
        }
    }
    Ok(best)
}

fn is_disturbed(outcome: &Outcome, duration: Duration) -> bool {
    let late = outcome.lateness;
    late.worst > WORST || late.total > duration / SHARE || outcome.refused > 0
}

/// Runs all pairs at the same time. The seed is the round's: the same for all.
fn run_pairs(
    program: &Path,
    cell: Cell,
    pairs: &[Pair],
    round: u32,
    duration: Duration,
) -> Result<Vec<Record>> {
    let milliseconds = u64::try_from(duration.as_millis())?;
    let runs: Result<Vec<Run>> = pairs
        .iter()
        .map(|pair| {
            let (cell, pair, seed) = (cell.name(), pair.name(), round.to_string());
            Run::start(program, &[&cell, pair, &seed, &milliseconds.to_string()])
        })
        .collect();
    let deadline = Instant::now() + duration + world::PATIENCE * 3;
    let finished = runs?.into_iter().zip(pairs).map(|(run, pair)| {
        let outcome = run.finish(deadline).with_context(|| pair.name())?;
        let disturbed = is_disturbed(&outcome, duration);
        Ok(Record { cell: cell.name(), pair: *pair, round, milliseconds, outcome, disturbed })
    });
    finished.collect()
}

/// A run in a process of its own, since namespaces want one with a single thread. Dropped, it is
/// killed.
struct Run(Child);

impl Run {
    fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("__versus-run").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    fn finish(mut self, deadline: Instant) -> Result<Outcome> {
        let status = loop {
            if let Some(status) = self.0.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "a run does not end");
            sleep(Duration::from_millis(10));
        };
        let mut text = String::new();
        self.0.stdout.take().context("no pipe")?.read_to_string(&mut text)?;
        ensure!(status.success(), "a run failed: {status}");
        serde_json::from_str(text.trim()).with_context(|| format!("a run says: {text}"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn line(record: &Record) -> String {
    let outcome = &record.outcome;
    let segments = outcome.segments;
    format!(
        "{:<16} {:<22} {:>6.2} Mbit/s, {} segments, {} again, {} spurious, {} + {} dropped, {}",
        record.cell,
        record.pair.name(),
        record.goodput() / 1e6,
        segments.sent,
        segments.retransmitted,
        segments.spurious,
        outcome.lost,
        outcome.overflowed,
        lateness(outcome),
    )
}

fn lateness(outcome: &Outcome) -> String {
    let late = outcome.lateness;
    format!("late by {:.1?} at most, {:.1?} in all", late.worst, late.total)
}

/// Which congestion controllers the senders had.
fn controllers(records: &[Record]) -> String {
    let all = records.iter().map(|record| record.outcome.sender.congestion.as_str());
    let names: BTreeSet<&str> = all.collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The directory for the runs, beside what cargo built.
fn directory(program: &Path) -> Result<PathBuf> {
    let target = program.ancestors().nth(2).context("no target directory")?;
    Ok(target.join("versus-linux"))
}

/// What stands above the table in the book.
fn preface(log: &Log) -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
    let disturbed = log.records.iter().filter(|record| record.disturbed).count();
    let runs = log.records.len();
    Ok(format!(
        "<!-- Measured and written by `cargo xtask versus-linux`. -->\n\
         {}\n\
         The kernel was {}, congestion control {}. Of {runs} runs {disturbed} were disturbed and \
         are counted all the same.\n",
        include_str!("versus/preface.md"),
        kernel.trim(),
        controllers(&log.records),
    ))
}
