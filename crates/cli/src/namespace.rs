//! A network of our own. It needs no privileges: without them, a user namespace gives them.

use std::fs;

pub(crate) use link::namespace::allow_ipv6;
use link::namespace::enter_lab;

/// Moves this process, which must have one thread still, into a new network namespace of which it
/// is the administrator, with the same user and group as before. The loopback interface is down
/// still.
///
/// Root stays root: in a user namespace that knows one user it could not write into the
/// directories of others, and programs like tcpdump and nginx could not become theirs.
///
/// Everything in it is gone with the last process in it.
pub(crate) fn enter() -> anyhow::Result<()> {
    Ok(enter_lab()?)
}

/// No IPv6 on the interface: router solicitations would only distract.
pub(crate) fn silence_ipv6(interface: &str) {
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1");
}
