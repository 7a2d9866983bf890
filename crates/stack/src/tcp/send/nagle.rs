//! Whether to send now, and how much: Nagle's algorithm (RFC 9293 3.7.4) and the avoidance of
//! silly windows on the sending side (RFC 9293 3.8.6.2.1).
//!
//! Full segments leave as soon as the windows let them. The question is only ever what to do with less
//! than a full one.

use crate::reason::Withheld;

/// What there is to send and what limits it, all in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// Data queued and never sent: D of RFC 9293 3.8.6.2.1.
    pub(crate) queued: u64,
    /// What the peer's window still takes: U of RFC 9293 3.8.6.2.1.
    pub(crate) peer_room: u64,
    /// What the congestion window still takes.
    pub(crate) congestion_room: u64,
    /// The largest window that the peer ever offered: Max(SND.WND).
    pub(crate) max_window: u64,
    /// The payload of a full segment: Eff.snd.MSS.
    pub(crate) mss: u32,
    /// The most that one transmission carries: a super-segment where the link cuts them, else one
    /// segment.
    pub(crate) limit: u32,
    /// Something is not acknowledged: `SND.UNA < SND.NXT`.
    pub(crate) in_flight: bool,
    /// A segment that was not full is not acknowledged; see [`decide`].
    pub(crate) small_in_flight: bool,
    /// `TCP_NODELAY`: the program wants no Nagle.
    pub(crate) nodelay: bool,
    /// `TCP_CORK`: the program wants only full segments to leave.
    pub(crate) cork: bool,
    /// FIN follows the last queued byte: nothing can be added to it any more.
    pub(crate) fin: bool,
    /// What was held back has waited long enough (RFC 9293 3.8.6.2.1, condition 4).
    pub(crate) overdue: bool,
}

/// What to do with the queue now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// Send this many bytes in one transmission: some full segments, of which the last may be
    /// partial if the queue ends with it.
    Send(u32),
    /// Wait, for this reason.
    Withhold(Withheld),
    /// Nothing is queued.
    Nothing,
}

/// Decides what to send.
///
/// Nagle's algorithm holds a partial segment back while anything is unacknowledged. As in Linux it
/// is held back only while another *partial* one is (Minshall's refinement): the end of a large
/// write need not wait for the peer's delayed ACK of its full segments, and a program that writes
/// byte by byte still has one small segment in flight at most. A caller who wants the strict rule
/// sets `small_in_flight` whenever `in_flight` is set.
pub(crate) fn decide(offer: &Offer) -> Decision {
    if offer.queued == 0 {
        return Decision::Nothing;
    }
    let mss = u64::from(offer.mss.max(1));
    let room = offer.peer_room.min(offer.congestion_room);
    let full = room.min(offer.queued) / mss * mss;
    let most = (u64::from(offer.limit) / mss * mss).max(mss);
    if full >= most {
        return Decision::Send(narrow(most));
    }
    // Less than the limit in full segments: does the partial one behind them go along?
    let rest = offer.queued - full;
    let verdict = if rest == 0 {
        Ok(0)
    } else if offer.queued <= room {
        may_end_small(offer).map(|()| rest)
    } else {
        may_fill_window(offer, room - full, full > 0).map(|()| room - full)
    };
    match verdict {
        Ok(partial) => Decision::Send(narrow(full + partial)),
        Err(_) if full > 0 => Decision::Send(narrow(full)),
        Err(reason) => Decision::Withhold(reason),
    }
}

/// The queue ends with a partial segment, and the windows have room for it: RFC 9293 3.8.6.2.1,
/// condition 2 with Nagle's bracket.
fn may_end_small(offer: &Offer) -> Result<(), Withheld> {
    if offer.fin || offer.overdue {
        Ok(())
    } else if offer.cork {
        Err(Withheld::Corked)
    } else if offer.nodelay || !offer.small_in_flight {
        Ok(())
    } else {
        Err(Withheld::Nagle)
    }
}

/// A window ends before the next full segment does, `room` bytes from here.
fn may_fill_window(offer: &Offer, room: u64, follows_full: bool) -> Result<(), Withheld> {
    if offer.congestion_room < offer.peer_room {
        // It moves on with the next ACK; to fill it to the byte would only make small segments.
        return Err(Withheld::CongestionWindow);
    }
    if room == 0 {
        return Err(Withheld::PeerWindow);
    }
    if offer.overdue {
        return Ok(());
    }
    // Condition 3: half of the largest window ever is worth a segment, even if that is a small
    // one. A peer whose whole window is below one segment would otherwise get nothing.
    let quiet = offer.nodelay || !(offer.in_flight || follows_full);
    if quiet && !offer.cork && room >= offer.max_window.div_ceil(2) {
        return Ok(());
    }
    Err(Withheld::SillyWindow)
}

