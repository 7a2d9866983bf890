//! ECN marks, as a router sets them (RFC 3168 5).

use wire::checksum;
use wire::frame::Medium;

use crate::split;

/// The ECN field of an IP header: ECT(1), ECT(0) and CE (RFC 3168 5).
const ECN: u8 = 0b11;

/// Sets "congestion experienced" in a packet whose sender understands it; `false` for others,
/// which are as they were.
pub(super) fn mark_congestion(medium: Medium, frame: &mut [u8]) -> bool {
    let Some(layout) = split::locate(medium, frame) else { return false };
    let header = &mut frame[layout.ip.start..layout.transport];
    if layout.source.is_ipv6() {
        // The traffic class lies across the first two bytes (RFC 8200 3).
        let Some(byte) = header.get_mut(1) else { return false };
        let capable = *byte & ECN << 4 != 0;
        if capable {
            *byte |= ECN << 4;
        }
        return capable;
    }
    if header[1] & ECN == 0 {
        return false;
    }
    header[1] |= ECN;
    header[10..12].fill(0);
    let sum = checksum::sum(header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::tests::{super_segment, super_segment_v6};

    #[test]
    fn rfc3168_5_only_who_understands_it_is_marked() {
        let (mut frame, _) = super_segment(40, 1000, 100, 0x18);
        assert!(!mark_congestion(Medium::Ip, &mut frame));
        frame[1] = 0b1010_1010;
        split::fill_checksum(Medium::Ip, &mut frame);
        assert!(mark_congestion(Medium::Ip, &mut frame));
        let view = wire::ipv4::View::new(&frame).unwrap();
        assert!(view.is_checksum_valid());
        assert_eq!(frame[1], 0b1010_1011, "the DSCP stays");
        assert!(mark_congestion(Medium::Ip, &mut frame), "marked already, and stays so");
        assert!(!mark_congestion(Medium::Ip, &mut [0x45; 3]));
    }

    #[test]
    fn rfc3168_5_over_ipv6_the_mark_lies_across_two_bytes() {
        let (mut frame, _) = super_segment_v6(1000, 100, 0x18);
        assert!(!mark_congestion(Medium::Ip, &mut frame));
        frame[..2].copy_from_slice(&[0x6a, 0xa7]);
        assert!(mark_congestion(Medium::Ip, &mut frame));
        let view = wire::ipv6::View::new(&frame).unwrap();
        assert_eq!((view.version(), view.traffic_class()), (6, 0b1010_1011), "the DSCP stays");
        assert_eq!(view.flow_label() >> 16, 7, "and the flow label");
    }
}
