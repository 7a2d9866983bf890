//! Several datagrams with one call, both ways, and what `sendmsg` and `recvmsg` carry beside them.

mod common;
mod host;
extern crate estab_stack as stack;

use std::net::SocketAddr;
use std::num::NonZeroU16;

use common::{Family, Pair, plain};
use stack::{Config, Error, MtuDiscovery, UdpId, UdpReceived, UdpTransmit};
use wire::frame::{Capabilities, FrameBuf, ReceiveMeta};
use wire::ip::Protocol;
use wire::ipv4;

/// How long the IP and UDP headers are.
fn headers(family: Family) -> usize {
    if family == Family::V4 { 28 } else { 48 }
}

fn offload() -> Capabilities {
    Capabilities { checksum: true, segmentation: true, ..plain() }
}

/// Bytes that tell where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

/// A socket of each host, on port 7.
fn sockets(pair: &mut Pair) -> (UdpId, UdpId) {
    let (a, b) = (pair.family.a(7), pair.family.b(7));
    (pair.a.stack.udp_bind(a).unwrap(), pair.b.stack.udp_bind(b).unwrap())
}

fn send(pair: &mut Pair, id: UdpId, message: &UdpTransmit<'_>) -> Result<usize, Error> {
    pair.a.stack.udp_send_message(pair.now, id, message)
}

fn cut(to: SocketAddr, payload: &[u8], size: usize) -> UdpTransmit<'_> {
    UdpTransmit { segment_size: Some(size), ..UdpTransmit::new(Some(to), payload) }
}

fn receive(pair: &mut Pair, id: UdpId, room: usize) -> Result<(UdpReceived, Vec<u8>), Error> {
    let mut buffer = vec![0; room];
    let received = pair.b.stack.udp_receive_message(id, &mut buffer)?;
    buffer.truncate(received.length);
    Ok((received, buffer))
}

fn a_link_that_cuts_gets_one_frame(family: Family) {
    let mut pair = Pair::over(family, offload());
    let (a, b) = sockets(&mut pair);
    let payload = pattern(5 * 1000 + 7);
    assert_eq!(send(&mut pair, a, &cut(family.b(7), &payload, 1000)), Ok(5007));
    let frames = pair.a.frames(pair.now);
    let [(frame, meta)] = &frames[..] else { panic!("{} frames", frames.len()) };
    assert_eq!(meta.segment_size, NonZeroU16::new(1000));
    assert_eq!(frame.len(), headers(family) + 5007);
    let now = pair.now;
    let interface = pair.b.interface;
    pair.b.stack.handle_frame(now, interface, frame.clone(), *meta);
    let (received, bytes) = receive(&mut pair, b, 65_535).unwrap();
    assert_eq!((received.length, received.stride), (5007, 1000));
    assert_eq!((received.source, received.destination), (family.a(7), family.b(7).ip()));
    assert_eq!(bytes, payload);
    assert_eq!(receive(&mut pair, b, 9), Err(Error::WouldBlock));
}

/// The same from a link that does not cut: what comes is what would be on a wire, and is read with as
/// few calls.
fn without_such_a_link_the_stack_cuts(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (a, b) = sockets(&mut pair);
    let payload = pattern(5 * 1000 + 7);
    send(&mut pair, a, &cut(family.b(7), &payload, 1000)).unwrap();
    let frames = pair.a.frames(pair.now);
    let lengths: Vec<_> = frames.iter().map(|(frame, _)| frame.len() - headers(family)).collect();
    assert_eq!(lengths, [1000, 1000, 1000, 1000, 1000, 7]);
    for (frame, meta) in frames {
        pair.b.stack.handle_frame(pair.now, pair.b.interface, frame, meta);
    }
    let (received, bytes) = receive(&mut pair, b, 65_535).unwrap();
    assert_eq!((received.length, received.stride), (5007, 1000));
    assert_eq!(bytes, payload);
}

/// Who asks for one datagram gets one, out of however many came at once.
fn several_at_once_are_read_one_by_one(family: Family) {
    let mut pair = Pair::over(family, offload());
    let (a, b) = sockets(&mut pair);
    let payload = pattern(2 * 1000 + 7);
    send(&mut pair, a, &cut(family.b(7), &payload, 1000)).unwrap();
    pair.settle();
    let mut buffer = [0; 1500];
    let stack = &mut pair.b.stack;
    assert_eq!(stack.udp_peek_from(b, &mut buffer), Ok((1000, family.a(7))));
    // What does not fit is lost with the datagram that it belongs to, and with no other.
    for (room, piece) in [(1500, 0..1000), (3, 1000..1003), (1500, 2000..2007)] {
        let length = piece.len();
        assert_eq!(stack.udp_receive_from(b, &mut buffer[..room]), Ok((length, family.a(7))));
        assert_eq!(&buffer[..length], &payload[piece]);
    }
    assert_eq!(stack.udp_receive_from(b, &mut buffer), Err(Error::WouldBlock));
}

