//! A million idle connections: `cargo xtask million`.
//!
//! What one costs in memory, and what a packet to one of them costs beside a packet to one of ten. In
//! three settings, each in a process of its own so that none sees the other's memory:
//!
//! | part | both ends of each connection |
//! |---|---|
//! | `core` | two cores joined by hand, in virtual time |
//! | `sockets` | blocking sockets of two running stacks, over a wire in memory |
//! | `kernel` | sockets of a running stack and the kernel's own, over a TUN device |

mod core;
mod kernel;
mod measure;
mod sockets;

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::source;

const USAGE: &str = "\
cargo xtask million [PART...] [--connections N]

  core       N connections between two cores, 1,000,000 unless told otherwise
  sockets    the same through blocking sockets
  kernel     a tenth of that to the kernel, in a namespace of its own (needs /dev/net/tun)

Without a part: all of them. Takes some minutes and 3 GiB.
";

/// How many connections when nothing else is asked for.
const CONNECTIONS: usize = 1_000_000;
const PARTS: [&str; 3] = ["core", "sockets", "kernel"];

/// A hidden part of the command, for `main`; `None`: it is another command.
pub(crate) fn run_part(command: &str, arguments: &[String]) -> Option<Result<()>> {
    match command {
        "__million-core" => Some(count_of(arguments).and_then(core::run)),
        "__million-sockets" => Some(count_of(arguments).and_then(sockets::run)),
        "__million-kernel" => Some(count_of(arguments).and_then(kernel::run)),
        "__million-peer" => Some(kernel::peer(arguments)),
        _ => None,
    }
}

fn count_of(arguments: &[String]) -> Result<usize> {
    let [count] = arguments else { bail!("not for people") };
    Ok(count.parse()?)
}

/// Measures what `arguments` ask for.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut parts, mut connections) = (Vec::new(), CONNECTIONS);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--connections" => connections = arguments.next().context("how many?")?.parse()?,
            part if PARTS.contains(&part) => parts.push(part),
            "--help" | "-h" => {
                print!("{USAGE}");
                return Ok(());
            }
            other => bail!("{other}: no such part or option\n{USAGE}"),
        }
    }
    ensure!((10..=1 << 20).contains(&connections), "from 10 to {} connections", 1 << 20);
    if parts.is_empty() {
        parts = PARTS.to_vec();
    }
    // Optimised, as what it measures.
    let built = source::build(&["--release", "--package", "xtask", "--bin", "xtask"])?;
    let program = built.iter().find(|path| path.ends_with("xtask")).context("no xtask")?;
    for part in parts {
        let count = if part == "kernel" { connections.div_ceil(10) } else { connections };
        let mut command = Command::new(program);
        command.arg(format!("__million-{part}")).arg(count.to_string());
        ensure!(command.status()?.success(), "{part} failed");
    }
    Ok(())
}
