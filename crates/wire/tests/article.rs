//! The 60 bytes of a SYN that curl sent through a TUN device, field by field, and the table that
//! explains them.

use std::net::{IpAddr, Ipv4Addr};

use estab_wire::annotate::{Start, Verdict, annotate};
use estab_wire::ip::Protocol;
use estab_wire::{ipv4, tcp};

const SYN: [u8; 60] = [
    0x45, 0x00, 0x00, 0x3c, 0x80, 0x40, 0x40, 0x00, 0x40, 0x06, 0xa4, 0x79, 0x0b, 0x00, 0x00, 0x01,
    0x0b, 0x00, 0x00, 0x02, 0xbb, 0xf8, 0x00, 0x50, 0x08, 0xa8, 0x4a, 0x04, 0x00, 0x00, 0x00, 0x00,
    0xa0, 0x02, 0xfa, 0xf0, 0x67, 0x67, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a,
    0xbf, 0xb6, 0x00, 0xfa, 0x00, 0x00, 0x00, 0x00, 0x01, 0x03, 0x03, 0x07,
];
const CLIENT: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 2);

fn parsed() -> (ipv4::Header, tcp::Header) {
    let (ip, segment) = ipv4::Header::parse(&SYN).unwrap();
    let (tcp, payload) = tcp::Header::parse(segment).unwrap();
    assert_eq!(payload, b"");
    (ip, tcp)
}

#[test]
fn every_field_is_read() {
    let (ip, tcp) = parsed();
    assert_eq!(
        ip,
        ipv4::Header {
            source: CLIENT,
            destination: SERVER,
            protocol: Protocol::TCP,
            ttl: 64,
            traffic_class: 0,
            identification: 0x8040,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: 40,
            options: ipv4::Options::NONE,
        }
    );
    assert_eq!(
        tcp,
        tcp::Header {
            source_port: 48_120,
            destination_port: 80,
            sequence: 145_246_724,
            acknowledgment: 0,
            flags: tcp::Flags::SYN,
            window: 64_240,
            urgent: 0,
            options: tcp::Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: Some(tcp::Timestamps { value: 0xbfb6_00fa, echo: 0 }),
                ..tcp::Options::NONE
            },
        }
    );
}

#[test]
fn emission_is_byte_identical() {
    let (ip, tcp) = parsed();
    let mut packet = [0xaa; 60];
    let ip_len = ip.emit(&mut packet);
    let tcp_len = tcp.emit(&mut packet[ip_len..]);
    assert_eq!(ip_len + tcp_len, SYN.len());
    tcp::fill_checksum(IpAddr::V4(CLIENT), IpAddr::V4(SERVER), &mut packet[ip_len..]);
    assert_eq!(packet, SYN);
}

#[test]
fn one_line_reads_like_tcpdump() {
    let (ip, tcp) = parsed();
    assert_eq!(
        ip.to_string(),
        "11.0.0.1 > 11.0.0.2: TCP, tos 0x0, ttl 64, id 32832, offset 0, flags [DF], length 60"
    );
    assert_eq!(
        tcp.summary(0).to_string(),
        "Flags [S], seq 145246724, win 64240, \
         options [mss 1460,sackOK,TS val 3216376058 ecr 0,nop,wscale 7], length 0"
    );
}

#[test]
fn the_table_explains_every_field() {
    let rows = annotate(&SYN, Start::Ip);
    let table: Vec<String> = rows.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(table.join("\n"));
    assert!(rows.iter().all(|row| row.verdict != Verdict::Malformed));
}
