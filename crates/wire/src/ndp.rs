//! Neighbour discovery for IPv6 (RFC 4861): who has an address, which routers there are, and what
//! they say of the link.

use core::fmt;
use core::net::Ipv6Addr;

use crate::icmpv6::{self, kind};
use crate::ipv6;

mod malformed;
mod options;

pub use malformed::Malformed;
pub use options::{INFINITE, NdpOption, Options, OptionsIter, PrefixInformation, option};

/// The hop limit of every message: routers count it down, so one that arrives with it comes from
/// the link (RFC 4861 section 3.1).
pub const HOP_LIMIT: u8 = 255;

/// What a message says, without its options.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Header {
    /// Which routers are there?
    RouterSolicitation,
    /// I am a router.
    RouterAdvertisement(RouterAdvertisement),
    /// Who has this address?
    NeighborSolicitation {
        /// The address.
        target: Ipv6Addr,
    },
    /// I have this address.
    NeighborAdvertisement {
        /// The address.
        target: Ipv6Addr,
        /// R: I am a router.
        is_router: bool,
        /// S: I was asked, so this also shows that I hear you.
        is_solicited: bool,
        /// O: this replaces a link-layer address that is known already.
        is_override: bool,
    },
    /// Send packets for this destination somewhere else.
    Redirect {
        /// The better first hop, or the destination itself when it is on the link.
        target: Ipv6Addr,
        /// The destination.
        destination: Ipv6Addr,
    },
}

/// What a router says of itself and of the link (RFC 4861 section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RouterAdvertisement {
    /// The hop limit that hosts send with; zero when the router does not say.
    pub hop_limit: u8,
    /// M: addresses are to be had by DHCPv6.
    pub managed: bool,
    /// O: other things are to be had by DHCPv6.
    pub other_configuration: bool,
    /// How the router is preferred to others.
    pub preference: Preference,
    /// How long the router is a default router, in seconds from now on; zero when it is none.
    pub router_lifetime: u16,
    /// How long a neighbour counts as reachable, in milliseconds; zero when the router does not
    /// say.
    pub reachable_time: u32,
    /// How long to wait between solicitations, in milliseconds; zero when the router does not say.
    pub retransmit_time: u32,
}

/// How a router is preferred to others (RFC 4191 section 2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Preference {
    /// Only when there is no other.
    Low,
    /// As usual; also what the reserved value means.
    #[default]
    Medium,
    /// Before others.
    High,
}

impl Preference {
    const fn from_flags(flags: u8) -> Preference {
        match flags >> 3 & 3 {
            1 => Preference::High,
            3 => Preference::Low,
            _ => Preference::Medium,
        }
    }

    const fn flags(self) -> u8 {
        match self {
            Preference::High => 1 << 3,
            Preference::Medium => 0,
            Preference::Low => 3 << 3,
        }
    }
}

const MANAGED: u8 = 0x80;
const OTHER_CONFIGURATION: u8 = 0x40;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Where the fixed part of a solicitation or advertisement of an address ends.
const WITH_TARGET: usize = 24;

