//! Sockets for both families: IPv4 on sockets of IPv6 (RFC 4291 2.5.5.2, RFC 3493 3.7 and 5.3), with
//! the conflicts of Linux.

mod host;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use estab_stack::reason::Dropped;
use estab_stack::{Config, ConnectionId, Error, Family, TcpOptions, UdpOptions};
use host::*;
use wire::ip::Protocol;
use wire::ipv6;

const ONLY_V6: UdpOptions = UdpOptions { shared: false, only_v6: true };

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn only_v6() -> TcpOptions {
    TcpOptions { only_v6: true, ..TcpOptions::default() }
}

/// Opens a connection of this stack with itself; both ends, as their sockets show them: the client's
/// own and its peer, the server's own and its peer.
#[track_caller]
fn connect(host: &mut Host, listening: &str, to: &str) -> [SocketAddr; 4] {
    let options = TcpOptions::default();
    let listener = host.stack.listen(host.now, at(listening), 1, options.clone()).unwrap();
    let client = host.stack.connect(host.now, None, at(to), options).unwrap();
    host.sends_nothing();
    let (server, peer) = host.stack.accept(host.now, listener).unwrap();
    assert_eq!(host.stack.remote_address(server), Ok(peer));
    let ends = |id: ConnectionId| [host.stack.local_address(id), host.stack.remote_address(id)];
    let [[here, there], [here_too, there_too]] = [ends(client), ends(server)];
    let shown = [here, there, here_too, there_too].map(Result::unwrap);
    host.stack.close_listener(host.now, listener);
    shown
}

#[test]
fn a_listener_on_all_of_ipv6_accepts_ipv4_too() {
    let mut host = v6::tun();
    let [client, server, own, peer] = connect(&mut host, "[::]:80", "10.77.0.2:80");
    assert_eq!((client.ip(), server), (IpAddr::V4(US), at("10.77.0.2:80")));
    assert_eq!(own, at("[::ffff:10.77.0.2]:80"));
    assert_eq!((peer.ip(), peer.port()), (at("[::ffff:10.77.0.2]:1").ip(), client.port()));

    let [client, _, own, peer] = connect(&mut host, "[::]:81", "[fd77::2]:81");
    assert_eq!((own, peer), (at("[fd77::2]:81"), client));
}

/// A connection that a cookie brought back shows its addresses in the same way.
#[test]
fn a_cookie_forgets_nothing_of_that() {
    let mut host = v6::with(Config { syn_queue_limit: 0, ..Config::default() });
    let options = TcpOptions::default();
    let listener = host.stack.listen(host.now, at("[::]:80"), 1, options.clone()).unwrap();
    let open = |host: &mut Host| {
        host.stack.connect(host.now, None, at("10.77.0.2:80"), options.clone()).unwrap()
    };
    open(&mut host);
    open(&mut host);
    host.sends_nothing();
    assert_eq!(host.sent(estab_stack::reason::Sent::SynCookie), 1);
    for _ in 0..2 {
        let (server, _) = host.stack.accept(host.now, listener).unwrap();
        assert_eq!(host.stack.local_address(server), Ok(at("[::ffff:10.77.0.2]:80")));
    }
}

#[test]
fn a_peer_of_ipv4_can_be_named_as_one_of_ipv6() {
    let mut host = v6::tun();
    let [client, server, own, _] = connect(&mut host, "0.0.0.0:80", "[::ffff:10.77.0.2]:80");
    assert_eq!(
        (client.ip(), server),
        (at("[::ffff:10.77.0.2]:1").ip(), at("[::ffff:10.77.0.2]:80"))
    );
    assert_eq!(own, at("10.77.0.2:80"));
}

#[test]
fn who_speaks_ipv6_alone_is_deaf_to_ipv4() {
    let mut host = v6::tun();
    host.stack.listen(host.now, at("[::]:80"), 1, only_v6()).unwrap();
    // IPv4 has the port for itself, and its listener gets what comes.
    let listener = host.stack.listen(host.now, at("0.0.0.0:80"), 1, TcpOptions::default()).unwrap();
    host.stack.connect(host.now, None, at("10.77.0.2:80"), TcpOptions::default()).unwrap();
    host.sends_nothing();
    assert!(host.stack.accept(host.now, listener).is_ok());

    let mapped = at("[::ffff:10.77.0.2]:80");
    let connected = host.stack.connect(host.now, None, mapped, only_v6());
    assert_eq!(connected, Err(Error::NetworkUnreachable));
    assert_eq!(host.stack.listen(host.now, mapped, 1, only_v6()), Err(Error::InvalidInput));
}

