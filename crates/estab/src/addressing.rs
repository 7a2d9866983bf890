//! Addresses, routes and leases of a running stack.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use stack::{AddressChange, DhcpLease, InterfaceId};

use crate::Stack;
use crate::engine::Engine;
use crate::error::from_stack;
use crate::handle::DRAIN_POLL;

/// Addresses and routes, which come and go while the stack runs.
impl Stack {
    /// Gives one more address to the first link's interface, `prefix` bits of which are the
    /// network's.
    ///
    /// # Errors
    /// `InvalidInput` when it is no address for a host or the prefix is too long.
    pub fn add_address(&self, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.add_address_to(1, address, prefix)
    }

    /// Gives one more address to a link's interface, `prefix` bits of which are the network's. Links are
    /// counted from 1, in the order in which the builder got them.
    ///
    /// # Errors
    /// As [`add_address`](Stack::add_address); `InvalidInput` when there is no such link.
    pub fn add_address_to(&self, link: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        self.command(link, |core, interface| core.add_address(interface, address, prefix))
    }

    /// Takes an address away, whichever link's it is, and the route to its network with it. Sockets that
    /// use it stay, and find no way any more.
    ///
    /// # Errors
    /// `AddrNotAvailable` when the stack does not have it.
    pub fn remove_address(&self, address: IpAddr) -> io::Result<()> {
        self.on_each_shard(|engine| {
            let has = |id: &InterfaceId| engine.stack.addresses(*id).any(|(own, _)| own == address);
            let interface = engine.ports.interfaces().find(has);
            let interface = interface.ok_or(stack::Error::AddressNotAvailable)?;
            engine.stack.remove_address(interface, address)
        })
    }

    /// Sends what the first `prefix` bits of `network` hold over a link, counted from 1: to the hosts
    /// themselves, or through `gateway`. Of all routes the longest prefix counts; one to the same
    /// destinations over the same link is replaced.
    ///
    /// # Errors
    /// `InvalidInput` when there is no such link, for a gateway of the other family or of our own, and for
    /// a prefix that is too long; `QuotaExceeded` beyond 1024 routes of a family.
    pub fn add_route(
        &self,
        link: u32,
        network: IpAddr,
        prefix: u8,
        gateway: Option<IpAddr>,
    ) -> io::Result<()> {
        self.command(link, |core, interface| core.add_route(interface, network, prefix, gateway))
    }

    /// Takes a route over a link away, through whomever it leads.
    ///
    /// # Errors
    /// `NetworkUnreachable` when there is none; `InvalidInput` when there is no such link.
    pub fn remove_route(&self, link: u32, network: IpAddr, prefix: u8) -> io::Result<()> {
        self.command(link, |core, interface| core.remove_route(interface, network, prefix))
    }