impl Header {
    /// Reads a message that arrived in the packet of `ip`, and judges whether it is valid
    /// (RFC 4861 sections 6.1, 7.1 and 8.1). What is left to the caller: the checksum
    /// ([`icmpv6::is_checksum_valid`]), that the packet was no fragment (RFC 6980), and that a
    /// redirect comes from the router that the destination has.
    ///
    /// # Errors
    /// When the message must be discarded.
    pub fn parse<'a>(
        ip: &ipv6::Header,
        message: &'a [u8],
    ) -> Result<(Header, Options<'a>), Malformed> {
        let length = message.len();
        let view = icmpv6::View::new(message)
            .ok_or(Malformed::Truncated { length, needed: icmpv6::HEADER_LEN })?;
        let needed = fixed_len(view.kind()).ok_or(Malformed::Kind(view.kind()))?;
        if ip.hop_limit != HOP_LIMIT {
            return Err(Malformed::HopLimit(ip.hop_limit));
        }
        if view.code() != 0 {
            return Err(Malformed::Code(view.code()));
        }
        let truncated = Malformed::Truncated { length, needed };
        let (_, options) = message.split_at_checked(needed).ok_or(truncated)?;
        let header = Header::read(&view).ok_or(truncated)?;
        let options = Options::new(options).map_err(|kind| Malformed::OptionLength { kind })?;
        header.check(ip, &options)?;
        Ok((header, options))
    }

    /// `None` when the message is shorter than its type needs, or of another protocol.
    fn read(view: &icmpv6::View<'_>) -> Option<Header> {
        let rest = view.rest_of_header();
        let target = || Some(Ipv6Addr::from(*view.payload().first_chunk::<16>()?));
        Some(match view.kind() {
            kind::ROUTER_SOLICITATION => Header::RouterSolicitation,
            kind::ROUTER_ADVERTISEMENT => {
                let (reachable, behind) = view.payload().split_first_chunk()?;
                let (retransmit, _) = behind.split_first_chunk()?;
                let [hop_limit, flags, high, low] = rest;
                Header::RouterAdvertisement(RouterAdvertisement {
                    hop_limit,
                    managed: flags & MANAGED != 0,
                    other_configuration: flags & OTHER_CONFIGURATION != 0,
                    preference: Preference::from_flags(flags),
                    router_lifetime: u16::from_be_bytes([high, low]),
                    reachable_time: u32::from_be_bytes(*reachable),
                    retransmit_time: u32::from_be_bytes(*retransmit),
                })
            }
            kind::NEIGHBOR_SOLICITATION => Header::NeighborSolicitation { target: target()? },
            kind::NEIGHBOR_ADVERTISEMENT => Header::NeighborAdvertisement {
                target: target()?,
                is_router: rest[0] & ROUTER != 0,
                is_solicited: rest[0] & SOLICITED != 0,
                is_override: rest[0] & OVERRIDE != 0,
            },
            kind::REDIRECT => {
                let (_, behind) = view.payload().split_first_chunk::<16>()?;
                let destination = Ipv6Addr::from(*behind.first_chunk::<16>()?);
                Header::Redirect { target: target()?, destination }
            }
            _ => return None,
        })
    }

    /// The checks that look at more than one field.
    fn check(&self, ip: &ipv6::Header, options: &Options<'_>) -> Result<(), Malformed> {
        let gives_address =
            || options.iter().any(|option| option.kind() == option::SOURCE_LINK_LAYER);
        match *self {
            Header::RouterSolicitation => {
                if ip.source.is_unspecified() && gives_address() {
                    return Err(Malformed::LinkLayerAddressOfNobody);
                }
            }
            Header::RouterAdvertisement(_) => check_router(ip.source)?,
            Header::NeighborSolicitation { target } => {
                check_target(target)?;
                if ip.source.is_unspecified() {
                    if !is_solicited_node(ip.destination) {
                        return Err(Malformed::NotForSolicitedNode(ip.destination));
                    }
                    if gives_address() {
                        return Err(Malformed::LinkLayerAddressOfNobody);
                    }
                }
            }
            Header::NeighborAdvertisement { target, is_solicited, .. } => {
                check_target(target)?;
                if is_solicited && ip.destination.is_multicast() {
                    return Err(Malformed::SolicitedToGroup);
                }
            }
            Header::Redirect { target, destination } => {
                check_router(ip.source)?;
                if destination.is_multicast() {
                    return Err(Malformed::RedirectOfGroup(destination));
                }
                if !target.is_unicast_link_local() && target != destination {
                    return Err(Malformed::RedirectTarget(target));
                }
            }
        }
        Ok(())
    }

    /// The ICMPv6 type of the message.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Header::RouterSolicitation => kind::ROUTER_SOLICITATION,
            Header::RouterAdvertisement(_) => kind::ROUTER_ADVERTISEMENT,
            Header::NeighborSolicitation { .. } => kind::NEIGHBOR_SOLICITATION,
            Header::NeighborAdvertisement { .. } => kind::NEIGHBOR_ADVERTISEMENT,
            Header::Redirect { .. } => kind::REDIRECT,
        }
    }

    /// The length of the message without its options in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        match self {
            Header::RouterSolicitation => icmpv6::HEADER_LEN,
            Header::RouterAdvertisement(_) => ADVERTISEMENT_LEN,
            Header::NeighborSolicitation { .. } | Header::NeighborAdvertisement { .. } => {
                WITH_TARGET
            }
            Header::Redirect { .. } => REDIRECT_LEN,
        }
    }

    /// Writes the message without its options, with a checksum of zero, to the start of `buf` and
    /// returns its length. The options follow ([`NdpOption::emit`]), and then
    /// [`icmpv6::fill_checksum`] does the rest.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Header::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let message = &mut buf[..self.encoded_len()];
        message.fill(0);
        message[0] = self.kind();
        match *self {
            Header::RouterSolicitation => {}
            Header::RouterAdvertisement(router) => {
                message[4] = router.hop_limit;
                message[5] = router.flags();
                message[6..8].copy_from_slice(&router.router_lifetime.to_be_bytes());
                message[8..12].copy_from_slice(&router.reachable_time.to_be_bytes());
                message[12..16].copy_from_slice(&router.retransmit_time.to_be_bytes());
            }
            Header::NeighborSolicitation { target } => {
                message[8..24].copy_from_slice(&target.octets());
            }
            Header::NeighborAdvertisement { target, is_router, is_solicited, is_override } => {
                message[4] = if is_router { ROUTER } else { 0 }
                    | if is_solicited { SOLICITED } else { 0 }
                    | if is_override { OVERRIDE } else { 0 };
                message[8..24].copy_from_slice(&target.octets());
            }
            Header::Redirect { target, destination } => {
                message[8..24].copy_from_slice(&target.octets());
                message[24..40].copy_from_slice(&destination.octets());
            }
        }
        message.len()
    }
}

