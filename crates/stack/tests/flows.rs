//! UDP flows to any address: what begins one, what ends it, and what there is no room for.

extern crate estab_stack as stack;

mod common;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::{Family, Pair, plain};
use proptest::prelude::*;
use stack::reason::Dropped;
use stack::{Config, Error, Event, NewFlow, Ready, SocketId, UdpId, Unreachable};
use wire::time::Instant;

const IDLE: Duration = Duration::from_secs(30);

/// A world in which B takes every flow.
struct World {
    pair: Pair,
    taker: UdpId,
    /// A client's socket.
    client: UdpId,
}

impl World {
    fn new(family: Family) -> Self {
        Self::with(family, Config::default())
    }

    fn with(family: Family, config: Config) -> Self {
        let mut pair = Pair::over(family, plain());
        let (a, b, _) = family.addresses();
        let (interface, stack) = (pair.b.interface, &mut pair.b.stack);
        stack.set_config(config);
        stack.set_any_address(interface, true).unwrap();
        stack.set_gateway(interface, a).unwrap();
        pair.a.stack.set_gateway(pair.a.interface, b).unwrap();
        let taker = pair.b.stack.udp_take_flows(IDLE, 8).unwrap();
        let client = pair.a.stack.udp_bind(family.a(4000)).unwrap();
        Self { pair, taker, client }
    }

    /// A host that is not there, one of many.
    fn far(&self, n: u16) -> SocketAddr {
        let [high, low] = n.to_be_bytes();
        let ip: IpAddr = match self.pair.family {
            Family::V4 => [198, 18, high, low].into(),
            Family::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, n].into(),
        };
        SocketAddr::new(ip, 1000 + n)
    }

    fn sends(&mut self, to: SocketAddr, payload: &[u8]) {
        self.sends_by(self.client, to, payload);
    }

    fn sends_by(&mut self, client: UdpId, to: SocketAddr, payload: &[u8]) {
        self.pair.a.stack.udp_set_broadcast(client, true).unwrap();
        let sent = self.pair.a.stack.udp_send_to(self.pair.now, client, payload, to);
        assert_eq!(sent, Ok(payload.len()));
        self.pair.settle();
    }

    fn next(&mut self) -> Result<NewFlow, Error> {
        self.pair.b.stack.udp_next_flow(self.taker)
    }

    fn answers(&mut self, flow: UdpId, payload: &[u8]) -> Result<usize, Error> {
        let sent = self.pair.b.stack.udp_send(self.pair.now, flow, payload);
        self.pair.settle();
        sent
    }

    /// What the flow has to read.
    fn reads(&mut self, flow: UdpId) -> Result<Vec<u8>, Error> {
        let mut buffer = [0; 64];
        let (length, _) = self.pair.b.stack.udp_receive_from(flow, &mut buffer)?;
        Ok(buffer[..length].to_vec())
    }

    /// What the client has to read, and from whom.
    fn client_reads(&mut self) -> Result<(Vec<u8>, SocketAddr), Error> {
        let mut buffer = [0; 64];
        let (length, from) = self.pair.a.stack.udp_receive_from(self.client, &mut buffer)?;
        Ok((buffer[..length].to_vec(), from))
    }

    fn dropped(&self, reason: Dropped) -> u64 {
        self.pair.b.stack.counters().dropped(reason)
    }
}

for_both_families!(
    a_datagram_to_any_address_begins_a_flow,
    answers_may_come_from_anywhere,
    what_comes_back_as_an_error_reaches_the_flow,
    a_refused_flow_is_an_unreachable_port,
    closing_gives_everything_back,
);

