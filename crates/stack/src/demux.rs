//! Demultiplexing: which endpoint a segment belongs to (RFC 9293 3.1, 1122 4.2.2.2).
//!
//! One hash table over local and remote address and port, for both families, with one look-up per
//! segment however many connections there are. The hash is keyed SipHash: without the key nobody
//! can choose addresses and ports so that they collide and the look-up becomes a walk.
//!
//! The table holds a small value for each endpoint and not its [`FourTuple`]: the endpoint knows
//! that itself, and the caller's closure asks it. Beside the value stand 32 bits of the hash, so
//! that a colliding endpoint is asked almost never, and growing the table hashes nothing again.

use core::borrow::Borrow;
use core::fmt;
use core::hash::Hasher;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use siphasher::sip::SipHasher13;

use crate::flow::FourTuple;

/// A table with room for no more than this many endpoints is not worth shrinking.
const SMALL_TABLE: usize = 1024;

/// The endpoints of a stack by their [`FourTuple`].
///
/// The methods take a closure `tuple_of` that gives the tuple of an endpoint in the table; it
/// must give the one under which the endpoint was inserted. Scope and flow label of an IPv6
/// address take part in the comparison but not in the hash.
pub(crate) struct Demux<V> {
    table: HashTable<Entry<V>>,
    /// The secret key of the hash.
    key: [u64; 2],
}

#[derive(Clone, Copy)]
struct Entry<V> {
    /// The hash of the endpoint's tuple.
    hash: u32,
    /// The endpoint.
    value: V,
}

impl<V: Copy> Demux<V> {
    /// An empty table with a secret `key`. Allocates nothing.
    pub(crate) fn new(key: [u64; 2]) -> Self {
        Self { table: HashTable::new(), key }
    }

    /// The endpoint with exactly this tuple.
    pub(crate) fn find<B: Borrow<FourTuple>>(
        &self,
        tuple: &FourTuple,
        tuple_of: impl Fn(V) -> B,
    ) -> Option<V> {
        let hash = self.hash(tuple);
        let entry = self.table.find(spread(hash), |e| e.is(hash, tuple, &tuple_of))?;
        Some(entry.value)
    }

    /// The endpoint between two addresses and ports of IPv4, where `is_it` says whether it is the one.
    #[inline]
    pub(crate) fn find_v4(
        &self,
        local: (Ipv4Addr, u16),
        remote: (Ipv4Addr, u16),
        is_it: impl Fn(V) -> bool,
    ) -> Option<V> {
        let mut bytes = [0; 12];
        for (place, (address, port)) in bytes.chunks_exact_mut(6).zip([local, remote]) {
            place[..4].copy_from_slice(&address.octets());
            place[4..].copy_from_slice(&port.to_be_bytes());
        }
        let hash = self.hash_bytes(&bytes);
        let entry = self.table.find(spread(hash), |e| e.hash == hash && is_it(e.value))?;
        Some(entry.value)
    }

    /// Puts `value` into the table under `tuple`, and gives back what was there before.
    pub(crate) fn insert<B: Borrow<FourTuple>>(
        &mut self,
        tuple: &FourTuple,
        value: V,
        tuple_of: impl Fn(V) -> B,
    ) -> Option<V> {
        let hash = self.hash(tuple);
        let is_it = |e: &Entry<V>| e.is(hash, tuple, &tuple_of);
        match self.table.entry(spread(hash), is_it, |e| spread(e.hash)) {
            Place::Occupied(mut place) => {
                Some(core::mem::replace(&mut place.get_mut().value, value))
            }
            Place::Vacant(place) => {
                place.insert(Entry { hash, value });
                None
            }
        }
    }

    /// Takes the endpoint with this tuple out of the table.
    ///
    /// A table that is mostly empty by now gives memory back, so that a wave of short connections
    /// leaves nothing behind.
    pub(crate) fn remove<B: Borrow<FourTuple>>(
        &mut self,
        tuple: &FourTuple,
        tuple_of: impl Fn(V) -> B,
    ) -> Option<V> {
        let hash = self.hash(tuple);
        let is_it = |e: &Entry<V>| e.is(hash, tuple, &tuple_of);
        let place = self.table.find_entry(spread(hash), is_it).ok()?;
        let (entry, _) = place.remove();
        self.shrink();
        Some(entry.value)
    }

    /// Takes out the entry that says that `tuple` is `value`, and no other, without asking any
    /// endpoint: this one may be gone already.
    pub(crate) fn remove_value(&mut self, tuple: &FourTuple, value: V)
    where
        V: PartialEq,
    {
        let hash = self.hash(tuple);
        let is_it = |e: &Entry<V>| e.hash == hash && e.value == value;
        if let Ok(place) = self.table.find_entry(spread(hash), is_it) {
            place.remove();
            self.shrink();
        }
    }

    /// The keyed hash of a tuple. Uniform, and a secret as long as the key is one.
    pub(crate) fn hash(&self, tuple: &FourTuple) -> u32 {
        let mut bytes = [0; 2 * MAX_ENCODED];
        let split = encode(tuple.local, &mut bytes);
        let length = split + encode(tuple.remote, &mut bytes[split..]);
        self.hash_bytes(&bytes[..length])
    }

    fn hash_bytes(&self, bytes: &[u8]) -> u32 {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write(bytes);
        // The lower half of a uniform hash is uniform.
        hasher.finish() as u32
    }

