//! The way to a host: packets that come one step further each time, and who says that they ended there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use stack::{IcmpReport, PingId, SocketId, UdpOptions};
use wire::time::Instant;

use crate::Stack;
use crate::datagram::Datagrams;
use crate::socket::Socket;
use crate::wait::Side;

/// The port of the first UDP probe, where nobody is expected to listen; each further one is at the next
/// (`traceroute(8)`).
const FIRST_PORT: u16 = 33_434;

/// What is sent in a probe, in bytes: with its headers 60 over IPv4, as `traceroute(8)` does.
const PAYLOAD: [u8; 32] = [b'@'; 32];

/// With what a way is explored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ProbeKind {
    /// Datagrams to ports that nobody listens at; the host says so.
    #[default]
    Udp,
    /// Echo requests; the host answers.
    Echo,
}

/// How a way is explored.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// With what.
    pub kind: ProbeKind,
    /// How many steps at most: 30, as everybody has it.
    pub max_hops: u8,
    /// How many probes for each step: 3.
    pub probes: u8,
    /// How long to wait for an answer to each: 2 s.
    pub wait: Duration,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self { kind: ProbeKind::Udp, max_hops: 30, probes: 3, wait: Duration::from_secs(2) }
    }
}

/// One step of a way: what the probes with one TTL met.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Hop {
    /// The TTL, or hop limit, of its probes.
    pub ttl: u8,
    /// What became of each; `None` where nobody answered in time.
    pub answers: Vec<Option<HopAnswer>>,
}

/// Who answered a probe.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HopAnswer {
    /// The router, or the host itself.
    pub from: IpAddr,
    /// From sending the probe to receiving the answer.
    pub round_trip: Duration,
    /// The way ends here: at the host, or where it cannot be reached any further.
    pub end: Option<TraceEnd>,
}

/// How a way ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceEnd {
    /// At the host.
    Reached,
    /// Somebody says that it cannot be reached.
    Unreachable,
}

impl Hop {
    /// Whether any answer says that the way ends here.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.answers.iter().flatten().any(|answer| answer.end.is_some())
    }
}

impl Stack {
    /// Explores the way to `address`: `each` gets a step as soon as it is known, up to the last one, at
    /// which it ends. Whether the host was reached. Blocks.
    ///
    /// ```
    /// # let (end, _other) = link::pair(link::PairConfig::ip(1500))?;
    /// # let stack = estab::Stack::builder().address([10, 0, 0, 1], 24).start(end)?;
    /// let reached = stack.traceroute([10, 0, 0, 1].into(), &Default::default(), |hop| {
    ///     println!("{} {:?}", hop.ttl, hop.answers);
    /// })?;
    /// assert!(reached);
    /// # stack.stop();
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `NetworkUnreachable` without a route, `NetworkDown` when the stack has ended.
    pub fn traceroute(
        &self,
        address: IpAddr,
        options: &TraceOptions,
        mut each: impl FnMut(&Hop),
    ) -> io::Result<bool> {
        let mut number = 0;
        let mut echo = match options.kind {
            ProbeKind::Echo => Some(EchoProbes::open(self)?),
            ProbeKind::Udp => None,
        };
        for ttl in 1..=options.max_hops.max(1) {
            let mut answers = Vec::new();
            for _ in 0..options.probes.max(1) {
                let answer = match &mut echo {
                    Some(echo) => echo.probe(address, ttl, number, options.wait)?,
                    None => udp_probe(self, address, ttl, number, options.wait)?,
                };
                answers.push(answer);
                number = number.wrapping_add(1);
            }
            let hop = Hop { ttl, answers };
            each(&hop);
            if hop.is_last() {
                let reached = |answer: &HopAnswer| answer.end == Some(TraceEnd::Reached);
                return Ok(hop.answers.iter().flatten().any(reached));
            }
        }
        Ok(false)
    }
}

/// Echo requests of one socket, told apart by their sequence numbers.
struct EchoProbes {
    socket: Socket,
    id: PingId,
}

impl EchoProbes {
    fn open(stack: &Stack) -> io::Result<Self> {
        let (socket, id) =
            Socket::open(stack.hold(None), SocketId::Ping, |core, _| core.ping_open(None))?;
        Ok(Self { socket, id })
    }

    fn probe(
        &mut self,
        address: IpAddr,
        ttl: u8,
        sequence: u16,
        wait: Duration,
    ) -> io::Result<Option<HopAnswer>> {
        let id = self.id;
        let sent = self.socket.call(|core, now| {
            core.ping_set_ttl(id, ttl)?;
            core.ping_send(now, id, address, sequence, &PAYLOAD)?;
            Ok(now)
        })?;
        let deadline = std::time::Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let receive = |core: &mut stack::Stack, _| core.ping_receive(id);
            let Some(reply) = self.socket.block_for(Side::Read, Some(left), receive) else {
                return Ok(None);
            };
            let reply = reply?;
            // A late answer to an earlier probe is not this one's.
            if reply.sequence != sequence {
                continue;
            }
            let round_trip = reply.received.since(sent);
            return Ok(match (reply.error, reply.report) {
                (None, _) => {
                    let end = Some(TraceEnd::Reached);
                    Some(HopAnswer { from: reply.source, round_trip, end })
                }
                (Some(_), Some(report)) => Some(answer(&report, address, round_trip)),
                // The next hop itself is silent.
                (Some(_), None) => None,
            });
        }
    }
}

/// A datagram of a socket of its own, so that the answer cannot be another's.
fn udp_probe(
    stack: &Stack,
    address: IpAddr,
    ttl: u8,
    number: u16,
    wait: Duration,
) -> io::Result<Option<HopAnswer>> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = Datagrams::bind(stack, SocketAddr::new(any, 0), UdpOptions::default())?;
    probe.set_ttl(ttl.into())?;
    probe.connect(SocketAddr::new(address, FIRST_PORT.wrapping_add(number).max(1)))?;
    let mut sent = Instant::ZERO;
    probe.socket.call(|core, now| {
        sent = now;
        probe.send(&PAYLOAD, None)(core, now)
    })?;
    let mut buffer = [0; 64];
    let mut came = Instant::ZERO;
    let mut receive = probe.receive(&mut buffer);
    let stamped = |core: &mut stack::Stack, now| {
        came = now;
        receive(core, now)
    };
    let Some(outcome) = probe.socket.block_for(Side::Read, Some(wait), stamped) else {
        return Ok(None);
    };
    let round_trip = came.since(sent);
    if outcome.is_ok() {
        let end = Some(TraceEnd::Reached);
        return Ok(Some(HopAnswer { from: address, round_trip, end }));
    }
    let report = probe.socket.call(|core, _| core.udp_take_report(probe.id()))?;
    Ok(report.map(|report| answer(&report, address, round_trip)))
}

/// What an ICMP error about a probe says.
fn answer(report: &IcmpReport, address: IpAddr, round_trip: Duration) -> HopAnswer {
    let refused = report.error == stack::Error::ConnectionRefused;
    let end = match report.expired {
        true => None,
        false if refused && report.from == address => Some(TraceEnd::Reached),
        false => Some(TraceEnd::Unreachable),
    };
    HopAnswer { from: report.from, round_trip, end }
}
