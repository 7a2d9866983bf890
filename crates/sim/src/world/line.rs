//! One direction of a link in a world: the impairments of [`link::impair`], and how they change.

use link::Impairment;
use link::impair::{Direction, Packet};
use wire::frame::Medium;
use wire::time::Instant;

/// Whose packet is on a line, and where it goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    /// The host that sent it.
    pub from: u8,
    /// The host that it is for.
    pub to: u8,
    /// How many lines of its route it has begun.
    pub hop: u8,
    /// The end of a connection that sent it: twice the flow's number, and one more for its server;
    /// `None` for what belongs to no flow.
    pub end: Option<u16>,
}

/// A line: its packets, and what will become of it.
#[derive(Debug)]
pub struct Line {
    direction: Direction<Tag>,
    /// What it becomes, and when; earliest first.
    changes: Vec<(Instant, Impairment)>,
    changed: usize,
    /// The largest packet that it takes, and from when on; earliest first.
    narrow: Vec<(Instant, u16)>,
}

impl Line {
    /// A line without any packet on it.
    #[must_use]
    pub fn new(
        impairment: Impairment,
        changes: Vec<(Instant, Impairment)>,
        narrow: Vec<(Instant, u16)>,
        seed: u64,
        number: usize,
    ) -> Self {
        let mut direction = Direction::new(impairment, seed, number as u64);
        direction.record_drops();
        Self { direction, changes, changed: 0, narrow }
    }

    /// The largest packet that it takes, in bytes, if it does not take all.
    #[must_use]
    pub fn mtu(&self, now: Instant) -> Option<u16> {
        let so_far = self.narrow.iter().take_while(|(from, _)| *from <= now);
        so_far.last().map(|(_, mtu)| *mtu)
    }

    /// The packets, their queue and what was done to them.
    pub fn direction(&mut self) -> &mut Direction<Tag> {
        &mut self.direction
    }

    /// The packet that reached the end of the line, if one did by now.
    pub fn arrived(&mut self, now: Instant) -> Option<Packet<Tag>> {
        self.direction.due(now, Medium::Ip)?;
        self.direction.pop(true)
    }

    /// A packet enters the line.
    pub fn take(&mut self, now: Instant, packet: Packet<Tag>) {
        self.direction.take(now, Medium::Ip, packet);
    }

    /// When something happens on it, or to it.
    #[must_use]
    pub fn next_time(&self) -> Option<Instant> {
        let change = self.changes.get(self.changed).map(|(at, _)| *at);
        self.direction.next_release().into_iter().chain(change).min()
    }

    /// Makes it what it is by now.
    pub fn change(&mut self, now: Instant) {
        while let Some((_, impairment)) =
            self.changes.get(self.changed).filter(|(at, _)| *at <= now)
        {
            self.direction.set(*impairment);
            self.changed += 1;
        }
    }

    /// From now on nothing is lost, repeated, reordered or damaged, and nothing changes.
    pub fn heal(&mut self) {
        self.changed = self.changes.len();
        self.direction.set(healed(*self.direction.impairment()));
    }
}

/// What is left of an impairment after healing: its delay, its rate and the longest packet that it takes,
/// as a path that takes less than others is not broken. Its queue takes everything: one that always drops what does not fit would never let a large packet through.
#[must_use]
pub fn healed(impairment: Impairment) -> Impairment {
    let Impairment { delay, rate, longest_packet, .. } = impairment;
    Impairment { delay, rate, longest_packet, queue_packets: usize::MAX, ..Impairment::default() }
}
