//! Packets larger than the link, cut by either side; and fragments as only bad hosts make them.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

const FRAGMENTS: &str = include_str!("fragments.py");

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::over_every("ping-60000", 20, ping),
        Case::over_every("fragments", 40, |bench| {
            bench.write("fragments.py", FRAGMENTS)?;
            bench.lab(&[], "python3 fragments.py $kernel $stack")?;
            Ok(())
        }),
    ]
}

/// The kernel asks us and we ask the kernel, with more bytes than forty frames hold.
fn ping(bench: &Bench) -> Result<()> {
    let script = "
        ping -$v -c 3 -i 0.2 -W 2 -s 60000 $stack
        estab ping -c 3 -i 200ms -s 60000 $kernel";
    let outcome = bench.lab(&[], script)?;
    outcome.prints(&["3 received, 0% packet loss", "3 requests, 3 answers"])
}
