//! Redirects of both families: RFC 4861 8, RFC 1122 3.2.2.2 and 3.3.1.2.

mod host;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use estab_stack::reason::Dropped;
use estab_stack::{Config, UdpId};
use host::{Host, THEIR_HARDWARE, v6};
use wire::arp::Operation;
use wire::ethernet::{EtherType, EthernetAddress};
use wire::icmpv4::RedirectCode;
use wire::ip::Protocol;
use wire::ndp::{Header, NdpOption};

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const BETTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const BETTER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
const BETTER_HARDWARE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

/// A host with a gateway, whose hardware address it knows, and a socket.
fn v6_host(config: Config) -> (Host, UdpId) {
    let mut host = v6::ready_tap(config);
    host.stack.set_gateway(host.interface, ROUTER.into()).unwrap();
    let id = host.stack.udp_bind(v6::at(v6::US, 7)).unwrap();
    send(&mut host, id, v6::FAR.into());
    let bytes = host.sends_one();
    let asked = v6::parse_ndp(&bytes);
    assert_eq!(asked.header, Header::NeighborSolicitation { target: ROUTER });
    advertises(&mut host, ROUTER, THEIR_HARDWARE);
    assert_eq!(goes_to(&mut host), THEIR_HARDWARE);
    (host, id)
}

fn v4_host(config: Config) -> (Host, UdpId) {
    let medium = wire::frame::Medium::Ethernet(host::OUR_HARDWARE);
    let mut host = Host::new(config, medium, false);
    host.stack.set_gateway(host.interface, host::THEM.into()).unwrap();
    let id = host.stack.udp_bind(host::v4(host::US, 7)).unwrap();
    send(&mut host, id, host::FAR.into());
    host.sends();
    host.arrives(&host::arp_reply());
    assert_eq!(goes_to(&mut host), THEIR_HARDWARE);
    (host, id)
}

#[track_caller]
fn send(host: &mut Host, id: UdpId, to: IpAddr) {
    host.stack.udp_send_to(host.now, id, b"hello", SocketAddr::new(to, 9)).unwrap();
}

/// Whom the one datagram that is sent now goes to.
#[track_caller]
fn goes_to(host: &mut Host) -> EthernetAddress {
    let bytes = host.sends_one();
    let (ethernet, packet) = host::parse_frame(&bytes);
    let protocol = match ethernet.ethertype {
        EtherType::IPV4 => host::parse_ip(packet).0.protocol,
        _ => v6::parse_ip(packet).0.next_header,
    };
    assert_eq!(protocol, Protocol::UDP);
    ethernet.destination
}

fn advertises(host: &mut Host, who: Ipv6Addr, hardware: EthernetAddress) {
    let header = Header::NeighborAdvertisement {
        target: who,
        is_router: true,
        is_solicited: true,
        is_override: true,
    };
    let option = NdpOption::TargetLinkLayer(hardware);
    host.arrives(&v6::ndp_frame((who, v6::US), header, &[option]));
}

fn redirect(by: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let option = NdpOption::TargetLinkLayer(BETTER_HARDWARE);
    v6::ndp_frame((by, v6::US), Header::Redirect { target, destination }, &[option])
}

/// An ICMP redirect about a datagram from us to `destination`.
fn redirect_v4(by: Ipv4Addr, destination: Ipv4Addr, gateway: Ipv4Addr) -> Vec<u8> {
    let of = wire::ipv4::Header { source: host::US, destination, ..host::header(Protocol::UDP) };
    let quoted = host::datagram(&of, (7, 9), b"hello");
    let icmp = wire::icmpv4::Header::Redirect { code: RedirectCode::NETWORK, gateway };
    let ip = wire::ipv4::Header { source: by, ..host::header(Protocol::ICMP) };
    host::frame(EtherType::IPV4, &host::packet(&ip, &host::message(&icmp, &quoted)))
}

/// RFC 4861 8.3: "if the Target and Destination Addresses are not the same, the host MUST set [...] the
/// target to be a router", and its hardware address is in the redirect.
#[test]
fn a_better_router_is_used() {
    let (mut host, id) = v6_host(Config::default());
    host.arrives(&redirect(ROUTER, v6::FAR, BETTER));
    send(&mut host, id, v6::FAR.into());
    assert_eq!(goes_to(&mut host), BETTER_HARDWARE);
    // Other destinations go as before.
    send(&mut host, id, "2001:db8::a".parse().unwrap());
    assert_eq!(goes_to(&mut host), THEIR_HARDWARE);
    // And the better one may know a better one still.
    let third = "fe80::c".parse().unwrap();
    host.arrives(&redirect(BETTER, v6::FAR, third));
    assert_eq!(host.dropped(Dropped::RedirectImplausible), 0);
}

/// "If the Target Address and the Destination Address are the same, the host MUST treat the Target as
/// on-link."
#[test]
fn a_destination_turns_out_to_be_on_the_link() {
    let (mut host, id) = v6_host(Config::default());
    host.arrives(&redirect(ROUTER, v6::FAR, v6::FAR));
    send(&mut host, id, v6::FAR.into());
    assert_eq!(goes_to(&mut host), BETTER_HARDWARE);
}

/// RFC 4861 8.1: "The IP source address of the Redirect is the same as the current first-hop router for
/// the specified ICMP Destination Address."
#[test]
fn a_redirect_of_somebody_else_is_not_believed() {
    let (mut host, id) = v6_host(Config::default());
    let elsewhere = "fe80::2".parse().unwrap();
    for frame in [
        redirect(elsewhere, v6::FAR, BETTER),
        redirect(ROUTER, v6::THEM, BETTER), // is on the link already
        redirect(ROUTER, v6::FAR, ROUTER),
        redirect(ROUTER, v6::US, BETTER),
    ] {
        host.drops(&frame, Dropped::RedirectImplausible);
    }
    send(&mut host, id, v6::FAR.into());
    assert_eq!(goes_to(&mut host), THEIR_HARDWARE);
}

