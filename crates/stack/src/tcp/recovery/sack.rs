//! Loss recovery with a peer that says what it has (RFC 6675): RACK finds the losses (RFC 8985),
//! proportional rate reduction paces their repair (RFC 9937), and what proves wrong is undone.

use wire::time::Duration;

use crate::shared::Shared;
use crate::tcp::acked::News;
use crate::tcp::congestion::{CongestionCause, LossSample};
use crate::tcp::connection::Connection;
use crate::tcp::ecn;
use crate::tcp::path_search::search_of;
use crate::tcp::recovery::frto::{Evidence, FrtoVerdict};
use crate::tcp::recovery::prr::{Progress, Prr};
use crate::tcp::recovery::rack::{Conditions, DUPLICATE_THRESHOLD};
use crate::tcp::recovery::tlp::{ProbeVerdict, Tlp};
use crate::tcp::recovery::{Phase, UNMEASURED};
use crate::tcp::segment::Segment;
use crate::tcp::send::inflight::{Fate, Record};
use crate::trace::Timer;

/// An ACK arrived at a connection with SACK, and its news are in the books.
pub(crate) fn ack_arrives(
    conn: &mut Connection,
    shared: &mut Shared,
    seg: &Segment,
    news: &mut News,
) {
    notice_reneging(conn);
    notice_duplicate(conn, shared, news);
    answer_probe(conn, shared, seg, news);
    undo_if_spurious(conn, shared, seg, news);
    let ended = end_fast(conn, shared) | end_timeout(conn);
    news.lost = detect_losses(conn, shared);
    // What was lost behind the recovery's end, and is known for long, begins another.
    let lost = news.lost > 0 || (ended && conn.snd.work.inflight.lost() > 0);
    if lost && conn.snd.recovery.phase == Phase::Open {
        enter_recovery(conn, shared, news);
    }
    reduce_rate(conn, news.delivered, news.advanced() && news.lost == 0);
}

/// The same for an ACK that says that everything before it arrived, while nothing is repaired: what left
/// in order and once is not lost before what left later arrives (RFC 8985 6.2).
pub(crate) fn plain_ack_arrives(conn: &mut Connection) {
    let una = conn.snd.una;
    conn.snd.work.repair.rack.end_dsack_round(una);
    conn.stop_timer(Timer::Reordering);
}

/// RFC 8985 6.2 step 5: the time that a late segment had is over.
pub(crate) fn reordering_expired(conn: &mut Connection, shared: &mut Shared) {
    let mut news = News::nothing(conn);
    news.lost = detect_losses(conn, shared);
    if news.lost > 0 && conn.snd.recovery.phase == Phase::Open {
        enter_recovery(conn, shared, &news);
    }
    reduce_rate(conn, u64::from(conn.snd.mss), false);
}

/// Takes what arrived into the account of a fast recovery. A timer counts as one segment.
fn reduce_rate(conn: &mut Connection, delivered: u64, safe: bool) {
    if conn.snd.recovery.is_fast() {
        let (pipe, mss) = (u64::from(conn.snd.work.inflight.pipe()), conn.snd.mss);
        conn.snd.work.repair.prr.on_ack(&Progress { delivered, pipe, safe, mss });
    }
}

/// RFC 2018 8: what the peer said it has, it may throw away. It did when its cumulative
/// acknowledgment stops short of it.
fn notice_reneging(conn: &mut Connection) {
    if conn.snd.work.inflight.first().is_some_and(|first| first.fate == Fate::Sacked) {
        conn.snd.work.inflight.forget_sacked();
        conn.snd.work.repair.scoreboard.forget();
    }
}

/// RFC 2883: something arrived twice.
fn notice_duplicate(conn: &mut Connection, shared: &Shared, news: &News) {
    let (una, nxt) = (conn.snd.una, conn.snd.nxt);
    let recovery = &mut conn.snd.recovery;
    let flight = &mut conn.snd.work.repair.rack;
    flight.end_dsack_round(una);
    let Some((left, right)) = news.duplicate else { return };
    recovery.rack.on_duplicate(flight, una, nxt);
    let segments = right.distance_from(left).div_ceil(conn.snd.mss.max(1));
    recovery.duplicates = recovery.duplicates.saturating_add(segments);
    if recovery.undo.on_duplicate(left, right) {
        undo(conn, shared, None);
    }
}

