//! Duplicate address detection: an address is ours once nobody else turned out to have it (RFC 4862 5.4,
//! RFC 7527).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use rand_core::Rng;
use wire::ipv6;
use wire::ndp::{self, Header, NdpOption};
use wire::time::Instant;

use crate::event::AddressFate;
use crate::ip::InterfaceId;
use crate::ip::addresses::{AddressState, Assigned};
use crate::ip::autoconf::{LINK_LOCAL, Lease, MAX_DELAY};
use crate::ip::interfaces::Interfaces;
use crate::ip::ndp::{Message, message};
use crate::ip::source_filter::Filter;
use crate::reason::Sent;
use crate::shared::Shared;

/// How often another address is tried where one was taken (RFC 7217 7, IDGEN_RETRIES).
const MAX_RETRIES: u8 = 3;

/// An address that is asked for whether somebody else has it (RFC 4862 5.4).
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) interface: InterfaceId,
    pub(super) address: Ipv6Addr,
    pub(super) sent: u8,
    pub(super) due: Instant,
    /// Tells our own question from another's (RFC 7527 4.1).
    pub(super) nonce: [u8; 6],
}

impl Interfaces {
    /// What a new address is at first: on Ethernet perhaps somebody else's.
    pub(super) fn first_state(
        &self,
        shared: &Shared,
        interface: InterfaceId,
        address: IpAddr,
    ) -> AddressState {
        let asks = shared.config.duplicate_address_probes > 0
            && address.is_ipv6()
            && self.ethernet_address(interface).is_some();
        if asks { AddressState::Tentative } else { AddressState::Preferred }
    }

    /// An address was added: its group is joined, it is asked for, and it gets a link-local one beside
    /// it (RFC 4291 2.8).
    pub(super) fn address_added(&mut self, shared: &Shared, id: InterfaceId, added: Assigned) {
        let IpAddr::V6(address) = added.address else { return };
        if self.ethernet_address(id).is_none() {
            return;
        }
        self.autoconf.active = true;
        self.autoconf.groups.came_or_went(shared, id, ipv6::solicited_node(address).into());
        if added.state == AddressState::Tentative {
            let mut nonce = [0; 6];
            self.autoconf.random.fill_bytes(&mut nonce);
            let probe = Probe { interface: id, address, sent: 0, due: shared.now, nonce };
            self.autoconf.probes.push(probe);
        }
        if self.link_local(id).is_none() {
            // Without room for it the interface does without: there are 64 addresses already.
            let _ = self.make_address(shared, id, LINK_LOCAL, 0);
        }
        if added.state != AddressState::Tentative {
            self.address_ready(shared, id, address);
        }
    }

    /// An address was taken away, and with it all that was to become of it.
    pub(super) fn address_removed(&mut self, shared: &Shared, id: InterfaceId, address: IpAddr) {
        let IpAddr::V6(address) = address else { return };
        let autoconf = &mut self.autoconf;
        autoconf.probes.retain(|probe| (probe.interface, probe.address) != (id, address));
        autoconf.leases.retain(|lease| (lease.interface, lease.address) != (id, address));
        let group = ipv6::solicited_node(address).into();
        if self.ethernet_address(id).is_some() && self.group_filter(id, group) != Filter::EVERYBODY
        {
            self.autoconf.groups.came_or_went(shared, id, group);
        }
    }

    /// RFC 4862 5.4.5: the address is somebody else's.
    pub(super) fn duplicate_found(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        address: Ipv6Addr,
    ) {
        let is_it = |lease: &&Lease| (lease.interface, lease.address) == (interface, address);
        let made = self.autoconf.leases.iter().find(is_it);
        let made = made.map(|lease| {
            let lifetimes = (lease.preferred_until, lease.valid_until);
            (lease.prefix, lease.retries, lifetimes, lease.temporary.is_some())
        });
        if self.remove_address(shared, interface, address.into()).is_err() {
            return;
        }
        self.autoconf.note(interface, address.into(), AddressFate::Duplicate);
        match made.filter(|(_, tried, ..)| *tried < MAX_RETRIES) {
            Some((prefix, tried, lifetimes, true)) => {
                // RFC 8981 3.4, step 7; without room for another there is none.
                let _ = self.make_temporary(shared, interface, prefix, lifetimes, tried + 1);
            }
            Some((prefix, tried, lifetimes, false)) => {
                if let Ok(next) = self.make_address(shared, interface, prefix, tried + 1) {
                    self.autoconf.set_lifetimes(interface, next, lifetimes);
                }
            }
            None => {}
        }
    }

    /// The address is ours now.
    pub(super) fn address_ready(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        address: Ipv6Addr,
    ) {
        self.autoconf.note(interface, address.into(), AddressFate::Ready);
        if address.is_unicast_link_local() {
            self.tell_groups_v6(shared, interface);
            let due = self.autoconf.soon(shared.now, MAX_DELAY);
            if let Some(link) = self.autoconf.link_mut(interface) {
                link.solicitation = Some((0, due));
            }
        }
    }

    /// RFC 4862 5.4.2: asks once more, or takes the address because nobody answered.
    pub(super) fn probe_again(&mut self, shared: &Shared) {
        let now = shared.now;
        // RFC 4862 5.1: RetransTimer, which routers may set.
        let wait = self.neighbors.retransmit_time;
        let mut over = Vec::new();
        for probe in &mut self.autoconf.probes {
            if probe.due > now {
                continue;
            }
            if probe.sent >= shared.config.duplicate_address_probes {
                over.push((probe.interface, probe.address));
                continue;
            }
            (probe.sent, probe.due) = (probe.sent + 1, now.after(wait));
            if self.autoconf.silent {
                continue;
            }
            let (source, destination) =
                (Ipv6Addr::UNSPECIFIED, ipv6::solicited_node(probe.address));
            let question = Header::NeighborSolicitation { target: probe.address };
            let nonce = NdpOption::Nonce(&probe.nonce);
            self.discovery.push_back(Message {
                interface: probe.interface,
                source,
                destination,
                hop_limit: ndp::HOP_LIMIT,
                router_alert: false,
                bytes: message(question, Some(nonce), source, destination),
                kind: "ICMPv6 neighbour solicitation",
                reason: Sent::AddressProbe,
            });
        }
        for (interface, address) in over {
            let is_it = |probe: &Probe| (probe.interface, probe.address) == (interface, address);
            self.autoconf.probes.retain(|probe| !is_it(probe));
            self.set_state(interface, address.into(), AddressState::Preferred);
            self.address_ready(shared, interface, address);
        }
    }
}
