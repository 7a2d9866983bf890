//! Judges scripts by packetdrill with the witness, and by our own runner, and compares.
//!
//! `cargo run -p estab-witness --example agree -- PACKETDRILL LIBRARY SCRIPT-OR-DIRECTORY…`

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use sim::script::ast::Action;
use sim::script::{Kind, Options};
use sim::segment::Flags;

/// packetdrill itself waits up to a second here and there.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// What stands in a script that only our runner reads.
const OURS: [&str; 5] = ["peer(", "raw ", "bad_checksum", "#", ", ttl"];

/// What packetdrill says when it does not judge a script, and what that means.
const REFUSALS: [(&str, &str); 4] = [
    ("parse error", "not of packetdrill's grammar"),
    ("semantic error", "packetdrill sends no such segment"),
    ("Unknown system call", "a call that packetdrill does not know"),
    ("unable to infer live TS ecr", "packetdrill echoes no timestamp that was not sent"),
];

/// What came out for one script.
enum Comparison {
    Agree,
    Differ(String),
    LeftOut(&'static str),
}

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [packetdrill, library, places @ ..] = &arguments[..] else {
        eprintln!("agree PACKETDRILL LIBRARY SCRIPT-OR-DIRECTORY…");
        return ExitCode::from(2);
    };
    let Ok(library) = library.canonicalize() else {
        eprintln!("{}: no such library", library.display());
        return ExitCode::from(2);
    };
    let mut scripts = Vec::new();
    places.iter().for_each(|place| collect(place, &mut scripts));
    scripts.sort();
    let (mut agree, mut differ, mut left_out) = (0, 0, 0);
    for script in &scripts {
        match compare(packetdrill, &library, script) {
            Ok(Comparison::Agree) => agree += 1,
            Ok(Comparison::Differ(how)) => {
                differ += 1;
                println!("{}: {how}", script.display());
            }
            Ok(Comparison::LeftOut(why)) => {
                left_out += 1;
                println!("{}: left out: {why}", script.display());
            }
            Err(error) => {
                eprintln!("{}: {error}", script.display());
                return ExitCode::from(2);
            }
        }
    }
    println!("{} compared: {agree} agree, {differ} differ; {left_out} left out", agree + differ);
    ExitCode::from(u8::from(differ > 0))
}

fn compare(packetdrill: &Path, library: &Path, script: &Path) -> std::io::Result<Comparison> {
    let text = std::fs::read_to_string(script)?;
    if let Some(ours) = OURS.iter().find(|word| text.contains(**word)) {
        let ours: &'static str = ours;
        return Ok(Comparison::LeftOut(ours));
    }
    if begins_again(&text) {
        return Ok(Comparison::LeftOut("packetdrill numbers one connection, and here are two"));
    }
    let Some((text, flags)) = for_packetdrill(&text) else {
        return Ok(Comparison::LeftOut("settings that change on the way"));
    };
    // The same text for both, with the settings where each looks for them.
    let options = Options { flags: Vec::new(), ..Options::default() };
    let ours = match sim::script::run_text(&with_settings(&text, &flags), &options) {
        Ok(()) => true,
        Err(failure) if failure.kind == Kind::Failed => false,
        Err(_) => return Ok(Comparison::LeftOut("not supported by our runner")),
    };
    let (theirs, said) = run_packetdrill(packetdrill, library, &text, &flags)?;
    if let Some((_, why)) = REFUSALS.iter().find(|(words, _)| said.contains(words)) {
        return Ok(Comparison::LeftOut(why));
    }
    Ok(match (ours, theirs) {
        (a, b) if a == b => Comparison::Agree,
        (true, _) => Comparison::Differ(format!("packetdrill alone fails: {said}")),
        (false, _) => Comparison::Differ("packetdrill alone passes".to_string()),
    })
}