fn a_datagram_to_any_address_begins_a_flow(family: Family) {
    let mut world = World::new(family);
    let far = world.far(7);
    world.pair.a.stack.udp_set_ttl(world.client, Some(9)).unwrap();
    world.sends(far, b"question");
    let event = world.pair.b.stack.poll_event();
    let socket = SocketId::Udp(world.taker);
    assert_eq!(event, Some(Event { socket, ready: Ready::READ }));
    assert_eq!(world.pair.b.stack.readiness(socket), Ready::READ);
    let new = world.next().unwrap();
    assert_eq!((new.flow.local, new.flow.remote), (far, family.a(4000)));
    assert_eq!((new.ttl, new.traffic_class, new.interface), (9, 0, world.pair.b.interface));
    assert_eq!(world.next(), Err(Error::WouldBlock));
    assert_eq!(world.pair.b.stack.readiness(socket), Ready::empty());

    let local = world.pair.b.stack.udp_local(new.id);
    assert_eq!((local, world.pair.b.stack.udp_remote(new.id)), (Ok(far), Ok(family.a(4000))));
    world.sends(far, b"and more");
    assert_eq!(world.next(), Err(Error::WouldBlock), "the same flow");
    assert_eq!(world.reads(new.id), Ok(b"question".to_vec()));
    assert_eq!(world.reads(new.id), Ok(b"and more".to_vec()));
    assert_eq!(world.reads(new.id), Err(Error::WouldBlock));
    assert_eq!(world.answers(new.id, b"answer"), Ok(6));
    assert_eq!(world.client_reads(), Ok((b"answer".to_vec(), far)));

    let other = world.far(8);
    world.sends(other, b"elsewhere");
    assert_eq!(world.next().unwrap().flow.local, other);
}

/// RFC 4787 4.1 and 5: who is behind an endpoint-independent NAT hears from everybody.
fn answers_may_come_from_anywhere(family: Family) {
    let mut world = World::new(family);
    let (far, other) = (world.far(1), world.far(2));
    world.sends(far, b"who is there?");
    let flow = world.next().unwrap().id;
    let (now, b) = (world.pair.now, &mut world.pair.b.stack);
    assert_eq!(b.udp_send_from(now, flow, other, b"me"), Ok(2));
    let nobody = SocketAddr::new(family.addresses().0, 7);
    let nobody = SocketAddr::new(if nobody.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 7);
    assert_eq!(b.udp_send_from(now, flow, nobody, b"no"), Err(Error::InvalidInput));
    let group: SocketAddr = "[ff02::1]:9".parse().unwrap();
    assert_eq!(b.udp_send_from(now, flow, group, b"no"), Err(Error::InvalidInput));
    assert_eq!(b.udp_send_from(now, world.taker, other, b"no"), Err(Error::NotConnected));
    world.pair.settle();
    assert_eq!(world.client_reads(), Ok((b"me".to_vec(), other)));
    assert_eq!(world.answers(flow, b"and me"), Ok(6));
    assert_eq!(world.client_reads(), Ok((b"and me".to_vec(), far)));
}

fn what_comes_back_as_an_error_reaches_the_flow(family: Family) {
    let mut world = World::new(family);
    let far = world.far(1);
    world.sends(far, b"and away");
    let flow = world.next().unwrap().id;
    world.pair.a.stack.udp_close(world.client).unwrap();
    assert_eq!(world.answers(flow, b"hello?"), Ok(6));
    assert_eq!(world.reads(flow), Err(Error::ConnectionRefused));
    assert_eq!(world.reads(flow), Ok(b"and away".to_vec()), "an error is told once");
    assert_eq!(world.answers(flow, b"hello?"), Ok(6), "and the flow goes on");
}

fn a_refused_flow_is_an_unreachable_port(family: Family) {
    let mut world = World::new(family);
    let far = world.far(1);
    world.pair.a.stack.udp_connect(world.client, far).unwrap();
    world.sends(far, b"hello?");
    let flow = world.next().unwrap().id;
    let (now, b) = (world.pair.now, &mut world.pair.b.stack);
    assert_eq!(b.udp_refuse_flow(now, flow, Unreachable::Port), Ok(()));
    assert_eq!(b.udp_refuse_flow(now, flow, Unreachable::Port), Err(Error::NoSuchSocket));
    assert_eq!(b.udp_refuse_flow(now, world.taker, Unreachable::Port), Err(Error::NotConnected));
    world.pair.settle();
    assert_eq!(world.client_reads(), Err(Error::ConnectionRefused));
    assert_eq!(world.pair.b.stack.sockets().len(), 1);
}

