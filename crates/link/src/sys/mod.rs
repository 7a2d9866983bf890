//! The kernel's edge: the only place of this crate with `unsafe`.
//!
//! Each function is one request to the kernel with typed arguments. Nothing here decides.
#![allow(unsafe_code, reason = "ioctls, socket options and rings that no safe crate wraps")]

pub(crate) mod gather;
pub(crate) mod interface;
pub(crate) mod namespace;
pub(crate) mod packet_socket;
pub(crate) mod process;
pub(crate) mod ring;
pub(crate) mod tun_device;

use std::io;

/// A `struct ifreq` for the interface `name`, the rest zero.
fn request_for(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: `ifreq` is plain data of the kernel; all zeros are a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // As the kernel's dev_valid_name; an empty name is for it to choose.
    let unfit = |byte: u8| byte == 0 || byte == b'/' || byte == b':' || byte.is_ascii_whitespace();
    if name.len() >= libc::IFNAMSIZ || matches!(name, "." | "..") || name.bytes().any(unfit) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "interface name {name:?}: use at most {} bytes, without spaces, '/' and ':'",
                libc::IFNAMSIZ - 1
            ),
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// The interface name inside a `struct ifreq`.
fn name_in(request: &libc::ifreq) -> String {
    let bytes: Vec<u8> =
        request.ifr_name.iter().map(|c| c.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_not_take() {
        for name in ["sixteen_letters_", "a/b", "a b", "a:b", "a\0", ".", ".."] {
            let refused = request_for(name).map(|_| ()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
        for name in ["", "fifteen_letters", "tun%d", "a.b"] {
            assert_eq!(name_in(&request_for(name).unwrap()), name);
        }
    }
}
