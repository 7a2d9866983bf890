//! Duplicate address detection: an address is ours once nobody else turned out to have it (RFC 4862 5.4,
//! RFC 7527).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use rand_core::Rng;
use wire::ipv6;
use wire::ndp::{self, Header, NdpOption};
use wire::time::{Duration, Instant};

use crate::event::AddressFate;
use crate::ip::InterfaceId;
use crate::ip::addresses::{AddressState, Assigned};
use crate::ip::autoconf::{LINK_LOCAL, Lease};
use crate::ip::interfaces::Interfaces;
use crate::ip::ndp::{Message, message};
use crate::ip::source_filter::Filter;
use crate::reason::Sent;
use crate::shared::Shared;

/// How often another address is tried where one was taken (RFC 7217 7, IDGEN_RETRIES).
const MAX_RETRIES: u8 = 3;

/// How long the next one waits, at most (RFC 7217 7, IDGEN_DELAY).
const IDGEN_DELAY: Duration = Duration::from_secs(1);

/// An address that is asked for whether somebody else has it (RFC 4862 5.4).
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) interface: InterfaceId,
    pub(super) address: Ipv6Addr,
    pub(super) sent: u8,
    /// How long its first message waits, from the turn on that finds it due: a program's command, which
    /// may have made it, has no time.
    pub(super) wait: Duration,
    /// When it is asked for, for the first time or again, or is ours.
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

    /// An address was added: its group is joined, as soon as it is asked for, and it gets a link-local one
    /// beside it (RFC 4291 2.8).
    pub(super) fn address_added(&mut self, shared: &Shared, id: InterfaceId, added: Assigned) {
        let IpAddr::V6(address) = added.address else { return };
        if self.ethernet_address(id).is_none() {
            return;
        }
        self.autoconf.active = true;
        if added.state != AddressState::Tentative {
            self.autoconf.groups.came_or_went(shared, id, ipv6::solicited_node(address).into());
        } else {
            let mut nonce = [0; 6];
            self.autoconf.random.fill_bytes(&mut nonce);
            let (wait, due) = (Duration::ZERO, shared.now);
            let probe = Probe { interface: id, address, sent: 0, wait, due, nonce };
            self.autoconf.probes.push(probe);
        }
        if self.link_local(id).is_none() {
            // Without room for it the interface does without: there are 64 addresses already.
            let _ = self.make_address(shared, id, LINK_LOCAL, 0, Duration::ZERO);
        }
        if added.state != AddressState::Tentative {
            self.address_ready(shared, id, address);
        }
    }

    /// An address was taken away, and with it all that was to become of it.
    pub(super) fn address_removed(&mut self, shared: &Shared, id: InterfaceId, address: IpAddr) {
        let IpAddr::V6(address) = address else { return };
        let autoconf = &mut self.autoconf;
        let is_it = |probe: &Probe| (probe.interface, probe.address) == (id, address);
        // Nobody was told of the group of an address that was not asked for yet.
        let was_told = !autoconf.probes.iter().any(|probe| is_it(probe) && probe.sent == 0);
        autoconf.probes.retain(|probe| !is_it(probe));
        autoconf.leases.retain(|lease| (lease.interface, lease.address) != (id, address));
        let group = ipv6::solicited_node(address).into();
        let is_left = self.group_filter(id, group) != Filter::EVERYBODY;
        if was_told && self.ethernet_address(id).is_some() && is_left {
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
                let tries = (tried + 1, IDGEN_DELAY);
                let _ = self.make_temporary(shared, interface, prefix, lifetimes, tries);
            }
            Some((prefix, tried, lifetimes, false)) => {
                let next = self.make_address(shared, interface, prefix, tried + 1, IDGEN_DELAY);
                if let Ok(next) = next {
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
            let due = self.autoconf.soon(shared.now, shared.config.solicitation_delay);
            if let Some(link) = self.autoconf.link_mut(interface) {
                // RFC 4861 6.3.7: no second wait.
                let due = if link.has_waited { shared.now } else { due };
                link.solicitation = Some((0, due));
            }
        }
    }

    /// RFC 4862 5.4.2: the first message about an address waits; then its group is joined, and it is asked
    /// for. What comes for the group before that is heard all the same.
    pub(super) fn begin_probing(&mut self, shared: &Shared) {
        let autoconf = &mut self.autoconf;
        let is_due = |probe: &&mut Probe| probe.sent == 0 && probe.due <= shared.now;
        for probe in autoconf.probes.iter_mut().filter(is_due) {
            let wait = core::mem::take(&mut probe.wait);
            if !wait.is_zero() {
                probe.due = shared.now.after(wait);
                continue;
            }
            let group = ipv6::solicited_node(probe.address).into();
            autoconf.groups.came_or_went(shared, probe.interface, group);
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
