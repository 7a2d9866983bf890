//! The stack's sockets in the words of `ss`.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use intercept::{SocketUser, SocketUsers};
use stack::trace::Timer;
use stack::{SocketEntry, State, TcpInfo};
use wire::time::Instant;

/// Which sockets, and how much of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Selection {
    /// Listeners too.
    pub(crate) all: bool,
    /// Only listeners.
    pub(crate) listening: bool,
    /// A second line with timers and counters.
    pub(crate) info: bool,
}

impl Selection {
    fn takes(self, entry: &SocketEntry) -> bool {
        let listens = matches!(entry.state, State::Listen | State::Closed);
        self.all || listens == self.listening
    }
}

/// The table of the selected sockets; with `users`, who has them.
pub(crate) fn table(
    entries: &[SocketEntry],
    selection: Selection,
    users: Option<&[SocketUsers]>,
    now: Instant,
) -> String {
    let mut out = format!(
        "{:<6}{:<12}{:>7} {:>7} {:>24} {:>24}\n",
        "Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port"
    );
    for entry in entries.iter().filter(|entry| selection.takes(entry)) {
        let SocketEntry { protocol, state, receive_queue, send_queue, .. } = entry;
        let (local, peer) = (address(entry.local), address(entry.remote));
        let name = state.ss_name();
        let _ = write!(
            out,
            "{protocol:<6}{name:<12}{receive_queue:>7} {send_queue:>7} {local:>24} {peer:>24}"
        );
        if selection.info
            && let Some((timer, at)) = entry.timer
        {
            let left = spell(at.since(now));
            let _ = write!(out, " timer:({},{left},{})", timer_word(timer), entry.retries);
        }
        if let Some(users) = users.and_then(|users| users_of(entry, users)) {
            let _ = write!(out, " {users}");
        }
        out.push('\n');
        if selection.info
            && let Some(info) = &entry.info
        {
            let _ = writeln!(out, "\t {}", details(info, now));
        }
    }
    out
}

/// Who has the socket, as `ss -p` writes it; `None` when no program does.
fn users_of(entry: &SocketEntry, all: &[SocketUsers]) -> Option<String> {
    let listens = matches!(entry.state, State::Listen);
    let is_it = |socket: &&SocketUsers| {
        socket.protocol == entry.protocol
            && socket.local == entry.local
            && match socket.remote {
                Some(remote) => remote == entry.remote,
                None => listens || entry.remote.port() == 0,
            }
    };
    let users = all.iter().filter(is_it).flat_map(|socket| &socket.users);
    let users: Vec<String> = users
        .map(|SocketUser { process, command, descriptor }| {
            format!("(\"{command}\",pid={process},fd={descriptor})")
        })
        .collect();
    (!users.is_empty()).then(|| format!("users:({})", users.join(",")))
}

/// An address and port; what is not known is a star.
fn address(address: SocketAddr) -> String {
    match (address.ip().is_unspecified(), address.port()) {
        (true, 0) => "*:*".into(),
        (false, 0) => format!("{}:*", address.ip()),
        _ => address.to_string(),
    }
}

/// The words of `ss -tin`, in its order. What it counts in segments is in segments here too.
fn details(info: &TcpInfo, now: Instant) -> String {
    let mut words = Vec::new();
    options_and_times(info, &mut words);
    windows_and_counts(info, &mut words);
    rates_and_moments(info, now, &mut words);
    repair_and_buffers(info, &mut words);
    words.join(" ")
}

fn options_and_times(info: &TcpInfo, words: &mut Vec<String>) {
    words.extend(info.timestamps.then(|| "ts".into()));
    words.extend(info.sack.then(|| "sack".into()));
    words.extend(info.ecn.then(|| "ecn".into()));
    words.extend((info.ecn_capable_received > 0).then(|| "ecnseen".into()));
    words.push(info.congestion.into());
    words.extend(info.window_scale.map(|(theirs, ours)| format!("wscale:{theirs},{ours}")));
    words.push(format!("rto:{}", millis(info.rto)));
    if info.backoff > 0 {
        words.push(format!("backoff:{}", info.backoff));
    }
    if let Some(rtt) = info.rtt {
        words.push(format!("rtt:{}/{}", millis(rtt), millis(info.rttvar.unwrap_or_default())));
    }
    words.push(format!("ato:{}", millis(info.ato)));
    words.push(format!("mss:{}", info.snd_mss));
    words.push(format!("pmtu:{}", info.pmtu));
    words.push(format!("rcvmss:{}", info.rcv_mss));
    words.push(format!("advmss:{}", info.advmss));
}

