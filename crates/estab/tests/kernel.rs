//! Our TCP against the kernel's, over a TUN device in a network namespace of its own.
//!
//! It has no harness, because only a process with one thread can enter a user namespace. Where
//! namespaces or a device are not allowed it says so and leaves that part out.

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, assert_same, join, pattern};
use estab::blocking::{TcpListener, TcpStream, UdpSocket};
use estab::bytes::{Buf, Bytes};
use estab::core::{ConnectionId, SocketId};
use estab::link::namespace::{Namespace, unshare};
use estab::link::{Batching, Layer, Link, Netlink, PacketSocket, TunBuilder};
use estab::{Stack, TcpOptions};

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const LENGTH: usize = 1 << 20;

fn main() -> io::Result<()> {
    // `cargo test -- --list` and the like ask every test program.
    if std::env::args().any(|argument| argument == "--list") {
        println!("kernel: test");
        return Ok(());
    }
    if let Err(error) = unshare(&[Namespace::User, Namespace::Network]) {
        println!("skipped: no namespaces here: {error}");
        return Ok(());
    }
    let mut kernel = Netlink::open()?;
    for (name, layer, offload) in [
        ("tun with offload", Layer::Tun, true),
        ("tun without offload", Layer::Tun, false),
        ("tap with offload", Layer::Tap, true),
    ] {
        let device = TunBuilder::new().name("estab0").layer(layer).offload(offload).mtu(1500);
        match device.open() {
            Ok(tun) => {
                kernel.add_address(tun.name(), KERNEL.into(), 24)?;
                kernel.set_up(tun.name())?;
                talk(name, tun)?;
                // The interface went with the stack.
                let tun = device.open()?;
                kernel.add_address(tun.name(), KERNEL.into(), 24)?;
                kernel.set_up(tun.name())?;
                talk_inline(name, tun)?;
                let tun = device.open()?;
                kernel.add_address(tun.name(), KERNEL.into(), 24)?;
                kernel.set_up(tun.name())?;
                many_dialogues(name, tun)?;
            }
            Err(error) if is_forbidden(&error) => println!("skipped: {name}: {error}"),
            Err(error) => return Err(error),
        }
    }
    // What is left to a user who may not open the device.
    match kernel.create_veth("estab1", "estab2") {
        Ok(()) => {
            kernel.add_address("estab2", KERNEL.into(), 24)?;
            kernel.set_up("estab1")?;
            kernel.set_up("estab2")?;
            talk("packet socket", PacketSocket::open("estab1")?)
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            println!("skipped: packet socket: {error}");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound)
}

/// Everything that is tried over one link.
fn talk(name: &str, link: impl Link + 'static) -> io::Result<()> {
    let stack = Stack::builder().address(OURS, 24).start(link)?;
    kernel_client(&stack)?;
    kernel_server(&stack)?;
    groups(&stack)?;
    let pong = stack.ping(KERNEL.into(), b"kernel", PATIENCE)?;
    assert_eq!(pong.payload, b"kernel");
    let refused = TcpStream::connect(&stack, (KERNEL, 1)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    stack.stop();
    println!("ok: {name}");
    Ok(())
}

/// Datagrams to a group and to everybody on the link, both ways.
fn groups(stack: &Stack) -> io::Result<()> {
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let everybody = Ipv4Addr::new(10, 77, 0, 255);
    let ours = UdpSocket::bind(stack, "0.0.0.0:5000")?;
    ours.join_multicast_v4(group, OURS)?;
    ours.set_broadcast(true)?;
    ours.set_read_timeout(Some(PATIENCE))?;
    let theirs = std::net::UdpSocket::bind("0.0.0.0:5000")?;
    theirs.join_multicast_v4(&group, &KERNEL)?;
    theirs.set_read_timeout(Some(PATIENCE))?;
    // What the kernel sends comes from the address that this one is bound to, by its interface.
    let sender = std::net::UdpSocket::bind((KERNEL, 0))?;
    sender.set_broadcast(true)?;
    let mut buffer = [0; 16];
    for to in [group, everybody] {
        sender.send_to(b"from the kernel", (to, 5000))?;
        assert_eq!(ours.recv_from(&mut buffer)?, (15, sender.local_addr()?));
        ours.send_to(b"from us", (to, 5000))?;
        // Each side hears itself, too: the kernel where its own socket is in the group.
        let mut heard = Vec::new();
        while !heard.contains(&SocketAddr::from((OURS, 5000))) {
            heard.push(theirs.recv_from(&mut buffer)?.1);
        }
        assert_eq!(ours.recv_from(&mut buffer)?, (7, SocketAddr::from((OURS, 5000))));
    }
    Ok(())
}

/// The same for a stack that this thread runs itself: the kernel sends a megabyte, closes its half,
/// and receives it again.
fn talk_inline(name: &str, link: impl Link + 'static) -> io::Result<()> {
    let mut stack = Stack::builder().address(OURS, 24).inline(link)?;
    let (now, address) = (stack.now(), SocketAddr::from((OURS, 80)));
    let listener = stack.core().listen(now, address, 1, TcpOptions::default()).unwrap();
    let kernel = thread::spawn(move || -> io::Result<()> {
        let mut client = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.write_all(&pattern(LENGTH, 5))?;
        client.shutdown(Shutdown::Write)?;
        let mut received = Vec::new();
        client.read_to_end(&mut received)?;
        assert_same(&received, &pattern(LENGTH, 5));
        Ok(())
    });
    let (mut connection, mut received, mut rest) = (None, Vec::new(), None);
    while !kernel.is_finished() {
        stack.turn(Some(Duration::from_millis(5)))?;
        while stack.next_event().is_some() {}
        let now = stack.now();
        connection = connection.or_else(|| Some(stack.core().accept(now, listener).ok()?.0));
        let Some(id) = connection else { continue };
        while let Ok(Some(frame)) = stack.core().read_frame(now, id) {
            received.extend_from_slice(&frame);
            stack.core().recycle(frame);
        }
        if received.len() == LENGTH {
            let rest: &mut Bytes = rest.get_or_insert_with(|| received.clone().into());
            while let Ok(count @ 1..) = stack.core().write_bytes(now, id, rest.clone()) {
                rest.advance(count);
            }
            if rest.is_empty() {
                // Once is enough; the other times it says that it was done.
                let _ = stack.core().shutdown(now, id, estab::core::Shutdown::Write);
            }
        }
    }
    join(kernel)?;
    println!("ok: {name}, inline");
    Ok(())
}

/// Sixteen clients of the kernel ask at once, again and again: their frames go together.
fn many_dialogues(name: &str, link: impl Link + 'static) -> io::Result<()> {
    const CLIENTS: usize = 16;
    const ROUNDS: u32 = 200;
    let mut stack = Stack::builder().address(OURS, 24).inline(link)?;
    let (now, address) = (stack.now(), SocketAddr::from((OURS, 7)));
    let listener = stack.core().listen(now, address, CLIENTS, TcpOptions::default()).unwrap();
    assert_eq!(stack.batching(), Batching::Off, "{name}: nothing came yet");
    let kernel = thread::spawn(move || -> io::Result<()> {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let client = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.set_nodelay(true)?;
            clients.push(client);
        }
        for round in 0..ROUNDS {
            for client in &mut clients {
                client.write_all(&round.to_be_bytes())?;
            }
            for client in &mut clients {
                let mut answer = [0; 4];
                client.read_exact(&mut answer)?;
                assert_eq!(u32::from_be_bytes(answer), round);
            }
        }
        Ok(())
    });
    let mut most = Batching::Off;
    while !kernel.is_finished() {
        stack.turn(Some(Duration::from_millis(5)))?;
        if stack.batching() != Batching::Off {
            most = stack.batching();
        }
        let now = stack.now();
        while let Some(event) = stack.next_event() {
            if let SocketId::Listener(_) = event.socket {
                while let Ok((id, _)) = stack.core().accept(now, listener) {
                    echo(stack.core(), now, id);
                }
            } else if let SocketId::Connection(id) = event.socket {
                echo(stack.core(), now, id);
            }
        }
    }
    join(kernel)?;
    let activity = stack.activity();
    match most {
        Batching::On | Batching::Refused(_) => println!("ok: {name}, dialogues: {most:?}"),
        Batching::Off | Batching::Never => panic!("{name}: {most:?}, {activity:?}"),
    }
    Ok(())
}

/// Gives back what there is.
fn echo(core: &mut estab::core::Stack, now: estab::wire::time::Instant, id: ConnectionId) {
    let mut bytes = [0; 100];
    while let Ok(count @ 1..) = core.read(now, id, &mut bytes) {
        assert_eq!(core.write(now, id, &bytes[..count]), Ok(count));
    }
}

/// The kernel's client sends a megabyte, closes its half, and receives another one.
fn kernel_client(stack: &Stack) -> io::Result<()> {
    let listener = TcpListener::bind(stack, (OURS, 80))?;
    let server = thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        assert_same(&received, &pattern(LENGTH, 1));
        stream.write_all(&pattern(LENGTH, 2))
    });
    let address = SocketAddr::from((OURS, 80));
    let mut client = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(&pattern(LENGTH, 1))?;
    client.shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    client.read_to_end(&mut received)?;
    assert_same(&received, &pattern(LENGTH, 2));
    join(server)
}

/// Our client sends a megabyte, closes its half, and receives another one.
fn kernel_server(stack: &Stack) -> io::Result<()> {
    let listener = std::net::TcpListener::bind((KERNEL, 0))?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        assert_same(&received, &pattern(LENGTH, 3));
        stream.write_all(&pattern(LENGTH, 4))
    });
    let mut client = TcpStream::connect_timeout(stack, &address, PATIENCE)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(&pattern(LENGTH, 3))?;
    client.shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    client.read_to_end(&mut received)?;
    assert_same(&received, &pattern(LENGTH, 4));
    join(server)
}
