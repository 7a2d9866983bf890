//! `estab lab` and `estab demo`, in namespaces of their own: nothing but this program, a shell and
//! the kernel takes part.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const ESTAB: &str = env!("CARGO_BIN_EXE_estab");

/// Runs `estab lab` with options, and a script of the shell as its COMMAND.
fn lab(options: &[&str], script: &str) -> Output {
    Command::new(ESTAB)
        .arg("lab")
        .args(options)
        .args(["--", "sh", "-c", script])
        .env("ESTAB", ESTAB)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A place for files of one test.
fn scratch(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

const FETCH: &str = "exec \"$ESTAB\" __fetch 10.77.0.2:80 /";

#[test]
fn the_kernel_fetches_a_page_over_every_kind_of_link() {
    for options in [
        &[][..],
        &["--tap"],
        &["--no-offload"],
        &["--tap", "--no-offload"],
        &["--mtu", "576"],
        &["--packet"],
    ] {
        let output = lab(&[&["--serve", "http:80"], options].concat(), FETCH);
        assert!(stdout(&output).contains("It works"), "{options:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn the_kernel_fetches_a_page_over_ipv6() {
    for options in [
        &[][..],
        &["--tap"],
        &["--packet"],
        &["--no-offload"],
        &["--mtu", "1280"],
        &["--cidr6", "2001:db8::1/64"],
    ] {
        let fetch = r#"exec "$ESTAB" __fetch "[$ESTAB_STACK6]:80" /"#;
        let output = lab(&[&["--serve", "http:80"], options].concat(), fetch);
        assert!(stdout(&output).contains("It works"), "{options:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(0));
    }
}

/// The stack is the whole world, on every kind of link.
#[test]
fn any_address_is_served() {
    for options in [&[][..], &["--tap"], &["--packet"], &["--mtu", "576"]] {
        let narrow = options.contains(&"576");
        let far: &[&str] = match narrow {
            true => &["203.0.113.7:80", "10.77.0.2:80"],
            false => &["203.0.113.7:80", "[2001:db8::7]:80", "198.51.100.1:80", "[fd77::2]:80"],
        };
        let fetch = |to: &&str| format!("\"$ESTAB\" __fetch {to} / | grep -c 'It works'");
        let script = far.iter().map(fetch).collect::<Vec<_>>().join("\n");
        let output = lab(&[&["--any", "--serve", "http:80"], options].concat(), &script);
        let expected = "1\n".repeat(far.len());
        assert_eq!(stdout(&output), expected, "{options:?}: {}", stderr(&output));
    }
}

#[test]
fn a_link_too_narrow_for_ipv6_is_ipv4_alone() {
    let output = lab(&["--mtu", "576"], r#"echo "$ESTAB_STACK ${ESTAB_STACK6:-none}""#);
    assert_eq!(stdout(&output), "10.77.0.2 none\n");
    let expected = "estab: IPv4 alone: IPv6 needs an MTU of 1280 bytes, and estab0 has 576\n";
    assert!(stderr(&output).ends_with(expected), "{}", stderr(&output));
    let output = lab(&["--mtu", "576", "--cidr6", "fd77::1/64"], "true");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("fd77::1/64 cannot be"), "{}", stderr(&output));
}

/// Eight connections are on all of three shards but in one run of ten; what is asked of the lab is
/// about the whole stack.
#[test]
fn a_lab_with_several_queues_is_one_stack() {
    let capture = scratch("queues").join("capture.pcapng");
    let options = [
        ["--serve", "http:80"],
        ["--queues", "3"],
        ["--pcap", capture.to_str().unwrap()],
        ["--delay", "1ms"],
    ];
    let script = "for n in 1 2 3 4 5 6 7 8; do \"$ESTAB\" __fetch 10.77.0.2:80 / || exit 1; done
        \"$ESTAB\" ping -c 1 10.77.0.1 && exec \"$ESTAB\" ss -l";
    let output = lab(options.concat().as_slice(), script);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.matches("It works").count(), 8, "{text}");
    assert_eq!(text.matches("LISTEN").count(), 2, "{text}");
    let frames = link::capture::read(&capture).unwrap().count();
    assert!(frames > 8 * 8, "{frames} frames");
}

#[test]
fn a_file_survives_a_bad_link() {
    let directory = scratch("bad-link");
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(directory.join("file"), &bytes).unwrap();
    let serve = format!("http:80={}", directory.display());
    let options =
        ["--serve", &serve, "--loss", "2%", "--delay", "2ms", "--reorder", "2%", "--seed", "7"];
    let output = lab(&options, "exec \"$ESTAB\" __fetch 10.77.0.2:80 /file");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
}

#[test]
fn the_size_of_segments_is_clamped_and_searched_for() {
    let directory = scratch("segments");
    std::fs::write(directory.join("file"), [b'x'; 300_000]).unwrap();
    let serve = format!("http:80={}", directory.display());
    let traced = |more: &[&str]| {
        let options = [&["--serve", &serve, "--no-offload", "--trace"], more].concat();
        let output = lab(&options, "exec \"$ESTAB\" __fetch 10.77.0.2:80 /file > /dev/null");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stderr(&output).to_owned()
    };
    let longest = |trace: &str| {
        let sent = trace.lines().filter(|line| line.contains(" -> "));
        let length = |line: &str| {
            let rest = line.split(" length ").nth(1)?;
            rest.split_whitespace().next()?.parse::<u32>().ok()
        };
        sent.filter_map(length).max()
    };
    const QUESTION: &str = "asks with a longer segment";
    let ordinary = traced(&[]);
    assert_eq!(longest(&ordinary), Some(1448));
    assert!(!ordinary.contains(QUESTION));
    // Less the timestamps, which every segment carries.
    let clamped = traced(&["--clamp-mss", "1000"]);
    assert_eq!(longest(&clamped), Some(988));
    assert!(clamped.contains("mss 1000 sackOK"), "{clamped}");
    let searched = traced(&["--mtu-probing", "always", "--mtu-probe-base", "600"]);
    assert!(searched.contains(QUESTION) && longest(&searched) == Some(1448), "{searched}");
}

#[test]
fn the_status_is_that_of_the_command() {
    assert_eq!(lab(&[], "exit 7").status.code(), Some(7));
    assert_eq!(lab(&[], "kill -TERM $$").status.code(), Some(128 + 15));
    let missing = Command::new(ESTAB).args(["lab", "--", "/no/such/program"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(stderr(&missing).lines().count(), 1);
}

#[test]
fn the_command_keeps_its_user_and_gets_low_ports() {
    let own = Command::new("id").arg("-u").output().unwrap();
    let output = lab(
        &[],
        "id -u; grep CapAmb /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    let expected = format!("{}CapAmb:\t0000000000003000\n0\n", stdout(&own));
    assert_eq!(stdout(&output), expected);
}

#[test]
fn ss_ping_and_nc_speak_to_the_running_stack() {
    let script = "
        \"$ESTAB\" ss -l
        \"$ESTAB\" ping -c 2 -i 10ms 10.77.0.1 || exit 1
        echo to ourselves | \"$ESTAB\" nc 10.77.0.2 7 || exit 1
        \"$ESTAB\" nc 10.77.0.1 9; echo refused $?
        \"$ESTAB\" ping -c 1 -W 200ms 10.77.0.77; echo silent $?";
    let output = lab(&["--serve", "echo:7"], script);
    let shown = stdout(&output);
    assert!(shown.contains("LISTEN"), "{shown}");
    assert!(shown.contains("2 requests, 2 answers"), "{shown}");
    assert!(shown.contains("to ourselves"), "{shown}\n{}", stderr(&output));
    assert!(shown.contains("refused 1"), "{shown}");
    assert!(shown.contains("silent 1"), "{shown}");
    assert!(stderr(&output).contains("refused"), "{}", stderr(&output));
}

#[test]
fn nc_listens_and_keeps_the_half_close() {
    // The fetch's request ends in our nc's output; the answer is what nc was given.
    let script = "
        printf 'HTTP/1.1 200 OK\\r\\n\\r\\nfrom nc' | \"$ESTAB\" nc -l 8000 & 
        while ! \"$ESTAB\" ss -l | grep -q 8000; do sleep 0.02; done
        \"$ESTAB\" __fetch 10.77.0.2:8000 /page
        wait";
    let output = lab(&[], script);
    assert!(stdout(&output).contains("from nc"), "{} {}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("GET /page"), "{}", stdout(&output));
}

#[test]
fn outside_of_a_lab_the_commands_say_what_to_do() {
    for arguments in [&["ss"][..], &["ping", "10.77.0.1"], &["nc", "10.77.0.1", "80"]] {
        // In a network where no other test's stack is found.
        let output = Command::new("unshare")
            .args(["-Urn", ESTAB])
            .args(arguments)
            .env_remove("ESTAB_CONTROL")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(stderr(&output).lines().count(), 1);
        assert!(stderr(&output).contains("estab lab"), "{}", stderr(&output));
    }
}

/// With the device file or without it, as root or not.
#[test]
fn a_device_that_cannot_be_is_refused_in_one_line() {
    for arguments in ["up --tun a/b", "up --fd 77", "dump --here --tun a/b", "dump --tun a/b"] {
        let output = Command::new(ESTAB).args(arguments.split(' ')).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", stderr(&output));
        let last = stderr(&output).lines().last().unwrap_or_default();
        assert!(last.starts_with("estab: ") && output.stdout.is_empty(), "{arguments}: {last}");
    }
}

#[test]
fn capture_trace_and_diagrams() {
    let directory = scratch("watching");
    let file = |name: &str| directory.join(name).display().to_string();
    for ending in ["txt", "mmd", "svg"] {
        let (pcap, diagram) = (file("lab.pcapng"), file(&format!("lab.{ending}")));
        let options = ["--serve", "http:80", "--trace", "--pcap", &pcap, "--diagram", &diagram];
        let output = lab(&options, FETCH);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains("SYN-RECEIVED -> ESTABLISHED"), "{}", stderr(&output));
        let drawn = std::fs::read_to_string(&diagram).unwrap();
        assert!(drawn.contains("SYN-RECEIVED") && drawn.contains("ESTABLISHED"), "{drawn}");
        let dumped = Command::new(ESTAB).args(["dump", "-c", "2", &pcap]).output().unwrap();
        let shown = stdout(&dumped);
        assert!(shown.contains("10.77.0.2:80 SYN"), "{shown}");
        // The stack's own reason stands beside the packet.
        assert!(shown.contains("answers the SYN"), "{shown}");
    }
}

#[test]
fn a_live_dump_shows_what_the_kernel_tries() {
    let output = Command::new(ESTAB)
        .args(["dump", "--tun", "article0", "--cidr", "11.0.0.1/24", "-c", "1", "--"])
        .args([ESTAB, "__fetch", "11.0.0.2:80", "/hello"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("> 11.0.0.2:80 SYN"), "{}", stdout(&output));
}

#[test]
fn on_a_tap_the_syn_follows_the_arp_that_was_answered() {
    let output = Command::new(ESTAB)
        .args(["dump", "--tap", "article1", "--cidr", "11.0.0.1/24", "-c", "2", "--"])
        .args([ESTAB, "__fetch", "11.0.0.2:80", "/hello"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(shown.contains("ARP (0x0806)") && shown.contains("> 11.0.0.2:80 SYN"), "{shown}");
}

#[test]
fn nothing_outlives_a_lab_that_is_killed() {
    let marker = format!("86400.{}", std::process::id());
    let mut child = Command::new(ESTAB)
        .args(["lab", "--", "sh", "-c", &format!("sleep {marker} & sleep {marker}")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sleepers = || processes_with(&marker);
    wait_until("the sleepers run", || sleepers() >= 3);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("they are gone", || sleepers() == 0);
}

/// How many processes have `marker` in their command line.
fn processes_with(marker: &str) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(marker))
        .count()
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !reached() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_demo_shows_both_roles() {
    let output = Command::new(ESTAB).arg("demo").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    for expected in [
        "LISTEN -> SYN-RECEIVED",
        "SYN-SENT -> ESTABLISHED",
        "TIME-WAIT",
        "LAST-ACK",
        "RFC 9293 3.5",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
}

#[test]
fn the_story_is_told_with_live_connections() {
    let output = Command::new(ESTAB).args(["demo", "--explain"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    for expected in [
        "both sides opened at once",
        "first number (ISN)",
        "CLOSE-WAIT",
        "loss probe timer",
        "FIN,ACK",
        "asks with a segment",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
}

#[test]
fn pages_and_completions_are_generated() {
    let directory = scratch("man");
    let path = directory.display().to_string();
    assert!(Command::new(ESTAB).args(["man", &path]).status().unwrap().success());
    let page = std::fs::read_to_string(directory.join("estab-lab.1")).unwrap();
    assert!(page.contains("estab\\-lab") && page.contains("serve"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(ESTAB).args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && stdout(&output).contains("estab"));
    }
}
