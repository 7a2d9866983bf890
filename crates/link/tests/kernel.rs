//! The links against the kernel itself, each test in a network namespace of its own.
//!
//! A process with several threads cannot enter a user namespace, and the test harness has several.
//! So this test has no harness (`harness = false`): it starts itself again for each case, and the
//! child, which has one thread, enters the namespaces and runs the case.
//!
//! `/dev/net/tun` is often open to root alone. A case that cannot run says "skipped" and why.

#[path = "kernel/batching.rs"]
mod batching;

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use link::namespace::{Namespace, unshare};
use link::{Impair, Impairment, Layer, Link, Netlink, PacketSocket, Tun, TunBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use rustix::net::{connect, recv, send, socket_with};
use wire::ethernet::{self, EtherType, EthernetAddress, Tag, Tagged};
use wire::frame::{FrameBuf, Medium, ReceiveChecksum, ReceiveMeta, TransmitChecksum, TransmitMeta};
use wire::ip::Protocol;
use wire::time::Instant;
use wire::{arp, checksum, icmpv4, ipv4, tcp, udp};

#[path = "kernel/v6.rs"]
mod v6;

const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const NOW: Instant = Instant::ZERO;
/// Which case a child runs.
const CASE: &str = "ESTAB_LINK_KERNEL_TEST";
/// The status of a child that could not run its case.
const SKIPPED: u8 = 77;

type Case = (&'static str, fn() -> io::Result<()>);

const CASES: &[Case] = &[
    ("tun_answers_ping", tun_answers_ping),
    ("tap_answers_arp_and_ping", tap_answers_arp_and_ping),
    ("packet_socket_answers_arp_and_ping", packet_socket_answers_arp_and_ping),
    ("packet_socket_without_offload", packet_socket_without_offload),
    ("packet_socket_with_the_interface_s_address", packet_socket_with_the_interface_s_address),
    ("packet_socket_sees_vlan_tags", packet_socket_sees_vlan_tags),
    ("packet_socket_sees_nothing_of_its_own", packet_socket_sees_nothing_of_its_own),
    ("packet_socket_keeps_what_comes_at_once", packet_socket_keeps_what_comes_at_once),
    ("tun_over_ipv6", tun_over_ipv6),
    ("tap_over_ipv6", tap_over_ipv6),
    ("packet_socket_over_ipv6", packet_socket_over_ipv6),
    ("addresses_of_both_families_come_and_go", addresses_of_both_families_come_and_go),
    ("tun_offload_is_negotiated", tun_offload_is_negotiated),
    ("tun_without_offload_after_one_with", tun_without_offload_after_one_with),
    ("tun_super_segments_both_ways", tun_super_segments_both_ways),
    ("tun_cuts_messages", tun_cuts_messages),
    ("packet_socket_cuts_messages", packet_socket_cuts_messages),
    ("tun_queues", tun_queues),
    ("tun_from_descriptor", tun_from_descriptor),
    ("tun_batches_keep_the_order", batching::tun_batches_keep_the_order),
    ("tun_queues_batch_each_for_itself", batching::tun_queues_batch_each_for_itself),
    ("tun_batches_are_sent_when_it_is_dropped", batching::tun_batches_are_sent_when_it_is_dropped),
    ("tun_without_io_uring", batching::tun_without_io_uring),
    ("tun_errors_for_people", tun_errors_for_people),
    ("tun_down_and_deleted", tun_down_and_deleted),
    ("netlink_requests", netlink_requests),
    ("netlink_moves_an_interface", netlink_moves_an_interface),
];

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(CASE) {
        return child(&name);
    }
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if std::env::args().any(|arg| arg == "--list") {
        CASES.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut failed, mut skipped) = (0, 0);
    for (name, _) in CASES {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let program = std::env::current_exe().expect("this program");
        let (status, text) = run_child(Command::new(program).env(CASE, name));
        match status.code() {
            Some(0) => println!("test {name} ... ok"),
            Some(code) if code == i32::from(SKIPPED) => {
                skipped += 1;
                println!("test {name} ... {}", text.trim());
            }
            _ => {
                failed += 1;
                println!("test {name} ... FAILED ({status})\n{text}");
            }
        }
    }
    println!("\nkernel: {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a child to its end; one that takes longer than a minute is ended. What it said.
fn run_child(command: &mut Command) -> (ExitStatus, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("a child");
    let status = (0..6000)
        .find_map(|_| {
            let status = child.try_wait().expect("its status");
            if status.is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
            status
        })
        .unwrap_or_else(|| {
            child.kill().expect("the child ends");
            child.wait().expect("its status")
        });
    let mut text = String::new();
    let mut said = child.stderr.take().expect("a pipe");
    said.read_to_string(&mut text).expect("text");
    (status, text)
}

/// Runs one case in namespaces of its own.
fn child(name: &str) -> ExitCode {
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    if let Err(error) = unshare(&[Namespace::User, Namespace::Network]) {
        eprintln!("skipped: no namespace of one's own: {error}");
        return ExitCode::from(SKIPPED);
    }
    let map = |file: &str, text: String| std::fs::write(file, text).expect("an identity map");
    map("/proc/self/setgroups", "deny".into());
    map("/proc/self/uid_map", format!("0 {} 1", user.as_raw()));
    map("/proc/self/gid_map", format!("0 {} 1", group.as_raw()));
    let case = CASES.iter().find(|(case, _)| *case == name).expect("a case of this name").1;
    match case() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_missing_device(&error) => {
            eprintln!("skipped: {error}");
            ExitCode::from(SKIPPED)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// `/dev/net/tun` may not be opened here, or is not there. Nothing else is a reason to skip.
fn is_missing_device(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound];
    kinds.contains(&error.kind()) && error.to_string().starts_with("/dev/net/tun")
}

// The cases.

fn tun_answers_ping() -> io::Result<()> {
    let mut tun = open_tun(&TunBuilder::new().name("ours").mtu(1400))?;
    assert_eq!((tun.name(), tun.capabilities().mtu), ("ours", 1400));
    assert_eq!(tun.capabilities().medium, Medium::Ip);
    ping(&mut tun)?;
    let delay = Impairment { delay: Duration::from_millis(3), ..Impairment::default() };
    ping(&mut Impair::new(tun, delay, delay, 1))
}

fn tap_answers_arp_and_ping() -> io::Result<()> {
    let mut tap = open_tun(&TunBuilder::new().layer(Layer::Tap))?;
    assert_eq!(tap.name(), "tap0");
    let kernel = Netlink::open()?.hardware_address("tap0")?;
    assert_ne!(tap.capabilities().medium, Medium::Ethernet(kernel), "two stations, two addresses");
    ping(&mut tap)
}

fn packet_socket_answers_arp_and_ping() -> io::Result<()> {
    make_veth()?;
    let mut socket = PacketSocket::open("ours")?;
    ping(&mut socket)?;
    fetch(&mut socket)
}

fn packet_socket_without_offload() -> io::Result<()> {
    make_veth()?;
    let mut socket = PacketSocket::without_offload("ours", "kernel")?;
    assert!(!socket.capabilities().checksum && !socket.capabilities().segmentation);
    ping(&mut socket)?;
    let peer = Peer::connect(&mut socket)?;
    assert_eq!(peer.syn.checksum, ReceiveChecksum::Unverified, "the SYN is complete");
    Ok(())
}

/// The kernel has no IP address on that end, so it does not answer beside us.
fn packet_socket_with_the_interface_s_address() -> io::Result<()> {
    make_veth()?;
    let own = Netlink::open()?.hardware_address("ours")?;
    let mut socket = PacketSocket::with_address("ours", own)?;
    assert_eq!(socket.capabilities().medium, Medium::Ethernet(own));
    ping(&mut socket)?;
    fetch(&mut socket)?;
    let group = PacketSocket::with_address("ours", EthernetAddress([1; 6])).unwrap_err();
    assert_eq!(group.kind(), io::ErrorKind::InvalidInput, "{group}");
    Ok(())
}

/// The kernel takes the tag out of the frame before the socket sees it.
fn packet_socket_sees_vlan_tags() -> io::Result<()> {
    make_veth()?;
    let (mut far, mut near) = (PacketSocket::open("kernel")?, PacketSocket::open("ours")?);
    let header = ethernet::Header {
        destination: EthernetAddress::BROADCAST,
        source: EthernetAddress([2, 0, 0, 0, 0, 9]),
        ethertype: EtherType(0x88b5), // for local experiments (IEEE 802)
    };
    for tag in [None, Some(Tag { priority: 5, drop_eligible: false, vlan: 7 })] {
        let tagged = Tagged { header, tag };
        let mut bytes = vec![0; tagged.encoded_len()];
        tagged.emit(&mut bytes);
        bytes.extend([0x5a; 60]);
        far.send(NOW, &bytes, &[], &TransmitMeta::default())?;
        let mut frame = FrameBuf::with_capacity(link::buffer_size(&near.capabilities()));
        let experiment = |frame: &FrameBuf| {
            Tagged::parse(frame).is_ok_and(|(seen, _)| seen.header.ethertype == header.ethertype)
        };
        let came = (0..1000).any(|_| {
            let came = near.receive(NOW, &mut frame).expect("a frame").is_some();
            if !came {
                near.descriptor().into_iter().for_each(wait);
            }
            came && experiment(&frame)
        });
        assert!(came, "{tag:?}");
        assert_eq!(frame[..], bytes[..]);
    }
    Ok(())
}

fn packet_socket_sees_nothing_of_its_own() -> io::Result<()> {
    make_veth()?;
    let mut near = PacketSocket::open("ours")?;
    let mut other = PacketSocket::open("ours")?;
    let mut bytes = vec![0x5a; 60];
    emit_ethernet(&near, EtherType(0x88b5), &mut bytes);
    near.send(NOW, &bytes, &[], &TransmitMeta::default())?;
    let mut frame = FrameBuf::with_capacity(2000);
    for socket in [&mut near, &mut other] {
        while socket.receive(NOW, &mut frame)?.is_some() {
            assert_ne!(frame[12..14], [0x88, 0xb5], "it came back");
        }
    }
    Ok(())
}

/// The kernel keeps more for it than for sockets in general, which would be 90 of these frames.
fn packet_socket_keeps_what_comes_at_once() -> io::Result<()> {
    const AT_ONCE: usize = 140;
    make_veth()?;
    let (mut far, mut near) = (PacketSocket::open("kernel")?, PacketSocket::open("ours")?);
    let mut bytes = vec![0x5a; 1400];
    emit_ethernet(&far, EtherType(0x88b5), &mut bytes);
    bytes[..6].fill(0xff);
    for _ in 0..AT_ONCE {
        far.send(NOW, &bytes, &[], &TransmitMeta::default())?;
    }
    let mut frame = FrameBuf::with_capacity(link::buffer_size(&near.capabilities()));
    let mut came = 0;
    for _ in 0..100 {
        while near.receive(NOW, &mut frame)?.is_some() {
            came += usize::from(frame[12..14] == [0x88, 0xb5]);
        }
        if came == AT_ONCE {
            return Ok(());
        }
        near.descriptor().into_iter().for_each(wait);
    }
    panic!("{came} of {AT_ONCE} frames");
}

fn tun_over_ipv6() -> io::Result<()> {
    let mut tun = open_tun(&TunBuilder::new().name("ours"))?;
    if !v6::configure("ours")? {
        return Ok(());
    }
    v6::is_quiet(&mut tun)?;
    v6::ping(&mut tun)?;
    v6::fetch(&mut tun)?;
    let delay = Impairment { delay: Duration::ZERO, ..Impairment::default() };
    v6::ping(&mut Impair::new(tun, delay, delay, 1))
}

fn tap_over_ipv6() -> io::Result<()> {
    let mut tap = open_tun(&TunBuilder::new().layer(Layer::Tap))?;
    if !v6::configure("tap0")? {
        return Ok(());
    }
    v6::ping(&mut tap)?;
    v6::fetch(&mut tap)
}

fn packet_socket_over_ipv6() -> io::Result<()> {
    make_veth()?;
    if !v6::configure("kernel")? {
        return Ok(());
    }
    let mut socket = PacketSocket::open("ours")?;
    v6::ping(&mut socket)?;
    v6::fetch(&mut socket)
}

fn addresses_of_both_families_come_and_go() -> io::Result<()> {
    make_veth()?;
    let mut netlink = Netlink::open()?;
    let mut addresses = vec![(IpAddr::from(KERNEL), 24)];
    if v6::configure("kernel")? {
        addresses.push((v6::KERNEL.into(), 64));
    }
    for (address, prefix) in addresses {
        // An IPv6 address is not tentative, or this would fail.
        assert_eq!(UdpSocket::bind((address, 0))?.local_addr()?.ip(), address);
        netlink.remove_address("kernel", address, prefix)?;
        let gone = UdpSocket::bind((address, 0)).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::AddrNotAvailable, "{gone}");
        let twice = netlink.remove_address("kernel", address, prefix).unwrap_err();
        assert_eq!(twice.kind(), io::ErrorKind::AddrNotAvailable, "{twice}");
    }
    Ok(())
}

fn tun_offload_is_negotiated() -> io::Result<()> {
    let mut tun = open_tun(&TunBuilder::new())?;
    assert!(tun.capabilities().checksum && tun.capabilities().segmentation);
    let peer = Peer::connect(&mut tun)?;
    assert_eq!(peer.syn.checksum, ReceiveChecksum::Partial);
    let mut plain = TunBuilder::new().name("plain").offload(false).open()?;
    assert!(!plain.capabilities().checksum && !plain.capabilities().segmentation);
    let meta = TransmitMeta { segment_size: NonZeroU16::new(1000), ..TransmitMeta::default() };
    let refused = plain.send(NOW, &[0x45; 40], &[], &meta).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    Ok(())
}

fn tun_super_segments_both_ways() -> io::Result<()> {
    fetch(&mut open_tun(&TunBuilder::new())?)
}

fn tun_cuts_messages() -> io::Result<()> {
    let mut tun = open_tun(&TunBuilder::new())?;
    messages(&mut tun)?;
    tun.set_batching(true);
    messages(&mut tun)
}

/// The kernel does not cut what comes from such a socket on every Linux, so it is done here.
fn packet_socket_cuts_messages() -> io::Result<()> {
    make_veth()?;
    let mut socket = PacketSocket::open("ours")?;
    // The two ends need some time to find each other.
    ping(&mut socket)?;
    messages(&mut socket)
}

/// The kernel gets a message as the datagrams that it stands for, whoever cut it.
fn messages(link: &mut impl Link) -> io::Result<()> {
    let socket = UdpSocket::bind((KERNEL, 7))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let payload: Vec<u8> = (0..5000_u16).map(|n| n.to_be_bytes()[1]).collect();
    let header = udp::Header { source_port: 9, destination_port: 7, payload_len: 5000 };
    let mut transport = vec![0; udp::HEADER_LEN];
    header.emit(&mut transport);
    let sum = checksum::pseudo_header(OURS.into(), KERNEL.into(), Protocol::UDP, 5008).partial();
    transport[udp::CHECKSUM_OFFSET..].copy_from_slice(&sum.to_be_bytes());
    let meta = TransmitMeta { segment_size: NonZeroU16::new(1200), ..TransmitMeta::default() };
    send_ip(link, NOW, Protocol::UDP, &transport, &payload, meta)?;
    link.flush(NOW)?;
    for piece in payload.chunks(1200) {
        let mut buffer = [0; 2000];
        let length = socket.recv(&mut buffer)?;
        assert_eq!(&buffer[..length], piece);
    }
    Ok(())
}

/// The mask is the device's and survives: who attaches without offload must not get what another
/// asked for. The device outlives its first user by a second queue.
fn tun_without_offload_after_one_with() -> io::Result<()> {
    let mut queues = TunBuilder::new().name("ours").open_queues(2)?;
    let first = queues.remove(0);
    drop(queues);
    let second = TunBuilder::new().name("ours").offload(false).open_queues(2)?;
    drop(first);
    configure("ours")?;
    let mut second = second.into_iter();
    let mut link = Either(second.next().expect("a queue"), second.next().expect("a queue"));
    let peer = Peer::connect(&mut link)?;
    assert_eq!(peer.syn.checksum, ReceiveChecksum::Unverified, "the SYN is complete");
    Ok(())
}

fn tun_queues() -> io::Result<()> {
    let queues = TunBuilder::new().name("many").open_queues(4)?;
    assert_eq!(queues.len(), 4);
    assert!(queues.iter().all(|queue| queue.name() == "many"));
    configure("many")?;
    for port in 0..64 {
        UdpSocket::bind((KERNEL, 0))?.send_to(b"which queue?", (OURS, 1000 + port))?;
    }
    let mut frame = FrameBuf::with_capacity(70_000);
    let mut frames = 0;
    let mut used = 0;
    for mut queue in queues {
        let before = frames;
        while queue.receive(NOW, &mut frame)?.is_some() {
            frames += usize::from(frame.first() == Some(&0x45));
        }
        used += usize::from(frames > before);
    }
    assert_eq!(frames, 64);
    assert!(used > 1, "flows are spread over queues");
    let none = TunBuilder::new().open_queues(0).unwrap_err();
    assert_eq!(none.kind(), io::ErrorKind::InvalidInput);
    Ok(())
}

fn tun_from_descriptor() -> io::Result<()> {
    let tun = open_tun(&TunBuilder::new().mtu(1300))?;
    let mut again = Tun::from_fd(tun.as_fd().try_clone_to_owned()?)?;
    drop(tun);
    assert_eq!((again.name(), again.capabilities().mtu), ("tun0", 1300));
    assert!(again.capabilities().segmentation);
    ping(&mut again)?;
    let not_one = Tun::from_fd(OwnedFd::from(std::fs::File::open("/dev/null")?)).unwrap_err();
    assert_eq!(not_one.kind(), io::ErrorKind::InvalidInput);
    let unattached = OwnedFd::from(std::fs::File::open("/dev/net/tun")?);
    assert_eq!(Tun::from_fd(unattached).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    Ok(())
}

fn tun_errors_for_people() -> io::Result<()> {
    let first = TunBuilder::new().name("ours").open()?;
    let says = |builder: TunBuilder, kind: io::ErrorKind, word: &str| {
        let error = builder.open().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    };
    use io::ErrorKind::{InvalidInput, ResourceBusy};
    says(TunBuilder::new().name("sixteen-letters-"), InvalidInput, "at most 15 bytes");
    says(TunBuilder::new().name("ours"), ResourceBusy, "another program");
    says(TunBuilder::new().name("ours").layer(Layer::Tap), InvalidInput, "another kind");
    says(TunBuilder::new().name("new").mtu(7), InvalidInput, "MTU 7");
    drop(first);
    Ok(())
}

fn tun_down_and_deleted() -> io::Result<()> {
    let mut tun = TunBuilder::new().name("ours").open()?;
    let down = tun.send(NOW, &[0x45; 40], &[], &TransmitMeta::default()).unwrap_err();
    assert_eq!(down.kind(), io::ErrorKind::NetworkDown, "{down}");
    Netlink::open()?.delete("ours")?;
    let mut frame = FrameBuf::with_capacity(2000);
    let gone = tun.receive(NOW, &mut frame).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe, "{gone}");
    Ok(())
}

fn netlink_requests() -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    netlink.set_up("lo")?;
    TcpStream::connect((Ipv4Addr::LOCALHOST, 9)).expect_err("refused, by a loopback that is up");
    netlink.create_veth("left", "right")?;
    let exists = netlink.create_veth("left", "right").unwrap_err();
    assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists, "{exists}");
    assert!(netlink.index("left")? != netlink.index("right")?);
    netlink.set_mtu("left", 1234)?;
    assert_eq!(std::fs::read_to_string("/proc/net/dev")?.matches("left").count(), 1);
    assert_eq!(PacketSocket::open("left")?.capabilities().mtu, 1234);
    match netlink.silence_ipv6("left") {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
        _ => {}
    }
    let early = netlink.add_route(OURS.into(), 32, None, "left").unwrap_err();
    assert_eq!(early.kind(), io::ErrorKind::NetworkDown, "{early}");
    netlink.set_up("left")?;
    netlink.set_up("right")?;
    netlink.add_address("left", KERNEL.into(), 24)?;
    assert_eq!(UdpSocket::bind((KERNEL, 0))?.local_addr()?.ip(), IpAddr::from(KERNEL));
    let again = netlink.add_address("left", KERNEL.into(), 24).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists, "{again}");
    netlink.add_route([192, 0, 2, 0].into(), 24, Some(OURS.into()), "left")?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(("192.0.2.9", 9))?;
    assert_eq!(socket.local_addr()?.ip(), IpAddr::from(KERNEL), "routed by the new route");
    netlink.add_route([0, 0, 0, 0].into(), 0, Some(OURS.into()), "left")?;
    socket.connect(("198.51.100.1", 9))?;
    let long = netlink.add_address("left", KERNEL.into(), 33).unwrap_err();
    assert_eq!(long.kind(), io::ErrorKind::InvalidInput, "{long}");
    netlink.delete("left")?;
    let missing = netlink.set_up("right").unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound, "{missing}");
    Ok(())
}

