//! A queue that is short nearly always.
//!
//! One element waits in place; only a second one needs memory from the heap. A dialogue of requests
//! and answers has one buffer in a queue at a time, so it allocates nothing, and a queue that is
//! empty owns nothing.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// First in, first out; the first element in place.
#[derive(Clone, Debug)]
pub(crate) struct ShortQueue<T> {
    first: Option<T>,
    /// Those behind it. There while there was a second one since the queue was last empty.
    #[expect(clippy::box_collection, reason = "a pointer is all that a short one has for it")]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Default for ShortQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> ShortQueue<T> {
    /// An empty one. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self { first: None, rest: None }
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    pub(crate) fn back(&self) -> Option<&T> {
        self.rest.as_ref().and_then(|rest| rest.back()).or(self.first.as_ref())
    }

    pub(crate) fn back_mut(&mut self) -> Option<&mut T> {
        self.rest.as_mut().and_then(|rest| rest.back_mut()).or(self.first.as_mut())
    }

    pub(crate) fn push_back(&mut self, element: T) {
        if self.first.is_none() {
            self.first = Some(element);
        } else {
            self.rest.get_or_insert_default().push_back(element);
        }
    }

    /// The memory for further elements goes with the last one.
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let next = self.rest.as_mut().and_then(|rest| rest.pop_front());
        if next.is_none() {
            self.rest = None;
        }
        core::mem::replace(&mut self.first, next)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    /// The elements from the first on that `is_before` says no to; of those for which it says yes
    /// none may stand behind one for which it says no. O(log length).
    pub(crate) fn iter_from(&self, is_before: impl Fn(&T) -> bool) -> impl Iterator<Item = &T> {
        let start = self.rest.as_ref().map_or(0, |rest| rest.partition_point(&is_before));
        let first = self.first.iter().filter(move |element| !is_before(element));
        first.chain(self.rest.iter().flat_map(move |rest| rest.range(start..)))
    }

    /// How many bytes of the heap it has, elements' own aside.
    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        let rest = |rest: &VecDeque<T>| size_of::<VecDeque<T>>() + rest.capacity() * size_of::<T>();
        self.rest.as_deref().map_or(0, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_deque(steps in proptest::collection::vec(proptest::option::of(0..9_u32), 0..60)) {
            let (mut queue, mut model) = (ShortQueue::default(), VecDeque::new());
            let mut sum = 0;
            for step in steps {
                match step {
                    Some(n) => {
                        sum += n;
                        queue.push_back(sum);
                        model.push_back(sum);
                    }
                    None => prop_assert_eq!(queue.pop_front(), model.pop_front()),
                }
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                prop_assert_eq!(queue.front_mut().copied(), model.front().copied());
                prop_assert_eq!(queue.back(), model.back());
                prop_assert_eq!(queue.back_mut().copied(), model.back().copied());
                prop_assert!(queue.iter().eq(model.iter()));
                let middle = sum / 2;
                let from: Vec<u32> = model.iter().copied().filter(|n| *n >= middle).collect();
                prop_assert!(queue.iter_from(|n| *n < middle).eq(&from));
                prop_assert!(!model.is_empty() || queue.allocated() == 0);
            }
        }
    }

    #[test]
    fn one_element_needs_no_memory() {
        let mut queue = ShortQueue::default();
        for n in 0..100 {
            queue.push_back(n);
            assert_eq!((queue.allocated(), queue.pop_front()), (0, Some(n)));
        }
    }
}
