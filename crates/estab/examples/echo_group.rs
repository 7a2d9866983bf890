//! A member of groups of each family: what it hears there it repeats there.
//!
//! 239.77.0.1 and ff15::77 it hears from everybody until somebody says "leave", or of one who says "block"
//! until then. 232.77.0.1 and ff35::77 it hears from 10.77.0.9 and fd77::9, from who is named in "also
//! ADDRESS", and no longer from who says "leave". The port is 7777.
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

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 77, 0, 1);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x77);
/// Groups that are heard from some sources, at first from this one.
const OF_SOURCES: Ipv4Addr = Ipv4Addr::new(232, 77, 0, 1);
const OF_SOURCES_V6: Ipv6Addr = Ipv6Addr::new(0xff35, 0, 0, 0, 0, 0, 0, 0x77);
const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 9);
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
    let groups: [IpAddr; 4] =
        [GROUP.into(), GROUP_V6.into(), OF_SOURCES.into(), OF_SOURCES_V6.into()];
    for group in groups {
        let member = join(&stack, group)?;
        thread::spawn(move || repeat(&member, group));
    }
    let status = inside.wait()?;
    stack.stop();
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn join(stack: &Stack, group: IpAddr) -> io::Result<UdpSocket> {
    // The others have the port, too, and one of both families would want it of the first.
    let options = UdpOptions { shared: true, only_v6: group.is_ipv6() };
    let local: IpAddr = if group.is_ipv4() { ANY.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let member = UdpSocket::bind_with(stack, (local, PORT), options)?;
    match group {
        IpAddr::V4(OF_SOURCES) => member.join_source_v4(OF_SOURCES, SOURCE, ANY)?,
        IpAddr::V6(OF_SOURCES_V6) => member.join_source_v6(&OF_SOURCES_V6, &SOURCE_V6, 0)?,
        IpAddr::V4(group) => member.join_multicast_v4(group, ANY)?,
        IpAddr::V6(group) => member.join_multicast_v6(&group, 0)?,
    }
    // Of our own words we hear nothing, or we would repeat them for ever.
    member.set_multicast_loop_v4(false)?;
    Ok(member)
}

fn repeat(member: &UdpSocket, group: IpAddr) -> io::Result<()> {
    let mut buffer = [0; 2000];
    loop {
        let (length, from) = member.recv_from(&mut buffer)?;
        let heard = &buffer[..length];
        member.send_to(heard, SocketAddr::new(group, PORT))?;
        match (group, from.ip()) {
            (IpAddr::V4(group), IpAddr::V4(from)) => obey(member, heard, group, from)?,
            (IpAddr::V6(group), IpAddr::V6(from)) => obey_v6(member, heard, group, from)?,
            _ => {}
        }
    }
}

fn obey(member: &UdpSocket, heard: &[u8], group: Ipv4Addr, from: Ipv4Addr) -> io::Result<()> {
    match heard {
        b"leave" if group == OF_SOURCES => member.leave_source_v4(group, from, ANY),
        b"leave" => member.leave_multicast_v4(group, ANY),
        b"block" => member.block_source_v4(group, from, ANY),
        _ => match also(heard) {
            Some(IpAddr::V4(source)) => member.join_source_v4(group, source, ANY),
            _ => Ok(()),
        },
    }
}

fn obey_v6(member: &UdpSocket, heard: &[u8], group: Ipv6Addr, from: Ipv6Addr) -> io::Result<()> {
    match heard {
        b"leave" if group == OF_SOURCES_V6 => member.leave_source_v6(&group, &from, 0),
        b"leave" => member.leave_multicast_v6(&group, 0),
        b"block" => member.block_source_v6(&group, &from, 0),
        _ => match also(heard) {
            Some(IpAddr::V6(source)) => member.join_source_v6(&group, &source, 0),
            _ => Ok(()),
        },
    }
}

/// The address in "also ADDRESS".
fn also(heard: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(heard).ok()?.strip_prefix("also ")?.parse().ok()
}
