//! How many flows each host has that a program takes, or took, for any address.

use core::net::IpAddr;

use hashbrown::HashMap;
use rand_core::Rng;

use crate::ip::keyed::KeyedState;

/// The flows of each source, bounded by [`Config::flows_per_source`](crate::Config).
#[derive(Debug)]
pub(crate) struct Sources(HashMap<IpAddr, u32, KeyedState>);

impl Sources {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self(HashMap::with_hasher(KeyedState::new(rng)))
    }

    /// Whether `source` has `limit` flows already.
    pub(crate) fn is_full(&self, source: IpAddr, limit: u32) -> bool {
        self.0.get(&source).is_some_and(|flows| *flows >= limit)
    }

    /// It has one more.
    pub(crate) fn count(&mut self, source: IpAddr) {
        *self.0.entry(source).or_insert(0) += 1;
    }

    /// It has one less.
    pub(crate) fn uncount(&mut self, source: IpAddr) {
        if let Some(flows) = self.0.get_mut(&source) {
            *flows -= 1;
            if *flows == 0 {
                self.0.remove(&source);
            }
        }
    }
}
