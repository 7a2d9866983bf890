//! The annotated table of IPv6 and of what hosts of a link tell each other.

use std::net::{Ipv4Addr, Ipv6Addr};

use estab_wire::annotate::{Layer, Start, Verdict, annotate};
use estab_wire::ethernet::{EtherType, EthernetAddress, Header, Tag, Tagged};
use estab_wire::ip::Protocol;
use estab_wire::membership::{Code8, RecordKind};
use estab_wire::ndp::{self, NdpOption, Preference, PrefixInformation, RouterAdvertisement};
use estab_wire::{dhcpv4, dhcpv6, domain, icmpv6, igmp, ipv4, ipv6, mld, udp};

const HERE: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
const THERE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const STATION: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

fn packet(next_header: Protocol, payload: &[u8]) -> Vec<u8> {
    let header = ipv6::Header {
        source: THERE,
        destination: HERE,
        next_header,
        hop_limit: 255,
        traffic_class: 2,
        flow_label: 0x12345,
        payload_len: u16::try_from(payload.len()).unwrap(),
    };
    let mut packet = vec![0; header.encoded_len()];
    header.emit(&mut packet);
    packet.extend(payload);
    packet
}

fn udp_datagram(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let payload_len = u16::try_from(payload.len()).unwrap();
    let header = udp::Header { source_port, destination_port, payload_len };
    let mut datagram = vec![0; header.encoded_len()];
    header.emit(&mut datagram);
    datagram.extend(payload);
    udp::fill_checksum(THERE.into(), HERE.into(), &mut datagram);
    datagram
}

fn ipv4_packet(protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Header {
        source: Ipv4Addr::new(10, 77, 0, 1),
        destination: Ipv4Addr::new(224, 0, 0, 1),
        protocol,
        ttl: 1,
        traffic_class: igmp::TRAFFIC_CLASS,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: u16::try_from(payload.len()).unwrap(),
        options: ipv4::Options::ROUTER_ALERT,
    };
    let mut packet = vec![0; header.encoded_len()];
    header.emit(&mut packet);
    packet.extend(payload);
    packet
}

/// The rows behind the fixed header of IP.
fn table(packet: &[u8], start: Start) -> String {
    let is_shown = |layer| !matches!(layer, Layer::Ipv4);
    annotate(packet, start)
        .iter()
        .filter(|row| is_shown(row.layer))
        .map(|row| match row.verdict {
            Verdict::Plain => format!("{row}\n"),
            verdict => format!("{row} [{verdict:?}]\n"),
        })
        .collect()
}

#[test]
fn udp_behind_every_extension_header() {
    let mut payload = ipv6::router_alert_header(Protocol::DESTINATION_OPTIONS, 0).to_vec();
    payload.extend([43, 0, 0xde, 1, 9, 0, 1, 0]); // an option nobody knows, padding
    payload.extend([51, 0, 4, 1, 0, 0, 0, 0]); // segments left
    payload.extend([44, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1]); // authentication without a value
    let atomic = ipv6::Fragment {
        next_header: Protocol::UDP,
        offset: 0,
        more_fragments: false,
        identification: 7,
    };
    payload.extend(atomic.to_bytes());
    payload.extend(udp_datagram(5_000, 53, b"data"));
    insta::assert_snapshot!(table(&packet(Protocol::HOP_BY_HOP, &payload), Start::Ip));
}

#[test]
fn a_router_advertises_in_a_vlan() {
    let servers = [HERE.octets()];
    let names = domain::encode("lab").unwrap();
    let header = ndp::Header::RouterAdvertisement(RouterAdvertisement {
        hop_limit: 64,
        managed: false,
        other_configuration: true,
        preference: Preference::Medium,
        router_lifetime: 1800,
        reachable_time: 0,
        retransmit_time: 0,
    });
    let options = [
        NdpOption::SourceLinkLayer(STATION),
        NdpOption::Prefix(PrefixInformation {
            prefix: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0),
            prefix_len: 64,
            on_link: true,
            autonomous: true,
            valid_lifetime: ndp::INFINITE,
            preferred_lifetime: 14_400,
        }),
        NdpOption::Mtu(1480),
        NdpOption::RecursiveDns { lifetime: 600, servers: &servers },
        NdpOption::SearchList { lifetime: 0, names: domain::Names::new(&names) },
        NdpOption::Nonce(&[1, 2, 3, 4, 5, 6]),
        NdpOption::WrongSize { kind: ndp::option::MTU, data: &[7; 14] },
    ];
    let mut message = vec![0; header.encoded_len()];
    header.emit(&mut message);
    for option in options {
        let start = message.len();
        message.resize(start + option.encoded_len(), 0);
        option.emit(&mut message[start..]);
    }
    icmpv6::fill_checksum(THERE, HERE, &mut message);
    let frame = Tagged {
        header: Header { destination: STATION, source: STATION, ethertype: EtherType::IPV6 },
        tag: Some(Tag { priority: 3, drop_eligible: false, vlan: 7 }),
    };
    let mut bytes = vec![0; frame.encoded_len()];
    frame.emit(&mut bytes);
    bytes.extend(packet(Protocol::ICMPV6, &message));
    insta::assert_snapshot!(table(&bytes, Start::Ethernet));
}

#[test]
fn icmpv6_quotes_a_cut_datagram() {
    let quoted = packet(Protocol::UDP, &udp_datagram(5_000, 53, b"much data"));
    let header = icmpv6::Header::DestinationUnreachable { code: icmpv6::UnreachableCode::PORT };
    let mut message = vec![0; header.encoded_len()];
    header.emit(&mut message);
    message.extend(&quoted[..46]);
    icmpv6::fill_checksum(THERE, HERE, &mut message);
    let (parsed, payload) = icmpv6::Header::parse(&message).unwrap();
    assert_eq!(parsed.quoted(payload).unwrap().ports(), Some((5_000, 53)));
    insta::assert_snapshot!(table(&packet(Protocol::ICMPV6, &message), Start::Ip));
}

