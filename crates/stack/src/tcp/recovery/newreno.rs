//! Fast retransmit and NewReno fast recovery, for connections without SACK (RFC 6582, RFC 5681 3.2).
//!
//! The machine counts duplicate ACKs, says when to send the first unacknowledged segment again, and
//! keeps account of how far the congestion window is inflated meanwhile. It moves no data and no
//! window: the sender does the first, the controller the second.

use crate::tcp::seq::Seq;

/// Duplicate ACKs that mean a loss (RFC 5681 3.2, step 2).
pub(crate) const DUPLICATE_THRESHOLD: u32 = 3;

/// The state of fast retransmit and fast recovery of one connection.
#[derive(Clone, Debug)]
pub(crate) struct NewReno {
    /// The end of what had been sent when recovery last began or the timer last expired: one beyond the
    /// `recover` of RFC 6582. `None` when an ACK passed it, or nothing was lost yet.
    recover: Option<Seq>,
    /// Duplicate ACKs in a row.
    duplicate_acks: u32,
    /// Bytes by which the last cumulative ACK advanced SND.UNA.
    last_advance: u32,
    /// By how much the window is larger, or smaller, than the controller says, in bytes.
    inflation: i64,
    /// Fast recovery is going on.
    in_recovery: bool,
    /// This recovery had a partial ACK already.
    had_partial: bool,
}

/// What a duplicate ACK asks of the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DuplicateVerdict {
    /// It was counted. One new segment may leave for each of the first two (RFC 3042), see
    /// [`NewReno::limited_transmit`].
    Count,
    /// The third: tell the controller, and send the segment at SND.UNA again at once (RFC 5681
    /// 3.2, steps 2 and 3).
    EnterRecovery,
    /// Another segment left the network: new data may leave (RFC 5681 3.2, step 4).
    Inflate,
}

/// What an ACK of new data asks of the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NewAckVerdict {
    /// No recovery: the controller may grow its window.
    Normal,
    /// Some of the data of before is still missing: send the segment at the new SND.UNA again.
    Partial {
        /// Whether the retransmission timer starts anew: at the first partial ACK only (RFC 6582 3.2
        /// step 3; RFC 3782 calls it "impatient"), so that many losses in one window end in a
        /// timeout soon rather than one segment a round trip.
        restart_timer: bool,
    },
    /// Everything of before arrived: recovery is over.
    Full,
}

impl NewReno {
    /// The machine of a new connection. Step 1 of RFC 6582 3.2 would set `recover` to the initial
    /// sequence number; here nothing is set, so that the first segment of all can be fast
    /// retransmitted too.
    pub(crate) const fn new() -> Self {
        Self {
            recover: None,
            duplicate_acks: 0,
            last_advance: 0,
            inflation: 0,
            in_recovery: false,
            had_partial: false,
        }
    }

    /// A duplicate ACK by the five conditions of RFC 5681 2 came.
    ///
    /// `snd_max` is the end of everything ever sent, `mss` the size of a segment, `window` the
    /// controller's window in bytes.
    pub(crate) fn on_duplicate_ack(
        &mut self,
        snd_una: Seq,
        snd_max: Seq,
        mss: u32,
        window: u64,
    ) -> DuplicateVerdict {
        self.duplicate_acks = self.duplicate_acks.saturating_add(1);
        if self.in_recovery {
            self.inflation = self.inflation.saturating_add(i64::from(mss));
            return DuplicateVerdict::Inflate;
        }
        let third = self.duplicate_acks == DUPLICATE_THRESHOLD;
        if !third || !self.is_new_loss(snd_una, mss, window) {
            return DuplicateVerdict::Count;
        }
        self.recover = Some(snd_max);
        self.in_recovery = true;
        self.had_partial = false;
        self.inflation = i64::from(DUPLICATE_THRESHOLD) * i64::from(mss);
        DuplicateVerdict::EnterRecovery
    }

    /// An ACK advanced SND.UNA from `snd_una` to `ack`; `mss` is the size of a segment.
    pub(crate) fn on_new_ack(&mut self, snd_una: Seq, ack: Seq, mss: u32) -> NewAckVerdict {
        self.duplicate_acks = 0;
        self.last_advance = ack.distance_from(snd_una);
        let covered = self.recover.is_none_or(|recover| ack.is_at_or_after(recover));
        if !self.in_recovery {
            // Strictly beyond, as step 2 wants it; and a mark left behind would be ahead of us
            // again after half the circle.
            if self.recover.is_some_and(|recover| ack.is_after(recover)) {
                self.recover = None;
            }
            return NewAckVerdict::Normal;
        }
        if covered {
            self.leave_recovery();
            return NewAckVerdict::Full;
        }
        self.deflate(mss);
        let restart_timer = !self.had_partial;
        self.had_partial = true;
        NewAckVerdict::Partial { restart_timer }
    }

