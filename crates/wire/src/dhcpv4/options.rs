//! The options of DHCP (RFC 2132, RFC 3396).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::{Malformed, MessageType};

/// The codes of options (IANA "BOOTP Vendor Extensions and DHCP Options").
pub mod option {
    /// One byte of padding, without a length.
    pub const PAD: u8 = 0;
    /// The mask of the subnet.
    pub const SUBNET_MASK: u8 = 1;
    /// Routers, the best first.
    pub const ROUTERS: u8 = 3;
    /// DNS servers, the best first.
    pub const DNS_SERVERS: u8 = 6;
    /// The client's name.
    pub const HOST_NAME: u8 = 12;
    /// The domain that completes names.
    pub const DOMAIN_NAME: u8 = 15;
    /// The MTU of the link.
    pub const INTERFACE_MTU: u8 = 26;
    /// The address that the client would like.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// How long the address is the client's.
    pub const LEASE_TIME: u8 = 51;
    /// Fields of the header hold options, too.
    pub const OVERLOAD: u8 = 52;
    /// What the message is for.
    pub const MESSAGE_TYPE: u8 = 53;
    /// The server's address.
    pub const SERVER_IDENTIFIER: u8 = 54;
    /// What the client wants to know.
    pub const PARAMETER_LIST: u8 = 55;
    /// A text for people, with a NAK or a DECLINE.
    pub const MESSAGE: u8 = 56;
    /// The longest message that the client takes.
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    /// When to ask this server to prolong the lease.
    pub const RENEWAL_TIME: u8 = 58;
    /// When to ask any server to prolong the lease.
    pub const REBINDING_TIME: u8 = 59;
    /// What the client is to servers.
    pub const CLIENT_IDENTIFIER: u8 = 61;
    /// The options end here, without a length.
    pub const END: u8 = 255;
}

/// The longest data of one option in bytes; longer values go in pieces (RFC 3396).
const MAX_PIECE: usize = 255;

/// What the options of a message say, but for what it is for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The length of the subnet's prefix in bits, told by its mask.
    pub prefix_len: Option<u8>,
    /// Routers of the subnet, the best first.
    pub routers: Vec<Ipv4Addr>,
    /// DNS servers, the best first.
    pub dns_servers: Vec<Ipv4Addr>,
    /// The client's name, or what the server calls it; empty for none.
    pub host_name: String,
    /// The domain that completes names; empty for none.
    pub domain_name: String,
    /// The MTU of the link in bytes; at least 68.
    pub mtu: Option<u16>,
    /// The address that the client would like.
    pub requested_address: Option<Ipv4Addr>,
    /// How long the address is the client's, in seconds; `u32::MAX` for ever.
    pub lease_time: Option<u32>,
    /// T1: when to ask this server to prolong the lease, in seconds.
    pub renewal_time: Option<u32>,
    /// T2: when to ask any server to prolong the lease, in seconds.
    pub rebinding_time: Option<u32>,
    /// The server's address, which tells servers apart.
    pub server_identifier: Option<Ipv4Addr>,
    /// The codes of the options that the client wants ([`option`]).
    pub parameter_list: Vec<u8>,
    /// A text for people; empty for none.
    pub message: String,
    /// The longest message that the client takes, in bytes; at least 576.
    pub max_message_size: Option<u16>,
    /// What the client is to servers, in place of its Ethernet address; empty for none. It has at
    /// least two bytes.
    pub client_identifier: Vec<u8>,
}

impl Options {
    /// Reads the options in the list, and where they say so in the two fields of the header
    /// (RFC 2131 section 4.1).
    pub(super) fn parse(
        list: &[u8],
        file: &[u8],
        server_name: &[u8],
    ) -> Result<(MessageType, Options), Malformed> {
        let mut values = BTreeMap::new();
        collect(list, &mut values)?;
        let overload = match values.get(&option::OVERLOAD).map(Vec::as_slice) {
            Some(&[bits]) => bits,
            _ => 0,
        };
        if overload & 1 != 0 {
            collect(file, &mut values)?;
        }
        if overload & 2 != 0 {
            collect(server_name, &mut values)?;
        }
        let values = Values(values);
        let kind = values.byte(option::MESSAGE_TYPE).ok_or(Malformed::NoMessageType)?;
        Ok((MessageType(kind), Options::read(&values)))
    }

    fn read(values: &Values) -> Options {
        Options {
            prefix_len: values.address(option::SUBNET_MASK).and_then(prefix_len),
            routers: values.addresses(option::ROUTERS),
            dns_servers: values.addresses(option::DNS_SERVERS),
            host_name: values.text(option::HOST_NAME),
            domain_name: values.text(option::DOMAIN_NAME),
            mtu: values.short(option::INTERFACE_MTU).filter(|&mtu| mtu >= 68),
            requested_address: values.address(option::REQUESTED_ADDRESS),
            lease_time: values.word(option::LEASE_TIME),
            renewal_time: values.word(option::RENEWAL_TIME),
            rebinding_time: values.word(option::REBINDING_TIME),
            server_identifier: values.address(option::SERVER_IDENTIFIER),
            parameter_list: values.bytes(option::PARAMETER_LIST).to_vec(),
            message: values.text(option::MESSAGE),
            max_message_size: values.short(option::MAX_MESSAGE_SIZE).filter(|&size| size >= 576),
            client_identifier: match values.bytes(option::CLIENT_IDENTIFIER) {
                [] | [_] => Vec::new(),
                identifier => identifier.to_vec(),
            },
        }
    }

