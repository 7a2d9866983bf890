//! The Internet group management protocol, versions 3 (RFC 9776), 2 (RFC 2236) and 1 (RFC 1112):
//! which groups of IPv4 a link's hosts listen to.

use core::fmt;
use core::net::Ipv4Addr;

use crate::checksum;
use crate::membership::Code8;

mod malformed;
mod report;

pub use malformed::Malformed;
pub use report::{Record, Records, emit_report, report_len};

/// The group of all hosts, to which general queries go.
pub const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// The group of all routers, to which version 2 says that a host leaves.
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);

/// The group of routers that speak version 3, to which its reports go.
pub const ALL_V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// The TTL of every message, so that none leaves the link (RFC 9776 section 4).
pub const TTL: u8 = 1;

/// The traffic class of every message: internetwork control (RFC 9776 section 4).
pub const TRAFFIC_CLASS: u8 = 0xc0;

/// The length of the shortest message in bytes.
pub const HEADER_LEN: usize = 8;

/// The length of a query of version 3 without sources in bytes.
pub const QUERY_LEN: usize = 12;

/// Where the checksum field is, in bytes from the start of the message.
pub const CHECKSUM_OFFSET: usize = 2;

/// The types of messages (IANA "IGMP Type Numbers").
pub mod kind {
    /// Membership query, of all versions.
    pub const QUERY: u8 = 0x11;
    /// Membership report, version 1.
    pub const REPORT_V1: u8 = 0x12;
    /// Membership report, version 2.
    pub const REPORT_V2: u8 = 0x16;
    /// Leave group, version 2.
    pub const LEAVE: u8 = 0x17;
    /// Membership report, version 3.
    pub const REPORT_V3: u8 = 0x22;
}

const SUPPRESS: u8 = 8;

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Who is a member?
    Query(Query<'a>),
    /// Version 1: I am a member of this group.
    ReportV1 {
        /// The group.
        group: Ipv4Addr,
    },
    /// Version 2: I am a member of this group.
    ReportV2 {
        /// The group.
        group: Ipv4Addr,
    },
    /// Version 2: I leave this group.
    Leave {
        /// The group.
        group: Ipv4Addr,
    },
    /// Version 3: the groups I am in, or how that changes.
    Report(Records<'a>),
    /// Any other message, to be ignored.
    Unknown {
        /// The type, none of those above.
        kind: u8,
        /// Everything behind the checksum.
        data: &'a [u8],
    },
}

/// A router asks who is a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    /// How long to wait at most with the answer, in tenths of a second: in version 3 a code, in
    /// version 2 the number itself, in version 1 zero ([`Query::max_response_time`]).
    pub max_response: Code8,
    /// The group it is about; unspecified when about all.
    pub group: Ipv4Addr,
    /// What older versions do not have.
    pub v3: Option<QueryV3<'a>>,
}

/// What a query of version 3 says besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueryV3<'a> {
    /// S: other routers do not lower their timers.
    pub suppress: bool,
    /// QRV: how often hosts repeat themselves; 0 to 7, of which emission writes three bits.
    pub robustness: u8,
    /// QQIC: how often the querier asks, in seconds.
    pub interval: Code8,
    /// The sources it is about; none when about all of the group.
    pub sources: &'a [[u8; 4]],
}

impl Query<'_> {
    /// The version that the router speaks, told by the length and the code (RFC 9776 section 7.1).
    #[must_use]
    pub const fn version(&self) -> u8 {
        match (self.v3, self.max_response) {
            (Some(_), _) => 3,
            (None, Code8(0)) => 1,
            (None, _) => 2,
        }
    }

    /// How long to wait at most with the answer, in milliseconds; of version 1, which does not
    /// say, ten seconds (RFC 9776 section 7.2.1).
    #[must_use]
    pub const fn max_response_time(&self) -> u32 {
        match self.version() {
            3 => self.max_response.value() as u32 * 100,
            2 => self.max_response.0 as u32 * 100,
            _ => 10_000,
        }
    }

    /// The length of the message in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        match self.v3 {
            Some(v3) => QUERY_LEN + 4 * v3.sources.len(),
            None => HEADER_LEN,
        }
    }

    /// Writes the message, with a checksum of zero, to the start of `buf` and returns its length;
    /// [`fill_checksum`] does the rest. It has at most 65 535 sources.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Query::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let message = &mut buf[..self.encoded_len()];
        emit_old(message, kind::QUERY, self.max_response, self.group);
        if let Some(v3) = self.v3 {
            message[8] = v3.robustness & 7 | if v3.suppress { SUPPRESS } else { 0 };
            message[9] = v3.interval.0;
            let count = u16::try_from(v3.sources.len()).unwrap_or(u16::MAX);
            message[10..12].copy_from_slice(&count.to_be_bytes());
            message[12..].copy_from_slice(v3.sources.as_flattened());
        }
        message.len()
    }
}

