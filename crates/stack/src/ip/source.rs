//! From which of our addresses to speak to somebody (RFC 6724 section 5, RFC 1122 3.3.4.3).

use core::cmp::Ordering;
use core::net::{IpAddr, Ipv6Addr};

use crate::ip::InterfaceId;
use crate::ip::addresses::Assigned;
use crate::ip::interfaces::Interfaces;
use crate::ip::policy::PolicyTable;
use crate::ip::prefix::common_bits;

/// Addresses of IPv6 are good for a part of the network (RFC 4007, RFC 6724 3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Scope(u8);

impl Scope {
    const LINK_LOCAL: Self = Self(0x2);
    const SITE_LOCAL: Self = Self(0x5);
    const GLOBAL: Self = Self(0xe);

    /// The same for both families (RFC 6724 3.2).
    pub(super) fn of_any(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() => Self::LINK_LOCAL,
            IpAddr::V4(_) => Self::GLOBAL,
            IpAddr::V6(v6) => Self::of(v6),
        }
    }

    fn of(address: Ipv6Addr) -> Self {
        let [first, second, ..] = address.octets();
        match (first, second >> 6) {
            // A group says itself how far it reaches (RFC 4291 2.7).
            (0xff, _) => Self(second & 0xf),
            _ if address.is_loopback() || address.is_unicast_link_local() => Self::LINK_LOCAL,
            (0xfe, 3) => Self::SITE_LOCAL,
            _ => Self::GLOBAL,
        }
    }
}

impl Interfaces {
    /// The address to speak from, over `interface`, to `destination` by way of `next_hop`.
    pub(super) fn source_for(
        &self,
        interface: InterfaceId,
        next_hop: IpAddr,
        destination: IpAddr,
    ) -> Option<IpAddr> {
        match destination {
            IpAddr::V4(_) => self.source_v4(interface, next_hop),
            IpAddr::V6(destination) => {
                self.source_v6(interface, next_hop, destination).map(IpAddr::V6)
            }
        }
    }

    /// An address of this interface to speak to a neighbour from, where nothing else decides.
    pub(crate) fn source_on(&self, interface: InterfaceId, to: IpAddr) -> Option<IpAddr> {
        self.source_for(interface, to, to)
    }

    /// RFC 1122 3.3.4.3: an address in the next hop's own network, else the interface's first,
    /// else our first.
    fn source_v4(&self, interface: InterfaceId, next_hop: IpAddr) -> Option<IpAddr> {
        let of_interface = || self.assigned(interface).filter(|own| own.address.is_ipv4());
        let near = of_interface().find(|assigned| assigned.prefix().holds(next_hop));
        near.or_else(|| of_interface().next())
            .or_else(|| self.all_assigned().find(|own| own.address.is_ipv4()))
            .map(|assigned| assigned.address)
    }

    /// RFC 6724 4: the addresses of the interface; those of others only where it has none that
    /// reaches far enough, and never for groups.
    fn source_v6(
        &self,
        interface: InterfaceId,
        next_hop: IpAddr,
        destination: Ipv6Addr,
    ) -> Option<Ipv6Addr> {
        let far = Scope::of(destination) > Scope::LINK_LOCAL && !destination.is_multicast();
        let reaches = |own: &Candidate| !far || Scope::of(own.address) > Scope::LINK_LOCAL;
        let rules = Rules { policy: &self.policy, public_first: self.public_first };
        let of_hop = |own: Assigned| {
            let of_hop = self.autoconf.advertisers.is_of(interface, own.prefix(), next_hop);
            Some(Candidate { of_hop, ..Candidate::of(own)? })
        };
        let candidates = || self.assigned(interface).filter_map(of_hop);
        best(&rules, candidates(), destination)
            .filter(reaches)
            .or_else(|| {
                let elsewhere = self.all_assigned().filter_map(Candidate::of).filter(reaches);
                best(&rules, elsewhere, destination).filter(|_| far)
            })
            .or_else(|| best(&rules, candidates(), destination))
            .map(|own| own.address)
    }
}

