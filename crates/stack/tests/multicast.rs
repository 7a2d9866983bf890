//! Groups and broadcasts: RFC 1112, RFC 9776, RFC 9777, RFC 1122 4.1.3.6, and what programs know from
//! `std::net::UdpSocket`.

mod host;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, UdpId};
use host::*;
use wire::ethernet::EthernetAddress;
use wire::igmp::{self, Message, Query, QueryV3};
use wire::ip::Protocol;
use wire::ipv4::{self, Ipv4Option, Options};
use wire::membership::{Code8, RecordKind};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const OTHER_GROUP: Ipv4Addr = Ipv4Addr::new(239, 9, 9, 9);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0x1234, 0x5678);

fn to_group(group: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let ip = ipv4::Header { destination: group, ttl: 1, ..header(Protocol::UDP) };
    datagram(&ip, (1000, port), payload)
}

fn reads(host: &mut Host, id: UdpId) -> Option<Vec<u8>> {
    let mut buffer = [0; 2000];
    let (length, _) = host.stack.udp_receive_from(id, &mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

/// A record of a report: kind and group.
type Said = Vec<(RecordKind, Ipv4Addr)>;

/// The IGMP messages among packets of a TUN.
fn reports(packets: &[Vec<u8>]) -> Vec<(Ipv4Addr, Said)> {
    let igmp = packets.iter().filter(|packet| packet[9] == Protocol::IGMP.0);
    igmp.map(|packet| {
        let (ip, message) = parse_ip(packet);
        assert_eq!((ip.ttl, ip.traffic_class), (1, 0xc0));
        assert!(ip.options.iter().any(|o| matches!(o, Ipv4Option::RouterAlert(0))));
        assert!(igmp::is_checksum_valid(message));
        let said = match Message::parse(message).unwrap() {
            Message::Report(records) => records.map(|record| (record.kind, record.group)).collect(),
            Message::ReportV1 { group } | Message::ReportV2 { group } => {
                vec![(RecordKind::IS_EXCLUDE, group)]
            }
            Message::Leave { group } => vec![(RecordKind::TO_INCLUDE, group)],
            other => panic!("{other:?}"),
        };
        (ip.destination, said)
    })
    .collect()
}

fn query(group: Ipv4Addr, max_response: u8, v3: bool) -> Vec<u8> {
    let v3 = v3.then_some(QueryV3 {
        suppress: false,
        robustness: 2,
        interval: Code8(125),
        sources: &[],
    });
    let query = Query { max_response: Code8(max_response), group, v3 };
    let mut message = vec![0; query.encoded_len()];
    query.emit(&mut message);
    igmp::fill_checksum(&mut message);
    let destination = if group.is_unspecified() { igmp::ALL_SYSTEMS } else { group };
    let ip = ipv4::Header {
        destination,
        ttl: 1,
        options: Options::ROUTER_ALERT,
        ..header(Protocol::IGMP)
    };
    packet(&ip, &message)
}

/// A host with a socket in the group whose reports are over.
fn member() -> (Host, UdpId) {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    host.stack.udp_join_v4(id, GROUP, US).unwrap();
    passes(&mut host, 3000);
    (host, id)
}

/// RFC 1112 7.2: what goes to a group is for who joined it, there and nowhere else.
#[test]
fn a_group_is_heard_from_joining_to_leaving() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    host.drops(&to_group(GROUP, 5000, b"early"), Dropped::NotInGroup);
    host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    host.arrives(&to_group(GROUP, 5000, b"hello"));
    assert_eq!(reads(&mut host, id), Some(b"hello".to_vec()));
    host.sends();
    host.drops(&to_group(OTHER_GROUP, 5000, b"other"), Dropped::NotInGroup);
    host.drops(&to_group(GROUP, 5001, b"other"), Dropped::UdpNobody);
    host.stack.udp_leave_v4(id, GROUP, ANY).unwrap();
    host.sends();
    host.drops(&to_group(GROUP, 5000, b"late"), Dropped::NotInGroup);
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let mut host = Host::new(
        Config { groups_per_socket: 2, ..Config::default() },
        wire::frame::Medium::Ip,
        false,
    );
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    let stack = &mut host.stack;
    assert_eq!(stack.udp_join_v4(id, THEM, ANY), Err(Error::InvalidInput));
    assert_eq!(stack.udp_join_v4(id, GROUP, THEM), Err(Error::AddressNotAvailable));
    assert_eq!(stack.udp_join_v6(id, GROUP6, 1), Err(Error::InvalidInput));
    assert_eq!(stack.udp_leave_v4(id, GROUP, ANY), Err(Error::AddressNotAvailable));
    stack.udp_join_v4(id, GROUP, ANY).unwrap();
    assert_eq!(stack.udp_join_v4(id, GROUP, US), Err(Error::AddressInUse));
    stack.udp_join_v4(id, OTHER_GROUP, ANY).unwrap();
    let third = Ipv4Addr::new(239, 0, 0, 3);
    assert_eq!(stack.udp_join_v4(id, third, ANY), Err(Error::LimitReached));
    let six = stack.udp_bind("[::]:5001".parse().unwrap()).unwrap();
    assert_eq!(stack.udp_join_v6(six, GROUP6, 9), Err(Error::AddressNotAvailable));
}

/// `SO_REUSEADDR`: each of several sockets hears, each its own groups.
#[test]
fn sockets_share_a_port_and_each_hears() {
    let mut host = Host::tun();
    let alone = host.stack.udp_bind(v4(ANY, 5001)).unwrap();
    assert_eq!(host.stack.udp_bind_shared(v4(ANY, 5001)), Err(Error::AddressInUse));
    let one = host.stack.udp_bind_shared(v4(ANY, 5000)).unwrap();
    let two = host.stack.udp_bind_shared(v4(ANY, 5000)).unwrap();
    let bound = host.stack.udp_bind_shared(v4(GROUP, 5000)).unwrap();
    let deaf = host.stack.udp_bind_shared(v4(US, 5000)).unwrap();
    assert_eq!(host.stack.udp_bind(v4(ANY, 5000)), Err(Error::AddressInUse));
    for id in [one, two, bound, deaf] {
        host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    }
    host.stack.udp_join_v4(two, OTHER_GROUP, ANY).unwrap();
    host.arrives(&to_group(GROUP, 5000, b"all"));
    host.arrives(&to_group(OTHER_GROUP, 5000, b"some"));
    for id in [one, two, bound] {
        assert_eq!(reads(&mut host, id), Some(b"all".to_vec()));
    }
    assert_eq!(reads(&mut host, two), Some(b"some".to_vec()));
    // One that is bound to a host's address hears what goes to that.
    host.arrives(&datagram(&header(Protocol::UDP), (1000, 5000), b"us"));
    assert_eq!(reads(&mut host, deaf), Some(b"us".to_vec()));
    host.stack.udp_close(deaf).unwrap();
    // Else the last one does.
    host.arrives(&datagram(&header(Protocol::UDP), (1000, 5000), b"last"));
    assert_eq!(reads(&mut host, two), Some(b"last".to_vec()));
    host.stack.udp_close(two).unwrap();
    host.arrives(&datagram(&header(Protocol::UDP), (1000, 5000), b"left"));
    assert_eq!(reads(&mut host, one), Some(b"left".to_vec()));
    for id in [one, bound, alone] {
        assert_eq!(reads(&mut host, id), None);
    }
    // All gone: the port is free again.
    host.stack.udp_close(one).unwrap();
    host.stack.udp_close(bound).unwrap();
    assert!(host.stack.udp_bind(v4(ANY, 5000)).is_ok());
}

/// RFC 1112 6.1: a TTL of 1 unless more is asked for, straight to the link, whatever the gateway.
#[test]
fn what_goes_to_a_group_goes_to_the_link() {
    let mut host = Host::tap();
    host.stack.set_gateway(host.interface, THEM.into()).unwrap();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    host.stack.udp_send_to(host.now, id, b"hello", v4(GROUP, 7)).unwrap();
    let frame = host.sends_one();
    let (ethernet, bytes) = parse_frame(&frame);
    assert_eq!(ethernet.destination, EthernetAddress::of_ipv4_group(GROUP));
    let (ip, _, payload) = parse_udp(bytes);
    assert_eq!((ip.source, ip.ttl, payload), (US, 1, &b"hello"[..]));
    host.stack.udp_set_multicast_ttl(id, 9).unwrap();
    host.stack.udp_send_to(host.now, id, b"far", v4(GROUP, 7)).unwrap();
    assert_eq!(parse_udp(parse_frame(&host.sends_one()).1).0.ttl, 9);
    host.stack.udp_set_multicast_ttl(id, 0).unwrap();
    host.stack.udp_send_to(host.now, id, b"here", v4(GROUP, 7)).unwrap();
    host.sends_nothing();
}

/// `IP_MULTICAST_LOOP`, and RFC 1112 6.1: who is in the group here hears it, too.
#[test]
fn our_own_sockets_hear_what_we_send_to_a_group() {
    let (mut host, id) = member();
    let sender = host.stack.udp_bind(v4(ANY, 6000)).unwrap();
    host.stack.udp_send_to(host.now, sender, b"hello", v4(GROUP, 5000)).unwrap();
    assert_eq!(host.sends().len(), 1);
    let mut buffer = [0; 9];
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((5, v4(US, 6000))));
    host.stack.udp_set_multicast_loop(sender, false).unwrap();
    host.stack.udp_send_to(host.now, sender, b"quiet", v4(GROUP, 5000)).unwrap();
    assert_eq!(host.sends().len(), 1);
    assert_eq!(reads(&mut host, id), None);
    // What is longer than a packet is heard whole.
    host.stack.udp_set_multicast_loop(sender, true).unwrap();
    host.stack.udp_send_to(host.now, sender, &[7; 1900], v4(GROUP, 5000)).unwrap();
    assert_eq!(host.sends().len(), 2);
    assert_eq!(reads(&mut host, id), Some(vec![7; 1900]));
    // From another host it would be a lie.
    let ip = ipv4::Header { source: US, destination: GROUP, ..header(Protocol::UDP) };
    host.drops(&datagram(&ip, (6000, 5000), b"lie"), Dropped::ForbiddenSource);
}

