//! What an acknowledgment does to the sending side (RFC 9293 3.10.7.4, fifth; RFC 5681, 6298, 6582).

use crate::event::Ready;
use crate::reason::Sent;
use crate::shared::Shared;
use crate::tcp::arrives::Arrival;
use crate::tcp::congestion::{AckSample, CongestionCause};
use crate::tcp::connection::Connection;
use crate::tcp::recovery::newreno::{DuplicateVerdict, NewAckVerdict};
use crate::tcp::recovery::rtt;
use crate::tcp::segment::Segment;
use crate::tcp::state::Event;
use crate::trace::Timer;

/// Our SYN was acknowledged: the timer stops, and the first round trip is known.
pub(crate) fn syn_acknowledged(conn: &mut Connection, shared: &mut Shared, seg: &Segment) {
    let retransmissions = conn.snd.rto.expiries();
    measure_round_trip(conn, shared, seg);
    conn.snd.una = conn.snd.iss.plus(1);
    conn.snd.syn_acked = true;
    conn.user.soft_error = None;
    conn.snd.nxt = conn.snd.nxt.later_of(conn.snd.una);
    conn.deadlines.stop(Timer::Retransmission);
    conn.deadlines.stop(Timer::UserTimeout);
    if retransmissions > 0 {
        conn.snd.controller.on_handshake_loss(retransmissions);
        conn.snd.rto.after_lost_syn();
    }
}

/// An acceptable ACK arrived: new, a duplicate, or one that only moves the window.
pub(crate) fn ack_arrives(arrival: &mut Arrival<'_>) {
    let (conn, seg) = (&mut *arrival.conn, arrival.seg);
    let shared = &mut *arrival.shared;
    conn.counts.last_ack_received = Some(shared.now);
    conn.snd.window.peer_heard();
    let window = u32::from(seg.header.window) << conn.snd.scale;
    let same_window = window == conn.snd.window.size();
    if seg.ack.is_at_or_after(conn.snd.una) {
        conn.snd.window.update(seg.seq, seg.ack, window);
    }
    if seg.ack.is_after(conn.snd.una) {
        new_ack(conn, shared, &seg);
    } else if is_duplicate(conn, &seg, same_window) {
        duplicate_ack(conn, shared);
    }
    settle_timers(conn, shared, seg.ack);
}

/// RFC 5681 2: what counts as a duplicate ACK.
fn is_duplicate(conn: &Connection, seg: &Segment, same_window: bool) -> bool {
    seg.ack == conn.snd.una
        && conn.snd.max != conn.snd.una
        && seg.sequence_length() == 0
        && same_window
}

fn new_ack(conn: &mut Connection, shared: &mut Shared, seg: &Segment) {
    let (before, flight_before) = (conn.snd.una, conn.flight_size());
    let acked = seg.ack.distance_from(before);
    let fin_acked = conn.fin_sent() && seg.ack.is_after(conn.queue_end());
    let bytes = acked - u32::from(fin_acked);
    let rtt = measure_round_trip(conn, shared, seg);

    conn.snd.queue.acknowledge(bytes as usize);
    conn.snd.una = seg.ack;
    conn.snd.nxt = conn.snd.nxt.later_of(seg.ack);
    conn.snd.fin_acked |= fin_acked;
    conn.snd.rto.on_new_ack(rtt.is_some());
    conn.counts.bytes_acked += u64::from(bytes);
    // The path carries data again: what a router said before explains no later failure.
    conn.user.soft_error = None;

    let verdict = conn.snd.recovery.on_new_ack(before, seg.ack, conn.snd.mss);
    let sample = AckSample {
        now: shared.now,
        acked: u64::from(bytes),
        flight_before: u64::from(flight_before),
        rtt,
        smoothed_rtt: conn.snd.rtt.smoothed(),
        min_rtt: conn.snd.rtt.min(),
        application_limited: !conn.snd.window_limited_until.is_some_and(|at| before.is_before(at)),
        in_recovery: matches!(verdict, NewAckVerdict::Partial { .. }),
        ..AckSample::default()
    };
    conn.snd.controller.on_ack(&sample);
    match verdict {
        NewAckVerdict::Normal => conn.snd.retransmit_head = None,
        NewAckVerdict::Full => {
            conn.snd.retransmit_head = None;
            let flight = u64::from(conn.flight_size());
            conn.snd.controller.on_recovered(shared.now, flight);
        }
        NewAckVerdict::Partial { restart_timer } => {
            conn.snd.retransmit_head = Some(Sent::PartialAckRetransmission);
            if !restart_timer {
                conn.snd.keep_timer = true;
            }
        }
    }
    if fin_acked {
        conn.transition(shared, Event::RcvAckOfFin);
    }
    announce_room(conn, shared);
}