fn windows_and_counts(info: &TcpInfo, words: &mut Vec<String>) {
    let mss = u64::from(info.snd_mss.max(1));
    words.push(format!("cwnd:{}", info.snd_cwnd / mss));
    if info.snd_ssthresh != u64::MAX {
        words.push(format!("ssthresh:{}", info.snd_ssthresh / mss));
    }
    words.push(format!("bytes_sent:{}", info.bytes_sent));
    if info.bytes_retrans > 0 {
        words.push(format!("bytes_retrans:{}", info.bytes_retrans));
    }
    words.push(format!("bytes_acked:{}", info.bytes_acked));
    words.push(format!("bytes_received:{}", info.bytes_received));
    words.push(format!("segs_out:{}", info.segs_out));
    words.push(format!("segs_in:{}", info.segs_in));
}

fn rates_and_moments(info: &TcpInfo, now: Instant, words: &mut Vec<String>) {
    // What the window would come to in a round trip.
    if let Some(rtt) = info.rtt.filter(|rtt| !rtt.is_zero()) {
        words.push(format!("send {}bps", rate(info.snd_cwnd as f64 / rtt.as_secs_f64())));
    }
    for (name, last) in [
        ("lastsnd", info.last_data_sent),
        ("lastrcv", info.last_data_received),
        ("lastack", info.last_ack_received),
    ] {
        words.extend(last.map(|last| format!("{name}:{}", now.since(last).as_millis())));
    }
    words.extend(info.pacing_rate.map(|bytes| format!("pacing_rate {}bps", rate(bytes as f64))));
    words
        .extend(info.delivery_rate.map(|bytes| format!("delivery_rate {}bps", rate(bytes as f64))));
    let delivered = info.delivered.div_ceil(u64::from(info.snd_mss.max(1)));
    words.extend((delivered > 0).then(|| format!("delivered:{delivered}")));
    words.extend(info.delivery_rate_app_limited.then(|| "app_limited".into()));
}

fn repair_and_buffers(info: &TcpInfo, words: &mut Vec<String>) {
    let segments = |bytes: u32| u64::from(bytes.div_ceil(info.snd_mss.max(1)));
    if info.unacked > 0 {
        words.push(format!("unacked:{}", segments(info.unacked)));
    }
    if info.total_retrans > 0 {
        words.push(format!("retrans:{}/{}", segments(info.retrans), info.total_retrans));
    }
    let mut count = |name: &str, count: u64| {
        words.extend((count > 0).then(|| format!("{name}:{count}")));
    };
    count("lost", segments(info.lost));
    count("sacked", segments(info.sacked));
    count("dsack_dups", info.duplicates_reported);
    count("reord_seen", u64::from(info.reordering_seen));
    // Not among Linux's words.
    count("dupacks", u64::from(info.duplicate_acks));
    count("undone", info.undone);
    words.extend(info.rcv_rtt.map(|rtt| format!("rcv_rtt:{}", millis(rtt))));
    words.extend((info.notsent > 0).then(|| format!("notsent:{}", info.notsent)));
    words.extend(info.min_rtt.map(|rtt| format!("minrtt:{}", millis(rtt))));
    words.push(format!("snd_wnd:{}", info.snd_wnd));
    words.push(format!("rcv_wnd:{}", info.rcv_wnd));
}

/// Bytes a second in bits, as `ss` writes them: `1.5M`.
fn rate(bytes: f64) -> String {
    let bits = bytes * 8.0;
    let (value, unit) = match bits {
        1e9.. => (bits / 1e9, "G"),
        1e6.. => (bits / 1e6, "M"),
        1e3.. => (bits / 1e3, "k"),
        _ => (bits, ""),
    };
    format!("{}{unit}", short(value))
}

