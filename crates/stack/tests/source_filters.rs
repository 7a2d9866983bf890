//! Groups that are heard from some sources: RFC 9776 3 and 5, RFC 9777 4 and 6, and the calls of RFC
//! 3678 4.1.

mod host;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use estab_stack::reason::Dropped;
use estab_stack::{Config, Error, SourceChange, UdpId};
use host::*;
use wire::frame::Medium;
use wire::ip::Protocol;
use wire::ipv4::Options;
use wire::membership::{Code8, Code16, RecordKind};
use wire::{icmpv6, igmp, ipv4, ipv6, mld};

use SourceChange::{Block, Join, Leave, Unblock};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff35, 0, 0, 0, 0, 0, 0, 0x77);

/// A record of a report: kind and sources.
type Said = (RecordKind, Vec<IpAddr>);

fn said<'a>(kind: RecordKind, sources: impl IntoIterator<Item = &'a Ipv4Addr>) -> Said {
    (kind, sources.into_iter().map(|&source| source.into()).collect())
}

fn from(source: Ipv4Addr) -> Vec<u8> {
    let ip = ipv4::Header { source, destination: GROUP, ttl: 1, ..header(Protocol::UDP) };
    datagram(&ip, (1000, 5000), &source.octets())
}

fn reads(host: &mut Host, id: UdpId) -> Option<Vec<u8>> {
    let mut buffer = [0; 2000];
    let (length, _) = host.stack.udp_receive_from(id, &mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

/// The records about the group that are told while time passes.
fn told(host: &mut Host, millis: u64) -> Vec<Said> {
    let mut packets = host.sends();
    for _ in 0..millis.div_ceil(50) {
        host.later_millis(50);
        packets.extend(host.sends());
    }
    packets.iter().flat_map(|packet| records(packet)).collect()
}

fn records(packet: &[u8]) -> Vec<Said> {
    if packet[0] >> 4 == 6 {
        let (ip, _) = ipv6::Header::parse(packet).unwrap();
        let message = mld::Message::parse(&ip, Some(0), &packet[48..]).unwrap();
        assert!(icmpv6::is_checksum_valid(ip.source, ip.destination, &packet[48..]));
        let mld::Message::Report(records) = message else { panic!("{message:?}") };
        let of_group = records.filter(|record| record.group == GROUP6);
        let said = |record: mld::Record<'_>| {
            (record.kind, mld::addresses(record.sources).map(IpAddr::V6).collect())
        };
        return of_group.map(said).collect();
    }
    let (_, message) = parse_ip(packet);
    assert!(igmp::is_checksum_valid(message));
    match igmp::Message::parse(message).unwrap() {
        igmp::Message::Report(records) => {
            let of_group = records.filter(|record| record.group == GROUP);
            let source = |&octets: &[u8; 4]| IpAddr::V4(octets.into());
            of_group.map(|r| (r.kind, r.sources.iter().map(source).collect())).collect()
        }
        igmp::Message::ReportV2 { group: GROUP } => vec![(RecordKind::IS_EXCLUDE, vec![])],
        igmp::Message::Leave { group: GROUP } => vec![(RecordKind::TO_INCLUDE, vec![])],
        other => panic!("{other:?}"),
    }
}

/// A router asks about sources of the group; about all of it when there are none.
fn query(sources: &[Ipv4Addr], version: u8) -> Vec<u8> {
    let octets: Vec<_> = sources.iter().map(|source| source.octets()).collect();
    let v3 = (version == 3).then_some(igmp::QueryV3 {
        suppress: false,
        robustness: 2,
        interval: Code8(125),
        sources: &octets,
    });
    let query = igmp::Query { max_response: Code8(10), group: GROUP, v3 };
    let mut message = vec![0; query.encoded_len()];
    query.emit(&mut message);
    igmp::fill_checksum(&mut message);
    let options = Options::ROUTER_ALERT;
    let ip = ipv4::Header { destination: GROUP, ttl: 1, options, ..header(Protocol::IGMP) };
    packet(&ip, &message)
}

fn change(host: &mut Host, id: UdpId, what: SourceChange, source: Ipv4Addr) {
    host.stack.udp_change_source_v4(id, what, GROUP, source, ANY).unwrap();
}

fn socket(host: &mut Host) -> UdpId {
    host.stack.udp_bind_shared(v4(ANY, 5000)).unwrap()
}

/// RFC 9776 3.1: a socket hears the sources that it joined, until it leaves the last.
#[test]
fn a_socket_hears_the_sources_that_it_joined() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    change(&mut host, id, Join, THEM);
    host.arrives(&from(THEM));
    assert_eq!(reads(&mut host, id), Some(THEM.octets().to_vec()));
    told(&mut host, 3000);
    host.drops(&from(OTHER), Dropped::SourceFiltered);
    change(&mut host, id, Join, OTHER);
    host.arrives(&from(OTHER));
    assert_eq!(reads(&mut host, id), Some(OTHER.octets().to_vec()));
    change(&mut host, id, Leave, THEM);
    told(&mut host, 3000);
    host.drops(&from(THEM), Dropped::SourceFiltered);
    change(&mut host, id, Leave, OTHER);
    told(&mut host, 3000);
    host.drops(&from(OTHER), Dropped::NotInGroup);
}

