//! Every server meets the client once, for a moment, in namespaces of their own.

use std::process::{Command, Output};

/// Milliseconds of warm-up and of the window: enough for a few exchanges.
const TIMES: [&str; 2] = ["20", "30"];

fn run(row: &str, variant: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_estab-bench"))
        .args(["__run", row, variant])
        .args(TIMES)
        .output()
        .expect("the bench itself")
}

/// Whether this user may make a TUN in a namespace of its own; says so if not.
fn has_device() -> bool {
    let open = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    if let Err(error) = &open {
        eprintln!("skipped: /dev/net/tun: {error}");
    }
    open.is_ok()
}

fn works(row: &str, variant: &str) {
    if !has_device() {
        return;
    }
    let mut output = run(row, variant);
    // The null stack sends nothing again: what a busy machine has no room for is gone.
    for _ in 0..2 {
        if output.status.success() || !variant.starts_with("null") {
            break;
        }
        output = run(row, variant);
    }
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{row}, {variant}: {}\n{says}", output.status);
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(outcome["units"].as_u64() > Some(0), "{row}, {variant}: {outcome}");
    assert!(outcome["seconds"].as_f64() >= Some(0.03), "{row}, {variant}: {outcome}");
}

fn all_work(rows: &[&str], variants: &[&str]) {
    for row in rows {
        for variant in variants {
            works(row, variant);
        }
    }
}

#[test]
fn bulk_goes_both_ways() {
    all_work(
        &["in", "out", "in-8", "out-8"],
        &["kernel", "null", "sockets", "tasks", "inline", "smoltcp"],
    );
}

#[test]
fn the_null_stack_touches_each_byte() {
    all_work(&["in", "out"], &["null-copy", "null-ring", "null-sum"]);
}

#[test]
fn the_null_stack_batches_frames() {
    all_work(&["in", "out", "in-8", "out-8", "http", "connect", "ping"], &["null-uring"]);
}

#[test]
fn requests_are_answered() {
    let variants = ["kernel", "kernel-threads", "null", "sockets", "tasks", "inline", "smoltcp"];
    all_work(&["http", "connect", "ping-32", "ping", "ping-core"], &variants);
    all_work(&["ping"], &["null-spin", "sockets-spin", "inline-spin"]);
}

#[test]
fn other_media_carry_it_too() {
    let rows = ["in-9000", "out-9000", "in-tap", "out-tap", "in-plain", "out-plain"];
    all_work(&rows, &["kernel", "null", "sockets", "inline", "smoltcp"]);
}

#[test]
fn they_speak_ipv6() {
    let rows = ["in-v6", "out-v6", "http-v6"];
    all_work(&rows, &["kernel", "null", "sockets", "inline", "smoltcp"]);
}

#[test]
fn what_does_not_exist_is_refused() {
    for (row, variant) in [("nowhere", "null"), ("in", "nobody")] {
        let output = run(row, variant);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("no such"));
    }
}
