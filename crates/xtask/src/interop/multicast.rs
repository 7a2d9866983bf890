//! Groups: the kernel and we are members of the same one, and hear each other.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

const GROUP: &str = include_str!("group.py");
const SOURCES: &str = include_str!("sources.py");

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::over_every("multicast-sources", 40, sources),
        Case::over_every("multicast-all", 20, multicast),
    ]
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

/// A group that is heard from one source of the kernel's two, then from both, then from the other; our
/// reports of that are the kernel's own when it makes the same calls.
fn sources(bench: &Bench) -> Result<()> {
    bench.write("sources.py", SOURCES)?;
    let mut example = bench.command(&bench.echo_group);
    example.args(bench.way.is_tap().then_some("--tap"));
    let script = "
        ip address add 10.77.0.9/24 dev estab0
        ip address add fd77::9/64 dev estab0 nodad
        python3 sources.py $v";
    let outcome = bench.finish(bench.script(example, script))?.success()?;
    outcome.prints(&["heard from some, and told as the kernel tells it"])
}
