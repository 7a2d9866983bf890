//! DHCP for IPv4, and name servers of IPv6, on a link: RFC 2131, RFC 5227, RFC 8106, RFC 8415.

mod host;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use estab_stack::reason::{Dropped, Sent};
use estab_stack::{Config, Error, Stack};
use host::*;
use wire::arp::Operation;
use wire::dhcpv4::{CLIENT_PORT, Message, MessageType, SERVER_PORT};
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::{Capabilities, Medium};
use wire::ip::Protocol;
use wire::time::Instant;
use wire::{arp, ipv4};

/// A host on Ethernet that asks a DHCP server, and what it has sent.
fn asking(config: Config) -> Host {
    let mut host = Host::new(config, Medium::Ethernet(OUR_HARDWARE), false);
    host.stack.remove_address(host.interface, US.into()).unwrap();
    host.stack.dhcp_start(host.now, host.interface).unwrap();
    host.stack.handle_timeout(host.now);
    host
}

fn answer(host: &mut Host, asked: &Message, kind: MessageType) {
    host.arrives(&dhcp::answer(asked, kind));
}

/// DISCOVER, OFFER, REQUEST, ACK.
fn given(host: &mut Host) {
    let discover = dhcp::asked(&host.sends_one());
    assert_eq!(discover.kind, MessageType::DISCOVER);
    answer(host, &discover, MessageType::OFFER);
    let request = dhcp::asked(&host.sends_one());
    assert_eq!(request.kind, MessageType::REQUEST);
    answer(host, &request, MessageType::ACK);
}

