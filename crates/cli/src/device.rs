//! Devices: opened, given their addresses, and made worse or captured as asked.

use std::net::IpAddr;
use std::num::NonZeroU64;

use anyhow::{Context, bail};
use link::netlink::Netlink;
use link::{Capture, CaptureOptions, PacketSocket, QueueCapture};
use link::{Impair, Impairment, Layer, Link, Loss, TunBuilder, Vlan};
use wire::ipv6::MIN_MTU;

use crate::arguments::Run;
use crate::impairment_options::Worse;
use crate::namespace::{allow_ipv6, silence_ipv6};
use crate::values::{Cidr, Cidr6};

/// The interface in a lab.
pub(crate) const NAME: &str = "estab0";

/// The far end of the pair that takes the place of a TUN device.
const FAR_END: &str = "estab1";

/// A demo of several chapters opens several devices: that there is no TUN is said once.
static SAY_ONCE: std::sync::Once = std::sync::Once::new();

/// What a device is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Ethernet frames instead of IP packets.
    pub(crate) layer: Layer,
    /// The largest IP packet in bytes; `None` keeps what the interface has.
    pub(crate) mtu: Option<u16>,
    /// Checksums and segmentation are left to the kernel.
    pub(crate) offload: bool,
    /// A veth pair and a packet socket, even where there is a TUN.
    pub(crate) packet: bool,
}

impl Wanted {
    fn builder(&self, name: &str) -> TunBuilder {
        let builder = TunBuilder::new().name(name).layer(self.layer).offload(self.offload);
        match self.mtu {
            Some(mtu) => builder.mtu(mtu),
            None => builder,
        }
    }
}

/// Opens the device of a namespace of our own, with its address, up; a veth pair where there is no
/// TUN.
pub(crate) fn open_in_namespace(
    name: &str,
    wanted: &Wanted,
    cidr: Cidr,
) -> anyhow::Result<Box<dyn Link>> {
    let mut queues = open_queues_in_namespace(name, wanted, 1, cidr)?;
    queues.pop().context("a device without a queue")
}

/// The same with several queues.
pub(crate) fn open_queues_in_namespace(
    name: &str,
    wanted: &Wanted,
    count: u16,
    cidr: Cidr,
) -> anyhow::Result<Vec<Box<dyn Link>>> {
    let mut netlink = Netlink::open()?;
    netlink.set_up("lo")?;
    let queues = match open_queues(name, wanted, count) {
        _ if wanted.packet && count > 1 => bail!("--packet has one queue: leave --queues out"),
        _ if wanted.packet => vec![open_veth(&mut netlink, name, wanted)?],
        Ok(queues) => queues,
        Err(error) if is_missing(&error) && count > 1 => {
            bail!("{error:#}; without a TUN device --queues cannot be more than 1")
        }
        Err(error) if is_missing(&error) => {
            SAY_ONCE.call_once(|| {
                anstream::eprintln!(
                    "estab: no TUN device for this user (/dev/net/tun): a veth pair and a packet \
                     socket take its place"
                );
            });
            vec![open_veth(&mut netlink, name, wanted)?]
        }
        Err(error) => return Err(error),
    };
    configure(&mut netlink, name, cidr)?;
    Ok(queues)
}

/// Opens or creates the TUN or TAP device `name`.
pub(crate) fn open_tun(name: &str, wanted: &Wanted) -> anyhow::Result<Box<dyn Link>> {
    Ok(Box::new(wanted.builder(name).open()?))
}

/// The same with several queues.
pub(crate) fn open_queues(
    name: &str,
    wanted: &Wanted,
    count: u16,
) -> anyhow::Result<Vec<Box<dyn Link>>> {
    let queues = wanted.builder(name).open_queues(count.into())?;
    Ok(queues.into_iter().map(|queue| Box::new(queue) as Box<dyn Link>).collect())
}

/// Takes a TUN or TAP device that the caller left open as descriptor `number`. Gives its name back
/// as well.
pub(crate) fn adopt(number: i32, wanted: &Wanted) -> anyhow::Result<(Box<dyn Link>, String)> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    // A copy of our own descriptor, by way of ourselves: a bare number is not to be trusted.
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty())?;
    let device = pidfd_getfd(ourselves, number, PidfdGetfdFlags::empty()).with_context(|| {
        format!("--fd {number}: no such open descriptor: pass it as {number}<>")
    })?;
    let mut builder = TunBuilder::new().offload(wanted.offload);
    if let Some(mtu) = wanted.mtu {
        builder = builder.mtu(mtu);
    }
    let device = builder.adopt(device)?;
    let name = device.name().to_owned();
    Ok((Box::new(device), name))
}

/// Gives the kernel's side of `name` its address, without IPv6, and brings it up.
pub(crate) fn configure(netlink: &mut Netlink, name: &str, cidr: Cidr) -> anyhow::Result<()> {
    silence_ipv6(name);
    match netlink.add_address(name, IpAddr::V4(cidr.address), cidr.prefix) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    netlink.set_up(name)?;
    Ok(())
}

