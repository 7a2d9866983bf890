//! IGMP and multicast listener discovery.

use alloc::format;
use alloc::string::ToString;

use super::section::{Section, describe};
use super::transport::{Carrier, judge_checksum};
use super::{Layer, Verdict, ipv6, network};
use crate::checksum::Sum;
use crate::membership::{Code8, Code16, RecordKind};
use crate::{icmpv6, igmp};

pub(super) fn igmp(section: Section<'_, '_>, carrier: &Carrier) {
    let mut section = section.layer(Layer::Igmp);
    if igmp_fields(&mut section, carrier).is_some() {
        section.payload(describe);
    }
}

fn igmp_fields(section: &mut Section<'_, '_>, carrier: &Carrier) -> Option<()> {
    let message = section.bytes();
    let kind = section.field("type", 8, |kind| format!("{kind:#04x}: {}", igmp_name(kind)))?;
    let kind = u8::try_from(kind).unwrap_or(u8::MAX);
    let is_v3 = message.len() >= igmp::QUERY_LEN;
    section.field("max response code", 8, |code| {
        let code = Code8(u8::try_from(code).unwrap_or(u8::MAX));
        match (kind, is_v3) {
            (igmp::kind::QUERY, true) => format!("{} ms", u32::from(code.value()) * 100),
            (igmp::kind::QUERY, false) => format!("{} ms", u32::from(code.0) * 100),
            _ => "without meaning".to_string(),
        }
    })?;
    section.judged("checksum", 16, |found| {
        if carrier.is_complete {
            judge_checksum(found, message, igmp::CHECKSUM_OFFSET, Sum::ZERO)
        } else {
            ("cannot be checked: the message is not all here".to_string(), Verdict::Plain)
        }
    })?;
    if kind == igmp::kind::REPORT_V3 {
        return records(section, igmp_address);
    }
    igmp_address(section, "group address")?;
    if kind == igmp::kind::QUERY && is_v3 { query(section, igmp_address) } else { Some(()) }
}

/// Explains what stands behind the checksum of a message of listener discovery.
pub(super) fn mld_fields(section: &mut Section<'_, '_>, kind: u8) -> Option<()> {
    if kind == icmpv6::kind::LISTENER_REPORT_V2 {
        return records(section, mld_address);
    }
    let is_query = kind == icmpv6::kind::LISTENER_QUERY;
    let is_v2 = is_query && section.bytes().len() > crate::mld::V1_LEN;
    section.field("max response code", 16, |code| {
        let code = Code16(u16::try_from(code).unwrap_or(u16::MAX));
        match (is_query, is_v2) {
            (true, true) => format!("{} ms", code.value()),
            (true, false) => format!("{} ms", code.0),
            _ => "without meaning".to_string(),
        }
    })?;
    section.field("reserved", 16, |_| "without meaning".to_string())?;
    mld_address(section, "group address")?;
    if is_v2 { query(section, mld_address) } else { Some(()) }
}

/// How the address of a family is explained.
type Address = fn(&mut Section<'_, '_>, &'static str) -> Option<()>;

fn igmp_address(section: &mut Section<'_, '_>, name: &'static str) -> Option<()> {
    section.field(name, 32, network::address).map(drop)
}

fn mld_address(section: &mut Section<'_, '_>, name: &'static str) -> Option<()> {
    section.octets(name, ipv6::address).map(drop)
}

/// What the newest query of both families says behind its group.
fn query(section: &mut Section<'_, '_>, address: Address) -> Option<()> {
    section.field("reserved", 4, |_| "without meaning".to_string())?;
    section.field("S", 1, |set| match set {
        0 => "not set".to_string(),
        _ => "set: routers do not lower their timers".to_string(),
    })?;
    section.field("robustness", 3, |count| format!("{count}"))?;
    section.field("query interval code", 8, |code| {
        format!("{} s", Code8(u8::try_from(code).unwrap_or(u8::MAX)).value())
    })?;
    let sources = section.field("number of sources", 16, |count| format!("{count}"))?;
    for _ in 0..sources {
        address(section, "source address")?;
    }
    Some(())
}

/// What a report of both families says behind its checksum.
fn records(section: &mut Section<'_, '_>, address: Address) -> Option<()> {
    section.field("reserved", 16, |_| "without meaning".to_string())?;
    let count = section.field("number of records", 16, |count| format!("{count}"))?;
    for _ in 0..count {
        section.field("record type", 8, |kind| {
            format!("{kind}: {}", RecordKind(u8::try_from(kind).unwrap_or(u8::MAX)))
        })?;
        let words = section.field("auxiliary length", 8, |words| format!("{} bytes", words * 4))?;
        let sources = section.field("number of sources", 16, |count| format!("{count}"))?;
        address(section, "group address")?;
        for _ in 0..sources {
            address(section, "source address")?;
        }
        let auxiliary = usize::try_from(words * 4).unwrap_or(usize::MAX);
        section.run("auxiliary data", auxiliary, Verdict::Plain, |data| {
            format!("{} bytes", data.len())
        });
    }
    Some(())
}

fn igmp_name(number: u64) -> &'static str {
    match u8::try_from(number).unwrap_or(u8::MAX) {
        igmp::kind::QUERY => "membership query",
        igmp::kind::REPORT_V1 => "membership report v1",
        igmp::kind::REPORT_V2 => "membership report v2",
        igmp::kind::LEAVE => "leave group",
        igmp::kind::REPORT_V3 => "membership report v3",
        _ => "unknown",
    }
}
