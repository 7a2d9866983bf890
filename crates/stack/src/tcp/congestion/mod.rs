//! Congestion control: how much may fly (RFC 5681 3).
//!
//! The sender tells a [`Controller`] what it sees, and the controller answers with two numbers: a
//! window in bytes and, if it paces, a rate. A controller never touches the sender. What is lost
//! is not its business either: that is decided in `recovery/`, which also inflates the window
//! during fast recovery, so a controller's window stays at what it means.
//!
//! Anybody can bring a controller of their own: implement the trait and set a function
//! that makes one as [`TcpOptions::congestion`](crate::TcpOptions::congestion).

mod bbr;
#[cfg(test)]
mod bottleneck;
mod cubic;
mod hystart;
mod reno;

use alloc::boxed::Box;
use core::fmt;

use wire::time::{Duration, Instant};

pub use bbr::Bbr;
pub use cubic::Cubic;
pub use reno::Reno;

use crate::config::ControllerFactory;

/// The names that [`by_name`] knows, as `TCP_CONGESTION` has them; the default is the first.
pub const NAMES: &[&str] = &["cubic", "reno", "bbr"];

/// What makes the controller called `name` in a `TCP_CONGESTION` socket option; `None` for a name
/// that is not in [`NAMES`].
#[must_use]
pub fn by_name(name: &str) -> Option<ControllerFactory> {
    match name {
        "cubic" => Some(Cubic::boxed),
        "reno" => Some(Reno::boxed),
        "bbr" => Some(Bbr::boxed),
        _ => None,
    }
}

/// The threshold of a controller that has met no congestion yet.
pub const NO_THRESHOLD: u64 = u64::MAX;

/// Decides how many bytes may be in flight.
///
/// The calls come in the order in which things happen, all with the time of the turn that saw
/// them. Only [`on_ack`](Controller::on_ack), [`on_congestion`](Controller::on_congestion),
/// [`window`](Controller::window), [`slow_start_threshold`](Controller::slow_start_threshold) and
/// the few that identify a controller must be written; the others do nothing unless they are.
pub trait Controller: fmt::Debug + Send {
    /// The name that `estab ss -i` prints, in small letters: `reno`.
    fn name(&self) -> &'static str;

    /// New data was acknowledged.
    fn on_ack(&mut self, sample: &AckSample);

    /// A sign of congestion. For loss it comes once in each recovery, not once a segment, and for
    /// ECN once in each round trip.
    ///
    /// `flight_size` is what was sent and not yet acknowledged, in bytes, when the sign was seen
    /// (FlightSize of RFC 5681 2).
    fn on_congestion(&mut self, now: Instant, cause: CongestionCause, flight_size: u64);

    /// Fast recovery ended: everything in flight when it began is acknowledged. `flight_size` is
    /// what is still in flight, in bytes.
    fn on_recovered(&mut self, now: Instant, flight_size: u64) {
        let _ = (now, flight_size);
    }

    /// The last [`on_congestion`](Controller::on_congestion) was a mistake: nothing was lost
    /// (RFC 4015 3.2, RFC 5682). The controller should be where it would have been without it.
    fn on_spurious(&mut self, now: Instant) {
        let _ = now;
    }

    /// A segment is taken for lost. Comes for each, before the [`on_ack`](Controller::on_ack) of the
    /// ACK that showed it, and before [`on_congestion`](Controller::on_congestion) if that is due.
    fn on_lost(&mut self, sample: &LossSample) {
        let _ = sample;
    }

    /// Data is about to leave after `idle` in which nothing was in flight, and that is longer than
    /// the retransmission timeout (RFC 5681 4.1).
    fn on_idle_restart(&mut self, now: Instant, idle: Duration) {
        let _ = (now, idle);
    }

    /// The handshake is done. `rtt` is what it measured, and with `selective_acks` the peer can tell
    /// of more than one loss in a round trip (SACK, RFC 2018). Comes before any data.
    fn on_established(&mut self, now: Instant, rtt: Option<Duration>, selective_acks: bool) {
        let _ = (now, rtt, selective_acks);
    }

    /// The handshake is done, and our SYN or SYN-ACK had to be sent again `retransmissions`
    /// times. Comes before any data, and only when that is not zero (RFC 6928 2).
    fn on_handshake_loss(&mut self, retransmissions: u8) {
        let _ = retransmissions;
    }

