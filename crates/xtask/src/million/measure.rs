//! Memory, and how much of the processor's time the same work takes in two settings.

use std::fs;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// How often two settings are compared. They take turns, so that what else the machine does meets
/// both alike; the median counts.
const ROUNDS: usize = 41;

/// Bytes of this process that are in memory (`RSS`).
pub(super) fn resident() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 =
        text.split_whitespace().nth(1).context("statm has no second field")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// What `count` things take each of `bytes`.
pub(super) fn each(bytes: u64, count: usize) -> f64 {
    bytes as f64 / count as f64
}

/// Nanoseconds that the processor has worked for this process, all of its threads together. What
/// else the machine does is not in it.
pub(super) fn worked() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// What one piece of work takes in nanoseconds, the median: among few, and among many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    pub(super) few: f64,
    pub(super) many: f64,
}

impl Comparison {
    /// How many times longer it takes among many.
    pub(super) fn ratio(&self) -> f64 {
        self.many / self.few
    }

    pub(super) fn print(&self, what: &str, few: usize, many: usize) {
        let Self { few: short, many: long } = self;
        let ratio = self.ratio();
        println!("  {what:<44} {short:>8.0} ns of {few}, {long:>8.0} ns of {many}: {ratio:.2}");
    }
}

/// Does `count` pieces of work in one setting and the other by turns.
pub(super) fn compare(
    count: usize,
    mut few: impl FnMut(usize) -> Result<()>,
    mut many: impl FnMut(usize) -> Result<()>,
) -> Result<Comparison> {
    let time = |work: &mut dyn FnMut(usize) -> Result<()>| -> Result<f64> {
        let begin = worked();
        work(count)?;
        Ok((worked() - begin) / count as f64)
    };
    let (mut times_few, mut times_many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        times_few.push(time(&mut few)?);
        times_many.push(time(&mut many)?);
    }
    Ok(Comparison { few: median(times_few), many: median(times_many) })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
