//! TUN and TAP: the kernel's own doors to user space.
//!
//! With offload (`IFF_VNET_HDR`) a frame may be a super-segment of up to 64 KiB, and checksums
//! between the kernel and us need not be computed at all. What the kernel refuses is done without:
//! [`Link::capabilities`] tells what was granted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use wire::ethernet::EthernetAddress;
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta, TransmitMeta};
use wire::time::Instant;

use crate::batch::{Batches, Batching};
use crate::frame_device::FrameDevice;
use crate::sys::{interface, tun_device as sys};
use crate::{Link, Netlink, check};

/// Where TUN and TAP devices come from.
const DEVICE: &str = "/dev/net/tun";

/// The length of the virtio header in bytes, as the kernel takes it.
const VNET_HEADER: i32 = wire::vnet::HEADER_LEN as i32;

/// The kernel cuts messages of UDP into datagrams, and gives us its own uncut (since Linux 6.2).
const USO: u32 = sys::TUN_F_USO4 | sys::TUN_F_USO6;

/// What kind of frames a device carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Layer {
    /// IP packets (`IFF_TUN`).
    #[default]
    Tun,
    /// Ethernet frames (`IFF_TAP`).
    Tap,
}

/// How to open a TUN or TAP device.
///
/// ```no_run
/// use link::{Layer, TunBuilder};
/// let tap = TunBuilder::new().name("tap0").layer(Layer::Tap).mtu(1500).open()?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct TunBuilder {
    /// The interface's name; empty: the kernel picks `tun0`, `tun1`, ...
    name: String,
    /// TUN or TAP.
    layer: Layer,
    /// The MTU to set in bytes; none: keep what the interface has.
    mtu: Option<u16>,
    /// Ask for checksum and segmentation offload.
    offload: bool,
    /// Our own hardware address on a TAP; none: the interface's with its last bit flipped.
    address: Option<EthernetAddress>,
    /// Several frames may go with one call.
    io_uring: bool,
}

