//! The simulator as a smoke test, and as a fleet that hunts for as long as it is told.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// `sim [SEEDS]`: as many worlds as the first argument says.
pub(crate) fn smoke(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => estab_sim(&["--seeds", "200"]),
        [seeds] if seeds.parse::<u64>().is_ok_and(|seeds| seeds > 0) => {
            estab_sim(&["--seeds", seeds])
        }
        _ => bail!("`sim` takes one number, of seeds"),
    }
}

/// `sim-fleet --minutes N [--first SEED]`: worlds until the time is up, on all cores.
pub(crate) fn fleet(arguments: &[String]) -> Result<()> {
    ensure!(
        arguments.iter().any(|argument| argument == "--minutes"),
        "`sim-fleet` needs `--minutes N`, and takes `--first SEED`"
    );
    estab_sim(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs `estab sim`, optimised.
fn estab_sim(arguments: &[&str]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--package", "estab-cli", "--", "sim"])
        .args(arguments)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "a world went wrong: the lines above replay it");
    Ok(())
}
