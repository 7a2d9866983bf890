//! Flows to any address, decided before the handshake, over a wire in memory.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, eventually, join};
use estab::blocking::{self, TcpStream};
use estab::link::{PairConfig, pair};
use estab::stack::Error;
use estab::{Config, Echo, Pinger, Stack, State, Unreachable, net, wire};

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const PROXY: [u8; 4] = [10, 0, 0, 2];

const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);

/// A client whose every packet goes to a stack that takes all.
fn world() -> (Stack, Stack) {
    world_with(Config::default())
}

/// The stack that takes all has neither an address nor a route.
fn world_with(config: Config) -> (Stack, Stack) {
    let (ours, theirs) = pair(PairConfig::ip(1500)).unwrap();
    let client = Stack::builder().address(CLIENT, 24).gateway(PROXY);
    let client = client.address(CLIENT_V6, 64).gateway([0xfd77, 0, 0, 0, 0, 0, 0, 2]);
    let proxy = Stack::builder().config(config).any_address();
    (client.start(ours).unwrap(), proxy.start(theirs).unwrap())
}

fn far_v6(n: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, n, 1).into(), 1000 + n)
}

fn far(n: u16) -> SocketAddr {
    let [low, high] = n.to_le_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, high, low.max(1))), 1000 + n)
}

fn connect(client: &Stack, to: SocketAddr) -> thread::JoinHandle<std::io::Result<TcpStream>> {
    let client = client.clone();
    thread::spawn(move || TcpStream::connect(&client, to))
}

#[test]
fn a_flow_is_taken_from_its_own_address() {
    let (client, proxy) = world();
    let flows = blocking::TcpFlows::bind(&proxy).unwrap();
    let connecting = connect(&client, far(7));
    let flow = flows.next().unwrap();
    assert_eq!((flow.local_addr(), flow.peer_addr().ip()), (far(7), IpAddr::from(CLIENT)));
    assert_eq!((flow.syn().ttl, flow.syn().mss), (64, Some(1460)));
    assert!(!connecting.is_finished(), "nothing is answered yet");
    let mut server = flow.accept().unwrap();
    let mut stream = connecting.join().unwrap().unwrap();
    assert_eq!(stream.peer_addr().unwrap(), far(7));
    server.write_all(b"from afar").unwrap();
    drop(server);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from afar");
}

#[test]
fn refused_and_dropped_are_what_the_client_sees() {
    let (client, proxy) = world();
    let flows = blocking::TcpFlows::bind(&proxy).unwrap();
    let refused = connect(&client, far(1));
    flows.next().unwrap().refuse().unwrap();
    assert_eq!(refused.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let forgotten = connect(&client, far(2));
    drop(flows.next().unwrap());
    assert_eq!(forgotten.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let silent = connect(&client, far(3));
    flows.next().unwrap().discard().unwrap();
    // It comes again after a second, and is as good as new.
    let again = flows.next().unwrap();
    assert_eq!(again.local_addr(), far(3));
    let server = again.accept().unwrap();
    assert!(silent.join().unwrap().is_ok());
    drop(server);
}

#[test]
fn one_stack_has_one_who_takes_all() {
    let (_client, proxy) = world();
    let flows = blocking::TcpFlows::bind(&proxy).unwrap();
    let second = blocking::TcpFlows::bind(&proxy).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AddrInUse);
    drop(flows);
    assert!(blocking::TcpFlows::bind(&proxy).is_ok());
}

#[tokio::test]
async fn tasks_take_hundreds_at_a_time() {
    let (client, proxy) = world();
    let flows = net::TcpFlows::bind(&proxy).unwrap();
    let clients: Vec<_> = (0..300)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { net::TcpStream::connect(&client, far(n)).await })
        })
        .collect();
    let mut servers = Vec::new();
    for _ in 0..300 {
        let flow = flows.next().await.unwrap();
        servers.push(tokio::spawn(flow.accept()));
    }
    let mut ends = Vec::new();
    for client in clients {
        ends.push(client.await.unwrap().expect("every flow is taken"));
    }
    let mut accepted = Vec::new();
    for server in servers {
        accepted.push(server.await.unwrap().unwrap());
    }
    for server in &accepted {
        let peer = server.peer_addr().unwrap();
        assert!(ends.iter().any(|end| end.local_addr().unwrap() == peer));
    }
    drop(ends);
    let is_closing = |end: &net::TcpStream| end.info().unwrap().state == State::CloseWait;
    eventually("every client closes", || accepted.iter().all(is_closing));
    drop(accepted);
    // One for each family: who is closed by the peer leaves no TIME-WAIT.
    eventually("only the listeners are left", || proxy.sockets().len() == 2);
}

#[test]
fn waiting_for_a_flow_ends_with_the_stack() {
    let (_client, proxy) = world();
    let flows = blocking::TcpFlows::bind(&proxy).unwrap();
    let waiting = thread::spawn(move || flows.next().map(drop));
    thread::sleep(Duration::from_millis(20));
    proxy.stop();
    assert_eq!(join(waiting).unwrap_err().kind(), ErrorKind::NetworkDown);
}

