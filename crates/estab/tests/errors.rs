//! What a program is told when something does not work: each reason is an `io::ErrorKind` of its own, or
//! says by its words and by the stack's error inside which one it is.

mod common;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, World, at};
use estab::blocking::{TcpListener, TcpStream, UdpSocket};
use estab::link::{Link, PairConfig, PairEnd, pair};
use estab::stack::Error;
use estab::wire::checksum::{sum, transport};
use estab::wire::frame::{FrameBuf, TransmitMeta};
use estab::wire::ip::Protocol;
use estab::wire::time::Instant;
use estab::{Config, RtoLimits, Stack, TcpOptions};

/// What went wrong, the kind of it, and the stack's error inside.
type Told = BTreeMap<&'static str, (ErrorKind, Error, String)>;

fn told(error: &io::Error) -> (ErrorKind, Error, String) {
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<Error>());
    let inside = inside.unwrap_or_else(|| panic!("not the stack's error: {error:?}"));
    (error.kind(), *inside, error.to_string())
}

/// Type, code, and the rest of the header of an ICMP error.
type Message = (u8, u8, u32);

#[test]
fn what_the_network_says_are_different_errors() {
    // Of ICMP and of ICMPv6 (RFC 792, RFC 4443).
    let cases: [(&str, ErrorKind, Error, [Message; 2]); 6] = [
        (
            "network",
            ErrorKind::NetworkUnreachable,
            Error::NetworkUnreachable,
            [(3, 0, 0), (1, 0, 0)],
        ),
        ("host", ErrorKind::HostUnreachable, Error::HostUnreachable, [(3, 1, 0), (1, 3, 0)]),
        ("protocol", ErrorKind::Unsupported, Error::ProtocolUnreachable, [(3, 2, 0), (4, 1, 6)]),
        ("port", ErrorKind::ConnectionRefused, Error::ConnectionRefused, [(3, 3, 0), (1, 4, 0)]),
        // The kind that Linux gives it over IPv4; what it says is its own.
        ("prohibited", ErrorKind::HostUnreachable, Error::Prohibited, [(3, 13, 0), (1, 1, 0)]),
        // No kind means just this.
        ("too big", ErrorKind::InvalidInput, Error::MessageTooBig, [(3, 4, 1280), (2, 0, 1280)]),
    ];
    for (what, kind, inside, messages) in cases {
        for (message, family) in messages.into_iter().zip([4, 6]) {
            let (stack, far) = behind_a_router(message, family);
            let local = SocketAddr::new(stack.addresses()[0].0, 0);
            let socket = UdpSocket::bind(&stack, local).unwrap();
            socket.connect(far).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send(&[7; 1400]).unwrap();
            let error = socket.recv(&mut [0; 1]).unwrap_err();
            assert_eq!(
                (told(&error).0, told(&error).1),
                (kind, inside),
                "UDP, {what}, IPv{family}"
            );
            if what != "too big" {
                // RFC 1122 4.2.3.9: a soft error tells why, once the SYN was repeated in vain.
                let error = TcpStream::connect(&stack, far).unwrap_err();
                let (its, inside_it, _) = told(&error);
                assert_eq!((its, inside_it), (kind, inside), "TCP, {what}, IPv{family}");
            }
            stack.stop();
        }
    }
}

