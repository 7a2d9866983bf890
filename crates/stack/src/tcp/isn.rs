//! Initial sequence numbers (RFC 9293 3.4.1) and timestamp offsets (RFC 7323 5.4).
//!
//! `ISN = M + F(local, remote, key)`: M is a clock of 4 microseconds, so a new incarnation of a
//! connection starts beyond the old one; F is a keyed hash, so nobody who does not know the key
//! can tell where another connection starts.

use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher24;
use wire::time::Instant;

use super::seq::Seq;
use crate::flow::FourTuple;

/// One tick of the clock M of RFC 9293 3.4.1, in microseconds.
const TICK_MICROS: u64 = 4;

/// Gives every new connection its initial sequence number and its timestamp offset.
#[derive(Clone)]
pub(crate) struct IsnGenerator {
    /// The secret of F: random, drawn once when the stack is made, and never shown.
    key: [u8; 16],
}

impl IsnGenerator {
    /// A generator with a secret that no peer can know.
    ///
    /// The caller's clock may begin at zero each time the stack is made. A fresh key each time
    /// keeps the numbers unpredictable, but two lives of a stack do not continue each other.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The initial sequence number of a connection that begins now.
    ///
    /// For one tuple the numbers advance by one every 4 microseconds and wrap after 4.77 hours.
    pub(crate) fn next(&self, now: Instant, tuple: &FourTuple) -> Seq {
        let clock = low_half(now.as_micros() / TICK_MICROS);
        let mut hash = KeyedHash::new(&self.key, Purpose::InitialSequence);
        hash.endpoint(tuple.local).endpoint(tuple.remote);
        Seq(clock).plus(low_half(hash.finish()))
    }

    /// What to add to our timestamp clock on connections between these two addresses.
    ///
    /// Without it the clock would tell everybody how long we have been running (RFC 7323 7.1).
    /// Only the addresses count, not the ports: a peer sees one clock that advances through all
    /// the connections of one host, as PAWS and the reuse of TIME-WAIT (RFC 6191) need it.
    pub(crate) fn timestamp_offset(&self, tuple: &FourTuple) -> u32 {
        let mut hash = KeyedHash::new(&self.key, Purpose::TimestampOffset);
        hash.address(tuple.local.ip()).address(tuple.remote.ip());
        low_half(hash.finish())
    }
}

impl core::fmt::Debug for IsnGenerator {
    /// Never prints the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("IsnGenerator { .. }")
    }
}

/// What a keyed hash is for: the same input for another purpose gives an unrelated value.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// F of RFC 9293 3.4.1.
    InitialSequence = 1,
    /// The offset of RFC 7323 5.4.
    TimestampOffset = 2,
    /// F of RFC 6056 3.3.4: where in the range a destination begins.
    PortOffset = 3,
    /// G of RFC 6056 3.3.4: which counter a destination uses.
    PortIndex = 4,
    /// The first values of the counters of RFC 6056 3.3.4.
    PortCounter = 5,
    /// The part of a SYN cookie that stays (RFC 4987 3.6).
    CookieBase = 6,
    /// The part of a SYN cookie that changes every minute (RFC 4987 3.6).
    CookieMinute = 7,
}

/// SipHash-2-4 over addresses and ports in one fixed byte order.
///
/// The standard library's own hashing of addresses may change from release to release; these
/// bytes do not, so one seed gives the same packets everywhere.
#[derive(Debug)]
pub(crate) struct KeyedHash(SipHasher24);

impl KeyedHash {
    /// A hash of nothing but its purpose so far.
    pub(crate) fn new(key: &[u8; 16], purpose: Purpose) -> Self {
        let mut hasher = SipHasher24::new_with_key(key);
        hasher.write(&[purpose as u8]);
        Self(hasher)
    }

    /// Adds an address; the two families never collide.
    pub(crate) fn address(&mut self, address: IpAddr) -> &mut Self {
        match address {
            IpAddr::V4(v4) => {
                self.0.write(&[4]);
                self.0.write(&v4.octets());
            }
            IpAddr::V6(v6) => {
                self.0.write(&[6]);
                self.0.write(&v6.octets());
            }
        }
        self
    }

    /// Adds an address and a port.
    pub(crate) fn endpoint(&mut self, endpoint: SocketAddr) -> &mut Self {
        self.address(endpoint.ip());
        self.0.write(&endpoint.port().to_be_bytes());
        self
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.0.write(&number.to_be_bytes());
        self
    }

    /// The hash of everything added.
    pub(crate) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// The low 32 bits.
pub(crate) const fn low_half(value: u64) -> u32 {
    (value & 0xFFFF_FFFF) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;
    use wire::time::Duration;

    fn tuple(remote_port: u16) -> FourTuple {
        let local = (IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), 80);
        FourTuple::new(local, (IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), remote_port))
    }

    #[test]
    fn the_clock_ticks_every_four_microseconds() {
        let isn = IsnGenerator::new([7; 16]);
        let first = isn.next(Instant::ZERO, &tuple(1));
        assert_eq!(isn.next(Instant::from_micros(3), &tuple(1)), first);
        assert_eq!(isn.next(Instant::from_micros(4), &tuple(1)), first.plus(1));
        assert_eq!(isn.next(Instant::from_micros(4_000_000), &tuple(1)), first.plus(1_000_000));
    }

    #[test]
    fn other_ports_and_other_keys_begin_elsewhere() {
        let isn = IsnGenerator::new([7; 16]);
        let first = isn.next(Instant::ZERO, &tuple(1));
        assert_ne!(isn.next(Instant::ZERO, &tuple(2)), first);
        assert_ne!(isn.next(Instant::ZERO, &tuple(1).reversed()), first);
        assert_ne!(IsnGenerator::new([8; 16]).next(Instant::ZERO, &tuple(1)), first);
    }

    #[test]
    fn one_peer_sees_one_timestamp_clock() {
        let isn = IsnGenerator::new([7; 16]);
        assert_eq!(isn.timestamp_offset(&tuple(1)), isn.timestamp_offset(&tuple(2)));
        let mut other = tuple(1);
        other.remote.set_ip(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 3)));
        assert_ne!(isn.timestamp_offset(&tuple(1)), isn.timestamp_offset(&other));
    }

    proptest! {
        #[test]
        fn one_tuple_only_moves_forward(
            key: [u8; 16],
            start in 0..u64::MAX / 2,
            micros in 4..0x7FFF_FFFF_u64 * TICK_MICROS,
        ) {
            let isn = IsnGenerator::new(key);
            let earlier = Instant::from_nanos(start);
            let later = earlier.after(Duration::from_micros(micros));
            prop_assert!(isn.next(later, &tuple(9)).is_after(isn.next(earlier, &tuple(9))));
        }
    }
}
