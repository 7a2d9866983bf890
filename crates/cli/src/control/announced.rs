//! Stacks that another terminal of the same user finds: each has a name in the machine's network.
//!
//! An abstract name of a Unix socket ends with its process, however that ends, and is not seen from the
//! networks of COMMAND and of PROGRAM. It has no permissions; but the kernel says who asks, and who
//! answers.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, geteuid};

use super::Place;

/// What the names of all stacks begin with.
const PREFIX: &str = "estab";

/// In /proc/net/unix, among the flags of a socket that listens.
const ACCEPTS: u32 = 1 << 16;

/// Whose names mean nothing in a namespace, where everybody else is this user, too.
const OVERFLOW: &str = "/proc/sys/kernel/overflowuid";

/// Listens for this user under a name with the number of `process`, which is what a user sees of a stack.
/// `None` where that cannot be, and a stack is none the worse for it; and for the user whose id stands for
/// all others in a namespace.
pub(crate) fn announce(process: Pid) -> Option<UnixListener> {
    let nobody = fs::read_to_string(OVERFLOW).ok().and_then(|text| text.trim().parse().ok());
    let user = geteuid().as_raw();
    if nobody == Some(user) {
        return None;
    }
    let name = format!("{PREFIX}/{user}/{}", process.as_raw_nonzero());
    let address = SocketAddr::from_abstract_name(name).ok()?;
    UnixListener::bind_addr(&address).ok()
}

/// Whether a name is one of those.
pub(super) fn is_announced(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether the other end is this user's.
pub(super) fn is_ours(stream: &UnixStream) -> bool {
    socket_peercred(stream).is_ok_and(|peer| peer.uid == geteuid())
}

/// A stack of this user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    /// Its command line, as far as it can be read.
    pub(super) command: String,
}

/// Every stack of this user in this network.
pub(super) fn found() -> Vec<Found> {
    let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let names = names_of(&sockets, geteuid().as_raw());
    let found = |name: String| {
        let process = name.rsplit('/').next().unwrap_or_default();
        let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        Found { command: command.trim_end().to_owned(), place: Place::Abstract(name) }
    };
    names.into_iter().map(found).collect()
}

/// The names under which somebody listens for `user`.
fn names_of(sockets: &str, user: u32) -> Vec<String> {
    let prefix = format!("@{PREFIX}/{user}/");
    let name = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, _, _, flags, _, _, _, name] = words[..] else { return None };
        let accepts = u32::from_str_radix(flags, 16).ok()? & ACCEPTS != 0;
        let is_it = accepts && name.strip_prefix(&prefix)?.parse::<u32>().is_ok();
        is_it.then(|| name.trim_start_matches('@').to_owned())
    };
    sockets.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_those_who_listen_for_a_user() {
        let sockets = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 10 @estab/1000/77
0000000000000000: 00000003 00000000 00000000 0001 03 11 @estab/1000/77
0000000000000000: 00000002 00000000 00010000 0001 01 12 @estab/1001/78
0000000000000000: 00000002 00000000 00010000 0001 01 13 @estab/1000/79
0000000000000000: 00000002 00000000 00010000 0001 01 14 @estab/1000/x
0000000000000000: 00000002 00000000 00010000 0001 01 15 /run/estab/1000/80
0000000000000000: 00000003 00000000 00000000 0001 03 16
";
        assert_eq!(names_of(sockets, 1000), ["estab/1000/77", "estab/1000/79"]);
    }

    #[test]
    fn who_connects_to_itself_is_the_same_user() {
        let (one, other) = UnixStream::pair().unwrap();
        assert!(is_ours(&one) && is_ours(&other));
    }
}
