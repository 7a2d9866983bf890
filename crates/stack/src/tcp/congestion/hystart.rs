//! HyStart++: leaving slow start before the queue overflows (RFC 9406).
//!
//! A round trip that takes clearly longer than the one before tells of a queue. Slow start then
//! goes on at a quarter of its pace (conservative slow start, CSS) for a few rounds. If the delay
//! falls back meanwhile, it was jitter, and slow start resumes; else slow start is over.
//!
//! It is for the first slow start only, while the threshold is still arbitrarily high (RFC 9406
//! 4.3): later ones end at a threshold that was found out. The controller sees to that.

use core::num::NonZeroU64;

use super::AckSample;

/// A smaller rise of the delay than this is noise (RFC 9406 4.3).
const MIN_RTT_THRESH: u64 = 4_000_000;
/// A larger rise than this always counts.
const MAX_RTT_THRESH: u64 = 16_000_000;
/// Between the two, the rise that counts is this part of the round trip: an eighth.
const MIN_RTT_DIVISOR: u64 = 8;
/// How many samples a round must have to be judged.
const N_RTT_SAMPLE: u8 = 8;
/// Conservative slow start grows at this part of slow start's pace: a quarter.
const CSS_GROWTH_DIVISOR: u64 = 4;
/// How many rounds conservative slow start lasts, the one that it begins in counted.
const CSS_ROUNDS: u8 = 5;
/// How many segments one ACK may give where no pacing smooths the burst (L).
const L: u64 = 8;

/// A round-trip time that was not measured: longer than any that is.
const UNMEASURED: u64 = u64::MAX;

/// The state of RFC 9406 4.2 for one slow start. Times are in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HyStart {
    /// lastRoundMinRTT: the smallest round-trip time of the round before.
    last_round_min: u64,
    /// currentRoundMinRTT.
    current_round_min: u64,
    /// cssBaselineMinRtt: a round faster than this shows that the rise was jitter. There in
    /// conservative slow start only.
    baseline: Option<NonZeroU64>,
    /// Rounds of conservative slow start that ended.
    rounds: u8,
    /// rttSampleCount: samples in this round, as far as they matter.
    samples: u8,
    /// The sender spreads what the window allows over the round trip.
    paced: bool,
}

impl HyStart {
    /// At the start of a connection, for a sender that paces (`paced`) or does not.
    pub(crate) fn new(paced: bool) -> Self {
        Self {
            last_round_min: UNMEASURED,
            current_round_min: UNMEASURED,
            baseline: None,
            rounds: 0,
            samples: 0,
            paced,
        }
    }

    /// Hears of every ACK in slow start; `true` when slow start is over, and the threshold should
    /// be what the window is.
    pub(crate) fn on_ack(&mut self, sample: &AckSample) -> bool {
        if sample.round_start && self.begin_round() {
            return true;
        }
        if let Some(rtt) = sample.rtt {
            self.samples = self.samples.saturating_add(1);
            let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(UNMEASURED);
            self.current_round_min = self.current_round_min.min(nanos);
        }
        self.judge_round();
        false
    }

    /// How much an ACK for `acked` bytes lets the window grow, with segments of `mss` bytes of
    /// which up to `burst` bytes leave in one piece.
    ///
    /// L bounds the burst that an ACK for much would set free. Where the sender uses
    /// super-segments, one is a single piece anyway, and L is not less than that.
    pub(crate) fn growth(&self, acked: u64, mss: u64, burst: u64) -> u64 {
        let limit = if self.paced { u64::MAX } else { burst.max(L.saturating_mul(mss)) };
        let growth = acked.min(limit);
        if self.is_conservative() { growth / CSS_GROWTH_DIVISOR } else { growth }
    }

    /// Whether this is conservative slow start.
    pub(crate) fn is_conservative(&self) -> bool {
        self.baseline.is_some()
    }

    /// A round ended and another begins; `true` when it was the last of conservative slow start.
    fn begin_round(&mut self) -> bool {
        self.last_round_min = core::mem::replace(&mut self.current_round_min, UNMEASURED);
        self.samples = 0;
        self.rounds = self.rounds.saturating_add(u8::from(self.is_conservative()));
        self.rounds >= CSS_ROUNDS
    }

