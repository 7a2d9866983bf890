use super::*;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

const HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A client, and a server that answers when told to.
struct World {
    client: Client,
    rng: ChaCha12Rng,
    now: Instant,
}

impl World {
    fn new(probes: u8) -> Self {
        let now = Instant::ZERO.after(Duration::from_secs(1));
        let client = Client::new(HARDWARE, probes, now);
        Self { client, rng: ChaCha12Rng::from_seed([3; 32]), now }
    }

    /// Time goes on to the next deadline.
    fn next(&mut self) -> Vec<Action> {
        let due = self.client.due().expect("something is due");
        self.now = self.now.max(due);
        let mut actions = Vec::new();
        self.client.handle_timeout(self.now, &mut self.rng, &mut actions);
        actions
    }

    fn answer(&mut self, kind: MessageType, edit: impl FnOnce(&mut Message)) -> Vec<Action> {
        let mut message = self.client.message(kind, self.now);
        message.your_address = ADDRESS;
        message.options.server_identifier = Some(SERVER);
        message.options.lease_time = Some(3600);
        message.options.prefix_len = Some(24);
        message.options.routers = [SERVER].to_vec();
        edit(&mut message);
        let mut actions = Vec::new();
        self.client.handle_message(self.now, &mut self.rng, &message, &mut actions);
        actions
    }

    /// With an address.
    fn bound() -> Self {
        let mut world = Self::new(0);
        world.next();
        world.answer(MessageType::OFFER, |_| {});
        let bound = world.answer(MessageType::ACK, |_| {});
        let [Action::Bind(lease), Action::Announce(announced)] = &bound[..] else {
            panic!("{bound:?}")
        };
        assert_eq!((lease.address, *announced), (ADDRESS, ADDRESS));
        // The second announcement (RFC 5227 2.3).
        assert_eq!(world.client.due(), Some(world.after(2)));
        assert_eq!(world.next(), [Action::Announce(ADDRESS)]);
        world
    }

    fn after(&self, seconds: u64) -> Instant {
        self.now.after(Duration::from_secs(seconds))
    }
}

#[track_caller]
fn said(actions: &[Action]) -> (MessageType, bool) {
    match actions {
        [Action::Broadcast(message, _)] => (message.kind, true),
        [Action::Unicast(message, server)] => {
            assert_eq!(*server, SERVER);
            (message.kind, false)
        }
        other => panic!("{other:?}"),
    }
}

/// RFC 2131 3.1: DISCOVER, OFFER, REQUEST, ACK; and what each says (4.4.1, table 5).
#[test]
fn an_address_is_asked_for_and_given() {
    let mut world = World::new(0);
    let discover = world.next();
    let [Action::Broadcast(message, from)] = &discover[..] else { panic!("{discover:?}") };
    assert_eq!((message.kind, *from), (MessageType::DISCOVER, Ipv4Addr::UNSPECIFIED));
    assert!(message.broadcast && message.client_address.is_unspecified());
    let request = world.answer(MessageType::OFFER, |_| {});
    let [Action::Broadcast(message, _)] = &request[..] else { panic!("{request:?}") };
    assert_eq!(message.kind, MessageType::REQUEST);
    assert_eq!(message.options.requested_address, Some(ADDRESS));
    assert_eq!(message.options.server_identifier, Some(SERVER));
    assert!(message.client_address.is_unspecified());
    let began = world.now;
    let bound = world.answer(MessageType::ACK, |_| {});
    let [Action::Bind(lease), _] = &bound[..] else { panic!("{bound:?}") };
    assert_eq!((lease.address, lease.prefix_len), (ADDRESS, 24));
    assert_eq!(lease.routers, [SERVER]);
    world.next();
    // RFC 2131 4.4.5: T1 is half of the time.
    assert_eq!(world.client.due(), Some(began.after(Duration::from_secs(1800))));
}

/// RFC 2131 4.1: 4, 8, 16, 32, 64 and 64 seconds, each one second more or less.
#[test]
fn silence_is_asked_again_ever_more_slowly() {
    let mut world = World::new(0);
    for expected in [4, 8, 16, 32, 64, 64, 64] {
        assert_eq!(said(&world.next()), (MessageType::DISCOVER, true));
        let due = world.client.due().unwrap();
        assert!(due >= world.after(expected - 1) && due <= world.after(expected + 1), "{expected}");
    }
}

