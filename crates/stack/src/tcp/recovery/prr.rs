//! Proportional rate reduction: how fast to send while losses are repaired (RFC 9937 6).
//!
//! For every byte that arrives, a share of one leaves, so that what is in flight shrinks to the
//! threshold evenly over a round trip, and not by a silence followed by a burst. Where it has shrunk
//! further, because much was lost, it grows back as fast as ACKs show that it may.

/// The account of one recovery, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Prr {
    /// prr_delivered: what arrived since recovery began.
    delivered: u64,
    /// prr_out: what was sent since.
    out: u64,
    /// RecoverFS: what was out when it began, lost or not, and had not been reported (RFC 9937 6.1).
    flight: u64,
    /// ssthresh: what the controller wants to be in flight when it ends.
    threshold: u64,
    /// cwnd: what may be in flight now.
    window: u64,
}

/// What an ACK in recovery shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// DeliveredData: bytes newly known to have arrived.
    pub(crate) delivered: u64,
    /// `pipe` of RFC 6675, after this ACK.
    pub(crate) pipe: u64,
    /// SafeACK: SND.UNA advanced and nothing more was found to be lost.
    pub(crate) safe: bool,
    /// The size of a segment.
    pub(crate) mss: u32,
}

impl Prr {
    /// The account of no recovery.
    pub(crate) const fn new() -> Self {
        Self { delivered: 0, out: 0, flight: 0, threshold: 0, window: 0 }
    }

    /// Recovery begins. `flight` is RecoverFS: SND.NXT less SND.UNA before this ACK, without what
    /// had been SACKed before it.
    pub(crate) fn enter(flight: u64, threshold: u64) -> Self {
        Self { delivered: 0, out: 0, flight: flight.max(1), threshold, window: 0 }
    }

    /// An ACK arrived.
    pub(crate) fn on_ack(&mut self, progress: &Progress) {
        let Progress { delivered, pipe, safe, mss } = *progress;
        if delivered == 0 && self.delivered > 0 {
            return;
        }
        let mss = u64::from(mss);
        self.delivered = self.delivered.saturating_add(delivered);
        let allowed = if pipe > self.threshold {
            let share = u128::from(self.delivered) * u128::from(self.threshold);
            let share = share.div_ceil(u128::from(self.flight));
            u64::try_from(share).unwrap_or(u64::MAX).saturating_sub(self.out)
        } else {
            let mut allowed = self.delivered.saturating_sub(self.out).max(delivered);
            if safe {
                allowed = allowed.saturating_add(mss);
            }
            allowed.min(self.threshold - pipe)
        };
        // RFC 9937 6.2: the first segment is sent again at once, whatever the share is.
        let allowed = if self.out == 0 { allowed.max(mss) } else { allowed };
        self.window = pipe.saturating_add(allowed);
    }

    /// Bytes left, new or again.
    pub(crate) fn on_sent(&mut self, bytes: u64) {
        self.out = self.out.saturating_add(bytes);
    }

    /// What may be in flight, in bytes.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MSS: u32 = 1000;

    fn ack(prr: &mut Prr, pipe: u64, safe: bool) -> u64 {
        prr.on_ack(&Progress { delivered: 1000, pipe, safe, mss: MSS });
        let room = prr.window() - pipe;
        prr.on_sent(room);
        room
    }

    #[test]
    fn rfc9937_6_one_segment_of_two_while_the_flight_is_above_the_threshold() {
        // 20 in flight, one lost, halved.
        let mut prr = Prr::enter(20_000, 10_000);
        let sent: alloc::vec::Vec<u64> =
            (0..6).map(|index| ack(&mut prr, 18_000 - index * 500, false)).collect();
        assert_eq!(sent.iter().sum::<u64>(), 3_000, "half of the six that arrived");
        assert_eq!(sent[0], 1_000, "the first goes at once");
    }

    #[test]
    fn rfc9937_6_a_flight_below_the_threshold_grows_only_with_safe_acks() {
        let mut prr = Prr::enter(20_000, 10_000);
        assert_eq!(ack(&mut prr, 2_000, false), 1_000, "conservation");
        assert_eq!(ack(&mut prr, 2_000, true), 2_000, "and one more");
        assert_eq!(ack(&mut prr, 9_500, true), 500, "never above the threshold");
    }

    proptest! {
        #[test]
        fn what_is_in_flight_ends_near_the_threshold(segments in 20..200_u64, lost in 1..5_u64) {
            let (flight, threshold) = (segments * 1000, segments * 700);
            let mut prr = Prr::enter(flight, threshold);
            let mut pipe = flight - lost * 1000;
            for _ in 0..segments - lost {
                pipe -= 1000;
                prr.on_ack(&Progress { delivered: 1000, pipe, safe: true, mss: MSS });
                let room = (prr.window() - pipe) / 1000 * 1000;
                prr.on_sent(room);
                pipe += room;
                prop_assert!(pipe <= flight);
            }
            prop_assert!(pipe <= threshold + 1000 && pipe + 2000 >= threshold, "{pipe} {threshold}");
        }

        #[test]
        fn no_number_panics(flight: u64, threshold: u64, acks: [(u64, u64, bool, u32); 8]) {
            let mut prr = Prr::enter(flight, threshold);
            for (delivered, pipe, safe, mss) in acks {
                prr.on_ack(&Progress { delivered, pipe, safe, mss });
                prr.on_sent(delivered);
            }
        }
    }
}
