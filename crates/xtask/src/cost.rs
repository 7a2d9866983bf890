//! What it costs to run a program on our stack: `cargo xtask run-cost`.
//!
//! The same two programs speak over a veth pair with the kernel's TCP on both sides, and over a TUN
//! device with one of them under `estab run`. The two take turns, and a ratio is the median of the ratios
//! of each round. So do the two runs of a program that measures single calls.

mod page;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::interop::bench::{Bench, Programs};
use crate::interop::needs::{self, Need};
use crate::interop::way::V4_TUN;
use crate::programs::{PRELUDE, Stage};
use crate::source;
use rows::{CALLS, NATIVELY, ROWS, Row};

const USAGE: &str = "\
cargo xtask run-cost [--rounds N] [--json FILE] [NAME...]

  --rounds N   so many runs of each, 5 unless told otherwise
  --json FILE  writes every number there, too
  NAME         only these rows; `calls` is one of them

All rows in at least 5 rounds write docs/src/run-cost.md.
";

const PAGE: &str = "docs/src/run-cost.md";
const LEAST_ROUNDS: usize = 5;

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The row of single calls.
const CALLS_ROW: &str = "calls";

const NEEDS: &[Need] = &[
    ("bash", "bash"),
    ("cc", "gcc"),
    ("iperf3", "iperf3"),
    ("ip", "iproute2"),
    ("nginx", "nginx"),
    ("prlimit", "util-linux"),
    ("redis-benchmark", "redis-tools"),
    ("redis-server", "redis-server"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("wrk", "wrk"),
];

/// What one round brought.
#[derive(Clone, Copy, serde::Serialize)]
struct Round {
    kernel: f64,
    ours: f64,
}

/// Rounds by row or call, in their order.
type Rounds = BTreeMap<&'static str, Vec<Round>>;

/// All that was measured.
#[derive(Default, serde::Serialize)]
struct Measured {
    /// As the row's unit says.
    rows: Rounds,
    /// In nanoseconds.
    calls: Rounds,
}

/// What is asked for.
struct Plan {
    rounds: usize,
    json: Option<PathBuf>,
    names: Vec<String>,
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}");
        return Ok(());
    }
    let plan = Plan::of(arguments)?;
    needs::install(NEEDS)?;
    Stage::prepare_to_measure()?;
    let measured = measure_all(&plan);
    Stage::remove();
    let measured = measured?;
    let tables = page::tables(&measured)?;
    print!("{tables}");
    if let Some(path) = &plan.json {
        fs::write(path, serde_json::to_string_pretty(&measured)?)
            .with_context(|| path.display().to_string())?;
    }
    if plan.names.is_empty() && plan.rounds >= LEAST_ROUNDS {
        fs::write(source::root().join(PAGE), page::page(&tables, plan.rounds)?)?;
        println!("wrote {PAGE}");
    }
    Ok(())
}

impl Plan {
    fn of(arguments: &[String]) -> Result<Self> {
        let mut plan = Self { rounds: LEAST_ROUNDS, json: None, names: Vec::new() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--rounds" => plan.rounds = value()?.parse()?,
                "--json" => plan.json = Some(value()?.into()),
                name if name == CALLS_ROW || ROWS.iter().any(|row| row.name == name) => {
                    plan.names.push(name.to_owned());
                }
                other => bail!("{other}: no such row or option\n{USAGE}"),
            }
        }
        Ok(plan)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

fn measure_all(plan: &Plan) -> Result<Measured> {
    let programs = Programs::build_estab()?;
    let mut measured = Measured::default();
    for round in 0..plan.rounds {
        for row in ROWS.iter().filter(|row| plan.wants(row.name)) {
            let place =
                |how: &str| programs.bench(&format!("{}-{how}-{round}", row.name), V4_TUN, LIMIT);
            let kernel = measure(&place("kernel")?, row, false)?;
            let ours = measure(&place("ours")?, row, true)?;
            println!("{} {kernel:.1} {ours:.1}", row.name);
            measured.rows.entry(row.name).or_default().push(Round { kernel, ours });
        }
        if plan.wants(CALLS_ROW) {
            let place = |how: &str| programs.bench(&format!("calls-{how}-{round}"), V4_TUN, LIMIT);
            let kernel = measure_calls(&place("kernel")?, false)?;
            let ours = measure_calls(&place("ours")?, true)?;
            for (call, (kernel, ours)) in CALLS.iter().zip(kernel.into_iter().zip(ours)) {
                measured.calls.entry(call.name).or_default().push(Round { kernel, ours });
            }
        }
    }
    Ok(measured)
}

/// The client's number.
fn measure(bench: &Bench, row: &Row, ours: bool) -> Result<f64> {
    let at = if ours && row.client_is_ours { "10.77.0.1" } else { "10.77.0.2" };
    let script = |text: &str| format!("at={at}\n{PRELUDE}\n{text}\n");
    bench.write("server.sh", script(row.server))?;
    bench.write("client.sh", script(&format!("ready 7000\n{}", row.client)))?;
    let words: &[&str] = match (ours, row.client_is_ours) {
        (false, _) => &["unshare", "-Unc", "--keep-caps", "bash", "-c", NATIVELY],
        (true, false) => {
            &["estab", "run", "--peer", "exec bash client.sh", "--", "bash", "server.sh"]
        }
        (true, true) => {
            &["estab", "run", "--peer", "exec bash server.sh", "--", "bash", "client.sh"]
        }
    };
    let outcome = bench.finish(Stage::get()?.as_user(bench, words)?)?.success()?;
    let number = outcome.out.trim();
    number.parse().with_context(|| format!("{}: no number: {number:?}", row.name))
}

/// What each of [`CALLS`] takes, in nanoseconds.
fn measure_calls(bench: &Bench, ours: bool) -> Result<Vec<f64>> {
    let natively = "ip link set lo up && exec calls";
    let words: &[&str] = if ours {
        &["estab", "run", "--", "calls"]
    } else {
        &["unshare", "-Unc", "--keep-caps", "sh", "-c", natively]
    };
    let outcome = bench.finish(Stage::get()?.as_user(bench, words)?)?.success()?;
    let lines: BTreeMap<&str, &str> =
        outcome.out.lines().filter_map(|line| line.split_once(' ')).collect();
    let number = |name| lines.get(name).with_context(|| format!("{name} was not measured"));
    CALLS.iter().map(|call| Ok(number(call.name)?.parse()?)).collect()
}
