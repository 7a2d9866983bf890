//! How a stack is described and started.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use link::Link;
use stack::{Config, Family, Shard, TraceEvent};
use wire::frame::Medium;

use crate::Stack;
use crate::busy::BusyPoll;
use crate::driver::{self, Observer, SharedObserver};
use crate::engine::Engine;
use crate::error::from_stack;
use crate::inline::Inline;
use crate::poller::Poller;
use crate::port::Port;
use crate::ports::Ports;
use crate::shards::{Exchange, Shards};
use crate::shared::Shared;

/// A link, or the queues of one, with the addresses that the stack has on it.
pub struct Interface {
    /// One for each shard.
    queues: Vec<Box<dyn Link>>,
    addressing: Addressing,
}

/// The addresses of one interface.
#[derive(Clone, Debug, Default)]
struct Addressing {
    /// Each with the length of its network's prefix.
    addresses: Vec<(IpAddr, u8)>,
    /// At most one of each family.
    gateways: Vec<IpAddr>,
    /// Who takes the place of one that is dead.
    spare_gateways: Vec<IpAddr>,
    /// Packets to any address are ours.
    any: bool,
    /// No TCP segment carries more.
    mss_clamp: Option<u16>,
    /// IPv6 addresses make themselves.
    autoconfigure: bool,
    /// A DHCP server gives an address.
    dhcp: bool,
}

impl Addressing {
    /// The last one of a family counts.
    fn set_gateway(&mut self, gateway: IpAddr) {
        self.gateways.retain(|other| other.is_ipv4() != gateway.is_ipv4());
        self.gateways.push(gateway);
    }
}

impl Interface {
    /// An interface on `link`, without an address.
    #[must_use]
    pub fn new(link: impl Link + 'static) -> Self {
        Self::with_queues([link])
    }

    /// An interface on a device with several queues, without an address. See
    /// [`StackBuilder::start_queues`].
    #[must_use]
    pub fn with_queues<L: Link + 'static>(queues: impl IntoIterator<Item = L>) -> Self {
        let boxed = |queue| Box::new(queue) as Box<dyn Link>;
        let queues = queues.into_iter().map(boxed).collect();
        Self { queues, addressing: Addressing::default() }
    }

    /// Gives it an address, `prefix` bits of which are the network's.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpAddr>, prefix: u8) -> Self {
        self.addressing.addresses.push((address.into(), prefix));
        self
    }

    /// What is for no network of ours goes here. Can be called once for each family.
    #[must_use]
    pub fn gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.addressing.set_gateway(gateway.into());
        self
    }

    /// Takes the place of the gateway when that does not answer, and of another such one.
    #[must_use]
    pub fn spare_gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.addressing.spare_gateways.push(gateway.into());
        self
    }

    /// Gets its IPv4 address, route and name servers from a DHCP server. See [`StackBuilder::dhcp`].
    #[must_use]
    pub fn dhcp(mut self) -> Self {
        self.addressing.dhcp = true;
        self
    }

    /// Takes every packet that comes by it for ours, whatever host it is addressed to.
    #[must_use]
    pub fn any_address(mut self) -> Self {
        self.addressing.any = true;
        self
    }

    /// Clamps TCP's segments to `mss` bytes. See [`StackBuilder::mss_clamp`].
    #[must_use]
    pub fn mss_clamp(mut self, mss: u16) -> Self {
        self.addressing.mss_clamp = Some(mss);
        self
    }

    /// Makes IPv6 addresses by itself. See [`StackBuilder::autoconfigure`].
    #[must_use]
    pub fn autoconfigure(mut self) -> Self {
        self.addressing.autoconfigure = true;
        self
    }
}

impl std::fmt::Debug for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interface").field("addressing", &self.addressing).finish_non_exhaustive()
    }
}

