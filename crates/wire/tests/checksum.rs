//! The checksum against a naive one, word by word, as RFC 1071 section 4.1 has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use estab_wire::checksum::{self, Sum};
use estab_wire::ip::Protocol;
use estab_wire::udp;
use proptest::prelude::*;

fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        // Where carries run: all ones and all zeros.
        prop::collection::vec(prop_oneof![Just(0u8), Just(0xff)], 0..300),
        prop::collection::vec(any::<u8>(), 1400..1600),
    ]
}

proptest! {
    #[test]
    fn sum_is_the_naive_sum(bytes in bytes()) {
        prop_assert_eq!(checksum::sum(&bytes).partial(), naive(&bytes));
    }

    #[test]
    fn sum_does_not_depend_on_alignment(bytes in bytes(), skip in 0usize..8) {
        let skip = skip.min(bytes.len());
        prop_assert_eq!(checksum::sum(&bytes[skip..]).partial(), naive(&bytes[skip..]));
    }

    #[test]
    fn slices_sum_up_like_the_whole(parts in prop::collection::vec(bytes(), 0..6)) {
        let whole = parts.concat();
        let sum = checksum::sum_slices(parts.iter().map(Vec::as_slice));
        prop_assert_eq!(sum.partial(), naive(&whole));
    }

    #[test]
    fn incremental_update_is_a_full_sum(
        mut bytes in prop::collection::vec(any::<u8>(), 20..64),
        at in 0usize..8,
        new in any::<u32>(),
    ) {
        // Equation 3 of RFC 1624 fails only where all words are zero, which no header is.
        bytes[18] |= 1;
        let before = checksum::sum(&bytes).finish();
        let at = at * 2;
        let old = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        bytes[at..at + 4].copy_from_slice(&new.to_be_bytes());
        let after = checksum::sum(&bytes).finish();
        prop_assert_eq!(checksum::update_u32(before, old, new), after);

        let halves = checksum::update_u16(
            checksum::update_u16(before, (old >> 16) as u16, (new >> 16) as u16),
            (old & 0xffff) as u16,
            (new & 0xffff) as u16,
        );
        prop_assert_eq!(halves, after);
    }

    #[test]
    fn offload_completes_what_partial_began(
        source in any::<IpAddr>(),
        destination in any::<IpAddr>(),
        mut segment in prop::collection::vec(any::<u8>(), 20..200),
    ) {
        let length = segment.len() as u32;
        let pseudo = checksum::pseudo_header(source, destination, Protocol::TCP, length);
        segment[16..18].copy_from_slice(&pseudo.partial().to_be_bytes());
        // What hardware does: sum all from the transport header on, and store the complement.
        let completed = checksum::sum(&segment).finish();
        segment[16..18].copy_from_slice(&completed.to_be_bytes());
        prop_assert!(checksum::is_transport_valid(source, destination, Protocol::TCP, &segment));
    }

    #[test]
    fn one_changed_bit_is_noticed(
        mut segment in prop::collection::vec(any::<u8>(), 20..200),
        bit in any::<prop::sample::Index>(),
    ) {
        let (source, destination) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::BROADCAST));
        segment[16..18].fill(0);
        let sum = checksum::transport(source, destination, Protocol::TCP, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        let is_valid =
            |segment: &[u8]| checksum::is_transport_valid(source, destination, Protocol::TCP, segment);
        prop_assert!(is_valid(&segment));
        let bit = bit.index(segment.len() * 8);
        segment[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!is_valid(&segment));
    }
}

#[test]
fn a_64_kib_packet_of_ones_does_not_overflow() {
    let bytes = vec![0xff; 65_535];
    assert_eq!(checksum::sum(&bytes).partial(), naive(&bytes));
    assert_eq!(checksum::sum(&vec![0xff; 1 << 24]).partial(), 0xffff);
}

#[test]
fn the_example_of_rfc_1071_sums_to_ddf2() {
    let sum = checksum::sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.partial(), 0xddf2);
    assert_eq!(Sum::ZERO.combine(sum).finish(), 0x220d);
}

/// Prints how fast the checksum is. Run it by hand:
/// `cargo test --release -p estab-wire --test checksum -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn speed() {
    for size in [20, 1460, 65_535] {
        let bytes: Vec<u8> = (0..size).map(|index| (index * 31) as u8).collect();
        let fast = gigabytes_per_second(&bytes, |bytes| checksum::sum(bytes).partial());
        let slow = gigabytes_per_second(&bytes, naive);
        println!(
            "{size:5} bytes: {fast:6.2} GB/s, naive {slow:5.2} GB/s, ratio {:.1}",
            fast / slow
        );
    }
}

fn gigabytes_per_second(bytes: &[u8], sum: impl Fn(&[u8]) -> u16) -> f64 {
    let rounds = 400_000_000 / (bytes.len() + 100);
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(sum(std::hint::black_box(bytes)));
    }
    (rounds * bytes.len()) as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// RFC 768, RFC 8200 8.1.
#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let mut datagram = [0, 1, 0, 2, 0, 10, 0, 0, 0, 0];
        // Whatever is missing from all ones goes into the payload.
        let missing = checksum::transport(address, address, Protocol::UDP, &datagram);
        datagram[8..].copy_from_slice(&missing.to_be_bytes());
        assert_eq!(checksum::transport(address, address, Protocol::UDP, &datagram), 0);
        udp::fill_checksum(address, address, &mut datagram);
        assert_eq!(udp::View::new(&datagram).unwrap().checksum(), 0xffff);
        assert!(udp::is_checksum_valid(address, address, &datagram));
    }
}
