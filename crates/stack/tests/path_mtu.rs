//! The MTU of the way (RFC 1191, RFC 8201), and what is not believed about it (RFC 5927).

extern crate estab_stack as stack;

mod common;
mod host;

use std::net::IpAddr;
use std::time::Duration;

use common::{Family, Pair, plain};
use host::v6 as six;
use stack::Error;
use stack::reason::Dropped;
use wire::frame::{FrameBuf, ReceiveMeta};
use wire::ip::Protocol;
use wire::{icmpv4, icmpv6, ipv4, ipv6};

for_both_families! {
    a_narrow_way_is_found_and_what_was_lost_goes_again,
    a_message_for_each_segment_has_each_sent_again_once,
    connections_that_are_there_know_the_way_when_they_send,
    later_connections_know_the_way_until_it_is_forgotten,
    what_is_not_in_flight_is_not_believed,
}

/// What a router with a link of `mtu` bytes says about a packet that is longer.
fn too_big(family: Family, packet: &[u8], mtu: u16) -> Vec<u8> {
    match family {
        Family::V4 => {
            let (ip, _) = ipv4::Header::parse(packet).unwrap();
            let code = icmpv4::UnreachableCode::FRAGMENTATION_NEEDED;
            let header = icmpv4::Header::DestinationUnreachable { code, next_hop_mtu: mtu };
            let message = host::message(&header, &packet[..packet.len().min(60)]);
            let back = ipv4::Header {
                source: ip.destination,
                destination: ip.source,
                ..host::header(Protocol::ICMP)
            };
            host::packet(&back, &message)
        }
        Family::V6 => {
            let (ip, _) = ipv6::Header::parse(packet).unwrap();
            let header = icmpv6::Header::PacketTooBig { mtu: mtu.into() };
            let back = ipv6::Header {
                source: ip.destination,
                destination: ip.source,
                ..six::header(Protocol::ICMPV6)
            };
            six::message(&back, &header, &packet[..packet.len().min(1232)])
        }
    }
}

/// Carries packets over a way that takes no more than `mtu` bytes; gives back how often it said so.
fn over_a_narrow_way(pair: &mut Pair, mtu: u16) -> usize {
    let mut complaints = Vec::new();
    let mut count = 0;
    loop {
        pair.settle_with(|from_a, packet| {
            let lost = packet.len() > usize::from(mtu);
            if lost {
                complaints.push((from_a, packet.to_vec()));
            }
            lost
        });
        if complaints.is_empty() {
            return count;
        }
        for (from_a, packet) in complaints.drain(..) {
            count += 1;
            assert!(count < 200, "it is not listened to");
            let frame = FrameBuf::copy_from(&too_big(pair.family, &packet, mtu));
            let (now, meta) = (pair.now, ReceiveMeta::default());
            let host = if from_a { &mut pair.a } else { &mut pair.b };
            host.stack.handle_frame(now, host.interface, frame, meta);
        }
    }
}

/// RFC 1191 6.4, RFC 8201 5.4: "the retransmission [...] is done right away", in smaller segments.
fn a_narrow_way_is_found_and_what_was_lost_goes_again(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, server) = pair.connected();
    let data: Vec<u8> = (0..50_000_u32).map(|n| n as u8).collect();
    pair.a.stack.write(pair.now, client, &data).unwrap();
    assert!(over_a_narrow_way(&mut pair, 1300) > 0);
    let mut got = Vec::new();
    let mut buffer = [0; 9000];
    for _ in 0..50 {
        while let Ok(length) = pair.b.stack.read(pair.now, server, &mut buffer) {
            got.extend_from_slice(&buffer[..length]);
        }
        if got.len() == data.len() {
            break;
        }
        over_a_narrow_way(&mut pair, 1300);
        pair.next_deadline();
    }
    assert!(got == data, "{} bytes", got.len());
    let headers = if family == Family::V4 { 40 } else { 60 };
    let info = pair.a.stack.info(client).unwrap();
    assert_eq!(info.snd_mss, 1300 - headers - 12);
}

