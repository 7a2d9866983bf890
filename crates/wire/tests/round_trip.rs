//! Every format, both ways: what is emitted parses to the same meaning, and what parses from any
//! bytes emits to something that parses to the same. Nothing panics on any bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use estab_wire::annotate::{Start, annotate};
use estab_wire::ethernet::{EtherType, EthernetAddress};
use estab_wire::ip::{self, Protocol};
use estab_wire::{arp, checksum, ethernet, icmpv4, icmpv6, ipv4, ipv6, tcp, udp, vnet};
use proptest::prelude::*;

prop_compose! {
    fn ethernet_header()(
        destination in any::<[u8; 6]>(),
        source in any::<[u8; 6]>(),
        ethertype in 0x0600u16..,
    ) -> ethernet::Header {
        ethernet::Header {
            destination: EthernetAddress(destination),
            source: EthernetAddress(source),
            ethertype: EtherType(ethertype),
        }
    }
}

prop_compose! {
    fn arp_packet()(
        operation in any::<u16>(),
        sender_hardware in any::<[u8; 6]>(),
        sender_protocol in any::<Ipv4Addr>(),
        target_hardware in any::<[u8; 6]>(),
        target_protocol in any::<Ipv4Addr>(),
    ) -> arp::Packet {
        arp::Packet {
            operation: arp::Operation(operation),
            sender_hardware: EthernetAddress(sender_hardware),
            sender_protocol,
            target_hardware: EthernetAddress(target_hardware),
            target_protocol,
        }
    }
}

prop_compose! {
    fn ipv4_header(payload_len: u16)(
        source in any::<Ipv4Addr>(),
        destination in any::<Ipv4Addr>(),
        protocol in any::<u8>(),
        ttl in any::<u8>(),
        traffic_class in any::<u8>(),
        identification in any::<u16>(),
        dont_fragment in any::<bool>(),
        more_fragments in any::<bool>(),
        // The last offset at which a fragment of 256 bytes still ends in time.
        offset_words in 0u16..8_150,
        options in prop::collection::vec(any::<u8>(), 0..=40),
    ) -> ipv4::Header {
        ipv4::Header {
            source,
            destination,
            protocol: Protocol(protocol),
            ttl,
            traffic_class,
            identification,
            dont_fragment,
            more_fragments: more_fragments && payload_len > 0 && payload_len.is_multiple_of(8),
            fragment_offset: offset_words * 8,
            payload_len,
            options: ipv4::Options::from_bytes(&options).unwrap(),
        }
    }
}

prop_compose! {
    fn ipv6_header(payload_len: u16)(
        source in any::<Ipv6Addr>(),
        destination in any::<Ipv6Addr>(),
        next_header in any::<u8>(),
        hop_limit in any::<u8>(),
        traffic_class in any::<u8>(),
        flow_label in 0u32..1 << 20,
    ) -> ipv6::Header {
        let next_header = Protocol(next_header);
        ipv6::Header {
            source, destination, next_header, hop_limit, traffic_class, flow_label, payload_len,
        }
    }
}

/// Bytes that are a chain of extension headers for a while, and the kind of the first.
fn nearly_chain() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let kind = || {
        prop_oneof![
            Just(0u8),
            Just(43),
            Just(44),
            Just(51),
            Just(60),
            Just(6),
            Just(59),
            any::<u8>()
        ]
    };
    let option = prop_oneof![
        Just(vec![0]),
        Just(vec![1, 0]),
        Just(vec![5, 2, 0, 0]),
        prop::collection::vec(any::<u8>(), 1..8),
    ];
    let extension =
        (kind(), 0u8..3, prop::collection::vec(option, 0..6)).prop_map(|(next, units, options)| {
            let mut bytes = vec![next, units];
            bytes.extend(options.concat());
            bytes.resize(8 + usize::from(units) * 8, 0);
            bytes
        });
    (kind(), prop::collection::vec(extension, 0..6), prop::collection::vec(any::<u8>(), 0..30))
        .prop_map(|(first, extensions, rest)| {
            let mut bytes = extensions.concat();
            bytes.extend(rest);
            (first, bytes)
        })
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=256)
}

fn ipv4_packet() -> impl Strategy<Value = (ipv4::Header, Vec<u8>)> {
    payload().prop_flat_map(|payload| {
        let length = u16::try_from(payload.len()).unwrap();
        (ipv4_header(length), Just(payload))
    })
}

