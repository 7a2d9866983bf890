//! Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them.
//!
//! The receiver of a mark echoes it in every ACK (ECE) until the sender says that it sends less (CWR).
//! The sender reacts once in a round trip, as it would to a loss.

use wire::tcp::Flags;

use crate::reason::Sent;
use crate::shared::Shared;
use crate::tcp::congestion::CongestionCause;
use crate::tcp::connection::Connection;
use crate::tcp::segment::Segment;
use crate::tcp::seq::Seq;
use crate::tcp::state::State;

/// Whether a socket uses ECN, as `net.ipv4.tcp_ecn` numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum EcnMode {
    /// 0: neither asks for it nor agrees to it.
    Off,
    /// 1: asks for it when connecting, and agrees when asked.
    Request,
    /// 2: agrees when asked.
    #[default]
    Accept,
}

/// The ECN field of an IP header (RFC 3168 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub(crate) enum Codepoint {
    /// The sender does not speak ECN.
    #[default]
    NotEct = 0,
    Ect1 = 1,
    /// What a sender sets that does.
    Ect0 = 2,
    /// CE: a router met congestion.
    Congestion = 3,
}

impl Codepoint {
    /// The lowest two bits of the traffic class.
    pub(crate) const MASK: u8 = 3;

    pub(crate) const fn of(traffic_class: u8) -> Self {
        match traffic_class & Self::MASK {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Congestion,
        }
    }
}

/// What a connection knows of ECN.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ecn {
    /// Our SYN asked for it, and no SYN without the question followed.
    asked: bool,
    /// Both sides agreed on it (RFC 3168 6.1.1).
    pub(crate) agreed: bool,
    /// A marked segment came, and no CWR since: our ACKs carry ECE (6.1.3).
    echoing: bool,
    /// Our window was reduced: the next new data carries CWR (6.1.2).
    owes_cwr: bool,
    /// The end of what had been sent when the window was last reduced: ACKs up to it tell of what
    /// that reduction answered.
    reduced_at: Option<Seq>,
    /// It was a mark that reduced it.
    by_mark: bool,
    /// Packets that came with any of the codepoints of ECN.
    pub(crate) capable_received: u32,
    /// Packets that came marked.
    pub(crate) marks_received: u32,
    /// ACKs that came with an echo.
    pub(crate) echoes_received: u32,
}

impl Ecn {
    /// The state that a handshake ends with.
    pub(crate) fn negotiated(agreed: bool) -> Self {
        Self { agreed, ..Self::default() }
    }

    /// The peer's SYN, or SYN,ACK, answers the question in ours.
    pub(crate) fn answered(&mut self, seg: &Segment) {
        self.agreed = self.asked && if seg.acks() { agrees(seg) } else { asks(seg) };
    }

    /// A mark reduced the window in this round trip: a loss in it tells nothing new (RFC 3168 6.1.2).
    pub(crate) fn has_reduced(&self) -> bool {
        self.by_mark && self.reduced_at.is_some()
    }

    /// Whether an ACK tells of congestion.
    pub(crate) fn is_echo(&self, seg: &Segment) -> bool {
        self.agreed && seg.has(Flags::ECE) && !seg.syn()
    }
}

/// An ECN-setup SYN (RFC 3168 6.1.1). One whose IP header says that its sender speaks ECN already is
/// none: a SYN must not say so, thus something on the way sets bits as it likes.
pub(crate) fn asks(seg: &Segment) -> bool {
    seg.has(Flags::ECE | Flags::CWR) && seg.codepoint() == Codepoint::NotEct
}

/// An ECN-setup SYN,ACK. One with CWR beside ECE was only reflected.
fn agrees(seg: &Segment) -> bool {
    seg.has(Flags::ECE) && !seg.has(Flags::CWR)
}

