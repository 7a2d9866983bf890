//! `estab demo`: a page from our stack to the kernel, and one the other way, packet by packet.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use estab::Stack;
use link::Layer;
use stack::State;

use crate::arguments::Demo;
use crate::device::{self, Wanted};
use crate::diagram::{self, Diagram};
use crate::http::{self, Site};
use crate::observe::{Lines, Watcher};
use crate::values::{Cidr, Serve, Service};
use crate::{Output, explain, namespace, serve};

/// How long a step of the demo may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for the lines of what just happened.
const SETTLE: Duration = Duration::from_millis(60);

/// Runs `estab demo`.
pub(crate) fn run(arguments: &Demo) -> anyhow::Result<ExitCode> {
    if let Some(path) = &arguments.diagram {
        diagram::check(path)?;
    }
    namespace::enter()?;
    if arguments.explain {
        return explain::run();
    }
    let cidr: Cidr = "10.77.0.1/24".parse().map_err(anyhow::Error::msg)?;
    let wanted = Wanted { layer: Layer::Tun, mtu: None, offload: true, packet: false };
    let mut link = device::open_in_namespace(device::NAME, &wanted, cidr)?;
    if let Some(path) = &arguments.pcap {
        link = device::capture(link, path)?;
    }
    let (observer, watcher) = Watcher::start(Lines::Output)?;
    let address = IpAddr::V4(cidr.stack_address());
    let stack = Stack::builder().address(address, cidr.prefix).trace(observer).start(link)?;
    say(&format!(
        "The kernel's TCP at {} fetches a page from ours at {address}.\n\
         <- came from the kernel, -> we sent; numbers count from each side's SYN.\n",
        cidr.address
    ))?;
    serve::start(&stack, address, &Serve { service: Service::Http(None), port: 80 })?;
    kernel_fetches(SocketAddr::new(address, 80))?;
    settle(&stack)?;
    say("\nOurs fetches a page from a server behind the kernel's TCP.\n")?;
    we_fetch(&stack, IpAddr::V4(cidr.address))?;
    settle(&stack)?;
    stack.stop();
    let steps = watcher.finish();
    for diagram in diagram::diagrams(&steps) {
        say(&format!("\n{}", named(diagram).text()))?;
    }
    if let Some(path) = &arguments.diagram {
        diagram::write(path, &steps)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn named(diagram: Diagram) -> Diagram {
    diagram.named("the kernel", "estab")
}

/// A client behind the kernel's TCP.
fn kernel_fetches(server: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)
        .context("the kernel could not connect to our stack")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (status, body) = http::fetch(&mut stream, server, "/")?;
    drop(stream);
    if !status.contains(" 200 ") || body.is_empty() {
        bail!("our server answered '{status}'");
    }
    Ok(())
}

/// A client on our stack, and a server behind the kernel's TCP for one connection.
fn we_fetch(stack: &Stack, kernel: IpAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind((kernel, 8080))?;
    let server = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, peer) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Site::welcome().serve(&mut stream, peer)
    });
    let server_address = SocketAddr::new(kernel, 8080);
    let mut stream = estab::blocking::TcpStream::connect_timeout(stack, &server_address, PATIENCE)
        .context("our stack could not connect to the kernel")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (status, _) = http::fetch(&mut stream, server_address, "/")?;
    drop(stream);
    if !status.contains(" 200 ") {
        bail!("the kernel's server answered '{status}'");
    }
    match server.join() {
        Ok(served) => Ok(served?),
        Err(_) => bail!("the kernel's server panicked"),
    }
}

/// Waits until every connection of the stack is over (a TIME-WAIT is), and its lines are printed.
pub(crate) fn settle(stack: &Stack) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let is_over = |state| matches!(state, State::Listen | State::Closed | State::TimeWait);
    while stack.sockets().iter().any(|entry| !is_over(entry.state)) {
        if Instant::now() > deadline {
            bail!("a connection did not end within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(SETTLE);
    Ok(())
}

/// Prints text between the lines of the trace.
pub(crate) fn say(text: &str) -> Result<(), Output> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}
