//! Membership of groups: IGMP and MLD, both ways, and what is not listened to.

use std::net::{Ipv4Addr, Ipv6Addr};

use estab_wire::ip::Protocol;
use estab_wire::membership::{Code8, Code16, RecordKind};
use estab_wire::{icmpv6, igmp, ipv4, ipv6, mld};
use proptest::prelude::*;

const HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

fn ip(source: Ipv6Addr) -> ipv6::Header {
    ipv6::Header {
        source,
        destination: ipv6::group::ALL_MLDV2_ROUTERS,
        next_header: Protocol::HOP_BY_HOP,
        hop_limit: mld::HOP_LIMIT,
        traffic_class: 0,
        flow_label: 0,
        payload_len: 0,
    }
}

fn mld_bytes(message: &mld::Message<'_>) -> Vec<u8> {
    let mut bytes = vec![0xaa; message.encoded_len()];
    assert_eq!(message.emit(&mut bytes), bytes.len());
    bytes
}

fn igmp_bytes(message: &igmp::Message<'_>) -> Vec<u8> {
    let mut bytes = vec![0xaa; message.encoded_len()];
    assert_eq!(message.emit(&mut bytes), bytes.len());
    igmp::fill_checksum(&mut bytes);
    assert!(igmp::is_checksum_valid(&bytes));
    bytes
}

fn sources<const N: usize>() -> impl Strategy<Value = Vec<[u8; N]>> {
    prop::collection::vec(any::<[u8; N]>(), 0..4)
}

proptest! {
    #[test]
    fn mld_queries(
        max_response in any::<u16>(),
        group in any::<Ipv6Addr>(),
        (suppress, robustness, interval) in (any::<bool>(), 0u8..8, any::<u8>()),
        sources in prop::option::of(sources::<16>()),
    ) {
        let v2 = sources.as_deref().map(|sources| mld::QueryV2 {
            suppress, robustness, interval: Code8(interval), sources,
        });
        let query = mld::Message::Query(mld::Query { max_response: Code16(max_response), group, v2 });
        let bytes = mld_bytes(&query);
        prop_assert_eq!(mld::Message::parse(&ip(HOST), Some(0), &bytes), Ok(query));
    }

    #[test]
    fn mld_reports(records in prop::collection::vec((any::<u8>(), any::<Ipv6Addr>(), sources::<16>()), 0..4)) {
        let records: Vec<_> = records
            .iter()
            .map(|(kind, group, sources)| mld::Record { kind: RecordKind(*kind), group: *group, sources })
            .collect();
        let mut bytes = vec![0xaa; mld::report_len(records.iter().copied())];
        prop_assert_eq!(mld::emit_report(records.iter().copied(), &mut bytes), bytes.len());
        let parsed = mld::Message::parse(&ip(HOST), Some(0), &bytes).unwrap();
        prop_assert_eq!(&mld_bytes(&parsed), &bytes);
        let mld::Message::Report(list) = parsed else { panic!("{parsed}") };
        prop_assert_eq!(list.collect::<Vec<_>>(), records);
    }

    #[test]
    fn igmp_queries(
        max_response in any::<u8>(),
        group in any::<Ipv4Addr>(),
        (suppress, robustness, interval) in (any::<bool>(), 0u8..8, any::<u8>()),
        sources in prop::option::of(sources::<4>()),
    ) {
        let v3 = sources.as_deref().map(|sources| igmp::QueryV3 {
            suppress, robustness, interval: Code8(interval), sources,
        });
        let query = igmp::Message::Query(igmp::Query { max_response: Code8(max_response), group, v3 });
        let bytes = igmp_bytes(&query);
        prop_assert_eq!(igmp::Message::parse(&bytes), Ok(query));
    }

    #[test]
    fn igmp_reports(records in prop::collection::vec((any::<u8>(), any::<Ipv4Addr>(), sources::<4>()), 0..4)) {
        let records: Vec<_> = records
            .iter()
            .map(|(kind, group, sources)| igmp::Record { kind: RecordKind(*kind), group: *group, sources })
            .collect();
        let mut bytes = vec![0xaa; igmp::report_len(records.iter().copied())];
        prop_assert_eq!(igmp::emit_report(records.iter().copied(), &mut bytes), bytes.len());
        igmp::fill_checksum(&mut bytes);
        let parsed = igmp::Message::parse(&bytes).unwrap();
        prop_assert_eq!(&igmp_bytes(&parsed), &bytes);
        let igmp::Message::Report(list) = parsed else { panic!("{parsed}") };
        prop_assert_eq!(list.collect::<Vec<_>>(), records);
    }

    /// Any bytes: nothing panics, and what parses is emitted to something that parses to the same.
    #[test]
    fn any_bytes(
        kind in prop_oneof![Just(0x11u8), Just(0x12), Just(0x22), 130u8..=132, Just(143), any::<u8>()],
        mut bytes in prop::collection::vec(prop_oneof![3 => 0u8..3, 1 => any::<u8>()], 4..80),
    ) {
        bytes[0] = kind;
        if let Ok(message) = igmp::Message::parse(&bytes) {
            let _ = message.to_string();
            let again = igmp_bytes(&message);
            let same = igmp::Message::parse(&again).unwrap();
            prop_assert_eq!(format!("{:?}", same), format!("{:?}", message));
        }
        if let Ok(message) = mld::Message::parse(&ip(HOST), Some(0), &bytes) {
            let _ = message.to_string();
            let again = mld_bytes(&message);
            let same = mld::Message::parse(&ip(HOST), Some(0), &again).unwrap();
            prop_assert_eq!(format!("{:?}", same), format!("{:?}", message));
        }
    }
}