/// Only like follows like: another length, peer or traffic class begins another message, and what does
/// not fit whole waits.
fn what_is_read_together_is_alike(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (a, b) = sockets(&mut pair);
    let other = pair.a.stack.udp_bind(family.a(8)).unwrap();
    let one = |length| UdpTransmit::new(Some(family.b(7)), &[0; 300][..length]);
    for (id, message) in [
        (a, one(100)),
        (a, one(100)),
        (a, one(60)),
        (a, one(60)), // behind a shorter one nothing fits in
        (a, one(100)),
        (other, one(100)),
        (other, UdpTransmit { traffic_class: 0xb8, ..one(100) }),
        (other, one(0)),
        (other, one(0)),
    ] {
        send(&mut pair, id, &message).unwrap();
    }
    pair.settle();
    let mut read = |room| receive(&mut pair, b, room).map(|(r, _)| (r.length, r.stride)).unwrap();
    assert_eq!(read(250), (200, 100), "the third would not fit whole");
    assert_eq!(read(300), (120, 60));
    assert_eq!(read(300), (100, 100));
    assert_eq!(read(300), (100, 100));
    let (marked, _) = receive(&mut pair, b, 300).unwrap();
    assert_eq!((marked.traffic_class, marked.source), (0xb8, family.a(8)));
    for _ in 0..2 {
        assert_eq!(receive(&mut pair, b, 300).unwrap().0.length, 0);
    }
    assert_eq!(receive(&mut pair, b, 300), Err(Error::WouldBlock));
}

/// Datagrams that no packet of the link holds go in fragments, each by itself.
fn segments_longer_than_the_link_are_fragmented(family: Family) {
    let mut pair = Pair::over(family, offload());
    let (a, b) = sockets(&mut pair);
    let payload = pattern(6000);
    send(&mut pair, a, &cut(family.b(7), &payload, 3000)).unwrap();
    let frames = pair.a.frames(pair.now);
    assert_eq!(frames.len(), 6);
    for (frame, meta) in frames {
        assert_eq!(meta.segment_size, None);
        pair.b.stack.handle_frame(pair.now, pair.b.interface, frame, meta);
    }
    let (received, bytes) = receive(&mut pair, b, 65_535).unwrap();
    assert_eq!((received.length, received.stride), (6000, 3000));
    assert_eq!(bytes, payload);
}

fn what_makes_no_sense_is_refused(family: Family) {
    let mut pair = Pair::over(family, offload());
    let (a, _) = sockets(&mut pair);
    let to = family.b(7);
    let nobody = UdpTransmit::new(None, b"x");
    assert_eq!(send(&mut pair, a, &nobody), Err(Error::NotConnected));
    assert_eq!(send(&mut pair, a, &cut(to, b"x", 0)), Err(Error::InvalidInput));
    let long = vec![0; 65_528];
    assert_eq!(send(&mut pair, a, &cut(to, &long, 1000)), Err(Error::MessageTooBig));
    let foreign = UdpTransmit { source: Some(to.ip()), ..UdpTransmit::new(Some(to), b"x") };
    assert_eq!(send(&mut pair, a, &foreign), Err(Error::AddressNotAvailable));
    // A size that nothing is longer than cuts nothing.
    assert_eq!(send(&mut pair, a, &cut(to, b"", 1000)), Ok(0));
    assert_eq!(send(&mut pair, a, &cut(to, b"x", usize::MAX)), Ok(1));
    pair.a.stack.udp_connect(a, to).unwrap();
    assert_eq!(send(&mut pair, a, &nobody), Ok(1));
}

/// A message is charged to the socket until its last datagram left.
fn the_queue_is_charged_for_all_of_them(family: Family) {
    let mut pair = Pair::over(family, plain());
    pair.a.stack.set_config(Config { udp_send_buffer: 4000, ..Config::default() });
    let (a, _) = sockets(&mut pair);
    let payload = pattern(4000);
    let message = cut(family.b(7), &payload, 1000);
    for _ in 0..3 {
        send(&mut pair, a, &message).unwrap();
        assert_eq!(send(&mut pair, a, &message), Err(Error::WouldBlock));
        assert_eq!(pair.a.frames(pair.now).len(), 4);
    }
}

for_both_families! {
    a_link_that_cuts_gets_one_frame,
    without_such_a_link_the_stack_cuts,
    several_at_once_are_read_one_by_one,
    what_is_read_together_is_alike,
    segments_longer_than_the_link_are_fragmented,
    what_makes_no_sense_is_refused,
    the_queue_is_charged_for_all_of_them,
    a_hop_limit_is_told,
    one_by_one_with_all_that_is_beside,
    each_way_to_deal_with_the_path,
}

