//! An address of IPv4 that somebody else claims: RFC 5227 2.4.

mod host;

use std::net::{IpAddr, Ipv4Addr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{AddressFate, Config, Error, State, TcpOptions};
use host::*;
use wire::arp::Operation;
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::Medium;
use wire::ip::Protocol;
use wire::tcp::{Flags, Header};
use wire::{ipv4, tcp};

/// Somebody else says that the address is its own, by a question or an answer.
fn claims(host: &mut Host, operation: Operation) {
    let theirs = (THEIR_HARDWARE, US);
    host.arrives(&arp_frame(operation, theirs, (EthernetAddress::BROADCAST, OTHER)));
}

fn fates(host: &mut Host) -> Vec<AddressFate> {
    let changes = std::iter::from_fn(|| host.stack.poll_address_change());
    changes.inspect(|change| assert_eq!(change.address, IpAddr::V4(US))).map(|c| c.fate).collect()
}

#[track_caller]
fn announces(host: &mut Host) {
    let frame = host.sends_one();
    let (ethernet, packet) = parse_arp(&frame);
    assert_eq!(ethernet.destination, EthernetAddress::BROADCAST);
    assert_eq!((packet.operation, packet.sender_hardware), (Operation::REQUEST, OUR_HARDWARE));
    assert_eq!((packet.sender_protocol, packet.target_protocol), (US, US));
}

/// RFC 5227 2.4 (c): one announcement, and no other for ten seconds, however often it is claimed; the
/// program hears of it as often.
#[test]
fn an_address_that_is_claimed_is_defended_every_ten_seconds() {
    let mut host = Host::tap();
    for round in 1..4 {
        claims(&mut host, if round == 2 { Operation::REPLY } else { Operation::REQUEST });
        announces(&mut host);
        assert_eq!(fates(&mut host), [AddressFate::Claimed]);
        for _ in 0..9 {
            host.later_millis(1000);
            claims(&mut host, Operation::REQUEST);
            host.sends_nothing();
        }
        assert_eq!(fates(&mut host), []);
        host.later_millis(1000);
    }
    assert!(host.stack.is_local(US.into()));
    assert_eq!((host.sent(Sent::ArpAnnouncement), host.dropped(Dropped::ArpConflict)), (3, 30));
}

/// RFC 5227 2.4 (b), where the embedder wants it: claimed again within ten seconds, it is given up.
#[test]
fn an_address_is_given_up_where_that_is_wanted() {
    let config = Config { give_up_addresses: true, ..Config::default() };
    let mut host = Host::new(config, Medium::Ethernet(OUR_HARDWARE), false);
    claims(&mut host, Operation::REQUEST);
    announces(&mut host);
    host.later_millis(10_000);
    claims(&mut host, Operation::REQUEST);
    announces(&mut host);
    host.later_millis(9_999);
    claims(&mut host, Operation::REQUEST);
    host.sends_nothing();
    let all = [AddressFate::Claimed, AddressFate::Claimed, AddressFate::Duplicate];
    assert_eq!(fates(&mut host), all);
    assert!(!host.stack.is_local(US.into()));
}

/// A segment of their server to our client, in a frame.
fn segment(header: &Header) -> Vec<u8> {
    let mut segment = vec![0; header.encoded_len()];
    header.emit(&mut segment);
    tcp::fill_checksum(THEM.into(), US.into(), &mut segment);
    frame(EtherType::IPV4, &packet(&self::header(Protocol::TCP), &segment))
}

fn parse_segment(frame: &[u8]) -> (ipv4::Header, Header) {
    let (ip, segment) = parse_ip(parse_frame(frame).1);
    (ip, Header::parse(segment).unwrap().0)
}

/// RFC 5227 2.4: before an address is abandoned its connections are reset, while there is a way to do so.
#[test]
fn connections_of_an_address_that_is_given_up_are_reset() {
    let config = Config { give_up_addresses: true, ..Config::default() };
    let mut host = Host::new(config, Medium::Ethernet(OUR_HARDWARE), false);
    let server = v4(THEM, 80);
    let id = host.stack.connect(host.now, None, server, TcpOptions::default()).unwrap();
    host.sends();
    host.arrives(&arp_reply());
    let (_, syn) = parse_segment(&host.sends_one());
    let syn_ack = Header {
        source_port: 80,
        destination_port: syn.source_port,
        sequence: 1000,
        acknowledgment: syn.sequence.wrapping_add(1),
        flags: Flags::SYN | Flags::ACK,
        window: 65_535,
        urgent: 0,
        options: tcp::Options::default(),
    };
    host.arrives(&segment(&syn_ack));
    assert_eq!(parse_segment(&host.sends_one()).1.flags, Flags::ACK);
    // One that nobody answers yet: there is nobody to tell.
    let opening = host.stack.connect(host.now, None, v4(THEM, 81), TcpOptions::default()).unwrap();
    host.sends();

    claims(&mut host, Operation::REQUEST);
    announces(&mut host);
    assert_eq!(host.stack.state(id), Ok(State::Established));
    claims(&mut host, Operation::REQUEST);
    let (ip, reset) = parse_segment(&host.sends_one());
    assert_eq!((ip.source, ip.destination, reset.destination_port), (US, THEM, 80));
    assert_eq!(reset.flags, Flags::RST | Flags::ACK);
    assert_eq!((reset.sequence, reset.acknowledgment), (syn_ack.acknowledgment, 1001));
    assert_eq!(host.sent(Sent::ResetAddressLost), 1);
    assert!(!host.stack.is_local(US.into()));
    for id in [id, opening] {
        assert_eq!(host.stack.take_error(id), Ok(Some(Error::ConnectionAborted)));
    }
}

/// Who keeps his address keeps his connections.
#[test]
fn an_address_that_is_defended_keeps_its_connections() {
    let mut host = Host::tap();
    let id = host.stack.connect(host.now, None, v4(THEM, 80), TcpOptions::default()).unwrap();
    host.sends();
    claims(&mut host, Operation::REQUEST);
    announces(&mut host);
    claims(&mut host, Operation::REQUEST);
    assert_eq!(host.stack.take_error(id), Ok(None));
    assert_eq!(host.sent(Sent::ResetAddressLost), 0);
}

/// What comes back of our own packets, and what others say of themselves, is no claim.
#[test]
fn our_own_packets_and_others_addresses_are_no_claim() {
    let mut host = Host::tap();
    let target = (EthernetAddress::UNSPECIFIED, THEM);
    for sender in
        [(OUR_HARDWARE, US), (THEIR_HARDWARE, OTHER), (THEIR_HARDWARE, Ipv4Addr::UNSPECIFIED)]
    {
        host.arrives(&arp_frame(Operation::REQUEST, sender, target));
        host.sends_nothing();
    }
    assert_eq!(fates(&mut host), []);
}
