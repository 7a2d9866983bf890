//! The client's state machine (RFC 2131 4.4, Figure 5): messages and the time go in, actions come out.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use rand_core::Rng;
use wire::dhcpv4::{Message, MessageType, Options, option};
use wire::ethernet::EthernetAddress;
use wire::time::{Duration, Instant};

use super::DhcpLease;

/// The first wait for an answer; each further one is twice as long (RFC 2131 4.1).
const FIRST_WAIT: Duration = Duration::from_secs(4);

/// How often the wait doubles: up to 64 s.
const DOUBLINGS: u32 = 4;

/// How often a server is asked for what it offered before another is looked for (RFC 2131 4.1: up to
/// 60 seconds).
const REQUESTS: u32 = 4;

/// The least time between two requests to prolong a lease (RFC 2131 4.4.5).
const LEAST_RENEWAL_WAIT: Duration = Duration::from_secs(60);

/// How long nothing is asked for after an address was declined (RFC 2131 3.1 (5)).
const AFTER_DECLINE: Duration = Duration::from_secs(10);

/// RFC 5227 1.1: how long before the first probe, between probes, and after the last.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);

/// RFC 5227 1.1, ANNOUNCE_INTERVAL: from the first announcement to the second, which is the last.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// RFC 5227 1.1: after so many conflicts in a row one new address is tried in such a time.
const MAX_CONFLICTS: u32 = 10;
const RATE_LIMIT_INTERVAL: Duration = Duration::from_secs(60);

/// The lease that never ends (RFC 2131 3.3).
const INFINITE: u32 = u32::MAX;

/// Where the client is. Besides, `due` says when it goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// It waits before it begins, or begins again.
    Init,
    /// It asked which servers there are.
    Selecting,
    /// It asked for what a server offered.
    Requesting(Offer),
    /// It was given an address, and asks whether somebody else has it (RFC 5227 2.1).
    Probing { lease: DhcpLease, sent: u8 },
    /// It has an address.
    Bound,
    /// It asks the server that gave it to prolong the lease.
    Renewing,
    /// It asks all servers.
    Rebinding,
}

/// What a server offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Offer {
    address: Ipv4Addr,
    server: Ipv4Addr,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Send to everybody on the link, from this address.
    Broadcast(Message, Ipv4Addr),
    /// Send to the server.
    Unicast(Message, Ipv4Addr),
    /// Ask who has the address, as somebody who has none.
    Probe(Ipv4Addr),
    /// The address is ours: take it.
    Bind(DhcpLease),
    /// Say that we have the address.
    Announce(Ipv4Addr),
    /// It is not any more.
    Unbind,
}

/// A client on one link.
#[derive(Debug)]
pub(super) struct Client {
    hardware: EthernetAddress,
    /// How often it is asked whether somebody else has an address.
    probes: u8,
    state: State,
    transaction: u32,
    /// When the exchange began.
    began: Instant,
    /// How often the same was asked.
    attempts: u32,
    due: Option<Instant>,
    held: Option<Held>,
    /// When it is said again that the address is ours.
    announcement: Option<Instant>,
    /// How many addresses in a row turned out to be somebody else's.
    conflicts: u32,
}

/// An address that we have, and for how long; `None` is for ever.
#[derive(Clone, Debug)]
struct Held {
    lease: DhcpLease,
    rebind_at: Option<Instant>,
    until: Option<Instant>,
}

impl Client {
    /// It begins at once. (RFC 2131 4.4.1 has hosts wait for some seconds, so that those that a power
    /// failure ended do not all begin together; who starts a stack waits for it.)
    pub(super) fn new(hardware: EthernetAddress, probes: u8, now: Instant) -> Self {
        let (transaction, began, attempts) = (0, now, 0);
        let (state, due) = (State::Init, Some(now));
        let (held, announcement, conflicts) = (None, None, 0);
        Self {
            hardware,
            probes,
            state,
            transaction,
            began,
            attempts,
            due,
            held,
            announcement,
            conflicts,
        }
    }

