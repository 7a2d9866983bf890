//! Each misbehaviour has its own name, and its sentence.

use std::net::Ipv4Addr;

use estab_wire::ethernet::{EtherType, EthernetAddress};
use estab_wire::ip::Protocol;
use estab_wire::{arp, checksum, ethernet, icmpv4, icmpv6, ipv4, ipv6, tcp, udp};

/// An IPv4 packet of 28 bytes, changed by `change`, with a right checksum.
fn ipv4_with(change: impl FnOnce(&mut [u8; 28])) -> [u8; 28] {
    let mut packet = [0; 28];
    let header = ipv4::Header {
        source: Ipv4Addr::LOCALHOST,
        destination: Ipv4Addr::LOCALHOST,
        protocol: Protocol::UDP,
        ttl: 1,
        traffic_class: 0,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: 8,
        options: ipv4::Options::NONE,
    };
    header.emit(&mut packet);
    change(&mut packet);
    packet[10..12].fill(0);
    let header_len = (usize::from(packet[0] & 15) * 4).clamp(20, 28);
    let sum = checksum::sum(&packet[..header_len]).finish();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn ipv4() {
    use ipv4::Malformed;
    let error = |packet: &[u8]| ipv4::Header::parse(packet).unwrap_err();
    assert_eq!(error(&[0x45; 19]), Malformed::Truncated { length: 19 });
    assert_eq!(error(&ipv4_with(|packet| packet[0] = 0x65)), Malformed::Version(6));
    assert_eq!(
        error(&ipv4_with(|packet| packet[0] = 0x44)),
        Malformed::HeaderTooShort { words: 4 }
    );
    assert_eq!(
        error(&ipv4_with(|packet| packet[0] = 0x48)),
        Malformed::HeaderBeyondPacket { header_len: 32, length: 28 }
    );
    assert_eq!(
        error(&ipv4_with(|packet| packet[3] = 19)),
        Malformed::TotalLengthTooShort { stated: 19, header_len: 20 }
    );
    assert_eq!(
        error(&ipv4_with(|packet| packet[3] = 29)),
        Malformed::TotalLengthBeyondPacket { stated: 29, length: 28 }
    );
    assert_eq!(
        error(&ipv4_with(|packet| packet[2..8].copy_from_slice(&[0, 27, 0, 0, 0x20, 0]))),
        Malformed::FragmentLength { length: 7 }
    );
    assert_eq!(
        error(&ipv4_with(|packet| packet[6..8].copy_from_slice(&[0x1f, 0xff]))),
        Malformed::FragmentBeyondEnd { offset: 65_528, length: 8 }
    );
    let mut flipped = ipv4_with(|_| {});
    flipped[8] ^= 1;
    assert!(matches!(error(&flipped), Malformed::Checksum { .. }));
    assert!(ipv4::Header::parse(&ipv4_with(|_| {})).is_ok());
    // A router may quote it all the same.
    assert!(ipv4::Header::parse_quoted(&flipped).is_ok());
    assert!(ipv4::Header::parse_quoted(&ipv4_with(|packet| packet[3] = 200)).is_ok());
}

#[test]
fn tcp() {
    use tcp::Malformed;
    let segment = |words: u8, length: usize| {
        let mut segment = vec![0; length];
        segment[12] = words << 4;
        segment
    };
    let error = |segment: &[u8]| tcp::Header::parse(segment).unwrap_err();
    assert_eq!(error(&[0; 19]), Malformed::Truncated { length: 19 });
    assert_eq!(error(&segment(4, 40)), Malformed::HeaderTooShort { words: 4 });
    assert_eq!(
        error(&segment(6, 23)),
        Malformed::HeaderBeyondSegment { header_len: 24, length: 23 }
    );
    assert!(tcp::Header::parse(&segment(6, 24)).is_ok());
}

#[test]
fn tcp_option_that_lies_ends_the_list_and_keeps_what_was_good() {
    use tcp::{OptionsIter, TcpOption, kind};
    let bytes = [2, 4, 5, 0xb4, 8, 11, 0, 0, 0, 1, 0, 0, 0, 2];
    let options = tcp::Options::parse(&bytes);
    assert_eq!(options.mss, Some(1460));
    assert_eq!(options.timestamps, None);
    let read: Vec<_> = OptionsIter::new(&bytes).collect();
    let bad = TcpOption::BadLength { kind: kind::TIMESTAMPS, length: Some(11) };
    assert_eq!(read, [TcpOption::MaximumSegmentSize(1460), bad]);
    for (bytes, length) in [(&[3u8, 1, 7][..], Some(1)), (&[3, 0], Some(0)), (&[3], None)] {
        let read: Vec<_> = OptionsIter::new(bytes).collect();
        assert_eq!(read, [TcpOption::BadLength { kind: kind::WINDOW_SCALE, length }]);
    }
    // What follows the end of the list is padding, whatever it looks like.
    assert_eq!(tcp::Options::parse(&[0, 2, 4, 5, 0xb4]), tcp::Options::NONE);
}

#[test]
fn udp() {
    use udp::Malformed;
    let error = |datagram: &[u8]| udp::Header::parse(datagram).unwrap_err();
    assert_eq!(error(&[0; 7]), Malformed::Truncated { length: 7 });
    assert_eq!(error(&[0, 1, 0, 2, 0, 7, 0, 0]), Malformed::LengthTooShort { stated: 7 });
    assert_eq!(
        error(&[0, 1, 0, 2, 0, 9, 0, 0]),
        Malformed::LengthBeyondPacket { stated: 9, length: 8 }
    );
    let (header, payload) = udp::Header::parse(&[0, 1, 0, 2, 0, 9, 0, 0, 0xaa, 0xbb]).unwrap();
    assert_eq!((header.payload_len, payload), (1, &[0xaa][..]));
}

#[test]
fn icmp() {
    use icmpv4::Malformed;
    let error = |message: &[u8]| icmpv4::Header::parse(message).unwrap_err();
    assert_eq!(error(&[8; 7]), Malformed::Truncated { length: 7, needed: 8 });
    assert_eq!(error(&[13; 19]), Malformed::Truncated { length: 19, needed: 20 });
}

#[test]
fn arp() {
    use arp::Malformed;
    let packet = {
        let mut bytes = [0; 28];
        arp::Packet {
            operation: arp::Operation::REPLY,
            sender_hardware: EthernetAddress([2; 6]),
            sender_protocol: Ipv4Addr::LOCALHOST,
            target_hardware: EthernetAddress([4; 6]),
            target_protocol: Ipv4Addr::LOCALHOST,
        }
        .emit(&mut bytes);
        bytes
    };
    let error = |at: usize, value: u8| {
        let mut packet = packet;
        packet[at] = value;
        arp::Packet::parse(&packet).unwrap_err()
    };
    assert_eq!(error(1, 6), Malformed::HardwareType(6));
    assert_eq!(error(3, 6), Malformed::ProtocolType(EtherType(0x0806)));
    assert_eq!(error(4, 8), Malformed::AddressLengths { hardware: 8, protocol: 4 });
    assert_eq!(error(5, 16), Malformed::AddressLengths { hardware: 6, protocol: 16 });
    assert_eq!(arp::Packet::parse(&packet[..27]), Err(Malformed::Truncated { length: 27 }));
}

#[test]
fn ethernet() {
    use ethernet::Malformed;
    let error = |frame: &[u8]| ethernet::Header::parse(frame).unwrap_err();
    assert_eq!(error(&[0; 13]), Malformed::Truncated { length: 13 });
    assert_eq!(
        error(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0, 38]),
        Malformed::NotEthernetII { length: 38 }
    );
    for text in ["", "02:00:00:00:00", "02:00:00:00:00:01:02", "02:00:00:00:00:+1", "2:0:0:0:0:100"]
    {
        assert!(text.parse::<EthernetAddress>().is_err(), "{text}");
    }
}

