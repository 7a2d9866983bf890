//! Timers that fire (RFC 9293 3.10.8).

use crate::error::Error;
use crate::reason::Sent;
use crate::shared::Shared;
use crate::tcp::Tcp;
use crate::tcp::TimerOwner;
use crate::tcp::congestion::CongestionCause;
use crate::tcp::connection::Connection;
use crate::tcp::ecn;
use crate::tcp::recovery::sack;
use crate::tcp::reply::{Replies, Reply};
use crate::tcp::send::work::SendWork;
use crate::tcp::state::{Event, State};
use crate::trace::{Timer, What};

impl Tcp {
    /// Fires every timer that is due.
    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared) {
        while let Some((owner, _)) = self.wheel.expire(shared.now) {
            match owner {
                TimerOwner::Connection(id) => {
                    let Some(conn) = self.connections.get_mut(id) else { continue };
                    conn.deadlines.entry = None;
                    while let Some(timer) = conn.take_due_timer(shared.now) {
                        conn.expire(shared, &mut self.replies, timer);
                    }
                    self.settle(shared, id);
                }
                TimerOwner::HalfOpen(id) => self.half_open_expired(shared, id),
            }
        }
        while let Some((id, tuple)) = self.time_wait.expire(shared.now) {
            self.time_wait_expired(shared, id, tuple);
        }
    }
}

impl Connection {
    fn expire(&mut self, shared: &mut Shared, replies: &mut Replies, timer: Timer) {
        shared.trace(Some(self.tuple()), What::Timer { timer });
        match timer {
            Timer::Retransmission => self.retransmission_expired(shared, replies),
            Timer::Persist => self.persist_expired(shared, replies),
            Timer::DelayedAck => self.rcv.ack.on_timer(shared.now),
            Timer::KeepAlive => self.keepalive_expired(shared, replies),
            Timer::UserTimeout => self.give_up(shared, replies),
            // RFC 9293 leaves FIN-WAIT-2 unbounded; a peer that never closes would be a leak.
            Timer::FinWait2 => self.fail(shared, Error::TimedOut, Event::TimedOut),
            Timer::LossProbe => self.loss_probe_expired(shared),
            Timer::Reordering => sack::reordering_expired(self, shared),
            // What waited for it may leave: the connection queues up for output.
            Timer::Pacing | Timer::TimeWait | Timer::FlowIdle => {}
        }
    }

    /// RFC 6298 5.4-5.6: the oldest segment goes out again, the timeout doubles, the window falls.
    fn retransmission_expired(&mut self, shared: &mut Shared, replies: &mut Replies) {
        let retries = self.snd.rto.expiries();
        let limit = match self.state {
            State::SynSent => self.options.syn_retries.unwrap_or(shared.config.syn_retries),
            State::SynReceived => shared.config.syn_ack_retries,
            _ if self.user.orphaned => shared.config.orphan_retries,
            _ => shared.config.data_retries,
        };
        // A user timeout replaces the count (RFC 5482 3.1).
        if retries >= limit && self.options.user_timeout.is_none() && !self.peer_stalls(shared) {
            self.give_up(shared, replies);
            return;
        }
        if self.syn_acknowledged() && self.snd.window.is_closed(self.snd.una) {
            // The peer took its window back: no sign of congestion. The oldest segment asks.
            self.snd.rto.back_off();
            self.snd.retransmit_head = Some(Sent::TimeoutRetransmission);
            let timeout = self.retransmission_timeout();
            self.set_timer(Timer::Retransmission, shared.now.after(timeout));
            return;
        }
        if self.syn_acknowledged() {
            self.react_to_timeout(shared, retries);
        } else {
            self.snd.syn_due = true;
            self.snd.work.syn_sent = None;
        }
        self.snd.rto.back_off();
        let timeout = self.retransmission_timeout();
        self.set_timer(Timer::Retransmission, shared.now.after(timeout));
    }

