//! Addresses that make themselves: duplicate address detection, link-local addresses, and what routers
//! advertise (RFC 4862, RFC 7217, RFC 4861 6.3).
//!
//! All of this is about Ethernet links: a link of two ends, as a TUN is, has nobody to ask.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use wire::ndp::{NdpOption, Options};
use wire::time::{Duration, Instant};

use crate::error::Error;
use crate::event::{AddressChange, AddressFate};
use crate::ip::InterfaceId;
use crate::ip::addresses::AddressState;
use crate::ip::advertiser::Advertisers;
use crate::ip::dad::Probe;
use crate::ip::groups::Groups;
use crate::ip::interfaces::Interfaces;
use crate::ip::opaque::{Name, opaque_address};
use crate::ip::prefix::Prefix;
use crate::ip::router::{OnLink, Router};
use crate::ip::temporary::Temporary;
use crate::shared::Shared;
use crate::stack::Stack;

/// How many changes wait to be fetched. The oldest are lost beyond that.
const CHANGES_LIMIT: usize = 64;

/// What the stack does by itself about addresses of IPv6.
#[derive(Debug)]
pub(crate) struct Autoconf {
    pub(super) random: ChaCha12Rng,
    /// The secret that opaque identifiers are made with.
    secret: [u8; 16],
    /// The secret that temporary ones are made with: never kept, so that they are new each time.
    pub(super) temporary_secret: [u8; 16],
    /// How many temporary addresses were made.
    pub(super) temporaries: u32,
    /// Some Ethernet link has or had an address of IPv6, or a socket joined a group.
    pub(super) active: bool,
    /// Another shard of the host speaks.
    pub(super) silent: bool,
    pub(super) links: Vec<Link>,
    pub(super) probes: Vec<Probe>,
    pub(super) leases: Vec<Lease>,
    pub(super) routers: Vec<Router>,
    pub(super) prefixes: Vec<OnLink>,
    pub(super) advertisers: Advertisers,
    pub(super) groups: Groups,
    changes: VecDeque<AddressChange>,
}

/// An interface that makes its addresses from what routers say.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) interface: InterfaceId,
    /// What routers say that the link takes (RFC 4861 4.6.4).
    pub(super) mtu: Option<u16>,
    /// The hop limit that they advertise for what is sent (RFC 4861 6.3.2, CurHopLimit).
    pub(super) hop_limit: Option<u8>,
    /// It waited at random before its first message, or does.
    pub(super) has_waited: bool,
    /// How often routers were asked, and when they are again.
    pub(super) solicitation: Option<(u8, Instant)>,
    /// The router that the default route leads through.
    pub(super) default_router: Option<Ipv6Addr>,
}

/// An address that was made here, and for how long it is good; `None` is for ever.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) interface: InterfaceId,
    pub(super) prefix: Prefix,
    pub(super) address: Ipv6Addr,
    /// How many others were tried before it and turned out to be taken.
    pub(super) retries: u8,
    pub(super) preferred_until: Option<Instant>,
    pub(super) valid_until: Option<Instant>,
    /// It is one that is used for a short time only.
    pub(super) temporary: Option<Temporary>,
}

impl Default for Autoconf {
    fn default() -> Self {
        Self {
            random: ChaCha12Rng::from_seed([0; 32]),
            secret: [0; 16],
            temporary_secret: [0; 16],
            temporaries: 0,
            active: false,
            silent: false,
            links: Vec::new(),
            probes: Vec::new(),
            leases: Vec::new(),
            routers: Vec::new(),
            prefixes: Vec::new(),
            advertisers: Advertisers::default(),
            groups: Groups::default(),
            changes: VecDeque::new(),
        }
    }
}

impl Autoconf {
    /// A new secret, or one that the embedder keeps; `silent` where another shard of the host speaks.
    pub(crate) fn seed(&mut self, rng: &mut impl Rng, secret: Option<[u8; 16]>, silent: bool) {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        self.random = ChaCha12Rng::from_seed(seed);
        rng.fill_bytes(&mut self.secret);
        self.secret = secret.unwrap_or(self.secret);
        rng.fill_bytes(&mut self.temporary_secret);
        self.silent = silent;
    }

