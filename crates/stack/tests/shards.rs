//! Several shards of one host: whatever queue a frame comes from, it gets to its owner, once.

mod host;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, Ready, Shard, SocketId, Stack, TcpOptions};
use host::shards::Shards;
use host::*;
use proptest::prelude::*;
use wire::arp::Operation;
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::{Capabilities, FrameBuf, Medium, ReceiveMeta};
use wire::icmpv4::{Header, UnreachableCode};
use wire::ip::Protocol;
use wire::ipv4;
use wire::time::{Duration, Instant};

const HTTP: u16 = 80;

/// A host of one shard at the other end of the link.
fn them() -> Host {
    let mut stack = Stack::new(Config::default(), [9; 32]);
    let capabilities =
        Capabilities { medium: Medium::Ip, mtu: 1500, checksum: false, segmentation: false };
    let interface = stack.add_interface(capabilities);
    stack.add_address(interface, IpAddr::V4(THEM), 24).unwrap();
    Host { stack, interface, now: Instant::from_millis(1000), meta: Default::default() }
}

/// Carries frames between the two hosts until both are silent. `queue` chooses for each frame where
/// it comes from, as a kernel does that knows nothing.
fn settle(ours: &mut Shards, theirs: &mut Host, queue: &mut impl FnMut() -> usize) {
    theirs.now = ours.now;
    for _ in 0..10_000 {
        let (out, back) = (ours.sends(), theirs.sends());
        if out.is_empty() && back.is_empty() {
            return;
        }
        out.iter().for_each(|(_, frame)| theirs.arrives(frame));
        back.iter().for_each(|frame| ours.arrives(queue(), frame));
    }
    panic!("the two never fall silent");
}

/// A queue for each frame, by chance but the same in every run.
fn any_queue(seed: u64, count: u16) -> impl FnMut() -> usize {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::from(count)).unwrap()
    }
}

