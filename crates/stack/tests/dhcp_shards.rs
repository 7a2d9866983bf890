//! DHCP for a host of several shards: one asks, and all have what it is given.

mod host;

use std::net::{Ipv4Addr, Ipv6Addr};

use estab_stack::Config;
use host::shards::Shards;
use host::*;
use wire::arp::Operation;
use wire::dhcpv4::{CLIENT_PORT, Message, MessageType};
use wire::dhcpv6;
use wire::ethernet::EthernetAddress;
use wire::frame::Medium;
use wire::ndp::{NdpOption, RouterAdvertisement};
use wire::time::Duration;

const COUNT: u16 = 4;

/// Four shards on Ethernet, all told to get an address.
fn asking(config: &Config) -> Shards {
    let mut ours = Shards::with(COUNT, config, Medium::Ethernet(OUR_HARDWARE));
    let (now, interface) = (ours.now, ours.interface);
    for stack in &mut ours.stacks {
        stack.remove_address(interface, US.into()).unwrap();
        stack.dhcp_start(now, interface).unwrap();
    }
    ours.later(Duration::ZERO);
    ours
}

/// The only message of DHCP that is sent now, and from which queue.
#[track_caller]
fn asks(ours: &mut Shards) -> (usize, Message) {
    let frames = ours.sends();
    assert_eq!(frames.len(), 1, "{frames:?}");
    let (queue, frame) = &frames[0];
    let (_, _, payload) = parse_udp(parse_frame(frame).1);
    (*queue, Message::parse(payload).unwrap())
}

fn answer(ours: &mut Shards, queue: usize, asked: &Message, kind: MessageType) {
    ours.arrives(queue, &dhcp::answer(asked, kind));
}

/// The whole exchange, whatever queues the answers come from; which shard asked.
fn given(ours: &mut Shards) -> usize {
    let (speaker, discover) = asks(ours);
    answer(ours, (speaker + 1) % usize::from(COUNT), &discover, MessageType::OFFER);
    let (_, request) = asks(ours);
    answer(ours, (speaker + 2) % usize::from(COUNT), &request, MessageType::ACK);
    speaker
}

/// Time passes in small steps, with all that is sent meanwhile.
fn passes(ours: &mut Shards, seconds: u64) -> Vec<Vec<u8>> {
    let mut frames = ours.sends();
    for _ in 0..seconds * 10 {
        ours.later(Duration::from_millis(100));
        frames.extend(ours.sends());
    }
    frames.into_iter().map(|(_, frame)| frame).collect()
}

/// On how many shards the address is there, with its lease and its name server.
fn holders(ours: &Shards) -> usize {
    let has = |stack: &&estab_stack::Stack| {
        let lease = stack.dhcp_lease(ours.interface);
        let is_ours = stack.is_local(US.into());
        assert_eq!(lease.map(|lease| lease.address), is_ours.then_some(US));
        assert_eq!(stack.dns_servers(), Vec::from_iter(is_ours.then_some(v4(OTHER, 53))));
        is_ours
    };
    ours.stacks.iter().filter(has).count()
}

/// One shard speaks, probes and announces; all have the address, the route and the name server.
#[test]
fn one_shard_asks_and_all_have_what_it_is_given() {
    let mut ours = asking(&Config::default());
    let speaker = given(&mut ours);
    assert_eq!(usize::from(ours.stacks[0].owner_of_udp_port(CLIENT_PORT)), speaker);
    let said = passes(&mut ours, 8);
    let probes = said.iter().filter(|frame| parse_arp(frame).1.sender_protocol.is_unspecified());
    let announced = said.iter().filter(|frame| parse_arp(frame).1.sender_protocol == US);
    assert_eq!((probes.count(), announced.count()), (3, 2));
    assert_eq!(holders(&ours), usize::from(COUNT));
    // A way out from each of them, through the router.
    for stack in &mut ours.stacks {
        let number = stack.shard().index();
        let port = (1..u16::MAX).find(|port| stack.owner_of_udp_port(*port) == number).unwrap();
        let id = stack.udp_bind(v4(US, port)).unwrap();
        stack.udp_send_to(ours.now, id, b"x", v4(FAR, 7)).unwrap();
    }
    let asked = ours.sends();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|(_, frame)| parse_arp(frame).1.target_protocol == THEM));
}

