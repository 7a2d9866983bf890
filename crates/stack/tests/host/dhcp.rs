//! The DHCP servers of the link, of both families: what clients ask them, and what they answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::dhcpv4::{CLIENT_PORT, Message, MessageType, SERVER_PORT};
use wire::ethernet::{EtherType, EthernetAddress};
use wire::ip::Protocol;
use wire::{dhcpv6, ipv4, ipv6, udp};

use super::{OTHER, THEM, US, datagram, frame, frame_to, header, parse_frame, parse_udp, v6};

/// What a client that has no address yet asks everybody.
#[track_caller]
pub(crate) fn asked(frame: &[u8]) -> Message {
    let (ethernet, packet) = parse_frame(frame);
    assert_eq!(ethernet.destination, EthernetAddress::BROADCAST);
    let (ip, udp, payload) = parse_udp(packet);
    assert_eq!((ip.source, ip.destination), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    assert_eq!((udp.source_port, udp.destination_port), (CLIENT_PORT, SERVER_PORT));
    Message::parse(payload).unwrap()
}

/// The address is [`US`] for an hour, the router [`THEM`], the name server [`OTHER`].
pub(crate) fn answer(asked: &Message, kind: MessageType) -> Vec<u8> {
    let mut message = asked.clone();
    message.kind = kind;
    message.your_address = US;
    message.options.server_identifier = Some(THEM);
    message.options.lease_time = Some(3600);
    message.options.prefix_len = Some(24);
    message.options.routers = vec![THEM];
    message.options.dns_servers = vec![OTHER];
    message.options.mtu = Some(1400);
    let ip = ipv4::Header { destination: Ipv4Addr::BROADCAST, ..header(Protocol::UDP) };
    let packet = datagram(&ip, (SERVER_PORT, CLIENT_PORT), &message.to_bytes());
    frame_to(EthernetAddress::BROADCAST, EtherType::IPV4, &packet)
}

/// Who asks a server of IPv6, and what; `None` for other frames.
pub(crate) fn asked_v6(frame: &[u8]) -> Option<(Ipv6Addr, dhcpv6::Message)> {
    let (ip, payload) = ipv6::Header::parse(parse_frame(frame).1).ok()?;
    if ip.next_header != Protocol::UDP {
        return None;
    }
    assert_eq!(ip.destination, "ff02::1:2".parse::<Ipv6Addr>().unwrap());
    let (source, destination) = (IpAddr::V6(ip.source), IpAddr::V6(ip.destination));
    assert!(udp::is_checksum_valid(source, destination, payload));
    let (_, message) = udp::Header::parse(payload).ok()?;
    Some((ip.source, dhcpv6::Message::parse(message).ok()?))
}

/// The server at `router` names a name server to who [asked](asked_v6).
pub(crate) fn answer_v6(
    router: Ipv6Addr,
    (client, asked): (Ipv6Addr, dhcpv6::Message),
    name_server: Ipv6Addr,
) -> Vec<u8> {
    assert_eq!(asked.kind, dhcpv6::MessageType::INFORMATION_REQUEST);
    let reply = dhcpv6::Message {
        kind: dhcpv6::MessageType::REPLY,
        transaction: asked.transaction,
        client_identifier: asked.client_identifier,
        server_identifier: vec![0, 3, 0, 1, 2, 0, 0, 0, 0, 1],
        dns_servers: vec![name_server],
        ..dhcpv6::Message::default()
    };
    let ip = ipv6::Header { source: router, destination: client, ..v6::header(Protocol::UDP) };
    let ports = (dhcpv6::SERVER_PORT, dhcpv6::CLIENT_PORT);
    frame(EtherType::IPV6, &v6::datagram(&ip, ports, &reply.to_bytes()))
}