    /// When [`Client::handle_timeout`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.announcement).min()
    }

    /// The address that is asked about.
    pub(super) fn probed(&self) -> Option<Ipv4Addr> {
        if let State::Probing { lease, .. } = &self.state { Some(lease.address) } else { None }
    }

    /// The address that we have.
    pub(super) fn lease(&self) -> Option<&DhcpLease> {
        self.held.as_ref().map(|held| &held.lease)
    }

    /// A message came; what is not an answer to our last one is passed over.
    pub(super) fn handle_message(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        message: &Message,
        actions: &mut Vec<Action>,
    ) {
        let ours = (message.transaction, message.hardware) == (self.transaction, self.hardware);
        if !ours {
            return;
        }
        let server = message.options.server_identifier;
        match (&self.state, message.kind) {
            (State::Selecting, MessageType::OFFER) => {
                let Some(server) = server.filter(|_| is_host(message.your_address)) else { return };
                let offer = Offer { address: message.your_address, server };
                self.state = State::Requesting(offer);
                self.attempts = 0;
                self.ask(now, rng, actions);
            }
            (State::Requesting(offer), MessageType::ACK) => {
                let offer = *offer;
                if message.your_address == offer.address
                    && let Some(lease) = lease_of(message, offer.server)
                {
                    self.given(now, rng, lease, actions);
                }
            }
            (State::Renewing | State::Rebinding, MessageType::ACK) => {
                let Some(held) = &self.held else { return };
                let same = message.your_address == held.lease.address;
                if let Some(lease) = lease_of(message, held.lease.server).filter(|_| same) {
                    self.bind(now, lease, actions);
                }
            }
            (State::Requesting(offer), MessageType::NAK) if server == Some(offer.server) => {
                self.restart(now, PROBE_WAIT, actions);
            }
            (State::Renewing | State::Rebinding, MessageType::NAK) => {
                self.restart(now, PROBE_WAIT, actions);
            }
            _ => {}
        }
    }

    /// Time has passed.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        actions: &mut Vec<Action>,
    ) {
        if self.announcement.is_some_and(|at| at <= now) {
            self.announcement = None;
            actions.extend(self.lease().map(|lease| Action::Announce(lease.address)));
        }
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        match &mut self.state {
            State::Init => {
                self.transaction = rng.next_u32();
                (self.state, self.began, self.attempts) = (State::Selecting, now, 0);
                self.ask(now, rng, actions);
            }
            State::Requesting(_) if self.attempts >= REQUESTS => {
                self.restart(now, Duration::ZERO, actions);
            }
            State::Selecting | State::Requesting(_) => self.ask(now, rng, actions),
            State::Probing { lease, sent } if *sent >= self.probes => {
                let lease = lease.clone();
                self.begin_to_use(now, lease, actions);
            }
            State::Probing { lease, sent } => {
                actions.push(Action::Probe(lease.address));
                *sent += 1;
                let last = *sent >= self.probes;
                let wait = match last {
                    true => ANNOUNCE_WAIT,
                    false => PROBE_MIN + random_part(rng, PROBE_MAX - PROBE_MIN),
                };
                self.due = Some(now.after(wait));
            }
            State::Bound => {
                self.transaction = rng.next_u32();
                (self.state, self.began) = (State::Renewing, now);
                self.prolong(now, actions);
            }
            State::Renewing | State::Rebinding => self.prolong(now, actions),
        }
    }

    /// Somebody else has the address that was given to us (RFC 2131 4.4.1, RFC 5227 2.1.1), or claims the
    /// one that we have (2.4).
    pub(super) fn handle_conflict(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let held = self.held.as_ref().map(|held| &held.lease);
        let lease = if let State::Probing { lease, .. } = &self.state { Some(lease) } else { held };
        let Some(lease) = lease else { return };
        let (address, server) = (lease.address, lease.server);
        let mut message = self.message(MessageType::DECLINE, now);
        message.options.requested_address = Some(address);
        message.options.server_identifier = Some(server);
        actions.push(Action::Broadcast(message, Ipv4Addr::UNSPECIFIED));
        self.conflicts = self.conflicts.saturating_add(1);
        let often = self.conflicts >= MAX_CONFLICTS;
        self.restart(now, if often { RATE_LIMIT_INTERVAL } else { AFTER_DECLINE }, actions);
    }

    /// The address is needed no longer (RFC 2131 4.4.6).
    pub(super) fn release(&mut self, now: Instant, rng: &mut impl Rng) -> Option<Action> {
        let held = self.held.as_ref()?;
        let (address, server) = (held.lease.address, held.lease.server);
        self.transaction = rng.next_u32();
        let mut message = self.message(MessageType::RELEASE, now);
        message.client_address = address;
        message.options.server_identifier = Some(server);
        (self.due, self.announcement) = (None, None);
        Some(Action::Unicast(message, server))
    }

    /// Asks which servers there are, or for what one offered, and says when that is repeated: 4 s, 8 s
    /// and so on, each a second more or less (RFC 2131 4.1).
    fn ask(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        let mut message = self.message(MessageType::DISCOVER, now);
        message.broadcast = true;
        if let State::Requesting(offer) = &self.state {
            message.kind = MessageType::REQUEST;
            message.options.requested_address = Some(offer.address);
            message.options.server_identifier = Some(offer.server);
        }
        actions.push(Action::Broadcast(message, Ipv4Addr::UNSPECIFIED));
        let wait = FIRST_WAIT * 2u32.pow(self.attempts.min(DOUBLINGS));
        let wait = wait - Duration::from_secs(1) + random_part(rng, Duration::from_secs(2));
        self.attempts = self.attempts.saturating_add(1);
        self.due = Some(now.after(wait));
    }

    /// Asks to prolong the lease; when nobody did by the end, the address is gone (RFC 2131 4.4.5).
    fn prolong(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(Held { lease, rebind_at, until }) = self.held.clone() else { return };
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_over(until) {
            return self.restart(now, Duration::ZERO, actions);
        }
        if is_over(rebind_at) {
            self.state = State::Rebinding;
        }
        let mut message = self.message(MessageType::REQUEST, now);
        message.client_address = lease.address;
        let (action, end) = match self.state {
            State::Rebinding => (Action::Broadcast(message, lease.address), until),
            _ => (Action::Unicast(message, lease.server), rebind_at),
        };
        actions.push(action);
        let left = end.map_or(Duration::MAX, |end| end.since(now));
        self.due = Some(now.after((left / 2).max(LEAST_RENEWAL_WAIT).min(left)));
    }

    /// A server gave us an address: it is ours when nobody else has it.
    fn given(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        lease: DhcpLease,
        actions: &mut Vec<Action>,
    ) {
        if self.probes == 0 {
            return self.begin_to_use(now, lease, actions);
        }
        self.state = State::Probing { lease, sent: 0 };
        self.due = Some(now.after(random_part(rng, PROBE_WAIT)));
    }

    /// The address is ours, and everybody hears it (RFC 5227 2.3).
    fn begin_to_use(&mut self, now: Instant, lease: DhcpLease, actions: &mut Vec<Action>) {
        let address = lease.address;
        self.bind(now, lease, actions);
        actions.push(Action::Announce(address));
        self.announcement = Some(now.after(ANNOUNCE_INTERVAL));
        self.conflicts = 0;
    }

    fn bind(&mut self, now: Instant, lease: DhcpLease, actions: &mut Vec<Action>) {
        // The time runs from when it was asked for (RFC 2131 4.4.1).
        let after = |time: Option<Duration>| time.map(|time| self.began.after(time));
        let until = after(lease.lease_time);
        let rebind_at = after(lease.rebind_after);
        self.due = after(lease.renew_after).map(|at| at.max(now));
        self.held = Some(Held { lease: lease.clone(), rebind_at, until });
        self.state = State::Bound;
        actions.push(Action::Bind(lease));
    }

    /// Begins again after a while, without an address.
    fn restart(&mut self, now: Instant, wait: Duration, actions: &mut Vec<Action>) {
        if self.held.take().is_some() {
            actions.push(Action::Unbind);
        }
        (self.state, self.due, self.announcement) = (State::Init, Some(now.after(wait)), None);
    }

    fn message(&self, kind: MessageType, now: Instant) -> Message {
        let asks = matches!(kind, MessageType::DISCOVER | MessageType::REQUEST);
        let wanted = [
            option::SUBNET_MASK,
            option::ROUTERS,
            option::DNS_SERVERS,
            option::DOMAIN_NAME,
            option::INTERFACE_MTU,
        ];
        Message {
            kind,
            transaction: self.transaction,
            seconds: u16::try_from(now.since(self.began).as_secs()).unwrap_or(u16::MAX),
            broadcast: false,
            client_address: Ipv4Addr::UNSPECIFIED,
            your_address: Ipv4Addr::UNSPECIFIED,
            next_server: Ipv4Addr::UNSPECIFIED,
            relay: Ipv4Addr::UNSPECIFIED,
            hardware: self.hardware,
            options: Options {
                parameter_list: if asks { wanted.to_vec() } else { Vec::new() },
                max_message_size: asks.then_some(1500),
                ..Options::default()
            },
        }
    }
}