fn netlink_moves_an_interface() -> io::Result<()> {
    let here = std::fs::File::open("/proc/thread-self/ns/net")?;
    unshare(&[Namespace::Network])?;
    let mut netlink = Netlink::open()?;
    netlink.create_veth("left", "right")?;
    netlink.move_to("right", here.as_fd())?;
    let gone = netlink.index("right").unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound, "{gone}");
    netlink.index("left")?;
    let bound = netlink.move_to("lo", here.as_fd()).unwrap_err();
    assert_eq!(bound.kind(), io::ErrorKind::InvalidInput, "{bound}");
    Ok(())
}

// Setting up.

fn open_tun(builder: &TunBuilder) -> io::Result<Tun> {
    let tun = builder.open()?;
    configure(tun.name())?;
    Ok(tun)
}

/// Gives the kernel its address on the interface `name`, and brings it up.
fn configure(name: &str) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    match netlink.silence_ipv6(name) {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
        _ => {}
    }
    netlink.add_address(name, KERNEL.into(), 24)?;
    netlink.set_up(name)
}

fn make_veth() -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    netlink.create_veth("kernel", "ours")?;
    netlink.set_up("ours")?;
    configure("kernel")
}

fn wait(descriptor: BorrowedFd<'_>) {
    let mut fds = [PollFd::new(&descriptor, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 2_000_000 })).expect("poll");
}

