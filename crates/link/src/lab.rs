//! A lab: a network of its own for a command, whose packets come to a program that stays outside.
//!
//! The program keeps its own network, and with it the kernel's sockets to the world; the command has
//! nothing but a device, whose other end the program gets. So a proxy can dial for the command, and
//! nothing loops. It needs no privileges where users may make namespaces.
//!
//! ```no_run
//! let command = std::env::args_os().skip(1);
//! let (device, mut inside) = link::Lab::new().any().command(command)?;
//! // A stack on `device` now answers for every address there is.
//! # drop(device);
//! let status = inside.wait()?;
//! # std::io::Result::Ok(())
//! ```
//!
//! # How
//! [`Lab::command`] starts this very program again, with the same arguments, and the copy, when it comes
//! to the same call, never returns from it: it enters the namespaces, opens the device, sends its
//! descriptor back over a Unix socket and becomes COMMAND. So the call belongs to the beginning of
//! `main`, before the program does what is to be done once, and before there are threads: a process with
//! several cannot enter a user namespace.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Signal, set_parent_process_death_signal};

use wire::ethernet::EthernetAddress;

use crate::{Layer, Link, Netlink, PacketSocket, Tun, TunBuilder, namespace};

/// Tells the copy of the program where to send the device.
const VARIABLE: &str = "ESTAB_LAB_SOCKET";

/// The interface inside.
const INTERFACE: &str = "estab0";

/// The far end of the pair that takes the place of a TUN device.
const FAR_END: &str = "estab1";

/// How long the copy may take to open the device.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the program looks whether the copy still runs.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A lab to be: its network is 10.77.0.0/24 and fd77::/64.
#[derive(Clone, Debug)]
pub struct Lab {
    layer: Layer,
    mtu: u16,
    offload: bool,
    any: bool,
    packet: bool,
}

