//! IPv6 and its extension headers.

use alloc::format;
use alloc::string::{String, ToString};
use core::net::Ipv6Addr;

use super::link::padding;
use super::network::{dispatch, ecn, option_length, protocol};
use super::section::Section;
use super::transport::Carrier;
use super::{Layer, Verdict};
use crate::ip::Protocol;
use crate::ipv6::{Extension, Extensions, Fragment, Ipv6Option, OptionsIter, View, option};

pub(super) fn ipv6(section: Section<'_, '_>) {
    let mut section = section.layer(Layer::Ipv6);
    let packet = section.bytes();
    if fields(&mut section).is_none() {
        return;
    }
    let Some(view) = View::new(packet) else { return };
    let stated = usize::from(view.payload_len());
    let carrier = Carrier {
        source: view.source().into(),
        destination: view.destination().into(),
        is_complete: stated <= section.remaining() && !section.is_quoted(),
    };
    section.within(stated, |section| payload(section, view.next_header(), carrier));
    padding(section);
}

fn fields(section: &mut Section<'_, '_>) -> Option<()> {
    let length = section.bytes().len().saturating_sub(crate::ipv6::HEADER_LEN);
    let is_quoted = section.is_quoted();
    section.judged("version", 4, |version| match version {
        6 => ("IPv6".to_string(), Verdict::Plain),
        _ => (format!("{version}, but 6 is expected"), Verdict::Malformed),
    })?;
    section.field("DSCP", 6, |dscp| format!("{dscp}"))?;
    section.field("ECN", 2, ecn)?;
    section.field("flow label", 20, |label| match label {
        0 => "none".to_string(),
        _ => format!("{label:#07x}"),
    })?;
    section.judged("payload length", 16, |stated| {
        if stated <= length as u64 {
            (format!("{stated} bytes"), Verdict::Plain)
        } else if is_quoted {
            (format!("{stated} bytes, of which {length} are quoted"), Verdict::Plain)
        } else {
            (format!("{stated} bytes, but {length} are there"), Verdict::Malformed)
        }
    })?;
    section.field("next header", 8, protocol)?;
    section.field("hop limit", 8, |hops| format!("{hops} hops"))?;
    section.octets("source address", address)?;
    section.octets("destination address", address)?;
    Some(())
}

/// Explains what stands behind the fixed header: extension headers, and the transport.
fn payload(mut section: Section<'_, '_>, next_header: Protocol, mut carrier: Carrier) {
    let mut extensions = Extensions::new(next_header, section.bytes());
    for extension in extensions.by_ref() {
        let Extension { kind, bytes, .. } = extension;
        section = section.layer(Layer::Ipv6Extension);
        section.within(bytes.len(), |section| extension_header(section, kind));
        let Some(fragment) = extension.fragment().filter(|header| !header.is_atomic()) else {
            continue;
        };
        carrier.is_complete = false;
        if fragment.offset > 0 {
            return piece(section, fragment);
        }
    }
    if extensions.is_cut_short() {
        return extension_header(section.layer(Layer::Ipv6Extension), extensions.protocol());
    }
    dispatch(section, extensions.protocol(), &carrier);
}

fn piece(section: Section<'_, '_>, fragment: Fragment) {
    let start = usize::from(fragment.offset);
    section.payload(|bytes| {
        format!("bytes {start} to {} of a fragmented packet", start + bytes.len())
    });
}

/// Explains a header that ends where the section does, or beyond.
fn extension_header(mut section: Section<'_, '_>, kind: Protocol) {
    let complete = match kind {
        Protocol::FRAGMENT => fragment_fields(&mut section),
        Protocol::ROUTING => routing_fields(&mut section),
        Protocol::AUTHENTICATION => authentication_fields(&mut section),
        _ => options_fields(&mut section, kind),
    };
    if complete.is_some() {
        let rest = section.remaining();
        section.run("data", rest, Verdict::Plain, |data| format!("{} bytes", data.len()));
    }
}

