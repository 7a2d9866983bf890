//! What a script may ask for that the stack does not have: found before anything runs.
//!
//! A script that needs Fast Open cannot pass, and a failure half-way would say something else.

use super::Failure;
use super::ast::{Action, Expression, Packet, Script};
use super::parser::options::{ACCURATE_ECN, EXPERIMENT, FAST_OPEN, MD5};
use crate::segment::TcpOption;

/// Words in the arguments of system calls, and what they need.
pub const MISSING: &[(&str, &str)] = &[
    ("AF_UNSPEC", "disconnecting with AF_UNSPEC"),
    ("IPPROTO_ICMP", "ICMP sockets"),
    ("IPPROTO_UDP", "UDP sockets"),
    ("IPPROTO_MPTCP", "Multipath TCP"),
    ("IP_FREEBIND", "IP_FREEBIND"),
    ("IP_MTU_DISCOVER", "IP_MTU_DISCOVER"),
    ("IP_RECVERR", "the socket's error queue"),
    ("MSG_ERRQUEUE", "the socket's error queue"),
    ("MSG_EOR", "MSG_EOR"),
    ("MSG_FASTOPEN", "TCP Fast Open"),
    ("MSG_OOB", "MSG_OOB"),
    ("MSG_ZEROCOPY", "MSG_ZEROCOPY"),
    ("SOCK_DGRAM", "UDP sockets"),
    ("SOCK_RAW", "raw sockets"),
    ("SO_MARK", "SO_MARK"),
    ("SO_TIMESTAMPING", "SO_TIMESTAMPING"),
    ("SO_ZEROCOPY", "MSG_ZEROCOPY"),
    ("TCP_FASTOPEN", "TCP Fast Open"),
    ("TCP_FASTOPEN_CONNECT", "TCP Fast Open"),
    ("TCP_FASTOPEN_KEY", "TCP Fast Open"),
    ("TCP_FASTOPEN_NO_COOKIE", "TCP Fast Open"),
    ("TCP_INQ", "TCP_INQ"),
    ("TCP_MD5SIG", "TCP MD5 signatures"),
    ("TCP_MD5SIG_EXT", "TCP MD5 signatures"),
    ("TCP_REPAIR", "TCP_REPAIR"),
    ("TCP_ZEROCOPY_RECEIVE", "TCP_ZEROCOPY_RECEIVE"),
];

/// System calls that are known and not there.
pub const MISSING_CALLS: &[(&str, &str)] = &[
    ("open", "files"),
    ("pipe", "pipes"),
    ("psp_rx_assoc", "PSP"),
    ("psp_tx_assoc", "PSP"),
    ("sendfile", "sendfile"),
    ("splice", "splice"),
];

/// Finds the first event that the stack or the runner has no support for.
///
/// # Errors
/// That event's place and what it needs.
pub fn check(script: &Script) -> Result<(), Failure> {
    for event in &script.events {
        let missing = match &event.action {
            Action::Call(call) => MISSING_CALLS
                .iter()
                .find(|(name, _)| *name == call.name)
                .map(|(_, what)| *what)
                .or_else(|| call.arguments.iter().find_map(in_expression)),
            Action::Leaves(packet) => in_segment(packet),
            Action::Arrives(packet) => in_arriving_segment(packet),
            Action::Icmp(_) | Action::Shell(_) | Action::Code(_) => None,
        };
        if let Some(what) = missing {
            return Err(event.position.not_supported(what));
        }
    }
    Ok(())
}

fn in_expression(expression: &Expression) -> Option<&'static str> {
    match expression {
        Expression::Names(names) => names.iter().find_map(|name| {
            MISSING.iter().find(|(missing, _)| missing == name).map(|(_, what)| *what)
        }),
        Expression::List(all)
        | Expression::Tuple(all)
        | Expression::Either(all)
        | Expression::Apply(_, all) => all.iter().find_map(in_expression),
        Expression::Record(fields) => fields.iter().find_map(|(_, value)| in_expression(value)),
        Expression::Ellipsis
        | Expression::Integer(_)
        | Expression::Fraction(_)
        | Expression::Text(_) => None,
    }
}

fn in_segment(packet: &Packet) -> Option<&'static str> {
    packet.options.iter().flatten().find_map(|option| match option {
        TcpOption::Raw { kind, .. } => match *kind {
            FAST_OPEN | EXPERIMENT => Some("TCP Fast Open"),
            MD5 => Some("TCP MD5 signatures"),
            kind if ACCURATE_ECN.contains(&kind) => Some("Accurate ECN"),
            _ => None,
        },
        _ => None,
    })
}

/// What arrives may hold any option, which the stack passes over; but who sends a cookie, or data
/// where the server asks for none, expects more.
fn in_arriving_segment(packet: &Packet) -> Option<&'static str> {
    let cookie = packet.options.iter().flatten().any(|option| match option {
        TcpOption::Raw { kind: FAST_OPEN, data, .. } => !data.is_empty(),
        TcpOption::Raw { kind: EXPERIMENT, data, .. } => data.len() > 2,
        TcpOption::Raw { .. } => packet.length > 0,
        _ => false,
    });
    in_segment(packet).filter(|_| cookie)
}
