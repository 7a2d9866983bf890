//! One direction of an impaired link: what happens to each packet, and the packets held back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wire::frame::{Medium, ReceiveChecksum};
use wire::time::{Duration, Instant};

use super::{Counters, Impairment, Loss, REORDER_HOLD};
use crate::split;

/// A packet held back, and what is known about it.
#[derive(Debug)]
pub(super) struct Held {
    /// When it may go on.
    release: Instant,
    /// Its turn among those with the same release time.
    order: u64,
    /// The whole frame.
    pub(super) bytes: Vec<u8>,
    /// What a receiver is told about its checksum.
    pub(super) checksum: ReceiveChecksum,
    /// The stack's reason for it, for a capture further out.
    pub(super) comment: &'static str,
}

/// The earliest release first, then the first come.
#[derive(Debug)]
struct ByRelease(Held);

impl ByRelease {
    fn key(&self) -> Reverse<(Instant, u64)> {
        Reverse((self.0.release, self.0.order))
    }
}
impl PartialEq for ByRelease {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for ByRelease {}
impl PartialOrd for ByRelease {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByRelease {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// A packet that comes into a direction.
pub(super) struct Arriving<'a> {
    /// The whole frame; no super-segment, its checksum complete.
    pub(super) bytes: &'a [u8],
    /// What is known about its checksum.
    pub(super) checksum: ReceiveChecksum,
    /// The stack's reason for it.
    pub(super) comment: &'static str,
}

#[derive(Debug)]
pub(super) struct Direction {
    /// What is to be done.
    config: Impairment,
    /// The dice of this direction alone.
    rng: ChaCha8Rng,
    /// The burst-loss model is in its bad state.
    bad: bool,
    /// Packets since the last one that was picked for reordering.
    since_reorder: u32,
    /// Packets whose time is to come.
    queue: BinaryHeap<ByRelease>,
    /// The bytes of `queue` together.
    queue_bytes: usize,
    /// Packets whose time has come, in their order.
    ready: VecDeque<Held>,
    /// The departures of those that wait for the rate limiter, and their bytes; oldest first.
    waiting: VecDeque<(Instant, usize)>,
    /// The bytes of `waiting` together.
    waiting_bytes: usize,
    /// When the rate limiter is free again.
    busy_until: Instant,
    /// The next packet's turn.
    order: u64,
    /// What was done so far.
    pub(super) counters: Counters,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

/// The dice for one packet. All are thrown for each packet, whatever is switched on, so that the
/// losses of a seed stay the same when a delay is added.
struct Dice {
    loss: f64,
    change: f64,
    duplicate: f64,
    corrupt: f64,
    reorder: f64,
    which_bit: u64,
    jitter: u64,
    second_jitter: u64,
}

impl Dice {
    fn throw(rng: &mut ChaCha8Rng) -> Self {
        // 53 random bits are what an f64 between 0 and 1 holds exactly.
        let mut unit = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let (loss, change, duplicate, corrupt, reorder) = (unit(), unit(), unit(), unit(), unit());
        let (which_bit, jitter, second_jitter) = (rng.next_u64(), rng.next_u64(), rng.next_u64());
        Self { loss, change, duplicate, corrupt, reorder, which_bit, jitter, second_jitter }
    }
}

impl Direction {
    pub(super) fn new(config: Impairment, seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self {
            config,
            rng,
            bad: false,
            since_reorder: 0,
            queue: BinaryHeap::new(),
            queue_bytes: 0,
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            busy_until: Instant::ZERO,
            order: 0,
            counters: Counters::default(),
            spare: Vec::new(),
        }
    }

    /// Changes what is done from now on; packets held back keep their release times.
    pub(super) fn set(&mut self, config: Impairment) {
        self.config = config;
    }

    /// Decides what happens to a packet, and takes it in or drops it.
    pub(super) fn take(&mut self, now: Instant, medium: Medium, packet: &Arriving<'_>) {
        self.counters.offered += 1;
        let dice = Dice::throw(&mut self.rng);
        if self.is_lost(&dice) {
            self.counters.lost += 1;
            return;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet.bytes);
        let mut checksum = packet.checksum;
        if dice.corrupt < self.config.corrupt && flip_a_bit(medium, &mut bytes, dice.which_bit) {
            self.counters.corrupted += 1;
            checksum = ReceiveChecksum::Unverified;
        }
        let copy = (dice.duplicate < self.config.duplicate).then(|| bytes.clone());
        let overtakes = self.is_reordered(&dice);
        let delay = self.delay(dice.jitter, overtakes);
        self.enqueue(now, bytes, checksum, packet.comment, delay);
        if let Some(copy) = copy {
            self.counters.duplicated += 1;
            let delay = self.delay(dice.second_jitter, false);
            self.enqueue(now, copy, checksum, packet.comment, delay);
        }
    }

    /// The next packet whose time has come; it stays where it is.
    pub(super) fn due(&mut self, now: Instant) -> Option<&Held> {
        self.ripen(now);
        self.ready.front()
    }

    /// Takes the packet that [`due`](Direction::due) shows, as `delivered` or as failed.
    pub(super) fn pop(&mut self, delivered: bool) -> Option<Held> {
        let held = self.ready.pop_front()?;
        if delivered {
            self.counters.delivered += 1;
        } else {
            self.counters.failed += 1;
        }
        Some(held)
    }

