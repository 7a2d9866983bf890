//! A connection and what it remembers: the transmission control block (RFC 9293 3.3.1).
//!
//! The struct is only state; what happens to it stands in the files named after what happens:
//! [`arrives`](super::arrives), [`user`](super::user), [`expire`](super::expire) and
//! [`output`](super::output).

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::Ipv4Addr;
use wire::frame::FrameBuf;
use wire::tcp::Options;
use wire::time::{Duration, Instant};

use crate::config::{Config, TcpOptions};
use crate::error::Error;
use crate::event::{Pending, Ready, SocketId};
use crate::flow::PackedTuple;
use crate::ip::Hop;
use crate::memory::Charge;
use crate::reason::Sent;
use crate::shared::Shared;
use crate::tcp::blind::ChallengeBudget;
use crate::tcp::congestion::Controller;
use crate::tcp::deadlines::Deadlines;
use crate::tcp::ecn::Ecn;
use crate::tcp::mtu::link_mss;
use crate::tcp::path_search::PathSearch;
use crate::tcp::recovery::Recovery;
use crate::tcp::recovery::rto::{GRANULARITY, Rto};
use crate::tcp::recovery::rtt::RttEstimator;
use crate::tcp::recv::ack::AckPolicy;
use crate::tcp::recv::autotune::ReceiveAutotune;
use crate::tcp::recv::work::ReceiveWork;
use crate::tcp::send::pacing::Pacer;
use crate::tcp::send::rate::DeliveryRate;
use crate::tcp::send::usage::WindowUsage;
use crate::tcp::send::window::SendWindow;
use crate::tcp::send::work::SendWork;
use crate::tcp::seq::Seq;
use crate::tcp::state::{self, State};
use crate::tcp::timestamps::Timestamps;
use crate::trace::{Timer, What};
use crate::while_busy::WhileBusy;
use crate::{ConnectionId, FourTuple, ListenerId};

/// One connection, from its first SYN to its last ACK.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its own id, for events.
    pub(crate) id: ConnectionId,
    /// Our address and the peer's.
    pub(super) tuple: PackedTuple,
    /// Where it stands in the figure.
    pub(crate) state: State,
    /// What the program set; shared with all connections for which it set the same.
    pub(crate) options: Arc<TcpOptions>,
    /// Everything about the bytes that we send.
    pub(crate) snd: SendSide,
    /// Everything about the bytes that the peer sends.
    pub(crate) rcv: ReceiveSide,
    /// Timestamps, when both sides agreed on them (RFC 7323).
    pub(crate) timestamps: Option<Timestamps>,
    /// Marks instead of losses (RFC 3168).
    pub(crate) ecn: Ecn,
    /// When each timer fires.
    pub(crate) deadlines: Deadlines,
    /// What few connections ever need, once it was.
    pub(crate) seldom: Option<Box<Seldom>>,
    /// An answer that is owed whatever the ACK policy says: a challenge, a duplicate ACK.
    pub(crate) reply: Option<Sent>,
    /// Keep-alive probes without an answer.
    pub(crate) keepalive_probes: u32,
    /// The way to the peer, looked up once per change of routes.
    pub(crate) route: Hop,
    /// The program's side: who holds it, what it was told.
    pub(crate) user: UserSide,
    /// What the stack's books count for its buffers.
    pub(crate) charge: Charge,
    /// Its place among those that may have something to send.
    pub(crate) turn: Turn,
    /// It counts among the flows of its source.
    pub(crate) counted: bool,
    /// Counts for `TCP_INFO`.
    pub(crate) counts: Counts,
}

// There may be a million, and nearly all of them idle. What a new field is for may belong into
// `SendWork` or `ReceiveWork`.
const _: () = assert!(size_of::<Connection>() <= 616);

/// What few connections ever need.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    /// Challenge ACKs that may still be sent (RFC 5961 7).
    pub(crate) challenge: ChallengeBudget,
    /// What the path carries is being found out, or was (RFC 4821).
    pub(crate) search: Option<PathSearch>,
}

/// When what is sent was seen to arrive, to a fifteenth of a second, rounded down: there are as many as
/// connections, and neighbours are asked after seconds.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Progress(u32);

