//! `%{ assert tcpi_name == value }%`: what a program can ask with `TCP_INFO`.
//!
//! One assertion a line or behind `;`, each a field of [`FIELDS`], a comparison and a number;
//! packetdrill gives the same lines to Python. Units are those of Linux: windows in segments,
//! times in microseconds.

use stack::{State, TcpInfo};
use wire::time::Duration;

/// The fields that are known.
pub const FIELDS: &[(&str, Getter)] = &[
    ("tcpi_state", |i| linux_state(i.state)),
    ("tcpi_options", options),
    ("tcpi_backoff", |i| i64::from(i.backoff)),
    ("tcpi_rto", |i| micros(i.rto)),
    ("tcpi_ato", |i| micros(i.ato)),
    ("tcpi_snd_mss", |i| i64::from(i.snd_mss)),
    ("tcpi_rcv_mss", |i| i64::from(i.rcv_mss)),
    ("tcpi_advmss", |i| i64::from(i.advmss)),
    ("tcpi_pmtu", |i| i64::from(i.pmtu)),
    ("tcpi_rtt", |i| micros(i.rtt.unwrap_or_default())),
    ("tcpi_rttvar", |i| micros(i.rttvar.unwrap_or_default())),
    ("tcpi_min_rtt", |i| micros(i.min_rtt.unwrap_or_default())),
    ("tcpi_snd_cwnd", |i| segments(i.snd_cwnd, i.snd_mss)),
    ("tcpi_snd_ssthresh", |i| {
        if i.snd_ssthresh == u64::MAX { 0x7fff_ffff } else { segments(i.snd_ssthresh, i.snd_mss) }
    }),
    ("tcpi_snd_wnd", |i| i64::from(i.snd_wnd)),
    ("tcpi_rcv_wnd", |i| i64::from(i.rcv_wnd)),
    ("tcpi_unacked", |i| i64::from(i.unacked).div_euclid(i64::from(i.snd_mss.max(1)))),
    ("tcpi_notsent_bytes", |i| signed(i.notsent)),
    ("tcpi_total_retrans", |i| signed(i.total_retrans)),
    ("tcpi_bytes_acked", |i| signed(i.bytes_acked)),
    ("tcpi_bytes_received", |i| signed(i.bytes_received)),
    ("tcpi_bytes_sent", |i| signed(i.bytes_sent)),
    ("tcpi_bytes_retrans", |i| signed(i.bytes_retrans)),
    ("tcpi_segs_in", |i| signed(i.segs_in)),
    ("tcpi_segs_out", |i| signed(i.segs_out)),
];

/// Reads one field of a connection's information.
pub type Getter = fn(&TcpInfo) -> i64;

/// Checks every assertion of `code` against `info`.
pub(super) fn check(code: &str, info: &TcpInfo) -> Result<(), String> {
    for line in code.split(['\n', ';']).map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            check_one(line, info)?;
        }
    }
    Ok(())
}

fn check_one(line: &str, info: &TcpInfo) -> Result<(), String> {
    let unsupported = || format!("%{{ {line} }}% is not supported");
    let claim = line.strip_prefix("assert ").ok_or_else(unsupported)?;
    // What follows a comma is the message for when it fails.
    let claim = claim.split(',').next().unwrap_or(claim);
    let words: Vec<&str> = claim.split_whitespace().collect();
    let [field, comparison, value] = words[..] else { return Err(unsupported()) };
    let (_, get) = FIELDS.iter().find(|(name, _)| *name == field).ok_or_else(unsupported)?;
    let wanted = constant(value).ok_or_else(unsupported)?;
    let found = get(info);
    let holds = match comparison {
        "==" => found == wanted,
        "!=" => found != wanted,
        "<" => found < wanted,
        "<=" => found <= wanted,
        ">" => found > wanted,
        ">=" => found >= wanted,
        _ => return Err(unsupported()),
    };
    if holds { Ok(()) } else { Err(format!("{claim} does not hold: {field} is {found}")) }
}

/// `TCPI_OPT_*` of linux/tcp.h.
fn options(info: &TcpInfo) -> i64 {
    let bits = [
        info.timestamps,
        info.sack,
        info.window_scale.is_some(),
        info.ecn,
        info.ecn_capable_received > 0,
    ];
    bits.iter().rev().fold(0, |all, bit| all << 1 | i64::from(*bit))
}

fn constant(word: &str) -> Option<i64> {
    if let Ok(number) = word.parse() {
        return Some(number);
    }
    let state = State::ALL.into_iter().find(|state| {
        let name = state.name().replace(['-', ' '], "_");
        word.strip_prefix("TCP_").is_some_and(|w| w == name || w == linux_name(*state))
    });
    state.map(linux_state)
}

/// The names in Linux's `tcp_states.h`, where they are not the RFC's.
fn linux_name(state: State) -> &'static str {
    match state {
        State::SynReceived => "SYN_RECV",
        State::FinWait1 => "FIN_WAIT1",
        State::FinWait2 => "FIN_WAIT2",
        State::Closed => "CLOSE",
        _ => "",
    }
}

fn linux_state(state: State) -> i64 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Listen => 10,
        State::Closing => 11,
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn segments(bytes: u64, mss: u32) -> i64 {
    signed(bytes / u64::from(mss.max(1)))
}