    /// Appends the options of a message of `kind` to `out`, and what ends them.
    pub(super) fn emit(&self, kind: MessageType, out: &mut Vec<u8>) {
        let mut put = |code: u8, value: &[u8]| {
            for piece in value.chunks(MAX_PIECE) {
                // At most 255 bytes.
                out.extend_from_slice(&[code, piece.len() as u8]);
                out.extend_from_slice(piece);
            }
        };
        let address = |address: Option<Ipv4Addr>| address.map(|address| address.octets());
        let word = |number: Option<u32>| number.map(u32::to_be_bytes);
        let short = |number: Option<u16>| number.map(u16::to_be_bytes);
        let list = |addresses: &[Ipv4Addr]| {
            addresses.iter().flat_map(|address| address.octets()).collect::<Vec<_>>()
        };
        let mask = self.prefix_len.map(mask);
        put(option::MESSAGE_TYPE, &[kind.0]);
        put(option::CLIENT_IDENTIFIER, &self.client_identifier);
        put(option::SERVER_IDENTIFIER, address(self.server_identifier).as_slice().as_flattened());
        put(option::REQUESTED_ADDRESS, address(self.requested_address).as_slice().as_flattened());
        put(option::LEASE_TIME, word(self.lease_time).as_slice().as_flattened());
        put(option::RENEWAL_TIME, word(self.renewal_time).as_slice().as_flattened());
        put(option::REBINDING_TIME, word(self.rebinding_time).as_slice().as_flattened());
        put(option::MAX_MESSAGE_SIZE, short(self.max_message_size).as_slice().as_flattened());
        put(option::SUBNET_MASK, address(mask).as_slice().as_flattened());
        put(option::ROUTERS, &list(&self.routers));
        put(option::DNS_SERVERS, &list(&self.dns_servers));
        put(option::INTERFACE_MTU, short(self.mtu).as_slice().as_flattened());
        put(option::HOST_NAME, self.host_name.as_bytes());
        put(option::DOMAIN_NAME, self.domain_name.as_bytes());
        put(option::PARAMETER_LIST, &self.parameter_list);
        put(option::MESSAGE, self.message.as_bytes());
        out.push(option::END);
    }
}

/// The options by their codes, their pieces put together.
struct Values(BTreeMap<u8, Vec<u8>>);

impl Values {
    fn bytes(&self, code: u8) -> &[u8] {
        self.0.get(&code).map(Vec::as_slice).unwrap_or_default()
    }

    fn byte(&self, code: u8) -> Option<u8> {
        <[u8; 1]>::try_from(self.bytes(code)).ok().map(|[byte]| byte)
    }

    fn short(&self, code: u8) -> Option<u16> {
        self.bytes(code).try_into().ok().map(u16::from_be_bytes)
    }

    fn word(&self, code: u8) -> Option<u32> {
        self.bytes(code).try_into().ok().map(u32::from_be_bytes)
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        <[u8; 4]>::try_from(self.bytes(code)).ok().map(Ipv4Addr::from)
    }

    /// None of them when the length is no multiple of that of an address.
    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (addresses, rest) = self.bytes(code).as_chunks::<4>();
        let addresses = if rest.is_empty() { addresses } else { &[] };
        addresses.iter().map(|&octets| Ipv4Addr::from(octets)).collect()
    }

    /// Some servers end texts with a zero (RFC 2132 section 2).
    fn text(&self, code: u8) -> String {
        String::from_utf8_lossy(self.bytes(code)).trim_end_matches('\0').into()
    }
}

/// Adds the options of one field to `values`.
fn collect(field: &[u8], values: &mut BTreeMap<u8, Vec<u8>>) -> Result<(), Malformed> {
    for item in OptionsIter::new(field) {
        let RawOption { code, data } = item?;
        values.entry(code).or_default().extend_from_slice(data);
    }
    Ok(())
}

/// The length of the prefix that `mask` leaves; `None` when its ones are not all in front.
fn prefix_len(mask: Ipv4Addr) -> Option<u8> {
    let ones = mask.to_bits().leading_ones();
    (mask.to_bits().count_ones() == ones).then(|| u8::try_from(ones).unwrap_or(32))
}

fn mask(prefix_len: u8) -> Ipv4Addr {
    let zeros = 32u32.saturating_sub(prefix_len.into());
    Ipv4Addr::from_bits(u32::MAX.checked_shl(zeros).unwrap_or(0))
}

/// One option, or a piece of one, as it stands there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RawOption<'a> {
    /// Its code ([`option`]).
    pub code: u8,
    /// Its data.
    pub data: &'a [u8],
}

/// The options of one field one by one, padding passed over. It ends behind
/// [`option::END`] and behind an option that reaches beyond the field.
#[derive(Clone, Debug)]
pub struct OptionsIter<'a> {
    rest: &'a [u8],
}

impl<'a> OptionsIter<'a> {
    /// Reads the options in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for OptionsIter<'a> {
    type Item = Result<RawOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let padding = self.rest.iter().take_while(|&&code| code == option::PAD).count();
        let (&code, behind) = self.rest.get(padding..)?.split_first()?;
        self.rest = &[];
        if code == option::END {
            return None;
        }
        let split = behind
            .split_first()
            .and_then(|(&length, behind)| behind.split_at_checked(usize::from(length)));
        let Some((data, rest)) = split else {
            return Some(Err(Malformed::OptionBeyondField { code }));
        };
        self.rest = rest;
        Some(Ok(RawOption { code, data }))
    }
}