/// An acceptable ACK arrived, before it acknowledges anything (RFC 3168 6.1.2).
pub(crate) fn ack_arrives(conn: &mut Connection, shared: &mut Shared, seg: &Segment) {
    // A mark behind what was sent then is news of the window that was reduced.
    conn.ecn.reduced_at.take_if(|at| seg.ack.is_after(*at));
    if !conn.ecn.is_echo(seg) {
        return;
    }
    conn.ecn.echoes_received = conn.ecn.echoes_received.saturating_add(1);
    let in_flight = conn.flight_size();
    if conn.ecn.reduced_at.is_none() && in_flight > 0 {
        let flight = u64::from(in_flight);
        if conn.snd.controller.window() <= u64::from(conn.snd.mss) {
            // A window of one segment cannot shrink: the next one waits for a whole timeout instead.
            let until = shared.now.after(conn.retransmission_timeout());
            conn.snd.pacer.hold(until);
        }
        conn.snd.controller.on_congestion(shared.now, CongestionCause::Ecn, flight);
        window_reduced(conn);
        conn.ecn.by_mark = true;
    }
}

/// The congestion window was reduced, for whatever reason: the peer is told with CWR, and no echo of
/// the same round trip reduces it again (RFC 3168 6.1.2).
pub(crate) fn window_reduced(conn: &mut Connection) {
    if conn.ecn.agreed {
        conn.ecn.owes_cwr = true;
        conn.ecn.by_mark = false;
        conn.ecn.reduced_at = Some(conn.snd.nxt);
    }
}

/// Text arrived inside the window (RFC 3168 6.1.3; outside of it, 6.1.5, the mark means nothing).
pub(crate) fn text_arrives(conn: &mut Connection, seg: &Segment) {
    let ecn = &mut conn.ecn;
    if !ecn.agreed {
        return;
    }
    let packets = seg.packets;
    if seg.codepoint() != Codepoint::NotEct {
        ecn.capable_received = ecn.capable_received.saturating_add(packets);
    }
    if seg.has(Flags::CWR) {
        ecn.echoing = false;
    }
    if seg.codepoint() == Codepoint::Congestion {
        ecn.marks_received = ecn.marks_received.saturating_add(packets);
        if !ecn.echoing {
            ecn.echoing = true;
            // A window that was small already may have nothing more to send until this ACK.
            conn.rcv.ack.owe(Sent::CongestionEcho);
        }
    }
}

impl Connection {
    /// Flags and codepoint of a segment with these flags and `length` bytes of text from `seq` on.
    ///
    /// Only new data says that it can be marked (RFC 3168 6.1.4 to 6.1.6): the loss of a marked ACK,
    /// retransmission or probe would be seen by nobody.
    pub(crate) fn ecn_marks(&mut self, seq: Seq, length: u32, flags: Flags) -> (Flags, Codepoint) {
        if flags.contains(Flags::SYN) {
            return (flags | self.ecn_of_syn(), Codepoint::NotEct);
        }
        let ecn = &mut self.ecn;
        let mut flags = flags;
        if ecn.echoing && flags.contains(Flags::ACK) {
            flags |= Flags::ECE;
        }
        if !ecn.agreed || length == 0 || seq.is_before(self.snd.nxt) {
            return (flags, Codepoint::NotEct);
        }
        if core::mem::take(&mut ecn.owes_cwr) {
            flags |= Flags::CWR;
        }
        (flags, Codepoint::Ect0)
    }

    /// Asks in the first SYN. When that was not answered something on the way may drop such SYNs, so
    /// it comes again without (RFC 3168 6.1.1.1).
    fn ecn_of_syn(&mut self) -> Flags {
        if self.state != State::SynSent {
            return if self.ecn.agreed { Flags::ECE } else { Flags::empty() };
        }
        let first = self.snd.nxt == self.snd.iss;
        self.ecn.asked = first && self.options.ecn == EcnMode::Request;
        if self.ecn.asked { Flags::ECE | Flags::CWR } else { Flags::empty() }
    }
}
