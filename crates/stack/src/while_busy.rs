//! State that is there only while there is something to do with it.
//!
//! Much of what a connection knows is of bytes that are under way: what is queued, in flight, behind
//! a hole, and the course of a repair. While nothing is under way it means nothing, and of a million
//! connections nearly all are idle at any moment. So it lies in a box of its own. The box is taken
//! from a [`Shelf`] when something happens, and put back when all is quiet: in the long run nothing is
//! allocated, and those that work share the few boxes that are warm in the processor's cache.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// How many boxes of a kind are kept for the next to need one.
const SHELF_LIMIT: usize = 256;

/// What can be put away while it is idle.
pub(crate) trait Work: Default + 'static {
    /// How it looks while there is nothing to do.
    fn idle() -> &'static Self;

    /// Whether there is nothing to do: whoever looks sees what [`Work::idle`] shows.
    fn is_idle(&self) -> bool;

    /// Forgets what nobody looks at while it is idle, so that the next to have it begins anew.
    fn tidy(&mut self);
}

/// A [`Work`], in a box while it is busy.
#[derive(Debug)]
pub(crate) struct WhileBusy<T>(Option<Box<T>>);

/// Boxes that wait to be used again.
#[derive(Debug)]
pub(crate) struct Shelf<T>(Vec<Box<T>>);

impl<T: Work> WhileBusy<T> {
    /// Idle. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// There may be something to do: a box from the shelf.
    ///
    /// Without this call the first change allocates one, which ends on the shelf as well.
    pub(crate) fn wake(&mut self, shelf: &mut Shelf<T>) {
        if self.0.is_none() {
            self.0 = Some(shelf.take());
        }
    }

    /// All may be quiet: if so, the box goes back.
    #[inline]
    pub(crate) fn rest(&mut self, shelf: &mut Shelf<T>) {
        if self.0.as_ref().is_some_and(|work| work.is_idle()) {
            self.put_away(shelf);
        }
    }

    fn put_away(&mut self, shelf: &mut Shelf<T>) {
        if let Some(mut work) = self.0.take() {
            work.tidy();
            shelf.put(work);
        }
    }

    /// Drops all that was to do.
    pub(crate) fn abandon(&mut self) {
        self.0 = None;
    }

    /// Whether it has its box.
    pub(crate) fn is_awake(&self) -> bool {
        self.0.is_some()
    }
}

impl<T: Work> Deref for WhileBusy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(work) => work,
            None => T::idle(),
        }
    }
}

impl<T: Work> DerefMut for WhileBusy<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Work> Shelf<T> {
    /// An empty one. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    fn take(&mut self) -> Box<T> {
        self.0.pop().unwrap_or_default()
    }

    fn put(&mut self, work: Box<T>) {
        if self.0.len() < SHELF_LIMIT {
            self.0.push(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum, and what was added last.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Sum {
        total: u32,
        last: u32,
    }

    impl Work for Sum {
        fn idle() -> &'static Self {
            static IDLE: Sum = Sum { total: 0, last: 0 };
            &IDLE
        }

        fn is_idle(&self) -> bool {
            self.total == 0
        }

        fn tidy(&mut self) {
            self.last = 0;
        }
    }

    #[test]
    fn what_is_idle_takes_a_pointer() {
        assert_eq!(size_of::<WhileBusy<Sum>>(), size_of::<usize>());
        let sum = WhileBusy::<Sum>::new();
        assert_eq!((sum.total, sum.is_awake()), (0, false));
    }

    #[test]
    fn a_box_goes_from_hand_to_hand_and_tells_nothing() {
        let mut shelf = Shelf::new();
        let (mut one, mut other) = (WhileBusy::<Sum>::new(), WhileBusy::<Sum>::new());
        one.wake(&mut shelf);
        let address = core::ptr::from_ref::<Sum>(&one);
        (one.total, one.last) = (7, 7);
        one.rest(&mut shelf);
        assert!(one.is_awake(), "it is busy");
        one.total = 0;
        one.rest(&mut shelf);
        assert!(!one.is_awake());
        other.wake(&mut shelf);
        assert_eq!((core::ptr::from_ref::<Sum>(&other), &*other), (address, Sum::idle()));
    }

    #[test]
    fn a_change_without_a_call_is_not_lost() {
        let mut shelf = Shelf::new();
        let mut sum = WhileBusy::<Sum>::new();
        sum.total += 1;
        assert_eq!((sum.total, sum.is_awake()), (1, true));
        sum.total -= 1;
        sum.rest(&mut shelf);
        assert_eq!(shelf.0.len(), 1);
    }

    #[test]
    fn a_wave_leaves_no_more_than_the_shelf_holds() {
        let mut shelf = Shelf::new();
        let mut sums: Vec<WhileBusy<Sum>> = (0..10_000).map(|_| WhileBusy::new()).collect();
        sums.iter_mut().for_each(|sum| sum.wake(&mut shelf));
        sums.iter_mut().for_each(|sum| sum.rest(&mut shelf));
        assert_eq!(shelf.0.len(), SHELF_LIMIT);
    }
}
