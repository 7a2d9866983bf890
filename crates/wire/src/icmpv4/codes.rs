//! The types and codes of ICMP (IANA "ICMP Type Numbers").

use core::fmt;

/// The types of ICMP messages that have a meaning here.
pub mod kind {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// Source quench; deprecated (RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Timestamp request.
    pub const TIMESTAMP_REQUEST: u8 = 13;
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;
}

/// Why a packet could not be delivered (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section
/// 5.2.7.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnreachableCode(pub u8);

impl UnreachableCode {
    /// No route to the network.
    pub const NETWORK: UnreachableCode = UnreachableCode(0);
    /// The host does not answer on its network.
    pub const HOST: UnreachableCode = UnreachableCode(1);
    /// The host does not speak the protocol.
    pub const PROTOCOL: UnreachableCode = UnreachableCode(2);
    /// Nobody listens on the port.
    pub const PORT: UnreachableCode = UnreachableCode(3);
    /// The packet is longer than the next link's MTU, and DF is set.
    pub const FRAGMENTATION_NEEDED: UnreachableCode = UnreachableCode(4);
    /// The source route does not work.
    pub const SOURCE_ROUTE_FAILED: UnreachableCode = UnreachableCode(5);
    /// The network is unknown.
    pub const NETWORK_UNKNOWN: UnreachableCode = UnreachableCode(6);
    /// The host is unknown.
    pub const HOST_UNKNOWN: UnreachableCode = UnreachableCode(7);
    /// The source is isolated; obsolete.
    pub const SOURCE_ISOLATED: UnreachableCode = UnreachableCode(8);
    /// Speaking with the network is prohibited.
    pub const NETWORK_PROHIBITED: UnreachableCode = UnreachableCode(9);
    /// Speaking with the host is prohibited.
    pub const HOST_PROHIBITED: UnreachableCode = UnreachableCode(10);
    /// The network cannot be reached with this type of service.
    pub const NETWORK_TOS: UnreachableCode = UnreachableCode(11);
    /// The host cannot be reached with this type of service.
    pub const HOST_TOS: UnreachableCode = UnreachableCode(12);
    /// A filter on the way prohibits it.
    pub const ADMINISTRATIVELY_PROHIBITED: UnreachableCode = UnreachableCode(13);
    /// The host's precedence is not permitted.
    pub const PRECEDENCE_VIOLATION: UnreachableCode = UnreachableCode(14);
    /// The precedence is below the least that is served.
    pub const PRECEDENCE_CUTOFF: UnreachableCode = UnreachableCode(15);
}

impl fmt::Display for UnreachableCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            UnreachableCode::NETWORK => "net unreachable",
            UnreachableCode::HOST => "host unreachable",
            UnreachableCode::PROTOCOL => "protocol unreachable",
            UnreachableCode::PORT => "port unreachable",
            UnreachableCode::FRAGMENTATION_NEEDED => "need to frag",
            UnreachableCode::SOURCE_ROUTE_FAILED => "source route failed",
            UnreachableCode::NETWORK_UNKNOWN => "net unknown",
            UnreachableCode::HOST_UNKNOWN => "host unknown",
            UnreachableCode::SOURCE_ISOLATED => "source isolated",
            UnreachableCode::NETWORK_PROHIBITED => "net prohibited",
            UnreachableCode::HOST_PROHIBITED => "host prohibited",
            UnreachableCode::NETWORK_TOS => "net unreachable for this service",
            UnreachableCode::HOST_TOS => "host unreachable for this service",
            UnreachableCode::ADMINISTRATIVELY_PROHIBITED => "admin prohibited filter",
            UnreachableCode::PRECEDENCE_VIOLATION => "precedence violation",
            UnreachableCode::PRECEDENCE_CUTOFF => "precedence cutoff",
            UnreachableCode(other) => return write!(f, "code {other}"),
        })
    }
}

impl fmt::Debug for UnreachableCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which packets a redirect is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedirectCode(pub u8);

impl RedirectCode {
    /// All for the network; hosts treat it like [`RedirectCode::HOST`] (RFC 1122 section 3.2.2.2).
    pub const NETWORK: RedirectCode = RedirectCode(0);
    /// All for the host.
    pub const HOST: RedirectCode = RedirectCode(1);
    /// All for the network with this type of service.
    pub const NETWORK_TOS: RedirectCode = RedirectCode(2);
    /// All for the host with this type of service.
    pub const HOST_TOS: RedirectCode = RedirectCode(3);
}

impl fmt::Display for RedirectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            RedirectCode::NETWORK => "net",
            RedirectCode::HOST => "host",
            RedirectCode::NETWORK_TOS => "net and service",
            RedirectCode::HOST_TOS => "host and service",
            RedirectCode(other) => return write!(f, "code {other}"),
        })
    }
}

impl fmt::Debug for RedirectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a packet took too long.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeExceededCode(pub u8);

impl TimeExceededCode {
    /// Its TTL reached zero on the way.
    pub const IN_TRANSIT: TimeExceededCode = TimeExceededCode(0);
    /// Not all its fragments arrived in time.
    pub const REASSEMBLY: TimeExceededCode = TimeExceededCode(1);
}

impl fmt::Display for TimeExceededCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            TimeExceededCode::IN_TRANSIT => "in-transit",
            TimeExceededCode::REASSEMBLY => "ip reassembly",
            TimeExceededCode(other) => return write!(f, "code {other}"),
        })
    }
}

impl fmt::Debug for TimeExceededCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
