//! Whom PROGRAM asks for names, and the processes that it sees: mounts of its own.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

/// Where libraries look for name servers (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The same where they are sent to a service of this machine: whom that one asks (systemd-resolved(8)).
const BEHIND_SERVICE: &str = "/run/systemd/resolve/resolv.conf";

/// Where libraries look for names before they ask anybody (hosts(5)).
const HOSTS: &str = "/etc/hosts";

/// Where services listen that would look names up for PROGRAM, past the stack.
const HELPERS: [&str; 3] = ["/run/systemd/resolve", "/run/nscd", "/var/run/nscd"];

/// Gives this process, which has a mount namespace of its own, the /proc of its process namespace, a
/// resolv.conf that names `servers` (the machine's own without any), and a hosts where this machine is at `addresses`.
pub(super) fn mount_private(
    servers: &[IpAddr],
    addresses: impl Iterator<Item = IpAddr>,
) -> anyhow::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("cannot make the mounts private")?;
    mount_names(servers, addresses)
        .with_context(|| format!("cannot give the program a {RESOLV_CONF} of its own"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Where a container does not allow it the outer one stays: /proc/self is right there, too.
    let _ = mount("proc", "/proc", "proc", flags, None);
    Ok(())
}

fn mount_names(servers: &[IpAddr], addresses: impl Iterator<Item = IpAddr>) -> io::Result<()> {
    let text = match servers {
        [] => of_machine(),
        servers => servers.iter().map(|server| format!("nameserver {server}\n")).collect(),
    };
    // It may be a link into a directory that is hidden below.
    let target = fs::canonicalize(RESOLV_CONF);
    // A place in memory for the file, where nothing of the machine is changed: /proc is mounted
    // over anyway.
    mount_memory(Path::new("/proc"))?;
    let file = Path::new("/proc/resolv.conf");
    let hidden = write(file, &text).and_then(|()| hide_helpers(&target, &text));
    let bound = hidden.and_then(|hidden| match target {
        _ if hidden => Ok(()),
        Ok(target) => Ok(mount_bind(file, target)?),
        // Without the file libraries ask 127.0.0.1, which is the stack itself.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    });
    let bound = bound.and_then(|()| mount_hosts(addresses));
    unmount("/proc", UnmountFlags::DETACH)?;
    bound
}

/// What the machine's own says, past a service that is hidden from PROGRAM.
fn of_machine() -> String {
    fs::read_to_string(BEHIND_SERVICE)
        .or_else(|_| fs::read_to_string(RESOLV_CONF))
        .unwrap_or_default()
}

/// Names the stack's addresses as this machine, as containers do: a server that asks for the name of the
/// address where it listens waits for no name server.
fn mount_hosts(addresses: impl Iterator<Item = IpAddr>) -> io::Result<()> {
    let known = match fs::read_to_string(HOSTS) {
        Ok(known) => known,
        // There is nothing to put another file over.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let ours: String = addresses.map(|address| format!("{address}\t{name}\n")).collect();
    let file = Path::new("/proc/hosts");
    write(file, &(ours + &known))?;
    Ok(mount_bind(file, fs::canonicalize(HOSTS)?)?)
}

/// Hides the services; true when `target` was in the directory of one, and is there again.
fn hide_helpers(target: &io::Result<PathBuf>, text: &str) -> io::Result<bool> {
    let mut again = false;
    for helper in HELPERS {
        let Ok(directory) = fs::canonicalize(helper) else { continue };
        mount_memory(&directory)?;
        if let Ok(target) = target
            && target.parent() == Some(&directory)
        {
            write(target, text)?;
            again = true;
        }
    }
    Ok(again)
}

fn mount_memory(directory: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("tmpfs", directory, "tmpfs", flags, Some(c"mode=755,size=64k"))?)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}
