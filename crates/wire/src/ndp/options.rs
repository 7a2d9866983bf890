//! The options of neighbour discovery (RFC 4861 section 4.6, RFC 3971 section 5.3.2, RFC 8106).

use core::fmt;
use core::net::Ipv6Addr;

use crate::domain::Names;
use crate::ethernet::EthernetAddress;

/// The types of options (IANA "IPv6 Neighbor Discovery Option Formats").
pub mod option {
    /// The link-layer address of the sender.
    pub const SOURCE_LINK_LAYER: u8 = 1;
    /// The link-layer address of the target.
    pub const TARGET_LINK_LAYER: u8 = 2;
    /// A prefix that is on the link or that addresses are made of.
    pub const PREFIX_INFORMATION: u8 = 3;
    /// The packet that caused a redirect.
    pub const REDIRECTED_HEADER: u8 = 4;
    /// The MTU of the link.
    pub const MTU: u8 = 5;
    /// A number that makes an own solicitation known when it comes back (RFC 7527).
    pub const NONCE: u8 = 14;
    /// Recursive DNS servers (RFC 8106 section 5.1).
    pub const RECURSIVE_DNS: u8 = 25;
    /// The DNS search list (RFC 8106 section 5.2).
    pub const SEARCH_LIST: u8 = 31;
}

/// The lifetime that never ends.
pub const INFINITE: u32 = u32::MAX;

