//! `unshare(2)`, for the kinds of namespaces that it is sound for.

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::namespace::Namespace;

/// Moves the calling process into new namespaces of these kinds.
pub(crate) fn unshare(kinds: &[Namespace]) -> io::Result<()> {
    let mut flags = UnshareFlags::empty();
    for kind in kinds {
        flags |= match kind {
            Namespace::User => UnshareFlags::NEWUSER,
            Namespace::Network => UnshareFlags::NEWNET,
            Namespace::Mount => UnshareFlags::NEWNS,
            Namespace::Pid => UnshareFlags::NEWPID,
        };
    }
    // SAFETY: unshare is unsafe because of CLONE_FILES, which would hide descriptors from other
    // threads; none of the flags above touches memory or descriptors.
    unsafe { unshare_unsafe(flags)? };
    Ok(())
}
