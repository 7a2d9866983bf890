//! Unmodified programs on the stack: `cargo xtask programs`.
//!
//! Most cases are conversations of a server and a client, each tried with the server on our stack and
//! the client on the kernel's, the other way round, and with both on our stack, over a TUN device and over
//! a packet socket. Everything runs as an ordinary user. What is said here of IPv6 is said by the ways of
//! the cases; a case passes or fails, and what cannot be tried fails.

mod article;
mod conversation;
mod databases;
mod echoes;
mod encrypted;
mod published;
mod robust;
mod stage;
mod table;
mod user;
mod various;
mod webs;

use anyhow::Result;

use crate::interop::needs::{self, Need};
use crate::interop::{Case, Suite};
use conversation::Conversation;

pub(crate) use conversation::PRELUDE;
pub(crate) use stage::{Stage, compile, programs};
pub(crate) use table::table;
pub(crate) use user::User;

const USAGE: &str = "\
cargo xtask programs [--list] [NAME...]

  --list   print the names of the cases and stop
  NAME     run only the cases whose name begins with one of these

A conversation's name ends with where its server is: `serves` on our stack, `asks` on the kernel's, and
`alone` where both are on our stack. `native` is the same without estab, to see that the case itself is
right; it runs only when it is asked for by its whole name.

What is missing is installed from Debian when we are root; else the error says what to install.
";

/// What the cases need, and where Debian has it.
pub(crate) const NEEDS: &[Need] = &[
    ("bash", "bash"),
    ("busybox", "busybox-static"),
    ("cc", "gcc"),
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("go", "golang-go"),
    ("initdb", "postgresql"),
    ("iperf3", "iperf3"),
    ("ip", "iproute2"),
    ("javac", "default-jdk-headless"),
    ("nginx", "nginx"),
    ("node", "nodejs"),
    ("openssl", "openssl"),
    ("pgbench", "postgresql"),
    ("prlimit", "util-linux"),
    ("python3", "python3"),
    ("redis-benchmark", "redis-tools"),
    ("redis-server", "redis-server"),
    ("setpriv", "util-linux"),
    ("socat", "socat"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("unshare", "util-linux"),
    ("wget", "wget"),
    ("wrk", "wrk"),
];

/// Runs the cases that `arguments` ask for, all without any.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let prepare = || needs::install(NEEDS).and_then(|()| Stage::prepare());
    let outcome = Suite { usage: USAGE, cases: cases(arguments), prepare }.run(arguments);
    Stage::remove();
    outcome
}

/// Every case, the long ones first; those of `native` that `arguments` name.
fn cases(arguments: &[String]) -> Vec<Case> {
    let mut cases = robust::cases();
    cases.extend(conversations().iter().flat_map(|one| one.cases(arguments)));
    cases.extend(article::cases());
    cases.extend(published::cases());
    cases
}

fn conversations() -> Vec<&'static Conversation> {
    [
        databases::CONVERSATIONS,
        echoes::CONVERSATIONS,
        encrypted::CONVERSATIONS,
        webs::CONVERSATIONS,
        various::CONVERSATIONS,
    ]
    .into_iter()
    .flatten()
    .collect()
}
