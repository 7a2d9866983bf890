//! The addresses of interfaces: what they are good for, and which packets are for them (RFC 1122 3.3.4,
//! RFC 4862 2).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::ipv6;

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;
use crate::ip::prefix::{Prefix, bits_of};
use crate::ip::scope::is_mapped;
use crate::shared::Shared;
use crate::stack::Stack;

/// How many addresses one interface can have: each received packet is compared with all of them.
const ADDRESS_LIMIT: usize = 64;

/// An address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Assigned {
    pub(crate) address: IpAddr,
    /// How many of its bits all hosts on the link share.
    pub(crate) prefix_len: u8,
    /// Whether, and how gladly, it is used.
    pub(crate) state: AddressState,
    /// It is one that changes from day to day (RFC 8981).
    pub(crate) temporary: bool,
}

/// RFC 4862 2: what an address is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AddressState {
    /// It is asked for whether somebody else has it; until that is known it is not ours.
    Tentative,
    /// Good for everything.
    Preferred,
    /// What uses it goes on; nothing new should begin with it.
    Deprecated,
}

impl Assigned {
    /// The network that it is in.
    pub(crate) fn prefix(&self) -> Prefix {
        Prefix::new(self.address, self.prefix_len)
    }

    /// It is ours.
    pub(crate) fn is_usable(&self) -> bool {
        self.state != AddressState::Tentative
    }

    pub(crate) fn is_deprecated(&self) -> bool {
        self.state == AddressState::Deprecated
    }

    fn is_broadcast(&self, other: Ipv4Addr) -> bool {
        self.prefix().broadcast() == Some(other)
    }
}

/// Addresses.
impl Stack {
    /// Gives `interface` an address of either family; an IPv6 address on Ethernet is ours once nobody
    /// else turned out to have it, about a second later ([`Stack::poll_address_change`] tells); it needs
    /// a link-local address beside it, which comes with the first. The first `prefix_len` bits of it are those of every host on
    /// the link, to which it adds a route.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an address that no host can have (unspecified, loopback
    /// elsewhere than on the loopback, multicast, broadcast), a `prefix_len` over 32 or 128, an
    /// interface of another stack, or for IPv6 over a link of less than 1280 bytes;
    /// [`Error::AddressInUse`] when the stack has it already; [`Error::LimitReached`] beyond 64
    /// addresses of one interface.
    pub fn add_address(
        &mut self,
        interface: InterfaceId,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), Error> {
        self.interfaces.add_address(&self.shared, interface, address, prefix_len)
    }

    /// Takes an address away, and the route to its link with it. Sockets that use the address
    /// stay; what they send finds no way back.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when `interface` does not have it.
    pub fn remove_address(&mut self, interface: InterfaceId, address: IpAddr) -> Result<(), Error> {
        self.interfaces.remove_address(&self.shared, interface, address)
    }

    /// The addresses of `interface` and the lengths of their prefixes in bits, in the order in
    /// which they were added.
    pub fn addresses(&self, interface: InterfaceId) -> impl Iterator<Item = (IpAddr, u8)> {
        let addresses = self.interfaces.assigned(interface);
        addresses.map(|assigned| (assigned.address, assigned.prefix_len))
    }

    /// Whether packets to `address` stay inside the stack: its own addresses, 127.0.0.0/8 and
    /// ::1.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.interfaces.is_local(address)
    }
}