/// A server that offered and then falls silent is left after a minute.
#[test]
fn a_server_that_falls_silent_is_left() {
    let mut world = World::new(0);
    world.next();
    assert_eq!(said(&world.answer(MessageType::OFFER, |_| {})), (MessageType::REQUEST, true));
    for _ in 1..REQUESTS {
        assert_eq!(said(&world.next()), (MessageType::REQUEST, true));
    }
    assert_eq!(world.next(), []);
    assert_eq!(said(&world.next()), (MessageType::DISCOVER, true));
}

/// What is not an answer to what we asked, or makes no sense, changes nothing.
#[test]
fn strange_answers_are_passed_over() {
    let mut world = World::new(0);
    world.next();
    assert_eq!(world.answer(MessageType::OFFER, |m| m.transaction ^= 1), []);
    assert_eq!(world.answer(MessageType::OFFER, |m| m.hardware.0[5] ^= 1), []);
    assert_eq!(world.answer(MessageType::OFFER, |m| m.options.server_identifier = None), []);
    let nobody = Ipv4Addr::UNSPECIFIED;
    assert_eq!(world.answer(MessageType::OFFER, |m| m.your_address = nobody), []);
    assert_eq!(world.answer(MessageType::ACK, |_| {}), []);
    world.answer(MessageType::OFFER, |_| {});
    assert_eq!(world.answer(MessageType::ACK, |m| m.your_address = SERVER), []);
    assert_eq!(world.answer(MessageType::ACK, |m| m.options.lease_time = None), []);
    let other = Some(Ipv4Addr::new(10, 77, 0, 9));
    assert_eq!(world.answer(MessageType::NAK, |m| m.options.server_identifier = other), []);
    assert_eq!(world.answer(MessageType::ACK, |_| {}).len(), 2);
}

/// RFC 2131 4.4.5: at T1 the server is asked, at T2 everybody, at the end the address goes.
#[test]
fn a_lease_that_nobody_prolongs_ends() {
    let mut world = World::bound();
    let (began, mut asked) = (world.client.began, Vec::new());
    let lost = loop {
        let actions = world.next();
        if actions == [Action::Unbind] {
            break world.now;
        }
        asked.push((world.now.since(began).as_secs(), said(&actions)));
    };
    assert_eq!(lost, began.after(Duration::from_secs(3600)));
    assert_eq!(asked[0], (1800, (MessageType::REQUEST, false)));
    // T2 is seven eighths: 3150.
    assert!(asked.iter().all(|(at, (_, to_all))| *to_all == (*at >= 3150)), "{asked:?}");
    // Not more than once a minute, but for T2.
    let apart = |two: &[(u64, _)]| two[1].0 - two[0].0 >= 60 || two[1].0 == 3150;
    assert!(asked.windows(2).all(apart), "{asked:?}");
    assert_eq!(said(&world.next()), (MessageType::DISCOVER, true));
}

