//! The report of MLDv2 and its records (RFC 9777 section 5.2).

use core::fmt;
use core::net::Ipv6Addr;

use super::Malformed;
use crate::icmpv6::{self, kind};
use crate::membership::RecordKind;

/// The length of a record without sources in bytes.
const RECORD_LEN: usize = 20;

/// What a report says of one group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Record<'a> {
    /// Whether it is the state or a change, and of what.
    pub kind: RecordKind,
    /// The group.
    pub group: Ipv6Addr,
    /// The sources; at most 65 535.
    pub sources: &'a [[u8; 16]],
}

/// The records of a report one by one; their lengths are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Records<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Records<'a> {
    pub(super) fn parse(view: &icmpv6::View<'a>) -> Result<Records<'a>, Malformed> {
        let records = Records { count: view.sequence(), bytes: view.payload() };
        let mut rest = records.bytes;
        for index in 0..records.count {
            (_, rest) = split_record(rest).ok_or(Malformed::RecordBeyondMessage { index })?;
        }
        Ok(records)
    }

    /// How many records are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether none is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        self.count = self.count.checked_sub(1)?;
        let (record, rest) = split_record(self.bytes)?;
        self.bytes = rest;
        Some(record)
    }
}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// Splits the first record from the rest. Its auxiliary data has no meaning and is passed over.
fn split_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (&[kind, auxiliary_words, high, low], rest) = bytes.split_first_chunk()?;
    let (group, rest) = rest.split_first_chunk::<16>()?;
    let count = usize::from(u16::from_be_bytes([high, low]));
    let (sources, rest) = rest.split_at_checked(count * 16)?;
    let (_, rest) = rest.split_at_checked(usize::from(auxiliary_words) * 4)?;
    let (sources, _) = sources.as_chunks();
    Some((Record { kind: RecordKind(kind), group: Ipv6Addr::from(*group), sources }, rest))
}

/// The length of a report of these records in bytes.
#[must_use]
pub fn report_len<'a>(records: impl IntoIterator<Item = Record<'a>>) -> usize {
    let records = records.into_iter().map(|record| RECORD_LEN + 16 * record.sources.len());
    icmpv6::HEADER_LEN + records.sum::<usize>()
}

/// Writes a report of these records, at most 65 535, with a checksum of zero, to the start of
/// `buf` and returns its length; [`icmpv6::fill_checksum`] does the rest.
///
/// # Panics
/// When `buf` is shorter than [`report_len`].
pub fn emit_report<'a>(records: impl IntoIterator<Item = Record<'a>>, buf: &mut [u8]) -> usize {
    let mut count = 0u16;
    let mut end = icmpv6::HEADER_LEN;
    for Record { kind, group, sources } in records {
        let length = RECORD_LEN + 16 * sources.len();
        let record = &mut buf[end..end + length];
        let source_count = u16::try_from(sources.len()).unwrap_or(u16::MAX);
        let [high, low] = source_count.to_be_bytes();
        record[..4].copy_from_slice(&[kind.0, 0, high, low]);
        record[4..RECORD_LEN].copy_from_slice(&group.octets());
        record[RECORD_LEN..].copy_from_slice(sources.as_flattened());
        count = count.saturating_add(1);
        end += length;
    }
    let [high, low] = count.to_be_bytes();
    let header = [kind::LISTENER_REPORT_V2, 0, 0, 0, 0, 0, high, low];
    buf[..icmpv6::HEADER_LEN].copy_from_slice(&header);
    end
}
