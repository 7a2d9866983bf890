//! Multicast listener discovery, versions 2 (RFC 9777) and 1 (RFC 2710): which groups of IPv6 a
//! link's hosts listen to.

use core::fmt;
use core::net::Ipv6Addr;

use crate::icmpv6::{self, kind};
use crate::ipv6;
use crate::membership::{Code8, Code16};

mod malformed;
mod report;

pub use malformed::Malformed;
pub use report::{Record, Records, emit_report, report_len};

/// The hop limit of every message, so that none leaves the link.
pub const HOP_LIMIT: u8 = 1;

/// The length of a message of version 1 in bytes, also of the query.
pub const V1_LEN: usize = 24;

/// The length of a query of version 2 without sources in bytes.
pub const QUERY_LEN: usize = 28;

const SUPPRESS: u8 = 8;

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Who listens?
    Query(Query<'a>),
    /// Version 1: I listen to this group.
    ReportV1 {
        /// The group.
        group: Ipv6Addr,
    },
    /// Version 1: I listen to this group no longer.
    Done {
        /// The group.
        group: Ipv6Addr,
    },
    /// Version 2: what I listen to, or how that changes.
    Report(Records<'a>),
}

/// A router asks who listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    /// How long to wait at most with the answer: in version 2 a code for milliseconds, in version
    /// 1 the milliseconds themselves ([`Query::max_response_time`]).
    pub max_response: Code16,
    /// The group it is about; unspecified when about all.
    pub group: Ipv6Addr,
    /// What version 1 does not have.
    pub v2: Option<QueryV2<'a>>,
}

/// What a query of version 2 says besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueryV2<'a> {
    /// S: other routers do not lower their timers.
    pub suppress: bool,
    /// QRV: how often hosts repeat themselves; 0 to 7, of which emission writes three bits.
    pub robustness: u8,
    /// QQIC: how often the querier asks, in seconds.
    pub interval: Code8,
    /// The sources it is about; none when about all of the group.
    pub sources: &'a [[u8; 16]],
}

impl Query<'_> {
    /// How long to wait at most with the answer, in milliseconds.
    #[must_use]
    pub const fn max_response_time(&self) -> u32 {
        match self.v2 {
            Some(_) => self.max_response.value(),
            None => self.max_response.0 as u32,
        }
    }

    /// The length of the message in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        match self.v2 {
            Some(v2) => QUERY_LEN + 16 * v2.sources.len(),
            None => V1_LEN,
        }
    }

    /// Writes the message, with a checksum of zero, to the start of `buf` and returns its length;
    /// [`icmpv6::fill_checksum`] does the rest. It has at most 65 535 sources.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Query::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let message = &mut buf[..self.encoded_len()];
        emit_v1(message, kind::LISTENER_QUERY, self.max_response, self.group);
        if let Some(v2) = self.v2 {
            message[24] = v2.robustness & 7 | if v2.suppress { SUPPRESS } else { 0 };
            message[25] = v2.interval.0;
            let count = u16::try_from(v2.sources.len()).unwrap_or(u16::MAX);
            message[26..28].copy_from_slice(&count.to_be_bytes());
            message[28..].copy_from_slice(v2.sources.as_flattened());
        }
        message.len()
    }
}

