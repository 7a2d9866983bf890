//! A device that reads and writes several frames with one system call.

use std::io;
use std::net::UdpSocket;

use link::{Batching, Layer, Link, TunBuilder};
use rustix::process::{Resource, getrlimit, setrlimit};
use wire::frame::TransmitMeta;
use wire::ip::Protocol;
use wire::{ipv4, udp};

use super::{Either, KERNEL, NOW, OURS, configure, next_packet, open_tun, ping, send_ip};

const PORT: u16 = 9000;

/// Whatever a device carries, and however, what goes through it stays in order and whole.
pub(crate) fn tun_batches_keep_the_order() -> io::Result<()> {
    for layer in [Layer::Tun, Layer::Tap] {
        for offload in [true, false] {
            let mut tun = open_tun(&TunBuilder::new().layer(layer).offload(offload))?;
            ping(&mut tun)?;
            assert_eq!(tun.batching(), Batching::Off, "nobody asked for it");
            tun.set_batching(true);
            match tun.batching() {
                Batching::On => {}
                // Here each frame costs a call, and nothing else is different.
                Batching::Refused(why) => eprintln!("io_uring is refused: {why}"),
                other => panic!("{other:?}"),
            }
            exchange(&mut tun)?;
            tun.set_batching(false);
            exchange(&mut tun)?;
            ping(&mut tun)?;
        }
    }
    Ok(())
}

pub(crate) fn tun_queues_batch_each_for_itself() -> io::Result<()> {
    let mut queues = TunBuilder::new().name("ours").open_queues(2)?;
    configure("ours")?;
    let (second, first) = (queues.pop().expect("a queue"), queues.pop().expect("a queue"));
    let mut both = Either(first, second);
    both.0.set_batching(true);
    both.1.set_batching(true);
    exchange(&mut both)?;
    both.1.set_batching(false);
    exchange(&mut both)
}

/// What a link took is sent, and the interface is gone at once.
pub(crate) fn tun_batches_are_sent_when_it_is_dropped() -> io::Result<()> {
    for round in 0..3 {
        let mut tun = open_tun(&TunBuilder::new().name("ours"))?;
        ping(&mut tun)?;
        let socket = listen()?;
        tun.set_batching(true);
        for number in 0..5 {
            send(&mut tun, number)?;
        }
        if tun.batching() == Batching::On {
            assert_eq!(received(&socket)?, [], "round {round}: they wait");
        }
        drop(tun);
        assert_eq!(received(&socket)?, [0, 1, 2, 3, 4], "round {round}");
    }
    Ok(())
}

/// Without io_uring a device says so and goes on.
pub(crate) fn tun_without_io_uring() -> io::Result<()> {
    let mut tun = open_tun(&TunBuilder::new().io_uring(false))?;
    tun.set_batching(true);
    assert_eq!(tun.batching(), Batching::Never);
    exchange(&mut tun)?;
    drop(tun);
    let mut tun = open_tun(&TunBuilder::new())?;
    // No more descriptors: a refusal like that of a seccomp filter.
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = Some(0);
    setrlimit(Resource::Nofile, limit)?;
    tun.set_batching(true);
    limit.current = before;
    setrlimit(Resource::Nofile, limit)?;
    assert!(matches!(tun.batching(), Batching::Refused(_)), "{:?}", tun.batching());
    exchange(&mut tun)?;
    tun.set_batching(false);
    tun.set_batching(true);
    assert!(matches!(tun.batching(), Batching::Refused(_)), "it is not asked again and again");
    Ok(())
}

/// Datagrams both ways at once, in bursts of all sizes.
fn exchange(link: &mut impl Link) -> io::Result<()> {
    let socket = listen()?;
    let (mut arrived, mut delivered) = (Vec::new(), Vec::new());
    let mut next = 0;
    for burst in 1..40 {
        for number in next..next + burst {
            send(link, number)?;
            socket.send_to(&number.to_be_bytes(), (OURS, PORT))?;
        }
        next += burst;
        // One more than there can be: a link may say early that there is nothing.
        for _ in 0..=burst {
            arrived.extend(receive(link)?);
        }
        delivered.extend(received(&socket)?);
    }
    link.flush(NOW)?;
    delivered.extend(received(&socket)?);
    for _ in 0..3 {
        arrived.extend(receive(link)?);
    }
    let all: Vec<u32> = (0..next).collect();
    assert!(delivered == all, "to the kernel: {delivered:?}");
    assert!(arrived == all, "to us: {arrived:?}");
    Ok(())
}

fn listen() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((KERNEL, PORT))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The numbers that came to the kernel's socket.
fn received(socket: &UdpSocket) -> io::Result<Vec<u32>> {
    let (mut numbers, mut bytes) = (Vec::new(), [0; 4]);
    loop {
        match socket.recv(&mut bytes) {
            Ok(_) => numbers.push(u32::from_be_bytes(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(numbers),
            Err(error) => return Err(error),
        }
    }
}

/// Sends the kernel's socket a number.
fn send(link: &mut impl Link, number: u32) -> io::Result<()> {
    let header = udp::Header { source_port: PORT, destination_port: PORT, payload_len: 4 };
    let mut datagram = vec![0; 8];
    header.emit(&mut datagram);
    datagram.extend_from_slice(&number.to_be_bytes());
    udp::fill_checksum(OURS.into(), KERNEL.into(), &mut datagram);
    send_ip(link, NOW, Protocol::UDP, &datagram, &[], TransmitMeta::default())
}

/// The numbers of the datagrams that the link has, until it says that there is nothing.
fn receive(link: &mut impl Link) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    while let Some((packet, _)) = next_packet(link, NOW)? {
        let (ip, datagram) = ipv4::Header::parse(&packet).expect("IPv4");
        if ip.protocol == Protocol::UDP {
            let payload = udp::View::new(datagram).expect("UDP").payload();
            numbers.push(u32::from_be_bytes(payload.try_into().expect("a number")));
        }
    }
    Ok(numbers)
}
