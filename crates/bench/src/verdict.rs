//! What is claimed of estab, and whether a measurement bears it out.

use std::fmt::Write;

use anyhow::Result;

use crate::row::Measure::{self, Median, Rate, Tail};
use crate::summary::{Line, find, ratio};
use crate::variant::Variant;

use Variant::{
    Inline, InlineSpin, Kernel, KernelThreads, Null, NullCopy, NullSpin, Smoltcp, Sockets,
    SocketsPoll, SocketsSpin, Tasks,
};

/// One claim: the ratio of two variants in some rows, at least for rates and at most for times.
struct Claim {
    variant: Variant,
    to: Variant,
    bound: f64,
    rows: &'static [&'static str],
    measures: &'static [Measure],
}

const BULK: &[&str] = &["in", "out"];
const REQUESTS: &[&str] = &["http", "connect", "ping-32"];
const PING: &[&str] = &["ping"];
const ONE_CORE: &[&str] = &["ping-core"];
const TIMES: &[Measure] = &[Median, Tail];

const CLAIMS: [Claim; 20] = [
    rate(Sockets, NullCopy, 0.85, BULK),
    rate(Inline, Null, 0.7, BULK),
    rate(Inline, Kernel, 1.0, BULK),
    rate(Inline, Kernel, 1.2, REQUESTS),
    rate(Inline, Kernel, 1.4, &["connect"]),
    rate(Inline, Smoltcp, 0.95, REQUESTS),
    rate(Inline, Null, 0.9, REQUESTS),
    rate(Sockets, KernelThreads, 1.0, REQUESTS),
    rate(SocketsPoll, Kernel, 1.0, REQUESTS),
    rate(Tasks, KernelThreads, 1.0, REQUESTS),
    rate(Tasks, Kernel, 1.0, REQUESTS),
    rate(Sockets, Kernel, 1.0, REQUESTS),
    time(Sockets, Null, 1.1),
    time(Inline, Null, 1.1),
    Claim { rows: ONE_CORE, ..time(Sockets, Null, 1.1) },
    Claim { rows: ONE_CORE, ..time(Inline, Null, 1.1) },
    time(SocketsSpin, NullSpin, 1.5),
    time(InlineSpin, NullSpin, 1.5),
    time(SocketsSpin, Kernel, 1.0),
    time(InlineSpin, Kernel, 1.0),
];

const fn rate(variant: Variant, to: Variant, bound: f64, rows: &'static [&'static str]) -> Claim {
    Claim { variant, to, bound, rows, measures: &[Rate] }
}

const fn time(variant: Variant, to: Variant, bound: f64) -> Claim {
    Claim { variant, to, bound, rows: PING, measures: TIMES }
}

/// A line for each claim that something was measured of.
pub(crate) fn verdict(lines: &[Line]) -> Result<String> {
    let mut text = String::new();
    for claim in &CLAIMS {
        let keys = claim.rows.iter().flat_map(|row| claim.measures.iter().map(move |m| (row, m)));
        for (row, measure) in keys {
            let Some(line) = find(lines, row, *measure, claim.variant) else { continue };
            let Some(ratio) = ratio(lines, line, claim.to) else { continue };
            let (word, holds) = if measure.is_rate() {
                ("at least", ratio >= claim.bound)
            } else {
                ("at most", ratio <= claim.bound)
            };
            let unit = line.row.unit(*measure);
            writeln!(
                text,
                "{:<6} {row} ({unit}): {} : {} = {ratio:.2}, {word} {:.2}",
                if holds { "yes" } else { "NOT" },
                claim.variant.name(),
                claim.to.name(),
                claim.bound,
            )?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;
    use crate::summary::lines;
    use crate::summary::tests::{plan, record};

    #[test]
    fn claims_are_about_what_is_measured() {
        for claim in &CLAIMS {
            for row in claim.rows.iter().map(|name| Row::named(name).unwrap()) {
                assert!(claim.variant.serves(row) && claim.to.serves(row), "{}", row.name);
                assert!(claim.measures.iter().all(|measure| row.measures().contains(measure)));
            }
        }
    }

    #[test]
    fn a_rate_is_to_be_high_and_a_time_low() {
        let mut records = vec![
            record("http", "kernel", 0, 100),
            record("http", "sockets", 0, 99),
            record("ping", "null", 0, 1),
            record("ping", "sockets", 0, 1),
        ];
        records[3].outcome.tail_us = Some(10.0);
        let expected = "\
NOT    http (per s): sockets : kernel = 0.99, at least 1.00
yes    ping (us, p50): sockets : null = 1.00, at most 1.10
NOT    ping (us, p99): sockets : null = 1.11, at most 1.10
";
        assert_eq!(verdict(&lines(&plan(), &records)).unwrap(), expected);
    }
}
