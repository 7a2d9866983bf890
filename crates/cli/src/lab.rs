//! `estab lab` and `estab up`: a running stack with servers, watchers and a control socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use estab::{Config, Stack};
use link::{Layer, Link, Netlink};
use rustix::process::getpid;
use wire::frame::Medium;

use crate::arguments::{Lab, LabLine, Run, Up};
use crate::control::served::Served;
use crate::control::server::Clients;
use crate::control::{self, Place, VARIABLE};
use crate::device::{self, Wanted};
use crate::observe::{Lines, Watcher};
use crate::values::{Cidr, Cidr6};
use crate::{command, diagram, namespace, serve};

/// The queues of one device.
type Links = Vec<Box<dyn Link>>;

/// How long after COMMAND's end connections may still deliver what was written.
const DRAIN: Duration = Duration::from_millis(200);

/// Runs `estab lab`.
pub(crate) fn run_lab(arguments: &Lab) -> anyhow::Result<ExitCode> {
    let command =
        if arguments.command.is_empty() { command::shell() } else { arguments.command.clone() };
    command::check(&command)?;
    check(&arguments.run)?;
    if arguments.autoconf && !arguments.line.tap && !arguments.line.packet {
        bail!("--autoconf is for Ethernet: add --tap or --packet");
    }
    let announced = control::announce(getpid());
    namespace::enter()?;
    let (links, v6) = open(&arguments.line, &arguments.run)?;
    let v6 = match v6 {
        Some(_) if arguments.autoconf => V6::Autoconf,
        Some(cidr) => V6::Given(cidr),
        None if arguments.autoconf => bail!("--autoconf needs IPv6"),
        None => V6::Nothing,
    };
    let networks =
        Networks { v4: arguments.line.cidr, v6, any: arguments.any, dhcp: arguments.dhcp };
    if arguments.any {
        networks.lead_everywhere(&links, device::NAME)?;
    }
    let place = Place::in_lab();
    let running = Running::start(links, networks, &arguments.run, &place, announced)?;
    let environment = networks.environment(&place);
    let status = command::run(&command, &environment);
    running.finish(&arguments.run)?;
    Ok(ExitCode::from(status?))
}

/// Opens the line in this process's network, and gives the kernel its addresses there; with the network of
/// IPv6, if it has one.
pub(crate) fn open(line: &LabLine, run: &Run) -> anyhow::Result<(Links, Option<Cidr6>)> {
    let layer = if line.tap { Layer::Tap } else { Layer::Tun };
    let wanted = Wanted { packet: line.packet, ..wanted(layer, run) };
    let links = device::open_queues_in_namespace(device::NAME, &wanted, run.queues, line.cidr)?;
    let v6 = add_ipv6(&links, device::NAME, line.cidr6)?;
    Ok((links, v6))
}

/// Runs `estab up`.
pub(crate) fn run_up(arguments: &Up) -> anyhow::Result<ExitCode> {
    check(&arguments.run)?;
    let layer = if arguments.tap.is_some() { Layer::Tap } else { Layer::Tun };
    let wanted = wanted(layer, &arguments.run);
    let name = arguments.tun.as_ref().or(arguments.tap.as_ref());
    let queues = arguments.run.queues;
    let (links, name) = match (name, arguments.fd) {
        (Some(name), _) => {
            (device::open_queues(name, &wanted, queues).map_err(or_a_lab)?, name.clone())
        }
        (None, Some(_)) if queues > 1 => bail!("--fd is one queue: without it use --queues"),
        (None, Some(number)) => {
            let (link, name) = device::adopt(number, &wanted)?;
            (vec![link], name)
        }
        (None, None) => bail!("give --tun NAME, --tap NAME or --fd NUMBER"),
    };
    if !arguments.keep_address {
        device::configure(&mut Netlink::open()?, &name, arguments.cidr)
            .map_err(|error| or_keep_address(error, arguments.cidr, &name))?;
        if arguments.cidr6.is_some() {
            add_ipv6(&links, &name, arguments.cidr6)?;
        }
    }
    let v6 = arguments.cidr6.map_or(V6::Nothing, V6::Given);
    let networks = Networks { v4: arguments.cidr, v6, any: false, dhcp: arguments.dhcp };
    let socket = PrivateSocket::new()?;
    let place = Place::File(socket.path.clone());
    let signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ]);
    let announced = control::announce(getpid());
    let running = Running::start(links, networks, &arguments.run, &place, announced)?;
    anstream::eprintln!(
        "estab: the stack is {}, Ctrl-C ends it; in another terminal: estab ss, or export {VARIABLE}={place}",
        arguments.cidr.stack_address()
    );
    signals?.forever().next();
    running.finish(&arguments.run)?;
    Ok(ExitCode::SUCCESS)
}

