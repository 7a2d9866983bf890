//! Packet scripts: what arrives, what the program calls, and what must leave, and when.
//!
//! The language is packetdrill's; a script that both know means the same to both. Here it runs on
//! one [`stack::Stack`] in virtual time, without a device, a privilege or a sleep:
//!
//! ```
//! let script = r#"
//! 0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
//! +0   bind(3, ..., ...) = 0
//! +0   listen(3, 1) = 0
//! +0   < S 0:0(0) win 32792 <mss 1460>
//! +0   > S. 0:0(0) ack 1 <...>
//! +0.1 < . 1:1(0) ack 1 win 257
//! +0   accept(3, ..., ...) = 4
//! "#;
//! sim::script::run_text(script, &sim::script::Options::default()).unwrap();
//! ```
//!
//! # Three kinds of no
//!
//! A script that does not pass is [`Kind::Invalid`] (it is not of the language),
//! [`Kind::NotSupported`] (it asks for what the stack does not have: Fast Open, …) or
//! [`Kind::Failed`] (the stack did something else).
//!
//! # Where it is narrower, and where wider, than packetdrill
//!
//! * TCP over IPv4 and IPv6, and ICMP errors in. Everything else is named and not supported ([`support`]).
//! * `` `...` `` is never given to a shell: `sysctl` and its relatives set what they name in
//!   [`stack::Config`], and what cannot matter here is let pass ([`commands`], [`settings`]).
//! * `%{ }%` is a small part of Python: assertions and arithmetic on `tcpi_…` ([`code`]).
//! * The local address is 192.168.0.1 port 8080, the remote one 192.0.2.1 port 8080; over IPv6, which
//!   every script that names no family runs over as well, fd3d:fa7b:d17d::1 and fd3d:a0b:17d6::1. `peer(N)`
//!   after the direction means the remote port 8080 + N: scripts may have several connections.
//! * `urg N`, `bad_checksum` and the option `raw KIND LENGTH` exist for segments that are needed
//!   to show what a receiver does with them. `#ifdef`, `#else` and `#define` choose between lines.
//! * Payload is not zeros: what is read must be what was sent, and what leaves what was written.
//!
//! # Time
//!
//! `+0.1` counts from the end of the event before, `0.1` from the start; `0.1~0.3` is a range and
//! `*` any time. A segment may be [`DEFAULT_TOLERANCE`] early or late, or what
//! `--tolerance_usecs=` says. `+0...0.2 call() = ..` starts now and must end 0.2 s later.

mod aggregate;
pub mod ast;
mod calls;
pub mod code;
pub mod commands;
mod constants;
mod errno;
mod failure;
mod flow;
mod lexer;
mod matcher;
mod options;
mod parser;
mod preprocess;
mod relaxed;
mod runner;
pub mod settings;
mod sockets;
pub mod support;

use std::path::Path;

use wire::time::Duration;

pub use crate::world::host::Family;
pub use failure::{Failure, Kind, Position};
use failure::{Problem, not_supported};
pub use options::Options;
pub use runner::Run;

/// How early or late a segment may be: packetdrill's 4 ms.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_millis(4);

/// Parses a script, with the definitions of `options`.
///
/// # Errors
/// With the place of the first thing that is not of the language, or not supported.
pub fn parse(text: &str, options: &Options) -> Result<ast::Script, Failure> {
    let mut definitions = options.definitions.clone();
    let text = preprocess::choose_lines(text, &mut definitions)?;
    parser::parse(lexer::tokens(&text, definitions)?)
}

/// The families that the script in the file `path` runs over when asked to ([`Options::family`]): both,
/// unless it or the flags of `options` name one by `--ip_version=` or an address; then that one alone,
/// whatever is asked. One that cannot be read has one, too, over which it fails.
#[must_use]
pub fn families(path: &Path, options: &Options) -> &'static [Family] {
    let script = read(path).and_then(|text| parse(&text, options));
    script.map_or(&[Family::V4], |script| settings::families(&script, options))
}

/// Parses a script and its settings, and looks for what is not supported; runs nothing.
///
/// # Errors
/// As [`run_text`], save that the stack is not asked.
pub fn check_text(text: &str, options: &Options) -> Result<(), Failure> {
    let script = parse(text, options)?;
    support::check(&script)?;
    settings::Settings::of(&script, options).map(|_| ())
}

/// As [`check_text`], for the file `path`.
///
/// # Errors
/// As [`check_text`], and when the file cannot be read.
pub fn check_file(path: &Path, options: &Options) -> Result<(), Failure> {
    let text = read(path)?;
    check_text(&text, options).map_err(|failure| failure.at_path(path))
}

/// Runs the script in the file `path`.
///
/// # Errors
/// When the file cannot be read, when it is not a script that is supported, or when the stack did
/// not do what the script says.
pub fn run_file(path: &Path, options: &Options) -> Result<(), Failure> {
    judge_file(path, options).verdict
}

/// Runs a script.
///
/// # Errors
/// As [`run_file`].
pub fn run_text(text: &str, options: &Options) -> Result<(), Failure> {
    judge_text(text, options).verdict
}

/// As [`run_file`], and tells what happened on the way.
#[must_use]
pub fn judge_file(path: &Path, options: &Options) -> Run {
    let mut run = match read(path) {
        Ok(text) => judge_text(&text, options),
        Err(failure) => Run::without_events(failure),
    };
    run.verdict = run.verdict.map_err(|failure| failure.at_path(path));
    run
}

/// As [`run_text`], and tells what happened on the way.
#[must_use]
pub fn judge_text(text: &str, options: &Options) -> Run {
    let prepared = parse(text, options).and_then(|script| {
        support::check(&script)?;
        let settings = settings::Settings::of(&script, options)?;
        Ok((script, settings))
    });
    match prepared {
        Ok((script, settings)) => runner::run(&script, settings),
        Err(failure) => Run::without_events(failure),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::of_file(error.to_string()).at_path(path))
}

#[cfg(test)]
mod tests;