#[test]
fn mld_is_not_listened_to_without_its_marks() {
    let query = mld::Query { max_response: Code16(1000), group: GROUP, v2: None };
    let query = mld_bytes(&mld::Message::Query(query));
    let done = mld_bytes(&mld::Message::Done { group: GROUP });
    let error = |ip, alert, bytes: &[u8]| mld::Message::parse(&ip, alert, bytes).unwrap_err();
    assert_eq!(error(ip(HOST), None, &query), mld::Malformed::NoRouterAlert);
    let far = ipv6::Header { hop_limit: 2, ..ip(HOST) };
    assert_eq!(error(far, Some(0), &query), mld::Malformed::HopLimit(2));
    let nobody = Ipv6Addr::UNSPECIFIED;
    assert_eq!(error(ip(nobody), Some(0), &query), mld::Malformed::SourceNotLinkLocal(nobody));
    assert!(mld::Message::parse(&ip(nobody), Some(0), &done).is_ok());
    let global = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
    assert_eq!(error(ip(global), Some(0), &done), mld::Malformed::SourceNotLinkLocal(global));
    let mut other = query;
    other[0] = 135;
    assert_eq!(error(ip(HOST), Some(0), &other), mld::Malformed::Kind(135));
}

#[test]
fn rfc9777_8_1_the_length_tells_the_version() {
    let mut query = mld_bytes(&mld::Message::Query(mld::Query {
        max_response: Code16(0x8000),
        group: GROUP,
        v2: Some(mld::QueryV2 {
            suppress: true,
            robustness: 2,
            interval: Code8(125),
            sources: &[HOST.octets()],
        }),
    }));
    let parse = |bytes: &[u8]| mld::Message::parse(&ip(HOST), Some(0), bytes).map(drop);
    let truncated = |length, needed| Err(mld::Malformed::Truncated { length, needed });
    assert_eq!(parse(&query), Ok(()));
    assert_eq!(parse(&query[..43]), truncated(43, 44));
    assert_eq!(parse(&query[..26]), truncated(26, 28));
    assert_eq!(parse(&query[..23]), truncated(23, 24));
    query.truncate(24);
    let Ok(mld::Message::Query(old)) = mld::Message::parse(&ip(HOST), Some(0), &query) else {
        panic!("a query of version 1")
    };
    assert_eq!((old.v2, old.max_response_time()), (None, 32_768));
}

