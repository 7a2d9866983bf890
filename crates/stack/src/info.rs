//! What a program or an operator can ask about a socket.

use core::net::SocketAddr;
use wire::time::{Duration, Instant};

use crate::event::SocketId;
use crate::tcp::state::State;
use crate::trace::Timer;

/// A snapshot of a connection, with the fields that `TCP_INFO` has on Linux.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The state.
    pub state: State,
    /// Timestamps were agreed on.
    pub timestamps: bool,
    /// SACK was agreed on.
    pub sack: bool,
    /// What is being repaired (`tcpi_ca_state`).
    pub repair: Repair,
    /// ECN was agreed on.
    pub ecn: bool,
    /// Packets received that could have been marked (ECT or CE).
    pub ecn_capable_received: u64,
    /// Packets received with the mark (CE).
    pub ecn_marks_received: u64,
    /// ACKs received that echo a mark of ours (ECE).
    pub ecn_echoes_received: u64,
    /// Window scale in our direction of sending (the peer's) and of receiving (ours).
    pub window_scale: Option<(u8, u8)>,
    /// The current retransmission timeout.
    pub rto: Duration,
    /// How long an ACK may be delayed.
    pub ato: Duration,
    /// The largest segment we send, in bytes of payload.
    pub snd_mss: u32,
    /// The largest segment we saw or asked for, in bytes of payload.
    pub rcv_mss: u32,
    /// The MSS that we announced.
    pub advmss: u32,
    /// The path's MTU as far as we know it.
    pub pmtu: u32,
    /// Smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// Its variation.
    pub rttvar: Option<Duration>,
    /// The least round-trip time seen.
    pub min_rtt: Option<Duration>,
    /// Congestion window, in bytes.
    pub snd_cwnd: u64,
    /// Slow-start threshold, in bytes; `u64::MAX` until the first loss.
    pub snd_ssthresh: u64,
    /// The peer's window, in bytes from the oldest unacknowledged one.
    pub snd_wnd: u32,
    /// Our window as the peer knows it, in bytes.
    pub rcv_wnd: u32,
    /// The receive buffer in bytes, set or grown.
    pub receive_buffer: usize,
    /// The send buffer in bytes, set or grown.
    pub send_buffer: usize,
    /// The round trip as the receiving side measured it.
    pub rcv_rtt: Option<Duration>,
    /// Bytes sent and not acknowledged.
    pub unacked: u32,
    /// Bytes of those that the peer has behind a hole.
    pub sacked: u32,
    /// Bytes of those that are taken for lost and wait to be sent again.
    pub lost: u32,
    /// Bytes of those that were sent again and are on their way.
    pub retrans: u32,
    /// Bytes that are known to have arrived, ever, behind holes or not; a FIN counts as one.
    pub delivered: u64,
    /// The rate that segments leave at, in bytes a second, where they are paced.
    pub pacing_rate: Option<u64>,
    /// The rate at which data last arrived, in bytes a second (draft-ietf-ccwg-bbr 4.1).
    pub delivery_rate: Option<u64>,
    /// That rate was limited by the program, and may be below what the path can do.
    pub delivery_rate_app_limited: bool,
    /// Segments were seen to overtake one another.
    pub reordering_seen: bool,
    /// Segments that the peer reported to have received twice (RFC 2883).
    pub duplicates_reported: u64,
    /// Reactions to a loss that were undone, because there was none.
    pub undone: u64,
    /// Bytes written and not sent.
    pub notsent: u64,
    /// Probes of a closed window, or of an idle peer, since the peer was last heard.
    pub probes: u32,
    /// Timeouts since the last progress.
    pub backoff: u8,
    /// Duplicate ACKs in a row.
    pub duplicate_acks: u32,
    /// Segments sent again, ever.
    pub total_retrans: u64,
    /// Bytes of payload sent, with those sent again.
    pub bytes_sent: u64,
    /// Bytes of payload acknowledged.
    pub bytes_acked: u64,
    /// Bytes of payload received in order.
    pub bytes_received: u64,
    /// Bytes of payload sent again.
    pub bytes_retrans: u64,
    /// Segments sent (a super-segment counts as what it is cut into).
    pub segs_out: u64,
    /// Segments received, likewise.
    pub segs_in: u64,
    /// The congestion controller's name.
    pub congestion: &'static str,
    /// When data was last sent, received and acknowledged.
    pub last_data_sent: Option<Instant>,
    /// When data last came.
    pub last_data_received: Option<Instant>,
    /// When an acknowledgment last came.
    pub last_ack_received: Option<Instant>,
}

/// What the sending side repairs, in Linux's words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Repair {
    /// All is well.
    Open,
    /// Something arrived behind a hole; nothing is taken for lost yet.
    Disorder,
    /// Losses were found, and are repaired.
    Recovery,
    /// The retransmission timer expired.
    Loss,
}

/// One line of `ss`: a socket of any kind.
#[derive(Clone, Debug, PartialEq)]
pub struct SocketEntry {
    /// Its id; `None` for entries that no program holds (SYN-RECEIVED, orphans, TIME-WAIT).
    pub id: Option<SocketId>,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: &'static str,
    /// The state; UDP and ICMP sockets are `Established` when connected, else `Closed`.
    pub state: State,
    /// Unread bytes; for a listener the connections that wait for `accept`.
    pub receive_queue: usize,
    /// Bytes not acknowledged; for a listener its backlog.
    pub send_queue: usize,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's; unspecified when there is none.
    pub remote: SocketAddr,
    /// The timer that fires next, and when.
    pub timer: Option<(Timer, Instant)>,
    /// Retransmissions or probes since the last progress.
    pub retries: u8,
    /// The details of a connection.
    pub info: Option<TcpInfo>,
}
