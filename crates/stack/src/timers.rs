//! Timers: a hierarchical timing wheel.
//!
//! A connection arms and disarms its retransmission timer with almost every segment, and hardly
//! ever lets it fire. So arming and disarming are O(1) here whatever the number of timers, and
//! the work of ordering them is left for those that live to see their turn.
//!
//! Time is cut into ticks of 2^10 ns. Level 0 has one slot for each tick of the 64 that share the
//! current tick's higher digits (base 64), level 1 one slot for each run of 64 ticks, and so on:
//! nine levels hold all of the 64 bits of an [`Instant`], so no deadline is too far away. A timer
//! waits in the level of the highest digit in which its tick differs from the current one, and
//! cascades into a lower level when time reaches its slot: at most eight times in its life. A
//! bitmap of the occupied slots lets time jump by days in one step.
//!
//! Deadlines are exact nanoseconds nevertheless: the slot of the current tick is sorted before
//! its timers fire, so a timer is never early, and not a tick late either.
//!
//! Timers live in a slab that grows to the largest number armed at one time; once it has grown,
//! nothing here allocates. A slab that was large goes when no timer is armed any more.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use wire::time::Instant;

/// A tick lasts 2^10 nanoseconds, about a microsecond.
const TICK_BITS: u32 = 10;
/// A digit of a tick's number has 6 bits: the 64 slots of a level fill one bitmap word.
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Nine digits of 6 bits are the 54 bits that a tick's number has.
const LEVELS: usize = 9;
/// A slab with room for no more than this many timers is not worth giving back.
const SMALL_SLAB: usize = 1024;
/// How many timers [`Wheel::next_deadline`] looks at before it is content with a bound.
const CROWD: usize = 16;

/// A timer that is armed. The owner keeps it, and forgets it when the timer fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerId(NonZeroU32);

impl TimerId {
    /// Where the timer is in the slab; ids count from one.
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// All timers of a stack, each with the `T` that it belongs to.
pub(crate) struct Wheel<T> {
    /// Every timer that ever was armed at the same time as the others: armed or free.
    slab: Vec<Entry<T>>,
    /// The first free entry of the slab; the others follow by `next`.
    free: Option<TimerId>,
    /// How many timers are armed.
    armed: usize,
    /// The tick that time has reached. No armed timer is in an earlier slot: one whose deadline
    /// has passed already is put into the slot of this tick.
    current: u64,
    /// Whether the slot of the current tick is sorted by deadline. Its first timer is the
    /// earliest even while it is not.
    current_is_sorted: bool,
    /// For each level, which of its slots hold timers.
    occupied: [u64; LEVELS],
    /// The timers of each slot, level by level.
    slots: [List; LEVELS * SLOTS],
}

struct Entry<T> {
    /// When the timer fires.
    deadline: Instant,
    /// Whom it belongs to.
    owner: T,
    /// The next timer of the same slot, or the next free entry.
    next: Option<TimerId>,
    /// The timer before it in the same slot.
    previous: Option<TimerId>,
    /// The slot it is in, as an index of `slots`.
    place: u16,
}

/// A doubly linked list through the slab.
#[derive(Clone, Copy, Default)]
struct List {
    first: Option<TimerId>,
    last: Option<TimerId>,
}

/// The earliest slot with a timer in it.
struct Earliest {
    level: usize,
    /// Its index in `slots`.
    place: usize,
    /// The first tick that it stands for; the current one at the earliest.
    start: u64,
}

impl<T: Copy> Wheel<T> {
    /// A wheel without timers, at the epoch. Allocates nothing.
    pub(crate) fn new() -> Self {
        Self {
            slab: Vec::new(),
            free: None,
            armed: 0,
            current: 0,
            current_is_sorted: true,
            occupied: [0; LEVELS],
            slots: [List::default(); LEVELS * SLOTS],
        }
    }

    /// Arms a timer, or moves the one in `slot` to a new deadline (and owner).
    ///
    /// A deadline that has passed already fires with the next [`Wheel::expire`].
    pub(crate) fn arm(&mut self, slot: &mut Option<TimerId>, deadline: Instant, owner: T) {
        let id = match *slot {
            Some(id) => {
                self.unlink(id);
                let entry = self.entry_mut(id);
                entry.deadline = deadline;
                entry.owner = owner;
                id
            }
            None => self.allocate(deadline, owner),
        };
        self.link(id);
        *slot = Some(id);
    }

    /// Disarms the timer in `slot`, if there is one.
    pub(crate) fn disarm(&mut self, slot: &mut Option<TimerId>) {
        if let Some(id) = slot.take() {
            self.unlink(id);
            self.release(id);
        }
    }

