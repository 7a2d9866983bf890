//! The keeper: makes the process namespace, whose first child is init, and waits for it.

use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::Context;
use link::namespace::{Namespace, unshare};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::signals::Survived;
use crate::command::shell_status;

/// `estab __run-keeper`: what it was told is for init.
pub(crate) fn keeper() -> anyhow::Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let _survived = Survived::from_now_on()?;
    unshare(&[Namespace::Pid]).context("cannot make a process namespace")?;
    let mut init: Child = Command::new("/proc/self/exe")
        .arg("__run-init")
        .args(std::env::args_os().skip(2))
        .stdin(Stdio::inherit())
        .spawn()
        .context("cannot start this program again (/proc/self/exe)")?;
    Ok(ExitCode::from(shell_status(init.wait()?)))
}
