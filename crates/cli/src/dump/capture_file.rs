//! Packets out of a capture: pcap and pcapng.

use std::io::Cursor;

use anyhow::{Context, bail};
use link::capture::{CapturedFrame, LinkType, read_from};
use wire::annotate::Start;

use super::Packet;

/// The first four bytes of pcapng, and of pcap in both byte orders and resolutions.
const MAGICS: [[u8; 4]; 5] = [
    [0x0a, 0x0d, 0x0d, 0x0a],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];

/// Whether the bytes begin as a capture does.
pub(super) fn is_capture(bytes: &[u8]) -> bool {
    MAGICS.iter().any(|magic| bytes.starts_with(magic))
}

/// Hands each packet to `show`, until it has seen enough.
pub(super) fn read(
    bytes: Vec<u8>,
    show: &mut dyn FnMut(&Packet) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    for (number, frame) in (1..).zip(read_from(Cursor::new(bytes))?) {
        let frame = frame.with_context(|| format!("packet {number}: the file is broken"))?;
        if !show(&strip(frame)?)? {
            break;
        }
    }
    Ok(())
}

/// The packet without the header that only captures have.
fn strip(frame: CapturedFrame) -> anyhow::Result<Packet> {
    // The numbers of tcpdump.org/linktypes.html.
    let (start, header) = match frame.link_type {
        LinkType::Ethernet => (Start::Ethernet, 0),
        LinkType::Ip | LinkType::Other(228 | 229) => (Start::Ip, 0),
        LinkType::Other(0 | 108) => (Start::Ip, 4),
        LinkType::Other(113) => (Start::Ip, 16),
        LinkType::Other(276) => (Start::Ip, 20),
        LinkType::Other(other) => bail!(
            "link type {other} is not understood: Ethernet, raw IP, loopback and Linux cooked \
             captures are"
        ),
    };
    let bytes = frame.bytes.get(header..).unwrap_or_default().to_vec();
    let original = Some(frame.original_length.saturating_sub(header));
    let original = original.filter(|length| *length > bytes.len());
    Ok(Packet { time: frame.time, start, bytes, original, comment: frame.comment })
}
