//! Neighbour discovery: both ways, and every reason to discard a message (RFC 4861).

use std::net::Ipv6Addr;

use estab_wire::domain::{self, Names};
use estab_wire::ethernet::EthernetAddress;
use estab_wire::ip::Protocol;
use estab_wire::ndp::{
    Header, Malformed, NdpOption, Preference, PrefixInformation, RouterAdvertisement,
};
use estab_wire::{icmpv6, ipv6};
use proptest::prelude::*;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const HOST: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
const STATION: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

fn ip(source: Ipv6Addr, destination: Ipv6Addr) -> ipv6::Header {
    ipv6::Header {
        source,
        destination,
        next_header: Protocol::ICMPV6,
        hop_limit: 255,
        traffic_class: 0,
        flow_label: 0,
        payload_len: 0,
    }
}

fn message(header: &Header, options: &[NdpOption<'_>]) -> Vec<u8> {
    let mut message = vec![0xaa; header.encoded_len()];
    assert_eq!(header.emit(&mut message), message.len());
    for option in options {
        let start = message.len();
        message.resize(start + option.encoded_len(), 0xaa);
        assert_eq!(option.emit(&mut message[start..]), option.encoded_len());
    }
    message
}

fn error(ip: &ipv6::Header, header: &Header, options: &[NdpOption<'_>]) -> Malformed {
    Header::parse(ip, &message(header, options)).unwrap_err()
}

fn advertisement() -> Header {
    Header::RouterAdvertisement(RouterAdvertisement {
        hop_limit: 64,
        managed: false,
        other_configuration: true,
        preference: Preference::High,
        router_lifetime: 1800,
        reachable_time: 0,
        retransmit_time: 1000,
    })
}

fn header() -> impl Strategy<Value = Header> {
    let address = any::<Ipv6Addr>;
    let preference =
        prop_oneof![Just(Preference::Low), Just(Preference::Medium), Just(Preference::High)];
    let advertisement = (any::<(u8, bool, bool, u16, u32, u32)>(), preference).prop_map(
        |(
            (hop_limit, managed, other_configuration, lifetime, reachable, retransmit),
            preference,
        )| {
            Header::RouterAdvertisement(RouterAdvertisement {
                hop_limit,
                managed,
                other_configuration,
                preference,
                router_lifetime: lifetime,
                reachable_time: reachable,
                retransmit_time: retransmit,
            })
        },
    );
    prop_oneof![
        Just(Header::RouterSolicitation),
        advertisement,
        address().prop_map(|target| Header::NeighborSolicitation { target }),
        (address(), any::<[bool; 3]>()).prop_map(|(target, flags)| Header::NeighborAdvertisement {
            target,
            is_router: flags[0],
            is_solicited: flags[1],
            is_override: flags[2],
        }),
        (address(), address())
            .prop_map(|(target, destination)| Header::Redirect { target, destination }),
    ]
}

proptest! {
    #[test]
    fn emit_parse(header in header(), station in any::<[u8; 6]>(), mtu in any::<u32>(), data in any::<[u8; 14]>()) {
        let options = [
            NdpOption::TargetLinkLayer(EthernetAddress(station)),
            NdpOption::Mtu(mtu),
            NdpOption::Nonce(&data[..6]),
            NdpOption::Unknown { kind: 99, data: &data },
        ];
        let message = message(&header, &options);
        let read = Header::parse(&ip(ROUTER, HOST), &message);
        if let Ok((again, list)) = read {
            prop_assert_eq!(again, header);
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), options);
        } else {
            // Random targets may be groups, and random redirects lead anywhere.
            let is_expected = matches!(
                read,
                Err(Malformed::TargetMulticast(_) | Malformed::RedirectOfGroup(_) | Malformed::RedirectTarget(_))
            );
            prop_assert!(is_expected, "{:?}", read);
        }
    }

    #[test]
    fn what_parses_emits_to_the_same(
        kind in 133u8..=137,
        mut bytes in prop::collection::vec(prop_oneof![0u8..6, any::<u8>()], 8..90),
    ) {
        bytes[0] = kind;
        bytes[1] = 0;
        let ip = ip(ROUTER, ipv6::solicited_node(HOST));
        if let Ok((header, options)) = Header::parse(&ip, &bytes) {
            let _ = format!("{header} {options:?}");
            let list: Vec<_> = options.iter().collect();
            let again = message(&header, &list);
            let (same, others) = Header::parse(&ip, &again).unwrap();
            prop_assert_eq!(same, header);
            prop_assert_eq!(others.iter().collect::<Vec<_>>(), list);
        }
    }
}

#[test]
fn a_router_says_all_it_can() {
    let servers = [ROUTER.octets(), HOST.octets()];
    let names = [domain::encode("example.org").unwrap(), domain::encode("lab").unwrap()].concat();
    let prefix = PrefixInformation {
        prefix: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0),
        prefix_len: 64,
        on_link: true,
        autonomous: true,
        valid_lifetime: 86_400,
        preferred_lifetime: 14_400,
    };
    let options = [
        NdpOption::SourceLinkLayer(STATION),
        NdpOption::Prefix(prefix),
        NdpOption::Mtu(1480),
        NdpOption::RecursiveDns { lifetime: 600, servers: &servers },
        NdpOption::SearchList { lifetime: 600, names: Names::new(&names) },
    ];
    let mut message = message(&advertisement(), &options);
    let ip = ip(ROUTER, ipv6::group::ALL_NODES);
    icmpv6::fill_checksum(ip.source, ip.destination, &mut message);
    let (header, list) = Header::parse(&ip, &message).unwrap();
    assert_eq!(header, advertisement());
    let list: Vec<_> = list.iter().collect();
    assert_eq!(list[..4], options[..4]);
    let NdpOption::SearchList { lifetime: 600, names } = list[4] else { panic!("{list:?}") };
    assert_eq!(names.to_string(), "example.org lab");
}

