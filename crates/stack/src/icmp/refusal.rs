//! Errors that a program asks for: a flow is refused as somebody beyond us would have refused it.

use alloc::vec::Vec;
use core::net::IpAddr;

use wire::frame::FrameBuf;
use wire::ip::Protocol;
use wire::tcp::{Flags, Options, Timestamps};
use wire::{icmpv4, icmpv6, ipv4, ipv6, tcp, udp};

use super::errors::ERROR_TRAFFIC_CLASS;
use super::{Icmp, Reply, protocol_for};
use crate::FourTuple;
use crate::ip::InterfaceId;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::tcp::PendingSyn;

/// How a SYN that waits for a decision is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Refusal {
    /// With a reset, as a closed port does: `ECONNREFUSED`.
    #[default]
    Reset,
    /// With an ICMP error. Like all of these it may get lost, or be [withheld](crate::Config) as one
    /// too many: then the SYN comes again.
    Unreachable(Unreachable),
}

/// What an ICMP error of either family says cannot be reached (RFC 792, RFC 1812 5.2.7.1, RFC 4443 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unreachable {
    /// The network: code 0, or "no route". `ENETUNREACH` with Linux.
    Network,
    /// The host: code 1, or "address unreachable". `EHOSTUNREACH`.
    Host,
    /// The protocol: code 2, or over IPv6 a parameter problem that says so. `ENOPROTOOPT`, or `EPROTO`.
    Protocol,
    /// The port: code 3, over IPv6 code 4. `ECONNREFUSED`.
    Port,
    /// A filter forbids it: code 13, over IPv6 code 1. `EHOSTUNREACH`, or `EACCES`.
    Prohibited,
}

impl From<Unreachable> for Refusal {
    fn from(unreachable: Unreachable) -> Self {
        Self::Unreachable(unreachable)
    }
}

/// A packet that is refused, as far as it is known still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) flow: FourTuple,
    pub(crate) interface: InterfaceId,
    pub(crate) ttl: u8,
    pub(crate) traffic_class: u8,
}

impl Icmp {
    /// Refuses a SYN, of which the error quotes what the half-open entry knows.
    pub(crate) fn refuse_syn(&mut self, shared: &mut Shared, syn: &PendingSyn, what: Unreachable) {
        let PendingSyn { flow, interface, ttl, traffic_class, .. } = *syn;
        let segment = segment_of(syn);
        let packet = Refused { flow, interface, ttl, traffic_class };
        self.refuse(shared, &packet, Protocol::TCP, &segment, what);
    }

    /// Refuses a datagram whose payload is not known any more.
    pub(crate) fn refuse_datagram(
        &mut self,
        shared: &mut Shared,
        packet: &Refused,
        what: Unreachable,
    ) {
        let (source_port, destination_port) = (packet.flow.remote.port(), packet.flow.local.port());
        let mut header = [0; udp::HEADER_LEN];
        udp::Header { source_port, destination_port, payload_len: 0 }.emit(&mut header);
        self.refuse(shared, packet, Protocol::UDP, &header, what);
    }

    fn refuse(
        &mut self,
        shared: &mut Shared,
        packet: &Refused,
        protocol: Protocol,
        transport: &[u8],
        what: Unreachable,
    ) {
        let inside = packet.interface == InterfaceId::LOOPBACK;
        if !inside && !self.budget.take(shared.now) {
            return shared.drop_packet(Some(packet.flow), Dropped::IcmpRateLimited);
        }
        let (from, to) = (packet.flow.local.ip(), packet.flow.remote.ip());
        let quote = quote(packet, protocol, transport);
        let mut message = what.header(protocol_for(to));
        message.extend_from_slice(&quote);
        match (from, to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => icmpv6::fill_checksum(from, to, &mut message),
            _ => icmpv4::fill_checksum(&mut message),
        }
        let reply = Reply {
            source: from,
            destination: to,
            traffic_class: if to.is_ipv4() { ERROR_TRAFFIC_CLASS } else { 0 },
            message: FrameBuf::from(message),
            kind: if to.is_ipv4() { "ICMP unreachable" } else { "ICMPv6 unreachable" },
            ttl: None,
            options: wire::ipv4::Options::NONE,
            reason: Sent::UnreachableRefused,
        };
        self.push(shared, reply);
    }
}

