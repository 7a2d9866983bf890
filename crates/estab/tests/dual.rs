//! Sockets on `[::]`, which are for both families, as programs know it from Linux.

mod common;
#[path = "common/spread.rs"]
mod spread;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

use common::PATIENCE;
use estab::blocking::{TcpListener, TcpStream, UdpSocket};
use estab::link::{PairConfig, pair};
use estab::{Stack, TcpOptions, UdpOptions};

/// A client and a server, each with an address of either family.
fn hosts() -> (Stack, Stack) {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let host = |end, number: u16| {
        let v6 = IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, number]);
        let v4 = IpAddr::from([10, 0, 0, number.to_be_bytes()[1]]);
        Stack::builder().address(v4, 24).address(v6, 64).start(end).unwrap()
    };
    (host(here, 1), host(there, 2))
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[test]
fn one_listener_serves_both_families() {
    let (client, server) = hosts();
    let listener = TcpListener::bind(&server, "[::]:80").unwrap();
    assert_eq!(listener.local_addr().unwrap(), at("[::]:80"));
    let ways = [
        ("10.0.0.2:80", "[::ffff:10.0.0.2]:80", "::ffff:10.0.0.1"),
        ("[fd77::2]:80", "[fd77::2]:80", "fd77::1"),
        ("[::ffff:10.0.0.2]:80", "[::ffff:10.0.0.2]:80", "::ffff:10.0.0.1"),
    ];
    for (to, own, peer) in ways {
        let mut stream = TcpStream::connect(&client, to).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), at(to));
        stream.write_all(b"hello").unwrap();
        let (mut served, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), peer.parse::<IpAddr>().unwrap(), "{to}");
        assert_eq!(served.local_addr().unwrap(), at(own), "{to}");
        assert_eq!(served.peer_addr().unwrap(), from);
        let mut buffer = [0; 5];
        served.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"hello");
    }
    let taken = TcpListener::bind(&server, "0.0.0.0:80").unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    client.stop();
    server.stop();
}

#[test]
fn ipv6_alone_is_an_option() {
    let (client, server) = hosts();
    let options = TcpOptions { only_v6: true, ..TcpOptions::default() };
    let listener = TcpListener::bind_with(&server, "[::]:80", 1, &options).unwrap();
    let refused = TcpStream::connect(&client, "10.0.0.2:80").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    TcpStream::connect(&client, "[fd77::2]:80").unwrap();
    listener.accept().unwrap();
    let options = UdpOptions { only_v6: true, ..UdpOptions::default() };
    let six = UdpSocket::bind_with(&server, "[::]:53", options).unwrap();
    UdpSocket::bind(&server, "0.0.0.0:53").unwrap();
    let away = six.send_to(b"x", "[::ffff:10.0.0.1]:9").unwrap_err();
    assert_eq!(away.kind(), ErrorKind::NetworkUnreachable);
    client.stop();
    server.stop();
}

#[test]
fn one_udp_socket_speaks_both_families() {
    let (client, server) = hosts();
    let socket = UdpSocket::bind(&server, "[::]:53").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for (from, to) in [("0.0.0.0:0", "10.0.0.2:53"), ("[::]:0", "[fd77::2]:53")] {
        let asks = UdpSocket::bind(&client, from).unwrap();
        asks.set_read_timeout(Some(PATIENCE)).unwrap();
        asks.connect(to).unwrap();
        asks.send(b"who?").unwrap();
        let mut buffer = [0; 9];
        let (length, peer) = socket.recv_from(&mut buffer).unwrap();
        assert!(peer.is_ipv6());
        assert_eq!(&buffer[..length], b"who?");
        socket.send_to(b"me", peer).unwrap();
        assert_eq!(asks.recv(&mut buffer).unwrap(), 2);
    }
    client.stop();
    server.stop();
}

/// A connection is one shard's, whichever way its addresses are written, and so is its listener's part.
#[test]
fn shards_agree_about_both_families() {
    let (queues, wire) = spread::spread(2, 5);
    let addresses = |builder: estab::StackBuilder, number: u16| {
        let v6 = IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, number]);
        let v4 = IpAddr::from([10, 0, 0, number.to_be_bytes()[1]]);
        builder.address(v4, 24).address(v6, 64)
    };
    let client = addresses(Stack::builder(), 1).start_queues(queues).unwrap();
    let server = addresses(Stack::builder(), 2).start(wire).unwrap();
    let listener = TcpListener::bind(&server, "[::]:80").unwrap();
    for to in ["[::ffff:10.0.0.2]:80", "[fd77::2]:80", "10.0.0.2:80"] {
        for port in 40_000..40_004 {
            let any = if at(to).is_ipv4() { "0.0.0.0" } else { "::" };
            let local = SocketAddr::new(any.parse().unwrap(), port);
            let options = TcpOptions::default();
            let stream = TcpStream::connect_with(&client, Some(local), at(to), &options).unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!((peer.port(), stream.peer_addr().unwrap()), (port, at(to)));
            stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
    }
    client.stop();
    server.stop();
}
