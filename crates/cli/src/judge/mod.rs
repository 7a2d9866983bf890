//! `estab judge`: packet scripts in virtual time, many at once.

mod arguments;
mod report;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sim::script::{self, Family, Options, Run};

use crate::{BAD_INPUT, Output};
pub(crate) use arguments::Judge;
use report::{Counts, Judged};

/// The exit status when a script failed.
const FAILED: u8 = 1;

/// How deep directories are searched.
const MAX_DEPTH: usize = 32;

/// Judges every script that is named, and those in the directories that are.
pub(crate) fn run(arguments: &Judge) -> anyhow::Result<ExitCode> {
    let mut scripts = Vec::new();
    for path in &arguments.files {
        if path.is_dir() {
            collect(path, &mut scripts, MAX_DEPTH)?;
        } else {
            scripts.push(path.clone());
        }
    }
    if scripts.is_empty() {
        bail!("{}: no .pkt files there", arguments.files[0].display());
    }
    scripts.sort();
    scripts.dedup();
    let began = Instant::now();
    let judged = judge_all(scripts, &arguments.options(), arguments.dry_run);
    print(&judged, arguments, began.elapsed())?;
    let counts = Counts::of(&judged);
    Ok(ExitCode::from(match counts {
        Counts { failed: 1.., .. } => FAILED,
        Counts { invalid: 1.., .. } => BAD_INPUT,
        _ => 0,
    }))
}

/// Every script on its own, on as many threads as there are cores.
fn judge_all(scripts: Vec<PathBuf>, options: &Options, dry: bool) -> Vec<Judged> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(scripts.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut judged = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = scripts.get(index) else { return judged };
            judged.push((index, judge_one(path, options, dry)));
        }
    };
    let mut runs: Vec<(usize, Vec<_>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().filter_map(|worker| worker.join().ok());
        joined.flatten().collect()
    });
    runs.sort_by_key(|(index, _)| *index);
    scripts.into_iter().zip(runs).map(|(path, (_, runs))| Judged { path, runs }).collect()
}

/// A script over the family that it names, or else over one after the other, until it fails.
fn judge_one(path: &Path, options: &Options, dry: bool) -> Vec<(Family, Run)> {
    let mut runs = Vec::new();
    for &family in script::families(path, options) {
        let options = Options { family, ..options.clone() };
        let run = if dry { check(path, &options) } else { script::judge_file(path, &options) };
        let failed = run.verdict.is_err();
        runs.push((family, run));
        if failed {
            break;
        }
    }
    runs
}

/// Only reads a script.
fn check(path: &Path, options: &Options) -> Run {
    let verdict = script::check_file(path, options);
    Run { verdict, log: Vec::new(), elapsed: Duration::ZERO }
}

fn print(judged: &[Judged], arguments: &Judge, took: Duration) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", report::json(judged)?).map_err(Output::from)?;
        return Ok(());
    }
    for one in judged {
        out.write_all(one.text(arguments.verbose).as_bytes()).map_err(Output::from)?;
    }
    writeln!(out, "{}", Counts::of(judged).summary(took)).map_err(Output::from)?;
    Ok(())
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>, depth: usize) -> anyhow::Result<()> {
    if depth == 0 {
        bail!("{}: directories are nested too deeply", directory.display());
    }
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let entry = entry.with_context(|| directory.display().to_string())?;
        let path = entry.path();
        // A link to a directory could lead back here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, into, depth - 1)?;
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            into.push(path);
        }
    }
    Ok(())
}
