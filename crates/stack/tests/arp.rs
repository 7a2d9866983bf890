//! ARP on Ethernet links: RFC 826, RFC 1122 2.3.2, RFC 5227.

mod host;

use std::net::{IpAddr, Ipv4Addr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, SocketId, UdpId};
use host::*;
use proptest::prelude::*;
use wire::arp::Operation;
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::Medium;
use wire::ip::Protocol;
use wire::time::Duration;

const NOBODY: EthernetAddress = EthernetAddress::UNSPECIFIED;
const MOVED: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x11]);

fn socket(host: &mut Host) -> UdpId {
    let id = host.stack.udp_bind(v4(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    host.stack.udp_set_broadcast(id, true).unwrap();
    id
}

fn say(host: &mut Host, id: UdpId, to: Ipv4Addr, what: &[u8]) {
    host.stack.udp_send_to(host.now, id, what, v4(to, 7)).unwrap();
}

/// The stack sends one question about `target` to `to`.
#[track_caller]
fn asks(host: &mut Host, target: Ipv4Addr, to: EthernetAddress) {
    let bytes = host.sends_one();
    let (ethernet, packet) = parse_arp(&bytes);
    assert_eq!((ethernet.source, ethernet.destination), (OUR_HARDWARE, to));
    assert_eq!(packet.operation, Operation::REQUEST);
    assert_eq!((packet.sender_hardware, packet.sender_protocol), (OUR_HARDWARE, US));
    assert_eq!((packet.target_hardware, packet.target_protocol), (NOBODY, target));
}

/// The stack sends one datagram with `payload` to `hardware`.
#[track_caller]
fn delivers(host: &mut Host, payload: &[u8], hardware: EthernetAddress) {
    let bytes = host.sends_one();
    let (ethernet, packet) = parse_frame(&bytes);
    assert_eq!((ethernet.destination, ethernet.ethertype), (hardware, EtherType::IPV4));
    assert_eq!(parse_udp(packet).2, payload);
}

/// The stack sends one datagram to them, and asks them alone whether they are still there.
#[track_caller]
fn delivers_and_asks(host: &mut Host, payload: &[u8]) {
    let frames = host.sends();
    assert_eq!(frames.len(), 2);
    let (ethernet, packet) = parse_frame(&frames[0]);
    assert_eq!((ethernet.destination, parse_udp(packet).2), (THEIR_HARDWARE, payload));
    let (ethernet, packet) = parse_arp(&frames[1]);
    assert_eq!((ethernet.destination, packet.target_protocol), (THEIR_HARDWARE, THEM));
}

/// RFC 826, "Packet Reception": a request for our address is answered to the sender alone.
#[test]
fn a_request_for_us_is_answered() {
    let mut host = Host::tap();
    host.arrives(&arp_frame(Operation::REQUEST, (THEIR_HARDWARE, THEM), (NOBODY, US)));
    let bytes = host.sends_one();
    let (ethernet, packet) = parse_arp(&bytes);
    assert_eq!((ethernet.source, ethernet.destination), (OUR_HARDWARE, THEIR_HARDWARE));
    assert_eq!(packet.operation, Operation::REPLY);
    assert_eq!((packet.sender_hardware, packet.sender_protocol), (OUR_HARDWARE, US));
    assert_eq!((packet.target_hardware, packet.target_protocol), (THEIR_HARDWARE, THEM));
    assert_eq!(host.meta.comment, Sent::ArpReply.comment());
}

/// RFC 826: who asks for us is remembered: we will want to answer.
#[test]
fn a_request_for_us_makes_its_sender_known() {
    let mut host = Host::tap();
    host.arrives(&arp_frame(Operation::REQUEST, (THEIR_HARDWARE, THEM), (NOBODY, US)));
    host.sends_one();
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"at once");
    delivers(&mut host, b"at once", THEIR_HARDWARE);
}

/// RFC 5227 2.1.1: a probe has the sender address zero; it is answered and teaches nothing.
#[test]
fn a_probe_is_answered() {
    let mut host = Host::tap();
    let nobody = (THEIR_HARDWARE, Ipv4Addr::UNSPECIFIED);
    host.arrives(&arp_frame(Operation::REQUEST, nobody, (NOBODY, US)));
    let bytes = host.sends_one();
    assert_eq!(parse_arp(&bytes).1.operation, Operation::REPLY);
}

/// RFC 1122 2.3.2.2: "The link layer SHOULD save (rather than discard) at least one (the latest)
/// packet of each set of packets destined to the same unresolved IP address".
#[test]
fn the_first_packet_waits_for_the_answer() {
    let mut host = Host::tap();
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"first");
    say(&mut host, id, THEM, b"second");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.arrives(&arp_reply());
    let frames = host.sends();
    let payloads: Vec<_> = frames.iter().map(|f| parse_udp(parse_frame(f).1).2).collect();
    assert_eq!(payloads, [b"first".as_slice(), b"second"]);
}

