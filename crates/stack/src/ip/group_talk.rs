//! What is to be said on one link about the groups of one family, and when (RFC 9776 5 and 7.2, RFC 9777
//! 6 and 8.2).

use alloc::vec::Vec;
use core::net::IpAddr;

use rand_core::Rng;
use wire::time::{Duration, Instant};

use crate::ip::InterfaceId;
use crate::ip::source_filter::Difference;

/// How often a change is told (RFC 9776 8.1, RFC 9777 9.1: Robustness Variable, 2).
const ROBUSTNESS: u8 = 2;

/// The most time between two reports of the same change (RFC 9776 8.11, RFC 9777 9.11).
const UNSOLICITED_INTERVAL: Duration = Duration::from_secs(1);

/// The same for versions before those (RFC 2236 8.10, RFC 2710 7.10).
const UNSOLICITED_INTERVAL_OLD: Duration = Duration::from_secs(10);

/// In what intervals queriers ask who do not say so themselves (RFC 9776 8.2, RFC 9777 9.2).
const QUERY_INTERVAL: Duration = Duration::from_secs(125);

/// What is to be said on one link about the groups of one family.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) interface: InterfaceId,
    pub(super) v4: bool,
    changes: Vec<Change>,
    /// When a question about all groups is answered.
    general: Option<Instant>,
    /// The same for questions about one.
    specific: Vec<Asked>,
    /// Until when queriers of older versions are taken to be there, the oldest version first.
    older: [Option<Instant>; 2],
}

/// A change that is still to be told. What is said of it is what is true when it is said.
#[derive(Debug)]
struct Change {
    group: IpAddr,
    /// How often the whole filter is still to be told, because its kind changed.
    mode_left: u8,
    /// The same for sources that are heard from now on, or no longer.
    sources: Vec<(IpAddr, u8)>,
    due: Instant,
}

/// A question about a group.
#[derive(Debug)]
struct Asked {
    group: IpAddr,
    /// About these sources of it; about all when there are none.
    sources: Vec<IpAddr>,
    due: Instant,
}

/// What is to be said on a link now.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) interface: InterfaceId,
    pub(super) v4: bool,
    /// The routers of the link know no newer version than this.
    pub(super) version: u8,
    pub(super) changes: Vec<(IpAddr, Difference)>,
    /// Questions about all groups.
    pub(super) general: bool,
    /// Questions about one, and about sources of it.
    pub(super) specific: Vec<(IpAddr, Vec<IpAddr>)>,
}

/// A router's question, as both protocols ask it.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// `None` asks about all groups.
    pub(super) group: Option<IpAddr>,
    /// None asks about all of the group.
    pub(super) sources: Vec<IpAddr>,
    pub(super) version: u8,
    pub(super) max_response: Duration,
}

impl Talk {
    pub(super) fn new(interface: InterfaceId, v4: bool) -> Self {
        let (changes, specific) = (Vec::new(), Vec::new());
        Self { interface, v4, changes, general: None, specific, older: [None; 2] }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let changes = self.changes.iter().map(|change| change.due);
        let questions = self.specific.iter().map(|asked| asked.due).chain(self.general);
        changes.chain(questions).min()
    }

    /// The newest version that all queriers know (RFC 9776 7.2.1, RFC 9777 8.2.1).
    pub(super) fn version(&self, now: Instant) -> u8 {
        let is_there = |until: Option<Instant>| until.is_some_and(|until| until > now);
        match self.older {
            [oldest, _] if is_there(oldest) => 1,
            [_, older] if is_there(older) => 2,
            _ => newest(self.v4),
        }
    }

