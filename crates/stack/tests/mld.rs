//! Groups of IPv6, and what routers are told of them: RFC 9777.

mod host;

use std::net::Ipv6Addr;

use estab_stack::reason::Dropped;
use estab_stack::{Config, UdpId};
use host::*;
use wire::ethernet::{EtherType, EthernetAddress};
use wire::ip::Protocol;
use wire::membership::{Code8, RecordKind};
use wire::{ipv6, mld};

const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0x1234, 0x5678);
/// What a question about all groups names.
const ALL: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn reads(host: &mut Host, id: UdpId) -> Option<Vec<u8>> {
    let mut buffer = [0; 2000];
    let (length, _) = host.stack.udp_receive_from(id, &mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

fn mld_frames(frames: &[Vec<u8>]) -> Vec<(Ipv6Addr, Vec<(RecordKind, Ipv6Addr)>)> {
    let is_mld = |frame: &&Vec<u8>| frame[12..14] == [0x86, 0xdd] && frame[20] == 0;
    frames
        .iter()
        .filter(is_mld)
        .map(|frame| {
            let (ip, _) = ipv6::Header::parse(&frame[14..]).unwrap();
            let message = &frame[14 + 48..];
            let parsed = mld::Message::parse(&ip, Some(0), message).unwrap();
            let said = match parsed {
                mld::Message::Report(records) => records.map(|r| (r.kind, r.group)).collect(),
                mld::Message::ReportV1 { group } => vec![(RecordKind::IS_EXCLUDE, group)],
                mld::Message::Done { group } => vec![(RecordKind::TO_INCLUDE, group)],
                mld::Message::Query(query) => panic!("{query:?}"),
            };
            (ip.destination, said)
        })
        .collect()
}

/// A question about all groups, or about one.
fn query_message(version: u8, group: Ipv6Addr) -> Vec<u8> {
    let v2 = (version == 2).then_some(mld::QueryV2 {
        suppress: false,
        robustness: 2,
        interval: Code8(125),
        sources: &[],
    });
    let query = mld::Query { max_response: wire::membership::Code16(2000), group, v2 };
    let mut message = vec![0; query.encoded_len()];
    query.emit(&mut message);
    message
}

/// A message of MLD from another station of the link, with its checksum, in a frame.
fn mld_frame(destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    message[2..4].fill(0);
    wire::icmpv6::fill_checksum(ROUTER, destination, &mut message);
    in_frame(destination, &message)
}

fn in_frame(destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let alert = ipv6::router_alert_header(
        Protocol::ICMPV6,
        ipv6::router_alert::MULTICAST_LISTENER_DISCOVERY,
    );
    let source = ROUTER;
    let ip = ipv6::Header { source, destination, hop_limit: 1, ..v6::header(Protocol::HOP_BY_HOP) };
    let to = match destination.is_multicast() {
        true => EthernetAddress::of_ipv6_group(destination),
        false => OUR_HARDWARE,
    };
    frame_to(to, EtherType::IPV6, &v6::packet(&ip, &[&alert, message].concat()))
}

fn mld_query(version: u8) -> Vec<u8> {
    mld_frame(v6::ALL_NODES, &query_message(version, ALL))
}

/// Another listener says in version 1 that it is in the group.
fn older_report(destination: Ipv6Addr) -> Vec<u8> {
    let report = mld::Message::ReportV1 { group: GROUP6 };
    let mut bytes = vec![0; report.encoded_len()];
    report.emit(&mut bytes);
    mld_frame(destination, &bytes)
}

/// A host with a socket in the group whose reports are over.
fn listener() -> (Host, UdpId) {
    let mut host = v6::tap();
    passes(&mut host, 3000);
    let id = host.stack.udp_bind("[::]:5000".parse().unwrap()).unwrap();
    host.stack.udp_join_v6(id, GROUP6, host.interface.scope_id()).unwrap();
    passes(&mut host, 3000);
    (host, id)
}

/// RFC 9777 5.1.15 and 5.1.12: a query may come to us alone, and what follows it does not matter.
#[test]
fn a_query_to_us_alone_and_a_longer_one_are_answered() {
    let (mut host, _) = listener();
    let longer = [&query_message(2, ALL)[..], &[1, 2, 3, 4]].concat();
    for bytes in [mld_frame(v6::US, &query_message(2, ALL)), mld_frame(v6::ALL_NODES, &longer)] {
        host.arrives(&bytes);
        assert_eq!(mld_frames(&passes(&mut host, 2050)).len(), 1);
    }
}

/// RFC 9777 5 and 5.1.2: an unknown type is ignored, and so is what has a wrong checksum, or is said to
/// routers alone.
#[test]
fn what_is_no_good_query_is_dropped() {
    let (mut host, _) = listener();
    let mut unknown = query_message(2, ALL);
    unknown[0] = 200;
    host.drops(&mld_frame(v6::ALL_NODES, &unknown), Dropped::IcmpIgnored);
    let mut broken = query_message(2, ALL);
    wire::icmpv6::fill_checksum(ROUTER, v6::ALL_NODES, &mut broken);
    broken[5] ^= 1;
    host.drops(&in_frame(v6::ALL_NODES, &broken), Dropped::IcmpChecksum);
    let record = mld::Record { kind: RecordKind::IS_EXCLUDE, group: GROUP6, sources: &[] };
    let mut report = vec![0; mld::report_len([record])];
    mld::emit_report([record], &mut report);
    host.drops(&mld_frame(v6::ALL_NODES, &report), Dropped::IcmpIgnored);
    assert_eq!(mld_frames(&passes(&mut host, 3000)), []);
}

/// RFC 9777 8.2.2 and 5.2.15: what another says in version 1, to the group or to us alone, takes the place
/// of our answer in that version, and of none in ours.
#[test]
fn what_others_say_in_version_1_silences_us_in_version_1() {
    let (mut host, _) = listener();
    let says_so = |frames: &[Vec<u8>]| {
        mld_frames(frames).iter().any(|(_, said)| said.contains(&(RecordKind::IS_EXCLUDE, GROUP6)))
    };
    for (version, silenced) in [(2, false), (1, true)] {
        for to in [GROUP6, v6::US] {
            host.arrives(&mld_frame(GROUP6, &query_message(version, GROUP6)));
            host.arrives(&older_report(to));
            assert_ne!(says_so(&passes(&mut host, 3000)), silenced, "{version} {to}");
        }
    }
}

/// RFC 9777 6: of groups that do not leave the host, and of that of all nodes, nobody speaks.
#[test]
fn groups_inside_the_host_are_never_told() {
    let (mut host, id) = listener();
    for group in ["ff01::5", "ff11::5", "ff00::5", "ff02::1"] {
        host.stack.udp_join_v6(id, group.parse().unwrap(), host.interface.scope_id()).unwrap();
        assert_eq!(mld_frames(&passes(&mut host, 3000)), [], "{group}");
    }
    host.stack.udp_join_v6(id, "ff12::5".parse().unwrap(), host.interface.scope_id()).unwrap();
    assert_eq!(mld_frames(&passes(&mut host, 3000)).len(), 2);
}

/// RFC 9777 5.2.14: what was said as nobody is said again from the link-local address, once there is one.
#[test]
fn groups_are_told_again_from_the_first_address() {
    let mut host = v6::tap_with(Config::default());
    let id = host.stack.udp_bind("[::]:5000".parse().unwrap()).unwrap();
    host.stack.udp_join_v6(id, GROUP6, host.interface.scope_id()).unwrap();
    let sources = |frames: &[Vec<u8>]| {
        let told = frames.iter().filter(|frame| mld_frames(&[frame.to_vec()]).len() == 1);
        told.map(|frame| ipv6::Header::parse(&frame[14..]).unwrap().0.source).collect::<Vec<_>>()
    };
    assert_eq!(sources(&passes(&mut host, 3000)), [Ipv6Addr::UNSPECIFIED; 2]);
    host.stack.autoconfigure(host.interface).unwrap();
    let told = sources(&passes(&mut host, 3500));
    let again = told.iter().filter(|source| source.is_unicast_link_local());
    assert!(again.count() >= 2, "{told:?}");
    assert!(!told.last().unwrap().is_unspecified());
}

/// RFC 9777 6: the same over IPv6, in both versions; the groups of our addresses are told, too.
#[test]
fn groups_of_ipv6_are_heard_and_told() {
    let mut host = v6::tap();
    passes(&mut host, 3000);
    let id = host.stack.udp_bind("[::]:5000".parse().unwrap()).unwrap();
    let number = host.interface.scope_id();
    host.stack.udp_join_v6(id, GROUP6, number).unwrap();
    let to = ipv6::group::ALL_MLDV2_ROUTERS;
    let told = vec![(to, vec![(RecordKind::TO_EXCLUDE, GROUP6)]); 2];
    assert_eq!(mld_frames(&passes(&mut host, 3000)), told);
    host.arrives(&mld_query(2));
    let answers = mld_frames(&passes(&mut host, 2050));
    assert_eq!((answers.len(), answers[0].0), (1, to));
    assert!(answers[0].1.contains(&(RecordKind::IS_EXCLUDE, GROUP6)));
    assert!(answers[0].1.len() > 1, "and those in which we are asked for");
    host.arrives(&mld_query(1));
    let answers = mld_frames(&passes(&mut host, 2050));
    assert!(answers.contains(&(GROUP6, vec![(RecordKind::IS_EXCLUDE, GROUP6)])));
    let hello = v6_datagram(GROUP6, b"hello");
    host.arrives(&hello);
    assert_eq!(reads(&mut host, id), Some(b"hello".to_vec()));
    host.stack.udp_leave_v6(id, GROUP6, number).unwrap();
    let told = mld_frames(&passes(&mut host, 11_000));
    assert_eq!(told, vec![(ipv6::group::ALL_ROUTERS, vec![(RecordKind::TO_INCLUDE, GROUP6)]); 2]);
    host.drops(&hello, Dropped::NotInGroup);
}

fn v6_datagram(group: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let ip = ipv6::Header { destination: group, hop_limit: 1, ..v6::header(Protocol::UDP) };
    let packet = v6::datagram(&ip, (1000, 5000), payload);
    frame_to(EthernetAddress::of_ipv6_group(group), EtherType::IPV6, &packet)
}

/// RFC 9777 5.2.13 and 8.2.1: the same for ff3x::/32.
#[test]
fn a_source_specific_group_of_ipv6_is_heard_from_named_sources_alone() {
    let group: Ipv6Addr = "ff3e::8000:77".parse().unwrap();
    let (mut host, id) = listener();
    let link = host.interface.scope_id();
    assert_eq!(host.stack.udp_join_v6(id, group, link), Err(estab_stack::Error::InvalidInput));
    assert!(mld_frames(&passes(&mut host, 3000)).is_empty());
    let change = estab_stack::SourceChange::Join;
    host.stack.udp_change_source_v6(id, change, group, v6::THEM, link).unwrap();
    let told = mld_frames(&passes(&mut host, 3000));
    let kinds: Vec<_> = told.iter().flat_map(|(_, records)| records.clone()).collect();
    assert!(!kinds.is_empty());
    assert!(kinds.iter().all(|record| *record == (RecordKind::ALLOW, group)), "{kinds:?}");
    host.drops(&mld_frame(group, &query_message(1, group)), Dropped::OldSourceQuery);
    assert!(mld_frames(&passes(&mut host, 3000)).is_empty());
    // A prefix of its own is no part of it (RFC 3306 4).
    let other: Ipv6Addr = "ff3e:30:2001:db8::77".parse().unwrap();
    assert_eq!(host.stack.udp_join_v6(id, other, link), Ok(()));
}
