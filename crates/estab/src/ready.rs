//! The list of the sockets that something happened to, from which a [poll](crate::blocking::poll) takes
//! them.
//!
//! Each registration has a slot. A slot is in the queue at most once, however much happens, and the queue
//! has room for all of them: telling a poll of something allocates nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use stack::Ready;

use crate::poller::Poller;
use crate::shared::lock;

/// What happened, for one poll.
#[derive(Debug)]
pub(crate) struct ReadyList {
    state: Mutex<State>,
    /// What the poll sleeps on, unless it leads.
    own: Poller,
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<Slot>,
    /// The slots that something happened to, in the order in which it did.
    queue: VecDeque<usize>,
    /// Slots without a user.
    free: Vec<usize>,
    sleep: Sleep,
    /// There is no poll any more.
    closed: bool,
}

/// One registration.
#[derive(Debug)]
struct Slot {
    token: usize,
    /// What is to be told.
    interest: Ready,
    /// What happened.
    ready: Ready,
    queued: bool,
    /// How many [`Watch`]es there are: a socket has one on each shard. Without any it is free.
    users: usize,
}

/// Where the thread is that polls.
#[derive(Debug, Default)]
enum Sleep {
    /// Not asleep: it looks before it sleeps.
    #[default]
    Awake,
    /// On its own descriptors.
    Own,
    /// On the links of the stack that it leads.
    Leading(Arc<Poller>),
}

impl ReadyList {
    pub(crate) fn new(own: Poller) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), own })
    }

    /// What the poll sleeps on, unless it leads.
    pub(crate) fn own(&self) -> &Poller {
        &self.own
    }

    /// Takes what happened, the oldest first, until `f` has enough.
    pub(crate) fn take(&self, mut room: usize, mut f: impl FnMut(usize, Ready)) {
        let state = &mut *lock(&self.state);
        while room > 0
            && let Some(index) = state.queue.pop_front()
        {
            let slot = &mut state.slots[index];
            slot.queued = false;
            if slot.users == 0 {
                state.free.push(index);
                continue;
            }
            let ready = std::mem::take(&mut slot.ready);
            if !ready.is_empty() {
                f(slot.token, ready);
                room -= 1;
            }
        }
    }

    /// Whether something happened that was not taken.
    pub(crate) fn has_some(&self) -> bool {
        !lock(&self.state).queue.is_empty()
    }

    /// Goes to sleep: on what it leads, or on its own descriptors. False when it may not, because
    /// something happened.
    pub(crate) fn enter(&self, leading: Option<&Arc<Poller>>) -> bool {
        let mut state = lock(&self.state);
        let sleeps = state.queue.is_empty();
        if sleeps {
            state.sleep = leading.map_or(Sleep::Own, |poller| Sleep::Leading(Arc::clone(poller)));
        }
        sleeps
    }

    /// Sleeps no more.
    pub(crate) fn leave(&self) {
        lock(&self.state).sleep = Sleep::Awake;
    }

    /// Wakes who sleeps, so that it looks what else there is to wait for.
    pub(crate) fn rouse(&self) {
        let sleep = std::mem::take(&mut lock(&self.state).sleep);
        self.kick(sleep);
    }

    /// Nobody polls any more.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        *state = State { closed: true, ..State::default() };
    }

    /// True when somebody slept.
    fn kick(&self, sleep: Sleep) -> bool {
        match sleep {
            Sleep::Awake => return false,
            Sleep::Own => self.own.kick(),
            Sleep::Leading(poller) => poller.kick(),
        }
        true
    }
}

/// The place of one socket, or of its part on one shard, in a poll's list; gives it up when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    list: Arc<ReadyList>,
    slot: usize,
}

impl Watch {
    /// Takes a slot.
    pub(crate) fn new(list: &Arc<ReadyList>, token: usize, interest: Ready) -> Self {
        let mut state = lock(&list.state);
        if state.closed {
            return Self { list: Arc::clone(list), slot: usize::MAX };
        }
        let slot = Slot { token, interest, ready: Ready::empty(), queued: false, users: 1 };
        let index = match state.free.pop() {
            Some(index) => {
                state.slots[index] = slot;
                index
            }
            None => {
                state.slots.push(slot);
                state.slots.len() - 1
            }
        };
        let room = state.slots.len() - state.queue.len();
        state.queue.reserve(room);
        drop(state);
        Self { list: Arc::clone(list), slot: index }
    }

    /// The poll's list.
    pub(crate) fn list(&self) -> &Arc<ReadyList> {
        &self.list
    }

    /// Whether it is in this list.
    pub(crate) fn is_of(&self, list: &Arc<ReadyList>) -> bool {
        Arc::ptr_eq(&self.list, list)
    }

    /// From now on something else is told, by another token.
    pub(crate) fn change(&self, token: usize, interest: Ready) {
        if let Some(slot) = lock(&self.list.state).slots.get_mut(self.slot) {
            (slot.token, slot.interest) = (token, interest);
            slot.ready &= interest;
        }
    }

    /// Something happened. True when that woke the poll.
    pub(crate) fn tell(&self, ready: Ready) -> bool {
        let mut guard = lock(&self.list.state);
        let state = &mut *guard;
        let Some(slot) = state.slots.get_mut(self.slot) else { return false };
        let ready = ready & slot.interest;
        if ready.is_empty() {
            return false;
        }
        slot.ready |= ready;
        if slot.queued {
            return false;
        }
        slot.queued = true;
        state.queue.push_back(self.slot);
        let sleep = std::mem::take(&mut state.sleep);
        drop(guard);
        self.list.kick(sleep)
    }
}