    /// Whether there is anything to do at any time: most links have no IPv6 to discover.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// When [`Interfaces::autoconf_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let solicitations = self.links.iter().filter_map(|link| Some(link.solicitation?.1));
        let leases = self.leases.iter();
        let leases = leases.flat_map(|lease| [lease.preferred_until, lease.valid_until]).flatten();
        let temporaries = self.leases.iter().filter_map(|lease| lease.temporary);
        let successors = temporaries.filter_map(|temporary| temporary.successor);
        solicitations
            .chain(self.probes.iter().map(|probe| probe.due))
            .chain(leases)
            .chain(successors)
            .chain(self.routers.iter().map(|router| router.until))
            .chain(self.prefixes.iter().filter_map(|prefix| prefix.until))
            .chain(self.groups.poll_timeout())
            .min()
    }

    /// Whether a router says that the prefix is on the link.
    pub(super) fn is_on_link(&self, interface: InterfaceId, prefix: Prefix) -> bool {
        self.prefixes.iter().any(|known| (known.interface, known.prefix) == (interface, prefix))
    }

    /// The MTU that routers advertise.
    pub(super) fn link_mtu(&self, interface: InterfaceId) -> Option<u16> {
        self.links.iter().find(|link| link.interface == interface)?.mtu
    }

    /// The hop limit that routers advertise.
    pub(super) fn hop_limit(&self, interface: InterfaceId) -> Option<u8> {
        self.links.iter().find(|link| link.interface == interface)?.hop_limit
    }

    /// Whether a question with these options is one of ours that came back.
    pub(super) fn is_our_probe(&self, options: &Options<'_>) -> bool {
        let nonce = options.iter().find_map(|option| match option {
            NdpOption::Nonce(nonce) => Some(nonce),
            _ => None,
        });
        nonce.is_some_and(|nonce| self.probes.iter().any(|probe| probe.nonce == *nonce))
    }

    /// A moment between now and `most` later.
    pub(super) fn soon(&mut self, now: Instant, most: Duration) -> Instant {
        now.after(self.at_most(most))
    }

    /// A time of up to `most`.
    fn at_most(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.random.next_u64() % nanos.saturating_add(1).max(1))
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    pub(super) fn link_mut(&mut self, interface: InterfaceId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.interface == interface)
    }

    pub(super) fn note(&mut self, interface: InterfaceId, address: IpAddr, fate: AddressFate) {
        if self.changes.len() >= CHANGES_LIMIT {
            self.changes.pop_front();
        }
        self.changes.push_back(AddressChange { interface, address, fate });
    }
}

impl Interfaces {
    /// Fires what is due.
    pub(super) fn autoconf_timeout(&mut self, shared: &Shared) {
        if self.autoconf.poll_timeout().is_none_or(|due| due > shared.now) {
            return;
        }
        self.begin_probing(shared);
        self.report_groups(shared);
        self.probe_again(shared);
        self.solicit_routers(shared);
        self.replace_temporaries(shared);
        self.expire(shared);
        self.report_groups(shared);
    }

