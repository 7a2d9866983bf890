//! BBR's states and what each means for the control parameters (BBR draft 5.1.1, 5.6.1).

use crate::tcp::congestion::Phase;

/// A state of the machine of BBR draft 5.1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Doubles the rate in each round trip until the pipe is full.
    Startup,
    /// Lets the queue run off that Startup made.
    Drain,
    /// `ProbeBW_DOWN`: sends a little slower than the path delivers.
    Down,
    /// `ProbeBW_CRUISE`: sends as fast as the path delivers.
    Cruise,
    /// `ProbeBW_REFILL`: fills the pipe again, for one round trip.
    Refill,
    /// `ProbeBW_UP`: sends faster, to see whether there is more.
    Up,
    /// Sends little, to see the round-trip time without a queue.
    ProbeRtt,
}

/// The table of BBR draft 5.6.1. Gains are in hundredths.
impl State {
    /// How much faster than the estimated bandwidth to send.
    pub(super) fn pacing_gain(self) -> u64 {
        match self {
            State::Startup => 277,
            State::Drain => 50,
            State::Down => 90,
            State::Cruise | State::Refill | State::ProbeRtt => 100,
            State::Up => 125,
        }
    }

    /// How many bandwidth-delay products may be in flight.
    pub(super) fn cwnd_gain(self) -> u64 {
        match self {
            State::Up => 225,
            State::ProbeRtt => 50,
            _ => 200,
        }
    }

    /// One of the four states of ProbeBW.
    pub(super) fn is_probe_bw(self) -> bool {
        matches!(self, State::Down | State::Cruise | State::Refill | State::Up)
    }

    /// Accelerates, or is about to: loss then tells of the long-term bounds.
    pub(super) fn is_probing(self) -> bool {
        matches!(self, State::Startup | State::Refill | State::Up)
    }

    pub(super) fn phase(self) -> Phase {
        match self {
            State::Startup => Phase::Startup,
            State::Drain => Phase::Drain,
            State::Down => Phase::ProbeBandwidthDown,
            State::Cruise => Phase::ProbeBandwidthCruise,
            State::Refill => Phase::ProbeBandwidthRefill,
            State::Up => Phase::ProbeBandwidthUp,
            State::ProbeRtt => Phase::ProbeRoundTrip,
        }
    }
}