impl Unreachable {
    /// The header of the error that says so.
    fn header(self, protocol: Protocol) -> Vec<u8> {
        let mut bytes = alloc::vec![0; icmpv4::HEADER_LEN];
        if protocol == Protocol::ICMP {
            let code = self.code();
            icmpv4::Header::DestinationUnreachable { code, next_hop_mtu: 0 }.emit(&mut bytes);
        } else {
            self.header_v6().emit(&mut bytes);
        }
        bytes
    }

    pub(super) fn code(self) -> icmpv4::UnreachableCode {
        use icmpv4::UnreachableCode;
        match self {
            Self::Network => UnreachableCode::NETWORK,
            Self::Host => UnreachableCode::HOST,
            Self::Protocol => UnreachableCode::PROTOCOL,
            Self::Port => UnreachableCode::PORT,
            Self::Prohibited => UnreachableCode::ADMINISTRATIVELY_PROHIBITED,
        }
    }

    pub(super) fn header_v6(self) -> icmpv6::Header {
        use icmpv6::{ParameterCode, UnreachableCode};
        let code = match self {
            Self::Network => UnreachableCode::NO_ROUTE,
            Self::Host => UnreachableCode::ADDRESS,
            Self::Port => UnreachableCode::PORT,
            Self::Prohibited => UnreachableCode::ADMINISTRATIVELY_PROHIBITED,
            Self::Protocol => {
                let code = ParameterCode::UNRECOGNIZED_NEXT_HEADER;
                let pointer = ipv6::NEXT_HEADER_OFFSET as u32;
                return icmpv6::Header::ParameterProblem { code, pointer };
            }
        };
        icmpv6::Header::DestinationUnreachable { code }
    }
}

/// The refused packet again: its IP header and what is known of the rest. Who sent it finds the
/// socket by the ports, and believes it by the sequence number (RFC 5927 4).
fn quote(packet: &Refused, protocol: Protocol, transport: &[u8]) -> Vec<u8> {
    let Refused { flow, ttl, traffic_class, .. } = *packet;
    let payload_len = u16::try_from(transport.len()).unwrap_or(u16::MAX);
    let mut bytes = alloc::vec![0; ipv6::HEADER_LEN.max(ipv4::MIN_HEADER_LEN)];
    let length = match (flow.remote.ip(), flow.local.ip()) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6::Header {
            source,
            destination,
            next_header: protocol,
            hop_limit: ttl,
            traffic_class,
            flow_label: 0,
            payload_len,
        }
        .emit(&mut bytes),
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4::Header {
            source,
            destination,
            protocol,
            ttl,
            traffic_class,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len,
            options: ipv4::Options::NONE,
        }
        .emit(&mut bytes),
        // Both ends of a flow have one family.
        _ => 0,
    };
    bytes.truncate(length);
    bytes.extend_from_slice(transport);
    bytes
}

/// The SYN as it came, but for the value of its timestamp and options that we do not know.
fn segment_of(syn: &PendingSyn) -> Vec<u8> {
    let ecn = if syn.ecn { Flags::ECE | Flags::CWR } else { Flags::empty() };
    let header = tcp::Header {
        source_port: syn.flow.remote.port(),
        destination_port: syn.flow.local.port(),
        sequence: syn.sequence,
        flags: Flags::SYN | ecn,
        window: syn.window,
        options: Options {
            mss: syn.mss,
            window_scale: syn.window_scale,
            sack_permitted: syn.sack,
            timestamps: syn.timestamps.then_some(Timestamps { value: 0, echo: 0 }),
            ..Options::default()
        },
        ..tcp::Header::default()
    };
    let mut segment = alloc::vec![0; header.encoded_len()];
    header.emit(&mut segment);
    tcp::fill_checksum(syn.flow.remote.ip(), syn.flow.local.ip(), &mut segment);
    segment
}
