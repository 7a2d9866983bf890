//! Pacing: segments leave at a rate, and not as fast as the link takes them.
//!
//! A controller may ask for a rate (BBR does); a program may bound it (`SO_MAX_PACING_RATE`), or ask
//! for pacing under any controller: then the rate is what fills the window in a round trip, and half
//! of one while the window is doubling.

use wire::time::{Duration, Instant};

/// Data worth this much time leaves in one piece, so that super-segments stay worth their name.
const QUANTUM: Duration = Duration::from_millis(1);
/// What the window-derived rate is multiplied by, in percent: in slow start, and else, as Linux has
/// it (`tcp_pacing_ss_ratio`, `tcp_pacing_ca_ratio`).
const SLOW_START_GAIN: u64 = 200;
const AVOIDANCE_GAIN: u64 = 120;

/// When one connection may send next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pacer {
    next: Instant,
}

impl Pacer {
    /// When the next segment may leave; `None` for now.
    pub(crate) fn not_before(&self, now: Instant) -> Option<Instant> {
        (self.next > now).then_some(self.next)
    }

    /// Nothing may leave before `until`.
    pub(crate) fn hold(&mut self, until: Instant) {
        self.next = self.next.max(until);
    }

    /// `bytes` left at `rate` bytes a second: the next may leave when the link would have sent them.
    ///
    /// A timer that fired late is made up for, but by no more than a quantum.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: u64, rate: u64) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let behind = now.since(self.next);
        let from = if behind < QUANTUM { self.next } else { now };
        self.next = from.max(Instant::from_nanos(1)).after(time);
    }
}

/// The rate that sends a window in a round trip, with room to grow (bytes a second).
pub(crate) fn rate_of_window(window: u64, threshold: u64, smoothed: Duration) -> u64 {
    let gain = if window < threshold / 2 { SLOW_START_GAIN } else { AVOIDANCE_GAIN };
    let per_second = u128::from(window) * u128::from(gain) * 10_000_000;
    let rate = per_second / smoothed.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX).max(1)
}

/// The most bytes in one piece at `rate`: what a millisecond carries, but two segments at least.
pub(crate) fn quantum(rate: u64, mss: u32) -> u32 {
    let bytes = u32::try_from(rate / 1000).unwrap_or(u32::MAX);
    let segments = (bytes / mss.max(1)).max(2);
    segments.saturating_mul(mss)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn segments_leave_at_the_rate() {
        let mut pacer = Pacer::default();
        let mut now = ms(1000);
        let mut sent = 0;
        while now < ms(2000) {
            match pacer.not_before(now) {
                Some(at) => now = at,
                None => {
                    pacer.on_sent(now, 1000, 100_000);
                    sent += 1;
                }
            }
        }
        assert!((100..=101).contains(&sent), "{sent} segments of 1000 bytes in a second");
    }

    #[test]
    fn a_late_timer_is_made_up_for_but_idleness_is_not() {
        let mut pacer = Pacer::default();
        pacer.on_sent(ms(1000), 1000, 1_000_000);
        assert_eq!(pacer.not_before(ms(1000)), Some(ms(1001)));
        let late = Instant::from_micros(1_001_500);
        pacer.on_sent(late, 1000, 1_000_000);
        assert_eq!(pacer.not_before(late), Some(ms(1002)));
        pacer.on_sent(ms(5000), 1000, 1_000_000);
        assert_eq!(pacer.not_before(ms(5000)), Some(ms(5001)));
    }

    #[test]
    fn a_window_is_sent_in_a_round_trip_with_room_to_grow() {
        let rtt = Duration::from_millis(100);
        assert_eq!(rate_of_window(100_000, u64::MAX, rtt), 2_000_000);
        assert_eq!(rate_of_window(100_000, 100_000, rtt), 1_200_000);
        assert_eq!(rate_of_window(u64::MAX, 0, Duration::ZERO), u64::MAX);
        assert_eq!(quantum(10_000_000, 1000), 10_000);
        assert_eq!(quantum(0, 1000), 2_000);
    }
}
