//! ICMP: answers, errors that are sent, errors that are not, and errors that come (RFC 1122 3.2.2).

mod host;

use std::net::{IpAddr, Ipv4Addr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, PingReply, SocketId, TcpOptions};
use host::*;
use wire::frame::{Medium, ReceiveChecksum, ReceiveMeta};
use wire::icmpv4::{Header, Timestamps, UnreachableCode};
use wire::ip::Protocol;
use wire::ipv4::{self, kind};
use wire::{icmpv4, udp};

const BAD: Protocol = Protocol(253);

fn unreachable(code: UnreachableCode) -> Header {
    Header::DestinationUnreachable { code, next_hop_mtu: 0 }
}

/// An ICMP message from them to us.
fn from_them(icmp: &Header, payload: &[u8]) -> Vec<u8> {
    packet(&header(Protocol::ICMP), &message(icmp, payload))
}

/// 3.2.2.6: "Every host MUST implement an ICMP Echo server function"; "Data received in an ICMP
/// Echo Request MUST be entirely included in the resulting Echo Reply."
#[test]
fn an_echo_request_is_answered_with_its_data() {
    let mut host = Host::tun();
    for length in [0, 1, 56, 1472] {
        let data: Vec<u8> = (0..length).map(|n| n as u8).collect();
        host.arrives(&echo(&header(Protocol::ICMP), &data));
        let bytes = host.sends_one();
        let (ip, icmp, payload) = parse_icmp(&bytes);
        assert_eq!((ip.source, ip.destination, ip.ttl), (US, THEM, 64));
        assert_eq!(icmp, Header::EchoReply { identifier: 1, sequence: 2 });
        assert_eq!(payload, data);
    }
    assert_eq!(host.sent(Sent::EchoReply), 4);
    assert_eq!(host.meta.comment, Sent::EchoReply.comment());
}

/// 3.2.2.6: a request to a broadcast address "MAY be silently discarded".
#[test]
fn an_echo_request_to_everybody_is_ignored() {
    let mut host = Host::tun();
    let ip = ipv4::Header { destination: SUBNET_BROADCAST, ..header(Protocol::ICMP) };
    host.drops(&echo(&ip, b"x"), Dropped::IcmpIgnored);
}

/// 3.2.2.6: "If a Record Route and/or Timestamp option is received in an ICMP Echo Request, this option
/// SHOULD be updated to include the current host and included in the IP header of the Echo Reply message,
/// without "truncation"."
#[test]
fn what_an_echo_request_recorded_goes_on_being_recorded() {
    let mut host = Host::tun();
    let asked = [7, 11, 8, 192, 0, 2, 1, 0, 0, 0, 0, 0];
    let options = ipv4::Options::from_bytes(&asked).unwrap();
    host.arrives(&echo(&ipv4::Header { options, ..header(Protocol::ICMP) }, b"x"));
    let bytes = host.sends_one();
    let (ip, icmp, payload) = parse_icmp(&bytes);
    assert_eq!(ip.options.as_bytes(), [7, 11, 12, 192, 0, 2, 1, 10, 77, 0, 2, 0]);
    assert_eq!((icmp, payload), (Header::EchoReply { identifier: 1, sequence: 2 }, &b"x"[..]));
    // Where there is no room for it the answer goes without.
    host.arrives(&echo(&ipv4::Header { options, ..header(Protocol::ICMP) }, &[0; 1465]));
    let bytes = host.sends_one();
    assert!(parse_icmp(&bytes).0.options.is_empty());
}

/// 3.2.2.8: the reply comes from the address that was asked, without delay.
#[test]
fn a_timestamp_request_is_answered() {
    let mut host = Host::tun();
    let asked = Timestamps { identifier: 3, sequence: 4, originate: 5, receive: 0, transmit: 0 };
    host.arrives(&from_them(&Header::TimestampRequest(asked), &[]));
    let bytes = host.sends_one();
    let (ip, icmp, payload) = parse_icmp(&bytes);
    let now = 1000 | 0x8000_0000;
    let answer = Timestamps { receive: now, transmit: now, ..asked };
    assert_eq!((ip.source, icmp, payload.len()), (US, Header::TimestampReply(answer), 0));
}

#[test]
fn broken_messages_are_dropped() {
    let mut host = Host::tun();
    let mut bytes = echo(&header(Protocol::ICMP), b"data");
    *bytes.last_mut().unwrap() ^= 1;
    host.drops(&bytes, Dropped::IcmpChecksum);
    let short = [8, 0, 0xf7, 0xff];
    host.drops(&packet(&header(Protocol::ICMP), &short), Dropped::MalformedIcmp);
    host.drops(&from_them(&Header::SourceQuench, &[]), Dropped::IcmpIgnored);
    let unknown = Header::Unknown { kind: 42, code: 0, rest: [0; 4] };
    // 3.2.2: "If an ICMP message of unknown type is received, it MUST be silently discarded."
    host.drops(&from_them(&unknown, &[]), Dropped::IcmpIgnored);
}

