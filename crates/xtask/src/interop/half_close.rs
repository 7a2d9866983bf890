//! Half-closed connections, byte-exact: either side may finish first, and still receives.
//!
//! The side that speaks last begins a second after the other has sent everything and its FIN. RFC
//! 9293 3.6 wants this to work for as long as it takes.

use anyhow::Result;

use super::Case;
use super::bench::Bench;

const LENGTH: usize = 1 << 20;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::over_every("half-close-nc-first", 20, |bench| {
            both(
                bench,
                "late answer | estab nc -l 5000 > question.got & server=$!
                serving 5000
                nc.openbsd -N $stack 5000 < question > answer.got",
            )
        }),
        Case::over_every("half-close-our-server-first", 20, |bench| {
            both(
                bench,
                "estab nc -l 5000 < answer > question.got & server=$!
                serving 5000
                late question | socat -t 10 - TCP$v:$stack_url:5000 > answer.got",
            )
        }),
        Case::over_every("half-close-our-client-first", 20, |bench| {
            both(
                bench,
                "late answer | socat -t 10 - TCP$v-LISTEN:5000,bind=$kernel_url > question.got & server=$!
                listening 5000
                estab nc $kernel 5000 < question > answer.got",
            )
        }),
        Case::over_every("half-close-socat-first", 20, |bench| {
            both(
                bench,
                "socat -t 10 - TCP$v-LISTEN:5000,bind=$kernel_url < answer > question.got & server=$!
                listening 5000
                late question | estab nc $kernel 5000 > answer.got",
            )
        }),
        Case::over_every("half-close-echo", 20, |bench| {
            let script = "
                nc.openbsd -N $stack 7 < file > back
                cmp back file";
            with_file(bench, "echo:7", script)
        }),
        Case::over_every("half-close-discard", 20, |bench| {
            let script = "
                nc.openbsd -N $stack 9 < file > back
                test ! -s back
                settled";
            with_file(bench, "discard:9", script)
        }),
        Case::over_every("half-close-chargen", 20, |bench| {
            // The reader goes away in the middle, so that only a reset can tell the server.
            let script = "
                nc.openbsd $stack 19 < /dev/null | head -c 1000000 > read
                python3 -c '
lines = [bytes(32 + (i + j) % 95 for j in range(72)) + b\"\\r\\n\" for i in range(95)]
assert open(\"read\", \"rb\").read() == (b\"\".join(lines) * 200)[:1000000]
'
                settled";
            with_file(bench, "chargen:19", script)
        }),
    ]
}

/// Runs a conversation of a question and an answer, and compares what arrived.
fn both(bench: &Bench, conversation: &str) -> Result<()> {
    bench.write_bytes("question", LENGTH)?;
    bench.write_bytes("answer", LENGTH)?;
    let script = format!(
        "late() {{ sleep 1; cat \"$1\"; }}
        {conversation}
        wait $server
        cmp question question.got
        cmp answer answer.got"
    );
    bench.lab(&[], &script)?;
    Ok(())
}

fn with_file(bench: &Bench, serve: &str, script: &str) -> Result<()> {
    bench.write_bytes("file", LENGTH)?;
    bench.lab(&["--serve", serve], script)?;
    Ok(())
}