impl Default for TunBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl TunBuilder {
    /// A TUN device with a name of the kernel's choice and offload where it is granted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: String::new(),
            layer: Layer::Tun,
            mtu: None,
            offload: true,
            address: None,
            io_uring: true,
        }
    }

    /// The interface's name, at most 15 bytes. A name that exists already is attached to.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether it carries IP packets or Ethernet frames.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layer = layer;
        self
    }

    /// Sets the interface's MTU, in bytes of IP packet. Without this it keeps the one it has.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Whether to ask for checksum and segmentation offload. It is on from the start.
    #[must_use]
    pub fn offload(mut self, offload: bool) -> Self {
        self.offload = offload;
        self
    }

    /// The stack's own hardware address on a TAP. Without this it is the kernel's own address on
    /// the interface with the last bit flipped.
    #[must_use]
    pub fn address(mut self, address: EthernetAddress) -> Self {
        self.address = Some(address);
        self
    }

    /// Whether the device may use io_uring to read and write several frames with one system call, while
    /// [it is asked to](Link::set_batching). It is on from the start, costs nothing before it is used and up
    /// to 2 MiB of buffers then; [`Link::batching`] tells when the system refuses it.
    #[must_use]
    pub fn io_uring(mut self, io_uring: bool) -> Self {
        self.io_uring = io_uring;
        self
    }

    /// Opens the device with one queue.
    ///
    /// # Errors
    /// `PermissionDenied` when `/dev/net/tun` may not be opened or the namespace's interfaces may
    /// not be changed, `NotFound` when there is no such device file, `ResourceBusy` when another
    /// program is attached to the interface, `InvalidInput` when the name is too long, or belongs
    /// to an interface of another kind. The message says what to do.
    pub fn open(&self) -> io::Result<Tun> {
        self.attach(open_device()?, 0)
    }

    /// Opens the device with `count` queues. The kernel spreads flows over them: a flow's frames
    /// come from the queue that wrote to it last, which is a hint and no promise.
    ///
    /// # Errors
    /// As [`TunBuilder::open`], and `InvalidInput` when `count` is zero or more than 256.
    pub fn open_queues(&self, count: usize) -> io::Result<Vec<Tun>> {
        if !(1..=256).contains(&count) {
            return Err(check::invalid(format!("{count} queues: a device has 1 to 256")));
        }
        let flags = if count > 1 { sys::IFF_MULTI_QUEUE } else { 0 };
        let first = self.attach(open_device()?, flags)?;
        let rest = TunBuilder { name: first.name.clone(), ..self.clone() };
        let mut queues = vec![first];
        while queues.len() < count {
            queues.push(rest.attach(open_device()?, flags)?);
        }
        Ok(queues)
    }

    /// Opens one more queue of a device that has several, or the first queue of one that is to have
    /// several. The kernel spreads flows anew over all of them.
    ///
    /// # Errors
    /// As [`TunBuilder::open`], and `InvalidInput` when the interface is there and was made for one
    /// queue.
    pub fn open_queue(&self) -> io::Result<Tun> {
        self.attach(open_device()?, sys::IFF_MULTI_QUEUE)
    }

    /// Takes a descriptor that is attached to an interface already, for instance one that a more
    /// privileged program opened. Its layer is asked from the kernel.
    ///
    /// An interface in another network namespace does not tell its MTU here: give it with
    /// [`TunBuilder::mtu`], which then only believes you instead of setting it.
    ///
    /// # Errors
    /// `InvalidInput` when the descriptor is not an attached TUN or TAP without packet information
    /// (`IFF_NO_PI`), or when its MTU is neither given nor to be found.
    pub fn adopt(&self, device: OwnedFd) -> io::Result<Tun> {
        let (name, _) = sys::attached(device.as_fd()).map_err(|error| {
            check::invalid(format!("the descriptor is not attached to a TUN or TAP: {error}"))
        })?;
        // An interface of another namespace tells nothing here: its opener is believed.
        let prefixed = Netlink::open()?.has_packet_information(&name).unwrap_or_default();
        if prefixed == Some(true) {
            return Err(check::invalid(format!(
                "{name} was opened with packet information: open it with IFF_NO_PI"
            )));
        }
        rustix::io::ioctl_fionbio(&device, true)?;
        let mtu = match self.mtu {
            Some(mtu) => mtu,
            None => mtu_of(&name).map_err(|error| {
                check::invalid(format!("{name}: its MTU is not known here ({error}): give it"))
            })?,
        };
        self.finish(device, mtu)
    }

    fn attach(&self, device: OwnedFd, extra: u16) -> io::Result<Tun> {
        let layer = match self.layer {
            Layer::Tun => sys::IFF_TUN,
            Layer::Tap => sys::IFF_TAP,
        };
        let known = sys::features(device.as_fd())?;
        let vnet = self.offload && known & u32::from(sys::IFF_VNET_HDR) != 0;
        let flags = layer | sys::IFF_NO_PI | extra | if vnet { sys::IFF_VNET_HDR } else { 0 };
        let name =
            sys::attach(device.as_fd(), &self.name, flags).map_err(|error| self.explain(&error))?;
        if let Some(mtu) = self.mtu {
            interface::set_mtu(&name, mtu).map_err(|error| {
                io::Error::new(error.kind(), format!("{name}: cannot set MTU {mtu}: {error}"))
            })?;
        }
        let mtu = mtu_of(&name)?;
        self.finish(device, mtu)
    }

    fn finish(&self, device: OwnedFd, mtu: u16) -> io::Result<Tun> {
        // Not what was asked for: a further queue gets the flags of the first.
        let (name, flags) = sys::attached(device.as_fd())?;
        let layer = if flags & sys::IFF_TAP != 0 { Layer::Tap } else { Layer::Tun };
        let vnet = flags & sys::IFF_VNET_HDR != 0;
        if vnet {
            sys::set_vnet_header_length(device.as_fd(), VNET_HEADER)?;
        }
        let granted = negotiate_offload(device.as_fd(), self.offload && vnet)?;
        let medium = match (layer, self.address) {
            (Layer::Tun, _) => Medium::Ip,
            (Layer::Tap, Some(address)) => Medium::Ethernet(address),
            (Layer::Tap, None) => {
                let mut address = interface::tap_address(device.as_fd())?;
                address[5] ^= 1;
                Medium::Ethernet(EthernetAddress(address))
            }
        };
        let capabilities = Capabilities {
            medium,
            mtu,
            checksum: granted & sys::TUN_F_CSUM != 0,
            segmentation: granted & sys::TUN_F_TSO4 != 0,
        };
        let batches = if self.io_uring { Batches::allowed() } else { Batches::default() };
        let cuts_datagrams = granted & USO == USO;
        let frames = FrameDevice { device, vnet, capabilities, cuts_datagrams };
        Ok(Tun { frames, batches, name })
    }

    fn explain(&self, error: &io::Error) -> io::Error {
        let name = if self.name.is_empty() { "a new interface" } else { &self.name };
        let what_to_do = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::PERM) => {
                "this needs the right to change interfaces (CAP_NET_ADMIN) in this network \
                 namespace: run inside `unshare -Urn`, or as root"
            }
            Some(Errno::BUSY) => "another program is attached to it: choose another name",
            Some(Errno::INVAL) => {
                "an interface with this name exists and is of another kind: choose another name"
            }
            _ => return io::Error::new(error.kind(), format!("{name}: {error}")),
        };
        io::Error::new(error.kind(), format!("{name}: {error}: {what_to_do}"))
    }
}