/// What a router says of a prefix (RFC 4861 section 4.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PrefixInformation {
    /// The prefix; what is behind its length is ignored.
    pub prefix: Ipv6Addr,
    /// The length of the prefix in bits; at most 128, if right.
    pub prefix_len: u8,
    /// L: addresses under the prefix are on the link.
    pub on_link: bool,
    /// A: hosts make addresses of it (RFC 4862 section 5.5.3).
    pub autonomous: bool,
    /// How long the prefix is on the link, and addresses of it are valid, in seconds from now on;
    /// [`INFINITE`] for ever.
    pub valid_lifetime: u32,
    /// How long addresses of it are preferred, in seconds; [`INFINITE`] for ever.
    pub preferred_lifetime: u32,
}

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NdpOption<'a> {
    /// The Ethernet address of the sender.
    SourceLinkLayer(EthernetAddress),
    /// The Ethernet address of the target.
    TargetLinkLayer(EthernetAddress),
    /// A prefix.
    Prefix(PrefixInformation),
    /// The start of the packet that caused a redirect, and perhaps padding.
    RedirectedHeader(&'a [u8]),
    /// The MTU of the link in bytes.
    Mtu(u32),
    /// Six random bytes or more, which tell an own solicitation from another's (RFC 7527).
    Nonce(&'a [u8]),
    /// Recursive DNS servers.
    RecursiveDns {
        /// How long they serve, in seconds; [`INFINITE`] for ever, zero for no longer.
        lifetime: u32,
        /// Their addresses, one or more.
        servers: &'a [[u8; 16]],
    },
    /// What to append to names that are not complete.
    SearchList {
        /// How long, in seconds; [`INFINITE`] for ever, zero for no longer.
        lifetime: u32,
        /// The names, and perhaps padding.
        names: Names<'a>,
    },
    /// Any other option, to be ignored.
    Unknown {
        /// The type.
        kind: u8,
        /// What follows type and length, padding included.
        data: &'a [u8],
    },
    /// A known option whose length is not one that it can have, to be ignored.
    WrongSize {
        /// The type.
        kind: u8,
        /// What follows type and length.
        data: &'a [u8],
    },
}

impl NdpOption<'_> {
    /// The type.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            NdpOption::SourceLinkLayer(_) => option::SOURCE_LINK_LAYER,
            NdpOption::TargetLinkLayer(_) => option::TARGET_LINK_LAYER,
            NdpOption::Prefix(_) => option::PREFIX_INFORMATION,
            NdpOption::RedirectedHeader(_) => option::REDIRECTED_HEADER,
            NdpOption::Mtu(_) => option::MTU,
            NdpOption::Nonce(_) => option::NONCE,
            NdpOption::RecursiveDns { .. } => option::RECURSIVE_DNS,
            NdpOption::SearchList { .. } => option::SEARCH_LIST,
            NdpOption::Unknown { kind, .. } | NdpOption::WrongSize { kind, .. } => *kind,
        }
    }

    /// The length of the option in bytes, a multiple of 8; at most 2040.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let data = match self {
            NdpOption::SourceLinkLayer(_) | NdpOption::TargetLinkLayer(_) | NdpOption::Mtu(_) => 6,
            NdpOption::Prefix(_) => 30,
            NdpOption::RedirectedHeader(packet) => 6 + packet.len(),
            NdpOption::RecursiveDns { servers, .. } => 6 + 16 * servers.len(),
            NdpOption::SearchList { names, .. } => 6 + names.as_bytes().len(),
            NdpOption::Nonce(data)
            | NdpOption::Unknown { data, .. }
            | NdpOption::WrongSize { data, .. } => data.len(),
        };
        let length = (2 + data).next_multiple_of(8);
        if length > MAX_LEN { MAX_LEN } else { length }
    }

    /// Writes the option, filled up with zeros to a multiple of 8 bytes, to the start of `buf` and
    /// returns its length. Data that is longer than an option can be is cut.
    ///
    /// # Panics
    /// When `buf` is shorter than [`NdpOption::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let length = self.encoded_len();
        let option = &mut buf[..length];
        option.fill(0);
        option[0] = self.kind();
        // At most 255 units.
        option[1] = (length / 8) as u8;
        match *self {
            NdpOption::SourceLinkLayer(address) | NdpOption::TargetLinkLayer(address) => {
                option[2..8].copy_from_slice(&address.0);
            }
            NdpOption::Prefix(prefix) => prefix.emit(option),
            NdpOption::RedirectedHeader(packet) => fill(&mut option[8..], packet),
            NdpOption::Mtu(mtu) => option[4..8].copy_from_slice(&mtu.to_be_bytes()),
            NdpOption::RecursiveDns { lifetime, servers } => {
                option[4..8].copy_from_slice(&lifetime.to_be_bytes());
                fill(&mut option[8..], servers.as_flattened());
            }
            NdpOption::SearchList { lifetime, names } => {
                option[4..8].copy_from_slice(&lifetime.to_be_bytes());
                fill(&mut option[8..], names.as_bytes());
            }
            NdpOption::Nonce(data)
            | NdpOption::Unknown { data, .. }
            | NdpOption::WrongSize { data, .. } => fill(&mut option[2..], data),
        }
        length
    }
}

/// The longest option in bytes.
const MAX_LEN: usize = 255 * 8;

/// Copies as much of `from` as there is room for.
fn fill(room: &mut [u8], from: &[u8]) {
    let length = from.len().min(room.len());
    room[..length].copy_from_slice(&from[..length]);
}

impl PrefixInformation {
    const ON_LINK: u8 = 0x80;
    const AUTONOMOUS: u8 = 0x40;

    /// Reads what follows type and length.
    fn parse(data: &[u8; 30]) -> Option<PrefixInformation> {
        let (&[prefix_len, flags], rest) = data.split_first_chunk()?;
        let (valid, rest) = rest.split_first_chunk()?;
        let (preferred, rest) = rest.split_first_chunk()?;
        let (_, prefix) = rest.split_last_chunk::<16>()?;
        Some(PrefixInformation {
            prefix: Ipv6Addr::from(*prefix),
            prefix_len,
            on_link: flags & Self::ON_LINK != 0,
            autonomous: flags & Self::AUTONOMOUS != 0,
            valid_lifetime: u32::from_be_bytes(*valid),
            preferred_lifetime: u32::from_be_bytes(*preferred),
        })
    }

