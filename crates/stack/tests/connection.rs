//! Connections between two stacks, in virtual time, without a link's faults.

extern crate estab_stack as stack;

mod common;

use common::{Family, Pair, plain};
use stack::{Error, KeepAlive, RtoLimits, Shutdown, SocketId, State, TcpOptions};
use std::time::Duration;
use wire::frame::Capabilities;
use wire::tcp::Flags;

for_both_families! {
    a_listener_s_options_are_those_of_what_comes,
    an_end_that_connects_to_itself,
    three_way_handshake,
    the_segment_size_follows_from_the_mtu,
    a_port_where_nobody_listens_refuses,
    data_crosses_both_ways_and_the_close_takes_four_segments,
    bulk_data_arrives_whole,
    super_segments_carry_bulk_data_both_ways_of_counting,
    a_close_with_unread_data_resets,
    both_close_at_once,
    both_open_at_once_with_four_segments,
    lost_segments_come_again_and_fin_is_never_forgotten,
    a_port_can_be_listened_on_while_a_connection_with_it_opens,
    every_packet_has_the_ip_fields_that_the_program_set,
    no_segment_may_be_cut_or_has_a_type_of_service_of_its_own,
    a_silent_peer_is_asked_for_as_long_as_a_user_timeout_says,
    what_waits_for_its_pace_wakes_nobody_up_meanwhile,
    who_closed_asks_a_stalled_peer_often_though_waits_stay_short,
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn three_way_handshake(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, server) = pair.connected();
    assert_eq!(pair.a.stack.state(client), Ok(State::Established));
    assert_eq!(pair.b.stack.state(server), Ok(State::Established));
    let info = pair.a.stack.info(client).unwrap();
    assert!(info.timestamps && info.window_scale == Some((7, 7)));
    assert_eq!(info.snd_mss, if family == Family::V4 { 1448 } else { 1428 });
}

/// RFC 9293 3.7.1, RFC 8200 8.3: the MTU less the headers, and 12 bytes of timestamps.
fn the_segment_size_follows_from_the_mtu(family: Family) {
    let mut pair = Pair::over(family, Capabilities { mtu: 1280, ..plain() });
    let (client, server) = pair.connected();
    let expected = if family == Family::V4 { 1228 } else { 1208 };
    assert_eq!(pair.a.stack.info(client).unwrap().snd_mss, expected);
    assert_eq!(pair.b.stack.info(server).unwrap().snd_mss, expected);
}

fn a_port_where_nobody_listens_refuses(family: Family) {
    let mut pair = Pair::over(family, plain());
    let client = pair.connect(81);
    pair.settle();
    assert_eq!(pair.a.stack.take_error(client), Ok(Some(Error::ConnectionRefused)));
    assert_eq!(pair.a.stack.state(client), Ok(State::Closed));
}

fn data_crosses_both_ways_and_the_close_takes_four_segments(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, server) = pair.connected();
    assert_eq!(pair.a.stack.write(pair.now, client, b"hello"), Ok(5));
    pair.settle();
    let mut buffer = [0; 64];
    assert_eq!(pair.b.stack.read(pair.now, server, &mut buffer), Ok(5));
    assert_eq!(&buffer[..5], b"hello");
    assert_eq!(pair.b.stack.read(pair.now, server, &mut buffer), Err(Error::WouldBlock));
    pair.b.stack.write(pair.now, server, b"world").unwrap();
    pair.settle();
    assert_eq!(pair.a.stack.read(pair.now, client, &mut buffer), Ok(5));
    pair.a.stack.shutdown(pair.now, client, Shutdown::Write).unwrap();
    pair.settle();
    assert_eq!(pair.a.stack.state(client), Ok(State::FinWait2));
    assert_eq!(pair.b.stack.state(server), Ok(State::CloseWait));
    assert_eq!(pair.b.stack.read(pair.now, server, &mut buffer), Ok(0));
    pair.b.stack.close(pair.now, server);
    pair.settle();
    assert_eq!(pair.a.stack.state(client), Ok(State::TimeWait));
    assert_eq!(pair.b.stack.state(server), Err(Error::NoSuchSocket));
    assert_eq!(pair.b.stack.sockets().len(), 1, "the listener is left");
    pair.a.stack.close(pair.now, client);
    assert_eq!(pair.a.stack.sockets().len(), 1, "a TIME-WAIT is left");
    pair.wait(Duration::from_secs(61));
    assert!(pair.a.stack.sockets().is_empty());
    assert_eq!(pair.a.stack.poll_timeout(), None);
}

