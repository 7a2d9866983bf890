//! Default gateways, and another where one is dead (RFC 1122 3.3.1.2 and 3.3.1.4).
//!
//! Those that routers advertise themselves are the affair of `router`.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::addresses::is_link_local_host;
use crate::ip::interfaces::Interfaces;
use crate::ip::prefix::Prefix;
use crate::stack::Stack;

/// How many gateways may be spare, in all: one or two are.
const LIMIT: usize = 16;

/// Gateways that are not used while others answer, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct SpareGateways(Vec<(InterfaceId, IpAddr)>);

impl SpareGateways {
    /// Those of a default route that goes, or is set anew.
    pub(super) fn forget(&mut self, prefix: Prefix, interface: InterfaceId) {
        let of_route = |spare: &(InterfaceId, IpAddr)| (all_of(spare.1), spare.0);
        self.0.retain(|spare| of_route(spare) != (prefix, interface));
    }
}

/// Default gateways.
impl Stack {
    /// Sends what no other route leads to through `gateway`, over `interface` (RFC 1122 3.3.1.1), and
    /// through no other that was set before.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it cannot be a gateway: it is unspecified, a group's, or our
    /// own; [`Error::NetworkUnreachable`] on an Ethernet link none of whose networks it is in.
    pub fn set_gateway(&mut self, interface: InterfaceId, gateway: IpAddr) -> Result<(), Error> {
        self.interfaces.set_gateway(interface, gateway)
    }

    /// One more default gateway of `interface`: it takes the place of one that does not answer (RFC 1122
    /// 3.3.1.4), each in its turn. The first is used at once.
    ///
    /// # Errors
    /// Those of [`Stack::set_gateway`]; [`Error::LimitReached`] beyond 16 that wait for their turn.
    pub fn add_gateway(&mut self, interface: InterfaceId, gateway: IpAddr) -> Result<(), Error> {
        self.interfaces.add_gateway(interface, gateway)
    }
}

impl Interfaces {
    fn set_gateway(&mut self, id: InterfaceId, gateway: IpAddr) -> Result<(), Error> {
        self.check_gateway(id, gateway)?;
        self.routes.add(all_of(gateway), Some(gateway), id)?;
        self.spare_gateways.forget(all_of(gateway), id);
        self.changed();
        Ok(())
    }

    fn add_gateway(&mut self, id: InterfaceId, gateway: IpAddr) -> Result<(), Error> {
        let Some(first) = self.routes.gateway_of(all_of(gateway), id) else {
            return self.set_gateway(id, gateway);
        };
        self.check_gateway(id, gateway)?;
        let spare = &mut self.spare_gateways.0;
        if first == gateway || spare.contains(&(id, gateway)) {
            return Ok(());
        }
        if spare.len() >= LIMIT {
            return Err(Error::LimitReached);
        }
        spare.push((id, gateway));
        Ok(())
    }

    fn check_gateway(&self, id: InterfaceId, gateway: IpAddr) -> Result<(), Error> {
        let impossible = gateway.is_unspecified()
            || gateway.is_multicast()
            || self.is_broadcast(gateway)
            || self.is_local(gateway);
        if impossible || id == InterfaceId::LOOPBACK || self.capabilities(id).is_none() {
            return Err(Error::InvalidInput);
        }
        // A gateway behind a gateway has no hardware address on this link.
        let near = is_link_local_host(gateway) || self.is_neighbor(id, gateway);
        if self.ethernet_address(id).is_some() && !near {
            return Err(Error::NetworkUnreachable);
        }
        Ok(())
    }

    /// A neighbour does not answer. Where it is the default gateway, the next one takes its place and it
    /// waits for another turn; whether one did.
    pub(super) fn gateway_is_silent(&mut self, id: InterfaceId, gateway: IpAddr) -> bool {
        let all = all_of(gateway);
        if self.routes.gateway_of(all, id) != Some(gateway) {
            return false;
        }
        let spare = &mut self.spare_gateways.0;
        let is_next = |spare: &(InterfaceId, IpAddr)| (spare.0, all_of(spare.1)) == (id, all);
        let Some(place) = spare.iter().position(is_next) else { return false };
        let (_, next) = spare.remove(place);
        spare.push((id, gateway));
        // In the place of the other, so there is room.
        let added = self.routes.add(all, Some(next), id).is_ok();
        self.changed();
        added
    }
}

/// All destinations of a gateway's family.
fn all_of(gateway: IpAddr) -> Prefix {
    if gateway.is_ipv4() { Prefix::ALL_V4 } else { Prefix::ALL_V6 }
}