impl Progress {
    /// Nanoseconds in a unit, as a power of two. 32 bits last nine years.
    const UNIT: u32 = 26;

    /// It arrived now.
    pub(crate) fn at(now: Instant) -> Self {
        // Beyond that nothing is known, and neighbours are asked.
        Self(u32::try_from(now.as_nanos() >> Self::UNIT).unwrap_or(0))
    }

    /// When that was; the epoch for never.
    pub(crate) fn seen(self) -> Instant {
        Instant::from_nanos(u64::from(self.0) << Self::UNIT)
    }
}

/// Whether a connection may have something to send, and when that is its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// It has nothing to send.
    None,
    /// It stands in the queue of those that may have something.
    Queued,
    /// It waits for the next hop's hardware address, and is in no queue until that is known.
    Parked,
}

/// Send sequence variables (RFC 9293 3.3.1) and what recovers and limits what is sent.
#[derive(Debug)]
pub(crate) struct SendSide {
    /// ISS: our initial sequence number.
    pub(crate) iss: Seq,
    /// SND.UNA: the oldest one not acknowledged.
    pub(crate) una: Seq,
    /// Our SYN was acknowledged. `una` says so only for the first 4 GiB.
    pub(crate) syn_acked: bool,
    /// SND.NXT: the next one to send. It never moves back: what is sent again is in `inflight`.
    pub(crate) nxt: Seq,
    /// Our SYN has to go out, for the first time or again.
    pub(crate) syn_due: bool,
    /// Why what is lost is sent again.
    pub(crate) resending: Sent,
    /// SND.WND and its companions.
    pub(crate) window: SendWindow,
    /// What a silly window held back has waited long enough (RFC 9293 3.8.6.2.1).
    pub(crate) overdue: bool,
    /// Where the last segment ended that was not full, for Nagle's algorithm.
    pub(crate) small_end: Option<Seq>,
    /// What is written and not acknowledged, and how it fares.
    pub(crate) work: WhileBusy<SendWork>,
    /// How many bytes its queue holds, where the program did not say.
    pub(crate) buffer: u32,
    /// The program will write nothing more: FIN follows the queue's last byte.
    pub(crate) fin_queued: bool,
    /// Our FIN was acknowledged, and with it everything.
    pub(crate) fin_acked: bool,
    /// The largest payload that one segment carries (RFC 9293 3.7.1), options subtracted.
    pub(crate) mss: u32,
    /// The window scale that the peer announced (RFC 7323 2).
    pub(crate) scale: u8,
    /// The oldest segment must be sent again now, whatever the windows say, and why.
    pub(crate) retransmit_head: Option<Sent>,
    /// A probe of the peer's zero window, or of its life, is due, and which.
    pub(crate) probe: Option<Sent>,
    /// Round-trip time.
    pub(crate) rtt: RttEstimator,
    /// Retransmission timeout and its backoff.
    pub(crate) rto: Rto,
    /// What was lost, and what that taught.
    pub(crate) recovery: Recovery,
    /// How fast data arrives at the peer.
    pub(crate) rate: DeliveryRate,
    /// When the next segment may leave.
    pub(crate) pacer: Pacer,
    /// How much may be in flight.
    pub(crate) controller: Box<dyn Controller>,
    /// Whether the congestion window was used, and may grow.
    pub(crate) usage: WindowUsage,
    /// RFC 6582 3.2, impatient: only the first partial ACK restarts the retransmission timer.
    pub(crate) keep_timer: bool,
    /// It was idle, and starts slowly again since then; nothing was sent yet.
    pub(crate) restarted: bool,
}

/// Receive sequence variables (RFC 9293 3.3.1) and what waits for the program.
#[derive(Debug)]
pub(crate) struct ReceiveSide {
    /// IRS: the peer's initial sequence number.
    pub(crate) irs: Seq,
    /// RCV.NXT: the next one expected.
    pub(crate) nxt: Seq,
    /// RCV.NXT + RCV.WND as the peer knows it: it never moves back (RFC 9293 3.8.6).
    pub(crate) edge: Seq,
    /// The window scale that we announced.
    pub(crate) scale: u8,
    /// The MSS that we announced.
    pub(crate) mss: u32,
    /// What arrived and was not read, in order and out of it.
    pub(crate) work: WhileBusy<ReceiveWork>,
    /// How large the buffer is, where the program did not say.
    pub(crate) autotune: ReceiveAutotune,
    /// Both sides permit SACK (RFC 2018 2): we may send blocks, and may believe the peer's.
    pub(crate) sack_agreed: bool,
    /// The FIN's sequence number, once it is known; it may lie behind a hole.
    pub(crate) fin: Option<Seq>,
    /// When an ACK is due.
    pub(crate) ack: AckPolicy,
    /// The program opened the window by reading, and the peer should know.
    pub(crate) window_update: bool,
}

