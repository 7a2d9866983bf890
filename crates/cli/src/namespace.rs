//! A network of our own. It needs no privileges: without them, a user namespace gives them.

use std::fs;
use std::io;

use link::namespace::enter_network;
use rustix::process::getegid;

/// Moves this process, which must have one thread still, into a new network namespace of which it
/// is the administrator, with the same user and group as before. The loopback interface is down
/// still.
///
/// Root stays root: in a user namespace that knows one user it could not write into the
/// directories of others, and programs like tcpdump and nginx could not become theirs.
///
/// Everything in it is gone with the last process in it.
pub(crate) fn enter() -> anyhow::Result<()> {
    enter_network().map_err(|error| explain(&error))?;
    open_the_namespace(getegid().as_raw());
    Ok(())
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

/// IPv6 on the interface again, for addresses that it is given.
pub(crate) fn allow_ipv6(interface: &str) {
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "0");
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
