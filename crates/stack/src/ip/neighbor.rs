//! Who the neighbours are: their hardware addresses, and who waits for one (RFC 1122 2.3.2, RFC 4861
//! 7.3).
//!
//! A neighbour is asked for by broadcast (over IPv6 in the group of its address), at most once a
//! second, where routers say nothing else, and three times; then whoever waits is told that the host cannot be reached. An address that
//! was confirmed is trusted for a minute (over IPv6 for half of one); one that is still used after that
//! is confirmed again by TCP, where what it sends arrives, or else by asking the neighbour alone, while packets go on. A neighbour that does not
//! answer holds up nobody but its own packets.
//!
//! The states are those of RFC 4861 7.3.2. ARP has no DELAY, in which something else may show that the
//! neighbour is there: it asks at once. And where nobody answers a probe, everybody is asked again, as
//! the next packet would have it done after RFC 4861 7.3.3 has the entry deleted.

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
use crate::ip::reachable::ReachableTime;
use crate::reason::Withheld;
use crate::shared::Shared;

/// Time between two questions about one neighbour (RFC 1122 2.3.2.1: at most one a second; RFC 4861 10,
/// RETRANS_TIMER).
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a neighbour is asked before it counts as unreachable, as Linux has it.
const ASK_LIMIT: u8 = 3;

/// How long an old address is used before its neighbour is asked (RFC 4861 10,
/// DELAY_FIRST_PROBE_TIME).
const DELAY_FIRST_PROBE: Duration = Duration::from_secs(5);

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
    /// A packet of the program's own.
    Packet(crate::packets::Parked),
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
    /// Those that do not answer, until somebody was told.
    silent: VecDeque<(Key, bool)>,
    /// How many of the waiters are answers.
    waiting_answers: usize,
    /// How long a neighbour of IPv6 counts as reachable.
    pub(super) reachable_time: ReachableTime,
    /// Time between two questions about a neighbour of IPv6, as routers say (RFC 4861 6.3.4).
    pub(super) retransmit_time: Duration,
}

#[derive(Debug)]
struct Neighbor {
    state: State,
    /// When it was confirmed last, or said its address itself.
    since: Instant,
    /// Until when it is REACHABLE; from then on STALE.
    trusted_until: Instant,
    /// Where the packet comes from that it is asked for.
    asked_from: Option<IpAddr>,
    /// When a packet was last sent to it; `None` for one that only made itself known.
    used: Option<Instant>,
    /// A question waits in `to_ask`.
    asking: bool,
    waiters: Vec<Waiter>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// INCOMPLETE: nothing is known; all stations were asked `asked` times, and `due` is the next
    /// step.
    Incomplete { asked: u8, due: Instant },
    /// REACHABLE, or STALE.
    Known { hardware: EthernetAddress },
    /// DELAY: the address is old, and used again; `due` is when the neighbour is asked.
    Delay { hardware: EthernetAddress, due: Instant },
    /// PROBE: the address is old and still used; the neighbour itself was asked `asked` times.
    Probing { hardware: EthernetAddress, asked: u8, due: Instant },
}

/// What a neighbour advertisement says of its sender (RFC 4861 4.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct Advertised {
    /// Absent where the asker is to know it.
    pub(super) hardware: Option<EthernetAddress>,
    /// It answers a question of ours.
    pub(super) solicited: bool,
    /// It replaces what is known.
    pub(super) replaces: bool,
}

/// A question for the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Question {
    pub(crate) neighbor: Key,
    /// The neighbour itself; `None` to ask everybody.
    pub(crate) to: Option<EthernetAddress>,
    /// Where the packet comes from that waits for the answer.
    pub(crate) from: Option<IpAddr>,
}

