//! DHCP for IPv6 as far as a host needs it that makes its own addresses: the stateless exchange of
//! an information-request and a reply (RFC 8415 section 6.1, RFC 3646).
//!
//! As with DHCP for IPv4, messages are few, so they are read into owned memory.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use crate::domain::Names;
use crate::ethernet::EthernetAddress;

/// The port on which servers and relays listen.
pub const SERVER_PORT: u16 = 547;

/// The port on which clients listen.
pub const CLIENT_PORT: u16 = 546;

/// The length of a message without options in bytes.
pub const HEADER_LEN: usize = 4;

/// The longest identifier of a client or server in bytes (RFC 8415 section 11.1).
pub const MAX_DUID_LEN: usize = 130;

/// The codes of options (IANA "DHCPv6 Option Codes").
pub mod option {
    /// The client's identifier.
    pub const CLIENT_IDENTIFIER: u16 = 1;
    /// The server's identifier.
    pub const SERVER_IDENTIFIER: u16 = 2;
    /// What the client wants to know.
    pub const OPTION_REQUEST: u16 = 6;
    /// How long the client has been trying.
    pub const ELAPSED_TIME: u16 = 8;
    /// How it went.
    pub const STATUS_CODE: u16 = 13;
    /// DNS servers (RFC 3646).
    pub const DNS_SERVERS: u16 = 23;
    /// The DNS search list (RFC 3646).
    pub const DOMAIN_LIST: u16 = 24;
    /// When to ask again.
    pub const INFORMATION_REFRESH_TIME: u16 = 32;
    /// How long to wait at most between requests.
    pub const INF_MAX_RT: u16 = 83;
}

/// What a message is for (RFC 8415 section 7.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageType(pub u8);

impl MessageType {
    /// Server: the answer to a request.
    pub const REPLY: MessageType = MessageType(7);
    /// Client: what is there to know, besides addresses?
    pub const INFORMATION_REQUEST: MessageType = MessageType(11);
    /// A relay passes a client's message on; its header is another.
    pub const RELAY_FORWARD: MessageType = MessageType(12);
    /// A server answers through a relay.
    pub const RELAY_REPLY: MessageType = MessageType(13);
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            MessageType::REPLY => "reply",
            MessageType::INFORMATION_REQUEST => "inf-req",
            MessageType::RELAY_FORWARD => "relay-fwd",
            MessageType::RELAY_REPLY => "relay-reply",
            MessageType(other) => return write!(f, "msgtype-{other}"),
        })
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a DHCPv6 message is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The message ends before its header does.
    Truncated {
        /// The length of the message in bytes.
        length: usize,
    },
    /// The message is one between relays and servers.
    Relayed(MessageType),
    /// An option reaches beyond the message.
    OptionBeyondMessage {
        /// The code of the option, if it is there.
        code: Option<u16>,
    },
    /// A reply does not say which server it comes from (RFC 8415 section 16.10).
    NoServerIdentifier,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length } => {
                write!(f, "the DHCPv6 message has {length} bytes and needs {HEADER_LEN}")
            }
            Malformed::Relayed(kind) => {
                write!(f, "the DHCPv6 message is a {kind}, for relays and servers only")
            }
            Malformed::OptionBeyondMessage { code: Some(code) } => {
                write!(f, "the option {code} reaches beyond the message")
            }
            Malformed::OptionBeyondMessage { code: None } => {
                f.write_str("the message ends inside the header of an option")
            }
            Malformed::NoServerIdentifier => {
                f.write_str("the reply does not say which server it comes from")
            }
        }
    }
}

impl core::error::Error for Malformed {}

/// How a request went (RFC 8415 section 21.13).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Zero when all is well.
    pub code: u16,
    /// A text for people; perhaps empty.
    pub message: String,
}

/// What a message between a client and a server says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Message {
    /// What it is for.
    pub kind: MessageType,
    /// The number that the client chose for this exchange: 24 bits, of which no more are written.
    pub transaction: u32,
    /// The client's identifier; empty for none.
    pub client_identifier: Vec<u8>,
    /// The server's identifier; empty for none.
    pub server_identifier: Vec<u8>,
    /// The codes of the options that the client wants ([`option`]).
    pub requested: Vec<u16>,
    /// How long the client has been trying, in hundredths of a second.
    pub elapsed: Option<u16>,
    /// How it went, when that is said.
    pub status: Option<Status>,
    /// DNS servers, the best first.
    pub dns_servers: Vec<Ipv6Addr>,
    /// The DNS search list as it stands there ([`Message::domains`]).
    pub domain_list: Vec<u8>,
    /// When to ask again, in seconds (RFC 8415 section 21.23).
    pub refresh_time: Option<u32>,
    /// How long to wait at most between requests, in seconds (RFC 8415 section 21.25).
    pub max_retransmit: Option<u32>,
}

impl Default for MessageType {
    /// A client's information-request.
    fn default() -> Self {
        Self::INFORMATION_REQUEST
    }
}

