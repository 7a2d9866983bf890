//! Nothing stays behind. One test in a process of its own: it counts threads and descriptors.

mod common;

use std::io::Write;

use common::{World, at, eventually, host};
use estab::blocking::{TcpListener, TcpStream, UdpSocket};
use estab::link::{PairConfig, pair};

fn count(directory: &str) -> usize {
    std::fs::read_dir(directory).expect("proc").count()
}

fn threads_and_descriptors() -> (usize, usize) {
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn nothing_stays_behind() {
    let before = threads_and_descriptors();

    // Stopped: at once.
    {
        let world = World::new();
        let listener = TcpListener::bind(&world.server, at(80)).unwrap();
        let client = TcpStream::connect(&world.client, at(80)).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(threads_and_descriptors().0, before.0 + 2);
        world.client.stop();
        world.server.stop();
        assert_eq!(threads_and_descriptors(), before, "although sockets are still held");
        drop((client, server, listener));
    }

    // Dropped, handles first: the last socket holds the stack.
    for _ in 0..20 {
        let (here, there) = pair(PairConfig::ip(1500)).unwrap();
        let (client, server) = (host(here, 1), host(there, 2));
        let listener = TcpListener::bind(&server, at(80)).unwrap();
        let _udp = UdpSocket::bind(&server, at(80)).unwrap();
        let mut stream = TcpStream::connect(&client, at(80)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        drop((client, server));
        stream.write_all(b"still works").unwrap();
        let mut bytes = [0; 11];
        std::io::Read::read_exact(&mut &accepted, &mut bytes).unwrap();
        assert_eq!(&bytes, b"still works");
    }
    eventually("everything ends by itself", || threads_and_descriptors() == before);

    // A stack that cannot start leaves nothing either.
    let (end, _other) = pair(PairConfig::ip(1500).without_descriptors()).unwrap();
    let error = estab::Stack::builder().start(end).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(threads_and_descriptors(), before);
}
