//! The ioctls of `/dev/net/tun` (linux/if_tun.h).

use std::ffi::c_int;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Getter, IntegerSetter, Setter, Updater, ioctl, opcode};

use super::{name_in, request_for};

const TUNSETIFF: u32 = opcode::write::<c_int>(b'T', 202);
const TUNGETFEATURES: u32 = opcode::read::<u32>(b'T', 207);
const TUNSETOFFLOAD: u32 = opcode::write::<u32>(b'T', 208);
const TUNGETIFF: u32 = opcode::read::<u32>(b'T', 210);
const TUNGETSNDBUF: u32 = opcode::read::<c_int>(b'T', 211);
const TUNSETVNETHDRSZ: u32 = opcode::write::<c_int>(b'T', 216);

/// A TUN device (IP packets).
pub(crate) const IFF_TUN: u16 = 0x0001;
/// A TAP device (Ethernet frames).
pub(crate) const IFF_TAP: u16 = 0x0002;
/// The device may have several queues.
pub(crate) const IFF_MULTI_QUEUE: u16 = 0x0100;
/// No four bytes of packet information before each packet.
pub(crate) const IFF_NO_PI: u16 = 0x1000;
/// A virtio header before each packet.
pub(crate) const IFF_VNET_HDR: u16 = 0x4000;

/// Our side completes checksums.
pub(crate) const TUN_F_CSUM: u32 = 0x01;
/// Our side takes super-segments of TCP over IPv4.
pub(crate) const TUN_F_TSO4: u32 = 0x02;
/// Our side takes super-segments of TCP over IPv6.
pub(crate) const TUN_F_TSO6: u32 = 0x04;
/// Super-segments may carry CWR on their first segment.
pub(crate) const TUN_F_TSO_ECN: u32 = 0x08;
/// Our side takes messages of UDP over IPv4 that are several datagrams.
pub(crate) const TUN_F_USO4: u32 = 0x20;
/// The same over IPv6. The kernel grants both or none.
pub(crate) const TUN_F_USO6: u32 = 0x40;

/// Attaches the descriptor to the interface `name` (created when it does not exist; empty: the
/// kernel picks one) and returns its name.
pub(crate) fn attach(device: BorrowedFd<'_>, name: &str, flags: u16) -> io::Result<String> {
    let mut request = request_for(name)?;
    request.ifr_ifru.ifru_flags = libc::c_short::from_ne_bytes(flags.to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which `request` is.
    unsafe { ioctl(device, Updater::<TUNSETIFF, libc::ifreq>::new(&mut request))? };
    Ok(name_in(&request))
}

/// The name and flags of the interface that the descriptor is attached to.
pub(crate) fn attached(device: BorrowedFd<'_>) -> io::Result<(String, u16)> {
    let mut request = request_for("")?;
    // SAFETY: TUNGETIFF writes one `struct ifreq`, which `request` is.
    unsafe { ioctl(device, Updater::<TUNGETIFF, libc::ifreq>::new(&mut request))? };
    // SAFETY: TUNGETIFF filled the flags of the union; any bits are a valid integer.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok((name_in(&request), u16::from_ne_bytes(flags.to_ne_bytes())))
}

/// Which `IFF_` flags this kernel knows.
pub(crate) fn features(device: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: TUNGETFEATURES writes one unsigned int.
    Ok(unsafe { ioctl(device, Getter::<TUNGETFEATURES, u32>::new())? })
}

/// Says which offloads our side takes; the mask is of the device, not of the descriptor.
pub(crate) fn set_offload(device: BorrowedFd<'_>, mask: u32) -> io::Result<()> {
    let mask = usize::try_from(mask).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    unsafe { ioctl(device, IntegerSetter::<TUNSETOFFLOAD>::new_usize(mask))? };
    Ok(())
}

/// Sets the length of the virtio header in bytes.
pub(crate) fn set_vnet_header_length(device: BorrowedFd<'_>, length: c_int) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int.
    unsafe { ioctl(device, Setter::<TUNSETVNETHDRSZ, c_int>::new(length))? };
    Ok(())
}

/// How many bytes of frames may be on their way into the kernel before it takes no more. `c_int::MAX`
/// unless somebody has set it: no limit.
pub(crate) fn send_buffer(device: BorrowedFd<'_>) -> io::Result<c_int> {
    // SAFETY: TUNGETSNDBUF writes one int.
    Ok(unsafe { ioctl(device, Getter::<TUNGETSNDBUF, c_int>::new())? })
}
