//! The plainest server and client, and the three questions: what bind, accept and close do.

use anyhow::{Result, ensure};

use super::Stage;
use super::conversation::V4;
use crate::interop::Case;
use crate::interop::bench::{Bench, Outcome};

/// Each question's program, and what a trace shows of the answer.
const QUESTIONS: [(&str, &[&str]); 3] = [
    (
        "bind-without-listen",
        &[
            "keeps the port; nobody listens there yet, no packet",
            "sends SYN, gets RST,ACK, CLOSED -> SYN-SENT -> CLOSED",
            "no packet, CLOSED -> LISTEN",
            "sends SYN, gets SYN,ACK, sends ACK, CLOSED -> SYN-SENT -> ESTABLISHED",
        ],
    ),
    ("accept-in-child", &["took one of 1 from the accept queue, no packet"]),
    (
        "close-in-each-state",
        &[
            "ends those that nobody accepted, sends RST,ACK, LISTEN -> CLOSED",
            "no packet, SYN-SENT -> CLOSED",
            "sends FIN,ACK, ESTABLISHED -> FIN-WAIT-1",
            "sends FIN,ACK, CLOSE-WAIT -> LAST-ACK",
            "no packet, stays FIN-WAIT-2",
            "sends RST,ACK, ESTABLISHED -> CLOSED",
        ],
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let questions = QUESTIONS.map(|(name, traced)| {
        Case::new(name, 30, move |bench: &Bench| answer(bench, name, traced))
    });
    let pair = [
        Case::new("hello-alone", 20, |bench| alone(bench, "")),
        Case::new("hello-static-alone", 20, |bench| alone(bench, "-static")),
        Case::new("hello-serves", 20, serves).over(V4),
        Case::new("hello-asks", 20, asks).over(V4),
    ];
    pair.into_iter().chain(questions).collect()
}

/// Both on our stack.
fn alone(bench: &Bench, kind: &str) -> Result<()> {
    let script = format!(
        "hello-server{kind} & until hello-client{kind} 2> log; do sleep 0.1; done; kill $!"
    );
    said(&run(bench, &[], &["sh", "-c", &script])?)
}

fn serves(bench: &Bench) -> Result<()> {
    let client = "exec 3<>/dev/tcp/10.77.0.2/8080; printf 'Hello from the client' >&3; cat <&3";
    let options = ["--peer", &format!("exec bash -c \"{client}\"")];
    said(&run(bench, &options, &["hello-server"])?)
}

/// The client has 127.0.0.1 in its source.
fn asks(bench: &Bench) -> Result<()> {
    let map = ["--map", "127.0.0.1:8080=10.77.0.1:8080", "--peer", "exec hello-server"];
    said(&run(bench, &map, &["hello-client"])?)
}

fn said(outcome: &Outcome) -> Result<()> {
    outcome.prints(&["Hello from the client", "Hello from the server"])
}

/// A program says on our stack what it says on the kernel's, and the trace shows why.
fn answer(bench: &Bench, program: &str, traced: &[&str]) -> Result<()> {
    let natively = ["unshare", "-Urn", "sh", "-c", "ip link set lo up; exec \"$0\"", program];
    let kernel = bench.finish(Stage::get()?.as_user(bench, &natively)?)?.success()?;
    let ours = run(bench, &[], &[program])?;
    ensure!(ours.out == kernel.out, "the kernel says\n{}we say\n{}", kernel.out, ours.out);
    let trace = run(bench, &["--trace"], &[program])?;
    for word in traced {
        ensure!(
            trace.out.contains(word) || trace.err.contains(word),
            "the trace has no '{word}': {} {}",
            trace.out,
            trace.err
        );
    }
    Ok(())
}

fn run(bench: &Bench, options: &[&str], program: &[&str]) -> Result<Outcome> {
    let words = [&["estab", "run"], bench.way.options(), options, &["--"], program].concat();
    bench.finish(Stage::get()?.as_user(bench, &words)?)?.success()
}
