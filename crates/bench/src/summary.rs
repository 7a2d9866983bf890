//! The medians of a measurement, and how they compare.

use serde::Serialize;

use crate::outcome::Record;
use crate::plan::Plan;
use crate::row::{Measure, Row};
use crate::statistics::Spread;
use crate::variant::Variant;

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) row: &'static Row,
    pub(crate) measure: Measure,
    pub(crate) variant: Variant,
    pub(crate) value: Spread,
    /// The value of each round.
    rounds: Vec<(u32, f64)>,
    /// Medians of what a unit costs: the client, the server.
    pub(crate) cost: [f64; 2],
}

/// The same for machines.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Entry {
    row: &'static str,
    variant: &'static str,
    unit: &'static str,
    median: f64,
    least: f64,
    most: f64,
    runs: usize,
    /// CPU seconds per GB, or CPU microseconds per request.
    client_cost: f64,
    server_cost: f64,
}

/// The lines of everything in `plan` that was measured, in its order.
pub(crate) fn lines(plan: &Plan, records: &[Record]) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in &plan.rows {
        for measure in row.measures() {
            let serving = plan.variants.iter().filter(|variant| variant.serves(row));
            lines.extend(serving.filter_map(|variant| line(row, *measure, *variant, records)));
        }
    }
    lines
}

fn line(row: &'static Row, measure: Measure, variant: Variant, records: &[Record]) -> Option<Line> {
    let of_cell = |record: &&Record| record.row == row.name && record.variant == variant.name();
    let records: Vec<&Record> = records.iter().filter(of_cell).collect();
    let value_of = |record: &&Record| Some((record.round, record.outcome.value(row, measure)?));
    let rounds: Vec<(u32, f64)> = records.iter().filter_map(value_of).collect();
    let value = Spread::of(rounds.iter().map(|(_, value)| *value))?;
    let cost = [0, 1].map(|side| {
        let costs = records.iter().map(|record| record.outcome.cost(row)[side]);
        Spread::of(costs).map_or(0.0, |spread| spread.median)
    });
    Some(Line { row, measure, variant, value, rounds, cost })
}

/// The line of a variant in a row.
pub(crate) fn find<'a>(
    lines: &'a [Line],
    row: &str,
    measure: Measure,
    variant: Variant,
) -> Option<&'a Line> {
    lines
        .iter()
        .find(|line| line.row.name == row && line.measure == measure && line.variant == variant)
}

/// One variant by another in the same row: the median of the ratios of each round, so that a
/// machine that is slow for some rounds counts for both.
pub(crate) fn ratio(lines: &[Line], of: &Line, to: Variant) -> Option<f64> {
    let other = find(lines, of.row.name, of.measure, to)?;
    let ratios = of.rounds.iter().filter_map(|(round, value)| {
        let (_, by) = other.rounds.iter().find(|(other, _)| other == round)?;
        (*by > 0.0).then(|| value / by)
    });
    Spread::of(ratios).map(|spread| spread.median)
}

impl Line {
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            row: self.row.name,
            variant: self.variant.name(),
            unit: self.row.unit(self.measure),
            median: self.value.median,
            least: self.value.least,
            most: self.value.most,
            runs: self.rounds.len(),
            client_cost: self.cost[0],
            server_cost: self.cost[1],
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::plan::Request;

    pub(crate) fn record(row: &str, variant: &str, round: u32, units: u64) -> Record {
        let outcome = Outcome {
            units,
            seconds: 1.0,
            median_us: Some(5.0),
            tail_us: Some(9.0),
            client_cpu: 0.5,
            server_cpu: 1.0,
        };
        Record { row: row.to_owned(), variant: variant.to_owned(), round, outcome }
    }

    pub(crate) fn plan() -> Plan {
        let Ok(Request::Measure(plan)) = Request::of(&[]) else { panic!("no plan") };
        *plan
    }

    #[test]
    fn a_line_is_the_median_of_its_runs() {
        let mut records: Vec<Record> = [1, 3, 2]
            .map(|units| record("in", "sockets", units as u32, units * 1_000_000_000))
            .to_vec();
        records.push(record("in", "kernel", 1, 500_000_000));
        records.push(record("in", "kernel", 7, 4_000_000_000));
        records.push(record("ping", "null", 0, 10));
        let lines = lines(&plan(), &records);
        assert_eq!(lines.len(), 4, "the ping has two measures");
        let ours = find(&lines, "in", Measure::Rate, Variant::Sockets).unwrap();
        assert_eq!(ours.value, Spread { median: 16.0, least: 8.0, most: 24.0 });
        assert_eq!(ours.cost, [0.25, 0.5]);
        assert_eq!(ratio(&lines, ours, Variant::Kernel), Some(2.0), "of rounds that both have");
        assert_eq!(ratio(&lines, ours, Variant::Null), None);
        let json = serde_json::to_value(ours.entry()).unwrap();
        assert_eq!((&json["median"], &json["runs"]), (&16.0.into(), &3.into()));
    }
}
