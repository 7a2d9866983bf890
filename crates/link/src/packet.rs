//! A packet socket as a link: for where there is no `/dev/net/tun`.
//!
//! Inside a namespace of its own anybody may make a pair of virtual Ethernet interfaces (veth).
//! The kernel keeps one end; a packet socket on the other sees every frame that the kernel sends,
//! and what it sends the kernel receives. It is a TAP in effect, virtio headers included.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use wire::ethernet::EthernetAddress;
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta, TransmitMeta};
use wire::time::Instant;

use crate::Link;
use crate::frame_device::FrameDevice;
use crate::sys::{interface, packet_socket as sys};

/// A link through a packet socket on an Ethernet interface.
///
/// The stack's address on the link is that of the interface with its last bit flipped, so that the
/// kernel, which also listens there, takes nothing for itself.
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
        Self::open_with(name, true)
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
        Self::open_with(name, false)
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn open_with(name: &str, offload: bool) -> io::Result<Self> {
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
        let device: OwnedFd = sys::open(index).map_err(explain)?;
        // The header also tells of checksums that the sender left open, so it is there always.
        sys::use_vnet_header(device.as_fd()).map_err(explain)?;
        let mut address = interface::hardware_address(name).map_err(explain)?;
        address[5] ^= 1;
        let mtu = interface::mtu(name).map_err(explain)?;
        let capabilities = Capabilities {
            medium: Medium::Ethernet(EthernetAddress(address)),
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            checksum: offload,
            segmentation: offload,
        };
        let frames = FrameDevice { device, vnet: true, capabilities };
        Ok(Self { frames, name: name.to_owned() })
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
        self.frames.receive(frame).map_err(|error| self.explain(error))
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
