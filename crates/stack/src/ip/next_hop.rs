//! The first step of a packet: the hardware address of its next hop, and who waits for that (RFC 1122 2.3.2).

use core::net::IpAddr;

use wire::ethernet::EthernetAddress;
use wire::time::Instant;

use crate::error::Error;
use crate::ip::interfaces::Interfaces;
use crate::ip::neighbor::{Key, Question, Waiter};
use crate::ip::output::{Envelope, LinkHeader};
use crate::ip::route::{Hop, Route};
use crate::shared::Shared;
use crate::transmit::{HeaderBuf, Packet};

impl Interfaces {
    /// The link header for a packet on its way by `hop`, by which others are known to have arrived last
    /// when `confirmed` says. `None`: the next hop is not known yet, and the waiter comes back by
    /// [`Interfaces::poll_resolved`]; with it comes where its packet is from.
    pub(crate) fn link_header(
        &mut self,
        shared: &mut Shared,
        hop: &Hop,
        confirmed: Instant,
        waiter: impl FnOnce() -> (IpAddr, Waiter),
    ) -> Option<LinkHeader> {
        let known = self.resolve_confirmed(shared, hop, confirmed);
        if known.is_none() {
            self.park(shared, hop, waiter());
        }
        known
    }

    /// The link header for a packet on its way by `hop`, or the start of a search for it;
    /// follow that with [`Interfaces::park`].
    pub(crate) fn resolve(&mut self, shared: &Shared, hop: &Hop) -> Option<LinkHeader> {
        self.resolve_confirmed(shared, hop, Instant::ZERO)
    }

    fn resolve_confirmed(
        &mut self,
        shared: &Shared,
        hop: &Hop,
        confirmed: Instant,
    ) -> Option<LinkHeader> {
        let Some(source) = self.ethernet_address(hop.interface) else {
            return Some(LinkHeader::None);
        };
        let group = match hop.next_hop {
            IpAddr::V4(v4) if self.is_broadcast_on(hop.interface, v4) => {
                Some(EthernetAddress::BROADCAST)
            }
            next_hop => EthernetAddress::of_group(next_hop),
        };
        let destination = match group {
            Some(group) => group,
            None => self.neighbors.look_up(shared, (hop.interface, hop.next_hop), confirmed)?,
        };
        Some(LinkHeader::Ethernet { source, destination })
    }

    /// Keeps a waiter, and where its packet is from, until `hop` is known.
    pub(crate) fn park(&mut self, shared: &mut Shared, hop: &Hop, waiter: (IpAddr, Waiter)) {
        let key: Key = (hop.interface, hop.next_hop);
        self.neighbors.park(shared, key, waiter);
    }

    /// Neighbours do not answer (RFC 4861 7.3.3): where they were on the way to others, there may be
    /// another way, which what waits for them tries.
    pub(super) fn look_for_other_ways(&mut self) {
        while let Some((key, is_given_up)) = self.neighbors.poll_silent() {
            let (interface, address) = key;
            let redirected = self.redirect_is_silent(interface, address);
            let advertised = match address {
                IpAddr::V6(router) => self.router_is_silent(interface, router),
                IpAddr::V4(_) => false,
            };
            if redirected || advertised || self.gateway_is_silent(interface, address) {
                self.neighbors.give_up(key, Ok(()));
            } else if is_given_up {
                self.neighbors.give_up(key, Err(Error::HostUnreachable));
            }
        }
    }

    /// The next question about a neighbour.
    pub(super) fn next_question(
        &mut self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        while let Some(Question { neighbor: (interface, target), to, from }) =
            self.neighbors.next_question()
        {
            let packet = match target {
                IpAddr::V4(v4) => self.arp_question(shared, header, (interface, v4), to),
                IpAddr::V6(v6) => self.solicitation(shared, header, (interface, v6), (to, from)),
            };
            if packet.is_some() {
                return packet;
            }
        }
        None
    }

    /// An identification field for a packet that may be fragmented on its way.
    pub(crate) fn identification(&mut self, route: &Route, destination: IpAddr) -> u16 {
        // The lower half; IPv6 has the field only in fragments.
        if destination.is_ipv4() {
            self.identifications.next(route.source, destination) as u16
        } else {
            0
        }
    }

    /// What the pieces of a datagram have in common.
    pub(super) fn identify(&mut self, envelope: &Envelope) -> u32 {
        match envelope.identification {
            0 => self.identifications.next(envelope.source, envelope.destination),
            known => u32::from(known),
        }
    }
}
