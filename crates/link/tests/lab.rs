//! A lab for a program that stays outside of it.
//!
//! `Lab::command` starts the program again and wants to be called first in `main`, where there is one
//! thread. So this test has no harness (`harness = false`): it starts itself for each case.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use link::{Lab, Layer, Link, buffer_size};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wire::ethernet::{self, EtherType};
use wire::frame::{FrameBuf, Medium};
use wire::ip::{Outline, Protocol};

/// Which case a child runs.
const CASE: &str = "ESTAB_LAB_TEST";
/// What the command of a case is to do.
const INSIDE: &str = "ESTAB_LAB_TEST_INSIDE";
/// The status of a child that could not run its case.
const SKIPPED: u8 = 77;
/// How long a frame may take.
const PATIENCE: Duration = Duration::from_secs(10);

type Case = (&'static str, fn() -> io::Result<()>);

const CASES: &[Case] = &[
    ("packets_to_everywhere_come_out_here", packets_to_everywhere_come_out_here),
    ("without_a_default_route_there_is_none", without_a_default_route_there_is_none),
    ("a_tap_asks_for_the_stack", a_tap_asks_for_the_stack),
    ("so_does_a_packet_socket", so_does_a_packet_socket),
    ("the_program_stays_outside", the_program_stays_outside),
    ("the_command_begins_when_it_is_told_to", the_command_begins_when_it_is_told_to),
    ("who_is_dropped_ends", who_is_dropped_ends),
    ("what_is_no_command_is_refused", what_is_no_command_is_refused),
];

fn main() -> ExitCode {
    if let Ok(what) = std::env::var(INSIDE) {
        return inside(&what);
    }
    if let Ok(name) = std::env::var(CASE) {
        return run_case(&name);
    }
    let mut failed = 0;
    for (name, _) in CASES {
        let itself = std::env::current_exe().expect("this program has a path");
        let child = Command::new(itself).env(CASE, name).stdin(Stdio::null()).output();
        let output = child.expect("it starts again");
        let word = match output.status.code() {
            Some(0) => "ok",
            Some(code) if code == i32::from(SKIPPED) => "skipped",
            _ => {
                failed += 1;
                "FAILED"
            }
        };
        println!("test {name} ... {word} {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_case(name: &str) -> ExitCode {
    let (_, case) = CASES.iter().find(|(case, _)| *case == name).expect("a case of this name");
    match case() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("{error}");
            ExitCode::from(SKIPPED)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// COMMAND: it speaks, or says what it cannot.
fn inside(what: &str) -> ExitCode {
    if what == "sleep" {
        std::thread::sleep(PATIENCE);
    }
    for to in what.split(',').filter(|to| *to != "sleep") {
        let to: SocketAddr = to.parse().expect("an address");
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let sent = UdpSocket::bind(any).and_then(|socket| socket.send_to(b"inside", to));
        if let Err(error) = sent {
            println!("{to}: {error}");
            return ExitCode::from(3);
        }
    }
    ExitCode::from(7)
}

/// The lab of a case, whose command is `inside`.
fn lab(lab: &Lab, what: &str) -> io::Result<(Box<dyn Link>, link::lab::Inside)> {
    let itself = std::env::current_exe()?.into_os_string();
    lab.command(["env".into(), format!("{INSIDE}={what}").into(), itself])
}

/// The next IP packet of UDP that comes from the device.
fn next_datagram(device: &mut Box<dyn Link>) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut frame = FrameBuf::with_capacity(buffer_size(&device.capabilities()));
    while Instant::now() < deadline {
        if device.receive(wire::time::Instant::ZERO, &mut frame)?.is_some() {
            if Outline::of(&frame).is_some_and(|packet| packet.protocol == Protocol::UDP) {
                return Ok(frame.to_vec());
            }
            continue;
        }
        let descriptor = device.descriptor().expect("a device has one");
        let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
        poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], Some(&timeout))?;
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no datagram came"))
}

fn packets_to_everywhere_come_out_here() -> io::Result<()> {
    let far = ["203.0.113.7:53", "10.77.0.2:9", "[2001:db8::7]:53", "[fd77::2]:9"];
    let (mut device, mut inside) = lab(&Lab::new().any(), &far.join(","))?;
    inside.start()?;
    assert_eq!(device.capabilities().mtu, 1500);
    for to in far {
        let to: SocketAddr = to.parse().expect("an address");
        let packet = next_datagram(&mut device)?;
        let outline = Outline::of(&packet).expect("a packet");
        let kernel: IpAddr = if to.is_ipv4() { Lab::KERNEL.0.into() } else { Lab::KERNEL.1.into() };
        assert_eq!((outline.source, outline.destination), (kernel, to.ip()));
        let udp = wire::udp::View::new(&packet[outline.start..]).expect("a datagram");
        assert_eq!(udp.destination_port(), to.port());
    }
    assert_eq!(inside.wait()?.code(), Some(7), "its status is the command's");
    Ok(())
}

fn without_a_default_route_there_is_none() -> io::Result<()> {
    let (mut device, mut inside) = lab(&Lab::new(), "10.77.0.2:9,203.0.113.7:53")?;
    inside.start()?;
    next_datagram(&mut device)?;
    assert_eq!(inside.wait()?.code(), Some(3));
    Ok(())
}

fn a_tap_asks_for_the_stack() -> io::Result<()> {
    asks_for_the_stack(&Lab::new().any().layer(Layer::Tap).mtu(1400).offload(false))
}

fn so_does_a_packet_socket() -> io::Result<()> {
    asks_for_the_stack(&Lab::new().any().packet().mtu(1400).offload(false))
}

fn asks_for_the_stack(ethernet: &Lab) -> io::Result<()> {
    let (mut device, mut inside) = lab(ethernet, "203.0.113.7:53")?;
    inside.start()?;
    let capabilities = device.capabilities();
    assert!(matches!(capabilities.medium, Medium::Ethernet(_)));
    assert_eq!((capabilities.mtu, capabilities.segmentation), (1400, false));
    let deadline = Instant::now() + PATIENCE;
    let mut frame = FrameBuf::with_capacity(buffer_size(&capabilities));
    while Instant::now() < deadline {
        if device.receive(wire::time::Instant::ZERO, &mut frame)?.is_none() {
            std::thread::yield_now();
            continue;
        }
        let (header, payload) = ethernet::Header::parse(&frame).expect("a frame");
        if header.ethertype == EtherType::ARP {
            let question = wire::arp::Packet::parse(payload).expect("an ARP packet");
            assert_eq!(question.target_protocol, Lab::STACK.0);
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "nobody asked"))
}

/// What the program binds outside is not inside, and the other way round.
fn the_program_stays_outside() -> io::Result<()> {
    let itself = std::fs::read_link("/proc/self/ns/net")?;
    let (_device, inside) = lab(&Lab::new(), "sleep")?;
    assert_eq!(std::fs::read_link("/proc/self/ns/net")?, itself);
    let theirs = std::fs::read_link(format!("/proc/{}/ns/net", inside.id()))?;
    assert_ne!(theirs, itself);
    // The kernel's sockets are the outside's: the lab's address is nobody's here.
    assert!(TcpListener::bind((Lab::KERNEL.0, 0)).is_err());
    Ok(())
}

fn who_is_dropped_ends() -> io::Result<()> {
    let (_device, mut inside) = lab(&Lab::new(), "sleep")?;
    inside.start()?;
    assert_eq!(inside.try_wait()?, None);
    let id = inside.id();
    drop(inside);
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    Ok(())
}

/// Nothing is sent before somebody is there to answer.
fn the_command_begins_when_it_is_told_to() -> io::Result<()> {
    let (mut device, mut inside) = lab(&Lab::new().any(), "203.0.113.7:53")?;
    let mut frame = FrameBuf::with_capacity(buffer_size(&device.capabilities()));
    let descriptor = device.descriptor().expect("a device has one");
    let timeout = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], Some(&timeout))?;
    while device.receive(wire::time::Instant::ZERO, &mut frame)?.is_some() {
        assert!(Outline::of(&frame).is_none_or(|packet| packet.protocol != Protocol::UDP));
    }
    assert_eq!(inside.wait()?.code(), Some(7));
    next_datagram(&mut device).map(drop)
}

fn what_is_no_command_is_refused() -> io::Result<()> {
    let none = Lab::new().command(Vec::<std::ffi::OsString>::new());
    assert_eq!(none.err().expect("no command").kind(), io::ErrorKind::InvalidInput);
    for missing in ["/no/such/program", "no-such-program-anywhere"] {
        let error = Lab::new().command([missing]).err().expect("no such command");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains(missing), "{error}");
    }
    // What goes wrong inside is told outside.
    let error = Lab::new().mtu(10).command(["true"]).err().expect("no device has such an MTU");
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Err(error);
    }
    assert!(error.to_string().contains("estab0: cannot set MTU 10"), "{error}");
    Ok(())
}