#[test]
fn the_two_ends_are_of_one_family() {
    let mut host = v6::tun();
    let mut connect = |local, remote| {
        host.stack.connect(host.now, Some(at(local)), at(remote), TcpOptions::default()).map(drop)
    };
    assert_eq!(connect("[::]:0", "[::ffff:10.77.0.1]:80"), Ok(()));
    assert_eq!(connect("[::ffff:10.77.0.2]:0", "[::ffff:10.77.0.1]:80"), Ok(()));
    let wrong = Err(Error::InvalidInput);
    assert_eq!(connect("0.0.0.0:0", "[::ffff:10.77.0.1]:80"), wrong);
    assert_eq!(connect("[::]:0", "10.77.0.1:80"), wrong);
    assert_eq!(connect("[fd77::2]:0", "[::ffff:10.77.0.1]:80"), wrong);
    assert_eq!(connect("[::ffff:10.77.0.2]:0", "[fd77::1]:80"), wrong);
    assert_eq!(connect("[::]:0", "[::ffff:0.0.0.0]:80"), wrong);
}

/// Which of two sockets on a port exclude each other; the order makes no difference. The same table
/// is that of a Linux without `SO_REUSEADDR` on either.
const CONFLICTS: [(&str, &str, bool); 10] = [
    ("[::]:80", "0.0.0.0:80", true),
    ("[::]:80", "10.77.0.2:80", true),
    ("[::]:80", "[::ffff:10.77.0.2]:80", true),
    ("[::]:80", "[fd77::2]:80", true),
    ("[::ffff:0.0.0.0]:80", "10.77.0.2:80", true),
    ("[::ffff:10.77.0.2]:80", "10.77.0.2:80", true),
    ("[::ffff:10.77.0.2]:80", "0.0.0.0:80", true),
    ("[::ffff:0.0.0.0]:80", "[fd77::2]:80", false),
    ("[fd77::2]:80", "0.0.0.0:80", false),
    ("0.0.0.0:80", "10.77.0.2:80", true),
];

fn both_orders() -> impl Iterator<Item = (SocketAddr, SocketAddr, bool)> {
    CONFLICTS.into_iter().flat_map(|(one, other, conflict)| {
        [(at(one), at(other), conflict), (at(other), at(one), conflict)]
    })
}

#[test]
fn listeners_conflict_as_on_linux() {
    for (first, second, conflict) in both_orders() {
        let mut host = v6::tun();
        let mut listen = |address| host.stack.listen(host.now, address, 1, TcpOptions::default());
        let id = listen(first).unwrap();
        let answer = listen(second);
        assert_eq!(answer == Err(Error::AddressInUse), conflict, "{first}, then {second}");
        assert_eq!(answer.is_ok(), !conflict);
        // What is closed is in nobody's way.
        host.stack.close_listener(host.now, id);
        if conflict {
            let again = host.stack.listen(host.now, second, 1, TcpOptions::default());
            assert!(again.is_ok(), "{second}, when {first} is closed");
        }
    }
}

#[test]
fn udp_sockets_conflict_as_on_linux() {
    for (first, second, conflict) in both_orders() {
        let mut host = v6::tun();
        let id = host.stack.udp_bind(first).unwrap();
        let answer = host.stack.udp_bind(second);
        assert_eq!(answer == Err(Error::AddressInUse), conflict, "{first}, then {second}");
        assert_eq!(answer.is_ok(), !conflict);
        host.stack.udp_close(id).unwrap();
        if conflict {
            assert!(host.stack.udp_bind(second).is_ok(), "{second}, when {first} is closed");
        }
    }
}

#[test]
fn ipv6_alone_leaves_ipv4_alone() {
    let mut host = v6::tun();
    host.stack.udp_bind_with(at("[::]:80"), ONLY_V6).unwrap();
    host.stack.udp_bind(at("0.0.0.0:80")).unwrap();
    let mapped = at("[::ffff:10.77.0.2]:81");
    assert_eq!(host.stack.udp_bind_with(mapped, ONLY_V6), Err(Error::InvalidInput));
}

