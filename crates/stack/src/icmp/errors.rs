//! The errors that we send: about what, to whom, and how many (RFC 1122 3.2.2, RFC 1812 4.3.2).

use core::net::IpAddr;

use wire::frame::FrameBuf;
use wire::icmpv4::{self, Header, TimeExceededCode, UnreachableCode};
use wire::ip::Protocol;
use wire::time::{Duration, Instant};

use super::{Icmp, Reply};
use crate::ip::{Incoming, InterfaceId};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;

/// The longest error as an IP packet: as much of the packet as fits into what every host must
/// take (RFC 1812 4.3.2.3).
const LONGEST_ERROR: usize = 576;

/// Precedence "internetwork control" (RFC 1812 4.3.2.5), as Linux sends it.
const ERROR_TRAFFIC_CLASS: u8 = 0xc0;

/// What is wrong with a packet, as its sender will be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// No socket has the port.
    PortUnreachable,
    /// We do not speak the protocol.
    ProtocolUnreachable,
    /// Fragments of a packet were missing for too long.
    ReassemblyTimeout,
    /// The byte at `pointer` of the IP header makes no sense.
    Parameter {
        /// Counted from 0.
        pointer: u8,
    },
}

impl Icmp {
    /// Tells the sender of `packet` what is wrong with it, where an error is in place.
    pub(crate) fn report(&mut self, shared: &mut Shared, packet: &Incoming, problem: Problem) {
        if !deserves_error(packet) {
            return;
        }
        // What stays inside the stack floods nobody.
        let inside = packet.received.interface == InterfaceId::LOOPBACK;
        if !inside && !self.budget.take(shared.now) {
            return shared.drop_packet(None, Dropped::IcmpRateLimited);
        }
        let reason = match problem {
            Problem::PortUnreachable => Sent::PortUnreachable,
            Problem::ProtocolUnreachable => Sent::ProtocolUnreachable,
            Problem::ReassemblyTimeout => Sent::ReassemblyTimeExceeded,
            Problem::Parameter { .. } => Sent::ParameterProblem,
        };
        let reply = Reply {
            source: packet.received.destination,
            destination: packet.received.source,
            traffic_class: ERROR_TRAFFIC_CLASS,
            message: FrameBuf::from(message(packet, problem)),
            kind: problem.name(),
            reason,
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
        }
    }

    fn name(self) -> &'static str {
        match self {
            Problem::PortUnreachable => "ICMP port unreachable",
            Problem::ProtocolUnreachable => "ICMP protocol unreachable",
            Problem::ReassemblyTimeout => "ICMP time exceeded",
            Problem::Parameter { .. } => "ICMP parameter problem",
        }
    }
}

/// RFC 1122 3.2.2: never about an ICMP error, a broadcast or multicast, a fragment that is not the
/// first, or a source that is not one host; the last was checked when the packet came.
fn deserves_error(packet: &Incoming) -> bool {
    let about_error = packet.protocol == Protocol::ICMP
        && Header::parse(&packet.received.frame)
            .map_or(true, |(icmp, _)| icmp.is_error() || matches!(icmp, Header::Unknown { .. }));
    let to_host = matches!(packet.received.destination, IpAddr::V4(v4) if !v4.is_multicast());
    !about_error && !packet.group && to_host && !packet.continues
}

/// The error: its header, then the packet's header and as much behind it as fits.
fn message(packet: &Incoming, problem: Problem) -> alloc::vec::Vec<u8> {
    let (frame, header_len) = (&packet.received.frame, packet.header_len);
    let room = LONGEST_ERROR - wire::ipv4::MIN_HEADER_LEN - icmpv4::HEADER_LEN - header_len;
    let mut message = alloc::vec![0; icmpv4::HEADER_LEN];
    problem.header().emit(&mut message);
    message.extend_from_slice(frame.hidden(header_len));
    message.extend_from_slice(&frame[..frame.len().min(room)]);
    icmpv4::fill_checksum(&mut message);
    message
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
