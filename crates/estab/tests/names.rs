//! Names looked up over our own sockets, from a name server that runs on another stack, and the way to a
//! host.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use estab::blocking::{TcpListener, UdpSocket};
use estab::net::{Resolver, connect};
use estab::{ProbeKind, Stack, TraceEnd, TraceOptions};
use link::{PairConfig, pair};

const SERVER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// Nobody has it, and nobody says so.
const SILENT: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x99);

const A: u16 = 1;
const AAAA: u16 = 28;

fn stacks() -> (Stack, Stack) {
    let (here, there) = pair(PairConfig::ip(1500)).unwrap();
    let client = Stack::builder()
        .address([10, 0, 0, 1], 24)
        .address(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1), 64)
        .start(here)
        .unwrap();
    let server = Stack::builder().address(SERVER4, 24).address(SERVER6, 64).start(there).unwrap();
    (client, server)
}

/// What `name` has of the kind that is asked for.
fn records(name: &str, kind: u16) -> Vec<IpAddr> {
    match (name, kind) {
        ("both.test" | "long.test", A) | ("half.test", A) => vec![SERVER4.into()],
        ("both.test" | "long.test", AAAA) => vec![SERVER6.into()],
        ("half.test", AAAA) => vec![SILENT.into()],
        _ => Vec::new(),
    }
}

/// The answer to a question (RFC 1035 4); one of `long.test` does not fit into a datagram.
fn answer(question: &[u8], over_udp: bool) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let (name, end) = (labels.join("."), at + 5);
    let cut = over_udp && name == "long.test";
    let found = if cut { Vec::new() } else { records(&name, kind) };
    let flags: u16 = if cut { 0x8380 } else { 0x8180 };
    let mut message = question[..2].to_vec();
    message.extend_from_slice(&flags.to_be_bytes());
    message.extend_from_slice(&[0, 1, 0, found.len() as u8, 0, 0, 0, 0]);
    message.extend_from_slice(&question[12..end]);
    for address in found {
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        message.extend_from_slice(&[0, octets.len() as u8]);
        message.extend_from_slice(&octets);
    }
    message
}

/// A name server and a web server of sorts on `stack`; both end with it.
fn serve(stack: &Stack) {
    let udp = UdpSocket::bind(stack, (SERVER4, 53)).unwrap();
    let tcp = TcpListener::bind(stack, (SERVER4, 53)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(&answer(&buffer[..length], true), peer);
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).unwrap();
                let answer = answer(&question, false);
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &answer].concat()).unwrap();
            }
        }
    });
    for address in [IpAddr::from(SERVER4), SERVER6.into()] {
        let web = TcpListener::bind(stack, (address, 80)).unwrap();
        std::thread::spawn(move || while web.accept().is_ok() {});
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), future).await.unwrap() })
}

#[test]
fn a_name_is_looked_up_and_connected_to() {
    let (client, server) = stacks();
    serve(&server);
    run(async {
        let resolver = Resolver::new(&client, &[(SERVER4, 53).into()]).unwrap();
        // RFC 6724 2.1 has unique local addresses behind those of IPv4.
        let both: [IpAddr; 2] = [SERVER4.into(), SERVER6.into()];
        assert_eq!(resolver.lookup("both.test.").await.unwrap(), both);
        // Too long for a datagram: the same over TCP.
        assert_eq!(resolver.lookup("long.test.").await.unwrap(), both);
        let stream = resolver.connect("both.test.:80").await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), SocketAddr::from((SERVER4, 80)));
        let nobody = resolver.connect("nobody.test.:80").await.unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::NotFound);
        let refused = resolver.connect("both.test.:81").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let wrong = resolver.connect("both.test.").await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    });
    client.stop();
    server.stop();
}

/// RFC 8305: IPv6 has an address that does not answer, and IPv4 wins soon.
#[test]
fn a_silent_family_does_not_hold_up_the_other() {
    let (client, server) = stacks();
    serve(&server);
    run(async {
        let resolver = Resolver::new(&client, &[(SERVER4, 53).into()]).unwrap();
        let began = Instant::now();
        let stream = resolver.connect("half.test.:80").await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), SocketAddr::from((SERVER4, 80)));
        // A SYN that nobody answers would be sent again after a second, and for minutes.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
    client.stop();
    server.stop();
}

#[test]
fn a_literal_address_needs_no_name_server() {
    let (client, server) = stacks();
    serve(&server);
    run(async {
        let stream = connect(&client, "10.0.0.2:80").await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), SocketAddr::from((SERVER4, 80)));
        let unknown = connect(&client, "both.test:80").await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound, "no server was told");
    });
    client.stop();
    server.stop();
}

#[test]
fn the_way_to_a_neighbour_has_one_step() {
    let (client, server) = stacks();
    for (address, kind) in [
        (IpAddr::from(SERVER4), ProbeKind::Udp),
        (SERVER4.into(), ProbeKind::Echo),
        (SERVER6.into(), ProbeKind::Udp),
        (SERVER6.into(), ProbeKind::Echo),
    ] {
        let options =
            TraceOptions { kind, wait: Duration::from_secs(10), ..TraceOptions::default() };
        let mut hops = Vec::new();
        let reached = client.traceroute(address, &options, |hop| hops.push(hop.clone())).unwrap();
        assert!(reached);
        let [hop] = &hops[..] else { panic!("{hops:?}") };
        assert_eq!((hop.ttl, hop.answers.len()), (1, 3));
        for answer in &hop.answers {
            let answer = answer.as_ref().unwrap();
            assert_eq!((answer.from, answer.end), (address, Some(TraceEnd::Reached)));
        }
    }
    let nowhere = client.traceroute([192, 0, 2, 1].into(), &TraceOptions::default(), |_| ());
    assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NetworkUnreachable);
    client.stop();
    server.stop();
}
