//! What was measured as tables, and the page of the book that shows them.

use std::fmt::Write as _;
use std::fs;

use anyhow::Result;

use super::rows::{CALLS, ROWS};
use super::{Measured, Round};

/// The page around `tables`.
pub(super) fn page(tables: &str, rounds: usize) -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "<!-- Measured and written by `cargo xtask run-cost`. -->\n\
         {}\n\
         The machine had {cores} cores and Linux {}. Each number is the median of {rounds} runs, with the \
         least and the most of the ratios beside.\n\n\
         {tables}\n\
         {}",
        include_str!("preface.md"),
        kernel.trim(),
        include_str!("reasons.md"),
    ))
}

/// What was measured of programs, and of single calls.
pub(super) fn tables(measured: &Measured) -> Result<String> {
    let mut text = String::new();
    if !measured.rows.is_empty() {
        text += "| what | unit | kernel | `estab run` | ratio | least – most |\n";
        text += "|---|---|---:|---:|---:|---|\n";
        for row in ROWS {
            let Some(rounds) = measured.rows.get(row.name) else { continue };
            let [kernel, ours] = medians(rounds).map(short);
            let ratio = ratio(rounds);
            let (title, unit) = (row.title, row.unit);
            writeln!(text, "| {title} (`{}`) | {unit} | {kernel} | {ours} | {ratio} |", row.name)?;
        }
        text.push('\n');
    }
    if !measured.calls.is_empty() {
        text += "| calls | us, kernel | us, `estab run` | times | least – most | done by |\n";
        text += "|---|---:|---:|---:|---|---|\n";
        for call in CALLS {
            let Some(rounds) = measured.calls.get(call.name) else { continue };
            let [kernel, ours] = medians(rounds).map(|nanoseconds| nanoseconds / 1000.0);
            let ratio = ratio(rounds);
            let (title, by) = (call.title, call.by);
            writeln!(text, "| {title} | {kernel:.2} | {ours:.2} | {ratio} | {by} |")?;
        }
    }
    Ok(text)
}

fn medians(rounds: &[Round]) -> [f64; 2] {
    let of = |what: fn(&Round) -> f64| sorted(rounds.iter().map(what)).1;
    [of(|round| round.kernel), of(|round| round.ours)]
}

/// The median of the ratios of each round, and the two ends, as cells of a table.
fn ratio(rounds: &[Round]) -> String {
    let (least, median, most) = sorted(rounds.iter().map(|round| round.ours / round.kernel));
    format!("{median:.2} | {least:.2} – {most:.2}")
}

/// The least, the median and the most.
fn sorted(numbers: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let at = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
    let last = numbers.len().saturating_sub(1);
    (at(0), f64::midpoint(at(last / 2), at(last.div_ceil(2))), at(last))
}

fn short(rate: f64) -> String {
    if rate >= 10_000.0 { format!("{:.0} k", rate / 1000.0) } else { format!("{rate:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_the_same_round() {
        let round = |kernel, ours| Round { kernel, ours };
        let rounds = [round(10.0, 5.0), round(100.0, 90.0), round(1.0, 0.6)];
        assert_eq!(ratio(&rounds), "0.60 | 0.50 – 0.90");
        assert_eq!(medians(&rounds), [10.0, 5.0]);
        assert_eq!(ratio(&rounds[..2]), "0.70 | 0.50 – 0.90");
    }
}
