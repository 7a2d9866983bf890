//! What the ways to destinations take, where that is less than the link does (RFC 1191, RFC 8201).
//!
//! A way is remembered for ten minutes, then the link's MTU is tried again: routers change. Whether a
//! message may be believed is decided by the protocol whose packet it quotes (RFC 5927).

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;

use wire::ipv6;
use wire::time::Instant;

use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;
use crate::ip::route::Route;
use crate::shared::Shared;
use crate::stack::Stack;

/// Less than this is never believed of a way over IPv4, as RFC 879's 576 bytes always work: who forges
/// a message gains at most that.
const LEAST_V4: u16 = 576;

/// What old routers are asked about that name no MTU: sizes that links have (RFC 1191 7, table 7-1), the largest
/// first; below stands [`LEAST_V4`].
const PLATEAUS: [u16; 8] = [65_535, 32_000, 17_914, 8166, 4352, 2002, 1492, 1006];

/// The ways that take less than their link.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// What whoever runs the system said, until he takes it back.
    fixed: BTreeMap<IpAddr, u16>,
    /// Nothing is found out ([`Config::path_mtu_discovery`](crate::Config)).
    off: bool,
    known: BTreeMap<IpAddr, (u16, Instant)>,
    /// When each is forgotten, the first first.
    deadlines: BTreeSet<(Instant, IpAddr)>,
}

impl Paths {
    /// What the way to `destination` takes, if it is known to be less than the link does.
    pub(super) fn mtu(&self, destination: IpAddr) -> Option<u16> {
        if self.known.is_empty() && self.fixed.is_empty() {
            return None;
        }
        let known = self.known.get(&destination).map(|&(mtu, _)| mtu);
        match self.fixed.get(&destination) {
            Some(&fixed) => Some(known.map_or(fixed, |known| known.min(fixed))),
            None => known,
        }
    }

    /// What a way that is not known takes for certain, where nobody finds out.
    fn least(&self, destination: IpAddr) -> Option<u16> {
        let is_fixed = self.fixed.contains_key(&destination);
        (self.off && !is_fixed).then(|| least(destination))
    }

    /// When [`Paths::expire`] has something to forget.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(due, destination)) = self.deadlines.first()
            && due <= now
        {
            self.deadlines.pop_first();
            self.known.remove(&destination);
        }
    }

    /// The way takes more than was remembered; over a `link` that takes no more it needs no entry.
    fn raise(&mut self, destination: IpAddr, mtu: u16, link: u16) {
        let Some((known, due)) = self.known.get_mut(&destination) else { return };
        *known = mtu.max(*known);
        if *known >= link {
            self.deadlines.remove(&(*due, destination));
            self.known.remove(&destination);
        }
    }

    /// Whoever runs the system says what the way takes, or takes it back.
    fn fix(&mut self, destination: IpAddr, mtu: Option<u16>, limit: usize) -> Result<(), Error> {
        if let Some((_, due)) = self.known.remove(&destination) {
            self.deadlines.remove(&(due, destination));
        }
        let Some(mtu) = mtu else {
            self.fixed.remove(&destination);
            return Ok(());
        };
        if self.fixed.len() >= limit && !self.fixed.contains_key(&destination) {
            return Err(Error::LimitReached);
        }
        self.fixed.insert(destination, mtu);
        Ok(())
    }

    /// Remembers a lower MTU; the way that was learnt first makes room for it.
    fn lower(&mut self, shared: &Shared, destination: IpAddr, mtu: u16) {
        let current = self.known.get(&destination).copied();
        if current.is_some_and(|(known, _)| known <= mtu) {
            return;
        }
        if let Some((_, due)) = current {
            self.deadlines.remove(&(due, destination));
        } else if self.known.len() >= shared.config.path_mtu_limit.max(1)
            && let Some((_, oldest)) = self.deadlines.pop_first()
        {
            self.known.remove(&oldest);
        }
        let due = shared.now.after(shared.config.path_mtu_expiry);
        self.known.insert(destination, (mtu, due));
        self.deadlines.insert((due, destination));
    }
}

