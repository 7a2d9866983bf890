//! Runs in turn, kept in a file so that a measurement can be continued.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::outcome::{Outcome, Record};
use crate::plan::Plan;
use crate::row::Row;
use crate::run::PATIENCE;
use crate::variant::Variant;

/// The runs so far, one a line.
pub(crate) struct Log {
    path: PathBuf,
    pub(crate) records: Vec<Record>,
}

impl Log {
    /// Opens the file; what is in it is forgotten unless it is to be continued.
    pub(crate) fn open(path: &Path, resume: bool) -> Result<Self> {
        let name = || path.display().to_string();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(name)?;
        }
        if !resume {
            File::create(path).with_context(name)?;
        }
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            other => other.with_context(name)?,
        };
        // A line that was cut off is a run to do again.
        let records = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Self { path: path.to_owned(), records })
    }

    fn holds(&self, row: &Row, variant: Variant, round: u32) -> bool {
        self.records.iter().any(|record| {
            record.row == row.name && record.variant == variant.name() && record.round == round
        })
    }

    fn add(&mut self, record: Record) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        writeln!(file, "{}", serde_json::to_string(&record)?)?;
        self.records.push(record);
        Ok(())
    }
}

/// Measures what is missing: in each round every variant of every row, one after the other.
pub(crate) fn measure(plan: &Plan, log: &mut Log) -> Result<()> {
    let cells = plan.cells();
    let total = plan.rounds as usize * cells.len();
    let mut done = 0;
    for round in 0..plan.rounds {
        for (row, variant) in &cells {
            done += 1;
            if log.holds(row, *variant, round) {
                continue;
            }
            let outcome = run(plan, row, *variant)
                .with_context(|| format!("{}, {}, round {round}", row.name, variant.name()))?;
            let numbers = row.measures().iter().filter_map(|measure| {
                let value = outcome.value(row, *measure)?;
                Some(format!("{value:>10.1} {}", row.unit(*measure)))
            });
            let numbers: Vec<String> = numbers.collect();
            println!(
                "{done}/{total} {:<10} {:<14} {}",
                row.name,
                variant.name(),
                numbers.join(", ")
            );
            let (row, variant) = (row.name.to_owned(), variant.name().to_owned());
            log.add(Record { row, variant, round, outcome })?;
        }
    }
    Ok(())
}

/// One run in a process of its own, since a namespace wants one with a single thread.
fn run(plan: &Plan, row: &Row, variant: Variant) -> Result<Outcome> {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["__run", row.name, variant.name()]);
    command.args([milliseconds(plan.warm_up), milliseconds(plan.window)]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut run = Run(command.spawn()?);
    let deadline = Instant::now() + plan.warm_up + plan.window + PATIENCE * 2;
    let status = loop {
        if let Some(status) = run.0.try_wait()? {
            break status;
        }
        ensure!(Instant::now() < deadline, "the run does not end");
        sleep(Duration::from_millis(5));
    };
    let mut text = String::new();
    run.0.stdout.take().context("no pipe")?.read_to_string(&mut text)?;
    if !status.success() {
        bail!("the run failed: {status}");
    }
    serde_json::from_str(text.trim()).with_context(|| format!("the run says: {text}"))
}

/// Dropped, it is killed, and its client with it.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
