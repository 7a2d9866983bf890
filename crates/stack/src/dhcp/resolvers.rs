//! Name servers of IPv6: those that routers advertise (RFC 8106), and those that a DHCP server tells a
//! host that makes its addresses itself (stateless DHCPv6: RFC 8415 6.1 and 18.2.6, RFC 3646).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use rand_core::Rng;
use wire::dhcpv6::{self, CLIENT_PORT, Message, MessageType, SERVER_PORT, option};
use wire::ethernet::EthernetAddress;
use wire::time::{Duration, Instant};

use super::News;
use crate::UdpId;
use crate::ip::{InterfaceId, with_scope};
use crate::reason::Dropped;
use crate::stack::Stack;

/// How many name servers are kept, in all: programs ask three at the most (`resolv.conf(5)`), and whoever
/// advertises more wants to fill tables.
const LIMIT: usize = 8;

/// Waits of an information-request (RFC 8415 7.6, INF_TIMEOUT and INF_MAX_RT).
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How long an answer is good that does not say so, and at least (RFC 8415 7.6, IRT_DEFAULT and
/// IRT_MINIMUM).
const REFRESH: Duration = Duration::from_secs(86_400);
const LEAST_REFRESH: Duration = Duration::from_secs(600);

/// All servers and relays on the link (RFC 8415 7.1).
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// The longest message that is read, in bytes.
const LONGEST_MESSAGE: usize = 1500;

/// The name servers that we were told of.
#[derive(Debug, Default)]
pub(crate) struct Resolvers {
    known: Vec<Known>,
    requests: Vec<Request>,
    /// Links of which a router says that a DHCP server knows more.
    to_ask: VecDeque<InterfaceId>,
    socket: Option<UdpId>,
}

#[derive(Debug)]
struct Known {
    interface: InterfaceId,
    server: Ipv6Addr,
    until: Option<Instant>,
    by_dhcp: bool,
}

/// A question to the DHCP servers of a link.
#[derive(Debug)]
struct Request {
    interface: InterfaceId,
    transaction: u32,
    began: Instant,
    wait: Duration,
    due: Instant,
    answered: bool,
}

impl Resolvers {
    /// A router advertises a name server, for `lifetime`; `None` is for ever, zero takes it back (RFC
    /// 8106 5.1).
    pub(crate) fn advertised(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        server: Ipv6Addr,
        lifetime: Option<Duration>,
    ) {
        self.learn(interface, server, lifetime.map(|time| now.after(time)), false);
        self.expire(now);
    }

    /// A router says that a DHCP server knows more (RFC 4861 4.2, the O flag).
    pub(crate) fn other_configuration(&mut self, interface: InterfaceId) {
        let asked = self.requests.iter().any(|request| request.interface == interface);
        if !asked && !self.to_ask.contains(&interface) {
            self.to_ask.push_back(interface);
        }
    }

    /// A DHCP server told these for an interface, and no others any more.
    pub(super) fn told(&mut self, interface: InterfaceId, servers: &[Ipv6Addr], until: Instant) {
        self.known.retain(|known| !(known.by_dhcp && known.interface == interface));
        for &server in servers {
            self.learn(interface, server, Some(until), true);
        }
    }

    /// The servers, as a program sends to them.
    pub(super) fn servers(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let address = |known: &Known| {
            with_scope(SocketAddr::new(IpAddr::V6(known.server), 53), known.interface)
        };
        self.known.iter().map(address)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let requests = self.requests.iter().map(|request| request.due);
        requests.chain(self.known.iter().filter_map(|known| known.until)).min()
    }

    fn expire(&mut self, now: Instant) {
        self.known.retain(|known| known.until.is_none_or(|until| until > now));
    }

    fn learn(
        &mut self,
        interface: InterfaceId,
        server: Ipv6Addr,
        until: Option<Instant>,
        by_dhcp: bool,
    ) {
        let is_it = |known: &&mut Known| (known.interface, known.server) == (interface, server);
        if let Some(known) = self.known.iter_mut().find(is_it) {
            known.until = until;
        } else if self.known.len() < LIMIT && !server.is_multicast() && !server.is_unspecified() {
            self.known.push(Known { interface, server, until, by_dhcp });
        }
    }
}

impl Stack {
    /// What is due of the questions to DHCP servers of IPv6.
    pub(crate) fn resolvers_timeout(&mut self) {
        let now = self.shared.now;
        let resolvers = &mut self.interfaces.resolvers;
        resolvers.expire(now);
        let due = resolvers.requests.iter_mut().filter(|request| request.due <= now);
        let due: Vec<_> = due.map(|request| request.interface).collect();
        due.into_iter().for_each(|interface| self.ask_for_information(interface));
    }

    pub(crate) fn resolvers_due(&self) -> Option<Instant> {
        self.interfaces.resolvers.due()
    }

    /// Begins what routers ask for, and looks at what came.
    pub(crate) fn work_on_resolvers(&mut self) {
        while let Some(interface) = self.interfaces.resolvers.to_ask.pop_front() {
            self.begin_request(interface);
        }
        let Some(socket) = self.interfaces.resolvers.socket else { return };
        let mut buffer = [0; LONGEST_MESSAGE];
        while let Ok((length, _)) = self.udp_receive_from(socket, &mut buffer) {
            match Message::parse(&buffer[..length]) {
                Ok(message) => self.information_arrives(&message),
                Err(_) => self.shared.drop_packet(None, Dropped::MalformedDhcp),
            }
        }
    }

    fn begin_request(&mut self, interface: InterfaceId) {
        if self.interfaces.resolvers.socket.is_none() {
            let local = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), CLIENT_PORT);
            // The program has the port, and sees to it; or another shard, which tells what it hears.
            let Ok(socket) = self.udp_bind(local) else { return };
            self.interfaces.resolvers.socket = Some(socket);
        }
        let rng = self.interfaces.discovery_rng();
        // 24 bits; and a random time of up to a second before the first (RFC 8415 18.2.6).
        let transaction = rng.next_u32() & 0xff_ffff;
        let delay = Duration::from_micros(rng.next_u64() % 1_000_000);
        let now = self.shared.now;
        let due = now.after(delay);
        let (began, wait, answered) = (due, FIRST_WAIT, false);
        let request = Request { interface, transaction, began, wait, due, answered };
        self.interfaces.resolvers.requests.push(request);
    }

    fn ask_for_information(&mut self, interface: InterfaceId) {
        let now = self.shared.now;
        let factor = 900 + (self.interfaces.discovery_rng().next_u64() % 201) as u32;
        let hardware = self.interfaces.ethernet_address(interface);
        let resolvers = &mut self.interfaces.resolvers;
        let is_it = |request: &&mut Request| request.interface == interface;
        let Some(request) = resolvers.requests.iter_mut().find(is_it) else { return };
        if request.answered {
            (request.answered, request.began, request.wait) = (false, now, FIRST_WAIT);
        }
        // RFC 8415 15: twice as long each time, a tenth more or less.
        request.due = now.after(request.wait * factor / 1000);
        request.wait = (request.wait * 2).min(LONGEST_WAIT);
        let message = information_request(request, hardware, now);
        let Some(socket) = resolvers.socket else { return };
        let to = with_scope(SocketAddr::new(IpAddr::V6(ALL_SERVERS), SERVER_PORT), interface);
        // Without an address yet it is asked again.
        let _ = self.udp_send_to(now, socket, &message.to_bytes(), to);
    }

    fn information_arrives(&mut self, message: &Message) {
        let now = self.shared.now;
        let resolvers = &mut self.interfaces.resolvers;
        let is_it = |r: &&mut Request| r.transaction == message.transaction && !r.answered;
        let asked = resolvers.requests.iter_mut().find(is_it);
        let Some(request) = asked.filter(|_| message.kind == MessageType::REPLY) else { return };
        if message.status.as_ref().is_some_and(|status| status.code != 0) {
            return;
        }
        let refresh = message.refresh_time.map_or(REFRESH, |s| Duration::from_secs(s.into()));
        request.answered = true;
        request.due = now.after(refresh.max(LEAST_REFRESH));
        let (interface, until) = (request.interface, request.due.after(LEAST_REFRESH));
        resolvers.told(interface, &message.dns_servers, until);
        let servers = message.dns_servers.iter().copied().take(LIMIT).collect();
        self.tell_shards(&News::Resolvers(interface, servers, until.since(now)));
    }
}

fn information_request(
    request: &Request,
    hardware: Option<EthernetAddress>,
    now: Instant,
) -> Message {
    // RFC 8415 11.4: by the link-layer address.
    let identifier = hardware.map(|address| [&[0, 3, 0, 1][..], &address.0].concat());
    let elapsed = now.since(request.began).as_millis() / 10;
    dhcpv6::Message {
        kind: MessageType::INFORMATION_REQUEST,
        transaction: request.transaction,
        client_identifier: identifier.unwrap_or_default(),
        requested: [option::DNS_SERVERS, option::INFORMATION_REFRESH_TIME, option::INF_MAX_RT]
            .to_vec(),
        elapsed: Some(u16::try_from(elapsed).unwrap_or(u16::MAX)),
        ..Message::default()
    }
}
