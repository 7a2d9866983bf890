use super::*;
use alloc::collections::BTreeMap;
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use wire::time::Duration;

const HEADERS: &[u8] = b"headers";

fn key(n: u8) -> DatagramKey {
    let v6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(n / 4));
    DatagramKey {
        source: IpAddr::V6(v6),
        destination: IpAddr::V6(Ipv6Addr::LOCALHOST),
        identification: u32::from(n % 4),
        protocol: 0,
    }
}

/// One of sixteen, of which two differ in one or more of the four things that name a datagram.
fn any_key(n: u8) -> DatagramKey {
    let host = |last: u8| IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(last)));
    DatagramKey {
        source: host(n & 1),
        destination: host(2 | n >> 1 & 1),
        identification: u32::from(n >> 2 & 1),
        protocol: n >> 3 & 1,
    }
}

fn world() -> (Reassembly, Shared) {
    let mut shared = Shared::new(Config::default());
    shared.set_time(Instant::from_millis(1000));
    (Reassembly::new(&mut ChaCha12Rng::from_seed([1; 32])), shared)
}

fn fragment(offset: u32, more: bool, bytes: &[u8]) -> Fragment<'_> {
    let (interface, ecn, headers) = (InterfaceId(1), Ecn::NotCapable, HEADERS);
    Fragment { interface, offset, more, ecn, headers, bytes }
}

/// The datagram's payload, when this fragment makes it whole.
fn add(
    (reassembly, shared): &mut (Reassembly, Shared),
    key: DatagramKey,
    fragment: Fragment<'_>,
) -> Result<Option<Vec<u8>>, Dropped> {
    let whole = reassembly.add(shared, key, &fragment)?;
    Ok(whole.map(|whole| {
        assert_eq!(&whole.packet[..whole.header_len], HEADERS);
        whole.into_frame().to_vec()
    }))
}

#[test]
fn fragments_in_any_order_are_a_datagram() {
    let data: Vec<u8> = (0..64).collect();
    let cuts = [(0, 16), (16, 40), (40, 56), (56, 64)];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let mut world = world();
        let mut done = None;
        for (n, place) in order.into_iter().enumerate() {
            let (start, end) = cuts[place];
            let piece = fragment(start, end < 64, &data[start as usize..end as usize]);
            let result = add(&mut world, key(0), piece).unwrap();
            assert_eq!(result.is_some(), n == 3);
            done = done.or(result);
        }
        assert_eq!(done.as_deref(), Some(&data[..]));
        assert!(world.0.datagrams.is_empty() && world.0.sources.is_empty());
        assert_eq!((world.0.cost, world.0.poll_timeout()), (0, None));
    }
}

/// RFC 5722 4: "the entire datagram (and any constituent fragments, including those not yet
/// received) MUST be silently discarded".
#[test]
fn an_overlap_condemns_the_datagram_and_what_still_comes_of_it() {
    for (offset, more, length) in
        [(8, true, 16), (0, true, 8), (16, true, 8), (8, true, 24), (24, false, 8), (8, false, 8)]
    {
        let mut world = world();
        add(&mut world, key(0), fragment(8, true, &[1; 16])).unwrap();
        add(&mut world, key(0), fragment(32, false, &[2; 8])).unwrap();
        let fits = (offset, length) == (0, 8) || (offset, more, length) == (24, true, 8);
        let bytes = alloc::vec![9; length];
        let result = add(&mut world, key(0), fragment(offset, more, &bytes));
        if fits {
            assert_eq!(result, Ok(None));
            continue;
        }
        assert_eq!(result, Err(Dropped::FragmentOverlap), "{offset} {more} {length}");
        for rest in [fragment(0, true, &[0; 8]), fragment(24, true, &[0; 8])] {
            assert_eq!(add(&mut world, key(0), rest), Err(Dropped::FragmentCondemned));
        }
        // It is forgotten when its time is over, and nobody is told anything.
        assert!(world.0.pop_expired(world.1.now.after(Duration::from_secs(60))).is_none());
        assert!(world.0.datagrams.is_empty());
    }
}

