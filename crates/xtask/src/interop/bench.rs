//! Where cases run: the built programs, a scratch directory, and a deadline that ends everything.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::needs::search_path;
use super::way::Way;
use crate::source;

/// Shell functions that every script may use.
const PRELUDE: &str = r#"
# Waits until a server of the kernel listens on port $1.
listening() { until ss -ltnH "sport = :$1" | grep -q .; do sleep 0.05; done; }
# Waits until a server of the stack listens on port $1.
serving() { until estab ss -l | grep -q ":$1 "; do sleep 0.05; done; }
# Waits until the stack has no connection left in any state.
settled() { until [ "$(estab ss | wc -l)" -le 1 ]; do sleep 0.2; done; }
# A request for the file $1 of the kernel's server.
get() { printf 'GET /%s HTTP/1.0\r\nHost: %s\r\n\r\n' "$1" "$kernel_url"; }
# What HTTP's answer $1 holds behind its head.
body() { LC_ALL=C sed '1,/^\r$/d' "$1"; }
"#;

/// How often a deadline or a file is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// What all cases share: the built programs, and a directory that is removed at the end.
pub(crate) struct Programs {
    estab: PathBuf,
    resp: PathBuf,
    any_port: PathBuf,
    poll_echo: PathBuf,
    udp_echo: PathBuf,
    echo_group: PathBuf,
    transparent_proxy: PathBuf,
    scratch: PathBuf,
}

impl Programs {
    /// Builds the programs and makes the directory.
    pub(crate) fn build() -> Result<Self> {
        Self::of(&[source::build(source::ESTAB)?, source::build(source::EXAMPLES)?].concat(), false)
    }

    /// The same without the examples, for who measures the program alone.
    pub(crate) fn build_estab() -> Result<Self> {
        Self::of(&source::build(source::ESTAB)?, true)
    }

    fn of(built: &[PathBuf], alone: bool) -> Result<Self> {
        let find = |name: &str| {
            let mut built = built.iter();
            match built.find(|path| path.file_name().is_some_and(|file| file == name)) {
                Some(found) => Ok(found.clone()),
                None if alone && name != "estab" => Ok(PathBuf::new()),
                None => bail!("cargo did not build {name}"),
            }
        };
        let scratch = std::env::temp_dir().join(format!("estab-interop-{}", std::process::id()));
        fs::create_dir(&scratch).with_context(|| scratch.display().to_string())?;
        Ok(Self {
            estab: find("estab")?,
            resp: find("resp")?,
            any_port: find("any_port")?,
            poll_echo: find("poll_echo")?,
            udp_echo: find("udp_echo")?,
            echo_group: find("echo_group")?,
            transparent_proxy: find("transparent_proxy")?,
            scratch,
        })
    }

    /// A place for one case: an empty directory, and a clock that runs from now on.
    pub(crate) fn bench(&self, name: &str, way: Way, limit: Duration) -> Result<Bench> {
        let here = self.scratch.join(name);
        if here.exists() {
            // Of a first try.
            fs::remove_dir_all(&here)?;
        }
        fs::create_dir(&here)?;
        Ok(Bench {
            estab: self.estab.clone(),
            resp: self.resp.clone(),
            any_port: self.any_port.clone(),
            poll_echo: self.poll_echo.clone(),
            udp_echo: self.udp_echo.clone(),
            echo_group: self.echo_group.clone(),
            transparent_proxy: self.transparent_proxy.clone(),
            way,
            here,
            deadline: Instant::now() + limit,
        })
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // What stays behind in /tmp is no failure of a case.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// The place where a case runs.
pub(crate) struct Bench {
    /// The program `estab`.
    pub(crate) estab: PathBuf,
    /// The example `resp`.
    pub(crate) resp: PathBuf,
    /// The example `any_port`.
    pub(crate) any_port: PathBuf,
    /// The example `poll_echo`.
    pub(crate) poll_echo: PathBuf,
    /// The example `udp_echo`.
    pub(crate) udp_echo: PathBuf,
    /// The example `echo_group`.
    pub(crate) echo_group: PathBuf,
    /// The example `transparent_proxy`.
    pub(crate) transparent_proxy: PathBuf,
    /// From the kernel to the stack.
    pub(crate) way: Way,
    /// The case's own directory.
    pub(crate) here: PathBuf,
    /// When the case has failed.
    deadline: Instant,
}

impl Bench {
    /// Puts a file into the case's directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        fs::write(self.here.join(name), content).with_context(|| name.to_owned())
    }

    /// Puts `length` bytes that look random, and are the same every time, into the case's directory.
    pub(crate) fn write_bytes(&self, name: &str, length: usize) -> Result<()> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ name.bytes().map(u64::from).sum::<u64>();
        let mut words = std::iter::repeat_with(|| {
            // xorshift64 (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let bytes: Vec<u8> =
            words.by_ref().take(length.div_ceil(8)).flatten().take(length).collect();
        self.write(name, bytes)
    }

    /// Runs `script` in a lab and demands success.
    pub(crate) fn lab(&self, options: &[&str], script: &str) -> Result<Outcome> {
        self.finish(self.lab_command(options, script))?.success()
    }

    /// Starts `script` in a lab.
    pub(crate) fn start_lab(&self, options: &[&str], script: &str) -> Result<Running<'_>> {
        self.start(self.lab_command(options, script))
    }

    /// A command in the case's directory that finds our programs.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.here).env("PATH", search_path(self.estab.parent()));
        command
    }

