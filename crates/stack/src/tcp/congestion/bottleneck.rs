//! A sender, one bottleneck with a queue and a peer that acknowledges each packet, in virtual time:
//! a controller's curve without the rest of TCP around it.
//!
//! A lost packet is noticed when three later ones have arrived, and what is sent instead counts as
//! new; a sender that hears nothing times out. Rates are measured as in the BBR draft 4.1.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use wire::time::{Duration, Instant};

use super::*;

/// Payload of each packet, in bytes.
pub(super) const MSS: u64 = 1_000;
/// How many packets must arrive behind a missing one to have it taken for lost.
const REORDERING: u64 = 3;
const TIMEOUT: Duration = Duration::from_secs(1);

/// The path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// Bytes a second.
    pub(super) rate: u64,
    /// The round-trip time with an empty queue.
    pub(super) rtt: Duration,
    /// Bytes that the queue holds.
    pub(super) queue: u64,
    /// One packet in so many is lost by chance; 0 is none.
    pub(super) loss_one_in: u64,
}

/// What was so at some moment; taken at each ACK.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) now: Instant,
    pub(super) window: u64,
    pub(super) phase: Phase,
    /// What the queue makes a packet wait that comes now.
    pub(super) waiting: Duration,
    pub(super) delivered: u64,
    /// Packets dropped so far.
    pub(super) dropped: u64,
}

/// What a packet's ACK is compared with (P of the BBR draft 4.1.2).
#[derive(Clone, Copy, Debug)]
struct Flying {
    sent: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    lost: u64,
    flight: u64,
}

/// The world of one connection.
#[derive(Debug)]
pub(super) struct World<C> {
    pub(super) controller: C,
    pub(super) path: Path,
    pub(super) now: Instant,
    pub(super) points: Vec<Point>,
    dropped: u64,
    /// When the bottleneck has sent all that it holds.
    busy_until: Instant,
    flying: BTreeMap<u64, Flying>,
    /// ACKs on their way, in order: when each arrives, and for which packet.
    acks: VecDeque<(Instant, u64)>,
    next: u64,
    next_send: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    lost: u64,
    /// The number of packets sent when the round began.
    round_end: u64,
    recovery_end: Option<u64>,
    heard: Instant,
    smoothed: Option<Duration>,
    min_rtt: Duration,
    chance: u64,
}

impl<C: Controller> World<C> {
    pub(super) fn new(controller: C, path: Path) -> Self {
        let mut world = Self {
            controller,
            path,
            now: Instant::from_millis(1_000_000),
            points: Vec::new(),
            dropped: 0,
            busy_until: Instant::ZERO,
            flying: BTreeMap::new(),
            acks: VecDeque::new(),
            next: 0,
            next_send: Instant::ZERO,
            delivered: 0,
            delivered_at: Instant::ZERO,
            first_sent: Instant::ZERO,
            lost: 0,
            round_end: 0,
            recovery_end: None,
            heard: Instant::ZERO,
            smoothed: None,
            min_rtt: Duration::MAX,
            chance: 1,
        };
        world.heard = world.now;
        world.controller.on_established(world.now, Some(path.rtt), true);
        world
    }