fn bulk(family: Family, capabilities: Capabilities, length: usize) -> u64 {
    let mut pair = Pair::over(family, capabilities);
    let (client, server) = pair.connected();
    let data = pattern(length);
    let (mut sent, mut got) = (0, Vec::new());
    let mut buffer = vec![0; 50_000];
    let mut turns = 0;
    while got.len() < length {
        if sent < length {
            match pair.a.stack.write(pair.now, client, &data[sent..]) {
                Ok(count) => sent += count,
                Err(Error::WouldBlock) => {}
                Err(error) => panic!("{error}"),
            }
        }
        pair.settle();
        while let Ok(count) = pair.b.stack.read(pair.now, server, &mut buffer) {
            got.extend_from_slice(&buffer[..count]);
        }
        pair.settle();
        turns += 1;
        assert!(turns < 10_000, "stuck at {} of {length}", got.len());
        if !pair.b.stack.readiness(SocketId::Connection(server)).contains(stack::Ready::READ)
            && got.len() < length
            && sent == length
        {
            pair.next_deadline();
        }
    }
    assert!(got == data);
    assert_eq!(pair.a.stack.info(client).unwrap().total_retrans, 0);
    pair.b.stack.info(server).unwrap().segs_in
}

fn bulk_data_arrives_whole(family: Family) {
    bulk(family, plain(), 20_000_000);
}

fn super_segments_carry_bulk_data_both_ways_of_counting(family: Family) {
    let offload = Capabilities { checksum: true, segmentation: true, ..plain() };
    let segments = bulk(family, offload, 20_000_000);
    assert!(segments >= 20_000_000 / 1448, "{segments} counts what the wire would carry");
}

fn a_close_with_unread_data_resets(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, server) = pair.connected();
    pair.a.stack.write(pair.now, client, b"never read").unwrap();
    pair.settle();
    pair.b.stack.close(pair.now, server);
    pair.settle();
    let mut buffer = [0; 8];
    assert_eq!(pair.a.stack.read(pair.now, client, &mut buffer), Err(Error::ConnectionReset));
    assert_eq!(pair.a.stack.read(pair.now, client, &mut buffer), Ok(0));
    assert_eq!(pair.a.stack.write(pair.now, client, b"x"), Err(Error::BrokenPipe));
}

fn both_close_at_once(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, server) = pair.connected();
    pair.a.stack.shutdown(pair.now, client, Shutdown::Write).unwrap();
    pair.b.stack.shutdown(pair.now, server, Shutdown::Write).unwrap();
    pair.settle();
    assert_eq!(pair.a.stack.state(client), Ok(State::TimeWait));
    assert_eq!(pair.b.stack.state(server), Ok(State::TimeWait));
}

fn both_open_at_once_with_four_segments(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (a, b) = (family.a(7000), family.b(7000));
    let client = pair.a.stack.connect(pair.now, Some(a), b, Default::default()).unwrap();
    let server = pair.b.stack.connect(pair.now, Some(b), a, Default::default()).unwrap();
    let mut packets = 0;
    pair.settle_with(|_, _| {
        packets += 1;
        false
    });
    assert_eq!(pair.a.stack.state(client), Ok(State::Established));
    assert_eq!(pair.b.stack.state(server), Ok(State::Established));
    assert_eq!(packets, 4);
}

fn lost_segments_come_again_and_fin_is_never_forgotten(family: Family) {
    for period in 3..14 {
        let mut pair = Pair::over(family, plain());
        let (client, server) = pair.connected();
        let data = pattern(200_000);
        let options = TcpOptions { send_buffer: Some(200_000), ..TcpOptions::default() };
        pair.a.stack.set_tcp_options(pair.now, client, options).unwrap();
        pair.a.stack.write(pair.now, client, &data).unwrap();
        pair.a.stack.close(pair.now, client);
        let (mut got, mut buffer, mut count, mut ended) = (Vec::new(), [0; 9000], 0, false);
        for _ in 0..20_000 {
            pair.settle_with(|_, _| {
                count += 1;
                count % period == 0
            });
            loop {
                match pair.b.stack.read(pair.now, server, &mut buffer) {
                    Ok(0) => {
                        ended = true;
                        break;
                    }
                    Ok(n) => got.extend_from_slice(&buffer[..n]),
                    Err(Error::WouldBlock) => break,
                    Err(error) => panic!("{error} with loss of every {period}th"),
                }
            }
            if ended {
                break;
            }
            assert!(pair.next_deadline(), "nothing to wait for with {} bytes", got.len());
        }
        assert!(ended && got == data, "loss of every {period}th: {} bytes", got.len());
        pair.b.stack.close(pair.now, server);
        pair.wait(Duration::from_secs(1000));
        assert!(pair.a.stack.sockets().is_empty(), "{:?}", pair.a.stack.sockets());
        assert_eq!(pair.b.stack.sockets().len(), 1);
    }
}

