//! A transparent proxy for TCP and UDP, without privileges: COMMAND has a network of its own whose only
//! way out is a stack of ours, which takes every flow to any address and carries it on with the kernel's
//! sockets from outside.
//!
//! ```sh
//! cargo run --release -p estab --example transparent_proxy -- curl -sS http://192.0.2.1/
//! python3 -m http.server 8000 --bind 127.0.0.1 &
//! cargo run --release -p estab --example transparent_proxy -- curl -sS http://10.77.0.2:8000/
//! cargo run --release -p estab --example transparent_proxy -- bash
//! ```
//!
//! What COMMAND sends to an address comes out to that address from this machine; 10.77.0.2 and fd77::2
//! stand for the machine's own 127.0.0.1 and ::1. A connection is answered once the far end has answered
//! us, in the way in which it did: accepted, refused, unreachable, or not at all. Names are looked up by
//! COMMAND itself, with the servers of /etc/resolv.conf: one at 127.0.0.53 is not there inside.

use std::io;
use std::net::SocketAddr;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use estab::link::Lab;
use estab::net::{PendingTcp, TcpFlows, UdpFlow, UdpFlows};
use estab::{Config, Echo, Stack};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

/// How long a UDP flow may be silent (RFC 4787 4.3: at least two minutes).
const IDLE: Duration = Duration::from_secs(120);

/// How long connections may go on when COMMAND has ended.
const DRAIN: Duration = Duration::from_secs(5);

fn main() -> io::Result<ExitCode> {
    // First of all: it starts this program again, and there must be no thread yet.
    let (device, mut inside) = Lab::new().any().command(std::env::args_os().skip(1))?;
    // Pings are not carried on, so that nobody answers them.
    let config = Config { echo: Echo::Ignore, duplicate_address_probes: 0, ..Config::default() };
    // Where the device is a packet socket, the default route leads to an address that must be known.
    let ((v4, v6), (kernel4, kernel6)) = (Lab::STACK, Lab::KERNEL);
    let stack = Stack::builder().config(config).any_address();
    let stack = stack.address(v4, 24).gateway(kernel4).address(v6, 64).gateway(kernel6);
    let stack = stack.start(device)?;
    let (tcp, udp) = (TcpFlows::bind(&stack)?, UdpFlows::bind(&stack, IDLE)?);
    let runtime = tokio::runtime::Runtime::new()?;
    let status = runtime.block_on(async {
        // Now that somebody answers, it begins.
        let command = tokio::task::spawn_blocking(move || inside.wait());
        carry(tcp, udp, command).await
    })?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Carries all flows, each in a task of its own, until COMMAND ends.
async fn carry(
    tcp: TcpFlows,
    udp: UdpFlows,
    mut command: JoinHandle<io::Result<ExitStatus>>,
) -> io::Result<ExitStatus> {
    let mut connections = JoinSet::new();
    let status = loop {
        tokio::select! {
            flow = tcp.next() => drop(connections.spawn(carry_tcp(flow?))),
            flow = udp.next() => drop(tokio::spawn(carry_udp(flow?))),
            Some(_) = connections.join_next() => {}
            status = &mut command => break status?,
        }
    };
    // What it said last is on its way still.
    let to_the_end = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, to_the_end).await;
    status
}

/// Dials first, and answers as the far end did.
async fn carry_tcp(flow: PendingTcp) -> io::Result<()> {
    let mut far = match TcpStream::connect(outside(flow.local_addr())).await {
        Ok(far) => far,
        Err(error) => return flow.fail(&error),
    };
    let mut near = flow.accept().await?;
    // Each direction ends by itself: who has said all may still listen.
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

/// Carries datagrams until the flow is silent for too long, or the far end says that nobody listens.
async fn carry_udp(flow: UdpFlow) -> io::Result<()> {
    let to = outside(flow.local_addr());
    let far = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
    far.connect(to).await?;
    let (mut question, mut answer) = (vec![0; 65_535], vec![0; 65_535]);
    loop {
        let failed = tokio::select! {
            length = flow.recv(&mut question) => far.send(&question[..length?]).await,
            length = far.recv(&mut answer) => match length {
                Ok(length) => Ok(flow.send(&answer[..length]).await?),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = failed {
            return flow.fail(&error);
        }
    }
}

/// The address outside that an address inside stands for.
fn outside(mut address: SocketAddr) -> SocketAddr {
    match &mut address {
        SocketAddr::V4(v4) if *v4.ip() == Lab::STACK.0 => v4.set_ip([127, 0, 0, 1].into()),
        SocketAddr::V6(v6) if *v6.ip() == Lab::STACK.1 => v6.set_ip(1.into()),
        _ => {}
    }
    address
}