/// The networks between the kernel and the stack.
#[derive(Clone, Copy)]
pub(crate) struct Networks {
    pub(crate) v4: Cidr,
    pub(crate) v6: V6,
    /// The stack takes what is for any other address, too.
    pub(crate) any: bool,
    /// A server gives the stack its IPv4 address, which is not known yet.
    pub(crate) dhcp: bool,
}

/// What the stack has of IPv6.
#[derive(Clone, Copy)]
pub(crate) enum V6 {
    Nothing,
    Given(Cidr6),
    /// What routers advertise.
    Autoconf,
}

impl Networks {
    /// What a command on the kernel's side is told.
    pub(crate) fn environment(self, place: &Place) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            (VARIABLE, place.to_string()),
            ("ESTAB_KERNEL", self.v4.address.to_string()),
            ("ESTAB_STACK", self.v4.stack_address().to_string()),
            ("PATH", command::path_with_this_program()),
        ];
        if let V6::Given(cidr) = self.v6 {
            environment.push(("ESTAB_KERNEL6", cidr.address.to_string()));
            environment.push(("ESTAB_STACK6", cidr.stack_address().to_string()));
        }
        environment
    }

    /// The addresses of the stack that servers have, IPv4's first.
    fn stack_addresses(self) -> impl Iterator<Item = IpAddr> {
        let v6 = match self.v6 {
            V6::Nothing => None,
            V6::Given(cidr) => Some(IpAddr::V6(cidr.stack_address())),
            V6::Autoconf => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        };
        std::iter::once(IpAddr::V4(self.v4.stack_address())).chain(v6)
    }

    /// Where servers listen: at the addresses that are known, or at all; `[::]` is for both families.
    fn served(self) -> Vec<IpAddr> {
        let v4 =
            if self.dhcp || self.any { Ipv4Addr::UNSPECIFIED } else { self.v4.stack_address() };
        match self.v6 {
            V6::Nothing => vec![v4.into()],
            V6::Given(cidr) if !self.any => vec![v4.into(), cidr.stack_address().into()],
            V6::Given(_) | V6::Autoconf => vec![Ipv6Addr::UNSPECIFIED.into()],
        }
    }

    /// The kernel's default routes to the stack.
    fn lead_everywhere(self, links: &[Box<dyn Link>], name: &str) -> anyhow::Result<()> {
        let mut netlink = Netlink::open()?;
        // On Ethernet somebody must have a hardware address.
        let on_ethernet =
            links.iter().any(|link| matches!(link.capabilities().medium, Medium::Ethernet(_)));
        for (stack, everywhere) in self.stack_addresses().zip(self.everywhere()) {
            let through = on_ethernet.then_some(stack);
            netlink.add_route(everywhere, 0, through, name)?;
        }
        Ok(())
    }

    /// The unspecified addresses of the families that there are.
    fn everywhere(self) -> impl Iterator<Item = IpAddr> {
        self.stack_addresses().map(|address| match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        })
    }
}

/// The kernel's IPv6 address beside `links`, if there can be one.
fn add_ipv6(
    links: &[Box<dyn Link>],
    name: &str,
    wish: Option<Cidr6>,
) -> anyhow::Result<Option<Cidr6>> {
    let mtu = links.first().map_or(0, |link| link.capabilities().mtu);
    device::configure_ipv6(&mut Netlink::open()?, name, mtu, wish)
}

/// Who cannot have the device can have a lab.
fn or_a_lab(error: anyhow::Error) -> anyhow::Error {
    if device::is_denied(&error) || device::is_missing(&error) {
        return anyhow::anyhow!("{error:#}; or use `estab lab`, which needs no privileges");
    }
    error
}

/// Who has a device may still lack the right to configure it.
fn or_keep_address(error: anyhow::Error, cidr: Cidr, name: &str) -> anyhow::Error {
    if device::is_denied(&error) {
        return anyhow::anyhow!(
            "{error:#}; or let root do it (`ip addr add {cidr} dev {name}`, `ip link set {name} up`) \
             and use --keep-address"
        );
    }
    error
}

fn wanted(layer: Layer, run: &Run) -> Wanted {
    Wanted { layer, mtu: run.mtu, offload: !run.no_offload, packet: false }
}

/// What can be wrong is found before anything is made.
pub(crate) fn check(run: &Run) -> anyhow::Result<()> {
    if let Some(path) = &run.diagram {
        diagram::check(path)?;
    }
    run.tcp.check()?;
    let mut ports: Vec<u16> = run.serve.iter().map(|serve| serve.port).collect();
    ports.sort_unstable();
    if let Some(twice) = ports.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("two servers on port {}: give each its own", twice[0]);
    }
    Ok(())
}