/// What decides beside the addresses themselves.
struct Rules<'a> {
    policy: &'a PolicyTable,
    /// Rule 7, turned round.
    public_first: bool,
}

/// An address that could be the source.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: Ipv6Addr,
    prefix_len: u8,
    deprecated: bool,
    temporary: bool,
    /// Whether the next hop advertised its prefix, where some router did.
    of_hop: Option<bool>,
}

impl Candidate {
    fn of(own: Assigned) -> Option<Self> {
        let IpAddr::V6(address) = own.address else { return None };
        let Assigned { prefix_len, temporary, .. } = own;
        let deprecated = own.is_deprecated();
        let of_hop = None;
        own.is_usable().then_some(Self { address, prefix_len, deprecated, temporary, of_hop })
    }

    /// RFC 6724 5, rules 1 to 8: `Greater` is better. There are no home addresses (rule 4) here, and all
    /// are of the outgoing interface (rule 5).
    fn compare(&self, other: &Self, destination: Ipv6Addr, rules: &Rules<'_>) -> Ordering {
        let policy = rules.policy;
        let same = |own: &Self| own.address == destination;
        let label_matches = |own: &Self| policy.label(own.address) == policy.label(destination);
        same(self)
            .cmp(&same(other))
            .then_with(|| appropriate(self.address, other.address, destination))
            .then_with(|| other.deprecated.cmp(&self.deprecated))
            .then_with(|| self.compare_hops(other))
            .then_with(|| label_matches(self).cmp(&label_matches(other)))
            .then_with(|| match rules.public_first {
                true => other.temporary.cmp(&self.temporary),
                false => self.temporary.cmp(&other.temporary),
            })
            .then_with(|| self.match_length(destination).cmp(&other.match_length(destination)))
    }

    /// Rule 5.5: one whose prefix the next hop advertised goes before one whose prefix another router did.
    fn compare_hops(&self, other: &Self) -> Ordering {
        match (self.of_hop, other.of_hop) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => Ordering::Equal,
        }
    }

    /// `CommonPrefixLen` (RFC 6724 2.2): not more than what tells the source's own network.
    fn match_length(&self, destination: Ipv6Addr) -> u32 {
        common_bits(self.address, destination).min(u32::from(self.prefix_len))
    }
}

/// Rule 2: the smallest scope that reaches the destination.
fn appropriate(one: Ipv6Addr, other: Ipv6Addr, destination: Ipv6Addr) -> Ordering {
    let (one, other, needed) = (Scope::of(one), Scope::of(other), Scope::of(destination));
    match one.cmp(&other) {
        Ordering::Equal => Ordering::Equal,
        Ordering::Less if one < needed => Ordering::Less,
        Ordering::Less => Ordering::Greater,
        Ordering::Greater if other < needed => Ordering::Greater,
        Ordering::Greater => Ordering::Less,
    }
}

