//! One direction of an impaired link: what happens to each packet, and the packets held back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wire::frame::{Medium, ReceiveChecksum};
use wire::time::{Duration, Instant};

use super::codel::{Codel, Verdict};
use super::mark::mark_congestion;
use super::{Counters, Impairment, Loss, QueueManagement, REORDER_HOLD};
use crate::split;

/// What an Ethernet frame has in front of its packet, in bytes.
const ETHERNET_HEADER: usize = 14;

/// A packet on its way through a [`Direction`].
#[derive(Clone, Debug)]
pub struct Packet<T> {
    /// The whole frame; no super-segment, its checksum complete.
    pub bytes: Vec<u8>,
    /// What a receiver is told about its checksum.
    pub checksum: ReceiveChecksum,
    /// What the caller wants to know when it comes out.
    pub tag: T,
}

/// A packet that waits for the rate limiter.
#[derive(Debug)]
struct Queued<T> {
    arrived: Instant,
    /// How long it travels afterwards.
    delay: Duration,
    packet: Packet<T>,
}

/// A packet that travels.
#[derive(Debug)]
struct Held<T> {
    /// When it may go on.
    release: Instant,
    /// Its turn among those with the same release time.
    order: u64,
    packet: Packet<T>,
}

/// The earliest release first, then the first come.
#[derive(Debug)]
struct ByRelease<T>(Held<T>);

impl<T> ByRelease<T> {
    fn key(&self) -> Reverse<(Instant, u64)> {
        Reverse((self.0.release, self.0.order))
    }
}
impl<T> PartialEq for ByRelease<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl<T> Eq for ByRelease<T> {}
impl<T> PartialOrd for ByRelease<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for ByRelease<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// One direction of an impaired link, without a link: packets go in, and come out when and as the
/// [`Impairment`] has it. [`Impair`](super::Impair) puts two of them around a link; a simulator
/// makes whole networks of them.
#[derive(Debug)]
pub struct Direction<T> {
    /// What is to be done.
    config: Impairment,
    /// The dice of this direction alone.
    rng: ChaCha8Rng,
    /// The burst-loss model is in its bad state.
    bad: bool,
    /// Packets since the last one that was picked for reordering.
    since_reorder: u32,
    /// Packets whose time is to come.
    queue: BinaryHeap<ByRelease<T>>,
    /// The bytes of `queue` together.
    queue_bytes: usize,
    /// Packets whose time has come, in their order.
    ready: VecDeque<Held<T>>,
    /// Packets that wait for the rate limiter, oldest first.
    waiting: VecDeque<Queued<T>>,
    /// The bytes of `waiting` together.
    waiting_bytes: usize,
    /// When the rate limiter is free again, and the bytes that it is busy with until then.
    busy_until: Instant,
    busy_with: usize,
    /// The state of controlled delay.
    codel: Codel,
    /// The next packet's turn.
    order: u64,
    /// What was done so far.
    counters: Counters,
    /// What was dropped and when, where somebody asked for it.
    drops: Option<VecDeque<(Instant, T)>>,
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

impl<T: Copy> Direction<T> {
    /// A direction without a packet on it. Directions of the same seed and another `stream` have
    /// other dice.
    #[must_use]
    pub fn new(config: Impairment, seed: u64, stream: u64) -> Self {
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
            busy_with: 0,
            codel: Codel::default(),
            order: 0,
            counters: Counters::default(),
            drops: None,
            spare: Vec::new(),
        }
    }

    /// Changes what is done from now on. Packets that travel keep their release times; those that
    /// wait for the rate limiter feel its new rate.
    pub fn set(&mut self, config: Impairment) {
        self.config = config;
    }

    /// What is done to packets.
    #[must_use]
    pub fn impairment(&self) -> &Impairment {
        &self.config
    }