/// RFC 1122 4.1.3.6: nobody broadcasts by accident; everybody with the port hears it.
#[test]
fn a_broadcast_is_asked_for_and_heard_by_all() {
    let mut host = Host::tun();
    let sender = host.stack.udp_bind(v4(ANY, 6000)).unwrap();
    let hears = [5000, 5000].map(|port| host.stack.udp_bind_shared(v4(ANY, port)).unwrap());
    for to in [SUBNET_BROADCAST, Ipv4Addr::BROADCAST] {
        let refused = host.stack.udp_send_to(host.now, sender, b"x", v4(to, 5000));
        assert_eq!(refused, Err(Error::PermissionDenied));
    }
    host.stack.udp_set_broadcast(sender, true).unwrap();
    for to in [SUBNET_BROADCAST, Ipv4Addr::BROADCAST] {
        host.stack.udp_send_to(host.now, sender, b"hello", v4(to, 5000)).unwrap();
        assert_eq!(parse_udp(&host.sends_one()).0.ttl, 64);
        for id in hears {
            assert_eq!(reads(&mut host, id), Some(b"hello".to_vec()));
        }
    }
    let ip = ipv4::Header { destination: SUBNET_BROADCAST, ..header(Protocol::UDP) };
    host.arrives(&datagram(&ip, (1000, 5000), b"theirs"));
    for id in hears {
        assert_eq!(reads(&mut host, id), Some(b"theirs".to_vec()));
    }
}

