//! Who the neighbours are: their hardware addresses, and who waits for one (RFC 1122 2.3.2).
//!
//! A neighbour is asked for by broadcast, at most once a second and three times; then whoever
//! waits is told that the host cannot be reached. An address that was confirmed is trusted for a
//! minute; one that is still used after that is confirmed again by asking the neighbour alone,
//! while packets go on. A neighbour that does not answer holds up nobody but its own packets.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;
use rand_core::Rng;
use wire::ethernet::EthernetAddress;
use wire::time::{Duration, Instant};

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::keyed::KeyedState;
use crate::reason::Withheld;
use crate::shared::Shared;

/// Time between two questions about one neighbour (RFC 1122 2.3.2.1: at most one a second).
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a neighbour is asked before it counts as unreachable, as Linux has it.
const ASK_LIMIT: u8 = 3;

/// How long an address is trusted (RFC 1122 2.3.2.1: "on the order of a minute").
const TRUSTED_FOR: Duration = Duration::from_secs(60);

/// A neighbour: its address on the link of an interface.
pub(crate) type Key = (InterfaceId, IpAddr);

/// Who waits for a hardware address.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// An endpoint or an answer of TCP.
    Tcp(crate::tcp::Ready),
    /// A datagram.
    Udp(crate::udp::Parked),
    /// An echo request of a program.
    Ping(crate::ping::Parked),
    /// An ICMP answer.
    Icmp(crate::icmp::Reply),
}

impl Waiter {
    /// An answer to a packet, which the sender can do without: their number must be bounded here,
    /// because no endpoint bounds it.
    fn is_answer(&self) -> bool {
        matches!(self, Waiter::Icmp(_) | Waiter::Tcp(crate::tcp::Ready::Reply(_)))
    }
}

/// The neighbours of all interfaces.
#[derive(Debug)]
pub(crate) struct Neighbors {
    known: HashMap<Key, Neighbor, KeyedState>,
    /// When to ask again, or to give up.
    deadlines: BTreeSet<(Instant, Key)>,
    /// Questions that wait for the link.
    to_ask: VecDeque<Key>,
    /// Waiters whose wait is over.
    resolved: VecDeque<(Waiter, Result<(), Error>)>,
    /// How many of the waiters are answers.
    waiting_answers: usize,
}

#[derive(Debug)]
struct Neighbor {
    state: State,
    /// When a packet was last sent to it; `None` for one that only made itself known.
    used: Option<Instant>,
    /// A question waits in `to_ask`.
    asking: bool,
    waiters: Vec<Waiter>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing is known; all stations were asked `asked` times, and `due` is the next step.
    Incomplete { asked: u8, due: Instant },
    /// The address is good.
    Reachable { hardware: EthernetAddress, until: Instant },
    /// The address is old and still used; the neighbour itself was asked `asked` times.
    Probing { hardware: EthernetAddress, asked: u8, due: Instant },
}

/// A question for the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Question {
    pub(crate) neighbor: Key,
    /// Whom to ask: everybody, or the neighbour itself.
    pub(crate) to: EthernetAddress,
}

