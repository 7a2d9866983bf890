//! `struct tcp_info`, by Linux's names and in its units, and the constants that go with it.

use stack::info::Repair;
use stack::{State, TcpInfo};
use wire::time::{Duration, Instant};

/// The fields that are known. Before the first data, Linux counts from the handshake, and so does
/// this: from the last ACK, which is the handshake's while nothing was sent.
pub const FIELDS: &[(&str, Getter)] = &[
    ("tcpi_state", |i, _| linux_state(i.state)),
    ("tcpi_ca_state", |i, _| congestion_state(i.repair)),
    ("tcpi_probes", |i, _| i64::from(i.probes)),
    ("tcpi_backoff", |i, _| i64::from(i.backoff)),
    ("tcpi_options", |i, _| options(i)),
    ("tcpi_snd_wscale", |i, _| i64::from(i.window_scale.unwrap_or_default().0)),
    ("tcpi_rcv_wscale", |i, _| i64::from(i.window_scale.unwrap_or_default().1)),
    ("tcpi_rto", |i, _| micros(i.rto)),
    ("tcpi_ato", |i, _| micros(i.ato)),
    ("tcpi_snd_mss", |i, _| i64::from(i.snd_mss)),
    ("tcpi_rcv_mss", |i, _| i64::from(i.rcv_mss)),
    ("tcpi_advmss", |i, _| i64::from(i.advmss)),
    ("tcpi_pmtu", |i, _| i64::from(i.pmtu)),
    ("tcpi_rtt", |i, _| micros(i.rtt.unwrap_or_default())),
    ("tcpi_rttvar", |i, _| micros(i.rttvar.unwrap_or_default())),
    ("tcpi_min_rtt", |i, _| i.min_rtt.map_or(0xffff_ffff, micros)),
    ("tcpi_snd_cwnd", |i, _| segments(i.snd_cwnd, i.snd_mss)),
    ("tcpi_snd_ssthresh", |i, _| {
        if i.snd_ssthresh == u64::MAX { 0x7fff_ffff } else { segments(i.snd_ssthresh, i.snd_mss) }
    }),
    ("tcpi_snd_wnd", |i, _| i64::from(i.snd_wnd)),
    ("tcpi_rcv_wnd", |i, _| i64::from(i.rcv_wnd)),
    ("tcpi_unacked", |i, _| i64::from(i.unacked.div_ceil(i.snd_mss.max(1)))),
    ("tcpi_sacked", |i, _| i64::from(i.sacked.div_ceil(i.snd_mss.max(1)))),
    ("tcpi_lost", |i, _| i64::from(i.lost.div_ceil(i.snd_mss.max(1)))),
    ("tcpi_retrans", |i, _| i64::from(i.retrans.div_ceil(i.snd_mss.max(1)))),
    ("tcpi_dsack_dups", |i, _| signed(i.duplicates_reported)),
    ("tcpi_reord_seen", |i, _| i64::from(i.reordering_seen)),
    ("tcpi_pacing_rate", |i, _| i.pacing_rate.map_or(-1, signed)),
    ("tcpi_delivery_rate", |i, _| i.delivery_rate.map_or(0, signed)),
    ("tcpi_delivery_rate_app_limited", |i, _| i64::from(i.delivery_rate_app_limited)),
    ("tcpi_notsent_bytes", |i, _| signed(i.notsent)),
    ("tcpi_total_retrans", |i, _| signed(i.total_retrans)),
    ("tcpi_bytes_acked", |i, _| signed(i.bytes_acked)),
    ("tcpi_bytes_received", |i, _| signed(i.bytes_received)),
    ("tcpi_bytes_sent", |i, _| signed(i.bytes_sent)),
    ("tcpi_bytes_retrans", |i, _| signed(i.bytes_retrans)),
    ("tcpi_segs_in", |i, _| signed(i.segs_in)),
    ("tcpi_segs_out", |i, _| signed(i.segs_out)),
    ("tcpi_last_data_sent", |i, now| millis_since(i.last_data_sent.or(i.last_ack_received), now)),
    ("tcpi_last_data_recv", |i, now| {
        millis_since(i.last_data_received.or(i.last_ack_received), now)
    }),
    ("tcpi_last_ack_recv", |i, now| millis_since(i.last_ack_received, now)),
];

/// Reads one field of a connection's information, as it is at a moment.
pub type Getter = fn(&TcpInfo, Instant) -> i64;

/// `TCP_CLOSE`.
pub(super) const CLOSED: i64 = 7;

/// Timestamps, SACK and window scaling were agreed on (`TCPI_OPT_…`).
const OPTIONS: [(&str, i64); 6] = [
    ("TCPI_OPT_TIMESTAMPS", 1),
    ("TCPI_OPT_SACK", 2),
    ("TCPI_OPT_WSCALE", 4),
    ("TCPI_OPT_ECN", 8),
    ("TCPI_OPT_ECN_SEEN", 16),
    ("TCPI_OPT_SYN_DATA", 32),
];

/// The names of Linux's congestion states (`tcpi_ca_state`).
const CONGESTION_STATES: [(&str, i64); 5] = [
    ("TCP_CA_Open", 0),
    ("TCP_CA_Disorder", 1),
    ("TCP_CA_CWR", 2),
    ("TCP_CA_Recovery", 3),
    ("TCP_CA_Loss", 4),
];

fn congestion_state(repair: Repair) -> i64 {
    match repair {
        Repair::Disorder => 1,
        Repair::Recovery => 3,
        Repair::Loss => 4,
        _ => 0,
    }
}

/// A constant of `linux/tcp.h`, if `name` is one.
pub(super) fn constant(name: &str) -> Option<i64> {
    let known = OPTIONS.iter().chain(&CONGESTION_STATES).find(|(known, _)| *known == name);
    if let Some((_, value)) = known {
        return Some(*value);
    }
    let word = name.strip_prefix("TCP_")?;
    let state = State::ALL.into_iter().find(|state| {
        let name = state.name().replace(['-', ' '], "_");
        word == name || word == linux_name(*state)
    });
    state.map(linux_state)
}

fn options(info: &TcpInfo) -> i64 {
    i64::from(info.timestamps)
        | i64::from(info.sack) << 1
        | i64::from(info.window_scale.is_some()) << 2
        | i64::from(info.ecn) << 3
        | i64::from(info.ecn_capable_received > 0) << 4
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
        State::Closed => CLOSED,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Listen => 10,
        State::Closing => 11,
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn millis_since(then: Option<Instant>, now: Instant) -> i64 {
    let elapsed = now.since(then.unwrap_or(Instant::ZERO));
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn segments(bytes: u64, mss: u32) -> i64 {
    signed(bytes / u64::from(mss.max(1)))
}
