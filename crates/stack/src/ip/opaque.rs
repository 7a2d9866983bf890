//! Identifiers of interfaces that are stable and say nothing (RFC 7217).

use core::hash::Hasher;
use core::net::Ipv6Addr;

use siphasher::sip::SipHasher24;

use crate::ip::InterfaceId;

/// RFC 7217 5: an identifier that is the same each time on this link and says nothing elsewhere.
pub(super) fn opaque_address(
    secret: &[u8; 16],
    interface: InterfaceId,
    hardware: [u8; 6],
    prefix: Ipv6Addr,
    retries: u8,
) -> Ipv6Addr {
    let network = prefix.to_bits() >> 64 << 64;
    let mut counter = u32::from(retries);
    loop {
        let mut hash = SipHasher24::new_with_key(secret);
        hash.write(&prefix.octets()[..8]);
        hash.write(&hardware);
        hash.write_u8(interface.0);
        hash.write_u32(counter);
        let identifier = hash.finish();
        if !is_reserved(identifier) {
            return Ipv6Addr::from_bits(network | u128::from(identifier));
        }
        counter += 1 << 8;
    }
}

/// RFC 5453: identifiers that stand for anycast groups and for what is not one host.
pub(super) fn is_reserved(identifier: u64) -> bool {
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
            let prefix = prefix.parse().unwrap();
            opaque_address(&[7; 16], InterfaceId(interface), HARDWARE, prefix, retries)
        };
        let one = make("fd77::", 1, 0);
        assert_eq!(one, make("fd77::", 1, 0));
        assert_eq!(one.segments()[..4], [0xfd77, 0, 0, 0]);
        let identifier = |address: Ipv6Addr| address.to_bits() as u64;
        let of = |secret: u8, hardware| {
            let prefix = "fd77::".parse().unwrap();
            opaque_address(&[secret; 16], InterfaceId(1), hardware, prefix, 0)
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
}