    /// A link-local address of the interface that is ours.
    pub(super) fn link_local(&self, interface: InterfaceId) -> Option<Ipv6Addr> {
        self.assigned(interface).find_map(|own| match own.address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
            _ => None,
        })
    }

    fn autoconfigure(&mut self, shared: &Shared, interface: InterfaceId) -> Result<(), Error> {
        self.ethernet_address(interface).ok_or(Error::InvalidInput)?;
        if self.autoconf.link_mut(interface).is_some() {
            return Ok(());
        }
        self.autoconf.active = true;
        let own = self.link_local(interface);
        let link = Link {
            interface,
            mtu: None,
            hop_limit: None,
            has_waited: own.is_none() && shared.config.duplicate_address_probes > 0,
            solicitation: None,
            default_router: None,
        };
        self.autoconf.links.push(link);
        let wait = shared.config.solicitation_delay;
        match own {
            None => self.make_address(shared, interface, LINK_LOCAL, 0, wait).map(|_| ()),
            Some(address) => {
                if self.has_address(interface, address.into()) {
                    self.address_ready(shared, interface, address);
                }
                Ok(())
            }
        }
    }

    /// Gives the interface an address in `prefix` that was made here. Its first message waits at random, up
    /// to `wait`.
    pub(super) fn make_address(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        prefix: Prefix,
        retries: u8,
        wait: Duration,
    ) -> Result<Ipv6Addr, Error> {
        let hardware = self.ethernet_address(interface).ok_or(Error::InvalidInput)?;
        let IpAddr::V6(network) = prefix.network() else { return Err(Error::InvalidInput) };
        let name = Name { interface, hardware: hardware.0, network };
        let is_ours = |address| self.assigned(interface).any(|own| own.address == address);
        let address = opaque_address(&self.autoconf.secret, &name, retries, is_ours);
        let (preferred_until, valid_until, temporary) = (None, None, None);
        self.take_lease(
            shared,
            Lease { interface, prefix, address, retries, preferred_until, valid_until, temporary },
            wait,
        )?;
        Ok(address)
    }

    /// Gives an interface an address that was made here; its first message waits at random, up to `wait`.
    pub(super) fn take_lease(
        &mut self,
        shared: &Shared,
        lease: Lease,
        wait: Duration,
    ) -> Result<(), Error> {
        let Lease { interface, prefix, address, temporary, .. } = lease;
        // First: the address's own affairs begin when it is added.
        self.autoconf.leases.push(lease);
        let added = self.add_address(shared, interface, address.into(), prefix.length());
        if let Err(error) = added {
            let is_it = |lease: &Lease| (lease.interface, lease.address) == (interface, address);
            self.autoconf.leases.retain(|lease| !is_it(lease));
            return Err(error);
        }
        if temporary.is_some() {
            self.set_temporary(interface, address.into());
        }
        let is_it = |probe: &&mut Probe| (probe.interface, probe.address) == (interface, address);
        let wait = self.autoconf.at_most(wait);
        if let Some(probe) = self.autoconf.probes.iter_mut().find(is_it) {
            probe.wait = wait;
        }
        Ok(())
    }

    /// Addresses, routers and prefixes whose time is over.
    fn expire(&mut self, shared: &Shared) {
        let now = shared.now;
        let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let mut gone = Vec::new();
        let mut old = Vec::new();
        for lease in &mut self.autoconf.leases {
            if is_over(lease.valid_until) {
                gone.push((lease.interface, lease.address));
            } else if is_over(lease.preferred_until) {
                lease.preferred_until = None;
                old.push((lease.interface, lease.address));
            }
        }
        for (interface, address) in old {
            if self.has_address(interface, address.into()) {
                self.set_state(interface, address.into(), AddressState::Deprecated);
                self.autoconf.note(interface, address.into(), AddressFate::Deprecated);
            }
        }
        for (interface, address) in gone {
            if self.remove_address(shared, interface, address.into()).is_ok() {
                self.autoconf.note(interface, address.into(), AddressFate::Expired);
            }
        }
        let routers = self.autoconf.routers.iter().filter(|router| router.until <= now);
        let routers: Vec<_> = routers.map(|router| (router.interface, router.address)).collect();
        routers.into_iter().for_each(|(interface, address)| self.router_left(interface, address));
        let prefixes = self.autoconf.prefixes.iter().filter(|prefix| is_over(prefix.until));
        let prefixes: Vec<_> = prefixes.map(|known| (known.interface, known.prefix)).collect();
        prefixes.into_iter().for_each(|(interface, prefix)| self.prefix_left(interface, prefix));
    }
}

/// fe80::/64, the prefix of what every link has.
pub(super) const LINK_LOCAL: Prefix = Prefix::LINK_LOCAL;

/// Until when an address is preferred, and until when it is valid.
pub(super) type Lifetimes = (Option<Instant>, Option<Instant>);

impl Autoconf {
    pub(super) fn set_lifetimes(
        &mut self,
        interface: InterfaceId,
        address: Ipv6Addr,
        lifetimes: Lifetimes,
    ) {
        let is_it = |lease: &&mut Lease| (lease.interface, lease.address) == (interface, address);
        if let Some(lease) = self.leases.iter_mut().find(is_it) {
            (lease.preferred_until, lease.valid_until) = lifetimes;
        }
    }
}

/// Addresses that make themselves.
impl Stack {
    /// Gives `interface` a link-local address of IPv6, and then those that routers advertise, with
    /// their routes (RFC 4862). They come and go by themselves; [`Stack::poll_address_change`] tells.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an interface that is no Ethernet link, or whose MTU is less than
    /// 1280; [`Error::LimitReached`] when it has 64 addresses already.
    pub fn autoconfigure(&mut self, interface: InterfaceId) -> Result<(), Error> {
        self.interfaces.autoconfigure(&self.shared, interface)
    }

    /// The next change to an address that the stack found out by itself. Beyond 64 the oldest are
    /// lost.
    pub fn poll_address_change(&mut self) -> Option<AddressChange> {
        self.interfaces.autoconf.changes.pop_front()
    }

    /// Sows the secrets of discovery, after all others.
    pub(crate) fn seed_autoconf(&mut self, rng: &mut impl Rng) {
        let secret = self.shared.config.stable_secret;
        let (silent, alone) = (self.shard().index() != 0, self.shard().count() == 1);
        let interfaces = &mut self.interfaces;
        interfaces.autoconf.seed(rng, secret, silent);
        interfaces.autoconf.groups.set_siblings(!alone);
        interfaces.neighbors.reachable_time.seed(&mut interfaces.autoconf.random);
    }
}
