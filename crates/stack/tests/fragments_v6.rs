//! Fragments of IPv6 both ways: RFC 8200 4.5, RFC 5722, RFC 6946, RFC 7112.

mod host;

use estab_stack::reason::{Dropped, Sent};
use host::v6::*;
use wire::icmpv6::{self, Header, ParameterCode, TimeExceededCode};
use wire::ip::Protocol;
use wire::ipv6;

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// A fragment with `bytes` of the part that is cut, which begins with `protocol`.
fn fragment(protocol: Protocol, offset: usize, more_fragments: bool, bytes: &[u8]) -> Vec<u8> {
    let fragment = ipv6::Fragment {
        next_header: protocol,
        offset: offset as u16,
        more_fragments,
        identification: 77,
    };
    let payload = [&fragment.to_bytes()[..], bytes].concat();
    packet(&header(Protocol::FRAGMENT), &payload)
}

/// Cuts what an ICMPv6 packet carries.
fn cut(message: &[u8], step: usize) -> Vec<Vec<u8>> {
    let pieces = message.chunks(step).enumerate();
    pieces
        .map(|(n, piece)| {
            let more = n * step + piece.len() < message.len();
            fragment(Protocol::ICMPV6, n * step, more, piece)
        })
        .collect()
}

/// Puts fragments together without any doubt about them.
fn join(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut first = None;
    for bytes in fragments {
        let (ip, rest) = parse_ip(bytes);
        let chain = ipv6::Chain::walk(&ip, rest, &ipv6::Limits::DEFAULT).unwrap();
        let placed = chain.fragment.unwrap().header;
        assert_eq!(usize::from(placed.offset), payload.len());
        let (_, identification) = *first.get_or_insert((ip, placed.identification));
        assert_eq!(identification, placed.identification);
        payload.extend_from_slice(&bytes[chain.start..]);
    }
    let (_, rest) = parse_ip(&fragments[0]);
    let next_header = Protocol(rest[0]);
    packet(&ipv6::Header { next_header, ..first.unwrap().0 }, &payload)
}

#[test]
fn a_large_echo_request_comes_and_goes_in_pieces() {
    for reversed in [false, true] {
        let mut host = tun();
        let request = echo_bytes(&header(Protocol::ICMPV6), &data(60_000));
        let mut fragments = cut(&request, 1448);
        if reversed {
            fragments.reverse();
        }
        let last = fragments.pop().unwrap();
        for fragment in &fragments {
            host.arrives(fragment);
            host.sends_nothing();
        }
        host.arrives(&last);
        let answer = host.sends();
        assert_eq!(answer.len(), 42);
        assert!(answer.iter().all(|fragment| fragment.len() <= 1500));
        let whole = join(&answer);
        let (_, icmp, payload) = parse_icmp(&whole);
        assert_eq!(icmp, Header::EchoReply { identifier: 1, sequence: 2 });
        assert_eq!(payload, data(60_000));
        assert_eq!((host.sent(Sent::EchoReply), host.sent(Sent::Fragment)), (1, 41));
    }
}

#[test]
fn datagrams_leave_in_pieces_with_two_names() {
    let mut host = tun();
    let id = host.stack.udp_bind(at(US, 5000)).unwrap();
    host.stack.udp_send_to(host.now, id, &data(4000), at(THEM, 7)).unwrap();
    host.stack.udp_send_to(host.now, id, &data(65_527), at(THEM, 7)).unwrap();
    let fragments = host.sends();
    let (one, other) = fragments.split_at(3);
    assert_eq!(parse_udp(&join(one)).2, data(4000));
    assert_eq!(parse_udp(&join(other)).2, data(65_527));
    assert_ne!(one[0][44..48], other[0][44..48]);
}

#[test]
fn a_large_ping_gets_its_reply() {
    let mut host = tun();
    let id = host.stack.ping_open(None).unwrap();
    host.stack.ping_send(host.now, id, THEM.into(), 9, &data(60_000)).unwrap();
    let request = join(&host.sends());
    let (_, icmp, payload) = parse_icmp(&request);
    let Header::EchoRequest { identifier, sequence } = icmp else { panic!("{icmp:?}") };
    let reply = Header::EchoReply { identifier, sequence };
    for fragment in cut(&message_bytes(&header(Protocol::ICMPV6), &reply, payload), 1232) {
        host.arrives(&fragment);
    }
    assert_eq!(host.stack.ping_receive(id).unwrap().payload, data(60_000));
}

/// RFC 8200 4.5: extension headers before the fragment header belong to every fragment, and the
/// reassembled packet has those of the first.
#[test]
fn headers_in_front_of_the_fragment_header_stay() {
    let mut host = tun();
    let id = host.stack.udp_bind(at(US, 7)).unwrap();
    let datagram = udp_bytes(&header(Protocol::UDP), (1000, 7), &data(24));
    for (offset, more, piece) in [(0, true, &datagram[..16]), (16, false, &datagram[16..])] {
        let fragment = ipv6::Fragment {
            next_header: Protocol::UDP,
            offset,
            more_fragments: more,
            identification: 1,
        };
        let options = [Protocol::FRAGMENT.0, 0, 1, 4, 0, 0, 0, 0];
        let payload = [&options[..], &fragment.to_bytes(), piece].concat();
        host.arrives(&packet(&header(Protocol::DESTINATION_OPTIONS), &payload));
    }
    let mut buffer = [0; 64];
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((24, at(THEM, 1000))));
    assert_eq!(&buffer[..24], data(24));
}

