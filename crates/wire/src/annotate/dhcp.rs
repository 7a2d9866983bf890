//! DHCP of both families.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::link::hardware;
use super::network::address;
use super::section::{Section, describe};
use super::{Layer, Verdict};
use crate::domain::Names;
use crate::{dhcpv4, dhcpv6};

pub(super) fn dhcpv4(section: Section<'_, '_>) {
    let mut section = section.layer(Layer::Dhcpv4);
    if v4_fields(&mut section).is_some() && v4_options(&mut section).is_some() {
        let rest = section.remaining();
        section.run("padding", rest, Verdict::Plain, super::network::padding_meaning);
    }
}

fn v4_fields(section: &mut Section<'_, '_>) -> Option<()> {
    section.field("operation", 8, |operation| match operation {
        1 => "1: from a client".to_string(),
        2 => "2: from a server".to_string(),
        _ => format!("{operation}: unknown"),
    })?;
    section.field("hardware type", 8, |kind| match kind {
        1 => "1: Ethernet".to_string(),
        _ => format!("{kind}"),
    })?;
    section.field("hardware address length", 8, |length| format!("{length} bytes"))?;
    section.field("hops", 8, |hops| format!("{hops}"))?;
    section.field("transaction", 32, |number| format!("{number:#010x}"))?;
    section.field("seconds", 16, |seconds| format!("{seconds} s"))?;
    section.field("broadcast", 1, |set| match set {
        0 => "not set".to_string(),
        _ => "set: answer to all".to_string(),
    })?;
    section.field("reserved", 15, |_| "without meaning".to_string())?;
    section.field("client address", 32, address)?;
    section.field("your address", 32, address)?;
    section.field("next server", 32, address)?;
    section.field("relay", 32, address)?;
    section.field("client hardware address", 48, hardware)?;
    section.octets("padding", |_: [u8; 10]| "without meaning".to_string())?;
    section.octets("server name", |text: [u8; 64]| text_of(&text))?;
    section.octets("boot file", |text: [u8; 128]| text_of(&text))?;
    section.judged("cookie", 32, |cookie| {
        if cookie == u64::from(u32::from_be_bytes(dhcpv4::COOKIE)) {
            ("DHCP's".to_string(), Verdict::Plain)
        } else {
            ("not DHCP's".to_string(), Verdict::Malformed)
        }
    })?;
    Some(())
}

fn v4_options(section: &mut Section<'_, '_>) -> Option<()> {
    loop {
        let rest = &section.bytes()[section.next_byte()..];
        let padding = rest.iter().take_while(|&&code| code == dhcpv4::option::PAD).count();
        section.run("padding", padding, Verdict::Plain, super::network::padding_meaning);
        if section.remaining() == 0 {
            return Some(());
        }
        let code = section.field("option code", 8, |code| match v4_name(code) {
            Some(name) => format!("{code}: {name}"),
            None => format!("{code}"),
        })?;
        if code == u64::from(dhcpv4::option::END) {
            return Some(());
        }
        let left = section.remaining().saturating_sub(1) as u64;
        let length = section.judged("option length", 8, |length| match length > left {
            true => (format!("{length} bytes, but {left} are there"), Verdict::Malformed),
            false => (format!("{length} bytes"), Verdict::Plain),
        })?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        section.run("option value", length, Verdict::Plain, |value| v4_value(code, value));
    }
}

fn v4_name(code: u64) -> Option<&'static str> {
    use dhcpv4::option;
    Some(match u8::try_from(code).ok()? {
        option::SUBNET_MASK => "subnet mask",
        option::ROUTERS => "routers",
        option::DNS_SERVERS => "DNS servers",
        option::HOST_NAME => "host name",
        option::DOMAIN_NAME => "domain name",
        option::INTERFACE_MTU => "interface MTU",
        option::REQUESTED_ADDRESS => "requested address",
        option::LEASE_TIME => "lease time",
        option::OVERLOAD => "overload",
        option::MESSAGE_TYPE => "message type",
        option::SERVER_IDENTIFIER => "server identifier",
        option::PARAMETER_LIST => "parameter list",
        option::MESSAGE => "message",
        option::MAX_MESSAGE_SIZE => "longest message",
        option::RENEWAL_TIME => "renewal time",
        option::REBINDING_TIME => "rebinding time",
        option::CLIENT_IDENTIFIER => "client identifier",
        option::END => "end of the options",
        _ => return None,
    })
}

