//! Who waits for a socket, and how they are woken.
//!
//! There is one way to wait, a [`Waker`]: a task has one, and a blocked thread uses one that
//! unparks it. Who [polls](crate::blocking::poll) does not wait for a socket but watches it: each event
//! is told to its list. The rule that no wake-up is ever lost is short: *whoever finds a socket not ready
//! registers before releasing the lock under which it looked*. An event can then only happen
//! after the registration, and it is delivered after that lock is released. What is delivered may
//! be stale, so everybody who is woken looks again.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use slotmap::SecondaryMap;
use stack::{ConnectionId, ListenerId, PingId, Ready, SocketId, UdpId};

use crate::ready::{ReadyList, Watch};

/// Which direction of a socket somebody waits for. A reader is not woken for room to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Something to read or to accept.
    Read,
    /// Room to write, the end of a handshake, everything acknowledged.
    Write,
}

impl Side {
    /// The events that this direction waits for.
    const fn events(self) -> Ready {
        match self {
            Side::Read => {
                Ready::READ.union(Ready::READ_CLOSED).union(Ready::ERROR).union(Ready::PENDING)
            }
            Side::Write => {
                Ready::WRITE.union(Ready::WRITE_CLOSED).union(Ready::ERROR).union(Ready::DRAINED)
            }
        }
    }
}

/// A waker that was replaced. Dropping it may drop a task and with it a socket, which takes the
/// stack's lock: not to be done under a lock.
pub(crate) type Replaced = Option<Waker>;

/// Everybody who waits for one socket.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// The key of the last [`Ticket`] that registered.
    last_key: u64,
    /// Of the `poll_*` functions, to read and to write: only the last caller is woken, as their
    /// contract says.
    polled: [Option<Waker>; 2],
    /// Others, while there are any: a pointer is all that an idle socket has for them.
    others: Option<Box<Others>>,
}

#[derive(Debug, Default)]
struct Others {
    /// Futures and blocked threads: any number, the oldest first.
    tickets: Vec<Waiting>,
    /// The polls that watch the socket.
    watches: Vec<Watch>,
}

/// A future or a blocked thread.
#[derive(Debug)]
struct Waiting {
    key: u64,
    side: Side,
    waker: Waker,
}

// Every socket has one, most of them for a long time, and nearly all of those wait for nothing.
const _: () = assert!(size_of::<Waiters>() <= 56);

impl Lists {
    fn polled(&mut self, side: Side) -> &mut Option<Waker> {
        match side {
            Side::Read => &mut self.polled[0],
            Side::Write => &mut self.polled[1],
        }
    }

    fn waiting(&self) -> &[Waiting] {
        self.others.as_deref().map_or(&[], |others| &others.tickets)
    }

    fn watches(&self) -> &[Watch] {
        self.others.as_deref().map_or(&[], |others| &others.watches)
    }

    /// Takes the first that `which` says, and gives the memory back with the last.
    fn take(&mut self, which: impl Fn(&Waiting) -> bool) -> Option<Waker> {
        let others = self.others.as_mut()?;
        let place = others.tickets.iter().position(which)?;
        let Waiting { waker, .. } = others.tickets.remove(place);
        self.tidy();
        Some(waker)
    }

    /// Adds a ticket.
    fn add(&mut self, waiting: Waiting) {
        // Rarely does a second one wait: no room for four, as a vector begins with.
        let others = self.others.get_or_insert_default();
        others.tickets.reserve_exact(1);
        others.tickets.push(waiting);
    }

    fn tidy(&mut self) {
        self.others.take_if(|others| others.tickets.is_empty() && others.watches.is_empty());
    }
}

impl Waiters {
    /// Makes `waker` the one that is woken for the `poll_*` functions of `side`.
    fn register_polled(&self, side: Side, waker: &Waker) -> Replaced {
        let mut lists = self.lock();
        let polled = lists.polled(side);
        if polled.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        polled.replace(waker.clone())
    }

