//! `estab judge`: verdicts, exit statuses and JSON.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PASSES: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n\
    +0 listen(3, 1) = 0\n+0 < S 0:0(0) win 5000 <mss 1000>\n+0 > S. 0:0(0) ack 1 <mss 1460>\n";

/// A directory that is gone at the end.
struct Scripts(PathBuf);

impl Scripts {
    fn new(name: &str, scripts: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("estab-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("below")).unwrap();
        for (file, text) in scripts {
            std::fs::write(path.join(file), text).unwrap();
        }
        Self(path)
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn judge(arguments: &[&str], path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estab"));
    command.arg("judge").args(arguments).arg(path).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn what_passes_is_counted_and_nothing_else_is_said() {
    let scripts = Scripts::new("passes", &[("a.pkt", PASSES), ("below/b.pkt", PASSES)]);
    let output = judge(&[], &scripts.0);
    assert_eq!(output.status.code(), Some(0));
    let counted = "2 scripts: 2 passed, 0 failed, 0 not supported, 0 not readable, in ";
    assert!(text(&output.stdout).starts_with(counted), "{}", text(&output.stdout));
}

#[test]
fn the_exit_status_tells_failures_from_what_cannot_be_read() {
    let wrong = PASSES.replace("mss 1460", "mss 1400");
    let status = |name: &str, script: &str| {
        let scripts = Scripts::new(name, &[("x.pkt", script)]);
        judge(&[], &scripts.0.join("x.pkt")).status.code()
    };
    assert_eq!(status("fails", &wrong), Some(1));
    assert_eq!(status("unreadable", "nonsense"), Some(2));
    assert_eq!(status("unsupported", "--ip_version=ipv6\n"), Some(0));
    let nowhere = judge(&[], Path::new("/nonexistent.pkt"));
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stdout).contains("/nonexistent.pkt: "), "{}", text(&nowhere.stdout));
}

#[test]
fn json_holds_every_verdict_with_its_place() {
    let wrong = PASSES.replace("mss 1460", "mss SIZE");
    let scripts = Scripts::new("json", &[("a.pkt", PASSES), ("b.pkt", &wrong)]);
    let output = judge(&["--json", "-D", "SIZE=1400"], &scripts.0);
    assert_eq!(output.status.code(), Some(1));
    let results: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&results["passed"], &results["failed"]), (&1.into(), &1.into()));
    assert_eq!(results["scripts"][0]["verdict"], "passed");
    let failed = &results["scripts"][1];
    assert_eq!((&failed["verdict"], &failed["line"]), (&"failed".into(), &5.into()));
    assert!(failed["message"].as_str().unwrap().contains("expected"));
}

#[test]
fn the_command_line_wins_over_the_script() {
    let text = format!("--local_ip=192.168.0.7\n{PASSES}");
    let scripts = Scripts::new("wins", &[("a.pkt", &text)]);
    assert_eq!(judge(&["--local_ip=10.0.0.1"], &scripts.0).status.code(), Some(0));
    assert_eq!(judge(&["--local_ip=nowhere"], &scripts.0).status.code(), Some(1));
    assert_eq!(judge(&["--dry_run"], &scripts.0).status.code(), Some(0));
    assert_eq!(judge(&["--relaxed", "--strict"], &scripts.0).status.code(), Some(2));
}

#[test]
fn what_names_no_family_is_judged_over_both() {
    // Without the option a peer takes 536 bytes over IPv4, and 1220 over IPv6.
    let narrow = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n\
        +0 listen(3, 1) = 0\n+0 < S 0:0(0) win 5000\n+0 > S. 0:0(0) ack 1 <mss 1460>\n\
        +0 < . 1:1(0) ack 1 win 5000\n+0 accept(3, ..., ...) = 4\n\
        +0 write(4, ..., 1072) = 1072\n\
        +0 > . 1:537(536) ack 1\n+0 > P. 537:1073(536) ack 1\n";
    let scripts = Scripts::new("families", &[("x.pkt", narrow)]);
    let both = judge(&["--strict"], &scripts.0);
    assert_eq!(both.status.code(), Some(1), "{}", text(&both.stdout));
    assert!(text(&both.stdout).contains("this is over IPv6"), "{}", text(&both.stdout));
    let json = judge(&["--json", "--strict"], &scripts.0);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["scripts"][0]["over"], "IPv6");
    let alone = judge(&["--strict", "--ip_version=ipv4"], &scripts.0);
    assert_eq!(alone.status.code(), Some(0), "{}", text(&alone.stdout));
    let scripts = Scripts::new("named", &[("x.pkt", &format!("--ip_version=ipv4\n{narrow}"))]);
    assert_eq!(judge(&["--strict"], &scripts.0).status.code(), Some(0));
}