impl Clone for Watch {
    fn clone(&self) -> Self {
        if let Some(slot) = lock(&self.list.state).slots.get_mut(self.slot) {
            slot.users += 1;
        }
        Self { list: Arc::clone(&self.list), slot: self.slot }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let state = &mut *lock(&self.list.state);
        let Some(slot) = state.slots.get_mut(self.slot) else { return };
        slot.users -= 1;
        if slot.users == 0 {
            slot.ready = Ready::empty();
            if !slot.queued {
                state.free.push(self.slot); // Else when it comes out of the queue.
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    fn list() -> Arc<ReadyList> {
        ReadyList::new(Poller::new().unwrap())
    }

    fn taken(list: &ReadyList, room: usize) -> Vec<(usize, Ready)> {
        let mut taken = Vec::new();
        list.take(room, |token, ready| taken.push((token, ready)));
        taken
    }

    #[test]
    fn nobody_sleeps_over_what_happened() {
        let list = list();
        let watch = Watch::new(&list, 1, Ready::READ);
        assert!(!watch.tell(Ready::READ), "nobody sleeps");
        assert!(!list.enter(None), "something happened");
        assert_eq!(taken(&list, 5), [(1, Ready::READ)]);
        assert!(list.enter(None));
        assert!(!watch.tell(Ready::WRITE), "that is not asked for");
        assert!(watch.tell(Ready::READ | Ready::WRITE), "it is woken,");
        assert!(!watch.tell(Ready::READ), "and once");
        assert!(list.own().wait(Some(std::time::Duration::ZERO)).unwrap());
        list.leave();
    }

    #[test]
    fn who_leads_is_woken_where_it_sleeps() {
        let (list, links) = (list(), Arc::new(Poller::new().unwrap()));
        let watch = Watch::new(&list, 1, Ready::READ);
        assert!(list.enter(Some(&links)) && watch.tell(Ready::READ));
        assert!(links.wait(Some(std::time::Duration::ZERO)).unwrap());
        list.leave();
        list.rouse();
        assert!(!links.wait(Some(std::time::Duration::ZERO)).unwrap(), "nobody sleeps there");
    }

    #[test]
    fn a_closed_list_takes_nothing() {
        let list = list();
        let before = Watch::new(&list, 1, Ready::READ);
        list.close();
        let behind = Watch::new(&list, 2, Ready::READ);
        for watch in [before.clone(), before, behind] {
            assert!(!watch.tell(Ready::READ));
        }
        assert_eq!(taken(&list, 5), []);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Watch(Ready),
        Clone(usize),
        Drop(usize),
        Change(usize, Ready),
        Tell(usize, Ready),
        Take(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let ready = || any::<u8>().prop_map(Ready::from_bits_truncate);
        let place = || 0_usize..8;
        let step = prop_oneof![
            2 => ready().prop_map(Step::Watch),
            1 => place().prop_map(Step::Clone),
            2 => place().prop_map(Step::Drop),
            1 => (place(), ready()).prop_map(|(place, ready)| Step::Change(place, ready)),
            8 => (place(), ready()).prop_map(|(place, ready)| Step::Tell(place, ready)),
            3 => (0_usize..4).prop_map(Step::Take),
        ];
        proptest::collection::vec(step, 0..100)
    }

    proptest! {
        /// It is a queue of tokens, each with all that happened to it.
        #[test]
        fn it_does_what_a_map_and_a_queue_do(steps in steps()) {
            let list = list();
            let mut watches: Vec<(usize, Watch)> = Vec::new();
            // Of each token what is asked for and what happened; and the order of those that it did.
            let mut naive: BTreeMap<usize, (Ready, Ready)> = BTreeMap::new();
            let (mut order, mut next) = (VecDeque::new(), 0);
            for step in steps {
                match step {
                    Step::Watch(interest) => {
                        watches.push((next, Watch::new(&list, next, interest)));
                        naive.insert(next, (interest, Ready::empty()));
                        next += 1;
                    }
                    Step::Clone(place) => {
                        if let Some((token, watch)) = watches.get(place) {
                            let again = (*token, watch.clone());
                            watches.push(again);
                        }
                    }
                    Step::Drop(place) if place < watches.len() => {
                        let (token, _) = watches.remove(place);
                        if !watches.iter().any(|(other, _)| *other == token) {
                            naive.remove(&token);
                            order.retain(|other| *other != token);
                        }
                    }
                    Step::Change(place, interest) => {
                        if let Some((token, watch)) = watches.get(place) {
                            watch.change(*token, interest);
                            let known = naive.get_mut(token).unwrap();
                            *known = (interest, known.1 & interest);
                        }
                    }
                    Step::Tell(place, ready) => {
                        if let Some((token, watch)) = watches.get(place) {
                            watch.tell(ready);
                            let (interest, known) = naive.get_mut(token).unwrap();
                            *known |= ready & *interest;
                            if !(ready & *interest).is_empty() && !order.contains(token) {
                                order.push_back(*token);
                            }
                        }
                    }
                    Step::Take(room) => {
                        let mut expected = Vec::new();
                        while expected.len() < room && let Some(token) = order.pop_front() {
                            let ready = std::mem::take(&mut naive.get_mut(&token).unwrap().1);
                            // What a change took away is told no more.
                            if !ready.is_empty() {
                                expected.push((token, ready));
                            }
                        }
                        prop_assert_eq!(taken(&list, room), expected);
                    }
                    Step::Drop(_) => {}
                }
            }
        }
    }
}
