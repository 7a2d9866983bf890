//! The programs that the cases need, and where Debian has them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};

/// A program with its package.
pub(crate) type Need = (&'static str, &'static str);

/// What the cases of `cargo xtask interop` need.
pub(crate) const NEEDS: &[Need] = &[
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("dnsmasq", "dnsmasq-base"),
    ("nc.openbsd", "netcat-openbsd"),
    ("nft", "nftables"),
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

/// Installs what is missing of `needs`.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    let packages = missing(needs);
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
    let missing = missing(needs);
    ensure!(missing.is_empty(), "installed, and still not found: {}", missing.join(" "));
    Ok(())
}

/// The search path of the cases: `first`, ours, and where servers are.
pub(crate) fn search_path(first: Option<&Path>) -> OsString {
    let ours = env::var_os("PATH").unwrap_or_default();
    let paths = first.map(Path::to_owned).into_iter();
    let paths = paths.chain(env::split_paths(&ours)).chain(SYSTEM.map(PathBuf::from));
    env::join_paths(paths).unwrap_or(ours)
}

/// Whether we are root.
pub(crate) fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// The packages of the programs that are not there.
fn missing(needs: &[Need]) -> Vec<&'static str> {
    let path = search_path(None);
    let there = |program: &str| env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let mut packages: Vec<&str> =
        needs.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
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
