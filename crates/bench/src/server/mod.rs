//! The servers: one application on every stack.

mod events;
mod inline;
mod poll;
mod smoltcp;
mod tasks;
mod threads;

use std::net;
use std::time::Duration;

use anyhow::{Context, Result};
use link::Tun;
use rustix::net::sockopt::set_tcp_congestion;

use crate::null::{self, Access, Flavour, Touch};
use crate::row::Row;
use crate::variant::Variant;

/// How long the variants that poll look for a frame before they sleep: many round trips.
const BUSY_POLL: Duration = Duration::from_micros(500);

/// Serves a row until the process ends.
pub(crate) fn serve(row: &Row, variant: Variant, tun: Option<Tun>) -> Result<()> {
    let tun = || tun.context("no device");
    let null = |touch| Flavour { touch, access: Access::Calls };
    let flavour = match variant {
        Variant::Kernel if row.is_bulk() => return threads::serve(row, &kernel_listener(row)?),
        Variant::Kernel => return events::serve(row, &kernel_listener(row)?),
        Variant::KernelThreads => return threads::serve(row, &kernel_listener(row)?),
        Variant::Sockets => return serve_sockets(row, tun()?, Duration::ZERO),
        Variant::SocketsSpin => return serve_sockets(row, tun()?, BUSY_POLL),
        Variant::SocketsPoll => return poll::serve(row, tun()?),
        Variant::Tasks => return tasks::serve(row, tun()?),
        Variant::Inline => return inline::serve(row, tun()?, Duration::ZERO),
        Variant::InlineSpin => return inline::serve(row, tun()?, BUSY_POLL),
        Variant::Smoltcp => return smoltcp::serve(row, tun()?),
        Variant::Null => null(Touch::Nothing),
        Variant::NullCopy => null(Touch::Copy),
        Variant::NullRing => null(Touch::Ring),
        Variant::NullSum => null(Touch::Sum),
        Variant::NullSpin => Flavour { access: Access::Spin, ..null(Touch::Nothing) },
        Variant::NullUring => Flavour { access: Access::Ring, ..null(Touch::Nothing) },
    };
    Ok(null::serve(row, tun()?, flavour)?)
}

fn kernel_listener(row: &Row) -> Result<net::TcpListener> {
    let listener = net::TcpListener::bind(row.server())?;
    set_tcp_congestion(&listener, "cubic")?;
    Ok(listener)
}

fn serve_sockets(row: &Row, tun: Tun, busy_poll: Duration) -> Result<()> {
    let stack = stack(row).busy_poll(busy_poll).start(tun)?;
    let listener = estab::blocking::TcpListener::bind(&stack, row.server())?;
    threads::serve(row, &listener)
}

/// estab with the server's address.
fn stack(row: &Row) -> estab::StackBuilder {
    let family = row.medium.family;
    estab::Stack::builder().address(family.server(), family.prefix())
}