    /// Lets `time` pass with a program that always has data.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            let send = self.can_send().then(|| self.next_send.max(self.now));
            let ack = self.acks.front().map(|(at, _)| *at);
            let timeout = self.heard.after(TIMEOUT);
            let next = [send, ack, Some(timeout)].into_iter().flatten().min().unwrap();
            if next > end {
                break;
            }
            self.now = next;
            if ack == Some(next) {
                let (_, packet) = self.acks.pop_front().unwrap();
                self.acknowledge(packet);
            } else if send == Some(next) {
                self.send();
            } else {
                self.time_out();
            }
        }
        self.now = end;
    }

    /// Nothing happens for `time` but the ACKs of what is in flight, and then sending begins again.
    pub(super) fn idle(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some((at, packet)) = self.acks.pop_front() {
            self.now = self.now.max(at);
            self.acknowledge(packet);
        }
        self.now = self.now.max(end);
        self.heard = self.now;
        self.controller.on_restart(self.now);
    }

    /// Bytes a second that arrived in the last `time`.
    pub(super) fn goodput(&self, time: Duration) -> u64 {
        let from = Instant::from_nanos(self.now.as_nanos() - time.as_nanos() as u64);
        let before = self.points.iter().rev().find(|p| p.now <= from).map_or(0, |p| p.delivered);
        mul_div(self.delivered - before, 1_000_000_000, time.as_nanos() as u64)
    }

    pub(super) fn last(&self) -> Point {
        *self.points.last().unwrap()
    }

    fn flight(&self) -> u64 {
        self.flying.len() as u64 * MSS
    }

    fn can_send(&self) -> bool {
        self.flight() + MSS <= self.controller.window()
    }

    fn send(&mut self) {
        if self.flying.is_empty() {
            self.first_sent = self.now;
            self.delivered_at = self.now;
        }
        let flying = Flying {
            sent: self.now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            lost: self.lost,
            flight: self.flight() + MSS,
        };
        self.flying.insert(self.next, flying);
        self.enqueue();
        self.next += 1;
        if let Some(rate) = self.controller.pacing_rate() {
            let gap = Duration::from_nanos(mul_div(MSS, 1_000_000_000, rate.max(1)));
            self.next_send = self.next_send.max(self.now).after(gap);
        }
        self.controller.on_sent(self.now, MSS, self.flight());
    }

    /// The packet is dropped, by chance or for want of room, or its ACK will come.
    fn enqueue(&mut self) {
        let waiting = self.busy_until.since(self.now);
        let held = mul_div(waiting.as_nanos() as u64, self.path.rate, 1_000_000_000);
        if held + MSS > self.path.queue || self.unlucky() {
            self.dropped += 1;
            return;
        }
        let sending = Duration::from_nanos(mul_div(MSS, 1_000_000_000, self.path.rate));
        self.busy_until = self.busy_until.max(self.now).after(sending);
        self.acks.push_back((self.busy_until.after(self.path.rtt), self.next));
    }

    fn unlucky(&mut self) -> bool {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.path.loss_one_in > 0 && (self.chance >> 33).is_multiple_of(self.path.loss_one_in)
    }

    fn acknowledge(&mut self, packet: u64) {
        self.heard = self.now;
        // What was taken for lost and was none is not counted.
        let Some(flying) = self.flying.remove(&packet) else { return };
        let flight_before = self.flight() + MSS;
        self.delivered += MSS;
        self.delivered_at = self.now;
        let newly_lost = self.find_lost(packet);
        let rtt = self.now.since(flying.sent);
        self.min_rtt = self.min_rtt.min(rtt);
        self.smoothed = Some(self.smoothed.map_or(rtt, |s| (s * 7 + rtt) / 8));
        let interval = self.now.since(flying.delivered_at);
        let interval = interval.max(flying.sent.since(flying.first_sent));
        self.first_sent = flying.sent;
        let round_start = packet >= self.round_end;
        if round_start {
            self.round_end = self.next;
        }
        let recovered = self.recovery_end.is_some_and(|end| packet >= end);
        self.controller.on_ack(&AckSample {
            now: self.now,
            acked: MSS,
            flight_before,
            flight: self.flight(),
            newly_lost,
            rtt: Some(rtt),
            smoothed_rtt: self.smoothed,
            min_rtt: Some(self.min_rtt),
            in_recovery: self.recovery_end.is_some() && !recovered,
            round_start,
            delivery: Some(DeliverySample {
                delivered_total: self.delivered,
                delivered_when_sent: flying.delivered,
                interval,
                lost: self.lost - flying.lost,
                flight_when_sent: flying.flight,
                application_limited: false,
            }),
            ..AckSample::default()
        });
        if recovered {
            self.recovery_end = None;
            self.controller.on_recovered(self.now, self.flight());
        }
        self.note();
    }

    /// Takes for lost what is missing behind `packet`, and tells the controller.
    fn find_lost(&mut self, packet: u64) -> u64 {
        let edge = packet.saturating_sub(REORDERING - 1);
        let lost: Vec<u64> = self.flying.range(..edge).map(|(number, _)| *number).collect();
        for number in &lost {
            let flying = self.flying.remove(number).unwrap();
            self.lost += MSS;
            self.controller.on_lost(&LossSample {
                now: self.now,
                bytes: MSS,
                flight_when_sent: flying.flight,
                delivered_when_sent: flying.delivered,
                lost_since_sent: self.lost - flying.lost,
                application_limited: false,
            });
        }
        if !lost.is_empty() && self.recovery_end.is_none() {
            self.recovery_end = Some(self.next);
            let flight = self.flight() + lost.len() as u64 * MSS;
            self.controller.on_congestion(self.now, CongestionCause::Loss, flight);
        }
        lost.len() as u64 * MSS
    }

    fn time_out(&mut self) {
        let flight = self.flight();
        self.lost += flight;
        self.flying.clear();
        self.recovery_end = None;
        self.heard = self.now;
        self.controller.on_congestion(self.now, CongestionCause::Timeout, flight);
    }

    fn note(&mut self) {
        self.points.push(Point {
            now: self.now,
            window: self.controller.window(),
            phase: self.controller.phase(),
            waiting: self.busy_until.since(self.now),
            delivered: self.delivered,
            dropped: self.dropped,
        });
    }
}