/// Sockets that share a port do so across the families, and one that does not share is in the way.
#[test]
fn a_shared_port_is_shared_by_both_families() {
    let mut host = v6::tun();
    host.stack.udp_bind_shared(at("[::]:80")).unwrap();
    host.stack.udp_bind_shared(at("0.0.0.0:80")).unwrap();
    host.stack.udp_bind_shared(at("10.77.0.2:80")).unwrap();
    assert_eq!(host.stack.udp_bind(at("[fd77::2]:80")), Err(Error::AddressInUse));
    host.stack.udp_bind(at("10.77.0.2:81")).unwrap();
    assert_eq!(host.stack.udp_bind_shared(at("[::]:81")), Err(Error::AddressInUse));
}

/// Port 0 is one that is free in both families.
#[test]
fn a_free_port_is_free_in_both_families() {
    let mut host = v6::with(Config { ephemeral_ports: 40_000..=40_001, ..Config::default() });
    let all = at("[::]:0");
    host.stack.udp_bind(at("0.0.0.0:40000")).unwrap();
    let id = host.stack.udp_bind(all).unwrap();
    assert_eq!(host.stack.udp_local(id), Ok(at("[::]:40001")));
    assert_eq!(host.stack.udp_bind(all), Err(Error::AddressNotAvailable));

    let listen =
        |host: &mut Host, address| host.stack.listen(host.now, address, 1, TcpOptions::default());
    listen(&mut host, at("10.77.0.2:40001")).unwrap();
    let id = listen(&mut host, all).unwrap();
    assert_eq!(host.stack.listener_local(id), Ok(at("[::]:40000")));
    assert_eq!(listen(&mut host, all), Err(Error::AddressNotAvailable));
}

#[test]
fn a_udp_socket_on_all_of_ipv6_speaks_ipv4_too() {
    let mut host = v6::tun();
    let id = host.stack.udp_bind(at("[::]:7")).unwrap();
    host.arrives(&datagram(&header(Protocol::UDP), (1000, 7), b"four"));
    host.arrives(&v6::datagram(&v6::header(Protocol::UDP), (1000, 7), b"six"));
    let (four, six) = (at("[::ffff:10.77.0.1]:1000"), at("[fd77::1]:1000"));
    let mut buffer = [0; 9];
    assert_eq!(host.stack.udp_peek_from(id, &mut buffer), Ok((4, four)));
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((4, four)));
    assert_eq!(host.stack.udp_receive_from(id, &mut buffer), Ok((3, six)));
    // What was shown can be answered, and so can the address as IPv4 writes it.
    for peer in [four, v4(THEM, 1000)] {
        host.stack.udp_send_to(host.now, id, b"yes", peer).unwrap();
        let bytes = host.sends_one();
        let (ip, udp, payload) = parse_udp(&bytes);
        assert_eq!((ip.source, ip.destination), (US, THEM));
        assert_eq!((udp.source_port, udp.destination_port, payload), (7, 1000, &b"yes"[..]));
    }
    host.stack.udp_send_to(host.now, id, b"yes", six).unwrap();
    assert_eq!(v6::parse_udp(&host.sends_one()).0.destination, v6::THEM);
    assert_eq!(host.stack.udp_local(id), Ok(at("[::]:7")));
}

/// Connected to one peer, it has one family; and then another peer may be of the other.
#[test]
fn a_connect_narrows_both_families_to_one() {
    let mut host = v6::tun();
    let id = host.stack.udp_bind(at("[::]:7")).unwrap();
    let peer = at("[::ffff:10.77.0.1]:1000");
    host.stack.udp_connect(id, peer).unwrap();
    assert_eq!(host.stack.udp_remote(id), Ok(peer));
    assert_eq!(host.stack.udp_local(id), Ok(at("[::ffff:10.77.0.2]:7")));
    host.arrives(&datagram(&header(Protocol::UDP), (1000, 7), b"four"));
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Ok((4, peer)));
    // The ports of all other addresses are free again.
    let other = host.stack.udp_bind(at("[fd77::2]:7")).unwrap();
    assert_eq!(host.stack.udp_connect(id, at("[fd77::1]:9")), Err(Error::AddressInUse));
    assert_eq!(host.stack.udp_local(id), Ok(at("[::ffff:10.77.0.2]:7")));
    host.stack.udp_close(other).unwrap();
    host.stack.udp_connect(id, at("[fd77::1]:9")).unwrap();
    assert_eq!(host.stack.udp_local(id), Ok(at("[fd77::2]:7")));
    host.stack.udp_send(host.now, id, b"six").unwrap();
    assert_eq!(v6::parse_udp(&host.sends_one()).0.destination, v6::THEM);
    host.stack.udp_close(id).unwrap();
    host.stack.udp_bind(at("[::]:7")).unwrap();
}