    /// Data is about to leave, and nothing is in flight because there was nothing to send: the path
    /// was idle, however shortly. Comes before the sender asks for the
    /// [`pacing_rate`](Controller::pacing_rate) of that data, and after
    /// [`on_idle_restart`](Controller::on_idle_restart) if that is due.
    fn on_restart(&mut self, now: Instant) {
        let _ = now;
    }

    /// `bytes` of data left, new or again; with them `flight_size` bytes are in flight.
    fn on_sent(&mut self, now: Instant, bytes: u64, flight_size: u64) {
        let _ = (now, bytes, flight_size);
    }

    /// The congestion window in bytes, never less than one segment.
    fn window(&self) -> u64;

    /// The slow-start threshold in bytes; [`NO_THRESHOLD`] before the first congestion.
    fn slow_start_threshold(&self) -> u64;

    /// The rate to send at, in bytes a second; `None` to send as the ACKs come.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    /// Whether the sender spreads the reduction after a loss over a round trip, by proportional
    /// rate reduction towards the threshold (RFC 9937). `false` for a controller whose window is to
    /// be obeyed at all times.
    fn wants_rate_reduction(&self) -> bool {
        true
    }

    /// The most bytes to hand the link in one piece when it paces; `None` for what suits the sender.
    fn send_quantum(&self) -> Option<u64> {
        None
    }

    /// The largest segment changed, in bytes of payload (SMSS): the handshake agreed on it, or
    /// the path did not carry it.
    fn set_mss(&mut self, mss: u32);

    /// The sender hands the link up to `bytes` in one piece, which the peer answers with one ACK:
    /// a super-segment where the link cuts them, else one segment.
    fn set_burst(&mut self, bytes: u32) {
        let _ = bytes;
    }

    /// A copy, for snapshots of a whole stack.
    fn clone_box(&self) -> Box<dyn Controller>;

    /// Which phase the controller is in, for people. The default tells it from window and
    /// threshold.
    fn phase(&self) -> Phase {
        if self.window() < self.slow_start_threshold() {
            Phase::SlowStart
        } else {
            Phase::CongestionAvoidance
        }
    }
}

impl Clone for Box<dyn Controller> {
    fn clone(&self) -> Self {
        self.clone_box()
    }
}

/// What the sender saw when new data was acknowledged.
///
/// Make one with `AckSample::default()` and set what is known; more fields may come.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct AckSample {
    /// When the ACK was read.
    pub now: Instant,
    /// Bytes newly acknowledged (or, with SACK, newly known to have arrived).
    pub acked: u64,
    /// Bytes in flight just before the ACK.
    pub flight_before: u64,
    /// Bytes in flight after it: sent, not known to have arrived and not taken for lost (`pipe` of
    /// RFC 6675 2).
    pub flight: u64,
    /// Bytes that this ACK showed to be lost (RFC 8985 6.2).
    pub newly_lost: u64,
    /// The round-trip time that this ACK measured, if it measured one.
    pub rtt: Option<Duration>,
    /// The smoothed round-trip time (SRTT of RFC 6298) after this ACK.
    pub smoothed_rtt: Option<Duration>,
    /// The smallest round-trip time of the last minutes.
    pub min_rtt: Option<Duration>,
    /// The program or the peer's window, and not the congestion window, was what held the sender
    /// back: the window was not tested, so it should not grow (RFC 7661 4.3).
    pub application_limited: bool,
    /// The sender is in fast recovery, or this ACK only reported what lies behind a hole: the window
    /// should not grow. After a timeout it is not: then the window grows by slow start.
    pub in_recovery: bool,
    /// Everything that was in flight when the round before began is acknowledged: a new round
    /// trip begins with this ACK.
    pub round_start: bool,
    /// The ACK carried an ECN-Echo.
    pub ecn_echo: bool,
    /// How fast data arrives at the peer, where the sender measures it.
    pub delivery: Option<DeliverySample>,
}

/// How fast data arrived at the peer between the sending of a segment and its ACK.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct DeliverySample {
    /// Bytes delivered in the life of the connection, this ACK included.
    pub delivered_total: u64,
    /// `delivered_total` when the newest segment that this ACK acknowledges was sent.
    pub delivered_when_sent: u64,
    /// The time in which the difference of the two was delivered.
    pub interval: Duration,
    /// Bytes found to be lost between the sending of that segment and this ACK.
    pub lost: u64,
    /// Bytes in flight when that segment was sent, with its own.
    pub flight_when_sent: u64,
    /// The sender had nothing to send when that segment left: the rate is only a lower bound.
    pub application_limited: bool,
}