/// RFC 792 and RFC 1812 4.3.2.3: the error quotes the header and what fits into 576 bytes.
#[test]
fn a_closed_port_is_reported_with_a_quote() {
    let mut host = Host::tun();
    for length in [0, 10, 1400] {
        let original = datagram(&header(Protocol::UDP), (1000, 2000), &vec![7; length]);
        host.arrives(&original);
        let bytes = host.sends_one();
        let (ip, icmp, quote) = parse_icmp(&bytes);
        assert_eq!((ip.source, ip.destination), (US, THEM));
        assert_eq!(icmp, unreachable(UnreachableCode::PORT));
        assert_eq!(quote, &original[..original.len().min(548)]);
        assert!(bytes.len() <= 576);
    }
    assert_eq!(host.dropped(Dropped::UdpNobody), 3);
    assert_eq!(host.sent(Sent::PortUnreachable), 3);
}

/// 3.2.2.1: "[code] 2, when the designated transport protocol is not supported".
#[test]
fn an_unknown_protocol_is_reported() {
    let mut host = Host::tun();
    let original = packet(&header(BAD), b"what is this");
    host.arrives(&original);
    let bytes = host.sends_one();
    let (_, icmp, quote) = parse_icmp(&bytes);
    assert_eq!((icmp, quote), (unreachable(UnreachableCode::PROTOCOL), &original[..]));
    assert_eq!(host.dropped(Dropped::UnknownProtocol), 1);
}

/// 3.2.2.5: "A host SHOULD generate Parameter Problem messages." The pointer says where.
#[test]
fn a_broken_option_is_reported_with_its_place() {
    let mut host = Host::tun();
    for (option, pointer) in [([kind::NO_OP, 0x55, 9, 0], 22), ([kind::RECORD_ROUTE, 4, 0, 0], 21)]
    {
        let options = ipv4::Options::from_bytes(&option).unwrap();
        let original = echo(&ipv4::Header { options, ..header(Protocol::ICMP) }, b"x");
        host.arrives(&original);
        let bytes = host.sends_one();
        let (_, icmp, quote) = parse_icmp(&bytes);
        assert_eq!((icmp, quote), (Header::ParameterProblem { code: 0, pointer }, &original[..]));
    }
    assert_eq!(host.dropped(Dropped::MalformedIpOption), 2);
}

/// 3.2.2: no error about an error, a broadcast, or a fragment that is not the first.
#[test]
fn no_error_where_it_could_do_harm() {
    let mut host = Host::tun();
    let options = ipv4::Options::from_bytes(&[0x55, 9, 0, 0]).unwrap();
    let error = message(&unreachable(UnreachableCode::PORT), &[0; 28]);
    let about_error = packet(&ipv4::Header { options, ..header(Protocol::ICMP) }, &error);
    host.drops(&about_error, Dropped::MalformedIpOption);
    for destination in [SUBNET_BROADCAST, Ipv4Addr::BROADCAST] {
        let ip = ipv4::Header { destination, ..header(BAD) };
        host.drops(&packet(&ip, b"x"), Dropped::UnknownProtocol);
        let ip = ipv4::Header { destination, ..header(Protocol::UDP) };
        host.drops(&datagram(&ip, (1, 2), b"x"), Dropped::UdpNobody);
    }
    let ip = ipv4::Header { options, fragment_offset: 8, dont_fragment: false, ..header(BAD) };
    host.drops(&packet(&ip, b"x"), Dropped::MalformedIpOption);
}

/// RFC 1812 4.3.2.8: the rate of errors is limited; here a tenth of a second's worth at once.
#[test]
fn the_rate_of_errors_is_limited() {
    let config = Config { icmp_errors_per_second: 50, ..Config::default() };
    let mut host = Host::new(config, Medium::Ip, false);
    let original = packet(&header(BAD), b"x");
    (0..20).for_each(|_| host.arrives(&original));
    assert_eq!(host.sends().len(), 5);
    assert_eq!(host.dropped(Dropped::IcmpRateLimited), 15);
    host.later_millis(20);
    (0..20).for_each(|_| host.arrives(&original));
    host.sends_one();
    // An answer to an echo request is no error.
    host.arrives(&echo(&header(Protocol::ICMP), b"x"));
    host.sends_one();
}

