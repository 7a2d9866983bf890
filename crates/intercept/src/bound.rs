//! The addresses and ports that programs have bound (bind(2)): who may have one beside whom.
//!
//! On the stack a port is taken when somebody listens or connects. What `bind` alone does, it does here:
//! others get `EADDRINUSE`, and a SYN that comes still finds nobody.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// The ports that programs get that ask for any (as the stack's own `Config::ephemeral_ports`).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// Who shares an address and port with others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sharing {
    /// `SO_REUSEADDR`: with all that set it too, unless one of them listens.
    pub(crate) address: bool,
    /// `SO_REUSEPORT`: with all that set it too.
    pub(crate) port: bool,
}

/// All that TCP sockets of programs are bound to. A clone is the same one: the supervisors that serve
/// programs with one stack share it, so that a port that is taken is refused where it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    entries: Arc<Mutex<Vec<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    local: SocketAddr,
    only_v6: bool,
    sharing: Sharing,
    listens: bool,
}

/// An address and port of one socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    number: u64,
    local: SocketAddr,
    sharing: Sharing,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Bound {
    /// Binds to `local`. Port 0 is one that is free, the search for which begins at `first`; `is_free`
    /// is asked of it, too.
    ///
    /// # Errors
    /// `EADDRINUSE`.
    pub(crate) fn bind(
        &self,
        local: SocketAddr,
        only_v6: bool,
        sharing: Sharing,
        first: u16,
        is_free: impl Fn(u16) -> bool,
    ) -> Result<Hold, Errno> {
        let mut entries = lock(&self.entries);
        let with_port = |port| Entry {
            number: entries.last().map_or(0, |last| last.number + 1),
            local: SocketAddr::new(local.ip(), port),
            only_v6,
            sharing,
            listens: false,
        };
        let fits = |entry: &Entry| !entries.iter().any(|other| entry.conflicts(other));
        let entry = if local.port() == 0 {
            // One that nobody has, sharing or not.
            let unused = |port: &u16| {
                let used = entries.iter().any(|other| other.local.port() == *port);
                !used && is_free(*port)
            };
            let count = EPHEMERAL.end() - EPHEMERAL.start() + 1;
            let mut ports = (0..count).map(|step| {
                EPHEMERAL.start()
                    + (u32::from(first) + u32::from(step)).rem_euclid(u32::from(count)) as u16
            });
            with_port(ports.find(unused).ok_or(Errno::ADDRINUSE)?)
        } else {
            Some(with_port(local.port())).filter(fits).ok_or(Errno::ADDRINUSE)?
        };
        let hold = Hold {
            number: entry.number,
            local: entry.local,
            sharing,
            entries: Arc::clone(&self.entries),
        };
        entries.push(entry);
        Ok(hold)
    }
}

impl Hold {
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Whether the socket listens from now on.
    ///
    /// # Errors
    /// `EADDRINUSE` when another one listens there that does not share the port.
    pub(crate) fn set_listens(&self, listens: bool) -> Result<(), Errno> {
        let mut entries = lock(&self.entries);
        let Some(place) = entries.iter().position(|entry| entry.number == self.number) else {
            return Ok(());
        };
        entries[place].listens = listens;
        let conflict = entries.iter().any(|other| {
            other.number != self.number && other.listens && entries[place].conflicts(other)
        });
        if listens && conflict {
            entries[place].listens = false;
            return Err(Errno::ADDRINUSE);
        }
        Ok(())
    }
}

fn lock(entries: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.entries).retain(|entry| entry.number != self.number);
    }
}

impl Entry {
    /// As Linux decides (inet_csk_bind_conflict).
    fn conflicts(&self, other: &Self) -> bool {
        let shared_port = self.sharing.port && other.sharing.port;
        let listens = self.listens || other.listens;
        let shared_address = self.sharing.address && other.sharing.address && !listens;
        self.overlaps(other) && !shared_port && !shared_address
    }

    fn overlaps(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.local.ip(), other.local.ip());
        let any = |entry: &Self| match entry.local.ip() {
            // Both families, unless it was said otherwise.
            IpAddr::V6(ip) => ip.is_unspecified() && !entry.only_v6,
            IpAddr::V4(_) => false,
        };
        let families = mine.is_ipv4() == theirs.is_ipv4();
        let same = families && (mine == theirs || mine.is_unspecified() || theirs.is_unspecified());
        self.local.port() == other.local.port() && (same || any(self) || any(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Sharing = Sharing { address: false, port: false };
    const ADDRESS: Sharing = Sharing { address: true, port: false };
    const PORT: Sharing = Sharing { address: false, port: true };

    fn bind(bound: &Bound, local: &str, sharing: Sharing) -> Result<Hold, Errno> {
        bound.bind(local.parse().unwrap(), false, sharing, 0, |_| true)
    }

    #[test]
    fn an_address_belongs_to_one() {
        let bound = Bound::default();
        let first = bind(&bound, "0.0.0.0:80", NONE).unwrap();
        for taken in ["0.0.0.0:80", "127.0.0.1:80", "[::]:80"] {
            assert_eq!(bind(&bound, taken, ADDRESS).unwrap_err(), Errno::ADDRINUSE, "{taken}");
        }
        bind(&bound, "0.0.0.0:81", NONE).unwrap();
        bind(&bound, "[::1]:80", NONE).unwrap();
        drop(first);
        bind(&bound, "127.0.0.1:80", NONE).unwrap();
    }

    #[test]
    fn different_addresses_do_not_meet() {
        let bound = Bound::default();
        let _one = bind(&bound, "10.0.0.1:80", NONE).unwrap();
        let _two = bind(&bound, "10.0.0.2:80", NONE).unwrap();
        assert!(bind(&bound, "0.0.0.0:80", NONE).is_err());
    }

    #[test]
    fn addresses_are_shared_until_somebody_listens() {
        let bound = Bound::default();
        let one = bind(&bound, "0.0.0.0:80", ADDRESS).unwrap();
        let two = bind(&bound, "0.0.0.0:80", ADDRESS).unwrap();
        one.set_listens(true).unwrap();
        assert_eq!(two.set_listens(true), Err(Errno::ADDRINUSE));
        assert!(bind(&bound, "0.0.0.0:80", ADDRESS).is_err());
        one.set_listens(false).unwrap();
        two.set_listens(true).unwrap();
    }

    #[test]
    fn ports_are_shared_by_listeners() {
        let bound = Bound::default();
        let one = bind(&bound, "0.0.0.0:80", PORT).unwrap();
        let two = bind(&bound, "0.0.0.0:80", PORT).unwrap();
        one.set_listens(true).unwrap();
        two.set_listens(true).unwrap();
        assert!(bind(&bound, "0.0.0.0:80", ADDRESS).is_err());
        assert!(bind(&bound, "0.0.0.0:80", NONE).is_err());
    }

    #[test]
    fn a_free_port_is_nobodys() {
        let bound = Bound::default();
        let free = |port: u16| port.is_multiple_of(2);
        let any = "0.0.0.0:0".parse().unwrap();
        let one = bound.bind(any, false, PORT, 7, free).unwrap();
        let two = bound.bind(any, false, PORT, 7, free).unwrap();
        assert_eq!((one.local().port(), two.local().port()), (32_776, 32_778));
    }
}
