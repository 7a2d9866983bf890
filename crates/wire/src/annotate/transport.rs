//! UDP, TCP and its options, and the judgement of checksums.

use alloc::format;
use alloc::string::{String, ToString};
use core::net::IpAddr;

use super::network::{option_length, padding_meaning};
use super::section::{Section, describe};
use super::{Layer, Verdict, dhcp};
use crate::checksum::{self, Sum};
use crate::ip::Protocol;
use crate::tcp::{MAX_WINDOW_SCALE, MIN_HEADER_LEN, OptionsIter, TcpOption, kind};
use crate::{dhcpv4, dhcpv6, tcp, udp};

/// What a transport header needs to know about the packet that carries it.
pub(super) struct Carrier {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// All of the transport packet is here, so its checksum can be judged.
    pub(super) is_complete: bool,
}

impl Carrier {
    /// Judges the checksum `found` at `offset` of a whole transport packet.
    pub(super) fn judge(
        &self,
        found: u64,
        packet: &[u8],
        offset: usize,
        protocol: Protocol,
    ) -> (String, Verdict) {
        if !self.is_complete {
            let meaning = "cannot be checked: the packet is not all here".to_string();
            return (meaning, Verdict::Plain);
        }
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let pseudo = checksum::pseudo_header(self.source, self.destination, protocol, length);
        judge_checksum(found, packet, offset, pseudo)
    }
}

/// Judges the checksum `found` at `offset` of `packet`, which is summed together with `pseudo`.
pub(super) fn judge_checksum(
    found: u64,
    packet: &[u8],
    offset: usize,
    pseudo: Sum,
) -> (String, Verdict) {
    if pseudo.combine(checksum::sum(packet)).finish() == 0 {
        return ("right".to_string(), Verdict::Right);
    }
    if pseudo != Sum::ZERO && found == u64::from(pseudo.partial()) {
        let meaning = "partial: the pseudo-header's sum, the rest is left to offload";
        return (meaning.to_string(), Verdict::Partial);
    }
    let behind = packet.get(offset + 2..).unwrap_or_default();
    let sum = checksum::sum_slices([&packet[..offset.min(packet.len())], behind]);
    (format!("wrong: it should be {:#06x}", pseudo.combine(sum).finish()), Verdict::Wrong)
}

pub(super) fn udp(section: Section<'_, '_>, carrier: &Carrier) {
    let mut section = section.layer(Layer::Udp);
    let ports = udp::View::new(section.bytes())
        .map_or((0, 0), |view| (view.source_port(), view.destination_port()));
    let Some(stated) = udp_fields(&mut section, carrier) else { return };
    let length = usize::try_from(stated).unwrap_or(usize::MAX).saturating_sub(udp::HEADER_LEN);
    section.within(length, |section| match ports {
        (dhcpv4::SERVER_PORT | dhcpv4::CLIENT_PORT, dhcpv4::SERVER_PORT | dhcpv4::CLIENT_PORT) => {
            dhcp::dhcpv4(section);
        }
        (dhcpv6::SERVER_PORT | dhcpv6::CLIENT_PORT, dhcpv6::SERVER_PORT | dhcpv6::CLIENT_PORT) => {
            dhcp::dhcpv6(section);
        }
        _ => section.payload(describe),
    });
    section.payload(|bytes| format!("{} bytes behind the datagram", bytes.len()));
}

fn udp_fields(section: &mut Section<'_, '_>, carrier: &Carrier) -> Option<u64> {
    let packet = section.bytes();
    let is_quoted = section.is_quoted();
    section.field("source port", 16, |port| format!("{port}"))?;
    section.field("destination port", 16, |port| format!("{port}"))?;
    let stated = section.judged("length", 16, |stated| {
        if stated < 8 {
            (format!("{stated} bytes, less than the header"), Verdict::Malformed)
        } else if stated > packet.len() as u64 && !is_quoted {
            (format!("{stated} bytes, but {} are there", packet.len()), Verdict::Malformed)
        } else {
            (format!("{stated} bytes, {} of them payload", stated - 8), Verdict::Plain)
        }
    })?;
    section.judged("checksum", 16, |found| {
        if found == 0 && carrier.source.is_ipv4() {
            return ("none was made".to_string(), Verdict::Plain);
        } else if found == 0 {
            return ("none was made, but IPv6 needs one".to_string(), Verdict::Malformed);
        }
        let length = usize::try_from(stated).unwrap_or(usize::MAX);
        match packet.get(..length.max(udp::HEADER_LEN)) {
            Some(datagram) => {
                match carrier.judge(found, datagram, udp::CHECKSUM_OFFSET, Protocol::UDP) {
                    // A sum of zero is sent as all ones, because zero says "none".
                    (meaning, Verdict::Wrong) => {
                        (meaning.replace("0x0000", "0xffff"), Verdict::Wrong)
                    }
                    judged => judged,
                }
            }
            None => ("cannot be checked: the datagram is not all here".to_string(), Verdict::Plain),
        }
    })?;
    Some(stated)
}