/// RFC 1191 6.2: all packetization layers on the way hear of it, "no later than when" they next send.
fn connections_that_are_there_know_the_way_when_they_send(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (first, _) = pair.connected();
    let second = pair.connect(80);
    pair.settle();
    pair.a.stack.write(pair.now, first, &[7; 5000]).unwrap();
    assert!(over_a_narrow_way(&mut pair, 1300) > 0);
    pair.a.stack.write(pair.now, second, &[7; 5000]).unwrap();
    assert_eq!(over_a_narrow_way(&mut pair, 1300), 0, "a segment was too long");
    let mss = [first, second].map(|id| pair.a.stack.info(id).unwrap().snd_mss);
    assert_eq!(mss[0], mss[1]);
}

/// RFC 1191 6.4, RFC 8201 5.4: "One MUST not retransmit in response to every Datagram Too Big message". A router
/// says it once for each segment of a window, and each byte goes again once.
fn a_message_for_each_segment_has_each_sent_again_once(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, _) = pair.connected();
    pair.a.stack.write(pair.now, client, &[7; 10_000]).unwrap();
    let window = pair.a.frames(pair.now);
    assert!(window.len() > 5, "{}", window.len());
    let mut again = 0;
    for (packet, _) in &window {
        if packet.len() <= 1300 {
            continue;
        }
        let message = FrameBuf::copy_from(&too_big(family, packet, 1300));
        let (now, interface) = (pair.now, pair.a.interface);
        pair.a.stack.handle_frame(now, interface, message, ReceiveMeta::default());
        let headers = if family == Family::V4 { 52 } else { 72 };
        again +=
            pair.a.frames(pair.now).iter().map(|(frame, _)| frame.len() - headers).sum::<usize>();
    }
    let longer = window.iter().filter(|(packet, _)| packet.len() > 1300).count();
    assert!(again >= longer * 1200 && again <= 10_000, "{again} bytes went again");
}

/// RFC 1191 6.2, 6.3: kept for the destination, and forgotten after ten minutes.
fn later_connections_know_the_way_until_it_is_forgotten(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, _) = pair.connected();
    pair.a.stack.write(pair.now, client, &[7; 5000]).unwrap();
    over_a_narrow_way(&mut pair, 1300);
    let segment_of = |pair: &mut Pair| {
        let next = pair.connect(80);
        pair.settle();
        pair.a.stack.info(next).unwrap().snd_mss
    };
    let headers = if family == Family::V4 { 52 } else { 72 };
    assert_eq!(segment_of(&mut pair), 1300 - headers);
    // What is announced is the link's all the same (RFC 1191 3.1, 6.4).
    pair.connect(80);
    let (syn, _) = pair.a.frames(pair.now).remove(0);
    let ip = if family == Family::V4 { 20 } else { 40 };
    let (header, _) = wire::tcp::Header::parse(&syn[ip..]).unwrap();
    assert_eq!(header.options.mss.map(usize::from), Some(1500 - ip - 20));
    pair.wait(Duration::from_secs(601));
    pair.next_deadline();
    pair.a.stack.handle_timeout(pair.now);
    assert_eq!(segment_of(&mut pair), 1500 - headers);
}

/// RFC 5927 7.2: the quoted sequence number is in flight, the packet was longer than what the next
/// link takes, and that is no less than what every link does.
fn what_is_not_in_flight_is_not_believed(family: Family) {
    let mut pair = Pair::over(family, plain());
    let (client, _) = pair.connected();
    pair.a.stack.write(pair.now, client, &[7; 1000]).unwrap();
    let mut sent = Vec::new();
    pair.settle_with(|from_a, packet| {
        if from_a && sent.is_empty() {
            sent = packet.to_vec();
        }
        false
    });
    let before = pair.a.stack.info(client).unwrap().snd_mss;
    let tell = |pair: &mut Pair, message: Vec<u8>| {
        let interface = pair.a.interface;
        let unsolicited = pair.a.stack.counters().dropped(Dropped::IcmpUnsolicited);
        let frame = FrameBuf::copy_from(&message);
        pair.a.stack.handle_frame(pair.now, interface, frame, ReceiveMeta::default());
        assert_eq!(pair.a.stack.counters().dropped(Dropped::IcmpUnsolicited), unsolicited + 1);
    };
    // All of it was acknowledged.
    let message = too_big(family, &sent, 900.max(if family == Family::V6 { 1280 } else { 0 }));
    tell(&mut pair, message);
    // In flight, but it would have passed.
    pair.a.stack.write(pair.now, client, &[7; 1000]).unwrap();
    let (frame, _) = pair.a.frames(pair.now).remove(0);
    let message = too_big(family, &frame, 1400);
    tell(&mut pair, message);
    if family == Family::V6 {
        // RFC 8201 4: less than 1280 is none of a link that carries IPv6.
        let message = too_big(family, &frame, 1000);
        tell(&mut pair, message);
    }
    assert_eq!(pair.a.stack.info(client).unwrap().snd_mss, before);
}