#[test]
fn vlan() {
    use ethernet::{Malformed, Tag, Tagged};
    let frame = |behind: &[u8]| [&[2; 12][..], behind].concat();
    let error = |behind: &[u8]| Tagged::parse(&frame(behind)).unwrap_err();
    let tag = Tag { priority: 5, drop_eligible: true, vlan: 7 };
    let whole = frame(&[0x81, 0, 0xb0, 7, 8, 0, 1]);
    let (tagged, payload) = Tagged::parse(&whole).unwrap();
    assert_eq!((tagged.tag, tagged.header.ethertype), (Some(tag), EtherType::IPV4));
    assert_eq!(payload, [1]);
    assert_eq!(error(&[0x81, 0, 0xb0, 7, 8]), Malformed::TagTruncated { length: 3 });
    assert_eq!(error(&[0x81, 0, 0, 7, 0, 60]), Malformed::NotEthernetII { length: 60 });
    let stacked = Malformed::StackedTags { outer: tag, inner: EtherType::VLAN };
    assert_eq!(error(&[0x88, 0xa8, 0xb0, 7, 0x81, 0, 0, 1, 8, 0]), stacked);
}

#[test]
fn groups_have_ethernet_addresses() {
    let of = |text: &str| {
        EthernetAddress::of_group(text.parse().unwrap()).map(|address| address.to_string())
    };
    assert_eq!(of("224.0.0.251").as_deref(), Some("01:00:5e:00:00:fb"));
    assert_eq!(of("239.255.1.2").as_deref(), Some("01:00:5e:7f:01:02"));
    assert_eq!(of("255.255.255.255").as_deref(), Some("ff:ff:ff:ff:ff:ff"));
    assert_eq!(of("ff02::1:ff00:2").as_deref(), Some("33:33:ff:00:00:02"));
    assert_eq!(of("10.77.0.1"), None);
    assert_eq!(of("fd77::1"), None);
}