#[test]
fn an_interface_gets_its_address_route_and_name_server() {
    let mut host = asking(Config::default());
    given(&mut host);
    host.sends_nothing();
    assert!(!host.stack.is_local(US.into()), "not before it was probed");
    let arp: Vec<_> = passes(&mut host, 10_000).iter().map(|frame| parse_arp(frame).1).collect();
    let senders: Vec<_> = arp.iter().map(|packet| packet.sender_protocol).collect();
    let nobody = Ipv4Addr::UNSPECIFIED;
    assert_eq!(senders, [nobody, nobody, nobody, US, US], "three probes and two announcements");
    assert!(arp.iter().all(|packet| packet.target_protocol == US));
    assert_eq!((host.sent(Sent::ArpProbe), host.sent(Sent::ArpAnnouncement)), (3, 2));
    let change = host.stack.poll_dhcp_change().unwrap();
    let lease = change.lease.unwrap();
    assert_eq!((lease.address, lease.prefix_len, lease.mtu), (US, 24, Some(1400)));
    assert_eq!(host.stack.addresses(host.interface).next(), Some((IpAddr::V4(US), 24)));
    assert_eq!(host.stack.dns_servers(), [v4(OTHER, 53)]);
    // Through the router to somebody far away.
    let id = host.stack.udp_bind(v4(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    host.stack.udp_send_to(host.now, id, b"x", v4(FAR, 7)).unwrap();
    assert_eq!(parse_arp(&host.sends_one()).1.target_protocol, THEM);
}

/// The address is given back, and goes when that is on its way (RFC 2131 4.4.6).
#[test]
fn an_address_is_released_before_it_goes() {
    let mut host = asking(Config { dhcp_probes: 0, ..Config::default() });
    given(&mut host);
    host.sends();
    assert!(!host.stack.is_releasing_leases());
    host.stack.dhcp_stop_all(host.now);
    assert!(host.stack.is_releasing_leases());
    assert_eq!(parse_arp(&host.sends_one()).1.target_protocol, THEM);
    assert!(host.stack.is_local(US.into()));
    host.arrives(&arp_reply());
    let frame = host.sends_one();
    let (_, packet) = parse_frame(&frame);
    let message = Message::parse(parse_udp(packet).2).unwrap();
    assert_eq!((message.kind, message.client_address), (MessageType::RELEASE, US));
    host.sends_nothing();
    assert!(!host.stack.is_local(US.into()) && !host.stack.is_releasing_leases());
    assert_eq!(host.stack.dns_servers(), []);
    let changes: Vec<_> = std::iter::from_fn(|| host.stack.poll_dhcp_change()).collect();
    assert!(changes[0].lease.is_some() && changes[1].lease.is_none());
}

/// RFC 5227 2.1.1: an answer to a probe, or another's probe for the same address.
#[test]
fn an_address_that_somebody_has_is_declined() {
    let nobody = (EthernetAddress::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
    let theirs = [
        arp_frame(Operation::REPLY, (THEIR_HARDWARE, US), (OUR_HARDWARE, nobody.1)),
        arp_frame(Operation::REQUEST, (THEIR_HARDWARE, nobody.1), (nobody.0, US)),
    ];
    for shows in theirs {
        let mut host = asking(Config::default());
        given(&mut host);
        assert!(!passes(&mut host, 2_000).is_empty());
        host.arrives(&shows);
        let decline = dhcp::asked(&host.sends_one());
        assert_eq!(decline.kind, MessageType::DECLINE);
        assert_eq!(decline.options.requested_address, Some(US));
        assert!(passes(&mut host, 9_000).is_empty(), "RFC 2131 3.1 (5): ten seconds");
        assert_eq!(passes(&mut host, 2_000).len(), 1);
        assert!(!host.stack.is_local(US.into()));
    }
}

/// RFC 5227 2.4 (b): an address in use is defended once, and then given up for another.
#[test]
fn an_address_that_somebody_goes_on_claiming_is_declined() {
    let mut host = asking(Config { dhcp_probes: 0, ..Config::default() });
    given(&mut host);
    host.sends();
    let target = (EthernetAddress::UNSPECIFIED, THEM);
    let claim = arp_frame(Operation::REQUEST, (THEIR_HARDWARE, US), target);
    host.arrives(&claim);
    assert_eq!(parse_arp(&host.sends_one()).1.sender_protocol, US);
    assert!(host.stack.is_local(US.into()));
    host.later_millis(1000);
    host.arrives(&claim);
    let decline = dhcp::asked(&host.sends_one());
    assert_eq!(decline.kind, MessageType::DECLINE);
    assert_eq!(decline.options.requested_address, Some(US));
    assert!(!host.stack.is_local(US.into()));
    assert!(passes(&mut host, 9_000).is_empty(), "RFC 2131 3.1 (5): ten seconds");
    given_again(&mut host);
}

/// It asks again, and is given the address again.
fn given_again(host: &mut Host) {
    host.later_millis(1000);
    given(host);
    host.sends();
    assert!(host.stack.is_local(US.into()));
}

#[test]
fn a_lease_that_ends_takes_everything_with_it() {
    let mut host = asking(Config { dhcp_probes: 0, ..Config::default() });
    given(&mut host);
    host.sends();
    assert!(host.stack.is_local(US.into()));
    host.arrives(&arp_reply());
    passes(&mut host, 3_602_000);
    assert!(!host.stack.is_local(US.into()));
    let id = host.stack.udp_bind(v4(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let nowhere = host.stack.udp_send_to(host.now, id, b"x", v4(FAR, 7));
    assert_eq!(nowhere, Err(Error::NetworkUnreachable));
    assert!(host.sent(Sent::Dhcp) > 4, "and it asks again");
}

#[test]
fn what_makes_no_sense_is_counted() {
    let mut host = asking(Config::default());
    host.sends();
    let ip = ipv4::Header { destination: Ipv4Addr::BROADCAST, ..header(Protocol::UDP) };
    let packet = datagram(&ip, (SERVER_PORT, CLIENT_PORT), b"no message");
    host.drops(
        &frame_to(EthernetAddress::BROADCAST, EtherType::IPV4, &packet),
        Dropped::MalformedDhcp,
    );
}

#[test]
fn a_link_without_stations_has_no_dhcp() {
    let mut stack = Stack::new(Config::default(), [7; 32]);
    let capabilities =
        Capabilities { medium: Medium::Ip, mtu: 1500, checksum: false, segmentation: false };
    let tun = stack.add_interface(capabilities);
    assert_eq!(stack.dhcp_start(Instant::ZERO, tun), Err(Error::InvalidInput));
    assert_eq!(stack.dhcp_stop(Instant::ZERO, tun), Err(Error::InvalidInput));
}

/// RFC 8415 6.1 and 18.2.6: where a router says so, a DHCP server is asked for name servers; RFC 8106:
/// the router may name them itself.
#[test]
fn name_servers_of_ipv6_are_learnt_from_routers_and_servers() {
    use wire::ndp::{Header, NdpOption, Preference, RouterAdvertisement};
    let mut host = v6::tap_with(Config::default());
    host.stack.autoconfigure(host.interface).unwrap();
    passes(&mut host, 3_000);
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let said = RouterAdvertisement {
        hop_limit: 64,
        managed: false,
        other_configuration: true,
        preference: Preference::Medium,
        router_lifetime: 1800,
        reachable_time: 0,
        retransmit_time: 0,
    };
    let advertised: Ipv6Addr = "fd77::53".parse().unwrap();
    let servers = [advertised.octets()];
    let options = [NdpOption::RecursiveDns { lifetime: 60, servers: &servers }];
    let header = Header::RouterAdvertisement(said);
    host.arrives(&v6::ndp_frame((router, v6::ALL_NODES), header, &options));
    let at = |ip: Ipv6Addr| SocketAddr::new(ip.into(), 53);
    assert_eq!(host.stack.dns_servers(), [at(advertised)]);
    let asked = passes(&mut host, 3_000);
    let asked = asked.iter().find_map(|frame| dhcp::asked_v6(frame));
    let told: Ipv6Addr = "fd77::5353".parse().unwrap();
    host.arrives(&dhcp::answer_v6(router, asked.expect("an information-request"), told));
    host.sends();
    assert_eq!(host.stack.dns_servers(), [at(advertised), at(told)]);
    passes(&mut host, 61_000);
    assert_eq!(host.stack.dns_servers(), [at(told)]);
}

#[test]
fn an_arp_packet_of_our_own_is_no_conflict() {
    let mut host = asking(Config::default());
    given(&mut host);
    let probes = passes(&mut host, 2_000);
    let (_, probe) = parse_arp(&probes[0]);
    let mut bytes = [0; arp::PACKET_LEN];
    probe.emit(&mut bytes);
    host.arrives(&frame_to(EthernetAddress::BROADCAST, EtherType::ARP, &bytes));
    passes(&mut host, 7_000);
    assert!(host.stack.is_local(US.into()));
}