    /// The addresses of the first link's interface, each with the length of its network's prefix: those
    /// that it was given, and those that it [made](crate::StackBuilder::autoconfigure), also while it
    /// still asks whether somebody else has them. Empty after the end.
    #[must_use]
    pub fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.addresses_of(1)
    }

    /// The same of another link, counted from 1; empty when there is no such one.
    #[must_use]
    pub fn addresses_of(&self, link: u32) -> Vec<(IpAddr, u8)> {
        let of_link = |engine: &mut Engine| {
            let interface = interface(engine, link);
            interface.map_or(Vec::new(), |id| engine.stack.addresses(id).collect())
        };
        // The shards are alike.
        self.try_each(of_link).unwrap_or_default().into_iter().next().unwrap_or_default()
    }

    /// Puts the addresses of a host in the order in which to try them: those that cannot be reached last, then as
    /// [`Config::address_policy`](crate::Config) and the stack's own addresses say (RFC 6724 6). After the end they
    /// stay as they are.
    pub fn sort_destinations(&self, addresses: &mut [IpAddr]) {
        // The shards are alike.
        if let Some(shard) = self.all().next() {
            let _ = shard.call(|engine, _| engine.stack.sort_destinations(addresses));
        }
    }

    /// The longest packet in bytes that the way to `destination` takes, as far as is known.
    ///
    /// # Errors
    /// `NetworkUnreachable` without a route, `NetworkDown` when the stack has ended.
    pub fn path_mtu(&self, destination: IpAddr) -> io::Result<u16> {
        // What one shard hears of a way others may not have heard.
        let all = self.try_each(|engine| engine.stack.path_mtu(destination))?;
        let known = all.into_iter().collect::<Result<Vec<_>, _>>().map_err(from_stack)?;
        Ok(known.into_iter().min().unwrap_or_default())
    }

    /// Says what the way to `destination` takes, in bytes, until the end; `None` takes that back and forgets what
    /// was found out (RFC 8201 5.6). Routers may still say that it takes less.
    ///
    /// # Errors
    /// `InvalidInput` for less than every way takes: 576, over IPv6 1280; `QuotaExceeded` when it is said of
    /// [`Config::path_mtu_limit`](crate::Config) others already; `NetworkDown` when the stack has ended.
    pub fn set_path_mtu(&self, destination: IpAddr, mtu: Option<u16>) -> io::Result<()> {
        self.on_each_shard(|engine| engine.stack.set_path_mtu(destination, mtu))
    }

    /// What became of addresses by itself since this was asked last: made, found taken, claimed by
    /// somebody else, grown old. Of more than 64 the oldest are lost; empty after the end.
    #[must_use]
    pub fn address_changes(&self) -> Vec<AddressChange> {
        // The shards are alike.
        let changes = self.holds()[0]
            .shared()
            .call(|engine, _| std::iter::from_fn(|| engine.stack.poll_address_change()).collect());
        changes.unwrap_or_default()
    }

    /// Sends what is for no network of ours to `gateway`, through the first link.
    ///
    /// # Errors
    /// `NetworkUnreachable` or `InvalidInput` when the gateway is in no network of ours.
    pub fn set_gateway(&self, gateway: IpAddr) -> io::Result<()> {
        self.command(1, |core, interface| core.set_gateway(interface, gateway))
    }

    /// What a DHCP server gave the first link's interface, while it has it ([`StackBuilder::dhcp`](crate::StackBuilder::dhcp)).
    #[must_use]
    pub fn dhcp_lease(&self) -> Option<DhcpLease> {
        let leases = self.try_each(|engine| {
            engine.first_interface().and_then(|first| engine.stack.dhcp_lease(first).cloned())
        });
        // Of several shards one asks, and a moment later all have it.
        let leases: Option<Vec<_>> = leases.ok()?.into_iter().collect();
        leases?.into_iter().next()
    }

    /// Waits until there is one, at most for `timeout`.
    ///
    /// # Errors
    /// `TimedOut` when no server gave one in time, `NetworkDown` when the stack has ended.
    pub fn wait_for_lease(&self, timeout: Duration) -> io::Result<DhcpLease> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            self.rely_on_no_host();
            if let Some(lease) = self.dhcp_lease() {
                return Ok(lease);
            }
            if let Some(ended) = self.ended() {
                return Err(ended);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "no DHCP server gave an address",
                ));
            }
            thread::sleep(DRAIN_POLL);
        }
    }

    /// Gives the address back to the DHCP server and stops asking.
    /// [`stop_graceful`](Stack::stop_graceful) does so, too, but not [`stop`](Stack::stop): a lease that
    /// nobody gave back ends by itself.
    ///
    /// # Errors
    /// `InvalidInput` when no address was asked for, `NetworkDown` when the stack has ended.
    pub fn release_lease(&self) -> io::Result<()> {
        for shard in self.all() {
            let release = |engine: &mut Engine, now| {
                let first = engine.first_interface().ok_or(stack::Error::InvalidInput)?;
                engine.stack.dhcp_stop(now, first)
            };
            shard.call(release)?.map_err(from_stack)?;
        }
        Ok(())
    }

    /// The name servers that a DHCP server or routers told, in no order of preference between them; empty
    /// after the end.
    #[must_use]
    pub fn dns_servers(&self) -> Vec<SocketAddr> {
        self.holds()[0].shared().call(|engine, _| engine.stack.dns_servers()).unwrap_or_default()
    }

    /// Carries `f` out on each shard. They are alike, so it succeeds on all of them or on none.
    fn command(
        &self,
        link: u32,
        f: impl Fn(&mut stack::Stack, InterfaceId) -> Result<(), stack::Error>,
    ) -> io::Result<()> {
        self.on_each_shard(|engine| {
            let interface = interface(engine, link).ok_or(stack::Error::InvalidInput)?;
            f(&mut engine.stack, interface)
        })
    }

    fn on_each_shard(&self, f: impl Fn(&mut Engine) -> Result<(), stack::Error>) -> io::Result<()> {
        let done = self.try_each(f)?;
        done.into_iter().try_for_each(|done| done.map_err(from_stack))
    }
}

/// The interface of a link, counted from 1.
fn interface(engine: &Engine, link: u32) -> Option<InterfaceId> {
    engine.ports.interfaces().find(|interface| interface.scope_id() == link)
}