/// Describes a stack; [`start`](StackBuilder::start) starts it.
///
/// ```
/// # let (end, _other) = link::pair(link::PairConfig::ip(1500))?;
/// let stack = estab::Stack::builder()
///     .address([10, 77, 0, 2], 24)
///     .gateway([10, 77, 0, 1])
///     .start(end)?;
/// # stack.stop();
/// # std::io::Result::Ok(())
/// ```
#[must_use = "a builder does nothing until it is started"]
pub struct StackBuilder {
    config: Config,
    seed: Option<[u8; 32]>,
    /// Of the link that `start` is given.
    addressing: Addressing,
    interfaces: Vec<Interface>,
    observer: Option<Observer>,
    drain: Duration,
    busy_poll: Duration,
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

/// A stack, or a shard of one, with its links, before it is decided who runs it.
struct Assembled {
    core: stack::Stack,
    ports: Ports,
    poller: Arc<Poller>,
}

impl StackBuilder {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            seed: None,
            addressing: Addressing::default(),
            interfaces: Vec::new(),
            observer: None,
            drain: Duration::from_secs(5),
            busy_poll: Duration::ZERO,
            #[cfg(feature = "tokio")]
            runtime: None,
        }
    }

    /// The limits and defaults of the stack. Without this they are [`Config::default`].
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Where every secret of the stack comes from (sequence numbers, ports, hash keys). Without
    /// this it is random, as it must be on a network; fixed, for runs that are to be alike.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Gives the stack an address on the link that [`start`](StackBuilder::start) is given,
    /// `prefix` bits of which are the network's. Can be called again.
    pub fn address(mut self, address: impl Into<IpAddr>, prefix: u8) -> Self {
        self.addressing.addresses.push((address.into(), prefix));
        self
    }

    /// What is for no network of ours goes here, through the link that
    /// [`start`](StackBuilder::start) is given. Can be called once for each family.
    pub fn gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.addressing.set_gateway(gateway.into());
        self
    }

    /// Takes the place of the gateway when that does not answer, and of another such one, on the link
    /// that [`start`](StackBuilder::start) is given (RFC 1122 3.3.1.4).
    pub fn spare_gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.addressing.spare_gateways.push(gateway.into());
        self
    }

    /// Gets an IPv4 address, with a route and name servers, from a DHCP server on the link that
    /// [`start`](StackBuilder::start) is given (RFC 2131), and keeps it for as long as the server prolongs
    /// it. Starting does not wait for it: [`Stack::wait_for_lease`] does. It takes some seconds, in which
    /// it is asked whether somebody else has the address ([`Config::dhcp_probes`]). The link must be
    /// Ethernet and have one queue.
    pub fn dhcp(mut self) -> Self {
        self.addressing.dhcp = true;
        self
    }

    /// Takes every packet that comes by the link that [`start`](StackBuilder::start) is given for ours,
    /// whatever host it is addressed to: flows to any address, as a proxy needs them
    /// ([`net::TcpFlows`](crate::net::TcpFlows), [`blocking::TcpFlows`](crate::blocking::TcpFlows)).
    /// Neither an address nor a gateway is needed for that on a link without hardware addresses (TUN):
    /// there it is a default route of both families. On Ethernet give the stack both.
    pub fn any_address(mut self) -> Self {
        self.addressing.any = true;
        self
    }

    /// Clamps TCP's segments to `mss` bytes on the link that [`start`](StackBuilder::start) is given, in
    /// both directions: no more is announced to peers, and no more sent. For a link behind which packets
    /// become longer, as in a tunnel, and for networks where nobody is told that they are too long.
    pub fn mss_clamp(mut self, mss: u16) -> Self {
        self.addressing.mss_clamp = Some(mss);
        self
    }

    /// Gives the link that [`start`](StackBuilder::start) is given, which must be an Ethernet link, a
    /// link-local address of IPv6, and then the addresses and the default route that routers advertise
    /// (RFC 4862). They come and go by themselves: see [`Stack::addresses`]. The same
    /// [`Config::stable_secret`] makes the same ones.
    pub fn autoconfigure(mut self) -> Self {
        self.addressing.autoconfigure = true;
        self
    }

    /// One more link with addresses of its own. Can be called again.
    pub fn interface(mut self, interface: Interface) -> Self {
        self.interfaces.push(interface);
        self
    }

    /// Shows every event of the trace to `observer`: each segment with its reason, each change of
    /// state, each call. On the stack's thread, in order, without a lock held, so that it may use
    /// the stack; while it does not return, the stack receives nothing. Of several shards' threads
    /// one at a time calls it, and each connection's events come in order.
    pub fn trace(mut self, observer: Box<dyn FnMut(&TraceEvent) + Send>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// How long the stack may live on to deliver what was written, once the last handle and the
    /// last socket are dropped. 5 s.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// After traffic, asks the links for frames for up to this time before going to sleep. Zero, the
    /// default: sleeps at once.
    ///
    /// Who sleeps is woken late, by some microseconds on a busy core and by tens of them on an idle
    /// one. Polling takes that away and costs processor time, on a core that nothing else should
    /// need: with fewer cores than busy threads it slows everything down.
    ///
    /// The time is a bound. It is halved by each wait that took longer, down to nothing, and doubled
    /// by each that ended within the bound. A stack without traffic does not poll at all.
    pub fn busy_poll(mut self, bound: Duration) -> Self {
        self.busy_poll = bound;
        self
    }

    /// Has a task of this runtime carry the frames: tasks of it that use the stack are then woken by the
    /// thread that received what they wait for, and no other one is between. That is the faster way for
    /// whoever lives in a runtime anyway, the more so in one with a single thread.
    ///
    /// ```
    /// # let (end, _other) = link::pair(link::PairConfig::ip(1500))?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// let stack = estab::Stack::builder()
    ///     .address([10, 77, 0, 2], 24)
    ///     .on_runtime(runtime.handle())
    ///     .start(end)?;
    /// # stack.stop();
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// It is not the default, because a runtime need not be able to wait for descriptors
    /// (`enable_io`), and because the stack then depends on it: while all of its threads compute or block, and while a
    /// runtime with a single thread is in no `block_on`, frames wait until the stack's own thread sees that, which
    /// takes 2 to 16 ms, and then takes the turns itself. When the runtime
    /// ends, it takes over. With [several queues](Self::start_queues) there is a
    /// task for each.
    ///
    /// While turn after turn brings several small frames, what such a task of the same thread sends within
    /// 0.1 ms goes out together, with the next turn ([as in a poll](crate::blocking::poll#when-it-is-sent)).
    /// [Busy polling](Self::busy_poll) is for threads that sleep: a runtime does not. A stack with a
    /// [trace](Self::trace) is carried by its own thread all the same.
    ///
    /// # Panics
    /// Starting panics, as tokio's own sockets do, when the runtime was built without `enable_io`.
    #[cfg(feature = "tokio")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
    pub fn on_runtime(mut self, runtime: &tokio::runtime::Handle) -> Self {
        self.runtime = Some(runtime.clone());
        self
    }

    /// Starts the stack with `link` as its first interface.
    ///
    /// # Errors
    /// `InvalidInput` when an address is no host's or the gateway is in no network of ours, or
    /// when the link cannot be waited for (it has no descriptor); what the system says when it
    /// has no descriptor, thread or random bytes left.
    pub fn start(self, link: impl Link + 'static) -> io::Result<Stack> {
        self.with_first(Interface::new(link)).start_interfaces()
    }

    /// Starts the stack on a device with several queues, with one shard for each: a thread, a lock and
    /// a part of the connections of its own. Programs see one stack.
    ///
    /// A connection, a half-open one and a UDP socket belong to one shard for life, and listeners are
    /// on all of them. Frames that the kernel brings to another shard's queue are handed over. What
    /// [`Config`] allows in all is [divided](Config::divided) among the shards. More interfaces must
    /// have as many queues.
    ///
    /// ```no_run
    /// let queues = estab::link::TunBuilder::new().name("tun0").open_queues(4)?;
    /// let stack = estab::Stack::builder().address([10, 77, 0, 2], 24).start_queues(queues)?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// As [`start`](StackBuilder::start), and `InvalidInput` when there is no queue, more than 256,
    /// or when the queues differ in what they can do.
    pub fn start_queues<L: Link + 'static>(
        self,
        queues: impl IntoIterator<Item = L>,
    ) -> io::Result<Stack> {
        self.with_first(Interface::with_queues(queues)).start_interfaces()
    }

    /// Starts the stack with the interfaces that it was given, or with none but its loopback.
    ///
    /// # Errors
    /// As [`start`](StackBuilder::start), and `InvalidInput` when an address was given to the
    /// builder, although there is no link of its own, or when one interface has more queues than
    /// another.
    pub fn start_interfaces(mut self) -> io::Result<Stack> {
        let handover_limit = self.config.handover_limit;
        let shards = self.assemble()?;
        let mut exchanges = Exchange::all(shards.len(), handover_limit).into_iter();
        let (epoch, traced) = (std::time::Instant::now(), self.observer.is_some());
        let start = |Assembled { core, ports, poller }| {
            let busy = BusyPoll::new(self.busy_poll);
            let mut engine = Engine::new(core, ports, poller, busy, traced);
            engine.exchange = exchanges.next();
            Arc::new(Shared::new(engine, epoch, self.drain))
        };
        let all: Arc<[_]> = shards.into_iter().map(start).collect();
        Shared::introduce(&all);
        #[cfg(feature = "tokio")]
        if let Some(runtime) = &self.runtime {
            all.iter().try_for_each(|shard| crate::host::spawn(runtime, shard))?;
        }
        let observer = self.observer.map(|observer| Arc::new(Mutex::new(observer)));
        start_drivers(&all, observer.as_ref())
    }

    /// Gives the stack to this thread to [run itself](crate::inline), with `link` as its first
    /// interface.
    ///
    /// # Errors
    /// As [`start`](StackBuilder::start).
    pub fn inline(self, link: impl Link + 'static) -> io::Result<Inline> {
        self.with_first(Interface::new(link)).inline_interfaces()
    }

    /// The same with the interfaces that it was given, or with none but its loopback.
    ///
    /// # Errors
    /// As [`start_interfaces`](StackBuilder::start_interfaces), and `InvalidInput` for interfaces with
    /// several queues: those need several threads.
    pub fn inline_interfaces(mut self) -> io::Result<Inline> {
        let mut shards = self.assemble()?;
        let (Some(Assembled { core, ports, poller }), true) = (shards.pop(), shards.is_empty())
        else {
            return Err(invalid("several queues are for several threads: start them"));
        };
        let busy = BusyPoll::new(self.busy_poll);
        Ok(Inline::new(core, ports, poller, busy, self.observer, self.drain))
    }

    fn with_first(mut self, interface: Interface) -> Self {
        let addressing = std::mem::take(&mut self.addressing);
        self.interfaces.insert(0, Interface { addressing, ..interface });
        self
    }

    /// Makes the stack, or a shard for each queue, and opens its interfaces.
    fn assemble(&mut self) -> io::Result<Vec<Assembled>> {
        let Addressing { addresses, gateways, autoconfigure, .. } = &self.addressing;
        if !addresses.is_empty() || !gateways.is_empty() || *autoconfigure {
            return Err(invalid("an address without a link: give it to an Interface"));
        }
        if self.interfaces.len() > 255 {
            return Err(invalid("more than 255 links"));
        }
        let seed = match self.seed {
            Some(seed) => seed,
            None => random_seed()?,
        };
        let count = shard_count(&self.interfaces)?;
        let config = std::mem::take(&mut self.config).divided(count);
        let mut interfaces: Vec<_> =
            self.interfaces.drain(..).map(|i| (i.queues.into_iter(), i.addressing)).collect();
        let mut shards = Vec::new();
        for index in 0..count {
            let shard = Shard::new(index, count).unwrap_or(Shard::ALONE);
            let mut core = stack::Stack::new_shard(config.clone(), seed, shard);
            core.set_trace(self.observer.is_some());
            let (mut ports, poller) = (Ports::default(), Arc::new(Poller::new()?));
            for (queues, addressing) in &mut interfaces {
                if let Some(link) = queues.next() {
                    ports.add(add_interface(&mut core, link, addressing, &poller)?);
                }
            }
            shards.push(Assembled { core, ports, poller });
        }
        Ok(shards)
    }
}