/// RFC 8985 7.4: what the ACK says about a tail loss probe.
fn answer_probe(conn: &mut Connection, shared: &Shared, seg: &Segment, news: &News) {
    let duplicate = news.duplicate.map(|(_, right)| right);
    let silent = !news.advanced() && news.delivered == 0 && seg.sequence_length() == 0;
    let repeated = silent && news.same_window;
    match conn.snd.recovery.tlp.on_ack(seg.ack, duplicate, repeated) {
        ProbeVerdict::Nothing | ProbeVerdict::Done => {}
        // A mark told of it in this round trip (RFC 3168 6.1.2).
        ProbeVerdict::RepairedLoss if conn.ecn.has_reduced() => {}
        ProbeVerdict::RepairedLoss => {
            let flight = conn.controlled_flight();
            conn.snd.controller.on_congestion(shared.now, CongestionCause::Loss, flight);
            conn.snd.controller.on_recovered(shared.now, flight);
            // A duplicate that is reported later belongs to an earlier reaction.
            conn.snd.recovery.undo.end();
            ecn::window_reduced(conn);
        }
    }
}

/// Timestamps (RFC 3522) or new data after a timeout (RFC 5682) may show that nothing was lost.
pub(crate) fn undo_if_spurious(conn: &mut Connection, shared: &Shared, seg: &Segment, news: &News) {
    let until = match conn.snd.recovery.phase {
        Phase::Open => return,
        Phase::Fast { until } | Phase::Timeout { until } => until,
    };
    let echo = seg.timestamps().map(|theirs| theirs.echo);
    if news.advanced() && conn.snd.recovery.undo.echoes_original(echo) {
        let took = echo.and_then(|echo| conn.timestamps?.round_trip(echo, shared.now));
        return undo(conn, shared, took);
    }
    if conn.snd.recovery.is_fast() {
        return;
    }
    let evidence = Evidence {
        advanced: news.advanced(),
        original: news.original
            && (conn.rcv.sack_agreed || conn.snd.work.repair.frto.prefers_new()),
        covered: conn.snd.una.is_at_or_after(until),
        has_new: conn.has_new_data(),
    };
    match conn.snd.work.repair.frto.on_ack(&evidence) {
        FrtoVerdict::Spurious => undo(conn, shared, None),
        // RFC 5682 2.1, step 3a: three segments may be out now, and two are. What a peer has that
        // reports nothing stays in flight for us, so the third goes whatever the window says.
        FrtoVerdict::Needed if !conn.rcv.sack_agreed => {
            conn.snd.retransmit_head = Some(conn.snd.resending);
        }
        FrtoVerdict::Needed | FrtoVerdict::Continue => {}
    }
}

/// RFC 4015: back to where we were; what waits to be sent again is on its way after all.
/// `took` is how long the original of what was sent again was under way, where that is known.
fn undo(conn: &mut Connection, shared: &Shared, took: Option<Duration>) {
    conn.snd.controller.on_spurious(shared.now);
    conn.snd.work.inflight.unmark_lost();
    conn.snd.retransmit_head = None;
    conn.snd.work.repair.newreno.cancel();
    let recovery = &mut conn.snd.recovery;
    if !matches!(recovery.phase, Phase::Timeout { .. }) {
        recovery.rack.on_spurious(took);
    }
    recovery.undo.end();
    conn.snd.work.repair.frto = Default::default();
    recovery.rack.doubt_copies(&mut conn.snd.work.repair.rack);
    recovery.phase = Phase::Open;
    recovery.undo.undone = recovery.undo.undone.saturating_add(1);
}

/// A fast recovery ends when everything that was out when it began is acknowledged. Whether it did.
fn end_fast(conn: &mut Connection, shared: &Shared) -> bool {
    let Phase::Fast { until } = conn.snd.recovery.phase else { return false };
    if conn.snd.una.is_before(until) {
        return false;
    }
    // Rate reduction brought the flight to the threshold already, so no burst follows when the
    // window is the threshold again (RFC 9937 6.4).
    let threshold = conn.snd.controller.slow_start_threshold();
    let flight = u64::from(conn.snd.work.inflight.pipe()).max(threshold);
    conn.snd.controller.on_recovered(shared.now, flight);
    conn.snd.recovery.phase = Phase::Open;
    conn.snd.recovery.rack.on_recovered();
    true
}

/// The same for the repair after a timeout.
pub(crate) fn end_timeout(conn: &mut Connection) -> bool {
    let recovery = &mut conn.snd.recovery;
    let ended =
        matches!(recovery.phase, Phase::Timeout { until } if conn.snd.una.is_at_or_after(until));
    if ended {
        recovery.phase = Phase::Open;
        conn.snd.work.repair.frto = Default::default();
        recovery.rack.on_recovered();
    }
    ended
}

