//! Many requests, many short connections, and what is left after them.

use anyhow::{Result, ensure};

use super::Case;
use super::bench::{Bench, Running};
use super::way::TWO;

/// How many short connections a run makes.
const CONNECTIONS: usize = 10_000;

/// How much larger the stack's process may be after [`CONNECTIONS`] than it was after the first
/// thousand, in KiB. Buffers and threads are back by then; tables keep the room that they grew to,
/// below 100 bytes for each connection, and the allocator's rounding comes on top.
const GROWTH_KIB: u64 = 4096;

const SHORT: &str = include_str!("short.py");

/// How many connections one thread of ours serves at a time.
const AT_A_TIME: usize = 200;

const POLL_ECHO: &str = include_str!("poll_echo.py");

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::over_every("wrk", 30, wrk),
        Case::new("poll-echo", 60, poll_echo),
        Case::over_every("short-server-closes", 240, |bench| {
            // TIME-WAIT lasts 60 s with us (RFC 9293 3.4.2 leaves the length to us).
            short(bench, "server $stack 80", "estab ss > left; sleep 61")
        })
        .only_over(TWO, "each outlasts a minute of TIME-WAIT"),
        Case::over_every("short-client-closes", 180, |bench| {
            short(bench, "client $stack 7", "estab ss > left")
        })
        .only_over(TWO, "ten thousand connections each"),
    ]
}

fn wrk(bench: &Bench) -> Result<()> {
    let script = "wrk -t1 -c16 -d2s http://$stack_url/";
    let outcome = bench.lab(&["--serve", "http:80"], script)?;
    outcome.prints(&["Requests/sec"])?;
    for trouble in ["Socket errors", "Non-2xx"] {
        ensure!(!outcome.out.contains(trouble), "{}", outcome.out);
    }
    let served = outcome.out.lines().find_map(|line| line.trim().split_once(" requests in"));
    let served: u64 = served.map_or(Ok(0), |(number, _)| number.parse())?;
    ensure!(served >= 100, "only {served} requests in 2 s");
    Ok(())
}

/// Many connections at once, and datagrams, to the example that serves them all in one thread.
fn poll_echo(bench: &Bench) -> Result<()> {
    bench.write("poll_echo.py", POLL_ECHO)?;
    let mut example = bench.command(&bench.poll_echo);
    example.args(["python3", "poll_echo.py"]).arg(AT_A_TIME.to_string());
    let right = format!("{} right", AT_A_TIME + 100);
    bench.finish(example)?.success()?.prints(&[&right])
}

/// Makes short connections, and compares sockets and memory before and after. `then` is run right
/// after the last connection and writes the sockets to `left`.
fn short(bench: &Bench, how: &str, then: &str) -> Result<()> {
    bench.write("short.py", SHORT)?;
    let script = format!(
        "pause() {{ touch \"$1\"; until [ -e \"$1.seen\" ]; do sleep 0.05; done; }}
        python3 short.py {how} 1000
        pause first
        python3 short.py {how} {CONNECTIONS}
        {then}
        settled
        estab ss -a > sockets
        pause last"
    );
    let mut lab = bench.start_lab(&["--serve", "echo:7", "--serve", "http:80"], &script)?;
    let before = measure(bench, &mut lab, "first")?;
    let after = measure(bench, &mut lab, "last")?;
    lab.finish()?.success()?;

    let left = std::fs::read_to_string(bench.here.join("left"))?;
    let waiting = left.lines().filter(|line| line.contains("TIME-WAIT")).count();
    if how.starts_with("server") {
        // Ports that come again take their TIME-WAIT over (RFC 6191), and the kernel has only
        // some 28,000, of which it prefers one half.
        ensure!(waiting >= CONNECTIONS / 2, "only {waiting} in TIME-WAIT after {CONNECTIONS}");
    } else {
        ensure!(waiting == 0, "{waiting} in TIME-WAIT, although the client closed first");
    }
    let sockets = std::fs::read_to_string(bench.here.join("sockets"))?;
    let listeners = sockets.lines().filter(|line| line.contains("LISTEN")).count();
    // Two servers, each on every address that the lab has, below a line of titles.
    ensure!(
        listeners >= 2 && sockets.lines().count() == listeners + 1,
        "not only listeners: {sockets}"
    );
    let growth = after.saturating_sub(before);
    ensure!(growth <= GROWTH_KIB, "memory grew by {growth} KiB, from {before} KiB");
    Ok(())
}

/// The memory of the stack's process while the script pauses at `point`.
fn measure(bench: &Bench, lab: &mut Running<'_>, point: &str) -> Result<u64> {
    lab.wait_for_file(point)?;
    let size = lab.resident_kib()?;
    bench.write(&format!("{point}.seen"), "")?;
    Ok(size)
}
