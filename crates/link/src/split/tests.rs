use proptest::prelude::*;
use wire::checksum::is_transport_valid;
use wire::ipv4;

use super::*;

/// A super-segment of TCP over IPv4 whose checksum is partial, as the stack gives it to a link.
pub(crate) fn super_segment(
    headers: usize,
    segment_size: u16,
    payload: usize,
    flags: u8,
) -> (Vec<u8>, NonZeroU16) {
    let tcp_header = headers - 20;
    let mut frame = vec![0; headers];
    frame.extend((0..payload).map(|i| (i % 251) as u8));
    let length = u16::try_from(frame.len()).expect("an IP packet");
    frame[0] = 0x45;
    frame[2..4].copy_from_slice(&length.to_be_bytes());
    frame[4..6].copy_from_slice(&0xfffeu16.to_be_bytes());
    frame[6] = 0x40;
    frame[8] = 64;
    frame[9] = 6;
    frame[12..16].copy_from_slice(&[10, 77, 0, 2]);
    frame[16..20].copy_from_slice(&[10, 77, 0, 1]);
    let sum = checksum::sum(&frame[..20]).finish();
    frame[10..12].copy_from_slice(&sum.to_be_bytes());
    frame[20..24].copy_from_slice(&[0, 80, 0xbc, 0]);
    frame[24..28].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
    frame[32] = ((tcp_header / 4) << 4) as u8;
    frame[33] = flags;
    leave_partial(&mut frame, 20);
    (frame, NonZeroU16::new(segment_size).expect("not zero"))
}

/// The same over IPv6.
pub(crate) fn super_segment_v6(
    segment_size: u16,
    payload: usize,
    flags: u8,
) -> (Vec<u8>, NonZeroU16) {
    let (v4, size) = super_segment(40, segment_size, payload, flags);
    let mut frame = vec![0; 40];
    frame.extend_from_slice(&v4[20..]);
    let length = u16::try_from(frame.len() - 40).expect("an IP packet");
    frame[0] = 0x60;
    frame[4..6].copy_from_slice(&length.to_be_bytes());
    frame[6..8].copy_from_slice(&[6, 64]);
    frame[8] = 0xfd;
    frame[23] = 2;
    frame[24] = 0xfd;
    frame[39] = 1;
    leave_partial(&mut frame, 40);
    (frame, size)
}

fn leave_partial(frame: &mut [u8], transport: usize) {
    let layout = locate(Medium::Ip, frame).expect("a packet");
    let length = u32::try_from(frame.len() - transport).expect("an IP packet");
    let sum = checksum::pseudo_header(layout.source, layout.destination, Protocol::TCP, length);
    frame[transport + 16..transport + 18].copy_from_slice(&sum.partial().to_be_bytes());
}

fn cut(medium: Medium, frame: &[u8], size: NonZeroU16) -> Vec<Vec<u8>> {
    let mut pieces = split(medium, frame, size).expect("TCP");
    let (expected, mut all, mut out) = (pieces.remaining(), Vec::new(), Vec::new());
    while pieces.next_into(&mut out) {
        all.push(out.clone());
    }
    assert_eq!((all.len(), pieces.remaining()), (expected, 0));
    all
}

#[test]
fn a_cut_segment_reads_as_if_it_had_been_sent_in_pieces() {
    // CWR, ACK, PSH, FIN; the sequence number and the identification wrap on the way.
    let (frame, size) = super_segment(40, 1000, 2500, 0x99);
    let pieces = cut(Medium::Ip, &frame, size);
    let seen: Vec<_> = pieces
        .iter()
        .map(|piece| {
            let ip = ipv4::View::new(piece).expect("IPv4");
            let tcp = tcp::View::new(&piece[20..]).expect("TCP");
            (ip.total_len(), ip.identification(), tcp.sequence(), piece[33])
        })
        .collect();
    assert_eq!(
        seen,
        [
            (1040, 0xfffe, 0xffff_ff00, 0x90),
            (1040, 0xffff, 0x0000_02e8, 0x10),
            (540, 0x0000, 0x0000_06d0, 0x19),
        ]
    );
}

