//! ARP: asking for hardware addresses, answering, and learning from what passes (RFC 826).

use core::net::{IpAddr, Ipv4Addr};

use wire::arp::{self, Operation};
use wire::ethernet::{EtherType, EthernetAddress};
use wire::frame::TransmitMeta;

use crate::ip::InterfaceId;
use crate::ip::interfaces::Interfaces;
use crate::ip::output::LinkHeader;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::trace::What;
use crate::transmit::{Body, HeaderBuf, Packet};

/// An answer to a request, or a question of ours about an address of ours, on its way to the link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArpReply {
    pub(super) interface: InterfaceId,
    pub(super) packet: arp::Packet,
}

impl Interfaces {
    /// An ARP packet came from `interface`: RFC 826, "Packet Reception", in its order.
    pub(crate) fn arp_arrives(
        &mut self,
        shared: &mut Shared,
        interface: InterfaceId,
        ours: EthernetAddress,
        bytes: &[u8],
    ) {
        let Ok(packet) = arp::Packet::parse(bytes) else {
            return shared.drop_packet(None, Dropped::MalformedArp);
        };
        trace_arrival(shared, &packet);
        if !self.probed.is_empty() {
            self.note_probed(interface, &packet);
        }
        if let Some(reason) = self.objection_to(&packet, interface, ours) {
            if reason == Dropped::ArpConflict {
                self.address_claimed(shared, interface, ours, &packet, true);
            }
            return shared.drop_packet(None, reason);
        }
        let for_us = self.has_address(interface, packet.target_protocol.into());
        let known = self.learn_from(shared, interface, &packet);
        if !for_us {
            if !known {
                shared.drop_packet(None, Dropped::ArpNotForUs);
            }
        } else if packet.operation == Operation::REQUEST {
            self.queue_arp_reply(shared, interface, ours, &packet);
        }
    }

    /// Another shard received an ARP packet, and answers it where it asks: there is only something to
    /// learn from it, of others and of who has our addresses.
    pub(crate) fn arp_overheard(
        &mut self,
        shared: &mut Shared,
        interface: InterfaceId,
        ours: EthernetAddress,
        frame: &[u8],
    ) {
        let packet =
            wire::ethernet::View::new(frame).map(|view| arp::Packet::parse(view.payload()));
        // What is wrong with it was counted where it came.
        let Some(Ok(packet)) = packet else { return };
        if !self.probed.is_empty() {
            self.note_probed(interface, &packet);
        }
        match self.objection_to(&packet, interface, ours) {
            None => drop(self.learn_from(shared, interface, &packet)),
            Some(Dropped::ArpConflict) => {
                self.address_claimed(shared, interface, ours, &packet, false);
            }
            Some(_) => {}
        }
    }

    /// What is wrong with an ARP packet, whatever it asks.
    fn objection_to(
        &self,
        packet: &arp::Packet,
        interface: InterfaceId,
        ours: EthernetAddress,
    ) -> Option<Dropped> {
        let sender = packet.sender_protocol;
        if !packet.sender_hardware.is_unicast() || sender.is_multicast() {
            return Some(Dropped::MalformedArp);
        }
        if !matches!(packet.operation, Operation::REQUEST | Operation::REPLY) {
            return Some(Dropped::MalformedArp);
        }
        if self.is_broadcast_on(interface, sender) || sender.is_loopback() {
            return Some(Dropped::MalformedArp);
        }
        let ours_claimed =
            self.has_address(interface, sender.into()) || packet.sender_hardware == ours;
        ours_claimed.then_some(Dropped::ArpConflict)
    }

    /// RFC 826: updates what is known of the sender, and adds it when it speaks to us. Gives back
    /// whether it is known now.
    fn learn_from(
        &mut self,
        shared: &mut Shared,
        interface: InterfaceId,
        packet: &arp::Packet,
    ) -> bool {
        let sender = packet.sender_protocol;
        let for_us = self.has_address(interface, packet.target_protocol.into());
        let remember = for_us && self.is_neighbor(interface, sender.into());
        // A probe has no sender address (RFC 5227 2.1.1): there is nothing to learn from it.
        !sender.is_unspecified()
            && self.neighbors.learn(
                shared,
                (interface, sender.into()),
                packet.sender_hardware,
                remember,
            )
    }

