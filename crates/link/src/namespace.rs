//! Namespaces: a network of one's own, without privileges.
//!
//! A process that enters a new user namespace together with a new network namespace has every
//! capability over that network, and none over anything else. Devices made in it are gone with
//! its last process.

use std::io;

use crate::sys;

/// What of the process becomes private (namespaces(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Namespace {
    /// User and group ids, and what capabilities apply to.
    User,
    /// Interfaces, addresses, routes, ports, and the names of abstract Unix sockets.
    Network,
    /// Mounts.
    Mount,
    /// Process ids, of the children only: the first one is the init process of the namespace, and
    /// the kernel ends every other process in it when init ends.
    Pid,
}

/// Moves the calling process into new namespaces of these kinds, all at once or none.
///
/// # Errors
/// `PermissionDenied` where the kernel, its sysctls or a security module do not let this user
/// make namespaces; `InvalidInput` for [`Namespace::User`] in a process with more than one thread;
/// `StorageFull` when there are too many of them (`/proc/sys/user`).
pub fn unshare(kinds: &[Namespace]) -> io::Result<()> {
    sys::namespace::unshare(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_always_allowed() {
        assert!(unshare(&[]).is_ok());
    }

    #[test]
    fn a_user_namespace_needs_a_process_with_one_thread() {
        // The test harness runs each test on a thread of its own.
        let error = unshare(&[Namespace::User]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
