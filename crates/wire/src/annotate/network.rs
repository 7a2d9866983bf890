//! IPv4 and its options.

use alloc::format;
use alloc::string::{String, ToString};
use core::net::Ipv4Addr;

use super::link::padding;
use super::section::{Section, describe};
use super::transport::{self, Carrier};
use super::{Layer, Verdict, groups, icmp, icmpv6, ipv6};
use crate::checksum;
use crate::ip::{self, Ecn, Protocol};
use crate::ipv4::{Ipv4Option, MIN_HEADER_LEN, OptionsIter, Route, View, kind};

/// Explains a packet of either family; one that is of neither is explained as IPv4.
pub(super) fn ip(section: Section<'_, '_>) {
    let section = section.layer(Layer::Payload);
    match ip::version(section.bytes()) {
        Some(6) => ipv6::ipv6(section),
        _ => ipv4(section),
    }
}

pub(super) fn ipv4(section: Section<'_, '_>) {
    let mut section = section.layer(Layer::Ipv4);
    let packet = section.bytes();
    if fields(&mut section).is_none() {
        return;
    }
    let Some(view) = View::new(packet) else { return };
    options(&mut section, view.option_bytes());

    let header_len = section.next_byte();
    let total_len = usize::from(view.total_len());
    // A length that cannot be ends nothing: what is there is explained.
    let stated = if total_len < header_len { packet.len() } else { total_len } - header_len;
    let carrier = Carrier {
        source: view.source().into(),
        destination: view.destination().into(),
        is_complete: stated <= section.remaining()
            && !view.more_fragments()
            && !section.is_quoted(),
    };
    section.within(stated, |section| {
        if view.fragment_offset() > 0 {
            let offset = view.fragment_offset();
            section.payload(|bytes| {
                format!(
                    "bytes {offset} to {} of a fragmented packet",
                    usize::from(offset) + bytes.len()
                )
            });
            return;
        }
        dispatch(section, view.protocol(), &carrier);
    });
    padding(section);
}

/// Explains what a packet of either family carries.
pub(super) fn dispatch(section: Section<'_, '_>, protocol: Protocol, carrier: &Carrier) {
    match (protocol, carrier.source.is_ipv4()) {
        (Protocol::ICMP, true) => icmp::icmpv4(section, carrier),
        (Protocol::IGMP, true) => groups::igmp(section, carrier),
        (Protocol::ICMPV6, false) => icmpv6::icmpv6(section, carrier),
        (Protocol::UDP, _) => transport::udp(section, carrier),
        (Protocol::TCP, _) => transport::tcp(section, carrier),
        _ => section.payload(describe),
    }
}

fn fields(section: &mut Section<'_, '_>) -> Option<()> {
    let packet = section.bytes();
    section.judged("version", 4, |version| match version {
        4 => ("IPv4".to_string(), Verdict::Plain),
        _ => (format!("{version}, but 4 is expected"), Verdict::Malformed),
    })?;
    section.judged("header length", 4, |words| header_length(words, packet.len()))?;
    section.field("DSCP", 6, |dscp| match dscp {
        0 => "0: default service".to_string(),
        46 => "46: expedited forwarding".to_string(),
        _ => format!("{dscp}"),
    })?;
    section.field("ECN", 2, ecn)?;
    let is_quoted = section.is_quoted();
    section.judged("total length", 16, |stated| total_length(stated, packet, is_quoted))?;
    section.field("identification", 16, |id| format!("{id}"))?;
    section.judged("reserved flag", 1, |set| match set {
        0 => ("zero, as it must be".to_string(), Verdict::Plain),
        _ => ("set, but it must be zero".to_string(), Verdict::Malformed),
    })?;
    section.field("DF", 1, |set| match set {
        0 => "routers may fragment".to_string(),
        _ => "set: don't fragment".to_string(),
    })?;
    section.field("MF", 1, |set| match set {
        0 => "no more fragments".to_string(),
        _ => "set: more fragments follow".to_string(),
    })?;
    section.field("fragment offset", 13, |words| format!("{} bytes", words * 8))?;
    section.field("time to live", 8, |hops| format!("{hops} hops"))?;
    section.field("protocol", 8, protocol)?;
    section.judged("header checksum", 16, |_| header_checksum(packet))?;
    section.field("source address", 32, address)?;
    section.field("destination address", 32, address)?;
    Some(())
}

fn header_length(words: u64, length: usize) -> (String, Verdict) {
    let bytes = usize::try_from(words * 4).unwrap_or(usize::MAX);
    let meaning = format!("{words} words, {bytes} bytes");
    if words < 5 {
        (format!("{meaning}, but the shortest header has 5 words"), Verdict::Malformed)
    } else if bytes > length {
        (format!("{meaning}, but the packet has {length}"), Verdict::Malformed)
    } else {
        (meaning, Verdict::Plain)
    }
}

fn total_length(stated: u64, packet: &[u8], is_quoted: bool) -> (String, Verdict) {
    let header_len = View::new(packet).map_or(MIN_HEADER_LEN, |view| view.header().len());
    let bytes = usize::try_from(stated).unwrap_or(usize::MAX);
    if bytes < header_len {
        (format!("{stated} bytes, less than the header"), Verdict::Malformed)
    } else if bytes > packet.len() && is_quoted {
        (format!("{stated} bytes, of which {} are quoted", packet.len()), Verdict::Plain)
    } else if bytes > packet.len() {
        (format!("{stated} bytes, but {} are there", packet.len()), Verdict::Malformed)
    } else {
        (format!("{stated} bytes"), Verdict::Plain)
    }
}