    /// RFC 5681 3.1: the window falls to one segment; what is out counts as lost, and goes out again
    /// in order, as far as RFC 8985 6.3 has it.
    fn react_to_timeout(&mut self, shared: &Shared, retries: u8) {
        let cause = match retries {
            0 => CongestionCause::Timeout,
            _ => CongestionCause::RepeatedTimeout,
        };
        self.path_probe_timed_out(shared.now);
        let smaller = self.suspect_black_hole(shared.now, retries);
        self.mark_lost_at_timeout(shared);
        let flight = self.controlled_flight();
        self.snd.controller.on_congestion(shared.now, cause, flight);
        ecn::window_reduced(self);
        let (snd, sack) = (&mut self.snd, self.rcv.sack_agreed);
        let SendWork { inflight, repair, .. } = &mut *snd.work;
        snd.recovery.on_timeout(repair, sack, (snd.una, snd.nxt), inflight.copies());
        (self.snd.retransmit_head, self.snd.resending) = if smaller {
            (Some(Sent::BlackHoleRetransmission), Sent::BlackHoleRetransmission)
        } else {
            (Some(Sent::TimeoutRetransmission), Sent::AfterTimeout)
        };
        self.stop_timer(Timer::LossProbe);
        self.stop_timer(Timer::Reordering);
    }

    /// RFC 8985 7.3: a segment asks what became of the last ones; the timeout starts anew behind it.
    fn loss_probe_expired(&mut self, shared: &Shared) {
        self.snd.recovery.tlp.due = true;
        let timeout = self.retransmission_timeout();
        self.set_timer(Timer::Retransmission, shared.now.after(timeout));
    }

    /// The peer keeps answering, with a closed window: it is alive (RFC 9293 3.8.6.1, MUST-36).
    fn peer_stalls(&self, shared: &Shared) -> bool {
        let patience = self.options.rto.max.saturating_mul(2);
        let heard = self.counts.last_ack_received;
        self.snd.window.is_closed(self.snd.una)
            && heard.is_some_and(|at| shared.now.since(at) < patience)
    }

    /// RFC 9293 3.8.6.1: the window is still closed; ask again, with growing patience.
    fn persist_expired(&mut self, shared: &mut Shared, replies: &mut Replies) {
        if !self.snd.window.is_closed(self.snd.una) {
            // RFC 9293 3.8.6.2.1, (4): what a silly window held back has waited long enough.
            self.snd.overdue = true;
            return;
        }
        let (window, retries) = (&self.snd.window, shared.config.orphan_retries);
        let longest = self.persist_interval() >= self.options.rto.max;
        let asked_enough =
            window.unanswered() >= retries || (longest && window.probes() >= retries);
        if self.user.orphaned && asked_enough {
            // A peer that answers every probe and never opens its window would keep what nobody
            // waits for alive for ever. It has until the wait is as long as waits get, as in Linux;
            // where that is short, or began long, it is asked as often as one that is silent.
            self.give_up(shared, replies);
            return;
        }
        // A window may stay closed for as long as the peer says so (MUST-37); one that says
        // nothing is gone, and is given up like one that does not acknowledge data (3.8.3).
        let silent = self.snd.window.unanswered() >= shared.config.data_retries;
        if silent && self.options.user_timeout.is_none() {
            self.give_up(shared, replies);
            return;
        }
        self.snd.probe = Some(Sent::WindowProbe);
        self.snd.window.probe_sent();
        if let (Some(limit), false) =
            (self.options.user_timeout, self.timer_runs(Timer::UserTimeout))
        {
            self.set_timer(Timer::UserTimeout, shared.now.after(limit));
        }
        let wait = self.persist_interval();
        self.set_timer(Timer::Persist, shared.now.after(wait));
    }

    /// The peer did not answer in time (RFC 9293 3.8.3).
    pub(crate) fn give_up(&mut self, shared: &mut Shared, replies: &mut Replies) {
        if self.state.is_synchronized() {
            let reset = Reply::reset_of(self, shared.now, Sent::ResetTimedOut);
            replies.push(shared, reset);
        }
        let error = self.user.soft_error.unwrap_or(Error::TimedOut);
        self.fail(shared, error, Event::TimedOut);
    }
}