#[test]
fn redirects_need_not_be_followed() {
    let config = || Config { accept_redirects: false, ..Config::default() };
    let (mut host, _) = v6_host(config());
    host.drops(&redirect(ROUTER, v6::FAR, BETTER), Dropped::RedirectIgnored);
    let (mut host, _) = v4_host(config());
    host.drops(&redirect_v4(host::THEM, host::FAR, BETTER_V4), Dropped::RedirectIgnored);
}

/// RFC 4861 7.3.3: where nobody answers, the next hop is looked for anew; what waited for it goes to the
/// router that the routing table names.
#[test]
fn a_hop_that_does_not_answer_is_forgotten() {
    let (mut host, id) = v6_host(Config::default());
    let header = Header::Redirect { target: BETTER, destination: v6::FAR };
    host.arrives(&v6::ndp_frame((ROUTER, v6::US), header, &[]));
    send(&mut host, id, v6::FAR.into());
    for _ in 0..3 {
        let bytes = host.sends_one();
        let asked = v6::parse_ndp(&bytes);
        assert_eq!(asked.header, Header::NeighborSolicitation { target: BETTER });
        host.later_millis(1000);
    }
    assert_eq!(goes_to(&mut host), THEIR_HARDWARE);
    assert_eq!(host.dropped(Dropped::NeighborUnresolved), 0);
    send(&mut host, id, v6::FAR.into());
    assert_eq!(goes_to(&mut host), THEIR_HARDWARE);
}

#[test]
fn what_was_learnt_holds_for_a_time_and_for_its_gateway() {
    let (mut host, id) = v4_host(Config::default());
    host.arrives(&redirect_v4(host::THEM, host::FAR, BETTER_V4));
    send(&mut host, id, host::FAR.into());
    let bytes = host.sends_one();
    assert_eq!(host::parse_arp(&bytes).1.target_protocol, BETTER_V4);
    let ours = (host::OUR_HARDWARE, host::US);
    let answer = host::arp_frame(Operation::REPLY, (BETTER_HARDWARE, BETTER_V4), ours);
    host.arrives(&answer);
    assert_eq!(goes_to(&mut host), BETTER_HARDWARE);
    // Another gateway was never asked.
    host.stack.set_gateway(host.interface, host::OTHER.into()).unwrap();
    send(&mut host, id, host::FAR.into());
    let bytes = host.sends_one();
    assert_eq!(host::parse_arp(&bytes).1.target_protocol, host::OTHER);
    host.stack.set_gateway(host.interface, host::THEM.into()).unwrap();
    send(&mut host, id, host::FAR.into());
    assert_eq!(goes_to(&mut host), BETTER_HARDWARE);
    for _ in 0..600 {
        host.later_millis(1000);
        host.sends();
    }
    send(&mut host, id, host::FAR.into());
    let frames = host.sends();
    let (datagram, question) = (&frames[0], &frames[1]);
    assert_eq!(host::parse_frame(datagram).0.destination, THEIR_HARDWARE);
    assert_eq!(host::parse_arp(question).1.target_protocol, host::THEM, "it is old by now");
}

/// RFC 1122 3.2.2.2: "A Redirect message SHOULD be silently discarded if the new gateway address it
/// specifies is not on the same connected (sub-) net through which the Redirect arrived, or if the source
/// of the Redirect is not the current first-hop gateway for the specified destination".
#[test]
fn an_implausible_gateway_is_not_believed() {
    let (mut host, id) = v4_host(Config::default());
    for (by, destination, gateway) in [
        (host::OTHER, host::FAR, BETTER_V4),
        (host::THEM, host::OTHER, BETTER_V4),
        (host::THEM, host::FAR, Ipv4Addr::new(192, 0, 2, 1)),
        (host::THEM, host::FAR, host::US),
        (host::THEM, host::FAR, host::SUBNET_BROADCAST),
        (host::THEM, host::FAR, host::THEM),
    ] {
        let frame = redirect_v4(by, destination, gateway);
        host.drops(&frame, Dropped::RedirectImplausible);
    }
    send(&mut host, id, host::FAR.into());
    assert_eq!(goes_to(&mut host), THEIR_HARDWARE);
}

/// Only who sent what is quoted is to send it another way.
#[test]
fn a_redirect_about_nothing_of_ours_is_dropped() {
    let (mut host, _) = v4_host(Config::default());
    let quoted = host::datagram(&host::header(Protocol::UDP), (7, 9), b"hello");
    let icmp = wire::icmpv4::Header::Redirect { code: RedirectCode::HOST, gateway: BETTER_V4 };
    let ip = host::header(Protocol::ICMP);
    let message = host::packet(&ip, &host::message(&icmp, &quoted));
    host.drops(&host::frame(EtherType::IPV4, &message), Dropped::IcmpUnsolicited);
}

/// However many a router tells of, the table is bounded, and the newest are kept.
#[test]
fn the_table_is_bounded() {
    let (mut host, id) = v6_host(Config { redirect_limit: 2, ..Config::default() });
    let far = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, n);
    for n in 0..10 {
        host.arrives(&redirect(ROUTER, far(n), BETTER));
        host.later_millis(1);
    }
    for (n, hardware) in [(7, THEIR_HARDWARE), (8, BETTER_HARDWARE), (9, BETTER_HARDWARE)] {
        send(&mut host, id, far(n).into());
        assert_eq!(goes_to(&mut host), hardware, "{n}");
    }
}