/// RFC 8200 4.5: the headers in front and the name of what follows are those of the first fragment;
/// others may differ.
#[test]
fn the_first_fragment_says_what_the_packet_is() {
    let mut host = tun();
    let request = echo_bytes(&header(Protocol::ICMPV6), &data(56));
    let first = ipv6::Fragment {
        next_header: Protocol::ICMPV6,
        offset: 0,
        more_fragments: true,
        identification: 77,
    };
    let options = [Protocol::FRAGMENT.0, 0, 1, 4, 0, 0, 0, 0];
    let payload = [&options[..], &first.to_bytes(), &request[..24]].concat();
    host.arrives(&fragment(Protocol::TCP, 24, false, &request[24..]));
    host.arrives(&packet(&header(Protocol::DESTINATION_OPTIONS), &payload));
    let bytes = host.sends_one();
    assert_eq!(parse_icmp(&bytes).2, data(56));
}

/// RFC 5722 4: "the entire datagram (and any constituent fragments, including those not yet
/// received) MUST be silently discarded".
#[test]
fn overlapping_fragments_are_never_put_together() {
    let mut host = tun();
    let fragments = cut(&echo_bytes(&header(Protocol::ICMPV6), &data(56)), 24);
    host.arrives(&fragments[0]);
    let overlap = fragment(Protocol::ICMPV6, 16, true, &[0xff; 24]);
    host.drops(&overlap, Dropped::FragmentOverlap);
    host.drops(&fragments[1], Dropped::FragmentCondemned);
    host.drops(&fragments[2], Dropped::FragmentCondemned);
    host.later_millis(60_000);
    host.sends_nothing();
}

/// RFC 6946 4: an atomic fragment is processed "in isolation from any other packets/fragments, even if
/// such packets/fragments contain the same set {[...]}".
#[test]
fn an_atomic_fragment_stands_alone() {
    let mut host = tun();
    let request = echo_bytes(&header(Protocol::ICMPV6), &data(56));
    let fragments = cut(&request, 24);
    host.arrives(&fragments[0]);
    host.arrives(&fragment(Protocol::ICMPV6, 0, false, &request));
    host.sends_one();
    host.arrives(&fragments[1]);
    host.sends_nothing();
    host.arrives(&fragments[2]);
    host.sends_one();
}

/// RFC 8200 4.5, and each of its three errors.
#[test]
fn fragments_that_no_packet_can_have_are_told() {
    let mut host = tun();
    let mut problem = |bytes: &[u8], code, pointer| {
        host.arrives(bytes);
        let answer = host.sends_one();
        assert_eq!(parse_icmp(&answer).1, Header::ParameterProblem { code, pointer });
    };
    // "not a multiple of 8 octets": points to the payload length.
    let odd = fragment(Protocol::ICMPV6, 0, true, &[128; 12]);
    problem(&odd, ParameterCode::ERRONEOUS_FIELD, 4);
    // "would exceed 65,535 octets": points to the fragment offset.
    let beyond = fragment(Protocol::ICMPV6, 65_528, false, &[0; 16]);
    problem(&beyond, ParameterCode::ERRONEOUS_FIELD, 42);
    // RFC 7112 5: not all headers in the first fragment.
    let tiny = fragment(Protocol::TCP, 0, true, &[0; 8]);
    problem(&tiny, ParameterCode::FIRST_FRAGMENT_INCOMPLETE, 0);
    assert_eq!(host.dropped(Dropped::FragmentMalformed), 2);
    assert_eq!(host.dropped(Dropped::FragmentTiny), 1);
}

/// RFC 8200 4.5: 60 seconds; an error only "if the first fragment [...] has been received".
#[test]
fn missing_fragments_are_told_to_whoever_sent_the_first() {
    let mut host = tun();
    let fragments = cut(&echo_bytes(&header(Protocol::ICMPV6), &data(3000)), 1448);
    host.arrives(&fragments[0]);
    host.later_millis(59_999);
    host.sends_nothing();
    host.later_millis(1);
    let bytes = host.sends_one();
    let (ip, icmp, quote) = parse_icmp(&bytes);
    assert_eq!(ip.destination, THEM);
    assert_eq!(icmp, Header::TimeExceeded { code: TimeExceededCode::REASSEMBLY });
    assert_eq!((quote, bytes.len()), (&fragments[0][..1232], 1280));
    host.arrives(&fragments[1]);
    host.later_millis(60_000);
    host.sends_nothing();
}

/// RFC 4443 2.4 (e.1): that an error did not come whole is told to nobody.
#[test]
fn nobody_is_told_about_missing_fragments_of_an_error() {
    let mut host = tun();
    let port = Header::DestinationUnreachable { code: icmpv6::UnreachableCode::PORT };
    let message = message_bytes(&header(Protocol::ICMPV6), &port, &data(1240));
    host.arrives(&cut(&message, 1200)[0]);
    let options = [&[Protocol::ICMPV6.0, 0, 1, 4, 0, 0, 0, 0][..], &message].concat();
    let behind = packet(&header(Protocol::FRAGMENT), &{
        let cut = ipv6::Fragment {
            next_header: Protocol::DESTINATION_OPTIONS,
            offset: 0,
            more_fragments: true,
            identification: 78,
        };
        [&cut.to_bytes()[..], &options[..1200]].concat()
    });
    host.arrives(&behind);
    host.later_millis(60_000);
    host.sends_nothing();
    assert_eq!(host.dropped(Dropped::FragmentTimeout), 2);
}
