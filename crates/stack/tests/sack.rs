//! SACK blocks on what a stack sends: room for them is taken from the payload.

extern crate estab_stack as stack;

mod common;

use common::{Pair, plain};
use stack::ConnectionId;
use wire::frame::{Capabilities, FrameBuf, ReceiveMeta};
use wire::tcp::Header;

/// Two connected hosts; B misses the first of three segments that A sent.
fn with_a_hole(capabilities: Capabilities) -> (Pair, ConnectionId) {
    let mut pair = Pair::new(capabilities);
    let (client, server) = pair.connected();
    assert!(pair.a.stack.info(client).unwrap().sack && pair.b.stack.info(server).unwrap().sack);
    let mut options = pair.a.stack.tcp_options(client).unwrap().clone();
    options.nodelay = true;
    pair.a.stack.set_tcp_options(pair.now, client, options).unwrap();
    let mut lost = false;
    for _ in 0..3 {
        pair.a.stack.write(pair.now, client, &[1; 500]).unwrap();
        for (frame, meta) in pair.a.frames(pair.now) {
            if lost {
                pair.b.stack.handle_frame(pair.now, pair.b.interface, frame, meta);
            }
            lost = true;
        }
    }
    (pair, server)
}

fn segment(frame: &FrameBuf) -> (Header, usize) {
    let (_, transport) = wire::ipv4::Header::parse(frame).unwrap();
    let (header, text) = Header::parse(transport).unwrap();
    (header, text.len())
}

/// The segments that B sends for 6000 written bytes while a hole is open.
fn data_with_blocks(capabilities: Capabilities) -> Vec<(FrameBuf, ReceiveMeta)> {
    let (mut pair, server) = with_a_hole(capabilities);
    pair.b.frames(pair.now);
    assert_eq!(pair.b.stack.write(pair.now, server, &[2; 6000]), Ok(6000));
    let mut frames = pair.b.frames(pair.now);
    frames.retain(|(frame, _)| segment(frame).1 > 0);
    frames
}

#[test]
fn rfc9293_3_7_1_a_segment_with_blocks_fits_the_link() {
    let frames = data_with_blocks(plain());
    let sizes: Vec<usize> = frames.iter().map(|(frame, _)| segment(frame).1).collect();
    // 1448 beside timestamps, less two fillers, kind, length and one block.
    assert_eq!(sizes, [1436, 1436, 1436, 1436, 256]);
    for (frame, _) in &frames {
        assert!(frame.len() <= 1500, "{} bytes", frame.len());
        assert_eq!(segment(frame).0.options.sack.len(), 1);
    }
}

#[test]
fn the_pieces_of_a_super_segment_with_blocks_fit_the_link() {
    let offload = Capabilities { checksum: true, segmentation: true, ..plain() };
    let frames = data_with_blocks(offload);
    let (frame, meta) = &frames[0];
    let (header, length) = segment(frame);
    let piece = usize::from(meta.segment_size.expect("a super-segment").get());
    assert_eq!((header.options.sack.len(), piece), (1, 1436));
    assert!(length > 1436 && frame.len() - length + piece == 1500);
}

#[test]
fn rfc2883_4_a_duplicate_is_not_reported_by_several_pieces() {
    let offload = Capabilities { checksum: true, segmentation: true, ..plain() };
    let mut pair = Pair::new(offload);
    let (client, server) = pair.connected();
    pair.a.stack.write(pair.now, client, &[1; 500]).unwrap();
    let (frame, meta) = pair.a.frames(pair.now).remove(0);
    for copy in [frame.clone(), frame] {
        pair.b.stack.handle_frame(pair.now, pair.b.interface, copy, meta);
    }
    assert_eq!(pair.b.stack.write(pair.now, server, &[2; 6000]), Ok(6000));
    let frames = pair.b.frames(pair.now);
    let with_blocks: Vec<_> =
        frames.iter().filter(|(frame, _)| !segment(frame).0.options.sack.is_empty()).collect();
    assert_eq!(with_blocks.len(), 1);
    assert_eq!(with_blocks[0].1.segment_size, None);
    let total: usize = frames.iter().map(|(frame, _)| segment(frame).1).sum();
    assert_eq!(total, 6000);
}