/// The same: what it blocks it does not hear, whatever another socket hears.
#[test]
fn a_socket_does_not_hear_what_it_blocks() {
    let mut host = Host::tun();
    let (one, all) = (socket(&mut host), socket(&mut host));
    for id in [one, all] {
        host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    }
    change(&mut host, one, Block, THEM);
    for source in [THEM, OTHER] {
        host.arrives(&from(source));
        assert_eq!(reads(&mut host, one).is_some(), source == OTHER);
        assert_eq!(reads(&mut host, all), Some(source.octets().to_vec()));
    }
    change(&mut host, one, Unblock, THEM);
    host.arrives(&from(THEM));
    assert_eq!(reads(&mut host, one), Some(THEM.octets().to_vec()));
}

/// What our own sockets send to the group comes from one of our addresses like from any source.
#[test]
fn our_own_datagrams_are_filtered_by_their_source_too() {
    let mut host = Host::tun();
    let (hears, deaf) = (socket(&mut host), socket(&mut host));
    change(&mut host, hears, Join, US);
    change(&mut host, deaf, Join, THEM);
    host.stack.udp_send_to(host.now, hears, b"hello", v4(GROUP, 5000)).unwrap();
    host.sends();
    assert_eq!(reads(&mut host, hears), Some(b"hello".to_vec()));
    assert_eq!(reads(&mut host, deaf), None);
}

/// RFC 3678 4.1.3: what each call refuses.
#[test]
fn a_change_that_cannot_be_is_refused() {
    let config = Config { sources_per_group: 1, groups_per_socket: 1, ..Config::default() };
    let mut host = Host::new(config, Medium::Ip, false);
    let id = socket(&mut host);
    let stack = &mut host.stack;
    let mut refuses = |what, group, source, error| {
        assert_eq!(stack.udp_change_source_v4(id, what, group, source, ANY), Err(error));
    };
    refuses(Join, THEM, OTHER, Error::InvalidInput);
    refuses(Join, GROUP, GROUP, Error::InvalidInput);
    refuses(Join, GROUP, ANY, Error::InvalidInput);
    refuses(Block, GROUP, THEM, Error::InvalidInput);
    refuses(Unblock, GROUP, THEM, Error::InvalidInput);
    refuses(Leave, GROUP, THEM, Error::AddressNotAvailable);
    change(&mut host, id, Join, THEM);
    let stack = &mut host.stack;
    let mut refuses = |what, group, source, error| {
        assert_eq!(stack.udp_change_source_v4(id, what, group, source, ANY), Err(error));
    };
    refuses(Join, GROUP, THEM, Error::AddressNotAvailable);
    refuses(Join, GROUP, OTHER, Error::LimitReached);
    refuses(Join, Ipv4Addr::new(239, 0, 0, 9), THEM, Error::LimitReached);
    refuses(Block, GROUP, OTHER, Error::InvalidInput);
    assert_eq!(stack.udp_join_v4(id, GROUP, ANY), Err(Error::AddressInUse));
    assert_eq!(
        stack.udp_change_source_v4(id, Join, GROUP, OTHER, OTHER),
        Err(Error::AddressNotAvailable)
    );
    // What was refused changed nothing.
    host.arrives(&from(THEM));
    assert_eq!(reads(&mut host, id), Some(THEM.octets().to_vec()));
    // The whole group is left with whatever it was heard from.
    host.stack.udp_leave_v4(id, GROUP, ANY).unwrap();
    told(&mut host, 3000);
    host.drops(&from(THEM), Dropped::NotInGroup);
}

