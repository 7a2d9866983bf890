//! Joining groups and leaving them, for all sources or for some (RFC 1112 6.1 and 7.1, RFC 3678 4.1).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::casting::Joined;
use super::socket::{Role, Socket};
use crate::UdpId;
use crate::error::Error;
use crate::ip::{Filter, InterfaceId, SourceChange, is_source_specific};
use crate::stack::Stack;

/// Groups of UDP sockets.
impl Stack {
    /// Joins a group of IPv4 on the interface that has the address `interface`; when that is unspecified,
    /// on the one that a route to the group leads to. The socket hears it from everybody. Routers are told
    /// (RFC 9776).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is no group, or one that is heard from named sources alone
    /// ([`Config::source_specific_groups`](crate::Config)), or the socket is of the other family or a flow;
    /// [`Error::AddressNotAvailable`] when no interface has the address, or it is the loopback;
    /// [`Error::AddressInUse`] when it has joined there already; [`Error::LimitReached`] beyond
    /// `Config::groups_per_socket`; [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_join_v4(
        &mut self,
        id: UdpId,
        group: Ipv4Addr,
        interface: Ipv4Addr,
    ) -> Result<(), Error> {
        let interface = self.interface_for_group(interface.into(), group.into())?;
        self.join(id, group.into(), interface)
    }

    /// Joins a group of IPv6 on the interface with the number `interface`
    /// ([`InterfaceId::scope_id`]); when that is 0, on the one that a route to the group leads to.
    /// Routers are told (RFC 9777).
    ///
    /// # Errors
    /// As for [`Stack::udp_join_v4`].
    pub fn udp_join_v6(&mut self, id: UdpId, group: Ipv6Addr, interface: u32) -> Result<(), Error> {
        let interface = self.numbered_interface(interface, group.into())?;
        self.join(id, group.into(), interface)
    }

    /// Leaves a group that the socket joined with the same arguments, from whomever it hears it.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] when it has not; [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_leave_v4(
        &mut self,
        id: UdpId,
        group: Ipv4Addr,
        interface: Ipv4Addr,
    ) -> Result<(), Error> {
        let interface = self.interface_for_group(interface.into(), group.into())?;
        self.leave(id, group.into(), interface)
    }

    /// The same for IPv6.
    ///
    /// # Errors
    /// As for [`Stack::udp_leave_v4`].
    pub fn udp_leave_v6(
        &mut self,
        id: UdpId,
        group: Ipv6Addr,
        interface: u32,
    ) -> Result<(), Error> {
        let interface = self.numbered_interface(interface, group.into())?;
        self.leave(id, group.into(), interface)
    }

    /// Changes from whom the socket hears a group of IPv4 on the interface that has the address
    /// `interface`, or that a route to the group leads to. What else comes to the group is not for this
    /// socket, and routers are told what all sockets together hear (RFC 9776 3.2). A source is named by
    /// one kind of call, those that join or those that block, until none is left.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is no group or the source no host, the socket is of the other
    /// family or a flow, it hears all but some and one is to be joined or the other way round, or it is to
    /// block a source of a group that it is not in; [`Error::AddressNotAvailable`] when no interface has
    /// the address, or when the source is joined or blocked already or is to be taken back and is not;
    /// [`Error::LimitReached`] beyond `Config::groups_per_socket` and `Config::sources_per_group`;
    /// [`Error::NoSuchSocket`] when the socket is closed.
    pub fn udp_change_source_v4(
        &mut self,
        id: UdpId,
        change: SourceChange,
        group: Ipv4Addr,
        source: Ipv4Addr,
        interface: Ipv4Addr,
    ) -> Result<(), Error> {
        let interface = self.interface_for_group(interface.into(), group.into())?;
        self.change_source(id, change, group.into(), source.into(), interface)
    }

    /// The same for IPv6, on the interface with the number `interface` or, when that is 0, on the one that
    /// a route leads to.
    ///
    /// # Errors
    /// As for [`Stack::udp_change_source_v4`].
    pub fn udp_change_source_v6(
        &mut self,
        id: UdpId,
        change: SourceChange,
        group: Ipv6Addr,
        source: Ipv6Addr,
        interface: u32,
    ) -> Result<(), Error> {
        let interface = self.numbered_interface(interface, group.into())?;
        self.change_source(id, change, group.into(), source.into(), interface)
    }

    fn join(&mut self, id: UdpId, group: IpAddr, interface: InterfaceId) -> Result<(), Error> {
        let socket = self.udp.socket(id)?;
        can_join(socket, group)?;
        if socket.casting.joined(interface, group).is_some() {
            return Err(Error::AddressInUse);
        }
        if self.shared.config.source_specific_groups && is_source_specific(group) {
            return Err(Error::InvalidInput);
        }
        self.set_filter(id, group, interface, Filter::EVERYBODY)
    }

    fn leave(&mut self, id: UdpId, group: IpAddr, interface: InterfaceId) -> Result<(), Error> {
        let joined = self.udp.socket(id)?.casting.joined(interface, group);
        joined.ok_or(Error::AddressNotAvailable)?;
        self.set_filter(id, group, interface, Filter::NOBODY)
    }

    fn change_source(
        &mut self,
        id: UdpId,
        change: SourceChange,
        group: IpAddr,
        source: IpAddr,
        interface: InterfaceId,
    ) -> Result<(), Error> {
        let limit = self.shared.config.sources_per_group;
        let socket = self.udp.socket(id)?;
        can_join(socket, group)?;
        if source.is_multicast() || source.is_unspecified() {
            return Err(Error::InvalidInput);
        }
        let joined = socket.casting.joined(interface, group);
        let filter = joined.map_or(Filter::NOBODY, |joined| joined.filter.clone());
        let blocks = matches!(change, SourceChange::Block | SourceChange::Unblock);
        if blocks && joined.is_none() {
            return Err(Error::InvalidInput);
        }
        let filter = filter.changed(change, source, limit)?;
        self.set_filter(id, group, interface, filter)
    }

    /// A socket hears a group as `after` says: [`Filter::NOBODY`] leaves it.
    fn set_filter(
        &mut self,
        id: UdpId,
        group: IpAddr,
        interface: InterfaceId,
        after: Filter,
    ) -> Result<(), Error> {
        let limit = self.shared.config.groups_per_socket;
        let joined = &mut self.udp.socket_mut(id)?.casting.joined;
        let is_it = |joined: &Joined| (joined.interface, joined.group) == (interface, group);
        let place = joined.iter().position(is_it);
        if place.is_none() && joined.len() >= limit {
            return Err(Error::LimitReached);
        }
        let before = place.and_then(|place| joined.get(place)).map(|joined| &joined.filter);
        let filters = (before.unwrap_or(const { &Filter::NOBODY }), &after);
        self.interfaces.set_group_filter(&self.shared, interface, group, filters)?;
        if let Some(place) = place {
            joined.swap_remove(place);
        }
        if !after.is_nobody() {
            joined.push(Joined { interface, group, filter: after });
        }
        Ok(())
    }

    /// A socket was closed.
    pub(super) fn leave_all(&mut self, socket: &mut Socket) {
        for Joined { interface, group, filter } in core::mem::take(&mut socket.casting.joined) {
            let filters = (&filter, &Filter::NOBODY);
            // It was joined on an interface that there is, and none ever goes.
            let _ = self.interfaces.set_group_filter(&self.shared, interface, group, filters);
        }
    }

    fn interface_for_group(&self, address: IpAddr, group: IpAddr) -> Result<InterfaceId, Error> {
        if !group.is_multicast() {
            return Err(Error::InvalidInput);
        }
        let found = match address.is_unspecified() {
            true => self.interfaces.route(None, group).ok().map(|route| route.hop.interface),
            false => self.interfaces.interface_of(address),
        };
        found.ok_or(Error::AddressNotAvailable)
    }

    fn numbered_interface(&self, number: u32, group: IpAddr) -> Result<InterfaceId, Error> {
        match number {
            0 => self.interface_for_group(Ipv6Addr::UNSPECIFIED.into(), group),
            number => self.with_number(number).ok_or(Error::AddressNotAvailable),
        }
    }

    /// The interface with a number, if there is one.
    pub(super) fn with_number(&self, number: u32) -> Option<InterfaceId> {
        let interface = u8::try_from(number).ok().map(InterfaceId)?;
        self.interfaces.capabilities(interface).map(|_| interface)
    }
}

fn can_join(socket: &Socket, group: IpAddr) -> Result<(), Error> {
    let family = socket.bound.hears_family_of(group);
    let possible = group.is_multicast() && family && matches!(socket.role, Role::Bound);
    if possible { Ok(()) } else { Err(Error::InvalidInput) }
}
