//! How fast estab is, beside the kernel, the device's limit, and smoltcp: `cargo xtask bench`.
//!
//! In each row one client, on the kernel's sockets, meets one server after another: the kernel
//! over a veth pair, estab and others over TUN. What serves is a [`variant`], what is asked of it a
//! [`row`], and one meeting of the two a [`run`]. Rounds go from cell to cell, so that what else
//! the machine does meets all alike.

#![deny(unsafe_code)]

mod application;
mod chart;
mod client;
mod cpu;
mod measure;
mod null;
mod outcome;
mod plan;
mod report;
mod row;
mod run;
mod server;
mod statistics;
mod summary;
mod table;
mod variant;
mod verdict;

use std::process::ExitCode;

use anyhow::Result;
use plan::{Request, USAGE};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let outcome = match arguments.first().map(String::as_str) {
        Some("__run") => run::run(rest),
        Some("__client") => client::run(rest),
        _ => carry_out(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(arguments: &[String]) -> Result<()> {
    match Request::of(arguments)? {
        Request::Help => print!("{USAGE}"),
        Request::List => {
            for row in &row::ROWS {
                println!("{:<10} {}", row.name, row.title);
            }
            println!("\nvariants: {}", variant::VARIANTS.map(variant::Variant::name).join(", "));
        }
        Request::Measure(plan) => report::carry_out(&plan)?,
    }
    Ok(())
}
