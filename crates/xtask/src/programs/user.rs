//! The ordinary user as which everything runs, and the device that it may open.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::stage::run;
use crate::interop::needs::is_root;

/// Its name where we are root and make it. Servers ask for its name and its shell.
const NAME: &str = "estab-suite";

/// With a mount namespace of its own, in which the device may be opened by everybody, becomes the user.
/// The suite stands for the machines where that is so anyway. The crowd of 5,000 connections needs more
/// descriptors than many machines allow.
const BECOME: &str = r#"
    mount --make-rprivate /
    mount --bind "$ESTAB_TUN" /dev/net/tun
    exec prlimit --nofile=20000:20000 \
        setpriv --reuid=estab-suite --regid=estab-suite --clear-groups --no-new-privs -- env USER=estab-suite "$@""#;

/// A user without privileges: made where we are root, else ourselves.
pub(crate) struct User {
    /// The device node, where the user was made.
    device: Option<PathBuf>,
}

impl User {
    /// Makes the user where we are root, and in `directory` a device node that it may open.
    pub(crate) fn make(directory: &Path) -> Result<Self> {
        let user = Self { device: is_root()?.then(|| make(directory)).transpose()? };
        // Else all would be tried over the packet socket alone, which takes the device's place.
        let mut open = user.command(&["sh", "-c", ": <> /dev/net/tun"]);
        run(open.current_dir(directory)).context("the user cannot open the TUN device")?;
        Ok(user)
    }

    /// `words` as a command of the user.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(if self.device.is_some() { "unshare" } else { "env" });
        if let Some(device) = &self.device {
            command.args(["--mount", "sh", "-euc", BECOME, "sh"]).env("ESTAB_TUN", device);
        }
        command.args(words);
        command
    }

    /// Hands a directory with all that is in it to the user.
    pub(crate) fn own(&self, directory: &Path) -> Result<()> {
        if self.device.is_none() {
            return Ok(());
        }
        run(Command::new("chown").args(["-R", &format!("{NAME}:{NAME}")]).arg(directory))
    }
}

fn make(directory: &Path) -> Result<PathBuf> {
    let exists =
        Command::new("id").arg(NAME).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if !exists.success() {
        // A locked account may not log in, which a password that nobody can have allows.
        let words = ["--system", "--shell", "/bin/bash", "--password", "*", NAME];
        run(Command::new("useradd").args(words))?;
    }
    let dev = directory.join("dev");
    fs::create_dir(&dev)?;
    let device = dev.join("tun");
    run(Command::new("mknod").args(["-m", "666"]).arg(&device).args(["c", "10", "200"]))?;
    Ok(device)
}
