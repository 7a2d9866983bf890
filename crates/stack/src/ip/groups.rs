//! Which groups we are in, and what is to be said about them and when: what IGMPv3 and MLDv2 have in
//! common (RFC 9776 5, RFC 9777 6). [`igmp`](super::igmp) and [`mld`](super::mld) say it.
//!
//! Everybody who is in a group hears all sources of it: filters by source are not offered. So a report
//! never names a source, and a question about some sources is answered for the whole group.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand_core::Rng;
use wire::membership::RecordKind;
use wire::time::{Duration, Instant};
use wire::{igmp, ipv6};

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;
use crate::shared::Shared;

/// How often a change is told (RFC 9776 8.1, RFC 9777 9.1: Robustness Variable, 2).
const ROBUSTNESS: u8 = 2;

/// The most time between two reports of the same change (RFC 9776 8.11, RFC 9777 9.11).
const UNSOLICITED_INTERVAL: Duration = Duration::from_secs(1);

/// The same for versions before those (RFC 2236 8.10, RFC 2710 7.10).
const UNSOLICITED_INTERVAL_OLD: Duration = Duration::from_secs(10);

/// How long a querier of an older version is taken to be there after it asked: twice the interval in
/// which such queriers ask, and the longest answer (RFC 9776 8.12, RFC 9777 9.12).
const OLDER_QUERIER_PRESENT: Duration = Duration::from_secs(2 * 125 + 10);

/// The groups of all interfaces.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    members: Vec<Member>,
    talks: Vec<Talk>,
    /// Other shards of the host are in groups of their own, of which this one does not know.
    has_siblings: bool,
}

/// A group that sockets joined.
#[derive(Debug)]
struct Member {
    interface: InterfaceId,
    group: IpAddr,
    /// How many sockets are in it.
    users: usize,
}

/// What is to be said on one link about the groups of one family.
#[derive(Debug)]
struct Talk {
    interface: InterfaceId,
    v4: bool,
    changes: Vec<Change>,
    /// When a question about all groups is answered.
    general: Option<Instant>,
    /// The same for questions about one.
    specific: Vec<(IpAddr, Instant)>,
    /// Until when queriers of older versions are taken to be there, the oldest version first.
    older: [Option<Instant>; 2],
}

/// A change that is still to be told.
#[derive(Debug)]
struct Change {
    group: IpAddr,
    kind: RecordKind,
    left: u8,
    due: Instant,
}

/// What is to be said on a link now.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) interface: InterfaceId,
    pub(super) v4: bool,
    /// The routers of the link know no newer version than this.
    pub(super) version: u8,
    pub(super) changes: Vec<(IpAddr, RecordKind)>,
    /// Questions about all groups.
    pub(super) general: bool,
    /// Questions about one.
    pub(super) specific: Vec<IpAddr>,
}

/// A router's question, as both protocols ask it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// `None` asks about all groups.
    pub(super) group: Option<IpAddr>,
    pub(super) version: u8,
    pub(super) max_response: Duration,
}

impl Groups {
    /// Whether other shards of the host are in groups, too.
    pub(super) fn set_siblings(&mut self, has_siblings: bool) {
        self.has_siblings = has_siblings;
    }

    /// One more socket is in the group.
    pub(super) fn join(&mut self, shared: &Shared, interface: InterfaceId, group: IpAddr) {
        let is_it = |member: &&mut Member| (member.interface, member.group) == (interface, group);
        if let Some(member) = self.members.iter_mut().find(is_it) {
            member.users += 1;
            return;
        }
        self.members.push(Member { interface, group, users: 1 });
        self.joined(shared, interface, group);
    }

    /// One socket less; says whether it was the last.
    pub(super) fn leave(&mut self, interface: InterfaceId, group: IpAddr) -> bool {
        let is_it = |member: &Member| (member.interface, member.group) == (interface, group);
        let Some(place) = self.members.iter().position(is_it) else { return false };
        self.members[place].users = self.members[place].users.saturating_sub(1);
        let last = self.members[place].users == 0;
        if last {
            self.members.swap_remove(place);
        }
        last
    }

    /// Whether a socket is in the group.
    pub(super) fn is_member(&self, interface: InterfaceId, group: IpAddr) -> bool {
        let is_it = |member: &Member| (member.interface, member.group) == (interface, group);
        self.members.iter().any(is_it)
    }

