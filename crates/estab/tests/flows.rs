//! Flows to any address, decided before the handshake, over a wire in memory.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, eventually, join};
use estab::blocking::{self, TcpStream};
use estab::link::{PairConfig, pair};
use estab::{Stack, State, net};

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const PROXY: [u8; 4] = [10, 0, 0, 2];

/// A client whose every packet goes to a stack that takes all.
fn world() -> (Stack, Stack) {
    let (ours, theirs) = pair(PairConfig::ip(1500)).unwrap();
    let client = Stack::builder().address(CLIENT, 24).gateway(PROXY).start(ours).unwrap();
    let proxy = Stack::builder().address(PROXY, 24).gateway(CLIENT).any_address();
    (client, proxy.start(theirs).unwrap())
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
