//! Tables of what the controllers achieve, the same on every machine.

use std::fmt::Write;

use link::{Impairment, Loss};
use stack::tcp::congestion;
use wire::time::{Duration, Instant};

use super::{Sender, Study};
use crate::world::Violation;
use crate::world::scenario::LinePlan;

/// Bits per second of the bottleneck.
const RATE: u64 = 10_000_000;
const LOSSES: &[f64] = &[0.0, 0.001, 0.01, 0.03];
const DELAYS: &[u64] = &[10, 50];
/// How many flows share it.
const FLOWS: &[usize] = &[2, 4];

/// Throughput by loss, round-trip time and controller, and fairness by number of flows, as text for
/// the book.
///
/// # Errors
/// When a stack does what must not be.
pub fn book() -> Result<String, Violation> {
    let mut text = String::from(
        "## Throughput by loss, round-trip time and controller\n\n\
         One flow sends for 10 s through 10 Mbit/s with a queue of one bandwidth-delay product; \
         the share of the bottleneck that it used, in percent.\n\n| controller | RTT |",
    );
    for loss in LOSSES {
        // Writing to a string does not fail.
        let _ = write!(text, " {} % lost |", loss * 100.0);
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---:|".repeat(LOSSES.len()));
    for name in congestion::NAMES {
        for delay in DELAYS {
            let _ = write!(text, "\n| {name} | {} ms |", delay * 2);
            for loss in LOSSES {
                let used = study(name, 1, *delay, *loss, 10).run(&mut |_| ())?.goodput();
                let _ = write!(text, " {:.1} |", used * 100.0 / RATE as f64);
            }
        }
    }
    text.push_str(
        "\n\n## Fairness\n\nFlows of one controller start half a second apart and share the same \
         bottleneck for 20 s, with a round trip of 20 ms. Jain's index is 1 when all get the same, \
         and one n-th when one of n gets everything.\n\n\
         | controller | flows | Jain's index | together, % of the bottleneck |\n|---|---:|---:|---:|\n",
    );
    for name in congestion::NAMES {
        for flows in FLOWS {
            let measured = study(name, *flows, 10, 0.0, 20).run(&mut |_| ())?;
            let used = measured.goodput() * 100.0 / RATE as f64;
            let fairness = measured.fairness();
            let _ = writeln!(text, "| {name} | {flows} | {fairness:.3} | {used:.1} |");
        }
    }
    Ok(text)
}

fn study(controller: &str, flows: usize, delay: u64, loss: f64, seconds: u64) -> Study {
    let round_trip = Duration::from_millis(delay * 2);
    let product = RATE as f64 * round_trip.as_secs_f64() / 8.0;
    let impairment = Impairment {
        rate: std::num::NonZeroU64::new(RATE),
        delay: Duration::from_millis(delay),
        queue_bytes: Some(product as usize),
        ..Impairment::default()
    };
    let lossy =
        Impairment { loss: if loss > 0.0 { Loss::Random(loss) } else { Loss::None }, ..impairment };
    let line = |impairment| LinePlan { impairment, changes: Vec::new(), narrow: Vec::new() };
    let sender = |number: usize| Sender {
        name: format!("{controller} {number}"),
        controller: congestion::by_name(controller).unwrap_or(congestion::Cubic::boxed),
        start: Instant::from_millis(number as u64 * 500),
        bytes: None,
        delay: Duration::ZERO,
        pacing: false,
    };
    Study {
        title: String::new(),
        seed: 1,
        duration: Duration::from_secs(seconds),
        mtu: 1500,
        ecn: false,
        bottleneck: [line(lossy), line(impairment)],
        flows: (0..flows).map(sender).collect(),
    }
}
