//! CUBIC's window as a function of time (RFC 9438 4.2, 4.3), in whole numbers.
//!
//! Sizes are bytes. Times are [`Ticks`] of 1/65536 s, so that a cubed time keeps its meaning with
//! shifts, and an ACK costs no long division for it. What grows by less than a byte for an ACK
//! is kept in parts of 1/65536 byte.

use wire::time::{Duration, Instant};

use crate::tcp::congestion::mul_div;

/// Bits of fraction, in times and in sizes.
pub(super) const FRACTION: u32 = 16;

/// Seconds with 16 bits of fraction.
type Ticks = u64;

/// Two hours. The curve leaves every bound long before, and its cube fits well into 128 bits.
const LONGEST: Ticks = 1 << 29;

/// The variables of RFC 9438 4.1.2 that describe one congestion avoidance stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Curve {
    /// cwnd_prior: the window when the threshold was set last.
    pub(super) prior: u64,
    /// W_max: where the curve is flat. Zero while it is not defined: then the curve begins there.
    pub(super) plateau: u64,
    /// K: the time from the stage's beginning to the plateau.
    k: Ticks,
    /// t_epoch: when the stage began; `None` until its first ACK.
    epoch: Option<Instant>,
    /// W_est: the window that Reno would have, in 1/65536 bytes.
    reno: u64,
}

impl Curve {
    /// A congestion event met the window at `window` (RFC 9438 4.6, 4.7).
    ///
    /// Fast convergence: a window that did not come back to the last plateau shows that others
    /// need room, so the next plateau is lower still: `window * (1 + beta) / 2`.
    pub(super) fn on_congestion(&mut self, window: u64) {
        self.plateau = if window < self.plateau { mul_div(window, 17, 20) } else { window };
        self.prior = window;
        self.epoch = None;
    }

    /// The next stage begins with the convex half of the curve, wherever the window is then
    /// (RFC 9438 4.8 and 4.10): K is zero.
    pub(super) fn forget_plateau(&mut self) {
        self.plateau = 0;
        self.epoch = None;
    }

    /// The stage is over; the next ACK in congestion avoidance begins another with what is known.
    pub(super) fn end_stage(&mut self) {
        self.epoch = None;
    }

    /// Begins a stage at `window` unless one runs (RFC 9438 4.2).
    pub(super) fn ensure_stage(&mut self, now: Instant, window: u64, mss: u64) {
        if self.epoch.is_some() {
            return;
        }
        self.epoch = Some(now);
        self.reno = window.saturating_mul(1 << FRACTION);
        self.plateau = self.plateau.max(window);
        self.k = time_to_climb(self.plateau - window, mss);
    }

    /// `idle` passed in which the window was not tested: it does not count as time of the stage
    /// (RFC 9438 4.2, 5.8).
    pub(super) fn exclude(&mut self, idle: Duration) {
        self.epoch = self.epoch.map(|at| at.after(idle));
    }

    /// W_cubic (Figure 1 of RFC 9438) `ahead` of `now`.
    pub(super) fn at(&self, now: Instant, ahead: Duration, mss: u64) -> u64 {
        let elapsed = self.epoch.map_or(Duration::ZERO, |at| now.since(at));
        let t = ticks(elapsed.saturating_add(ahead));
        if t >= self.k {
            self.plateau.saturating_add(climb(t - self.k, mss))
        } else {
            self.plateau.saturating_sub(climb(self.k - t, mss))
        }
    }

    /// W_est after an ACK for `acked` bytes at `window` (Figure 4 of RFC 9438 4.3): what Reno's
    /// window would be, were it reduced by the same factor and grown by less, so that it comes out
    /// even: `alpha = 3 * (1 - beta) / (1 + beta)`, which is 9/17. From the prior window on it
    /// grows as Reno does.
    pub(super) fn reno_after(&mut self, acked: u64, window: u64, mss: u64) -> u64 {
        let whole = mss.saturating_mul(acked);
        let window = window.max(1);
        let growth = if self.reno >> FRACTION >= self.prior {
            mul_div(whole, 1 << FRACTION, window)
        } else {
            mul_div(whole, 9 << FRACTION, window.saturating_mul(17))
        };
        self.reno = self.reno.saturating_add(growth);
        self.reno >> FRACTION
    }
}

fn ticks(time: Duration) -> Ticks {
    let parts = (u64::from(time.subsec_nanos()) << FRACTION) / 1_000_000_000;
    (time.as_secs().min(LONGEST) << FRACTION) + parts
}

/// `C * time^3` in bytes, with C of 0.4 segments per cubed second (RFC 9438 5.1).
fn climb(time: Ticks, mss: u64) -> u64 {
    let time = u128::from(time.min(LONGEST));
    let cubed = (time * time * time) >> (2 * FRACTION);
    let c = mss.saturating_mul(2 << FRACTION) / 5;
    u64::try_from((cubed * u128::from(c)) >> (2 * FRACTION)).unwrap_or(u64::MAX)
}

/// K (Figure 2 of RFC 9438): the time in which [`climb`] comes to `bytes`.
fn time_to_climb(bytes: u64, mss: u64) -> Ticks {
    let cubed_seconds = (u128::from(bytes) * 5) << (3 * FRACTION);
    cube_root(cubed_seconds / u128::from(2 * mss.max(1)))
}