impl Neighbors {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self {
            known: HashMap::with_hasher(KeyedState::new(rng)),
            deadlines: BTreeSet::new(),
            to_ask: VecDeque::new(),
            resolved: VecDeque::new(),
            waiting_answers: 0,
        }
    }

    /// The hardware address of a neighbour that a packet is for. Without one, or with an old one,
    /// the neighbour will be asked.
    pub(crate) fn look_up(&mut self, shared: &Shared, key: Key) -> Option<EthernetAddress> {
        let now = shared.now;
        if !self.known.contains_key(&key) {
            self.make_room(shared.config.neighbor_limit, true);
            self.known.insert(key, Neighbor::new(State::Incomplete { asked: 0, due: now }));
            self.ask(now, key);
        }
        let neighbor = self.known.get_mut(&key)?;
        neighbor.used = Some(now);
        match neighbor.state {
            State::Incomplete { .. } => None,
            State::Probing { hardware, .. } => Some(hardware),
            State::Reachable { hardware, until } => {
                if now >= until {
                    neighbor.state = State::Probing { hardware, asked: 0, due: now };
                    self.ask(now, key);
                }
                Some(hardware)
            }
        }
    }

    /// Keeps `waiter` until the neighbour answered, or did not.
    pub(crate) fn park(&mut self, shared: &mut Shared, key: Key, waiter: Waiter) {
        shared.withhold(None, Withheld::NeighborPending);
        let is_answer = waiter.is_answer();
        let too_many = is_answer && self.waiting_answers >= shared.config.reply_limit;
        match self.known.get_mut(&key) {
            Some(neighbor) if !too_many => {
                self.waiting_answers += usize::from(is_answer);
                neighbor.waiters.push(waiter);
            }
            _ => self.resolved.push_back((waiter, Err(Error::LimitReached))),
        }
    }

    /// The neighbour says which hardware address it has. One that we do not know yet is remembered
    /// only when `remember` says so. Whether it is known now.
    pub(crate) fn learn(
        &mut self,
        shared: &Shared,
        key: Key,
        hardware: EthernetAddress,
        remember: bool,
    ) -> bool {
        if !self.known.contains_key(&key) {
            if !remember || !self.make_room(shared.config.neighbor_limit, false) {
                return false;
            }
            self.known.insert(key, Neighbor::new(State::Incomplete { asked: 0, due: shared.now }));
        }
        let Some(neighbor) = self.known.get_mut(&key) else { return false };
        if let Some(due) = neighbor.due() {
            self.deadlines.remove(&(due, key));
        }
        neighbor.state = State::Reachable { hardware, until: shared.now.after(TRUSTED_FOR) };
        let waiters = core::mem::take(&mut neighbor.waiters);
        self.release(waiters, Ok(()));
        true
    }

    /// Asks again where nobody answered, and gives up where that was often enough.
    pub(crate) fn handle_timeout(&mut self, shared: &Shared) {
        while let Some(&(due, key)) = self.deadlines.first() {
            if due > shared.now {
                return;
            }
            self.deadlines.pop_first();
            let Some(neighbor) = self.known.get_mut(&key) else { continue };
            match neighbor.state {
                State::Incomplete { asked, .. } if asked >= ASK_LIMIT => {
                    self.forget(key, Error::HostUnreachable);
                }
                State::Probing { asked, .. } if asked >= ASK_LIMIT => {
                    // Perhaps the address moved to other hardware: ask everybody.
                    neighbor.state = State::Incomplete { asked: 0, due: shared.now };
                    self.ask(shared.now, key);
                }
                _ => self.ask(shared.now, key),
            }
        }
    }

    /// When [`Neighbors::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    /// The next waiter whose wait is over.
    pub(crate) fn poll_resolved(&mut self) -> Option<(Waiter, Result<(), Error>)> {
        self.resolved.pop_front()
    }

    /// Whether a question waits for the link, or a waiter for its turn.
    pub(crate) fn has_work(&self) -> bool {
        !self.to_ask.is_empty() || !self.resolved.is_empty()
    }

    /// The next question for the link.
    pub(crate) fn next_question(&mut self) -> Option<Question> {
        while let Some(key) = self.to_ask.pop_front() {
            let Some(neighbor) = self.known.get_mut(&key) else { continue };
            neighbor.asking = false;
            match neighbor.state {
                State::Incomplete { .. } => {
                    return Some(Question { neighbor: key, to: EthernetAddress::BROADCAST });
                }
                State::Probing { hardware, .. } => {
                    return Some(Question { neighbor: key, to: hardware });
                }
                // It made itself known before the question left.
                State::Reachable { .. } => {}
            }
        }
        None
    }

    /// Forgets every neighbour on the link of `interface`, whose addresses changed: what waits
    /// finds its way anew.
    pub(crate) fn forget_all_of(&mut self, interface: InterfaceId) {
        let keys: Vec<Key> = self.known.keys().filter(|key| key.0 == interface).copied().collect();
        for key in keys {
            self.remove(key, Ok(()));
        }
    }

    /// Puts a question on its way to the link, and sets the time for the next step.
    fn ask(&mut self, now: Instant, key: Key) {
        let Some(neighbor) = self.known.get_mut(&key) else { return };
        let (State::Incomplete { asked, due } | State::Probing { asked, due, .. }) =
            &mut neighbor.state
        else {
            return;
        };
        self.deadlines.remove(&(*due, key));
        *asked += 1;
        *due = now.after(ASK_INTERVAL);
        self.deadlines.insert((*due, key));
        if !neighbor.asking {
            neighbor.asking = true;
            self.to_ask.push_back(key);
        }
    }

    /// Makes room for one more neighbour below `limit`, and says whether there is: the one that
    /// was not used for the longest time goes. One that only makes itself known (`needed` is
    /// false) never drives out one that was used.
    fn make_room(&mut self, limit: usize, needed: bool) -> bool {
        if self.known.len() < limit.max(1) {
            return true;
        }
        let rank = |(key, neighbor): (&Key, &Neighbor)| {
            (!neighbor.waiters.is_empty(), neighbor.used, *key)
        };
        let Some((waited_for, used, key)) = self.known.iter().map(rank).min() else {
            return true;
        };
        if !needed && (waited_for || used.is_some()) {
            return false;
        }
        self.forget(key, Error::HostUnreachable);
        true
    }

    /// Forgets a neighbour; whoever waits for it gets `error`.
    fn forget(&mut self, key: Key, error: Error) {
        self.remove(key, Err(error));
    }

    fn remove(&mut self, key: Key, outcome: Result<(), Error>) {
        let Some(neighbor) = self.known.remove(&key) else { return };
        if let Some(due) = neighbor.due() {
            self.deadlines.remove(&(due, key));
        }
        if neighbor.asking {
            self.to_ask.retain(|other| *other != key);
        }
        self.release(neighbor.waiters, outcome);
    }

    fn release(&mut self, waiters: Vec<Waiter>, outcome: Result<(), Error>) {
        for waiter in waiters {
            self.waiting_answers -= usize::from(waiter.is_answer());
            self.resolved.push_back((waiter, outcome));
        }
    }
}

impl Neighbor {
    fn new(state: State) -> Self {
        Self { state, used: None, asking: false, waiters: Vec::new() }
    }

    /// The deadline that runs for it.
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Incomplete { due, .. } | State::Probing { due, .. } => Some(due),
            State::Reachable { .. } => None,
        }
    }
}
