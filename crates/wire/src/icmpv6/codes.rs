//! The types and codes of ICMPv6 (IANA "ICMPv6 Parameters").

use core::fmt;

/// The types of ICMPv6 messages that have a meaning here. Those below 128 are errors.
pub mod kind {
    /// Destination unreachable.
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Multicast listener query, of both versions ([`mld`](crate::mld)).
    pub const LISTENER_QUERY: u8 = 130;
    /// Multicast listener report, version 1.
    pub const LISTENER_REPORT_V1: u8 = 131;
    /// Multicast listener done, version 1.
    pub const LISTENER_DONE: u8 = 132;
    /// Router solicitation ([`ndp`](crate::ndp)).
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;
    /// Multicast listener report, version 2.
    pub const LISTENER_REPORT_V2: u8 = 143;
}

/// What the type of a message says, in words; `None` of one without a meaning here.
#[must_use]
pub const fn kind_name(number: u8) -> Option<&'static str> {
    Some(match number {
        kind::DESTINATION_UNREACHABLE => "destination unreachable",
        kind::PACKET_TOO_BIG => "packet too big",
        kind::TIME_EXCEEDED => "time exceeded",
        kind::PARAMETER_PROBLEM => "parameter problem",
        kind::ECHO_REQUEST => "echo request",
        kind::ECHO_REPLY => "echo reply",
        kind::LISTENER_QUERY => "multicast listener query",
        kind::LISTENER_REPORT_V1 => "multicast listener report",
        kind::LISTENER_DONE => "multicast listener done",
        kind::ROUTER_SOLICITATION => "router solicitation",
        kind::ROUTER_ADVERTISEMENT => "router advertisement",
        kind::NEIGHBOR_SOLICITATION => "neighbor solicitation",
        kind::NEIGHBOR_ADVERTISEMENT => "neighbor advertisement",
        kind::REDIRECT => "redirect",
        kind::LISTENER_REPORT_V2 => "multicast listener report v2",
        _ => return None,
    })
}

/// Why a packet could not be delivered (RFC 4443 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnreachableCode(pub u8);

impl UnreachableCode {
    /// No route to the destination.
    pub const NO_ROUTE: UnreachableCode = UnreachableCode(0);
    /// A filter on the way prohibits it.
    pub const ADMINISTRATIVELY_PROHIBITED: UnreachableCode = UnreachableCode(1);
    /// The destination is beyond the scope of the source address.
    pub const BEYOND_SCOPE: UnreachableCode = UnreachableCode(2);
    /// The host does not answer on its link, or any other reason.
    pub const ADDRESS: UnreachableCode = UnreachableCode(3);
    /// Nobody listens on the port.
    pub const PORT: UnreachableCode = UnreachableCode(4);
    /// The source address is filtered.
    pub const SOURCE_POLICY_FAILED: UnreachableCode = UnreachableCode(5);
    /// The route to the destination is one that rejects.
    pub const REJECT_ROUTE: UnreachableCode = UnreachableCode(6);
}

impl fmt::Display for UnreachableCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            UnreachableCode::NO_ROUTE => "no route",
            UnreachableCode::ADMINISTRATIVELY_PROHIBITED => "admin prohibited",
            UnreachableCode::BEYOND_SCOPE => "beyond scope",
            UnreachableCode::ADDRESS => "address unreachable",
            UnreachableCode::PORT => "port unreachable",
            UnreachableCode::SOURCE_POLICY_FAILED => "source address failed policy",
            UnreachableCode::REJECT_ROUTE => "reject route",
            UnreachableCode(other) => return write!(f, "code {other}"),
        })
    }
}

impl fmt::Debug for UnreachableCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a packet took too long (RFC 4443 section 3.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeExceededCode(pub u8);

impl TimeExceededCode {
    /// Its hop limit reached zero on the way.
    pub const IN_TRANSIT: TimeExceededCode = TimeExceededCode(0);
    /// Not all its fragments arrived in time.
    pub const REASSEMBLY: TimeExceededCode = TimeExceededCode(1);
}

impl fmt::Display for TimeExceededCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            TimeExceededCode::IN_TRANSIT => "in-transit",
            TimeExceededCode::REASSEMBLY => "reassembly",
            TimeExceededCode(other) => return write!(f, "code {other}"),
        })
    }
}

impl fmt::Debug for TimeExceededCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with the headers of a packet (RFC 4443 section 3.4, RFC 7112, RFC 8883).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterCode(pub u8);

impl ParameterCode {
    /// A field has a value that it must not have.
    pub const ERRONEOUS_FIELD: ParameterCode = ParameterCode(0);
    /// A next header is not known.
    pub const UNRECOGNIZED_NEXT_HEADER: ParameterCode = ParameterCode(1);
    /// An option is not known.
    pub const UNRECOGNIZED_OPTION: ParameterCode = ParameterCode(2);
    /// The first fragment does not hold all headers.
    pub const FIRST_FRAGMENT_INCOMPLETE: ParameterCode = ParameterCode(3);
    /// More extension headers than the receiver looks at.
    pub const TOO_MANY_EXTENSION_HEADERS: ParameterCode = ParameterCode(8);
    /// More options in a header than the receiver looks at.
    pub const TOO_MANY_OPTIONS: ParameterCode = ParameterCode(9);
}

impl fmt::Display for ParameterCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            ParameterCode::ERRONEOUS_FIELD => "erroneous field",
            ParameterCode::UNRECOGNIZED_NEXT_HEADER => "unrecognized next header",
            ParameterCode::UNRECOGNIZED_OPTION => "unrecognized option",
            ParameterCode::FIRST_FRAGMENT_INCOMPLETE => "incomplete first fragment",
            ParameterCode::TOO_MANY_EXTENSION_HEADERS => "too many extension headers",
            ParameterCode::TOO_MANY_OPTIONS => "too many options",
            ParameterCode(other) => return write!(f, "code {other}"),
        })
    }
}

impl fmt::Debug for ParameterCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
