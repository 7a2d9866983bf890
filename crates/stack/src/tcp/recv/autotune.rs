//! How large a receive buffer should be: twice what the program reads in a round trip.
//!
//! A window of one round trip's data keeps a sender going; the other half is room for a sender that
//! doubles its own window in each round trip, and for the time of a retransmission. A program that
//! reads slowly is left with what it needs. (Dynamic right-sizing, as in Linux.)

use wire::time::{Duration, Instant};

use crate::shared::Shared;
use crate::tcp::connection::Connection;
use crate::tcp::segment::Segment;

/// The round trip where nothing measured one: a connection whose SYN was sent twice, and which has
/// neither timestamps nor data of its own. Too long a guess costs memory, too short a one speed.
const ASSUMED_ROUND_TRIP: Duration = Duration::from_millis(200);

/// The first segments of a sender (RFC 6928): what a round trip brings at least.
const INITIAL_SEGMENTS: u64 = 10;

/// Room for the segments of the next round trip that are here already when this one is counted.
const SPARE_SEGMENTS: u64 = 16;

/// What the reading of one program asks for.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveAutotune {
    /// The buffer in bytes. It only grows.
    size: u32,
    /// The echo that was measured last: those that repeat it measure the sender's idleness.
    echo: u32,
    /// The round trip by the echoes of our timestamps, for a side that only receives: in
    /// nanoseconds, zero before the first.
    round_trip: u64,
    /// When the measurement that is under way began.
    since: Option<Instant>,
    /// Bytes read since.
    copied: u32,
    /// The most that was read in one round trip.
    most: u32,
}

impl ReceiveAutotune {
    /// Begins with a buffer of `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Self { size: narrow(size), round_trip: 0, echo: 0, since: None, copied: 0, most: 0 }
    }

    /// The round trip as the echoes tell it.
    fn round_trip(&self) -> Option<Duration> {
        (self.round_trip > 0).then(|| Duration::from_nanos(self.round_trip))
    }

    fn set_round_trip(&mut self, time: Duration) {
        self.round_trip = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Grows to `wanted` bytes, if it is smaller.
    fn grow(&mut self, wanted: usize) {
        self.size = self.size.max(narrow(wanted));
    }

    /// Takes a measurement: a shorter one at once, for queues only add to it.
    fn measured(&mut self, sample: Duration) {
        let sample = sample.max(Duration::from_millis(1));
        self.set_round_trip(match self.round_trip() {
            Some(smoothed) if sample > smoothed => smoothed + (sample - smoothed) / 8,
            _ => sample,
        });
    }

    /// The program read `count` bytes; `segment` is the largest payload that the peer may send.
    /// Says how large the buffer should be, at the end of each round trip that brought more than any
    /// before.
    fn on_read(
        &mut self,
        now: Instant,
        count: usize,
        round_trip: Duration,
        segment: u32,
    ) -> Option<u64> {
        let Some(since) = self.since else {
            // What was here when the measurement begins came before it.
            self.since = Some(now);
            return None;
        };
        self.copied = self.copied.saturating_add(narrow(count));
        let elapsed = now.since(since);
        if elapsed < round_trip {
            return None;
        }
        let copied = in_one(round_trip, core::mem::take(&mut self.copied).into(), elapsed);
        self.since = Some(now);
        let before = u64::from(self.most).max(INITIAL_SEGMENTS * u64::from(segment));
        if copied <= before {
            return None;
        }
        // No more than what was copied, which fits.
        self.most = u32::try_from(copied).unwrap_or(u32::MAX);
        let wanted = copied.saturating_mul(2).saturating_add(SPARE_SEGMENTS * u64::from(segment));
        // What grows will have grown by as much again when this window is used up.
        let growth = wanted.saturating_mul(copied - before) / before.max(1);
        Some(wanted.saturating_add(growth))
    }
}

/// Buffers beyond 4 GiB do not exist: no window is larger than 1 GiB (RFC 7323 2.3).
fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What of `copied` bytes in the time `elapsed` belongs to one round trip.
fn in_one(round_trip: Duration, copied: u64, elapsed: Duration) -> u64 {
    let part = u128::from(copied) * round_trip.as_nanos() / elapsed.as_nanos().max(1);
    u64::try_from(part).unwrap_or(copied).min(copied)
}