/// How many shards these interfaces make: each has as many queues.
fn shard_count(interfaces: &[Interface]) -> io::Result<u16> {
    let Some(first) = interfaces.first() else { return Ok(1) };
    let count = first.queues.len();
    if interfaces.iter().any(|interface| interface.queues.len() != count) {
        return Err(invalid(
            "each interface needs as many queues as the others: one for each shard",
        ));
    }
    for interface in interfaces {
        let mut kinds = interface.queues.iter().map(|queue| queue.capabilities());
        let first = kinds.next();
        if kinds.any(|kind| Some(kind) != first) {
            return Err(invalid("the queues of one device differ in what they can do"));
        }
    }
    match u16::try_from(count) {
        Ok(count @ 1..=256) => Ok(count),
        _ => Err(invalid("a stack has 1 to 256 shards, one for each queue")),
    }
}

fn add_interface(
    core: &mut stack::Stack,
    link: Box<dyn Link>,
    addressing: &Addressing,
    poller: &Arc<Poller>,
) -> io::Result<Port> {
    let id = core.add_interface(link.capabilities());
    for (address, prefix) in &addressing.addresses {
        core.add_address(id, *address, *prefix)
            .map_err(|error| explain(error, &format!("{address}/{prefix} cannot be ours")))?;
    }
    for gateway in &addressing.gateways {
        core.set_gateway(id, *gateway)
            .map_err(|error| explain(error, &format!("{gateway} cannot be the gateway")))?;
    }
    for gateway in &addressing.spare_gateways {
        core.add_gateway(id, *gateway)
            .map_err(|error| explain(error, &format!("{gateway} cannot be a gateway")))?;
    }
    if addressing.dhcp {
        core.dhcp_start(wire::time::Instant::ZERO, id)
            .map_err(|error| explain(error, "DHCP is for an Ethernet link, and takes port 68"))?;
    }
    if addressing.any {
        core.set_any_address(id, true).map_err(|error| explain(error, "not any address"))?;
        answer_everybody(core, id, link.capabilities().medium, &addressing.gateways)?;
    }
    if addressing.mss_clamp.is_some() {
        core.set_mss_clamp(id, addressing.mss_clamp)
            .map_err(|error| explain(error, "segments cannot be clamped to nothing"))?;
    }
    if addressing.autoconfigure {
        core.autoconfigure(id).map_err(|error| {
            explain(error, "addresses make themselves on Ethernet, with an MTU of 1280 or more")
        })?;
    }
    Port::new(id, link, poller)
}