    /// Begins to tell a poll of everything that happens to the socket.
    ///
    /// # Errors
    /// `AlreadyExists` when it is told.
    pub(crate) fn watch(&self, watch: Watch) -> io::Result<()> {
        let mut lists = self.lock();
        if lists.watches().iter().any(|known| known.is_of(watch.list())) {
            let why = "the socket is registered with this poll: reregister it";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        let others = lists.others.get_or_insert_default();
        others.watches.reserve_exact(1);
        others.watches.push(watch);
        Ok(())
    }

    /// The watch of the poll with this list.
    pub(crate) fn watch_of(&self, list: &Arc<ReadyList>) -> Option<Watch> {
        self.lock().watches().iter().find(|watch| watch.is_of(list)).cloned()
    }

    /// The poll with this list is told no more.
    pub(crate) fn unwatch(&self, list: &Arc<ReadyList>) -> Option<Watch> {
        let mut lists = self.lock();
        let others = lists.others.as_mut()?;
        let place = others.watches.iter().position(|watch| watch.is_of(list))?;
        let watch = others.watches.swap_remove(place);
        lists.tidy();
        drop(lists);
        Some(watch)
    }

    /// No poll is told any more.
    pub(crate) fn unwatch_all(&self) {
        let mut lists = self.lock();
        let watches = lists.others.as_mut().map(|others| std::mem::take(&mut others.watches));
        lists.tidy();
        drop(lists);
        drop(watches);
    }

    /// Wakes everybody who waits for something of `ready`, and says how many.
    pub(crate) fn wake(&self, ready: Ready) -> usize {
        let told = {
            let lists = self.lock();
            let told = lists.watches().iter().filter(|watch| watch.tell(ready)).count();
            if lists.polled.iter().all(Option::is_none) && lists.waiting().is_empty() {
                return told;
            }
            told
        };
        let sides = [Side::Read, Side::Write].into_iter();
        let sides = sides.filter(|side| ready.intersects(side.events()));
        told + sides.map(|side| self.wake_side(side)).sum::<usize>()
    }

    /// Wakes outside of the lock, because a waker may do anything.
    fn wake_side(&self, side: Side) -> usize {
        let mut lists = self.lock();
        let polled = lists.polled(side).take();
        let count = lists.waiting().iter().filter(|waiting| waiting.side == side).count();
        drop(lists);
        let mut woken = 0;
        if let Some(waker) = polled {
            waker.wake();
            woken += 1;
        }
        for _ in 0..count {
            let mut lists = self.lock();
            let Some(waker) = lists.take(|waiting| waiting.side == side) else { break };
            drop(lists);
            waker.wake();
            woken += 1;
        }
        woken
    }

    /// Nothing is left half-done under this lock, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one future or blocked thread among the waiters; gives it up when dropped.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    waiters: &'a Waiters,
    side: Side,
    /// Known from the first registration on.
    key: Option<u64>,
}

impl<'a> Ticket<'a> {
    pub(crate) fn new(waiters: &'a Waiters, side: Side) -> Self {
        Self { waiters, side, key: None }
    }

    fn register(&mut self, waker: &Waker) -> Replaced {
        let mut lists = self.waiters.lock();
        let key = *self.key.get_or_insert_with(|| {
            lists.last_key += 1;
            lists.last_key
        });
        let known = lists.others.iter_mut().flat_map(|others| others.tickets.iter_mut());
        match known.into_iter().find(|waiting| waiting.key == key) {
            Some(known) if known.waker.will_wake(waker) => None,
            Some(known) => Some(std::mem::replace(&mut known.waker, waker.clone())),
            None => {
                lists.add(Waiting { key, side: self.side, waker: waker.clone() });
                None
            }
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut lists = self.waiters.lock();
        let replaced = lists.take(|waiting| waiting.key == key);
        drop(lists);
        drop(replaced);
    }
}

/// Where a waiter is to be registered when the socket is not ready.
pub(crate) enum Place<'t, 'a> {
    /// In the one place of a `poll_*` function.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only tasks poll"))]
    Polled(&'a Waiters, Side),
    /// In a place of its own.
    Ticket(&'t mut Ticket<'a>),
}

impl Place<'_, '_> {
    pub(crate) fn side(&self) -> Side {
        match self {
            Place::Polled(_, side) => *side,
            Place::Ticket(ticket) => ticket.side,
        }
    }

    pub(crate) fn register(&mut self, waker: &Waker) -> Replaced {
        match self {
            Place::Polled(waiters, side) => waiters.register_polled(*side, waker),
            Place::Ticket(ticket) => ticket.register(waker),
        }
    }
}

/// The waiters of every socket that a program holds.
#[derive(Debug, Default)]
pub(crate) struct WaitTable {
    listeners: SecondaryMap<ListenerId, Arc<Waiters>>,
    connections: SecondaryMap<ConnectionId, Arc<Waiters>>,
    udp: SecondaryMap<UdpId, Arc<Waiters>>,
    pings: SecondaryMap<PingId, Arc<Waiters>>,
    packets: Option<Arc<Waiters>>,
}

impl WaitTable {
    /// Adds the place where waiters for `socket` are found.
    pub(crate) fn insert(&mut self, socket: SocketId, waiters: Arc<Waiters>) {
        match socket {
            SocketId::Listener(id) => drop(self.listeners.insert(id, waiters)),
            SocketId::Connection(id) => drop(self.connections.insert(id, waiters)),
            SocketId::Udp(id) => drop(self.udp.insert(id, waiters)),
            SocketId::Ping(id) => drop(self.pings.insert(id, waiters)),
            SocketId::Packets => self.packets = Some(waiters),
        }
    }

    /// The waiters for `socket`, if a program holds it.
    pub(crate) fn get(&self, socket: SocketId) -> Option<&Arc<Waiters>> {
        match socket {
            SocketId::Listener(id) => self.listeners.get(id),
            SocketId::Connection(id) => self.connections.get(id),
            SocketId::Udp(id) => self.udp.get(id),
            SocketId::Ping(id) => self.pings.get(id),
            SocketId::Packets => self.packets.as_ref(),
        }
    }

