//! A measurement from its plan to the book.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::measure::{Log, measure};
use crate::plan::Plan;
use crate::summary::{Line, lines};
use crate::{chart, table, verdict};

/// Where the tables stand in the book, and the chart, from the root of the workspace.
const DOCUMENT: &str = "docs/src/bench.md";
const FIGURE: &str = "docs/src/figures/bench.svg";

/// Measures what `plan` says, and tells.
pub(crate) fn carry_out(plan: &Plan) -> Result<()> {
    let mut log = Log::open(&directory()?.join(format!("{}.jsonl", plan.name)), plan.resume)?;
    if !plan.only_table {
        measure(plan, &mut log)?;
    }
    let lines = lines(plan, &log.records);
    if let Some(path) = &plan.json {
        let entries: Vec<_> = lines.iter().map(Line::entry).collect();
        let all = json!({ "kernel": kernel()?, "summary": entries, "runs": log.records });
        fs::write(path, serde_json::to_string_pretty(&all)?)
            .with_context(|| path.display().to_string())?;
    }
    let (overview, details) = (table::overview(&lines)?, table::details(&lines)?);
    let verdict = verdict::verdict(&lines)?;
    if plan.whole {
        // A measurement that was interrupted has fewer rounds than were planned.
        let rounds = log.records.iter().map(|record| record.round + 1).max().unwrap_or_default();
        let page = page(plan, rounds, &overview, &details, &verdict)?;
        fs::write(root().join(DOCUMENT), page).context(DOCUMENT)?;
        fs::write(root().join(FIGURE), chart::draw(&lines)?).context(FIGURE)?;
        println!("wrote {DOCUMENT} and {FIGURE}");
    }
    print!("\n{overview}\n{details}\n{verdict}");
    Ok(())
}

fn page(plan: &Plan, rounds: u32, overview: &str, details: &str, verdict: &str) -> Result<String> {
    Ok(format!(
        "<!-- Measured and written by `cargo xtask bench`. -->\n\
         {}\n\
         The kernel was {}, the processor {}. Each number is the median of {} runs of {:.1} s.\n\n\
         ![Every row as bars](figures/bench.svg)\n\n\
         {overview}\n\
         ## What is claimed\n\n\
         ```text\n{verdict}```\n\n\
         {reasons}\n\
         ## Every number\n\n\
         {details}",
        include_str!("preface.md"),
        kernel()?,
        processor()?,
        rounds,
        plan.window.as_secs_f64(),
        reasons = include_str!("reasons.md"),
    ))
}

fn kernel() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
    Ok(text.trim().to_owned())
}

/// The processor's name and how many cores there are.
fn processor() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo").context("cpuinfo")?;
    let name = text.lines().find(|line| line.starts_with("model name"));
    let name = name.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name);
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("{}, {cores} cores", name.trim()))
}

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The directory for the runs, beside what cargo built.
fn directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("no target directory")?;
    Ok(target.join("bench"))
}
