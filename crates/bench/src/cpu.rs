//! Which core runs whom, and what it costs.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The cores that this process may use, at most two: the client's and the server's. On a machine
/// with one core both are the same.
pub(crate) fn cores() -> Result<[usize; 2]> {
    let allowed = sched_getaffinity(None).context("which cores are ours?")?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let first = cores.next().context("no core is ours")?;
    Ok([first, cores.next().unwrap_or(first)])
}

/// Keeps this thread, and those that it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("cannot stay on core {core}"))
}

/// What this process has used.
pub(crate) fn used_here() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// What the living threads of another process have used.
pub(crate) fn used_by(process: u32) -> Result<Duration> {
    let tasks = format!("/proc/{process}/task");
    let mut total = Duration::ZERO;
    for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
        // A thread may have ended meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        total += on_core(&text).with_context(|| format!("schedstat says: {text}"))?;
    }
    Ok(total)
}

/// The first number of schedstat: nanoseconds on a core.
fn on_core(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_begins_with_the_time_on_a_core() {
        assert_eq!(on_core("1500 7 3\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(on_core(""), None);
        assert_eq!(on_core("x"), None);
    }

    #[test]
    fn work_costs_the_same_from_inside_and_outside() {
        let (here, there) = (used_here(), used_by(std::process::id()).unwrap());
        while used_here() < here + Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        // The scheduler counts a running thread at its ticks.
        assert!(used_by(std::process::id()).unwrap() > there);
    }
}
