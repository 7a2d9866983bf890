//! Several segments as the one that a script expects.
//!
//! packetdrill sees what Linux hands to a device that cuts segments itself, so a script may expect
//! `> P. 1:5001(5000)` where five segments leave. `--strict_segments` forbids it.

use crate::segment::{Flags, Segment};

/// What may differ between the parts of one expected segment.
const MAY_DIFFER: Flags = Flags::FIN.with(Flags::PSH).with(Flags::CWR);

/// Appends `next` to `whole`, of which `wanted` bytes are expected. False when it is no part of it:
/// its header differs, or another size in the middle.
pub(super) fn append(whole: &mut Segment, first_len: usize, next: &Segment, wanted: usize) -> bool {
    let end = whole.seq.wrapping_add(u32::try_from(whole.payload.len()).unwrap_or(u32::MAX));
    let is_last = whole.payload.len() + next.payload.len() >= wanted;
    let continues = next.seq == end
        && whole.flags.without(MAY_DIFFER) == next.flags.without(MAY_DIFFER)
        && (whole.ack, whole.window, whole.urgent) == (next.ack, next.window, next.urgent)
        && whole.traffic_class == next.traffic_class
        && (is_last || next.payload.len() == first_len);
    if continues {
        let congestion = Flags(whole.flags.0 & Flags::CWR.0);
        whole.flags = next.flags.without(Flags::CWR).with(congestion);
        whole.options.clone_from(&next.options);
        whole.payload.extend(&next.payload);
    }
    continues
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(seq: u32, length: usize, flags: Flags) -> Segment {
        let address = "192.0.2.1:1".parse().unwrap();
        Segment { seq, flags, payload: vec![0; length], ..Segment::new(address, address) }
    }

    #[test]
    fn parts_of_one_size_and_a_last_one_are_one() {
        let mut whole = segment(1, 1000, Flags::ACK);
        assert!(append(&mut whole, 1000, &segment(1001, 1000, Flags::ACK), 2500));
        let last = segment(2001, 500, Flags::ACK.with(Flags::PSH));
        assert!(append(&mut whole, 1000, &last, 2500));
        assert_eq!((whole.payload.len(), whole.flags), (2500, Flags::ACK.with(Flags::PSH)));
    }

    #[test]
    fn what_does_not_continue_is_no_part() {
        let mut whole = segment(1, 1000, Flags::ACK);
        assert!(!append(&mut whole, 1000, &segment(2001, 1000, Flags::ACK), 3000));
        assert!(!append(&mut whole, 1000, &segment(1001, 900, Flags::ACK), 3000));
        assert!(!append(&mut whole, 1000, &segment(1001, 1000, Flags::RST), 3000));
    }
}
