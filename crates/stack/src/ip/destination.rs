//! In which order to try the addresses of a host (RFC 6724 section 6).

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;

use crate::ip::interfaces::Interfaces;
use crate::ip::policy::as_v6;
use crate::ip::prefix::common_bits;
use crate::ip::source::Scope;
use crate::stack::Stack;

/// Destinations.
impl Stack {
    /// Puts the addresses of a host in the order in which to try them: those that cannot be reached last, then as
    /// [`Config::address_policy`](crate::Config) and our own addresses say (RFC 6724 6). What nothing tells apart
    /// stays as it is.
    pub fn sort_destinations(&self, addresses: &mut [IpAddr]) {
        self.interfaces.sort_destinations(addresses);
    }
}

/// An address, and what is known of the way to it.
struct Destination {
    address: IpAddr,
    rank: Rank,
    /// How many bits it has in common with the source, within the source's own network.
    near: u32,
}

/// Rules 1 to 8, of which 4 and 7 mean nothing here; the least is tried first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rank {
    unreachable: bool,
    other_scope: bool,
    deprecated: bool,
    other_label: bool,
    precedence: Reverse<Option<u8>>,
    scope: Scope,
}

impl Interfaces {
    fn sort_destinations(&self, addresses: &mut [IpAddr]) {
        let mut sorted: Vec<_> =
            addresses.iter().map(|&address| self.destination(address)).collect();
        sorted.sort_by_key(|destination| destination.rank);
        for alike in sorted.chunk_by_mut(|one, next| one.rank == next.rank) {
            nearest_first(alike, IpAddr::is_ipv6);
            nearest_first(alike, IpAddr::is_ipv4);
        }
        for (place, destination) in addresses.iter_mut().zip(sorted) {
            *place = destination.address;
        }
    }

    fn destination(&self, address: IpAddr) -> Destination {
        let source = self.route(None, address).ok().map(|route| route.source);
        let own = source.and_then(|source| self.all_assigned().find(|own| own.address == source));
        let (scope, label) = (Scope::of_any(address), |ip| self.policy.label(as_v6(ip)));
        let rank = Rank {
            unreachable: source.is_none(),
            other_scope: source.is_some_and(|source| Scope::of_any(source) != scope),
            deprecated: own.is_some_and(|own| own.is_deprecated()),
            other_label: source.is_some_and(|source| label(source) != label(address)),
            precedence: Reverse(self.policy.precedence(as_v6(address))),
            scope,
        };
        let near = own.map_or(0, |own| {
            let skipped = if address.is_ipv4() { 96 } else { 0 };
            let common = common_bits(as_v6(own.address), as_v6(address)).saturating_sub(skipped);
            common.min(u32::from(own.prefix_len))
        });
        Destination { address, rank, near }
    }
}