/// The length of a router advertisement without options in bytes.
const ADVERTISEMENT_LEN: usize = 16;

/// The length of a redirect without options in bytes.
const REDIRECT_LEN: usize = 40;

/// The length of a message of type `number` without its options; `None` of other protocols.
const fn fixed_len(number: u8) -> Option<usize> {
    Some(match number {
        kind::ROUTER_SOLICITATION => icmpv6::HEADER_LEN,
        kind::ROUTER_ADVERTISEMENT => ADVERTISEMENT_LEN,
        kind::NEIGHBOR_SOLICITATION | kind::NEIGHBOR_ADVERTISEMENT => WITH_TARGET,
        kind::REDIRECT => REDIRECT_LEN,
        _ => return None,
    })
}

fn check_router(source: Ipv6Addr) -> Result<(), Malformed> {
    match source.is_unicast_link_local() {
        true => Ok(()),
        false => Err(Malformed::SourceNotLinkLocal(source)),
    }
}

fn check_target(target: Ipv6Addr) -> Result<(), Malformed> {
    match target.is_multicast() {
        true => Err(Malformed::TargetMulticast(target)),
        false => Ok(()),
    }
}

fn is_solicited_node(group: Ipv6Addr) -> bool {
    ipv6::solicited_node(group) == group
}

impl RouterAdvertisement {
    const fn flags(&self) -> u8 {
        self.preference.flags()
            | if self.managed { MANAGED } else { 0 }
            | if self.other_configuration { OTHER_CONFIGURATION } else { 0 }
    }
}

impl fmt::Display for Header {
    /// `neighbor solicitation, who has fd77::1`, `neighbor advertisement, tgt is fd77::1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Header::RouterSolicitation => f.write_str("router solicitation"),
            Header::RouterAdvertisement(router) => {
                write!(f, "router advertisement, lifetime {} s", router.router_lifetime)
            }
            Header::NeighborSolicitation { target } => {
                write!(f, "neighbor solicitation, who has {target}")
            }
            Header::NeighborAdvertisement { target, is_router, is_solicited, is_override } => {
                write!(f, "neighbor advertisement, tgt is {target}")?;
                for (name, set) in
                    [("router", is_router), ("solicited", is_solicited), ("override", is_override)]
                {
                    if set {
                        write!(f, ", {name}")?;
                    }
                }
                Ok(())
            }
            Header::Redirect { target, destination } => {
                write!(f, "redirect, {destination} to {target}")
            }
        }
    }
}