#[test]
fn ipv6() {
    use ipv6::Malformed;
    let error = |packet: &[u8]| ipv6::Header::parse(packet).unwrap_err();
    let mut packet = [0; 48];
    packet[0] = 0x60;
    packet[5] = 9;
    assert_eq!(error(&packet[..39]), Malformed::Truncated { length: 39 });
    assert_eq!(error(&packet), Malformed::PayloadLengthBeyondPacket { stated: 9, length: 8 });
    assert!(ipv6::Header::parse_quoted(&packet).is_ok(), "a router may cut it");
    packet[0] = 0x45;
    assert_eq!(error(&packet), Malformed::Version(4));
    assert_eq!(icmpv6::Header::parse(&[128; 7]), Err(icmpv6::Malformed::Truncated { length: 7 }));
}

#[test]
fn sentences() {
    let sentence = ipv4::Malformed::TotalLengthBeyondPacket { stated: 60, length: 40 }.to_string();
    assert_eq!(sentence, "the packet states a length of 60 bytes, but 40 are there");
    let sentence = tcp::Malformed::HeaderTooShort { words: 4 }.to_string();
    assert_eq!(sentence, "the TCP header states a length of 4 words; the shortest has 5");
}

#[test]
fn options_that_fit_only_without_fillers_are_all_written() {
    use tcp::{Authentication, Options, kind};
    let options = Options {
        mss: Some(1460),
        sack: [(1, 2), (3, 4)].into_iter().collect(),
        authentication: Authentication::new(kind::MD5_SIGNATURE, &[7; 16]),
        ..Options::NONE
    };
    let mut buf = [0; 40];
    assert_eq!(options.emit(&mut buf), 40);
    assert_eq!(Options::parse(&buf), options);

    // One more does not fit at all: the last SACK block goes, the fillers come back.
    let options = Options { timestamps: Some(tcp::Timestamps::default()), ..options };
    let length = options.emit(&mut buf);
    let read = Options::parse(&buf[..length]);
    assert_eq!(read, Options { sack: tcp::SackBlocks::NONE, ..options });
}
