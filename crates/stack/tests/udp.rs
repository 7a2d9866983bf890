//! UDP sockets: RFC 768, RFC 1122 4.1, and what programs know from `std::net::UdpSocket`.

mod host;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use estab_stack::event::Ready;
use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, SocketId};
use host::*;
use wire::frame::{FrameBuf, Medium, ReceiveMeta, TransmitChecksum};
use wire::ip::Protocol;
use wire::{checksum, ipv4, udp};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn to_us(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    datagram(&header(Protocol::UDP), ports, payload)
}

#[test]
fn a_datagram_comes_with_its_sender() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 10]), Err(Error::WouldBlock));
    host.arrives(&to_us((1000, 7), b"hello"));
    let event = host.stack.poll_event().unwrap();
    assert_eq!((event.socket, event.ready), (SocketId::Udp(id), Ready::READ));
    assert!(host.stack.readiness(SocketId::Udp(id)).contains(Ready::READ));
    let mut buffer = [0; 10];
    assert_eq!(host.stack.udp_peek_from(id, &mut buffer[..2]), Ok((2, v4(THEM, 1000))));
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((5, v4(THEM, 1000))));
    assert_eq!(&buffer[..5], b"hello");
    assert!(!host.stack.readiness(SocketId::Udp(id)).contains(Ready::READ));
}

/// RFC 768: "If not used, a value of zero is inserted." There is nobody to answer, and the stack does not.
#[test]
fn a_sender_without_a_port_is_shown_as_it_is() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    host.arrives(&to_us((0, 7), b"hello"));
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 10]), Ok((5, v4(THEM, 0))));
    let answer = host.stack.udp_send_to(host.now, id, b"!", v4(THEM, 0));
    assert_eq!(answer, Err(Error::InvalidInput));
    host.sends_nothing();
}

/// As with `recvfrom`: what does not fit into the buffer is lost, and the next call gets the next
/// datagram.
#[test]
fn a_long_datagram_is_cut_to_the_buffer() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    host.arrives(&to_us((1000, 7), b"first"));
    host.arrives(&to_us((1000, 7), b""));
    let mut buffer = [0; 3];
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((3, v4(THEM, 1000))));
    assert_eq!(&buffer, b"fir");
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((0, v4(THEM, 1000))));
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Err(Error::WouldBlock));
}

#[test]
fn a_datagram_goes_as_it_was_written() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    host.stack.udp_set_ttl(id, Some(3)).unwrap();
    assert_eq!(host.stack.udp_send_to(host.now, id, b"hello", v4(THEM, 7)), Ok(5));
    let bytes = host.sends_one();
    let (ip, udp, payload) = parse_udp(&bytes);
    assert_eq!((ip.source, ip.destination, ip.ttl), (US, THEM, 3));
    assert_eq!((udp.source_port, udp.destination_port, payload), (5000, 7, &b"hello"[..]));
    assert_eq!((host.sent(Sent::Datagram), host.meta.comment), (1, Sent::Datagram.comment()));
    assert_eq!(host.stack.udp_set_ttl(id, Some(0)), Err(Error::InvalidInput));
}

/// RFC 1122 4.1.3.4: "If a UDP datagram is received with a checksum that is non-zero and invalid,
/// UDP MUST silently discard the datagram." Zero means that there is none.
#[test]
fn checksums_are_verified_and_zero_is_accepted() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    let mut bytes = to_us((1000, 7), b"hello");
    bytes[30] ^= 1;
    host.drops(&bytes, Dropped::UdpChecksum);
    bytes[26..28].fill(0);
    host.arrives(&bytes);
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Ok((5, v4(THEM, 1000))));
}

#[test]
fn lengths_that_lie_are_malformed() {
    let mut host = Host::tun();
    let udp = |length: u8| [3, 232, 0, 7, 0, length, 0, 0, 1, 2];
    for bytes in [&udp(7)[..], &udp(11), &udp(9)[..8], &udp(8)[..7]] {
        host.drops(&packet(&header(Protocol::UDP), bytes), Dropped::MalformedUdp);
    }
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    host.arrives(&packet(&header(Protocol::UDP), &udp(9)));
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Ok((1, v4(THEM, 1000))));
}

/// A link that completes checksums gets the pseudo-header's sum, and completing it makes it right.
#[test]
fn the_checksum_is_left_to_a_link_that_completes_it() {
    let mut host = Host::new(Config::default(), Medium::Ip, true);
    let id = host.stack.udp_bind(v4(US, 5000)).unwrap();
    host.stack.udp_send_to(host.now, id, b"odd", v4(THEM, 7)).unwrap();
    let mut bytes = host.sends_one();
    assert_eq!(host.meta.checksum, TransmitChecksum::Partial { start: 20, offset: 6 });
    let sum = checksum::sum(&bytes[20..]).finish();
    bytes[26..28].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(parse_udp(&bytes).2, b"odd");
}

/// RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
#[test]
fn a_checksum_of_zero_is_sent_as_all_ones() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(US, 5000)).unwrap();
    let mut zeros = 0;
    for word in 0..=u16::MAX {
        host.stack.udp_send_to(host.now, id, &word.to_be_bytes(), v4(THEM, 7)).unwrap();
        let bytes = host.sends_one();
        zeros += u32::from(parse_udp(&bytes).1.payload_len == 2 && bytes[26..28] == [0xff, 0xff]);
    }
    assert_eq!(zeros, 1, "one word brings the sum to 0xffff");
}

/// What no packet can hold is refused.
#[test]
fn too_long_is_refused() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    let mut send =
        |length: usize, to| host.stack.udp_send_to(host.now, id, &vec![0; length], v4(to, 5000));
    assert_eq!(send(1472, THEM), Ok(1472));
    assert_eq!(send(65_508, THEM), Err(Error::MessageTooBig));
    assert_eq!(send(65_507, Ipv4Addr::LOCALHOST), Ok(65_507));
    assert_eq!(send(65_508, Ipv4Addr::LOCALHOST), Err(Error::MessageTooBig));
    host.sends_one();
    let mut buffer = vec![0; 70_000];
    let received = host.stack.udp_receive_from(id, &mut buffer);
    assert_eq!(received, Ok((65_507, v4(Ipv4Addr::LOCALHOST, 5000))));
}

#[test]
fn impossible_peers_are_refused() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 7);
    for peer in [v4(THEM, 0), v4(ANY, 7), v6] {
        let sent = host.stack.udp_send_to(host.now, id, b"x", peer);
        assert_eq!(sent, Err(Error::InvalidInput));
        assert_eq!(host.stack.udp_connect(id, peer), Err(Error::InvalidInput));
    }
    assert_eq!(host.stack.udp_send(host.now, id, b"x"), Err(Error::NotConnected));
    let foreign = SocketAddr::new(IpAddr::V6(host::v6::OTHER), 7);
    assert_eq!(host.stack.udp_bind(foreign), Err(Error::AddressNotAvailable));
    assert_eq!(host.stack.udp_bind(v4(OTHER, 7)), Err(Error::AddressNotAvailable));
}

#[test]
fn an_address_belongs_to_one_socket() {
    let mut host = Host::tun();
    let all = host.stack.udp_bind(v4(ANY, 7)).unwrap();
    assert_eq!(host.stack.udp_bind(v4(ANY, 7)), Err(Error::AddressInUse));
    assert_eq!(host.stack.udp_bind(v4(US, 7)), Err(Error::AddressInUse));
    host.stack.udp_close(all).unwrap();
    let one = host.stack.udp_bind(v4(US, 7)).unwrap();
    assert_eq!(host.stack.udp_bind(v4(ANY, 7)), Err(Error::AddressInUse));
    let two = host.stack.udp_bind(v4(Ipv4Addr::LOCALHOST, 7)).unwrap();
    host.stack.udp_close(one).unwrap();
    host.stack.udp_close(two).unwrap();
    host.stack.udp_bind(v4(ANY, 7)).unwrap();
    assert_eq!(host.stack.udp_close(one), Err(Error::NoSuchSocket));
    assert_eq!(host.stack.udp_local(one), Err(Error::NoSuchSocket));
}

#[test]
fn ephemeral_ports_are_all_used_and_no_others() {
    let config = Config { ephemeral_ports: 40_000..=40_009, ..Config::default() };
    let mut host = Host::new(config, Medium::Ip, false);
    let mut ports = HashSet::new();
    for _ in 0..10 {
        let id = host.stack.udp_bind(v4(ANY, 0)).unwrap();
        ports.insert(host.stack.udp_local(id).unwrap().port());
    }
    assert_eq!(ports, (40_000..=40_009).collect());
    assert_eq!(host.stack.udp_bind(v4(ANY, 0)), Err(Error::AddressNotAvailable));
}

/// A connected socket hears its peer alone, and takes the address that the route gives.
#[test]
fn a_connected_socket_hears_its_peer_alone() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    assert_eq!(host.stack.udp_remote(id), Err(Error::NotConnected));
    host.stack.udp_connect(id, v4(THEM, 7)).unwrap();
    assert_eq!(host.stack.udp_local(id), Ok(v4(US, 5000)));
    assert_eq!(host.stack.udp_remote(id), Ok(v4(THEM, 7)));
    host.arrives(&to_us((7, 5000), b"answer"));
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Ok((6, v4(THEM, 7))));
    host.arrives(&to_us((8, 5000), b"noise"));
    assert_eq!(host.dropped(Dropped::UdpNobody), 1);
    host.sends_one();
    // Connecting anew starts from what it was bound to.
    host.stack.udp_connect(id, v4(Ipv4Addr::LOCALHOST, 9)).unwrap();
    assert_eq!(host.stack.udp_local(id), Ok(v4(Ipv4Addr::LOCALHOST, 5000)));
}

