//! Whether somebody else has an address of IPv4, and saying that we have it (RFC 5227 2.1 and 2.3).

use core::net::Ipv4Addr;

use rand_core::Rng;
use wire::arp::{self, Operation};
use wire::ethernet::EthernetAddress;

use crate::ip::InterfaceId;
use crate::ip::arp::ArpReply;
use crate::ip::interfaces::Interfaces;

/// An address that is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probed {
    interface: InterfaceId,
    pub(crate) address: Ipv4Addr,
    /// Somebody else has it, or asks about it, too.
    pub(crate) conflict: bool,
}

impl Interfaces {
    /// Asks who has `address`, as somebody who has none (RFC 5227 2.1.1).
    pub(crate) fn probe_v4(&mut self, interface: InterfaceId, address: Ipv4Addr) {
        self.probed.retain(|probed| (probed.interface, probed.address) != (interface, address));
        self.probed.push(Probed { interface, address, conflict: false });
        self.push_question(interface, Ipv4Addr::UNSPECIFIED, address);
    }

    /// Says that we have `address` (RFC 5227 2.3).
    pub(crate) fn announce_v4(&mut self, interface: InterfaceId, address: Ipv4Addr) {
        self.probed.retain(|probed| (probed.interface, probed.address) != (interface, address));
        self.push_question(interface, address, address);
    }

    /// What an ARP packet says of the addresses that are asked about (RFC 5227 2.1.1): its sender has
    /// one, or asks about it as we do.
    pub(super) fn note_probed(&mut self, interface: InterfaceId, packet: &arp::Packet) {
        let Some(ours) = self.ethernet_address(interface) else { return };
        if packet.sender_hardware == ours {
            return;
        }
        for probed in self.probed.iter_mut().filter(|probed| probed.interface == interface) {
            let has = packet.sender_protocol == probed.address;
            let asks = packet.operation == Operation::REQUEST
                && packet.sender_protocol.is_unspecified()
                && packet.target_protocol == probed.address;
            probed.conflict |= has || asks;
        }
    }

    /// Whether the stack gets addresses or name servers by itself.
    pub(crate) fn is_configuring(&self) -> bool {
        self.autoconf.is_active()
    }

    /// It does from now on.
    pub(crate) fn begin_configuring(&mut self) {
        self.autoconf.active = true;
    }

    /// Where the random numbers of discovery come from.
    pub(crate) fn discovery_rng(&mut self) -> &mut impl Rng {
        &mut self.autoconf.random
    }

    fn push_question(&mut self, interface: InterfaceId, sender: Ipv4Addr, target: Ipv4Addr) {
        let Some(ours) = self.ethernet_address(interface) else { return };
        let packet = arp::Packet {
            operation: Operation::REQUEST,
            sender_hardware: ours,
            sender_protocol: sender,
            target_hardware: EthernetAddress::UNSPECIFIED,
            target_protocol: target,
        };
        self.arp_replies.push_back(ArpReply { interface, packet });
    }
}
