//! The way to a host, told as `traceroute` tells it.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use estab::{Hop, ProbeKind, Stack, TraceEnd, TraceOptions};

/// What to explore.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    address: IpAddr,
    options: TraceOptions,
}

impl Plan {
    /// From the words of the control socket: address, hops, probes, wait in milliseconds, kind.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let [address, max_hops, probes, wait, kind] = words else { return None };
        let kind = match *kind {
            "udp" => ProbeKind::Udp,
            "echo" => ProbeKind::Echo,
            _ => return None,
        };
        let options = TraceOptions {
            kind,
            max_hops: max_hops.parse().ok()?,
            probes: probes.parse().ok()?,
            wait: Duration::from_millis(wait.parse().ok()?),
        };
        Some(Self { address: address.parse().ok()?, options })
    }
}

/// Explores, and tells each step. Whether the host was reached.
pub(crate) fn run(
    stack: &Stack,
    plan: &Plan,
    say: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<bool> {
    let hops = plan.options.max_hops;
    say(&format!("traceroute to {} from the stack, {hops} hops at most\n", plan.address))?;
    let mut said = Ok(());
    let reached = stack.traceroute(plan.address, &plan.options, |hop| {
        if said.is_ok() {
            said = say(&line(hop));
        }
    })?;
    said.map(|()| reached)
}

/// ` 1  10.77.0.1  0.212 ms  0.198 ms  *`.
fn line(hop: &Hop) -> String {
    let mut text = format!("{:2}", hop.ttl);
    let mut last = None;
    for answer in &hop.answers {
        let Some(answer) = answer else {
            text += "  *";
            continue;
        };
        if last != Some(answer.from) {
            text += &format!("  {}", answer.from);
            last = Some(answer.from);
        }
        text += &format!("  {:.3} ms", answer.round_trip.as_secs_f64() * 1000.0);
        if answer.end == Some(TraceEnd::Unreachable) {
            text += " !";
        }
    }
    text + "\n"
}