    /// Removes the earliest timer whose deadline is not after `now`, and gives its owner and its
    /// deadline. Timers with the same deadline come in the order in which they were armed.
    ///
    /// The owner must forget its [`TimerId`]: the next timer that somebody arms may get it.
    ///
    /// After `None`, [`Wheel::next_deadline`] is later than `now`, so a driver that waits for it
    /// makes progress. Time does not run backward: a `now` before an earlier one finds only what
    /// was overdue by then.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(T, Instant)> {
        let now_tick = tick_of(now).max(self.current);
        loop {
            let Some(Earliest { level, place, start }) =
                self.earliest().filter(|e| e.start <= now_tick)
            else {
                self.advance_to(now_tick);
                return None;
            };
            self.advance_to(start);
            if level > 0 {
                self.cascade(level, place);
                continue;
            }
            self.sort_current();
            let id = self.slots[place].first?;
            let Entry { owner, deadline, .. } = *self.entry(id);
            if deadline > now {
                return None;
            }
            self.unlink(id);
            self.release(id);
            return Some((owner, deadline));
        }
    }

    /// When [`Wheel::expire`] should be called next.
    ///
    /// This is the earliest deadline, unless that lies beyond the current tick in a slot with
    /// more than 16 timers: then it is the start of that slot, which is never later, and calling
    /// `expire` at that time brings the answer nearer to the deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let Earliest { level, place, start } = self.earliest()?;
        let mut next = self.slots[place].first;
        if level == 0 && start == self.current {
            return next.map(|id| self.entry(id).deadline);
        }
        let mut earliest = Instant::FAR_FUTURE;
        for _ in 0..CROWD {
            let Some(id) = next else {
                return Some(earliest);
            };
            let entry = self.entry(id);
            earliest = earliest.min(entry.deadline);
            next = entry.next;
        }
        Some(if next.is_none() { earliest } else { Instant::from_nanos(start << TICK_BITS) })
    }

    /// How many timers are armed.
    #[cfg_attr(not(test), allow(dead_code, reason = "for counters"))]
    pub(crate) fn len(&self) -> usize {
        self.armed
    }

    /// The lowest slot of the lowest occupied level. A level holds only what lies beyond the
    /// levels below it, so nothing is earlier.
    fn earliest(&self) -> Option<Earliest> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let digit = self.occupied[level].trailing_zeros();
        let shift = level as u32 * DIGIT_BITS;
        let above = self.current >> shift >> DIGIT_BITS << DIGIT_BITS << shift;
        let start = above | u64::from(digit) << shift;
        Some(Earliest { level, place: level * SLOTS + digit as usize, start })
    }

    /// Moves on to `tick`; no slot before it may hold a timer.
    fn advance_to(&mut self, tick: u64) {
        if tick != self.current {
            self.current = tick;
            self.current_is_sorted = false;
        }
    }

    /// Spreads a slot whose time has come over the levels below, in order.
    fn cascade(&mut self, level: usize, place: usize) {
        let mut next = core::mem::take(&mut self.slots[place]).first;
        self.occupied[level] &= !(1 << (place % SLOTS));
        while let Some(id) = next {
            next = self.entry(id).next;
            self.link(id);
        }
    }

    /// The slot in which a timer for `deadline` waits.
    fn place_of(&self, deadline: Instant) -> usize {
        let tick = tick_of(deadline).max(self.current);
        let level = (tick ^ self.current).checked_ilog2().unwrap_or(0) / DIGIT_BITS;
        let digit = tick >> (level * DIGIT_BITS) & (SLOTS as u64 - 1);
        level as usize * SLOTS + digit as usize
    }

    /// The slot of the current tick.
    fn current_place(&self) -> usize {
        self.current as usize % SLOTS
    }

    /// Puts a timer that is in no list into the slot of its deadline: at the end, or in the
    /// current tick's slot at the front when it is the earliest there.
    fn link(&mut self, id: TimerId) {
        let deadline = self.entry(id).deadline;
        let place = self.place_of(deadline);
        let List { first, last } = self.slots[place];
        let (mut previous, mut next) = (last, None);
        if place == self.current_place() {
            if first.is_some_and(|first| deadline < self.entry(first).deadline) {
                (previous, next) = (None, first);
            } else if last.is_some_and(|last| deadline < self.entry(last).deadline) {
                self.current_is_sorted = false;
            }
        }
        let entry = self.entry_mut(id);
        // Less than 9 * 64, so it fits.
        entry.place = place as u16;
        (entry.previous, entry.next) = (previous, next);
        self.set_next(place, previous, Some(id));
        self.set_previous(place, next, Some(id));
        self.occupied[place / SLOTS] |= 1 << (place % SLOTS);
    }

    /// Takes a timer out of its slot's list.
    fn unlink(&mut self, id: TimerId) {
        let place = usize::from(self.entry(id).place);
        if place == self.current_place() && self.slots[place].first == Some(id) {
            // Its successor becomes the first, so it must be the next earliest.
            self.sort_current();
        }
        let Entry { previous, next, .. } = *self.entry(id);
        self.set_next(place, previous, next);
        self.set_previous(place, next, previous);
        if self.slots[place].first.is_none() {
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        }
    }

    /// Makes `next` the successor of `id`, or the first of the list.
    fn set_next(&mut self, place: usize, id: Option<TimerId>, next: Option<TimerId>) {
        match id {
            Some(id) => self.entry_mut(id).next = next,
            None => self.slots[place].first = next,
        }
    }

    /// Makes `previous` the predecessor of `id`, or the last of the list.
    fn set_previous(&mut self, place: usize, id: Option<TimerId>, previous: Option<TimerId>) {
        match id {
            Some(id) => self.entry_mut(id).previous = previous,
            None => self.slots[place].last = previous,
        }
    }

    /// An entry for a new timer.
    fn allocate(&mut self, deadline: Instant, owner: T) -> TimerId {
        self.armed += 1;
        let entry = Entry { deadline, owner, next: None, previous: None, place: 0 };
        if let Some(id) = self.free {
            self.free = core::mem::replace(self.entry_mut(id), entry).next;
            return id;
        }
        self.slab.push(entry);
        u32::try_from(self.slab.len())
            .ok()
            .and_then(NonZeroU32::new)
            .map(TimerId)
            .expect("2^32 timers would take 128 GiB")
    }

    fn release(&mut self, id: TimerId) {
        self.armed -= 1;
        if self.armed == 0 && self.slab.capacity() > SMALL_SLAB {
            (self.slab, self.free) = (Vec::new(), None);
            return;
        }
        self.entry_mut(id).next = self.free;
        self.free = Some(id);
    }

    fn entry(&self, id: TimerId) -> &Entry<T> {
        &self.slab[id.index()]
    }

    fn entry_mut(&mut self, id: TimerId) -> &mut Entry<T> {
        &mut self.slab[id.index()]
    }
}

