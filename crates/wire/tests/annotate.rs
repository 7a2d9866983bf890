//! The annotated table of packets that are whole, cut short, and lying.

use std::net::Ipv4Addr;

use estab_wire::annotate::{Row, Start, Verdict, annotate};
use estab_wire::ethernet::{EtherType, EthernetAddress};
use estab_wire::ip::Protocol;
use estab_wire::{arp, checksum, ethernet, icmpv4, ipv4, tcp, udp};

const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

fn ipv4_packet(protocol: Protocol, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Header {
        source: THERE,
        destination: HERE,
        protocol,
        ttl: 64,
        traffic_class: 0,
        identification: 7,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: u16::try_from(payload.len()).unwrap(),
        options: ipv4::Options::from_bytes(options).unwrap(),
    };
    let mut packet = vec![0; header.encoded_len()];
    header.emit(&mut packet);
    packet.extend(payload);
    packet
}

fn tcp_segment(payload: &[u8]) -> Vec<u8> {
    let header = tcp::Header {
        source_port: 40_000,
        destination_port: 80,
        sequence: 1_000,
        acknowledgment: 2_000,
        flags: tcp::Flags::PSH_ACK,
        window: 512,
        urgent: 0,
        options: tcp::Options {
            timestamps: Some(tcp::Timestamps { value: 1, echo: 2 }),
            sack: [(3_000, 4_000)].into_iter().collect(),
            ..tcp::Options::NONE
        },
    };
    let mut segment = vec![0; header.encoded_len()];
    header.emit(&mut segment);
    segment.extend(payload);
    tcp::fill_checksum(THERE.into(), HERE.into(), &mut segment);
    segment
}

fn udp_datagram(payload: &[u8]) -> Vec<u8> {
    let payload_len = u16::try_from(payload.len()).unwrap();
    let header = udp::Header { source_port: 5_000, destination_port: 53, payload_len };
    let mut datagram = vec![0; header.encoded_len()];
    header.emit(&mut datagram);
    datagram.extend(payload);
    udp::fill_checksum(THERE.into(), HERE.into(), &mut datagram);
    datagram
}

fn table(packet: &[u8], start: Start) -> String {
    let mark = |row: &Row| match row.verdict {
        Verdict::Plain => "",
        Verdict::Right => " [right]",
        Verdict::Wrong => " [WRONG]",
        Verdict::Partial => " [PARTIAL]",
        Verdict::Malformed => " [MALFORMED]",
    };
    let rows = annotate(packet, start);
    rows.iter().map(|row| format!("{row}{}\n", mark(row))).collect()
}

fn row(packet: &[u8], name: &str) -> Row {
    annotate(packet, Start::Ip).into_iter().rfind(|row| row.name == name).unwrap()
}

#[test]
fn arp_in_ethernet_with_padding() {
    let mut frame = vec![0; 60];
    let station = EthernetAddress([2, 0, 0, 0, 0, 1]);
    let header = ethernet::Header {
        destination: EthernetAddress::BROADCAST,
        source: station,
        ethertype: EtherType::ARP,
    };
    let request = arp::Packet {
        operation: arp::Operation::REQUEST,
        sender_hardware: station,
        sender_protocol: THERE,
        target_hardware: EthernetAddress::UNSPECIFIED,
        target_protocol: HERE,
    };
    header.emit(&mut frame);
    request.emit(&mut frame[14..]);
    insta::assert_snapshot!(table(&frame, Start::Ethernet));
}

#[test]
fn tcp_with_data_and_sack() {
    insta::assert_snapshot!(table(
        &ipv4_packet(Protocol::TCP, &[], &tcp_segment(b"GET / HTTP/1.1\r\n")),
        Start::Ip
    ));
}

#[test]
fn udp_behind_ip_options() {
    // Router alert, record route with one address written, a timestamp, end of list.
    let options = [
        148, 4, 0, 0, 7, 11, 8, 10, 0, 0, 1, 0, 0, 0, 0, 68, 12, 13, 0x11, 10, 0, 0, 1, 0, 1, 2, 3,
        0,
    ];
    insta::assert_snapshot!(table(
        &ipv4_packet(Protocol::UDP, &options, &udp_datagram(&[1, 2, 3])),
        Start::Ip
    ));
}

