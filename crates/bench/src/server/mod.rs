//! The servers: one application on every stack.

mod events;
mod smoltcp;
mod threads;

use std::net;

use anyhow::{Context, Result};
use link::Tun;
use rustix::net::sockopt::set_tcp_congestion;

use crate::application::{PORT, PREFIX, SERVER};
use crate::null::{self, Flavour, Touch};
use crate::row::Row;
use crate::variant::Variant;

/// Serves a row until the process ends.
pub(crate) fn serve(row: &Row, variant: Variant, tun: Option<Tun>) -> Result<()> {
    let tun = || tun.context("no device");
    let null = |touch, spins| Flavour { touch, spins };
    let flavour = match variant {
        Variant::Kernel if row.is_bulk() => return threads::serve(row, &kernel_listener()?),
        Variant::Kernel => return events::serve(row, &kernel_listener()?),
        Variant::KernelThreads => return threads::serve(row, &kernel_listener()?),
        Variant::Sockets => return serve_sockets(row, tun()?),
        Variant::Smoltcp => return smoltcp::serve(row, tun()?),
        Variant::Null => null(Touch::Nothing, false),
        Variant::NullCopy => null(Touch::Copy, false),
        Variant::NullRing => null(Touch::Ring, false),
        Variant::NullSum => null(Touch::Sum, false),
        Variant::NullSpin => null(Touch::Nothing, true),
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
