//! Small questions about an interface by its name (linux/sockios.h).

use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Updater, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::request_for;

const SIOCGIFMTU: u32 = 0x8921;
const SIOCSIFMTU: u32 = 0x8922;
const SIOCGIFHWADDR: u32 = 0x8927;

/// The MTU of the interface in bytes.
pub(crate) fn mtu(name: &str) -> io::Result<u32> {
    let mut request = request_for(name)?;
    let socket = any_socket()?;
    // SAFETY: SIOCGIFMTU reads and writes one `struct ifreq`.
    unsafe { ioctl(&socket, Updater::<SIOCGIFMTU, libc::ifreq>::new(&mut request))? };
    // SAFETY: SIOCGIFMTU filled this field of the union; any bits are a valid integer.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Sets the MTU of the interface in bytes.
pub(crate) fn set_mtu(name: &str, mtu: u16) -> io::Result<()> {
    let mut request = request_for(name)?;
    request.ifr_ifru.ifru_mtu = i32::from(mtu);
    let socket = any_socket()?;
    // SAFETY: SIOCSIFMTU reads one `struct ifreq`.
    unsafe { ioctl(&socket, Updater::<SIOCSIFMTU, libc::ifreq>::new(&mut request))? };
    Ok(())
}

/// The hardware address of the interface behind a TAP descriptor.
pub(crate) fn tap_address(device: BorrowedFd<'_>) -> io::Result<[u8; 6]> {
    let mut request = request_for("")?;
    // SAFETY: SIOCGIFHWADDR writes one `struct ifreq`; a TAP descriptor answers for its own.
    unsafe { ioctl(device, Updater::<SIOCGIFHWADDR, libc::ifreq>::new(&mut request))? };
    Ok(address_in(&request))
}

/// The hardware address of the interface `name`.
pub(crate) fn hardware_address(name: &str) -> io::Result<[u8; 6]> {
    let mut request = request_for(name)?;
    let socket = any_socket()?;
    // SAFETY: SIOCGIFHWADDR reads and writes one `struct ifreq`.
    unsafe { ioctl(&socket, Updater::<SIOCGIFHWADDR, libc::ifreq>::new(&mut request))? };
    Ok(address_in(&request))
}

/// The index of the interface `name`.
pub(crate) fn index(name: &str) -> io::Result<u32> {
    request_for(name)?;
    Ok(rustix::net::netdevice::name_to_index(any_socket()?, name)?)
}

/// The hardware address inside a `struct ifreq`.
fn address_in(request: &libc::ifreq) -> [u8; 6] {
    // SAFETY: SIOCGIFHWADDR filled this field of the union; any bytes are a valid address.
    let data = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
    std::array::from_fn(|i| data[i].to_ne_bytes()[0])
}

/// A socket for questions that any socket of the network namespace answers.
pub(crate) fn any_socket() -> io::Result<rustix::fd::OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}
