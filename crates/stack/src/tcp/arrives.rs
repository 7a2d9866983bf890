//! SEGMENT ARRIVES (RFC 9293 3.10.7): the eight steps, in the RFC's order and words.
//!
//! Nothing is sent here. A step changes the state of the connection and leaves marks: an ACK is
//! owed, a retransmission is due, an event is pending. [`output`](super::output) reads them.

use core::ops::ControlFlow::{self, Break, Continue};
use wire::frame::FrameBuf;
use wire::tcp::Flags;
use wire::time::Duration;

use crate::error::Error;
use crate::event::Ready;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::tcp::acked;
use crate::tcp::blind::{self, ResetVerdict};
use crate::tcp::connection::Connection;
use crate::tcp::recv::text;
use crate::tcp::reply::{Replies, Reply};
use crate::tcp::segment::Segment;
use crate::tcp::seq::Seq;
use crate::tcp::state::{Event, State};

/// A segment on its way through the steps, and what the steps may touch.
pub(crate) struct Arrival<'a> {
    pub(crate) conn: &'a mut Connection,
    pub(crate) shared: &'a mut Shared,
    /// Answers that belong to no connection any more: resets.
    pub(crate) replies: &'a mut Replies,
    /// The segment; its front is trimmed as the steps find parts that came before.
    pub(crate) seg: Segment,
    /// Its text, and nothing before or after.
    pub(crate) frame: FrameBuf,
}

/// Whether the next step follows, or the segment is done with.
pub(crate) type Step = ControlFlow<()>;

/// Takes a segment through the steps that its connection's state asks for.
pub(crate) fn segment_arrives(mut arrival: Arrival<'_>) {
    let conn = &mut *arrival.conn;
    conn.counts.segs_in = conn.counts.segs_in.wrapping_add(arrival.seg.packets);
    let _done = match conn.state {
        State::SynSent => arrival.syn_sent(),
        _ => arrival.synchronized(),
    };
    let Arrival { shared, frame, .. } = arrival;
    shared.recycle(frame);
}