#[test]
fn what_is_no_whole_packet_is_not_cut() {
    let (frame, size) = super_segment(40, 1000, 2500, 0x10);
    let refused = |change: fn(&mut Vec<u8>)| {
        let mut frame = frame.clone();
        change(&mut frame);
        split(Medium::Ip, &frame, size).map(|_| ()).unwrap_err()
    };
    refused(|frame| frame[9] = 1);
    refused(|frame| frame[6] = 0x20);
    refused(|frame| frame[0] = 0x4f);
    refused(|frame| frame[0] = 0x75);
    refused(|frame| frame[32] = 0x40);
    refused(|frame| frame.truncate(30));
    refused(|frame| frame.truncate(100));
    refused(Vec::clear);
}

#[test]
fn datagrams_of_both_families_are_cut() {
    let destination_options = [17, 0, 1, 4, 0, 0, 0, 0];
    for headers in [20, 40, 48] {
        let mut frame = vec![0; headers];
        let payload_len = 8 + 2500;
        if headers == 20 {
            let header = ipv4::Header {
                source: [10, 77, 0, 2].into(),
                destination: [10, 77, 0, 1].into(),
                protocol: Protocol::UDP,
                ttl: 64,
                traffic_class: 0,
                identification: 7,
                dont_fragment: true,
                more_fragments: false,
                fragment_offset: 0,
                payload_len,
                options: ipv4::Options::NONE,
            };
            header.emit(&mut frame);
        } else {
            let header = ipv6::Header {
                source: "fd77::2".parse().unwrap(),
                destination: "fd77::1".parse().unwrap(),
                next_header: if headers == 40 { Protocol::UDP } else { Protocol(60) },
                hop_limit: 64,
                traffic_class: 0,
                flow_label: 7,
                payload_len: payload_len + u16::try_from(headers - 40).unwrap(),
            };
            header.emit(&mut frame);
            frame[40..].copy_from_slice(&destination_options[..headers - 40]);
        }
        let mut datagram = vec![0; 8];
        udp::Header { source_port: 53, destination_port: 99, payload_len: 2500 }
            .emit(&mut datagram);
        frame.extend(datagram);
        frame.extend((0..2500).map(|i| (i % 251) as u8));
        let pieces = cut(Medium::Ip, &frame, NonZeroU16::new(1000).unwrap());
        let mut together = Vec::<u8>::new();
        for piece in &pieces {
            let layout = locate(Medium::Ip, piece).expect("a whole packet");
            assert_eq!(layout.ip, 0..piece.len());
            let datagram = &piece[layout.transport..];
            assert!(udp::is_checksum_valid(layout.source, layout.destination, datagram));
            let (header, payload) = udp::Header::parse(datagram).unwrap();
            assert_eq!((header.source_port, header.destination_port), (53, 99));
            together.extend(payload);
        }
        assert_eq!(pieces.len(), 3);
        assert_eq!(together, frame[headers + 8..]);
    }
}

#[test]
fn a_checksum_is_completed_over_ipv6() {
    let (partial, _) = super_segment_v6(1000, 101, 0x10);
    let mut by_hand = partial.clone();
    assert!(fill_checksum(Medium::Ip, &mut by_hand));
    let mut completed = partial;
    assert!(complete_checksum(&mut completed, 40, 16));
    assert_eq!(completed, by_hand);
    let layout = locate(Medium::Ip, &completed).expect("a packet");
    let segment = &completed[layout.transport..];
    assert!(is_transport_valid(layout.source, layout.destination, Protocol::TCP, segment));
}

