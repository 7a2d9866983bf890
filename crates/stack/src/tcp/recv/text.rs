//! The seventh and eighth step's work: bytes in, holes filled, FIN in its place
//! (RFC 9293 3.10.7.4, 3.8.6; RFC 5681 4.2).

use core::ops::ControlFlow::{Break, Continue};

use wire::frame::FrameBuf;

use crate::error::Error;
use crate::event::Ready;
use crate::pool::LARGE_CHUNK;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::tcp::arrives::{Arrival, Step};
use crate::tcp::connection::{Connection, Progress};
use crate::tcp::ecn;
use crate::tcp::recv::assembler::Inserted;
use crate::tcp::recv::autotune;
use crate::tcp::reply::Reply;
use crate::tcp::state::Event;

/// Takes the text of an acceptable segment.
pub(crate) fn process(arrival: &mut Arrival<'_>) -> Step {
    let conn = &mut *arrival.conn;
    if conn.user.orphaned && arrival.seg.end().is_after(conn.rcv.nxt) {
        // RFC 9293 3.6.1: nobody will ever read it; the peer must know that it was lost.
        let reset = Reply::reset_of(conn, arrival.shared.now, Sent::ResetLateData);
        arrival.replies.push(arrival.shared, reset);
        conn.fail(arrival.shared, Error::ConnectionAborted, Event::Abort);
        return Break(());
    }
    ecn::text_arrives(conn, &arrival.seg);
    autotune::text_arrives(conn, &arrival.seg, arrival.shared.now);
    trim_to_window(arrival);
    if arrival.seg.length == 0 {
        return nothing_new(arrival);
    }
    arrival.conn.counts.last_data_received = Some(arrival.shared.now);
    if arrival.seg.seq == arrival.conn.rcv.nxt { in_order(arrival) } else { out_of_order(arrival) }
}

/// Leaves of the segment what lies in the window and was not received before.
fn trim_to_window(arrival: &mut Arrival<'_>) {
    arrival.note_duplicate();
    let rcv = &arrival.conn.rcv;
    let before =
        if arrival.seg.seq.is_before(rcv.nxt) { rcv.nxt.distance_from(arrival.seg.seq) } else { 0 };
    let edge = rcv.fin.map_or(rcv.edge, |fin| rcv.edge.earlier_of(fin));
    arrival.trim_front(before);
    arrival.trim_back(edge);
    if before == 0 {
        // RFC 2883 4, (1): of a segment's duplicates the first one is told.
        let (seg, rcv) = (&arrival.seg, &mut arrival.conn.rcv);
        let overlap = rcv.work.assembler.first_overlap(seg.seq, seg.seq.plus(seg.length));
        overlap.into_iter().for_each(|range| rcv.note_duplicate(range));
    }
}

/// Its text came before, or the window is closed.
fn nothing_new(arrival: &mut Arrival<'_>) -> Step {
    if arrival.conn.receive_window() == 0 {
        arrival.answer(Sent::ProbeAnswer);
        return arrival.drop_segment(Dropped::ReceiveBufferFull);
    }
    arrival.answer(Sent::DuplicateAck);
    Continue(())
}

fn in_order(arrival: &mut Arrival<'_>) -> Step {
    if !arrival.conn.make_room(arrival.shared, &arrival.frame) {
        return arrival.drop_segment(Dropped::MemoryLimit);
    }
    let frame = core::mem::take(&mut arrival.frame);
    let (conn, shared, seg) = (&mut *arrival.conn, &mut *arrival.shared, &arrival.seg);
    let fills_hole = !conn.rcv.work.assembler.is_empty();
    let mut count = seg.length;
    conn.keep(shared, frame);
    conn.rcv.nxt = conn.rcv.nxt.plus(seg.length);
    conn.counts.progress = Progress::at(shared.now);
    if fills_hole {
        while let Some(piece) =
            conn.rcv.work.assembler.take_contiguous(conn.rcv.nxt, &mut shared.spare)
        {
            let length = u32::try_from(piece.len()).unwrap_or(0);
            count += length;
            conn.rcv.nxt = conn.rcv.nxt.plus(length);
            conn.keep(shared, piece);
        }
        conn.rcv.ack.owe(Sent::HoleFilledAck);
    }
    if conn.rcv.work.report.duplicate_waits() {
        conn.rcv.ack.owe(Sent::DuplicateAck);
    }
    conn.counts.bytes_received += u64::from(count);
    conn.rcv.ack.on_text(shared.now, seg.length, seg.packets, conn.options.delayed_ack);
    conn.announce(shared, Ready::READ);
    Continue(())
}

fn out_of_order(arrival: &mut Arrival<'_>) -> Step {
    let frame = core::mem::take(&mut arrival.frame);
    let (conn, shared) = (&mut *arrival.conn, &mut *arrival.shared);
    conn.rcv.work.wake(&mut shared.receive_works);
    // RFC 5681 4.2: at once, so that the peer's fast retransmit works.
    conn.rcv.ack.owe_duplicate();
    let limit = shared.config.out_of_order_limit.min(conn.receive_buffer().saturating_mul(2));
    // What comes again is no use of memory that is short.
    let spare = shared.memory.spare_room(&conn.charge, conn.pinned());
    let affordable = conn.rcv.work.assembler.held().saturating_add(spare);
    let (short, limit) = (affordable < limit, affordable.min(limit));
    let (next, start) = (conn.rcv.nxt, arrival.seg.seq);
    match conn.rcv.work.assembler.insert(next, start, frame, limit, &mut shared.spare) {
        Inserted::New | Inserted::Partial | Inserted::Duplicate => {
            conn.rcv.note_out_of_order();
            Continue(())
        }
        Inserted::Refused => {
            // What was not kept must not let a FIN behind it count.
            let why = if short { Dropped::MemoryLimit } else { Dropped::ReassemblyFull };
            arrival.drop_segment(why)
        }
    }
}

impl Connection {
    /// Whether the stack's memory has room for text in order. What waits behind a hole gives way to
    /// it: the peer has not forgotten that before we acknowledge it (RFC 2018 8).
    fn make_room(&mut self, shared: &mut Shared, text: &FrameBuf) -> bool {
        let growth = self.rcv.work.queue.growth(text);
        // Pieces that follow may have to be copied together into one more chunk.
        let follows = if self.rcv.work.assembler.is_empty() { 0 } else { LARGE_CHUNK };
        if growth + follows <= shared.memory.room(&self.charge, self.pinned()) {
            return true;
        }
        self.rcv.work.assembler.clear(&mut shared.spare);
        growth <= shared.memory.room(&self.charge, self.pinned())
    }
}

/// Takes the FIN when everything before it is here.
pub(crate) fn take_fin(arrival: &mut Arrival<'_>) {
    let (conn, shared) = (&mut *arrival.conn, &mut *arrival.shared);
    if conn.rcv.fin != Some(conn.rcv.nxt) || !conn.state.may_receive() {
        return;
    }
    conn.rcv.nxt = conn.rcv.nxt.plus(1);
    conn.rcv.edge = conn.rcv.edge.later_of(conn.rcv.nxt);
    if conn.rcv.work.is_awake() {
        conn.rcv.work.assembler.clear(&mut shared.spare);
    }
    conn.rcv.ack.owe(Sent::FinAck);
    conn.transition(shared, Event::RcvFin);
    conn.announce(shared, Ready::READ | Ready::READ_CLOSED);
}
