//! A network of our own. It needs no privileges: without them, a user namespace gives them.

use std::fs;
use std::io;

use anyhow::Context;
use link::namespace::{Namespace, unshare};
use rustix::process::{getegid, geteuid};
use rustix::thread::capabilities;

use crate::command::OF_INIT;

/// Moves this process, which must have one thread still, into a new network namespace of which it
/// is the administrator, with the same user and group as before. The loopback interface is down
/// still.
///
/// Root stays root: in a user namespace that knows one user it could not write into the
/// directories of others, and programs like tcpdump and nginx could not become theirs.
///
/// Everything in it is gone with the last process in it.
pub(crate) fn enter() -> anyhow::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    if is_administrator() {
        unshare(&[Namespace::Network]).map_err(|error| explain(&error))?;
    } else {
        unshare(&[Namespace::User, Namespace::Network]).map_err(|error| explain(&error))?;
        map_ids(uid.as_raw(), gid.as_raw())
            .context("cannot keep the user's id in the namespace")?;
    }
    open_the_namespace(gid.as_raw());
    Ok(())
}

/// Whether this process may make namespaces, and their interfaces, as it is.
fn is_administrator() -> bool {
    capabilities(None).is_ok_and(|ours| ours.effective.contains(OF_INIT))
}

/// The same ids inside as outside: a server that thinks it is root would try to become another.
fn map_ids(uid: u32, gid: u32) -> io::Result<()> {
    // Without this, an unprivileged process may not map its group (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Low ports and echo sockets for everybody inside. Where /proc/sys is read-only, as in some
/// containers, the namespace is still of use.
fn open_the_namespace(gid: u32) {
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", format!("{gid} {gid}"));
}

/// No IPv6 on the interface: router solicitations would only distract.
pub(crate) fn silence_ipv6(interface: &str) {
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1");
}

fn explain(error: &io::Error) -> anyhow::Error {
    let what_to_do = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "this user may not make namespaces: allow it (sysctl kernel.unprivileged_userns_clone=1, \
             or kernel.apparmor_restrict_unprivileged_userns=0; in a container its security \
             profile), or run as root"
        }
        io::ErrorKind::StorageFull => {
            "too many namespaces: raise user.max_user_namespaces and user.max_net_namespaces"
        }
        _ => "this kernel offers no user and network namespaces",
    };
    anyhow::anyhow!("cannot make a network namespace: {error}: {what_to_do}")
}
