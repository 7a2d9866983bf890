//! Ephemeral ports: double-hash selection (RFC 6056 3.3.4, algorithm 4).
//!
//! A keyed hash of the destination says where in the range to begin, and a counter says how far
//! earlier connections have got. A peer sees its own ports advance and so seldom meets a port that it
//! still remembers in TIME-WAIT, and it learns nothing about the ports used towards others.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

use super::isn::{KeyedHash, Purpose, low_half};

/// How many counters there are. RFC 6056 3.3.4 asks for more than ten; a thousand make it
/// unlikely that an observer finds another destination that shares its counter, for 4 KiB.
const COUNTERS: usize = 1024;

/// Chooses the local port of a connection that is opened from here.
#[derive(Clone)]
pub(crate) struct PortAllocator {
    /// The secret of both hashes.
    key: [u8; 16],
    /// The ports that may be chosen.
    range: RangeInclusive<u16>,
    /// How far the destinations that share a counter have got, in ports.
    counters: Box<[u32]>,
}

impl PortAllocator {
    /// An allocator over `range`; the counters begin at values drawn from the key.
    pub(crate) fn new(key: [u8; 16], range: RangeInclusive<u16>) -> Self {
        let first = |index: usize| {
            low_half(KeyedHash::new(&key, Purpose::PortCounter).number(index as u64).finish())
        };
        let counters: Vec<u32> = (0..COUNTERS).map(first).collect();
        Self { key, range, counters: counters.into_boxed_slice() }
    }

    /// Changes the ports that may be chosen from now on.
    #[cfg(test)]
    fn set_range(&mut self, range: RangeInclusive<u16>) {
        self.range = range;
    }

    /// A port for a connection from `local` to `remote` that `is_free` agrees to.
    ///
    /// Every port of the range is offered at most once; `None` when none is free (`EADDRNOTAVAIL`).
    /// Port 0 is never chosen, even if the range has it.
    pub(crate) fn allocate(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let first = *self.range.start();
        let count = u32::from(self.range.end().checked_sub(first)?) + 1;
        let offset = low_half(self.hash(Purpose::PortOffset, local, remote));
        let index = self.hash(Purpose::PortIndex, local, remote) % COUNTERS as u64;
        let counter = &mut self.counters[index as usize];
        for _ in 0..count {
            let step = offset.wrapping_add(*counter) % count;
            *counter = counter.wrapping_add(1);
            let port = u16::try_from(u32::from(first) + step).ok()?;
            if port != 0 && is_free(port) {
                return Some(port);
            }
        }
        None
    }

    fn hash(&self, purpose: Purpose, local: IpAddr, remote: SocketAddr) -> u64 {
        KeyedHash::new(&self.key, purpose).address(local).endpoint(remote).finish()
    }
}

impl Default for PortAllocator {
    /// An allocator without a port to give, which allocates nothing itself.
    fn default() -> Self {
        Self { key: [0; 16], range: RangeInclusive::new(1, 0), counters: Box::default() }
    }
}

impl core::fmt::Debug for PortAllocator {
    /// Never prints the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PortAllocator").field("range", &self.range).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use core::net::Ipv4Addr;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));

    fn remote(last: u8, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, last)), port)
    }

    #[test]
    fn every_port_of_the_range_comes_once_before_any_comes_again() {
        // 2^32 is no multiple of 28,232, so the walk may skip where the counter wraps; not here.
        let mut ports = PortAllocator::new([3; 16], 32_768..=60_999);
        let mut seen = BTreeSet::new();
        for _ in 0..28_232 {
            let port = ports.allocate(LOCAL, remote(1, 80), |_| true).unwrap();
            assert!((32_768..=60_999).contains(&port) && seen.insert(port));
        }
    }

    #[test]
    fn a_full_range_is_searched_once_and_given_up() {
        let mut ports = PortAllocator::new([3; 16], 100..=109);
        let mut asked = Vec::new();
        let refuse = |port| {
            asked.push(port);
            false
        };
        assert_eq!(ports.allocate(LOCAL, remote(1, 80), refuse), None);
        asked.sort_unstable();
        assert_eq!(asked, (100..=109).collect::<Vec<u16>>());
    }

    #[test]
    fn the_only_free_port_is_found() {
        let mut ports = PortAllocator::new([3; 16], 1..=u16::MAX);
        assert_eq!(ports.allocate(LOCAL, remote(1, 80), |port| port == 4711), Some(4711));
    }

    #[test]
    fn an_empty_range_and_port_zero_give_nothing() {
        #[allow(clippy::reversed_empty_ranges, reason = "the empty range is what is tested")]
        let mut ports = PortAllocator::new([3; 16], 9..=8);
        assert_eq!(ports.allocate(LOCAL, remote(1, 80), |_| true), None);
        ports.set_range(0..=0);
        assert_eq!(ports.allocate(LOCAL, remote(1, 80), |_| true), None);
    }

    #[test]
    fn destinations_begin_at_unrelated_ports() {
        let mut ports = PortAllocator::new([3; 16], 32_768..=60_999);
        let first: BTreeSet<u16> =
            (0..100).filter_map(|last| ports.allocate(LOCAL, remote(last, 80), |_| true)).collect();
        assert!(first.len() > 95, "only {} different ports", first.len());
        let spread = first.last().unwrap() - first.first().unwrap();
        assert!(spread > 20_000, "all within {spread} ports");
    }
}
