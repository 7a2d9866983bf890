//! The programs that the cases need, and where Debian has them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};

/// Each program with its package.
const NEEDS: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("dnsmasq", "dnsmasq-base"),
    ("nc.openbsd", "netcat-openbsd"),
    ("nginx", "nginx"),
    ("nsenter", "util-linux"),
    ("nstat", "iproute2"),
    ("ping", "iputils-ping"),
    ("python3", "python3"),
    ("radvd", "radvd"),
    ("redis-benchmark", "redis-tools"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
    ("setpriv", "util-linux"),
    ("socat", "socat"),
    ("ss", "iproute2"),
    ("tcpdump", "tcpdump"),
    ("unshare", "util-linux"),
    ("wrk", "wrk"),
];

/// Where servers are, which ordinary users do not search.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Installs what is missing.
pub(super) fn install() -> Result<()> {
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    if !is_root()? {
        bail!("programs are missing: apt-get install {}", packages.join(" "));
    }
    println!("installing {}", packages.join(" "));
    if !apt(&["update"])? || !apt(&[&["install", "--no-install-recommends"], &*packages].concat())?
    {
        bail!("cannot install {}", packages.join(" "));
    }
    ensure!(missing().is_empty(), "installed, and still not found: {}", missing().join(" "));
    Ok(())
}

/// The search path of the cases: `first`, ours, and where servers are.
pub(super) fn search_path(first: Option<&Path>) -> OsString {
    let ours = env::var_os("PATH").unwrap_or_default();
    let paths = first.map(Path::to_owned).into_iter();
    let paths = paths.chain(env::split_paths(&ours)).chain(SYSTEM.map(PathBuf::from));
    env::join_paths(paths).unwrap_or(ours)
}

/// Whether we are root.
pub(super) fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// The packages of the programs that are not there.
fn missing() -> Vec<&'static str> {
    let path = search_path(None);
    let there = |program: &str| env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let mut packages: Vec<&str> =
        NEEDS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn apt(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .args(["--yes", "--quiet"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // The servers are for the labs: nothing is to be started on this machine.
        .env("RUNLEVEL", "1")
        .status()?;
    Ok(status.success())
}
