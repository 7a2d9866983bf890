//! The simulator as a smoke test.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs as many worlds as the first argument says.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let seeds: u32 = match arguments {
        [] => 200,
        [seeds] => seeds.parse().with_context(|| format!("`{seeds}` is not a number of seeds"))?,
        _ => anyhow::bail!("`sim` takes one number, of seeds"),
    };
    let status = Command::new(env!("CARGO"))
        .args(["test", "--release", "--package", "estab-sim", "--test", "seeds"])
        .args(["--", "--nocapture"])
        .env("SIM_SEEDS", seeds.to_string())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "a world went wrong; its seed is above");
    Ok(())
}
