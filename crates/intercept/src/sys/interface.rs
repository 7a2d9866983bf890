//! What the kernel says of interfaces (netdevice(7)).

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The length of `struct ifreq`: a name, and the largest of what is said of it.
pub(crate) const RECORD: usize = 40;

const _: () = assert!(size_of::<libc::ifreq>() == RECORD);

/// The requests that read and write a `struct ifreq` and nothing besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Question(u32);

impl Question {
    pub(crate) const NAME: Self = Self(0x8910);
    pub(crate) const FLAGS: Self = Self(0x8913);
    pub(crate) const ADDRESS: Self = Self(0x8915);
    pub(crate) const DESTINATION: Self = Self(0x8917);
    pub(crate) const BROADCAST: Self = Self(0x8919);
    pub(crate) const NETMASK: Self = Self(0x891b);
    pub(crate) const METRIC: Self = Self(0x891d);
    pub(crate) const MTU: Self = Self(0x8921);
    pub(crate) const HARDWARE: Self = Self(0x8927);
    pub(crate) const INDEX: Self = Self(0x8933);
    pub(crate) const QUEUE: Self = Self(0x8942);
    pub(crate) const MAP: Self = Self(0x8970);

    /// The number of the request.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

/// Asks one of the questions on `socket`. The answer is in `record`.
///
/// # Errors
/// What netdevice(7) says: no such interface, no address.
pub(crate) fn ask(
    socket: &impl AsFd,
    question: Question,
    record: &mut [u8; RECORD],
) -> io::Result<()> {
    let into: *mut c_void = record.as_mut_ptr().cast();
    // SAFETY: the requests of `Question` read and write no more than the `ifreq` that they are given.
    let done =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::Ioctl::from(question.0), into) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lists the interfaces that have an address of IPv4 into `into` (`SIOCGIFCONF`); how many bytes that
/// took. Without room it says how many it would take.
///
/// # Errors
/// What netdevice(7) says.
pub(crate) fn list(socket: &impl AsFd, into: Option<&mut [u8]>) -> io::Result<usize> {
    let (address, length) = into.map_or((std::ptr::null_mut(), 0), |into| {
        (into.as_mut_ptr().cast(), i32::try_from(into.len()).unwrap_or(i32::MAX))
    });
    let mut all = libc::ifconf {
        ifc_len: length,
        ifc_ifcu: libc::__c_anonymous_ifc_ifcu { ifcu_buf: address },
    };
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `ifc_len` bytes to where `ifcu_buf` leads, which is all of `into`, and
    // nothing to a null pointer.
    let done = unsafe { libc::ioctl(socket, libc::SIOCGIFCONF, &raw mut all) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(all.ifc_len).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_asked_for() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut record = [0; RECORD];
        record[..2].copy_from_slice(b"lo");
        ask(&socket, Question::INDEX, &mut record).unwrap();
        assert_eq!(record[16..20], 1_i32.to_ne_bytes());
        record[..4].copy_from_slice(b"none");
        let error = ask(&socket, Question::FLAGS, &mut record).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        let needed = list(&socket, None).unwrap();
        let mut all = vec![0; needed];
        assert!(list(&socket, Some(&mut all)).unwrap() >= RECORD);
        assert!(all.chunks_exact(RECORD).any(|record| record.starts_with(b"lo\0")));
    }
}