/// The two fields that most extension headers begin with; `kind` is this header's.
fn start(section: &mut Section<'_, '_>, kind: Protocol, unit: usize) -> Option<()> {
    let length = section.bytes().len();
    section.field("next header", 8, |number| format!("behind {kind}: {}", protocol(number)))?;
    section.judged("header length", 8, |units| {
        let units = usize::try_from(units).unwrap_or(usize::MAX);
        let stated = if unit == 8 { (units + 1) * 8 } else { (units + 2) * 4 };
        if stated > length {
            (format!("{stated} bytes, but {length} are there"), Verdict::Malformed)
        } else {
            (format!("{stated} bytes"), Verdict::Plain)
        }
    })?;
    Some(())
}

fn fragment_fields(section: &mut Section<'_, '_>) -> Option<()> {
    section.field("next header", 8, |number| format!("behind fragment: {}", protocol(number)))?;
    section.field("reserved", 8, |_| "without meaning".to_string())?;
    section.field("fragment offset", 13, |words| format!("{} bytes", words * 8))?;
    section.field("reserved", 2, |_| "without meaning".to_string())?;
    section.field("M", 1, |set| match set {
        0 => "no more fragments".to_string(),
        _ => "set: more fragments follow".to_string(),
    })?;
    section.field("identification", 32, |id| format!("{id:#010x}"))?;
    Some(())
}

fn routing_fields(section: &mut Section<'_, '_>) -> Option<()> {
    start(section, Protocol::ROUTING, 8)?;
    section.field("routing type", 8, |kind| format!("{kind}"))?;
    section.judged("segments left", 8, |left| match left {
        0 => ("none: the header is passed over".to_string(), Verdict::Plain),
        _ => (format!("{left}: no host routes on"), Verdict::Malformed),
    })?;
    Some(())
}

fn authentication_fields(section: &mut Section<'_, '_>) -> Option<()> {
    start(section, Protocol::AUTHENTICATION, 4)?;
    section.field("reserved", 16, |_| "without meaning".to_string())?;
    section.field("SPI", 32, |spi| format!("{spi:#010x}"))?;
    section.field("sequence number", 32, |number| format!("{number}"))?;
    Some(())
}

fn options_fields(section: &mut Section<'_, '_>, kind: Protocol) -> Option<()> {
    start(section, kind, 8)?;
    let bytes = section.bytes().get(2..).unwrap_or_default();
    let mut iter = OptionsIter::new(bytes);
    let mut end = 0;
    while let Some(item) = iter.next() {
        if let Ipv6Option::BadLength { .. } = item {
            let meaning = format!("{item}: the rest of the options cannot be read");
            section.run("option", bytes.len() - end, Verdict::Malformed, |_| meaning);
            break;
        }
        option(section, &item, iter.position() - end)?;
        end = iter.position();
    }
    Some(())
}

/// Explains one option of `length` bytes.
fn option(section: &mut Section<'_, '_>, option: &Ipv6Option<'_>, length: usize) -> Option<()> {
    section.field("option type", 8, option_type)?;
    if length < 2 {
        return Some(());
    }
    let is_wrong = matches!(option, Ipv6Option::WrongSize { .. });
    section.judged("option length", 8, |length| option_length(length, is_wrong))?;
    if let Ipv6Option::RouterAlert(_) = option {
        section.field("router alert", 16, |value| match value {
            0 => "0: multicast listener discovery".to_string(),
            _ => format!("{value}"),
        })?;
    } else {
        section
            .run("option data", length - 2, Verdict::Plain, |data| format!("{} bytes", data.len()));
    }
    Some(())
}

fn option_type(number: u64) -> String {
    let unknown = match number >> 6 {
        0 => "unknown: skipped",
        1 => "unknown: the packet is discarded",
        2 => "unknown: the packet is discarded, the sender told",
        _ => "unknown: the packet is discarded, the sender told unless it was for a group",
    };
    let name = match u8::try_from(number).unwrap_or(u8::MAX) {
        option::PAD1 => "one byte of padding",
        option::PADN => "padding",
        option::ROUTER_ALERT => "router alert",
        _ => unknown,
    };
    format!("{number:#04x}: {name}")
}

pub(super) fn address(octets: [u8; 16]) -> String {
    Ipv6Addr::from(octets).to_string()
}