impl<'a> Message<'a> {
    /// Reads a message that arrived in the packet of `ip`, whose hop-by-hop header had a router
    /// alert or not, and judges whether it may be listened to (RFC 9777 sections 6.2 and 7.4). The
    /// checksum is left to the caller ([`icmpv6::is_checksum_valid`]).
    ///
    /// # Errors
    /// When the message must be discarded.
    pub fn parse(
        ip: &ipv6::Header,
        router_alert: Option<u16>,
        message: &'a [u8],
    ) -> Result<Message<'a>, Malformed> {
        let length = message.len();
        let truncated = |needed| Malformed::Truncated { length, needed };
        let view = icmpv6::View::new(message).ok_or(truncated(icmpv6::HEADER_LEN))?;
        let is_report = match view.kind() {
            kind::LISTENER_QUERY => false,
            kind::LISTENER_REPORT_V1 | kind::LISTENER_DONE | kind::LISTENER_REPORT_V2 => true,
            other => return Err(Malformed::Kind(other)),
        };
        if ip.hop_limit != HOP_LIMIT {
            return Err(Malformed::HopLimit(ip.hop_limit));
        }
        if router_alert.is_none() {
            return Err(Malformed::NoRouterAlert);
        }
        // A host that has no address yet reports as nobody (RFC 9777 section 5.2.13).
        let is_nobody = is_report && ip.source.is_unspecified();
        if !ip.source.is_unicast_link_local() && !is_nobody {
            return Err(Malformed::SourceNotLinkLocal(ip.source));
        }
        if view.kind() == kind::LISTENER_REPORT_V2 {
            return Records::parse(&view).map(Message::Report);
        }
        let group = Ipv6Addr::from(*view.payload().first_chunk().ok_or(truncated(V1_LEN))?);
        Ok(match view.kind() {
            kind::LISTENER_QUERY => {
                let v2 = QueryV2::parse(message)?;
                Message::Query(Query { max_response: Code16(view.identifier()), group, v2 })
            }
            kind::LISTENER_REPORT_V1 => Message::ReportV1 { group },
            _ => Message::Done { group },
        })
    }

    /// The length of the message in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Message::Query(query) => query.encoded_len(),
            Message::ReportV1 { .. } | Message::Done { .. } => V1_LEN,
            Message::Report(records) => report_len(*records),
        }
    }

    /// Writes the message, with a checksum of zero, to the start of `buf` and returns its length;
    /// [`icmpv6::fill_checksum`] does the rest.
    ///
    /// # Panics
    /// When `buf` is shorter than [`Message::encoded_len`].
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        match *self {
            Message::Query(query) => query.emit(buf),
            Message::ReportV1 { group } => emit_v1(buf, kind::LISTENER_REPORT_V1, Code16(0), group),
            Message::Done { group } => emit_v1(buf, kind::LISTENER_DONE, Code16(0), group),
            Message::Report(records) => emit_report(records, buf),
        }
    }
}

impl<'a> QueryV2<'a> {
    /// What a query says behind its group. Its length tells the version (RFC 9777 section 8.1).
    fn parse(query: &'a [u8]) -> Result<Option<QueryV2<'a>>, Malformed> {
        let length = query.len();
        let Some((_, rest)) = query.split_first_chunk::<V1_LEN>() else { return Ok(None) };
        if rest.is_empty() {
            return Ok(None);
        }
        let truncated = |needed| Malformed::Truncated { length, needed };
        let (&[flags, interval, high, low], rest) =
            rest.split_first_chunk().ok_or(truncated(QUERY_LEN))?;
        let count = usize::from(u16::from_be_bytes([high, low]));
        let (sources, _) = rest.as_chunks();
        let sources = sources.get(..count).ok_or(truncated(QUERY_LEN + 16 * count))?;
        Ok(Some(QueryV2 {
            suppress: flags & SUPPRESS != 0,
            robustness: flags & 7,
            interval: Code8(interval),
            sources,
        }))
    }
}

/// Writes what all messages but the report of version 2 begin with.
fn emit_v1(buf: &mut [u8], kind: u8, max_response: Code16, group: Ipv6Addr) -> usize {
    let [high, low] = max_response.0.to_be_bytes();
    buf[..8].copy_from_slice(&[kind, 0, 0, 0, high, low, 0, 0]);
    buf[8..V1_LEN].copy_from_slice(&group.octets());
    V1_LEN
}

/// The addresses of sources as they stand in messages.
pub fn addresses(sources: &[[u8; 16]]) -> impl Iterator<Item = Ipv6Addr> {
    sources.iter().map(|&octets| Ipv6Addr::from(octets))
}

impl fmt::Display for Message<'_> {
    /// `multicast listener query v2 [max resp delay 1000 ms] ff02::1:3`,
    /// `multicast listener report v2, 1 group record(s) [gaddr ff02::1:3 to_ex, 0 source(s)]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("multicast listener ")?;
        match self {
            Message::Query(query) => {
                let version = if query.v2.is_some() { 2 } else { 1 };
                let delay = query.max_response_time();
                write!(f, "query v{version} [max resp delay {delay} ms] {}", query.group)
            }
            Message::ReportV1 { group } => write!(f, "report v1 {group}"),
            Message::Done { group } => write!(f, "done {group}"),
            Message::Report(records) => {
                write!(f, "report v2, {} group record(s)", records.len())?;
                for Record { kind, group, sources } in *records {
                    write!(f, " [gaddr {group} {kind}, {} source(s)]", sources.len())?;
                }
                Ok(())
            }
        }
    }
}
