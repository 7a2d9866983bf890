//! SYNs that wait for a decision, and flows for any address.

extern crate estab_stack as stack;

mod common;

use common::{Pair, plain};
use stack::reason::{Dropped, Sent};
use stack::{
    Config, ConnectionId, Error, Event, Family, ListenerId, PendingSyn, Ready, Refusal, SocketId,
    State, TcpOptions, Unreachable,
};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A host that is not there.
const FAR: &str = "203.0.113.7:443";

/// A world in which B takes every flow, and decides first.
struct World {
    pair: Pair,
    listener: ListenerId,
}

impl World {
    fn new() -> Self {
        Self::over(common::Family::V4)
    }

    fn over(family: common::Family) -> Self {
        Self::with(family, Config::default())
    }

    fn with(family: common::Family, config: Config) -> Self {
        let mut pair = Pair::over(family, plain());
        let (ours, theirs, prefix_len) = family.addresses();
        pair.b.stack = stack::Stack::new(config, [2; 32]);
        pair.b.interface = pair.b.stack.add_interface(plain());
        let (interface, b) = (pair.b.interface, &mut pair.b.stack);
        b.add_address(interface, theirs, prefix_len).unwrap();
        b.set_any_address(interface, true).unwrap();
        b.set_gateway(interface, ours).unwrap();
        pair.a.stack.set_gateway(pair.a.interface, theirs).unwrap();
        let options = TcpOptions::default();
        let family = if ours.is_ipv4() { Family::V4 } else { Family::V6 };
        let listener = pair.b.stack.listen_any(pair.now, family, 64, options).unwrap();
        pair.b.stack.decide_first(listener, true).unwrap();
        Self { pair, listener }
    }

    fn connect(&mut self, to: &str) -> ConnectionId {
        let to: SocketAddr = to.parse().unwrap();
        let options = TcpOptions::default();
        let client = self.pair.a.stack.connect(self.pair.now, None, to, options).unwrap();
        self.pair.settle();
        client
    }

    fn next(&mut self) -> Result<PendingSyn, Error> {
        self.pair.b.stack.next_pending(self.listener)
    }

    fn accept(&mut self, syn: &PendingSyn) -> Result<ConnectionId, Error> {
        let accepted = self.pair.b.stack.accept_pending(self.pair.now, syn.id);
        self.pair.settle();
        accepted
    }

    fn dropped(&self, reason: Dropped) -> u64 {
        self.pair.b.stack.counters().dropped(reason)
    }
}

#[test]
fn nothing_is_answered_before_the_decision() {
    let mut world = World::new();
    let client = world.connect(FAR);
    assert_eq!(world.pair.a.stack.state(client), Ok(State::SynSent));
    let event = world.pair.b.stack.poll_event();
    let socket = SocketId::Listener(world.listener);
    assert_eq!(event, Some(Event { socket, ready: Ready::PENDING }));
    let syn = world.next().unwrap();
    let local = world.pair.a.stack.local_address(client).unwrap();
    assert_eq!((syn.flow.local, syn.flow.remote), (FAR.parse().unwrap(), local));
    assert_eq!((syn.ttl, syn.traffic_class, syn.interface), (64, 0, world.pair.b.interface));
    assert_eq!((syn.mss, syn.window_scale), (Some(1460), Some(7)));
    assert!(syn.sack && syn.timestamps && !syn.ecn);
    assert_eq!(world.next(), Err(Error::WouldBlock));
    assert_eq!(world.pair.b.stack.memory_used(), 0);
    let kinds: Vec<_> = world.pair.b.stack.sockets().iter().map(|entry| entry.state).collect();
    assert!(kinds.contains(&State::SynReceived) && !kinds.contains(&State::Established));

    let server = world.accept(&syn).unwrap();
    assert_eq!(world.pair.a.stack.state(client), Ok(State::Established));
    assert_eq!(world.pair.b.stack.local_address(server), Ok(FAR.parse().unwrap()));
    let ready = world.pair.b.stack.poll_event().expect("the handshake is over");
    assert_eq!(ready.socket, SocketId::Connection(server));
    assert!(ready.ready.contains(Ready::WRITE));
    world.pair.b.stack.write(world.pair.now, server, b"from afar").unwrap();
    world.pair.settle();
    let mut into = [0; 16];
    assert_eq!(world.pair.a.stack.read(world.pair.now, client, &mut into), Ok(9));
    assert_eq!(world.accept(&syn), Err(Error::NoSuchSocket), "it is decided");
}

