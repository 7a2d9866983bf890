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

/// Where services listen that would look names up for PROGRAM, past the stack.
const HELPERS: [&str; 3] = ["/run/systemd/resolve", "/run/nscd", "/var/run/nscd"];

/// Gives this process, which has a mount namespace of its own, the /proc of its process namespace and
/// a resolv.conf that names `servers`.
pub(super) fn mount_private(servers: &[IpAddr]) -> anyhow::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("cannot make the mounts private")?;
    mount_names(servers)
        .with_context(|| format!("cannot give the program a {RESOLV_CONF} of its own"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Where a container does not allow it the outer one stays: /proc/self is right there, too.
    let _ = mount("proc", "/proc", "proc", flags, None);
    Ok(())
}

fn mount_names(servers: &[IpAddr]) -> io::Result<()> {
    let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
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
    unmount("/proc", UnmountFlags::DETACH)?;
    bound
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
