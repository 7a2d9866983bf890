//! Addresses and routes that come and go while a stack runs, on several links.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use estab::blocking::UdpSocket;
use estab::link::{PairConfig, PairEnd, pair};
use estab::{Interface, Stack};

/// Nothing that works takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A host with two links, and the far end of each.
fn two_links() -> (Stack, [Stack; 2]) {
    let ends: [(PairEnd, PairEnd); 2] = [(); 2].map(|()| pair(PairConfig::ip(1500)).unwrap());
    let [(first, near), (second, far)] = ends;
    let stack = Stack::builder()
        .interface(Interface::new(first).address([10, 0, 1, 1], 24))
        .interface(Interface::new(second))
        .start_interfaces()
        .unwrap();
    let near = Stack::builder().address([10, 0, 1, 2], 24).gateway([10, 0, 1, 1]).start(near);
    let far = Stack::builder().address([10, 0, 2, 2], 24).gateway([10, 0, 2, 1]).start(far);
    (stack, [near.unwrap(), far.unwrap()])
}

fn answers(stack: &Stack, address: &str) -> bool {
    stack.ping(ip(address), b"there?", PATIENCE).is_ok()
}

#[test]
fn addresses_come_and_go_on_every_link() {
    let (stack, [near, far]) = two_links();
    assert!(answers(&stack, "10.0.1.2"));
    let nowhere = stack.ping(ip("10.0.2.2"), b"there?", PATIENCE).unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NetworkUnreachable);
    stack.add_address_to(2, ip("10.0.2.1"), 24).unwrap();
    assert!(answers(&stack, "10.0.2.2") && answers(&far, "10.0.2.1"));
    assert_eq!(stack.addresses(), [(ip("10.0.1.1"), 24)]);
    assert_eq!(stack.addresses_of(2), [(ip("10.0.2.1"), 24)]);
    let twice = stack.add_address(ip("10.0.2.1"), 24).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::AddrInUse);
    // A socket on it stays, and finds no way any more.
    let socket = UdpSocket::bind(&stack, "10.0.2.1:0").unwrap();
    stack.remove_address(ip("10.0.2.1")).unwrap();
    let nowhere = socket.send_to(b"x", "10.0.2.2:7").unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NetworkUnreachable);
    let gone = stack.remove_address(ip("10.0.2.1")).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::AddrNotAvailable);
    assert_eq!(stack.addresses_of(2), []);
    assert_eq!(stack.addresses_of(3), []);
    let none = stack.add_address_to(3, ip("10.0.3.1"), 24).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidInput);
    [stack, near, far].iter().for_each(Stack::stop);
}

/// The longest prefix leads the way.
#[test]
fn routes_come_and_go() {
    let (stack, [near, far]) = two_links();
    stack.add_address_to(2, ip("10.0.2.1"), 24).unwrap();
    for host in [&near, &far] {
        host.add_address(ip("198.51.100.7"), 32).unwrap();
    }
    // Who answers tells which way it went.
    let hears = [&near, &far].map(|host| {
        let socket = UdpSocket::bind(host, "198.51.100.7:7").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    });
    let says = UdpSocket::bind(&stack, (Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let arrives_at = |place: usize| {
        says.send_to(b"hello", "198.51.100.7:7").unwrap();
        assert_eq!(hears[place].recv_from(&mut [0; 9]).unwrap().0, 5);
    };
    stack.set_gateway(ip("10.0.1.2")).unwrap();
    arrives_at(0);
    stack.add_route(2, ip("198.51.100.0"), 24, Some(ip("10.0.2.2"))).unwrap();
    arrives_at(1);
    stack.remove_route(2, ip("198.51.100.0"), 24).unwrap();
    arrives_at(0);
    let gone = stack.remove_route(2, ip("198.51.100.0"), 24).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NetworkUnreachable);
    let own = stack.add_route(1, ip("192.0.2.0"), 24, Some(ip("10.0.1.1"))).unwrap_err();
    assert_eq!(own.kind(), ErrorKind::InvalidInput);
    [stack, near, far].iter().for_each(Stack::stop);
}
