//! What every link checks before it takes a frame: a broken contract shows at once, and alike on
//! every link.

use std::io;

use wire::ethernet;
use wire::frame::{Capabilities, Medium, TransmitChecksum, TransmitMeta};
use wire::udp;

/// The longest link header: Ethernet with one VLAN tag.
pub(crate) const MAX_LINK_HEADER: usize = 18;

/// The length of the link header on `medium` in bytes.
pub(crate) const fn link_header(medium: Medium) -> usize {
    match medium {
        Medium::Ip => 0,
        Medium::Ethernet(_) => ethernet::HEADER_LEN,
    }
}

/// An error that says that the caller broke the contract of `send`.
pub(crate) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

/// The length of the frame, if a link with `capabilities` may be asked to send it.
pub(crate) fn frame_length(
    capabilities: &Capabilities,
    header: &[u8],
    payload: &[&[u8]],
    meta: &TransmitMeta,
) -> io::Result<usize> {
    let payload_length = payload.iter().map(|slice| slice.len()).sum::<usize>();
    let length = header.len() + payload_length;
    if let TransmitChecksum::Partial { start, offset } = meta.checksum {
        if !capabilities.checksum {
            return Err(invalid("a partial checksum, for a link that does not complete them"));
        }
        if usize::from(start) + usize::from(offset) + 2 > header.len() {
            return Err(invalid("a partial checksum outside the header"));
        }
    }
    let mtu = usize::from(capabilities.mtu) + MAX_LINK_HEADER.min(link_room(capabilities.medium));
    let Some(size) = meta.segment_size else {
        if length > mtu {
            return Err(invalid(format!(
                "a frame of {length} bytes, for a link that carries {mtu}"
            )));
        }
        return Ok(length);
    };
    if !capabilities.segmentation {
        return Err(invalid("a super-segment, for a link that does not cut them"));
    }
    let TransmitChecksum::Partial { start, offset } = meta.checksum else {
        return Err(invalid("a super-segment whose checksum is not left to the link"));
    };
    let segment = headers(header, start, offset) + usize::from(size.get());
    if segment > mtu {
        let why = format!("segments of {segment} bytes, for a link that carries {mtu}");
        return Err(invalid(why));
    }
    if length > wire::frame::MAX_FRAME {
        return Err(invalid(format!("a super-segment of {length} bytes")));
    }
    Ok(length)
}

/// The length of all headers up to the end of that of TCP or UDP, whose checksum is at `offset`: at most
/// that of `header`. A caller may give a whole frame as the header: one that it received, say.
pub(crate) fn headers(header: &[u8], transport: u16, offset: u16) -> usize {
    let transport = usize::from(transport);
    let words = || header.get(transport + 12).map_or(0, |byte| usize::from(byte >> 4));
    let own = if is_udp(offset) { udp::HEADER_LEN } else { words() * 4 };
    (transport + own).min(header.len())
}

/// Whether a checksum at `offset` of the transport header is UDP's.
pub(crate) fn is_udp(offset: u16) -> bool {
    usize::from(offset) == udp::CHECKSUM_OFFSET
}

/// How much a frame may be longer than the IP packet in it.
const fn link_room(medium: Medium) -> usize {
    match medium {
        Medium::Ip => 0,
        Medium::Ethernet(_) => MAX_LINK_HEADER,
    }
}