/// The number of a protocol, and its name if it has one.
pub(super) fn protocol(number: u64) -> String {
    let protocol = Protocol(u8::try_from(number).unwrap_or(u8::MAX));
    protocol.name().map_or_else(|| format!("{number}"), |name| format!("{number}: {name}"))
}

pub(super) fn ecn(bits: u64) -> String {
    let ecn = Ecn::from_traffic_class(u8::try_from(bits).unwrap_or(0));
    let meaning = match ecn {
        Ecn::NotCapable => "the sender does not take part",
        Ecn::Capable0 | Ecn::Capable1 => "the sender takes part",
        Ecn::CongestionExperienced => "congestion experienced",
    };
    format!("{ecn}: {meaning}")
}

fn header_checksum(packet: &[u8]) -> (String, Verdict) {
    let Some(view) = View::new(packet) else {
        return ("cannot be checked: the header is cut short".to_string(), Verdict::Plain);
    };
    let header = view.header();
    if header.len() < view.header_len() {
        return ("cannot be checked: the header is cut short".to_string(), Verdict::Plain);
    }
    if view.is_checksum_valid() {
        return ("right".to_string(), Verdict::Right);
    }
    let expected = checksum::sum_slices([&header[..10], &header[12..]]).finish();
    (format!("wrong: it should be {expected:#06x}"), Verdict::Wrong)
}

fn options(section: &mut Section<'_, '_>, bytes: &[u8]) {
    let mut iter = OptionsIter::new(bytes);
    let mut end = 0;
    let mut bad = None;
    while let Some(item) = iter.next() {
        if let Ipv4Option::BadLength { .. } = item {
            bad = Some(format!("{item}: the rest of the options cannot be read"));
            break;
        }
        let length = iter.position() - end;
        if option(section, &item, length).is_none() {
            return;
        }
        end = iter.position();
    }
    let rest = bytes.len() - end;
    match bad {
        Some(meaning) => section.run("option", rest, Verdict::Malformed, |_| meaning),
        None => section.run("padding", rest, Verdict::Plain, padding_meaning),
    }
}

/// Explains one option of `length` bytes.
fn option(section: &mut Section<'_, '_>, option: &Ipv4Option<'_>, length: usize) -> Option<()> {
    section.field("option kind", 8, |number| format!("{number}: {}", kind_name(number)))?;
    if length < 2 {
        return Some(());
    }
    let is_wrong = matches!(option, Ipv4Option::WrongSize { .. });
    section.judged("option length", 8, |length| option_length(length, is_wrong))?;
    match *option {
        Ipv4Option::RecordRoute(route)
        | Ipv4Option::LooseSourceRoute(route)
        | Ipv4Option::StrictSourceRoute(route) => route_fields(section, route),
        Ipv4Option::Timestamp { flag, data, .. } => timestamp_fields(section, flag, data.len()),
        Ipv4Option::RouterAlert(_) => {
            section.field("router alert", 16, |value| format!("{value}")).map(drop)
        }
        _ => {
            section.run("option data", length - 2, Verdict::Plain, |data| {
                format!("{} bytes", data.len())
            });
            Some(())
        }
    }
}

/// Explains the length of an option that can be read, though it may be wrong for its kind.
pub(super) fn option_length(length: u64, is_wrong: bool) -> (String, Verdict) {
    if is_wrong {
        (format!("{length} bytes, which this option cannot have"), Verdict::Malformed)
    } else {
        (format!("{length} bytes"), Verdict::Plain)
    }
}

fn kind_name(number: u64) -> &'static str {
    match u8::try_from(number).unwrap_or(u8::MAX) {
        kind::END_OF_LIST => "end of the list",
        kind::NO_OP => "no operation",
        kind::RECORD_ROUTE => "record route",
        kind::TIMESTAMP => "timestamp",
        kind::LOOSE_SOURCE_ROUTE => "loose source route",
        kind::STRICT_SOURCE_ROUTE => "strict source route",
        kind::ROUTER_ALERT => "router alert",
        _ => "unknown",
    }
}

fn route_fields(section: &mut Section<'_, '_>, route: Route<'_>) -> Option<()> {
    section.field("pointer", 8, |pointer| format!("the next address is at byte {pointer}"))?;
    for _ in route.addresses() {
        section.field("route address", 32, address)?;
    }
    Some(())
}

fn timestamp_fields(section: &mut Section<'_, '_>, flag: u8, length: usize) -> Option<()> {
    section.field("pointer", 8, |pointer| format!("the next entry is at byte {pointer}"))?;
    section.field("overflow", 4, |count| format!("{count} routers found no room"))?;
    section.field("flag", 4, |flag| match flag {
        0 => "0: times only".to_string(),
        1 => "1: addresses and times".to_string(),
        3 => "3: times of the given addresses".to_string(),
        _ => format!("{flag}: unknown"),
    })?;
    for index in 0..length / 4 {
        if flag != 0 && index % 2 == 0 {
            section.field("router address", 32, address)?;
        } else {
            section.field("router time", 32, |time| format!("{time} ms since midnight UT"))?;
        }
    }
    Some(())
}

pub(super) fn padding_meaning(bytes: &[u8]) -> String {
    if bytes.iter().all(|&byte| byte == 0) {
        format!("{} bytes of zeros", bytes.len())
    } else {
        format!("{} bytes that should be zeros", bytes.len())
    }
}

pub(super) fn address(number: u64) -> String {
    Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).to_string()
}