/// RFC 9293 3.9.1.1, MUST-42, with the listener and the opening connection on one port.
fn a_port_can_be_listened_on_while_a_connection_with_it_opens(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (local, remote) = (family.a(7000), family.b(80));
    let opening = pair.a.stack.connect(pair.now, Some(local), remote, Default::default()).unwrap();
    assert_eq!(pair.a.stack.state(opening), Ok(State::SynSent));
    let listener = pair.a.stack.listen(pair.now, local, 1, Default::default()).unwrap();
    // Both lead somewhere: each segment finds its own.
    let to_listener = pair.b.stack.connect(pair.now, None, local, Default::default()).unwrap();
    pair.listen(80, 1);
    pair.settle();
    assert_eq!(pair.a.stack.state(opening), Ok(State::Established));
    assert_eq!(pair.b.stack.state(to_listener), Ok(State::Established));
    assert!(pair.a.stack.accept(pair.now, listener).is_ok());
}

/// RFC 9293 3.9.1.9 and 3.9.2, MUST-48 and MUST-49: from the first packet to the reset.
fn every_packet_has_the_ip_fields_that_the_program_set(family: Family) {
    let options = TcpOptions { ttl: Some(7), traffic_class: 0xb8, ..TcpOptions::default() };
    let mut pair = Pair::over(family, plain());
    let address = family.b(80);
    let listener = pair.b.stack.listen(pair.now, address, 1, options.clone()).unwrap();
    let client = pair.a.stack.connect(pair.now, None, address, options).unwrap();
    let mut seen = Vec::new();
    let mut note = |_, frame: &[u8]| {
        let (ip, segment) = wire::ip::Header::parse(frame).unwrap();
        assert_eq!((ip.hop_limit(), ip.traffic_class()), (7, 0xb8));
        seen.push(wire::tcp::Header::parse(segment).unwrap().0.flags);
        false
    };
    pair.settle_with(&mut note);
    let (server, _) = pair.b.stack.accept(pair.now, listener).unwrap();
    pair.a.stack.write(pair.now, client, b"never read").unwrap();
    pair.settle_with(&mut note);
    pair.b.stack.close(pair.now, server);
    pair.settle_with(&mut note);
    let of = |flags| seen.iter().filter(|seen| seen.contains(flags)).count();
    assert_eq!((of(Flags::SYN), of(Flags::PSH), of(Flags::RST)), (2, 1, 1), "{seen:?}");
}

/// RFC 1191 3, RFC 4821 4, RFC 1122 3.2.1.6: those of connections and of handshakes, and resets.
fn no_segment_may_be_cut_or_has_a_type_of_service_of_its_own(family: Family) {
    let mut pair = Pair::over(family, plain());
    let mut seen = 0;
    let mut look = |_, frame: &[u8]| {
        let (ip, _) = wire::ip::Header::parse(frame).unwrap();
        assert!(matches!(ip, wire::ip::Header::V6(_)) || frame[6] & 0x40 != 0, "{ip:?}");
        assert_eq!(ip.traffic_class(), 0);
        seen += 1;
        false
    };
    pair.connect(81);
    pair.settle_with(&mut look);
    let listener = pair.listen(80, 1);
    let client = pair.connect(80);
    pair.settle_with(&mut look);
    let (server, _) = pair.b.stack.accept(pair.now, listener).unwrap();
    pair.a.stack.write(pair.now, client, &[7; 5000]).unwrap();
    pair.settle_with(&mut look);
    pair.b.stack.close(pair.now, server);
    pair.settle_with(&mut look);
    assert!(seen > 10, "{seen}");
}

fn a_silent_peer_is_asked_for_as_long_as_a_user_timeout_says(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, _) = pair.connected();
    let second = Duration::from_secs(1);
    let options = TcpOptions {
        keepalive: Some(KeepAlive { idle: second, interval: second, probes: 3 }),
        user_timeout: Some(second * 600),
        ..TcpOptions::default()
    };
    pair.a.stack.set_tcp_options(pair.now, client, options).unwrap();
    let mut asked = 0;
    let began = pair.now;
    while pair.a.stack.state(client) == Ok(State::Established) {
        pair.now = pair.a.stack.poll_timeout().expect("a connection that asks");
        pair.a.stack.handle_timeout(pair.now);
        asked += pair.a.frames(pair.now).len();
        assert!(pair.now.since(began) <= second * 601, "user timeout or not");
    }
    // 599 questions, and the reset in the end.
    assert_eq!((asked, pair.now.since(began)), (600, second * 600));
}