/// RFC 9776 5.1: sources that come are allowed and those that go blocked, each told twice.
#[test]
fn sources_that_come_and_go_are_told() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    change(&mut host, id, Join, THEM);
    assert_eq!(told(&mut host, 3000), vec![said(RecordKind::ALLOW, &[THEM]); 2]);
    change(&mut host, id, Join, OTHER);
    change(&mut host, id, Leave, THEM);
    let both = [said(RecordKind::ALLOW, &[OTHER]), said(RecordKind::BLOCK, &[THEM])];
    assert_eq!(told(&mut host, 3000), [both.clone(), both].concat());
    host.stack.udp_close(id).unwrap();
    assert_eq!(told(&mut host, 3000), vec![said(RecordKind::BLOCK, &[OTHER]); 2]);
    assert_eq!(host.stack.poll_timeout(), None);
}

/// The same: of all but some, what is blocked and what is not any more.
#[test]
fn sources_that_are_blocked_are_told() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    assert_eq!(told(&mut host, 3000), vec![said(RecordKind::TO_EXCLUDE, &[]); 2]);
    change(&mut host, id, Block, THEM);
    assert_eq!(told(&mut host, 3000), vec![said(RecordKind::BLOCK, &[THEM]); 2]);
    change(&mut host, id, Unblock, THEM);
    assert_eq!(told(&mut host, 3000), vec![said(RecordKind::ALLOW, &[THEM]); 2]);
}

/// RFC 9776 3.2 and 5.1: routers hear of what all sockets together want, and of its kind when that
/// changes.
#[test]
fn routers_are_told_what_all_sockets_together_hear() {
    let mut host = Host::tun();
    let (some, all) = (socket(&mut host), socket(&mut host));
    change(&mut host, some, Join, THEM);
    told(&mut host, 3000);
    host.stack.udp_join_v4(all, GROUP, ANY).unwrap();
    assert_eq!(told(&mut host, 3000), vec![said(RecordKind::TO_EXCLUDE, &[]); 2]);
    // What one of them blocks the other asks for.
    change(&mut host, all, Block, THEM);
    assert_eq!(told(&mut host, 3000), []);
    change(&mut host, all, Block, OTHER);
    assert_eq!(told(&mut host, 3000), vec![said(RecordKind::BLOCK, &[OTHER]); 2]);
    host.stack.udp_close(all).unwrap();
    assert_eq!(told(&mut host, 3000), vec![said(RecordKind::TO_INCLUDE, &[THEM]); 2]);
}

/// RFC 9776 5.1: a change of kind that is still to be told takes what changes meanwhile with it.
#[test]
fn a_change_of_kind_tells_the_sources_of_the_moment() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    change(&mut host, id, Block, THEM);
    host.later_millis(0);
    let packets = host.sends();
    let records: Vec<_> = packets.iter().flat_map(|packet| records(packet)).collect();
    assert_eq!(records, [said(RecordKind::TO_EXCLUDE, &[THEM])]);
    assert_eq!(told(&mut host, 3000), [said(RecordKind::TO_EXCLUDE, &[THEM])]);
}

/// RFC 9776 5.2: who asks about a group hears of its filter, and who asks about sources which of those
/// are heard.
#[test]
fn a_question_about_sources_is_answered_for_those() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    change(&mut host, id, Join, THEM);
    told(&mut host, 3000);
    let mut answer = |sources: &[Ipv4Addr]| {
        host.arrives(&query(sources, 3));
        told(&mut host, 1050)
    };
    assert_eq!(answer(&[]), [said(RecordKind::IS_INCLUDE, &[THEM])]);
    assert_eq!(answer(&[OTHER, THEM]), [said(RecordKind::IS_INCLUDE, &[THEM])]);
    assert_eq!(answer(&[OTHER]), []);
    change(&mut host, id, Leave, THEM);
    host.stack.udp_join_v4(id, GROUP, ANY).unwrap();
    change(&mut host, id, Block, THEM);
    told(&mut host, 3000);
    let mut answer = |sources: &[Ipv4Addr]| {
        host.arrives(&query(sources, 3));
        told(&mut host, 1050)
    };
    assert_eq!(answer(&[]), [said(RecordKind::IS_EXCLUDE, &[THEM])]);
    assert_eq!(answer(&[THEM, OTHER]), [said(RecordKind::IS_INCLUDE, &[OTHER])]);
    assert_eq!(answer(&[THEM]), []);
}