#[test]
fn a_refusal_is_what_a_closed_port_answers() {
    let mut world = World::new();
    let client = world.connect(FAR);
    let syn = world.next().unwrap();
    world.pair.b.stack.refuse_pending(world.pair.now, syn.id, Refusal::Reset).unwrap();
    world.pair.settle();
    assert_eq!(world.pair.a.stack.take_error(client), Ok(Some(Error::ConnectionRefused)));
    let again = world.pair.b.stack.refuse_pending(world.pair.now, syn.id, Refusal::Reset);
    assert_eq!(again, Err(Error::NoSuchSocket));
}

/// RFC 1122 4.2.3.9: a client that waits for the handshake learns what it is about at once.
#[test]
fn a_refusal_by_icmp_is_what_the_client_is_told() {
    let table = [
        (Unreachable::Network, Error::NetworkUnreachable),
        (Unreachable::Host, Error::HostUnreachable),
        (Unreachable::Protocol, Error::ProtocolUnreachable),
        (Unreachable::Port, Error::ConnectionRefused),
        (Unreachable::Prohibited, Error::Prohibited),
    ];
    for (family, far) in [(common::Family::V4, FAR), (common::Family::V6, "[2001:db8::7]:443")] {
        for (what, error) in table {
            let mut world = World::over(family);
            let client = world.connect(far);
            let syn = world.next().unwrap();
            let (now, b) = (world.pair.now, &mut world.pair.b.stack);
            b.refuse_pending(now, syn.id, what.into()).unwrap();
            let [(packet, _)] = &world.pair.b.frames(now)[..] else { panic!("one error") };
            check_quote(packet, &syn);
            let meta = wire::frame::ReceiveMeta::default();
            let packet = wire::frame::FrameBuf::copy_from(packet);
            world.pair.a.stack.handle_frame(now, world.pair.a.interface, packet, meta);
            // A soft error is kept until the handshake is given up (RFC 1122 4.2.3.9); a hard one ends it.
            let hard = matches!(what, Unreachable::Protocol | Unreachable::Port);
            if !hard {
                world.pair.b.stack.close_listener(now, world.listener);
                world.pair.b.stack.set_any_address(world.pair.b.interface, false).unwrap();
                world.pair.wait(Duration::from_secs(400));
            }
            assert_eq!(world.pair.a.stack.take_error(client), Ok(Some(error)), "{what:?}");
            assert_eq!(world.pair.b.stack.counters().sent(Sent::UnreachableRefused), 1);
        }
    }
}

/// The error quotes the SYN, with what a careful peer compares (RFC 5927 4).
fn check_quote(packet: &[u8], syn: &PendingSyn) {
    let outline = wire::ip::Outline::of(packet).unwrap();
    assert_eq!((outline.source, outline.destination), (syn.flow.local.ip(), syn.flow.remote.ip()));
    let quoted = &packet[outline.start + 8..];
    let quote = wire::ip::Outline::of(quoted).unwrap();
    assert_eq!((quote.source, quote.destination), (syn.flow.remote.ip(), syn.flow.local.ip()));
    let segment = &quoted[quote.start..];
    let (header, _) = wire::tcp::Header::parse(segment).unwrap();
    assert!(wire::tcp::is_checksum_valid(quote.source, quote.destination, segment));
    assert_eq!((header.sequence, header.window), (syn.sequence, syn.window));
    assert_eq!((header.source_port, header.destination_port), (syn.flow.remote.port(), 443));
    assert_eq!((header.options.mss, header.options.window_scale), (syn.mss, syn.window_scale));
}

#[test]
fn refusals_by_icmp_are_limited_like_all_errors() {
    let config = Config { icmp_errors_per_second: 1, ..Config::default() };
    let mut world = World::with(common::Family::V4, config);
    for port in 1..=3 {
        world.connect(&format!("203.0.113.7:{port}"));
        let syn = world.next().unwrap();
        let host = Unreachable::Host.into();
        world.pair.b.stack.refuse_pending(world.pair.now, syn.id, host).unwrap();
    }
    assert_eq!(world.dropped(Dropped::IcmpRateLimited), 2);
    assert_eq!(world.pair.b.stack.sockets().len(), 1, "they wait no more all the same");
}

