//! Keeping an address of IPv4 that somebody else claims (RFC 5227 2.4).
//!
//! What a forged packet could take away would be nobody's for long, so an address that the program gave is
//! defended for as long as it is claimed (2.4 (c)); one that a DHCP server lent is given up when saying
//! once that it is ours did not help (2.4 (b)), for another.

use core::net::Ipv4Addr;

use wire::arp;
use wire::ethernet::EthernetAddress;
use wire::time::{Duration, Instant};

use crate::event::AddressFate;
use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;
use crate::shared::Shared;
use crate::stack::Stack;

/// How long an address is not defended again (RFC 5227 1.1, DEFEND_INTERVAL): two hosts that both keep it
/// do not fill the link.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// An address of ours that was defended a short while ago.
#[derive(Debug)]
pub(super) struct Defended {
    interface: InterfaceId,
    address: Ipv4Addr,
    at: Instant,
}

impl Interfaces {
    /// An ARP packet came in which somebody claims to be us. We say that the address is ours, unless
    /// we just did; where another shard received it, that one `speaks`.
    pub(super) fn address_claimed(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        ours: EthernetAddress,
        packet: &arp::Packet,
        speaks: bool,
    ) {
        let address = packet.sender_protocol;
        if packet.sender_hardware == ours || !self.has_address(interface, address.into()) {
            return;
        }
        let now = shared.now;
        self.defended.retain(|defended| now.since(defended.at) < DEFEND_INTERVAL);
        let is_it = |other: &Defended| (other.interface, other.address) == (interface, address);
        if self.defended.iter().any(is_it) {
            if !self.contested.contains(&(interface, address)) {
                self.contested.push((interface, address));
            }
            return;
        }
        self.defended.push(Defended { interface, address, at: now });
        self.autoconf.note(interface, address.into(), AddressFate::Claimed);
        if speaks {
            self.announce_v4(interface, address);
        }
    }

    fn note_lost(&mut self, interface: InterfaceId, address: Ipv4Addr) {
        self.defended.retain(|other| (other.interface, other.address) != (interface, address));
        self.autoconf.note(interface, address.into(), AddressFate::Duplicate);
    }
}

impl Stack {
    /// What others claim again and again is given up, where it is to be: first the connections from it are
    /// reset (RFC 5227 2.4), and it goes when that is sent.
    pub(crate) fn abandon_contested(&mut self) {
        while let Some((interface, address)) = self.interfaces.contested.pop() {
            let gives_up = self.is_lent(interface, address) || self.shared.config.give_up_addresses;
            if gives_up && !self.interfaces.abandoned.contains(&(interface, address)) {
                self.tcp.reset_all_from(&mut self.shared, address.into());
                self.interfaces.abandoned.push((interface, address));
            }
        }
    }

    /// Takes away what is given up: all that was to be sent from it is on its way.
    pub(crate) fn remove_abandoned(&mut self) {
        while let Some((interface, address)) = self.interfaces.abandoned.pop() {
            if self.dhcp_address_claimed(interface, address)
                || self.remove_address(interface, address.into()).is_ok()
            {
                self.interfaces.note_lost(interface, address);
            }
        }
    }
}
