//! IPv4 options: kept as bytes, read as an iterator (RFC 791 section 3.1, RFC 2113).

use core::fmt;
use core::net::Ipv4Addr;

use crate::walk::{Length, Walk};

/// The most bytes of options that a header has room for.
const MAX_LEN: usize = 40;

/// The type octets of IPv4 options (IANA "IP Option Numbers").
pub mod kind {
    /// End of option list: one byte; what follows is padding.
    pub const END_OF_LIST: u8 = 0;
    /// No operation: one byte, between options.
    pub const NO_OP: u8 = 1;
    /// Record route.
    pub const RECORD_ROUTE: u8 = 7;
    /// Internet timestamp.
    pub const TIMESTAMP: u8 = 68;
    /// Loose source and record route.
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// Strict source and record route.
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
    /// Router alert (RFC 2113).
    pub const ROUTER_ALERT: u8 = 148;
}

/// The options of a header as they stand there: 0 to 40 bytes, a multiple of 4.
#[derive(Clone, Copy)]
pub struct Options {
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl Options {
    /// No options.
    pub const NONE: Options = Options { bytes: [0; MAX_LEN], len: 0 };

    /// Router alert with value 0, as IGMP sends it (RFC 2113).
    pub const ROUTER_ALERT: Options = {
        let mut options = Options::NONE;
        options.bytes[0] = kind::ROUTER_ALERT;
        options.bytes[1] = 4;
        options.len = 4;
        options
    };

    /// Options from their bytes, padded with zeros (end of list) to a multiple of 4; `None` when
    /// they are longer than 40 bytes. Nothing is judged.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Options> {
        let mut options = Options::NONE;
        options.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        options.len = u8::try_from(bytes.len().next_multiple_of(4)).ok()?;
        Some(options)
    }

    /// The bytes as they stand in the header.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// How many bytes they are: 0 to 40, a multiple of 4.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The options one by one.
    #[must_use]
    pub fn iter(&self) -> OptionsIter<'_> {
        OptionsIter::new(self.as_bytes())
    }

    /// Those that every fragment of a packet has; the first one has all of them (RFC 791 3.1, the copied
    /// flag).
    #[must_use]
    pub fn copied(&self) -> Options {
        const COPIED: u8 = 0x80;
        let mut copied = Options::NONE;
        let (mut iter, mut end) = (self.iter(), 0);
        loop {
            let start = iter.position();
            let Some(option) = iter.next() else { break };
            let option_bytes = self.bytes.get(start..iter.position()).unwrap_or_default();
            let is_whole = !matches!(option, Ipv4Option::BadLength { .. });
            if is_whole && option_bytes.first().is_some_and(|kind| kind & COPIED != 0) {
                copied.bytes[end..end + option_bytes.len()].copy_from_slice(option_bytes);
                end += option_bytes.len();
            }
        }
        // At most as many as there were.
        copied.len = u8::try_from(end.next_multiple_of(4)).unwrap_or(self.len).min(self.len);
        copied
    }

    /// How many 32-bit words they are.
    pub(super) const fn words(&self) -> u8 {
        self.len / 4
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::NONE
    }
}

impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Options {}

impl core::hash::Hash for Options {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl<'a> IntoIterator for &'a Options {
    type Item = Ipv4Option<'a>;
    type IntoIter = OptionsIter<'a>;

    fn into_iter(self) -> OptionsIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for Options {
    /// The options with commas between them, as tcpdump prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, option) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{option}")?;
        }
        Ok(())
    }
}

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ipv4Option<'a> {
    /// The list ends here; what follows is padding.
    EndOfList,
    /// A filler between options.
    NoOp,
    /// Routers write their addresses here.
    RecordRoute(Route<'a>),
    /// The packet visits these routers, others between them allowed. Hosts drop such packets
    /// unless told otherwise (RFC 6274 section 3.13.2.3).
    LooseSourceRoute(Route<'a>),
    /// The packet visits exactly these routers.
    StrictSourceRoute(Route<'a>),
    /// Routers write the time here.
    Timestamp {
        /// Where the next entry goes, in bytes from the start of the option, counted from 1.
        pointer: u8,
        /// How many routers found no room.
        overflow: u8,
        /// 0: only times; 1: addresses and times; 3: the addresses are given.
        flag: u8,
        /// The entries: times in milliseconds since midnight UT, with addresses or without.
        data: &'a [u8],
    },
    /// Routers should look into the packet (RFC 2113); zero says every router.
    RouterAlert(u16),
    /// Any other option.
    Unknown {
        /// The type octet.
        kind: u8,
        /// What follows type and length.
        data: &'a [u8],
    },
    /// A known option whose length is not one that it can have.
    WrongSize {
        /// The type octet.
        kind: u8,
        /// What follows type and length.
        data: &'a [u8],
    },
    /// An option whose length is below 2, or reaches beyond the options, or is missing. The list
    /// ends here, because nobody knows where the next one starts.
    BadLength {
        /// The type octet.
        kind: u8,
        /// The stated length in bytes, if it is there.
        length: Option<u8>,
    },
}

/// The addresses of a route option.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Route<'a> {
    /// Where the next address is, in bytes from the start of the option, counted from 1: 4 is the
    /// first one, and beyond the end means that all of them are used.
    pub pointer: u8,
    /// The addresses, four bytes each.
    pub data: &'a [u8],
}

impl Route<'_> {
    /// The addresses one by one.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.data
            .chunks_exact(4)
            .map(|octets| Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
    }
}