/// RFC 8200 4.5: exact duplicates may be dropped while the other fragments are kept.
#[test]
fn an_exact_copy_changes_nothing() {
    let mut world = world();
    add(&mut world, key(0), fragment(8, false, b"the end")).unwrap();
    let copy = add(&mut world, key(0), fragment(8, false, b"the end"));
    assert_eq!(copy, Err(Dropped::FragmentDuplicate));
    let whole = add(&mut world, key(0), fragment(0, true, b"begins, ")).unwrap();
    assert_eq!(whole.as_deref(), Some(&b"begins, the end"[..]));
}

/// What claims to be the last fragment, and one that goes on behind it, cannot both be true.
#[test]
fn two_ends_are_a_contradiction() {
    let mut one = world();
    add(&mut one, key(0), fragment(16, true, &[0; 8])).unwrap();
    let early_end = add(&mut one, key(0), fragment(8, false, &[0; 8]));
    assert_eq!(early_end, Err(Dropped::FragmentOverlap));
    let mut other = world();
    add(&mut other, key(0), fragment(8, false, &[0; 8])).unwrap();
    let beyond = add(&mut other, key(0), fragment(16, true, &[0; 8]));
    assert_eq!(beyond, Err(Dropped::FragmentOverlap));
}

/// RFC 3168 5.3.
#[test]
fn a_mark_on_a_fragment_is_one_on_the_datagram() {
    use Ecn::{Capable0, Capable1, CongestionExperienced as Ce, NotCapable};
    let table = [
        ([NotCapable, NotCapable], Ok(NotCapable)),
        ([Capable0, Capable0], Ok(Capable0)),
        ([Capable1, Capable1], Ok(Capable1)),
        ([Capable0, Ce], Ok(Ce)),
        ([Ce, Capable1], Ok(Ce)),
        ([NotCapable, Ce], Err(Dropped::FragmentEcn)),
        ([Ce, NotCapable], Err(Dropped::FragmentEcn)),
        ([Capable0, NotCapable], Ok(NotCapable)),
    ];
    for ([first, last], expected) in table {
        let (mut reassembly, mut shared) = world();
        let first = Fragment { ecn: first, ..fragment(0, true, &[0; 8]) };
        let last = Fragment { ecn: last, ..fragment(8, false, &[0; 8]) };
        assert!(reassembly.add(&mut shared, key(0), &first).unwrap().is_none());
        let whole = reassembly.add(&mut shared, key(0), &last);
        assert_eq!(whole.map(|whole| whole.unwrap().ecn), expected);
    }
}

/// RFC 8200 4.5 (60 s), and 30 s for IPv4; only a datagram whose first fragment came can be told
/// about.
#[test]
fn what_is_not_whole_in_time_is_given_up() {
    let (mut reassembly, mut shared) = world();
    let start = shared.now;
    let v4 = DatagramKey {
        source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        destination: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
        identification: 7,
        protocol: 17,
    };
    reassembly.add(&mut shared, key(0), &fragment(0, true, b"it begins")).unwrap();
    reassembly.add(&mut shared, v4, &fragment(8, true, b"it goes on")).unwrap();
    assert_eq!(reassembly.poll_timeout(), Some(start.after(Duration::from_secs(30))));
    let expired = reassembly.pop_expired(start.after(Duration::from_secs(30))).unwrap();
    assert_eq!((expired.key, expired.packet.len()), (v4, 0));
    assert_eq!(reassembly.poll_timeout(), Some(start.after(Duration::from_secs(60))));
    assert!(reassembly.pop_expired(start.after(Duration::from_millis(59_999))).is_none());
    let expired = reassembly.pop_expired(start.after(Duration::from_secs(60))).unwrap();
    assert_eq!(expired.packet, b"headersit begins");
    assert_eq!(reassembly.cost, 0);
}

#[test]
fn one_source_drives_out_only_its_own() {
    let (mut reassembly, mut shared) = world();
    reassembly.add(&mut shared, key(0), &fragment(0, true, b"honest!!")).unwrap();
    for n in 0..10_000 {
        let noisy = DatagramKey { identification: n, ..key(4) };
        reassembly.add(&mut shared, noisy, &fragment(0, true, &[0; 1024])).unwrap();
    }
    assert!(reassembly.cost <= 600 << 10);
    assert!(shared.counters.dropped(Dropped::FragmentEvicted) > 9_000);
    let whole = reassembly.add(&mut shared, key(0), &fragment(8, false, b"!")).unwrap();
    assert!(whole.is_some());
}

