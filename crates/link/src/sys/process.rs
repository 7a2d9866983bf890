//! Signals to all, and a signal mask: what no safe crate wraps.

use std::io;

/// Sends `signal` to every process that the caller may signal, but not to itself (kill(2) with -1).
pub(crate) fn signal_all(signal: i32) -> io::Result<()> {
    // SAFETY: kill takes two integers and touches no memory.
    let result = unsafe { libc::kill(-1, signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Carries `f` out while `signal` waits.
pub(crate) fn while_blocked<T>(signal: i32, f: impl FnOnce() -> T) -> io::Result<T> {
    // SAFETY: `sigset_t` is plain data; sigemptyset makes a set of it, and sigaddset adds to that.
    let mut blocked: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let added = unsafe {
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, signal)
    };
    if added != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above; it is filled in below before it is read.
    let mut before: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers lead to live sets for the time of the call.
    let changed =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before) };
    if changed != 0 {
        return Err(io::Error::from_raw_os_error(changed));
    }
    let result = f();
    // SAFETY: `before` was filled in by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    Ok(result)
}