fn what_waits_for_its_pace_wakes_nobody_up_meanwhile(family: Family) {
    let mut pair = Pair::over(family, plain());
    let listener = pair.listen(80, 16);
    let remote = family.b(80);
    let options = TcpOptions { max_pacing_rate: Some(1), ..TcpOptions::default() };
    let client = pair.a.stack.connect(pair.now, None, remote, options).unwrap();
    pair.settle();
    let (server, _) = pair.b.stack.accept(pair.now, listener).unwrap();
    assert_eq!(pair.a.stack.info(client).unwrap().pacing_rate, Some(1));
    pair.a.stack.write(pair.now, client, &[1; 1000]).unwrap();
    pair.settle();
    pair.a.stack.write(pair.now, client, &[2; 500]).unwrap();
    let (mut turns, began) = (0, pair.now);
    while pair.b.stack.readable_bytes(server).unwrap() < 1500 {
        assert!(pair.next_deadline(), "something is left to send");
        pair.settle();
        turns += 1;
    }
    assert_eq!(pair.now.since(began).as_secs(), 1000);
    assert!(turns < 10, "{turns} turns for one segment");
}

fn who_closed_asks_a_stalled_peer_often_though_waits_stay_short(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, server) = pair.connected();
    let second = Duration::from_secs(1);
    let rto = RtoLimits { max: second, ..RtoLimits::default() };
    let options = TcpOptions { rto, ..TcpOptions::default() };
    pair.a.stack.set_tcp_options(pair.now, client, options).unwrap();
    while pair.a.stack.write(pair.now, client, &[1; 10_000]).is_ok() {
        pair.settle();
    }
    pair.a.stack.close(pair.now, client);
    // The server reads nothing for longer than it takes the waits to be as long as they get.
    pair.wait(second * 5);
    let mut received = 0;
    while let Ok(count @ 1..) = pair.b.stack.read(pair.now, server, &mut [0; 50_000]) {
        received += count;
        pair.settle();
    }
    assert_eq!(pair.b.stack.state(server), Ok(State::CloseWait), "after {received} bytes");
}

/// RFC 9293 3.5, Figure 7: a simultaneous open, in which one end is both. What it writes it reads.
fn an_end_that_connects_to_itself(family: Family) {
    let mut pair = Pair::over(family, plain());
    let here = family.a(7000);
    let options = TcpOptions::default;
    let id = pair.a.stack.connect(pair.now, Some(here), here, options()).unwrap();
    let again = pair.a.stack.connect(pair.now, Some(here), here, options());
    assert_eq!(again, Err(Error::AddressInUse));
    pair.settle();
    assert_eq!(pair.a.stack.state(id), Ok(State::Established));
    pair.a.stack.write(pair.now, id, b"to myself").unwrap();
    pair.settle();
    let mut buffer = [0; 20];
    assert_eq!(pair.a.stack.read(pair.now, id, &mut buffer), Ok(9));
    assert_eq!(&buffer[..9], b"to myself");
    pair.a.stack.shutdown(pair.now, id, Shutdown::Write).unwrap();
    pair.settle();
    assert_eq!(pair.a.stack.read(pair.now, id, &mut buffer), Ok(0));
    assert_eq!(pair.a.stack.state(id), Ok(State::TimeWait));
}

/// What is set on a listener is what connections have that come later, and no others.
fn a_listener_s_options_are_those_of_what_comes(family: Family) {
    let mut pair = Pair::over(family, plain());
    let listener = pair.listen(80, 16);
    pair.connect(80);
    pair.settle();
    let options = TcpOptions { nodelay: true, ..TcpOptions::default() };
    pair.b.stack.set_listener_options(listener, options).unwrap();
    pair.connect(80);
    pair.settle();
    for expected in [false, true] {
        let (server, _) = pair.b.stack.accept(pair.now, listener).unwrap();
        assert_eq!(pair.b.stack.tcp_options(server).unwrap().nodelay, expected);
    }
    let wrong = TcpOptions { ttl: Some(0), ..TcpOptions::default() };
    let set = pair.b.stack.set_listener_options(listener, wrong);
    assert_eq!(set, Err(Error::InvalidInput));
}
