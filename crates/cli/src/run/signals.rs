//! Signals on their way to PROGRAM.
//!
//! Who sends one to `estab run` means PROGRAM. A terminal, and a shell's `kill %1`, send it to the whole
//! job, so PROGRAM has it already; then init has it as well, and so knows that it need not be sent
//! again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{
    SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};

/// What is handed on.
const HANDED_ON: [i32; 8] = [SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT];

/// What a terminal says to who reads or writes in the background. Not ours to obey: PROGRAM is
/// told as well.
const OF_THE_TERMINAL: [i32; 2] = [SIGTTIN, SIGTTOU];

/// Those that are handed on and that our parent did not let be ignored, as `nohup` does: PROGRAM
/// ignores them, too.
pub(super) fn handed_on() -> impl Iterator<Item = i32> {
    let ignored = ignored();
    HANDED_ON.into_iter().filter(move |signal| !is_in(*signal, ignored))
}

/// A terminal does not stop this process from now on.
pub(super) fn survive_the_terminal() -> std::io::Result<()> {
    for signal in OF_THE_TERMINAL {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    Ok(())
}

/// The signals that came to this process, which none of them ends or stops. A handler does that, where
/// ignoring would be inherited by PROGRAM.
#[derive(Debug)]
pub(super) struct Survived {
    came: HashMap<i32, Arc<AtomicBool>>,
}

impl Survived {
    /// Survives from now on.
    pub(super) fn from_now_on() -> std::io::Result<Self> {
        let mut came = HashMap::new();
        for signal in handed_on().chain(OF_THE_TERMINAL) {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            came.insert(signal, flag);
        }
        Ok(Self { came })
    }

    /// Whether `signal` came to this process since it was asked last.
    pub(super) fn came(&self, signal: i32) -> bool {
        self.came.get(&signal).is_some_and(|came| came.swap(false, Ordering::SeqCst))
    }
}

/// Whether `signal` is on its way to this process: on a busy machine a handler may run late.
pub(super) fn is_pending(signal: i32) -> bool {
    is_in(signal, set_of_this_process("ShdPnd:"))
}

/// The set of ignored signals, a bit each.
fn ignored() -> u64 {
    set_of_this_process("SigIgn:")
}

/// A line of /proc/self/status (proc_pid_status(5)).
fn set_of_this_process(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix(name));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default()
}

fn is_in(signal: i32, set: u64) -> bool {
    u32::try_from(signal - 1).is_ok_and(|bit| set.checked_shr(bit).unwrap_or_default() & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bit_of_a_signal() {
        assert!(is_in(1, 1) && is_in(SIGTERM, 1 << 14) && is_in(64, 1 << 63));
        assert!(!is_in(2, 1) && !is_in(0, u64::MAX) && !is_in(65, u64::MAX));
    }

    #[test]
    fn a_signal_that_came_is_told_once() {
        let survived = Survived::from_now_on().unwrap();
        signal_hook::low_level::raise(SIGUSR2).unwrap();
        assert!(!is_pending(SIGUSR2));
        assert!(survived.came(SIGUSR2) && !survived.came(SIGUSR2) && !survived.came(SIGUSR1));
    }
}