    /// Decides what happens to a packet, and takes it in or drops it.
    pub fn take(&mut self, now: Instant, medium: Medium, packet: Packet<T>) {
        self.counters.offered += 1;
        let dice = Dice::throw(&mut self.rng);
        if self.is_lost(&dice) | self.is_too_long(medium, &packet.bytes) {
            self.counters.lost += 1;
            return self.dropped(now, packet);
        }
        let mut packet = packet;
        if dice.corrupt < self.config.corrupt
            && flip_a_bit(medium, &mut packet.bytes, dice.which_bit)
        {
            self.counters.corrupted += 1;
            packet.checksum = ReceiveChecksum::Unverified;
        }
        let copy = (dice.duplicate < self.config.duplicate).then(|| packet.clone());
        let overtakes = self.is_reordered(&dice);
        let delay = self.delay(dice.jitter, overtakes);
        self.enqueue(now, medium, packet, delay);
        if let Some(copy) = copy {
            self.counters.duplicated += 1;
            let delay = self.delay(dice.second_jitter, false);
            self.enqueue(now, medium, copy, delay);
        }
    }

    /// The next packet whose time has come; it stays where it is.
    pub fn due(&mut self, now: Instant, medium: Medium) -> Option<&Packet<T>> {
        self.ripen(now, medium);
        self.ready.front().map(|held| &held.packet)
    }

    /// Takes the packet that [`due`](Direction::due) shows, as `delivered` or as failed.
    pub fn pop(&mut self, delivered: bool) -> Option<Packet<T>> {
        let held = self.ready.pop_front()?;
        if delivered {
            self.counters.delivered += 1;
        } else {
            self.counters.failed += 1;
        }
        Some(held.packet)
    }

