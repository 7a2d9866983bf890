//! Processes of a lab: what its init and its front ask of the kernel.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::process::{Pid, getpgrp, getpid};
use rustix::termios::tcsetpgrp;

use crate::sys;

/// `SIGTTOU`: somebody in the background writes to the terminal, or takes it.
const SIGTTOU: i32 = libc::SIGTTOU;

/// Sends `signal` to every other process of the process namespace whose init the caller is.
///
/// # Errors
/// `PermissionDenied` when the caller is not process 1, and would so reach the whole machine;
/// `InvalidInput` when there is no such signal; an error without a kind of its own when there is nobody else.
pub fn signal_everybody(signal: i32) -> io::Result<()> {
    if getpid() != Pid::INIT {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    sys::process::signal_all(signal)
}

/// Makes the caller's process group the foreground of `terminal`, also from the background, where the
/// kernel would stop it for that.
///
/// # Errors
/// When it is not the terminal of the caller's session.
pub fn take_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    sys::process::while_blocked(SIGTTOU, || tcsetpgrp(terminal, getpgrp()))??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_init_signals_everybody() {
        let refused = signal_everybody(0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_signal_waits_until_it_is_unblocked() {
        let pending = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
            u64::from_str_radix(mask.trim(), 16).unwrap() >> (SIGTTOU - 1) & 1
        };
        assert_eq!(sys::process::while_blocked(SIGTTOU, pending).unwrap(), 1);
        assert_eq!(pending(), 0);
        assert!(sys::process::while_blocked(1000, pending).is_err());
    }

    #[test]
    fn what_is_no_terminal_is_not_taken() {
        use std::os::fd::AsFd;
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(take_terminal(file.as_fd()).is_err());
    }
}
