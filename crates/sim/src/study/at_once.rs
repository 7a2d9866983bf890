//! Controllers whose window falls at once: what a recovery was before proportional rate reduction
//! (RFC 9937), for curves that show the difference.

use stack::config::ControllerFactory;
use stack::tcp::congestion::{
    AckSample, CongestionCause, Controller, Cubic, LossSample, Phase, Reno,
};
use wire::time::{Duration, Instant};

/// What makes the controller of this name without rate reduction; `None` for one that has its own
/// way through a recovery.
pub(super) fn by_name(name: &str) -> Option<ControllerFactory> {
    match name {
        "cubic" => Some(|mss| Box::new(AtOnce(Cubic::boxed(mss)))),
        "reno" => Some(|mss| Box::new(AtOnce(Reno::boxed(mss)))),
        _ => None,
    }
}

/// A controller that is obeyed at all times.
#[derive(Clone, Debug)]
struct AtOnce(Box<dyn Controller>);

impl Controller for AtOnce {
    fn wants_rate_reduction(&self) -> bool {
        false
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn on_ack(&mut self, sample: &AckSample) {
        self.0.on_ack(sample);
    }

    fn on_congestion(&mut self, now: Instant, cause: CongestionCause, flight_size: u64) {
        self.0.on_congestion(now, cause, flight_size);
    }

    fn on_recovered(&mut self, now: Instant, flight_size: u64) {
        self.0.on_recovered(now, flight_size);
    }

    fn on_spurious(&mut self, now: Instant) {
        self.0.on_spurious(now);
    }

    fn on_lost(&mut self, sample: &LossSample) {
        self.0.on_lost(sample);
    }

    fn on_idle_restart(&mut self, now: Instant, idle: Duration) {
        self.0.on_idle_restart(now, idle);
    }

    fn on_established(&mut self, now: Instant, rtt: Option<Duration>, selective_acks: bool) {
        self.0.on_established(now, rtt, selective_acks);
    }

    fn on_handshake_loss(&mut self, retransmissions: u8) {
        self.0.on_handshake_loss(retransmissions);
    }

    fn on_restart(&mut self, now: Instant) {
        self.0.on_restart(now);
    }

    fn on_sent(&mut self, now: Instant, bytes: u64, flight_size: u64) {
        self.0.on_sent(now, bytes, flight_size);
    }

    fn window(&self) -> u64 {
        self.0.window()
    }

    fn slow_start_threshold(&self) -> u64 {
        self.0.slow_start_threshold()
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.0.pacing_rate()
    }

    fn send_quantum(&self) -> Option<u64> {
        self.0.send_quantum()
    }

    fn set_mss(&mut self, mss: u32) {
        self.0.set_mss(mss);
    }

    fn set_burst(&mut self, bytes: u32) {
        self.0.set_burst(bytes);
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn phase(&self) -> Phase {
        self.0.phase()
    }
}