/// RFC 8201 5: who sends datagrams is told, and the next ones are cut to what the way takes.
#[test]
fn datagrams_are_cut_to_what_the_way_takes() {
    for connected in [true, false] {
        let mut host = six::tun();
        let id = host.stack.udp_bind(six::at(six::US, 5000)).unwrap();
        let to = six::at(six::THEM, 7);
        if connected {
            host.stack.udp_connect(id, to).unwrap();
        }
        host.stack.udp_send_to(host.now, id, &[7; 1452], to).unwrap();
        let sent = host.sends_one();
        assert_eq!(sent.len(), 1500);
        host.arrives(&too_big(Family::V6, &sent, 1280));
        let told = host.stack.udp_take_error(id).unwrap();
        assert_eq!(told, connected.then_some(Error::MessageTooBig));
        host.stack.udp_send_to(host.now, id, &[7; 1452], to).unwrap();
        let fragments = host.sends();
        assert_eq!(fragments.iter().map(Vec::len).collect::<Vec<_>>(), [1280, 276]);
    }
    // A port that nobody has sent nothing.
    let mut host = six::tun();
    let forged = six::datagram(
        &ipv6::Header { source: six::US, destination: six::THEM, ..six::header(Protocol::UDP) },
        (5000, 7),
        &[7; 1452],
    );
    host.drops(&too_big(Family::V6, &forged, 1280), Dropped::IcmpUnsolicited);
}

/// The same for echo requests.
#[test]
fn pings_are_cut_to_what_the_way_takes() {
    let mut host = six::tun();
    let id = host.stack.ping_open(None).unwrap();
    host.stack.ping_send(host.now, id, six::THEM.into(), 1, &[7; 1452]).unwrap();
    let sent = host.sends_one();
    host.arrives(&too_big(Family::V6, &sent, 1280));
    assert_eq!(host.stack.ping_receive(id).unwrap().error, Some(Error::MessageTooBig));
    host.stack.ping_send(host.now, id, six::THEM.into(), 2, &[7; 1452]).unwrap();
    assert_eq!(host.sends().len(), 2);
}

/// And for our answers to other hosts' requests, of which no socket knows.
#[test]
fn answers_are_cut_to_what_the_way_takes() {
    let mut host = six::tun();
    let request = six::echo(&six::header(Protocol::ICMPV6), &[7; 1400]);
    host.arrives(&request);
    let sent = host.sends_one();
    // Another sequence number than any of ours.
    let mut forged = sent.clone();
    forged[47] ^= 1;
    host.drops(&too_big(Family::V6, &forged, 1280), Dropped::IcmpUnsolicited);
    host.arrives(&request);
    assert_eq!(host.sends().len(), 1);
    host.arrives(&too_big(Family::V6, &sent, 1280));
    host.arrives(&request);
    assert_eq!(host.sends().len(), 2);
}

/// A host with a router behind its link, of both families.
fn behind_a_router(config: stack::Config) -> host::Host {
    let mut host = host::Host::new(config, wire::frame::Medium::Ip, false);
    let (interface, stack) = (host.interface, &mut host.stack);
    stack.add_address(interface, six::US.into(), 64).unwrap();
    stack.add_route(interface, [0; 4].into(), 0, Some(host::THEM.into())).unwrap();
    stack.add_route(interface, [0_u16; 8].into(), 0, Some(six::THEM.into())).unwrap();
    host
}

