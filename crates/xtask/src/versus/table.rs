//! The figures: medians, how far runs are apart, and how estab compares with Linux.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::cell::{Cell, Pair};
use super::record::Record;

/// The middle of some runs, and their ends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Spread {
    /// `None` of no values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { least, median, most })
    }
}

/// What is compared of a pair in a cell.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Figures {
    /// In Mbit/s.
    goodput: Spread,
    /// Median counts of segments.
    sent: f64,
    retransmitted: f64,
    spurious: f64,
}

impl Figures {
    fn of(records: &[&Record]) -> Option<Self> {
        let median = |count: fn(&Record) -> u64| {
            Some(Spread::of(records.iter().map(|record| count(record) as f64))?.median)
        };
        Some(Self {
            goodput: Spread::of(records.iter().map(|record| record.goodput() / 1e6))?,
            sent: median(|record| record.outcome.segments.sent)?,
            retransmitted: median(|record| record.outcome.segments.retransmitted)?,
            spurious: median(|record| record.outcome.segments.spurious)?,
        })
    }
}

/// One line of the table: a pair against Linux with itself.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row {
    cell: String,
    pair: Pair,
    linux: Figures,
    ours: Figures,
    /// Of the goodputs of two runs with the same seed, which ran at the same time. Seeds differ more
    /// than pairs do, so the median of these says more than the ratio of two medians.
    pub(super) ratio: Spread,
}

impl Row {
    /// Which cell and pair it is about.
    pub(super) fn name(&self) -> String {
        format!("{}, {}", self.pair.name(), self.cell)
    }
}

/// The rows for which there are runs, in the order of the cells.
pub(super) fn rows(cells: &[Cell], pairs: &[Pair], records: &[Record]) -> Vec<Row> {
    let row = |cell: Cell, pair: Pair| {
        let cell = cell.name();
        let of = |pair| -> Vec<&Record> {
            records.iter().filter(|record| record.cell == cell && record.pair == pair).collect()
        };
        let (linux, ours) = (of(Pair::LinuxToLinux), of(pair));
        let ratios = ours.iter().filter_map(|record| {
            let same = linux.iter().find(|other| other.round == record.round)?;
            Some(record.goodput() / same.goodput())
        });
        let ratio = Spread::of(ratios)?;
        let (linux, ours) = (Figures::of(&linux)?, Figures::of(&ours)?);
        Some(Row { cell, pair, linux, ours, ratio })
    };
    let others = pairs.iter().filter(|pair| **pair != Pair::LinuxToLinux);
    let all = cells.iter().flat_map(|cell| others.clone().map(|pair| (*cell, *pair)));
    all.filter_map(|(cell, pair)| row(cell, pair)).collect()
}

/// The table in Markdown.
pub(super) fn markdown(rows: &[Row]) -> Result<String> {
    let mut text = String::from(
        "| cell | pair | Linux, Mbit/s | measured, Mbit/s | ratio | of runs | \
         retransmitted | spurious |\n|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let (linux, ours) = (row.linux, row.ours);
        writeln!(
            text,
            "| {} | {} | {} | {} | **{:.2}** | {:.2} – {:.2} | {} : {} | {} : {} |",
            row.cell,
            row.pair.name(),
            range(linux.goodput),
            range(ours.goodput),
            row.ratio.median,
            row.ratio.least,
            row.ratio.most,
            share(linux.retransmitted, linux.sent),
            share(ours.retransmitted, ours.sent),
            share(linux.spurious, linux.sent),
            share(ours.spurious, ours.sent),
        )?;
    }
    Ok(text)
}

/// What all rows come to: the mean of the ratios, the cells that fall short, the worst of them.
pub(super) fn verdict(rows: &[Row]) -> Result<String> {
    let worst =
        rows.iter().min_by(|a, b| a.ratio.median.total_cmp(&b.ratio.median)).context("no runs")?;
    let mean = rows.iter().map(|row| row.ratio.median.ln()).sum::<f64>() / rows.len() as f64;
    let short: Vec<String> =
        rows.iter().filter(|row| row.ratio.median < 0.95).map(Row::name).collect();
    let spurious = |figures: fn(&Row) -> Figures| {
        let rows = rows.iter().map(figures);
        rows.map(|figures| figures.spurious / figures.sent).sum::<f64>() * 1000.0
    };
    let count = rows.len() as f64;
    let (linux, ours) = (spurious(|row| row.linux) / count, spurious(|row| row.ours) / count);
    Ok(format!(
        "geometric mean of the ratios: {:.3}\n\
         spurious retransmissions, mean of a thousand segments: Linux {linux:.2}, here {ours:.2}\n\
         below 0.95: {} of {}{}{}\n\
         worst ratio: {:.2} ({})\n",
        mean.exp(),
        short.len(),
        rows.len(),
        if short.is_empty() { "" } else { ": " },
        short.join("; "),
        worst.ratio.median,
        worst.name(),
    ))
}

fn range(goodput: Spread) -> String {
    format!("{:.1} ({:.1} – {:.1})", goodput.median, goodput.least, goodput.most)
}

/// A count, and what it is of a thousand segments.
fn share(count: f64, sent: f64) -> String {
    format!("{count:.0} ({:.1}‰)", count / sent.max(1.0) * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::super::forwarder::Lateness;
    use super::super::program::Sender;
    use super::super::tally::Segments;
    use super::super::world::Outcome;
    use super::*;

    fn record(pair: Pair, round: u32, bytes: u64) -> Record {
        let segments = Segments { sent: 1000, retransmitted: 10, spurious: 1 };
        let outcome = Outcome {
            bytes,
            sender: Sender::default(),
            segments,
            lost: 0,
            overflowed: 0,
            refused: 0,
            lateness: Lateness::default(),
        };
        let cell = Cell::all()[0].name();
        Record { cell, pair, round, milliseconds: 1000, outcome, disturbed: false }
    }

    #[test]
    fn the_ratio_is_the_median_of_runs_with_the_same_seed() {
        let mut records = Vec::new();
        for (round, linux, ours) in [(0, 300, 270), (1, 200, 150), (2, 100, 200)] {
            records.push(record(Pair::LinuxToLinux, round, linux));
            records.push(record(Pair::EstabToLinux, round, ours));
        }
        let pairs = [Pair::LinuxToLinux, Pair::EstabToLinux, Pair::LinuxToEstab];
        let rows = rows(&Cell::all(), &pairs, &records);
        assert_eq!(rows.len(), 1, "nothing was measured of the others");
        assert_eq!(rows[0].ratio, Spread { least: 0.75, median: 0.9, most: 2.0 });
        let verdict = verdict(&rows).unwrap();
        assert!(verdict.ends_with("worst ratio: 0.90 (estab to Linux, no loss, 20 ms)\n"));
        assert!(markdown(&rows).unwrap().contains("| 10 (10.0‰) : 10 (10.0‰) |"));
    }

    #[test]
    fn a_median_of_two_is_between_them() {
        let spread = Spread::of([3.0, 1.0]).unwrap();
        assert_eq!(spread, Spread { least: 1.0, median: 2.0, most: 3.0 });
        assert_eq!(Spread::of([]), None);
    }
}
