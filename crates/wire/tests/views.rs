//! A view never judges: lengths that lie give shorter slices.

use estab_wire::{ipv4, tcp, udp};

#[test]
fn views_need_only_the_fixed_header() {
    assert!(tcp::View::new(&[0; 19]).is_none());
    assert!(ipv4::View::new(&[0; 19]).is_none());
    assert!(udp::View::new(&[0; 7]).is_none());
}

#[test]
fn header_lengths_that_lie_are_clamped() {
    let mut segment = [0; 24];
    for (words, options, payload) in [(0, 0, 4), (5, 0, 4), (6, 4, 0), (15, 4, 0)] {
        segment[12] = words << 4;
        let view = tcp::View::new(&segment).unwrap();
        assert_eq!(view.header_len(), usize::from(words) * 4);
        assert_eq!((view.option_bytes().len(), view.payload().len()), (options, payload));
    }
}

#[test]
fn total_lengths_that_lie_are_clamped() {
    let mut packet = [0; 24];
    packet[0] = 0x45;
    for (total, payload) in [(0, 0), (20, 0), (22, 2), (24, 4), (200, 4)] {
        packet[3] = total;
        assert_eq!(ipv4::View::new(&packet).unwrap().payload().len(), payload);
    }
    let mut datagram = [0; 12];
    for (length, payload) in [(0, 0), (8, 0), (10, 2), (12, 4), (99, 4)] {
        datagram[5] = length;
        assert_eq!(udp::View::new(&datagram).unwrap().payload().len(), payload);
    }
}

#[test]
fn every_flag_has_its_bit() {
    let mut segment = [0; 20];
    segment[12] = 0x5f;
    segment[13] = 0xff;
    let view = tcp::View::new(&segment).unwrap();
    assert_eq!(view.flags(), tcp::Flags::all());
    assert_eq!(view.reserved(), 7);
    assert_eq!(view.data_offset(), 5);
}
