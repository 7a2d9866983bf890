//! From which sources a group is heard: by one socket, and by all sockets of an interface together
//! (RFC 9776 3, RFC 9777 4).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use wire::membership::RecordKind;

use crate::error::Error;

/// What a program changes about the sources from which its socket hears a group (RFC 3678 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceChange {
    /// Hears the group from this source, too, and joins it for that
    /// (`IP_ADD_SOURCE_MEMBERSHIP`, `MCAST_JOIN_SOURCE_GROUP`).
    Join,
    /// Takes a join back; with that of the last source the group is left
    /// (`IP_DROP_SOURCE_MEMBERSHIP`, `MCAST_LEAVE_SOURCE_GROUP`).
    Leave,
    /// Of a group that was joined for all sources, hears this one no longer
    /// (`IP_BLOCK_SOURCE`, `MCAST_BLOCK_SOURCE`).
    Block,
    /// Takes a block back (`IP_UNBLOCK_SOURCE`, `MCAST_UNBLOCK_SOURCE`).
    Unblock,
}

/// The two kinds of filters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// The sources and no others.
    Include,
    /// All but the sources.
    Exclude,
}

/// From whom a group is heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Filter {
    mode: Mode,
    /// In order, each once.
    sources: Vec<IpAddr>,
}

/// What differs between two filters of an interface (RFC 9776 5.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Difference {
    /// The kind of filter.
    Mode,
    /// These sources, which one of the two hears and the other does not.
    Sources(Vec<IpAddr>),
}

/// The filters of all sockets that are in a group on an interface.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// How many sockets hear all sources but some.
    excluding: usize,
    sources: BTreeMap<IpAddr, Named>,
}

/// How many sockets name a source, and how.
#[derive(Debug, Default)]
struct Named {
    included: usize,
    excluded: usize,
}

impl Filter {
    /// All sources: how a group is joined without more words.
    pub(crate) const EVERYBODY: Self = Self { mode: Mode::Exclude, sources: Vec::new() };

    /// No source, which is the same as not being in the group.
    pub(crate) const NOBODY: Self = Self { mode: Mode::Include, sources: Vec::new() };

    pub(crate) fn is_nobody(&self) -> bool {
        self.mode == Mode::Include && self.sources.is_empty()
    }

    /// Whether the group is heard from `source`.
    pub(crate) fn accepts(&self, source: IpAddr) -> bool {
        let is_named = self.sources.binary_search(&source).is_ok();
        is_named == (self.mode == Mode::Include)
    }

    /// This filter after a change by the program. One that names no source may change its kind, as with
    /// Linux.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the other kind of filter; [`Error::AddressNotAvailable`] when the
    /// source is named already, or to be taken back and is not; [`Error::LimitReached`] beyond `limit`.
    pub(crate) fn changed(
        &self,
        change: SourceChange,
        source: IpAddr,
        limit: usize,
    ) -> Result<Self, Error> {
        let (mode, adds) = match change {
            SourceChange::Join => (Mode::Include, true),
            SourceChange::Leave => (Mode::Include, false),
            SourceChange::Block => (Mode::Exclude, true),
            SourceChange::Unblock => (Mode::Exclude, false),
        };
        if mode != self.mode && !self.sources.is_empty() {
            return Err(Error::InvalidInput);
        }
        let mut sources = self.sources.clone();
        match (sources.binary_search(&source), adds) {
            (Err(_), true) if sources.len() >= limit => return Err(Error::LimitReached),
            (Err(place), true) => sources.insert(place, source),
            (Ok(place), false) => drop(sources.remove(place)),
            (Ok(_), true) | (Err(_), false) => return Err(Error::AddressNotAvailable),
        }
        Ok(Self { mode, sources })
    }

    /// What is to be told of the change from this filter to `after`, if anything.
    pub(super) fn difference(&self, after: &Self) -> Option<Difference> {
        if self.mode != after.mode {
            return Some(Difference::Mode);
        }
        let names = |filter: &Self, source| filter.sources.binary_search(source).is_ok();
        let gone = self.sources.iter().filter(|source| !names(after, source));
        let new = after.sources.iter().filter(|source| !names(self, source));
        let sources: Vec<_> = gone.chain(new).copied().collect();
        (!sources.is_empty()).then_some(Difference::Sources(sources))
    }

    /// The whole filter, as the answer to a query or as a change of its kind.
    pub(super) fn state(&self, is_change: bool) -> (RecordKind, Vec<IpAddr>) {
        let kind = match (self.mode, is_change) {
            (Mode::Include, false) => RecordKind::IS_INCLUDE,
            (Mode::Exclude, false) => RecordKind::IS_EXCLUDE,
            (Mode::Include, true) => RecordKind::TO_INCLUDE,
            (Mode::Exclude, true) => RecordKind::TO_EXCLUDE,
        };
        (kind, self.sources.clone())
    }
}

impl Merged {
    /// One more socket has this filter.
    pub(super) fn add(&mut self, filter: &Filter) {
        self.excluding += usize::from(filter.mode == Mode::Exclude);
        for source in &filter.sources {
            *self.sources.entry(*source).or_default().count(filter.mode) += 1;
        }
    }

    /// One socket less has it.
    pub(super) fn remove(&mut self, filter: &Filter) {
        self.excluding -= usize::from(filter.mode == Mode::Exclude).min(self.excluding);
        for source in &filter.sources {
            let Some(named) = self.sources.get_mut(source) else { continue };
            let count = named.count(filter.mode);
            *count = count.saturating_sub(1);
            if named.included == 0 && named.excluded == 0 {
                self.sources.remove(source);
            }
        }
    }

