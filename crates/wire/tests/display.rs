//! One line each, as tcpdump prints it.

use estab_wire::tcp::{FastOpenCookie, Flags, Header, Options, Timestamps};
use estab_wire::{arp, ethernet, icmpv4, udp};

fn segment(flags: Flags, options: Options) -> Header {
    Header {
        source_port: 1,
        destination_port: 2,
        sequence: 1_001,
        acknowledgment: 5_001,
        flags,
        window: 512,
        urgent: 3,
        options,
    }
}

fn times(value: u32, echo: u32) -> Option<Timestamps> {
    Some(Timestamps { value, echo })
}

#[test]
fn tcp_segments() {
    let mut lines = Vec::new();
    let syn = Options {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: times(1, 0),
        ..Options::NONE
    };
    let just_times = Options { timestamps: times(7, 8), ..Options::NONE };
    let sack = Options { sack: [(5_101, 5_201)].into_iter().collect(), ..just_times };
    let cookie = Options { fast_open: FastOpenCookie::new(&[1, 2, 3, 4]), ..Options::NONE };
    let request = Options { fast_open: Some(FastOpenCookie::REQUEST), ..Options::NONE };
    for (flags, options, length) in [
        (Flags::SYN, syn, 0),
        (Flags::SYN_ACK, syn, 0),
        (Flags::ACK, just_times, 0),
        (Flags::ACK, sack, 0),
        (Flags::PSH_ACK, just_times, 100),
        (Flags::FIN_ACK, Options::NONE, 0),
        (Flags::RST, Options::NONE, 0),
        (Flags::ACK | Flags::URG | Flags::ECE | Flags::CWR | Flags::AE, Options::NONE, 1),
        (Flags::empty(), Options::NONE, 0),
        (Flags::SYN, cookie, 0),
        (Flags::SYN, request, 0),
    ] {
        let header = segment(flags, options);
        lines.push(header.summary(length).to_string());
        lines.push(header.summary(length).relative_to(1_000, 5_000).to_string());
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_others() {
    let address = "02:00:00:00:00:01".parse().unwrap();
    let ethertype = ethernet::EtherType::ARP;
    let header = ethernet::Header { destination: address, source: address, ethertype };
    let mut packet = arp::Packet {
        operation: arp::Operation::REQUEST,
        sender_hardware: address,
        sender_protocol: [10, 77, 0, 2].into(),
        target_hardware: address,
        target_protocol: [10, 77, 0, 1].into(),
    };
    assert_eq!(header.to_string(), "02:00:00:00:00:01 > 02:00:00:00:00:01, ethertype ARP (0x0806)");
    assert_eq!(packet.to_string(), "ARP, Request who-has 10.77.0.1 tell 10.77.0.2");
    packet.operation = arp::Operation::REPLY;
    assert_eq!(packet.to_string(), "ARP, Reply 10.77.0.2 is-at 02:00:00:00:00:01");
    let header = udp::Header { source_port: 5_000, destination_port: 53, payload_len: 33 };
    assert_eq!(header.to_string(), "UDP, 5000 > 53, length 33");
    let code = icmpv4::UnreachableCode::PORT;
    let header = icmpv4::Header::DestinationUnreachable { code, next_hop_mtu: 0 };
    assert_eq!(header.to_string(), "ICMP unreachable - port unreachable");
    let header = icmpv4::Header::EchoRequest { identifier: 7, sequence: 1 };
    assert_eq!(header.to_string(), "ICMP echo request, id 7, seq 1");
}
