//! The window that we offer (RFC 9293 3.8.6), without silly steps (RFC 9293 3.8.6.2.2).
//!
//! The connection keeps the window as its right edge, the first position that the peer must not
//! send. The edge never moves back, whatever happens to the buffer behind it.

use crate::tcp::seq::Seq;

/// What the offer depends on, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// Room for more data: RCV.BUFF less what is received and not read.
    pub(crate) free: u32,
    /// The whole receive buffer: RCV.BUFF.
    pub(crate) capacity: u32,
    /// The payload of a full segment from the peer.
    pub(crate) mss: u32,
}

/// A window to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    /// The header's field: the window shifted right by our scale.
    pub(crate) field: u16,
    /// The edge to keep once the segment is sent: data before it was promised a place.
    pub(crate) edge: Seq,
}

/// Chooses the window for a segment that acknowledges `nxt`.
///
/// `edge` is the one promised last and `scale` our shift (RFC 7323 2.3); a SYN carries no scaled
/// window, so it passes zero.
///
/// The edge moves on only in steps of [`threshold`] (RFC 9293 3.8.6.2.2). While it stands, the
/// field is rounded up if the buffer has that room: rounded down it would take back what was
/// promised (RFC 7323 2.4). Where the buffer has not, the field rounds down, and the promise of
/// `edge` is kept all the same, as RFC 7323 2.4 demands.
pub(crate) fn choose(nxt: Seq, edge: Seq, scale: u8, space: &Space) -> Window {
    let scale = u32::from(scale.min(14));
    let largest = u32::from(u16::MAX) << scale;
    let promised = if edge.is_after(nxt) { edge.distance_from(nxt) } else { 0 };
    let field = if space.free >= promised.saturating_add(threshold(space)) {
        space.free.min(largest) >> scale
    } else {
        let up = promised.min(largest).div_ceil(1 << scale);
        if up << scale <= space.free.max(promised) { up } else { promised.min(largest) >> scale }
    };
    let field = u16::try_from(field).unwrap_or(u16::MAX);
    Window { field, edge: edge.later_of(nxt.plus(u32::from(field) << scale)) }
}

/// Whether the program has read so much that the peer should hear of it at once.
///
/// A step of [`threshold`] is allowed to be told, and it is worth a segment of its own when it
/// also doubles the window that the peer knows, as in Linux: a peer with half the buffer still
/// before it keeps sending and learns the rest from our ACKs.
pub(crate) fn update_worthwhile(nxt: Seq, edge: Seq, scale: u8, space: &Space) -> bool {
    let promised = if edge.is_after(nxt) { edge.distance_from(nxt) } else { 0 };
    let offered = choose(nxt, edge, scale, space).edge.distance_from(nxt);
    offered > promised && offered / 2 >= promised
}

/// The smallest step of the edge: `min(Fr * RCV.BUFF, Eff.snd.MSS)` with Fr = 1/2 (RFC 9293
/// 3.8.6.2.2).
fn threshold(space: &Space) -> u32 {
    space.mss.min(space.capacity / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NXT: Seq = Seq(u32::MAX - 500);

    fn space(free: u32) -> Space {
        Space { free, capacity: 10_000, mss: 1_000 }
    }

    #[test]
    fn rfc9293_3_8_6_2_2_the_edge_moves_in_steps_of_a_segment() {
        let table = [
            // promised, free, offered
            (0, 0, 0),
            (0, 999, 0),
            (0, 1_000, 1_000),
            (5_000, 5_999, 5_000),
            (5_000, 6_000, 6_000),
            // The buffer shrank: the promise stands.
            (5_000, 100, 5_000),
        ];
        for (promised, free, offered) in table {
            let window = choose(NXT, NXT.plus(promised), 0, &space(free));
            assert_eq!(u32::from(window.field), offered, "{promised} promised, {free} free");
            assert_eq!(window.edge, NXT.plus(offered));
        }
    }

    #[test]
    fn a_small_buffer_opens_by_halves() {
        let small = |free| Space { free, capacity: 800, mss: 1_000 };
        assert_eq!(choose(NXT, NXT, 0, &small(399)).field, 0);
        assert_eq!(choose(NXT, NXT, 0, &small(400)).field, 400);
    }

    #[test]
    fn the_field_is_as_large_as_it_gets() {
        let huge = Space { free: u32::MAX, capacity: u32::MAX, mss: 1_460 };
        assert_eq!(choose(NXT, NXT, 0, &huge).field, u16::MAX);
        let window = choose(NXT, NXT, 14, &huge);
        assert_eq!((window.field, window.edge), (u16::MAX, NXT.plus(65_535 << 14)));
    }

    #[test]
    fn rfc7323_2_4_rounding_does_not_take_back() {
        // 1000 promised, 7 received: 993 are 7.76 units of 128. The buffer has room for 8.
        let window = choose(NXT.plus(7), NXT.plus(1_000), 7, &space(1_024));
        assert_eq!(window.field, 8);
        // It has not: 7 units, and the promise is kept inside.
        let window = choose(NXT.plus(7), NXT.plus(1_000), 7, &space(993));
        assert_eq!((window.field, window.edge), (7, NXT.plus(1_000)));
    }

    #[test]
    fn an_update_is_sent_when_the_window_doubles() {
        let table =
            [(0, 999, false), (0, 1_000, true), (3_000, 5_999, false), (3_000, 6_000, true)];
        for (promised, free, expected) in table {
            let edge = NXT.plus(promised);
            assert_eq!(
                update_worthwhile(NXT, edge, 0, &space(free)),
                expected,
                "{promised} {free}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_edge_never_moves_back_and_never_beyond_the_room(
            nxt: u32, promised in 0..1_u32 << 20, scale in 0..16_u8,
            free in 0..1_u32 << 20, capacity in 0..1_u32 << 20, mss in 0..9_000_u32,
        ) {
            let nxt = Seq(nxt);
            let edge = nxt.plus(promised);
            let window = choose(nxt, edge, scale, &Space { free, capacity, mss });
            prop_assert!(window.edge.is_at_or_after(edge));
            prop_assert!(window.edge.distance_from(nxt) <= free.max(promised));
            let wire = u32::from(window.field) << scale.min(14);
            prop_assert!(wire <= window.edge.distance_from(nxt));
        }

        #[test]
        fn a_reader_that_reads_everything_always_lets_the_peer_go_on(
            promised in 0..20_000_u32, capacity in 1..20_000_u32, mss in 1..9_000_u32,
        ) {
            // The window is below what our peer's own rule lets it send, and all is read.
            let space = Space { free: capacity, capacity, mss };
            if promised < mss.min(capacity / 2) {
                prop_assert!(update_worthwhile(NXT, NXT.plus(promised), 0, &space));
            }
        }
    }
}
