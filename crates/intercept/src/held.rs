//! Calls that wait: for a connection, for a handshake, for a datagram.
//!
//! A signal ends a call without a word to us: the answer is refused then, or the same thread calls again,
//! and what it called before is forgotten.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use crate::request::Request;
use crate::table::Key;

/// The calls that wait for an answer.
#[derive(Debug, Default)]
pub(crate) struct Held {
    calls: HashMap<u64, HeldCall>,
    /// By socket, the oldest first.
    by_socket: HashMap<Key, VecDeque<u64>>,
    by_thread: HashMap<u32, u64>,
    deadlines: BTreeSet<(Instant, u64)>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct HeldCall {
    pub(crate) key: Key,
    pub(crate) request: Request,
    pub(crate) until: Option<Instant>,
}

impl Held {
    /// Keeps a call of the socket with `key`, at most `until`.
    pub(crate) fn hold(&mut self, key: Key, request: Request, until: Option<Instant>) {
        let (id, thread) = (request.id, request.thread);
        self.forget_thread(thread);
        self.by_socket.entry(key).or_default().push_back(id);
        self.by_thread.insert(thread, id);
        if let Some(until) = until {
            self.deadlines.insert((until, id));
        }
        self.calls.insert(id, HeldCall { key, request, until });
    }

    /// A call that was taken and is kept once more waits no longer than it did.
    pub(crate) fn keep_until(&mut self, id: u64, until: Option<Instant>) {
        if let Some(call) = self.calls.get_mut(&id) {
            if let Some(later) = std::mem::replace(&mut call.until, until) {
                self.deadlines.remove(&(later, id));
            }
            self.deadlines.extend(until.map(|until| (until, id)));
        }
    }

    /// A thread that calls does not wait for another call any more; which one that was.
    pub(crate) fn forget_thread(&mut self, thread: u32) -> Option<HeldCall> {
        let id = self.by_thread.get(&thread).copied()?;
        self.take(id)
    }

    /// Takes the call of the socket that has waited for the longest time.
    pub(crate) fn take_first(&mut self, key: Key) -> Option<HeldCall> {
        let id = *self.by_socket.get(&key)?.front()?;
        self.take(id)
    }

    /// Whether a call waits for the socket.
    pub(crate) fn any(&self, key: Key) -> bool {
        self.by_socket.contains_key(&key)
    }

    /// When the first call is to be given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// Takes a call whose time is over.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<HeldCall> {
        let (until, id) = *self.deadlines.first()?;
        if until > now {
            return None;
        }
        self.take(id)
    }

    fn take(&mut self, id: u64) -> Option<HeldCall> {
        let call = self.calls.remove(&id)?;
        if let Some(of_socket) = self.by_socket.get_mut(&call.key) {
            of_socket.retain(|other| *other != id);
            if of_socket.is_empty() {
                self.by_socket.remove(&call.key);
            }
        }
        if self.by_thread.get(&call.request.thread) == Some(&id) {
            self.by_thread.remove(&call.request.thread);
        }
        if let Some(until) = call.until {
            self.deadlines.remove(&(until, id));
        }
        Some(call)
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.calls.is_empty()
            && self.by_socket.is_empty()
            && self.by_thread.is_empty()
            && self.deadlines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slotmap::SlotMap;

    use super::*;
    use crate::syscall::Call;

    fn request(id: u64, thread: u32) -> Request {
        let (call, arguments) = (Call::Accept, [0; 6]);
        Request { id, thread, call, instruction: 0, arguments, done: 0, traced: None }
    }

    #[test]
    fn the_oldest_comes_first_and_a_thread_waits_once() {
        let mut keys = SlotMap::<Key, ()>::with_key();
        let (one, two) = (keys.insert(()), keys.insert(()));
        let mut held = Held::default();
        for (id, key) in [(1, one), (2, one), (3, two)] {
            held.hold(key, request(id, id as u32), None);
        }
        held.hold(one, request(4, 1), None);
        let mut order = Vec::new();
        while let Some(call) = held.take_first(one) {
            order.push(call.request.id);
        }
        assert_eq!(order, [2, 4], "the first thread has called again");
        assert!(held.any(two) && !held.any(one));
        held.forget_thread(3);
        assert!(held.is_empty());
    }

    #[test]
    fn calls_end_in_the_order_of_their_deadlines() {
        let key = SlotMap::<Key, ()>::with_key().insert(());
        let mut held = Held::default();
        let now = Instant::now();
        let after = |ms| Some(now + Duration::from_millis(ms));
        held.hold(key, request(1, 1), after(20));
        held.hold(key, request(2, 2), after(10));
        held.hold(key, request(3, 3), None);
        assert_eq!(held.deadline(), after(10));
        assert!(held.take_expired(now).is_none());
        let expired = |held: &mut Held, ms: u64| {
            held.take_expired(now + Duration::from_millis(ms)).map(|call| call.request.id)
        };
        assert_eq!(expired(&mut held, 15), Some(2));
        assert_eq!(expired(&mut held, 15), None);
        assert_eq!(expired(&mut held, 25), Some(1));
        assert_eq!(held.deadline(), None);
        let waits_since = held.take_first(key).unwrap();
        held.hold(key, waits_since.request, after(50));
        held.keep_until(3, after(40));
        assert_eq!(held.deadline(), after(40));
        assert_eq!(expired(&mut held, 45), Some(3));
        assert!(held.is_empty());
    }
}