/// The options of a header one by one. It ends behind [`Ipv4Option::EndOfList`] and
/// [`Ipv4Option::BadLength`].
#[derive(Clone, Debug)]
pub struct OptionsIter<'a>(Walk<'a>);

impl<'a> OptionsIter<'a> {
    /// Reads the options in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(Walk::new(bytes))
    }

    /// Where the next option starts, in bytes from the start of the options; behind the last
    /// option, where the padding starts.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.0.position()
    }
}

impl<'a> Iterator for OptionsIter<'a> {
    type Item = Ipv4Option<'a>;

    fn next(&mut self) -> Option<Ipv4Option<'a>> {
        let walk = &mut self.0;
        Some(match walk.kind()? {
            kind::END_OF_LIST => {
                walk.end();
                Ipv4Option::EndOfList
            }
            kind::NO_OP => {
                walk.pass();
                Ipv4Option::NoOp
            }
            kind => match walk.data(Length::Whole) {
                Ok(data) => read(kind, data),
                Err(length) => Ipv4Option::BadLength { kind, length },
            },
        })
    }
}

fn read(kind: u8, data: &[u8]) -> Ipv4Option<'_> {
    let is_route = data.len() % 4 == 1;
    match (kind, data) {
        (kind::RECORD_ROUTE, &[pointer, ref data @ ..]) if is_route => {
            Ipv4Option::RecordRoute(Route { pointer, data })
        }
        (kind::LOOSE_SOURCE_ROUTE, &[pointer, ref data @ ..]) if is_route => {
            Ipv4Option::LooseSourceRoute(Route { pointer, data })
        }
        (kind::STRICT_SOURCE_ROUTE, &[pointer, ref data @ ..]) if is_route => {
            Ipv4Option::StrictSourceRoute(Route { pointer, data })
        }
        (kind::TIMESTAMP, &[pointer, overflow_flag, ref data @ ..]) if data.len() % 4 == 0 => {
            Ipv4Option::Timestamp {
                pointer,
                overflow: overflow_flag >> 4,
                flag: overflow_flag & 15,
                data,
            }
        }
        (kind::ROUTER_ALERT, &[high, low]) => {
            Ipv4Option::RouterAlert(u16::from_be_bytes([high, low]))
        }
        (
            kind::RECORD_ROUTE
            | kind::LOOSE_SOURCE_ROUTE
            | kind::STRICT_SOURCE_ROUTE
            | kind::TIMESTAMP
            | kind::ROUTER_ALERT,
            _,
        ) => Ipv4Option::WrongSize { kind, data },
        _ => Ipv4Option::Unknown { kind, data },
    }
}

impl fmt::Display for Ipv4Option<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ipv4Option::EndOfList => f.write_str("EOL"),
            Ipv4Option::NoOp => f.write_str("NOP"),
            Ipv4Option::RecordRoute(route) => write!(f, "RR {route}"),
            Ipv4Option::LooseSourceRoute(route) => write!(f, "LSRR {route}"),
            Ipv4Option::StrictSourceRoute(route) => write!(f, "SSRR {route}"),
            Ipv4Option::Timestamp { data, .. } => write!(f, "timestamp [{} bytes]", data.len()),
            Ipv4Option::RouterAlert(value) => write!(f, "RA value {value}"),
            Ipv4Option::Unknown { kind, data } => {
                write!(f, "unknown {kind} [{} bytes]", data.len())
            }
            Ipv4Option::WrongSize { kind, data } => {
                write!(f, "option {kind} of wrong size [{} bytes]", data.len())
            }
            Ipv4Option::BadLength { kind, length: Some(length) } => {
                write!(f, "option {kind} with bad length {length}")
            }
            Ipv4Option::BadLength { kind, length: None } => {
                write!(f, "option {kind} without length")
            }
        }
    }
}

impl fmt::Display for Route<'_> {
    /// The addresses, with `^` where the pointer stands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut offset = 4;
        for (index, address) in self.addresses().enumerate() {
            let space = if index == 0 { "" } else { " " };
            let mark = if offset == usize::from(self.pointer) { "^" } else { "" };
            write!(f, "{space}{mark}{address}")?;
            offset += 4;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_get_what_says_so() {
        let copied =
            |bytes: &[u8]| Options::from_bytes(bytes).unwrap().copied().as_bytes().to_vec();
        assert!(copied(&[]).is_empty());
        assert!(copied(&[1, 7, 3, 4, 0]).is_empty());
        assert_eq!(copied(&[7, 3, 4, 1, 148, 4, 0, 0]), [148, 4, 0, 0]);
        assert_eq!(copied(&[130, 3, 9, 7, 3, 4, 148, 4, 0, 0]), [130, 3, 9, 148, 4, 0, 0, 0]);
        // What is behind an end or a bad length is no option.
        assert!(copied(&[0, 148, 4, 0, 0]).is_empty());
        assert!(copied(&[130, 40, 1]).is_empty());
    }
}
