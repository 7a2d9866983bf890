//! Interfaces, addresses, routes, and what stands in front of every transport header.
//!
//! | place | holds | source |
//! |---|---|---|
//! | `input` | what a frame goes through before a transport sees it | RFC 1122 3.2.1 |
//! | `input_v6` | the same for IPv6 | RFC 8200 |
//! | `shortcut` | the same for a segment of a connection, in one look | |
//! | `reassembly` | fragments become datagrams again | RFC 791 3.2, RFC 5722 |
//! | `fragment` | datagrams become fragments | RFC 791 3.2, RFC 6864 |
//! | `options` | what programs put into headers, and we into that | RFC 1122 3.2.1.8 |
//! | `output` | link and IP header of what we send | RFC 791, RFC 6864 |
//! | `interfaces` | the interfaces, and what belongs to all of them | RFC 1122 3.3.4 |
//! | `addresses` | their addresses | RFC 1122 3.3.4, RFC 4862 2 |
//! | `next_hop` | the first step of a packet | RFC 1122 2.3.2 |
//! | `mss_clamp` | segments that are clamped | |
//! | `route` | which way a packet goes | RFC 1122 3.3.1 |
//! | `source` | from which of our addresses | RFC 6724 5, RFC 1122 3.3.4.3 |
//! | `advertiser` | which router a prefix is from | RFC 6724 5, rule 5.5 |
//! | `destination` | which of somebody's addresses first | RFC 6724 6 |
//! | `policy` | the table that both look into | RFC 6724 2.1 |
//! | `path` | what the ways to destinations take | RFC 1191, RFC 8201 |
//! | `scope` | addresses that mean something on one link alone | RFC 4007 |
//! | `prefix` | the common bits of a network's addresses | RFC 4632, RFC 4291 2.3 |
//! | `arp` | requests, replies, and what is learned from them | RFC 826 |
//! | `probe_v4` | whether somebody else has an address of IPv4 | RFC 5227 2.1 |
//! | `defence` | keeping it when somebody else claims it | RFC 5227 2.4 |
//! | `ndp` | the same for IPv6 | RFC 4861 7 |
//! | `neighbor` | hardware addresses of neighbours, and who waits for them | RFC 1122 2.3.2, RFC 4861 7.3 |
//! | `reachable` | for how long one is trusted over IPv6 | RFC 4861 6.3.2 |
//! | `autoconf` | addresses that make themselves, and for how long | RFC 4862 5.3, 5.5.4 |
//! | `dad`, `opaque` | whether somebody else has an address; what it is made of | RFC 4862 5.4, RFC 7217 |
//! | `router` | what routers say | RFC 4861 6.3, RFC 4862 5.5 |
//! | `groups` | which groups we are in, and that routers are told | RFC 9776 5, RFC 9777 6 |
//! | `source_filter` | from which sources they are heard | RFC 9776 3, RFC 3678 4.1 |
//! | `group_talk`, `group_record` | when what is told; how much of it one report holds | RFC 9776 5, 4.2 |
//! | `igmp`, `mld` | how they are told | RFC 9776, RFC 9777 |

mod addresses;
mod advertiser;
mod arp;
mod autoconf;
mod dad;
mod defence;
mod destination;
mod fragment;
mod gateway;
mod group_record;
mod group_talk;
mod groups;
mod igmp;
mod input;
mod input_v6;
mod interfaces;
pub(crate) mod keyed;
mod mld;
mod mss_clamp;
mod ndp;
mod neighbor;
mod next_hop;
mod opaque;
mod options;
mod output;
mod path;
mod policy;
mod prefix;
mod probe_v4;
mod reachable;
mod reassembly;
mod redirect;
mod route;
mod router;
mod scope;
mod shortcut;
mod source;
mod source_filter;
mod temporary;

use core::net::IpAddr;
use wire::frame::{FrameBuf, ReceiveMeta};

pub(crate) use groups::{is_never_told, is_source_specific};
pub(crate) use input::{Came, Incoming};
pub(crate) use interfaces::Interfaces;
pub(crate) use neighbor::Waiter;
pub use options::options_to_send;
pub(crate) use options::{recorded, time_of_day, with_us};
pub(crate) use output::{Envelope, FlowLabels, LinkHeader};
pub(crate) use path::plausible_mtu;
pub use policy::{PolicyRow, PolicyTable};
pub(crate) use reassembly::Reassembly;
pub(crate) use route::{Hop, Offload, Route};
pub(crate) use scope::{with_scope, without_scope};
pub(crate) use source_filter::Filter;
pub use source_filter::SourceChange;

/// An interface of a stack; number 0 is its loopback.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct InterfaceId(pub(crate) u8);

impl InterfaceId {
    /// The loopback inside the stack: 127.0.0.0/8, ::1 and every address of the stack
    /// itself.
    pub const LOOPBACK: InterfaceId = InterfaceId(0);

    /// Its number, with which a link-local address says which link it means: the scope of a
    /// `SocketAddrV6` (RFC 3493 3.3).
    #[must_use]
    pub const fn scope_id(self) -> u32 {
        self.0 as u32
    }
}

/// A transport segment that passed the IP layer's checks and is for one of our addresses.
#[derive(Debug)]
pub(crate) struct Received {
    /// The sender's address, checked to be one that a host can have.
    pub(crate) source: IpAddr,
    /// Which of our addresses it was sent to.
    pub(crate) destination: IpAddr,
    /// The interface it came from.
    pub(crate) interface: InterfaceId,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// The segment: transport header and payload, nothing before or after.
    pub(crate) frame: FrameBuf,
    /// What the link knew about the frame.
    pub(crate) meta: ReceiveMeta,
}