#[test]
fn a_lease_is_prolonged() {
    let mut world = World::bound();
    for _ in 0..5 {
        let actions = world.next();
        let [Action::Unicast(message, _)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(message.client_address, ADDRESS);
        assert_eq!(message.options.requested_address, None);
        assert_eq!(message.options.server_identifier, None);
        let asked = world.now;
        assert_eq!(world.answer(MessageType::ACK, |_| {}).len(), 1);
        assert_eq!(world.client.due(), Some(asked.after(Duration::from_secs(1800))));
    }
    // RFC 2131 3.3: for ever.
    world.next();
    world.answer(MessageType::ACK, |m| m.options.lease_time = Some(INFINITE));
    assert_eq!(world.client.due(), None);
}

#[test]
fn a_refusal_takes_the_address_away() {
    let mut world = World::bound();
    world.next();
    assert_eq!(world.answer(MessageType::NAK, |_| {}), [Action::Unbind]);
    assert_eq!(said(&world.next()), (MessageType::DISCOVER, true));
}

/// RFC 5227 2.1.1: three probes, a second or two apart, and two seconds of silence.
#[test]
fn an_address_is_probed_before_it_is_used() {
    let mut world = World::new(3);
    world.next();
    world.answer(MessageType::OFFER, |_| {});
    assert_eq!(world.answer(MessageType::ACK, |_| {}), []);
    let given = world.now;
    for _ in 0..3 {
        assert_eq!(world.next(), [Action::Probe(ADDRESS)]);
    }
    let bound = world.next();
    assert!(matches!(&bound[..], [Action::Bind(_), Action::Announce(ADDRESS)]));
    let took = world.now.since(given);
    assert!(took >= Duration::from_secs(4) && took <= Duration::from_secs(7), "{took:?}");
}

/// RFC 2131 3.1 (5) and 4.4.1: DECLINE, and ten seconds of rest.
#[test]
fn an_address_that_somebody_has_is_declined() {
    let mut world = World::new(3);
    world.next();
    world.answer(MessageType::OFFER, |_| {});
    world.answer(MessageType::ACK, |_| {});
    world.next();
    let mut actions = Vec::new();
    world.client.handle_conflict(world.now, &mut actions);
    let [Action::Broadcast(message, _)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(message.kind, MessageType::DECLINE);
    assert_eq!(message.options.requested_address, Some(ADDRESS));
    assert_eq!(world.client.due(), Some(world.after(10)));
    assert_eq!(said(&world.next()), (MessageType::DISCOVER, true));
}

/// RFC 5227 2.1.1: nobody is helped by a host that asks for one taken address after the other.
#[test]
fn after_ten_conflicts_one_address_a_minute_is_tried() {
    let mut world = World::new(1);
    for conflict in 1..=12 {
        world.next();
        world.answer(MessageType::OFFER, |_| {});
        world.answer(MessageType::ACK, |_| {});
        assert_eq!(world.next(), [Action::Probe(ADDRESS)]);
        world.client.handle_conflict(world.now, &mut Vec::new());
        let rest = if conflict < 10 { 10 } else { 60 };
        assert_eq!(world.client.due(), Some(world.after(rest)), "after {conflict} conflicts");
    }
    // One that is free ends that.
    world.next();
    world.answer(MessageType::OFFER, |_| {});
    world.answer(MessageType::ACK, |_| {});
    world.next();
    assert!(matches!(world.next()[..], [Action::Bind(_), Action::Announce(_)]));
    world.client.handle_conflict(world.now, &mut Vec::new());
    assert_eq!(world.client.due(), Some(world.after(10)));
}

/// What is lost before it was announced again is announced no more.
#[test]
fn an_address_that_is_lost_is_not_announced_again() {
    let mut world = World::new(0);
    world.next();
    world.answer(MessageType::OFFER, |_| {});
    world.answer(MessageType::ACK, |_| {});
    world.client.handle_conflict(world.now, &mut Vec::new());
    assert_eq!(said(&world.next()), (MessageType::DISCOVER, true));
}

#[test]
fn an_address_is_given_back() {
    let mut world = World::bound();
    let action = world.client.release(world.now, &mut world.rng).unwrap();
    let Action::Unicast(message, server) = action else { panic!("{action:?}") };
    assert_eq!((message.kind, server), (MessageType::RELEASE, SERVER));
    assert_eq!(message.client_address, ADDRESS);
    assert_eq!(World::new(0).client.release(world.now, &mut world.rng), None);
}

/// RFC 2131 4.4.5: times that contradict each other are not believed.
#[test]
fn times_that_make_no_sense_are_replaced() {
    let mut world = World::new(0);
    world.next();
    world.answer(MessageType::OFFER, |_| {});
    let bound = world.answer(MessageType::ACK, |m| {
        m.options.renewal_time = Some(9000);
        m.options.rebinding_time = Some(8000);
    });
    let [Action::Bind(lease), _] = &bound[..] else { panic!("{bound:?}") };
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    assert_eq!(seconds(lease.renew_after), Some(1800));
    assert_eq!(seconds(lease.rebind_after), Some(3150));
}