/// RFC 9776 5.1: a change is told twice, and that is all.
#[test]
fn joining_and_leaving_are_told_twice_each() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    let second = host.stack.udp_bind(v4(ANY, 5001)).unwrap();
    host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    host.stack.udp_join_v4(second, GROUP, ANY).unwrap();
    let told = vec![(igmp::ALL_V3_ROUTERS, vec![(RecordKind::TO_EXCLUDE, GROUP)]); 2];
    assert_eq!(reports(&passes(&mut host, 3000)), told);
    host.stack.udp_leave_v4(id, GROUP, ANY).unwrap();
    assert_eq!(reports(&passes(&mut host, 3000)), []);
    // Closing is leaving.
    host.stack.udp_close(second).unwrap();
    let told = vec![(igmp::ALL_V3_ROUTERS, vec![(RecordKind::TO_INCLUDE, GROUP)]); 2];
    assert_eq!(reports(&passes(&mut host, 3000)), told);
    assert_eq!(host.sent(Sent::MembershipReport), 4);
    assert_eq!(host.stack.poll_timeout(), None);
}

/// RFC 9776 5.1: a change that comes before the last one was told twice takes its place, at once.
#[test]
fn a_change_takes_the_place_of_one_that_is_still_told() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    host.later_millis(0);
    let joined = (igmp::ALL_V3_ROUTERS, vec![(RecordKind::TO_EXCLUDE, GROUP)]);
    assert_eq!(reports(&host.sends()), [joined]);
    host.stack.udp_leave_v4(id, GROUP, ANY).unwrap();
    host.later_millis(0);
    let left = vec![(igmp::ALL_V3_ROUTERS, vec![(RecordKind::TO_INCLUDE, GROUP)])];
    assert_eq!(reports(&host.sends()), left);
    assert_eq!(reports(&passes(&mut host, 3000)), left);
}

