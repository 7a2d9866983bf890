//! What reports say of groups, and how much of it one report holds (RFC 9776 4.2, RFC 9777 5.2).

use alloc::vec::Vec;
use core::net::IpAddr;

use wire::membership::RecordKind;

use crate::ip::source_filter::Filter;

/// What is said of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct GroupRecord {
    pub(super) group: IpAddr,
    pub(super) kind: RecordKind,
    pub(super) sources: Vec<IpAddr>,
}

impl GroupRecord {
    /// The answer to a query about the group, or about some sources of it: nothing when nothing of that
    /// is heard (RFC 9776 5.2, RFC 9777 6.2).
    pub(super) fn answer(group: IpAddr, filter: &Filter, asked: &[IpAddr]) -> Option<Self> {
        if filter.is_nobody() {
            return None;
        }
        if asked.is_empty() {
            let (kind, sources) = filter.state(false);
            return Some(Self { group, kind, sources });
        }
        let heard = asked.iter().copied().filter(|source| filter.accepts(*source));
        Self::of_sources(group, RecordKind::IS_INCLUDE, heard.collect())
    }

    /// The kind of filter changed.
    pub(super) fn of_mode(group: IpAddr, filter: &Filter) -> Self {
        let (kind, sources) = filter.state(true);
        Self { group, kind, sources }
    }

    /// These sources are heard from now on, or no longer.
    pub(super) fn of_changes(
        group: IpAddr,
        filter: &Filter,
        changed: &[IpAddr],
    ) -> impl Iterator<Item = Self> {
        let (heard, others) = changed.iter().partition(|source| filter.accepts(**source));
        let allow = Self::of_sources(group, RecordKind::ALLOW, heard);
        allow.into_iter().chain(Self::of_sources(group, RecordKind::BLOCK, others))
    }

    fn of_sources(group: IpAddr, kind: RecordKind, sources: Vec<IpAddr>) -> Option<Self> {
        (!sources.is_empty()).then_some(Self { group, kind, sources })
    }
}

/// Bytes that reports are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// What one report has for its records.
    pub(super) room: usize,
    /// A record without sources.
    pub(super) record: usize,
    /// A source.
    pub(super) source: usize,
}

/// The records of one report after the other. A record that is longer than a report is told in several,
/// but for one of all sources but some, which says as much as there is room for: that is heard which
/// need not be (RFC 9776 4.2.17, RFC 9777 5.2.16).
pub(super) fn pack(records: Vec<GroupRecord>, sizes: Sizes) -> Vec<Vec<GroupRecord>> {
    let most = (sizes.room.saturating_sub(sizes.record) / sizes.source).max(1);
    let mut reports: Vec<Vec<GroupRecord>> = Vec::new();
    let mut left = 0;
    for mut record in records {
        if matches!(record.kind, RecordKind::IS_EXCLUDE | RecordKind::TO_EXCLUDE) {
            record.sources.truncate(most);
        }
        loop {
            let rest = record.sources.split_off(record.sources.len().min(most));
            let next = GroupRecord { sources: rest, ..record };
            let length = sizes.record + sizes.source * record.sources.len();
            match reports.last_mut().filter(|_| length <= left) {
                Some(report) => {
                    report.push(record);
                    left -= length;
                }
                None => {
                    reports.push(Vec::from([record]));
                    left = sizes.room.saturating_sub(length);
                }
            }
            if next.sources.is_empty() {
                break;
            }
            record = next;
        }
    }
    reports
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const SIZES: Sizes = Sizes { room: 60, record: 8, source: 4 };
    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));

    fn record(kind: RecordKind, count: u32) -> GroupRecord {
        let sources = (0..count).map(|n| Ipv4Addr::from_bits(0x0a00_0000 + n).into()).collect();
        GroupRecord { group: GROUP, kind, sources }
    }

    fn lengths(records: Vec<GroupRecord>) -> Vec<Vec<usize>> {
        let reports = pack(records, SIZES).into_iter();
        reports.map(|report| report.iter().map(|record| record.sources.len()).collect()).collect()
    }

    #[test]
    fn a_report_holds_what_fits_it() {
        let short = || record(RecordKind::TO_EXCLUDE, 0);
        assert_eq!(lengths(Vec::new()), Vec::<Vec<usize>>::new());
        assert_eq!(lengths((0..8).map(|_| short()).collect()), [alloc::vec![0; 7], alloc::vec![0]]);
        let ten = record(RecordKind::ALLOW, 10);
        assert_eq!(
            lengths(Vec::from([ten, short(), short()])),
            [alloc::vec![10, 0], alloc::vec![0]]
        );
    }

    #[test]
    fn a_longer_record_is_split_unless_it_excludes() {
        for kind in [RecordKind::IS_INCLUDE, RecordKind::TO_INCLUDE, RecordKind::BLOCK] {
            assert_eq!(lengths(Vec::from([record(kind, 30)])), [[13], [13], [4]]);
        }
        for kind in [RecordKind::IS_EXCLUDE, RecordKind::TO_EXCLUDE] {
            assert_eq!(lengths(Vec::from([record(kind, 30)])), [[13]]);
        }
        let all = pack(Vec::from([record(RecordKind::ALLOW, 30)]), SIZES);
        let sources: Vec<_> = all.into_iter().flatten().flat_map(|record| record.sources).collect();
        assert_eq!(sources, record(RecordKind::ALLOW, 30).sources);
    }
}
