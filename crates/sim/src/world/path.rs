//! One direction between two hosts: what becomes of a packet on its way.

use wire::time::{Duration, Instant};

use super::dice::Dice;

/// What a path does to packets. Probabilities are in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Impairment {
    /// How long a packet takes at least.
    pub latency: Duration,
    /// How much longer it takes at most; the order of packets stays.
    pub jitter: Duration,
    /// How many packets vanish.
    pub loss: u64,
    /// How many arrive twice.
    pub duplicate: u64,
    /// How many are overtaken by later ones.
    pub reorder: u64,
    /// How many have one bit turned.
    pub corrupt: u64,
    /// Bytes per second.
    pub rate: Option<u64>,
    /// How many bytes wait for their turn before more are dropped, where there is a rate.
    pub queue: u64,
}

/// A path under way.
#[derive(Debug)]
pub struct Path {
    impairment: Impairment,
    /// When the last packet that stays in order arrives.
    last_arrival: Instant,
    /// When the bottleneck is done with what waits for it.
    busy_until: Instant,
}

impl Path {
    /// A path without any packet on it.
    #[must_use]
    pub fn new(impairment: Impairment) -> Self {
        Self { impairment, last_arrival: Instant::ZERO, busy_until: Instant::ZERO }
    }

    /// From now on nothing is lost, repeated, reordered or damaged; the path stays slow.
    pub fn heal(&mut self) {
        let Impairment { latency, jitter, rate, .. } = self.impairment;
        // A queue that always drops what does not fit would never let a large packet through.
        let queue = u64::MAX;
        self.impairment = Impairment { latency, jitter, rate, queue, ..Impairment::default() };
    }

    /// The copies of a packet that will arrive, and when.
    pub fn carry(
        &mut self,
        now: Instant,
        packet: Vec<u8>,
        dice: &mut Dice,
    ) -> Vec<(Instant, Vec<u8>)> {
        let impairment = self.impairment;
        if dice.chance(impairment.loss) {
            return Vec::new();
        }
        let Some(leaves) = self.bottleneck(now, packet.len()) else { return Vec::new() };
        let mut copies = vec![packet];
        if dice.chance(impairment.duplicate) {
            copies.push(copies[0].clone());
        }
        let mut arrivals = Vec::with_capacity(copies.len());
        for mut copy in copies {
            if dice.chance(impairment.corrupt) {
                let at = dice.size(0..=copy.len() - 1);
                copy[at] ^= 1 << dice.pick(0..=7);
            }
            arrivals.push((self.arrival(leaves, dice), copy));
        }
        arrivals
    }

    /// When a packet of `length` bytes is through the bottleneck; `None` when its queue is full.
    fn bottleneck(&mut self, now: Instant, length: usize) -> Option<Instant> {
        let Some(rate) = self.impairment.rate else { return Some(now) };
        let waiting = self.busy_until.since(now).as_nanos() * u128::from(rate) / 1_000_000_000;
        if waiting > u128::from(self.impairment.queue) {
            return None;
        }
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let takes = Duration::from_nanos(length.saturating_mul(1_000_000_000) / rate.max(1));
        self.busy_until = self.busy_until.max(now).after(takes);
        Some(self.busy_until)
    }

    fn arrival(&mut self, leaves: Instant, dice: &mut Dice) -> Instant {
        let Impairment { latency, jitter, reorder, .. } = self.impairment;
        let arrival = leaves.after(latency).after(dice.up_to(jitter));
        if dice.chance(reorder) {
            let late = latency.saturating_mul(2).saturating_add(Duration::from_millis(5));
            return arrival.after(dice.up_to(late));
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_stay_in_order_unless_reordered() {
        let mut dice = Dice::new(1);
        let jitter = Duration::from_millis(10);
        let mut path = Path::new(Impairment { jitter, ..Impairment::default() });
        let times: Vec<Instant> = (0..100)
            .map(|i| path.carry(Instant::from_micros(i), vec![0; 40], &mut dice)[0].0)
            .collect();
        assert!(times.is_sorted());
        path.impairment.reorder = 300;
        let times: Vec<Instant> = (0..100)
            .map(|i| path.carry(Instant::from_millis(100 + i), vec![0; 40], &mut dice)[0].0)
            .collect();
        assert!(!times.is_sorted());
    }

    #[test]
    fn a_full_queue_drops() {
        let mut dice = Dice::new(1);
        let rate = Some(1_000_000);
        let mut path = Path::new(Impairment { rate, queue: 5000, ..Impairment::default() });
        let carried =
            (0..10).filter(|_| !path.carry(Instant::ZERO, vec![0; 1000], &mut dice).is_empty());
        assert_eq!(carried.count(), 6);
    }
}