/// Lengths here are bounded by `limit`, a `u32`.
fn narrow(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Decision::{Nothing, Send, Withhold};
    use proptest::prelude::*;

    /// One segment of 1000 at most, wide windows, Nagle on, nothing in flight.
    const OPEN: Offer = Offer {
        queued: 0,
        peer_room: 100_000,
        congestion_room: 100_000,
        max_window: 100_000,
        mss: 1_000,
        limit: 1_000,
        in_flight: false,
        small_in_flight: false,
        nodelay: false,
        cork: false,
        fin: false,
        overdue: false,
    };
    /// The same with a small segment in flight.
    const BUSY: Offer = Offer { in_flight: true, small_in_flight: true, ..OPEN };

    #[test]
    fn rfc9293_3_7_4_nagle() {
        let table = [
            ("nothing queued", OPEN, Nothing),
            ("idle: small at once", Offer { queued: 1, ..OPEN }, Send(1)),
            ("small waits for the ACK", Offer { queued: 1, ..BUSY }, Withhold(Withheld::Nagle)),
            ("full never waits", Offer { queued: 1_000, ..BUSY }, Send(1_000)),
            ("off", Offer { queued: 1, nodelay: true, ..BUSY }, Send(1)),
            ("the last before FIN", Offer { queued: 1, fin: true, ..BUSY }, Send(1)),
            (
                "only full ones in flight",
                Offer { queued: 1, small_in_flight: false, ..BUSY },
                Send(1),
            ),
            ("corked", Offer { queued: 999, cork: true, ..OPEN }, Withhold(Withheld::Corked)),
            ("corked, full", Offer { queued: 1_001, cork: true, ..OPEN }, Send(1_000)),
            ("corked, too long", Offer { queued: 9, cork: true, overdue: true, ..OPEN }, Send(9)),
            (
                "cork outweighs nodelay",
                Offer { queued: 9, cork: true, nodelay: true, ..OPEN },
                Withhold(Withheld::Corked),
            ),
        ];
        for (name, offer, expected) in table {
            assert_eq!(decide(&offer), expected, "{name}");
        }
    }

    #[test]
    fn rfc9293_3_8_6_2_1_silly_windows() {
        let large = Offer { queued: 50_000, ..OPEN };
        let table = [
            ("closed", Offer { peer_room: 0, ..large }, Withhold(Withheld::PeerWindow)),
            ("silly", Offer { peer_room: 999, ..large }, Withhold(Withheld::SillyWindow)),
            ("overdue", Offer { peer_room: 999, overdue: true, ..large }, Send(999)),
            (
                "closed and overdue",
                Offer { peer_room: 0, overdue: true, ..large },
                Withhold(Withheld::PeerWindow),
            ),
            ("a full segment fits", Offer { peer_room: 1_000, ..large }, Send(1_000)),
            (
                "half of a small peer's window",
                Offer { peer_room: 300, max_window: 600, ..large },
                Send(300),
            ),
            (
                "less than half",
                Offer { peer_room: 299, max_window: 600, ..large },
                Withhold(Withheld::SillyWindow),
            ),
            (
                "half, but Nagle waits",
                Offer { peer_room: 300, max_window: 600, in_flight: true, ..large },
                Withhold(Withheld::SillyWindow),
            ),
            (
                "half, without Nagle",
                Offer { peer_room: 300, max_window: 600, in_flight: true, nodelay: true, ..large },
                Send(300),
            ),
            ("all of the queue fits", Offer { queued: 300, peer_room: 300, ..OPEN }, Send(300)),
            (
                "the congestion window is full",
                Offer { congestion_room: 0, ..large },
                Withhold(Withheld::CongestionWindow),
            ),
            (
                "the congestion window has a bit",
                Offer { congestion_room: 999, ..large },
                Withhold(Withheld::CongestionWindow),
            ),
        ];
        for (name, offer, expected) in table {
            assert_eq!(decide(&offer), expected, "{name}");
        }
    }

    #[test]
    fn super_segments() {
        let many = Offer { limit: 64_500, queued: 200_000, ..OPEN };
        let table = [
            ("whole segments up to the limit", many, Send(64_000)),
            ("the window ends it", Offer { peer_room: 10_999, ..many }, Send(10_000)),
            (
                "the congestion window ends it",
                Offer { congestion_room: 7_500, ..many },
                Send(7_000),
            ),
            ("the end goes along", Offer { queued: 2_500, ..many }, Send(2_500)),
            (
                "the end waits for a small one",
                Offer { queued: 2_500, limit: 64_500, ..BUSY },
                Send(2_000),
            ),
            ("corked", Offer { queued: 2_500, cork: true, ..many }, Send(2_000)),
            ("a limit below one segment", Offer { limit: 10, ..many }, Send(1_000)),
        ];
        for (name, offer, expected) in table {
            assert_eq!(decide(&offer), expected, "{name}");
        }
    }

    prop_compose! {
        fn any_offer()(
            queued in 0..200_000_u64, peer_room in 0..100_000_u64,
            congestion_room in 0..100_000_u64, max_window in 0..200_000_u64,
            mss in 0..3_000_u32, limit in 0..70_000_u32, flags: [bool; 6],
        ) -> Offer {
            let [in_flight, small, nodelay, cork, fin, overdue] = flags;
            Offer {
                queued, peer_room, congestion_room, max_window, mss, limit, in_flight,
                small_in_flight: small && in_flight, nodelay, cork, fin, overdue,
            }
        }
    }

    proptest! {
        #[test]
        fn never_more_than_is_there_or_allowed(offer in any_offer()) {
            if let Send(length) = decide(&offer) {
                let length = u64::from(length);
                prop_assert!(length > 0 && length <= offer.queued);
                prop_assert!(length <= offer.peer_room && length <= offer.congestion_room);
                prop_assert!(length <= u64::from(offer.limit.max(offer.mss).max(1)));
            }
        }

        #[test]
        fn a_connection_with_nothing_in_flight_and_room_for_a_segment_never_waits(
            offer in any_offer(),
        ) {
            let room = offer.peer_room.min(offer.congestion_room);
            let idle = Offer { in_flight: false, small_in_flight: false, cork: false, ..offer };
            if room >= u64::from(offer.mss.max(1)) && offer.queued > 0 {
                prop_assert!(matches!(decide(&idle), Send(_)), "{idle:?}");
            }
        }
    }
}
