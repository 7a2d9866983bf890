//! The servers: one application on every stack.

mod events;
mod smoltcp;
mod threads;

use std::net;

use anyhow::{Context, Result};
use link::Tun;
use rustix::net::sockopt::set_tcp_congestion;

use crate::application::{PORT, PREFIX, SERVER};
use crate::null::{self, Access, Flavour, Touch};
use crate::row::Row;
use crate::variant::Variant;

/// Serves a row until the process ends.
pub(crate) fn serve(row: &Row, variant: Variant, tun: Option<Tun>) -> Result<()> {
    let tun = || tun.context("no device");
    let null = |touch| Flavour { touch, access: Access::Calls };
    let flavour = match variant {
        Variant::Kernel if row.is_bulk() => return threads::serve(row, &kernel_listener()?),
        Variant::Kernel => return events::serve(row, &kernel_listener()?),
        Variant::KernelThreads => return threads::serve(row, &kernel_listener()?),
        Variant::Sockets => return serve_sockets(row, tun()?),
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

fn kernel_listener() -> Result<net::TcpListener> {
    let listener = net::TcpListener::bind((SERVER, PORT))?;
    set_tcp_congestion(&listener, "cubic")?;
    Ok(listener)
}

fn serve_sockets(row: &Row, tun: Tun) -> Result<()> {
    let stack = estab::Stack::builder().address(SERVER, PREFIX).start(tun)?;
    let listener = estab::blocking::TcpListener::bind(&stack, (SERVER, PORT))?;
    threads::serve(row, &listener)
}
