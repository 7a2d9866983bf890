//! The errors that we send: about what, to whom, and how many (RFC 1122 3.2.2, RFC 1812 4.3.2,
//! RFC 4443 2.4).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::frame::FrameBuf;
use wire::icmpv4::{self, Header, TimeExceededCode, UnreachableCode};
use wire::icmpv6::{self, ParameterCode};
use wire::ip::Protocol;
use wire::ipv6::Answer;
use wire::time::{Duration, Instant};

use super::{Icmp, Reply, Unreachable};
use crate::ip::{Incoming, InterfaceId, Interfaces};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;

/// The longest error as an IP packet: as much of the packet as fits into what every host must
/// take (RFC 1812 4.3.2.3).
const LONGEST_ERROR: usize = 576;

/// Precedence "internetwork control" (RFC 1812 4.3.2.5), as Linux sends it.
pub(super) const ERROR_TRAFFIC_CLASS: u8 = 0xc0;

/// What an error has of the packet that it is about (RFC 1122 3.2.2).
const TYPE_OF_SERVICE: u8 = 0x1c;

/// What is wrong with a packet, as its sender will be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// No socket has the port.
    PortUnreachable,
    /// We do not speak the protocol.
    ProtocolUnreachable,
    /// Fragments of a packet were missing for too long.
    ReassemblyTimeout,
    /// The byte at `pointer` of the IPv4 header makes no sense.
    Parameter {
        /// Counted from 0.
        pointer: u8,
    },
    /// Something in or behind the headers of IPv6 makes no sense.
    Headers(Answer),
    /// The program wants it to be refused.
    Refused(Unreachable),
}

impl Icmp {
    /// Tells the sender of `packet` what is wrong with it, where an error is in place.
    pub(crate) fn report(
        &mut self,
        shared: &mut Shared,
        interfaces: &Interfaces,
        packet: &Incoming,
        problem: Problem,
    ) {
        if !deserves_error(packet, problem) {
            return;
        }
        let to = packet.received.source;
        // RFC 4443 2.2 (b): about a packet to a group, from an address of the interface it came by.
        let from = match packet.received.destination {
            group if group.is_multicast() => interfaces.source_on(packet.received.interface, to),
            ours => Some(ours),
        };
        let Some(from) = from else { return };
        // What stays inside the stack floods nobody.
        let inside = packet.received.interface == InterfaceId::LOOPBACK;
        if !inside && !self.budget.take(shared.now) {
            return shared.drop_packet(None, Dropped::IcmpRateLimited);
        }
        let (message, kind) = match (from, to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                (message_v6(packet, problem.header_v6(), from, to), problem.name_v6())
            }
            _ => (message(packet, problem.header()), problem.name()),
        };
        let reply = Reply {
            source: from,
            destination: to,
            traffic_class: if to.is_ipv4() {
                ERROR_TRAFFIC_CLASS | packet.received.traffic_class & TYPE_OF_SERVICE
            } else {
                0
            },
            ttl: None,
            options: wire::ipv4::Options::NONE,
            message: FrameBuf::from(message),
            kind,
            reason: problem.reason(),
        };
        self.push(shared, reply);
    }
}

impl Problem {
    fn header(self) -> Header {
        let unreachable = |code| Header::DestinationUnreachable { code, next_hop_mtu: 0 };
        match self {
            Problem::PortUnreachable => unreachable(UnreachableCode::PORT),
            Problem::ProtocolUnreachable => unreachable(UnreachableCode::PROTOCOL),
            Problem::ReassemblyTimeout => {
                Header::TimeExceeded { code: TimeExceededCode::REASSEMBLY }
            }
            Problem::Parameter { pointer } => Header::ParameterProblem { code: 0, pointer },
            Problem::Headers(Answer { pointer, .. }) => {
                Header::ParameterProblem { code: 0, pointer: u8::try_from(pointer).unwrap_or(0) }
            }
            Problem::Refused(what) => unreachable(what.code()),
        }
    }

    fn header_v6(self) -> icmpv6::Header {
        let parameter = |code, pointer| icmpv6::Header::ParameterProblem { code, pointer };
        match self {
            Problem::PortUnreachable => {
                icmpv6::Header::DestinationUnreachable { code: icmpv6::UnreachableCode::PORT }
            }
            Problem::ReassemblyTimeout => {
                icmpv6::Header::TimeExceeded { code: icmpv6::TimeExceededCode::REASSEMBLY }
            }
            Problem::Headers(Answer { code, pointer, .. }) => parameter(code, pointer),
            // IPv6 says with `Headers` where the protocol is named; the fixed header names it here.
            Problem::ProtocolUnreachable => parameter(ParameterCode::UNRECOGNIZED_NEXT_HEADER, 6),
            Problem::Parameter { pointer } => {
                parameter(ParameterCode::ERRONEOUS_FIELD, u32::from(pointer))
            }
            Problem::Refused(what) => what.header_v6(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Problem::PortUnreachable => "ICMP port unreachable",
            Problem::ProtocolUnreachable => "ICMP protocol unreachable",
            Problem::ReassemblyTimeout => "ICMP time exceeded",
            Problem::Parameter { .. } | Problem::Headers(_) => "ICMP parameter problem",
            Problem::Refused(_) => "ICMP unreachable",
        }
    }

    fn name_v6(self) -> &'static str {
        match self {
            Problem::PortUnreachable => "ICMPv6 port unreachable",
            Problem::ReassemblyTimeout => "ICMPv6 time exceeded",
            Problem::ProtocolUnreachable | Problem::Parameter { .. } | Problem::Headers(_) => {
                "ICMPv6 parameter problem"
            }
            Problem::Refused(_) => "ICMPv6 unreachable",
        }
    }

