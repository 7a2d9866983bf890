//! DHCP for IPv4 (RFC 2131, RFC 2132): how a host gets its address.
//!
//! Messages are few, and their options may be spread over three fields and over several pieces, so
//! unlike other formats this one is read into owned memory.

use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ethernet::EthernetAddress;

mod malformed;
mod options;

pub use malformed::Malformed;
pub use options::{Options, OptionsIter, RawOption, option};

/// The port on which servers listen.
pub const SERVER_PORT: u16 = 67;

/// The port on which clients listen.
pub const CLIENT_PORT: u16 = 68;

/// The length of a message without options in bytes, the cookie before them included.
pub const HEADER_LEN: usize = 240;

/// The shortest message that old relays pass on, in bytes (RFC 1542 section 2.1).
pub const MIN_LEN: usize = 300;

/// What stands before the options (RFC 2131 section 3).
pub const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// The hardware type of Ethernet.
const ETHERNET: u8 = 1;

const BROADCAST: u16 = 0x8000;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
struct Fixed {
    operation: u8,
    hardware_type: u8,
    hardware_len: u8,
    hops: u8,
    transaction: U32,
    seconds: U16,
    flags: U16,
    client_address: [u8; 4],
    your_address: [u8; 4],
    next_server: [u8; 4],
    relay: [u8; 4],
    hardware: [u8; 6],
    hardware_padding: [u8; 10],
    server_name: [u8; 64],
    file: [u8; 128],
    cookie: [u8; 4],
}

/// What a message is for (RFC 2132 section 9.6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageType(pub u8);

impl MessageType {
    /// Client: which servers are there?
    pub const DISCOVER: MessageType = MessageType(1);
    /// Server: you could have this address.
    pub const OFFER: MessageType = MessageType(2);
    /// Client: I take this address, or keep it.
    pub const REQUEST: MessageType = MessageType(3);
    /// Client: somebody has this address already.
    pub const DECLINE: MessageType = MessageType(4);
    /// Server: you have this address.
    pub const ACK: MessageType = MessageType(5);
    /// Server: you cannot have this address.
    pub const NAK: MessageType = MessageType(6);
    /// Client: I need this address no longer.
    pub const RELEASE: MessageType = MessageType(7);
    /// Client: I have an address, what else is there to know?
    pub const INFORM: MessageType = MessageType(8);

    /// Whether clients send it.
    #[must_use]
    pub const fn is_from_client(self) -> bool {
        matches!(
            self,
            MessageType::DISCOVER
                | MessageType::REQUEST
                | MessageType::DECLINE
                | MessageType::RELEASE
                | MessageType::INFORM
        )
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            MessageType::DISCOVER => "Discover",
            MessageType::OFFER => "Offer",
            MessageType::REQUEST => "Request",
            MessageType::DECLINE => "Decline",
            MessageType::ACK => "ACK",
            MessageType::NAK => "NACK",
            MessageType::RELEASE => "Release",
            MessageType::INFORM => "Inform",
            MessageType(other) => return write!(f, "type {other}"),
        })
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a message between an Ethernet client and a server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// What it is for; it also tells who speaks.
    pub kind: MessageType,
    /// The number that the client chose for this exchange.
    pub transaction: u32,
    /// How long the client has been trying, in seconds.
    pub seconds: u16,
    /// The client cannot hear unicast yet: answer to all.
    pub broadcast: bool,
    /// `ciaddr`: the address that the client has and answers for; unspecified when it has none.
    pub client_address: Ipv4Addr,
    /// `yiaddr`: the address that the server gives to the client.
    pub your_address: Ipv4Addr,
    /// `siaddr`: the server from which to boot.
    pub next_server: Ipv4Addr,
    /// `giaddr`: the relay that passed the message on.
    pub relay: Ipv4Addr,
    /// `chaddr`: the client's Ethernet address.
    pub hardware: EthernetAddress,
    /// Everything else.
    pub options: Options,
}

impl Message {
    /// Reads the payload of a datagram. Options that are unknown or of a wrong size are passed
    /// over; pieces of one option are put together (RFC 3396).
    ///
    /// # Errors
    /// When it is no DHCP message for an Ethernet client, or an option reaches beyond its field.
    pub fn parse(payload: &[u8]) -> Result<Message, Malformed> {
        let (fixed, list) = Fixed::ref_from_prefix(payload)
            .map_err(|_| Malformed::Truncated { length: payload.len() })?;
        if fixed.cookie != COOKIE {
            return Err(Malformed::Cookie(fixed.cookie));
        }
        let hardware = (fixed.hardware_type, fixed.hardware_len);
        if hardware != (ETHERNET, 6) {
            return Err(Malformed::Hardware { kind: hardware.0, length: hardware.1 });
        }
        let (kind, options) = Options::parse(list, &fixed.file, &fixed.server_name)?;
        let expected = if kind.is_from_client() { 1 } else { 2 };
        if fixed.operation != expected {
            return Err(Malformed::Operation { operation: fixed.operation, kind });
        }
        Ok(Message {
            kind,
            transaction: fixed.transaction.get(),
            seconds: fixed.seconds.get(),
            broadcast: fixed.flags.get() & BROADCAST != 0,
            client_address: fixed.client_address.into(),
            your_address: fixed.your_address.into(),
            next_server: fixed.next_server.into(),
            relay: fixed.relay.into(),
            hardware: EthernetAddress(fixed.hardware),
            options,
        })
    }

    /// The message's bytes: the payload of a datagram, filled up to [`MIN_LEN`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let fixed = Fixed {
            operation: if self.kind.is_from_client() { 1 } else { 2 },
            hardware_type: ETHERNET,
            hardware_len: 6,
            hops: 0,
            transaction: self.transaction.into(),
            seconds: self.seconds.into(),
            flags: if self.broadcast { BROADCAST } else { 0 }.into(),
            client_address: self.client_address.octets(),
            your_address: self.your_address.octets(),
            next_server: self.next_server.octets(),
            relay: self.relay.octets(),
            hardware: self.hardware.0,
            hardware_padding: [0; 10],
            server_name: [0; 64],
            file: [0; 128],
            cookie: COOKIE,
        };
        let mut bytes = fixed.as_bytes().to_vec();
        self.options.emit(self.kind, &mut bytes);
        bytes.resize(bytes.len().max(MIN_LEN), 0);
        bytes
    }
}

impl fmt::Display for Message {
    /// `DHCP Offer, xid 0x1234, 02:00:00:00:00:01, your-IP 10.77.0.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { kind, transaction, hardware, .. } = self;
        write!(f, "DHCP {kind}, xid {transaction:#x}, {hardware}")?;
        if !self.client_address.is_unspecified() {
            write!(f, ", client-IP {}", self.client_address)?;
        }
        if !self.your_address.is_unspecified() {
            write!(f, ", your-IP {}", self.your_address)?;
        }
        match self.options.requested_address {
            Some(address) => write!(f, ", requested-IP {address}"),
            None => Ok(()),
        }
    }
}
