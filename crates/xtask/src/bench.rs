//! estab beside the kernel, the device's limit and smoltcp: builds `estab-bench`, optimised, and
//! hands over to it.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::source;

/// Runs the bench with `arguments`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let built = source::build(&["--release", "--package", "estab-bench", "--bin", "estab-bench"])?;
    let program = built.iter().find(|path| path.ends_with("estab-bench")).context("no bench")?;
    let status = Command::new(program).args(arguments).status()?;
    ensure!(status.success(), "the bench failed: {status}");
    Ok(())
}
