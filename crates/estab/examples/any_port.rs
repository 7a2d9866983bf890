//! A host that is everybody: every TCP and UDP port of every address answers, and says which it is.
//!
//! ```sh
//! cargo run --release -p estab --example any_port -- nc 203.0.113.7 4711
//! cargo run --release -p estab --example any_port -- bash
//! ```
//!
//! COMMAND runs in a network of its own, without privileges, whose default route is our stack.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use estab::link::{Lab, Link};
use estab::net::{PendingTcp, TcpFlows, UdpFlow, UdpFlows};
use estab::{Config, Stack};
use tokio::io::AsyncWriteExt;

fn main() -> io::Result<ExitCode> {
    // First of all: it starts this program again, and there must be no thread yet.
    let (device, mut inside) = Lab::new().any().command(std::env::args_os().skip(1))?;
    let stack = on(device)?;
    let (tcp, udp) = (TcpFlows::bind(&stack)?, UdpFlows::bind(&stack, Duration::from_secs(30))?);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.spawn(answer_all(tcp, udp));
    // Now that somebody answers, it begins.
    let status = inside.wait()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// A stack for all addresses. Where the device is a packet socket the default route leads to one of its
/// own, which must then be known.
fn on(device: impl Link + 'static) -> io::Result<Stack> {
    // There is nobody else who could have the addresses.
    let config = Config { duplicate_address_probes: 0, ..Config::default() };
    let ((v4, v6), (kernel4, kernel6)) = (Lab::STACK, Lab::KERNEL);
    let stack = Stack::builder().config(config).any_address();
    let stack = stack.address(v4, 24).gateway(kernel4).address(v6, 64).gateway(kernel6);
    stack.start(device)
}

async fn answer_all(tcp: TcpFlows, udp: UdpFlows) -> io::Result<()> {
    loop {
        tokio::select! {
            flow = tcp.next() => drop(tokio::spawn(answer_tcp(flow?))),
            flow = udp.next() => drop(tokio::spawn(answer_udp(flow?))),
        }
    }
}

async fn answer_tcp(flow: PendingTcp) -> io::Result<()> {
    let greeting = format!("{}\n", flow.local_addr());
    let mut stream = flow.accept().await?;
    stream.write_all(greeting.as_bytes()).await?;
    stream.shutdown().await
}

async fn answer_udp(flow: UdpFlow) -> io::Result<()> {
    let answer = format!("{}\n", flow.local_addr());
    loop {
        flow.recv(&mut [0; 1]).await?;
        flow.send(answer.as_bytes()).await?;
    }
}