/// The best of all; of equals the first.
fn best(
    rules: &Rules<'_>,
    candidates: impl Iterator<Item = Candidate>,
    destination: Ipv6Addr,
) -> Option<Candidate> {
    candidates.reduce(|best, next| match next.compare(&best, destination, rules) {
        Ordering::Greater => next,
        _ => best,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::policy::PolicyRow;
    use alloc::vec::Vec;

    fn candidate(text: &str) -> Candidate {
        let (address, what) = text.split_once(' ').unwrap_or((text, ""));
        let (deprecated, temporary) = (what == "deprecated", what == "temporary");
        let address = address.parse().unwrap();
        Candidate { address, prefix_len: 64, deprecated, temporary, of_hop: None }
    }

    fn choose(destination: &str, candidates: &[&str]) -> Ipv6Addr {
        choose_by(&PolicyTable::default(), destination, candidates)
    }

    fn choose_by(policy: &PolicyTable, destination: &str, candidates: &[&str]) -> Ipv6Addr {
        choose_of(&Rules { policy, public_first: false }, destination, candidates)
    }

    fn choose_of(rules: &Rules<'_>, destination: &str, candidates: &[&str]) -> Ipv6Addr {
        let candidates: Vec<_> = candidates.iter().map(|text| candidate(text)).collect();
        let destination = destination.parse().unwrap();
        let chosen = best(rules, candidates.iter().copied(), destination).unwrap().address;
        // The order of the candidates does not matter.
        let backwards = best(rules, candidates.iter().rev().copied(), destination).unwrap().address;
        assert_eq!(chosen, backwards);
        chosen
    }

    /// The examples of RFC 6724 10.1 that know no home addresses.
    #[test]
    fn the_examples_of_rfc_6724() {
        let table: [(&str, [&str; 2], &str); 7] = [
            ("2001:db8:1::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
            ("ff05::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
            ("2001:db8:1::1", ["2001:db8:1::1 deprecated", "2001:db8:2::1"], "2001:db8:1::1"),
            ("fe80::1", ["fe80::2 deprecated", "2001:db8:1::1"], "fe80::2"),
            ("2001:db8:1::1", ["2001:db8:1::2", "2001:db8:3::2"], "2001:db8:1::2"),
            (
                "2002:c633:6401::1",
                ["2002:c633:6401::d5e3:7953:13eb:22e8", "2001:db8:1::2"],
                "2002:c633:6401::d5e3:7953:13eb:22e8",
            ),
            (
                "2001:db8:1::d5e3:0:0:1",
                ["2001:db8:1::2", "2001:db8:1::d5e3:7953:13eb:22e8 temporary"],
                "2001:db8:1::d5e3:7953:13eb:22e8",
            ),
        ];
        for (destination, candidates, expected) in table {
            assert_eq!(choose(destination, &candidates), expected.parse::<Ipv6Addr>().unwrap());
        }
    }

    /// RFC 6724 5, rule 7, either way.
    #[test]
    fn public_addresses_can_come_first() {
        let policy = PolicyTable::default();
        let candidates = ["2001:db8:1::2", "2001:db8:1::d5e3:7953:13eb:22e8 temporary"];
        for (public_first, expected) in [(true, 0), (false, 1)] {
            let chosen =
                choose_of(&Rules { policy: &policy, public_first }, "2606::1", &candidates);
            assert_eq!(chosen, candidate(candidates[expected]).address);
        }
    }

    #[test]
    fn a_deprecated_address_is_the_last_choice_of_its_scope() {
        let chosen = choose("2001:db8:1::1", &["2001:db8:1::2 deprecated", "2001:db8:9::2"]);
        assert_eq!(chosen, "2001:db8:9::2".parse::<Ipv6Addr>().unwrap());
    }

    /// RFC 6724 10.5: a site with two providers speaks to each partner from the address that goes with it.
    #[test]
    fn a_site_with_two_providers_has_labels_of_its_own() {
        let row = |prefix: &str, prefix_len, precedence, label| PolicyRow {
            prefix: prefix.parse().unwrap(),
            prefix_len,
            precedence,
            label,
        };
        let own = [
            row("2001:db8:1aaa::", 48, 43, 6),
            row("2001:db8:70aa::", 48, 42, 6),
            row("2001:db8:1bbb::", 48, 44, 7),
        ];
        let all = [PolicyTable::default().rows(), &own].concat();
        let (to, from) = ("2001:db8:1aaa::a", ["2001:db8:70aa::70", "2001:db8:1bbb::70"]);
        let policy = PolicyTable::new(&all).unwrap();
        assert_eq!(choose_by(&policy, to, &from), from[0].parse::<Ipv6Addr>().unwrap());
        // The longest common prefix says otherwise.
        assert_eq!(choose(to, &from), from[1].parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn scopes_are_those_of_the_address() {
        let table = [
            ("fe80::1", 2),
            ("::1", 2),
            ("fec0::1", 5),
            ("2001::1", 14),
            ("ff08::1", 8),
            // What holds an address of IPv4 (RFC 6724 3.3), and what is not defined yet (3.4).
            ("::ffff:10.0.0.1", 14),
            ("::10.0.0.1", 14),
            ("2002:a00:1::1", 14),
            ("4000::1", 14),
        ];
        for (address, scope) in table {
            assert_eq!(Scope::of(address.parse().unwrap()), Scope(scope), "{address}");
        }
    }
}
