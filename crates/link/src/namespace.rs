//! Namespaces: a network of one's own, without privileges.
//!
//! A process that enters a new user namespace together with a new network namespace has every
//! capability over that network, and none over anything else. Devices made in it are gone with
//! its last process.

use std::{fs, io};

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities,
};

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

/// Moves the calling process, which must have one thread still, into a network namespace of its
/// own of which it is the administrator, with the same user and group as before. The loopback
/// interface is down still.
///
/// Root stays root: in a user namespace that knows one user it could not write into the directories
/// of others, and programs like tcpdump and nginx could not become theirs.
///
/// # Errors
/// As [`unshare`]; what the system says when the ids cannot be kept.
pub fn enter_network() -> io::Result<()> {
    enter(&[Namespace::Network])
}

/// Gives the calling process, which must have one thread still, every capability over namespaces that it
/// makes from now on: in a user namespace with the same user and group, unless it has them already.
///
/// # Errors
/// As [`unshare`]; what the system says when the ids cannot be kept. The message says what to do.
pub fn become_administrator() -> io::Result<()> {
    enter(&[]).map_err(|error| explain(&error))
}

fn enter(kinds: &[Namespace]) -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    if is_administrator() {
        return unshare(kinds);
    }
    unshare(&[&[Namespace::User], kinds].concat())?;
    keep_ids(user.as_raw(), group.as_raw()).map_err(|error| {
        let what = format!("cannot keep the user's id in the namespace: {error}");
        io::Error::new(error.kind(), what)
    })
}

/// The same for a lab: everybody inside may use low ports and echo sockets, its kernel says each time that nobody is at
/// a port (else it falls silent after six times, and who asks a name server that is not there waits for seconds), and
/// the message of an error says what to do. Where /proc/sys is read-only, as in some containers, the network is still of use.
///
/// # Errors
/// As [`enter_network`].
pub fn enter_lab() -> io::Result<()> {
    let group = rustix::process::getegid().as_raw();
    enter_network().map_err(|error| explain(&error))?;
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", format!("{group} {group}"));
    for limit in ["/proc/sys/net/ipv4/icmp_ratelimit", "/proc/sys/net/ipv6/icmp/ratelimit"] {
        let _ = fs::write(limit, "0");
    }
    Ok(())
}

/// Lets the programs that this one starts, or becomes, configure the network and capture packets,
/// although they are not root's: as ambient capabilities (capabilities(7)).
///
/// # Errors
/// When this process does not have these capabilities itself.
pub fn keep_capabilities() -> io::Result<()> {
    let set = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    let now = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: set, ..now })?;
    for capability in set.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Whether this kernel has IPv6.
#[must_use]
pub fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

/// IPv6 on an interface, where it may be off from the start.
pub fn allow_ipv6(interface: &str) {
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "0");
}

/// No IPv6 on an interface: router solicitations would only distract.
pub(crate) fn forbid_ipv6(interface: &str) {
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1");
}

fn explain(error: &io::Error) -> io::Error {
    let what_to_do = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "this user may not make namespaces: allow it (sysctl kernel.unprivileged_userns_clone=1, \
             or kernel.apparmor_restrict_unprivileged_userns=0; in a container its security \
             profile), or run as root"
        }
        io::ErrorKind::StorageFull => {
            "too many namespaces: raise user.max_user_namespaces and user.max_net_namespaces"
        }
        io::ErrorKind::InvalidInput => {
            "the process has several threads, or the kernel offers no user and network namespaces"
        }
        _ => "this kernel offers no user and network namespaces",
    };
    let text = format!("cannot make a network namespace: {error}: {what_to_do}");
    io::Error::new(error.kind(), text)
}

/// Whether this process may make namespaces, and interfaces in them, as it is.
fn is_administrator() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    capabilities(None).is_ok_and(|ours| ours.effective.contains(needed))
}

/// The same ids inside as outside: a server that thinks it is root would try to become another.
fn keep_ids(user: u32, group: u32) -> io::Result<()> {
    // Without this, an unprivileged process may not map its group (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
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
