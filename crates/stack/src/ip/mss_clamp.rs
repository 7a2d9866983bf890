//! Segments that are clamped, for a link behind which packets become longer.

use core::net::IpAddr;

use wire::{ipv4, ipv6, tcp};

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;
use crate::stack::Stack;

impl Stack {
    /// Clamps the segments of TCP to `mss` bytes on the ways over `interface`, in both directions: no more
    /// is announced to peers, and no more sent, whatever they announce. For a link behind which packets
    /// become longer, as in a tunnel. `None`: the link's MTU alone counts. Connections that are open keep
    /// what they agreed on.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an interface that is not there, and for 0.
    pub fn set_mss_clamp(&mut self, interface: InterfaceId, mss: Option<u16>) -> Result<(), Error> {
        self.interfaces.set_mss_clamp(interface, mss)
    }
}

impl Interfaces {
    fn set_mss_clamp(&mut self, interface: InterfaceId, mss: Option<u16>) -> Result<(), Error> {
        if mss == Some(0) {
            return Err(Error::InvalidInput);
        }
        self.interface_mut(interface)?.mss_clamp = mss;
        self.changed();
        Ok(())
    }

    /// The same of TCP's packets, where segments are clamped.
    pub(super) fn clamped(
        &self,
        interface: InterfaceId,
        link_mtu: u16,
        destination: IpAddr,
    ) -> u16 {
        let found = self.interfaces.get(usize::from(interface.0));
        let Some(mss) = found.and_then(|found| found.mss_clamp) else { return link_mtu };
        let ip = if destination.is_ipv4() { ipv4::MIN_HEADER_LEN } else { ipv6::HEADER_LEN };
        let headers = u16::try_from(ip + tcp::MIN_HEADER_LEN).unwrap_or(u16::MAX);
        link_mtu.min(mss.saturating_add(headers))
    }
}
