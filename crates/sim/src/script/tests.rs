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

#[test]
fn several_segments_are_one_unless_they_are_compared_strictly() {
    let script = "+0 write(4, ..., 2500) = 2500\n+0 > P. 1:2501(2500) ack 1\n";
    assert_eq!(run(script, &Options::default()), Ok(()));
    assert!(run(script, &Options::strict()).is_err());
    assert!(run(&script.replace("P.", "."), &Options::default()).is_err());
}

#[test]
fn relaxed_ignores_the_window_push_and_the_order_of_options() {
    let other = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n\
        +0 listen(3, 1) = 0\n\
        +0 < S 0:0(0) win 5000 <mss 1000,sackOK,nop,wscale 7>\n\
        +0 > S. 0:0(0) ack 1 win 1 <nop,wscale 7,sackOK,mss 1460>\n\
        +0.1 < . 1:1(0) ack 1 win 500\n+0 accept(3, ..., ...) = 4\n\
        +0 write(4, ..., 10) = 10\n+0 > . 1:11(10) ack 1 win 7\n";
    assert_eq!(run_text(other, &Options::relaxed()), Ok(()));
    assert!(run_text(other, &Options::default()).is_err());
    // What is not there at all is still missed.
    let more = other.replace("mss 1460", "mss 1400");
    assert!(run_text(&more, &Options::relaxed()).is_err());
}

#[test]
fn relaxed_acks_may_be_more_later_or_together() {
    let more = "+0 < P. 1:101(100) ack 1 win 500\n+0 write(4, ..., 10) = 10\n\
        +0 > P. 1:11(10) ack 101\n";
    assert_eq!(run(more, &Options::relaxed()), Ok(()));
    assert!(run(more, &Options::default()).is_err(), "an ACK left at once, before the data");
    let missing = "+0 > . 1:1(0) ack 2\n+1 `true`\n";
    assert!(run(missing, &Options::relaxed()).unwrap_err().contains("an ACK did not leave"));
}

#[test]
fn what_nobody_expects_at_the_end_is_packetdrills_business_only_when_strict() {
    let script = "+0 write(4, ..., 5) = 5\n+0.1 `true`\n";
    assert_eq!(run(script, &Options::default()), Ok(()));
    assert!(run(script, &Options::strict()).is_err());
}

#[test]
fn a_share_of_a_long_wait_is_tolerated_unless_strict() {
    let probe = |after: &str| {
        format!(
            "+0 setsockopt(4, SOL_SOCKET, SO_KEEPALIVE, [1], 4) = 0\n\
             +0 setsockopt(4, SOL_TCP, TCP_KEEPIDLE, [10], 4) = 0\n\
             +{after} > . 0:0(0) ack 1\n"
        )
    };
    assert_eq!(run(&probe("10"), &Options::strict()), Ok(()));
    assert_eq!(run(&probe("11"), &Options::default()), Ok(()));
    assert!(run(&probe("11"), &Options::strict()).is_err());
    assert!(run(&probe("12"), &Options::default()).is_err());
}

#[test]
fn what_the_stack_does_not_have_is_found_before_anything_fails() {
    let kind = |rest: &str| {
        let script = format!("{OPEN}+0 > R 7:7(0)\n{rest}");
        run_text(&script, &Options::default()).unwrap_err().kind
    };
    assert_eq!(kind(""), Kind::Failed);
    for rest in [
        "+0 setsockopt(4, SOL_TCP, TCP_FASTOPEN, [1], 4) = 0",
        "+0 sendto(4, ..., 5, MSG_ZEROCOPY, ..., ...) = 5",
        "+0 < udp (10)",
        "+0 > S 0:0(0) <FO>",
        "+0 > [flowlabel 0x1] . 1:1(0) ack 1",
        "+0 pipe([5, 6]) = 0",
    ] {
        assert_eq!(kind(rest), Kind::NotSupported, "{rest}");
    }
    assert_eq!(kind("+0 nonsense"), Kind::Invalid);
    assert_eq!(run_text(OPEN, &over("ipv5")).unwrap_err().kind, Kind::NotSupported);
}

fn over(version: &str) -> Options {
    let flags = vec![("ip_version".to_string(), version.to_string())];
    Options { flags, ..Options::default() }
}

#[test]
fn a_script_runs_over_ipv6() {
    let six = over("ipv6");
    run_text(&OPEN.replace("<...>", "<mss 1440>"), &six).unwrap();
    assert!(run_text(&OPEN.replace("<...>", "<mss 1460>"), &six).is_err());
}

#[test]
fn a_script_of_sockets_for_both_families_has_packets_of_ipv4() {
    let mapped = over("ipv4-mapped-ipv6");
    run_text(&OPEN.replace("<...>", "<mss 1460>"), &mapped).unwrap();
    let socket = "0 socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP) = 3";
    run_text(socket, &mapped).unwrap();
    assert_eq!(run_text(socket, &over("ipv4")).unwrap_err().kind, Kind::NotSupported);
}

#[test]
fn a_log_tells_what_happened() {
    let options = Options { log: true, ..Options::default() };
    let script = format!("{OPEN}+0 %{{ print('cwnd', tcpi_snd_cwnd) }}%");
    insta::assert_snapshot!(judge_text(&script, &options).log.join("\n"));
}
