//! Buffers that size themselves, over paths that lose nothing.

extern crate estab_stack as stack;

mod common;

use std::collections::VecDeque;
use std::time::Duration;

use common::{B, Host, Pair, plain};
use stack::{TcpInfo, TcpOptions};
use wire::frame::{Capabilities, FrameBuf, ReceiveMeta};
use wire::time::Instant;

/// The way to B, and back.
#[derive(Clone, Copy)]
struct Path {
    one_way: Duration,
    /// How many bytes arrive at B in each millisecond, and from when on. The others wait.
    bottleneck: (usize, Duration),
}

/// A path of 100 ms that carries whatever it is given.
const LONG: Path =
    Path { one_way: Duration::from_millis(50), bottleneck: (usize::MAX, Duration::ZERO) };

/// What is on its way, and when it arrives.
type Flight = VecDeque<(Instant, FrameBuf, ReceiveMeta)>;

fn send(from: &mut Host, now: Instant, one_way: Duration, flight: &mut Flight) {
    for (frame, meta) in from.frames(now) {
        flight.push_back((now.after(one_way), frame, meta));
    }
}

impl Path {
    /// What is due arrives, each packet in a turn of its own, as on a wire where they come one by one.
    fn arrive(
        self,
        elapsed: Duration,
        now: Instant,
        (to, flight): (&mut Host, &mut Flight),
        back: &mut Flight,
        is_narrow: bool,
    ) {
        let (bytes, since) = self.bottleneck;
        let mut room = if is_narrow && elapsed >= since { bytes } else { usize::MAX };
        while flight.front().is_some_and(|(at, ..)| *at <= now) && room > 0 {
            let (_, frame, meta) = flight.pop_front().unwrap();
            room = room.saturating_sub(frame.len());
            to.stack.handle_frame(now, to.interface, frame, meta);
            send(to, now, self.one_way, back);
        }
    }
}

/// Moves `length` bytes from A to B, whose program reads at most `pace` of them a millisecond; how
/// long that took, and both ends at the end.
fn transfer(
    path: Path,
    options: &TcpOptions,
    length: usize,
    pace: usize,
) -> (Duration, TcpInfo, TcpInfo) {
    // A bottleneck lets one packet pass after the other.
    let segmentation = path.bottleneck.0 == usize::MAX;
    let offload = Capabilities { checksum: true, segmentation, ..plain() };
    let mut pair = Pair::new(offload);
    let address = format!("{B}:80").parse().unwrap();
    let listener = pair.b.stack.listen(pair.now, address, 1, options.clone()).unwrap();
    let client = pair.a.stack.connect(pair.now, None, address, options.clone()).unwrap();
    let (mut to_a, mut to_b) = (Flight::new(), Flight::new());
    let (mut server, mut left, mut got) = (None, length, 0);
    let data = vec![7; 1 << 20];
    let mut buffer = vec![0; pace];
    let start = pair.now;
    for millisecond in 0..120_000 {
        let now = start.after(Duration::from_millis(millisecond));
        path.arrive(now.since(start), now, (&mut pair.a, &mut to_a), &mut to_b, false);
        path.arrive(now.since(start), now, (&mut pair.b, &mut to_b), &mut to_a, true);
        pair.a.stack.handle_timeout(now);
        pair.b.stack.handle_timeout(now);
        while let Ok(count) = pair.a.stack.write(now, client, &data[..left.min(1 << 20)]) {
            left -= count;
            if count == 0 {
                break;
            }
        }
        server = server.or_else(|| pair.b.stack.accept(now, listener).ok().map(|(id, _)| id));
        if let Some(server) = server {
            got += pair.b.stack.read(now, server, &mut buffer).unwrap_or(0);
        }
        send(&mut pair.a, now, path.one_way, &mut to_b);
        send(&mut pair.b, now, path.one_way, &mut to_a);
        if got == length {
            let (ours, theirs) = (pair.a.stack.info(client), pair.b.stack.info(server.unwrap()));
            return (now.since(start), ours.unwrap(), theirs.unwrap());
        }
    }
    panic!("only {got} of {length} bytes came");
}

#[test]
fn both_buffers_grow_until_the_path_is_full() {
    let (time, sender, receiver) = transfer(LONG, &TcpOptions::default(), 30_000_000, 1 << 20);
    // A window of 64 KiB would take 46 seconds, one that doubles from the first to 4 MiB this:
    assert!(time < Duration::from_millis(2_500), "{time:?}");
    assert!(sender.send_buffer >= 2 << 20, "{} bytes", sender.send_buffer);
    assert!(receiver.receive_buffer >= 3 << 20, "{} bytes", receiver.receive_buffer);
    let round_trip = receiver.rcv_rtt.expect("timestamps measure it");
    assert!((100..=130).contains(&round_trip.as_millis()), "{round_trip:?}");
}

#[test]
fn what_the_program_sets_stays() {
    let options = TcpOptions {
        receive_buffer: Some(200_000),
        send_buffer: Some(100_000),
        ..TcpOptions::default()
    };
    let (time, sender, receiver) = transfer(LONG, &options, 3_000_000, 1 << 20);
    assert_eq!((sender.send_buffer, receiver.receive_buffer), (100_000, 200_000));
    assert!(time > Duration::from_millis(2_900), "{time:?} for 30 round trips of 100,000 bytes");
}

#[test]
fn a_program_that_reads_slowly_is_not_flooded() {
    // 100 bytes a millisecond are 10,000 a round trip.
    let (_, _, receiver) = transfer(LONG, &TcpOptions::default(), 1_000_000, 100);
    assert_eq!(receiver.receive_buffer, 128 << 10);
}

/// A program that is always ahead of a path of 2 ms that carries 20 MB a second: 40,000 bytes.
#[test]
fn a_short_path_that_loses_nothing_does_not_fill_the_memory() {
    let path = Path { one_way: Duration::from_millis(1), bottleneck: (20_000, Duration::ZERO) };
    let (time, sender, _) = transfer(path, &TcpOptions::default(), 20_000_000, 1 << 20);
    assert!(time < Duration::from_millis(1_100), "{time:?}");
    assert!(sender.snd_cwnd > 768 << 10, "nothing stops {}", sender.snd_cwnd);
    assert_eq!(sender.send_buffer, 512 << 10);
}

#[test]
fn a_send_buffer_shrinks_with_the_path() {
    // From then on 1.5 MB a second: 150,000 bytes in the 100 ms that are its least round trip.
    let path = Path { bottleneck: (1_500, Duration::from_secs(2)), ..LONG };
    let (_, wide, _) = transfer(path, &TcpOptions::default(), 10_000_000, 1 << 20);
    let (_, narrow, _) = transfer(path, &TcpOptions::default(), 90_000_000, 1 << 20);
    assert!(wide.send_buffer >= 3 << 20, "{} bytes", wide.send_buffer);
    assert!((1 << 20..2 << 20).contains(&narrow.send_buffer), "{} bytes", narrow.send_buffer);
}
