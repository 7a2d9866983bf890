//! The tables of the book.

use std::fmt::Write;

use anyhow::Result;

use crate::summary::{Line, find, ratio};
use crate::variant::{VARIANTS, Variant};

/// What the details compare everybody with.
const MEASURED_BY: [Variant; 3] = [Variant::Kernel, Variant::Null, Variant::Smoltcp];

/// Medians only: a line for each row, a column for each variant.
pub(crate) fn overview(lines: &[Line]) -> Result<String> {
    let present = |variant: &Variant| lines.iter().any(|line| line.variant == *variant);
    let variants: Vec<Variant> = VARIANTS.into_iter().filter(present).collect();
    let mut text = String::from("| row | unit |");
    for variant in &variants {
        write!(text, " {} |", variant.name())?;
    }
    text += "\n|---|---|";
    text += &"---:|".repeat(variants.len());
    text.push('\n');
    let mut keys: Vec<_> = lines.iter().map(|line| (line.row, line.measure)).collect();
    keys.dedup();
    for (row, measure) in keys {
        write!(text, "| {} (`{}`) | {} |", row.title, row.name, row.unit(measure))?;
        for variant in &variants {
            let line = find(lines, row.name, measure, *variant);
            let median = line.map(|line| number(line.value.median)).unwrap_or_default();
            let mark = if line.is_some() && variant.is_ours() { "**" } else { "" };
            write!(text, " {mark}{median}{mark} |")?;
        }
        text.push('\n');
    }
    Ok(text)
}

/// Everything: spreads, ratios, costs.
pub(crate) fn details(lines: &[Line]) -> Result<String> {
    let mut text = String::from("| row | unit | variant | median | least – most |");
    for other in MEASURED_BY {
        write!(text, " : {} |", other.name())?;
    }
    text += " client CPU | server CPU |\n|---|---|---|---:|---|";
    text += &"---:|".repeat(MEASURED_BY.len() + 2);
    text.push('\n');
    for line in lines {
        let Line { row, measure, variant, value, cost, .. } = line;
        write!(
            text,
            "| `{}` | {} | {} | {} | {} – {} |",
            row.name,
            row.unit(*measure),
            variant.name(),
            number(value.median),
            number(value.least),
            number(value.most),
        )?;
        for other in MEASURED_BY {
            let ratio = ratio(lines, line, other).map(|ratio| format!("{ratio:.2}"));
            write!(text, " {} |", ratio.unwrap_or_default())?;
        }
        let unit = if row.is_bulk() { "s/GB" } else { "us" };
        writeln!(text, " {:.2} {unit} | {:.2} {unit} |", cost[0], cost[1])?;
    }
    Ok(text)
}

/// A number with as many digits as are worth reading.
pub(crate) fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0} k", value / 1000.0)
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::lines;
    use crate::summary::tests::{plan, record};

    #[test]
    fn numbers_are_as_exact_as_they_are_worth() {
        let shown = [3.26, 84.36, 214.0, 301_499.0].map(number);
        assert_eq!(shown, ["3.3", "84.4", "214", "301 k"]);
    }

    #[test]
    fn the_overview_has_a_line_for_each_measure() {
        let records = [
            record("in", "kernel", 0, 8_000_000_000),
            record("in", "sockets", 0, 4_000_000_000),
            record("ping", "kernel", 0, 100),
        ];
        let text = overview(&lines(&plan(), &records)).unwrap();
        let expected = "\
| row | unit | kernel | sockets |
|---|---|---:|---:|
| bulk to us, 1 stream (`in`) | Gbit/s | 64.0 | **32.0** |
| 1-byte ping-pong, 1 connection (`ping`) | us, p50 | 5.0 |  |
| 1-byte ping-pong, 1 connection (`ping`) | us, p99 | 9.0 |  |
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_details_have_ratios_where_there_is_something_to_compare_with() {
        let records = [record("http", "kernel", 0, 100_000), record("http", "sockets", 0, 150_000)];
        let text = details(&lines(&plan(), &records)).unwrap();
        let last = text.lines().last().unwrap();
        let expected = "| `http` | per s | sockets | 150 k | 150 k – 150 k | 1.50 |  |  | \
                        3.33 us | 6.67 us |";
        assert_eq!(last, expected);
    }
}
