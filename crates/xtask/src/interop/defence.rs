//! An address that another station claims.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

const CLAIM: &str = include_str!("claim.py");

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("address-defence", 30, defence)]
}

/// The stack says that it is its own, and the kernel, which believed the other, finds back to it.
fn defence(bench: &Bench) -> Result<()> {
    bench.write("claim.py", CLAIM)?;
    let script = "
        ping -c 1 -W 5 10.77.0.2 > before
        python3 claim.py
        ping -c 1 -W 5 10.77.0.2 > after";
    let outcome = bench.lab(&["--tap"], script)?;
    outcome.prints(&["defended once"])
}