    fn queue_arp_reply(
        &mut self,
        shared: &mut Shared,
        interface: InterfaceId,
        ours: EthernetAddress,
        request: &arp::Packet,
    ) {
        if self.arp_replies.len() >= shared.config.reply_limit {
            return shared.drop_packet(None, Dropped::ReplyQueueFull);
        }
        let packet = arp::Packet {
            operation: Operation::REPLY,
            sender_hardware: ours,
            sender_protocol: request.target_protocol,
            target_hardware: request.sender_hardware,
            target_protocol: request.sender_protocol,
        };
        self.arp_replies.push_back(ArpReply { interface, packet });
    }

    /// The next answer to an ARP question.
    pub(super) fn next_arp_reply(
        &mut self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
    ) -> Option<Packet> {
        let ArpReply { interface, packet } = self.arp_replies.pop_front()?;
        let (to, reason) = match packet.operation {
            Operation::REQUEST if packet.sender_protocol.is_unspecified() => {
                (EthernetAddress::BROADCAST, Sent::ArpProbe)
            }
            Operation::REQUEST => (EthernetAddress::BROADCAST, Sent::ArpAnnouncement),
            _ => (packet.target_hardware, Sent::ArpReply),
        };
        Some(emit(shared, header, interface, to, &packet, reason))
    }

    /// The question who has `target`, which goes to everybody or `to` one station.
    pub(super) fn arp_question(
        &self,
        shared: &mut Shared,
        header: &mut HeaderBuf,
        (interface, target): (InterfaceId, Ipv4Addr),
        to: Option<EthernetAddress>,
    ) -> Option<Packet> {
        let packet = arp::Packet {
            operation: Operation::REQUEST,
            sender_hardware: self.ethernet_address(interface)?,
            sender_protocol: self.address_near(interface, target)?,
            target_hardware: EthernetAddress::UNSPECIFIED,
            target_protocol: target,
        };
        let to = to.unwrap_or(EthernetAddress::BROADCAST);
        Some(emit(shared, header, interface, to, &packet, Sent::ArpRequest))
    }

    /// The address that a question about `target` comes from.
    fn address_near(&self, interface: InterfaceId, target: Ipv4Addr) -> Option<Ipv4Addr> {
        match self.source_for(interface, target.into(), target.into()) {
            Some(IpAddr::V4(source)) => Some(source),
            _ => None,
        }
    }
}

fn emit(
    shared: &mut Shared,
    header: &mut HeaderBuf,
    interface: InterfaceId,
    destination: EthernetAddress,
    packet: &arp::Packet,
    reason: Sent,
) -> Packet {
    let link = LinkHeader::Ethernet { source: packet.sender_hardware, destination };
    let start = link.emit(&mut header.0, EtherType::ARP);
    let header_len = start + packet.emit(&mut header.0[start..]);
    shared.counters.count_sent(reason);
    let kind = kind_of(packet.operation);
    let (source, destination) = addresses(packet);
    shared.trace(None, What::PacketOut { kind, source, destination, length: 0, reason });
    let meta = TransmitMeta { comment: reason.comment(), ..TransmitMeta::default() };
    Packet { interface, header_len, body: Body::Empty, meta }
}

fn trace_arrival(shared: &mut Shared, packet: &arp::Packet) {
    let (source, destination) = addresses(packet);
    let kind = kind_of(packet.operation);
    shared.trace(None, What::PacketIn { kind, source, destination, length: 0 });
}

fn addresses(packet: &arp::Packet) -> (IpAddr, IpAddr) {
    (IpAddr::V4(packet.sender_protocol), IpAddr::V4(packet.target_protocol))
}

fn kind_of(operation: Operation) -> &'static str {
    match operation {
        Operation::REQUEST => "ARP who-has",
        Operation::REPLY => "ARP is-at",
        _ => "ARP",
    }
}