/// RFC 1191 6.6 and RFC 8201 5.6: what is found out can be turned off. What goes through a router is then as long as
/// every way takes, and no message makes it shorter or longer.
#[test]
fn nothing_is_found_out_where_that_is_not_wanted() {
    let config = stack::Config { path_mtu_discovery: false, ..stack::Config::default() };
    let mut host = behind_a_router(config);
    for (near, far, least) in [
        (IpAddr::from(host::THEM), IpAddr::from(host::FAR), 576),
        (six::THEM.into(), six::FAR.into(), 1280),
    ] {
        assert_eq!((host.stack.path_mtu(near), host.stack.path_mtu(far)), (Ok(1500), Ok(least)));
    }
    let id = host.stack.udp_bind(host::v4(host::US, 7)).unwrap();
    let far = host::v4(host::FAR, 9);
    host.stack.udp_send_to(host.now, id, &[7; 1000], far).unwrap();
    let packets = host.sends();
    assert!(packets.len() == 2 && packets.iter().all(|packet| packet.len() <= 576));
    host.stack.udp_send_to(host.now, id, &[7; 1000], host::v4(host::THEM, 9)).unwrap();
    let packet = host.sends_one();
    host.drops(&too_big(Family::V4, &packet, 600), Dropped::IcmpIgnored);
    assert_eq!(host.stack.path_mtu(host::THEM.into()), Ok(1500));
    // But whoever runs the system may know better.
    host.stack.set_path_mtu(host::FAR.into(), Some(1400)).unwrap();
    assert_eq!(host.stack.path_mtu(host::FAR.into()), Ok(1400));
}

/// RFC 8201 5.6: the MTU of a way is read and set.
#[test]
fn what_a_way_takes_is_set_and_taken_back() {
    let config = stack::Config { path_mtu_limit: 2, ..stack::Config::default() };
    let mut host = behind_a_router(config);
    let id = host.stack.udp_bind(host::v4(host::US, 7)).unwrap();
    let far = host::v4(host::FAR, 9);
    host.stack.udp_connect(id, far).unwrap();
    for (address, too_little) in [(far.ip(), 575), (six::FAR.into(), 1279)] {
        assert_eq!(host.stack.set_path_mtu(address, Some(too_little)), Err(Error::InvalidInput));
        assert_eq!(host.stack.path_mtu(address), Ok(1500));
        host.stack.set_path_mtu(address, Some(1300)).unwrap();
        assert_eq!(host.stack.path_mtu(address), Ok(1300));
    }
    let third = host.stack.set_path_mtu(host::OTHER.into(), Some(1300));
    assert_eq!(third, Err(Error::LimitReached));
    let longest = |host: &mut host::Host| {
        host.stack.udp_send(host.now, id, &[7; 1400]).unwrap();
        host.sends().iter().map(Vec::len).max()
    };
    assert!(longest(&mut host).is_some_and(|length| (1290..=1300).contains(&length)));
    // It is not forgotten, and a router may say that it is less, for a while.
    host.later(wire::time::Duration::from_secs(3600));
    assert_eq!(host.stack.udp_path_mtu(id), Ok(1300));
    host.stack.udp_send(host.now, id, &[7; 1200]).unwrap();
    let packet = host.sends_one();
    host.arrives(&too_big(Family::V4, &packet, 1000));
    assert_eq!(host.stack.udp_path_mtu(id), Ok(1000));
    host.later(wire::time::Duration::from_secs(601));
    assert_eq!(host.stack.udp_path_mtu(id), Ok(1300));
    host.stack.set_path_mtu(far.ip(), None).unwrap();
    assert_eq!(host.stack.udp_path_mtu(id), Ok(1500));
    // A datagram was too big, which the socket is told once.
    assert_eq!(host.stack.udp_take_error(id), Ok(Some(Error::MessageTooBig)));
    assert_eq!(longest(&mut host), Some(1428));
}
