//! SYN cookies (RFC 4987 3.6): a handshake that the listener does not remember.
//!
//! When the SYN queue is full, everything that a half-open entry would hold goes into the initial
//! sequence number of the SYN-ACK, and what does not fit there into its timestamp. The last ACK of
//! the handshake brings both back.
//!
//! The sequence number, modulo 2^32, is the sum of
//! - a keyed hash of the tuple, which alone makes the rest unreadable,
//! - the peer's initial sequence number, so that ours grows with every incarnation,
//! - the low 8 bits of the minute, in the highest 8 bits, and
//! - in the lowest 24 bits the MSS class plus a keyed hash of tuple, peer's number and minute.
//!
//! Of 2^32 guesses, 16 are right at any time (8 classes in 2 minutes).

use wire::time::Instant;

use crate::flow::FourTuple;
use crate::tcp::isn::{KeyedHash, Purpose, low_half};
use crate::tcp::seq::Seq;

/// The segment sizes that a cookie can tell, in bytes of payload. A peer's own is rounded down:
/// the least that makes sense (it stands for all below it, too), 576-byte packets with and without
/// room for options, IPv6's minimum, a tunnel, PPPoE, Ethernet, and jumbo frames.
const CLASSES: [u16; 8] = [48, 216, 536, 1220, 1360, 1440, 1460, 8960];

/// How many minutes a cookie lives at most: it is good in the minute of its making and the next.
const LIFETIME: u64 = 2;

/// The part of a cookie below the minute.
const LOW_BITS: u32 = 24;
const LOW_MASK: u32 = (1 << LOW_BITS) - 1;

/// The low bits of a timestamp that carry options: 4 for the scale, 1 for SACK, 1 for ECN.
const OPTION_MASK: u32 = 0x3F;
/// The scale's bits when the peer offered no window scaling; 14 is the largest true one.
const NO_SCALE: u32 = 0x0F;
const SACK_BIT: u32 = 0x10;
const ECN_BIT: u32 = 0x20;

/// Bakes cookies and knows its own.
#[derive(Clone)]
pub(crate) struct SynCookies {
    /// The secret of both hashes.
    key: [u8; 16],
}

/// What a cookie remembers of the peer's SYN besides its MSS. Only a peer with timestamps gets
/// these, for they travel in ours; a peer without goes on with none of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CookieOptions {
    /// The shift that the peer announced (RFC 7323 2), at most 14.
    pub(crate) window_scale: Option<u8>,
    /// The peer permits SACK (RFC 2018 2).
    pub(crate) sack: bool,
    /// The peer asks for ECN (RFC 3168 6.1.1).
    pub(crate) ecn: bool,
}

impl SynCookies {
    /// Cookies under a secret that no peer can know.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// Our initial sequence number for a SYN of `tuple` with the number `irs` that announced `mss`.
    pub(crate) fn encode(&self, now: Instant, tuple: &FourTuple, irs: Seq, mss: u16) -> Seq {
        let minute = minute(now);
        let class = CLASSES.iter().rposition(|size| *size <= mss).unwrap_or(0);
        // There are eight classes.
        let low = self.minute_hash(tuple, irs, minute).wrapping_add(class as u32) & LOW_MASK;
        let high = low_half(minute) << LOW_BITS;
        self.base(tuple, irs).plus(high | low)
    }

    /// The MSS that the peer announced, rounded down to its class, if `cookie` is one that we gave
    /// for this tuple and `irs` no longer than two minutes ago; `None` for anything else.
    ///
    /// `irs` is the sequence number of the peer's ACK less one, and `cookie` what it acknowledges
    /// less one.
    pub(crate) fn check(
        &self,
        now: Instant,
        tuple: &FourTuple,
        irs: Seq,
        cookie: Seq,
    ) -> Option<u16> {
        let value = cookie.distance_from(self.base(tuple, irs));
        let current = minute(now);
        let age = u64::from(low_half(current).wrapping_sub(value >> LOW_BITS) & 0xFF);
        if age >= LIFETIME {
            return None;
        }
        let baked = current.checked_sub(age)?;
        let class = value.wrapping_sub(self.minute_hash(tuple, irs, baked)) & LOW_MASK;
        CLASSES.get(usize::try_from(class).ok()?).copied()
    }

    /// Puts `options` into the lowest six bits of a timestamp that is about to be sent, as it will
    /// stand in the segment. The value moves back by less than 64 ticks, never forward, so that
    /// the connection's later timestamps are not older than this one.
    pub(crate) fn encode_options(value: u32, options: CookieOptions) -> u32 {
        let scale = options.window_scale.map_or(NO_SCALE, |scale| u32::from(scale.min(14)));
        let sack = if options.sack { SACK_BIT } else { 0 };
        let ecn = if options.ecn { ECN_BIT } else { 0 };
        let bits = scale | sack | ecn;
        let whole = value & !OPTION_MASK;
        let step = if bits > value & OPTION_MASK { OPTION_MASK + 1 } else { 0 };
        (whole | bits).wrapping_sub(step)
    }

    /// Reads the options back from a timestamp echo, as it stands in the segment.
    pub(crate) fn decode_options(echo: u32) -> CookieOptions {
        // Four bits.
        let scale = (echo & NO_SCALE) as u8;
        CookieOptions {
            window_scale: (scale <= 14).then_some(scale),
            sack: echo & SACK_BIT != 0,
            ecn: echo & ECN_BIT != 0,
        }
    }