#[test]
fn icmp_quotes_a_cut_segment() {
    let quoted = ipv4_packet(Protocol::TCP, &[], &tcp_segment(b"much data"));
    let header = icmpv4::Header::DestinationUnreachable {
        code: icmpv4::UnreachableCode::FRAGMENTATION_NEEDED,
        next_hop_mtu: 1_400,
    };
    let mut message = vec![0; header.encoded_len()];
    header.emit(&mut message);
    message.extend(&quoted[..28]);
    icmpv4::fill_checksum(&mut message);
    let (parsed, payload) = icmpv4::Header::parse(&message).unwrap();
    let quote = parsed.quoted(payload).unwrap();
    assert_eq!(quote.ports(), Some((40_000, 80)));
    assert_eq!(quote.sequence(), Some(1_000));
    insta::assert_snapshot!(table(&ipv4_packet(Protocol::ICMP, &[], &message), Start::Ip));
}

#[test]
fn checksums_are_judged() {
    let good = ipv4_packet(Protocol::TCP, &[], &tcp_segment(b"data"));
    let right = tcp::View::new(&good[20..]).unwrap().checksum();
    assert_eq!(row(&good, "checksum").verdict, Verdict::Right);

    let mut wrong = good.clone();
    wrong[36] ^= 0x55;
    let judged = row(&wrong, "checksum");
    assert_eq!(judged.verdict, Verdict::Wrong);
    assert_eq!(judged.meaning, format!("wrong: it should be {right:#06x}"));

    let mut partial = good.clone();
    let length = u32::try_from(good.len() - 20).unwrap();
    let pseudo = checksum::pseudo_header(THERE.into(), HERE.into(), Protocol::TCP, length);
    tcp::store_checksum(&mut partial[20..], pseudo.partial());
    assert_eq!(row(&partial, "checksum").verdict, Verdict::Partial);

    // The header's checksum was right before, so the byte after the change tells what it must be.
    let mut wrong = good.clone();
    wrong[8] = 63;
    let judged = row(&wrong, "header checksum");
    let expected = checksum::update_u16(
        ipv4::View::new(&good).unwrap().checksum(),
        u16::from_be_bytes([64, 6]),
        u16::from_be_bytes([63, 6]),
    );
    assert_eq!(judged.verdict, Verdict::Wrong);
    assert_eq!(judged.meaning, format!("wrong: it should be {expected:#06x}"));

    // A packet cut short cannot be judged.
    assert_eq!(row(&good[..good.len() - 1], "checksum").verdict, Verdict::Plain);

    let mut without = ipv4_packet(Protocol::UDP, &[], &udp_datagram(b"data"));
    without[26..28].fill(0);
    assert_eq!(row(&without, "checksum").meaning, "none was made");
}

#[test]
fn lies_are_told_and_the_rest_explained() {
    let mut packet = ipv4_packet(Protocol::TCP, &[], &tcp_segment(b"data"));
    packet[0] = 0x43; // a header of 3 words
    packet[2..4].copy_from_slice(&[0xff, 0xff]); // a packet of 65 535 bytes
    packet[20 + 12] = 0xf0; // a TCP header of 60 bytes
    packet[20 + 22] = 0x44; // instead of the timestamps an option that is not known
    packet[20 + 23] = 99; // and is longer than all options
    insta::assert_snapshot!(table(&packet, Start::Ip));
}

#[test]
fn options_of_a_wrong_size_are_passed_over() {
    let mut segment = tcp_segment(b"");
    segment[20..32].copy_from_slice(&[2, 3, 9, 8, 2, 3, 3, 20, 0, 7, 7, 7]);
    tcp::fill_checksum(THERE.into(), HERE.into(), &mut segment);
    let (header, _) = tcp::Header::parse(&segment).unwrap();
    assert_eq!(header.options.window_scale, Some(14));
    assert_eq!((header.options.mss, header.options.timestamps), (None, None));
    insta::assert_snapshot!(table(&ipv4_packet(Protocol::TCP, &[], &segment), Start::Ip));
}

#[test]
fn what_is_not_explained_is_payload() {
    let unknown = ipv4_packet(Protocol(99), &[], b"1234");
    assert_eq!(row(&unknown, "payload").meaning, "4 bytes: \"1234\"");
    let mut fragment = ipv4_packet(Protocol::UDP, &[], b"12345678");
    fragment[6..8].copy_from_slice(&[0, 100]);
    assert_eq!(row(&fragment, "payload").meaning, "bytes 800 to 808 of a fragmented packet");
    assert_eq!(annotate(&[], Start::Ethernet), []);
}