    fn emit(&self, option: &mut [u8]) {
        option[2] = self.prefix_len;
        option[3] = if self.on_link { Self::ON_LINK } else { 0 }
            | if self.autonomous { Self::AUTONOMOUS } else { 0 };
        option[4..8].copy_from_slice(&self.valid_lifetime.to_be_bytes());
        option[8..12].copy_from_slice(&self.preferred_lifetime.to_be_bytes());
        option[16..32].copy_from_slice(&self.prefix.octets());
    }
}

/// The options of a message whose lengths are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Options<'a> {
    bytes: &'a [u8],
}

impl<'a> Options<'a> {
    /// Checks the lengths of the options in `bytes`.
    ///
    /// # Errors
    /// The type of the first option that has a length of zero, or reaches beyond the end.
    pub fn new(bytes: &'a [u8]) -> Result<Self, u8> {
        let mut rest = bytes;
        while let Some(&kind) = rest.first() {
            (_, rest) = split_option(rest).ok_or(kind)?;
        }
        Ok(Self { bytes })
    }

    /// The bytes as they stand in the message.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The options one by one.
    #[must_use]
    pub const fn iter(&self) -> OptionsIter<'a> {
        OptionsIter { rest: self.bytes }
    }
}

impl<'a> IntoIterator for &Options<'a> {
    type Item = NdpOption<'a>;
    type IntoIter = OptionsIter<'a>;

    fn into_iter(self) -> OptionsIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The options of a message one by one.
#[derive(Clone, Debug)]
pub struct OptionsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for OptionsIter<'a> {
    type Item = NdpOption<'a>;

    fn next(&mut self) -> Option<NdpOption<'a>> {
        let (option, rest) = split_option(self.rest)?;
        self.rest = rest;
        let (&[kind, _], data) = option.split_first_chunk()?;
        Some(read(kind, data).unwrap_or(NdpOption::WrongSize { kind, data }))
    }
}

/// Splits the first option, type and length included, from the rest; `None` when its length is
/// zero, or it is not all there.
fn split_option(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match usize::from(*bytes.get(1)?) {
        0 => None,
        units => bytes.split_at_checked(units * 8),
    }
}

/// `None` when the length is not one that the option can have.
fn read(kind: u8, data: &[u8]) -> Option<NdpOption<'_>> {
    Some(match kind {
        option::SOURCE_LINK_LAYER => {
            NdpOption::SourceLinkLayer(EthernetAddress(data.try_into().ok()?))
        }
        option::TARGET_LINK_LAYER => {
            NdpOption::TargetLinkLayer(EthernetAddress(data.try_into().ok()?))
        }
        option::PREFIX_INFORMATION => {
            NdpOption::Prefix(PrefixInformation::parse(data.try_into().ok()?)?)
        }
        option::REDIRECTED_HEADER => NdpOption::RedirectedHeader(data.get(6..)?),
        option::MTU => {
            let [_, _, mtu @ ..]: [u8; 6] = data.try_into().ok()?;
            NdpOption::Mtu(u32::from_be_bytes(mtu))
        }
        option::NONCE => NdpOption::Nonce(data),
        option::RECURSIVE_DNS => {
            let (lifetime, rest) = lifetime_and_rest(data)?;
            let (servers, left) = rest.as_chunks();
            if servers.is_empty() || !left.is_empty() {
                return None;
            }
            NdpOption::RecursiveDns { lifetime, servers }
        }
        option::SEARCH_LIST => {
            let (lifetime, names) = lifetime_and_rest(data)?;
            if names.is_empty() {
                return None;
            }
            NdpOption::SearchList { lifetime, names: Names::new(names) }
        }
        _ => NdpOption::Unknown { kind, data },
    })
}

/// A lifetime behind two reserved bytes, and what follows.
fn lifetime_and_rest(data: &[u8]) -> Option<(u32, &[u8])> {
    let (lifetime, rest) = data.get(2..)?.split_first_chunk()?;
    Some((u32::from_be_bytes(*lifetime), rest))
}
