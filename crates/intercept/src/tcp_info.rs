//! `struct tcp_info` (linux/tcp.h), from what the stack knows of a connection.

use std::time::Duration;

use estab::core::Repair;
use estab::wire::time::Instant;
use estab::{State, TcpInfo};

/// Its length, up to and with `tcpi_rehash`.
const LENGTH: usize = 240;

const LISTEN: u8 = 10;
const CLOSE: u8 = 7;

/// The bytes of a connection's.
pub(crate) fn encode(info: &TcpInfo, now: Instant, max_pacing_rate: Option<u64>) -> Vec<u8> {
    let mss = info.snd_mss.max(1);
    let segments = |bytes: u32| bytes.div_ceil(mss);
    let window = |bytes: u64| {
        if bytes == u64::MAX {
            0x7fff_ffff // TCP_INFINITE_SSTHRESH
        } else {
            low(bytes / u64::from(mss))
        }
    };
    let since = |then: Option<Instant>| millis(then.map_or(Duration::ZERO, |then| now.since(then)));
    let (sending, receiving) = info.window_scale.unwrap_or_default();
    let mut out = Writer::default();
    out.u8(state(info.state));
    out.u8(repair(info.repair));
    out.u8(info.backoff);
    out.u8(u8::try_from(info.probes).unwrap_or(u8::MAX));
    out.u8(info.backoff);
    out.u8(options(info));
    out.u8(sending & 15 | receiving << 4);
    out.u8(u8::from(info.delivery_rate_app_limited));
    for word in [
        micros(Some(info.rto)),
        micros(Some(info.ato)),
        info.snd_mss,
        info.rcv_mss,
        segments(info.unacked),
        segments(info.sacked),
        segments(info.lost),
        segments(info.retrans),
        0, // fackets, which Linux does not count any more
        since(info.last_data_sent),
        0, // last_ack_sent, which Linux does not keep
        since(info.last_data_received),
        since(info.last_ack_received),
        info.pmtu,
        info.rcv_wnd,
        micros(info.rtt),
        micros(info.rttvar),
        window(info.snd_ssthresh),
        window(info.snd_cwnd),
        info.advmss,
        if info.reordering_seen { 300 } else { 3 },
        micros(info.rcv_rtt),
        low(info.receive_buffer as u64),
        low(info.total_retrans),
    ] {
        out.u32(word);
    }
    out.u64(info.pacing_rate.unwrap_or(u64::MAX));
    out.u64(max_pacing_rate.unwrap_or(u64::MAX));
    out.u64(info.bytes_acked);
    out.u64(info.bytes_received);
    for word in [
        low(info.segs_out),
        low(info.segs_in),
        low(info.notsent),
        info.min_rtt.map_or(u32::MAX, |rtt| micros(Some(rtt))),
        low(info.bytes_received / u64::from(info.rcv_mss.max(1))),
        low(info.bytes_sent / u64::from(mss)),
    ] {
        out.u32(word);
    }
    out.u64(info.delivery_rate.unwrap_or_default());
    // busy_time, rwnd_limited and sndbuf_limited, which the stack does not keep.
    (0..3).for_each(|_| out.u64(0));
    out.u32(segments(low(info.delivered)));
    out.u32(low(info.ecn_echoes_received));
    out.u64(info.bytes_sent);
    out.u64(info.bytes_retrans);
    for word in [
        low(info.duplicates_reported),
        u32::from(info.reordering_seen),
        0, // rcv_ooopack
        info.snd_wnd,
        info.rcv_wnd,
        0, // rehash
    ] {
        out.u32(word);
    }
    out.finish()
}

/// A listener's: how many connections wait, of how many that may.
pub(crate) fn of_listener(waiting: usize, backlog: usize) -> Vec<u8> {
    let mut bytes = vec![0; LENGTH];
    bytes[0] = LISTEN;
    bytes[24..28].copy_from_slice(&low(waiting as u64).to_ne_bytes());
    bytes[28..32].copy_from_slice(&low(backlog as u64).to_ne_bytes());
    bytes
}

/// That of a socket without a connection.
pub(crate) fn of_closed() -> Vec<u8> {
    let mut bytes = vec![0; LENGTH];
    bytes[0] = CLOSE;
    bytes
}

/// The number of a state (net/tcp_states.h).
fn state(state: State) -> u8 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => CLOSE,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Listen => LISTEN,
        State::Closing => 11,
    }
}

fn repair(repair: Repair) -> u8 {
    match repair {
        Repair::Disorder => 1,
        Repair::Recovery => 3,
        Repair::Loss => 4,
        _ => 0,
    }
}

fn options(info: &TcpInfo) -> u8 {
    let flags = [
        (info.timestamps, 1),
        (info.sack, 2),
        (info.window_scale.is_some(), 4),
        (info.ecn, 8),
        (info.ecn_capable_received > 0, 16),
    ];
    flags.into_iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum()
}

fn micros(time: Option<Duration>) -> u32 {
    u32::try_from(time.unwrap_or_default().as_micros()).unwrap_or(u32::MAX)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// A number as far as it fits.
fn low(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_ne_bytes());
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.resize(LENGTH, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use estab::Stack;
    use estab::blocking::{TcpListener, TcpStream};
    use estab::link::{PairConfig, pair};

    use super::*;

    #[test]
    fn numbers_stand_where_linux_has_them() {
        let (end, _other) = pair(PairConfig::ip(1500)).unwrap();
        let stack = Stack::builder().start(end).unwrap();
        let listener = TcpListener::bind(&stack, "127.0.0.1:7").unwrap();
        let mut client = TcpStream::connect(&stack, "127.0.0.1:7").unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(&[7; 1000]).unwrap();
        server.peek(&mut [0; 1]).unwrap();
        let info = client.info().unwrap();
        let bytes = encode(&info, stack.now(), None);
        let word = |place: usize| u32::from_ne_bytes(bytes[place..place + 4].try_into().unwrap());
        let long = |place: usize| u64::from_ne_bytes(bytes[place..place + 8].try_into().unwrap());
        assert_eq!(bytes.len(), LENGTH);
        assert_eq!((bytes[0], word(16)), (1, info.snd_mss));
        assert_eq!(word(8), u32::try_from(info.rto.as_micros()).unwrap());
        assert_eq!(word(60), info.pmtu);
        assert_eq!(u64::from(word(80)), info.snd_cwnd / u64::from(info.snd_mss));
        assert_eq!(word(84), info.advmss);
        assert_eq!(long(112), u64::MAX, "no limit was set");
        assert_eq!((long(120), long(200)), (info.bytes_acked, info.bytes_sent));
        assert_eq!(info.bytes_sent, 1000);
        assert_eq!((word(228), word(232)), (info.snd_wnd, info.rcv_wnd));
        let received = encode(&server.info().unwrap(), stack.now(), Some(5));
        assert_eq!(received[128..136], 1000_u64.to_ne_bytes());
        assert_eq!(received[112..120], 5_u64.to_ne_bytes());
        stack.stop();
    }

    #[test]
    fn a_listener_shows_its_queue() {
        let bytes = of_listener(3, 128);
        assert_eq!((bytes[0], bytes[24], bytes[28]), (LISTEN, 3, 128));
        assert_eq!(of_closed()[0], CLOSE);
    }
}
