//! Any packet as a table of its fields: where each one is, its bits, its name and what it means.
//!
//! Nothing is refused. A field that lies says so, a packet that is cut short ends with a row that
//! says where, and a checksum is judged right, wrong (with the value it should have), or partial:
//! left to offload. The rows of a packet stand in its order and cover every bit exactly once.
//!
//! ```
//! use estab_wire::annotate::{Start, annotate};
//! let rows = annotate(&[0x45, 0, 0], Start::Ip);
//! assert_eq!(rows[0].to_string(), "IPv4 0.0 +4 0x4 version: IPv4");
//! assert_eq!(rows[1].meaning, "5 words, 20 bytes, but the packet has 3");
//! assert_eq!(rows[4].meaning, "the packet ends here; 8 bits are missing");
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

mod dhcp;
mod groups;
mod icmp;
mod icmpv6;
mod ipv6;
mod link;
mod neighbors;
mod network;
mod section;
mod transport;

use section::Section;

/// What the first byte of a packet belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Start {
    /// An Ethernet header, as on a TAP device.
    Ethernet,
    /// An IP header, as on a TUN device.
    Ip,
}

/// The part of a packet that a field belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Layer {
    /// The Ethernet header, with VLAN tags.
    Ethernet,
    /// An ARP packet.
    Arp,
    /// An IPv4 header.
    Ipv4,
    /// An ICMP message, without the packet that it quotes.
    Icmpv4,
    /// The fixed header of IPv6.
    Ipv6,
    /// An extension header of IPv6.
    Ipv6Extension,
    /// An ICMPv6 message, without the packet that it quotes.
    Icmpv6,
    /// An IGMP message.
    Igmp,
    /// A UDP header.
    Udp,
    /// A TCP header.
    Tcp,
    /// A message of DHCP for IPv4.
    Dhcpv4,
    /// A message of DHCP for IPv6.
    Dhcpv6,
    /// What no header explains: data, and padding behind the packet.
    Payload,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layer::Ethernet => "Ethernet",
            Layer::Arp => "ARP",
            Layer::Ipv4 => "IPv4",
            Layer::Icmpv4 => "ICMP",
            Layer::Ipv6 => "IPv6",
            Layer::Ipv6Extension => "IPv6 extension",
            Layer::Icmpv6 => "ICMPv6",
            Layer::Igmp => "IGMP",
            Layer::Udp => "UDP",
            Layer::Tcp => "TCP",
            Layer::Dhcpv4 => "DHCP",
            Layer::Dhcpv6 => "DHCPv6",
            Layer::Payload => "payload",
        })
    }
}

/// What is to be thought of a field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// Nothing to remark.
    Plain,
    /// A checksum that is right.
    Right,
    /// A checksum that is wrong; the meaning gives the value it should have.
    Wrong,
    /// A checksum that holds the sum of the pseudo-header: the rest is left to offload.
    Partial,
    /// A field that lies, has a value it must not have, or is cut short; the meaning says what.
    Malformed,
}

/// One field of a packet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Row {
    /// The part of the packet that the field belongs to.
    pub layer: Layer,
    /// The field is in the packet that an ICMP error quotes.
    pub quoted: bool,
    /// Where the layer starts, in bytes from the start of the packet.
    pub layer_start: usize,
    /// Where the field starts, in bits from the start of the layer.
    pub bit_offset: usize,
    /// The length of the field in bits; zero for a field that should be there and is not.
    pub bit_len: usize,
    /// The bits as text: hexadecimal, or binary where they are no multiple of four.
    pub raw: String,
    /// The name of the field.
    pub name: &'static str,
    /// The meaning of its value.
    pub meaning: String,
    /// What is to be thought of it.
    pub verdict: Verdict,
}

impl Row {
    /// Where the field starts, in bits from the start of the packet.
    #[must_use]
    pub const fn packet_bit_offset(&self) -> usize {
        self.layer_start * 8 + self.bit_offset
    }
}

impl fmt::Display for Row {
    /// The layer, the offset in it as bytes and bits, the length in bits, the bits, the name, the
    /// meaning: `TCP 12.4 +4 0x0 reserved: zero`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = if self.quoted { "quoted " } else { "" };
        let (bytes, bits) = (self.bit_offset / 8, self.bit_offset % 8);
        let Row { layer, bit_len, raw, name, meaning, .. } = self;
        write!(f, "{quoted}{layer} {bytes}.{bits} +{bit_len} {raw} {name}: {meaning}")
    }
}

/// Explains every field of `packet`: Ethernet with VLAN tags, ARP, IP of both families with options
/// and extension headers, ICMP of both with the packet it quotes, IGMP, UDP with DHCP in it, and
/// TCP with all options. It never fails; an empty packet has no rows.
#[must_use]
pub fn annotate(packet: &[u8], start: Start) -> Vec<Row> {
    let mut rows = Vec::new();
    if packet.is_empty() {
        return rows;
    }
    let whole = Section::new(&mut rows, packet);
    match start {
        Start::Ethernet => link::ethernet(whole),
        Start::Ip => network::ip(whole),
    }
    rows
}
