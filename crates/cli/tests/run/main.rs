//! `estab run`: processes, namespaces, signals and the terminal; in [`network`] what programs do with
//! their sockets. Nothing but this program, a shell and a C compiler takes part.

mod network;

use std::collections::HashSet;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const ESTAB: &str = env!("CARGO_BIN_EXE_estab");

/// Runs `estab run` with options, and a script of the shell as PROGRAM.
fn run(options: &[&str], script: &str) -> Output {
    start(options, script).wait_with_output().unwrap()
}

fn start(options: &[&str], script: &str) -> Child {
    Command::new(ESTAB)
        .arg("run")
        .args(options)
        .args(["--", "sh", "-c", script])
        .env("ESTAB", ESTAB)
        .env_remove("ESTAB_CONTROL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_status_is_that_of_the_program() {
    assert_eq!(run(&[], "exit 0").status.code(), Some(0));
    assert_eq!(run(&[], "exit 7").status.code(), Some(7));
    assert_eq!(run(&[], "kill -TERM $$").status.signal(), Some(15));
    assert_eq!(run(&[], "kill -KILL $$").status.signal(), Some(9));
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let wrong: [&[&str]; 8] = [
        &[],
        &["true"],
        &["--publish", "80", "--", "true"],
        &["--publish", "9000:1", "--publish", "9000:2", "--", "true"],
        &["--publish", "9000:1/sctp", "--", "true"],
        &["--map", "127.0.0.1:80", "--", "true"],
        &["--queues", "2", "--", "true"],
        &["--tap", "--packet", "--", "true"],
    ];
    for arguments in wrong {
        let output = Command::new(ESTAB).arg("run").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

/// As a shell has it.
#[test]
fn the_status_of_what_cannot_be_run() {
    let here = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("of-no-use");
    std::fs::write(&here, "#!/no/such/interpreter\n").unwrap();
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&here, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = |program: &str, status| {
        let output = Command::new(ESTAB)
            .args(["run", "--", program])
            .env_remove("ESTAB_CONTROL")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(status), "{program}: {}", stderr(&output));
        let last = stderr(&output).lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("estab: {program}: ")), "{}", stderr(&output));
    };
    refused("no-such-program", 127);
    refused("/no/such/program", 127);
    refused("", 127);
    refused("/", 126);
    mode(0o644);
    refused(&here.display().to_string(), 126);
    mode(0o755);
    refused(&here.display().to_string(), 126);
    std::fs::remove_file(here).unwrap();
}

#[test]
fn a_run_inside_of_a_run_is_refused() {
    let output = run(&[], "env -u ESTAB_CONTROL \"$ESTAB\" run -- true; echo $?");
    assert_eq!(stdout(&output), "2\n");
    assert!(stderr(&output).contains("another `estab run`"), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
}

/// The same user; the network is empty but for the stack's addresses, the processes are its own, and
/// who is asked for names is the kernel's side.
#[test]
fn the_world_of_a_program() {
    let own = Command::new("id").output().unwrap();
    // That of the supervisor is raised, and not the program's.
    let limit = Command::new("sh").args(["-c", "ulimit -n"]).output().unwrap();
    let script = "id; echo $$; readlink /proc/self | grep -c '^[0-9]'; cat /etc/resolv.conf
        grep -c : /proc/net/dev; grep NoNewPrivs /proc/self/status; ulimit -n";
    let output = run(&[], script);
    let expected = format!(
        "{}2\n1\nnameserver 10.77.0.1\nINTERFACES\nNoNewPrivs:\t1\n{}",
        stdout(&own),
        stdout(&limit)
    );
    let interfaces = stdout(&output).lines().rev().nth(2).unwrap_or_default();
    // The loopback, and a dummy or a pair.
    assert!(["1", "2", "3"].contains(&interfaces), "{}", stdout(&output));
    assert_eq!(
        stdout(&output).replace(&format!("\n{interfaces}\nNo"), "\nINTERFACES\nNo"),
        expected
    );
    let output = run(&["--dns", "10.0.0.53", "--dns", "fd77::53"], "cat /etc/resolv.conf");
    assert_eq!(stdout(&output), "nameserver 10.0.0.53\nnameserver fd77::53\n");
}

/// A server that asks for the name of its own address waits for nobody.
#[test]
fn the_stacks_addresses_have_the_machines_name() {
    let output = run(&[], "head -n 2 /etc/hosts; grep -c localhost /etc/hosts");
    let name = Command::new("uname").arg("-n").output().unwrap();
    let name = stdout(&name).trim().to_owned();
    let lines: Vec<_> = stdout(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines[..2], [format!("10.77.0.2\t{name}"), format!("fd77::2\t{name}")]);
    assert_ne!(lines[2], "0", "the machine's own lines follow");
}

#[test]
fn standard_input_output_and_other_descriptors_are_the_programs() {
    let mut child = Command::new("sh")
        .args([
            "-c",
            "exec \"$ESTAB\" run -- sh -c 'cat; cat <&5; echo >&2 to errors' 5<<END
from five
END",
        ])
        .env("ESTAB", ESTAB)
        .env_remove("ESTAB_CONTROL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"from input\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output), "from input\nfrom five\n");
    assert!(stderr(&output).ends_with("to errors\n"), "{}", stderr(&output));
}