    fn base(&self, tuple: &FourTuple, irs: Seq) -> Seq {
        let mut hash = KeyedHash::new(&self.key, Purpose::CookieBase);
        hash.endpoint(tuple.local).endpoint(tuple.remote);
        irs.plus(low_half(hash.finish()))
    }

    fn minute_hash(&self, tuple: &FourTuple, irs: Seq, minute: u64) -> u32 {
        let mut hash = KeyedHash::new(&self.key, Purpose::CookieMinute);
        hash.endpoint(tuple.local).endpoint(tuple.remote).number(u64::from(irs.0)).number(minute);
        low_half(hash.finish())
    }
}

impl core::fmt::Debug for SynCookies {
    /// Never prints the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SynCookies { .. }")
    }
}

/// Minutes since the clock's epoch.
fn minute(now: Instant) -> u64 {
    now.as_millis() / 60_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr};
    use proptest::prelude::*;

    const IRS: Seq = Seq(0xFFFF_FFF0);

    fn tuple(remote_port: u16) -> FourTuple {
        let local = (IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), 80);
        FourTuple::new(local, (IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), remote_port))
    }

    fn cookies() -> SynCookies {
        SynCookies::new([5; 16])
    }

    #[test]
    fn every_class_comes_back_and_others_are_rounded_down() {
        let now = Instant::from_millis(30_000);
        let table = [
            (0, 48),
            (47, 48),
            (48, 48),
            (216, 216),
            (535, 216),
            (536, 536),
            (1220, 1220),
            (1360, 1360),
            (1440, 1440),
            (1459, 1440),
            (1460, 1460),
            (8960, 8960),
            (u16::MAX, 8960),
        ];
        for (mss, expected) in table {
            let cookie = cookies().encode(now, &tuple(1), IRS, mss);
            assert_eq!(cookies().check(now, &tuple(1), IRS, cookie), Some(expected), "MSS {mss}");
        }
    }

    #[test]
    fn a_cookie_lives_one_to_two_minutes() {
        let baked = Instant::from_millis(59_999);
        let cookie = cookies().encode(baked, &tuple(1), IRS, 1460);
        let check = |ms| cookies().check(Instant::from_millis(ms), &tuple(1), IRS, cookie);
        assert_eq!(check(59_999), Some(1460));
        assert_eq!(check(119_999), Some(1460));
        assert_eq!(check(120_000), None);
        // The eight bits of the minute come round after 256; the hash knows better.
        assert_eq!(check(256 * 60_000), None);
        assert_eq!(check(257 * 60_000), None);
    }

    #[test]
    fn another_tuple_number_or_key_is_refused() {
        let now = Instant::from_millis(1);
        let cookie = cookies().encode(now, &tuple(1), IRS, 1460);
        assert_eq!(cookies().check(now, &tuple(2), IRS, cookie), None);
        assert_eq!(cookies().check(now, &tuple(1).reversed(), IRS, cookie), None);
        assert_eq!(cookies().check(now, &tuple(1), IRS.plus(1), cookie), None);
        assert_eq!(SynCookies::new([6; 16]).check(now, &tuple(1), IRS, cookie), None);
        for bit in 0..32 {
            let forged = Seq(cookie.0 ^ (1 << bit));
            let seen = cookies().check(now, &tuple(1), IRS, forged);
            // A flip of the lowest bits may only turn one class into another.
            assert!(seen.is_none() || bit < 3, "bit {bit}");
        }
    }

    #[test]
    fn guesses_are_refused() {
        let now = Instant::from_millis(10 * 60_000);
        let cookies = cookies();
        // Steps of a large odd number walk over the circle evenly. A guess is right with a chance
        // of 2^-28, so that of 400,000 more than one is a mistake of ours.
        let mut guess = Seq(1);
        let mut accepted = 0;
        for _ in 0..400_000 {
            guess = guess.plus(0x9E37_79B1);
            accepted += u32::from(cookies.check(now, &tuple(1), IRS, guess).is_some());
        }
        assert!(accepted <= 1, "{accepted} guesses were accepted");
    }

    #[test]
    fn a_peer_that_offered_no_scaling_gets_none_back() {
        let value = SynCookies::encode_options(1_000_000, CookieOptions::default());
        assert_eq!(SynCookies::decode_options(value), CookieOptions::default());
    }

    proptest! {
        #[test]
        fn a_true_cookie_is_known(
            millis in 0..1_u64 << 50, later in 0..60_000_u64, irs: u32, mss: u16, port: u16,
        ) {
            let cookie =
                cookies().encode(Instant::from_millis(millis), &tuple(port), Seq(irs), mss);
            let now = Instant::from_millis(millis + later);
            let seen = cookies().check(now, &tuple(port), Seq(irs), cookie).unwrap();
            prop_assert!(seen <= mss.max(48));
        }

        #[test]
        fn options_travel_in_a_timestamp_that_is_never_from_the_future(
            value: u32, scale in proptest::option::of(0..15_u8), sack: bool, ecn: bool,
        ) {
            let options = CookieOptions { window_scale: scale, sack, ecn };
            let sent = SynCookies::encode_options(value, options);
            prop_assert_eq!(SynCookies::decode_options(sent), options);
            prop_assert!(value.wrapping_sub(sent) < 64);
        }
    }
}
