//! Fragments both ways: RFC 791 3.2, RFC 1122 3.3.2 and 3.3.3, RFC 1858, RFC 3128, RFC 6864.

mod host;

use std::net::{IpAddr, Ipv4Addr};

use estab_stack::Config;
use estab_stack::Error;
use estab_stack::reason::{Dropped, Sent};
use host::*;
use wire::frame::Medium;
use wire::icmpv4::{Header, TimeExceededCode};
use wire::ip::Protocol;
use wire::ipv4;

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// Cuts a packet as a router with the given MTU does.
fn cut(bytes: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let (header, payload) = parse_ip(bytes);
    let step = (mtu - header.encoded_len()) & !7;
    let pieces = payload.chunks(step).enumerate();
    pieces
        .map(|(n, piece)| {
            let start = n * step;
            let fragment = ipv4::Header {
                dont_fragment: false,
                more_fragments: start + piece.len() < payload.len(),
                fragment_offset: start as u16,
                ..header
            };
            packet(&fragment, piece)
        })
        .collect()
}

/// Puts fragments together without any doubt about them.
fn join(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut header = None;
    for bytes in fragments {
        let (fragment, piece) = parse_ip(bytes);
        assert_eq!(usize::from(fragment.fragment_offset), payload.len());
        assert!(!fragment.dont_fragment);
        payload.extend_from_slice(piece);
        let first = *header.get_or_insert(fragment);
        assert_eq!(first.identification, fragment.identification);
    }
    let first = ipv4::Header { more_fragments: false, ..header.unwrap() };
    packet(&first, &payload)
}

/// 3.3.2: "The IP layer MUST implement reassembly of IP datagrams"; in any order.
#[test]
fn a_large_echo_request_comes_and_goes_in_pieces() {
    for reversed in [false, true] {
        let mut host = Host::tun();
        let request = echo(&header(Protocol::ICMP), &data(60_000));
        let mut fragments = cut(&request, 1500);
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
        assert_eq!(answer.len(), 41);
        assert!(answer.iter().all(|fragment| fragment.len() <= 1500));
        let whole = join(&answer);
        let (_, icmp, payload) = parse_icmp(&whole);
        assert_eq!(icmp, Header::EchoReply { identifier: 1, sequence: 2 });
        assert_eq!(payload, data(60_000));
        assert_eq!((host.sent(Sent::EchoReply), host.sent(Sent::Fragment)), (1, 40));
        assert_eq!(host.stack.poll_timeout(), None);
    }
}

/// 3.3.3: "[hosts] MAY optionally implement a mechanism to fragment outgoing datagrams
/// intentionally."
#[test]
fn a_datagram_longer_than_the_link_takes_leaves_in_pieces() {
    for checksum in [false, true] {
        let mut host = Host::new(Config::default(), Medium::Ip, checksum);
        let id = host.stack.udp_bind(v4(US, 5000)).unwrap();
        for length in [1472, 1473, 2952, 2953, 65_507] {
            let sent = host.stack.udp_send_to(host.now, id, &data(length), v4(THEM, 7));
            assert_eq!(sent, Ok(length));
            let fragments = host.sends();
            assert_eq!(fragments.len(), (length + 8).div_ceil(1480));
            if checksum && fragments.len() == 1 {
                continue;
            }
            assert_eq!(parse_udp(&join(&fragments)).2, data(length));
        }
        let too_long = host.stack.udp_send_to(host.now, id, &data(65_508), v4(THEM, 7));
        assert_eq!(too_long, Err(Error::MessageTooBig));
    }
}

/// Pieces of one datagram are not separated by what others send.
#[test]
fn fragments_of_two_datagrams_have_two_names() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(US, 5000)).unwrap();
    host.stack.udp_send_to(host.now, id, &data(4000), v4(THEM, 7)).unwrap();
    host.stack.udp_send_to(host.now, id, &data(2000), v4(THEM, 7)).unwrap();
    let fragments = host.sends();
    let (one, other) = fragments.split_at(3);
    assert_eq!(parse_udp(&join(one)).2, data(4000));
    assert_eq!(parse_udp(&join(other)).2, data(2000));
    assert_ne!(parse_ip(&one[0]).0.identification, parse_ip(&other[0]).0.identification);
}

#[test]
fn a_large_ping_gets_its_reply() {
    let mut host = Host::tun();
    let id = host.stack.ping_open(None).unwrap();
    host.stack.ping_send(host.now, id, IpAddr::V4(THEM), 9, &data(60_000)).unwrap();
    let request = join(&host.sends());
    let (_, icmp, payload) = parse_icmp(&request);
    let Header::EchoRequest { identifier, sequence } = icmp else { panic!("{icmp:?}") };
    let reply = message(&Header::EchoReply { identifier, sequence }, payload);
    for fragment in cut(&packet(&header(Protocol::ICMP), &reply), 576) {
        host.arrives(&fragment);
    }
    assert_eq!(host.stack.ping_receive(id).unwrap().payload, data(60_000));
}

