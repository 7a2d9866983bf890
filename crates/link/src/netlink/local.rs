//! When an IPv6 address is the kernel's own.
//!
//! The kernel answers the request for an address at once and takes it for its own a little later: a
//! work queue puts it into the table of local routes, even where no duplicate is looked for
//! (`IFA_F_NODAD`), and not before the interface is up and has a carrier. A packet that is faster
//! is lost. So who gives an address, or brings an interface up, waits for that here.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};

use super::{Netlink, family, route_address};

/// The work queue needs microseconds, and some seconds where namespaces come and go by the hundred.
/// Who waits longer waits for something else, and is told nothing wrong: the address is there.
const PATIENCE: Duration = Duration::from_secs(10);

impl Netlink {
    /// Waits until the kernel takes packets to the addresses that it was given, where they can come.
    pub(super) fn wait_for_early(&mut self) {
        for (name, address) in std::mem::take(&mut self.early) {
            if self.carries(&name) {
                let start = Instant::now();
                while !self.is_local(address) && start.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_micros(200));
                }
            } else {
                self.early.push((name, address));
            }
        }
    }

    /// Whether an interface is up and has a carrier.
    fn carries(&mut self, name: &str) -> bool {
        let Ok(message) = self.link(name) else { return false };
        let answer = self.ask(RouteNetlinkMessage::GetLink(message), 0);
        matches!(answer, Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)))
            if link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp))
    }

    /// Whether the kernel's route to `address` is to itself.
    fn is_local(&mut self, address: Ipv6Addr) -> bool {
        let address = IpAddr::V6(address);
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = 128;
        message.attributes = vec![RouteAttribute::Destination(route_address(address))];
        // No route at all is an error, and says the same.
        let answer = self.ask(RouteNetlinkMessage::GetRoute(message), 0);
        matches!(answer, Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)))
            if route.header.kind == RouteType::Local)
    }
}
