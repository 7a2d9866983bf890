//! ICMP and the packets that its errors quote.

use alloc::format;
use alloc::string::{String, ToString};

use super::network;
use super::section::{Section, describe};
use super::transport::{Carrier, judge_checksum};
use super::{Layer, Verdict};
use crate::checksum::Sum;
use crate::icmpv4::{
    CHECKSUM_OFFSET, Header, RedirectCode, TimeExceededCode, UnreachableCode, kind,
};

pub(super) fn icmpv4(section: Section<'_, '_>, carrier: &Carrier) {
    let mut section = section.layer(Layer::Icmpv4);
    let message = section.bytes();
    if fields(&mut section, carrier).is_none() {
        return;
    }
    // A quote in a quote is not followed, or a packet could send us deep down.
    let is_quoted = section.is_quoted();
    match Header::parse(message) {
        Ok((header, payload)) if header.is_error() && !payload.is_empty() && !is_quoted => {
            network::ip(section.into_quoted());
        }
        _ => section.payload(describe),
    }
}

fn fields(section: &mut Section<'_, '_>, carrier: &Carrier) -> Option<()> {
    let message = section.bytes();
    let kind = section.field("type", 8, |kind| format!("{kind}: {}", kind_name(kind)))?;
    let code = section.field("code", 8, |code| code_meaning(kind, code))?;
    section.judged("checksum", 16, |found| {
        if carrier.is_complete {
            judge_checksum(found, message, CHECKSUM_OFFSET, Sum::ZERO)
        } else {
            ("cannot be checked: the message is not all here".to_string(), Verdict::Plain)
        }
    })?;
    rest_of_header(section, u8::try_from(kind).unwrap_or(u8::MAX), code)
}

fn rest_of_header(section: &mut Section<'_, '_>, kind: u8, code: u64) -> Option<()> {
    match kind {
        kind::ECHO_REQUEST | kind::ECHO_REPLY => {
            section.field("identifier", 16, |id| format!("{id}"))?;
            section.field("sequence number", 16, |sequence| format!("{sequence}"))?;
        }
        kind::TIMESTAMP_REQUEST | kind::TIMESTAMP_REPLY => {
            section.field("identifier", 16, |id| format!("{id}"))?;
            section.field("sequence number", 16, |sequence| format!("{sequence}"))?;
            for name in ["originate time", "receive time", "transmit time"] {
                section.field(name, 32, |time| format!("{time} ms since midnight UT"))?;
            }
        }
        kind::DESTINATION_UNREACHABLE => {
            section.field("unused", 16, |_| "without meaning".to_string())?;
            section.field("next-hop MTU", 16, |mtu| {
                if code == u64::from(UnreachableCode::FRAGMENTATION_NEEDED.0) {
                    format!("{mtu} bytes")
                } else {
                    "without meaning for this code".to_string()
                }
            })?;
        }
        kind::REDIRECT => {
            section.field("gateway", 32, network::address)?;
        }
        kind::PARAMETER_PROBLEM => {
            section.field("pointer", 8, |byte| format!("byte {byte} of the quoted packet"))?;
            section.field("unused", 24, |_| "without meaning".to_string())?;
        }
        _ => {
            section.field("unused", 32, |_| "without meaning".to_string())?;
        }
    }
    Some(())
}

fn kind_name(number: u64) -> &'static str {
    match u8::try_from(number).unwrap_or(u8::MAX) {
        kind::ECHO_REPLY => "echo reply",
        kind::DESTINATION_UNREACHABLE => "destination unreachable",
        kind::SOURCE_QUENCH => "source quench",
        kind::REDIRECT => "redirect",
        kind::ECHO_REQUEST => "echo request",
        kind::TIME_EXCEEDED => "time exceeded",
        kind::PARAMETER_PROBLEM => "parameter problem",
        kind::TIMESTAMP_REQUEST => "timestamp request",
        kind::TIMESTAMP_REPLY => "timestamp reply",
        _ => "unknown",
    }
}

fn code_meaning(kind: u64, number: u64) -> String {
    let code = u8::try_from(number).unwrap_or(u8::MAX);
    match u8::try_from(kind).unwrap_or(u8::MAX) {
        kind::DESTINATION_UNREACHABLE => format!("{code}: {}", UnreachableCode(code)),
        kind::REDIRECT => format!("{code}: {}", RedirectCode(code)),
        kind::TIME_EXCEEDED => format!("{code}: {}", TimeExceededCode(code)),
        _ => format!("{code}"),
    }
}