/// Sorting the slot of the current tick: a merge sort over the links, because it is stable and
/// needs no memory.
impl<T: Copy> Wheel<T> {
    /// Sorts the slot of the current tick by deadline, if it is not sorted yet.
    fn sort_current(&mut self) {
        if core::mem::replace(&mut self.current_is_sorted, true) {
            return;
        }
        let place = self.current_place();
        let first = self.slots[place].first;
        if self.is_sorted(first) {
            return;
        }
        // `runs[n]` is a sorted run of 2^n timers, as in a binary counter; a higher one is older.
        let mut runs: [Option<TimerId>; 32] = [None; 32];
        let mut next = first;
        while let Some(id) = next {
            next = self.entry_mut(id).next.take();
            let mut run = Some(id);
            for place in &mut runs {
                match place.take() {
                    Some(older) => run = self.merge(Some(older), run),
                    None => {
                        *place = run;
                        break;
                    }
                }
            }
        }
        let sorted = runs.into_iter().fold(None, |newer, older| self.merge(older, newer));
        self.relink(place, sorted);
    }

    fn is_sorted(&self, first: Option<TimerId>) -> bool {
        let mut latest = Instant::ZERO;
        let mut next = first;
        while let Some(id) = next {
            let entry = self.entry(id);
            if entry.deadline < latest {
                return false;
            }
            latest = entry.deadline;
            next = entry.next;
        }
        true
    }

    /// Merges two sorted runs; where deadlines are equal the older timers go first.
    fn merge(&mut self, older: Option<TimerId>, newer: Option<TimerId>) -> Option<TimerId> {
        let (Some(mut a), Some(mut b)) = (older, newer) else {
            return older.or(newer);
        };
        let newer_first = |wheel: &Self, a, b| wheel.entry(b).deadline < wheel.entry(a).deadline;
        let first = if newer_first(self, a, b) { b } else { a };
        loop {
            // The smaller head's run goes on up to the last timer that still comes before the
            // other head; there the two runs change places.
            let from_newer = newer_first(self, a, b);
            let taken = if from_newer { b } else { a };
            let rest = self.entry(taken).next;
            let other = if from_newer { a } else { b };
            let Some(head) = rest else {
                self.entry_mut(taken).next = Some(other);
                return Some(first);
            };
            if from_newer {
                b = head;
            } else {
                a = head;
            }
            if newer_first(self, a, b) != from_newer {
                self.entry_mut(taken).next = Some(other);
            }
        }
    }

