//! Which router advertised which prefix (RFC 6724 5, rule 5.5; RFC 8028 3).
//!
//! A provider's router drops what comes from the addresses of another provider. So a conversation through
//! it begins from an address of a prefix that it advertised itself.

use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv6Addr};

use crate::ip::InterfaceId;
use crate::ip::prefix::Prefix;

/// How many are kept: as many routers and prefixes as are taken at all (16), four times.
const LIMIT: usize = 64;

/// Who advertised what, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Advertisers(VecDeque<(InterfaceId, Ipv6Addr, Prefix)>);

impl Advertisers {
    /// A router advertises a prefix for our addresses. Whether that is new.
    pub(super) fn note(
        &mut self,
        interface: InterfaceId,
        router: Ipv6Addr,
        prefix: Prefix,
    ) -> bool {
        let said = (interface, router, prefix);
        if self.0.contains(&said) {
            return false;
        }
        if self.0.len() >= LIMIT {
            self.0.pop_front();
        }
        self.0.push_back(said);
        true
    }

    /// A router does so no more. Whether it did.
    pub(super) fn retract(
        &mut self,
        interface: InterfaceId,
        router: Ipv6Addr,
        prefix: Prefix,
    ) -> bool {
        let before = self.0.len();
        self.0.retain(|said| *said != (interface, router, prefix));
        self.0.len() != before
    }

    /// A router is none any more.
    pub(super) fn forget(&mut self, interface: InterfaceId, router: Ipv6Addr) {
        self.0.retain(|said| (said.0, said.1) != (interface, router));
    }

    /// Whether `next_hop` is among the routers that advertised the prefix; `None` when nobody did.
    pub(super) fn is_of(
        &self,
        interface: InterfaceId,
        prefix: Prefix,
        next_hop: IpAddr,
    ) -> Option<bool> {
        let mut of_prefix = self.0.iter().filter(|said| (said.0, said.2) == (interface, prefix));
        let is_hop = |said: &(InterfaceId, Ipv6Addr, Prefix)| IpAddr::V6(said.1) == next_hop;
        let first = of_prefix.next()?;
        Some(is_hop(first) || of_prefix.any(is_hop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_prefix_is_known_who_advertised_it() {
        let link = InterfaceId(1);
        let router = |n| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n);
        let prefix = |n| Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 0).into(), 64);
        let mut known = Advertisers::default();
        assert!(known.note(link, router(1), prefix(1)) && known.note(link, router(2), prefix(1)));
        assert!(known.note(link, router(2), prefix(2)) && !known.note(link, router(2), prefix(2)));
        let is_of = |known: &Advertisers, n, hop| known.is_of(link, prefix(n), router(hop).into());
        assert_eq!((is_of(&known, 1, 1), is_of(&known, 1, 2)), (Some(true), Some(true)));
        assert_eq!((is_of(&known, 2, 1), is_of(&known, 2, 2)), (Some(false), Some(true)));
        assert_eq!(is_of(&known, 3, 1), None);
        assert_eq!(known.is_of(InterfaceId(2), prefix(1), router(1).into()), None);
        assert!(known.retract(link, router(1), prefix(1)));
        assert!(!known.retract(link, router(1), prefix(1)));
        assert_eq!(is_of(&known, 1, 1), Some(false));
        known.forget(link, router(2));
        assert_eq!((is_of(&known, 1, 2), is_of(&known, 2, 2)), (None, None));
        // A flood of them is bounded.
        for n in 0..1000 {
            known.note(link, router(9), prefix(n));
        }
        assert_eq!((known.0.len(), is_of(&known, 999, 9)), (LIMIT, Some(true)));
    }
}
