//! Which listener has which address and port (RFC 9293 3.9.1.1).

use alloc::collections::BTreeMap;
use core::net::SocketAddr;

use hashbrown::HashMap;
use rand_core::Rng;

use crate::ListenerId;
use crate::ip::keyed::KeyedState;
use crate::tcp::wildcard;

/// Stands for all ports, where 0 is nobody's.
pub(crate) const ANY_PORT: u16 = 0;

/// The addresses and ports of all listeners; an unspecified address stands for all of its family.
#[derive(Debug)]
pub(crate) struct Listening {
    by_address: HashMap<SocketAddr, ListenerId, KeyedState>,
    /// How many listeners have a port, whatever their addresses; a family apart.
    ports: BTreeMap<(bool, u16), u32>,
}

impl Listening {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        let by_address = HashMap::with_hasher(KeyedState::new(rng));
        Self { by_address, ports: BTreeMap::new() }
    }

    /// The listener for a segment to `local`: one for the address itself goes first, one for every
    /// port last.
    pub(crate) fn find(&self, local: SocketAddr) -> Option<ListenerId> {
        let all = wildcard(local);
        let any = || self.by_address.get(&SocketAddr::new(all.ip(), ANY_PORT));
        let exact = self.by_address.get(&local);
        exact.or_else(|| self.by_address.get(&all)).or_else(any).copied()
    }

    /// Whether nobody has `place`, nor what overlaps with it: an address and all addresses do, as on
    /// Linux, whichever came first.
    pub(crate) fn is_free(&self, place: &SocketAddr) -> bool {
        if place.port() == ANY_PORT {
            return !self.by_address.contains_key(place);
        }
        if place.ip().is_unspecified() {
            return !self.ports.contains_key(&port(place));
        }
        !self.by_address.contains_key(place) && !self.by_address.contains_key(&wildcard(*place))
    }

    /// Gives a listener places that are free.
    pub(crate) fn take(&mut self, places: &[SocketAddr], id: ListenerId) {
        for place in places {
            self.by_address.insert(*place, id);
            *self.ports.entry(port(place)).or_insert(0) += 1;
        }
    }

    /// Takes them back.
    pub(crate) fn release(&mut self, places: &[SocketAddr]) {
        for place in places {
            if self.by_address.remove(place).is_none() {
                continue;
            }
            if let Some(count) = self.ports.get_mut(&port(place)) {
                *count -= 1;
                if *count == 0 {
                    self.ports.remove(&port(place));
                }
            }
        }
    }
}

fn port(place: &SocketAddr) -> (bool, u16) {
    (place.is_ipv4(), place.port())
}