#[test]
fn every_failure_has_words_of_its_own() {
    let mut all = Told::new();
    let mut keep = |what, error: io::Error| all.insert(what, told(&error));
    let world = World::new();
    keep("refused", TcpStream::connect(&world.client, at(1)).unwrap_err());
    let taken = TcpListener::bind(&world.server, at(80)).unwrap();
    keep("in use", TcpListener::bind(&world.server, at(80)).unwrap_err());
    keep("not available", TcpListener::bind(&world.client, at(80)).unwrap_err());
    let nowhere: SocketAddr = ([192, 0, 2, 1], 80).into();
    keep("no route", TcpStream::connect(&world.client, nowhere).unwrap_err());

    let mut client = TcpStream::connect(&world.client, at(80)).unwrap();
    let (server, _) = taken.accept().unwrap();
    server.set_linger(Some(Duration::ZERO)).unwrap();
    drop(server);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    keep("reset", client.read(&mut [0; 1]).unwrap_err());

    let mut client = TcpStream::connect(&world.client, at(80)).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    keep("written after the end", client.write(b"x").unwrap_err());

    let socket = UdpSocket::bind(&world.client, "10.0.0.1:0").unwrap();
    keep("too big", socket.send_to(&[0; 65_508], at(53)).unwrap_err());
    keep("not connected", socket.send(b"x").unwrap_err());

    // Nobody is there, and nobody says so.
    let (end, silence) = pair(PairConfig::ip(1500)).unwrap();
    let alone = impatient([10, 0, 0, 1].into(), end);
    keep("timed out", TcpStream::connect(&alone, at(80)).unwrap_err());
    alone.stop();
    drop(silence);

    let kinds: BTreeMap<&str, ErrorKind> = all.iter().map(|(what, told)| (*what, told.0)).collect();
    let expected = [
        ("refused", ErrorKind::ConnectionRefused),
        ("in use", ErrorKind::AddrInUse),
        ("not available", ErrorKind::AddrNotAvailable),
        ("no route", ErrorKind::NetworkUnreachable),
        ("reset", ErrorKind::ConnectionReset),
        ("written after the end", ErrorKind::BrokenPipe),
        ("too big", ErrorKind::InvalidInput),
        ("not connected", ErrorKind::NotConnected),
        ("timed out", ErrorKind::TimedOut),
    ];
    assert_eq!(kinds, BTreeMap::from(expected));
    let mut words: Vec<&String> = all.values().map(|told| &told.2).collect();
    words.sort();
    words.dedup();
    assert_eq!(words.len(), all.len(), "the same words twice: {all:?}");
}

/// A stack that repeats a SYN after 20 ms, once.
fn impatient(address: IpAddr, end: PairEnd) -> Stack {
    let rto = Duration::from_millis(20);
    let tcp =
        TcpOptions { rto: RtoLimits { initial: rto, min: rto, max: rto }, ..TcpOptions::default() };
    let config = Config { tcp, syn_retries: 1, ..Config::default() };
    Stack::builder().config(config).address(address, 24).start(end).unwrap()
}

/// A stack, and somebody beyond a router that answers each packet to it with an ICMP error.
fn behind_a_router(message: (u8, u8, u32), family: u8) -> (Stack, SocketAddr) {
    let (end, mut router) = pair(PairConfig::ip(1500)).unwrap();
    let address: IpAddr =
        if family == 4 { [10, 0, 0, 1].into() } else { [0xfd77, 0, 0, 0, 0, 0, 0, 1].into() };
    let far: IpAddr =
        if family == 4 { [10, 0, 0, 2].into() } else { [0xfd77, 0, 0, 0, 0, 0, 0, 2].into() };
    let stack = impatient(address, end);
    thread::spawn(move || {
        let mut frame = FrameBuf::with_capacity(1500);
        loop {
            match router.receive(Instant::ZERO, &mut frame) {
                Ok(Some(_)) => {
                    let error = error_about(&frame, message, address, far);
                    router.send(Instant::ZERO, &error, &[], &TransmitMeta::default()).unwrap();
                }
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                // The stack has ended.
                // The stack has ended.
                Err(_) => return,
            }
        }
    });
    (stack, SocketAddr::new(far, 9))
}

/// The ICMP error from `far` to `address` that quotes `packet`.
fn error_about(
    packet: &[u8],
    (kind, code, rest): (u8, u8, u32),
    address: IpAddr,
    far: IpAddr,
) -> Vec<u8> {
    let quote = &packet[..packet.len().min(1200)];
    let mut icmp = [&[kind, code, 0, 0][..], &rest.to_be_bytes(), quote].concat();
    let length = icmp.len() as u16;
    let mut header = match (far, address) {
        (IpAddr::V4(far), IpAddr::V4(address)) => {
            let checksum = sum(&icmp).finish();
            icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
            let header = [&[0x45, 0][..], &(20 + length).to_be_bytes(), &[0, 0, 0, 0, 64, 1, 0, 0]];
            let mut header = [&header.concat()[..], &far.octets(), &address.octets()].concat();
            let checksum = sum(&header).finish();
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            header
        }
        (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
            let checksum = transport(far, address, Protocol::ICMPV6, &icmp);
            icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
            let header = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[58, 64]].concat();
            [&header[..], &ours.octets(), &theirs.octets()].concat()
        }
        _ => unreachable!("one family"),
    };
    header.append(&mut icmp);
    header
}