    /// How many endpoints there are.
    #[cfg_attr(not(test), allow(dead_code, reason = "for counters"))]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Makes the table smaller once seven eighths of it are empty. What is left has room for as
    /// many again, so in the long run this is O(1) for each endpoint that comes or goes.
    fn shrink(&mut self) {
        let (length, capacity) = (self.table.len(), self.table.capacity());
        if capacity > SMALL_TABLE && length < capacity / 8 {
            self.table.shrink_to(length * 2, |e| spread(e.hash));
        }
    }
}

impl<V: Copy> Entry<V> {
    fn is<B: Borrow<FourTuple>>(
        &self,
        hash: u32,
        tuple: &FourTuple,
        tuple_of: impl Fn(V) -> B,
    ) -> bool {
        self.hash == hash && tuple_of(self.value).borrow() == tuple
    }
}

impl<V> fmt::Debug for Demux<V> {
    /// How many endpoints there are; never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demux").field("len", &self.table.len()).finish_non_exhaustive()
    }
}

/// 32 bits of hash for a table that takes a bucket from the low bits and a tag from the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// The most bytes that [`encode`] writes.
const MAX_ENCODED: usize = 18;

/// Writes address and port, and says how many bytes that took. Two tuples of one family have the
/// same bytes only if they are the same.
fn encode(address: SocketAddr, into: &mut [u8]) -> usize {
    let length = match address.ip() {
        IpAddr::V4(ip) => {
            into[..4].copy_from_slice(&ip.octets());
            4
        }
        IpAddr::V6(ip) => {
            into[..16].copy_from_slice(&ip.octets());
            16
        }
    };
    into[length..length + 2].copy_from_slice(&address.port().to_be_bytes());
    length + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;
    use std::collections::HashMap;

    const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    fn tuple(n: u32) -> FourTuple {
        let port = (n % 50_000) as u16 + 1;
        let remote = if n.is_multiple_of(2) {
            IpAddr::V4(Ipv4Addr::from_bits(n / 50_000 + 0x0a00_0001))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(n / 50_000) + 1))
        };
        let local = match remote {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        FourTuple::new((local, 80), (remote, port))
    }

    #[test]
    fn an_entry_is_the_value_and_four_bytes() {
        assert_eq!(size_of::<Entry<u32>>(), 8);
    }

    #[test]
    fn the_hash_depends_on_every_part_and_on_the_key() {
        let demux = Demux::<u32>::new(KEY);
        let base = tuple(0);
        let mut others = Vec::from([base, base.reversed(), tuple(1)]);
        for change in 1..=3 {
            let mut other = base;
            if change & 1 != 0 {
                other.local.set_port(81);
            }
            if change & 2 != 0 {
                other.remote.set_ip(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
            }
            others.push(other);
        }
        let mut hashes: Vec<_> = others.iter().map(|tuple| demux.hash(tuple)).collect();
        hashes.push(Demux::<u32>::new([1, 2]).hash(&base));
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn a_wave_of_connections_leaves_no_memory_behind() {
        const COUNT: u32 = 100_000;
        let mut demux = Demux::new(KEY);
        for n in 0..COUNT {
            assert_eq!(demux.insert(&tuple(n), n, tuple), None);
        }
        assert_eq!(demux.len(), COUNT as usize);
        for n in 0..COUNT {
            assert_eq!(demux.find(&tuple(n), tuple), Some(n));
        }
        for n in 0..COUNT {
            assert_eq!(demux.remove(&tuple(n), tuple), Some(n));
        }
        assert_eq!(demux.len(), 0);
        assert!(demux.table.capacity() <= SMALL_TABLE);
    }

    #[test]
    fn a_stranger_is_asked_for_its_tuple_almost_never() {
        let mut demux = Demux::new(KEY);
        for n in 0..10_000 {
            demux.insert(&tuple(n), n, tuple);
        }
        let asked = core::cell::Cell::new(0);
        for n in 0..20_000 {
            demux.find(&tuple(n), |n| {
                asked.set(asked.get() + 1);
                tuple(n)
            });
        }
        assert!((10_000..10_010).contains(&asked.get()), "{asked:?}");
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(
            steps in proptest::collection::vec((0..4, 0..64_u32), 1..400),
        ) {
            // The endpoints own their tuples; the table gets their indices.
            let mut endpoints = Vec::new();
            let mut demux = Demux::new(KEY);
            let mut model = HashMap::new();
            for (what, n) in steps {
                let wanted = tuple(n);
                match what {
                    0 => {
                        endpoints.push(wanted);
                        let value = endpoints.len() - 1;
                        let before = demux.insert(&wanted, value, |v: usize| &endpoints[v]);
                        prop_assert_eq!(before, model.insert(wanted, value));
                    }
                    1 => prop_assert_eq!(
                        demux.remove(&wanted, |v| &endpoints[v]),
                        model.remove(&wanted)
                    ),
                    2 => {
                        let value = model.remove(&wanted).unwrap_or(usize::MAX);
                        demux.remove_value(&wanted, value);
                    }
                    _ => prop_assert_eq!(
                        demux.find(&wanted, |v| &endpoints[v]),
                        model.get(&wanted).copied()
                    ),
                }
                prop_assert_eq!(demux.len(), model.len());
            }
        }
    }
}