    fn judge_round(&mut self) {
        let (last, current) = (self.last_round_min, self.current_round_min);
        if self.samples < N_RTT_SAMPLE || current == UNMEASURED {
            return;
        }
        match self.baseline {
            Some(baseline) if current < baseline.get() => {
                (self.baseline, self.rounds) = (None, 0);
            }
            None if last != UNMEASURED && current >= last.saturating_add(threshold(last)) => {
                // Above the threshold, so it is not zero.
                (self.baseline, self.rounds) = (NonZeroU64::new(current), 0);
            }
            _ => {}
        }
    }
}

/// RttThresh: by how much the delay must rise above `last`, that of the round before.
fn threshold(last: u64) -> u64 {
    (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::time::Duration;

    fn millis(rtt: u64) -> Duration {
        Duration::from_millis(rtt)
    }

    /// One round of `count` ACKs that all measure `rtt`; tells whether slow start ended.
    fn round(hystart: &mut HyStart, rtt: Duration, count: u32) -> bool {
        (0..count).any(|i| {
            let sample = AckSample { rtt: Some(rtt), round_start: i == 0, ..AckSample::default() };
            hystart.on_ack(&sample)
        })
    }

    #[test]
    fn rfc9406_4_2_the_rise_that_counts_is_an_eighth_but_bounded() {
        for (last, expected) in [(8, 4), (32, 4), (80, 10), (128, 16), (1_000, 16)] {
            assert_eq!(threshold(last * 1_000_000), expected * 1_000_000, "after {last} ms");
        }
    }

    #[test]
    fn rfc9406_4_2_a_rise_of_the_delay_begins_conservative_slow_start() {
        let mut hystart = HyStart::new(false);
        round(&mut hystart, millis(80), 10);
        round(&mut hystart, millis(89), 10);
        assert!(!hystart.is_conservative(), "less than an eighth");
        round(&mut hystart, millis(101), 10);
        assert!(hystart.is_conservative());
    }

    #[test]
    fn rfc9406_4_2_seven_samples_are_not_enough() {
        let mut hystart = HyStart::new(false);
        round(&mut hystart, millis(80), 10);
        round(&mut hystart, millis(200), 7);
        assert!(!hystart.is_conservative());
        hystart.on_ack(&AckSample { rtt: Some(millis(200)), ..AckSample::default() });
        assert!(hystart.is_conservative(), "the eighth");
    }

    #[test]
    fn rfc9406_4_2_the_smallest_sample_of_a_round_decides() {
        let mut hystart = HyStart::new(false);
        round(&mut hystart, millis(80), 10);
        let fast = AckSample { rtt: Some(millis(81)), round_start: true, ..AckSample::default() };
        hystart.on_ack(&fast);
        for _ in 0..20 {
            hystart.on_ack(&AckSample { rtt: Some(millis(300)), ..AckSample::default() });
        }
        assert!(!hystart.is_conservative());
    }

    #[test]
    fn rfc9406_4_2_slow_start_resumes_when_the_delay_falls_back() {
        let mut hystart = HyStart::new(false);
        round(&mut hystart, millis(80), 10);
        round(&mut hystart, millis(100), 10);
        round(&mut hystart, millis(100), 10);
        assert!(hystart.is_conservative(), "as slow as the baseline is not faster");
        round(&mut hystart, millis(99), 10);
        assert!(!hystart.is_conservative());
    }

    #[test]
    fn rfc9406_4_2_five_conservative_rounds_end_slow_start() {
        let mut hystart = HyStart::new(false);
        round(&mut hystart, millis(80), 10);
        // The first is the one in which the rise was seen.
        let over: alloc::vec::Vec<bool> =
            (0..6).map(|_| round(&mut hystart, millis(100), 10)).collect();
        assert_eq!(over, [false, false, false, false, false, true]);
    }

    #[test]
    fn rfc9406_4_2_one_ack_gives_eight_segments_at_most_and_a_quarter_in_css() {
        let mut hystart = HyStart::new(false);
        assert_eq!(hystart.growth(3_000, 1_000, 1_000), 3_000);
        assert_eq!(hystart.growth(30_000, 1_000, 1_000), 8_000);
        assert_eq!(hystart.growth(90_000, 1_000, 64_000), 64_000, "one super-segment");
        round(&mut hystart, millis(80), 10);
        round(&mut hystart, millis(100), 10);
        assert_eq!(hystart.growth(3_000, 1_000, 1_000), 750);
        assert_eq!(hystart.growth(30_000, 1_000, 1_000), 2_000);
    }

    #[test]
    fn rfc9406_4_3_a_sender_that_paces_needs_no_limit() {
        assert_eq!(HyStart::new(true).growth(300_000, 1_000, 1_000), 300_000);
    }
}