/// Text arrived: its timestamp may measure the round trip.
pub(crate) fn text_arrives(conn: &mut Connection, seg: &Segment, now: Instant) {
    let (Some(ours), Some(theirs)) = (&conn.timestamps, seg.timestamps()) else { return };
    let tune = &mut conn.rcv.autotune;
    if theirs.echo != tune.echo {
        tune.echo = theirs.echo;
        // The first answer may have taken its program a while.
        if let (None, Some(smoothed)) = (tune.round_trip(), conn.snd.rtt.smoothed()) {
            tune.set_round_trip(smoothed);
        }
        ours.round_trip(theirs.echo, now).into_iter().for_each(|sample| tune.measured(sample));
    }
}

/// The program read `count` bytes: its buffer may grow. Not while memory is short: what a peer may
/// send cannot be taken back.
pub(crate) fn program_reads(conn: &mut Connection, shared: &Shared, count: usize) {
    let (now, segment) = (shared.now, conn.rcv.mss);
    let round_trip = conn.rcv.autotune.round_trip().or(conn.snd.rtt.smoothed());
    let round_trip = round_trip.unwrap_or(ASSUMED_ROUND_TRIP);
    let tune = &mut conn.rcv.autotune;
    let Some(wanted) = tune.on_read(now, count, round_trip, segment) else { return };
    if shared.memory.is_short() {
        return;
    }
    let most = shared.config.receive_buffer.max;
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(most);
    tune.grow(wanted);
}

impl Connection {
    /// RCV.BUFF: what the program set, or what its reading asks for.
    pub(crate) fn receive_buffer(&self) -> usize {
        self.options.receive_buffer.unwrap_or(self.rcv.autotune.size as usize)
    }

    /// The round trip as the receiving side knows it.
    pub(crate) fn receiver_round_trip(&self) -> Option<Duration> {
        self.rcv.autotune.round_trip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(1000 + millis)
    }

    /// Reads every 10 ms what a sender with the window that we offer brings, for some round trips.
    fn bulk(tune: &mut ReceiveAutotune, path: usize, rounds: u64) {
        for tick in 0..rounds * 10 {
            let count = (tune.size as usize).min(path) / 10;
            if let Some(wanted) = tune.on_read(at(tick * 10), count, RTT, 1448) {
                tune.grow((wanted as usize).min(6 << 20));
            }
        }
    }

    #[test]
    fn a_fast_path_gets_twice_its_bandwidth_delay_product() {
        let mut tune = ReceiveAutotune::new(128 << 10);
        bulk(&mut tune, 1_250_000, 12);
        assert!(tune.size >= 2_500_000, "{} bytes are too few", tune.size);
    }

    #[test]
    fn a_slow_path_keeps_a_small_buffer() {
        let mut tune = ReceiveAutotune::new(128 << 10);
        bulk(&mut tune, 30_000, 50);
        assert!(tune.size < 200_000, "{} bytes are too many", tune.size);
    }

    #[test]
    fn doubling_keeps_ahead_of_slow_start() {
        let mut tune = ReceiveAutotune::new(128 << 10);
        let mut window = 14_480;
        for round in 0..9 {
            for tick in 0..10 {
                assert!(tune.size as usize >= window, "round {round}: {} of {window}", tune.size);
                let now = at(round * 100 + tick * 10 + 10);
                if let Some(wanted) = tune.on_read(now, window / 10, RTT, 1448) {
                    tune.grow((wanted as usize).min(6 << 20));
                }
            }
            window = (window * 2).min(3_000_000);
        }
    }

    #[test]
    fn idleness_is_no_reading() {
        let mut tune = ReceiveAutotune::new(128 << 10);
        for second in 0..100 {
            let wanted = tune.on_read(at(second * 1000), 14_000, RTT, 1448);
            assert_eq!(wanted, None, "second {second}");
        }
    }

    #[test]
    fn a_queue_on_the_path_lengthens_the_round_trip_slowly() {
        let mut tune = ReceiveAutotune::new(1);
        tune.measured(Duration::from_millis(20));
        tune.measured(Duration::from_millis(100));
        assert_eq!(tune.round_trip(), Some(Duration::from_millis(30)));
        tune.measured(Duration::from_millis(10));
        assert_eq!(tune.round_trip(), Some(Duration::from_millis(10)));
        tune.measured(Duration::ZERO);
        assert_eq!(tune.round_trip(), Some(Duration::from_millis(1)), "the clock's own step");
    }
}
