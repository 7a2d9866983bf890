//! What a world is made of: hosts, lines, routes and flows, as plain data.
//!
//! [`draw`](super::draw) makes one from a seed, [`shrink`](super::shrink) makes smaller ones, and a
//! person writes one down ([`study`](crate::study)).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use link::Impairment;
use stack::{Config, TcpOptions};
use wire::time::Instant;

use super::host::{self, Family};
use super::program::Plan;
use super::talks::Talk;

/// The port of every server.
pub(super) const PORT: u16 = 80;
/// The port of the first flow's client; each has two to itself.
const FIRST_CLIENT_PORT: u16 = 20_000;

/// A world before its first packet.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Decides every chance in the world.
    pub seed: u64,
    /// Which IP the hosts speak.
    pub family: Family,
    /// Who is there.
    pub hosts: Vec<HostPlan>,
    /// What carries their packets.
    pub lines: Vec<LinePlan>,
    /// Which lines a packet takes, one after the other, from one host to another.
    pub routes: BTreeMap<(usize, usize), Vec<usize>>,
    /// The connections that will be made.
    pub flows: Vec<Flow>,
    /// What is said besides, in datagrams and pings.
    pub talks: Vec<Talk>,
    /// What listeners give to the connections that they accept, until the program sets its own:
    /// window scale is agreed on before.
    pub listener: TcpOptions,
    /// When the lines become perfect, for a world that must come to its end.
    pub heals: Option<Instant>,
    /// When the world stops as it is, for one that is measured.
    pub until: Option<Instant>,
    /// Drivers read several packets before they let the stack answer, now and then.
    pub batches: bool,
}

/// A host.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Its stack's limits and defaults.
    pub config: Config,
    /// The largest packet of its link, in bytes.
    pub mtu: u16,
    /// Its link takes super-segments and vouches for checksums.
    pub offload: bool,
}

/// A line: one direction of a link.
#[derive(Clone, Debug)]
pub struct LinePlan {
    /// What it does to packets at first.
    pub impairment: Impairment,
    /// What it does later: path changes, black holes.
    pub changes: Vec<(Instant, Impairment)>,
    /// The largest packet that it takes from some time on, in bytes; before, one of any length. The router
    /// at its beginning cuts others, or says so ([`router`](super::router)).
    pub narrow: Vec<(Instant, u16)>,
}

/// A connection: two programs on two hosts.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Where the client is.
    pub client: usize,
    /// Where the server is.
    pub server: usize,
    /// When the client connects.
    pub start: Instant,
    /// The server connects, too, instead of accepting.
    pub simultaneous: bool,
    /// What each end does: the client, the server.
    pub plans: [Plan; 2],
    /// It was taken out: nobody connects.
    pub absent: bool,
}

impl Scenario {
    /// The addresses of a flow: the client's, the server's.
    #[must_use]
    pub fn addresses(&self, number: usize) -> Option<[SocketAddr; 2]> {
        let flow = self.flows.get(number)?;
        let port = FIRST_CLIENT_PORT.checked_add(u16::try_from(number * 2).ok()?)?;
        let server_port = if flow.simultaneous { port + 1 } else { PORT };
        Some([
            SocketAddr::new(host::address(self.family, flow.client), port),
            SocketAddr::new(host::address(self.family, flow.server), server_port),
        ])
    }

    /// Whether the server of a flow answers with SYN cookies. It then keeps nothing, so a
    /// handshake whose last ACK is lost or overtaken ends in a reset or in nothing, and an old ACK
    /// that comes again may open a connection again (RFC 4987 3.6). Nothing can be promised.
    #[must_use]
    pub fn has_cookies(&self) -> bool {
        self.hosts.iter().any(|host| host.config.syn_queue_limit <= 1)
    }
}

/// Which flow and which end of it (0 for the client) sends from one port to another.
#[must_use]
pub fn end_of(source_port: u16, destination_port: u16) -> Option<(usize, usize)> {
    let flow =
        |port: u16| port.checked_sub(FIRST_CLIENT_PORT).map(|offset| usize::from(offset / 2));
    match (flow(source_port), flow(destination_port)) {
        // A simultaneous open: the client's port is the even one.
        (Some(a), Some(b)) => (a == b).then_some((a, usize::from(source_port % 2))),
        (Some(flow), None) => Some((flow, 0)),
        (None, Some(flow)) => Some((flow, 1)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_tell_the_flow_and_its_end() {
        assert_eq!(end_of(20_000, 80), Some((0, 0)));
        assert_eq!(end_of(80, 20_006), Some((3, 1)));
        assert_eq!(end_of(20_006, 20_007), Some((3, 0)));
        assert_eq!(end_of(20_007, 20_006), Some((3, 1)));
        assert_eq!(end_of(20_007, 20_008), None);
        assert_eq!(end_of(80, 443), None);
    }
}