/// An ICMP error of IPv4 reaches the socket of IPv6 that it is about.
#[test]
fn errors_of_ipv4_reach_a_socket_of_ipv6() {
    let mut host = v6::tun();
    let id = host.stack.udp_bind(at("[::]:7")).unwrap();
    host.stack.udp_connect(id, at("[::ffff:10.77.0.1]:1000")).unwrap();
    host.stack.udp_send(host.now, id, b"anybody?").unwrap();
    let sent = host.sends_one();
    let code = wire::icmpv4::UnreachableCode::PORT;
    let icmp = wire::icmpv4::Header::DestinationUnreachable { code, next_hop_mtu: 0 };
    host.arrives(&packet(&header(Protocol::ICMP), &message(&icmp, &sent)));
    assert_eq!(host.stack.udp_take_error(id), Ok(Some(Error::ConnectionRefused)));
}

#[test]
fn a_socket_for_both_families_joins_groups_of_both() {
    let mut host = v6::tun();
    let id = host.stack.udp_bind(at("[::]:7")).unwrap();
    let group = Ipv4Addr::new(239, 1, 2, 3);
    host.stack.udp_join_v4(id, group, Ipv4Addr::UNSPECIFIED).unwrap();
    host.stack.udp_join_v6(id, "ff15::5".parse().unwrap(), 0).unwrap();
    host.sends();
    let to_group = wire::ipv4::Header { destination: group, ..header(Protocol::UDP) };
    host.arrives(&datagram(&to_group, (1000, 7), b"all"));
    let from = at("[::ffff:10.77.0.1]:1000");
    assert_eq!(host.stack.udp_receive_from(id, &mut [0; 9]), Ok((3, from)));
    let id = host.stack.udp_bind_with(at("[::]:8"), ONLY_V6).unwrap();
    let joined = host.stack.udp_join_v4(id, group, Ipv4Addr::UNSPECIFIED);
    assert_eq!(joined, Err(Error::InvalidInput));
}

/// RFC 4942 2.2: packets with such addresses are forged. A socket that takes `::ffff:10.77.0.1` for
/// 10.77.0.1 must not be told so by IPv6; and nothing like that is sent.
#[test]
fn no_packet_has_a_mapped_address() {
    let mut host = v6::tun();
    host.stack.udp_bind(at("[::]:7")).unwrap();
    let mapped = THEM.to_ipv6_mapped();
    let from = ipv6::Header { source: mapped, ..v6::header(Protocol::UDP) };
    host.drops(&v6::datagram(&from, (1000, 7), b"trust me"), Dropped::ForbiddenSource);
    let to = ipv6::Header { destination: US.to_ipv6_mapped(), ..v6::header(Protocol::UDP) };
    host.drops(&v6::datagram(&to, (1000, 7), b"trust me"), Dropped::NotOurAddress);
    // Not even where every address is taken.
    host.stack.set_any_address(host.interface, true).unwrap();
    host.stack.listen_any(host.now, Family::V6, 1, TcpOptions::default()).unwrap();
    host.drops(&v6::datagram(&to, (1000, 7), b"trust me"), Dropped::NotOurAddress);

    host.stack.set_gateway(host.interface, v6::THEM.into()).unwrap();
    let ping = host.stack.ping_open(None).unwrap();
    let sent = host.stack.ping_send(host.now, ping, IpAddr::V6(mapped), 1, b"");
    assert_eq!(sent.map(drop), Err(Error::NetworkUnreachable));
    let added = host.stack.add_address(host.interface, IpAddr::V6(US.to_ipv6_mapped()), 128);
    assert_eq!(added, Err(Error::InvalidInput));
}

/// `ss` shows what the programs see.
#[test]
fn the_list_of_sockets_shows_what_programs_see() {
    let mut host = v6::tun();
    host.stack.listen(host.now, at("[::]:80"), 1, TcpOptions::default()).unwrap();
    let peer = at("[::ffff:10.77.0.1]:9");
    host.stack.connect(host.now, Some(at("[::]:1")), peer, TcpOptions::default()).unwrap();
    let id = host.stack.udp_bind(at("[::]:7")).unwrap();
    host.stack.udp_connect(id, peer).unwrap();
    let shown: Vec<_> =
        host.stack.sockets().into_iter().map(|entry| (entry.local, entry.remote)).collect();
    let expected = [
        (at("[::]:80"), at("[::]:0")),
        (at("[::ffff:10.77.0.2]:1"), peer),
        (at("[::ffff:10.77.0.2]:7"), peer),
    ];
    assert_eq!(shown, expected);
}