/// A probe that is answered to another queue than that of the shard that asks is heard.
#[test]
fn a_conflict_is_heard_from_any_queue() {
    for queue in 0..usize::from(COUNT) {
        let mut ours = asking(&Config::default());
        given(&mut ours);
        assert!(!passes(&mut ours, 2).is_empty());
        let target = (OUR_HARDWARE, Ipv4Addr::UNSPECIFIED);
        ours.arrives(queue, &arp_frame(Operation::REPLY, (THEIR_HARDWARE, US), target));
        assert_eq!(asks(&mut ours).1.kind, MessageType::DECLINE);
        assert_eq!(holders(&ours), 0);
    }
}

/// An address that is claimed in use is defended once, by one shard, and then given up by all.
#[test]
fn a_claimed_address_is_given_up_by_all() {
    let mut ours = asking(&Config { dhcp_probes: 0, ..Config::default() });
    given(&mut ours);
    ours.sends();
    assert_eq!(holders(&ours), usize::from(COUNT));
    let target = (EthernetAddress::UNSPECIFIED, THEM);
    let claim = arp_frame(Operation::REQUEST, (THEIR_HARDWARE, US), target);
    ours.arrives(3, &claim);
    let announced = ours.sends();
    assert_eq!(announced.len(), 1, "one shard speaks");
    assert_eq!((announced[0].0, parse_arp(&announced[0].1).1.sender_protocol), (3, US));
    ours.later(Duration::from_secs(1));
    ours.arrives(2, &claim);
    assert_eq!(asks(&mut ours).1.kind, MessageType::DECLINE);
    assert_eq!(holders(&ours), 0);
}

/// Whoever is told to give it back, the one that asked does; then it goes from all.
#[test]
fn a_lease_is_given_back_for_all() {
    let mut ours = asking(&Config { dhcp_probes: 0, ..Config::default() });
    given(&mut ours);
    ours.sends();
    let (now, interface) = (ours.now, ours.interface);
    ours.arrives(0, &arp_reply());
    ours.stacks.iter_mut().for_each(|stack| stack.dhcp_stop(now, interface).unwrap());
    let (_, release) = asks(&mut ours);
    assert_eq!((release.kind, release.client_address), (MessageType::RELEASE, US));
    assert_eq!(holders(&ours), 0);
    assert!(ours.stacks.iter().all(|stack| !stack.is_releasing_leases()));
}

/// News that a full shard has no room for is told again.
#[test]
fn news_is_never_lost() {
    let mut ours = asking(&Config { dhcp_probes: 0, ..Config::default() });
    let speaker = given(&mut ours);
    // What the ACK brings about is done in the turn of the one that asks.
    let mut header = estab_stack::HeaderBuf::default();
    while ours.stacks[speaker].poll_transmit(ours.now, &mut header).is_some() {}
    for _ in 0..3 {
        while let Some(news) = ours.stacks[speaker].poll_handover() {
            ours.stacks[speaker].handle_refused_handover(news);
        }
        assert_eq!(holders(&ours), 1);
        let due = ours.stacks[speaker].poll_timeout().unwrap();
        ours.later(due.since(ours.now));
    }
    ours.carry();
    assert_eq!(holders(&ours), usize::from(COUNT));
}

/// Stateless DHCP of IPv6: one shard asks, and all know the name server.
#[test]
fn all_shards_know_the_name_servers_of_ipv6() {
    let mut ours = Shards::with(COUNT, &Config::default(), Medium::Ethernet(OUR_HARDWARE));
    let interface = ours.interface;
    for stack in &mut ours.stacks {
        stack.autoconfigure(interface).unwrap();
    }
    passes(&mut ours, 3);
    let said = RouterAdvertisement { other_configuration: true, ..router::advertisement(1800) };
    let header = wire::ndp::Header::RouterAdvertisement(said);
    let option = [NdpOption::SourceLinkLayer(THEIR_HARDWARE)];
    ours.arrives(1, &v6::ndp_frame((router::ROUTER, v6::ALL_NODES), header, &option));
    let frames = passes(&mut ours, 1);
    let asked: Vec<_> = frames.iter().filter_map(|frame| dhcp::asked_v6(frame)).collect();
    let same = |other: &(Ipv6Addr, dhcpv6::Message)| other.1.transaction == asked[0].1.transaction;
    assert!(asked.iter().all(same), "one shard asks");
    let asked = asked.first().expect("an information-request").clone();
    let told = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53);
    ours.arrives(2, &dhcp::answer_v6(router::ROUTER, asked, told));
    ours.sends();
    for stack in &ours.stacks {
        assert_eq!(stack.dns_servers(), [v6::at(told, 53)]);
    }
}
