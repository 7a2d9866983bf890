//! A packet socket as a link: on any Ethernet interface, and for where there is no `/dev/net/tun`.
//!
//! Inside a namespace of its own anybody may make a pair of virtual Ethernet interfaces (veth).
//! The kernel keeps one end; a packet socket on the other sees every frame that the kernel sends,
//! and what it sends the kernel receives. It is a TAP in effect, virtio headers included.
//!
//! The kernel takes VLAN tags out of the frames that it hands up; they are put back, so that a
//! frame of another VLAN is not taken for one without a tag.
//!
//! Frames are read one by one, up to 64 KiB each. A ring that is shared with the kernel (`TPACKET_V3`) was
//! measured beside that on a veth, and is not used: it hands frames over in blocks, when one is full or its
//! time is over, which is a millisecond at the least, so a round trip takes 1,000 µs instead of some tens. That a
//! flood of small frames costs less then (at the receiver 58 ns a frame instead of 2,000 to 4,000) is of no
//! use to a stack whose peers wait for its answers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use wire::ethernet::{EthernetAddress, Tag};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta, TransmitMeta};
use wire::time::Instant;
use wire::vnet;

use crate::frame_device::FrameDevice;
use crate::sys::interface;
use crate::sys::packet_socket::{self as sys, Received};
use crate::{Link, check};

/// A link through a packet socket on an Ethernet interface.
///
/// The stack's address on the link is that of the interface with its last bit flipped, so that the
/// kernel, which also listens there, takes nothing for itself; [`PacketSocket::with_address`] has
/// it otherwise. What this machine sends through the interface is not seen.
#[derive(Debug)]
pub struct PacketSocket {
    /// The socket and how frames look on it.
    frames: FrameDevice,
    /// The interface's name.
    name: String,
}

impl PacketSocket {
    /// Opens a packet socket on the interface `name`, with checksum and segmentation offload.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW` in this network namespace; `NotFound` when there
    /// is no such interface.
    pub fn open(name: &str) -> io::Result<Self> {
        Self::open_with(name, true, None)
    }

    /// Opens a packet socket on the interface `name` as the station `address`. The interface hears
    /// what is for other stations only when that is not its own address; when it is, the kernel
    /// hears the same frames, so give it no IP address there.
    ///
    /// # Errors
    /// As [`PacketSocket::open`]; `InvalidInput` when `address` is no station's.
    pub fn with_address(name: &str, address: EthernetAddress) -> io::Result<Self> {
        if !address.is_unicast() {
            return Err(check::invalid(format!("{address} is not the address of one station")));
        }
        Self::open_with(name, true, Some(address))
    }

    /// Opens a packet socket on the veth interface `name` whose other end is `peer`, without
    /// offload: the peer's is switched off, so that only whole packets come.
    ///
    /// # Errors
    /// As [`PacketSocket::open`], and `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn without_offload(name: &str, peer: &str) -> io::Result<Self> {
        for command in [sys::ETHTOOL_STXCSUM, sys::ETHTOOL_STSO, sys::ETHTOOL_SGSO] {
            sys::switch_off(peer, command).map_err(|error| {
                io::Error::new(error.kind(), format!("{peer}: cannot switch offload off: {error}"))
            })?;
        }
        Self::open_with(name, false, None)
    }

    /// Takes a socket that another process opened, on an interface of its own network: `address` is that
    /// of the stack on it, `mtu` the interface's, and `offload` how it was opened.
    pub(crate) fn adopt(
        device: OwnedFd,
        name: &str,
        address: EthernetAddress,
        mtu: u16,
        offload: bool,
    ) -> Self {
        let capabilities = Capabilities {
            medium: Medium::Ethernet(address),
            mtu,
            checksum: offload,
            segmentation: offload,
        };
        let frames = FrameDevice { device, vnet: true, capabilities, cuts_datagrams: false };
        Self { frames, name: name.to_owned() }
    }

    /// The stack's address.
    pub(crate) fn address(&self) -> EthernetAddress {
        match self.frames.capabilities.medium {
            Medium::Ethernet(address) => address,
            _ => EthernetAddress([0; 6]),
        }
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn open_with(name: &str, offload: bool, wish: Option<EthernetAddress>) -> io::Result<Self> {
        let explain = |error: io::Error| {
            let what_to_do = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    ": a packet socket needs CAP_NET_RAW in this network namespace: run inside \
                     `unshare -Urn`, or as root"
                }
                _ => "",
            };
            io::Error::new(error.kind(), format!("{name}: {error}{what_to_do}"))
        };
        let index = interface::index(name).map_err(|error| no_such(name, &error))?;
        let own = EthernetAddress(interface::hardware_address(name).map_err(explain)?);
        let address = wish.unwrap_or_else(|| {
            let [a, b, c, d, e, last] = own.0;
            EthernetAddress([a, b, c, d, e, last ^ 1])
        });
        let device: OwnedFd = sys::open(index, address != own).map_err(explain)?;
        // The header also tells of checksums that the sender left open, so it is there always.
        sys::use_vnet_header(device.as_fd()).map_err(explain)?;
        let mtu = interface::mtu(name).map_err(explain)?;
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        Ok(Self::adopt(device, name, address, mtu, offload))
    }

    fn explain(&self, error: io::Error) -> io::Error {
        let (kind, why) = match error.raw_os_error().map(Errno::from_raw_os_error) {
            // The queue of the interface is full.
            Some(Errno::NOBUFS) => return io::ErrorKind::WouldBlock.into(),
            Some(Errno::NETDOWN) => (io::ErrorKind::NetworkDown, "the interface is down"),
            Some(Errno::NXIO | Errno::NODEV) => {
                (io::ErrorKind::BrokenPipe, "the interface was deleted")
            }
            _ => return error,
        };
        io::Error::new(kind, format!("{}: {why}", self.name))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.frames.device.as_fd()
    }
}

impl Link for PacketSocket {
    fn capabilities(&self) -> Capabilities {
        self.frames.capabilities
    }

    fn receive(&mut self, _now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        let buffer = frame.whole_buffer();
        let Some(Received { mut length, tag }) = sys::receive(self.frames.device.as_fd(), buffer)
            .map_err(|error| self.explain(error))?
        else {
            return Ok(None);
        };
        if let Some((kind, bits)) = tag {
            length = put_back(buffer, length, kind, bits);
        }
        self.frames.accept(frame, length).map(Some)
    }

    fn send(
        &mut self,
        _now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        self.frames.send(header, payload, meta).map_err(|error| self.explain(error))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.frames.device.as_fd())
    }
}

/// Puts a VLAN tag back between the addresses and the type of the frame that is `length` bytes of
/// `buffer`, its virtio header included. The length with it; a frame for which there is no room is
/// as it was.
fn put_back(buffer: &mut [u8], length: usize, kind: u16, bits: u16) -> usize {
    const PLACE: usize = vnet::HEADER_LEN + 12;
    let longer = length + Tag::LEN;
    if length >= PLACE && longer <= buffer.len() {
        buffer.copy_within(PLACE..length, PLACE + Tag::LEN);
        buffer[PLACE..PLACE + 2].copy_from_slice(&kind.to_be_bytes());
        buffer[PLACE + 2..PLACE + Tag::LEN].copy_from_slice(&bits.to_be_bytes());
    }
    longer
}

/// An interface that is not there, said once.
pub(crate) fn no_such(name: &str, error: &io::Error) -> io::Error {
    if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) {
        return io::Error::new(
            io::ErrorKind::NotFound,
            format!("{name}: there is no such interface in this network namespace"),
        );
    }
    io::Error::new(error.kind(), format!("{name}: {error}"))
}