impl DeliverySample {
    /// Bytes a second; `None` for an interval of zero.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        let bytes = self.delivered_total.saturating_sub(self.delivered_when_sent);
        let nanos = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        (nanos > 0).then(|| mul_div(bytes, 1_000_000_000, nanos))
    }
}

/// A segment that was lost, and what was so when it was sent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct LossSample {
    /// When it was taken for lost.
    pub now: Instant,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes in flight when it was sent, with its own.
    pub flight_when_sent: u64,
    /// Bytes delivered in the life of the connection when it was sent.
    pub delivered_when_sent: u64,
    /// Bytes found to be lost between its sending and now, with its own.
    pub lost_since_sent: u64,
    /// The sender had nothing more to send when it left.
    pub application_limited: bool,
}

/// What told the sender of congestion.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CongestionCause {
    /// Segments are missing at the peer: duplicate ACKs, SACK or RACK (RFC 5681 3.2).
    Loss,
    /// The retransmission timer expired for data sent once so far (RFC 5681 3.1).
    Timeout,
    /// The retransmission timer expired again for the same data (RFC 5681 3.1: the threshold
    /// stays).
    RepeatedTimeout,
    /// A router marked packets instead of dropping them (RFC 3168 6.1.2).
    Ecn,
}

/// What a controller is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// The window doubles in each round trip.
    SlowStart,
    /// The delay has risen: slow start at a quarter of its pace (RFC 9406 4.2).
    ConservativeSlowStart,
    /// The window probes carefully for more.
    CongestionAvoidance,
    /// The window shrinks while losses are repaired.
    Recovery,
    /// BBR looks for the bandwidth, doubling the rate in each round trip.
    Startup,
    /// BBR lets the queue run off that this made.
    Drain,
    /// BBR sends a little slower than the path delivers.
    ProbeBandwidthDown,
    /// BBR sends as fast as the path delivers.
    ProbeBandwidthCruise,
    /// BBR fills the pipe before it probes.
    ProbeBandwidthRefill,
    /// BBR sends faster, to see whether there is more.
    ProbeBandwidthUp,
    /// BBR sends little, to see the round-trip time without a queue.
    ProbeRoundTrip,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::SlowStart => "slow start",
            Phase::ConservativeSlowStart => "conservative slow start",
            Phase::CongestionAvoidance => "congestion avoidance",
            Phase::Recovery => "recovery",
            Phase::Startup => "startup",
            Phase::Drain => "drain",
            Phase::ProbeBandwidthDown => "probe bandwidth: down",
            Phase::ProbeBandwidthCruise => "probe bandwidth: cruise",
            Phase::ProbeBandwidthRefill => "probe bandwidth: refill",
            Phase::ProbeBandwidthUp => "probe bandwidth: up",
            Phase::ProbeRoundTrip => "probe round trip",
        })
    }
}

/// The initial window in bytes (RFC 6928 2): ten segments, but of at most 14,600 bytes together,
/// and two segments in any case.
#[must_use]
pub fn initial_window(mss: u32) -> u64 {
    let mss = u64::from(mss.max(1));
    (10 * mss).min(14_600.max(2 * mss))
}

/// `a * b / c`, rounded down and at most `u64::MAX`; `c` is not zero. The short way where the
/// product fits, which on the path of a packet it nearly always does.
fn mul_div(a: u64, b: u64, c: u64) -> u64 {
    match a.checked_mul(b) {
        Some(product) => product / c,
        None => u64::try_from(u128::from(a) * u128::from(b) / u128::from(c)).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6928_2_the_initial_window() {
        assert_eq!(initial_window(1460), 14_600);
        assert_eq!(initial_window(536), 5_360);
        assert_eq!(initial_window(8960), 17_920);
        assert_eq!(initial_window(1448), 14_480);
    }

    #[test]
    fn every_name_makes_the_controller_that_bears_it() {
        for name in NAMES {
            assert_eq!(by_name(name).unwrap()(1_448).name(), *name);
        }
        assert!(by_name("vegas").is_none());
        let default = (crate::TcpOptions::default().congestion)(1_448);
        assert_eq!(default.name(), NAMES[0]);
    }

    #[test]
    fn a_delivery_rate_is_bytes_over_time() {
        let sample = DeliverySample {
            delivered_total: 3_000,
            delivered_when_sent: 1_000,
            interval: Duration::from_millis(10),
            ..DeliverySample::default()
        };
        assert_eq!(sample.rate(), Some(200_000));
        assert_eq!(DeliverySample::default().rate(), None);
    }
}