    /// Nobody is in the group.
    pub(super) fn is_empty(&self) -> bool {
        self.excluding == 0 && self.sources.is_empty()
    }

    /// What the interface is to hear for all of them (RFC 9776 3.2): where some hear all but a few, all
    /// but those that each of these leaves out and nobody asks for; else what anybody asks for.
    pub(super) fn filter(&self) -> Filter {
        let mode = if self.excluding > 0 { Mode::Exclude } else { Mode::Include };
        let is_named = |named: &Named| match mode {
            Mode::Include => named.included > 0,
            Mode::Exclude => named.excluded == self.excluding && named.included == 0,
        };
        let sources = self.sources.iter().filter(|(_, named)| is_named(named));
        Filter { mode, sources: sources.map(|(source, _)| *source).collect() }
    }
}

impl Named {
    fn count(&mut self, mode: Mode) -> &mut usize {
        match mode {
            Mode::Include => &mut self.included,
            Mode::Exclude => &mut self.excluded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn source(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    fn filters() -> impl Strategy<Value = Vec<Filter>> {
        let mode = prop_oneof![Just(Mode::Include), Just(Mode::Exclude)];
        let sources = proptest::collection::btree_set(1..6_u8, 0..5);
        let filter = (mode, sources).prop_map(|(mode, numbers)| Filter {
            mode,
            sources: numbers.into_iter().map(source).collect(),
        });
        proptest::collection::vec(filter, 0..6)
    }

    /// RFC 9776 3.2, word for word: the union of what is included, or the intersection of what is
    /// excluded without it.
    fn merged(filters: &[Filter]) -> Filter {
        let (excluding, including): (Vec<_>, Vec<_>) =
            filters.iter().partition(|filter| filter.mode == Mode::Exclude);
        let is_included = |s: &IpAddr| including.iter().any(|filter| filter.sources.contains(s));
        let all = (1..6).map(source);
        if excluding.is_empty() {
            return Filter { mode: Mode::Include, sources: all.filter(is_included).collect() };
        }
        let by_each = |s: &IpAddr| excluding.iter().all(|filter| filter.sources.contains(s));
        let sources = all.filter(|s| by_each(s) && !is_included(s)).collect();
        Filter { mode: Mode::Exclude, sources }
    }

    proptest! {
        /// Filters that came and went leave the state that the RFC makes of those that stayed.
        #[test]
        fn filters_of_sockets_are_merged_as_the_rfc_says(stay in filters(), go in filters()) {
            let mut counted = Merged::default();
            go.iter().chain(&stay).for_each(|filter| counted.add(filter));
            go.iter().for_each(|filter| counted.remove(filter));
            prop_assert_eq!(counted.filter(), merged(&stay));
            prop_assert_eq!(counted.is_empty(), stay.iter().all(Filter::is_nobody));
        }

        /// What any socket hears, its interface hears.
        #[test]
        fn no_socket_misses_what_it_asked_for(filters in filters(), number in 1..8_u8) {
            let mut counted = Merged::default();
            filters.iter().for_each(|filter| counted.add(filter));
            let wanted = filters.iter().any(|filter| filter.accepts(source(number)));
            prop_assert!(!wanted || counted.filter().accepts(source(number)));
        }
    }

    #[test]
    fn a_filter_changes_its_kind_only_when_it_names_nobody() {
        let only = Filter::NOBODY.changed(SourceChange::Join, source(1), 2).unwrap();
        assert!(only.accepts(source(1)) && !only.accepts(source(2)));
        let block = only.changed(SourceChange::Block, source(2), 2);
        assert_eq!(block, Err(Error::InvalidInput));
        let but = Filter::EVERYBODY.changed(SourceChange::Block, source(1), 2).unwrap();
        assert!(!but.accepts(source(1)) && but.accepts(source(2)));
        let again = but.changed(SourceChange::Block, source(1), 2);
        assert_eq!(again, Err(Error::AddressNotAvailable));
        let missing = but.changed(SourceChange::Unblock, source(2), 2);
        assert_eq!(missing, Err(Error::AddressNotAvailable));
        let both = but.changed(SourceChange::Block, source(2), 2).unwrap();
        assert_eq!(both.changed(SourceChange::Block, source(3), 2), Err(Error::LimitReached));
        let narrowed = Filter::EVERYBODY.changed(SourceChange::Join, source(1), 2);
        assert_eq!(narrowed, Ok(only));
    }

    /// RFC 9776 5.1: the rows of its table.
    #[test]
    fn what_changed_is_the_kind_or_the_sources() {
        let all = |numbers: &[u8]| numbers.iter().copied().map(source).collect::<Vec<_>>();
        let filter = |mode, numbers: &[u8]| Filter { mode, sources: all(numbers) };
        let (include, exclude) = (Mode::Include, Mode::Exclude);
        let difference = |before: (Mode, &[u8]), after: (Mode, &[u8])| {
            filter(before.0, before.1).difference(&filter(after.0, after.1))
        };
        let sources = |numbers| Some(Difference::Sources(all(numbers)));
        assert_eq!(difference((include, &[1, 2]), (include, &[2, 3])), sources(&[1, 3]));
        assert_eq!(difference((exclude, &[1]), (exclude, &[])), sources(&[1]));
        assert_eq!(difference((exclude, &[1]), (exclude, &[1])), None);
        assert_eq!(difference((exclude, &[1]), (include, &[1])), Some(Difference::Mode));
        assert_eq!(difference((include, &[]), (exclude, &[])), Some(Difference::Mode));
    }
}
