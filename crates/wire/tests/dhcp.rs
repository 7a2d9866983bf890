//! DHCP of both families: both ways, and what is refused or passed over.

use std::net::{Ipv4Addr, Ipv6Addr};

use estab_wire::dhcpv4::{self, COOKIE, MIN_LEN, option};
use estab_wire::ethernet::EthernetAddress;
use estab_wire::{dhcpv6, domain};
use proptest::prelude::*;

const STATION: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

fn v4(kind: dhcpv4::MessageType, options: dhcpv4::Options) -> dhcpv4::Message {
    dhcpv4::Message {
        kind,
        transaction: 0x1234_5678,
        seconds: 3,
        broadcast: true,
        client_address: Ipv4Addr::UNSPECIFIED,
        your_address: Ipv4Addr::UNSPECIFIED,
        next_server: Ipv4Addr::UNSPECIFIED,
        relay: Ipv4Addr::UNSPECIFIED,
        hardware: STATION,
        options,
    }
}

/// A message whose options are these bytes.
fn v4_with(options: &[u8]) -> Vec<u8> {
    let mut bytes = v4(dhcpv4::MessageType::ACK, dhcpv4::Options::default()).to_bytes();
    bytes.truncate(dhcpv4::HEADER_LEN);
    bytes.extend(options);
    bytes
}

prop_compose! {
    fn v4_options()(
        prefix_len in prop::option::of(0u8..=32),
        routers in prop::collection::vec(any::<Ipv4Addr>(), 0..3),
        // More than one option can hold.
        dns_servers in prop::collection::vec(any::<Ipv4Addr>(), 0..80),
        names in ("[a-z]{0,300}", "[a-z.]{0,20}", "[ -~]{0,40}"),
        shorts in (prop::option::of(68u16..), prop::option::of(576u16..)),
        addresses in any::<[Option<Ipv4Addr>; 2]>(),
        times in any::<[Option<u32>; 3]>(),
        parameter_list in prop::collection::vec(any::<u8>(), 0..9),
        client_identifier in prop_oneof![Just(vec![]), prop::collection::vec(any::<u8>(), 2..9)],
    ) -> dhcpv4::Options {
        dhcpv4::Options {
            prefix_len,
            routers,
            dns_servers,
            host_name: names.0,
            domain_name: names.1,
            mtu: shorts.0,
            requested_address: addresses[0],
            lease_time: times[0],
            renewal_time: times[1],
            rebinding_time: times[2],
            server_identifier: addresses[1],
            parameter_list,
            message: names.2,
            max_message_size: shorts.1,
            client_identifier,
        }
    }
}

prop_compose! {
    fn v6_message()(
        reply in any::<bool>(),
        transaction in 0u32..1 << 24,
        identifiers in prop::array::uniform2(prop::collection::vec(any::<u8>(), 3..=130)),
        requested in prop::collection::vec(any::<u16>(), 0..5),
        elapsed in any::<Option<u16>>(),
        status in prop::option::of((any::<u16>(), "[ -~]{0,20}")),
        dns_servers in prop::collection::vec(any::<Ipv6Addr>(), 0..4),
        domain_list in prop_oneof![Just(vec![]), Just(domain::encode("example.org").unwrap())],
        times in any::<[Option<u32>; 2]>(),
    ) -> dhcpv6::Message {
        let [client_identifier, server_identifier] = identifiers;
        dhcpv6::Message {
            kind: match reply {
                true => dhcpv6::MessageType::REPLY,
                false => dhcpv6::MessageType::INFORMATION_REQUEST,
            },
            transaction,
            client_identifier,
            server_identifier,
            requested,
            elapsed,
            status: status.map(|(code, message)| dhcpv6::Status { code, message }),
            dns_servers,
            domain_list,
            refresh_time: times[0],
            max_retransmit: times[1],
        }
    }
}