#[test]
fn answers_that_wait_for_the_link_are_bounded() {
    let config = Config { reply_limit: 3, ..Config::default() };
    let mut host = Host::new(config, Medium::Ip, false);
    (0..5).for_each(|_| host.arrives(&echo(&header(Protocol::ICMP), b"x")));
    assert_eq!(host.sends().len(), 3);
    assert_eq!(host.dropped(Dropped::ReplyQueueFull), 2);
}

/// Opens a connected socket and gives the packet that it sent.
fn connected(host: &mut Host) -> (estab_stack::UdpId, Vec<u8>) {
    let id = host.stack.udp_bind(v4(US, 5000)).unwrap();
    host.stack.udp_connect(id, v4(THEM, 7)).unwrap();
    host.stack.udp_send(host.now, id, &[7; 1400]).unwrap();
    let sent = host.sends_one();
    (id, sent)
}

/// 3.2.2.1: an error "MUST be reported to the transport layer"; the codes reach the program as
/// different errors.
#[test]
fn errors_reach_the_socket_as_different_errors() {
    let mut host = Host::tun();
    let (id, sent) = connected(&mut host);
    let prohibited = UnreachableCode::ADMINISTRATIVELY_PROHIBITED;
    let time = icmpv4::TimeExceededCode::IN_TRANSIT;
    let cases = [
        (unreachable(UnreachableCode::PORT), Error::ConnectionRefused),
        (unreachable(UnreachableCode::PROTOCOL), Error::ProtocolUnreachable),
        (unreachable(UnreachableCode::HOST), Error::HostUnreachable),
        (unreachable(UnreachableCode::NETWORK), Error::NetworkUnreachable),
        (unreachable(UnreachableCode::FRAGMENTATION_NEEDED), Error::MessageTooBig),
        (unreachable(prohibited), Error::Prohibited),
        (Header::TimeExceeded { code: time }, Error::HostUnreachable),
    ];
    for (icmp, error) in cases {
        // 28 bytes are the least that a router must quote (RFC 792).
        host.arrives(&from_them(&icmp, &sent[..28]));
        assert_eq!(host.stack.poll_event().unwrap().socket, SocketId::Udp(id));
        assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Err(error));
        assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Err(Error::WouldBlock));
    }
}

/// RFC 5461 4.1: an attempt to connect may end at the first soft error; without the option it goes on (RFC 9293
/// 3.9.2.2).
#[test]
fn a_soft_error_ends_an_attempt_to_connect_where_that_is_wanted() {
    for soft_errors_end_connect in [false, true] {
        let mut host = Host::tun();
        let options = TcpOptions { soft_errors_end_connect, ..TcpOptions::default() };
        let id = host.stack.connect(host.now, None, v4(THEM, 80), options).unwrap();
        let syn = host.sends_one();
        host.arrives(&from_them(&unreachable(UnreachableCode::HOST), &syn[..28]));
        let told = soft_errors_end_connect.then_some(Error::HostUnreachable);
        assert_eq!(host.stack.take_error(id), Ok(told));
        host.later_millis(1000);
        assert_eq!(host.sends().len(), usize::from(!soft_errors_end_connect));
    }
}

/// RFC 5927 4: an error counts only when it quotes something that we may have sent.
#[test]
fn errors_about_nothing_of_ours_are_dropped() {
    let mut host = Host::tun();
    let (id, sent) = connected(&mut host);
    let port = unreachable(UnreachableCode::PORT);
    let quoting = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut quote = sent[..28].to_vec();
        change(&mut quote);
        from_them(&port, &quote)
    };
    host.drops(&quoting(&|quote| quote[15] = 9), Dropped::IcmpUnsolicited);
    host.drops(&quoting(&|quote| quote[19] = 9), Dropped::IcmpUnsolicited);
    host.drops(&quoting(&|quote| quote[21] ^= 1), Dropped::IcmpUnsolicited);
    host.drops(&quoting(&|quote| quote[23] ^= 1), Dropped::IcmpUnsolicited);
    host.drops(&quoting(&|quote| quote[9] = 253), Dropped::IcmpUnsolicited);
    host.drops(&quoting(&|quote| quote.truncate(23)), Dropped::IcmpUnsolicited);
    host.drops(&quoting(&|quote| quote.truncate(19)), Dropped::MalformedIcmp);
    assert_eq!(host.stack.udp_take_error(id), Ok(None));
}

#[test]
fn an_unconnected_socket_hears_no_errors() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(US, 5000)).unwrap();
    host.stack.udp_send_to(host.now, id, b"x", v4(THEM, 7)).unwrap();
    let sent = host.sends_one();
    let error = from_them(&unreachable(UnreachableCode::PORT), &sent[..28]);
    host.drops(&error, Dropped::IcmpUnsolicited);
    assert_eq!(host.stack.udp_take_error(id), Ok(None));
}

