//! The same over IPv6: the kernel pings us and sends super-segments, and we it.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddrV6, TcpStream};
use std::num::NonZeroU16;
use std::time::Duration;

use link::{Link, Netlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use rustix::net::{bind, connect, recv, send, socket_with};
use wire::ethernet::{self, EtherType};
use wire::frame::{FrameBuf, Medium, ReceiveChecksum, ReceiveMeta, TransmitChecksum, TransmitMeta};
use wire::ip::Protocol;
use wire::ndp::{self, NdpOption};
use wire::{checksum, icmpv6, ipv6, tcp};

use crate::{NOW, emit_ethernet, wait};

pub(crate) const KERNEL: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const OURS: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// The kernel's port, one of its ephemeral ones. Its first byte is the type of an echo request, so
/// that who takes a segment for a message of ICMPv6 is found out each time and not once in a hundred.
const PORT: u16 = 0x8050;

/// Gives the kernel its IPv6 address on the interface `name`, which is up or not. `false` when
/// this kernel has no IPv6.
pub(crate) fn configure(name: &str) -> io::Result<bool> {
    match Netlink::open()?.add_address(name, KERNEL.into(), 64) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Err(_) if !std::fs::exists("/proc/sys/net/ipv6")? => Ok(false),
        other => other.map(|()| true),
    }
}

/// The kernel pings us through the link; we answer.
pub(crate) fn ping(link: &mut impl Link) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = Some(ipproto::ICMPV6);
    let socket = socket_with(AddressFamily::INET6, SocketType::RAW, flags, protocol)?;
    connect(&socket, &SocketAddrV6::new(OURS, 0, 0, 0))?;
    let request = icmpv6::Header::EchoRequest { identifier: 0x77, sequence: 1 };
    let mut message = vec![0; request.encoded_len()];
    request.emit(&mut message);
    message.extend_from_slice(b"are you there?");
    // The kernel fills the checksum of ICMPv6 (RFC 3542 section 3.1).
    send(&socket, &message, SendFlags::empty())?;
    for _ in 0..5000 {
        answer(link)?;
        let mut reply = [0; 200];
        if let Ok((length, _)) = recv(&socket, &mut reply, RecvFlags::empty())
            && reply[0] == icmpv6::kind::ECHO_REPLY
        {
            let (header, payload) = icmpv6::Header::parse(&reply[..length]).expect("ICMPv6");
            assert_eq!(header, icmpv6::Header::EchoReply { identifier: 0x77, sequence: 1 });
            assert_eq!(payload, b"are you there?");
            return Ok(());
        }
        link.descriptor().into_iter().for_each(wait);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to the ping"))
}

/// Answers one frame if it is an echo request.
fn answer(link: &mut impl Link) -> io::Result<()> {
    let Some((packet, meta)) = next_packet(link)? else { return Ok(()) };
    let (ip, message) = ipv6::Header::parse(&packet).expect("IPv6");
    if ip.next_header != Protocol::ICMPV6 {
        return Ok(());
    }
    let Ok((icmpv6::Header::EchoRequest { identifier, sequence }, payload)) =
        icmpv6::Header::parse(message)
    else {
        return Ok(());
    };
    assert_eq!(meta.segment_size, None);
    let reply = icmpv6::Header::EchoReply { identifier, sequence };
    let mut message = vec![0; reply.encoded_len()];
    reply.emit(&mut message);
    message.extend_from_slice(payload);
    icmpv6::fill_checksum(OURS, KERNEL, &mut message);
    send_ip(link, Protocol::ICMPV6, 64, &message, &[], TransmitMeta::default())
}

/// The next IPv6 packet to us, and its meta. Solicitations are answered on the way.
fn next_packet(link: &mut impl Link) -> io::Result<Option<(Vec<u8>, ReceiveMeta)>> {
    let mut frame = FrameBuf::with_capacity(link::buffer_size(&link.capabilities()));
    while let Some(meta) = link.receive(NOW, &mut frame)? {
        let packet = match link.capabilities().medium {
            Medium::Ip => &frame[..],
            Medium::Ethernet(_) => match ethernet::Header::parse(&frame).expect("a frame") {
                (header, payload) if header.ethertype == EtherType::IPV6 => payload,
                _ => continue,
            },
        };
        let Ok((ip, message)) = ipv6::Header::parse(packet) else { continue };
        if let Ok((ndp::Header::NeighborSolicitation { target: OURS }, _)) =
            ndp::Header::parse(&ip, message)
        {
            advertise(link)?;
        } else if ip.destination == OURS {
            return Ok(Some((packet.to_vec(), meta)));
        }
    }
    Ok(None)
}

fn advertise(link: &mut impl Link) -> io::Result<()> {
    let Medium::Ethernet(own) = link.capabilities().medium else { return Ok(()) };
    let header = ndp::Header::NeighborAdvertisement {
        target: OURS,
        is_router: false,
        is_solicited: true,
        is_override: true,
    };
    let mut message = vec![0; header.encoded_len() + 8];
    header.emit(&mut message);
    NdpOption::TargetLinkLayer(own).emit(&mut message[header.encoded_len()..]);
    icmpv6::fill_checksum(OURS, KERNEL, &mut message);
    send_ip(link, Protocol::ICMPV6, ndp::HOP_LIMIT, &message, &[], TransmitMeta::default())
}