#[test]
fn what_is_dropped_is_new_when_it_comes_again() {
    let mut world = World::new();
    let client = world.connect(FAR);
    let syn = world.next().unwrap();
    world.pair.b.stack.drop_pending(world.pair.now, syn.id).unwrap();
    assert_eq!(world.dropped(Dropped::ByDecision), 1);
    world.pair.wait(Duration::from_millis(1100));
    let again = world.next().expect("the SYN came again");
    assert_eq!((again.flow, again.sequence), (syn.flow, syn.sequence));
    let server = world.accept(&again).unwrap();
    assert_eq!(world.pair.b.stack.state(server), Ok(State::Established));
    assert_eq!(world.pair.a.stack.state(client), Ok(State::Established));
}

#[test]
fn a_syn_that_comes_again_waits_once() {
    let mut world = World::new();
    let client = world.connect(FAR);
    world.pair.wait(Duration::from_secs(8));
    assert_eq!(world.dropped(Dropped::SynUndecided), 3);
    let syn = world.next().unwrap();
    assert_eq!(world.next(), Err(Error::WouldBlock));
    world.accept(&syn).unwrap();
    assert_eq!(world.pair.a.stack.state(client), Ok(State::Established));
}

#[test]
fn who_does_not_decide_in_time_finds_nothing() {
    let mut world = World::new();
    let client = world.connect(FAR);
    let syn = world.next().unwrap();
    world.pair.a.stack.abort(world.pair.now, client);
    world.pair.wait(Duration::from_secs(76));
    assert_eq!(world.dropped(Dropped::Undecided), 1);
    assert_eq!(world.accept(&syn), Err(Error::NoSuchSocket));
    assert_eq!(world.pair.b.stack.sockets().len(), 1, "the listener is left");
    assert_eq!(world.pair.b.stack.poll_timeout(), None);
}

#[test]
fn a_listener_that_closes_refuses_what_waits() {
    let mut world = World::new();
    let client = world.connect(FAR);
    world.pair.b.stack.close_listener(world.pair.now, world.listener);
    world.pair.settle();
    assert_eq!(world.pair.a.stack.take_error(client), Ok(Some(Error::ConnectionRefused)));
}

#[test]
fn one_source_has_a_bounded_number_of_flows() {
    let mut world = World::new();
    let config = Config { flows_per_source: 2, ..Config::default() };
    world.pair.b.stack.set_config(config);
    let first = world.connect("203.0.113.1:1");
    let syn = world.next().unwrap();
    let server = world.accept(&syn).unwrap();
    world.connect("203.0.113.1:2");
    assert!(world.next().is_ok());
    world.connect("203.0.113.1:3");
    assert_eq!(world.next(), Err(Error::WouldBlock));
    assert_eq!(world.dropped(Dropped::SourceLimit), 1);
    world.pair.b.stack.abort(world.pair.now, server);
    world.pair.a.stack.abort(world.pair.now, first);
    world.pair.settle();
    world.connect("203.0.113.1:4");
    assert!(world.next().is_ok(), "the first one made room");
}

#[test]
fn a_full_syn_queue_drops_and_sends_no_cookie() {
    let mut world = World::new();
    let config = Config { syn_queue_limit: 2, ..Config::default() };
    world.pair.b.stack.set_config(config);
    let clients: Vec<_> =
        (1..=3).map(|port| world.connect(&format!("203.0.113.9:{port}"))).collect();
    assert_eq!(world.dropped(Dropped::SynQueueFull), 1);
    assert_eq!(world.pair.a.stack.state(clients[2]), Ok(State::SynSent));
}