/// What comes from everywhere is answered over the link that it came by. Without a gateway that is a
/// default route, where nobody's hardware address has to be known for it.
fn answer_everybody(
    core: &mut stack::Stack,
    id: stack::InterfaceId,
    medium: Medium,
    gateways: &[IpAddr],
) -> io::Result<()> {
    for family in [Family::V4, Family::V6] {
        let everywhere = family.unspecified();
        let has_one = gateways.iter().any(|other| other.is_ipv4() == everywhere.is_ipv4());
        if medium == Medium::Ip && !has_one {
            core.add_route(id, everywhere, 0, None)
                .map_err(|error| explain(error, "no default route"))?;
        }
    }
    Ok(())
}

/// Starts a thread for each shard. When one cannot be had, none is left behind.
fn start_drivers(all: &Arc<[Arc<Shared>]>, observer: Option<&SharedObserver>) -> io::Result<Stack> {
    let mut drivers = Vec::new();
    for index in 0..all.len() {
        match driver::spawn(Arc::clone(all), index, observer.cloned()) {
            Ok(driver) => drivers.push(driver),
            Err(error) => {
                Shards::new(Arc::clone(all), drivers).stop();
                return Err(error);
            }
        }
    }
    Ok(Stack::new(Shards::new(Arc::clone(all), drivers)))
}

impl std::fmt::Debug for StackBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The seed is a secret.
        f.debug_struct("StackBuilder")
            .field("config", &self.config)
            .field("addressing", &self.addressing)
            .field("interfaces", &self.interfaces)
            .field("traced", &self.observer.is_some())
            .field("drain", &self.drain)
            .field("busy_poll", &self.busy_poll)
            .finish_non_exhaustive()
    }
}

fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(seed)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn explain(error: stack::Error, what: &str) -> io::Error {
    let error = from_stack(error);
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
