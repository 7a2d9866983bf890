//! Neighbour discovery: asking for hardware addresses, answering, and learning from what passes
//! (RFC 4861 7). What routers say is the affair of `router` and `redirect`.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::{FrameBuf, TransmitMeta};
use wire::icmpv6;
use wire::ip::Protocol;
use wire::ipv6;
use wire::ndp::{self, Header, NdpOption, Options};

use crate::icmp::Reply;
use crate::ip::addresses::AddressState;
use crate::ip::interfaces::Interfaces;
use crate::ip::neighbor::Advertised;
use crate::ip::output::LinkHeader;
use crate::ip::{Incoming, InterfaceId};
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::stack::Stack;
use crate::trace::What;
use crate::transmit::{Body, HeaderBuf, Packet};

/// A message for a group on a link, on its way there.
#[derive(Debug)]
pub(crate) struct Message {
    pub(super) interface: InterfaceId,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) hop_limit: u8,
    /// Routers are to look at it (RFC 2711).
    pub(super) router_alert: bool,
    /// The ICMPv6 message with its checksum.
    pub(super) bytes: Vec<u8>,
    /// Its name in the trace.
    pub(super) kind: &'static str,
    pub(super) reason: Sent,
}

impl Stack {
    /// A message of neighbour discovery came. One that is only `overheard` came to another shard,
    /// which answers it.
    pub(crate) fn discovery_arrives(
        &mut self,
        packet: &Incoming,
        overheard: bool,
    ) -> Result<(), Dropped> {
        let received = &packet.received;
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (received.source, received.destination)
        else {
            return Err(Dropped::MalformedNdp);
        };
        let interface = received.interface;
        let ours = self.interfaces.ethernet_address(interface).ok_or(Dropped::IcmpIgnored)?;
        let ip = ipv6::Header {
            source,
            destination,
            next_header: Protocol::ICMPV6,
            hop_limit: received.ttl,
            traffic_class: received.traffic_class,
            flow_label: 0,
            payload_len: 0,
        };
        let (header, options) =
            Header::parse(&ip, &received.frame).map_err(|_| Dropped::MalformedNdp)?;
        let (interfaces, shared) = (&mut self.interfaces, &self.shared);
        match header {
            Header::NeighborSolicitation { target } => {
                let key = (interface, source, target);
                let answer = interfaces.solicited(shared, key, ours, &options)?;
                if !overheard {
                    self.icmp.push(&mut self.shared, answer);
                }
                Ok(())
            }
            Header::NeighborAdvertisement { target, is_router, is_solicited, is_override } => {
                let said = Advertised {
                    hardware: target_address(&options).filter(|address| *address != ours),
                    solicited: is_solicited,
                    replaces: is_override,
                };
                interfaces.advertised(shared, interface, target, is_router, said)
            }
            Header::RouterAdvertisement(router) => {
                interfaces.router_advertised(shared, interface, source, &router, &options)
            }
            Header::Redirect { target, destination } => {
                let by = (interface, source.into());
                interfaces.redirected(shared, by, destination.into(), target.into())?;
                // RFC 4861 8.3: the address of the new hop, if the router knows it.
                if let Some(hardware) = target_address(&options) {
                    interfaces.neighbors.hear(shared, (interface, target.into()), hardware, true);
                }
                Ok(())
            }
            // Only routers act on it.
            Header::RouterSolicitation => Err(Dropped::IcmpIgnored),
        }
    }
}

impl Interfaces {
    /// RFC 4861 7.2.3: somebody asks who has `target`. The answer, if it is us.
    fn solicited(
        &mut self,
        shared: &Shared,
        (interface, source, target): (InterfaceId, Ipv6Addr, Ipv6Addr),
        ours: EthernetAddress,
        options: &Options<'_>,
    ) -> Result<Reply, Dropped> {
        let own = self.assigned(interface).find(|own| own.address == IpAddr::V6(target));
        let own = own.ok_or(Dropped::NdpNotForUs)?;
        if own.state == AddressState::Tentative {
            // RFC 4862 5.4.3: somebody else is about to take the address, unless we hear ourselves
            // (RFC 7527 4.2).
            if source.is_unspecified() && !self.autoconf.is_our_probe(options) {
                self.duplicate_found(shared, interface, target);
            }
            return Err(Dropped::NdpTentative);
        }
        if let Some(hardware) = source_address(options) {
            let near = source.is_unicast_link_local() || self.is_neighbor(interface, source.into());
            self.neighbors.hear(shared, (interface, source.into()), hardware, near);
        }
        // RFC 4861 7.2.4: who has no address yet hears it with all others.
        let anonymous = source.is_unspecified();
        let destination = if anonymous { ipv6::group::ALL_NODES } else { source };
        let header = Header::NeighborAdvertisement {
            target,
            is_router: false,
            is_solicited: !anonymous,
            is_override: true,
        };
        let option = NdpOption::TargetLinkLayer(ours);
        let bytes = message(header, Some(option), target, destination);
        Ok(Reply {
            source: target.into(),
            destination: destination.into(),
            traffic_class: 0,
            ttl: Some(ndp::HOP_LIMIT),
            options: wire::ipv4::Options::NONE,
            message: FrameBuf::from(bytes),
            kind: "ICMPv6 neighbour advertisement",
            reason: Sent::NeighborAdvertisement,
        })
    }