    /// Whether a socket, here or on another shard, may be in the group.
    pub(super) fn may_be_member(&self, interface: InterfaceId, group: IpAddr) -> bool {
        self.has_siblings || self.is_member(interface, group)
    }

    /// The groups of one family that sockets of an interface are in, but those that are never told.
    pub(super) fn members(
        &self,
        interface: InterfaceId,
        v4: bool,
    ) -> impl Iterator<Item = IpAddr> + '_ {
        let of_link =
            move |member: &&Member| member.interface == interface && member.group.is_ipv4() == v4;
        let groups = self.members.iter().filter(of_link).map(|member| member.group);
        groups.filter(|group| !is_never_told(*group))
    }

    /// We are in a group from now on: the routers are to know (RFC 9776 5.1, RFC 9777 6.1).
    pub(super) fn joined(&mut self, shared: &Shared, interface: InterfaceId, group: IpAddr) {
        self.change(shared, interface, group, RecordKind::TO_EXCLUDE);
    }

    /// We are in a group no longer.
    pub(super) fn left(&mut self, shared: &Shared, interface: InterfaceId, group: IpAddr) {
        self.change(shared, interface, group, RecordKind::TO_INCLUDE);
    }

    /// A router asks who is in groups, of which `ours` are all on this link: it is answered once, after a
    /// random time (RFC 9776 5.2, RFC 9777 6.2).
    pub(super) fn asked(
        &mut self,
        shared: &Shared,
        rng: &mut impl Rng,
        interface: InterfaceId,
        v4: bool,
        question: Question,
        ours: &[IpAddr],
    ) {
        let talk = self.talk(interface, v4);
        talk.hear_version(shared.now, question.version);
        let speaks_new = talk.version(shared.now) == newest(v4);
        let mut due = || random_before(rng, shared.now, question.max_response);
        match question.group {
            None if speaks_new => {
                let due = due();
                talk.general = Some(talk.general.map_or(due, |earlier| earlier.min(due)));
                talk.specific.clear();
            }
            // Older versions have a message for each group, and each has its own time.
            None => ours.iter().for_each(|&group| talk.ask_about(group, due())),
            Some(group) if ours.contains(&group) => {
                let due = due();
                if talk.general.is_none_or(|general| general > due) {
                    talk.ask_about(group, due);
                }
            }
            Some(_) => {}
        }
    }

    /// Somebody else said in an older version that it is in the group: once is enough (RFC 2236 3,
    /// RFC 2710 4).
    pub(super) fn overheard(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) {
        let v4 = group.is_ipv4();
        let is_it = |talk: &&mut Talk| talk.interface == interface && talk.v4 == v4;
        let Some(talk) = self.talks.iter_mut().find(is_it) else { return };
        if talk.version(now) < newest(v4) {
            talk.specific.retain(|(other, _)| *other != group);
            let joins = |c: &Change| c.group == group && c.kind == RecordKind::TO_EXCLUDE;
            talk.changes.retain(|change| !joins(change));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.talks.iter().filter_map(Talk::due).min()
    }

    /// What is to be said on some link now.
    pub(super) fn pop_due(&mut self, now: Instant, rng: &mut impl Rng) -> Option<Due> {
        let talk = self.talks.iter_mut().find(|talk| talk.due().is_some_and(|due| due <= now))?;
        let version = talk.version(now);
        let interval = if version == newest(talk.v4) {
            UNSOLICITED_INTERVAL
        } else {
            UNSOLICITED_INTERVAL_OLD
        };
        let again = random_before(rng, now, interval);
        let mut changes = Vec::new();
        for change in talk.changes.iter_mut().filter(|change| change.due <= now) {
            changes.push((change.group, change.kind));
            (change.left, change.due) = (change.left.saturating_sub(1), again);
        }
        talk.changes.retain(|change| change.left > 0);
        let general = talk.general.take_if(|due| *due <= now).is_some();
        let is_due = |&(_, due): &(IpAddr, Instant)| due <= now;
        let specific = talk.specific.iter().copied().filter(is_due).map(|(group, _)| group);
        let specific = specific.collect();
        talk.specific.retain(|question| !is_due(question));
        let (interface, v4) = (talk.interface, talk.v4);
        Some(Due { interface, v4, version, changes, general, specific })
    }

    /// A new change takes the place of an older one about the same group (RFC 9777 6.1).
    fn change(&mut self, shared: &Shared, interface: InterfaceId, group: IpAddr, kind: RecordKind) {
        if is_never_told(group) {
            return;
        }
        let talk = self.talk(interface, group.is_ipv4());
        talk.changes.retain(|other| other.group != group);
        talk.changes.push(Change { group, kind, left: ROBUSTNESS, due: shared.now });
    }

    fn talk(&mut self, interface: InterfaceId, v4: bool) -> &mut Talk {
        let is_it = |talk: &Talk| talk.interface == interface && talk.v4 == v4;
        let place = self.talks.iter().position(is_it).unwrap_or_else(|| {
            self.talks.push(Talk {
                interface,
                v4,
                changes: Vec::new(),
                general: None,
                specific: Vec::new(),
                older: [None; 2],
            });
            self.talks.len() - 1
        });
        &mut self.talks[place]
    }
}