#[test]
fn listeners_report() {
    let record =
        |kind, sources| mld::Record { kind, group: ipv6::group::ALL_DHCP_SERVERS, sources };
    let sources = [HERE.octets()];
    let records = [record(RecordKind::TO_EXCLUDE, &[]), record(RecordKind::ALLOW, &sources)];
    let mut payload = ipv6::router_alert_header(Protocol::ICMPV6, 0).to_vec();
    payload.resize(8 + mld::report_len(records), 0);
    mld::emit_report(records, &mut payload[8..]);
    icmpv6::fill_checksum(THERE, HERE, &mut payload[8..]);
    insta::assert_snapshot!(table(&packet(Protocol::HOP_BY_HOP, &payload), Start::Ip));
}

#[test]
fn a_router_asks_for_members() {
    let sources = [[10, 77, 0, 9]];
    let query = igmp::Message::Query(igmp::Query {
        max_response: Code8(0x88),
        group: Ipv4Addr::new(224, 0, 0, 251),
        v3: Some(igmp::QueryV3 {
            suppress: true,
            robustness: 2,
            interval: Code8(125),
            sources: &sources,
        }),
    });
    let mut message = vec![0; query.encoded_len()];
    query.emit(&mut message);
    igmp::fill_checksum(&mut message);
    insta::assert_snapshot!(table(&ipv4_packet(Protocol::IGMP, &message), Start::Ip));
}

#[test]
fn a_client_asks_by_dhcp() {
    let message = dhcpv4::Message {
        kind: dhcpv4::MessageType::REQUEST,
        transaction: 0x1234,
        seconds: 1,
        broadcast: true,
        client_address: Ipv4Addr::UNSPECIFIED,
        your_address: Ipv4Addr::UNSPECIFIED,
        next_server: Ipv4Addr::UNSPECIFIED,
        relay: Ipv4Addr::UNSPECIFIED,
        hardware: STATION,
        options: dhcpv4::Options {
            requested_address: Some(Ipv4Addr::new(10, 77, 0, 5)),
            lease_time: Some(3600),
            host_name: "here".to_owned(),
            max_message_size: Some(1472),
            parameter_list: vec![1, 3, 6, 26, 99],
            ..dhcpv4::Options::default()
        },
    };
    let datagram = udp_datagram(dhcpv4::CLIENT_PORT, dhcpv4::SERVER_PORT, &message.to_bytes());
    let v4 = table(&ipv4_packet(Protocol::UDP, &datagram), Start::Ip);
    let (_, v4) = v4.split_once("DHCP ").unwrap();
    let message = dhcpv6::Message {
        kind: dhcpv6::MessageType::REPLY,
        transaction: 0x12_3456,
        server_identifier: dhcpv6::duid_of(STATION).to_vec(),
        requested: vec![dhcpv6::option::DNS_SERVERS, 99],
        elapsed: Some(5),
        status: Some(dhcpv6::Status { code: 0, message: "fine".to_owned() }),
        dns_servers: vec![HERE],
        domain_list: domain::encode("lab").unwrap(),
        refresh_time: Some(600),
        ..dhcpv6::Message::default()
    };
    let datagram = udp_datagram(dhcpv6::SERVER_PORT, dhcpv6::CLIENT_PORT, &message.to_bytes());
    let v6 = table(&packet(Protocol::UDP, &datagram), Start::Ip);
    let (_, v6) = v6.split_once("DHCPv6 ").unwrap();
    insta::assert_snapshot!(format!("{v4}{v6}"));
}

#[test]
fn a_datagram_without_a_checksum_is_wrong_over_ipv6() {
    let mut datagram = udp_datagram(1, 2, b"data");
    datagram[6..8].fill(0);
    let bytes = packet(Protocol::UDP, &datagram);
    let rows = annotate(&bytes, Start::Ip);
    let checksum = rows.iter().find(|row| row.name == "checksum").unwrap();
    assert_eq!(checksum.verdict, Verdict::Malformed);
    assert_eq!(checksum.meaning, "none was made, but IPv6 needs one");
}

#[test]
fn later_fragments_are_pieces() {
    let fragment = ipv6::Fragment {
        next_header: Protocol::TCP,
        offset: 1448,
        more_fragments: true,
        identification: 7,
    };
    let bytes = packet(Protocol::FRAGMENT, &[&fragment.to_bytes()[..], &[0; 16]].concat());
    let rows = annotate(&bytes, Start::Ip);
    let last = rows.last().unwrap();
    assert_eq!(last.meaning, "bytes 1448 to 1464 of a fragmented packet");
    assert_eq!(fragment.to_string(), "frag (0x00000007, offset 1448, +) TCP");
}

/// A packet of errors about errors does not lead down without end.
#[test]
fn quotes_in_quotes_are_not_followed() {
    let mut message = vec![0; 8];
    for _ in 0..1_000 {
        let error = icmpv6::Header::PacketTooBig { mtu: 1280 };
        let mut outer = vec![0; 8];
        error.emit(&mut outer);
        outer.extend(packet(Protocol::ICMPV6, &message));
        message = outer;
    }
    let rows = annotate(&packet(Protocol::ICMPV6, &message), Start::Ip);
    assert_eq!(rows.iter().filter(|row| row.name == "hop limit").count(), 2);
}