fn send_ip(
    link: &mut impl Link,
    next_header: Protocol,
    hop_limit: u8,
    transport: &[u8],
    payload: &[u8],
    mut meta: TransmitMeta,
) -> io::Result<()> {
    let before = if link.capabilities().medium == Medium::Ip { 0 } else { 14 };
    let header = ipv6::Header {
        source: OURS,
        destination: KERNEL,
        next_header,
        hop_limit,
        traffic_class: 0,
        flow_label: 0,
        payload_len: u16::try_from(transport.len() + payload.len()).expect("an IP packet"),
    };
    let mut bytes = vec![0; before + header.encoded_len()];
    emit_ethernet(link, EtherType::IPV6, &mut bytes);
    header.emit(&mut bytes[before..]);
    let start = u16::try_from(bytes.len()).expect("a header");
    if meta.segment_size.is_some() {
        meta.checksum = TransmitChecksum::Partial { start, offset: 16 };
    }
    bytes.extend_from_slice(transport);
    let slices: Vec<&[u8]> = payload.chunks(7000).collect();
    link.send(NOW, &bytes, &slices, &meta)
}

/// The next TCP segment.
fn segment(link: &mut impl Link) -> io::Result<(Vec<u8>, ReceiveMeta)> {
    for _ in 0..5000 {
        while let Some((packet, meta)) = next_packet(link)? {
            let (ip, segment) = ipv6::Header::parse(&packet).expect("IPv6");
            if ip.next_header != Protocol::TCP {
                continue;
            }
            if meta.checksum == ReceiveChecksum::Unverified {
                assert!(tcp::is_checksum_valid(ip.source.into(), ip.destination.into(), segment));
            }
            return Ok((segment.to_vec(), meta));
        }
        link.descriptor().into_iter().for_each(wait);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no TCP segment came"))
}

fn send_segment(
    link: &mut impl Link,
    header: &tcp::Header,
    payload: &[u8],
    segment_size: Option<NonZeroU16>,
) -> io::Result<()> {
    let mut segment = vec![0; header.encoded_len()];
    header.emit(&mut segment);
    if segment_size.is_some() {
        let length = u32::try_from(segment.len() + payload.len()).expect("an IP packet");
        let pseudo = checksum::pseudo_header(OURS.into(), KERNEL.into(), Protocol::TCP, length);
        tcp::store_checksum(&mut segment, pseudo.partial());
    } else {
        tcp::fill_checksum(OURS.into(), KERNEL.into(), &mut segment);
    }
    let meta = TransmitMeta { segment_size, ..TransmitMeta::default() };
    send_ip(link, Protocol::TCP, 64, &segment, payload, meta)
}

/// The kernel connects to us and sends a super-segment, and we it one of 40,000 bytes.
pub(crate) fn fetch(link: &mut impl Link) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV6::new(KERNEL, PORT, 0, 0))?;
    let _in_progress = connect(&socket, &SocketAddrV6::new(OURS, 80, 0, 0));
    let (syn, _) = segment(link)?;
    let (syn, _) = tcp::Header::parse(&syn).expect("TCP");
    assert_eq!(syn.flags, tcp::Flags::SYN);
    assert_eq!(syn.options.mss, Some(1440), "1500 less both headers");
    let mut stream = TcpStream::from(socket);
    let mut header = tcp::Header {
        source_port: 80,
        destination_port: syn.source_port,
        sequence: 0,
        acknowledgment: syn.sequence.wrapping_add(1),
        flags: tcp::Flags::SYN | tcp::Flags::ACK,
        window: 65_535,
        urgent: 0,
        options: tcp::Options { mss: Some(1300), ..tcp::Options::NONE },
    };
    send_segment(link, &header, &[], None)?;
    let (ack, _) = segment(link)?;
    assert_eq!(tcp::View::new(&ack).expect("TCP").flags(), tcp::Flags::ACK);
    stream.write_all(&[0x5a; 5000])?;
    let (sent, meta) = segment(link)?;
    let sent = tcp::View::new(&sent).expect("TCP").payload().len();
    assert_eq!(meta.checksum, ReceiveChecksum::Partial);
    assert_eq!(meta.segment_size.map(NonZeroU16::get), Some(1300));
    assert!(sent > 1300, "a super-segment of {sent} bytes");

    let sent = u32::try_from(sent).expect("a segment");
    header.acknowledgment = header.acknowledgment.wrapping_add(sent);
    (header.sequence, header.flags, header.options) = (1, tcp::Flags::ACK, tcp::Options::NONE);
    let payload: Vec<u8> =
        (0..40_000u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    send_segment(link, &header, &payload, NonZeroU16::new(1400))?;
    let mut got = vec![0; payload.len()];
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.read_exact(&mut got)?;
    assert!(got == payload, "the kernel read what we sent");
    Ok(())
}

/// Nothing comes by itself from a kernel that has but a quiet IPv6 address there.
pub(crate) fn is_quiet(link: &mut impl Link) -> io::Result<()> {
    let mut frame = FrameBuf::with_capacity(link::buffer_size(&link.capabilities()));
    for _ in 0..100 {
        if link.receive(NOW, &mut frame)?.is_some() {
            let seen = frame.escape_ascii().to_string();
            return Err(io::Error::other(format!("a frame nobody asked for: {seen}")));
        }
        link.descriptor().into_iter().for_each(wait);
    }
    Ok(())
}
