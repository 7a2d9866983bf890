//! Which groups we are in, from which sources we hear them, and that routers are told: what IGMPv3 and
//! MLDv2 have in common (RFC 9776 5, RFC 9777 6). [`igmp`](super::igmp) and [`mld`](super::mld) say it.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand_core::Rng;
use wire::time::Instant;
use wire::{igmp, ipv6};

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::group_record::GroupRecord;
use crate::ip::group_talk::{Due, Query, Talk};
use crate::ip::interfaces::Interfaces;
use crate::ip::source_filter::{Difference, Filter, Merged};
use crate::shared::Shared;

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
    /// From whom they hear it.
    filters: Merged,
}

impl Groups {
    /// Whether other shards of the host are in groups, too.
    pub(super) fn set_siblings(&mut self, has_siblings: bool) {
        self.has_siblings = has_siblings;
    }

    /// A socket hears the group as `after` says and no longer as `before`; what it is not in it hears
    /// from [nobody](Filter::NOBODY). Gives the filters of the interface before and after.
    pub(super) fn set_filter(
        &mut self,
        interface: InterfaceId,
        group: IpAddr,
        (before, after): (&Filter, &Filter),
    ) -> (Filter, Filter) {
        let is_it = |member: &Member| (member.interface, member.group) == (interface, group);
        let place = self.members.iter().position(is_it).unwrap_or_else(|| {
            self.members.push(Member { interface, group, filters: Merged::default() });
            self.members.len() - 1
        });
        let filters = &mut self.members[place].filters;
        let old = filters.filter();
        filters.remove(before);
        filters.add(after);
        let new = filters.filter();
        if filters.is_empty() {
            self.members.swap_remove(place);
        }
        (old, new)
    }

