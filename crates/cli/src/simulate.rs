//! `estab sim`: worlds in virtual time.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant as WallTime};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sim::study;
use sim::world::hunt::{self, Tally};
use sim::world::shrink::Address;
use sim::world::{Observer, checker, line};
use stack::TraceEvent;
use stack::trace::What;
use wire::time::Instant;

use crate::Output;
use crate::arguments::Sim;

pub(crate) fn run(arguments: &Sim) -> anyhow::Result<ExitCode> {
    if let Some(scenario) = &arguments.scenario {
        return measure(scenario, arguments.out.as_deref());
    }
    if let Some(address) = &arguments.replay {
        return replay(address, arguments.trace);
    }
    if arguments.tables {
        return print(&study::tables::book().context("a table")?);
    }
    let first = arguments.first;
    let last = arguments.seeds.map_or(u64::MAX, |seeds| first.saturating_add(seeds));
    let limit = arguments.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    hunt(first..last, limit)
}

/// Runs a scenario, and writes its curves.
fn measure(scenario: &Path, out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let name = scenario.display();
    let text = fs::read_to_string(scenario).with_context(|| {
        format!("{name}: cannot be read; `estab sim --help` shows what a scenario looks like")
    })?;
    let study = match study::file::parse(&text) {
        Ok(study) => study,
        Err(study::file::FileError { line, column, what }) => {
            bail!("{name}:{line}:{column}: {what}")
        }
    };
    let directory = out.or_else(|| scenario.parent()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)
        .with_context(|| format!("{}: cannot make the directory", directory.display()))?;

    let length = u64::try_from(study.duration.as_millis()).unwrap_or(u64::MAX);
    let bar = bar(length, "{wide_bar} {pos:>7} of {len} ms of virtual time");
    let began = WallTime::now();
    let outcome = study.run(&mut |now| bar.set_position(now.as_millis()));
    bar.finish_and_clear();
    let measured = match outcome {
        Ok(measured) => measured,
        Err(violation) => {
            anstream::eprintln!("estab: {name}: the stack did what must not be {violation}");
            return Ok(ExitCode::FAILURE);
        }
    };

    let stem = scenario.file_stem().unwrap_or(scenario.as_os_str());
    let mut written = Vec::new();
    for (ending, text) in [("svg", study::svg::draw(&measured)), ("csv", measured.csv())] {
        let path = directory.join(stem).with_extension(ending);
        fs::write(&path, text).with_context(|| format!("{}: cannot write", path.display()))?;
        written.push(path.display().to_string());
    }
    let (packets, took) = (measured.report.packets, began.elapsed().as_secs_f64());
    let seconds = study.duration.as_secs_f64();
    print(&format!(
        "{}{}\n{seconds} s and {packets} packets in {took:.2} s; wrote {}\n",
        if study.title.is_empty() { String::new() } else { format!("{}\n\n", study.title) },
        measured.summary(),
        written.join(" and "),
    ))
}

/// Hunts through seeds until they or the time are over, or worlds fail.
fn hunt(seeds: std::ops::Range<u64>, limit: Option<Duration>) -> anyhow::Result<ExitCode> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let count = seeds.end - seeds.start;
    let length = limit.map_or(count, |limit| limit.as_secs());
    let bar = bar(length, "{wide_bar} {msg}");
    let began = WallTime::now();
    let (tally, failures) = hunt::hunt(seeds, threads, |tally| {
        let position = limit.map_or(tally.worlds, |_| began.elapsed().as_secs());
        bar.set_position(position);
        bar.set_message(format!("{} worlds", tally.worlds));
        limit.is_none_or(|limit| began.elapsed() < limit)
    });
    bar.finish_and_clear();
    print(&account(&tally, began.elapsed(), threads))?;
    for failure in &failures {
        print(&format!("{failure}\n"))?;
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn account(tally: &Tally, took: Duration, threads: usize) -> String {
    let Tally { worlds, packets, lost, bytes, simulated } = *tally;
    let (hours, seconds) = (simulated.as_secs_f64() / 3600.0, took.as_secs_f64().max(1e-3));
    format!(
        "{worlds} worlds, {hours:.1} simulated hours, {packets} packets ({lost} lost), {:.1} MB \
         checked; {seconds:.1} s on {threads} threads: {:.0} seeds/s, {:.0} packets/ms\n",
        bytes as f64 / 1e6,
        worlds as f64 / seconds,
        packets as f64 / (seconds * 1e3),
    )
}

/// Runs one world again.
fn replay(address: &Address, trace: bool) -> anyhow::Result<ExitCode> {
    let outcome = if trace {
        hunt::run_caught(&address.scenario(), &mut Tracer)
    } else {
        hunt::run_caught(&address.scenario(), &mut sim::world::Nobody)
    };
    match outcome {
        Ok(report) => print(&format!(
            "{address}: all is well; it ended at {} s, after {} packets\n",
            report.ended, report.packets
        )),
        Err(violation) => {
            print(&format!("{address}: {violation}\n"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Prints what happens in a world.
struct Tracer;

impl Observer for Tracer {
    fn wants_packets(&self) -> bool {
        true
    }

    fn packet(&mut self, now: Instant, from: usize, line: checker::Line<'_>) {
        anstream::println!("{now} host {from} {line}");
    }

    fn lost(&mut self, at: Instant, line: usize, tag: line::Tag) {
        anstream::println!("{at} line {line} loses a packet of host {}", tag.from);
    }

    fn told(&mut self, host: usize, event: &TraceEvent) {
        match &event.what {
            What::Dropped { reason } => {
                anstream::println!("{} host {host} drops: {reason}", event.time);
            }
            What::Transition { from, to, cause } => {
                anstream::println!("{} host {host}: {from} to {to} by {cause}", event.time);
            }
            What::Timer { timer } => anstream::println!("{} host {host} {timer:?}", event.time),
            _ => {}
        }
    }
}

/// A progress bar on standard error; nothing where that is no terminal.
fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(text.as_bytes()).map_err(Output::from)?;
    Ok(ExitCode::SUCCESS)
}