/// Ten thousand addresses and ports of both families, all at once and each its own.
#[test]
fn ten_thousand_flows_of_both_families_are_taken_without_a_reset() {
    const FLOWS: u16 = 10_000;
    let mut pair = Pair::new(plain());
    let (interface, b) = (pair.b.interface, &mut pair.b.stack);
    b.set_config(Config { syn_queue_limit: FLOWS.into(), ..Config::default() });
    b.set_any_address(interface, true).unwrap();
    for (ours, theirs) in [("10.0.0.2", "10.0.0.1"), ("fd77::2", "fd77::1")] {
        let (ours, theirs): (IpAddr, IpAddr) = (ours.parse().unwrap(), theirs.parse().unwrap());
        if ours.is_ipv6() {
            pair.a.stack.add_address(pair.a.interface, theirs, 64).unwrap();
            b.add_address(interface, ours, 64).unwrap();
        }
        pair.a.stack.set_gateway(pair.a.interface, ours).unwrap();
        b.set_gateway(interface, theirs).unwrap();
    }
    let families = [Family::V4, Family::V6];
    let listeners = families.map(|family| {
        let listener = b.listen_any(pair.now, family, 4096, TcpOptions::default()).unwrap();
        b.decide_first(listener, true).unwrap();
        listener
    });
    let far = |n: u16| -> SocketAddr {
        let [high, low] = n.to_be_bytes();
        let ip: IpAddr = match n % 2 {
            0 => [198, 18 + u8::from(n.is_multiple_of(3)), high, low].into(),
            _ => [0x2001, 0xdb8, n % 7, 0, 0, 0, 0, n].into(),
        };
        SocketAddr::new(ip, n.wrapping_mul(6) + 1)
    };
    let mut clients = Vec::new();
    for wave in 0..FLOWS / 1000 {
        for n in wave * 1000..(wave + 1) * 1000 {
            let options = TcpOptions::default();
            let client = pair.a.stack.connect(pair.now, None, far(n), options).unwrap();
            clients.push((client, far(n)));
        }
        pair.settle();
        for listener in listeners {
            while let Ok(syn) = pair.b.stack.next_pending(listener) {
                pair.b.stack.accept_pending(pair.now, syn.id).unwrap();
            }
        }
        pair.settle();
    }
    for (client, to) in clients {
        assert_eq!(pair.a.stack.state(client), Ok(State::Established), "{to}");
    }
    let established = |entry: &stack::SocketEntry| entry.state == State::Established;
    let taken = pair.b.stack.sockets().iter().filter(|entry| established(entry)).count();
    assert_eq!(taken, usize::from(FLOWS));
    for host in [&pair.a.stack, &pair.b.stack] {
        let counters = host.counters();
        let resets = Sent::ALL.iter().filter(|sent| format!("{sent:?}").starts_with("Reset"));
        assert_eq!(resets.map(|reset| counters.sent(*reset)).sum::<u64>(), 0);
        assert_eq!(Dropped::ALL.iter().map(|why| counters.dropped(*why)).sum::<u64>(), 0);
    }
}

#[test]
fn a_thousand_hosts_are_served_without_a_reset() {
    let mut world = World::new();
    let mut clients = Vec::new();
    for n in 0..1000_u16 {
        let to = format!("198.51.{}.{}:{}", n / 250, n % 250 + 1, n + 1);
        clients.push((world.connect(&to), to));
        let syn = world.next().unwrap();
        assert_eq!(syn.flow.local, clients[usize::from(n)].1.parse().unwrap());
        world.accept(&syn).unwrap();
    }
    for (client, to) in clients {
        assert_eq!(world.pair.a.stack.state(client), Ok(State::Established), "{to}");
    }
}

#[test]
fn without_a_decision_the_accept_queue_gets_them() {
    let mut world = World::new();
    world.pair.b.stack.decide_first(world.listener, false).unwrap();
    let client = world.connect(FAR);
    let (server, peer) = world.pair.b.stack.accept(world.pair.now, world.listener).unwrap();
    assert_eq!(world.pair.b.stack.local_address(server), Ok(FAR.parse().unwrap()));
    assert_eq!(Ok(peer), world.pair.a.stack.local_address(client));
}

#[test]
fn a_listener_of_its_own_goes_first() {
    let mut world = World::new();
    let listener = world.pair.listen(80, 4);
    let client = world.connect("10.0.0.2:80");
    assert_eq!(world.next(), Err(Error::WouldBlock));
    assert!(world.pair.b.stack.accept(world.pair.now, listener).is_ok());
    assert_eq!(world.pair.a.stack.state(client), Ok(State::Established));
}
