//! Temporary addresses of IPv6: who sees one cannot follow the host for longer than it lives (RFC 8981).
//!
//! Beside the stable address of each prefix stands one whose identifier is used for a day and for no other
//! prefix; before it grows old another takes its place. New conversations begin from it (RFC 6724 5, rule 7).

use alloc::vec::Vec;
use core::hash::Hasher;
use core::net::{IpAddr, Ipv6Addr};

use siphasher::sip::SipHasher24;
use wire::time::{Duration, Instant};

use crate::config::Config;
use crate::error::Error;
use crate::ip::InterfaceId;
use crate::ip::addresses::AddressState;
use crate::ip::autoconf::{Lease, Lifetimes};
use crate::ip::interfaces::Interfaces;
use crate::ip::opaque::first_free;
use crate::ip::prefix::Prefix;
use crate::shared::Shared;

/// How long before it grows old its successor is made (RFC 8981 3.8, REGEN_ADVANCE): two seconds, and
/// one for each of three identifiers that somebody else may have.
const REGEN_ADVANCE: Duration = Duration::from_secs(5);

/// What is known of a temporary address beside its lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temporary {
    made: Instant,
    /// How much sooner than others it grows old, so that hosts do not all make theirs at once
    /// (DESYNC_FACTOR).
    sooner: Duration,
    /// When its successor is due; `None` once that was made.
    pub(super) successor: Option<Instant>,
}

impl Temporary {
    /// RFC 8981 3.4: no longer than the prefix, and than a temporary address at all.
    fn lifetimes(&self, config: &Config, prefix: Lifetimes) -> (Instant, Instant) {
        let preferred = config.temporary_preferred.saturating_sub(self.sooner);
        let at_most = |own: Duration, prefix: Option<Instant>| {
            let own = self.made.after(own);
            prefix.map_or(own, |prefix| own.min(prefix))
        };
        (at_most(preferred, prefix.0), at_most(config.temporary_valid, prefix.1))
    }
}

impl Interfaces {
    /// A router advertised a prefix, of which the stable address now lives so long: so do the temporary
    /// ones, and where there is none yet one is made.
    pub(super) fn renew_temporary(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        prefix: Prefix,
        lifetimes: Lifetimes,
    ) {
        if !shared.config.temporary_addresses {
            return;
        }
        let mut fresh = Vec::new();
        let mut has_one = false;
        for lease in &mut self.autoconf.leases {
            let ours = (lease.interface, lease.prefix) == (interface, prefix);
            let Some(temporary) = lease.temporary.as_mut().filter(|_| ours) else { continue };
            let (preferred, valid) = temporary.lifetimes(&shared.config, lifetimes);
            if preferred > shared.now {
                fresh.push(lease.address);
                lease.preferred_until = Some(preferred);
            } else if lease.preferred_until.is_some() {
                lease.preferred_until = Some(shared.now);
            }
            lease.valid_until = Some(valid);
            has_one |= temporary.successor.is_some();
            temporary.successor = temporary.successor.map(|_| before(preferred));
        }
        for address in fresh {
            if self.has_address(interface, address.into()) {
                self.set_state(interface, address.into(), AddressState::Preferred);
            }
        }
        if !has_one {
            // Without room, or with too short a life, there is none.
            let first = (0, shared.config.solicitation_delay);
            let _ = self.make_temporary(shared, interface, prefix, lifetimes, first);
        }
    }

    /// RFC 8981 3.4: an address with an identifier that was not used before.
    pub(super) fn make_temporary(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        prefix: Prefix,
        lifetimes: Lifetimes,
        (retries, wait): (u8, Duration),
    ) -> Result<(), Error> {
        let IpAddr::V6(network) = prefix.network() else { return Err(Error::InvalidInput) };
        let count = self.autoconf.temporaries;
        self.autoconf.temporaries = count.wrapping_add(1);
        let secret = &self.autoconf.temporary_secret;
        let is_ours = |address| self.assigned(interface).any(|own| own.address == address);
        let (address, spread) = address(secret, (interface, network), count, is_ours);
        // RFC 8981 3.8: MAX_DESYNC_FACTOR is four tenths of the preferred lifetime.
        let sooner = shared.config.temporary_preferred * 2 / 5 * (spread % 1000) / 1000;
        let mut temporary = Temporary { made: shared.now, sooner, successor: None };
        let (preferred, valid) = temporary.lifetimes(&shared.config, lifetimes);
        if preferred <= shared.now.after(REGEN_ADVANCE) {
            return Err(Error::InvalidInput);
        }
        temporary.successor = Some(before(preferred));
        let lease = Lease {
            interface,
            prefix,
            address,
            retries,
            preferred_until: Some(preferred),
            valid_until: Some(valid),
            temporary: Some(temporary),
        };
        self.take_lease(shared, lease, wait)
    }

    /// Makes the successors that are due (RFC 8981 3.6), for prefixes that are still good.
    pub(super) fn replace_temporaries(&mut self, shared: &Shared) {
        let mut due = Vec::new();
        for lease in &mut self.autoconf.leases {
            let Some(temporary) = &mut lease.temporary else { continue };
            if temporary.successor.is_some_and(|due| due <= shared.now) {
                temporary.successor = None;
                due.push((lease.interface, lease.prefix));
            }
        }
        for (interface, prefix) in due {
            let stable = self.autoconf.leases.iter().find(|lease| {
                let of_prefix = (lease.interface, lease.prefix) == (interface, prefix);
                of_prefix && lease.temporary.is_none()
            });
            let Some(stable) = stable else { continue };
            let lifetimes = (stable.preferred_until, stable.valid_until);
            let address = IpAddr::V6(stable.address);
            let old =
                self.assigned(interface).any(|own| own.address == address && own.is_deprecated());
            if !old {
                let first = (0, shared.config.solicitation_delay);
                let _ = self.make_temporary(shared, interface, prefix, lifetimes, first);
            }
        }
    }
}

/// When a successor is made of what grows old at `end`.
fn before(end: Instant) -> Instant {
    Instant::from_nanos(end.as_nanos().saturating_sub(REGEN_ADVANCE.as_nanos() as u64))
}

/// RFC 8981 3.3.2: an address that nobody can tell from the one before, and a number to spread hosts
/// with. Shards of one host, which share the secret, make the same.
fn address(
    secret: &[u8; 16],
    (interface, network): (InterfaceId, Ipv6Addr),
    count: u32,
    is_ours: impl Fn(IpAddr) -> bool,
) -> (Ipv6Addr, u32) {
    let number = |purpose: u32| {
        let mut hash = SipHasher24::new_with_key(secret);
        hash.write(&network.octets()[..8]);
        hash.write_u8(interface.0);
        hash.write_u32(count);
        hash.write_u32(purpose);
        hash.finish()
    };
    let address = first_free(network, (1..).map(number), is_ours);
    // The lower half of a uniform hash is uniform.
    (address, number(0) as u32)
}