/// RFC 9776 7.2.1: an older querier knows nothing of sources: it hears who is in the group, and who is
/// not any more.
#[test]
fn an_older_querier_hears_nothing_of_sources() {
    let mut host = Host::tun();
    let id = socket(&mut host);
    change(&mut host, id, Join, THEM);
    told(&mut host, 3000);
    host.arrives(&query(&[], 2));
    assert_eq!(told(&mut host, 1050), [said(RecordKind::IS_EXCLUDE, &[])]);
    change(&mut host, id, Join, OTHER);
    change(&mut host, id, Leave, THEM);
    assert_eq!(told(&mut host, 11_000), []);
    change(&mut host, id, Leave, OTHER);
    assert_eq!(told(&mut host, 11_000), vec![said(RecordKind::TO_INCLUDE, &[]); 2]);
    change(&mut host, id, Join, THEM);
    assert_eq!(told(&mut host, 11_000), vec![said(RecordKind::IS_EXCLUDE, &[]); 2]);
}

/// RFC 9776 4.2.17: what does not fit one report is told in several, of all sources.
#[test]
fn more_sources_than_a_report_holds_are_told_in_several() {
    let config = Config { sources_per_group: 500, ..Config::default() };
    let mut host = Host::new(config, Medium::Ip, false);
    let id = socket(&mut host);
    let sources: Vec<_> = (1..=500).map(|n| Ipv4Addr::from_bits(0x0a4d_0000 + n)).collect();
    sources.iter().for_each(|&source| change(&mut host, id, Join, source));
    told(&mut host, 3000);
    host.arrives(&query(&[], 3));
    let answers = told(&mut host, 1050);
    assert_eq!(answers.len(), 2);
    let all: Vec<_> = answers.into_iter().flat_map(|(_, sources)| sources).collect();
    assert_eq!(all, said(RecordKind::IS_INCLUDE, &sources).1);
}

fn v6_from(source: Ipv6Addr) -> Vec<u8> {
    let ip = ipv6::Header { source, destination: GROUP6, ..v6::header(Protocol::UDP) };
    v6::datagram(&ip, (1000, 5000), b"six")
}

fn v6_query(sources: &[Ipv6Addr]) -> Vec<u8> {
    let octets: Vec<_> = sources.iter().map(|source| source.octets()).collect();
    let v2 = Some(mld::QueryV2 {
        suppress: false,
        robustness: 2,
        interval: Code8(125),
        sources: &octets,
    });
    let query = mld::Query { max_response: Code16(1000), group: GROUP6, v2 };
    let mut message = vec![0; query.encoded_len()];
    query.emit(&mut message);
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    icmpv6::fill_checksum(router, GROUP6, &mut message);
    let alert = ipv6::router_alert_header(
        Protocol::ICMPV6,
        ipv6::router_alert::MULTICAST_LISTENER_DISCOVERY,
    );
    let ip = ipv6::Header {
        source: router,
        destination: GROUP6,
        hop_limit: 1,
        ..v6::header(Protocol::HOP_BY_HOP)
    };
    v6::packet(&ip, &[&alert[..], &message].concat())
}

/// RFC 9777 4.1, 6.1 and 6.2: the same over IPv6.
#[test]
fn sources_of_ipv6_are_heard_told_and_answered() {
    let mut host = v6::tun();
    let id = host.stack.udp_bind("[::]:5000".parse().unwrap()).unwrap();
    let change = |host: &mut Host, what, source| {
        host.stack.udp_change_source_v6(id, what, GROUP6, source, 0).unwrap();
    };
    let six = |kind, source: Ipv6Addr| (kind, vec![IpAddr::V6(source)]);
    change(&mut host, Join, v6::THEM);
    assert_eq!(told(&mut host, 3000), vec![six(RecordKind::ALLOW, v6::THEM); 2]);
    host.drops(&v6_from(v6::OTHER), Dropped::SourceFiltered);
    host.arrives(&v6_from(v6::THEM));
    assert_eq!(reads(&mut host, id), Some(b"six".to_vec()));
    host.arrives(&v6_query(&[v6::OTHER, v6::THEM]));
    assert_eq!(told(&mut host, 1050), [six(RecordKind::IS_INCLUDE, v6::THEM)]);
    host.arrives(&v6_query(&[v6::OTHER]));
    assert_eq!(told(&mut host, 1050), []);
    change(&mut host, Leave, v6::THEM);
    assert_eq!(told(&mut host, 3000), vec![six(RecordKind::BLOCK, v6::THEM); 2]);
    host.drops(&v6_from(v6::THEM), Dropped::NotInGroup);
}