/// RFC 1122 2.3.2.1: "A mechanism to prevent ARP flooding [...] MUST be included. The recommended
/// maximum rate is 1 per second per destination."
#[test]
fn a_neighbor_is_asked_once_a_second_three_times_and_then_given_up() {
    let mut host = Host::tap();
    let id = socket(&mut host);
    host.stack.udp_connect(id, v4(THEM, 7)).unwrap();
    say(&mut host, id, THEM, b"x");
    for _ in 0..3 {
        asks(&mut host, THEM, EthernetAddress::BROADCAST);
        host.later_millis(999);
        host.sends_nothing();
        assert_eq!(
            host.stack.poll_timeout(),
            Some(host.now.after(wire::time::Duration::from_millis(1)))
        );
        host.later_millis(1);
    }
    host.sends_nothing();
    assert_eq!(host.dropped(Dropped::NeighborUnresolved), 1);
    assert_eq!(host.stack.udp_take_error(id), Ok(Some(Error::HostUnreachable)));
    assert_eq!(host.stack.poll_event().unwrap().socket, SocketId::Udp(id));
    assert_eq!(host.stack.poll_timeout(), None);
    assert_eq!(host.sent(Sent::ArpRequest), 3);
}

#[test]
fn a_silent_neighbor_blocks_nobody_else() {
    let mut host = Host::tap();
    let id = socket(&mut host);
    say(&mut host, id, OTHER, b"into the void");
    asks(&mut host, OTHER, EthernetAddress::BROADCAST);
    say(&mut host, id, THEM, b"heard");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.arrives(&arp_reply());
    delivers(&mut host, b"heard", THEIR_HARDWARE);
}

/// RFC 1122 2.3.2.1: "An implementation [...] MUST provide a mechanism to flush out-of-date cache
/// entries"; (2) "Unicast Poll -- Actively poll the remote host by periodically sending a
/// point-to-point ARP Request to it".
#[test]
fn an_old_entry_is_confirmed_by_unicast_while_it_is_used() {
    let mut host = Host::tap();
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"1");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.arrives(&arp_reply());
    delivers(&mut host, b"1", THEIR_HARDWARE);
    host.later_millis(59_999);
    say(&mut host, id, THEM, b"2");
    delivers(&mut host, b"2", THEIR_HARDWARE);
    host.later_millis(1);
    assert_eq!(host.stack.poll_timeout(), None, "nobody uses it");
    say(&mut host, id, THEM, b"3");
    delivers_and_asks(&mut host, b"3");
    host.arrives(&arp_reply());
    host.later_millis(5000);
    host.sends_nothing();
}

/// RFC 1122 2.3.2.1: "If this mechanism involves a timeout, it SHOULD be possible to configure the timeout value."
#[test]
fn how_long_an_address_is_trusted_can_be_set() {
    let config = Config { arp_timeout: Duration::from_secs(10), ..Config::default() };
    let mut host = Host::new(config, Medium::Ethernet(OUR_HARDWARE), false);
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"1");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.arrives(&arp_reply());
    delivers(&mut host, b"1", THEIR_HARDWARE);
    host.later_millis(9999);
    say(&mut host, id, THEM, b"2");
    delivers(&mut host, b"2", THEIR_HARDWARE);
    host.later_millis(1);
    say(&mut host, id, THEM, b"3");
    delivers_and_asks(&mut host, b"3");
}