#[test]
fn a_datagram_in_pieces_reaches_its_socket() {
    let mut host = Host::tap();
    host.arrives(&arp_frame(
        wire::arp::Operation::REQUEST,
        (THEIR_HARDWARE, THEM),
        (wire::ethernet::EthernetAddress::UNSPECIFIED, US),
    ));
    host.sends_one();
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    let whole = datagram(&header(Protocol::UDP), (1000, 7), &data(3000));
    for fragment in cut(&whole, 1500) {
        host.arrives(&frame(wire::ethernet::EtherType::IPV4, &fragment));
    }
    let mut buffer = vec![0; 4000];
    let (length, from) = host.stack.udp_receive_from(id, &mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&data(3000)[..], v4(THEM, 1000)));
    // The checksum is that of the whole: one wrong byte in any piece, and it is dropped.
    let mut fragments = cut(&whole, 1500);
    *fragments[1].last_mut().unwrap() ^= 1;
    for fragment in fragments {
        host.arrives(&frame(wire::ethernet::EtherType::IPV4, &fragment));
    }
    assert_eq!(host.dropped(Dropped::UdpChecksum), 1);
}

/// 3.3.2: the host "MUST [...] send an ICMP Time Exceeded message [...] only if [...] fragment zero
/// has been received"; here after 30 s.
#[test]
fn missing_fragments_are_told_to_whoever_sent_the_first() {
    let mut host = Host::tun();
    let fragments = cut(&echo(&header(Protocol::ICMP), &data(3000)), 1500);
    host.arrives(&fragments[0]);
    host.later_millis(29_999);
    host.sends_nothing();
    host.later_millis(1);
    let bytes = host.sends_one();
    let (ip, icmp, quote) = parse_icmp(&bytes);
    assert_eq!(ip.destination, THEM);
    assert_eq!(icmp, Header::TimeExceeded { code: TimeExceededCode::REASSEMBLY });
    assert_eq!(quote, &fragments[0][..quote.len()]);
    assert_eq!(bytes.len(), 576);
    host.arrives(&fragments[1]);
    host.later_millis(30_000);
    host.sends_nothing();
    assert_eq!(host.dropped(Dropped::FragmentTimeout), 2);
}

/// RFC 1122 3.2.2: no error about a broadcast.
#[test]
fn nobody_is_told_about_missing_fragments_of_a_broadcast() {
    let mut host = Host::tun();
    let ip = ipv4::Header { destination: SUBNET_BROADCAST, ..header(Protocol::UDP) };
    host.arrives(&cut(&datagram(&ip, (1, 2), &data(3000)), 1500)[0]);
    host.later_millis(30_000);
    host.sends_nothing();
    assert_eq!(host.dropped(Dropped::FragmentTimeout), 1);
}

/// RFC 5722's rule for IPv4, which leaves nothing of the attacks of RFC 1858 and RFC 3128.
#[test]
fn overlapping_fragments_are_never_put_together() {
    let mut host = Host::tun();
    let request = echo(&header(Protocol::ICMP), &data(56));
    let fragments = cut(&request, 44);
    host.arrives(&fragments[0]);
    host.arrives(&fragments[1]);
    let (ip, _) = parse_ip(&fragments[1]);
    host.drops(&packet(&ip, &[0xff; 24]), Dropped::FragmentOverlap);
    host.drops(&fragments[2], Dropped::FragmentCondemned);
    // A copy is no overlap.
    let mut host = Host::tun();
    host.arrives(&fragments[0]);
    host.drops(&fragments[0], Dropped::FragmentDuplicate);
    host.arrives(&fragments[1]);
    host.arrives(&fragments[2]);
    host.sends_one();
}

#[test]
fn fragments_that_hide_the_flags_of_tcp_are_dropped() {
    let mut host = Host::tun();
    let tiny = ipv4::Header { more_fragments: true, ..header(Protocol::TCP) };
    host.drops(&packet(&tiny, &[0; 8]), Dropped::FragmentTiny);
    let indirect = ipv4::Header { fragment_offset: 8, ..header(Protocol::TCP) };
    host.drops(&packet(&indirect, &[0; 16]), Dropped::FragmentTiny);
}

#[test]
fn fragments_that_no_datagram_can_have_are_dropped() {
    let mut host = Host::tun();
    let empty = ipv4::Header { fragment_offset: 8, ..header(Protocol::UDP) };
    host.drops(&packet(&empty, &[]), Dropped::FragmentMalformed);
    let options = ipv4::Options::from_bytes(&[1; 40]).unwrap();
    let beyond = ipv4::Header { fragment_offset: 65_504, options, ..header(Protocol::UDP) };
    host.drops(&packet(&beyond, &[0; 8]), Dropped::FragmentMalformed);
}

#[test]
fn fragments_for_others_are_not_kept() {
    let mut host = Host::tun();
    let ip = ipv4::Header { destination: OTHER, more_fragments: true, ..header(Protocol::UDP) };
    host.drops(&datagram(&ip, (1, 2), &[0; 16]), Dropped::NotOurAddress);
    let ip = ipv4::Header { source: Ipv4Addr::BROADCAST, ..ip };
    host.drops(&packet(&ip, &[0; 16]), Dropped::ForbiddenSource);
    assert_eq!(host.stack.poll_timeout(), None);
}
