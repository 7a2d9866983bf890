//! `--publish`: ports of this machine's loopback that lead to PROGRAM.
//!
//! The sockets are made before the run leaves the machine's network. What comes to them is carried to the
//! stack by sockets of the kernel's side, over the link and all that is asked of it.

mod tcp;
mod udp;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use estab::Stack;

use super::arguments::{Protocol, Publish};

/// How many connections, or clients with datagrams, a port carries at once.
const AT_ONCE: usize = 1024;

/// How long who comes early waits for PROGRAM to listen for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is tried.
const AGAIN: Duration = Duration::from_millis(20);

/// Ports that are ours already, and PROGRAM's.
#[derive(Debug)]
pub(super) struct Published(Vec<(Port, u16)>);

/// A port of this machine.
#[derive(Debug)]
enum Port {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Takes the ports, in the machine's network.
pub(super) fn listen(ports: &[Publish]) -> anyhow::Result<Published> {
    let listen = |publish: &Publish| {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), publish.host);
        let port = match publish.protocol {
            Protocol::Tcp => TcpListener::bind(address).map(Port::Tcp),
            Protocol::Udp => UdpSocket::bind(address).map(Port::Udp),
        };
        let port = port.with_context(|| {
            format!("--publish: cannot listen on {address}/{}", publish.protocol)
        })?;
        Ok((port, publish.program))
    };
    Ok(Published(ports.iter().map(listen).collect::<anyhow::Result<_>>()?))
}

impl Published {
    /// Carries what comes to PROGRAM, at `address` of `stack`.
    pub(super) fn start(self, address: IpAddr, stack: &Stack) -> io::Result<()> {
        for (port, program) in self.0 {
            let (to, stack) = (SocketAddr::new(address, program), stack.clone());
            let carry = move || match port {
                Port::Tcp(listener) => tcp::accept(&listener, to),
                Port::Udp(socket) => udp::carry(&socket, to, stack),
            };
            thread::Builder::new().name(format!("publish {program}")).spawn(carry)?;
        }
        Ok(())
    }
}