/// Two queues of one device as one link.
struct Either(Tun, Tun);

impl Link for Either {
    fn capabilities(&self) -> wire::frame::Capabilities {
        self.0.capabilities()
    }
    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        match self.0.receive(now, frame)? {
            None => self.1.receive(now, frame),
            some => Ok(some),
        }
    }
    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        self.0.send(now, header, payload, meta)
    }
    fn flush(&mut self, now: Instant) -> io::Result<()> {
        self.0.flush(now)?;
        self.1.flush(now)
    }
    /// Of one queue only: waits are short, and the other is looked at after each.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.descriptor()
    }
}

// A stack just big enough to be talked to.

/// The kernel pings us through the link; we answer.
fn ping(link: &mut impl Link) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = Some(ipproto::ICMP);
    let socket = socket_with(AddressFamily::INET, SocketType::RAW, flags, protocol)?;
    connect(&socket, &SocketAddrV4::new(OURS, 0))?;
    let request = icmpv4::Header::EchoRequest { identifier: 0x77, sequence: 1 };
    let mut message = vec![0; request.encoded_len()];
    request.emit(&mut message);
    message.extend_from_slice(b"are you there?");
    icmpv4::fill_checksum(&mut message);
    send(&socket, &message, SendFlags::empty())?;
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        answer(link, Instant::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap()))?;
        let mut reply = [0; 200];
        if let Ok((length, _)) = recv(&socket, &mut reply, RecvFlags::empty()) {
            let (_, message) = ipv4::Header::parse(&reply[..length]).expect("IPv4");
            let (header, payload) = icmpv4::Header::parse(message).expect("ICMP");
            assert_eq!(header, icmpv4::Header::EchoReply { identifier: 0x77, sequence: 1 });
            assert_eq!(payload, b"are you there?");
            return Ok(());
        }
        link.descriptor().into_iter().for_each(wait);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to the ping"))
}

