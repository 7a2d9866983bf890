//! What is to be measured: the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::row::{QUICK, ROWS, Row};
use crate::variant::{VARIANTS, Variant};

pub(crate) const USAGE: &str = "\
cargo xtask bench [OPTION...]

  --quick          few rows and variants in short rounds: less than two minutes
  --row NAME       only this row; may be given again
  --variant NAME   only this variant; may be given again
  --rounds N       so many runs of each, 7 unless told otherwise (3 with --quick)
  --seconds N      so long a run, 1.5 unless told otherwise (0.45 with --quick)
  --json FILE      writes every run and its numbers there, too
  --resume         continues the measurement that was interrupted
  --table          measures nothing: the table of the runs so far
  --list           the names of rows and variants

A measurement of all rows and variants in at least 4 rounds of 1 s takes a quarter to half an hour,
and writes docs/src/bench.md and docs/src/figures/bench.svg.
";

/// Fewer rounds, or shorter ones, are not for the book.
const LEAST_ROUNDS: u32 = 4;
const LEAST_SECONDS: f64 = 1.0;
/// The most that may be asked for, so that nothing runs for ever.
const MOST_ROUNDS: u32 = 100;
const MOST_SECONDS: f64 = 60.0;

/// What is to be measured.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Plan {
    /// What the file of the runs is called.
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) rounds: u32,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    pub(crate) json: Option<PathBuf>,
    pub(crate) resume: bool,
    pub(crate) only_table: bool,
    /// Every row as it should be: the table is for the book.
    pub(crate) whole: bool,
}

/// What the command line asks for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Request {
    Measure(Box<Plan>),
    Help,
    List,
}

impl Request {
    /// Reads the command line.
    pub(crate) fn of(arguments: &[String]) -> Result<Self> {
        let (mut rows, mut variants) = (Vec::new(), Vec::new());
        let (mut rounds, mut seconds, mut quick) = (None, None, false);
        let mut plan = Plan::whole();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} what?"));
            plan.whole &= matches!(
                argument.as_str(),
                "--json" | "--resume" | "--table" | "--rounds" | "--seconds"
            );
            match argument.as_str() {
                "--quick" => quick = true,
                "--row" => {
                    let name = value()?;
                    rows.push(Row::named(name).with_context(|| format!("no row '{name}'"))?);
                }
                "--variant" => {
                    let name = value()?;
                    let found = Variant::named(name);
                    variants.push(found.with_context(|| format!("no variant '{name}'"))?);
                }
                "--rounds" => rounds = Some(value()?.parse::<u32>()?),
                "--seconds" => seconds = Some(value()?.parse::<f64>()?),
                "--json" => plan.json = Some(value()?.into()),
                "--resume" => plan.resume = true,
                "--table" => (plan.resume, plan.only_table) = (true, true),
                "--list" => return Ok(Self::List),
                "--help" | "-h" => return Ok(Self::Help),
                other => bail!("{other}: no such option\n{USAGE}"),
            }
        }
        if quick {
            plan.shorten();
        }
        plan.rounds = rounds.unwrap_or(plan.rounds);
        let seconds = seconds.unwrap_or(plan.window.as_secs_f64());
        plan.whole &= plan.rounds >= LEAST_ROUNDS && seconds >= LEAST_SECONDS;
        if !quick && !plan.whole {
            // What was measured for the book is kept.
            plan.name = "part";
        }
        ensure!((1..=MOST_ROUNDS).contains(&plan.rounds), "1 to {MOST_ROUNDS} rounds");
        ensure!((0.01..=MOST_SECONDS).contains(&seconds), "0.01 to {MOST_SECONDS} seconds");
        plan.window = Duration::from_secs_f64(seconds);
        if !rows.is_empty() {
            plan.rows = rows;
        }
        if !variants.is_empty() {
            plan.variants = variants;
        }
        Ok(Self::Measure(Box::new(plan)))
    }
}

impl Plan {
    fn whole() -> Self {
        Self {
            name: "whole",
            rows: ROWS.iter().collect(),
            variants: VARIANTS.to_vec(),
            rounds: 7,
            warm_up: Duration::from_millis(300),
            window: Duration::from_millis(1500),
            json: None,
            resume: false,
            only_table: false,
            whole: true,
        }
    }

    fn shorten(&mut self) {
        self.name = "quick";
        self.rows = QUICK.iter().filter_map(|name| Row::named(name)).collect();
        self.variants.retain(|variant| variant.is_quick());
        self.rounds = 3;
        self.warm_up = Duration::from_millis(100);
        self.window = Duration::from_millis(450);
    }

    /// Every pair of row and variant, in the order of a round: whoever is compared runs in turn.
    pub(crate) fn cells(&self) -> Vec<(&'static Row, Variant)> {
        let of = |row: &&'static Row| {
            let row = *row;
            let serving = self.variants.iter().filter(move |variant| variant.serves(row));
            serving.map(move |variant| (row, *variant))
        };
        self.rows.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Result<Plan> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match Request::of(&words)? {
            Request::Measure(plan) => Ok(*plan),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn only_a_whole_measurement_is_for_the_book() {
        assert!(plan("").unwrap().whole);
        assert!(plan("--json x --resume").unwrap().whole);
        assert!(plan("--rounds 4 --seconds 1").unwrap().whole);
        for part in ["--quick", "--row in", "--variant null", "--rounds 3", "--seconds 0.9"] {
            let part = plan(part).unwrap();
            assert!(!part.whole && part.name != "whole", "{}", part.name);
        }
        let table = plan("--table").unwrap();
        assert!(table.whole && table.only_table && table.resume);
    }

    #[test]
    fn rows_and_variants_are_chosen_by_name() {
        let plan = plan("--row in --row http --variant null --variant kernel-threads").unwrap();
        let cells: Vec<_> = plan.cells().iter().map(|(row, v)| (row.name, v.name())).collect();
        assert_eq!(cells, [("in", "null"), ("http", "null"), ("http", "kernel-threads")]);
    }

    #[test]
    fn what_is_asked_for_goes_before_what_quick_means() {
        let plan = plan("--rounds 9 --quick --seconds 0.25").unwrap();
        assert_eq!((plan.rounds, plan.window), (9, Duration::from_millis(250)));
        assert_eq!(plan.rows.len(), QUICK.len());
    }

    #[test]
    fn a_quick_run_ends_within_two_minutes() {
        let plan = plan("--quick").unwrap();
        let run = plan.warm_up + plan.window + Duration::from_millis(200);
        let runs = plan.cells().len() as u32 * plan.rounds;
        assert!(run * runs < Duration::from_secs(110), "{runs} runs of {run:?}");
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--row",
            "--row nowhere",
            "--variant x",
            "--rounds 0",
            "--rounds 1000",
            "--seconds 0",
            "--seconds x",
            "--fast",
        ] {
            assert!(plan(line).is_err(), "{line}");
        }
        let help = |line: &str| Request::of(&[line.to_owned()]).unwrap();
        assert_eq!((help("--help"), help("--list")), (Request::Help, Request::List));
    }
}