/// The program's side of a connection.
#[derive(Debug, Default)]
pub(crate) struct UserSide {
    /// The program closed it; the stack finishes alone.
    pub(crate) orphaned: bool,
    /// It waits in this listener's accept queue.
    pub(crate) listener: Option<ListenerId>,
    /// `shutdown(Read)`: what arrives is thrown away.
    pub(crate) read_shutdown: bool,
    /// Why it failed, until the program was told.
    pub(crate) error: Option<Error>,
    /// The last ICMP error, for the case that the connection times out (RFC 5927 6).
    pub(crate) soft_error: Option<Error>,
    /// It failed: reads past the queued data are the end.
    pub(crate) failed: bool,
    /// `write` said `WouldBlock`; the next room is announced.
    pub(crate) wants_room: bool,
    /// It did because the stack's memory is short, and waits for others to give some back.
    pub(crate) starved: bool,
    /// Events announced and not fetched.
    pub(crate) pending: Pending,
}

/// Counts for `TCP_INFO`, and what neighbour discovery asks.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_acked: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_retrans: u64,
    pub(crate) total_retrans: u32,
    pub(crate) segs_out: u32,
    pub(crate) segs_in: u32,
    /// When it was seen last that what is sent by `route` arrives: new data was acknowledged, or came
    /// (RFC 4861 7.3.1).
    pub(crate) progress: Progress,
    pub(crate) last_data_sent: Option<Instant>,
    pub(crate) last_data_received: Option<Instant>,
    pub(crate) last_ack_received: Option<Instant>,
}

/// What a new connection is made from.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) tuple: FourTuple,
    pub(crate) options: Arc<TcpOptions>,
    pub(crate) route: Hop,
    pub(crate) iss: Seq,
    /// Offset of our timestamp clock, when we would use timestamps.
    pub(crate) timestamps: Option<Timestamps>,
}

impl ReceiveSide {
    /// Before the peer's first segment: `mss` is what we will announce, `buffer` what the receive
    /// buffer begins with, both in bytes.
    pub(crate) fn new(mss: u32, buffer: usize) -> Self {
        Self {
            irs: Seq(0),
            nxt: Seq(0),
            edge: Seq(0),
            scale: 0,
            mss,
            work: WhileBusy::new(),
            autotune: ReceiveAutotune::new(buffer),
            sack_agreed: false,
            fin: None,
            ack: AckPolicy::new(),
            window_update: false,
        }
    }
}

impl Connection {
    /// A connection in CLOSED, about to leave it. Allocates only its controller.
    pub(crate) fn new(id: ConnectionId, opening: Opening, config: &Config) -> Self {
        let Opening { tuple, options, route, iss, timestamps } = opening;
        let mss = link_mss(&tuple, route.segment_mtu, &options);
        Self {
            snd: SendSide {
                iss,
                una: iss,
                syn_acked: false,
                nxt: iss,
                syn_due: true,
                resending: Sent::AfterTimeout,
                window: SendWindow::new(),
                overdue: false,
                small_end: None,
                work: WhileBusy::new(),
                buffer: u32::try_from(config.send_buffer.initial).unwrap_or(u32::MAX),
                fin_queued: false,
                fin_acked: false,
                mss,
                scale: 0,
                retransmit_head: None,
                probe: None,
                rtt: RttEstimator::new(),
                rto: Rto::new(),
                recovery: Recovery::new(),
                rate: DeliveryRate::default(),
                pacer: Pacer::default(),
                controller: (options.congestion)(mss),
                usage: WindowUsage::default(),
                keep_timer: false,
                restarted: false,
            },
            rcv: ReceiveSide::new(mss, config.receive_buffer.initial),
            id,
            tuple: tuple.into(),
            state: State::Closed,
            options,
            timestamps,
            ecn: Ecn::default(),
            deadlines: Deadlines::default(),
            seldom: None,
            reply: None,
            keepalive_probes: 0,
            route,
            user: UserSide::default(),
            charge: Charge::default(),
            turn: Turn::None,
            counted: false,
            counts: Counts::default(),
        }
    }