fn icmp_header() -> impl Strategy<Value = icmpv4::Header> {
    use icmpv4::{Header, RedirectCode, TimeExceededCode, Timestamps, UnreachableCode};
    let timestamps = any::<(u16, u16, u32, u32, u32)>().prop_map(
        |(identifier, sequence, originate, receive, transmit)| Timestamps {
            identifier,
            sequence,
            originate,
            receive,
            transmit,
        },
    );
    prop_oneof![
        any::<(u16, u16)>()
            .prop_map(|(identifier, sequence)| Header::EchoRequest { identifier, sequence }),
        any::<(u16, u16)>()
            .prop_map(|(identifier, sequence)| Header::EchoReply { identifier, sequence }),
        any::<(u8, u16)>().prop_map(|(code, next_hop_mtu)| Header::DestinationUnreachable {
            code: UnreachableCode(code),
            next_hop_mtu
        }),
        Just(Header::SourceQuench),
        any::<(u8, Ipv4Addr)>()
            .prop_map(|(code, gateway)| Header::Redirect { code: RedirectCode(code), gateway }),
        any::<u8>().prop_map(|code| Header::TimeExceeded { code: TimeExceededCode(code) }),
        any::<(u8, u8)>().prop_map(|(code, pointer)| Header::ParameterProblem { code, pointer }),
        timestamps.clone().prop_map(Header::TimestampRequest),
        timestamps.prop_map(Header::TimestampReply),
        (15u8.., any::<u8>(), any::<[u8; 4]>()).prop_map(|(kind, code, rest)| Header::Unknown {
            kind,
            code,
            rest
        }),
    ]
}

fn icmpv6_header() -> impl Strategy<Value = icmpv6::Header> {
    use icmpv6::{Header, ParameterCode, TimeExceededCode, UnreachableCode};
    prop_oneof![
        any::<(u16, u16)>()
            .prop_map(|(identifier, sequence)| Header::EchoRequest { identifier, sequence }),
        any::<(u16, u16)>()
            .prop_map(|(identifier, sequence)| Header::EchoReply { identifier, sequence }),
        any::<u8>().prop_map(|code| Header::DestinationUnreachable { code: UnreachableCode(code) }),
        any::<u32>().prop_map(|mtu| Header::PacketTooBig { mtu }),
        any::<u8>().prop_map(|code| Header::TimeExceeded { code: TimeExceededCode(code) }),
        any::<(u8, u32)>().prop_map(|(code, pointer)| Header::ParameterProblem {
            code: ParameterCode(code),
            pointer
        }),
        (130u8.., any::<u8>(), any::<[u8; 4]>()).prop_map(|(kind, code, rest)| Header::Other {
            kind,
            code,
            rest
        }),
    ]
}

fn timestamps() -> impl Strategy<Value = tcp::Timestamps> {
    any::<(u32, u32)>().prop_map(|(value, echo)| tcp::Timestamps { value, echo })
}

fn blocks(most: usize) -> impl Strategy<Value = tcp::SackBlocks> {
    prop::collection::vec(any::<(u32, u32)>(), 0..=most)
        .prop_map(|blocks| blocks.into_iter().collect())
}

fn authentication() -> impl Strategy<Value = tcp::Authentication> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(|data| (tcp::kind::MD5_SIGNATURE, data.to_vec())),
        prop::collection::vec(any::<u8>(), 2..=14)
            .prop_map(|data| (tcp::kind::AUTHENTICATION, data)),
    ]
    .prop_map(|(kind, data)| tcp::Authentication::new(kind, &data).unwrap())
}

/// Combinations that fit: those of a SYN, of an established connection, and signed ones.
fn tcp_options() -> impl Strategy<Value = tcp::Options> {
    let cookie = (0usize..=8).prop_filter_map("no cookie has 2 bytes", |half| {
        tcp::FastOpenCookie::new(&vec![0xc0; half * 2])
    });
    let syn = (
        prop::option::of(1u16..),
        prop::option::of(0..=tcp::MAX_WINDOW_SCALE),
        any::<bool>(),
        prop::option::of(timestamps()),
        prop::option::of(cookie),
    )
        .prop_map(|(mss, window_scale, sack_permitted, timestamps, fast_open)| tcp::Options {
            mss,
            window_scale,
            sack_permitted,
            timestamps,
            fast_open,
            ..tcp::Options::NONE
        });
    let with_times = (timestamps(), blocks(3)).prop_map(|(timestamps, sack)| tcp::Options {
        timestamps: Some(timestamps),
        sack,
        ..tcp::Options::NONE
    });
    let without_times = blocks(4).prop_map(|sack| tcp::Options { sack, ..tcp::Options::NONE });
    let signed = (authentication(), prop::option::of(timestamps())).prop_map(
        |(authentication, timestamps)| tcp::Options {
            authentication: Some(authentication),
            timestamps,
            ..tcp::Options::NONE
        },
    );
    prop_oneof![syn, with_times, without_times, signed]
}