/// Inside the stack a closed port is told, too.
#[test]
fn a_closed_port_of_our_own_refuses() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(Ipv4Addr::LOCALHOST, 0)).unwrap();
    host.stack.udp_connect(id, v4(Ipv4Addr::LOCALHOST, 9)).unwrap();
    host.stack.udp_send(host.now, id, b"x").unwrap();
    host.sends_nothing();
    assert_eq!(host.stack.udp_take_error(id), Ok(Some(Error::ConnectionRefused)));
}

/// 3.2.2.6: "There MUST be a (non-privileged) user interface to send Echo Request [...] and
/// receive Echo Reply".
#[test]
fn a_ping_gets_its_reply() {
    let mut host = Host::tun();
    let id = host.stack.ping_open(None).unwrap();
    let them = IpAddr::V4(THEM);
    host.stack.ping_send(host.now, id, them, 9, b"are you there?").unwrap();
    let bytes = host.sends_one();
    let (ip, icmp, payload) = parse_icmp(&bytes);
    let Header::EchoRequest { identifier, sequence: 9 } = icmp else { panic!("{icmp:?}") };
    assert_eq!((ip.source, ip.destination), (US, THEM));
    host.later_millis(30);
    assert_eq!(host.stack.ping_receive(id), Err(Error::WouldBlock));
    host.arrives(&from_them(&Header::EchoReply { identifier, sequence: 9 }, payload));
    assert_eq!(host.stack.poll_event().unwrap().socket, SocketId::Ping(id));
    let reply = PingReply {
        source: them,
        sequence: 9,
        ttl: 64,
        payload: b"are you there?".to_vec(),
        received: host.now,
        error: None,
        report: None,
        options: ipv4::Options::NONE,
        times: None,
    };
    assert_eq!(host.stack.ping_receive(id), Ok(reply));
    let stranger = Header::EchoReply { identifier: identifier + 1, sequence: 9 };
    host.drops(&from_them(&stranger, b""), Dropped::PingNobody);
    host.stack.ping_close(id).unwrap();
    host.drops(
        &from_them(&Header::EchoReply { identifier, sequence: 9 }, b""),
        Dropped::PingNobody,
    );
}

#[test]
fn a_ping_that_fails_says_why() {
    let mut host = Host::tap();
    let id = host.stack.ping_open(None).unwrap();
    let error_of = |host: &mut Host| host.stack.ping_receive(id).unwrap().error;
    host.stack.ping_send(host.now, id, IpAddr::V4(THEM), 1, b"x").unwrap();
    for _ in 0..3 {
        host.sends_one();
        host.later_millis(1000);
    }
    host.sends_nothing();
    assert_eq!(error_of(&mut host), Some(Error::HostUnreachable));
    let mut host = Host::tun();
    let id = host.stack.ping_open(None).unwrap();
    host.stack.ping_send(host.now, id, IpAddr::V4(THEM), 2, b"x").unwrap();
    let sent = host.sends_one();
    host.arrives(&from_them(&unreachable(UnreachableCode::HOST), &sent[..28]));
    let news = host.stack.ping_receive(id).unwrap();
    assert_eq!((news.sequence, news.error), (2, Some(Error::HostUnreachable)));
    let to_far = host.stack.ping_send(host.now, id, IpAddr::V4(FAR), 3, b"x");
    assert_eq!(to_far, Err(Error::NetworkUnreachable));
    let too_big = host.stack.ping_send(host.now, id, IpAddr::V4(THEM), 3, &[0; 65_508]);
    assert_eq!(too_big, Err(Error::MessageTooBig));
}

#[test]
fn the_stack_can_ping_itself() {
    let mut host = Host::tun();
    let id = host.stack.ping_open(Some(IpAddr::V4(US))).unwrap();
    for address in [US, Ipv4Addr::LOCALHOST] {
        host.stack.ping_send(host.now, id, IpAddr::V4(address), 1, b"me").unwrap();
        host.sends_nothing();
        assert_eq!(host.stack.ping_receive(id).unwrap().source, IpAddr::V4(address));
    }
}

#[test]
fn what_the_link_vouches_for_is_not_summed_again() {
    let mut host = Host::tun();
    let mut bytes = echo(&header(Protocol::ICMP), b"data");
    *bytes.last_mut().unwrap() ^= 1;
    let meta = ReceiveMeta { checksum: ReceiveChecksum::Verified, segment_size: None };
    host.arrives_with(&bytes, meta);
    host.sends_one();
    let mut bytes = datagram(&header(Protocol::UDP), (1000, 7), b"data");
    bytes[20 + udp::CHECKSUM_OFFSET] ^= 1;
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    host.arrives_with(&bytes, ReceiveMeta { checksum: ReceiveChecksum::Partial, ..meta });
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Ok((4, v4(THEM, 1000))));
}