/// Answers one frame if it is an ARP or an echo request.
fn answer(link: &mut impl Link, now: Instant) -> io::Result<()> {
    let Some((frame, meta)) = next_packet(link, now)? else { return Ok(()) };
    let (ip, message) = ipv4::Header::parse(&frame).expect("IPv4");
    if ip.protocol != Protocol::ICMP {
        return Ok(());
    }
    assert_eq!(meta.segment_size, None);
    let (header, payload) = icmpv4::Header::parse(message).expect("ICMP");
    let icmpv4::Header::EchoRequest { identifier, sequence } = header else { return Ok(()) };
    let reply = icmpv4::Header::EchoReply { identifier, sequence };
    let mut message = vec![0; reply.encoded_len()];
    reply.emit(&mut message);
    message.extend_from_slice(payload);
    icmpv4::fill_checksum(&mut message);
    send_ip(link, now, Protocol::ICMP, &message, &[], TransmitMeta::default())
}

/// The next IPv4 packet to us, and its meta. ARP requests are answered on the way.
fn next_packet(link: &mut impl Link, now: Instant) -> io::Result<Option<(Vec<u8>, ReceiveMeta)>> {
    let mut frame = FrameBuf::with_capacity(link::buffer_size(&link.capabilities()));
    while let Some(meta) = link.receive(now, &mut frame)? {
        let Medium::Ethernet(own) = link.capabilities().medium else {
            if frame[0] >> 4 == 4 {
                return Ok(Some((frame.to_vec(), meta)));
            }
            continue;
        };
        let view = ethernet::View::new(&frame).expect("a frame");
        match view.ethertype() {
            EtherType::IPV4 => return Ok(Some((view.payload().to_vec(), meta))),
            EtherType::ARP => {
                let request = arp::Packet::parse(view.payload()).expect("ARP");
                assert_eq!(request.target_protocol, OURS);
                let reply = arp::Packet {
                    operation: arp::Operation::REPLY,
                    sender_hardware: own,
                    sender_protocol: OURS,
                    target_hardware: request.sender_hardware,
                    target_protocol: request.sender_protocol,
                };
                let mut bytes = vec![0; 14 + reply.encoded_len()];
                emit_ethernet(link, EtherType::ARP, &mut bytes);
                reply.emit(&mut bytes[14..]);
                link.send(now, &bytes, &[], &TransmitMeta::default())?;
            }
            _ => {}
        }
    }
    Ok(None)
}

