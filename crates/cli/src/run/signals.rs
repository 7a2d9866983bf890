//! Signals on their way to PROGRAM.
//!
//! Who sends one to `estab run` means PROGRAM. A terminal, and a shell's `kill %1`, send it to the whole
//! job, so PROGRAM has it already; then init has it as well, and so knows that it need not be sent
//! again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

/// Signals of one kind that come as close are one, as they are to a process that has not handled the first.
const ONE: Duration = Duration::from_millis(50);

/// The signals that came to this process, which none of them ends or stops. A handler does that, where
/// ignoring would be inherited by PROGRAM.
#[derive(Debug)]
pub(super) struct Survived {
    came: HashMap<i32, Came>,
}

#[derive(Debug, Default)]
struct Came {
    since_asked: Arc<AtomicBool>,
    /// When it was told last that it had.
    told: Option<Instant>,
}

impl Survived {
    /// Survives from now on.
    pub(super) fn from_now_on() -> std::io::Result<Self> {
        let mut came = HashMap::new();
        for signal in handed_on().chain(OF_THE_TERMINAL) {
            let of_signal = Came::default();
            signal_hook::flag::register(signal, Arc::clone(&of_signal.since_asked))?;
            came.insert(signal, of_signal);
        }
        Ok(Self { came })
    }

    /// Whether `signal` came to this process since it was asked last, or just before that: the front may be told
    /// of two where only one was seen here.
    pub(super) fn came(&mut self, signal: i32, now: Instant) -> bool {
        let Some(came) = self.came.get_mut(&signal) else { return false };
        if came.since_asked.swap(false, Ordering::SeqCst) {
            came.told = Some(now);
        }
        came.told.is_some_and(|told| now.saturating_duration_since(told) < ONE)
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
    fn signals_that_come_close_together_are_one() {
        let mut survived = Survived::from_now_on().unwrap();
        signal_hook::low_level::raise(SIGUSR2).unwrap();
        signal_hook::low_level::raise(SIGUSR2).unwrap();
        assert!(!is_pending(SIGUSR2));
        let now = Instant::now();
        assert!(survived.came(SIGUSR2, now) && !survived.came(SIGUSR1, now));
        assert!(survived.came(SIGUSR2, now + ONE / 2), "the second, which the front saw apart");
        assert!(!survived.came(SIGUSR2, now + ONE), "another, which came to the front alone");
    }
}
