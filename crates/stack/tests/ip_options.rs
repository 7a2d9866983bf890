//! Options of IPv4 that programs send and get (RFC 1122 3.2.1.8, 3.4, 4.1.3.2, 4.1.4).

mod host;

use std::net::{IpAddr, Ipv4Addr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, MtuDiscovery, UdpReceived, UdpTransmit};
use host::*;
use wire::frame::{Medium, TransmitChecksum};
use wire::icmpv4::{Header, Timestamps};
use wire::ip::Protocol;
use wire::ipv4::{self, Options};

/// A record route with room for two, of which nothing is used.
const ROUTE: [u8; 12] = [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Security (RFC 1108), which every fragment has, behind a filler.
const COPIED: [u8; 5] = [1, 130, 4, 1, 2];

fn options(bytes: &[u8]) -> Options {
    Options::from_bytes(bytes).unwrap()
}

/// The milliseconds of the tests' clock, which is no calendar's.
fn time(host: &Host) -> [u8; 4] {
    let millis = u32::try_from(host.now.as_millis()).unwrap();
    (millis | 0x8000_0000).to_be_bytes()
}

fn socket(host: &mut Host) -> estab_stack::UdpId {
    host.stack.udp_bind(v4(US, 7)).unwrap()
}

fn receive(host: &mut Host, id: estab_stack::UdpId) -> UdpReceived {
    host.stack.udp_receive_message(id, &mut [0; 100]).unwrap()
}

/// "the transport layer [must be able to] specify IP options to be included in transmitted datagrams"; so may the
/// program.
#[test]
fn a_datagram_carries_the_options_of_its_program() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    host.stack.udp_set_options(id, &COPIED).unwrap();
    assert_eq!(host.stack.udp_options(id).unwrap().as_bytes(), [1, 130, 4, 1, 2, 0, 0, 0]);
    host.stack.udp_send_to(host.now, id, b"hello", v4(THEM, 9)).unwrap();
    let bytes = host.sends_one();
    let (ip, udp, payload) = parse_udp(&bytes);
    assert_eq!(ip.options, options(&COPIED));
    assert_eq!((udp.source_port, udp.destination_port, payload), (7, 9, &b"hello"[..]));
    // One datagram alone has others.
    let alert = Some(Options::ROUTER_ALERT);
    let message = UdpTransmit { options: alert, ..UdpTransmit::new(Some(v4(THEM, 9)), b"x") };
    host.stack.udp_send_message(host.now, id, &message).unwrap();
    assert_eq!(parse_udp(&host.sends_one()).0.options, Options::ROUTER_ALERT);
    host.stack.udp_set_options(id, &[]).unwrap();
    host.stack.udp_send_to(host.now, id, b"hello", v4(THEM, 9)).unwrap();
    assert!(parse_udp(&host.sends_one()).0.options.is_empty());
}

/// A link that completes checksums is told where it finds them.
#[test]
fn options_stand_before_a_checksum_that_the_link_completes() {
    let mut host = Host::new(Config::default(), Medium::Ip, true);
    let id = socket(&mut host);
    host.stack.udp_set_options(id, &COPIED).unwrap();
    host.stack.udp_send_to(host.now, id, b"hello", v4(THEM, 9)).unwrap();
    assert_eq!(parse_ip(&host.sends_one()).0.options, options(&COPIED));
    assert_eq!(host.meta.checksum, TransmitChecksum::Partial { start: 28, offset: 6 });
}

/// "[options] received from IP must be passed to the transport layer", and from there to the program.
#[test]
fn a_program_learns_the_options_of_what_came() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    let given = options(&COPIED);
    host.arrives(&datagram(
        &ipv4::Header { options: given, ..header(Protocol::UDP) },
        (9, 7),
        b"a",
    ));
    host.arrives(&datagram(&header(Protocol::UDP), (9, 7), b"b"));
    // The length is the same, and still they are not read as one.
    let first = receive(&mut host, id);
    assert_eq!((first.length, first.options), (1, given));
    let second = receive(&mut host, id);
    assert_eq!((second.length, second.options), (1, Options::NONE));
}

