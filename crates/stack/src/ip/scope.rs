//! Addresses that mean something on one link alone, and how a program says which (RFC 4007, RFC 3493 3.3).
//!
//! Inside the stack an address never has a scope: each link-local address of ours is on one link, so
//! our end of a conversation says it for both. At the surface the scope is an interface's number, as
//! in `fe80::1%2`.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;
use crate::ip::route::is_link_local;

/// The address and port without scope and flow label, as tables hold them.
pub(crate) fn without_scope(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

/// The address and port as a program is to see them: with the link, where they need one.
pub(crate) fn with_scope(address: SocketAddr, interface: InterfaceId) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if is_link_local(*v6.ip()) => {
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, u32::from(interface.0)).into()
        }
        _ => address,
    }
}

/// Whether an address stands for one of IPv4 (RFC 4291 2.5.5.2). It means something to sockets; no packet
/// has it, and what is sent to it goes over IPv4.
pub(crate) fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

impl Interfaces {
    /// The source for a conversation with `remote`, where its scope decides about that; `source` is
    /// what the program bound.
    ///
    /// # Errors
    /// [`Error::NetworkUnreachable`] when there is no such interface, it has no address, or `source`
    /// is on another.
    pub(crate) fn source_in_scope(
        &self,
        source: Option<IpAddr>,
        remote: SocketAddr,
    ) -> Result<Option<IpAddr>, Error> {
        let SocketAddr::V6(v6) = remote else { return Ok(source) };
        if v6.scope_id() == 0 || !is_link_local(*v6.ip()) {
            return Ok(source);
        }
        let number = u8::try_from(v6.scope_id()).map_err(|_| Error::NetworkUnreachable)?;
        let interface = InterfaceId(number);
        match source {
            Some(source) if self.has_address(interface, source) => Ok(Some(source)),
            Some(_) => Err(Error::NetworkUnreachable),
            None => {
                self.source_on(interface, remote.ip()).map(Some).ok_or(Error::NetworkUnreachable)
            }
        }
    }

    /// A peer of ours as a program is to see it.
    pub(crate) fn show_peer(&self, local: IpAddr, remote: SocketAddr) -> SocketAddr {
        match self.interface_of(local).filter(|_| remote.is_ipv6()) {
            Some(interface) => with_scope(remote, interface),
            None => remote,
        }
    }
}
