//! A VLAN of a link: a station of it is answered, and others are not.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

const VLAN: &str = include_str!("vlan.py");

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new("vlan", 30, vlan)]
}

/// Over TAP and over a packet socket, from which the kernel takes the tags and puts them back.
fn vlan(bench: &Bench) -> Result<()> {
    bench.write("vlan.py", VLAN)?;
    for device in ["--tap", "--packet"] {
        let outcome = bench.lab(&[device, "--vlan", "7"], "python3 vlan.py")?;
        outcome.prints(&["answered in its VLAN, and nowhere else"])?;
    }
    Ok(())
}