/// One queue of a TUN or TAP device. The interface goes away with its last queue, unless it was
/// made persistent.
#[derive(Debug)]
pub struct Tun {
    /// The queue and how frames look on it.
    frames: FrameDevice,
    /// Frames that go together.
    batches: Batches,
    /// The interface's name.
    name: String,
}

impl Tun {
    /// Takes a descriptor that is attached to an interface already, with offload if the one who
    /// attached it asked for virtio headers. [`TunBuilder::adopt`] has the choices.
    ///
    /// # Errors
    /// As [`TunBuilder::adopt`].
    pub fn from_fd(device: OwnedFd) -> io::Result<Tun> {
        TunBuilder::new().adopt(device)
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.frames.device.as_fd()
    }
}

impl Link for Tun {
    fn capabilities(&self) -> Capabilities {
        self.frames.capabilities
    }

    fn receive(&mut self, _now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        let batched = self.batches.receive(&self.frames, frame);
        let received = batched.unwrap_or_else(|| self.frames.receive(frame));
        received.map_err(|error| self.explain(error))
    }

    fn send(
        &mut self,
        _now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        let Self { frames, batches, .. } = self;
        let each = |header: &[u8], payload: &[&[u8]], meta: &TransmitMeta| {
            let outgoing = frames.prepare(header, payload, meta)?;
            if batches.send(frames, &outgoing, header, payload)? {
                return Ok(());
            }
            frames.write(&outgoing, header, payload)
        };
        let sent = frames.each_datagram(header, payload, meta, each);
        sent.map_err(|error| self.explain(error))
    }

    fn set_batching(&mut self, on: bool) {
        self.batches.set(&self.frames, on);
    }

    fn batching(&self) -> Batching {
        self.batches.state()
    }

    fn flush(&mut self, _now: Instant) -> io::Result<()> {
        self.batches.flush(&self.frames)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.batches.has_arrived().then_some(Instant::ZERO)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.frames.device.as_fd())
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        // What the device has no room for is lost with it.
        let _ = self.batches.flush(&self.frames);
    }
}

impl Tun {
    fn explain(&self, error: io::Error) -> io::Error {
        let (kind, why) = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::IO) => (io::ErrorKind::NetworkDown, "the interface is down"),
            Some(Errno::BADFD | Errno::NODEV) => {
                (io::ErrorKind::BrokenPipe, "the interface was deleted")
            }
            _ => return error,
        };
        io::Error::new(kind, format!("{}: {why}", self.name))
    }
}

/// Opens a descriptor that is not attached yet.
fn open_device() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(DEVICE, flags, Mode::empty()).map_err(|errno| {
        let what_to_do = match errno {
            Errno::ACCESS | Errno::PERM => {
                ": this user may not open it: ask for read and write access to the device file, \
                 or run as root"
            }
            Errno::NOENT | Errno::NODEV | Errno::NXIO => {
                ": this kernel offers no TUN: load the module `tun`, or in a container pass the \
                 device in"
            }
            _ => "",
        };
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("{DEVICE}: {error}{what_to_do}"))
    })
}

/// Asks for as much offload as there is, then for less; returns the mask that was granted.
fn negotiate_offload(device: BorrowedFd<'_>, wanted: bool) -> io::Result<u32> {
    const CSUM: u32 = sys::TUN_F_CSUM;
    const TSO: u32 = CSUM | sys::TUN_F_TSO4 | sys::TUN_F_TSO6;
    const ALL: u32 = TSO | sys::TUN_F_TSO_ECN;
    // The mask belongs to the interface and survives a detach. Whoever attaches without offload
    // must take it back, or gets super-segments that another program once asked for.
    let masks: &[u32] = if wanted { &[ALL | USO, ALL, TSO, CSUM, 0] } else { &[0] };
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    for mask in masks {
        match sys::set_offload(device, *mask) {
            Ok(()) => return Ok(*mask),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn mtu_of(name: &str) -> io::Result<u16> {
    // An IP packet is not longer than 65535 bytes, whatever the interface could carry.
    Ok(u16::try_from(interface::mtu(name)?).unwrap_or(u16::MAX))
}
