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
//! sim::script::run_text(script).unwrap();
//! ```
//!
//! # Where it is narrower, and where wider, than packetdrill
//!
//! * TCP over IPv4 and ICMP errors in. Whatever is not supported fails with its place and name.
//! * `` `...` `` is never given to a shell: `sysctl -w name=value` sets what it names in
//!   [`stack::Config`], and nothing else is known ([`settings`]).
//! * `%{ }%` knows `assert tcpi_name == value`, one a line ([`assertions`]).
//! * The local address is 192.168.0.1 port 8080, the remote one 192.0.2.1 port 8080. `peer(N)`
//!   after the direction means the remote port 8080 + N: scripts may have several connections.
//! * `urg N`, `bad_checksum` and the option `raw KIND LENGTH` exist for segments that are needed
//!   to show what a receiver does with them.
//! * Payload is not zeros: what is read must be what was sent, and what leaves what was written.
//! * A segment that left before the last event and that no line expects is a failure.
//!
//! # Time
//!
//! `+0.1` counts from the event before, `0.1` from the start; `0.1~0.3` is a range and `*` any
//! time. A segment may be [`DEFAULT_TOLERANCE`] early or late, or what `--tolerance_usecs=` says.
//! `+0...0.2 call() = ..` starts now and must end 0.2 s later.

pub mod assertions;
pub mod ast;
mod calls;
mod errno;
mod flow;
mod lexer;
mod matcher;
mod parser;
mod runner;
pub mod settings;
mod sockets;

use std::fmt;
use std::path::{Path, PathBuf};

use wire::time::Duration;

pub use parser::parse;

/// How early or late a segment may be: packetdrill's 4 ms.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_millis(4);

/// A place in a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Position {
    fn failure(self, message: impl Into<String>) -> Failure {
        Failure { path: None, position: Some(self), message: message.into() }
    }
}

/// Why a script did not pass, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The script's file, when it came from one.
    pub path: Option<PathBuf>,
    /// The line that failed.
    pub position: Option<Position>,
    /// What was expected and what happened; several lines.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}:", path.display())?;
        }
        if let Some(position) = self.position {
            write!(f, "{}:{}: ", position.line, position.column)?;
        } else if self.path.is_some() {
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Runs the script in the file `path`.
///
/// # Errors
/// When the file cannot be read, when it is not a script that is supported, or when the stack did
/// not do what the script says.
pub fn run_file(path: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure {
        path: Some(path.to_path_buf()),
        position: None,
        message: error.to_string(),
    })?;
    run_text(&text).map_err(|failure| Failure { path: Some(path.to_path_buf()), ..failure })
}

/// Runs a script.
///
/// # Errors
/// As [`run_file`].
pub fn run_text(text: &str) -> Result<(), Failure> {
    let script = parse(text)?;
    runner::run(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n\
        +0 listen(3, 1) = 0\n+0 < S 0:0(0) win 5000 <mss 1000>\n\
        +0 > S. 0:0(0) ack 1 <...>\n+0.1 < . 1:1(0) ack 1 win 5000\n\
        +0 accept(3, ..., ...) = 4\n";

    fn failure(rest: &str) -> String {
        run_text(&format!("{OPEN}{rest}")).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_segment_is_shown_beside_the_expected_one() {
        insta::assert_snapshot!(failure("+0 write(4, ..., 500) = 500\n+0 > . 1:1001(1000) ack 1"));
    }

    #[test]
    fn a_segment_at_the_wrong_time_is_shown() {
        insta::assert_snapshot!(failure("+0 write(4, ..., 5) = 5\n+0.1 > P. 1:6(5) ack 1"));
    }

    #[test]
    fn a_segment_that_does_not_leave_and_one_that_nobody_expects() {
        let missing = failure("+0 > P. 1:6(5) ack 1");
        let unexpected = failure("+0 write(4, ..., 5) = 5\n+0.1 `true`");
        insta::assert_snapshot!(format!("{missing}\n\n{unexpected}"));
    }

    #[test]
    fn calls_are_compared() {
        let nonblocking = "+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n+0 read(4, ..., 5) = 5";
        let failures = [
            "+0 read(4, ..., 5) = 5",
            "+0...0.5 read(4, ..., 5) = 5",
            nonblocking,
            "+0 %{ assert tcpi_snd_cwnd == 7 }%",
            "+0 sendfile(4, 5) = 0",
            "+0 close(7) = 0",
        ];
        insta::assert_snapshot!(failures.map(failure).join("\n\n"));
    }
}