impl<'a> Message<'a> {
    /// Reads a message. The checksum is not looked at: [`is_checksum_valid`]. Nor is the packet
    /// that carries it; [`Message::is_trusted`] does that.
    ///
    /// # Errors
    /// When the message is shorter than its type needs.
    pub fn parse(message: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let length = message.len();
        let truncated = |needed| Malformed::Truncated { length, needed };
        let (&[kind, max_response, _, _], data) =
            message.split_first_chunk().ok_or(truncated(HEADER_LEN))?;
        let (group, rest) = data.split_first_chunk::<4>().ok_or(truncated(HEADER_LEN))?;
        let group = Ipv4Addr::from(*group);
        Ok(match kind {
            kind::QUERY => {
                let v3 = QueryV3::parse(rest)?;
                Message::Query(Query { max_response: Code8(max_response), group, v3 })
            }
            kind::REPORT_V1 => Message::ReportV1 { group },
            kind::REPORT_V2 => Message::ReportV2 { group },
            kind::LEAVE => Message::Leave { group },
            kind::REPORT_V3 => Message::Report(Records::parse(data)?),
            _ => Message::Unknown { kind, data },
        })
    }

    /// Whether a host should listen to the message, which came in a packet to `destination` with
    /// or without a router alert: no queries of versions 2 and 3 without one, and no general
    /// queries to another group than [`ALL_SYSTEMS`], which were not sent on this link
    /// (RFC 9776 section 9.1).
    #[must_use]
    pub fn is_trusted(&self, destination: Ipv4Addr, has_router_alert: bool) -> bool {
        let Message::Query(query) = self else { return true };
        let is_astray = query.group.is_unspecified()
            && destination.is_multicast()
            && destination != ALL_SYSTEMS;
        (has_router_alert || query.version() == 1) && !is_astray
    }

    /// The length of the message in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Message::Query(query) => query.encoded_len(),
            Message::ReportV1 { .. } | Message::ReportV2 { .. } | Message::Leave { .. } => {
                HEADER_LEN
            }
            Message::Report(records) => report_len(*records),
            Message::Unknown { data, .. } => 4 + data.len(),
        }
    }

    /// Writes the message, with a checksum of zero, to the start of `buf` and returns its length;
    /// [`fill_checksum`] does the rest.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Message::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        match *self {
            Message::Query(query) => query.emit(buf),
            Message::ReportV1 { group } => emit_old(buf, kind::REPORT_V1, Code8(0), group),
            Message::ReportV2 { group } => emit_old(buf, kind::REPORT_V2, Code8(0), group),
            Message::Leave { group } => emit_old(buf, kind::LEAVE, Code8(0), group),
            Message::Report(records) => emit_report(records, buf),
            Message::Unknown { kind, data } => {
                buf[..4].copy_from_slice(&[kind, 0, 0, 0]);
                buf[4..4 + data.len()].copy_from_slice(data);
                4 + data.len()
            }
        }
    }
}

impl<'a> QueryV3<'a> {
    /// What a query says behind its group. Its length tells the version (RFC 9776 section 7.1).
    fn parse(rest: &'a [u8]) -> Result<Option<QueryV3<'a>>, Malformed> {
        if rest.is_empty() {
            return Ok(None);
        }
        let length = HEADER_LEN + rest.len();
        let truncated = |needed| Malformed::Truncated { length, needed };
        let (&[flags, interval, high, low], rest) =
            rest.split_first_chunk().ok_or(truncated(QUERY_LEN))?;
        let count = usize::from(u16::from_be_bytes([high, low]));
        let (sources, _) = rest.as_chunks();
        let sources = sources.get(..count).ok_or(truncated(QUERY_LEN + 4 * count))?;
        Ok(Some(QueryV3 {
            suppress: flags & SUPPRESS != 0,
            robustness: flags & 7,
            interval: Code8(interval),
            sources,
        }))
    }
}

/// Writes what all messages but the report of version 3 begin with.
fn emit_old(buf: &mut [u8], kind: u8, max_response: Code8, group: Ipv4Addr) -> usize {
    buf[..4].copy_from_slice(&[kind, max_response.0, 0, 0]);
    buf[4..HEADER_LEN].copy_from_slice(&group.octets());
    HEADER_LEN
}

/// The addresses of sources as they stand in messages.
pub fn addresses(sources: &[[u8; 4]]) -> impl Iterator<Item = Ipv4Addr> {
    sources.iter().map(|&octets| Ipv4Addr::from(octets))
}

/// Whether the checksum of a whole message is right.
#[must_use]
pub fn is_checksum_valid(message: &[u8]) -> bool {
    checksum::is_valid(message)
}

/// Computes the checksum of a whole message and stores it. Does nothing when the message is too
/// short to have one.
pub fn fill_checksum(message: &mut [u8]) {
    if message.len() < HEADER_LEN {
        return;
    }
    message[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].fill(0);
    let checksum = checksum::sum(message).finish();
    message[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&checksum.to_be_bytes());
}

impl fmt::Display for Message<'_> {
    /// `igmp query v3 [max resp time 10000 ms] 224.0.0.251`,
    /// `igmp v3 report, 1 group record(s) [gaddr 224.0.0.251 to_ex, 0 source(s)]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("igmp ")?;
        match self {
            Message::Query(query) => {
                let (version, time) = (query.version(), query.max_response_time());
                write!(f, "query v{version} [max resp time {time} ms] {}", query.group)
            }
            Message::ReportV1 { group } => write!(f, "v1 report {group}"),
            Message::ReportV2 { group } => write!(f, "v2 report {group}"),
            Message::Leave { group } => write!(f, "leave {group}"),
            Message::Report(records) => {
                write!(f, "v3 report, {} group record(s)", records.len())?;
                for Record { kind, group, sources } in *records {
                    write!(f, " [gaddr {group} {kind}, {} source(s)]", sources.len())?;
                }
                Ok(())
            }
            Message::Unknown { kind, .. } => write!(f, "type {kind:#04x}"),
        }
    }
}
