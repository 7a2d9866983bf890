//! Identifiers of interfaces that are stable and say nothing (RFC 7217).

use core::hash::Hasher;
use core::net::{IpAddr, Ipv6Addr};

use siphasher::sip::SipHasher24;

use crate::ip::InterfaceId;

/// What an identifier is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) interface: InterfaceId,
    pub(super) hardware: [u8; 6],
    /// The prefix, of 64 bits.
    pub(super) network: Ipv6Addr,
}

/// RFC 7217 5: an address whose identifier is the same each time on this link and says nothing elsewhere.
pub(super) fn opaque_address(
    secret: &[u8; 16],
    name: &Name,
    retries: u8,
    is_ours: impl Fn(IpAddr) -> bool,
) -> Ipv6Addr {
    let identifier = |counter: u32| {
        let mut hash = SipHasher24::new_with_key(secret);
        hash.write(&name.network.octets()[..8]);
        hash.write(&name.hardware);
        hash.write_u8(name.interface.0);
        hash.write_u32(counter);
        hash.finish()
    };
    let counters = (u32::from(retries)..).step_by(1 << 8);
    first_free(name.network, counters.map(identifier), is_ours)
}

/// The first of `identifiers` that is neither reserved nor taken by another address of ours; where there is
/// none, the last resort is 1.
pub(super) fn first_free(
    network: Ipv6Addr,
    identifiers: impl IntoIterator<Item = u64>,
    is_ours: impl Fn(IpAddr) -> bool,
) -> Ipv6Addr {
    let network = network.to_bits() >> 64 << 64;
    let address = |identifier: u64| Ipv6Addr::from_bits(network | u128::from(identifier));
    let usable = identifiers.into_iter().filter(|identifier| !is_reserved(*identifier));
    usable.map(address).find(|address| !is_ours((*address).into())).unwrap_or_else(|| address(1))
}

/// RFC 5453: identifiers that stand for anycast groups and for what is not one host.
fn is_reserved(identifier: u64) -> bool {
    identifier == 0
        || (0x0200_5eff_fe00_0000..=0x0200_5eff_feff_ffff).contains(&identifier)
        || (0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff).contains(&identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn an_opaque_identifier_is_stable_and_says_nothing_elsewhere() {
        let make = |prefix: &str, interface, retries| {
            let network = prefix.parse().unwrap();
            let name = Name { interface: InterfaceId(interface), hardware: HARDWARE, network };
            opaque_address(&[7; 16], &name, retries, |_| false)
        };
        let one = make("fd77::", 1, 0);
        assert_eq!(one, make("fd77::", 1, 0));
        assert_eq!(one.segments()[..4], [0xfd77, 0, 0, 0]);
        let identifier = |address: Ipv6Addr| address.to_bits() as u64;
        let of = |secret: u8, hardware| {
            let network = "fd77::".parse().unwrap();
            let name = Name { interface: InterfaceId(1), hardware, network };
            opaque_address(&[secret; 16], &name, 0, |_| false)
        };
        let others = [
            make("fd78::", 1, 0),
            make("fd77::", 2, 0),
            make("fd77::", 1, 1),
            of(8, HARDWARE),
            of(7, [2, 0, 0, 0, 0, 3]),
        ];
        assert_eq!(of(7, HARDWARE), one);
        assert!(others.iter().all(|other| identifier(*other) != identifier(one)));
    }

    #[test]
    fn reserved_identifiers_are_known() {
        for identifier in [0, 0x0200_5eff_fe00_5212, 0xfdff_ffff_ffff_ff80, 0xfdff_ffff_ffff_fffe] {
            assert!(is_reserved(identifier), "{identifier:x}");
        }
        assert!(!is_reserved(1) && !is_reserved(0xfdff_ffff_ffff_ff7f));
    }

    /// RFC 7217 5, step 3: a reserved identifier, and one of another address of ours, give way to the next.
    #[test]
    fn an_identifier_that_cannot_be_used_gives_way_to_the_next() {
        let network = "fd77::1".parse().unwrap();
        let address = |identifier: u64| Ipv6Addr::from_bits(0xfd77 << 112 | u128::from(identifier));
        let made = [0, 0xfdff_ffff_ffff_ff80, 0x0200_5eff_fe00_5212, 7, 8];
        assert_eq!(first_free(network, made, |_| false), address(7));
        let is_ours = |other| other == IpAddr::V6(address(7));
        assert_eq!(first_free(network, made, is_ours), address(8));
    }

    /// The same with what the hash gives.
    #[test]
    fn an_address_is_not_made_twice() {
        let network = "fd77::".parse().unwrap();
        let name = Name { interface: InterfaceId(1), hardware: HARDWARE, network };
        let first = opaque_address(&[7; 16], &name, 0, |_| false);
        let second = opaque_address(&[7; 16], &name, 0, |other| other == IpAddr::V6(first));
        assert_ne!(first, second);
        // Nor is it the one that follows a duplicate.
        assert_ne!(opaque_address(&[7; 16], &name, 1, |_| false), second);
    }
}
