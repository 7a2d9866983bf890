//! etherparse reads what we write, and we read what it writes.

use std::net::{IpAddr, Ipv4Addr};

use estab_wire::ethernet::{EtherType, EthernetAddress};
use estab_wire::ip::Protocol;
use estab_wire::{arp, checksum, icmpv4, icmpv6, ipv4, ipv6, tcp, udp};
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, Icmpv4Header, Icmpv4Slice, Icmpv6Header, Icmpv6Type, IpDscp,
    IpEcn, IpFragOffset, IpNumber, Ipv4Header, Ipv4HeaderSlice, Ipv4Options, Ipv6Extensions,
    Ipv6FlowLabel, Ipv6FragmentHeader, Ipv6Header, TcpHeader, TcpHeaderSlice, TcpOptionElement,
    UdpHeader,
};
use proptest::prelude::*;

fn v4(octets: [u8; 4]) -> IpAddr {
    IpAddr::V4(octets.into())
}

/// The same IPv4 header for both.
fn their_ipv4() -> impl Strategy<Value = Ipv4Header> {
    (
        any::<([u8; 4], [u8; 4])>(),
        any::<(u8, u8, u16, bool)>(),
        (0u8..64, 0u8..4, 0u16..8_000, 0u16..200),
        (any::<[u8; 40]>(), 0usize..=10),
    )
        .prop_map(
            |(addresses, (protocol, ttl, id, df), (dscp, ecn, offset, length), options)| {
                let (bytes, words) = options;
                let mut header =
                    Ipv4Header::new(length, ttl, IpNumber(protocol), addresses.0, addresses.1)
                        .unwrap();
                header.identification = id;
                header.dont_fragment = df;
                header.dscp = IpDscp::try_new(dscp).unwrap();
                header.ecn = IpEcn::try_new(ecn).unwrap();
                header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
                header.options = Ipv4Options::try_from(&bytes[..words * 4]).unwrap();
                header.total_len = u16::try_from(header.header_len()).unwrap() + length;
                header.header_checksum = header.calc_header_checksum();
                header
            },
        )
}

fn their_tcp_options() -> impl Strategy<Value = Vec<TcpOptionElement>> {
    let blocks = |blocks: Vec<(u32, u32)>| {
        let mut rest = [None; 3];
        for (place, block) in rest.iter_mut().zip(&blocks[1..]) {
            *place = Some(*block);
        }
        TcpOptionElement::SelectiveAcknowledgement(blocks[0], rest)
    };
    let option = prop_oneof![
        Just(TcpOptionElement::Noop),
        (1u16..).prop_map(TcpOptionElement::MaximumSegmentSize),
        (0u8..=14).prop_map(TcpOptionElement::WindowScale),
        Just(TcpOptionElement::SelectiveAcknowledgementPermitted),
        any::<(u32, u32)>().prop_map(|(value, echo)| TcpOptionElement::Timestamp(value, echo)),
        prop::collection::vec(any::<(u32, u32)>(), 1..=2).prop_map(blocks),
    ];
    prop::collection::vec(option, 0..4)
}

fn their_tcp() -> impl Strategy<Value = (TcpHeader, Vec<TcpOptionElement>)> {
    (any::<(u16, u16, u32, u32)>(), any::<(u16, u16, u16)>(), their_tcp_options()).prop_filter_map(
        "the options fit into 40 bytes",
        |((source, destination, sequence, acknowledgment), (flags, window, urgent), options)| {
            let mut header = TcpHeader::new(source, destination, sequence, window);
            header.acknowledgment_number = acknowledgment;
            header.urgent_pointer = urgent;
            header.fin = flags & 1 != 0;
            header.syn = flags & 2 != 0;
            header.rst = flags & 4 != 0;
            header.psh = flags & 8 != 0;
            header.ack = flags & 16 != 0;
            header.urg = flags & 32 != 0;
            header.ece = flags & 64 != 0;
            header.cwr = flags & 128 != 0;
            header.ns = flags & 256 != 0;
            header.set_options(&options).ok()?;
            Some((header, options))
        },
    )
}

fn flags_of(header: &TcpHeader) -> tcp::Flags {
    use tcp::Flags;
    let flags = [
        (header.fin, Flags::FIN),
        (header.syn, Flags::SYN),
        (header.rst, Flags::RST),
        (header.psh, Flags::PSH),
        (header.ack, Flags::ACK),
        (header.urg, Flags::URG),
        (header.ece, Flags::ECE),
        (header.cwr, Flags::CWR),
        (header.ns, Flags::AE),
    ];
    flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect()
}

