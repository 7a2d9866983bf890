//! Who runs the programs, with which device, and the programs of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use super::user::User;
use crate::interop::bench::Bench;
use crate::interop::needs::search_path;
use crate::source::{self, root};

/// Where Debian has PostgreSQL's programs.
const POSTGRES: &str = "/usr/lib/postgresql";

/// A certificate authority, and the certificate of `www.estab.test`.
const CERTIFICATES: &str = "
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=a test authority' \\
        -keyout ca.key -out ca.pem
    openssl req -newkey rsa:2048 -nodes -subj /CN=www.estab.test -keyout www.key -out www.csr
    printf 'subjectAltName=DNS:www.estab.test' > names
    openssl x509 -req -in www.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \\
        -extfile names -out www.pem
    chmod 644 www.key";

/// What all cases share.
pub(crate) struct Stage {
    directory: PathBuf,
    user: User,
}

static STAGE: OnceLock<Stage> = OnceLock::new();

impl Stage {
    /// Makes the one stage, with all that the suite needs.
    pub(crate) fn prepare() -> Result<()> {
        Self::prepare_with(fill)
    }

    /// Makes it with the programs that measure, and the server that they measure.
    pub(crate) fn prepare_to_measure() -> Result<()> {
        Self::prepare_with(|directory| {
            compile(&["threaded-server.c"], &[], &directory.join("threaded-server"))?;
            let measure =
                |name| compile(&[&format!("measure/{name}.c")], &[], &directory.join(name));
            ["visits", "calls"].into_iter().try_for_each(measure)
        })
    }

    fn prepare_with(fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let place = std::env::temp_dir().join(format!("estab-stage-{}", std::process::id()));
        fs::create_dir(&place).with_context(|| place.display().to_string())?;
        let stage = Self::make(place.clone(), fill).inspect_err(|_| {
            let _ = fs::remove_dir_all(&place);
        })?;
        STAGE.set(stage).ok().context("the stage is made once")
    }

    /// The one stage, when it was [prepared](Self::prepare).
    pub(crate) fn get() -> Result<&'static Self> {
        STAGE.get().context("no stage was prepared")
    }

    /// Removes the one stage.
    pub(crate) fn remove() {
        if let Some(stage) = STAGE.get() {
            // What stays behind in /tmp is no failure of a case.
            let _ = fs::remove_dir_all(&stage.directory);
        }
    }

    /// Where the programs of our own are, and the certificates.
    pub(crate) fn bin(&self) -> &Path {
        &self.directory
    }

    /// `words` as a command of the ordinary user in the case's directory.
    pub(crate) fn as_user(&self, bench: &Bench, words: &[&str]) -> Result<Command> {
        self.user.own(&bench.here)?;
        let mut command = self.user.command(words);
        command.current_dir(&bench.here).env("HOME", &bench.here);
        command.env("PATH", search_path(Some(&self.directory)));
        Ok(command)
    }

    fn make(directory: PathBuf, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let user = User::make(&directory)?;
        let estab = source::build(source::ESTAB)?;
        // Not every directory of ours is one of the user's, too.
        fs::copy(estab.first().context("cargo did not build estab")?, directory.join("estab"))?;
        fill(&directory)?;
        Ok(Self { directory, user })
    }
}

/// Puts everything there that the suite's cases use.
fn fill(directory: &Path) -> Result<()> {
    for (target, options) in [("", &[][..]), ("-static", &["-static"][..])] {
        for name in ["forking-server", "threaded-server", "hello-server", "hello-client"] {
            compile(&[&format!("{name}.c")], options, &directory.join(format!("{name}{target}")))?;
        }
    }
    for name in ["bind-without-listen", "accept-in-child", "close-in-each-state"] {
        compile(&[&format!("{name}.c")], &[], &directory.join(name))?;
    }
    for name in ["fork-storm", "under-signals", "many-sockets", "flood"] {
        compile(&[&format!("robust/{name}.c")], &[], &directory.join(name))?;
    }
    for name in ["web.js", "crowd.py", "ask.py", "get.py"] {
        fs::copy(programs().join(name), directory.join(name))?;
    }
    build_others(directory)?;
    if let Some(postgres) = newest(POSTGRES) {
        for name in ["postgres", "initdb", "pgbench", "psql"] {
            std::os::unix::fs::symlink(postgres.join("bin").join(name), directory.join(name))?;
        }
    }
    run(Command::new("sh").args(["-euc", CERTIFICATES]).current_dir(directory))
}

/// Our programs' sources.
pub(crate) fn programs() -> PathBuf {
    root().join("crates/intercept/tests/programs")
}

/// Compiles `sources`, whose names begin at the directory of our programs.
pub(crate) fn compile(sources: &[&str], options: &[&str], target: &Path) -> Result<()> {
    let mut cc = Command::new("cc");
    cc.args(["-D_GNU_SOURCE", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread"]);
    cc.args(options).arg("-o").arg(target).args(sources).current_dir(programs());
    run(&mut cc)
}

fn build_others(directory: &Path) -> Result<()> {
    let mut go = Command::new("go");
    // Without cgo the program is static, and asks name servers by itself.
    go.args(["build", "-o"]).arg(directory.join("web")).arg("web.go").current_dir(programs());
    run(go.env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOCACHE", directory.join("cache")))?;
    fs::remove_dir_all(directory.join("cache"))?;
    run(Command::new("javac").arg("-d").arg(directory).arg("Web.java").current_dir(programs()))
}

/// The directory with the highest name in `directory`.
fn newest(directory: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?;
    entries.filter_map(|entry| Some(entry.ok()?.path())).max()
}

/// Runs a command that has to succeed.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}", words.trim());
    Ok(())
}