    /// Whether it is the one between these addresses and ports.
    #[inline]
    pub(crate) fn is_between(&self, ours: (Ipv4Addr, u16), theirs: (Ipv4Addr, u16)) -> bool {
        matches!(
            self.tuple,
            PackedTuple::V4 { local, remote, local_port, remote_port, .. }
                if (local, local_port) == ours && (remote, remote_port) == theirs
        )
    }

    /// Our address and the peer's.
    pub(crate) fn tuple(&self) -> FourTuple {
        self.tuple.unpack()
    }

    /// Takes what the peer's SYN announced (RFC 9293 3.7.1, RFC 7323 1.3, RFC 2018 2).
    pub(crate) fn take_peer_options(&mut self, offered: &Options, shared: &Shared) {
        match (offered.window_scale, shared.config.window_scaling) {
            // RFC 7323 2.3: a shift beyond 14 counts as 14.
            (Some(scale), true) => self.snd.scale = scale.min(14),
            _ => (self.snd.scale, self.rcv.scale) = (0, 0),
        }
        match (&mut self.timestamps, offered.timestamps) {
            (Some(ours), Some(theirs)) => ours.set_recent(theirs.value, shared.now),
            _ => self.timestamps = None,
        }
        self.rcv.sack_agreed = offered.sack_permitted && shared.config.sack;
        self.set_peer_mss(shared, offered.mss);
    }

    /// Goes where the figure leads; stays where it leads nowhere.
    pub(crate) fn transition(&mut self, shared: &mut Shared, event: state::Event) {
        let from = self.state;
        let Some(to) = from.on(event) else { return };
        self.state = to;
        shared.trace(Some(self.tuple()), What::Transition { from, to, cause: event });
    }

    /// Announces readiness to whoever holds the socket.
    pub(crate) fn announce(&mut self, shared: &mut Shared, ready: Ready) {
        if !self.user.orphaned && self.user.listener.is_none() {
            shared.events.push(SocketId::Connection(self.id), &mut self.user.pending, ready);
        }
    }

    /// The sequence number of the send queue's first byte.
    pub(crate) fn queue_start(&self) -> Seq {
        if self.snd.syn_acked { self.snd.una } else { self.snd.iss.plus(1) }
    }

    /// The sequence number after the last byte that was written: where a FIN would stand.
    pub(crate) fn queue_end(&self) -> Seq {
        // The send buffer is far below 2^31 bytes: `write` sees to that.
        self.queue_start().plus(u32::try_from(self.snd.work.queue.len()).unwrap_or(u32::MAX))
    }

    /// Our SYN was acknowledged.
    pub(crate) fn syn_acknowledged(&self) -> bool {
        self.snd.syn_acked
    }

    /// Our FIN was sent at least once, and is the last thing sent.
    pub(crate) fn fin_sent(&self) -> bool {
        self.snd.fin_queued && !self.snd.fin_acked && self.snd.nxt.is_after(self.queue_end())
    }

    /// Everything that the program wrote was acknowledged, and our FIN if there was one.
    pub(crate) fn is_drained(&self) -> bool {
        self.snd.work.queue.is_empty() && self.snd.fin_acked == self.snd.fin_queued
    }

    /// Sent and not acknowledged, in sequence numbers.
    pub(crate) fn flight_size(&self) -> u32 {
        self.snd.nxt.distance_from(self.snd.una)
    }

    /// RCV.WND as the peer knows it.
    pub(crate) fn receive_window(&self) -> u32 {
        self.rcv.edge.distance_from(self.rcv.nxt)
    }

    /// Room for more bytes from the peer: the buffer less what the program has not read and what
    /// waits for a hole to fill. Frames that are kept count for half of what they pin, so that a
    /// peer cannot make small payloads hold large buffers without its window closing.
    pub(crate) fn receive_space(&self) -> usize {
        let bytes = self.rcv.work.queue.len() + self.rcv.work.assembler.bytes();
        let pinned = self.rcv.work.queue.held() + self.rcv.work.assembler.held();
        self.receive_buffer().saturating_sub(bytes.max(pinned / 2))
    }