/// A neighbour that moved to other hardware does not answer at the old one: everybody is asked.
#[test]
fn a_neighbor_that_moved_is_found_again() {
    let mut host = Host::tap();
    let id = socket(&mut host);
    host.arrives(&arp_frame(Operation::REQUEST, (THEIR_HARDWARE, THEM), (NOBODY, US)));
    host.sends_one();
    host.later_millis(60_000);
    say(&mut host, id, THEM, b"old");
    delivers_and_asks(&mut host, b"old");
    for _ in 1..3 {
        host.later_millis(1000);
        asks(&mut host, THEM, THEIR_HARDWARE);
    }
    host.later_millis(1000);
    say(&mut host, id, THEM, b"new");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.arrives(&arp_frame(Operation::REPLY, (MOVED, THEM), (OUR_HARDWARE, US)));
    delivers(&mut host, b"new", MOVED);
}

/// RFC 826's merge: an announcement updates an entry that there is, and makes none.
#[test]
fn a_gratuitous_arp_updates_and_does_not_create() {
    let announcement = |hardware| arp_frame(Operation::REQUEST, (hardware, THEM), (NOBODY, THEM));
    let mut host = Host::tap();
    let id = socket(&mut host);
    host.drops(&announcement(MOVED), Dropped::ArpNotForUs);
    say(&mut host, id, THEM, b"1");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.arrives(&arp_reply());
    delivers(&mut host, b"1", THEIR_HARDWARE);
    host.arrives(&announcement(MOVED));
    say(&mut host, id, THEM, b"2");
    delivers(&mut host, b"2", MOVED);
}

#[test]
fn lies_and_nonsense_are_dropped() {
    let mut host = Host::tap();
    let group = EthernetAddress([3, 0, 0, 0, 0, 1]);
    let request = |sender| arp_frame(Operation::REQUEST, sender, (NOBODY, US));
    host.drops(&request((group, THEM)), Dropped::MalformedArp);
    host.drops(&request((EthernetAddress::BROADCAST, THEM)), Dropped::MalformedArp);
    host.drops(&request((THEIR_HARDWARE, SUBNET_BROADCAST)), Dropped::MalformedArp);
    // Who claims to be us is told better (RFC 5227 2.4), and not answered.
    host.arrives(&request((THEIR_HARDWARE, US)));
    assert_eq!(parse_arp(&host.sends_one()).1.sender_protocol, US);
    host.drops(&request((THEIR_HARDWARE, US)), Dropped::ArpConflict);
    let unknown = arp_frame(Operation(9), (THEIR_HARDWARE, THEM), (OUR_HARDWARE, US));
    host.drops(&unknown, Dropped::MalformedArp);
    host.drops(&arp_reply()[..41], Dropped::MalformedArp);
    let other = arp_frame(Operation::REQUEST, (THEIR_HARDWARE, THEM), (NOBODY, OTHER));
    host.drops(&other, Dropped::ArpNotForUs);
}

/// Who is not on the link is not remembered as a neighbour, whatever it claims.
#[test]
fn a_stranger_is_not_remembered() {
    let mut host = Host::tap();
    host.arrives(&arp_frame(Operation::REQUEST, (THEIR_HARDWARE, FAR), (NOBODY, US)));
    host.sends_one();
    host.stack.set_gateway(host.interface, IpAddr::V4(THEM)).unwrap();
    let id = socket(&mut host);
    say(&mut host, id, FAR, b"x");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
}

#[test]
fn beyond_the_link_the_gateway_is_asked_for() {
    let mut host = Host::tap();
    host.stack.set_gateway(host.interface, IpAddr::V4(THEM)).unwrap();
    let id = socket(&mut host);
    say(&mut host, id, FAR, b"far");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.arrives(&arp_reply());
    delivers(&mut host, b"far", THEIR_HARDWARE);
}

#[test]
fn broadcasts_and_groups_need_no_question() {
    let mut host = Host::tap();
    let id = socket(&mut host);
    say(&mut host, id, SUBNET_BROADCAST, b"all");
    delivers(&mut host, b"all", EthernetAddress::BROADCAST);
    say(&mut host, id, Ipv4Addr::BROADCAST, b"all");
    delivers(&mut host, b"all", EthernetAddress::BROADCAST);
    say(&mut host, id, Ipv4Addr::new(224, 129, 2, 3), b"some");
    delivers(&mut host, b"some", EthernetAddress([1, 0, 0x5e, 1, 2, 3]));
}

