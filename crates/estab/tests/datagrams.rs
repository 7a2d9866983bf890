//! UDP and echo requests over a wire in memory.

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{PATIENCE, World, at, pattern};
use estab::Pinger;
use estab::blocking::UdpSocket;

#[test]
fn datagrams_both_ways() {
    let world = World::new();
    let server = UdpSocket::bind(&world.server, at(53)).unwrap();
    let client = UdpSocket::bind(&world.client, "0.0.0.0:0").unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    assert_eq!(client.send_to(b"question", at(53)).unwrap(), 8);
    let mut buffer = [0; 100];
    assert_eq!(server.peek_from(&mut buffer[..3]).unwrap().0, 3);
    let (length, peer) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"question");
    assert_eq!(peer.port(), client.local_addr().unwrap().port());

    client.connect(at(53)).unwrap();
    assert_eq!(client.peer_addr().unwrap(), at(53));
    server.send_to(b"answer", peer).unwrap();
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
    client.send(&pattern(1400, 1)).unwrap();
    assert_eq!(server.recv_from(&mut buffer).unwrap().0, 100, "what does not fit is lost");
}

#[test]
fn nothing_comes() {
    let world = World::new();
    let socket = UdpSocket::bind(&world.client, "10.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(socket.recv_from(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.recv_from(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(socket.send(b"x").unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn a_closed_port_refuses() {
    let world = World::new();
    let socket = UdpSocket::bind(&world.client, "10.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(at(9999)).unwrap();
    socket.send(b"anybody?").unwrap();
    assert_eq!(socket.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn echo_requests() {
    let world = World::new();
    let pong = world.client.ping(at(0).ip(), b"hello", PATIENCE).unwrap();
    assert_eq!(pong.source, at(0).ip());
    assert_eq!(pong.payload, b"hello");
    assert!(pong.round_trip.is_some());

    let pinger = Pinger::open(&world.client).unwrap();
    for sequence in 1..=10 {
        pinger.send(at(0).ip(), sequence, &pattern(1000, 2)).unwrap();
    }
    for sequence in 1..=10 {
        let pong = pinger.receive(Some(PATIENCE)).unwrap();
        assert_eq!((pong.sequence, pong.payload), (sequence, pattern(1000, 2)));
    }
    let silence = world.client.ping([10, 0, 0, 99].into(), b"", Duration::from_millis(30));
    assert_eq!(silence.unwrap_err().kind(), ErrorKind::TimedOut);
    let nowhere = world.client.ping([192, 0, 2, 1].into(), b"", PATIENCE);
    assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NetworkUnreachable);
}

/// `IP_ADD_SOURCE_MEMBERSHIP` and `IP_BLOCK_SOURCE`: a group that is heard from some.
#[test]
fn a_group_is_heard_from_some_sources() {
    use std::net::Ipv4Addr;
    let world = World::new();
    let (group, any) = (Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::UNSPECIFIED);
    let (source, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 1));
    let hears = UdpSocket::bind(&world.server, "0.0.0.0:5000").unwrap();
    let says = UdpSocket::bind(&world.client, "0.0.0.0:0").unwrap();
    hears.set_read_timeout(Some(PATIENCE)).unwrap();
    // What is said to the group, if it is heard before what is said to the host alone.
    let is_heard = || {
        let mut buffer = [0; 9];
        let mut next = || hears.recv_from(&mut buffer).map(|(length, _)| buffer[..length].to_vec());
        says.send_to(b"group", (group, 5000)).unwrap();
        says.send_to(b"host", at(5000)).unwrap();
        let heard = next().unwrap() == b"group";
        assert!(!heard || next().unwrap() == b"host");
        heard
    };
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(hears.block_source_v4(group, source, any)), ErrorKind::InvalidInput);
    hears.join_source_v4(group, other, any).unwrap();
    assert!(!is_heard());
    hears.join_source_v4(group, source, any).unwrap();
    assert_eq!(kind(hears.join_source_v4(group, source, any)), ErrorKind::AddrNotAvailable);
    assert!(is_heard());
    for source in [source, other] {
        hears.leave_source_v4(group, source, any).unwrap();
    }
    assert!(!is_heard());
    // Nothing of it is left: the group can be joined anew, for all but one.
    hears.join_multicast_v4(group, any).unwrap();
    hears.block_source_v4(group, source, any).unwrap();
    assert!(!is_heard());
    hears.unblock_source_v4(group, source, any).unwrap();
    assert!(is_heard());
}

/// A group of both families between two stacks, with what `std::net::UdpSocket` calls it.
#[test]
fn a_group_is_joined_and_left() {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let world = World::new();
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let hears = UdpSocket::bind_shared(&world.server, "0.0.0.0:5000").unwrap();
    let hears_too = UdpSocket::bind_shared(&world.server, "0.0.0.0:5000").unwrap();
    let says = UdpSocket::bind(&world.client, "0.0.0.0:0").unwrap();
    for socket in [&hears, &hears_too] {
        socket.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let again = hears.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AddrInUse);
    let wrong = hears.join_multicast_v6(&Ipv6Addr::LOCALHOST, 0).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    assert_eq!(says.multicast_ttl_v4().unwrap(), 1);
    assert!(says.multicast_loop_v4().unwrap());
    says.send_to(b"hello", (group, 5000)).unwrap();
    let mut buffer = [0; 9];
    for socket in [&hears, &hears_too] {
        assert_eq!(socket.recv_from(&mut buffer).unwrap().0, 5);
    }
    hears.leave_multicast_v4(group, Ipv4Addr::UNSPECIFIED).unwrap();
    says.send_to(b"again", (group, 5000)).unwrap();
    assert_eq!(hears_too.recv_from(&mut buffer).unwrap().0, 5);
    hears.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(hears.recv_from(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    // SO_BROADCAST.
    assert!(!says.broadcast().unwrap());
    let refused = says.send_to(b"all", (Ipv4Addr::BROADCAST, 5000)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    says.set_broadcast(true).unwrap();
    says.send_to(b"all", (Ipv4Addr::BROADCAST, 5000)).unwrap();
    assert_eq!(hears_too.recv_from(&mut buffer).unwrap().0, 3);
}