fn emit_ethernet(link: &impl Link, ethertype: EtherType, bytes: &mut [u8]) {
    let Medium::Ethernet(source) = link.capabilities().medium else { return };
    let mut other = source;
    other.0[5] ^= 1;
    // On the veth the kernel's station is the other interface, which broadcast reaches as well.
    let tap = Netlink::open().and_then(|netlink| netlink.hardware_address("kernel"));
    let destination = tap.unwrap_or(other);
    ethernet::Header { destination, source, ethertype }.emit(bytes);
}

fn send_ip(
    link: &mut impl Link,
    now: Instant,
    protocol: Protocol,
    transport: &[u8],
    payload: &[u8],
    mut meta: TransmitMeta,
) -> io::Result<()> {
    let before = if link.capabilities().medium == Medium::Ip { 0 } else { 14 };
    let header = ipv4::Header {
        source: OURS,
        destination: KERNEL,
        protocol,
        ttl: 64,
        traffic_class: 0,
        identification: 1,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: u16::try_from(transport.len() + payload.len()).expect("an IP packet"),
        options: ipv4::Options::default(),
    };
    let mut bytes = vec![0; before + header.encoded_len()];
    emit_ethernet(link, EtherType::IPV4, &mut bytes);
    header.emit(&mut bytes[before..]);
    let start = u16::try_from(bytes.len()).expect("a header");
    if meta.segment_size.is_some() {
        let offset = if protocol == Protocol::UDP { 6 } else { 16 };
        meta.checksum = TransmitChecksum::Partial { start, offset };
    }
    bytes.extend_from_slice(transport);
    // Several slices, as from a send queue.
    let slices: Vec<&[u8]> = payload.chunks(7000).collect();
    link.send(now, &bytes, &slices, &meta)
}