#[test]
fn a_stack_alone_hands_nothing_over() {
    let mut host = Host::tun();
    host.arrives(&echo(&header(Protocol::ICMP), b"x"));
    host.arrives(&datagram(&header(Protocol::UDP), (1, 2), b"x"));
    assert!(host.stack.poll_handover().is_none());
    assert_eq!((host.stack.shard(), host.stack.counters().handed_over()), (Shard::ALONE, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Connections in both directions, opened, used and closed, while each frame comes from any
    /// queue: every byte arrives, and every connection stays on one shard.
    #[test]
    fn connections_work_whatever_queue_a_frame_comes_from(
        seed: u64, count in 2..6_u16, connections in 1..12_usize,
    ) {
        let (mut ours, mut theirs) = (Shards::new(count), them());
        let mut queue = any_queue(seed, count);
        let options = TcpOptions::default();
        let listeners = ours.listen(HTTP, &options);
        let their_listener = theirs.stack.listen(ours.now, v4(THEM, HTTP), 128, options.clone()).unwrap();
        for n in 0..connections {
            theirs.stack.connect(ours.now, None, v4(US, HTTP), options.clone()).unwrap();
            let stack = &mut ours.stacks[n % usize::from(count)];
            stack.connect(ours.now, None, v4(THEM, HTTP), options.clone()).unwrap();
        }
        settle(&mut ours, &mut theirs, &mut queue);

        let mut peers = BTreeSet::new();
        while let Some((index, id, peer)) = ours.accept(&listeners) {
            let now = ours.now;
            let written = ours.stacks[index].write(now, id, format!("to {peer}").as_bytes());
            prop_assert!(written.is_ok());
            ours.stacks[index].close(now, id);
            peers.insert(peer);
        }
        prop_assert_eq!(peers.len(), connections);
        let mut accepted = 0;
        while let Ok((id, _)) = theirs.stack.accept(ours.now, their_listener) {
            theirs.stack.close(ours.now, id);
            accepted += 1;
        }
        prop_assert_eq!(accepted, connections);
        settle(&mut ours, &mut theirs, &mut queue);

        // Each of their clients gets the greeting that is for it, and the end behind it.
        let clients: Vec<_> = theirs.stack.sockets().into_iter()
            .filter(|entry| entry.remote == v4(US, HTTP))
            .filter_map(|entry| entry.id?.connection().map(|id| (id, entry.local)))
            .collect();
        prop_assert_eq!(clients.len(), connections);
        for (id, local) in clients {
            let (mut buffer, greeting) = ([0; 64], format!("to {local}"));
            let count = theirs.stack.read(ours.now, id, &mut buffer).unwrap();
            prop_assert_eq!(&buffer[..count], greeting.as_bytes());
            prop_assert_eq!(theirs.stack.read(ours.now, id, &mut buffer), Ok(0));
            theirs.stack.close(ours.now, id);
        }
        for stack in &mut ours.stacks {
            for entry in stack.sockets() {
                if let Some(SocketId::Connection(id)) = entry.id {
                    stack.close(ours.now, id);
                }
            }
        }
        settle(&mut ours, &mut theirs, &mut queue);
        // Both ways of closing first were there, so both sides have a TIME-WAIT for each.
        let waiting: usize = ours.stacks.iter().map(|stack| stack.sockets().len()).sum();
        prop_assert_eq!(waiting, usize::from(count) + connections);
        for reason in [Dropped::NobodyReset, Dropped::HandoverFull, Dropped::ListenNothing] {
            prop_assert_eq!(ours.dropped(reason), 0);
        }
        ours.later(Duration::from_secs(61));
        let left: usize = ours.stacks.iter().map(|stack| stack.sockets().len()).sum();
        prop_assert_eq!(left, usize::from(count));
    }
}

#[test]
fn shards_share_the_ephemeral_ports_and_never_take_the_same() {
    let config = Config { ephemeral_ports: 40_000..=40_499, ..Config::default() };
    let mut ours = Shards::with(3, &config, Medium::Ip);
    let (now, options) = (ours.now, TcpOptions::default());
    let mut taken = BTreeSet::new();
    for stack in &mut ours.stacks {
        loop {
            match stack.connect(now, None, v4(THEM, HTTP), options.clone()) {
                Ok(id) => assert!(taken.insert(stack.local_address(id).unwrap().port())),
                Err(error) => break assert_eq!(error, Error::AddressNotAvailable),
            }
        }
    }
    assert_eq!(taken.len(), 500, "each port of the range is somebody's");
}

#[test]
fn a_connection_from_a_given_port_belongs_to_one_shard() {
    let mut ours = Shards::new(4);
    let (now, options) = (ours.now, TcpOptions::default());
    for port in 5000..5050 {
        let local = v4(Ipv4Addr::UNSPECIFIED, port);
        let owners: BTreeSet<u16> = ours
            .stacks
            .iter()
            .map(|stack| stack.owner_of_connection(local, v4(THEM, HTTP)).unwrap())
            .collect();
        assert_eq!(owners.len(), 1, "all agree");
        for stack in &mut ours.stacks {
            let index = stack.shard().index();
            let connected = stack.connect(now, Some(local), v4(THEM, HTTP), options.clone());
            match owners.contains(&index) {
                true => assert!(connected.is_ok()),
                false => assert_eq!(connected, Err(Error::AddressNotAvailable)),
            }
        }
    }
    let far = ours.stacks[0].owner_of_connection(v4(US, 1), v4(FAR, 1));
    assert_eq!(far, Err(Error::NetworkUnreachable));
    let strange = ours.stacks[0].owner_of_connection(v4(OTHER, 1), v4(THEM, 1));
    assert_eq!(strange, Err(Error::AddressNotAvailable));
}

/// Nothing is remembered of a handshake that a cookie answered: its last ACK must find the shard that
/// can tell its own.
#[test]
fn a_cookie_comes_back_to_the_shard_that_gave_it() {
    let config = Config { syn_queue_limit: 1, ..Config::default() };
    let (mut ours, mut theirs) = (Shards::with(3, &config, Medium::Ip), them());
    let (now, options) = (ours.now, TcpOptions::default());
    let listeners = ours.listen(HTTP, &options);
    for _ in 0..40 {
        theirs.stack.connect(now, None, v4(US, HTTP), options.clone()).unwrap();
    }
    // All SYNs arrive before any answer does.
    let mut queue = any_queue(3, 3);
    for syn in theirs.sends() {
        ours.arrives(queue(), &syn);
    }
    settle(&mut ours, &mut theirs, &mut queue);
    let answered: u64 =
        ours.stacks.iter().map(|stack| stack.counters().sent(Sent::SynCookie)).sum();
    assert!(answered >= 37, "{answered} cookies");
    let mut accepted = 0;
    while ours.accept(&listeners).is_some() {
        accepted += 1;
    }
    assert_eq!(accepted, 40);
}

#[test]
fn an_icmp_error_finds_the_connection_that_it_is_about() {
    for queue in 0..3 {
        let mut ours = Shards::new(3);
        let now = ours.now;
        for index in 0..3 {
            let options = TcpOptions::default();
            let id = ours.stacks[index].connect(now, None, v4(THEM, HTTP), options).unwrap();
            let (_, syn) = ours.sends().remove(0);
            let code = UnreachableCode::PROTOCOL;
            let error = Header::DestinationUnreachable { code, next_hop_mtu: 0 };
            let packet = packet(&header(Protocol::ICMP), &message(&error, &syn));
            ours.arrives(queue, &packet);
            let error = ours.stacks[index].take_error(id).unwrap();
            assert_eq!(error, Some(Error::ProtocolUnreachable), "from queue {queue}");
        }
        assert_eq!(ours.dropped(Dropped::IcmpUnsolicited), 0);
    }
}

#[test]
fn an_echo_reply_goes_to_the_socket_that_asked() {
    let mut ours = Shards::new(4);
    let now = ours.now;
    for n in 0..32 {
        let asker = n % 4;
        let id = ours.stacks[asker].ping_open(None).unwrap();
        ours.stacks[asker].ping_send(now, id, THEM.into(), 5, b"where?").unwrap();
        let (_, request) = ours.sends().remove(0);
        let (_, icmp, payload) = parse_icmp(&request);
        let Header::EchoRequest { identifier, sequence } = icmp else { panic!("{icmp:?}") };
        let reply = Header::EchoReply { identifier, sequence };
        ours.arrives(n / 8, &packet(&header(Protocol::ICMP), &message(&reply, payload)));
        assert_eq!(ours.stacks[asker].ping_receive(id).unwrap().payload, b"where?");
    }
    // An error about a request is about its identifier, too.
    let id = ours.stacks[1].ping_open(None).unwrap();
    ours.stacks[1].ping_send(now, id, THEM.into(), 6, b"").unwrap();
    let (_, request) = ours.sends().remove(0);
    let code = UnreachableCode::HOST;
    let error = Header::DestinationUnreachable { code, next_hop_mtu: 0 };
    ours.arrives(3, &packet(&header(Protocol::ICMP), &message(&error, &request)));
    assert_eq!(ours.stacks[1].ping_receive(id).unwrap().error, Some(Error::HostUnreachable));
}

#[test]
fn whoever_receives_an_echo_request_answers_it() {
    let mut ours = Shards::new(3);
    for queue in 0..3 {
        ours.arrives(queue, &echo(&header(Protocol::ICMP), b"anybody"));
        let sent = ours.sends();
        assert_eq!(sent.iter().map(|(queue, _)| *queue).collect::<Vec<_>>(), [queue]);
    }
    assert!(ours.stacks.iter().all(|stack| stack.counters().handed_over() == 0));
}

#[test]
fn a_datagram_goes_to_the_shard_of_its_port() {
    let mut ours = Shards::new(3);
    let mut owners = BTreeSet::new();
    for port in 100..160 {
        let owner = usize::from(ours.stacks[0].owner_of_udp_port(port));
        for (index, stack) in ours.stacks.iter_mut().enumerate() {
            match stack.udp_bind(v4(US, port)) {
                Ok(_) => assert_eq!(index, owner),
                Err(error) => {
                    assert_eq!((error, index != owner), (Error::AddressNotAvailable, true));
                }
            }
        }
        owners.insert(owner);
        for queue in 0..3 {
            ours.arrives(queue, &datagram(&header(Protocol::UDP), (9, port), &[queue as u8]));
        }
        let event = ours.stacks[owner].poll_event().expect("a datagram");
        let SocketId::Udp(id) = event.socket else { panic!("{event:?}") };
        for queue in 0..3 {
            let mut byte = [9];
            ours.stacks[owner].udp_receive_from(id, &mut byte).unwrap();
            assert_eq!(byte, [queue]);
        }
    }
    assert_eq!(owners.len(), 3);
    let ports = |stack: &mut Stack| {
        let id = stack.udp_bind(v4(US, 0)).unwrap();
        (stack.owner_of_udp_port(stack.udp_local(id).unwrap().port()), stack.shard().index())
    };
    assert!(ours.stacks.iter_mut().map(ports).all(|(owner, index)| owner == index));
}

/// Nobody has the port: the error comes from the shard that would, and only once.
#[test]
fn a_closed_udp_port_is_reported_once() {
    let mut ours = Shards::new(3);
    ours.arrives(1, &datagram(&header(Protocol::UDP), (9, 4711), b"?"));
    let sent = ours.sends();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0, usize::from(ours.stacks[0].owner_of_udp_port(4711)));
}

#[test]
fn what_stays_inside_reaches_the_other_shards() {
    let mut ours = Shards::new(3);
    let (now, any) = (ours.now, TcpOptions::default());
    let listeners = ours.listen(HTTP, &any);
    for index in 0..3 {
        // Both ends of a connection to ourselves are on one shard.
        let id = ours.stacks[index].connect(now, None, v4(US, HTTP), any.clone()).unwrap();
        assert_eq!(ours.sends(), []);
        assert!(ours.stacks[index].readiness(SocketId::Connection(id)).contains(Ready::WRITE));
        assert_eq!(ours.accept(&listeners).map(|(at, ..)| at), Some(index));
    }
    assert_eq!(ours.stacks.iter().map(|stack| stack.counters().handed_over()).sum::<u64>(), 0);
    // Two UDP sockets need not be.
    let sockets: Vec<_> =
        ours.stacks.iter_mut().map(|stack| stack.udp_bind(v4(US, 0)).unwrap()).collect();
    for from in 0..3 {
        for to in 0..3 {
            let remote = ours.stacks[to].udp_local(sockets[to]).unwrap();
            ours.stacks[from].udp_send_to(now, sockets[from], b"hello", remote).unwrap();
            assert_eq!(ours.sends(), []);
            let (count, sender) =
                ours.stacks[to].udp_receive_from(sockets[to], &mut [0; 8]).unwrap();
            assert_eq!((count, sender), (5, ours.stacks[from].udp_local(sockets[from]).unwrap()));
        }
    }
}

const NOBODY: EthernetAddress = EthernetAddress::UNSPECIFIED;

#[test]
fn every_shard_learns_from_arp_and_one_answers() {
    let mut ours = Shards::with(3, &Config::default(), Medium::Ethernet(OUR_HARDWARE));
    ours.arrives(1, &arp_frame(Operation::REQUEST, (THEIR_HARDWARE, THEM), (NOBODY, US)));
    let sent = ours.sends();
    assert_eq!(sent.len(), 1, "one answer");
    assert_eq!((sent[0].0, parse_arp(&sent[0].1).1.operation), (1, Operation::REPLY));
    // All of them know the asker now.
    for stack in &mut ours.stacks {
        let id = stack.udp_bind(v4(US, 0)).unwrap();
        stack.udp_send_to(ours.now, id, b"x", v4(THEM, 7)).unwrap();
    }
    let sent = ours.sends();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|(_, frame)| parse_frame(frame).0.destination == THEIR_HARDWARE));
}