#[test]
fn an_empty_segment_is_one_packet() {
    let (frame, size) = super_segment(40, 1000, 0, 0x11);
    let pieces = cut(Medium::Ip, &frame, size);
    assert_eq!(pieces.len(), 1);
    assert_eq!(pieces[0][33], 0x11, "it is first and last");
}

#[test]
fn a_padded_ethernet_frame_loses_its_padding() {
    let (packet, size) = super_segment(40, 1000, 3, 0x10);
    let mut frame = vec![0; 12];
    frame.extend([8, 0]);
    frame.extend(&packet);
    frame.extend([0xee; 20]);
    let medium = Medium::Ethernet(wire::ethernet::EthernetAddress::default());
    let pieces = cut(medium, &frame, size);
    assert_eq!(pieces[0].len(), 14 + 43);
}

proptest! {
    /// Cutting loses no byte, and every packet is right by itself.
    #[test]
    fn pieces_join_to_the_whole(size in 1u16..3000, payload in 0usize..20_000, flags: u8, options in 0usize..=10, v6: bool) {
        let (frame, size) = if v6 {
            super_segment_v6(size, payload, flags)
        } else {
            super_segment(40 + options * 4, size, payload, flags)
        };
        let mut joined = Vec::new();
        let mut next = None;
        for piece in cut(Medium::Ip, &frame, size) {
            let layout = locate(Medium::Ip, &piece).expect("a whole packet");
            prop_assert_eq!(layout.ip.end, piece.len());
            prop_assert!(v6 || ipv4::View::new(&piece).expect("IPv4").is_checksum_valid());
            let segment = &piece[layout.transport..];
            prop_assert!(is_transport_valid(layout.source, layout.destination, Protocol::TCP, segment));
            let tcp = tcp::View::new(segment).expect("TCP");
            prop_assert!(tcp.payload().len() <= usize::from(size.get()));
            prop_assert!(next.is_none_or(|next| next == tcp.sequence()));
            next = Some(tcp.sequence().wrapping_add(tcp.payload().len() as u32));
            joined.extend_from_slice(tcp.payload());
        }
        let whole = locate(Medium::Ip, &frame).expect("a whole packet");
        let header = usize::from(frame[whole.transport + 12] >> 4) * 4;
        prop_assert_eq!(&joined[..], &frame[whole.transport + header..]);
    }

    /// Both ways to complete a checksum agree, and what they make is valid.
    #[test]
    fn completing_is_computing_anew(payload in 0usize..3000, v6: bool) {
        let (frame, _) =
            if v6 { super_segment_v6(1000, payload, 0x10) } else { super_segment(40, 1000, payload, 0x10) };
        let start = if v6 { 40 } else { 20 };
        let (mut completed, mut filled) = (frame.clone(), frame);
        prop_assert!(complete_checksum(&mut completed, start, 16));
        prop_assert!(fill_checksum(Medium::Ip, &mut filled));
        let layout = locate(Medium::Ip, &filled).expect("a packet");
        for frame in [completed, filled] {
            let segment = &frame[usize::from(start)..];
            prop_assert!(is_transport_valid(layout.source, layout.destination, Protocol::TCP, segment));
        }
    }

    /// Nothing here panics on any bytes.
    #[test]
    fn any_bytes_are_survived(mut frame in prop::collection::vec(any::<u8>(), 0..120), first in prop::sample::select(vec![0x45u8, 0x46, 0x60, 0x4f]), start: u16, offset: u16, size in 1u16..50) {
        if let Some(byte) = frame.first_mut() { *byte = first; }
        for medium in [Medium::Ip, Medium::Ethernet(wire::ethernet::EthernetAddress::default())] {
            let size = NonZeroU16::new(size).expect("not zero");
            if let Ok(mut pieces) = split(medium, &frame, size) {
                let mut out = Vec::new();
                while pieces.next_into(&mut out) {}
            }
            fill_checksum(medium, &mut frame);
            complete_checksum(&mut frame, start, offset);
        }
    }
}
