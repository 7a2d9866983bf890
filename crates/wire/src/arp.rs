//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).

use core::fmt;
use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::ethernet::{EtherType, EthernetAddress};

/// The length of an ARP packet for IPv4 over Ethernet in bytes.
pub const PACKET_LEN: usize = 28;

/// The hardware type of Ethernet (IANA "ARP Parameters").
pub const HARDWARE_ETHERNET: u16 = 1;

/// What an ARP packet asks or answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation(pub u16);

impl Operation {
    /// Who has this protocol address?
    pub const REQUEST: Operation = Operation(1);
    /// I have it, and this is my hardware address.
    pub const REPLY: Operation = Operation(2);
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Operation::REQUEST => f.write_str("Request"),
            Operation::REPLY => f.write_str("Reply"),
            Operation(other) => write!(f, "Unknown ({other})"),
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
struct Fixed {
    hardware_type: U16,
    protocol_type: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    sender_hardware: [u8; 6],
    sender_protocol: [u8; 4],
    target_hardware: [u8; 6],
    target_protocol: [u8; 4],
}

/// The names of the fields over the bytes of an ARP packet, as if it were for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    fixed: &'a Fixed,
}

impl<'a> View<'a> {
    /// Lays the view over `packet`; `None` when it is shorter than [`PACKET_LEN`].
    #[must_use]
    pub fn new(packet: &'a [u8]) -> Option<Self> {
        let (fixed, _) = Fixed::ref_from_prefix(packet).ok()?;
        Some(Self { fixed })
    }

    /// The kind of hardware addresses: [`HARDWARE_ETHERNET`].
    #[must_use]
    pub fn hardware_type(&self) -> u16 {
        self.fixed.hardware_type.get()
    }

    /// The kind of protocol addresses: [`EtherType::IPV4`].
    #[must_use]
    pub fn protocol_type(&self) -> EtherType {
        EtherType(self.fixed.protocol_type.get())
    }

    /// The length of a hardware address in bytes: 6.
    #[must_use]
    pub fn hardware_len(&self) -> u8 {
        self.fixed.hardware_len
    }

    /// The length of a protocol address in bytes: 4.
    #[must_use]
    pub fn protocol_len(&self) -> u8 {
        self.fixed.protocol_len
    }

    /// What the packet asks or answers.
    #[must_use]
    pub fn operation(&self) -> Operation {
        Operation(self.fixed.operation.get())
    }

    /// The sender's hardware address.
    #[must_use]
    pub fn sender_hardware(&self) -> EthernetAddress {
        EthernetAddress(self.fixed.sender_hardware)
    }

    /// The sender's IPv4 address.
    #[must_use]
    pub fn sender_protocol(&self) -> Ipv4Addr {
        self.fixed.sender_protocol.into()
    }

    /// The target's hardware address; in a request nobody's.
    #[must_use]
    pub fn target_hardware(&self) -> EthernetAddress {
        EthernetAddress(self.fixed.target_hardware)
    }

    /// The target's IPv4 address.
    #[must_use]
    pub fn target_protocol(&self) -> Ipv4Addr {
        self.fixed.target_protocol.into()
    }
}

/// How an ARP packet is malformed, or speaks of other networks than IPv4 over Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The packet is shorter than it must be.
    Truncated {
        /// The length of the packet in bytes.
        length: usize,
    },
    /// The hardware is not Ethernet.
    HardwareType(u16),
    /// The protocol is not IPv4.
    ProtocolType(EtherType),
    /// The lengths of the addresses are not those of Ethernet and IPv4.
    AddressLengths {
        /// The stated length of a hardware address in bytes; 6 is right.
        hardware: u8,
        /// The stated length of a protocol address in bytes; 4 is right.
        protocol: u8,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated { length } => {
                write!(f, "the ARP packet has {length} bytes and needs {PACKET_LEN}")
            }
            Malformed::HardwareType(other) => {
                write!(f, "the ARP packet is for hardware type {other}, not for Ethernet (1)")
            }
            Malformed::ProtocolType(other) => {
                write!(f, "the ARP packet is for protocol {other}, not for IPv4")
            }
            Malformed::AddressLengths { hardware, protocol } => write!(
                f,
                "the ARP packet states address lengths {hardware} and {protocol} instead of 6 and 4"
            ),
        }
    }
}

impl core::error::Error for Malformed {}

/// What an ARP packet for IPv4 over Ethernet says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Packet {
    /// What it asks or answers.
    pub operation: Operation,
    /// The sender's hardware address.
    pub sender_hardware: EthernetAddress,
    /// The sender's IPv4 address; unspecified in a probe (RFC 5227 section 1.1).
    pub sender_protocol: Ipv4Addr,
    /// The target's hardware address; ignored in a request.
    pub target_hardware: EthernetAddress,
    /// The target's IPv4 address.
    pub target_protocol: Ipv4Addr,
}

impl Packet {
    /// Reads an ARP packet; bytes behind it (the padding of a short frame) are ignored.
    ///
    /// # Errors
    /// When the packet is too short, or is not for IPv4 over Ethernet.
    pub fn parse(packet: &[u8]) -> Result<Packet, Malformed> {
        let view = View::new(packet).ok_or(Malformed::Truncated { length: packet.len() })?;
        if view.hardware_type() != HARDWARE_ETHERNET {
            return Err(Malformed::HardwareType(view.hardware_type()));
        }
        if view.protocol_type() != EtherType::IPV4 {
            return Err(Malformed::ProtocolType(view.protocol_type()));
        }
        let (hardware, protocol) = (view.hardware_len(), view.protocol_len());
        if (hardware, protocol) != (6, 4) {
            return Err(Malformed::AddressLengths { hardware, protocol });
        }
        Ok(Packet {
            operation: view.operation(),
            sender_hardware: view.sender_hardware(),
            sender_protocol: view.sender_protocol(),
            target_hardware: view.target_hardware(),
            target_protocol: view.target_protocol(),
        })
    }

    /// The length of the packet in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        PACKET_LEN
    }

    /// Writes the packet to the start of `buf` and returns its length.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Packet::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let fixed = Fixed {
            hardware_type: HARDWARE_ETHERNET.into(),
            protocol_type: EtherType::IPV4.0.into(),
            hardware_len: 6,
            protocol_len: 4,
            operation: self.operation.0.into(),
            sender_hardware: self.sender_hardware.0,
            sender_protocol: self.sender_protocol.octets(),
            target_hardware: self.target_hardware.0,
            target_protocol: self.target_protocol.octets(),
        };
        buf[..PACKET_LEN].copy_from_slice(fixed.as_bytes());
        PACKET_LEN
    }
}

impl fmt::Display for Packet {
    /// `ARP, Request who-has 10.77.0.1 tell 10.77.0.2` or
    /// `ARP, Reply 10.77.0.1 is-at 02:00:00:00:00:01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ARP, {} ", self.operation)?;
        match self.operation {
            Operation::REPLY => {
                write!(f, "{} is-at {}", self.sender_protocol, self.sender_hardware)
            }
            _ => write!(f, "who-has {} tell {}", self.target_protocol, self.sender_protocol),
        }
    }
}