/// RFC 9776 4.1.12 and 4.1.10: a query may come to us alone, and what follows it does not matter.
#[test]
fn a_query_to_us_alone_and_a_longer_one_are_answered() {
    let (mut host, _) = member();
    let good = query(ANY, 20, true);
    let (ip, message) = parse_ip(&good);
    let mut longer = [message, &[1, 2, 3, 4]].concat();
    longer[2..4].fill(0);
    igmp::fill_checksum(&mut longer);
    let to_us = ipv4::Header { destination: US, ..ip };
    let longer_ip = ipv4::Header { payload_len: longer.len() as u16, ..ip };
    for bytes in [packet(&to_us, message), packet(&longer_ip, &longer)] {
        host.arrives(&bytes);
        assert_eq!(reports(&passes(&mut host, 2050)).len(), 1);
    }
    let mut unknown = vec![0x77; 8];
    unknown[2..4].fill(0);
    igmp::fill_checksum(&mut unknown);
    host.drops(&packet(&ipv4::Header { payload_len: 8, ..ip }, &unknown), Dropped::IgmpIgnored);
}

/// RFC 9776 5: all hosts are in the group of all hosts, and nobody says so.
#[test]
fn the_group_of_all_hosts_is_never_told() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    host.stack.udp_join_v4(id, igmp::ALL_SYSTEMS, ANY).unwrap();
    assert_eq!(reports(&passes(&mut host, 3000)), []);
    host.arrives(&query(ANY, 20, true));
    assert_eq!(reports(&passes(&mut host, 2050)), []);
    host.arrives(&to_group(igmp::ALL_SYSTEMS, 5000, b"everybody"));
    assert_eq!(reads(&mut host, id), Some(b"everybody".to_vec()));
}

/// RFC 9776 5.2: a query is answered once, after a random time within what it allows.
#[test]
fn a_query_is_answered_within_its_time() {
    let (mut host, _) = member();
    let state = (igmp::ALL_V3_ROUTERS, vec![(RecordKind::IS_EXCLUDE, GROUP)]);
    for group in [ANY, GROUP] {
        host.arrives(&query(group, 20, true));
        host.arrives(&query(group, 20, true));
        host.sends_nothing();
        let answers = reports(&passes(&mut host, 2050));
        assert!(answers.len() == 1 || group == GROUP && answers.len() == 2, "{answers:?}");
        assert_eq!(answers[0], state);
    }
    // About groups that we are not in nobody speaks.
    host.drops(&query(OTHER_GROUP, 20, true), Dropped::NotInGroup);
    assert_eq!(reports(&passes(&mut host, 3000)), []);
}

/// RFC 9776 9.1: without a router alert, or to another group, it was not meant for the link.
#[test]
fn a_query_that_cannot_be_believed_is_dropped() {
    let (mut host, _) = member();
    let good = query(ANY, 20, true);
    let (ip, message) = parse_ip(&good);
    let plain = packet(&ipv4::Header { options: Options::NONE, ..ip }, message);
    host.drops(&plain, Dropped::MalformedIgmp);
    host.drops(
        &packet(&ipv4::Header { destination: GROUP, ..ip }, message),
        Dropped::MalformedIgmp,
    );
    let mut broken = message.to_vec();
    broken[1] ^= 1;
    host.drops(&packet(&ip, &broken), Dropped::MalformedIgmp);
    host.drops(&packet(&ip, &message[..4]), Dropped::MalformedIgmp);
    let mut leave = vec![0; 8];
    Message::Leave { group: GROUP }.emit(&mut leave);
    igmp::fill_checksum(&mut leave);
    host.drops(&packet(&ipv4::Header { destination: GROUP, ..ip }, &leave), Dropped::IgmpIgnored);
}

/// What another member of the group says in version 2.
fn older_report(destination: Ipv4Addr) -> Vec<u8> {
    let mut report = vec![0; 8];
    Message::ReportV2 { group: GROUP }.emit(&mut report);
    igmp::fill_checksum(&mut report);
    let options = Options::ROUTER_ALERT;
    packet(&ipv4::Header { destination, ttl: 1, options, ..header(Protocol::IGMP) }, &report)
}

/// RFC 9776 7.2.2: what others say takes the place of nothing while queriers speak version 3.
#[test]
fn what_others_say_does_not_silence_us() {
    let (mut host, _) = member();
    for about in [ANY, GROUP] {
        host.arrives(&query(about, 20, true));
        host.arrives(&older_report(GROUP));
        assert_eq!(reports(&passes(&mut host, 2050)).len(), 1);
    }
}