proptest! {
    #[test]
    fn v4_emit_parse(
        kind in 1u8..=8,
        options in v4_options(),
        addresses in any::<[Ipv4Addr; 4]>(),
        (transaction, seconds, broadcast) in any::<(u32, u16, bool)>(),
    ) {
        let [client_address, your_address, next_server, relay] = addresses;
        let message = dhcpv4::Message {
            transaction, seconds, broadcast, client_address, your_address, next_server, relay,
            ..v4(dhcpv4::MessageType(kind), options)
        };
        let bytes = message.to_bytes();
        prop_assert!(bytes.len() >= MIN_LEN);
        prop_assert_eq!(dhcpv4::Message::parse(&bytes), Ok(message));
    }

    #[test]
    fn v6_emit_parse(message in v6_message()) {
        prop_assert_eq!(dhcpv6::Message::parse(&message.to_bytes()), Ok(message));
    }

    /// Any options: nothing panics, and what parses is written to something that parses to it.
    #[test]
    fn v4_any_options(
        list in prop::collection::vec(prop_oneof![0u8..=61, any::<u8>()], 0..60),
        fields in prop::collection::vec(prop_oneof![0u8..=61, any::<u8>()], 192),
    ) {
        let mut bytes = v4_with(&[&[53, 1, 5, 52, 1, 3][..], &list].concat());
        bytes[44..236].copy_from_slice(&fields);
        if let Ok(message) = dhcpv4::Message::parse(&bytes) {
            let _ = message.to_string();
            prop_assert_eq!(dhcpv4::Message::parse(&message.to_bytes()), Ok(message));
        }
    }

    #[test]
    fn v6_any_bytes(kind in 5u8..14, bytes in prop::collection::vec(prop_oneof![Just(0u8), 0u8..40, any::<u8>()], 0..80)) {
        let bytes = [&[kind][..], &bytes].concat();
        if let Ok(message) = dhcpv6::Message::parse(&bytes) {
            let _ = format!("{message} {}", message.domains());
            prop_assert_eq!(dhcpv6::Message::parse(&message.to_bytes()), Ok(message));
        }
    }
}

#[test]
fn v4_a_client_asks_and_a_server_answers() {
    let wanted = [option::SUBNET_MASK, option::ROUTERS, option::DNS_SERVERS, option::INTERFACE_MTU];
    let discover = v4(
        dhcpv4::MessageType::DISCOVER,
        dhcpv4::Options {
            parameter_list: wanted.to_vec(),
            requested_address: Some(Ipv4Addr::new(10, 77, 0, 5)),
            ..dhcpv4::Options::default()
        },
    );
    assert_eq!(
        discover.to_string(),
        "DHCP Discover, xid 0x12345678, 02:00:00:00:00:01, requested-IP 10.77.0.5"
    );
    let bytes = discover.to_bytes();
    assert_eq!((bytes[0], &bytes[236..240]), (1, &COOKIE[..]));
    let ack = v4_with(&[
        53, 1, 5, 1, 4, 255, 255, 255, 0, 3, 4, 10, 77, 0, 1, 51, 4, 0, 0, 0x0e, 0x10, 26, 2, 5,
        0xdc, 15, 4, b'l', b'a', b'b', 0, 0, 0, 255, 3, 9,
    ]);
    let options = dhcpv4::Message::parse(&ack).unwrap().options;
    let expected = dhcpv4::Options {
        prefix_len: Some(24),
        routers: vec![Ipv4Addr::new(10, 77, 0, 1)],
        lease_time: Some(3600),
        mtu: Some(1500),
        domain_name: "lab".to_owned(),
        ..dhcpv4::Options::default()
    };
    assert_eq!(options, expected);
}

