//! How large a send buffer should be: twice the congestion window, and no more than the path is worth.
//!
//! One window is in flight and kept until it is acknowledged; the other waits, so that the next ACK
//! finds data, and the window room to double in the next round trip.
//!
//! Where nothing is ever lost the window grows without an end, and a buffer that followed it would only
//! let the program run further ahead. On a path of microseconds that is all loss: what is written has
//! left the processor's cache when it is sent. So beyond [`Config::send_buffer_short_path`] a buffer is
//! at most [`PATHS`] times what the path carries in its least round trip.
//!
//! [`Config::send_buffer_short_path`]: crate::Config::send_buffer_short_path

use core::time::Duration;

use crate::shared::Shared;
use crate::tcp::connection::Connection;
use crate::tcp::recovery::rtt::nanos;

/// How many times what the path carries in its least round trip is kept. Slow start needs four: twice
/// a window that is twice what the last round trip delivered. Eight leave room for round trips that
/// are longer than the least because their length varies.
const PATHS: u64 = 8;

/// In a round trip the bound gives up this part of what it has too much, since one sample of the rate
/// may be wrong.
const SHRINK: u32 = 4;

/// What buffer a path is worth, in bytes, as far as that is known: [`PATHS`] times what it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PathWorth(u32);

impl PathWorth {
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// A round trip is over in which data arrived at `rate` bytes a second.
    fn learn(&mut self, rate: u64, shortest: Duration) {
        let carried = rate.saturating_mul(nanos(shortest)) / 1_000_000_000;
        let worth = u32::try_from(carried.saturating_mul(PATHS)).unwrap_or(u32::MAX);
        self.0 = worth.max(self.0 - self.0.saturating_sub(worth) / SHRINK);
    }

    /// The largest buffer on it.
    fn bound(self, shared: &Shared) -> u32 {
        let range = shared.config.send_buffer;
        let least = shared.config.send_buffer_short_path.max(range.initial);
        let bound = (u64::from(self.0)).max(least as u64).min(range.max as u64);
        u32::try_from(bound).unwrap_or(u32::MAX)
    }
}

impl Connection {
    /// How many bytes `write` takes in all: what the program set, or what the path asks for.
    pub(crate) fn send_buffer(&self) -> usize {
        self.options.send_buffer.unwrap_or(self.snd.buffer as usize)
    }

    /// The congestion window may have grown. Not while memory is short.
    pub(crate) fn expand_send_buffer(&mut self, shared: &Shared) {
        let wanted = self.snd.controller.window().saturating_mul(2);
        if wanted <= u64::from(self.snd.buffer) || shared.memory.is_short() {
            return;
        }
        let bound = self.snd.work.worth.bound(shared);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(bound);
        self.snd.buffer = self.snd.buffer.max(wanted);
    }

    /// A round trip is over in which data arrived at `rate` bytes a second.
    pub(crate) fn fit_send_buffer(&mut self, shared: &Shared, rate: u64) {
        let Some(shortest) = self.snd.rtt.min() else { return };
        self.snd.work.worth.learn(rate, shortest);
        self.snd.buffer = self.snd.buffer.min(self.snd.work.worth.bound(shared));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_sample_takes_a_quarter_and_a_right_one_gives_it_back() {
        let (mut worth, shortest) = (PathWorth::new(), Duration::from_millis(100));
        worth.learn(4_000_000, shortest);
        assert_eq!(worth, PathWorth(3_200_000));
        worth.learn(0, shortest);
        assert_eq!(worth, PathWorth(2_400_000));
        worth.learn(4_000_000, shortest);
        assert_eq!(worth, PathWorth(3_200_000));
        worth.learn(u64::MAX, shortest);
        assert_eq!(worth, PathWorth(u32::MAX));
    }
}