/// So does one that is in a group, or hears what goes to everybody.
#[test]
fn a_group_learns_them_too() {
    let mut host = Host::tap();
    let id = host.stack.udp_bind(v4(Ipv4Addr::UNSPECIFIED, 7)).unwrap();
    let given = options(&COPIED);
    let ip =
        ipv4::Header { options: given, destination: SUBNET_BROADCAST, ..header(Protocol::UDP) };
    let to_all = wire::ethernet::EthernetAddress::BROADCAST;
    let packet = datagram(&ip, (9, 7), b"a");
    host.arrives(&frame_to(to_all, wire::ethernet::EtherType::IPV4, &packet));
    assert_eq!(receive(&mut host, id).options, given);
}

/// 3.2.1.8 (d), (e): whoever sends a packet is the first in what it records, and whom it is for the last.
#[test]
fn routes_and_times_are_recorded_at_both_ends() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    host.stack.udp_set_options(id, &ROUTE).unwrap();
    host.stack.udp_send_to(host.now, id, b"x", v4(THEM, 9)).unwrap();
    let sent = parse_udp(&host.sends_one()).0.options;
    assert_eq!(sent.as_bytes(), [7, 11, 8, 10, 77, 0, 2, 0, 0, 0, 0, 0]);
    host.stack.udp_set_options(id, &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    host.stack.udp_send_to(host.now, id, b"x", v4(THEM, 9)).unwrap();
    let sent = parse_udp(&host.sends_one()).0.options;
    assert_eq!(sent.as_bytes(), [&[68, 12, 9, 0][..], &time(&host), &[0; 4]].concat());

    let asked = options(&[7, 11, 8, 10, 77, 0, 1, 0, 0, 0, 0, 0]);
    host.arrives(&datagram(
        &ipv4::Header { options: asked, ..header(Protocol::UDP) },
        (9, 7),
        b"a",
    ));
    let came = receive(&mut host, id).options;
    assert_eq!(came.as_bytes(), [7, 11, 12, 10, 77, 0, 1, 10, 77, 0, 2, 0]);
}

/// Nothing goes out that no receiver could read, and no source route (RFC 7126 4.3).
#[test]
fn options_that_make_no_sense_are_refused() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    let refused: [(&[u8], Error); 9] = [
        (&[1; 41], Error::InvalidInput),
        (&[7], Error::InvalidInput),
        (&[7, 1], Error::InvalidInput),
        (&[130, 9, 0], Error::InvalidInput),
        (&[7, 6, 4, 0, 0, 0], Error::InvalidInput),
        (&[7, 7, 3, 0, 0, 0, 0], Error::InvalidInput),
        (&[68, 8, 4, 0, 0, 0, 0, 0], Error::InvalidInput),
        (&[131, 7, 4, 10, 0, 0, 1], Error::PermissionDenied),
        (&[1, 137, 7, 4, 10, 0, 0, 1], Error::PermissionDenied),
    ];
    let ping = host.stack.ping_open(None).unwrap();
    for (bytes, error) in refused {
        assert_eq!(host.stack.udp_set_options(id, bytes), Err(error), "{bytes:?}");
        assert_eq!(host.stack.ping_set_options(ping, bytes), Err(error), "{bytes:?}");
        if let Some(options) = Options::from_bytes(bytes).filter(|_| bytes.len() % 4 == 0) {
            let message =
                UdpTransmit { options: Some(options), ..UdpTransmit::new(Some(v4(THEM, 9)), b"") };
            assert_eq!(host.stack.udp_send_message(host.now, id, &message), Err(error));
        }
    }
    assert_eq!(host.stack.udp_options(id), Ok(Options::NONE));
}

/// RFC 791 3.1, the copied flag: the first fragment has all options, the others those that say so.
#[test]
fn fragments_have_the_options_that_are_to_be_copied() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    let all = [&ROUTE[..11], &COPIED].concat();
    host.stack.udp_set_options(id, &all).unwrap();
    let payload: Vec<u8> = (0..4000_u16).map(|n| n as u8).collect();
    host.stack.udp_send_to(host.now, id, &payload, v4(THEM, 9)).unwrap();
    let packets = host.sends();
    assert_eq!(packets.len(), 3);
    let (mut message, mut at) = (Vec::new(), Vec::new());
    for packet in &packets {
        assert!(packet.len() <= 1500);
        let (ip, part) = parse_ip(packet);
        assert_eq!(usize::from(ip.fragment_offset), message.len());
        message.extend_from_slice(part);
        at.push(ip.options);
    }
    assert_eq!(at[0].as_bytes()[..11], [7, 11, 8, 10, 77, 0, 2, 0, 0, 0, 0]);
    assert_eq!(at[0].as_bytes()[11..], COPIED);
    assert_eq!(at[1..], [options(&COPIED[1..]); 2]);
    assert_eq!(message[8..], payload);
    assert_eq!(host.sent(Sent::Fragment), 2);
}

