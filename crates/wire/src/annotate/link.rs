//! Ethernet and ARP.

use alloc::format;
use alloc::string::{String, ToString};

use super::section::{Section, describe};
use super::{Layer, Verdict, ipv6, network};
use crate::arp;
use crate::ethernet::{EtherType, EthernetAddress};

pub(super) fn ethernet(section: Section<'_, '_>) {
    let mut section = section.layer(Layer::Ethernet);
    let Some(ethertype) = ethernet_fields(&mut section) else { return };
    match ethertype {
        EtherType::IPV4 => network::ipv4(section),
        EtherType::IPV6 => ipv6::ipv6(section),
        EtherType::ARP => arp(section),
        _ => section.payload(describe),
    }
}

fn ethernet_fields(section: &mut Section<'_, '_>) -> Option<EtherType> {
    section.field("destination", 48, hardware)?;
    section.field("source", 48, hardware)?;
    let mut carried = type_field(section)?;
    while matches!(carried, EtherType::VLAN | EtherType::SERVICE_VLAN) {
        section.field("priority", 3, |priority| format!("{priority}"))?;
        section.field("DEI", 1, |set| match set {
            0 => "not set".to_string(),
            _ => "set: may be dropped before others".to_string(),
        })?;
        section.field("VLAN", 12, |vlan| match vlan {
            0 => "none: the tag is for its priority only".to_string(),
            _ => format!("{vlan}"),
        })?;
        carried = type_field(section)?;
    }
    Some(carried)
}

/// Explains the type of what follows; of a frame, or of what is behind a VLAN tag.
fn type_field(section: &mut Section<'_, '_>) -> Option<EtherType> {
    let number = section.judged("type", 16, |number| {
        if number < 0x0600 {
            return (format!("a length of {number}: not Ethernet II"), Verdict::Malformed);
        }
        (ethertype(number).to_string(), Verdict::Plain)
    })?;
    Some(ethertype(number))
}

fn arp(section: Section<'_, '_>) {
    let mut section = section.layer(Layer::Arp);
    if arp_fields(&mut section).is_some() {
        padding(section);
    }
}

fn arp_fields(section: &mut Section<'_, '_>) -> Option<()> {
    section.judged("hardware type", 16, |kind| match kind {
        1 => ("Ethernet".to_string(), Verdict::Plain),
        _ => (format!("hardware {kind}, not Ethernet (1)"), Verdict::Malformed),
    })?;
    section.judged("protocol type", 16, |number| match ethertype(number) {
        EtherType::IPV4 => (EtherType::IPV4.to_string(), Verdict::Plain),
        other => (format!("{other}, not IPv4 (0x0800)"), Verdict::Malformed),
    })?;
    section.judged("hardware address length", 8, |length| expect_length(length, 6))?;
    section.judged("protocol address length", 8, |length| expect_length(length, 4))?;
    section.field("operation", 16, |operation| {
        match arp::Operation(u16::try_from(operation).unwrap_or(u16::MAX)) {
            arp::Operation::REQUEST => {
                "request: who has the target's protocol address?".to_string()
            }
            arp::Operation::REPLY => "reply: the sender has it".to_string(),
            other => other.to_string(),
        }
    })?;
    section.field("sender hardware address", 48, hardware)?;
    section.field("sender protocol address", 32, network::address)?;
    section.field("target hardware address", 48, hardware)?;
    section.field("target protocol address", 32, network::address)?;
    Some(())
}

/// Explains what stands behind a packet: padding to the shortest frame, or trailing bytes.
pub(super) fn padding(section: Section<'_, '_>) {
    let count = section.remaining();
    let mut section = section.layer(Layer::Payload);
    section.run("trailer", count, Verdict::Plain, |bytes| {
        if bytes.iter().all(|&byte| byte == 0) {
            format!("{} bytes of zeros behind the packet: padding", bytes.len())
        } else {
            format!("{} bytes behind the packet, not part of it", bytes.len())
        }
    });
}

fn expect_length(length: u64, right: u64) -> (String, Verdict) {
    if length == right {
        (format!("{length} bytes"), Verdict::Plain)
    } else {
        (format!("{length} bytes, but such addresses have {right}"), Verdict::Malformed)
    }
}

fn ethertype(number: u64) -> EtherType {
    EtherType(u16::try_from(number).unwrap_or(u16::MAX))
}

pub(super) fn hardware(number: u64) -> String {
    let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
    let address = EthernetAddress([a, b, c, d, e, f]);
    if address.is_broadcast() {
        format!("{address} (every station)")
    } else if address.is_multicast() {
        format!("{address} (a group)")
    } else {
        address.to_string()
    }
}