/// RFC 8985 6.2 step 5: marks what is lost by now, and arms the timer for what may be soon. Gives
/// back how many bytes were lost.
pub(crate) fn detect_losses(conn: &mut Connection, shared: &Shared) -> u64 {
    if conn.snd.work.inflight.is_empty() {
        conn.stop_timer(Timer::Reordering);
        return 0;
    }
    let now = shared.now;
    let window = conn.reordering_window();
    let judge = conn.snd.recovery.rack.judge(&conn.snd.work.repair.rack, now, window);
    let mut lost = 0;
    let snd = &mut conn.snd;
    let probe = search_of(&mut conn.seldom).and_then(|search| search.probe_start());
    let (mut probe_lost, mut oldest) = (false, None);
    let (una, inflight) = (snd.una, &mut snd.work.inflight);
    let (rate, controller) = (&mut snd.rate, &mut snd.controller);
    let again = inflight.find_lost(judge, |record| {
        rate.on_lost(record.length());
        if probe == Some(record.start) {
            probe_lost = true;
            return;
        }
        if record.start == una {
            oldest = Some(*record);
        }
        lost += u64::from(record.length());
        controller.on_lost(&loss_sample(shared, record, rate.lost()));
    });
    match again {
        Some(at) => conn.set_timer(Timer::Reordering, at),
        None => conn.stop_timer(Timer::Reordering),
    }
    if probe.is_some() && (lost > 0 || probe_lost) {
        conn.path_probe_lost(shared, lost);
    }
    if let Some(record) = oldest {
        conn.suspect_oldest(now, &record);
    }
    if lost > 0 {
        conn.verify_size(now);
    }
    lost
}

/// The first loss since everything was well: the controller hears of it once, and not at all where a
/// mark told it in this round trip.
fn enter_recovery(conn: &mut Connection, shared: &Shared, news: &News) {
    if !conn.ecn.has_reduced() {
        let flight = conn.controlled_flight();
        conn.snd.controller.on_congestion(shared.now, CongestionCause::Loss, flight);
        conn.snd.recovery.undo.begin(conn.snd.work.inflight.copies());
        ecn::window_reduced(conn);
    }
    let snd = &mut conn.snd;
    let threshold = snd.controller.slow_start_threshold();
    let recovery = &mut snd.recovery;
    recovery.phase = Phase::Fast { until: snd.nxt };
    snd.work.repair.prr = Prr::enter(u64::from(news.flight_before), threshold);
    recovery.tlp.cancel();
    conn.stop_timer(Timer::LossProbe);
}

fn loss_sample(shared: &Shared, record: &Record, lost: u64) -> LossSample {
    LossSample {
        now: shared.now,
        bytes: u64::from(record.length()),
        flight_when_sent: u64::from(record.stamp.flight),
        delivered_when_sent: record.stamp.delivered,
        lost_since_sent: lost.saturating_sub(record.stamp.lost),
        application_limited: record.stamp.application_limited,
    }
}

impl Connection {
    /// RACK.reo_wnd, as things stand.
    fn reordering_window(&self) -> Duration {
        let snd = &self.snd;
        snd.recovery.rack.window(&Conditions {
            in_recovery: snd.recovery.is_repairing(),
            sacked: snd.work.inflight.sacked_segments(DUPLICATE_THRESHOLD),
            min_rtt: snd.rtt.min().unwrap_or(UNMEASURED),
            smoothed: snd.rtt.smoothed().unwrap_or(UNMEASURED),
        })
    }

    /// RFC 8985 6.3: what is lost when the retransmission timer expires: the oldest segment, and
    /// what was sent so long ago that its ACK should be here.
    pub(crate) fn mark_lost_at_timeout(&mut self, shared: &Shared) {
        if self.snd.work.inflight.first().is_some_and(|first| first.fate == Fate::Sacked) {
            self.snd.work.inflight.forget_sacked();
        }
        let (now, window, sack) = (shared.now, self.reordering_window(), self.rcv.sack_agreed);
        let rack = self.snd.recovery.rack.clone();
        let snd = &mut self.snd;
        let (rate, controller) = (&mut snd.rate, &mut snd.controller);
        let mut each = |record: &Record| {
            rate.on_lost(record.length());
            controller.on_lost(&loss_sample(shared, record, rate.lost()));
        };
        snd.work.inflight.mark_first_lost(snd.mss, &mut each);
        let overdue = |record: &Record| !sack || rack.is_overdue(now, window, record.sent_at);
        snd.work.inflight.mark_lost(overdue, &mut each);
    }

    /// RFC 8985 7.2: arms the tail loss probe after new data was sent or acknowledged, if nothing
    /// else would notice the loss of the flight's last segments before the retransmission timer.
    pub(crate) fn arm_loss_probe(&mut self, shared: &Shared) {
        let snd = &self.snd;
        let flight = &snd.work.inflight;
        let wanted = self.rcv.sack_agreed
            && snd.recovery.phase == Phase::Open
            && snd.recovery.tlp.may_probe()
            && !flight.is_empty()
            && flight.sacked() == 0
            && flight.lost() == 0;
        let Some(timeout) = self.timer(Timer::Retransmission).filter(|_| wanted) else {
            return self.stop_timer(Timer::LossProbe);
        };
        let one = flight.pipe() <= snd.mss;
        let probe = shared.now.after(Tlp::timeout(snd.rtt.smoothed(), one));
        self.set_timer(Timer::LossProbe, probe.min(timeout));
    }
}
