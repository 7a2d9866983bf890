//! The ways in which a message of neighbour discovery can be invalid.

use core::fmt;
use core::net::Ipv6Addr;

/// Why a message of neighbour discovery must be discarded without a word (RFC 4861 sections 6.1,
/// 7.1 and 8.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The ICMPv6 message is of another protocol.
    Kind(u8),
    /// The hop limit is not 255, so a router may have forwarded the message.
    HopLimit(u8),
    /// The code is not 0.
    Code(u8),
    /// The message is shorter than its type needs.
    Truncated {
        /// The length of the message in bytes.
        length: usize,
        /// The length that its type needs.
        needed: usize,
    },
    /// An option has a length of zero, or reaches beyond the message.
    OptionLength {
        /// The type of the option.
        kind: u8,
    },
    /// A router speaks from an address that is not link-local.
    SourceNotLinkLocal(Ipv6Addr),
    /// The target is a group.
    TargetMulticast(Ipv6Addr),
    /// A sender without an address gives a link-layer address.
    LinkLayerAddressOfNobody,
    /// A solicitation from a sender without an address is not for a solicited-node group.
    NotForSolicitedNode(Ipv6Addr),
    /// An advertisement to a group says that it was solicited.
    SolicitedToGroup,
    /// A redirect is about a group.
    RedirectOfGroup(Ipv6Addr),
    /// A redirect leads neither to a link-local address nor to the destination itself.
    RedirectTarget(Ipv6Addr),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Kind(kind) => {
                write!(f, "the ICMPv6 type {kind} is none of neighbor discovery")
            }
            Malformed::HopLimit(hops) => {
                write!(f, "the hop limit is {hops}, not 255: the message may come from afar")
            }
            Malformed::Code(code) => write!(f, "the code is {code}, not 0"),
            Malformed::Truncated { length, needed } => {
                write!(f, "the message has {length} bytes and needs {needed}")
            }
            Malformed::OptionLength { kind } => {
                write!(f, "the option {kind} has a length of zero or beyond the message")
            }
            Malformed::SourceNotLinkLocal(source) => {
                write!(f, "a router speaks from {source}, which is not link-local")
            }
            Malformed::TargetMulticast(target) => write!(f, "the target {target} is a group"),
            Malformed::LinkLayerAddressOfNobody => {
                f.write_str("a sender without an address gives a link-layer address")
            }
            Malformed::NotForSolicitedNode(destination) => write!(
                f,
                "a sender without an address solicits {destination}, no solicited-node group"
            ),
            Malformed::SolicitedToGroup => {
                f.write_str("an advertisement to a group says that it was solicited")
            }
            Malformed::RedirectOfGroup(destination) => {
                write!(f, "a redirect is about the group {destination}")
            }
            Malformed::RedirectTarget(target) => write!(
                f,
                "a redirect leads to {target}, neither link-local nor the destination itself"
            ),
        }
    }
}

impl core::error::Error for Malformed {}