impl Neighbors {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self {
            known: HashMap::with_hasher(KeyedState::new(rng)),
            deadlines: BTreeSet::new(),
            to_ask: VecDeque::new(),
            resolved: VecDeque::new(),
            silent: VecDeque::new(),
            waiting_answers: 0,
            reachable_time: ReachableTime::default(),
            retransmit_time: ASK_INTERVAL,
        }
    }

    /// The hardware address of a neighbour that a packet is for. Without one, or with an old one,
    /// the neighbour will be asked, unless what was sent to it is known to have arrived `confirmed`
    /// (RFC 4861 7.3.1).
    pub(crate) fn look_up(
        &mut self,
        shared: &Shared,
        key: Key,
        confirmed: Instant,
    ) -> Option<EthernetAddress> {
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
            State::Known { hardware } if now < neighbor.trusted_until => Some(hardware),
            State::Known { hardware }
            | State::Delay { hardware, .. }
            | State::Probing { hardware, .. } => {
                self.use_old(shared, key, hardware, confirmed);
                Some(hardware)
            }
        }
    }

    /// A packet goes to a neighbour whose address is old.
    #[cold]
    fn use_old(
        &mut self,
        shared: &Shared,
        key: Key,
        hardware: EthernetAddress,
        confirmed: Instant,
    ) {
        let now = shared.now;
        let until = confirmed.after(self.trusted_for(shared, key));
        let Some(neighbor) = self.known.get_mut(&key) else { return };
        // What arrived before the address was learnt went elsewhere perhaps.
        if confirmed > neighbor.since && until > now {
            return self.settle(key, hardware, (confirmed, until));
        }
        if !matches!(neighbor.state, State::Known { .. }) {
            return;
        }
        if key.1.is_ipv4() {
            neighbor.state = State::Probing { hardware, asked: 0, due: now };
            self.ask(now, key);
        } else {
            let due = now.after(DELAY_FIRST_PROBE);
            neighbor.state = State::Delay { hardware, due };
            self.deadlines.insert((due, key));
        }
    }

    /// How long a neighbour counts as reachable that is confirmed now.
    fn trusted_for(&mut self, shared: &Shared, key: Key) -> Duration {
        if key.1.is_ipv4() { shared.config.arp_timeout } else { self.reachable_time.at(shared.now) }
    }

    /// Keeps `waiter`, whose packet comes from `source`, until the neighbour answered, or did not.
    pub(crate) fn park(
        &mut self,
        shared: &mut Shared,
        key: Key,
        (source, waiter): (IpAddr, Waiter),
    ) {
        shared.withhold(None, Withheld::NeighborPending);
        let is_answer = waiter.is_answer();
        let too_many = is_answer && self.waiting_answers >= shared.config.reply_limit;
        match self.known.get_mut(&key) {
            Some(neighbor) if !too_many => {
                self.waiting_answers += usize::from(is_answer);
                neighbor.asked_from.get_or_insert(source);
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
        let trusted_for = self.trusted_for(shared, key);
        self.settle(key, hardware, (shared.now, shared.now.after(trusted_for)));
        true
    }

    /// A neighbour says in passing which hardware address it has: what it asks or advertises shows
    /// that it is there, but not that it hears us (RFC 4861 7.2.3, 7.3.3). Whether it is known now.
    pub(super) fn hear(
        &mut self,
        shared: &Shared,
        key: Key,
        hardware: EthernetAddress,
        remember: bool,
    ) -> bool {
        let known = self.known.get(&key);
        if known.and_then(Neighbor::hardware) == Some(hardware) {
            return true;
        }
        if known.is_none() && !remember {
            return false;
        }
        let learned = self.learn(shared, key, hardware, remember);
        if learned {
            // STALE: whoever uses it next has it confirmed.
            self.settle(key, hardware, (shared.now, shared.now));
        }
        learned
    }

    /// A neighbour advertises itself (RFC 4861 7.2.5). Whether there was anything to learn.
    pub(super) fn advertised(&mut self, shared: &Shared, key: Key, said: Advertised) -> bool {
        let reachable_until = shared.now.after(self.trusted_for(shared, key));
        let Some(neighbor) = self.known.get(&key) else { return false };
        let until = (shared.now, if said.solicited { reachable_until } else { shared.now });
        match (neighbor.hardware(), said.hardware) {
            // INCOMPLETE: without an address there is nothing in it.
            (None, None) => return false,
            (None, Some(hardware)) => self.settle(key, hardware, until),
            (Some(known), Some(new)) if new != known && !said.replaces => {
                // Somebody else has it, too; it is asked who is right.
                if matches!(neighbor.state, State::Known { .. }) {
                    self.settle(key, known, (shared.now, shared.now));
                }
            }
            (Some(known), new) => {
                let hardware = new.unwrap_or(known);
                if said.solicited || hardware != known {
                    self.settle(key, hardware, until);
                }
            }
        }
        true
    }

    /// The address of a neighbour is good from `since` until `until`.
    fn settle(&mut self, key: Key, hardware: EthernetAddress, (since, until): (Instant, Instant)) {
        let Some(neighbor) = self.known.get_mut(&key) else { return };
        if let Some(due) = neighbor.due() {
            self.deadlines.remove(&(due, key));
        }
        neighbor.state = State::Known { hardware };
        (neighbor.since, neighbor.trusted_until, neighbor.asked_from) = (since, until, None);
        let waiters = core::mem::take(&mut neighbor.waiters);
        self.release(waiters, Ok(()));
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
                    self.silent.push_back((key, true));
                }
                State::Probing { asked, .. } if asked >= ASK_LIMIT => {
                    // Perhaps the address moved to other hardware: ask everybody.
                    neighbor.state = State::Incomplete { asked: 0, due: shared.now };
                    self.ask(shared.now, key);
                    self.silent.push_back((key, false));
                }
                State::Delay { hardware, due } => {
                    neighbor.state = State::Probing { hardware, asked: 0, due };
                    self.ask(shared.now, key);
                }
                _ => self.ask(shared.now, key),
            }
        }
    }

    /// The next neighbour that does not answer, and whether it was asked for the last time: then it is
    /// to be [given up](Neighbors::give_up).
    pub(super) fn poll_silent(&mut self) -> Option<(Key, bool)> {
        self.silent.pop_front()
    }

    /// Forgets a neighbour that does not answer; `outcome` tells who waits for it whether to try again.
    pub(super) fn give_up(&mut self, key: Key, outcome: Result<(), Error>) {
        self.remove(key, outcome);
    }

    /// When [`Neighbors::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    /// The next waiter whose wait is over.
    pub(crate) fn poll_resolved(&mut self) -> Option<(Waiter, Result<(), Error>)> {
        self.resolved.pop_front()
    }

    /// How many questions wait for the link, or waiters for their turn: zero when nothing does.
    #[inline]
    pub(crate) fn work(&self) -> usize {
        self.to_ask.len() | self.resolved.len()
    }

    /// The next question for the link.
    pub(crate) fn next_question(&mut self) -> Option<Question> {
        while let Some(key) = self.to_ask.pop_front() {
            let Some(neighbor) = self.known.get_mut(&key) else { continue };
            neighbor.asking = false;
            let from = neighbor.asked_from;
            match neighbor.state {
                State::Incomplete { .. } => {
                    return Some(Question { neighbor: key, to: None, from });
                }
                State::Probing { hardware, .. } => {
                    return Some(Question { neighbor: key, to: Some(hardware), from });
                }
                // It made itself known before the question left.
                State::Known { .. } | State::Delay { .. } => {}
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
        *due = now.after(if key.1.is_ipv4() { ASK_INTERVAL } else { self.retransmit_time });
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
        let (since, trusted_until) = (Instant::ZERO, Instant::ZERO);
        let (used, asked_from, waiters) = (None, None, Vec::new());
        Self { state, since, trusted_until, used, asked_from, asking: false, waiters }
    }

    /// The deadline that runs for it.
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Incomplete { due, .. }
            | State::Delay { due, .. }
            | State::Probing { due, .. } => Some(due),
            State::Known { .. } => None,
        }
    }

    fn hardware(&self) -> Option<EthernetAddress> {
        match self.state {
            State::Incomplete { .. } => None,
            State::Known { hardware }
            | State::Delay { hardware, .. }
            | State::Probing { hardware, .. } => Some(hardware),
        }
    }
}
