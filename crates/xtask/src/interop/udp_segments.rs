//! Several datagrams in one: the kernel's `UDP_SEGMENT` and `UDP_GRO` on one side, the example `udp_echo` on
//! the other.

use anyhow::{Context, Result};

use super::Case;
use super::bench::{Bench, Outcome};

const CLIENT: &str = include_str!("udp_segments.py");

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::over_every("udp-segments", 15, |bench| {
            let outcome = echo(bench, &[])?;
            // What a device of an older kernel does not cut comes one by one.
            if linux()? >= (6, 2) { outcome.prints(&["one of 20"]) } else { Ok(()) }
        }),
        Case::over_every("udp-segments-no-offload", 15, |bench| {
            echo(bench, &["--no-offload"]).map(drop)
        }),
    ]
}

fn echo(bench: &Bench, options: &[&str]) -> Result<Outcome> {
    bench.write("client.py", CLIENT)?;
    let mut example = bench.command(&bench.udp_echo);
    if bench.way.is_tap() {
        example.arg("--tap");
    }
    let (_, stack) = bench.way.addresses();
    example.args(options).args(["python3", "client.py", stack, "20", "1200"]);
    bench.finish(example)?.success()
}

/// The first two numbers of the kernel's version.
fn linux() -> Result<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map(str::parse);
    let version = numbers.next().zip(numbers.next()).context("no version of the kernel")?;
    Ok((version.0?, version.1?))
}