impl Arrival<'_> {
    /// RFC 9293 3.10.7.3: the five steps of SYN-SENT.
    fn syn_sent(&mut self) -> Step {
        self.syn_sent_first_check_ack()?;
        self.syn_sent_second_check_rst()?;
        // Third, security: there is none to check (RFC 9293 appendix A.1).
        self.syn_sent_fourth_check_syn()?;
        // Fifth: neither SYN nor RST.
        self.drop_segment(Dropped::SynSentNothing)
    }

    fn syn_sent_first_check_ack(&mut self) -> Step {
        let (seg, snd) = (&self.seg, &self.conn.snd);
        if !seg.acks() {
            return Continue(());
        }
        if seg.ack.is_at_or_before(snd.iss) || seg.ack.is_after(snd.nxt) {
            if !seg.rst() {
                self.replies.push(self.shared, Reply::reset_for(seg, Sent::ResetHandshake));
            }
            return self.drop_segment(Dropped::SynSentUnacceptableAck);
        }
        Continue(())
    }

    fn syn_sent_second_check_rst(&mut self) -> Step {
        if !self.seg.rst() {
            return Continue(());
        }
        if !self.seg.acks() {
            return self.drop_segment(Dropped::SynSentReset);
        }
        self.conn.fail(self.shared, Error::ConnectionRefused, Event::RcvRst);
        Break(())
    }

    fn syn_sent_fourth_check_syn(&mut self) -> Step {
        if !self.seg.syn() {
            return Continue(());
        }
        let (conn, shared, seg) = (&mut *self.conn, &mut *self.shared, &self.seg);
        conn.rcv.irs = seg.seq;
        conn.rcv.nxt = seg.seq.plus(1);
        conn.rcv.edge = conn.rcv.nxt;
        conn.take_peer_options(&seg.header.options, shared);
        conn.ecn.answered(seg);
        // RFC 7323 2.2: the window of a SYN is never scaled.
        conn.snd.window.set(u32::from(seg.header.window), seg.seq, seg.ack);
        if seg.acks() {
            acked::syn_acknowledged(conn, shared, seg);
            conn.transition(shared, Event::RcvSynAck);
            conn.start_keepalive(shared.now);
            conn.rcv.ack.owe(Sent::HandshakeAck);
            conn.announce(shared, Ready::WRITE);
            conn.open_window();
            // RFC 9293 3.10.7.3: text and FIN of a SYN,ACK are handled as in the sixth step on.
            self.trim_front(1);
            self.sixth_to_eighth()?;
            return Break(());
        }
        // Simultaneous open: our SYN goes out again, as SYN,ACK.
        conn.transition(shared, Event::RcvSyn);
        conn.snd.syn_due = true;
        conn.open_window();
        self.trim_front(1);
        if self.seg.length > 0 {
            // Text of a bare SYN would have to wait until the connection is open: it comes again.
            return self.drop_segment(Dropped::SynSentNothing);
        }
        Break(())
    }

    /// RFC 9293 3.10.7.4: the eight steps of every other state.
    fn synchronized(&mut self) -> Step {
        self.first_check_sequence_number()?;
        self.second_check_rst()?;
        // Third, security: there is none to check (RFC 9293 appendix A.1).
        self.fourth_check_syn()?;
        self.fifth_check_ack()?;
        self.sixth_to_eighth()
    }

    fn sixth_to_eighth(&mut self) -> Step {
        self.sixth_check_urg();
        self.seventh_process_text()?;
        self.eighth_check_fin();
        Continue(())
    }

    fn first_check_sequence_number(&mut self) -> Step {
        if !self.conn.syn_acknowledged() && self.is_syn_ack_of_simultaneous_open() {
            // RFC 9293 figure 8: both SYNs crossed, and this is the SYN,ACK that answers ours.
            self.trim_front(1);
            return Continue(());
        }
        self.check_timestamps()?;
        let (seg, rcv) = (&self.seg, &self.conn.rcv);
        if is_acceptable(seg, rcv.nxt, self.conn.receive_window()) {
            return Continue(());
        }
        if seg.rst() {
            return self.drop_segment(Dropped::OutOfWindow);
        }
        if seg.end().is_at_or_before(rcv.nxt) && seg.length > 0 {
            self.note_duplicate();
            self.answer(Sent::DuplicateAck);
            return self.drop_segment(Dropped::OldDuplicate);
        }
        self.answer(Sent::OutOfWindowAck);
        self.drop_segment(Dropped::OutOfWindow)
    }

    /// RFC 7323 4.3: the timestamp of an acceptable segment is the one to echo from now on. Only one
    /// that knows what we sent counts: a forged one would shut the true peer out (PAWS).
    fn take_timestamp(&mut self) {
        let (conn, seg) = (&mut *self.conn, &self.seg);
        if let (Some(ours), Some(theirs)) = (&mut conn.timestamps, seg.timestamps()) {
            ours.update(theirs.value, seg.seq, self.shared.now);
        }
    }

    /// RFC 7323 5.3: PAWS, before anything else looks at the segment.
    fn check_timestamps(&mut self) -> Step {
        let Some(ours) = &self.conn.timestamps else { return Continue(()) };
        if self.seg.rst() {
            return Continue(());
        }
        match self.seg.timestamps() {
            None => self.drop_segment(Dropped::NoTimestamp),
            Some(theirs) if self.is_overtaken_ack(ours.age(theirs.value)) => Continue(()),
            Some(theirs) if ours.is_old(theirs.value, self.shared.now) => {
                self.note_duplicate();
                self.answer(Sent::PawsAck);
                self.drop_segment(Dropped::Paws)
            }
            Some(_) => Continue(()),
        }
    }

    /// A bare ACK that a later one overtook, by less than a retransmission timeout: what it reports is
    /// true, and it can be no duplicate of a wrapped number. (As Linux has it: `tcp_disordered_ack`.)
    fn is_overtaken_ack(&self, age: Duration) -> bool {
        let (seg, conn) = (&self.seg, &self.conn);
        seg.sequence_length() == 0
            && seg.acks()
            && seg.seq == conn.rcv.nxt
            && age <= conn.retransmission_timeout()
    }

    fn is_syn_ack_of_simultaneous_open(&self) -> bool {
        let (seg, conn) = (&self.seg, &self.conn);
        seg.syn() && seg.acks() && !seg.rst() && seg.seq == conn.rcv.irs && seg.ack == conn.snd.nxt
    }

    fn second_check_rst(&mut self) -> Step {
        if !self.seg.rst() {
            return Continue(());
        }
        let (nxt, window) = (self.conn.rcv.nxt, self.conn.receive_window());
        match blind::reset_verdict(self.seg.seq, nxt, window) {
            ResetVerdict::Reset => {
                let error = match self.conn.state {
                    State::SynReceived => Error::ConnectionRefused,
                    _ => Error::ConnectionReset,
                };
                self.conn.fail(self.shared, error, Event::RcvRst);
                Break(())
            }
            ResetVerdict::Challenge => {
                self.challenge();
                self.drop_segment(Dropped::BlindReset)
            }
            ResetVerdict::Drop => self.drop_segment(Dropped::OutOfWindow),
        }
    }

    /// RFC 5961 4: a SYN inside a connection is challenged, whatever its sequence number.
    fn fourth_check_syn(&mut self) -> Step {
        if !self.seg.syn() {
            return Continue(());
        }
        self.challenge();
        self.drop_segment(Dropped::BlindSyn)
    }

    fn fifth_check_ack(&mut self) -> Step {
        if !self.seg.acks() {
            return self.drop_segment(Dropped::NoAck);
        }
        let (conn, seg) = (&mut *self.conn, &self.seg);
        // SYN-RECEIVED, or what CLOSE made of it.
        if !conn.syn_acknowledged() {
            if !seg.ack.is_after(conn.snd.una) || seg.ack.is_after(conn.snd.nxt) {
                self.replies.push(self.shared, Reply::reset_for(seg, Sent::ResetHandshake));
                return self.drop_segment(Dropped::AckOfUnsent);
            }
            let window = u32::from(seg.header.window) << conn.snd.scale;
            conn.snd.window.set(window, seg.seq, seg.ack);
            acked::syn_acknowledged(conn, self.shared, seg);
            conn.transition(self.shared, Event::RcvAckOfSyn);
            conn.start_keepalive(self.shared.now);
            conn.announce(self.shared, Ready::WRITE);
        }
        if seg.ack.is_after(conn.snd.nxt) {
            self.answer(Sent::UnacceptableAck);
            return self.drop_segment(Dropped::AckOfUnsent);
        }
        if !blind::ack_acceptable(seg.ack, conn.snd.una, conn.snd.nxt, conn.snd.window.max()) {
            self.challenge();
            return self.drop_segment(Dropped::BlindAck);
        }
        self.take_timestamp();
        self.conn.heard_from_peer(self.shared.now);
        acked::ack_arrives(self);
        if self.conn.state == State::Closed { Break(()) } else { Continue(()) }
    }

    /// RFC 9293 3.8.5, RFC 6093 6: urgent data is delivered in line, where it stands.
    fn sixth_check_urg(&mut self) {}

    fn seventh_process_text(&mut self) -> Step {
        if self.seg.length == 0 {
            return Continue(());
        }
        if !self.conn.state.may_receive() {
            // The peer said FIN before: this should not occur (RFC 9293 3.10.7.4, seventh).
            self.answer(Sent::DuplicateAck);
            return self.drop_segment(Dropped::AfterFin);
        }
        text::process(self)
    }

    fn eighth_check_fin(&mut self) {
        if self.seg.fin() {
            let at = self.seg.seq.plus(self.seg.length);
            let conn = &mut *self.conn;
            if conn.rcv.fin.is_none()
                && conn.state.may_receive()
                && at.is_at_or_before(conn.rcv.edge)
            {
                conn.rcv.fin = Some(at);
            }
            if at.is_after(conn.rcv.nxt) {
                self.conn.rcv.ack.owe_duplicate();
            }
        }
        text::take_fin(self);
    }

    /// Takes note of that part of the text that came before RCV.NXT, for D-SACK (RFC 2883 4.1).
    pub(crate) fn note_duplicate(&mut self) {
        let (seg, rcv) = (&self.seg, &mut self.conn.rcv);
        let start = seg.seq.plus(u32::from(seg.syn()));
        rcv.note_duplicate((start, start.plus(seg.length).earlier_of(rcv.nxt)));
    }

    /// Hides the first `count` sequence numbers of the segment: SYN first, then text.
    pub(crate) fn trim_front(&mut self, count: u32) {
        let seg = &mut self.seg;
        let mut text = count;
        if count > 0 && seg.syn() {
            seg.header.flags.remove(Flags::SYN);
            text -= 1;
        }
        let text = text.min(seg.length);
        self.frame.advance(text as usize);
        seg.length -= text;
        seg.seq = seg.seq.plus(count);
    }

    /// Cuts text and FIN that lie at or beyond `edge`.
    pub(crate) fn trim_back(&mut self, edge: Seq) {
        let room = edge.distance_from(self.seg.seq);
        if self.seg.length > room {
            self.frame.truncate(room as usize);
            self.seg.length = room;
            self.seg.header.flags.remove(Flags::FIN);
        }
    }

    /// Owes the peer an ACK that says where we are.
    ///
    /// Two ends that each find the other unacceptable would answer one another for ever; answers to
    /// segments without text are therefore few and far between.
    pub(crate) fn answer(&mut self, why: Sent) {
        if self.seg.length > 0
            || self.conn.seldom.get_or_insert_default().challenge.allow_answer(self.shared.now)
        {
            self.conn.reply = Some(why);
        } else {
            self.shared.drop_packet(Some(self.seg.tuple), Dropped::ChallengeLimited);
        }
    }

    /// RFC 5961: owes a challenge ACK, within the connection's budget.
    fn challenge(&mut self) {
        if self.conn.seldom.get_or_insert_default().challenge.allow(self.shared.now) {
            self.conn.reply = Some(Sent::ChallengeAck);
        } else {
            self.shared.drop_packet(Some(self.seg.tuple), Dropped::ChallengeLimited);
        }
    }

    pub(crate) fn drop_segment(&mut self, why: Dropped) -> Step {
        self.shared.drop_packet(Some(self.seg.tuple), why);
        Break(())
    }
}