#[test]
fn a_report_whose_records_reach_beyond_it() {
    let record = |sources| mld::Record { kind: RecordKind::TO_EXCLUDE, group: GROUP, sources };
    let records = [record(&[]), record(&[[1; 16]])];
    let mut bytes = vec![0; mld::report_len(records)];
    mld::emit_report(records, &mut bytes);
    let error = |bytes: &[u8]| mld::Message::parse(&ip(HOST), Some(0), bytes).unwrap_err();
    let missing = mld::Malformed::RecordBeyondMessage { index: 1 };
    assert_eq!(error(&bytes[..bytes.len() - 1]), missing);
    // Four words of auxiliary data that are not there.
    bytes[8 + 20 + 1] = 4;
    assert_eq!(error(&bytes), missing);
    bytes.extend([0; 16]);
    let text = mld::Message::parse(&ip(HOST), Some(0), &bytes).unwrap().to_string();
    let expected = "multicast listener report v2, 2 group record(s) \
                    [gaddr ff02::fb to_ex, 0 source(s)] [gaddr ff02::fb to_ex, 1 source(s)]";
    assert_eq!(text, expected);

    let bytes = [0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 1, 224, 0, 0, 251];
    let error = igmp::Malformed::RecordBeyondMessage { index: 0 };
    assert_eq!(igmp::Message::parse(&bytes), Err(error));
}

#[test]
fn rfc9776_7_1_three_versions_of_queries() {
    let parse = |bytes: &[u8]| match igmp::Message::parse(bytes) {
        Ok(igmp::Message::Query(query)) => (query.version(), query.max_response_time()),
        other => panic!("{other:?}"),
    };
    assert_eq!(parse(&[0x11, 0, 0, 0, 0, 0, 0, 0]), (1, 10_000));
    assert_eq!(parse(&[0x11, 0x88, 0, 0, 0, 0, 0, 0]), (2, 13_600));
    assert_eq!(parse(&[0x11, 0x88, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), (3, 19_200));
    let error = |length, needed| Err(igmp::Malformed::Truncated { length, needed });
    assert_eq!(igmp::Message::parse(&[0x11, 1, 0, 0, 0, 0, 0, 0, 2]), error(9, 12));
    let lying = [0x11, 1, 0, 0, 0, 0, 0, 0, 2, 125, 0, 1];
    assert_eq!(igmp::Message::parse(&lying), error(12, 16));
}

#[test]
fn rfc9776_9_1_queries_from_elsewhere() {
    let query = |max_response, group: [u8; 4]| {
        let max_response = Code8(max_response);
        igmp::Message::Query(igmp::Query { max_response, group: group.into(), v3: None })
    };
    let general = query(100, [0; 4]);
    assert!(general.is_trusted(igmp::ALL_SYSTEMS, true));
    assert!(!general.is_trusted(igmp::ALL_SYSTEMS, false));
    assert!(!general.is_trusted(Ipv4Addr::new(224, 0, 0, 5), true));
    assert!(general.is_trusted(Ipv4Addr::new(10, 77, 0, 2), true), "to ourselves alone");
    assert!(query(0, [0; 4]).is_trusted(igmp::ALL_SYSTEMS, false), "version 1 had no alert");
    let group = Ipv4Addr::new(224, 0, 0, 251);
    assert!(query(10, group.octets()).is_trusted(group, true));
}

#[test]
fn a_report_travels_behind_a_router_alert() {
    let records = [mld::Record { kind: RecordKind::TO_EXCLUDE, group: GROUP, sources: &[] }];
    let mut payload = ipv6::router_alert_header(
        Protocol::ICMPV6,
        ipv6::router_alert::MULTICAST_LISTENER_DISCOVERY,
    )
    .to_vec();
    payload.resize(8 + mld::report_len(records), 0);
    mld::emit_report(records, &mut payload[8..]);
    let header = ip(HOST);
    icmpv6::fill_checksum(header.source, header.destination, &mut payload[8..]);
    let chain = ipv6::Chain::walk(&header, &payload, &ipv6::Limits::DEFAULT).unwrap();
    let message = &payload[chain.start - ipv6::HEADER_LEN..];
    assert!(icmpv6::is_checksum_valid(header.source, header.destination, message));
    assert!(mld::Message::parse(&header, chain.router_alert, message).is_ok());

    // As IPv4's option says it.
    let options = ipv4::Options::ROUTER_ALERT;
    assert!(options.iter().any(|option| option == ipv4::Ipv4Option::RouterAlert(0)));
}