/// `IP_PKTINFO` both ways: a socket on all addresses answers from the one that was asked.
#[test]
fn the_answer_comes_from_where_the_question_went() {
    let mut pair = Pair::new(plain());
    let second = "10.0.0.22".parse().unwrap();
    pair.b.stack.add_address(pair.b.interface, second, 24).unwrap();
    let (a, _) = sockets(&mut pair);
    let b = pair.b.stack.udp_bind("0.0.0.0:9".parse().unwrap()).unwrap();
    let question = UdpTransmit::new(Some(SocketAddr::new(second, 9)), b"?");
    send(&mut pair, a, &question).unwrap();
    pair.settle();
    let (asked, _) = receive(&mut pair, b, 9).unwrap();
    assert_eq!(asked.destination, second);
    let answer = UdpTransmit {
        source: Some(asked.destination),
        ..UdpTransmit::new(Some(asked.source), b"!")
    };
    pair.b.stack.udp_send_message(pair.now, b, &answer).unwrap();
    pair.settle();
    let from = pair.a.stack.udp_receive_from(a, &mut [0; 9]);
    assert_eq!(from, Ok((1, SocketAddr::new(second, 9))));
}

/// The length that a link states is no more than where to cut: one that is too large, or none, leaves
/// one datagram.
#[test]
fn what_a_link_says_of_segments_is_not_trusted() {
    let mut pair = Pair::new(offload());
    let (a, b) = sockets(&mut pair);
    send(&mut pair, a, &UdpTransmit::new(Some(Family::V4.b(7)), b"hello")).unwrap();
    let (frame, meta) = pair.a.frames(pair.now).remove(0);
    for size in [None, NonZeroU16::new(1), NonZeroU16::new(5), NonZeroU16::new(u16::MAX)] {
        let frame = FrameBuf::copy_from(&frame);
        let meta = ReceiveMeta { segment_size: size, ..meta };
        pair.b.stack.handle_frame(pair.now, pair.b.interface, frame, meta);
        let (received, bytes) = receive(&mut pair, b, 99).unwrap();
        let stride = size.map_or(5, |size| usize::from(size.get()).min(5));
        assert_eq!((received.stride, &bytes[..]), (stride, &b"hello"[..]));
    }
}

/// `IP_TTL` of one datagram, and `IP_RECVTTL`: what the socket has counts for the others.
fn a_hop_limit_is_told(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (a, b) = sockets(&mut pair);
    pair.a.stack.udp_set_ttl(a, Some(9)).unwrap();
    let one = UdpTransmit::new(Some(family.b(7)), b"x");
    for (ttl, arrives) in [(None, 9), (Some(255), 255), (Some(1), 1), (None, 9)] {
        send(&mut pair, a, &UdpTransmit { ttl, ..one }).unwrap();
        pair.settle();
        let (received, _) = receive(&mut pair, b, 9).unwrap();
        assert_eq!((received.ttl, received.interface), (arrives, pair.b.interface));
    }
    let zero = UdpTransmit { ttl: Some(0), ..one };
    assert_eq!(send(&mut pair, a, &zero), Err(Error::InvalidInput));
}

/// Who wants datagrams one by one is told the same of each.
fn one_by_one_with_all_that_is_beside(family: Family) {
    let mut pair = Pair::over(family, offload());
    let (a, b) = sockets(&mut pair);
    let message = cut(family.b(7), b"abcdefgh", 3);
    send(&mut pair, a, &UdpTransmit { traffic_class: 0xb8, ..message }).unwrap();
    pair.settle();
    let mut buffer = [0; 9];
    for piece in [&b"abc"[..], b"def", b"gh"] {
        let received = pair.b.stack.udp_receive_datagram(b, &mut buffer).unwrap();
        assert_eq!(&buffer[..received.length], piece);
        assert_eq!((received.stride, received.traffic_class), (piece.len(), 0xb8));
    }
    assert_eq!(pair.b.stack.udp_receive_datagram(b, &mut buffer), Err(Error::WouldBlock));
}