/// Rule 9: of one family the nearest first, in the places that the family has.
fn nearest_first(alike: &mut [Destination], of_family: fn(&IpAddr) -> bool) {
    let mut of_family_all: Vec<(IpAddr, u32)> = alike
        .iter()
        .filter(|destination| of_family(&destination.address))
        .map(|destination| (destination.address, destination.near))
        .collect();
    of_family_all.sort_by_key(|&(_, near)| Reverse(near));
    let places = alike.iter_mut().filter(|destination| of_family(&destination.address));
    for (place, (address, near)) in places.zip(of_family_all) {
        (place.address, place.near) = (address, near);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::policy::{PolicyRow, PolicyTable};
    use crate::{Config, InterfaceId};
    use wire::frame::{Capabilities, Medium};

    /// A host with these addresses on a link where everybody is reached.
    fn host(addresses: &[&str], policy: PolicyTable) -> (Stack, InterfaceId) {
        let config = Config { address_policy: policy, ..Config::default() };
        let mut stack = Stack::new(config, [7; 32]);
        let capabilities =
            Capabilities { medium: Medium::Ip, mtu: 1500, checksum: false, segmentation: false };
        let interface = stack.add_interface(capabilities);
        for address in addresses {
            let address: IpAddr = address.parse().unwrap();
            let prefix_len = if address.is_ipv4() { 24 } else { 64 };
            stack.add_address(interface, address, prefix_len).unwrap();
        }
        (stack, interface)
    }

    /// The order of these, whatever the one in which they come.
    #[track_caller]
    fn first_of(stack: &Stack, expected: &[&str]) {
        let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        for turned in [false, true] {
            let mut order = expected.clone();
            if turned {
                order.reverse();
            }
            stack.sort_destinations(&mut order);
            assert_eq!(order, expected, "turned: {turned}");
        }
    }

    fn with_routes(addresses: &[&str], policy: PolicyTable) -> Stack {
        let (mut stack, interface) = host(addresses, policy);
        stack.add_route(interface, "::".parse().unwrap(), 0, None).unwrap();
        stack.add_route(interface, "0.0.0.0".parse().unwrap(), 0, None).unwrap();
        stack
    }

    /// The default table with other rows.
    fn table(rows: &[(&str, u8, u8, u8)]) -> PolicyTable {
        let defaults = PolicyTable::default();
        let given = rows.iter().map(|&(prefix, prefix_len, precedence, label)| PolicyRow {
            prefix: prefix.parse().unwrap(),
            prefix_len,
            precedence,
            label,
        });
        let given: Vec<PolicyRow> = given.collect();
        let replaced = |row: &PolicyRow| {
            given.iter().any(|new| (new.prefix, new.prefix_len) == (row.prefix, row.prefix_len))
        };
        let kept = defaults.rows().iter().copied().filter(|row| !replaced(row));
        PolicyTable::new(&kept.chain(given.iter().copied()).collect::<Vec<_>>()).unwrap()
    }

    /// RFC 6724 10.2, the rows without home addresses and without what is deprecated.
    #[test]
    fn the_examples_of_destinations() {
        let default = PolicyTable::default;
        let both = with_routes(&["2001:db8:1::2", "fe80::1", "169.254.13.78"], default());
        first_of(&both, &["2001:db8:1::1", "198.51.100.121"]);
        let v4 = with_routes(&["fe80::1", "198.51.100.117"], default());
        first_of(&v4, &["198.51.100.121", "2001:db8:1::1"]);
        let private = with_routes(&["2001:db8:1::2", "fe80::1", "10.1.2.4"], default());
        first_of(&private, &["2001:db8:1::1", "10.1.2.3"]);
        let near = with_routes(&["2001:db8:1::2", "2001:db8:3f44::2", "fe80::2"], default());
        first_of(&near, &["2001:db8:1::1", "2001:db8:3ffe::1"]);
        let sixto4 = with_routes(&["2002:c633:6401::2", "fe80::2"], default());
        first_of(&sixto4, &["2002:c633:6401::1", "2001:db8:1::1"]);
    }

    /// RFC 6724 10.3: IPv4 is preferred by one row.
    #[test]
    fn ipv4_is_preferred_where_the_table_says_so() {
        let policy = table(&[("::ffff:0:0", 96, 100, 4)]);
        let stack = with_routes(&["2001:db8::2", "169.254.13.78"], policy.clone());
        first_of(&stack, &["2001:db8::1", "198.51.100.121"]);
        let stack = with_routes(&["2001:db8::2", "10.1.2.4"], policy);
        first_of(&stack, &["10.1.2.3", "2001:db8::1"]);
    }

    /// RFC 6724 10.6: unique local addresses of our own site come before global ones.
    #[test]
    fn the_addresses_of_a_site_are_preferred_where_the_table_says_so() {
        let addresses = ["2001:db8:1::2", "fd11:1111:1111:1::2"];
        let pair = ["fd11:1111:1111:1::1", "2001:db8:1::1"];
        let stack = with_routes(&addresses, PolicyTable::default());
        first_of(&stack, &[pair[1], pair[0]]);
        let stack = with_routes(&addresses, table(&[("fd11:1111:1111::", 48, 45, 14)]));
        first_of(&stack, &pair);
    }

    /// RFC 6724 10.7: 6to4 before native addresses.
    #[test]
    fn six_to_four_is_preferred_where_the_table_says_so() {
        let addresses = ["2001:db8:1::2", "2002:c633:6401::2"];
        let pair = ["2002:c633:6401::1", "2001:db8:1::1"];
        first_of(&with_routes(&addresses, PolicyTable::default()), &[pair[1], pair[0]]);
        first_of(&with_routes(&addresses, table(&[("2002::", 16, 45, 2)])), &pair);
    }

    /// Rule 1; and what nothing tells apart stays, also among others.
    #[test]
    fn what_cannot_be_reached_is_last_and_what_is_alike_stays() {
        let (stack, _) = host(&["2001:db8:1::2", "10.1.2.4"], PolicyTable::default());
        first_of(&stack, &["10.1.2.3", "2001:db8:9::1"]);
        let mut alike: Vec<IpAddr> =
            ["10.9.9.9", "10.9.9.1", "10.9.9.5"].map(|text| text.parse().unwrap()).to_vec();
        let before = alike.clone();
        with_routes(&["10.1.2.4"], PolicyTable::default()).sort_destinations(&mut alike);
        assert_eq!(alike, before);
    }
}
