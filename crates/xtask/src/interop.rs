//! Other people's programs against our sockets.

/// Runs the suite.
pub(crate) fn run(_args: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("the interop suite is not written yet")
}