fn closing_gives_everything_back(family: Family) {
    let mut world = World::new(family);
    for n in 0..4 {
        world.sends(world.far(n), b"flow");
    }
    let flow = world.next().unwrap().id;
    assert_eq!(world.pair.b.stack.sockets().len(), 5);
    world.pair.b.stack.udp_close(world.taker).unwrap();
    assert_eq!(world.next(), Err(Error::NoSuchSocket));
    assert_eq!(world.pair.b.stack.sockets().len(), 1, "what was taken stays");
    world.sends(world.far(9), b"nobody takes it");
    let refused = world.pair.a.stack.udp_send_to(world.pair.now, world.client, b"?", world.far(8));
    assert_eq!((refused, world.dropped(Dropped::UdpNobody)), (Ok(1), 1));
    assert_eq!(world.reads(flow), Ok(b"flow".to_vec()));
    assert_eq!(world.pair.b.stack.udp_close(flow), Ok(()));
    assert_eq!(world.pair.b.stack.udp_close(flow), Err(Error::NoSuchSocket));
    assert_eq!(world.pair.b.stack.sockets().len(), 0);
    assert_eq!(world.pair.b.stack.poll_timeout(), None);
    world.taker = world.pair.b.stack.udp_take_flows(IDLE, 1).expect("the place is free again");
    world.sends(world.far(0), b"anew");
    assert!(world.next().is_ok());
}

#[test]
fn a_flow_ends_when_it_was_idle_for_its_time() {
    let mut world = World::new(Family::V4);
    let far = world.far(1);
    world.sends(far, b"one");
    let flow = world.next().unwrap().id;
    world.pair.wait(IDLE - Duration::from_millis(1));
    assert_eq!(world.answers(flow, b"still here"), Ok(10), "either direction counts");
    world.pair.wait(IDLE - Duration::from_millis(1));
    world.sends(far, b"two");
    world.pair.wait(IDLE - Duration::from_millis(1));
    assert!(world.pair.b.stack.sockets().iter().any(|entry| entry.timer.is_some()));
    while world.pair.b.stack.poll_event().is_some() {}
    world.pair.wait(Duration::from_millis(1));

    let event = world.pair.b.stack.poll_event().expect("it is over");
    assert_eq!(event.socket, SocketId::Udp(flow));
    assert!(event.ready.contains(Ready::READ | Ready::ERROR));
    assert_eq!(world.reads(flow), Ok(b"one".to_vec()), "what came is there still");
    assert_eq!(world.answers(flow, b"late"), Err(Error::TimedOut));
    assert_eq!(world.reads(flow), Ok(b"two".to_vec()));
    assert_eq!(world.reads(flow), Err(Error::TimedOut));
    let idle = world.pair.b.stack.udp_set_idle(flow, IDLE);
    assert_eq!(idle, Err(Error::TimedOut));
    assert_eq!(world.pair.b.stack.poll_timeout(), None);

    world.sends(far, b"three");
    let next = world.next().expect("a new flow");
    assert_ne!(next.id, flow);
    assert_eq!(world.pair.b.stack.udp_close(flow), Ok(()));
    assert_eq!(world.reads(next.id), Ok(b"three".to_vec()), "closing the old leaves the new");
}

#[test]
fn each_flow_has_an_idle_time_of_its_own() {
    let mut world = World::new(Family::V4);
    for n in 0..3 {
        world.sends(world.far(n), b"x");
    }
    let flows: Vec<_> = (0..3).map(|_| world.next().unwrap().id).collect();
    let b = &mut world.pair.b.stack;
    b.udp_set_idle(flows[0], Duration::from_secs(2)).unwrap();
    b.udp_set_idle(flows[2], Duration::from_secs(300)).unwrap();
    assert_eq!(b.udp_set_idle(flows[2], Duration::ZERO), Err(Error::InvalidInput));
    assert_eq!(b.udp_set_idle(world.taker, IDLE), Err(Error::NotConnected));
    for flow in &flows {
        world.reads(*flow).unwrap();
    }
    let over = |world: &mut World| -> Vec<bool> {
        flows.iter().map(|flow| world.reads(*flow) == Err(Error::TimedOut)).collect()
    };
    world.pair.wait(Duration::from_secs(2));
    assert_eq!(over(&mut world), [true, false, false]);
    world.pair.wait(IDLE);
    assert_eq!(over(&mut world), [true, true, false]);
    world.pair.wait(Duration::from_secs(300));
    assert_eq!(over(&mut world), [true, true, true]);
}

