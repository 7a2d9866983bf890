//! One run: two namespaces or one, a server here, a client as a child.
//!
//! ```text
//! kernel    | client (child) | - veth - veth - | this process: kernel sockets |
//! all others| client (child) | - TUN --------- this process: a stack          |
//! ```
//!
//! The client is always in the first namespace and on the first core; the server is this process,
//! on the second core. The namespaces are new in every run: no route, metric or TIME-WAIT of an
//! earlier one is left. They are gone with the two processes.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use link::namespace::{Namespace, enter_network, unshare};
use link::{Netlink, Tun, TunBuilder};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::row::{Medium, Row};
use crate::variant::Variant;
use crate::{cpu, server};

/// The client's interface.
const INTERFACE: &str = "bench0";
/// The other end of it, where that is a veth.
const PEER: &str = "bench1";

/// What each kernel is set to: its stock values, whatever this machine's are.
const SETTINGS: [(&str, &str); 2] =
    [("tcp_rmem", "4096 131072 6291456"), ("tcp_wmem", "4096 16384 4194304")];

/// How much longer than its window a run may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// `__run ROW VARIANT WARM-UP WINDOW`, times in milliseconds: the client prints the outcome.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let [row, variant, warm_up, window] = arguments else { bail!("not for people") };
    let row = Row::named(row).context("no such row")?;
    let variant = Variant::named(variant).context("no such variant")?;
    let times = [warm_up, window];
    let total: u64 = times.iter().map(|time| time.parse::<u64>()).sum::<Result<_, _>>()?;
    let cores = cpu::cores()?;
    let [client_core, server_core] = if row.one_core { [cores[0]; 2] } else { cores };
    enter_network().context("cannot make a network namespace")?;
    let tun = if variant.is_kernel() {
        make_veth(row.medium)?;
        None
    } else {
        Some(make_tun(row.medium)?)
    };
    let home = File::open("/proc/thread-self/ns/net")?;
    let client = || start_client(row, times, client_core);
    let client = if variant.is_kernel() {
        // The client is started where its interface is; the server's place is made first.
        unshare(&[Namespace::Network])?;
        let there = File::open("/proc/thread-self/ns/net")?;
        enter(&home)?;
        Netlink::open()?.move_to(PEER, there.as_fd())?;
        let client = client()?;
        enter(&there)?;
        let family = row.medium.family;
        configure(PEER, family.server(), family.prefix())?;
        client
    } else {
        client()?
    };
    cpu::pin(server_core)?;
    let patience = Duration::from_millis(total) + PATIENCE;
    thread::Builder::new().name("watch".into()).spawn(move || watch(client, patience))?;
    server::serve(row, variant, tun)
}

/// Ends this process with its client.
fn watch(mut client: Child, patience: Duration) {
    let deadline = Instant::now() + patience;
    loop {
        match client.try_wait() {
            Ok(Some(status)) => std::process::exit(i32::from(!status.success())),
            Ok(None) if Instant::now() < deadline => sleep(Duration::from_millis(5)),
            _ => break,
        }
    }
    eprintln!("the client does not end");
    // It may have ended just now.
    let _ = client.kill();
    std::process::exit(1);
}

fn enter(namespace: &File) -> Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(namespace.as_fd(), kind).context("cannot change the namespace")
}

fn make_tun(medium: Medium) -> Result<Tun> {
    let builder = TunBuilder::new().name(INTERFACE).layer(medium.layer).mtu(medium.mtu);
    let tun = builder.offload(medium.offload).open()?;
    configure(INTERFACE, medium.family.client(), medium.family.prefix())?;
    Ok(tun)
}

fn make_veth(medium: Medium) -> Result<()> {
    let mut netlink = Netlink::open()?;
    netlink.create_veth(INTERFACE, PEER)?;
    netlink.set_mtu(INTERFACE, medium.mtu)?;
    netlink.set_mtu(PEER, medium.mtu)?;
    configure(INTERFACE, medium.family.client(), medium.family.prefix())
}

/// Sets this namespace's kernel, and gives it its address.
fn configure(interface: &str, address: IpAddr, prefix: u8) -> Result<()> {
    let mut netlink = Netlink::open()?;
    match netlink.silence_ipv6(interface) {
        Err(error) if error.kind() != std::io::ErrorKind::Unsupported => return Err(error.into()),
        _ => {}
    }
    netlink.set_up("lo")?;
    netlink.add_address(interface, address, prefix)?;
    netlink.set_up(interface)?;
    for (name, value) in SETTINGS {
        fs::write(format!("/proc/sys/net/ipv4/{name}"), value)
            .with_context(|| format!("cannot set {name} to {value}"))?;
    }
    Ok(())
}

fn start_client(row: &Row, times: [&String; 2], core: usize) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["__client", row.name]).args(times);
    command.arg(std::process::id().to_string()).arg(core.to_string()).stdin(Stdio::null());
    command.spawn().context("cannot start the client")
}