prop_compose! {
    fn tcp_header()(
        ports in any::<(u16, u16)>(),
        numbers in any::<(u32, u32)>(),
        flags in any::<u16>(),
        window in any::<u16>(),
        urgent in any::<u16>(),
        options in tcp_options(),
    ) -> tcp::Header {
        tcp::Header {
            source_port: ports.0,
            destination_port: ports.1,
            sequence: numbers.0,
            acknowledgment: numbers.1,
            flags: tcp::Flags::from_bits_truncate(flags),
            window,
            urgent,
            options,
        }
    }
}

/// Bytes that get past the first checks of a TCP header now and then.
fn nearly_tcp() -> impl Strategy<Value = Vec<u8>> {
    let option_byte = prop_oneof![
        4 => 0u8..=11,
        1 => prop_oneof![Just(19u8), Just(29), Just(34), Just(18), Just(16)],
        2 => any::<u8>(),
    ];
    (prop::collection::vec(any::<u8>(), 20), prop::collection::vec(option_byte, 0..60), 4u8..=15)
        .prop_map(|(mut fixed, options, words)| {
            fixed[12] = words << 4 | fixed[12] & 15;
            fixed.extend(options);
            fixed
        })
}

/// Bytes that get past the first checks of an IPv4 header, with a right checksum.
fn nearly_ipv4() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(any::<u8>(), 20..100), 5u8..=15, 0usize..3, any::<bool>()).prop_map(
        |(mut packet, words, cut, is_whole)| {
            packet[0] = 0x40 | words;
            let length = u16::try_from(packet.len() - cut.min(packet.len() - 20)).unwrap();
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            if is_whole {
                packet[6..8].fill(0);
            }
            packet[10..12].fill(0);
            let header_len = (usize::from(words) * 4).min(packet.len());
            let sum = checksum::sum(&packet[..header_len]).finish();
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet
        },
    )
}

