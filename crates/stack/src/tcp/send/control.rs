//! Where the sender meets its congestion controller: what it is told, and how much may be sent then.

use wire::time::Instant;

use crate::tcp::connection::Connection;
use crate::tcp::send::pacing;

impl Connection {
    /// Makes the controller that the program asks for, for the segment size that was agreed on.
    pub(crate) fn make_controller(&mut self) {
        self.snd.controller = (self.options.congestion)(self.snd.mss);
        self.snd.controller.set_burst(self.largest_transmission());
    }

    /// The program chose another controller: it learns at once what the first one knew at the
    /// beginning.
    pub(crate) fn replace_controller(&mut self, now: Instant) {
        self.make_controller();
        if self.syn_acknowledged() {
            self.tell_controller_of_handshake(now);
        }
    }

    /// The handshake is done, and may have measured a round trip.
    pub(crate) fn tell_controller_of_handshake(&mut self, now: Instant) {
        let (smoothed, sack) = (self.snd.rtt.smoothed(), self.rcv.sack_agreed);
        self.snd.controller.on_established(now, smoothed, sack);
    }

    /// FlightSize as congestion control means it (RFC 5681 3.1): no more than the window let out. A
    /// long repair leaves much more outstanding, which arrived already behind its holes. And no less
    /// than what the path carried in the last round trip (`pipeACK` of RFC 7661 4.4): what was lost at
    /// the end of an answer may be all that is out.
    pub(crate) fn controlled_flight(&self) -> u64 {
        let snd = &self.snd;
        let pipe = u64::from(self.flight_size() - snd.work.inflight.sacked());
        let window = snd.controller.window();
        let carried = u64::from(snd.usage.most()).min(window);
        u64::from(self.flight_size()).min(window.max(pipe)).max(carried)
    }

    /// The congestion window to send by, in bytes.
    pub(crate) fn send_window(&self) -> u64 {
        let snd = &self.snd;
        snd.recovery.window(&snd.work.repair, &*snd.controller, self.rcv.sack_agreed, snd.mss)
    }

    /// Takes note of how much of the window is used: `held_back` says that it keeps data from leaving.
    pub(crate) fn note_window_usage(&mut self, held_back: bool) {
        let (window, mss) = (self.send_window(), u64::from(self.snd.mss));
        let snd = &mut self.snd;
        let flight = snd.work.inflight.pipe();
        let full = held_back || u64::from(flight) + mss > window;
        snd.usage.note(snd.una, snd.nxt, flight, full);
    }

    /// There is data, or a FIN, that was never sent, and the peer has room for it.
    pub(crate) fn has_new_data(&self) -> bool {
        self.snd.nxt.is_before(self.queue_end()) && self.snd.window.usable(self.snd.nxt) > 0
    }

    /// The rate to send at in bytes a second: the controller's, or where the program asks for
    /// pacing the window's; bounded by the program. `None` to send as ACKs come.
    pub(crate) fn pacing_rate(&self) -> Option<u64> {
        let snd = &self.snd;
        let by_window = || {
            let smoothed = snd.rtt.smoothed().filter(|_| self.options.pacing)?;
            let threshold = snd.controller.slow_start_threshold();
            Some(pacing::rate_of_window(self.send_window(), threshold, smoothed))
        };
        let rate = snd.controller.pacing_rate().or_else(by_window);
        match (rate, self.options.max_pacing_rate) {
            (Some(rate), Some(most)) => Some(rate.min(most).max(1)),
            (rate, most) => rate.or(most).map(|rate| rate.max(1)),
        }
    }
}
