//! What routers say of themselves and of the link: default routes, prefixes, addresses (RFC 4861 6.3,
//! RFC 4862 5.5, RFC 4191).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use wire::ipv6;
use wire::ndp::{self, Header, INFINITE, NdpOption, Options, Preference, PrefixInformation};
use wire::time::{Duration, Instant};

use crate::ip::InterfaceId;
use crate::ip::addresses::AddressState;
use crate::ip::autoconf::{LINK_LOCAL, Lease};
use crate::ip::interfaces::Interfaces;
use crate::ip::ndp::{Message, message, source_address};
use crate::ip::prefix::Prefix;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;

/// How often, and how far apart, routers are asked (RFC 4861 10).
const MAX_SOLICITATIONS: u8 = 3;
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);

/// RFC 4862 5.5.3 (e): no message that nobody signed makes an address live shorter than this.
const TWO_HOURS: Duration = Duration::from_secs(7200);

/// How many routers, prefixes and addresses are taken from what is advertised, in all: a link has one
/// or two, and whoever advertises more wants to fill tables (RFC 6583).
const LIMIT: usize = 16;

/// A router that is a default router for some time.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) interface: InterfaceId,
    pub(super) address: Ipv6Addr,
    pub(super) preference: Preference,
    pub(super) until: Instant,
    /// It did not answer when it was asked last (RFC 4861 6.3.6).
    pub(super) silent: bool,
}

/// A prefix whose hosts are on the link, as a router says.
#[derive(Debug)]
pub(super) struct OnLink {
    pub(super) interface: InterfaceId,
    pub(super) prefix: Prefix,
    pub(super) until: Option<Instant>,
}

impl Router {
    /// How good it is; of silent ones none is better than another.
    fn rank(&self) -> Option<Preference> {
        (!self.silent).then_some(self.preference)
    }
}

