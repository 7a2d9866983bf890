//! Borrowed reads and owned writes: the same stream, windows and books as with copies.

extern crate estab_stack as stack;

mod common;

use std::time::Duration;

use bytes::{Buf, Bytes};
use common::{Pair, plain};
use stack::trace::{Call, What};
use stack::{ConnectionId, Error, Shutdown, Stack};
use wire::frame::Capabilities;

fn offload() -> Capabilities {
    Capabilities { checksum: true, segmentation: true, ..plain() }
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|n| (n * 31 / 7 % 251) as u8).collect()
}

/// How the reader takes what arrives.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// All of the chunks but a few bytes, so that most ends lie inside of a frame.
    Borrowed,
    /// Frame by frame, given back.
    Taken,
}

/// Reads what is there; false at the end of the stream.
fn read(pair: &mut Pair, id: ConnectionId, how: Reading, got: &mut Vec<u8>) -> bool {
    let (stack, now) = (&mut pair.b.stack, pair.now);
    match how {
        Reading::Borrowed => loop {
            let before = got.len();
            match stack.chunks(id) {
                Ok(chunks) => got.extend(chunks.flatten()),
                Err(Error::WouldBlock) => return true,
                Err(error) => panic!("{error}"),
            }
            let all = got.len() - before;
            if all == 0 {
                return false;
            }
            let count = if all > 700 { all - 700 } else { all };
            got.truncate(before + count);
            stack.consume(now, id, count).unwrap();
        },
        Reading::Taken => loop {
            match stack.read_frame(now, id) {
                Ok(Some(frame)) => {
                    got.extend_from_slice(&frame);
                    stack.recycle(frame);
                }
                Ok(None) => return false,
                Err(Error::WouldBlock) => return true,
                Err(error) => panic!("{error}"),
            }
        },
    }
}

/// Moves `data` from A to B in owned pieces of `piece` bytes.
fn transfer(link: Capabilities, data: &Bytes, piece: usize, how: Reading) {
    let mut pair = Pair::new(link);
    let (client, server) = pair.connected();
    let (mut rest, mut got) = (data.clone(), Vec::new());
    for round in 0.. {
        assert!(round < 100_000, "{} of {} bytes came", got.len(), data.len());
        while !rest.is_empty() {
            let offered = rest.slice(..rest.len().min(piece));
            match pair.a.stack.write_bytes(pair.now, client, offered) {
                Ok(count) => rest.advance(count),
                Err(Error::WouldBlock) => break,
                Err(error) => panic!("{error}"),
            }
            if rest.is_empty() {
                pair.a.stack.shutdown(pair.now, client, Shutdown::Write).unwrap();
            }
        }
        pair.settle();
        if !read(&mut pair, server, how, &mut got) {
            break;
        }
        pair.settle();
    }
    assert!(got == **data, "the bytes differ");
    pair.wait(Duration::from_secs(1));
    assert_eq!((pair.a.stack.memory_used(), pair.b.stack.memory_used()), (0, 0));
    drop(rest);
    assert!(data.is_unique(), "the stack lets go of the program's buffer");
}

#[test]
fn megabytes_without_a_copy() {
    let data = pattern(5_000_000);
    for link in [plain(), offload()] {
        for piece in [7_000, 100_000, usize::MAX] {
            transfer(link, &data, piece, Reading::Borrowed);
            transfer(link, &data, piece, Reading::Taken);
        }
    }
}

#[test]
fn the_payload_is_sent_from_the_programs_buffer() {
    let mut pair = Pair::new(offload());
    let (client, _server) = pair.connected();
    let data = pattern(40_000);
    let range = data.as_ptr_range();
    assert_eq!(pair.a.stack.write_bytes(pair.now, client, data.clone()), Ok(40_000));
    let mut header = stack::HeaderBuf::default();
    let packet = pair.a.stack.poll_transmit(pair.now, &mut header).expect("a segment");
    assert!(packet.payload.len() == 1 && range.contains(&packet.payload[0].as_ptr()));
    assert!(!data.is_unique());
}

#[test]
fn borrowed_bytes_lie_in_the_frame_that_came() {
    let mut pair = Pair::new(offload());
    let (client, server) = pair.connected();
    pair.a.stack.write_bytes(pair.now, client, pattern(14_000)).unwrap();
    let (frame, meta) = pair.a.frames(pair.now).remove(0);
    let range = frame.as_ptr_range();
    pair.b.stack.handle_frame(pair.now, pair.b.interface, frame, meta);
    let first = pair.b.stack.chunks(server).unwrap().next().unwrap().as_ptr();
    assert!(range.contains(&first));
}

