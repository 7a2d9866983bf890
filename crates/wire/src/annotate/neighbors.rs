//! Neighbour discovery and its options, behind the checksum.

use alloc::format;
use alloc::string::{String, ToString};

use super::ipv6::address;
use super::link::hardware;
use super::section::Section;
use super::{Verdict, network};
use crate::domain::Names;
use crate::icmpv6::kind;
use crate::ndp::{INFINITE, NdpOption, Options, option};

/// Explains a message of type `kind`. Its options are the last thing in it.
pub(super) fn fields(section: &mut Section<'_, '_>, kind: u8) -> Option<()> {
    match kind {
        kind::ROUTER_ADVERTISEMENT => router(section)?,
        kind::NEIGHBOR_ADVERTISEMENT => {
            flag(section, "R", "the sender is a router")?;
            flag(section, "S", "it was solicited")?;
            flag(section, "O", "it replaces a link-layer address")?;
            section.field("reserved", 29, |_| "without meaning".to_string())?;
        }
        _ => {
            section.field("reserved", 32, |_| "without meaning".to_string())?;
        }
    }
    if matches!(kind, kind::NEIGHBOR_SOLICITATION | kind::NEIGHBOR_ADVERTISEMENT | kind::REDIRECT) {
        section.octets("target address", address)?;
    }
    if kind == kind::REDIRECT {
        section.octets("destination address", address)?;
    }
    options(section)
}

fn router(section: &mut Section<'_, '_>) -> Option<()> {
    section.field("hop limit", 8, |hops| match hops {
        0 => "not said".to_string(),
        _ => format!("{hops} hops"),
    })?;
    flag(section, "M", "addresses are to be had by DHCPv6")?;
    flag(section, "O", "other things are to be had by DHCPv6")?;
    flag(section, "H", "home agent")?;
    section.field("preference", 2, |bits| match bits {
        1 => "high".to_string(),
        3 => "low".to_string(),
        _ => "medium".to_string(),
    })?;
    section.field("reserved", 3, |_| "without meaning".to_string())?;
    section.field("router lifetime", 16, |time| match time {
        0 => "no default router".to_string(),
        _ => format!("{time} s"),
    })?;
    for name in ["reachable time", "retransmission time"] {
        section.field(name, 32, |time| match time {
            0 => "not said".to_string(),
            _ => format!("{time} ms"),
        })?;
    }
    Some(())
}

fn flag(section: &mut Section<'_, '_>, name: &'static str, meaning: &str) -> Option<()> {
    section.field(name, 1, |set| match set {
        0 => "not set".to_string(),
        _ => format!("set: {meaning}"),
    })?;
    Some(())
}

fn options(section: &mut Section<'_, '_>) -> Option<()> {
    while section.remaining() > 0 {
        let rest = &section.bytes()[section.next_byte()..];
        let units = rest.get(1).copied().map_or(0, usize::from);
        let Some(one) = rest.get(..units * 8).filter(|one| !one.is_empty()) else {
            let meaning = format!("{} bytes whose length is zero or beyond the end", rest.len());
            section.run("option", rest.len(), Verdict::Malformed, |_| meaning);
            return None;
        };
        let option = Options::new(one).ok().and_then(|options| options.iter().next());
        section.field("option type", 8, |kind| format!("{kind}: {}", kind_name(kind)))?;
        section.field("option length", 8, |units| format!("{} bytes", units * 8))?;
        let end = section.next_byte() - 2 + one.len();
        if let Some(option) = option {
            value(section, &option)?;
        }
        let left = end - section.next_byte();
        section.run("option data", left, Verdict::Plain, |data| format!("{} bytes", data.len()));
    }
    Some(())
}

/// Explains what stands in an option of a right length, but for padding.
fn value(section: &mut Section<'_, '_>, option: &NdpOption<'_>) -> Option<()> {
    match *option {
        NdpOption::SourceLinkLayer(_) | NdpOption::TargetLinkLayer(_) => {
            section.field("link-layer address", 48, hardware)?;
        }
        NdpOption::Prefix(_) => {
            section.field("prefix length", 8, |length| format!("{length} bits"))?;
            flag(section, "L", "the prefix is on the link")?;
            flag(section, "A", "hosts make addresses of it")?;
            section.field("reserved", 6, |_| "without meaning".to_string())?;
            section.field("valid lifetime", 32, lifetime)?;
            section.field("preferred lifetime", 32, lifetime)?;
            section.field("reserved", 32, |_| "without meaning".to_string())?;
            section.octets("prefix", address)?;
        }
        NdpOption::RedirectedHeader(packet) => {
            section.field("reserved", 48, |_| "without meaning".to_string())?;
            // A quote in a quote is not followed, or a packet could send us deep down.
            if !section.is_quoted() {
                section.within(packet.len(), |section| network::ip(section.into_quoted()));
            }
        }
        NdpOption::Mtu(_) => {
            section.field("reserved", 16, |_| "without meaning".to_string())?;
            section.field("MTU", 32, |mtu| format!("{mtu} bytes"))?;
        }
        NdpOption::RecursiveDns { servers, .. } => {
            section.field("reserved", 16, |_| "without meaning".to_string())?;
            section.field("lifetime", 32, lifetime)?;
            for _ in servers {
                section.octets("DNS server", address)?;
            }
        }
        NdpOption::SearchList { names, .. } => {
            section.field("reserved", 16, |_| "without meaning".to_string())?;
            section.field("lifetime", 32, lifetime)?;
            let length = names.as_bytes().len();
            section
                .run("search list", length, Verdict::Plain, |bytes| Names::new(bytes).to_string());
        }
        NdpOption::WrongSize { data, .. } => {
            section.run("option data", data.len(), Verdict::Malformed, |data| {
                format!("{} bytes, which this option cannot have", data.len())
            });
        }
        NdpOption::Nonce(_) | NdpOption::Unknown { .. } => {}
    }
    Some(())
}

fn lifetime(seconds: u64) -> String {
    if seconds == u64::from(INFINITE) { "for ever".to_string() } else { format!("{seconds} s") }
}

fn kind_name(number: u64) -> &'static str {
    match u8::try_from(number).unwrap_or(u8::MAX) {
        option::SOURCE_LINK_LAYER => "source link-layer address",
        option::TARGET_LINK_LAYER => "target link-layer address",
        option::PREFIX_INFORMATION => "prefix information",
        option::REDIRECTED_HEADER => "redirected header",
        option::MTU => "MTU",
        option::NONCE => "nonce",
        option::RECURSIVE_DNS => "recursive DNS servers",
        option::SEARCH_LIST => "DNS search list",
        _ => "unknown",
    }
}