    /// The same for a script, with the way's variables and the prelude before it.
    pub(crate) fn script(&self, mut runner: Command, script: &str) -> Command {
        let variables = self.way.variables();
        runner.args(["sh", "-euc"]).arg(format!("{variables}{PRELUDE}\n{script}"));
        runner
    }

    /// Runs `command` to its end, at most until the case's deadline.
    pub(crate) fn finish(&self, command: Command) -> Result<Outcome> {
        self.start(command)?.finish()
    }

    fn lab_command(&self, options: &[&str], script: &str) -> Command {
        let mut lab = self.command(&self.estab);
        lab.arg("lab").args(self.way.options()).args(options).arg("--");
        self.script(lab, script)
    }

    /// Starts `command`.
    pub(crate) fn start(&self, mut command: Command) -> Result<Running<'_>> {
        // Files, because a pipe would stay open as long as anybody holds its other end.
        let (out, err) = (self.here.join("stdout"), self.here.join("stderr"));
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let name = command.get_program().to_owned();
        let child = command.spawn().with_context(|| name.display().to_string())?;
        Ok(Running { bench: self, child, out, err })
    }
}

/// A program that runs; dropped, it is killed.
pub(crate) struct Running<'a> {
    bench: &'a Bench,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running<'_> {
    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program has not ended; it is looked at while time is left.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        ensure!(Instant::now() < self.bench.deadline, "time is over: {}", self.last_words());
        Ok(self.child.try_wait()?.is_none())
    }

    /// Kills the program as nobody can prevent it (SIGKILL).
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Resident memory of the process in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_whitespace().next()).context("no VmRSS")?;
        Ok(number.parse()?)
    }

    /// Waits until the script has made the file `name`.
    pub(crate) fn wait_for_file(&mut self, name: &str) -> Result<()> {
        while !self.bench.here.join(name).exists() {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status} before it made {name}: {}", self.last_words());
            }
            self.glance(name)?;
        }
        Ok(())
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Result<Outcome> {
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            self.glance("its end")?;
        };
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Ok(Outcome {
            status: code.unwrap_or(-1),
            out: String::from_utf8_lossy(&fs::read(&self.out)?).into_owned(),
            err: String::from_utf8_lossy(&fs::read(&self.err)?).into_owned(),
        })
    }

    fn glance(&mut self, at: &str) -> Result<()> {
        if Instant::now() >= self.bench.deadline {
            self.kill()?;
            bail!("time is over waiting for {at}: {}", self.last_words());
        }
        sleep(GLANCE);
        Ok(())
    }

    fn last_words(&self) -> String {
        last_lines(&fs::read_to_string(&self.err).unwrap_or_default())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit status as a shell tells it.
    pub(crate) status: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Outcome {
    /// Itself, unless the status is not 0.
    pub(crate) fn success(self) -> Result<Self> {
        // `cmp` says on standard output what differs.
        let words = format!("{}\n{}", last_lines(&self.err), last_lines(&self.out));
        ensure!(self.status == 0, "exit status {}: {}", self.status, words.trim());
        Ok(self)
    }

    /// Fails when the output lacks one of `words`.
    pub(crate) fn prints(&self, words: &[&str]) -> Result<()> {
        for word in words {
            ensure!(
                self.out.contains(word),
                "the output has no '{word}': {}",
                last_lines(&self.out)
            );
        }
        Ok(())
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}