/// The table is bounded; who only makes itself known never drives out a neighbour in use, and
/// waiters of one that is driven out are told.
#[test]
fn the_table_is_bounded() {
    let config = Config { neighbor_limit: 4, ..Config::default() };
    let mut host = Host::new(config, Medium::Ethernet(OUR_HARDWARE), false);
    let id = socket(&mut host);
    say(&mut host, id, THEM, b"1");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.arrives(&arp_reply());
    delivers(&mut host, b"1", THEIR_HARDWARE);
    for n in 10..110 {
        let sender = (EthernetAddress([2, 0, 0, 0, 1, n]), Ipv4Addr::new(10, 77, 0, n));
        host.arrives(&arp_frame(Operation::REQUEST, sender, (NOBODY, US)));
    }
    assert_eq!(host.sends().len(), 100);
    say(&mut host, id, THEM, b"2");
    delivers(&mut host, b"2", THEIR_HARDWARE);
    for n in 10..110 {
        say(&mut host, id, Ipv4Addr::new(10, 77, 0, n), b"x");
    }
    for _ in 0..4 {
        host.sends();
        host.later_millis(1000);
    }
    assert_eq!(host.stack.poll_timeout(), None);
    let lost = host.dropped(Dropped::NeighborUnresolved);
    assert!((90..=100).contains(&lost), "{lost}");
}

/// Answers to strangers are bounded while they wait for ARP.
#[test]
fn answers_that_wait_are_bounded() {
    let config = Config { reply_limit: 8, ..Config::default() };
    let mut host = Host::new(config, Medium::Ethernet(OUR_HARDWARE), false);
    for _ in 0..20 {
        host.arrives(&frame(EtherType::IPV4, &echo(&header(Protocol::ICMP), b"x")));
        host.sends();
    }
    host.arrives(&arp_reply());
    assert_eq!(host.sends().len(), 8);
    assert_eq!(host.dropped(Dropped::NeighborUnresolved), 12);
}

/// What waits when an address is taken away does not wait for ever.
#[test]
fn removing_the_address_wakes_who_waits() {
    let mut host = Host::tap();
    let id = socket(&mut host);
    host.stack.udp_connect(id, v4(THEM, 7)).unwrap();
    say(&mut host, id, THEM, b"x");
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.stack.remove_address(host.interface, IpAddr::V4(US)).unwrap();
    host.sends_nothing();
    assert_eq!(host.stack.udp_take_error(id), Ok(Some(Error::NetworkUnreachable)));
}

/// A connection's SYN waits like any packet, and a dead neighbour is not a timeout.
#[test]
fn a_syn_waits_and_a_dead_neighbor_ends_the_attempt() {
    let mut host = Host::tap();
    let options = host.stack.config().tcp.clone();
    let id = host.stack.connect(host.now, None, v4(THEM, 80), options.clone()).unwrap();
    asks(&mut host, THEM, EthernetAddress::BROADCAST);
    host.arrives(&arp_reply());
    let bytes = host.sends_one();
    let (ethernet, packet) = parse_frame(&bytes);
    let (ip, _) = parse_ip(packet);
    assert_eq!((ethernet.destination, ip.protocol), (THEIR_HARDWARE, Protocol::TCP));
    assert_eq!(host.stack.take_error(id), Ok(None));
    let id = host.stack.connect(host.now, None, v4(OTHER, 80), options).unwrap();
    for _ in 0..4 {
        host.sends();
        host.later_millis(1000);
    }
    assert_eq!(host.stack.take_error(id), Ok(Some(Error::HostUnreachable)));
}