#[test]
fn an_arp_reply_helps_the_shard_that_asked_whatever_queue_it_comes_from() {
    for queue in 0..3 {
        let mut ours = Shards::with(3, &Config::default(), Medium::Ethernet(OUR_HARDWARE));
        let id = ours.stacks[2].udp_bind(v4(US, 0)).unwrap();
        ours.stacks[2].udp_send_to(ours.now, id, b"wait", v4(THEM, 7)).unwrap();
        let asked = ours.sends();
        assert_eq!(parse_arp(&asked[0].1).1.operation, Operation::REQUEST);
        ours.arrives(queue, &arp_reply());
        let sent = ours.sends();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].0, parse_udp(parse_frame(&sent[0].1).1).2), (2, &b"wait"[..]));
    }
}

/// Nobody fetches them, or their owner has no room: they are lost, and counted.
#[test]
fn more_frames_than_may_wait_for_their_owner_are_dropped_and_counted() {
    let config = Config { handover_limit: 4, ..Config::default() };
    let mut ours = Shards::with(2, &config, Medium::Ip);
    let port = (1..).find(|&port| ours.stacks[0].owner_of_udp_port(port) == 1).unwrap();
    let bytes = datagram(&header(Protocol::UDP), (9, port), b"x");
    for _ in 0..10 {
        let frame = FrameBuf::copy_from(&bytes);
        ours.stacks[0].handle_frame(ours.now, ours.interface, frame, ReceiveMeta::default());
    }
    let handover = ours.stacks[0].poll_handover().unwrap();
    ours.stacks[0].handle_refused_handover(handover);
    assert_eq!(ours.carry(), 3);
    let counters = ours.stacks[0].counters();
    assert_eq!((counters.handed_over(), counters.dropped(Dropped::HandoverFull)), (4, 7));
    assert_eq!(ours.stacks[1].counters().taken_over(), 3);
}