impl Message {
    /// Reads the payload of a datagram. Options that are unknown or of a wrong size are passed
    /// over; of several of one kind the first counts.
    ///
    /// # Errors
    /// When it is no message between a client and a server, an option reaches beyond its end, or a
    /// reply does not say whose it is. Whether it answers an own request is for the caller to see.
    pub fn parse(payload: &[u8]) -> Result<Message, Malformed> {
        let truncated = Malformed::Truncated { length: payload.len() };
        let (&[kind, a, b, c], options) = payload.split_first_chunk().ok_or(truncated)?;
        let kind = MessageType(kind);
        if matches!(kind, MessageType::RELAY_FORWARD | MessageType::RELAY_REPLY) {
            return Err(Malformed::Relayed(kind));
        }
        let transaction = u32::from_be_bytes([0, a, b, c]);
        let mut message = Message { kind, transaction, ..Message::default() };
        for item in OptionsIter::new(options) {
            let (code, data) = item?;
            message.read(code, data);
        }
        if kind == MessageType::REPLY && message.server_identifier.is_empty() {
            return Err(Malformed::NoServerIdentifier);
        }
        Ok(message)
    }

    fn read(&mut self, code: u16, data: &[u8]) {
        let number = || data.try_into().ok().map(u32::from_be_bytes);
        match code {
            option::CLIENT_IDENTIFIER => first_duid(&mut self.client_identifier, data),
            option::SERVER_IDENTIFIER => first_duid(&mut self.server_identifier, data),
            option::OPTION_REQUEST if self.requested.is_empty() => {
                let (codes, []) = data.as_chunks() else { return };
                self.requested = codes.iter().map(|&code| u16::from_be_bytes(code)).collect();
            }
            option::ELAPSED_TIME if self.elapsed.is_none() => {
                self.elapsed = data.try_into().ok().map(u16::from_be_bytes);
            }
            option::STATUS_CODE if self.status.is_none() => {
                let Some((code, text)) = data.split_first_chunk() else { return };
                let message = String::from_utf8_lossy(text).into();
                self.status = Some(Status { code: u16::from_be_bytes(*code), message });
            }
            option::DNS_SERVERS if self.dns_servers.is_empty() => {
                let (servers, []) = data.as_chunks::<16>() else { return };
                self.dns_servers = servers.iter().map(|&octets| octets.into()).collect();
            }
            option::DOMAIN_LIST if self.domain_list.is_empty() => {
                self.domain_list = data.to_vec();
            }
            option::INFORMATION_REFRESH_TIME if self.refresh_time.is_none() => {
                self.refresh_time = number();
            }
            option::INF_MAX_RT if self.max_retransmit.is_none() => {
                self.max_retransmit = number();
            }
            _ => {}
        }
    }

    /// The DNS search list.
    #[must_use]
    pub fn domains(&self) -> Names<'_> {
        Names::new(&self.domain_list)
    }

    /// The message's bytes: the payload of a datagram. Values that are longer than an option can
    /// be are cut.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let [_, a, b, c] = self.transaction.to_be_bytes();
        let mut out = Vec::from([self.kind.0, a, b, c]);
        let mut put = |code: u16, value: &[u8]| {
            if value.is_empty() {
                return;
            }
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&value[..usize::from(length)]);
        };
        let number = |number: Option<u32>| number.map(u32::to_be_bytes);
        let requested: Vec<_> = self.requested.iter().flat_map(|code| code.to_be_bytes()).collect();
        let servers: Vec<_> = self.dns_servers.iter().flat_map(|server| server.octets()).collect();
        let elapsed = self.elapsed.map(u16::to_be_bytes);
        put(option::CLIENT_IDENTIFIER, &self.client_identifier);
        put(option::SERVER_IDENTIFIER, &self.server_identifier);
        put(option::OPTION_REQUEST, &requested);
        put(option::ELAPSED_TIME, elapsed.as_slice().as_flattened());
        if let Some(Status { code, message }) = &self.status {
            put(option::STATUS_CODE, &[&code.to_be_bytes(), message.as_bytes()].concat());
        }
        put(option::DNS_SERVERS, &servers);
        put(option::DOMAIN_LIST, &self.domain_list);
        put(option::INFORMATION_REFRESH_TIME, number(self.refresh_time).as_slice().as_flattened());
        put(option::INF_MAX_RT, number(self.max_retransmit).as_slice().as_flattened());
        out
    }
}

/// The identifier that a station has by its Ethernet address alone: DUID-LL (RFC 8415 section
/// 11.4).
#[must_use]
pub const fn duid_of(station: EthernetAddress) -> [u8; 10] {
    let [a, b, c, d, e, f] = station.0;
    [0, 3, 0, 1, a, b, c, d, e, f]
}

/// Keeps an identifier, unless there is one, or it is too short or too long to be one.
fn first_duid(place: &mut Vec<u8>, data: &[u8]) {
    if place.is_empty() && (3..=MAX_DUID_LEN).contains(&data.len()) {
        place.extend_from_slice(data);
    }
}

/// The options of a message one by one: their codes and data. It ends behind one that reaches
/// beyond the message.
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
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = core::mem::take(&mut self.rest);
        let Some((&[a, b, high, low], rest)) = rest.split_first_chunk() else {
            return Some(Err(Malformed::OptionBeyondMessage { code: None }));
        };
        let (code, length) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([high, low]));
        let Some((data, rest)) = rest.split_at_checked(length.into()) else {
            return Some(Err(Malformed::OptionBeyondMessage { code: Some(code) }));
        };
        self.rest = rest;
        Some(Ok((code, data)))
    }
}

impl fmt::Display for Message {
    /// `dhcp6 reply, xid 0x123456, DNS fd77::1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dhcp6 {}, xid {:#x}", self.kind, self.transaction)?;
        for (index, server) in self.dns_servers.iter().enumerate() {
            write!(f, "{}{server}", if index == 0 { ", DNS " } else { " " })?;
        }
        Ok(())
    }
}