/// A connection that the kernel opened to us.
struct Peer {
    /// The kernel's side.
    stream: TcpStream,
    /// What the link told about the SYN.
    syn: ReceiveMeta,
    /// The kernel's port.
    port: u16,
    /// The kernel's next sequence number.
    next: u32,
}

impl Peer {
    /// Lets the kernel connect, and answers its SYN.
    fn connect(link: &mut impl Link) -> io::Result<Peer> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        let _in_progress = connect(&socket, &SocketAddrV4::new(OURS, 80));
        let (segment, syn) = Self::segment(link)?;
        let (header, _) = tcp::Header::parse(&segment).expect("TCP");
        assert_eq!(header.flags, tcp::Flags::SYN);
        let (port, next) = (header.source_port, header.sequence.wrapping_add(1));
        let peer = Peer { stream: TcpStream::from(socket), syn, port, next };
        peer.send(link, 0, tcp::Flags::SYN | tcp::Flags::ACK, &[], None)?;
        Ok(peer)
    }

    /// The next TCP segment.
    fn segment(link: &mut impl Link) -> io::Result<(Vec<u8>, ReceiveMeta)> {
        for _ in 0..5000 {
            while let Some((packet, meta)) = next_packet(link, NOW)? {
                let (ip, segment) = ipv4::Header::parse(&packet).expect("IPv4");
                if ip.protocol == Protocol::TCP {
                    if meta.checksum == ReceiveChecksum::Unverified {
                        let (from, to) = (ip.source.into(), ip.destination.into());
                        assert!(tcp::is_checksum_valid(from, to, segment));
                    }
                    return Ok((segment.to_vec(), meta));
                }
            }
            link.descriptor().into_iter().for_each(wait);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "no TCP segment came"))
    }

    fn send(
        &self,
        link: &mut impl Link,
        sequence: u32,
        flags: tcp::Flags,
        payload: &[u8],
        segment_size: Option<NonZeroU16>,
    ) -> io::Result<()> {
        let header = tcp::Header {
            source_port: 80,
            destination_port: self.port,
            sequence,
            acknowledgment: self.next,
            flags,
            window: 65_535,
            urgent: 0,
            options: tcp::Options::default(),
        };
        let mut segment = vec![0; header.encoded_len()];
        header.emit(&mut segment);
        let length = u32::try_from(segment.len() + payload.len()).expect("an IP packet");
        let pseudo = checksum::pseudo_header(OURS.into(), KERNEL.into(), Protocol::TCP, length);
        if segment_size.is_some() {
            tcp::store_checksum(&mut segment, pseudo.partial());
        } else {
            tcp::fill_checksum(OURS.into(), KERNEL.into(), &mut segment);
        }
        let meta = TransmitMeta { segment_size, ..TransmitMeta::default() };
        send_ip(link, NOW, Protocol::TCP, &segment, payload, meta)
    }
}

