//! `estab demo --explain`: the story of TCP, with live connections.

use std::process::ExitCode;

/// Tells the story.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet")
}