impl Talk {
    fn due(&self) -> Option<Instant> {
        let changes = self.changes.iter().map(|change| change.due);
        let questions = self.specific.iter().map(|&(_, due)| due).chain(self.general);
        changes.chain(questions).min()
    }

    /// The newest version that all queriers know (RFC 9776 7.2.1, RFC 9777 8.2.1).
    fn version(&self, now: Instant) -> u8 {
        let is_there = |until: Option<Instant>| until.is_some_and(|until| until > now);
        match self.older {
            [oldest, _] if is_there(oldest) => 1,
            [_, older] if is_there(older) => 2,
            _ => newest(self.v4),
        }
    }

    /// A querier speaks `version`. Whoever changes the version forgets what was still to be said in the
    /// other.
    fn hear_version(&mut self, now: Instant, version: u8) {
        let before = self.version(now);
        let oldest_first = usize::from(version).wrapping_sub(1);
        if version < newest(self.v4)
            && let Some(until) = self.older.get_mut(oldest_first)
        {
            *until = Some(now.after(OLDER_QUERIER_PRESENT));
        }
        if self.version(now) != before {
            self.changes.clear();
            self.specific.clear();
            self.general = None;
        }
    }

    fn ask_about(&mut self, group: IpAddr, due: Instant) {
        if is_never_told(group) {
            return;
        }
        match self.specific.iter_mut().find(|(other, _)| *other == group) {
            Some((_, earlier)) => *earlier = due.min(*earlier),
            None => self.specific.push((group, due)),
        }
    }
}

impl Interfaces {
    /// A socket joins a group on an interface.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when there is no such interface, or it is the loopback.
    pub(crate) fn join_group(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        group: IpAddr,
    ) -> Result<(), Error> {
        if interface == InterfaceId::LOOPBACK || self.capabilities(interface).is_none() {
            return Err(Error::AddressNotAvailable);
        }
        self.autoconf.active = true;
        self.autoconf.groups.join(shared, interface, group);
        self.changed();
        Ok(())
    }

    /// A socket leaves a group.
    pub(crate) fn leave_group(&mut self, shared: &Shared, interface: InterfaceId, group: IpAddr) {
        if self.autoconf.groups.leave(interface, group) {
            let ours = matches!(group, IpAddr::V6(v6) if self.is_in_group(interface, v6));
            if !ours {
                self.autoconf.groups.left(shared, interface, group);
            }
            self.changed();
        }
    }

    /// Whether packets to a group of IPv4 are for us: what sockets joined, and what everybody is in
    /// (RFC 1112 7.2).
    pub(super) fn is_in_group_v4(&self, interface: InterfaceId, group: Ipv4Addr) -> bool {
        group == igmp::ALL_SYSTEMS || self.autoconf.groups.is_member(interface, group.into())
    }

    /// Whether somebody here may hear what we send to a group or to everybody over `interface`.
    pub(crate) fn may_hear(&self, interface: InterfaceId, address: IpAddr) -> bool {
        !address.is_multicast()
            || is_never_told(address)
            || self.autoconf.groups.may_be_member(interface, address)
    }

    /// Whether other shards of the host have sockets, too.
    pub(crate) fn has_siblings(&self) -> bool {
        self.autoconf.groups.has_siblings
    }

