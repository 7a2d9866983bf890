//! How a stack is described and started.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use link::Link;
use stack::{Config, TraceEvent};

use crate::Stack;
use crate::driver::{self, Observer};
use crate::engine::Engine;
use crate::error::from_stack;
use crate::poller::Poller;
use crate::port::Port;
use crate::shared::Shared;

/// A link with the addresses that the stack has on it.
pub struct Interface {
    link: Box<dyn Link>,
    addressing: Addressing,
}

/// The addresses of one interface.
#[derive(Clone, Debug, Default)]
struct Addressing {
    /// Each with the length of its network's prefix.
    addresses: Vec<(IpAddr, u8)>,
    gateway: Option<IpAddr>,
}

impl Interface {
    /// An interface on `link`, without an address.
    #[must_use]
    pub fn new(link: impl Link + 'static) -> Self {
        Self { link: Box::new(link), addressing: Addressing::default() }
    }

    /// Gives it an address, `prefix` bits of which are the network's.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpAddr>, prefix: u8) -> Self {
        self.addressing.addresses.push((address.into(), prefix));
        self
    }

    /// What is for no network of ours goes here.
    #[must_use]
    pub fn gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.addressing.gateway = Some(gateway.into());
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
    /// [`start`](StackBuilder::start) is given.
    pub fn gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.addressing.gateway = Some(gateway.into());
        self
    }

    /// One more link with addresses of its own. Can be called again.
    pub fn interface(mut self, interface: Interface) -> Self {
        self.interfaces.push(interface);
        self
    }

    /// Shows every event of the trace to `observer`: each segment with its reason, each change of
    /// state, each call. On the stack's thread, in order, without a lock held, so that it may use
    /// the stack; while it does not return, the stack receives nothing.
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

    /// Starts the stack with `link` as its first interface.
    ///
    /// # Errors
    /// `InvalidInput` when an address is no host's or the gateway is in no network of ours, or
    /// when the link cannot be waited for (it has no descriptor); what the system says when it
    /// has no descriptor, thread or random bytes left.
    pub fn start(mut self, link: impl Link + 'static) -> io::Result<Stack> {
        let addressing = std::mem::take(&mut self.addressing);
        self.interfaces.insert(0, Interface { link: Box::new(link), addressing });
        self.start_interfaces()
    }

    /// Starts the stack with the interfaces that it was given, or with none but its loopback.
    ///
    /// # Errors
    /// As [`start`](StackBuilder::start), and `InvalidInput` when an address was given to the
    /// builder, although there is no link of its own.
    pub fn start_interfaces(self) -> io::Result<Stack> {
        if !self.addressing.addresses.is_empty() || self.addressing.gateway.is_some() {
            return Err(invalid("an address without a link: give it to an Interface"));
        }
        if self.interfaces.len() > 255 {
            return Err(invalid("more than 255 links"));
        }
        let seed = match self.seed {
            Some(seed) => seed,
            None => random_seed()?,
        };
        let mut core = stack::Stack::new(self.config, seed);
        core.set_trace(self.observer.is_some());
        let poller = Arc::new(Poller::new()?);
        let mut engine = Engine::new(core, Arc::clone(&poller), self.observer.is_some());
        for interface in self.interfaces {
            let id = engine.stack.add_interface(interface.link.capabilities());
            for (address, prefix) in &interface.addressing.addresses {
                engine.stack.add_address(id, *address, *prefix).map_err(|error| {
                    explain(error, &format!("{address}/{prefix} cannot be ours"))
                })?;
            }
            if let Some(gateway) = interface.addressing.gateway {
                engine
                    .stack
                    .set_gateway(id, gateway)
                    .map_err(|error| explain(error, &format!("{gateway} cannot be the gateway")))?;
            }
            engine.add_port(Port::new(id, interface.link, &poller)?);
        }
        let shared = Arc::new(Shared::new(engine, self.drain));
        let driver = driver::spawn(Arc::clone(&shared), poller, self.observer)?;
        Ok(Stack::new(shared, driver))
    }
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
