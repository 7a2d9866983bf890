//! Groups: the kernel and we are members of the same one, and hear each other.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

const GROUP: &str = include_str!("group.py");

pub(super) fn cases() -> Vec<Case> {
    vec![Case::over_every("multicast", 20, multicast)]
}

/// Datagrams to the group both ways, of one packet and of several; who left hears nothing any more, and
/// our reports say so.
fn multicast(bench: &Bench) -> Result<()> {
    bench.write("group.py", GROUP)?;
    let mut example = bench.command(&bench.echo_group);
    example.args(bench.way.is_tap().then_some("--tap"));
    let script = "python3 group.py $v";
    let outcome = bench.finish(bench.script(example, script))?.success()?;
    outcome.prints(&["heard, and left"])
}