/// `IP_MTU_DISCOVER`: how many packets a payload takes whose packet is as long as the path takes, and one
/// that is longer by one byte; and whether routers may cut what is whole.
fn each_way_to_deal_with_the_path(family: Family) {
    let table = [
        (MtuDiscovery::Dont, Ok(2), false),
        (MtuDiscovery::Want, Ok(2), true),
        (MtuDiscovery::Do, Err(Error::MessageTooBig), true),
        (MtuDiscovery::Probe, Err(Error::MessageTooBig), true),
        (MtuDiscovery::Interface, Err(Error::MessageTooBig), false),
        (MtuDiscovery::Omit, Ok(2), false),
    ];
    let payload = pattern(1500 - headers(family) + 1);
    for (mode, longer, whole) in table {
        let mut pair = Pair::over(family, plain());
        let (a, _) = sockets(&mut pair);
        pair.a.stack.udp_set_mtu_discovery(a, mode).unwrap();
        let fits = UdpTransmit::new(Some(family.b(7)), &payload[1..]);
        send(&mut pair, a, &fits).unwrap();
        let frames = pair.a.frames(pair.now);
        assert_eq!(frames.len(), 1, "{mode:?}");
        if family == Family::V4 {
            assert_eq!(frames[0].0[6] & 0x40 != 0, whole, "{mode:?}");
        }
        let sent = send(&mut pair, a, &UdpTransmit::new(Some(family.b(7)), &payload));
        let count = sent.map(|_| pair.a.frames(pair.now).len());
        assert_eq!(count, longer, "{mode:?}");
    }
}

/// What was heard of the path counts for those who ask for it, and for nobody else: a datagram of 1200 bytes
/// over a path that takes 1000.
#[test]
fn a_path_that_was_heard_of() {
    let table = [
        (MtuDiscovery::Dont, Ok(2)),
        (MtuDiscovery::Want, Ok(2)),
        (MtuDiscovery::Do, Err(Error::MessageTooBig)),
        (MtuDiscovery::Probe, Ok(1)),
        (MtuDiscovery::Interface, Ok(1)),
        (MtuDiscovery::Omit, Ok(1)),
    ];
    for (mode, expected) in table {
        let mut pair = Pair::new(plain());
        let (a, _) = sockets(&mut pair);
        let to = Family::V4.b(7);
        pair.a.stack.udp_connect(a, to).unwrap();
        assert_eq!(pair.a.stack.udp_path_mtu(a), Ok(1500));
        pair.a.stack.udp_set_mtu_discovery(a, MtuDiscovery::Do).unwrap();
        let message = UdpTransmit::new(None, &[0; 1172]);
        send(&mut pair, a, &message).unwrap();
        let (frame, _) = pair.a.frames(pair.now).remove(0);
        let too_big = fragmentation_needed(&frame, 1000);
        let (now, interface) = (pair.now, pair.a.interface);
        pair.a.stack.handle_frame(now, interface, too_big, ReceiveMeta::default());
        assert_eq!(pair.a.stack.udp_path_mtu(a), Ok(1000));
        assert_eq!(pair.a.stack.udp_take_error(a), Ok(Some(Error::MessageTooBig)));
        pair.a.stack.udp_set_mtu_discovery(a, mode).unwrap();
        let sent = send(&mut pair, a, &message);
        assert_eq!(sent.map(|_| pair.a.frames(pair.now).len()), expected, "{mode:?}");
    }
}

/// A router's message about a packet over IPv4 (RFC 1191 4).
fn fragmentation_needed(packet: &[u8], mtu: u16) -> FrameBuf {
    let header = wire::icmpv4::Header::DestinationUnreachable {
        code: wire::icmpv4::UnreachableCode::FRAGMENTATION_NEEDED,
        next_hop_mtu: mtu,
    };
    let ip = ipv4::Header {
        source: "10.0.0.99".parse().unwrap(),
        destination: "10.0.0.1".parse().unwrap(),
        ..host::header(Protocol::ICMP)
    };
    FrameBuf::from(host::packet(&ip, &host::message(&header, &packet[..28])))
}

/// `IP_RECVERR`: a socket without a peer hears that nobody is there, if it asked for that
/// (RFC 1122 4.1.3.3).
#[test]
fn who_asks_for_it_hears_all_errors() {
    for asks in [false, true] {
        let mut pair = Pair::new(plain());
        let a = pair.a.stack.udp_bind(Family::V4.a(7)).unwrap();
        pair.a.stack.udp_hear_all_errors(a, asks).unwrap();
        send(&mut pair, a, &UdpTransmit::new(Some(Family::V4.b(9)), b"x")).unwrap();
        pair.settle();
        let error = asks.then_some(Error::ConnectionRefused);
        assert_eq!(pair.a.stack.udp_take_error(a), Ok(error));
    }
}

/// `SO_REUSEADDR` after the bind.
#[test]
fn a_port_can_be_shared_later() {
    let mut pair = Pair::new(plain());
    let (stack, place) = (&mut pair.a.stack, Family::V4.a(7));
    let first = stack.udp_bind(place).unwrap();
    assert_eq!(stack.udp_bind_shared(place), Err(Error::AddressInUse));
    stack.udp_set_shared(first, true).unwrap();
    let second = stack.udp_bind_shared(place).unwrap();
    stack.udp_set_shared(second, false).unwrap();
    assert_eq!(stack.udp_bind_shared(place), Err(Error::AddressInUse));
}
