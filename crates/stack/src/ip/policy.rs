//! The policy table: which addresses go together, and which destinations come first (RFC 6724 2.1).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use crate::error::Error;
use crate::ip::prefix::common_bits;

/// How many rows a table can have: it is looked through for each new conversation.
const ROW_LIMIT: usize = 64;

/// A row of the [`PolicyTable`]: what it says of the addresses in a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyRow {
    /// The first address; those of IPv4 are `::ffff:0:0/96` and what is in it.
    pub prefix: Ipv6Addr,
    /// How many bits of an address must be those of `prefix`.
    pub prefix_len: u8,
    /// Of two destinations the one with the higher precedence comes first.
    pub precedence: u8,
    /// A source with the label of the destination suits it better than others.
    pub label: u8,
}

/// The policy table of RFC 6724 2.1. The default one is the RFC's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyTable {
    /// From the longest prefix to the one that holds all.
    rows: Vec<PolicyRow>,
}

impl PolicyTable {
    /// A table of these rows; of several that hold an address the longest prefix counts.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a prefix of more than 128 bits or with bits set behind its length, for one
    /// prefix twice, without a row for everything (`::/0`); [`Error::LimitReached`] beyond 64 rows.
    pub fn new(rows: &[PolicyRow]) -> Result<Self, Error> {
        if rows.len() > ROW_LIMIT {
            return Err(Error::LimitReached);
        }
        let mut rows = rows.to_vec();
        rows.sort_by_key(|row| (core::cmp::Reverse(row.prefix_len), row.prefix));
        let place = |row: &PolicyRow| (row.prefix_len, row.prefix);
        let twice = rows.windows(2).any(|two| place(&two[0]) == place(&two[1]));
        let has_all = rows.last().is_some_and(|row| row.prefix_len == 0);
        if twice || !has_all || !rows.iter().all(PolicyRow::makes_sense) {
            return Err(Error::InvalidInput);
        }
        Ok(Self { rows })
    }

    /// The rows, from the longest prefix to the one that holds all.
    #[must_use]
    pub fn rows(&self) -> &[PolicyRow] {
        &self.rows
    }

    pub(super) fn label(&self, address: Ipv6Addr) -> Option<u8> {
        self.row(address).map(|row| row.label)
    }

    pub(super) fn precedence(&self, address: Ipv6Addr) -> Option<u8> {
        self.row(address).map(|row| row.precedence)
    }

    /// `None` never happens: one row holds all.
    fn row(&self, address: Ipv6Addr) -> Option<&PolicyRow> {
        self.rows.iter().find(|row| row.holds(address))
    }
}

impl Default for PolicyTable {
    fn default() -> Self {
        let row = |prefix: [u16; 8], prefix_len, precedence, label| PolicyRow {
            prefix: Ipv6Addr::from(prefix),
            prefix_len,
            precedence,
            label,
        };
        Self {
            rows: Vec::from([
                row([0, 0, 0, 0, 0, 0, 0, 1], 128, 50, 0),
                row([0; 8], 96, 1, 3),
                row([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, 35, 4),
                row([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, 5, 5),
                row([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, 30, 2),
                row([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, 1, 12),
                row([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, 1, 11),
                row([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, 3, 13),
                row([0; 8], 0, 40, 1),
            ]),
        }
    }
}

impl PolicyRow {
    fn holds(&self, address: Ipv6Addr) -> bool {
        common_bits(self.prefix, address) >= u32::from(self.prefix_len)
    }

    fn makes_sense(&self) -> bool {
        self.prefix_len <= 128
            && self.prefix.to_bits().trailing_zeros() >= 128 - u32::from(self.prefix_len)
    }
}

/// As the table knows it: one of IPv4 as mapped (RFC 6724 3.2).
pub(super) fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(prefix: &str, prefix_len: u8) -> PolicyRow {
        PolicyRow { prefix: prefix.parse().unwrap(), prefix_len, precedence: 1, label: 1 }
    }

    /// RFC 6724 2.1.
    #[test]
    fn the_default_table_is_the_rfcs() {
        let table = [
            ("::1", 50, 0),
            ("2001:db8::1", 40, 1),
            ("::ffff:10.0.0.1", 35, 4),
            ("2002::1", 30, 2),
            ("2001::1", 5, 5),
            ("fd77::1", 3, 13),
            ("::5", 1, 3),
            ("fec0::1", 1, 11),
            ("3ffe::1", 1, 12),
        ];
        let policy = PolicyTable::default();
        for (address, precedence, label) in table {
            let address = address.parse().unwrap();
            let found = (policy.precedence(address), policy.label(address));
            assert_eq!(found, (Some(precedence), Some(label)), "{address}");
        }
        assert_eq!(PolicyTable::new(policy.rows()), Ok(policy));
    }

    #[test]
    fn a_table_that_makes_no_sense_is_refused() {
        let all = row("::", 0);
        for wrong in [
            &[][..],
            &[row("2001:db8::", 32)],
            &[all, all],
            &[all, row("2001:db8::", 129)],
            &[all, row("2001:db8::1", 32)],
            &[row("2001:db8::", 0)],
        ] {
            assert_eq!(PolicyTable::new(wrong), Err(Error::InvalidInput), "{wrong:?}");
        }
        let many: Vec<_> = (0..=64).map(|number| row("::", number)).collect();
        assert_eq!(PolicyTable::new(&many), Err(Error::LimitReached));
        // In whatever order they are given.
        let table = PolicyTable::new(&[all, PolicyRow { label: 9, ..row("fd77::", 16) }]).unwrap();
        assert_eq!(table.label("fd77::5".parse().unwrap()), Some(9));
        assert_eq!(table.label("fd78::5".parse().unwrap()), Some(1));
    }
}