    /// Whether that is an older one, which does not know of sources.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        self.version(now) < newest(self.v4)
    }

    /// A group's filter changed: it is told at once, and again soon. What was still to be told of it is
    /// told with it (RFC 9776 5.1, RFC 9777 6.1); with more than `limit` sources, the whole filter.
    pub(super) fn change(
        &mut self,
        now: Instant,
        group: IpAddr,
        difference: Difference,
        limit: usize,
    ) {
        let place = self.changes.iter().position(|change| change.group == group);
        let place = place.unwrap_or_else(|| {
            self.changes.push(Change { group, mode_left: 0, sources: Vec::new(), due: now });
            self.changes.len() - 1
        });
        let change = &mut self.changes[place];
        change.due = now;
        match difference {
            Difference::Mode => change.whole(),
            Difference::Sources(sources) => {
                change.sources.retain(|(source, _)| !sources.contains(source));
                change.sources.extend(sources.into_iter().map(|source| (source, ROBUSTNESS)));
                if change.sources.len() > limit {
                    change.whole();
                }
            }
        }
    }

    /// A router asks who is in groups, of which `ours` are all on this link: it is answered once, after a
    /// random time (RFC 9776 5.2, RFC 9777 6.2). At most `limit` sources are remembered; a question about
    /// more is one about the group.
    pub(super) fn asked(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        query: Query,
        ours: &[IpAddr],
        limit: usize,
    ) {
        let mut due = || random_before(rng, now, query.max_response);
        match query.group {
            None if !self.is_old(now) => {
                let due = due();
                self.general = Some(self.general.map_or(due, |earlier| earlier.min(due)));
            }
            // Older versions have a message for each group, and each has its own time.
            None => ours.iter().for_each(|&group| self.ask_about(group, Vec::new(), due(), limit)),
            Some(group) if ours.contains(&group) => {
                let due = due();
                if self.general.is_none_or(|general| general > due) {
                    self.ask_about(group, query.sources, due, limit);
                }
            }
            Some(_) => {}
        }
    }

    /// Of a group to which we belong, somebody else said so first.
    pub(super) fn forget(&mut self, group: IpAddr, with_changes: bool) {
        self.specific.retain(|asked| asked.group != group);
        self.changes.retain(|change| change.group != group || !with_changes);
    }

    /// What is to be said now.
    pub(super) fn take_due(&mut self, now: Instant, rng: &mut impl Rng) -> Due {
        let is_old = self.is_old(now);
        let interval = if is_old { UNSOLICITED_INTERVAL_OLD } else { UNSOLICITED_INTERVAL };
        let again = random_before(rng, now, interval);
        let changes = self.changes.iter_mut().filter(|change| change.due <= now);
        let changes = changes.map(|change| (change.group, change.tell(again))).collect();
        self.changes.retain(|change| !change.is_told());
        let specific = self.specific.extract_if(.., |asked| asked.due <= now);
        let specific = specific.map(|asked| (asked.group, asked.sources)).collect();
        Due {
            interface: self.interface,
            v4: self.v4,
            version: self.version(now),
            changes,
            general: self.general.take_if(|due| *due <= now).is_some(),
            specific,
        }
    }

    /// A querier speaks `version`. Whoever changes the version forgets what was still to be said in the
    /// other.
    pub(super) fn hear_version(&mut self, now: Instant, version: u8, max_response: Duration) {
        let before = self.version(now);
        let oldest_first = usize::from(version).wrapping_sub(1);
        if version < newest(self.v4)
            && let Some(until) = self.older.get_mut(oldest_first)
        {
            *until = Some(now.after(older_querier_present(self.v4, max_response)));
        }
        if self.version(now) != before {
            self.changes.clear();
            self.specific.clear();
            self.general = None;
        }
    }

    /// One answer for each group, to all questions about it.
    fn ask_about(&mut self, group: IpAddr, mut sources: Vec<IpAddr>, due: Instant, limit: usize) {
        sources.sort_unstable();
        sources.dedup();
        let Some(asked) = self.specific.iter_mut().find(|asked| asked.group == group) else {
            if sources.len() > limit {
                sources.clear();
            }
            return self.specific.push(Asked { group, sources, due });
        };
        asked.due = due.min(asked.due);
        if !asked.sources.is_empty() && !sources.is_empty() {
            sources.retain(|source| !asked.sources.contains(source));
            asked.sources.append(&mut sources);
        } else {
            asked.sources.clear();
        }
        if asked.sources.len() > limit {
            asked.sources.clear();
        }
    }

    #[cfg(test)]
    pub(super) fn questions(&self) -> usize {
        self.specific.len()
    }
}

impl Change {
    /// The whole filter is told, and with it the sources.
    fn whole(&mut self) {
        self.mode_left = ROBUSTNESS;
        self.sources.clear();
    }

    fn is_told(&self) -> bool {
        self.mode_left == 0 && self.sources.is_empty()
    }

    /// What is told now; the rest is due `again`.
    fn tell(&mut self, again: Instant) -> Difference {
        let told = match self.mode_left {
            0 => Difference::Sources(self.sources.iter().map(|(source, _)| *source).collect()),
            _ => Difference::Mode,
        };
        self.due = again;
        self.mode_left = self.mode_left.saturating_sub(1);
        self.sources.iter_mut().for_each(|(_, left)| *left = left.saturating_sub(1));
        self.sources.retain(|(_, left)| *left > 0);
        told
    }
}

/// IGMPv3, MLDv2.
fn newest(v4: bool) -> u8 {
    if v4 { 3 } else { 2 }
}

/// How long a querier of an older version is taken to be there after it asked: twice the interval in
/// which it does, of which older versions do not speak, and ten times what it gives us for an answer (RFC
/// 9776 8.12), or once (RFC 9777 9.12).
fn older_querier_present(v4: bool, max_response: Duration) -> Duration {
    let answers = max_response.saturating_mul(if v4 { 10 } else { 1 });
    QUERY_INTERVAL.saturating_mul(ROBUSTNESS.into()).saturating_add(answers)
}