#[test]
fn a_datagram_of_too_many_pieces_is_given_up() {
    let mut world = world();
    world.1.config.fragments_per_datagram = 3;
    for n in 0..3 {
        add(&mut world, key(0), fragment(n * 8, true, &[0; 8])).unwrap();
    }
    let one_more = add(&mut world, key(0), fragment(24, true, &[0; 8]));
    assert_eq!(one_more, Err(Dropped::FragmentLimit));
}

/// A twin without any cleverness: a map from positions to bytes.
#[derive(Default)]
struct Naive {
    bytes: BTreeMap<u32, u8>,
    fragments: Vec<(u32, bool, Vec<u8>)>,
    end: Option<u32>,
    condemned: bool,
}

impl Naive {
    fn add(&mut self, offset: u32, more: bool, bytes: &[u8]) -> Result<Option<Vec<u8>>, Dropped> {
        if self.condemned {
            return Err(Dropped::FragmentCondemned);
        }
        if self.fragments.contains(&(offset, more, bytes.to_vec())) {
            return Err(Dropped::FragmentDuplicate);
        }
        let end = offset + bytes.len() as u32;
        let overlaps = (offset..end).any(|at| self.bytes.contains_key(&at));
        let reach = self.bytes.last_key_value().map_or(0, |(at, _)| at + 1);
        let contradicts = match self.end {
            Some(known) => !more || end >= known,
            None => !more && reach > offset,
        };
        if overlaps || contradicts {
            self.condemned = true;
            return Err(Dropped::FragmentOverlap);
        }
        self.bytes.extend((offset..end).zip(bytes.iter().copied()));
        self.fragments.push((offset, more, bytes.to_vec()));
        if !more {
            self.end = Some(end);
        }
        let whole = self.end.is_some_and(|end| (0..end).all(|at| self.bytes.contains_key(&at)));
        Ok(whole.then(|| core::mem::take(self).bytes.into_values().collect()))
    }
}

proptest! {
    #[test]
    fn agrees_with_a_map_of_bytes(
        steps in proptest::collection::vec((0..16_u8, 0..6_u32, 1..4_usize, any::<bool>(), 0..2_u8), 0..240),
    ) {
        let mut world = world();
        let mut twins: BTreeMap<DatagramKey, Naive> = BTreeMap::new();
        for (n, slot, length, more, fill) in steps {
            let bytes = alloc::vec![fill; length * 8];
            let expected = twins.entry(any_key(n)).or_default().add(slot * 8, more, &bytes);
            prop_assert_eq!(add(&mut world, any_key(n), fragment(slot * 8, more, &bytes)), expected);
        }
    }

    /// Whatever comes, the limits hold, and what is charged is what is there.
    #[test]
    fn never_holds_more_than_it_may(
        steps in proptest::collection::vec((0..64_u8, 0..40_u32, 1..60_usize, any::<bool>()), 0..300),
        memory in 1_000..20_000_usize,
        per_source in 500..8_000_usize,
    ) {
        let (mut reassembly, mut shared) = world();
        (shared.config.reassembly_memory, shared.config.reassembly_per_source) = (memory, per_source);
        for (step, (n, slot, length, more)) in steps.into_iter().enumerate() {
            shared.set_time(shared.now.after(Duration::from_millis(step as u64 * 40)));
            while reassembly.pop_expired(shared.now).is_some() {}
            let bytes = alloc::vec![0; length * 8];
            let _ = reassembly.add(&mut shared, key(n), &fragment(slot * 8, more, &bytes));
            prop_assert!(reassembly.cost <= memory);
            prop_assert!(reassembly.sources.values().all(|source| source.cost <= per_source));
            let sum: usize = reassembly.datagrams.values().map(|datagram| datagram.cost).sum();
            prop_assert_eq!(reassembly.cost, sum);
            prop_assert_eq!(reassembly.deadlines.len(), reassembly.datagrams.len());
        }
    }
}