/// What the path takes has room for the options, too.
#[test]
fn options_count_for_what_fits() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    host.stack.udp_set_mtu_discovery(id, MtuDiscovery::Do).unwrap();
    host.stack.udp_set_options(id, &ROUTE).unwrap();
    let mut send = |length: usize| {
        let sent = host.stack.udp_send_to(host.now, id, &vec![0; length], v4(THEM, 9));
        (sent, host.sends().iter().map(Vec::len).collect::<Vec<_>>())
    };
    assert_eq!(send(1500 - 28 - 12), (Ok(1460), vec![1500]));
    assert_eq!(send(1500 - 28 - 11), (Err(Error::MessageTooBig), vec![]));
    host.stack.udp_set_mtu_discovery(id, MtuDiscovery::Want).unwrap();
    let most = vec![0; 65_535 - 28 - 12 + 1];
    let sent = host.stack.udp_send_to(host.now, id, &most, v4(THEM, 9));
    assert_eq!(sent, Err(Error::MessageTooBig));
    assert!(host.stack.udp_send_to(host.now, id, &most[1..], v4(THEM, 9)).is_ok());
    assert!(host.sends().iter().all(|packet| packet.len() <= 1500));
}

/// A ping with a record route says which way it went.
#[test]
fn a_ping_records_its_route() {
    let mut host = Host::tun();
    let id = host.stack.ping_open(None).unwrap();
    host.stack.ping_set_options(id, &ROUTE).unwrap();
    host.stack.ping_send(host.now, id, IpAddr::V4(THEM), 9, b"x").unwrap();
    let bytes = host.sends_one();
    let (ip, icmp, _) = parse_icmp(&bytes);
    assert_eq!(ip.options.as_bytes(), [7, 11, 8, 10, 77, 0, 2, 0, 0, 0, 0, 0]);
    let Header::EchoRequest { identifier, sequence } = icmp else { panic!("{icmp:?}") };
    let ip = ipv4::Header { options: ip.options, ..header(Protocol::ICMP) };
    host.arrives(&packet(&ip, &message(&Header::EchoReply { identifier, sequence }, b"x")));
    let reply = host.stack.ping_receive(id).unwrap();
    assert_eq!(reply.options.as_bytes(), [7, 11, 12, 10, 77, 0, 2, 10, 77, 0, 2, 0]);
}

/// RFC 1122 3.2.2.8: what a program asks, and the reply that it gets.
#[test]
fn a_program_asks_for_the_time() {
    let mut host = Host::tun();
    let id = host.stack.ping_open(None).unwrap();
    host.stack.ping_send_timestamp(host.now, id, THEM, 4).unwrap();
    let originate = u32::from_be_bytes(time(&host));
    let bytes = host.sends_one();
    let (ip, icmp, rest) = parse_icmp(&bytes);
    let Header::TimestampRequest(asked) = icmp else { panic!("{icmp:?}") };
    assert_eq!((ip.source, ip.destination, rest.len()), (US, THEM, 0));
    let identifier = asked.identifier;
    let expected = Timestamps { identifier, sequence: 4, originate, receive: 0, transmit: 0 };
    assert_eq!(asked, expected);
    assert_eq!(host.sent(Sent::TimestampRequest), 1);
    let answer = Timestamps { receive: 77, transmit: 78, ..asked };
    let from_them =
        |times| packet(&header(Protocol::ICMP), &message(&Header::TimestampReply(times), &[]));
    host.arrives(&from_them(answer));
    let reply = host.stack.ping_receive(id).unwrap();
    assert_eq!((reply.source, reply.sequence), (IpAddr::V4(THEM), 4));
    assert_eq!((reply.times, reply.payload), (Some(answer), vec![]));
    host.drops(
        &from_them(Timestamps { identifier: identifier.wrapping_add(1), ..answer }),
        Dropped::PingNobody,
    );
}
