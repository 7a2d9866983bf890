//! What a received error means to a socket (RFC 1122 3.2.2.1 and 4.2.3.9, RFC 5461).

use core::net::IpAddr;

use wire::icmpv4::{Header, UnreachableCode};
use wire::icmpv6;

use crate::error::Error;
use crate::ip::plausible_mtu;

/// What somebody on the way said about a packet of ours, and who.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpReport {
    /// Who said it: a router, or the host itself.
    pub from: IpAddr,
    /// The packet's TTL ran out there: that is how far it came.
    pub expired: bool,
    /// What a program is told.
    pub error: Error,
}

/// What went wrong with a packet of ours, as somebody on the way claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IcmpError {
    /// The last router cannot reach the host.
    HostUnreachable,
    /// A router has no way to the network.
    NetworkUnreachable,
    /// The host does not speak the protocol.
    ProtocolUnreachable,
    /// Nobody has the port.
    PortUnreachable,
    /// The packet is longer than a link on the way takes.
    TooBig {
        /// What that link takes, in bytes of an IP packet; zero where an old router does not say.
        next_hop_mtu: u16,
    },
    /// The packet was under way for too long.
    TimeExceeded,
    /// A filter forbids it.
    Prohibited,
    /// A field of our header makes no sense to somebody.
    ParameterProblem,
}

impl IcmpError {
    /// What a message says; `None` when it is no error, or one that nobody acts on: source quench
    /// (RFC 6633) and redirects, which anybody on the path could forge.
    pub(crate) fn from_header(header: &Header) -> Option<Self> {
        match *header {
            Header::DestinationUnreachable { code, next_hop_mtu } => {
                Some(Self::from_unreachable(code, next_hop_mtu))
            }
            Header::TimeExceeded { .. } => Some(IcmpError::TimeExceeded),
            Header::ParameterProblem { .. } => Some(IcmpError::ParameterProblem),
            _ => None,
        }
    }

    /// The same for IPv6 (RFC 4443 3). An error of a type that we do not know is one, too (2.4 (a)).
    pub(crate) fn from_header_v6(header: &icmpv6::Header) -> Option<Self> {
        use icmpv6::{ParameterCode, UnreachableCode};
        let error = match *header {
            icmpv6::Header::DestinationUnreachable { code } => match code {
                UnreachableCode::NO_ROUTE | UnreachableCode::BEYOND_SCOPE => {
                    IcmpError::NetworkUnreachable
                }
                UnreachableCode::PORT => IcmpError::PortUnreachable,
                UnreachableCode::ADMINISTRATIVELY_PROHIBITED
                | UnreachableCode::SOURCE_POLICY_FAILED
                | UnreachableCode::REJECT_ROUTE => IcmpError::Prohibited,
                _ => IcmpError::HostUnreachable,
            },
            icmpv6::Header::PacketTooBig { mtu } => {
                IcmpError::TooBig { next_hop_mtu: u16::try_from(mtu).unwrap_or(u16::MAX) }
            }
            icmpv6::Header::TimeExceeded { .. } => IcmpError::TimeExceeded,
            icmpv6::Header::ParameterProblem { code, .. } => match code {
                ParameterCode::UNRECOGNIZED_NEXT_HEADER => IcmpError::ProtocolUnreachable,
                _ => IcmpError::ParameterProblem,
            },
            _ if header.is_error() => IcmpError::HostUnreachable,
            _ => return None,
        };
        Some(error)
    }

    fn from_unreachable(code: UnreachableCode, next_hop_mtu: u16) -> Self {
        match code {
            UnreachableCode::NETWORK
            | UnreachableCode::NETWORK_UNKNOWN
            | UnreachableCode::NETWORK_TOS => IcmpError::NetworkUnreachable,
            UnreachableCode::PROTOCOL => IcmpError::ProtocolUnreachable,
            UnreachableCode::PORT => IcmpError::PortUnreachable,
            UnreachableCode::FRAGMENTATION_NEEDED => IcmpError::TooBig { next_hop_mtu },
            UnreachableCode::NETWORK_PROHIBITED
            | UnreachableCode::HOST_PROHIBITED
            | UnreachableCode::ADMINISTRATIVELY_PROHIBITED => IcmpError::Prohibited,
            _ => IcmpError::HostUnreachable,
        }
    }

    /// The error about a packet of `length` bytes to `remote`, as far as it can be true: what was not
    /// too long for a link is not too big for it (RFC 5927 7.2).
    pub(super) fn made_plausible(self, remote: IpAddr, length: usize) -> Option<Self> {
        let IcmpError::TooBig { next_hop_mtu } = self else { return Some(self) };
        let next_hop_mtu = plausible_mtu(remote, next_hop_mtu, length)?;
        (length > usize::from(next_hop_mtu)).then_some(IcmpError::TooBig { next_hop_mtu })
    }

    /// Whether trying again is useless (RFC 1122 4.2.3.9: codes 2 and 3 of destination
    /// unreachable; code 4 is the business of path MTU discovery now).
    pub(crate) fn is_hard(self) -> bool {
        matches!(self, IcmpError::ProtocolUnreachable | IcmpError::PortUnreachable)
    }

    /// The same with who said it.
    pub(crate) fn report(self, from: IpAddr) -> IcmpReport {
        let expired = self == IcmpError::TimeExceeded;
        IcmpReport { from, expired, error: self.error() }
    }

    /// What the program is told.
    pub(crate) fn error(self) -> Error {
        match self {
            IcmpError::HostUnreachable | IcmpError::TimeExceeded | IcmpError::ParameterProblem => {
                Error::HostUnreachable
            }
            IcmpError::Prohibited => Error::Prohibited,
            IcmpError::NetworkUnreachable => Error::NetworkUnreachable,
            IcmpError::ProtocolUnreachable => Error::ProtocolUnreachable,
            IcmpError::PortUnreachable => Error::ConnectionRefused,
            IcmpError::TooBig { .. } => Error::MessageTooBig,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_destination_unreachable_means_something() {
        for code in 0..=255 {
            let header =
                Header::DestinationUnreachable { code: UnreachableCode(code), next_hop_mtu: 1400 };
            let error = IcmpError::from_header(&header).unwrap();
            assert_eq!(error.is_hard(), code == 2 || code == 3, "{code}");
        }
        assert_eq!(IcmpError::from_header(&Header::SourceQuench), None);
        assert_eq!(IcmpError::PortUnreachable.error(), Error::ConnectionRefused);
    }

    #[test]
    fn every_error_of_icmpv6_means_something() {
        for (kind, code) in (0..=255).flat_map(|kind| (0..=7).map(move |code| (kind, code))) {
            let message = [kind, code, 0, 0, 0, 0, 5, 0];
            let (header, _) = icmpv6::Header::parse(&message).unwrap();
            let error = IcmpError::from_header_v6(&header);
            assert_eq!(error.is_some(), kind < 128);
            let hard = matches!((kind, code), (1, 4) | (4, 1));
            assert_eq!(error.is_some_and(IcmpError::is_hard), hard, "{kind} {code}");
        }
    }
}