/// The cube root, rounded down; bit by bit, as only the beginning of a stage needs it.
fn cube_root(n: u128) -> u64 {
    // The largest argument is below 2^115, so the root is below 2^39.
    let mut root = 0_u64;
    for bit in (0..39).rev() {
        let trial = root | 1 << bit;
        let t = u128::from(trial);
        if t * t * t <= n {
            root = trial;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Instant = Instant::ZERO;

    fn after(window: u64, mss: u64) -> Curve {
        let mut curve = Curve::default();
        curve.on_congestion(window);
        curve.ensure_stage(NOW, window / 10 * 7, mss);
        curve
    }

    #[test]
    fn rfc9438_4_2_k_is_where_the_curve_meets_the_plateau() {
        // W_max of 100 segments: K = cbrt(30 / 0.4) = 4.217 s.
        let curve = after(100_000, 1_000);
        let k = curve.k as f64 / 65_536.0;
        assert!((k - 4.217_163).abs() < 0.000_1, "{k}");
        let at = |millis| curve.at(NOW, Duration::from_millis(millis), 1_000);
        assert!(at(0).abs_diff(70_000) <= 5, "{}", at(0));
        assert_eq!(at(4_217), 100_000);
        assert!(at(8_434).abs_diff(129_993) <= 5, "{}", at(8_434));
    }

    #[test]
    fn rfc9438_4_7_fast_convergence_lowers_the_plateau() {
        let mut curve = Curve::default();
        curve.on_congestion(100_000);
        assert_eq!((curve.plateau, curve.prior), (100_000, 100_000));
        curve.on_congestion(80_000);
        assert_eq!((curve.plateau, curve.prior), (68_000, 80_000));
        curve.on_congestion(90_000);
        assert_eq!(curve.plateau, 90_000, "above the last plateau: no reason to give way");
    }

    #[test]
    fn rfc9438_4_3_renos_window_grows_by_9_17_of_a_segment_and_then_by_one() {
        let mut curve = after(10_000, 1_000);
        let window = 7_000;
        let one_round = |curve: &mut Curve| {
            for _ in 0..7 {
                curve.reno_after(1_000, window, 1_000);
            }
            curve.reno >> FRACTION
        };
        assert_eq!(one_round(&mut curve), 7_529);
        for _ in 0..5 {
            one_round(&mut curve);
        }
        let reached = curve.reno >> FRACTION;
        assert!((10_000..10_400).contains(&reached), "{reached}");
        assert_eq!(one_round(&mut curve), reached + 1_000);
    }

    #[test]
    fn rfc9438_4_2_time_without_a_test_of_the_window_does_not_count() {
        let mut curve = after(100_000, 1_000);
        let later = Instant::from_millis(2_000);
        let before = curve.at(later, Duration::ZERO, 1_000);
        curve.exclude(Duration::from_secs(60));
        assert_eq!(curve.at(Instant::from_millis(62_000), Duration::ZERO, 1_000), before);
    }

    proptest! {
        #[test]
        fn the_cube_root_is_the_cube_root(root in 0..1_u64 << 38, above in any::<u64>()) {
            let r = u128::from(root);
            let room = (r + 1) * (r + 1) * (r + 1) - r * r * r;
            let n = r * r * r + u128::from(above) % room;
            prop_assert_eq!(cube_root(n), root);
        }

        #[test]
        fn the_curve_is_that_of_floating_point(
            segments in 2..1_000_000_u64, mss in 100..9_000_u64, millis in 0..600_000_u64,
        ) {
            let window = segments * mss;
            let curve = after(window, mss);
            let start = (window / 10 * 7) as f64 / mss as f64;
            let plateau = segments as f64;
            let k = ((plateau - start) / 0.4).cbrt();
            let t = millis as f64 / 1_000.0;
            let twin = (0.4 * (t - k).powi(3) + plateau) * mss as f64;
            let found = curve.at(Instant::from_millis(millis), Duration::ZERO, mss) as f64;
            // A tick is 15 us, of which K and t lack up to one each; C is cut off at 16 bits, too.
            let slope = 3.0 * 0.4 * (t - k).powi(2) * mss as f64;
            let climbed = (twin - plateau * mss as f64).abs();
            let near = slope / 30_000.0 + climbed / 1_000_000.0 + 2.0;
            prop_assert!((found - twin.max(0.0)).abs() <= near, "{found} {twin}");
        }

        #[test]
        fn no_number_makes_the_curve_overflow(
            window in any::<u64>(), at in any::<u64>(), later in any::<u64>(),
            mss in 1..=u64::from(u32::MAX), acked in any::<u64>(),
        ) {
            let mut curve = Curve::default();
            curve.on_congestion(window);
            curve.ensure_stage(Instant::from_nanos(at), window >> 17, mss);
            curve.exclude(Duration::from_nanos(later));
            curve.reno_after(acked, window, mss);
            let now = Instant::from_nanos(later);
            let soon = curve.at(now, Duration::from_nanos(at), mss);
            prop_assert!(curve.at(now, Duration::MAX, mss) >= soon);
        }
    }
}