#[test]
fn a_flow_that_nobody_takes_goes() {
    let mut world = World::new(Family::V4);
    world.sends(world.far(1), b"x");
    world.pair.wait(IDLE);
    assert_eq!(world.dropped(Dropped::UdpFlowUntaken), 1);
    assert_eq!(world.next(), Err(Error::WouldBlock));
    assert_eq!(world.pair.b.stack.sockets().len(), 1);
    world.sends(world.far(1), b"x");
    assert!(world.next().is_ok());
}

#[test]
fn the_backlog_bounds_what_nobody_took() {
    let mut world = World::new(Family::V4);
    for n in 0..10 {
        world.sends(world.far(n), b"x");
    }
    assert_eq!(world.dropped(Dropped::UdpBacklogFull), 2);
    let locals: Vec<_> =
        std::iter::from_fn(|| world.next().ok()).map(|new| new.flow.local).collect();
    assert_eq!(locals, (0..8).map(|n| world.far(n)).collect::<Vec<_>>());
    world.sends(world.far(9), b"x");
    assert!(world.next().is_ok(), "there is room again");
}

#[test]
fn flows_are_bounded_in_all_and_for_each_source() {
    let config = Config { udp_flow_limit: 3, flows_per_source: 2, ..Config::default() };
    let mut world = World::with(Family::V4, config);
    world.pair.a.stack.add_address(world.pair.a.interface, [10, 0, 0, 7].into(), 24).unwrap();
    let other = world.pair.a.stack.udp_bind("10.0.0.7:4000".parse().unwrap()).unwrap();
    for n in 0..3 {
        world.sends(world.far(n), b"x");
    }
    assert_eq!(world.dropped(Dropped::SourceLimit), 1);
    world.sends_by(other, world.far(0), b"x");
    world.sends_by(other, world.far(1), b"x");
    assert_eq!(world.dropped(Dropped::UdpFlowLimit), 1);
    let first = world.next().unwrap().id;
    world.pair.b.stack.udp_close(first).unwrap();
    world.sends_by(other, world.far(1), b"x");
    assert_eq!(world.pair.b.stack.sockets().len(), 4, "closing one made room");
}

#[test]
fn what_flows_have_not_read_is_bounded() {
    let config = Config { udp_flow_memory: 1000, ..Config::default() };
    let mut world = World::with(Family::V4, config);
    let (far, other) = (world.far(1), world.far(2));
    for _ in 0..20 {
        world.sends(far, &[7; 60]);
    }
    let flow = world.next().unwrap().id;
    let lost = world.dropped(Dropped::UdpFlowMemory);
    assert!((8..20).contains(&lost), "{lost}");
    world.sends(other, b"x");
    assert_eq!(world.dropped(Dropped::UdpFlowMemory), lost + 1, "no new flow either");
    assert_eq!(world.next(), Err(Error::WouldBlock));
    while world.reads(flow).is_ok() {}
    world.sends(other, b"x");
    let second = world.next().expect("there is room again").id;
    // What is closed unread gives its memory back, too.
    for _ in 0..20 {
        world.sends(other, &[7; 60]);
    }
    world.pair.b.stack.udp_close(second).unwrap();
    world.sends(far, b"room");
    assert_eq!(world.reads(flow), Ok(b"room".to_vec()));
}

#[test]
fn a_bound_socket_goes_first_and_a_flow_stays_where_it_is() {
    let mut world = World::new(Family::V4);
    let ours = world.pair.family.b(53);
    world.sends(ours, b"before");
    let flow = world.next().unwrap().id;
    let bound = world.pair.b.stack.udp_bind(ours).unwrap();
    world.sends(ours, b"after");
    assert_eq!(world.reads(flow), Ok(b"before".to_vec()));
    assert_eq!(world.reads(flow), Ok(b"after".to_vec()), "a conversation is not interrupted");
    world.pair.b.stack.udp_close(flow).unwrap();
    world.sends(ours, b"then");
    assert_eq!(world.next(), Err(Error::WouldBlock));
    assert_eq!(world.reads(bound), Ok(b"then".to_vec()));
    world.pair.b.stack.udp_close(bound).unwrap();
    world.sends(ours, b"last");
    assert!(world.next().is_ok());
}

