//! What a failure shows, and what passes where.

use super::*;

const OPEN: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n\
    +0 listen(3, 1) = 0\n+0 < S 0:0(0) win 5000 <mss 1000>\n\
    +0 > S. 0:0(0) ack 1 <...>\n+0.1 < . 1:1(0) ack 1 win 5000\n\
    +0 accept(3, ..., ...) = 4\n";

fn run(rest: &str, options: &Options) -> Result<(), String> {
    run_text(&format!("{OPEN}{rest}"), options).map_err(|failure| failure.to_string())
}

fn failure(rest: &str) -> String {
    run(rest, &Options::strict()).unwrap_err()
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
        "+0 frobnicate(4) = 0",
        "+0 close(7) = 0",
    ];
    insta::assert_snapshot!(failures.map(failure).join("\n\n"));
}