/// The least that every way takes.
fn least(destination: IpAddr) -> u16 {
    if destination.is_ipv4() { LEAST_V4 } else { ipv6::MIN_MTU }
}

/// What a router says that its next link takes, as far as it makes sense (RFC 8201 4: less than 1280 is not to be
/// believed). Of one that names no MTU for a packet of `length` bytes the next plateau below is taken
/// (RFC 1191 5).
pub(crate) fn plausible_mtu(destination: IpAddr, said: u16, length: usize) -> Option<u16> {
    match destination {
        IpAddr::V4(_) if said == 0 => {
            let below = PLATEAUS.into_iter().find(|plateau| usize::from(*plateau) < length);
            Some(below.unwrap_or(LEAST_V4))
        }
        IpAddr::V4(_) => Some(said.max(LEAST_V4)),
        IpAddr::V6(_) => (said >= ipv6::MIN_MTU).then_some(said),
    }
}

/// What ways take.
impl Stack {
    /// The longest packet in bytes that the way to `destination` takes, as far as is known.
    ///
    /// # Errors
    /// [`Error::NetworkUnreachable`] without a route.
    pub fn path_mtu(&self, destination: IpAddr) -> Result<u16, Error> {
        Ok(self.interfaces.route(None, destination)?.hop.mtu)
    }

    /// Says what the way to `destination` takes, in bytes, for as long as the stack runs; `None` takes that back and
    /// forgets what was found out (RFC 8201 5.6). Routers may still say that it takes less.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for less than every way takes: 576, over IPv6 1280. [`Error::LimitReached`] when
    /// it is said of `Config::path_mtu_limit` others already.
    pub fn set_path_mtu(&mut self, destination: IpAddr, mtu: Option<u16>) -> Result<(), Error> {
        if mtu.is_some_and(|mtu| mtu < least(destination)) {
            return Err(Error::InvalidInput);
        }
        let limit = self.shared.config.path_mtu_limit;
        self.interfaces.paths.fix(destination, mtu, limit)?;
        self.interfaces.changed();
        Ok(())
    }
}

impl Interfaces {
    /// Nothing is found out of ways from now on.
    pub(crate) fn find_out_no_paths(&mut self) {
        self.paths.off = true;
    }

    /// Packets of `mtu` bytes arrive at `destination`, and longer ones are not known to: what a protocol
    /// found out by itself (RFC 4821 5.2), which may be more than was remembered.
    pub(crate) fn path_carries(&mut self, shared: &Shared, destination: IpAddr, mtu: u16) {
        let Ok(route) = self.route(None, destination) else { return };
        if mtu <= route.hop.mtu {
            return self.path_takes(shared, destination, mtu);
        }
        let link = self.capabilities(route.hop.interface).map_or(u16::MAX, |link| link.mtu);
        self.paths.raise(destination, mtu, link);
    }

    /// The way to `destination` takes no more than `mtu` bytes.
    pub(crate) fn path_takes(&mut self, shared: &Shared, destination: IpAddr, mtu: u16) {
        // A link of ours that takes no more needs no entry.
        let current = self.route(None, destination).map(|route| route.hop.mtu);
        if current.is_ok_and(|current| mtu < current) {
            self.paths.lower(shared, destination, mtu);
            // RFC 1191 6.2: everybody on the way is to know, when he sends at the latest.
            self.changed();
        }
    }

    /// The largest packet of the family of `destination` on the link of `interface`, which takes
    /// `link_mtu` bytes.
    pub(super) fn link_mtu(
        &self,
        interface: InterfaceId,
        link_mtu: u16,
        destination: IpAddr,
    ) -> u16 {
        match destination {
            IpAddr::V4(_) => link_mtu,
            IpAddr::V6(_) => {
                self.autoconf.link_mtu(interface).map_or(link_mtu, |mtu| mtu.min(link_mtu))
            }
        }
    }