fn v4_value(code: u64, value: &[u8]) -> String {
    use dhcpv4::option;
    match (u8::try_from(code).unwrap_or(0), value) {
        (
            option::SUBNET_MASK
            | option::ROUTERS
            | option::DNS_SERVERS
            | option::REQUESTED_ADDRESS
            | option::SERVER_IDENTIFIER,
            _,
        ) => join(value.as_chunks::<4>().0.iter().map(|&octets| Ipv4Addr::from(octets))),
        (option::LEASE_TIME | option::RENEWAL_TIME | option::REBINDING_TIME, &[a, b, c, d]) => {
            format!("{} s", u32::from_be_bytes([a, b, c, d]))
        }
        (option::INTERFACE_MTU | option::MAX_MESSAGE_SIZE, &[high, low]) => {
            format!("{} bytes", u16::from_be_bytes([high, low]))
        }
        (option::MESSAGE_TYPE, &[kind]) => dhcpv4::MessageType(kind).to_string(),
        (option::PARAMETER_LIST, codes) => join(codes.iter().map(|&code| {
            v4_name(code.into()).map_or_else(|| format!("{code}"), ToString::to_string)
        })),
        (option::OVERLOAD, &[bits]) => format!(
            "options in{}{}",
            if bits & 1 != 0 { " boot file" } else { "" },
            if bits & 2 != 0 { " server name" } else { "" }
        ),
        _ => describe(value),
    }
}

fn text_of(field: &[u8]) -> String {
    if field.iter().all(|&byte| byte == 0) { "empty".to_string() } else { describe(field) }
}

pub(super) fn dhcpv6(section: Section<'_, '_>) {
    let mut section = section.layer(Layer::Dhcpv6);
    if v6_fields(&mut section).is_some() {
        section.payload(describe);
    }
}

fn v6_fields(section: &mut Section<'_, '_>) -> Option<()> {
    let kind = section.field("message type", 8, |kind| {
        format!("{kind}: {}", dhcpv6::MessageType(u8::try_from(kind).unwrap_or(u8::MAX)))
    })?;
    let kind = dhcpv6::MessageType(u8::try_from(kind).unwrap_or(u8::MAX));
    if matches!(kind, dhcpv6::MessageType::RELAY_FORWARD | dhcpv6::MessageType::RELAY_REPLY) {
        return Some(());
    }
    section.field("transaction", 24, |number| format!("{number:#08x}"))?;
    while section.remaining() > 0 {
        let code = section.field("option code", 16, |code| match v6_name(code) {
            Some(name) => format!("{code}: {name}"),
            None => format!("{code}"),
        })?;
        let left = section.remaining().saturating_sub(2) as u64;
        let length = section.judged("option length", 16, |length| match length > left {
            true => (format!("{length} bytes, but {left} are there"), Verdict::Malformed),
            false => (format!("{length} bytes"), Verdict::Plain),
        })?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        section.run("option value", length, Verdict::Plain, |value| v6_value(code, value));
    }
    Some(())
}

fn v6_name(code: u64) -> Option<&'static str> {
    use dhcpv6::option;
    Some(match u16::try_from(code).ok()? {
        option::CLIENT_IDENTIFIER => "client identifier",
        option::SERVER_IDENTIFIER => "server identifier",
        option::OPTION_REQUEST => "option request",
        option::ELAPSED_TIME => "elapsed time",
        option::STATUS_CODE => "status code",
        option::DNS_SERVERS => "DNS servers",
        option::DOMAIN_LIST => "domain list",
        option::INFORMATION_REFRESH_TIME => "information refresh time",
        option::INF_MAX_RT => "longest time between requests",
        _ => return None,
    })
}

fn v6_value(code: u64, value: &[u8]) -> String {
    use dhcpv6::option;
    match (u16::try_from(code).unwrap_or(0), value) {
        (option::OPTION_REQUEST, _) => join(value.as_chunks().0.iter().map(|&code| {
            let code = u16::from_be_bytes(code);
            v6_name(code.into()).map_or_else(|| format!("{code}"), ToString::to_string)
        })),
        (option::ELAPSED_TIME, &[high, low]) => {
            format!("{} ms", u32::from(u16::from_be_bytes([high, low])) * 10)
        }
        (option::STATUS_CODE, &[high, low, ref text @ ..]) => {
            format!("{}: {}", u16::from_be_bytes([high, low]), describe(text))
        }
        (option::DNS_SERVERS, _) => {
            join(value.as_chunks::<16>().0.iter().map(|&octets| Ipv6Addr::from(octets)))
        }
        (option::DOMAIN_LIST, _) => Names::new(value).to_string(),
        (option::INFORMATION_REFRESH_TIME | option::INF_MAX_RT, &[a, b, c, d]) => {
            format!("{} s", u32::from_be_bytes([a, b, c, d]))
        }
        _ => describe(value),
    }
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