/// COMMAND, ready or at work. Dropping it ends it.
#[derive(Debug)]
pub struct Inside {
    child: Child,
    /// Tells COMMAND to begin.
    stream: Option<UnixStream>,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// The kernel's addresses inside.
    pub const KERNEL: (Ipv4Addr, Ipv6Addr) =
        (Ipv4Addr::new(10, 77, 0, 1), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1));

    /// The addresses that are left for the stack.
    pub const STACK: (Ipv4Addr, Ipv6Addr) =
        (Ipv4Addr::new(10, 77, 0, 2), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2));

    /// A lab with a TUN device of an MTU of 1500, and offload where it is granted.
    #[must_use]
    pub fn new() -> Self {
        Self { layer: Layer::Tun, mtu: 1500, offload: true, any: false, packet: false }
    }

    /// The default route of both families leads to the device: the stack is the whole world.
    #[must_use]
    pub fn any(mut self) -> Self {
        self.any = true;
        self
    }

    /// Whether the device carries IP packets or Ethernet frames.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layer = layer;
        self
    }

    /// A pair of virtual Ethernet interfaces and a packet socket on one of them, as where
    /// `/dev/net/tun` cannot be opened.
    #[must_use]
    pub fn packet(mut self) -> Self {
        self.packet = true;
        self
    }

    /// The MTU of the device in bytes. Below 1280 there is no IPv6.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = mtu;
        self
    }

    /// Whether to ask for checksum and segmentation offload. It is on from the start.
    #[must_use]
    pub fn offload(mut self, offload: bool) -> Self {
        self.offload = offload;
        self
    }

    /// Makes the lab, and gives its device to this program. `command` begins with [`Inside::start`] or
    /// [`Inside::wait`], when somebody answers it.
    ///
    /// Call it first in `main`: see [how it works](self#how). The command ends when the thread ends that
    /// started it. Inside, `ESTAB_KERNEL` and `ESTAB_STACK` tell the addresses, `ESTAB_KERNEL6` and
    /// `ESTAB_STACK6` those of IPv6.
    ///
    /// Where `/dev/net/tun` cannot be opened the device is a [packet socket](Self::packet): it carries
    /// Ethernet frames whatever [`layer`](Self::layer) says, and nobody needs to know.
    ///
    /// # Errors
    /// `InvalidInput` without a command; `PermissionDenied` when this user may make no namespaces;
    /// `NotFound` when there is no such command. The message says what to do.
    pub fn command<S: Into<OsString>>(
        &self,
        command: impl IntoIterator<Item = S>,
    ) -> io::Result<(Box<dyn Link>, Inside)> {
        let command: Vec<OsString> = command.into_iter().map(Into::into).collect();
        let Some((program, arguments)) = command.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command for the lab"));
        };
        check(program)?;
        if let Some(name) = std::env::var_os(VARIABLE) {
            self.become_command(&name, program, arguments);
        }
        let name = format!("estab-lab-{}-{}", std::process::id(), random_name()?);
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        let child = Command::new("/proc/self/exe")
            .args(std::env::args_os().skip(1))
            .env(VARIABLE, &name)
            .spawn()
            .map_err(|error| explain("cannot start this program again", &error))?;
        let mut inside = Inside { child, stream: None };
        let stream = inside.connection(&listener)?;
        let (device, address) = receive_device(&stream)?;
        inside.stream = Some(stream);
        let device: Box<dyn Link> = match address {
            None => Box::new(TunBuilder::new().mtu(self.mtu).offload(self.offload).adopt(device)?),
            Some(address) => {
                Box::new(PacketSocket::adopt(device, FAR_END, address, self.mtu, self.offload))
            }
        };
        Ok((device, inside))
    }

    /// The rest of the copy's life.
    fn become_command(&self, name: &OsStr, program: &OsStr, arguments: &[OsString]) -> ! {
        let failed = |error: io::Error| -> ! {
            // Standard error is all that is left to tell it by.
            let _ = writeln!(io::stderr(), "lab: {error}");
            std::process::exit(2)
        };
        let stream = match call_home(name) {
            Ok(stream) => stream,
            Err(error) => failed(error),
        };
        if let Err(error) = self.open().and_then(|device| send_device(&stream, &device)) {
            match send_error(&stream, &error) {
                Ok(()) => std::process::exit(2),
                Err(_) => failed(error),
            }
        }
        if !is_told_to_begin(&stream) {
            std::process::exit(2);
        }
        drop(stream);
        let error = Command::new(program)
            .args(arguments)
            .env_remove(VARIABLE)
            .env("ESTAB_KERNEL", Self::KERNEL.0.to_string())
            .env("ESTAB_KERNEL6", Self::KERNEL.1.to_string())
            .env("ESTAB_STACK", Self::STACK.0.to_string())
            .env("ESTAB_STACK6", Self::STACK.1.to_string())
            .exec();
        failed(explain(&format!("cannot run {}", program.display()), &error))
    }

    /// Enters the namespaces and opens the device there.
    fn open(&self) -> io::Result<Opened> {
        namespace::enter_lab()?;
        let mut netlink = Netlink::open()?;
        let tun = TunBuilder::new().name(INTERFACE).layer(self.layer).mtu(self.mtu);
        let tun = if self.packet { None } else { Some(tun.offload(self.offload).open()) };
        let device = match tun {
            Some(Ok(tun)) => Opened::Tun(Box::new(tun)),
            Some(Err(error)) if !is_about_the_device_file(&error) => return Err(error),
            _ => Opened::Packet(self.open_veth(&mut netlink)?),
        };
        netlink.set_up("lo")?;
        let has_ipv6 = self.mtu >= wire::ipv6::MIN_MTU && namespace::has_ipv6();
        if has_ipv6 {
            netlink.silence_ipv6(INTERFACE)?;
            namespace::allow_ipv6(INTERFACE);
        }
        netlink.add_address(INTERFACE, IpAddr::V4(Self::KERNEL.0), 24)?;
        netlink.set_up(INTERFACE)?;
        if has_ipv6 {
            netlink.add_address(INTERFACE, IpAddr::V6(Self::KERNEL.1), 64)?;
        }
        if self.any {
            self.add_default_routes(&mut netlink, &device, has_ipv6)?;
        }
        namespace::keep_capabilities()?;
        Ok(device)
    }

    /// A pair whose one end the kernel has, and the socket on the other.
    fn open_veth(&self, netlink: &mut Netlink) -> io::Result<PacketSocket> {
        netlink.create_veth(INTERFACE, FAR_END)?;
        for end in [INTERFACE, FAR_END] {
            netlink.set_mtu(end, self.mtu)?;
        }
        // The kernel has nothing to say on the far end.
        namespace::forbid_ipv6(FAR_END);
        netlink.set_up(FAR_END)?;
        match self.offload {
            true => PacketSocket::open(FAR_END),
            false => PacketSocket::without_offload(FAR_END, INTERFACE),
        }
    }

    fn add_default_routes(
        &self,
        netlink: &mut Netlink,
        device: &Opened,
        has_ipv6: bool,
    ) -> io::Result<()> {
        // On Ethernet somebody must have a hardware address: the stack.
        let is_ethernet = self.layer == Layer::Tap || matches!(device, Opened::Packet(_));
        let through = |stack: IpAddr| is_ethernet.then_some(stack);
        let (v4, v6) = (IpAddr::V4(Self::STACK.0), IpAddr::V6(Self::STACK.1));
        netlink.add_route(Ipv4Addr::UNSPECIFIED.into(), 0, through(v4), INTERFACE)?;
        if has_ipv6 {
            netlink.add_route(Ipv6Addr::UNSPECIFIED.into(), 0, through(v6), INTERFACE)?;
        }
        Ok(())
    }
}

/// The device, where it was opened.
enum Opened {
    Tun(Box<Tun>),
    Packet(PacketSocket),
}