    /// The largest packet that the first link of a way takes, whatever is known of the others.
    pub(crate) fn mtu_of_link(&self, route: &Route) -> u16 {
        let interface = route.hop.interface;
        let link = self.capabilities(interface).map_or(u16::MAX, |link| link.mtu);
        self.link_mtu(interface, link, route.source)
    }

    /// The largest packet that the way to `destination` takes, over a link that takes `link_mtu` bytes to
    /// `next_hop`.
    pub(super) fn path_mtu(&self, link_mtu: u16, next_hop: IpAddr, destination: IpAddr) -> u16 {
        let mtu = self.paths.mtu(destination).map_or(link_mtu, |path| path.min(link_mtu));
        match self.paths.least(destination) {
            // Behind a router.
            Some(least) if next_hop != destination => mtu.min(least),
            _ => mtu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use alloc::vec::Vec;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use wire::time::Duration;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(n))
    }

    fn world() -> (Paths, Shared) {
        let mut shared = Shared::new(Config { path_mtu_limit: 4, ..Config::default() });
        shared.set_time(Instant::from_millis(1000));
        (Paths::default(), shared)
    }

    #[test]
    fn a_way_only_narrows_until_it_is_forgotten() {
        let (mut paths, mut shared) = world();
        for (said, kept) in [(1400, 1400), (1450, 1400), (1300, 1300), (1300, 1300)] {
            paths.lower(&shared, ip(1), said);
            assert_eq!(paths.mtu(ip(1)), Some(kept));
        }
        assert_eq!(paths.mtu(ip(2)), None);
        let due = shared.now.after(Duration::from_secs(600));
        assert_eq!(paths.poll_timeout(), Some(due));
        shared.set_time(due);
        paths.expire(shared.now);
        assert_eq!((paths.mtu(ip(1)), paths.poll_timeout()), (None, None));
    }

    #[test]
    fn what_carries_more_is_forgotten_when_it_takes_what_the_link_does() {
        let (mut paths, shared) = world();
        paths.raise(ip(1), 1400, 1500);
        assert_eq!(paths.mtu(ip(1)), None, "nothing was known");
        paths.lower(&shared, ip(1), 1064);
        let due = paths.poll_timeout();
        for (carries, kept) in [(1280, 1280), (1200, 1280), (1492, 1492)] {
            paths.raise(ip(1), carries, 1500);
            assert_eq!((paths.mtu(ip(1)), paths.poll_timeout()), (Some(kept), due));
        }
        paths.raise(ip(1), 1500, 1500);
        assert_eq!((paths.mtu(ip(1)), paths.poll_timeout()), (None, None));
    }

    #[test]
    fn the_oldest_makes_room() {
        let (mut paths, mut shared) = world();
        for n in 0..10 {
            shared.set_time(shared.now.after(Duration::from_millis(1)));
            paths.lower(&shared, ip(n), 1400);
            assert!(paths.known.len() <= 4 && paths.known.len() == paths.deadlines.len());
        }
        assert_eq!((paths.mtu(ip(5)), paths.mtu(ip(6))), (None, Some(1400)));
    }

    #[test]
    fn what_is_too_small_is_not_believed() {
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(
            (plausible_mtu(ip(1), 1, 1500), plausible_mtu(ip(1), 1400, 1500)),
            (Some(576), Some(1400))
        );
        assert_eq!(
            (plausible_mtu(v6, 1279, 1500), plausible_mtu(v6, 1280, 1500)),
            (None, Some(1280))
        );
    }

    #[test]
    fn where_no_mtu_is_named_the_next_plateau_is_tried() {
        let mut length = 65_535;
        let mut tried = Vec::new();
        while let Some(mtu) =
            plausible_mtu(ip(1), 0, length).filter(|mtu| usize::from(*mtu) < length)
        {
            tried.push(mtu);
            length = usize::from(mtu);
        }
        assert_eq!(tried, [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 576]);
        assert_eq!(plausible_mtu(ip(1), 0, 1500), Some(1492));
    }
}