/// RFC 9776 4.2.14: who has no address is in groups all the same, and says so as nobody.
#[test]
fn who_has_no_address_reports_as_nobody() {
    let (mut host, _) = member();
    host.stack.remove_address(host.interface, US.into()).unwrap();
    host.arrives(&query(ANY, 20, true));
    let packets = passes(&mut host, 2050);
    assert_eq!(reports(&packets).len(), 1);
    assert_eq!(parse_ip(&packets[0]).0.source, Ipv4Addr::UNSPECIFIED);
}

/// RFC 9776 7.2.1, RFC 2236 3: who asks in version 2 is answered in version 2, unless another member
/// was quicker, and hears who leaves.
#[test]
fn an_older_querier_is_answered_in_its_version() {
    let (mut host, id) = member();
    host.arrives(&query(ANY, 20, false));
    let answers = reports(&passes(&mut host, 2050));
    assert_eq!(answers, [(GROUP, vec![(RecordKind::IS_EXCLUDE, GROUP)])]);
    host.arrives(&query(ANY, 20, false));
    host.arrives(&older_report(GROUP));
    assert_eq!(reports(&passes(&mut host, 3000)), []);
    // 4.2.15: it may come to us alone.
    host.arrives(&query(ANY, 20, false));
    host.arrives(&older_report(US));
    assert_eq!(reports(&passes(&mut host, 3000)), []);
    host.stack.udp_leave_v4(id, GROUP, ANY).unwrap();
    let told = reports(&passes(&mut host, 11_000));
    assert_eq!(told, vec![(igmp::ALL_ROUTERS, vec![(RecordKind::TO_INCLUDE, GROUP)]); 2]);
    // Of version 1 nobody says that he leaves.
    host.arrives(&query(ANY, 0, false));
    host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    assert_eq!(reports(&passes(&mut host, 11_000)).len(), 2);
    host.stack.udp_leave_v4(id, GROUP, ANY).unwrap();
    assert_eq!(reports(&passes(&mut host, 11_000)), []);
    // And then they are gone.
    passes(&mut host, 351_000);
    host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    let told = reports(&passes(&mut host, 3000));
    assert_eq!(told, vec![(igmp::ALL_V3_ROUTERS, vec![(RecordKind::TO_EXCLUDE, GROUP)]); 2]);
}

/// A link-local group says by its scope which link it means.
#[test]
fn a_datagram_to_a_link_local_group_goes_where_its_scope_says() {
    let mut host = v6::tap();
    let id = host.stack.udp_bind("[::]:5000".parse().unwrap()).unwrap();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
    let to =
        SocketAddr::from(std::net::SocketAddrV6::new(group, 5353, 0, host.interface.scope_id()));
    host.stack.udp_send_to(host.now, id, b"hello", to).unwrap();
    let frame = host.sends_one();
    assert_eq!(parse_frame(&frame).0.destination, EthernetAddress::of_ipv6_group(group));
    assert_eq!(frame[14 + 7], 1, "the hop limit");
}

/// RFC 9776 4.2.13, RFC 4607: a group of 232.0.0.0/8 is heard from named sources alone, so that nothing is said of all
/// sources but some; and 7.2.1: a question of an older version about one is noted, and not answered.
#[test]
fn a_source_specific_group_is_heard_from_named_sources_alone() {
    let group = Ipv4Addr::new(232, 1, 2, 3);
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    assert_eq!(host.stack.udp_join_v4(id, group, US), Err(Error::InvalidInput));
    assert!(passes(&mut host, 3000).is_empty());
    let change = estab_stack::SourceChange::Join;
    host.stack.udp_change_source_v4(id, change, group, THEM, US).unwrap();
    assert!(!passes(&mut host, 3000).is_empty());
    host.arrives(&to_group(group, 5000, b"hello"));
    assert_eq!(reads(&mut host, id), Some(b"hello".to_vec()));
    host.drops(&query(group, 100, false), Dropped::OldSourceQuery);
    assert!(passes(&mut host, 20_000).is_empty());
    host.arrives(&query(group, 10, true));
    assert!(!passes(&mut host, 1050).is_empty());

    let config = Config { source_specific_groups: false, ..Config::default() };
    let mut host = Host::new(config, wire::frame::Medium::Ip, false);
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    assert_eq!(host.stack.udp_join_v4(id, group, US), Ok(()));
}