#[test]
fn rfc4861_6_1_1_router_solicitations() {
    let solicitation = Header::RouterSolicitation;
    let nobody = ip(Ipv6Addr::UNSPECIFIED, ipv6::group::ALL_ROUTERS);
    assert!(Header::parse(&nobody, &message(&solicitation, &[])).is_ok());
    let source = [NdpOption::SourceLinkLayer(STATION)];
    assert_eq!(error(&nobody, &solicitation, &source), Malformed::LinkLayerAddressOfNobody);
    let from_afar = ipv6::Header { hop_limit: 254, ..nobody };
    assert_eq!(error(&from_afar, &solicitation, &[]), Malformed::HopLimit(254));
}

#[test]
fn rfc4861_6_1_2_router_advertisements() {
    let from_router = ip(ROUTER, HOST);
    let whole = message(&advertisement(), &[NdpOption::Mtu(1500)]);
    assert!(Header::parse(&from_router, &whole).is_ok());
    assert_eq!(error(&ip(HOST, HOST), &advertisement(), &[]), Malformed::SourceNotLinkLocal(HOST));
    let parse = |message: &[u8]| Header::parse(&from_router, message).unwrap_err();
    assert_eq!(parse(&whole[..15]), Malformed::Truncated { length: 15, needed: 16 });
    assert_eq!(parse(&whole[..7]), Malformed::Truncated { length: 7, needed: 8 });
    assert_eq!(parse(&whole[..20]), Malformed::OptionLength { kind: 5 });
    assert_eq!(parse(&whole[..17]), Malformed::OptionLength { kind: 5 });
    let mut wrong = whole.clone();
    wrong[17] = 0;
    assert_eq!(parse(&wrong), Malformed::OptionLength { kind: 5 });
    let mut wrong = whole;
    wrong[1] = 1;
    assert_eq!(parse(&wrong), Malformed::Code(1));
    wrong[0] = 130;
    assert_eq!(parse(&wrong), Malformed::Kind(130));
}

#[test]
fn rfc4861_7_1_1_neighbor_solicitations() {
    let for_host = Header::NeighborSolicitation { target: HOST };
    let group = ipv6::solicited_node(HOST);
    assert_eq!(group.to_string(), "ff02::1:ff00:2");
    let probe = ip(Ipv6Addr::UNSPECIFIED, group);
    let whole = message(&for_host, &[]);
    assert!(Header::parse(&probe, &whole).is_ok());
    let cut = Header::parse(&probe, &whole[..23]).unwrap_err();
    assert_eq!(cut, Malformed::Truncated { length: 23, needed: 24 });
    let source = [NdpOption::SourceLinkLayer(STATION)];
    assert_eq!(error(&probe, &for_host, &source), Malformed::LinkLayerAddressOfNobody);
    assert_eq!(
        error(&ip(Ipv6Addr::UNSPECIFIED, HOST), &for_host, &[]),
        Malformed::NotForSolicitedNode(HOST)
    );
    let for_group = Header::NeighborSolicitation { target: group };
    assert_eq!(error(&ip(ROUTER, group), &for_group, &[]), Malformed::TargetMulticast(group));
}

#[test]
fn rfc4861_7_1_2_neighbor_advertisements() {
    let advertise = |target, is_solicited| Header::NeighborAdvertisement {
        target,
        is_router: false,
        is_solicited,
        is_override: true,
    };
    let to_all = ip(HOST, ipv6::group::ALL_NODES);
    assert!(Header::parse(&to_all, &message(&advertise(HOST, false), &[])).is_ok());
    assert_eq!(error(&to_all, &advertise(HOST, true), &[]), Malformed::SolicitedToGroup);
    let group = ipv6::solicited_node(HOST);
    assert_eq!(error(&to_all, &advertise(group, false), &[]), Malformed::TargetMulticast(group));
}

#[test]
fn rfc4861_8_1_redirects() {
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
    let redirect = |target, destination| Header::Redirect { target, destination };
    let to_host = ip(ROUTER, HOST);
    let quoted = NdpOption::RedirectedHeader(&[0x60; 40]);
    for target in [ROUTER, far] {
        assert!(Header::parse(&to_host, &message(&redirect(target, far), &[quoted])).is_ok());
    }
    assert_eq!(error(&to_host, &redirect(HOST, far), &[]), Malformed::RedirectTarget(HOST));
    let all = ipv6::group::ALL_NODES;
    assert_eq!(error(&to_host, &redirect(all, all), &[]), Malformed::RedirectOfGroup(all));
    assert_eq!(error(&ip(far, HOST), &redirect(far, far), &[]), Malformed::SourceNotLinkLocal(far));
}

#[test]
fn options_of_a_wrong_size_are_passed_over() {
    let mut bytes = message(&Header::NeighborSolicitation { target: HOST }, &[]);
    for option in [&[1, 2][..], &[3, 1], &[5, 2], &[25, 2], &[31, 1]] {
        bytes.extend(option);
        bytes.resize(bytes.len() + usize::from(option[1]) * 8 - 2, 7);
    }
    let (_, options) = Header::parse(&ip(ROUTER, HOST), &bytes).unwrap();
    let is_wrong = |option| matches!(option, NdpOption::WrongSize { .. });
    assert_eq!(options.iter().count(), 5);
    assert!(options.iter().all(is_wrong), "{options:?}");
}