/// They say no ports: one shard puts them together, and the owner gets the whole.
#[test]
fn fragments_that_come_to_different_queues_are_put_together_for_their_owner() {
    for medium in [Medium::Ip, Medium::Ethernet(OUR_HARDWARE)] {
        for port in 1..20 {
            let mut ours = Shards::with(4, &Config::default(), medium);
            let owner = usize::from(ours.stacks[0].owner_of_udp_port(port));
            let id = ours.stacks[owner].udp_bind(v4(US, port)).unwrap();
            let whole = datagram(&header(Protocol::UDP), (9, port), &[7; 56]);
            for (queue, (start, end)) in [(0, 24), (24, 40), (40, 64)].into_iter().enumerate() {
                let ip = ipv4::Header {
                    protocol: Protocol::UDP,
                    more_fragments: end < 64,
                    fragment_offset: start,
                    ..header(Protocol::UDP)
                };
                let fragment = packet(&ip, &whole[20..][usize::from(start)..end]);
                let fragment = match medium {
                    Medium::Ip => fragment,
                    Medium::Ethernet(_) => frame(EtherType::IPV4, &fragment),
                };
                ours.arrives(queue, &fragment);
            }
            let received = ours.stacks[owner].udp_receive_from(id, &mut [0; 99]);
            assert_eq!(received, Ok((56, v4(THEM, 9))));
        }
    }
}

