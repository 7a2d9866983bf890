//! ICMP of both families: answers, errors that we send, errors that we get (RFC 792, RFC 1122 3.2.2,
//! RFC 4443).
//!
//! | place | holds | source |
//! |---|---|---|
//! | `arrives` | what each message means to us | RFC 1122 3.2.2 |
//! | `arrives_v6` | the same for IPv6 | RFC 4443 |
//! | `errors` | the errors that we send, and when not to | RFC 1122 3.2.2, RFC 1812 4.3.2.8 |
//! | `refusal` | the errors that a program asks for | RFC 792, RFC 4443 3.1 |
//! | `received` | what a received error means to a socket | RFC 1122 4.2.3.9, RFC 5927 |

mod arrives;
mod arrives_v6;
mod errors;
mod received;
mod refusal;

use alloc::collections::VecDeque;
use core::net::IpAddr;

use wire::frame::FrameBuf;
use wire::ip::Protocol;
use wire::ipv4::Options;
use wire::{icmpv6, ipv4, ipv6};

use crate::config::Config;
use crate::error::Error;
use crate::ip::{Envelope, Interfaces, Waiter};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::trace::What;
use crate::transmit::{HeaderBuf, Packet};

pub(crate) use errors::Problem;
pub(crate) use received::IcmpError;
pub use received::IcmpReport;
pub(crate) use refusal::Refused;
pub use refusal::{Refusal, Unreachable};

use errors::TokenBucket;

/// A stack's ICMP, its echo sockets aside.
#[derive(Debug)]
pub(crate) struct Icmp {
    /// Answers that wait for the link, bounded by `Config::reply_limit`.
    queue: VecDeque<Reply>,
    /// How many errors may be sent now.
    budget: TokenBucket,
    /// The last answers to echo requests that a way may not have taken: to whom, identifier and
    /// sequence number. A router's "too big" is believed when it quotes one of them (RFC 5927 4).
    long_answers: VecDeque<(IpAddr, u16, u16)>,
}

/// How many are remembered: as many as leave in a round trip of 64 ms at one a millisecond.
const LONG_ANSWERS: usize = 64;

/// An answer, complete but for its IP header.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) traffic_class: u8,
    /// TTL or hop limit; `None` is what the way has.
    pub(crate) ttl: Option<u8>,
    /// What is recorded on the way, over IPv4.
    pub(crate) options: ipv4::Options,
    /// The message with its checksum.
    pub(crate) message: FrameBuf,
    /// Its name in the trace.
    pub(crate) kind: &'static str,
    pub(crate) reason: Sent,
}

impl Icmp {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            queue: VecDeque::new(),
            budget: TokenBucket::new(config.icmp_errors_per_second),
            long_answers: VecDeque::new(),
        }
    }

    /// Whether an answer waits.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next answer for the link.
    pub(crate) fn next_packet(
        &mut self,
        shared: &mut Shared,
        interfaces: &mut Interfaces,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        while let Some(reply) = self.queue.pop_front() {
            if let Some(packet) = emit(shared, interfaces, header, reply) {
                return Some(packet);
            }
        }
        None
    }

    /// The next hop of an answer is known now, or will not be.
    pub(crate) fn next_hop_known(
        &mut self,
        shared: &mut Shared,
        reply: Reply,
        outcome: Result<(), Error>,
    ) {
        match outcome {
            Ok(()) => self.push(shared, reply),
            Err(_) => {
                shared.drop_packet(None, Dropped::NeighborUnresolved);
                shared.recycle(reply.message);
            }
        }
    }

    /// Sends an answer to an echo request. IPv4's are cut by any router, IPv6's by nobody but us.
    fn push_echo(&mut self, shared: &mut Shared, reply: Reply) {
        let long = usize::from(ipv6::MIN_MTU) - ipv6::HEADER_LEN;
        let echo = icmpv6::View::new(&reply.message).filter(|_| reply.destination.is_ipv6());
        if let Some(echo) = echo.filter(|_| reply.message.len() > long) {
            if self.long_answers.len() >= LONG_ANSWERS {
                self.long_answers.pop_front();
            }
            let answer = (reply.destination, echo.identifier(), echo.sequence());
            self.long_answers.push_back(answer);
        }
        self.push(shared, reply);
    }

    /// Whether we have answered so, at a length that a way may not have taken.
    fn may_have_answered(&self, remote: IpAddr, identifier: u16, sequence: u16) -> bool {
        self.long_answers.contains(&(remote, identifier, sequence))
    }

    pub(crate) fn push(&mut self, shared: &mut Shared, reply: Reply) {
        if self.queue.len() < shared.config.reply_limit {
            self.queue.push_back(reply);
        } else {
            shared.drop_packet(None, Dropped::ReplyQueueFull);
            shared.recycle(reply.message);
        }
    }
}

/// What carries ICMP to `address`.
pub(crate) fn protocol_for(address: IpAddr) -> Protocol {
    if address.is_ipv4() { Protocol::ICMP } else { Protocol::ICMPV6 }
}

/// Builds the packet for an answer, unless it is parked or there is no way for it.
fn emit(
    shared: &mut Shared,
    interfaces: &mut Interfaces,
    header: &mut HeaderBuf,
    reply: Reply,
) -> Option<Packet> {
    let Ok(route) = interfaces.route(Some(reply.source), reply.destination) else {
        shared.drop_packet(None, Dropped::NoRoute);
        shared.recycle(reply.message);
        return None;
    };
    let Some(link) = interfaces.resolve(shared, &route.hop) else {
        interfaces.park(shared, &route.hop, (route.source, Waiter::Icmp(reply)));
        return None;
    };
    let envelope = Envelope {
        link,
        source: reply.source,
        destination: reply.destination,
        protocol: protocol_for(reply.destination),
        ttl: reply.ttl.unwrap_or(route.hop.ttl),
        traffic_class: reply.traffic_class,
        dont_fragment: false,
        identification: interfaces.identification(&route, reply.destination),
        flow_label: 0,
    };
    let Reply { source, destination, options, message, kind, reason, .. } = reply;
    shared.counters.count_sent(reason);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    shared.trace(None, What::PacketOut { kind, source, destination, length, reason });
    // In fragments they would be of use in the first alone, and make it shorter: those go without.
    let room = usize::from(route.hop.mtu).saturating_sub(envelope.ip_len() + options.len());
    let options = if message.len() <= room { options } else { Options::NONE };
    Some(interfaces.send_datagram(header, &route, envelope, options, message, reason))
}
