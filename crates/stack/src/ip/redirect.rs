//! Better first hops that routers tell of (RFC 4861 8.3, RFC 1122 3.2.2.2 and 3.3.1.2).
//!
//! A redirect is believed when it comes from the router that packets to its destination go to, by the link
//! that they take. Nobody signs it: on a link with strangers, [`Config::accept_redirects`] can be off. What
//! was learnt holds for some time, while that router is still the one that would be asked, and no longer
//! than somebody answers at the new hop.
//!
//! [`Config::accept_redirects`]: crate::Config::accept_redirects

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;

use wire::time::Instant;

use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;
use crate::reason::Dropped;
use crate::shared::Shared;

/// The destinations that routers gave a better first hop.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    known: BTreeMap<IpAddr, Redirect>,
    /// When each is forgotten, the first first.
    deadlines: BTreeSet<(Instant, IpAddr)>,
}

#[derive(Clone, Copy, Debug)]
struct Redirect {
    interface: InterfaceId,
    /// The router that the routing table names.
    instead_of: IpAddr,
    /// Who takes the packets: the destination itself, or another router.
    to: IpAddr,
    until: Instant,
}

impl Redirects {
    /// The first hop to `destination` where routes lead to `hop`.
    pub(super) fn better(
        &self,
        hop: (InterfaceId, IpAddr),
        destination: IpAddr,
    ) -> (InterfaceId, IpAddr) {
        if self.known.is_empty() {
            return hop;
        }
        let known = self.known.get(&destination);
        let holds = |known: &&Redirect| (known.interface, known.instead_of) == hop;
        known.filter(holds).map_or(hop, |known| (known.interface, known.to))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    /// Forgets what is old, and says whether anything was.
    fn expire(&mut self, now: Instant) -> bool {
        let before = self.known.len();
        while let Some(&(due, destination)) = self.deadlines.first()
            && due <= now
        {
            self.deadlines.pop_first();
            self.known.remove(&destination);
        }
        self.known.len() != before
    }

    /// Remembers a first hop; the one that was learnt first makes room for it.
    fn insert(&mut self, limit: usize, destination: IpAddr, redirect: Redirect) {
        if let Some(old) = self.known.remove(&destination) {
            self.deadlines.remove(&(old.until, destination));
        } else if self.known.len() >= limit.max(1)
            && let Some((_, oldest)) = self.deadlines.pop_first()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(destination, redirect);
        self.deadlines.insert((redirect.until, destination));
    }

    /// Forgets every way over a neighbour, and says whether there was any.
    fn forget(&mut self, interface: InterfaceId, hop: IpAddr) -> bool {
        let before = self.known.len();
        self.known.retain(|destination, known| {
            let is_it = (known.interface, known.to) == (interface, hop);
            if is_it {
                self.deadlines.remove(&(known.until, *destination));
            }
            !is_it
        });
        self.known.len() != before
    }
}

impl Interfaces {
    /// `router` says, over `interface`, that packets to `destination` should go to `to`.
    ///
    /// # Errors
    /// Why that is not believed.
    pub(crate) fn redirected(
        &mut self,
        shared: &Shared,
        (interface, router): (InterfaceId, IpAddr),
        destination: IpAddr,
        to: IpAddr,
    ) -> Result<(), Dropped> {
        if !shared.config.accept_redirects {
            return Err(Dropped::RedirectIgnored);
        }
        let hop = self.route(None, destination).map(|route| route.hop);
        let asked = hop.is_ok_and(|hop| (hop.interface, hop.next_hop) == (interface, router));
        // RFC 1122 3.2.2.2: the new gateway is on the link that the redirect came by. An address of
        // IPv6 that is link-local is there; another is the destination itself, which the router knows.
        let near = to.is_ipv6() || self.is_neighbor(interface, to);
        let nobody = to.is_unspecified() || to.is_multicast() || self.is_broadcast(to);
        if !asked || !near || nobody || to == router || self.is_local(to) {
            return Err(Dropped::RedirectImplausible);
        }
        let known = self.redirects.known.get(&destination);
        let instead_of = match known {
            Some(known) if known.to == router => known.instead_of,
            _ => router,
        };
        let until = shared.now.after(shared.config.redirect_expiry);
        let redirect = Redirect { interface, instead_of, to, until };
        self.redirects.insert(shared.config.redirect_limit, destination, redirect);
        self.changed();
        Ok(())
    }

    pub(super) fn expire_redirects(&mut self, shared: &Shared) {
        if self.redirects.expire(shared.now) {
            self.changed();
        }
    }

    /// Nobody answers at a first hop that a router told of: whether packets go another way now.
    pub(super) fn redirect_is_silent(&mut self, interface: InterfaceId, hop: IpAddr) -> bool {
        let forgotten = self.redirects.forget(interface, hop);
        if forgotten {
            self.changed();
        }
        forgotten
    }
}