/// The kernel sends us a super-segment, and we it one of 40,000 bytes.
fn fetch(link: &mut impl Link) -> io::Result<()> {
    let mut peer = Peer::connect(link)?;
    let (ack, _) = Peer::segment(link)?;
    assert_eq!(tcp::View::new(&ack).expect("TCP").flags(), tcp::Flags::ACK);
    // Without the MSS option the kernel sends segments of 536 bytes (RFC 9293 3.7.1).
    peer.stream.write_all(&[0x5a; 5000])?;
    let (segment, meta) = Peer::segment(link)?;
    let sent = tcp::View::new(&segment).expect("TCP").payload().len();
    assert_eq!(meta.checksum, ReceiveChecksum::Partial);
    assert_eq!(meta.segment_size.map(NonZeroU16::get), Some(536));
    // Two segments at least, and no more where the round trip took long (`tcp_min_tso_segs`).
    assert!(sent > 536, "a super-segment of {sent} bytes");

    peer.next = peer.next.wrapping_add(u32::try_from(sent).expect("a segment"));
    let payload: Vec<u8> =
        (0..40_000u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    peer.send(link, 1, tcp::Flags::ACK, &payload, NonZeroU16::new(1400))?;
    let mut got = vec![0; payload.len()];
    peer.stream.set_nonblocking(false)?;
    peer.stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    peer.stream.read_exact(&mut got)?;
    assert!(got == payload, "the kernel read what we sent");
    Ok(())
}