    /// From whom the sockets of an interface hear a group.
    fn filter(&self, interface: InterfaceId, group: IpAddr) -> Filter {
        let is_it = |member: &&Member| (member.interface, member.group) == (interface, group);
        let member = self.members.iter().find(is_it);
        member.map_or(Filter::NOBODY, |member| member.filters.filter())
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

    /// We are in a group from now on, or no longer: the routers are to know (RFC 9776 5.1, RFC 9777 6.1).
    pub(super) fn came_or_went(&mut self, shared: &Shared, interface: InterfaceId, group: IpAddr) {
        self.tell(shared, interface, group, Difference::Mode);
    }

    /// A router asks who is in groups, of which `ours` are all on this link.
    pub(super) fn asked(
        &mut self,
        shared: &Shared,
        rng: &mut impl Rng,
        interface: InterfaceId,
        v4: bool,
        query: Query,
        ours: &[IpAddr],
    ) {
        let talk = self.talk(interface, v4);
        if shared.config.follow_older_queriers {
            talk.hear_version(shared.now, query.version, query.max_response);
        }
        talk.asked(shared.now, rng, query, ours, shared.config.sources_per_group);
    }

    /// Somebody else said in an older version that it is in the group: once is enough (RFC 2236 3,
    /// RFC 2710 4).
    fn overheard(&mut self, now: Instant, interface: InterfaceId, group: IpAddr, is_ours: bool) {
        let v4 = group.is_ipv4();
        let is_it = |talk: &&mut Talk| talk.interface == interface && talk.v4 == v4;
        let Some(talk) = self.talks.iter_mut().find(is_it) else { return };
        if talk.is_old(now) {
            talk.forget(group, is_ours);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.talks.iter().filter_map(Talk::due).min()
    }

    /// What is to be said on some link now.
    fn pop_due(&mut self, now: Instant, rng: &mut impl Rng) -> Option<Due> {
        let talk = self.talks.iter_mut().find(|talk| talk.due().is_some_and(|due| due <= now))?;
        Some(talk.take_due(now, rng))
    }

    /// The filter of an interface changed. Older versions know only who is in a group and who is not.
    fn filter_changed(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        group: IpAddr,
        (before, after): (&Filter, &Filter),
    ) {
        let Some(difference) = before.difference(after) else { return };
        let comes_or_goes = before.is_nobody() != after.is_nobody();
        if comes_or_goes || !self.talk(interface, group.is_ipv4()).is_old(shared.now) {
            self.tell(shared, interface, group, difference);
        }
    }

    fn tell(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        group: IpAddr,
        difference: Difference,
    ) {
        if !is_never_told(group) {
            let limit = shared.config.sources_per_group;
            let talk = self.talk(interface, group.is_ipv4());
            talk.change(shared.now, group, difference, limit);
        }
    }

    fn talk(&mut self, interface: InterfaceId, v4: bool) -> &mut Talk {
        let is_it = |talk: &Talk| talk.interface == interface && talk.v4 == v4;
        let place = self.talks.iter().position(is_it).unwrap_or_else(|| {
            self.talks.push(Talk::new(interface, v4));
            self.talks.len() - 1
        });
        &mut self.talks[place]
    }
}

impl Interfaces {
    /// A socket joins a group on an interface, leaves it, or changes from whom it hears it; who is not
    /// in it hears it from [nobody](Filter::NOBODY).
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when there is no such interface, or it is the loopback.
    pub(crate) fn set_group_filter(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        group: IpAddr,
        (before, after): (&Filter, &Filter),
    ) -> Result<(), Error> {
        if interface == InterfaceId::LOOPBACK || self.capabilities(interface).is_none() {
            return Err(Error::AddressNotAvailable);
        }
        self.autoconf.active = true;
        let groups = &mut self.autoconf.groups;
        let (before, after) = groups.set_filter(interface, group, (before, after));
        if !self.asks_for_us(interface, group) {
            let filters = (&before, &after);
            self.autoconf.groups.filter_changed(shared, interface, group, filters);
        }
        self.changed();
        Ok(())
    }

    /// From whom a group is heard on an interface: by sockets, or because neighbours ask for our
    /// addresses in it.
    pub(super) fn group_filter(&self, interface: InterfaceId, group: IpAddr) -> Filter {
        if self.asks_for_us(interface, group) {
            return Filter::EVERYBODY;
        }
        self.autoconf.groups.filter(interface, group)
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

    /// Somebody else said in an older version that it is in the group.
    pub(super) fn membership_overheard(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        group: IpAddr,
    ) {
        let is_ours = !self.group_filter(interface, group).is_nobody();
        self.autoconf.groups.overheard(shared.now, interface, group, is_ours);
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

    /// The changes that are due, as the newest versions tell them.
    pub(super) fn changed_records(&self, due: &Due) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for (group, difference) in &due.changes {
            let filter = self.group_filter(due.interface, *group);
            match difference {
                Difference::Mode => records.push(GroupRecord::of_mode(*group, &filter)),
                Difference::Sources(sources) => {
                    records.extend(GroupRecord::of_changes(*group, &filter, sources));
                }
            }
        }
        records
    }

    /// The answers that are due, as the newest versions give them; `ours` are all groups of the link.
    pub(super) fn answers(&self, due: &Due, ours: &[IpAddr]) -> Vec<GroupRecord> {
        let answer = |group: IpAddr, asked: &[IpAddr]| {
            GroupRecord::answer(group, &self.group_filter(due.interface, group), asked)
        };
        let specific =
            due.specific.iter().filter(|(group, _)| !due.general && ours.contains(group));
        let specific = specific.filter_map(|(group, sources)| answer(*group, sources));
        let general = ours.iter().filter(|_| due.general).filter_map(|group| answer(*group, &[]));
        general.chain(specific).collect()
    }

    /// Whether it is the group in which neighbours ask for an address of ours.
    fn asks_for_us(&self, interface: InterfaceId, group: IpAddr) -> bool {
        let on_link = self.ethernet_address(interface).is_some();
        on_link
            && self.assigned(interface).any(|own| match own.address {
                IpAddr::V6(address) => IpAddr::V6(ipv6::solicited_node(address)) == group,
                IpAddr::V4(_) => false,
            })
    }
}

/// Whether a group is heard from named sources alone (RFC 4607 1): 232.0.0.0/8 and ff3x::/32.
pub(crate) fn is_source_specific(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4.octets()[0] == 232,
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            first & 0xfff0 == 0xff30 && second == 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use rand_chacha::ChaCha12Rng;
    use rand_core::SeedableRng;
    use wire::time::Duration;

    const LINK: InterfaceId = InterfaceId(1);
    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
    const JOIN: (&Filter, &Filter) = (&Filter::NOBODY, &Filter::EVERYBODY);
    const LEAVE: (&Filter, &Filter) = (&Filter::EVERYBODY, &Filter::NOBODY);

    fn at(seconds: u64) -> Shared {
        let mut shared = Shared::new(Config::default());
        shared.now = Instant::ZERO.after(Duration::from_secs(seconds));
        shared
    }

    fn query(version: u8) -> Query {
        let sources = Vec::new();
        Query { group: None, sources, version, max_response: Duration::from_secs(10) }
    }

    #[test]
    fn a_group_is_left_when_the_last_leaves_it() {
        let mut groups = Groups::default();
        let mut set = |filters| groups.set_filter(LINK, GROUP, filters);
        assert_eq!(set(JOIN), (Filter::NOBODY, Filter::EVERYBODY));
        assert_eq!(set(JOIN), (Filter::EVERYBODY, Filter::EVERYBODY));
        assert_eq!(set(LEAVE), (Filter::EVERYBODY, Filter::EVERYBODY));
        assert!(groups.is_member(LINK, GROUP));
        let left = groups.set_filter(LINK, GROUP, LEAVE);
        assert_eq!(left, (Filter::EVERYBODY, Filter::NOBODY));
        assert!(!groups.is_member(LINK, GROUP));
    }

    /// RFC 9776 8.12: an older querier counts until it was silent for two of its intervals and ten times
    /// what it gave for an answer.
    #[test]
    fn an_older_querier_is_followed_for_as_long_as_it_asks() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let mut groups = Groups::default();
        groups.set_filter(LINK, GROUP, JOIN);
        groups.asked(&at(2), &mut rng, LINK, true, query(2), &[GROUP]);
        assert_eq!(groups.talk(LINK, true).version(at(100).now), 2);
        groups.asked(&at(100), &mut rng, LINK, true, query(1), &[GROUP]);
        assert_eq!(groups.talk(LINK, true).version(at(101).now), 1);
        groups.asked(&at(200), &mut rng, LINK, true, query(2), &[GROUP]);
        assert_eq!(groups.talk(LINK, true).version(at(201).now), 1);
        assert_eq!(groups.talk(LINK, true).version(at(100 + 349).now), 1);
        assert_eq!(groups.talk(LINK, true).version(at(100 + 350).now), 2);
        let hasty = Query { max_response: Duration::from_secs(1), ..query(2) };
        groups.asked(&at(200), &mut rng, LINK, true, hasty, &[GROUP]);
        assert_eq!(groups.talk(LINK, true).version(at(200 + 259).now), 2);
        assert_eq!(groups.talk(LINK, true).version(at(200 + 260).now), 3);
    }

    /// RFC 9777 9.12: with MLD it is what it gave for an answer once.
    #[test]
    fn an_older_querier_of_ipv6_is_followed_for_as_long_as_it_asks() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let mut groups = Groups::default();
        groups.asked(&at(100), &mut rng, LINK, false, query(1), &[]);
        assert_eq!(groups.talk(LINK, false).version(at(100 + 259).now), 1);
        assert_eq!(groups.talk(LINK, false).version(at(100 + 260).now), 2);
    }

    /// RFC 9776 7.2.1: following older queriers can be turned off.
    #[test]
    fn an_older_querier_is_answered_as_any_where_that_is_wanted() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let mut groups = Groups::default();
        groups.set_filter(LINK, GROUP, JOIN);
        let config = Config { follow_older_queriers: false, ..Config::default() };
        let mut shared = Shared::new(config);
        shared.set_time(at(2).now);
        groups.asked(&shared, &mut rng, LINK, true, query(1), &[GROUP]);
        let due = groups.pop_due(at(12).now, &mut rng).unwrap();
        assert_eq!((due.version, due.general), (3, true));
    }

    /// RFC 9776 5.2: however many questions, a bounded number of answers.
    #[test]
    fn a_flood_of_questions_is_answered_once() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let mut groups = Groups::default();
        groups.set_filter(LINK, GROUP, JOIN);
        for n in 0..1000_u32 {
            let other = IpAddr::V4(Ipv4Addr::from_bits(0xef00_0000 + n));
            groups.asked(&at(10), &mut rng, LINK, true, query(3), &[GROUP]);
            let group = Some(if n % 2 == 0 { GROUP } else { other });
            let sources = Vec::from([other]);
            let query = Query { group, sources, ..query(3) };
            groups.asked(&at(10), &mut rng, LINK, true, query, &[GROUP]);
        }
        let mut answers = 0;
        while groups.pop_due(at(21).now, &mut rng).is_some() {
            answers += 1;
        }
        assert!((1..=2).contains(&answers), "{answers}");
        assert_eq!(groups.talk(LINK, true).questions(), 0);
    }
}