proptest! {
    #[test]
    fn ethernet_emit_parse(header in ethernet_header(), payload in payload()) {
        let mut frame = vec![0xaa; header.encoded_len()];
        prop_assert_eq!(header.emit(&mut frame), frame.len());
        frame.extend(&payload);
        prop_assert_eq!(ethernet::Header::parse(&frame), Ok((header, &payload[..])));
    }

    #[test]
    fn vlan_emit_parse(
        header in ethernet_header(),
        tag in prop::option::of((0u8..8, any::<bool>(), 0u16..4096)),
        payload in payload(),
    ) {
        use ethernet::{Tag, Tagged};
        prop_assume!(![EtherType::VLAN, EtherType::SERVICE_VLAN].contains(&header.ethertype));
        let tag = tag.map(|(priority, drop_eligible, vlan)| Tag { priority, drop_eligible, vlan });
        let tagged = Tagged { header, tag };
        let mut frame = vec![0xaa; tagged.encoded_len()];
        prop_assert_eq!(tagged.emit(&mut frame), frame.len());
        frame.extend(&payload);
        prop_assert_eq!(Tagged::parse(&frame), Ok((tagged, &payload[..])));
    }

    #[test]
    fn ethernet_address_text(address in any::<[u8; 6]>()) {
        let address = EthernetAddress(address);
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn arp_emit_parse(packet in arp_packet(), padding in 0usize..20) {
        let mut bytes = vec![0xaa; packet.encoded_len() + padding];
        prop_assert_eq!(packet.emit(&mut bytes), arp::PACKET_LEN);
        prop_assert_eq!(arp::Packet::parse(&bytes), Ok(packet));
    }

    #[test]
    fn ipv4_emit_parse((header, payload) in ipv4_packet(), trailer in 0usize..20) {
        let mut packet = vec![0xaa; header.encoded_len()];
        prop_assert_eq!(header.emit(&mut packet), packet.len());
        packet.extend(&payload);
        packet.extend(vec![0x55; trailer]);
        prop_assert_eq!(ipv4::Header::parse(&packet), Ok((header, &payload[..])));
    }

    #[test]
    fn ipv6_emit_parse(
        (header, payload) in payload().prop_flat_map(|payload| {
            (ipv6_header(u16::try_from(payload.len()).unwrap()), Just(payload))
        }),
        trailer in 0usize..20,
    ) {
        let mut packet = vec![0xaa; header.encoded_len()];
        prop_assert_eq!(header.emit(&mut packet), packet.len());
        packet.extend(&payload);
        packet.extend(vec![0x55; trailer]);
        prop_assert_eq!(ipv6::Header::parse(&packet), Ok((header, &payload[..])));
        prop_assert_eq!(ip::Header::parse(&packet), Ok((ip::Header::V6(header), &payload[..])));
    }

    #[test]
    fn ipv6_fragment_header_any_bytes(mut bytes in any::<[u8; 8]>()) {
        let header = ipv6::Fragment::parse(&bytes);
        prop_assert!(header.offset.is_multiple_of(8));
        bytes[1] = 0;
        bytes[3] &= !6;
        prop_assert_eq!(header.to_bytes(), bytes);
    }

    /// Whatever the chain, the walk ends inside the packet, and so does what it complains about.
    #[test]
    fn a_chain_of_any_bytes_is_walked_to_an_end(
        (first, payload) in nearly_chain(),
        limits in any::<(u8, u8)>().prop_map(|(headers, options)| ipv6::Limits { headers, options }),
    ) {
        let payload_len = u16::try_from(payload.len()).unwrap();
        let header = ipv6::Header {
            source: Ipv6Addr::LOCALHOST,
            destination: Ipv6Addr::LOCALHOST,
            next_header: Protocol(first),
            hop_limit: 1,
            traffic_class: 0,
            flow_label: 0,
            payload_len,
        };
        let mut packet = vec![0; 40];
        header.emit(&mut packet);
        packet.extend(&payload);
        match ipv6::Chain::walk(&header, &payload, &limits) {
            Ok(chain) => {
                prop_assert!(chain.start <= packet.len());
                prop_assert_eq!(packet[chain.named_at], chain.protocol.0);
                let outline = ip::Outline::of(&packet).unwrap();
                prop_assert_eq!(
                    (outline.start, outline.protocol, outline.end),
                    (chain.start, chain.protocol, packet.len())
                );
                prop_assert_eq!(outline.fragment.is_some(), chain.fragment.is_some());
                if let Some(fragment) = chain.fragment {
                    prop_assert!(!fragment.header.is_atomic());
                    prop_assert_eq!(packet[fragment.named_at], Protocol::FRAGMENT.0);
                    prop_assert_eq!(fragment.start + 8, chain.start);
                }
            }
            Err(malformed) => {
                prop_assert!(!malformed.to_string().is_empty());
                if let Some(answer) = malformed.answer() {
                    // The length of a header that is cut short may be just behind the end.
                    prop_assert!(answer.pointer as usize <= packet.len());
                }
            }
        }
    }

    #[test]
    fn icmp_emit_parse(header in icmp_header(), payload in payload()) {
        let mut message = vec![0xaa; header.encoded_len()];
        prop_assert_eq!(header.emit(&mut message), message.len());
        message.extend(&payload);
        prop_assert_eq!(icmpv4::Header::parse(&message), Ok((header, &payload[..])));
        icmpv4::fill_checksum(&mut message);
        prop_assert!(icmpv4::is_checksum_valid(&message));
    }

    #[test]
    fn icmpv6_emit_parse(
        header in icmpv6_header(),
        payload in payload(),
        source in any::<Ipv6Addr>(),
        destination in any::<Ipv6Addr>(),
    ) {
        let mut message = vec![0xaa; header.encoded_len()];
        prop_assert_eq!(header.emit(&mut message), message.len());
        message.extend(&payload);
        prop_assert_eq!(icmpv6::Header::parse(&message), Ok((header, &payload[..])));
        icmpv6::fill_checksum(source, destination, &mut message);
        prop_assert!(icmpv6::is_checksum_valid(source, destination, &message));
    }

    /// What an error quotes is found again behind any chain of extension headers.
    #[test]
    fn icmpv6_quotes_any_packet((first, payload) in nearly_chain(), cut in any::<prop::sample::Index>()) {
        let header = ipv6::Header {
            source: Ipv6Addr::LOCALHOST,
            destination: Ipv6Addr::LOCALHOST,
            next_header: Protocol(first),
            hop_limit: 1,
            traffic_class: 0,
            flow_label: 0,
            payload_len: u16::try_from(payload.len()).unwrap(),
        };
        let mut quote = vec![0; 40];
        header.emit(&mut quote);
        quote.extend(&payload);
        let error = icmpv6::Header::PacketTooBig { mtu: 1280 };
        let whole = error.quoted(&quote);
        if let Ok(chain) = ipv6::Chain::walk(&header, &payload, &ipv6::Limits::DEFAULT) {
            let quoted = whole.unwrap();
            prop_assert_eq!((quoted.header, quoted.protocol), (header, chain.protocol));
            prop_assert_eq!(quoted.transport, &quote[chain.start..]);
        }
        quote.truncate(cut.index(quote.len() + 1));
        if let Some(quoted) = error.quoted(&quote) {
            let _ = (quoted.ports(), quoted.sequence(), quoted.echo());
        }
    }

    #[test]
    fn udp_emit_parse(
        ports in any::<(u16, u16)>(),
        payload in payload(),
        source in any::<IpAddr>(),
        destination in any::<IpAddr>(),
    ) {
        let header = udp::Header {
            source_port: ports.0,
            destination_port: ports.1,
            payload_len: u16::try_from(payload.len()).unwrap(),
        };
        let mut datagram = vec![0xaa; header.encoded_len()];
        prop_assert_eq!(header.emit(&mut datagram), datagram.len());
        datagram.extend(&payload);
        prop_assert_eq!(udp::Header::parse(&datagram), Ok((header, &payload[..])));
        prop_assert_eq!(udp::is_checksum_valid(source, destination, &datagram), source.is_ipv4());
        udp::fill_checksum(source, destination, &mut datagram);
        prop_assert!(udp::is_checksum_valid(source, destination, &datagram));
        prop_assert_ne!(udp::View::new(&datagram).unwrap().checksum(), 0);
    }

    #[test]
    fn tcp_emit_parse(
        header in tcp_header(),
        payload in payload(),
        source in any::<IpAddr>(),
        destination in any::<IpAddr>(),
    ) {
        let mut segment = vec![0xaa; header.encoded_len()];
        prop_assert_eq!(header.emit(&mut segment), segment.len());
        segment.extend(&payload);
        prop_assert_eq!(tcp::Header::parse(&segment), Ok((header, &payload[..])));
        tcp::fill_checksum(source, destination, &mut segment);
        prop_assert!(tcp::is_checksum_valid(source, destination, &segment));
    }

    #[test]
    fn vnet_any_ten_bytes(bytes in any::<[u8; 10]>()) {
        let (header, packet) = vnet::Header::parse(&bytes).unwrap();
        prop_assert!(packet.is_empty());
        prop_assert_eq!(header.to_bytes(), bytes);
    }

    #[test]
    fn what_parses_as_tcp_emits_to_the_same(segment in nearly_tcp()) {
        let _ = format!("{:?}", tcp::View::new(&segment).unwrap().options().collect::<Vec<_>>());
        if let Ok((header, payload)) = tcp::Header::parse(&segment) {
            let mut again = vec![0; header.encoded_len()];
            header.emit(&mut again);
            again.extend(payload);
            prop_assert_eq!(tcp::Header::parse(&again), Ok((header, payload)));
        }
    }

    #[test]
    fn what_parses_as_ipv4_emits_to_the_same(packet in nearly_ipv4()) {
        let _ = format!("{:?}", ipv4::View::new(&packet).unwrap().options().collect::<Vec<_>>());
        if let Ok((header, payload)) = ipv4::Header::parse(&packet) {
            let mut again = vec![0; header.encoded_len()];
            header.emit(&mut again);
            again.extend(payload);
            prop_assert_eq!(ipv4::Header::parse(&again), Ok((header, payload)));
        }
    }

    #[test]
    fn what_parses_as_icmp_emits_to_the_same(kind in 0u8..20, mut message in payload()) {
        if let Some(first) = message.first_mut() {
            *first = kind;
        }
        if let Ok((header, payload)) = icmpv4::Header::parse(&message) {
            let mut again = vec![0; header.encoded_len()];
            header.emit(&mut again);
            again.extend(payload);
            prop_assert_eq!(icmpv4::Header::parse(&again), Ok((header, payload)));
            let _ = header.quoted(payload).map(|quoted| (quoted.ports(), quoted.sequence(), quoted.echo()));
        }
    }

    /// Options in any combination: what is emitted is at most 40 bytes and well formed, and
    /// nothing is made up.
    #[test]
    fn too_many_options_are_left_out_not_broken(
        mss in prop::option::of(1u16..),
        window_scale in prop::option::of(any::<u8>()),
        times in prop::option::of(timestamps()),
        sack in blocks(4),
        authentication in prop::option::of(authentication()),
    ) {
        let options = tcp::Options {
            mss,
            window_scale,
            sack_permitted: true,
            timestamps: times,
            sack,
            fast_open: Some(tcp::FastOpenCookie::REQUEST),
            authentication,
        };
        let mut buf = [0xaa; 40];
        let length = options.emit(&mut buf);
        prop_assert_eq!(length, options.encoded_len());
        prop_assert!(length.is_multiple_of(4));
        let read = tcp::Options::parse(&buf[..length]);
        prop_assert!(read.mss.is_none() || read.mss == options.mss);
        prop_assert!(read.timestamps.is_none() || read.timestamps == options.timestamps);
        prop_assert!(read.authentication.is_none() || read.authentication == options.authentication);
        prop_assert!(options.sack.as_slice().starts_with(read.sack.as_slice()));
        let is_good = |option| !matches!(
            option,
            tcp::TcpOption::BadLength { .. } | tcp::TcpOption::WrongSize { .. }
        );
        prop_assert!(tcp::OptionsIter::new(&buf[..length]).all(is_good));
    }

    #[test]
    fn nothing_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = ethernet::Header::parse(&bytes).map(|(header, _)| header.to_string());
        let _ = ethernet::Tagged::parse(&bytes).map(|(header, _)| header.to_string());
        let _ = arp::Packet::parse(&bytes).map(|packet| packet.to_string());
        let _ = ipv4::Header::parse(&bytes).map(|(header, _)| header.to_string());
        let _ = ipv4::Header::parse_quoted(&bytes).map(|(header, _)| header.to_string());
        let _ = ipv6::Header::parse(&bytes).map(|(header, _)| header.to_string());
        let _ = ipv6::Header::parse_quoted(&bytes).map(|(header, _)| header.to_string());
        let _ = ip::Header::parse(&bytes).map(|(header, _)| header.to_string());
        let _ = ip::Outline::of(&bytes);
        let _ = icmpv4::Header::parse(&bytes).map(|(header, _)| header.to_string());
        let _ = icmpv6::Header::parse(&bytes).map(|(header, _)| header.to_string());
        let _ = udp::Header::parse(&bytes).map(|(header, _)| header.to_string());
        let _ = tcp::Header::parse(&bytes).map(|(header, _)| header.to_string());
        if let Some(view) = ipv4::View::new(&bytes) {
            let _ = (view.payload(), view.is_checksum_valid(), view.options().count());
        }
        if let Some(view) = tcp::View::new(&bytes) {
            let _ = (view.payload(), view.reserved(), view.options().count());
        }
        if let Some(view) = udp::View::new(&bytes) {
            let _ = view.payload();
        }
    }

    /// The rows of any packet stand in its order and cover every bit exactly once.
    #[test]
    fn annotations_cover_every_bit_once(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..120), nearly_ipv4()],
        protocol in prop_oneof![Just(1u8), Just(6), Just(17), any::<u8>()],
        ethernet in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut packet = bytes;
        if let Some(place) = packet.get_mut(9) {
            *place = protocol;
        }
        let start = if ethernet {
            let mut frame = vec![2; 12];
            frame.extend([8, u8::from(protocol % 4 == 3) * 6]);
            frame.extend(&packet);
            packet = frame;
            Start::Ethernet
        } else {
            Start::Ip
        };
        packet.truncate(cut.index(packet.len() + 1).max(packet.len() / 2));
        let mut next = 0;
        for row in annotate(&packet, start) {
            prop_assert_eq!(row.packet_bit_offset(), next, "{}", row);
            next += row.bit_len;
        }
        prop_assert_eq!(next, packet.len() * 8);
    }
}