/// RFC 9293 3.10.7.4, first: the table of four cases, with two allowances. A segment that begins
/// exactly where a closed window begins is a probe: its ACK counts, its text does not. A bare ACK
/// at the window's far edge is what a peer sends that filled the window while a piece was lost.
pub(crate) fn is_acceptable(seg: &Segment, nxt: Seq, window: u32) -> bool {
    let length = seg.sequence_length();
    if length == 0 || window == 0 {
        return seg.seq == nxt || seg.seq.distance_from(nxt) <= window;
    }
    seg.seq.is_within(nxt, window)
        || seg.end().minus(1).is_within(nxt, window)
        || (seg.seq.is_before(nxt) && seg.end().is_after(nxt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FourTuple;
    use core::net::{IpAddr, Ipv4Addr};
    use wire::tcp::Header;

    fn segment(seq: u32, length: u32) -> Segment {
        let any = (IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
        let header = Header { sequence: seq, flags: Flags::ACK, ..Header::default() };
        Segment::new(FourTuple::new(any, any), header, length, 1)
    }

    /// The table of RFC 9293 3.10.7.4.
    #[test]
    fn the_four_cases_of_acceptability() {
        let nxt = Seq(1000);
        for (seq, length, window, acceptable) in [
            (1000, 0, 0, true),
            (1001, 0, 0, false),
            (999, 0, 0, false),
            (1000, 0, 10, true),
            (1009, 0, 10, true),
            (1010, 0, 10, true), // allowance: the far edge
            (1011, 0, 10, false),
            (999, 0, 10, false),
            (1000, 1, 0, true), // allowance: a probe
            (1001, 1, 0, false),
            (990, 10, 10, false),
            (990, 11, 10, true),
            (1009, 5, 10, true),
            (1010, 5, 10, false),
            (990, 100, 10, true),
        ] {
            let seen = is_acceptable(&segment(seq, length), nxt, window);
            assert_eq!(seen, acceptable, "seq {seq} len {length} window {window}");
        }
    }
}