pub(super) fn tcp(section: Section<'_, '_>, carrier: &Carrier) {
    let mut section = section.layer(Layer::Tcp);
    let segment = section.bytes();
    if tcp_fields(&mut section, carrier).is_none() {
        return;
    }
    let Some(view) = tcp::View::new(segment) else { return };
    options(&mut section, view.option_bytes());
    section.payload(describe);
}

fn tcp_fields(section: &mut Section<'_, '_>, carrier: &Carrier) -> Option<()> {
    let segment = section.bytes();
    section.field("source port", 16, |port| format!("{port}"))?;
    section.field("destination port", 16, |port| format!("{port}"))?;
    section.field("sequence number", 32, |number| format!("{number}"))?;
    section.field("acknowledgment number", 32, |number| format!("{number}"))?;
    section.judged("data offset", 4, |words| data_offset(words, segment.len()))?;
    section.field("reserved", 4, |bits| match bits {
        0 => "zero".to_string(),
        1 => "the last bit is AE: accurate ECN".to_string(),
        _ => "not zero: ignored".to_string(),
    })?;
    for (name, meaning) in FLAGS {
        section.field(name, 1, |set| match set {
            0 => "not set".to_string(),
            _ => format!("set: {meaning}"),
        })?;
    }
    section.field("window", 16, |window| format!("{window}, not scaled"))?;
    section.judged("checksum", 16, |found| {
        carrier.judge(found, segment, tcp::CHECKSUM_OFFSET, Protocol::TCP)
    })?;
    section.field("urgent pointer", 16, |pointer| format!("{pointer}"))?;
    Some(())
}

/// The control bits from the left.
const FLAGS: [(&str, &str); 8] = [
    ("CWR", "congestion window reduced"),
    ("ECE", "ECN echo, the network was congested"),
    ("URG", "the urgent pointer counts"),
    ("ACK", "the acknowledgment number counts"),
    ("PSH", "hand the data over now"),
    ("RST", "reset the connection"),
    ("SYN", "synchronise sequence numbers"),
    ("FIN", "no more data"),
];

fn data_offset(words: u64, length: usize) -> (String, Verdict) {
    let bytes = usize::try_from(words * 4).unwrap_or(usize::MAX);
    let meaning = format!("the header has {words} words, {bytes} bytes");
    if bytes < MIN_HEADER_LEN {
        (format!("{meaning}, but the shortest one has 5 words"), Verdict::Malformed)
    } else if bytes > length {
        (format!("{meaning}, but {length} are there"), Verdict::Malformed)
    } else {
        (meaning, Verdict::Plain)
    }
}

fn options(section: &mut Section<'_, '_>, bytes: &[u8]) {
    let mut iter = OptionsIter::new(bytes);
    let mut end = 0;
    let mut bad = None;
    while let Some(item) = iter.next() {
        if let TcpOption::BadLength { .. } = item {
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
fn option(section: &mut Section<'_, '_>, option: &TcpOption<'_>, length: usize) -> Option<()> {
    section.field("option kind", 8, |number| format!("{number}: {}", kind_name(number)))?;
    if length < 2 {
        return Some(());
    }
    let is_wrong = matches!(option, TcpOption::WrongSize { .. });
    section.judged("option length", 8, |length| option_length(length, is_wrong))?;
    match *option {
        TcpOption::MaximumSegmentSize(_) => {
            section.field("maximum segment size", 16, |mss| format!("{mss} bytes"))?;
        }
        TcpOption::WindowScale(_) => {
            section.field("window scale", 8, |shift| {
                let largest = u64::from(MAX_WINDOW_SCALE);
                let factor = 1u32 << shift.min(largest);
                let note = if shift > largest { ", read as 14" } else { "" };
                format!("shift by {shift}{note}: windows count times {factor}")
            })?;
        }
        TcpOption::Timestamps(_) => {
            section.field("timestamp value", 32, |value| format!("{value}"))?;
            section.field("timestamp echo", 32, |echo| format!("{echo}"))?;
        }
        TcpOption::Sack(blocks) => {
            for _ in &blocks {
                section.field("SACK left edge", 32, |left| format!("{left}"))?;
                section.field("SACK right edge", 32, |right| format!("{right}"))?;
            }
        }
        _ => section
            .run("option data", length - 2, Verdict::Plain, |data| format!("{} bytes", data.len())),
    }
    Some(())
}

fn kind_name(number: u64) -> &'static str {
    match u8::try_from(number).unwrap_or(u8::MAX) {
        kind::END_OF_LIST => "end of the list",
        kind::NO_OP => "no operation",
        kind::MAXIMUM_SEGMENT_SIZE => "maximum segment size",
        kind::WINDOW_SCALE => "window scale",
        kind::SACK_PERMITTED => "SACK permitted",
        kind::SACK => "selective acknowledgment",
        kind::TIMESTAMPS => "timestamps",
        kind::MD5_SIGNATURE => "MD5 signature",
        kind::AUTHENTICATION => "authentication",
        kind::FAST_OPEN => "fast open cookie",
        _ => "unknown",
    }
}