impl Inside {
    /// The process id of COMMAND.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets COMMAND begin, if it has not begun yet.
    ///
    /// # Errors
    /// `BrokenPipe` when it has ended before.
    pub fn start(&mut self) -> io::Result<()> {
        match self.stream.take() {
            Some(mut stream) => stream.write_all(&[BEGIN]),
            None => Ok(()),
        }
    }

    /// Lets COMMAND begin, if it has not begun yet, and waits for its end.
    ///
    /// # Errors
    /// As [`start`](Inside::start); what the system says when it cannot be waited for.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.start()?;
        self.child.wait()
    }

    /// The status of COMMAND, if it has ended.
    ///
    /// # Errors
    /// What the system says when it cannot be asked.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The copy's call, and nobody else's: abstract names are open to all.
    fn connection(&mut self, listener: &UnixListener) -> io::Result<UnixStream> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let mut wait = [PollFd::new(listener, PollFlags::IN)];
            if poll(&mut wait, Some(&GLANCE)).is_ok_and(|ready| ready > 0) {
                let (stream, _) = listener.accept()?;
                let peer = rustix::net::sockopt::socket_peercred(&stream)?;
                if u32::try_from(peer.pid.as_raw_nonzero().get()) == Ok(self.child.id()) {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    return Ok(stream);
                }
            }
            if let Some(status) = self.child.try_wait()? {
                let what = format!("the program's copy ended with {status} before it made a lab");
                return Err(io::Error::other(what));
            }
        }
        let why = "the program's copy made no lab: call Lab::command first in main";
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends with the program that started us, and tells it that we are here.
fn call_home(name: &OsStr) -> io::Result<UnixStream> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let address = SocketAddr::from_abstract_name(name.as_encoded_bytes())?;
    UnixStream::connect_addr(&address)
}

/// What is sent with a TUN device, with a packet socket before its hardware address, before an error's
/// kind and text, and to let COMMAND begin.
const DEVICE: u8 = b'd';
const PACKET: u8 = b'p';
const ERROR: u8 = b'e';
const BEGIN: u8 = b'b';

/// Whether the program wants COMMAND to begin; not when it drops the lab first.
fn is_told_to_begin(mut stream: &UnixStream) -> bool {
    let mut told = [0];
    stream.read_exact(&mut told).is_ok() && told == [BEGIN]
}

fn send_device(stream: &UnixStream, device: &Opened) -> io::Result<()> {
    let (descriptor, bytes) = match device {
        Opened::Tun(tun) => (tun.descriptor(), vec![DEVICE]),
        Opened::Packet(socket) => {
            let address = socket.address().0;
            (socket.descriptor(), [&[PACKET][..], &address].concat())
        }
    };
    let descriptors = [descriptor.ok_or(io::ErrorKind::Unsupported)?];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(stream, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn send_error(mut stream: &UnixStream, error: &io::Error) -> io::Result<()> {
    let kind = KINDS.iter().position(|kind| *kind == error.kind()).unwrap_or(KINDS.len());
    let kind = u8::try_from(kind).unwrap_or(u8::MAX);
    stream.write_all(&[&[ERROR, kind][..], error.to_string().as_bytes()].concat())
}

/// The kinds of errors that cross the socket; others become `Other`.
const KINDS: [io::ErrorKind; 5] = [
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::NotFound,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::StorageFull,
    io::ErrorKind::Unsupported,
];

/// The device, and the stack's hardware address when it is a packet socket.
fn receive_device(stream: &UnixStream) -> io::Result<(OwnedFd, Option<EthernetAddress>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 1024];
    let mut into = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(stream.as_fd(), &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message
            && let Some(device) = descriptors.next()
        {
            let address = match bytes.get(..received.bytes) {
                Some([PACKET, address @ ..]) => address.try_into().ok().map(EthernetAddress),
                _ => None,
            };
            return Ok((device, address));
        }
    }
    match bytes.get(..received.bytes) {
        Some([ERROR, kind, text @ ..]) => {
            let kind = KINDS.get(usize::from(*kind)).copied().unwrap_or(io::ErrorKind::Other);
            Err(io::Error::new(kind, String::from_utf8_lossy(text).into_owned()))
        }
        _ => Err(io::Error::other("the program's copy sent no device")),
    }
}

/// Whether the device file, and not something about the interface, is the obstacle.
fn is_about_the_device_file(error: &io::Error) -> bool {
    error.to_string().starts_with("/dev/net/tun")
}

/// Says early that a command cannot be run.
fn check(program: &OsStr) -> io::Result<()> {
    let path = Path::new(program);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = match path.components().count() {
        0 | 1 => std::env::split_paths(&paths).any(|directory| directory.join(path).is_file()),
        _ => path.is_file(),
    };
    if found {
        return Ok(());
    }
    let what = format!("{}: no such program: install it, or give its path", program.display());
    Err(io::Error::new(io::ErrorKind::NotFound, what))
}

/// A name that nobody guesses, so that nobody is there before us.
fn random_name() -> io::Result<String> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

fn explain(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