    /// The retransmission timer expired (RFC 6582 3.2, step 4): recovery ends, and duplicate ACKs
    /// of what was sent before do not begin another.
    pub(crate) fn on_timeout(&mut self, snd_max: Seq) {
        self.leave_recovery();
        self.duplicate_acks = 0;
        self.recover = Some(snd_max);
    }

    /// Whether it stands where it began, for all that nothing in flight can tell.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.recover.is_none() && self.duplicate_acks == 0 && !self.in_recovery
    }

    /// Duplicate ACKs in a row.
    pub(crate) fn duplicate_acks(&self) -> u32 {
        self.duplicate_acks
    }

    /// By how much the window is larger (or, after a long partial ACK, smaller) than the
    /// controller says, in bytes; zero outside recovery.
    #[cfg(test)]
    fn inflation(&self) -> i64 {
        self.inflation
    }

    /// The window to send by: the controller's `window` with the inflation, at least one segment.
    pub(crate) fn effective_window(&self, window: u64, mss: u32) -> u64 {
        window.saturating_add_signed(self.inflation).max(u64::from(mss))
    }

    /// How many bytes of new data may leave beyond the congestion window because of the first
    /// duplicate ACKs (RFC 3042 2): one segment for each of two. The peer's window still counts.
    pub(crate) fn limited_transmit(&self, mss: u32) -> u64 {
        if self.in_recovery {
            return 0;
        }
        u64::from(self.duplicate_acks.min(DUPLICATE_THRESHOLD - 1)) * u64::from(mss)
    }

    /// Step 2 of RFC 6582 3.2: whether three duplicate ACKs mean a loss of their own, and not an
    /// echo of segments that were sent again without need after a timeout.
    ///
    /// They do when the ACK covers more than `recover`. If it does not, the ACK heuristic (RFC
    /// 6582 4.1) decides: needless retransmissions make the cumulative ACK jump by much first.
    fn is_new_loss(&self, snd_una: Seq, mss: u32, window: u64) -> bool {
        let Some(recover) = self.recover else { return true };
        if snd_una.is_after(recover) {
            return true;
        }
        let small_step = self.last_advance > 0 && self.last_advance <= mss.saturating_mul(4);
        window > u64::from(mss) && small_step
    }

    /// The window shrinks by what was acknowledged, and one segment is added back if that was at
    /// least one (RFC 6582 3.2, step 3), so that about ssthresh is in flight in the end.
    fn deflate(&mut self, mss: u32) {
        self.inflation = self.inflation.saturating_sub(i64::from(self.last_advance));
        if self.last_advance >= mss {
            self.inflation = self.inflation.saturating_add(i64::from(mss));
        }
    }

    /// The loss was none: there is nothing to recover from.
    pub(crate) fn cancel(&mut self) {
        self.leave_recovery();
        self.duplicate_acks = 0;
        self.recover = None;
    }

    fn leave_recovery(&mut self) {
        self.in_recovery = false;
        self.had_partial = false;
        self.inflation = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;
    const WINDOW: u64 = 10_000;
    /// Where the tests' sequence space begins: the numbers wrap inside the first window.
    const BASE: Seq = Seq(u32::MAX - 4_500);

    /// One step of a table: what happens and what the machine must answer. Positions are in
    /// segments from `BASE`.
    enum Step {
        /// Duplicate ACK with everything up to this segment sent.
        Dup(u32, DuplicateVerdict),
        /// ACK up to this segment.
        Ack(u32, NewAckVerdict),
        /// The timer, with everything up to this segment sent.
        Timer(u32),
        /// The inflation, in segments.
        Inflated(i64),
    }
    use DuplicateVerdict::{Count, EnterRecovery, Inflate};
    use NewAckVerdict::{Full, Normal, Partial};
    use Step::{Ack, Dup, Inflated, Timer};

    fn run(name: &str, steps: &[Step]) {
        let mut machine = NewReno::new();
        let mut una = BASE;
        for (index, step) in steps.iter().enumerate() {
            match step {
                Dup(sent, expected) => {
                    let verdict = machine.on_duplicate_ack(una, BASE.plus(sent * MSS), MSS, WINDOW);
                    assert_eq!(verdict, *expected, "{name}, step {index}");
                }
                Ack(upto, expected) => {
                    let ack = BASE.plus(upto * MSS);
                    assert_eq!(
                        machine.on_new_ack(una, ack, MSS),
                        *expected,
                        "{name}, step {index}"
                    );
                    una = ack;
                }
                Timer(sent) => machine.on_timeout(BASE.plus(sent * MSS)),
                Inflated(segments) => {
                    assert_eq!(
                        machine.inflation(),
                        segments * i64::from(MSS),
                        "{name}, step {index}"
                    );
                }
            }
        }
    }

    #[test]
    fn rfc5681_3_2_the_third_duplicate_ack_starts_recovery() {
        run(
            "one loss",
            &[
                Ack(1, Normal),
                Dup(10, Count),
                Dup(10, Count),
                Inflated(0),
                Dup(10, EnterRecovery),
                Inflated(3),
                Dup(10, Inflate),
                Dup(11, Inflate),
                Inflated(5),
                Ack(10, Full),
                Inflated(0),
                Ack(11, Normal),
            ],
        );
    }

    #[test]
    fn the_very_first_segment_can_be_fast_retransmitted() {
        run("first", &[Dup(10, Count), Dup(10, Count), Dup(10, EnterRecovery), Ack(10, Full)]);
    }

    #[test]
    fn rfc6582_3_2_step_3_a_partial_ack_repairs_the_next_hole() {
        run(
            "two losses",
            &[
                Dup(10, Count),
                Dup(10, Count),
                Dup(10, EnterRecovery),
                Dup(10, Inflate),
                Ack(4, Partial { restart_timer: true }),
                // 4 segments out, 4 acknowledged, one added back.
                Inflated(1),
                Dup(12, Inflate),
                Ack(7, Partial { restart_timer: false }),
                Inflated(0),
                Ack(9, Partial { restart_timer: false }),
                Inflated(-1),
                Ack(10, Full),
                Inflated(0),
            ],
        );
    }

    #[test]
    fn a_new_ack_in_between_starts_the_count_again() {
        run(
            "interrupted",
            &[
                Dup(10, Count),
                Dup(10, Count),
                Ack(1, Normal),
                Dup(10, Count),
                Dup(10, Count),
                Dup(10, EnterRecovery),
            ],
        );
    }

    #[test]
    fn rfc6582_3_2_step_4_duplicates_after_a_timeout_do_not_start_recovery() {
        run(
            "after a timeout",
            &[
                Ack(1, Normal),
                Timer(10),
                // The ACK jumps: segments 2 to 8 had arrived, and are sent again without need.
                Ack(8, Normal),
                Dup(10, Count),
                Dup(10, Count),
                Dup(10, Count),
                Dup(10, Count),
                // Past `recover` a loss is a loss again.
                Ack(11, Normal),
                Dup(20, Count),
                Dup(20, Count),
                Dup(20, EnterRecovery),
            ],
        );
    }

    #[test]
    fn rfc6582_3_2_the_careful_variant_wants_more_than_recover_covered() {
        run(
            "exactly recover",
            &[Timer(10), Ack(10, Normal), Dup(20, Count), Dup(20, Count), Dup(20, Count)],
        );
    }

    #[test]
    fn rfc6582_4_1_a_small_step_shows_a_true_loss_below_recover() {
        run(
            "ack heuristic",
            &[Timer(10), Ack(2, Normal), Dup(10, Count), Dup(10, Count), Dup(10, EnterRecovery)],
        );
    }

    #[test]
    fn a_timeout_ends_recovery() {
        run(
            "timeout in recovery",
            &[
                Dup(10, Count),
                Dup(10, Count),
                Dup(10, EnterRecovery),
                Timer(10),
                Inflated(0),
                Ack(9, Normal),
            ],
        );
    }

    #[test]
    fn an_old_mark_does_not_come_back_after_half_the_circle() {
        let mut machine = NewReno::new();
        machine.on_timeout(BASE);
        let mut una = BASE.minus(1);
        for _ in 0..3 {
            let ack = una.plus(0x3000_0000);
            assert_eq!(machine.on_new_ack(una, ack, MSS), Normal);
            una = ack;
        }
        let sent = una.plus(10 * MSS);
        let verdicts: [DuplicateVerdict; 3] =
            core::array::from_fn(|_| machine.on_duplicate_ack(una, sent, MSS, WINDOW));
        assert_eq!(verdicts, [Count, Count, EnterRecovery]);
    }

    #[test]
    fn rfc3042_2_two_duplicates_let_two_new_segments_out() {
        let mut machine = NewReno::new();
        let allowed: [u64; 3] = core::array::from_fn(|_| {
            let allowed = machine.limited_transmit(MSS);
            machine.on_duplicate_ack(BASE, BASE.plus(3 * MSS), MSS, WINDOW);
            allowed
        });
        assert_eq!(allowed, [0, 1_000, 2_000]);
        assert_eq!(machine.limited_transmit(MSS), 0, "recovery has its own account");
    }

    #[test]
    fn the_effective_window_is_never_below_a_segment() {
        let mut machine = NewReno::new();
        for _ in 0..3 {
            machine.on_duplicate_ack(BASE, BASE.plus(100 * MSS), MSS, WINDOW);
        }
        assert_eq!(machine.effective_window(5_000, MSS), 8_000);
        machine.on_new_ack(BASE, BASE.plus(90 * MSS), MSS);
        assert_eq!(machine.effective_window(5_000, MSS), 1_000);
    }
}
