//! Which of several polls may lead a shard.
//!
//! A stack with one shard is led by whichever poll waits first, like by any other thread. Of several shards
//! each poll leads some: with as many polls as shards each has one, and none takes away what another one
//! is to find in its core's cache.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::shared::lock;

/// The polls with sockets on one shard.
#[derive(Debug)]
pub(crate) struct Seats {
    /// The number of the shard among several.
    shard: Option<usize>,
    taken: Mutex<Vec<Arc<Seat>>>,
}

/// What one poll has there.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    may_lead: AtomicBool,
}

impl Seats {
    pub(crate) fn new(shard: Option<usize>) -> Self {
        Self { shard, taken: Mutex::default() }
    }

    /// One more poll.
    pub(crate) fn take(&self) -> Arc<Seat> {
        let seat = Arc::default();
        let mut taken = lock(&self.taken);
        taken.push(Arc::clone(&seat));
        self.choose(&taken);
        seat
    }

    /// One less.
    pub(crate) fn give_back(&self, seat: &Arc<Seat>) {
        let mut taken = lock(&self.taken);
        taken.retain(|other| !Arc::ptr_eq(other, seat));
        self.choose(&taken);
    }

    fn choose(&self, taken: &[Arc<Seat>]) {
        for (number, seat) in taken.iter().enumerate() {
            let may_lead = self.shard.is_none_or(|shard| shard % taken.len() == number);
            seat.may_lead.store(may_lead, Ordering::Relaxed);
        }
    }
}

impl Seat {
    /// Whether its poll takes the lead when nobody has it.
    pub(crate) fn may_lead(&self) -> bool {
        self.may_lead.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_shards_are_shared_out_among_the_polls_that_there_are() {
        let shards: Vec<_> = (0..4).map(|number| Seats::new(Some(number))).collect();
        let take = || shards.iter().map(Seats::take).collect::<Vec<_>>();
        let led = |seats: &[Arc<Seat>]| seats.iter().filter(|seat| seat.may_lead()).count();
        let first = take();
        assert_eq!(led(&first), 4);
        let second = take();
        assert_eq!((led(&first), led(&second)), (2, 2));
        let others = [take(), take()];
        assert!([&first, &second, &others[0], &others[1]].iter().all(|seats| led(seats) == 1));
        shards.iter().zip(&first).for_each(|(shard, seat)| shard.give_back(seat));
        assert_eq!(led(&second) + led(&others[0]) + led(&others[1]), 4);
    }

    #[test]
    fn one_shard_is_for_whoever_comes_first() {
        let shard = Seats::new(None);
        assert!([shard.take(), shard.take()].iter().all(|seat| seat.may_lead()));
    }
}