impl Interfaces {
    /// RFC 4861 6.3.4 and RFC 4862 5.5.3: a router speaks of itself and of the link.
    pub(super) fn router_advertised(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        source: Ipv6Addr,
        router: &ndp::RouterAdvertisement,
        options: &Options<'_>,
    ) -> Result<(), Dropped> {
        if self.autoconf.link_mut(interface).is_none() {
            return Err(Dropped::IcmpIgnored);
        }
        if let Some(hardware) = source_address(options) {
            self.neighbors.hear(shared, (interface, source.into()), hardware, true);
        }
        let lifetime = Duration::from_secs(router.router_lifetime.into());
        self.router_lives(shared, interface, source, router.preference, lifetime);
        if router.hop_limit != 0 {
            self.set_hop_limit(interface, router.hop_limit);
        }
        if router.reachable_time != 0 {
            self.set_reachable_time(shared, router.reachable_time);
        }
        if router.retransmit_time != 0 {
            self.set_retransmit_time(router.retransmit_time);
        }
        if router.other_configuration || router.managed {
            self.resolvers.other_configuration(interface);
        }
        for option in options.iter() {
            match option {
                NdpOption::Mtu(mtu) => self.set_link_mtu(interface, mtu),
                NdpOption::RecursiveDns { lifetime, servers } => {
                    let forever = lifetime == INFINITE;
                    let lifetime = (!forever).then(|| Duration::from_secs(lifetime.into()));
                    for &server in servers {
                        self.resolvers.advertised(shared.now, interface, server.into(), lifetime);
                    }
                }
                NdpOption::Prefix(prefix) => {
                    self.prefix_advertised(shared, (interface, source), &prefix);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Who was a router says that it is none any more, or its time is over.
    pub(super) fn router_left(&mut self, interface: InterfaceId, address: Ipv6Addr) {
        let before = self.autoconf.routers.len();
        let is_it = |router: &Router| (router.interface, router.address) == (interface, address);
        self.autoconf.routers.retain(|router| !is_it(router));
        self.autoconf.advertisers.forget(interface, address);
        if self.autoconf.routers.len() != before {
            self.choose_router(interface);
        }
    }

    /// A neighbour does not answer. Where it is a default router, another takes its place if there is one,
    /// and when all are silent each in turn (RFC 4861 6.3.6); whether one did.
    pub(super) fn router_is_silent(&mut self, interface: InterfaceId, address: Ipv6Addr) -> bool {
        let routers = &mut self.autoconf.routers;
        let is_it = |router: &Router| (router.interface, router.address) == (interface, address);
        let Some(place) = routers.iter().position(is_it) else { return false };
        let router = routers.remove(place);
        routers.push(Router { silent: true, ..router });
        let before = self.routes.gateway_of(Prefix::ALL_V6, interface);
        self.choose_router(interface);
        self.routes.gateway_of(Prefix::ALL_V6, interface) != before
    }

    /// A neighbour is there after all.
    pub(super) fn router_answers(&mut self, interface: InterfaceId, address: Ipv6Addr) {
        let is_it = |router: &&mut Router| {
            router.silent && (router.interface, router.address) == (interface, address)
        };
        if let Some(router) = self.autoconf.routers.iter_mut().find(is_it) {
            router.silent = false;
            self.choose_router(interface);
        }
    }

    /// RFC 4861 6.3.7.
    pub(super) fn solicit_routers(&mut self, shared: &Shared) {
        let mut ask = Vec::new();
        for link in &mut self.autoconf.links {
            let Some((sent, _)) = link.solicitation.filter(|(_, due)| *due <= shared.now) else {
                continue;
            };
            link.solicitation = None;
            if sent < MAX_SOLICITATIONS {
                // Who has heard a router asks once: the answer may say more than what went to all.
                let has_heard =
                    self.autoconf.routers.iter().any(|router| router.interface == link.interface);
                // From now on: after a time without turns they still do not go together.
                let next = (sent + 1, shared.now.after(SOLICITATION_INTERVAL));
                link.solicitation = (!has_heard).then_some(next);
                ask.push(link.interface);
            }
        }
        for interface in ask {
            let ours = self.ethernet_address(interface);
            let source = self.link_local(interface).unwrap_or(Ipv6Addr::UNSPECIFIED);
            let option = ours.map(NdpOption::SourceLinkLayer);
            let option = option.filter(|_| !source.is_unspecified());
            let destination = ipv6::group::ALL_ROUTERS;
            if self.autoconf.silent {
                continue;
            }
            self.discovery.push_back(Message {
                interface,
                source,
                destination,
                hop_limit: ndp::HOP_LIMIT,
                router_alert: false,
                bytes: message(Header::RouterSolicitation, option, source, destination),
                kind: "ICMPv6 router solicitation",
                reason: Sent::RouterSolicitation,
            });
        }
    }

    /// RFC 4861 6.3.4: the router is a default router for `lifetime`, or none.
    fn router_lives(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        address: Ipv6Addr,
        preference: Preference,
        lifetime: Duration,
    ) {
        if lifetime.is_zero() {
            return self.router_left(interface, address);
        }
        let until = shared.now.after(lifetime);
        let autoconf = &mut self.autoconf;
        if let Some(link) = autoconf.link_mut(interface) {
            // RFC 4861 6.3.7: one was sent at least, whoever spoke before.
            link.solicitation = link.solicitation.filter(|(sent, _)| *sent == 0);
        }
        let is_it =
            |router: &&mut Router| (router.interface, router.address) == (interface, address);
        let is_full = autoconf.routers.len() >= LIMIT;
        match autoconf.routers.iter_mut().find(is_it) {
            Some(router) => {
                (router.until, router.preference, router.silent) = (until, preference, false);
            }
            None if is_full => return,
            None => {
                let silent = false;
                autoconf.routers.push(Router { interface, address, preference, until, silent });
            }
        }
        self.choose_router(interface);
    }

    /// RFC 4861 6.3.6, RFC 4191 3.2: one that answers before one that does not, then the most preferred,
    /// of those the first. A gateway that the program set goes before all of them.
    fn choose_router(&mut self, interface: InterfaceId) {
        let of_link = self.autoconf.routers.iter().filter(|router| router.interface == interface);
        let best = of_link.reduce(|best, next| if next.rank() > best.rank() { next } else { best });
        let best = best.map(|router| router.address);
        let Some(link) = self.autoconf.links.iter_mut().find(|link| link.interface == interface)
        else {
            return;
        };
        let current = self.routes.gateway_of(Prefix::ALL_V6, interface);
        let ours = current == link.default_router.map(IpAddr::V6);
        if !ours || link.default_router == best {
            return;
        }
        link.default_router = best;
        self.routes.remove(Prefix::ALL_V6, true, interface);
        if let Some(router) = best {
            // A full table has no room for it; then nothing beyond the link is reached.
            let _ = self.routes.add(Prefix::ALL_V6, Some(router.into()), interface);
        }
        self.changed();
    }

    /// RFC 4861 6.3.4: what is sent over the link is to come so far.
    fn set_hop_limit(&mut self, interface: InterfaceId, hop_limit: u8) {
        let Some(link) = self.autoconf.link_mut(interface) else { return };
        if link.hop_limit != Some(hop_limit) {
            link.hop_limit = Some(hop_limit);
            self.changed();
        }
    }

    /// RFC 4861 6.3.4: between half and one and a half of what the router says.
    fn set_reachable_time(&mut self, shared: &Shared, millis: u32) {
        const HOUR: u32 = 3_600_000;
        let mean = Duration::from_millis(millis.min(HOUR).into());
        self.neighbors.reachable_time.set_mean(shared.now, mean);
    }

    /// RFC 4861 6.3.4: the time between questions, within limits that a router that errs, or lies, cannot
    /// leave: no flood of them, and no neighbour that is found only after minutes.
    fn set_retransmit_time(&mut self, millis: u32) {
        const LEAST: u32 = 100;
        const MOST: u32 = 10_000;
        self.neighbors.retransmit_time = Duration::from_millis(millis.clamp(LEAST, MOST).into());
    }

    /// RFC 4861 6.3.4: never less than IPv6 needs, nor more than the link says itself.
    fn set_link_mtu(&mut self, interface: InterfaceId, mtu: u32) {
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let Some(link) = self.autoconf.link_mut(interface).filter(|_| mtu >= ipv6::MIN_MTU) else {
            return;
        };
        if link.mtu != Some(mtu) {
            link.mtu = Some(mtu);
            self.changed();
        }
    }

    fn prefix_advertised(
        &mut self,
        shared: &Shared,
        (interface, router): (InterfaceId, Ipv6Addr),
        said: &PrefixInformation,
    ) {
        let prefix = Prefix::new(said.prefix.into(), said.prefix_len);
        // RFC 4861 6.3.4: "A router SHOULD NOT send a prefix option for the link-local prefix and a
        // host SHOULD ignore such a prefix option."
        if said.prefix.is_unicast_link_local() || said.prefix.is_multicast() {
            return;
        }
        let until = moment(shared.now, said.valid_lifetime);
        if said.on_link {
            self.prefix_lives(shared, interface, prefix, until);
        }
        // RFC 4862 5.5.3 (c) and (d); identifiers have 64 bits (RFC 4291 2.5.1).
        if said.autonomous
            && said.preferred_lifetime <= said.valid_lifetime
            && said.prefix_len == 64
        {
            let advertisers = &mut self.autoconf.advertisers;
            let is_new = match said.valid_lifetime {
                0 => advertisers.retract(interface, router, prefix),
                _ => advertisers.note(interface, router, prefix),
            };
            if is_new {
                self.changed();
            }
            self.address_advertised(shared, interface, prefix, said);
        }
    }

    /// RFC 4861 6.3.4: the hosts of the prefix are on the link until then.
    fn prefix_lives(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        prefix: Prefix,
        until: Option<Instant>,
    ) {
        if until == Some(shared.now) {
            return self.prefix_left(interface, prefix);
        }
        let known = &mut self.autoconf.prefixes;
        let is_it = |known: &&mut OnLink| (known.interface, known.prefix) == (interface, prefix);
        if let Some(known) = known.iter_mut().find(is_it) {
            known.until = until;
        } else if known.len() < LIMIT && self.routes.add(prefix, None, interface).is_ok() {
            self.autoconf.prefixes.push(OnLink { interface, prefix, until });
            self.changed();
        }
    }

    pub(super) fn prefix_left(&mut self, interface: InterfaceId, prefix: Prefix) {
        let before = self.autoconf.prefixes.len();
        let is_it = |known: &OnLink| (known.interface, known.prefix) == (interface, prefix);
        self.autoconf.prefixes.retain(|known| !is_it(known));
        let was_there = self.autoconf.prefixes.len() != before;
        if was_there && !self.has_prefix(interface, prefix) {
            self.routes.remove(prefix, false, interface);
            self.changed();
        }
    }

    /// RFC 4862 5.5.3 (d) and (e): an address in the prefix, or a longer life for the one there is.
    fn address_advertised(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        prefix: Prefix,
        said: &PrefixInformation,
    ) {
        let now = shared.now;
        let lifetimes = (moment(now, said.preferred_lifetime), moment(now, said.valid_lifetime));
        let autoconf = &mut self.autoconf;
        let is_it = |lease: &&mut Lease| {
            (lease.interface, lease.prefix) == (interface, prefix) && lease.temporary.is_none()
        };
        if let Some(lease) = autoconf.leases.iter_mut().find(is_it) {
            lease.preferred_until = lifetimes.0;
            lease.valid_until = longer_life(now, lease.valid_until, lifetimes.1);
            let (address, valid) = (lease.address, lease.valid_until);
            let fresh = lifetimes.0.is_none_or(|until| until > now);
            if fresh && self.has_address(interface, address.into()) {
                self.set_state(interface, address.into(), AddressState::Preferred);
            }
            return self.renew_temporary(shared, interface, prefix, (lifetimes.0, valid));
        }
        let stable = |lease: &&Lease| lease.prefix != LINK_LOCAL && lease.temporary.is_none();
        let made = autoconf.leases.iter().filter(stable).count();
        if said.valid_lifetime > 0
            && made < LIMIT
            && let Ok(address) =
                self.make_address(shared, interface, prefix, 0, shared.config.solicitation_delay)
        {
            self.autoconf.set_lifetimes(interface, address, lifetimes);
            self.renew_temporary(shared, interface, prefix, lifetimes);
        }
    }
}

/// When a lifetime that begins now ends; `None` is never.
fn moment(now: Instant, seconds: u32) -> Option<Instant> {
    (seconds != INFINITE).then(|| now.after(Duration::from_secs(seconds.into())))
}

/// RFC 4862 5.5.3 (e): a life is made longer at once, and shorter down to two hours only: a forged
/// advertisement cannot take addresses away.
fn longer_life(now: Instant, current: Option<Instant>, said: Option<Instant>) -> Option<Instant> {
    let (Some(said), two_hours) = (said, now.after(TWO_HOURS)) else { return None };
    let longer = current.is_some_and(|current| said > current);
    if said > two_hours || longer {
        return Some(said);
    }
    match current {
        Some(current) if current <= two_hours => Some(current),
        _ => Some(two_hours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4862 5.5.3 (e), case by case.
    #[test]
    fn a_life_is_never_made_shorter_than_two_hours() {
        let now = Instant::from_millis(1000);
        let hours = |hours: u64| Some(now.after(Duration::from_secs(hours * 3600)));
        let table = [
            // current, said, expected
            (hours(1), hours(3), hours(3)),
            (hours(10), hours(3), hours(3)),
            (hours(1), hours(2), hours(2)),
            (hours(1), hours(0), hours(1)),
            (hours(2), hours(1), hours(2)),
            (hours(10), hours(1), hours(2)),
            (None, hours(1), hours(2)),
            (hours(1), None, None),
        ];
        for (current, said, expected) in table {
            assert_eq!(longer_life(now, current, said), expected, "{current:?} {said:?}");
        }
    }
}