/// What an ACK gives us; `None` when it makes no sense.
fn lease_of(message: &Message, server: Ipv4Addr) -> Option<DhcpLease> {
    let Options { lease_time, renewal_time, rebinding_time, .. } = message.options;
    let address = message.your_address;
    let seconds = lease_time.filter(|&time| time > 0)?;
    let finite = (seconds != INFINITE).then_some(seconds);
    // RFC 2131 4.4.5: T1 is half of the time and T2 seven eighths, where the server says nothing or
    // nothing that makes sense.
    let rebind =
        finite.map(|time| rebinding_time.filter(|&t2| t2 <= time).unwrap_or(time - time / 8));
    let renew = finite
        .zip(rebind)
        .map(|(time, t2)| renewal_time.filter(|&t1| t1 <= t2).unwrap_or((time / 2).min(t2)));
    let duration = |seconds: Option<u32>| seconds.map(|s| Duration::from_secs(s.into()));
    is_host(address).then(|| DhcpLease {
        address,
        prefix_len: message.options.prefix_len.unwrap_or_else(|| classful_prefix(address)),
        routers: message.options.routers.clone(),
        dns_servers: message.options.dns_servers.clone(),
        domain_name: message.options.domain_name.clone(),
        mtu: message.options.mtu,
        server: message.options.server_identifier.unwrap_or(server),
        lease_time: duration(finite),
        renew_after: duration(renew),
        rebind_after: duration(rebind),
    })
}

/// Where no mask is given, that of the address's class (RFC 950 2.1).
fn classful_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

fn is_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

fn random_part(rng: &mut impl Rng, most: Duration) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(rng.next_u64() % most)
}

#[cfg(test)]
mod tests;