impl Interfaces {
    /// Whether packets to `address` stay inside: our own addresses, 127.0.0.0/8 and ::1.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.is_loopback() || self.own_v4.contains(&v4),
            IpAddr::V6(v6) => v6.is_loopback() || self.own_v6.contains(&v6),
        }
    }

    /// Whether `address` is the broadcast address of any of our networks, or of all.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        v4.is_broadcast() || self.all_assigned().any(|assigned| assigned.is_broadcast(v4))
    }

    /// The addresses of one interface.
    pub(super) fn assigned(&self, interface: InterfaceId) -> impl Iterator<Item = Assigned> {
        let found = self.interfaces.get(usize::from(interface.0));
        found.map_or(&[][..], |found| &found.addresses).iter().copied()
    }

    /// Whether `address` is ours, on this interface.
    pub(super) fn has_address(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.assigned(interface).any(|own| own.address == address && own.is_usable())
    }

    /// Whether `address` is on the link of `interface`.
    pub(super) fn is_neighbor(&self, interface: InterfaceId, address: IpAddr) -> bool {
        self.assigned(interface).any(|assigned| assigned.prefix().holds(address))
    }

    /// Whether `address` reaches every host on the link of `interface`.
    pub(super) fn is_broadcast_on(&self, interface: InterfaceId, address: Ipv4Addr) -> bool {
        address.is_broadcast()
            || self.assigned(interface).any(|assigned| assigned.is_broadcast(address))
    }

    /// Whether packets to the IPv6 group are for us, too: everybody's on the link, those in which
    /// somebody looks for one of our addresses (RFC 4291 2.8), and what sockets joined.
    pub(super) fn is_in_group(&self, interface: InterfaceId, group: Ipv6Addr) -> bool {
        let asks_for_us = |own: Assigned| match own.address {
            IpAddr::V6(address) => ipv6::solicited_node(address) == group,
            IpAddr::V4(_) => false,
        };
        group == ipv6::group::ALL_NODES
            || self.assigned(interface).any(asks_for_us)
            || self.autoconf.groups.is_member(interface, group.into())
    }

    /// The first interface that has an address of the family, the loopback aside.
    pub(super) fn first_with_address(&self, v4: bool) -> Option<InterfaceId> {
        let has = |id| self.assigned(id).any(|own| own.address.is_ipv4() == v4 && own.is_usable());
        self.ids().skip(1).find(|&id| has(id))
    }

    /// The interface that has `address`.
    pub(crate) fn interface_of(&self, address: IpAddr) -> Option<InterfaceId> {
        self.ids().find(|&id| self.has_address(id, address))
    }

    pub(super) fn all_assigned(&self) -> impl Iterator<Item = Assigned> {
        self.interfaces.iter().flat_map(|interface| interface.addresses.iter().copied())
    }

    /// Gives the interface an address; over IPv6 on Ethernet it is asked first whether it is free.
    pub(super) fn add_address(
        &mut self,
        shared: &Shared,
        id: InterfaceId,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), Error> {
        let state = self.first_state(shared, id, address);
        let assigned = Assigned { address, prefix_len, state, temporary: false };
        let broadcast = match address {
            IpAddr::V4(v4) => v4.is_broadcast() || assigned.is_broadcast(v4),
            IpAddr::V6(_) => false,
        };
        let impossible = address.is_unspecified()
            || address.is_multicast()
            || is_mapped(address)
            || broadcast
            || (address.is_loopback() && id != InterfaceId::LOOPBACK);
        if prefix_len > bits_of(address) || impossible || !self.carries(id, address) {
            return Err(Error::InvalidInput);
        }
        if self.all_assigned().any(|other| other.address == address) {
            return Err(Error::AddressInUse);
        }
        if self.interface_mut(id)?.addresses.len() >= ADDRESS_LIMIT {
            return Err(Error::LimitReached);
        }
        if id != InterfaceId::LOOPBACK && !is_link_local_host(address) {
            self.routes.add(assigned.prefix(), None, id)?;
        }
        self.interface_mut(id)?.addresses.push(assigned);
        self.changed();
        self.address_added(shared, id, assigned);
        Ok(())
    }

    /// An address is one that changes from day to day.
    pub(super) fn set_temporary(&mut self, id: InterfaceId, address: IpAddr) {
        let Ok(interface) = self.interface_mut(id) else { return };
        if let Some(own) = interface.addresses.iter_mut().find(|own| own.address == address) {
            own.temporary = true;
        }
    }

    /// Changes what an address is good for.
    pub(super) fn set_state(&mut self, id: InterfaceId, address: IpAddr, state: AddressState) {
        let Ok(interface) = self.interface_mut(id) else { return };
        if let Some(own) = interface.addresses.iter_mut().find(|own| own.address == address)
            && own.state != state
        {
            own.state = state;
            self.changed();
        }
    }

    pub(super) fn remove_address(
        &mut self,
        shared: &Shared,
        id: InterfaceId,
        address: IpAddr,
    ) -> Result<(), Error> {
        let interface = self.interface_mut(id)?;
        let place = interface.addresses.iter().position(|other| other.address == address);
        let removed = interface.addresses.remove(place.ok_or(Error::AddressNotAvailable)?);
        if !self.has_prefix(id, removed.prefix()) {
            self.routes.remove(removed.prefix(), false, id);
        }
        self.neighbors.forget_all_of(id);
        self.changed();
        self.address_removed(shared, id, address);
        Ok(())
    }

    /// Whether somebody says that the prefix is on the link: an address of ours, or a router.
    pub(super) fn has_prefix(&self, id: InterfaceId, prefix: Prefix) -> bool {
        self.assigned(id).any(|own| own.prefix() == prefix) || self.autoconf.is_on_link(id, prefix)
    }

    /// RFC 8200 5: a link of less than 1280 bytes is none for IPv6.
    fn carries(&self, id: InterfaceId, address: IpAddr) -> bool {
        let mtu = self.capabilities(id).map_or(0, |link| link.mtu);
        address.is_ipv4() || mtu >= ipv6::MIN_MTU
    }
}

/// Whether it is one host's address that has a meaning on one link alone.
pub(super) fn is_link_local_host(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