#[test]
fn a_signal_reaches_the_program_once() {
    let script = "trap 'echo one' USR1; trap 'echo end; exit 9' TERM; echo up
        while :; do sleep 0.02; done";
    let mut child = start(&[], script);
    let mut lines = Lines::of(child.stdout.take().unwrap());
    assert_eq!(lines.next(), "up");
    let front = Pid::from_child(&child);
    kill_process(front, Signal::USR1).unwrap();
    assert_eq!(lines.next(), "one");
    kill_process(front, Signal::TERM).unwrap();
    assert_eq!(lines.next(), "end");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

/// To the whole job, as a terminal sends it.
#[test]
fn a_signal_to_the_job_is_not_sent_again() {
    use std::os::unix::process::CommandExt;
    let script = "trap 'echo one' USR1; trap 'exit 9' TERM; echo up; while :; do sleep 0.02; done";
    let mut child = Command::new(ESTAB)
        .args(["run", "--", "sh", "-c", script])
        .env_remove("ESTAB_CONTROL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = Lines::of(child.stdout.take().unwrap());
    assert_eq!(lines.next(), "up");
    for _ in 0..3 {
        rustix::process::kill_process_group(Pid::from_child(&child), Signal::USR1).unwrap();
        assert_eq!(lines.next(), "one");
    }
    rustix::process::kill_process_group(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(lines.rest(), "");
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let script = "trap '' HUP; exec \"$ESTAB\" run -- sh -c 'kill -HUP $$; echo alive'";
    let output = Command::new("sh")
        .args(["-c", script])
        .env("ESTAB", ESTAB)
        .env_remove("ESTAB_CONTROL")
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "alive\n", "{}", stderr(&output));
}

#[test]
fn a_daemon_outlives_its_parent_but_not_the_run() {
    let output = run(&[], "(setsid sh -c 'sleep 0.3; echo daemon' &) ; echo parent; exit 3");
    assert_eq!(stdout(&output), "parent\ndaemon\n");
    assert_eq!(output.status.code(), Some(3));
    let marker = format!("86401.{}", std::process::id());
    let mut child = start(&[], &format!("(setsid sleep {marker} &); exit 4"));
    Lines::of(child.stderr.take().unwrap()).until("what it started goes on");
    assert_eq!(processes_named("sleep", &marker), 1);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    wait_until("it is gone", || processes_with(&marker) == 0);
}

#[test]
fn nothing_outlives_a_run_of_which_any_part_is_killed() {
    for part in ["", "__runner", "__run-keeper", "__run-init"] {
        let marker = format!("8640{}.{}", part.len(), std::process::id());
        let mut child = start(&[], &format!("setsid sleep {marker} & sleep {marker}"));
        // The front and three of its processes name it, and so do the shell and the two sleepers.
        wait_until("all run", || processes_with(&marker) == 7);
        let namespaces = namespaces_of(process_of("__run-init", &marker));
        assert!(namespaces.len() >= 3, "{namespaces:?}"); // The administrator needs none of users.
        let victim = match part {
            "" => Pid::from_child(&child),
            part => process_of(part, &marker),
        };
        kill_process(victim, Signal::KILL).unwrap();
        child.wait().unwrap();
        wait_until(&format!("all are gone after {part:?}"), || processes_with(&marker) == 0);
        let is_there = |(id, _)| {
            Pid::from_raw(id).is_some_and(|id| !namespaces_of(id).is_disjoint(&namespaces))
        };
        wait_until("no namespace is left", || !processes().any(is_there));
    }
}

#[test]
fn an_ordinary_user_runs_it_with_a_device_and_without() {
    if !rustix::process::geteuid().is_root() {
        let output = run(&[], "id -u");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        return;
    }
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ordinary-user");
    std::fs::create_dir_all(&directory).unwrap();
    // Where everybody can read it.
    let program = std::env::temp_dir().join(format!("estab-{}", std::process::id()));
    std::fs::copy(ESTAB, &program).unwrap();
    for options in [&["--packet"][..], &[]] {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .arg("run")
            .args(options)
            .args(["--", "sh", "-c", "id -u; grep CapEff /proc/self/status; exit 6"])
            .env_remove("ESTAB_CONTROL")
            .current_dir("/")
            .output()
            .unwrap();
        assert_eq!(stdout(&output), "65534\nCapEff:\t0000000000000000\n", "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(6));
    }
    std::fs::remove_file(program).unwrap();
}

/// A shell with job control: Ctrl-Z stops the run and fg takes it up, Ctrl-C ends it, and the terminal is
/// the shell's again after a shell as the program.
#[test]
fn the_terminal_treats_a_run_as_it_treats_the_program() {
    let marker = format!("86409.{}", std::process::id());
    let (mut shell, mut keys, mut lines) = shell();
    let mut type_in = |text: &str| keys.write_all(text.as_bytes()).unwrap();
    let sleeps = || processes_named("sleep", &marker) == 1;
    type_in(&format!("\"$ESTAB\" run -- sleep {marker}\n"));
    wait_until("it runs", sleeps);
    type_in("\x1a");
    lines.until("Stopped");
    assert!(sleeps());
    type_in("fg\n");
    lines.until(&format!("run -- sleep {marker}"));
    std::thread::sleep(Duration::from_millis(300));
    type_in("\x03");
    wait_until("it has ended", || !sleeps());
    type_in("echo status $?\n");
    lines.until("status 130");
    type_in("\"$ESTAB\" run -- bash --norc --noediting -i\n");
    type_in("echo in$((1))side; exit 5\n");
    lines.until("in1side");
    type_in("echo status $? mine; exit\n");
    lines.until("status 5 mine");
    shell.wait().unwrap();
}

/// Who reads the terminal in the background is stopped by it, and goes on in the foreground.
#[test]
fn a_program_that_reads_in_the_background_waits() {
    let (mut shell, mut keys, mut lines) = shell();
    let mut type_in = |text: &str| keys.write_all(text.as_bytes()).unwrap();
    type_in("\"$ESTAB\" run -- sed -u s/there/here/ &\n");
    type_in("until jobs | grep Stopped; do sleep 0.02; done; fg; echo status $?\n");
    lines.until("Stopped  ");
    type_in("hello there\n");
    lines.until("hello here");
    type_in("\x04");
    lines.until("status 0");
    type_in("exit\n");
    shell.wait().unwrap();
}

/// A shell in a terminal: what is typed, and what is shown.
fn shell() -> (Child, std::process::ChildStdin, Lines) {
    let mut shell = Command::new("script")
        .args(["-qfec", "bash --norc --noediting -i", "/dev/null"])
        .env("ESTAB", ESTAB)
        .env("PS1", "ready ")
        .env_remove("ESTAB_CONTROL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let keys = shell.stdin.take().unwrap();
    let lines = Lines::of(shell.stdout.take().unwrap());
    (shell, keys, lines)
}

#[test]
fn a_lab_serves_a_program() {
    let output = Command::new(ESTAB)
        .args(["lab", "--", "sh", "-c", "\"$ESTAB\" run -- sh -c 'cat /etc/resolv.conf; exit 5'"])
        .env("ESTAB", ESTAB)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "nameserver 10.77.0.1\n", "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(5));
    let refused = Command::new(ESTAB)
        .args(["lab", "--", ESTAB, "run", "--loss", "3%", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--loss is for the stack"), "{}", stderr(&refused));
    let refused = Command::new(ESTAB)
        .args(["lab", "--", ESTAB, "run", "--peer", "true", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--peer is for a run with a stack"), "{}", stderr(&refused));
}

/// What a child prints, line by line as it comes.
pub(crate) struct Lines(std::sync::mpsc::Receiver<String>);

impl Lines {
    pub(crate) fn of(output: impl std::io::Read + Send + 'static) -> Self {
        use std::io::BufRead;
        let (sender, receiver) = std::sync::mpsc::channel();
        let output = std::io::BufReader::new(output);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    fn next(&mut self) -> String {
        self.0.recv_timeout(Duration::from_secs(20)).expect("a line")
    }

    /// Reads on to a line that contains `text`.
    pub(crate) fn until(&mut self, text: &str) {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line: &String| !line.contains(text)) {
            match self.0.recv_timeout(Duration::from_secs(20)) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with {text:?}: {error}: {seen:#?}"),
            }
        }
    }

    fn rest(&mut self) -> String {
        self.0.iter().collect::<Vec<_>>().join("\n")
    }
}

/// How many processes have `marker` in their command line.
fn processes_with(marker: &str) -> usize {
    processes().filter(|(_, line)| line.contains(marker)).count()
}

/// How many of them were started as `name`.
fn processes_named(name: &str, marker: &str) -> usize {
    processes().filter(|(_, line)| line.starts_with(name) && line.contains(marker)).count()
}

/// The namespaces of a process that are not this one's.
fn namespaces_of(process: Pid) -> HashSet<PathBuf> {
    let of = |process: &str, kind| std::fs::read_link(format!("/proc/{process}/ns/{kind}"));
    let id = process.as_raw_nonzero().to_string();
    let names = ["net", "user", "pid", "mnt"].into_iter().filter_map(|kind| {
        let theirs = of(&id, kind).ok()?;
        (theirs != of("self", kind).unwrap()).then_some(theirs)
    });
    names.collect()
}

fn process_of(role: &str, marker: &str) -> Pid {
    let mut found = processes().filter(|(_, line)| line.contains(role) && line.contains(marker));
    let (id, _) = found.next().expect("the role runs");
    Pid::from_raw(id).unwrap()
}

/// The processes that have not ended, with their command lines.
fn processes() -> impl Iterator<Item = (i32, String)> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(Result::ok).filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some((id, String::from_utf8_lossy(&line).into_owned()))
    })
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
