//! What each ICMP message means to us (RFC 1122 3.2.2).

use core::net::{IpAddr, Ipv4Addr};

use wire::frame::ReceiveChecksum;
use wire::icmpv4::{self, Header, Quoted, Timestamps, kind};
use wire::ip::Protocol;
use wire::ipv4;

use super::{IcmpError, Reply};
use crate::FourTuple;
use crate::ip::{Incoming, recorded, time_of_day};
use crate::packets::Echo;
use crate::reason::{Dropped, Sent};
use crate::stack::Stack;
use crate::tcp::seq::Seq;
use crate::trace::What;

impl Stack {
    /// An ICMP message came.
    pub(crate) fn icmp_arrives(&mut self, packet: Incoming) {
        let received = &packet.received;
        let unverified = received.meta.checksum == ReceiveChecksum::Unverified;
        if unverified && !icmpv4::is_checksum_valid(&received.frame) {
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
        match header {
            Header::EchoRequest { .. } => self.echo_request_arrives(packet),
            Header::EchoReply { identifier, sequence } => {
                self.pings.reply_arrives(&mut self.shared, packet, (identifier, sequence), None);
            }
            Header::TimestampReply(times) => {
                let asked = (times.identifier, times.sequence);
                self.pings.reply_arrives(&mut self.shared, packet, asked, Some(times));
            }
            Header::TimestampRequest(times) => self.timestamp_request_arrives(packet, times),
            _ => {
                if let Err(reason) = self.error_arrives(&packet, &header) {
                    self.shared.drop_packet(None, reason);
                }
                self.shared.recycle(packet.received.frame);
            }
        }
    }

    /// RFC 1122 3.2.2.6: the same data goes back, from the address that was asked. A request to
    /// everybody is ignored, as it may be: an answer would let one packet cause many.
    fn echo_request_arrives(&mut self, packet: Incoming) {
        if packet.group {
            return self.discard(packet.received.frame, Dropped::IcmpIgnored);
        }
        match self.shared.config.echo {
            Echo::Answer => {}
            Echo::Ignore => return self.discard(packet.received.frame, Dropped::EchoIgnored),
            Echo::Refuse(what) => return self.refuse_echo(packet, what),
            Echo::HandOver => return self.hand_over(packet),
        }
        let options = self.recorded(&packet);
        let mut message = packet.received.frame;
        message[0] = kind::ECHO_REPLY;
        icmpv4::fill_checksum(&mut message);
        let reply = Reply {
            source: packet.received.destination,
            destination: packet.received.source,
            traffic_class: packet.received.traffic_class,
            ttl: None,
            options,
            message,
            kind: "ICMP echo reply",
            reason: Sent::EchoReply,
        };
        self.icmp.push(&mut self.shared, reply);
    }

    /// RFC 1122 3.2.2.6: what a request has recorded on its way goes on being recorded on the way back.
    fn recorded(&self, packet: &Incoming) -> ipv4::Options {
        match packet.received.destination {
            IpAddr::V4(ours) => recorded(&packet.options(), ours, time_of_day(self.shared.now)),
            IpAddr::V6(_) => ipv4::Options::NONE,
        }
    }

    /// RFC 1122 3.2.2.8: it may be answered, and then without delay and from the same address.
    fn timestamp_request_arrives(&mut self, packet: Incoming, asked: Timestamps) {
        if packet.group {
            return self.discard(packet.received.frame, Dropped::IcmpIgnored);
        }
        let now = time_of_day(self.shared.now);
        let times = Timestamps { receive: now, transmit: now, ..asked };
        let mut message = packet.received.frame;
        message.truncate(icmpv4::TIMESTAMP_LEN);
        Header::TimestampReply(times).emit(&mut message);
        icmpv4::fill_checksum(&mut message);
        let reply = Reply {
            source: packet.received.destination,
            destination: packet.received.source,
            traffic_class: packet.received.traffic_class,
            ttl: None,
            options: wire::ipv4::Options::NONE,
            message,
            kind: "ICMP timestamp reply",
            reason: Sent::TimestampReply,
        };
        self.icmp.push(&mut self.shared, reply);
    }

    /// An error goes to whoever sent the packet that it quotes (RFC 1122 3.2.2.1). Anybody can
    /// send one, so it counts only when it quotes something that we may have sent (RFC 5927 4).
    fn error_arrives(&mut self, packet: &Incoming, header: &Header) -> Result<(), Dropped> {
        if !header.is_error() || packet.group {
            return Err(Dropped::IcmpIgnored);
        }
        if let Header::Redirect { gateway, .. } = *header {
            return self.redirect_arrives(packet, header, gateway);
        }
        let error = IcmpError::from_header(header).ok_or(Dropped::IcmpIgnored)?;
        let payload = packet.received.frame.get(header.encoded_len()..).unwrap_or_default();
        let quoted = header.quoted(payload).ok_or(Dropped::MalformedIcmp)?;
        let about = About::of(&quoted).ok_or(Dropped::IcmpUnsolicited)?;
        self.pass_on(packet, about, error)
    }

    /// RFC 1122 3.2.2.2: a better gateway for what is quoted, if we sent that. A redirect for a network
    /// is one for the host alone.
    fn redirect_arrives(
        &mut self,
        packet: &Incoming,
        header: &Header,
        gateway: Ipv4Addr,
    ) -> Result<(), Dropped> {
        let received = &packet.received;
        // Where there are no hardware addresses every first hop is the same.
        self.interfaces.ethernet_address(received.interface).ok_or(Dropped::IcmpIgnored)?;
        let payload = received.frame.get(header.encoded_len()..).unwrap_or_default();
        let quoted = header.quoted(payload).ok_or(Dropped::MalformedIcmp)?;
        let (ours, remote) = (quoted.header.source.into(), quoted.header.destination.into());
        if !self.interfaces.is_local(ours) {
            return Err(Dropped::IcmpUnsolicited);
        }
        let by = (received.interface, received.source);
        self.interfaces.redirected(&self.shared, by, remote, gateway.into())
    }

    /// Takes an error to the socket that sent what it is about.
    pub(super) fn pass_on(
        &mut self,
        packet: &Incoming,
        about: About,
        error: IcmpError,
    ) -> Result<(), Dropped> {
        let (interface, from) = (packet.received.interface, packet.received.source);
        let About { local, remote, length, packet } = about;
        if !self.interfaces.is_local(local) && !self.interfaces.takes_any(interface) {
            return Err(Dropped::IcmpUnsolicited);
        }
        let discovers = self.shared.config.path_mtu_discovery;
        if matches!(error, IcmpError::TooBig { .. }) && !discovers {
            return Err(Dropped::IcmpIgnored);
        }
        let error = error.made_plausible(remote, length).ok_or(Dropped::IcmpUnsolicited)?;
        let shared = &mut self.shared;
        let tuple = |(ours, theirs)| FourTuple::new((local, ours), (remote, theirs));
        // What a datagram of any socket shows of the way, the others can use, too; who is told of it is
        // another question.
        let (about_ours, told) = match packet {
            Quote::Echo { identifier, sequence } => {
                let told = self.pings.icmp_error(
                    shared,
                    remote,
                    (identifier, sequence),
                    error.report(from),
                );
                (told.is_ok(), told)
            }
            Quote::EchoReply { identifier, sequence } => {
                let ours = self.icmp.may_have_answered(remote, identifier, sequence);
                (ours, Err(Dropped::IcmpUnsolicited))
            }
            Quote::Udp { ports } => {
                let told = self.udp.icmp_error(shared, tuple(ports), error.report(from));
                (self.udp.may_have_sent(tuple(ports)), told)
            }
            Quote::Tcp { ports, sequence } => {
                (self.tcp.icmp_error(shared, tuple(ports), Seq(sequence), error), Ok(()))
            }
        };
        match error {
            IcmpError::TooBig { next_hop_mtu } if about_ours => {
                self.interfaces.path_takes(&self.shared, remote, next_hop_mtu);
                Ok(())
            }
            _ => told,
        }
    }
}

/// The packet of ours that an error is about, as it claims.
pub(super) struct About {
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    /// How long it was, in bytes of IP.
    pub(super) length: usize,
    pub(super) packet: Quote,
}

/// What such a packet was.
pub(super) enum Quote {
    Echo { identifier: u16, sequence: u16 },
    EchoReply { identifier: u16, sequence: u16 },
    Udp { ports: (u16, u16) },
    Tcp { ports: (u16, u16), sequence: u32 },
}

impl About {
    /// `None` when it is nothing that we send, or too little of it is quoted.
    fn of(quoted: &Quoted<'_>) -> Option<Self> {
        let packet = match quoted.header.protocol {
            Protocol::ICMP => {
                let (identifier, sequence) = quoted.echo()?;
                Quote::Echo { identifier, sequence }
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
        Header::EchoRequest { .. } => "ICMP echo request",
        Header::EchoReply { .. } => "ICMP echo reply",
        Header::DestinationUnreachable { .. } => "ICMP unreachable",
        Header::SourceQuench => "ICMP source quench",
        Header::Redirect { .. } => "ICMP redirect",
        Header::TimeExceeded { .. } => "ICMP time exceeded",
        Header::ParameterProblem { .. } => "ICMP parameter problem",
        Header::TimestampRequest(_) => "ICMP timestamp request",
        Header::TimestampReply(_) => "ICMP timestamp reply",
        Header::Unknown { .. } => "ICMP",
    }
}
