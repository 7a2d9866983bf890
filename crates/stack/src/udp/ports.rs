//! Which socket has which address and port, and which port is free (RFC 1122 4.1.3.5, RFC 6056).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;

use hashbrown::HashMap;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use crate::UdpId;
use crate::binding::Binding;
use crate::error::Error;
use crate::ip::keyed::KeyedState;

/// The bound addresses and ports of all sockets.
#[derive(Debug)]
pub(super) struct Ports {
    bound: HashMap<SocketAddr, Holders, KeyedState>,
    /// How many sockets have a port, whatever their addresses; a family apart.
    users: HashMap<(bool, u16), u32, KeyedState>,
    ephemeral: RangeInclusive<u16>,
    /// Where the search for a free port begins: anew at random each time (RFC 6056 3.3.1), so that
    /// nobody off the path can guess the port of a query.
    rng: ChaCha12Rng,
}

/// The sockets that have an address and port: mostly one.
#[derive(Debug)]
struct Holders {
    /// Whom datagrams to one host go to: the socket that came last.
    last: UdpId,
    /// Others, of which each hears what goes to a group or to everybody.
    before: Vec<UdpId>,
    /// All of them let others share.
    shared: bool,
}

impl Ports {
    pub(super) fn new(ephemeral: RangeInclusive<u16>, rng: &mut impl Rng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self {
            bound: HashMap::with_hasher(KeyedState::new(rng)),
            users: HashMap::with_hasher(KeyedState::new(rng)),
            ephemeral,
            rng: ChaCha12Rng::from_seed(seed),
        }
    }

    /// Where further secrets come from.
    pub(super) fn rng(&mut self) -> &mut impl Rng {
        &mut self.rng
    }

    /// The socket that a datagram to `local` is for: one with this very address goes first.
    pub(super) fn find(&self, local: SocketAddr) -> Option<UdpId> {
        let exact = self.bound.get(&local);
        exact.or_else(|| self.bound.get(&wildcard(local))).map(|holders| holders.last)
    }

    /// The sockets that a datagram to a group or to everybody at `local` can be for.
    pub(super) fn find_all(&self, local: SocketAddr) -> impl Iterator<Item = UdpId> {
        let holders = [self.bound.get(&local), self.bound.get(&wildcard(local))];
        holders
            .into_iter()
            .flatten()
            .flat_map(|holders| holders.before.iter().copied().chain([holders.last]))
    }

    /// Whether any socket has the port of `local`, in its family.
    pub(super) fn is_used(&self, local: SocketAddr) -> bool {
        self.users.contains_key(&user(local))
    }

    /// Whether a socket can have these, which lets others share them or does not.
    pub(super) fn can_have(&self, places: &[SocketAddr], shared: bool) -> bool {
        places.iter().all(|local| self.is_free(*local) || shared && self.is_shareable(*local))
    }

    /// Whether a socket can have `local` that lets others share it: all that overlap do so, too.
    fn is_shareable(&self, local: SocketAddr) -> bool {
        let overlaps = |other: &SocketAddr| {
            let any = local.ip().is_unspecified() || other.ip().is_unspecified();
            user(*other) == user(local) && (any || *other == local)
        };
        let mut holders = self.bound.iter().filter(|(other, _)| overlaps(other));
        holders.all(|(_, holders)| holders.shared)
    }

    /// Whether `local` overlaps with what some socket has.
    fn is_free(&self, local: SocketAddr) -> bool {
        if local.ip().is_unspecified() {
            !self.users.contains_key(&user(local))
        } else {
            !self.bound.contains_key(&local) && !self.bound.contains_key(&wildcard(local))
        }
    }

    /// One of the sockets that have these lets others share them from now on, or does not.
    pub(super) fn set_shared(&mut self, places: &[SocketAddr], shared: bool) {
        for place in places {
            if let Some(holders) = self.bound.get_mut(place) {
                // All of several do.
                holders.shared = shared && (holders.shared || holders.before.is_empty());
            }
        }
    }

    /// A free port for `binding` that `suits`.
    pub(super) fn pick(
        &mut self,
        binding: Binding,
        suits: impl Fn(u16) -> bool,
    ) -> Result<Binding, Error> {
        let (first, last) = (u32::from(*self.ephemeral.start()), u32::from(*self.ephemeral.end()));
        let count = (last + 1).saturating_sub(first);
        if count == 0 {
            return Err(Error::AddressNotAvailable);
        }
        let start = self.rng.next_u32() % count;
        (0..count)
            .filter_map(|step| u16::try_from(first + (start + step) % count).ok())
            .filter(|port| *port != 0 && suits(*port))
            .map(|port| binding.with_port(port))
            .find(|binding| self.can_have(&binding.places(), false))
            .ok_or(Error::AddressNotAvailable)
    }

    /// Gives a socket what it [can have](Self::can_have).
    pub(super) fn take(&mut self, places: &[SocketAddr], id: UdpId, shared: bool) {
        for local in places {
            self.take_place(*local, id, shared);
        }
    }

    /// Takes back what a socket has.
    pub(super) fn release(&mut self, places: &[SocketAddr], id: UdpId) {
        for local in places {
            self.release_place(*local, id);
        }
    }

    fn take_place(&mut self, local: SocketAddr, id: UdpId, shared: bool) {
        match self.bound.get_mut(&local) {
            Some(holders) => {
                holders.before.push(holders.last);
                holders.last = id;
            }
            None => {
                self.bound.insert(local, Holders { last: id, before: Vec::new(), shared });
            }
        }
        *self.users.entry(user(local)).or_insert(0) += 1;
    }

    fn release_place(&mut self, local: SocketAddr, id: UdpId) {
        let Some(holders) = self.bound.get_mut(&local) else { return };
        let others = holders.before.len();
        holders.before.retain(|other| *other != id);
        let was_last = holders.last == id;
        if !was_last && holders.before.len() == others {
            return;
        }
        if was_last {
            match holders.before.pop() {
                Some(before) => holders.last = before,
                None => {
                    self.bound.remove(&local);
                }
            }
        }
        if let Some(count) = self.users.get_mut(&user(local)) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&user(local));
            }
        }
    }
}

fn user(local: SocketAddr) -> (bool, u16) {
    (local.is_ipv4(), local.port())
}

/// The address that stands for all of its family.
pub(super) fn wildcard(address: SocketAddr) -> SocketAddr {
    let any = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, address.port())
}
