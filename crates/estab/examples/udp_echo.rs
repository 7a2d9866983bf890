//! An echo server (RFC 862) that takes many datagrams with one call and sends them back with another:
//!
//! ```text
//! cargo run -p estab --example udp_echo -- python3 client.py
//! ```
//!
//! COMMAND runs in a network of its own, where the kernel is 10.77.0.1 and fd77::1 and the server 10.77.0.2
//! and fd77::2, port 7. With `--tap` before it, the two speak Ethernet; with `--no-offload` the link
//! carries every datagram by itself.

use std::io;
use std::process::ExitCode;
use std::thread;

use estab::blocking::UdpSocket;
use estab::link::{Lab, Layer};
use estab::{Config, Stack, UdpTransmit};

fn main() -> io::Result<ExitCode> {
    let mut words = std::env::args().skip(1).peekable();
    let mut lab = Lab::new();
    if words.next_if(|word| word == "--tap").is_some() {
        lab = lab.layer(Layer::Tap);
    }
    if words.next_if(|word| word == "--no-offload").is_some() {
        lab = lab.offload(false);
    }
    let (device, mut inside) = lab.command(words)?;
    // There is nobody else who could have the addresses.
    let config = Config { duplicate_address_probes: 0, ..Config::default() };
    let stack = Stack::builder()
        .config(config)
        .address([10, 77, 0, 2], 24)
        .address([0xfd77, 0, 0, 0, 0, 0, 0, 2], 64)
        .start(device)?;
    let socket = UdpSocket::bind(&stack, "[::]:7")?;
    thread::spawn(move || echo(&socket));
    let status = inside.wait()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn echo(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; 65_535];
    loop {
        let came = socket.recv_message(&mut buffer)?;
        let back = UdpTransmit {
            // As many and as long as they came; those of no length at all are one.
            segment_size: Some(came.stride).filter(|stride| *stride > 0),
            source: Some(came.destination),
            traffic_class: came.traffic_class,
            ..UdpTransmit::new(Some(came.source), &buffer[..came.length])
        };
        // One that cannot be answered is no reason to answer nobody.
        let _ = socket.send_message(&back);
    }
}
