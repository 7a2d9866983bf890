//! A hash that nobody can predict without its key.

use core::fmt;
use core::hash::BuildHasher;

use rand_core::Rng;
use siphasher::sip::SipHasher13;

/// Makes keyed SipHash hashers: without the key nobody can choose addresses or ports so that they
/// collide and a look-up becomes a walk.
#[derive(Clone)]
pub(crate) struct KeyedState([u64; 2]);

impl KeyedState {
    /// A new secret key.
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self([rng.next_u64(), rng.next_u64()])
    }
}

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

impl fmt::Debug for KeyedState {
    /// Never prints the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedState { .. }")
    }
}