    /// Makes the chain that begins with `first` the list of a slot.
    fn relink(&mut self, place: usize, first: Option<TimerId>) {
        let mut previous = None;
        let mut next = first;
        while let Some(id) = next {
            let entry = self.entry_mut(id);
            entry.previous = previous;
            previous = Some(id);
            next = entry.next;
        }
        self.slots[place] = List { first, last: previous };
    }
}

impl<T> fmt::Debug for Wheel<T> {
    /// How many timers are armed, and not all the slots.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("armed", &self.armed).finish_non_exhaustive()
    }
}

/// The tick that a moment lies in.
fn tick_of(moment: Instant) -> u64 {
    moment.as_nanos() >> TICK_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn an_optional_id_takes_four_bytes() {
        assert_eq!(size_of::<Option<TimerId>>(), 4);
        assert!(size_of::<Entry<u64>>() <= 32);
    }

    #[test]
    fn a_wave_of_timers_leaves_no_memory_behind() {
        let mut wheel = Wheel::new();
        let mut slots = alloc::vec![None; 100_000];
        for (n, slot) in (0_u64..).zip(&mut slots) {
            wheel.arm(slot, at(n * 1000), n);
        }
        for slot in &mut slots {
            wheel.disarm(slot);
        }
        assert_eq!((wheel.len(), wheel.slab.capacity()), (0, 0));
        wheel.arm(&mut slots[0], at(5), 5);
        assert_eq!(wheel.expire(at(5)), Some((5, at(5))));
    }

    #[test]
    fn a_timer_fires_at_its_nanosecond() {
        let mut wheel = Wheel::new();
        let mut slot = None;
        wheel.arm(&mut slot, at(1_000_000_007), 'a');
        assert_eq!(wheel.next_deadline(), Some(at(1_000_000_007)));
        assert_eq!(wheel.expire(at(1_000_000_006)), None);
        assert_eq!(wheel.expire(at(1_000_000_007)), Some(('a', at(1_000_000_007))));
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
    }

    #[test]
    fn the_end_of_time_is_a_deadline_too() {
        let mut wheel = Wheel::new();
        wheel.arm(&mut None, Instant::FAR_FUTURE, ());
        assert_eq!(wheel.expire(at(u64::MAX - 2)), None);
        assert_eq!(wheel.expire(Instant::FAR_FUTURE), Some(((), Instant::FAR_FUTURE)));
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_once_and_first() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.expire(at(5_000_000)), None);
        wheel.arm(&mut None, at(5_000_001), 'b');
        wheel.arm(&mut None, at(3), 'a');
        assert_eq!(wheel.next_deadline(), Some(at(3)));
        assert_eq!(wheel.expire(at(5_000_000)), Some(('a', at(3))));
        assert_eq!(wheel.expire(at(5_000_000)), None);
    }

    #[test]
    fn a_crowd_of_the_same_tick_fires_in_order_of_deadline_then_arming() {
        let mut wheel = Wheel::new();
        let mut expected = Vec::new();
        for order in 0..1000_u64 {
            let deadline = at(1_000_000 + order * 7919 % 500);
            wheel.arm(&mut None, deadline, order);
            expected.push((order, deadline));
        }
        expected.sort_by_key(|(_, deadline)| *deadline);
        let fired: Vec<_> = core::iter::from_fn(|| wheel.expire(at(2_000_000))).collect();
        assert_eq!(fired, expected);
    }

    #[test]
    fn a_million_timers_come_and_go_quickly() {
        const COUNT: u32 = 1_000_000;
        let mut wheel = Wheel::new();
        let mut slots = alloc::vec![None; COUNT as usize];
        let hour = 3_600_000_000_000;
        for round in 1..=3 {
            for (owner, slot) in (0..COUNT).zip(&mut slots) {
                let deadline = u64::from(owner.wrapping_mul(2_654_435_761)) * 800 * round % hour;
                wheel.arm(slot, at(deadline), owner);
            }
        }
        assert_eq!((wheel.len(), wheel.slab.len()), (COUNT as usize, COUNT as usize));
        slots.iter_mut().step_by(2).for_each(|slot| wheel.disarm(slot));
        let mut latest = Instant::ZERO;
        let mut fired = 0;
        while let Some((owner, deadline)) = wheel.expire(at(hour)) {
            assert!(deadline >= latest && owner % 2 == 1);
            latest = deadline;
            fired += 1;
        }
        assert_eq!((fired, wheel.len()), (COUNT / 2, 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm { timer: usize, delay: i64 },
        Disarm { timer: usize },
        Jump { by: u64, budget: usize },
        JumpToNext,
    }

    /// Delays and jumps of every order of magnitude, from the nanosecond to beyond a century.
    fn magnitude() -> impl Strategy<Value = u64> {
        (0_u32..62, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1))
    }

    fn step(timers: usize) -> impl Strategy<Value = Step> {
        let delay = prop_oneof![
            4 => magnitude().prop_map(u64::cast_signed),
            1 => -5_000..5_000_i64,
        ];
        prop_oneof![
            8 => (0..timers, delay).prop_map(|(timer, delay)| Step::Arm { timer, delay }),
            2 => (0..timers).prop_map(|timer| Step::Disarm { timer }),
            2 => (magnitude(), 0_usize..8).prop_map(|(by, budget)| Step::Jump { by, budget }),
            2 => Just(Step::JumpToNext),
        ]
    }

    /// The wheel beside a map that is ordered by deadline and then by the order of arming.
    struct Twins {
        wheel: Wheel<usize>,
        ids: Vec<Option<TimerId>>,
        model: BTreeMap<(Instant, u64), usize>,
        keys: Vec<Option<(Instant, u64)>>,
        armings: u64,
        now: Instant,
    }

    impl Twins {
        fn new(timers: usize) -> Self {
            Self {
                wheel: Wheel::new(),
                ids: alloc::vec![None; timers],
                model: BTreeMap::new(),
                keys: alloc::vec![None; timers],
                armings: 0,
                now: Instant::ZERO,
            }
        }

        fn take(&mut self, step: &Step) {
            match *step {
                Step::Arm { timer, delay } => {
                    let deadline = at(self.now.as_nanos().saturating_add_signed(delay));
                    self.wheel.arm(&mut self.ids[timer], deadline, timer);
                    self.armings += 1;
                    let key = (deadline, self.armings);
                    if let Some(old) = self.keys[timer].replace(key) {
                        self.model.remove(&old);
                    }
                    self.model.insert(key, timer);
                }
                Step::Disarm { timer } => {
                    self.wheel.disarm(&mut self.ids[timer]);
                    if let Some(old) = self.keys[timer].take() {
                        self.model.remove(&old);
                    }
                }
                Step::Jump { by, budget } => {
                    self.now = at(self.now.as_nanos().saturating_add(by));
                    self.expire(budget);
                }
                Step::JumpToNext => {
                    let next = self.wheel.next_deadline().unwrap_or(self.now);
                    self.now = self.now.max(next);
                    self.expire(usize::MAX);
                }
            }
        }

        fn expire(&mut self, budget: usize) {
            for _ in 0..budget {
                let due = self.model.first_entry().filter(|entry| entry.key().0 <= self.now);
                let expected = due.map(|entry| entry.remove_entry()).map(|((at, _), t)| (t, at));
                let fired = self.wheel.expire(self.now);
                assert_eq!(fired, expected);
                let Some((timer, _)) = fired else {
                    assert!(self.wheel.next_deadline().is_none_or(|next| next > self.now));
                    return;
                };
                self.ids[timer] = None;
                self.keys[timer] = None;
            }
        }

        fn check(&self) {
            assert_eq!(self.wheel.len(), self.model.len());
            let earliest = self.model.keys().next().map(|(deadline, _)| *deadline);
            let answer = self.wheel.next_deadline();
            if self.model.len() <= CROWD {
                assert_eq!(answer, earliest);
            } else {
                assert!(answer <= earliest && answer.is_some());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn fires_the_same_timers_at_the_same_times_as_an_ordered_map(
            steps in proptest::collection::vec(step(12), 1..200),
        ) {
            let mut twins = Twins::new(12);
            for step in &steps {
                twins.take(step);
                twins.check();
            }
        }

        #[test]
        fn agrees_with_an_ordered_map_when_slots_are_crowded(
            steps in proptest::collection::vec(step(200), 200..800),
        ) {
            let mut twins = Twins::new(200);
            for step in &steps {
                twins.take(step);
                twins.check();
            }
            twins.now = Instant::FAR_FUTURE;
            twins.expire(usize::MAX);
            prop_assert_eq!(twins.wheel.len(), 0);
        }
    }
}
