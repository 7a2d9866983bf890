//! Timestamps and PAWS (RFC 7323 3-5).

use wire::tcp;
use wire::time::{Duration, Instant};

use crate::tcp::seq::Seq;

/// RFC 7323 5.5: a peer that was silent for 24 days may have wrapped its clock; its old timestamp
/// says nothing any more.
const OUTDATED: Duration = Duration::from_secs(24 * 24 * 3600);

/// The timestamps of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamps {
    /// Added to our clock, so that a peer learns neither our uptime nor that two connections are
    /// of one host (RFC 7323 7.1).
    offset: u32,
    /// TS.Recent: the peer's, to echo.
    recent: u32,
    /// When `recent` was set.
    recent_set: Instant,
    /// Last.ACK.sent: which segment may update `recent` (RFC 7323 4.3).
    last_ack_sent: Seq,
}

/// Our timestamp clock: milliseconds, as Linux has it (RFC 7323 5.4 allows 1 ms to 1 s).
pub(crate) fn clock(now: Instant, offset: u32) -> u32 {
    // The clock wraps every 49 days by design.
    (now.as_millis() as u32).wrapping_add(offset)
}

impl Timestamps {
    pub(crate) fn new(offset: u32) -> Self {
        Self { offset, recent: 0, recent_set: Instant::ZERO, last_ack_sent: Seq(0) }
    }

    /// TS.Recent.
    pub(crate) fn recent(&self) -> u32 {
        self.recent
    }

    /// The option for a segment that is sent now.
    pub(crate) fn option(&self, now: Instant) -> tcp::Timestamps {
        tcp::Timestamps { value: clock(now, self.offset), echo: self.recent }
    }

    /// What a segment that was sent at `time` carried.
    pub(crate) fn at(&self, time: Instant) -> u32 {
        clock(time, self.offset)
    }

    /// Takes the peer's first timestamp, or a later one.
    pub(crate) fn set_recent(&mut self, value: u32, now: Instant) {
        (self.recent, self.recent_set) = (value, now);
    }

    /// An ACK was sent: segments that begin at or before it may update TS.Recent.
    pub(crate) fn ack_sent(&mut self, ack: Seq) {
        self.last_ack_sent = ack;
    }

    /// RFC 7323 4.3 (2): takes the timestamp of an acceptable segment that the last ACK asked for.
    /// An outdated TS.Recent makes room for an older one (RFC 7323 5.5).
    pub(crate) fn update(&mut self, value: u32, seq: Seq, now: Instant) {
        if !self.is_old(value, now) && seq.is_at_or_before(self.last_ack_sent) {
            self.set_recent(value, now);
        }
    }

    /// RFC 7323 5.3 R1: whether a segment with this timestamp is an old duplicate.
    pub(crate) fn is_old(&self, value: u32, now: Instant) -> bool {
        Seq(value).is_before(Seq(self.recent)) && now.since(self.recent_set) < OUTDATED
    }

    /// By how much the peer's `value` is older than TS.Recent, if its clock ticks in milliseconds; zero
    /// for one that is not older.
    pub(crate) fn age(&self, value: u32) -> Duration {
        let age = self.recent.wrapping_sub(value);
        if age < 1 << 31 { Duration::from_millis(u64::from(age)) } else { Duration::ZERO }
    }

    /// The round trip that an echoed timestamp measures (RFC 7323 4.1), to a millisecond; `None`
    /// for an echo of the future or of nothing.
    pub(crate) fn round_trip(&self, echo: u32, now: Instant) -> Option<Duration> {
        let elapsed = clock(now, self.offset).wrapping_sub(echo);
        (echo != 0 && elapsed < 1 << 31).then(|| Duration::from_millis(u64::from(elapsed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_follows_only_what_the_last_ack_asked_for() {
        let mut ts = Timestamps::new(0);
        ts.set_recent(100, Instant::ZERO);
        ts.ack_sent(Seq(1000));
        ts.update(101, Seq(1001), Instant::ZERO); // behind a hole
        assert_eq!(ts.recent(), 100);
        ts.update(102, Seq(1000), Instant::ZERO);
        assert_eq!(ts.recent(), 102);
        ts.update(99, Seq(900), Instant::ZERO); // older
        assert_eq!(ts.recent(), 102);
    }

    #[test]
    fn old_means_before_recent_until_24_days_of_silence() {
        let mut ts = Timestamps::new(0);
        ts.set_recent(5, Instant::ZERO);
        let day = |n: u64| Instant::from_millis(n * 24 * 3600 * 1000);
        assert!(ts.is_old(4, day(23)) && !ts.is_old(5, day(23)));
        assert!(ts.is_old(u32::MAX, day(23)), "before, across the wrap");
        assert!(!ts.is_old(4, day(24)));
        ts.ack_sent(Seq(1000));
        ts.update(4, Seq(1000), day(24));
        assert_eq!(ts.recent(), 4, "the outdated one is replaced");
        assert!(ts.is_old(3, day(24)), "and guards again");
    }

    #[test]
    fn an_echo_of_the_future_measures_nothing() {
        let ts = Timestamps::new(7);
        let now = Instant::from_millis(50);
        assert_eq!(
            ts.round_trip(clock(Instant::from_millis(20), 7), now),
            Some(Duration::from_millis(30))
        );
        assert_eq!(ts.round_trip(clock(Instant::from_millis(51), 7), now), None);
        assert_eq!(ts.round_trip(0, now), None);
    }
}