    /// How many bytes a write may add.
    pub(crate) fn send_room(&self) -> usize {
        let room = self.send_buffer().saturating_sub(self.snd.work.queue.len());
        match self.options.notsent_lowat {
            Some(most) => room.min((most as usize).saturating_sub(self.unsent() as usize)),
            None => room,
        }
    }

    /// What its buffers pin, in bytes.
    pub(crate) fn pinned(&self) -> usize {
        self.snd.work.queue.capacity() + self.rcv.work.queue.held() + self.rcv.work.assembler.held()
    }

    /// The window of our SYN: no more than its unscaled field holds, and whole segments of it.
    pub(crate) fn initial_window(&self) -> u32 {
        initial_receive_window(self.options.clamped(self.receive_buffer()), self.rcv.mss)
    }

    /// The peer has our SYN: the window that it announced is the one to keep.
    pub(crate) fn open_window(&mut self) {
        self.rcv.edge = self.rcv.nxt.plus(self.initial_window());
    }

    /// Queues text that is in order, or throws it away where nobody will read it.
    pub(crate) fn keep(&mut self, shared: &mut Shared, text: FrameBuf) {
        if self.user.read_shutdown {
            shared.recycle(text);
        } else {
            self.rcv.work.wake(&mut shared.receive_works);
            self.rcv.work.queue.push(text, &mut shared.spare);
        }
    }

    /// RFC 9293 3.8.6.1: while nothing is in flight and the peer's window holds data back, the
    /// persist timer asks; it also ends the wait for a window that is open but silly.
    pub(crate) fn settle_persist(&mut self, now: Instant) {
        let unsent =
            !self.snd.work.queue.is_empty() || (self.snd.fin_queued && !self.snd.fin_acked);
        let idle = self.snd.una == self.snd.nxt && self.state.is_synchronized();
        // What has waited long enough for a window waits for something else now, as its own pace.
        let released = self.snd.overdue && !self.snd.window.is_closed(self.snd.una);
        if !(unsent && idle) || released {
            self.stop_timer(Timer::Persist);
        } else if !self.timer_runs(Timer::Persist) {
            self.set_timer(Timer::Persist, now.after(self.persist_interval()));
        }
    }

    /// How long to wait before the peer's window is probed (again).
    pub(crate) fn persist_interval(&self) -> Duration {
        let most = self.options.rto.max.max(GRANULARITY);
        self.snd.window.probe_interval(self.retransmission_timeout(), most)
    }

    /// The time that data may take before it is sent again.
    pub(crate) fn retransmission_timeout(&self) -> Duration {
        self.snd.rto.timeout(&self.snd.rtt, &self.options.rto)
    }

    /// Where nothing is under way any more, the memory for that goes back.
    pub(crate) fn rest(&mut self, shared: &mut Shared) {
        self.snd.work.rest(&mut shared.send_works);
        self.rcv.work.rest(&mut shared.receive_works);
    }
}

/// The window of a SYN, in bytes: whole segments that the unscaled field can tell.
pub(crate) fn initial_receive_window(buffer: usize, mss: u32) -> u32 {
    let most = u32::try_from(buffer).unwrap_or(u32::MAX).min(u32::from(u16::MAX));
    (most / mss * mss).max(most.min(mss))
}

/// The receive buffer that a connection begins with, as far as its window may be.
pub(crate) fn first_receive_buffer(options: &TcpOptions, config: &Config) -> usize {
    options.clamped(options.receive_buffer.unwrap_or(config.receive_buffer.initial))
}

/// The shift that fits the largest receive buffer that a connection may come to have.
pub(crate) fn receive_scale(options: &TcpOptions, config: &Config) -> u8 {
    scale_for(options.clamped(options.receive_buffer.unwrap_or(config.receive_buffer.max)))
}

/// The smallest shift with which a window of `buffer` bytes fits its field (RFC 7323 2.3).
fn scale_for(buffer: usize) -> u8 {
    (0..14).find(|scale| buffer >> scale <= usize::from(u16::MAX)).unwrap_or(14)
}