/// Each shard takes the flows to its ports, and answers them.
#[test]
fn a_udp_flow_belongs_to_the_shard_of_its_port() {
    let mut ours = Shards::new(4);
    let idle = Duration::from_secs(30);
    let takers: Vec<_> =
        ours.stacks.iter_mut().map(|stack| stack.udp_take_flows(idle, 64).unwrap()).collect();
    for port in 1..=64_u16 {
        for queue in 0..4_u8 {
            let payload = [queue];
            ours.arrives(queue.into(), &datagram(&header(Protocol::UDP), (9, port), &payload));
        }
    }
    let mut busy = BTreeSet::new();
    for port in 1..=64_u16 {
        let owner = usize::from(ours.stacks[0].owner_of_udp_port(port));
        busy.insert(owner);
        let (now, stack) = (ours.now, &mut ours.stacks[owner]);
        let new = stack.udp_next_flow(takers[owner]).expect("one flow for each port");
        assert_eq!((new.flow.local, new.flow.remote), (v4(US, port), v4(THEM, 9)));
        for queue in 0..4_u8 {
            let mut buffer = [0xff; 4];
            assert_eq!(stack.udp_receive_from(new.id, &mut buffer), Ok((1, v4(THEM, 9))));
            assert_eq!(buffer[0], queue);
        }
        assert_eq!(stack.udp_send(now, new.id, b"answer"), Ok(6));
    }
    assert_eq!(busy.len(), 4);
    for (stack, taker) in ours.stacks.iter_mut().zip(takers) {
        assert_eq!(stack.udp_next_flow(taker), Err(Error::WouldBlock));
    }
}

#[test]
fn the_limits_of_a_host_are_divided() {
    let whole = Config::default();
    let part = whole.clone().divided(3);
    assert_eq!(part.memory_limit, whole.memory_limit.div_ceil(3));
    assert_eq!((part.time_wait_limit, part.icmp_errors_per_second), (21_846, 334));
    assert_eq!(part.backlog_limit, whole.backlog_limit, "each listener keeps its own");
    let alone = whole.clone().divided(1);
    assert_eq!(format!("{alone:?}"), format!("{whole:?}"));
}