#[test]
fn there_is_one_who_takes_flows() {
    let mut world = World::new(Family::V4);
    let b = &mut world.pair.b.stack;
    assert_eq!(b.udp_take_flows(IDLE, 1), Err(Error::AddressInUse));
    assert_eq!(b.udp_take_flows(Duration::ZERO, 1), Err(Error::InvalidInput));
    let now = world.pair.now;
    let to = common::A.parse().unwrap();
    let to = SocketAddr::new(to, 9);
    assert_eq!(b.udp_send_to(now, world.taker, b"x", to), Err(Error::InvalidInput));
    assert_eq!(b.udp_connect(world.taker, to), Err(Error::InvalidInput));
    assert_eq!(b.udp_next_flow(world.taker), Err(Error::WouldBlock));
}

/// What a group hears is nobody's flow.
#[test]
fn a_broadcast_begins_no_flow() {
    let mut world = World::new(Family::V4);
    world.sends("10.0.0.255:9".parse().unwrap(), b"everybody");
    assert_eq!(world.next(), Err(Error::WouldBlock));
    assert_eq!(world.dropped(Dropped::UdpNobody), 1);
}

/// What may happen to the flows of a stack.
#[derive(Clone, Debug)]
enum Step {
    Comes(u16),
    Answers(u16),
    Closes(u16),
    Idle(u16, u64),
    Passes(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u16).prop_map(Step::Comes),
        2 => (0..5_u16).prop_map(Step::Answers),
        1 => (0..5_u16).prop_map(Step::Closes),
        1 => (0..5_u16, 1..60_u64).prop_map(|(flow, seconds)| Step::Idle(flow, seconds)),
        4 => (1..40_u64).prop_map(Step::Passes),
    ]
}

/// A flow as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Twin {
    id: UdpId,
    used: Instant,
    idle: Duration,
    over: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Flows live and end as a list of them would have it.
    #[test]
    fn flows_are_what_a_list_of_them_says(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new(Family::V4);
        let mut twins: [Option<Twin>; 5] = [None; 5];
        for step in steps {
            match step {
                Step::Comes(n) => {
                    world.sends(world.far(n), b"x");
                    let twin = &mut twins[usize::from(n)];
                    match twin.as_mut().filter(|twin| !twin.over) {
                        Some(twin) => {
                            prop_assert_eq!(world.next(), Err(Error::WouldBlock));
                            twin.used = world.pair.now;
                        }
                        None => {
                            let new = world.next().unwrap();
                            prop_assert_eq!(new.flow.local, world.far(n));
                            if let Some(old) = twin.take() {
                                world.pair.b.stack.udp_close(old.id).unwrap();
                            }
                            let used = world.pair.now;
                            *twin = Some(Twin { id: new.id, used, idle: IDLE, over: false });
                        }
                    }
                }
                Step::Answers(n) => if let Some(twin) = &mut twins[usize::from(n)] {
                    let expected = if twin.over { Err(Error::TimedOut) } else { Ok(1) };
                    prop_assert_eq!(world.answers(twin.id, b"y"), expected);
                    if !twin.over { twin.used = world.pair.now; }
                },
                Step::Closes(n) => if let Some(twin) = twins[usize::from(n)].take() {
                    world.pair.b.stack.udp_close(twin.id).unwrap();
                },
                Step::Idle(n, seconds) => if let Some(twin) = &mut twins[usize::from(n)] {
                    let idle = Duration::from_secs(seconds);
                    let expected = if twin.over { Err(Error::TimedOut) } else { Ok(()) };
                    prop_assert_eq!(world.pair.b.stack.udp_set_idle(twin.id, idle), expected);
                    if !twin.over { twin.idle = idle; }
                    world.pair.b.stack.handle_timeout(world.pair.now);
                },
                Step::Passes(seconds) => world.pair.wait(Duration::from_secs(seconds)),
            }
            for twin in twins.iter_mut().flatten() {
                twin.over |= twin.used.after(twin.idle) <= world.pair.now;
            }
            let timers: Vec<_> =
                world.pair.b.stack.sockets().iter().filter_map(|entry| entry.timer).collect();
            let alive = twins.iter().flatten().filter(|twin| !twin.over);
            prop_assert_eq!(timers.len(), alive.clone().count());
            for twin in alive {
                let ends = twin.used.after(twin.idle);
                prop_assert!(timers.iter().any(|(_, at)| *at == ends));
            }
        }
    }
}