#[test]
fn a_refusal_says_what_the_far_end_said() {
    let (client, proxy) = world();
    let flows = blocking::TcpFlows::bind(&proxy).unwrap();
    let failed = |to, how: &dyn Fn(blocking::PendingTcp)| {
        let connecting = connect(&client, to);
        how(flows.next().unwrap());
        join(connecting).unwrap_err().kind()
    };
    let protocol = failed(far(1), &|flow| flow.refuse_with(Unreachable::Protocol).unwrap());
    assert_eq!(protocol, ErrorKind::Unsupported);
    let port = failed(far_v6(2), &|flow| flow.refuse_with(Unreachable::Port).unwrap());
    assert_eq!(port, ErrorKind::ConnectionRefused);
    let refused = std::io::Error::from(ErrorKind::ConnectionRefused);
    assert_eq!(failed(far(3), &|flow| flow.fail(&refused).unwrap()), refused.kind());
    let protocol = std::io::Error::from(ErrorKind::Unsupported);
    assert_eq!(failed(far_v6(4), &|flow| flow.fail(&protocol).unwrap()), protocol.kind());
}

#[test]
fn a_udp_flow_is_taken_from_its_own_address() {
    let (client, proxy) = world();
    let flows = blocking::UdpFlows::bind(&proxy, PATIENCE).unwrap();
    let second = blocking::UdpFlows::bind(&proxy, PATIENCE).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AddrInUse);
    for (local, far, other) in
        [(IpAddr::from(CLIENT), far(7), far(8)), (CLIENT_V6.into(), far_v6(7), far_v6(8))]
    {
        let socket = blocking::UdpSocket::bind(&client, (local, 4000)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(b"question", far).unwrap();
        let flow = flows.next().unwrap();
        assert_eq!((flow.local_addr(), flow.peer_addr()), (far, (local, 4000).into()));
        assert_eq!(flow.first().ttl, 64);
        let mut buffer = [0; 32];
        assert_eq!(flow.recv(&mut buffer).unwrap(), 8);
        assert_eq!(flow.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(flow.send(b"answer").unwrap(), 6);
        assert_eq!(flow.send_from(b"another", other).unwrap(), 7);
        assert_eq!(socket.recv_from(&mut buffer).unwrap(), (6, far));
        assert_eq!(socket.recv_from(&mut buffer).unwrap(), (7, other));
        // It is over when it is silent, and the next datagram begins a new one.
        flow.set_idle(Duration::from_millis(30)).unwrap();
        socket.send_to(b"last", far).unwrap();
        assert_eq!(flow.recv(&mut buffer).unwrap(), 4);
        assert_eq!(flow.recv(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(flow.send(b"late").unwrap_err().kind(), ErrorKind::TimedOut);
        socket.send_to(b"anew", far).unwrap();
        let again = flows.next().unwrap();
        assert_eq!(again.local_addr(), far);
        // Refused, as a closed port would have it.
        socket.connect(far).unwrap();
        again.fail(&ErrorKind::ConnectionRefused.into()).unwrap();
        let refused = socket.recv_from(&mut buffer).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    drop(flows);
    eventually("everything is given back", || proxy.sockets().is_empty());
}

#[tokio::test]
async fn tasks_take_udp_flows_of_both_families() {
    let (client, proxy) = world();
    let flows = net::UdpFlows::bind(&proxy, PATIENCE).unwrap();
    let clients: Vec<_> = (0..200_u16)
        .map(|n| {
            let client = client.clone();
            let far = if n % 2 == 0 { far(n) } else { far_v6(n) };
            let any = if n % 2 == 0 { "0.0.0.0:0" } else { "[::]:0" };
            tokio::spawn(async move {
                let socket = net::UdpSocket::bind(&client, any).await?;
                socket.connect(far).await?;
                socket.send(&n.to_be_bytes()).await?;
                let mut echo = [0; 2];
                socket.recv(&mut echo).await?;
                std::io::Result::Ok(u16::from_be_bytes(echo))
            })
        })
        .collect();
    for _ in 0..200 {
        let flow = flows.next().await.unwrap();
        tokio::spawn(async move {
            let mut bytes = [0; 64];
            let length = flow.recv(&mut bytes).await?;
            flow.send(&bytes[..length]).await
        });
    }
    for (n, client) in (0..).zip(clients) {
        assert_eq!(client.await.unwrap().unwrap(), n);
    }
}

/// A program that gets echo requests to any address, and answers some of them.
#[test]
fn echo_requests_are_the_programs() {
    let (client, proxy) = world_with(Config { echo: Echo::HandOver, ..Config::default() });
    let packets = blocking::Packets::open(&proxy).unwrap();
    assert_eq!(blocking::Packets::open(&proxy).unwrap_err().kind(), ErrorKind::AddrInUse);
    let pinger = Pinger::open(&client).unwrap();
    let far = far(1).ip();
    pinger.send(far, 5, b"who is there?").unwrap();
    let mut packet = [0; 1500];
    let length = packets.recv(&mut packet).unwrap();
    let packet = &mut packet[..length];
    let (mut ip, message) = wire::ipv4::Header::parse(packet).unwrap();
    assert_eq!((IpAddr::V4(ip.destination), ip.protocol), (far, wire::ip::Protocol::ICMP));
    let mut message = message.to_vec();
    message[0] = wire::icmpv4::kind::ECHO_REPLY;
    wire::icmpv4::fill_checksum(&mut message);
    (ip.source, ip.destination, ip.ttl) = (ip.destination, ip.source, 17);
    ip.emit(packet);
    packet[20..].copy_from_slice(&message);
    packets.send(packet).unwrap();
    let pong = pinger.receive(Some(PATIENCE)).unwrap();
    assert_eq!((pong.source, pong.sequence, pong.ttl), (far, 5, 17));
    let broken = packets.send(&packet[..10]).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::InvalidInput);
    let inner = broken.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert_eq!(inner, Some(&Error::InvalidInput));
    drop(packets);
    assert!(blocking::Packets::open(&proxy).is_ok());
}
