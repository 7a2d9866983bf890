//! What an acknowledgment does to the sending side (RFC 9293 3.10.7.4, fifth; RFC 5681, 6298).
//!
//! First its news go into the books: what arrived, and how long that took. Then `recovery/` looks for
//! losses, the congestion controller hears of both, and the timers are set anew.

use crate::event::Ready;
use crate::reason::Sent;
use crate::shared::Shared;
use crate::tcp::arrives::Arrival;
use crate::tcp::congestion::{AckSample, CongestionCause};
use crate::tcp::connection::{Connection, Progress};
use crate::tcp::ecn;
use crate::tcp::recovery::newreno::{DuplicateVerdict, NewAckVerdict};
use crate::tcp::recovery::scoreboard::{Block, Report};
use crate::tcp::recovery::{Phase, Repair, rtt, sack};
use crate::tcp::segment::Segment;
use crate::tcp::send::inflight::{Fate, Record};
use crate::tcp::send::rate::Newest;
use crate::tcp::send::work::SendWork;
use crate::tcp::seq::Seq;
use crate::tcp::state::Event;
use crate::trace::Timer;
use wire::time::{Duration, Instant};

/// What one ACK told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    /// SND.UNA before.
    before: Seq,
    /// Sequence numbers that it acknowledged cumulatively.
    acked: u32,
    /// Bytes newly known to have arrived, by whatever means.
    pub(crate) delivered: u64,
    /// Bytes newly taken for lost.
    pub(crate) lost: u64,
    /// Something arrived that was sent only once, before the last timeout.
    pub(crate) original: bool,
    /// What the peer received twice.
    pub(crate) duplicate: Option<Block>,
    /// It offers the window that was offered before.
    pub(crate) same_window: bool,
    /// What was out before it, and not known to have arrived.
    pub(crate) flight_before: u32,
    /// When the oldest and the newest were sent of what arrived and was sent once.
    sent: Option<(Instant, Instant)>,
    /// It echoes a router's mark (RFC 3168 6.1.2).
    ecn_echo: bool,
    /// The round-trip time that it measured.
    rtt: Option<Duration>,
    /// What arrived and was sent last.
    newest: Option<Newest>,
}

impl News {
    /// Of no ACK: a timer.
    pub(crate) fn nothing(conn: &Connection) -> Self {
        Self {
            before: conn.snd.una,
            acked: 0,
            delivered: 0,
            lost: 0,
            original: false,
            duplicate: None,
            same_window: false,
            flight_before: conn.flight_size() - conn.snd.work.inflight.sacked(),
            sent: None,
            ecn_echo: false,
            rtt: None,
            newest: None,
        }
    }

    /// SND.UNA advanced.
    pub(crate) fn advanced(&self) -> bool {
        self.acked > 0
    }
}

/// Our SYN was acknowledged: the timer stops, and the first round trip is known.
pub(crate) fn syn_acknowledged(conn: &mut Connection, shared: &mut Shared, seg: &Segment) {
    let retransmissions = conn.snd.rto.expiries();
    let measured = conn.snd.work.syn_sent.take().map(|at| shared.now.since(at));
    if let Some(rtt) = measured.or_else(|| echoed_round_trip(conn, shared, seg)) {
        conn.snd.rtt.sample(rtt, 1, shared.now);
        conn.snd.recovery.tlp.on_measured();
    }
    conn.snd.una = conn.snd.iss.plus(1);
    conn.counts.progress = Progress::at(shared.now);
    conn.snd.syn_acked = true;
    conn.user.soft_error = None;
    conn.snd.nxt = conn.snd.nxt.later_of(conn.snd.una);
    conn.stop_timer(Timer::Retransmission);
    conn.stop_timer(Timer::UserTimeout);
    conn.tell_controller_of_handshake(shared.now);
    if retransmissions > 0 {
        conn.snd.controller.on_handshake_loss(retransmissions);
        conn.snd.rto.after_lost_syn();
    }
}