    /// RFC 4861 7.2.5: somebody says that it has `target`.
    fn advertised(
        &mut self,
        shared: &Shared,
        interface: InterfaceId,
        target: Ipv6Addr,
        is_router: bool,
        said: Advertised,
    ) -> Result<(), Dropped> {
        let own = self.assigned(interface).find(|own| own.address == IpAddr::V6(target));
        if let Some(own) = own {
            // RFC 4862 5.4.4.
            if own.state == AddressState::Tentative {
                self.duplicate_found(shared, interface, target);
            }
            return Err(Dropped::NdpConflict);
        }
        if !self.neighbors.advertised(shared, (interface, target.into()), said) {
            return Err(Dropped::NdpNotForUs);
        }
        if is_router {
            self.router_answers(interface, target);
        } else {
            self.router_left(interface, target);
        }
        Ok(())
    }

    /// The question who has `target`, to its group or to the station that is believed to have it; from the
    /// address that the packet which waits for it comes `from`, where that is ours on this link (RFC 4861
    /// 7.2.2).
    pub(super) fn solicitation(
        &self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
        (interface, target): (InterfaceId, Ipv6Addr),
        (to, from): (Option<EthernetAddress>, Option<IpAddr>),
    ) -> Option<Packet> {
        let ours = self.ethernet_address(interface)?;
        let of_packet = from.filter(|from| self.has_address(interface, *from));
        let source = of_packet.or_else(|| self.source_on(interface, target.into()));
        let Some(IpAddr::V6(source)) = source else { return None };
        let destination = if to.is_some() { target } else { ipv6::solicited_node(target) };
        let question = Header::NeighborSolicitation { target };
        let option = NdpOption::SourceLinkLayer(ours);
        let message = Message {
            interface,
            source,
            destination,
            hop_limit: ndp::HOP_LIMIT,
            router_alert: false,
            bytes: message(question, Some(option), source, destination),
            kind: "ICMPv6 neighbour solicitation",
            reason: Sent::NeighborSolicitation,
        };
        Some(self.emit(shared, header, message, to))
    }

    /// The next message for a group.
    pub(super) fn next_discovery(
        &mut self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        let message = self.discovery.pop_front()?;
        Some(self.emit(shared, header, message, None))
    }

    fn emit(
        &self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
        message: Message,
        to: Option<EthernetAddress>,
    ) -> Packet {
        let Message { interface, source, destination, bytes, kind, reason, .. } = message;
        let link = match self.ethernet_address(interface) {
            Some(source) => LinkHeader::Ethernet {
                source,
                destination: to.unwrap_or(EthernetAddress::of_ipv6_group(destination)),
            },
            None => LinkHeader::None,
        };
        let alert = ipv6::router_alert_header(
            Protocol::ICMPV6,
            ipv6::router_alert::MULTICAST_LISTENER_DISCOVERY,
        );
        let (next_header, extension) = match message.router_alert {
            true => (Protocol::HOP_BY_HOP, &alert[..]),
            false => (Protocol::ICMPV6, &[][..]),
        };
        let ip = ipv6::Header {
            source,
            destination,
            next_header,
            hop_limit: message.hop_limit,
            traffic_class: 0,
            flow_label: 0,
            payload_len: u16::try_from(extension.len() + bytes.len()).unwrap_or(u16::MAX),
        };
        let mut end = link.emit(&mut header.0, EtherType::IPV6);
        end += ip.emit(&mut header.0[end..]);
        header.0[end..end + extension.len()].copy_from_slice(extension);
        end += extension.len();
        shared.counters.count_sent(reason);
        let (source, destination) = (source.into(), destination.into());
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        shared.trace(None, What::PacketOut { kind, source, destination, length, reason });
        let meta = TransmitMeta { comment: reason.comment(), ..TransmitMeta::default() };
        let body = Body::Frame(FrameBuf::from(bytes));
        Packet { interface, header_len: end, body, meta }
    }
}

/// A message with at most one option and its checksum.
pub(super) fn message(
    header: Header,
    option: Option<NdpOption<'_>>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Vec<u8> {
    let fixed = header.encoded_len();
    let mut bytes = alloc::vec![0; fixed + option.map_or(0, |option| option.encoded_len())];
    header.emit(&mut bytes);
    if let Some(option) = option {
        option.emit(&mut bytes[fixed..]);
    }
    icmpv6::fill_checksum(source, destination, &mut bytes);
    bytes
}

/// The hardware address that the sender says it has.
pub(super) fn source_address(options: &Options<'_>) -> Option<EthernetAddress> {
    let address = options.iter().find_map(|option| match option {
        NdpOption::SourceLinkLayer(address) => Some(address),
        _ => None,
    });
    address.filter(|address| address.is_unicast())
}

fn target_address(options: &Options<'_>) -> Option<EthernetAddress> {
    let address = options.iter().find_map(|option| match option {
        NdpOption::TargetLinkLayer(address) => Some(address),
        _ => None,
    });
    address.filter(|address| address.is_unicast())
}