/// Whether SYNs with two numbers arrive, and the stack answers the second with a SYN of its own.
fn begins_again(text: &str) -> bool {
    let Ok(script) = sim::script::parse(text, &Options::default()) else { return false };
    let syns = script.events.iter().filter_map(|event| match &event.action {
        Action::Arrives(packet) if packet.flags.has(Flags::SYN) => Some(packet.seq),
        _ => None,
    });
    let answers = script.events.iter().filter(|event| match &event.action {
        Action::Leaves(packet) => packet.flags.has(Flags::SYN),
        _ => false,
    });
    let numbers: BTreeSet<u32> = syns.collect();
    numbers.len() > 1 && answers.count() > 1
}

/// The script without commands and code, and its settings; `None` when they change on the way.
fn for_packetdrill(text: &str) -> Option<(String, Vec<String>)> {
    let script = sim::script::parse(text, &Options::default()).ok()?;
    let mut flags = Vec::new();
    let leading = script.events.iter().take_while(|e| matches!(e.action, Action::Shell(_))).count();
    for (index, event) in script.events.iter().enumerate() {
        let Action::Shell(commands) = &event.action else { continue };
        let settings = commands.split_whitespace().filter(|word| word.contains('='));
        flags.extend(settings.map(str::to_string));
        if index >= leading && commands.contains('=') {
            return None;
        }
    }
    for (name, value, _) in &script.options {
        if name == "mtu" {
            flags.push(format!("mtu={value}"));
        }
    }
    let text = replaced(&replaced(text, "`", "`"), "%{", "}%");
    Some((text, flags))
}

/// Everything between the two marks becomes the command `true`.
fn replaced(text: &str, open: &str, close: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(open) {
        let Some(length) = rest[at + open.len()..].find(close) else { break };
        result.push_str(&rest[..at]);
        result.push_str("`true`");
        rest = &rest[at + open.len() + length + close.len()..];
    }
    result + rest
}

/// Settings as our runner reads them.
fn with_settings(text: &str, flags: &[String]) -> String {
    let settings: Vec<&str> =
        flags.iter().map(String::as_str).filter(|flag| !flag.starts_with("mtu=")).collect();
    if settings.is_empty() {
        return text.to_string();
    }
    // Options must come first, so the settings go where the first command stands.
    let command = format!("`sysctl -q {}`", settings.join(" "));
    text.replacen("`true`", &command, 1)
}

/// Whether packetdrill lets it pass, and its last line if not.
fn run_packetdrill(
    packetdrill: &Path,
    library: &Path,
    text: &str,
    flags: &[String],
) -> std::io::Result<(bool, String)> {
    let directory = std::env::temp_dir().join(format!("estab-witness-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let (script, output) = (directory.join("script.pkt"), directory.join("output"));
    std::fs::File::create(&script)?.write_all(text.as_bytes())?;
    let said = std::fs::File::create(&output)?;
    let mut child = Command::new(packetdrill)
        .arg(format!("--so_filename={}", library.display()))
        .arg(format!("--so_flags={}", flags.join(",")))
        .args(["--ip_version=ipv4", "--local_ip=192.168.0.1", "--remote_ip=192.0.2.1"])
        .args(["--gateway_ip=192.168.0.2", "--netmask_ip=255.255.0.0"])
        .arg(&script)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()?;
    let began = Instant::now();
    let passed = loop {
        if let Some(status) = child.try_wait()? {
            break status.success();
        }
        if began.elapsed() > TIME_LIMIT {
            child.kill()?;
            child.wait()?;
            break false;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let said = std::fs::read_to_string(&output)?;
    std::fs::remove_dir_all(&directory)?;
    Ok((passed, said.lines().map(str::trim).collect::<Vec<_>>().join(" | ")))
}

fn collect(place: &Path, into: &mut Vec<PathBuf>) {
    if place.is_file() {
        into.push(place.to_path_buf());
    } else if let Ok(entries) = std::fs::read_dir(place) {
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() || path.extension().is_some_and(|extension| extension == "pkt") {
                collect(&path, into);
            }
        }
    }
}