/// A moment within the time that is left.
fn random_before(rng: &mut impl Rng, now: Instant, most: Duration) -> Instant {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
    now.after(Duration::from_micros(rng.next_u64() % most + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use rand_chacha::ChaCha12Rng;
    use rand_core::SeedableRng;

    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
    const LIMIT: usize = 4;

    fn source(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    fn sources(numbers: impl IntoIterator<Item = u8>) -> Vec<IpAddr> {
        numbers.into_iter().map(source).collect()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(seconds))
    }

    fn talk() -> (Talk, ChaCha12Rng) {
        (Talk::new(InterfaceId(1), true), ChaCha12Rng::from_seed([1; 32]))
    }

    fn said(talk: &mut Talk, rng: &mut ChaCha12Rng, now: Instant) -> Vec<Difference> {
        let changes = talk.take_due(now, rng).changes;
        changes.into_iter().map(|(_, difference)| difference).collect()
    }

    /// RFC 9776 5.1: a change of the kind is told as often as any, and what changes beside it after it.
    #[test]
    fn sources_that_change_after_the_kind_are_told_when_that_was() {
        let (mut talk, mut rng) = talk();
        talk.change(at(1), GROUP, Difference::Mode, LIMIT);
        assert_eq!(said(&mut talk, &mut rng, at(1)), [Difference::Mode]);
        talk.change(at(1), GROUP, Difference::Sources(sources([1])), LIMIT);
        assert_eq!(said(&mut talk, &mut rng, at(1)), [Difference::Mode]);
        talk.change(at(1), GROUP, Difference::Sources(sources([2])), LIMIT);
        assert_eq!(said(&mut talk, &mut rng, at(1)), [Difference::Sources(sources([1, 2]))]);
        assert_eq!(said(&mut talk, &mut rng, at(3)), [Difference::Sources(sources([2]))]);
        assert_eq!(talk.due(), None);
    }

    /// RFC 9776 8.11, RFC 9777 9.11: a change is told again within a second, at any moment of it; older
    /// queriers hear it within ten.
    #[test]
    fn a_change_is_told_again_within_its_interval() {
        for (version, most) in [(3, 1_000), (2, 10_000)] {
            let (mut talk, mut rng) = talk();
            talk.hear_version(at(1), version, Duration::from_secs(10));
            let mut waits = Vec::new();
            for _ in 0..200 {
                talk.change(at(1), GROUP, Difference::Mode, LIMIT);
                talk.take_due(at(1), &mut rng);
                waits.push(talk.due().unwrap().since(at(1)).as_millis());
            }
            waits.sort_unstable();
            assert!(waits[0] < most / 10 && waits[199] > most / 10 * 9, "{waits:?}");
            assert!(waits[199] <= most, "{waits:?}");
        }
    }

    /// However often a program changes its mind, what is to be told of it is bounded.
    #[test]
    fn many_changed_sources_become_the_whole_filter() {
        let (mut talk, mut rng) = talk();
        for number in 0..LIMIT as u8 {
            talk.change(at(1), GROUP, Difference::Sources(sources([number])), LIMIT);
        }
        let all = Difference::Sources(sources(0..LIMIT as u8));
        assert_eq!(said(&mut talk, &mut rng, at(1)), [all]);
        talk.change(at(1), GROUP, Difference::Sources(sources([9])), LIMIT);
        assert_eq!(said(&mut talk, &mut rng, at(1)), [Difference::Mode]);
    }

    fn ask(talk: &mut Talk, rng: &mut ChaCha12Rng, numbers: impl IntoIterator<Item = u8>) {
        let query = Query {
            group: Some(GROUP),
            sources: sources(numbers),
            version: 3,
            max_response: Duration::from_secs(1),
        };
        talk.asked(at(1), rng, query, &[GROUP], LIMIT);
    }

    fn answered(talk: &mut Talk, rng: &mut ChaCha12Rng) -> Vec<(IpAddr, Vec<IpAddr>)> {
        talk.take_due(at(2), rng).specific
    }

    /// RFC 9776 5.2, rules 3 to 5: one answer to all questions, about the group when one was.
    #[test]
    fn questions_about_sources_are_answered_together() {
        let (mut talk, mut rng) = talk();
        ask(&mut talk, &mut rng, [1, 2]);
        ask(&mut talk, &mut rng, [2, 3]);
        assert_eq!(answered(&mut talk, &mut rng), [(GROUP, sources([1, 2, 3]))]);
        for [first, second] in [[&[1][..], &[]], [&[], &[1]]] {
            ask(&mut talk, &mut rng, first.iter().copied());
            ask(&mut talk, &mut rng, second.iter().copied());
            assert_eq!(answered(&mut talk, &mut rng), [(GROUP, Vec::new())]);
        }
        // More than are remembered, at once or one after the other.
        ask(&mut talk, &mut rng, 0..=LIMIT as u8);
        assert_eq!(answered(&mut talk, &mut rng), [(GROUP, Vec::new())]);
        (0..=LIMIT as u8).for_each(|number| ask(&mut talk, &mut rng, [number]));
        assert_eq!(answered(&mut talk, &mut rng), [(GROUP, Vec::new())]);
    }

    /// RFC 9776 7.2.1: who changes the version takes back what was still to be said.
    #[test]
    fn a_change_of_version_takes_back_what_was_to_be_said() {
        let (mut talk, mut rng) = talk();
        ask(&mut talk, &mut rng, []);
        talk.change(at(1), GROUP, Difference::Mode, LIMIT);
        talk.hear_version(at(1), 3, Duration::from_secs(10));
        assert!(talk.due().is_some());
        talk.hear_version(at(1), 2, Duration::from_secs(10));
        assert_eq!(talk.due(), None);
    }
}
