//! DHCP for IPv4: an interface gets its address from a server (RFC 2131), and asks first whether
//! somebody else has it (RFC 5227).
//!
//! | place | holds |
//! |---|---|
//! | `client` | the state machine: what to ask, when, and what an answer means |
//! | this one | what carries it out: a UDP socket, ARP, addresses and routes |
//! | `news` | what the shard that asks tells the others |
//! | `resolvers` | the name servers that routers and DHCP servers of both families tell |

mod client;
mod news;
mod resolvers;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use wire::dhcpv4::{CLIENT_PORT, Message, SERVER_PORT};
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::{FrameBuf, TransmitMeta};
use wire::ip::Protocol;
use wire::time::{Duration, Instant};
use wire::{ipv4, udp};

use crate::UdpId;
use crate::config::DEFAULT_TTL;
use crate::error::Error;
use crate::ip::{InterfaceId, LinkHeader};
use crate::reason::{Dropped, Sent};
use crate::stack::Stack;
use crate::trace::What;
use crate::transmit::{Body, HeaderBuf, Packet};

use client::{Action, Client};
pub(crate) use news::News;
pub(crate) use resolvers::Resolvers;

/// How many changes wait to be fetched. The oldest are lost beyond that.
const CHANGES_LIMIT: usize = 64;

/// The longest message that is read, in bytes: what a packet of Ethernet holds.
const LONGEST_MESSAGE: usize = 1500;

/// What a server gave an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DhcpLease {
    /// The interface's address.
    pub address: Ipv4Addr,
    /// The length of its network's prefix in bits.
    pub prefix_len: u8,
    /// Routers, the best first.
    pub routers: Vec<Ipv4Addr>,
    /// DNS servers, the best first.
    pub dns_servers: Vec<Ipv4Addr>,
    /// The domain that completes names; empty for none.
    pub domain_name: String,
    /// What the server says that the link takes, in bytes. It is told and not followed: the link's own
    /// MTU counts.
    pub mtu: Option<u16>,
    /// The server.
    pub server: Ipv4Addr,
    /// For how long; `None` for ever.
    pub lease_time: Option<Duration>,
    /// T1: after which time the server is asked to prolong it.
    pub renew_after: Option<Duration>,
    /// T2: after which time any server is asked.
    pub rebind_after: Option<Duration>,
}

/// What became of an interface's lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhcpChange {
    /// Whose.
    pub interface: InterfaceId,
    /// What it has now, given or prolonged; `None` when it lost it.
    pub lease: Option<DhcpLease>,
}

/// The clients of a stack.
#[derive(Debug)]
pub(crate) struct Dhcp {
    /// What the clients send from; `None` where another shard has them.
    socket: Option<UdpId>,
    rng: ChaCha12Rng,
    links: Vec<Link>,
    /// Messages to everybody on a link.
    broadcasts: VecDeque<(InterfaceId, Message, Ipv4Addr)>,
    changes: VecDeque<DhcpChange>,
}

#[derive(Debug)]
struct Link {
    interface: InterfaceId,
    /// `None`: another shard has it, and tells what becomes of it.
    client: Option<Client>,
    lease: Option<DhcpLease>,
    /// What it took from the server and gives back.
    taken: Option<(Ipv4Addr, Option<Ipv4Addr>)>,
    /// It said that it needs the address no longer, and goes when that is sent.
    leaving: bool,
}

impl Dhcp {
    fn new(rng: &mut impl Rng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let (links, broadcasts, changes) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { socket: None, rng: ChaCha12Rng::from_seed(seed), links, broadcasts, changes }
    }
}