/// An acceptable ACK arrived: new, a duplicate, or one that only moves the window.
pub(crate) fn ack_arrives(arrival: &mut Arrival<'_>) {
    let Arrival { conn, shared, seg, .. } = arrival;
    let (conn, shared, seg) = (&mut **conn, &mut **shared, &*seg);
    conn.snd.work.wake(&mut shared.send_works);
    conn.counts.last_ack_received = Some(shared.now);
    conn.snd.window.peer_heard();
    let window = u32::from(seg.header.window) << conn.snd.scale;
    let same_window = window == conn.snd.window.size();
    if seg.ack.is_at_or_after(conn.snd.una) {
        conn.snd.window.update(seg.seq, seg.ack, window);
    }
    let was_fast = conn.snd.recovery.is_fast();
    ecn::ack_arrives(conn, shared, seg);
    let plain = is_plain(conn, seg);
    let mut news =
        if plain { take_plain_news(conn, shared, seg) } else { take_news(conn, shared, seg) };
    news.same_window = same_window;
    measure_round_trip(conn, shared, seg, &mut news);
    let fin_acked = news.advanced() && advance(conn, shared, seg, &news);
    let work = &conn.snd.work;
    if plain && !work.repair.rack.has_overtaken(work.inflight.first()) {
        sack::plain_ack_arrives(conn);
        tell_controller(conn, shared, &news, was_fast);
    } else if conn.rcv.sack_agreed {
        sack::ack_arrives(conn, shared, seg, &mut news);
        tell_controller(conn, shared, &news, was_fast);
    } else if news.advanced() {
        newreno_ack(conn, shared, seg, &news, was_fast);
    } else if is_duplicate(conn, seg, &news) {
        sack::undo_if_spurious(conn, shared, seg, &news);
        newreno_duplicate(conn, shared);
    }
    if !conn.snd.work.inflight.has_copies() {
        conn.snd.recovery.undo.copies_gone();
    }
    if fin_acked {
        conn.transition(shared, Event::RcvAckOfFin);
    }
    if news.advanced() {
        announce_room(conn, shared);
    }
    settle_timers(conn, shared, &news);
}

/// Whether it is an ACK as nearly all are: what is out left in order and once, and neither is anything
/// of it missing at the peer nor being repaired here. What it does then is a part of what others do.
fn is_plain(conn: &Connection, seg: &Segment) -> bool {
    conn.rcv.sack_agreed
        && conn.snd.recovery.phase == Phase::Open
        && seg.header.options.sack.is_empty()
        && conn.snd.recovery.tlp.is_answered()
        && conn.snd.work.inflight.is_plain()
}

/// Enters into the books what a plain ACK says has arrived.
fn take_plain_news(conn: &mut Connection, shared: &Shared, seg: &Segment) -> News {
    let mut news = News::nothing(conn);
    news.ecn_echo = conn.ecn.is_echo(seg);
    if !seg.ack.is_after(news.before) {
        return news;
    }
    news.acked = seg.ack.distance_from(news.before);
    let snd = &mut conn.snd;
    let min_rtt = snd.rtt.min();
    let SendWork { inflight, repair, clock, .. } = &mut *snd.work;
    while let Some(record) = inflight.take_acknowledged(seg.ack) {
        news.delivered += u64::from(record.length());
        snd.rate.on_delivered(clock, shared.now, &record);
        news.newest = Newest::later_of(news.newest, &record);
        let rack = &mut snd.recovery.rack;
        rack.on_delivered(&mut repair.rack, shared.now, &record, min_rtt, false);
        let first = news.sent.map_or(record.sent_at, |(first, _)| first);
        news.sent = Some((first, record.sent_at));
    }
    inflight.forget_acknowledged(seg.ack);
    news
}

/// Enters into the books what the ACK and its SACK blocks say has arrived.
fn take_news(conn: &mut Connection, shared: &Shared, seg: &Segment) -> News {
    let mut news = News::nothing(conn);
    let (una, nxt, now) = (conn.snd.una, conn.snd.nxt, shared.now);
    let report = if conn.rcv.sack_agreed {
        Report::read(&seg.header.options.sack, seg.ack, una, nxt, conn.snd.window.max())
    } else {
        Report::default()
    };
    news.ecn_echo = conn.ecn.is_echo(seg);
    news.duplicate = report.duplicate;
    news.acked = if seg.ack.is_after(una) { seg.ack.distance_from(una) } else { 0 };
    let echo = seg.timestamps().map(|theirs| theirs.echo).filter(|echo| *echo != 0);
    let clock = conn.timestamps;
    let answers_original = |record: &Record| match (&clock, echo) {
        (Some(ours), Some(echo)) => Seq(echo).is_before(Seq(ours.at(record.sent_at))),
        _ => false,
    };
    let snd = &mut conn.snd;
    let segment = snd.mss;
    let (rate, recovery, min_rtt) = (&mut snd.rate, &mut snd.recovery, snd.rtt.min());
    let SendWork { inflight, repair, clock: rate_clock, .. } = &mut *snd.work;
    let Repair { rack, scoreboard, .. } = repair;
    let timeout = match recovery.phase {
        Phase::Timeout { until } => Some(until),
        _ => None,
    };
    let mut repaired = false;
    let mut each = |record: &Record| {
        if record.fate == Fate::Sacked {
            return;
        }
        news.delivered += u64::from(record.length());
        rate.on_delivered(rate_clock, now, record);
        news.newest = Newest::later_of(news.newest, record);
        recovery.rack.on_delivered(rack, now, record, min_rtt, answers_original(record));
        if record.resent {
            repaired |= record.end.is_at_or_before(seg.ack);
        } else {
            let at = record.sent_at;
            news.original |= timeout.is_some_and(|until| record.end.is_at_or_before(until));
            news.sent = Some(news.sent.map_or((at, at), |(a, b)| (a.min(at), b.max(at))));
        }
    };
    inflight.acknowledge(seg.ack, &mut each);
    scoreboard.news(&report, segment, |(l, r)| inflight.sack(l, r, &mut each));
    if repaired {
        // RFC 6298 3: what lay behind a hole that a copy filled was not acknowledged when it came.
        news.sent = None;
    }
    news
}

