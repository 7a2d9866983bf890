//! What must not break the supervisor, and what must not outlive it.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::Stage;
use super::conversation::V4;
use crate::interop::Case;
use crate::interop::bench::{Bench, Outcome};
use crate::interop::program::{descendants, field, name_of};

/// So much may the processes of a run keep resident while a program that never reads is flooded over
/// eight connections: what buffers hold on both ends, and the processes themselves.
const FLOODED_KIB: u64 = 256 << 10;

/// How long what was killed may need to be gone.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("signals-3000-connections", 60, |bench| {
            says(bench, "under-signals", "3000 whole, many signals, 0 descriptors more")
        }),
        Case::new("fork-storm", 60, |bench| says(bench, "fork-storm", "500 answered")),
        Case::new("no-descriptors-left", 60, no_descriptors_left),
        Case::new("never-reads", 60, never_reads),
        Case::new("leaves-at-once", 60, leaves_at_once).over(V4),
        Case::new("killed-supervisor", 30, killed_supervisor).over(V4),
        Case::new("killed-command", 30, killed_command).over(V4),
    ]
}

fn says(bench: &Bench, program: &str, word: &str) -> Result<()> {
    run(bench, &[], &["--", program])?.success()?.prints(&[word])
}

/// Both the program and the supervisor run out of descriptors: that is an error, and it passes.
fn no_descriptors_left(bench: &Bench) -> Result<()> {
    let outcome =
        run(bench, &["prlimit", "--nofile=300:300"], &["--", "many-sockets"])?.success()?;
    let whole = outcome.out.matches("many sockets: E").count();
    let after = outcome.out.matches("after them: x").count();
    ensure!(whole == 3 && after == 3, "not three times: {}", outcome.out);
    Ok(())
}

/// Who never reads holds its peer back, and nothing piles up between.
fn never_reads(bench: &Bench) -> Result<()> {
    let words = [ESTAB, &["--", "flood"]].concat();
    let mut running = bench.start(Stage::get()?.as_user(bench, &words)?)?;
    let mut most = 0;
    while running.is_running()? {
        let resident = |id: &u32| field(*id, "VmRSS:").and_then(|size| kib(&size)).unwrap_or(0);
        let below = descendants(running.id())?;
        most = most.max(below.keys().map(resident).sum::<u64>() + resident(&running.id()));
        sleep(Duration::from_millis(50));
    }
    running.finish()?.success()?.prints(&["held back"])?;
    ensure!(most < FLOODED_KIB, "{most} KiB resident, more than {FLOODED_KIB}");
    Ok(())
}

fn kib(size: &str) -> Option<u64> {
    size.split_whitespace().next()?.parse().ok()
}

/// A program writes much and ends at once: a slow peer still gets all of it, and the status is the program's.
fn leaves_at_once(bench: &Bench) -> Result<()> {
    bench.write("leave.py", LEAVE)?;
    let peer = "socat -u TCP-LISTEN:7000,bind=10.77.0.1 SYSTEM:'sleep 1; sha256sum > got'";
    let options = [bench.way.options(), &["--peer", peer, "--", "python3", "leave.py"]].concat();
    let outcome = run(bench, &[], &options)?;
    ensure!(outcome.status == 7, "status {}: {}", outcome.status, outcome.err);
    let sum = |name| std::fs::read_to_string(bench.here.join(name)).unwrap_or_default();
    let (wanted, got) = (sum("wanted"), sum("got"));
    ensure!(!wanted.is_empty() && got.starts_with(&wanted), "not all arrived: {got}, not {wanted}");
    Ok(())
}

const LEAVE: &str = "
import hashlib, os, socket
data = bytes(range(251)) * 80000
open('wanted', 'w').write(hashlib.sha256(data).hexdigest())
out = socket.create_connection(('10.77.0.1', 7000))
out.sendall(data)
os._exit(7)
";

/// Killed as nothing can catch it, the stack takes the program along, and its network.
fn killed_supervisor(bench: &Bench) -> Result<()> {
    killed(bench, |command| {
        let runner = |id: &u32| command_line(*id).contains("__runner");
        let inside = descendants(command)?;
        inside.keys().copied().find(runner).context("no supervisor")
    })
}

/// The same when the command that was typed is killed.
fn killed_command(bench: &Bench) -> Result<()> {
    killed(bench, Ok)
}

fn killed(bench: &Bench, whom: impl Fn(u32) -> Result<u32>) -> Result<()> {
    let script = "hello-server & sleep 1000 & touch ready; wait";
    let words = [ESTAB, bench.way.options(), &["--", "sh", "-c", script]].concat();
    let mut running = bench.start(Stage::get()?.as_user(bench, &words)?)?;
    running.wait_for_file("ready")?;
    let inside: BTreeMap<u32, String> = descendants(running.id())?;
    ensure!(inside.values().any(|name| name == "hello-server"), "no server in {inside:?}");
    let victim = i32::try_from(whom(running.id())?)?;
    kill_process(Pid::from_raw(victim).context("a process")?, Signal::KILL)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alive = inside.iter().find(|(id, name)| name_of(**id).as_ref() == Some(*name));
        let Some((id, name)) = alive else { return Ok(()) };
        ensure!(Instant::now() < deadline, "{name}, process {id}, lives on");
        sleep(Duration::from_millis(20));
    }
}

fn command_line(process: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

const ESTAB: &[&str] = &["estab", "run"];

fn run(bench: &Bench, before: &[&str], after: &[&str]) -> Result<Outcome> {
    let words = [before, ESTAB, after].concat();
    bench.finish(Stage::get()?.as_user(bench, &words)?)
}