    fn reason(self) -> Sent {
        match self {
            Problem::PortUnreachable => Sent::PortUnreachable,
            Problem::ProtocolUnreachable => Sent::ProtocolUnreachable,
            Problem::ReassemblyTimeout => Sent::ReassemblyTimeExceeded,
            Problem::Parameter { .. } | Problem::Headers(_) => Sent::ParameterProblem,
            Problem::Refused(_) => Sent::UnreachableRefused,
        }
    }
}

/// Whether an error about `packet` may be sent at all.
fn deserves_error(packet: &Incoming, problem: Problem) -> bool {
    match packet.received.destination {
        IpAddr::V4(destination) => deserves_error_v4(packet, destination),
        IpAddr::V6(_) => deserves_error_v6(packet, problem),
    }
}

/// RFC 1122 3.2.2: never about an ICMP error, a broadcast or multicast, a fragment that is not the
/// first, or a source that is not one host; the last was checked when the packet came.
fn deserves_error_v4(packet: &Incoming, destination: Ipv4Addr) -> bool {
    let about_error = packet.protocol == Protocol::ICMP
        && Header::parse(&packet.received.frame)
            .map_or(true, |(icmp, _)| icmp.is_error() || matches!(icmp, Header::Unknown { .. }));
    !about_error && !packet.group && !destination.is_multicast() && !packet.continues
}

/// RFC 4443 2.4 (e): never about an error or a redirect, to a group (but for an option that says so),
/// or to nobody.
fn deserves_error_v6(packet: &Incoming, problem: Problem) -> bool {
    let about_error = packet.protocol == Protocol::ICMPV6
        && !packet.continues
        && packet
            .received
            .frame
            .first()
            .is_none_or(|kind| *kind < 128 || *kind == icmpv6::kind::REDIRECT);
    let to_group = packet.group
        && !matches!(problem, Problem::Headers(Answer { even_to_multicast: true, .. }));
    !about_error && !to_group && !packet.received.source.is_unspecified()
}

/// The error: its header, then the packet's header and as much behind it as fits.
fn message(packet: &Incoming, header: Header) -> Vec<u8> {
    let room = LONGEST_ERROR - wire::ipv4::MIN_HEADER_LEN - icmpv4::HEADER_LEN;
    let mut message = alloc::vec![0; icmpv4::HEADER_LEN];
    header.emit(&mut message);
    quote(packet, room, &mut message);
    icmpv4::fill_checksum(&mut message);
    message
}

/// RFC 4443 2.4 (c): as much as fits into the least MTU.
fn message_v6(packet: &Incoming, header: icmpv6::Header, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let mut message = alloc::vec![0; icmpv6::HEADER_LEN];
    header.emit(&mut message);
    quote(packet, icmpv6::MAX_QUOTE, &mut message);
    icmpv6::fill_checksum(from, to, &mut message);
    message
}

/// Headers and payload of the packet, as much as there is `room` for.
fn quote(packet: &Incoming, room: usize, message: &mut Vec<u8>) {
    let (frame, length) = (&packet.received.frame, message.len());
    message.extend_from_slice(frame.hidden(packet.header_len));
    let rest = room.saturating_sub(packet.header_len);
    message.extend_from_slice(&frame[..frame.len().min(rest)]);
    message.truncate(length + room);
}

/// A budget that fills up evenly with time (RFC 1812 4.3.2.8): a token bucket, kept as the one
/// moment at which it will be full again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    /// Time that one token takes; `None` when there are no tokens at all.
    interval: Option<Duration>,
    /// Time that filling the empty bucket takes.
    depth: Duration,
    /// When the bucket is full again.
    full_at: Instant,
}

impl TokenBucket {
    /// `per_second` tokens each second, and a tenth as many (but at least one) at once.
    pub(crate) fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second);
        let depth = interval.unwrap_or_default() * (per_second / 10).max(1);
        Self { interval, depth, full_at: Instant::ZERO }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let Some(interval) = self.interval else { return false };
        let full_after = self.full_at.max(now).after(interval);
        if full_after.since(now) > self.depth {
            return false;
        }
        self.full_at = full_after;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_gives_a_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(100);
        let start = Instant::from_millis(5000);
        let taken = (0..50).filter(|_| bucket.take(start)).count();
        assert_eq!(taken, 10);
        assert!(!bucket.take(start.after(Duration::from_micros(9_999))));
        assert!(bucket.take(start.after(Duration::from_millis(10))));
        assert!(!bucket.take(start.after(Duration::from_millis(10))));
        let later = start.after(Duration::from_secs(60));
        assert_eq!((0..50).filter(|_| bucket.take(later)).count(), 10);
    }

    #[test]
    fn a_rate_of_zero_is_never() {
        assert!(!TokenBucket::new(0).take(Instant::from_millis(1)));
        assert!(TokenBucket::new(1).take(Instant::ZERO));
    }
}
