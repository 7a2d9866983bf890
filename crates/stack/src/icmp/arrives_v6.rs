//! What each ICMPv6 message means to us (RFC 4443).

use core::net::{IpAddr, Ipv6Addr};

use wire::frame::ReceiveChecksum;
use wire::icmpv6::{self, Header, Quoted, kind};
use wire::ip::Protocol;

use super::arrives::{About, Quote};
use super::{IcmpError, Reply};
use crate::ip::Incoming;
use crate::packets::Echo;
use crate::reason::{Dropped, Sent};
use crate::stack::Stack;
use crate::trace::What;

impl Stack {
    /// An ICMPv6 message came.
    pub(crate) fn icmpv6_arrives(&mut self, packet: Incoming) {
        let received = &packet.received;
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (received.source, received.destination)
        else {
            return self.discard(packet.received.frame, Dropped::MalformedIcmp);
        };
        let unverified = received.meta.checksum == ReceiveChecksum::Unverified;
        if unverified && !icmpv6::is_checksum_valid(source, destination, &received.frame) {
            return self.discard(packet.received.frame, Dropped::IcmpChecksum);
        }
        let Ok((header, payload)) = Header::parse(&received.frame) else {
            return self.discard(packet.received.frame, Dropped::MalformedIcmp);
        };
        self.shared.trace(
            None,
            What::PacketIn {
                kind: name_of(&header),
                source: received.source,
                destination: received.destination,
                length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            },
        );
        // RFC 6980 5: what neighbours and routers say fits into a packet.
        if packet.in_fragments && matches!(header.kind(), 133..=137) {
            return self.discard(packet.received.frame, Dropped::FragmentMalformed);
        }
        match header {
            Header::EchoRequest { .. } => self.echo_request_v6_arrives(packet, source, destination),
            Header::EchoReply { identifier, sequence } => {
                self.pings.reply_arrives(&mut self.shared, packet, (identifier, sequence), None);
            }
            _ => {
                let handled = match header.kind() {
                    kind::ROUTER_SOLICITATION..=kind::REDIRECT => {
                        let overheard = self.steering.is_overhearing();
                        self.discovery_arrives(&packet, overheard)
                    }
                    kind::LISTENER_QUERY | kind::LISTENER_REPORT_V1 => {
                        self.interfaces.listener_message_arrives(&self.shared, &packet)
                    }
                    _ => self.error_v6_arrives(&packet, &header),
                };
                if let Err(reason) = handled {
                    self.shared.drop_packet(None, reason);
                }
                self.shared.recycle(packet.received.frame);
            }
        }
    }

    /// RFC 4443 4.2: the same data goes back, from the address that was asked; a request to a group
    /// is answered, too, from an address of the interface that it came by.
    fn echo_request_v6_arrives(
        &mut self,
        packet: Incoming,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) {
        let interface = packet.received.interface;
        let from = match destination {
            group if group.is_multicast() => self.interfaces.source_on(interface, source.into()),
            ours => Some(IpAddr::V6(ours)),
        };
        let Some(IpAddr::V6(from)) = from.filter(|_| !source.is_unspecified()) else {
            return self.discard(packet.received.frame, Dropped::IcmpIgnored);
        };
        match self.shared.config.echo {
            Echo::Answer => {}
            Echo::Ignore => return self.discard(packet.received.frame, Dropped::EchoIgnored),
            Echo::Refuse(what) => return self.refuse_echo(packet, what),
            Echo::HandOver => return self.hand_over(packet),
        }
        let mut message = packet.received.frame;
        message[0] = kind::ECHO_REPLY;
        icmpv6::fill_checksum(from, source, &mut message);
        let reply = Reply {
            source: from.into(),
            destination: source.into(),
            traffic_class: packet.received.traffic_class,
            ttl: None,
            options: wire::ipv4::Options::NONE,
            message,
            kind: "ICMPv6 echo reply",
            reason: Sent::EchoReply,
        };
        self.icmp.push_echo(&mut self.shared, reply);
    }

    /// An error goes to whoever sent the packet that it quotes (RFC 4443 2.4 (d)), when it quotes
    /// something that we may have sent (RFC 5927 4).
    fn error_v6_arrives(&mut self, packet: &Incoming, header: &Header) -> Result<(), Dropped> {
        let error = IcmpError::from_header_v6(header).ok_or(Dropped::IcmpIgnored)?;
        if packet.group {
            return Err(Dropped::IcmpIgnored);
        }
        let payload = packet.received.frame.get(header.encoded_len()..).unwrap_or_default();
        let quoted = header.quoted(payload).ok_or(Dropped::MalformedIcmp)?;
        let about = About::of_v6(&quoted).ok_or(Dropped::IcmpUnsolicited)?;
        self.pass_on(packet, about, error)
    }
}

impl About {
    /// `None` when it is nothing that we send, or too little of it is quoted.
    fn of_v6(quoted: &Quoted<'_>) -> Option<Self> {
        let packet = match quoted.protocol {
            Protocol::ICMPV6 => {
                if let Some((identifier, sequence)) = quoted.echo_reply() {
                    Quote::EchoReply { identifier, sequence }
                } else {
                    let (identifier, sequence) = quoted.echo()?;
                    Quote::Echo { identifier, sequence }
                }
            }
            Protocol::UDP => Quote::Udp { ports: quoted.ports()? },
            _ => Quote::Tcp { ports: quoted.ports()?, sequence: quoted.sequence()? },
        };
        let (local, remote) = (quoted.header.source.into(), quoted.header.destination.into());
        let length = quoted.header.encoded_len() + usize::from(quoted.header.payload_len);
        Some(Self { local, remote, length, packet })
    }
}

fn name_of(header: &Header) -> &'static str {
    match header {
        Header::EchoRequest { .. } => "ICMPv6 echo request",
        Header::EchoReply { .. } => "ICMPv6 echo reply",
        Header::DestinationUnreachable { .. } => "ICMPv6 unreachable",
        Header::PacketTooBig { .. } => "ICMPv6 packet too big",
        Header::TimeExceeded { .. } => "ICMPv6 time exceeded",
        Header::ParameterProblem { .. } => "ICMPv6 parameter problem",
        Header::Other { kind, .. } => match *kind {
            kind::ROUTER_SOLICITATION => "ICMPv6 router solicitation",
            kind::ROUTER_ADVERTISEMENT => "ICMPv6 router advertisement",
            kind::NEIGHBOR_SOLICITATION => "ICMPv6 neighbour solicitation",
            kind::NEIGHBOR_ADVERTISEMENT => "ICMPv6 neighbour advertisement",
            kind::REDIRECT => "ICMPv6 redirect",
            kind::LISTENER_QUERY => "ICMPv6 listener query",
            kind::LISTENER_REPORT_V1 | kind::LISTENER_REPORT_V2 => "ICMPv6 listener report",
            _ => "ICMPv6",
        },
    }
}