/// SND.UNA advances. Whether our FIN was acknowledged with it.
fn advance(conn: &mut Connection, shared: &mut Shared, seg: &Segment, news: &News) -> bool {
    let fin_acked = conn.fin_sent() && seg.ack.is_after(conn.queue_end());
    let bytes = news.acked - u32::from(fin_acked);
    conn.snd.work.queue.acknowledge(bytes as usize, &mut shared.spare);
    conn.snd.una = seg.ack;
    conn.counts.progress = Progress::at(shared.now);
    conn.snd.fin_acked |= fin_acked;
    conn.counts.bytes_acked += u64::from(bytes);
    // The path carries data again: what a router said before explains no later failure.
    conn.user.soft_error = None;
    fin_acked
}

/// RFC 6298 2 and 3: what arrived and was sent once is a sample; a timestamp's echo is one where
/// nothing else is, for it is coarser (RFC 7323 4.1).
fn measure_round_trip(conn: &mut Connection, shared: &Shared, seg: &Segment, news: &mut News) {
    let echo = if news.advanced() { echoed_round_trip(conn, shared, seg) } else { None };
    let oldest = news.sent.map(|(oldest, _)| oldest);
    if let Some(sample) = rtt::measure(shared.now, oldest, false, echo) {
        let expected = rtt::expected_samples(u64::from(news.flight_before), conn.snd.mss);
        conn.snd.rtt.sample(sample, expected, shared.now);
        conn.snd.recovery.tlp.on_measured();
    }
    let newest = news.sent.map(|(_, newest)| newest);
    news.rtt = rtt::measure(shared.now, newest, false, echo);
    if let Some(least) = news.rtt {
        conn.snd.rtt.remember_minimum(least, shared.now);
    }
    if news.advanced() {
        conn.snd.rto.on_new_ack(news.rtt.is_some());
    }
}

/// The round trip that the echo of our timestamp shows.
fn echoed_round_trip(conn: &Connection, shared: &Shared, seg: &Segment) -> Option<Duration> {
    match (&conn.timestamps, seg.timestamps()) {
        (Some(ours), Some(theirs)) => ours.round_trip(theirs.echo, shared.now),
        _ => None,
    }
}

/// The controller learns what arrived.
fn tell_controller(conn: &mut Connection, shared: &Shared, news: &News, was_fast: bool) {
    let snd = &mut conn.snd;
    let sampled = snd.rate.sample(&mut snd.work.clock, news.newest, snd.rtt.min());
    if news.delivered == 0 {
        return;
    }
    let window = snd.controller.window();
    let used = snd.usage.was_used(window, window < snd.controller.slow_start_threshold());
    // RFC 5681 3.1: the window grows by what is acknowledged cumulatively. A block alone means that
    // something is missing, and what follows is sent instead of what arrived; unless it is known
    // that segments overtake one another here.
    let in_order = news.advanced() || snd.recovery.rack.reordering_seen();
    let sample = AckSample {
        now: shared.now,
        acked: news.delivered,
        flight_before: u64::from(news.flight_before),
        flight: u64::from(snd.work.inflight.pipe()),
        newly_lost: news.lost,
        rtt: news.rtt,
        smoothed_rtt: snd.rtt.smoothed(),
        min_rtt: snd.rtt.min(),
        application_limited: !used,
        in_recovery: was_fast || snd.recovery.is_fast() || !in_order,
        round_start: sampled.is_some_and(|(_, round_start)| round_start),
        delivery: sampled.map(|(delivery, _)| delivery),
        ecn_echo: news.ecn_echo,
        ..AckSample::default()
    };
    snd.controller.on_ack(&sample);
    let rate = sample.delivery.filter(|_| sample.round_start).and_then(|delivery| delivery.rate());
    if let Some(rate) = rate {
        conn.fit_send_buffer(shared, rate);
    }
}

