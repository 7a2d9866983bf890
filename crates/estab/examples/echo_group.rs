//! A member of a group of each family, 239.77.0.1 and ff15::77, port 7777: what it hears there it repeats
//! there, until somebody says "leave".
//!
//! ```sh
//! cargo run --release -p estab --example echo_group -- bash
//! cargo run --release -p estab --example echo_group -- --tap bash
//! ```
//!
//! COMMAND runs in a network of its own, without privileges, as the other host on our link.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::thread;

use estab::blocking::UdpSocket;
use estab::link::{Lab, Layer};
use estab::{Config, Stack, UdpOptions};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 77, 0, 1);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x77);
const PORT: u16 = 7777;

fn main() -> io::Result<ExitCode> {
    let mut words = std::env::args_os().skip(1).peekable();
    let ethernet = words.next_if(|word| word == "--tap").is_some();
    let layer = if ethernet { Layer::Tap } else { Layer::Tun };
    // First of all: it starts this program again, and there must be no thread yet.
    let (device, mut inside) = Lab::new().layer(layer).command(words)?;
    let (ours, ours_v6) = Lab::STACK;
    // There is nobody else who could have the addresses.
    let config = Config { duplicate_address_probes: 0, ..Config::default() };
    let builder = Stack::builder().address(ours, 24).address(ours_v6, 64).config(config);
    let stack = builder.start(device)?;
    let member = UdpSocket::bind(&stack, (Ipv4Addr::UNSPECIFIED, PORT))?;
    member.join_multicast_v4(GROUP, Ipv4Addr::UNSPECIFIED)?;
    thread::spawn(move || repeat(&member, GROUP.into()));
    // Of both families it would want the port of the first.
    let options = UdpOptions { only_v6: true, ..UdpOptions::default() };
    let member = UdpSocket::bind_with(&stack, (Ipv6Addr::UNSPECIFIED, PORT), options)?;
    member.join_multicast_v6(&GROUP_V6, 0)?;
    thread::spawn(move || repeat(&member, GROUP_V6.into()));
    let status = inside.wait()?;
    stack.stop();
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn repeat(member: &UdpSocket, group: IpAddr) -> io::Result<()> {
    // Of our own words we hear nothing, or we would repeat them for ever.
    member.set_multicast_loop_v4(false)?;
    let mut buffer = [0; 2000];
    loop {
        let (length, _from) = member.recv_from(&mut buffer)?;
        let heard = &buffer[..length];
        member.send_to(heard, SocketAddr::new(group, PORT))?;
        if heard == b"leave" {
            match group {
                IpAddr::V4(group) => member.leave_multicast_v4(group, Ipv4Addr::UNSPECIFIED)?,
                IpAddr::V6(group) => member.leave_multicast_v6(&group, 0)?,
            }
        }
    }
}
