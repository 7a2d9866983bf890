//! Several shards: one speaks to DHCP servers, of each family the one that has the client's port, and
//! tells the others what it learns, so that all have the same addresses, routes and name servers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use wire::time::Duration;

use super::{Dhcp, DhcpLease, Link};
use crate::ip::InterfaceId;
use crate::stack::Stack;

/// What one shard tells the others.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// What a server gave an interface; `None` when it lost that.
    Lease(InterfaceId, Option<DhcpLease>),
    /// The name servers of IPv6 that a server told, and for how long they are good.
    Resolvers(InterfaceId, Vec<Ipv6Addr>, Duration),
}

impl Stack {
    /// Another shard tells what it learned.
    pub(crate) fn hear_news(&mut self, news: News) {
        match news {
            News::Lease(interface, lease) => {
                let follows = |link: &Link| link.interface == interface && link.client.is_none();
                if !self.dhcp.iter().flat_map(|dhcp| &dhcp.links).any(follows) {
                    return;
                }
                match lease {
                    Some(lease) => self.bind_lease(interface, lease),
                    None => self.unbind_lease(interface),
                }
            }
            News::Resolvers(interface, servers, good_for) => {
                let until = self.shared.now.after(good_for);
                self.interfaces.resolvers.told(interface, &servers, until);
            }
        }
    }

    /// Tells the others, where there are any.
    pub(super) fn tell_shards(&mut self, news: &News) {
        self.steering.tell(&mut self.shared, news);
    }

    /// The clients of this shard, or what follows those of another.
    pub(super) fn dhcp_mut(&mut self) -> &mut Dhcp {
        self.dhcp.get_or_insert_with(|| Box::new(Dhcp::new(self.interfaces.discovery_rng())))
    }
}