/// Addresses from a DHCP server.
impl Stack {
    /// Gets an address for `interface` from a DHCP server, with a route to its network and one through
    /// its routers (the first, and the others where it is dead), and keeps it for as long as the server prolongs it;
    /// [`Stack::poll_dhcp_change`] tells. The UDP port 68 is taken for that. Of several shards the one that
    /// owns the port asks, and tells the others: it is to be called on each of them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an interface that is no Ethernet link; [`Error::AddressInUse`] when
    /// somebody else has port 68.
    pub fn dhcp_start(&mut self, now: Instant, interface: InterfaceId) -> Result<(), Error> {
        self.shared.set_time(now);
        let hardware = self.interfaces.ethernet_address(interface).ok_or(Error::InvalidInput)?;
        let asks = self.steering.owns_udp_port(CLIENT_PORT);
        if asks && self.dhcp.as_ref().is_none_or(|dhcp| dhcp.socket.is_none()) {
            let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), CLIENT_PORT);
            let socket = self.udp_bind(local)?;
            self.dhcp_mut().socket = Some(socket);
        }
        self.interfaces.begin_configuring();
        let (probes, now) = (self.shared.config.dhcp_probes, self.shared.now);
        let links = &mut self.dhcp_mut().links;
        if links.iter().all(|link| link.interface != interface) {
            let client = asks.then(|| Client::new(hardware, probes, now));
            links.push(Link { interface, client, lease: None, taken: None, leaving: false });
        }
        Ok(())
    }

    /// Gives the address of `interface` back to its server and stops asking (RFC 2131 4.4.6). The address
    /// goes once that is sent. Of several shards it is the one that asks which does so, whatever is said
    /// to the others.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when no client runs there.
    pub fn dhcp_stop(&mut self, now: Instant, interface: InterfaceId) -> Result<(), Error> {
        self.shared.set_time(now);
        let now = self.shared.now;
        let dhcp = self.dhcp.as_mut().ok_or(Error::InvalidInput)?;
        let link = dhcp.links.iter_mut().find(|link| link.interface == interface);
        let link = link.ok_or(Error::InvalidInput)?;
        let Some(client) = &mut link.client else { return Ok(()) };
        link.leaving = true;
        if let Some(action) = client.release(now, &mut dhcp.rng) {
            self.carry_out(interface, action);
        }
        Ok(())
    }

    /// The same for every interface that has a client. [`Stack::is_releasing_leases`] tells how long that
    /// takes.
    pub fn dhcp_stop_all(&mut self, now: Instant) {
        let links = self.dhcp.iter().flat_map(|dhcp| &dhcp.links).filter(|link| !link.leaving);
        let interfaces: Vec<_> = links.map(|link| link.interface).collect();
        for interface in interfaces {
            // There is one: it was just found.
            let _ = self.dhcp_stop(now, interface);
        }
    }

    /// Whether some client gives its address back, and has not sent that yet.
    #[must_use]
    pub fn is_releasing_leases(&self) -> bool {
        self.dhcp.iter().flat_map(|dhcp| &dhcp.links).any(|link| link.leaving)
    }

    /// What the server gave `interface`, while it has it.
    #[must_use]
    pub fn dhcp_lease(&self, interface: InterfaceId) -> Option<&DhcpLease> {
        let links = &self.dhcp.as_ref()?.links;
        links.iter().find(|link| link.interface == interface)?.lease.as_ref()
    }

    /// The next change of a lease. Beyond 64 the oldest are lost.
    pub fn poll_dhcp_change(&mut self) -> Option<DhcpChange> {
        self.dhcp.as_mut()?.changes.pop_front()
    }

    /// The name servers that DHCP servers and routers told us of, each once: those of IPv4 first.
    #[must_use]
    pub fn dns_servers(&self) -> Vec<SocketAddr> {
        let links = self.dhcp.iter().flat_map(|dhcp| &dhcp.links);
        let leases = links.filter_map(|link| link.lease.as_ref());
        let v4 = leases.flat_map(|lease| &lease.dns_servers);
        let mut all: Vec<SocketAddr> = Vec::new();
        let v4 = v4.map(|&server| SocketAddr::new(server.into(), 53));
        for server in v4.chain(self.interfaces.resolvers.servers()) {
            if !all.contains(&server) {
                all.push(server);
            }
        }
        all
    }

    /// Fires the clients' timers.
    pub(crate) fn dhcp_timeout(&mut self) {
        let now = self.shared.now;
        self.for_each_client(|client, rng, actions| client.handle_timeout(now, rng, actions));
    }

    /// When [`Stack::dhcp_timeout`] has something to do.
    pub(crate) fn dhcp_due(&self) -> Option<Instant> {
        let clients = self.dhcp.as_ref()?.links.iter().filter_map(|link| link.client.as_ref());
        clients.filter_map(Client::due).min()
    }

    /// Looks at what came, and gives the next message for everybody on a link.
    pub(crate) fn next_dhcp_packet(&mut self, header: &mut HeaderBuf) -> Option<Packet> {
        self.dhcp.as_ref()?;
        self.read_dhcp_messages();
        self.look_for_conflicts();
        self.finish_leaving();
        let (interface, message, source) = self.dhcp.as_mut()?.broadcasts.pop_front()?;
        self.emit_broadcast(header, interface, &message, source)
    }

    fn read_dhcp_messages(&mut self) {
        let Some(socket) = self.dhcp.as_ref().and_then(|dhcp| dhcp.socket) else { return };
        let now = self.shared.now;
        let mut buffer = [0; LONGEST_MESSAGE];
        while let Ok((length, _)) = self.udp_receive_from(socket, &mut buffer) {
            match Message::parse(&buffer[..length]) {
                Ok(message) => self.for_each_client(|client, rng, actions| {
                    client.handle_message(now, rng, &message, actions);
                }),
                Err(_) => self.shared.drop_packet(None, Dropped::MalformedDhcp),
            }
        }
    }

    /// Whether an ARP packet showed that somebody else has an address that is asked about.
    fn look_for_conflicts(&mut self) {
        if !self.interfaces.probed.iter().any(|probed| probed.conflict) {
            return;
        }
        let now = self.shared.now;
        let taken: Vec<_> = self.interfaces.probed.iter().filter(|p| p.conflict).copied().collect();
        self.interfaces.probed.retain(|probed| !probed.conflict);
        self.for_each_client(|client, _, actions| {
            if taken.iter().any(|probed| Some(probed.address) == client.probed()) {
                client.handle_conflict(now, actions);
            }
        });
    }

    /// Whether a server lent `interface` the address.
    pub(crate) fn is_lent(&self, interface: InterfaceId, address: Ipv4Addr) -> bool {
        self.taken(interface).is_some_and(|(taken, _)| taken == address)
    }

    /// Somebody else goes on claiming `address`: where it was lent, it is given up for another. Whether it
    /// was.
    pub(crate) fn dhcp_address_claimed(
        &mut self,
        interface: InterfaceId,
        address: Ipv4Addr,
    ) -> bool {
        if !self.is_lent(interface, address) {
            return false;
        }
        let now = self.shared.now;
        self.for_each_client(|client, _, actions| {
            if client.lease().is_some_and(|lease| lease.address == address) {
                client.handle_conflict(now, actions);
            }
        });
        true
    }

    /// Who gave its address back goes when the message is on its way.
    fn finish_leaving(&mut self) {
        let Some(dhcp) = &self.dhcp else { return };
        let leaving: Vec<_> =
            dhcp.links.iter().filter(|link| link.leaving).map(|link| link.interface).collect();
        let sends = dhcp.socket.is_some_and(|socket| self.udp.is_sending(socket));
        if leaving.is_empty() || sends {
            return;
        }
        for interface in leaving {
            self.carry_out(interface, Action::Unbind);
            if let Some(dhcp) = &mut self.dhcp {
                dhcp.links.retain(|link| link.interface != interface);
            }
        }
    }

    fn for_each_client(
        &mut self,
        mut f: impl FnMut(&mut Client, &mut ChaCha12Rng, &mut Vec<Action>),
    ) {
        let Some(dhcp) = &mut self.dhcp else { return };
        let mut all = Vec::new();
        for link in dhcp.links.iter_mut().filter(|link| !link.leaving) {
            let Some(client) = &mut link.client else { continue };
            let mut actions = Vec::new();
            f(client, &mut dhcp.rng, &mut actions);
            all.extend(actions.into_iter().map(|action| (link.interface, action)));
        }
        all.into_iter().for_each(|(interface, action)| self.carry_out(interface, action));
    }

    fn carry_out(&mut self, interface: InterfaceId, action: Action) {
        let Some(dhcp) = &mut self.dhcp else { return };
        match action {
            Action::Broadcast(message, source) => {
                dhcp.broadcasts.push_back((interface, message, source));
            }
            Action::Unicast(message, server) => {
                let (Some(id), now) = (dhcp.socket, self.shared.now) else { return };
                let to = SocketAddr::new(server.into(), SERVER_PORT);
                // Without a way to the server it is asked again, or all are.
                let _ = self.udp_send_to(now, id, &message.to_bytes(), to);
            }
            Action::Probe(address) => self.interfaces.probe_v4(interface, address),
            Action::Bind(lease) => {
                self.tell_shards(&News::Lease(interface, Some(lease.clone())));
                self.bind_lease(interface, lease);
            }
            // The program may have the same address of its own.
            Action::Announce(address) if self.is_lent(interface, address) => {
                self.interfaces.announce_v4(interface, address);
            }
            Action::Announce(_) => {}
            Action::Unbind => {
                self.tell_shards(&News::Lease(interface, None));
                self.unbind_lease(interface);
            }
        }
    }

    /// What the server gave is ours.
    fn bind_lease(&mut self, interface: InterfaceId, lease: DhcpLease) {
        let router = lease.routers.first().copied();
        let taken = Some((lease.address, router));
        if self.taken(interface) != taken {
            self.give_back(interface);
            // The program may have given the interface the same address: then it stays the program's.
            if self.add_address(interface, lease.address.into(), lease.prefix_len).is_ok() {
                let routed = router.filter(|&r| self.set_gateway(interface, r.into()).is_ok());
                for other in lease.routers.iter().skip(1).filter(|_| routed.is_some()) {
                    // One that cannot be a gateway is no help, and no harm.
                    let _ = self.add_gateway(interface, (*other).into());
                }
                self.set_taken(interface, Some((lease.address, routed)));
            }
        }
        self.note_change(DhcpChange { interface, lease: Some(lease) });
    }

    fn unbind_lease(&mut self, interface: InterfaceId) {
        self.give_back(interface);
        self.note_change(DhcpChange { interface, lease: None });
    }

    fn give_back(&mut self, interface: InterfaceId) {
        if let Some((address, router)) = self.taken(interface) {
            if router.is_some() {
                let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                let _ = self.remove_route(interface, everywhere, 0);
            }
            let _ = self.remove_address(interface, address.into());
        }
        self.set_taken(interface, None);
    }

    fn taken(&self, interface: InterfaceId) -> Option<(Ipv4Addr, Option<Ipv4Addr>)> {
        self.dhcp.as_ref()?.links.iter().find(|link| link.interface == interface)?.taken
    }

    fn set_taken(&mut self, interface: InterfaceId, taken: Option<(Ipv4Addr, Option<Ipv4Addr>)>) {
        let links = self.dhcp.iter_mut().flat_map(|dhcp| &mut dhcp.links);
        links.filter(|link| link.interface == interface).for_each(|link| link.taken = taken);
    }

    fn note_change(&mut self, change: DhcpChange) {
        let Some(dhcp) = &mut self.dhcp else { return };
        let of_interface = dhcp.links.iter_mut().filter(|link| link.interface == change.interface);
        of_interface.for_each(|link| link.lease.clone_from(&change.lease));
        if dhcp.changes.len() >= CHANGES_LIMIT {
            dhcp.changes.pop_front();
        }
        dhcp.changes.push_back(change);
    }

    /// A packet to everybody on the link, from somebody who may have no address yet.
    fn emit_broadcast(
        &mut self,
        header: &mut HeaderBuf,
        interface: InterfaceId,
        message: &Message,
        source: Ipv4Addr,
    ) -> Option<Packet> {
        let ours = self.interfaces.ethernet_address(interface)?;
        let payload = message.to_bytes();
        let destination = Ipv4Addr::BROADCAST;
        let udp_header = udp::Header {
            source_port: CLIENT_PORT,
            destination_port: SERVER_PORT,
            payload_len: u16::try_from(payload.len()).unwrap_or(u16::MAX),
        };
        let mut datagram = alloc::vec![0; udp::HEADER_LEN];
        udp_header.emit(&mut datagram);
        datagram.extend_from_slice(&payload);
        udp::fill_checksum(source.into(), destination.into(), &mut datagram);
        let ip = ipv4::Header {
            source,
            destination,
            protocol: Protocol::UDP,
            ttl: self.shared.config.tcp.ttl.unwrap_or(DEFAULT_TTL),
            traffic_class: 0,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: u16::try_from(datagram.len()).unwrap_or(u16::MAX),
            options: ipv4::Options::NONE,
        };
        let link = LinkHeader::Ethernet { source: ours, destination: EthernetAddress::BROADCAST };
        let mut end = link.emit(&mut header.0, EtherType::IPV4);
        end += ip.emit(&mut header.0[end..]);
        let reason = Sent::Dhcp;
        self.shared.counters.count_sent(reason);
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let (source, destination) = (source.into(), destination.into());
        self.shared
            .trace(None, What::PacketOut { kind: "DHCP", source, destination, length, reason });
        let meta = TransmitMeta { comment: reason.comment(), ..TransmitMeta::default() };
        let body = Body::Frame(FrameBuf::from(datagram));
        Some(Packet { interface, header_len: end, body, meta })
    }
}