#[test]
fn the_end_and_errors_are_those_of_reading() {
    let mut pair = Pair::new(plain());
    let (client, server) = pair.connected();
    let stack = &mut pair.b.stack;
    assert_eq!(stack.chunks(server).err(), Some(Error::WouldBlock));
    assert_eq!(stack.read_frame(pair.now, server).err(), Some(Error::WouldBlock));
    assert_eq!(stack.consume(pair.now, server, 1), Ok(()), "there is nothing to take");
    pair.a.stack.write(pair.now, client, b"bye").unwrap();
    pair.a.stack.close(pair.now, client);
    pair.settle();
    let stack = &mut pair.b.stack;
    assert_eq!(stack.chunks(server).unwrap().collect::<Vec<_>>(), [b"bye"]);
    stack.consume(pair.now, server, usize::MAX).unwrap();
    assert_eq!(stack.chunks(server).unwrap().count(), 0, "the end of the stream");
    assert!(matches!(stack.read_frame(pair.now, server), Ok(None)));
    stack.close(pair.now, server);
    pair.settle();
    let stack = &mut pair.b.stack;
    assert_eq!(stack.chunks(server).err(), Some(Error::NoSuchSocket));
    assert_eq!(stack.consume(pair.now, server, 1), Err(Error::NoSuchSocket));
    assert_eq!(
        stack.write_bytes(pair.now, server, Bytes::from_static(b"late")),
        Err(Error::NoSuchSocket)
    );
}

/// What the program called, as the trace tells it.
fn calls(stack: &mut Stack) -> Vec<Call> {
    let events = std::iter::from_fn(|| stack.poll_trace());
    let call = |event: stack::TraceEvent| match event.what {
        What::Command { call } => Some(call),
        _ => None,
    };
    events.filter_map(call).collect()
}

#[test]
fn consuming_opens_the_window_and_is_told_as_reading() {
    let mut pair = Pair::new(offload());
    let (client, server) = pair.connected();
    let data = pattern(1_000_000);
    let mut written = 0;
    while let Ok(count) = pair.a.stack.write_bytes(pair.now, client, data.slice(written..)) {
        written += count;
        pair.settle();
    }
    assert!(pair.a.stack.info(client).unwrap().snd_wnd < 1448, "the receiver's buffer is full");
    let waiting: usize = pair.b.stack.chunks(server).unwrap().map(<[u8]>::len).sum();
    assert!(pair.b.stack.memory_used() >= waiting && waiting > 50_000);
    pair.b.stack.set_trace(true);
    pair.b.stack.consume(pair.now, server, waiting).unwrap();
    assert_eq!(calls(&mut pair.b.stack), [Call::Read(waiting)]);
    assert_eq!(pair.b.stack.memory_used(), 0);
    let (update, meta) = pair.b.frames(pair.now).remove(0);
    pair.a.stack.handle_frame(pair.now, pair.a.interface, update, meta);
    assert!(pair.a.stack.info(client).unwrap().snd_wnd as usize >= waiting / 2);
}

#[test]
fn owned_bytes_count_until_they_are_acknowledged() {
    let mut pair = Pair::new(offload());
    let (client, _server) = pair.connected();
    let data = pattern(1 << 20);
    pair.a.stack.set_trace(true);
    let taken = pair.a.stack.write_bytes(pair.now, client, data).unwrap();
    assert_eq!(calls(&mut pair.a.stack), [Call::Write(taken)]);
    assert_eq!(pair.a.stack.memory_used(), taken, "not what else is in the program's buffer");
    // The first window goes out and is acknowledged; the rest waits.
    let frames = pair.a.frames(pair.now);
    for (frame, meta) in frames {
        pair.b.stack.handle_frame(pair.now, pair.b.interface, frame, meta);
    }
    for (frame, meta) in pair.b.frames(pair.now) {
        pair.a.stack.handle_frame(pair.now, pair.a.interface, frame, meta);
    }
    let queued = pair.a.stack.sockets().iter().map(|entry| entry.send_queue).sum::<usize>();
    assert!(queued < taken);
    assert_eq!(pair.a.stack.memory_used(), queued);
}
