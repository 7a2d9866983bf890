//! Packet sockets (packet(7)) and the offloads of an interface (linux/ethtool.h).

use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::ioctl::{Updater, ioctl};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::request_for;

const SIOCETHTOOL: u32 = 0x8946;
/// Checksums of what the interface sends are completed later (`ETHTOOL_STXCSUM`).
pub(crate) const ETHTOOL_STXCSUM: u32 = 0x17;
/// The interface takes super-segments of TCP (`ETHTOOL_STSO`).
pub(crate) const ETHTOOL_STSO: u32 = 0x1f;
/// The interface is given super-segments of any kind (`ETHTOOL_SGSO`).
pub(crate) const ETHTOOL_SGSO: u32 = 0x24;

/// How much the kernel is to keep until we read it. A super-segment takes 64 KiB of it and more, so that the
/// default of 208 KiB holds three; what comes besides is lost, and a sender that has just filled its window
/// repairs that with thousands of retransmissions.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Opens a packet socket for whole Ethernet frames on one interface; does not block. It sees
/// nothing of what this machine sends through the interface; when `promiscuous`, it sees what is
/// for other stations, too.
pub(crate) fn open(index: u32, promiscuous: bool) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Protocol 0: nothing is delivered before the socket is bound to the interface.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    set_option::<c_int>(socket.as_fd(), libc::PACKET_IGNORE_OUTGOING, &1)?;
    set_option::<c_int>(socket.as_fd(), libc::PACKET_AUXDATA, &1)?;
    if set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        // Who does not administer the machine gets at most `net.core.rmem_max`, which is twice the default.
        set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    }
    let index = c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    bind(socket.as_fd(), index)?;
    if !promiscuous {
        return Ok(socket);
    }
    let member = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: 1, // PACKET_MR_PROMISC
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_option(socket.as_fd(), libc::PACKET_ADD_MEMBERSHIP, &member)?;
    Ok(socket)
}

/// Puts a virtio header before each frame.
pub(crate) fn use_vnet_header(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<c_int>(socket, libc::PACKET_VNET_HDR, &1)
}

/// What was read.
pub(crate) struct Received {
    /// The length of the frame with its virtio header; more than the buffer when it is cut.
    pub(crate) length: usize,
    /// The VLAN tag that the kernel took out of the frame: its type and its bits.
    pub(crate) tag: Option<(u16, u16)>,
}

/// Reads one frame into `buffer`; `None` when there is none now.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    /// Room for one `tpacket_auxdata`, aligned as a `cmsghdr` must be.
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain data; all zeros are a valid value of it.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>();
    let length = loop {
        // SAFETY: the message leads to one slice of `buffer` and to `control`, with their lengths,
        // and both live until the call is over.
        let length =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_TRUNC) };
        let Ok(length) = usize::try_from(length) else {
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => continue,
                error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                error => return Err(error),
            }
        };
        break length;
    };
    Ok(Some(Received { length, tag: tag_in(&message) }))
}

/// The VLAN tag in the control messages that `recvmsg` filled in.
fn tag_in(message: &libc::msghdr) -> Option<(u16, u16)> {
    const VALID: u32 = libc::TP_STATUS_VLAN_VALID;
    const TYPE_VALID: u32 = libc::TP_STATUS_VLAN_TPID_VALID;
    // SAFETY: `message` is as recvmsg left it, and what it leads to lives in the caller.
    let first = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    if (first.cmsg_level, first.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: the kernel puts a whole `tpacket_auxdata` behind such a header, perhaps unaligned.
    let data = unsafe { libc::CMSG_DATA(first).cast::<libc::tpacket_auxdata>().read_unaligned() };
    let kind = if data.tp_status & TYPE_VALID != 0 { data.tp_vlan_tpid } else { 0x8100 };
    (data.tp_status & VALID != 0).then_some((kind, data.tp_vlan_tci))
}

/// Switches one offload of the interface `name` off.
pub(crate) fn switch_off(name: &str, command: u32) -> io::Result<()> {
    /// `struct ethtool_value`.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let mut value = Value { command, data: 0 };
    let mut request = request_for(name)?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let socket = super::interface::any_socket()?;
    // SAFETY: SIOCETHTOOL reads one `struct ifreq`, whose pointer leads to a live `ethtool_value`
    // for each of the commands above.
    unsafe { ioctl(&socket, Updater::<SIOCETHTOOL, libc::ifreq>::new(&mut request))? };
    Ok(())
}

fn bind(socket: BorrowedFd<'_>, index: c_int) -> io::Result<()> {
    const ETH_P_ALL: u16 = 3;
    let address = libc::sockaddr_ll {
        sll_family: libc::sa_family_t::try_from(libc::AF_PACKET)
            .map_err(|_| io::ErrorKind::InvalidInput)?,
        sll_protocol: ETH_P_ALL.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())
        .map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer leads to a whole `sockaddr_ll` of that length for the time of the call.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_option<T>(socket: BorrowedFd<'_>, option: c_int, value: &T) -> io::Result<()> {
    let length =
        libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let value: *const T = value;
    // SAFETY: the pointer leads to a whole `T` of that length; callers pass the type that the
    // option takes: an int, or `packet_mreq` for PACKET_ADD_MEMBERSHIP.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, value.cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