proptest! {
    #[test]
    fn ipv4_fields_agree(theirs in their_ipv4()) {
        let mut packet = theirs.to_bytes().to_vec();
        packet.resize(usize::from(theirs.total_len), 0);
        let (ours, payload) = ipv4::Header::parse(&packet).unwrap();
        prop_assert_eq!(ours.source, Ipv4Addr::from(theirs.source));
        prop_assert_eq!(ours.destination, Ipv4Addr::from(theirs.destination));
        prop_assert_eq!(ours.protocol.0, theirs.protocol.0);
        prop_assert_eq!(ours.ttl, theirs.time_to_live);
        prop_assert_eq!(ours.traffic_class, theirs.dscp.value() << 2 | theirs.ecn.value());
        prop_assert_eq!(ours.identification, theirs.identification);
        prop_assert_eq!(ours.dont_fragment, theirs.dont_fragment);
        prop_assert_eq!(ours.fragment_offset, theirs.fragment_offset.value() * 8);
        prop_assert_eq!(ours.options.as_bytes(), theirs.options.as_slice());
        prop_assert_eq!(payload.len(), usize::from(ours.payload_len));

        let mut emitted = vec![0; ours.encoded_len()];
        ours.emit(&mut emitted);
        prop_assert_eq!(&emitted, &packet[..emitted.len()]);
        prop_assert_eq!(Ipv4HeaderSlice::from_slice(&emitted).unwrap().to_header(), theirs);
    }

    #[test]
    fn ipv6_fields_and_fragments_agree(
        addresses in any::<([u8; 16], [u8; 16])>(),
        (traffic_class, flow_label, hop_limit) in (any::<u8>(), 0u32..1 << 20, any::<u8>()),
        (offset, more, identification) in (0u16..8_000, any::<bool>(), any::<u32>()),
        payload in prop::collection::vec(any::<u8>(), 8..=8),
    ) {
        let fragment = Ipv6FragmentHeader::new(
            IpNumber::UDP,
            IpFragOffset::try_new(offset).unwrap(),
            more,
            identification,
        );
        let theirs = Ipv6Header {
            traffic_class,
            flow_label: Ipv6FlowLabel::try_new(flow_label).unwrap(),
            payload_length: 16,
            next_header: IpNumber::IPV6_FRAGMENTATION_HEADER,
            hop_limit,
            source: addresses.0,
            destination: addresses.1,
        };
        let mut packet = theirs.to_bytes().to_vec();
        packet.extend(fragment.to_bytes());
        packet.extend(&payload);
        let (ours, rest) = ipv6::Header::parse(&packet).unwrap();
        prop_assert_eq!((ours.traffic_class, ours.flow_label), (traffic_class, flow_label));
        prop_assert_eq!((ours.hop_limit, ours.payload_len), (hop_limit, 16));
        prop_assert_eq!((ours.source.octets(), ours.destination.octets()), addresses);
        let mut emitted = [0; 40];
        ours.emit(&mut emitted);
        prop_assert_eq!(emitted, theirs.to_bytes());

        let chain = ipv6::Chain::walk(&ours, rest, &ipv6::Limits::DEFAULT).unwrap();
        prop_assert_eq!(chain.fragment.is_some(), fragment.is_fragmenting_payload());
        if let Some(placed) = chain.fragment {
            prop_assert_eq!(placed.header.offset, offset * 8);
            prop_assert_eq!(placed.header.identification, identification);
            prop_assert_eq!(placed.header.to_bytes(), fragment.to_bytes());
        }
    }

    /// Where they find the end of a chain of extension headers, so do we.
    #[test]
    fn ipv6_chains_agree(
        lengths in prop::collection::vec(0u8..3, 0..=3),
        payload in prop::collection::vec(any::<u8>(), 8..60),
    ) {
        // Hop-by-hop, then destination options, then routing: each once, as etherparse wants.
        let kinds = [0, 60, 43];
        let mut headers = Vec::new();
        for (index, units) in lengths.iter().enumerate() {
            let next = if index + 1 < lengths.len() { kinds[index + 1] } else { 17 };
            let length = usize::from(*units) * 8 + 6;
            let option = u8::try_from(length - 2).unwrap();
            headers.extend([next, *units]);
            headers.extend(if kinds[index] == 43 { [4, 0] } else { [0x1e, option] });
            headers.extend(vec![0; length - 2]);
        }
        let first = if lengths.is_empty() { 17 } else { kinds[0] };
        let bytes = [&headers[..], &payload].concat();
        let (_, their_protocol, their_rest) =
            Ipv6Extensions::from_slice(IpNumber(first), &bytes).unwrap();
        let header = ipv6::Header {
            source: [0; 16].into(),
            destination: [0; 16].into(),
            next_header: Protocol(first),
            hop_limit: 1,
            traffic_class: 0,
            flow_label: 0,
            payload_len: u16::try_from(bytes.len()).unwrap(),
        };
        let chain = ipv6::Chain::walk(&header, &bytes, &ipv6::Limits::DEFAULT).unwrap();
        prop_assert_eq!(chain.protocol.0, their_protocol.0);
        prop_assert_eq!(&bytes[chain.start - 40..], their_rest);
    }

    #[test]
    fn icmpv6_agrees(
        addresses in any::<([u8; 16], [u8; 16])>(),
        (identifier, sequence, mtu) in any::<(u16, u16, u32)>(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let echo = etherparse::IcmpEchoHeader { id: identifier, seq: sequence };
        for (header, theirs) in [
            (icmpv6::Header::EchoRequest { identifier, sequence }, Icmpv6Type::EchoRequest(echo)),
            (icmpv6::Header::PacketTooBig { mtu }, Icmpv6Type::PacketTooBig { mtu }),
        ] {
            let mut message = vec![0; header.encoded_len()];
            header.emit(&mut message);
            message.extend(&payload);
            icmpv6::fill_checksum(addresses.0.into(), addresses.1.into(), &mut message);
            let expected =
                Icmpv6Header::with_checksum(theirs, addresses.0, addresses.1, &payload).unwrap();
            prop_assert_eq!(&message[..8], &expected.to_bytes()[..]);
        }
    }

    #[test]
    fn tcp_fields_and_checksums_agree(
        (mut theirs, options) in their_tcp(),
        addresses in any::<([u8; 4], [u8; 4])>(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        theirs.checksum = theirs.calc_checksum_ipv4_raw(addresses.0, addresses.1, &payload).unwrap();
        let mut segment = theirs.to_bytes().to_vec();
        segment.extend(&payload);
        let (ours, our_payload) = tcp::Header::parse(&segment).unwrap();
        prop_assert_eq!(our_payload, &payload[..]);
        prop_assert_eq!(ours.source_port, theirs.source_port);
        prop_assert_eq!(ours.destination_port, theirs.destination_port);
        prop_assert_eq!(ours.sequence, theirs.sequence_number);
        prop_assert_eq!(ours.acknowledgment, theirs.acknowledgment_number);
        prop_assert_eq!(ours.window, theirs.window_size);
        prop_assert_eq!(ours.urgent, theirs.urgent_pointer);
        prop_assert_eq!(ours.flags, flags_of(&theirs));
        let last = |pick: &dyn Fn(&TcpOptionElement) -> Option<u32>| options.iter().rev().find_map(pick);
        prop_assert_eq!(ours.options.mss.map(u32::from), last(&|option| match option {
            TcpOptionElement::MaximumSegmentSize(mss) => Some(u32::from(*mss)),
            _ => None,
        }));
        prop_assert_eq!(ours.options.window_scale.map(u32::from), last(&|option| match option {
            TcpOptionElement::WindowScale(shift) => Some(u32::from(*shift)),
            _ => None,
        }));
        prop_assert_eq!(ours.options.timestamps.map(|times| times.value), last(&|option| match option {
            TcpOptionElement::Timestamp(value, _) => Some(*value),
            _ => None,
        }));
        prop_assert!(tcp::is_checksum_valid(v4(addresses.0), v4(addresses.1), &segment));
        tcp::fill_checksum(v4(addresses.0), v4(addresses.1), &mut segment);
        prop_assert_eq!(tcp::View::new(&segment).unwrap().checksum(), theirs.checksum);

        // What we emit, they read as the same header and the same options.
        let mut emitted = vec![0; ours.encoded_len()];
        ours.emit(&mut emitted);
        let read = TcpHeaderSlice::from_slice(&emitted).unwrap();
        prop_assert_eq!(flags_of(&read.to_header()), ours.flags);
        let mut again: Vec<_> = read.options_iterator().map(Result::unwrap).collect();
        again.retain(|option| *option != TcpOptionElement::Noop);
        for option in again {
            prop_assert!(options.contains(&option), "{:?} was not there", option);
        }
    }

    #[test]
    fn udp_fields_agree(ports in any::<(u16, u16)>(), payload in prop::collection::vec(any::<u8>(), 0..100)) {
        let theirs =
            UdpHeader::without_ipv4_checksum(ports.0, ports.1, payload.len()).unwrap();
        let datagram = [&theirs.to_bytes()[..], &payload].concat();
        let (ours, rest) = udp::Header::parse(&datagram).unwrap();
        prop_assert_eq!((ours.source_port, ours.destination_port), ports);
        prop_assert_eq!(rest, &payload);
        let mut emitted = [0; udp::HEADER_LEN];
        ours.emit(&mut emitted);
        prop_assert_eq!(&emitted, &theirs.to_bytes());
    }

    #[test]
    fn arp_fields_agree(
        hardware in any::<([u8; 6], [u8; 6])>(),
        addresses in any::<([u8; 4], [u8; 4])>(),
        operation in any::<u16>(),
    ) {
        let theirs = ArpEthIpv4Packet {
            operation: ArpOperation(operation),
            sender_mac: hardware.0,
            sender_ipv4: addresses.0,
            target_mac: hardware.1,
            target_ipv4: addresses.1,
        };
        let ours = arp::Packet {
            operation: arp::Operation(operation),
            sender_hardware: EthernetAddress(hardware.0),
            sender_protocol: addresses.0.into(),
            target_hardware: EthernetAddress(hardware.1),
            target_protocol: addresses.1.into(),
        };
        let mut emitted = [0; arp::PACKET_LEN];
        ours.emit(&mut emitted);
        prop_assert_eq!(&emitted, &theirs.to_bytes());
        prop_assert_eq!(arp::Packet::parse(&theirs.to_bytes()), Ok(ours));
        prop_assert_eq!(EtherType::ARP.0, etherparse::EtherType::ARP.0);
    }

    #[test]
    fn udp_checksums_agree(
        ports in any::<(u16, u16)>(),
        addresses in any::<([u8; 16], [u8; 16])>(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let theirs =
            UdpHeader::with_ipv4_checksum(ports.0, ports.1, &ipv4_of(&addresses), &payload).unwrap();
        let mut datagram = theirs.to_bytes().to_vec();
        datagram.extend(&payload);
        let (source, destination) = (v4(quarter(&addresses.0)), v4(quarter(&addresses.1)));
        prop_assert!(udp::is_checksum_valid(source, destination, &datagram));
        udp::fill_checksum(source, destination, &mut datagram);
        prop_assert_eq!(&datagram[..8], &theirs.to_bytes());

        let (source, destination) = (IpAddr::from(addresses.0), IpAddr::from(addresses.1));
        datagram[6..8].fill(0);
        let ours = checksum::transport(source, destination, Protocol::UDP, &datagram);
        let theirs = UdpHeader { checksum: 0, ..theirs }
            .calc_checksum_ipv6_raw(addresses.0, addresses.1, &payload)
            .unwrap();
        prop_assert_eq!(if ours == 0 { 0xffff } else { ours }, theirs);
    }

    #[test]
    fn icmp_echo_agrees(
        identifier in any::<u16>(),
        sequence in any::<u16>(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let header = icmpv4::Header::EchoRequest { identifier, sequence };
        let mut message = vec![0; header.encoded_len()];
        header.emit(&mut message);
        message.extend(&payload);
        icmpv4::fill_checksum(&mut message);
        let theirs = Icmpv4Slice::from_slice(&message).unwrap();
        let echo = etherparse::IcmpEchoHeader { id: identifier, seq: sequence };
        let expected = Icmpv4Header::with_checksum(etherparse::Icmpv4Type::EchoRequest(echo), &payload);
        prop_assert_eq!(theirs.header(), expected);
    }
}

fn quarter(address: &[u8; 16]) -> [u8; 4] {
    [address[0], address[1], address[2], address[3]]
}

fn ipv4_of(addresses: &([u8; 16], [u8; 16])) -> Ipv4Header {
    Ipv4Header::new(0, 64, IpNumber::UDP, quarter(&addresses.0), quarter(&addresses.1)).unwrap()
}