/// RFC 1122 4.1.3.6 and 3.3.6: a broadcast reaches a socket on all addresses.
#[test]
fn a_broadcast_is_received() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 67)).unwrap();
    for destination in [SUBNET_BROADCAST, Ipv4Addr::BROADCAST] {
        let ip = ipv4::Header { destination, ..header(Protocol::UDP) };
        host.arrives(&datagram(&ip, (68, 67), b"all"));
        assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Ok((3, v4(THEM, 68))));
    }
    host.sends_nothing();
}

#[test]
fn the_receive_queue_is_bounded_by_bytes() {
    let config = Config { udp_receive_buffer: 10_000, ..Config::default() };
    let mut host = Host::new(config, Medium::Ip, false);
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    (0..100).for_each(|_| host.arrives(&to_us((1000, 7), &[0; 1000])));
    let full = host.dropped(Dropped::UdpQueueFull);
    assert!((90..93).contains(&full), "{full}");
    host.sends_nothing();
    let entry = host.stack.sockets().remove(0);
    assert_eq!(entry.receive_queue, (100 - full as usize) * 1000);
    host.stack.udp_receive_from(id, &mut [0; 9]).unwrap();
    host.arrives(&to_us((1000, 7), &[0; 1000]));
    assert_eq!(host.dropped(Dropped::UdpQueueFull), full);
}

/// A full send queue pushes back, and says when there is room again.
#[test]
fn the_send_queue_pushes_back() {
    let config = Config { udp_send_buffer: 10_000, ..Config::default() };
    let mut host = Host::new(config, Medium::Ip, false);
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    let mut queued = 0;
    while host.stack.udp_send_to(host.now, id, &[0; 1000], v4(THEM, 7)).is_ok() {
        queued += 1;
    }
    assert!((8..=10).contains(&queued), "{queued}");
    assert!(!host.stack.readiness(SocketId::Udp(id)).contains(Ready::WRITE));
    assert_eq!(host.sends().len(), queued);
    let event = host.stack.poll_event().unwrap();
    assert_eq!((event.socket, event.ready), (SocketId::Udp(id), Ready::WRITE));
    assert!(host.stack.readiness(SocketId::Udp(id)).contains(Ready::WRITE));
}

#[test]
fn what_was_sent_before_the_close_still_goes() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(US, 5000)).unwrap();
    host.stack.udp_send_to(host.now, id, b"1", v4(THEM, 7)).unwrap();
    host.stack.udp_send_to(host.now, id, b"2", v4(THEM, 7)).unwrap();
    host.stack.udp_close(id).unwrap();
    let frames = host.sends();
    let payloads: Vec<_> = frames.iter().map(|bytes| parse_udp(bytes).2).collect();
    assert_eq!(payloads, [b"1", b"2"]);
    host.arrives(&to_us((7, 5000), b"late"));
    assert_eq!(host.dropped(Dropped::UdpNobody), 1);
}

/// The sockets are listed as `ss -u` lists them.
#[test]
fn sockets_are_listed() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(ANY, 5000)).unwrap();
    let entry = host.stack.sockets().remove(0);
    assert_eq!((entry.protocol, entry.id), ("udp", Some(SocketId::Udp(id))));
    assert_eq!(
        (entry.local, entry.remote, entry.state.ss_name()),
        (v4(ANY, 5000), v4(ANY, 0), "UNCONN")
    );
    host.stack.udp_connect(id, v4(THEM, 7)).unwrap();
    let entry = host.stack.sockets().remove(0);
    assert_eq!(
        (entry.local, entry.remote, entry.state.ss_name()),
        (v4(US, 5000), v4(THEM, 7), "ESTAB")
    );
}

/// The same seed and the same inputs give the same bytes.
#[test]
fn a_run_can_be_repeated() {
    let run = || {
        let mut host = Host::tun();
        let id = host.stack.udp_bind(v4(ANY, 0)).unwrap();
        host.stack.udp_send_to(host.now, id, b"x", v4(THEM, 7)).unwrap();
        host.arrives(&to_us((1000, 9), &[0; udp::HEADER_LEN]));
        host.sends()
    };
    assert_eq!(run(), run());
}

/// The driver's buffers come back to it; the small ones of our own datagrams do not.
#[test]
fn the_buffers_of_the_driver_come_back() {
    let mut host = Host::tun();
    let id = host.stack.udp_bind(v4(US, 7)).unwrap();
    let mut frame = FrameBuf::with_capacity(2048);
    let bytes = to_us((1000, 7), b"hello");
    frame.whole_buffer()[..bytes.len()].copy_from_slice(&bytes);
    frame.set_filled(bytes.len());
    host.stack.handle_frame(host.now, host.interface, frame, ReceiveMeta::default());
    assert_eq!(host.stack.spare_frame().unwrap().capacity(), 2048);
    host.stack.udp_receive_from(id, &mut [0; 9]).unwrap();
    host.stack.udp_send_to(host.now, id, b"1", v4(THEM, 7)).unwrap();
    host.stack.udp_send_to(host.now, id, b"2", v4(THEM, 7)).unwrap();
    host.sends();
    assert_eq!(host.stack.spare_frame(), None);
}