    /// Forgets `socket`.
    pub(crate) fn remove(&mut self, socket: SocketId) {
        match socket {
            SocketId::Listener(id) => drop(self.listeners.remove(id)),
            SocketId::Connection(id) => drop(self.connections.remove(id)),
            SocketId::Udp(id) => drop(self.udp.remove(id)),
            SocketId::Ping(id) => drop(self.pings.remove(id)),
            SocketId::Packets => self.packets = None,
        }
    }

    /// Everybody's.
    pub(crate) fn all(&self) -> Vec<Arc<Waiters>> {
        let listeners = self.listeners.values().chain(self.connections.values());
        let datagrams = self.udp.values().chain(self.pings.values());
        listeners.chain(datagrams).chain(&self.packets).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counting() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn woken(count: &Count) -> usize {
        count.0.load(Ordering::SeqCst)
    }

    #[test]
    fn only_the_side_that_is_ready_is_woken() {
        let waiters = Waiters::default();
        let (reader, writer) = (counting(), counting());
        let (mut to_read, mut to_write) =
            (Ticket::new(&waiters, Side::Read), Ticket::new(&waiters, Side::Write));
        to_read.register(&reader.1);
        to_write.register(&writer.1);
        waiters.wake(Ready::WRITE);
        assert_eq!((woken(&reader.0), woken(&writer.0)), (0, 1));
        waiters.wake(Ready::READ_CLOSED);
        assert_eq!((woken(&reader.0), woken(&writer.0)), (1, 1));
        to_read.register(&reader.1);
        to_write.register(&writer.1);
        waiters.wake(Ready::ERROR);
        assert_eq!((woken(&reader.0), woken(&writer.0)), (2, 2));
    }

    #[test]
    fn everybody_who_waits_is_woken_once() {
        let waiters = Waiters::default();
        let all: Vec<_> = (0..5).map(|_| counting()).collect();
        let mut tickets: Vec<_> = all.iter().map(|_| Ticket::new(&waiters, Side::Read)).collect();
        for (ticket, (_, waker)) in tickets.iter_mut().zip(&all) {
            ticket.register(waker);
            ticket.register(waker);
        }
        waiters.register_polled(Side::Read, &all[0].1);
        waiters.wake(Ready::READ);
        waiters.wake(Ready::READ);
        let counts: Vec<_> = all.iter().map(|(count, _)| woken(count)).collect();
        assert_eq!(counts, [2, 1, 1, 1, 1]);
    }

    #[test]
    fn the_last_poller_replaces_the_one_before() {
        let waiters = Waiters::default();
        let (first, second) = (counting(), counting());
        waiters.register_polled(Side::Write, &first.1);
        waiters.register_polled(Side::Write, &second.1);
        waiters.wake(Ready::WRITE);
        assert_eq!((woken(&first.0), woken(&second.0)), (0, 1));
    }

    #[test]
    fn a_dropped_ticket_leaves_nothing() {
        let waiters = Waiters::default();
        let (count, waker) = counting();
        let mut ticket = Ticket::new(&waiters, Side::Read);
        ticket.register(&waker);
        drop(ticket);
        waiters.wake(Ready::all());
        assert_eq!(woken(&count), 0);
        assert!(waiters.lock().others.is_none());
    }

    #[test]
    fn a_waker_may_register_again_at_once() {
        /// Registers itself again whenever it is woken, as an executor in place may do.
        struct Again(Arc<Waiters>, AtomicUsize);
        impl Wake for Again {
            fn wake(self: Arc<Self>) {
                self.1.fetch_add(1, Ordering::SeqCst);
                let waiters = Arc::clone(&self.0);
                waiters.register_polled(Side::Read, &Waker::from(self));
            }
        }
        let waiters = Arc::new(Waiters::default());
        let again = Arc::new(Again(Arc::clone(&waiters), AtomicUsize::new(0)));
        waiters.register_polled(Side::Read, &Waker::from(Arc::clone(&again)));
        waiters.wake(Ready::READ);
        waiters.wake(Ready::READ);
        assert_eq!(again.1.load(Ordering::SeqCst), 2);
        *waiters.lock().polled(Side::Read) = None; // Breaks the circle.
    }

    #[test]
    fn the_table_finds_what_it_was_given() {
        use slotmap::SlotMap;
        let mut ids = SlotMap::<ConnectionId, ()>::with_key();
        let (first, second) = (ids.insert(()), ids.insert(()));
        let mut table = WaitTable::default();
        table.insert(SocketId::Connection(first), Arc::default());
        assert!(table.get(SocketId::Connection(first)).is_some());
        assert!(table.get(SocketId::Connection(second)).is_none());
        assert_eq!(table.all().len(), 1);
        // The same slot with a new generation is another socket.
        ids.remove(first);
        let reused = ids.insert(());
        assert!(table.get(SocketId::Connection(reused)).is_none());
        table.remove(SocketId::Connection(first));
        assert!(table.all().is_empty());
    }
}
