//! `cargo xtask counts`: the instructions of the hot paths against the numbers of the repository.
//!
//! The counts come from a simulated processor and are the same in every run, so a small growth is a
//! change and not noise. Another compiler gives other counts: then they are written anew, in a
//! commit of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::source::root;

/// The numbers of the repository.
const FILE: &str = "docs/counts.toml";
/// The bench that counts.
const BENCH: &[&str] = &["bench", "--quiet", "--locked", "-p", "estab-stack", "--bench", "counts"];
/// A growth beyond this fails, in per cent.
const TOLERANCE: u64 = 3;

/// Instructions of a batch, by bench.
type Counts = BTreeMap<String, u64>;

/// `counts [--write]`: compares, or writes the file anew.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let write = match arguments {
        [] => false,
        [write] if write == "--write" => true,
        _ => bail!("`counts` takes nothing but `--write`"),
    };
    let counts = measure()?;
    if write {
        fs::write(root().join(FILE), file_of(&counts))
            .with_context(|| format!("cannot write {FILE}"))?;
        println!("wrote {FILE}");
        return Ok(());
    }
    let text =
        fs::read_to_string(root().join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    let known: Counts =
        toml::from_str(&text).with_context(|| format!("cannot understand {FILE}"))?;
    let grown = compare(&known, &counts);
    ensure!(
        grown.is_empty(),
        "{}: make it cheaper, or say why it costs more and run `cargo xtask counts --write`",
        grown.join("; ")
    );
    Ok(())
}

/// Prints a line for each bench, and gives back what is wrong.
fn compare(known: &Counts, counts: &Counts) -> Vec<String> {
    let mut wrong = Vec::new();
    for (bench, count) in counts {
        let Some(before) = known.get(bench) else {
            wrong.push(format!("{bench} is not in {FILE}"));
            continue;
        };
        let growth = *count as f64 / *before as f64 - 1.0;
        println!("{bench:<36} {count:>10} {before:>10} {:>+7.2} %", growth * 100.0);
        if count * 100 > before * (100 + TOLERANCE) {
            wrong.push(format!("{bench} takes {:.1} % more instructions", growth * 100.0));
        }
    }
    wrong.extend(
        known
            .keys()
            .filter(|bench| !counts.contains_key(*bench))
            .map(|bench| format!("{bench} is in {FILE}, but no bench counts it")),
    );
    wrong
}

fn measure() -> Result<Counts> {
    let output = Command::new(env!("CARGO"))
        .args(BENCH)
        .args(["--", "--output-format=json"])
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "the bench failed; it needs valgrind, and `cargo install gungraun-runner` in its version"
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let counts: Counts = text.lines().filter_map(parse).collect();
    ensure!(!counts.is_empty(), "the bench counted nothing:\n{text}");
    Ok(counts)
}

/// One line of the bench's output: a summary as JSON.
fn parse(line: &str) -> Option<(String, u64)> {
    let summary: Value = serde_json::from_str(line).ok()?;
    let name = format!("{} {}", summary["function_name"].as_str()?, summary["id"].as_str()?);
    Some((name, instructions(&summary)?))
}

/// The count of this run, wherever it is.
fn instructions(value: &Value) -> Option<u64> {
    match value {
        Value::Object(fields) => match fields.get("Ir") {
            Some(count) => count["values"]["new"].as_u64(),
            None => fields.values().find_map(instructions),
        },
        Value::Array(values) => values.iter().find_map(instructions),
        _ => None,
    }
}

fn file_of(counts: &Counts) -> String {
    let mut text = String::from(
        "# The instructions that a batch of 64 takes in each bench of crates/stack/benches/counts.rs.\n\
         # Written by `cargo xtask counts --write`; `cargo xtask counts` fails on a growth above 3 %.\n",
    );
    for (bench, count) in counts {
        let _ = writeln!(text, "{bench:?} = {count}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_this_run_is_read() {
        let line = r#"{"function_name":"ack_in","id":"each","profiles":[{"data":{"parts":[{"metrics":
            {"Dr":{"values":{"new":5}},"Ir":{"change":null,"values":{"new":1734,"old":9}}}}]}}]}"#;
        assert_eq!(parse(&line.replace('\n', "")), Some(("ack_in each".to_owned(), 1734)));
        assert_eq!(parse("a warning"), None);
    }

    #[test]
    fn a_growth_above_three_per_cent_and_a_forgotten_bench_are_wrong() {
        let counts = |pairs: &[(&str, u64)]| -> Counts {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let known = counts(&[("a", 1000), ("b", 1000), ("c", 1000), ("gone", 1)]);
        let wrong = compare(&known, &counts(&[("a", 1030), ("b", 1031), ("c", 1), ("new", 1)]));
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        let written: Counts = toml::from_str(&file_of(&known)).unwrap();
        assert_eq!(written, known);
    }
}