/// RFC 6298 2 and 3: one sample per round trip from our own record, or from the echoed timestamp.
fn measure_round_trip(
    conn: &mut Connection,
    shared: &Shared,
    seg: &Segment,
) -> Option<core::time::Duration> {
    let now = shared.now;
    let timed = conn.snd.timed.take_if(|(end, _)| end.is_at_or_before(seg.ack));
    let echo = match (&conn.timestamps, seg.timestamps()) {
        (Some(ours), Some(theirs)) => ours.round_trip(theirs.echo, now),
        _ => None,
    };
    let retransmitting = conn.snd.nxt != conn.snd.max || conn.snd.rto.backoffs() > 0;
    // A sample from the timestamp only where our own record says nothing: it is coarser.
    let echo = if retransmitting { echo } else { None };
    let rtt = rtt::measure(now, timed.map(|(_, at)| at), false, echo)?;
    let expected = rtt::expected_samples(u64::from(conn.flight_size()), conn.snd.mss);
    let expected = if timed.is_some() { 1 } else { expected };
    conn.snd.rtt.sample(rtt, expected, now);
    Some(rtt)
}

fn duplicate_ack(conn: &mut Connection, shared: &mut Shared) {
    let window = conn.snd.controller.window();
    let (una, max, mss) = (conn.snd.una, conn.snd.max, conn.snd.mss);
    match conn.snd.recovery.on_duplicate_ack(una, max, mss, window) {
        DuplicateVerdict::Count | DuplicateVerdict::Inflate => {}
        DuplicateVerdict::EnterRecovery => {
            let flight = u64::from(conn.flight_size());
            conn.snd.controller.on_congestion(shared.now, CongestionCause::Loss, flight);
            conn.snd.retransmit_head = Some(Sent::FastRetransmission);
            conn.snd.timed = None;
        }
    }
}

/// RFC 6298 5.2 and 5.3: the timer runs while something is out, from the last new ACK on; and RFC
/// 9293 3.8.6.1: while nothing is out and the window is closed, the persist timer runs instead.
fn settle_timers(conn: &mut Connection, shared: &Shared, ack: super::seq::Seq) {
    let now = shared.now;
    let advanced = ack == conn.snd.una;
    if conn.snd.una == conn.snd.max {
        conn.deadlines.stop(Timer::Retransmission);
        conn.deadlines.stop(Timer::UserTimeout);
        conn.snd.keep_timer = false;
    } else if advanced && !core::mem::take(&mut conn.snd.keep_timer) && conn.snd.acked_at != ack {
        let timeout = conn.retransmission_timeout();
        conn.deadlines.set(Timer::Retransmission, now.after(timeout));
        if let Some(limit) = conn.options.user_timeout {
            conn.deadlines.set(Timer::UserTimeout, now.after(limit));
        }
    }
    conn.snd.acked_at = ack;
    conn.settle_persist(now);
}

/// Tells the program that there is room to write, or that everything is through.
fn announce_room(conn: &mut Connection, shared: &mut Shared) {
    let free = conn.options.send_buffer.saturating_sub(conn.snd.queue.len());
    if conn.user.wants_room && free >= conn.options.send_buffer / 4 {
        conn.user.wants_room = false;
        conn.announce(shared, Ready::WRITE);
    }
    if conn.is_drained() {
        conn.announce(shared, Ready::DRAINED);
    }
}