/// Milliseconds with as many decimals as say something.
fn millis(time: Duration) -> String {
    short(time.as_secs_f64() * 1000.0)
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A time as `ss` writes it beside a timer.
fn spell(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{:.3}sec", time.as_secs_f64()),
        60.. => format!("{}min{}sec", time.as_secs() / 60, time.as_secs() % 60),
    }
}

const fn timer_word(timer: Timer) -> &'static str {
    match timer {
        Timer::Retransmission => "on",
        Timer::KeepAlive => "keepalive",
        Timer::TimeWait | Timer::FinWait2 => "timewait",
        Timer::Persist => "persist",
        Timer::DelayedAck => "delack",
        Timer::UserTimeout => "usertimeout",
        Timer::LossProbe => "tlp",
        Timer::Reordering => "reordering",
        Timer::Pacing => "pacing",
        Timer::FlowIdle => "idle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: State, local: &str, remote: &str) -> SocketEntry {
        SocketEntry {
            id: None,
            protocol: "tcp",
            state,
            receive_queue: 0,
            send_queue: 128,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            timer: Some((Timer::TimeWait, Instant::from_millis(59_000))),
            retries: 0,
            info: None,
        }
    }

    #[test]
    fn a_table() {
        let entries = [
            entry(State::Listen, "10.77.0.2:80", "0.0.0.0:0"),
            entry(State::Established, "10.77.0.2:80", "10.77.0.1:40000"),
            entry(State::TimeWait, "10.77.0.2:80", "10.77.0.1:40002"),
        ];
        let now = Instant::from_millis(500);
        let plain = table(&entries, Selection::default(), None, now);
        assert!(!plain.contains("LISTEN") && plain.contains("ESTAB"));
        let listening = Selection { listening: true, ..Selection::default() };
        assert!(!table(&entries, listening, None, now).contains("ESTAB"));
        let all = Selection { all: true, info: true, ..Selection::default() };
        insta::assert_snapshot!(table(&entries, all, None, now));
    }

    #[test]
    fn who_has_a_socket() {
        let entries = [
            entry(State::Listen, "10.77.0.2:80", "0.0.0.0:0"),
            entry(State::Established, "10.77.0.2:80", "10.77.0.1:40000"),
            entry(State::Established, "10.77.0.2:80", "10.77.0.1:40002"),
        ];
        let user =
            |process, descriptor| SocketUser { process, command: "nginx".into(), descriptor };
        let socket = |remote: Option<&str>, users| SocketUsers {
            protocol: "tcp",
            local: "10.77.0.2:80".parse().unwrap(),
            remote: remote.map(|remote| remote.parse().unwrap()),
            listens: remote.is_none(),
            users,
        };
        let users = [
            socket(None, vec![user(7, 3), user(8, 3)]),
            socket(Some("10.77.0.1:40000"), vec![user(8, 4)]),
        ];
        let all = Selection { all: true, ..Selection::default() };
        let shown = table(&entries, all, Some(&users), Instant::ZERO);
        let ends: Vec<&str> = shown
            .lines()
            .skip(1)
            .map(|line| line.split_once("users:").map_or("", |(_, users)| users))
            .collect();
        assert_eq!(
            ends,
            [r#"(("nginx",pid=7,fd=3),("nginx",pid=8,fd=3))"#, r#"(("nginx",pid=8,fd=4))"#, ""]
        );
    }

    #[test]
    fn times_as_ss_writes_them() {
        assert_eq!(spell(Duration::from_millis(200)), "200ms");
        assert_eq!(spell(Duration::from_millis(1500)), "1.500sec");
        assert_eq!(spell(Duration::from_secs(125)), "2min5sec");
        assert_eq!(millis(Duration::from_micros(1250)), "1.25");
        assert_eq!(millis(Duration::from_millis(200)), "200");
        assert_eq!([0.0, 100.0, 125_000.0, 1.5e9].map(rate), ["0", "800", "1M", "12G"]);
    }
}
