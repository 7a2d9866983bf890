//! The memory of another process (process_vm_readv(2)).

use std::io;

use rustix::process::Pid;

/// Reads `into.len()` bytes at `address` of process `pid`; gives how many could be read from the front.
///
/// # Errors
/// What process_vm_readv(2) says: no such process, no right to, no such address.
pub(crate) fn read(pid: Pid, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = there(address, into.len());
    // SAFETY: `local` is all of `into`, which nobody else has; the kernel checks `remote`, which is in
    // another address space.
    let count =
        unsafe { libc::process_vm_readv(pid.as_raw_nonzero().get(), &local, 1, &remote, 1, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes `from` at `address` of process `pid`; gives how many bytes could be written from the front.
///
/// # Errors
/// What process_vm_writev(2) says: no such process, no right to, no such address.
pub(crate) fn write(pid: Pid, address: u64, from: &[u8]) -> io::Result<usize> {
    write_all(pid, [(address, from)])
}

/// The same for several addresses, one after the other.
pub(crate) fn write_all<const N: usize>(pid: Pid, parts: [(u64, &[u8]); N]) -> io::Result<usize> {
    let local = parts.map(|(_, from)| libc::iovec {
        iov_base: from.as_ptr().cast_mut().cast(),
        iov_len: from.len(),
    });
    let remote = parts.map(|(address, from)| there(address, from.len()));
    let (pid, count) = (pid.as_raw_nonzero().get(), N as libc::c_ulong);
    // SAFETY: the kernel only reads what `local` leads to, which are all of the slices, and checks `remote`,
    // which is in another address space. Both have N entries.
    let count =
        unsafe { libc::process_vm_writev(pid, local.as_ptr(), count, remote.as_ptr(), count, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// A place in another address space; never followed here.
fn there(address: u64, length: usize) -> libc::iovec {
    let address = usize::try_from(address).unwrap_or(usize::MAX);
    libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: length }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_and_written_where_it_is() {
        let me = rustix::process::getpid();
        let theirs = std::hint::black_box([7_u8; 16]);
        let mut ours = [0; 16];
        assert_eq!(read(me, theirs.as_ptr() as u64, &mut ours).unwrap(), 16);
        assert_eq!(ours, theirs);
        let target = std::cell::UnsafeCell::new([0_u8; 4]);
        assert_eq!(write(me, target.get() as u64, b"abcd").unwrap(), 4);
        assert_eq!(&target.into_inner(), b"abcd");
    }

    #[test]
    fn an_address_that_is_none_is_an_error() {
        let me = rustix::process::getpid();
        let error = read(me, 8, &mut [0; 4]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        assert!(write(me, u64::MAX - 8, &[0; 4]).is_err());
    }
}