    /// A buffer for the next packet, empty.
    pub fn buffer(&mut self) -> Vec<u8> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes
    }

    /// Gives a buffer back.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        const ENOUGH: usize = 256;
        if self.spare.len() < ENOUGH {
            self.spare.push(bytes);
        }
    }

    /// When [`due`](Direction::due) is worth the next call: a packet's time comes or came, or one
    /// moves on inside.
    #[must_use]
    pub fn next_release(&self) -> Option<Instant> {
        if let Some(held) = self.ready.front() {
            return Some(held.release);
        }
        let travels = self.queue.peek().map(|next| next.0.release);
        let served = self.waiting.front().map(|next| self.busy_until.max(next.arrived));
        travels.into_iter().chain(served).min()
    }

    /// How many packets are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.queue.len() + self.ready.len() + self.waiting.len()
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { held: self.held() as u64, ..self.counters }
    }

    /// From now on every drop is remembered until [`next_drop`](Direction::next_drop) fetches it.
    pub fn record_drops(&mut self) {
        self.drops.get_or_insert_default();
    }

    /// The oldest drop that was not fetched yet: when, and the tag of what.
    pub fn next_drop(&mut self) -> Option<(Instant, T)> {
        self.drops.as_mut()?.pop_front()
    }

    fn dropped(&mut self, now: Instant, packet: Packet<T>) {
        if let Some(drops) = &mut self.drops {
            drops.push_back((now, packet.tag));
        }
        self.recycle(packet.bytes);
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

    fn is_too_long(&self, medium: Medium, frame: &[u8]) -> bool {
        let link = if medium == Medium::Ip { 0 } else { ETHERNET_HEADER };
        let longest = self.config.longest_packet.map(|longest| usize::from(longest.get()));
        longest.is_some_and(|longest| frame.len() > link + longest)
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

    fn enqueue(&mut self, now: Instant, medium: Medium, packet: Packet<T>, delay: Duration) {
        self.ripen(now, medium);
        if self.config.rate.is_none() && self.waiting.is_empty() {
            return self.travel(now, now.after(delay), packet);
        }
        // Behind a rate the router's queue is the limit, with the packet that is on the wire.
        let busy = self.busy_until > now;
        let packets = self.waiting.len() + usize::from(busy);
        let bytes = self.waiting_bytes + if busy { self.busy_with } else { 0 };
        if self.is_beyond_limit(packets, bytes, packet.bytes.len()) {
            self.counters.overflowed += 1;
            return self.dropped(now, packet);
        }
        self.waiting_bytes += packet.bytes.len();
        self.waiting.push_back(Queued { arrived: now, delay, packet });
        self.ripen(now, medium);
    }

    /// A packet leaves for the other end, where it is at `release`.
    fn travel(&mut self, now: Instant, release: Instant, packet: Packet<T>) {
        let waits = release > now;
        // Without a rate whatever is under way counts, as in `tc-netem`.
        if waits
            && self.config.rate.is_none()
            && self.is_beyond_limit(self.queue.len(), self.queue_bytes, packet.bytes.len())
        {
            self.counters.overflowed += 1;
            return self.dropped(now, packet);
        }
        self.order += 1;
        let held = Held { release, order: self.order, packet };
        if waits {
            self.queue_bytes += held.packet.bytes.len();
            self.queue.push(ByRelease(held));
        } else {
            self.ready.push_back(held);
        }
    }

    fn is_beyond_limit(&self, packets: usize, bytes: usize, length: usize) -> bool {
        packets >= self.config.queue_packets
            || self.config.queue_bytes.is_some_and(|limit| bytes + length > limit)
    }

    /// Lets time pass until `now`: the rate limiter works, and packets whose time has come move to
    /// those that are ready.
    fn ripen(&mut self, now: Instant, medium: Medium) {
        self.serve(now, medium);
        while self.queue.peek().is_some_and(|next| next.0.release <= now) {
            let Some(ByRelease(held)) = self.queue.pop() else { return };
            self.queue_bytes -= held.packet.bytes.len();
            self.ready.push_back(held);
        }
    }

    /// The rate limiter takes packet after packet out of its queue, each when the one before has
    /// left; that is where the queue is managed (RFC 8289 3.2).
    fn serve(&mut self, now: Instant, medium: Medium) {
        while let Some(next) = self.waiting.front() {
            let start = self.busy_until.max(next.arrived);
            if start > now {
                return;
            }
            let Some(Queued { arrived, delay, mut packet }) = self.waiting.pop_front() else {
                return;
            };
            let length = packet.bytes.len();
            self.waiting_bytes -= length;
            if self.manage(start, start.since(arrived), medium, &mut packet) == Verdict::Drop {
                self.counters.managed += 1;
                self.dropped(start, packet);
                continue;
            }
            let takes = self.config.rate.map_or(0, |rate| {
                let nanos = length as u128 * 8 * 1_000_000_000 / u128::from(rate.get());
                u64::try_from(nanos).unwrap_or(u64::MAX)
            });
            self.busy_until = start.after(Duration::from_nanos(takes));
            self.busy_with = length;
            self.travel(start, self.busy_until.after(delay), packet);
        }
    }

    /// What queue management does to a packet that leaves the queue after `sojourn` in it. Marks
    /// it, where that is enough.
    fn manage(
        &mut self,
        now: Instant,
        sojourn: Duration,
        medium: Medium,
        packet: &mut Packet<T>,
    ) -> Verdict {
        let (verdict, marks) = match self.config.management {
            QueueManagement::DropTail => return Verdict::Pass,
            QueueManagement::Codel { target, interval, ecn } => {
                (self.codel.leaves(now, sojourn, self.waiting_bytes, (target, interval)), ecn)
            }
            QueueManagement::MarkAbove(packets) if self.waiting.len() >= packets => {
                let marked = mark_congestion(medium, &mut packet.bytes);
                self.counters.marked += u64::from(marked);
                return Verdict::Pass;
            }
            QueueManagement::MarkAbove(_) => return Verdict::Pass,
        };
        // RFC 8289 5.4 with RFC 3168 5: a mark does what a drop would, where the sender sees it.
        if verdict == Verdict::Drop && marks && mark_congestion(medium, &mut packet.bytes) {
            self.counters.marked += 1;
            return Verdict::Pass;
        }
        verdict
    }
}

/// Where the addresses start in an IPv6 packet: the first fields that the pseudo-header has
/// (RFC 8200 section 8.1).
const IPV6_ADDRESSES: usize = 8;

/// Flips one bit of the IP packet; `false` when there is none. A frame without a checksum of its
/// own (ARP) is left alone: on a real link the frame check sequence would have caught it. So are the
/// first fields of IPv6, which no checksum covers.
fn flip_a_bit(medium: Medium, frame: &mut [u8], which: u64) -> bool {
    let Some(layout) = split::locate(medium, frame) else { return false };
    let uncovered = if layout.source.is_ipv6() { IPV6_ADDRESSES } else { 0 };
    let packet = &mut frame[layout.ip.start + uncovered..layout.ip.end];
    let bits = packet.len() as u64 * 8;
    let Some(bit) = which.checked_rem(bits) else { return false };
    let Ok(byte) = usize::try_from(bit / 8) else { return false };
    packet[byte] ^= 1 << (bit % 8);
    true
}
