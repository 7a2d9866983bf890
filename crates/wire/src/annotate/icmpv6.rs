//! ICMPv6 and the packets that its errors quote.

use alloc::format;
use alloc::string::{String, ToString};

use super::section::{Section, describe};
use super::transport::Carrier;
use super::{Layer, groups, neighbors, network};
use crate::icmpv6::{
    CHECKSUM_OFFSET, ParameterCode, TimeExceededCode, UnreachableCode, kind, kind_name,
};
use crate::ip::Protocol;

pub(super) fn icmpv6(section: Section<'_, '_>, carrier: &Carrier) {
    let mut section = section.layer(Layer::Icmpv6);
    let Some(kind) = fields(&mut section, carrier) else { return };
    let complete = match kind {
        kind::ROUTER_SOLICITATION..=kind::REDIRECT => neighbors::fields(&mut section, kind),
        kind::LISTENER_QUERY
        | kind::LISTENER_REPORT_V1
        | kind::LISTENER_DONE
        | kind::LISTENER_REPORT_V2 => groups::mld_fields(&mut section, kind),
        _ => rest_of_header(&mut section, kind),
    };
    if complete.is_none() || section.remaining() == 0 {
        return;
    }
    match kind {
        // A quote in a quote is not followed, or a packet could send us deep down.
        0..128 if !section.is_quoted() => network::ip(section.into_quoted()),
        _ => section.payload(describe),
    }
}

/// The fields that all messages have; gives the type.
fn fields(section: &mut Section<'_, '_>, carrier: &Carrier) -> Option<u8> {
    let message = section.bytes();
    let number = section.field("type", 8, |number| {
        let kind = u8::try_from(number).unwrap_or(u8::MAX);
        format!("{kind}: {}", kind_name(kind).unwrap_or("unknown"))
    })?;
    let kind = u8::try_from(number).unwrap_or(u8::MAX);
    section.field("code", 8, |code| code_meaning(kind, code))?;
    section.judged("checksum", 16, |found| {
        carrier.judge(found, message, CHECKSUM_OFFSET, Protocol::ICMPV6)
    })?;
    Some(kind)
}

fn rest_of_header(section: &mut Section<'_, '_>, kind: u8) -> Option<()> {
    match kind {
        kind::ECHO_REQUEST | kind::ECHO_REPLY => {
            section.field("identifier", 16, |id| format!("{id}"))?;
            section.field("sequence number", 16, |sequence| format!("{sequence}"))?;
        }
        kind::PACKET_TOO_BIG => {
            section.field("MTU", 32, |mtu| format!("{mtu} bytes"))?;
        }
        kind::PARAMETER_PROBLEM => {
            section.field("pointer", 32, |byte| format!("byte {byte} of the quoted packet"))?;
        }
        _ => {
            section.field("unused", 32, |_| "without meaning".to_string())?;
        }
    }
    Some(())
}

fn code_meaning(kind: u8, number: u64) -> String {
    let code = u8::try_from(number).unwrap_or(u8::MAX);
    match kind {
        kind::DESTINATION_UNREACHABLE => format!("{code}: {}", UnreachableCode(code)),
        kind::TIME_EXCEEDED => format!("{code}: {}", TimeExceededCode(code)),
        kind::PARAMETER_PROBLEM => format!("{code}: {}", ParameterCode(code)),
        _ => format!("{code}"),
    }
}