    /// Gives a buffer back.
    pub(super) fn recycle(&mut self, bytes: Vec<u8>) {
        const ENOUGH: usize = 256;
        if self.spare.len() < ENOUGH {
            self.spare.push(bytes);
        }
    }

    /// When the next packet's time comes, or came.
    pub(super) fn next_release(&self) -> Option<Instant> {
        let queued = self.queue.peek().map(|next| next.0.release);
        self.ready.front().map(|held| held.release).or(queued)
    }

    /// How many packets are held back.
    pub(super) fn held(&self) -> usize {
        self.queue.len() + self.ready.len()
    }

    fn is_lost(&mut self, dice: &Dice) -> bool {
        match self.config.loss {
            Loss::None => false,
            Loss::Random(probability) => dice.loss < probability,
            Loss::Burst { enter, leave, good, bad } => {
                let change = if self.bad { leave } else { enter };
                self.bad ^= dice.change < change;
                dice.loss < if self.bad { bad } else { good }
            }
        }
    }

    fn is_reordered(&mut self, dice: &Dice) -> bool {
        self.since_reorder = self.since_reorder.saturating_add(1);
        let picked = self.since_reorder >= self.config.reorder_gap.max(1)
            && dice.reorder < self.config.reorder;
        if picked {
            self.since_reorder = 0;
            self.counters.reordered += 1;
        }
        picked
    }

    /// How long a packet travels; `jitter` is 64 random bits.
    fn delay(&self, jitter: u64, picked: bool) -> Duration {
        let base = self.config.delay;
        match (picked, base.is_zero()) {
            // It overtakes those that wait; where nothing waits, it is overtaken.
            (true, false) => Duration::ZERO,
            (true, true) => REORDER_HOLD,
            (false, _) => {
                let shortest = base.saturating_sub(self.config.jitter);
                let spread = base.saturating_add(self.config.jitter).saturating_sub(shortest);
                let spread = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
                let part = (u128::from(spread) * u128::from(jitter)) >> 64;
                shortest.saturating_add(Duration::from_nanos(u64::try_from(part).unwrap_or(spread)))
            }
        }
    }

    fn enqueue(
        &mut self,
        now: Instant,
        bytes: Vec<u8>,
        checksum: ReceiveChecksum,
        comment: &'static str,
        delay: Duration,
    ) {
        self.ripen(now);
        let Some(departure) = self.depart(now, bytes.len()) else {
            self.counters.overflowed += 1;
            self.recycle(bytes);
            return;
        };
        let release = departure.after(delay);
        let waits = release > now;
        // Behind a rate the router's queue was the limit; without one, whatever waits is.
        if waits
            && self.config.rate.is_none()
            && self.is_beyond_limit(self.queue.len(), self.queue_bytes, bytes.len())
        {
            self.counters.overflowed += 1;
            self.recycle(bytes);
            return;
        }
        self.order += 1;
        let held = Held { release, order: self.order, bytes, checksum, comment };
        if waits {
            self.queue_bytes += held.bytes.len();
            self.queue.push(ByRelease(held));
        } else {
            self.ready.push_back(held);
        }
    }

    /// When the rate limiter has let the packet's last bit pass; `None`: its queue is full.
    fn depart(&mut self, now: Instant, length: usize) -> Option<Instant> {
        while let Some((_, gone)) = self.waiting.pop_front_if(|(departure, _)| *departure <= now) {
            self.waiting_bytes -= gone;
        }
        let Some(rate) = self.config.rate else { return Some(now) };
        if self.is_beyond_limit(self.waiting.len(), self.waiting_bytes, length) {
            return None;
        }
        let nanos = length as u128 * 8 * 1_000_000_000 / u128::from(rate.get());
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let departure = self.busy_until.max(now).after(time);
        self.busy_until = departure;
        self.waiting.push_back((departure, length));
        self.waiting_bytes += length;
        Some(departure)
    }

    fn is_beyond_limit(&self, packets: usize, bytes: usize, length: usize) -> bool {
        packets >= self.config.queue_packets
            || self.config.queue_bytes.is_some_and(|limit| bytes + length > limit)
    }

    /// Moves packets whose time has come to those that are ready.
    fn ripen(&mut self, now: Instant) {
        while self.queue.peek().is_some_and(|next| next.0.release <= now) {
            let Some(ByRelease(held)) = self.queue.pop() else { return };
            self.queue_bytes -= held.bytes.len();
            self.ready.push_back(held);
        }
    }
}

/// Flips one bit of the IP packet; `false` when there is none. A frame without a checksum of its
/// own (ARP) is left alone: on a real link the frame check sequence would have caught it.
fn flip_a_bit(medium: Medium, frame: &mut [u8], which: u64) -> bool {
    let Some(layout) = split::locate(medium, frame) else { return false };
    let packet = &mut frame[layout.ip];
    let bits = packet.len() as u64 * 8;
    let Some(bit) = which.checked_rem(bits) else { return false };
    let Ok(byte) = usize::try_from(bit / 8) else { return false };
    packet[byte] ^= 1 << (bit % 8);
    true
}
