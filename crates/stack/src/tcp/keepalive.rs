//! Keep-alive: whether an idle peer is still there (RFC 9293 3.8.4).

use wire::time::Instant;

use crate::reason::Sent;
use crate::shared::Shared;
use crate::tcp::connection::Connection;
use crate::tcp::recovery::rto::GRANULARITY;
use crate::tcp::reply::Replies;
use crate::tcp::state::State;
use crate::trace::Timer;

impl Connection {
    /// A sign of life: a segment whose numbers show that it knows this connection. Others prove
    /// nothing. An end that still speaks for an older connection would answer every probe.
    pub(crate) fn heard_from_peer(&mut self, now: Instant) {
        self.keepalive_probes = 0;
        self.start_keepalive(now);
    }

    /// Starts the idle time again.
    pub(crate) fn start_keepalive(&mut self, now: Instant) {
        match self.options.keepalive {
            Some(keepalive) if self.wants_keepalive() => {
                self.set_timer(Timer::KeepAlive, now.after(keepalive.idle));
            }
            _ => self.stop_timer(Timer::KeepAlive),
        }
    }

    /// The idle time, or the wait for an answer, is over.
    pub(crate) fn keepalive_expired(&mut self, shared: &mut Shared, replies: &mut Replies) {
        let Some(keepalive) = self.options.keepalive else { return };
        if !self.wants_keepalive() {
            return;
        }
        let probes = self.keepalive_probes;
        // RFC 5482 4.2 and tcp(7): with a user timeout it is the time that counts, not the probes.
        let interval = keepalive.interval.max(GRANULARITY);
        let probing = interval.saturating_mul(probes);
        let silent = keepalive.idle.saturating_add(probing);
        let gone = match self.options.user_timeout {
            Some(limit) => probes > 0 && silent >= limit,
            None => probes >= u32::from(keepalive.probes),
        };
        if gone {
            self.give_up(shared, replies);
            return;
        }
        // Data in flight asks the same question, and its timer gives up by itself.
        if self.snd.una == self.snd.nxt {
            self.keepalive_probes = probes.saturating_add(1);
            self.snd.probe = Some(Sent::KeepAlive);
        }
        self.set_timer(Timer::KeepAlive, shared.now.after(interval));
    }

    /// Once the program has closed, other timers see to the end.
    fn wants_keepalive(&self) -> bool {
        let open = matches!(
            self.state,
            State::Established | State::CloseWait | State::FinWait1 | State::FinWait2
        );
        open && !self.user.orphaned
    }
}