#[test]
fn v4_options_overflow_into_the_header() {
    let mut bytes = v4_with(&[53, 1, 5, 52, 1, 3, 6, 4, 10, 0, 0, 1, 255]);
    bytes[108..115].copy_from_slice(&[6, 4, 10, 0, 0, 2, 255]);
    bytes[44..51].copy_from_slice(&[6, 4, 10, 0, 0, 3, 255]);
    let servers = |bytes: &[u8]| dhcpv4::Message::parse(bytes).unwrap().options.dns_servers;
    let address = |last| Ipv4Addr::new(10, 0, 0, last);
    assert_eq!(servers(&bytes), [1, 2, 3].map(address), "the list, then file, then sname");
    bytes[245] = 2;
    assert_eq!(servers(&bytes), [1, 3].map(address));
    bytes[45] = 200;
    assert_eq!(
        dhcpv4::Message::parse(&bytes),
        Err(dhcpv4::Malformed::OptionBeyondField { code: 6 })
    );
    bytes[245] = 0;
    assert_eq!(servers(&bytes), [1].map(address));
}

#[test]
fn v4_options_of_a_wrong_size_are_passed_over() {
    let bytes = v4_with(&[
        53, 1, 5, 51, 3, 0, 0, 1, 3, 5, 1, 2, 3, 4, 5, 1, 4, 255, 0, 255, 0, 26, 2, 0, 67, 57, 2,
        2, 63, 61, 1, 7, 255,
    ]);
    let options = dhcpv4::Message::parse(&bytes).unwrap().options;
    assert_eq!(options, dhcpv4::Options::default());
}

#[test]
fn v4_what_is_refused() {
    use dhcpv4::Malformed;
    let good = v4_with(&[53, 1, 5, 255]);
    let error = |bytes: &[u8]| dhcpv4::Message::parse(bytes).unwrap_err();
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        error(&bytes)
    };
    assert_eq!(error(&good[..239]), Malformed::Truncated { length: 239 });
    assert_eq!(error(&good[..240]), Malformed::NoMessageType);
    assert_eq!(error(&good[..242]), Malformed::OptionBeyondField { code: 53 });
    assert_eq!(changed(236, 0), Malformed::Cookie([0, 130, 83, 99]));
    assert_eq!(changed(1, 6), Malformed::Hardware { kind: 6, length: 6 });
    let kind = dhcpv4::MessageType::ACK;
    assert_eq!(changed(0, 1), Malformed::Operation { operation: 1, kind });
}

#[test]
fn v6_a_client_asks_and_a_server_answers() {
    let request = dhcpv6::Message {
        transaction: 0x12_3456,
        client_identifier: dhcpv6::duid_of(STATION).to_vec(),
        requested: vec![dhcpv6::option::DNS_SERVERS, dhcpv6::option::DOMAIN_LIST],
        elapsed: Some(0),
        ..dhcpv6::Message::default()
    };
    let expected = [
        11, 0x12, 0x34, 0x56, 0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1, 0, 6, 0, 4, 0, 23, 0, 24,
        0, 8, 0, 2, 0, 0,
    ];
    assert_eq!(request.to_bytes(), expected);
    let mut reply = vec![7, 0x12, 0x34, 0x56, 0, 2, 0, 3, 9, 9, 9, 0, 23, 0, 16];
    reply.extend(Ipv6Addr::LOCALHOST.octets());
    reply.extend([0, 24, 0, 5, 3, b'l', b'a', b'b', 0]);
    let message = dhcpv6::Message::parse(&reply).unwrap();
    assert_eq!(message.to_string(), "dhcp6 reply, xid 0x123456, DNS ::1");
    assert_eq!(message.domains().to_string(), "lab");
}

#[test]
fn v6_what_is_refused() {
    use dhcpv6::{Malformed, MessageType};
    let error = |bytes: &[u8]| dhcpv6::Message::parse(bytes).unwrap_err();
    assert_eq!(error(&[7, 0, 0]), Malformed::Truncated { length: 3 });
    assert_eq!(error(&[12, 0, 0, 0]), Malformed::Relayed(MessageType::RELAY_FORWARD));
    assert_eq!(error(&[7, 0, 0, 0]), Malformed::NoServerIdentifier);
    let beyond = |code| Malformed::OptionBeyondMessage { code };
    assert_eq!(error(&[7, 0, 0, 0, 0, 2, 0]), beyond(None));
    assert_eq!(error(&[7, 0, 0, 0, 0, 2, 0, 4, 9, 9, 9]), beyond(Some(2)));
}