/// A stack at work.
pub(crate) struct Running {
    pub(crate) stack: Stack,
    /// Who serves programs with it.
    pub(crate) served: Served,
    pub(crate) watcher: Option<Watcher>,
}

impl Running {
    /// Starts it; who knows `place`, and this user where it is announced, may ask it.
    pub(crate) fn start(
        links: Vec<Box<dyn Link>>,
        networks: Networks,
        run: &Run,
        place: &Place,
        announced: Option<UnixListener>,
    ) -> anyhow::Result<Self> {
        let links = device::wrap(links, run)?;
        let Networks { v4, v6, .. } = networks;
        let mut builder = Stack::builder().config(Config {
            tcp: run.tcp.options(),
            // The two hosts of the network have the addresses that they were given, as on the
            // kernel's side; servers do not wait for a probe (RFC 4862 5.1 allows none).
            duplicate_address_probes: u8::from(matches!(v6, V6::Autoconf)),
            // Programs hear groups as on Linux.
            source_specific_groups: false,
            ..Config::default()
        });
        builder = match networks.dhcp {
            true => builder.dhcp(),
            false => builder.address(v4.stack_address(), v4.prefix).gateway(v4.address),
        };
        builder = match v6 {
            V6::Nothing => builder,
            V6::Given(cidr) => {
                builder.address(cidr.stack_address(), cidr.prefix).gateway(cidr.address)
            }
            V6::Autoconf => builder.autoconfigure(),
        };
        if networks.any {
            builder = builder.any_address();
        }
        if let Some(mss) = run.tcp.clamp_mss() {
            builder = builder.mss_clamp(mss);
        }
        let mut watcher = None;
        if run.trace || run.diagram.is_some() {
            let lines = if run.trace { Lines::Errors } else { Lines::Nowhere };
            let (observer, started) = Watcher::start(lines)?;
            builder = builder.trace(observer);
            watcher = Some(started);
        }
        let stack = builder.start_queues(links).context("cannot start the stack")?;
        for serve in &run.serve {
            for address in networks.served() {
                serve::start(&stack, address, serve)?;
            }
        }
        let listener =
            place.listen().with_context(|| format!("{place}: cannot make the control socket"))?;
        let served = Served::default();
        let doors = [(Some(listener), Clients::All), (announced, Clients::Ours)];
        for (listener, clients) in doors {
            let Some(listener) = listener else { continue };
            let (stack, served) = (stack.clone(), served.clone());
            control::server::start(listener, clients, stack, networks.served(), served)?;
        }
        Ok(Self { stack, served, watcher })
    }

    /// Ends the stack and writes what was to be written at the end.
    pub(crate) fn finish(self, run: &Run) -> anyhow::Result<()> {
        self.stack.stop_graceful(DRAIN);
        let steps = self.watcher.map(Watcher::finish).unwrap_or_default();
        match &run.diagram {
            Some(path) => diagram::write(path, &steps),
            None => Ok(()),
        }
    }
}

/// A control socket in a directory that only this user may enter, gone at the end.
struct PrivateSocket {
    directory: PathBuf,
    path: PathBuf,
}

impl PrivateSocket {
    /// How many names are tried for its directory.
    const NAMES: usize = 100;

    fn new() -> anyhow::Result<Self> {
        let base = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|directory| directory.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        let directory = Self::make_directory(&base)?;
        let path = directory.join(Path::new("control"));
        Ok(Self { directory, path })
    }

    /// A new directory in `base`: one that is there already may be prepared by somebody, left by a
    /// program that was killed, or in use by one with the same number in another process namespace.
    fn make_directory(base: &Path) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::DirBuilderExt;
        let pid = std::process::id();
        let mut directory = base.join(format!("estab-{pid}"));
        for number in 1..=Self::NAMES {
            match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    directory = base.join(format!("estab-{pid}-{number}"));
                }
                made => {
                    made.with_context(|| {
                        format!("{}: cannot make the directory", directory.display())
                    })?;
                    return Ok(directory);
                }
            }
        }
        bail!("{}: too many like it are there already: remove them", directory.display())
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_directory_is_never_one_that_is_there() {
        let base = std::env::temp_dir().join(format!("estab-control-{}", std::process::id()));
        std::fs::create_dir(&base).unwrap();
        let made: Vec<PathBuf> =
            (0..3).map(|_| PrivateSocket::make_directory(&base).unwrap()).collect();
        let names: std::collections::BTreeSet<_> = made.iter().collect();
        assert_eq!(names.len(), 3);
        assert!(PrivateSocket::make_directory(&base.join("nowhere")).is_err());
        std::fs::remove_dir_all(&base).unwrap();
    }
}
