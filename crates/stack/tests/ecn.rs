//! ECN between two stacks, with a router between them that marks (RFC 3168).

extern crate estab_stack as stack;

mod common;

use common::{B, Pair, plain};
use stack::{ConnectionId, EcnMode, TcpOptions};
use wire::frame::{Capabilities, FrameBuf};
use wire::tcp::{Flags, Header};

fn connected(pair: &mut Pair) -> (ConnectionId, ConnectionId) {
    let listener = pair.listen(80, 16);
    let options = TcpOptions { ecn: EcnMode::Request, ..TcpOptions::default() };
    let remote = format!("{B}:80").parse().unwrap();
    let client = pair.a.stack.connect(pair.now, None, remote, options).unwrap();
    pair.settle();
    let (server, _) = pair.b.stack.accept(pair.now, listener).unwrap();
    assert!(pair.a.stack.info(client).unwrap().ecn && pair.b.stack.info(server).unwrap().ecn);
    (client, server)
}

/// What a router does that meets congestion: CE instead of ECT, or nothing to who speaks no ECN.
fn mark(frame: &mut FrameBuf) -> bool {
    let ip = wire::ipv4::Header::parse(frame).unwrap().0;
    let capable = ip.traffic_class & 3 != 0;
    if capable {
        wire::ipv4::Header { traffic_class: ip.traffic_class | 3, ..ip }.emit(frame);
    }
    capable
}

fn flags(frame: &FrameBuf) -> Flags {
    let transport = wire::ipv4::Header::parse(frame).unwrap().1;
    Header::parse(transport).unwrap().0.flags
}

/// Moves 2 MB from A to B and marks every 30th packet that can be; gives back how often A said CWR.
fn bulk(capabilities: Capabilities) -> (Pair, ConnectionId, ConnectionId, u64) {
    let mut pair = Pair::new(capabilities);
    let (client, server) = connected(&mut pair);
    let (mut left, mut got, mut carried, mut reductions) = (2_000_000, 0, 0, 0);
    let mut buffer = vec![0; 100_000];
    for _ in 0..20_000 {
        left -= pair.a.stack.write(pair.now, client, &buffer[..left.min(100_000)]).unwrap_or(0);
        for (mut frame, meta) in pair.a.frames(pair.now) {
            carried += 1;
            if carried % 30 == 0 {
                mark(&mut frame);
            }
            reductions += u64::from(flags(&frame).contains(Flags::CWR));
            pair.b.stack.handle_frame(pair.now, pair.b.interface, frame, meta);
        }
        while let Ok(count) = pair.b.stack.read(pair.now, server, &mut buffer) {
            got += count;
        }
        let answers = pair.b.frames(pair.now);
        let silent = answers.is_empty();
        for (frame, meta) in answers {
            pair.a.stack.handle_frame(pair.now, pair.a.interface, frame, meta);
        }
        if got == 2_000_000 {
            return (pair, client, server, reductions);
        }
        if silent {
            pair.next_deadline();
        }
    }
    panic!("only {got} bytes arrived");
}

#[test]
fn marks_slow_a_sender_down_without_any_loss() {
    let (pair, client, server, reductions) = bulk(plain());
    let (ours, theirs) = (pair.a.stack.info(client).unwrap(), pair.b.stack.info(server).unwrap());
    assert!(theirs.ecn_marks_received >= 30, "{} marks", theirs.ecn_marks_received);
    assert!(ours.ecn_echoes_received >= reductions && ours.total_retrans == 0);
    // Each reduction answers at least one mark, and each is told.
    assert!((3..=theirs.ecn_marks_received).contains(&reductions), "{reductions} reductions");
    assert!(ours.snd_ssthresh < 200_000, "{} is no window for such a path", ours.snd_ssthresh);
}

#[test]
fn a_marked_super_segment_is_as_many_marked_packets() {
    let offload = Capabilities { checksum: true, segmentation: true, ..plain() };
    let mut pair = Pair::new(offload);
    let (client, server) = connected(&mut pair);
    pair.a.stack.write(pair.now, client, &[1; 10 * 1448]).unwrap();
    let mut frames = pair.a.frames(pair.now);
    assert_eq!(frames.len(), 1);
    let (mut frame, meta) = frames.remove(0);
    assert!(mark(&mut frame), "new data can be marked");
    pair.b.stack.handle_frame(pair.now, pair.b.interface, frame, meta);
    let info = pair.b.stack.info(server).unwrap();
    assert_eq!((info.ecn_marks_received, info.ecn_capable_received), (10, 10));
    let answers = pair.b.frames(pair.now);
    assert!(answers.iter().all(|(frame, _)| flags(frame).contains(Flags::ECE)));
}

#[test]
fn offload_knows_of_marks_too() {
    let offload = Capabilities { checksum: true, segmentation: true, ..plain() };
    let (pair, client, server, reductions) = bulk(offload);
    assert!(pair.b.stack.info(server).unwrap().ecn_marks_received > 0);
    assert!(reductions > 0 && pair.a.stack.info(client).unwrap().total_retrans == 0);
}