/// Gives the kernel's side of `name`, which is up, an IPv6 address besides, that is of use at once
/// and asks for no routers. `None` where there can be none, which is said in a line; `wish`, which
/// the user asked for by name, must be possible.
pub(crate) fn configure_ipv6(
    netlink: &mut Netlink,
    name: &str,
    mtu: u16,
    wish: Option<Cidr6>,
) -> anyhow::Result<Option<Cidr6>> {
    let obstacle = if mtu < MIN_MTU {
        Some(format!("IPv6 needs an MTU of {MIN_MTU} bytes, and {name} has {mtu}"))
    } else if !std::path::Path::new("/proc/sys/net/ipv6").exists() {
        Some("this kernel has no IPv6".to_owned())
    } else {
        None
    };
    match (obstacle, wish) {
        (Some(obstacle), Some(cidr)) => bail!("{cidr} cannot be: {obstacle}"),
        (Some(obstacle), None) => {
            anstream::eprintln!("estab: IPv4 alone: {obstacle}");
            return Ok(None);
        }
        (None, _) => {}
    }
    let cidr = wish.unwrap_or(Cidr6::LAB);
    netlink.silence_ipv6(name)?;
    allow_ipv6(name);
    match netlink.add_address(name, IpAddr::V6(cidr.address), cidr.prefix) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    Ok(Some(cidr))
}

/// `queues` with the impairments and the capture that were asked for.
pub(crate) fn wrap(queues: Vec<Box<dyn Link>>, run: &Run) -> anyhow::Result<Vec<Box<dyn Link>>> {
    let both = run.both.worse();
    let inbound = run.inbound.worse().or(both);
    let outbound = run.outbound.worse().or(both);
    let queues = if inbound == Worse::default() && outbound == Worse::default() {
        queues
    } else {
        let seed = run.seed.unwrap_or_else(random_seed);
        let worse = |(seed, queue)| {
            let impaired = Impair::new(queue, impairment(outbound), impairment(inbound), seed);
            Box::new(impaired) as Box<dyn Link>
        };
        (seed..=u64::MAX).chain(0..).zip(queues).map(worse).collect()
    };
    let queues = match &run.pcap {
        None => queues,
        Some(path) => {
            let queues = QueueCapture::all(queues, capture_file(path)?, capture_options())?;
            queues.into_iter().map(|queue| Box::new(queue) as Box<dyn Link>).collect()
        }
    };
    let Some(id) = run.vlan else { return Ok(queues) };
    // Outermost, so that a capture shows the tags.
    let tag = |queue| Ok(Box::new(Vlan::new(queue, id)?) as Box<dyn Link>);
    queues.into_iter().map(tag).collect()
}

/// Writes what passes `link` to a pcapng file.
pub(crate) fn capture(
    link: Box<dyn Link>,
    path: &std::path::Path,
) -> anyhow::Result<Box<dyn Link>> {
    Ok(Box::new(Capture::new(link, capture_file(path)?, capture_options())?))
}

fn capture_file(path: &std::path::Path) -> anyhow::Result<std::fs::File> {
    std::fs::File::create(path).with_context(|| format!("{}: cannot write", path.display()))
}

fn capture_options() -> CaptureOptions {
    let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    CaptureOptions {
        // The stack counts from its start, which is about now.
        epoch: epoch.unwrap_or_default(),
        interface: NAME.into(),
        ..CaptureOptions::default()
    }
}

fn impairment(worse: Worse) -> Impairment {
    let mut impairment = Impairment::default();
    if let Some(loss) = worse.loss {
        impairment.loss = Loss::Random(loss.0);
    }
    impairment.delay = worse.delay.unwrap_or_default();
    impairment.jitter = worse.jitter.unwrap_or_default();
    impairment.reorder = worse.reorder.map_or(0.0, |share| share.0);
    impairment.duplicate = worse.duplicate.map_or(0.0, |share| share.0);
    impairment.corrupt = worse.corrupt.map_or(0.0, |share| share.0);
    impairment.rate = worse.rate.and_then(|rate| NonZeroU64::new(rate.0));
    if let Some(queue) = worse.queue {
        impairment.queue_packets = queue;
    }
    impairment
}

/// A seed nobody chose: which packets are lost is then different every time.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Whether it is for want of rights that something did not work.
pub(crate) fn is_denied(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Whether the device file, and not something about the interface, is the obstacle.
pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    rustix::fs::access("/dev/net/tun", rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK)
        .is_err()
        || error.to_string().starts_with("/dev/net/tun")
}

/// A pair of virtual Ethernet interfaces: the kernel has `name`, we listen on the other end.
fn open_veth(netlink: &mut Netlink, name: &str, wanted: &Wanted) -> anyhow::Result<Box<dyn Link>> {
    // A link that was opened here before may have left its pair behind.
    let _ = netlink.delete(name);
    netlink.create_veth(name, FAR_END)?;
    for end in [name, FAR_END] {
        silence_ipv6(end);
        if let Some(mtu) = wanted.mtu {
            netlink.set_mtu(end, mtu)?;
        }
    }
    netlink.set_up(FAR_END)?;
    let socket = if wanted.offload {
        PacketSocket::open(FAR_END)?
    } else {
        PacketSocket::without_offload(FAR_END, name)?
    };
    Ok(Box::new(socket))
}