/// RFC 6582 3.2: an ACK of new data from a peer that does not say what it has.
fn newreno_ack(
    conn: &mut Connection,
    shared: &mut Shared,
    seg: &Segment,
    news: &News,
    was_fast: bool,
) {
    sack::undo_if_spurious(conn, shared, seg, news);
    let mss = conn.snd.mss;
    let verdict = conn.snd.work.repair.newreno.on_new_ack(news.before, seg.ack, mss);
    tell_controller(conn, shared, news, was_fast && verdict != NewAckVerdict::Normal);
    let snd = &mut conn.snd;
    snd.retransmit_head = None;
    match verdict {
        NewAckVerdict::Normal => {
            sack::end_timeout(conn);
        }
        NewAckVerdict::Full => {
            let flight = u64::from(snd.nxt.distance_from(snd.una));
            snd.controller.on_recovered(shared.now, flight);
            snd.recovery.phase = Phase::Open;
        }
        NewAckVerdict::Partial { restart_timer } => {
            snd.retransmit_head = Some(Sent::PartialAckRetransmission);
            snd.keep_timer = !restart_timer;
        }
    }
}

/// RFC 5681 2: what counts as a duplicate ACK.
fn is_duplicate(conn: &Connection, seg: &Segment, news: &News) -> bool {
    seg.ack == conn.snd.una
        && conn.snd.nxt != conn.snd.una
        && seg.sequence_length() == 0
        && news.same_window
}

fn newreno_duplicate(conn: &mut Connection, shared: &mut Shared) {
    let snd = &mut conn.snd;
    let window = snd.controller.window();
    match snd.work.repair.newreno.on_duplicate_ack(snd.una, snd.nxt, snd.mss, window) {
        DuplicateVerdict::Count | DuplicateVerdict::Inflate => {}
        DuplicateVerdict::EnterRecovery => {
            // RFC 5681 3.2, step 2: what limited transmit sent beyond the window does not count.
            let flight = u64::from(snd.nxt.distance_from(snd.una)).min(window);
            snd.controller.on_congestion(shared.now, CongestionCause::Loss, flight);
            snd.retransmit_head = Some(Sent::FastRetransmission);
            snd.recovery.phase = Phase::Fast { until: snd.nxt };
            snd.recovery.undo.begin(snd.work.inflight.copies());
            ecn::window_reduced(conn);
        }
    }
}

/// RFC 6298 5.2 and 5.3: the timer runs while something is out, from the last new ACK on; and RFC
/// 9293 3.8.6.1: while nothing is out and the window is closed, the persist timer runs instead.
fn settle_timers(conn: &mut Connection, shared: &Shared, news: &News) {
    let now = shared.now;
    if conn.snd.una == conn.snd.nxt {
        conn.stop_timer(Timer::Retransmission);
        conn.stop_timer(Timer::UserTimeout);
        conn.stop_timer(Timer::Reordering);
        conn.snd.keep_timer = false;
    } else if news.advanced() && !core::mem::take(&mut conn.snd.keep_timer) {
        let timeout = conn.retransmission_timeout();
        conn.set_timer(Timer::Retransmission, now.after(timeout));
        if let Some(limit) = conn.options.user_timeout {
            conn.set_timer(Timer::UserTimeout, now.after(limit));
        }
    }
    if news.advanced() || news.delivered > 0 {
        conn.arm_loss_probe(shared);
    }
    conn.settle_persist(now);
}

/// Tells the program that there is room to write, or that everything is through.
pub(super) fn announce_room(conn: &mut Connection, shared: &mut Shared) {
    conn.expand_send_buffer(shared);
    let worthwhile = match conn.options.notsent_lowat {
        Some(most) => (conn.send_buffer() / 4).min((most as usize).div_ceil(2)),
        None => conn.send_buffer() / 4,
    };
    if conn.user.wants_room && conn.send_room() >= worthwhile {
        conn.user.wants_room = false;
        conn.announce(shared, Ready::WRITE);
    }
    if conn.is_drained() {
        conn.announce(shared, Ready::DRAINED);
    }
}