/// What may happen on a link with twenty neighbours, of whom some answer.
#[derive(Clone, Debug)]
enum Step {
    Say(u8),
    Answer(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (10..30_u8).prop_map(Step::Say),
        2 => (10..30_u8).prop_map(Step::Answer),
        1 => (0..3000_u64).prop_map(Step::Wait),
        1 => (0..100_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens, every datagram leaves or is counted as lost, no neighbour is asked twice
    /// in a second, and in the end nothing waits.
    #[test]
    fn no_datagram_is_forgotten(
        steps in proptest::collection::vec(step(), 1..150),
        neighbor_limit in 15..40_usize,
    ) {
        let config = Config { neighbor_limit, ..Config::default() };
        let mut host = Host::new(config, Medium::Ethernet(OUR_HARDWARE), false);
        let id = socket(&mut host);
        let mut said = 0;
        let mut asked = std::collections::HashMap::new();
        let mut collect = |host: &mut Host| {
            for bytes in host.sends() {
                if parse_frame(&bytes).0.ethertype != EtherType::ARP {
                    continue;
                }
                let target = parse_arp(&bytes).1.target_protocol;
                if let Some(before) = asked.insert(target, host.now) {
                    // A neighbour that was driven out of the table may be asked anew.
                    let driven_out = neighbor_limit < 20;
                    assert!(driven_out || host.now.since(before).as_millis() >= 1000);
                }
            }
        };
        for step in steps {
            match step {
                Step::Say(n) => {
                    say(&mut host, id, Ipv4Addr::new(10, 77, 0, n), b"x");
                    said += 1;
                }
                Step::Answer(n) => {
                    let sender = (EthernetAddress([2, 0, 0, 0, 1, n]), Ipv4Addr::new(10, 77, 0, n));
                    host.arrives(&arp_frame(Operation::REPLY, sender, (OUR_HARDWARE, US)));
                }
                Step::Wait(millis) => host.later_millis(millis),
            }
            collect(&mut host);
        }
        for _ in 0..10 {
            host.later_millis(1000);
            collect(&mut host);
        }
        prop_assert_eq!(host.stack.poll_timeout(), None);
        let lost = host.dropped(Dropped::NeighborUnresolved);
        prop_assert_eq!(host.sent(Sent::Datagram) + lost, said);
        prop_assert_eq!(host.stack.sockets()[0].send_queue, 0);
    }
}

/// Whom ARP is asked for in the only frame that is sent now.
#[track_caller]
fn asked_for(host: &mut Host) -> Ipv4Addr {
    let bytes = host.sends_one();
    parse_arp(&bytes).1.target_protocol
}

/// RFC 1122 3.3.1.4: "The IP layer MUST be able to detect the failure of a next-hop gateway that is listed
/// in its route cache and to choose an alternate gateway", of which there can be several (3.3.1.2).
#[test]
fn a_dead_gateway_is_left_for_the_next() {
    let mut host = Host::tap();
    let third = Ipv4Addr::new(10, 77, 0, 4);
    host.stack.set_gateway(host.interface, THEM.into()).unwrap();
    for gateway in [OTHER, third, OTHER, THEM] {
        host.stack.add_gateway(host.interface, gateway.into()).unwrap();
    }
    let id = host.stack.udp_bind(v4(US, 5000)).unwrap();
    host.stack.udp_send_to(host.now, id, b"hello", v4(FAR, 7)).unwrap();
    // Nobody answers: each in its turn, and the datagram waits for one that does.
    for gateway in [THEM, OTHER, third, THEM] {
        for _ in 0..3 {
            assert_eq!(asked_for(&mut host), gateway);
            host.later_millis(1000);
        }
    }
    assert_eq!(asked_for(&mut host), OTHER);
    let ours = (OUR_HARDWARE, US);
    host.arrives(&arp_frame(Operation::REPLY, (THEIR_HARDWARE, OTHER), ours));
    let bytes = host.sends_one();
    let (ethernet, packet) = parse_frame(&bytes);
    assert_eq!((ethernet.destination, parse_udp(packet).2), (THEIR_HARDWARE, &b"hello"[..]));
    assert_eq!(host.dropped(Dropped::NeighborUnresolved), 0);
    // One that is set is the only one.
    host.stack.set_gateway(host.interface, third.into()).unwrap();
    host.stack.udp_send_to(host.now, id, b"hello", v4(FAR, 7)).unwrap();
    for _ in 0..3 {
        assert_eq!(asked_for(&mut host), third);
        host.later_millis(1000);
    }
    host.sends_nothing();
    assert_eq!(host.dropped(Dropped::NeighborUnresolved), 1);
}
