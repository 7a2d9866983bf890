//! Which socket has which address and port, and which port is free (RFC 1122 4.1.3.5, RFC 6056).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;

use hashbrown::HashMap;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use crate::UdpId;
use crate::error::Error;
use crate::ip::keyed::KeyedState;

/// The bound addresses and ports of all sockets.
#[derive(Debug)]
pub(super) struct Ports {
    bound: HashMap<SocketAddr, UdpId, KeyedState>,
    /// How many sockets have a port, whatever their addresses; a family apart.
    users: HashMap<(bool, u16), u32, KeyedState>,
    ephemeral: RangeInclusive<u16>,
    /// Where the search for a free port begins: anew at random each time (RFC 6056 3.3.1), so that
    /// nobody off the path can guess the port of a query.
    rng: ChaCha12Rng,
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
        exact.or_else(|| self.bound.get(&wildcard(local))).copied()
    }

    /// Whether `local` overlaps with what some socket has.
    pub(super) fn is_free(&self, local: SocketAddr) -> bool {
        if local.ip().is_unspecified() {
            !self.users.contains_key(&user(local))
        } else {
            !self.bound.contains_key(&local) && !self.bound.contains_key(&wildcard(local))
        }
    }

    /// A free port for `address` that `suits`.
    pub(super) fn pick(
        &mut self,
        address: IpAddr,
        suits: impl Fn(u16) -> bool,
    ) -> Result<SocketAddr, Error> {
        let (first, last) = (u32::from(*self.ephemeral.start()), u32::from(*self.ephemeral.end()));
        let count = (last + 1).saturating_sub(first);
        if count == 0 {
            return Err(Error::AddressNotAvailable);
        }
        let start = self.rng.next_u32() % count;
        (0..count)
            .filter_map(|step| u16::try_from(first + (start + step) % count).ok())
            .map(|port| SocketAddr::new(address, port))
            .find(|&local| local.port() != 0 && suits(local.port()) && self.is_free(local))
            .ok_or(Error::AddressNotAvailable)
    }

    /// Gives `local`, which must be free, to a socket.
    pub(super) fn take(&mut self, local: SocketAddr, id: UdpId) {
        self.bound.insert(local, id);
        *self.users.entry(user(local)).or_insert(0) += 1;
    }

    /// Takes `local` back.
    pub(super) fn release(&mut self, local: SocketAddr) {
        if self.bound.remove(&local).is_none() {
            return;
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