    /// Says what is due.
    pub(super) fn report_groups(&mut self, shared: &Shared) {
        loop {
            let autoconf = &mut self.autoconf;
            let Some(due) = autoconf.groups.pop_due(shared.now, &mut autoconf.random) else {
                return;
            };
            if due.v4 { self.report_v4(&due) } else { self.report_v6(&due) }
        }
    }
}

/// Everybody is in the group, and nobody says so (RFC 9776 5, RFC 9777 6): that of all hosts, and those
/// that do not leave the host.
pub(crate) fn is_never_told(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4 == igmp::ALL_SYSTEMS,
        IpAddr::V6(v6) => v6 == ipv6::group::ALL_NODES || scope_of(v6) <= 1,
    }
}

/// How far a group of IPv6 reaches (RFC 4291 2.7).
fn scope_of(group: Ipv6Addr) -> u8 {
    group.octets()[1] & 0xf
}

/// IGMPv3, MLDv2.
fn newest(v4: bool) -> u8 {
    if v4 { 3 } else { 2 }
}

/// A moment within the time that is left.
fn random_before(rng: &mut impl Rng, now: Instant, most: Duration) -> Instant {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
    now.after(Duration::from_micros(rng.next_u64() % most + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use rand_chacha::ChaCha12Rng;
    use rand_core::SeedableRng;

    const LINK: InterfaceId = InterfaceId(1);
    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));

    fn at(seconds: u64) -> Shared {
        let mut shared = Shared::new(Config::default());
        shared.now = Instant::ZERO.after(Duration::from_secs(seconds));
        shared
    }

    fn question(version: u8) -> Question {
        Question { group: None, version, max_response: Duration::from_secs(10) }
    }

    #[test]
    fn a_group_is_left_when_the_last_leaves_it() {
        let mut groups = Groups::default();
        let shared = at(1);
        groups.join(&shared, LINK, GROUP);
        groups.join(&shared, LINK, GROUP);
        assert!(!groups.leave(LINK, GROUP) && groups.is_member(LINK, GROUP));
        assert!(groups.leave(LINK, GROUP) && !groups.is_member(LINK, GROUP));
        assert!(!groups.leave(LINK, GROUP));
    }

    /// RFC 9776 7.2.1: an older querier counts until it was silent for two of its intervals and more.
    #[test]
    fn an_older_querier_is_followed_for_as_long_as_it_asks() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let mut groups = Groups::default();
        groups.join(&at(1), LINK, GROUP);
        groups.asked(&at(2), &mut rng, LINK, true, question(2), &[GROUP]);
        assert_eq!(groups.talk(LINK, true).version(at(100).now), 2);
        groups.asked(&at(100), &mut rng, LINK, true, question(1), &[GROUP]);
        assert_eq!(groups.talk(LINK, true).version(at(101).now), 1);
        groups.asked(&at(200), &mut rng, LINK, true, question(2), &[GROUP]);
        assert_eq!(groups.talk(LINK, true).version(at(201).now), 1);
        assert_eq!(groups.talk(LINK, true).version(at(100 + 261).now), 2);
        assert_eq!(groups.talk(LINK, true).version(at(200 + 261).now), 3);
    }

    /// RFC 9776 5.2: however many questions, a bounded number of answers.
    #[test]
    fn a_flood_of_questions_is_answered_once() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let mut groups = Groups::default();
        groups.join(&at(1), LINK, GROUP);
        while groups.pop_due(at(9).now, &mut rng).is_some() {}
        for n in 0..1000_u32 {
            let other = IpAddr::V4(Ipv4Addr::from_bits(0xef00_0000 + n));
            groups.asked(&at(10), &mut rng, LINK, true, question(3), &[GROUP]);
            let group = Some(if n % 2 == 0 { GROUP } else { other });
            groups.asked(
                &at(10),
                &mut rng,
                LINK,
                true,
                Question { group, ..question(3) },
                &[GROUP],
            );
        }
        let mut answers = 0;
        while groups.pop_due(at(21).now, &mut rng).is_some() {
            answers += 1;
        }
        assert!((1..=2).contains(&answers), "{answers}");
        assert!(groups.talk(LINK, true).specific.is_empty());
    }
}
